//! Reads shards back with independent readers, counts their rows and digests them.
//!
//! The readers of text share no code with the writers: `csv-core` for CSV and `serde_json` for JSON. The `parquet` crate, which
//! also writes Parquet shards, decodes every page. Files are streamed; a record larger than [`MAX_RECORD_BYTES`] and a CSV
//! record with more fields than columns are refused.

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
use self::limit::HEADER_TOO_LONG;
pub(crate) use self::limit::{Budget, Limited, MAX_RECORD_BYTES, TOO_LONG};
pub(crate) use self::pages::Pages;
use super::VerifyOptions;
use crate::encode::{CanonicalRows, ParquetKeys};
use crate::export_format::{ExportCompression, ExportFormat};
use crate::job::{CsvFormat, is_formula};
use crate::logical::uuid;
use crate::package::manifest::{Column, Manifest, ResolvedError, ResolvedSpec};
use crate::seal::{self, AGE_EXTENSION, OpenError, PlainFile};
use crate::store::Stored;

/// Format of a file's content, inside compression and encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentFormat {
    Csv,
    Ndjson,
    Json,
    Parquet,
    /// A rejects file with an unexpected extension.
    Unknown,
}

impl ContentFormat {
    pub(super) fn of_shard(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Ndjson => Self::Ndjson,
            ExportFormat::Json => Self::Json,
            ExportFormat::Parquet => Self::Parquet,
        }
    }

    /// Rejects files are always NDJSON, in any export format; any other extension is unknown.
    pub(super) fn of_rejects(path: &str) -> Self {
        let path = path.strip_suffix(AGE_EXTENSION).unwrap_or(path);
        let (plain, _) = ExportCompression::split_name(path);
        match plain.rsplit_once('.') {
            Some((_, extension)) if extension == ExportFormat::Ndjson.as_str() => Self::Ndjson,
            _ => Self::Unknown,
        }
    }
}

/// A file that does not match its format. The message includes the cause, because a finding has no error source.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    #[error("cannot be read back: {0}")]
    Read(#[from] io::Error),
    #[error("row {row} {why}")]
    Row { row: u64, why: String },
    #[error("{0}")]
    File(String),
}

/// Counts the rows of a file and, if `digester` is given, adds each row to it.
pub(super) fn count(
    name: &str,
    file: Stored,
    format: ContentFormat,
    manifest: &Manifest,
    options: &VerifyOptions,
    digester: Option<&mut Digester>,
) -> Result<u64, RowsError> {
    let columns: Vec<&str> = manifest.columns.iter().map(|column| column.name.as_str()).collect();
    let cannot_open = |error: OpenError| RowsError::File(format!("cannot be read back: {error}"));
    let open = |file: Stored| -> Result<Box<dyn BufRead>, RowsError> {
        let rows = seal::open(file.into_reader(), name, &options.keys.identities).map_err(cannot_open)?;
        Ok(Box::new(BufReader::new(rows)))
    };
    match format {
        ContentFormat::Csv => {
            let dialect = Dialect::from_spec(&manifest.spec.resolved).map_err(|error| {
                RowsError::File(format!("is in a dialect that the manifest does not give: {error}"))
            })?;
            csv(open(file)?, &dialect, &columns, digester)
        }
        ContentFormat::Ndjson => ndjson(open(file)?, digester),
        ContentFormat::Json => json(open(file)?, digester),
        ContentFormat::Parquet => {
            let plain = PlainFile::open(file, name, &options.keys.identities).map_err(cannot_open)?;
            parquet(plain, &manifest.columns, options.keys.parquet.as_ref(), digester)
        }
        ContentFormat::Unknown => Err(RowsError::File("is of an unknown format".to_owned())),
    }
}

/// The CSV options that a reader needs.
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) header: bool,
    escape_formulas: bool,
    null_text: String,
}

