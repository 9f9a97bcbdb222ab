//! Escaping: the only module that writes values into pages.
//!
//! HTML: WHATWG, "escaping a string", with the apostrophe too; every attribute of the template is quoted. Markdown:
//! CommonMark 0.31, backslash escapes and entities; code spans and fences are longer than any run of backticks inside.

use minijinja::value::Value;
use minijinja::{AutoEscape, Error, ErrorKind, Output, State};

use crate::diagnostic::escaped;

/// Writes a value into a template's output.
///
/// # Errors
/// Where the output cannot be written.
pub(super) fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let text = match value.as_str() {
        Some(text) if value.is_safe() => return written(out.write_str(text)),
        Some(text) => escaped(text),
        None => value.to_string(),
    };
    written(match state.auto_escape() {
        AutoEscape::Html => out.write_str(&html(&text)),
        _ => out.write_str(&markdown(&text)),
    })
}

fn written(result: std::fmt::Result) -> Result<(), Error> {
    result.map_err(|error| Error::new(ErrorKind::WriteFailure, error.to_string()))
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // An entity, so that no renderer makes it a mention or an issue link.
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// A Markdown code span, also valid in a table cell. Empty text gives an empty string.
pub(super) fn code_span(text: &str) -> Value {
    if text.is_empty() {
        return Value::from_safe_string(String::new());
    }
    let text = escaped(text).replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    Value::from_safe_string(format!("{fence}{pad}{text}{pad}{fence}"))
}

/// Lines as a fenced block of Markdown.
pub(super) fn fenced(lines: Vec<String>) -> Value {
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    let text = lines.join("\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    Value::from_safe_string(format!("{fence}sh\n{text}\n{fence}"))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_and_markdown_are_inert() {
        assert_eq!(html("<a href=\"x\" b='y'>&"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
        assert_eq!(
            markdown("a|b <i>*x* [y](z) @team #5 ![i](u)"),
            "a\\|b &lt;i&gt;\\*x\\* \\[y\\](z) &#64;team &#35;5 \\!\\[i\\](u)"
        );
    }

    #[test]
    fn a_code_span_ends_where_it_should() {
        assert_eq!(code_span("a`b``c").as_str(), Some("```a`b``c```"));
        assert_eq!(code_span("`a|b`").as_str(), Some("`` `a\\|b` ``"));
        assert_eq!(code_span("").as_str(), Some(""));
        assert_eq!(fenced(vec!["x\n```".into()]).as_str(), Some("````sh\nx\\u{a}```\n````"));
    }
}
