//! Rows of a batch as the bytes of one of the text formats, each row by itself.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::cell::Dialect;
use super::column::{columns, supported};
use super::object::{Keys, write_object};
use crate::encode::EncodeError;
use crate::job::CsvFormat;

/// Turns rows into text. Holds nothing of any row, so that many threads can use it at once.
pub(in crate::encode) struct TextRows {
    schema: SchemaRef,
    layout: Layout,
}

enum Layout {
    Csv(Dialect),
    /// An object a row, between these bytes.
    Objects {
        keys: Keys,
        before: &'static [u8],
        after: &'static [u8],
        format: &'static str,
    },
}

impl TextRows {
    /// Records of CSV, each with its line end.
    pub(in crate::encode) fn csv(format: &CsvFormat, schema: SchemaRef) -> Result<Self, EncodeError> {
        format.check()?;
        supported(&schema, "csv")?;
        let dialect = Dialect::new(format, schema.fields().len() == 1);
        Ok(Self { schema, layout: Layout::Csv(dialect) })
    }

    /// Objects on one line each, between `before` and `after`.
    pub(in crate::encode) fn objects(
        schema: SchemaRef,
        before: &'static [u8],
        after: &'static [u8],
        format: &'static str,
    ) -> Result<Self, EncodeError> {
        supported(&schema, format)?;
        let keys = Keys::new(schema.fields());
        Ok(Self { schema, layout: Layout::Objects { keys, before, after, format } })
    }

    /// The names of the columns as a record; `None` for a format without a header.
    pub(in crate::encode) fn header(&self) -> Option<Vec<u8>> {
        let Layout::Csv(dialect) = &self.layout else { return None };
        let mut out = Vec::new();
        for (i, field) in self.schema.fields().iter().enumerate() {
            if i > 0 {
                out.push(dialect.delimiter());
            }
            dialect.cell(field.name().as_bytes(), &mut out);
        }
        out.push(b'\n');
        Some(out)
    }

    /// Appends rows `rows` of a batch that [`check_rows`](crate::encode::check_rows) has let pass to `out`, and where
    /// each row ends in `out` to `ends`.
    pub(in crate::encode) fn append(
        &self,
        batch: &RecordBatch,
        rows: &[u32],
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), EncodeError> {
        ends.reserve(rows.len());
        match &self.layout {
            Layout::Csv(dialect) => {
                let mut columns = columns(&self.schema, batch, "csv")?;
                let mut scratch = Vec::new();
                let delimiter = dialect.delimiter();
                for &row in rows {
                    for (i, column) in columns.iter_mut().enumerate() {
                        if i > 0 {
                            out.push(delimiter);
                        }
                        column.csv(row as usize, dialect, &mut scratch, out);
                    }
                    out.push(b'\n');
                    ends.push(out.len());
                }
            }
            Layout::Objects { keys, before, after, format } => {
                let mut columns = columns(&self.schema, batch, format)?;
                for &row in rows {
                    out.extend_from_slice(before);
                    write_object(keys, &mut columns, row as usize, out);
                    out.extend_from_slice(after);
                    ends.push(out.len());
                }
            }
        }
        Ok(())
    }
}
