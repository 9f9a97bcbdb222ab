//! Groups packages by name and type.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::examine::{ExaminedPackage, ManifestClaim, PackageState};
use super::interval::{Interval, gaps, overlaps, union};
use super::{COVERAGE_VERSION, CoverageOptions, CoverageReport};
use crate::package::manifest::JobStatus;

/// The packages of one spec name and export type.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The spec's name.
    pub name: String,
    /// The export type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// No gap, no overlap, nothing unverified.
    pub covered: bool,
    /// What must be covered.
    pub interval: Interval,
    /// Every package, in order of window.
    pub packages: Vec<ExaminedPackage>,
    /// What is not covered.
    pub gaps: Vec<Gap>,
    /// What is covered more than once.
    pub overlaps: Vec<Overlap>,
    /// What else is to be known of them together.
    pub notes: Vec<String>,
}

/// Time that no package covers.
#[derive(Debug, Clone, Serialize)]
pub struct Gap {
    /// The time.
    #[serde(flatten)]
    pub interval: Interval,
    /// Packages that should cover it and why they do not; empty if there is no package at all.
    pub because: Vec<Because>,
}

/// Why a package does not cover a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because {
    /// The package.
    pub package: String,
    /// Its reason.
    pub why: String,
}

/// Time that more than one package covers.
#[derive(Debug, Clone, Serialize)]
pub struct Overlap {
    /// The time.
    #[serde(flatten)]
    pub interval: Interval,
    /// Which.
    pub packages: Vec<String>,
}

/// Sorts packages into groups and judges each.
pub(super) fn report(examined: Vec<ExaminedPackage>, options: &CoverageOptions) -> CoverageReport {
    let mut unreadable = Vec::new();
    let mut by_name: BTreeMap<(String, String), Vec<ExaminedPackage>> = BTreeMap::new();
    for package in examined {
        match package.claim.as_ref().map(|claim| (claim.name.clone(), claim.type_name.clone())) {
            Some(key) => by_name.entry(key).or_default().push(package),
            None => unreadable.push(package),
        }
    }
    let is_asked = |(name, type_name): &(String, String)| {
        options.name.as_ref().is_none_or(|asked| asked == name)
            && options.type_name.as_ref().is_none_or(|asked| asked == type_name)
    };
    let (mut groups, mut left_out) = (Vec::new(), Vec::new());
    for ((name, type_name), packages) in by_name {
        let who = format!("{name} ({type_name})");
        if !is_asked(&(name.clone(), type_name.clone())) {
            left_out.push(who);
        } else if let Some(group) = group(name, type_name, packages, options) {
            groups.push(group);
        } else {
            left_out.push(format!("{who}, whose windows are outside the interval"));
        }
    }
    CoverageReport {
        version: COVERAGE_VERSION,
        covered: !groups.is_empty() && unreadable.is_empty() && groups.iter().all(|group| group.covered),
        groups,
        unreadable,
        left_out,
    }
}

/// `None` where a bound that was asked for leaves nothing of the packages' own time.
fn group(
    name: String,
    type_name: String,
    mut packages: Vec<ExaminedPackage>,
    options: &CoverageOptions,
) -> Option<Group> {
    packages.sort_by(|a, b| key(a).cmp(&key(b)));
    copies(&mut packages);
    revisions(&mut packages);
    let windows = || packages.iter().filter_map(|package| package.claim.as_ref()).map(|claim| claim.window);
    let start = options.from.or_else(|| windows().map(|window| window.start).min())?;
    let end = options.to.or_else(|| windows().map(|window| window.end).max())?;
    let interval = Interval::new(start, end)?;
    let unions: Vec<Vec<Interval>> = packages.iter().map(|package| counted(package, interval)).collect();
    let covered = union(unions.iter().flatten().copied());
    let gaps: Vec<Gap> = gaps(interval, &covered)
        .into_iter()
        .map(|interval| Gap { interval, because: because(&packages, interval) })
        .collect();
    let name_of = |index: usize| packages.get(index).map(|package| package.package.clone());
    let overlaps: Vec<Overlap> = overlaps(&unions)
        .into_iter()
        .map(|(interval, who)| Overlap { interval, packages: who.into_iter().filter_map(name_of).collect() })
        .collect();
    let is_verified = packages.iter().all(|package| package.state != PackageState::Unverified);
    let notes = notes(&packages);
    let covered = gaps.is_empty() && overlaps.is_empty() && is_verified;
    Some(Group { name, type_name, covered, interval, packages, gaps, overlaps, notes })
}

