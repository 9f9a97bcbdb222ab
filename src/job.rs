//! A job: one spec merged with its catalog entry, its window resolved, its templates rendered.
//!
//! Nothing is left to default here. Values that a later phase can still find wrong (a column that the
//! source does not have) keep their place in the spec, so that the message can show it.

mod csv_format;
mod evidence;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Located, SourceText};
use crate::export_format::{ExportCompression, ExportFormat};
use crate::store::{Location, StoreOptions};
use crate::time::TimeFormat;

pub use csv_format::{CsvFormat, DialectFault, is_formula};
pub use evidence::{Chain, Digests, Encryption, Expectations, RecipientsFile, Redaction, RedactionMethod, Signing};

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

/// Where the rows are.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// File, folder (recursive) or glob; a path absolute. The span is that of `source.uri`.
    pub uri: Located<String>,
    /// How its store is reached.
    pub options: StoreOptions,
    /// Given, or found from the extension.
    pub format: Option<SourceFormat>,
    /// `k=v` folders become columns. `None` is `auto`: when every file has the same keys.
    pub hive_partitioning: Option<bool>,
    /// What a file's name says of its rows' time.
    pub path_time: Option<PathTime>,
    /// What is done about a text file of 0 bytes in a folder or glob.
    pub on_empty_file: OnEmptyFile,
    /// JSON: dotted path of the array inside each document.
    pub records: Option<Located<String>>,
    /// Files of a Delta, Iceberg, Hudi or Paimon table are read as plain files, rows that do not count included.
    pub plain_files: bool,
}

/// Format of source files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    Ndjson,
    /// An array of objects, an object with the array inside, or concatenated objects.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Arrow IPC file or stream.
    Arrow,
}

impl SourceFormat {
    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Ndjson => "NDJSON",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Arrow => "Arrow IPC",
        }
    }

    /// Whether rows stand one after the other as text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Ndjson | Self::Json | Self::Csv)
    }
}

/// What a file's name says of its rows' time.
#[derive(Debug, Clone, PartialEq)]
pub struct PathTime {
    /// strftime pattern, matched against the end of the path.
    pub pattern: Located<String>,
    /// How long a file covers from the matched time.
    pub covers: PartitionBy,
    /// How much earlier than that its rows may be.
    pub early: SignedDuration,
    /// How much later than that its rows may be.
    pub late: SignedDuration,
    /// Which files must be there.
    pub expect: Option<ExpectedFiles>,
}

/// What is done about a file of 0 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnEmptyFile {
    /// It is listed and not read.
    #[default]
    Skip,
    /// It fails the partitions that it may have rows of.
    Fail,
}

/// Which files a source must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedFiles {
    /// One for each calendar unit of the window.
    Every,
}

/// The time column.
#[derive(Debug, Clone)]
pub struct TimeColumn {
    /// Source column.
    pub column: Located<String>,
    /// How it is written.
    pub format: TimeFormat,
    /// For times without a zone.
    pub timezone: TimeZone,
}

/// A type declared in `schema:`.
///
/// Written as the variant's name in snake case, or `decimal(12,6)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredType {
    /// true or false.
    Bool,
    /// 8-bit signed.
    Int8,
    /// 16-bit signed.
    Int16,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// 8-bit unsigned.
    Uint8,
    /// 16-bit unsigned.
    Uint16,
    /// 32-bit unsigned.
    Uint32,
    /// 64-bit unsigned.
    Uint64,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Exact decimal, written `decimal(precision,scale)`, precision at most 38.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// A number of any precision, its digits kept as they were written.
    Number,
    /// UTF-8 text.
    Text,
    /// Calendar day.
    Date,
    /// Instant in microseconds, UTC.
    Timestamp,
    /// Text that holds JSON; nested in JSON formats.
    Json,
}

impl DeclaredType {
    /// Names without parameters, and `decimal`, which needs them.
    pub const NAMES: [&'static str; 17] = [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "number",
        "text",
        "date",
        "timestamp",
        "json",
        "decimal",
    ];

