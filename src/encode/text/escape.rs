//! JSON strings (RFC 8259, section 7).
//!
//! Most text needs no escape, so what counts is how fast that is known: eight bytes at a time in one register.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Sets the high bit of every byte of `word` that is zero; bytes above the lowest such one may be set wrongly
/// (Warren, Hacker's Delight, 6-1).
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Sets the high bit of every byte of `word` that equals `byte`, as [`zero_bytes`].
#[inline]
pub(super) const fn equal_bytes(word: u64, byte: u8) -> u64 {
    zero_bytes(word ^ (ONES * byte as u64))
}

/// Index of the first byte for which `hits` has a high bit set, where `hits` is exact up to the lowest hit.
///
/// `single` must say the same of one byte.
#[inline]
pub(super) fn find(bytes: &[u8], hits: impl Fn(u64) -> u64, single: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = 0;
    let mut rest = bytes;
    while let Some((word, more)) = rest.split_first_chunk::<8>() {
        let found = hits(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
        rest = more;
    }
    rest.iter().position(|&byte| single(byte)).map(|i| at + i)
}

/// Index of the first byte that a JSON string cannot hold as it is.
#[inline]
fn find_special(bytes: &[u8]) -> Option<usize> {
    find(
        bytes,
        |word| {
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            control | equal_bytes(word, b'"') | equal_bytes(word, b'\\')
        },
        |byte| byte < 0x20 || byte == b'"' || byte == b'\\',
    )
}

/// Appends text as a JSON string.
#[inline]
pub(super) fn json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    match find_special(bytes) {
        None => out.extend_from_slice(bytes),
        Some(first) => escape_from(bytes, first, out),
    }
    out.push(b'"');
}

/// Appends text whose first byte to be escaped is at `first`.
fn escape_from(bytes: &[u8], first: usize, out: &mut Vec<u8>) {
    let mut rest = bytes;
    let mut next = Some(first);
    while let Some(at) = next {
        let (clean, special) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((&byte, more)) = special.split_first() else { break };
        escape(byte, out);
        rest = more;
        next = find_special(rest);
    }
    out.extend_from_slice(rest);
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&super::stamp::hex_pair(byte));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        json_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_ascii_character_at_every_place_is_written_as_serde_json_writes_it() {
        for code in 0..=127u8 {
            for before in 0..20 {
                for after in [0, 1, 9] {
                    let text = format!("{}{}{}", "x".repeat(before), code as char, "é".repeat(after));
                    assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_writes_it(text in "\\PC*|[\"\\\\\u{0}-\u{20}a\u{7f}-\u{2030}]{0,40}") {
            prop_assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
