//! The files of a package, as the manifest lists them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json::Instant;
use super::record::Column;
use super::sealed::SealedFacts;
use crate::error::ErrorCode;
use crate::rows_digest::RowsDigest;

/// One shard, or the reason why a partition has none.
///
/// A partition that failed or was not tried has one entry: `path` is the path that its first part would have, `rows` and
/// `bytes` are 0, and `sha256` is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Name in the package, such as `data/2026-03-01/part-0000.csv.zst`.
    pub path: String,
    /// Status of the shard.
    pub status: FileStatus,
    /// The partition that it belongs to.
    pub partition: ManifestPartition,
    /// Rows in it.
    pub rows: u64,
    /// Size as stored.
    pub bytes: u64,
    /// Lower-case hex SHA-256 of the bytes as stored.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Size before encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
    /// Lower-case hex SHA-256 of the bytes before encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_sha256: Option<String>,
    /// Digest of its rows as a multiset, `rows-v1:` and a number of 768 hexadecimal digits; the manifest's is made of the
    /// product of those of all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<String>,
    /// Where the file is encrypted and `encryption` says `digests: sealed`: `plain_bytes`, `plain_sha256`, `rows_digest`,
    /// `min_time` and `max_time`, for those who can read it. They stand nowhere else then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedFacts>,
    /// Earliest time of its rows; null where it has none, or it is sealed.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Option<Instant>")]
    pub min_time: Option<Timestamp>,
    /// Latest time of its rows; null where it has none, or it is sealed.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Option<Instant>")]
    pub max_time: Option<Timestamp>,
    /// Number of runs that tried it.
    pub attempts: u32,
    /// When the last attempt started.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Option<Instant>")]
    pub started_at: Option<Timestamp>,
    /// When it was committed, or failed.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Option<Instant>")]
    pub finalized_at: Option<Timestamp>,
    /// Why it is not complete.
    #[serde(deserialize_with = "Option::deserialize")]
    pub error_code: Option<ErrorCode>,
    /// Why it is not complete, as a message.
    #[serde(deserialize_with = "Option::deserialize")]
    pub error: Option<String>,
}

/// Status of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ShardStatus)]
pub enum FileStatus {
    /// Not tried.
    Pending,
    /// Being written; never in a manifest.
    Running,
    /// Every row is in it.
    Complete,
    /// Every readable row is in it, and rows that may belong to it were rejected.
    Partial,
    /// The partition failed and has no shard.
    Failed,
}

impl FileStatus {
    /// The word as it stands in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }

    /// Whether there is a file to read.
    pub fn has_file(self) -> bool {
        matches!(self, Self::Complete | Self::Partial)
    }
}

impl std::fmt::Display for FileStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A half-open slice of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestPartition {
    /// Name of its folder below `data/`.
    pub label: String,
    /// First instant inside.
    #[schemars(with = "Instant")]
    pub start: Timestamp,
    /// First instant after.
    #[schemars(with = "Instant")]
    pub end: Timestamp,
}

/// A file below `rejects/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectsEntry {
    /// Name in the package.
    pub path: String,
    /// Rejected rows in it.
    pub rows: u64,
    /// Size as stored.
    pub bytes: u64,
    /// Lower-case hex SHA-256 of the bytes as stored.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Size before encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
    /// Lower-case hex SHA-256 of the bytes before encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_sha256: Option<String>,
    /// As in `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedFacts>,
}

/// The digest of all rows, from those of the files. `None` where one that is there has none that can be read.
pub fn rows_digest(columns: &[Column], files: &[FileEntry]) -> Option<String> {
    let mut all = RowsDigest::default();
    for file in files.iter().filter(|file| file.status.has_file()) {
        all.combine(&file.rows_digest.as_ref()?.parse().ok()?);
    }
    Some(all.of_package(columns.iter().map(|column| column.name.as_str()), Totals::of(files).rows))
}

/// Sums over the entries of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// `total_rows`.
    pub rows: u64,
    /// `total_bytes`.
    pub bytes: u64,
    /// `partial_count`.
    pub partial: u64,
    /// `failed_count`.
    pub failed: u64,
}

impl Totals {
    /// Adds up.
    pub fn of(files: &[FileEntry]) -> Self {
        files.iter().fold(Self::default(), |sum, file| Self {
            rows: sum.rows.saturating_add(file.rows),
            bytes: sum.bytes.saturating_add(file.bytes),
            partial: sum.partial + u64::from(file.status == FileStatus::Partial),
            failed: sum.failed + u64::from(file.status == FileStatus::Failed),
        })
    }
}
