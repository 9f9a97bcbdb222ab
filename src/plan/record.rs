//! Wire types of a plan: window, files, schema and totals.
//!
//! Renaming or removing a field requires a new [`super::PLAN_VERSION`].

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PlanError, Task};
use crate::logical::{is_json, is_number};

/// The window of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedWindow {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
    /// Calendar name.
    pub label: String,
    /// IANA name.
    pub timezone: String,
}

/// A source file, as it was when the job was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// [`SourceFile::name`](crate::source::SourceFile::name).
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Its units; of a broken file, those that were inspected before the error.
    pub units: Vec<PlannedUnit>,
    /// Why the file is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Why the file is broken: it could not be inspected to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A part of a file that can be read on its own, such as a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// Number of rows, including unreadable ones.
    pub rows: u64,
    /// Encoded size in bytes.
    pub bytes: u64,
    /// Estimated peak memory use while it is read, in bytes.
    pub decoded_bytes: u64,
}

/// A column of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedColumn {
    /// Column name.
    pub name: String,
    /// Its type, as Arrow displays it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
    /// Whether its text is JSON.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub json: bool,
    /// Text that holds numbers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub number: bool,
}

/// Sums over the plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows of all files that are neither skipped nor broken.
    pub source_rows: u64,
    /// Encoded bytes of their units.
    pub source_bytes: u64,
    /// Rows of the units that are read: no more can be written.
    pub read_rows: u64,
    /// Bytes that tasks read; a unit counts as often as it is read.
    pub read_bytes: u64,
    /// `read_bytes / source_bytes`, to two places.
    pub passes: f64,
}

impl PlannedColumn {
    pub(super) fn new(field: &Field) -> Self {
        Self {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
            json: is_json(field),
            number: is_number(field),
        }
    }
}

/// Adds up files and the reads of tasks.
pub(super) fn totals(files: &[PlannedFile], tasks: &[Task]) -> Totals {
    let mut totals = Totals { source_rows: 0, source_bytes: 0, read_rows: 0, read_bytes: 0, passes: 0.0 };
    for unit in files.iter().filter(|file| file.problem.is_none()).flat_map(|file| &file.units) {
        totals.source_rows = totals.source_rows.saturating_add(unit.rows);
        totals.source_bytes = totals.source_bytes.saturating_add(unit.bytes);
    }
    for read in tasks.iter().flat_map(|task| &task.reads) {
        let unit = files.get(read.file as usize).and_then(|file| file.units.get(read.unit as usize));
        let Some(unit) = unit else { continue };
        totals.read_bytes = totals.read_bytes.saturating_add(unit.bytes);
        if read.owner {
            totals.read_rows = totals.read_rows.saturating_add(unit.rows);
        }
    }
    if totals.source_bytes > 0 {
        totals.passes = (totals.read_bytes as f64 / totals.source_bytes as f64 * 100.0).round() / 100.0;
    }
    totals
}

/// An Arrow IPC stream that holds only a schema.
pub(super) fn schema_stream(schema: &Schema) -> Result<String, PlanError> {
    let mut stream = Vec::new();
    StreamWriter::try_new(&mut stream, schema)
        .and_then(|mut writer| writer.finish())
        .map_err(|e| PlanError::Schema { reason: e.to_string() })?;
    Ok(BASE64.encode(&stream))
}

/// Reads [`schema_stream`] back.
pub(super) fn read_schema_stream(text: &str) -> Result<SchemaRef, PlanError> {
    let unreadable = |reason: String| PlanError::Unreadable { reason: format!("arrow_schema: {reason}") };
    let stream = BASE64.decode(text.as_bytes()).map_err(|e| unreadable(e.to_string()))?;
    let reader = StreamReader::try_new(stream.as_slice(), None).map_err(|e| unreadable(e.to_string()))?;
    Ok(reader.schema())
}
