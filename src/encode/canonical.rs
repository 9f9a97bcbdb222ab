//! The records that rows are digested by, whatever format they are written in ([`rows_digest`](crate::rows_digest)).
//!
//! A record is what the default dialect of CSV writes, with two exceptions, so that the shards of every format give the
//! same: JSON in a cell has no white space between its tokens and JSON's null is a null, because NDJSON nests it; and
//! where shards escape formulas, text that looks escaped is taken for what it was. Where a job's shards are CSV that
//! looks so already, their own bytes serve.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};

use super::text::TextRows;
use super::text_shard::TextBlock;
use super::{EncodeError, check_rows};
use crate::job::{CsvFormat, Format};
use crate::logical::{is_json, is_number, uuid};
use crate::rows_digest::{RowHash, RowsDigest, hash};

/// Rows to their records.
pub struct CanonicalRows {
    schema: SchemaRef,
    /// `None` where the shards' own records serve.
    rows: Option<TextRows>,
}

/// The digests of encoded rows, and the memory they were made in.
#[derive(Debug, Default)]
pub(super) struct Digests {
    records: TextBlock,
    hashes: Vec<RowHash>,
    all: RowsDigest,
}

impl CanonicalRows {
    /// For rows of these columns, in any format.
    ///
    /// # Errors
    /// [`EncodeError::UnsupportedType`] for a column that has no text.
    pub fn new(schema: SchemaRef) -> Result<Self, EncodeError> {
        let rows = Some(TextRows::canonical(schema.clone(), false)?);
        Ok(Self { schema, rows })
    }

    /// For the rows of shards of this format.
    pub(super) fn of(format: &Format, schema: &SchemaRef) -> Result<Self, EncodeError> {
        if *format == Format::Parquet
            && let Some(field) = schema.fields().iter().find(|field| is_stored_otherwise(field))
        {
            return Err(EncodeError::Undigestible {
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
            });
        }
        let (escapes_formulas, serves) = match format {
            Format::Csv(dialect) => {
                let looks = CsvFormat { bom: dialect.bom, header: dialect.header, ..CsvFormat::default() };
                (dialect.escape_formulas, *dialect == looks && !schema.fields().iter().any(|f| holds_json(f)))
            }
            Format::Ndjson | Format::Json | Format::Parquet => (false, false),
        };
        let rows = (!serves).then(|| TextRows::canonical(schema.clone(), escapes_formulas)).transpose()?;
        Ok(Self { schema: schema.clone(), rows })
    }

    /// Adds all rows of a batch, whose schema is that of these rows, to a digest.
    ///
    /// # Errors
    /// [`EncodeError`] for a batch of another schema.
    pub fn add(&self, batch: &RecordBatch, to: &mut RowsDigest) -> Result<(), EncodeError> {
        let rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
        check_rows(&self.schema, batch, &rows)?;
        let mut digests = Digests::default();
        self.digest(batch, &rows, &TextBlock::default(), &mut digests)?;
        to.combine(&digests.all);
        Ok(())
    }

    /// Digests rows, of which `written` are the bytes that a shard of text has.
    pub(super) fn digest(
        &self,
        batch: &RecordBatch,
        rows: &[u32],
        written: &TextBlock,
        into: &mut Digests,
    ) -> Result<(), EncodeError> {
        let Digests { records, hashes, all } = into;
        records.clear();
        hashes.clear();
        *all = RowsDigest::default();
        let records = match &self.rows {
            Some(text) => {
                text.append(batch, rows, &mut records.bytes, &mut records.ends)?;
                &*records
            }
            None => written,
        };
        for row in 0..records.ends.len() {
            let hash = hash(records.rows(&(row..row + 1)));
            all.add(&hash);
            hashes.push(hash);
        }
        Ok(())
    }
}

impl Digests {
    /// The digest of some of the rows.
    pub(super) fn of(&self, rows: std::ops::Range<usize>) -> RowsDigest {
        if rows == (0..self.hashes.len()) {
            return self.all.clone();
        }
        let mut some = RowsDigest::default();
        self.hashes.get(rows).unwrap_or_default().iter().for_each(|hash| some.add(hash));
        some
    }

    /// Memory that they take.
    pub(super) fn memory(&self) -> usize {
        self.records.memory() + self.hashes.capacity() * size_of::<RowHash>()
    }
}

fn children(field: &Field) -> Vec<&FieldRef> {
    match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item],
        DataType::Struct(fields) => fields.iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether some text in it holds JSON.
fn holds_json(field: &Field) -> bool {
    is_json(field) || children(field).into_iter().any(|child| holds_json(child))
}

/// Whether the type that Parquet gives a value has another text, and the words for types in manifests do not tell it:
/// they tell what is in lists and structs, and not what is in maps and other lists.
fn is_stored_otherwise(field: &Field) -> bool {
    fn changes(field: &Field) -> bool {
        let seconds = matches!(
            field.data_type(),
            DataType::Timestamp(TimeUnit::Second, _) | DataType::Time32(TimeUnit::Second) | DataType::Date64
        );
        seconds
            || is_json(field)
            || is_number(field)
            || uuid::is_uuid(field)
            || children(field).into_iter().any(|child| changes(child))
    }
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => is_stored_otherwise(item),
        DataType::Struct(fields) => fields.iter().any(|child| is_stored_otherwise(child)),
        _ => children(field).into_iter().any(|child| changes(child)),
    }
}
