//! The next byte that matters in CSV.
//!
//! Cells are short, mostly, so calling a vectorised search for each costs more than the search. The first bytes are
//! looked at eight at a time in a register ("SIMD within a register", Warren, Hacker's Delight, 6-1); `memchr` does the
//! rest of long cells.

use super::tokenise::DELIMITER;

/// How many bytes are looked at before a cell counts as long.
const SHORT: usize = 32;

/// The high bit of every byte of `word` that is `byte`; above the lowest such byte others may be marked wrongly.
#[inline]
fn marks(word: u64, byte: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}

/// Where the first marked byte is, if one is marked within the first [`SHORT`] bytes, and how many were looked at.
#[inline]
fn among_first(text: &[u8], marked: impl Fn(u64) -> u64) -> Result<usize, usize> {
    let mut at = 0;
    while let (true, Some(eight)) = (at < SHORT, text.get(at..).and_then(<[u8]>::first_chunk)) {
        let marked = marked(u64::from_le_bytes(*eight));
        if marked != 0 {
            return Ok(at + (marked.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    Err(at)
}

/// Length of the text up to a delimiter or line end, or all of it.
#[inline]
pub(super) fn cell_end(text: &[u8]) -> usize {
    let marked = |word| marks(word, DELIMITER) | marks(word, b'\n') | marks(word, b'\r');
    among_first(text, marked).unwrap_or_else(|at| {
        let rest = text.get(at..).unwrap_or_default();
        at + memchr::memchr3(DELIMITER, b'\n', b'\r', rest).unwrap_or(rest.len())
    })
}

/// The place of the first quote.
#[inline]
pub(super) fn quote(text: &[u8]) -> Option<usize> {
    match among_first(text, |word| marks(word, b'"')) {
        Ok(at) => Some(at),
        Err(at) => memchr::memchr(b'"', text.get(at..)?).map(|i| at + i),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_byte_that_matters_is_found(
            text in prop::collection::vec(prop_oneof![20 => any::<u8>(), 1 => prop::sample::select(b",\n\r\"".to_vec())], 0..80)
        ) {
            let end = text.iter().position(|b| b",\n\r".contains(b)).unwrap_or(text.len());
            prop_assert_eq!(cell_end(&text), end);
            prop_assert_eq!(quote(&text), text.iter().position(|b| *b == b'"'));
        }
    }
}
