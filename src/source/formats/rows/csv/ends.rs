//! Finds the ends of CSV records without splitting cells.
//!
//! Follows the tokenizer's rules as far as they affect line ends. A line end within quotes, or after an escape character,
//! is text. A quote opens a cell only at the start of the data or after a delimiter or line end; any other quote is text.

use std::sync::Arc;

use super::syntax::{Separator, Syntax};
use super::tokenize::{escaped_len, line_len};
use crate::source::formats::rows::blocks::RowEnds;
use crate::source::formats::rows::find;

/// A position in the records at the front of a buffer.
pub(super) struct RecordEnds {
    syntax: Arc<Syntax>,
    scan: Scan,
}

#[derive(Default)]
struct Scan {
    /// Bytes examined.
    at: usize,
    /// What they end in.
    inside: Inside,
    /// Offset after the last line end that ends a record.
    whole: usize,
    /// Records before `whole` that end with a bare CR.
    bare: u64,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inside {
    /// The first byte of a line.
    #[default]
    LineStart,
    /// The first byte of a cell.
    CellStart,
    /// Text that is not quoted. In simple dialects, also the first byte of a line or cell.
    Text,
    /// Quoted text.
    Quotes,
    /// A comment, or the line with the names of the columns.
    OtherLine,
}

impl RecordEnds {
    pub(super) fn new(syntax: Arc<Syntax>) -> Self {
        Self { syntax, scan: Scan::default() }
    }
}

impl RowEnds for RecordEnds {
    fn whole_rows(&mut self, data: &[u8], is_all: bool) -> usize {
        let syntax = &*self.syntax;
        match (syntax.simple_delimiter(), syntax.quote) {
            (Some(_), None) => self.scan.lines(data, is_all),
            // Constants make the common dialect faster.
            (Some(b','), Some(b'"')) => self.scan.simple(data, is_all, (b',', b'"'), syntax),
            (Some(delimiter), Some(quote)) => self.scan.simple(data, is_all, (delimiter, quote), syntax),
            _ => self.scan.any(data, is_all, syntax),
        }
        self.scan.whole
    }

    fn cut(&mut self, rows: &[u8]) -> u64 {
        let bare = std::mem::take(&mut self.scan).bare;
        memchr::memchr_iter(b'\n', rows).count() as u64 + bare
    }
}

impl Scan {
    /// Finds the last line end in the unquoted text up to `to`.
    fn plain(&mut self, data: &[u8], to: usize) {
        let from = self.at;
        let plain = data.get(from..to).unwrap_or_default();
        let Some(last) = memchr::memrchr2(b'\n', b'\r', plain) else { return };
        self.whole = from + last + 1;
        let is_bare = |i: &usize| data.get(from + i + 1) != Some(&b'\n');
        self.bare += memchr::memchr_iter(b'\r', plain).filter(is_bare).count() as u64;
    }

    /// Dialects in which every line end ends a record.
    fn lines(&mut self, data: &[u8], is_all: bool) {
        // An LF that follows belongs to the CR.
        let is_open = !is_all && data.last() == Some(&b'\r');
        let to = data.len().saturating_sub(usize::from(is_open)).max(self.at);
        self.plain(data, to);
        self.at = to;
    }

