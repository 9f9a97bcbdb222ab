//! Some rows of a shard of text, read with readers that are not the ones that wrote it.

use std::fmt;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use csv_core::ReadRecordResult;
use serde::Serializer;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{RowError, SampleError};
use crate::audit::verify::{Budget, Dialect, Limited, MAX_RECORD_BYTES, TOO_LONG};
use crate::package::manifest::Manifest;
use crate::package::{Package, PackageFile, ReadKeys};
use crate::seal::{self, OpenError, PlainFile};

/// The text of a shard, without what lies around it.
pub(super) fn open_rows(
    package: &Package,
    shard: &PackageFile<'_>,
    keys: &ReadKeys,
) -> Result<Box<dyn BufRead>, SampleError> {
    let stored = package.open_file(shard)?.into_reader();
    let plain = seal::open(stored, shard.path, &keys.identities).map_err(|error| cannot_open(shard, error))?;
    Ok(Box::new(BufReader::new(plain)))
}

/// A Parquet shard, without age around it.
pub(super) fn plain_file(
    package: &Package,
    shard: &PackageFile<'_>,
    keys: &ReadKeys,
) -> Result<PlainFile, SampleError> {
    let stored = package.open_file(shard)?;
    PlainFile::open(stored, shard.path, &keys.identities).map_err(|error| cannot_open(shard, error))
}

fn cannot_open(shard: &PackageFile<'_>, error: OpenError) -> SampleError {
    let path = shard.path.to_owned();
    match error {
        OpenError::Read(source) => SampleError::Read { path, source },
        source => SampleError::WrongKey { path, source },
    }
}

/// Rows of NDJSON: lines, as they are.
pub(super) fn ndjson(mut input: impl BufRead, wanted: &[u64]) -> Result<Vec<Box<RawValue>>, RowError> {
    let mut found = Vec::with_capacity(wanted.len());
    let mut line = Vec::new();
    let mut row = 0;
    for &next in wanted {
        loop {
            line.clear();
            let length = input.by_ref().take(MAX_RECORD_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(found);
            }
            if length > MAX_RECORD_BYTES {
                return Err(too_long(row + 1));
            }
            row += 1;
            if row > next {
                break;
            }
        }
        let value = serde_json::from_slice(&line);
        found.push(value.map_err(|error| RowError::Contents(format!("has no JSON in row {row}: {error}")))?);
    }
    Ok(found)
}

/// Rows of a JSON array: its elements.
pub(super) fn json(input: impl BufRead, wanted: &[u64]) -> Result<Vec<Box<RawValue>>, RowError> {
    let budget = Budget::new();
    let mut reader = serde_json::Deserializer::from_reader(Limited::new(input, budget.clone()));
    reader.deserialize_seq(Elements { wanted, budget: budget.clone() }).map_err(|error| {
        if let Some(row) = budget.exceeded() {
            too_long(row)
        } else if error.is_io() {
            RowError::Read(error.into())
        } else {
            RowError::Contents(format!("is not a JSON array: {error}"))
        }
    })
}

fn too_long(row: u64) -> RowError {
    RowError::Contents(format!("has a row {row} that {TOO_LONG}"))
}

struct Elements<'a> {
    wanted: &'a [u64],
    budget: Rc<Budget>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<Box<RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::with_capacity(self.wanted.len());
        let mut wanted = self.wanted.iter().peekable();
        for row in 0.. {
            self.budget.next_row();
            if wanted.next_if_eq(&&row).is_none() {
                if rows.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
            } else if let Some(value) = rows.next_element::<Box<RawValue>>()? {
                found.push(on_one_line(value));
            } else {
                break;
            }
        }
        Ok(found)
    }
}

/// Line ends between tokens become spaces, so that a sampled row is one line. Inside strings there are none (RFC 8259, 7).
fn on_one_line(value: Box<RawValue>) -> Box<RawValue> {
    if !value.get().contains(['\n', '\r']) {
        return value;
    }
    RawValue::from_string(value.get().replace(['\n', '\r'], " ")).unwrap_or(value)
}

