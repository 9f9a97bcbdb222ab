//! The canonical JSON of a job, and the job id derived from it.
//!
//! Two specs are the same job when they ask for the same rows in the same form: however the window was written,
//! whatever was left to default, from whichever folder and machine. So the JSON has every key of a spec with its
//! value filled in, except what does not change the package's content: `description`, `labels`, `vars` and `catalog`
//! (their effect is in the values), `settle` and `allow_open` (they say when, not what), `sign` and `chain` (they say
//! who vouches for the package and what came before it; another key must not make another job). Values that are compared
//! with redacted columns stand as digests ([`withheld`]).
//!
//! Paths stand as they were written and rendered: `source.uri` relative to the file that names it, `output.uri` relative to
//! `--output`. No absolute path of a machine gets in unless the spec itself names one. A key that a later version adds
//! must be left out while it has its default, or every job would change its name.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::{Map, Number, Value, json};
use sha2::{Digest, Sha256};

use super::withheld;
use crate::diagnostic::Located;
use crate::job::{
    Absent, ColumnChoice, Combination, Compression, Condition, CsvDialect, DeclaredType, Delimiter, Digests,
    Encryption, Expectations, Filter, Format, Header, OnBad, OnEmptyFile, OnPartitionError, Order, Partitioning,
    Redaction, RedactionMethod, Scalar, SchemaDrift, SourceSettings, TimeColumn, Window,
};
use crate::json::{self, JsonError};
use crate::secret::SecretName;
use crate::spec::time_format_text;
use crate::store::StoreOptions;
use crate::time::TimeFormat;
use crate::time::zone;
use crate::yaml::decode::Word;

/// Characters of the digest in an id: 130 bits, so that no two jobs of one company ever meet.
const ID_CHARACTERS: usize = 26;

/// Integers that RFC 8785 (and so every reader of it) keeps exactly.
const LARGEST_EXACT: u64 = (1 << 53) - 1;

/// The id of a job: `job_` and 26 lower-case base32 characters (RFC 4648) of the SHA-256 of the canonical JSON (RFC 8785).
///
/// # Errors
/// [`JsonError`].
pub fn job_id(resolved: &impl Serialize) -> Result<String, JsonError> {
    let bytes = json::canonical(resolved, "the resolved spec")?;
    let mut text = data_encoding::BASE32_NOPAD.encode(&Sha256::digest(&bytes)).to_ascii_lowercase();
    text.truncate(ID_CHARACTERS);
    Ok(format!("job_{text}"))
}

/// What distinguishes a job from every other.
pub(super) struct Identity {
    /// See [`Destination`](super::Destination).
    pub revision: u32,
    pub tenant: Option<String>,
    pub name: String,
    pub type_name: String,
    pub source: SourceSettings,
    pub time: TimeColumn,
    pub id_column: Option<Located<String>>,
    /// Columns by the names that filters have for them.
    pub fields: BTreeMap<String, Located<String>>,
    pub schema: Vec<(Located<String>, DeclaredType)>,
    pub on_schema_drift: SchemaDrift,
    pub window: Window,
    pub partition: Partitioning,
    pub filters: Vec<Filter>,
    pub where_sql: Option<Located<String>>,
    pub columns: Option<Vec<ColumnChoice>>,
    pub redactions: Vec<Redaction>,
    pub order: Order,
    pub format: Format,
    pub compression: Compression,
    /// As written and rendered.
    pub output_uri: String,
    pub output_options: StoreOptions,
    pub retention: Option<SignedDuration>,
    pub encryption: Option<Encryption>,
    pub expectations: Option<Expectations>,
    pub rows_digest: bool,
    pub on_partition_error: OnPartitionError,
    pub on_bad_rows: OnBad,
    pub on_null_time: OnBad,
}

