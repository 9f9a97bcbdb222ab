//! Apache Parquet, read by the `parquet` crate.
//!
//! A unit is a row group. The footer is parsed once per file and may be shared by readers, because parsing it dominates the
//! cost for files with many row groups. Invariant: a row group yields exactly the rows that the footer promises, or an
//! error.
//!
//! Page checksums are verified where present. Without them, a flipped bit inside a value reads as a different value, as in
//! every other reader.

use std::collections::BTreeMap;
use std::num::TryFromIntError;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use self::footer::load;
use self::int96::Seconds;
use self::int96_scan::Int96Leaf;
use self::times::TimeStatistics;
use crate::error::ErrorCode;
use crate::job::OnBad;
use crate::logical::leaves::map_schema;
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

/// Approximate decoded bytes of a batch. Long rows make batches of fewer rows.
const BATCH_BYTES: i64 = 8 << 20;

/// The result of inspecting a file.
#[derive(Debug, Clone)]
pub struct ParquetFacts {
    /// The columns in planned layouts: text is `Utf8View`, and columns of Parquet's JSON or UUID type are marked text.
    pub schema: Schema,
    /// Rows, bytes and times of each row group.
    pub facts: InputFacts,
    /// Column chunks that cannot be decoded.
    pub undecodable: Vec<Undecodable>,
    /// The parsed footer, for [`open_with`].
    pub metadata: ArrowReaderMetadata,
}

/// Reads a file's footer.
///
/// Statistics are used where they are bounds of integers (timestamps, dates, epochs). Writers never truncate such bounds,
/// so every time lies within them even if they are not marked as exact. Text has no usable bounds. INT96 has neither
/// bounds nor a unit, so those columns are read.
///
/// # Errors
/// [`crate::error::ErrorCode::SourceUnreadable`] where the footer is missing or invalid, `SourceChanged`
/// where the file has changed since it was listed.
pub fn inspect(file: &SourceFile, time_column: &str, parser: &TimeParser) -> Result<ParquetFacts, SourceError> {
    file.check_unchanged()?;
    let metadata = load(file)?;
    let undecodable = decodable::undecodable(metadata.metadata());
    let int96 = int96_scan::scan(file, metadata.metadata(), &undecodable)?;
    let units = guarded(|| unit_facts(&metadata, &int96, time_column, parser)).map_err(|m| unreadable(file, m))?;
    let schema = map_schema(&planned_schema(metadata.schema()), &mut |leaf, field| match int96.get(&leaf) {
        Some(found) => int96::timestamp(field, found.unit),
        None => field.clone(),
    });
    file.check_unchanged()?;
    Ok(ParquetFacts { schema, facts: InputFacts { units, problem: None }, undecodable, metadata })
}

/// Reads row groups of a file.
///
/// # Errors
/// As [`inspect`].
pub fn open(request: FileRequest) -> Result<Box<dyn ChunkReader>, SourceError> {
    open_with(request, None)
}

/// Reads row groups of a file whose footer may be known from [`inspect`].
///
/// # Errors
/// As [`inspect`].
pub fn open_with(
    request: FileRequest,
    metadata: Option<ArrowReaderMetadata>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    request.file.check_unchanged()?;
    let metadata = match metadata {
        Some(metadata) => metadata,
        None => load(&request.file)?,
    };
    let wanted = |name: &str| request.schema.column_with_name(name).is_some();
    let roots: Vec<usize> =
        metadata.schema().fields().iter().enumerate().filter(|(_, f)| wanted(f.name())).map(|(i, _)| i).collect();
    let projection = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
    let seconds = Seconds::new(&metadata, &roots).map_err(|m| unreadable(&request.file, m))?;
    let units = request.units.clone().into_iter();
    let file_schema = planned_schema(metadata.schema());
    let opened = Arc::new(Opened { request, file_schema, metadata, projection, seconds });
    Ok(Box::new(RowGroups { opened, units }))
}

