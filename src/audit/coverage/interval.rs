//! Half-open intervals of instants: what together they cover, what they leave out, what they cover more than once.
//!
//! Instants only: days, months and clock changes are settled before anything comes here. Pure functions, checked against
//! a model that looks at every instant by itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

/// `[start, end)`, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Interval {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl Interval {
    /// `None` where it would hold no instant.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// What both hold.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

/// What intervals cover together: sorted, and where they touch they are one.
pub(super) fn union(intervals: impl IntoIterator<Item = Interval>) -> Vec<Interval> {
    let mut sorted: Vec<Interval> = intervals.into_iter().collect();
    sorted.sort_unstable();
    let mut union: Vec<Interval> = Vec::new();
    for interval in sorted {
        match union.last_mut() {
            Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
            _ => union.push(interval),
        }
    }
    union
}

/// What a [`union`] leaves out of an interval.
pub(super) fn gaps(within: Interval, union: &[Interval]) -> Vec<Interval> {
    let mut gaps = Vec::new();
    let mut from = within.start;
    for covered in union {
        gaps.extend(Interval::new(from, covered.start.min(within.end)));
        from = from.max(covered.end);
    }
    gaps.extend(Interval::new(from, within.end));
    gaps
}

/// Where more than one of several [`union`]s covers, and which do: sorted, each as long as the same ones do.
pub(super) fn overlaps(unions: &[Vec<Interval>]) -> Vec<(Interval, Vec<usize>)> {
    // At each instant where something begins or ends: whose.
    let mut turns: BTreeMap<Timestamp, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (index, union) in unions.iter().enumerate() {
        for interval in union {
            turns.entry(interval.start).or_default().0.push(index);
            turns.entry(interval.end).or_default().1.push(index);
        }
    }
    let mut overlaps: Vec<(Interval, Vec<usize>)> = Vec::new();
    let mut here: BTreeSet<usize> = BTreeSet::new();
    let mut since = Timestamp::MIN;
    for (at, (begin, end)) in turns {
        if here.len() > 1 {
            overlaps.extend(Interval::new(since, at).map(|interval| (interval, here.iter().copied().collect())));
        }
        // Of a union none begins where another one ends, so the order does not matter.
        for index in end {
            here.remove(&index);
        }
        here.extend(begin);
        since = at;
    }
    overlaps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Instants of the model: so many seconds after 1970 began.
    const END: i64 = 24;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(at(start), at(end)).unwrap()
    }

    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        let one = (0..END - 1).prop_flat_map(|start| (Just(start), start + 1..END));
        prop::collection::vec(one.prop_map(|(start, end)| interval(start, end)), 0..6)
    }

    fn holds(intervals: &[Interval], second: i64) -> bool {
        intervals.iter().any(|i| i.start <= at(second) && at(second) < i.end)
    }

    /// Sorted, not empty, and with something between any two.
    fn is_apart(intervals: &[Interval]) -> bool {
        intervals.iter().all(|i| i.start < i.end) && intervals.is_sorted_by(|a, b| a.end < b.start)
    }

    proptest! {
        #[test]
        fn a_union_holds_what_any_interval_holds(some in intervals()) {
            let union = union(some.clone());
            prop_assert!(is_apart(&union));
            for second in 0..END {
                prop_assert_eq!(holds(&union, second), holds(&some, second));
            }
        }

        #[test]
        fn gaps_are_what_is_asked_for_and_not_covered(some in intervals(), start in 0..END - 1, length in 1..END) {
            let within = interval(start, start + length);
            let gaps = gaps(within, &union(some.clone()));
            prop_assert!(is_apart(&gaps));
            for second in 0..2 * END {
                prop_assert_eq!(holds(&gaps, second), holds(&[within], second) && !holds(&some, second));
            }
        }

        #[test]
        fn overlaps_name_all_that_cover_an_instant_and_only_where_they_are_two(
            sets in prop::collection::vec(intervals(), 0..5),
        ) {
            let unions: Vec<Vec<Interval>> = sets.iter().cloned().map(union).collect();
            let overlaps = overlaps(&unions);
            for second in 0..END {
                let who: Vec<usize> = (0..sets.len()).filter(|i| holds(&sets[*i], second)).collect();
                let found: Vec<_> = overlaps.iter().filter(|(i, _)| holds(&[*i], second)).collect();
                match who.len() {
                    0 | 1 => prop_assert!(found.is_empty()),
                    _ => prop_assert_eq!(found.iter().map(|(_, w)| w).collect::<Vec<_>>(), [&who]),
                }
            }
            // As long as the same ones do: neighbours differ.
            for pair in overlaps.windows(2) {
                prop_assert!(pair[0].0.end < pair[1].0.start || pair[0].1 != pair[1].1);
            }
        }
    }
}
