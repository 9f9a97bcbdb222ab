//! Redaction of nested columns: structs, lists, maps, and text that holds JSON.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    StringViewBuilder, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, filter, interleave, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;

use super::Pass;
use super::json::{Rule, Walk};
use super::leaf::Leaf;

/// The redaction of the values of one field.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// The whole value. The second field is the index of the counter.
    Leaf(Leaf, usize),
    /// Fields of a struct, by index.
    Struct(Vec<(usize, Node)>),
    /// Every element of a list.
    List(Box<Node>),
    /// The values of map entries with these keys.
    Map(Vec<(String, Node)>),
    /// Inside text that holds JSON.
    Json(Vec<Rule>),
}

impl Node {
    /// The redacted field; `None` if it is removed.
    pub(super) fn field(&self, field: &Field) -> Option<Field> {
        let inner = |item: &FieldRef, node: &Self| node.field(item).map(Arc::new);
        let data_type = match (self, field.data_type()) {
            (Self::Leaf(leaf, _), _) => return leaf.field(field),
            (Self::Json(_), _) => DataType::Utf8View,
            (Self::Struct(nodes), DataType::Struct(fields)) => {
                let kept = fields.iter().enumerate().filter_map(|(i, field)| match of_child(nodes, i) {
                    Some(node) => inner(field, node),
                    None => Some(field.clone()),
                });
                DataType::Struct(kept.collect())
            }
            (Self::List(node), DataType::List(item)) => DataType::List(inner(item, node)?),
            (Self::List(node), DataType::LargeList(item)) => DataType::LargeList(inner(item, node)?),
            (Self::List(node), DataType::FixedSizeList(item, n)) => DataType::FixedSizeList(inner(item, node)?, *n),
            (Self::Map(nodes), DataType::Map(entries, sorted)) => {
                DataType::Map(Arc::new(entries_field(nodes, entries)?), *sorted)
            }
            _ => return None,
        };
        Some(field.clone().with_data_type(data_type))
    }

    /// Redacts the values for which `parent` is valid. If the field is removed, the result is nulls.
    pub(super) fn redact(
        &self,
        field: &Field,
        array: &ArrayRef,
        parent: Option<&NullBuffer>,
        pass: &mut Pass<'_>,
    ) -> Result<ArrayRef, ArrowError> {
        match (self, array.data_type()) {
            (Self::Leaf(leaf, counter), _) => leaf.redact(*counter, field, array, parent, pass),
            (Self::Json(rules), _) => json(rules, array, parent, pass),
            (Self::Struct(nodes), DataType::Struct(fields)) => structs(nodes, fields, array.as_struct(), parent, pass),
            (Self::List(node), DataType::List(item)) => list(node, item, array.as_list::<i32>(), pass),
            (Self::List(node), DataType::LargeList(item)) => list(node, item, array.as_list::<i64>(), pass),
            (Self::List(node), DataType::FixedSizeList(item, length)) => {
                let lists = array.as_fixed_size_list();
                // A null list may have elements, too.
                let nulls = NullBuffer::union(parent, lists.nulls());
                let inside = nulls.map(|nulls| nulls.expand(usize::try_from(*length).unwrap_or_default()));
                let values = node.redact(item, lists.values(), inside.as_ref(), pass)?;
                let item = Arc::new(node.field(item).ok_or_else(misfit)?);
                Ok(Arc::new(FixedSizeListArray::try_new(item, *length, values, lists.nulls().cloned())?))
            }
            (Self::Map(nodes), DataType::Map(entries, sorted)) => map(nodes, entries, *sorted, array.as_map(), pass),
            _ => Err(misfit()),
        }
    }
}

fn of_child(nodes: &[(usize, Node)], child: usize) -> Option<&Node> {
    nodes.iter().find(|(i, _)| *i == child).map(|(_, node)| node)
}

/// Only a bug can cause it.
fn misfit() -> ArrowError {
    ArrowError::SchemaError("the rows do not have the types that their redaction was made for".to_owned())
}

fn structs(
    nodes: &[(usize, Node)],
    fields: &Fields,
    array: &StructArray,
    parent: Option<&NullBuffer>,
    pass: &mut Pass<'_>,
) -> Result<ArrayRef, ArrowError> {
    let inside = NullBuffer::union(parent, array.nulls());
    let (mut kept, mut columns) = (Vec::new(), Vec::new());
    for (i, (field, column)) in fields.iter().zip(array.columns()).enumerate() {
        let Some(node) = of_child(nodes, i) else {
            kept.push(field.clone());
            columns.push(column.clone());
            continue;
        };
        // Removed values are counted as well.
        let redacted = node.redact(field, column, inside.as_ref(), pass)?;
        if let Some(field) = node.field(field) {
            kept.push(Arc::new(field));
            columns.push(redacted);
        }
    }
    let nulls = array.nulls().cloned();
    if kept.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(array.len(), nulls)));
    }
    Ok(Arc::new(StructArray::try_new(kept.into(), columns, nulls)?))
}

