//! Reads INT96 timestamps exactly, in the coarsest unit that holds a whole column.
//!
//! INT96 (deprecated in Parquet, still written by Spark, Hive and Impala) holds a Julian day and nanoseconds, so its range
//! far exceeds the years 1677 to 2262 of 64-bit nanoseconds. The `parquet` crate wraps values outside that range:
//! `9999-12-31` becomes a day of 1816. Reading the column twice recovers the exact value: as whole seconds, which cannot
//! overflow, and as wrapped nanoseconds, which differ from the wrapped seconds by the fraction. This works at any depth.
//!
//! Microseconds, which Spark writes, reach to the year 294,247. Nanoseconds are used if a value of the column needs them.
//! A value that the unit of the column cannot hold makes its row unreadable.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    PrimitiveArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, Schema, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;

use crate::logical::leaves::map_schema;
use crate::source::formats::columnar::foreign::{CallError, guarded};

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Whether a leaf column is INT96.
pub(super) fn is_int96(schema: &SchemaDescriptor, leaf: usize) -> bool {
    leaf < schema.num_columns() && schema.column(leaf).physical_type() == Type::INT96
}

/// The schema with every INT96 leaf in a unit. Zones from the writer's schema are kept.
pub(super) fn in_unit(schema: &Schema, parquet: &SchemaDescriptor, unit: TimeUnit) -> Schema {
    map_schema(schema, &mut |leaf, field| {
        if is_int96(parquet, leaf) { timestamp(field, unit) } else { field.clone() }
    })
}

/// The field as a timestamp.
pub(super) fn timestamp(field: &Field, unit: TimeUnit) -> Field {
    let zone = match field.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    field.clone().with_data_type(DataType::Timestamp(unit, zone))
}

/// The second reading of the columns of a request that hold INT96.
pub(super) struct Int96SecondPass {
    /// The footer with INT96 as seconds.
    pub(super) metadata: ArrowReaderMetadata,
    /// The top-level columns that hold INT96.
    pub(super) projection: ProjectionMask,
    names: Vec<String>,
}

/// Why INT96 columns cannot be read exactly.
#[derive(Debug, thiserror::Error)]
pub(super) enum Int96Error {
    #[error("its INT96 columns differ between two readings of the same pages; copy the file again")]
    ReadingsDiffer,
    #[error(transparent)]
    Footer(#[from] CallError<ParquetError>),
    #[error(transparent)]
    Library(#[from] ArrowError),
}

/// A batch in exact units.
pub(super) struct Exact {
    pub(super) rows: RecordBatch,
    /// Rows with a value that has no exact form, with the name of its column; ascending.
    pub(super) bad: Vec<(usize, String)>,
}

impl Int96SecondPass {
    /// `None` if none of the top-level columns `roots` holds INT96.
    pub(super) fn new(metadata: &ArrowReaderMetadata, roots: &[usize]) -> Result<Option<Self>, Int96Error> {
        let parquet = metadata.parquet_schema();
        let mut holds: Vec<usize> = (0..parquet.num_columns())
            .filter(|leaf| is_int96(parquet, *leaf))
            .map(|leaf| parquet.get_column_root_idx(leaf))
            .filter(|root| roots.contains(root))
            .collect();
        holds.dedup();
        if holds.is_empty() {
            return Ok(None);
        }
        let fields = metadata.schema().fields();
        let names = holds.iter().filter_map(|root| fields.get(*root)).map(|field| field.name().clone()).collect();
        let schema = Arc::new(in_unit(metadata.schema(), parquet, TimeUnit::Second));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let in_seconds = guarded(|| ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options))?;
        let projection = ProjectionMask::roots(parquet, holds);
        Ok(Some(Self { metadata: in_seconds, projection, names }))
    }

    /// Combines a batch in wrapped nanoseconds with the same rows in seconds, into the units of `planned`.
    ///
    /// # Errors
    /// The two readings differ in shape, so the file contradicts its footer.
    pub(super) fn exact(
        &self,
        rows: &RecordBatch,
        seconds: Option<&RecordBatch>,
        planned: &Schema,
    ) -> Result<Exact, Int96Error> {
        let seconds =
            seconds.filter(|seconds| seconds.num_rows() == rows.num_rows()).ok_or(Int96Error::ReadingsDiffer)?;
        let schema = rows.schema();
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut columns = rows.columns().to_vec();
        let mut bad: Vec<(usize, String)> = Vec::new();
        for name in &self.names {
            let (index, _) = schema.column_with_name(name).ok_or(Int96Error::ReadingsDiffer)?;
            let coarse = seconds.column_by_name(name).ok_or(Int96Error::ReadingsDiffer)?;
            let unit = planned.field_with_name(name).ok().map(Field::data_type);
            let (Some(column), Some(field)) = (columns.get_mut(index), fields.get_mut(index)) else {
                return Err(Int96Error::ReadingsDiffer);
            };
            let exact = exact(column, coarse, unit)?;
            bad.extend(exact.bad().map(|row| (row, name.clone())));
            *field = field.clone().with_data_type(exact.array.data_type().clone());
            *column = exact.array;
        }
        bad.sort_unstable();
        bad.dedup_by_key(|(row, _)| *row);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        Ok(Exact { rows, bad })
    }
}

/// An array in exact units, and flags of the values that have no exact form.
struct ExactArray {
    array: ArrayRef,
    /// `None`: every value is exact.
    inexact: Option<Vec<bool>>,
}

impl ExactArray {
    fn bad(&self) -> impl Iterator<Item = usize> {
        self.inexact.iter().flatten().enumerate().filter(|(_, inexact)| **inexact).map(|(row, _)| row)
    }

