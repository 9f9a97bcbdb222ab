//! Who signed the manifest.
//!
//! An existing signature is always checked: armor, namespace, and that it signs exactly these bytes. Only an allowed
//! signers file says whose key it is; if one is given, a signature is required.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use ssh_key::PublicKey;

use super::{Check, VerifyOptions, VerifyReport};
use crate::failure;
use crate::package::layout::{MANIFEST, SIGNATURE};
use crate::package::manifest::Manifest;
use crate::signature::{self, Listing, fingerprint};
use crate::store::Folder;

/// A valid signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifiedSignature {
    /// Kind of key, as OpenSSH calls it: `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:` and base64, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The signer as the manifest names it; null where it names none.
    pub identity: Option<String>,
    /// The principals that the list of allowed signers has for the key; null where there is no list, or it has none.
    pub allowed_for: Option<String>,
}

/// Checks the signature of the manifest with these bytes, as far as it is there.
pub(super) fn check(
    folder: &Folder,
    bytes: Option<&[u8]>,
    manifest: Option<&Manifest>,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) {
    let signer = manifest.and_then(|manifest| manifest.signer.as_ref());
    let there = match folder.read(SIGNATURE) {
        Ok(there) => there,
        Err(error) => return report.find(Check::Signature, Some(SIGNATURE), failure::chain(&error)),
    };
    let (Some(there), Some(bytes)) = (&there, bytes) else {
        match (there.is_some(), signer) {
            (true, _) => report.leave_out(Check::Signature, "cannot be checked without a manifest"),
            (false, Some(signer)) => {
                let message = format!(
                    "is missing, and the manifest says that {} signed it: it was removed, or the run stopped before \
                     writing it; run the job again to write it",
                    signer.identity
                );
                report.find(Check::Signature, Some(SIGNATURE), message);
            }
            (false, None) if options.require_signature => {
                report.find(Check::Signature, Some(SIGNATURE), "is missing, but a signature is required");
            }
            (false, None) if options.allowed_signers.is_some() => {
                let message = "is missing, but --allowed-signers requires a signature";
                report.find(Check::Signature, Some(SIGNATURE), message);
            }
            (false, None) => {
                report.leave_out(Check::Signature, "there is none, so nothing proves who wrote the manifest");
            }
        }
        return;
    };
    let key = match signature::check(there, bytes) {
        Ok(key) => key,
        Err(error) => return report.find(Check::Signature, Some(SIGNATURE), failure::chain(&error)),
    };
    let print = fingerprint(&key);
    if let Some(signer) = signer
        && !signature::is_named(&signer.public_key, &key)
    {
        let named =
            PublicKey::from_openssh(&signer.public_key).map_or_else(|_| "no key".to_owned(), |k| fingerprint(&k));
        let message = format!("was made by {print}, but the manifest names {named} as its signer's key");
        return report.find(Check::Signature, Some(SIGNATURE), message);
    }
    let identity = signer.map(|signer| signer.identity.as_str());
    if let (Some(wanted), Some(identity)) = (&options.signer, identity)
        && wanted != identity
    {
        let message = format!("the manifest says that `{identity}` signed it, but --signer requires `{wanted}`");
        report.find(Check::Signature, Some(MANIFEST), message);
    }
    // The auditor's `--signer` takes precedence over the identity that the signer wrote into the manifest.
    let asked = options.signer.as_deref().or(identity);
    // Without a manifest that can be read nothing says when it was signed; that is a finding of its own.
    let at = manifest.map(|manifest| manifest.finalized_at);
    let allowed_for = at.and_then(|at| whose(&key, asked, at, (Check::Signature, SIGNATURE), options, report));
    let what = match (&allowed_for, identity) {
        (Some(principals), _) => {
            format!("signature of manifest.json by {} {print}, a key of {principals}", key.algorithm())
        }
        (None, Some(identity)) => {
            format!(
                "signature of manifest.json by {} {print}, identified in the manifest as {identity}",
                key.algorithm()
            )
        }
        (None, None) => format!("signature of manifest.json by {} {print}", key.algorithm()),
    };
    report.signature = Some(VerifiedSignature {
        key_type: key.algorithm().to_string(),
        fingerprint: print,
        identity: identity.map(str::to_owned),
        allowed_for,
    });
    report.done(Check::Signature, what);
}

/// The principals of the key, if it may sign as this identity at this time; otherwise a finding about the check and
/// file of `subject`.
pub(super) fn whose(
    key: &PublicKey,
    identity: Option<&str>,
    at: Timestamp,
    (check, path): (Check, &str),
    options: &VerifyOptions,
    report: &mut VerifyReport,
) -> Option<String> {
    let Some(list) = &options.allowed_signers else {
        report.leave_out(check, "whose key signed: give a list of keys with --allowed-signers");
        return None;
    };
    let print = fingerprint(key);
    let whom = identity.map_or_else(|| "anyone".to_owned(), |identity| format!("`{identity}`"));
    let lines: Vec<String> = list.authorities().iter().map(usize::to_string).collect();
    if !lines.is_empty() {
        let why = format!("certificate authorities are not supported: left out line {}", lines.join(", "));
        report.leave_out(check, why);
    }
    match list.look_up(key, identity, at) {
        Listing::Allowed { principals } => return Some(principals),
        Listing::Unknown => {
            let message = format!("was made by {print}, which is not in the allowed signers file");
            report.find(check, Some(path), message);
        }
        Listing::Refused { why } => {
            let message = format!(
                "was made by {print}, which the allowed signers file does not allow to sign this for {whom}: {}",
                why.join("; ")
            );
            report.find(check, Some(path), message);
        }
    }
    None
}
