//! Groups partitions and units into tasks.
//!
//! A unit is read by exactly the tasks whose partitions its rows may belong to. Partitions that share a unit share a task
//! if possible, so that the unit is read once; `cut` decides where tasks end. [`super::affected`] narrows down where rows
//! with unknown times belong.
//!
//! Units of a broken input are not read, because nothing is known about the rest of it. The partitions that it may
//! have rows for fail without being tried.

use jiff::Timestamp;

use super::affected::{AffectedPartitions, UnitExtent, affected_by_input, extent};
use super::cut::{Load, cut};
use super::{Partition, Read, Task, index};
use crate::source::UnitFacts;

/// What is known about an input that is to be planned.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnplannedInput {
    /// Its units; of a broken input, those that were inspected before the error.
    pub units: Vec<UnitFacts>,
    /// The half-open period in its name.
    pub coverage: Option<(Timestamp, Timestamp)>,
    /// Whether it could not be inspected to its end.
    pub is_broken: bool,
}

/// The tasks of a plan, and the units that need none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tasks {
    /// In the order of their partitions; tasks without partitions come last.
    pub tasks: Vec<Task>,
    /// Units whose rows are all proven to lie outside the window. They are not read, and their rows count as outside.
    pub outside: Vec<Read>,
    /// In the order of input and unit.
    pub affected: Vec<AffectedPartitions>,
}

