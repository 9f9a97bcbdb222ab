//! The wish to stop, as every part of a run can see it.
//!
//! A signal sets it once; whoever holds rows looks at it between batches. What is committed stays, what is not is
//! dropped with its temporary files, and the next run resumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::error::Exit;

/// Which signal asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Shared by clones.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    signal: Arc<AtomicU8>,
    cancelled: Arc<AtomicBool>,
    halted: Arc<AtomicBool>,
}

impl Stop {
    /// Asks to stop. The first signal decides the exit code.
    pub fn set(&self, signal: Signal) {
        let value = match signal {
            Signal::Interrupt => 1,
            Signal::Terminate => 2,
        };
        // A second signal does not change which one came first.
        let _ = self.signal.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks to end the job as it is: what is committed counts, the rest is left pending.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Asks this part of the work alone to stop, for a reason of its own.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Relaxed);
    }

    /// A part of the work that hears the same signals and can be halted alone.
    pub fn part(&self) -> Self {
        Self { signal: self.signal.clone(), cancelled: self.cancelled.clone(), halted: Arc::default() }
    }

    /// One job of several, which hears the same signals and can be cancelled alone.
    pub fn job(&self) -> Self {
        Self { signal: self.signal.clone(), cancelled: Arc::default(), halted: Arc::default() }
    }

    /// Whether anybody asked.
    pub fn is_set(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0 || self.is_cancelled() || self.halted.load(Ordering::Relaxed)
    }

    /// The exit code that tells the scheduler who stopped us.
    pub fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::Relaxed) {
            1 => Some(Exit::Interrupted),
            2 => Some(Exit::Terminated),
            _ => None,
        }
    }
}
