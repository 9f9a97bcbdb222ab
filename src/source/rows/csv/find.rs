//! The next byte that matters in CSV.
//!
//! Cells are short, mostly, so calling a vectorised search for each costs more than the search. The first bytes are
//! looked at eight at a time; `memchr` does the rest of long cells.

use super::tokenise::DELIMITER;
use crate::swar::{before_lowest, below, eight, lowest, marks};

/// How many bytes are looked at before a cell counts as long.
const SHORT: usize = 32;

/// Length of the text up to a delimiter or line end, or all of it.
#[inline]
pub(super) fn cell_end(text: &[u8]) -> usize {
    let mut at = 0;
    while let (true, Some(word)) = (at < SHORT, eight(text, at)) {
        // Line ends are the only control characters that are common.
        let marked = marks(word, DELIMITER) | below(word, b'\r' + 1);
        if marked == 0 {
            at += 8;
            continue;
        }
        at += lowest(marked);
        if let Some(&(DELIMITER | b'\n' | b'\r')) = text.get(at) {
            return at;
        }
        at += 1;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + memchr::memchr3(DELIMITER, b'\n', b'\r', rest).unwrap_or(rest.len())
}

/// The place of the first quote. `lines` is set where a line end may stand before it.
#[inline]
pub(super) fn quote(text: &[u8], lines: &mut bool) -> Option<usize> {
    let mut at = 0;
    while let (true, Some(word)) = (at < SHORT, eight(text, at)) {
        let (quotes, controls) = (marks(word, b'"'), below(word, b'\n' + 1));
        if quotes != 0 {
            *lines |= controls & before_lowest(quotes) != 0;
            return Some(at + lowest(quotes));
        }
        *lines |= controls != 0;
        at += 8;
    }
    let rest = text.get(at..)?;
    let quote = memchr::memchr(b'"', rest)?;
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
            text in prop::collection::vec(prop_oneof![20 => any::<u8>(), 1 => prop::sample::select(b",\n\r\"\t".to_vec())], 0..80)
        ) {
            let end = text.iter().position(|b| b",\n\r".contains(b)).unwrap_or(text.len());
            prop_assert_eq!(cell_end(&text), end);
            let (at, mut lines) = (text.iter().position(|b| *b == b'"'), false);
            prop_assert_eq!(quote(&text, &mut lines), at);
            prop_assert!(lines || at.is_none_or(|at| !text[..at].contains(&b'\n')));
        }
    }
}
