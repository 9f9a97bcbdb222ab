//! The plan: a pure function of job, facts and nothing else, and a value that a person can print.
//!
//! Partitions tile the window: the first starts where the window starts, each next one where the one before
//! ends, the last ends where the window ends. Tasks cover every partition exactly once.

pub mod concern;
mod cut;
pub mod partition;
pub mod task;
pub mod window;
mod window_text;

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
    /// Consecutive partitions `first..end` (indexes) that this task alone writes. Empty where only rows that belong
    /// nowhere are to be accounted for; whom they concern stands in [`Plan::concerns`].
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

/// A window that cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More than [`partition::MAX_PARTITIONS`].
    #[error(
        "the window has {count} partitions of {} {unit}, and {} is the limit; choose a larger `partition.by` or a \
         smaller window",
        if *unit == "hour" { "an" } else { "a" },
        partition::MAX_PARTITIONS
    )]
    TooManyPartitions {
        /// The calendar unit.
        unit: &'static str,
        /// How many there would be; about so many when far beyond the limit.
        count: u64,
    },
    /// Two partitions would share a folder.
    #[error("two partitions are called `{label}`; choose another `partition.by` or `window.timezone`")]
    LabelTwice {
        /// Their label.
        label: String,
    },
    /// The window reaches beyond the calendar.
    #[error("the window reaches beyond the years -9999 to 9999; choose one inside")]
    OutOfRange,
}
