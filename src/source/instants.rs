//! Converts time columns of any type to the instants that route rows, and their statistics to time ranges.
//!
//! A routing instant is an `i64` in one unit for the whole job ([`routing_unit`]), rounded down. Rounding does not affect
//! routing, because window and partition bounds are whole microseconds. Values beyond `i64` saturate, which does not affect
//! routing either, because no bound saturates.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, Int64Array, PrimitiveArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Field, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::encode::CellTexts;
use crate::logical::{is_json, is_number};
use crate::time::local::LocalClock;
use crate::time::parse::{NUMBER_NEEDS_FORMAT, RawInstant, Reading};
use crate::time::{BadTime, TimeFormat, TimeParser};

/// Why a column cannot be the time column.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TimeColumnError {
    /// Numbers kept as text, with `format: auto`.
    #[error("the time column holds numbers: {}", NUMBER_NEEDS_FORMAT)]
    Numbers,
    /// Numbers of an Arrow type, with `format: auto`.
    #[error("the time column holds {0} values: {needs}", needs = NUMBER_NEEDS_FORMAT)]
    NumbersOfType(DataType),
    /// A type that is never a time.
    #[error(
        "the time column holds {0} values; a time is a timestamp, a date, a number or text, and `schema` can declare the \
         column as one of these"
    )]
    NotATime(DataType),
    /// A type whose values have no text form.
    #[error("{0} has no text")]
    NoText(DataType),
    /// A dictionary that cannot be decoded.
    #[error(transparent)]
    Dictionary(#[from] ArrowError),
}

/// The times of some rows.
#[derive(Debug, Clone)]
pub(crate) struct Instants {
    /// Instants in the requested unit since 1970-01-01T00:00:00Z, rounded down; null for rows without a time.
    pub values: Int64Array,
    /// Rows whose zone-less time occurs twice or never in its zone.
    pub ambiguous: u64,
    /// Rows whose value is not a time, in ascending order. They are null in `values`.
    pub bad: Vec<(u32, BadTime)>,
}

/// The unit that routes the rows of a window: nanoseconds if both bounds fit (years 1677 to 2262), else microseconds.
pub(crate) fn routing_unit(window_end: Timestamp, window_start: Timestamp) -> TimeUnit {
    let fits = |at: Timestamp| i64::try_from(at.as_nanosecond()).is_ok_and(|ns| ns > i64::MIN && ns < i64::MAX);
    if fits(window_start) && fits(window_end) { TimeUnit::Nanosecond } else { TimeUnit::Microsecond }
}

/// A bound of a window or partition in the routing unit.
pub(crate) fn bound(at: Timestamp, unit: TimeUnit) -> i64 {
    let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    let nanosecond = at.subsec_nanosecond().rem_euclid(1_000_000_000).unsigned_abs();
    ticks(second, nanosecond, ticks_per_second(unit))
}

