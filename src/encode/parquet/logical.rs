//! Adds logical types that Arrow types cannot express.
//!
//! Arrow marks UUIDs by an extension type. The crate writes it only with a feature that also turns every JSON column into
//! Parquet's JSON type, which some readers treat as a separate type. So the UUID type is added to the schema here.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::logical::leaves::map_schema;
use crate::logical::uuid;

/// The converted schema, with UUID leaves of `columns` as Parquet's UUID type.
pub(super) fn with_uuids(converted: &SchemaDescriptor, columns: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    let mut leaves = BTreeSet::new();
    map_schema(columns, &mut |leaf, field| {
        if uuid::is_uuid(field) {
            leaves.insert(leaf);
        }
        field.clone()
    });
    if leaves.is_empty() {
        return Ok(converted.clone());
    }
    let mut next = 0;
    let fields = converted.root_schema().get_fields().iter().map(|field| typed(field, &leaves, &mut next));
    let fields = fields.collect::<Result<_, _>>()?;
    let root = Type::group_type_builder(converted.name()).with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn typed(field: &TypePtr, uuids: &BTreeSet<usize>, next: &mut usize) -> Result<TypePtr, ParquetError> {
    let info = field.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if field.is_primitive() {
        let leaf = *next;
        *next += 1;
        if !uuids.contains(&leaf) {
            return Ok(field.clone());
        }
        let uuid = Type::primitive_type_builder(field.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
            .with_length(uuid::WIDTH)
            .with_logical_type(Some(LogicalType::Uuid))
            .with_repetition(info.repetition())
            .with_id(id);
        return Ok(Arc::new(uuid.build()?));
    }
    let fields = field.get_fields().iter().map(|field| typed(field, uuids, next)).collect::<Result<_, _>>()?;
    let group = Type::group_type_builder(field.name())
        .with_fields(fields)
        .with_repetition(info.repetition())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_id(id);
    Ok(Arc::new(group.build()?))
}
