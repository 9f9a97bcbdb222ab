//! Checks the order of rows under thread schedules that shuttle chooses from a seed.
//!
//! The code under test is compiled a second time here, with shuttle's primitives instead of the standard library's.

mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicUsize, Ordering};
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

#[allow(clippy::duplicate_mod, reason = "compiled once more with the types of shuttle")]
#[path = "chunk_order.rs"]
mod chunk_order;
#[allow(clippy::duplicate_mod, reason = "compiled once more with the types of shuttle")]
#[path = "ordered_sink.rs"]
mod ordered_sink;

use std::ops::Range;

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use self::chunk_order::ChunkOrder;
use self::ordered_sink::{Backlog, OrderedSink, Payload};

/// Schedules per test. The one ordering bug there was showed within the first hundred.
const SCHEDULES: usize = 3_000;

/// A row: its chunk and its number in the chunk.
type Row = (u64, u32);

impl Payload for Option<Row> {
    fn take(&mut self) -> Self {
        Option::take(self)
    }

    fn memory(&self) -> usize {
        1
    }
}

/// Chunks as a source cuts them: the partitions that each may touch, and how many rows it has for each of those.
struct Work {
    chunks: Vec<(Range<u32>, u32)>,
    partitions: u32,
    threads: usize,
}

struct Task {
    work: Work,
    /// The next chunk to take; taken and begun in one step, as the reader does.
    next: Mutex<usize>,
    chunk_order: ChunkOrder,
    backlog: Backlog,
    partitions: Vec<OrderedSink<Vec<Row>, Option<Row>>>,
}

impl Task {
    fn new(work: Work) -> Self {
        let partitions = (0..work.partitions).map(|p| OrderedSink::new(p, Vec::new())).collect();
        Self { work, next: Mutex::new(0), chunk_order: ChunkOrder::default(), backlog: Backlog::default(), partitions }
    }

    fn work_off(&self) {
        let mut append = |sink: &mut Vec<Row>, row: &mut Option<Row>| {
            thread::yield_now();
            sink.extend(*row);
        };
        loop {
            let (chunk, touched, rows) = {
                let mut next = self.next.lock().unwrap();
                let Some((touched, rows)) = self.work.chunks.get(*next) else { return };
                let chunk = *next as u64;
                *next += 1;
                self.chunk_order.begin(chunk, touched.clone());
                (chunk, touched.clone(), *rows)
            };
            for row in 0..rows {
                for p in touched.clone() {
                    let sink = &self.partitions[p as usize];
                    sink.put(chunk, &mut Some((chunk, row)), &self.chunk_order, &self.backlog, &mut append);
                    let is_over_limit = || self.backlog.bytes() > 2;
                    self.chunk_order.wait_while(chunk, is_over_limit, || self.backlog.is_draining());
                }
            }
            self.chunk_order.end(chunk);
            for p in touched {
                self.partitions[p as usize].advance(&self.chunk_order, &self.backlog, &mut append);
            }
        }
    }
}

fn every_schedule_gives_the_order_of_the_source(chunks: &'static [(Range<u32>, u32)], partitions: u32, threads: usize) {
    shuttle::check_random(
        move || {
            let task = Arc::new(Task::new(Work { chunks: chunks.to_vec(), partitions, threads }));
            let workers: Vec<_> = (0..task.work.threads)
                .map(|_| {
                    let task = task.clone();
                    thread::spawn(move || task.work_off())
                })
                .collect();
            // Shuttle's `wait_timeout` never times out; this thread wakes the waiters instead.
            let ended = Arc::new(AtomicUsize::new(0));
            let clock = {
                let (task, ended) = (task.clone(), ended.clone());
                thread::spawn(move || {
                    while ended.load(Ordering::SeqCst) == 0 {
                        task.chunk_order.end(u64::MAX);
                        thread::yield_now();
                    }
                })
            };
            for worker in workers {
                worker.join().unwrap();
            }
            ended.store(1, Ordering::SeqCst);
            clock.join().unwrap();
            assert_eq!(task.backlog.bytes(), 0);
            for (p, sink) in (0..partitions).zip(&task.partitions) {
                let of_source: Vec<Row> = (0u64..)
                    .zip(&task.work.chunks)
                    .filter(|(_, (touched, _))| touched.contains(&p))
                    .flat_map(|(chunk, (_, rows))| (0..*rows).map(move |row| (chunk, row)))
                    .collect();
                assert_eq!(sink.finish().expect("nothing waits"), of_source);
            }
        },
        SCHEDULES,
    );
}

#[test]
fn chunks_of_one_partition_are_appended_in_order() {
    every_schedule_gives_the_order_of_the_source(&[(0..1, 2), (0..1, 1), (0..1, 2), (0..1, 1)], 1, 3);
}

#[test]
fn chunks_of_overlapping_partitions_are_appended_in_order() {
    every_schedule_gives_the_order_of_the_source(&[(0..2, 1), (1..3, 2), (0..1, 1), (2..3, 1), (0..3, 1)], 3, 4);
}

#[test]
fn a_partition_waits_for_earlier_chunks_that_may_touch_it_and_for_no_others() {
    shuttle::check_random(
        || {
            let chunk_order = ChunkOrder::default();
            chunk_order.begin(0, 0..2);
            chunk_order.begin(1, 1..4);
            chunk_order.begin(2, 3..5);
            assert!(chunk_order.is_next(0, 1));
            assert!(!chunk_order.is_next(1, 1) && chunk_order.is_next(1, 2));
            assert!(!chunk_order.is_next(2, 3) && chunk_order.is_next(2, 4));
            chunk_order.end(1);
            assert!(chunk_order.is_next(2, 3));
            chunk_order.end(0);
            assert!(chunk_order.is_next(2, 1));
        },
        1,
    );
}

#[test]
fn a_waiting_chunk_goes_on_when_it_is_the_oldest() {
    shuttle::check_random(
        || {
            let chunk_order = Arc::new(ChunkOrder::default());
            chunk_order.begin(0, 0..1);
            chunk_order.begin(1, 0..1);
            let waiting = {
                let chunk_order = chunk_order.clone();
                thread::spawn(move || chunk_order.wait_while(1, || true, || false))
            };
            chunk_order.wait_while(0, || true, || false);
            chunk_order.end(0);
            waiting.join().unwrap();
        },
        SCHEDULES,
    );
}
