//! Times, durations and binary: text in CSV, strings without escapes in JSON.

use arrow::array::{Array, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

use super::civil::{Day, clock, ticks_per_second};
use super::span::{day_time, duration, month_day_nano, months};

/// The cells of a time, duration or binary column.
pub(super) enum Stamp<'a> {
    /// Ticks since 1970-01-01T00:00:00, whether they are UTC, the unit.
    Timestamp(&'a [i64], bool, TimeUnit, Day),
    Date32(&'a [i32], Day),
    /// Milliseconds. By Arrow's rules, they are whole days; others are written with a time of day.
    Date64(&'a [i64], Day),
    TimeSecond(&'a [i32]),
    TimeMillisecond(&'a [i32]),
    TimeMicrosecond(&'a [i64]),
    TimeNanosecond(&'a [i64]),
    Duration(&'a [i64], TimeUnit),
    Months(&'a [i32]),
    DayTime(&'a [IntervalDayTime]),
    MonthDayNano(&'a [IntervalMonthDayNano]),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    FixedSizeBinary(&'a FixedSizeBinaryArray),
}

impl<'a> Stamp<'a> {
    /// `None` for a column of another type.
    pub(super) fn new(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Timestamp(unit, zone) => {
                let values: &'a [i64] = match unit {
                    TimeUnit::Second => array.as_primitive_opt::<TimestampSecondType>()?.values(),
                    TimeUnit::Millisecond => array.as_primitive_opt::<TimestampMillisecondType>()?.values(),
                    TimeUnit::Microsecond => array.as_primitive_opt::<TimestampMicrosecondType>()?.values(),
                    TimeUnit::Nanosecond => array.as_primitive_opt::<TimestampNanosecondType>()?.values(),
                };
                let utc = zone.as_ref().is_some_and(|zone| !zone.is_empty());
                Self::Timestamp(values, utc, *unit, Day::new())
            }
            DataType::Date32 => Self::Date32(array.as_primitive_opt::<Date32Type>()?.values(), Day::new()),
            DataType::Date64 => Self::Date64(array.as_primitive_opt::<Date64Type>()?.values(), Day::new()),
            DataType::Time32(TimeUnit::Second) => {
                Self::TimeSecond(array.as_primitive_opt::<Time32SecondType>()?.values())
            }
            DataType::Time32(TimeUnit::Millisecond) => {
                Self::TimeMillisecond(array.as_primitive_opt::<Time32MillisecondType>()?.values())
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::TimeMicrosecond(array.as_primitive_opt::<Time64MicrosecondType>()?.values())
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                Self::TimeNanosecond(array.as_primitive_opt::<Time64NanosecondType>()?.values())
            }
            DataType::Duration(unit) => {
                let values: &'a [i64] = match unit {
                    TimeUnit::Second => array.as_primitive_opt::<DurationSecondType>()?.values(),
                    TimeUnit::Millisecond => array.as_primitive_opt::<DurationMillisecondType>()?.values(),
                    TimeUnit::Microsecond => array.as_primitive_opt::<DurationMicrosecondType>()?.values(),
                    TimeUnit::Nanosecond => array.as_primitive_opt::<DurationNanosecondType>()?.values(),
                };
                Self::Duration(values, *unit)
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                Self::Months(array.as_primitive_opt::<IntervalYearMonthType>()?.values())
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                Self::DayTime(array.as_primitive_opt::<IntervalDayTimeType>()?.values())
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Self::MonthDayNano(array.as_primitive_opt::<IntervalMonthDayNanoType>()?.values())
            }
            DataType::Binary => Self::Binary(array.as_binary_opt()?),
            DataType::LargeBinary => Self::LargeBinary(array.as_binary_opt()?),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view_opt()?),
            DataType::FixedSizeBinary(_) => Self::FixedSizeBinary(array.as_fixed_size_binary_opt()?),
            _ => return None,
        })
    }

    /// Appends the text of a row that is not null.
    #[inline]
    pub(super) fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Timestamp(values, utc, unit, day) => {
                let value = values[row];
                match unit {
                    TimeUnit::Second => timestamp::<0>(value, day, out),
                    TimeUnit::Millisecond => timestamp::<3>(value, day, out),
                    TimeUnit::Microsecond => timestamp::<6>(value, day, out),
                    TimeUnit::Nanosecond => timestamp::<9>(value, day, out),
                }
                if *utc {
                    out.push(b'Z');
                }
            }
            Self::Date32(values, day) => day.write(i64::from(values[row]), out),
            Self::Date64(values, day) => {
                let value = values[row];
                if value % MILLIS_PER_DAY == 0 {
                    day.write(value / MILLIS_PER_DAY, out);
                } else {
                    timestamp::<3>(value, day, out);
                }
            }
            Self::TimeSecond(values) => clock::<0>(i64::from(values[row]), out),
            Self::TimeMillisecond(values) => clock::<3>(i64::from(values[row]), out),
            Self::TimeMicrosecond(values) => clock::<6>(values[row], out),
            Self::TimeNanosecond(values) => clock::<9>(values[row], out),
            Self::Duration(values, unit) => match unit {
                TimeUnit::Second => duration::<0>(values[row], out),
                TimeUnit::Millisecond => duration::<3>(values[row], out),
                TimeUnit::Microsecond => duration::<6>(values[row], out),
                TimeUnit::Nanosecond => duration::<9>(values[row], out),
            },
            Self::Months(values) => months(values[row], out),
            Self::DayTime(values) => day_time(values[row], out),
            Self::MonthDayNano(values) => month_day_nano(values[row], out),
            Self::Binary(array) => hex(array.value(row), out),
            Self::LargeBinary(array) => hex(array.value(row), out),
            Self::BinaryView(array) => hex(array.value(row), out),
            Self::FixedSizeBinary(array) => hex(array.value(row), out),
        }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;
const MILLIS_PER_DAY: i64 = SECONDS_PER_DAY * 1000;

/// Appends a date and time from ticks of 10^-`DIGITS` seconds since 1970-01-01T00:00:00.
#[inline]
fn timestamp<const DIGITS: usize>(ticks: i64, day: &mut Day, out: &mut Vec<u8>) {
    let per_day = SECONDS_PER_DAY * ticks_per_second::<DIGITS>() as i64;
    day.write_with_t(ticks.div_euclid(per_day), out);
    clock::<DIGITS>(ticks.rem_euclid(per_day), out);
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A byte in lower-case hex.
#[inline]
pub(super) fn hex_pair(byte: u8) -> [u8; 2] {
    [HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]]
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    for &byte in bytes {
        out.extend_from_slice(&hex_pair(byte));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampNanosecondArray, TimestampSecondArray};
    use proptest::prelude::*;

    use super::*;

    fn text(array: ArrayRef) -> String {
        let mut out = Vec::new();
        Stamp::new(&array).unwrap().write(0, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_at_the_ends_of_their_types_do_not_wrap() {
        let seconds = |v| text(Arc::new(TimestampSecondArray::from(vec![v]).with_timezone("UTC")));
        assert_eq!(seconds(i64::MAX), "+292277026596-12-04T15:30:07Z");
        assert_eq!(seconds(i64::MIN), "-292277022657-01-27T08:29:52Z");
        let nanos = |v| text(Arc::new(TimestampNanosecondArray::from(vec![v])));
        assert_eq!(nanos(i64::MAX), "2262-04-11T23:47:16.854775807");
        assert_eq!(nanos(i64::MIN), "1677-09-21T00:12:43.145224192");
        assert_eq!(nanos(-1), "1969-12-31T23:59:59.999999999");
    }

    #[test]
    fn any_zone_is_written_in_utc_and_no_zone_without_z() {
        for zone in ["UTC", "Europe/Berlin", "+05:30", "nowhere"] {
            let array = TimestampSecondArray::from(vec![0]).with_timezone(zone);
            assert_eq!(text(Arc::new(array)), "1970-01-01T00:00:00Z");
        }
        assert_eq!(text(Arc::new(TimestampSecondArray::from(vec![0]))), "1970-01-01T00:00:00");
    }

    proptest! {
        #[test]
        fn jiff_reads_timestamps_back(nanos in any::<i64>()) {
            let read: jiff::Timestamp =
                text(Arc::new(TimestampNanosecondArray::from(vec![nanos]).with_timezone("UTC"))).parse().unwrap();
            prop_assert_eq!(read.as_nanosecond(), i128::from(nanos));
        }
    }
}
