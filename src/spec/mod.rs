//! The spec as a person wrote it: text to [`Spec`], every mistake located.
//!
//! Nothing is resolved here: what is not written is `None`, and no file is touched. Templates are rendered on
//! the tree, before [`Spec::decode`], so that a value that comes from one is checked like any other.

mod columns;
mod csv_dialect;
mod envelope;
mod evidence;
mod filter;
mod format;
mod output;
mod redact;
mod schema;
mod secret;
mod source;
pub mod template;
mod time;
mod vars;
pub mod window;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;

use crate::diagnostic::{Diagnostic, Located, SourceText, shown};
use crate::job::{
    Absent, ColumnChoice, Encryption, Expectations, Format, OnBad, OnPartitionError, Order, Redaction, Signing,
};
use crate::limits;
use crate::yaml::decode::{Fields, Keys, boolean, integer, text, word};
use crate::yaml::{self, Entry, Kind as NodeKind, Node};

pub use evidence::ChainSpec;
pub use filter::{FilterSpec, OPERATORS};
pub use format::{CSV_KEYS, CompressionSpec};
pub use output::{OutputSpec, OutputUri, PartitionSpec};
pub use source::{SourceSpec, TYPE_ENTRY_KEYS, TypeEntry};
pub use time::TimeSpec;
pub use vars::VarSpec;
pub use window::{WindowForm, WindowSpec};

pub(crate) use format::{check_together, name_of as decode_format_name};
pub(crate) use schema::without_nulls;
pub(crate) use source::document_place;
pub(crate) use time::{time_format_text, zone};
pub(crate) use vars::{decode as decode_vars, values as var_values};

/// What to export: one job for each window.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(title = "kt-export spec", deny_unknown_fields)]
pub struct Spec {
    /// Version of this format: 1.
    #[schemars(with = "schema::VersionOne")]
    pub version: u64,
    /// Name of the export: lower-case letters, digits and `-`.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]*$"), length(max = 255))]
    pub name: Located<String>,
    /// For people; not part of the job's identity.
    pub description: Option<Located<String>>,
    /// For people; not part of the job's identity.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub labels: BTreeMap<String, Located<String>>,
    /// What to export: `events`, `traces`, `escalations`, `audit-log`, `kb-audit`, or a type of the catalog.
    #[schemars(rename = "type")]
    pub type_name: Located<String>,
    /// The catalog; default: the nearest `catalog.yaml`, from the spec's folder up to the repository's root.
    pub catalog: Option<Located<String>>,
    /// What replaces the catalog's entry of the type.
    #[schemars(flatten)]
    pub entry: TypeEntry,
    /// Which rows by time.
    #[schemars(with = "window::WindowSchema")]
    pub window: WindowSpec,
    /// How the window is cut.
    pub partition: Option<PartitionSpec>,
    /// Conditions that must all hold, by filter name or source column.
    #[schemars(with = "Option<BTreeMap<String, FilterSpec>>")]
    pub filters: Vec<FilterSpec>,
    /// One SQL condition over source columns: comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, arithmetic. Never a
    /// template.
    #[schemars(rename = "where")]
    pub where_sql: Option<Located<String>>,
    /// Columns to export, in this order; default: all, in source order.
    #[schemars(with = "Option<Vec<columns::ColumnSchema>>", length(min = 1))]
    pub columns: Option<Vec<ColumnChoice>>,
    /// What is done to values before they are written, by source column or nested path (`metadata.user.email`).
    #[schemars(with = "Option<BTreeMap<String, redact::MethodSchema>>")]
    pub redact: Vec<Redaction>,
    /// Order of rows within a partition: `source` (default): source path, then position in the file; `time`: by time,
    /// then id.
    pub order: Option<Order>,
    /// Format of the shards; default csv.
    #[schemars(with = "Option<format::FormatSchema>")]
    pub format: Option<Located<Format>>,
    /// Compression of the shards; default zstd (level 3, Parquet 1). Parquet: zstd, snappy, lz4, none. Others: zstd, gzip, none.
    #[schemars(with = "Option<format::CompressionSchema>")]
    pub compression: Option<Located<CompressionSpec>>,
    /// Where the package goes and how long it is kept.
    pub output: Option<OutputSpec>,
    /// How shards and rejects are encrypted.
    #[schemars(with = "Option<evidence::EncryptionSchema>")]
    pub encryption: Option<Encryption>,
    /// Who signs the manifest.
    #[schemars(with = "Option<evidence::SignSchema>")]
    pub sign: Option<Signing>,
    /// Links the packages of this spec in the order in which they ended.
    pub chain: Option<ChainSpec>,
    /// What must hold of the result; else the job is `partial`, with the error code `expectation_failed`.
    #[schemars(with = "Option<evidence::ExpectSchema>")]
    pub expect: Option<Expectations>,
    /// Whether the manifest gets a digest of the rows that is the same in every format and order; default false.
    pub rows_digest: Option<bool>,
    /// When a partition fails: `continue` (default), or `stop`: the rest stay pending.
    pub on_partition_error: Option<OnPartitionError>,
    /// When a row cannot be read: `fail` (default), or `reject`: it goes to rejects/ and is counted.
    pub on_bad_rows: Option<OnBad>,
    /// When a row has no time: `fail` (default), or `reject`.
    pub on_null_time: Option<OnBad>,
    /// What templates may use as `vars.name`.
    #[schemars(with = "Option<BTreeMap<String, VarSpec>>")]
    pub vars: BTreeMap<String, VarSpec>,
}

