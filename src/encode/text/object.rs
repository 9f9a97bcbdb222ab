//! JSON objects with known keys.

use arrow::datatypes::Fields;

use super::column::Column;
use super::escape::json_string;

/// The keys of an object with the punctuation around them: `{"a":`, `,"b":` …
pub(super) struct Keys(Vec<Box<[u8]>>);

impl Keys {
    pub(super) fn new(fields: &Fields) -> Self {
        let key = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            json_string(field.name(), &mut key);
            key.push(b':');
            key.into_boxed_slice()
        };
        Self(fields.iter().enumerate().map(key).collect())
    }
}

impl Keys {
    /// Each key with the bytes before its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// Appends one row as an object.
#[inline]
pub(super) fn write_object(keys: &Keys, columns: &mut [Column<'_>], row: usize, out: &mut Vec<u8>) {
    if keys.0.is_empty() {
        out.push(b'{');
    }
    for (key, column) in keys.0.iter().zip(columns) {
        out.extend_from_slice(key);
        column.json(row, out);
    }
    out.push(b'}');
}
