//! Deletes shards whose retention is over, and says so in their place.
//!
//! Manifest, signature and SHA256SUMS stay as they are: they prove what was there. `tombstone.json` beside them is
//! written first ([`super::tombstone`]), so that shards are never missing without a reason.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::tombstone::Burial;
use super::view::{JobView, Jobs, PassedOver};
use crate::error::{ErrorCode, Exit};
use crate::manifest::TOMBSTONE;
use crate::run::Failure;
use crate::store::{Folder, StoreError};

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
    let mut there = Vec::new();
    for (name, _) in manifest.digests() {
        if let Some(bytes) = package.size(name)? {
            there.push((name.to_owned(), bytes));
        }
    }
    if there.is_empty() && package.size(TOMBSTONE)?.is_some() {
        return Ok(());
    }
    let (id, name) = (view.id.clone(), view.name.clone());
    let bytes = there.iter().map(|(_, bytes)| bytes).sum();
    let mut expired = Expired { id, name, expires_at, files: there.len(), bytes, kept: Vec::new() };
    if !how.is_dry {
        let burial = Burial {
            package: &package,
            manifest: &manifest,
            manifest_sha256: &manifest_sha256,
            record: &record,
            store: jobs.location(),
            now: how.now,
            env: how.env,
        };
        burial.announce(expired.files as u64, bytes)?;
        expired.kept = delete(&package, &there)?;
    }
    pruned.expired.push(expired);
    Ok(())
}

/// Deletes shards, and gives those that the store did not let go.
fn delete(package: &Folder, there: &[(String, u64)]) -> Result<Vec<(String, String)>, StoreError> {
    let mut kept = Vec::new();
    for (name, _) in there {
        match package.remove(name) {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::StoreDenied => kept.push((name.clone(), error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}
