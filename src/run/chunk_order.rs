//! The order in which chunks append: a task's chunks are processed in parallel, and their rows are appended in order.
//!
//! A chunk's rows for a partition may be appended as soon as no earlier chunk can still bring rows for that partition.
//! In sorted sources most chunks are alone in their partitions, so they rarely wait for each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How long a waiting thread sleeps before it checks again, in case no notification arrives.
const NAP: Duration = Duration::from_millis(1);

/// The chunks in progress, each with the partitions that it may have rows for.
#[derive(Debug, Default)]
pub(super) struct ChunkOrder {
    open: Mutex<BTreeMap<u64, Range<u32>>>,
    closed: Condvar,
}

impl ChunkOrder {
    /// Registers a chunk. Numbers ascend: a chunk registered later has a higher one.
    pub(super) fn begin(&self, chunk: u64, partitions: Range<u32>) {
        self.lock().insert(chunk, partitions);
    }

    /// Marks a chunk as finished: it has no more rows, although some of its rows may still wait to be appended.
    pub(super) fn end(&self, chunk: u64) {
        self.lock().remove(&chunk);
        self.closed.notify_all();
    }

    /// Whether no earlier chunk can still have rows for the partition.
    pub(super) fn is_next(&self, chunk: u64, partition: u32) -> bool {
        !self.lock().range(..chunk).any(|(_, partitions)| partitions.contains(&partition))
    }

    /// Blocks while `is_over_limit` holds and another thread can still reduce the backlog: one with an earlier chunk, or
    /// one that appends waiting rows (`is_draining`). The earliest chunk never waits for another one, so some thread
    /// always makes progress.
    pub(super) fn wait_while(&self, chunk: u64, is_over_limit: impl Fn() -> bool, is_draining: impl Fn() -> bool) {
        let mut open = self.lock();
        while is_over_limit() && (is_draining() || open.range(..chunk).next().is_some()) {
            open = self.closed.wait_timeout(open, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Range<u32>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
