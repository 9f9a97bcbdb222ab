//! Random access to the plain bytes of a stored file, for formats with a footer.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::identities::Identities;
use super::open::{AGE_EXTENSION, OpenError, changed, decrypt_seekable};
use crate::store::Stored;

/// The plain bytes of a file, decrypted on demand. They are not decompressed, because Parquet compresses its own pages.
pub struct PlainFile {
    bytes: u64,
    from: From,
}

enum From {
    Stored(Stored),
    /// Serves one read at a time.
    Age(Mutex<Box<dyn ReadSeek>>),
}

trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

impl PlainFile {
    /// `path` is the file's name in the manifest; `identities` are only used if it ends with `.age`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(stored: Stored, path: &str, identities: &Identities) -> Result<Self, OpenError> {
        if !path.ends_with(AGE_EXTENSION) {
            return Ok(Self { bytes: stored.bytes(), from: From::Stored(stored) });
        }
        let mut plain = decrypt_seekable(Cursor { stored, at: 0 }, identities)?;
        // Seeking to the end verifies that the last chunk is marked as the last.
        let bytes = plain.seek(SeekFrom::End(0)).map_err(|error| OpenError::Read(as_changed(error)))?;
        Ok(Self { bytes, from: From::Age(Mutex::new(Box::new(plain))) })
    }

    /// Size of the plain bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads `length` plain bytes at an offset.
    ///
    /// # Errors
    /// The error of the store, changed bytes, or the end of the file.
    pub fn read_at(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let plain = match &self.from {
            From::Stored(stored) => return stored.read_at(start, length),
            From::Age(plain) => plain,
        };
        if start.checked_add(length).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        if !block.is_empty() {
            let mut plain = plain.lock().unwrap_or_else(PoisonError::into_inner);
            plain.seek(SeekFrom::Start(start)).and_then(|_| plain.read_exact(&mut block)).map_err(as_changed)?;
        }
        Ok(block.into())
    }
}

/// Maps decryption errors to one message.
fn as_changed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => changed(),
        _ => error,
    }
}

/// A seekable reader of a stored file.
struct Cursor {
    stored: Stored,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.stored.bytes().saturating_sub(self.at);
        let n = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(into) = into.get_mut(..n).filter(|into| !into.is_empty()) else { return Ok(0) };
        into.copy_from_slice(&self.stored.read_at(self.at, n as u64)?);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.stored.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
