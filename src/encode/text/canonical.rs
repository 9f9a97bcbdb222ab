//! The text of a value by itself: what its CSV cell holds, without quotes and whatever else the dialect adds.

use arrow::array::Array;
use arrow::datatypes::Field;

use super::column::{Cells, Column};

/// Texts of one column.
pub struct CellTexts<'a>(Column<'a>);

impl<'a> CellTexts<'a> {
    /// `None` for a type that has no text.
    pub fn new(field: &Field, array: &'a dyn Array) -> Option<Self> {
        Column::new(field, array).map(Self)
    }

    /// Appends the text of a value; of a null, none.
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
