//! The plan: a pure function of job, facts and nothing else, and a value that a person can print.
//!
//! Partitions tile the window: the first starts where the window starts, each next one where the one before
//! ends, the last ends where the window ends. Tasks cover every partition exactly once.

pub mod partition;
pub mod task;
pub mod window;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A half-open slice of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Folder name below `data/`.
    pub label: String,
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

/// Units that are read together, once, and the partitions that their rows go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Consecutive partitions `first..end` (indexes) that this task alone writes. May be empty: rows that
    /// belong nowhere are still read and accounted for.
    pub partitions: std::ops::Range<u32>,
    /// What is read, in order of file and unit.
    pub reads: Vec<Read>,
}

/// One unit of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Index of the file in the plan.
    pub file: u32,
    /// Index of the unit in the file.
    pub unit: u32,
    /// Whether this task accounts for the unit's rows that are not its own (outside the window, without time,
    /// unreadable, of other tasks). Exactly one task owns each unit that is read.
    pub owner: bool,
}
