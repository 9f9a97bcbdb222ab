//! The package's record of itself: what was exported, from what, and that nothing is missing.
//!
//! These are wire types: the names and the order of their fields are a contract with auditors' tools. Reading refuses
//! unknown fields and unknown versions, because a record that is understood by half proves nothing. A field that can
//! be `null` is always written; one that only some packages have is left out in the others. Equal manifests have equal
//! bytes: keys stand in the order of the types, in free-form values in alphabetical order.

mod entry;
mod evidence;
mod json;
mod no_rows;
mod record;
mod resolved;
mod sealed;
mod sums;
mod tombstone;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ErrorCode;
use crate::export_format::{ExportCompression, ExportFormat};
use json::Instant;

pub use crate::source::skip::SkipCode;
pub use entry::{FileEntry, FileStatus, ManifestPartition, RejectsEntry, Totals, rows_digest};
pub use evidence::{ColumnRedaction, EncryptionRecord, Expectation, FilterCount, LinkRecord, SignerRecord, seconds};
pub(crate) use json::from_versioned;
pub use json::{ManifestError, json_schema};
pub use no_rows::{HeldValues, NoRows, NoRowsReason};
pub use record::{
    Column, InputError, InputRecord, PackageRef, RestatedPartition, Restatement, RunOutcome, RunRecord, SourceKind,
    SourceRecord, SourceUris, SpecRecord, ToolRecord,
};
pub(crate) use resolved::is_name_of;
pub use resolved::{ResolvedEncryption, ResolvedError, ResolvedSpec, ResolvedWindow, SelectedColumn};
pub use sealed::{Facts, SealedFacts};
pub use sums::sha256sums;
pub use tombstone::{CLOCK_SKEW, TOMBSTONE, TOMBSTONE_SIGNATURE, TOMBSTONE_VERSION, Tombstone, is_in_future};

/// The version that is written, and the only one that is read.
pub const MANIFEST_VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "kt-export package manifest")]
pub struct Manifest {
    /// Version of this format.
    #[schemars(extend("const" = MANIFEST_VERSION))]
    pub manifest_version: u32,
    /// The job: `job_` and 26 lower-case base32 characters of the SHA-256 of the canonical JSON (RFC 8785) of
    /// `spec.resolved`.
    #[schemars(regex(pattern = r"^job_[a-z2-7]{26}$"))]
    pub id: String,
    /// The spec's name.
    pub name: String,
    /// The export type, such as `events`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How the job ended.
    pub status: JobStatus,
    /// Format of the shards.
    pub export_format: ExportFormat,
    /// Compression of the shards.
    pub compression: ExportCompression,
    /// When the job's first run planned it.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
    /// First instant inside the window.
    #[schemars(with = "Instant")]
    pub window_start: Timestamp,
    /// First instant after the window.
    #[schemars(with = "Instant")]
    pub window_end: Timestamp,
    /// The window's calendar name, such as `2026-03`.
    pub window_label: String,
    /// IANA name of the zone that the window and its partitions are cut in.
    pub timezone: String,
    /// When the run that wrote this manifest started.
    #[schemars(with = "Instant")]
    pub started_at: Timestamp,
    /// When this manifest was written.
    #[schemars(with = "Instant")]
    pub finalized_at: Timestamp,
    /// `finalized_at` plus the spec's retention.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Option<Instant>")]
    pub expires_at: Option<Timestamp>,
    /// Sum of `rows` over `files`.
    pub total_rows: u64,
    /// Sum of `bytes` over `files`.
    pub total_bytes: u64,
    /// Number of `files` that are partial.
    pub partial_count: u64,
    /// Number of `files` that failed.
    pub failed_count: u64,
    /// Why the job as a whole is not complete, if no single file's error explains it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub error_code: Option<ErrorCode>,
    /// The spec's filters, by source column; a value compared with a redacted column is `{"redacted_sha256": …}`, the
    /// first 16 hex digits of the SHA-256 of its canonical JSON (RFC 8785).
    #[serde(serialize_with = "json::sorted")]
    pub filters: Value,
    /// The spec's SQL condition; where it may name a redacted column `redacted_sha256:` and the first 16 hex digits of
    /// its SHA-256.
    #[serde(rename = "where", deserialize_with = "Option::deserialize")]
    pub where_sql: Option<String>,
    /// The columns of the shards, in order.
    pub columns: Vec<Column>,
    /// Source columns that the spec's `redact` drops: they are in no shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The spec that requested the package.
    pub spec: SpecRecord,
    /// Every file that the job looked at.
    pub source: SourceRecord,
    /// Where every row of the source went.
    pub accounting: Accounting,
    /// Rows that each filter dropped, in the order of the spec, `where` last. A row counts at the first filter that it fails,
    /// so the sum is `accounting.filtered_out`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter_counts: Vec<FilterCount>,
    /// Digest of all rows as a multiset, the same in every format, order and partitioning: `rows-v1:sha256:` and the SHA-256
    /// of the columns' names, the number of rows, and the product of the files' digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<String>,
    /// Why there are no rows, if no shard has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_rows: Option<NoRows>,
    /// One entry per shard, in the order of partition and part. A partition without a shard has one entry that says why.
    pub files: Vec<FileEntry>,
    /// Rejects files: rows that could not be read or placed in a partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejects: Vec<RejectsEntry>,
    /// How shards are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionRecord>,
    /// The spec's expectations, and whether they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expectations: Option<Vec<Expectation>>,
    /// The package before this one in the spec's chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PackageRef>,
    /// Its link in the spec's chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkRecord>,
    /// Who signs this manifest, in `manifest.json.sig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerRecord>,
    /// The package of the same window that this revision supersedes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<PackageRef>,
    /// What changed since that package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restatement: Option<Restatement>,
    /// All known runs of the job, in order.
    pub runs: Vec<RunRecord>,
    /// The program that wrote it.
    pub tool: ToolRecord,
}

