//! Installs what the log has decided: `manifest.json`, the files derived from it, and the removal of all other shards.
//!
//! All functions are idempotent, and any run may call them at any time, also concurrently.

use std::collections::BTreeSet;

use super::RunError;
use super::attestor;
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::package::layout::REPORT;
use crate::package::layout::{CONTENT, MANIFEST, SHA256SUMS, SIGNATURE, generation_of};
use crate::package::manifest::Manifest;
use crate::package::state::log::{self, Entry};
use crate::report::{self, HEAD_BYTES};
use crate::signature::{self, SignatureError};
use crate::store::{Folder, StoreError};

/// Attempts before giving up when other runs change the same files.
const ROUNDS: usize = 64;

/// The manifest that the log has decided on, with its bytes.
pub struct Decided {
    /// The published bytes.
    pub bytes: Vec<u8>,
    /// The parsed manifest.
    pub manifest: Manifest,
}

/// Reads the newest manifest of a log entry; `None` if it has none. Only bytes with the digest in the log count.
///
/// # Errors
/// `package_damaged` if these bytes are gone or cannot be parsed.
pub fn decided(folder: &Folder, entry: &Entry) -> Result<Option<Decided>, RunError> {
    let Some(published) = &entry.manifest else { return Ok(None) };
    let kept = entry.kept_manifest().map(|kept| folder.read(&kept)).transpose()?.flatten();
    let is_it = |bytes: &Vec<u8>| sha256(bytes) == published.sha256;
    let bytes = match kept.filter(is_it) {
        Some(kept) => Some(kept),
        None => folder.read(MANIFEST)?.filter(is_it),
    };
    let lost = |what: String| RunError::Failed(Failure::new(ErrorCode::PackageDamaged, what));
    let Some(bytes) = bytes else {
        return Err(lost(format!(
            "{MANIFEST} in {} and its copy in _state/ are missing or changed; restore the {MANIFEST} with the SHA-256 {}",
            folder.location(),
            published.sha256
        )));
    };
    match Manifest::from_json(&bytes) {
        Ok(manifest) => Ok(Some(Decided { bytes, manifest })),
        Err(error) => Err(lost(format!("{MANIFEST} in {} cannot be read: {}", folder.location(), chain(&error)))),
    }
}

/// Installs the bytes that the log has decided on as `manifest.json`. Bytes that were never published are replaced only if
/// `force` is set.
///
/// # Errors
/// As [`decided`]; `write_failed` if other runs kept changing the file for [`ROUNDS`] attempts.
pub fn settle(folder: &Folder, force: bool) -> Result<(), RunError> {
    for _ in 0..ROUNDS {
        let Some(entry) = log::read(folder)? else { return Ok(()) };
        let there = folder.read(MANIFEST)?;
        let wanted = decided(folder, &entry)?.map(|decided| decided.bytes);
        if wanted != there {
            // The run that appended the entry may have died before it was durable.
            folder.make_durable(&entry.name())?;
        }
        let is_installed = match (&wanted, &there) {
            (None, None) => true,
            (Some(wanted), Some(there)) if wanted == there => true,
            (None, Some(there)) => {
                // The manifest of a replaced job. Any other is newer than the entry that was read, or was never published.
                let is_replaced = entry.replaced.is_some()
                    && Manifest::from_json(there).is_ok_and(|manifest| manifest.id != entry.job);
                if is_replaced {
                    folder.take_away(MANIFEST, there)?;
                    continue;
                }
                if log::read(folder)?.is_some_and(|last| last.number == entry.number) {
                    return Ok(());
                }
                continue;
            }
            (Some(wanted), None) => folder.swap(MANIFEST, None, wanted)?,
            (Some(wanted), Some(there)) => {
                if !force && !log::was_published(folder, &entry, &sha256(there))? {
                    return Ok(());
                }
                folder.swap(MANIFEST, Some(there), wanted)?
            }
        };
        if !is_installed {
            continue;
        }
        folder.make_durable(MANIFEST)?;
        // This run may have been suspended since it read the log; check that the entry is still the last.
        if log::read(folder)?.is_some_and(|last| last.number == entry.number) {
            return Ok(());
        }
    }
    Err(busy(folder))
}

fn busy(folder: &Folder) -> RunError {
    let message = format!("other runs keep changing {} in {}; run again", MANIFEST, folder.location());
    RunError::Failed(Failure::new(ErrorCode::WriteFailed, message))
}

