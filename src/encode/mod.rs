//! Encodes record batches as the bytes of a shard.
//!
//! Equal rows in equal order give equal bytes, regardless of how they are split into batches. The text formats share the
//! form of values (`text`) and differ in the bytes around the rows (`text_shard`). Parquet is written by the `parquet`
//! crate, from rows gathered into slabs of one size.
//!
//! No format supports run-end encoded columns or unions. An encoder refuses them when it is created, so that the error
//! appears before the first row.

mod canonical;
mod parquet;
mod text;
mod text_shard;

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use ::parquet::errors::ParquetError;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::job::{Compression, DialectFault, Format};
use crate::rows_digest::RowsDigest;

pub use self::canonical::CanonicalRows;
use self::canonical::Digests;
use self::parquet::{ParquetFormat, ParquetShard};
pub use self::parquet::{ParquetKeyError, ParquetKeys, ROW_GROUP_ROWS, SLAB_ROWS};
pub use self::text::{CellTexts, canonical_json, compact_json, unescaped_formula};
use self::text_shard::{TextBlock, TextFormat, TextShard};

/// Encodes the rows of a job: one encoder for all its shards, shared by many threads.
///
/// Encoding has two steps, so that the more expensive one can run in any order: [`Encoder::encode`] turns rows into bytes
/// (for Parquet: into the arrays to store), and [`Shard::append`] appends them to a shard.
pub struct Encoder {
    schema: SchemaRef,
    kind: Kind,
    /// Set if rows are digested.
    canonical: Option<CanonicalRows>,
}

enum Kind {
    Text(TextFormat),
    Parquet(Box<ParquetFormat>),
}

/// Encoded rows, not yet appended to a shard.
#[derive(Debug, Default)]
pub struct Encoded {
    rows: usize,
    text: TextBlock,
    columnar: Option<RecordBatch>,
    digests: Option<Box<Digests>>,
}

impl Encoded {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> usize {
        let columnar = self.columnar.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        self.text.memory() + columnar + self.digests.as_ref().map_or(0, |digests| digests.memory())
    }

    /// The digest of some of the rows, if the encoder digests them.
    pub fn digest(&self, rows: Range<usize>) -> Option<RowsDigest> {
        self.digests.as_ref().map(|digests| digests.of(rows))
    }
}

/// A shard being written.
pub struct Shard<W: Write + Send> {
    encoder: Arc<Encoder>,
    kind: ShardKind<W>,
}

enum ShardKind<W: Write + Send> {
    Text(TextShard<W>),
    Parquet(Box<ParquetShard<W>>),
}

impl Encoder {
    /// An encoder for shards of these columns.
    ///
    /// Only Parquet uses `compression`, for its pages. For the text formats it is only checked here: a
    /// [`Sealer`](crate::seal::Sealer) compresses their bytes.
    ///
    /// # Errors
    /// [`EncodeError::UnsupportedType`], [`EncodeError::UnsupportedCompression`] or [`EncodeError::Dialect`] for columns,
    /// compressions and dialects that `format` does not support.
    pub fn new(format: &Format, compression: Compression, schema: SchemaRef) -> Result<Self, EncodeError> {
        check_compression(format, compression)?;
        let kind = match format {
            Format::Csv(dialect) => Kind::Text(TextFormat::csv(dialect, schema.clone())?),
            Format::Ndjson(absent) => Kind::Text(TextFormat::ndjson(schema.clone(), *absent)?),
            Format::Json => Kind::Text(TextFormat::json(schema.clone())?),
            Format::Parquet => Kind::Parquet(Box::new(ParquetFormat::new(compression, &schema)?)),
        };
        Ok(Self { schema, kind, canonical: None })
    }

    /// Also digests every row. `format` must be the format of the encoder.
    ///
    /// # Errors
    /// [`EncodeError::Undigestible`] for a column whose values have a different text in shards of `format` than in shards
    /// of other formats.
    pub fn with_digests(self, format: &Format) -> Result<Self, EncodeError> {
        let canonical = Some(CanonicalRows::of(format, &self.schema)?);
        Ok(Self { canonical, ..self })
    }