    /// Parses a type; `None` if unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "uint8" => Self::Uint8,
            "uint16" => Self::Uint16,
            "uint32" => Self::Uint32,
            "uint64" => Self::Uint64,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            "number" => Self::Number,
            "text" => Self::Text,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            _ => {
                let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                let precision = precision.trim().parse().ok().filter(|p| (1..=38).contains(p))?;
                let scale = scale.trim().parse().ok().filter(|s: &i8| *s >= 0 && s.unsigned_abs() <= precision)?;
                Self::Decimal { precision, scale }
            }
        })
    }
}

impl std::fmt::Display for DeclaredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Number => "number",
            Self::Text => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        })
    }
}

impl schemars::JsonSchema for DeclaredType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = Self::NAMES.iter().filter(|name| **name != "decimal");
        schemars::json_schema!({
            "anyOf": [
                {"enum": names.collect::<Vec<_>>()},
                {"type": "string", "pattern": r"^decimal\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)$"},
            ],
        })
    }
}

/// What happens when files disagree about a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchemaDrift {
    /// The narrowest type that holds every value exactly, else text.
    #[default]
    Widen,
    /// An error.
    Fail,
}

/// One condition on one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Source column, at the place of the filter's key.
    pub column: Located<String>,
    /// The key as written (a filter name or a column).
    pub key: String,
    /// The condition, at the place of the operator or value.
    pub condition: Located<Condition>,
}

impl Filter {
    /// How manifests name it: its key in the spec and the operator, such as `statuses in`. Its values may be secret.
    pub fn name(&self) -> String {
        format!("{} {}", self.key, self.condition.value.operator())
    }
}

/// What must hold of a value. SQL null semantics: only `IsNull` is true or false of a null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Equal to one of a list that is not empty.
    In(Vec<Scalar>),
    /// Equal to none of a list that is not empty.
    NotIn(Vec<Scalar>),
    /// =
    Eq(Scalar),
    /// <>
    Ne(Scalar),
    /// <
    Lt(Scalar),
    /// <=
    Lte(Scalar),
    /// >
    Gt(Scalar),
    /// >=
    Gte(Scalar),
    /// Both ends included.
    Between(Scalar, Scalar),
    /// Substring.
    Contains(String),
    /// Prefix.
    StartsWith(String),
    /// Suffix.
    EndsWith(String),
    /// Rust regular expression, unanchored.
    Matches(String),
    /// Null or not.
    IsNull(bool),
}

impl Condition {
    /// The operator as specs write it.
    pub fn operator(&self) -> &'static str {
        match self {
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Eq(_) => "eq",
            Self::Ne(_) => "ne",
            Self::Lt(_) => "lt",
            Self::Lte(_) => "lte",
            Self::Gt(_) => "gt",
            Self::Gte(_) => "gte",
            Self::Between(..) => "between",
            Self::Contains(_) => "contains",
            Self::StartsWith(_) => "starts_with",
            Self::EndsWith(_) => "ends_with",
            Self::Matches(_) => "matches",
            Self::IsNull(_) => "is_null",
        }
    }
}

/// A value in a filter as YAML 1.2 core reads it. Numbers keep their text, so that no digit is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A plain scalar that is a number, in JSON's notation.
    Number(serde_json::Number),
    /// Anything else.
    Text(String),
}

/// One selected column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnChoice {
    /// Source column.
    pub source: Located<String>,
    /// Its name in the shards.
    pub output: String,
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
    Ndjson,
    /// One JSON array.
    Json,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format without its options.
    pub fn kind(&self) -> ExportFormat {
        match self {
            Self::Csv(_) => ExportFormat::Csv,
            Self::Ndjson => ExportFormat::Ndjson,
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

#[cfg(test)]
mod tests {
    use super::DeclaredType;

    #[test]
    fn every_declared_type_reads_what_it_shows() {
        for name in DeclaredType::NAMES.iter().filter(|n| **n != "decimal") {
            assert_eq!(DeclaredType::parse(name).map(|t| t.to_string()).as_deref(), Some(*name));
        }
        assert_eq!(DeclaredType::parse("decimal(12, 6)").map(|t| t.to_string()).as_deref(), Some("decimal(12,6)"));
        for bad in ["decimal", "decimal(39,0)", "decimal(0,0)", "decimal(3,4)", "decimal(3,-1)", "int", "Int8", ""] {
            assert_eq!(DeclaredType::parse(bad), None, "{bad}");
        }
    }
}
