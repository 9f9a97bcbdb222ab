//! Cuts a CSV file into records and cells.
//!
//! RFC 4180, and what the `csv` crate reads beyond it: LF, CRLF and bare CR end a record, a quote inside a cell that
//! does not start with one is a quote. A tokeniser of our own, because no library tells an empty cell (null) from `""`
//! (the empty string), nor refuses text behind a closing quote.

use crate::source::SourceError;
use crate::source::rows::decode::{Buffer, unreadable};

/// What separates cells.
const DELIMITER: u8 = b',';

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
    pub(super) cells: &'a [Cell],
    /// Why it is no record of RFC 4180.
    pub(super) fault: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the first byte of a cell.
    CellStart,
    /// In a cell without quotes around it.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a quote in a quoted cell: the closing one, or the first of two.
    QuoteSeen,
}

/// A position in a CSV file.
pub(super) struct Tokeniser {
    buffer: Buffer,
    cells: Vec<Cell>,
    /// Line on which the next record starts.
    line: u64,
    /// Bytes and lines of the record given last.
    given: usize,
    given_lines: u64,
    /// The record given last ended with CR, so an LF that follows belongs to it.
    after_cr: bool,
    /// Blank lines are no records.
    skip_blank: bool,
}

impl Tokeniser {
    pub(super) fn new(buffer: Buffer) -> Self {
        Self { buffer, cells: Vec::new(), line: 1, given: 0, given_lines: 0, after_cr: false, skip_blank: true }
    }

    /// Whether blank lines are passed over from here on, as they are from the start.
    pub(super) fn skip_blank(&mut self, skip: bool) {
        self.skip_blank = skip;
    }

    /// Steps to the first byte of the next record.
    fn start_record(&mut self) -> Result<(), SourceError> {
        self.buffer.consume(std::mem::take(&mut self.given));
        self.line += std::mem::take(&mut self.given_lines);
        self.cells.clear();
        loop {
            if self.buffer.data().is_empty() {
                self.fill()?;
            }
            match self.buffer.data().first() {
                Some(b'\n') if self.after_cr => self.after_cr = false,
                Some(b @ (b'\n' | b'\r')) if self.skip_blank => {
                    self.after_cr = *b == b'\r';
                    self.line += 1;
                }
                _ => {
                    self.after_cr = false;
                    return Ok(());
                }
            }
            self.buffer.consume(1);
        }
    }

    /// The next record; `None` at the proven end of the file.
    ///
    /// # Errors
    /// The file's own, and a quote that is never closed.
    pub(super) fn next_record(&mut self) -> Result<Option<Record<'_>>, SourceError> {
        self.start_record()?;
        let mut state = State::CellStart;
        let mut at = 0;
        let mut cell = Cell { start: 0, end: 0, quoted: false, doubled: false };
        let mut fault = None;
        let mut inner_lines = 0;
        let end = 'record: loop {
            let data = self.buffer.data();
            while let Some(&byte) = data.get(at) {
                match state {
                    State::CellStart => {
                        let quoted = byte == b'"';
                        at += usize::from(quoted);
                        cell = Cell { start: at, end: at, quoted, doubled: false };
                        state = if quoted { State::Quoted } else { State::Plain };
                    }
                    State::Plain => {
                        let rest = data.get(at..).unwrap_or_default();
                        let Some(n) = rest.iter().position(|b| matches!(*b, DELIMITER | b'\n' | b'\r')) else {
                            at = data.len();
                            continue;
                        };
                        at += n;
                        cell.end = at;
                        self.cells.push(cell);
                        if rest.get(n) != Some(&DELIMITER) {
                            break 'record at;
                        }
                        at += 1;
                        state = State::CellStart;
                    }
                    State::Quoted => {
                        let rest = data.get(at..).unwrap_or_default();
                        let quote = memchr::memchr(b'"', rest);
                        let inner = rest.get(..quote.unwrap_or(rest.len())).unwrap_or_default();
                        inner_lines += memchr::memchr_iter(b'\n', inner).count() as u64;
                        at += inner.len();
                        if quote.is_some() {
                            cell.end = at;
                            at += 1;
                            state = State::QuoteSeen;
                        }
                    }
                    State::QuoteSeen => match byte {
                        b'"' => {
                            cell.doubled = true;
                            at += 1;
                            state = State::Quoted;
                        }
                        DELIMITER => {
                            self.cells.push(cell);
                            at += 1;
                            state = State::CellStart;
                        }
                        b'\n' | b'\r' => {
                            self.cells.push(cell);
                            break 'record at;
                        }
                        _ => {
                            fault = Some("text stands behind a closing quote; a quote inside a quoted cell is doubled");
                            state = State::Plain;
                        }
                    },
                }
            }
            if self.fill()? {
                continue;
            }
            match state {
                State::CellStart if at == 0 => return Ok(None),
                State::Quoted => {
                    let why = "a quote that is opened on this line is never closed; the file is cut or damaged";
                    let line = self.line + self.lines_before(cell.start);
                    return Err(unreadable(self.buffer.name(), Some(line), why));
                }
                State::CellStart => cell = Cell { start: at, end: at, quoted: false, doubled: false },
                State::Plain => cell.end = at,
                State::QuoteSeen => {}
            }
            self.cells.push(cell);
            if !self.buffer.proves_end() && fault.is_none() {
                fault = Some(
                    "the file ends without a line end, so its last cell may be cut; \
                     if it is whole, append a line end",
                );
            }
            break at;
        };
        let terminator = self.buffer.data().get(end).copied();
        self.given = end + usize::from(terminator.is_some());
        self.after_cr = terminator == Some(b'\r');
        self.given_lines = inner_lines + 1;
        let bytes = self.buffer.data().get(..end).unwrap_or_default();
        Ok(Some(Record { line: self.line, bytes, cells: &self.cells, fault }))
    }

    fn lines_before(&self, at: usize) -> u64 {
        memchr::memchr_iter(b'\n', self.buffer.data().get(..at).unwrap_or_default()).count() as u64
    }

    fn fill(&mut self) -> Result<bool, SourceError> {
        let line = self.line;
        self.buffer.fill().map_err(|e| SourceError { position: Some(line), ..e })
    }
}

/// The text of a cell: doubled quotes are halved into `scratch`.
#[inline]
pub(super) fn cell_text<'a>(record: &'a str, cell: &Cell, scratch: &'a mut String) -> &'a str {
    let raw = record.get(cell.start..cell.end).unwrap_or_default();
    if !cell.doubled {
        return raw;
    }
    scratch.clear();
    let mut parts = raw.split("\"\"");
    scratch.push_str(parts.next().unwrap_or_default());
    for part in parts {
        scratch.push('"');
        scratch.push_str(part);
    }
    scratch
}
