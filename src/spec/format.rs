//! `format` and `compression` as written, and which of them go together.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::diagnostic::{Diagnostic, Located, shown};
use crate::export_format::{DEFAULT_GZIP_LEVEL, ExportCompression, ExportFormat};
use crate::job::{Absent, Compression, CsvFormat, DialectFault, Format};
use crate::yaml::decode::{Fields, Keys, any_text, boolean, integer, mapping, not_one_of, text, word};
use crate::yaml::{Entry, Kind, Node};

/// Keys of `format.csv`.
pub const CSV_KEYS: Keys = Keys { known: &["delimiter", "bom", "escape_formulas", "header", "null_text"] };
const NDJSON_KEYS: Keys = Keys { known: &["absent"] };
const NO_KEYS: Keys = Keys { known: &[] };

/// Reads `format`: a word, or a mapping of one word to options.
pub(crate) fn decode(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<Format>> {
    let (name, options) = match &node.kind {
        Kind::Mapping(_) => {
            let entry = only_entry(node, what, "{csv: {delimiter: \";\"}}", errors)?;
            (entry.key.clone(), Some(entry))
        }
        _ => (text(node, what, errors)?, None),
    };
    let Some(format) = ExportFormat::named(&name.value) else {
        errors.push(not_one_of(&name, what, &ExportFormat::ALL.map(ExportFormat::as_str)));
        return None;
    };
    let value = match format {
        ExportFormat::Csv => Format::Csv(match options {
            Some(options) => csv(options, errors)?,
            None => CsvFormat::default(),
        }),
        ExportFormat::Ndjson => Format::Ndjson(match options {
            Some(options) => ndjson(options, errors)?,
            None => Absent::default(),
        }),
        ExportFormat::Json => without_options(options, Format::Json, errors)?,
        ExportFormat::Parquet => without_options(options, Format::Parquet, errors)?,
    };
    Some(Located { value, span: name.span })
}

/// The name of a format, if the node is one; mistakes are left to [`decode`].
pub(crate) fn name_of(node: &Node) -> Option<&'static str> {
    decode(node, "format", &mut Vec::new()).map(|format| format.value.name())
}

fn only_entry<'n>(node: &'n Node, what: &str, example: &str, errors: &mut Vec<Diagnostic>) -> Option<&'n Entry> {
    match mapping(node, what, errors)? {
        [entry] => Some(entry),
        entries => {
            let message = format!("`{}` names {} values, one is needed", shown(what), entries.len());
            errors.push(Diagnostic::at(Some(&node.span), message).help(format!("write `{example}`")));
            None
        }
    }
}

fn without_options(options: Option<&Entry>, format: Format, errors: &mut Vec<Diagnostic>) -> Option<Format> {
    if let Some(entry) = options {
        Fields::open(&entry.value, entry.key.span.as_ref()?, format.name(), NO_KEYS, errors)?;
    }
    Some(format)
}

fn ndjson(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Absent> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "ndjson", NDJSON_KEYS, errors)?;
    let before = errors.len();
    let absent = fields.optional("absent", errors, word);
    (errors.len() == before).then(|| absent.unwrap_or_default())
}

fn csv(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<CsvFormat> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "csv", CSV_KEYS, errors)?;
    let default = CsvFormat::default();
    let before = errors.len();
    let delimiter = fields.optional("delimiter", errors, delimiter);
    let is_delimiter_sound = errors.len() == before;
    let null_text = fields.optional("null_text", errors, any_text);
    let format = CsvFormat {
        delimiter: delimiter.unwrap_or(default.delimiter),
        bom: fields.optional("bom", errors, boolean).unwrap_or(default.bom),
        escape_formulas: fields.optional("escape_formulas", errors, boolean).unwrap_or(default.escape_formulas),
        header: fields.optional("header", errors, boolean).unwrap_or(default.header),
        null_text: null_text.as_ref().map_or(default.null_text, |t| t.value.clone()),
    };
    if is_delimiter_sound && let (Some(null_text), Err(fault)) = (&null_text, format.check()) {
        errors.push(dialect_mistake(null_text, &fault));
        return None;
    }
    Some(format)
}

/// One ASCII byte that a dialect can have.
fn delimiter(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<u8> {
    let found = any_text(node, what, errors)?;
    // What is no single byte is no delimiter either; no dialect has NUL.
    let delimiter = match found.value.as_bytes() {
        [byte] => *byte,
        _ => 0,
    };
    match (CsvFormat { delimiter, ..CsvFormat::default() }).check() {
        Ok(()) => Some(delimiter),
        Err(fault) => {
            errors.push(dialect_mistake(&found, &fault));
            None
        }
    }
}

fn dialect_mistake(found: &Located<String>, fault: &DialectFault) -> Diagnostic {
    let message = format!("`{}` cannot be `{}`: {}", fault.option, shown(&found.value), fault.why);
    found.mistake(message).help(fault.help)
}

/// `compression` as it is written: zstd without a level has the one of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionSpec {
    /// `zstd`.
    Zstd,
    /// Anything else.
    Exactly(Compression),
}

impl CompressionSpec {
    /// For shards of a format.
    pub fn of(self, format: &Format) -> Compression {
        match self {
            Self::Zstd => Compression::Zstd(format.kind().facts().zstd_level),
            Self::Exactly(compression) => compression,
        }
    }
}

