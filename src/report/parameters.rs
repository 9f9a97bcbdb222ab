//! The parameters section: the request in words, from the manifest and the resolved spec inside it. The resolved spec
//! is free-form JSON: keys that are missing or unknown to this release are left out, not guessed.

use jiff::tz::TimeZone;
use serde_json::Value;

use super::page::{Block, Fact, Section, Style, Table, columns};
use super::words::{counted, value, zoned};
use crate::export_format::ExportCompression;
use crate::job::{CsvFormat, Digests, OnBad, Order, PartitionBy};
use crate::package::manifest::{EncryptionRecord, Manifest, ResolvedSpec, is_name_of};
use crate::units::grouped;
use crate::yaml::decode::Word;

/// The section.
pub(super) fn section(manifest: &Manifest, zone: &TimeZone) -> Section {
    let mut blocks = vec![Block::Facts { facts: asked(manifest, zone) }];
    blocks.push(Block::Heading { text: "Redaction" });
    blocks.extend(redactions(manifest));
    blocks.push(Block::Heading { text: "File format" });
    blocks.push(Block::Facts { facts: form(manifest, zone) });
    blocks.push(Block::Table(columns_table(manifest)));
    blocks.push(Block::Heading { text: "Origin" });
    blocks.push(Block::Facts { facts: spec(manifest) });
    Section { id: "parameters", title: "Parameters", question: "What was requested?", blocks }
}

fn asked(manifest: &Manifest, zone: &TimeZone) -> Vec<Fact> {
    let resolved = &manifest.spec.resolved;
    let mut facts = vec![
        Fact::words("Export type", &manifest.type_name),
        Fact::lines(
            "Window",
            vec![
                format!("{}, cut in the zone {}", manifest.window_label, manifest.timezone),
                format!("from {} (included)", zoned(manifest.window_start, zone)),
                format!("to {} (not included)", zoned(manifest.window_end, zone)),
            ],
        ),
        Fact::lines(
            "Window in UTC",
            vec![
                format!("from {} (included)", manifest.window_start),
                format!("to {} (not included)", manifest.window_end),
            ],
        ),
    ];
    facts.extend(partitioning(resolved, &manifest.timezone));
    for (columns, and) in [(resolved.time_column(), "”, or without it “"), (resolved.time_columns(), "” and “")]
    {
        if let Ok(columns) = columns
            && !columns.is_empty()
        {
            facts.push(Fact::words("Time of a row", format!("its “{}”", columns.join(and))));
        }
    }
    let filters = filters(&manifest.filters);
    facts.push(match (filters.is_empty(), &manifest.where_sql) {
        (true, None) => Fact::words("Filters", "none: every row of the window was asked for"),
        (true, Some(_)) => Fact::words("Filters", "only the condition below"),
        (false, _) => Fact::lines("Filters, all must hold", filters),
    });
    facts.extend(manifest.where_sql.as_ref().map(|sql| Fact::code("Condition (SQL)", sql)));
    facts
}

fn partitioning(resolved: &ResolvedSpec, timezone: &str) -> Option<Fact> {
    let by = resolved.partition_by().ok()??;
    let mut lines = vec![match by {
        PartitionBy::None => "one partition for the whole window".to_owned(),
        PartitionBy::Hour => "one partition an hour, named in UTC".to_owned(),
        unit => format!("one partition a {}, cut in {timezone}", unit.word()),
    }];
    let (max_rows, max_bytes) = (resolved.max_rows().ok().flatten(), resolved.max_bytes().ok().flatten());
    lines.extend(max_rows.map(|n| format!("a new file after {}", counted(n, "row"))));
    lines.extend(max_bytes.map(|n| format!("a new file after {} bytes", grouped(n))));
    Some(Fact::lines("Partitions", lines))
}

/// One sentence per condition.
fn filters(filters: &Value) -> Vec<String> {
    let Value::Object(by_key) = filters else { return Vec::new() };
    let mut sentences = Vec::new();
    for (key, conditions) in by_key {
        match conditions {
            Value::Object(conditions) => {
                sentences.extend(conditions.iter().map(|(operator, operand)| sentence(key, operator, operand)));
            }
            other => sentences.push(format!("{key}: {}", value(other))),
        }
    }
    sentences
}

fn sentence(key: &str, operator: &str, operand: &Value) -> String {
    let what = value(operand);
    match (operator, operand) {
        ("in", Value::Array(items)) if items.len() == 1 => format!("{key} is {what}"),
        ("in", _) => format!("{key} is one of {what}"),
        ("not_in", _) => format!("{key} is none of {what}"),
        ("eq", _) => format!("{key} is {what}"),
        ("ne", _) => format!("{key} is not {what}"),
        ("lt", _) => format!("{key} is less than {what}"),
        ("lte", _) => format!("{key} is at most {what}"),
        ("gt", _) => format!("{key} is more than {what}"),
        ("gte", _) => format!("{key} is at least {what}"),
        ("between", Value::Array(ends)) if ends.len() == 2 => {
            format!("{key} is between {} and {}, both included", value(&ends[0]), value(&ends[1]))
        }
        ("contains", _) => format!("{key} contains {what}"),
        ("starts_with", _) => format!("{key} starts with {what}"),
        ("ends_with", _) => format!("{key} ends with {what}"),
        ("matches", _) => format!("{key} matches the regular expression {what}"),
        ("is_null", Value::Bool(true)) => format!("{key} has no value"),
        ("is_null", Value::Bool(false)) => format!("{key} has a value"),
        _ => format!("{key} {operator} {what}"),
    }
}

