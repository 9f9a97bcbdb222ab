//! Checks SHA256SUMS against the manifest.
//!
//! The list must equal what the manifest gives, byte for byte; if not, its lines are compared to find the files that
//! differ.

use std::collections::{HashMap, HashSet};

use super::{Check, VerifyReport};
use crate::failure;
use crate::package::layout::{MANIFEST, SHA256SUMS};
use crate::package::manifest::Manifest;
use crate::store::Folder;

/// If `manifest` is `None` because it cannot be read, only its own line is compared.
pub(super) fn check(
    folder: &Folder,
    manifest: Option<&Manifest>,
    manifest_sha256: Option<&str>,
    report: &mut VerifyReport,
) {
    let text = match folder.read(SHA256SUMS) {
        Ok(Some(text)) => text,
        Ok(None) => {
            report.find(Check::Sums, Some(SHA256SUMS), "is missing: run the job again to write it");
            return;
        }
        Err(error) => {
            report.find(Check::Sums, Some(SHA256SUMS), failure::chain(&error));
            return;
        }
    };
    let Some(manifest_sha256) = manifest_sha256 else {
        report.leave_out(Check::Sums, "cannot be checked without a manifest");
        return;
    };
    if manifest.is_none_or(|manifest| manifest.sha256sums(manifest_sha256).as_bytes() != text) {
        let expected = manifest.map(|m| m.digests().collect()).unwrap_or_default();
        compare(&text, expected, manifest_sha256, manifest.is_some(), report);
    }
    match manifest {
        Some(_) => report.done(Check::Sums, "SHA256SUMS matches the manifest and has its digest"),
        None => report.done(Check::Sums, "SHA256SUMS has the manifest's digest"),
    }
}

fn compare(text: &[u8], expected: Vec<(&str, &str)>, manifest_sha256: &str, all: bool, report: &mut VerifyReport) {
    let found_before = report.findings.len();
    let text = String::from_utf8_lossy(text);
    let mut lines: HashMap<String, (usize, &str)> = HashMap::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let mut find = |message: String| report.find(Check::Sums, Some(SHA256SUMS), message);
        match parse(line) {
            Some((name, digest)) => {
                if lines.insert(name.clone(), (number, digest)).is_some() {
                    find(format!("line {number} names `{name}` a second time"));
                }
            }
            None => find(format!("line {number} is not a digest, two spaces and a name")),
        }
    }
    for (name, digest) in &expected {
        match lines.get(*name) {
            None => report.find(Check::Sums, Some(SHA256SUMS), format!("has no line for `{name}`")),
            Some((number, found)) if found != digest => {
                let message = format!("line {number} says {found} of `{name}`, but manifest.json says {digest}");
                report.find(Check::Sums, Some(SHA256SUMS), message);
            }
            Some(_) => {}
        }
    }
    match lines.get(MANIFEST) {
        None => report.find(Check::Sums, Some(SHA256SUMS), "has no line for `manifest.json`"),
        Some((number, found)) if *found != manifest_sha256 => {
            let message = format!(
                "its SHA-256 is {manifest_sha256}, but SHA256SUMS line {number} says {found}: one of them was changed"
            );
            report.find(Check::Sums, Some(MANIFEST), message);
        }
        Some(_) => {}
    }
    if !all {
        return;
    }
    let known: HashSet<&str> = expected.iter().map(|(name, _)| *name).chain([MANIFEST]).collect();
    let mut unknown: Vec<_> = lines.iter().filter(|(name, _)| !known.contains(name.as_str())).collect();
    unknown.sort_by_key(|(_, (number, _))| *number);
    for (name, (number, _)) in unknown {
        let message = format!("line {number} names `{name}`, which manifest.json does not list");
        report.find(Check::Sums, Some(SHA256SUMS), message);
    }
    if report.findings.len() == found_before {
        let message = "its order of lines or line ends differ from what manifest.json gives";
        report.find(Check::Sums, Some(SHA256SUMS), message);
    }
}

/// Name and digest of a line, as `sha256sum -c` reads it.
fn parse(line: &str) -> Option<(String, &str)> {
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (digest, name) = line.split_once("  ")?;
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) || name.is_empty() {
        return None;
    }
    if !escaped {
        return Some((name.to_owned(), digest));
    }
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some((plain, digest))
}
