//! The bytes of a text shard on their way to the writer, passed on in large blocks.
//!
//! Invariant: where a block ends depends on the rows alone, never on batches; so does what the compressor below sees.

use std::io::{self, Write};

/// When a block is passed on, in bytes. Small enough to stay in a core's second-level cache between encoder, digest
/// and compressor, and large enough that the calls in between do not count.
const BLOCK_BYTES: usize = 256 * 1024;

/// Collects rows for `W`.
pub(super) struct Block<W> {
    out: W,
    /// Rows are appended here. Grows as needed: a small shard among thousands costs what it holds.
    pub(super) bytes: Vec<u8>,
    passed_on: u64,
}

impl<W: Write> Block<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, bytes: Vec::new(), passed_on: 0 }
    }

    /// To be called between rows.
    #[inline]
    pub(super) fn row_ended(&mut self) -> io::Result<()> {
        if self.bytes.len() >= BLOCK_BYTES { self.pass_on() } else { Ok(()) }
    }

    #[cold]
    fn pass_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.bytes)?;
        self.passed_on += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.passed_on + self.bytes.len() as u64
    }

    /// Passes the rest on.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.pass_on()?;
        Ok(self.out)
    }
}
