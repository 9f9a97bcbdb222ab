//! Whose turn it is: chunks of a task are worked on side by side, and their rows are appended in order.
//!
//! A chunk's rows for a partition may be appended as soon as no chunk before it can bring rows for the same partition.
//! Of sorted sources most chunks are alone in their partitions, so they hardly ever wait for each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread sleeps that nobody wakes.
const NAP: Duration = Duration::from_millis(1);

/// The chunks that are being worked on, each with the partitions that it may bring rows for.
#[derive(Debug, Default)]
pub struct Turns {
    open: Mutex<BTreeMap<u64, Range<u32>>>,
    closed: Condvar,
}

impl Turns {
    /// A chunk is taken. Numbers ascend: those of chunks that are not taken yet are higher.
    pub fn begin(&self, chunk: u64, partitions: Range<u32>) {
        self.lock().insert(chunk, partitions);
    }

    /// A chunk brings nothing more.
    pub fn end(&self, chunk: u64) {
        self.lock().remove(&chunk);
        self.closed.notify_all();
    }

    /// Whether no chunk before this one can still bring rows for the partition.
    pub fn is_next(&self, chunk: u64, partition: u32) -> bool {
        !self.lock().range(..chunk).any(|(_, partitions)| partitions.contains(&partition))
    }

    /// Sleeps while there is too much of something that others make less: the threads of older chunks, and whoever
    /// `shrinks` it. The oldest chunk waits for nobody else, so there is always one that goes on.
    pub fn wait_while(&self, chunk: u64, is_too_much: impl Fn() -> bool, shrinks: impl Fn() -> bool) {
        let mut open = self.lock();
        while is_too_much() && (shrinks() || open.range(..chunk).next().is_some()) {
            open = self.closed.wait_timeout(open, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Range<u32>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_waits_for_earlier_chunks_that_may_touch_it_and_for_no_others() {
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
    }

    #[test]
    fn whoever_waits_is_woken_when_it_is_the_oldest() {
        let turns = Turns::default();
        turns.begin(0, 0..1);
        turns.begin(1, 0..1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.wait_while(1, || true, || false));
            turns.wait_while(0, || true, || false);
            turns.end(0);
            waiting.join().unwrap();
        });
    }
}
