//! A mistake in a file that a person wrote, and where it stands.
//!
//! Parsing, resolving and planning collect [`Diagnostic`]s instead of stopping at the first, so that
//! one look at the output mends the whole file. How they look is the renderer's business.

use std::path::PathBuf;
use std::sync::Arc;

/// A file's text, kept so that a message can show the line it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// As the user named it.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// A half-open range of bytes in a [`SourceText`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub source: Arc<SourceText>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written; `None` for a default.
    pub span: Option<Span>,
}

impl<T> Located<T> {
    /// A value that nobody wrote.
    pub fn default_value(value: T) -> Self {
        Self { value, span: None }
    }
}

/// One mistake: what is wrong, where, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, one line, lower case, no full stop.
    pub message: String,
    /// Where. `None` only where the file as a whole is meant.
    pub span: Option<Span>,
    /// The way out: a nearest name, the allowed values, a limit.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake at a place.
    pub fn at(span: Option<&Span>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: span.cloned(), help: None }
    }

    /// Adds the way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The candidate nearest to `word`, if one is near enough to be meant (Damerau-Levenshtein,
/// at most a third of the word's length).
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}
