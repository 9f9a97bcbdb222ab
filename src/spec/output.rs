//! `output` and `partition` as written.

use jiff::SignedDuration;
use schemars::JsonSchema;

use super::source::store_options;
use crate::diagnostic::{Diagnostic, Located, shown};
use crate::job::PartitionBy;
use crate::store::StoreOptions;
use crate::units;
use crate::yaml::decode::{Fields, Keys, count, text, word, written};
use crate::yaml::{Entry, Kind, Node};

/// Where the package goes and how long it is kept.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(rename = "Output", deny_unknown_fields)]
pub struct OutputSpec {
    /// The package's folder, or `s3://`, `gs://`, `az://`, `abfss://`; a relative one is below `--output`. Default: `./exports/{{ name }}/{{ window.label }}/`.
    #[schemars(with = "Option<String>")]
    pub uri: Option<OutputUri>,
    /// How the object store of `uri` is reached, where the environment does not say.
    #[schemars(with = "Option<StoreOptions>")]
    pub options: StoreOptions,
    /// How long the package is kept: sets `expires_at` in the manifest. `400d`; a day is 24 hours.
    #[schemars(with = "Option<String>")]
    pub retention: Option<Located<SignedDuration>>,
}

/// An output folder, its templates rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputUri {
    /// The folder.
    pub text: Located<String>,
    /// So many bytes at the start stand in the spec itself. What follows came out of templates, so it is checked
    /// like a stranger's.
    pub trusted_bytes: usize,
}

/// Keys of `output`.
pub(super) const OUTPUT_KEYS: Keys = Keys { known: &["uri", "options", "retention"] };

impl OutputSpec {
    pub(crate) fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "output", OUTPUT_KEYS, errors)?;
        Some(Self {
            uri: fields.optional("uri", errors, output_uri),
            options: fields.get("options").and_then(|e| store_options(e, errors)).unwrap_or_default(),
            retention: fields.optional("retention", errors, super::window::duration),
        })
    }
}

pub(super) fn output_uri(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<OutputUri> {
    let found = text(node, what, errors)?;
    let trusted_bytes = match &node.kind {
        Kind::Scalar(scalar) => scalar.before_template.unwrap_or(found.value.len()),
        _ => 0,
    };
    Some(OutputUri { text: found, trusted_bytes })
}

/// How the window is cut.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(rename = "Partition", deny_unknown_fields)]
pub struct PartitionSpec {
    /// Calendar unit of a partition; default `day`.
    pub by: Option<PartitionBy>,
    /// Start a new part after so many rows.
    #[schemars(range(min = 1))]
    pub max_rows: Option<u64>,
    /// Start a new part after so many encoded bytes before compression: `512MiB`. Parquet: at row-group ends.
    #[schemars(with = "Option<SizeSchema>")]
    pub max_bytes: Option<u64>,
}

/// A size for the JSON Schema.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
enum SizeSchema {
    Text(String),
    Bytes(u64),
}

/// Keys of `partition`.
pub(super) const PARTITION_KEYS: Keys = Keys { known: &["by", "max_rows", "max_bytes"] };

impl PartitionSpec {
    pub(crate) fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "partition", PARTITION_KEYS, errors)?;
        Some(Self {
            by: fields.optional("by", errors, word),
            max_rows: fields.optional("max_rows", errors, count),
            max_bytes: fields.optional("max_bytes", errors, size),
        })
    }
}

fn size(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<u64> {
    let found = written(node, what, errors)?;
    match units::parse_bytes(&found.value) {
        Ok(bytes) => Some(bytes),
        Err(bad) => {
            let mistake = found.mistake(format!("`{what}` cannot be `{}`", shown(&found.value)));
            errors.push(mistake.help(bad.to_string()));
            None
        }
    }
}
