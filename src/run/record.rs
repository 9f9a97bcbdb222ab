//! What a run leaves in `_state/` so that another one can go on: the pinned plan, a record per committed partition,
//! a record per task.
//!
//! A record is created once, and never changed or removed while it counts. It says what was made from what: tasks and
//! partitions carry keys that are digests of their inputs, so a record found later is either about the same rows or
//! recognisably about others. Names carry the generation of the plan, see [`super::log`].
//!
//! Where the spec signs, so are records: whoever resumes a job must not sign what somebody without the key has written.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::datatypes::Schema;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::ledger::TaskCounts;
use super::log::suffix;
use super::unplaced::Unplaced;
use crate::manifest::{EncryptionRecord, FileEntry, FilterCount};
use crate::plan::{Partition, Plan, Task};
use crate::seal::sha256_of;
use crate::signature::{self, Signer};
use crate::source::files::list::SkippedFile;
use crate::source::{FileFacts, SourceFile, TimeRange};
use crate::store::{Folder, StoreError};

/// The pinned plan.
pub const PLAN: &str = "_state/plan.json";
/// Version of everything in `_state/`.
pub const STATE_VERSION: u32 = 2;
/// The version of the program, in plans and records: another version may make other bytes of the same rows.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

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
    pub rejects: Option<crate::manifest::RejectsEntry>,
    /// By the key that signs the job's manifests, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
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
fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if version == STATE_VERSION {
        return Ok(version);
    }
    Err(D::Error::custom(format!("state version {version}, and this release reads {STATE_VERSION}")))
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
            && pinned.plan.concerns.iter().all(|c| c.partitions.end as usize <= partitions);
        if whole {
            return Ok(pinned);
        }
        Err(unreadable(serde_json::Error::custom("its parts do not fit each other")))
    }
}

/// Where the records of partitions are.
pub const PARTITION_RECORDS: &str = "_state/partitions/";
/// Where the records of tasks are.
pub const TASK_RECORDS: &str = "_state/tasks/";

/// Name of a partition's record.
pub fn partition_record(label: &str, generation: u32) -> String {
    format!("{PARTITION_RECORDS}{label}{}.json", suffix(generation))
}

/// Name of a task's record.
pub fn task_record(key: &str, generation: u32) -> String {
    format!("{TASK_RECORDS}{key}{}.json", suffix(generation))
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

/// Names a task by what it reads and writes.
pub fn task_key(task: &Task, files: &[SourceFile], partitions: &[Partition]) -> String {
    let mut digest = Sha256::new();
    for read in &task.reads {
        let file = &files[read.file as usize];
        digest.update(unit_identity(file, read.unit));
        digest.update([u8::from(read.owner)]);
    }
    for p in task.partitions.clone() {
        let partition = &partitions[p as usize];
        digest.update(format!("{}\0{}\0{}\0", partition.label, partition.start, partition.end));
    }
    data_encoding::HEXLOWER.encode(&digest.finalize()[..8])
}

/// For each partition the digest of the units that may hold its rows and of the columns.
pub fn inputs(partitions: &[Partition], files: &[SourceFile], facts: &[FileFacts], schema: &Schema) -> Vec<String> {
    // XOR, so that a unit is added to a partition in any order and, where nothing is known of its times, to all at once.
    let mut everywhere = [0u8; 16];
    let mut digests = vec![[0u8; 16]; partitions.len()];
    let xor = |into: &mut [u8; 16], unit: &[u8; 16]| into.iter_mut().zip(unit).for_each(|(a, b)| *a ^= b);
    xor(&mut everywhere, &short_digest(format!("{schema:?}").as_bytes()));
    for (file, facts) in files.iter().zip(facts) {
        for (index, unit) in (0u32..).zip(&facts.units) {
            let identity = short_digest(&unit_identity(file, index));
            match unit.times {
                TimeRange::Within { min, max } => {
                    let first = partitions.partition_point(|p| p.end <= min);
                    let end = partitions.partition_point(|p| p.start <= max);
                    digests[first.min(end)..end].iter_mut().for_each(|d| xor(d, &identity));
                }
                TimeRange::Unknown => xor(&mut everywhere, &identity),
                TimeRange::Empty => {}
            }
        }
    }
    digests
        .into_iter()
        .map(|mut digest| {
            xor(&mut digest, &everywhere);
            data_encoding::HEXLOWER.encode(&digest)
        })
        .collect()
}

fn unit_identity(file: &SourceFile, unit: u32) -> Vec<u8> {
    let etag = file.etag.as_ref().map_or(String::new(), |etag| format!("{etag}\0"));
    format!("{}\0{}\0{}\0{unit}\0{etag}", file.name, file.bytes, file.modified).into_bytes()
}

fn short_digest(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(bytes)[..16]);
    short
}

/// SHA-256 of a file of the package, lower-case hex; `None` where it is not there.
///
/// # Errors
/// The store's. A file that cannot be read is not a missing one, or its partition would be exported again.
pub fn file_sha256(folder: &Folder, name: &str) -> Result<Option<String>, StoreError> {
    let Some(file) = folder.open_file(name)? else { return Ok(None) };
    sha256_of(file.into_reader()).map(Some).map_err(|error| StoreError::reading(&folder.location().join(name), error))
}
