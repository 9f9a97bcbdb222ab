//! The constants of a condition: exact numbers and instants, and their position among the values of a column.
//!
//! A number keeps all its digits and an instant its nanoseconds, because a column may be coarser than the constant: for
//! integers, `> 1.5` means `> 1`, and `= 1.5` is never true. Invariant: only [`Number::to_float`] rounds.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

/// Most digits that a decimal holds (Arrow `Decimal128`).
pub(super) const MAX_DIGITS: usize = 38;

/// A constant as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// SQL's `NULL`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(Number),
    /// Text, or a time if the other side is a time.
    Text(String),
    /// SQL's `DATE '…'` and `TIMESTAMP '…'`: text that can only be a time.
    Time(String),
}

impl Literal {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => format!("the number {}", value.text),
            Self::Text(value) => format!("the text '{}'", shorten(value)),
            Self::Time(value) => format!("the time '{}'", shorten(value)),
        }
    }

    /// The order of two constants in SQL; `None` if one is NULL or they have no common type.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.compare(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            _ => None,
        }
    }
}

/// The first 40 characters of a value, for messages.
pub(super) fn shorten(value: &str) -> String {
    match value.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", value.get(..cut).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// A decimal number of any length: `± digits × 10^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    /// As written.
    pub(super) text: String,
    negative: bool,
    /// Without leading or trailing zeros; empty for zero.
    digits: String,
    exponent: i64,
}

/// The position of a constant among the values that a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scaled {
    /// Less than every value.
    Below,
    /// Equal to this one.
    Exact(i128),
    /// Greater than this one and less than the next.
    Between(i128),
    /// Greater than every value.
    Above,
}

impl Scaled {
    /// `numerator / denominator`. The denominator must be positive.
    pub(super) fn ratio(numerator: i128, denominator: i128) -> Self {
        let floor = numerator.div_euclid(denominator);
        if numerator.rem_euclid(denominator) == 0 { Self::Exact(floor) } else { Self::Between(floor) }
    }

    /// The position among the values `min..=max`.
    pub(super) fn within(self, min: i128, max: i128) -> Self {
        match self {
            Self::Exact(v) | Self::Between(v) if v < min => Self::Below,
            Self::Exact(v) if v > max => Self::Above,
            Self::Between(v) if v >= max => Self::Above,
            other => other,
        }
    }
}

impl Number {
    /// Reads JSON's and SQL's notation: `12`, `-1.50`, `.5`, `1.`, `2e-3`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let trimmed = all.trim_end_matches('0');
        let dropped = all.len() - trimmed.len();
        let digits = trimmed.trim_start_matches('0').to_owned();
        let exponent = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::try_from(dropped).ok()?;
        let zero = digits.is_empty();
        Some(Self {
            text: text.to_owned(),
            negative: negative && !zero,
            digits,
            exponent: if zero { 0 } else { exponent },
        })
    }

    /// The value as a JSON number.
    pub(super) fn canonical(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.digits.is_empty() { "0".to_owned() } else { format!("{sign}{}e{}", self.digits, self.exponent) }
    }

    /// `-self`.
    pub(super) fn negate(&self) -> Self {
        let text = match self.text.strip_prefix('-') {
            Some(rest) => rest.to_owned(),
            None => format!("-{}", self.text),
        };
        Self { text, negative: !self.negative && !self.digits.is_empty(), ..self.clone() }
    }

    /// The position among integer multiples of `10^-scale` of at most [`MAX_DIGITS`] digits.
    pub(super) fn at_scale(&self, scale: i32) -> Scaled {
        let beyond = if self.negative { Scaled::Below } else { Scaled::Above };
        let sign = if self.negative { -1 } else { 1 };
        if self.digits.is_empty() {
            return Scaled::Exact(0);
        }
        let shift = self.exponent + i64::from(scale);
        let length = self.digits.len() as i64 + shift;
        if length > MAX_DIGITS as i64 {
            return beyond;
        }
        if shift >= 0 {
            let zeros = "0".repeat(usize::try_from(shift).unwrap_or_default());
            return match format!("{}{zeros}", self.digits).parse::<i128>() {
                Ok(value) => Scaled::Exact(sign * value),
                Err(_) => beyond,
            };
        }
        // The last digit is not zero, so the dropped part is never zero.
        let kept = self.digits.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
        let whole = if kept.is_empty() { 0 } else { kept.parse::<i128>().unwrap_or_default() };
        Scaled::Between(if self.negative { -whole - 1 } else { whole })
    }

    /// Mantissa and scale of the shortest decimal equal to the number, if it has at most [`MAX_DIGITS`] digits.
    pub(super) fn to_decimal(&self) -> Option<(i128, i8)> {
        let scale = i8::try_from(-self.exponent.min(0)).ok().filter(|s| usize::from(s.unsigned_abs()) <= MAX_DIGITS)?;
        match self.at_scale(scale.into()) {
            Scaled::Exact(mantissa) => Some((mantissa, scale)),
            _ => None,
        }
    }

    /// The nearest finite binary64. With `single`, the nearest binary32 if the number is in its range.
    pub(super) fn to_float(&self, single: bool) -> Option<f64> {
        if self.digits.is_empty() {
            return Some(0.0);
        }
        let sign = if self.negative { "-" } else { "" };
        let text = format!("{sign}{}e{}", self.digits, self.exponent);
        // Parsing via binary64 would round twice.
        let nearest = text.parse::<f32>().ok().filter(|v| single && v.is_finite()).map(f64::from);
        nearest.or_else(|| text.parse::<f64>().ok().filter(|v| v.is_finite()))
    }

    /// The exact order of two numbers.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let sign = |n: &Self| if n.digits.is_empty() { 0 } else { if n.negative { -1 } else { 1 } };
        let magnitude = |n: &Self| n.digits.len() as i64 + n.exponent;
        // Without leading and trailing zeros, digits of equal magnitude compare like text.
        let absolute = || magnitude(self).cmp(&magnitude(other)).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => absolute(),
            _ => absolute().reverse(),
        })
    }
}