/// Writes the files derived from `manifest.json` that are missing or outdated. The manifest is read again afterwards, so
/// that the last writer has written files that match the last manifest.
///
/// # Errors
/// Errors of the store; `write_failed` if other runs kept changing the manifest.
pub fn complete_derived(folder: &Folder) -> Result<(), RunError> {
    for _ in 0..ROUNDS {
        let Some(bytes) = folder.read(MANIFEST)? else { return Ok(()) };
        let Ok(manifest) = Manifest::from_json(&bytes) else { return Ok(()) };
        let digest = sha256(&bytes);
        // Before SHA256SUMS, whose presence means that the package is whole.
        attestor::complete_signature(folder, &manifest, &bytes)?;
        remove_stale_signature(folder, &manifest, &bytes)?;
        complete_report(folder, &manifest, &digest);
        let sums = manifest.sha256sums(&digest);
        if folder.read(SHA256SUMS)?.as_deref() != Some(sums.as_bytes()) {
            folder.replace_bytes(SHA256SUMS, sums.as_bytes())?;
        }
        if folder.read(MANIFEST)?.as_deref() == Some(bytes.as_slice()) {
            return Ok(());
        }
    }
    Err(busy(folder))
}

/// Removes the signature of an earlier manifest or a replaced job from beside a manifest that is not signed. A signature
/// that was made by hand for this manifest stays.
fn remove_stale_signature(folder: &Folder, manifest: &Manifest, bytes: &[u8]) -> Result<(), StoreError> {
    if manifest.signer.is_some() {
        return Ok(());
    }
    match folder.read(SIGNATURE)? {
        Some(there) if matches!(signature::check(&there, bytes), Err(SignatureError::Mismatch { .. })) => {
            folder.remove(SIGNATURE)
        }
        _ => Ok(()),
    }
}

/// Removes all files below `data/` and `rejects/` of a pruned package: a run that was suspended meanwhile may have written
/// some. Files that the store refuses to delete are logged.
///
/// # Errors
/// The store's.
pub fn clean_pruned(folder: &Folder) -> Result<(), StoreError> {
    for prefix in CONTENT {
        for there in folder.list(prefix)? {
            match folder.remove(&there.name) {
                Err(error) if error.code() == ErrorCode::StoreDenied => tracing::warn!("{error}"),
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Writes the report, unless there is one for this manifest, by any release: a complete package does not change. A failure
/// is only logged, because the report can be made again at any time.
fn complete_report(folder: &Folder, manifest: &Manifest, manifest_sha256: &str) {
    if has_report(folder, manifest_sha256) {
        return;
    }
    let written = match report::html(manifest, manifest_sha256) {
        Ok(page) => folder.replace_bytes(REPORT, page.as_bytes()).map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    if let Err(why) = written {
        tracing::warn!("{REPORT} cannot be written; run `kt-export report` later: {why}");
    }
}

/// Whether the existing report belongs to this manifest. Its head suffices, because reports are published atomically.
fn has_report(folder: &Folder, manifest_sha256: &str) -> bool {
    let head = || -> Option<bool> {
        let page = folder.open_file(REPORT).ok()??;
        let head = page.read_at(0, page.bytes().min(HEAD_BYTES)).ok()?;
        Some(report::describes(&head, manifest_sha256))
    };
    head().unwrap_or(false)
}

/// Removes the files below `data/` and `rejects/` that a manifest does not name: those of dead runs and of runs that lost.
///
/// A later manifest can only name files that this one names and files of later generations, so the removed files remain
/// garbage forever. After a complete manifest there is no later one.
///
/// # Errors
/// The store's.
pub fn clean(folder: &Folder, entry: &Entry, manifest: &Manifest) -> Result<(), StoreError> {
    let Some(published) = &entry.manifest else { return Ok(()) };
    let listed: BTreeSet<&str> = manifest.digests().map(|(name, _)| name).collect();
    remove_unlisted(folder, |name| {
        !listed.contains(name) && (entry.is_complete() || generation_of(name) <= published.generation)
    })?;
    sweep(folder, entry.is_complete());
    Ok(())
}

/// Removes the shards of a replaced job: those of generations before the current job's first. Its records stay, unread, so
/// that a suspended run of that job cannot create others under their names.
///
/// # Errors
/// The store's.
pub fn clear_replaced(folder: &Folder, entry: &Entry) -> Result<(), StoreError> {
    let is_replaced = |name: &str| generation_of(name) < entry.first_generation;
    remove_unlisted(folder, is_replaced)
}

fn remove_unlisted(folder: &Folder, goes: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for prefix in CONTENT {
        for there in folder.list(prefix)?.into_iter().filter(|there| goes(&there.name)) {
            tracing::info!("removing {}, which no manifest of this job names", there.name);
            folder.remove(&there.name)?;
        }
    }
    Ok(())
}

/// Removes the drafts of dead runs. A failure is only logged, because drafts do not affect the package.
pub fn sweep(folder: &Folder, is_complete: bool) {
    match folder.remove_drafts(is_complete) {
        Ok(names) => names.iter().for_each(|name| tracing::info!("removing the unfinished {name}")),
        Err(error) => tracing::warn!("cannot remove the leftovers of dead runs yet: {}", chain(&error)),
    }
}
