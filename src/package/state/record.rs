//! What a run leaves in `_state/` so that another one can go on: the pinned plan, a record per committed partition,
//! a record per task.
//!
//! A record is created once, and never changed or removed while it counts. It says what was made from what: tasks and
//! partitions carry keys that are digests of their inputs, so a record found later is either about the same rows or
//! recognisably about others. Names carry the generation of the plan, see [`super::log`].
//!
//! Where the spec signs, so are records: whoever resumes a job must not sign what somebody without the key has written.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::unplaced::Unplaced;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::package::manifest::{FileEntry, FilterCount};
use crate::signature::{self, Signer};
use crate::store::{Folder, StoreError};

/// Version of everything in `_state/`.
pub const STATE_VERSION: u32 = 2;
/// The version of the program, in plans and records: another version may make other bytes of the same rows.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// `_state/partitions/<label>.json`: the partition is committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionRecord {
    /// [`STATE_VERSION`].
    #[serde(deserialize_with = "known_version")]
    pub state_version: u32,
    /// The job.
    pub job: String,
    /// The run that won.
    pub run: String,
    /// Version of the program that wrote the shards.
    pub tool_version: String,
    /// Digest of what it is made from.
    pub inputs: String,
    /// Rows that the predicate dropped.
    pub filtered_out: u64,
    /// The same for each filter, in the order of the spec, `where` last. Records of earlier releases do not have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter_counts: Vec<FilterCount>,
    /// Values redacted, by column of the shards and redaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<u64>,
    /// Its shards.
    pub files: Vec<FileEntry>,
    /// By the key that signs the job's manifests, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// `_state/tasks/<key>.json`: the task's rows are accounted for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecord {
    /// [`STATE_VERSION`].
    #[serde(deserialize_with = "known_version")]
    pub state_version: u32,
    /// The job.
    pub job: String,
    /// The run that was first.
    pub run: String,
    /// Version of the program that counted.
    pub tool_version: String,
    /// Rows.
    pub counts: TaskCounts,
    /// Rows that could not be read or placed.
    pub unplaced: Vec<Unplaced>,
    /// The rows left out.
    pub rejects: Option<crate::package::manifest::RejectsEntry>,
    /// By the key that signs the job's manifests, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Rows that a task accounts for. Of units that it does not own, only the rows of its own partitions count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Rows of the units it owns.
    pub source_rows: u64,
    /// Of those, in partitions of other tasks.
    pub elsewhere: u64,
    /// Rows of its partitions in units that other tasks own.
    pub visiting: u64,
    /// Owned rows that could not be read.
    pub rejected: u64,
    /// Owned rows without a time.
    pub null_time: u64,
    /// Owned rows outside the window.
    pub outside_window: u64,
    /// Owned rows whose local time their zone has twice or never.
    pub ambiguous_time: u64,
}

impl std::ops::AddAssign for TaskCounts {
    fn add_assign(&mut self, other: Self) {
        self.source_rows += other.source_rows;
        self.elsewhere += other.elsewhere;
        self.visiting += other.visiting;
        self.rejected += other.rejected;
        self.null_time += other.null_time;
        self.outside_window += other.outside_window;
        self.ambiguous_time += other.ambiguous_time;
    }
}

/// What is signed where the spec signs.
pub trait Signed: Serialize + Clone {
    /// Its signature, armored as `ssh-keygen -Y sign` writes it.
    fn signature(&mut self) -> &mut Option<String>;
}

impl Signed for PartitionRecord {
    fn signature(&mut self) -> &mut Option<String> {
        &mut self.signature
    }
}

impl Signed for TaskRecord {
    fn signature(&mut self) -> &mut Option<String> {
        &mut self.signature
    }
}

/// What a signature covers: a line that no manifest begins with, the record's name, and the record without its signature.
fn signed_bytes<T: Signed>(name: &str, record: &T) -> Result<Vec<u8>, StateError> {
    let mut unsigned = record.clone();
    *unsigned.signature() = None;
    let mut text = format!("kt-export state {STATE_VERSION}: {name}\n").into_bytes();
    text.extend(bytes(name, &unsigned)?);
    Ok(text)
}

/// Signs a record, where the job signs.
///
/// # Errors
/// `key_unusable`.
pub fn sign<T: Signed>(name: &str, record: &mut T, signer: Option<&Signer>) -> Result<(), Failure> {
    if let Some(signer) = signer {
        *record.signature() = Some(signer.sign(&signed_bytes(name, record)?)?);
    }
    Ok(())
}

/// Whether whoever has the job's key wrote a record. Where the job does not sign, anybody may.
pub fn is_proven<T: Signed>(name: &str, record: &T, signer: Option<&Signer>) -> bool {
    let Some(signer) = signer else { return true };
    let Some(signature) = record.clone().signature().take() else { return false };
    let Ok(signed) = signed_bytes(name, record) else { return false };
    signature::check(signature.as_bytes(), &signed)
        .is_ok_and(|key| signature::is_named(&signer.record().public_key, &key))
}

/// Another version's records are refused, not guessed at.
pub(super) fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if version == STATE_VERSION {
        return Ok(version);
    }
    Err(D::Error::custom(format!("state version {version}, and this release reads {STATE_VERSION}")))
}

/// Why state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not what this version writes.
    #[error("{name} cannot be read; bring it back as it was, or remove the output folder to start over")]
    Unreadable {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a record; `None` where there is none.
///
/// # Errors
/// [`StateError`].
pub fn load<T: DeserializeOwned>(folder: &Folder, name: &str) -> Result<Option<T>, StateError> {
    let Some(bytes) = folder.read(name)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| StateError::Unreadable { name: name.to_owned(), source })
}

/// The bytes of a record.
///
/// # Errors
/// [`StateError::Unreadable`]; only a bug can cause it.
pub fn bytes<T: Serialize>(name: &str, record: &T) -> Result<Vec<u8>, StateError> {
    let mut bytes =
        serde_json::to_vec_pretty(record).map_err(|source| StateError::Unreadable { name: name.to_owned(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let code = match &error {
            StateError::Store(e) => e.code(),
            StateError::Unreadable { .. } => ErrorCode::PackageDamaged,
        };
        Self { code, message: chain(&error) }
    }
}
