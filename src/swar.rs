//! SIMD within a register: examines eight bytes of text in one 64-bit word (Warren, Hacker's Delight, 2nd edition, 6-1).
//! Used for tokens so short that calling a vectorized search would cost more than the search itself.

/// Every byte is 1.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of every byte.
pub(crate) const HIGHS: u64 = ONES << 7;

/// Sets the high bit of every byte of `word` that equals `byte`. Bytes above the lowest match may be marked wrongly.
#[inline]
pub(crate) fn marks(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// Sets the high bit of every byte of `word` that is less than `bound` (at most 128). Bytes above the lowest match may be
/// marked wrongly.
#[inline]
pub(crate) fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHS
}

/// The index of the lowest marked byte.
#[inline]
pub(crate) fn lowest(marked: u64) -> usize {
    (marked.trailing_zeros() / 8) as usize
}

/// The eight bytes at `at` as a little-endian number; `None` if there are fewer.
#[inline]
pub(crate) fn eight(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

/// The index of the first byte at or after `from` that satisfies `is`, or the length of the text. `marked` marks such bytes
/// in a word; bytes above the lowest match may be marked wrongly.
#[inline]
pub(crate) fn find(text: &[u8], from: usize, marked: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> usize {
    let mut at = from;
    while let Some(word) = eight(text, at) {
        let marked = marked(word);
        if marked != 0 {
            return at + lowest(marked);
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| is(*b)).unwrap_or(rest.len())
}

/// The bits below the lowest marked byte.
#[inline]
pub(crate) fn before_lowest(marked: u64) -> u64 {
    (marked & marked.wrapping_neg()).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_lowest_mark_is_the_first_byte_meant(text in any::<[u8; 8]>(), byte in any::<u8>(), bound in 0u8..=128) {
            let word = eight(&text, 0).unwrap();
            for (marked, first) in [
                (marks(word, byte), text.iter().position(|b| *b == byte)),
                (below(word, bound), text.iter().position(|b| *b < bound)),
            ] {
                prop_assert_eq!((marked != 0).then(|| lowest(marked)), first);
            }
            prop_assert_eq!(eight(&text, 1), None);
        }

        #[test]
        fn the_first_byte_is_found_wherever_it_stands(text in prop::collection::vec(b'a'..b'e', 0..40), from in 0usize..10) {
            let found = find(&text, from, |word| marks(word, b'd') | marks(word, b'c'), |b| b == b'c' || b == b'd');
            let rest = text.get(from..).unwrap_or_default();
            let expected = from + rest.iter().position(|b| *b > b'b').unwrap_or(rest.len());
            prop_assert_eq!(found, expected);
        }
    }
}
