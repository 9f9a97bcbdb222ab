//! The canonical records that row digests are computed from, independent of the format ([`rows_digest`](crate::rows_digest)).
//!
//! A record is a row in the default CSV dialect, with two exceptions that make it equal for the shards of every format. JSON
//! in a cell has no white space between tokens, and JSON's null is a null, because NDJSON nests JSON. If shards escape
//! formulas, text that looks escaped is unescaped. If the shards of a job already have this form, their own bytes are used.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};

use super::text::TextRows;
use super::text_shard::TextBlock;
use super::{EncodeError, check_rows};
use crate::job::{CsvFormat, Format};
use crate::logical::leaves::children;
use crate::logical::{is_json, is_number, uuid};
use crate::rows_digest::{RowHash, RowsDigest, hash};

/// Converts rows to canonical records.
pub struct CanonicalRows {
    schema: SchemaRef,
    /// `None` if the shards' own records are used.
    rows: Option<TextRows>,
}

/// The digests of encoded rows, with reusable memory.
#[derive(Debug, Default)]
pub(super) struct Digests {
    records: TextBlock,
    hashes: Vec<RowHash>,
    all: RowsDigest,
}

impl CanonicalRows {
    /// For rows with these columns, independent of the format.
    ///
    /// # Errors
    /// [`EncodeError::UnsupportedType`] for a column that has no text form.
    pub fn new(schema: SchemaRef) -> Result<Self, EncodeError> {
        let rows = Some(TextRows::canonical(schema.clone(), false)?);
        Ok(Self { schema, rows })
    }

    /// For the rows of shards of this format.
    pub(super) fn of(format: &Format, schema: &SchemaRef) -> Result<Self, EncodeError> {
        let (escapes_formulas, serves) = match format {
            Format::Csv(dialect) => {
                let looks = CsvFormat { bom: dialect.bom, header: dialect.header, ..CsvFormat::default() };
                (dialect.escape_formulas, *dialect == looks && !schema.fields().iter().any(|f| holds_json(f)))
            }
            Format::Ndjson(_) | Format::Json => (false, false),
            Format::Parquet => match schema.fields().iter().find(|field| is_stored_otherwise(field)) {
                None => (false, false),
                Some(field) => {
                    return Err(EncodeError::Undigestible {
                        column: field.name().clone(),
                        data_type: field.data_type().to_string(),
                    });
                }
            },
        };
        let rows = (!serves).then(|| TextRows::canonical(schema.clone(), escapes_formulas)).transpose()?;
        Ok(Self { schema: schema.clone(), rows })
    }

    /// Adds all rows of a batch to a digest. The batch must have the schema of these records.
    ///
    /// # Errors
    /// [`EncodeError`] for a batch with a different schema.
    pub fn add(&self, batch: &RecordBatch, to: &mut RowsDigest) -> Result<(), EncodeError> {
        let rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
        check_rows(&self.schema, batch, &rows)?;
        let mut digests = Digests::default();
        self.digest(batch, &rows, &TextBlock::default(), &mut digests)?;
        to.combine(&digests.all);
        Ok(())
    }

    /// Digests rows. `written` are their bytes in a text shard.
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

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.records.memory() + self.hashes.capacity() * size_of::<RowHash>()
    }
}

/// Whether a field inside a field satisfies `is`, which looks further inside itself.
fn any_inside(field: &Field, is: fn(&Field) -> bool) -> bool {
    children(field).unwrap_or_default().iter().any(|child| is(child))
}

/// Whether the field, or a field inside it, is text that holds JSON.
fn holds_json(field: &Field) -> bool {
    is_json(field) || any_inside(field, holds_json)
}

/// Whether the type that Parquet stores has a different text form, and the type names in manifests do not reveal it: they
/// describe the contents of lists and structs, but not of maps and other lists.
fn is_stored_otherwise(field: &Field) -> bool {
    fn changes(field: &Field) -> bool {
        let seconds = matches!(
            field.data_type(),
            DataType::Timestamp(TimeUnit::Second, _) | DataType::Time32(TimeUnit::Second) | DataType::Date64
        );
        seconds || is_json(field) || is_number(field) || uuid::is_uuid(field) || any_inside(field, changes)
    }
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => is_stored_otherwise(item),
        DataType::Struct(fields) => fields.iter().any(|child| is_stored_otherwise(child)),
        _ => any_inside(field, changes),
    }
}
