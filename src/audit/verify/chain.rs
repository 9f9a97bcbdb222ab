//! A chain against its packages: that no package is missing, altered, put back to an earlier state or added.
//!
//! The links prove each other from the front; each manifest, and with it its signature, proves its own link and the one
//! before. What nothing in the chain can prove is that it goes on: that needs the head as somebody noted it.

use std::collections::BTreeSet;
use std::fs;

use jiff::Timestamp;

use super::chain_report::{ChainReport, Head, VerifiedLink};
use super::in_one_line;
use crate::chain::{Chain, Link, Linked};
use crate::digest::sha256;
use crate::package::layout::{MANIFEST, TOMBSTONE, kept_manifest};
use crate::package::manifest::{Manifest, PackageRef, Tombstone, is_in_future};
use crate::store::{Folder, Location, StoreError};

/// A package that was given.
struct Package {
    at: Location,
    folder: Folder,
    manifest: Manifest,
    sha256: String,
}

impl Package {
    /// `None` where nothing can be read; that is told when the package itself is checked.
    fn read(at: &Location) -> Option<Self> {
        let folder = open(at).ok()??;
        let bytes = folder.read(MANIFEST).ok()??;
        let manifest = Manifest::from_json(&bytes).ok()?;
        Some(Self { at: at.clone(), folder, manifest, sha256: sha256(&bytes) })
    }

    fn manifest_path(&self) -> String {
        self.at.join(MANIFEST).to_string()
    }
}

fn open(at: &Location) -> Result<Option<Folder>, StoreError> {
    match at {
        // An auditor may well have a link to the folder.
        Location::Local(path) => Folder::existing(fs::canonicalize(path).unwrap_or_else(|_| path.clone())),
        object => Folder::existing(object),
    }
}

/// Checks a chain and which of its packages are among those given.
pub fn verify_chain(
    chain: &Location,
    packages: &[Location],
    expected_head: Option<&Head>,
    now: Timestamp,
) -> ChainReport {
    let mut report = ChainReport::new(chain);
    let read = open(chain).and_then(|folder| folder.map(|folder| Chain::read(&folder)).transpose());
    let links = match read {
        Ok(Some(links)) => links,
        Ok(None) => return report.unreadable("there is no such folder".to_owned()),
        Err(error) => return report.unreadable(in_one_line(&error)),
    };
    for flaw in links.flaws() {
        report.find(&flaw.name, flaw.message);
    }
    report.head = links.head().map(Head::of);
    if report.head.is_none() && report.findings.is_empty() {
        report.find("000001.json", "is not there: the chain has no link");
    }
    check_head(&links, expected_head, &mut report);
    let found: Vec<Package> = packages.iter().filter_map(Package::read).collect();
    for linked in links.links() {
        let verified = check_link(linked, &links, &found, packages.is_empty(), &mut report);
        report.links.push(verified);
        let at = linked.link.created_at;
        if is_in_future(at, now) {
            let name = Link::file_name(linked.link.number);
            report.find(&name, format!("`created_at` is {at}, in the future: it is {now}"));
        }
    }
    let names: BTreeSet<&str> = links.links().map(|linked| linked.link.name.as_str()).collect();
    for package in &found {
        check_package(package, &links, &names, &mut report);
    }
    if packages.is_empty() {
        report.leave_out("the packages: none was named, so that only the links were checked against each other");
    }
    if !links.strangers().is_empty() {
        report.leave_out(format!("files that are no links: {}", links.strangers().join(", ")));
    }
    report
}

/// Whether the chain still reaches as far as somebody saw it reach.
fn check_head(links: &Chain, expected: Option<&Head>, report: &mut ChainReport) {
    let Some(expected) = expected else {
        return report.leave_out(
            "whether links were taken away at the end: note the head now and give it with --expect-head the next time",
        );
    };
    let name = Link::file_name(expected.number);
    match links.link(expected.number) {
        Some(there) if there.sha256 == expected.sha256 => {}
        Some(there) => report.find(
            &name,
            format!(
                "has the digest {}, and {} was expected: the chain was written anew",
                there.sha256, expected.sha256
            ),
        ),
        None => report.find(&name, "is not there, and was expected: the chain was cut off before it"),
    }
}

