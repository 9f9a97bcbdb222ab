//! JSON Schema details that the types of a spec do not say.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// The number 1.
pub(crate) struct VersionOne;

impl JsonSchema for VersionOne {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"const": 1})
    }
}

/// A schema in which what may be left out may not be written as null, since the decoder refuses `key:` without a
/// value. (`Option` in Rust becomes "or null" in schemars.)
pub(crate) fn without_nulls(schema: Schema) -> Value {
    let mut value = schema.to_value();
    strip_nulls(&mut value);
    value
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(words)) = object.get_mut("enum") {
                words.retain(|w| !w.is_null());
            }
            let only = match object.get_mut("anyOf") {
                Some(Value::Array(choices)) => {
                    choices.retain(|c| *c != serde_json::json!({"type": "null"}));
                    if let [only] = choices.as_slice() { only.as_object().cloned() } else { None }
                }
                _ => None,
            };
            if let Some(only) = only {
                object.remove("anyOf");
                for (key, inner) in only {
                    object.entry(key).or_insert(inner);
                }
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            object.values_mut().for_each(strip_nulls);
        }
        _ => {}
    }
}