/// The resolved spec merged with its catalog entry.
///
/// # Errors
/// [`JsonError`].
pub(super) fn canonical(job: &Identity) -> Result<Value, JsonError> {
    let fields: BTreeMap<&str, &str> =
        job.fields.iter().map(|(name, column)| (name.as_str(), column.value.as_str())).collect();
    let schema: BTreeMap<&str, String> =
        job.schema.iter().map(|(name, t)| (name.value.as_str(), t.to_string())).collect();
    Ok(without_absent(json!({
        "version": 1,
        "revision": job.revision,
        "tenant": job.tenant,
        "name": job.name,
        "type": job.type_name,
        "source": {
            "uri": source_uri(&job.source),
            "exclude": exclude(&job.source),
            "format": job.source.format.map(Word::word),
            "hive_partitioning": job.source.hive_partitioning.map_or(json!("auto"), Value::from),
            "path_time": job.source.path_time.as_ref().map(|p| json!({
                "pattern": p.pattern.value,
                "covers": p.covers.word(),
                "early": margin(p.early),
                "late": margin(p.late),
                "expect": p.expect.map(Word::word),
            })),
            "compression": job.source.compression.as_ref().map(|compression| compression.value.word()),
            "on_empty_file": (job.source.on_empty_file == OnEmptyFile::Fail).then_some("fail"),
            "csv": job.source.csv.as_ref().map(|dialect| csv_dialect(&dialect.value)),
            "lines": job.source.lines.as_ref().map(|pattern| json!({"pattern": pattern.value.as_str()})),
            "records": job.source.records.as_ref().map(|records| records.value.to_string()),
            "keep": keep(&job.source),
            "options": options(&job.source.options),
            "plain_files": job.source.plain_files.then_some(true),
        },
        "time": {
            "column": match job.time.combination {
                _ if job.time.parts.is_empty() => Some(json!(job.time.column.value)),
                Combination::First => Some(json!(names(&job.time.parts))),
                Combination::Joined => None,
            },
            "columns": match job.time.combination {
                Combination::Joined if !job.time.parts.is_empty() => Some(names(&job.time.parts)),
                Combination::Joined | Combination::First => None,
            },
            "format": time_format(&job.time.format),
            "timezone": zone::name(&job.time.timezone),
            "zones": (!job.time.zones.is_empty()).then_some(&job.time.zones),
        },
        "id": job.id_column.as_ref().map(|id| &id.value),
        "fields": fields,
        "schema": schema,
        "on_schema_drift": job.on_schema_drift.word(),
        "window": {
            "start": job.window.start.to_string(),
            "end": job.window.end.to_string(),
            "timezone": zone::name(&job.window.timezone),
        },
        "partition": {
            "by": job.partition.by.word(),
            "max_rows": job.partition.max_rows,
            "max_bytes": job.partition.max_bytes,
        },
        "filters": filters(job)?,
        "where": job.where_sql.as_ref().map(|sql| withheld::where_sql(&job.redactions, &sql.value)),
        "columns": job.columns.as_ref().map(|columns| {
            columns.iter().map(|column| json!({column.source.value.as_str(): output_name(column)})).collect::<Vec<_>>()
        }),
        "redact": redactions(&job.redactions),
        "order": job.order.word(),
        "format": format(&job.format),
        "compression": compression(job.compression),
        "output": {
            "uri": job.output_uri,
            "options": options(&job.output_options),
            "retention": job.retention.map(|r| format!("{}s", r.as_secs())),
        },
        "encryption": job.encryption.as_ref().map(encryption),
        "expect": job.expectations.as_ref().map(|e| json!({
            "min_rows": e.min_rows,
            "non_empty_partitions": e.non_empty_partitions.then_some(true),
            "max_lag": e.max_lag.map(|lag| format!("{}s", lag.as_secs())),
        })),
        "rows_digest": job.rows_digest.then_some(true),
        "on_partition_error": job.on_partition_error.word(),
        "on_bad_rows": job.on_bad_rows.word(),
        "on_null_time": job.on_null_time.word(),
    })))
}

/// `None` where there are none, like a key that is not written.
fn options(options: &StoreOptions) -> Option<&StoreOptions> {
    Some(options).filter(|options| !options.is_empty())
}

/// `None` where it is the default, like a key that is not written.
fn margin(margin: SignedDuration) -> Option<String> {
    // jiff prints what `parse_duration` reads, to the nanosecond.
    (!margin.is_zero()).then(|| margin.to_string())
}

