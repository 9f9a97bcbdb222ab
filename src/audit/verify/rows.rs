//! Reads shards back with independent readers, counts their rows and digests them.
//!
//! CSV records are counted by `csv-core`, JSON by `serde_json`, Parquet by decoding every page with the `parquet`
//! crate. Files are streamed; a record larger than [`MAX_RECORD_BYTES`], or with more cells than there are columns, is refused
//! rather than held.

mod digest;
mod limit;
mod pages;
mod restore;

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use csv_core::ReadFieldResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub(super) use self::digest::Digester;
pub(crate) use self::limit::{Budget, Limited, MAX_RECORD_BYTES, TOO_LONG};
pub(crate) use self::pages::Pages;
use super::VerifyOptions;
use crate::encode::{CanonicalRows, ParquetKeys};
use crate::job::{CsvFormat, is_formula};
use crate::logical::uuid;
use crate::package::manifest::{Column, ExportFormat, Manifest, ResolvedError, ResolvedSpec};
use crate::seal::{self, AGE_EXTENSION, OpenError, PlainFile};
use crate::store::Stored;

/// What a file holds, before its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Csv,
    Ndjson,
    Json,
    Parquet,
    /// An unknown kind.
    Unknown,
}

impl Contents {
    pub(super) fn of_shard(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Ndjson => Self::Ndjson,
            ExportFormat::Json => Self::Json,
            ExportFormat::Parquet => Self::Parquet,
        }
    }

    /// Rejected rows are objects, one a line, whatever the shards are.
    pub(super) fn of_rejects(path: &str) -> Self {
        let path = path.strip_suffix(AGE_EXTENSION).unwrap_or(path);
        let plain = path.strip_suffix(".zst").or_else(|| path.strip_suffix(".gz")).unwrap_or(path);
        if plain.ends_with(".ndjson") { Self::Ndjson } else { Self::Unknown }
    }
}

/// A file that is not valid in its format. Becomes a finding, so the text includes the cause.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    #[error("cannot be read back: {0}")]
    Read(#[from] io::Error),
    #[error("row {row} {why}")]
    Row { row: u64, why: String },
    #[error("{0}")]
    File(String),
}

/// The number of rows in a file, which `digester`, if given, digests.
pub(super) fn count(
    name: &str,
    file: Stored,
    contents: Contents,
    manifest: &Manifest,
    options: &VerifyOptions,
    digester: Option<&mut Digester>,
) -> Result<u64, RowsError> {
    let columns: Vec<&str> = manifest.columns.iter().map(|column| column.name.as_str()).collect();
    let locked = |error: OpenError| RowsError::File(format!("cannot be read back: {error}"));
    let open = |file: Stored| -> Result<Box<dyn BufRead>, RowsError> {
        let rows = seal::open(file.into_reader(), name, &options.keys.identities).map_err(locked)?;
        Ok(Box::new(BufReader::new(rows)))
    };
    match contents {
        Contents::Csv => {
            let dialect = Dialect::of(&manifest.spec.resolved).map_err(|error| {
                RowsError::File(format!("is in a dialect that the manifest does not give: {error}"))
            })?;
            csv(open(file)?, &dialect, &columns, digester)
        }
        Contents::Ndjson => ndjson(open(file)?, digester),
        Contents::Json => json(open(file)?, digester),
        Contents::Parquet => {
            let plain = PlainFile::open(file, name, &options.keys.identities).map_err(locked)?;
            parquet(plain, &manifest.columns, options.keys.parquet.as_ref(), digester)
        }
        Contents::Unknown => Err(RowsError::File("is of an unknown format".to_owned())),
    }
}

/// How CSV shards were written, as far as it matters for reading.
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) header: bool,
    escape_formulas: bool,
    null_text: String,
}

impl Dialect {
    /// From the spec's `format`, `csv` or `{csv: {…}}`.
    pub(crate) fn of(resolved: &ResolvedSpec) -> Result<Self, ResolvedError> {
        let CsvFormat { delimiter, header, escape_formulas, null_text, bom: _ } = resolved.csv()?;
        Ok(Self { delimiter, header, escape_formulas, null_text })
    }
}

