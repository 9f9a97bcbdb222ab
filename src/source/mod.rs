//! Sources: what can be listed, inspected and read as Arrow record batches.
//!
//! A [`Source`] lists its [`Input`]s (files, or slices of a table), inspects each once for the plan, and reads them for a
//! run. Every reader returns [`Batch`]es in the planned schema with the position of every row, in bounded memory, and never
//! fewer rows than the input holds without an error.
//!
//! [`files`] lists folders, globs and object stores; [`formats`] reads the bytes of one file.

pub mod files;
pub mod formats;
pub mod instants;
pub mod skip;

mod constants;
mod file;
mod input;
mod read;

pub use file::{Codec, SourceFile};
pub use files::error::ListError;
pub use formats::rows::infer::TableEvidence;
pub use formats::rows::inspect::{InspectionStep, InspectionSteps, StepResult, StepResults};
pub use input::{Input, Slice, Version};
pub(crate) use read::OneChunk;
pub use read::{
    BATCH_ROWS, Batch, BatchReader, Chunk, ChunkReader, MAX_REJECT_BYTES, Positions, ReadRequest, Reject, Within,
};
pub use skip::{SkipCode, SkippedInput};

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use jiff::Timestamp;

use crate::diagnostic::Diagnostic;
use crate::error::ErrorCode;
use crate::job::Job;
use crate::store::StoreError;
use crate::time::TimeParser;

/// Something that can be exported from, opened once per job.
pub trait Source: Send + Sync {
    /// What manifests call its kind.
    fn kind(&self) -> SourceKind;

    /// The inputs that may hold rows of a period, in the order of their names' bytes, and what is skipped.
    ///
    /// # Errors
    /// [`ListError`] if the list would not be complete.
    fn list(&self, period: Period) -> Result<Listing, ListError>;

    /// Refuses settings that have no effect on any of these inputs.
    ///
    /// # Errors
    /// The setting and how to correct it.
    fn check_settings(&self, _inputs: &[Input]) -> Result<(), Diagnostic> {
        Ok(())
    }

    /// The schema, if the source declares one, as tables and queries do. The columns of files are inferred from all rows.
    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    /// The snapshot that all inputs are read from, as the source names it.
    fn snapshot(&self) -> Option<&str> {
        None
    }

    /// Inspects one input in steps, which may run on any thread. The results of all steps make the [`Inspection`].
    fn inspect<'a>(
        &'a self,
        input: &'a Input,
        request: InspectRequest<'a>,
    ) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>);

    /// Columns whose values are [`Input::constants`], given the columns of the inputs' rows.
    ///
    /// # Errors
    /// [`ListError::Hive`] if constants and columns conflict.
    fn constants(&self, _inputs: &[Input], _columns: &Schema) -> Result<Constants, ListError> {
        Ok(Constants::default())
    }

    /// For each input, the half-open period that its name says its rows lie in.
    fn coverage(&self, inputs: &[Input], _facts: &[InputFacts]) -> Vec<Option<(Timestamp, Timestamp)>> {
        vec![None; inputs.len()]
    }

    /// Opens an input for reading.
    ///
    /// # Errors
    /// [`SourceError`].
    fn open(&self, request: ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError>;

    /// Checks, after an input was read, that it is still what was listed.
    ///
    /// # Errors
    /// [`ErrorCode::SourceChanged`] if it differs, [`ErrorCode::SourceUnreadable`] if that cannot be found out.
    fn recheck(&self, input: &Input) -> Result<(), SourceError>;
}

/// The source of a job.
pub fn of_job(job: &Job) -> Box<dyn Source> {
    Box::new(files::FileSource::new(job))
}

/// Kinds of sources, as manifests name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Files in a folder, below a prefix of an object store, or at a URL.
    Files,
}

/// A half-open period of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

/// The inputs of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Inputs to read, in the order of their names' bytes.
    pub inputs: Vec<Input>,
    /// What is not read, and why.
    pub skipped: Vec<SkippedInput>,
    /// Skipped inputs whose names cover the time next to the period: rows that contradict a name are likeliest there.
    pub adjacent: Vec<Input>,
}

/// Columns that come from [`Input::constants`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constants {
    /// Nullable text columns, in the order of first appearance.
    pub fields: Vec<Field>,
    /// What a user should know if constants are not columns.
    pub note: Option<String>,
}

/// What to collect when an input is inspected.
#[derive(Debug, Clone, Copy)]
pub struct InspectRequest<'a> {
    /// The time column.
    pub time_column: &'a str,
    /// Parses it.
    pub times: &'a TimeParser,
}

/// The result of inspecting an input.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Evidence of its columns.
    pub evidence: TableEvidence,
    /// Its rows and times.
    pub facts: InputFacts,
    /// Column chunks that cannot be decoded.
    pub undecodable: Vec<Undecodable>,
}

/// What an inspection found out about an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFacts {
    /// Parquet: one per row group. Other inputs: one.
    pub units: Vec<UnitFacts>,
    /// Set if the input could not be inspected to its end; `units` then describe the part before.
    pub problem: Option<SourceError>,
}

/// A part of an input that can be read alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFacts {
    /// Number of rows, including unreadable ones; `None` if only reading can tell.
    pub rows: Option<u64>,
    /// Encoded bytes.
    pub bytes: u64,
    /// Time of the rows that have one, both ends included.
    pub times: TimeRange,
    /// Maximum number of rows without a time or unreadable: 0 proves that there are none. `None` if unknown.
    pub unplaced_rows: Option<u64>,
    /// Bytes that may be in memory at once while it is read, where that is more than a block of it.
    pub decoded_bytes: u64,
}

/// Column chunks that the readers cannot decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The top-level column.
    pub column: String,
    /// Units of the input, ascending.
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

/// Why rows of an input cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}: {message}", position.map(|p| format!(":{p}")).unwrap_or_default())]
pub struct SourceError {
    /// [`Input::name`].
    pub name: String,
    /// 1-based line or row, where one is to blame.
    pub position: Option<u64>,
    /// What kind.
    pub code: ErrorCode,
    /// What is wrong and the way out.
    pub message: String,
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
