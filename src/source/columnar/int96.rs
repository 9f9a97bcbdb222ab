//! INT96 timestamps, without the silent wrap.
//!
//! INT96 (deprecated in Parquet, still written by Spark and Impala) holds a Julian day and nanoseconds, so it reaches far
//! beyond the years 1677 to 2262 that 64-bit nanoseconds can tell; the `parquet` crate wraps what lies outside, and
//! `9999-12-31` becomes a day of 1816. The same column read again in whole seconds does not wrap, and tells the two apart.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampNanosecondType, TimestampSecondType};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type;

use crate::source::columnar::foreign::guarded;

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// How to read the INT96 columns of a request in seconds.
pub(super) struct Int96Witness {
    /// The footer with these columns as seconds.
    pub(super) metadata: ArrowReaderMetadata,
    /// These columns.
    pub(super) projection: ProjectionMask,
    names: Vec<String>,
}

impl Int96Witness {
    /// `None` where none of the top-level columns `roots` is INT96.
    pub(super) fn new(metadata: &ArrowReaderMetadata, roots: &[usize]) -> Result<Option<Self>, String> {
        let columns = metadata.parquet_schema().root_schema().get_fields();
        let is_int96 =
            |index: usize| columns.get(index).is_some_and(|c| c.is_primitive() && c.get_physical_type() == Type::INT96);
        let int96: Vec<usize> = roots.iter().copied().filter(|index| is_int96(*index)).collect();
        if int96.is_empty() {
            return Ok(None);
        }
        let mut names = Vec::new();
        let fields = metadata.schema().fields().iter().enumerate().map(|(index, field)| {
            if !int96.contains(&index) {
                return Arc::clone(field);
            }
            names.push(field.name().clone());
            Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(TimeUnit::Second, None)))
        });
        let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.schema().metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        let in_seconds = guarded(|| ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options))?;
        let projection = ProjectionMask::roots(metadata.parquet_schema(), int96);
        Ok(Some(Self { metadata: in_seconds, projection, names }))
    }

    /// Compares a batch with the same rows in seconds.
    ///
    /// # Errors
    /// A message that names the column with a time that nanoseconds cannot tell.
    pub(super) fn check(&self, rows: &RecordBatch, seconds: Option<&RecordBatch>) -> Result<(), String> {
        let lost = || "its INT96 columns cannot be read twice alike".to_owned();
        let seconds = seconds.filter(|s| s.num_rows() == rows.num_rows()).ok_or_else(lost)?;
        for name in &self.names {
            let exact = rows.column_by_name(name).and_then(|a| a.as_primitive_opt::<TimestampNanosecondType>());
            let coarse = seconds.column_by_name(name).and_then(|a| a.as_primitive_opt::<TimestampSecondType>());
            let (Some(exact), Some(coarse)) = (exact, coarse) else { return Err(lost()) };
            let same = |row: usize| exact.is_null(row) || exact.value(row).div_euclid(SECOND) == coarse.value(row);
            if !(0..rows.num_rows()).all(same) {
                return Err(format!(
                    "column {name} holds an INT96 time before 1677 or after 2262, which nanoseconds in 64 bits cannot tell; \
                     rewrite the file with INT64 timestamps"
                ));
            }
        }
        Ok(())
    }
}
