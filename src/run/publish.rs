//! A manifest to its name, after what does not belong beside it is gone, and before what derives from it.
//!
//! The manifest is replaced by compare-and-swap: of several runs that end at once one writes it, and a complete one
//! stays.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::differs;
use super::failure::{Failure, chain};
use super::notary::{self, Place, kept_manifest};
use super::package::Package;
use super::record::{PartitionRecord, Records, TaskRecord, partition_record, task_key, task_record};
use super::{RunError, RunOutcome};
use crate::error::ErrorCode;
use crate::job::Job;
use crate::manifest::{JobStatus, MANIFEST, Manifest, RunRecord, SHA256SUMS, SIGNATURE};
use crate::report::{self, HEAD_BYTES, REPORT};
use crate::seal::sha256;
use crate::store::{Folder, StoreError, Swap};

/// Publishes the manifest of a run, unless what an earlier run published stands.
///
/// # Errors
/// [`RunError::Failed`].
pub fn publish(job: &Job, package: &Package, mut manifest: Manifest, run: RunRecord) -> Result<RunOutcome, RunError> {
    package.check_plan()?;
    manifest.signer = package.notary.signer();
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
        return Err(differs::failure(path, previous, new).into());
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
        (m.previous, m.link) = (None, None);
        m.runs.clear();
        for file in &mut m.files {
            (file.attempts, file.started_at, file.finalized_at) = (0, None, None);
        }
        m
    };
    timeless(previous) == timeless(new)
}

/// Removes what is below `data/` and `rejects/` and not in the manifest: dead runs' files. What a record names stays:
/// another run has just committed it, and may have written a manifest that names it. What has no record yet stays too:
/// another run may be about to commit it, and no look at the records is late enough to rule that out. The run that
/// completes the job finds a record for everything, and so removes the rest.
fn clean(package: &Package, manifest: &Manifest) -> Result<(), RunError> {
    let folder = &package.folder;
    let listed: BTreeSet<&str> = manifest.digests().map(|(name, _)| name).collect();
    let mut unlisted = folder.list("data/")?;
    unlisted.extend(folder.list("rejects/")?);
    unlisted.retain(|there| !listed.contains(there.name.as_str()));
    if unlisted.is_empty() {
        return Ok(());
    }
    let recorded = Recorded::of(package)?;
    for there in unlisted.iter().filter(|there| !recorded.files.contains(&there.name)) {
        if recorded.open.contains(owner(&there.name)) {
            tracing::info!("leaving {}, which another run may be about to commit", there.name);
        } else {
            tracing::info!("removing {}, which no run committed", there.name);
            folder.remove(&there.name)?;
        }
    }
    Ok(())
}

/// The partition or task of a file: `data/<label>` or `rejects/<key>`.
fn owner(name: &str) -> &str {
    let ends = |c| if name.starts_with("data/") { c == '/' } else { c == '.' };
    let start = name.find('/').map_or(0, |slash| slash + 1);
    let end = name.get(start..).and_then(|rest| rest.find(ends)).map_or(name.len(), |end| start + end);
    name.get(..end).unwrap_or(name)
}

/// What the records of the plan's partitions and tasks tell.
#[derive(Default)]
struct Recorded {
    /// Files that they name.
    files: BTreeSet<String>,
    /// Owners of files that have no record yet.
    open: BTreeSet<String>,
}

impl Recorded {
    fn of(package: &Package) -> Result<Self, RunError> {
        let Package { folder, pinned, .. } = package;
        let mut recorded = Self::default();
        let records = Records::listed(folder)?;
        for partition in &pinned.plan.partitions {
            match records.load::<PartitionRecord>(&partition_record(&partition.label))? {
                Some(record) => recorded.files.extend(record.files.into_iter().map(|f| f.path)),
                None => drop(recorded.open.insert(format!("data/{}", partition.label))),
            }
        }
        for task in &pinned.plan.tasks {
            let key = task_key(task, &pinned.files, &pinned.plan.partitions);
            match records.load::<TaskRecord>(&task_record(&key))? {
                Some(record) => recorded.files.extend(record.rejects.map(|r| r.path)),
                None => drop(recorded.open.insert(format!("rejects/{key}"))),
            }
        }
        Ok(recorded)
    }
}

/// Compare-and-swap: of several runs that end at once one writes the manifest, and a complete one stays.
fn write(job: &Job, package: &Package, mut manifest: Manifest, run: RunRecord) -> Result<RunOutcome, RunError> {
    let folder = &package.folder;
    let mut previous = package.previous.clone();
    loop {
        manifest.runs = previous.iter().flat_map(|m| m.runs.clone()).chain([run.clone()]).collect();
        let expected = previous.as_ref().map(|m| sha256(&m.to_json_bytes()));
        let kept = expected.as_deref().map(kept_manifest);
        let place = package.notary.attest(folder, &mut manifest, expected.as_deref())?;
        let bytes = manifest.to_json_bytes();
        if place == Place::Taken
            && folder.replace_bytes_if(MANIFEST, expected.as_deref(), &bytes, kept.as_deref())? == Swap::Replaced
        {
            if manifest.signer.is_none() && previous.is_some_and(|previous| previous.signer.is_some()) {
                folder.remove(SIGNATURE)?;
            }
            complete_derived(folder, &manifest)?;
            sweep(folder, &manifest);
            return Ok(RunOutcome { manifest, package: job.output.clone(), unchanged: false });
        }
        notary::settle(job, folder)?;
        let theirs = folder.read(MANIFEST)?;
        if theirs.as_deref().map(sha256) == expected {
            // Another job's run was faster in the chain, and this one lines up behind it.
            continue;
        }
        let theirs = theirs.and_then(|bytes| Manifest::from_json(&bytes).ok());
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
    let digest = sha256(&bytes);
    // Before SHA256SUMS, whose presence says that nothing is missing.
    notary::complete_signature(folder, manifest, &bytes)?;
    complete_report(folder, manifest, &digest);
    let sums = manifest.sha256sums(&digest);
    if folder.read(SHA256SUMS)?.as_deref() != Some(sums.as_bytes()) {
        folder.replace_bytes(SHA256SUMS, sums.as_bytes())?;
    }
    Ok(())
}

/// Writes the page for people, unless there is one of this manifest, by whatever release: a complete package does not
/// change. It can be made again at any time, so a store that refuses it is told and no more.
fn complete_report(folder: &Folder, manifest: &Manifest, manifest_sha256: &str) {
    if has_report(folder, manifest_sha256) {
        return;
    }
    let written = match report::html(manifest, manifest_sha256) {
        Ok(page) => folder.replace_bytes(REPORT, page.as_bytes()).map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    if let Err(why) = written {
        tracing::warn!("{REPORT} is not written, which `kt-export report` can do later: {why}");
    }
}

/// Whether the page that is there says that it is about this manifest. Its head is enough: nobody sees half a page.
fn has_report(folder: &Folder, manifest_sha256: &str) -> bool {
    let head = || -> Option<bool> {
        let page = folder.open_file(REPORT).ok()??;
        let head = page.read_at(0, page.bytes().min(HEAD_BYTES)).ok()?;
        Some(report::describes(&head, manifest_sha256))
    };
    head().unwrap_or(false)
}
