//! Reads a package's tombstone and checks whether it is valid.
//!
//! One function decides for `verify`, `coverage`, `sample`, `pack`, `jobs prune` and runs that find shards missing, so that
//! they agree. Only `verify` checks whose key signed it, and the chain.

use jiff::Timestamp;
use ssh_key::PublicKey;

use crate::package::layout::{TOMBSTONE, TOMBSTONE_SIGNATURE};

use crate::digest::sha256;
use crate::failure::chain;
use crate::package::manifest::{Manifest, Tombstone};
use crate::signature::{self, SignatureError};
use crate::store::{Folder, StoreError};

/// An existing tombstone, valid or not.
#[derive(Debug)]
pub struct Buried {
    /// The parsed tombstone; `None` if it cannot be parsed.
    pub tombstone: Option<Tombstone>,
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
    /// The key that signed it.
    pub key: Option<PublicKey>,
    /// Why it is invalid, with the file that is wrong; empty if it is valid.
    pub faults: Vec<(&'static str, String)>,
}

impl Buried {
    /// The tombstone, if it is valid.
    pub fn believed(self) -> Option<Tombstone> {
        self.tombstone.filter(|_| self.faults.is_empty())
    }
}

/// Reads the tombstone of a package whose manifest has the digest `manifest_sha256`; `None` if there is none.
///
/// # Errors
/// The store's.
pub fn read(
    folder: &Folder,
    manifest: &Manifest,
    manifest_sha256: &str,
    now: Timestamp,
) -> Result<Option<Buried>, StoreError> {
    let Some(bytes) = folder.read(TOMBSTONE)? else { return Ok(None) };
    let mut buried = Buried { tombstone: None, sha256: sha256(&bytes), key: None, faults: Vec::new() };
    let tombstone = match Tombstone::from_json(&bytes) {
        Ok(tombstone) => tombstone,
        Err(error) => {
            buried.faults.push((TOMBSTONE, format!("cannot be read: {}", chain(&error))));
            return Ok(Some(buried));
        }
    };
    let faults = tombstone.faults(manifest, manifest_sha256, now);
    buried.faults.extend(faults.into_iter().map(|fault| (TOMBSTONE, fault)));
    if let Some(signer) = &tombstone.signer {
        match checked_key(folder, &bytes, &signer.public_key)? {
            Ok(key) => buried.key = Some(key),
            Err(fault) => buried.faults.push((TOMBSTONE_SIGNATURE, fault.to_string())),
        }
    }
    buried.tombstone = Some(tombstone);
    Ok(Some(buried))
}

/// What is wrong with a tombstone's signature, as the predicate of a sentence about it.
#[derive(Debug, thiserror::Error)]
enum BadSigner {
    #[error("is not there, and {TOMBSTONE} says that it is signed")]
    NoSignature,
    #[error("was made by {fingerprint}, but {TOMBSTONE} names another key as its signer's")]
    OtherKey { fingerprint: String },
    #[error("{}", chain(.0))]
    Signature(SignatureError),
}

/// The key that signed these bytes, or why it is not the key that they name.
fn checked_key(folder: &Folder, bytes: &[u8], named: &str) -> Result<Result<PublicKey, BadSigner>, StoreError> {
    let Some(signature) = folder.read(TOMBSTONE_SIGNATURE)? else {
        return Ok(Err(BadSigner::NoSignature));
    };
    Ok(match signature::check(&signature, bytes) {
        Ok(key) if signature::is_named(named, &key) => Ok(key),
        Ok(key) => Err(BadSigner::OtherKey { fingerprint: signature::fingerprint(&key) }),
        Err(error) => Err(BadSigner::Signature(error)),
    })
}
