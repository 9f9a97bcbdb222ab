//! Checks the manifest's fields against what `spec.resolved` implies.
//!
//! The job's id is the digest of `spec.resolved`, so a manifest that contradicts it is invalid even if consistent in
//! itself. Windows, labels and partitions are computed with the planner's functions.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Check, VerifyReport, implied_files, implied_source};
use crate::diagnostic::shown;
use crate::job::{Digests, PartitionBy, Window};
use crate::package::layout::MANIFEST;
use crate::package::manifest::{EncryptionRecord, JobStatus, Manifest, ManifestPartition};
use crate::plan::partition::partitions;
use crate::plan::window;
use crate::time::zone;
use crate::yaml::decode::Word;

pub(super) fn check(manifest: &Manifest, report: &mut VerifyReport) {
    let resolved = &manifest.spec.resolved;
    let window = window_of(resolved, report);
    fields(manifest, window.as_ref(), report);
    if let Some(window) = &window {
        partitioning(manifest, window, report);
    }
    implied_source::check(manifest, report);
    columns(manifest, report);
    filter_names(manifest, report);
    encryption(manifest, report);
    expectations(manifest, report);
    implied_files::check(manifest, report);
    report.done(Check::Spec, "the manifest's fields follow from `spec.resolved`");
}

fn find(report: &mut VerifyReport, message: String) {
    report.find(Check::Spec, Some(MANIFEST), message);
}

/// The job's window; `None` if it cannot be computed, which is reported.
fn window_of(resolved: &Value, report: &mut VerifyReport) -> Option<Window> {
    let text = |key: &str| resolved.get("window")?.get(key)?.as_str();
    let instant = |key: &str| text(key)?.parse::<Timestamp>().ok();
    let (Some(start), Some(end), Some(name)) = (instant("start"), instant("end"), text("timezone")) else {
        find(report, "`spec.resolved` has no `window` of two instants and a zone".to_owned());
        return None;
    };
    match zone::find(name) {
        Ok(timezone) => Some(window::of_instants(start, end, timezone)),
        Err(error) => {
            report.leave_out(
                Check::Spec,
                format!("`window_label` and the bounds of partitions: {error} on this machine"),
            );
            None
        }
    }
}

/// Fields that are in `spec.resolved` or follow from it alone.
fn fields(manifest: &Manifest, window: Option<&Window>, report: &mut VerifyReport) {
    let resolved = &manifest.spec.resolved;
    let of_window = |key: &str| resolved.get("window").and_then(|window| window.get(key)).cloned();
    let mut implied = vec![
        ("name", json!(manifest.name), resolved.get("name").cloned()),
        ("type", json!(manifest.type_name), resolved.get("type").cloned()),
        ("export_format", json!(manifest.export_format), resolved.get("format").and_then(word)),
        ("compression", json!(manifest.compression), resolved.get("compression").and_then(word)),
        ("window_start", json!(manifest.window_start), of_window("start")),
        ("window_end", json!(manifest.window_end), of_window("end")),
        ("timezone", json!(manifest.timezone), of_window("timezone")),
        ("filters", manifest.filters.clone(), resolved.get("filters").cloned()),
        ("where", json!(manifest.where_sql), Some(resolved.get("where").cloned().unwrap_or_default())),
        ("expires_at", json!(manifest.expires_at), expiry(manifest)),
    ];
    if let Some(window) = window {
        implied.push(("window_label", json!(manifest.window_label), Some(json!(window.label))));
    }
    for (field, stated, implied) in implied {
        match implied {
            Some(implied) if implied == stated => {}
            Some(implied) => {
                let [stated, implied] = [stated, implied].map(|value| shown(&value.to_string()));
                find(report, format!("`{field}` is {stated}, but `spec.resolved` gives {implied}"));
            }
            None => find(report, format!("`spec.resolved` does not determine `{field}`")),
        }
    }
}