fn key(package: &ExaminedPackage) -> (Option<Interval>, &str) {
    (package.claim.as_ref().map(|claim| claim.window), &package.package)
}

/// What a package counts for, inside an interval.
fn counted(package: &ExaminedPackage, within: Interval) -> Vec<Interval> {
    match (&package.claim, package.state) {
        (Some(claim), PackageState::Counted) => claim.covered.iter().filter_map(|i| i.intersection(within)).collect(),
        _ => Vec::new(),
    }
}

/// The same package in two places has its rows once.
fn copies(packages: &mut [ExaminedPackage]) {
    let mut seen: HashMap<String, String> = HashMap::new();
    for package in packages.iter_mut().filter(|package| package.state == PackageState::Counted) {
        let Some(claim) = &package.claim else { continue };
        if let Some(first) = seen.get(&claim.manifest_sha256) {
            package.state = PackageState::Copy;
            package.notes.push(format!("it is a copy of {first}"));
        } else {
            seen.insert(claim.manifest_sha256.clone(), package.package.clone());
        }
    }
}

/// A complete revision takes the place of the package whose id and manifest digest it names.
fn revisions(packages: &mut [ExaminedPackage]) {
    for index in 0..packages.len() {
        // One that is superseded itself still superseded the one before.
        let is_trusted =
            |package: &&ExaminedPackage| matches!(package.state, PackageState::Counted | PackageState::Superseded);
        let Some(package) = packages.get(index).filter(is_trusted).cloned() else { continue };
        let Some(ManifestClaim { status, supersedes: Some(old), .. }) = package.claim else { continue };
        if status != JobStatus::Complete {
            if let Some(revision) = packages.get_mut(index) {
                revision.state = PackageState::Unfinished;
                revision.notes.push(format!("it is a revision of {} and {status}: it supersedes nothing", old.id));
            }
            continue;
        }
        let mut altered = None;
        for other in packages.iter_mut() {
            let Some(claim) = other.claim.as_ref().filter(|claim| claim.id == old.id) else { continue };
            if claim.manifest_sha256 == old.sha256 {
                if matches!(other.state, PackageState::Counted | PackageState::Copy) {
                    other.state = PackageState::Superseded;
                }
                other.notes.push(format!("{} takes its place", package.package));
            } else {
                altered = Some(format!(
                    "it supersedes {} with the manifest {}, but {} has the manifest {}: that is not the package that was \
                     revised",
                    old.id, old.sha256, other.package, claim.manifest_sha256
                ));
            }
        }
        if let (Some(note), Some(revision)) = (altered, packages.get_mut(index)) {
            revision.notes.push(note);
        }
    }
}

/// What packages whose windows reach into a gap say for themselves.
fn because(packages: &[ExaminedPackage], gap: Interval) -> Vec<Because> {
    let mut because = Vec::new();
    for package in packages {
        let Some(claim) = package.claim.as_ref().filter(|claim| claim.window.intersection(gap).is_some()) else {
            continue;
        };
        let mut say = |why: String| because.push(Because { package: package.package.clone(), why });
        match package.state {
            PackageState::Counted => {
                for missing in claim.missing.iter().filter(|missing| missing.interval.intersection(gap).is_some()) {
                    say(missing.why.clone());
                }
            }
            PackageState::Unverified | PackageState::Unfinished => {
                say(package.notes.first().cloned().unwrap_or_else(|| "it is unverified".to_owned()));
            }
            PackageState::Copy | PackageState::Superseded => {}
        }
    }
    because
}

/// Packages that leave out other rows cover the time, but not with the same evidence.
fn notes(packages: &[ExaminedPackage]) -> Vec<String> {
    let counted = packages.iter().filter(|package| package.state == PackageState::Counted);
    let mut selections: Vec<&str> =
        counted.filter_map(|package| package.claim.as_ref()).map(|claim| claim.selection.as_str()).collect();
    selections.sort_unstable();
    selections.dedup();
    if selections.len() < 2 {
        return Vec::new();
    }
    vec![format!(
        "its packages have {} different filters: together they cover time, but not with one selection of rows",
        selections.len()
    )]
}