/// Recorded redactions, and requested ones without a record, such as dropped columns.
fn redactions(manifest: &Manifest) -> Vec<Block> {
    let recorded: Vec<_> = manifest.columns.iter().flat_map(|column| &column.redaction).collect();
    let mut rows: Vec<Vec<String>> = recorded
        .iter()
        .map(|r| {
            let key = r.key_id.clone().unwrap_or_default();
            vec![r.path.clone(), method(&r.method).to_owned(), grouped(r.values), key]
        })
        .collect();
    let requested = manifest.spec.resolved.redactions();
    for (path, name) in requested.iter().flatten().filter(|(path, _)| recorded.iter().all(|r| r.path != **path)) {
        rows.push(vec![(*path).to_owned(), method(name).to_owned(), "not counted".to_owned(), String::new()]);
    }
    let fault = requested.err().map(|error| Block::text(format!("The requested redactions are unknown: {error}.")));
    if rows.is_empty() {
        let nothing = || Block::text("Nothing was redacted: values are as the source has them.");
        return vec![fault.unwrap_or_else(nothing)];
    }
    let table = Table {
        caption: "Redacted values".to_owned(),
        columns: columns([
            ("Column or path", Style::Code),
            ("What was done", Style::Text),
            ("Values", Style::Number),
            ("Key id", Style::Code),
        ]),
        rows,
    };
    let mut blocks = vec![
        Block::Table(table),
        Block::text(
            "Nulls stay null and are not counted. A key id identifies the key of pseudonyms without revealing it: with \
             equal ids, equal values have equal pseudonyms in every period.",
        ),
    ];
    blocks.extend(fault);
    blocks
}

fn method(name: &str) -> &str {
    match name {
        "mask" => "replaced by ***",
        "nullify" => "replaced by null",
        "drop" => "left out",
        "replace" => "replaced by a fixed text",
        "hmac_sha256" => "replaced by a pseudonym (HMAC-SHA-256)",
        other => other,
    }
}

fn form(manifest: &Manifest, zone: &TimeZone) -> Vec<Fact> {
    let resolved = &manifest.spec.resolved;
    let mut facts = vec![Fact::words("Format", format(manifest)), Fact::words("Compression", compression(manifest))];
    facts.extend(match resolved.order() {
        Ok(Some(Order::Time)) => Some(Fact::words("Order of rows", "by time, then by id, in each partition")),
        Ok(Some(Order::Source)) => {
            Some(Fact::words("Order of rows", "as in the source: by file, then by position in it"))
        }
        Ok(None) | Err(_) => None,
    });
    facts.push(match &manifest.encryption {
        None => Fact::words("Encryption", "none"),
        Some(EncryptionRecord::Age { recipients, .. }) => {
            Fact { name: "Encrypted (age) to", values: recipients.clone(), is_code: true }
        }
        Some(EncryptionRecord::Parquet { algorithm, footer_key, columns, .. }) => {
            let mut lines =
                vec![format!("Parquet modular encryption, {algorithm}"), format!("footer key: {footer_key}")];
            lines.extend(columns.iter().map(|(column, key)| format!("key of {column}: {key}")));
            Fact::lines("Encryption", lines)
        }
    });
    facts.extend(manifest.encryption.as_ref().map(|encryption| {
        let who = match encryption.digests() {
            Digests::Sealed => {
                "sealed: only key holders can read a file's first and last time and the digests of its content"
            }
            Digests::Clear => "in clear: anyone who sees the manifest can confirm a guess of a row",
        };
        Fact::words("Digests of encrypted content", who)
    }));
    let policies =
        [(resolved.on_bad_rows(), "Rows that cannot be parsed"), (resolved.on_null_time(), "Rows without a time")];
    for (policy, name) in policies {
        facts.extend(match policy {
            Ok(Some(OnBad::Fail)) => Some(Fact::words(name, "fail the partitions that they may belong to")),
            Ok(Some(OnBad::Reject)) => Some(Fact::words(name, "are written to rejects/ and counted")),
            Ok(None) | Err(_) => None,
        });
    }
    facts.push(match manifest.expires_at {
        None => Fact::words("Kept until", "no limit is set"),
        Some(at) => Fact::words("Kept until", format!("{}; then the files may be deleted", zoned(at, zone))),
    });
    facts
}

