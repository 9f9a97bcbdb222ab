//! Reading an input: requests, chunks and batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;

use super::{Input, SourceError};
use crate::job::OnBad;
use crate::time::TimeParser;

/// Rows of one unit, in the planned schema, in the order of the input.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The columns.
    pub rows: RecordBatch,
    /// The position of each row.
    pub positions: Positions,
    /// Unreadable rows of the unit since the previous batch.
    pub rejected: Vec<Reject>,
    /// Number of rows of the unit since the previous batch that are not in `rows`, because they lie outside the requested
    /// window.
    pub outside: u64,
}

/// Positions of the rows of a batch: 1-based lines (CSV, NDJSON), elements (JSON) or rows of the unit (Parquet, Arrow).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Positions {
    /// Consecutive, from this one.
    From(u64),
    /// One for each row.
    Each(Vec<u64>),
}

impl Positions {
    /// The position of a row, counted from 0 in the batch; `None` if the batch has no such row.
    pub(crate) fn of(&self, row: u32) -> Option<u64> {
        match self {
            Self::From(first) => first.checked_add(row.into()),
            Self::Each(positions) => positions.get(row as usize).copied(),
        }
    }
}

/// A row that could not be read or placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    /// 1-based line (CSV, NDJSON) or row (JSON element, Parquet row) in the file.
    pub position: u64,
    /// Why.
    pub error: String,
    /// The bytes in the input, cut to [`MAX_REJECT_BYTES`].
    pub raw: Vec<u8>,
}

/// Maximum number of bytes of an unreadable row that are kept.
pub(crate) const MAX_REJECT_BYTES: usize = 1 << 20;

/// Maximum number of rows in a batch.
pub(crate) const BATCH_ROWS: usize = 8192;

/// How to read one input.
#[derive(Debug, Clone)]
pub(crate) struct ReadRequest<'a> {
    /// The input.
    pub input: &'a Input,
    /// Names of the columns of `schema` whose values are [`Input::constants`].
    pub constants: &'a [String],
    /// The columns to return, in this order and with these types; a column that the input lacks is null. Field metadata
    /// marks text that holds JSON ([`json_field`](crate::logical::json_field)) or numbers
    /// ([`number_field`](crate::logical::number_field)).
    pub schema: SchemaRef,
    /// Units to read, ascending. Row formats have only unit 0.
    pub units: Vec<u32>,
    /// `Fail`: the first unreadable row is an error with [`ErrorCode::BadRows`](crate::error::ErrorCode::BadRows).
    pub on_bad_rows: OnBad,
    /// The rows to return; `None` means all.
    pub within: Option<Within>,
}

/// The window that rows are read for. A reader may skip rows outside it and count them in [`Batch::outside`], but need not:
/// batches may contain rows outside the window.
#[derive(Debug, Clone)]
pub(crate) struct Within {
    /// The time column, or a path through objects of JSON.
    pub column: String,
    /// Parser for its values.
    pub times: TimeParser,
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// Columns whose types are declared, not inferred: a row with a value that does not fit is unreadable.
    pub declared: Vec<String>,
    /// Whether the inspection proved that every row of the units is readable and has a time.
    pub proven: bool,
}

/// Cuts an input into chunks, in order. Only cutting is serial: the thread that takes a chunk decodes it.
pub(crate) trait ChunkReader: Send {
    /// The next chunk; `None` at the proven end of the input.
    ///
    /// # Errors
    /// [`SourceError`] if the next chunk cannot be found. After an error, the reader must not be used.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError>;
}

/// A part of one unit that can be decoded independently of other chunks.
pub(crate) struct Chunk {
    /// Index of the unit in its input.
    pub unit: u32,
    /// Its rows.
    pub batches: Box<dyn BatchReader>,
}

/// Decodes one chunk into batches.
pub(crate) trait BatchReader: Send {
    /// The next rows; `None` at the proven end of the chunk.
    ///
    /// # Errors
    /// [`SourceError`] if the bytes do not match the format or reading fails. After an error, the reader must not be used.
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError>;
}

/// Yields one chunk.
pub(crate) struct OneChunk(pub(crate) Option<Box<dyn BatchReader>>);

impl ChunkReader for OneChunk {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        Ok(self.0.take().map(|batches| Chunk { unit: 0, batches }))
    }
}

/// Chunks whose batches `change` makes of those of `inner`.
pub(super) fn map_batches(
    inner: Box<dyn ChunkReader>,
    change: impl Fn(Batch) -> Result<Batch, SourceError> + Send + Sync + 'static,
) -> Box<dyn ChunkReader> {
    Box::new(MappedChunks { inner, change: Arc::new(change) })
}

struct MappedChunks<F> {
    inner: Box<dyn ChunkReader>,
    change: Arc<F>,
}

impl<F: Fn(Batch) -> Result<Batch, SourceError> + Send + Sync + 'static> ChunkReader for MappedChunks<F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(Chunk { unit, batches: inner }) = self.inner.next_chunk()? else { return Ok(None) };
        Ok(Some(Chunk { unit, batches: Box::new(MappedBatches { inner, change: Arc::clone(&self.change) }) }))
    }
}

struct MappedBatches<F> {
    inner: Box<dyn BatchReader>,
    change: Arc<F>,
}

impl<F: Fn(Batch) -> Result<Batch, SourceError> + Send + Sync> BatchReader for MappedBatches<F> {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        self.inner.next_batch()?.map(|batch| (self.change)(batch)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_a_batch_does_not_have_has_no_position() {
        let each = Positions::Each(vec![3, 5]);
        assert_eq!((each.of(1), each.of(2)), (Some(5), None));
        assert_eq!((Positions::From(7).of(2), Positions::From(u64::MAX).of(1)), (Some(9), None));
    }
}
