//! A job: one spec merged with its catalog entry, its window resolved, its templates rendered.
//!
//! Nothing is left to default here. Values that a later phase can still find wrong (a column that the
//! source does not have) keep their place in the spec, so that the message can show it.

mod csv_dialect;
mod csv_format;
mod envelope;
mod evidence;
mod filter;
mod line_pattern;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Located, SourceText};
use crate::export_format::{ExportCompression, ExportFormat};
use crate::store::Location;

pub use csv_dialect::{CsvDialect, Delimiter, Header, HeaderNames, LastLine, ShortRows};
pub use csv_format::{CsvFormat, DialectFault, is_formula};
pub use envelope::{Envelope, EnvelopePathError, KeptField, KeptFieldError, PathStep, RecordsPath};
pub use evidence::{Chain, Digests, Encryption, Expectations, RecipientsFile, Redaction, RedactionMethod, Signing};
pub use filter::{Condition, Filter, Scalar};
pub use line_pattern::{LineMatcher, LinePattern, LinePatternError};
pub use source::{
    Combination, DeclaredType, ExpectedFiles, OnEmptyFile, PathTime, SchemaDrift, SourceCompression, SourceFormat,
    SourceSettings, SourceUri, TimeColumn,
};

/// One spec with its window resolved.
#[derive(Debug, Clone)]
pub struct Job {
    /// `job_` and 26 base32 characters of the SHA-256 of [`Job::canonical`].
    pub id: String,
    /// The spec's name.
    pub name: String,
    /// The export type.
    pub type_name: String,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub labels: BTreeMap<String, String>,
    /// When.
    pub window: Window,
    /// How the window is cut.
    pub partition: Partitioning,
    /// Where the rows are.
    pub source: SourceSettings,
    /// Which column is the time, and how it is written.
    pub time: TimeColumn,
    /// The column that names a row, if any.
    pub id_column: Option<Located<String>>,
    /// Source columns of filters, by filter name.
    pub fields: BTreeMap<String, Located<String>>,
    /// Declared column types.
    pub schema: Vec<(Located<String>, DeclaredType)>,
    /// What happens when files disagree.
    pub on_schema_drift: SchemaDrift,
    /// Conditions that must all hold, names already mapped to source columns.
    pub filters: Vec<Filter>,
    /// One SQL condition.
    pub where_sql: Option<Located<String>>,
    /// Selected columns in order; `None` means all, in source order.
    pub columns: Option<Vec<ColumnChoice>>,
    /// What is done to values before they are written.
    pub redactions: Vec<Redaction>,
    /// Order of rows within a partition.
    pub order: Order,
    /// File format and its options.
    pub format: Format,
    /// Compression of shards.
    pub compression: Compression,
    /// A window that ends later than now minus this is not settled: the caller says "try later" …
    pub settle: SignedDuration,
    /// … unless this is true.
    pub allow_open: bool,
    /// The package folder; a local one absolute.
    pub output: Location,
    /// `expires_at - finalized_at` in the manifest.
    pub retention: Option<SignedDuration>,
    /// How shards and rejects are encrypted.
    pub encryption: Option<Encryption>,
    /// Who signs the manifest.
    pub signing: Option<Signing>,
    /// Where packages of the spec are linked.
    pub chain: Option<Chain>,
    /// What must hold of the result.
    pub expectations: Option<Expectations>,
    /// Whether a digest of the rows, the same in every format, is computed.
    pub rows_digest: bool,
    /// When a partition fails.
    pub on_partition_error: OnPartitionError,
    /// When a row cannot be read.
    pub on_bad_rows: OnBad,
    /// When a row has no time.
    pub on_null_time: OnBad,
    /// The resolved spec merged with its catalog entry, without description and labels, plus the window and revision,
    /// as JSON: what the id is the digest of, and what the manifest records as `spec.resolved`.
    pub canonical: serde_json::Value,
    /// What `vars` declares, with its values: what `--var` may set.
    pub vars: BTreeMap<String, String>,
    /// The spec's text.
    pub spec_source: Arc<SourceText>,
    /// The catalog's text, if there is one.
    pub catalog_source: Option<Arc<SourceText>>,
}

/// A retention that ends after the last instant that can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the retention of a package that is finished at {finalized_at:.0} ends after the year 9999")]
pub struct RetentionTooLong {
    finalized_at: Timestamp,
}

impl Job {
    /// The type that `schema` declares for a column or path.
    pub(crate) fn declared_type(&self, name: &str) -> Option<DeclaredType> {
        self.schema.iter().find(|(declared, _)| declared.value == name).map(|(_, declared)| *declared)
    }

