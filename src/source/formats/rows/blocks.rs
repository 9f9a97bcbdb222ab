//! Cuts a file into blocks of whole rows, so that the expensive work can run on many threads.
//!
//! Cutting is the serial part of reading, so it only finds row ends. A block ends after the last whole row read so far; a
//! row longer than a block becomes a block of its own. Blocks read before an error are returned before the error, so rows
//! and errors keep the order of the file.

use encoding_rs::Encoding;

use crate::source::formats::rows::decode::{Buffer, TakenBytes};
use crate::source::{SourceError, SourceFile};

/// Bytes read before a block is cut. Large enough that a batch is worth its overhead; small enough that a file of a few
/// megabytes has a block for every thread and the blocks of all threads fit the processor's caches.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Cuts a file into blocks, in order.
pub(super) trait CutBlocks: Send {
    /// Whole rows that any thread can parse.
    type Block: Send;

    /// The next block; `None` at the proven end of the file.
    ///
    /// # Errors
    /// The error of the file. No blocks follow an error.
    fn next_block(&mut self) -> Result<Option<Self::Block>, SourceError>;
}

/// Finds where the rows of a format end.
pub(super) trait RowEnds: Send {
    /// Length of the whole rows at the start of `data`, which begins with a row; 0 if there is no whole row. Until rows are
    /// cut off, each call passes the same bytes and more. `is_all`: no bytes follow.
    fn whole_rows(&mut self, data: &[u8], is_all: bool) -> usize;

    /// Notes that `rows` were cut off the front of the data seen last. Returns the number of lines in them.
    fn cut(&mut self, rows: &[u8]) -> u64;
}

/// Whole rows of a file.
pub(super) struct Block {
    taken: TakenBytes,
    /// 1-based line of its first byte.
    pub(super) line: u64,
}

impl Block {
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.taken.data()
    }
}

/// A file being cut into blocks.
pub(super) struct Blocks<E> {
    /// `None` once the file is read or has failed.
    buffer: Option<Buffer>,
    ends: E,
    block_bytes: usize,
    /// The file's compression proves that it was read whole.
    proves_end: bool,
    encoding: &'static Encoding,
    /// Line of the first byte in the buffer.
    line: u64,
    /// Returned after the block that precedes it.
    error: Option<SourceError>,
}

impl<E: RowEnds> Blocks<E> {
    pub(super) fn open(file: &SourceFile, ends: E, block_bytes: usize) -> Result<Self, SourceError> {
        Ok(Self::after_lines(Buffer::open(file, block_bytes)?, 0, ends, block_bytes))
    }

    /// Cuts what a buffer still gives; `lines` lines were taken from it.
    pub(super) fn after_lines(buffer: Buffer, lines: u64, ends: E, block_bytes: usize) -> Self {
        let (proves_end, encoding) = (buffer.proves_end(), buffer.encoding());
        Self { buffer: Some(buffer), ends, block_bytes, proves_end, encoding, line: lines + 1, error: None }
    }

    pub(super) fn proves_end(&self) -> bool {
        self.proves_end
    }

    /// The encoding of the file. Blocks are in UTF-8.
    pub(super) fn encoding(&self) -> &'static Encoding {
        self.encoding
    }

    fn cut(&mut self, buffer: &mut Buffer, len: usize) -> Option<Block> {
        if len == 0 {
            return None;
        }
        let line = self.line;
        let taken = buffer.take(len);
        self.line += self.ends.cut(taken.data());
        Some(Block { taken, line })
    }
}

impl<E: RowEnds> CutBlocks for Blocks<E> {
    type Block = Block;

    fn next_block(&mut self) -> Result<Option<Block>, SourceError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        // Take it first: after an error, the reader yields nothing.
        let Some(mut buffer) = self.buffer.take() else { return Ok(None) };
        let mut enough = self.block_bytes;
        loop {
            if buffer.data().len() >= enough {
                let whole = self.ends.whole_rows(buffer.data(), false);
                if let Some(block) = self.cut(&mut buffer, whole) {
                    self.buffer = Some(buffer);
                    return Ok(Some(block));
                }
                enough += self.block_bytes;
            }
            // Never read past the block size, so that block ends depend on the bytes alone, not on read sizes.
            match buffer.fill(enough.saturating_sub(buffer.data().len())) {
                Ok(true) => {}
                Ok(false) => {
                    let rest = buffer.data().len();
                    return Ok(self.cut(&mut buffer, rest));
                }
                Err(error) => {
                    let whole = self.ends.whole_rows(buffer.data(), true);
                    let block = self.cut(&mut buffer, whole);
                    let error = SourceError { position: Some(self.line), ..error };
                    if block.is_none() {
                        return Err(error);
                    }
                    self.error = Some(error);
                    return Ok(block);
                }
            }
        }
    }
}

/// Finds rows that end with LF.
#[derive(Default)]
pub(super) struct LineEnds {
    /// Bytes already searched in vain.
    searched: usize,
}

impl RowEnds for LineEnds {
    fn whole_rows(&mut self, data: &[u8], _is_all: bool) -> usize {
        let last = memchr::memrchr(b'\n', data.get(self.searched..).unwrap_or_default());
        let whole = last.map_or(0, |i| self.searched + i + 1);
        self.searched = data.len();
        whole
    }

    fn cut(&mut self, rows: &[u8]) -> u64 {
        self.searched = 0;
        memchr::memchr_iter(b'\n', rows).count() as u64
    }
}
