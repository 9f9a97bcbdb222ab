//! `spec.resolved`: what the package was requested with, read by the names of its keys.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{CsvFormat, OnBad, Order, PartitionBy};
use crate::package::layout::MANIFEST;
use crate::yaml::decode::Word;

/// The resolved spec merged with its catalog entry and window: what the job's id is the digest of.
///
/// It stays the JSON that was read. The id is the digest of every key, and a manifest is written again byte for byte, so keys
/// of other releases must survive, whether this release knows them or not. Readers get typed values: an absent key that a
/// spec may leave out is `None`, and a value of another type is an error, never a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResolvedSpec(#[serde(serialize_with = "super::json::sorted")] Value);

/// A value of `spec.resolved` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolvedError {
    /// A key that every spec has.
    #[error("`spec.resolved` has no `{key}`")]
    Missing {
        /// Its path.
        key: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` in `spec.resolved` is not {expected}")]
    WrongType {
        /// Its path.
        key: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
}

impl From<ResolvedError> for Failure {
    fn from(error: ResolvedError) -> Self {
        Self::new(ErrorCode::PackageDamaged, format!("{MANIFEST}: {error}"))
    }
}

impl From<Value> for ResolvedSpec {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

/// The job's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedWindow<'s> {
    /// First instant.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
    /// Name of the zone that it is cut in.
    pub timezone: &'s str,
}

/// How shards are encrypted. Keys are where they are found, as the manifest's `encryption` has them: `env:NAME`,
/// `file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedEncryption<'s> {
    /// With age.
    Age {
        /// Recipients in the spec.
        recipients: BTreeSet<&'s str>,
        /// Whether a file has more of them.
        has_recipients_file: bool,
    },
    /// With Parquet modular encryption.
    Parquet {
        /// The footer's key.
        footer_key: String,
        /// Keys by column.
        columns: BTreeMap<&'s str, String>,
    },
}