/// Reads `compression`: a word, or a mapping of one word to a level.
pub(crate) fn decode_compression(
    node: &Node,
    what: &str,
    errors: &mut Vec<Diagnostic>,
) -> Option<Located<CompressionSpec>> {
    let (name, level) = match &node.kind {
        Kind::Mapping(_) => {
            let entry = only_entry(node, what, "{zstd: 9}", errors)?;
            (entry.key.clone(), Some(integer(&entry.value, &entry.key.value, errors)?))
        }
        _ => (text(node, what, errors)?, None),
    };
    let Some(compression) = ExportCompression::named(&name.value) else {
        errors.push(not_one_of(&name, what, &ExportCompression::ALL.map(ExportCompression::as_str)));
        return None;
    };
    let level = match level {
        Some(level) => Some(checked_level(&level, compression, what, errors)?),
        None => None,
    };
    let value = match (compression, level) {
        (ExportCompression::Zstd, None) => return Some(Located { value: CompressionSpec::Zstd, span: name.span }),
        (ExportCompression::Zstd, Some(level)) => Compression::Zstd(level),
        (ExportCompression::Gzip, level) => Compression::Gzip(level.map_or(DEFAULT_GZIP_LEVEL, i32::unsigned_abs)),
        (ExportCompression::None, _) => Compression::None,
        (ExportCompression::Snappy, _) => Compression::Snappy,
        (ExportCompression::Lz4, _) => Compression::Lz4,
    };
    Some(Located { value: CompressionSpec::Exactly(value), span: name.span })
}

fn checked_level(
    level: &Located<i128>,
    compression: ExportCompression,
    what: &str,
    errors: &mut Vec<Diagnostic>,
) -> Option<i32> {
    let word = compression.as_str();
    let Some(highest) = compression.facts().highest_level else {
        errors.push(level.mistake(format!("`{word}` has no level")).help(format!("write `{what}: {word}`")));
        return None;
    };
    match i32::try_from(level.value) {
        Ok(value) if (1..=highest).contains(&value) => Some(value),
        _ => {
            errors.push(level.mistake(format!("the level of {word} is from 1 to {highest}, found {}", level.value)));
            None
        }
    }
}

/// Says so where a format cannot have a compression.
pub(crate) fn check_together(format: &Format, compression: &Located<CompressionSpec>, errors: &mut Vec<Diagnostic>) {
    let (chosen, facts) = (compression.value.of(format).kind(), format.kind().facts());
    if !facts.compressions.contains(&chosen) {
        let allowed: Vec<&str> = facts.compressions.iter().map(|allowed| allowed.as_str()).collect();
        let message = format!("`{}` cannot be compressed with `{}`", facts.name, chosen.as_str());
        errors.push(compression.mistake(message).help(format!("allowed for {}: {}", facts.name, allowed.join(", "))));
    }
}

/// The shape of `format` for the JSON Schema.
pub(crate) struct FormatSchema;

impl JsonSchema for FormatSchema {
    fn schema_name() -> Cow<'static, str> {
        "Format".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let options: Map<String, Value> =
            ExportFormat::ALL.iter().map(|format| (format.as_str().to_owned(), options_schema(*format))).collect();
        json_schema!({
            "anyOf": [
                {"enum": ExportFormat::ALL.map(ExportFormat::as_str)},
                {
                    "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
                    "properties": options,
                },
            ],
        })
    }
}

fn options_schema(format: ExportFormat) -> Value {
    let description = match format {
        ExportFormat::Csv => {
            return json!({
                "description": "RFC 4180, with these choices.",
                "type": "object", "additionalProperties": false,
                "properties": {
                    "delimiter": {"description": "One ASCII sign between cells.", "type": "string", "minLength": 1, "maxLength": 1, "default": ","},
                    "bom": {"description": "Start each file with a UTF-8 byte order mark, for Excel.", "type": "boolean", "default": false},
                    "escape_formulas": {"description": "Put ' before cells that a spreadsheet would take for a formula. Changes values; the manifest says so.", "type": "boolean", "default": false},
                    "header": {"description": "Start each file with the column names.", "type": "boolean", "default": true},
                    "null_text": {"description": "What a null looks like.", "type": "string", "default": ""},
                },
            });
        }
        ExportFormat::Ndjson => {
            return json!({
                "description": "One JSON object a line.",
                "type": "object", "additionalProperties": false,
                "properties": {
                    "absent": {"description": "Keys that a row does not have: `fill` writes them with null, `omit` leaves them out, and with them every key whose value is null, in nested objects too.", "enum": ["fill", "omit"], "default": "fill"},
                },
            });
        }
        ExportFormat::Json => "One JSON array.",
        ExportFormat::Parquet => "Apache Parquet.",
    };
    json!({"description": description, "type": "object", "additionalProperties": false})
}

/// The shape of `compression` for the JSON Schema.
pub(crate) struct CompressionSchema;

impl JsonSchema for CompressionSchema {
    fn schema_name() -> Cow<'static, str> {
        "Compression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"enum": ExportCompression::ALL.map(ExportCompression::as_str)},
                {
                    "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
                    "properties": {
                        "zstd": {"description": "Level of zstd; without one 1 for Parquet and 3 for other formats.", "type": "integer", "minimum": 1, "maximum": ExportCompression::Zstd.facts().highest_level},
                        "gzip": {"description": "Level of gzip.", "type": "integer", "minimum": 1, "maximum": ExportCompression::Gzip.facts().highest_level, "default": DEFAULT_GZIP_LEVEL},
                    },
                },
            ],
        })
    }
}
