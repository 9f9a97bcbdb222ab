//! Renders a spec's templates in dependency order.
//!
//! `vars` need nothing; `name` and `type` may use `vars`; `format`, `labels` and `window` may use those; everything else may
//! use all of them. So no value can depend on itself.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::job::{Format, Window};
use crate::plan;
use crate::resolve::Environment;
use crate::spec::template::{Context, Known, render};
use crate::spec::{WindowSpec, decode_format_name, decode_vars, var_values};
use crate::yaml::{CoreValue, Entry, Kind, Node};

/// The document with its templates rendered, and the window, if it is sound.
///
/// Values are looked at here only to know what names mean; their mistakes are left to the decoder, which sees them all.
pub(super) fn render_document(
    root: &Node,
    environment: &Environment,
    errors: &mut Vec<Diagnostic>,
) -> (Node, Option<Window>) {
    let Kind::Mapping(entries) = &root.kind else { return (root.clone(), None) };
    let mut entries = entries.clone();
    let mut context = Context::default();

    render_keys(&mut entries, &["vars"], &context, errors);
    context.set("vars", vars(&entries, environment, errors));

    render_keys(&mut entries, &["name", "type"], &context, errors);
    for key in ["name", "type"] {
        let known = match value_of(&entries, key).and_then(Node::core_value) {
            Some(CoreValue::Text(text)) => Known::Text(text.to_owned()),
            _ => Known::Reported,
        };
        context.set(key, known);
    }

    render_keys(&mut entries, &["format", "labels", "window"], &context, errors);
    let format = value_of(&entries, "format").map_or(Some(Format::default().name()), decode_format_name);
    context.set("format", format.map_or(Known::Reported, |name| Known::Text(name.to_owned())));
    context.set("labels", labels(&entries));
    let window = window(&entries, environment, errors);
    context.set("window", window.as_ref().map_or(Known::Reported, window_names));

    let rest = |key: &str| !matches!(key, "vars" | "name" | "type" | "format" | "labels" | "window" | "where");
    for entry in entries.iter_mut().filter(|e| rest(&e.key.value)) {
        entry.value = render(&entry.value, &context, errors);
    }
    (Node { kind: Kind::Mapping(entries), span: root.span.clone() }, window)
}

fn render_keys(entries: &mut [Entry], keys: &[&str], context: &Context, errors: &mut Vec<Diagnostic>) {
    for entry in entries.iter_mut().filter(|e| keys.contains(&e.key.value.as_str())) {
        entry.value = render(&entry.value, context, errors);
    }
}

fn entry_of<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entries.iter().find(|e| e.key.value == key)
}

fn value_of<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Node> {
    entry_of(entries, key).map(|e| &e.value)
}

fn vars(entries: &[Entry], environment: &Environment, errors: &mut Vec<Diagnostic>) -> Known {
    let Some(node) = value_of(entries, "vars") else { return Known::Names(BTreeMap::new()) };
    let mut mistakes = Vec::new();
    let declared = decode_vars(node, &mut mistakes);
    let (Some(declared), true) = (declared, mistakes.is_empty()) else { return Known::Reported };
    let values = var_values(&declared, &environment.vars, &environment.env, errors);
    Known::Names(declared.into_keys().map(|name| (name.clone(), values.get(&name).cloned())).collect())
}

fn labels(entries: &[Entry]) -> Known {
    match value_of(entries, "labels").map(|node| &node.kind) {
        None => Known::Names(BTreeMap::new()),
        Some(Kind::Mapping(labels)) => Known::Names(
            labels
                .iter()
                .map(|label| {
                    let text = match label.value.core_value() {
                        Some(CoreValue::Text(text)) => Some(text.to_owned()),
                        _ => None,
                    };
                    (label.key.value.clone(), text)
                })
                .collect(),
        ),
        Some(_) => Known::Reported,
    }
}

fn window(entries: &[Entry], environment: &Environment, errors: &mut Vec<Diagnostic>) -> Option<Window> {
    let mut mistakes = Vec::new();
    let written = WindowSpec::decode(entry_of(entries, "window")?, &mut mistakes)?;
    match plan::window::resolve(&written.form, &written.timezone, environment.now) {
        Ok(window) => Some(window),
        Err(mistakes) => {
            errors.extend(mistakes);
            None
        }
    }
}

fn window_names(window: &Window) -> Known {
    let names = [("start", window.start.to_string()), ("end", window.end.to_string()), ("label", window.label.clone())];
    Known::Names(names.into_iter().map(|(name, value)| (name.to_owned(), Some(value))).collect())
}
