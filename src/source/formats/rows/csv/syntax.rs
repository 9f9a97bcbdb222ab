//! How the bytes of a CSV file are cut into records and cells, as its dialect says.

use std::path::Path;

use crate::job::{CsvDialect, Delimiter, Header};
use crate::source::extension::Extensions;

/// What separates cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Separator {
    /// One byte.
    Byte(u8),
    /// A character that is not ASCII, as UTF-8.
    Bytes(Vec<u8>),
    /// Any number of spaces and tabs.
    Blanks,
}

/// A dialect of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) separator: Separator,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<Vec<u8>>,
    /// What the line with the names of the columns begins with.
    pub(super) header_prefix: Option<Vec<u8>>,
    /// For each byte, whether it may end a run of unquoted text: a line end, an escape character, the first byte of a
    /// delimiter.
    stops: [bool; 256],
}

impl Syntax {
    /// `name` is the file's; its extension may imply the delimiter.
    pub(super) fn new(dialect: &CsvDialect, name: &str) -> Self {
        let separator = match dialect.delimiter {
            Some(Delimiter::Blanks) => Separator::Blanks,
            Some(Delimiter::Character(character)) if character.is_ascii() => {
                Separator::Byte(u8::try_from(character).unwrap_or_default())
            }
            Some(Delimiter::Character(character)) => Separator::Bytes(character.to_string().into_bytes()),
            None if Extensions::of(Path::new(name)).is_tab_separated() => Separator::Byte(b'\t'),
            None => Separator::Byte(b','),
        };
        let header_prefix = match &dialect.header {
            Header::LinePrefix(prefix) => Some(prefix.clone().into_bytes()),
            _ => None,
        };
        let mut stops = [false; 256];
        let delimiters = match &separator {
            Separator::Byte(delimiter) => std::slice::from_ref(delimiter),
            Separator::Bytes(delimiter) => delimiter.get(..1).unwrap_or_default(),
            Separator::Blanks => b" \t",
        };
        for byte in delimiters.iter().chain(b"\n\r").chain(&dialect.escape) {
            stops[usize::from(*byte)] = true;
        }
        Self {
            separator,
            quote: dialect.quote,
            escape: dialect.escape,
            comment: dialect.comment.clone().map(String::into_bytes),
            header_prefix,
            stops,
        }
    }

    /// The delimiter, if the fast paths can be used: only a quote can make it, or a line end, a part of a cell.
    pub(super) fn simple_delimiter(&self) -> Option<u8> {
        match self.separator {
            Separator::Byte(delimiter) if self.escape.is_none() => Some(delimiter),
            _ => None,
        }
    }

    /// Whether the line at the start of `data` is a comment or has the names of the columns.
    pub(super) fn is_other_line(&self, data: &[u8]) -> bool {
        [&self.comment, &self.header_prefix].into_iter().flatten().any(|prefix| data.starts_with(prefix))
    }

    /// Bytes of a line that [`Syntax::is_other_line`] needs.
    pub(super) fn prefix_bytes(&self) -> usize {
        [&self.comment, &self.header_prefix].into_iter().flatten().map(Vec::len).max().unwrap_or_default()
    }

    /// Length of the text at the start that no delimiter, line end or escape character can be in.
    #[inline]
    pub(super) fn text_len(&self, data: &[u8]) -> usize {
        data.iter().position(|byte| self.stops[usize::from(*byte)]).unwrap_or(data.len())
    }

    /// Length of the delimiter at the start of `data`; 0 if there is none. Blanks are counted to their end.
    #[inline]
    pub(super) fn delimiter_len(&self, data: &[u8]) -> usize {
        match &self.separator {
            Separator::Byte(delimiter) => usize::from(data.first() == Some(delimiter)),
            Separator::Bytes(delimiter) => {
                if data.starts_with(delimiter) {
                    delimiter.len()
                } else {
                    0
                }
            }
            Separator::Blanks => blanks(data),
        }
    }
}

/// Number of spaces and tabs at the start.
pub(super) fn blanks(data: &[u8]) -> usize {
    data.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(data.len())
}
