//! Converts the columns of a file to the planned schema.
//!
//! Files of one source may differ in the width of a type, the fields of a struct, or the layout of text. The plan has one
//! schema, and this module converts each file's arrays to it. Invariant: no value changes. A value that would be rounded,
//! truncated, dropped or read in a guessed time zone is an error that names the column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, StringViewBuilder,
    StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use serde::de::IgnoredAny;

use crate::logical::path::is_pruned;
use crate::logical::{is_json, is_number};
use crate::number::NumberText;
use crate::source::formats::rows::infer::UNWRAP_JSON;

/// Casts fail instead of replacing a value that does not fit by null.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Why a column cannot take its planned type without changing a value. `path` is the column and the place inside it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdaptError {
    /// The values do not fit the planned type.
    #[error("column {path} is {from} in this file and {to} in the plan: {why}")]
    TypeMismatch {
        /// Column and place.
        path: String,
        /// Type in the file.
        from: DataType,
        /// Planned type.
        to: DataType,
        /// The rule that the values break.
        why: &'static str,
    },
    /// Text of a column of JSON is not JSON.
    #[error("column {path} should hold JSON and does not: {cause}; declare it as text in `schema`")]
    InvalidJson {
        /// Column and place.
        path: String,
        /// The parser's message.
        cause: serde_json::Error,
    },
    /// A struct has a field that the plan lacks.
    #[error("column {path} has the field {field} in this file, which the plan does not have")]
    UnknownField {
        /// Column and place.
        path: String,
        /// The field.
        field: String,
    },
    /// Arrow refused to build the array.
    #[error("column {path}: {cause}")]
    Column {
        /// Column and place.
        path: String,
        /// Arrow's message.
        cause: ArrowError,
    },
    /// Arrow refused to build the batch.
    #[error(transparent)]
    Batch(ArrowError),
}

impl AdaptError {
    /// For `map_err`.
    fn column(path: &str) -> impl FnOnce(ArrowError) -> Self {
        move |cause| Self::Column { path: path.to_owned(), cause }
    }
}

/// Converts the columns of a batch to a schema, by name. A column missing from the batch becomes null; a column missing
/// from the schema was not requested and is dropped. `file` is the file's schema, which marks text that holds JSON.
///
/// # Errors
/// [`AdaptError`] for the first column whose values do not fit.
pub(crate) fn adapt_batch(batch: &RecordBatch, file: &Schema, schema: &SchemaRef) -> Result<RecordBatch, AdaptError> {
    let rows = batch.num_rows();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(array) => adapt(array, file.field_with_name(field.name()).is_ok_and(is_json), field),
        None => Ok(new_null_array(field.data_type(), rows)),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(AdaptError::Batch)
}

/// Converts an array to the type of a field without changing values.
///
/// Struct fields are matched by name: a missing field becomes null, and a field that the plan lacks is an error.
///
/// If the field is marked as JSON, text that holds JSON (`holds_json`, or the field is declared as JSON) is validated and
/// kept unchanged. If the column is JSON only because of other files, text becomes a JSON string.
///
/// # Errors
/// [`AdaptError`] if the values do not fit.
pub(crate) fn adapt(array: &ArrayRef, holds_json: bool, field: &Field) -> Result<ArrayRef, AdaptError> {
    adapt_at(array, holds_json, field, field.name())
}

/// The first duplicate column name. Such columns cannot be matched by name.
pub(super) fn duplicate_column(schema: &Schema) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    schema.fields().iter().map(|f| f.name().as_str()).find(|name| !seen.insert(*name))
}

fn adapt_at(array: &ArrayRef, holds_json: bool, field: &Field, path: &str) -> Result<ArrayRef, AdaptError> {
    let (from, to) = (array.data_type(), field.data_type());
    if is_json(field) {
        return json_text(array, holds_json || field.metadata().contains_key(UNWRAP_JSON), to, path);
    }
    if is_number(field) {
        return number_text(array, to, path);
    }
    if from == to {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (DataType::Null, _) => Ok(new_null_array(to, array.len())),
        (DataType::Dictionary(_, values), _) => adapt_at(&cast(array, values, path)?, holds_json, field, path),
        (DataType::RunEndEncoded(_, values), _) => {
            adapt_at(&cast(array, values.data_type(), path)?, holds_json, field, path)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            adapt_struct(array.as_struct(), fields, is_pruned(field), path)
        }
        (DataType::List(_), DataType::List(item)) => adapt_list(array.as_list::<i32>(), item, path),
        (DataType::LargeList(_), DataType::LargeList(item)) => adapt_list(array.as_list::<i64>(), item, path),
        (DataType::FixedSizeList(_, _), DataType::FixedSizeList(item, length)) => {
            adapt_fixed_list(array.as_fixed_size_list(), item, *length, path)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => adapt_map(array.as_map(), entries, *sorted, path),
        // Convert the layout of the list first, then its items.
        (
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item),
            DataType::List(_) | DataType::LargeList(_),
        ) => {
            let layout = match to {
                DataType::List(_) => DataType::List(Arc::clone(item)),
                _ => DataType::LargeList(Arc::clone(item)),
            };
            adapt_at(&cast(array, &layout, path)?, false, field, path)
        }
        _ if from.is_nested() || to.is_nested() => Err(mismatch(path, from, to, "nested and plain values do not mix")),
        _ => exact(array, to, path),
    }
}

