//! `redact`: what is done to values before they are written.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::secret;
use crate::diagnostic::{Diagnostic, shown};
use crate::job::{Redaction, RedactionMethod};
use crate::yaml::decode::{any_text, mapping, not_one_of, text};
use crate::yaml::{Kind, Node};

const METHODS: [&str; 5] = ["mask", "nullify", "drop", "replace", "hmac_sha256"];

/// Reads `redact`: paths to methods.
pub(crate) fn decode(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Redaction>> {
    let mut redactions: Vec<Redaction> = Vec::new();
    for entry in mapping(node, what, errors)? {
        let path = &entry.key;
        if path.value.split('.').any(str::is_empty) {
            let mistake = path.mistake(format!("the path `{}` has an empty name", shown(&path.value)));
            errors.push(mistake.help("write a column, or names joined by `.`: `metadata.user.email`"));
            continue;
        }
        if let Some(method) = method(&entry.value, &path.value, errors) {
            redactions.push(Redaction { path: path.clone(), method });
        }
    }
    check_nesting(&redactions, errors);
    Some(redactions)
}

/// A path below another one would be redacted twice, and which came first would matter.
fn check_nesting(redactions: &[Redaction], errors: &mut Vec<Diagnostic>) {
    for inner in redactions {
        let is_outer = |outer: &&Redaction| {
            inner.path.value.strip_prefix(&outer.path.value).is_some_and(|rest| rest.starts_with('.'))
        };
        if let Some(outer) = redactions.iter().find(is_outer) {
            let (inner, outer) = (&inner.path, shown(&outer.path.value));
            let mistake =
                inner.mistake(format!("`{}` is inside `{outer}`, which is redacted, too", shown(&inner.value)));
            errors.push(mistake.help("redact the outer or the inner one"));
        }
    }
}

fn method(node: &Node, path: &str, errors: &mut Vec<Diagnostic>) -> Option<RedactionMethod> {
    let Kind::Mapping(entries) = &node.kind else {
        let word = text(node, path, errors)?;
        return match word.value.as_str() {
            "mask" => Some(RedactionMethod::Mask),
            "nullify" => Some(RedactionMethod::Nullify),
            "drop" => Some(RedactionMethod::Drop),
            "replace" => {
                errors.push(word.mistake("`replace` needs a text").help("write `{replace: \"[redacted]\"}`"));
                None
            }
            "hmac_sha256" => {
                errors.push(word.mistake("`hmac_sha256` needs a key").help("write `{hmac_sha256: {key_env: NAME}}`"));
                None
            }
            _ => {
                errors.push(not_one_of(&word, path, &METHODS));
                None
            }
        };
    };
    let [entry] = entries.as_slice() else {
        let message = format!("`{}` names {} methods, one is needed", shown(path), entries.len());
        errors.push(Diagnostic::at(Some(&node.span), message).help("write `{replace: \"[redacted]\"}`"));
        return None;
    };
    match entry.key.value.as_str() {
        "replace" => any_text(&entry.value, "replace", errors).map(|t| RedactionMethod::Replace(t.value)),
        "hmac_sha256" => secret::decode_key(entry, "hmac_sha256", errors).map(RedactionMethod::HmacSha256),
        _ => {
            errors.push(not_one_of(&entry.key, path, &METHODS));
            None
        }
    }
}

/// The shape of one method for the JSON Schema.
pub(crate) struct MethodSchema;

impl JsonSchema for MethodSchema {
    fn schema_name() -> Cow<'static, str> {
        "Redaction".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = generator.subschema_for::<secret::KeySchema>();
        json_schema!({
            "description": "mask: `***`; nullify: null; drop: not exported; replace: this text; hmac_sha256: a stable pseudonym.",
            "anyOf": [
                {"enum": ["mask", "nullify", "drop"]},
                {
                    "type": "object", "required": ["replace"], "additionalProperties": false,
                    "properties": {"replace": {"type": "string"}},
                },
                {
                    "type": "object", "required": ["hmac_sha256"], "additionalProperties": false,
                    "properties": {"hmac_sha256": key},
                },
            ],
        })
    }
}
