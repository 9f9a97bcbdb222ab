//! Cuts a block of CSV into records and cells.
//!
//! The standard dialect follows RFC 4180 and the extensions of the `csv` crate: LF, CRLF and bare CR end a record, and a
//! quote inside an unquoted cell is text. This tokenizer exists because no library distinguishes an empty cell (null) from
//! `""` (the empty string), refuses text after a closing quote, and reads blocks of one file on many threads.

use std::borrow::Cow;
use std::sync::Arc;

use super::syntax::{Separator, Syntax, blanks};
use crate::source::SourceError;
use crate::source::formats::rows::blocks::Block;
use crate::source::formats::rows::cells::{Cell, Record, RecordBlock};
use crate::source::formats::rows::decode::unreadable;
use crate::source::formats::rows::find;
use crate::source::formats::rows::reader::MAX_COLUMNS;

/// Settings shared by the blocks of one file.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The name of the file in messages.
    pub(super) name: Arc<str>,
    pub(super) syntax: Arc<Syntax>,
    /// Whether a last line without a line end is whole: the codec would have detected truncation, or the dialect says so.
    pub(super) proves_end: bool,
    /// Whether blank lines are skipped.
    pub(super) skip_blank: bool,
    /// The names of the columns as the line with [`Syntax::header_prefix`] has them; every such line must be like it.
    pub(super) header_line: Option<Arc<[u8]>>,
}

/// Reads the records of a block in order.
pub(super) struct Tokenizer {
    block: Block,
    layout: Layout,
    cells: Vec<Cell>,
    position: Position,
}

/// Where the next record starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    at: usize,
    line: u64,
    /// The previous record ended with CR, so a following LF belongs to it.
    after_cr: bool,
}

/// A record that was cut into cells.
struct Cut {
    /// Bytes before the line end.
    end: usize,
    fault: Option<Cow<'static, str>>,
    /// Whether cells may contain line ends.
    inner_lines: bool,
}

/// Offset of a quote that is never closed.
struct Unclosed(usize);

impl Tokenizer {
    pub(super) fn new(block: Block, layout: Layout) -> Self {
        let position = Position { at: 0, line: block.line, after_cr: false };
        Self { block, layout, cells: Vec::new(), position }
    }

    /// Uses another layout from here on.
    pub(super) fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn return_to(&mut self, position: Position) {
        self.position = position;
    }

    fn rest(&self) -> &[u8] {
        self.block.data().get(self.position.at..).unwrap_or_default()
    }

    /// Moves past the line ends that are not records.
    fn skip_line_ends(&mut self) {
        let position = &mut self.position;
        loop {
            match self.block.data().get(position.at) {
                Some(b'\n') if position.after_cr => position.after_cr = false,
                Some(b @ (b'\n' | b'\r')) if self.layout.skip_blank => {
                    position.after_cr = *b == b'\r';
                    position.line += 1;
                }
                _ => {
                    position.after_cr = false;
                    return;
                }
            }
            position.at += 1;
        }
    }

    /// Moves past a line, whatever it holds.
    fn skip_line(&mut self) {
        let len = line_len(self.rest());
        let terminator = self.rest().get(len).copied();
        self.position.at += len + usize::from(terminator.is_some());
        self.position.line += 1;
        self.position.after_cr = terminator == Some(b'\r');
    }

    /// Moves to the first byte of the next record, or of the line with the names of the columns if that is not known yet.
    ///
    /// # Errors
    /// Such a line with other names.
    fn start_record(&mut self) -> Result<(), SourceError> {
        self.skip_line_ends();
        let skips_blanks = self.layout.syntax.separator == Separator::Blanks && self.layout.skip_blank;
        if !skips_blanks && !self.layout.syntax.is_other_line(self.rest()) {
            return Ok(());
        }
        let syntax = self.layout.syntax.clone();
        let is_skipped = |line: &[u8]| {
            syntax.comment.as_ref().is_some_and(|comment| line.starts_with(comment))
                || (skips_blanks && is_blank_line(line))
        };
        loop {
            let rest = self.rest();
            if let Some(names) = syntax.header_prefix.as_ref().and_then(|prefix| rest.strip_prefix(prefix.as_slice())) {
                let Some(known) = &self.layout.header_line else { return Ok(()) };
                let names = names.get(..line_len(names)).unwrap_or_default();
                if names.trim_ascii() != known.as_ref() {
                    let prefix = String::from_utf8_lossy(syntax.header_prefix.as_deref().unwrap_or_default());
                    let why = format!(
                        "the line that begins with `{}` names other columns than the first such line; split the file \
                         before this line",
                        crate::diagnostic::shown(&prefix)
                    );
                    return Err(unreadable(&self.layout.name, Some(self.position.line), why));
                }
                self.skip_line();
            } else if is_skipped(rest) {
                self.skip_line();
            } else {
                return Ok(());
            }
            self.skip_line_ends();
        }
    }

