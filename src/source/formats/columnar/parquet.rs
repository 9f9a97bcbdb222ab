//! Apache Parquet, read by the `parquet` crate.
//!
//! A unit is a row group. Each open parses the footer once, and all row groups of that open share it, because parsing
//! dominates the cost for files with many row groups. Invariant: a row group yields exactly as many rows as the footer says,
//! or an error.
//!
//! Page checksums are verified where present. Without them, a flipped bit in a value goes undetected.

use std::collections::BTreeMap;
use std::num::TryFromIntError;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::RowGroupMetaData;

use self::footer::load;
use self::int96::Int96SecondPass;
use self::int96_scan::Int96Leaf;
use self::times::TimeStatistics;
use crate::error::ErrorCode;
use crate::job::OnBad;
use crate::logical::leaves::{self, map_schema};
use crate::logical::uuid;
use crate::source::formats::FileRequest;
use crate::source::formats::columnar::adapt::adapt_batch;
use crate::source::formats::columnar::blocks::Blocks;
use crate::source::formats::columnar::foreign::{guarded, mismatch, unreadable};
use crate::source::formats::columnar::layout::planned_schema;
use crate::source::{
    BATCH_ROWS, Batch, BatchReader, Chunk, ChunkReader, InputFacts, Positions, Reject, SourceError, SourceFile,
    TimeRange, Undecodable, UnitFacts,
};
use crate::time::TimeParser;

mod decodable;
mod footer;
mod int96;
mod int96_scan;
mod times;

/// Target decoded size of a batch in bytes. Rows larger than `TARGET_BATCH_BYTES / BATCH_ROWS` make smaller batches, of at
/// least one row.
const TARGET_BATCH_BYTES: i64 = 8 << 20;

/// The result of inspecting a file.
#[derive(Debug, Clone)]
pub(crate) struct ParquetFacts {
    /// The file's schema in planned types: text is `Utf8View`; Parquet JSON and UUID columns become text with field metadata.
    pub schema: Schema,
    /// Rows, bytes and times of each row group.
    pub facts: InputFacts,
    /// Column chunks that cannot be decoded.
    pub undecodable: Vec<Undecodable>,
}

/// Inspects a file from its footer. INT96 columns are read in full, because the footer has neither bounds nor a unit for them.
///
/// Min/max statistics are used only for integer-valued time columns (timestamps, dates, epochs): writers never truncate
/// those, so they bound every value even without the "exact" flag. Statistics of text are ignored.
///
/// # Errors
/// [`ErrorCode::SourceUnreadable`] if the footer is missing or invalid, [`ErrorCode::SourceChanged`] if the file has changed
/// since it was listed.
pub(crate) fn inspect(
    file: &SourceFile,
    time_column: &str,
    time_parser: &TimeParser,
) -> Result<ParquetFacts, SourceError> {
    file.check_unchanged()?;
    let metadata = load(file)?;
    let undecodable = decodable::undecodable(metadata.metadata());
    let int96 = int96_scan::scan(file, metadata.metadata(), &undecodable)?;
    let units = guarded(|| unit_facts(&metadata, &int96, time_column, time_parser)).map_err(|m| unreadable(file, m))?;
    let schema = map_schema(&planned_schema(metadata.schema()), &mut |leaf, field| match int96.get(&leaf) {
        Some(found) => int96::timestamp(field, found.unit),
        None => field.clone(),
    });
    file.check_unchanged()?;
    Ok(ParquetFacts { schema, facts: InputFacts { units, problem: None }, undecodable })
}

