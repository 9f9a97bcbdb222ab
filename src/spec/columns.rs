//! `columns`: which columns, in which order, under which names.

use std::borrow::Cow;
use std::collections::HashMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::{Diagnostic, shown};
use crate::job::ColumnChoice;
use crate::yaml::decode::{list, text};
use crate::yaml::{Kind, Node};

/// Reads `columns`: names, or `{source: output}`.
pub(crate) fn decode(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<ColumnChoice>> {
    let items = list(node, what, errors)?;
    if items.is_empty() {
        let mistake = Diagnostic::at(Some(&node.span), "`columns` is empty");
        errors.push(mistake.help("name the columns to export, or remove the key to export all"));
        return None;
    }
    let mut choices: Vec<ColumnChoice> = Vec::new();
    let mut outputs: HashMap<String, String> = HashMap::new();
    for item in items {
        let Some(choice) = choice(item, errors) else { continue };
        let place = item.span.clone();
        let output = choice.output.as_ref().unwrap_or(&choice.source.value);
        if let Some(first) = outputs.insert(output.clone(), choice.source.value.clone()) {
            let message = format!("two columns would be called `{}`", shown(output));
            let help = if first == choice.source.value {
                "remove one of them".to_owned()
            } else {
                format!("rename one: `{{{}: another_name}}`", shown(&choice.source.value))
            };
            errors.push(Diagnostic::at(Some(&place), message).help(help));
        }
        choices.push(choice);
    }
    Some(choices)
}

fn choice(item: &Node, errors: &mut Vec<Diagnostic>) -> Option<ColumnChoice> {
    match &item.kind {
        Kind::Mapping(entries) => match entries.as_slice() {
            [entry] => {
                let output = text(&entry.value, &entry.key.value, errors)?;
                Some(ColumnChoice { source: entry.key.clone(), output: Some(output.value) })
            }
            _ => {
                let message = format!("a renamed column is one `source: output`, found {} of them", entries.len());
                errors.push(Diagnostic::at(Some(&item.span), message).help("write `[{a: b}, {c: d}]`"));
                None
            }
        },
        _ => {
            let source = text(item, "columns", errors)?;
            Some(ColumnChoice { source, output: None })
        }
    }
}

/// The shape of one selected column for the JSON Schema.
pub(crate) struct ColumnSchema;

impl JsonSchema for ColumnSchema {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A source column or a path into one (`user.name`, written as `name`), or {source: output} to rename it.",
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object", "minProperties": 1, "maxProperties": 1,
                    "additionalProperties": {"type": "string", "minLength": 1},
                },
            ],
        })
    }
}