/// Nulls stand for keys that are not there.
fn without_absent(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let present = object.into_iter().filter(|(_, v)| !v.is_null());
            Value::Object(present.map(|(key, v)| (key, without_absent(v))).collect())
        }
        other => other,
    }
}

fn names(columns: &[Located<String>]) -> Vec<&str> {
    columns.iter().map(|column| column.value.as_str()).collect()
}

/// One URI as text, several as a list, so that a list of one is no other job.
fn source_uri(source: &SourceSettings) -> Value {
    match source.uris.as_slice() {
        [uri] => uri.written.as_str().into(),
        uris => uris.iter().map(|uri| uri.written.as_str()).collect::<Vec<_>>().into(),
    }
}

/// `None` where there are none, like a key that is not written.
fn exclude(source: &SourceSettings) -> Option<Vec<&str>> {
    let globs: Vec<_> = source.exclude.iter().map(|glob| glob.value.glob()).collect();
    Some(globs).filter(|globs| !globs.is_empty())
}

/// `None` where nothing is kept, like a key that is not written.
fn keep(source: &SourceSettings) -> Option<BTreeMap<&str, &str>> {
    let fields: BTreeMap<_, _> = source.keep.iter().map(|field| (field.name(), field.path())).collect();
    Some(fields).filter(|fields| !fields.is_empty())
}

/// One format, or a list of them.
fn time_format(format: &TimeFormat) -> Value {
    match format {
        TimeFormat::AnyOf(formats) => formats.iter().map(time_format).collect(),
        one => json!(time_format_text(one)),
    }
}

/// The keys of a dialect that differ from the standard; null if none does, like a key that is not written.
fn csv_dialect(dialect: &CsvDialect) -> Value {
    let standard = CsvDialect::default();
    let character = |byte: u8| char::from(byte).to_string();
    let keys = without_absent(json!({
        "delimiter": dialect.delimiter.map(|delimiter| match delimiter {
            Delimiter::Character(character) => character.to_string(),
            Delimiter::Blanks => "blanks".to_owned(),
        }),
        "header": match &dialect.header {
            Header::FirstLine => Value::Null,
            Header::None => json!(false),
            Header::Names(names) => json!(names),
            Header::LinePrefix(prefix) => json!({"line_prefix": prefix}),
        },
        "comment": dialect.comment,
        "skip_lines": (dialect.skip_lines > 0).then_some(dialect.skip_lines),
        "quote": (dialect.quote != standard.quote).then(|| dialect.quote.map_or("none".to_owned(), character)),
        "escape": dialect.escape.map(character),
        "null_text": (!dialect.null_text.is_empty()).then_some(&dialect.null_text),
        "encoding": (dialect.encoding != standard.encoding).then(|| dialect.encoding.name().to_ascii_lowercase()),
        "last_line": (dialect.last_line != standard.last_line).then(|| dialect.last_line.word()),
        "short_rows": (dialect.short_rows != standard.short_rows).then(|| dialect.short_rows.word()),
        "headers": (dialect.headers != standard.headers).then(|| dialect.headers.word()),
    }));
    if keys.as_object().is_some_and(Map::is_empty) { Value::Null } else { keys }
}

/// The name of a column in the shards; `null` where only the source can tell whether a name with dots is a path.
fn output_name(column: &ColumnChoice) -> Option<&str> {
    let ColumnChoice { source, output } = column;
    output.as_deref().or_else(|| (!source.value.contains('.')).then_some(source.value.as_str()))
}

fn filters(job: &Identity) -> Result<Value, JsonError> {
    let mut by_key: Map<String, Value> = Map::new();
    for filter in &job.filters {
        let conditions = by_key.entry(filter.key.clone()).or_insert_with(|| Value::Object(Map::new()));
        let condition = &filter.condition.value;
        let tells_a_value = !matches!(condition, Condition::IsNull(_));
        let operand = match operand(condition) {
            told if tells_a_value && withheld::is_redacted(&job.redactions, &filter.column.value) => {
                withheld::operand(&told)?
            }
            told => told,
        };
        if let Value::Object(conditions) = conditions {
            conditions.insert(condition.operator().to_owned(), operand);
        }
    }
    Ok(Value::Object(by_key))
}

