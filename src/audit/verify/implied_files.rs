//! What `spec.resolved` implies for shards, rejects and the package's links to other packages.

use std::collections::BTreeMap;

use super::implied::read;
use super::{Check, VerifyReport};
use crate::job::OnBad;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{EncryptionRecord, JobStatus, Manifest, RunOutcome};
use crate::seal::AGE_EXTENSION;

pub(super) fn check(manifest: &Manifest, report: &mut VerifyReport) {
    names(manifest, report);
    rows(manifest, report);
    rejects(manifest, report);
    revision(manifest, report);
    place_in_chain(manifest, report);
    outcome(manifest, report);
}

/// Parts are numbered from 0 in each partition; format, compression and encryption determine the extension.
fn names(manifest: &Manifest, report: &mut VerifyReport) {
    let age = if matches!(manifest.encryption, Some(EncryptionRecord::Age { .. })) { AGE_EXTENSION } else { "" };
    let ending = format!(".{}{age}", manifest.export_format.extensions(manifest.compression));
    for parts in manifest.files.chunk_by(|a, b| a.partition == b.partition) {
        for (number, file) in parts.iter().enumerate() {
            let name = file.path.rsplit('/').next().unwrap_or(&file.path);
            let first = format!("part-{number:04}");
            let middle = name.strip_prefix(&first).and_then(|rest| rest.strip_suffix(&ending));
            // Names may contain a run id.
            if middle.is_none_or(|middle| !middle.is_empty() && !middle.starts_with('.')) {
                let message = format!("is not named {first}{ending}, as part {number} of its partition must be");
                report.find(Check::Spec, Some(&file.path), message);
            }
        }
    }
}

fn rows(manifest: &Manifest, report: &mut VerifyReport) {
    let resolved = &manifest.spec.resolved;
    let max_rows = read(resolved.max_rows(), report).flatten();
    for file in &manifest.files {
        if let Some(max_rows) = max_rows.filter(|max_rows| file.rows > *max_rows) {
            let message = format!("has {} rows, but `spec.resolved` allows {max_rows} per part", file.rows);
            report.find(Check::Spec, Some(&file.path), message);
        }
    }
    let Some(is_digested) = read(resolved.rows_digest(), report) else { return };
    let has_digests = manifest.rows_digest.is_some() || manifest.files.iter().any(|file| file.rows_digest.is_some());
    // Sealed digests are visible only with a key.
    let is_sealed = manifest.files.iter().any(|file| file.sealed.is_some());
    let has_rows = manifest.files.iter().any(|file| file.status.has_file()) && !is_sealed;
    if is_digested != has_digests && (has_digests || has_rows) {
        let message = if is_digested {
            "`spec.resolved` requests `rows_digest`, but there is none"
        } else {
            "there are digests of rows, but `spec.resolved` does not request them"
        };
        report.find(Check::Spec, Some(MANIFEST), message);
    }
}

fn rejects(manifest: &Manifest, report: &mut VerifyReport) {
    let resolved = &manifest.spec.resolved;
    let policies = [resolved.on_bad_rows(), resolved.on_null_time()];
    let Some(policies) = read(policies.into_iter().collect::<Result<Vec<_>, _>>(), report) else { return };
    if !policies.contains(&Some(OnBad::Reject)) && !manifest.rejects.is_empty() {
        let message = "there are files of rejected rows, but `spec.resolved` rejects none";
        report.find(Check::Spec, Some(MANIFEST), message);
    }
}

/// Checks a revision's row counts against its own files.
fn revision(manifest: &Manifest, report: &mut VerifyReport) {
    let implied = read(manifest.spec.resolved.revision(), report).flatten();
    let mut find = |message: String| report.find(Check::Spec, Some(MANIFEST), message);
    if manifest.supersedes.is_some() != manifest.restatement.is_some() {
        find("`supersedes` and `restatement` must occur together".to_owned());
    }
    let Some(restatement) = &manifest.restatement else { return };
    if implied != Some(restatement.revision.into()) {
        let implied = implied.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
        find(format!("`restatement.revision` is {}, but `spec.resolved` gives {implied}", restatement.revision));
    }
    let mut rows: BTreeMap<&str, u128> = BTreeMap::new();
    for file in &manifest.files {
        *rows.entry(&file.partition.label).or_default() += u128::from(file.rows);
    }
    for partition in &restatement.partitions {
        let found = rows.remove(partition.label.as_str()).unwrap_or_default();
        if found != u128::from(partition.rows_after) {
            let (label, after) = (partition.label.escape_debug(), partition.rows_after);
            find(format!("`restatement` has {after} rows of {label}, but its files have {found}"));
        }
    }
    if let Some(label) = rows.keys().next() {
        find(format!("`restatement` does not have the partition {}", label.escape_debug()));
    }
}

/// Only the first package of a chain has no previous one.
fn place_in_chain(manifest: &Manifest, report: &mut VerifyReport) {
    let is_first = manifest.link.as_ref().is_none_or(|link| link.number <= 1);
    let has_before = manifest.link.as_ref().is_some_and(|link| link.previous_sha256.is_some());
    if manifest.previous.is_some() == is_first || has_before == is_first {
        let message = "`previous` and `link` contradict each other: only a first link has no previous one";
        report.find(Check::Spec, Some(MANIFEST), message);
    }
}

/// The run that wrote the manifest must have the job's outcome.
fn outcome(manifest: &Manifest, report: &mut VerifyReport) {
    let implied = match manifest.status {
        JobStatus::Complete => RunOutcome::Complete,
        JobStatus::Partial => RunOutcome::Partial,
        JobStatus::Failed => RunOutcome::Failed,
        JobStatus::Cancelled => RunOutcome::Cancelled,
    };
    if manifest.runs.last().is_some_and(|run| run.outcome != implied) {
        let message = format!("the job is {}, but the run that wrote the manifest ended differently", manifest.status);
        report.find(Check::Statuses, Some(MANIFEST), message);
    }
}
