//! Deletes shards whose retention is over, and says so in their place.
//!
//! Manifest, signature and SHA256SUMS stay as they are: they prove what was there. The package's log decides first
//! ([`log`]), so that no run can publish a manifest that names what is deleted; then `tombstone.json` is written beside the
//! manifest, so that shards are never missing without a reason; then they go.

use jiff::Timestamp;
use serde::Serialize;

use super::view::Jobs;
use crate::error::ErrorCode;
use crate::manifest::{Manifest, TOMBSTONE, Tombstone};
use crate::run::{StateError, log};
use crate::seal::sha256;
use crate::store::{Folder, Listed, StoreError};

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

/// Why a store cannot be pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package's state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What was, or would be, pruned.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pruned {
    /// Jobs whose shards go.
    pub expired: Vec<Expired>,
    /// Unfinished uploads of runs that are dead, by job and file.
    pub uploads: Vec<(String, String)>,
}

/// Prunes a store, or only tells what it would do.
///
/// # Errors
/// [`PruneError`]; a file that the store does not let go is no error.
pub fn prune(jobs: &Jobs, now: Timestamp, is_dry: bool) -> Result<Pruned, PruneError> {
    let mut pruned = Pruned::default();
    for view in jobs.list(now)? {
        let Some(record) = jobs.record(&view.id)? else { continue };
        let Some(package) = jobs.package(&record)? else { continue };
        if view.status.is_settled() {
            match if is_dry { package.drafts() } else { package.remove_drafts(true) } {
                Ok(drafts) => pruned.uploads.extend(drafts.into_iter().map(|name| (view.id.clone(), name))),
                // Listing uploads is a permission of its own.
                Err(error) if error.code() == ErrorCode::StoreDenied => tracing::warn!("{error}"),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(expires_at) = view.expires_at.filter(|at| *at <= now && view.status.is_settled()) else { continue };
        let Some((manifest, manifest_bytes)) = jobs.manifest_bytes(&record)? else { continue };
        // All of them: a run that was overtaken may have left some that no manifest names.
        let mut there = package.list("data/")?;
        there.extend(package.list("rejects/")?);
        if there.is_empty() && package.size(TOMBSTONE)?.is_some() {
            continue;
        }
        let bytes = there.iter().map(|file| file.bytes).sum();
        let mut expired =
            Expired { id: view.id.clone(), name: view.name, expires_at, files: there.len(), bytes, kept: Vec::new() };
        if !is_dry {
            match prune_package(&package, &manifest, &manifest_bytes, expires_at, now)? {
                Some(kept) => expired.kept = kept,
                None => {
                    tracing::warn!("{}: a run has changed the package meanwhile, nothing is deleted; prune again", view.id);
                    continue;
                }
            }
        }
        pruned.expired.push(expired);
    }
    Ok(pruned)
}

/// Deletes the shards of a package, after its log has decided so and a tombstone says so, and gives those that the store
/// did not let go. `None`: the manifest is not the one that was judged by any more, so nothing is deleted.
///
/// # Errors
/// [`PruneError`].
pub(crate) fn prune_package(
    package: &Folder,
    manifest: &Manifest,
    manifest_bytes: &[u8],
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<Option<Vec<(String, String)>>, PruneError> {
    // Before anything is destroyed: a run that is about to end must not name what is deleted here.
    let run = format!("prune-{}", now.strftime("%Y%m%dT%H%M%S%.6fZ"));
    if !log::decide_prune(package, manifest, &sha256(manifest_bytes), &run, now)? {
        return Ok(None);
    }
    // All of them: a run that was overtaken may have left some that no manifest names.
    let mut there = package.list("data/")?;
    there.extend(package.list("rejects/")?);
    bury(package, &manifest.id, expires_at, now, &there).map(Some)
}

/// Deletes files, after saying so.
fn bury(
    package: &Folder,
    id: &str,
    expires_at: Timestamp,
    now: Timestamp,
    there: &[Listed],
) -> Result<Vec<(String, String)>, PruneError> {
    let mut tombstone = Tombstone {
        tombstone_version: 1,
        id: id.to_owned(),
        expires_at,
        pruned_at: now,
        files: there.len() as u64,
        bytes: there.iter().map(|file| file.bytes).sum(),
        kept: Vec::new(),
    };
    let write = |tombstone: &Tombstone| {
        let mut bytes = serde_json::to_vec_pretty(tombstone).unwrap_or_default();
        bytes.push(b'\n');
        package.replace_bytes(TOMBSTONE, &bytes)
    };
    write(&tombstone)?;
    let mut kept = Vec::new();
    for Listed { name, .. } in there {
        match package.remove(name) {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::StoreDenied => kept.push((name.clone(), error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    if !kept.is_empty() {
        tombstone.kept = kept.iter().map(|(name, _)| name.clone()).collect();
        write(&tombstone)?;
    }
    Ok(kept)
}
