//! Checks a chain against its packages: no package is missing, altered, reverted to an earlier state or added.
//!
//! Each link proves the one before; each signed manifest proves its own link and the one before. Nothing in the chain
//! proves that its end was not cut off: that needs a head recorded elsewhere.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::chain_report::{ChainReport, Head, VerifiedLink};
use crate::chain::{Chain, Link, Linked};
use crate::digest::sha256;
use crate::failure;
use crate::package::layout::{self, MANIFEST, TOMBSTONE, kept_manifest};
use crate::package::manifest::{Manifest, PackageRef, Tombstone, is_in_future};
use crate::package::{self, Package, PackageError};
use crate::store::{Folder, Location, StoreError};

/// The packages that were given.
struct Given {
    read: Vec<GivenPackage>,
    /// Packages that the store did not give. Which links they belong to is unknown.
    unread: usize,
    /// Only the links are checked, against each other.
    is_none: bool,
}

impl Given {
    fn read(packages: &[Location], now: Timestamp, report: &mut ChainReport) -> Self {
        let mut given = Self { read: Vec::new(), unread: 0, is_none: packages.is_empty() };
        for at in packages {
            match GivenPackage::open(at, now) {
                Ok(package) => given.read.extend(package),
                Err(error) => {
                    given.unread += 1;
                    report.find(&at.join(MANIFEST).to_string(), failure::chain(&error));
                }
            }
        }
        given
    }
}

/// A package that was given, under the name that was given.
struct GivenPackage {
    at: Location,
    opened: Package,
}

impl GivenPackage {
    /// `None` without a valid manifest, which the package's own check reports.
    fn open(at: &Location, now: Timestamp) -> Result<Option<Self>, StoreError> {
        match Package::open(at, now) {
            Ok(package) => Ok(Some(Self { at: at.clone(), opened: package })),
            Err(PackageError::Store { source, .. }) => Err(source),
            Err(_) => Ok(None),
        }
    }

    fn manifest(&self) -> &Manifest {
        &self.opened.manifest
    }

    fn sha256(&self) -> &str {
        &self.opened.manifest_sha256
    }

    fn manifest_path(&self) -> String {
        self.at.join(MANIFEST).to_string()
    }
}

/// Checks a chain and the given packages against it.
pub fn verify_chain(
    chain: &Location,
    packages: &[Location],
    expected_head: Option<&Head>,
    now: Timestamp,
) -> ChainReport {
    let mut report = ChainReport::new(chain);
    let read =
        Folder::existing(package::real(chain)).and_then(|folder| folder.map(|folder| Chain::read(&folder)).transpose());
    let links = match read {
        Ok(Some(links)) => links,
        Ok(None) => return report.unreadable("the folder does not exist".to_owned()),
        Err(error) => return report.unreadable(failure::chain(&error)),
    };
    for flaw in links.flaws() {
        report.find(&flaw.name, flaw.message);
    }
    report.head = links.head().map(Head::of);
    if report.head.is_none() && report.findings.is_empty() {
        report.find("000001.json", "is missing: the chain has no link");
    }
    check_head(&links, expected_head, &mut report);
    let given = Given::read(packages, now, &mut report);
    for linked in links.links() {
        let verified = check_link(linked, &links, &given, &mut report);
        report.links.push(verified);
        let at = linked.link.created_at;
        if is_in_future(at, now) {
            let name = layout::link(linked.link.number);
            report.find(&name, format!("`created_at` is {at}, in the future: it is {now}"));
        }
    }
    let names: BTreeSet<&str> = links.links().map(|linked| linked.link.name.as_str()).collect();
    for package in &given.read {
        check_package(package, &links, &names, &mut report);
    }
    if given.is_none {
        report.leave_out("the packages: none was given, so only the links were checked against each other");
    }
    if !links.strangers().is_empty() {
        report.leave_out(format!("files that are not links: {}", links.strangers().join(", ")));
    }
    report
}

/// Checks that the chain still contains the recorded head.
fn check_head(links: &Chain, expected: Option<&Head>, report: &mut ChainReport) {
    let Some(expected) = expected else {
        return report.leave_out(
            "whether links were removed at the end: record the head now and give it with --expect-head next time",
        );
    };
    let name = layout::link(expected.number);
    match links.link(expected.number) {
        Some(there) if there.sha256 == expected.sha256 => {}
        Some(there) => report.find(
            &name,
            format!("has the digest {}, but {} was expected: the chain was rewritten", there.sha256, expected.sha256),
        ),
        None => report.find(&name, "is missing, but was expected: the chain was truncated before it"),
    }
}

