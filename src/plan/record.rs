//! Wire types of a plan: window, inputs, schema and totals.
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
use crate::source::Input;

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

/// An input, as it was when the job was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInput {
    /// As listed.
    #[serde(flatten)]
    pub input: Input,
    /// Its units; of a broken input, those that were inspected before the error.
    pub units: Vec<PlannedUnit>,
    /// Why the input is broken: it could not be inspected to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl PlannedInput {
    /// Number of rows, if known before reading.
    pub fn rows(&self) -> Option<u64> {
        let sum = |sum: u64, unit: &PlannedUnit| Some(sum.saturating_add(unit.rows?));
        self.problem.is_none().then(|| self.units.iter().try_fold(0, sum)).flatten()
    }
}

/// A part of an input that can be read on its own, such as a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// Number of rows, including unreadable ones; null if only reading can tell.
    pub rows: Option<u64>,
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
    /// Rows of all inputs that are not broken; null if a number of rows is unknown before reading.
    pub source_rows: Option<u64>,
    /// Encoded bytes of their units.
    pub source_bytes: u64,
    /// Rows of the units that are read: no more can be written. Null if a number is unknown.
    pub read_rows: Option<u64>,
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

/// Adds up inputs and the reads of tasks.
pub(super) fn totals(inputs: &[PlannedInput], tasks: &[Task]) -> Totals {
    let add = |sum: Option<u64>, rows: Option<u64>| Some(sum?.saturating_add(rows?));
    let mut totals = Totals { source_rows: Some(0), source_bytes: 0, read_rows: Some(0), read_bytes: 0, passes: 0.0 };
    for unit in inputs.iter().filter(|input| input.problem.is_none()).flat_map(|input| &input.units) {
        totals.source_rows = add(totals.source_rows, unit.rows);
        totals.source_bytes = totals.source_bytes.saturating_add(unit.bytes);
    }
    for read in tasks.iter().flat_map(|task| &task.reads) {
        let unit = inputs.get(read.input as usize).and_then(|input| input.units.get(read.unit as usize));
        let Some(unit) = unit else { continue };
        totals.read_bytes = totals.read_bytes.saturating_add(unit.bytes);
        if read.owner {
            totals.read_rows = add(totals.read_rows, unit.rows);
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
