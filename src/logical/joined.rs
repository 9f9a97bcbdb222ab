//! Times in several columns, such as a date and a time of day, which are read as one text.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};

/// Metadata key of a field whose values are joined from other fields: a JSON array of their names.
const PARTS: &str = "kt-export:joined";

/// The field of texts that are the values of `parts`, joined by one space.
pub(crate) fn field<'a>(name: &str, parts: impl Iterator<Item = &'a str>) -> Field {
    let parts = serde_json::Value::from_iter(parts).to_string();
    let mark = std::iter::once((PARTS.to_owned(), parts));
    Field::new(name, DataType::Utf8View, true).with_metadata(mark.collect::<HashMap<_, _>>())
}

/// The names of the fields that a field is joined from; `None` for other fields.
pub(crate) fn parts_of(field: &Field) -> Option<Vec<String>> {
    serde_json::from_str(field.metadata().get(PARTS)?).ok()
}

/// The field without the marks that say what it is joined from.
pub(crate) fn without_parts(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.remove(PARTS);
    field.with_metadata(metadata)
}
