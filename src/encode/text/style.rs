//! The differences between CSV and JSON cells: which bytes need escaping, and how.

use super::cell::Dialect;
use super::column::Column;
use super::escape::short_escape;
use super::slab::put;
use super::stamp::hex_pair;
use crate::job::Absent;
use crate::swar::{HIGHS, ONES};

/// The cell syntax of a text format.
pub(super) trait Style {
    /// Most bytes that one byte of text becomes, not counting quotes.
    const GROWTH: usize;
    /// Whether text that holds JSON is embedded as a value.
    const EMBEDS: bool;

    /// Sets a high bit if any of these bytes may need escaping. Never for digits only. Other bits are undefined.
    fn mark(&self, word: u64) -> u64;

    /// Whether the text may need escaping although none of its bytes does.
    fn mark_text(&self, text: &[u8]) -> bool;

    /// Writes text that may need escaping, and returns its end.
    fn escaped(&self, text: &[u8], slab: &mut [u8], at: usize) -> usize;

    /// Writes the bytes after text and times, and returns their end.
    fn close(&self, slab: &mut [u8], at: usize) -> usize;

    /// Whether text needs no more than [`Style::escaped`].
    fn plain_text(&self) -> bool;

    /// [`Style::plain_text`] for text that holds JSON.
    fn plain_json(&self) -> bool {
        self.plain_text()
    }

    /// Whether numbers and times never need quotes.
    fn plain_numbers(&self) -> bool;

    /// Appends any cell. Nothing for a null is what [`Leads::null`](super::block::Leads) writes, too.
    fn render(&self, column: &mut Column<'_>, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>);
}

/// JSON.
pub(super) struct Json {
    pub(super) absent: Absent,
}

impl Style for Json {
    // `\u0000`
    const GROWTH: usize = 6;
    const EMBEDS: bool = true;

    #[inline(always)]
    fn mark(&self, word: u64) -> u64 {
        // All bounds are below 0x80, so subtracting sets the high bit of the first byte that is below its bound, and of no
        // byte before it (Warren, Hacker's Delight, 6-1).
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        (control | quote | backslash) & !word
    }

    #[inline(always)]
    fn mark_text(&self, _: &[u8]) -> bool {
        false
    }

    fn escaped(&self, text: &[u8], slab: &mut [u8], at: usize) -> usize {
        words(text, slab, at, escaped_word)
    }

    #[inline(always)]
    fn close(&self, slab: &mut [u8], at: usize) -> usize {
        slab[at] = b'"';
        at + 1
    }

    fn plain_text(&self) -> bool {
        true
    }

    fn plain_numbers(&self) -> bool {
        true
    }

    fn render(&self, column: &mut Column<'_>, row: usize, _: &mut Vec<u8>, out: &mut Vec<u8>) {
        if self.absent == Absent::Fill || !column.is_absent(row) {
            column.json(row, out);
        }
    }
}

impl Style for Dialect {
    // `""`
    const GROWTH: usize = 2;
    const EMBEDS: bool = false;

    #[inline(always)]
    fn mark(&self, word: u64) -> u64 {
        // Marks LF, CR and all control characters below them, which are rare.
        let line_end = word.wrapping_sub(ONES * (b'\r' as u64 + 1));
        let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
        let delimiter = (word ^ (ONES * u64::from(self.delimiter()))).wrapping_sub(ONES);
        (line_end | quote | delimiter) & !word
    }

    #[inline(always)]
    fn mark_text(&self, text: &[u8]) -> bool {
        text.is_empty() || self.is_null_text(text)
    }

    fn escaped(&self, text: &[u8], slab: &mut [u8], at: usize) -> usize {
        if !self.is_quoted(text) {
            slab[at..at + text.len()].copy_from_slice(text);
            return at + text.len();
        }
        slab[at] = b'"';
        let at = words(text, slab, at + 1, quoted_word);
        slab[at] = b'"';
        at + 1
    }

    #[inline(always)]
    fn close(&self, _: &mut [u8], at: usize) -> usize {
        at
    }

    fn plain_text(&self) -> bool {
        !self.escapes_formulas()
    }

    fn plain_json(&self) -> bool {
        self.plain_text() && !self.is_canonical()
    }

    fn plain_numbers(&self) -> bool {
        !self.checks_numbers()
    }

    fn render(&self, column: &mut Column<'_>, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        column.csv(row, self, scratch, out);
    }
}

/// Writes text in words of eight bytes, the first in the lowest byte. `write` receives the number of significant bytes and
/// returns their end. The other bytes are the digit `0`.
#[inline(always)]
fn words(text: &[u8], slab: &mut [u8], at: usize, write: impl Fn(u64, usize, &mut [u8], usize) -> usize) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    let mut at = at;
    for word in words {
        at = write(u64::from_le_bytes(*word), 8, slab, at);
    }
    if !rest.is_empty() {
        let mut word = [b'0'; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        at = write(u64::from_le_bytes(word), rest.len(), slab, at);
    }
    at
}

/// Doubles quotes: writes each quote and the bytes after it again, one byte further.
#[inline(always)]
fn quoted_word(word: u64, length: usize, slab: &mut [u8], at: usize) -> usize {
    let mut found = equal(word, b'"');
    let mut at = at;
    put(slab, at, &word.to_le_bytes());
    while found != 0 {
        let bit = found.trailing_zeros() & !7;
        at += 1;
        put(slab, at + bit as usize / 8, &(word >> bit).to_le_bytes());
        found &= found - 1;
    }
    at + length
}

/// Escapes bytes: writes the bytes after an escaped byte again, after the escape.
#[inline(always)]
fn escaped_word(word: u64, length: usize, slab: &mut [u8], at: usize) -> usize {
    // Exact for each byte below 0x20: the sum reaches the high bit from 0x20 on.
    let control = !((word & !HIGHS).wrapping_add(ONES * 0x60) | word) & HIGHS;
    let mut found = control | equal(word, b'"') | equal(word, b'\\');
    let mut at = at;
    put(slab, at, &word.to_le_bytes());
    while found != 0 {
        let bit = found.trailing_zeros() & !7;
        let here = at + bit as usize / 8;
        let rest = word >> bit;
        slab[here] = b'\\';
        at += if rest.to_le_bytes()[0] >= b' ' {
            // The character follows the backslash unchanged.
            put(slab, here + 1, &rest.to_le_bytes());
            1
        } else {
            let (escape, longer) = escape(rest.to_le_bytes()[0]);
            put(slab, here + 1, &escape);
            put(slab, here + 1 + longer, &(rest >> 8).to_le_bytes());
            longer
        };
        found &= found - 1;
    }
    at + length
}

/// Sets the high bit of every byte of `word` that equals `byte`, and no other.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * u64::from(byte));
    !((zero & !HIGHS).wrapping_add(!HIGHS) | zero | !HIGHS)
}

/// The escape after the backslash for a control character in a JSON string, and its length.
#[inline(always)]
fn escape(byte: u8) -> ([u8; 5], usize) {
    if let Some(short) = short_escape(byte) {
        return ([short, 0, 0, 0, 0], 1);
    }
    let [high, low] = hex_pair(byte);
    ([b'u', b'0', b'0', high, low], 5)
}
