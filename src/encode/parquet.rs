//! Writes Parquet with the `parquet` crate.
//!
//! The output of that crate depends on how rows are split into batches (pages and dictionaries end between them), so rows
//! are first gathered into slabs of one size. Columns are stored in the plainest type that holds them exactly, so that every
//! reader sees times as times and text as text, also through the Arrow schema in the file's metadata:
//!
//! | column | stored as |
//! |---|---|
//! | text and binary views, dictionaries | their values |
//! | timestamps and times in seconds | in milliseconds: Parquet has no seconds |
//! | zones that are offsets | UTC: Polars refuses offsets, and the instants are the same |
//! | 64-bit dates | timestamps in milliseconds: Parquet's dates would lose the time of day |
//! | 32-bit and 64-bit decimals | 128-bit decimals, in as many bytes as the precision needs |
//! | list views | lists |
//! | text that holds UUIDs | Parquet's UUID type, 16 bytes |
//!
//! Durations are 64-bit integers of their unit for readers that do not know the Arrow schema.

mod keys;
mod layout;
mod logical;
mod slabs;

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_arrays};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression as PageCompression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::SchemaDescriptor;

use self::slabs::Slabs;
use super::EncodeError;
use super::text::unsupported;
use crate::job::Compression;
use crate::logical::{leaves, uuid};

pub use self::keys::{ParquetKeyError, ParquetKeys};

/// Rows of a row group; the last one of a shard may have fewer.
///
/// DuckDB's default: large enough for good compression and few footer entries, small enough that the unfinished row groups
/// of many open shards fit into memory (about 5 MB each at 50 bytes per row) and that readers can use all cores.
pub const ROW_GROUP_ROWS: usize = 122_880;

/// Rows per call of the Parquet writer, a multiple of the first batch size of `Slabs`. As few as the cost per call allows,
/// because every open shard buffers them.
pub const SLAB_ROWS: usize = ROW_GROUP_ROWS / 30;

/// Names the fields inside lists and maps as in the Parquet specification.
const COERCE_TYPES: bool = true;

/// Casts fail instead of replacing values that do not fit by null.
const EXACT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Shared by the Parquet shards of a job.
pub(super) struct ParquetFormat {
    stored: SchemaRef,
    /// The Parquet schema, with the logical types that Arrow lacks.
    parquet: SchemaDescriptor,
    /// Columns that hold UUIDs.
    uuids: Vec<Option<FieldRef>>,
    /// Columns in slabs: as stored, except that views stay views.
    gathered: SchemaRef,
    properties: WriterPropertiesBuilder,
}

impl ParquetFormat {
    pub(super) fn new(compression: Compression, schema: &SchemaRef) -> Result<Self, EncodeError> {
        let stored = Arc::new(stored_schema(schema)?);
        let gathered = Arc::new(gathered_schema(schema, &stored));
        let converted = ArrowSchemaConverter::new().with_coerce_types(COERCE_TYPES).convert(&stored)?;
        let parquet = logical::with_uuids(&converted, schema)?;
        let holds = |field: &&FieldRef| leaves::any(field, uuid::is_uuid);
        let uuids = schema.fields().iter().map(|field| Some(field).filter(holds).cloned()).collect();
        let format = Self { stored, parquet, uuids, gathered, properties: properties(compression)? };
        format.check()?;
        Ok(format)
    }

    /// Encrypts all shards started from now on.
    pub(super) fn encrypt(&mut self, keys: &ParquetKeys) -> Result<(), EncodeError> {
        let encryption = keys.encryption(&self.parquet)?;
        self.properties = self.properties.clone().with_file_encryption_properties(encryption);
        self.check()
    }

    /// Refuses, before the first row, types and columns that only the writer refuses.
    fn check(&self) -> Result<(), EncodeError> {
        ParquetShard::new(self, std::io::sink()).finish(self).map(drop)
    }

    /// Selects rows and converts them to the types in slabs.
    pub(super) fn gather(&self, batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, EncodeError> {
        let taken = take_arrays(batch.columns(), &UInt32Array::from(rows.to_vec()), None)?;
        let columns: Vec<ArrayRef> = taken
            .into_iter()
            .zip(self.gathered.fields())
            .zip(&self.uuids)
            .map(|((column, field), uuids)| {
                let column = match uuids {
                    Some(field) => leaves::map_array(field, &column, &stored_uuids)?.1,
                    None => column,
                };
                if column.data_type() == field.data_type() {
                    Ok(column)
                } else {
                    cast_with_options(&column, field.data_type(), &EXACT)
                }
            })
            .collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(self.gathered.clone(), columns, &options)?)
    }
}

/// A Parquet shard being written.
pub(super) struct ParquetShard<W: Write + Send> {
    slabs: Slabs,
    stage: Stage<W>,
}

enum Stage<W: Write + Send> {
    /// Before the first slab, which decides the encodings of columns.
    Begun(W),
    Writing(Box<ArrowWriter<W>>),
    /// After an error.
    Spent,
}

impl<W: Write + Send> ParquetShard<W> {
    pub(super) fn new(format: &ParquetFormat, out: W) -> Self {
        Self { slabs: Slabs::new(format.gathered.clone(), SLAB_ROWS), stage: Stage::Begun(out) }
    }

    pub(super) fn append(&mut self, format: &ParquetFormat, gathered: &RecordBatch) -> Result<(), EncodeError> {
        for slab in self.slabs.push(gathered.clone())? {
            self.writer(format, Some(&slab))?.write(&slab)?;
        }
        Ok(())
    }

