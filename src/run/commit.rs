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
use crate::package::layout::{MANIFEST, name_with_run, name_without_run, partition_record};
use crate::package::manifest::{FileEntry, FileStatus, FilterCount, Manifest, ManifestPartition, RejectsEntry};
use crate::package::state::{PartitionRecord, STATE_VERSION, TOOL_VERSION, bytes, is_proven, load, sign};
use crate::plan::Partition;
use crate::signature::Signer;
use crate::store::{Created, Draft, Folder, Publish, StoreError};

/// Everything about a partition's commit except its parts.
pub(super) struct PartitionCommit<'a> {
    /// Id of the job.
    pub job: &'a str,
    /// Id of this run.
    pub run: &'a str,
    /// The generation to commit in.
    pub generation: u32,
    pub partition: &'a Partition,
    /// Digest of the partition's inputs.
    pub inputs: &'a str,
    /// Rows that each filter dropped. A row counts for the first filter that it fails.
    pub filter_counts: Vec<FilterCount>,
    /// Number of redacted values, by column of the shards and redaction.
    pub redacted: &'a [u64],
    /// Number of runs that tried the partition, including this one.
    pub attempts: u32,
    /// Why the partition is partial; `None` if it is complete.
    pub partial_reason: Option<&'a Failure>,
    /// Signs the record, if the job signs.
    pub signer: Option<&'a Signer>,
    /// Time of the commit.
    pub at: jiff::Timestamp,
}

/// A published file.
struct Published {
    name: String,
    /// Whether this run created the file; false if another run had published the same bytes.
    is_new: bool,
}

/// A task's published rejects file.
pub(super) struct PublishedRejects {
    pub entry: RejectsEntry,
    /// Whether this run created the file; false if another run had published the same bytes.
    pub is_new: bool,
}

