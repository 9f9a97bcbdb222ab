//! Routes rows to partitions by their instants.
//!
//! Instants are compared as 64-bit integers in one unit. Bounds are whole microseconds within that unit's range, so
//! flooring and saturating the instants does not change any comparison.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::TimeUnit;
use jiff::Timestamp;

use crate::plan::Partition;
use crate::query::Selection;
use crate::source::instants::bound;

/// The rows of one batch, by partition.
#[derive(Debug, Default)]
pub(super) struct Routed {
    /// For each of the task's partitions, the ascending indexes of the rows that the predicate keeps.
    pub rows: Vec<Vec<u32>>,
    /// For each of the task's partitions, the number of rows that the predicate drops, by the first condition that each row
    /// fails.
    pub filtered: Vec<Vec<u64>>,
    /// Rows outside the window.
    pub outside: u64,
    /// Rows in partitions of other tasks.
    pub elsewhere: u64,
    /// Ascending indexes of the rows without an instant.
    pub without_time: Vec<u32>,
}

impl Routed {
    /// Whether no row belongs to the task's partitions.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
    }
}

/// The bounds of the partitions, in ticks of `unit`. Partitions tile the window, so there is one more bound than
/// partitions.
pub(super) fn bounds(partitions: &[Partition], unit: TimeUnit) -> Arc<[i64]> {
    partitions.iter().map(|p| p.start).chain(partitions.last().map(|p| p.end)).map(|t| bound(t, unit)).collect()
}

/// Routes instants to the partitions of one task.
#[derive(Debug)]
pub(super) struct Router {
    /// `bounds[i]..bounds[i + 1]` is partition `i` of the whole plan.
    bounds: Arc<[i64]>,
    /// The task's partitions.
    own: Range<usize>,
}

impl Router {
    /// A router for the task that writes the partitions `own`.
    pub(super) fn new(bounds: Arc<[i64]>, own: Range<u32>) -> Self {
        Self { bounds, own: own.start as usize..own.end as usize }
    }

    /// Routes every row of a batch, before the predicate is applied. `into` is overwritten and its memory reused.
    pub(super) fn place(&self, instants: &Int64Array, into: &mut Routed) {
        into.rows.resize_with(self.own.len(), Vec::new);
        into.rows.iter_mut().for_each(Vec::clear);
        into.filtered.resize_with(self.own.len(), Vec::new);
        into.filtered.iter_mut().for_each(Vec::clear);
        into.without_time.clear();
        into.outside = 0;
        into.elsewhere = 0;
        let mut current = 0..0; // the bounds of `slot`, cached because sources are mostly sorted by time
        let mut slot = None;
        for (row, instant) in (0u32..).zip(instants.iter()) {
            let Some(instant) = instant else {
                into.without_time.push(row);
                continue;
            };
            if !current.contains(&instant) {
                (current, slot) = self.find(instant);
            }
            match slot {
                None => into.outside += 1,
                Some(partition) if self.own.contains(&partition) => into.rows[partition - self.own.start].push(row),
                Some(_) => into.elsewhere += 1,
            }
        }
    }

    /// The widest interval around an instant that lies in one partition, or outside all of them.
    fn find(&self, instant: i64) -> (Range<i64>, Option<usize>) {
        match (self.bounds.partition_point(|b| *b <= instant), self.bounds.len()) {
            (0, _) => (i64::MIN..self.bounds.first().copied().unwrap_or(i64::MAX), None),
            (n, len) if n == len => (self.bounds[n - 1]..i64::MAX, None),
            (n, _) => (self.bounds[n - 1]..self.bounds[n], Some(n - 1)),
        }
    }
}

/// Drops the routed rows that the predicate does not keep, and counts them for each of its `tests`.
pub(super) fn apply(selection: &Selection, tests: usize, routed: &mut Routed) {
    let kept = selection.kept();
    for (rows, filtered) in routed.rows.iter_mut().zip(&mut routed.filtered) {
        if rows.is_empty() {
            continue;
        }
        filtered.resize(tests, 0);
        rows.retain(|row| {
            let row = *row as usize;
            let is_kept = kept.value(row);
            if !is_kept && let Some(count) = selection.left_out_by(row).and_then(|test| filtered.get_mut(test)) {
                *count += 1;
            }
            is_kept
        });
    }
}

/// Converts ticks of `unit` to an instant; `None` if it is out of range.
pub(super) fn instant(value: i64, unit: TimeUnit) -> Option<Timestamp> {
    match unit {
        TimeUnit::Nanosecond => Timestamp::from_nanosecond(value.into()).ok(),
        TimeUnit::Microsecond => Timestamp::from_microsecond(value).ok(),
        TimeUnit::Millisecond => Timestamp::from_millisecond(value).ok(),
        TimeUnit::Second => Timestamp::from_second(value).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partitions(starts: &[i64], end: i64) -> Vec<Partition> {
        starts
            .iter()
            .zip(starts.iter().skip(1).chain([&end]))
            .map(|(a, b)| Partition {
                label: a.to_string(),
                start: Timestamp::from_second(*a).unwrap(),
                end: Timestamp::from_second(*b).unwrap(),
            })
            .collect()
    }

    #[test]
    fn the_start_of_a_partition_is_inside_and_its_end_is_not() {
        let router = Router::new(bounds(&partitions(&[10, 20], 30), TimeUnit::Second), 0..2);
        let mut routed = Routed::default();
        router.place(
            &Int64Array::from(vec![Some(9), Some(10), Some(19), Some(20), Some(29), Some(30), None]),
            &mut routed,
        );
        assert_eq!(routed.rows, [vec![1, 2], vec![3, 4]]);
        assert_eq!((routed.outside, routed.elsewhere, routed.without_time), (2, 0, vec![6]));
    }

    #[test]
    fn rows_the_predicate_drops_are_counted_in_their_partition() {
        let router = Router::new(bounds(&partitions(&[0, 10], 20), TimeUnit::Second), 0..2);
        let mut routed = Routed::default();
        router.place(&Int64Array::from(vec![1, 11, 12]), &mut routed);
        let (first, second) = (vec![false, true, true], vec![true, false, true]);
        apply(&Selection::of(vec![first.into(), second.into()], 3), 2, &mut routed);
        assert_eq!((routed.rows, routed.filtered), (vec![vec![], vec![2]], vec![vec![1, 0], vec![0, 1]]));
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_place(
            cuts in prop::collection::btree_set(-50i64..50, 2..8),
            own in (0u32..7, 0u32..8),
            instants in prop::collection::vec(prop::option::of(-60i64..60), 0..200),
        ) {
            let cuts: Vec<i64> = cuts.into_iter().collect();
            let (starts, end) = (&cuts[..cuts.len() - 1], cuts[cuts.len() - 1]);
            let first = own.0.min(starts.len() as u32);
            let own = first..own.1.clamp(first, starts.len() as u32);
            let mut routed = Routed::default();
            Router::new(bounds(&partitions(starts, end), TimeUnit::Second), own.clone()).place(&Int64Array::from(instants.clone()), &mut routed);
            let own_rows: usize = routed.rows.iter().map(Vec::len).sum();
            prop_assert_eq!(own_rows as u64 + routed.outside + routed.elsewhere + routed.without_time.len() as u64, instants.len() as u64);
            for (i, rows) in routed.rows.iter().enumerate() {
                let p = own.start as usize + i;
                for row in rows {
                    let t = instants[*row as usize].unwrap();
                    prop_assert!(cuts[p] <= t && t < cuts[p + 1]);
                }
            }
        }
    }
}
