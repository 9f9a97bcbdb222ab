//! The verdict at the top: whether the package is complete, what is missing, what to do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::conservation::unaccounted;
use super::page::Fact;
use super::slices::partitions;
use super::words::{counted, listed, short_size};
use crate::error::ErrorCode;
use crate::package::manifest::{FileStatus, JobStatus, Manifest, NoRowsReason, Totals};
use crate::units::grouped;

/// The verdict.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// Status for styling: the manifest's, or `failed` if the manifest contradicts itself.
    pub status: &'static str,
    /// In a few words.
    pub headline: &'static str,
    /// In a sentence or two.
    pub summary: String,
    /// Numbers to remember.
    pub figures: Vec<Fact>,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// What to do about it; empty if nothing needs to be done.
    pub advice: Vec<Advice>,
}

/// Something that is missing.
#[derive(Debug, Serialize)]
pub(super) struct Missing {
    /// What.
    pub what: String,
    /// Why, as the run saw it.
    pub why: String,
}

/// What to do about an error code.
#[derive(Debug, Serialize)]
pub(super) struct Advice {
    /// The code.
    pub code: &'static str,
    /// Cause and remedy.
    pub pieces: Vec<Piece>,
}

/// A piece of a sentence.
#[derive(Debug, Serialize)]
pub(super) struct Piece {
    /// The text.
    pub text: &'static str,
    /// Whether it was between backticks.
    pub is_code: bool,
}

impl Verdict {
    /// The verdict of a manifest.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let (status, headline, summary) = if contradicts_itself(manifest) {
            let headline = "Marked complete, but its own numbers contradict that";
            let summary = "The files, rows or statuses in this manifest contradict its status. It was changed, or this \
                is a bug: do not rely on it until kt-export verify passes.";
            (JobStatus::Failed, headline, summary.to_owned())
        } else {
            (manifest.status, headline(manifest), summary(manifest))
        };
        Self {
            status: status.as_str(),
            headline,
            summary,
            figures: figures(manifest),
            missing: missing(manifest),
            advice: advice(manifest),
        }
    }
}

/// Whether a manifest claims to be complete although its own numbers contradict that.
fn contradicts_itself(manifest: &Manifest) -> bool {
    let books = &manifest.accounting;
    let sums = Totals::of(&manifest.files);
    manifest.status == JobStatus::Complete
        && (books.accounted_rows() != u128::from(books.source_rows)
            || books.written != sums.rows
            || manifest.total_rows != sums.rows
            || manifest.error_code.is_some()
            || manifest.files.iter().any(|file| file.status != FileStatus::Complete)
            || manifest.expectations.iter().flatten().any(|expectation| !expectation.holds))
}

fn headline(manifest: &Manifest) -> &'static str {
    match manifest.status {
        JobStatus::Complete => match manifest.why_no_rows().map(|finding| finding.reason) {
            None => "Complete",
            Some(NoRowsReason::NothingToRead) => "Complete, but there was nothing to read",
            Some(_) => "Complete, without a row",
        },
        JobStatus::Partial => "Partial: something is missing or not as expected",
        JobStatus::Failed => "Failed: do not use as evidence",
        JobStatus::Cancelled => "Cancelled before it was complete",
    }
}

fn summary(manifest: &Manifest) -> String {
    let all = partitions(&manifest.files);
    let whole = all.iter().filter(|slice| slice.status() == "complete").count() as u64;
    let count = all.len() as u64;
    let rows = counted(manifest.total_rows, "row");
    let every = if count == 1 { "The one partition".to_owned() } else { format!("All {} partitions", grouped(count)) };
    let finding = manifest.why_no_rows().map(|finding| {
        let limit = match finding.reason {
            NoRowsReason::NothingToRead => {
                " The package does not show that there were no rows: it shows that no file was read."
            }
            _ => "",
        };
        format!("No row is in the files: {}.{limit}", manifest.no_rows_in_words(&finding))
    });
    match manifest.status {
        JobStatus::Complete if finding.is_some() => {
            format!("{every} of the window. {}", finding.unwrap_or_default())
        }
        JobStatus::Complete => format!(
            "{every} of the window: {rows} in {}. According to the manifest, every row of the source is in a file or \
             otherwise accounted for.",
            counted(manifest.files.len() as u64, "file"),
        ),
        _ if count == 0 => "The job ended before it had partitions. There are no rows.".to_owned(),
        _ => format!("{} of {} are complete; {rows} are in files.", grouped(whole), counted(count, "partition")),
    }
}

