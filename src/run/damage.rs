//! Finds committed files that are missing or changed.

use std::collections::BTreeMap;

use super::RunError;
use super::workers;
use crate::failure::Failure;
use crate::package::list_content;
use crate::package::manifest::{FileEntry, Manifest, RejectsEntry};
use crate::stop::Stop;
use crate::store::{Folder, StoreError};

/// A committed file and its expected content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Committed<'a> {
    /// Name in the package.
    pub path: &'a str,
    /// Size.
    pub bytes: u64,
    /// Digest.
    pub sha256: Option<&'a str>,
}

impl<'a> From<&'a FileEntry> for Committed<'a> {
    fn from(file: &'a FileEntry) -> Self {
        Self { path: &file.path, bytes: file.bytes, sha256: file.sha256.as_deref() }
    }
}

impl<'a> From<&'a RejectsEntry> for Committed<'a> {
    fn from(file: &'a RejectsEntry) -> Self {
        Self { path: &file.path, bytes: file.bytes, sha256: Some(&file.sha256) }
    }
}

/// All files that a manifest lists.
pub(super) fn listed(manifest: &Manifest) -> impl Iterator<Item = Committed<'_>> {
    let shards = manifest.files.iter().filter(|f| f.status.has_file()).map(Committed::from);
    shards.chain(manifest.rejects.iter().map(Committed::from))
}

/// Looks up the sizes of many files: one by one on a local disk, which reports names that are not files; with one listing
/// in an object store.
pub(super) struct Sizes<'a> {
    folder: &'a Folder,
    listed: Option<BTreeMap<String, u64>>,
}

impl<'a> Sizes<'a> {
    /// Lists the sizes, if the store needs that.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn of(folder: &'a Folder) -> Result<Self, StoreError> {
        if folder.has_exclusive_names() {
            return Ok(Self { folder, listed: None });
        }
        let listed = list_content(folder)?;
        Ok(Self { folder, listed: Some(listed.into_iter().map(|found| (found.name, found.bytes)).collect()) })
    }

    fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        match &self.listed {
            Some(listed) => Ok(listed.get(name).copied()),
            None => self.folder.size(name),
        }
    }

    /// A message if the file is missing or has the wrong size.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn damage(&self, file: Committed<'_>) -> Result<Option<String>, StoreError> {
        Ok(match self.size(file.path)? {
            None => Some(format!("{} is missing", file.path)),
            Some(size) if size != file.bytes => {
                Some(format!("{} has {size} bytes instead of {}", file.path, file.bytes))
            }
            Some(_) => None,
        })
    }
}

/// Hashes files on `threads` threads. Returns, for each file, a message if its digest is wrong.
///
/// # Errors
/// Errors of the store; [`RunError::Stopped`].
pub(super) fn digests(
    folder: &Folder,
    files: &[Committed<'_>],
    threads: usize,
    stop: &Stop,
) -> Result<Vec<Option<String>>, RunError> {
    let check = |file: &Committed<'_>| -> Result<Option<String>, RunError> {
        if let Some(exit) = stop.exit() {
            return Err(RunError::Stopped(exit));
        }
        let found = folder.sha256(file.path)?;
        let is_same = found.is_some() && found.as_deref() == file.sha256;
        Ok((!is_same).then(|| format!("{} does not have the bytes that were exported", file.path)))
    };
    let checked = workers::map(threads, files, check).map_err(|e| Failure::internal(&e))?;
    checked.into_iter().collect()
}

/// Messages for a manifest's files that are missing or have a different size; `with_digests` also compares their digests.
///
/// # Errors
/// As [`digests`].
pub(super) fn of_manifest(
    folder: &Folder,
    manifest: &Manifest,
    with_digests: bool,
    threads: usize,
    stop: &Stop,
) -> Result<Vec<String>, RunError> {
    let sizes = Sizes::of(folder)?;
    let mut damage = Vec::new();
    let mut whole = Vec::new();
    for file in listed(manifest) {
        match sizes.damage(file)? {
            Some(wrong) => damage.push(wrong),
            None => whole.push(file),
        }
    }
    if with_digests {
        damage.extend(digests(folder, &whole, threads, stop)?.into_iter().flatten());
    }
    Ok(damage)
}

#[cfg(test)]
mod tests;