/// The word of a choice, with or without options: `none`, `{"zstd": 3}`.
fn word(choice: &Value) -> Option<Value> {
    match choice {
        Value::String(_) => Some(choice.clone()),
        Value::Object(with_options) => with_options.keys().next().map(|word| json!(word)),
        _ => None,
    }
}

/// `finalized_at` plus the retention; `None` if the retention is not a duration.
fn expiry(manifest: &Manifest) -> Option<Value> {
    let Some(retention) = manifest.spec.resolved.get("output").and_then(|output| output.get("retention")) else {
        return Some(Value::Null);
    };
    let retention: SignedDuration = retention.as_str()?.parse().ok()?;
    Some(json!(manifest.finalized_at.checked_add(retention).ok()))
}

/// Compares the window's partitions with those of the files.
fn partitioning(manifest: &Manifest, window: &Window, report: &mut VerifyReport) {
    if manifest.files.is_empty() && matches!(manifest.status, JobStatus::Failed | JobStatus::Cancelled) {
        return;
    }
    let by = manifest.spec.resolved.get("partition").and_then(|partition| partition.get("by")).and_then(Value::as_str);
    let by = by.and_then(|by| PartitionBy::WORDS.iter().find(|(word, _)| *word == by));
    let Some((_, by)) = by else {
        return find(report, "`spec.resolved` does not determine the partitions".to_owned());
    };
    let implied = match partitions(window, *by) {
        Ok(implied) => implied,
        Err(error) => return find(report, format!("the window of `spec.resolved` cannot be cut: {error}")),
    };
    let mut stated: Vec<&ManifestPartition> = manifest.files.iter().map(|file| &file.partition).collect();
    stated.dedup();
    if stated.len() != implied.len() {
        let (stated, implied) = (stated.len(), implied.len());
        return find(report, format!("the files are of {stated} partitions, but `spec.resolved` gives {implied}"));
    }
    for (stated, implied) in stated.into_iter().zip(implied) {
        if (&stated.label, stated.start, stated.end) != (&implied.label, implied.start, implied.end) {
            let message = format!(
                "the partition {} is {} to {}, but `spec.resolved` gives {}, {} to {}",
                shown(&stated.label),
                stated.start,
                stated.end,
                implied.label,
                implied.start,
                implied.end
            );
            return find(report, message);
        }
    }
}

/// Names and order of the columns, where the spec selects them.
fn columns(manifest: &Manifest, report: &mut VerifyReport) {
    let Some(Value::Array(selected)) = manifest.spec.resolved.get("columns") else { return };
    // A source without columns has none to select.
    if manifest.columns.is_empty() {
        return;
    }
    let pairs = selected.iter().filter_map(Value::as_object).flatten();
    let implied: Vec<&str> = pairs
        .filter(|(source, _)| !manifest.dropped.contains(source))
        .filter_map(|(_, output)| output.as_str())
        .collect();
    let stated: Vec<&str> = manifest.columns.iter().map(|column| column.name.as_str()).collect();
    if stated != implied {
        let [stated, implied] = [stated, implied].map(|names| shown(&names.join(", ")));
        find(report, format!("`columns` are {stated}, but `spec.resolved` selects {implied}"));
    }
}

/// Compares the set of filters; their order in the spec is not recorded.
fn filter_names(manifest: &Manifest, report: &mut VerifyReport) {
    let resolved = &manifest.spec.resolved;
    let by_key = resolved.get("filters").and_then(Value::as_object).into_iter().flatten();
    let operators = |(key, conditions): (&String, &Value)| -> Vec<String> {
        let operators = conditions.as_object().into_iter().flat_map(Map::keys);
        operators.map(|operator| format!("{key} {operator}")).collect()
    };
    let implied: BTreeSet<String> =
        by_key.flat_map(operators).chain(resolved.get("where").map(|_| "where".to_owned())).collect();
    let stated: BTreeSet<String> = manifest.filter_counts.iter().map(|count| count.filter.clone()).collect();
    if !stated.is_empty() && stated != implied {
        let [stated, implied] = [stated, implied].map(|names| shown(&Vec::from_iter(names).join(", ")));
        find(report, format!("`filter_counts` are of {stated}, but `spec.resolved` filters by {implied}"));
    } else if implied.is_empty() && manifest.accounting.filtered_out > 0 {
        let rows = manifest.accounting.filtered_out;
        find(report, format!("{rows} rows are counted as filtered out, but `spec.resolved` has no filters"));
    }
}

