//! Parses text and integers into UTC instants, as `time.format` in a catalog describes.
//!
//! Times decide which partition a row belongs to, so they must be exact: nothing is rounded, every field is range-checked,
//! and a value that does not match the format is a [`BadTime`], never a guess.
//!
//! Instants after [`Timestamp::MAX`] (9999-12-30T22:00:00.999999999Z) up to the end of the year 9999 are read as
//! `Timestamp::MAX`. `9999-12-31T23:59:59Z` is a common way to write "never"; no window reaches that far, so the row is
//! correctly outside every window.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use super::local::{self, LocalClock};
use super::rfc3339;
use super::zone;
use crate::number::{NoCount, NumberText};

/// The format of a time column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeFormat {
    /// Typed timestamps, dates and RFC 3339 text.
    #[default]
    Auto,
    /// Seconds since 1970-01-01T00:00:00Z, with or without a fraction.
    EpochS,
    /// Milliseconds.
    EpochMs,
    /// Microseconds.
    EpochUs,
    /// Nanoseconds.
    EpochNs,
    /// Text in a strftime pattern, which may end with `*` for text that is ignored.
    Pattern(String),
    /// The first of these that fits a value. None is itself `AnyOf`.
    AnyOf(Vec<TimeFormat>),
}

impl TimeFormat {
    /// The formats, in the order in which they are tried.
    pub(crate) fn alternatives(&self) -> &[Self] {
        match self {
            Self::AnyOf(formats) => formats,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether numbers can be times.
    pub(crate) fn reads_numbers(&self) -> bool {
        self.alternatives().iter().any(|format| *format != Self::Auto)
    }

    /// Whether text is matched with a strftime pattern.
    pub(crate) fn has_pattern(&self) -> bool {
        self.alternatives().iter().any(|format| matches!(format, Self::Pattern(_)))
    }

    /// Whether times are numbers since 1970.
    pub(crate) fn is_epoch(&self) -> bool {
        self.ticks().is_some()
    }

    /// Ticks per second and the name of the unit, for epoch formats.
    fn ticks(&self) -> Option<(i64, &'static str)> {
        match self {
            Self::Auto | Self::Pattern(_) | Self::AnyOf(_) => None,
            Self::EpochS => Some((1, "seconds")),
            Self::EpochMs => Some((1_000, "milliseconds")),
            Self::EpochUs => Some((1_000_000, "microseconds")),
            Self::EpochNs => Some((1_000_000_000, "nanoseconds")),
        }
    }
}

/// Checks that strptime can read what strftime writes with a pattern, which is not true of all patterns.
///
/// # Errors
/// [`PatternError`].
pub(crate) fn check_pattern(pattern: &str) -> Result<(), PatternError> {
    let text = sample(pattern)?;
    match BrokenDownTime::parse(pattern, &text) {
        Ok(_) => Ok(()),
        Err(error) => Err(PatternError::NotReadable { text, why: TextError::Incomplete(error) }),
    }
}

/// Checks that the output of a strftime pattern can be read back as an instant, or as a date or local time that a zone
/// turns into one. The check parses a sample with the parser used for rows.
///
/// # Errors
/// [`PatternError`].
pub(crate) fn check_instant_pattern(pattern: &str) -> Result<(), PatternError> {
    let text = sample(pattern)?;
    let place = |(Reading::Time(second) | Reading::Date(second))| Some((second, false));
    parse_pattern(pattern, &text, place).map(drop).map_err(|why| PatternError::NotReadable { text: text.clone(), why })
}

/// Which values of a format depend on a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadByZone {
    /// None: all values are instants.
    Nothing,
    /// Dates without a time of day. They use the zone of the window.
    Dates,
    /// Local times. They use the zone of the source.
    Times,
}

/// Which values of a format depend on a time zone, found by parsing a sample.
pub(crate) fn read_by_zone(format: &TimeFormat) -> ReadByZone {
    let pattern = match format {
        TimeFormat::AnyOf(formats) => {
            let all: Vec<_> = formats.iter().map(read_by_zone).collect();
            let wanted = [ReadByZone::Times, ReadByZone::Dates].into_iter().find(|wanted| all.contains(wanted));
            return wanted.unwrap_or(ReadByZone::Nothing);
        }
        TimeFormat::Pattern(pattern) => pattern,
        TimeFormat::Auto => return ReadByZone::Times,
        TimeFormat::EpochS | TimeFormat::EpochMs | TimeFormat::EpochUs | TimeFormat::EpochNs => {
            return ReadByZone::Nothing;
        }
    };
    let mut placed = ReadByZone::Nothing;
    let place = |reading: Reading| {
        let (Reading::Time(second) | Reading::Date(second)) = reading;
        placed = if reading == Reading::Date(second) { ReadByZone::Dates } else { ReadByZone::Times };
        Some((second, false))
    };
    let pattern = with_offset_field(pattern).unwrap_or_else(|| pattern.clone());
    match sample(&pattern).map(|text| parse_pattern(&pattern, &text, place).map(drop)) {
        Ok(Ok(())) => placed,
        // A spec cannot contain such a pattern.
        Ok(Err(_)) | Err(_) => ReadByZone::Times,
    }
}

/// A sample time in a pattern. Its day, month and hour cannot be mistaken for each other.
fn sample(pattern: &str) -> Result<String, PatternError> {
    let zone = zone::find("Europe/Berlin")?;
    let local = date(2026, 11, 23).at(14, 35, 46, 123_456_789);
    let sample = zone.to_ambiguous_zoned(local).compatible()?;
    Ok(strtime::format(pattern, &sample)?)
}

/// Why a strftime pattern cannot be a time format.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    /// strptime does not read what strftime writes.
    #[error("it writes `{text}`, which cannot be read back: {why}")]
    NotReadable {
        /// A sample in the pattern.
        text: String,
        /// Why it is not a time.
        why: TextError,
    },
    /// The zone of the sample is not in the time zone database.
    #[error(transparent)]
    Zone(#[from] zone::UnknownZone),
    /// Not a strftime pattern.
    #[error(transparent)]
    Format(#[from] jiff::Error),
}

/// Why a text is not a time in its pattern.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextError {
    /// The text does not match the pattern.
    #[error("expected the pattern `{pattern}`: {cause}")]
    Shape {
        /// The pattern.
        pattern: String,
        /// The parser's message.
        cause: jiff::Error,
    },
    /// Second 60.
    #[error(transparent)]
    LeapSecond(rfc3339::Fault),
    /// A fraction of a second whose sign the parser drops.
    #[error("fractions of seconds before 1970 are not understood in a pattern")]
    NegativeFraction,
    /// The zone in the text is not in the time zone database.
    #[error(transparent)]
    Zone(#[from] zone::UnknownZone),
    /// No abbreviation of the table is in the text.
    #[error("no zone of `time.zones` is in it: {0}")]
    NoAbbreviation(String),
    /// The fields do not make a date, or the text does not match.
    #[error(transparent)]
    Incomplete(#[from] jiff::Error),
}

/// An instant, and whether its local time was ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    /// UTC.
    pub at: Timestamp,
    /// The local time occurs twice in its zone (the earlier instant is used) or never (it is shifted forward).
    pub ambiguous: bool,
}

/// A value that is not a time in the declared format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a time: {why}")]
pub(crate) struct BadTime {
    /// The value, truncated to 80 characters.
    pub value: String,
    /// What was expected.
    pub why: String,
}

impl BadTime {
    /// Truncates the value to 80 characters.
    pub(crate) fn new(value: &str, why: impl Into<String>) -> Self {
        Self { value: value.chars().take(80).collect(), why: why.into() }
    }
}

/// Parses the times of one source.
#[derive(Debug, Clone)]
pub(crate) struct TimeParser {
    /// The declared format.
    pub format: TimeFormat,
    /// The zone of times without a zone.
    pub timezone: TimeZone,
    /// The zone of dates without a time of day: the zone of the window.
    pub date_zone: TimeZone,
    /// Offsets of zone abbreviations, for `%Z`.
    pub zones: Arc<BTreeMap<String, String>>,
}

/// An instant as whole seconds and a fraction, not yet limited to the range of [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawInstant {
    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub second: i64,
    /// The fraction, 0 to 999,999,999.
    pub nanosecond: u32,
    /// See [`Instant::ambiguous`].
    pub ambiguous: bool,
}

/// A reading of a local clock or calendar, in seconds since its 1970-01-01T00:00:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A date and time of day.
    Time(i64),
    /// A date, as its first second.
    Date(i64),
}

