//! Files that are read from their first record batch to their last, as one unit: Arrow IPC and Avro.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use jiff::{Timestamp, ToSpan};

use super::adapt::{adapt, adapt_batch};
use super::foreign::{guarded, mismatch};
use super::layout::planned_schema;
use crate::logical::uuid;
use crate::source::formats::FileRequest;
use crate::source::instants::instants;
use crate::source::{
    BATCH_ROWS, Batch, BatchReader, InputFacts, Positions, SourceError, SourceFile, TimeRange, UnitFacts,
};
use crate::time::TimeParser;

/// The record batches of a file, in order.
pub(super) trait RecordBatches: Send {
    /// The columns as the file has them.
    fn schema(&self) -> &SchemaRef;

    /// The next batch with some of the columns, by their indices, in ascending order; `None` at the verified end.
    ///
    /// # Errors
    /// [`SourceError`] of bytes that are not what the format says.
    fn next(&mut self, file: &SourceFile, columns: &[usize]) -> Result<Option<RecordBatch>, SourceError>;
}

/// The result of inspecting a file.
#[derive(Debug, Clone)]
pub(crate) struct WholeFacts {
    /// The columns in planned layouts: text is `Utf8View`.
    pub schema: Schema,
    /// Rows, bytes and times of the file, which is one unit.
    pub facts: InputFacts,
}

/// Reads the schema of a file, which `open` opens, and its time column. [`InputFacts::problem`] holds errors after the schema.
///
/// # Errors
/// Those of `open`; [`SourceChanged`](crate::error::ErrorCode::SourceChanged) if the file has changed since it was listed;
/// [`SchemaMismatch`](crate::error::ErrorCode::SchemaMismatch) if the time column has no planned layout.
pub(super) fn inspect<B: RecordBatches>(
    file: &SourceFile,
    open: impl FnOnce(&SourceFile) -> Result<B, SourceError>,
    time_column: &str,
    time_parser: &TimeParser,
) -> Result<WholeFacts, SourceError> {
    file.check_unchanged()?;
    let mut batches = open(file)?;
    let schema = planned_schema(batches.schema());
    let time = batches.schema().column_with_name(time_column).map(|(index, _)| index);
    let mut times = Times::default();
    let mut problem = None;
    loop {
        match batches.next(file, time.as_slice()) {
            Ok(Some(batch)) => match (batch.columns().first(), schema.field_with_name(time_column)) {
                (Some(column), Ok(field)) => {
                    let column = guarded(|| adapt(column, false, field)).map_err(|m| mismatch(file, m))?;
                    times.add(field, &column, time_parser);
                }
                _ => times.add_without_time(batch.num_rows()),
            },
            Ok(None) => break,
            Err(error) => {
                problem = Some(error);
                break;
            }
        }
    }
    let problem = problem.or_else(|| file.check_unchanged().err());
    let unit = UnitFacts {
        rows: Some(times.rows),
        encoded_bytes: file.bytes,
        times: times.range(),
        unplaced_rows: Some(times.unplaced_rows),
        peak_decoded_bytes: 0,
    };
    Ok(WholeFacts { schema, facts: InputFacts { units: vec![unit], problem } })
}

/// Rows and times seen so far.
#[derive(Default)]
struct Times {
    rows: u64,
    unplaced_rows: u64,
    bounds: Option<(i64, i64)>,
    unknown: bool,
}

impl Times {
    fn add_without_time(&mut self, rows: usize) {
        self.rows += rows as u64;
        self.unplaced_rows += rows as u64;
    }

    fn add(&mut self, field: &Field, column: &ArrayRef, parser: &TimeParser) {
        // A column that cannot be a time is reported once, with its location in the catalog, when the plan is checked.
        let Ok(found) = instants(field, column, parser, TimeUnit::Microsecond) else {
            self.unknown = true;
            return self.add_without_time(column.len());
        };
        self.rows += column.len() as u64;
        self.unplaced_rows += found.values.null_count() as u64;
        for micros in found.values.iter().flatten() {
            let (min, max) = self.bounds.unwrap_or((micros, micros));
            self.bounds = Some((min.min(micros), max.max(micros)));
        }
    }

    fn range(&self) -> TimeRange {
        let instant = |micros| Timestamp::from_microsecond(micros).ok();
        match self.bounds {
            _ if self.unknown => TimeRange::Unknown,
            None => TimeRange::Empty,
            Some((min, max)) => match (instant(min), instant(max)) {
                // Times are rounded down to microseconds, so the latest may be up to 999 ns later.
                (Some(min), Some(max)) => {
                    TimeRange::Within { min, max: max.checked_add(999.nanoseconds()).unwrap_or(Timestamp::MAX) }
                }
                _ => TimeRange::Unknown,
            },
        }
    }
}

/// The reader of the rows of a file, which `open` opens.
///
/// # Errors
/// Those of `open`; [`SourceChanged`](crate::error::ErrorCode::SourceChanged) if the file has changed since it was listed.
pub(super) fn open<B: RecordBatches + 'static>(
    request: FileRequest,
    open: impl FnOnce(&SourceFile) -> Result<B, SourceError>,
) -> Result<Box<dyn BatchReader>, SourceError> {
    request.file.check_unchanged()?;
    let batches = open(&request.file)?;
    let wanted = |name: &str| request.schema.column_with_name(name).is_some();
    let columns =
        batches.schema().fields().iter().enumerate().filter(|(_, f)| wanted(f.name())).map(|(i, _)| i).collect();
    // A plan that reads no unit of the file gets no rows, as for Parquet row groups.
    let spent = request.units.is_empty();
    Ok(Box::new(WholeReader { request, batches, columns, whole: None, given_rows: 0, spent }))
}

struct WholeReader<B> {
    request: FileRequest,
    batches: B,
    columns: Vec<usize>,
    /// A record batch of the file in the planned schema, and the number of its rows already returned.
    whole: Option<(RecordBatch, usize)>,
    given_rows: u64,
    spent: bool,
}

impl<B: RecordBatches> BatchReader for WholeReader<B> {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.spent {
            return Ok(None);
        }
        // Stays spent unless the call succeeds, because nothing may follow an error.
        self.spent = true;
        let rows = self.advance()?;
        self.spent = rows.is_none();
        Ok(rows.map(|rows| {
            let first = self.given_rows + 1;
            self.given_rows += rows.num_rows() as u64;
            Batch { rows, positions: Positions::From(first), rejected: Vec::new(), outside: 0 }
        }))
    }
}

impl<B: RecordBatches> WholeReader<B> {
    fn advance(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            if let Some((whole, given)) = &mut self.whole {
                let length = BATCH_ROWS.min(whole.num_rows() - *given);
                if length > 0 {
                    let rows = whole.slice(*given, length);
                    *given += length;
                    return Ok(Some(rows));
                }
                self.whole = None;
            }
            let file = &self.request.file;
            let Some(batch) = self.batches.next(file, &self.columns)? else {
                file.check_unchanged()?;
                return Ok(None);
            };
            // Convert before slicing: each slice of a list keeps all values, so each would convert all of them.
            let batch = guarded(|| uuid::as_text(&batch)).map_err(|m| mismatch(file, m))?;
            let rows = guarded(|| adapt_batch(&batch, self.batches.schema(), &self.request.schema))
                .map_err(|m| mismatch(file, format!("{m}; in `schema`, declare a type that fits all files")))?;
            self.whole = Some((rows, 0));
        }
    }
}
