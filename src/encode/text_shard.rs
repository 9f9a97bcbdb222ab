//! Shards of the text formats: what stands before the first row, the rows, what stands after the last.
//!
//! | format | head | row | between rows | tail |
//! |---|---|---|---|---|
//! | CSV (RFC 4180) | byte order mark and header, as the dialect has them | a record | | |
//! | NDJSON | | an object (RFC 8259) | | |
//! | JSON | `[` | a line end and an object | `,` | `]` on a line of its own; without rows `[]` |
//!
//! Every line ends with `\n`, the last one included. RFC 4180 ends lines with CRLF; `\n` is what common tools write and
//! all tools read, and it is smaller. No value of NDJSON holds a raw line end, so that a line is always a row.
//!
//! In CSV, cells are quoted only where they must be (`text::cell`). A null is `null_text`, by default nothing,
//! and the empty string is `""`, as are empty bytes, so the two differ for readers that look. In a shard of one column an
//! empty line would stand for the null, and most readers skip empty lines; a lost row is worse than a null that looks
//! like an empty string, so there a null is `""` too, unless `null_text` says otherwise.

use std::io::{self, Write};
use std::ops::Range;

use arrow::datatypes::SchemaRef;

use super::EncodeError;
use super::text::TextRows;
use crate::job::CsvFormat;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// When collected bytes are passed on. Small enough to stay in a core's second-level cache between encoder, digest
/// and compressor, and large enough that the calls in between do not count.
const BLOCK_BYTES: usize = 256 * 1024;

/// What the shards of a job look like around their rows.
pub(super) struct TextFormat {
    pub(super) rows: TextRows,
    head: Vec<u8>,
    /// Bytes at the start of a row that the first one of a shard does not have.
    between: usize,
    tail: &'static [u8],
    empty_tail: &'static [u8],
}

impl TextFormat {
    pub(super) fn csv(format: &CsvFormat, schema: SchemaRef) -> Result<Self, EncodeError> {
        let empty = schema.fields().is_empty();
        let rows = TextRows::csv(format, schema)?;
        let mut head = if format.bom { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
        if format.header && !empty {
            head.extend(rows.header().unwrap_or_default());
        }
        Ok(Self { rows, head, between: 0, tail: b"", empty_tail: b"" })
    }

    pub(super) fn ndjson(schema: SchemaRef) -> Result<Self, EncodeError> {
        let rows = TextRows::objects(schema, b"", b"\n", "ndjson")?;
        Ok(Self { rows, head: Vec::new(), between: 0, tail: b"", empty_tail: b"" })
    }

    pub(super) fn json(schema: SchemaRef) -> Result<Self, EncodeError> {
        let rows = TextRows::objects(schema, b",\n", b"", "json")?;
        Ok(Self { rows, head: b"[".to_vec(), between: 1, tail: b"\n]\n", empty_tail: b"]\n" })
    }
}

/// Rows as text.
#[derive(Debug, Default)]
pub(super) struct TextBlock {
    pub(super) bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    pub(super) ends: Vec<usize>,
}

impl TextBlock {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    pub(super) fn rows(&self, rows: &Range<usize>) -> &[u8] {
        let before = |row: usize| row.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        self.bytes.get(before(rows.start)..before(rows.end)).unwrap_or_default()
    }
}

/// A shard being written.
pub(super) struct TextShard<W> {
    out: W,
    /// What is not passed on yet. Grows as needed: a small shard among thousands costs what it holds.
    block: Vec<u8>,
    bytes: u64,
    /// See [`TextFormat`].
    skip: usize,
    tail: &'static [u8],
}

impl<W: Write> TextShard<W> {
    pub(super) fn new(format: &TextFormat, out: W) -> Self {
        Self {
            out,
            block: format.head.clone(),
            bytes: format.head.len() as u64,
            skip: format.between,
            tail: format.empty_tail,
        }
    }

    pub(super) fn append(&mut self, format: &TextFormat, from: &TextBlock, rows: Range<usize>) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let bytes = from.rows(&rows).get(std::mem::take(&mut self.skip)..).unwrap_or_default();
        self.tail = format.tail;
        self.bytes += bytes.len() as u64;
        if self.block.len() + bytes.len() < BLOCK_BYTES {
            self.block.extend_from_slice(bytes);
            return Ok(());
        }
        self.pass_on()?;
        if bytes.len() < BLOCK_BYTES {
            self.block.extend_from_slice(bytes);
            return Ok(());
        }
        self.out.write_all(bytes)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    pub(super) fn encoded_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.block.extend_from_slice(self.tail);
        self.pass_on()?;
        Ok(self.out)
    }
}
