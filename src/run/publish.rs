//! Publishes a run's manifest: appends it to the log, installs it, and then removes the files that it does not name.
//!
//! A manifest ends the generation in which its run committed. If several runs end at once, one of them decides; the others
//! return its outcome if it is as good as theirs.

use jiff::Timestamp;

use super::attestor::{self, LinkOutcome};
use super::install;
use super::open_package::{OpenPackage, append_signed};
use super::{RunError, RunOptions, RunOutcome, damage};
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::{self, MANIFEST, kept_manifest};
use crate::package::manifest::{JobStatus, Manifest};
use crate::package::state::log::{self, Entry};
use crate::store::Created;

/// Attempts before giving up when other jobs of the chain keep taking the next number.
const ROUNDS: usize = 64;

/// Publishes the manifest of a run. `None` if another run changed the log, so that this run has to start over.
///
/// # Errors
/// [`RunError::Failed`], [`RunError::Damaged`].
pub(super) fn publish(
    job: &Job,
    package: &OpenPackage,
    options: &RunOptions,
    mut manifest: Manifest,
) -> Result<Option<RunOutcome>, RunError> {
    let folder = &package.folder;
    let same = package.previous.as_ref().filter(|previous| is_equivalent(&previous.manifest, &manifest));
    for _ in 0..ROUNDS {
        if let Some(exit) = options.stop.exit() {
            return Err(RunError::Stopped(exit));
        }
        attestor::publish_linked(job, options, folder, package.attestor.signer())?;
        let Some(last) = log::read(folder)? else { return Ok(None) };
        if last != package.entry {
            return overtaken(job, package, &manifest, &last);
        }
        // A manifest must not name a missing file.
        let damage = damage::of_manifest(folder, &manifest, false, options.threads, &options.stop)?;
        if !damage.is_empty() {
            return Err(RunError::Damaged { folder: job.output.clone(), damage });
        }
        // If this run improved nothing, the job keeps its manifest, and only the generation ends.
        let same = match same {
            Some(previous) if package.attestor.is_last_linked(&previous.manifest, &previous.bytes)? => Some(previous),
            _ => None,
        };
        let (bytes, status) = match same {
            Some(previous) => (previous.bytes.clone(), previous.manifest.status),
            None => {
                if package.attestor.attest(folder, &last, &mut manifest)? == LinkOutcome::Lost {
                    // Another run took the number in the chain; take the next one.
                    continue;
                }
                (manifest.to_json_bytes().map_err(Failure::from)?, manifest.status)
            }
        };
        let digest = sha256(&bytes);
        let kept = kept_manifest(&digest);
        let is_new = folder.create_bytes(&kept, &bytes)? == Created::Created;
        if !is_new && folder.read(&kept)?.as_deref() != Some(&bytes) {
            let message = format!("{kept} already exists with different bytes; remove it and run again");
            return Err(RunError::Failed(Failure::new(ErrorCode::PackageDamaged, message)));
        }
        let entry = last.manifest(&options.run_id, (options.clock)(), digest, status);
        let Some(entry) = append_signed(folder, entry, &package.attestor)? else {
            // Without a link, no other run refers to this manifest.
            if is_new && manifest.link.is_none() {
                folder.remove(&kept)?;
            }
            continue;
        };
        let manifest = match same {
            Some(previous) => previous.manifest.clone(),
            None => manifest,
        };
        install(package, &entry, &manifest)?;
        return Ok(Some(RunOutcome { manifest, package: job.output.clone(), unchanged: same.is_some() }));
    }
    Err(super::output_state::taken_over(folder).into())
}

/// Makes the package match the last log entry.
fn install(package: &OpenPackage, entry: &Entry, manifest: &Manifest) -> Result<(), RunError> {
    let folder = &package.folder;
    install::install_manifest(folder, false)?;
    install::update_derived(folder)?;
    install::remove_unlisted(folder, entry, manifest)?;
    Ok(())
}

/// The outcome of another run that ended the job since this run's plan was pinned, if it is as good as this run's.
fn overtaken(job: &Job, package: &OpenPackage, ours: &Manifest, last: &Entry) -> Result<Option<RunOutcome>, RunError> {
    let folder = &package.folder;
    if last.job != job.id || last.pruned_at.is_some() {
        return Ok(None);
    }
    folder.make_durable(&last.name())?;
    install::install_manifest(folder, false)?;
    let Some(theirs) = install::published_manifest(folder, last)?.filter(|_| !last.is_open()) else { return Ok(None) };
    install::update_derived(folder)?;
    // No manifest names the files that this run published.
    install::remove_unlisted(folder, last, &theirs.manifest)?;
    if !is_as_good(&theirs.manifest, ours) {
        return Ok(None);
    }
    // Another run may have published this run's linked manifest.
    let is_ours = theirs.bytes == ours.to_json_bytes().map_err(Failure::from)?;
    Ok(Some(RunOutcome { manifest: theirs.manifest, package: job.output.clone(), unchanged: !is_ours }))
}

/// Whether two manifests differ only in times and numbers of attempts.
fn is_equivalent(previous: &Manifest, new: &Manifest) -> bool {
    let timeless = |m: &Manifest| {
        let mut m = m.clone();
        let epoch = Timestamp::UNIX_EPOCH;
        (m.created_at, m.started_at, m.finalized_at, m.expires_at) = (epoch, epoch, epoch, None);
        (m.previous, m.link) = (None, None);
        m.runs.clear();
        for file in &mut m.files {
            (file.attempts, file.started_at, file.finalized_at) = (0, None, None);
            // The path that a missing shard would have had.
            if !file.status.has_file() {
                file.path = layout::name_without_run(&file.path);
            }
        }
        m
    };
    timeless(previous) == timeless(new)
}

fn is_as_good(theirs: &Manifest, ours: &Manifest) -> bool {
    let usable = |m: &Manifest| m.files.iter().filter(|f| f.status.has_file()).count();
    theirs.status == JobStatus::Complete || usable(theirs) >= usable(ours)
}

/// Ends a repair: checks that the files are those that the manifest lists. The manifest stays.
///
/// # Errors
/// [`RunError::Damaged`].
pub(super) fn repaired(job: &Job, package: &OpenPackage, options: &RunOptions) -> Result<RunOutcome, RunError> {
    let folder = &package.folder;
    let Some(published) = &package.previous else {
        let message = format!("{MANIFEST} in {} is gone", folder.location());
        return Err(RunError::Failed(Failure::new(ErrorCode::PackageDamaged, message)));
    };
    let damage = damage::of_manifest(folder, &published.manifest, true, options.threads, &options.stop)?;
    if !damage.is_empty() {
        return Err(RunError::Damaged { folder: job.output.clone(), damage });
    }
    install::update_derived(folder)?;
    install::remove_unlisted(folder, &package.entry, &published.manifest)?;
    let manifest = published.manifest.clone();
    Ok(RunOutcome { manifest, package: job.output.clone(), unchanged: true })
}

#[cfg(test)]
mod tests;
