//! `tombstone.json`: that a package has no shards any more, and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Manifest;

/// Name of the tombstone in a package.
pub const TOMBSTONE: &str = "tombstone.json";

/// What a package says of shards whose retention was over. It is not signed: what it says counts only where the
/// manifest agrees ([`Tombstone::of`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// 1.
    pub tombstone_version: u32,
    /// The job.
    pub id: String,
    /// When its retention was over.
    pub expires_at: Timestamp,
    /// When its shards were deleted.
    pub pruned_at: Timestamp,
    /// How many were to be deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that the store did not let go: Object Lock, a legal hold, or credentials that may not delete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

impl Tombstone {
    /// Reads one, if it is about this manifest's job and not from before its retention was over.
    pub fn of(manifest: &Manifest, bytes: &[u8]) -> Option<Self> {
        let tombstone: Self = serde_json::from_slice(bytes).ok()?;
        let is_ours = tombstone.tombstone_version == 1
            && tombstone.id == manifest.id
            && manifest.expires_at.is_some_and(|at| at == tombstone.expires_at && at <= tombstone.pruned_at);
        is_ours.then_some(tombstone)
    }
}