    /// The names of the columns on the line that begins with [`Syntax::header_prefix`], and its number; `None` at the end of
    /// the block.
    ///
    /// # Errors
    /// A row before that line.
    pub(super) fn header_line(&mut self) -> Result<Option<(u64, Vec<u8>)>, SourceError> {
        self.start_record()?;
        let prefix = self.layout.syntax.header_prefix.clone().unwrap_or_default();
        let line = self.position.line;
        let Some(names) = self.rest().strip_prefix(prefix.as_slice()) else {
            if self.rest().is_empty() {
                return Ok(None);
            }
            let prefix = String::from_utf8_lossy(&prefix).into_owned();
            let why = format!(
                "a row comes before the line that begins with `{}`; if this line is no row, set `source.csv.comment` to what \
                 it begins with",
                crate::diagnostic::shown(&prefix)
            );
            return Err(unreadable(&self.layout.name, Some(line), why));
        };
        let names = names.get(..line_len(names)).unwrap_or_default().trim_ascii().to_vec();
        self.skip_line();
        Ok(Some((line, names)))
    }
}

impl RecordBlock for Tokenizer {
    /// Fails on a quote that is never closed, and on a line with other names of columns.
    fn next_record(&mut self) -> Result<Option<Record<'_>>, SourceError> {
        self.start_record()?;
        self.cells.clear();
        let Position { at, line, .. } = self.position;
        let data = self.block.data().get(at..).unwrap_or_default();
        if data.is_empty() {
            return Ok(None);
        }
        let syntax = &*self.layout.syntax;
        let cut = match syntax.simple_delimiter() {
            // Constants make the common dialect faster.
            Some(b',') if syntax.quote == Some(b'"') => cut_simple(data, b',', Some(b'"'), &mut self.cells),
            Some(delimiter) => cut_simple(data, delimiter, syntax.quote, &mut self.cells),
            None => cut_any(data, syntax, &mut self.cells),
        };
        let Cut { end, mut fault, inner_lines } = cut.map_err(|Unclosed(quote)| {
            let line = line + lines(data.get(..quote).unwrap_or_default());
            let why = "a quote opened on this line is never closed; the file is truncated or damaged";
            unreadable(&self.layout.name, Some(line), why)
        })?;
        let terminator = data.get(end).copied();
        if terminator.is_none() && !self.layout.proves_end && fault.is_none() {
            fault = Some(
                "the file ends without a line end, so its last cell may be truncated; if it is complete, append a line end, \
                 or set `source.csv.last_line: any`"
                    .into(),
            );
        }
        let bytes = data.get(..end).unwrap_or_default();
        self.position = Position {
            at: at + end + usize::from(terminator.is_some()),
            line: line + 1 + if inner_lines { lines(bytes) } else { 0 },
            after_cr: terminator == Some(b'\r'),
        };
        Ok(Some(Record { line, bytes, cells: &self.cells, fault }))
    }
}

/// Adds a cell. A line of delimiters could have millions; one too many is enough to detect the error.
#[inline]
fn push(cells: &mut Vec<Cell>, cell: Cell) {
    if cells.len() <= MAX_COLUMNS {
        cells.push(cell);
    }
}

/// Cuts a record of a dialect with a one-byte delimiter and without an escape character.
#[inline(always)]
fn cut_simple(data: &[u8], delimiter: u8, quote: Option<u8>, cells: &mut Vec<Cell>) -> Result<Cut, Unclosed> {
    let mut fault = None;
    let mut inner_lines = false;
    let mut at = 0;
    loop {
        let start = at;
        let mut cell = Cell { start, end: start, quoted: false, has_escapes: false };
        if let Some(quote) = quote
            && data.get(start) == Some(&quote)
        {
            cell.start += 1;
            cell.quoted = true;
            cell.end = closing_quote(data, quote, &mut cell, &mut inner_lines).ok_or(Unclosed(start))?;
            at = cell.end + 1;
            if data.get(at).is_some_and(|b| *b != delimiter && !matches!(b, b'\n' | b'\r')) {
                fault = Some("text follows a closing quote; a quote inside a quoted cell must be doubled".into());
            }
        }
        if !cell.quoted || fault.is_some() {
            at += find::cell_end(data.get(at..).unwrap_or_default(), delimiter);
            cell.end = at;
        }
        push(cells, cell);
        if data.get(at) != Some(&delimiter) {
            return Ok(Cut { end: at, fault, inner_lines });
        }
        at += 1;
    }
}

