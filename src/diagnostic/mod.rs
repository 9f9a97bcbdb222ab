//! An error in a user's file, with its location.
//!
//! Parsing, resolving and planning collect [`Diagnostic`]s instead of stopping at the first, so that users can fix the
//! whole file at once. [`render_text`] and its siblings format them.

mod render;
mod schema;
mod secret_uri;

use std::path::PathBuf;
use std::sync::Arc;

pub use render::{DiagnosticRecord, records, render_github, render_text};
pub use secret_uri::{grants_access, masked, userinfo};

/// How much of a value a message repeats.
pub const SHOWN_CHARS: usize = 80;

/// Maximum number of errors reported for a file and its catalog; the rest are counted.
pub const MISTAKES: usize = 100;

/// Names that a message lists.
const LISTED_NAMES: usize = 20;

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

impl Span {
    /// Line and column of the first character, both from 1, the column in characters.
    pub fn line_column(&self) -> (usize, usize) {
        line_column(&self.source.text, self.start)
    }

    /// Line and column of the place after the last character.
    pub fn end_line_column(&self) -> (usize, usize) {
        line_column(&self.source.text, self.end)
    }
}

/// Line and column, from 1, of a byte offset. An offset inside a character counts as its start.
fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
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
    /// A value without a location in a file.
    pub fn default_value(value: T) -> Self {
        Self { value, span: None }
    }

    /// Another value at the same place.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: map(self.value), span: self.span }
    }

    /// A mistake in this value.
    pub fn mistake(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.span.as_ref(), message)
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
    let length = word.chars().count();
    if length > SHOWN_CHARS {
        return None;
    }
    let limit = (length / 3).max(1);
    let may_be_near = |c: &&str| c.chars().take(length + limit + 1).count().abs_diff(length) <= limit;
    candidates
        .into_iter()
        .filter(may_be_near)
        .map(|c| (strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// What is wrong with a regular expression. The crate draws it over several lines, of which the last says why.
pub fn regex_reason(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Errors sorted by location, file by file, without duplicates, up to [`MISTAKES`].
pub fn in_order(mut errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut files: Vec<PathBuf> = Vec::new();
    for error in &errors {
        if let Some(span) = &error.span
            && !files.contains(&span.source.path)
        {
            files.push(span.source.path.clone());
        }
    }
    let place = |d: &Diagnostic| d.span.as_ref().map(|s| (files.iter().position(|f| *f == s.source.path), s.start));
    errors.sort_by_key(place);
    errors.dedup();
    if errors.len() > MISTAKES {
        let more = errors.split_off(MISTAKES).len();
        errors.push(Diagnostic::at(None, format!("{more} more mistakes are not shown")));
    }
    errors
}

/// As [`nearest`], for the next of these mistakes: looking for it is worth it only for a mistake that will be shown.
pub fn nearest_for<'a>(
    mistakes: &[Diagnostic],
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if mistakes.len() < MISTAKES { nearest(word, candidates) } else { None }
}

/// A comma-separated list of names for a message, truncated if long.
pub fn listed_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let mut listed: Vec<String> = names.by_ref().take(LISTED_NAMES).map(|name| format!("`{}`", shown(name))).collect();
    let more = names.count();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed.join(", ")
}

/// A value as a message may repeat it: what a terminal would obey or hide is escaped, and what is long is cut.
pub fn shown(value: &str) -> String {
    // Before it is cut, so that a URI is seen whole.
    let value = masked(value);
    let mut cut: String = value.chars().take(SHOWN_CHARS).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    escaped(&cut)
}

/// Text with every character escaped that a terminal obeys, hides or reorders.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe_to_show(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and the format characters that reorder or hide text (Unicode TR 36, section 3; TR 9).
fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped("a\u{1b}[31mb\u{202e}c\nd"), "a\\u{1b}[31mb\\u{202e}c\\u{a}d");
        assert_eq!(escaped("größe 💾"), "größe 💾");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&"ü".repeat(100)), format!("{}…", "ü".repeat(80)));
    }

    #[test]
    fn columns_count_characters() {
        let source = Arc::new(SourceText { path: "a".into(), text: "ä\nüö: x".to_owned() });
        let span = Span { source, start: 9, end: 10 };
        assert_eq!((span.line_column(), span.end_line_column()), ((2, 5), (2, 6)));
    }

    #[test]
    fn a_name_far_from_all_others_has_no_nearest() {
        assert_eq!(nearest("fromat", ["format", "name"]), Some("format"));
        assert_eq!(nearest("zzz", ["format", "name"]), None);
        assert_eq!(nearest(&"a".repeat(1 << 20), ["format"]), None);
    }
}
