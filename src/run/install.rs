//! Makes a package match the last entry of its log: installs `manifest.json`, updates the files derived from it, and removes
//! shards and rejects that no manifest can name any more.
//!
//! All functions are idempotent, and any run may call them at any time, also concurrently.

use std::collections::BTreeSet;

use super::RunError;
use super::attestor;
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::package::layout::{CONTENT, MANIFEST, REPORT, SHA256SUMS, SIGNATURE, generation_of};
use crate::package::manifest::Manifest;
use crate::package::state::log::{self, Entry};
use crate::report::{self, HEAD_BYTES};
use crate::signature::{self, SignatureError};
use crate::store::{Folder, StoreError};

/// Attempts before giving up on other runs that change the same file. There is no pause between them: each failed attempt
/// means that another run made progress.
const MAX_ATTEMPTS: usize = 64;

/// The manifest that a log entry names.
pub(super) struct PublishedManifest {
    /// The published bytes.
    pub bytes: Vec<u8>,
    /// The parsed manifest.
    pub manifest: Manifest,
}

/// Reads the manifest that a log entry names, from its copy in `_state/`, else from `manifest.json`. Bytes with another
/// digest are ignored. `None` if the entry names none.
///
/// # Errors
/// `package_damaged` if no copy has the digest in the log or it cannot be parsed; errors of the store.
pub(super) fn published_manifest(folder: &Folder, entry: &Entry) -> Result<Option<PublishedManifest>, RunError> {
    let Some(published) = &entry.manifest else { return Ok(None) };
    let copy = match entry.kept_manifest() {
        Some(name) => folder.read(&name)?,
        None => None,
    };
    let is_published = |bytes: &Vec<u8>| sha256(bytes) == published.sha256;
    let bytes = match copy.filter(is_published) {
        Some(copy) => Some(copy),
        None => folder.read(MANIFEST)?.filter(is_published),
    };
    let damaged = |message: String| RunError::Failed(Failure::new(ErrorCode::PackageDamaged, message));
    let Some(bytes) = bytes else {
        return Err(damaged(format!(
            "{MANIFEST} in {} and its copy in _state/ are missing or changed; restore the {MANIFEST} with the SHA-256 {}",
            folder.location(),
            published.sha256
        )));
    };
    match Manifest::from_json(&bytes) {
        Ok(manifest) => Ok(Some(PublishedManifest { bytes, manifest })),
        Err(error) => Err(damaged(format!("{MANIFEST} in {} cannot be read: {}", folder.location(), chain(&error)))),
    }
}

/// Makes `manifest.json` hold the manifest that the last log entry names, or removes it if it belongs to a replaced job.
/// Without `force`, a manifest that was never published stays.
///
/// # Errors
/// As [`published_manifest`]; `write_failed` if other runs kept changing the file for [`MAX_ATTEMPTS`] attempts.
pub(super) fn install_manifest(folder: &Folder, force: bool) -> Result<(), RunError> {
    for _ in 0..MAX_ATTEMPTS {
        let Some(entry) = log::read(folder)? else { return Ok(()) };
        let installed = folder.read(MANIFEST)?;
        let wanted = published_manifest(folder, &entry)?.map(|published| published.bytes);
        if wanted != installed {
            // The run that appended the entry may have died before the entry was durable.
            folder.make_durable(&entry.name())?;
        }
        match (&wanted, &installed) {
            // `make_durable` below then makes sure that the file stays removed.
            (None, None) => {}
            (Some(wanted), Some(installed)) if wanted == installed => {}
            (None, Some(installed)) => {
                let is_replaced = entry.replaced.is_some()
                    && Manifest::from_json(installed).is_ok_and(|manifest| manifest.id != entry.job);
                if is_replaced {
                    folder.take_away(MANIFEST, installed)?;
                } else if is_last(folder, &entry)? {
                    // The manifest was never published.
                    return Ok(());
                }
                continue;
            }
            (Some(wanted), installed) => {
                if let Some(installed) = installed
                    && !force
                    && !log::was_published(folder, &entry, &sha256(installed))?
                {
                    return Ok(());
                }
                if !folder.swap(MANIFEST, installed.as_deref(), wanted)? {
                    continue;
                }
            }
        }
        folder.make_durable(MANIFEST)?;
        if is_last(folder, &entry)? {
            return Ok(());
        }
    }
    Err(busy(folder))
}

/// Whether an entry is still the last one of the log: this run may have been suspended since it read it.
fn is_last(folder: &Folder, entry: &Entry) -> Result<bool, RunError> {
    Ok(log::read(folder)?.is_some_and(|last| last.number == entry.number))
}

fn busy(folder: &Folder) -> RunError {
    let message = format!("other runs keep changing {} in {}; run again", MANIFEST, folder.location());
    RunError::Failed(Failure::new(ErrorCode::WriteFailed, message))
}