impl Manifest {
    /// Public names of the keys that pseudonyms in the shards were made with, by redacted path. None without shards.
    pub fn key_ids(&self) -> BTreeMap<String, String> {
        let has_shards = self.files.iter().any(|file| file.status.has_file());
        let redactions = self.columns.iter().filter(|_| has_shards).flat_map(|column| &column.redaction);
        redactions.filter_map(|redaction| Some((redaction.path.clone(), redaction.key_id.clone()?))).collect()
    }
}

/// How a job ended. A job that has not ended has no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Every row of the window is in a shard.
    Complete,
    /// Some partitions failed, rows were rejected or an expectation does not hold.
    Partial,
    /// No partition is usable, or the run as a whole failed.
    Failed,
    /// The job was cancelled.
    Cancelled,
}

impl JobStatus {
    /// The word as it stands in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where every row of the source went: `source_rows = rejected + null_time + outside_window + filtered_out + written`,
/// counted in that order, each row once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accounting {
    /// Rows of all files that were not skipped.
    pub source_rows: u64,
    /// Rows whose time is outside the window.
    pub outside_window: u64,
    /// Rows inside the window that a filter dropped.
    pub filtered_out: u64,
    /// Rows without a time.
    pub null_time: u64,
    /// Rows that could not be read.
    pub rejected: u64,
    /// Rows whose local time exists twice or never in its zone. They are counted among the others, too.
    pub ambiguous_time: u64,
    /// Rows in shards.
    pub written: u64,
}

impl Accounting {
    /// What is accounted for; equal to `source_rows` when the books balance. Wide enough never to overflow.
    pub fn accounted_rows(&self) -> u128 {
        [self.rejected, self.null_time, self.outside_window, self.filtered_out, self.written]
            .into_iter()
            .map(u128::from)
            .sum()
    }
}

#[cfg(test)]
pub(crate) mod tests;
