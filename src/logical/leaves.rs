//! Transforms the leaves of nested types and arrays.
//!
//! Structs, lists and maps are the same in every format; only their leaves differ. Leaves are numbered like Parquet's
//! columns: in depth-first order. A dictionary is a leaf.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    RecordBatchOptions, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;

/// Replaces each leaf of a schema. `change` receives its number and its field.
pub(crate) fn map_schema(schema: &Schema, change: &mut dyn FnMut(usize, &Field) -> Field) -> Schema {
    let mut next = 0;
    let fields: Vec<_> = schema.fields().iter().map(|field| map_field(field, &mut next, change)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn map_field(field: &FieldRef, next: &mut usize, change: &mut dyn FnMut(usize, &Field) -> Field) -> FieldRef {
    let mut child = |field: &FieldRef| map_field(field, next, change);
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(child(item)),
        DataType::LargeList(item) => DataType::LargeList(child(item)),
        DataType::ListView(item) => DataType::ListView(child(item)),
        DataType::LargeListView(item) => DataType::LargeListView(child(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(child(item), *length),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        _ => {
            let leaf = *next;
            *next += 1;
            return Arc::new(change(leaf, field));
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The fields inside a field; `None` for a leaf.
pub(crate) fn children(field: &Field) -> Option<&[FieldRef]> {
    match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => Some(std::slice::from_ref(item)),
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// Number of leaves of a field.
pub(crate) fn count(field: &Field) -> usize {
    children(field).map_or(1, |inner| inner.iter().map(|field| count(field)).sum())
}

/// Whether any leaf of the field satisfies `is`.
pub(crate) fn any(field: &Field, is: fn(&Field) -> bool) -> bool {
    children(field).map_or_else(|| is(field), |inner| inner.iter().any(|field| any(field, is)))
}

/// Transforms a leaf; `None` keeps it unchanged.
pub(crate) type Change<'a> = &'a dyn Fn(&Field, &ArrayRef) -> Result<Option<(Field, ArrayRef)>, ArrowError>;

/// Transforms the leaves of a batch.
pub(crate) fn map_batch(batch: &RecordBatch, change: Change<'_>) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let changed = schema.fields().iter().zip(batch.columns()).map(|(field, column)| map_array(field, column, change));
    let (fields, columns): (Vec<_>, Vec<_>) = changed.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}

/// Transforms the leaves of a column. List views count as leaves: they must be converted to lists first.
pub(crate) fn map_array(
    field: &FieldRef,
    array: &ArrayRef,
    change: Change<'_>,
) -> Result<(FieldRef, ArrayRef), ArrowError> {
    let array: ArrayRef = match field.data_type() {
        DataType::List(item) => list(item, array.as_list::<i32>(), change)?,
        DataType::LargeList(item) => list(item, array.as_list::<i64>(), change)?,
        DataType::FixedSizeList(item, length) => {
            let lists = array.as_fixed_size_list();
            let (item, values) = map_array(item, lists.values(), change)?;
            Arc::new(FixedSizeListArray::try_new(item, *length, values, lists.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let map = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else { return Ok((field.clone(), array.clone())) };
            let pairs = fields_of(fields, map.entries(), change)?;
            let entries = Arc::new(entries.as_ref().clone().with_data_type(pairs.data_type().clone()));
            Arc::new(MapArray::try_new(entries, map.offsets().clone(), pairs, map.nulls().cloned(), *sorted)?)
        }
        DataType::Struct(fields) => Arc::new(fields_of(fields, array.as_struct(), change)?),
        _ => {
            return Ok(match change(field, array)? {
                Some((field, array)) => (Arc::new(field), array),
                None => (field.clone(), array.clone()),
            });
        }
    };
    Ok((Arc::new(field.as_ref().clone().with_data_type(array.data_type().clone())), array))
}

fn list<O: OffsetSizeTrait>(
    item: &FieldRef,
    lists: &GenericListArray<O>,
    change: Change<'_>,
) -> Result<ArrayRef, ArrowError> {
    let (item, values) = map_array(item, lists.values(), change)?;
    Ok(Arc::new(GenericListArray::try_new(item, lists.offsets().clone(), values, lists.nulls().cloned())?))
}

fn fields_of(fields: &Fields, array: &StructArray, change: Change<'_>) -> Result<StructArray, ArrowError> {
    let changed = fields.iter().zip(array.columns()).map(|(field, column)| map_array(field, column, change));
    let (fields, columns): (Vec<_>, Vec<_>) = changed.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    StructArray::try_new_with_length(fields.into(), columns, array.nulls().cloned(), array.len())
}
