//! What `spec.resolved` and the rest of the manifest imply for `source` and `no_rows`.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Check, VerifyReport};
use crate::diagnostic::shown;
use crate::failure::chain;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{
    HeldValues, InputRecord, Manifest, NoRows, NoRowsReason, ResolvedError, SkipCode, SourceRecord,
};

pub(super) fn check(manifest: &Manifest, report: &mut VerifyReport) {
    uri(manifest, report);
    files(manifest, report);
    kind(manifest, report);
    snapshot(manifest, report);
    path_time(manifest, report);
    unexported_keys(manifest, report);
    no_rows(manifest, report);
}

fn find(report: &mut VerifyReport, message: impl Into<String>) {
    report.find(Check::Spec, Some(MANIFEST), message.into());
}

/// Whether a release before `source.kind`, `source.skipped_by_path_time` and `no_rows` may have written the manifest.
fn is_without_kind(manifest: &Manifest) -> bool {
    manifest.source.kind.is_none()
}

/// The base of a relative URI is unknown.
fn uri(manifest: &Manifest, report: &mut VerifyReport) {
    let stated = manifest.source.uri.as_slice();
    match manifest.spec.resolved.source_uris() {
        Ok(written) => {
            let is_same = |stated: &str, written: &str| {
                let relative = written.strip_prefix("./").unwrap_or(written);
                let is_below = |folder: &str| folder.is_empty() || folder.ends_with('/');
                stated == written || stated.strip_suffix(relative).is_some_and(is_below)
            };
            let are_same = stated.iter().zip(&written).all(|(stated, written)| is_same(stated, written));
            if stated.len() != written.len() || !are_same {
                let (stated, written) = (shown(&stated.join(", ")), shown(&written.join(", ")));
                find(report, format!("`source.uri` is {stated}, but `spec.resolved` gives {written}"));
            }
        }
        Err(ResolvedError::WrongType { .. }) => {
            report.leave_out(Check::Spec, "`source.uri`: the spec names it in a way that is not known");
        }
        Err(ResolvedError::Missing { .. }) => find(report, "`spec.resolved` does not determine `source.uri`"),
    }
}

fn files(manifest: &Manifest, report: &mut VerifyReport) {
    // Earlier releases wrote none.
    if let Some(stated) = &manifest.source.files_sha256 {
        match SourceRecord::digest_of_files(&manifest.source.files) {
            Ok(Some(digest)) if digest == *stated => {}
            Ok(_) => find(report, "`source.files_sha256` is not the digest of `source.files`: the list was changed"),
            Err(error) => find(report, chain(&error)),
        }
    }
    let contradicts = |file: &&InputRecord| match (&file.skipped, &file.skip_code) {
        (Some(_), None) => !is_without_kind(manifest),
        (None, Some(_)) => true,
        (None, None) | (Some(_), Some(_)) => false,
    };
    if let Some(file) = manifest.source.files.iter().find(contradicts) {
        let path = shown(&file.path);
        find(report, format!("`skipped` and `skip_code` must occur together, but {path} has only one of them"));
    }
}

/// The kind itself follows from the schema: a spec with `source.uri` exports files, the only kind that there is.
fn kind(manifest: &Manifest, report: &mut VerifyReport) {
    let source = &manifest.source;
    let is_later = source.snapshot.is_some()
        || source.skipped_by_path_time.is_some()
        || !source.unexported_keys.is_empty()
        || source.files.iter().any(|file| file.skip_code.is_some() || file.snapshot.is_some())
        || manifest.no_rows.is_some();
    if is_without_kind(manifest) && is_later {
        find(report, "`source.kind` is missing, but the manifest has fields that only releases with it write");
    }
}

/// All rows are read from one snapshot.
fn snapshot(manifest: &Manifest, report: &mut VerifyReport) {
    let read = manifest.source.files.iter().filter(|file| file.skipped.is_none());
    let stated = manifest.source.snapshot.as_deref();
    if let Some(other) = read.map(|file| file.snapshot.as_deref()).find(|snapshot| *snapshot != stated) {
        let [stated, other] = [stated, other].map(|snapshot| snapshot.map_or_else(|| "missing".to_owned(), shown));
        find(report, format!("`source.snapshot` is {stated}, but that of an input in `source.files` is {other}"));
    }
}

