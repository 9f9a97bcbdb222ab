//! Which partitions a row can belong to that has no known place.
//!
//! A row without a time, or one that cannot be read, could be anybody's. The only thing that narrows it down is
//! what stands beside it: the times of the other rows of its unit, or what the file's name says
//! (`source.path_time`). Where neither points into the window, every partition is concerned, because nothing proves
//! of any that it is whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Partition;
use super::task::FileInput;
use crate::source::{TimeRange, UnitFacts};

/// Rows that have no known place, and the partitions that are not whole because of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// Index of the file in the plan.
    pub file: u32,
    /// The unit whose rows, where they turn out to be without time or unreadable, concern `partitions`. `None`: the
    /// file could not be inspected to its end; no unit of it is read, and `partitions` fail without being tried.
    pub unit: Option<u32>,
    /// Indexes of partitions; never empty.
    pub partitions: Range<u32>,
}

/// What a unit's facts prove about its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// No row lies in any other partition.
    Partitions(Range<u32>),
    /// Rows with a time lie outside the window; there may be others.
    Unplaced,
    /// Every row has a time outside the window, or there are none.
    Outside,
}

/// Where the rows of a unit can be.
pub(super) fn place(partitions: &[Partition], unit: &UnitFacts) -> Place {
    if unit.rows == 0 {
        return Place::Outside;
    }
    match overlapped(partitions, unit.times) {
        Some(range) => Place::Partitions(range),
        None if unit.unplaced_rows > 0 => Place::Unplaced,
        None => Place::Outside,
    }
}

/// The partitions that some times may lie in; `None` where there are none.
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

/// The partitions that a file's name points at.
fn covered(partitions: &[Partition], file: &FileInput) -> Option<Range<u32>> {
    let (start, end) = file.coverage?;
    let first = partitions.partition_point(|p| p.end <= start);
    let end = partitions.partition_point(|p| p.start < end);
    (first < end).then_some(first as u32..end as u32)
}

/// What a file's rows without a known place concern.
pub(super) fn concerns(partitions: &[Partition], index: u32, file: &FileInput) -> Vec<Concern> {
    let all = 0..partitions.len() as u32;
    if all.is_empty() {
        return Vec::new();
    }
    if file.broken {
        let seen = file.units.iter().filter_map(|unit| overlapped(partitions, unit.times));
        let range = match file.coverage {
            // The rows that are missing are where the name says; those that were seen may be elsewhere.
            Some(_) => seen.chain(covered(partitions, file)).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)),
            None => Some(all),
        };
        return range.into_iter().map(|partitions| Concern { file: index, unit: None, partitions }).collect();
    }
    let unplaced = file.units.iter().enumerate().filter(|(_, unit)| unit.unplaced_rows > 0 && unit.rows > 0);
    unplaced
        .map(|(unit, facts)| Concern {
            file: index,
            unit: Some(unit as u32),
            partitions: overlapped(partitions, facts.times)
                .or_else(|| covered(partitions, file))
                .unwrap_or_else(|| all.clone()),
        })
        .collect()
}
