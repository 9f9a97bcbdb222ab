//! Partitions that rows with unknown times may belong to.
//!
//! A row without a time, or one that cannot be read, may belong to any partition. Two things narrow this down: the times
//! of the other rows of its unit, and the period that the file's name covers (`source.path_time`). If neither overlaps the
//! window, every partition is affected, because none can be proven whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Partition;
use super::task::FileInput;
use crate::source::{TimeRange, UnitFacts};

/// Rows with unknown times, and the partitions that they may belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffectedPartitions {
    /// Index of the file in the plan.
    pub file: u32,
    /// The unit of the rows. `None` if the file could not be inspected to its end; then none of its units is read, and
    /// `partitions` fail without being tried.
    pub unit: Option<u32>,
    /// Indexes of the partitions; never empty.
    pub partitions: Range<u32>,
}

/// Where the rows of a unit can be, as far as its facts prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnitExtent {
    /// Rows inside the window lie in these partitions only.
    Partitions(Range<u32>),
    /// All rows with a time lie outside the window, but there may be rows without one.
    Unplaced,
    /// All rows lie outside the window, or there are none.
    Outside,
}

pub(super) fn extent(partitions: &[Partition], unit: &UnitFacts) -> UnitExtent {
    if unit.rows == 0 {
        return UnitExtent::Outside;
    }
    match overlapped(partitions, unit.times) {
        Some(range) => UnitExtent::Partitions(range),
        None if unit.unplaced_rows > 0 => UnitExtent::Unplaced,
        None => UnitExtent::Outside,
    }
}

/// The partitions that a time range overlaps.
fn overlapped(partitions: &[Partition], times: TimeRange) -> Option<Range<u32>> {
    let (first, end) = match times {
        TimeRange::Empty => return None,
        TimeRange::Within { min, max } if min <= max => {
            (partitions.partition_point(|p| p.end <= min), partitions.partition_point(|p| p.start <= max))
        }
        // Statistics that contradict themselves prove nothing.
        TimeRange::Within { .. } | TimeRange::Unknown => (0, partitions.len()),
    };
    (first < end).then_some(first as u32..end as u32)
}

/// The partitions that overlap the period in a file's name.
fn covered(partitions: &[Partition], file: &FileInput) -> Option<Range<u32>> {
    let (start, end) = file.coverage?;
    let first = partitions.partition_point(|p| p.end <= start);
    let end = partitions.partition_point(|p| p.start < end);
    (first < end).then_some(first as u32..end as u32)
}

/// The partitions that a file's rows with unknown times may belong to.
pub(super) fn affected_by_file(partitions: &[Partition], index: u32, file: &FileInput) -> Vec<AffectedPartitions> {
    let all = 0..partitions.len() as u32;
    if all.is_empty() {
        return Vec::new();
    }
    if file.broken {
        let seen = file.units.iter().filter_map(|unit| overlapped(partitions, unit.times));
        let range = match file.coverage {
            // Unread rows lie in the period of the name; rows that were seen may lie elsewhere.
            Some(_) => seen.chain(covered(partitions, file)).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)),
            None => Some(all),
        };
        return range
            .into_iter()
            .map(|partitions| AffectedPartitions { file: index, unit: None, partitions })
            .collect();
    }
    let unplaced = file.units.iter().enumerate().filter(|(_, unit)| unit.unplaced_rows > 0 && unit.rows > 0);
    unplaced
        .map(|(unit, facts)| AffectedPartitions {
            file: index,
            unit: Some(unit as u32),
            partitions: overlapped(partitions, facts.times)
                .or_else(|| covered(partitions, file))
                .unwrap_or_else(|| all.clone()),
        })
        .collect()
}