    /// The SQL condition as recorded: a digest if it may name a redacted column.
    pub fn recorded_where(&self) -> Option<String> {
        Some(self.canonical.get("where")?.as_str()?.to_owned())
    }

    /// When the shards of a package that is finished at `finalized_at` may be deleted; `None` without a retention.
    ///
    /// # Errors
    /// [`RetentionTooLong`].
    pub fn expires_at(&self, finalized_at: Timestamp) -> Result<Option<Timestamp>, RetentionTooLong> {
        let end = |retention| finalized_at.checked_add(retention).map_err(|_| RetentionTooLong { finalized_at });
        self.retention.map(end).transpose()
    }

    /// Whether messages must not show values or exact times of rows. They end up in the manifest, the report, `_state/` and
    /// the terminal, all of which are readable even if the shards are encrypted.
    pub fn withholds_values(&self) -> bool {
        self.withholds_rejected_rows() || self.encryption.is_some()
    }

    /// Whether rejects files must not show values of rows: an unreadable row may have a redacted value anywhere. Encrypted
    /// rejects files may show them.
    pub fn withholds_rejected_rows(&self) -> bool {
        !self.redactions.is_empty()
    }
}

/// A half-open interval of time with its calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// First instant inside; a whole number of microseconds.
    pub start: Timestamp,
    /// First instant after; a whole number of microseconds.
    pub end: Timestamp,
    /// Calendar name, see the spec reference.
    pub label: String,
    /// The zone that days are cut in.
    pub timezone: TimeZone,
}

/// How the window is cut into partitions and partitions into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitioning {
    /// The calendar unit.
    pub by: PartitionBy,
    /// A new part after so many rows.
    pub max_rows: Option<u64>,
    /// A new part after so many encoded bytes before compression.
    pub max_bytes: Option<u64>,
}

/// Calendar unit of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartitionBy {
    /// One partition for the whole window.
    None,
    /// Hours, cut in UTC-aligned instants of the zone's clock.
    Hour,
    /// Days of the zone.
    #[default]
    Day,
    /// ISO 8601 weeks.
    Week,
    /// Months.
    Month,
    /// Quarters.
    Quarter,
    /// Years.
    Year,
}

/// One selected column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnChoice {
    /// Source column.
    pub source: Located<String>,
    /// Its name in the shards, if given. Without it, a column keeps its name, and a path has that of its last key.
    pub output: Option<String>,
}

/// Order of rows within a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Source path, then position in the file.
    #[default]
    Source,
    /// Time, then id, then source order.
    Time,
}

/// Format of shards, with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180.
    Csv(CsvFormat),
    /// One JSON object a line.
    Ndjson(Absent),
    /// One JSON array.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// What objects have for keys that a row does not have. Such values are null, as those that are null in the source: columns do
/// not tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absent {
    /// Null: each object has every key.
    #[default]
    Fill,
    /// Nothing: no object, nested or not, has a key whose value is null.
    Omit,
}

impl Format {
    /// NDJSON in which each object has every key.
    pub const NDJSON: Self = Self::Ndjson(Absent::Fill);

    /// The format without its options.
    pub fn kind(&self) -> ExportFormat {
        match self {
            Self::Csv(_) => ExportFormat::Csv,
            Self::Ndjson(_) => ExportFormat::Ndjson,
            Self::Json => ExportFormat::Json,
            Self::Parquet => ExportFormat::Parquet,
        }
    }

    /// Word in specs and manifests, and extension of shards.
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// Where the spec has no `format`.
impl Default for Format {
    fn default() -> Self {
        Self::Csv(CsvFormat::default())
    }
}

/// Compression of shards, with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As encoded.
    None,
    /// RFC 1952, level 1–9.
    Gzip(u32),
    /// RFC 8878, level 1–22.
    Zstd(i32),
    /// Parquet pages.
    Snappy,
    /// Parquet pages (LZ4_RAW).
    Lz4,
}

impl Compression {
    /// The compression without its level.
    pub fn kind(self) -> ExportCompression {
        match self {
            Self::None => ExportCompression::None,
            Self::Gzip(_) => ExportCompression::Gzip,
            Self::Zstd(_) => ExportCompression::Zstd,
            Self::Snappy => ExportCompression::Snappy,
            Self::Lz4 => ExportCompression::Lz4,
        }
    }
}

/// When a partition fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPartitionError {
    /// The others go on.
    #[default]
    Continue,
    /// The rest stay pending.
    Stop,
}

/// When a row cannot be read or placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBad {
    /// Its partitions fail.
    #[default]
    Fail,
    /// It goes to `rejects/`, is counted, and its partitions are `partial`.
    Reject,
}
