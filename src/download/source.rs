//! The stored bytes of one file, hashed and counted as they are read.
//!
//! A decoder owns what it reads from, but the digest is of all stored bytes, also of those that a decoder never asks
//! for because it failed before. So the bytes are shared with whoever holds the other end: [`StoredBytes::settle`] reads
//! the rest and compares.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::part::disk;
use super::{Download, DownloadError};
use crate::error::Exit;
use crate::package::{FileError, PackageFile};

/// Bytes that are read at once: large enough for the disk, small enough for the cache.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// A file of the package being read. Clones are the same reader.
#[derive(Clone)]
pub(super) struct StoredBytes {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    reader: Box<dyn Read + Send>,
    sha256: Sha256,
    bytes: u64,
    /// The store's error, which decoders would replace with their own.
    failed: Option<io::Error>,
}

impl StoredBytes {
    /// Opens a file that has the size that the manifest says.
    pub(super) fn open(request: &Download<'_>, file: &PackageFile<'_>) -> Result<Self, DownloadError> {
        let stored = request.package.open_file(file)?;
        let shared = Shared { reader: stored.into_reader(), sha256: Sha256::new(), bytes: 0, failed: None };
        Ok(Self { shared: Arc::new(Mutex::new(shared)) })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stored bytes read so far.
    pub(super) fn taken(&self) -> u64 {
        self.shared().bytes
    }

    /// Reads the remaining bytes, and fails unless the whole file matches the manifest.
    pub(super) fn settle(mut self, request: &Download<'_>, file: &PackageFile<'_>) -> Result<(), DownloadError> {
        let mut block = vec![0; BLOCK_BYTES];
        let at = || request.package.at();
        let mut failed = self.shared().failed.take();
        while failed.is_none() {
            check_stop(request)?;
            match self.read(&mut block) {
                // One byte too many is enough to know.
                Ok(n) if n > 0 && self.taken() <= file.bytes => {}
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failed = Some(self.shared().failed.take().unwrap_or(error)),
            }
        }
        if let Some(source) = failed {
            return Err(DownloadError::Read { shard: file.path.to_owned(), at: at(), source });
        }
        let (found, sha256) = {
            let shared = self.shared();
            (shared.bytes, data_encoding::HEXLOWER.encode(&shared.sha256.clone().finalize()))
        };
        let path = file.path.to_owned();
        if found != file.bytes {
            return Err(FileError::Size { path, at: at(), found, stated: file.bytes }.into());
        }
        if sha256 != file.sha256 {
            let stated = file.sha256.to_owned();
            return Err(FileError::Digest { path, at: at(), found: sha256, stated }.into());
        }
        Ok(())
    }
}

impl Read for StoredBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut shared = self.shared();
        match shared.reader.read(into) {
            Ok(n) => {
                shared.sha256.update(into.get(..n).unwrap_or(into));
                shared.bytes += n as u64;
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                shared.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Stops on request.
pub(super) fn check_stop(request: &Download<'_>) -> Result<(), DownloadError> {
    if request.stop.is_set() {
        return Err(DownloadError::Stopped { exit: request.stop.exit().unwrap_or(Exit::Interrupted) });
    }
    Ok(())
}

/// A block of what a decoder gives; `0` at its end.
pub(super) fn read_block(reader: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Copies a file of the package and verifies it.
pub(super) fn copy(
    request: &Download<'_>,
    file: &PackageFile<'_>,
    done: u64,
    out: &mut File,
    path: &Path,
) -> Result<(), DownloadError> {
    let mut source = StoredBytes::open(request, file)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        check_stop(request)?;
        // `settle` reports the store's error.
        let Ok(n @ 1..) = read_block(&mut source, &mut block) else { break };
        if source.taken() > file.bytes {
            break;
        }
        out.write_all(block.get(..n).unwrap_or_default()).map_err(|error| disk("write", path, error))?;
        (request.progress)(done.saturating_add(source.taken()));
    }
    source.settle(request, file)
}
