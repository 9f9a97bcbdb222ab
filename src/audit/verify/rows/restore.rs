//! Parquet lacks some types, so some columns are stored as others: seconds as milliseconds, JSON and numbers as text.
//! The type names in the manifest say what they were, and so how their values look as text.
//!
//! Type names and stored types are read side by side, because names in structs may contain anything. If they do not
//! match, the column keeps its stored type.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::logical::{json_field, number_field};
use crate::package::manifest::Column;

/// The schema that the columns had.
pub(super) fn schema(stored: &Schema, columns: &[Column]) -> SchemaRef {
    let restored = stored.fields().iter().zip(columns).map(|(field, column)| match restore(field, &column.type_name) {
        Some((field, "")) => field,
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(restored.collect::<Vec<_>>()))
}

/// A batch with the values that it had.
pub(super) fn batch(stored: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = stored.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(column.clone())
        } else {
            arrow::compute::cast(column, field.data_type())
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<ArrayRef>, _>>()?)
}

/// The field that the start of `words` is about, and the rest of them.
fn restore<'w>(stored: &Field, words: &'w str) -> Option<(Field, &'w str)> {
    let with = |data_type| stored.clone().with_data_type(data_type);
    let inner = |item: &FieldRef, words: &'w str| {
        let (item, rest) = restore(item, words.strip_prefix("list<")?)?;
        Some((Arc::new(item), rest.strip_prefix('>')?))
    };
    match stored.data_type() {
        DataType::List(item) => inner(item, words).map(|(item, rest)| (with(DataType::List(item)), rest)),
        DataType::LargeList(item) => inner(item, words).map(|(item, rest)| (with(DataType::LargeList(item)), rest)),
        DataType::Struct(fields) => {
            let mut rest = words.strip_prefix("struct<")?;
            let mut restored = Vec::new();
            for (i, field) in fields.iter().enumerate() {
                rest = if i > 0 { rest.strip_prefix(", ")? } else { rest };
                rest = rest.strip_prefix(field.name().as_str())?.strip_prefix(": ")?;
                let (field, after) = restore(field, rest)?;
                restored.push(field);
                rest = after;
            }
            Some((with(DataType::Struct(Fields::from(restored))), rest.strip_prefix('>')?))
        }
        data_type => {
            let (word, rest) = first_word(words)?;
            let restored = match (data_type, word) {
                (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, "json") => {
                    return Some((json_field(stored.clone()), rest));
                }
                (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, "number") => {
                    return Some((number_field(stored.clone()), rest));
                }
                (DataType::Timestamp(TimeUnit::Millisecond, None), "date") => DataType::Date64,
                (DataType::Timestamp(TimeUnit::Millisecond, zone), _) if word.starts_with("timestamp(s") => {
                    DataType::Timestamp(TimeUnit::Second, zone.clone())
                }
                (DataType::Time32(TimeUnit::Millisecond), "time32(s)") => DataType::Time32(TimeUnit::Second),
                (same, _) => same.clone(),
            };
            Some((with(restored), rest))
        }
    }
}

/// A type that is neither list nor struct: a name, and what stands in parentheses behind it.
fn first_word(words: &str) -> Option<(&str, &str)> {
    let name = words.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(words.len());
    let mut depth = 0usize;
    for (at, c) in words.char_indices().skip_while(|(at, _)| *at < name) {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            let end = if c == ')' { at + 1 } else { at };
            return words.split_at_checked(end);
        }
    }
    (depth == 0).then_some((words, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_beside_the_types_that_are_stored() {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let list = |item: Field| DataType::List(Arc::new(item));
        let at = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Arc::from));
        let ms = TimeUnit::Millisecond;
        let stored = DataType::Struct(Fields::from(vec![
            field("a>, b: json", list(field("item", DataType::Utf8))),
            field("t", at(ms, Some("UTC"))),
            field("d", DataType::Decimal128(5, 2)),
        ]));
        let was = DataType::Struct(Fields::from(vec![
            field("a>, b: json", list(json_field(field("item", DataType::Utf8)))),
            field("t", at(TimeUnit::Second, Some("UTC"))),
            field("d", DataType::Decimal128(5, 2)),
        ]));
        let words = "struct<a>, b: json: list<json>, t: timestamp(s,+05:30), d: decimal(5,2)>";
        assert_eq!(restore(&field("x", stored.clone()), words), Some((field("x", was), "")));
        for (stored, words, was) in [
            (at(ms, None), "date", DataType::Date64),
            (at(ms, None), "timestamp(s)", at(TimeUnit::Second, None)),
            (at(ms, None), "timestamp(ms)", at(ms, None)),
            (DataType::Time32(ms), "time32(s)", DataType::Time32(TimeUnit::Second)),
            (DataType::Int64, "int64", DataType::Int64),
        ] {
            assert_eq!(restore(&field("x", stored), words), Some((field("x", was), "")), "{words}");
        }
        for broken in ["struct<", "struct<a>, b: json: list<json, t", "list<json>", "", "))"] {
            let found = restore(&field("x", stored.clone()), broken);
            assert!(found.is_none(), "{broken}: {found:?}");
        }
    }
}
