//! Sources: what can be listed, inspected and read as Arrow record batches.
//!
//! A [`Source`] lists its [`Input`]s (files, or slices of a table), inspects each once for the plan, and reads them for a
//! run. Every reader returns [`Batch`]es in the planned schema with the position of every row, in bounded memory, and never
//! fewer rows than the input holds without an error.
//!
//! [`files`] lists folders, globs and object stores; [`formats`] reads the bytes of one file.

pub(crate) mod files;
pub(crate) mod formats;
pub(crate) mod instants;
pub(crate) mod skip;

mod constants;
pub(crate) mod derived;
mod extension;
mod file;
mod input;
mod read;

pub(crate) use extension::Extensions;
pub(crate) use file::SourceFile;
pub(crate) use files::error::ListError;
pub(crate) use formats::rows::infer::TableEvidence;
pub(crate) use formats::rows::inspect::{InspectionStep, InspectionSteps, StepResults};
#[cfg(test)]
pub(crate) use input::Slice;
pub(crate) use input::{Input, Version};
pub(crate) use read::OneChunk;
use read::map_batches;
pub(crate) use read::{
    BATCH_ROWS, Batch, BatchReader, Chunk, ChunkReader, MAX_REJECT_BYTES, Positions, ReadRequest, Reject, Within,
};
pub(crate) use skip::{SkipCode, SkippedInput};

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use jiff::Timestamp;

use crate::diagnostic::Diagnostic;
use crate::error::ErrorCode;
use crate::job::Job;
use crate::store::StoreError;
use crate::time::TimeParser;

/// A data source of an export. A job constructs one with [`of_job`] and shares it between threads.
pub(crate) trait Source: Send + Sync {
    /// The source kind that the manifest records.
    fn kind(&self) -> SourceKind;

    /// Lists the inputs that may hold rows in `period`, sorted by name in byte order, and the inputs that it skips.
    ///
    /// # Errors
    /// [`ListError`] if any input cannot be enumerated. A partial list is never returned.
    fn list(&self, period: Period) -> Result<Listing, ListError>;

    /// Rejects settings that contradict the listed inputs or that none of them can use.
    ///
    /// # Errors
    /// A [`Diagnostic`] that names the first such setting and how to correct it.
    fn check_settings(&self, _inputs: &[Input]) -> Result<(), Diagnostic> {
        Ok(())
    }

    /// The declared schema of a table or query. `None` for files: their schema is inferred from all rows.
    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    /// The database's identifier for the snapshot that all inputs are read from; `None` if the source has no snapshots.
    fn snapshot(&self) -> Option<&str> {
        None
    }

    /// Prepares the inspection of one input: an iterator of steps, each of which may run on any thread, and an accumulator.
    /// Pass the result of every step to [`StepResults::add`], then call [`StepResults::finish`].
    fn inspect<'a>(
        &'a self,
        input: &'a Input,
        request: InspectRequest<'a>,
    ) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>);

    /// Chooses the constant columns (hive partition keys) for `inputs`. `file_schema` is the schema of the rows, to detect
    /// name conflicts.
    ///
    /// # Errors
    /// [`ListError::Hive`] if constants and columns conflict.
    fn constants(&self, _inputs: &[Input], _file_schema: &Schema) -> Result<ConstantColumns, ListError> {
        Ok(ConstantColumns::default())
    }

    /// For each input, in the same order, the half-open period that its name claims for its rows; `None` if the name claims
    /// none. The inspected times in `facts` may disprove a claim.
    fn claimed_periods(&self, inputs: &[Input], _facts: &[InputFacts]) -> Vec<Option<(Timestamp, Timestamp)>> {
        vec![None; inputs.len()]
    }

    /// The note of an input without content that is left out, unless its name claims a period; `None` for an input that must
    /// be read.
    fn without_content(&self, _input: &Input) -> Option<SkippedInput> {
        None
    }

    /// Opens an input for reading.
    ///
    /// # Errors
    /// [`ErrorCode::SourceChanged`] if the input changed since it was listed, [`ErrorCode::SourceUnreadable`] if it cannot be
    /// opened. An object store may report its own code, such as for an outage.
    fn open(&self, request: ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError>;

    /// Checks that an input still has its listed [`Version`]. Call it after reading the input.
    ///
    /// # Errors
    /// [`ErrorCode::SourceChanged`] if it differs, [`ErrorCode::SourceUnreadable`] if its current version cannot be determined.
    fn recheck(&self, input: &Input) -> Result<(), SourceError>;
}

