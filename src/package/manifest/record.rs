//! What a package was made from, by which runs of which tool.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::source::SourceKind;

use super::ResolvedSpec;
use super::SkipCode;
use super::evidence::ColumnRedaction;
use super::json::Instant;
use crate::digest::sha256;
use crate::json::{self, JsonError};
use crate::source::{Input, SkippedInput, Version};

/// One column of the shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in the shards.
    pub name: String,
    /// Its type, in the words of a catalog's `schema`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it can be null.
    pub nullable: bool,
    /// What the spec does to its values; one entry a path, where paths inside the column are redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redaction: Vec<ColumnRedaction>,
}

/// The spec, as written and as resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecRecord {
    /// As the user named it.
    pub path: String,
    /// Lower-case hex SHA-256 of its text.
    pub sha256: String,
    /// The last commit of it, where it is in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// Where it is in git: whether its text is another than that of the last commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_dirty: Option<bool>,
    /// The resolved spec merged with its catalog entry and window: what the job's id is the digest of.
    #[schemars(with = "Value")]
    pub resolved: ResolvedSpec,
}

/// Where the rows came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// What kind of source it is. Releases that knew only files did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SourceKind>,
    /// The source as the plan resolved it, without secrets; a list where it has several URIs.
    pub uri: SourceUris,
    /// The snapshot that all rows were read from, as the source names it. Files have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Its files, in the order that their rows have.
    pub files: Vec<InputRecord>,
    /// Lower-case hex SHA-256 of the canonical JSON (RFC 8785) of `files`, to note and to compare with other packages'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub files_sha256: Option<String>,
    /// How many files were taken at their word: `path_time` says of their names that they hold no row of the window, so they
    /// were not read. Left out where the source has no `path_time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_by_path_time: Option<u64>,
    /// Where files or rows disagreed about the schema, and how the disagreement was resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// Keys of the objects around the rows of JSON documents, by their paths, which are not exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unexported_keys: Vec<String>,
}

/// URIs of a source: text for one, else a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SourceUris {
    /// The only one.
    One(String),
    /// In the order of the spec.
    Several(Vec<String>),
}

impl SourceUris {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(uri) => std::slice::from_ref(uri),
            Self::Several(uris) => uris,
        }
    }
}

impl FromIterator<String> for SourceUris {
    fn from_iter<T: IntoIterator<Item = String>>(uris: T) -> Self {
        match <[String; 1]>::try_from(uris.into_iter().collect::<Vec<_>>()) {
            Ok([uri]) => Self::One(uri),
            Err(uris) => Self::Several(uris),
        }
    }
}

impl From<&str> for SourceUris {
    fn from(uri: &str) -> Self {
        Self::One(uri.to_owned())
    }
}

impl SourceRecord {
    /// What `files_sha256` has to be; `None` where there are no files.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn digest_of_files(files: &[InputRecord]) -> Result<Option<String>, JsonError> {
        if files.is_empty() {
            return Ok(None);
        }
        Ok(Some(sha256(&json::canonical(&files, "`source.files`")?)))
    }

    /// Number of files that were read.
    pub fn files_read(&self) -> usize {
        self.files.iter().filter(|file| file.skipped.is_none()).count()
    }
}

/// One input of the source, with its identity when the job was planned: a file, or a slice of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputRecord {
    /// Of a file, relative to the folder of its URI; where the source has several, that folder as the spec writes it comes first.
    pub path: String,
    /// Size; left out where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Modification time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub mtime: Option<Timestamp>,
    /// The version's ETag in the object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The snapshot of a table that the rows were read from, as the database names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Number of rows, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Why the file was not read. Its rows are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_code: Option<SkipCode>,
    /// Set if the input could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<InputError>,
}

impl InputRecord {
    /// The record of an input that is read.
    pub fn new(input: &Input) -> Self {
        let (mtime, etag, snapshot) = match input.version() {
            Version::Stat { modified } => (Some(modified), None, None),
            Version::Etag(etag) => (None, Some(etag.to_owned()), None),
            Version::Snapshot(snapshot) => (None, None, Some(snapshot.to_owned())),
        };
        Self {
            path: input.name().to_owned(),
            bytes: input.bytes(),
            mtime,
            etag,
            snapshot,
            rows: None,
            skipped: None,
            skip_code: None,
            error: None,
        }
    }

    /// The record of an input that is not read.
    pub fn skipped(input: &SkippedInput) -> Self {
        Self {
            path: input.name.clone(),
            bytes: Some(input.bytes),
            mtime: None,
            etag: None,
            snapshot: None,
            rows: None,
            skipped: Some(input.reason.clone()),
            skip_code: Some(input.code),
            error: None,
        }
    }

    /// Whether it names the same state of the same input, whatever was found when it was read.
    pub fn is_same_version(&self, other: &Self) -> bool {
        let version = |record: &Self| {
            let Self { path, bytes, mtime, etag, snapshot, .. } = record.clone();
            (path, bytes, mtime, etag, snapshot)
        };
        version(self) == version(other)
    }
}

/// Why an input could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputError {
    /// For programs.
    pub code: crate::error::ErrorCode,
    /// For people.
    pub message: String,
}

/// Another package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageRef {
    /// Its job.
    pub id: String,
    /// Lower-case hex SHA-256 of its manifest.
    pub sha256: String,
}

/// What a revision changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restatement {
    /// 2 for the first package that supersedes another.
    pub revision: u32,
    /// Every partition, in order.
    pub partitions: Vec<RestatedPartition>,
}

/// The rows of a partition before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestatedPartition {
    /// Name of its folder below `data/`.
    pub label: String,
    /// Rows in the superseded package.
    pub rows_before: u64,
    /// Rows in this one.
    pub rows_after: u64,
}

/// One attempt at the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Id of the run.
    pub run_id: String,
    /// When it started.
    #[schemars(with = "Instant")]
    pub started_at: Timestamp,
    /// When it ended; null if its end was not recorded.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Option<Instant>")]
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: RunOutcome,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// The job was complete.
    Complete,
    /// The job was partial.
    Partial,
    /// The job failed.
    Failed,
    /// The job was cancelled.
    Cancelled,
    /// A signal stopped it.
    Interrupted,
    /// It ended with a failure that may succeed when retried.
    TryLater,
    /// Its end was not recorded: it crashed, or is still running elsewhere.
    Abandoned,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolRecord {
    /// `kt-export`.
    pub name: String,
    /// Its release.
    pub version: String,
    /// The commit that it was built from, if known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub commit: Option<String>,
}
