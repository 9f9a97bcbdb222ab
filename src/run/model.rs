//! The order of rows under schedules that shuttle chooses by a seed.
//!
//! The code under test is compiled here a second time, over shuttle's primitives instead of the standard library's.

mod sync {
    pub use shuttle::sync::atomic::{AtomicUsize, Ordering};
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

#[allow(clippy::duplicate_mod)] // on purpose, see above
#[path = "in_order.rs"]
mod in_order;
#[allow(clippy::duplicate_mod)]
#[path = "turns.rs"]
mod turns;

use std::ops::Range;

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use self::in_order::{InOrder, Piece, Waiting};
use self::turns::Turns;

/// Schedules of each shape of work. The order that was wrong once was found within the first hundred.
const SCHEDULES: usize = 3_000;

/// A row: its chunk and its number in the chunk.
type Row = (u64, u32);

impl Piece for Option<Row> {
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
    turns: Turns,
    waiting: Waiting,
    partitions: Vec<InOrder<Vec<Row>, Option<Row>>>,
}

impl Task {
    fn new(work: Work) -> Self {
        let partitions = (0..work.partitions).map(|p| InOrder::new(p, Vec::new())).collect();
        Self { work, next: Mutex::new(0), turns: Turns::default(), waiting: Waiting::default(), partitions }
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
                self.turns.begin(chunk, touched.clone());
                (chunk, touched.clone(), *rows)
            };
            for row in 0..rows {
                for p in touched.clone() {
                    let lane = &self.partitions[p as usize];
                    lane.put(chunk, &mut Some((chunk, row)), &self.turns, &self.waiting, &mut append);
                    let is_too_much = || self.waiting.bytes() > 2;
                    self.turns.wait_while(chunk, is_too_much, || self.waiting.is_draining());
                }
            }
            self.turns.end(chunk);
            for p in touched {
                self.partitions[p as usize].advance(&self.turns, &self.waiting, &mut append);
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
            // Shuttle's `wait_timeout` never times out; this wakes whoever would have been woken by the time.
            let ended = Arc::new(AtomicUsize::new(0));
            let clock = {
                let (task, ended) = (task.clone(), ended.clone());
                thread::spawn(move || {
                    while ended.load(Ordering::SeqCst) == 0 {
                        task.turns.end(u64::MAX);
                        thread::yield_now();
                    }
                })
            };
            for worker in workers {
                worker.join().unwrap();
            }
            ended.store(1, Ordering::SeqCst);
            clock.join().unwrap();
            assert_eq!(task.waiting.bytes(), 0);
            for (p, lane) in (0..partitions).zip(&task.partitions) {
                let of_source: Vec<Row> = (0u64..)
                    .zip(&task.work.chunks)
                    .filter(|(_, (touched, _))| touched.contains(&p))
                    .flat_map(|(chunk, (_, rows))| (0..*rows).map(move |row| (chunk, row)))
                    .collect();
                assert_eq!(lane.finish().expect("nothing waits"), of_source);
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
            let turns = Turns::default();
            turns.begin(0, 0..2);
            turns.begin(1, 1..4);
            turns.begin(2, 3..5);
            assert!(turns.is_next(0, 1));
            assert!(!turns.is_next(1, 1) && turns.is_next(1, 2));
            assert!(!turns.is_next(2, 3) && turns.is_next(2, 4));
            turns.end(1);
            assert!(turns.is_next(2, 3));
            turns.end(0);
            assert!(turns.is_next(2, 1));
        },
        1,
    );
}

#[test]
fn a_waiting_chunk_goes_on_when_it_is_the_oldest() {
    shuttle::check_random(
        || {
            let turns = Arc::new(Turns::default());
            turns.begin(0, 0..1);
            turns.begin(1, 0..1);
            let waiting = {
                let turns = turns.clone();
                thread::spawn(move || turns.wait_while(1, || true, || false))
            };
            turns.wait_while(0, || true, || false);
            turns.end(0);
            waiting.join().unwrap();
        },
        SCHEDULES,
    );
}
