//! Reads a Parquet file in large blocks.
//!
//! The `parquet` crate requests page headers and pages one by one. On a plain file, that means several small reads per page,
//! and the bytes after each header are read twice. Here, a whole column chunk or a large part of it is read at once, and
//! pages are slices of it. For an object in a store, all requested column chunks of a row group are read at once.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes, buf::Reader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::foreign::remember;
use crate::store::Stored;

/// Most bytes per read. Column chunks are usually smaller; of larger ones, this much is kept in memory.
const BLOCK_BYTES: u64 = 4 << 20;

/// The bytes of some column chunks of a Parquet file.
pub(super) struct Blocks {
    stored: Stored,
    /// Start of each column chunk, by its end.
    chunks: BTreeMap<u64, u64>,
    /// The last block read of each column chunk and its start, by the end of the column chunk.
    blocks: Mutex<BTreeMap<u64, (u64, Bytes)>>,
}

impl Blocks {
    /// `chunks` are the starts and ends of column chunks.
    pub(super) fn new(stored: Stored, chunks: impl Iterator<Item = (u64, u64)>) -> Self {
        let chunks = chunks.map(|(start, end)| (end, start)).collect();
        Self { stored, chunks, blocks: Mutex::default() }
    }

    /// Reads the column chunks in advance and in parallel if each read is a network request.
    ///
    /// # Errors
    /// The error of the store.
    pub(super) fn fetch(&self) -> io::Result<()> {
        if !self.stored.is_remote() {
            return Ok(());
        }
        let ranges: Vec<Range<u64>> = self.chunks.iter().map(|(end, start)| *start..*end).collect();
        let fetched = self.stored.read_ranges(&ranges)?;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.extend(ranges.into_iter().zip(fetched).map(|(range, bytes)| (range.end, (range.start, bytes))));
        Ok(())
    }

    fn read(&self, start: u64, length: u64) -> io::Result<Bytes> {
        self.stored.read_at(start, length).map_err(remember)
    }

    /// At least `wanted` bytes from `start`, but none beyond the end of the column chunk.
    fn block(&self, start: u64, wanted: u64) -> Result<Bytes> {
        let found = self.chunks.range(start + 1..).next().filter(|(_, first)| **first <= start);
        let Some((&end, _)) = found else {
            // Not in a column chunk: an index.
            let end = self.stored.bytes().min(start.saturating_add(wanted));
            return Ok(self.read(start, end.saturating_sub(start))?);
        };
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, block)) = blocks.get(&end)
            && let Some(at) = start.checked_sub(*first)
            && at.saturating_add(wanted) <= block.len() as u64
        {
            #[expect(clippy::cast_possible_truncation, reason = "at most the length of a block in memory")]
            return Ok(block.slice(at as usize..));
        }
        // Free the previous block first.
        blocks.remove(&end);
        let block = self.read(start, (end - start).min(BLOCK_BYTES.max(wanted)))?;
        blocks.insert(end, (start, block.clone()));
        Ok(block)
    }
}

impl Length for Blocks {
    fn len(&self) -> u64 {
        self.stored.bytes()
    }
}

/// Bytes read for a page header, which is rarely larger.
const HEADER_BYTES: u64 = 64 << 10;

impl ChunkReader for Blocks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let end = self.chunks.range(start + 1..).next().map_or(self.stored.bytes(), |(end, _)| *end);
        Ok(self.block(start, end.saturating_sub(start).min(HEADER_BYTES))?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let block = self.block(start, length as u64)?;
        if block.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at offset {start} are missing")));
        }
        Ok(block.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn every_range_is_what_stands_in_the_file() {
        let content: Vec<u8> = (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let chunks = [(4, 1_000), (1_000, 150_000), (150_010, 199_000)];
        let blocks = Blocks::new(Stored::file(file, content.len() as u64), chunks.into_iter());
        for start in (0..199_999u64).step_by(997) {
            for length in [0usize, 1, 500, 40_000] {
                let end = (start as usize + length).min(content.len());
                let inside = chunks.iter().all(|(a, b)| start < *a || start >= *b || end as u64 <= *b);
                if inside && start as usize + length <= content.len() {
                    assert_eq!(blocks.get_bytes(start, length).unwrap(), content[start as usize..end]);
                }
            }
            let mut some = [0; 1];
            blocks.get_read(start).unwrap().read_exact(&mut some).unwrap();
            assert_eq!(some[0], content[start as usize]);
        }
        assert!(blocks.get_bytes(199_999, 2).is_err());
    }
}
