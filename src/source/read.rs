//! Reading an input: requests, chunks and batches.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;

use super::{Input, SourceError};
use crate::job::OnBad;
use crate::time::TimeParser;

/// Rows of one unit, in the planned schema, in the order of the input.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns.
    pub rows: RecordBatch,
    /// Index of the unit in its input.
    pub unit: u32,
    /// Where each row stands.
    pub positions: Positions,
    /// Rows of the unit that could not be read, met since the batch before.
    pub rejected: Vec<Reject>,
    /// Rows of the unit that are not in `rows` because they lie outside the window asked for, met since the batch before.
    pub outside: u64,
}

/// Where the rows of a batch stand: 1-based lines (CSV, NDJSON), elements (JSON) or rows of the unit (Parquet, Arrow).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Positions {
    /// One after the other, from this one.
    From(u64),
    /// Each its own.
    Each(Vec<u64>),
}

impl Positions {
    /// Of one row of the batch.
    pub fn of(&self, row: u32) -> u64 {
        match self {
            Self::From(first) => first + u64::from(row),
            Self::Each(positions) => positions.get(row as usize).copied().unwrap_or_default(),
        }
    }
}

/// A row that could not be read or placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// 1-based line (CSV, NDJSON) or row (JSON element, Parquet row) in the file.
    pub position: u64,
    /// Why.
    pub error: String,
    /// The bytes as they stood, cut to [`MAX_REJECT_BYTES`].
    pub raw: Vec<u8>,
}

/// How much of an unreadable row is kept.
pub const MAX_REJECT_BYTES: usize = 1 << 20;

/// Rows a batch holds at most.
pub const BATCH_ROWS: usize = 8192;

/// How to read one input.
#[derive(Debug, Clone)]
pub struct ReadRequest<'a> {
    /// The input.
    pub input: &'a Input,
    /// Names of the columns of `schema` whose values are [`Input::constants`].
    pub constants: &'a [String],
    /// The columns to give, in this order and these types; a column that the input lacks is null.
    /// Text holding JSON is marked by [`json_field`](crate::logical::json_field), text holding numbers by [`number_field`](crate::logical::number_field).
    pub schema: SchemaRef,
    /// Which units, ascending. Row formats have only unit 0.
    pub units: Vec<u32>,
    /// `Fail`: the first unreadable row ends the reading with [`ErrorCode::BadRows`](crate::error::ErrorCode::BadRows).
    pub on_bad_rows: OnBad,
    /// Which rows are wanted; `None` is all.
    pub within: Option<Within>,
}

/// The window that rows are read for. A reader may leave out rows outside and count them ([`Batch::outside`]); whether it
/// does is its own matter, so rows outside may still come.
#[derive(Debug, Clone)]
pub struct Within {
    /// The time column.
    pub column: String,
    /// How it is written.
    pub times: TimeParser,
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// Columns whose types are not from the rows, so that a row may turn out to be bad by a value that does not fit.
    pub declared: Vec<String>,
    /// It is proven that every row of the units can be read and has a time.
    pub proven: bool,
}

/// Cuts an input into chunks, in order. Only the cutting is serial: a chunk is decoded on the thread that takes it.
pub trait ChunkReader: Send {
    /// The next chunk; `None` at the proven end of the input.
    ///
    /// # Errors
    /// [`SourceError`] where no more chunks can be found. After an error the reader is spent.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError>;
}

/// A part of one unit, decoded without regard to the chunks around it.
pub struct Chunk {
    /// Index of the unit in its input.
    pub unit: u32,
    /// Its rows.
    pub batches: Box<dyn BatchReader>,
}

/// Gives the batches of one chunk.
pub trait BatchReader: Send {
    /// The next rows; `None` at the proven end of the chunk.
    ///
    /// # Errors
    /// [`SourceError`] where the bytes are not what the format says or the operating system fails. After an error the reader is spent.
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError>;
}

/// Yields one chunk.
pub(crate) struct OneChunk(pub(crate) Option<Box<dyn BatchReader>>);

impl ChunkReader for OneChunk {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        Ok(self.0.take().map(|batches| Chunk { unit: 0, batches }))
    }
}
