//! The wish to stop, as every part of a run can see it.
//!
//! A signal sets it once; whoever holds rows looks at it between batches. What is committed stays, what is not is
//! dropped with its temporary files, and the next run resumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Asks to stop. The first signal decides the exit code.
    pub fn set(&self, signal: Signal) {
        let value = match signal {
            Signal::Interrupt => 1,
            Signal::Terminate => 2,
        };
        // A second signal does not change which one came first.
        let _ = self.0.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether anybody asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The exit code that tells the scheduler who stopped us.
    pub fn exit(&self) -> Option<Exit> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Exit::Interrupted),
            2 => Some(Exit::Terminated),
            _ => None,
        }
    }
}
