//! The text of a value alone: its CSV cell without quotes and other additions of the dialect.

use arrow::array::Array;
use arrow::datatypes::Field;

use super::column::{Cells, Column};
use crate::job::Absent;

/// The texts of one column.
pub struct CellTexts<'a>(Column<'a>);

impl<'a> CellTexts<'a> {
    /// `None` for a type without a text form.
    pub fn new(field: &Field, array: &'a dyn Array) -> Option<Self> {
        Column::new(field, array, Absent::Fill).map(Self)
    }

    /// Appends the text of a value; nothing for a null.
    pub fn append(&mut self, row: usize, out: &mut Vec<u8>) {
        self.0.text(row, out);
    }
}

impl Column<'_> {
    fn text(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match &mut self.cells {
            Cells::Null => {}
            Cells::Bare(bare) => bare.write(row, out),
            Cells::Float(float) => float.write(row, out),
            Cells::Stamp(stamp) => stamp.write(row, out),
            Cells::Text(text) | Cells::Embedded(text) | Cells::Number(text) => {
                out.extend_from_slice(text.get(row).as_bytes());
            }
            Cells::Dictionary(keys, values) => values.text(keys.get(row), out),
            Cells::List(..) | Cells::Map(..) | Cells::Struct(..) => self.json(row, out),
        }
    }
}