/// Opens a file to read the row groups in `request.units`.
///
/// # Errors
/// As [`inspect`].
pub(crate) fn open(request: FileRequest) -> Result<Box<dyn ChunkReader>, SourceError> {
    request.file.check_unchanged()?;
    let metadata = load(&request.file)?;
    let is_requested = |name: &str| request.schema.column_with_name(name).is_some();
    let roots: Vec<usize> =
        metadata.schema().fields().iter().enumerate().filter(|(_, f)| is_requested(f.name())).map(|(i, _)| i).collect();
    let projection = projection(&metadata, &roots, &request.schema);
    // INT96 columns are also read as whole seconds; see `int96`.
    let int96_seconds = Int96SecondPass::new(&metadata, &roots).map_err(|m| unreadable(&request.file, m))?;
    let units = request.units.clone().into_iter();
    let file_schema = planned_schema(metadata.schema());
    let file = Arc::new(OpenFile { request, file_schema, metadata, projection, int96_seconds });
    Ok(Box::new(RowGroups { file, units }))
}

/// The leaves to read for the requested columns, which are those of `roots`. Of a struct, only the fields that the request
/// has; all, if one of its leaves is INT96, which is read twice.
fn projection(metadata: &ArrowReaderMetadata, roots: &[usize], requested: &Schema) -> ProjectionMask {
    let parquet = metadata.parquet_schema();
    let is_twice = |leaf: usize| parquet.column(leaf).physical_type() == PhysicalType::INT96;
    let mut leaves = Vec::new();
    let mut next = 0;
    for (root, field) in metadata.schema().fields().iter().enumerate() {
        let first = next;
        let mut wanted = Vec::new();
        let request = requested.field_with_name(field.name()).ok().filter(|_| roots.contains(&root));
        add_leaves(field, request, &mut next, &mut wanted);
        if request.is_some() && (first..next.min(parquet.num_columns())).any(is_twice) {
            wanted = (first..next).collect();
        }
        leaves.append(&mut wanted);
    }
    ProjectionMask::leaves(parquet, leaves)
}

/// Counts the leaves of a field, and adds those that the request has.
fn add_leaves(field: &Field, requested: Option<&Field>, next: &mut usize, wanted: &mut Vec<usize>) {
    match (field.data_type(), requested.map(Field::data_type)) {
        (DataType::Struct(fields), Some(DataType::Struct(inner))) => {
            for child in fields {
                let request = inner.find(child.name()).map(|(_, field)| field.as_ref());
                add_leaves(child, request, next, wanted);
            }
        }
        _ => {
            let first = *next;
            // Every leaf of other types.
            *next += leaves::count(field);
            if requested.is_some() {
                wanted.extend(first..*next);
            }
        }
    }
}

/// Size, time bounds and an upper bound of unplaced rows for each row group.
fn unit_facts(
    metadata: &ArrowReaderMetadata,
    int96: &BTreeMap<usize, Int96Leaf>,
    time_column: &str,
    time_parser: &TimeParser,
) -> Result<Vec<UnitFacts>, TryFromIntError> {
    let groups = metadata.metadata().row_groups();
    let statistics = TimeStatistics::new(metadata, int96, time_column);
    let units = groups.iter().enumerate().map(|(index, group)| {
        let rows = u64::try_from(group.num_rows())?;
        let encoded_bytes = u64::try_from(group.compressed_size())?;
        let (range, unplaced_rows) = match &statistics {
            // Without the column, every time is null: no range, and all rows are unplaced.
            TimeStatistics::NoColumn => (TimeRange::Empty, rows),
            TimeStatistics::Unusable => (TimeRange::Unknown, rows),
            TimeStatistics::Int96(leaf, micros_type) => times::int96(leaf, micros_type, index, rows, time_parser),
            TimeStatistics::Bounds(bounds) => {
                bounds.of(index, group, time_parser).unwrap_or((TimeRange::Unknown, rows))
            }
        };
        // Worst case: every column chunk is one page, so the whole row group is in memory.
        let total_bytes = u64::try_from(group.total_byte_size())?;
        // Encoding a row needs another copy of it: add the mean row size.
        let peak_decoded_bytes = total_bytes.saturating_add(total_bytes / rows.max(1));
        // An empty row group has no times, whatever its statistics say.
        let times = if rows == 0 { TimeRange::Empty } else { range };
        // Upper bound: a row with several inexact INT96 values is counted several times.
        let inexact_values: u64 = int96.values().filter_map(|leaf| Some(leaf.bad(leaf.groups.get(index)?))).sum();
        let unplaced_rows = unplaced_rows.saturating_add(inexact_values).min(rows);
        Ok(UnitFacts { rows: Some(rows), encoded_bytes, times, unplaced_rows: Some(unplaced_rows), peak_decoded_bytes })
    });
    units.collect()
}

