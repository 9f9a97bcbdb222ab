//! Places in the text of a `where` as places in the file that it stands in.
//!
//! A plain or quoted YAML scalar on one line stands in the file as it is, so a mistake can be shown at its word. A
//! folded or escaped one does not: then the whole scalar is shown, and a syntax error says its line and column.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span as SqlSpan};

use super::parse::syntax;
use crate::diagnostic::{Diagnostic, Located, Span};

/// The text and where it starts in its file.
pub(super) struct Place<'a> {
    text: &'a str,
    scalar: Option<&'a Span>,
    /// Byte of the file where the text stands literally.
    start: Option<usize>,
}

impl<'a> Place<'a> {
    /// Looks for the text in the scalar.
    pub(super) fn new(text: &'a Located<String>) -> Self {
        let scalar = text.span.as_ref();
        let start = scalar.and_then(|span| {
            let written = span.source.text.get(span.start..span.end)?;
            Some(span.start + written.find(text.value.as_str())?)
        });
        Self { text: &text.value, scalar, start }
    }

    /// A mistake of the whole.
    pub(super) fn whole(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.scalar, message)
    }

    /// The file's bytes of a part of the text, else the whole scalar.
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

    /// What the parser says, in our words. It keeps places in its text only.
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
        let base = self.start?;
        let (from, to) = (self.offset(start)?, self.offset(end).unwrap_or(self.text.len()));
        let source = self.scalar?.source.clone();
        (from < to).then(|| Span { source, start: base + from, end: base + to })
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