/// Converts readings to instants, as [`local::resolve`] does.
#[derive(Debug)]
pub(crate) struct Clock<'z> {
    times: LocalClock<'z>,
    dates: LocalClock<'z>,
}

impl Clock<'_> {
    /// The instant of a reading in seconds, and whether the reading was ambiguous.
    #[inline]
    pub(crate) fn instant(&mut self, reading: Reading) -> Option<(i64, bool)> {
        match reading {
            Reading::Time(second) => self.times.instant(second),
            Reading::Date(second) => self.dates.instant(second),
        }
    }
}

/// Nanoseconds per second.
const NANOSECONDS: i64 = 1_000_000_000;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

impl TimeParser {
    /// A parser that uses one zone for times and dates.
    pub(crate) fn new(format: TimeFormat, timezone: TimeZone) -> Self {
        Self { format, date_zone: timezone.clone(), timezone, zones: Arc::default() }
    }

    /// Uses another zone for dates without a time of day.
    pub(crate) fn with_date_zone(self, date_zone: TimeZone) -> Self {
        Self { date_zone, ..self }
    }

    /// Parses text.
    ///
    /// # Errors
    /// [`BadTime`] where the text does not match the format or is out of range (years 0000 to 9999; patterns and epochs from
    /// -9999; a leap second `:60` is refused).
    pub(crate) fn text(&self, value: &str) -> Result<Instant, BadTime> {
        self.raw_text(value, |reading| self.resolve(reading)).map(fit)
    }

