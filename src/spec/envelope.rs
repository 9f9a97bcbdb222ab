//! `source.records` and `source.keep`: the rows inside JSON documents.

use crate::diagnostic::{Diagnostic, Located};
use crate::job::{EnvelopePathError, KeptField, KeptFieldError, RecordsPath, SourceFormat};
use crate::yaml::decode::{Fields, mapping, text};
use crate::yaml::{Entry, Node};

/// The array of rows, and the fields around it that are kept, by name.
pub(super) fn envelope(
    fields: &Fields<'_>,
    format: Option<SourceFormat>,
    errors: &mut Vec<Diagnostic>,
) -> (Option<Located<RecordsPath>>, Vec<KeptField>) {
    let records = fields.optional("records", errors, records);
    if let (Some(records), Some(format)) = (&records, format)
        && !format.has_envelopes()
    {
        let message = format!("`records` has no effect: the files are read as {}", format.name());
        errors.push(records.mistake(message).help("remove it, or set `format: json` or `format: ndjson`"));
    }
    let Some(entry) = fields.get("keep") else { return (records, Vec::new()) };
    match &records {
        Some(records) => {
            let kept = keep(entry, &records.value, errors);
            (Some(records.clone()), kept)
        }
        None => {
            if fields.get("records").is_none() {
                let mistake = entry.key.mistake("`keep` has no effect without `records`");
                errors.push(mistake.help("remove it, or set `records` to the path of the rows in each document"));
            }
            (None, Vec::new())
        }
    }
}

fn records(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<RecordsPath>> {
    let found = text(node, what, errors)?;
    match RecordsPath::new(&found.value) {
        Ok(value) => Some(Located { value, span: found.span }),
        Err(error) => {
            errors.push(found.mistake(error.to_string()).help(path_help(&error)));
            None
        }
    }
}

fn path_help(error: &EnvelopePathError) -> &'static str {
    match error {
        EnvelopePathError::EmptyKey(_) | EnvelopePathError::Bracket(_) => {
            "join keys by dots and write `[]` behind the key of an array: `resourceSpans[].scopeSpans[].spans`"
        }
        EnvelopePathError::NoKey(_) => "leave `records` out: documents that are arrays of rows need none",
    }
}

/// Sorted by name, because the order of keys in a mapping means nothing.
fn keep(entry: &Entry, records: &RecordsPath, errors: &mut Vec<Diagnostic>) -> Vec<KeptField> {
    let Some(entries) = mapping(&entry.value, "keep", errors) else { return Vec::new() };
    if entries.is_empty() {
        let mistake = entry.key.mistake("`keep` names no field");
        errors.push(mistake.help("remove it, or write `keep: {log_group: logGroup}`: name of the column, path"));
    }
    let mut kept = Vec::new();
    for Entry { key, value } in entries {
        if key.value.trim().is_empty() {
            errors.push(key.mistake("a column in `keep` has no name"));
            continue;
        }
        let Some(path) = text(value, &key.value, errors) else { continue };
        match KeptField::new(&key.value, &path.value, records) {
            Ok(field) => kept.push(field),
            Err(error) => errors.push(path.mistake(error.to_string()).help(kept_help(&error, records))),
        }
    }
    kept.sort_by(|a, b| a.name().cmp(b.name()));
    kept
}

fn kept_help(error: &KeptFieldError, records: &RecordsPath) -> String {
    match error {
        KeptFieldError::Path(error) => path_help(error).to_owned(),
        KeptFieldError::NotAField(path) => format!("write the key of a field behind it: `{path}.key`"),
        KeptFieldError::OtherArray(_) => {
            format!("a path in `keep` goes into arrays as far as `records` does, which is `{records}`")
        }
        KeptFieldError::OfRow(_) => "remove it".to_owned(),
        KeptFieldError::HoldsRows(_) => "write the path of a field beside them".to_owned(),
        KeptFieldError::ThroughArray { array, .. } => format!("write `{array}` at its beginning"),
    }
}