/// Files that were skipped because of their names.
fn path_time(manifest: &Manifest, report: &mut VerifyReport) {
    let files = &manifest.source.files;
    let skipped = files.iter().filter(|file| file.skip_code == Some(SkipCode::PathTime)).count() as u64;
    let is_claimed = manifest.spec.resolved.has_path_time();
    match manifest.source.skipped_by_path_time {
        None if is_claimed && !is_without_kind(manifest) => {
            find(report, "`source.skipped_by_path_time` is missing, but `spec.resolved` has `path_time`");
        }
        Some(_) if !is_claimed => {
            find(report, "there is `source.skipped_by_path_time`, but `spec.resolved` has no `path_time`");
        }
        None if skipped > 0 && !is_claimed => {
            find(report, "`source.files` have the `skip_code` path_time, but `spec.resolved` has no `path_time`");
        }
        Some(stated) if stated != skipped => {
            let message = format!(
                "`source.skipped_by_path_time` is {stated}, but {skipped} of `source.files` have the `skip_code` path_time"
            );
            find(report, message);
        }
        None | Some(_) => {}
    }
}

fn unexported_keys(manifest: &Manifest, report: &mut VerifyReport) {
    if !manifest.source.unexported_keys.is_empty() && !manifest.spec.resolved.has_records() {
        find(report, "`source.unexported_keys` lists keys around the rows, but `spec.resolved` has no `records`");
    }
}

/// Compares the reason why there are no rows with the row counts and the source files.
fn no_rows(manifest: &Manifest, report: &mut VerifyReport) {
    let implied = NoRowsReason::of(manifest.total_rows, &manifest.files, &manifest.source, &manifest.accounting);
    let word = |reason: NoRowsReason| json!(reason).as_str().unwrap_or_default().to_owned();
    match (&manifest.no_rows, implied) {
        (None, None) => {}
        (None, Some(_)) if is_without_kind(manifest) => {}
        (None, Some(implied)) => {
            let implied = word(implied);
            find(report, format!("`no_rows` is missing, but the files have no rows; the reason is {implied}"));
        }
        (Some(_), None) => {
            find(report, "there is `no_rows`, but there are rows, or partitions without a shard");
        }
        (Some(NoRows { reason, .. }), Some(implied)) if *reason != implied => {
            let (stated, implied) = (word(*reason), word(implied));
            let message = format!("`no_rows.reason` is {stated}, but `accounting` and `source.files` give {implied}");
            find(report, message);
        }
        (Some(NoRows { reason, held }), Some(_)) => {
            if let Some(message) = wrong_held(manifest, *reason, held) {
                find(report, message);
            }
        }
    }
}

/// What contradicts the values shown of filtered columns. The values themselves are free.
fn wrong_held(manifest: &Manifest, reason: NoRowsReason, held: &[HeldValues]) -> Option<String> {
    let resolved = &manifest.spec.resolved;
    if held.is_empty() {
        return None;
    }
    if reason != NoRowsReason::AllFilteredOut {
        return Some("`no_rows.held` has values, but the filters dropped no rows".to_owned());
    }
    if resolved.withholds_values() {
        return Some("`no_rows.held` has values, but `spec.resolved` encrypts or redacts".to_owned());
    }
    let counts = manifest.filter_counts.iter().filter(|count| count.rows > 0);
    let implied: BTreeSet<(&str, String)> = counts
        .filter_map(|count| {
            let (key, operator) = count.filter.rsplit_once(' ')?;
            let column = resolved.filter_column(key).ok()?.to_owned();
            matches!(operator, "eq" | "in").then_some((count.filter.as_str(), column))
        })
        .collect();
    let is_implied = |held: &&HeldValues| implied.contains(&(held.filter.as_str(), held.column.clone()));
    let other = held.iter().find(|held| !is_implied(held))?;
    let (filter, column) = (shown(&other.filter), shown(&other.column));
    Some(format!("`no_rows.held` has values of {column} for {filter}, but no filter on it dropped rows"))
}
