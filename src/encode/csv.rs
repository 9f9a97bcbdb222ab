//! CSV as RFC 4180 has it, with `\n` line ends.
//!
//! RFC 4180 ends lines with CRLF; `\n` is what common tools write and all tools read, and it is smaller. Cells are
//! quoted only where they must be ([`cell`](super::text::cell)). A null is `null_text`, by default nothing, and the
//! empty string is `""`, as are empty bytes, so the two differ for readers that look. In a shard of one column an empty line would stand
//! for the null, and most readers skip empty lines; a lost row is worse than a null that looks like an empty string,
//! so there a null is `""` too, unless `null_text` says otherwise.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::block::Block;
use super::text::{Column, Dialect, columns, supported};
use super::{EncodeError, ShardEncoder, check_rows};
use crate::job::CsvFormat;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Writes one CSV shard.
pub(super) struct CsvEncoder<W> {
    schema: SchemaRef,
    dialect: Dialect,
    block: Block<W>,
    /// Where nested values are written before they are quoted.
    scratch: Vec<u8>,
}

impl<W: Write> CsvEncoder<W> {
    /// Writes byte order mark and header, as the dialect has them.
    pub(super) fn new(format: &CsvFormat, schema: SchemaRef, out: W) -> Result<Self, EncodeError> {
        format.check()?;
        supported(&schema, "csv")?;
        let dialect = Dialect::new(format, schema.fields().len() == 1);
        let mut block = Block::new(out);
        if format.bom {
            block.bytes.extend_from_slice(BYTE_ORDER_MARK);
        }
        if format.header && !schema.fields().is_empty() {
            for (i, field) in schema.fields().iter().enumerate() {
                if i > 0 {
                    block.bytes.push(format.delimiter);
                }
                dialect.cell(field.name().as_bytes(), &mut block.bytes);
            }
            block.bytes.push(b'\n');
        }
        Ok(Self { schema, dialect, block, scratch: Vec::new() })
    }
}

impl<W: Write + Send> ShardEncoder<W> for CsvEncoder<W> {
    fn append(&mut self, batch: &RecordBatch, rows: &[u32]) -> Result<(), EncodeError> {
        check_rows(&self.schema, batch, rows)?;
        let mut columns: Vec<Column<'_>> = columns(&self.schema, batch, "csv")?;
        let delimiter = self.dialect.delimiter();
        for &row in rows {
            let out = &mut self.block.bytes;
            for (i, column) in columns.iter_mut().enumerate() {
                if i > 0 {
                    out.push(delimiter);
                }
                column.csv(row as usize, &self.dialect, &mut self.scratch, out);
            }
            out.push(b'\n');
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
