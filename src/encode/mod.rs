//! Record batches to the bytes of a shard. One file a format, all of the same shape.
//!
//! An encoder appends the chosen rows of a batch; equal rows in equal order give equal bytes, however they are
//! cut into batches.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::job::{Compression, Format};

/// Writes one shard.
pub trait ShardEncoder<W: Write + Send>: Send {
    /// Appends rows `rows` (ascending or not, in the given order) of `batch`, whose schema is the encoder's.
    ///
    /// # Errors
    /// [`EncodeError`] from the writer below, or where a value has no form in this format.
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
    Parquet(#[from] parquet::errors::ParquetError),
    /// The Arrow kernels.
    #[error("cannot select rows")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A type without a form in this format; found when the encoder is made.
    #[error("column `{column}` of type {data_type} cannot be written as {format}")]
    UnsupportedType {
        /// Which.
        column: String,
        /// Its type.
        data_type: String,
        /// The format's name.
        format: &'static str,
    },
}

/// Starts a shard: writes what stands before the first row.
///
/// # Errors
/// [`EncodeError::UnsupportedType`] for a type without a form in `format`, or the writer's error.
pub fn start<W: Write + Send + 'static>(
    _format: &Format,
    _compression: Compression,
    _schema: SchemaRef,
    _out: W,
) -> Result<Box<dyn ShardEncoder<W>>, EncodeError> {
    unimplemented!()
}
