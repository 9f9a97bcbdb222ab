//! Cuts a file into blocks of whole rows, so that what costs time can be done on many threads.
//!
//! Cutting is the serial part of reading, so it does nothing but find where rows end: a block is cut behind the last
//! whole row of what was read, and a row longer than a block makes a long block of its own. What was read of a file
//! before it broke is given before the error is, so that rows and errors come in the order of the file.

use crate::source::rows::decode::{Buffer, Taken};
use crate::source::{SourceError, SourceFile};

/// How much is read before a block is cut: enough rows for a batch to be worth its overhead, and few enough bytes that
/// every thread finds a block in a file of some megabytes and the blocks of all threads stay in the processor's caches.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Cuts a file into blocks, one after the other.
pub(super) trait Cut: Send {
    /// Whole rows that any thread can read.
    type Block: Send;

    /// The next block; `None` at the proven end of the file.
    ///
    /// # Errors
    /// The file's own. After an error there are no more blocks.
    fn next_block(&mut self) -> Result<Option<Self::Block>, SourceError>;
}

/// Finds where the rows of a format end.
pub(super) trait RowEnds: Send {
    /// The length of the whole rows at the start of `data`, which begins with a row; 0 where there is none. Called again
    /// with more bytes behind the same ones, until some are cut off. `is_all`: no more bytes come.
    fn whole_rows(&mut self, data: &[u8], is_all: bool) -> usize;

    /// That many bytes, all of them whole rows, were cut off the front of what was last looked at: the lines they were.
    fn cut(&mut self, rows: &[u8]) -> u64;
}

/// Whole rows of a file.
pub(super) struct Block {
    taken: Taken,
    /// 1-based line of its first byte.
    pub(super) line: u64,
}

impl Block {
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.taken.data()
    }
}

/// A file on its way into blocks.
pub(super) struct Blocks<E> {
    /// `None` once the file is read or has failed.
    buffer: Option<Buffer>,
    ends: E,
    block_bytes: usize,
    /// Line of the first byte in the buffer.
    line: u64,
    /// Given after the block that was cut off before it.
    error: Option<SourceError>,
}

impl<E: RowEnds> Blocks<E> {
    pub(super) fn open(file: &SourceFile, ends: E, block_bytes: usize) -> Result<Self, SourceError> {
        Ok(Self { buffer: Some(Buffer::open(file, block_bytes)?), ends, block_bytes, line: 1, error: None })
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

impl<E: RowEnds> Cut for Blocks<E> {
    type Block = Block;

    fn next_block(&mut self) -> Result<Option<Block>, SourceError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        // Taken out, so that an error leaves the reader spent.
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
            // No more than enough, so that the bytes alone decide where blocks end, and not how they are read.
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

/// Rows that end with LF.
#[derive(Default)]
pub(super) struct LineEnds {
    /// There is none before.
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