/// Whether and how shards are encrypted. Recipients in a file are not in `spec.resolved`.
fn encryption(manifest: &Manifest, report: &mut VerifyReport) {
    let implied = manifest.spec.resolved.get("encryption");
    let age = implied.and_then(|encryption| encryption.get("age"));
    let parquet = implied.and_then(|encryption| encryption.get("parquet"));
    let texts = |list: Option<&Value>| -> BTreeSet<String> {
        list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let is_implied = match &manifest.encryption {
        None => implied.is_none(),
        Some(EncryptionRecord::Age { recipients, .. }) => age.is_some_and(|age| {
            let (written, stated) = (texts(age.get("recipients")), BTreeSet::from_iter(recipients.iter().cloned()));
            if age.get("recipients_file").is_some() { written.is_subset(&stated) } else { written == stated }
        }),
        Some(EncryptionRecord::Parquet { footer_key, columns, .. }) => parquet.is_some_and(|parquet| {
            let keys = parquet.get("columns").and_then(Value::as_object).cloned().unwrap_or_default();
            key(parquet.get("footer_key")).as_ref() == Some(footer_key)
                && keys.len() == columns.len()
                && keys.iter().all(|(column, place)| key(Some(place)).as_ref() == columns.get(column))
        }),
    };
    // Packages of earlier releases have their digests in clear without saying so in the spec.
    let is_clear = implied.and_then(|encryption| encryption.get("digests")).is_some();
    let is_sealed = manifest.encryption.as_ref().is_some_and(|stated| stated.digests() == Digests::Sealed);
    if !is_implied || (is_clear && is_sealed) {
        find(report, "`encryption` differs from `spec.resolved`".to_owned());
    }
}

/// Where a key is, as manifests write it: `env:NAME`, `file:PATH`.
fn key(place: Option<&Value>) -> Option<String> {
    let (kind, name) = place?.as_object()?.iter().next()?;
    Some(format!("{}:{}", kind.strip_prefix("key_")?, name.as_str()?))
}

/// Compares names and limits of expectations. They are evaluated only if every partition has a file.
fn expectations(manifest: &Manifest, report: &mut VerifyReport) {
    let is_whole = manifest.files.iter().all(|file| file.status.has_file());
    let expect = manifest.spec.resolved.get("expect").and_then(Value::as_object);
    let Some(stated) = &manifest.expectations else {
        if expect.is_some() && is_whole {
            find(report, "`spec.resolved` has expectations, but `expectations` is missing".to_owned());
        }
        return;
    };
    let implied = expect.cloned().unwrap_or_default();
    let is_same = |name: &str, expected: &Value| {
        implied.get(name).is_some_and(|value| {
            let duration = |value: &Value| value.as_str()?.parse::<SignedDuration>().ok().map(|d| d.as_secs());
            value == expected || duration(value).zip(duration(expected)).is_some_and(|(a, b)| a == b)
        })
    };
    if stated.len() != implied.len() || !stated.iter().all(|one| is_same(&one.name, &one.expected)) {
        let stated: Map<String, Value> = stated.iter().map(|one| (one.name.clone(), one.expected.clone())).collect();
        let [stated, implied] = [stated, implied].map(|expected| shown(&Value::Object(expected).to_string()));
        find(report, format!("`expectations` are of {stated}, but `spec.resolved` expects {implied}"));
    }
}

#[cfg(test)]
mod tests;
