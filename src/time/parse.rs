//! Parses text and integers into UTC instants, as `time.format` in a catalog describes.
//!
//! Times decide which partition a row belongs to, so they must be exact: nothing is rounded, every field is range-checked,
//! and a value that does not match the format is a [`BadTime`], never a guess.
//!
//! Instants after [`Timestamp::MAX`] (9999-12-30T22:00:00.999999999Z) up to the end of the year 9999 are read as
//! `Timestamp::MAX`. `9999-12-31T23:59:59Z` is a common way to write "never"; no window reaches that far, so the row is
//! correctly outside every window.

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
    /// Text in a strftime pattern.
    Pattern(String),
}

impl TimeFormat {
    /// Ticks per second and the name of the unit, for epoch formats.
    fn ticks(&self) -> Option<(i64, &'static str)> {
        match self {
            Self::Auto | Self::Pattern(_) => None,
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
    let TimeFormat::Pattern(pattern) = format else {
        return if *format == TimeFormat::Auto { ReadByZone::Times } else { ReadByZone::Nothing };
    };
    let mut placed = ReadByZone::Nothing;
    let place = |reading: Reading| {
        let (Reading::Time(second) | Reading::Date(second)) = reading;
        placed = if reading == Reading::Date(second) { ReadByZone::Dates } else { ReadByZone::Times };
        Some((second, false))
    };
    match sample(pattern).map(|text| parse_pattern(pattern, &text, place).map(drop)) {
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
        Self { format, date_zone: timezone.clone(), timezone }
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
        place: impl FnOnce(Reading) -> Option<(i64, bool)>,
    ) -> Result<RawInstant, BadTime> {
        match &self.format {
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
                parse_pattern(pattern, value, place).map_err(|why| BadTime::new(value, why.to_string()))
            }
            TimeFormat::EpochS | TimeFormat::EpochMs | TimeFormat::EpochUs | TimeFormat::EpochNs => {
                match value.parse::<i64>() {
                    Ok(ticks) => self.raw_integer(ticks),
                    Err(_) => self.fraction(value),
                }
            }
        }
    }

    /// Parses a number in an epoch format that is not a 64-bit integer, exactly to the nanosecond.
    fn fraction(&self, value: &str) -> Result<RawInstant, BadTime> {
        let (ticks, unit) = self.format.ticks().unwrap_or((1, "seconds"));
        let number = NumberText::parse(value)
            .ok_or_else(|| BadTime::new(value, format!("expected a number of {unit} since 1970-01-01")))?;
        // A tick is 10^9, 10^6, 10^3 or 1 nanoseconds.
        let power = i64::from((NANOSECONDS / ticks).ilog10());
        let nanoseconds = match number.count(power) {
            Ok(nanoseconds) => nanoseconds,
            Err(NoCount::Finer) => {
                let why =
                    format!("as {unit} since 1970-01-01 it has digits below the nanosecond, which cannot be kept");
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

    /// [`Self::integer`] without the limit to [`Timestamp`].
    #[inline]
    pub(crate) fn raw_integer(&self, value: i64) -> Result<RawInstant, BadTime> {
        let Some((ticks, unit)) = self.format.ticks() else {
            let mut digits = itoa::Buffer::new();
            let text = digits.format(value);
            return match &self.format {
                TimeFormat::Pattern(_) => self.raw_text(text, |reading| self.resolve(reading)),
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

/// Parses text with strptime. The pattern may lack an offset, a zone or a time of day.
fn parse_pattern(
    pattern: &str,
    value: &str,
    place: impl FnOnce(Reading) -> Option<(i64, bool)>,
) -> Result<RawInstant, TextError> {
    let parsed = BrokenDownTime::parse(pattern, value)
        .map_err(|cause| TextError::Shape { pattern: pattern.to_owned(), cause })?;
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
        BrokenDownTime::parse(pattern, &other).is_ok_and(|parsed| parsed.second() == Some(58))
    })
}

#[cfg(test)]
mod tests;
