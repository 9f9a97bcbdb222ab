//! Reads values inside columns, which paths lead to ([`crate::logical::path`]), and joined columns
//! ([`crate::logical::joined`]), as columns of their own.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, MapArray, StringViewArray, StringViewBuilder, UInt32Array, UInt32Builder, new_null_array,
};
use arrow::compute::{cast, is_null, nullif, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::formats::columnar::adapt::{AdaptError, adapt};
use super::formats::rows::infer::declared_field;
use super::formats::rows::json_text;
use super::{Batch, BatchReader, Chunk, ChunkReader, ReadRequest, SourceError};
use crate::error::ErrorCode;
use crate::job::{DeclaredType, Job};
use crate::logical::is_json;
use crate::logical::joined::{self, parts_of};
use crate::logical::path::{PathError, field_at, holder, steps_of};

/// The field at a path that is no column's name, of the declared type if there is one.
///
/// # Errors
/// [`PathError`] if the path leads nowhere.
pub(crate) fn declared_field_at(
    schema: &Schema,
    name: &str,
    declared: Option<DeclaredType>,
) -> Result<Field, PathError> {
    field_at(schema, name, declared.map(|declared| declared_field(name, declared)))
}

/// The fields to request for the time of a job.
///
/// # Errors
/// [`PathError`] if the source has not its columns.
pub(crate) fn request_of_time(job: &Job, schema: &Schema) -> Result<Schema, PathError> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for name in job.time.sources().iter().map(|name| name.value.as_str()) {
        for field in request_of(schema, name, job.declared_type(name))?.fields() {
            if fields.iter().all(|known| known.name() != field.name()) {
                fields.push(Arc::clone(field));
            }
        }
    }
    if !job.time.parts.is_empty() {
        let parts = job.time.parts.iter().map(|part| part.value.as_str());
        fields.push(Arc::new(joined::field(&job.time.column.value, parts)));
    }
    Ok(Schema::new(fields))
}

/// The fields to request for one column of the source or path in it.
fn request_of(schema: &Schema, name: &str, declared: Option<DeclaredType>) -> Result<Schema, PathError> {
    if let Some((_, field)) = schema.fields().find(name) {
        return Ok(Schema::new(vec![Arc::clone(field)]));
    }
    let field = declared_field_at(schema, name, declared)?;
    let holder = holder(&field).and_then(|holder| schema.fields().find(&holder)).map(|(_, field)| Arc::clone(field));
    Ok(Schema::new(holder.into_iter().chain([Arc::new(field)]).collect::<Vec<_>>()))
}

/// Opens an input whose requested columns may be at paths or joined. `open` reads the others, among which are those that hold
/// the paths; joined columns come after their parts.
///
/// # Errors
/// Those of `open`; [`ErrorCode::SchemaMismatch`] if a value at a path is not of its declared type.
pub(super) fn open(
    request: ReadRequest<'_>,
    open: impl FnOnce(ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    let is_read = |field: &Field| steps_of(field).is_none() && parts_of(field).is_none();
    if request.schema.fields().iter().all(|field| is_read(field)) {
        return open(request);
    }
    let name = request.input.name().to_owned();
    let read: Vec<Arc<Field>> = request.schema.fields().iter().filter(|field| is_read(field)).cloned().collect();
    let mut columns = Vec::with_capacity(request.schema.fields().len());
    let mut of_read = 0..read.len();
    for field in request.schema.fields() {
        if let Some(parts) = parts_of(field) {
            let index_of = |part: &String| request.schema.index_of(part).ok().filter(|index| *index < columns.len());
            let parts = parts.iter().map(index_of).collect::<Option<Vec<_>>>();
            columns.push(parts.map(Column::Joined).ok_or_else(|| not_read(&name, field))?);
            continue;
        }
        let Some(steps) = steps_of(field) else {
            columns.extend(of_read.next().map(Column::Read));
            continue;
        };
        let place = steps.split_first().and_then(|(column, keys)| {
            let index = read.iter().position(|read| read.name() == column)?;
            Some(Column::At { index, keys: keys.to_vec() })
        });
        columns.push(place.ok_or_else(|| not_read(&name, field))?);
    }
    let schema = Arc::new(Schema::new_with_metadata(read, request.schema.metadata().clone()));
    let layout = Layout { requested: Arc::clone(&request.schema), read: Arc::clone(&schema), columns, name };
    // The reader knows no column at a path, so it cannot skip rows by its values.
    let is_read = |column: &str| layout.read.field_with_name(column).is_ok();
    let within = request.within.clone().filter(|within| is_read(&within.column));
    let inner = open(ReadRequest { schema, within, ..request })?;
    Ok(Box::new(PathChunks { inner, layout: Arc::new(layout) }))
}

fn not_read(input: &str, field: &Field) -> SourceError {
    SourceError {
        name: input.to_owned(),
        position: None,
        code: ErrorCode::Internal,
        message: format!("what `{}` is read from was not requested; this is a bug in kt-export", field.name()),
    }
}

/// Where a requested column comes from.
enum Column {
    /// Index in the batches that are read.
    Read(usize),
    /// Index of the column that holds it, and the key of each level below.
    At { index: usize, keys: Vec<String> },
    /// Indices of the requested columns that it joins.
    Joined(Vec<usize>),
}

/// The requested columns of one input.
struct Layout {
    requested: SchemaRef,
    read: SchemaRef,
    columns: Vec<Column>,
    name: String,
}

/// Adds the columns at paths to another reader's chunks.
struct PathChunks {
    inner: Box<dyn ChunkReader>,
    layout: Arc<Layout>,
}

impl ChunkReader for PathChunks {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(Chunk { unit, batches: inner }) = self.inner.next_chunk()? else { return Ok(None) };
        let batches = Box::new(PathBatches { inner, layout: Arc::clone(&self.layout) });
        Ok(Some(Chunk { unit, batches }))
    }
}