    /// Parses an integer. With a pattern, its decimal digits are parsed as text (`%Y%m%d`).
    ///
    /// # Errors
    /// [`BadTime`] where the format is `auto` or the value is out of range.
    pub(crate) fn integer(&self, value: i64) -> Result<Instant, BadTime> {
        self.raw_integer(value).map(fit)
    }

    /// Uses these meanings of zone abbreviations, each an offset as `%z` reads it.
    pub(crate) fn with_zones(self, zones: BTreeMap<String, String>) -> Self {
        Self { zones: Arc::new(zones), ..self }
    }

    /// Clocks that convert the zone-less times and dates of this source.
    pub(crate) fn clock(&self) -> Clock<'_> {
        Clock { times: LocalClock::new(&self.timezone), dates: LocalClock::new(&self.date_zone) }
    }

    fn resolve(&self, reading: Reading) -> Option<(i64, bool)> {
        match reading {
            Reading::Time(second) => local::resolve(&self.timezone, second),
            Reading::Date(second) => local::resolve(&self.date_zone, second),
        }
    }

    /// [`Self::text`], with `place` converting zone-less readings, as [`local::resolve`] does.
    #[inline]
    pub(crate) fn raw_text(
        &self,
        value: &str,
        mut place: impl FnMut(Reading) -> Option<(i64, bool)>,
    ) -> Result<RawInstant, BadTime> {
        match &self.format {
            TimeFormat::AnyOf(formats) => {
                first_that_fits(&value, formats, |format| self.raw_text_in(format, value, &mut place))
            }
            format => self.raw_text_in(format, value, place),
        }
    }

    /// Parses text in a format other than [`TimeFormat::AnyOf`].
    #[inline]
    fn raw_text_in(
        &self,
        format: &TimeFormat,
        value: &str,
        mut place: impl FnMut(Reading) -> Option<(i64, bool)>,
    ) -> Result<RawInstant, BadTime> {
        match format {
            TimeFormat::Auto => {
                let written =
                    rfc3339::parse(value.as_bytes()).map_err(|fault| BadTime::new(value, fault.to_string()))?;
                let (second, ambiguous) = match written.offset_second {
                    Some(offset) => (written.local_second - i64::from(offset), false),
                    // Out of jiff's range means after its last instant, because years begin at 0000.
                    None if written.date_only => {
                        place(Reading::Date(written.local_second)).unwrap_or((LAST_SECOND, false))
                    }
                    None => place(Reading::Time(written.local_second)).unwrap_or((LAST_SECOND, false)),
                };
                Ok(RawInstant { second, nanosecond: written.nanosecond, ambiguous })
            }
            TimeFormat::Pattern(pattern) => {
                self.parse_pattern(pattern, value, place).map_err(|why| BadTime::new(value, why.to_string()))
            }
            TimeFormat::EpochS | TimeFormat::EpochMs | TimeFormat::EpochUs | TimeFormat::EpochNs => {
                match value.parse::<i64>() {
                    Ok(ticks) => self.raw_integer_in(format, ticks),
                    Err(_) => fraction(format, value),
                }
            }
            // Formats are not nested.
            TimeFormat::AnyOf(_) => Err(BadTime::new(value, "expected one format")),
        }
    }

    /// Parses text with a pattern, whose `%Z` is an abbreviation of the table.
    fn parse_pattern(
        &self,
        pattern: &str,
        value: &str,
        place: impl FnMut(Reading) -> Option<(i64, bool)>,
    ) -> Result<RawInstant, TextError> {
        match Some(pattern).filter(|_| !self.zones.is_empty()).and_then(with_offset_field) {
            None => parse_pattern(pattern, value, place),
            Some(pattern) => {
                let value = with_offset(value, &self.zones)?;
                parse_pattern(&pattern, &value, place)
            }
        }
    }

    /// [`Self::integer`] without the limit to [`Timestamp`].
    #[inline]
    pub(crate) fn raw_integer(&self, value: i64) -> Result<RawInstant, BadTime> {
        match &self.format {
            TimeFormat::AnyOf(formats) => first_that_fits(&value, formats, |format| self.raw_integer_in(format, value)),
            format => self.raw_integer_in(format, value),
        }
    }

    /// [`Self::raw_integer`] in a format other than [`TimeFormat::AnyOf`].
    #[inline]
    fn raw_integer_in(&self, format: &TimeFormat, value: i64) -> Result<RawInstant, BadTime> {
        let Some((ticks, unit)) = format.ticks() else {
            let mut digits = itoa::Buffer::new();
            let text = digits.format(value);
            return match format {
                TimeFormat::Pattern(_) => self.raw_text_in(format, text, |reading| self.resolve(reading)),
                _ => Err(BadTime::new(text, NUMBER_NEEDS_FORMAT)),
            };
        };
        let second = value.div_euclid(ticks);
        let nanosecond = value.rem_euclid(ticks) * (NANOSECONDS / ticks);
        if !(Timestamp::MIN.as_second()..=LAST_SECOND).contains(&second) {
            let mut digits = itoa::Buffer::new();
            return Err(outside(digits.format(value), unit));
        }
        #[expect(clippy::cast_possible_truncation, reason = "fewer than 10^9")]
        Ok(RawInstant { second, nanosecond: nanosecond as u32, ambiguous: false })
    }
}

