//! A JSON array (RFC 8259) of objects, one object a line.
//!
//! `[`, a line for each row with `,` between them, `]`; without rows `[]`. The objects are those of NDJSON.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::block::Block;
use super::text::{Keys, columns, supported, write_object};
use super::{EncodeError, ShardEncoder, check_rows};

/// Writes one JSON shard.
pub(super) struct JsonEncoder<W> {
    schema: SchemaRef,
    keys: Keys,
    block: Block<W>,
    empty: bool,
}

impl<W: Write> JsonEncoder<W> {
    /// Writes the opening bracket.
    pub(super) fn new(schema: SchemaRef, out: W) -> Result<Self, EncodeError> {
        supported(&schema, "json")?;
        let mut block = Block::new(out);
        block.bytes.push(b'[');
        Ok(Self { keys: Keys::new(schema.fields()), schema, block, empty: true })
    }
}

impl<W: Write + Send> ShardEncoder<W> for JsonEncoder<W> {
    fn append(&mut self, batch: &RecordBatch, rows: &[u32]) -> Result<(), EncodeError> {
        check_rows(&self.schema, batch, rows)?;
        let mut columns = columns(&self.schema, batch, "json")?;
        for &row in rows {
            let before: &[u8] = if self.empty { b"\n" } else { b",\n" };
            self.empty = false;
            self.block.bytes.extend_from_slice(before);
            write_object(&self.keys, &mut columns, row as usize, &mut self.block.bytes);
            self.block.row_ended()?;
        }
        Ok(())
    }

    fn encoded_bytes(&self) -> u64 {
        self.block.len()
    }

    fn finish(mut self: Box<Self>) -> Result<W, EncodeError> {
        let end: &[u8] = if self.empty { b"]\n" } else { b"\n]\n" };
        self.block.bytes.extend_from_slice(end);
        Ok(self.block.finish()?)
    }
}
