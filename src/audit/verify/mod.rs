//! Checks a package offline, from its files alone.
//!
//! Parses the manifest strictly; compares it with itself, SHA256SUMS and every file; and reports files that it does not list.
//! With [`VerifyOptions::rows`], independent readers also read every shard back. Every fault becomes a finding, which names
//! the file where there is one. No input causes a panic. [`VerifyReport::not_checked`] lists what was not checked, because an
//! auditor must not mistake silence for proof.
//!
//! Digests prove that nothing changed since the manifest was written; a signature proves who wrote it; a chain proves that
//! the manifest is the latest for its package and that no package of the chain is missing.

mod chain;
mod chain_report;
mod consistency;
mod evidence;
mod files;
mod implied;
mod implied_files;
mod implied_source;
mod page;
mod redactions;
mod report;
mod rows;
mod sealed;
mod search;
mod signature;
mod sums;
mod times;
mod tombstone;

use std::ffi::OsString;
use std::sync::Arc;
use std::{fs, io};

use jiff::Timestamp;

use crate::digest::sha256;
use crate::failure;
use crate::package::layout::{
    self, CONTENT, MANIFEST, REPORT, SHA256SUMS, SIGNATURE, STATE, TOMBSTONE, TOMBSTONE_SIGNATURE, VERIFY_TXT,
};
use crate::package::manifest::Manifest;
use crate::package::{ReadKeys, reveal};
use crate::signature::AllowedSigners;
use crate::store::{Folder, Location, StoreError};

pub use chain::verify_chain;
pub use chain_report::{ChainReport, Head, VerifiedLink};
pub use report::{Check, Checked, Finding, NotChecked, REPORT_VERSION, VerifiedJob, VerifyReport};
pub use search::packages_below;
pub use signature::VerifiedSignature;
// Also used by `audit::sample` and `audit::pack`.
pub(crate) use rows::{Budget, Dialect, Limited, MAX_RECORD_BYTES, Pages, TOO_LONG};

/// What to check.
pub struct VerifyOptions {
    /// Current time. A manifest time after it is a finding.
    pub now: Timestamp,
    /// Read every shard back and count its rows; decompresses and parses everything.
    pub rows: bool,
    /// Keys to decrypt age files and encrypted Parquet shards. Checks that need a missing key are reported in `not_checked`.
    pub keys: ReadKeys,
    /// Keys that may sign the package. `Some` implies [`require_signature`](Self::require_signature).
    pub allowed_signers: Option<Arc<AllowedSigners>>,
    /// Identity (principal in the allowed signers file) that must have signed. Ignored without
    /// [`allowed_signers`](Self::allowed_signers).
    pub signer: Option<String>,
    /// Require a signature.
    pub require_signature: bool,
    /// The caller also runs [`verify_chain`], so the link is not reported as unchecked.
    pub caller_checks_chain: bool,
}

impl VerifyOptions {
    /// Options for the basic checks: no rows, keys or signers.
    pub fn basic(now: Timestamp) -> Self {
        Self {
            now,
            rows: false,
            keys: ReadKeys::default(),
            allowed_signers: None,
            signer: None,
            require_signature: false,
            caller_checks_chain: false,
        }
    }
}

/// For tests: no time is in the future.
#[cfg(test)]
impl Default for VerifyOptions {
    fn default() -> Self {
        Self::basic(Timestamp::MAX)
    }
}