/// A point in time parsed from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since 1970-01-01T00:00:00, in UTC if the text has an offset, else in local time.
    pub(super) nanoseconds: i128,
    /// Whether the text has an offset from UTC.
    pub(super) zoned: bool,
}

/// Parses RFC 3339 (with `T` or a blank), the same without an offset, or a date, which means its first instant.
pub(super) fn moment(text: &str) -> Option<Moment> {
    // jiff would read a leap second as the previous second, and ignore a zone name in brackets.
    if text.contains(":60") || text.contains('[') {
        return None;
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Moment { nanoseconds: at.as_nanosecond(), zoned: true });
    }
    let civil = text.parse::<DateTime>().ok()?;
    let at = TimeZone::UTC.to_timestamp(civil).ok()?;
    Some(Moment { nanoseconds: at.as_nanosecond(), zoned: false })
}

/// Parses `HH:MM:SS`, with or without a fraction, as nanoseconds since midnight.
pub(super) fn time_of_day(text: &str) -> Option<i128> {
    if text.contains(":60") || !text.contains(':') || text.contains(['T', 't', ' ', '[']) {
        return None;
    }
    let time = text.parse::<Time>().ok()?;
    let seconds = i128::from(time.hour()) * 3600 + i128::from(time.minute()) * 60 + i128::from(time.second());
    Some(seconds * 1_000_000_000 + i128::from(time.subsec_nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_fall_exactly_between_the_values_of_a_scale() {
        for (text, scale, expected) in [
            ("0", 0, Scaled::Exact(0)),
            ("-0.000", 3, Scaled::Exact(0)),
            ("007", 0, Scaled::Exact(7)),
            ("1.50", 1, Scaled::Exact(15)),
            ("1.5", 0, Scaled::Between(1)),
            ("-1.5", 0, Scaled::Between(-2)),
            ("0.001", 0, Scaled::Between(0)),
            ("-1e-400", 2, Scaled::Between(-1)),
            ("12e2", 0, Scaled::Exact(1200)),
            ("1200", -2, Scaled::Exact(12)),
            ("1250", -2, Scaled::Between(12)),
            ("1e38", 0, Scaled::Above),
            ("-1e38", 0, Scaled::Below),
            ("99999999999999999999999999999999999999", 0, Scaled::Exact(10i128.pow(38) - 1)),
            (".5", 1, Scaled::Exact(5)),
            ("1.", 0, Scaled::Exact(1)),
        ] {
            assert_eq!(number(text).at_scale(scale), expected, "{text} at scale {scale}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in ["", "-", ".", "1e", "1e99999999999", "0x1f", "1_000", "NaN", "inf", "1.2.3", "--1"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_cuts_off_what_a_column_cannot_hold() {
        assert_eq!(Scaled::Exact(128).within(-128, 127), Scaled::Above);
        assert_eq!(Scaled::Between(127).within(-128, 127), Scaled::Above);
        assert_eq!(Scaled::Between(126).within(-128, 127), Scaled::Between(126));
        assert_eq!(Scaled::Between(-129).within(-128, 127), Scaled::Below);
        assert_eq!(Scaled::Exact(-128).within(-128, 127), Scaled::Exact(-128));
    }

    #[test]
    fn moments_keep_nanoseconds_and_say_whether_they_had_an_offset() {
        let at = |nanoseconds, zoned| Some(Moment { nanoseconds, zoned });
        assert_eq!(moment("1970-01-01T00:00:00Z"), at(0, true));
        assert_eq!(moment("1970-01-01T01:00:00.000000001+01:00"), at(1, true));
        assert_eq!(moment("1970-01-01 00:00:01"), at(1_000_000_000, false));
        assert_eq!(moment("1970-01-02"), at(86_400_000_000_000, false));
        for text in ["2026", "yesterday", "2026-03-01T23:59:60Z", "2026-03-01T00:00:00[Europe/Berlin]", "2026-13-01"] {
            assert_eq!(moment(text), None, "{text}");
        }
        assert_eq!(time_of_day("00:00:01.5"), Some(1_500_000_000));
        assert_eq!(time_of_day("24:00:00"), None);
        assert_eq!(time_of_day("2026-03-01T00:00:00"), None);
    }

    proptest! {
        #[test]
        fn order_of_numbers_is_that_of_integers_at_a_common_scale(
            a in -100_000i64..100_000, b in -100_000i64..100_000, ea in -4i32..4, eb in -4i32..4,
        ) {
            let (left, right) = (number(&format!("{a}e{ea}")), number(&format!("{b}e{eb}")));
            let scaled = |v: i64, e: i32| i128::from(v) * 10i128.pow((e + 4) as u32);
            prop_assert_eq!(left.compare(&right), scaled(a, ea).cmp(&scaled(b, eb)));
            prop_assert_eq!(left.at_scale(4), Scaled::Exact(scaled(a, ea)));
        }
    }
}