/// Keys of a spec.
pub const SPEC_KEYS: Keys = Keys {
    known: &[
        "version",
        "name",
        "description",
        "labels",
        "type",
        "catalog",
        "source",
        "time",
        "id",
        "fields",
        "schema",
        "on_schema_drift",
        "window",
        "partition",
        "filters",
        "where",
        "columns",
        "order",
        "format",
        "compression",
        "output",
        "redact",
        "encryption",
        "sign",
        "chain",
        "expect",
        "rows_digest",
        "on_partition_error",
        "on_bad_rows",
        "on_null_time",
        "vars",
    ],
};

/// A digest is of rows with every key.
fn check_digest(spec: &Spec, entry: Option<&Entry>, errors: &mut Vec<Diagnostic>) {
    if let Some(entry) = entry
        && spec.rows_digest == Some(true)
        && spec.format.as_ref().is_some_and(|format| format.value == Format::Ndjson(Absent::Omit))
    {
        let mistake = entry.key.mistake("`rows_digest` and `absent: omit` exclude each other");
        errors.push(mistake.help("remove one of them: the digest is of rows in which every key is written"));
    }
}

impl Spec {
    /// Reads a spec from a document whose templates are rendered. `None` only where the document is no mapping.
    ///
    /// The spec is sound only if no mistake was added. Until then, what must be there and is not is empty, so that
    /// the mistakes that only the resolver can see are found in the same run.
    pub fn decode(root: &Node, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let fields = Fields::open(root, &document_place(root), "", SPEC_KEYS, errors)?;
        let version = fields.required("version", "1", errors, version);
        let name = fields.required("name", "monthly-events", errors, name);
        let type_name = fields.required("type", "events", errors, text);
        let window = match fields.get("window") {
            Some(entry) => WindowSpec::decode(entry, errors),
            None => fields.required("window", "{previous: month}", errors, |_, _, _| None),
        };
        let spec = Self {
            description: fields.optional("description", errors, yaml::decode::any_text),
            labels: fields.optional("labels", errors, source::text_map).unwrap_or_default(),
            catalog: fields.optional("catalog", errors, text),
            entry: TypeEntry::decode(&fields, errors),
            partition: fields.get("partition").and_then(|e| PartitionSpec::decode(e, errors)),
            filters: fields.optional("filters", errors, filter::decode).unwrap_or_default(),
            where_sql: fields.optional("where", errors, text),
            columns: fields.optional("columns", errors, columns::decode),
            redact: fields.optional("redact", errors, redact::decode).unwrap_or_default(),
            order: fields.optional("order", errors, word),
            format: fields.optional("format", errors, format::decode),
            compression: fields.optional("compression", errors, format::decode_compression),
            output: fields.get("output").and_then(|e| OutputSpec::decode(e, errors)),
            encryption: fields.get("encryption").and_then(|e| evidence::encryption(e, errors)),
            sign: fields.get("sign").and_then(|e| evidence::sign(e, errors)),
            chain: fields.get("chain").and_then(|e| ChainSpec::decode(e, errors)),
            expect: fields.get("expect").and_then(|e| evidence::expect(e, errors)),
            rows_digest: fields.optional("rows_digest", errors, boolean),
            on_partition_error: fields.optional("on_partition_error", errors, word),
            on_bad_rows: fields.optional("on_bad_rows", errors, word),
            on_null_time: fields.optional("on_null_time", errors, word),
            vars: fields.optional("vars", errors, |node, _, errors| vars::decode(node, errors)).unwrap_or_default(),
            version: version.unwrap_or(1),
            name: name.unwrap_or_else(|| Located::default_value(String::new())),
            type_name: type_name.unwrap_or_else(|| Located::default_value(String::new())),
            window: window.unwrap_or_else(WindowSpec::nothing),
        };
        if let Some(entry) = fields.get("encryption") {
            evidence::check_format(&spec, entry, errors);
        }
        check_digest(&spec, fields.get("rows_digest"), errors);
        check_together(
            spec.format.as_ref().map_or(&Format::default(), |f| &f.value),
            spec.compression.as_ref().unwrap_or(&Located::default_value(CompressionSpec::Zstd)),
            errors,
        );
        Some(spec)
    }
}