fn csv(
    mut input: Box<dyn BufRead>,
    dialect: &Dialect,
    columns: &[&str],
    mut digester: Option<&mut Digester>,
) -> Result<u64, RowsError> {
    // csv-core looks for a byte order mark only in the first buffer it is given, which may be shorter than one.
    let mut start = Vec::new();
    input.by_ref().take(3).read_to_end(&mut start)?;
    if start == b"\xef\xbb\xbf" {
        start.clear();
    }
    let mut input = Read::chain(Cursor::new(start), input);
    if columns.is_empty() {
        // A source without any column gives shards that have not even a header.
        let is_empty = input.fill_buf()?.is_empty();
        let text = || RowsError::File("has text, but the manifest lists no columns".to_owned());
        return is_empty.then_some(0).ok_or_else(text);
    }
    let mut reader = csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).build();
    let mut text = vec![0; 64 * 1024];
    let (mut records, mut fields, mut record_bytes) = (0_u64, 0_usize, 0_usize);
    let (mut header, mut cell) = (Vec::new(), Vec::new());
    // The field's first byte, which csv-core does not expose: a quoted null is text.
    let mut opening = None;
    loop {
        let block = input.fill_buf()?;
        if opening.is_none() {
            // Line ends before a record are skipped.
            opening = block.iter().find(|byte| fields > 0 || !matches!(byte, b'\r' | b'\n')).copied();
        }
        let (result, read, written) = reader.read_field(block, &mut text);
        input.consume(read);
        let is_header = records == 0 && dialect.header;
        let row = records + u64::from(!dialect.header);
        // Else the buffer holds pieces of a record; only their number matters.
        if is_header || digester.is_some() {
            cell.extend_from_slice(text.get(..written).unwrap_or_default());
            record_bytes += written;
            if record_bytes > MAX_RECORD_BYTES {
                return Err(match is_header {
                    true => RowsError::File("has a header of more than 512 MiB".to_owned()),
                    false => RowsError::Row { row, why: TOO_LONG.to_owned() },
                });
            }
        }
        let record_end = match result {
            ReadFieldResult::Field { record_end } => record_end,
            ReadFieldResult::End => break,
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => continue,
        };
        if fields >= columns.len() && !is_header {
            // At once: a record of nothing but delimiters has millions of cells.
            return Err(RowsError::Row { row, why: format!("has more than {} fields", columns.len()) });
        }
        if is_header {
            if header.len() <= columns.len() {
                header.push(cell.clone());
            }
        } else if let Some(digester) = &mut digester {
            let quoted = opening == Some(b'"');
            digester.csv_cell(&cell, quoted, dialect).map_err(|bad| RowsError::Row { row, why: bad.to_string() })?;
        }
        cell.clear();
        opening = None;
        fields += 1;
        if !record_end {
            continue;
        }
        if is_header {
            check_header(&header, columns, dialect.escape_formulas)?;
        } else if fields != columns.len() {
            return Err(RowsError::Row { row, why: format!("has {fields} fields, not {}", columns.len()) });
        } else if let Some(digester) = &mut digester {
            digester.end_row();
        }
        records += 1;
        (fields, record_bytes) = (0, 0);
    }
    if dialect.header && records == 0 {
        return Err(RowsError::File("has no header".to_owned()));
    }
    Ok(records - u64::from(dialect.header))
}

fn check_header(names: &[Vec<u8>], columns: &[&str], escape_formulas: bool) -> Result<(), RowsError> {
    let is_column = |(found, column): (&Vec<u8>, &&str)| {
        let column = column.as_bytes();
        let prefix: &[u8] = if escape_formulas && is_formula(column) { b"'" } else { b"" };
        found.strip_prefix(prefix) == Some(column)
    };
    if names.len() == columns.len() && names.iter().zip(columns).all(is_column) {
        Ok(())
    } else {
        Err(RowsError::File("its header is not the columns that the manifest lists".to_owned()))
    }
}

fn ndjson(mut input: Box<dyn BufRead>, mut digester: Option<&mut Digester>) -> Result<u64, RowsError> {
    let mut line = Vec::new();
    let mut rows = 0;
    loop {
        line.clear();
        let length = input.by_ref().take(MAX_RECORD_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(rows);
        }
        rows += 1;
        let wrong = |why: String| RowsError::Row { row: rows, why };
        if length > MAX_RECORD_BYTES {
            return Err(wrong(TOO_LONG.to_owned()));
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            return Err(wrong("does not end with a newline".to_owned()));
        }
        let text = std::str::from_utf8(&line).map_err(|_| wrong("is not UTF-8".to_owned()))?;
        match &mut digester {
            Some(digester) => digester.json_row(text).map_err(|bad| wrong(bad.to_string()))?,
            None => {
                serde_json::from_str::<Object>(text).map_err(|e| wrong(format!("is not a JSON object: {e}")))?;
            }
        }
    }
}

