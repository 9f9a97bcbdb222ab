//! Maps locations in the text of a `where` to locations in its file.
//!
//! The text of a YAML scalar differs from the file only in white space (indentation, folded lines), so a mistake can be shown
//! at its word. If the scalar contains escapes, the whole scalar is shown, and a syntax error names its line and column.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span as SqlSpan};

use super::parse::syntax;
use crate::diagnostic::{Diagnostic, Located, Span};

/// The text and where it starts in its file.
pub(super) struct Locator<'a> {
    text: &'a str,
    scalar: Option<&'a Span>,
    /// For each byte of the text, its offset in the file.
    bytes: Option<Vec<usize>>,
}

impl<'a> Locator<'a> {
    /// Aligns the text with the scalar.
    pub(super) fn new(text: &'a Located<String>) -> Self {
        let scalar = text.span.as_ref();
        let bytes = scalar.and_then(|span| {
            let written = span.source.text.get(span.start..span.end)?;
            let mut bytes = align(&text.value, written)?;
            bytes.iter_mut().for_each(|byte| *byte += span.start);
            Some(bytes)
        });
        Self { text: &text.value, scalar, bytes }
    }

    /// A mistake in the whole text.
    pub(super) fn whole(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.scalar, message)
    }

    /// The location in the file of a part of the text, else of the whole scalar.
    pub(super) fn span(&self, part: SqlSpan) -> Option<Span> {
        self.narrow(part.start, part.end).or_else(|| self.scalar.cloned())
    }

    /// A mistake at one character, or at the end.
    pub(super) fn at_location(&self, at: Location, message: String) -> Diagnostic {
        let next = Location { line: at.line, column: at.column + 1 };
        match self.narrow(at, next) {
            Some(span) => Diagnostic::at(Some(&span), message),
            None if at.line > 0 => {
                self.whole(format!("{message}, at line {}, column {} of the condition", at.line, at.column))
            }
            None => self.whole(message),
        }
    }

    /// Rewords an error of the parser, which states locations only in its text.
    pub(super) fn parser_error(&self, error: &ParserError, depth: usize, help: &str) -> Diagnostic {
        let text = match error {
            ParserError::RecursionLimitExceeded => {
                let message = format!("`where` is nested more than {depth} levels deep");
                return self.whole(message).help("AND and OR chains may be of any length: leave brackets out");
            }
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        };
        let (what, at) = text.split_once(" at Line: ").unwrap_or((text, ""));
        let what = syntax(&what.replace("Expected: ", "expected ").replace(", found: ", ", found "));
        let location = at
            .split_once(", Column: ")
            .and_then(|(line, column)| Some(Location { line: line.parse().ok()?, column: column.parse().ok()? }));
        match location {
            Some(at) => self.at_location(at, what).help(help),
            None => self.whole(what).help(help),
        }
    }

    fn narrow(&self, start: Location, end: Location) -> Option<Span> {
        let bytes = self.bytes.as_ref()?;
        let (from, to) = (self.offset(start)?, self.offset(end).unwrap_or(self.text.len()));
        let source = self.scalar?.source.clone();
        // The part ends after its last byte, not where the next line starts.
        let (first, last) = (*bytes.get(from)?, *bytes.get(to.checked_sub(1)?)?);
        (from < to).then(|| Span { source, start: first, end: last + 1 })
    }

    /// Byte of a 1-based line and character column.
    fn offset(&self, at: Location) -> Option<usize> {
        let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        let mut start = 0;
        for _ in 0..line {
            start += self.text.get(start..)?.find('\n')? + 1;
        }
        let rest = self.text.get(start..)?;
        let bytes = rest.char_indices().map(|(i, _)| i).chain([rest.len()]).nth(column)?;
        Some(start + bytes)
    }
}

/// For each byte of the text, its offset in `written`, the YAML scalar. `None` if they differ in more than white space.
fn align(text: &str, written: &str) -> Option<Vec<usize>> {
    if let Some(start) = written.find(text) {
        return Some((start..start + text.len()).collect());
    }
    let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    // `|` or `>` with its indicators is a separate line.
    let mut at = match written.as_bytes().first()? {
        b'|' | b'>' => written.find('\n')?,
        b'"' | b'\'' => 1,
        _ => 0,
    };
    let is_blank = |at: usize| written.as_bytes().get(at).copied().is_some_and(blank);
    let after_blanks = |at: usize| (at..).find(|at| !is_blank(*at)).unwrap_or(at);
    at = after_blanks(at);
    let mut bytes = Vec::with_capacity(text.len());
    let mut in_blanks = None;
    for byte in text.bytes() {
        if blank(byte) {
            // Consecutive blanks map to one run of blanks in the file, regardless of their number.
            let start = *in_blanks.get_or_insert(at);
            bytes.push(start);
            at = after_blanks(start);
        } else {
            in_blanks = None;
            (written.as_bytes().get(at) == Some(&byte)).then_some(())?;
            bytes.push(at);
            at += 1;
        }
    }
    Some(bytes)
}
