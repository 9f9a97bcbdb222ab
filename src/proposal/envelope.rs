//! Finds the array of rows inside JSON documents.

use arrow::datatypes::{DataType, Fields, Schema};

/// Names of arrays that hold rows even where the document has times of its own, without case and punctuation.
const NAMES: [&str; 14] = [
    "records",
    "events",
    "logevents",
    "rows",
    "items",
    "entries",
    "logs",
    "data",
    "results",
    "value",
    "values",
    "hits",
    "messages",
    "spans",
];

/// Arrays in arrays that are followed.
const LEVELS: usize = 6;

/// Arrays that are tried.
const TRIED: usize = 12;

/// The paths of arrays of objects, the outermost first: `resourceSpans[].scopeSpans[].spans`.
pub(super) fn paths(schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    let mut level: Vec<(String, Fields)> = vec![(String::new(), schema.fields().clone())];
    for _ in 0..LEVELS {
        let mut inner = Vec::new();
        for (path, fields) in level {
            arrays_in(&path, &fields, &mut found, &mut inner);
        }
        level = inner;
    }
    found.truncate(TRIED);
    found
}

/// Adds the arrays among the fields of an object, and of objects in it.
fn arrays_in(path: &str, fields: &Fields, found: &mut Vec<String>, inner: &mut Vec<(String, Fields)>) {
    for field in fields {
        let name = field.name();
        // A path cannot write such a key.
        if name.is_empty() || name.contains(['.', '[', ']']) {
            continue;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match field.data_type() {
            DataType::Struct(fields) => arrays_in(&path, fields, found, inner),
            DataType::List(item) => {
                if let DataType::Struct(fields) = item.data_type() {
                    found.push(path.clone());
                    inner.push((format!("{path}[]"), fields.clone()));
                }
            }
            _ => {}
        }
    }
}

/// Whether an array's name alone says that it holds rows.
pub(super) fn is_telling(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    let plain: String = last.chars().filter(char::is_ascii_alphanumeric).collect();
    NAMES.iter().any(|name| plain.eq_ignore_ascii_case(name))
}

/// Names of columns for the fields around the rows: their last key, with keys before it where rows or other fields have that
/// name.
pub(super) fn kept_names(paths: &[String], rows: &Schema) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = Vec::new();
    for path in paths {
        let keys: Vec<&str> = path.split('.').map(|key| key.trim_end_matches("[]")).collect();
        let name = (1..=keys.len()).rev().map(|start| keys.get(start - 1..).unwrap_or_default().join("_"));
        let is_free =
            |name: &String| rows.field_with_name(name).is_err() && named.iter().all(|(other, _)| other != name);
        let free = name.clone().find(is_free);
        let name = free.unwrap_or_else(|| format!("{}_around", keys.join("_")));
        named.push((name, path.clone()));
    }
    named.sort();
    named
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    fn list(name: &str, fields: Vec<Field>) -> Field {
        let item = Field::new("item", DataType::Struct(fields.into()), true);
        Field::new(name, DataType::List(Arc::new(item)), true)
    }

    fn text(name: &str) -> Field {
        Field::new(name, DataType::Utf8View, true)
    }

    #[test]
    fn arrays_of_objects_are_found_from_the_outside_in() {
        let spans = list("spans", vec![text("t"), list("attributes", vec![text("k")])]);
        let scopes = list("scopeSpans", vec![Field::new("s", DataType::Struct(vec![spans].into()), true)]);
        let schema = Schema::new(vec![text("a"), list("resourceSpans", vec![scopes]), list("x.y", vec![text("z")])]);
        assert_eq!(
            paths(&schema),
            [
                "resourceSpans",
                "resourceSpans[].scopeSpans",
                "resourceSpans[].scopeSpans[].s.spans",
                "resourceSpans[].scopeSpans[].s.spans[].attributes"
            ]
        );
    }

    #[test]
    fn kept_fields_have_names_that_are_free() {
        let rows = Schema::new(vec![text("name"), text("id")]);
        let paths = ["a[].name", "id", "a[].b.id", "owner"].map(str::to_owned);
        let named = kept_names(&paths, &rows);
        let expected = [("a_name", "a[].name"), ("b_id", "a[].b.id"), ("id_around", "id"), ("owner", "owner")];
        assert_eq!(named, expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
    }
}