/// Adds the columns at paths to the batches of a chunk.
struct PathBatches {
    inner: Box<dyn BatchReader>,
    layout: Arc<Layout>,
}

impl BatchReader for PathBatches {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        let Some(batch) = self.inner.next_batch()? else { return Ok(None) };
        let fail = |error: ExtractError| SourceError {
            name: self.layout.name.clone(),
            position: None,
            code: ErrorCode::SchemaMismatch,
            message: error.to_string(),
        };
        let rows = self.layout.rows(&batch.rows).map_err(fail)?;
        Ok(Some(Batch { rows, ..batch }))
    }
}

/// Why the values at a path cannot be read.
#[derive(Debug, thiserror::Error)]
enum ExtractError {
    /// The columns have not the planned types.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A value of JSON text is not of the declared type.
    #[error("{0}; correct the type of the path in `schema`")]
    Type(#[from] AdaptError),
}

impl Layout {
    fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch, ExtractError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, wanted) in self.columns.iter().zip(self.requested.fields()) {
            arrays.push(match column {
                Column::Read(index) => Arc::clone(array(rows, *index)?),
                Column::At { index, keys } => {
                    let values = values_at(array(rows, *index)?, self.read.field(*index), keys)?;
                    if values.data_type() == wanted.data_type() { values } else { adapt(&values, false, wanted)? }
                }
                Column::Joined(parts) => {
                    let parts: Vec<&ArrayRef> = parts.iter().filter_map(|part| arrays.get(*part)).collect();
                    joined_values(&parts, rows.num_rows())?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.requested), arrays, &options)?)
    }
}

fn array(rows: &RecordBatch, index: usize) -> Result<&ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError("a batch has fewer columns than were requested".to_owned());
    rows.columns().get(index).ok_or_else(missing)
}

/// The values below an array, one for each row; null where a key is missing.
fn values_at(array: &ArrayRef, field: &Field, keys: &[String]) -> Result<ArrayRef, ArrowError> {
    let Some((key, rest)) = keys.split_first() else { return Ok(Arc::clone(array)) };
    if is_json(field) {
        return json_values(array, keys);
    }
    match (array.data_type(), field.data_type()) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let Some((index, inner)) = fields.find(key) else {
                return Ok(new_null_array(&DataType::Null, array.len()));
            };
            let child = array.as_struct().column(index);
            let child = match array.nulls() {
                Some(_) => nullif(child, &is_null(array)?)?,
                None => Arc::clone(child),
            };
            values_at(&child, inner, rest)
        }
        (DataType::Map(..), DataType::Map(entries, _)) => {
            let map = array.as_map();
            let values = take(map.values(), &places(map, key)?, None)?;
            match entries.data_type() {
                DataType::Struct(pair) => match pair.as_ref() {
                    [_, value] => values_at(&values, value, rest),
                    _ => Ok(values),
                },
                _ => Ok(values),
            }
        }
        (other, _) => Err(ArrowError::SchemaError(format!("{other} has no field `{key}`"))),
    }
}

/// For each row of a map, the index of the key's value; null where the row lacks the key. The last of equal keys counts, as
/// in a Parquet MAP.
fn places(map: &MapArray, key: &str) -> Result<UInt32Array, ArrowError> {
    let keys = cast(map.keys(), &DataType::Utf8View)?;
    let keys = keys.as_string_view();
    let mut places = UInt32Builder::with_capacity(map.len());
    for row in 0..map.len() {
        let range = match map.offsets().get(row..row + 2) {
            Some([from, to]) if map.is_valid(row) => usize::try_from(*from).ok().zip(usize::try_from(*to).ok()),
            _ => None,
        };
        let found = range.and_then(|(from, to)| (from..to).rev().find(|&i| keys.is_valid(i) && keys.value(i) == key));
        places.append_option(found.and_then(|index| u32::try_from(index).ok()));
    }
    Ok(places.finish())
}

/// The texts of the parts of each row, joined by one space; null where a part is null.
fn joined_values(parts: &[&ArrayRef], rows: usize) -> Result<ArrayRef, ArrowError> {
    let parts = parts.iter().map(|part| cast(part, &DataType::Utf8View)).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&StringViewArray> = parts.iter().map(AsArray::as_string_view).collect();
    let mut values = StringViewBuilder::with_capacity(rows);
    let mut text = String::new();
    for row in 0..rows {
        if parts.iter().any(|part| part.is_null(row)) {
            values.append_null();
            continue;
        }
        text.clear();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                text.push(' ');
            }
            text.push_str(part.value(row));
        }
        values.append_value(&text);
    }
    Ok(Arc::new(values.finish()))
}

/// The values in JSON text, as text.
fn json_values(array: &ArrayRef, keys: &[String]) -> Result<ArrayRef, ArrowError> {
    let texts = cast(array, &DataType::Utf8View)?;
    let texts: &StringViewArray = texts.as_string_view();
    let mut values = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        let value = text.map(|text| json_text::text_at(text, keys)).transpose();
        values.append_option(value.map_err(|fault| ArrowError::ParseError(fault.to_string()))?.flatten());
    }
    Ok(Arc::new(values.finish()))
}
