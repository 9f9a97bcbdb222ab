//! Checks a package offline, from its files alone.
//!
//! The manifest is parsed strictly and checked against itself, SHA256SUMS and every file; unlisted files are found; on
//! request every shard is read back with independent readers. Every fault becomes a finding that names the file, never
//! a panic, whatever the bytes are. What could not be checked is listed too, because an auditor must not take silence
//! for proof.
//!
//! Digests prove that nothing changed since the manifest was written; a signature proves who wrote it; a chain proves
//! that it is the latest state of its package and that no package is missing.

mod chain;
mod chain_report;
mod consistency;
mod evidence;
mod files;
mod implied;
mod implied_files;
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

use std::fs;
use std::sync::Arc;

use jiff::Timestamp;

use crate::package::layout::{
    self, CONTENT, MANIFEST, SHA256SUMS, SIGNATURE, STATE, TOMBSTONE, TOMBSTONE_SIGNATURE, VERIFY_TXT,
};

use crate::digest::sha256;
use crate::package::layout::REPORT;
use crate::package::manifest::Manifest;
use crate::package::{ReadKeys, reveal};
use crate::signature::AllowedSigners;
use crate::store::{Folder, Location};

pub use chain::verify_chain;
pub use chain_report::{ChainReport, Head, VerifiedLink};
pub(crate) use rows::{Budget, Dialect, Limited, MAX_RECORD_BYTES, Pages, TOO_LONG};

pub use report::{Check, Checked, Finding, NotChecked, REPORT_VERSION, VerifiedJob, VerifyReport};
pub use search::packages_below;
pub use signature::VerifiedSignature;

/// What to check.
pub struct VerifyOptions {
    /// The clock: later times are in the future.
    pub now: Timestamp,
    /// Read every shard back and count its rows; decompresses and parses everything.
    pub rows: bool,
    /// Keys to decrypt age files, compare their plain digests, and read encrypted Parquet shards. Without a key, these
    /// checks are left out.
    pub keys: ReadKeys,
    /// Keys that may sign. If given, a package without a signature is not intact.
    pub allowed_signers: Option<Arc<AllowedSigners>>,
    /// Principal that must have signed. Used only with [`VerifyOptions::allowed_signers`].
    pub signer: Option<String>,
    /// Require a signature.
    pub require_signature: bool,
    /// A chain is checked too, so the package does not report its link as unchecked.
    pub with_chain: bool,
}

impl VerifyOptions {
    /// The checks that need neither rows nor keys.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            rows: false,
            keys: ReadKeys::default(),
            allowed_signers: None,
            signer: None,
            require_signature: false,
            with_chain: false,
        }
    }
}

/// For tests: no time is in the future.
#[cfg(test)]
impl Default for VerifyOptions {
    fn default() -> Self {
        Self::at(Timestamp::MAX)
    }
}

/// Checks the package in a folder or below a prefix.
pub fn verify(package: impl Into<Location>, options: &VerifyOptions) -> VerifyReport {
    let package = package.into();
    let mut report = VerifyReport::new(&package);
    // The package itself may be a symlink; links inside it are not followed.
    let real = match &package {
        // A missing folder is reported below.
        Location::Local(root) => match fs::canonicalize(root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            real => Ok(Location::Local(real.unwrap_or_else(|_| root.clone()))),
        },
        object => Ok(object.clone()),
    };
    let opened = real.and_then(|at| Folder::existing(at).map_err(|e| in_one_line(&e)));
    let folder = match opened {
        Ok(Some(folder)) => folder,
        Ok(None) => return report.unreadable("the folder does not exist"),
        Err(error) => return report.unreadable(error),
    };

    let bytes = match folder.read(MANIFEST) {
        Ok(Some(bytes)) => Some(bytes),
        Ok(None) => {
            let message = "is missing: no run has finished here, or it was removed";
            report.find(Check::Manifest, Some(MANIFEST), message);
            None
        }
        Err(error) => {
            report.find(Check::Manifest, Some(MANIFEST), in_one_line(&error));
            None
        }
    };
    let manifest = bytes.as_deref().and_then(|bytes| match Manifest::from_json(bytes) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            report.find(Check::Manifest, Some(MANIFEST), format!("cannot be read: {}", in_one_line(&error)));
            None
        }
    });
    // Checked with the sealed facts in place, as far as keys open them.
    let mut opened = manifest.clone();
    if let (Some(manifest), Some(opened)) = (&manifest, &mut opened) {
        report.job = Some(VerifiedJob::of(manifest));
        sealed::check(manifest, &mut report);
        let revealed = reveal(opened, &options.keys);
        consistency::check(opened, options.now, &mut report);
        sealed::opened(opened, revealed, &mut report);
    }
    let sha256 = bytes.as_deref().map(sha256);
    sums::check(&folder, manifest.as_ref(), sha256.as_deref(), &mut report);
    match opened.as_ref().zip(sha256.as_deref()) {
        Some((opened, sha256)) => files::check(&folder, opened, sha256, options, &mut report),
        None => report.leave_out(Check::Files, "cannot be checked without a manifest"),
    }
    page::check(&folder, manifest.as_ref().zip(sha256.as_deref()), &mut report);
    signature::check(&folder, bytes.as_deref(), manifest.as_ref(), options, &mut report);
    if let Some(link) = manifest.as_ref().and_then(|manifest| manifest.link.as_ref())
        && !options.with_chain
    {
        let why = format!("the package is link {} of a chain, which --chain checks", link.number);
        report.leave_out(Check::Chain, why);
    }
    look_around(&folder, &mut report);
    report.leave_out(Check::Source, "only the package was read, not its source");
    report
}

/// Lists the parts of the folder that no digest covers.
fn look_around(folder: &Folder, report: &mut VerifyReport) {
    let names = match folder.location() {
        Location::Local(root) => fs::read_dir(root).map_err(|e| e.to_string()).map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
        }),
        Location::Object(_) => folder
            .list("")
            .map_err(|e| in_one_line(&e))
            .map(|listed| listed.iter().filter_map(|found| found.name.split('/').next()).map(str::to_owned).collect()),
    };
    let mut names = match names {
        Ok(names) => names,
        Err(error) => {
            report.find(Check::Unlisted, None, format!("the folder cannot be listed: {error}"));
            return;
        }
    };
    names.sort();
    names.dedup();
    for name in names {
        match name.as_str() {
            MANIFEST | SHA256SUMS | SIGNATURE | REPORT | TOMBSTONE | TOMBSTONE_SIGNATURE => {}
            folder if CONTENT.map(layout::folder).contains(&folder) => {}
            VERIFY_TXT => {
                report.leave_out(Check::Unlisted, "VERIFY.txt contains instructions and has no digest");
            }
            state if state == layout::folder(STATE) => {
                report.leave_out(Check::Unlisted, format!("{STATE} is for resuming and is not evidence"));
            }
            other => report.leave_out(Check::Unlisted, format!("`{other}` is not part of a package and has no digest")),
        }
    }
}

/// An error with all its causes.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
