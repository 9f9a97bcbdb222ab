//! Record batches to the bytes of a shard.
//!
//! Equal rows in equal order give equal bytes, however they are cut into batches. The text formats share how a value
//! looks (`text`) and differ in what stands around the rows (`text_shard`); Parquet is the `parquet` crate's, over rows
//! gathered into slabs of one size.
//!
//! Run-end encoded columns and unions have no form in any format; so that this is known before the first row, an
//! encoder refuses them when it is made.

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

/// How the rows of a job become bytes: one for all its shards, used by many threads at once.
///
/// Encoding is in two steps, so that the larger one needs no order: [`Encoder::encode`] turns rows into their bytes (for
/// Parquet: into the arrays that are stored), [`Shard::append`] puts them behind the rows before.
pub struct Encoder {
    schema: SchemaRef,
    kind: Kind,
    /// Where rows are to be digested.
    canonical: Option<CanonicalRows>,
}

enum Kind {
    Text(TextFormat),
    Parquet(Box<ParquetFormat>),
}

/// Rows on their way into a shard.
#[derive(Debug, Default)]
pub struct Encoded {
    rows: usize,
    text: TextBlock,
    columnar: Option<RecordBatch>,
    digests: Option<Box<Digests>>,
}

impl Encoded {
    /// How many.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Memory that they take.
    pub fn memory(&self) -> usize {
        let columnar = self.columnar.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        self.text.memory() + columnar + self.digests.as_ref().map_or(0, |digests| digests.memory())
    }

    /// The digest of some of the rows, where the encoder digests them.
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
    /// For shards of these columns.
    ///
    /// `compression` matters to Parquet only, which compresses its pages; the bytes of the text formats are compressed by
    /// [`Sealer`](crate::seal::Sealer) on their way to the file, and here it is only checked.
    ///
    /// # Errors
    /// [`EncodeError::UnsupportedType`], [`EncodeError::UnsupportedCompression`] or [`EncodeError::Dialect`] for what
    /// has no form in `format`.
    pub fn new(format: &Format, compression: Compression, schema: SchemaRef) -> Result<Self, EncodeError> {
        check_compression(format, compression)?;
        let kind = match format {
            Format::Csv(dialect) => Kind::Text(TextFormat::csv(dialect, schema.clone())?),
            Format::Ndjson => Kind::Text(TextFormat::ndjson(schema.clone())?),
            Format::Json => Kind::Text(TextFormat::json(schema.clone())?),
            Format::Parquet => Kind::Parquet(Box::new(ParquetFormat::new(compression, &schema)?)),
        };
        Ok(Self { schema, kind, canonical: None })
    }

    /// The same encoder, which digests every row as well.
    ///
    /// # Errors
    /// [`EncodeError::Undigestible`] for a column whose values a shard of `format`, which is the encoder's, shows otherwise
    /// than those of other formats.
    pub fn with_digests(self, format: &Format) -> Result<Self, EncodeError> {
        let canonical = Some(CanonicalRows::of(format, &self.schema)?);
        Ok(Self { canonical, ..self })
    }

    /// Whether every row is digested.
    pub fn digests(&self) -> bool {
        self.canonical.is_some()
    }

    /// The same, with everything in the shards encrypted. Keys of Parquet say nothing to other formats.
    ///
    /// # Errors
    /// [`EncodeError::Parquet`] where columns and their keys cannot be told apart.
    pub fn encrypted(mut self, keys: &ParquetKeys) -> Result<Self, EncodeError> {
        if let Kind::Parquet(format) = &mut self.kind {
            format.encrypt(keys)?;
        }
        Ok(self)
    }

    /// Encodes rows `rows` (ascending or not, in the given order) of `batch`, whose schema is the encoder's, into `into`,
    /// whose memory is used again.
    ///
    /// # Errors
    /// [`EncodeError`] where a value has no form in this format.
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
    /// Appends some of the rows that the shard's encoder has encoded.
    ///
    /// # Errors
    /// [`EncodeError`], mostly from the writer below. After an error the shard is spent.
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

    /// Ends the shard (closing bracket, footer) and gives the writer back.
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
    /// A type whose values some format shows otherwise; found when the encoder is made.
    #[error(
        "column `{column}` of type {data_type} cannot be part of `rows_digest`, because Parquet stores it as another type; \
         leave it out with `columns`, export as another format, or do without `rows_digest`"
    )]
    Undigestible {
        /// Which.
        column: String,
        /// Its type.
        data_type: String,
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

/// Only a bug can cause it.
fn other_format() -> EncodeError {
    ArrowError::InvalidArgumentError("rows or a shard of another format".to_owned()).into()
}

/// Rows after which it makes sense to look at [`Shard::encoded_bytes`] in order to start a new part.
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
    if !Arc::ptr_eq(schema, found) {
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
pub(crate) mod tests;
