//! Tests of `chunk_order.rs` and `ordered_sink.rs` with the standard library's primitives. They cannot be inside those files,
//! because [`super::model`] compiles them again with shuttle's primitives.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::chunk_order::ChunkOrder;
use super::ordered_sink::{Backlog, OrderedSink, Payload};

/// Rows, by their numbers.
#[derive(Debug, PartialEq, Eq)]
struct Rows(Vec<u32>);

impl Payload for Rows {
    fn take(&mut self) -> Self {
        Self(std::mem::take(&mut self.0))
    }

    fn memory(&self) -> usize {
        self.0.len()
    }
}

/// One partition, and three chunks that may have rows for it.
struct Rig {
    order: ChunkOrder,
    backlog: Backlog,
    sink: OrderedSink<Vec<u32>, Rows>,
}

fn append(sink: &mut Vec<u32>, rows: &mut Rows) {
    sink.append(&mut rows.0);
}

impl Rig {
    fn new() -> Self {
        let order = ChunkOrder::default();
        (0..3).for_each(|chunk| order.begin(chunk, 0..1));
        Self { order, backlog: Backlog::default(), sink: OrderedSink::new(0, Vec::new()) }
    }

    /// Puts rows, and returns what is left of them.
    fn put(&self, chunk: u64, rows: &[u32]) -> Vec<u32> {
        let mut payload = Rows(rows.to_vec());
        self.sink.put(chunk, &mut payload, &self.order, &self.backlog, &mut append);
        payload.0
    }

    fn end(&self, chunk: u64) {
        self.order.end(chunk);
        self.sink.advance(&self.order, &self.backlog, &mut append);
    }
}

#[test]
fn rows_that_must_wait_are_taken_and_counted_until_they_are_appended() {
    let rig = Rig::new();
    assert!(rig.put(2, &[20, 21]).is_empty() && rig.put(1, &[10]).is_empty());
    assert_eq!(rig.backlog.bytes(), 3);
    assert!(rig.put(0, &[0]).is_empty());
    assert_eq!((rig.backlog.bytes(), rig.sink.finish()), (3, None));
    // The end of a chunk lets the next one append, and no later one.
    rig.end(0);
    assert_eq!(rig.backlog.bytes(), 2);
    rig.end(2);
    assert_eq!((rig.backlog.bytes(), rig.sink.finish()), (2, None));
    rig.end(1);
    assert_eq!((rig.backlog.bytes(), rig.sink.finish()), (0, Some(vec![0, 10, 20, 21])));
    assert_eq!(rig.sink.finish(), None);
}

#[test]
fn rows_that_are_next_in_order_are_appended_without_being_queued() {
    let rig = Rig::new();
    let mut payload = Rows(vec![0]);
    let mut look = |sink: &mut Vec<u32>, rows: &mut Rows| {
        assert!(!rig.backlog.is_draining());
        sink.extend(&rows.0);
    };
    rig.sink.put(0, &mut payload, &rig.order, &rig.backlog, &mut look);
    // A sink may leave the buffer to the caller, who fills it again.
    assert_eq!((payload, rig.backlog.bytes()), (Rows(vec![0]), 0));
}

#[test]
fn later_rows_of_a_chunk_never_pass_its_earlier_ones_that_wait() {
    let rig = Rig::new();
    rig.put(1, &[10]);
    rig.order.end(0);
    // Chunk 1 is next, and its first rows still wait.
    rig.put(1, &[11]);
    assert_eq!((rig.backlog.bytes(), rig.sink.finish()), (0, Some(vec![10, 11])));
}

#[test]
fn a_thread_that_appends_what_waited_is_seen_to_reduce_the_backlog() {
    let rig = Rig::new();
    rig.put(1, &[10]);
    rig.put(1, &[11]);
    rig.order.end(0);
    let left = Cell::new(2);
    rig.sink.advance(&rig.order, &rig.backlog, &mut |sink, rows| {
        left.set(left.get() - 1);
        assert!(rig.backlog.is_draining());
        assert_eq!(rig.backlog.bytes(), left.get());
        append(sink, rows);
    });
    assert!(!rig.backlog.is_draining() && left.get() == 0);
}

#[test]
fn rows_that_arrive_while_another_thread_appends_are_appended_by_that_thread() {
    let rig = Rig::new();
    let mut first = true;
    let mut payload = Rows(vec![0]);
    rig.sink.put(0, &mut payload, &rig.order, &rig.backlog, &mut |sink, rows| {
        if std::mem::take(&mut first) {
            // A second thread arrives during the append.
            assert!(rig.put(0, &[1]).is_empty());
            assert_eq!(rig.backlog.bytes(), 1);
        }
        append(sink, rows);
    });
    assert_eq!((rig.backlog.bytes(), rig.sink.finish()), (0, Some(vec![0, 1])));
}

#[test]
fn a_sink_is_lost_if_a_thread_panics_while_it_appends() {
    let rig = Rig::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        rig.sink.put(0, &mut Rows(vec![0]), &rig.order, &rig.backlog, &mut |_, _| panic!("appending"));
    }));
    assert!(panicked.is_err());
    assert!(rig.put(0, &[1]).is_empty());
    (0..3).for_each(|chunk| rig.end(chunk));
    assert_eq!(rig.sink.finish(), None);
}

/// Longer than any of this takes.
const HANG: Duration = Duration::from_secs(20);

#[test]
fn a_thread_waits_while_an_earlier_chunk_or_another_thread_can_reduce_the_backlog() {
    let order = ChunkOrder::default();
    order.begin(0, 0..1);
    order.begin(1, 5..6);
    // No other thread can reduce the backlog.
    order.wait_while(0, || true, || false);
    order.wait_while(1, || false, || true);
    let (asked, is_asked) = channel();
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        let order = &order;
        scope.spawn(move || {
            let is_over_limit = || asked.send(()).is_ok();
            order.wait_while(1, is_over_limit, || false);
            done.send(()).unwrap();
        });
        // It checks again without a notification, and continues when the earlier chunk ends.
        (0..5).for_each(|_| is_asked.recv_timeout(HANG).unwrap());
        assert!(is_done.try_recv().is_err());
        order.end(0);
        is_done.recv_timeout(HANG).unwrap();
    });
}

#[test]
fn the_earliest_chunk_waits_for_threads_that_append_and_for_nothing_else() {
    let order = ChunkOrder::default();
    order.begin(3, 0..1);
    order.begin(4, 0..1);
    let asked = Cell::new(0);
    let is_draining = || {
        asked.set(asked.get() + 1);
        asked.get() < 4
    };
    order.wait_while(3, || true, is_draining);
    assert_eq!(asked.get(), 4);
}

#[test]
fn a_chunk_without_partitions_blocks_no_other() {
    let order = ChunkOrder::default();
    order.begin(0, 2..2);
    order.begin(1, 0..3);
    order.begin(2, 0..9);
    assert!((0..3).all(|partition| order.is_next(1, partition)));
    assert!((0..3).all(|partition| !order.is_next(2, partition)) && order.is_next(2, 3));
    // Ending a chunk twice, or one that never began, changes nothing.
    order.end(7);
    order.end(1);
    order.end(1);
    assert!(order.is_next(2, 0));
}
