//! Parses RFC 3339 text into numbers, without a zone database and without allocation.
//!
//! Every row of a text source is parsed here, so the code is optimized for the most common layout. The grammar is RFC 3339
//! section 5.6 with common variants: a space for `T`, no seconds, a comma before the fraction (ISO 8601), offsets `+01` and
//! `+0100`, a space before the offset, ` UTC`, no offset, and a date alone.
//!
//! Invariant: an accepted value is within the years 0000 to 9999 of its own clock, and nothing is rounded.

use std::fmt;

/// The fields of the text, before any zone is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Seconds since 1970-01-01T00:00:00 on the local clock.
    pub local_second: i64,
    /// Fraction of the second, 0 to 999,999,999.
    pub nanosecond: u32,
    /// Seconds east of UTC, if the text has an offset.
    pub offset_second: Option<i32>,
    /// The text is a date without a time of day.
    pub date_only: bool,
}

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The text does not have the layout of a time.
    Shape,
    /// The month is not 1 to 12.
    Month(u32),
    /// The day does not exist. Holds year, month and day as written.
    Day(i64, u32, u32),
    /// The hour is not 0 to 23.
    Hour(u32),
    /// The minute is not 0 to 59.
    Minute(u32),
    /// The second is not 0 to 59.
    Second(u32),
    /// The fraction has non-zero digits below the nanosecond.
    Precision,
    /// The text after the time is not an offset, or the offset is out of range.
    Offset,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Shape => f.write_str("expected RFC 3339, such as 2026-03-01T12:30:00Z"),
            Self::Month(month) => write!(f, "month {month:02} is not 01 to 12"),
            Self::Day(year, month, day) => match MONTHS.get(month.wrapping_sub(1) as usize) {
                Some(name) if day > 0 => write!(f, "{name} {year:04} has {} days", days_in_month(year, month)),
                _ => write!(f, "day {day:02} does not exist"),
            },
            Self::Hour(hour) => write!(f, "hour {hour:02} is not 00 to 23"),
            Self::Minute(minute) => write!(f, "minute {minute:02} is not 00 to 59"),
            Self::Second(60) => f.write_str("second 60 is a leap second, which no UTC timestamp can represent"),
            Self::Second(second) => write!(f, "second {second:02} is not 00 to 59"),
            Self::Precision => f.write_str("finer than a nanosecond: at most 9 fraction digits are kept exactly"),
            Self::Offset => f.write_str("expected Z or an offset from -23:59 to +23:59 after the time, or nothing"),
        }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Days of a month, 1 to 12, in the proleptic Gregorian calendar; 0 for any other number.
fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Days from 1970-01-01, by Howard Hinnant's `days_from_civil`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for years from 0.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Two ASCII digits.
#[inline]
fn two(tens: u8, ones: u8) -> Result<u32, Fault> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 {
        return Err(Fault::Shape);
    }
    Ok(u32::from(tens) * 10 + u32::from(ones))
}

/// Parses one time.
///
/// # Errors
/// The first [`Fault`] from the left.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Result<Written, Fault> {
    let Some((&[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1], rest)) = text.split_first_chunk::<10>() else {
        return Err(Fault::Shape);
    };
    let year = i64::from(two(y0, y1)? * 100 + two(y2, y3)?);
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    if !(1..=12).contains(&month) {
        return Err(Fault::Month(month));
    }
    if day == 0 || day > 28 && day > days_in_month(year, month) {
        return Err(Fault::Day(year, month, day));
    }
    let midnight = days_from_civil(year, month, day) * 86_400;
    if rest.is_empty() {
        return Ok(Written { local_second: midnight, nanosecond: 0, offset_second: None, date_only: true });
    }
    let Some((&[b'T' | b't' | b' ', h0, h1, b':', i0, i1], rest)) = rest.split_first_chunk::<6>() else {
        return Err(Fault::Shape);
    };
    let (hour, minute) = (two(h0, h1)?, two(i0, i1)?);
    if hour > 23 {
        return Err(Fault::Hour(hour));
    }
    if minute > 59 {
        return Err(Fault::Minute(minute));
    }
    let (second, rest) = match rest.split_first_chunk::<3>() {
        Some((&[b':', s0, s1], rest)) => (two(s0, s1)?, rest),
        _ => (0, rest),
    };
    if second > 59 {
        return Err(Fault::Second(second));
    }
    let (nanosecond, rest) = match rest {
        [b'.' | b',', fraction @ ..] => parse_fraction(fraction)?,
        _ => (0, rest),
    };
    Ok(Written {
        local_second: midnight + i64::from(hour * 3600 + minute * 60 + second),
        nanosecond,
        offset_second: parse_offset(rest)?,
        date_only: false,
    })
}

