//! Avro object container files.
//!
//! This module reads the container and undoes the compression; `arrow-avro` decodes the records. A container has no footer, so
//! one that was cut between two blocks looks like a whole one; every other cut is an error. A file is one unit. Format:
//! <https://avro.apache.org/docs/1.12.0/specification/#object-container-files>.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_avro::codec::Tz;
use arrow_avro::reader::ReaderBuilder;

use self::container::{Block, Container, ContainerError};
use super::adapt::duplicate_column;
use super::foreign::{guarded, mismatch, unreadable};
use super::whole::{self, RecordBatches, WholeFacts};
use crate::source::formats::FileRequest;
use crate::source::{BatchReader, SourceError, SourceFile};
use crate::time::TimeParser;

/// Reads a file's schema and its time column.
///
/// # Errors
/// As for [`Arrow IPC`](super::arrow::inspect).
pub(crate) fn inspect(
    file: &SourceFile,
    time_column: &str,
    time_parser: &TimeParser,
) -> Result<WholeFacts, SourceError> {
    whole::inspect(file, Records::open, time_column, time_parser)
}

/// Reads the rows of a file.
///
/// # Errors
/// As [`inspect`].
pub(crate) fn open(request: FileRequest) -> Result<Box<dyn BatchReader>, SourceError> {
    whole::open(request, Records::open)
}

/// Why a file is not readable.
#[derive(Debug, thiserror::Error)]
enum AvroError {
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("its records cannot be decoded: {0}")]
    Record(#[from] ArrowError),
    #[error("a block of {claimed} records holds {found}")]
    RecordCount { claimed: u64, found: usize },
    #[error("a block holds more than its {claimed} records")]
    MoreRecords { claimed: u64 },
}

/// The records of a file, a batch for each block.
struct Records {
    container: Container,
    schema: SchemaRef,
}

impl Records {
    fn open(file: &SourceFile) -> Result<Self, SourceError> {
        let handle = file.open()?;
        let records = guarded(|| {
            let container = Container::open(handle, file.bytes)?;
            let reader = builder(1).build(Cursor::new(container.head()))?;
            let schema = Arc::new(Schema::new(reader.schema().fields().clone()));
            Ok::<_, AvroError>(Self { container, schema })
        });
        let records = records.map_err(|error| unreadable(file, format!("is not readable as Avro: {error}")))?;
        match duplicate_column(&records.schema) {
            Some(name) => Err(mismatch(file, format!("has two columns named {name}; rename one of them"))),
            None => Ok(records),
        }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, AvroError> {
        let Some(block) = self.container.next()? else { return Ok(None) };
        self.decode(&block).map(Some)
    }

    /// Decodes a block as a container of its own, which claims one record more than the block has. A batch of all its records
    /// is full, and then nothing may be left of the block's bytes: the decoder would take them for one more record.
    fn decode(&self, block: &Block) -> Result<RecordBatch, AvroError> {
        let claimed = block.records;
        let container = self.container.with_records(block, claimed + 1);
        let mut reader = builder(usize::try_from(claimed).unwrap_or(usize::MAX)).build(container)?;
        let rows = reader.next().transpose()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.schema)));
        if rows.num_rows() as u64 != claimed {
            return Err(AvroError::RecordCount { claimed, found: rows.num_rows() });
        }
        match reader.next() {
            None => Ok(rows),
            Some(_) => Err(AvroError::MoreRecords { claimed }),
        }
    }
}

/// Without `with_utf8_view`, which turns nulls into empty text in arrow-avro 60.1.
fn builder(batch_rows: usize) -> ReaderBuilder {
    ReaderBuilder::new().with_batch_size(batch_rows).with_tz(Tz::Utc)
}

impl RecordBatches for Records {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next(&mut self, file: &SourceFile, columns: &[usize]) -> Result<Option<RecordBatch>, SourceError> {
        let batch = guarded(|| self.step()).map_err(|error| unreadable(file, error))?;
        batch.map(|batch| batch.project(columns)).transpose().map_err(|error| unreadable(file, error))
    }
}

mod container;
#[cfg(test)]
mod tests;
