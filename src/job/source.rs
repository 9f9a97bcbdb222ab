//! Where the rows are, and what is known of their columns.

use std::collections::BTreeMap;

use globset::Glob;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{CsvDialect, KeptField, LinePattern, PartitionBy, RecordsPath};
use crate::diagnostic::{Located, Span};
use crate::store::StoreOptions;
use crate::time::TimeFormat;

/// Where the rows are.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// One or several, in the order of the spec.
    pub uris: Vec<SourceUri>,
    /// How its store is reached.
    pub options: StoreOptions,
    /// Globs of files that are not read, relative to the folder of their URI.
    pub exclude: Vec<Located<Glob>>,
    /// Given, or found for each file from the extension or the content.
    pub format: Option<SourceFormat>,
    /// `k=v` folders become columns. `None` is `auto`: when every file has the same keys.
    pub hive_partitioning: Option<bool>,
    /// What a file's name says of its rows' time.
    pub path_time: Option<PathTime>,
    /// Compression of every file. `None` is `auto`: what the first bytes of a file say, else its extension.
    pub compression: Option<Located<SourceCompression>>,
    /// What is done about a file of 0 bytes in a folder or glob.
    pub on_empty_file: OnEmptyFile,
    /// Dialect of CSV files. `None`: that of RFC 4180.
    pub csv: Option<Located<CsvDialect>>,
    /// What the lines of text files look like. There if `format` is [`SourceFormat::Lines`].
    pub lines: Option<Located<LinePattern>>,
    /// JSON and NDJSON: path of the array of rows inside each document.
    pub records: Option<Located<RecordsPath>>,
    /// Fields around that array that become columns, by name. Not without `records`.
    pub keep: Vec<KeptField>,
    /// Files of a Delta, Iceberg, Hudi or Paimon table are read as plain files, rows that do not count included.
    pub plain_files: bool,
}

/// A file, a folder (recursive) or a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUri {
    /// As written and rendered; a relative path starts at the folder of the file that names it.
    pub written: String,
    /// A path absolute. The span is that of the text in `source.uri`.
    pub absolute: Located<String>,
}

impl SourceUri {
    /// Where it leads, for messages.
    pub(crate) fn as_str(&self) -> &str {
        &self.absolute.value
    }
}

impl SourceSettings {
    /// The URIs, for messages.
    pub(crate) fn uri_text(&self) -> String {
        self.uris.iter().map(SourceUri::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Where the first URI is written, for messages about the source as a whole.
    pub(crate) fn uri_span(&self) -> Option<&Span> {
        self.uris.first().and_then(|uri| uri.absolute.span.as_ref())
    }

    /// The declared compression; `None` means that it is found from each file.
    pub(crate) fn declared_compression(&self) -> Option<SourceCompression> {
        self.compression.as_ref().map(|compression| compression.value)
    }
}

/// Compression of source files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceCompression {
    /// None.
    None,
    /// Any number of members (RFC 1952).
    Gzip,
    /// Any number of frames (RFC 8878).
    Zstd,
    /// Any number of streams.
    Bzip2,
    /// Any number of `.xz` streams.
    Xz,
    /// Any number of frames of the LZ4 frame format.
    Lz4,
}

impl SourceCompression {
    /// The compression that a lower-case extension names.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "gz" | "gzip" => Self::Gzip,
            "zst" | "zstd" => Self::Zstd,
            "bz2" | "bzip2" => Self::Bzip2,
            "xz" => Self::Xz,
            "lz4" => Self::Lz4,
            _ => return None,
        })
    }

    /// The compression that the first bytes of a file prove; `None` if they match no known format. Skippable frames, which zstd
    /// and LZ4 share, prove nothing.
    ///
    /// Magic numbers: RFC 1952, 2.3.1; RFC 8878, 3.1.1; the LZ4 frame format 1.6.4; the .xz file format 1.2.1, 2.1.1.1; the
    /// bzip2 block magic, the digits of pi, follows the level, so that no text is taken for bzip2.
    pub(crate) fn of_content(head: &[u8]) -> Option<Self> {
        Some(match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            _ => return None,
        })
    }
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
    /// Comma-separated values with a header, or another dialect.
    Csv,
    /// Lines of text, which a regular expression cuts into columns.
    Lines,
    /// Arrow IPC file or stream.
    Arrow,
    /// Avro object container file.
    Avro,
}

impl SourceFormat {
    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Ndjson => "NDJSON",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Lines => "lines",
            Self::Arrow => "Arrow IPC",
            Self::Avro => "Avro",
        }
    }

    /// Its name without what tells it from its relatives.
    pub fn short_name(self) -> &'static str {
        if self == Self::Arrow { "Arrow" } else { self.name() }
    }

    /// Whether rows stand one after the other as text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Ndjson | Self::Json | Self::Csv | Self::Lines)
    }

    /// Whether rows may be inside documents.
    pub(crate) fn has_envelopes(self) -> bool {
        matches!(self, Self::Ndjson | Self::Json)
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
    /// Source column or path; a name for the joined values if there are `parts`.
    pub column: Located<String>,
    /// Columns or paths that make the time together; empty if it is in one column.
    pub parts: Vec<Located<String>>,
    /// How they make it.
    pub combination: Combination,
    /// How it is written.
    pub format: TimeFormat,
    /// For times without a zone.
    pub timezone: TimeZone,
    /// Offsets of zone abbreviations, as `%z` reads them.
    pub zones: BTreeMap<String, String>,
}

/// How several columns make one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combination {
    /// Their texts are joined by one space.
    #[default]
    Joined,
    /// The first of them that has a value counts.
    First,
}

impl TimeColumn {
    /// The columns or paths that hold the time.
    pub fn sources(&self) -> &[Located<String>] {
        if self.parts.is_empty() { std::slice::from_ref(&self.column) } else { &self.parts }
    }
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