    /// Creates the writer with encodings that suit the first slab, which writes the magic number.
    fn writer(
        &mut self,
        format: &ParquetFormat,
        first: Option<&RecordBatch>,
    ) -> Result<&mut ArrowWriter<W>, EncodeError> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Spent) {
            Stage::Begun(out) => {
                let properties = layout::choose(format.properties.clone(), first);
                let options = ArrowWriterOptions::new().with_properties(properties);
                let options = options.with_parquet_schema(format.parquet.clone());
                Stage::Writing(Box::new(ArrowWriter::try_new_with_options(out, format.stored.clone(), options)?))
            }
            stage => stage,
        };
        match &mut self.stage {
            Stage::Writing(writer) => Ok(writer),
            Stage::Begun(_) | Stage::Spent => {
                Err(ParquetError::General("the shard has failed before".to_owned()).into())
            }
        }
    }

    pub(super) fn encoded_bytes(&self) -> u64 {
        match &self.stage {
            Stage::Writing(writer) => writer.bytes_written() as u64,
            Stage::Begun(_) | Stage::Spent => 0,
        }
    }

    pub(super) fn finish(mut self, format: &ParquetFormat) -> Result<W, EncodeError> {
        if let Some(slab) = self.slabs.finish()? {
            self.writer(format, Some(&slab))?.write(&slab)?;
        }
        self.writer(format, None)?;
        match self.stage {
            Stage::Writing(writer) => Ok(writer.into_inner()?),
            Stage::Begun(out) => Ok(out),
            Stage::Spent => Err(ParquetError::General("the shard has failed before".to_owned()).into()),
        }
    }
}

/// Statistics for every page, so that readers can skip pages. No text that changes from run to run.
fn properties(compression: Compression) -> Result<WriterPropertiesBuilder, EncodeError> {
    let compression = match compression {
        Compression::Zstd(level) => PageCompression::ZSTD(ZstdLevel::try_new(level)?),
        Compression::Snappy => PageCompression::SNAPPY,
        Compression::Lz4 => PageCompression::LZ4_RAW,
        // Gzip has already been refused.
        Compression::None | Compression::Gzip(_) => PageCompression::UNCOMPRESSED,
    };
    Ok(WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_coerce_types(COERCE_TYPES))
}

/// The schema in the file. Metadata of sources (field ids, pandas' notes) describes other files and is dropped. So are
/// extension types: text that holds JSON is text to every reader, but some readers (Polars) would treat `arrow.json` as a
/// separate type without text functions.
fn stored_schema(schema: &Schema) -> Result<Schema, EncodeError> {
    let fields = schema
        .fields()
        .iter()
        .map(|field| stored_field(field).ok_or_else(|| unsupported(field, "parquet")))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Schema::new(fields))
}

fn stored_field(field: &Field) -> Option<Field> {
    if uuid::is_uuid(field) {
        return Some(Field::new(field.name(), DataType::FixedSizeBinary(uuid::WIDTH), field.is_nullable()));
    }
    Some(Field::new(field.name(), stored_type(field.data_type())?, field.is_nullable()))
}

/// Converts marked text to stored UUIDs.
fn stored_uuids(field: &Field, array: &ArrayRef) -> Result<Option<(Field, ArrayRef)>, ArrowError> {
    if !uuid::is_uuid(field) {
        return Ok(None);
    }
    let bytes = uuid::as_bytes(array)?;
    Ok(Some((Field::new(field.name(), bytes.data_type().clone(), field.is_nullable()), bytes)))
}

/// Keeps zones that readers know: names in the tz database, and UTC. The instants are in UTC anyway.
fn stored_zone(zone: &Option<Arc<str>>) -> Option<Arc<str>> {
    let zone = zone.as_ref().filter(|zone| !zone.is_empty())?;
    Some(if zone.starts_with(['+', '-']) { "UTC".into() } else { zone.clone() })
}

/// The stored type; `None` if Parquet does not support the type.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    let inner = |field: &FieldRef| stored_field(field).map(Arc::new);
    Some(match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => stored_type(values)?,
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, stored_zone(zone)),
        DataType::Timestamp(unit, zone) => DataType::Timestamp(*unit, stored_zone(zone)),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale < 0 =>
        {
            return None;
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Union(..) | DataType::RunEndEncoded(..) => {
            return None;
        }
        DataType::List(element) | DataType::ListView(element) => DataType::List(inner(element)?),
        DataType::LargeList(element) | DataType::LargeListView(element) => DataType::LargeList(inner(element)?),
        DataType::FixedSizeList(element, length) => DataType::FixedSizeList(inner(element)?, *length),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries)?, *sorted),
        DataType::Struct(fields) if fields.is_empty() => return None,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Option<_>>()?),
        other => other.clone(),
    })
}

/// The stored types, except that top-level views stay views: slabs copy their text once, and the writer accepts views.
fn gathered_schema(schema: &Schema, stored: &Schema) -> Schema {
    let fields = schema.fields().iter().zip(stored.fields()).map(|(field, stored)| match field.data_type() {
        view @ (DataType::Utf8View | DataType::BinaryView) if !uuid::is_uuid(field) => {
            Arc::new(stored.as_ref().clone().with_data_type(view.clone()))
        }
        _ => stored.clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}