/// State that the row groups of one open share.
struct OpenFile {
    request: FileRequest,
    file_schema: Schema,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    int96_seconds: Option<Int96SecondPass>,
}

/// Yields each row group of a file as a chunk.
struct RowGroups {
    file: Arc<OpenFile>,
    units: std::vec::IntoIter<u32>,
}

impl ChunkReader for RowGroups {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(unit) = self.units.next() else { return Ok(None) };
        let batches = Box::new(RowGroupBatches { file: Arc::clone(&self.file), unit, state: State::NotStarted });
        Ok(Some(Chunk { unit, batches }))
    }
}

/// Yields the batches of one row group.
struct RowGroupBatches {
    file: Arc<OpenFile>,
    unit: u32,
    state: State,
}

enum State {
    NotStarted,
    Reading(Box<ActiveReader>),
    /// At the end, or after an error.
    Finished,
}

struct ActiveReader {
    reader: ParquetRecordBatchReader,
    seconds_reader: Option<ParquetRecordBatchReader>,
    /// Rows of the row group according to the footer.
    footer_rows: u64,
    read_rows: u64,
}

impl BatchReader for RowGroupBatches {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Replace the state first: after an error, the reader must not be used.
        let mut active = match std::mem::replace(&mut self.state, State::Finished) {
            State::NotStarted => self.start()?,
            State::Reading(active) => active,
            State::Finished => return Ok(None),
        };
        let batch = self.advance(&mut active)?;
        if batch.is_some() {
            self.state = State::Reading(active);
        }
        Ok(batch)
    }
}

impl RowGroupBatches {
    fn fail(&self, message: impl std::fmt::Display) -> SourceError {
        unreadable(&self.file.request.file, format!("row group {}: {message}", self.unit))
    }

    fn advance(&self, active: &mut ActiveReader) -> Result<Option<Batch>, SourceError> {
        let OpenFile { request, file_schema, int96_seconds, .. } = &*self.file;
        let raw = guarded(|| active.reader.next().transpose()).map_err(|m| self.fail(m))?;
        let expected = active.footer_rows;
        let Some(raw) = raw else {
            if active.read_rows != expected {
                let read = active.read_rows;
                return Err(self.fail(format!("yields {read} rows, but the footer says {expected}")));
            }
            request.file.check_unchanged()?;
            return Ok(None);
        };
        let first_position = active.read_rows + 1; // 1-based in the row group
        active.read_rows += raw.num_rows() as u64;
        if active.read_rows > expected {
            return Err(self.fail(format!("yields more than {expected} rows, but the footer says {expected}")));
        }
        let (exact, bad) = match (int96_seconds, &mut active.seconds_reader) {
            (Some(seconds), Some(reader)) => {
                // A missing batch is an error in `exact`: both readings have the same rows.
                let coarse = guarded(|| reader.next().transpose()).map_err(|m| self.fail(m))?;
                let exact = guarded(|| seconds.exact(&raw, coarse.as_ref(), &request.schema));
                let exact = exact.map_err(|m| self.fail(m))?;
                (exact.rows, exact.bad)
            }
            _ => (raw, Vec::new()),
        };
        let text = guarded(|| uuid::as_text(&exact)).map_err(|m| self.fail(m))?;
        let (kept, positions, rejected) = self.split_bad_rows(text, first_position, &bad)?;
        let adapted = guarded(|| adapt_batch(&kept, file_schema, &request.schema))
            .map_err(|m| mismatch(&request.file, format!("{m}; in `schema`, declare a type that fits all files")))?;
        Ok(Some(Batch { rows: adapted, positions, rejected, outside: 0 }))
    }

