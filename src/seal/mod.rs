//! Encoded bytes to stored bytes: compress, then hash and count.

use std::io::Write;

use crate::job::Compression;

/// Compresses (not for Parquet, which compresses its pages itself), hashes and counts on the way to `W`.
pub struct Sealer<W: Write> {
    _inner: W,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed<W> {
    /// The writer below, flushed, nothing withheld.
    pub inner: W,
    /// Bytes stored.
    pub bytes: u64,
    /// Lower-case hex SHA-256 of the bytes stored.
    pub sha256: String,
}

impl<W: Write> Sealer<W> {
    /// Starts.
    ///
    /// # Errors
    /// The codec's.
    pub fn new(_inner: W, _compression: Compression) -> std::io::Result<Self> {
        unimplemented!()
    }

    /// Ends the compressed stream and gives the digest.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(self) -> std::io::Result<Sealed<W>> {
        unimplemented!()
    }
}
