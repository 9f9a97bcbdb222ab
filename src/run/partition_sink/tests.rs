//! A partition's shards hold exactly the rows that it received, or the partition fails with the reason.

use std::io::Read;

use super::*;
use crate::run::example::{Example, batch, drafts};
use crate::source::instants::instants;
use crate::store::Publish;

/// Room for all rows of these tests.
const ENOUGH: u64 = 1 << 20;

/// A sink with the two chunks that may have rows for it.
struct Rig<'a> {
    ctx: &'a TaskContext<'a>,
    sink: PartitionSink,
    order: ChunkOrder,
    backlog: Backlog,
}

impl<'a> Rig<'a> {
    fn new(ctx: &'a TaskContext<'a>, is_written: bool) -> Self {
        let order = ChunkOrder::default();
        order.begin(0, 0..1);
        order.begin(1, 0..1);
        Self { ctx, sink: PartitionSink::new(ctx, 0, !is_written), order, backlog: Backlog::default() }
    }

    fn put(&self, chunk: u64, payload: &mut ChunkRows) {
        self.sink.put(chunk, payload, &self.order, &self.backlog, self.ctx.sort_quota);
    }

    fn end(&self, chunk: u64) {
        self.order.end(chunk);
        self.sink.advance(&self.order, &self.backlog, self.ctx.sort_quota);
    }

    /// Counts and puts rows as a chunk does.
    fn receive(&self, chunk: u64, rows: &[(&str, i64)]) {
        if self.sink.count(rows.len() as u64, &[]) {
            self.put(chunk, &mut payload(self.ctx, rows));
        }
    }

    fn text(&self) -> String {
        (0..2).for_each(|chunk| self.end(chunk));
        let mut text = String::new();
        for part in self.sink.finish(self.ctx).unwrap().parts.unwrap() {
            let name = part.name.clone();
            part.draft.publish(Publish::Create).unwrap();
            self.ctx.folder.open_file(&name).unwrap().unwrap().into_reader().read_to_string(&mut text).unwrap();
        }
        text
    }

    fn failure(&self) -> Failure {
        match self.sink.finish(self.ctx).unwrap().parts {
            Ok(parts) => panic!("{} parts", parts.len()),
            Err(failure) => failure,
        }
    }
}

fn payload(ctx: &TaskContext<'_>, rows: &[(&str, i64)]) -> ChunkRows {
    let batch = batch(ctx, rows);
    let column = batch.schema().index_of("t").unwrap();
    let times =
        instants(batch.schema().field(column), batch.column(column), &ctx.times, ctx.layout.unit).unwrap().values;
    let own: Vec<u32> = (0u32..).take(rows.len()).collect();
    if ctx.job.order == crate::job::Order::Time {
        return ChunkRows::unsorted(&batch, &times, &own).unwrap();
    }
    let mut encoded = Encoded::default();
    let rows = project(&batch, &ctx.projection, ctx.projected_schema()).unwrap();
    ctx.layout.encoder.encode(&rows, &own, &mut encoded).unwrap();
    ChunkRows::Encoded(encoded, times.values().to_vec())
}

fn csv(rows: &[(&str, i64)]) -> String {
    let line = |(id, hour): &(&str, i64)| format!("{id},2026-03-01T{hour:02}:00:00Z\n");
    format!("id,t\n{}", rows.iter().map(line).collect::<String>())
}

#[test]
fn rows_are_written_in_the_order_of_their_chunks() {
    Example::new("").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, true);
        rig.receive(1, &[("c", 1)]);
        rig.receive(0, &[("a", 5)]);
        rig.receive(0, &[("b", 3)]);
        assert_eq!(rig.sink.routed(), 3);
        assert_eq!(rig.text(), csv(&[("a", 5), ("b", 3), ("c", 1)]));
    });
}

#[test]
fn rows_in_order_of_time_are_sorted_over_all_chunks_and_their_memory_is_given_back() {
    Example::new("order: time\n").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, true);
        rig.receive(1, &[("c", 1), ("d", 9)]);
        rig.receive(0, &[("a", 5), ("b", 1)]);
        rig.end(0);
        rig.end(1);
        assert!(!ctx.sort_quota.take(ENOUGH), "rows to be sorted take none of the room");
        assert_eq!(rig.text(), csv(&[("b", 1), ("c", 1), ("a", 5), ("d", 9)]));
        assert!(ctx.sort_quota.take(ENOUGH));
    });
}

#[test]
fn rows_that_do_not_fit_into_the_memory_for_sorting_fail_the_partition_and_give_it_back() {
    Example::new("order: time\n").with_context(1, |ctx| {
        let rig = Rig::new(ctx, true);
        // The first request is always granted.
        rig.receive(0, &[("a", 1)]);
        rig.receive(0, &[("b", 1)]);
        let failure = rig.failure();
        assert_eq!(failure.code(), ErrorCode::MemoryExceeded);
        assert_eq!(
            failure.to_string(),
            "`order: time` sorts partitions in memory, and the open partitions exceed the 0 MiB that `--memory` leaves for \
             sorting; raise `--memory`, choose smaller partitions, or use `order: source`"
        );
        assert!(ctx.sort_quota.take(1) && !ctx.sort_quota.take(1));
    });
}