/// The error of a number under `auto`.
pub(crate) const NUMBER_NEEDS_FORMAT: &str =
    "a number needs `time.format`: epoch_s, epoch_ms, epoch_us or epoch_ns, or a strftime pattern such as \"%Y%m%d\"";

fn outside(value: &str, unit: &str) -> BadTime {
    let why = format!("as {unit} since 1970-01-01 it is outside the years -9999 to 9999; is the unit right?");
    BadTime::new(value, why)
}

/// Limits an instant to the range of jiff.
fn fit(raw: RawInstant) -> Instant {
    let at = Timestamp::new(raw.second, raw.nanosecond as i32).unwrap_or(if raw.second < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    Instant { at, ambiguous: raw.ambiguous }
}

/// Seconds of a clock reading as if the clock showed UTC, and the fraction. `None` after jiff's last instant.
fn reading(civil: DateTime) -> Option<(i64, u32)> {
    let at = Offset::UTC.to_timestamp(civil).ok()?;
    let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    Some((second, civil.subsec_nanosecond().unsigned_abs()))
}

/// A pattern with `%z` in place of `%Z`; `None` if it has no `%Z`.
pub(crate) fn with_offset_field(pattern: &str) -> Option<String> {
    let mut replaced = String::with_capacity(pattern.len());
    let mut has_field = false;
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        replaced.push_str(before);
        replaced.push('%');
        let mut field = after.chars();
        replaced.extend(match field.next() {
            Some('Z') => {
                has_field = true;
                Some('z')
            }
            other => other,
        });
        rest = field.as_str();
    }
    replaced.push_str(rest);
    has_field.then_some(replaced)
}

/// A text with an offset in place of its last word that is a zone abbreviation.
fn with_offset(value: &str, zones: &BTreeMap<String, String>) -> Result<String, TextError> {
    let is_word = |byte: u8| byte.is_ascii_alphabetic();
    let bytes = value.as_bytes();
    let mut end = bytes.len();
    while let Some(last) = bytes.get(..end).and_then(|bytes| bytes.iter().rposition(|b| is_word(*b))) {
        let before = bytes.get(..last).and_then(|bytes| bytes.iter().rposition(|b| !is_word(*b)));
        let start = before.map_or(0, |before| before + 1);
        if let Some(offset) = value.get(start..=last).and_then(|word| zones.get(word)) {
            let (before, after) = (value.get(..start).unwrap_or_default(), value.get(last + 1..).unwrap_or_default());
            return Ok(format!("{before}{offset}{after}"));
        }
        end = start;
    }
    Err(TextError::NoAbbreviation(zones.keys().map(String::as_str).collect::<Vec<_>>().join(", ")))
}

/// What the first format that fits makes of a value.
fn first_that_fits(
    value: &dyn Display,
    formats: &[TimeFormat],
    mut read: impl FnMut(&TimeFormat) -> Result<RawInstant, BadTime>,
) -> Result<RawInstant, BadTime> {
    let mut reasons = Vec::new();
    for format in formats {
        match read(format) {
            Ok(instant) => return Ok(instant),
            Err(bad) => reasons.push(bad.why),
        }
    }
    Err(BadTime::new(&value.to_string(), format!("none of the {} formats fits: {}", formats.len(), reasons.join("; "))))
}