impl Dialect {
    /// Reads the options from `format` of the resolved spec, which is `csv` or `{csv: {…}}`.
    pub(crate) fn from_spec(resolved: &ResolvedSpec) -> Result<Self, ResolvedError> {
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
    // Strip the byte order mark here: csv-core recognizes it only if its first buffer holds all 3 bytes.
    let mut start = Vec::new();
    input.by_ref().take(3).read_to_end(&mut start)?;
    if start == b"\xef\xbb\xbf" {
        start.clear();
    }
    let mut input = Read::chain(Cursor::new(start), input);
    if columns.is_empty() {
        // Without columns, shards are empty: they do not even have a header.
        let is_empty = input.fill_buf()?.is_empty();
        let text = || RowsError::File("has text, but the manifest lists no columns".to_owned());
        return is_empty.then_some(0).ok_or_else(text);
    }
    let mut reader = csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).build();
    let mut field_buffer = vec![0; 64 * 1024];
    let (mut records, mut fields, mut record_bytes) = (0_u64, 0_usize, 0_usize);
    let (mut header, mut cell) = (Vec::new(), Vec::new());
    // First byte of the field, to tell `""` (text) from nothing (null): csv-core does not report quotes.
    let mut first_byte = None;
    // One iteration per piece of a field: the buffers may split fields.
    loop {
        let block = input.fill_buf()?;
        if first_byte.is_none() {
            // Before the first field of a record, csv-core skips line ends. For an empty field this is its delimiter.
            let skips_line_ends = fields == 0;
            let is_skipped = |byte: &u8| skips_line_ends && matches!(byte, b'\r' | b'\n');
            first_byte = block.iter().find(|byte| !is_skipped(byte)).copied();
        }
        let (result, read, written) = reader.read_field(block, &mut field_buffer);
        input.consume(read);
        let is_header = records == 0 && dialect.header;
        // 1-based row number: the header counts as record 0.
        let row = records + u64::from(!dialect.header);
        record_bytes += written;
        if record_bytes > MAX_RECORD_BYTES {
            return Err(match is_header {
                true => RowsError::File(HEADER_TOO_LONG.to_owned()),
                false => RowsError::Row { row, why: TOO_LONG.to_owned() },
            });
        }
        // The text is needed only for the header and the digest; otherwise only fields are counted.
        if is_header || digester.is_some() {
            cell.extend_from_slice(field_buffer.get(..written).unwrap_or_default());
        }
        let record_end = match result {
            ReadFieldResult::Field { record_end } => record_end,
            ReadFieldResult::End => break,
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => continue,
        };
        if fields >= columns.len() && !is_header {
            // Fail early: a record of delimiters only can have millions of fields.
            return Err(RowsError::Row { row, why: format!("has more than {} fields", columns.len()) });
        }
        if is_header {
            // Keep one more than expected, which is enough for `check_header` to fail.
            if header.len() <= columns.len() {
                header.push(cell.clone());
            }
        } else if let Some(digester) = &mut digester {
            let quoted = first_byte == Some(b'"');
            digester.csv_cell(&cell, quoted, dialect).map_err(|bad| RowsError::Row { row, why: bad.to_string() })?;
        }
        cell.clear();
        first_byte = None;
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
    let expected = |name: &&str| {
        let prefix = if escape_formulas && is_formula(name.as_bytes()) { "'" } else { "" };
        format!("{prefix}{name}").into_bytes()
    };
    if columns.iter().map(expected).eq(names.iter().map(Vec::as_slice)) {
        Ok(())
    } else {
        Err(RowsError::File("has a header that differs from the columns in the manifest".to_owned()))
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
        // The length includes the newline.
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
                serde_json::from_str::<AnyObject>(text).map_err(|e| wrong(format!("is not a JSON object: {e}")))?;
            }
        }
    }
}

fn json(input: Box<dyn BufRead>, digester: Option<&mut Digester>) -> Result<u64, RowsError> {
    let budget = Budget::new();
    let mut reader = serde_json::Deserializer::from_reader(Limited::new(input, budget.clone()));
    let wrong = |error: serde_json::Error| match budget.exceeded() {
        Some(row) => RowsError::Row { row, why: TOO_LONG.to_owned() },
        None => RowsError::File(format!("cannot be read back as a JSON array of objects: {error}")),
    };
    let rows = reader.deserialize_seq(RowsVisitor { digester, budget: budget.clone() }).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(rows)
}

/// Visits a JSON array: counts its objects and digests each, without keeping them.
struct RowsVisitor<'a> {
    digester: Option<&'a mut Digester>,
    budget: Rc<Budget>,
}

impl<'de> Visitor<'de> for RowsVisitor<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<u64, A::Error> {
        let mut count = 0;
        // The budget counts the row that is being read.
        self.budget.next_row();
        let Some(digester) = self.digester else {
            while rows.next_element::<AnyObject>()?.is_some() {
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

/// A JSON object whose fields are parsed and discarded.
struct AnyObject;

impl<'de> serde::Deserialize<'de> for AnyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for AnyObject {
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
    // The `parquet` crate may panic on corrupt files.
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
        return Err(RowsError::File("has columns that differ from those in the manifest".to_owned()));
    }
    let footer_rows = builder.metadata().file_metadata().num_rows();
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
    if u64::try_from(footer_rows).ok() != Some(rows) {
        return Err(RowsError::File(format!("has {rows} rows, but its footer says {footer_rows}")));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