/// A link against the package that it names.
fn check_link(linked: &Linked, links: &Chain, given: &Given, report: &mut ChainReport) -> VerifiedLink {
    let link = &linked.link;
    let name = layout::link(link.number);
    let mut verified = VerifiedLink::of(linked);
    if link.tombstone_sha256.is_some() {
        check_deletion(linked, given, &mut verified, report);
        return verified;
    }
    let mut of_job = given.read.iter().filter(|package| package.manifest().id == link.id);
    let last = links.last_of(&link.id).filter(|last| last.link.number > link.number);
    if let Some(last) = last {
        verified.replaced_by = Some(last.link.number);
        let kept = kept(link, of_job, report);
        match kept {
            Some((package, manifest)) => check_manifest(linked, &manifest, &package, links, report),
            None if given.is_none => {}
            None => report.leave_out(format!(
                "link {}, which link {} replaced: no package has kept its manifest",
                link.number, last.link.number
            )),
        }
        return verified;
    }
    let exact = of_job.clone().find(|package| package.sha256() == link.manifest_sha256);
    if let Some(package) = exact {
        verified.package = Some(package.at.to_string());
        check_manifest(linked, package.manifest(), &package.manifest_path(), links, report);
    } else if of_job.next().is_none() && given.unread > 0 {
        report.leave_out(format!("link {}: its package may be one that cannot be read", link.number));
    } else if of_job.next().is_none() && !given.is_none {
        let message = format!(
            "its package is missing: {} for {} to {}, written to {}",
            link.name, link.window_start, link.window_end, link.package
        );
        report.find(&name, message);
    }
    verified
}

/// Checks a link that records deleted shards against the package's tombstone.
fn check_deletion(linked: &Linked, given: &Given, verified: &mut VerifiedLink, report: &mut ChainReport) {
    let link = &linked.link;
    let name = layout::link(link.number);
    let package = given.read.iter().find(|package| package.sha256() == link.manifest_sha256);
    let Some(package) = package else {
        if !given.is_none {
            // A missing package or another manifest is reported for the manifest's own link.
            report.leave_out(format!("link {}, which records deleted shards: its package is missing", link.number));
        }
        return;
    };
    verified.package = Some(package.at.to_string());
    let path = package.at.join(TOMBSTONE).to_string();
    let bytes = match package.opened.folder.read(TOMBSTONE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let message = format!("is missing, and {name} says that shards were deleted: `jobs prune` writes it again");
            return report.find(&path, message);
        }
        Err(error) => return report.find(&path, failure::chain(&error)),
    };
    let digest = sha256(&bytes);
    if Some(&digest) != link.tombstone_sha256.as_ref() {
        return report.find(&path, format!("is not the one that {name} names: it was changed"));
    }
    let tombstone = match Tombstone::from_json(&bytes) {
        Ok(tombstone) => tombstone,
        Err(error) => return report.find(&path, format!("cannot be read: {}", failure::chain(&error))),
    };
    match Link::of_tombstone(package.manifest(), &tombstone, &digest) {
        Err(error) => report.find(&package.manifest_path(), error.to_string()),
        Ok(Some(expected)) if expected == *link => {}
        Ok(Some(expected)) => {
            let fields = differing(&expected, link).join(", ");
            report.find(&name, format!("differs from its tombstone: {fields}"));
        }
        Ok(None) => report.find(&name, "links a tombstone that was written without a chain"),
    }
}

/// The manifest of a superseded link, if its package kept it.
fn kept<'a>(
    link: &Link,
    packages: impl Iterator<Item = &'a GivenPackage>,
    report: &mut ChainReport,
) -> Option<(String, Manifest)> {
    for package in packages {
        let name = kept_manifest(&link.manifest_sha256);
        let path = package.at.join(&name).to_string();
        match package.opened.folder.read(&name) {
            Ok(Some(bytes)) if sha256(&bytes) == link.manifest_sha256 => match Manifest::from_json(&bytes) {
                Ok(manifest) => return Some((path, manifest)),
                Err(error) => report.find(&path, format!("cannot be read: {}", failure::chain(&error))),
            },
            Ok(Some(_)) => {
                report.find(&path, format!("is not the manifest that {} names", layout::link(link.number)));
            }
            Ok(None) => {}
            Err(error) => report.find(&path, failure::chain(&error)),
        }
    }
    None
}

