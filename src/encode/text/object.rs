//! JSON objects with known keys.

use arrow::datatypes::Fields;

use super::column::Column;
use super::escape::json_string;
use crate::job::Absent;

/// The keys of an object with the punctuation around them: `{"a":`, `,"b":` … If keys may be left out, any can be the first,
/// and all begin with a comma.
pub(super) struct Keys {
    keys: Vec<Box<[u8]>>,
    absent: Absent,
}

impl Keys {
    pub(super) fn new(fields: &Fields, absent: Absent) -> Self {
        let key = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
            let mut key = vec![if i == 0 && absent == Absent::Fill { b'{' } else { b',' }];
            json_string(field.name(), &mut key);
            key.push(b':');
            key.into_boxed_slice()
        };
        Self { keys: fields.iter().enumerate().map(key).collect(), absent }
    }

    /// Each key with the bytes before its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(AsRef::as_ref)
    }
}

/// Appends one row as an object.
#[inline]
pub(super) fn write_object(keys: &Keys, columns: &mut [Column<'_>], row: usize, out: &mut Vec<u8>) {
    let start = out.len();
    for (key, column) in keys.iter().zip(columns) {
        if keys.absent == Absent::Fill || !column.is_absent(row) {
            out.extend_from_slice(key);
            column.json(row, out);
        }
    }
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// Completes the objects of rows that have been appended to `out` with keys that begin with a comma. `ends` are those of the
/// rows from `start` on.
pub(super) fn open_objects(start: usize, out: &mut Vec<u8>, ends: &mut [usize]) {
    let mut row = start;
    let mut without_keys = 0;
    for end in ends.iter() {
        match out.get_mut(row) {
            Some(first) if *first == b',' => *first = b'{',
            _ => without_keys += 1,
        }
        row = *end;
    }
    if without_keys == 0 {
        return;
    }
    let rows = out.split_off(start);
    out.reserve(rows.len() + without_keys);
    let mut row = 0;
    for end in ends {
        let text = rows.get(row..*end - start).unwrap_or_default();
        row = *end - start;
        if !text.starts_with(b"{") {
            out.push(b'{');
        }
        out.extend_from_slice(text);
        *end = out.len();
    }
}
