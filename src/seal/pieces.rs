//! Passes bytes on in pieces of one size.
//!
//! Deflate, as zlib-rs has it, looks at how much input there is when it decides where matches and blocks end, so that
//! the same text written in other pieces would compress to other bytes.

use std::io::{self, Write};

/// Large against the compressor's window of 32 KiB, so that pieces cost no ratio.
const PIECE_BYTES: usize = 128 * 1024;

/// Collects bytes for `W`.
pub(super) struct PieceWriter<W> {
    inner: W,
    piece: Vec<u8>,
}

impl<W: Write> PieceWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, piece: Vec::new() }
    }

    /// Passes the last piece on.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.piece)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for PieceWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.inner.write_all(&self.piece)?;
            self.piece.clear();
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(bytes.get(..taken).unwrap_or(bytes));
        Ok(taken)
    }

    /// Does nothing: a piece passed on early would be a piece of another size.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