fn unit_facts(
    metadata: &ArrowReaderMetadata,
    int96: &BTreeMap<usize, Int96Leaf>,
    time_column: &str,
    parser: &TimeParser,
) -> Result<Vec<UnitFacts>, TryFromIntError> {
    let groups = metadata.metadata().row_groups();
    let times = TimeStatistics::new(metadata, int96, time_column);
    let units = groups.iter().enumerate().map(|(index, group)| {
        let rows = u64::try_from(group.num_rows())?;
        let bytes = u64::try_from(group.compressed_size())?;
        let (times, unplaced_rows) = match &times {
            // A column that the file lacks is null in every row.
            TimeStatistics::NoColumn => (TimeRange::Empty, rows),
            TimeStatistics::Unusable => (TimeRange::Unknown, rows),
            TimeStatistics::Int96(leaf, micros) => times::int96(leaf, micros, index, rows, parser),
            TimeStatistics::Bounds(bounds) => bounds.of(index, group, parser).unwrap_or((TimeRange::Unknown, rows)),
        };
        // The worst case: each column is one page.
        let total_bytes = u64::try_from(group.total_byte_size()).unwrap_or(0);
        // If rows are large, writing one takes as much memory again.
        let decoded_bytes = total_bytes.saturating_add(total_bytes / rows.max(1));
        let times = if rows == 0 { TimeRange::Empty } else { times };
        let inexact: u64 = int96.values().filter_map(|leaf| Some(leaf.bad(leaf.groups.get(index)?))).sum();
        let unplaced_rows = unplaced_rows.saturating_add(inexact).min(rows);
        Ok(UnitFacts { rows: Some(rows), bytes, times, unplaced_rows: Some(unplaced_rows), decoded_bytes })
    });
    units.collect()
}

/// Shared by the row groups of one file.
struct Opened {
    request: FileRequest,
    file_schema: Schema,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    seconds: Option<Seconds>,
}

/// Yields each row group of a file as a chunk.
struct RowGroups {
    opened: Arc<Opened>,
    units: std::vec::IntoIter<u32>,
}

impl ChunkReader for RowGroups {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(unit) = self.units.next() else { return Ok(None) };
        let batches = Box::new(RowGroup { opened: Arc::clone(&self.opened), unit, state: State::Unread });
        Ok(Some(Chunk { unit, batches }))
    }
}

/// A row group that is being read.
struct RowGroup {
    opened: Arc<Opened>,
    unit: u32,
    state: State,
}

enum State {
    Unread,
    Reading(Box<Reading>),
    /// At the end, or after an error.
    Spent,
}

struct Reading {
    reader: ParquetRecordBatchReader,
    seconds: Option<ParquetRecordBatchReader>,
    promised_rows: u64,
    given_rows: u64,
}

impl BatchReader for RowGroup {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Taken, so that the reader yields nothing after an error.
        let mut reading = match std::mem::replace(&mut self.state, State::Spent) {
            State::Unread => self.start()?,
            State::Reading(reading) => reading,
            State::Spent => return Ok(None),
        };
        let batch = self.advance(&mut reading)?;
        if batch.is_some() {
            self.state = State::Reading(reading);
        }
        Ok(batch)
    }
}

impl RowGroup {
    fn fail(&self, message: impl std::fmt::Display) -> SourceError {
        unreadable(&self.opened.request.file, format!("row group {}: {message}", self.unit))
    }