/// A link against the package that it names.
fn check_link(
    linked: &Linked,
    links: &Chain,
    found: &[Package],
    is_alone: bool,
    report: &mut ChainReport,
) -> VerifiedLink {
    let link = &linked.link;
    let name = Link::file_name(link.number);
    let mut verified = VerifiedLink::of(linked);
    if link.tombstone_sha256.is_some() {
        check_deletion(linked, found, is_alone, &mut verified, report);
        return verified;
    }
    let mut of_job = found.iter().filter(|package| package.manifest.id == link.id);
    let last = links.last_of(&link.id).filter(|last| last.link.number > link.number);
    if let Some(last) = last {
        verified.replaced_by = Some(last.link.number);
        let kept = kept(link, of_job, report);
        match kept {
            Some((package, manifest)) => check_manifest(linked, &manifest, &package, links, report),
            None if is_alone => {}
            None => report.leave_out(format!(
                "link {}, which link {} replaced: its manifest is not kept with a package",
                link.number, last.link.number
            )),
        }
        return verified;
    }
    let exact = of_job.clone().find(|package| package.sha256 == link.manifest_sha256);
    if let Some(package) = exact {
        verified.package = Some(package.at.to_string());
        check_manifest(linked, &package.manifest, &package.manifest_path(), links, report);
    } else if of_job.next().is_none() && !is_alone {
        let message = format!(
            "its package is missing: {} for {} to {}, written to {}",
            link.name, link.window_start, link.window_end, link.package
        );
        report.find(&name, message);
    }
    verified
}

/// A link that says that shards were deleted, against the package's tombstone.
fn check_deletion(
    linked: &Linked,
    found: &[Package],
    is_alone: bool,
    verified: &mut VerifiedLink,
    report: &mut ChainReport,
) {
    let link = &linked.link;
    let name = Link::file_name(link.number);
    let package = found.iter().find(|package| package.sha256 == link.manifest_sha256);
    let Some(package) = package else {
        if !is_alone {
            // That the package is missing, or has another manifest, is told of the manifest's own link.
            report.leave_out(format!("link {}, by which shards were deleted: its package is not there", link.number));
        }
        return;
    };
    verified.package = Some(package.at.to_string());
    let path = package.at.join(TOMBSTONE).to_string();
    let bytes = match package.folder.read(TOMBSTONE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let message =
                format!("is not there, and {name} says that shards were deleted: `jobs prune` writes it again");
            return report.find(&path, message);
        }
        Err(error) => return report.find(&path, in_one_line(&error)),
    };
    let digest = sha256(&bytes);
    if Some(&digest) != link.tombstone_sha256.as_ref() {
        return report.find(&path, format!("is not the one that {name} names: somebody changed it"));
    }
    let expected = Tombstone::from_json(&bytes).ok();
    match expected.and_then(|tombstone| Link::of_tombstone(&package.manifest, &tombstone, &digest)) {
        Some(expected) if expected == *link => {}
        Some(expected) => {
            let fields = differing(&expected, link).join(", ");
            report.find(&name, format!("does not say what its tombstone says: {fields}"));
        }
        None => report.find(&name, "links a tombstone that was written without a place in a chain"),
    }
}

/// The manifest of a link that was replaced, where its package kept it.
fn kept<'a>(
    link: &Link,
    packages: impl Iterator<Item = &'a Package>,
    report: &mut ChainReport,
) -> Option<(String, Manifest)> {
    for package in packages {
        let name = kept_manifest(&link.manifest_sha256);
        let path = package.at.join(&name).to_string();
        match package.folder.read(&name) {
            Ok(Some(bytes)) if sha256(&bytes) == link.manifest_sha256 => {
                return Manifest::from_json(&bytes).ok().map(|manifest| (path, manifest));
            }
            Ok(Some(_)) => {
                report.find(&path, format!("is not the manifest that {} names", Link::file_name(link.number)));
            }
            Ok(None) => {}
            Err(error) => report.find(&path, in_one_line(&error)),
        }
    }
    None
}

