//! Passes Arrow arrays to polars through the Arrow C data interface, without a copy.
//!
//! This is the only module with `unsafe`. It is needed because the two libraries declare their own types for the same
//! structure, <https://arrow.apache.org/docs/format/CDataInterface.html>, and each must trust the other that an array
//! matches its type. Only types without children or dictionaries are accepted, which keeps the trusted surface small. The
//! result comes back as a bitmap of a few bytes per batch, by a safe copy.
#![allow(unsafe_code, reason = "the C data interface consists of raw pointers")]

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::ffi::{FFI_ArrowArray, to_ffi};
use polars::prelude::{PlSmallStr, Series};
use polars_arrow::datatypes::ArrowDataType;
use polars_arrow::ffi::ArrowArray;

use super::QueryError;

/// A polars series over the buffers of `array`, which it keeps alive.
///
/// # Errors
/// [`QueryError::Import`] for a type other than bool, 32- and 64-bit integers, float64, `Utf8View` and
/// `Decimal128(_, 0)`, or where polars refuses the buffers.
pub(super) fn series(name: PlSmallStr, array: &ArrayRef) -> Result<Series, QueryError> {
    let refused = |why: String| QueryError::Import { column: name.to_string(), why };
    let data_type = match array.data_type() {
        DataType::Boolean => ArrowDataType::Boolean,
        DataType::Int32 => ArrowDataType::Int32,
        DataType::Int64 => ArrowDataType::Int64,
        DataType::UInt32 => ArrowDataType::UInt32,
        DataType::UInt64 => ArrowDataType::UInt64,
        DataType::Float64 => ArrowDataType::Float64,
        DataType::Utf8View => ArrowDataType::Utf8View,
        DataType::Decimal128(precision, 0) => ArrowDataType::Decimal(usize::from(*precision), 0),
        other => return Err(refused(format!("{other} has no counterpart"))),
    };
    let (exported, _schema) = to_ffi(&array.to_data()).map_err(|e| refused(e.to_string()))?;

    // SAFETY: both types are `#[repr(C)]` declarations of the specification's `struct ArrowArray`, with the same
    // fields in the same order (size is checked by the compiler, alignment is that of `i64` and pointers in both).
    // The value is moved: `transmute` forgets the source, so the release callback runs exactly once, from the drop
    // of whichever side owns it last, and the specification lets a structure move in memory before its release.
    let foreign: ArrowArray = unsafe { std::mem::transmute::<FFI_ArrowArray, ArrowArray>(exported) };

    // SAFETY: `foreign` is a live export (`release` is set and was not called), and `data_type` is the counterpart
    // of the type that the exporter had, see the match above, so number, order and length of its buffers are what
    // polars will read. arrow-rs validates offsets, views and UTF-8 when an array is made by safe code. The buffers
    // are immutable for as long as they live: they are behind reference counts, one of which the export holds until
    // polars calls `release`; arrow-rs gives out `&mut` only to a sole owner. Buffers of arrow-rs are aligned for
    // their type except `i128` on old allocations and slices of foreign memory, which polars checks and copies.
    let imported = unsafe { polars_arrow::ffi::import_array_from_c(foreign, data_type) };

    let imported = imported.map_err(|e| refused(e.to_string()))?;
    Series::try_from((name.clone(), imported)).map_err(|e| refused(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use polars::prelude::AnyValue;

    use super::*;

    fn values(array: ArrayRef) -> Vec<String> {
        let series = series("x".into(), &array).unwrap();
        (0..series.len())
            .map(|i| match series.get(i).unwrap() {
                AnyValue::String(s) => s.to_owned(),
                AnyValue::Decimal(v, _, _) => v.to_string(),
                other => other.to_string(),
            })
            .collect()
    }

    #[test]
    fn slices_with_nulls_arrive_as_they_were() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MIN), Some(4)]));
        assert_eq!(values(ints.slice(1, 2)), ["null", "-9223372036854775808"]);
        let bools: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]));
        assert_eq!(values(bools.slice(1, 4)), ["null", "false", "true", "null"]);
        let long = "a text that is too long to stand inside its view";
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), Some(long), None, Some("")]));
        assert_eq!(values(text.slice(1, 3)), [long, "null", ""]);
        let wide = Decimal128Array::from(vec![Some(i128::MAX / 10), None, Some(-5)]);
        let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(38, 0).unwrap());
        assert_eq!(values(wide.slice(0, 3)), [(i128::MAX / 10).to_string(), "null".into(), "-5".into()]);
        let none: ArrayRef = Arc::new(StringViewArray::from(Vec::<&str>::new()));
        assert_eq!(values(none), [""; 0]);
    }

    #[test]
    fn buffers_live_as_long_as_the_series_and_no_longer() {
        let array = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let held: ArrayRef = array.clone();
        let imported = series("x".into(), &held).unwrap();
        drop(held);
        let buffer = array.values().inner().clone();
        drop(array);
        assert_eq!(imported.i64().unwrap().get(2), Some(3));
        assert!(buffer.strong_count() > 1);
        drop(imported);
        assert_eq!(buffer.strong_count(), 1);
    }

    #[test]
    fn other_types_are_refused() {
        let array: ArrayRef = Arc::new(Date32Array::from(vec![1]));
        let error = series("day".into(), &array).unwrap_err();
        assert_eq!(error.to_string(), "column `day` cannot be passed to the query engine: Date32 has no counterpart");
    }
}
