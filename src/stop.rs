//! The stop flag, shared by all parts of a run.
//!
//! A signal sets it; workers check it between batches. Committed partitions are kept, unfinished ones are dropped with
//! their temporary files, and the next run resumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::error::Exit;

/// Interval between two looks at the flag of a thread that waits.
const LOOK: Duration = Duration::from_millis(100);

/// The signal that requested the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The stop flag; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    signal: Arc<AtomicU8>,
    cancelled: Arc<AtomicBool>,
    halted: Arc<AtomicBool>,
}

impl Stop {
    /// Requests a stop. The first signal decides the exit code.
    pub fn set(&self, signal: Signal) {
        let value = match signal {
            Signal::Interrupt => 1,
            Signal::Terminate => 2,
        };
        #[expect(clippy::let_underscore_must_use, reason = "the first signal wins")]
        let _ = self.signal.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Cancels the job: committed partitions are kept, the rest stays pending.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Stops this part of the work only.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Relaxed);
    }

    /// A flag for part of the work: it receives the same signals and can be halted separately.
    pub fn part(&self) -> Self {
        Self { signal: self.signal.clone(), cancelled: self.cancelled.clone(), halted: Arc::default() }
    }

    /// A flag for one of several jobs: it receives the same signals and can be cancelled separately.
    pub fn job(&self) -> Self {
        Self { signal: self.signal.clone(), cancelled: Arc::default(), halted: Arc::default() }
    }

    /// Whether a stop was requested, for any reason.
    pub fn is_set(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0 || self.is_cancelled() || self.halted.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until a stop is requested.
    pub fn pause(&self, most: Duration) {
        let begun = Instant::now();
        while !self.is_set()
            && let Some(left) = most.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())
        {
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// The exit code for the signal; `None` without one.
    pub fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::Relaxed) {
            1 => Some(Exit::Interrupted),
            2 => Some(Exit::Terminated),
            _ => None,
        }
    }
}
