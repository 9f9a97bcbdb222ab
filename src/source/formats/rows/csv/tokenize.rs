//! Cuts a block of CSV into records and cells.
//!
//! Follows RFC 4180 and the extensions of the `csv` crate: LF, CRLF and bare CR end a record, and a quote inside an
//! unquoted cell is text. This tokenizer exists because no library distinguishes an empty cell (null) from `""` (the empty
//! string) or refuses text after a closing quote.

use std::sync::Arc;

use super::find;
use crate::source::SourceError;
use crate::source::formats::rows::blocks::Block;
use crate::source::formats::rows::decode::unreadable;
use crate::source::formats::rows::reader::MAX_COLUMNS;

/// The only supported cell separator.
pub(super) const DELIMITER: u8 = b',';

/// One cell of a record, as a range of the record's bytes without the quotes around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether the cell is in quotes.
    pub(super) quoted: bool,
    /// Whether the cell contains doubled quotes.
    pub(super) doubled: bool,
}

/// One record.
pub(super) struct Record<'a> {
    /// 1-based line on which it starts.
    pub(super) line: u64,
    /// The record without its line end.
    pub(super) bytes: &'a [u8],
    /// At most one more than [`MAX_COLUMNS`].
    pub(super) cells: &'a [Cell],
    /// How it violates RFC 4180.
    pub(super) fault: Option<&'static str>,
}

/// Settings shared by the blocks of one file.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The name of the file in messages.
    pub(super) name: Arc<str>,
    /// Whether the codec would have detected truncation.
    pub(super) proves_end: bool,
    /// Whether blank lines are skipped.
    pub(super) skip_blank: bool,
}

/// Reads the records of a block in order.
pub(super) struct Tokenizer {
    block: Block,
    layout: Layout,
    cells: Vec<Cell>,
    /// Offset and line of the next record.
    at: usize,
    line: u64,
    /// The previous record ended with CR, so a following LF belongs to it.
    after_cr: bool,
}

impl Tokenizer {
    pub(super) fn new(block: Block, layout: Layout) -> Self {
        let line = block.line;
        Self { block, layout, cells: Vec::new(), at: 0, line, after_cr: false }
    }

    /// Sets whether blank lines are skipped from here on.
    pub(super) fn skip_blank(&mut self, skip: bool) {
        self.layout.skip_blank = skip;
    }

    /// Moves to the first byte of the next record.
    fn start_record(&mut self) {
        loop {
            match self.block.data().get(self.at) {
                Some(b'\n') if self.after_cr => self.after_cr = false,
                Some(b @ (b'\n' | b'\r')) if self.layout.skip_blank => {
                    self.after_cr = *b == b'\r';
                    self.line += 1;
                }
                _ => {
                    self.after_cr = false;
                    return;
                }
            }
            self.at += 1;
        }
    }

    /// The next record; `None` at the end of the block.
    ///
    /// # Errors
    /// A quote that is never closed.
    pub(super) fn next_record(&mut self) -> Result<Option<Record<'_>>, SourceError> {
        self.start_record();
        self.cells.clear();
        let data = self.block.data().get(self.at..).unwrap_or_default();
        if data.is_empty() {
            return Ok(None);
        }
        let mut fault = None;
        let mut inner_lines = false;
        let mut at = 0;
        let end = loop {
            let start = at;
            let mut cell = Cell { start, end: start, quoted: false, doubled: false };
            if data.get(start) == Some(&b'"') {
                cell.start += 1;
                cell.quoted = true;
                let Some(close) = closing_quote(data, &mut cell, &mut inner_lines) else {
                    let line = self.line + lines(data.get(..start).unwrap_or_default());
                    let why = "a quote opened on this line is never closed; the file is truncated or damaged";
                    return Err(unreadable(&self.layout.name, Some(line), why));
                };
                cell.end = close;
                at = close + 1;
                if !matches!(data.get(at), None | Some(&(DELIMITER | b'\n' | b'\r'))) {
                    fault = Some("text follows a closing quote; a quote inside a quoted cell must be doubled");
                }
            }
            if !cell.quoted || fault.is_some() {
                at += find::cell_end(data.get(at..).unwrap_or_default());
                cell.end = at;
            }
            // A line of delimiters could have millions of cells; one too many is enough to detect the error.
            if self.cells.len() <= MAX_COLUMNS {
                self.cells.push(cell);
            }
            match data.get(at) {
                Some(&DELIMITER) => at += 1,
                Some(_) => break at,
                None => {
                    if !self.layout.proves_end && fault.is_none() {
                        fault = Some(
                            "the file ends without a line end, so its last cell may be truncated; \
                             if it is complete, append a line end",
                        );
                    }
                    break at;
                }
            }
        };
        let line = self.line;
        let terminator = data.get(end).copied();
        self.at += end + usize::from(terminator.is_some());
        self.after_cr = terminator == Some(b'\r');
        let bytes = data.get(..end).unwrap_or_default();
        self.line += 1 + if inner_lines { lines(bytes) } else { 0 };
        Ok(Some(Record { line, bytes, cells: &self.cells, fault }))
    }
}

/// Offset of the quote that closes the cell. Doubled quotes are text. Sets `lines` if the cell may contain a line end.
#[inline]
fn closing_quote(data: &[u8], cell: &mut Cell, lines: &mut bool) -> Option<usize> {
    let mut at = cell.start;
    loop {
        at += find::quote(data.get(at..)?, lines)?;
        if data.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        cell.doubled = true;
        at += 2;
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// The text of a cell. Doubled quotes are undoubled in `scratch`.
#[inline]
pub(super) fn cell_text<'a>(record: &'a str, cell: &Cell, scratch: &'a mut String) -> &'a str {
    let raw = record.get(cell.start..cell.end).unwrap_or_default();
    if !cell.doubled {
        return raw;
    }
    scratch.clear();
    let mut rest = raw;
    while let Some(i) = find::quote(rest.as_bytes(), &mut false) {
        // Includes the first quote of the pair.
        scratch.push_str(rest.get(..=i).unwrap_or_default());
        rest = rest.get(i + 2..).unwrap_or_default();
    }
    scratch.push_str(rest);
    scratch
}