/// Converts a time column. If its field is marked as JSON text, as columns that mix text and integers are, the time is
/// the content of the JSON string or the text of the number.
///
/// # Errors
/// [`TimeColumnError`] where the column's type cannot be a time in the declared format. Single values that are not times
/// go to [`Instants::bad`].
pub(crate) fn instants(
    field: &Field,
    column: &ArrayRef,
    parser: &TimeParser,
    unit: TimeUnit,
) -> Result<Instants, TimeColumnError> {
    let to = ticks_per_second(unit);
    let json = is_json(field);
    match column.data_type() {
        DataType::Null => Ok(Instants { values: Int64Array::new_null(column.len()), ambiguous: 0, bad: Vec::new() }),
        DataType::Timestamp(from, zone) => {
            let values = match from {
                TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values(),
                TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().values(),
                TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().values(),
                TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().values(),
            };
            let is_utc = zone.is_some() || parser.timezone.to_fixed_offset().is_ok_and(jiff::tz::Offset::is_zero);
            Ok(if is_utc {
                Instants {
                    values: typed(column, rescale(values, ticks_per_second(*from), to)),
                    ambiguous: 0,
                    bad: Vec::new(),
                }
            } else {
                readings(column, values.iter().copied(), ticks_per_second(*from), Reading::Time, parser, to)
            })
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().values();
            Ok(readings(column, days.iter().map(|&day| i64::from(day) * 86_400), 1, Reading::Date, parser, to))
        }
        DataType::Date64 => {
            let milliseconds = column.as_primitive::<Date64Type>().values();
            Ok(readings(column, milliseconds.iter().copied(), 1_000, Reading::Date, parser, to))
        }
        _ if is_number(field) && !parser.format.reads_numbers() => Err(TimeColumnError::Numbers),
        DataType::Utf8 => Ok(texts(column.as_string::<i32>(), json, parser, to)),
        DataType::LargeUtf8 => Ok(texts(column.as_string::<i64>(), json, parser, to)),
        DataType::Utf8View => Ok(texts(column.as_string_view(), json, parser, to)),
        data_type if data_type.is_numeric() && !parser.format.reads_numbers() => {
            Err(TimeColumnError::NumbersOfType(data_type.clone()))
        }
        DataType::Int8 => Ok(integers(column.as_primitive::<Int8Type>(), parser, to)),
        DataType::Int16 => Ok(integers(column.as_primitive::<Int16Type>(), parser, to)),
        DataType::Int32 => Ok(integers(column.as_primitive::<Int32Type>(), parser, to)),
        DataType::Int64 => Ok(integers(column.as_primitive::<Int64Type>(), parser, to)),
        DataType::UInt8 => Ok(integers(column.as_primitive::<UInt8Type>(), parser, to)),
        DataType::UInt16 => Ok(integers(column.as_primitive::<UInt16Type>(), parser, to)),
        DataType::UInt32 => Ok(integers(column.as_primitive::<UInt32Type>(), parser, to)),
        DataType::UInt64 => Ok(integers(column.as_primitive::<UInt64Type>(), parser, to)),
        data_type if data_type.is_floating() || data_type.is_decimal() => digits(field, column, parser, to),
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            let plain = arrow::compute::take(dictionary.values(), dictionary.keys(), None)?;
            instants(field, &plain, parser, unit)
        }
        other => Err(TimeColumnError::NotATime(other.clone())),
    }
}

/// The inclusive range of instants that the statistics of a time column prove for all its values.
///
/// `min` and `max` are the physical integers as the file stores them for `data_type`: ticks of the timestamp's unit,
/// days, milliseconds, or the integers themselves in an epoch format. Zone-less values convert exactly, except within two
/// days of a clock change, where the order of clock readings may differ from the order of instants: a bound there is moved
/// outwards by two days. `None` if the integers prove nothing.
pub(crate) fn typed_range(
    data_type: &DataType,
    min: i64,
    max: i64,
    parser: &TimeParser,
) -> Option<(Timestamp, Timestamp)> {
    if min > max {
        return None;
    }
    let local = |zone: &TimeZone, value: i64, ticks: i64, outwards: i64| {
        let second = value.div_euclid(ticks);
        let nanosecond = nanosecond(value, ticks);
        local_bound(zone, second, nanosecond, outwards)
    };
    match data_type {
        DataType::Timestamp(unit, Some(_)) => {
            let ticks = ticks_per_second(*unit);
            let utc = |value: i64| {
                let nanosecond = nanosecond(value, ticks);
                clamp(value.div_euclid(ticks), nanosecond)
            };
            Some((utc(min), utc(max)))
        }
        DataType::Timestamp(unit, None) => {
            let ticks = ticks_per_second(*unit);
            Some((local(&parser.timezone, min, ticks, -1), local(&parser.timezone, max, ticks, 1)))
        }
        DataType::Date32 => {
            let (first, last) = (min.saturating_mul(86_400), max.saturating_mul(86_400));
            Some((local(&parser.date_zone, first, 1, -1), local(&parser.date_zone, last, 1, 1)))
        }
        DataType::Date64 => Some((local(&parser.date_zone, min, 1_000, -1), local(&parser.date_zone, max, 1_000, 1))),
        integer if integer.is_integer() => match parser.format {
            // The order of digits in a pattern may differ from the order of time.
            TimeFormat::Auto | TimeFormat::Pattern(_) | TimeFormat::AnyOf(_) => None,
            _ => Some((parser.integer(min).ok()?.at, parser.integer(max).ok()?.at)),
        },
        _ => None,
    }
}

