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
        _ if is_number(field) && parser.format == TimeFormat::Auto => Err(TimeColumnError::Numbers),
        DataType::Utf8 => Ok(texts(column.as_string::<i32>(), json, parser, to)),
        DataType::LargeUtf8 => Ok(texts(column.as_string::<i64>(), json, parser, to)),
        DataType::Utf8View => Ok(texts(column.as_string_view(), json, parser, to)),
        data_type if data_type.is_numeric() && parser.format == TimeFormat::Auto => {
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
            TimeFormat::Auto | TimeFormat::Pattern(_) => None,
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
mod tests {
    use super::*;
    use crate::time::zone;
    use arrow::array::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn parser(format: TimeFormat, name: &str) -> TimeParser {
        TimeParser::new(format, zone::find(name).unwrap())
    }

    fn field(column: &ArrayRef) -> Field {
        Field::new("t", column.data_type().clone(), true)
    }

    fn ns(array: impl Array + 'static, parser: &TimeParser) -> Instants {
        let column: ArrayRef = Arc::new(array);
        instants(&field(&column), &column, parser, TimeUnit::Nanosecond).unwrap()
    }

    fn shown(instants: &Instants) -> Vec<Option<String>> {
        instants
            .values
            .iter()
            .map(|v| v.map(|v| Timestamp::from_nanosecond(i128::from(v)).unwrap().to_string()))
            .collect()
    }

    #[test]
    fn text_of_every_array_type_gives_the_same_instants() {
        let rows = vec![Some("2026-03-01T12:00:00.5Z"), None, Some("never"), Some("2026-10-25T02:30:00")];
        let parser = parser(TimeFormat::Auto, "Europe/Berlin");
        let dictionary: DictionaryArray<Int8Type> = rows.iter().copied().collect();
        for array in [
            Arc::new(StringArray::from(rows.clone())) as ArrayRef,
            Arc::new(LargeStringArray::from(rows.clone())),
            Arc::new(StringViewArray::from(rows.clone())),
            Arc::new(dictionary),
        ] {
            let got = instants(&field(&array), &array, &parser, TimeUnit::Nanosecond).unwrap();
            let want = [Some("2026-03-01T12:00:00.5Z"), None, None, Some("2026-10-25T00:30:00Z")];
            assert_eq!(shown(&got), want.map(|t| t.map(str::to_owned)));
            assert_eq!(got.ambiguous, 1);
            assert_eq!(got.bad.iter().map(|(row, bad)| (*row, bad.value.as_str())).collect::<Vec<_>>(), [(2, "never")]);
        }
    }

    #[test]
    fn text_that_holds_json_gives_the_times_inside() {
        let field = crate::logical::json_field(Field::new("t", DataType::Utf8View, true));
        let rows = vec![
            Some(r#""2026-03-01T12:00:00Z""#),
            Some(r#""2026-03-01T12:00:00\u005a""#),
            Some(r#" "2026-03-01T12:00:00Z" "#),
            None,
            Some("null"),
            Some("2026-03-01T12:00:00Z"),
            Some(r#""2026-03-01T12:00:00Z"#),
            Some(r#"["2026-03-01T12:00:00Z"]"#),
            Some("1772366400"),
        ];
        let noon = || Some("2026-03-01T12:00:00Z".to_owned());
        for array in [
            Arc::new(StringArray::from(rows.clone())) as ArrayRef,
            Arc::new(LargeStringArray::from(rows.clone())),
            Arc::new(StringViewArray::from(rows.clone())),
        ] {
            let field = field.clone().with_data_type(array.data_type().clone());
            let got = instants(&field, &array, &parser(TimeFormat::Auto, "UTC"), TimeUnit::Nanosecond).unwrap();
            assert_eq!(shown(&got), [noon(), noon(), noon(), None, None, noon(), None, None, None]);
            assert_eq!(got.bad.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [6, 7, 8]);
        }
        let rows = vec![
            Some("1772366400"),
            Some(r#""1772366400""#),
            Some("1772366400.0"),
            Some("1772366400.0000000001"),
            Some("true"),
        ];
        let array: ArrayRef = Arc::new(StringViewArray::from(rows));
        let got = instants(&field, &array, &parser(TimeFormat::EpochS, "UTC"), TimeUnit::Nanosecond).unwrap();
        assert_eq!(shown(&got), [noon(), noon(), noon(), None, None]);
        let array: ArrayRef = Arc::new(StringViewArray::from(vec!["20260301", r#""20260301""#]));
        let days = parser(TimeFormat::Pattern("%Y%m%d".to_owned()), "UTC");
        let got = instants(&field, &array, &days, TimeUnit::Nanosecond).unwrap();
        assert!(got.bad.is_empty(), "{:?}", got.bad);
        // Text that is not marked as JSON is read literally.
        let plain = Field::new("t", DataType::Utf8View, true);
        let array: ArrayRef = Arc::new(StringViewArray::from(vec![r#""2026-03-01T12:00:00Z""#]));
        assert_eq!(instants(&plain, &array, &days, TimeUnit::Nanosecond).unwrap().bad.len(), 1);
    }

    #[test]
    fn timestamps_with_a_zone_are_utc_and_those_without_are_local() {
        let berlin = parser(TimeFormat::Auto, "Europe/Berlin");
        // 2026-10-25T02:30:00 read as UTC.
        let array = TimestampMillisecondArray::from(vec![Some(1_792_895_400_000), None]);
        let local = ns(array.clone(), &berlin);
        assert_eq!(shown(&local), [Some("2026-10-25T00:30:00Z".to_owned()), None]);
        assert_eq!(local.ambiguous, 1);
        let zoned = ns(array.with_timezone("America/New_York"), &berlin);
        assert_eq!(shown(&zoned), [Some("2026-10-25T02:30:00Z".to_owned()), None]);
        assert_eq!(zoned.ambiguous, 0);
        let dates = ns(Date32Array::from(vec![Some(20_513), None]), &berlin);
        assert_eq!(shown(&dates), [Some("2026-02-28T23:00:00Z".to_owned()), None]);
        let dates = ns(Date64Array::from(vec![20_513 * 86_400_000]), &berlin);
        assert_eq!(shown(&dates), [Some("2026-02-28T23:00:00Z".to_owned())]);
    }

    #[test]
    fn a_date_alone_is_a_day_of_the_window_and_a_time_is_one_of_the_source() {
        let zone = |name| zone::find(name).unwrap();
        let auto = TimeParser::new(TimeFormat::Auto, zone("UTC")).with_date_zone(zone("America/New_York"));
        let days = TimeParser { format: TimeFormat::Pattern("%d.%m.%Y".to_owned()), ..auto.clone() };
        let digits = TimeParser { format: TimeFormat::Pattern("%Y%m%d".to_owned()), ..auto.clone() };
        let midnight = [Some("2026-03-02T05:00:00Z".to_owned())];
        assert_eq!(shown(&ns(StringArray::from(vec!["2026-03-02"]), &auto)), midnight);
        assert_eq!(shown(&ns(StringArray::from(vec!["02.03.2026"]), &days)), midnight);
        assert_eq!(shown(&ns(Int64Array::from(vec![20_260_302]), &digits)), midnight);
        assert_eq!(shown(&ns(Date32Array::from(vec![20_514]), &auto)), midnight);
        assert_eq!(shown(&ns(Date64Array::from(vec![20_514 * 86_400_000]), &auto)), midnight);
        let (from, to) = typed_range(&DataType::Date32, 20_514, 20_514, &auto).unwrap();
        assert_eq!([Some(from.to_string()), Some(to.to_string())], [midnight[0].clone(), midnight[0].clone()]);
        let time = ns(StringArray::from(vec!["2026-03-02T00:00:00"]), &auto);
        assert_eq!(shown(&time), [Some("2026-03-02T00:00:00Z".to_owned())]);
        let time = ns(TimestampSecondArray::from(vec![1_772_409_600]), &auto);
        assert_eq!(shown(&time), [Some("2026-03-02T00:00:00Z".to_owned())]);
    }

    #[test]
    fn what_no_window_can_reach_saturates() {
        let utc = parser(TimeFormat::Auto, "UTC");
        for zone in [None, Some("UTC")] {
            let array = TimestampSecondArray::from(vec![i64::MIN, 253_402_300_799, i64::MAX]).with_timezone_opt(zone);
            assert_eq!(ns(array, &utc).values.values().to_vec(), [i64::MIN, i64::MAX, i64::MAX]);
        }
        let berlin = parser(TimeFormat::Auto, "Europe/Berlin");
        let array = TimestampSecondArray::from(vec![i64::MIN, 253_402_300_799, i64::MAX]);
        assert_eq!(ns(array, &berlin).values.values().to_vec(), [i64::MIN, i64::MAX, i64::MAX]);
        let text = ns(StringArray::from(vec!["1600-01-01T00:00:00Z", "2500-01-01T00:00:00Z"]), &utc);
        assert_eq!(text.values.values().to_vec(), [i64::MIN, i64::MAX]);
    }

    #[test]
    fn microseconds_are_rounded_down_on_both_sides_of_1970() {
        let utc = parser(TimeFormat::Auto, "UTC");
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]).with_timezone("UTC"));
        assert_eq!(
            instants(&field(&column), &column, &utc, TimeUnit::Microsecond).unwrap().values.values().to_vec(),
            [1, -1]
        );
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]));
        assert_eq!(
            instants(&field(&column), &column, &utc, TimeUnit::Microsecond).unwrap().values.values().to_vec(),
            [1, -1]
        );
        let column: ArrayRef = Arc::new(StringArray::from(vec!["1969-12-31T23:59:59.999999999Z"]));
        assert_eq!(
            instants(&field(&column), &column, &utc, TimeUnit::Microsecond).unwrap().values.values().to_vec(),
            [-1]
        );
        assert_eq!(bound("1969-12-31T23:59:59.999999Z".parse().unwrap(), TimeUnit::Microsecond), -1);
    }

    #[test]
    fn integers_need_a_unit_and_are_checked() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let error =
            instants(&field(&column), &column, &parser(TimeFormat::Auto, "UTC"), TimeUnit::Nanosecond).unwrap_err();
        assert!(error.to_string().contains("epoch_ms"), "{error}");
        let ms = parser(TimeFormat::EpochMs, "UTC");
        let got = ns(UInt64Array::from(vec![Some(1_772_366_400_000), None, Some(u64::MAX), Some(1 << 62)]), &ms);
        assert_eq!(shown(&got), [Some("2026-03-01T12:00:00Z".to_owned()), None, None, None]);
        assert_eq!(got.bad.iter().map(|b| b.0).collect::<Vec<_>>(), [2, 3]);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let auto = parser(TimeFormat::Auto, "UTC");
        let error = instants(&field(&column), &column, &auto, TimeUnit::Nanosecond).unwrap_err().to_string();
        assert!(error.contains("Float64") && error.contains("epoch_s"), "{error}");
        let column: ArrayRef = Arc::new(NullArray::new(2));
        assert_eq!(instants(&field(&column), &column, &ms, TimeUnit::Nanosecond).unwrap().values.null_count(), 2);
    }

    #[test]
    fn fractions_of_an_epoch_are_exact_to_the_nanosecond_in_every_type() {
        let seconds = parser(TimeFormat::EpochS, "UTC");
        let want = || [Some("2026-03-01T12:00:00.123Z".to_owned()), None, Some("2026-03-01T12:00:00.45Z".to_owned())];
        let decimal = Decimal128Array::from(vec![Some(1_772_366_400_123), None, Some(1_772_366_400_450)]);
        let texts = vec![Some("1772366400.123"), None, Some("1772366400.450")];
        for array in [
            Arc::new(Float64Array::from(vec![Some(1_772_366_400.123), None, Some(1_772_366_400.45)])) as ArrayRef,
            Arc::new(decimal.with_precision_and_scale(18, 3).unwrap()),
            Arc::new(StringViewArray::from(texts)),
        ] {
            let got = instants(&field(&array), &array, &seconds, TimeUnit::Nanosecond).unwrap();
            assert_eq!(shown(&got), want(), "{}", array.data_type());
        }
        for (format, text, nanosecond) in [
            (TimeFormat::EpochS, "1.772366400123456789E9", 1_772_366_400_123_456_789),
            (TimeFormat::EpochMs, "1772366400123.456789", 1_772_366_400_123_456_789),
            (TimeFormat::EpochUs, "1772366400123456.789", 1_772_366_400_123_456_789),
            (TimeFormat::EpochNs, "1772366400123456789.0", 1_772_366_400_123_456_789),
            (TimeFormat::EpochS, "-0.5", -500_000_000),
        ] {
            assert_eq!(ns(StringArray::from(vec![text]), &parser(format, "UTC")).values.value(0), nanosecond, "{text}");
        }
        for (format, text, why) in [
            (TimeFormat::EpochS, "1772366400.1234567891", "digits below the nanosecond"),
            (TimeFormat::EpochNs, "1.5", "digits below the nanosecond"),
            (TimeFormat::EpochS, "1e30", "outside the years"),
            (TimeFormat::EpochS, "NaN", "expected a number of seconds"),
        ] {
            let got = ns(StringArray::from(vec![text]), &parser(format, "UTC"));
            assert!(got.bad[0].1.why.contains(why), "{text}: {:?}", got.bad);
        }
    }

    #[test]
    fn a_window_is_routed_by_nanoseconds_where_it_fits() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(routing_unit(at("2026-04-01T00:00:00Z"), at("2026-03-01T00:00:00Z")), TimeUnit::Nanosecond);
        assert_eq!(routing_unit(at("2263-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z")), TimeUnit::Microsecond);
        assert_eq!(routing_unit(at("2026-03-01T00:00:00Z"), at("1600-01-01T00:00:00Z")), TimeUnit::Microsecond);
    }

    #[test]
    fn statistics_give_ranges_that_hold_every_value() {
        let berlin = parser(TimeFormat::EpochMs, "Europe/Berlin");
        let range = |data_type: DataType, min, max| {
            typed_range(&data_type, min, max, &berlin).map(|(a, b)| (a.to_string(), b.to_string()))
        };
        let (from, to) = (1_772_366_400, 1_772_370_000);
        let utc = Some(("2026-03-01T12:00:00Z".to_owned(), "2026-03-01T13:00:00Z".to_owned()));
        let local = Some(("2026-03-01T11:00:00Z".to_owned(), "2026-03-01T12:00:00Z".to_owned()));
        assert_eq!(range(DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), from, to), utc);
        assert_eq!(range(DataType::Timestamp(TimeUnit::Second, None), from, to), local);
        assert_eq!(range(DataType::Int64, from * 1000, to * 1000), utc);
        assert_eq!(range(DataType::Date32, 20_513, 20_513).unwrap().0, "2026-02-28T23:00:00Z");
        assert_eq!(range(DataType::Int64, 2, 1), None);
        assert_eq!(range(DataType::Utf8, 1, 2), None);
        assert_eq!(range(DataType::Date32, i64::MIN, i64::MAX).unwrap().0, Timestamp::MIN.to_string());
    }

    proptest! {
        #[test]
        fn a_column_agrees_with_the_parser_row_by_row(
            rows in prop::collection::vec(prop::option::of("(20[0-9]{2}-(03|10)-(2[0-9]|30)[T ]0[0-3]:[0-5][0-9]:00(\\.[0-9]{1,9})?(Z|\\+01:00)?|x)"), 0..80)
        ) {
            let parser = parser(TimeFormat::Auto, "Europe/Berlin");
            let got = ns(StringViewArray::from(rows.clone()), &parser);
            let mut ambiguous = 0;
            for (row, text) in rows.iter().enumerate() {
                let want = text.as_deref().and_then(|text| parser.text(text).ok());
                ambiguous += u64::from(want.is_some_and(|w| w.ambiguous));
                prop_assert_eq!(got.values.is_valid(row).then(|| got.values.value(row)), want.map(|w| bound(w.at, TimeUnit::Nanosecond)));
            }
            prop_assert_eq!(got.ambiguous, ambiguous);
            prop_assert_eq!(got.bad.len(), rows.iter().filter(|r| r.as_deref() == Some("x")).count());
        }

        #[test]
        fn a_range_of_local_times_holds_all_of_them(
            base in prop::sample::select(vec![
                ("Europe/Berlin", 1_774_749_600_i64), ("Europe/Berlin", 1_792_895_400), ("America/St_Johns", 1_162_087_200),
                ("Pacific/Apia", 1_325_203_200), ("Australia/Lord_Howe", 1_775_354_400), ("America/Juneau", -3_225_222_000),
            ]),
            spread in prop::collection::vec(-300_000_i64..300_000, 1..20),
        ) {
            let parser = parser(TimeFormat::Auto, base.0);
            let readings: Vec<i64> = spread.iter().map(|s| base.1 + s).collect();
            let (min, max) = (*readings.iter().min().unwrap(), *readings.iter().max().unwrap());
            let (from, to) = typed_range(&DataType::Timestamp(TimeUnit::Second, None), min, max, &parser).unwrap();
            for value in ns(TimestampSecondArray::from(readings), &parser).values.values() {
                let at = Timestamp::from_nanosecond(i128::from(*value)).unwrap();
                prop_assert!(from <= at && at <= to, "{} {} {}", from, at, to);
            }
        }
    }
}
