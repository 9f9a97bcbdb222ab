//! Source files: listed, inspected once, and read as Arrow record batches.
//!
//! The readers are ours for the row formats and the `parquet` and `arrow` crates' for the columnar ones. All
//! give [`Batch`]es in the planned schema, with every row's place, in bounded memory, and never a row less than
//! the file holds without an error.

pub mod columnar;
pub mod files;
pub mod instants;
pub mod rows;
pub mod skip;

mod dispatch;

pub use dispatch::{Inspection, inspector, open};
pub use rows::infer::InspectRequest;
pub use rows::inspect::{Finding, Findings, Piece, Pieces};

use std::sync::Arc;

use ::arrow::datatypes::{Schema, SchemaRef};
use ::arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::job::{OnBad, SourceFormat};
use crate::store::{Location, StoreError, Stored};
use crate::time::TimeParser;

/// One source file as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Where; a path absolute.
    pub at: Location,
    /// Relative to the folder of the source URI, `/`-separated: what messages and manifests show, and the order of rows.
    pub name: String,
    /// Size when listed.
    pub bytes: u64,
    /// Modification time when listed.
    pub modified: Timestamp,
    /// Version when listed, in the words of its store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What is inside.
    pub format: SourceFormat,
    /// How it is compressed, from the extension.
    pub codec: Codec,
    /// `k=v` folders between the source URI and the file.
    pub hive: Vec<(String, String)>,
}

/// Compression of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// None.
    Plain,
    /// `.gz`, any number of members.
    Gzip,
    /// `.zst`, any number of frames.
    Zstd,
}

/// What one look at a file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Parquet: one per row group. Other formats: one.
    pub units: Vec<UnitFacts>,
    /// Set when the file could not be inspected to its end; `units` then says what was seen before.
    pub problem: Option<SourceError>,
}

/// A part of a file that can be read alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFacts {
    /// Rows, the unreadable ones included.
    pub rows: u64,
    /// Encoded bytes.
    pub bytes: u64,
    /// Time of the rows that have one, both ends included.
    pub times: TimeRange,
    /// Rows that may be without a time or unreadable; 0 only where that is proven.
    pub unplaced_rows: u64,
    /// Bytes that may be in memory at once while it is read, where that is more than a block of it.
    pub decoded_bytes: u64,
}

/// Column chunks that the readers cannot decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The top-level column.
    pub column: String,
    /// Units of the file, ascending.
    pub units: Vec<u32>,
    /// What stands in the way, and the way out.
    pub why: String,
}

/// What is known of the times of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeRange {
    /// No row has a time.
    Empty,
    /// Every row that has a time lies in `min..=max`.
    Within {
        /// Earliest.
        min: Timestamp,
        /// Latest.
        max: Timestamp,
    },
    /// Nothing is proven.
    Unknown,
}

/// Rows of one unit, in the planned schema, in file order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns.
    pub rows: RecordBatch,
    /// Index of the unit in its file.
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

/// How to read one file.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Which.
    pub file: SourceFile,
    /// The columns to give, in this order and these types; a column that the file does not have is null.
    /// Text holding JSON is marked by [`json_field`](crate::logical::json_field), text holding numbers by [`number_field`](crate::logical::number_field).
    pub schema: SchemaRef,
    /// Which units, ascending. Row formats have only unit 0.
    pub units: Vec<u32>,
    /// `Fail`: the first unreadable row ends the reading with [`ErrorCode::BadRows`].
    pub on_bad_rows: OnBad,
    /// JSON: dotted path of the array.
    pub records: Option<String>,
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

/// Cuts a file into chunks, in file order. Only the cutting is serial: a chunk is decoded on the thread that takes it.
pub trait ChunkReader: Send {
    /// The next chunk; `None` at the proven end of the file.
    ///
    /// # Errors
    /// [`SourceError`] where no more chunks can be found. After an error the reader is spent.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError>;
}

/// A part of one unit of a file, decoded without regard to the chunks around it.
pub struct Chunk {
    /// Index of the unit in its file.
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

/// A file that is one chunk, until it is given.
pub(crate) struct WholeFile(pub(crate) Option<Box<dyn BatchReader>>);

impl ChunkReader for WholeFile {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        Ok(self.0.take().map(|batches| Chunk { unit: 0, batches }))
    }
}

/// A source file that does not give its rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}: {message}", position.map(|p| format!(":{p}")).unwrap_or_default())]
pub struct SourceError {
    /// [`SourceFile::name`].
    pub name: String,
    /// 1-based line or row, where one is to blame.
    pub position: Option<u64>,
    /// What kind.
    pub code: ErrorCode,
    /// What is wrong and the way out.
    pub message: String,
}

impl SourceFile {
    /// Its bytes.
    ///
    /// # Errors
    /// As [`SourceError::io`].
    pub(crate) fn open(&self) -> Result<Stored, SourceError> {
        Stored::open(&self.at, self.bytes, self.etag.as_deref()).map_err(|e| SourceError::io(self, "opened", &e))
    }
}

impl From<SourceError> for crate::failure::Failure {
    fn from(error: SourceError) -> Self {
        let SourceError { name, position, code, message } = error;
        Self::new(code, message).at_input(name, position)
    }
}

impl SourceError {
    /// A file that could not be opened or read: unreadable, unless its store says another thing.
    pub(crate) fn io(file: &SourceFile, what: &str, error: &std::io::Error) -> Self {
        if let Some(answer) = StoreError::below(error) {
            return Self::of_store(&file.name, answer);
        }
        let (code, message) = (ErrorCode::SourceUnreadable, format!("cannot be {what}: {error}"));
        Self { name: file.name.clone(), position: None, code, message }
    }

    /// A file that its store does not give.
    pub(crate) fn of_store(name: &str, answer: &StoreError) -> Self {
        Self { name: name.to_owned(), position: None, code: answer.code(), message: answer.to_string() }
    }
}

/// The schema of a whole source: every file's columns, in order of first appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSchema {
    /// Text is `Utf8View`; text holding JSON or numbers is marked.
    pub arrow: Arc<Schema>,
    /// What differed between files or rows and how it was settled, for people and the manifest.
    pub drift: Vec<String>,
    /// Keys of the objects around the rows of JSON documents, by their paths: `records` passes over them.
    pub unexported_keys: Vec<String>,
}
