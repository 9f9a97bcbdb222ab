//! Finds the ends of CSV records without splitting cells.
//!
//! Follows the tokenizer's rules as far as they affect line ends. A line end within quotes is text. A quote opens a cell
//! only at the start of the data or after a delimiter or line end; any other quote is text.

use super::find;
use super::tokenize::DELIMITER;
use crate::source::formats::rows::blocks::RowEnds;

/// A position in the records at the front of a buffer.
#[derive(Default)]
pub(super) struct RecordEnds {
    /// Bytes examined.
    at: usize,
    /// Whether `at` is within quotes.
    quoted: bool,
    /// Offset after the last line end that ends a record.
    whole: usize,
    /// Records before `whole` that end with a bare CR.
    bare: u64,
}

impl RecordEnds {
    /// Finds the last line end in the unquoted text up to `to`.
    fn plain(&mut self, data: &[u8], to: usize) {
        let from = self.at;
        let plain = data.get(from..to).unwrap_or_default();
        let Some(last) = memchr::memrchr2(b'\n', b'\r', plain) else { return };
        self.whole = from + last + 1;
        let is_bare = |i: &usize| data.get(from + i + 1) != Some(&b'\n');
        self.bare += memchr::memchr_iter(b'\r', plain).filter(is_bare).count() as u64;
    }
}

impl RowEnds for RecordEnds {
    fn whole_rows(&mut self, data: &[u8], is_all: bool) -> usize {
        loop {
            let rest = data.get(self.at..).unwrap_or_default();
            // The next quote is usually near within quotes and far away elsewhere.
            let quote = if self.quoted { find::quote(rest, &mut false) } else { memchr::memchr(b'"', rest) };
            let quote = quote.map(|i| self.at + i);
            match (quote, self.quoted) {
                (Some(i), true) => match data.get(i + 1) {
                    Some(b'"') => self.at = i + 2,
                    // Either the closing quote or the first of a doubled quote: the next byte decides.
                    None if !is_all => {
                        self.at = i;
                        break;
                    }
                    _ => {
                        self.at = i + 1;
                        self.quoted = false;
                    }
                },
                (None, true) => {
                    self.at = data.len();
                    break;
                }
                (Some(i), false) => {
                    self.plain(data, i);
                    let before = i.checked_sub(1).and_then(|i| data.get(i));
                    self.quoted = matches!(before, None | Some(&(DELIMITER | b'\n' | b'\r')));
                    self.at = i + 1;
                }
                (None, false) => {
                    // An LF that follows belongs to the CR.
                    let to = data.len() - usize::from(!is_all && rest.last() == Some(&b'\r'));
                    self.plain(data, to);
                    self.at = to;
                    break;
                }
            }
        }
        self.whole
    }

    fn cut(&mut self, rows: &[u8]) -> u64 {
        let bare = std::mem::take(self).bare;
        memchr::memchr_iter(b'\n', rows).count() as u64 + bare
    }
}
