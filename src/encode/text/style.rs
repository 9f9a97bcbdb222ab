//! What differs between cells of CSV and of JSON: which bytes cannot stand as they are, and what is done about them.

use super::cell::Dialect;
use super::column::Column;
use super::escape::short_escape;
use super::slab::put;
use super::stamp::hex_pair;
use crate::swar::{HIGHS, ONES};

/// A text format, as far as cells go.
pub(super) trait Style {
    /// Bytes that a byte of text becomes at most. What stands around it is not counted.
    const GROWTH: usize;
    /// Whether text that holds JSON is written as the value that it is.
    const EMBEDS: bool;

    /// Sets a high bit where any of these bytes may be one that cannot stand as it is, never for digits only. Other bits
    /// say nothing.
    fn mark(&self, word: u64) -> u64;

    /// Whether the text may be one that cannot stand as it is although its bytes can.
    fn mark_text(&self, text: &[u8]) -> bool;

    /// Writes text that may be one that cannot stand as it is, and says where it ends.
    fn escaped(&self, text: &[u8], slab: &mut [u8], at: usize) -> usize;

    /// Writes what stands behind text and times, and says where it ends.
    fn close(&self, slab: &mut [u8], at: usize) -> usize;

    /// Whether text needs nothing but [`Style::escaped`].
    fn plain_text(&self) -> bool;

    /// The same for text that holds JSON.
    fn plain_json(&self) -> bool {
        self.plain_text()
    }

    /// Whether numbers and times can always stand as they are.
    fn plain_numbers(&self) -> bool;

    /// Appends any cell.
    fn render(&self, column: &mut Column<'_>, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>);
}

/// JSON.
pub(super) struct Json;

impl Style for Json {
    // `\u0000`
    const GROWTH: usize = 6;
    const EMBEDS: bool = true;

    #[inline(always)]
    fn mark(&self, word: u64) -> u64 {
        // Below 0x80, as all these are, a byte that is less than another one borrows into its high bit, and nothing else
        // does up to the first such byte (Warren, Hacker's Delight, 6-1).
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
        column.json(row, out);
    }
}

impl Style for Dialect {
    // `""`
    const GROWTH: usize = 2;
    const EMBEDS: bool = false;

    #[inline(always)]
    fn mark(&self, word: u64) -> u64 {
        // LF and CR with the control characters below them: those are rare.
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

/// Writes text by eight bytes, the first in the lowest byte, where `write` is told how many of them count and says where
/// they end. Those that do not count are the digit `0`.
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

/// With quotes doubled: what follows a quote is written once more together with it, one byte further.
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

/// With escapes: what follows an escaped byte is written once more behind the escape.
#[inline(always)]
fn escaped_word(word: u64, length: usize, slab: &mut [u8], at: usize) -> usize {
    // Of each byte below 0x20, exactly: the sum reaches the high bit from 0x20 on.
    let control = !((word & !HIGHS).wrapping_add(ONES * 0x60) | word) & HIGHS;
    let mut found = control | equal(word, b'"') | equal(word, b'\\');
    let mut at = at;
    put(slab, at, &word.to_le_bytes());
    while found != 0 {
        let bit = found.trailing_zeros() & !7;
        let here = at + bit as usize / 8;
        let rest = word >> bit;
        slab[here] = b'\\';
        at += if rest as u8 >= b' ' {
            // Stands for itself behind the backslash.
            put(slab, here + 1, &rest.to_le_bytes());
            1
        } else {
            let (escape, longer) = escape(rest as u8);
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

/// What stands behind the backslash for a control character in a JSON string, and how long it is.
#[inline(always)]
fn escape(byte: u8) -> ([u8; 5], usize) {
    if let Some(short) = short_escape(byte) {
        return ([short, 0, 0, 0, 0], 1);
    }
    let [high, low] = hex_pair(byte);
    ([b'u', b'0', b'0', high, low], 5)
}