impl ResolvedSpec {
    /// Version of the spec's format.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn version(&self) -> Result<Option<u64>, ResolvedError> {
        self.number("version")
    }

    /// Number of the package among those that supersede one another.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn revision(&self) -> Result<Option<u64>, ResolvedError> {
        self.number("revision")
    }

    /// The spec's name.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn name(&self) -> Result<&str, ResolvedError> {
        self.required("name", Self::text)
    }

    /// The export type.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn type_name(&self) -> Result<&str, ResolvedError> {
        self.required("type", Self::text)
    }

    /// Where the rows are, as the spec or catalog has it.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn source_uris(&self) -> Result<Vec<&str>, ResolvedError> {
        self.required("source.uri", Self::texts)
    }

    /// Whether names of files say when their rows were written.
    pub fn has_path_time(&self) -> bool {
        self.get("source.path_time").is_some()
    }

    /// Whether rows are elements of an array inside JSON documents.
    pub fn has_records(&self) -> bool {
        self.get("source.records").is_some()
    }

    /// Whether values are encrypted or redacted, so that no message may show one.
    pub fn withholds_values(&self) -> bool {
        self.get("encryption").is_some() || self.get("redact").is_some()
    }

    /// The column that a filter of this name is about.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn filter_column<'s>(&'s self, filter: &'s str) -> Result<&'s str, ResolvedError> {
        let Some(fields) = self.object("fields")? else { return Ok(filter) };
        match fields.get(filter) {
            Some(Value::String(column)) => Ok(column),
            Some(_) => Err(ResolvedError::WrongType { key: "fields", expected: "names of columns" }),
            None => Ok(filter),
        }
    }

    /// Whether `schema` declares the type of a column.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn declares(&self, column: &str) -> Result<bool, ResolvedError> {
        Ok(self.object("schema")?.is_some_and(|schema| schema.contains_key(column)))
    }

    /// The columns of which the first with a value is a row's time; none if several make it together.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn time_column(&self) -> Result<Vec<&str>, ResolvedError> {
        Ok(self.texts("time.column")?.unwrap_or_default())
    }

    /// The columns that make the times of rows together; none if one column has them.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn time_columns(&self) -> Result<Vec<&str>, ResolvedError> {
        Ok(self.texts("time.columns")?.unwrap_or_default())
    }

    /// The window.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn window(&self) -> Result<ResolvedWindow<'_>, ResolvedError> {
        Ok(ResolvedWindow {
            start: self.required("window.start", Self::instant)?,
            end: self.required("window.end", Self::instant)?,
            timezone: self.required("window.timezone", Self::text)?,
        })
    }

    /// Calendar unit of a partition.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn partition_by(&self) -> Result<Option<PartitionBy>, ResolvedError> {
        self.word("partition.by", "a calendar unit")
    }

    /// Rows of a part, at most.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn max_rows(&self) -> Result<Option<u64>, ResolvedError> {
        self.number("partition.max_rows")
    }

    /// Bytes of a part, about.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn max_bytes(&self) -> Result<Option<u64>, ResolvedError> {
        self.number("partition.max_bytes")
    }

    /// Conditions by name and operator.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn filters(&self) -> Result<&Map<String, Value>, ResolvedError> {
        self.required("filters", Self::object)
    }

    /// The SQL condition, or its digest.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn where_sql(&self) -> Result<Option<&str>, ResolvedError> {
        self.text("where")
    }

    /// Selected columns in order, each with its name in the shards; `None` for all. A path has the name of its last key, unless
    /// it is a column's name: its own name is then `None`.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn columns(&self) -> Result<Option<Vec<SelectedColumn<'_>>>, ResolvedError> {
        self.read("columns", "a list of columns with their names in the shards", |value| {
            let columns = value.as_array()?.iter().map(|column| {
                let column = column.as_object()?.iter();
                fn name(output: &Value) -> Option<Option<&str>> {
                    if output.is_null() { Some(None) } else { output.as_str().map(Some) }
                }
                column.map(|(source, output)| Some((source.as_str(), name(output)?))).collect::<Option<Vec<_>>>()
            });
            Some(columns.collect::<Option<Vec<_>>>()?.concat())
        })
    }

    /// Methods of redaction by path; empty for a spec that redacts nothing.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn redactions(&self) -> Result<BTreeMap<&str, &str>, ResolvedError> {
        let redactions = self.read("redact", "a method for each path", |value| {
            value.as_object()?.iter().map(|(path, method)| Some((path.as_str(), choice(method)?))).collect()
        })?;
        Ok(redactions.unwrap_or_default())
    }

    /// Order of rows.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn order(&self) -> Result<Option<Order>, ResolvedError> {
        self.word("order", "an order of rows")
    }

    /// What happens to rows that cannot be read.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn on_bad_rows(&self) -> Result<Option<OnBad>, ResolvedError> {
        self.word("on_bad_rows", ON_BAD)
    }

    /// What happens to rows without a time.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn on_null_time(&self) -> Result<Option<OnBad>, ResolvedError> {
        self.word("on_null_time", ON_BAD)
    }

    /// Format of shards.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn format(&self) -> Result<&str, ResolvedError> {
        self.required("format", |spec, key| spec.read(key, "a format with or without options", choice))
    }

    /// Dialect of CSV shards. Options that are not written have their defaults.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn csv(&self) -> Result<CsvFormat, ResolvedError> {
        let default = CsvFormat::default();
        let delimiter =
            self.read("format.csv.delimiter", "one ASCII character", |value| match value.as_str()?.as_bytes() {
                [byte] => Some(*byte),
                _ => None,
            });
        Ok(CsvFormat {
            delimiter: delimiter?.unwrap_or(default.delimiter),
            bom: self.flag("format.csv.bom")?.unwrap_or(default.bom),
            escape_formulas: self.flag("format.csv.escape_formulas")?.unwrap_or(default.escape_formulas),
            header: self.flag("format.csv.header")?.unwrap_or(default.header),
            null_text: self.text("format.csv.null_text")?.map_or(default.null_text, str::to_owned),
        })
    }

    /// Compression of shards.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn compression(&self) -> Result<&str, ResolvedError> {
        self.required("compression", |spec, key| spec.read(key, COMPRESSION, choice))
    }

    /// Level of compression; `None` for a compression without levels.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn compression_level(&self) -> Result<Option<i64>, ResolvedError> {
        let level = self.read("compression", COMPRESSION, |value| match value {
            Value::Object(level) => Some(Some(level.values().next()?.as_i64()?)),
            value => value.is_string().then_some(None),
        });
        Ok(level?.flatten())
    }

    /// The package's folder, as the spec has it.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn output_uri(&self) -> Result<&str, ResolvedError> {
        self.required("output.uri", Self::text)
    }

    /// How long shards are kept after the manifest is written; `None` without a limit.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn retention(&self) -> Result<Option<SignedDuration>, ResolvedError> {
        self.read("output.retention", "a duration", |value| value.as_str()?.parse().ok())
    }

    /// How shards are encrypted; `None` if they are not.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn encryption(&self) -> Result<Option<ResolvedEncryption<'_>>, ResolvedError> {
        self.read("encryption", "age or Parquet encryption with its keys", encryption)
    }

    /// Whether the spec says where the digests of encrypted content are. Earlier releases did not write it.
    pub fn states_digests(&self) -> bool {
        self.get("encryption.digests").is_some()
    }

    /// Expectations by name, with their limits; `None` if the spec has none.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn expectations(&self) -> Result<Option<&Map<String, Value>>, ResolvedError> {
        self.object("expect")
    }

    /// Whether a digest of the rows is requested. A spec that does not say so requests none.
    ///
    /// # Errors
    /// [`ResolvedError`].
    pub fn rows_digest(&self) -> Result<bool, ResolvedError> {
        Ok(self.flag("rows_digest")?.unwrap_or(false))
    }

    /// The value at a path of keys with dots between them.
    fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.0, |value, key| value.get(key))
    }

    fn read<'s, T>(
        &'s self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'s Value) -> Option<T>,
    ) -> Result<Option<T>, ResolvedError> {
        self.get(key).map(|value| read(value).ok_or(ResolvedError::WrongType { key, expected })).transpose()
    }

    fn required<'s, T>(
        &'s self,
        key: &'static str,
        read: impl FnOnce(&'s Self, &'static str) -> Result<Option<T>, ResolvedError>,
    ) -> Result<T, ResolvedError> {
        read(self, key)?.ok_or(ResolvedError::Missing { key })
    }

    fn text(&self, key: &'static str) -> Result<Option<&str>, ResolvedError> {
        self.read(key, "text", Value::as_str)
    }

    /// One text or several.
    fn texts(&self, key: &'static str) -> Result<Option<Vec<&str>>, ResolvedError> {
        self.read(key, "text or a list of texts", |value| match value {
            Value::String(text) => Some(vec![text.as_str()]),
            Value::Array(texts) => texts.iter().map(Value::as_str).collect(),
            _ => None,
        })
    }

    fn number(&self, key: &'static str) -> Result<Option<u64>, ResolvedError> {
        self.read(key, "a whole number", Value::as_u64)
    }

    fn flag(&self, key: &'static str) -> Result<Option<bool>, ResolvedError> {
        self.read(key, "`true` or `false`", Value::as_bool)
    }

    fn instant(&self, key: &'static str) -> Result<Option<Timestamp>, ResolvedError> {
        self.read(key, "an instant", |value| value.as_str()?.parse().ok())
    }

    fn object(&self, key: &'static str) -> Result<Option<&Map<String, Value>>, ResolvedError> {
        self.read(key, "an object", Value::as_object)
    }

    fn word<T: Word>(&self, key: &'static str, expected: &'static str) -> Result<Option<T>, ResolvedError> {
        self.read(key, expected, |value| {
            let text = value.as_str()?;
            T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    /// The JSON, to be edited.
    #[cfg(test)]
    pub(crate) fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// Changes one key at the top.
    #[cfg(test)]
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.0[key] = value;
    }
}

const ON_BAD: &str = "`fail` or `reject`";
const COMPRESSION: &str = "a compression with or without a level";

/// The word of a choice, with or without options: `none`, `{"zstd": 3}`.
fn choice(value: &Value) -> Option<&str> {
    match value {
        Value::Object(with_options) => with_options.keys().next().map(String::as_str),
        word => word.as_str(),
    }
}

fn encryption(value: &Value) -> Option<ResolvedEncryption<'_>> {
    if let Some(age) = value.get("age") {
        let recipients = age.get("recipients")?.as_array()?.iter();
        return Some(ResolvedEncryption::Age {
            recipients: recipients.map(Value::as_str).collect::<Option<_>>()?,
            has_recipients_file: age.get("recipients_file").is_some(),
        });
    }
    let parquet = value.get("parquet")?;
    let columns = parquet.get("columns")?.as_object()?.iter();
    Some(ResolvedEncryption::Parquet {
        footer_key: key(parquet.get("footer_key")?)?,
        columns: columns.map(|(column, place)| Some((column.as_str(), key(place)?))).collect::<Option<_>>()?,
    })
}