fn format(manifest: &Manifest) -> String {
    let name = manifest.export_format.facts().title;
    let mut notes = Vec::new();
    match manifest.spec.resolved.csv() {
        Ok(csv) => {
            if csv.delimiter != CsvFormat::default().delimiter {
                notes.push(format!("cells end with “{}”", char::from(csv.delimiter)));
            }
            notes.extend((!csv.header).then(|| "no header".to_owned()));
            notes.extend(csv.bom.then(|| "starts with a byte order mark".to_owned()));
            notes.extend(
                csv.escape_formulas.then(|| {
                    "cells that a spreadsheet would read as formulas are prefixed with an apostrophe".to_owned()
                }),
            );
            if !csv.null_text.is_empty() {
                notes.push(format!("null is written “{}”", csv.null_text));
            }
        }
        Err(error) => notes.push(format!("its dialect is unknown: {error}")),
    }
    if notes.is_empty() { name.to_owned() } else { format!("{name}; {}", notes.join("; ")) }
}

fn compression(manifest: &Manifest) -> String {
    let name = manifest.compression.facts().title;
    if manifest.compression == ExportCompression::None {
        return name.to_owned();
    }
    let inside = if manifest.export_format.facts().compresses_pages { ", inside the files" } else { "" };
    match manifest.spec.resolved.compression_level() {
        Ok(Some(level)) => format!("{name}, level {level}{inside}"),
        Ok(None) | Err(_) => format!("{name}{inside}"),
    }
}

fn columns_table(manifest: &Manifest) -> Table {
    let sources = renamed(manifest);
    let rows = manifest.columns.iter().map(|column| {
        let from = sources.iter().find(|(_, output)| *output == column.name).map_or(String::new(), |(s, _)| s.clone());
        let null = if column.nullable { "yes" } else { "no" };
        vec![column.name.clone(), column.type_name.clone(), null.to_owned(), from]
    });
    Table {
        caption: counted(manifest.columns.len() as u64, "column"),
        columns: columns([
            ("Column", Style::Code),
            ("Type", Style::Code),
            ("May be null", Style::Text),
            ("Renamed from", Style::Code),
        ]),
        rows: rows.collect(),
    }
}

/// Source and output names of renamed columns.
fn renamed(manifest: &Manifest) -> Vec<(String, String)> {
    let Ok(Some(selected)) = manifest.spec.resolved.columns() else { return Vec::new() };
    let stated = |path: &str| manifest.columns.iter().map(|c| c.name.as_str()).find(|name| is_name_of(name, path));
    let named = selected.into_iter().filter_map(|(source, output)| Some((source, output.or_else(|| stated(source))?)));
    let renamed = named.filter(|(source, output)| source != output);
    renamed.map(|(source, output)| (source.to_owned(), output.to_owned())).collect()
}

fn spec(manifest: &Manifest) -> Vec<Fact> {
    let spec = &manifest.spec;
    let commit = match (&spec.git_commit, spec.git_dirty) {
        (Some(commit), Some(true)) => Fact::lines(
            "Git commit",
            vec![commit.clone(), "the spec had uncommitted changes: its text differs from the commit’s".to_owned()],
        ),
        (Some(commit), _) => Fact::code("Git commit", commit),
        (None, Some(true)) => Fact::words("Git commit", "none: the spec was changed and not committed"),
        (None, _) => {
            Fact::words("Git commit", "not recorded: the spec was not in a repository, or had changed since its commit")
        }
    };
    vec![
        Fact::code("Spec", &spec.path),
        Fact::code("SHA-256 of the spec", &spec.sha256),
        commit,
        Fact::code("Job", &manifest.id),
        Fact::words(
            "Meaning of the job’s id",
            "a digest of the whole resolved spec with its window: the same request has the same id on every machine",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operator_has_words() {
        let asked = json!({
            "a": {"in": ["x"]}, "b": {"in": ["x", "y"]}, "c": {"not_in": [1]}, "d": {"eq": true}, "e": {"ne": "z"},
            "f": {"lt": 1, "gte": 0}, "g": {"lte": 1, "gt": 0}, "h": {"between": [1, 2]}, "i": {"contains": "x"},
            "j": {"starts_with": "x"}, "k": {"ends_with": "x"}, "l": {"matches": "^x$"}, "m": {"is_null": true},
            "n": {"is_null": false}, "o": {"later": 1}, "p": 5,
        });
        let mut found = filters(&asked);
        found.sort();
        let expected = [
            "a is “x”",
            "b is one of “x”, “y”",
            "c is none of 1",
            "d is true",
            "e is not “z”",
            "f is at least 0",
            "f is less than 1",
            "g is at most 1",
            "g is more than 0",
            "h is between 1 and 2, both included",
            "i contains “x”",
            "j starts with “x”",
            "k ends with “x”",
            "l matches the regular expression “^x$”",
            "m has no value",
            "n has a value",
            "o later 1",
            "p: 5",
        ];
        assert_eq!(found, expected);
        assert!(filters(&Value::Null).is_empty());
    }
}
