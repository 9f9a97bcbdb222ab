//! UUIDs: 16 bytes in Parquet and Arrow files, dashed text inside kt-export.
//!
//! DuckDB, Trino and Iceberg write UUIDs as Parquet's UUID type. Filters, CSV and JSON use dashed text. So readers convert
//! UUIDs to marked, dashed text, and Parquet shards store the 16 bytes and the type again. Text form: RFC 9562, section 4,
//! in lower case.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, StringViewBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;

use super::leaves::{any, map_batch, map_schema};
use super::{EXTENSION, is_text};

/// Metadata key that marks text as holding only dashed UUIDs.
const TEXT_MARK: &str = "kt-export:uuid";

const EXTENSION_NAME: &str = "arrow.uuid";

/// Bytes of a UUID and of its text.
/// The width of a stored UUID, as Arrow and Parquet count it.
pub(crate) const WIDTH: i32 = 16;
const BYTES: usize = WIDTH as usize;
const TEXT_BYTES: usize = 36;

/// Positions of the dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// Whether a field is text that holds dashed UUIDs.
pub(crate) fn is_uuid(field: &Field) -> bool {
    field.metadata().contains_key(TEXT_MARK) && is_text(field)
}

/// The field as marked text, without other metadata.
pub(crate) fn text_field(field: &Field) -> Field {
    let mark = HashMap::from([(TEXT_MARK.to_owned(), String::new())]);
    Field::new(field.name(), DataType::Utf8View, field.is_nullable()).with_metadata(mark)
}

/// Whether a field of a file holds 16-byte UUIDs.
pub(crate) fn is_stored_uuid(field: &Field) -> bool {
    let says = |key: &str, value: &str| field.metadata().get(key).is_some_and(|found| found == value);
    // The second as arrow-avro keeps Avro's logical type.
    let is_marked = says(EXTENSION, EXTENSION_NAME) || says("logicalType", "uuid");
    is_marked && field.data_type() == &DataType::FixedSizeBinary(WIDTH)
}

/// Marks the UUID leaves of a Parquet schema with Arrow's extension type.
pub(crate) fn mark_stored(schema: &Schema, parquet: &SchemaDescriptor) -> Schema {
    map_schema(schema, &mut |leaf, field| {
        let is_uuid =
            leaf < parquet.num_columns() && parquet.column(leaf).logical_type_ref() == Some(&LogicalType::Uuid);
        if !is_uuid || field.data_type() != &DataType::FixedSizeBinary(WIDTH) {
            return field.clone();
        }
        let mut metadata = field.metadata().clone();
        metadata.insert(EXTENSION.to_owned(), EXTENSION_NAME.to_owned());
        field.clone().with_metadata(metadata)
    })
}

/// The footer with UUIDs marked, for [`as_text`].
///
/// # Errors
/// The footer contradicts itself.
pub(crate) fn marked(footer: ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = mark_stored(footer.schema(), footer.parquet_schema());
    if schema == **footer.schema() {
        return Ok(footer);
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options)
}

/// The schema with stored UUIDs as text.
pub(crate) fn text_schema(schema: &Schema) -> Schema {
    map_schema(schema, &mut |_, field| if is_stored_uuid(field) { text_field(field) } else { field.clone() })
}

/// The batch with stored UUIDs as text.
///
/// # Errors
/// An array does not match its schema.
pub(crate) fn as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.schema_ref().fields().iter().any(|field| any(field, is_stored_uuid)) {
        return Ok(batch.clone());
    }
    map_batch(batch, &|field, array| Ok(is_stored_uuid(field).then(|| (text_field(field), texts(array)))))
}

fn texts(array: &ArrayRef) -> ArrayRef {
    let mut texts = StringViewBuilder::with_capacity(array.len());
    let mut text = String::with_capacity(TEXT_BYTES);
    for value in array.as_fixed_size_binary().iter() {
        text.clear();
        if let Some(bytes) = value {
            write(bytes, &mut text);
        }
        texts.append_option(value.map(|_| text.as_str()));
    }
    Arc::new(texts.finish())
}

/// Converts marked text to 16-byte UUIDs.
///
/// # Errors
/// A text is not a UUID.
pub(crate) fn as_bytes(array: &dyn Array) -> Result<ArrayRef, ArrowError> {
    let text = arrow::compute::cast(array, &DataType::Utf8View)?;
    let mut bytes = FixedSizeBinaryBuilder::with_capacity(array.len(), WIDTH);
    for value in text.as_string_view() {
        match value.map(parse) {
            None => bytes.append_null(),
            Some(Some(value)) => bytes.append_value(value)?,
            Some(None) => return Err(ArrowError::CastError("text is not a UUID".to_owned())),
        }
    }
    Ok(Arc::new(bytes.finish()))
}

fn write(bytes: &[u8], out: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        if DASHES.contains(&out.len()) {
            out.push('-');
        }
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// Parses dashed text in any case.
pub(crate) fn parse(text: &str) -> Option<[u8; BYTES]> {
    let text = text.as_bytes();
    if text.len() != TEXT_BYTES || DASHES.iter().any(|at| text.get(*at) != Some(&b'-')) {
        return None;
    }
    let mut digits = (0..TEXT_BYTES).filter(|at| !DASHES.contains(at)).filter_map(|at| text.get(at).copied());
    let mut bytes = [0; BYTES];
    for byte in &mut bytes {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let (high, low) = (digit(digits.next()?)?, digit(digits.next()?)?);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

/// Dashed text in lower case, as columns hold it; `None` if the text is not a UUID.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let mut out = String::with_capacity(TEXT_BYTES);
    write(&parse(text)?, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

    #[test]
    fn dashed_text_of_any_case_is_one_uuid_and_nothing_else_is() {
        assert_eq!(canonical(TEXT).as_deref(), Some(TEXT));
        assert_eq!(canonical(&TEXT.to_uppercase()).as_deref(), Some(TEXT));
        for other in [
            "",
            "3c90c3cc0d444b5088888dd25736052a",
            "3c90c3cc-0d44-4b50-8888-8dd25736052",
            "3c90c3cc-0d44-4b50-8888-8dd25736052g",
            "3c90c3cc-0d44-4b50-88888-dd25736052a",
            "{3c90c3cc-0d44-4b50-8888-8dd25736052a}",
            "+c90c3cc-0d44-4b50-8888-8dd25736052a",
            "3c90c3cc-0d44-4b50-8888-8dd2573605é",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn bytes_come_back_from_their_text_and_nulls_stay() {
        let bytes = parse(TEXT).unwrap();
        let mut stored = FixedSizeBinaryBuilder::new(16);
        stored.append_value(bytes).unwrap();
        stored.append_null();
        let stored: ArrayRef = Arc::new(stored.finish());
        let text = texts(&stored);
        assert_eq!(text.as_string_view().iter().collect::<Vec<_>>(), [Some(TEXT), None]);
        assert_eq!(as_bytes(&text).unwrap().to_data(), stored.to_data());
        let other: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec!["***"]));
        assert!(as_bytes(&other).is_err());
    }
}
