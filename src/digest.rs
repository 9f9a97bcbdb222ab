//! Hashes and counts what passes.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// Bytes that are hashed at once: large enough for the disk, small enough for the cache.
const BLOCK_BYTES: usize = 256 * 1024;

/// Passes bytes on to `W` and keeps their digest and count. Whoever writes here sees neither a short write nor an
/// interruption of `W`: the writer of an age header takes the one for the end and the other for a failure.
pub(crate) struct DigestWriter<W> {
    inner: W,
    sha256: Sha256,
    bytes: u64,
}

impl<W: Write> DigestWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, sha256: Sha256::new(), bytes: 0 }
    }

    /// The writer below, the bytes it took, their SHA-256 in lower-case hex.
    pub(crate) fn into_parts(self) -> (W, u64, String) {
        (self.inner, self.bytes, data_encoding::HEXLOWER.encode(&self.sha256.finalize()))
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(bytes)?;
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// SHA-256, in lower-case hex, of all that a reader gives.
///
/// # Errors
/// The reader's.
pub fn sha256_of(mut reader: impl Read) -> io::Result<String> {
    let mut writer = DigestWriter::new(io::sink());
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok(writer.into_parts().2),
            Ok(n) => writer.write_all(block.get(..n).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_and_interruptions_below_are_not_passed_up() {
        struct Meager(Vec<u8>, usize);
        impl Write for Meager {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                if self.1 % 2 == 1 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let n = bytes.len().min(3);
                self.0.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = DigestWriter::new(Meager(Vec::new(), 0));
        assert_eq!(writer.write(b"abcdefgh").unwrap(), 8);
        let (inner, bytes, sha256) = writer.into_parts();
        assert_eq!((inner.0.as_slice(), bytes), (b"abcdefgh".as_slice(), 8));
        assert_eq!(sha256, data_encoding::HEXLOWER.encode(&Sha256::digest(b"abcdefgh")));
    }
}