#[test]
fn a_partition_without_rows_has_one_empty_part() {
    Example::new("").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, true);
        let finished = rig.sink.finish(ctx).unwrap();
        assert_eq!(finished.parts.unwrap().iter().map(|part| part.rows).collect::<Vec<_>>(), [0]);
        assert_eq!(
            (finished.partition, finished.filtered.as_slice(), finished.redacted.as_slice()),
            (0, &[][..], &[][..])
        );
    });
}

#[test]
fn rows_that_are_counted_and_not_written_fail_the_partition_and_so_do_rows_that_are_written_uncounted() {
    Example::new("").with_context(ENOUGH, |ctx| {
        for (counted, written) in [(3, 2), (1, 2)] {
            let rig = Rig::new(ctx, true);
            assert!(rig.sink.count(counted, &[]));
            rig.put(0, &mut payload(ctx, &[("a", 1), ("b", 2)]));
            let failure = rig.failure();
            assert_eq!(failure.code(), ErrorCode::RowsNotConserved);
            assert_eq!(
                failure.to_string(),
                format!("{counted} rows belong to this partition and {written} were written; this is a bug")
            );
        }
    });
}

#[test]
fn rows_that_still_wait_at_the_end_fail_the_partition() {
    Example::new("").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, true);
        rig.receive(1, &[("a", 1)]);
        let failure = rig.failure();
        assert_eq!(failure.code(), ErrorCode::Internal);
        assert_eq!(
            failure.to_string(),
            "a thread panicked while appending, or rows still wait for an earlier chunk; this is a bug"
        );
    });
}

#[test]
fn the_first_failure_stays_and_no_more_rows_are_taken() {
    Example::new("").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, true);
        let failure = |message: &str| Failure::new(ErrorCode::SourceUnreadable, message.to_owned());
        rig.receive(1, &[("waiting", 1)]);
        rig.sink.fail(&failure("first"));
        rig.sink.fail(&failure("second"));
        assert!(!rig.sink.count(1, &[]), "rows of a failed partition are only counted");
        let mut rows = payload(ctx, &[("late", 1)]);
        rig.put(0, &mut rows);
        assert!(
            matches!(rows, ChunkRows::Encoded(rows, _) if rows.rows() == 1),
            "rows of a failed partition are taken"
        );
        (0..2).for_each(|chunk| rig.end(chunk));
        assert_eq!((rig.sink.routed(), rig.backlog.bytes()), (2, 0));
        assert_eq!(rig.failure(), failure("first"));
        assert_eq!(drafts(ctx.folder), 0);
    });
}

#[test]
fn a_committed_partition_is_counted_and_has_no_parts() {
    Example::new("filters: {id: {ne: x}}\n").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, false);
        assert!(rig.sink.counts_only());
        assert!(!rig.sink.count(2, &[3]));
        rig.put(0, &mut payload(ctx, &[("a", 1)]));
        assert_eq!(rig.sink.routed(), 5);
        assert!(rig.sink.finish(ctx).is_none());
        assert!(ctx.folder.list("").unwrap().is_empty());
    });
}

#[test]
fn filtered_and_redacted_values_are_summed_for_the_record() {
    Example::new("filters: {id: {ne: x}, t: {ne: y}}\n").with_context(ENOUGH, |ctx| {
        let rig = Rig::new(ctx, true);
        assert!(rig.sink.count(0, &[1, 2]) && rig.sink.count(0, &[3, 0]));
        rig.sink.count_redacted(&[5]);
        rig.sink.count_redacted(&[1, 7]);
        let finished = rig.sink.finish(ctx).unwrap();
        assert_eq!((finished.filtered, finished.redacted), (vec![4, 2], vec![6, 7]));
        assert_eq!(finished.parts.unwrap().len(), 1);
    });
}

#[test]
fn rows_to_be_sorted_do_not_keep_the_pages_of_other_rows_in_memory() {
    Example::new("order: time\n").with_context(ENOUGH, |ctx| {
        let long = "x".repeat(100_000);
        let all = batch(ctx, &[("a", 1), (&long, 2), ("c", 3)]);
        let ChunkRows::Unsorted((rows, times)) = ChunkRows::unsorted(&all, &vec![10, 20, 30].into(), &[0, 2]).unwrap()
        else {
            panic!("encoded")
        };
        assert_eq!(times.values(), &[10, 30]);
        let expected = batch(ctx, &[("a", 1), ("c", 3)]);
        assert_eq!(rows, expected);
        assert!(rows.get_array_memory_size() < 10_000, "{}", rows.get_array_memory_size());
    });
}
