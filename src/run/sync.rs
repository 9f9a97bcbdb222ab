//! The synchronization primitives of the code that orders rows. `model.rs` compiles the same code with shuttle's, so that
//! a seed chooses the thread schedule instead of the operating system.

pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
