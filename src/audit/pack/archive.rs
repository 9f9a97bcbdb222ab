//! A tar (POSIX.1-1988 ustar headers as GNU tar writes them, with its entries for long names) that depends on nothing but
//! the names, the bytes and one instant.

use std::io::{self, BufReader, Read, Write};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{BLOCK_BYTES, PackError};
use crate::package::FileError;

/// Readable by all, writable by the owner.
const MODE: u32 = 0o644;

/// A tar being written.
pub(super) struct Archive<'a, W: Write> {
    tar: Builder<Gate<W>>,
    folder: &'a str,
    /// Seconds since 1970.
    mtime: u64,
}

impl<'a, W: Write> Archive<'a, W> {
    /// All entries are in `folder` and as old as `written_at`; of before 1970 as 1970.
    pub(super) fn new(out: W, folder: &'a str, written_at: Timestamp) -> Self {
        let gate = Gate { out, sha256: Sha256::new(), bytes: 0, is_open: false };
        Self { tar: Builder::new(gate), folder, mtime: u64::try_from(written_at.as_second()).unwrap_or(0) }
    }

    /// Adds a file of so many bytes. After an error the tar is to be dropped, and has no end then.
    pub(super) fn add(&mut self, name: &str, bytes: u64, from: impl Read) -> Result<(), PackError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(MODE);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_size(bytes);
        let from = BufReader::with_capacity(BLOCK_BYTES, from);
        self.tar.get_mut().is_open = true;
        let added = self.tar.append_data(&mut header, format!("{}/{name}", self.folder), from);
        self.tar.get_mut().is_open = false;
        added.map_err(|error| match FileError::downcast(error) {
            Ok(error) => PackError::File(error),
            Err(error) => PackError::Write(error),
        })
    }

    /// Ends the tar, and gives its size and its SHA-256.
    pub(super) fn finish(mut self) -> Result<(u64, String), PackError> {
        self.tar.get_mut().is_open = true;
        let mut gate = self.tar.into_inner().map_err(PackError::Write)?;
        gate.flush().map_err(PackError::Write)?;
        Ok((gate.bytes, data_encoding::HEXLOWER.encode(&gate.sha256.finalize())))
    }
}

/// Counts and hashes what passes, and lets pass only what is meant to: a builder that is dropped writes the end of a tar,
/// which would make a whole one of what was given up.
struct Gate<W> {
    out: W,
    sha256: Sha256,
    bytes: u64,
    is_open: bool,
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_open {
            return Ok(bytes.len());
        }
        let n = self.out.write(bytes)?;
        self.sha256.update(bytes.get(..n).unwrap_or(bytes));
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
