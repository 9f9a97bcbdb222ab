//! Deletes shards whose retention period has ended, and leaves a tombstone.
//!
//! Manifest, signature and SHA256SUMS stay, as evidence of what the package contained. First the package's log decides
//! ([`log`]), so that no run can publish a manifest that names deleted files. Then `tombstone.json` is written beside the
//! manifest ([`super::tombstone`]), so that shards are never missing without a stated reason. Then the shards are deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::record::JobRecord;
use super::tombstone::Deletion;
use super::view::{JobView, Jobs, PassedOver};
use crate::diagnostic::render_text;
use crate::error::{ErrorCode, Exit};
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::TOMBSTONE;
use crate::package::state::log;
use crate::package::{Package, list_content};
use crate::store::{Folder, ListedFile, StoreError};

/// Options for pruning.
#[derive(Debug)]
pub(crate) struct Prune<'a> {
    /// Prune packages that expire at or before this instant.
    pub until: Timestamp,
    /// The current time.
    pub now: Timestamp,
    /// Environment variables; specs may name some that hold keys.
    pub env: &'a BTreeMap<String, String>,
    /// Only report what would be done.
    pub is_dry: bool,
}

/// A job whose retention period has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Expired {
    /// The job.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it ended.
    pub expires_at: Timestamp,
    /// Number of shards and rejects files found.
    pub files: usize,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Files that the store refused to delete, and why; empty in a dry run.
    pub kept: Vec<(String, String)>,
}

/// A job that could not be pruned.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refused {
    /// The job.
    pub id: String,
    /// Machine-readable code.
    pub error_code: ErrorCode,
    /// Why, and what to do.
    pub why: String,
}

/// The result of pruning, or of a dry run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Pruned {
    /// Jobs whose shards are deleted.
    pub expired: Vec<Expired>,
    /// Unfinished uploads of dead runs, by job and file.
    pub uploads: Vec<(String, String)>,
    /// Jobs that could not be pruned.
    pub refused: Vec<Refused>,
    /// Job folders that cannot be used.
    pub passed_over: Vec<PassedOver>,
}

impl Pruned {
    /// The exit code of the process.
    pub(crate) fn exit(&self) -> Exit {
        let exit = |refused: &Refused| if refused.error_code.is_retryable() { Exit::TryLater } else { Exit::Failed };
        self.refused.iter().map(exit).fold(Exit::Complete, Exit::worst)
    }
}

/// Prunes a store, or reports what it would do. A job that cannot be pruned does not affect the others.
///
/// # Errors
/// Those of the store itself. A file that the store refuses to delete is not an error.
pub(crate) fn prune(jobs: &Jobs, how: &Prune<'_>) -> Result<Pruned, Failure> {
    let listed = jobs.list(how.until)?;
    let mut pruned = Pruned { passed_over: listed.passed_over, ..Pruned::default() };
    for view in listed.views {
        if let Err(failure) = prune_into(jobs, &view, how, &mut pruned) {
            pruned.refused.push(Refused { id: view.id, error_code: failure.code(), why: failure.to_string() });
        }
    }
    Ok(pruned)
}

/// As [`prune`], for one job.
///
/// # Errors
/// Why it cannot be pruned.
pub(crate) fn prune_job(jobs: &Jobs, view: &JobView, how: &Prune<'_>) -> Result<Pruned, Failure> {
    let mut pruned = Pruned::default();
    prune_into(jobs, view, how, &mut pruned)?;
    Ok(pruned)
}

fn prune_into(jobs: &Jobs, view: &JobView, how: &Prune<'_>, pruned: &mut Pruned) -> Result<(), Failure> {
    let Some(record) = jobs.record(&view.id)? else { return Ok(()) };
    let Some(folder) = jobs.package(&record)? else { return Ok(()) };
    if view.status.is_settled() {
        match if how.is_dry { folder.drafts() } else { folder.remove_drafts(true) } {
            Ok(drafts) => pruned.uploads.extend(drafts.into_iter().map(|name| (view.id.clone(), name))),
            // Listing uploads needs a separate permission.
            Err(error) if error.code() == ErrorCode::StoreDenied => tracing::warn!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    let is_over = |at: &Timestamp| *at <= how.until && view.status.is_settled();
    let Some(expires_at) = view.expires_at.filter(is_over) else { return Ok(()) };
    let Some(package) = jobs.open_package(&record, folder, how.now)? else { return Ok(()) };
    let Package { folder, manifest, manifest_sha256, .. } = &package;
    let there = list_content(folder)?;
    if there.is_empty() && folder.size(TOMBSTONE)?.is_some() {
        return Ok(());
    }
    let (id, name) = (view.id.clone(), view.name.clone());
    let bytes = there.iter().map(|file| file.bytes).sum();
    let mut expired = Expired { id, name, expires_at, files: there.len(), bytes, kept: Vec::new() };
    if !how.is_dry {
        let deletion = Deletion {
            package: folder,
            manifest,
            manifest_sha256,
            job: &|| resolve(jobs, &record),
            now: how.now,
            env: how.env,
        };
        let Some(kept) = prune_package(&deletion)? else {
            let message = "another run changed the package in the meantime, so nothing was deleted; prune again";
            return Err(Failure::new(ErrorCode::PackageOccupied, message));
        };
        expired.kept = kept;
    }
    pruned.expired.push(expired);
    Ok(())
}

/// The job, for the keys and the chain that its spec names.
fn resolve(jobs: &Jobs, record: &JobRecord) -> Result<Job, Failure> {
    record.resolve(jobs.location()).map_err(|mistakes| {
        let message = format!(
            "the spec in the job's record cannot be resolved, and the deletion needs the key or the chain that it names: {}",
            render_text(&mistakes, false).trim_end()
        );
        Failure::new(ErrorCode::KeyUnusable, message)
    })
}

/// Deletes the shards of a package, and returns those that the store refused to delete. `None` if the manifest changed in
/// the meantime; then nothing is deleted.
///
/// # Errors
/// As [`Deletion::announce`].
pub(crate) fn prune_package(deletion: &Deletion<'_>) -> Result<Option<Vec<(String, String)>>, Failure> {
    deletion.check()?;
    // Before anything is deleted: a run that is about to end must not publish a manifest that names deleted files.
    let run = format!("prune-{}", deletion.now.strftime("%Y%m%dT%H%M%S%.6fZ"));
    if !log::decide_prune(deletion.package, deletion.manifest, deletion.manifest_sha256, &run, deletion.now)? {
        return Ok(None);
    }
    let there = list_content(deletion.package)?;
    deletion.announce(there.len() as u64, there.iter().map(|file| file.bytes).sum())?;
    Ok(Some(delete(deletion.package, &there)?))
}

/// Deletes shards, and returns those that the store refused to delete.
fn delete(package: &Folder, there: &[ListedFile]) -> Result<Vec<(String, String)>, StoreError> {
    let mut kept = Vec::new();
    for ListedFile { name, .. } in there {
        match package.remove(name) {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::StoreDenied => kept.push((name.clone(), error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}
