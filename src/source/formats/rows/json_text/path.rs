//! Finds the value that a path of keys leads to.

use std::borrow::Cow;

use super::scan::{Fault, Scanner, Value};

/// The value at a path of keys, as text: the content of a string, the JSON of any other value. `None` where a key is missing
/// and for null. Keys may be names that contain dots: the longest key that joins the next ones counts.
///
/// # Errors
/// [`Fault`] where the text is not JSON.
pub(in crate::source) fn text_at<'a>(text: &'a str, keys: &[String]) -> Result<Option<Cow<'a, str>>, Fault> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value()?;
    if keys.is_empty() {
        return Ok(match value {
            Value::Null => None,
            Value::String(content) => Some(content.decode()),
            _ => Some(Cow::Borrowed(text.trim())),
        });
    }
    if value != Value::Object {
        return Ok(None);
    }
    let mut found: Option<(usize, &str)> = None;
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first)? {
        let inner = scanner.skip()?;
        let names = joined(&key.decode(), keys);
        if names > found.map_or(0, |(names, _)| names) {
            found = Some((names, inner));
        }
    }
    found.map_or(Ok(None), |(names, inner)| text_at(inner, keys.get(names..).unwrap_or_default()))
}

/// How many of the keys, joined by dots, are this one; 0 if it is not their beginning.
fn joined(key: &str, keys: &[String]) -> usize {
    let mut rest = key;
    for (index, part) in keys.iter().enumerate() {
        match rest.strip_prefix(part.as_str()) {
            Some("") => return index + 1,
            Some(after) => match after.strip_prefix('.') {
                Some(after) => rest = after,
                None => return 0,
            },
            None => return 0,
        }
    }
    0
}

/// The raw JSON at a path whose keys are exactly those of each level; `None` where one is missing.
///
/// # Errors
/// [`Fault`] where the text is not JSON.
pub(super) fn raw_at<'a, 'k>(text: &'a str, keys: impl Iterator<Item = &'k str>) -> Result<Option<&'a str>, Fault> {
    let mut text = text;
    for wanted in keys {
        let mut scanner = Scanner::new(text);
        if scanner.value()? != Value::Object {
            return Ok(None);
        }
        let mut first = true;
        loop {
            let Some(key) = scanner.next_key(&mut first)? else { return Ok(None) };
            let inner = scanner.skip()?;
            if key.decode() == wanted {
                text = inner;
                break;
            }
        }
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> Option<String> {
        let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        text_at(text, &keys).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let text = r#"{"a": {"b": "x\u0041", "n": 1.50, "o": {"p": [1, 2]}, "z": null}, "l": [{"b": 1}]}"#;
        assert_eq!(at(text, "a.b").as_deref(), Some("xA"));
        assert_eq!(at(text, "a.n").as_deref(), Some("1.50"));
        assert_eq!(at(text, "a.o").as_deref(), Some(r#"{"p": [1, 2]}"#));
        for nothing in ["a.z", "a.x", "l.b", "a.b.c", "q"] {
            assert_eq!(at(text, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_longest_key_counts() {
        let text = r#"{"a": {"b": 1}, "a.b": {"c": 2}, "a.b.c": 3}"#;
        assert_eq!(at(text, "a.b.c").as_deref(), Some("3"));
        assert_eq!(at(text, "a.b").as_deref(), Some(r#"{"c": 2}"#));
        assert_eq!(at(r#"{"a.b": {"c.d": 2}}"#, "a.b.c.d").as_deref(), Some("2"));
    }

    #[test]
    fn exact_keys_do_not_contain_dots() {
        let raw = |text, path: &'static str| raw_at(text, path.split('.')).unwrap();
        assert_eq!(raw(r#"{"a.b": 1, "a": {"b": [2]}}"#, "a.b"), Some("[2]"));
        assert_eq!(raw(r#"{"a": 1}"#, "a.b"), None);
        assert_eq!(raw(r#"{"a": {}}"#, "a.b"), None);
    }
}
