//! JSON values of a request as they stand in a spec: numbers digit by digit, as no type holds all of them.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::limits::DEPTH;

/// A JSON value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Value)]
pub(super) struct Literal(Box<RawValue>);

impl Literal {
    /// The value as YAML on one line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn yaml(&self) -> Result<String, LiteralError> {
        let mut out = String::new();
        write(&self.0, &mut out, DEPTH)?;
        Ok(out)
    }
}

/// A value that cannot stand in a spec.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiteralError {
    /// It is nested too deeply.
    #[error("it is nested more than {DEPTH} levels deep")]
    Deep,
    /// It is not JSON. Values are parsed before, so this is a bug.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// A text as a value in YAML on one line. What a spec would take for a template stays as it is.
pub(super) fn quoted(text: &str) -> Result<String, LiteralError> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek()) {
            ('{', Some('{' | '%' | '#')) => plain.push_str(BRACE),
            _ => plain.push(c),
        }
    }
    scalar(&plain)
}

/// A template that gives a brace.
const BRACE: &str = "{{ '{' }}";

/// A text as YAML on one line. JSON may contain characters that YAML does not.
fn scalar(text: &str) -> Result<String, LiteralError> {
    let mut out = String::new();
    for c in serde_json::to_string(text)?.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn write(value: &RawValue, out: &mut String, depth: usize) -> Result<(), LiteralError> {
    let inner = depth.checked_sub(1).ok_or(LiteralError::Deep)?;
    let text = value.get().trim();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(text)?;
            out.push('{');
            for (i, (key, value)) in pairs.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                out.push_str(&scalar(key)?);
                out.push_str(": ");
                write(value, out, inner)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write(item, out, inner)?;
            }
            out.push(']');
        }
        Some(b'"') => out.push_str(&quoted(&serde_json::from_str::<String>(text)?)?),
        _ => out.push_str(text),
    }
    Ok(())
}

/// The pairs of an object in their order. Keys may repeat: a spec says that they must not.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_digits_and_their_text() {
        for (json, expected) in [
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#" { "a" : [1.10, -0, 1e5, true, null] } "#, r#"{"a": [1.10, -0, 1e5, true, null]}"#),
            (r#""\ud83d\ude00 \u007f\u0085/\/""#, "\"😀 \\u007f\\u0085//\""),
            (r#"{"a": 1, "a": 2}"#, r#"{"a": 1, "a": 2}"#),
            (r#"{"{{a": "{{{b}} {c} {%"}"#, r#"{"{{a": "{{ '{' }}{{ '{' }}{b}} {c} {{ '{' }}%"}"#),
        ] {
            let literal: Literal = serde_json::from_str(json).unwrap();
            assert_eq!(literal.yaml().unwrap(), expected);
        }
        let deep = "[".repeat(DEPTH + 1) + &"]".repeat(DEPTH + 1);
        let literal: Literal = serde_json::from_str(&deep).unwrap();
        assert_eq!(literal.yaml().unwrap_err().to_string(), format!("it is nested more than {DEPTH} levels deep"));
    }
}
