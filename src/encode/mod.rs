//! Record batches to the bytes of a shard. One file a format, all of the same shape.
//!
//! An encoder appends the chosen rows of a batch; equal rows in equal order give equal bytes, however they are
//! cut into batches. The text formats share how a value looks (`text`) and go through one block of bytes
//! (`block`); Parquet is the `parquet` crate's, over rows gathered into slabs of one size.
//!
//! Run-end encoded columns and unions have no form in any format; so that this is known before the first row, an
//! encoder refuses them when it is made.

mod block;
mod csv;
mod json;
mod ndjson;
mod parquet;
mod text;

use std::io::Write;

use ::parquet::errors::ParquetError;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::job::{Compression, DialectFault, Format};

pub use self::parquet::ROW_GROUP_ROWS;

/// Writes one shard.
pub trait ShardEncoder<W: Write + Send>: Send {
    /// Appends rows `rows` (ascending or not, in the given order) of `batch`, whose schema is the encoder's.
    ///
    /// # Errors
    /// [`EncodeError`] from the writer below, or where a value has no form in this format. After an error the encoder
    /// is spent.
    fn append(&mut self, batch: &RecordBatch, rows: &[u32]) -> Result<(), EncodeError>;

    /// Bytes encoded so far, before compression of the file (Parquet: finished row groups, compressed pages).
    fn encoded_bytes(&self) -> u64;

    /// Ends the shard (closing bracket, footer) and gives the writer back.
    ///
    /// # Errors
    /// As [`ShardEncoder::append`].
    fn finish(self: Box<Self>) -> Result<W, EncodeError>;
}

/// A shard that could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The writer below.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
    /// The Parquet writer.
    #[error("cannot encode as Parquet")]
    Parquet(#[source] ParquetError),
    /// The Arrow kernels.
    #[error("cannot select rows")]
    Arrow(#[from] ArrowError),
    /// A type without a form in this format; found when the encoder is made.
    #[error(
        "column `{column}` of type {data_type} cannot be written as {format}; leave it out with `columns`, or export as another format"
    )]
    UnsupportedType {
        /// Which.
        column: String,
        /// Its type.
        data_type: String,
        /// The format's name.
        format: &'static str,
    },
    /// A compression that this format does not have; found when the encoder is made.
    #[error("{format} cannot be compressed with {compression}; {format} has {choices}")]
    UnsupportedCompression {
        /// The format's name.
        format: &'static str,
        /// The compression's name.
        compression: &'static str,
        /// What to write instead.
        choices: &'static str,
    },
    /// A CSV dialect whose files could not be read back; found when the encoder is made.
    #[error(transparent)]
    Dialect(#[from] DialectFault),
}

impl From<ParquetError> for EncodeError {
    /// The Parquet writer wraps the errors of the writer below; a full disk should look the same in every format.
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(io) => Self::Write(*io),
                Err(inner) => Self::Parquet(ParquetError::External(inner)),
            },
            other => Self::Parquet(other),
        }
    }
}

/// Starts a shard: writes what stands before the first row.
///
/// `compression` matters to Parquet only, which compresses its pages; the bytes of the text formats are compressed by
/// [`Sealer`](crate::seal::Sealer) on their way to the file, and here it is only checked.
///
/// # Errors
/// [`EncodeError::UnsupportedType`], [`EncodeError::UnsupportedCompression`] or [`EncodeError::Dialect`] for what has
/// no form in `format`, or the writer's error.
pub fn start<W: Write + Send + 'static>(
    format: &Format,
    compression: Compression,
    schema: SchemaRef,
    out: W,
) -> Result<Box<dyn ShardEncoder<W>>, EncodeError> {
    check_compression(format, compression)?;
    Ok(match format {
        Format::Csv(dialect) => Box::new(csv::CsvEncoder::new(dialect, schema, out)?),
        Format::Ndjson => Box::new(ndjson::NdjsonEncoder::new(schema, out)?),
        Format::Json => Box::new(json::JsonEncoder::new(schema, out)?),
        Format::Parquet => Box::new(parquet::ParquetEncoder::new(compression, schema, out)?),
    })
}

/// Rows after which it makes sense to look at [`ShardEncoder::encoded_bytes`] in order to start a new part.
///
/// Whoever cuts a partition into parts by size must look after the same rows in every run, or the parts would depend
/// on how the source was cut into batches: after each multiple of this number, counted from the part's first row.
/// Parquet's size is known only where a row group ends.
pub fn part_step_rows(format: &Format) -> u64 {
    match format {
        // Some 100 KB: near enough to any useful limit, and cheap.
        Format::Csv(_) | Format::Ndjson | Format::Json => 256,
        Format::Parquet => ROW_GROUP_ROWS as u64,
    }
}

/// Refuses what would be ignored in silence otherwise.
fn check_compression(format: &Format, compression: Compression) -> Result<(), EncodeError> {
    let name = match (format, compression) {
        (Format::Parquet, Compression::Gzip(_)) => "gzip",
        (Format::Csv(_) | Format::Ndjson | Format::Json, Compression::Snappy) => "snappy",
        (Format::Csv(_) | Format::Ndjson | Format::Json, Compression::Lz4) => "lz4",
        _ => return Ok(()),
    };
    let choices = match format {
        Format::Parquet => "zstd, snappy, lz4 and none",
        Format::Csv(_) | Format::Ndjson | Format::Json => "zstd, gzip and none",
    };
    Err(EncodeError::UnsupportedCompression { format: format.name(), compression: name, choices })
}

/// Refuses a batch of another schema and rows that the batch does not have: the encoders then trust both.
///
/// Names are the encoder's; only number and types of columns must agree.
fn check_rows(schema: &SchemaRef, batch: &RecordBatch, rows: &[u32]) -> Result<(), EncodeError> {
    let found = batch.schema_ref();
    if !std::sync::Arc::ptr_eq(schema, found) {
        let same = schema.fields().len() == found.fields().len()
            && schema.fields().iter().zip(found.fields()).all(|(a, b)| a.data_type() == b.data_type());
        if !same {
            return Err(ArrowError::SchemaError("the batch does not have the schema of the shard".to_owned()).into());
        }
    }
    if schema.fields().is_empty() && !rows.is_empty() {
        // CSV would hold empty lines and Parquet nothing at all.
        let why = "a shard without columns cannot hold rows; select at least one column".to_owned();
        return Err(ArrowError::InvalidArgumentError(why).into());
    }
    match rows.iter().max() {
        Some(&last) if last as usize >= batch.num_rows() => Err(ArrowError::InvalidArgumentError(format!(
            "row {last} was asked for of a batch of {} rows",
            batch.num_rows()
        ))
        .into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
