//! Sizes and durations as people write them.
//!
//! A duration is a number of seconds, so a day is 24 hours and months are refused: `retention: 1mo` would be 28
//! days for one package and 31 for the next.

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// A text that is not a size or a duration: what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected}")]
pub(crate) struct BadQuantity {
    /// What was expected, for the way out in a message.
    pub expected: &'static str,
}

const SIZE: &str = "write a size such as `512MiB`, `2GB` or a number of bytes";
const DURATION: &str =
    "write a duration such as `90s`, `6h`, `7d` or `1d 12h`; a day is 24 hours, months have no fixed length";

/// A size in bytes: `512MiB`, `2GB`, `1048576`. Units are those of the `bytesize` crate, binary and decimal.
///
/// # Errors
/// [`BadQuantity`] where the text is not a size, is zero, or is larger than 2^53 - 1 bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, BadQuantity> {
    let bytes = text.trim().parse::<bytesize::ByteSize>().map_err(|_| BadQuantity { expected: SIZE })?.as_u64();
    if (1..1 << 53).contains(&bytes) { Ok(bytes) } else { Err(BadQuantity { expected: SIZE }) }
}

/// A duration: `0s`, `6h`, `400d`, ISO 8601 `PT6H`. Days are 24 hours, weeks 7 days.
///
/// # Errors
/// [`BadQuantity`] where the text is not a duration, is negative, or counts months or years.
pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, BadQuantity> {
    let bad = BadQuantity { expected: DURATION };
    let span: Span = text.trim().parse().map_err(|_| bad.clone())?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(bad);
    }
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad.clone())?;
    if duration.is_negative() { Err(bad) } else { Ok(duration) }
}

/// `1 file`, `2 files`.
pub(crate) fn counted<N: std::fmt::Display + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    let plural = if n == N::from(1) { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// Digits in groups of three: `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(parse_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("2GB"), Ok(2_000_000_000));
        assert_eq!(parse_bytes("1048576"), Ok(1 << 20));
        for bad in ["", "0", "-1", "12 parsecs", "1e400", "99999999EiB", "MiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_24_hours_and_months_are_refused() {
        assert_eq!(parse_duration("400d"), Ok(SignedDuration::from_hours(400 * 24)));
        assert_eq!(parse_duration("0s"), Ok(SignedDuration::ZERO));
        assert_eq!(parse_duration("1w"), Ok(SignedDuration::from_hours(168)));
        assert_eq!(parse_duration("1d 12h"), Ok(SignedDuration::from_hours(36)));
        for bad in ["", "6", "1mo", "1y", "-6h", "6 bananas", "PT99999999999999999999H"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
