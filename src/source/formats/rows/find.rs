//! Finds the next significant byte in CSV.
//!
//! Most cells are short, so calling a vectorized search for each would cost more than the search itself. The first bytes
//! are examined eight at a time; `memchr` searches the rest of long cells.

use crate::swar::{before_lowest, below, eight, lowest, marks};

/// Bytes examined before a cell counts as long.
const SHORT: usize = 32;

/// Length of the text before the first delimiter or line end, or of all the text.
#[inline]
pub(super) fn cell_end(text: &[u8], delimiter: u8) -> usize {
    let mut at = 0;
    while let (true, Some(word)) = (at < SHORT, eight(text, at)) {
        // Among control characters, only line ends are common.
        let marked = marks(word, delimiter) | below(word, b'\r' + 1);
        if marked == 0 {
            at += 8;
            continue;
        }
        at += lowest(marked);
        if text.get(at).is_some_and(|b| *b == delimiter || matches!(b, b'\n' | b'\r')) {
            return at;
        }
        at += 1;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + memchr::memchr3(delimiter, b'\n', b'\r', rest).unwrap_or(rest.len())
}

/// Offset of the first `quote`. Sets `lines` if a line end may precede it.
#[inline]
pub(super) fn quote(text: &[u8], quote: u8, lines: &mut bool) -> Option<usize> {
    let mut at = 0;
    while let (true, Some(word)) = (at < SHORT, eight(text, at)) {
        let (quotes, controls) = (marks(word, quote), below(word, b'\n' + 1));
        if quotes != 0 {
            *lines |= controls & before_lowest(quotes) != 0;
            return Some(at + lowest(quotes));
        }
        *lines |= controls != 0;
        at += 8;
    }
    let rest = text.get(at..)?;
    let quote = memchr::memchr(quote, rest)?;
    *lines |= memchr::memchr(b'\n', rest.get(..quote)?).is_some();
    Some(at + quote)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_byte_that_matters_is_found(
            text in prop::collection::vec(
                prop_oneof![20 => any::<u8>(), 1 => prop::sample::select(b",\n\r\"\t|'".to_vec())], 0..80),
            delimiter in prop::sample::select(b",\t| ".to_vec()),
            mark in prop::sample::select(b"\"'".to_vec()),
        ) {
            let is_end = |b: &u8| *b == delimiter || b"\n\r".contains(b);
            let end = text.iter().position(is_end).unwrap_or(text.len());
            prop_assert_eq!(cell_end(&text, delimiter), end);
            let (at, mut lines) = (text.iter().position(|b| *b == mark), false);
            prop_assert_eq!(quote(&text, mark, &mut lines), at);
            prop_assert!(lines || at.is_none_or(|at| !text[..at].contains(&b'\n')));
        }
    }
}