fn mismatch(path: &str, from: &DataType, to: &DataType, why: &'static str) -> AdaptError {
    AdaptError::TypeMismatch { path: path.to_owned(), from: from.clone(), to: to.clone(), why }
}

fn cast(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef, AdaptError> {
    // Arrow's error would show the value, and messages may reach places that must not see redacted data.
    let why = "a value does not fit that type";
    cast_with_options(array, to, &STRICT).map_err(|_| mismatch(path, array.data_type(), to, why))
}

/// Converts numbers to text that holds their digits.
fn number_text(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef, AdaptError> {
    if array.data_type().is_nested() {
        return Err(mismatch(path, array.data_type(), to, "nested and plain values do not mix"));
    }
    let text = cast(array, &DataType::Utf8View, path)?;
    let is_number = |text: Option<&str>| text.is_none_or(|text| NumberText::parse(text).is_some());
    if !text.as_string_view().iter().all(is_number) {
        return Err(mismatch(
            path,
            array.data_type(),
            to,
            "a value is not a number; declare the column as text in `schema`",
        ));
    }
    cast(&text, to, path)
}

/// Converts values to JSON text, which encoders write unchanged. Text either holds JSON already (`holds_json`, validated)
/// or becomes a JSON string.
fn json_text(array: &ArrayRef, holds_json: bool, to: &DataType, path: &str) -> Result<ArrayRef, AdaptError> {
    let from = array.data_type();
    let json = match from {
        DataType::Null => return Ok(new_null_array(to, array.len())),
        DataType::Dictionary(_, values) => return json_text(&cast(array, values, path)?, holds_json, to, path),
        DataType::RunEndEncoded(_, values) => {
            return json_text(&cast(array, values.data_type(), path)?, holds_json, to, path);
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if holds_json => {
            cast(array, &DataType::Utf8View, path)?
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if holds_json => {
            // Arrow casts views of bytes to text by way of other layouts only.
            let bytes = cast(array, &DataType::LargeBinary, path)?;
            cast(&cast(&bytes, &DataType::LargeUtf8, path)?, &DataType::Utf8View, path)?
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Date32 | DataType::Timestamp(_, _) => {
            return cast(&quoted(&cast(array, &DataType::Utf8View, path)?), to, path);
        }
        from if from.is_integer() || from.is_floating() || from.is_decimal() || from == &DataType::Boolean => {
            cast(array, &DataType::Utf8View, path)?
        }
        _ => {
            let why = "nested and binary values cannot become JSON text; give the column one type in all files";
            return Err(mismatch(path, from, to, why));
        }
    };
    for value in json.as_string_view().iter().flatten() {
        serde_json::from_str::<IgnoredAny>(value)
            .map_err(|cause| AdaptError::InvalidJson { path: path.to_owned(), cause })?;
    }
    cast(&json, to, path)
}

/// Converts text to JSON strings.
fn quoted(text: &ArrayRef) -> ArrayRef {
    let mut strings = StringViewBuilder::with_capacity(text.len());
    for value in text.as_string_view() {
        strings.append_option(value.map(|value| serde_json::Value::from(value).to_string()));
    }
    Arc::new(strings.finish())
}

fn adapt_struct(array: &StructArray, fields: &Fields, is_pruned: bool, path: &str) -> Result<ArrayRef, AdaptError> {
    if let Some(unknown) = array.fields().iter().find(|f| !is_pruned && fields.find(f.name()).is_none()) {
        return Err(AdaptError::UnknownField { path: path.to_owned(), field: unknown.name().clone() });
    }
    let children = fields.iter().map(|field| match array.column_by_name(field.name()) {
        Some(child) => {
            let holds_json = array.fields().find(field.name()).is_some_and(|(_, of_file)| is_json(of_file));
            adapt_at(child, holds_json, field, &format!("{path}.{}", field.name()))
        }
        None => Ok(new_null_array(field.data_type(), array.len())),
    });
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let length = array.len();
    StructArray::try_new_with_length(fields.clone(), children, array.nulls().cloned(), length)
        .map(|a| Arc::new(a) as ArrayRef)
        .map_err(AdaptError::column(path))
}

/// Whether the items of a list are text that holds JSON.
fn item_holds_json(list: &DataType) -> bool {
    match list {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => is_json(item),
        _ => false,
    }
}

fn adapt_list<O: OffsetSizeTrait>(
    array: &GenericListArray<O>,
    item: &FieldRef,
    path: &str,
) -> Result<ArrayRef, AdaptError> {
    let values = adapt_at(array.values(), item_holds_json(array.data_type()), item, &format!("{path}[]"))?;
    GenericListArray::try_new(Arc::clone(item), array.offsets().clone(), values, array.nulls().cloned())
        .map(|a| Arc::new(a) as ArrayRef)
        .map_err(AdaptError::column(path))
}

fn adapt_fixed_list(
    array: &FixedSizeListArray,
    item: &FieldRef,
    length: i32,
    path: &str,
) -> Result<ArrayRef, AdaptError> {
    let values = adapt_at(array.values(), item_holds_json(array.data_type()), item, &format!("{path}[]"))?;
    FixedSizeListArray::try_new(Arc::clone(item), length, values, array.nulls().cloned())
        .map(|a| Arc::new(a) as ArrayRef)
        .map_err(AdaptError::column(path))
}

/// Matches the keys and values of a map by position, because their names differ between writers (`key_value`, `entries`).
fn adapt_map(array: &MapArray, entries: &FieldRef, sorted: bool, path: &str) -> Result<ArrayRef, AdaptError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(mismatch(path, array.data_type(), entries.data_type(), "a map's entries are a struct"));
    };
    let [key, value] = fields.as_ref() else {
        return Err(mismatch(path, array.data_type(), entries.data_type(), "a map's entries are keys and values"));
    };
    let columns = vec![
        adapt_at(array.keys(), false, key, &format!("{path}.{}", key.name()))?,
        adapt_at(
            array.values(),
            array.entries().fields().get(1).is_some_and(|f| is_json(f)),
            value,
            &format!("{path}.{}", value.name()),
        )?,
    ];
    let pairs = StructArray::try_new(fields.clone(), columns, None).map_err(AdaptError::column(path))?;
    MapArray::try_new(Arc::clone(entries), array.offsets().clone(), pairs, array.nulls().cloned(), sorted)
        .map(|a| Arc::new(a) as ArrayRef)
        .map_err(AdaptError::column(path))
}

/// Casts plain values, and fails unless casting back gives the same values.
fn exact(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef, AdaptError> {
    use DataType::{Date32, Date64, LargeUtf8, Timestamp, Utf8, Utf8View};
    let from = array.data_type();
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (Timestamp(_, None) | Date32 | Date64, Timestamp(_, Some(_))) | (Timestamp(_, Some(_)), Timestamp(_, None)) => {
            return Err(mismatch(path, from, to, "one has a time zone and the other has none, and no zone is guessed"));
        }
        (from, Timestamp(_, _)) if text(from) => return instants(array, to, path),
        (from, to) if text(from) && to.is_decimal() => {
            // Casting text to a decimal rounds. At the largest scale, nothing is left to round.
            let wide = cast(array, &DataType::Decimal256(76, 38), path)?;
            return exact(&wide, to, path);
        }
        _ => {}
    }
    let out = cast(array, to, path)?;
    if text(from) || text(to) || widens(from, to) {
        return Ok(out);
    }
    let back = cast_with_options(&out, from, &STRICT);
    if back.is_ok_and(|back| back.to_data() == array.to_data()) {
        return Ok(out);
    }
    Err(mismatch(path, from, to, "some values would change"))
}

/// Whether an integer type holds every value of another, so that the result needs no check.
fn widens(from: &DataType, to: &DataType) -> bool {
    let width = |t: &DataType| t.primitive_width().unwrap_or(0);
    let integers = from.is_integer() && to.is_integer();
    let same_sign = from.is_signed_integer() == to.is_signed_integer();
    integers && width(to) > width(from) && (same_sign || to.is_signed_integer())
}

/// Parses text with an offset as instants in microseconds, the only timestamp type that a schema can declare.
fn instants(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef, AdaptError> {
    let DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some(zone)) = to else {
        return Err(mismatch(path, array.data_type(), to, "text is read as instants in microseconds only"));
    };
    let views = cast(array, &DataType::Utf8View, path)?;
    let micros = views.as_string_view().iter().map(|value| {
        let Some(value) = value else { return Ok(None) };
        let bad = |why| mismatch(path, array.data_type(), to, why);
        let instant: jiff::Timestamp =
            value.parse().map_err(|_| bad("a value is not an RFC 3339 time with an offset"))?;
        if instant.as_nanosecond() % 1000 != 0 {
            return Err(bad("a value is finer than a microsecond"));
        }
        Ok(Some(instant.as_microsecond()))
    });
    let micros = micros.collect::<Result<TimestampMicrosecondArray, AdaptError>>()?;
    Ok(Arc::new(micros.with_timezone(Arc::clone(zone))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical::json_field;
    use arrow::array::{
        DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray, StringViewArray,
        TimestampNanosecondArray,
    };
    use arrow::datatypes::{Int32Type, TimeUnit};

    fn to(array: impl Array + 'static, data_type: DataType) -> Result<ArrayRef, AdaptError> {
        adapt(&(Arc::new(array) as ArrayRef), false, &Field::new("c", data_type, true))
    }

    fn text(array: &ArrayRef) -> Vec<Option<&str>> {
        array.as_string_view().iter().collect()
    }

    #[test]
    fn text_of_any_layout_becomes_views() {
        assert_eq!(text(&to(StringArray::from(vec![Some("ä"), None]), DataType::Utf8View).unwrap()), [Some("ä"), None]);
        let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
        assert_eq!(text(&to(dictionary, DataType::Utf8View).unwrap()), [Some("a"), None, Some("a")]);
    }

    #[test]
    fn numbers_widen_and_narrow_only_where_every_value_stays() {
        let wide = to(Int32Array::from(vec![Some(1), None]), DataType::Int64).unwrap();
        assert_eq!(wide.as_ref(), &Int64Array::from(vec![Some(1), None]) as &dyn Array);
        assert!(to(Int64Array::from(vec![127]), DataType::Int8).is_ok());
        assert!(to(Int64Array::from(vec![128]), DataType::Int8).is_err());
        assert!(to(Int64Array::from(vec![1 << 53]), DataType::Float64).is_ok());
        assert!(to(Int64Array::from(vec![(1 << 53) + 1]), DataType::Float64).is_err());
        assert!(to(Int64Array::from(vec![i64::MAX]), DataType::Float64).is_err());
        assert!(to(Float64Array::from(vec![1.5]), DataType::Int64).is_err());
        assert!(to(Float64Array::from(vec![f64::NAN]), DataType::Float32).is_ok());
        assert!(to(Float64Array::from(vec![0.1]), DataType::Float32).is_err());
        assert!(to(Int64Array::from(vec![2]), DataType::Boolean).is_err());
        assert!(to(StringArray::from(vec!["1.50"]), DataType::Decimal128(5, 2)).is_ok());
        assert!(to(StringArray::from(vec!["1.505"]), DataType::Decimal128(5, 2)).is_err());
    }

    #[test]
    fn times_are_never_cut_and_no_zone_is_guessed() {
        let ns = |v| TimestampNanosecondArray::from(vec![v]);
        let us = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        assert!(to(ns(1000), us(None)).is_ok());
        assert!(to(ns(1001), us(None)).unwrap_err().to_string().contains("would change"));
        assert!(to(ns(1000), us(Some("UTC"))).unwrap_err().to_string().contains("no zone is guessed"));
        assert!(to(ns(1000).with_timezone("UTC"), us(Some("+01:00"))).is_ok());
        let texts = |v: &str| to(StringArray::from(vec![Some(v), None]), us(Some("UTC")));
        let read = texts("2026-03-01T01:00:00.000001+01:00").unwrap();
        assert_eq!(read.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0), 1_772_323_200_000_001);
        assert!(texts("2026-03-01T00:00:00").is_err());
        assert!(texts("2026-03-01T00:00:00.0000001Z").unwrap_err().to_string().contains("finer than a microsecond"));
    }

    fn address(fields: Vec<(&str, ArrayRef)>) -> StructArray {
        StructArray::from(
            fields
                .into_iter()
                .map(|(n, a)| (Arc::new(Field::new(n, a.data_type().clone(), true)), a))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn structs_are_matched_by_name_inside_lists_too() {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
        let inner = address(vec![("b", b), ("a", a)]);
        let item = Arc::new(Field::new("element", inner.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::new(vec![0, 2, 3].into());
        let list = ListArray::new(item, offsets, Arc::new(inner), None);
        let wanted = Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("new", DataType::Utf8View, true),
            Field::new("b", DataType::Utf8View, true),
        ]);
        let item = Field::new("item", DataType::Struct(wanted), true);
        let out = to(list, DataType::LargeList(Arc::new(item))).unwrap();
        let rows = out.as_list::<i64>();
        assert_eq!(rows.value_length(0), 2);
        let structs = rows.values().as_struct();
        assert_eq!(structs.column(0).as_ref(), &Int64Array::from(vec![1, 2, 3]) as &dyn Array);
        assert_eq!(structs.column(1).null_count(), 3);
        assert_eq!(structs.column(2).as_ref(), &StringViewArray::from(vec!["x", "y", "z"]) as &dyn Array);
    }

    #[test]
    fn a_field_that_the_plan_does_not_know_is_an_error_and_not_dropped() {
        let value = address(vec![("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
        let wanted = DataType::Struct(Fields::from(vec![Field::new("b", DataType::Int32, true)]));
        assert!(to(value, wanted).unwrap_err().to_string().contains("the field a"));
    }

    #[test]
    fn nested_values_do_not_become_text() {
        let value = address(vec![("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
        assert!(to(value.clone(), DataType::Utf8View).unwrap_err().to_string().contains("do not mix"));
        let json = json_field(Field::new("c", DataType::Utf8View, true));
        let error = adapt(&(Arc::new(value) as ArrayRef), false, &json).unwrap_err().to_string();
        assert!(error.contains("column c") && error.contains("JSON text"), "{error}");
    }

    #[test]
    fn text_that_holds_json_is_checked_and_stays_as_it_is() {
        let json = json_field(Field::new("c", DataType::Utf8View, true));
        let declared =
            Field::new("c", DataType::Utf8View, true).with_metadata([(UNWRAP_JSON.to_owned(), String::new())]);
        let declared = json_field(declared);
        let texts = |v: &str| Arc::new(StringArray::from(vec![Some(v), None])) as ArrayRef;
        for (holds_json, field) in [(true, &json), (false, &declared)] {
            let adapted = |v: &str| adapt(&texts(v), holds_json, field);
            assert_eq!(text(&adapted("{\"a\": [1]}").unwrap()), [Some("{\"a\": [1]}"), None]);
            assert!(adapted("{\"a\": }").unwrap_err().to_string().contains("should hold JSON"));
            assert!(adapted("").is_err());
        }
    }

    #[test]
    fn values_of_a_column_that_other_files_made_json_keep_their_kind() {
        let json = json_field(Field::new("c", DataType::Utf8View, true));
        let adapted = |array: ArrayRef| {
            let adapted = adapt(&array, false, &json).map_err(|error| error.to_string())?;
            Ok::<_, String>(text(&adapted)[0].map(str::to_owned))
        };
        assert_eq!(adapted(Arc::new(StringArray::from(vec!["7 \"x\"\n"]))), Ok(Some("\"7 \\\"x\\\"\\n\"".to_owned())));
        assert_eq!(adapted(Arc::new(Int64Array::from(vec![i64::MIN]))), Ok(Some("-9223372036854775808".to_owned())));
        assert_eq!(adapted(Arc::new(Float64Array::from(vec![0.5]))), Ok(Some("0.5".to_owned())));
        assert!(adapted(Arc::new(Float64Array::from(vec![f64::NAN]))).is_err());
        let time = TimestampNanosecondArray::from(vec![1]).with_timezone("UTC");
        assert_eq!(adapted(Arc::new(time)), Ok(Some("\"1970-01-01T00:00:00.000000001Z\"".to_owned())));
    }

    #[test]
    fn columns_are_found_by_name_and_missing_ones_are_null() {
        let batch = RecordBatch::try_from_iter(vec![
            ("b", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
            ("a", Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef),
        ])
        .unwrap();
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Utf8View, true),
            Field::new("z", DataType::Int64, true),
        ]));
        let out = adapt_batch(&batch, &batch.schema(), &schema).unwrap();
        assert_eq!(text(out.column(0)), [Some("x"), Some("y")]);
        assert_eq!(out.column(1).null_count(), 2);
        let none = adapt_batch(&batch, &batch.schema(), &Arc::new(Schema::empty())).unwrap();
        assert_eq!(none.num_rows(), 2);
    }
}
