//! Commit records: small files below `_state/` that say what is done, for resuming and for the manifest.
//!
//! A partition is committed by creating its record exclusively; a shard without one does not count. What a task counted
//! of rows that belong to no partition is in the task's record. A record names its job, so that one left behind by
//! another job is never mistaken for ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::json::{ManifestError, from_versioned, to_bytes};
use super::{FileEntry, ManifestPartition, RejectsEntry};

/// Version of the records below `_state/`.
pub const STATE_VERSION: u32 = 1;

/// `_state/partitions/<label>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionRecord {
    /// [`STATE_VERSION`].
    pub version: u32,
    /// The job.
    pub job_id: String,
    /// The run that committed it.
    pub run_id: String,
    /// Which partition.
    pub partition: ManifestPartition,
    /// Index in the plan of the task that read its rows.
    pub task: u32,
    /// Its parts in order, as they will stand in the manifest.
    pub files: Vec<FileEntry>,
    /// Rows in its parts.
    pub written: u64,
    /// Rows of this partition that a filter left out.
    pub filtered_out: u64,
}

/// `_state/tasks/<index>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRecord {
    /// [`STATE_VERSION`].
    pub version: u32,
    /// The job.
    pub job_id: String,
    /// The run that committed it.
    pub run_id: String,
    /// Index in the plan.
    pub task: u32,
    /// Rows of the units that the task accounts for.
    pub source_rows: u64,
    /// Of those, rows outside the window.
    pub outside_window: u64,
    /// Of those, rows without a time.
    pub null_time: u64,
    /// Of those, rows that could not be read.
    pub rejected: u64,
    /// Of those, rows whose local time exists twice or never.
    pub ambiguous_time: u64,
    /// The file with the rejected rows, where there are any.
    #[serde(deserialize_with = "Option::deserialize")]
    pub rejects: Option<RejectsEntry>,
}

/// Name of a partition's record.
pub fn partition_record_name(label: &str) -> String {
    format!("_state/partitions/{label}.json")
}

/// Name of a task's record.
pub fn task_record_name(task: u32) -> String {
    format!("_state/tasks/{task}.json")
}

impl PartitionRecord {
    /// Pretty JSON, newline at the end.
    pub fn to_json_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads what [`PartitionRecord::to_json_bytes`] wrote.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        from_versioned(bytes, "version", STATE_VERSION)
    }
}

impl TaskRecord {
    /// Pretty JSON, newline at the end.
    pub fn to_json_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads what [`TaskRecord::to_json_bytes`] wrote.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        from_versioned(bytes, "version", STATE_VERSION)
    }
}