/// Parses the digits of the fraction, and returns the text after them.
fn parse_fraction(text: &[u8]) -> Result<(u32, &[u8]), Fault> {
    let mut nanosecond = 0_u32;
    let mut digits = 0_u32;
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if digits < 9 {
            nanosecond = nanosecond * 10 + u32::from(digit);
        } else if digit != 0 {
            return Err(Fault::Precision);
        }
        digits = digits.saturating_add(1);
        rest = tail;
    }
    if digits == 0 {
        return Err(Fault::Shape);
    }
    Ok((nanosecond * 10_u32.pow(9_u32.saturating_sub(digits)), rest))
}

/// Offset in seconds east of UTC; `None` for empty text.
#[inline]
fn parse_offset(text: &[u8]) -> Result<Option<i32>, Fault> {
    let (sign, hour, minute) = match *text {
        [] => return Ok(None),
        [b'Z' | b'z'] | [b' ', b'Z'] | [b' ', b'U', b'T', b'C'] => return Ok(Some(0)),
        [b' ', ref offset @ ..] if offset.first().is_some_and(|sign| matches!(sign, b'+' | b'-')) => {
            return parse_offset(offset);
        }
        [sign @ (b'+' | b'-'), h0, h1] => (sign, two(h0, h1), Ok(0)),
        [sign @ (b'+' | b'-'), h0, h1, m0, m1] | [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            (sign, two(h0, h1), two(m0, m1))
        }
        _ => return Err(Fault::Offset),
    };
    let (Ok(hour @ 0..=23), Ok(minute @ 0..=59)) = (hour, minute) else { return Err(Fault::Offset) };
    let seconds = (hour * 3600 + minute * 60) as i32;
    Ok(Some(if sign == b'-' { -seconds } else { seconds }))
}

/// An offset alone, in seconds east of UTC: `+01:00`, `+0100`, `+01`, `Z`. `None` if the text is none.
pub(crate) fn offset(text: &str) -> Option<i32> {
    parse_offset(text.as_bytes()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        assert_eq!(fault("2026-13-01T00:00:00Z"), "month 13 is not 01 to 12");
        assert_eq!(fault("2026-00-01"), "month 00 is not 01 to 12");
        assert_eq!(fault("2026-02-30T00:00:00Z"), "February 2026 has 28 days");
        assert_eq!(fault("2024-02-30"), "February 2024 has 29 days");
        assert_eq!(fault("1900-02-29"), "February 1900 has 28 days");
        assert_eq!(fault("2026-04-31"), "April 2026 has 30 days");
        assert_eq!(fault("2026-04-00"), "day 00 does not exist");
        assert_eq!(fault("2026-03-01T24:00:00Z"), "hour 24 is not 00 to 23");
        assert_eq!(fault("2026-03-01T23:60:00Z"), "minute 60 is not 00 to 59");
        assert_eq!(fault("2026-03-01T23:59:61Z"), "second 61 is not 00 to 59");
        assert!(fault("2016-12-31T23:59:60Z").contains("leap second"));
        assert!(fault("2026-03-01T00:00:00.1234567891Z").contains("nanosecond"));
        assert!(fault("2026-03-01T00:00:00+24:00").contains("-23:59 to +23:59"));
        assert!(fault("2026-03-01T00:00:00+01:60").contains("-23:59 to +23:59"));
        assert!(fault("2026-03-01T00:00:00 CET").contains("offset"));
        assert!(fault("2026-03-01T00:00:00 ").contains("offset"));
        assert!(fault("2026-03-01T00:00:00UTC").contains("offset"));
    }

    #[test]
    fn what_is_nearly_a_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-03",
            "2026-3-1",
            "20260301",
            "2026-03-01T",
            "2026-03-01T12",
            "2026-03-01T12:3",
            "2026-03-01T12:30:",
            "2026-03-01T12:30:0",
            "2026-03-01T12:30:00.",
            "2026-03-01T12:30:00.Z",
            "2026-03-01Z",
            "2026-03-01T12:30:00+",
            "2026-03-01T12:30:00+1",
            "2026-03-01T12:30:00+01:",
            "2026-03-01T12:30:00+010",
            "2026-03-01T12:30:00ZZ",
            " 2026-03-01T12:30:00Z",
            "2026-03-01T12:30:00Z ",
            "+2026-03-01",
            "-026-03-01",
            "2026-03-01_12:30:00Z",
            "2026/03/01",
            "2026-03-01T12.30.00Z",
            "２０２６-03-01",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn zeros_beyond_the_nanosecond_are_no_precision() {
        let written = parse(b"2026-03-01T00:00:00.1234567890000000000000Z").unwrap();
        assert_eq!(written.nanosecond, 123_456_789);
        assert_eq!(parse(b"2026-03-01T00:00:00,5Z").unwrap().nanosecond, 500_000_000);
    }

    #[test]
    fn the_first_and_the_last_second_of_the_calendar_are_read() {
        assert_eq!(parse(b"0000-01-01T00:00:00Z").unwrap().local_second, -62_167_219_200);
        assert_eq!(parse(b"9999-12-31T23:59:59Z").unwrap().local_second, 253_402_300_799);
        assert_eq!(parse(b"1970-01-01").unwrap().local_second, 0);
    }
}