/// Checks a manifest against its link and the link before.
fn check_manifest(linked: &Linked, manifest: &Manifest, path: &str, links: &Chain, report: &mut ChainReport) {
    let link = &linked.link;
    let name = layout::link(link.number);
    match Link::of(manifest, &link.manifest_sha256) {
        Err(error) => report.find(path, error.to_string()),
        Ok(Some(expected)) if expected == *link => {}
        Ok(Some(expected)) => {
            let fields = differing(&expected, link).join(", ");
            report.find(&name, format!("differs from its manifest: {fields}"));
        }
        Ok(None) => report.find(&name, "links a manifest that was written without a chain"),
    }
    let before = link.number.checked_sub(1).and_then(|before| links.link(before));
    let before = before.map(|b| PackageRef { id: b.link.id.clone(), sha256: b.link.manifest_sha256.clone() });
    if manifest.previous != before {
        let show =
            |of: &Option<PackageRef>| of.as_ref().map_or("none".to_owned(), |p| format!("{} {}", p.id, p.sha256));
        let message = format!("`previous` is {}, but the link before has {}", show(&manifest.previous), show(&before));
        report.find(path, message);
    }
}

/// Names of the fields that differ between two links.
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

/// Checks a given package against the chain's links of its job.
fn check_package(package: &GivenPackage, links: &Chain, names: &BTreeSet<&str>, report: &mut ChainReport) {
    let path = package.manifest_path();
    let manifest = package.manifest();
    check_tombstone(package, links, report);
    let Some(last) = links.last_of(&manifest.id) else {
        if names.contains(manifest.name.as_str()) {
            let message = format!("is not linked in the chain, unlike other packages of {}", manifest.name);
            report.find(&path, message);
        }
        return;
    };
    if package.sha256() == last.link.manifest_sha256 {
        return;
    }
    let earlier = links.links().find(|l| l.link.manifest_sha256 == package.sha256() && l.link.id == manifest.id);
    let message = match earlier {
        Some(earlier) => format!(
            "is the manifest of {}, which {} replaced: the package was reverted to an earlier state",
            layout::link(earlier.link.number),
            layout::link(last.link.number)
        ),
        None => format!(
            "is not the manifest that {} names: it has the digest {} instead of {}",
            layout::link(last.link.number),
            package.sha256(),
            last.link.manifest_sha256
        ),
    };
    report.find(&path, message);
}

/// A tombstone that claims to be linked must be. Faults of the file itself are reported with its package.
fn check_tombstone(package: &GivenPackage, links: &Chain, report: &mut ChainReport) {
    let bytes = match package.opened.folder.read(TOMBSTONE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return,
        Err(error) => return report.find(&package.at.join(TOMBSTONE).to_string(), failure::chain(&error)),
    };
    let is_chained = Tombstone::from_json(&bytes).is_ok_and(|tombstone| tombstone.link.is_some());
    let digest = sha256(&bytes);
    let mut linked = links.deletions_of(package.sha256());
    if is_chained && !linked.any(|linked| linked.link.tombstone_sha256.as_ref() == Some(&digest)) {
        let path = package.at.join(TOMBSTONE).to_string();
        report.find(&path, "is not linked in the chain: only the tombstone itself says that shards were deleted");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::package::manifest::{LinkRecord, tests::manifest};

    #[test]
    fn a_package_that_the_store_does_not_give_is_not_called_missing() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = Manifest { link: Some(LinkRecord { number: 1, previous_sha256: None }), ..manifest() };
        manifest.spec.resolved.set("output", serde_json::json!({"uri": "package/"}));
        let link = Link::of(&manifest, &sha256(b"manifest")).unwrap().unwrap();
        let [chain, package] = ["chain", "package"].map(|name| folder.path().join(name));
        fs::create_dir(&chain).unwrap();
        fs::write(chain.join(layout::link(1)), link.to_json_bytes().unwrap()).unwrap();
        // A folder where a file is expected.
        fs::create_dir_all(package.join(MANIFEST)).unwrap();
        let [chain, package] = [chain, package].map(Location::Local);
        let report = verify_chain(&chain, std::slice::from_ref(&package), None, manifest.finalized_at);
        let found: Vec<_> = report.findings.iter().map(|finding| finding.message.as_str()).collect();
        assert!(matches!(found.as_slice(), [one] if one.contains("is a folder")), "{found:?}");
        assert_eq!(report.findings[0].path, Some(package.join(MANIFEST).to_string()));
        let left_out: Vec<_> = report.not_checked.iter().map(|left_out| left_out.why.as_str()).collect();
        assert!(left_out.contains(&"link 1: its package may be one that cannot be read"), "{left_out:?}");
    }
}
