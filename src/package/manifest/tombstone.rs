//! `tombstone.json`: that the shards of a package were deleted when its retention was over, and who says so.
//!
//! Nobody may be able to hide a deletion by writing one, so a tombstone counts only where it agrees with the manifest and
//! the clock, and carries what the manifest carries: a signature where the package is signed, a link where it is chained.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::json::from_versioned;
use super::{LinkRecord, Manifest, ManifestError, SignerRecord};
use crate::json::{self, JsonError};

/// Name of the tombstone in a package.
pub const TOMBSTONE: &str = "tombstone.json";

/// Name of the tombstone's signature in a package.
pub const TOMBSTONE_SIGNATURE: &str = "tombstone.json.sig";

/// The version that is written, and the only one that is read.
pub const TOMBSTONE_VERSION: u32 = 1;

/// By how much two clocks may differ before a time counts as one in the future: what Kerberos allows as well (RFC 4120,
/// section 3.1.3, five minutes in practice).
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Whether a time is in the future, and not only by another machine's clock.
pub fn is_in_future(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > CLOCK_SKEW
}

/// What a package says of its deleted shards. Written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// [`TOMBSTONE_VERSION`].
    pub tombstone_version: u32,
    /// The job.
    pub id: String,
    /// Lower-case hex SHA-256 of the manifest that the shards belonged to.
    pub manifest_sha256: String,
    /// When its retention period ended.
    pub expires_at: Timestamp,
    /// When its shards were deleted.
    pub pruned_at: Timestamp,
    /// Shards and rejects that were there to be deleted. A store may have kept some: Object Lock, a legal hold.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Its link in the chain, if the package is chained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkRecord>,
    /// Who signs it, in `tombstone.json.sig`, if the package is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerRecord>,
}

impl Tombstone {
    /// Pretty JSON, newline at the end.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn to_json_bytes(&self) -> Result<Vec<u8>, JsonError> {
        json::pretty(self, TOMBSTONE)
    }

    /// Reads a tombstone strictly.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        from_versioned(bytes, "tombstone_version", TOMBSTONE_VERSION)
    }

    /// Why it excuses no missing shard of this package, as far as signature and chain need not be read. Empty where
    /// it does.
    pub fn faults(&self, manifest: &Manifest, manifest_sha256: &str, now: Timestamp) -> Vec<String> {
        let mut faults = Vec::new();
        if self.id != manifest.id || self.manifest_sha256 != manifest_sha256 {
            faults.push(format!(
                "is about another package: {} with the manifest {}",
                self.id,
                self.manifest_sha256.escape_debug()
            ));
        }
        match manifest.expires_at {
            None => faults.push("says that the retention was over, but the manifest has no `expires_at`".to_owned()),
            Some(at) if at != self.expires_at => {
                faults.push(format!(
                    "says that the retention was over at {}, but the manifest says {at}",
                    self.expires_at
                ));
            }
            Some(at) if self.pruned_at < at => {
                faults.push(format!(
                    "says that shards were deleted at {}, before {at}, when the retention is over",
                    self.pruned_at
                ));
            }
            Some(_) => {}
        }
        if is_in_future(self.pruned_at, now) {
            faults.push(format!(
                "says that shards were deleted at {}, which is in the future: it is {now}",
                self.pruned_at
            ));
        }
        match (&manifest.signer, &self.signer) {
            (Some(_), None) => {
                faults.push("is not signed, but the package is: anyone could have written it".to_owned());
            }
            (Some(of_package), Some(signer)) if of_package.identity != signer.identity => {
                faults.push(format!(
                    "is signed by {}, but the package by {}",
                    signer.identity.escape_debug(),
                    of_package.identity.escape_debug()
                ));
            }
            _ => {}
        }
        match (&manifest.link, &self.link) {
            (Some(_), None) => faults.push("has no place in the chain, but the package has".to_owned()),
            (None, Some(_)) => faults.push("has a place in a chain, but the package has none".to_owned()),
            _ => {}
        }
        faults
    }
}
