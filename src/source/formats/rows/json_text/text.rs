//! JSON strings and their escapes (RFC 8259, section 7).

use std::borrow::Cow;

/// A string whose escapes are checked but not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Text<'a> {
    /// The text between the quotes.
    pub(in crate::source) inner: &'a str,
    /// Whether it contains escapes.
    pub(in crate::source) escaped: bool,
}

impl<'a> Text<'a> {
    /// Decodes the escapes.
    pub(in crate::source) fn decode(&self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.inner);
        }
        let mut out = String::with_capacity(self.inner.len());
        let mut rest = self.inner;
        while let Some(i) = memchr::memchr(b'\\', rest.as_bytes()) {
            let (plain, escape) = rest.split_at(i);
            out.push_str(plain);
            let (c, len) = match escape.as_bytes().get(1) {
                Some(b'b') => ('\u{8}', 2),
                Some(b'f') => ('\u{c}', 2),
                Some(b'n') => ('\n', 2),
                Some(b'r') => ('\r', 2),
                Some(b't') => ('\t', 2),
                Some(b'u') => unicode_escape(escape),
                Some(&other) => (char::from(other), 2),
                None => break,
            };
            out.push(c);
            rest = escape.get(len..).unwrap_or_default();
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// Four hexadecimal digits.
pub(super) fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..4)?;
    digits.iter().try_fold(0, |sum, b| Some(sum * 16 + char::from(*b).to_digit(16)?))
}

/// The character of `\uXXXX` or `\uXXXX\uXXXX` at the start of checked text, and the length of the escape.
fn unicode_escape(text: &str) -> (char, usize) {
    let bytes = text.as_bytes();
    let high = bytes.get(2..).and_then(hex4).unwrap_or(0);
    match char::from_u32(high) {
        Some(c) => (c, 6),
        None => {
            let low = bytes.get(8..).and_then(hex4).unwrap_or(0);
            let code = 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
    }
}