/// Distance from a clock change within which the order of clock readings may differ from the order of instants.
const UNORDERED: SignedDuration = SignedDuration::from_hours(48);

/// One bound of a range of zone-less times, moved outwards (`-1` or `1`) if a clock change is near.
fn local_bound(zone: &TimeZone, second: i64, nanosecond: u32, outwards: i64) -> Timestamp {
    let Some((second, ambiguous)) = LocalClock::new(zone).instant(second) else {
        return if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    };
    let at = clamp(second, nanosecond);
    let near = |change: Option<Timestamp>| change.is_some_and(|change| change.duration_until(at).abs() < UNORDERED);
    if ambiguous
        || near(zone.preceding(at).next().map(|change| change.timestamp()))
        || near(zone.following(at).next().map(|change| change.timestamp()))
        || near(zone.to_fixed_offset().is_err().then_some(at).filter(|&at| is_change(zone, at)))
    {
        let moved = if outwards < 0 { at.checked_sub(UNORDERED) } else { at.checked_add(UNORDERED) };
        return moved.unwrap_or(if outwards < 0 { Timestamp::MIN } else { Timestamp::MAX });
    }
    at
}

/// Whether the clock changes exactly at this instant, which neither `preceding` nor `following` finds.
fn is_change(zone: &TimeZone, at: Timestamp) -> bool {
    at.checked_sub(SignedDuration::from_nanos(1)).is_ok_and(|before| zone.to_offset(before) != zone.to_offset(at))
}

pub(in crate::source) fn ticks_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// The nanoseconds of a count of ticks after its whole second.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "fewer than 10^9")]
fn nanosecond(value: i64, per_second: i64) -> u32 {
    (value.rem_euclid(per_second) * (1_000_000_000 / per_second)) as u32
}

/// The nearest instant within the range of jiff.
fn clamp(second: i64, nanosecond: u32) -> Timestamp {
    let limit = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::new(second, nanosecond as i32).unwrap_or(limit)
}

/// Seconds and nanoseconds in ticks, rounded down, saturating.
#[inline]
pub(in crate::source) fn ticks(second: i64, nanosecond: u32, per_second: i64) -> i64 {
    let rest = i64::from(nanosecond) / (1_000_000_000 / per_second);
    match second.checked_mul(per_second).and_then(|whole| whole.checked_add(rest)) {
        Some(ticks) => ticks,
        None => {
            let exact = i128::from(second) * i128::from(per_second) + i128::from(rest);
            i64::try_from(exact).unwrap_or(if second < 0 { i64::MIN } else { i64::MAX })
        }
    }
}

/// Ticks in another unit, rounded down, saturating. Does not copy if the unit is the same.
fn rescale(values: &ScalarBuffer<i64>, from: i64, to: i64) -> ScalarBuffer<i64> {
    if from == to {
        values.clone()
    } else if from < to {
        let factor = to / from;
        values.iter().map(|value| value.saturating_mul(factor)).collect()
    } else {
        let factor = from / to;
        values.iter().map(|value| value.div_euclid(factor)).collect()
    }
}

/// The values with the nulls of their column.
fn typed(column: &dyn Array, values: ScalarBuffer<i64>) -> Int64Array {
    Int64Array::new(values, column.nulls().cloned())
}

/// Converts zone-less clock readings or dates. `from` is the number of ticks per second.
fn readings(
    column: &dyn Array,
    values: impl Iterator<Item = i64>,
    from: i64,
    kind: fn(i64) -> Reading,
    parser: &TimeParser,
    to: i64,
) -> Instants {
    let nulls = column.nulls();
    let mut clock = parser.clock();
    let mut ambiguous = 0;
    let values = values
        .enumerate()
        .map(|(row, value)| {
            let second = value.div_euclid(from);
            let nanosecond = nanosecond(value, from);
            match clock.instant(kind(second)) {
                Some((second, guessed)) => {
                    ambiguous += u64::from(guessed && nulls.is_none_or(|nulls| nulls.is_valid(row)));
                    ticks(second, nanosecond, to)
                }
                // Outside the years of jiff, so outside every window.
                None if second < 0 => i64::MIN,
                None => i64::MAX,
            }
        })
        .collect();
    Instants { values: typed(column, values), ambiguous, bad: Vec::new() }
}

