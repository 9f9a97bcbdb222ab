//! Cuts a block of CSV into records and cells.
//!
//! RFC 4180, and what the `csv` crate reads beyond it: LF, CRLF and bare CR end a record, a quote inside a cell that
//! does not start with one is a quote. A tokeniser of our own, because no library tells an empty cell (null) from `""`
//! (the empty string), nor refuses text behind a closing quote.

use std::sync::Arc;

use super::find;
use crate::source::SourceError;
use crate::source::rows::blocks::Block;
use crate::source::rows::decode::unreadable;
use crate::source::rows::reader::MAX_COLUMNS;

/// What separates cells.
pub(super) const DELIMITER: u8 = b',';

/// One cell of a record, as a range of the record's bytes without the quotes around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Stood in quotes.
    pub(super) quoted: bool,
    /// Holds quotes, written twice.
    pub(super) doubled: bool,
}

/// One record.
pub(super) struct Record<'a> {
    /// 1-based line on which it starts.
    pub(super) line: u64,
    /// Its bytes without the line end.
    pub(super) bytes: &'a [u8],
    /// Not more than one above [`MAX_COLUMNS`].
    pub(super) cells: &'a [Cell],
    /// Why it is no record of RFC 4180.
    pub(super) fault: Option<&'static str>,
}

/// What the blocks of one file have in common.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The file's name in messages.
    pub(super) name: Arc<str>,
    /// Whether the codec would have noticed a cut.
    pub(super) proves_end: bool,
    /// Blank lines are no records.
    pub(super) skip_blank: bool,
}

/// A position in a block.
pub(super) struct Tokeniser {
    block: Block,
    layout: Layout,
    cells: Vec<Cell>,
    /// Where the next record starts, and its line.
    at: usize,
    line: u64,
    /// The record given last ended with CR, so an LF that follows belongs to it.
    after_cr: bool,
}

impl Tokeniser {
    pub(super) fn new(block: Block, layout: Layout) -> Self {
        let line = block.line;
        Self { block, layout, cells: Vec::new(), at: 0, line, after_cr: false }
    }

    /// Whether blank lines are passed over from here on.
    pub(super) fn skip_blank(&mut self, skip: bool) {
        self.layout.skip_blank = skip;
    }

    /// Steps to the first byte of the next record.
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
                    let why = "a quote that is opened on this line is never closed; the file is cut or damaged";
                    return Err(unreadable(&self.layout.name, Some(line), why));
                };
                cell.end = close;
                at = close + 1;
                if !matches!(data.get(at), None | Some(&(DELIMITER | b'\n' | b'\r'))) {
                    fault = Some("text stands behind a closing quote; a quote inside a quoted cell is doubled");
                }
            }
            if !cell.quoted || fault.is_some() {
                at += find::cell_end(data.get(at..).unwrap_or_default());
                cell.end = at;
            }
            // A line of nothing but delimiters has millions; one too many tells.
            if self.cells.len() <= MAX_COLUMNS {
                self.cells.push(cell);
            }
            match data.get(at) {
                Some(&DELIMITER) => at += 1,
                Some(_) => break at,
                None => {
                    if !self.layout.proves_end && fault.is_none() {
                        fault = Some(
                            "the file ends without a line end, so its last cell may be cut; \
                             if it is whole, append a line end",
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

/// The place of the quote that closes the cell; two in a row are one of its text. `lines` is set where a line end may
/// stand in it.
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

/// The text of a cell: doubled quotes are halved into `scratch`.
#[inline]
pub(super) fn cell_text<'a>(record: &'a str, cell: &Cell, scratch: &'a mut String) -> &'a str {
    let raw = record.get(cell.start..cell.end).unwrap_or_default();
    if !cell.doubled {
        return raw;
    }
    scratch.clear();
    let mut rest = raw;
    while let Some(i) = find::quote(rest.as_bytes(), &mut false) {
        // With the first quote of the two.
        scratch.push_str(rest.get(..=i).unwrap_or_default());
        rest = rest.get(i + 2..).unwrap_or_default();
    }
    scratch.push_str(rest);
    scratch
}
