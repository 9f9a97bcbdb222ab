//! A one-pass check for plain JSON.
//!
//! Plain JSON is what most programs write: no escapes, no line ends, moderate nesting. It can be embedded in a line
//! unchanged. All other text, JSON or not, needs the full check in [`embed`](super::embed).

use super::escape::find_special;

/// Deepest nesting, so that the kinds of levels fit a register. Less than the limit of [`embed`](super::embed).
const MAX_DEPTH: u32 = 64;

/// Whether the text is one plain JSON value.
pub(super) fn is_plain_json(json: &[u8]) -> bool {
    value(json).is_some_and(|rest| blank(rest).is_empty())
}

/// Skips the plain value at the start of `json`.
fn value(json: &[u8]) -> Option<&[u8]> {
    let mut rest = json;
    // Kinds of the open levels, the innermost in the lowest bit: 1 for an object.
    let mut kinds = 0u64;
    let mut depth = 0;
    loop {
        let (&first, more) = blank(rest).split_first()?;
        rest = match first {
            b'"' => string(more)?,
            b'{' | b'[' => {
                if depth == MAX_DEPTH {
                    return None;
                }
                let object = first == b'{';
                let more = blank(more);
                match (object, more.split_first()?) {
                    (true, (b'}', more)) | (false, (b']', more)) => more,
                    _ => {
                        depth += 1;
                        kinds = kinds << 1 | u64::from(object);
                        rest = if object { key(more)? } else { more };
                        continue;
                    }
                }
            }
            b'-' | b'0'..=b'9' => number(first, more)?,
            b't' => more.strip_prefix(b"rue")?,
            b'f' => more.strip_prefix(b"alse")?,
            b'n' => more.strip_prefix(b"ull")?,
            _ => return None,
        };
        // After a value: the ends of levels, then the next value, if any.
        loop {
            if depth == 0 {
                return Some(rest);
            }
            let object = kinds & 1 == 1;
            let (&next, more) = blank(rest).split_first()?;
            match (next, object) {
                (b',', true) => rest = key(blank(more))?,
                (b',', false) => rest = more,
                (b'}', true) | (b']', false) => {
                    depth -= 1;
                    kinds >>= 1;
                    rest = more;
                    continue;
                }
                _ => return None,
            }
            break;
        }
    }
}

/// Skips a key and its colon.
#[inline]
fn key(json: &[u8]) -> Option<&[u8]> {
    let json = string(json.strip_prefix(b"\"")?)?;
    blank(json).strip_prefix(b":")
}

/// Skips the rest of a string after its opening quote.
#[inline]
fn string(json: &[u8]) -> Option<&[u8]> {
    json.get(find_special(json)..)?.strip_prefix(b"\"")
}

/// Skips the rest of a number after its first byte.
#[inline]
fn number(first: u8, rest: &[u8]) -> Option<&[u8]> {
    let (first, rest) = if first == b'-' { rest.split_first().map(|(&b, rest)| (b, rest))? } else { (first, rest) };
    let mut rest = match first {
        b'0' => rest,
        b'1'..=b'9' => digits(rest),
        _ => return None,
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = some_digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', exponent @ ..] => exponent,
            _ => exponent,
        };
        rest = some_digits(exponent)?;
    }
    Some(rest)
}

#[inline]
fn some_digits(json: &[u8]) -> Option<&[u8]> {
    let (first, rest) = json.split_first()?;
    first.is_ascii_digit().then(|| digits(rest))
}

#[inline]
fn digits(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let [b'0'..=b'9', more @ ..] = rest {
        rest = more;
    }
    rest
}

/// Skips spaces and tabs.
#[inline]
fn blank(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let [b' ' | b'\t', more @ ..] = rest {
        rest = more;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn what_programs_write_is_plain() {
        for text in [
            r#"{"region":"eu-1","attempt":2,"tags":["a","b"]}"#,
            r#" { "a" : [ ] , "b" : { } , "c" : [ 1 , -0.5e+10 ] } "#,
            r#"[[[]],[{"a":[true,false,null]}]]"#,
            "0",
            "-12.50E-3",
            "\"é\"",
        ] {
            assert!(is_plain_json(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_or_needs_a_closer_look_is_not() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{1:2}",
            "[1}",
            "{\"a\":1]",
            "1 2",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "nulll",
            "tru",
            "'a'",
            "\"a",
            "\"a\nb\"",
            "\"\\u0061\"",
            "[\n1]",
            "NaN",
            ",",
            ":",
            "[1 2]",
            "{,}",
        ] {
            assert!(!is_plain_json(text.as_bytes()), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_plain_json(nested(64).as_bytes()) && !is_plain_json(nested(65).as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn only_json_is_plain(text in "[\\[\\]{}\",:0-3.eE+\\-\\\\ \t\n]{0,12}|(\\[|\\{|\"a\"|:|,|true|-?1|0|\\]|\\}|null| ){0,9}") {
            if is_plain_json(text.as_bytes()) {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
                prop_assert!(!text.contains(['\n', '\r', '\\']));
            } else if !text.contains(['\n', '\r', '\\']) {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_err(), "{}", text);
            }
        }
    }
}
