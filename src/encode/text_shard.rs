//! Shards of the text formats: the bytes before the first row, the rows, and the bytes after the last row.
//!
//! | format | head | row | between rows | tail |
//! |---|---|---|---|---|
//! | CSV (RFC 4180) | byte order mark and header, according to the dialect | a record | | |
//! | NDJSON | | an object (RFC 8259) | | |
//! | JSON | `[` | a line end and an object | `,` | `]` on a line of its own; without rows `[]` |
//!
//! Every line ends with `\n`, including the last one. RFC 4180 ends lines with CRLF, but `\n` is what common tools write and
//! all tools read, and it is smaller. No NDJSON value contains a raw line end, so a line is always a row.
//!
//! In CSV, cells are quoted only if necessary (`text::cell`). A null is `null_text`, by default an empty cell. The empty
//! string is `""`, as are empty bytes, so readers can distinguish it from null. In a shard of one column, a null would be an
//! empty line, which most readers skip. A lost row is worse than a null that looks like an empty string, so there, a null is
//! `""`, too, unless `null_text` is set.

use std::io::{self, Write};
use std::ops::Range;

use arrow::datatypes::SchemaRef;

use super::EncodeError;
use super::text::TextRows;
use crate::job::{Absent, CsvFormat};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Bytes collected before they are written. Small enough to stay in a core's second-level cache between encoder, digest and
/// compressor, and large enough that the cost of calls does not matter.
const BLOCK_BYTES: usize = 256 * 1024;

/// The bytes around the rows of a job's shards.
pub(super) struct TextFormat {
    pub(super) rows: TextRows,
    head: Vec<u8>,
    /// Bytes at the start of each encoded row that are dropped from the first row of a shard.
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

    pub(super) fn ndjson(schema: SchemaRef, absent: Absent) -> Result<Self, EncodeError> {
        let rows = TextRows::ndjson(schema, absent)?;
        Ok(Self { rows, head: Vec::new(), between: 0, tail: b"", empty_tail: b"" })
    }

    pub(super) fn json(schema: SchemaRef) -> Result<Self, EncodeError> {
        let rows = TextRows::json(schema)?;
        Ok(Self { rows, head: b"[".to_vec(), between: 1, tail: b"\n]\n", empty_tail: b"]\n" })
    }
}

/// Rows encoded as text.
#[derive(Debug, Default)]
pub(super) struct TextBlock {
    pub(super) bytes: Vec<u8>,
    /// End of each row in `bytes`.
    pub(super) ends: Vec<usize>,
}

impl TextBlock {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes of memory in use.
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
    /// Bytes not yet written. Grows as needed, because most of thousands of shards may be small.
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
