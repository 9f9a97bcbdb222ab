//! The records in `_state/` that later runs resume from: one per committed partition, one per finished task.
//!
//! A record is created once, and never changed or removed while it counts. It contains the digest of its inputs, which
//! shows whether it is about the same rows. Names contain the generation of the plan; see [`super::log`].
//!
//! If the spec signs, records are signed too, so that a resuming run does not sign data that came from anyone without the
//! key.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::unplaced::Unplaced;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::package::manifest::{FileEntry, FilterCount};
use crate::signature::{self, Signer};
use crate::store::{Folder, StoreError};

/// Version of all files in `_state/`.
pub const STATE_VERSION: u32 = 3;
/// The program's version, in plans and records: another version may encode the same rows differently.
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
    /// The run that committed it.
    pub run: String,
    /// Version of the program that wrote the shards.
    pub tool_version: String,
    /// Digest of its inputs.
    pub inputs: String,
    /// Number of rows that the filters dropped.
    pub filtered_out: u64,
    /// Rows that each filter dropped, in the order of the spec, `where` last. Absent in records of earlier releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter_counts: Vec<FilterCount>,
    /// Number of redacted values, by column of the shards and redaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<u64>,
    /// Its shards.
    pub files: Vec<FileEntry>,
    /// Signature by the key that signs the job's manifests, if the job signs.
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
    /// The run that wrote it.
    pub run: String,
    /// Version of the program that counted the rows.
    pub tool_version: String,
    /// Row counts.
    pub counts: TaskCounts,
    /// Rows that could not be read or placed in a partition.
    pub unplaced: Vec<Unplaced>,
    /// The rejects file.
    pub rejects: Option<crate::package::manifest::RejectsEntry>,
    /// Signature by the key that signs the job's manifests, if the job signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The rows that a task accounts for. In units that it does not own, only rows of its own partitions count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Rows of the units it owns.
    pub source_rows: u64,
    /// Owned rows in partitions of other tasks.
    pub elsewhere: u64,
    /// Rows of its partitions in units that other tasks own.
    pub visiting: u64,
    /// Owned rows that could not be read.
    pub rejected: u64,
    /// Owned rows without a time.
    pub null_time: u64,
    /// Owned rows outside the window.
    pub outside_window: u64,
    /// Owned rows whose local time exists twice or never in its zone.
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

/// A record that can be signed.
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

/// The bytes that a signature covers: a prefix that no manifest starts with, the record's name, and the record without its
/// signature.
fn signed_bytes<T: Signed>(name: &str, record: &T) -> Result<Vec<u8>, StateError> {
    let mut unsigned = record.clone();
    *unsigned.signature() = None;
    let mut text = format!("kt-export state {STATE_VERSION}: {name}\n").into_bytes();
    text.extend(bytes(name, &unsigned)?);
    Ok(text)
}

/// Signs a record, if the job signs.
///
/// # Errors
/// `key_unusable`.
pub fn sign<T: Signed>(name: &str, record: &mut T, signer: Option<&Signer>) -> Result<(), Failure> {
    if let Some(signer) = signer {
        *record.signature() = Some(signer.sign(&signed_bytes(name, record)?)?);
    }
    Ok(())
}

/// Whether a record is signed by the job's key. Always true if the job does not sign.
pub fn is_proven<T: Signed>(name: &str, record: &T, signer: Option<&Signer>) -> bool {
    let Some(signer) = signer else { return true };
    let Some(signature) = record.clone().signature().take() else { return false };
    let Ok(signed) = signed_bytes(name, record) else { return false };
    signature::check(signature.as_bytes(), &signed)
        .is_ok_and(|key| signature::is_named(&signer.record().public_key, &key))
}

/// Refuses records of other versions.
pub(super) fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if version == STATE_VERSION {
        return Ok(version);
    }
    Err(D::Error::custom(format!("state version {version}, and this release reads {STATE_VERSION}")))
}

/// Why a file in `_state/` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not in this version's format.
    #[error("{name} cannot be read; restore it, or remove the output folder to start over")]
    Unreadable {
        /// Name of the file.
        name: String,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a record; `None` if there is none.
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
        Self::of(code, &error)
    }
}
