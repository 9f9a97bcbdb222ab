//! Deletes shards whose retention is over, and says so in their place.
//!
//! Manifest, signature and SHA256SUMS stay as they are: they prove what was there. The package's log decides first
//! ([`log`]), so that no run can publish a manifest that names what is deleted; then `tombstone.json` is written beside the
//! manifest ([`super::tombstone`]), so that shards are never missing without a reason; then they go.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::record::JobRecord;
use super::tombstone::Burial;
use super::view::{JobView, Jobs, PassedOver};
use crate::diagnostic::render_text;
use crate::error::{ErrorCode, Exit};
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::{DATA, REJECTS, TOMBSTONE};
use crate::package::state::log;
use crate::store::{Folder, Listed, StoreError};

/// How to prune.
#[derive(Debug)]
pub struct Prune<'a> {
    /// Retention is over for what expires up to here.
    pub until: Timestamp,
    /// The clock.
    pub now: Timestamp,
    /// Where keys are that specs name by variable.
    pub env: &'a BTreeMap<String, String>,
    /// Only tell what would be done.
    pub is_dry: bool,
}

/// A job whose retention is over.
#[derive(Debug, Clone, Serialize)]
pub struct Expired {
    /// The job.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was over.
    pub expires_at: Timestamp,
    /// Shards that are there.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What the store did not let go, with its reason; empty in a dry run.
    pub kept: Vec<(String, String)>,
}

/// A job that could not be pruned.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// The job.
    pub id: String,
    /// Why, for programs.
    pub error_code: ErrorCode,
    /// Why, and what to do.
    pub why: String,
}

/// What was, or would be, pruned.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pruned {
    /// Jobs whose shards go.
    pub expired: Vec<Expired>,
    /// Unfinished uploads of runs that are dead, by job and file.
    pub uploads: Vec<(String, String)>,
    /// Jobs of which nothing more was deleted than is told.
    pub refused: Vec<Refused>,
    /// Folders of jobs that cannot be used.
    pub passed_over: Vec<PassedOver>,
}

impl Pruned {
    /// What the process tells its scheduler.
    pub fn exit(&self) -> Exit {
        let exit = |refused: &Refused| if refused.error_code.is_retryable() { Exit::TryLater } else { Exit::Failed };
        self.refused.iter().map(exit).fold(Exit::Complete, Exit::worst)
    }
}

/// Prunes a store, or only tells what it would do. A job that cannot be pruned stops no other.
///
/// # Errors
/// [`StoreError`] of the store itself; a file that the store does not let go is no error.
pub fn prune(jobs: &Jobs, how: &Prune<'_>) -> Result<Pruned, StoreError> {
    let listed = jobs.list(how.until)?;
    let mut pruned = Pruned { passed_over: listed.passed_over, ..Pruned::default() };
    for view in listed.views {
        if let Err(Failure { code, message }) = prune_job(jobs, &view, how, &mut pruned) {
            pruned.refused.push(Refused { id: view.id, error_code: code, why: message });
        }
    }
    Ok(pruned)
}

fn prune_job(jobs: &Jobs, view: &JobView, how: &Prune<'_>, pruned: &mut Pruned) -> Result<(), Failure> {
    let Some(record) = jobs.record(&view.id)? else { return Ok(()) };
    let Some(package) = jobs.package(&record)? else { return Ok(()) };
    if view.status.is_settled() {
        match if how.is_dry { package.drafts() } else { package.remove_drafts(true) } {
            Ok(drafts) => pruned.uploads.extend(drafts.into_iter().map(|name| (view.id.clone(), name))),
            // Listing uploads is a permission of its own.
            Err(error) if error.code() == ErrorCode::StoreDenied => tracing::warn!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    let is_over = |at: &Timestamp| *at <= how.until && view.status.is_settled();
    let Some(expires_at) = view.expires_at.filter(is_over) else { return Ok(()) };
    let Some((manifest, manifest_sha256)) = jobs.stored_manifest(&record)? else { return Ok(()) };
    let there = shards(&package)?;
    if there.is_empty() && package.size(TOMBSTONE)?.is_some() {
        return Ok(());
    }
    let (id, name) = (view.id.clone(), view.name.clone());
    let bytes = there.iter().map(|file| file.bytes).sum();
    let mut expired = Expired { id, name, expires_at, files: there.len(), bytes, kept: Vec::new() };
    if !how.is_dry {
        let burial = Burial {
            package: &package,
            manifest: &manifest,
            manifest_sha256: &manifest_sha256,
            job: &|| resolve(jobs, &record),
            now: how.now,
            env: how.env,
        };
        let Some(kept) = prune_package(&burial)? else {
            let message = "a run has changed the package meanwhile, so nothing was deleted; prune again".to_owned();
            return Err(Failure { code: ErrorCode::PackageOccupied, message });
        };
        expired.kept = kept;
    }
    pruned.expired.push(expired);
    Ok(())
}

/// The job, for what its spec says of keys and chain.
fn resolve(jobs: &Jobs, record: &JobRecord) -> Result<Job, Failure> {
    record.resolve(jobs.location()).map_err(|mistakes| Failure {
        code: ErrorCode::KeyUnusable,
        message: format!(
            "the spec in the job's record does not resolve, and it names the key or the chain that the deletion needs: {}",
            render_text(&mistakes, false).trim_end()
        ),
    })
}

/// All of them: a run that was overtaken may have left some that no manifest names.
fn shards(package: &Folder) -> Result<Vec<Listed>, StoreError> {
    let mut there = package.list(DATA)?;
    there.extend(package.list(REJECTS)?);
    Ok(there)
}

/// Deletes the shards of a package and gives those that the store did not let go. `None`: its manifest is not the one that
/// was judged by any more, so nothing is deleted.
///
/// # Errors
/// As [`Burial::announce`].
pub(crate) fn prune_package(burial: &Burial<'_>) -> Result<Option<Vec<(String, String)>>, Failure> {
    burial.check()?;
    // Before anything is destroyed: a run that is about to end must not name what is deleted here.
    let run = format!("prune-{}", burial.now.strftime("%Y%m%dT%H%M%S%.6fZ"));
    if !log::decide_prune(burial.package, burial.manifest, burial.manifest_sha256, &run, burial.now)? {
        return Ok(None);
    }
    let there = shards(burial.package)?;
    burial.announce(there.len() as u64, there.iter().map(|file| file.bytes).sum())?;
    Ok(Some(delete(burial.package, &there)?))
}

/// Deletes shards, and gives those that the store did not let go.
fn delete(package: &Folder, there: &[Listed]) -> Result<Vec<(String, String)>, StoreError> {
    let mut kept = Vec::new();
    for Listed { name, .. } in there {
        match package.remove(name) {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::StoreDenied => kept.push((name.clone(), error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}
