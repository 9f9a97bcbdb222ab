//! Apache Parquet, read by the `parquet` crate.
//!
//! A unit is a row group. The footer is parsed once a file and may be shared by readers, because for many row groups
//! it is the larger part of the work. Invariant: a row group gives exactly the rows that the footer promises, or an error.
//!
//! Pages without a checksum hold no proof of their bytes: a flipped bit inside a value reads as another value, in this
//! reader as in every other. Where page checksums are present, they are checked.

use std::sync::Arc;

use bytes::{Buf, Bytes, buf::Reader};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::Length;

use crate::source::columnar::adapt::{adapt_batch, duplicate_column};
use crate::source::columnar::blocks::Blocks;
use crate::source::columnar::foreign::{guarded, mismatch, unreadable};
use crate::source::columnar::int96::Int96Witness;
use crate::source::columnar::layout::{planned_schema, view_schema};
use crate::source::files::list::check_unchanged;
use crate::source::instants::typed_range;
use crate::source::{
    BATCH_ROWS, Batch, BatchReader, Chunk, ChunkReader, FileFacts, Positions, ReadRequest, SourceError, SourceFile,
    TimeRange, UnitFacts, json_field,
};
use crate::time::TimeParser;

/// First and last bytes of a file.
const MAGIC: [u8; 4] = *b"PAR1";

/// First and last bytes of a file whose footer is encrypted.
const MAGIC_ENCRYPTED: [u8; 4] = *b"PARE";

/// Decoded bytes of a batch, about: long rows make batches of fewer rows.
const BATCH_BYTES: i64 = 8 << 20;

/// Two magics and the footer's length.
const SMALLEST_FILE: u64 = 12;

/// What a file's footer tells.
#[derive(Debug, Clone)]
pub struct ParquetFacts {
    /// The columns in the plan's layout: text is `Utf8View`, columns of Parquet's JSON type are marked as JSON.
    pub schema: Schema,
    /// Rows, bytes and times of each row group.
    pub facts: FileFacts,
    /// The parsed footer, for [`open_with`].
    pub metadata: ArrowReaderMetadata,
}

/// Reads a file's footer.
///
/// Statistics are believed where they are bounds of integers (timestamps, dates, epochs): such bounds are never cut
/// short, so that every time lies within them whether or not the writer says that they are exact. Text and
/// INT96 have no usable bounds.
///
/// # Errors
/// [`crate::error::ErrorCode::SourceUnreadable`] where there is no whole footer, `SourceChanged` where the file is not the one listed.
pub fn inspect(file: &SourceFile, time_column: &str, parser: &TimeParser) -> Result<ParquetFacts, SourceError> {
    check_unchanged(file)?;
    let metadata = load(file)?;
    let units = guarded(|| unit_facts(&metadata, time_column, parser)).map_err(|m| unreadable(file, m))?;
    let schema = file_schema(&metadata);
    check_unchanged(file)?;
    Ok(ParquetFacts { schema, facts: FileFacts { units, problem: None }, metadata })
}

/// Reads row groups of a file.
///
/// # Errors
/// As [`inspect`].
pub fn open(request: ReadRequest) -> Result<Box<dyn ChunkReader>, SourceError> {
    open_with(request, None)
}

/// Reads row groups of a file whose footer may be known from [`inspect`].
///
/// # Errors
/// As [`inspect`].
pub fn open_with(
    request: ReadRequest,
    metadata: Option<ArrowReaderMetadata>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    check_unchanged(&request.file)?;
    let metadata = match metadata {
        Some(metadata) => metadata,
        None => load(&request.file)?,
    };
    let wanted = |name: &str| request.schema.column_with_name(name).is_some();
    let roots: Vec<usize> =
        metadata.schema().fields().iter().enumerate().filter(|(_, f)| wanted(f.name())).map(|(i, _)| i).collect();
    let projection = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
    let witness = Int96Witness::new(&metadata, &roots).map_err(|m| unreadable(&request.file, m))?;
    let units = request.units.clone().into_iter();
    let file_schema = file_schema(&metadata);
    let opened = Arc::new(Opened { request, file_schema, metadata, projection, witness });
    Ok(Box::new(RowGroups { opened, units }))
}

