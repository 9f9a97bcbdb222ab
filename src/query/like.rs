//! Translates SQL's LIKE patterns to text tests.
//!
//! `%` matches any text, `_` any one character (Unicode scalar value). As in the SQL standard, there is no escape character
//! unless ESCAPE names one. ILIKE folds case as Rust regular expressions do (Unicode simple case folding).

use super::expr::TextTest;

/// A translated pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Like {
    /// No wildcards.
    Equal(String),
    /// Wildcards.
    Test(TextTest),
}

enum Part {
    Char(char),
    One,
    Any,
}

/// Translates a pattern.
///
/// # Errors
/// The fault of an escape sequence.
pub(super) fn like(pattern: &str, escape: Option<char>, fold_case: bool) -> Result<Like, &'static str> {
    let parts = parts(pattern, escape)?;
    let plain = |parts: &[Part]| -> Option<String> {
        parts.iter().map(|p| if let Part::Char(c) = p { Some(*c) } else { None }).collect()
    };
    if !fold_case {
        if let Some(text) = plain(&parts) {
            return Ok(Like::Equal(text));
        }
        let test = match parts.as_slice() {
            [Part::Any, middle @ .., Part::Any] => plain(middle).map(TextTest::Contains),
            [Part::Any, end @ ..] => plain(end).map(TextTest::EndsWith),
            [start @ .., Part::Any] => plain(start).map(TextTest::StartsWith),
            _ => None,
        };
        if let Some(test) = test {
            return Ok(Like::Test(test));
        }
    }
    let mut regex = String::from(if fold_case { r"\A(?is:" } else { r"\A(?s:" });
    for part in parts {
        match part {
            Part::Char(c) => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            Part::One => regex.push('.'),
            Part::Any => regex.push_str(".*"),
        }
    }
    regex.push_str(r")\z");
    Ok(Like::Test(TextTest::Matches(regex)))
}

fn parts(pattern: &str, escape: Option<char>) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            c if Some(c) == escape => match chars.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == escape => Part::Char(next),
                Some(_) => return Err("the escape character must precede `%`, `_` or itself"),
                None => return Err("the pattern ends with its escape character"),
            },
            '%' if matches!(parts.last(), Some(Part::Any)) => continue,
            '%' => Part::Any,
            '_' => Part::One,
            c => Part::Char(c),
        });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_patterns_need_no_regex() {
        let test = |pattern| like(pattern, None, false).unwrap();
        assert_eq!(test("gpt"), Like::Equal("gpt".into()));
        assert_eq!(test("gpt%"), Like::Test(TextTest::StartsWith("gpt".into())));
        assert_eq!(test("%gpt"), Like::Test(TextTest::EndsWith("gpt".into())));
        assert_eq!(test("%%gpt%"), Like::Test(TextTest::Contains("gpt".into())));
        assert_eq!(test("%"), Like::Test(TextTest::EndsWith(String::new())));
        assert_eq!(test("a_b%"), Like::Test(TextTest::Matches(r"\A(?s:a.b.*)\z".into())));
        assert_eq!(test("a.%b"), Like::Test(TextTest::Matches(r"\A(?s:a\..*b)\z".into())));
    }

    #[test]
    fn escapes_are_only_what_escape_names() {
        assert_eq!(like("10!%", Some('!'), false), Ok(Like::Equal("10%".into())));
        assert_eq!(like(r"10\%", None, false), Ok(Like::Test(TextTest::StartsWith(r"10\".into()))));
        assert_eq!(like("10!", Some('!'), false), Err("the pattern ends with its escape character"));
        assert!(like("!a", Some('!'), false).is_err());
        assert_eq!(like("gpt", None, true), Ok(Like::Test(TextTest::Matches(r"\A(?is:gpt)\z".into()))));
    }
}