fn list<O: OffsetSizeTrait>(
    node: &Node,
    item: &Field,
    lists: &GenericListArray<O>,
    pass: &mut Pass<'_>,
) -> Result<ArrayRef, ArrowError> {
    let values = node.redact(item, lists.values(), None, pass)?;
    let item = Arc::new(node.field(item).ok_or_else(misfit)?);
    Ok(Arc::new(GenericListArray::try_new(item, lists.offsets().clone(), values, lists.nulls().cloned())?))
}

fn json(
    rules: &[Rule],
    array: &ArrayRef,
    parent: Option<&NullBuffer>,
    pass: &mut Pass<'_>,
) -> Result<ArrayRef, ArrowError> {
    let texts = cast(array, &DataType::Utf8View)?;
    let nulls = NullBuffer::union(parent, texts.nulls());
    let mut walk = Walk::new(pass.keys, rules, pass.counts.len());
    let (mut out, mut redacted) = (StringViewBuilder::with_capacity(texts.len()), String::new());
    for (row, text) in texts.as_string_view().iter().enumerate() {
        match text.filter(|_| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))) {
            None => out.append_null(),
            Some(text) => {
                redacted.clear();
                walk.redact(text, pass.counts, &mut redacted);
                out.append_value(&redacted);
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The redacted field of a map's entries. Keys and values are matched by position. All values of a map have one type, so
/// only their nullability can change.
fn entries_field(nodes: &[(String, Node)], entries: &Field) -> Option<Field> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let [key, value] = fields.as_ref() else { return None };
    let can_be_null = |(_, node): &(String, Node)| matches!(node, Node::Leaf(Leaf::Null, _));
    let value = value.as_ref().clone().with_nullable(value.is_nullable() || nodes.iter().any(can_be_null));
    Some(entries.clone().with_data_type(DataType::Struct(Fields::from(vec![key.as_ref().clone(), value]))))
}

fn map(
    nodes: &[(String, Node)],
    entries: &Field,
    sorted: bool,
    array: &MapArray,
    pass: &mut Pass<'_>,
) -> Result<ArrayRef, ArrowError> {
    let entries = entries_field(nodes, entries).ok_or_else(misfit)?;
    let DataType::Struct(fields) = entries.data_type() else { return Err(misfit()) };
    let value_field = fields.get(1).ok_or_else(misfit)?;
    let (mut keys, mut values, mut offsets) = (array.keys().clone(), array.values().clone(), array.offsets().clone());
    for (name, node) in nodes {
        let names = cast(&keys, &DataType::Utf8View)?;
        let is_meant: BooleanArray =
            names.as_string_view().iter().map(|key| Some(key == Some(name.as_str()))).collect();
        #[expect(clippy::cast_possible_truncation, reason = "offsets count the entries of a map in 32 bits")]
        let rows = is_meant.values().set_indices().map(|row| row as u32).collect::<Vec<_>>();
        let redacted = node.redact(value_field, &take(&values, &UInt32Array::from(rows), None)?, None, pass)?;
        if node.field(value_field).is_none() {
            let is_kept = arrow::compute::not(&is_meant)?;
            let kept =
                |range: std::ops::Range<usize>| is_kept.values().slice(range.start, range.len()).count_set_bits();
            let lengths = offsets.windows(2).map(|pair| kept(pair[0] as usize..pair[1] as usize)).collect::<Vec<_>>();
            offsets = OffsetBuffer::from_lengths(lengths);
            (keys, values) = (filter(&keys, &is_kept)?, filter(&values, &is_kept)?);
        } else {
            let redacted = cast(&redacted, values.data_type())?;
            let mut next = 0..;
            let from = (0..values.len()).map(|row| match is_meant.value(row) {
                true => (1, next.next().unwrap_or_default()),
                false => (0, row),
            });
            values = interleave(&[&values, &redacted], &from.collect::<Vec<_>>())?;
        }
    }
    let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(Arc::new(entries), offsets, pairs, array.nulls().cloned(), sorted)?))
}
