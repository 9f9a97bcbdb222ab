//! Maps the schema of a columnar file to the layouts that plans use.
//!
//! Writers choose layouts (dictionaries, 64-bit offsets, run ends) that say nothing about the values. Plans use one layout
//! per type, so that files that differ only in layout do not count as schema drift: text is `Utf8View`, lists have 32-bit
//! offsets unless the file's are larger, and the writer's private metadata is dropped.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use crate::logical::uuid;

/// The schema of a file in planned layouts.
pub(super) fn planned_schema(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().map(|f| planned_field(f)).collect::<Vec<_>>())
}

/// A field in its planned layout. Name, nullability and extension types are kept; other metadata is dropped. UUIDs become
/// text.
pub(super) fn planned_field(field: &Field) -> Field {
    if uuid::is_stored_uuid(field) {
        return uuid::text_field(field);
    }
    let mut metadata = field.metadata().clone();
    metadata.retain(|key, _| key.starts_with("ARROW:extension:"));
    Field::new(field.name(), planned_layout(field.data_type(), &|f| Arc::new(planned_field(f))), field.is_nullable())
        .with_metadata(metadata)
}

/// The schema of a file with text as views and everything else unchanged, to request from the Parquet reader.
pub(super) fn view_schema(schema: &Schema) -> Schema {
    let fields: Vec<_> = schema.fields().iter().map(view_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn view_field(field: &FieldRef) -> FieldRef {
    let data_type = planned_layout(field.data_type(), &view_field);
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The planned layout of one type; `child` maps the fields inside.
fn planned_layout(data_type: &DataType, child: &dyn Fn(&FieldRef) -> FieldRef) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Dictionary(_, values) => planned_layout(values, child),
        DataType::RunEndEncoded(_, values) => planned_layout(values.data_type(), child),
        DataType::List(item) | DataType::ListView(item) => DataType::List(child(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(child(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(child(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_one_and_types_stay() {
        let text = |name: &str, t| Field::new(name, t, true);
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let inside = DataType::Struct(vec![text("a", dictionary), text("n", DataType::Int8)].into());
        let list = DataType::LargeList(Arc::new(text("element", inside)));
        let marked = text("c", list).with_metadata([("PARQUET:field_id".to_owned(), "1".to_owned())]);
        let planned = planned_field(&marked);
        let inside = DataType::Struct(vec![text("a", DataType::Utf8View), text("n", DataType::Int8)].into());
        assert_eq!(planned, text("c", DataType::LargeList(Arc::new(text("element", inside)))));
        assert_eq!(view_field(&Arc::new(marked.clone())).metadata(), marked.metadata());
    }
}
