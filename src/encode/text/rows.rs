//! Encodes rows of a batch in one of the text formats, each row independently.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::block::{Block, Frame, Leads};
use super::cell::{Canonical, Dialect};
use super::column::{Column, columns, supported};
#[cfg(test)]
use super::object::write_object;
use super::object::{Keys, open_objects};
use super::slab::Lead;
use super::style::{Json, Style};
use crate::encode::EncodeError;
use crate::job::{Absent, CsvFormat};

/// Encodes rows as text. Stateless, so many threads can share it.
pub(in crate::encode) struct TextRows {
    schema: SchemaRef,
    frame: Frame,
    layout: Layout,
}

enum Layout {
    Csv(Dialect),
    /// One object per row.
    Objects {
        format: &'static str,
        absent: Absent,
    },
}

impl TextRows {
    /// Records of CSV, each with its line end.
    pub(in crate::encode) fn csv(format: &CsvFormat, schema: SchemaRef) -> Result<Self, EncodeError> {
        format.check()?;
        let dialect = Dialect::new(format, schema.fields().len() == 1);
        Self::records(dialect, schema)
    }

    /// Canonical records for digests. `unescapes_formulas`: the dialect of the shards escapes formulas.
    pub(in crate::encode) fn canonical(schema: SchemaRef, unescapes_formulas: bool) -> Result<Self, EncodeError> {
        let dialect = Dialect::canonical(Canonical { unescapes_formulas }, schema.fields().len() == 1);
        Self::records(dialect, schema)
    }

    fn records(dialect: Dialect, schema: SchemaRef) -> Result<Self, EncodeError> {
        supported(&schema, "csv")?;
        let leads = |i: usize| {
            let delimiter = if i == 0 { vec![] } else { vec![dialect.delimiter()] };
            let mut null = delimiter.clone();
            dialect.null(&mut null);
            Leads { bare: Lead::new(&delimiter), text: Lead::new(&delimiter), null: Lead::new(&null) }
        };
        let columns = (0..schema.fields().len()).map(leads).collect();
        let frame = Frame { start: Lead::new(b""), columns, end: Lead::new(b"\n") };
        Ok(Self { schema, frame, layout: Layout::Csv(dialect) })
    }

    /// Objects on one line each.
    pub(in crate::encode) fn ndjson(schema: SchemaRef, absent: Absent) -> Result<Self, EncodeError> {
        Self::objects(schema, b"", b"\n", "ndjson", absent)
    }

    /// Objects, each after a comma and a line end.
    pub(in crate::encode) fn json(schema: SchemaRef) -> Result<Self, EncodeError> {
        Self::objects(schema, b",\n", b"", "json", Absent::Fill)
    }

    /// Objects on one line each, between `before` and `after`.
    fn objects(
        schema: SchemaRef,
        before: &'static [u8],
        after: &'static [u8],
        format: &'static str,
        absent: Absent,
    ) -> Result<Self, EncodeError> {
        supported(&schema, format)?;
        let null = |key: &[u8]| match absent {
            Absent::Fill => [key, b"null"].concat(),
            Absent::Omit => Vec::new(),
        };
        let leads = |key: &[u8]| Leads {
            bare: Lead::new(key),
            text: Lead::new(&[key, b"\""].concat()),
            null: Lead::new(&null(key)),
        };
        let keys = Keys::new(schema.fields(), absent);
        let columns: Vec<Leads> = keys.iter().map(leads).collect();
        // The first key includes the bracket.
        let bracket: &[u8] = if columns.is_empty() { b"{" } else { b"" };
        let start = Lead::new(&[before, bracket].concat());
        let frame = Frame { start, columns, end: Lead::new(&[b"}", after].concat()) };
        Ok(Self { schema, frame, layout: Layout::Objects { format, absent } })
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

    /// Appends some rows of a batch to `out`, and their ends in `out` to `ends`. [`check_rows`](crate::encode::check_rows)
    /// must have accepted the batch.
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
                let mut columns = columns(&self.schema, batch, "csv", Absent::Fill)?;
                self.blocks(dialect, &mut columns, rows, out, ends);
            }
            Layout::Objects { format, absent } => {
                let mut columns = columns(&self.schema, batch, format, *absent)?;
                let (start, before) = (out.len(), ends.len());
                self.blocks(&Json { absent: *absent }, &mut columns, rows, out, ends);
                if *absent == Absent::Omit && !columns.is_empty() {
                    open_objects(start, out, ends.get_mut(before..).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// [`TextRows::append`] cell by cell: a slow reference implementation for tests.
    #[cfg(test)]
    pub(in crate::encode) fn append_plainly(&self, batch: &RecordBatch, rows: &[u32], out: &mut Vec<u8>) {
        let absent = match self.layout {
            Layout::Csv(_) => Absent::Fill,
            Layout::Objects { absent, .. } => absent,
        };
        let mut columns = columns(&self.schema, batch, "text", absent).unwrap();
        let mut scratch = Vec::new();
        for &row in rows {
            if absent == Absent::Omit {
                write_object(&Keys::new(self.schema.fields(), absent), &mut columns, row as usize, out);
                out.push(b'\n');
                continue;
            }
            self.frame.start.append(out);
            for (i, (column, leads)) in columns.iter_mut().zip(&self.frame.columns).enumerate() {
                match &self.layout {
                    Layout::Csv(dialect) => {
                        if i > 0 {
                            out.push(dialect.delimiter());
                        }
                        column.csv(row as usize, dialect, &mut scratch, out);
                    }
                    Layout::Objects { .. } => {
                        leads.bare.append(out);
                        column.json(row as usize, out);
                    }
                }
            }
            self.frame.end.append(out);
        }
    }

    fn blocks<S: Style>(
        &self,
        style: &S,
        columns: &mut [Column<'_>],
        rows: &[u32],
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        let mut block = Block::new(style, columns);
        let mut rest = rows;
        while !rest.is_empty() {
            let done = block.append(style, &self.frame, columns, rest, out, ends);
            rest = &rest[done..];
        }
    }
}
