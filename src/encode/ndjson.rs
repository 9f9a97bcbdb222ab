//! NDJSON: one JSON object (RFC 8259) a line, `\n` after each, the last one included.
//!
//! Every row has every column, nulls as `null`. No value holds a raw line end, so that a line is always a row.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::block::Block;
use super::text::{Keys, columns, supported, write_object};
use super::{EncodeError, ShardEncoder, check_rows};

/// Writes one NDJSON shard.
pub(super) struct NdjsonEncoder<W> {
    schema: SchemaRef,
    keys: Keys,
    block: Block<W>,
}

impl<W: Write> NdjsonEncoder<W> {
    /// Writes nothing yet: an empty shard has no bytes.
    pub(super) fn new(schema: SchemaRef, out: W) -> Result<Self, EncodeError> {
        supported(&schema, "ndjson")?;
        Ok(Self { keys: Keys::new(schema.fields()), schema, block: Block::new(out) })
    }
}

impl<W: Write + Send> ShardEncoder<W> for NdjsonEncoder<W> {
    fn append(&mut self, batch: &RecordBatch, rows: &[u32]) -> Result<(), EncodeError> {
        check_rows(&self.schema, batch, rows)?;
        let mut columns = columns(&self.schema, batch, "ndjson")?;
        for &row in rows {
            write_object(&self.keys, &mut columns, row as usize, &mut self.block.bytes);
            self.block.bytes.push(b'\n');
            self.block.row_ended()?;
        }
        Ok(())
    }

    fn encoded_bytes(&self) -> u64 {
        self.block.len()
    }

    fn finish(self: Box<Self>) -> Result<W, EncodeError> {
        Ok(self.block.finish()?)
    }
}
