//! A manifest to its name, after what does not belong beside it is gone, and before what derives from it.
//!
//! The manifest is replaced by compare-and-swap: of several runs that end at once one writes it, and a complete one
//! stays.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::failure::{Failure, chain};
use super::package::Package;
use super::record::{PartitionRecord, Records, TaskRecord, partition_record, task_key, task_record};
use super::{RunError, RunOutcome};
use crate::error::ErrorCode;
use crate::job::Job;
use crate::manifest::{JobStatus, MANIFEST, Manifest, RunRecord, SHA256SUMS};
use crate::seal::sha256;
use crate::store::{Folder, StoreError, Swap};

/// Publishes the manifest of a run, unless what an earlier run published stands.
///
/// # Errors
/// [`RunError::Failed`].
pub fn publish(job: &Job, package: &Package, manifest: Manifest, run: RunRecord) -> Result<RunOutcome, RunError> {
    package.check_plan()?;
    if let Some(previous) = &package.previous
        && (previous.status == JobStatus::Complete || tells_the_same(previous, &manifest))
    {
        return keep(job, package, previous, &manifest);
    }
    clean(package, &manifest)?;
    write(job, package, manifest, run)
}

/// What an earlier run wrote stands: a repaired package, or a job of which nothing could be made better.
fn keep(job: &Job, package: &Package, previous: &Manifest, new: &Manifest) -> Result<RunOutcome, RunError> {
    let exported: BTreeSet<_> = new.digests().collect();
    if let Some((path, _)) = previous.digests().find(|file| !exported.contains(file)) {
        return Err(RunError::Failed(Failure {
            code: ErrorCode::PackageDamaged,
            message: format!(
                "{path} was exported again and is not what the manifest says: the source has changed since the package was complete"
            ),
        }));
    }
    clean(package, previous)?;
    complete_derived(&package.folder, previous)?;
    sweep(&package.folder, previous);
    Ok(RunOutcome { manifest: previous.clone(), package: job.output.clone(), unchanged: true })
}

/// Whether two manifests differ only in when they were made and how often it was tried.
fn tells_the_same(previous: &Manifest, new: &Manifest) -> bool {
    let timeless = |m: &Manifest| {
        let mut m = m.clone();
        let epoch = Timestamp::UNIX_EPOCH;
        (m.created_at, m.started_at, m.finalized_at, m.expires_at) = (epoch, epoch, epoch, None);
        m.runs.clear();
        for file in &mut m.files {
            (file.attempts, file.started_at, file.finalized_at) = (0, None, None);
        }
        m
    };
    timeless(previous) == timeless(new)
}

/// Removes what is below `data/` and `rejects/` and not in the manifest: dead runs' files. What a record names stays:
/// another run has just committed it, and may have written a manifest that names it.
fn clean(package: &Package, manifest: &Manifest) -> Result<(), RunError> {
    let folder = &package.folder;
    let listed: BTreeSet<&str> = manifest.digests().map(|(name, _)| name).collect();
    let mut unlisted = folder.list("data/")?;
    unlisted.extend(folder.list("rejects/")?);
    unlisted.retain(|there| !listed.contains(there.name.as_str()));
    if unlisted.is_empty() {
        return Ok(());
    }
    let recorded = recorded(package)?;
    for there in unlisted.iter().filter(|there| !recorded.contains(&there.name)) {
        tracing::info!("removing {}, which no run committed", there.name);
        folder.remove(&there.name)?;
    }
    Ok(())
}

/// Files that records of the plan's partitions and tasks name.
fn recorded(package: &Package) -> Result<BTreeSet<String>, RunError> {
    let Package { folder, pinned, .. } = package;
    let mut names = BTreeSet::new();
    let records = Records::listed(folder)?;
    for partition in &pinned.plan.partitions {
        let record: Option<PartitionRecord> = records.load(&partition_record(&partition.label))?;
        names.extend(record.into_iter().flat_map(|r| r.files).map(|f| f.path));
    }
    for task in &pinned.plan.tasks {
        let key = task_key(task, &pinned.files, &pinned.plan.partitions);
        let record: Option<TaskRecord> = records.load(&task_record(&key))?;
        names.extend(record.and_then(|r| r.rejects).map(|r| r.path));
    }
    Ok(names)
}

/// Compare-and-swap: of several runs that end at once one writes the manifest, and a complete one stays.
fn write(job: &Job, package: &Package, mut manifest: Manifest, run: RunRecord) -> Result<RunOutcome, RunError> {
    let folder = &package.folder;
    let mut previous = package.previous.clone();
    loop {
        manifest.runs = previous.iter().flat_map(|m| m.runs.clone()).chain([run.clone()]).collect();
        let bytes = manifest.to_json_bytes();
        let expected = previous.as_ref().map(|m| sha256(&m.to_json_bytes()));
        let kept = expected.as_deref().map(|digest| format!("_state/manifests/{}.json", &digest[..16]));
        if folder.replace_bytes_if(MANIFEST, expected.as_deref(), &bytes, kept.as_deref())? == Swap::Replaced {
            complete_derived(folder, &manifest)?;
            sweep(folder, &manifest);
            return Ok(RunOutcome { manifest, package: job.output.clone(), unchanged: false });
        }
        folder.settle(MANIFEST)?;
        let theirs = folder.read(MANIFEST)?.and_then(|bytes| Manifest::from_json(&bytes).ok());
        match theirs {
            Some(theirs) if theirs.id == manifest.id && is_as_good(&theirs, &manifest) => {
                complete_derived(folder, &theirs)?;
                return Ok(RunOutcome { manifest: theirs, package: job.output.clone(), unchanged: true });
            }
            Some(theirs) if theirs.id == manifest.id => previous = Some(theirs),
            _ => {
                let message = format!("{MANIFEST} was replaced by something else while this run ended");
                return Err(RunError::Failed(Failure { code: ErrorCode::PackageOccupied, message }));
            }
        }
    }
}

fn is_as_good(theirs: &Manifest, ours: &Manifest) -> bool {
    let usable = |m: &Manifest| m.files.iter().filter(|f| f.status.has_file()).count();
    theirs.status == JobStatus::Complete || usable(theirs) >= usable(ours)
}

/// Removes what dead runs have left half-done. The package does not need it, so a store that refuses is told and no more.
pub fn sweep(folder: &Folder, manifest: &Manifest) {
    match folder.remove_drafts(manifest.status == JobStatus::Complete) {
        Ok(names) => names.iter().for_each(|name| tracing::info!("removing the unfinished {name}")),
        Err(error) => tracing::warn!("what dead runs left behind stays for now: {}", chain(&error)),
    }
}

/// Writes what derives from the manifest, where it is not there yet.
///
/// # Errors
/// The store's.
pub fn complete_derived(folder: &Folder, manifest: &Manifest) -> Result<(), StoreError> {
    let Some(bytes) = folder.read(MANIFEST)? else { return Ok(()) };
    let sums = manifest.sha256sums(&sha256(&bytes));
    if folder.read(SHA256SUMS)?.as_deref() != Some(sums.as_bytes()) {
        folder.replace_bytes(SHA256SUMS, sums.as_bytes())?;
    }
    Ok(())
}
