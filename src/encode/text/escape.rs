//! JSON strings (RFC 8259, section 7).
//!
//! Most text needs no escapes, so the check for that must be fast: eight bytes at a time in one register.

use crate::swar::{below, find, marks};

/// Offset of the first byte that must be escaped, or the length of the text.
#[inline]
pub(super) fn find_special(bytes: &[u8]) -> usize {
    find(
        bytes,
        0,
        |word| below(word, 0x20) | marks(word, b'"') | marks(word, b'\\'),
        |byte| byte < 0x20 || byte == b'"' || byte == b'\\',
    )
}

/// Appends text as a JSON string.
#[inline]
pub(super) fn json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    escape_into(bytes, out);
    out.push(b'"');
}

/// Appends text with its escapes.
#[inline]
fn escape_into(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let (clean, special) = rest.split_at(find_special(rest));
        out.extend_from_slice(clean);
        let Some((&byte, more)) = special.split_first() else { break };
        match short_escape(byte) {
            Some(short) => out.extend_from_slice(&[b'\\', short]),
            None => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&super::stamp::hex_pair(byte));
            }
        }
        rest = more;
    }
}

/// The character after the backslash for a byte with a two-character escape.
#[inline]
pub(super) fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => return None,
    })
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
