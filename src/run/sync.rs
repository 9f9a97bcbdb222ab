//! The synchronization primitives of the code that orders rows. `model.rs` compiles the same code over shuttle's, so that
//! schedules are chosen by a seed instead of by the operating system.

pub use std::sync::atomic::{AtomicUsize, Ordering};
pub use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