/// Parses a number in an epoch format that is not a 64-bit integer, exactly to the nanosecond.
fn fraction(format: &TimeFormat, value: &str) -> Result<RawInstant, BadTime> {
    let (ticks, unit) = format.ticks().unwrap_or((1, "seconds"));
    let number = NumberText::parse(value)
        .ok_or_else(|| BadTime::new(value, format!("expected a number of {unit} since 1970-01-01")))?;
    // A tick is 10^9, 10^6, 10^3 or 1 nanoseconds.
    let power = i64::from((NANOSECONDS / ticks).ilog10());
    let nanoseconds = match number.count(power) {
        Ok(nanoseconds) => nanoseconds,
        Err(NoCount::Finer) => {
            let why = format!("as {unit} since 1970-01-01 it has digits below the nanosecond, which cannot be kept");
            return Err(BadTime::new(value, why));
        }
        Err(NoCount::TooLarge) => return Err(outside(value, unit)),
    };
    let second = i64::try_from(nanoseconds.div_euclid(NANOSECONDS.into())).map_err(|_| outside(value, unit))?;
    if !(Timestamp::MIN.as_second()..=LAST_SECOND).contains(&second) {
        return Err(outside(value, unit));
    }
    #[expect(clippy::cast_possible_truncation, reason = "fewer than 10^9")]
    let nanosecond = nanoseconds.rem_euclid(NANOSECONDS.into()) as u32;
    Ok(RawInstant { second, nanosecond, ambiguous: false })
}

/// Parses text with strptime. The pattern may lack an offset, a zone or a time of day. It has no `%Z`.
fn parse_pattern(
    pattern: &str,
    value: &str,
    mut place: impl FnMut(Reading) -> Option<(i64, bool)>,
) -> Result<RawInstant, TextError> {
    let parsed = strptime(pattern, value).map_err(|cause| TextError::Shape { pattern: pattern.to_owned(), cause })?;
    if parsed.second() == Some(59) && is_leap_second(pattern, value) {
        return Err(TextError::LeapSecond(rfc3339::Fault::Second(60)));
    }
    if let Some(at) = parsed.timestamp() {
        let nanosecond = parsed.subsec_nanosecond().unwrap_or(0).unsigned_abs();
        // The parser has dropped the sign of "-0.5".
        if nanosecond != 0 && value.contains('-') {
            return Err(TextError::NegativeFraction);
        }
        return Ok(RawInstant { second: at.as_second(), nanosecond, ambiguous: false });
    }
    let civil = parsed.to_datetime()?;
    // Only the last two days of the year 9999 have no reading. `LAST_SECOND` is outside every window as well.
    let (second, nanosecond) = reading(civil).unwrap_or((LAST_SECOND, 0));
    let of_day = if parsed.hour().is_none() { Reading::Date } else { Reading::Time };
    let (second, ambiguous) = match (parsed.offset(), parsed.iana_time_zone()) {
        (None, None) => place(of_day(second)).unwrap_or((if second < 0 { i64::MIN } else { LAST_SECOND }, false)),
        (Some(offset), None) => (second.saturating_sub(i64::from(offset.seconds())), false),
        (None, Some(name)) => {
            let zone = zone::find(name)?;
            local::resolve(&zone, second).unwrap_or((LAST_SECOND, false))
        }
        (Some(_), Some(_)) => {
            let at = parsed.to_zoned_with(zone::database())?.timestamp();
            (at.as_second() - i64::from(at.subsec_nanosecond() < 0), false)
        }
    };
    Ok(RawInstant { second, nanosecond, ambiguous })
}

/// strptime reads second 60 as 59. If a text says 60, then replacing it by 58 must yield second 58.
fn is_leap_second(pattern: &str, value: &str) -> bool {
    value.match_indices("60").any(|(at, _)| {
        let mut other = value.to_owned();
        other.replace_range(at..at + 2, "58");
        strptime(pattern, &other).is_ok_and(|parsed| parsed.second() == Some(58))
    })
}

/// Reads text in a pattern. A `*` at its end stands for any text, which is ignored.
fn strptime(pattern: &str, value: &str) -> Result<BrokenDownTime, jiff::Error> {
    match pattern.strip_suffix('*') {
        Some(beginning) => BrokenDownTime::parse_prefix(beginning, value).map(|(parsed, _)| parsed),
        None => BrokenDownTime::parse(pattern, value),
    }
}

#[cfg(test)]
mod tests;
