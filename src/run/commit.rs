//! Commits a partition: publishes its parts under their names, then creates the record that makes them count.
//!
//! The record is created exclusively, so exactly one run commits a partition of a generation. A commit never replaces a
//! published file (only [`restore`] does). If a part already exists with the same bytes, it stays, because another run is
//! committing it or died before writing its record; if it exists with different bytes, the new part gets another name. If
//! another run's record wins, this run removes the parts that only it published.

use super::rejects::RejectsPart;
use super::shard::Part;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::package::layout::{name_with_run, name_without_run, partition_record};
use crate::package::manifest::{FileEntry, FileStatus, FilterCount, Manifest, ManifestPartition, RejectsEntry};
use crate::package::state::{PartitionRecord, STATE_VERSION, TOOL_VERSION, bytes, is_proven, load, sign};
use crate::plan::Partition;
use crate::signature::Signer;
use crate::store::{Created, Draft, Folder, Publish, StoreError};

/// The fields of a commit record, apart from its parts.
pub struct Commit<'a> {
    /// The job.
    pub job: &'a str,
    /// This run.
    pub run: &'a str,
    /// The generation to commit in.
    pub generation: u32,
    /// The partition.
    pub partition: &'a Partition,
    /// Digest of the partition's inputs.
    pub inputs: &'a str,
    /// Rows that the filters dropped, by the first filter that they fail.
    pub filter_counts: Vec<FilterCount>,
    /// Redacted values, by counter.
    pub redacted: &'a [u64],
    /// Number of runs that tried the partition, including this one.
    pub attempts: u32,
    /// Why the partition is partial, if it is.
    pub left_out: Option<&'a Failure>,
    /// Signs the record, if the job signs.
    pub signer: Option<&'a Signer>,
    /// Time of the commit.
    pub at: jiff::Timestamp,
}

/// A published file.
struct Published {
    name: String,
    /// Whether this run published it, rather than an earlier one.
    is_new: bool,
}

/// Commits a partition. If another run was first, returns that run's record.
///
/// # Errors
/// Errors of signing and of the store; after the latter the record may exist. If another run was first:
/// `package_occupied` if its record is about another job or other inputs, `key_unusable` if it is not signed by this job's
/// key, `package_damaged` if its files changed.
pub fn commit(folder: &Folder, commit: &Commit<'_>, parts: Vec<Part>) -> Result<PartitionRecord, Failure> {
    let name = partition_record(&commit.partition.label, commit.generation);
    let mut files = Vec::with_capacity(parts.len());
    let mut new = Vec::new();
    // Another run may have committed the partition while this one was suspended.
    if let Some(record) = load(folder, &name)? {
        return theirs(folder, commit, &name, record, &files, &new);
    }
    for part in parts {
        let mut entry = entry(commit, &part);
        match publish(folder, part.draft, &part.sha256, commit.run) {
            Ok(published) => {
                entry.path.clone_from(&published.name);
                files.push(entry);
                new.extend(published.is_new.then_some(published.name));
            }
            Err(error) => {
                // Another run may have finished the job and removed this run's draft; then its record counts.
                let Some(record) = load(folder, &name)? else { return Err(error.into()) };
                tracing::debug!("{}: {}, committed by another run", part.name, chain(&error));
                return theirs(folder, commit, &name, record, &files, &new);
            }
        }
    }
    let mut record = PartitionRecord {
        state_version: STATE_VERSION,
        job: commit.job.to_owned(),
        run: commit.run.to_owned(),
        tool_version: TOOL_VERSION.to_owned(),
        inputs: commit.inputs.to_owned(),
        filtered_out: commit.filter_counts.iter().map(|filter| filter.rows).sum(),
        filter_counts: commit.filter_counts.clone(),
        redacted: commit.redacted.to_vec(),
        files,
        signature: None,
    };
    sign(&name, &mut record, commit.signer)?;
    if folder.create_bytes(&name, &bytes(&name, &record)?)? == Created::Created {
        return Ok(record);
    }
    let Some(first) = load(folder, &name)? else { return Err(vanished(&name)) };
    theirs(folder, commit, &name, first, &record.files, &new)
}

fn vanished(name: &str) -> Failure {
    let message = format!("{name} disappeared: another program is removing files of the package; run again");
    Failure::new(ErrorCode::WriteFailed, message)
}