    fn is_bad(&self, range: std::ops::Range<usize>) -> bool {
        self.inexact.as_ref().is_some_and(|inexact| inexact.get(range).is_some_and(|some| some.contains(&true)))
    }
}

/// Combines the two readings. Values that are not INT96 stay unchanged.
fn exact(array: &ArrayRef, seconds: &ArrayRef, planned: Option<&DataType>) -> Result<ExactArray, Int96Error> {
    if array.len() != seconds.len() {
        return Err(Int96Error::ReadingsDiffer);
    }
    match (array.data_type(), seconds.data_type()) {
        (DataType::Timestamp(TimeUnit::Nanosecond, zone), DataType::Timestamp(TimeUnit::Second, _)) => {
            let fine = array.as_primitive::<TimestampNanosecondType>();
            let coarse = seconds.as_primitive::<TimestampSecondType>();
            Ok(leaf(fine, coarse, planned, zone.clone()))
        }
        (DataType::Struct(_), DataType::Struct(_)) => structs(array.as_struct(), seconds.as_struct(), planned),
        (DataType::List(_), DataType::List(_)) => list(array.as_list::<i32>(), seconds.as_list::<i32>(), planned),
        (DataType::LargeList(_), DataType::LargeList(_)) => {
            list(array.as_list::<i64>(), seconds.as_list::<i64>(), planned)
        }
        (DataType::FixedSizeList(item, length), DataType::FixedSizeList(_, _)) => {
            let lists = array.as_fixed_size_list();
            let values = exact(lists.values(), seconds.as_fixed_size_list().values(), planned.and_then(item_type))?;
            let field = Arc::new(item.as_ref().clone().with_data_type(values.array.data_type().clone()));
            let width = usize::try_from(*length).unwrap_or_default();
            let inexact = gathered(lists, &values, |row| row * width..(row + 1) * width);
            let array = FixedSizeListArray::try_new(field, *length, values.array, lists.nulls().cloned());
            Ok(ExactArray { array: Arc::new(array?), inexact })
        }
        (DataType::Map(entries, sorted), DataType::Map(_, _)) => {
            let (map, coarse) = (array.as_map(), seconds.as_map());
            let planned = match planned {
                Some(DataType::Map(entries, _)) => Some(entries.data_type()),
                _ => None,
            };
            let pairs = structs(map.entries(), coarse.entries(), planned)?;
            let field = Arc::new(entries.as_ref().clone().with_data_type(pairs.array.data_type().clone()));
            let offsets = map.offsets();
            let inexact = gathered(map, &pairs, |row| offset(offsets, row)..offset(offsets, row + 1));
            let pairs = pairs.array.as_struct().clone();
            let array = MapArray::try_new(field, offsets.clone(), pairs, map.nulls().cloned(), *sorted);
            Ok(ExactArray { array: Arc::new(array?), inexact })
        }
        _ => Ok(ExactArray { array: Arc::clone(array), inexact: None }),
    }
}

fn item_type(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

fn structs(array: &StructArray, seconds: &StructArray, planned: Option<&DataType>) -> Result<ExactArray, Int96Error> {
    let mut inexact: Option<Vec<bool>> = None;
    let mut fields = Vec::with_capacity(array.num_columns());
    let mut columns = Vec::with_capacity(array.num_columns());
    let by_place = matches!(planned, Some(DataType::Struct(fields)) if fields.len() == array.num_columns());
    for (place, field) in array.fields().iter().enumerate() {
        let (Some(child), Some(coarse)) = (array.columns().get(place), seconds.columns().get(place)) else {
            return Err(Int96Error::ReadingsDiffer);
        };
        let planned = match planned {
            Some(DataType::Struct(fields)) => fields
                .find(field.name())
                .map(|(_, field)| field)
                .or_else(|| fields.get(place).filter(|_| by_place))
                .map(|field| field.data_type()),
            _ => None,
        };
        let child = exact(child, coarse, planned)?;
        for row in child.bad().filter(|row| array.is_valid(*row)) {
            if let Some(flag) = inexact.get_or_insert_with(|| vec![false; array.len()]).get_mut(row) {
                *flag = true;
            }
        }
        fields.push(field.as_ref().clone().with_data_type(child.array.data_type().clone()));
        columns.push(child.array);
    }
    let array = StructArray::try_new_with_length(fields.into(), columns, array.nulls().cloned(), array.len());
    Ok(ExactArray { array: Arc::new(array?), inexact })
}

fn list<O: OffsetSizeTrait>(
    array: &GenericListArray<O>,
    seconds: &GenericListArray<O>,
    planned: Option<&DataType>,
) -> Result<ExactArray, Int96Error> {
    let values = exact(array.values(), seconds.values(), planned.and_then(item_type))?;
    let (DataType::List(item) | DataType::LargeList(item)) = array.data_type() else {
        return Err(Int96Error::ReadingsDiffer);
    };
    let field = Arc::new(item.as_ref().clone().with_data_type(values.array.data_type().clone()));
    let offsets = array.offsets();
    let inexact = gathered(array, &values, |row| offset(offsets, row)..offset(offsets, row + 1));
    let array = GenericListArray::try_new(field, offsets.clone(), values.array, array.nulls().cloned());
    Ok(ExactArray { array: Arc::new(array?), inexact })
}

fn offset<O: OffsetSizeTrait>(offsets: &[O], row: usize) -> usize {
    offsets.get(row).map_or(0, |offset| offset.as_usize())
}

/// Flags the lists that contain an inexact value.
fn gathered(
    lists: &dyn Array,
    values: &ExactArray,
    range: impl Fn(usize) -> std::ops::Range<usize>,
) -> Option<Vec<bool>> {
    values.inexact.as_ref()?;
    Some((0..lists.len()).map(|row| lists.is_valid(row) && values.is_bad(range(row))).collect())
}

/// A leaf in its planned unit. If the plan has none, in the coarsest unit that holds every value.
fn leaf(
    fine: &PrimitiveArray<TimestampNanosecondType>,
    coarse: &PrimitiveArray<TimestampSecondType>,
    planned: Option<&DataType>,
    zone: Option<Arc<str>>,
) -> ExactArray {
    let micros = || in_ticks::<TimestampMicrosecondType>(fine, coarse, zone.clone(), micros);
    let nanos = || in_ticks::<TimestampNanosecondType>(fine, coarse, zone.clone(), nanos);
    match planned {
        Some(DataType::Timestamp(TimeUnit::Nanosecond, _)) => nanos(),
        Some(DataType::Timestamp(_, _)) => micros(),
        _ => {
            let micros = micros();
            if micros.inexact.is_none() { micros } else { nanos() }
        }
    }
}

fn in_ticks<T: ArrowTimestampType>(
    fine: &PrimitiveArray<TimestampNanosecondType>,
    coarse: &PrimitiveArray<TimestampSecondType>,
    zone: Option<Arc<str>>,
    ticks: fn(i64, i64) -> Option<i64>,
) -> ExactArray {
    let mut inexact: Option<Vec<bool>> = None;
    let values: Vec<i64> = fine
        .values()
        .iter()
        .zip(coarse.values())
        .enumerate()
        .map(|(row, (&wrapped, &second))| {
            let exact = ticks(second, wrapped.wrapping_sub(second.wrapping_mul(SECOND)));
            if exact.is_none() && fine.is_valid(row) {
                inexact.get_or_insert_with(|| vec![false; fine.len()])[row] = true;
            }
            exact.unwrap_or_default()
        })
        .collect();
    let array = PrimitiveArray::<T>::new(values.into(), fine.nulls().cloned()).with_timezone_opt(zone);
    ExactArray { array: Arc::new(array), inexact }
}

/// Microseconds from whole seconds and a fraction in nanoseconds; `None` if the result is not exact.
pub(super) fn micros(second: i64, fraction: i64) -> Option<i64> {
    (fraction % 1_000 == 0).then(|| second.checked_mul(1_000_000)?.checked_add(fraction / 1_000))?
}

/// Nanoseconds from whole seconds and a fraction in nanoseconds; `None` on overflow.
pub(super) fn nanos(second: i64, fraction: i64) -> Option<i64> {
    let exact = i128::from(second) * i128::from(SECOND) + i128::from(fraction);
    i64::try_from(exact).ok()
}

/// The error of a row with an inexact value.
pub(super) fn inexact(column: &str) -> String {
    format!(
        "column {column} holds an INT96 time that 64 bits cannot hold in the unit of the column; other values of it need \
         nanoseconds, which end in the years 1677 and 2262; rewrite the file with INT64 timestamps, or leave the column \
         out with `columns`"
    )
}

/// The rows of a batch except the bad ones.
pub(super) fn without(rows: &RecordBatch, bad: &[(usize, String)]) -> Result<RecordBatch, Int96Error> {
    let mut keep = vec![true; rows.num_rows()];
    for (row, _) in bad {
        if let Some(flag) = keep.get_mut(*row) {
            *flag = false;
        }
    }
    let keep = BooleanArray::new(keep.into(), None::<NullBuffer>);
    Ok(arrow::compute::filter_record_batch(rows, &keep)?)
}