/// Parses the footer and asks for text as views.
fn load(file: &SourceFile) -> Result<ArrowReaderMetadata, SourceError> {
    let end = FileEnd::read(file)?;
    let metadata = guarded(|| ArrowReaderMetadata::load(&end, ArrowReaderOptions::new()))
        .map_err(|m| unreadable(file, format!("its footer is not readable as Parquet: {m}")))?;
    guarded(|| check_footer(metadata.metadata(), file.bytes)).map_err(|m| unreadable(file, m))?;
    if let Some(name) = duplicate_column(metadata.schema()) {
        return Err(mismatch(file, format!("has two columns named {name}; rename one of them")));
    }
    let views = Arc::new(view_schema(metadata.schema()));
    let with_views = guarded(|| {
        let options = ArrowReaderOptions::new().with_schema(views);
        ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
    });
    // Views are only faster: where a column has no such reading, the conversion of each batch makes them.
    Ok(with_views.unwrap_or(metadata))
}

/// The end of a file, with its footer: all that is read to plan.
struct FileEnd {
    start: u64,
    bytes: Bytes,
}

/// Read at first, because a footer is mostly smaller.
const END_BYTES: u64 = 64 << 10;

impl FileEnd {
    /// Reads the end, after telling apart what the crate's message would not: another format, an encrypted file, one cut
    /// short.
    fn read(file: &SourceFile) -> Result<Self, SourceError> {
        if file.bytes < SMALLEST_FILE {
            return Err(unreadable(file, format!("is no Parquet file: {} bytes are too few", file.bytes)));
        }
        let stored = file.open()?;
        let io = |error: std::io::Error| SourceError::io(file, "read", &error);
        let start = file.bytes.saturating_sub(END_BYTES);
        let parts = stored.read_ranges(&[0..4, start..file.bytes]).map_err(io)?;
        let [head, end] = parts.as_slice() else {
            return Err(unreadable(file, "gave other ranges than were asked for"));
        };
        let tail = end.get(end.len().saturating_sub(8)..).unwrap_or_default();
        check_magic(file, head, tail.get(4..).unwrap_or_default())?;
        let length = tail.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        let footer = file.bytes.saturating_sub(8 + u64::from(length));
        if footer >= start {
            return Ok(Self { start, bytes: end.clone() });
        }
        let bytes = stored.read_at(footer, file.bytes - footer).map_err(io)?;
        Ok(Self { start: footer, bytes })
    }
}

impl Length for FileEnd {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl parquet::file::reader::ChunkReader for FileEnd {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let length = self.len().saturating_sub(start);
        self.get_bytes(start, usize::try_from(length).unwrap_or(usize::MAX)).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.and_then(|from| Some(from..from.checked_add(length).filter(|end| *end <= self.bytes.len())?));
        let outside = || ParquetError::EOF(format!("the footer points to {length} bytes at {start}"));
        range.map(|range| self.bytes.slice(range)).ok_or_else(outside)
    }
}

/// What the first and the last four bytes of a file tell.
fn check_magic(file: &SourceFile, head: &[u8], tail: &[u8]) -> Result<(), SourceError> {
    match (head, tail) {
        (head, tail) if head == MAGIC_ENCRYPTED || tail == MAGIC_ENCRYPTED => {
            Err(unreadable(file, "is an encrypted Parquet file; decrypt it first, keys for sources are not supported"))
        }
        (head, tail) if head == MAGIC && tail == MAGIC => Ok(()),
        (head, _) if head == MAGIC => {
            Err(unreadable(file, "is cut short: it begins as a Parquet file and does not end as one; copy it again"))
        }
        _ => Err(unreadable(file, "is no Parquet file: it does not begin with PAR1; check `source.format`")),
    }
}

/// Whether the footer agrees with itself and with the file's size.
fn check_footer(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), String> {
    let mut rows = 0i64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let promised = group.num_rows();
        rows = rows
            .checked_add(promised)
            .filter(|_| promised >= 0)
            .ok_or_else(|| format!("row group {index} has {promised} rows"))?;
        for column in group.columns() {
            let (start, length) = column.byte_range();
            if start.checked_add(length).is_none_or(|end| end > file_bytes) {
                let path = column.column_path().string();
                return Err(format!(
                    "row group {index}: column {path} lies beyond the end of the file; copy the file again"
                ));
            }
        }
    }
    if rows != metadata.file_metadata().num_rows() {
        return Err(format!(
            "its row groups have {rows} rows and its footer says {}",
            metadata.file_metadata().num_rows()
        ));
    }
    Ok(())
}

