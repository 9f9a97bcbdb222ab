//! Partitions that rows with unknown times may belong to.
//!
//! A row without a time, or one that cannot be read, may belong to any partition. Two things narrow this down: the times
//! of the other rows of its unit, and the period that the input's name covers (`source.path_time`). If neither overlaps the
//! window, every partition is affected, because none can be proven whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Partition;
use super::task::UnplannedInput;
use crate::source::{TimeRange, UnitFacts};

/// Rows with unknown times, and the partitions that they may belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffectedPartitions {
    /// Index of the input in the plan.
    pub input: u32,
    /// The unit of the rows. `None` if the input could not be inspected to its end; then none of its units is read, and
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
    /// No row with a time lies inside the window, but there may be rows without one, or their number is unknown: they must
    /// be read to be counted.
    Unplaced,
    /// A known number of rows, all outside the window.
    Outside,
}

pub(super) fn extent(partitions: &[Partition], unit: &UnitFacts) -> UnitExtent {
    if unit.rows == Some(0) {
        return UnitExtent::Outside;
    }
    match overlapped(partitions, unit.times) {
        Some(range) => UnitExtent::Partitions(range),
        None if unit.unplaced_rows != Some(0) || unit.rows.is_none() => UnitExtent::Unplaced,
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
    (first < end).then_some(super::index(first)..super::index(end))
}

/// The partitions that overlap the period in an input's name.
fn covered(partitions: &[Partition], input: &UnplannedInput) -> Option<Range<u32>> {
    let (start, end) = input.coverage?;
    let first = partitions.partition_point(|p| p.end <= start);
    let end = partitions.partition_point(|p| p.start < end);
    (first < end).then_some(super::index(first)..super::index(end))
}

/// The partitions that an input's rows with unknown times may belong to.
pub(super) fn affected_by_input(
    partitions: &[Partition],
    index: u32,
    input: &UnplannedInput,
) -> Vec<AffectedPartitions> {
    let all = 0..super::index(partitions.len());
    if all.is_empty() {
        return Vec::new();
    }
    if input.is_broken {
        let seen = input.units.iter().filter_map(|unit| overlapped(partitions, unit.times));
        let range = match input.coverage {
            // Unread rows lie in the period of the name; rows that were seen may lie elsewhere.
            Some(_) => seen.chain(covered(partitions, input)).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)),
            None => Some(all),
        };
        return range
            .into_iter()
            .map(|partitions| AffectedPartitions { input: index, unit: None, partitions })
            .collect();
    }
    let may_be_unplaced = |unit: &UnitFacts| unit.unplaced_rows != Some(0) && unit.rows != Some(0);
    let unplaced = input.units.iter().enumerate().filter(|(_, unit)| may_be_unplaced(unit));
    unplaced
        .map(|(unit, facts)| AffectedPartitions {
            input: index,
            unit: Some(super::index(unit)),
            partitions: overlapped(partitions, facts.times)
                .or_else(|| covered(partitions, input))
                .unwrap_or_else(|| all.clone()),
        })
        .collect()
}
