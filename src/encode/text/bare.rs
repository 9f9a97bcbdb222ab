//! Booleans, integers and decimals: the same text in CSV and JSON.

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use super::decimal::{decimal, decimal256};

/// The cells of a boolean, integer or decimal column.
pub(super) enum Bare<'a> {
    Boolean(&'a BooleanBuffer),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    Decimal32(&'a [i32], i8),
    Decimal64(&'a [i64], i8),
    Decimal128(&'a [i128], i8),
    Decimal256(&'a [i256], i8),
}

impl<'a> Bare<'a> {
    /// `None` for a column of another type.
    pub(super) fn new(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean_opt()?.values()),
            DataType::Int8 => Self::I8(array.as_primitive_opt::<Int8Type>()?.values()),
            DataType::Int16 => Self::I16(array.as_primitive_opt::<Int16Type>()?.values()),
            DataType::Int32 => Self::I32(array.as_primitive_opt::<Int32Type>()?.values()),
            DataType::Int64 => Self::I64(array.as_primitive_opt::<Int64Type>()?.values()),
            DataType::UInt8 => Self::U8(array.as_primitive_opt::<UInt8Type>()?.values()),
            DataType::UInt16 => Self::U16(array.as_primitive_opt::<UInt16Type>()?.values()),
            DataType::UInt32 => Self::U32(array.as_primitive_opt::<UInt32Type>()?.values()),
            DataType::UInt64 => Self::U64(array.as_primitive_opt::<UInt64Type>()?.values()),
            DataType::Decimal32(_, scale) => {
                Self::Decimal32(array.as_primitive_opt::<Decimal32Type>()?.values(), *scale)
            }
            DataType::Decimal64(_, scale) => {
                Self::Decimal64(array.as_primitive_opt::<Decimal64Type>()?.values(), *scale)
            }
            DataType::Decimal128(_, scale) => {
                Self::Decimal128(array.as_primitive_opt::<Decimal128Type>()?.values(), *scale)
            }
            DataType::Decimal256(_, scale) => {
                Self::Decimal256(array.as_primitive_opt::<Decimal256Type>()?.values(), *scale)
            }
            _ => return None,
        })
    }

    /// Appends the text of a row that is not null.
    #[inline]
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        let mut buffer = itoa::Buffer::new();
        let digits = match self {
            Self::Boolean(values) => {
                if values.value(row) {
                    "true"
                } else {
                    "false"
                }
            }
            Self::I8(values) => buffer.format(values[row]),
            Self::I16(values) => buffer.format(values[row]),
            Self::I32(values) => buffer.format(values[row]),
            Self::I64(values) => buffer.format(values[row]),
            Self::U8(values) => buffer.format(values[row]),
            Self::U16(values) => buffer.format(values[row]),
            Self::U32(values) => buffer.format(values[row]),
            Self::U64(values) => buffer.format(values[row]),
            Self::Decimal32(values, scale) => return decimal(buffer.format(values[row]), *scale, out),
            Self::Decimal64(values, scale) => return decimal(buffer.format(values[row]), *scale, out),
            Self::Decimal128(values, scale) => return decimal(buffer.format(values[row]), *scale, out),
            Self::Decimal256(values, scale) => return decimal256(values[row], *scale, out),
        };
        out.extend_from_slice(digits.as_bytes());
    }
}
