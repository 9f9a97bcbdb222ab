//! A file on its way to its name.
//!
//! [`Unpublished::publish`] is the one place that makes bytes durable, so that no caller can forget it. The order is: sync
//! the file, make and sync the folders above it, link or rename, sync the folder. A crash before the link leaves only
//! a temporary file; a crash after it leaves the whole file or, when the folder had not reached the disk, none.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::LocalFolder;
use crate::store::draft::Unpublished;
use crate::store::{Publish, StoreError};

/// A file among the drafts. Dropping it removes it.
#[derive(Debug)]
pub(super) struct LocalDraft {
    pub(super) folder: LocalFolder,
    pub(super) name: String,
    pub(super) temporary: PathBuf,
    pub(super) file: File,
}

/// How often a folder that vanished between its making and its use is made again. Another run removes a folder only
/// when it is empty, so one repetition is the rule.
const ATTEMPTS: usize = 16;

impl Unpublished for LocalDraft {
    fn publish(&mut self, mode: Publish) -> Result<(), StoreError> {
        let published = self.name_it(mode);
        if published.is_err()
            && let Ok(target) = self.folder.resolve(&self.name)
        {
            self.folder.remove_emptied(&target);
        }
        published
    }

    fn rename(&mut self, name: &str) -> Result<(), StoreError> {
        self.folder.resolve(name)?;
        name.clone_into(&mut self.name);
        Ok(())
    }
}

impl LocalDraft {
    fn name_it(&self, mode: Publish) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|e| StoreError::io("make durable", &self.temporary, e))?;
        for _ in 0..ATTEMPTS {
            let target = self.folder.resolve(&self.name)?;
            match self.folder.make_parents(&self.name) {
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                made => made?,
            }
            let named = match mode {
                Publish::Create => fs::hard_link(&self.temporary, &target),
                Publish::Replace => fs::rename(&self.temporary, &target),
            };
            match named {
                Ok(()) => return sync_parent(&target),
                // A network file system may repeat a link whose answer was lost and then meet its own file.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && self.is_same_file(&target) => {
                    return sync_parent(&target);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // It counts as there, so it has to survive a crash that its writer did not live to see.
                    sync_parent(&target)?;
                    return Err(StoreError::AlreadyExists { name: self.name.clone() });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if fs::symlink_metadata(&self.temporary).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
                        return Err(StoreError::DraftGone { name: self.name.clone() });
                    }
                }
                Err(error) => return Err(StoreError::io("create", &target, error)),
            }
        }
        Err(StoreError::io("create", &self.folder.root().join(&self.name), ErrorKind::NotFound.into()))
    }

    #[cfg(unix)]
    fn is_same_file(&self, target: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), fs::symlink_metadata(target)) {
            (Ok(ours), Ok(theirs)) => ours.dev() == theirs.dev() && ours.ino() == theirs.ino(),
            _ => false,
        }
    }

    #[cfg(not(unix))]
    fn is_same_file(&self, _target: &Path) -> bool {
        false
    }
}

impl Write for LocalDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for LocalDraft {
    fn drop(&mut self) {
        // After a rename it is gone already. Where removing fails, `Folder::remove_drafts` finds it later.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(folder) => sync_folder(folder).map_err(|e| StoreError::io("make durable", folder, e)),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and user-space file systems have nothing to sync for a folder and say so.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Elsewhere a folder cannot be opened; the file system journals its entries.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
