//! Embeds text that holds JSON in a line, as a JSON value.
//!
//! The bytes of the source stay unchanged: numbers keep all their digits, and keys their order and duplicates. Only line ends
//! between tokens are removed, because a row is a line. Text that is not one JSON value, or that common readers refuse,
//! becomes a string, so that no cell can break its line.

use serde::de::IgnoredAny;

use super::escape::json_string;

/// Deepest nesting of an embedded value. Readers limit the nesting of a whole line (serde_json and RapidJSON to about 128);
/// one deep value must not make the line unreadable.
const MAX_DEPTH: usize = 100;

/// Appends the value, or a string if the text is not embeddable.
pub(super) fn json_value(text: &str, out: &mut Vec<u8>) {
    if !is_embeddable(text) {
        json_string(text, out);
    } else if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        compact(text.as_bytes(), out);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends the value without white space between its tokens, or a string if the text is not embeddable.
pub fn canonical_json(text: &str, out: &mut Vec<u8>) {
    if is_embeddable(text) {
        compact(text.as_bytes(), out);
    } else {
        json_string(text, out);
    }
}

/// Whether the text is one JSON value that common readers accept.
fn is_embeddable(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
        && !is_deeper_than(text.as_bytes(), MAX_DEPTH)
        && surrogates_are_paired(text)
}

/// Whether valid JSON is nested deeper than `limit`.
fn is_deeper_than(json: &[u8], limit: usize) -> bool {
    // An upper bound first: it also counts brackets in strings, and nearly always decides.
    if json.len() <= 2 * limit || memchr::memchr2_iter(b'[', b'{', json).nth(limit).is_none() {
        return false;
    }
    let mut depth = 0usize;
    let mut tokens = Outside::new(json);
    while let Some((byte, _)) = tokens.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

/// Whether all surrogates (`\ud800`–`\udfff`) in valid JSON are paired. The grammar allows lone ones; most readers do not.
fn surrogates_are_paired(json: &str) -> bool {
    let mut rest = json;
    let mut high = false;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        if high && at > 0 {
            return false;
        }
        let escape = &rest.as_bytes()[at..];
        let code = match escape {
            [_, b'u', hex @ ..] => hex
                .get(..4)
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .and_then(|hex| u16::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        let (is_high, is_low) = match code {
            Some(code) => (code & 0xfc00 == 0xd800, code & 0xfc00 == 0xdc00),
            None => (false, false),
        };
        if high != is_low {
            return false;
        }
        high = is_high;
        let length = if code.is_some() { 6 } else { 2 };
        rest = rest.get(at + length..).unwrap_or_default();
    }
    !high
}

/// Appends valid JSON without the white space between tokens.
pub fn compact(json: &[u8], out: &mut Vec<u8>) {
    let mut tokens = Outside::new(json);
    while let Some((byte, string)) = tokens.next() {
        if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(byte);
        }
        out.extend_from_slice(string);
    }
}

/// Iterates over the bytes of valid JSON outside strings. An opening quote comes with the rest of its string.
struct Outside<'a> {
    rest: &'a [u8],
}

impl<'a> Outside<'a> {
    fn new(json: &'a [u8]) -> Self {
        Self { rest: json }
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&byte, rest) = self.rest.split_first()?;
        let mut end = 0;
        if byte == b'"' {
            while let Some(at) = rest.get(end..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
                let quote = rest[end + at] == b'"';
                end += at + if quote { 1 } else { 2 };
                if quote {
                    break;
                }
            }
        }
        let (string, rest) = rest.split_at(end.min(rest.len()));
        self.rest = rest;
        Some((byte, string))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn embedded(text: &str) -> String {
        let mut out = Vec::new();
        json_value(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_stay_byte_for_byte() {
        for text in [
            "null",
            "true",
            "-0.0",
            "1e999",
            "123456789012345678901234567890.10",
            r#""a\u00e9\ud83d\ude00""#,
            r#"{"b": 1, "a": [1,  2], "b": 1.0}"#,
            " [ ] ",
        ] {
            assert_eq!(embedded(text), text);
        }
    }

    #[test]
    fn what_is_not_one_value_becomes_a_string() {
        for text in ["", " ", "{", "1 2", "NaN", "'a'", "{\"a\":1,}", "[1]]", "\"a\nb\"", "01", "\u{feff}1"] {
            assert_eq!(embedded(text), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn lone_surrogates_become_a_string() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\n""#, r#""\ud800x\udc00""#, r#"["\ud83d\ude00\ude00"]"#] {
            assert_eq!(embedded(text), serde_json::to_string(text).unwrap());
        }
        assert_eq!(embedded(r#""\\ud800""#), r#""\\ud800""#, "an escaped backslash, then letters");
    }

    #[test]
    fn line_ends_between_tokens_go_and_those_in_strings_are_escapes_already() {
        assert_eq!(
            embedded("{\n  \"a b\": [1,\r\n 2],\t\"c\\n \\\" ]\": \" x \"\n}\n"),
            "{\"a b\":[1,2],\"c\\n \\\" ]\":\" x \"}"
        );
    }

    #[test]
    fn nesting_is_embedded_up_to_the_limit_and_a_string_beyond() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(embedded(&nested(100)), nested(100));
        assert_eq!(embedded(&nested(101)), format!("\"{}\"", nested(101)));
        assert_eq!(embedded(&nested(1_000_000)).len(), 2_000_002);
        let flat = format!("[{}\"{}\"]", "[],".repeat(300), "[".repeat(300));
        assert_eq!(embedded(&flat), flat, "many brackets, but not deep");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\n\r\u{1f600}]{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[ -~\n]{0,5}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_printed_json_reads_back_from_one_line(value in json()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            let line = embedded(&text);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }

        #[test]
        fn any_text_becomes_one_json_value_on_one_line(text in "[\\[\\]{}\",:0-9a-fu\\\\ \n\r]{0,30}|\\PC{0,20}") {
            let line = embedded(&text);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert!(serde_json::from_str::<IgnoredAny>(&line).is_ok());
        }
    }
}