fn redactions(redactions: &[Redaction]) -> Option<Value> {
    let method = |method: &RedactionMethod| match method {
        RedactionMethod::Mask => json!("mask"),
        RedactionMethod::Nullify => json!("nullify"),
        RedactionMethod::Drop => json!("drop"),
        RedactionMethod::Replace(text) => json!({"replace": text}),
        RedactionMethod::HmacSha256(key) => json!({"hmac_sha256": secret(key)}),
    };
    let by_path: Map<String, Value> = redactions.iter().map(|r| (r.path.value.clone(), method(&r.method))).collect();
    (!by_path.is_empty()).then_some(Value::Object(by_path))
}

fn encryption(encryption: &Encryption) -> Value {
    match encryption {
        Encryption::Age { recipients, recipients_file, digests } => json!({"digests": published(*digests), "age": {
            "recipients": recipients.iter().map(|r| &r.value).collect::<Vec<_>>(),
            "recipients_file": recipients_file.as_ref().map(|file| &file.written.value),
        }}),
        Encryption::Parquet { footer_key, columns, digests } => json!({"digests": published(*digests), "parquet": {
            "footer_key": secret(footer_key),
            "columns": columns.iter().map(|(c, key)| (c.value.clone(), secret(key))).collect::<Map<_, _>>(),
        }}),
    }
}

/// Nothing for the default, so that jobs keep their names.
fn published(digests: Digests) -> Option<&'static str> {
    (digests != Digests::default()).then(|| digests.word())
}

/// Where a key is, never the key.
fn secret(name: &SecretName) -> Value {
    match name {
        SecretName::Env(name) => json!({"key_env": name.value}),
        SecretName::File { written, .. } => json!({"key_file": written.value}),
    }
}

fn operand(condition: &Condition) -> Value {
    let scalars = |values: &[Scalar]| Value::Array(values.iter().map(scalar).collect());
    match condition {
        Condition::In(values) | Condition::NotIn(values) => scalars(values),
        Condition::Eq(value)
        | Condition::Ne(value)
        | Condition::Lt(value)
        | Condition::Lte(value)
        | Condition::Gt(value)
        | Condition::Gte(value) => scalar(value),
        Condition::Between(low, high) => json!([scalar(low), scalar(high)]),
        Condition::Contains(text)
        | Condition::StartsWith(text)
        | Condition::EndsWith(text)
        | Condition::Matches(text) => text.as_str().into(),
        Condition::IsNull(is_null) => (*is_null).into(),
    }
}

/// A value; an integer that RFC 8785 would round stands as `{"integer": "…"}`, so that it keeps its digits and is
/// not taken for text.
fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Bool(value) => (*value).into(),
        Scalar::Text(text) => text.as_str().into(),
        Scalar::Number(number) if is_rounded(number) => json!({"integer": number.to_string()}),
        Scalar::Number(number) => Value::Number(number.clone()),
    }
}

fn is_rounded(number: &Number) -> bool {
    number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64()).is_some_and(|size| size > LARGEST_EXACT)
}

fn format(format: &Format) -> Value {
    match format {
        Format::Csv(csv) => json!({"csv": {
            "delimiter": char::from(csv.delimiter).to_string(),
            "bom": csv.bom,
            "escape_formulas": csv.escape_formulas,
            "header": csv.header,
            "null_text": csv.null_text,
        }}),
        Format::Ndjson(Absent::Omit) => json!({"ndjson": {"absent": Absent::Omit.word()}}),
        Format::Ndjson(Absent::Fill) | Format::Json | Format::Parquet => format.name().into(),
    }
}

fn compression(compression: Compression) -> Value {
    let name = compression.kind().as_str();
    match compression {
        Compression::Gzip(level) => json!({name: level}),
        Compression::Zstd(level) => json!({name: level}),
        Compression::None | Compression::Snappy | Compression::Lz4 => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::chain;

    #[test]
    fn a_spec_without_canonical_json_has_no_id() {
        let error = chain(&job_id(&f64::NAN).unwrap_err());
        assert!(error.starts_with("the resolved spec cannot be written as JSON: "), "{error}");
    }
}