    /// Whether every row is digested.
    pub fn digests(&self) -> bool {
        self.canonical.is_some()
    }

    /// Whether [`Encoder::encode`] only gathers rows in columns, which [`Shard::append`] encodes.
    pub fn is_columnar(&self) -> bool {
        match self.kind {
            Kind::Text(_) => false,
            Kind::Parquet(_) => true,
        }
    }

    /// Encrypts everything in the shards.
    ///
    /// # Errors
    /// [`EncodeError::Parquet`] where keys cannot be assigned to columns unambiguously, [`EncodeError::Arrow`] for a format
    /// without Parquet modular encryption.
    pub fn encrypted(mut self, keys: &ParquetKeys) -> Result<Self, EncodeError> {
        match &mut self.kind {
            Kind::Text(_) => {
                let why = "this format has no Parquet encryption".to_owned();
                return Err(ArrowError::InvalidArgumentError(why).into());
            }
            Kind::Parquet(format) => format.encrypt(keys)?,
        }
        Ok(self)
    }

    /// Encodes some rows of `batch`, in the order of `rows`, into `into`, whose memory is reused. The batch must have the
    /// schema of the encoder.
    ///
    /// # Errors
    /// [`EncodeError`] where the format cannot represent a value.
    pub fn encode(&self, batch: &RecordBatch, rows: &[u32], into: &mut Encoded) -> Result<(), EncodeError> {
        check_rows(&self.schema, batch, rows)?;
        into.rows = rows.len();
        into.text.clear();
        match &self.kind {
            Kind::Text(format) => format.rows.append(batch, rows, &mut into.text.bytes, &mut into.text.ends)?,
            Kind::Parquet(format) => into.columnar = Some(format.gather(batch, rows)?),
        }
        if let Some(canonical) = &self.canonical {
            let digests = into.digests.get_or_insert_default();
            canonical.digest(batch, rows, &into.text, digests)?;
        }
        Ok(())
    }

    /// Starts a shard. Nothing is written before the first rows.
    pub fn start<W: Write + Send>(self: &Arc<Self>, out: W) -> Shard<W> {
        let kind = match &self.kind {
            Kind::Text(format) => ShardKind::Text(TextShard::new(format, out)),
            Kind::Parquet(format) => ShardKind::Parquet(Box::new(ParquetShard::new(format, out))),
        };
        Shard { encoder: self.clone(), kind }
    }
}

impl<W: Write + Send> Shard<W> {
    /// Appends some of the rows that the encoder of this shard has encoded.
    ///
    /// # Errors
    /// [`EncodeError`], mostly from the writer below. After an error, the shard is unusable.
    pub fn append(&mut self, encoded: &Encoded, rows: Range<usize>) -> Result<(), EncodeError> {
        match (&mut self.kind, &self.encoder.kind, &encoded.columnar) {
            (ShardKind::Text(shard), Kind::Text(format), _) => Ok(shard.append(format, &encoded.text, rows)?),
            (ShardKind::Parquet(shard), Kind::Parquet(format), Some(batch)) => {
                shard.append(format, &batch.slice(rows.start, rows.len()))
            }
            _ => Err(other_format()),
        }
    }

    /// Bytes encoded so far, before compression of the file (Parquet: finished row groups, compressed pages).
    pub fn encoded_bytes(&self) -> u64 {
        match &self.kind {
            ShardKind::Text(shard) => shard.encoded_bytes(),
            ShardKind::Parquet(shard) => shard.encoded_bytes(),
        }
    }