/// Checks and returns the record of another run that was first, and removes the files that this run published in vain.
fn theirs(
    folder: &Folder,
    commit: &Commit<'_>,
    name: &str,
    record: PartitionRecord,
    published: &[FileEntry],
    new: &[String],
) -> Result<PartitionRecord, Failure> {
    for path in new.iter().filter(|path| record.files.iter().all(|theirs| theirs.path != **path)) {
        folder.remove(path)?;
    }
    let label = &commit.partition.label;
    let wrong =
        |code, what: String| Failure::new(code, format!("{name}, written by another run, {what}")).in_partition(label);
    if record.job != commit.job || record.inputs != commit.inputs {
        return Err(wrong(ErrorCode::PackageOccupied, format!("is not about this job's partition {label}; run again")));
    }
    if !is_proven(name, &record, commit.signer) {
        return Err(wrong(
            ErrorCode::KeyUnusable,
            "is not signed by this job's key; run again to export it again".to_owned(),
        ));
    }
    let digests = |files: &[FileEntry]| files.iter().map(|f| f.sha256.clone()).collect::<Vec<_>>();
    if digests(&record.files) != digests(published) {
        for file in &record.files {
            if folder.sha256(&file.path)? != file.sha256 {
                let what =
                    format!("names {}, which has other bytes or is missing; `--repair` exports it again", file.path);
                return Err(wrong(ErrorCode::PackageDamaged, what));
            }
        }
    }
    Ok(record)
}

/// Publishes a task's rejects. The flag says whether this run published the file, rather than an earlier one.
///
/// # Errors
/// The store's.
pub fn rejects(folder: &Folder, part: RejectsPart, run: &str) -> Result<(RejectsEntry, bool), Failure> {
    let RejectsPart { draft, rows, bytes, sha256, plain, sealed, .. } = part;
    let Published { name, is_new } = publish(folder, draft, &sha256, run)?;
    let entry = RejectsEntry {
        path: name,
        rows,
        bytes,
        sha256,
        plain_bytes: plain.as_ref().map(|plain| plain.bytes),
        plain_sha256: plain.map(|plain| plain.sha256),
        sealed,
    };
    Ok((entry, is_new))
}

/// Publishes a draft under its name, or, if that name has different bytes, under a name that contains the run's id.
fn publish(folder: &Folder, mut draft: Draft, sha256: &str, run: &str) -> Result<Published, StoreError> {
    let name = draft.name().to_owned();
    if draft.create()? == Created::Created {
        return Ok(Published { name, is_new: true });
    }
    if folder.sha256(&name)?.as_deref() == Some(sha256) {
        // Its writer may have died before the file was durable.
        folder.make_durable(&name)?;
        return Ok(Published { name, is_new: false });
    }
    let own = name_with_run(&name, run);
    tracing::warn!("{name} already exists with different bytes, from another run; this run writes {own}");
    draft.rename(&own)?;
    draft.publish(Publish::Create)?;
    Ok(Published { name: own, is_new: true })
}

/// Replaces damaged files with newly exported parts, if those have the bytes that the complete manifest lists.
///
/// # Errors
/// `package_damaged` if the export has different bytes; the store's.
pub fn restore(folder: &Folder, manifest: &Manifest, label: &str, parts: Vec<Part>) -> Result<(), Failure> {
    let listed: Vec<&FileEntry> =
        manifest.files.iter().filter(|f| f.status.has_file() && f.partition.label == label).collect();
    if listed.len() != parts.len() {
        let message = format!(
            "partition {label} was exported again in {} files and the manifest lists {}: this export cannot be repeated, \
             restore the files from a copy",
            parts.len(),
            listed.len()
        );
        return Err(Failure::new(ErrorCode::PackageDamaged, message).in_partition(label));
    }
    for (file, part) in listed.iter().zip(parts) {
        restore_file(folder, &file.path, file.sha256.as_deref().unwrap_or_default(), part.draft, &part.sha256)?;
    }
    Ok(())
}

/// As [`restore`], for a task's rejects.
///
/// # Errors
/// As [`restore`].
pub fn restore_rejects(folder: &Folder, manifest: &Manifest, part: RejectsPart) -> Result<(), Failure> {
    let key = name_without_run(&part.name);
    let Some(listed) = manifest.rejects.iter().find(|file| name_without_run(&file.path) == key) else { return Ok(()) };
    restore_file(folder, &listed.path, &listed.sha256, part.draft, &part.sha256)
}

fn restore_file(
    folder: &Folder,
    path: &str,
    listed_sha256: &str,
    mut draft: Draft,
    sha256: &str,
) -> Result<(), Failure> {
    if sha256 != listed_sha256 {
        let message = format!(
            "{path} was exported again with the SHA-256 {sha256}, and the manifest lists {listed_sha256}: the files of the \
             source have their sizes and times and yet other rows, or this export cannot be repeated; restore the file \
             from a copy"
        );
        return Err(Failure::new(ErrorCode::PackageDamaged, message));
    }
    if folder.sha256(path)?.as_deref() == Some(sha256) {
        return Ok(());
    }
    draft.rename(path)?;
    Ok(draft.publish(Publish::Replace)?)
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
        error_code: commit.left_out.map(Failure::code),
        error: commit.left_out.map(ToString::to_string),
    }
}

/// A partition as the manifest names it.
pub fn manifest_partition(partition: &Partition) -> ManifestPartition {
    ManifestPartition { label: partition.label.clone(), start: partition.start, end: partition.end }
}