/// Checks the package in a folder or below a prefix.
pub fn verify(package: impl Into<Location>, options: &VerifyOptions) -> VerifyReport {
    let package = package.into();
    let mut report = VerifyReport::new(&package);
    // Resolve a symlink to the package, because `Folder` refuses links. A missing folder is kept and reported below.
    let real = match &package {
        Location::Local(root) => match fs::canonicalize(root) {
            Ok(real) => Ok(Location::Local(real)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(package.clone()),
            Err(error) => Err(error.to_string()),
        },
        Location::Object(_) => Ok(package.clone()),
    };
    let folder = real.and_then(|at| Folder::existing(at).map_err(|e| failure::chain(&e)));
    let folder = match folder {
        Ok(Some(folder)) => folder,
        Ok(None) => return report.unreadable("the folder does not exist"),
        Err(error) => return report.unreadable(error),
    };

    let bytes = match folder.read(MANIFEST) {
        Ok(Some(bytes)) => Some(bytes),
        Ok(None) => {
            let message = "is missing: either no run has finished here, or the file was deleted";
            report.find(Check::Manifest, Some(MANIFEST), message);
            None
        }
        Err(error) => {
            report.find(Check::Manifest, Some(MANIFEST), failure::chain(&error));
            None
        }
    };
    // SHA256SUMS, report and signature cover the stored manifest.
    let stored = bytes.as_deref().and_then(|bytes| match Manifest::from_json(bytes) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            report.find(Check::Manifest, Some(MANIFEST), format!("cannot be read: {}", failure::chain(&error)));
            None
        }
    });
    // Consistency is checked on a copy in which the sealed fields (sizes and digests encrypted for key holders) are filled in
    // as far as the given keys decrypt them.
    let mut revealed = stored.clone();
    if let (Some(stored), Some(revealed)) = (&stored, &mut revealed) {
        report.job = Some(VerifiedJob::of(stored));
        sealed::check(stored, &mut report);
        let outcome = reveal(revealed, &options.keys);
        consistency::check(revealed, options.now, &mut report);
        sealed::check_revealed(revealed, outcome, &mut report);
    }
    let sha256 = bytes.as_deref().map(sha256);
    sums::check(&folder, stored.as_ref(), sha256.as_deref(), &mut report);
    match revealed.as_ref().zip(sha256.as_deref()) {
        Some((revealed, sha256)) => files::check(&folder, revealed, sha256, options, &mut report),
        None => report.leave_out(Check::Files, "cannot be checked without a manifest"),
    }
    page::check(&folder, stored.as_ref().zip(sha256.as_deref()), &mut report);
    signature::check(&folder, bytes.as_deref(), stored.as_ref(), options, &mut report);
    if let Some(link) = stored.as_ref().and_then(|manifest| manifest.link.as_ref())
        && !options.caller_checks_chain
    {
        let why = format!("the package is link {} of a chain, which --chain checks", link.number);
        report.leave_out(Check::Chain, why);
    }
    report_uncovered_entries(top_level_names(&folder), &mut report);
    // Always: verification is offline.
    report.leave_out(Check::Source, "only the package was read, not its source");
    report
}

fn top_level_names(folder: &Folder) -> Result<Vec<String>, ListingError> {
    match folder.location() {
        Location::Local(root) => {
            Ok(fs::read_dir(root).and_then(|entries| names_of(entries.map(|entry| Ok(entry?.file_name()))))?)
        }
        Location::Object(_) => {
            let listed = folder.list("")?;
            Ok(listed.iter().filter_map(|found| found.name.split('/').next()).map(str::to_owned).collect())
        }
    }
}

/// Why the top level of a package cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum ListingError {
    Disk(#[from] io::Error),
    Store(#[from] StoreError),
}

/// The names of all entries of a folder, or the first error: a partial list would hide files.
fn names_of(entries: impl Iterator<Item = io::Result<OsString>>) -> io::Result<Vec<String>> {
    entries.map(|name| Ok(name?.to_string_lossy().into_owned())).collect()
}

/// Reports top-level entries that no digest covers as not checked.
fn report_uncovered_entries(names: Result<Vec<String>, ListingError>, report: &mut VerifyReport) {
    let mut names = match names {
        Ok(names) => names,
        Err(error) => {
            report.find(Check::Unlisted, None, format!("the folder cannot be listed: {}", failure::chain(&error)));
            return;
        }
    };
    names.sort();
    names.dedup();
    for name in names {
        match name.as_str() {
            MANIFEST | SHA256SUMS | SIGNATURE | REPORT | TOMBSTONE | TOMBSTONE_SIGNATURE => {}
            // Checked in `files`.
            top if CONTENT.map(layout::folder).contains(&top) => {}
            VERIFY_TXT => {
                report.leave_out(Check::Unlisted, "VERIFY.txt contains instructions and has no digest");
            }
            state if state == layout::folder(STATE) => {
                report.leave_out(Check::Unlisted, format!("{STATE} holds state to resume a run and has no digest"));
            }
            other => report.leave_out(Check::Unlisted, format!("`{other}` is not part of a package and has no digest")),
        }
    }
}

#[cfg(test)]
mod tests;