    /// Ends the shard (closing bracket, footer) and returns the writer.
    ///
    /// # Errors
    /// As [`Shard::append`].
    pub fn finish(self) -> Result<W, EncodeError> {
        match (self.kind, &self.encoder.kind) {
            (ShardKind::Text(shard), _) => Ok(shard.finish()?),
            (ShardKind::Parquet(shard), Kind::Parquet(format)) => shard.finish(format),
            (ShardKind::Parquet(_), Kind::Text(_)) => Err(other_format()),
        }
    }
}

/// Why a shard cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The writer below failed.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
    /// The Parquet writer failed.
    #[error("cannot encode as Parquet")]
    Parquet(#[source] ParquetError),
    /// An Arrow kernel failed.
    #[error("cannot select rows")]
    Arrow(#[from] ArrowError),
    /// The format does not support the type of a column. Found when the encoder is created.
    #[error(
        "column `{column}` of type {data_type} cannot be written as {format}; leave it out with `columns`, or export as another format"
    )]
    UnsupportedType {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
        /// The format's name.
        format: &'static str,
    },
    /// The format does not support a compression. Found when the encoder is created.
    #[error("{format} cannot be compressed with {compression}; {format} has {choices}")]
    UnsupportedCompression {
        /// The format's name.
        format: &'static str,
        /// The compression's name.
        compression: &'static str,
        /// The supported compressions.
        choices: String,
    },
    /// Formats show the values of a column differently. Found when the encoder is created.
    #[error(
        "column `{column}` of type {data_type} cannot be part of `rows_digest`, because Parquet stores it as another type; \
         leave it out with `columns`, export as another format, or do without `rows_digest`"
    )]
    Undigestible {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// Files of a CSV dialect could not be read back. Found when the encoder is created.
    #[error(transparent)]
    Dialect(#[from] DialectFault),
}

impl From<ParquetError> for EncodeError {
    /// Unwraps errors of the writer below, so that a full disk gives the same error in every format.
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

/// The error of rows encoded for another format, which only a bug can cause.
fn other_format() -> EncodeError {
    ArrowError::InvalidArgumentError("rows or a shard of another format".to_owned()).into()
}

/// Number of rows between checks of [`Shard::encoded_bytes`] for splitting a partition into parts.
///
/// The size must be checked after the same rows in every run: after each multiple of this number, counted from the first row
/// of the part. Otherwise, the parts would depend on how the source is split into batches. The size of a Parquet shard is
/// only known at the end of a row group.
pub fn part_step_rows(format: &Format) -> u64 {
    match format {
        // About 100 KB: precise enough for any useful limit, and cheap.
        Format::Csv(_) | Format::Ndjson(_) | Format::Json => 256,
        Format::Parquet => ROW_GROUP_ROWS as u64,
    }
}

/// Refuses compressions that would otherwise be ignored silently.
fn check_compression(format: &Format, compression: Compression) -> Result<(), EncodeError> {
    let (facts, compression) = (format.kind().facts(), compression.kind());
    if facts.compressions.contains(&compression) {
        return Ok(());
    }
    let choices: Vec<&str> = facts.compressions.iter().map(|choice| choice.as_str()).collect();
    let choices = match choices.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => choices.concat(),
    };
    Err(EncodeError::UnsupportedCompression { format: facts.name, compression: compression.as_str(), choices })
}

/// Checks the schema of a batch and the row numbers, which encoders then rely on.
///
/// Only the number and types of columns must agree. Names come from the encoder.
fn check_rows(schema: &SchemaRef, batch: &RecordBatch, rows: &[u32]) -> Result<(), EncodeError> {
    let found = batch.schema_ref();
    if !Arc::ptr_eq(schema, found) {
        let same = schema.fields().len() == found.fields().len()
            && schema.fields().iter().zip(found.fields()).all(|(a, b)| a.data_type() == b.data_type());
        if !same {
            return Err(ArrowError::SchemaError("the batch does not have the schema of the shard".to_owned()).into());
        }
    }
    if schema.fields().is_empty() && !rows.is_empty() {
        // CSV would hold empty lines, and Parquet nothing at all.
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
pub(crate) mod tests;