    /// Separates the rows in `bad` (row index in the batch, ascending; column name) as rejects, or fails at the first if
    /// `on_bad_rows` is `fail`.
    fn split_bad_rows(
        &self,
        rows: RecordBatch,
        first_position: u64,
        bad: &[(usize, String)],
    ) -> Result<(RecordBatch, Positions, Vec<Reject>), SourceError> {
        let request = &self.file.request;
        let position = |row: usize| first_position + row as u64;
        let Some((row, column)) = bad.first() else { return Ok((rows, Positions::From(first_position), Vec::new())) };
        if request.on_bad_rows == OnBad::Fail {
            return Err(SourceError {
                name: request.file.name.clone(),
                position: Some(position(*row)),
                code: ErrorCode::BadRows,
                message: format!("row group {}: {}", self.unit, int96::inexact(column)),
            });
        }
        let is_bad = |row: &usize| bad.binary_search_by_key(row, |(bad, _)| *bad).is_ok();
        let positions = (0..rows.num_rows()).filter(|row| !is_bad(row)).map(position).collect();
        let rejected = bad.iter().map(|(row, column)| Reject {
            position: position(*row),
            error: int96::inexact(column),
            // A columnar row has no raw bytes.
            raw: Vec::new(),
        });
        let rejected = rejected.collect();
        let rows = guarded(|| int96::without(&rows, bad)).map_err(|m| self.fail(m))?;
        Ok((rows, Positions::Each(positions), rejected))
    }

    fn start(&self) -> Result<Box<ActiveReader>, SourceError> {
        let OpenFile { request, metadata, projection, int96_seconds, .. } = &*self.file;
        let groups = metadata.metadata().row_groups();
        let Some(group) = groups.get(self.unit as usize) else {
            let message = format!("has {} row groups, but the plan reads row group {}", groups.len(), self.unit);
            return Err(unreadable(&request.file, message));
        };
        let footer_rows = u64::try_from(group.num_rows()).map_err(|error| self.fail(error))?;
        let mean_row_bytes = group.total_byte_size() / group.num_rows().max(1);
        let batch_rows = usize::try_from(TARGET_BATCH_BYTES / mean_row_bytes.max(1)).unwrap_or(1).clamp(1, BATCH_ROWS);
        let reader = self.open_reader(group, batch_rows, metadata, projection)?;
        let seconds_reader = match int96_seconds {
            Some(seconds) => Some(self.open_reader(group, batch_rows, &seconds.metadata, &seconds.projection)?),
            None => None,
        };
        Ok(Box::new(ActiveReader { reader, seconds_reader, footer_rows, read_rows: 0 }))
    }

    fn open_reader(
        &self,
        group: &RowGroupMetaData,
        batch_rows: usize,
        metadata: &ArrowReaderMetadata,
        projection: &ProjectionMask,
    ) -> Result<ParquetRecordBatchReader, SourceError> {
        let file = &self.file.request.file;
        // Each reader opens its own handle: handles from `try_clone` share one file offset, and concurrent readers would race
        // on it.
        let input = file.open()?;
        let is_read = |(leaf, _): &(usize, _)| projection.leaf_included(*leaf);
        let chunks = group.columns().iter().enumerate().filter(is_read).map(|(_, chunk)| chunk.byte_range());
        let blocks = Blocks::new(input, chunks.map(|(start, length)| (start, start + length)));
        blocks.fetch().map_err(|error| SourceError::io(file, "read", &error))?;
        guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(blocks, metadata.clone())
                .with_row_groups(vec![self.unit as usize])
                .with_projection(projection.clone())
                .with_batch_size(batch_rows)
                .build()
        })
        .map_err(|m| self.fail(m))
    }
}

#[cfg(test)]
mod tests;