fn json(input: Box<dyn BufRead>, digester: Option<&mut Digester>) -> Result<u64, RowsError> {
    let budget = Budget::new();
    let mut reader = serde_json::Deserializer::from_reader(Limited::new(input, budget.clone()));
    let wrong = |error: serde_json::Error| match budget.exceeded() {
        Some(row) => RowsError::Row { row, why: TOO_LONG.to_owned() },
        None => RowsError::File(format!("is not a JSON array of objects: {error}")),
    };
    let rows = reader.deserialize_seq(Rows { digester, budget: budget.clone() }).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(rows)
}

/// Counts the objects of an array without keeping them.
struct Rows<'a> {
    digester: Option<&'a mut Digester>,
    budget: Rc<Budget>,
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<u64, A::Error> {
        let mut count = 0;
        self.budget.next_row();
        let Some(digester) = self.digester else {
            while rows.next_element::<Object>()?.is_some() {
                count += 1;
                self.budget.next_row();
            }
            return Ok(count);
        };
        while let Some(row) = rows.next_element::<Box<RawValue>>()? {
            count += 1;
            self.budget.next_row();
            digester.json_row(row.get()).map_err(|why| A::Error::custom(format!("row {count} {why}")))?;
        }
        Ok(count)
    }
}

/// Any JSON object, whose fields are looked at and let go.
struct Object;

impl<'de> serde::Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

fn parquet(
    file: PlainFile,
    columns: &[Column],
    keys: Option<&Arc<ParquetKeys>>,
    digester: Option<&mut Digester>,
) -> Result<u64, RowsError> {
    // The decoder is built for files that are what they say; on others it may panic.
    catch_unwind(AssertUnwindSafe(|| decode_parquet(file, columns, keys, digester)))
        .unwrap_or_else(|_| Err(RowsError::File("cannot be decoded as Parquet".to_owned())))
}

fn decode_parquet(
    file: PlainFile,
    columns: &[Column],
    keys: Option<&Arc<ParquetKeys>>,
    mut digester: Option<&mut Digester>,
) -> Result<u64, RowsError> {
    let wrong = |error: &dyn fmt::Display| RowsError::File(format!("cannot be decoded as Parquet: {error}"));
    let mut options = ArrowReaderOptions::new();
    if let Some(keys) = keys {
        options = options.with_file_decryption_properties(keys.decryption().map_err(|e| wrong(&e))?);
    }
    let pages = Pages::new(file)?;
    let metadata = ArrowReaderMetadata::load(&pages, options).and_then(uuid::marked).map_err(|e| wrong(&e))?;
    let batch_rows = pages.batch_rows(metadata.metadata()).map_err(|e| wrong(&e))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(pages, metadata).with_batch_size(batch_rows);
    if !builder.schema().fields().iter().map(|field| field.name()).eq(columns.iter().map(|column| &column.name)) {
        return Err(RowsError::File("its columns are not those that the manifest lists".to_owned()));
    }
    let stated = builder.metadata().file_metadata().num_rows();
    let schema = restore::schema(&uuid::text_schema(builder.schema()), columns);
    let canonical = digester.as_ref().map(|_| CanonicalRows::new(schema.clone())).transpose().map_err(|e| wrong(&e))?;
    let mut rows = 0_u64;
    for batch in builder.build().map_err(|e| wrong(&e))? {
        let batch = batch.map_err(|e| wrong(&e))?;
        rows += batch.num_rows() as u64;
        if let (Some(canonical), Some(digester)) = (&canonical, &mut digester) {
            let batch =
                uuid::as_text(&batch).and_then(|batch| restore::batch(&batch, &schema)).map_err(|e| wrong(&e))?;
            canonical.add(&batch, &mut digester.digest).map_err(|e| wrong(&e))?;
        }
    }
    if u64::try_from(stated).ok() != Some(rows) {
        return Err(RowsError::File(format!("its footer says {stated} rows, but it has {rows}")));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