/// Commits a partition. If another run was first, returns that run's record.
///
/// # Errors
/// Errors of signing and of the store; after the latter the record may exist. If another run was first:
/// `package_occupied` if its record is about another job or other inputs, `key_unusable` if it is not signed by this job's
/// key, `package_damaged` if its files changed.
pub(super) fn commit_partition(
    folder: &Folder,
    commit: &PartitionCommit<'_>,
    parts: Vec<Part>,
) -> Result<PartitionRecord, Failure> {
    let name = partition_record(&commit.partition.label, commit.generation);
    let mut files = Vec::with_capacity(parts.len());
    // Names of the files that only this run published.
    let mut created = Vec::new();
    // Check first, so that a run that was suspended publishes nothing that it would have to remove.
    if let Some(winner) = load(folder, &name)? {
        return yield_to_winner(folder, commit, &name, winner, &files, &created);
    }
    for part in parts {
        let mut entry = entry(commit, &part);
        match publish(folder, part.draft, &part.sha256, commit.run) {
            Ok(published) => {
                entry.path.clone_from(&published.name);
                files.push(entry);
                if published.is_new {
                    created.push(published.name);
                }
            }
            Err(error) => {
                // Another run may have finished the job and removed this run's draft; then its record counts.
                let Some(winner) = load(folder, &name)? else { return Err(error.into()) };
                tracing::debug!("{}: {}, committed by another run", part.name, chain(&error));
                return yield_to_winner(folder, commit, &name, winner, &files, &created);
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
    let Some(winner) = load(folder, &name)? else { return Err(vanished(&name)) };
    yield_to_winner(folder, commit, &name, winner, &record.files, &created)
}

/// `write_failed` rather than `package_damaged`, because running again can succeed.
fn vanished(name: &str) -> Failure {
    let message = format!("{name} disappeared: another program is removing files of the package; run again");
    Failure::new(ErrorCode::WriteFailed, message)
}

/// Removes the files that only this run published, then checks and returns the record of the run that was first.
fn yield_to_winner(
    folder: &Folder,
    commit: &PartitionCommit<'_>,
    name: &str,
    winner: PartitionRecord,
    published: &[FileEntry],
    created: &[String],
) -> Result<PartitionRecord, Failure> {
    let is_listed = |path: &str| winner.files.iter().any(|file| file.path == path);
    for path in created.iter().filter(|path| !is_listed(path)) {
        folder.remove(path)?;
    }
    let label = &commit.partition.label;
    let reject =
        |code, what: String| Failure::new(code, format!("{name}, written by another run, {what}")).in_partition(label);
    if winner.job != commit.job || winner.inputs != commit.inputs {
        let what = format!("belongs to another job or to other inputs of partition {label}; run again");
        return Err(reject(ErrorCode::PackageOccupied, what));
    }
    if !is_proven(name, &winner, commit.signer) {
        return Err(reject(
            ErrorCode::KeyUnusable,
            "is not signed by this job's key; run again to export it again".to_owned(),
        ));
    }
    // Equal digests: this run has just written or hashed the same bytes. Otherwise hash the winner's files.
    let digests = |files: &[FileEntry]| files.iter().map(|f| f.sha256.clone()).collect::<Vec<_>>();
    if digests(&winner.files) != digests(published) {
        for file in &winner.files {
            if folder.sha256(&file.path)? != file.sha256 {
                let what =
                    format!("names {}, which has other bytes or is missing; `--repair` exports it again", file.path);
                return Err(reject(ErrorCode::PackageDamaged, what));
            }
        }
    }
    Ok(winner)
}

/// Publishes a task's rejects file.
///
/// # Errors
/// Errors of the store.
pub(super) fn publish_rejects(folder: &Folder, part: RejectsPart, run: &str) -> Result<PublishedRejects, Failure> {
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
    Ok(PublishedRejects { entry, is_new })
}

/// Publishes a draft under its name. If a file with the same bytes has that name, keeps that file; if one with different
/// bytes has it, adds the run's id to the name.
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
    let fallback = name_with_run(&name, run);
    tracing::warn!("{name} already exists with different bytes, from another run; this run writes {fallback}");
    draft.rename(&fallback)?;
    draft.publish(Publish::Create)?;
    Ok(Published { name: fallback, is_new: true })
}

/// Repairs a partition: replaces its damaged files with newly exported parts whose bytes match the manifest.
///
/// # Errors
/// `package_damaged` if the parts have different bytes; errors of the store.
pub(super) fn restore(folder: &Folder, manifest: &Manifest, label: &str, parts: Vec<Part>) -> Result<(), Failure> {
    let listed: Vec<&FileEntry> =
        manifest.files.iter().filter(|f| f.status.has_file() && f.partition.label == label).collect();
    if listed.len() != parts.len() {
        let message = format!(
            "partition {label}: the new export has {} files, but the manifest lists {}. The export is not reproducible; \
             restore the files from a copy",
            parts.len(),
            listed.len()
        );
        return Err(Failure::new(ErrorCode::PackageDamaged, message).in_partition(label));
    }
    // The manifest lists the parts of a partition in order.
    for (file, part) in listed.iter().zip(parts) {
        let Some(listed_sha256) = &file.sha256 else {
            let message = format!("{MANIFEST} lists {} without a SHA-256; restore {MANIFEST} from a copy", file.path);
            return Err(Failure::new(ErrorCode::PackageDamaged, message).in_partition(label));
        };
        restore_file(folder, &file.path, listed_sha256, part.draft, &part.sha256)?;
    }
    Ok(())
}

/// As [`restore`], for a task's rejects.
///
/// # Errors
/// As [`restore`].
pub(super) fn restore_rejects(folder: &Folder, manifest: &Manifest, part: RejectsPart) -> Result<(), Failure> {
    let key = name_without_run(&part.name);
    // A complete manifest that does not list the file has nothing to restore.
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
            "{path}: the new export has the SHA-256 {sha256}, but the manifest lists {listed_sha256}. Either the source \
             changed without changing its sizes and times, or the export is not reproducible; restore the file from a copy"
        );
        return Err(Failure::new(ErrorCode::PackageDamaged, message));
    }
    if folder.sha256(path)?.as_deref() == Some(sha256) {
        return Ok(());
    }
    draft.rename(path)?;
    Ok(draft.publish(Publish::Replace)?)
}

fn entry(commit: &PartitionCommit<'_>, part: &Part) -> FileEntry {
    FileEntry {
        path: part.name.clone(),
        status: if commit.partial_reason.is_some() { FileStatus::Partial } else { FileStatus::Complete },
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
        error_code: commit.partial_reason.map(Failure::code),
        error: commit.partial_reason.map(ToString::to_string),
    }
}

/// Converts a partition to the manifest's form.
pub(super) fn manifest_partition(partition: &Partition) -> ManifestPartition {
    ManifestPartition { label: partition.label.clone(), start: partition.start, end: partition.end }
}

#[cfg(test)]
mod tests;
