//! Parses text into values of declared types, exactly or not at all.

use crate::time::rfc3339;

/// An integer within the range of `T`.
pub(super) fn integer<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The binary64 nearest to a decimal number. Integers must be exact; infinities and words such as `nan` are refused.
pub(super) fn float64(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let number = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    (number && value.is_finite() && holds_integer(text, value, 15)).then_some(value)
}

/// The binary32 nearest to a decimal number; see [`float64`].
pub(super) fn float32(text: &str) -> Option<f32> {
    let value: f32 = text.parse().ok()?;
    let number = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    (number && value.is_finite() && holds_integer(text, f64::from(value), 6)).then_some(value)
}

/// Whether `value` equals `text`, if `text` is an integer. Integers of up to `safe_digits` digits are always exact.
#[expect(
    clippy::cast_possible_truncation,
    reason = "below 2^126 the conversion is exact; a larger integer counts as not exact"
)]
fn holds_integer(text: &str, value: f64, safe_digits: usize) -> bool {
    if text.len() <= safe_digits || text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        return true;
    }
    value.abs() < 2f64.powi(126) && text.parse::<i128>().is_ok_and(|i| i == value as i128)
}

/// A decimal number as a count of units of `10^-scale`, if that is exact and has at most `precision` digits.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(i) => (text.get(..i)?, text.get(i + 1..)?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, mantissa.get(1..)?),
        b'+' => (false, mantissa.get(1..)?),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let mut units: i128 = 0;
    for b in whole.bytes().chain(fraction.bytes()) {
        if !b.is_ascii_digit() {
            return None;
        }
        units = units.checked_mul(10)?.checked_add(i128::from(b - b'0'))?;
    }
    if units == 0 {
        return Some(0);
    }
    let mut shift = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::from(scale);
    while shift < 0 {
        if units % 10 != 0 {
            return None;
        }
        units /= 10;
        shift += 1;
    }
    let factor = 10i128.checked_pow(u32::try_from(shift).ok()?)?;
    let units = units.checked_mul(factor)?;
    let limit = 10i128.checked_pow(u32::from(precision))?;
    (units < limit).then_some(if negative { -units } else { units })
}

/// Days since 1970-01-01 of a day written `YYYY-MM-DD` (RFC 3339, full-date).
pub(super) fn date(text: &str) -> Option<i32> {
    let written = rfc3339::parse(text.as_bytes()).ok()?;
    let day = written.date_only.then(|| written.local_second.div_euclid(86_400))?;
    i32::try_from(day).ok()
}

/// Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 date-time. `None` without an offset, with a leap second, or with
/// digits below the microsecond.
pub(super) fn timestamp_us(text: &str) -> Option<i64> {
    let written = rfc3339::parse(text.as_bytes()).ok()?;
    let second = written.local_second - i64::from(written.offset_second?);
    if written.nanosecond % 1000 != 0 {
        return None;
    }
    second.checked_mul(1_000_000)?.checked_add(i64::from(written.nanosecond / 1000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_fit_exactly_or_not_at_all() {
        assert_eq!(decimal("12.5", 12, 6), Some(12_500_000));
        assert_eq!(decimal("-0.000001", 12, 6), Some(-1));
        assert_eq!(decimal("0.0000010", 12, 6), Some(1));
        assert_eq!(decimal("0.0000001", 12, 6), None);
        assert_eq!(decimal("1.5e3", 12, 6), Some(1_500_000_000));
        assert_eq!(decimal("999999.999999", 12, 6), Some(999_999_999_999));
        assert_eq!(decimal("1000000", 12, 6), None);
        assert_eq!(decimal("1200", 4, -2), Some(12));
        assert_eq!(decimal("1250", 4, -2), None);
        assert_eq!(decimal("0e999999", 4, 2), Some(0));
        for bad in ["", "-", ".", "1,5", "1e", "1e99999999999", "0x1", " 1", "1e40", "--1"] {
            assert_eq!(decimal(bad, 38, 0), None, "{bad}");
        }
    }

    #[test]
    fn floats_do_not_change_integers() {
        assert_eq!(float64("9007199254740992"), Some(9_007_199_254_740_992.0));
        assert_eq!(float64("9007199254740993"), None);
        assert_eq!(float32("16777216"), Some(16_777_216.0));
        assert_eq!(float32("16777217"), None);
        assert_eq!(float64("0.1"), Some(0.1));
        for bad in ["NaN", "inf", "1e999", "", " 1", "infinity"] {
            assert_eq!(float64(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_and_instants_are_read_strictly() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("0001-01-01"), Some(-719_162));
        assert_eq!(date("2024-02-29"), Some(19_782));
        for bad in ["2023-02-29", "2024-2-9", "20240209", "2024-02-09T00:00:00Z", "2024-02-1é"] {
            assert_eq!(date(bad), None, "{bad}");
        }
        assert_eq!(timestamp_us("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(timestamp_us("1970-01-01T01:00:00.000001+01:00"), Some(1));
        assert_eq!(timestamp_us("1970-01-01T00:00:00.0000010Z"), Some(1));
        for bad in [
            "1970-01-01T00:00:00.0000001Z",
            "1970-01-01T00:00:00",
            "2016-12-31T23:59:60Z",
            "1970-01-01",
            "1970-01-01T00:00:00+01:00[Europe/Berlin]",
            "19700101T000000Z",
        ] {
            assert_eq!(timestamp_us(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_back_from_its_digits(units in -(10i128.pow(37))..10i128.pow(37), scale in 0u8..38) {
            let digits = format!("{:0>1$}", units.unsigned_abs(), usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if units < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}");
            prop_assert_eq!(decimal(&text, 38, i8::try_from(scale).unwrap()), Some(units));
        }
    }
}
