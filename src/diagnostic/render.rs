//! Diagnostics for people, for GitHub's annotations and for programs.
//!
//! Invariant: nothing from a file reaches a terminal unescaped, and the work per diagnostic does not grow with
//! the file, apart from finding its line.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::{Diagnostic, Span, escaped, is_unsafe_to_show, masked};

/// Characters kept on either side of the mistake when a line is long.
const LINE_CONTEXT_CHARS: usize = 200;

/// Mistakes as a terminal shows them: message, place, source line with a caret, way out.
///
/// Empty for no diagnostics; otherwise ends with a line break.
pub fn render_text(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let mut group = Group::with_title(Level::ERROR.primary_title(escaped(&masked(&diagnostic.message))));
        if let Some(span) = &diagnostic.span {
            let (line, column) = span.line_column();
            let excerpt = Excerpt::of(span);
            let path = escaped(&masked(&span.source.path.display().to_string()));
            let snippet = Snippet::source(excerpt.line)
                .line_start(line)
                .annotation(AnnotationKind::Primary.span(excerpt.start..excerpt.end));
            // The renderer counts columns in what it is given, so it may only where that is what was written.
            group = if excerpt.is_verbatim {
                group.element(snippet.path(path))
            } else {
                group.element(Origin::path(path).line(line).char_column(column)).element(snippet)
            };
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(escaped(&masked(help))));
        }
        text.push_str(&renderer.render(&[group]));
        text.push('\n');
    }
    text
}

/// One line of source, escaped, and the mistake's bytes in it.
struct Excerpt {
    line: String,
    start: usize,
    end: usize,
    /// Whether everything before the mistake stands as it was written.
    is_verbatim: bool,
}

impl Excerpt {
    fn of(span: &Span) -> Self {
        let text = &span.source.text;
        let boundary = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (boundary(span.start), boundary(span.end));
        let line_start = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let line_end = text.get(start..).and_then(|t| t.find('\n')).map_or(text.len(), |at| start + at);
        let end = end.clamp(start, line_end);
        // The line of a URI that was refused for its password is shown without it.
        let text = masked(text.get(line_start..line_end).unwrap_or_default());
        let at = |range: Range<usize>| text.get(range.start - line_start..range.end - line_start).unwrap_or_default();
        let before = at(line_start..start);
        let marked = at(start..end);
        let after = at(end..line_end).trim_end_matches('\r');

        let skipped = before.chars().count().saturating_sub(LINE_CONTEXT_CHARS);
        let mut line = String::new();
        if skipped > 0 {
            line.push('…');
        }
        push_shown(&mut line, before.chars().skip(skipped));
        let shown_start = line.len();
        let is_verbatim = line == before && !before.contains('\t');
        push_shown(&mut line, marked.chars().take(LINE_CONTEXT_CHARS));
        let shown_end = line.len();
        if marked.chars().nth(LINE_CONTEXT_CHARS).is_none() {
            push_shown(&mut line, after.chars().take(LINE_CONTEXT_CHARS));
        }
        Self { line, start: shown_start, end: shown_end, is_verbatim }
    }
}

fn push_shown(line: &mut String, characters: impl Iterator<Item = char>) {
    for c in characters {
        if c != '\t' && is_unsafe_to_show(c) {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
}

/// Mistakes as GitHub Actions workflow commands, one line each.
///
/// Escaping is that of the runner: `%`, CR and LF in the message, also `:` and `,` in properties
/// (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).
pub fn render_github(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str("::error");
        if let Some(span) = &diagnostic.span {
            let (line, column) = span.line_column();
            let (end_line, end_column) = span.end_line_column();
            let file = github_property(&masked(&span.source.path.display().to_string()));
            // Writing to a String cannot fail.
            text.push_str(&format!(" file={file},line={line},col={column},endLine={end_line}"));
            if end_line == line && end_column > column {
                text.push_str(&format!(",endColumn={end_column}"));
            }
        }
        text.push_str("::");
        text.push_str(&github_data(&masked(&diagnostic.message)));
        if let Some(help) = &diagnostic.help {
            text.push_str("%0Ahelp: ");
            text.push_str(&github_data(&masked(help)));
        }
        text.push('\n');
    }
    text
}

fn github_data(text: &str) -> String {
    escaped(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A mistake as programs read it. Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DiagnosticRecord {
    /// The file as it was named; absent where the message is not about a place in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// First line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// First column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<usize>,
    /// Column after the last character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Mistakes as programs read them, in the same order.
pub fn records(diagnostics: &[Diagnostic]) -> Vec<DiagnosticRecord> {
    let record = |diagnostic: &Diagnostic| {
        let span = diagnostic.span.as_ref();
        let (start, end) = (span.map(Span::line_column), span.map(Span::end_line_column));
        DiagnosticRecord {
            file: span.map(|s| masked(&s.source.path.display().to_string()).into_owned()),
            line: start.map(|p| p.0),
            column: start.map(|p| p.1),
            end_line: end.map(|p| p.0),
            end_column: end.map(|p| p.1),
            message: masked(&diagnostic.message).into_owned(),
            help: diagnostic.help.as_deref().map(|help| masked(help).into_owned()),
        }
    };
    diagnostics.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::SourceText;
    use super::*;

    fn diagnostic(text: &str, start: usize, end: usize) -> Diagnostic {
        let source = Arc::new(SourceText { path: "a,b:c.yaml".into(), text: text.to_owned() });
        Diagnostic::at(Some(&Span { source, start, end }), "unknown key `fromat`").help("did you mean `format`?")
    }

    #[test]
    fn the_line_the_caret_and_the_way_out_are_shown() {
        let text = render_text(&[diagnostic("name: x\nfromat: csv\n", 8, 14)], false);
        let expected = "\
error: unknown key `fromat`
 --> a,b:c.yaml:2:1
  |
2 | fromat: csv
  | ^^^^^^
  |
  = help: did you mean `format`?
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_hostile_line_is_shown_escaped() {
        let text = render_text(&[diagnostic("a: \u{202e}\u{200b}x\n", 3, 9)], true);
        assert!(text.contains("\\u{202e}\\u{200b}x"), "{text}");
        assert!(!text.contains('\u{202e}'));
    }

    #[test]
    fn a_long_line_is_cut_and_its_column_kept() {
        let text = render_text(&[diagnostic(&format!("a: {}y", "x".repeat(500_000)), 500_003, 500_004)], false);
        assert!(text.contains(":1:500004"), "{text}");
        assert!(text.len() < 2000);
    }

    #[test]
    fn spans_outside_the_text_do_not_panic() {
        for (start, end) in [(0, 0), (7, 7), (5, 99), (99, 100), (1, 0), (2, 3)] {
            let one = [diagnostic("ä: ü\n", start, end)];
            assert!(!render_text(&one, false).is_empty() && !render_github(&one).is_empty());
        }
    }

    #[test]
    fn github_properties_and_messages_are_escaped() {
        let mut one = diagnostic("name: x\nfromat: csv\n", 8, 14);
        one.message = "100%\nsure".to_owned();
        assert_eq!(
            render_github(&[one]),
            "::error file=a%2Cb%3Ac.yaml,line=2,col=1,endLine=2,endColumn=7::100%25\\u{a}sure%0Ahelp: did you mean `format`?\n"
        );
    }

    #[test]
    fn programs_get_places_as_numbers() {
        let found = records(&[diagnostic("name: x\nfromat: csv\n", 8, 14)]);
        let value = serde_json::to_value(&found).expect("serialises");
        assert_eq!(value[0]["line"], 2);
        assert_eq!(value[0]["end_column"], 7);
    }
}
