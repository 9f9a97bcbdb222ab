//! The footer of a Parquet file: found, told apart from what is none, parsed and held against the file's size.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use bytes::{Buf, Bytes, buf::Reader};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::Length;
use parquet::schema::types::SchemaDescriptor;

use super::int96;
use crate::logical::leaves::map_schema;
use crate::logical::{json_field, uuid};
use crate::source::columnar::adapt::duplicate_column;
use crate::source::columnar::foreign::{guarded, mismatch, unreadable};
use crate::source::columnar::layout::view_schema;
use crate::source::{SourceError, SourceFile};

/// First and last bytes of a file.
const MAGIC: [u8; 4] = *b"PAR1";

/// First and last bytes of a file whose footer is encrypted.
const MAGIC_ENCRYPTED: [u8; 4] = *b"PARE";

/// Two magics and the footer's length.
const SMALLEST_FILE: u64 = 12;

/// Parses the footer and asks for text as views and for INT96 as nanoseconds, which wrap.
pub(super) fn load(file: &SourceFile) -> Result<ArrowReaderMetadata, SourceError> {
    let end = FileEnd::read(file)?;
    let metadata = guarded(|| ArrowReaderMetadata::load(&end, ArrowReaderOptions::new()))
        .map_err(|m| unreadable(file, format!("its footer is not readable as Parquet: {m}")))?;
    guarded(|| check_footer(metadata.metadata(), file.bytes)).map_err(|m| unreadable(file, m))?;
    if let Some(name) = duplicate_column(metadata.schema()) {
        return Err(mismatch(file, format!("has two columns named {name}; rename one of them")));
    }
    let with = |schema: Schema| {
        guarded(|| {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
        })
    };
    let parquet = metadata.parquet_schema();
    // INT96 as nanoseconds, whatever unit the writer's own schema names: the exact values are found from there.
    let schema = int96::in_unit(&marked(metadata.schema(), parquet), parquet, TimeUnit::Nanosecond);
    // Views are only faster: where a column has no such reading, the conversion of each batch makes them.
    with(view_schema(&schema)).or_else(|_| with(schema)).map_err(|m| unreadable(file, m))
}

/// The schema with its leaves of Parquet's JSON and UUID types marked, and those of its ENUM type, which is UTF-8, as text.
fn marked(schema: &Schema, parquet: &SchemaDescriptor) -> Schema {
    map_schema(&uuid::mark_stored(schema, parquet), &mut |leaf, field| {
        if leaf >= parquet.num_columns() {
            return field.clone();
        }
        let column = parquet.column(leaf);
        let has =
            |logical, converted| column.logical_type_ref() == Some(&logical) || column.converted_type() == converted;
        match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 if has(LogicalType::Json, ConvertedType::JSON) => {
                json_field(field.clone())
            }
            DataType::Binary if has(LogicalType::Enum, ConvertedType::ENUM) => {
                field.clone().with_data_type(DataType::Utf8)
            }
            _ => field.clone(),
        }
    })
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
