//! Which counts balance, and the messages for those that do not.

use super::*;
use crate::package::manifest::FileStatus;
use crate::package::state::{STATE_VERSION, TOOL_VERSION, TaskCounts, TaskRecord};
use crate::plan::{PlannedUnit, Read, Task};
use crate::run::example::{DAYS, Example, shard};

/// A package with two tasks, each of which owns the three rows of one file. Both have read their file, and both days are
/// in shards.
struct Books {
    _example: Example,
    package: OpenPackage,
    tally: Tally,
    files: Vec<FileEntry>,
}

fn record(counts: TaskCounts) -> TaskRecord {
    TaskRecord {
        state_version: STATE_VERSION,
        job: String::new(),
        run: String::new(),
        tool_version: TOOL_VERSION.to_owned(),
        counts,
        unplaced: Vec::new(),
        rejects: None,
        signature: None,
    }
}

fn committed(filtered_out: u64, filter_counts: Vec<FilterCount>) -> PartitionRecord {
    PartitionRecord {
        state_version: STATE_VERSION,
        job: String::new(),
        run: String::new(),
        tool_version: TOOL_VERSION.to_owned(),
        inputs: String::new(),
        filtered_out,
        filter_counts,
        redacted: Vec::new(),
        files: Vec::new(),
        signature: None,
    }
}

impl Books {
    fn balanced() -> Self {
        let example = Example::new("");
        let mut package = example.open("run");
        let read = |input, owner| Read { input, unit: 0, partitions: 0..2, owner };
        package.pinned.plan.tasks = vec![
            Task { partitions: 0..1, reads: vec![read(0, true), read(1, false)] },
            Task { partitions: 1..2, reads: vec![read(0, false), read(1, true)] },
        ];
        let whole = || record(TaskCounts { source_rows: 3, ..TaskCounts::default() });
        let tally = Tally { records: [(0, whole()), (1, whole())].into(), ..Tally::default() };
        let name = |day| format!("data/{day}/part-0000.csv");
        let files = DAYS.iter().map(|day| shard(&package.folder, &name(day), b"")).collect();
        Self { _example: example, package, tally, files }
    }

    fn counts(&mut self, task: usize) -> &mut TaskCounts {
        &mut self.tally.records.get_mut(&task).unwrap().counts
    }

    /// Sets the number of rows that the plan has for the first unit of each input.
    fn plan_rows(&mut self, rows: [Option<u64>; 2]) {
        for (input, rows) in self.package.pinned.plan.inputs.iter_mut().zip(rows) {
            input.units[0].rows = rows;
        }
    }

    fn sum(&self, status: JobStatus) -> Result<Accounting, RunError> {
        accounting(&self.package, &self.tally, &self.files, status)
    }

    #[track_caller]
    fn refused(&self, why: &str) {
        for status in [JobStatus::Complete, JobStatus::Partial] {
            let Err(RunError::Failed(failure)) = self.sum(status) else { panic!("it balances") };
            assert_eq!((failure.code(), failure.to_string().as_str()), (ErrorCode::RowsNotConserved, why));
        }
    }
}

#[test]
fn every_row_is_counted_once_wherever_it_went() {
    let mut books = Books::balanced();
    let sum = Accounting { source_rows: 6, written: 6, ..Accounting::default() };
    assert_eq!(books.sum(JobStatus::Complete).unwrap(), sum);
    *books.counts(0) = TaskCounts {
        source_rows: 20,
        elsewhere: 4,
        visiting: 2,
        rejected: 3,
        null_time: 5,
        outside_window: 1,
        ambiguous_time: 6,
    };
    *books.counts(1) = TaskCounts {
        source_rows: 10,
        elsewhere: 2,
        visiting: 4,
        rejected: 1,
        ambiguous_time: 1,
        ..books.counts(1).to_owned()
    };
    // The first input has a second unit, outside the window.
    let plan = &mut books.package.pinned.plan;
    plan.inputs[0].units.push(PlannedUnit { rows: Some(7), bytes: 0, decoded_bytes: 0 });
    plan.outside = vec![Read { input: 0, unit: 1, partitions: 0..0, owner: true }];
    books.package.committed = [(0, committed(2, Vec::new())), (1, committed(3, Vec::new()))].into();
    books.files[0].rows = 8;
    books.files[1].rows = 7;
    books.plan_rows([Some(18), Some(12)]);
    let sum = Accounting {
        source_rows: 37,
        outside_window: 8,
        filtered_out: 5,
        null_time: 5,
        rejected: 4,
        ambiguous_time: 7,
        written: 15,
    };
    assert_eq!(books.sum(JobStatus::Complete).unwrap(), sum);
    assert_eq!(sum.accounted_rows(), 37);
}