/// Collects instants and bad values.
struct Collector {
    values: Vec<i64>,
    ambiguous: u64,
    bad: Vec<(u32, BadTime)>,
    per_second: i64,
}

impl Collector {
    fn new(rows: usize, per_second: i64) -> Self {
        Self { values: Vec::with_capacity(rows), ambiguous: 0, bad: Vec::new(), per_second }
    }

    #[inline]
    fn push(&mut self, row: usize, parsed: Result<RawInstant, BadTime>) {
        match parsed {
            Ok(raw) => {
                self.ambiguous += u64::from(raw.ambiguous);
                self.values.push(ticks(raw.second, raw.nanosecond, self.per_second));
            }
            Err(bad) => {
                self.bad.push((u32::try_from(row).unwrap_or(u32::MAX), bad));
                self.values.push(0);
            }
        }
    }

    fn finish(self, nulls: Option<&NullBuffer>) -> Instants {
        let nulls = if self.bad.is_empty() {
            nulls.cloned()
        } else {
            let mut valid = BooleanBufferBuilder::new(self.values.len());
            match nulls {
                Some(nulls) => valid.append_buffer(nulls.inner()),
                None => valid.append_n(self.values.len(), true),
            }
            for (row, _) in &self.bad {
                valid.set_bit(*row as usize, false);
            }
            Some(NullBuffer::new(valid.finish()))
        };
        Instants { values: Int64Array::new(self.values.into(), nulls), ambiguous: self.ambiguous, bad: self.bad }
    }
}

fn texts<'a>(column: impl ArrayAccessor<Item = &'a str>, json: bool, parser: &TimeParser, to: i64) -> Instants {
    let mut nulls = column.nulls();
    let without_json_nulls;
    if json {
        let valid = |row: usize| column.is_valid(row) && column.value(row).trim_ascii() != "null";
        without_json_nulls = (0..column.len()).map(valid).collect::<NullBuffer>();
        nulls = Some(&without_json_nulls);
    }
    let mut clock = parser.clock();
    let mut out = Collector::new(column.len(), to);
    for row in 0..column.len() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.values.push(0);
            continue;
        }
        let value = if json { content(column.value(row)) } else { Cow::Borrowed(column.value(row)) };
        out.push(row, parser.raw_text(&value, |reading| clock.instant(reading)));
    }
    out.finish(nulls)
}

/// Converts floats and decimals, using the digits that shards show.
fn digits(field: &Field, column: &ArrayRef, parser: &TimeParser, to: i64) -> Result<Instants, TimeColumnError> {
    let mut cells =
        CellTexts::new(field, column.as_ref()).ok_or_else(|| TimeColumnError::NoText(field.data_type().clone()))?;
    let mut clock = parser.clock();
    let mut out = Collector::new(column.len(), to);
    let mut bytes = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            out.values.push(0);
            continue;
        }
        bytes.clear();
        cells.append(row, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        out.push(row, parser.raw_text(&text, |reading| clock.instant(reading)));
    }
    Ok(out.finish(column.nulls()))
}

/// The content of a JSON string; any other text unchanged, without surrounding blanks.
fn content(json: &str) -> Cow<'_, str> {
    let json = json.trim_ascii();
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains(['"', '\\']) => Cow::Borrowed(plain),
        Some(_) => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
        None => Cow::Borrowed(json),
    }
}

fn integers<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, parser: &TimeParser, to: i64) -> Instants
where
    T::Native: TryInto<i64> + std::fmt::Display,
{
    let nulls = column.nulls();
    let mut out = Collector::new(column.len(), to);
    for (row, &value) in column.values().iter().enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.values.push(0);
            continue;
        }
        let parsed = match value.try_into() {
            Ok(value) => parser.raw_integer(value),
            Err(_) => Err(BadTime::new(&value.to_string(), "too large for any unit of time")),
        };
        out.push(row, parsed);
    }
    out.finish(nulls)
}

#[cfg(test)]
mod tests;