/// The columns in the plan's layout, those that the file declares as JSON marked so.
fn file_schema(metadata: &ArrowReaderMetadata) -> Schema {
    let schema = planned_schema(metadata.schema());
    let roots = metadata.parquet_schema().root_schema().get_fields();
    let fields = schema.fields().iter().zip(roots).map(|(field, root)| {
        let info = root.get_basic_info();
        let json = root.is_primitive()
            && (info.logical_type_ref() == Some(&LogicalType::Json) || info.converted_type() == ConvertedType::JSON);
        let field = field.as_ref().clone();
        if json && field.data_type() == &DataType::Utf8View { json_field(field) } else { field }
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn unit_facts(
    metadata: &ArrowReaderMetadata,
    time_column: &str,
    parser: &TimeParser,
) -> Result<Vec<UnitFacts>, String> {
    let groups = metadata.metadata().row_groups();
    let times = TimeStatistics::new(metadata, time_column);
    let units = groups.iter().enumerate().map(|(index, group)| {
        let rows = u64::try_from(group.num_rows()).map_err(|error| error.to_string())?;
        let bytes = u64::try_from(group.compressed_size()).map_err(|error| error.to_string())?;
        let (times, unplaced_rows) = match &times {
            // Every value of a column that the file does not have is null.
            TimeStatistics::NoColumn => (TimeRange::Empty, rows),
            TimeStatistics::Unusable => (TimeRange::Unknown, rows),
            TimeStatistics::Bounds(bounds) => bounds.of(index, group, parser).unwrap_or((TimeRange::Unknown, rows)),
        };
        // Only a row group of one page a column takes as much.
        let decoded_bytes = u64::try_from(group.total_byte_size()).unwrap_or(0);
        let times = if rows == 0 { TimeRange::Empty } else { times };
        Ok(UnitFacts { rows, bytes, times, unplaced_rows, decoded_bytes })
    });
    units.collect()
}

/// The statistics of the time column in all row groups.
enum TimeStatistics {
    NoColumn,
    Unusable,
    Bounds(TimeBounds),
}

/// Bounds as integers in the unit of the column's type.
struct TimeBounds {
    data_type: DataType,
    leaf: usize,
    required: bool,
    unsigned: bool,
    mins: arrow::array::ArrayRef,
    maxes: arrow::array::ArrayRef,
}

impl TimeStatistics {
    fn new(metadata: &ArrowReaderMetadata, time_column: &str) -> Self {
        let Some((_, field)) = metadata.schema().column_with_name(time_column) else { return Self::NoColumn };
        let data_type = field.data_type().clone();
        let integers = data_type.is_integer()
            || matches!(data_type, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64);
        if !integers {
            return Self::Unusable;
        }
        let bounds = || -> Result<TimeBounds, ParquetError> {
            let groups = metadata.metadata().row_groups();
            let converter = StatisticsConverter::try_new(time_column, metadata.schema(), metadata.parquet_schema())?;
            let leaf = converter.parquet_column_index().ok_or(ParquetError::EOF(String::new()))?;
            let repetition = metadata.parquet_schema().column(leaf).self_type().get_basic_info().repetition();
            Ok(TimeBounds {
                leaf,
                required: repetition == Repetition::REQUIRED,
                unsigned: data_type.is_unsigned_integer(),
                mins: cast(&converter.row_group_mins(groups)?, &DataType::Int64)?,
                maxes: cast(&converter.row_group_maxes(groups)?, &DataType::Int64)?,
                data_type,
            })
        };
        // Statistics only save work; without them the row group is read.
        bounds().map_or(Self::Unusable, Self::Bounds)
    }
}

impl TimeBounds {
    /// Times and number of nulls of a row group; `None` where nothing is proven.
    fn of(&self, index: usize, group: &RowGroupMetaData, parser: &TimeParser) -> Option<(TimeRange, u64)> {
        let rows = u64::try_from(group.num_rows()).ok()?;
        let statistics = group.columns().get(self.leaf)?.statistics();
        let nulls = if self.required { 0 } else { statistics?.null_count_opt().filter(|nulls| *nulls <= rows)? };
        let value = |array: &arrow::array::ArrayRef| {
            let array = array.as_primitive_opt::<Int64Type>()?;
            (index < array.len() && !arrow::array::Array::is_null(array, index)).then(|| array.value(index))
        };
        let (min, max) = match (value(&self.mins), value(&self.maxes)) {
            (None, None) if nulls == rows => return Some((TimeRange::Empty, rows)),
            (Some(min), Some(max)) if min <= max && nulls < rows => (min, max),
            _ => return None,
        };
        // The old fields were compared as signed whatever the type.
        if self.unsigned && statistics?.is_min_max_deprecated() {
            return None;
        }
        let (min, max) = typed_range(&self.data_type, min, max, parser)?;
        Some((TimeRange::Within { min, max }, nulls))
    }
}

/// What the row groups of one file have in common.
struct Opened {
    request: ReadRequest,
    file_schema: Schema,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    witness: Option<Int96Witness>,
}

/// Gives the row groups of a file, each a chunk.
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
    /// At its end, or after an error.
    Spent,
}

struct Reading {
    reader: ParquetRecordBatchReader,
    witness: Option<ParquetRecordBatchReader>,
    promised_rows: u64,
    given_rows: u64,
}

impl BatchReader for RowGroup {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Taken out, so that an error leaves the reader spent.
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
        let Opened { request, file_schema, witness, .. } = &*self.opened;
        let unit = self.unit;
        let rows = guarded(|| reading.reader.next().transpose()).map_err(|m| self.fail(m))?;
        let promised = reading.promised_rows;
        let Some(rows) = rows else {
            if reading.given_rows != promised {
                let given = reading.given_rows;
                return Err(self.fail(format!("holds {given} of the {promised} rows that the footer promises")));
            }
            check_unchanged(&request.file)?;
            return Ok(None);
        };
        if let (Some(witness), Some(seconds)) = (witness, &mut reading.witness) {
            let seconds = guarded(|| seconds.next().transpose()).map_err(|m| self.fail(m))?;
            let checked = witness.check(&rows, seconds.as_ref());
            checked.map_err(|m| mismatch(&request.file, format!("row group {unit}: {m}")))?;
        }
        let first = reading.given_rows + 1;
        reading.given_rows += rows.num_rows() as u64;
        if reading.given_rows > promised {
            return Err(self.fail(format!("holds more than the {promised} rows that the footer promises")));
        }
        let rows = guarded(|| adapt_batch(&rows, file_schema, &request.schema))
            .map_err(|m| mismatch(&request.file, format!("{m}; name the type that all files can have in `schema`")))?;
        Ok(Some(Batch { rows, unit, positions: Positions::From(first), rejected: Vec::new(), outside: 0 }))
    }

    fn start(&self) -> Result<Box<Reading>, SourceError> {
        let Opened { request, metadata, projection, witness, .. } = &*self.opened;
        let groups = metadata.metadata().row_groups();
        let Some(group) = groups.get(self.unit as usize) else {
            let message = format!("has {} row groups and the plan reads row group {}", groups.len(), self.unit);
            return Err(unreadable(&request.file, message));
        };
        let promised_rows = u64::try_from(group.num_rows()).map_err(|error| self.fail(error))?;
        let row_bytes = group.total_byte_size() / group.num_rows().max(1);
        let batch_rows = usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(1).clamp(1, BATCH_ROWS);
        let build = |metadata: ArrowReaderMetadata, projection: ProjectionMask| {
            // Each opens the file itself: handles made by `try_clone` share their position, and readers on several
            // threads would move it under each other.
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
        let witness = match witness {
            Some(witness) => Some(build(witness.metadata.clone(), witness.projection.clone())?),
            None => None,
        };
        Ok(Box::new(Reading { reader, witness, promised_rows, given_rows: 0 }))
    }
}

#[cfg(test)]
mod tests;
