//! Sealed parts to a committed partition: every part under its name, then the record that makes them count.
//!
//! The record is created exclusively, so that of any number of runs exactly one commits a partition. A part that is
//! there without a record was left by a run that died in between, or is just being committed by another one, whose
//! bytes are the same; only bytes that differ are replaced. Encrypted parts differ from run to run, and so do their names.

use super::failure::{Failure, chain};
use super::record::{PartitionRecord, bytes, file_sha256, load, partition_record};
use super::rejects::RejectsPart;
use super::shard::Part;
use crate::error::ErrorCode;
use crate::manifest::{FileEntry, FileStatus, FilterCount, ManifestPartition, RejectsEntry};
use crate::plan::Partition;
use crate::store::{Created, Draft, Folder, Publish, StoreError};

/// What a commit record says besides its parts.
pub struct Commit<'a> {
    /// The job.
    pub job: &'a str,
    /// This run.
    pub run: &'a str,
    /// Which partition.
    pub partition: &'a Partition,
    /// Digest of what it is made from.
    pub inputs: &'a str,
    /// Rows that the predicate dropped, by the first of its tests that is not true of them.
    pub filter_counts: Vec<FilterCount>,
    /// Values redacted.
    pub redacted: &'a [u64],
    /// Runs that tried it, this one included.
    pub attempts: u32,
    /// Why the partition is partial, if it is.
    pub left_out: Option<&'a Failure>,
    /// Now.
    pub at: jiff::Timestamp,
}

/// Commits a partition. If another run was first, its record is given back.
///
/// # Errors
/// The store's; nothing is committed then.
pub fn commit(folder: &Folder, commit: &Commit<'_>, parts: Vec<Part>) -> Result<PartitionRecord, Failure> {
    let name = partition_record(&commit.partition.label);
    // A run that slept while others went on must not touch what they committed.
    if let Some(record) = load(folder, &name)? {
        return ours(folder, commit, record, &[]);
    }
    let mut files = Vec::with_capacity(parts.len());
    for part in parts {
        files.push(entry(commit, &part));
        let published = publish(folder, &part.name, part.draft, part.bytes, &part.sha256);
        // Another run that finished the job has cleaned up: its record says all.
        if let Err(error) = &published
            && let Some(record) = load(folder, &name)?
        {
            tracing::debug!("{}: {}, committed by another run", part.name, chain(error));
            return ours(folder, commit, record, &files);
        }
        published?;
    }
    let record = PartitionRecord {
        state_version: super::record::STATE_VERSION,
        job: commit.job.to_owned(),
        run: commit.run.to_owned(),
        inputs: commit.inputs.to_owned(),
        filtered_out: commit.filter_counts.iter().map(|filter| filter.rows).sum(),
        filter_counts: commit.filter_counts.clone(),
        redacted: commit.redacted.to_vec(),
        files,
    };
    if folder.create_bytes(&name, &bytes(&name, &record)?)? == Created::Exists {
        let theirs = load(folder, &name)?.unwrap_or_else(|| record.clone());
        return ours(folder, commit, theirs, &record.files);
    }
    // A run that gave this partition up may have cleaned away the parts before the record was there.
    for file in &record.files {
        if folder.size(&file.path)? != Some(file.bytes) {
            folder.remove(&name)?;
            let message = format!("{} was removed by another run of the job; run again", file.path);
            return Err(Failure { code: ErrorCode::WriteFailed, message });
        }
    }
    Ok(record)
}

/// Another run's record counts if it is about the same rows. What this run has published under names of its own goes.
fn ours(
    folder: &Folder,
    commit: &Commit<'_>,
    record: PartitionRecord,
    published: &[FileEntry],
) -> Result<PartitionRecord, Failure> {
    for file in published.iter().filter(|ours| record.files.iter().all(|theirs| theirs.path != ours.path)) {
        folder.remove(&file.path)?;
    }
    if record.job == commit.job && record.inputs == commit.inputs {
        return Ok(record);
    }
    let label = &commit.partition.label;
    Err(if record.job == commit.job {
        let message =
            format!("another run has exported partition {label} from other source files meanwhile; run again");
        Failure { code: ErrorCode::SourceChanged, message }
    } else {
        let message = format!("another job, {}, has exported partition {label} here meanwhile", record.job);
        Failure { code: ErrorCode::PackageOccupied, message }
    })
}

/// Publishes a task's rejects.
///
/// # Errors
/// The store's.
pub fn rejects(folder: &Folder, part: RejectsPart) -> Result<RejectsEntry, Failure> {
    publish(folder, &part.name, part.draft, part.bytes, &part.sha256)?;
    Ok(RejectsEntry {
        path: part.name,
        rows: part.rows,
        bytes: part.bytes,
        sha256: part.sha256,
        plain_bytes: part.plain.as_ref().map(|plain| plain.bytes),
        plain_sha256: part.plain.map(|plain| plain.sha256),
        sealed: part.sealed,
    })
}

/// Gives a draft its name. What is there already stays if it is the same.
fn publish(folder: &Folder, name: &str, draft: Draft, bytes: u64, sha256: &str) -> Result<(), StoreError> {
    if !folder.has_exclusive_names() {
        // Nobody else's.
        return draft.publish(Publish::Create);
    }
    let same = || {
        folder.size(name).is_ok_and(|size| size == Some(bytes))
            && file_sha256(folder, name).is_ok_and(|there| there.as_deref() == Some(sha256))
    };
    if folder.size(name)?.is_some() && !same() {
        return draft.publish(Publish::Replace);
    }
    match draft.publish(Publish::Create) {
        Err(StoreError::AlreadyExists { .. }) if same() => Ok(()),
        published => published,
    }
}

fn entry(commit: &Commit<'_>, part: &Part) -> FileEntry {
    FileEntry {
        path: part.name.clone(),
        status: if commit.left_out.is_some() { FileStatus::Partial } else { FileStatus::Complete },
        partition: manifest_partition(commit.partition),
        rows: part.rows,
        bytes: part.bytes,
        sha256: Some(part.sha256.clone()),
        plain_bytes: part.plain.as_ref().map(|plain| plain.bytes),
        plain_sha256: part.plain.as_ref().map(|plain| plain.sha256.clone()),
        rows_digest: part.rows_digest.as_ref().map(ToString::to_string),
        sealed: part.sealed.clone(),
        min_time: part.min_time,
        max_time: part.max_time,
        attempts: commit.attempts,
        started_at: Some(part.started_at),
        finalized_at: Some(commit.at),
        error_code: commit.left_out.map(|f| f.code),
        error: commit.left_out.map(|f| f.message.clone()),
    }
}

/// A partition as the manifest names it.
pub fn manifest_partition(partition: &Partition) -> ManifestPartition {
    ManifestPartition { label: partition.label.clone(), start: partition.start, end: partition.end }
}
