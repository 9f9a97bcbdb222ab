//! Buffers writes into pieces of a fixed size.
//!
//! zlib-rs decides where matches and blocks end based on the amount of available input, so without fixed pieces, the
//! compressed bytes would depend on the sizes of writes.

use std::io::{self, Write};

/// Large compared with the compressor's window of 32 KiB, so that pieces do not affect the ratio.
const PIECE_BYTES: usize = 128 * 1024;

/// Writes pieces of [`PIECE_BYTES`] to `W`.
pub(super) struct PieceWriter<W> {
    inner: W,
    piece: Vec<u8>,
}

impl<W: Write> PieceWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, piece: Vec::new() }
    }

    /// Writes the last piece.
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

    /// Does nothing, because an early piece would have a different size.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