    /// Dialects in which only a quote can make a line end a part of a cell.
    #[inline(always)]
    fn simple(&mut self, data: &[u8], is_all: bool, (delimiter, mark): (u8, u8), syntax: &Syntax) {
        loop {
            let rest = data.get(self.at..).unwrap_or_default();
            let is_quoted = self.inside == Inside::Quotes;
            // The next quote is usually near within quotes and far away elsewhere.
            let quote = if is_quoted { find::quote(rest, mark, &mut false) } else { memchr::memchr(mark, rest) };
            let quote = quote.map(|i| self.at + i);
            match (quote, is_quoted) {
                (Some(i), true) => match data.get(i + 1) {
                    Some(next) if *next == mark => self.at = i + 2,
                    // Either the closing quote or the first of a doubled quote: the next byte decides.
                    None if !is_all => {
                        self.at = i;
                        break;
                    }
                    _ => {
                        self.at = i + 1;
                        self.inside = Inside::Text;
                    }
                },
                (None, true) => {
                    self.at = data.len();
                    break;
                }
                (Some(i), false) => {
                    self.plain(data, i);
                    let before = i.checked_sub(1).and_then(|i| data.get(i));
                    if before.is_none_or(|b| *b == delimiter || matches!(b, b'\n' | b'\r')) {
                        let record = data.get(self.whole..).unwrap_or_default();
                        if record.len() < syntax.prefix_bytes() && !is_all {
                            // Whether this is a comment is not known yet.
                            self.at = i;
                            break;
                        }
                        if !syntax.is_other_line(record) {
                            self.inside = Inside::Quotes;
                        }
                    }
                    self.at = i + 1;
                }
                (None, false) => {
                    self.lines(data, is_all);
                    break;
                }
            }
        }
    }

    /// Any dialect, byte by byte.
    fn any(&mut self, data: &[u8], is_all: bool, syntax: &Syntax) {
        // What is needed to decide on a byte: the beginning of a comment, a delimiter of several bytes, CRLF after an
        // escape character.
        let needed = syntax.prefix_bytes().max(4);
        while let Some(rest) = data.get(self.at..).filter(|rest| !rest.is_empty()) {
            if rest.len() < needed && !is_all {
                return;
            }
            self.step(rest, syntax);
        }
    }

    /// Examines at least one byte of `rest`.
    fn step(&mut self, rest: &[u8], syntax: &Syntax) {
        let first = rest.first().copied();
        if self.inside == Inside::LineStart && syntax.is_other_line(rest) {
            self.inside = Inside::OtherLine;
        }
        match (self.inside, first) {
            (Inside::Quotes, _) if first == syntax.escape => self.at += escaped_len(rest).min(rest.len()),
            (Inside::Quotes, _) if first == syntax.quote => {
                let is_doubled = syntax.escape.is_none() && rest.get(1).copied() == syntax.quote;
                self.at += 1 + usize::from(is_doubled);
                if !is_doubled {
                    self.inside = Inside::Text;
                }
            }
            (Inside::Quotes, _) => {
                let next = match (syntax.quote, syntax.escape) {
                    (Some(quote), Some(escape)) => memchr::memchr2(quote, escape, rest),
                    (Some(quote), None) => memchr::memchr(quote, rest),
                    (None, _) => None,
                };
                self.at += next.unwrap_or(rest.len());
            }
            (Inside::Text, _) if syntax.text_len(rest) > 0 => self.at += syntax.text_len(rest),
            (Inside::OtherLine, _) if line_len(rest) > 0 => self.at += line_len(rest),
            (_, Some(end @ (b'\n' | b'\r'))) => {
                let is_crlf = end == b'\r' && rest.get(1) == Some(&b'\n');
                self.at += 1 + usize::from(is_crlf);
                self.whole = self.at;
                self.bare += u64::from(end == b'\r' && !is_crlf);
                self.inside = Inside::LineStart;
            }
            (Inside::LineStart | Inside::CellStart, _) if first == syntax.quote => {
                self.at += 1;
                self.inside = Inside::Quotes;
            }
            _ => match syntax.delimiter_len(rest) {
                0 if first == syntax.escape => {
                    self.at += escaped_len(rest).min(rest.len());
                    self.inside = Inside::Text;
                }
                0 => {
                    self.at += 1;
                    self.inside = Inside::Text;
                }
                _ if syntax.separator == Separator::Blanks => {
                    // One by one, because a run may go on behind the data.
                    self.at += 1;
                    self.inside = Inside::CellStart;
                }
                delimiter => {
                    self.at += delimiter;
                    self.inside = Inside::CellStart;
                }
            },
        }
    }
}
