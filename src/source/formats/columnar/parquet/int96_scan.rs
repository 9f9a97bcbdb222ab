//! Scans the INT96 columns of a file.
//!
//! A plan needs the unit of a column before it reads a row. INT96 has no statistics that show whether nanoseconds occur or
//! whether a year is beyond their range, so these columns, and no others, are read during inspection. The scan also yields
//! the bounds of a time column, which route row groups as statistics do for other types.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::TimeUnit;
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{Int96, Int96Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::int96::{is_int96, micros, nanos};
use crate::source::formats::columnar::blocks::Blocks;
use crate::source::formats::columnar::foreign::{guarded, unreadable};
use crate::source::{BATCH_ROWS, SourceError, SourceFile, Undecodable};

/// A leaf column of INT96.
pub(super) struct Int96Leaf {
    /// The coarsest unit that holds every value; nanoseconds if none does.
    pub(super) unit: TimeUnit,
    /// One entry per row group.
    pub(super) groups: Vec<Int96Group>,
}

/// The values of a leaf in one row group.
#[derive(Default)]
pub(super) struct Int96Group {
    /// Least and greatest value: seconds, and nanoseconds after them.
    pub(super) bounds: Option<((i64, i64), (i64, i64))>,
    /// Number of values that are not null.
    pub(super) values: u64,
    /// Number of values that microseconds cannot hold exactly.
    inexact_micros: u64,
    /// Number of values that nanoseconds cannot hold.
    inexact_nanos: u64,
    /// Whether some value fits nanoseconds but not microseconds.
    needs_nanos: bool,
}

impl Int96Leaf {
    /// Number of values of a row group that the unit cannot hold.
    pub(super) fn bad(&self, group: &Int96Group) -> u64 {
        if self.unit == TimeUnit::Microsecond { group.inexact_micros } else { group.inexact_nanos }
    }
}

/// Scans all INT96 columns that can be decoded, by leaf index.
///
/// # Errors
/// As [`super::inspect`], where a page cannot be read.
pub(super) fn scan(
    file: &SourceFile,
    metadata: &ParquetMetaData,
    undecodable: &[Undecodable],
) -> Result<BTreeMap<usize, Int96Leaf>, SourceError> {
    let schema = metadata.file_metadata().schema_descr();
    let mut leaves = BTreeMap::new();
    for leaf in (0..schema.num_columns()).filter(|leaf| is_int96(schema, *leaf)) {
        let root = schema.get_column_root(leaf).name();
        if undecodable.iter().any(|one| one.column == root) {
            continue;
        }
        let mut groups = Vec::with_capacity(metadata.num_row_groups());
        for index in 0..metadata.num_row_groups() {
            groups.push(group(file, metadata, index, leaf)?);
        }
        let needs_nanos = groups.iter().any(|group: &Int96Group| group.needs_nanos);
        let unit = if needs_nanos { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        leaves.insert(leaf, Int96Leaf { unit, groups });
    }
    Ok(leaves)
}

fn group(file: &SourceFile, metadata: &ParquetMetaData, index: usize, leaf: usize) -> Result<Int96Group, SourceError> {
    let group = metadata.row_group(index);
    let chunk = group.column(leaf);
    let (start, length) = chunk.byte_range();
    let blocks = Blocks::new(file.open()?, std::iter::once((start, start.saturating_add(length))));
    blocks.fetch().map_err(|error| SourceError::io(file, "read", &error))?;
    let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
    let found = guarded(|| -> Result<Int96Group, ParquetError> {
        let pages = SerializedPageReader::new(Arc::new(blocks), chunk, rows, None)?;
        let column = metadata.file_metadata().schema_descr().column(leaf);
        values(get_typed_column_reader::<Int96Type>(get_column_reader(column, Box::new(pages))))
    });
    let path = chunk.column_path().string();
    found.map_err(|message| unreadable(file, format!("row group {index}: column {path}: {message}")))
}

fn values(mut reader: ColumnReaderImpl<Int96Type>) -> Result<Int96Group, ParquetError> {
    let mut group = Int96Group::default();
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        values.clear();
        definitions.clear();
        repetitions.clear();
        let (records, _, levels) =
            reader.read_records(BATCH_ROWS, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
        if records == 0 && levels == 0 {
            return Ok(group);
        }
        values.iter().for_each(|value| group.add(value));
    }
}

impl Int96Group {
    fn add(&mut self, value: &Int96) {
        let second = value.to_seconds();
        let fraction = value.to_nanos().wrapping_sub(second.wrapping_mul(1_000_000_000));
        let at = (second, fraction);
        self.bounds = Some(self.bounds.map_or((at, at), |(min, max)| (min.min(at), max.max(at))));
        self.values += 1;
        let (micros, nanos) = (micros(second, fraction), nanos(second, fraction));
        self.inexact_micros += u64::from(micros.is_none());
        self.inexact_nanos += u64::from(nanos.is_none());
        self.needs_nanos |= micros.is_none() && nanos.is_some();
    }
}