/// Creates the source that a job reads.
pub(crate) fn of_job(job: &Job) -> Box<dyn Source> {
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
pub(crate) struct Period {
    /// Inclusive.
    pub start: Timestamp,
    /// Exclusive.
    pub end: Timestamp,
}

/// The inputs of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Inputs to read, sorted by name in byte order.
    pub inputs: Vec<Input>,
    /// Inputs that are not read, with reasons.
    pub skipped: Vec<SkippedInput>,
    /// Skipped inputs whose names claim the periods nearest to the requested one. They are inspected to test `path_time`:
    /// wrong claims show up here first.
    pub adjacent: Vec<Input>,
}

/// The columns whose values come from [`Input::constants`], not from rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConstantColumns {
    /// Nullable text columns, in the order of first appearance.
    pub fields: Vec<Field>,
    /// Why constants that exist were not made columns, for the user; `None` if they were, or if there are none.
    pub note: Option<String>,
}

/// What to collect when an input is inspected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InspectRequest<'a> {
    /// The time column.
    pub time_column: &'a str,
    /// Parser for the values of `time_column`.
    pub time_parser: &'a TimeParser,
}

/// The result of inspecting an input.
#[derive(Debug, Clone)]
pub(crate) struct Inspection {
    /// Observations about each column, from which the source schema is inferred.
    pub evidence: TableEvidence,
    /// Its rows and times.
    pub facts: InputFacts,
    /// Column chunks that cannot be decoded.
    pub undecodable: Vec<Undecodable>,
}

/// What an inspection found out about an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFacts {
    /// One entry per unit, indexed by unit number. A Parquet file has one unit per row group; any other input has one unit.
    pub units: Vec<UnitFacts>,
    /// Why inspection stopped early. If set, `units` describe only the rows before that point.
    pub problem: Option<SourceError>,
}

/// A part of an input that can be read alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFacts {
    /// Number of rows, including unreadable ones; `None` if only reading can tell.
    pub rows: Option<u64>,
    /// Size in the input, compressed: of the row group in Parquet, of the whole input in other formats.
    pub encoded_bytes: u64,
    /// Bounds, both inclusive, of the times of rows that have a time.
    pub times: TimeRange,
    /// Upper bound on the number of rows that are unreadable or have no time; 0 proves that there are none. `None` if unknown.
    pub unplaced_rows: Option<u64>,
    /// Worst-case memory in bytes to decode the unit; 0 if the reader holds no more than one block.
    pub peak_decoded_bytes: u64,
}

/// Column chunks that the readers cannot decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undecodable {
    /// Top-level column that contains the chunks; a nested leaf is reported under its root.
    pub column: String,
    /// Units of the input, ascending.
    pub units: Vec<u32>,
    /// Why the reader cannot decode them, and what the user can do.
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
    /// The times are not known without reading the rows.
    Unknown,
}

/// An error about one input, or about one position in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}: {message}", position.map(|p| format!(":{p}")).unwrap_or_default())]
pub struct SourceError {
    /// [`Input::name`].
    pub name: String,
    /// 1-based line (CSV, NDJSON), element (JSON) or row (Parquet, Arrow) that caused the error; `None` if it concerns the
    /// whole input.
    pub position: Option<u64>,
    /// Machine-readable code for the report and the exit code.
    pub code: ErrorCode,
    /// What is wrong, and what the user can do.
    pub message: String,
}

impl From<SourceError> for crate::failure::Failure {
    fn from(error: SourceError) -> Self {
        let SourceError { name, position, code, message } = error;
        Self::new(code, message).at_input(name, position)
    }
}

impl SourceError {
    /// Converts an I/O error. A [`StoreError`] inside it keeps its own code; any other I/O error is
    /// [`ErrorCode::SourceUnreadable`]. `participle` completes "cannot be …", such as "opened".
    pub(crate) fn io(file: &SourceFile, participle: &str, error: &std::io::Error) -> Self {
        if let Some(error) = StoreError::below(error) {
            return Self::of_store(&file.name, error);
        }
        let (code, message) = (ErrorCode::SourceUnreadable, format!("cannot be {participle}: {error}"));
        Self { name: file.name.clone(), position: None, code, message }
    }

    /// Converts the error of an object store that refused a request for the file.
    pub(crate) fn of_store(name: &str, error: &StoreError) -> Self {
        Self { name: name.to_owned(), position: None, code: error.code(), message: error.to_string() }
    }
}

/// The schema of a whole source: every file's columns, in order of first appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceSchema {
    /// All text is `Utf8View`. Field metadata marks text that holds JSON ([`json_field`](crate::logical::json_field)) or
    /// numbers ([`number_field`](crate::logical::number_field)).
    pub arrow: Arc<Schema>,
    /// Differences between files or rows and how each was resolved, for users and the manifest.
    pub drift: Vec<String>,
    /// Dotted paths of the JSON keys outside the array that `records` selects. Their values are not exported.
    pub unexported_keys: Vec<String>,
}
