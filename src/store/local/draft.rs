//! A file being written, before it gets its final name.
//!
//! [`Unpublished::publish`] is the one place that makes bytes durable, so that no caller can forget it. The order is: sync
//! the file, make and sync the folders above it, link or rename, sync the folder. A crash before the link leaves only
//! a temporary file; a crash after it leaves the whole file or, when the folder had not reached the disk, none.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use rustix::fs::{AtFlags, fstat, statat, unlinkat};
use rustix::io::Errno;

use super::LocalFolder;
use super::dir::{OpenParent, sync};
use crate::store::draft::Unpublished;
use crate::store::{Publish, StoreError};

/// Bytes that are written at once: an age header comes in pieces of 1 to 60.
const BLOCK_BYTES: usize = 64 << 10;

/// A file among the drafts. Dropping it removes it.
#[derive(Debug)]
pub(super) struct LocalDraft {
    pub(super) folder: LocalFolder,
    pub(super) name: String,
    /// Its name until it is published.
    pub(super) temporary: String,
    pub(super) file: File,
    /// What is still to be written.
    pub(super) block: Vec<u8>,
}

/// How often a folder that vanished between its making and its use is made again. Another run removes a folder only
/// when it is empty, so one repetition is the rule.
const ATTEMPTS: usize = 16;

impl Unpublished for LocalDraft {
    fn publish(&mut self, mode: Publish) -> Result<(), StoreError> {
        let published = self.name_it(mode);
        if published.is_err() {
            let _ = self.folder.remove_emptied(&self.name);
        }
        published
    }

    fn rename(&mut self, name: &str) -> Result<(), StoreError> {
        self.folder.check(name)?;
        name.clone_into(&mut self.name);
        Ok(())
    }
}

impl LocalDraft {
    fn name_it(&mut self, mode: Publish) -> Result<(), StoreError> {
        let temporary = self.folder.root().join(&self.temporary);
        self.flush().map_err(|e| StoreError::io("write", &temporary, e))?;
        self.file.sync_all().map_err(|e| StoreError::io("make durable", &temporary, e))?;
        let target = self.folder.root().join(&self.name);
        for _ in 0..ATTEMPTS {
            self.folder.check(&self.name)?;
            let there = match self.folder.make_parents(&self.name) {
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                made => made?,
            };
            let gone = || StoreError::DraftGone { name: self.name.clone() };
            let here = self.folder.place(&self.temporary)?.ok_or_else(gone)?;
            // By path, whose folders were just walked and are checked again below.
            let named = match mode {
                Publish::Create => fs::hard_link(&temporary, &target),
                Publish::Replace => fs::rename(&temporary, &target),
            };
            match named {
                // A network file system may repeat a link whose answer was lost and then meet its own file.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !self.is_same_file(&there) => {
                    // It counts as there, so it has to survive a crash that its writer did not live to see.
                    let folder = target.parent().unwrap_or(Path::new(""));
                    sync(there.dir()).map_err(|e| StoreError::io("make durable", folder, e))?;
                    return Err(StoreError::AlreadyExists { name: self.name.clone() });
                }
                Err(error) if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                    return Err(StoreError::io("create", &target, error));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if statat(here.dir(), here.last, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|e| e == Errno::NOENT) {
                        return Err(gone());
                    }
                }
                Ok(()) | Err(_) => {
                    let folder = target.parent().unwrap_or(Path::new(""));
                    sync(there.dir()).map_err(|e| StoreError::io("make durable", folder, e))?;
                    // Where the folder was swapped in between, the bytes are in the one that was opened.
                    return self.folder.check(&self.name);
                }
            }
        }
        Err(StoreError::io("create", &target, ErrorKind::NotFound.into()))
    }

    fn is_same_file(&self, there: &OpenParent<'_>) -> bool {
        match (fstat(&self.file), statat(there.dir(), there.last, AtFlags::SYMLINK_NOFOLLOW)) {
            (Ok(ours), Ok(theirs)) => ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino,
            _ => false,
        }
    }
}

impl Write for LocalDraft {
    /// Always writes everything, so callers see no short writes or interruptions.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() + bytes.len() > BLOCK_BYTES {
            self.flush()?;
        }
        if bytes.len() > BLOCK_BYTES {
            self.file.write_all(bytes)?;
        } else {
            self.block.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl Drop for LocalDraft {
    fn drop(&mut self) {
        // After a rename it is gone already. Where removing fails, `Folder::remove_drafts` finds it later.
        if let Ok(Some(here)) = self.folder.place(&self.temporary) {
            #[expect(clippy::let_underscore_must_use, reason = "`Folder::remove_drafts` removes what stays")]
            let _ = unlinkat(here.dir(), here.last, AtFlags::empty());
        }
    }
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = File::open(folder).and_then(|opened| sync(std::os::fd::AsFd::as_fd(&opened)));
    synced.map_err(|e| StoreError::io("make durable", folder, e))
}
