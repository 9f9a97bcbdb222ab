//! Tests whether a package could be written, without leaving anything behind. Uses the same test as [`Folder::open`]. A
//! missing local folder is never created, not even briefly, because removing it could break a run that starts
//! meanwhile. Instead, a folder with a unique name is created next to it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;

use super::folder::Folder;
use super::local::absolute;
use super::location::Location;
use super::{StoreError, random};

/// What a store was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// Whether a name is created by at most one of any number of writers.
    pub is_exclusive: bool,
    /// The store's clock in whole seconds; `None` if it has no clock of its own or does not reveal it.
    pub server_time: Option<Timestamp>,
}

/// Proves that files can be created and removed in a place, and leaves nothing behind.
///
/// # Errors
/// As [`Folder::open`].
pub fn probe(at: &Location) -> Result<Probed, StoreError> {
    match at {
        Location::Local(root) => {
            probe_local(root)?;
            Ok(Probed { is_exclusive: true, server_time: None })
        }
        Location::Object(_) => {
            let Some(folder) = Folder::existing(at)? else {
                return Ok(Probed { is_exclusive: false, server_time: None });
            };
            folder.backend().prove()?;
            // Who may write need not be allowed to look.
            let server_time = folder.backend().server_time().unwrap_or_default();
            Ok(Probed { is_exclusive: folder.is_exclusive(), server_time })
        }
    }
}

/// Bytes that this user may still write to the file system that a folder is, or would be, on.
///
/// # Errors
/// [`StoreError::Io`].
pub fn free_bytes(folder: &Path) -> Result<u64, StoreError> {
    let folder = absolute(folder)?;
    let (there, _) = nearest(&folder);
    let found = rustix::fs::statvfs(there).map_err(|e| StoreError::io("ask for the free room at", there, e.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn probe_local(root: &Path) -> Result<(), StoreError> {
    let root = absolute(root)?;
    let (there, missing) = nearest(&root);
    let missing = match missing {
        Some(missing) if there.is_dir() => missing,
        // It is there; or something is in the way, and then nothing is made before that is noticed.
        _ => return Folder::open(root).map(drop),
    };
    let trial = there.join(format!(".kt-export-probe-{:016x}", random()));
    let proved = Folder::open(trial.clone()).map(drop);
    let removed = match fs::remove_dir_all(&trial) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io("remove", &trial, error)),
        _ => Ok(()),
    };
    match proved {
        // What could not be made would have had another name.
        Err(StoreError::Io { action, path, source }) if path == trial => {
            Err(StoreError::Io { action, path: missing.to_owned(), source })
        }
        Err(error) => Err(error),
        Ok(()) => removed,
    }
}

/// Of a path and the folders above it the deepest that is there, and the one right below that is not.
fn nearest(path: &Path) -> (&Path, Option<&Path>) {
    let mut missing = None;
    for there in path.ancestors() {
        match fs::symlink_metadata(there) {
            Err(error) if error.kind() == ErrorKind::NotFound => missing = Some(there),
            _ => return (there, missing),
        }
    }
    (path, None)
}
