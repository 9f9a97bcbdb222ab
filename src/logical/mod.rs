//! Logical column types that Arrow lacks: text that holds JSON or numbers, UUIDs, and the leaves of nested columns. Readers
//! mark the columns; the query, redaction and the encoders read the marks.

pub(crate) mod leaves;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod uuid;

use arrow::datatypes::{DataType, Field};

/// Metadata key of Arrow's extension types.
const EXTENSION: &str = "ARROW:extension:name";

fn is_text(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Arrow's name for text that holds JSON (canonical extension type `arrow.json`).
pub(crate) const JSON_EXTENSION: &str = "arrow.json";

/// Marks a text field as holding JSON.
pub(crate) fn json_field(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(EXTENSION.to_owned(), JSON_EXTENSION.to_owned());
    field.with_metadata(metadata)
}

/// Whether a field is text that holds JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION).is_some_and(|n| n == JSON_EXTENSION) && is_text(field)
}

/// Metadata key that marks text as holding numbers.
const NUMBER_TEXT: &str = "kt-export:number";

/// Marks a text field as holding JSON numbers with their original digits.
pub(crate) fn number_field(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(NUMBER_TEXT.to_owned(), "true".to_owned());
    field.with_metadata(metadata)
}

/// Whether a field is text that holds numbers.
pub(crate) fn is_number(field: &Field) -> bool {
    field.metadata().contains_key(NUMBER_TEXT) && is_text(field)
}