/// Rows of CSV: cells by column, as text.
pub(super) fn csv(
    input: Box<dyn BufRead>,
    wanted: &[u64],
    manifest: &Manifest,
) -> Result<Vec<Box<RawValue>>, RowError> {
    let dialect = Dialect::from_spec(&manifest.spec.resolved)
        .map_err(|error| RowError::Contents(format!("is in a dialect that the manifest does not give: {error}")))?;
    let columns: Vec<&str> = manifest.columns.iter().map(|column| column.name.as_str()).collect();
    let mut records = Records::new(input, dialect.delimiter, columns.len())?;
    if dialect.header {
        records.next(false)?;
    }
    let mut found = Vec::with_capacity(wanted.len());
    let mut row = 0;
    for &next in wanted {
        while row < next {
            if records.next(false)?.is_none() {
                return Ok(found);
            }
            row += 1;
        }
        let Some(cells) = records.next(true)? else { return Ok(found) };
        row += 1;
        if cells.len() != columns.len() {
            let why = format!("has {} fields in row {row}, not {}", cells.len(), columns.len());
            return Err(RowError::Contents(why));
        }
        found.push(object(columns.iter().zip(cells))?);
    }
    Ok(found)
}

/// A JSON object with its keys in this order.
fn object<'a>(cells: impl Iterator<Item = (&'a &'a str, String)>) -> Result<Box<RawValue>, RowError> {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut text);
    // These are texts, written to memory, so that nothing can fail.
    let wrong = |error: serde_json::Error| RowError::Contents(format!("has cells without a form in JSON: {error}"));
    writer.collect_map(cells).map_err(wrong)?;
    serde_json::from_slice(&text).map_err(wrong)
}

/// Records of CSV, one after another.
struct Records {
    input: Box<dyn BufRead>,
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Cells that a record may have.
    columns: usize,
    /// Records given or passed over, the header too.
    record: u64,
}

impl Records {
    fn new(mut input: Box<dyn BufRead>, delimiter: u8, columns: usize) -> Result<Self, RowError> {
        // Strip the byte order mark here: csv-core recognizes it only if its first buffer holds all 3 bytes.
        let mut start = Vec::new();
        input.by_ref().take(3).read_to_end(&mut start)?;
        if start == b"\xef\xbb\xbf" {
            start.clear();
        }
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        let input = Box::new(Read::chain(Cursor::new(start), input));
        Ok(Self { input, reader, text: vec![0; 64 * 1024], ends: vec![0; 1024], columns, record: 0 })
    }

    /// The cells of the next record, or none of them where it is only passed over; `None` after the last.
    fn next(&mut self, is_kept: bool) -> Result<Option<Vec<String>>, RowError> {
        let (mut record, mut record_ends) = (Vec::new(), Vec::new());
        self.record += 1;
        loop {
            let block = self.input.fill_buf()?;
            let (result, read, written, ended) = self.reader.read_record(block, &mut self.text, &mut self.ends);
            self.input.consume(read);
            if is_kept {
                record.extend_from_slice(self.text.get(..written).unwrap_or_default());
                record_ends.extend_from_slice(self.ends.get(..ended).unwrap_or_default());
                if record.len() > MAX_RECORD_BYTES {
                    return Err(RowError::Contents(format!("has a record {} that {TOO_LONG}", self.record)));
                }
                // Fail early: a record of delimiters only can have millions of fields.
                if record_ends.len() > self.columns {
                    let why = format!("has more than {} fields in its record {}", self.columns, self.record);
                    return Err(RowError::Contents(why));
                }
            }
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
        let starts = [0].into_iter().chain(record_ends.iter().copied());
        let cells = starts.zip(&record_ends).map(|(start, end)| {
            String::from_utf8(record.get(start..*end).unwrap_or_default().to_vec())
                .map_err(|_| RowError::Contents("has a cell that is not UTF-8".to_owned()))
        });
        cells.collect::<Result<_, _>>().map(Some)
    }
}
