//! The least type that holds every value of two Arrow types exactly.

use arrow::datatypes::{DataType, TimeUnit};

/// Whether an integer type is signed, and its bits.
fn integer(t: &DataType) -> Option<(bool, u8)> {
    Some(match t {
        DataType::Int8 => (true, 8),
        DataType::Int16 => (true, 16),
        DataType::Int32 => (true, 32),
        DataType::Int64 => (true, 64),
        DataType::UInt8 => (false, 8),
        DataType::UInt16 => (false, 16),
        DataType::UInt32 => (false, 32),
        DataType::UInt64 => (false, 64),
        _ => return None,
    })
}

/// Bits of a float's significand (IEEE 754): integers of at most this many bits are exact.
fn float(t: &DataType) -> Option<u8> {
    match t {
        DataType::Float16 => Some(11),
        DataType::Float32 => Some(24),
        DataType::Float64 => Some(53),
        _ => None,
    }
}

/// Decimal digits that an integer type may need.
fn integer_digits((signed, bits): (bool, u8)) -> i16 {
    match (signed, bits) {
        (_, 8) => 3,
        (_, 16) => 5,
        (_, 32) => 10,
        (true, _) => 19,
        (false, _) => 20,
    }
}

/// Digits before and after the decimal point.
fn decimal(t: &DataType) -> Option<(i16, i16)> {
    match t {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((i16::from(*p) - i16::from(*s), i16::from(*s))),
        _ => integer(t).map(|i| (integer_digits(i), 0)),
    }
}

fn unit_rank(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    if unit_rank(a) >= unit_rank(b) { a } else { b }
}

/// The join of two leaf types; `None` if only text holds both.
///
/// A finer time unit covers fewer years. A value outside them makes the cast fail; it never wraps.
pub(super) fn join(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (T::Timestamp(ua, za), T::Timestamp(ub, zb)) if za == zb => {
            return Some(T::Timestamp(finer(*ua, *ub), za.clone()));
        }
        (T::Duration(ua), T::Duration(ub)) => return Some(T::Duration(finer(*ua, *ub))),
        (T::Date32, T::Date64) | (T::Date64, T::Date32) => return Some(T::Date64),
        (T::Binary, T::LargeBinary) | (T::LargeBinary, T::Binary) => return Some(T::LargeBinary),
        (T::BinaryView, T::Binary | T::LargeBinary) | (T::Binary | T::LargeBinary, T::BinaryView) => {
            return Some(T::BinaryView);
        }
        _ => {}
    }
    match (integer(a), integer(b)) {
        (Some(ia), Some(ib)) => return join_integers(ia, ib),
        (Some(i), None) => {
            if let Some(f) = float(b) {
                return join_integer_float(i, f);
            }
        }
        (None, Some(i)) => {
            if let Some(f) = float(a) {
                return join_integer_float(i, f);
            }
        }
        (None, None) => {}
    }
    if let (Some(fa), Some(fb)) = (float(a), float(b)) {
        return Some(if fa.max(fb) == 53 { T::Float64 } else { T::Float32 });
    }
    let (da, db) = (decimal(a)?, decimal(b)?);
    let (whole, scale) = (da.0.max(db.0), da.1.max(db.1));
    let (precision, scale) = (u8::try_from((whole + scale).max(1)).ok()?, i8::try_from(scale).ok()?);
    match precision {
        ..=38 => Some(T::Decimal128(precision, scale)),
        39..=76 => Some(T::Decimal256(precision, scale)),
        _ => None,
    }
}

fn join_integers(a: (bool, u8), b: (bool, u8)) -> Option<DataType> {
    let bits = match (a, b) {
        ((sa, ba), (sb, bb)) if sa == sb => return Some(integer_type(sa, ba.max(bb))),
        ((true, signed), (false, unsigned)) | ((false, unsigned), (true, signed)) => {
            signed.max(unsigned.checked_mul(2)?)
        }
        _ => return None,
    };
    (bits <= 64).then(|| integer_type(true, bits))
}

fn integer_type(signed: bool, bits: u8) -> DataType {
    match (signed, bits) {
        (true, ..=8) => DataType::Int8,
        (true, ..=16) => DataType::Int16,
        (true, ..=32) => DataType::Int32,
        (true, _) => DataType::Int64,
        (false, ..=8) => DataType::UInt8,
        (false, ..=16) => DataType::UInt16,
        (false, ..=32) => DataType::UInt32,
        (false, _) => DataType::UInt64,
    }
}

fn join_integer_float((signed, bits): (bool, u8), significand: u8) -> Option<DataType> {
    let needed = bits - u8::from(signed);
    match significand.max(needed) {
        ..=24 => Some(DataType::Float32),
        25..=53 => Some(DataType::Float64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_hold_both_sides_exactly() {
        use DataType::*;
        for (a, b, joined) in [
            (Int32, Int64, Some(Int64)),
            (UInt32, Int8, Some(Int64)),
            (UInt64, Int64, None),
            (Float32, Float64, Some(Float64)),
            (Int16, Float32, Some(Float32)),
            (Int32, Float32, Some(Float64)),
            (Int64, Float64, None),
            (Decimal128(10, 2), Decimal128(12, 6), Some(Decimal128(14, 6))),
            (Decimal128(38, 0), Decimal128(38, 38), Some(Decimal256(76, 38))),
            (Decimal128(10, 2), Int64, Some(Decimal128(21, 2))),
            (Decimal128(10, 2), Float64, None),
            (Boolean, Int8, None),
            (
                Timestamp(TimeUnit::Second, None),
                Timestamp(TimeUnit::Nanosecond, None),
                Some(Timestamp(TimeUnit::Nanosecond, None)),
            ),
            (Timestamp(TimeUnit::Second, None), Timestamp(TimeUnit::Second, Some("UTC".into())), None),
        ] {
            assert_eq!(join(&a, &b), joined, "{a} {b}");
            assert_eq!(join(&b, &a), joined, "{b} {a}");
        }
    }
}
