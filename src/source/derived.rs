//! Columns that are made of others ([`Origin`]): the values at paths, joined columns, and columns whose name has several
//! spellings. Readers do not know them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, MapArray, StringViewArray, StringViewBuilder, UInt32Array, UInt32Builder, new_null_array,
};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and, cast, is_not_null, is_null, nullif, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::formats::columnar::adapt::{AdaptError, adapt};
use super::formats::rows::infer::declared_field;
use super::formats::rows::json_text;
use super::{Batch, ChunkReader, ReadRequest, SourceError, map_batches};
use crate::error::ErrorCode;
use crate::job::{Combination, DeclaredType, Job, TimeColumn};
use crate::logical::is_json;
use crate::logical::origin::Origin;
use crate::logical::path::{PathError, field_at, holder, is_plain};

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
        fields.push(Arc::new(field_of_time(&job.time)));
    }
    Ok(Schema::new(fields))
}

/// The field of a time that several columns make.
pub(crate) fn field_of_time(time: &TimeColumn) -> Field {
    let parts = time.parts.iter().map(|part| part.value.clone()).collect();
    let origin = match time.combination {
        Combination::Joined => Origin::Joined(parts),
        Combination::First => Origin::First(parts),
    };
    origin.of_field(Field::new(&time.column.value, DataType::Utf8View, true))
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

/// Opens an input whose requested columns may be made of others, which come before them. `open` reads those that are not, and
/// the spellings of a column.
///
/// # Errors
/// Those of `open`; [`ErrorCode::SchemaMismatch`] if a value at a path is not of its declared type, or a row has values in two
/// spellings of a column.
pub(super) fn open(
    request: ReadRequest<'_>,
    open: impl FnOnce(ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    if request.schema.fields().iter().all(|field| Origin::of(field).is_none()) {
        return open(request);
    }
    let name = request.input.name().to_owned();
    let mut read: Vec<Arc<Field>> = Vec::new();
    let mut columns: Vec<Column> = Vec::with_capacity(request.schema.fields().len());
    for field in request.schema.fields() {
        let before = |name: &String| request.schema.index_of(name).ok().filter(|index| *index < columns.len());
        let column = match Origin::of(field) {
            None => {
                read.push(Arc::clone(field));
                Some(Column::Read(read.len() - 1))
            }
            Some(Origin::Spellings(others)) => {
                let (first, plain) = (read.len(), Origin::without(field.as_ref().clone()));
                read.extend(others.iter().map(|other| Arc::new(plain.clone().with_name(other))));
                read.insert(first, Arc::new(plain));
                Some(Column::Spelled(first..read.len()))
            }
            Some(Origin::Path(steps)) => steps
                .split_first()
                .and_then(|(column, keys)| Some(Column::At { index: before(column)?, keys: keys.to_vec() })),
            Some(Origin::Joined(parts)) => parts.iter().map(before).collect::<Option<_>>().map(Column::Joined),
            Some(Origin::First(parts)) => parts.iter().map(before).collect::<Option<_>>().map(Column::First),
        };
        columns.push(column.ok_or_else(|| not_read(&name, field))?);
    }
    let schema = Arc::new(Schema::new_with_metadata(read, request.schema.metadata().clone()));
    let layout = Layout { requested: Arc::clone(&request.schema), read: Arc::clone(&schema), columns, name };
    // The reader knows only what it reads, so it cannot skip rows by other values than those in it.
    let is_read = |column: &str| layout.read.field_with_name(column).is_ok() || is_plain(&layout.read, column);
    let within = request.within.clone().filter(|within| is_read(&within.column));
    let inner = open(ReadRequest { schema, within, ..request })?;
    Ok(map_batches(inner, move |batch| layout.complete(batch)))
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
    /// Indices of the spellings of its name in the batches that are read.
    Spelled(Range<usize>),
    /// Index of the requested column that holds it, and the key of each level below.
    At { index: usize, keys: Vec<String> },
    /// Indices of the requested columns that it joins.
    Joined(Vec<usize>),
    /// Indices of the requested columns of which the first with a value counts.
    First(Vec<usize>),
}

/// The requested columns of one input.
struct Layout {
    requested: SchemaRef,
    read: SchemaRef,
    columns: Vec<Column>,
    name: String,
}

/// Why the values of a column cannot be made of others.
#[derive(Debug, thiserror::Error)]
enum DeriveError {
    /// The columns have not the planned types.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A value of JSON text is not of the declared type.
    #[error("{0}; correct the type of the path in `schema`")]
    Type(#[from] AdaptError),
    /// A row has two spellings of a name.
    #[error("the row has values in `{name}` and in `{other}`; declare each in `schema` to keep them apart")]
    TwoSpellings {
        /// Index in the batch.
        row: u32,
        /// The name of the column.
        name: String,
        /// Another spelling.
        other: String,
    },
}

impl DeriveError {
    /// Index of the row in its batch, if one is to blame.
    fn row(&self) -> Option<u32> {
        match self {
            Self::TwoSpellings { row, .. } => Some(*row),
            Self::Arrow(_) | Self::Type(_) => None,
        }
    }
}

impl Layout {
    fn complete(&self, batch: Batch) -> Result<Batch, SourceError> {
        let fail = |error: DeriveError| SourceError {
            name: self.name.clone(),
            position: error.row().and_then(|row| batch.positions.of(row)),
            code: ErrorCode::SchemaMismatch,
            message: error.to_string(),
        };
        let rows = self.rows(&batch.rows).map_err(fail)?;
        Ok(Batch { rows, ..batch })
    }

    fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch, DeriveError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, wanted) in self.columns.iter().zip(self.requested.fields()) {
            arrays.push(match column {
                Column::Read(index) => Arc::clone(array(rows, *index)?),
                Column::Spelled(range) => self.spelled(rows, range.clone())?,
                Column::At { index, keys } => {
                    let holder = arrays.get(*index).ok_or_else(too_few)?;
                    let values = values_at(holder, self.requested.field(*index), keys)?;
                    if values.data_type() == wanted.data_type() { values } else { adapt(&values, false, wanted)? }
                }
                Column::Joined(parts) => joined_values(&texts(&arrays, parts)?, rows.num_rows())?,
                Column::First(parts) => first_values(&texts(&arrays, parts)?, rows.num_rows()),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.requested), arrays, &options)?)
    }

    /// The value of the spelling that has one in each row.
    fn spelled(&self, rows: &RecordBatch, range: Range<usize>) -> Result<ArrayRef, DeriveError> {
        let (first, others) = (range.start, range.start + 1..range.end);
        let mut values = Arc::clone(array(rows, first)?);
        for index in others {
            let other = array(rows, index)?;
            let has_value = is_not_null(&values)?;
            let both = and(&has_value, &is_not_null(other)?)?;
            if let Some(row) = both.values().set_indices().next() {
                return Err(DeriveError::TwoSpellings {
                    row: u32::try_from(row).unwrap_or(u32::MAX),
                    name: self.read.field(first).name().clone(),
                    other: self.read.field(index).name().clone(),
                });
            }
            values = zip(&has_value, &values, other)?;
        }
        Ok(values)
    }
}

fn array(rows: &RecordBatch, index: usize) -> Result<&ArrayRef, ArrowError> {
    rows.columns().get(index).ok_or_else(too_few)
}

fn too_few() -> ArrowError {
    ArrowError::SchemaError("a batch has fewer columns than were requested".to_owned())
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

/// Some of the columns as text.
fn texts(arrays: &[ArrayRef], indices: &[usize]) -> Result<Vec<StringViewArray>, ArrowError> {
    let text = |index: &usize| {
        let array = cast(arrays.get(*index).ok_or_else(too_few)?, &DataType::Utf8View)?;
        Ok(array.as_string_view().clone())
    };
    indices.iter().map(text).collect()
}

/// The text of the first part that is not null in each row.
fn first_values(parts: &[StringViewArray], rows: usize) -> ArrayRef {
    let mut values = StringViewBuilder::with_capacity(rows);
    for row in 0..rows {
        let part = parts.iter().find(|part| part.is_valid(row));
        values.append_option(part.map(|part| part.value(row)));
    }
    Arc::new(values.finish())
}

/// The texts of the parts of each row, joined by one space; null where a part is null.
fn joined_values(parts: &[StringViewArray], rows: usize) -> Result<ArrayRef, ArrowError> {
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