    fn advance(&self, reading: &mut Reading) -> Result<Option<Batch>, SourceError> {
        let Opened { request, file_schema, seconds, .. } = &*self.opened;
        let unit = self.unit;
        let rows = guarded(|| reading.reader.next().transpose()).map_err(|m| self.fail(m))?;
        let promised = reading.promised_rows;
        let Some(rows) = rows else {
            if reading.given_rows != promised {
                let given = reading.given_rows;
                return Err(self.fail(format!("holds {given} of the {promised} rows that the footer promises")));
            }
            request.file.check_unchanged()?;
            return Ok(None);
        };
        let first = reading.given_rows + 1;
        reading.given_rows += rows.num_rows() as u64;
        if reading.given_rows > promised {
            return Err(self.fail(format!("holds more than the {promised} rows that the footer promises")));
        }
        let (rows, bad) = match (seconds, &mut reading.seconds) {
            (Some(seconds), Some(reader)) => {
                let coarse = guarded(|| reader.next().transpose()).map_err(|m| self.fail(m))?;
                let exact = guarded(|| seconds.exact(&rows, coarse.as_ref(), &request.schema));
                let exact = exact.map_err(|m| self.fail(m))?;
                (exact.rows, exact.bad)
            }
            _ => (rows, Vec::new()),
        };
        let rows = guarded(|| uuid::as_text(&rows)).map_err(|m| self.fail(m))?;
        let (rows, positions, rejected) = self.keep(rows, first, &bad)?;
        let rows = guarded(|| adapt_batch(&rows, file_schema, &request.schema))
            .map_err(|m| mismatch(&request.file, format!("{m}; name the type that all files can have in `schema`")))?;
        Ok(Some(Batch { rows, unit, positions, rejected, outside: 0 }))
    }

    /// Removes unreadable rows and rejects them, or fails at the first one.
    fn keep(
        &self,
        rows: RecordBatch,
        first: u64,
        bad: &[(usize, String)],
    ) -> Result<(RecordBatch, Positions, Vec<Reject>), SourceError> {
        let request = &self.opened.request;
        let position = |row: usize| first + row as u64;
        let Some((row, column)) = bad.first() else { return Ok((rows, Positions::From(first), Vec::new())) };
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
            raw: Vec::new(),
        });
        let rejected = rejected.collect();
        let rows = guarded(|| int96::without(&rows, bad)).map_err(|m| self.fail(m))?;
        Ok((rows, Positions::Each(positions), rejected))
    }

    fn start(&self) -> Result<Box<Reading>, SourceError> {
        let Opened { request, metadata, projection, seconds, .. } = &*self.opened;
        let groups = metadata.metadata().row_groups();
        let Some(group) = groups.get(self.unit as usize) else {
            let message = format!("has {} row groups and the plan reads row group {}", groups.len(), self.unit);
            return Err(unreadable(&request.file, message));
        };
        let promised_rows = u64::try_from(group.num_rows()).map_err(|error| self.fail(error))?;
        let row_bytes = group.total_byte_size() / group.num_rows().max(1);
        let batch_rows = usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(1).clamp(1, BATCH_ROWS);
        let build = |metadata: ArrowReaderMetadata, projection: ProjectionMask| {
            // Each reader opens the file itself. Handles from `try_clone` share one position, which readers on several
            // threads would move under each other.
            let stored = request.file.open()?;
            let wanted = group.columns().iter().enumerate().filter(|(leaf, _)| projection.leaf_included(*leaf));
            let chunks = wanted.map(|(_, c)| c.byte_range()).map(|(start, length)| (start, start + length));
            let blocks = Blocks::new(stored, chunks);
            blocks.fetch().map_err(|error| SourceError::io(&request.file, "read", &error))?;
            guarded(|| {
                ParquetRecordBatchReaderBuilder::new_with_metadata(blocks, metadata)
                    .with_row_groups(vec![self.unit as usize])
                    .with_projection(projection)
                    .with_batch_size(batch_rows)
                    .build()
            })
            .map_err(|m| self.fail(m))
        };
        let reader = build(metadata.clone(), projection.clone())?;
        let seconds = match seconds {
            Some(seconds) => Some(build(seconds.metadata.clone(), seconds.projection.clone())?),
            None => None,
        };
        Ok(Box::new(Reading { reader, seconds, promised_rows, given_rows: 0 }))
    }
}

#[cfg(test)]
mod tests;
