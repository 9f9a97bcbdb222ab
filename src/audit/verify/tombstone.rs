//! Checks the tombstone: whether it accounts for missing shards, and who signed it.

use super::{Check, VerifyOptions, VerifyReport, signature};
use crate::failure;
use crate::package::layout::{TOMBSTONE, TOMBSTONE_SIGNATURE};
use crate::package::manifest::{Manifest, Tombstone};
use crate::package::tombstone;
use crate::signature::{fingerprint, is_named};
use crate::store::Folder;

/// The tombstone if it is valid. An invalid one becomes a finding and accounts for nothing.
pub(super) fn check(
    folder: &Folder,
    manifest: &Manifest,
    manifest_sha256: &str,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) -> Option<Tombstone> {
    let buried = match tombstone::read(folder, manifest, manifest_sha256, options.now) {
        Ok(buried) => buried?,
        Err(error) => {
            report.find(Check::Tombstone, Some(TOMBSTONE), failure::chain(&error));
            return None;
        }
    };
    let before = report.findings.len();
    for (name, fault) in &buried.faults {
        report.find(Check::Tombstone, Some(name), fault.clone());
    }
    let tombstone = buried.tombstone?;
    if let (Some(key), Some(signer)) = (&buried.key, &tombstone.signer) {
        let at = tombstone.pruned_at;
        let subject = (Check::Tombstone, TOMBSTONE_SIGNATURE);
        let identity = Some(signer.identity.as_str());
        let is_of_package = manifest.signer.as_ref().is_some_and(|signer| is_named(&signer.public_key, key));
        if options.allowed_signers.is_some() {
            signature::whose(key, identity, at, subject, options, report);
        } else if !is_of_package {
            let why = format!(
                "whose key signed {TOMBSTONE}: {} did, which is not the key that signed the package; give a list of \
                 keys with --allowed-signers",
                fingerprint(key)
            );
            report.leave_out(Check::Tombstone, why);
        }
    } else if tombstone.signer.is_none() {
        report.leave_out(Check::Tombstone, "who deleted the shards: neither package nor tombstone is signed");
    }
    if let Some(link) = tombstone.link.as_ref().filter(|_| !options.caller_checks_chain) {
        let why = format!("{TOMBSTONE} is link {} of a chain, which --chain checks", link.number);
        report.leave_out(Check::Chain, why);
    }
    report.done(Check::Tombstone, "tombstone.json is about this package and was written after the retention period");
    (report.findings.len() == before).then_some(tombstone)
}
