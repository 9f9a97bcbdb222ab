//! Progress counters of a run.
//!
//! Workers only add to the counters and never wait for a terminal; the progress display reads them on its own schedule.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one run. They never decrease.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Encoded source bytes to read, over all tasks.
    pub planned_bytes: AtomicU64,
    /// Encoded source bytes of the units read so far.
    pub read_bytes: AtomicU64,
    /// Rows read.
    pub read_rows: AtomicU64,
    /// Rows handed to encoders.
    pub written_rows: AtomicU64,
    /// Partitions in the plan.
    pub partitions: AtomicU64,
    /// Partitions committed, including those of earlier runs.
    pub committed_partitions: AtomicU64,
    /// Partitions that failed in this run.
    pub failed_partitions: AtomicU64,
    /// Source files inspected.
    pub inspected_files: AtomicU64,
    /// Source files to inspect.
    pub listed_files: AtomicU64,
}

impl Progress {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads a counter.
    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
