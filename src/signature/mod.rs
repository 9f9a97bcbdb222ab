//! SSH signatures of manifests, compatible with `ssh-keygen -Y sign` and `-Y verify`.
//!
//! Format: OpenSSH's PROTOCOL.sshsig. A signature carries the public key that made it, so checking it says *which* key
//! signed and never *whose* it is; that is said by an auditor's list of [`AllowedSigners`]. The namespace keeps a
//! signature that the same key gave to something else (a commit, a login) from being shown as one of a manifest.
//!
//! Invariant: what [`check`] accepts is a signature of exactly these bytes, in exactly this namespace.

#[cfg(unix)]
mod agent;
mod allowed;
mod by_hand;
mod signer;

use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PublicKey, SshSig};

pub use allowed::{AllowedError, AllowedSigners, Listing};
pub use by_hand::ByHand;
pub use signer::{SignError, Signer};

/// What our signatures are for, as `ssh-keygen -Y sign -n` names it.
pub const NAMESPACE: &str = "kt-export";

/// The version of PROTOCOL.sshsig. It is not among what is signed, so it is compared.
const SSHSIG_VERSION: u32 = 1;

/// Larger than any signature.
const LARGEST_BYTES: usize = 64 << 10;

/// Why bytes are no signature of others.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Not the armored form that `ssh-keygen -Y sign` writes.
    #[error("is not an SSH signature")]
    Malformed(#[source] Option<ssh_key::Error>),
    /// Made for something else.
    #[error("was made for the namespace `{}`, not for `{NAMESPACE}`: it signs something else", found.escape_debug())]
    Namespace {
        /// What for.
        found: String,
    },
    /// A key whose signatures are not checked here.
    #[error("was made by a key of the kind {algorithm}, which this release cannot check: use ssh-keygen -Y verify")]
    Unsupported {
        /// The kind.
        algorithm: String,
    },
    /// Signature and bytes do not belong together.
    #[error("does not sign these bytes with its key {fingerprint}: one of them was changed or replaced")]
    Mismatch {
        /// SHA-256 of the key, as `ssh-keygen -l` shows it.
        fingerprint: String,
    },
}

/// Checks an armored signature of `bytes` and gives the key that made it.
///
/// # Errors
/// [`SignatureError`].
pub fn check(signature: &[u8], bytes: &[u8]) -> Result<PublicKey, SignatureError> {
    let text = std::str::from_utf8(signature).ok().filter(|text| text.len() <= LARGEST_BYTES);
    // Readers disagree about text before the armor: some skip it, others fail.
    let text = text.filter(|text| text.starts_with("-----BEGIN")).ok_or(SignatureError::Malformed(None))?;
    let signature = SshSig::from_pem(text).map_err(|error| SignatureError::Malformed(Some(error)))?;
    if signature.namespace() != NAMESPACE {
        return Err(SignatureError::Namespace { found: signature.namespace().to_owned() });
    }
    let key = PublicKey::from(signature.public_key().clone());
    if !is_checkable(&key.algorithm()) {
        return Err(SignatureError::Unsupported { algorithm: key.algorithm().to_string() });
    }
    // The library reads more than one text as one signature: lengths that are too long, version 0.
    let is_canonical = signature.to_pem(LineEnding::LF).is_ok_and(|pem| pem.trim_end() == text.trim_end_matches('\n'));
    if signature.version() != SSHSIG_VERSION || !is_canonical {
        return Err(SignatureError::Malformed(None));
    }
    match key.verify(NAMESPACE, bytes, &signature) {
        Ok(()) => Ok(key),
        Err(_) => Err(SignatureError::Mismatch { fingerprint: fingerprint(&key) }),
    }
}

/// `SHA256:` and base64, as `ssh-keygen -l` shows a key.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Kind and base64, without a comment.
fn one_line(key: &PublicKey) -> Result<String, ssh_key::Error> {
    PublicKey::from(key.key_data().clone()).to_openssh()
}

/// RSA is not: the only library for it has an open advisory.
fn is_checkable(algorithm: &Algorithm) -> bool {
    is_signing(algorithm) || matches!(algorithm, Algorithm::SkEd25519)
}

/// Kinds of keys that sign here. Keys on hardware want a touch, which no scheduler gives.
fn is_signing(algorithm: &Algorithm) -> bool {
    let curves = [EcdsaCurve::NistP256, EcdsaCurve::NistP384];
    matches!(algorithm, Algorithm::Ed25519) || matches!(algorithm, Algorithm::Ecdsa { curve } if curves.contains(curve))
}

/// Whether a manifest's `signer.public_key` is this key.
pub fn is_named(public_key: &str, key: &PublicKey) -> bool {
    PublicKey::from_openssh(public_key).is_ok_and(|named| named.key_data() == key.key_data())
}

#[cfg(test)]
mod tests;
