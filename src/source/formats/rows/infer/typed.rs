//! The evidence of columnar files, which comes from their schema, not from their values.

use arrow::datatypes::{DataType, Field, Schema};

use super::TableEvidence;
use super::evidence::{Mark, Node, kind};

/// The evidence of a Parquet or Arrow file.
///
/// Text of any layout becomes `Utf8View`, and dictionaries become their values. Structs and lists are joined field by field
/// with those of other files (as `Struct` and `List` with the item name `item`). Other types stay unchanged.
pub(crate) fn typed(schema: &Schema, file: &str) -> TableEvidence {
    let mut root = Node::default();
    root.object(0);
    for field in schema.fields() {
        observe_field(&mut root, field);
    }
    TableEvidence::of_file(root, file)
}

fn observe_field(object: &mut Node, field: &Field) {
    let hint = object.fields.list.len();
    let place = object.fields.place(field.name(), hint);
    if let Some((_, node)) = object.fields.list.get_mut(place) {
        observe_type(node, field);
    }
}

fn observe_type(node: &mut Node, field: &Field) {
    match field.data_type() {
        DataType::Null => {}
        DataType::Struct(fields) if !fields.is_empty() => {
            node.kinds |= kind::OBJECT;
            node.columnar = true;
            for field in fields {
                observe_field(node, field);
            }
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            node.kinds |= kind::LIST;
            node.columnar = true;
            observe_type(node.items.get_or_insert_default(), item);
        }
        other => {
            let typed = (leaf(other), Mark::of(field));
            if !node.typed.contains(&typed) {
                node.typed.push(typed);
            }
        }
    }
}

fn leaf(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Dictionary(_, values) => leaf(values),
        DataType::RunEndEncoded(_, values) => leaf(values.data_type()),
        other => other.clone(),
    }
}
