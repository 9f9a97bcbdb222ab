//! Opens stored files for readers of a package: decrypts if the name ends with `.age`, and decompresses according to the rest
//! of the name.
//!
//! The plain bytes are authenticated in chunks of 64 KiB. Only the end of the stream proves that nothing is missing, so a
//! reader that stops early has not verified the whole file. Headers are untrusted, so their size is limited.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use age::armor::{ArmoredReadError, ArmoredReader};
use age::stream::StreamReader;
use age::{DecryptError, Decryptor};

use super::identities::{Identities, MAX_WORK_FACTOR};
use super::{compression_of, unseal};
use crate::digest::DigestWriter;

/// Bytes per read: an age chunk and its tag.
const BLOCK_BYTES: usize = (64 << 10) + 16;

/// Limit on the bytes read before the end of the header. Enough for an armored header for `MAX_RECIPIENTS` and read-ahead.
/// Small, because the library rescans the whole header at each line.
const HEADER_BYTES: u64 = 160 << 10;

/// Limit on the lines of the header.
const HEADER_LINES: u64 = 3_000;

/// The extension of encrypted files.
pub const AGE_EXTENSION: &str = ".age";

/// Opens a shard or rejects file of a package. `path` is its name in the manifest; `identities` are only used if it ends with
/// `.age`.
///
/// # Errors
/// [`OpenError`]. The returned reader fails if the file was truncated or changed.
pub fn open<'a, R: Read + Send + 'a>(
    reader: R,
    path: &str,
    identities: &Identities,
) -> Result<Box<dyn Read + Send + 'a>, OpenError> {
    match path.strip_suffix(AGE_EXTENSION) {
        Some(plain) => unseal(decrypt(reader, identities)?, compression_of(plain)).map_err(OpenError::Read),
        None => unseal(reader, compression_of(path)).map_err(OpenError::Read),
    }
}

/// Decrypts an age file, binary or armored.
///
/// # Errors
/// [`OpenError`]. The returned reader fails if the file was truncated or changed.
pub fn decrypt<R: Read>(reader: R, identities: &Identities) -> Result<Decrypted<impl Read + use<R>>, OpenError> {
    let (limited, is_header) = HeaderLimit::new(reader);
    let mut buffered = BufReader::with_capacity(BLOCK_BYTES, limited);
    skip_blanks(&mut buffered)?;
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(buffered)).map_err(OpenError::of)?;
    is_header.store(false, Ordering::Relaxed);
    Ok(Decrypted { inner: unlock(decryptor, identities)?, failed: false })
}

/// [`decrypt`] for seekable readers of binary files.
pub(super) fn decrypt_seekable<R: Read + Seek>(
    reader: R,
    identities: &Identities,
) -> Result<StreamReader<impl Read + Seek + use<R>>, OpenError> {
    let (limited, is_header) = HeaderLimit::new(reader);
    let decryptor = Decryptor::new_buffered(BufReader::with_capacity(BLOCK_BYTES, limited)).map_err(OpenError::of)?;
    is_header.store(false, Ordering::Relaxed);
    unlock(decryptor, identities)
}

fn unlock<R: Read>(decryptor: Decryptor<R>, identities: &Identities) -> Result<StreamReader<R>, OpenError> {
    match decryptor.is_scrypt() {
        true if !identities.has_passphrase() => return Err(OpenError::NeedsPassphrase),
        false if !identities.has_keys() => return Err(OpenError::NeedsIdentity),
        _ => {}
    }
    decryptor.decrypt(identities.all()).map_err(OpenError::of)
}

/// Size and SHA-256, in lower-case hex, of the plain bytes of an age file.
///
/// # Errors
/// [`OpenError`].
pub fn plain_digest(reader: impl Read, identities: &Identities) -> Result<(u64, String), OpenError> {
    let mut digest = DigestWriter::new(io::sink());
    let mut plain = BufReader::with_capacity(BLOCK_BYTES, decrypt(reader, identities)?);
    io::copy(&mut plain, &mut digest).map_err(OpenError::Read)?;
    let (_, bytes, sha256) = digest.into_parts();
    Ok((bytes, sha256))
}

