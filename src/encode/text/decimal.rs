//! Writes decimals from their unscaled integers, exactly and with all digits of the scale: 1200 at scale 3 is `1.200`.

use arrow::datatypes::i256;

/// Appends the decimal with the unscaled value `integer`.
#[inline]
pub(super) fn decimal(integer: &str, scale: i8, out: &mut Vec<u8>) {
    let digits = match integer.strip_prefix('-') {
        Some(digits) => {
            out.push(b'-');
            digits
        }
        None => integer,
    };
    let Ok(scale) = usize::try_from(scale) else {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
        }
        return;
    };
    if scale == 0 {
        out.extend_from_slice(digits.as_bytes());
    } else if let Some((whole, fraction)) = digits.len().checked_sub(scale).and_then(|at| digits.split_at_checked(at))
        && !whole.is_empty()
    {
        out.extend_from_slice(whole.as_bytes());
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (scale - digits.len()), b'0');
        out.extend_from_slice(digits.as_bytes());
    }
}

/// 10^38, the largest power of ten that an `i128` holds.
const CHUNK: i128 = 10i128.pow(38);
/// Digits of a chunk.
const CHUNK_DIGITS: usize = 38;

/// [`decimal`] for integers beyond `i128`, in chunks of 38 digits.
pub(super) fn decimal256(value: i256, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    if let Some(small) = value.to_i128() {
        return decimal(buffer.format(small), scale, out);
    }
    // At most 78 characters: 77 digits and a sign.
    let mut text = [0u8; 3 * CHUNK_DIGITS];
    let mut start = text.len();
    let chunk = i256::from_i128(CHUNK);
    let mut rest = value;
    while rest != i256::ZERO {
        let digits = buffer.format(rest.wrapping_rem(chunk).to_i128().unwrap_or_default().unsigned_abs()).as_bytes();
        rest = rest.wrapping_div(chunk);
        let end = start;
        // All chunks except the first keep leading zeros.
        start = if rest == i256::ZERO { end - digits.len() } else { end - CHUNK_DIGITS };
        text[start..end].fill(b'0');
        text[end - digits.len()..end].copy_from_slice(digits);
    }
    if value.is_negative() {
        start -= 1;
        text[start] = b'-';
    }
    decimal(std::str::from_utf8(&text[start..]).unwrap_or_default(), scale, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(integer: &str, scale: i8) -> String {
        let mut out = Vec::new();
        decimal(integer, scale, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_point_stands_where_the_scale_says() {
        assert_eq!(text("1200", 3), "1.200");
        assert_eq!(text("-1200", 3), "-1.200");
        assert_eq!(text("120", 3), "0.120");
        assert_eq!(text("-7", 3), "-0.007");
        assert_eq!(text("0", 3), "0.000");
        assert_eq!(text("42", 0), "42");
        assert_eq!(text("42", -3), "42000");
        assert_eq!(text("0", -3), "0");
    }

    #[test]
    fn the_ends_of_256_bits_are_written() {
        for value in [i256::MIN, i256::MAX] {
            let mut out = Vec::new();
            decimal256(value, 0, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest! {
        #[test]
        fn integers_of_256_bits_are_written_as_arrow_writes_them(low in any::<u128>(), high in any::<i128>(), shift in 0u8..255) {
            let value = i256::from_parts(low, high) >> shift;
            let mut out = Vec::new();
            decimal256(value, 0, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