fn figures(manifest: &Manifest) -> Vec<Fact> {
    let count = partitions(&manifest.files).len() as u64;
    let files = manifest.files.iter().filter(|file| file.status.has_file()).count() as u64;
    vec![
        Fact::words("Rows", grouped(manifest.total_rows)),
        Fact::words("Files", grouped(files)),
        Fact::words("Partitions", grouped(count)),
        Fact::words("Size", short_size(manifest.total_bytes)),
    ]
}

/// Incomplete partitions, grouped by what is missing and why.
struct Cause<'a> {
    labels: Vec<&'a str>,
    message: &'a str,
}

fn missing(manifest: &Manifest) -> Vec<Missing> {
    let mut missing = Vec::new();
    // One line for each cause; the first of its messages stands for all.
    let mut causes: BTreeMap<(u8, Option<ErrorCode>), Cause> = BTreeMap::new();
    for file in &manifest.files {
        let rank = match file.status {
            FileStatus::Failed => 0,
            FileStatus::Pending | FileStatus::Running => 1,
            FileStatus::Partial => 2,
            FileStatus::Complete => continue,
        };
        let message = file.error.as_deref().unwrap_or_default();
        let cause = causes.entry((rank, file.error_code)).or_insert(Cause { labels: Vec::new(), message });
        if cause.labels.last() != Some(&file.partition.label.as_str()) {
            cause.labels.push(&file.partition.label);
        }
    }
    for ((rank, code), Cause { labels, message }) in causes {
        let partitions = counted(labels.len() as u64, "partition");
        let what = match rank {
            0 => format!("{partitions} without a file: {}", listed(&labels)),
            1 => format!("{partitions} not tried: {}", listed(&labels)),
            _ if code == Some(ErrorCode::SourceMissing) => {
                format!("{partitions} without all of its source: {}", listed(&labels))
            }
            _ => format!("{partitions} with rejected rows: {}", listed(&labels)),
        };
        let code = code.map_or("", ErrorCode::as_str);
        let separator = if code.is_empty() || message.is_empty() { "" } else { ": " };
        missing.push(Missing { what, why: format!("{code}{separator}{message}") });
    }
    for failed in manifest.expectations.iter().flatten().filter(|e| !e.holds) {
        missing
            .push(Missing { what: format!("The expectation {} does not hold", failed.name), why: failed.in_words() });
    }
    let rows = unaccounted(&manifest.accounting);
    if rows > 0 {
        missing.push(Missing {
            what: format!(
                "{} of the source missing from the files",
                if rows == 1 { "1 row".into() } else { format!("{rows} rows") }
            ),
            why: "they are inside the window or were not read".to_owned(),
        });
    }
    if let Some(code) = manifest.error_code.filter(|code| *code != ErrorCode::ExpectationFailed) {
        missing.push(Missing { what: "The job as a whole".to_owned(), why: code.to_string() });
    }
    missing
}

fn advice(manifest: &Manifest) -> Vec<Advice> {
    let of_files = manifest.files.iter().filter_map(|file| file.error_code);
    let mut codes: Vec<ErrorCode> = manifest.error_code.into_iter().chain(of_files).collect();
    codes.sort_unstable();
    codes.dedup();
    codes.into_iter().map(|code| Advice { code: code.as_str(), pieces: pieces(code.advice()) }).collect()
}

/// Splits a text at backticks into plain and code pieces.
fn pieces(text: &'static str) -> Vec<Piece> {
    let pieces = text.split('`').enumerate().map(|(n, text)| Piece { text, is_code: n % 2 == 1 });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}
