//! Which partitions of its window a package covers, and why it does not cover the others.

use jiff::Timestamp;
use serde::Serialize;

use super::interval::{Interval, union};
use crate::audit::verify::{self, VerifyOptions};
use crate::failure::chain;
use crate::package::manifest::{FileEntry, FileStatus, JobStatus, Manifest, PackageRef, Tombstone};
use crate::package::{Package, PackageError};
use crate::store::Location;

/// What a package counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageState {
    /// Its complete partitions are covered.
    Counted,
    /// A revision takes its place.
    Superseded,
    /// Its manifest is, byte for byte, that of another package, which counts.
    Copy,
    /// A revision that is not complete: the package that it revises still counts.
    Unfinished,
    /// Its manifest cannot be trusted, so it covers nothing.
    Unverified,
}

/// A package and the result of its examination.
#[derive(Debug, Clone, Serialize)]
pub struct ExaminedPackage {
    /// Where it is.
    pub package: String,
    /// What it counts for.
    pub state: PackageState,
    /// Why it does not count, or what else is to be known of it.
    pub notes: Vec<String>,
    /// What its manifest says; left out where that cannot be read.
    #[serde(flatten)]
    pub claim: Option<ManifestClaim>,
}

/// What a manifest says of its time.
#[derive(Debug, Clone, Serialize)]
pub struct ManifestClaim {
    /// The job.
    pub id: String,
    /// The spec's name.
    #[serde(skip)]
    pub name: String,
    /// The export type.
    #[serde(skip)]
    pub type_name: String,
    /// How the job ended.
    pub status: JobStatus,
    /// The window's calendar name.
    pub window_label: String,
    /// The window.
    pub window: Interval,
    /// Rows in shards.
    pub total_rows: u64,
    /// Lower-case hex SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// The package that this revision takes the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<PackageRef>,
    /// When its shards were deleted, after their retention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_at: Option<Timestamp>,
    /// What its complete partitions cover.
    pub covered: Vec<Interval>,
    /// Partitions that are not complete, and why.
    #[serde(skip)]
    pub missing: Vec<UncoveredInterval>,
    /// Its filters, to distinguish packages that exclude different rows.
    #[serde(skip)]
    pub selection: String,
}

/// A stretch of a package's window that it does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncoveredInterval {
    /// The stretch.
    pub interval: Interval,
    /// Why, for people.
    pub why: String,
}

/// Checks the manifest of a package against SHA256SUMS, and every byte if `is_verified`.
pub(super) fn examine(at: &Location, is_verified: bool, now: Timestamp) -> ExaminedPackage {
    let package = at.to_string();
    match read_claim(at, is_verified, now) {
        Ok((claim, faults)) => {
            let state = if faults.is_empty() { PackageState::Counted } else { PackageState::Unverified };
            let mut notes = faults;
            if let Some(pruned_at) = claim.as_ref().and_then(|claim| claim.pruned_at) {
                notes.push(format!("its rows were deleted at {pruned_at} after their retention period"));
            }
            ExaminedPackage { package, state, notes, claim }
        }
        Err(error) => {
            ExaminedPackage { package, state: PackageState::Unverified, notes: vec![chain(&error)], claim: None }
        }
    }
}

/// The claim and the faults of a package.
fn read_claim(
    at: &Location,
    is_verified: bool,
    now: Timestamp,
) -> Result<(Option<ManifestClaim>, Vec<String>), PackageError> {
    let package = Package::open(at, now)?;
    let mut faults = Vec::new();
    faults.extend(package.check_sums().err().map(|error| chain(&error)));
    let tombstone = package.tombstone().unwrap_or_else(|error| {
        faults.push(chain(&error));
        None
    });
    if is_verified {
        let report = verify::verify(at, &VerifyOptions::basic(now));
        let found = report.findings.first().map(|finding| match (&finding.path, report.findings.len()) {
            (Some(path), 1) => format!("{path}: {}", finding.message),
            (None, 1) => finding.message.clone(),
            (path, n) => {
                let path = path.as_deref().unwrap_or("the package");
                format!("{path}: {}; and {} more, which `kt-export verify` lists", finding.message, n - 1)
            }
        });
        // Findings of the cheap check are not repeated.
        faults.extend(found.filter(|_| faults.is_empty()));
    }
    let claim = claim(&package, tombstone);
    if claim.is_none() {
        faults.push("its window ends where it starts, or before".to_owned());
    }
    Ok((claim, faults))
}

/// `None` where the window holds no instant, which no run ever wrote.
fn claim(package: &Package, tombstone: Option<Tombstone>) -> Option<ManifestClaim> {
    let manifest = &package.manifest;
    let window = Interval::new(manifest.window_start, manifest.window_end)?;
    let (covered, missing) = partitions(manifest, window);
    Some(ManifestClaim {
        id: manifest.id.clone(),
        name: manifest.name.clone(),
        type_name: manifest.type_name.clone(),
        status: manifest.status,
        window_label: manifest.window_label.clone(),
        window,
        total_rows: manifest.total_rows,
        manifest_sha256: package.manifest_sha256.clone(),
        supersedes: manifest.supersedes.clone(),
        pruned_at: tombstone.map(|tombstone| tombstone.pruned_at),
        covered,
        missing,
        selection: format!("{} {:?}", manifest.filters, manifest.where_sql),
    })
}

/// What is covered, and the rest with its reasons. A job that failed as a whole vouches for no partition.
fn partitions(manifest: &Manifest, window: Interval) -> (Vec<Interval>, Vec<UncoveredInterval>) {
    if manifest.status == JobStatus::Failed {
        let why = match manifest.error_code {
            Some(code) => format!("the job failed ({code})"),
            None => "the job failed".to_owned(),
        };
        return (Vec::new(), vec![UncoveredInterval { interval: window, why }]);
    }
    let (mut covered, mut missing) = (Vec::new(), Vec::new());
    for parts in manifest.files.chunk_by(|a, b| a.partition == b.partition) {
        let Some(first) = parts.first() else { continue };
        let interval = Interval::new(first.partition.start, first.partition.end);
        // Partitions outside the manifest's window cover nothing.
        let Some(interval) = interval.and_then(|interval| interval.intersection(window)) else { continue };
        match parts.iter().find(|file| file.status != FileStatus::Complete) {
            None => covered.push(interval),
            Some(file) => missing.push(UncoveredInterval { interval, why: reason(file) }),
        }
    }
    // A partition that stands twice, once not complete, is not complete.
    let bad: Vec<Interval> = union(missing.iter().map(|missing| missing.interval));
    let covered = union(covered).into_iter().flat_map(|interval| super::interval::gaps(interval, &bad)).collect();
    (covered, missing)
}

fn reason(file: &FileEntry) -> String {
    let mut why = format!("partition {} is {}", file.partition.label, file.status);
    if let Some(code) = file.error_code {
        why = format!("{why} ({code})");
    }
    match &file.error {
        Some(error) => format!("{why}: {error}"),
        None => why,
    }
}