/// Skips blank lines, which are only allowed before armor (<https://c2sp.org/age#ascii-armor>).
fn skip_blanks(reader: &mut impl BufRead) -> Result<(), OpenError> {
    let mut skipped = false;
    loop {
        let block = reader.fill_buf().map_err(OpenError::of_io)?;
        let blanks = block.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let next = block.get(blanks).copied();
        let at_end = block.is_empty();
        skipped |= blanks > 0;
        reader.consume(blanks);
        match next {
            Some(b'-') => return Ok(()),
            None if !at_end => {}
            _ if skipped => return Err(OpenError::Header),
            _ => return Ok(()),
        }
    }
}

/// The plain bytes. After an error, every read fails.
pub struct Decrypted<R> {
    inner: R,
    failed: bool,
}

impl<R: Read> Read for Decrypted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(changed());
        }
        match self.inner.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failed = true;
                let is_ours = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
                Err(if is_ours { changed() } else { error })
            }
            read => read,
        }
    }
}

/// The error of a truncated or changed file. Both give the same message.
pub(super) fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it was truncated or changed after it was encrypted")
}

/// Limits the bytes and lines read while `is_header` is set.
struct HeaderLimit<R> {
    inner: R,
    is_header: Arc<AtomicBool>,
    bytes_left: u64,
    lines_left: u64,
}

impl<R> HeaderLimit<R> {
    fn new(inner: R) -> (Self, Arc<AtomicBool>) {
        let is_header = Arc::new(AtomicBool::new(true));
        let limited = Self { inner, is_header: is_header.clone(), bytes_left: HEADER_BYTES, lines_left: HEADER_LINES };
        (limited, is_header)
    }
}

impl<R: Read> Read for HeaderLimit<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.is_header.load(Ordering::Relaxed) {
            return self.inner.read(into);
        }
        let n = self.inner.read(into)?;
        let bytes = into.get(..n).unwrap_or_default();
        let bytes_left = self.bytes_left.checked_sub(n as u64);
        let lines_left = self.lines_left.checked_sub(memchr::memchr_iter(b'\n', bytes).count() as u64);
        let (Some(bytes_left), Some(lines_left)) = (bytes_left, lines_left) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the header has no end"));
        };
        (self.bytes_left, self.lines_left) = (bytes_left, lines_left);
        Ok(n)
    }
}

impl<R: Seek> Seek for HeaderLimit<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Why an encrypted file cannot be opened. Callers put the name of the file before the message.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No identity was given.
    #[error("it is encrypted: name a file with an identity that can read it, `--identity FILE`")]
    NeedsIdentity,
    /// No passphrase was given.
    #[error("it is encrypted with a passphrase: name the variable that holds it, `--passphrase-env NAME`")]
    NeedsPassphrase,
    /// The file is encrypted to other keys.
    #[error("none of the given identities is among its recipients")]
    NoMatch,
    /// The passphrase is wrong.
    #[error("the passphrase is wrong, or its header was changed")]
    WrongPassphrase,
    /// Not age.
    #[error("it is not an age file, or its header is damaged")]
    Header,
    /// The armor is invalid.
    #[error("its armor is damaged: the text between `-----BEGIN AGE ENCRYPTED FILE-----` and its end line")]
    Armor,
    /// The MAC of the header does not match.
    #[error("its header was changed after it was encrypted")]
    Mac,
    /// The Parquet keys do not match.
    #[error("it was sealed with keys other than the given ones, or changed afterwards")]
    Keys,
    /// A later version of age.
    #[error("it has an age version that this release cannot read, or its header is damaged")]
    Version,
    /// The work factor of the passphrase is too large.
    #[error("its passphrase requires a work factor of {required}, but the maximum is {MAX_WORK_FACTOR}")]
    Work {
        /// The exponent.
        required: u8,
    },
    /// Corruption, or an error of the reader below.
    #[error("{0}")]
    Read(#[source] io::Error),
}

impl OpenError {
    fn of(error: DecryptError) -> Self {
        match error {
            DecryptError::NoMatchingKeys => Self::NoMatch,
            DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => Self::WrongPassphrase,
            DecryptError::InvalidHeader => Self::Header,
            DecryptError::InvalidMac => Self::Mac,
            DecryptError::UnknownFormat => Self::Version,
            DecryptError::ExcessiveWork { required, .. } => Self::Work { required },
            DecryptError::Io(error) => Self::of_io(error),
            other => Self::Read(io::Error::other(other.to_string())),
        }
    }

    fn of_io(error: io::Error) -> Self {
        if error.get_ref().and_then(|inner| inner.downcast_ref::<ArmoredReadError>()).is_some() {
            return Self::Armor;
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Header,
            _ => Self::Read(error),
        }
    }
}
