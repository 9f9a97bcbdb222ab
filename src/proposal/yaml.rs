//! Writes text as YAML scalars that every reader of YAML 1.2 reads back.

use std::fmt::Write;

use crate::yaml::{CoreValue, resolve_plain};

/// A scalar for any text: plain where that is safe, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '+');
    let begins_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.'));
    if begins_plain && text.chars().all(is_plain) && matches!(resolve_plain(text), CoreValue::Text(_)) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            c if is_escaped(c) => {
                #[expect(clippy::let_underscore_must_use, reason = "writing to a String does not fail")]
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A regular expression in single quotes, in which nothing but the quote is escaped.
pub(super) fn pattern(text: &str) -> String {
    if text.chars().any(is_escaped) { scalar(text) } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Characters that YAML does not allow, or that a reader may drop or fold.
fn is_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::SourceText;

    fn read_back(scalar: &str) -> Option<String> {
        let source = SourceText { path: "x.yaml".into(), text: format!("key: {scalar}\n") };
        let root = crate::yaml::parse(&Arc::new(source)).ok()?;
        let entry = root.entry("key")?;
        crate::yaml::decode::any_text(&entry.value, "key", &mut Vec::new()).map(|text| text.value)
    }

    #[test]
    fn what_another_reader_takes_for_something_else_is_quoted() {
        for (text, scalar) in [
            ("in/a.csv", "in/a.csv"),
            ("s3", "s3"),
            ("7", "\"7\""),
            ("1e5", "\"1e5\""),
            ("null", "\"null\""),
            ("true", "\"true\""),
            ("-", "\"-\""),
            ("\\N", "\"\\\\N\""),
            ("\t", "\"\\t\""),
            ("t.$date", "\"t.$date\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
        ] {
            assert_eq!(super::scalar(text), scalar);
            assert_eq!(read_back(scalar).as_deref(), Some(text), "{scalar}");
        }
        assert_eq!(read_back(&pattern("^it's \\S+$")).as_deref(), Some("^it's \\S+$"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "\\PC{0,20}|[\\x00-\\x7f]{0,12}") {
            prop_assume!(!text.contains('\0'));
            let scalar = scalar(&text);
            prop_assert_eq!(read_back(&scalar), Some(text));
        }
    }
}
