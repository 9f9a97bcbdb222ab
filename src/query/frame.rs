//! Converts a batch to a polars frame with only the inputs of the condition, each in its storage.
//!
//! Conversions are lossless and mostly free (an instant is already an integer). A conversion that would lose data fails.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use polars::prelude::{Column, DataFrame, IntoColumn, PlSmallStr};

use super::arithmetic::scalar;
use super::expr::{Input, Origin};
use super::ffi;
use super::kind::Storage;
use super::{QueryError, lower};

/// The inputs' values for the rows of a batch.
///
/// # Errors
/// [`QueryError`] where a column is missing or a value does not fit its storage.
pub(super) fn frame(inputs: &[Input], rows: &RecordBatch) -> Result<DataFrame, QueryError> {
    let mut columns = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let values = match &input.origin {
            Origin::Column(name) => {
                let column =
                    rows.column_by_name(name).ok_or_else(|| QueryError::MissingColumn { column: name.clone() })?;
                convert(column, input.storage).map_err(|source| QueryError::Convert { column: name.clone(), source })?
            }
            Origin::Computed(arithmetic) => arithmetic
                .evaluate(rows)
                .and_then(|values| convert(&values, input.storage))
                .map_err(QueryError::Arithmetic)?,
            Origin::Compared(comparison) => comparison.evaluate(rows).map_err(QueryError::Arithmetic)?,
        };
        let name: PlSmallStr = lower::input_name(index);
        columns.push(ffi::series(name, &values)?.into_column());
    }
    DataFrame::new(rows.num_rows(), columns).map_err(QueryError::Engine)
}

/// The boolean columns of a frame, with nulls as false.
///
/// # Errors
/// [`QueryError::Unexpected`] where a column has the wrong number of values.
pub(super) fn selections(frame: &DataFrame, rows: usize) -> Result<Vec<BooleanBuffer>, QueryError> {
    frame.columns().iter().map(|column| selection(column, rows)).collect()
}

fn selection(column: &Column, rows: usize) -> Result<BooleanBuffer, QueryError> {
    let unexpected = |what: String| QueryError::Unexpected { what };
    let series = column.as_materialized_series().rechunk();
    let booleans = series.bool().map_err(QueryError::Engine)?;
    if booleans.len() != rows {
        return Err(unexpected(format!("{} values for {rows} rows", booleans.len())));
    }
    let chunk = booleans.downcast_iter().next().ok_or_else(|| unexpected("no values".to_owned()))?;
    let copy = |bits: &polars_arrow::bitmap::Bitmap| {
        let (bytes, offset, length) = bits.as_slice();
        BooleanBuffer::new(Buffer::from(bytes), offset, length)
    };
    let values = copy(chunk.values());
    Ok(chunk.validity().map_or(values.clone(), |valid| &values & &copy(valid)))
}

fn convert(array: &ArrayRef, storage: Storage) -> Result<ArrayRef, ArrowError> {
    if storage == Storage::Validity {
        let bits = BooleanBuffer::new_set(array.len());
        return Ok(Arc::new(BooleanArray::new(bits, array.logical_nulls())));
    }
    let array = plain(array)?;
    match storage {
        Storage::Bool => cast(&array, &DataType::Boolean),
        Storage::Int32 if *array.data_type() == DataType::Date64 => {
            cast(&cast(&array, &DataType::Date32)?, &DataType::Int32)
        }
        Storage::Int32 => cast(&array, &DataType::Int32),
        Storage::UInt32 => cast(&array, &DataType::UInt32),
        Storage::Int64 => cast(&array, &DataType::Int64),
        Storage::UInt64 => cast(&array, &DataType::UInt64),
        Storage::Float => cast(&array, &DataType::Float64),
        Storage::Text => cast(&array, &DataType::Utf8View),
        Storage::Wide { power } => wide(&array, power),
        Storage::Validity => Ok(array),
    }
}

/// The unscaled integers of decimals, or integers and times, multiplied by `10^power`.
fn wide(array: &ArrayRef, power: u32) -> Result<ArrayRef, ArrowError> {
    let counted = match array.data_type() {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => cast(array, &DataType::Decimal128(*p, *s))?,
        DataType::Decimal128(..) => array.clone(),
        DataType::UInt64 => cast(array, &DataType::Decimal128(20, 0))?,
        DataType::Date32 | DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, &DataType::Decimal128(20, 0))?,
        _ => cast(&cast(array, &DataType::Int64)?, &DataType::Decimal128(20, 0))?,
    };
    let mantissas: Decimal128Array =
        counted.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(38, 0)?;
    if power == 0 {
        return Ok(Arc::new(mantissas));
    }
    let factor = 10i128.checked_pow(power).ok_or_else(|| ArrowError::ArithmeticOverflow(format!("10^{power}")))?;
    let scaled = numeric::mul(&mantissas, &scalar(factor)?)?;
    scaled.as_primitive::<Decimal128Type>().validate_decimal_precision(38)?;
    Ok(scaled)
}

/// Decodes a dictionary; other arrays stay unchanged.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values),
        _ => Ok(array.clone()),
    }
}

/// Arrow's cast, but a value that does not fit is an error instead of null.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}