/// A manifest, found under its digest, against its link and the link before.
fn check_manifest(linked: &Linked, manifest: &Manifest, path: &str, links: &Chain, report: &mut ChainReport) {
    let link = &linked.link;
    let name = Link::file_name(link.number);
    match Link::of(manifest, &link.manifest_sha256) {
        Some(expected) if expected == *link => {}
        Some(expected) => {
            let fields = differing(&expected, link).join(", ");
            report.find(&name, format!("does not say what its manifest says: {fields}"));
        }
        None => report.find(&name, "links a manifest that was written without a place in a chain"),
    }
    let before = link.number.checked_sub(1).and_then(|before| links.link(before));
    let before = before.map(|b| PackageRef { id: b.link.id.clone(), sha256: b.link.manifest_sha256.clone() });
    if manifest.previous != before {
        let show =
            |of: &Option<PackageRef>| of.as_ref().map_or("none".to_owned(), |p| format!("{} {}", p.id, p.sha256));
        let message = format!("`previous` is {}, and the link before has {}", show(&manifest.previous), show(&before));
        report.find(path, message);
    }
}

/// Names of the fields that two links disagree about.
fn differing(expected: &Link, link: &Link) -> Vec<&'static str> {
    [
        ("number", expected.number == link.number),
        ("id", expected.id == link.id),
        ("name", expected.name == link.name),
        ("window_start", expected.window_start == link.window_start),
        ("window_end", expected.window_end == link.window_end),
        ("status", expected.status == link.status),
        ("package", expected.package == link.package),
        ("previous", expected.previous == link.previous),
        ("created_at", expected.created_at == link.created_at),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect()
}

/// A package that was given against what the chain says of its job.
fn check_package(package: &Package, links: &Chain, names: &BTreeSet<&str>, report: &mut ChainReport) {
    let path = package.manifest_path();
    let manifest = &package.manifest;
    check_tombstone(package, links, report);
    let Some(last) = links.last_of(&manifest.id) else {
        if names.contains(manifest.name.as_str()) {
            let message = format!("is in no link of the chain, in which other packages of {} are", manifest.name);
            report.find(&path, message);
        }
        return;
    };
    if package.sha256 == last.link.manifest_sha256 {
        return;
    }
    let earlier = links.links().find(|l| l.link.manifest_sha256 == package.sha256 && l.link.id == manifest.id);
    let message = match earlier {
        Some(earlier) => format!(
            "is the manifest of {}, which {} replaced: the package was put back to an earlier state",
            Link::file_name(earlier.link.number),
            Link::file_name(last.link.number)
        ),
        None => format!(
            "is not the manifest that {} names: it has the digest {} instead of {}",
            Link::file_name(last.link.number),
            package.sha256,
            last.link.manifest_sha256
        ),
    };
    report.find(&path, message);
}

/// A tombstone that says that it is linked has to be; what is wrong with the file itself is told with its package.
fn check_tombstone(package: &Package, links: &Chain, report: &mut ChainReport) {
    let Ok(Some(bytes)) = package.folder.read(TOMBSTONE) else { return };
    let is_chained = Tombstone::from_json(&bytes).is_ok_and(|tombstone| tombstone.link.is_some());
    let digest = sha256(&bytes);
    let mut linked = links.deletions_of(&package.sha256);
    if is_chained && !linked.any(|linked| linked.link.tombstone_sha256.as_ref() == Some(&digest)) {
        let path = package.at.join(TOMBSTONE).to_string();
        report.find(&path, "is in no link of the chain: nobody but whoever wrote it says that shards were deleted");
    }
}
