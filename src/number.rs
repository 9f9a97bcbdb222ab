//! Numbers stored as text: JSON numbers (RFC 8259, section 6) with their original digits.
//!
//! `9.5`, `9.50` and `95e-1` are one value and three texts. A source column whose digits no binary type preserves stays text
//! and is marked by [`crate::logical::number_field`]. This module compares such numbers digit by digit, without floats and
//! without a limit on the number of digits. The exponent has at most [`MAX_EXPONENT_DIGITS`] digits, so that digit positions
//! fit an integer; a number with a longer exponent is ordinary text.

use std::cmp::Ordering;

/// Most digits of an exponent. No real measurement comes near, and sums of positions cannot overflow.
const MAX_EXPONENT_DIGITS: usize = 9;

/// A number parsed from text, with its digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberText<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

/// Why a number has no integer count of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCount {
    /// Digits below the unit.
    Finer,
    /// More than 38 digits.
    TooLarge,
}

impl<'t> NumberText<'t> {
    /// Parses a text that is exactly one JSON number; `None` for any other text.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let (whole, mut rest) = split_digits(bytes);
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with(b"0")) {
            return None;
        }
        let mut fraction: &[u8] = &[];
        if let Some(after) = rest.strip_prefix(b".") {
            (fraction, rest) = split_digits(after);
            if fraction.is_empty() {
                return None;
            }
        }
        let mut exponent = 0;
        if let [b'e' | b'E', after @ ..] = rest {
            let (below, after) = match after {
                [b'-', digits @ ..] => (true, digits),
                [b'+', digits @ ..] => (false, digits),
                digits => (false, digits),
            };
            let digits;
            (digits, rest) = split_digits(after);
            if digits.is_empty() || digits.len() > MAX_EXPONENT_DIGITS {
                return None;
            }
            let size = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            exponent = if below { -size } else { size };
        }
        rest.is_empty().then_some(Self { negative, whole, fraction, exponent })
    }

    /// The digits from the first non-zero digit on.
    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied().skip_while(|digit| *digit == b'0')
    }

    /// Digits before the decimal point after applying the exponent, without leading zeros; `None` for zero.
    fn magnitude(&self) -> Option<i64> {
        let zeros = self.whole.iter().chain(self.fraction).position(|digit| *digit != b'0')?;
        Some(self.whole.len() as i64 - zeros as i64 + self.exponent)
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.magnitude(), self.negative) {
            (None, _) => 0,
            (Some(_), true) => -1,
            (Some(_), false) => 1,
        }
    }

    /// The exact order of the values.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let sign = self.sign();
        sign.cmp(&other.sign()).then_with(|| {
            let absolute = self.magnitude().cmp(&other.magnitude()).then_with(|| {
                let (mut own, mut others) = (self.digits(), other.digits());
                loop {
                    match (own.next(), others.next()) {
                        (None, None) => return Ordering::Equal,
                        (a, b) => match a.unwrap_or(b'0').cmp(&b.unwrap_or(b'0')) {
                            Ordering::Equal => {}
                            order => return order,
                        },
                    }
                }
            });
            if sign < 0 { absolute.reverse() } else { absolute }
        })
    }

    /// The number times `10^power`, exactly.
    ///
    /// # Errors
    /// [`NoCount`] where the result is not an integer of at most 38 digits.
    pub(crate) fn count(&self, power: i64) -> Result<i128, NoCount> {
        let Some(magnitude) = self.magnitude() else { return Ok(0) };
        let digits_before = magnitude + power;
        if digits_before > 38 {
            return Err(NoCount::TooLarge);
        }
        let mut count: i128 = 0;
        let mut used = 0;
        for digit in self.digits() {
            if used < digits_before {
                count = count * 10 + i128::from(digit - b'0');
                used += 1;
            } else if digit != b'0' {
                return Err(NoCount::Finer);
            }
        }
        while used < digits_before {
            count *= 10;
            used += 1;
        }
        Ok(if self.negative { -count } else { count })
    }
}

/// Splits the leading digits off a text.
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> NumberText<'_> {
        NumberText::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["0", "-0", "0.0", "-1.50", "1e5", "1E+5", "1.5e-3", "123456789012345678901234567890"] {
            number(text);
        }
        for text in
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1_0", " 1", "1 ", "NaN", "1e1234567890", "--1"]
        {
            assert!(NumberText::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn one_value_in_several_notations_is_equal() {
        for (a, b) in
            [("9.5", "9.50"), ("95e-1", "9.5"), ("0", "-0.00e7"), ("1E5", "100000"), ("-1.0", "-1"), ("0.001", "1e-3")]
        {
            assert_eq!(number(a).compare(&number(b)), Ordering::Equal, "{a} {b}");
        }
        assert_eq!(number("1.1751297344248116").compare(&number("1.1751297344248115")), Ordering::Greater);
        assert_eq!(number("1e999999999").compare(&number("9e999999998")), Ordering::Greater);
    }

    #[test]
    fn a_count_is_exact_or_says_why_there_is_none() {
        assert_eq!(number("1772366400.456").count(9), Ok(1_772_366_400_456_000_000));
        assert_eq!(number("1.772366400450E9").count(9), Ok(1_772_366_400_450_000_000));
        assert_eq!(number("-0.5").count(9), Ok(-500_000_000));
        assert_eq!(number("0.0000000001").count(9), Err(NoCount::Finer));
        assert_eq!(number("0.1234567890").count(9), Ok(123_456_789));
        assert_eq!(number("1e40").count(0), Err(NoCount::TooLarge));
        assert_eq!(number("0e999999999").count(0), Ok(0));
    }

    proptest! {
        #[test]
        fn order_and_counts_are_those_of_integers_at_a_common_scale(
            a in -10_000_000i64..10_000_000, b in -10_000_000i64..10_000_000, ea in -4i32..5, eb in -4i32..5, zeros in 0usize..4,
        ) {
            let (left, right) = (format!("{a}.{}e{ea}", "0".repeat(zeros + 1)), format!("{b}E{eb}"));
            let scaled = |v: i64, e: i32| i128::from(v) * 10i128.pow((e + 4) as u32);
            prop_assert_eq!(number(&left).compare(&number(&right)), scaled(a, ea).cmp(&scaled(b, eb)));
            prop_assert_eq!(number(&left).count(4), Ok(scaled(a, ea)));
        }

        #[test]
        fn what_is_a_number_is_what_serde_json_says(text in "-?[0-9]{0,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,2})?") {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(NumberText::parse(&text).is_some(), theirs);
        }
    }
}