/// Writes the signature, the report and `SHA256SUMS` where they are missing or do not match `manifest.json`. Repeats if the
/// manifest changed meanwhile, so that the run that writes last writes files that match.
///
/// # Errors
/// Errors of the store; `write_failed` if the manifest kept changing for [`MAX_ATTEMPTS`] attempts.
pub(super) fn update_derived(folder: &Folder) -> Result<(), RunError> {
    for _ in 0..MAX_ATTEMPTS {
        let Some(bytes) = folder.read(MANIFEST)? else { return Ok(()) };
        // This version did not write it; `install_manifest` decides what happens to it.
        let Ok(manifest) = Manifest::from_json(&bytes) else { return Ok(()) };
        let digest = sha256(&bytes);
        // Write everything else before SHA256SUMS: its presence means that the package is whole.
        attestor::update_signature(folder, &manifest, &bytes)?;
        remove_stale_signature(folder, &manifest, &bytes)?;
        update_report(folder, &manifest, &digest);
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

/// If the job does not sign, removes a signature of another manifest. One that was made by hand for this manifest stays.
fn remove_stale_signature(folder: &Folder, manifest: &Manifest, bytes: &[u8]) -> Result<(), StoreError> {
    if manifest.signer.is_some() {
        return Ok(());
    }
    match folder.read(SIGNATURE)? {
        // A file that is not a signature is not from a run and stays.
        Some(signature) if matches!(signature::check(&signature, bytes), Err(SignatureError::Mismatch { .. })) => {
            folder.remove(SIGNATURE)
        }
        _ => Ok(()),
    }
}

/// Removes all shards and rejects of a pruned package, including those that a suspended run wrote after the prune. A
/// refusal of the store is only logged, because Object Lock or a legal hold may still protect the file.
///
/// # Errors
/// Other errors of the store.
pub(super) fn remove_pruned(folder: &Folder) -> Result<(), StoreError> {
    for prefix in CONTENT {
        for file in folder.list(prefix)? {
            match folder.remove(&file.name) {
                Err(error) if error.code() == ErrorCode::StoreDenied => tracing::warn!("{error}"),
                result => result?,
            }
        }
    }
    Ok(())
}

/// Writes the report, unless one for this manifest exists. A report by an older release stays, because a complete package
/// does not change. A failure is only logged, because the report can be made again at any time.
fn update_report(folder: &Folder, manifest: &Manifest, manifest_sha256: &str) {
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
    let head = || {
        let page = folder.open_file(REPORT).ok()??;
        page.read_at(0, page.bytes().min(HEAD_BYTES as u64)).ok()
    };
    head().is_some_and(|head| report::describes(&head, manifest_sha256))
}

/// Removes the files below `data/` and `rejects/` that a manifest does not name: those of dead runs and of runs that lost.
///
/// This is safe at any time: a later manifest names only files of this one and files of later generations. No manifest
/// follows a complete one, so then files of any generation are removed.
///
/// # Errors
/// Errors of the store.
pub(super) fn remove_unlisted(folder: &Folder, entry: &Entry, manifest: &Manifest) -> Result<(), StoreError> {
    // Until the first generation ends, no file is known to be garbage.
    let Some(published) = &entry.manifest else { return Ok(()) };
    let listed: BTreeSet<&str> = manifest.digests().map(|(name, _)| name).collect();
    remove_content(folder, |name| {
        !listed.contains(name) && (entry.is_complete() || generation_of(name) <= published.generation)
    })?;
    remove_drafts(folder, entry.is_complete());
    Ok(())
}

/// Removes the shards and rejects of a replaced job, that is, of generations before `entry.first_generation`. The replaced
/// job's records stay: they occupy their names, so that a suspended run of that job cannot commit.
///
/// # Errors
/// Errors of the store.
pub(super) fn remove_replaced(folder: &Folder, entry: &Entry) -> Result<(), StoreError> {
    remove_content(folder, |name| generation_of(name) < entry.first_generation)
}

fn remove_content(folder: &Folder, is_garbage: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for prefix in CONTENT {
        for file in folder.list(prefix)?.into_iter().filter(|file| is_garbage(&file.name)) {
            tracing::info!("removing {}, which no manifest of this job names", file.name);
            folder.remove(&file.name)?;
        }
    }
    Ok(())
}

/// Removes the drafts of dead runs. In an object store, unfinished uploads do not show whose they are, so they are removed
/// only if the job is complete. A failure is only logged, because drafts do not affect the package.
pub(super) fn remove_drafts(folder: &Folder, is_complete: bool) {
    match folder.remove_drafts(is_complete) {
        Ok(names) => names.iter().for_each(|name| tracing::info!("removed the unfinished {name}")),
        Err(error) => tracing::warn!("cannot remove the leftovers of dead runs yet: {}", chain(&error)),
    }
}

#[cfg(test)]
mod tests;
