//! Checks a package offline, from nothing but its files.
//!
//! The manifest is read strictly, checked against itself, against SHA256SUMS and against every file; files that nothing
//! vouches for are found; on request every shard is read back with readers that are not the ones that wrote it. What
//! is wrong becomes a finding that names the file, and never a panic, whatever the bytes are. What cannot be checked is
//! said as well, because an auditor must not take silence for proof.
//!
//! Digests prove that nothing changed since the manifest was written, a signature who wrote it, and a chain that it is
//! the last state of its package and that no package is missing.

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
use crate::package::manifest::Manifest;
use crate::package::{ReadKeys, reveal};
use crate::report::REPORT;
use crate::signature::AllowedSigners;
use crate::store::{Folder, Location};

pub use chain::verify_chain;
pub use chain_report::{ChainReport, Head, VerifiedLink};
pub(crate) use rows::{Budget, Dialect, Limited, MAX_RECORD_BYTES, Pages, TOO_LONG};

pub use report::{Check, Checked, Finding, NotChecked, REPORT_VERSION, VerifiedJob, VerifyReport};
pub use search::packages_below;
pub use signature::VerifiedSignature;

/// How much is checked.
pub struct VerifyOptions {
    /// The clock: later times are in the future.
    pub now: Timestamp,
    /// Read every shard back and count its rows, which costs a decompression and a parse of everything.
    pub rows: bool,
    /// Decrypt what age encrypted and compare it with its plain digests, and read the rows of encrypted Parquet shards.
    /// What there is no key for is not checked.
    pub keys: ReadKeys,
    /// Whose keys may sign. A package without a signature is then not intact.
    pub allowed_signers: Option<Arc<AllowedSigners>>,
    /// Who must have signed. Means something only with [`VerifyOptions::allowed_signers`].
    pub signer: Option<String>,
    /// A package without a signature is not intact.
    pub require_signature: bool,
    /// A chain is checked as well, so that a package need not say that it has a place in one.
    pub with_chain: bool,
}

impl VerifyOptions {
    /// What can be checked without reading rows and without being given keys.
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

/// In tests no time is in the future.
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
    // An auditor may well have a link to the package; links inside it are another matter.
    let real = match &package {
        // Where there is none, it is told below.
        Location::Local(root) => match fs::canonicalize(root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            real => Ok(Location::Local(real.unwrap_or_else(|_| root.clone()))),
        },
        object => Ok(object.clone()),
    };
    let opened = real.and_then(|at| Folder::existing(at).map_err(|e| in_one_line(&e)));
    let folder = match opened {
        Ok(Some(folder)) => folder,
        Ok(None) => return report.unreadable("there is no such folder"),
        Err(error) => return report.unreadable(error),
    };

    let bytes = match folder.read(MANIFEST) {
        Ok(Some(bytes)) => Some(bytes),
        Ok(None) => {
            let message = "is not there: no run has ended here, or somebody removed it";
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
    // Checked with what is sealed where it would stand in clear, as far as there are keys.
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
    match &opened {
        Some(opened) => files::check(&folder, opened, sha256.as_deref().unwrap_or_default(), options, &mut report),
        None => report.leave_out(Check::Files, "without a manifest nothing says what the files should be"),
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
    report.leave_out(Check::Source, "the package alone is read, not the source that it was made from");
    report
}

/// Says which parts of the folder no digest covers.
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
                report.leave_out(Check::Unlisted, "VERIFY.txt says how to check a packed package and has no digest");
            }
            state if state == layout::folder(STATE) => {
                report.leave_out(Check::Unlisted, format!("{STATE} serves resuming and is not evidence"))
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
