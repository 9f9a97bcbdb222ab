//! Deletes shards whose retention is over, and says so in their place.
//!
//! Manifest, signature and SHA256SUMS stay as they are: they prove what was there. `tombstone.json` beside them is
//! written first, so that shards are never missing without a reason.

use jiff::Timestamp;
use serde::Serialize;

use super::view::Jobs;
use crate::error::ErrorCode;
use crate::manifest::{TOMBSTONE, Tombstone};
use crate::store::{Folder, StoreError};

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
/// [`StoreError`]; a file that the store does not let go is no error.
pub fn prune(jobs: &Jobs, now: Timestamp, is_dry: bool) -> Result<Pruned, StoreError> {
    let mut pruned = Pruned::default();
    for view in jobs.list(now)? {
        let Some(record) = jobs.record(&view.id)? else { continue };
        let Some(package) = jobs.package(&record)? else { continue };
        if view.status.is_settled() {
            match if is_dry { package.drafts() } else { package.remove_drafts(true) } {
                Ok(drafts) => pruned.uploads.extend(drafts.into_iter().map(|name| (view.id.clone(), name))),
                // Listing uploads is a permission of its own.
                Err(error) if error.code() == ErrorCode::StoreDenied => tracing::warn!("{error}"),
                Err(error) => return Err(error),
            }
        }
        let Some(expires_at) = view.expires_at.filter(|at| *at <= now && view.status.is_settled()) else { continue };
        let Some(manifest) = jobs.manifest(&record)? else { continue };
        let mut there = Vec::new();
        for (name, _) in manifest.digests() {
            if let Some(bytes) = package.size(name)? {
                there.push((name.to_owned(), bytes));
            }
        }
        if there.is_empty() && package.size(TOMBSTONE)?.is_some() {
            continue;
        }
        let bytes = there.iter().map(|(_, bytes)| bytes).sum();
        let mut expired =
            Expired { id: view.id.clone(), name: view.name, expires_at, files: there.len(), bytes, kept: Vec::new() };
        if !is_dry {
            expired.kept = bury(&package, &view.id, expires_at, now, &there)?;
        }
        pruned.expired.push(expired);
    }
    Ok(pruned)
}

/// Deletes shards, after saying so, and gives those that the store did not let go.
fn bury(
    package: &Folder,
    id: &str,
    expires_at: Timestamp,
    now: Timestamp,
    there: &[(String, u64)],
) -> Result<Vec<(String, String)>, StoreError> {
    let mut tombstone = Tombstone {
        tombstone_version: 1,
        id: id.to_owned(),
        expires_at,
        pruned_at: now,
        files: there.len() as u64,
        bytes: there.iter().map(|(_, bytes)| bytes).sum(),
        kept: Vec::new(),
    };
    let write = |tombstone: &Tombstone| {
        let mut bytes = serde_json::to_vec_pretty(tombstone).unwrap_or_default();
        bytes.push(b'\n');
        package.replace_bytes(TOMBSTONE, &bytes)
    };
    write(&tombstone)?;
    let mut kept = Vec::new();
    for (name, _) in there {
        match package.remove(name) {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::StoreDenied => kept.push((name.clone(), error.to_string())),
            Err(error) => return Err(error),
        }
    }
    if !kept.is_empty() {
        tombstone.kept = kept.iter().map(|(name, _)| name.clone()).collect();
        write(&tombstone)?;
    }
    Ok(kept)
}
