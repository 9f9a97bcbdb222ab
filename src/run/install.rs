//! What a package shows, made from what its log has decided: `manifest.json`, what derives from it, and nothing else.
//!
//! All of this may be done by any run at any later time and any number of times: it follows from the log alone.

use std::collections::BTreeSet;

use super::RunError;
use super::attestor;
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::package::layout::{CONTENT, MANIFEST, SHA256SUMS, SIGNATURE, generation_of};
use crate::package::manifest::Manifest;
use crate::package::state::log::{self, Entry};
use crate::report::{self, HEAD_BYTES, REPORT};
use crate::signature::{self, SignatureError};
use crate::store::{Folder, StoreError};

/// How often something is installed again that others change at the same time.
const ROUNDS: usize = 64;

/// The manifest that the log has decided on, with its bytes.
pub struct Decided {
    /// The bytes that were published.
    pub bytes: Vec<u8>,
    /// What they say.
    pub manifest: Manifest,
}

/// Reads the newest manifest of a state; `None` where there is none. Only bytes with the digest in the log count.
///
/// # Errors
/// [`RunError::Damaged`] where they are nowhere, or cannot be read.
pub fn decided(folder: &Folder, entry: &Entry) -> Result<Option<Decided>, RunError> {
    let Some(published) = &entry.manifest else { return Ok(None) };
    let kept = entry.kept_manifest().map(|kept| folder.read(&kept)).transpose()?.flatten();
    let is_it = |bytes: &Vec<u8>| sha256(bytes) == published.sha256;
    let bytes = match kept.filter(is_it) {
        Some(kept) => Some(kept),
        None => folder.read(MANIFEST)?.filter(is_it),
    };
    let lost = |what: String| RunError::Failed(Failure { code: ErrorCode::PackageDamaged, message: what });
    let Some(bytes) = bytes else {
        return Err(lost(format!(
            "{MANIFEST} in {} is not what was published, and its copy in _state/ is gone; bring back the file with the \
             SHA-256 {}",
            folder.location(),
            published.sha256
        )));
    };
    match Manifest::from_json(&bytes) {
        Ok(manifest) => Ok(Some(Decided { bytes, manifest })),
        Err(error) => Err(lost(format!("{MANIFEST} in {} cannot be read: {}", folder.location(), chain(&error)))),
    }
}

/// Gives `manifest.json` the bytes that the log has decided on. Bytes that were never published are left as they are,
/// unless `force` says otherwise.
///
/// # Errors
/// As [`decided`].
pub fn settle(folder: &Folder, force: bool) -> Result<(), RunError> {
    for _ in 0..ROUNDS {
        let Some(entry) = log::read(folder)? else { return Ok(()) };
        let there = folder.read(MANIFEST)?;
        let wanted = decided(folder, &entry)?.map(|decided| decided.bytes);
        if wanted != there {
            // Whoever decided may have died before it was on the disk.
            folder.make_durable(&entry.name())?;
        }
        let is_installed = match (&wanted, &there) {
            (None, None) => true,
            (Some(wanted), Some(there)) if wanted == there => true,
            (None, Some(there)) => {
                // Of a job that was replaced. Anything else is newer than the entry that was read, or nobody's.
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
        // A run that slept may have read the log before its last entry was there.
        if log::read(folder)?.is_some_and(|last| last.number == entry.number) {
            return Ok(());
        }
    }
    Err(busy(folder))
}

fn busy(folder: &Folder) -> RunError {
    let message = format!("other runs keep changing {} in {}; run again", MANIFEST, folder.location());
    RunError::Failed(Failure { code: ErrorCode::WriteFailed, message })
}

/// Writes what derives from the manifest that is there, where it is not there yet. What is written follows from the bytes
/// as they were read, and they are read again afterwards: whoever writes last has written about the last manifest.
///
/// # Errors
/// The store's.
pub fn complete_derived(folder: &Folder) -> Result<(), RunError> {
    for _ in 0..ROUNDS {
        let Some(bytes) = folder.read(MANIFEST)? else { return Ok(()) };
        let Ok(manifest) = Manifest::from_json(&bytes) else { return Ok(()) };
        let digest = sha256(&bytes);
        // Before SHA256SUMS, whose presence says that nothing is missing.
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

/// Removes the signature of an earlier manifest, or of a job that was replaced, from beside one that is not signed. One that
/// somebody made of this manifest by hand stays.
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

/// Removes what is below `data/` and `rejects/` of a package whose shards were deleted because their retention was over: a
/// run that slept meanwhile may have left some. Files that the store does not let go are told.
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

/// Removes what a manifest leaves over below `data/` and `rejects/`: files of dead runs and of runs that lost.
///
/// A later manifest can only name what this one names and files of later generations, so what is removed here is garbage
/// at any later time; and after a complete manifest there is no later one.
///
/// # Errors
/// The store's.
pub fn clean(folder: &Folder, entry: &Entry, manifest: &Manifest) -> Result<(), StoreError> {
    let Some(published) = &entry.manifest else { return Ok(()) };
    let listed: BTreeSet<&str> = manifest.digests().map(|(name, _)| name).collect();
    remove_unlisted(folder, &CONTENT, |name| {
        !listed.contains(name) && (entry.is_complete() || generation_of(name) <= published.generation)
    })?;
    sweep(folder, entry.is_complete());
    Ok(())
}

/// Removes what a job that was replaced has left: the shards of earlier generations than the present job's first. Its
/// records stay, so that no run of it that slept can write others under their names; nobody reads them.
///
/// # Errors
/// The store's.
pub fn clear_replaced(folder: &Folder, entry: &Entry) -> Result<(), StoreError> {
    let is_replaced = |name: &str| generation_of(name) < entry.first_generation;
    remove_unlisted(folder, &CONTENT, is_replaced)
}

fn remove_unlisted(folder: &Folder, below: &[&str], goes: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for prefix in below {
        for there in folder.list(prefix)?.into_iter().filter(|there| goes(&there.name)) {
            tracing::info!("removing {}, which no manifest names", there.name);
            folder.remove(&there.name)?;
        }
    }
    Ok(())
}

/// Removes what dead runs have left half-done. The package does not need it, so a store that refuses is told and no more.
pub fn sweep(folder: &Folder, is_complete: bool) {
    match folder.remove_drafts(is_complete) {
        Ok(names) => names.iter().for_each(|name| tracing::info!("removing the unfinished {name}")),
        Err(error) => tracing::warn!("what dead runs left behind stays for now: {}", chain(&error)),
    }
}