/// Groups consecutive partitions into tasks and assigns every unit to the tasks that need it.
///
/// Every partition is in exactly one task. Every unit of an intact input is either outside or owned by exactly one task, the
/// first that reads it. While a task reads its units in order, at most `max_open` of its partitions are open at once.
pub(crate) fn tasks(partitions: &[Partition], inputs: &[UnplannedInput], max_open: usize) -> Tasks {
    let mut loads = Vec::new();
    let mut placed = Vec::new();
    let mut unplaced = Vec::new();
    let mut outside = Vec::new();
    let mut affected = Vec::new();
    for (index, input) in (0_u32..).zip(inputs) {
        affected.extend(affected_by_input(partitions, index, input));
        if input.is_broken {
            continue;
        }
        for (unit, facts) in (0_u32..).zip(&input.units) {
            let read = |partitions| Read { input: index, unit, partitions, owner: true };
            match extent(partitions, facts) {
                UnitExtent::Partitions(range) => {
                    loads.push(Load { partitions: range.clone(), bytes: facts.encoded_bytes });
                    placed.push(read(range));
                }
                UnitExtent::Unplaced => unplaced.push(read(0..0)),
                UnitExtent::Outside => outside.push(read(0..0)),
            }
        }
    }

    let cuts = cut(partitions.len(), &loads, max_open.max(1));
    let mut tasks: Vec<Task> =
        cuts.iter().map(|c| Task { partitions: index(c.start)..index(c.end), reads: Vec::new() }).collect();
    for (load, read) in loads.iter().zip(placed) {
        let first = tasks.partition_point(|task| task.partitions.end <= load.partitions.start);
        let readers = tasks.iter_mut().skip(first).take_while(|task| task.partitions.start < load.partitions.end);
        for (nth, task) in readers.enumerate() {
            task.reads.push(Read { owner: nth == 0, ..read.clone() });
        }
    }
    if !unplaced.is_empty() {
        // Units that no partition needs, but that may have rows with unknown times, get a task that writes no partition.
        let end = index(partitions.len());
        tasks.push(Task { partitions: end..end, reads: unplaced });
    }
    Tasks { tasks, outside, affected }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Range;

    use super::*;
    use crate::source::TimeRange;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const MAX_OPEN: usize = 256;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Partitions of ten seconds from 1970.
    fn tens(count: i64) -> Vec<Partition> {
        (0..count)
            .map(|i| Partition { label: i.to_string(), start: second(i * 10), end: second(i * 10 + 10) })
            .collect()
    }

    fn unit(times: TimeRange, bytes: u64, unplaced_rows: u64) -> UnitFacts {
        UnitFacts {
            rows: Some(100),
            encoded_bytes: bytes,
            times,
            unplaced_rows: Some(unplaced_rows),
            peak_decoded_bytes: 0,
        }
    }

    fn within(min: i64, max: i64) -> TimeRange {
        TimeRange::Within { min: second(min), max: second(max) }
    }

    fn file(units: Vec<UnitFacts>) -> UnplannedInput {
        UnplannedInput { units, coverage: None, is_broken: false }
    }

    /// Partitions and reads as `file.unit`, `!` for the owner.
    fn shown(tasks: &[Task]) -> Vec<(Range<u32>, String)> {
        tasks
            .iter()
            .map(|t| {
                let reads: Vec<_> = t
                    .reads
                    .iter()
                    .map(|r| format!("{}.{}{}", r.input, r.unit, if r.owner { "!" } else { "" }))
                    .collect();
                (t.partitions.clone(), reads.join(" "))
            })
            .collect()
    }

    #[test]
    fn files_of_one_partition_each_make_a_task_of_that_partition() {
        let files: Vec<_> = (0..3).map(|i| file(vec![unit(within(i * 10, i * 10 + 9), MIB, 0)])).collect();
        let got = tasks(&tens(3), &files, MAX_OPEN);
        assert_eq!(
            shown(&got.tasks),
            [(0..1, "0.0!".to_owned()), (1..2, "1.0!".to_owned()), (2..3, "2.0!".to_owned())]
        );
    }

    #[test]
    fn a_file_of_many_partitions_is_read_once() {
        let got = tasks(&tens(30), &[file(vec![unit(TimeRange::Unknown, 1000 * MIB, 0)])], MAX_OPEN);
        assert_eq!(shown(&got.tasks), [(0..30, "0.0!".to_owned())]);
    }

    #[test]
    fn the_last_instant_of_a_unit_decides_to_the_second_of_the_boundary() {
        let files =
            [file(vec![unit(within(0, 10), MIB, 0), unit(within(30, 30), MIB, 0), unit(within(-5, -1), MIB, 0)])];
        let got = tasks(&tens(3), &files, MAX_OPEN);
        assert_eq!(shown(&got.tasks), [(0..2, "0.0!".to_owned()), (2..3, String::new())]);
        assert_eq!(got.outside.iter().map(|r| r.unit).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_chain_is_read_once() {
        // Units of 16 MiB, each of which reaches a little into the next partition.
        let units: Vec<_> = (0..100).map(|i| unit(within(i * 10, i * 10 + 10), 16 * MIB, 0)).collect();
        let got = tasks(&tens(101), &[file(units)], MAX_OPEN);
        assert_eq!(got.tasks.len(), 1);
        assert!(got.tasks[0].reads.iter().all(|r| r.owner && r.partitions == (r.unit..r.unit + 2)));
    }

    #[test]
    fn more_partitions_than_may_be_open_take_several_passes() {
        let got = tasks(&tens(8_760), &[file(vec![unit(TimeRange::Unknown, MIB, 0)])], MAX_OPEN);
        assert_eq!(got.tasks.len(), 35);
        assert!(got.tasks.iter().all(|t| t.partitions.len() <= MAX_OPEN && t.reads.len() == 1));
        assert_eq!(got.tasks.iter().filter(|t| t.reads[0].owner).count(), 1);
    }

    #[test]
    fn forced_cuts_are_made_where_they_are_cheapest() {
        let mut units: Vec<_> = (0..300).map(|i| unit(within(i * 10, i * 10 + 10), 1000, 0)).collect();
        units[200].encoded_bytes = 10;
        let got = tasks(&tens(301), &[file(units)], MAX_OPEN);
        // A sorted chain is never cut: only two or three partitions are open at once.
        assert_eq!(got.tasks.len(), 1);
        // Where a file holds rows of all, it is cut where it is cheapest.
        let mut with_all = vec![file(vec![unit(within(0, 3_009), 10, 0)])];
        with_all.push(file(
            (0..300).map(|i| unit(within(i * 10, i * 10 + 10), if i == 200 { 10 } else { 1000 }, 0)).collect(),
        ));
        let got = tasks(&tens(301), &with_all, MAX_OPEN);
        assert_eq!(got.tasks.iter().map(|t| t.partitions.clone()).collect::<Vec<_>>(), [0..201, 201..301]);
    }

    #[test]
    fn partitions_without_units_are_grouped() {
        let got = tasks(&tens(600), &[file(vec![unit(within(3_000, 3_009), MIB, 0)])], MAX_OPEN);
        let ranges: Vec<_> = got.tasks.iter().map(|t| t.partitions.clone()).collect();
        assert_eq!(ranges, [0..256, 256..300, 300..301, 301..557, 557..600]);
    }

    #[test]
    fn sizes_that_a_file_invents_overflow_nothing() {
        let units = (0..50).map(|i| unit(within(i * 10, i * 10 + 25), u64::MAX, u64::MAX)).collect();
        let got = tasks(&tens(60), &[file(units)], MAX_OPEN);
        assert_eq!(got.tasks.iter().map(|t| t.partitions.len()).sum::<usize>(), 60);
    }

    #[test]
    fn a_broken_file_fails_what_its_name_and_its_rows_point_at_or_everything() {
        let broken = |units, coverage| UnplannedInput { units, coverage, is_broken: true };
        let files = [
            broken(vec![], None),
            broken(vec![unit(within(45, 52), MIB, 3)], Some((second(20), second(40)))),
            broken(vec![], Some((second(20), second(21)))),
            broken(vec![unit(TimeRange::Unknown, MIB, 0)], Some((second(20), second(21)))),
            broken(vec![], Some((second(9_000), second(9_010)))),
        ];
        let got = tasks(&tens(10), &files, MAX_OPEN);
        let affected = |input, partitions| AffectedPartitions { input, unit: None, partitions };
        assert_eq!(got.affected, [affected(0, 0..10), affected(1, 2..6), affected(2, 2..3), affected(3, 0..10)]);
        assert!(got.tasks.iter().all(|t| t.reads.is_empty()));
    }

    #[test]
    fn rows_without_a_time_concern_the_partitions_beside_them_or_all() {
        let mut covered = file(vec![unit(TimeRange::Empty, MIB, 100)]);
        covered.coverage = Some((second(30), second(40)));
        let files = [
            file(vec![unit(within(15, 25), MIB, 1), unit(within(15, 25), MIB, 0)]),
            file(vec![unit(TimeRange::Empty, MIB, 100)]),
            covered,
            file(vec![unit(within(500, 600), MIB, 1)]),
            file(vec![unit(TimeRange::Unknown, MIB, 1)]),
        ];
        let got = tasks(&tens(10), &files, MAX_OPEN);
        let affected = |input, partitions| AffectedPartitions { input, unit: Some(0), partitions };
        assert_eq!(
            got.affected,
            [affected(0, 1..3), affected(1, 0..10), affected(2, 3..4), affected(3, 0..10), affected(4, 0..10)]
        );
        let nowhere = shown(&got.tasks).pop().unwrap();
        assert_eq!(nowhere, (10..10, "1.0! 2.0! 3.0!".to_owned()));
    }

    #[test]
    fn a_unit_without_rows_is_not_read() {
        let empty = UnitFacts {
            rows: Some(0),
            encoded_bytes: 10,
            times: TimeRange::Unknown,
            unplaced_rows: Some(0),
            peak_decoded_bytes: 0,
        };
        let got = tasks(&tens(2), &[file(vec![empty])], MAX_OPEN);
        assert_eq!((got.outside.len(), got.tasks.len()), (1, 1));
    }

    #[test]
    fn ten_thousand_files_over_a_year_of_hours_are_planned() {
        let hours = tens(8_760);
        let files: Vec<_> = (0..10_000)
            .map(|i| {
                let start = i * 87_600 / 10_000;
                file(vec![unit(within(start, start + 35), 40 * MIB, u64::from(i % 7 == 0)); 3])
            })
            .collect();
        let got = tasks(&hours, &files, MAX_OPEN);
        assert_eq!(got.tasks.iter().flat_map(|t| &t.reads).filter(|r| r.owner).count() + got.outside.len(), 30_000);
        let reads: usize = got.tasks.iter().map(|t| t.reads.len()).sum();
        assert!(reads <= 33_000, "{reads}");
    }

    /// Partitions that are open at once at most, counted one read after the other.
    fn most_open(task: &Task) -> usize {
        let touches = |read: &Read, p: u32| read.partitions.contains(&p);
        let open_at = |nth: usize| {
            let is_open = |p: &u32| {
                task.reads[..=nth].iter().any(|r| touches(r, *p)) && task.reads[nth..].iter().any(|r| touches(r, *p))
            };
            task.partitions.clone().filter(is_open).count()
        };
        (0..task.reads.len()).map(open_at).max().unwrap_or(0)
    }

    fn times() -> impl Strategy<Value = TimeRange> {
        prop_oneof![
            8 => (-100_i64..4_000, 0_i64..60).prop_map(|(min, length)| within(min, min + length)),
            1 => Just(TimeRange::Empty),
            1 => (-100_i64..4_000, 0_i64..4_000).prop_map(|(min, length)| within(min, min + length)),
            1 => Just(TimeRange::Unknown),
        ]
    }

    fn any_rows() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![8 => (0_u64..5).prop_map(Some), 1 => Just(None)]
    }

    fn any_file() -> impl Strategy<Value = UnplannedInput> {
        let any_unit = (times(), prop_oneof![Just(0), 0..200 * MIB], prop::option::of(0_u64..2), any_rows()).prop_map(
            |(times, bytes, unplaced_rows, rows)| UnitFacts {
                rows,
                encoded_bytes: bytes,
                times,
                unplaced_rows,
                peak_decoded_bytes: 0,
            },
        );
        (prop::collection::vec(any_unit, 0..6), prop::option::of((0_i64..3_000, 1_i64..500)), prop::bool::weighted(0.1))
            .prop_map(|(units, coverage, is_broken)| UnplannedInput {
                units,
                coverage: coverage.map(|(start, length)| (second(start), second(start + length))),
                is_broken,
            })
    }

    proptest! {
        #[test]
        fn every_partition_has_one_task_and_every_unit_one_owner(
            count in 1_i64..400,
            max_open in 1_usize..300,
            files in prop::collection::vec(any_file(), 0..40),
        ) {
            let partitions = tens(count);
            let got = tasks(&partitions, &files, max_open);
            prop_assert_eq!(&got, &tasks(&partitions, &files, max_open));

            let mut next = 0;
            for task in &got.tasks {
                if task.partitions.is_empty() {
                    prop_assert!(!task.reads.is_empty());
                    continue;
                }
                prop_assert_eq!(task.partitions.start, next);
                prop_assert!(most_open(task) <= max_open, "{} of {max_open}", most_open(task));
                next = task.partitions.end;
                prop_assert!(task.reads.windows(2).all(|r| (r[0].input, r[0].unit) < (r[1].input, r[1].unit)));
            }
            prop_assert_eq!(next as i64, count);

            // Compared with what is true of every single pair of unit and task.
            let mut owners = BTreeMap::new();
            for (number, task) in got.tasks.iter().enumerate() {
                for read in &task.reads {
                    owners.entry((read.input, read.unit)).or_insert_with(Vec::new).push((number, read.owner));
                }
            }
            for (f, file) in files.iter().enumerate() {
                for (u, facts) in file.units.iter().enumerate() {
                    let key = (f as u32, u as u32);
                    let readers = owners.remove(&key).unwrap_or_default();
                    let is_outside = got.outside.iter().any(|r| (r.input, r.unit) == key);
                    if file.is_broken {
                        prop_assert!(readers.is_empty() && !is_outside);
                        continue;
                    }
                    let needs = |p: &Partition| facts.rows != Some(0) && match facts.times {
                        TimeRange::Empty => false,
                        TimeRange::Within { min, max } => min < p.end && max >= p.start,
                        TimeRange::Unknown => true,
                    };
                    let mut expected: Vec<usize> = (0..got.tasks.len())
                        .filter(|&t| got.tasks[t].partitions.clone().any(|p| needs(&partitions[p as usize])))
                        .collect();
                    let may_be_unplaced = facts.rows != Some(0) && facts.unplaced_rows != Some(0);
                    if expected.is_empty() && (may_be_unplaced || facts.rows.is_none()) {
                        prop_assert_eq!(readers.len(), 1);
                        prop_assert!(got.tasks[readers[0].0].partitions.is_empty());
                        expected = vec![readers[0].0];
                    }
                    prop_assert_eq!(readers.iter().map(|r| r.0).collect::<Vec<_>>(), expected.clone());
                    prop_assert_eq!(readers.iter().map(|r| r.1).collect::<Vec<_>>(), (0..expected.len()).map(|n| n == 0).collect::<Vec<_>>());
                    prop_assert_eq!(is_outside, expected.is_empty());
                    let affected = got.affected.iter().find(|c| (c.input, c.unit) == (key.0, Some(key.1)));
                    prop_assert_eq!(affected.is_some(), may_be_unplaced);
                }
            }
            prop_assert!(owners.is_empty());
            prop_assert!(got.affected.iter().all(|c| !c.partitions.is_empty() && i64::from(c.partitions.end) <= count));
        }
    }
}