/// The version of a spec or catalog, which must be 1.
pub(crate) fn version(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<u64> {
    let found = integer(node, what, errors)?;
    if found.value != 1 {
        let mistake = found.mistake(format!("version {} is not known", found.value));
        errors.push(mistake.help("this program reads version 1"));
        return None;
    }
    Some(1)
}

fn name(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<String>> {
    let found = text(node, what, errors)?;
    let is_name = !found.value.starts_with('-')
        && found.value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_name {
        let mistake = found.mistake(format!("`name` cannot be `{}`", shown(&found.value)));
        errors.push(mistake.help("use lower-case letters, digits and `-`, and start with a letter or digit"));
        return None;
    }
    // By default the package's folder has this name.
    if found.value.len() > limits::PATH_SEGMENT_BYTES {
        let message = format!("`name` has {} characters, more than {}", found.value.len(), limits::PATH_SEGMENT_BYTES);
        errors.push(found.mistake(message).help("shorten it; `description` has room for more"));
        return None;
    }
    Some(found)
}

/// Every mapping with fixed keys, by its name in the JSON Schema; the spec itself has none.
pub const DECODED_KEYS: [(&str, Keys); 18] = [
    ("", SPEC_KEYS),
    ("SourceSpec", source::SOURCE_KEYS),
    ("CsvDialect", csv_dialect::CSV_DIALECT_KEYS),
    ("HeaderLine", csv_dialect::HEADER_KEYS),
    ("Lines", source::LINES_KEYS),
    ("PathTime", source::PATH_TIME_KEYS),
    ("TimeSpec", time::TIME_KEYS),
    ("Window", window::WINDOW_KEYS),
    ("Partition", output::PARTITION_KEYS),
    ("Output", output::OUTPUT_KEYS),
    ("Key", secret::KEY_KEYS),
    ("Encryption", evidence::ENCRYPTION_KEYS),
    ("AgeEncryption", evidence::AGE_KEYS),
    ("ParquetEncryption", evidence::PARQUET_KEYS),
    ("Sign", evidence::SIGN_KEYS),
    ("Chain", evidence::CHAIN_KEYS),
    ("Expect", evidence::EXPECT_KEYS),
    ("Variable", vars::VAR_KEYS),
];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// It has `type:`, or more keys that only a spec has.
    Spec,
    /// It has `types:`.
    Catalog,
}

/// Whether a text is a spec or a catalog.
///
/// # Errors
/// The mistakes of a text that is not YAML, or one that says neither.
pub fn kind(source: &Arc<SourceText>) -> Result<FileKind, Vec<Diagnostic>> {
    yaml::parse(source).and_then(|root| kind_of(&root).map_err(|mistake| vec![mistake]))
}

pub(crate) fn kind_of(root: &Node) -> Result<FileKind, Diagnostic> {
    let has = |key: &str| root.entry(key).is_some();
    match (has("type"), has("types")) {
        (true, false) => Ok(FileKind::Spec),
        (false, true) => Ok(FileKind::Catalog),
        (true, true) => {
            let types = root.entry("types").and_then(|e| e.key.span.clone());
            Err(Diagnostic::at(types.as_ref(), "the file has both `type` and `types`")
                .help("a spec has `type`, a catalog has `types`; keep them in two files"))
        }
        // Somebody who wrote a window meant a spec, and learns most from being told what it lacks.
        (false, false) if has("window") || has("name") => Ok(FileKind::Spec),
        (false, false) => {
            let message = match root.kind {
                NodeKind::Mapping(_) => "this is neither a spec nor a catalog".to_owned(),
                _ => format!("a spec or catalog is a mapping of keys to values, found {}", root.describe()),
            };
            Err(Diagnostic::at(Some(&document_place(root)), message)
                .help("a spec has `type: …`, a catalog has `types: …`"))
        }
    }
}

/// The JSON Schema of a spec (draft 2020-12), for editors.
pub fn json_schema() -> serde_json::Value {
    without_nulls(schemars::schema_for!(Spec))
}
