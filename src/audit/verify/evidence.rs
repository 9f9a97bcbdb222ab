//! Checks filter counts, row digests and expectations against the rest of the manifest.

use std::collections::HashSet;

use jiff::SignedDuration;
use serde_json::Value;

use super::{Check, VerifyReport};
use crate::error::ErrorCode;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{self, Expectation, FileEntry, JobStatus, Manifest, Totals};
use crate::rows_digest::RowsDigest;

pub(super) fn check(manifest: &Manifest, report: &mut VerifyReport) {
    filter_counts(manifest, report);
    rows_digest(manifest, report);
    expectations(manifest, report);
}

fn filter_counts(manifest: &Manifest, report: &mut VerifyReport) {
    if manifest.filter_counts.is_empty() {
        return;
    }
    let sum: u128 = manifest.filter_counts.iter().map(|filter| u128::from(filter.rows)).sum();
    let stated = manifest.accounting.filtered_out;
    if sum != u128::from(stated) {
        let message = format!("`filter_counts` add up to {sum}, but `accounting.filtered_out` is {stated}");
        report.find(Check::Conservation, Some(MANIFEST), message);
    }
    report.done(Check::Conservation, "filtered out = the sum over the filters");
}

/// The product of the files' row digests must be the package's; needs no rows.
fn rows_digest(manifest: &Manifest, report: &mut VerifyReport) {
    let stated = manifest.rows_digest.as_deref();
    if stated.is_none() && manifest.files.iter().all(|file| file.rows_digest.is_none()) {
        return;
    }
    for file in manifest.files.iter().filter(|file| file.status.has_file() || file.rows_digest.is_some()) {
        let digest = file.rows_digest.as_deref();
        if digest.is_none() && file.sealed.is_some() {
            // Sealed; reported elsewhere.
            continue;
        }
        if digest.is_none_or(|digest| digest.parse::<RowsDigest>().is_err()) {
            report.find(Check::Totals, Some(&file.path), "its `rows_digest` is missing or not of version 1");
        }
    }
    if stated.is_none() && manifest.files.iter().any(|file| file.sealed.is_some()) {
        // The digest of all rows is sealed by that of each file.
        return;
    }
    if manifest::rows_digest(&manifest.columns, &manifest.files).as_deref() != stated {
        let message = "`rows_digest` is not what the columns, the row counts and the `rows_digest` of the files give";
        report.find(Check::Totals, Some(MANIFEST), message);
    }
    report.done(Check::Totals, "the digests of the files' rows give that of all rows");
}

fn expectations(manifest: &Manifest, report: &mut VerifyReport) {
    let mut find = |message: String| report.find(Check::Statuses, Some(MANIFEST), message);
    let mut disappointed = false;
    for expectation in manifest.expectations.iter().flatten() {
        let Expectation { name, actual, holds, .. } = expectation;
        disappointed |= !holds;
        match so(expectation, manifest) {
            Some((found, should_hold)) => {
                if found != *actual {
                    find(format!("the expectation `{name}` records {actual}, but the files give {found}"));
                }
                if should_hold != *holds {
                    let said = if *holds { "hold" } else { "fail" };
                    find(format!("the expectation `{name}` is recorded to {said}, but the files contradict that"));
                }
            }
            None => find(format!("the expectation `{name}` is unknown to this release")),
        }
    }
    if disappointed != (manifest.error_code == Some(ErrorCode::ExpectationFailed)) {
        find(
            "`error_code` is `expectation_failed` exactly if an expectation does not hold, which is not the case here"
                .to_owned(),
        );
    }
    if disappointed && manifest.status == JobStatus::Complete {
        find("the job is marked complete, but an expectation does not hold".to_owned());
    }
    if manifest.expectations.is_some() {
        report.done(Check::Statuses, "the results of the expectations follow from the files");
    }
}

/// The actual value by the files, and whether it suffices. Deliberately independent of the run's implementation.
fn so(expectation: &Expectation, manifest: &Manifest) -> Option<(Value, bool)> {
    let files = &manifest.files;
    match expectation.name.as_str() {
        "min_rows" => {
            let rows = Totals::of(files).rows;
            Some((rows.into(), rows >= expectation.expected.as_u64()?))
        }
        "non_empty_partitions" => {
            let full: HashSet<&str> = files.iter().filter(|f| f.rows > 0).map(|f| f.partition.label.as_str()).collect();
            let labels = files.iter().map(|f| f.partition.label.as_str());
            let mut empty: Vec<&str> = labels.filter(|label| !full.contains(label)).collect();
            empty.dedup();
            Some((serde_json::json!({"empty": empty.len(), "first": empty.first()}), empty.is_empty()))
        }
        "max_lag" => {
            let most: SignedDuration = expectation.expected.as_str()?.parse().ok()?;
            if files.iter().any(|file| file.sealed.is_some()) {
                let is_within = |file: &FileEntry| file.sealed.as_ref().is_some_and(|s| s.within_max_lag == Some(true));
                return Some((serde_json::json!({"sealed": true}), files.iter().any(is_within)));
            }
            let last = files.iter().filter_map(|file: &FileEntry| file.max_time).max();
            let lag = last.map(|time| manifest.window_end.duration_since(time));
            let found = serde_json::json!({"max_time": last, "lag": lag.map(manifest::seconds)});
            Some((found, lag.is_some_and(|lag| lag <= most)))
        }
        _ => None,
    }
}
