//! Checks the manifest's fields against what `spec.resolved` implies.
//!
//! The job's id is the digest of `spec.resolved`, so a manifest that contradicts it is invalid even if consistent in
//! itself. Windows, labels and partitions are computed with the planner's functions.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::{Check, VerifyReport, implied_files, implied_source};
use crate::diagnostic::shown;
use crate::job::{Digests, Window};
use crate::package::layout::MANIFEST;
use crate::package::manifest::{
    EncryptionRecord, JobStatus, Manifest, ManifestPartition, ResolvedEncryption, ResolvedError, ResolvedSpec,
    ResolvedWindow, is_name_of,
};
use crate::plan::partition::partitions;
use crate::plan::window;
use crate::time::zone;

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

/// A value of `spec.resolved`; `None` if it cannot be read, which is reported.
pub(super) fn read<T>(value: Result<T, ResolvedError>, report: &mut VerifyReport) -> Option<T> {
    value.map_err(|error| find(report, error.to_string())).ok()
}

/// The job's window; `None` if it cannot be computed, which is reported.
fn window_of(resolved: &ResolvedSpec, report: &mut VerifyReport) -> Option<Window> {
    let Ok(window) = resolved.window() else {
        find(report, "`spec.resolved` has no `window` of two instants and a zone".to_owned());
        return None;
    };
    match zone::find(window.timezone) {
        Ok(timezone) => Some(window::of_instants(window.start, window.end, timezone)),
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
    let of_window = resolved.window();
    let of_window = |value: fn(ResolvedWindow<'_>) -> Value| of_window.clone().map(value);
    let mut implied = vec![
        ("name", json!(manifest.name), resolved.name().map(Value::from)),
        ("type", json!(manifest.type_name), resolved.type_name().map(Value::from)),
        ("export_format", json!(manifest.export_format), resolved.format().map(Value::from)),
        ("compression", json!(manifest.compression), resolved.compression().map(Value::from)),
        ("window_start", json!(manifest.window_start), of_window(|window| json!(window.start))),
        ("window_end", json!(manifest.window_end), of_window(|window| json!(window.end))),
        ("timezone", json!(manifest.timezone), of_window(|window| json!(window.timezone))),
        ("filters", manifest.filters.clone(), resolved.filters().map(|filters| Value::Object(filters.clone()))),
        ("where", json!(manifest.where_sql), resolved.where_sql().map(Value::from)),
        ("expires_at", json!(manifest.expires_at), expiry(manifest)),
    ];
    if let Some(window) = window {
        implied.push(("window_label", json!(manifest.window_label), Ok(json!(window.label))));
    }
    for (field, stated, implied) in implied {
        match implied {
            Ok(implied) if implied == stated => {}
            Ok(implied) => {
                let [stated, implied] = [stated, implied].map(|value| shown(&value.to_string()));
                find(report, format!("`{field}` is {stated}, but `spec.resolved` gives {implied}"));
            }
            Err(_) => find(report, format!("`spec.resolved` does not determine `{field}`")),
        }
    }
}

/// `finalized_at` plus the retention. Earlier releases recorded a retention beyond the calendar as none.
fn expiry(manifest: &Manifest) -> Result<Value, ResolvedError> {
    let retention = manifest.spec.resolved.retention()?;
    Ok(json!(retention.and_then(|retention| manifest.finalized_at.checked_add(retention).ok())))
}

/// Compares the window's partitions with those of the files.
fn partitioning(manifest: &Manifest, window: &Window, report: &mut VerifyReport) {
    if manifest.files.is_empty() && matches!(manifest.status, JobStatus::Failed | JobStatus::Cancelled) {
        return;
    }
    let Ok(Some(by)) = manifest.spec.resolved.partition_by() else {
        return find(report, "`spec.resolved` does not determine the partitions".to_owned());
    };
    let implied = match partitions(window, by) {
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
    let Some(selected) = read(manifest.spec.resolved.columns(), report).flatten() else { return };
    // A source without columns has none to select.
    if manifest.columns.is_empty() {
        return;
    }
    let is_dropped = |source: &str| manifest.dropped.iter().any(|dropped| dropped == source);
    let stated: Vec<&str> = manifest.columns.iter().map(|column| column.name.as_str()).collect();
    let kept = selected.into_iter().filter(|(source, _)| !is_dropped(source));
    let implied: Vec<&str> = kept
        .enumerate()
        .map(|(index, (source, output))| match (output, stated.get(index)) {
            (Some(output), _) => output,
            (None, Some(stated)) if is_name_of(stated, source) => stated,
            (None, _) => source,
        })
        .collect();
    if stated != implied {
        let [stated, implied] = [stated, implied].map(|names| shown(&names.join(", ")));
        find(report, format!("`columns` are {stated}, but `spec.resolved` selects {implied}"));
    }
}

/// Compares the set of filters; their order in the spec is not recorded.
fn filter_names(manifest: &Manifest, report: &mut VerifyReport) {
    let resolved = &manifest.spec.resolved;
    // Filters or a condition that cannot be read are reported with the fields.
    let by_key = resolved.filters().into_iter().flatten();
    let where_sql = resolved.where_sql().unwrap_or_default();
    let operators = |(key, conditions): (&String, &Value)| -> Vec<String> {
        let operators = conditions.as_object().into_iter().flat_map(Map::keys);
        operators.map(|operator| format!("{key} {operator}")).collect()
    };
    let implied: BTreeSet<String> = by_key.flat_map(operators).chain(where_sql.map(|_| "where".to_owned())).collect();
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
    let implied = manifest.spec.resolved.encryption();
    let is_implied = match (&manifest.encryption, &implied) {
        (None, Ok(None)) => true,
        (
            Some(EncryptionRecord::Age { recipients: stated, .. }),
            Ok(Some(ResolvedEncryption::Age { recipients, has_recipients_file })),
        ) => {
            let stated: BTreeSet<&str> = stated.iter().map(String::as_str).collect();
            if *has_recipients_file { recipients.is_subset(&stated) } else { *recipients == stated }
        }
        (
            Some(EncryptionRecord::Parquet { footer_key: stated_key, columns: stated, .. }),
            Ok(Some(ResolvedEncryption::Parquet { footer_key, columns })),
        ) => {
            footer_key == stated_key
                && columns.len() == stated.len()
                && columns.iter().all(|(column, key)| stated.get(*column) == Some(key))
        }
        _ => false,
    };
    // Packages of earlier releases have their digests in clear without saying so in the spec.
    let is_clear = manifest.spec.resolved.states_digests();
    let is_sealed = manifest.encryption.as_ref().is_some_and(|stated| stated.digests() == Digests::Sealed);
    if !is_implied || (is_clear && is_sealed) {
        find(report, "`encryption` differs from `spec.resolved`".to_owned());
    }
}

/// Compares names and limits of expectations. They are evaluated only if every partition has a file.
fn expectations(manifest: &Manifest, report: &mut VerifyReport) {
    let is_whole = manifest.files.iter().all(|file| file.status.has_file());
    let Some(expect) = read(manifest.spec.resolved.expectations(), report) else { return };
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
