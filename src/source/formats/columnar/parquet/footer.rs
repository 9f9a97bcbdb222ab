//! Finds the footer of a Parquet file, parses it and checks it against the size of the file.

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
use crate::source::formats::columnar::adapt::duplicate_column;
use crate::source::formats::columnar::foreign::{guarded, mismatch, unreadable};
use crate::source::formats::columnar::layout::view_schema;
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
    // INT96 as nanoseconds, regardless of the unit in the writer's schema: exact values are derived from them.
    let schema = int96::in_unit(&marked(metadata.schema(), parquet), parquet, TimeUnit::Nanosecond);
    // Reading views is only an optimization: if it fails for a column, each batch is converted instead.
    with(view_schema(&schema)).or_else(|_| with(schema)).map_err(|m| unreadable(file, m))
}

/// The schema with leaves of Parquet's JSON and UUID types marked, and leaves of its ENUM type, which is UTF-8, as text.
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

/// The end of a file with its footer. Planning reads nothing else.
struct FileEnd {
    start: u64,
    bytes: Bytes,
}

/// Bytes of the first read. Most footers are smaller.
const END_BYTES: u64 = 64 << 10;

impl FileEnd {
    /// Reads the end. Detects another format, encryption and truncation first, which the crate's errors do not distinguish.
    fn read(file: &SourceFile) -> Result<Self, SourceError> {
        if file.bytes < SMALLEST_FILE {
            return Err(unreadable(file, format!("is not a Parquet file: {} bytes are too few", file.bytes)));
        }
        let stored = file.open()?;
        let io = |error: std::io::Error| SourceError::io(file, "read", &error);
        let start = file.bytes.saturating_sub(END_BYTES);
        let parts = stored.read_ranges(&[0..4, start..file.bytes]).map_err(io)?;
        let [head, end] = parts.as_slice() else {
            return Err(unreadable(file, "returned different ranges than requested"));
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

/// Checks the first and last four bytes of a file.
fn check_magic(file: &SourceFile, head: &[u8], tail: &[u8]) -> Result<(), SourceError> {
    match (head, tail) {
        (head, tail) if head == MAGIC_ENCRYPTED || tail == MAGIC_ENCRYPTED => {
            Err(unreadable(file, "is an encrypted Parquet file; decrypt it first, keys for sources are not supported"))
        }
        (head, tail) if head == MAGIC && tail == MAGIC => Ok(()),
        (head, _) if head == MAGIC => {
            Err(unreadable(file, "is truncated: it begins as a Parquet file and does not end as one; copy it again"))
        }
        _ => Err(unreadable(file, "is not a Parquet file: it does not begin with PAR1; check `source.format`")),
    }
}

/// How a footer contradicts itself or the file's size.
#[derive(Debug, thiserror::Error)]
enum FooterError {
    #[error("row group {group} has {rows} rows")]
    RowCount { group: usize, rows: i64 },
    #[error("row group {group}: column {column} lies beyond the end of the file; copy the file again")]
    BeyondEnd { group: usize, column: String },
    #[error("its row groups have {in_groups} rows and its footer says {in_footer}")]
    RowSum { in_groups: i64, in_footer: i64 },
}

/// Checks that the footer agrees with itself and with the file's size.
fn check_footer(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), FooterError> {
    let mut rows = 0i64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let promised = group.num_rows();
        rows = rows
            .checked_add(promised)
            .filter(|_| promised >= 0)
            .ok_or(FooterError::RowCount { group: index, rows: promised })?;
        for column in group.columns() {
            let (start, length) = column.byte_range();
            if start.checked_add(length).is_none_or(|end| end > file_bytes) {
                return Err(FooterError::BeyondEnd { group: index, column: column.column_path().string() });
            }
        }
    }
    if rows != metadata.file_metadata().num_rows() {
        return Err(FooterError::RowSum { in_groups: rows, in_footer: metadata.file_metadata().num_rows() });
    }
    Ok(())
}