#[test]
fn a_row_that_is_lost_and_one_that_is_written_twice_are_refused() {
    let mut books = Books::balanced();
    let why = |rows: u64| {
        format!(
            "the source has 6 rows and {rows} are accounted for (0 of 0 handed to other tasks); no manifest was written; \
             this is a bug"
        )
    };
    books.files[1].rows = 2;
    books.refused(&why(5));
    books.files[1].rows = 4;
    books.refused(&why(7));
    books.files[1].rows = 3;
    books.package.committed = [(0, committed(1, Vec::new()))].into();
    books.refused(&why(7));
}

#[test]
fn a_row_that_is_handed_over_and_does_not_arrive_is_refused_although_the_sums_agree() {
    let mut books = Books::balanced();
    books.counts(0).elsewhere = 2;
    books.counts(1).visiting = 1;
    books.refused(
        "the source has 6 rows and 6 are accounted for (1 of 2 handed to other tasks); no manifest was written; this is a \
         bug",
    );
    books.counts(1).visiting = 2;
    assert!(books.sum(JobStatus::Complete).is_ok());
}

#[test]
fn rows_that_no_reader_saw_are_refused_where_the_files_know_their_number() {
    let mut books = Books::balanced();
    books.plan_rows([Some(3), Some(4)]);
    books.refused(
        "6 rows were read, but the source's inputs have 7 by their own count; no manifest was written; run again, and if it \
         stays so, this is a bug",
    );
    // If one file does not know its row count, there is no total to compare with.
    books.plan_rows([None, Some(4)]);
    assert!(books.sum(JobStatus::Complete).is_ok());
}

#[test]
fn the_rows_of_a_failed_partition_are_the_difference() {
    let mut books = Books::balanced();
    books.files[1].status = FileStatus::Failed;
    books.files[1].rows = 0;
    let sum = books.sum(JobStatus::Partial).unwrap();
    assert_eq!((sum.source_rows, sum.accounted_rows()), (6, 3));
    // A partial shard has its rows; the rejected ones are counted.
    books.files[1].status = FileStatus::Partial;
    let Err(RunError::Failed(failure)) = books.sum(JobStatus::Partial) else { panic!("it balances") };
    assert_eq!(failure.code(), ErrorCode::RowsNotConserved);
}

#[test]
fn of_a_task_that_was_not_read_to_its_end_the_inspected_rows_count_for_its_owner_only() {
    let mut books = Books::balanced();
    books.tally.records.remove(&1);
    books.files[1].status = FileStatus::Failed;
    books.files[1].rows = 0;
    let sum = books.sum(JobStatus::Partial).unwrap();
    assert_eq!((sum.source_rows, sum.written), (6, 3));
    books.package.pinned.plan.tasks[1].reads[0].owner = true;
    assert_eq!(books.sum(JobStatus::Partial).unwrap().source_rows, 9);
    // A unit that does not exist has no rows.
    books.package.pinned.plan.tasks[1].reads[0].unit = 9;
    assert_eq!(books.sum(JobStatus::Partial).unwrap().source_rows, 6);
}

#[test]
fn filters_are_named_in_the_order_of_the_spec_with_the_sql_condition_last() {
    let job = Example::new("filters: {id: {ne: x}, t: {ne: y}}\nwhere: id <> 'z'\n").job;
    let named = |rows: &[u64]| {
        let counts = filter_counts(&job, rows);
        counts.into_iter().map(|count| (count.filter, count.rows)).collect::<Vec<_>>()
    };
    let expected =
        |rows: [u64; 3]| ["id ne", "t ne", "where"].map(str::to_owned).into_iter().zip(rows).collect::<Vec<_>>();
    assert_eq!(named(&[4, 0, 2]), expected([4, 0, 2]));
    assert_eq!(named(&[]), expected([0, 0, 0]));
}

#[test]
fn counts_of_filters_are_summed_only_where_every_partition_counted_the_same_filters() {
    let job = Example::new("filters: {id: {ne: x}, t: {ne: y}}\n").job;
    let of = |rows: [u64; 2]| committed(0, filter_counts(&job, &rows));
    let sum = |records: &[PartitionRecord]| sum_of_filter_counts(&job, records.iter());
    assert_eq!(sum(&[of([1, 2]), of([3, 4])]), filter_counts(&job, &[4, 6]));
    assert_eq!(sum(&[]), filter_counts(&job, &[0, 0]));
    // An earlier release did not count; another order counts a row at another filter.
    assert_eq!(sum(&[of([1, 2]), committed(3, Vec::new())]), []);
    let mut turned = of([3, 4]);
    turned.filter_counts.reverse();
    assert_eq!(sum(&[of([1, 2]), turned]), []);
    assert_eq!(sum_of_filter_counts(&Example::new("").job, [].iter()), []);
}
