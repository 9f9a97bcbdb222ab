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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parser(format: TimeFormat, zone: &str) -> TimeParser {
        TimeParser::new(format, zone::find(zone).unwrap())
    }

    fn auto(zone: &str, text: &str) -> (String, bool) {
        let instant = parser(TimeFormat::Auto, zone).text(text).unwrap();
        (instant.at.to_string(), instant.ambiguous)
    }

    fn pattern(zone: &str, pattern: &str, text: &str) -> Result<(String, bool), String> {
        let instant = parser(TimeFormat::Pattern(pattern.to_owned()), zone).text(text).map_err(|e| e.why)?;
        Ok((instant.at.to_string(), instant.ambiguous))
    }

    #[test]
    fn the_ways_of_writing_one_instant_agree() {
        for text in [
            "2026-03-01T12:30:00Z",
            "2026-03-01t12:30:00z",
            "2026-03-01 12:30:00Z",
            "2026-03-01T12:30Z",
            "2026-03-01T13:30:00+01:00",
            "2026-03-01T06:30:00-0600",
            "2026-03-01 13:30:00+01",
            "2026-03-01T12:30:00.000Z",
            "2026-03-01T12:30:00-00:00",
            "2026-03-01T18:15:00.0000000000+05:45",
        ] {
            assert_eq!(auto("Asia/Tokyo", text), ("2026-03-01T12:30:00Z".to_owned(), false), "{text}");
        }
    }

    #[test]
    fn a_local_time_that_happens_twice_is_the_earlier_and_one_that_never_happens_moves_forward() {
        assert_eq!(auto("Europe/Berlin", "2026-03-01T12:00:00"), ("2026-03-01T11:00:00Z".to_owned(), false));
        assert_eq!(auto("Europe/Berlin", "2026-10-25T02:30:00"), ("2026-10-25T00:30:00Z".to_owned(), true));
        assert_eq!(auto("Europe/Berlin", "2026-03-29T02:30:00"), ("2026-03-29T01:30:00Z".to_owned(), true));
        assert_eq!(auto("Europe/Berlin", "2026-10-25T02:30:00+01:00"), ("2026-10-25T01:30:00Z".to_owned(), false));
        assert_eq!(auto("Pacific/Apia", "2011-12-30"), ("2011-12-30T10:00:00Z".to_owned(), true));
    }

    #[test]
    fn a_date_alone_is_midnight_in_the_zone() {
        assert_eq!(auto("America/New_York", "2026-03-01"), ("2026-03-01T05:00:00Z".to_owned(), false));
    }

    #[test]
    fn instants_before_1970_keep_their_fraction() {
        assert_eq!(auto("UTC", "1969-12-31T23:59:59.25Z").0, "1969-12-31T23:59:59.25Z");
        assert_eq!(
            pattern("UTC", "%Y-%m-%d %H:%M:%S%.f", "1969-12-31 23:59:59.25").unwrap().0,
            "1969-12-31T23:59:59.25Z"
        );
        let parser = parser(TimeFormat::EpochMs, "UTC");
        assert_eq!(parser.integer(-750).unwrap().at.to_string(), "1969-12-31T23:59:59.25Z");
    }

    #[test]
    fn never_written_as_the_end_of_the_calendar_is_later_than_every_window() {
        for text in ["9999-12-31T23:59:59Z", "9999-12-31", "9999-12-31T23:59:59.999-12:00", "9999-12-31 23:59:59"] {
            for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
                assert_eq!(parser(TimeFormat::Auto, zone).text(text).unwrap().at, Timestamp::MAX, "{text} {zone}");
            }
        }
        let parser = parser(TimeFormat::EpochS, "UTC");
        assert_eq!(parser.integer(LAST_SECOND).unwrap().at, Timestamp::MAX);
        assert!(parser.integer(LAST_SECOND + 1).is_err());
        assert_eq!(pattern("Asia/Tokyo", "%d.%m.%Y", "31.12.9999").unwrap().0, Timestamp::MAX.to_string());
    }

    #[test]
    fn epochs_are_integers_in_their_unit() {
        for (format, value) in [
            (TimeFormat::EpochS, 1_772_366_400),
            (TimeFormat::EpochMs, 1_772_366_400_000),
            (TimeFormat::EpochUs, 1_772_366_400_000_000),
            (TimeFormat::EpochNs, 1_772_366_400_000_000_000),
        ] {
            let parser = parser(format, "Europe/Berlin");
            assert_eq!(parser.integer(value).unwrap().at.to_string(), "2026-03-01T12:00:00Z");
            assert_eq!(parser.text(&value.to_string()).unwrap().at.to_string(), "2026-03-01T12:00:00Z");
            assert!(parser.text("1,772").unwrap_err().why.starts_with("expected a number of "));
        }
        let ns = parser(TimeFormat::EpochNs, "UTC");
        assert_eq!(ns.integer(i64::MIN).unwrap().at.as_nanosecond(), i128::from(i64::MIN));
        let error = parser(TimeFormat::EpochS, "UTC").integer(1_772_366_400_000).unwrap_err();
        assert!(error.why.contains("is the unit right"), "{error}");
        assert!(parser(TimeFormat::EpochS, "UTC").integer(i64::MIN).is_err());
        assert!(parser(TimeFormat::Auto, "UTC").integer(5).unwrap_err().why.contains("epoch_ms"));
    }

    #[test]
    fn patterns_take_zones_offsets_and_dates() {
        assert_eq!(
            pattern("Europe/Berlin", "%d/%b/%Y:%H:%M:%S %z", "01/Mar/2026:12:00:00 +0100").unwrap().0,
            "2026-03-01T11:00:00Z"
        );
        assert_eq!(
            pattern("Europe/Berlin", "%d.%m.%Y %H:%M", "25.10.2026 02:30").unwrap(),
            ("2026-10-25T00:30:00Z".to_owned(), true)
        );
        assert_eq!(
            pattern("UTC", "%F %T %Q", "2026-10-25 02:30:00 Europe/Berlin").unwrap(),
            ("2026-10-25T00:30:00Z".to_owned(), true)
        );
        assert_eq!(pattern("Europe/Berlin", "%Y%m%d", "20260301").unwrap().0, "2026-02-28T23:00:00Z");
        assert_eq!(pattern("UTC", "%s", "1772366400").unwrap().0, "2026-03-01T12:00:00Z");
        assert_eq!(pattern("UTC", "%s%.f", "1772366400.125").unwrap().0, "2026-03-01T12:00:00.125Z");
        assert!(pattern("UTC", "%s%.f", "-1.125").is_err());
        assert!(pattern("UTC", "%F", "2026-02-30").is_err());
        assert!(pattern("UTC", "%F", "x").unwrap_err().contains("%F"));
        let parser = parser(TimeFormat::Pattern("%Y%m%d".to_owned()), "UTC");
        assert_eq!(parser.integer(20260301).unwrap().at.to_string(), "2026-03-01T00:00:00Z");
    }

    #[test]
    fn a_pattern_must_tell_a_day_or_an_instant() {
        for pattern in [
            "%F %T",
            "%F %T%.f",
            "%Y%m%d",
            "%d.%m.%Y %H:%M",
            "%d/%b/%Y:%H:%M:%S %z",
            "%F %T %Q",
            "%F %T %:Q",
            "%s",
            "%s%.f",
            "%s.%f",
            "%Y-%j",
            "%G-W%V-%u",
            "%y%m%d",
            "%A, %d %B %Y",
            "%m/%d/%Y %I:%M:%S %p",
            "%FT%T%.6fZ",
            "%F%%%H",
            "%e %b %Y",
            "%-d.%-m.%Y",
            "%F %H",
            "%Y-%m-%dT%H:%M:%S%.3f%:z",
        ] {
            check_instant_pattern(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        }
        for pattern in ["%", "%!", "%Y-%q", "%Y-%m", "%H:%M", "%Y", "%d", "%Y-W%V", "%%", "%F %T %Z", "%c", "%m-%d %T"]
        {
            assert!(check_instant_pattern(pattern).is_err(), "{pattern}");
        }
        for (pattern, is_readable) in
            [("%Y-%m", true), ("%Y-W%V", true), ("%H.csv", true), ("%Y-%q", false), ("%", false)]
        {
            assert_eq!(check_pattern(pattern).is_ok(), is_readable, "{pattern}");
        }
    }

    #[test]
    fn a_leap_second_is_refused_in_a_pattern_and_a_sixty_elsewhere_is_not() {
        assert!(pattern("UTC", "%F %T", "2016-12-31 23:59:60").unwrap_err().contains("leap second"));
        assert_eq!(pattern("UTC", "%F %T", "2060-12-31 23:59:59").unwrap().0, "2060-12-31T23:59:59Z");
        assert_eq!(pattern("UTC", "%F %T%.f", "2016-12-31 23:59:59.60").unwrap().0, "2016-12-31T23:59:59.6Z");
    }

    #[test]
    fn a_bad_value_is_cut_and_reported() {
        let error = parser(TimeFormat::Auto, "UTC").text(&"ä".repeat(500)).unwrap_err();
        assert_eq!(error.value.chars().count(), 80);
        let error = parser(TimeFormat::Auto, "UTC").text("2026-02-30T00:00:00Z").unwrap_err();
        assert_eq!(error.to_string(), "`2026-02-30T00:00:00Z` is not a time: February 2026 has 28 days");
    }

    /// Timestamps of years 0000 to 9999.
    fn timestamps() -> impl Strategy<Value = Timestamp> {
        (-62_167_219_200_i64..253_402_200_000, 0..1_000_000_000_i32).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
    }

    proptest! {
        #[test]
        fn what_jiff_writes_is_read_back(at in timestamps(), offset in -86_340_i32..=86_340, precision in 0_u8..=9) {
            let parser = parser(TimeFormat::Auto, "UTC");
            let at_precision = Timestamp::from_nanosecond(
                at.as_nanosecond() - at.as_nanosecond().rem_euclid(10_i128.pow(9 - u32::from(precision))),
            ).unwrap();
            let printer = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(precision));
            let text = printer.timestamp_to_string(&at_precision);
            prop_assert_eq!(parser.text(&text).unwrap().at, at_precision);
            prop_assert_eq!(parser.text(&text.to_lowercase()).unwrap().at, at_precision);
            prop_assert_eq!(parser.text(&text.replace('T', " ")).unwrap().at, at_precision);
            let offset = Offset::from_seconds(offset / 60 * 60).unwrap();
            let text = printer.timestamp_with_offset_to_string(&at_precision, offset);
            if !text.starts_with('-') && text.parse::<Timestamp>().is_ok() && !text.starts_with('+') {
                prop_assert_eq!(parser.text(&text).unwrap().at, at_precision);
            }
            let pattern = TimeFormat::Pattern("%Y-%m-%dT%H:%M:%S%.f%:z".to_owned());
            let pattern = TimeParser::new(pattern, TimeZone::UTC);
            let text = at.to_zoned(TimeZone::fixed(offset)).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string();
            if !text.starts_with('-') {
                prop_assert_eq!(pattern.text(&text).unwrap().at, at);
            }
        }

        #[test]
        fn whatever_jiff_reads_of_this_grammar_means_the_same(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{1,11})?)?(Z|z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?"
        ) {
            let berlin = zone::find("Europe/Berlin").unwrap();
            let ours = parser(TimeFormat::Auto, "Europe/Berlin").text(&text);
            let leap = text.get(17..19) == Some("60");
            let theirs = text.parse::<Timestamp>().ok().or_else(|| {
                let zoned = !text.contains(['Z', 'z', '+']) && !text.get(10..).unwrap_or_default().contains('-');
                let civil = text.parse::<DateTime>().ok().filter(|_| zoned)?;
                berlin.to_ambiguous_timestamp(civil).compatible().ok()
            });
            let offset_hours = text.rfind(['+', '-']).filter(|&at| at > 10).and_then(|at| text.get(at + 1..at + 3)?.parse::<u8>().ok());
            match (ours, theirs) {
                (Ok(ours), Some(theirs)) => prop_assert_eq!(ours.at, theirs),
                // jiff reads a leap second as :59 and offsets to 25:59.
                (Err(_), Some(_)) => prop_assert!(leap || offset_hours >= Some(24), "{}", text),
                // Zeros after the ninth digit, and the last two days of 9999.
                (Ok(_), None) => prop_assert!(text.contains(['.', ',']) || text.starts_with("9999-12-3"), "{}", text),
                (Err(_), None) => {}
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..40), n in any::<i64>()) {
            let lossy = String::from_utf8_lossy(&bytes).into_owned();
            for format in [
                TimeFormat::Auto, TimeFormat::EpochS, TimeFormat::EpochMs, TimeFormat::EpochUs, TimeFormat::EpochNs,
                TimeFormat::Pattern("%F %T%.f".to_owned()), TimeFormat::Pattern("%s%.f%Q".to_owned()), TimeFormat::Pattern(text.clone()),
            ] {
                let parser = TimeParser::new(format, zone::find("America/St_Johns").unwrap());
                for value in [&text, &lossy] {
                    let _ = parser.text(value);
                }
                let _ = parser.integer(n);
            }
        }

        #[test]
        fn mutated_times_never_panic(at in timestamps(), position in 0_usize..30, byte in any::<char>()) {
            let parser = parser(TimeFormat::Auto, "America/St_Johns");
            let mut text: Vec<char> = at.to_string().chars().collect();
            if let Some(c) = text.get_mut(position) { *c = byte; }
            let _ = parser.text(&text.into_iter().collect::<String>());
        }
    }
}
