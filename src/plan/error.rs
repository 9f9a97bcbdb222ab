//! Errors of planning a job, and of reading a plan back.

use super::partition::MAX_PARTITIONS;

/// Why a job cannot be planned, or a plan cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More than [`MAX_PARTITIONS`].
    #[error(
        "the window has {count} partitions of {} {unit}, and {} is the limit; choose a larger `partition.by` or a \
         smaller window",
        if *unit == "hour" { "an" } else { "a" },
        MAX_PARTITIONS
    )]
    TooManyPartitions {
        /// The calendar unit.
        unit: &'static str,
        /// The number of partitions; an estimate if far beyond the limit.
        count: u64,
    },
    /// Two partitions would share a folder.
    #[error("two partitions are called `{label}`; choose another `partition.by` or `window.timezone`")]
    LabelTwice {
        /// Their label.
        label: String,
    },
    /// The window exceeds the calendar's range.
    #[error("the window reaches beyond the years -9999 to 9999; choose one inside")]
    OutOfRange,
    /// The source's schema cannot be serialized.
    #[error("the schema of the source cannot be recorded: {reason}; declare other types in `schema`")]
    Schema {
        /// Arrow's reason.
        reason: String,
    },
    /// The text is not a plan.
    #[error("the plan cannot be read: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
}
