//! Types of plain scalars: YAML 1.2.2, section 10.3.2 (core schema, tag resolution).
//!
//! Numbers keep their text. Callers that need a value must convert it without loss.

/// What a scalar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreValue<'a> {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// `[-+]?[0-9]+`, `0o…` or `0x…`.
    Integer(&'a str),
    /// A decimal number with point or exponent.
    Float(&'a str),
    /// `.inf` or `.nan`, which no source format and no JSON document can hold.
    NotFinite,
    /// Anything else.
    Text(&'a str),
}

/// The type of a scalar that was written without quotes.
pub fn resolve_plain(text: &str) -> CoreValue<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return CoreValue::Null,
        "true" | "True" | "TRUE" => return CoreValue::Bool(true),
        "false" | "False" | "FALSE" => return CoreValue::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return CoreValue::NotFinite;
    }
    if is_digits(unsigned)
        || text.strip_prefix("0o").is_some_and(|t| !t.is_empty() && t.bytes().all(|b| matches!(b, b'0'..=b'7')))
        || text.strip_prefix("0x").is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return CoreValue::Integer(text);
    }
    if is_float(unsigned) { CoreValue::Float(text) } else { CoreValue::Text(text) }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa_is_number = match mantissa.split_once('.') {
        None => is_digits(mantissa),
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
    };
    mantissa_is_number && exponent.is_none_or(|e| is_digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// An integer's value, if 64 bits hold it.
pub fn integer_value(text: &str) -> Option<i128> {
    let value = if let Some(octal) = text.strip_prefix("0o") {
        i128::from_str_radix(octal, 8)
    } else if let Some(hex) = text.strip_prefix("0x") {
        i128::from_str_radix(hex, 16)
    } else {
        text.parse::<i128>()
    };
    value.ok().filter(|v| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_and_false_are_booleans() {
        for text in ["no", "off", "yes", "on", "y", "n", "No", "OFF"] {
            assert_eq!(resolve_plain(text), CoreValue::Text(text));
        }
        assert_eq!(resolve_plain("true"), CoreValue::Bool(true));
        assert_eq!(resolve_plain("FALSE"), CoreValue::Bool(false));
    }

    #[test]
    fn numbers_follow_the_core_schema() {
        for text in ["0", "-1", "+12", "007", "0o17", "0xFf"] {
            assert_eq!(resolve_plain(text), CoreValue::Integer(text), "{text}");
        }
        for text in ["1e3", "1.", ".5", "-1.5E-7", "0.0"] {
            assert_eq!(resolve_plain(text), CoreValue::Float(text), "{text}");
        }
        for text in ["1:30", "1_000", "0b1", "2026-03-05", "2026-03", ".", "1e", "e1", "-", "1.2.3", "0x", "--1"] {
            assert_eq!(resolve_plain(text), CoreValue::Text(text), "{text}");
        }
        assert_eq!(resolve_plain("-.inf"), CoreValue::NotFinite);
    }

    #[test]
    fn integers_beyond_64_bits_have_no_value() {
        assert_eq!(integer_value("18446744073709551615"), Some(u64::MAX.into()));
        assert_eq!(integer_value("18446744073709551616"), None);
        assert_eq!(integer_value("-9223372036854775808"), Some(i64::MIN.into()));
        assert_eq!(integer_value("-9223372036854775809"), None);
        assert_eq!(integer_value("0x10"), Some(16));
        assert_eq!(integer_value(&"9".repeat(100)), None);
    }
}