/// Where a key is, as manifests write it: `env:NAME`, `file:PATH`.
fn key(place: &Value) -> Option<String> {
    let (kind, name) = place.as_object()?.iter().next()?;
    Some(format!("{}:{}", kind.strip_prefix("key_")?, name.as_str()?))
}

/// A selected column or path, and its name in the shards if the spec gives one.
pub type SelectedColumn<'a> = (&'a str, Option<&'a str>);

/// Whether a column or path has a name in the shards, without one in the spec: its own, or that of the last key.
pub(crate) fn is_name_of(name: &str, path: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(value: Value) -> ResolvedSpec {
        value.into()
    }

    #[test]
    fn keys_of_other_releases_survive_in_alphabetical_order() {
        let text = r#"{"zeta":{"b":1,"a":[null,{"d":1,"c":2}]},"a_key_of_a_later_release":1.5}"#;
        let spec: ResolvedSpec = serde_json::from_str(text).unwrap();
        let sorted = r#"{"a_key_of_a_later_release":1.5,"zeta":{"a":[null,{"c":2,"d":1}],"b":1}}"#;
        assert_eq!(serde_json::to_string(&spec).unwrap(), sorted);
    }

    #[test]
    fn an_absent_key_is_none_or_an_error_that_names_it() {
        let empty = resolved(json!({}));
        assert_eq!(empty.max_rows(), Ok(None));
        assert_eq!(empty.columns(), Ok(None));
        assert_eq!(empty.encryption(), Ok(None));
        assert_eq!(empty.rows_digest(), Ok(false));
        assert_eq!(empty.redactions(), Ok(BTreeMap::new()));
        assert_eq!(empty.csv(), Ok(CsvFormat::default()));
        assert_eq!(empty.output_uri().unwrap_err().to_string(), "`spec.resolved` has no `output.uri`");
        assert_eq!(empty.window().unwrap_err().to_string(), "`spec.resolved` has no `window.start`");
        assert_eq!(resolved(Value::Null).output_uri(), Err(ResolvedError::Missing { key: "output.uri" }));
    }

    #[test]
    fn a_value_of_another_type_is_an_error_that_names_its_key() {
        let spec = resolved(json!({
            "name": 1, "rows_digest": "yes", "partition": {"by": "fortnight", "max_rows": -1},
            "window": {"start": "March", "end": "2026-03-01T00:00:00Z", "timezone": "UTC"}, "columns": [{"a": 1}],
            "redact": {"a": 1}, "format": {"csv": {"delimiter": "||"}}, "compression": {"zstd": "3"},
            "output": {"retention": "1mo"}, "encryption": {"age": {}}, "filters": [], "on_bad_rows": "ignore",
        }));
        let errors = [
            (spec.name().map(drop), "`name` in `spec.resolved` is not text"),
            (spec.rows_digest().map(drop), "`rows_digest` in `spec.resolved` is not `true` or `false`"),
            (spec.partition_by().map(drop), "`partition.by` in `spec.resolved` is not a calendar unit"),
            (spec.max_rows().map(drop), "`partition.max_rows` in `spec.resolved` is not a whole number"),
            (spec.window().map(drop), "`window.start` in `spec.resolved` is not an instant"),
            (
                spec.columns().map(drop),
                "`columns` in `spec.resolved` is not a list of columns with their names in the shards",
            ),
            (spec.redactions().map(drop), "`redact` in `spec.resolved` is not a method for each path"),
            (spec.csv().map(drop), "`format.csv.delimiter` in `spec.resolved` is not one ASCII character"),
            (
                spec.compression_level().map(drop),
                "`compression` in `spec.resolved` is not a compression with or without a level",
            ),
            (spec.retention().map(drop), "`output.retention` in `spec.resolved` is not a duration"),
            (
                spec.encryption().map(drop),
                "`encryption` in `spec.resolved` is not age or Parquet encryption with its keys",
            ),
            (spec.filters().map(drop), "`filters` in `spec.resolved` is not an object"),
            (spec.on_bad_rows().map(drop), "`on_bad_rows` in `spec.resolved` is not `fail` or `reject`"),
        ];
        for (read, text) in errors {
            assert_eq!(read.unwrap_err().to_string(), text);
        }
        let failure = Failure::from(ResolvedError::Missing { key: "output.uri" });
        assert_eq!(failure.to_string(), "manifest.json: `spec.resolved` has no `output.uri`");
    }

    #[test]
    fn values_are_read_in_their_types() {
        let spec = resolved(json!({
            "partition": {"by": "day"}, "order": "time", "format": {"csv": {"header": false}}, "compression": {"zstd": 3},
            "columns": [{"event_id": "event_id"}, {"note": "text"}], "redact": {"note": "drop", "user": {"replace": "x"}},
            "output": {"uri": "package/", "retention": "86400s"},
            "encryption": {"digests": "clear", "parquet": {
                "footer_key": {"key_env": "FOOTER"}, "columns": {"user": {"key_file": "user.key"}},
            }},
        }));
        assert_eq!(spec.partition_by(), Ok(Some(PartitionBy::Day)));
        assert_eq!(spec.order(), Ok(Some(Order::Time)));
        assert_eq!((spec.format(), spec.compression()), (Ok("csv"), Ok("zstd")));
        assert_eq!(spec.csv(), Ok(CsvFormat { header: false, ..CsvFormat::default() }));
        assert_eq!(spec.compression_level(), Ok(Some(3)));
        assert_eq!(spec.columns(), Ok(Some(vec![("event_id", Some("event_id")), ("note", Some("text"))])));
        assert_eq!(spec.redactions(), Ok(BTreeMap::from([("note", "drop"), ("user", "replace")])));
        assert_eq!(spec.retention(), Ok(Some(SignedDuration::from_hours(24))));
        let columns = BTreeMap::from([("user", "file:user.key".to_owned())]);
        let footer_key = "env:FOOTER".to_owned();
        assert_eq!(spec.encryption(), Ok(Some(ResolvedEncryption::Parquet { footer_key, columns })));
        assert!(spec.states_digests());
        assert_eq!(resolved(json!({"compression": "none"})).compression_level(), Ok(None));
    }
}
