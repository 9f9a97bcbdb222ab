//! The pinned plan: what the first run decided and every later one follows.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::record::{StateError, known_version};
use crate::failure::Failure;
use crate::package::manifest::EncryptionRecord;
use crate::plan::Plan;
use crate::source::SourceFile;
use crate::source::skip::SkippedFile;

/// What the first run decided and every later one keeps to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// [`STATE_VERSION`].
    #[serde(deserialize_with = "known_version")]
    pub state_version: u32,
    /// The job.
    pub job: String,
    /// Version of the program that planned.
    pub tool_version: String,
    /// When the job was first planned.
    pub created_at: Timestamp,
    /// Partitions, tasks, concerns.
    pub plan: Plan,
    /// Source files with their identity.
    pub files: Vec<SourceFile>,
    /// Source files that are not read.
    pub skipped: Vec<SkippedFile>,
    /// Columns that come from folder names.
    pub hive_keys: Vec<String>,
    /// Rows that are proven to be outside the window and not read.
    pub outside_rows: u64,
    /// For each partition the digest of what it is made from.
    pub inputs: Vec<String>,
    /// For each file its rows, where known.
    pub file_rows: Vec<Option<u64>>,
    /// For each partition why it cannot be complete, where that is known before reading.
    pub failures: Vec<Option<Failure>>,
    /// Source files that were expected and not there. What a release wrote that expected none has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingSource>,
    /// Public names of the keys of pseudonyms, by redacted path: another key would give other pseudonyms.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_ids: BTreeMap<String, String>,
    /// How all files of the package are encrypted. Only compared: nobody becomes a reader by standing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionRecord>,
}

/// Source files that are not there, and the partitions that are partial because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingSource {
    /// Indexes in the plan.
    pub partitions: Range<u32>,
    /// What is missing.
    pub failure: Failure,
}

impl Pinned {
    /// Reads a pinned plan. What others index by it is checked here, because anybody can edit a file.
    ///
    /// # Errors
    /// [`StateError::Unreadable`].
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Self, StateError> {
        let unreadable = |source| StateError::Unreadable { name: name.to_owned(), source };
        let pinned: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        let (files, partitions) = (pinned.files.len(), pinned.plan.partitions.len());
        let units = |file: u32| pinned.plan.files.get(file as usize).map_or(0, |f| f.units.len());
        let whole = [pinned.plan.files.len(), pinned.file_rows.len()].iter().all(|n| *n == files)
            && [pinned.inputs.len(), pinned.failures.len()].iter().all(|n| *n == partitions)
            && pinned.plan.tasks.iter().all(|task| {
                task.partitions.start <= task.partitions.end
                    && task.partitions.end as usize <= partitions
                    && task.reads.iter().all(|read| (read.unit as usize) < units(read.file))
            })
            && pinned.plan.affected.iter().all(|c| c.partitions.end as usize <= partitions);
        if whole {
            return Ok(pinned);
        }
        Err(unreadable(serde_json::Error::custom("its parts do not fit each other")))
    }
}