/// Cuts a record of any dialect.
fn cut_any(data: &[u8], syntax: &Syntax, cells: &mut Vec<Cell>) -> Result<Cut, Unclosed> {
    let mut fault: Option<Cow<'static, str>> = None;
    let mut at = if syntax.separator == Separator::Blanks { blanks(data) } else { 0 };
    let end = loop {
        let start = at;
        let mut cell = Cell { start, end: start, quoted: false, has_escapes: false };
        if let Some(quote) = syntax.quote
            && data.get(start) == Some(&quote)
        {
            cell.start += 1;
            cell.quoted = true;
            cell.end = match syntax.escape {
                None => closing_quote(data, quote, &mut cell, &mut false),
                Some(escape) => closing_quote_with_escapes(data, quote, escape, &mut cell),
            }
            .ok_or(Unclosed(start))?;
            at = cell.end + 1;
            if !is_cell_end(data.get(at..).unwrap_or_default(), syntax) {
                fault = Some(match syntax.escape {
                    None => "text follows a closing quote; a quote inside a quoted cell must be doubled".into(),
                    Some(escape) => {
                        let escape = char::from(escape);
                        format!(
                            "text follows a closing quote; a quote inside a quoted cell needs a `{escape}` before it"
                        )
                        .into()
                    }
                });
            }
        }
        if !cell.quoted || fault.is_some() {
            at += unquoted_len(data.get(at..).unwrap_or_default(), syntax, &mut cell.has_escapes);
            cell.end = at;
        }
        push(cells, cell);
        let rest = data.get(at..).unwrap_or_default();
        let delimiter = syntax.delimiter_len(rest);
        if delimiter == 0 {
            break at;
        }
        let is_last =
            syntax.separator == Separator::Blanks && rest.get(delimiter).is_none_or(|b| matches!(b, b'\n' | b'\r'));
        at += delimiter;
        if is_last {
            break at;
        }
    };
    Ok(Cut { end, fault, inner_lines: true })
}

fn is_cell_end(data: &[u8], syntax: &Syntax) -> bool {
    matches!(data.first(), None | Some(b'\n' | b'\r')) || syntax.delimiter_len(data) > 0
}

/// Length of the text before the first delimiter or line end that is not escaped.
fn unquoted_len(data: &[u8], syntax: &Syntax, has_escapes: &mut bool) -> usize {
    let mut at = 0;
    loop {
        at += syntax.text_len(data.get(at..).unwrap_or_default());
        let Some(rest) = data.get(at..).filter(|rest| !is_cell_end(rest, syntax)) else { break };
        if rest.first().copied() == syntax.escape {
            *has_escapes = true;
            at += escaped_len(rest);
        } else {
            at += 1;
        }
    }
    at.min(data.len())
}

/// Length of an escape character and of what it escapes: one byte of a character, or CRLF.
pub(super) fn escaped_len(data: &[u8]) -> usize {
    match data {
        [_, b'\r', b'\n', ..] => 3,
        _ => 2,
    }
}

/// Offset of the quote that closes the cell. Doubled quotes are text. Sets `lines` if the cell may contain a line end.
#[inline]
fn closing_quote(data: &[u8], quote: u8, cell: &mut Cell, lines: &mut bool) -> Option<usize> {
    let mut at = cell.start;
    loop {
        at += find::quote(data.get(at..)?, quote, lines)?;
        if data.get(at + 1) != Some(&quote) {
            return Some(at);
        }
        cell.has_escapes = true;
        at += 2;
    }
}

/// Offset of the quote that closes the cell and is not escaped.
fn closing_quote_with_escapes(data: &[u8], quote: u8, escape: u8, cell: &mut Cell) -> Option<usize> {
    let mut at = cell.start;
    loop {
        let rest = data.get(at..)?;
        let found = memchr::memchr2(quote, escape, rest)?;
        if rest.get(found) == Some(&quote) {
            return Some(at + found);
        }
        cell.has_escapes = true;
        at += found + 2;
    }
}

/// Bytes before the line end.
pub(super) fn line_len(data: &[u8]) -> usize {
    memchr::memchr2(b'\n', b'\r', data).unwrap_or(data.len())
}

fn is_blank_line(data: &[u8]) -> bool {
    let blank = blanks(data);
    blank > 0 && data.get(blank).is_none_or(|b| matches!(b, b'\n' | b'\r'))
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
