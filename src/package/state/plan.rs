//! The pinned plan, which the first run makes and every later run follows.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::record::{StateError, known_version};
use crate::failure::Failure;
use crate::package::manifest::EncryptionRecord;
use crate::plan::{Plan, Read};
use crate::source::SkippedInput;

/// The plan of a job and the state of its source when it was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// [`STATE_VERSION`](super::STATE_VERSION).
    #[serde(deserialize_with = "known_version")]
    pub state_version: u32,
    /// The job.
    pub job: String,
    /// Version of the program that planned.
    pub tool_version: String,
    /// When the job was first planned.
    pub created_at: Timestamp,
    /// Inputs, partitions and tasks.
    pub plan: Plan,
    /// Inputs that are not read.
    pub skipped: Vec<SkippedInput>,
    /// Names of the columns whose value is constant within an input, such as Hive partition keys.
    pub constants: Vec<String>,
    /// The snapshot that the inputs are read from, as the source names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// For each partition, the digest of its inputs.
    pub inputs: Vec<String>,
    /// For each partition, the failure that was known before reading.
    pub failures: Vec<Option<Failure>>,
    /// Inputs that were expected but missing. Absent in plans of earlier releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingSource>,
    /// Ids of the keys for pseudonyms, by redacted path: another key would give other pseudonyms.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_ids: BTreeMap<String, String>,
    /// How all files of the package are encrypted. Only compared: being listed here does not make anyone a recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionRecord>,
}

/// A missing input, and the partitions that are partial because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingSource {
    /// Indexes of the partitions.
    pub partitions: Range<u32>,
    /// What is missing.
    pub failure: Failure,
}

impl Pinned {
    /// Number of rows proven to be outside the window, which are not read.
    pub fn outside_rows(&self) -> u64 {
        self.plan.outside.iter().filter_map(|read| self.plan.unit(read)?.rows).sum()
    }

    /// Reads a pinned plan. Indexes are checked here, because the file may have been edited.
    ///
    /// # Errors
    /// [`StateError::Unreadable`].
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Self, StateError> {
        let unreadable = |source| StateError::Unreadable { name: name.to_owned(), source };
        let pinned: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        let partitions = pinned.plan.partitions.len();
        let units = |input: u32| pinned.plan.inputs.get(input as usize).map_or(0, |input| input.units.len());
        let exists = |read: &Read| (read.unit as usize) < units(read.input);
        let whole = [pinned.inputs.len(), pinned.failures.len()].iter().all(|n| *n == partitions)
            && pinned.plan.outside.iter().all(exists)
            && pinned.plan.tasks.iter().all(|task| {
                task.partitions.start <= task.partitions.end
                    && task.partitions.end as usize <= partitions
                    && task.reads.iter().all(exists)
            })
            && pinned.plan.affected.iter().all(|c| c.partitions.end as usize <= partitions);
        if whole {
            return Ok(pinned);
        }
        Err(unreadable(serde_json::Error::custom("its parts do not fit each other")))
    }
}
