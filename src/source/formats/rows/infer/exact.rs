//! Checks whether the text of a number survives a round trip through a binary type.

/// Significant digits that always survive a round trip through binary64 (IEEE 754-2008, 5.12.2).
const SAFE_DIGITS: usize = 15;

/// Whether the shortest text that denotes the binary64 nearest to a JSON number denotes the same decimal value.
///
/// `0.1` and `1.50` are exact in this sense, `0.1234567890123456789` and `1e999` are not.
pub(super) fn is_exact(text: &str) -> bool {
    // Most numbers are short and have no exponent: they cannot overflow, and all their digits survive.
    let short = text.len() <= SAFE_DIGITS + 2 && !text.bytes().any(|b| b == b'e' || b == b'E');
    if short && text.bytes().filter(u8::is_ascii_digit).count() <= SAFE_DIGITS {
        return true;
    }
    let Ok(value) = text.parse::<f64>() else { return false };
    if !value.is_finite() {
        return false;
    }
    let mut buffer = zmij::Buffer::new();
    match (Decimal::of(text), Decimal::of(buffer.format_finite(value))) {
        (Some(source), Some(read)) => source == read,
        _ => false,
    }
}

/// A decimal value in normal form: digits without leading or trailing zeros, times a power of ten.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// `None` if the exponent exceeds 32 bits.
    fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(i) => (text.get(..i)?, text.get(i + 1..)?.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|b| *b == b'0').collect();
        let mut exponent = i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            exponent = 0;
        }
        Some(Self { negative, digits, exponent })
    }
}

/// Whether a cell is an integer as programs print it: no `+`, no leading zeros.
pub(super) fn is_canonical_integer(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell).as_bytes();
    match digits.first() {
        Some(b'1'..=b'9') => digits.iter().all(u8::is_ascii_digit),
        Some(b'0') => cell == "0",
        _ => false,
    }
}

/// Whether a cell is a binary64 exactly as the encoders print it.
pub(super) fn is_canonical_float(cell: &str) -> bool {
    is_short_fraction(cell.as_bytes()).unwrap_or_else(|| prints_the_same(cell))
}

/// Decides [`is_canonical_float`] for few digits around a decimal point: only superfluous zeros matter, because so few
/// digits always survive and numbers of this size are printed without an exponent. `None` for any other cell.
fn is_short_fraction(cell: &[u8]) -> Option<bool> {
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    let point = digits.iter().position(|b| !b.is_ascii_digit())?;
    let (whole, fraction) = (digits.get(..point)?, digits.get(point + 1..)?);
    let is_short = digits.get(point) == Some(&b'.')
        && !whole.is_empty()
        && !fraction.is_empty()
        && whole.len() + fraction.len() <= SAFE_DIGITS
        && fraction.iter().all(u8::is_ascii_digit);
    // Small numbers are printed with an exponent.
    if !is_short || (whole == b"0" && fraction.starts_with(b"0000")) {
        return None;
    }
    let leading_zero = whole.len() > 1 && whole.starts_with(b"0");
    let trailing_zero = fraction.len() > 1 && fraction.ends_with(b"0");
    Some(!leading_zero && !trailing_zero)
}

/// [`is_canonical_float`] by definition: prints the number and compares.
fn prints_the_same(cell: &str) -> bool {
    if !cell.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return false;
    }
    cell.parse::<f64>().is_ok_and(|v| v.is_finite() && zmij::Buffer::new().format_finite(v) == cell)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_binary64_gives_back_are_exact() {
        for text in ["0.1", "1.0", "-0.0", "-0", "1e5", "1E+5", "0.000", "123456789.123456", "1e-7"] {
            assert!(is_exact(text), "{text}");
        }
        for text in
            ["0.1234567890123456789", "1e999", "1e-400", "9007199254740993.0", "123456789012345678.5", "1e99999999999"]
        {
            assert!(!is_exact(text), "{text}");
        }
        assert!(is_exact("0.1000000000000000000000000"));
    }

    #[test]
    fn cells_that_are_not_written_as_a_number_is_are_text() {
        for cell in ["007", "+1", "-0", "1.50", "1e5", " 1", "1.", ".5", "NaN", "inf", "", "-", "0x1", "1_000"] {
            assert!(!is_canonical_integer(cell) && !is_canonical_float(cell), "{cell}");
        }
        for cell in ["0", "-1", "10", "99999999999999999999999"] {
            assert!(is_canonical_integer(cell), "{cell}");
        }
        for cell in ["1.5", "-0.0", "1.0", "0.1"] {
            assert!(is_canonical_float(cell), "{cell}");
        }
    }

    proptest! {
        #[test]
        fn short_fractions_are_decided_as_by_the_definition(
            cell in prop_oneof!["-?[0-9]{1,10}\\.[0-9]{1,12}", "-?0\\.0{0,12}[0-9]{0,6}", "-?[0-9]{0,16}\\.?[0-9.e-]{0,3}"]
        ) {
            prop_assert_eq!(is_canonical_float(&cell), prints_the_same(&cell), "{}", cell);
        }

        #[test]
        fn every_binary64_is_exact_in_its_own_text(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let mut buffer = zmij::Buffer::new();
            let own = buffer.format_finite(value);
            prop_assert!(is_exact(own));
            // Of two shortest texts that are equally near, `std` may choose the other one.
            let scientific = format!("{value:e}");
            let is_own = Decimal::of(&scientific) == Decimal::of(own);
            prop_assert_eq!(is_exact(&scientific), is_own);
            prop_assert!(is_own || own.len() >= 17);
        }

        #[test]
        fn short_decimals_are_exact_by_the_slow_way_too(mantissa in 0u64..1_000_000_000_000_000, point in 0usize..15) {
            let digits = format!("{mantissa:015}");
            let (whole, fraction) = digits.split_at(point.max(1));
            let text = format!("{whole}.{fraction}0000000000000");
            prop_assert!(is_exact(&text), "{text}");
        }
    }
}
