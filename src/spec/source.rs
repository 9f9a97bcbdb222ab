//! Where a type's rows are: the keys that a catalog entry and a spec share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;

use globset::{Glob, GlobBuilder};
use jiff::SignedDuration;
use schemars::JsonSchema;

use crate::diagnostic::{Diagnostic, Located, Span, nearest, regex_reason, shown};
use crate::job::{
    CsvDialect, DeclaredType, ExpectedFiles, KeptField, LinePattern, LinePatternError, OnEmptyFile, PartitionBy,
    PathTime, RecordsPath, SchemaDrift, SourceCompression, SourceFormat,
};
use crate::spec::csv_dialect::{CsvDialectKeys, csv_dialect};
use crate::spec::envelope::envelope;
use crate::spec::time::{BadPattern, TimeSpec, strftime};
use crate::spec::window::duration;
use crate::store::{Location, LocationError, StoreOptions};
use crate::time::parse::check_pattern;
use crate::yaml::decode::{Fields, Keys, Word, any_text, boolean, mapping, not_one_of, one_or_more, text, word};
use crate::yaml::{Entry, Kind, Node};

/// What is known of a type. In a spec, each key replaces the catalog's key of the same name whole.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
pub struct TypeEntry {
    /// Where the rows are.
    pub source: Option<SourceSpec>,
    /// Which column is the time, and how it is written.
    pub time: Option<TimeSpec>,
    /// The column that names a row.
    pub id: Option<Located<String>>,
    /// Names for filters: filter name to source column or path.
    pub fields: Option<BTreeMap<String, Located<String>>>,
    /// Types of columns, by source column or path: `bool`, `int8` … `int64`, `uint8` … `uint64`, `float32`, `float64`,
    /// `decimal(12,6)`, `number`, `text`, `date`, `timestamp`, `json`. What is not named is inferred from all rows.
    #[schemars(with = "Option<BTreeMap<String, DeclaredType>>")]
    pub schema: Option<Vec<(Located<String>, DeclaredType)>>,
    /// When files disagree about a column: `widen` (default) to the narrowest type that holds every value exactly,
    /// or `fail`.
    pub on_schema_drift: Option<SchemaDrift>,
}

/// The keys of [`TypeEntry`], in a spec and in a catalog.
pub const TYPE_ENTRY_KEYS: [&str; 6] = ["source", "time", "id", "fields", "schema", "on_schema_drift"];

impl TypeEntry {
    /// Reads the keys of [`TYPE_ENTRY_KEYS`] from a mapping.
    pub fn decode(fields: &Fields<'_>, errors: &mut Vec<Diagnostic>) -> Self {
        Self {
            source: fields.get("source").and_then(|e| SourceSpec::decode(e, errors)),
            time: fields.get("time").and_then(|e| TimeSpec::decode(e, errors)),
            id: fields.optional("id", errors, text),
            fields: fields.optional("fields", errors, text_map),
            schema: fields.optional("schema", errors, declared_types),
            on_schema_drift: fields.optional("on_schema_drift", errors, word),
        }
    }
}

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SourceSpec {
    /// A file, a folder (read with everything below it) or a glob, or a list of them. A relative path starts at the folder
    /// of the file that names it.
    #[schemars(rename = "uri", with = "Uris")]
    pub uris: Vec<Located<String>>,
    /// Globs of files that are not read, relative to the folder of their `uri`: `**/*.tmp`. The manifest lists them.
    #[schemars(with = "Option<OneOrMore>")]
    pub exclude: Vec<Located<Glob>>,
    /// Format of the files; default: what the extension says (`x.csv.gz` works). Without a telling one (`.log`, `x.gz`), what
    /// the content shows: Parquet, Arrow, NDJSON or JSON.
    pub format: Option<SourceFormat>,
    /// Whether `key=value` folders become columns; `auto` (default): when every file has the same keys.
    #[schemars(with = "Option<HivePartitioning>")]
    pub hive_partitioning: Option<bool>,
    /// What a file's name says of its rows' time. Files outside the window are skipped unread; a row that is not where
    /// the name of its file says fails the partitions of the window.
    #[schemars(with = "Option<PathTimeKeys>")]
    pub path_time: Option<PathTime>,
    /// Compression of the files: `gzip`, `zstd`, `bzip2`, `xz`, `lz4` or `none`; `auto` (default): what the first bytes of a
    /// file say, else its extension. Not for Parquet and Arrow, which compress inside.
    #[schemars(with = "Option<CompressionSetting>")]
    pub compression: Option<Located<SourceCompression>>,
    /// A file of 0 bytes in a folder or glob: `skip` (default) lists it in the manifest, `fail` fails the partitions that it
    /// may have rows of.
    pub on_empty_file: Option<OnEmptyFile>,
    /// Dialect of CSV files.
    #[schemars(with = "Option<CsvDialectKeys>")]
    pub csv: Option<Located<CsvDialect>>,
    /// What the lines look like, with `format: lines`.
    #[schemars(with = "Option<LinesKeys>")]
    pub lines: Option<Located<LinePattern>>,
    /// JSON and NDJSON: path of the array of rows inside each document, through other arrays with `[]`:
    /// `resourceSpans[].scopeSpans[].spans`. A null on the way is an empty array.
    #[schemars(with = "Option<String>")]
    pub records: Option<Located<RecordsPath>>,
    /// Fields of the objects around the rows that become columns: name of the column to path, `{log_group: logGroup}`. The
    /// `[]` of a path are those of `records`. A field that is missing is null.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub keep: Vec<KeptField>,
    /// Whether files of a Delta, Iceberg, Hudi or Paimon table are read as plain files: with rows that were deleted or
    /// rewritten. Without it (default: `false`) such a table is refused.
    pub plain_files: Option<bool>,
    /// How the object store of `uri` is reached, where the environment does not say.
    #[schemars(with = "Option<StoreOptions>")]
    pub options: StoreOptions,
}

/// Keys of `source`.
pub(super) const SOURCE_KEYS: Keys = Keys {
    known: &[
        "uri",
        "exclude",
        "format",
        "hive_partitioning",
        "path_time",
        "compression",
        "on_empty_file",
        "csv",
        "lines",
        "records",
        "keep",
        "plain_files",
        "options",
    ],
};

/// `auto`, `true` or `false`.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
enum HivePartitioning {
    /// Always or never.
    Fixed(bool),
    /// When every file has the same keys.
    #[schemars(with = "Auto")]
    Auto,
}

/// `auto` or a compression.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
enum CompressionSetting {
    /// This one.
    Fixed(SourceCompression),
    /// What the first bytes of a file say, else its extension.
    #[schemars(with = "Auto")]
    Auto,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
enum Auto {
    Auto,
}

/// What a file's name says of its rows' time.
#[derive(JsonSchema)]
#[schemars(rename = "PathTime", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
struct PathTimeKeys {
    /// strftime pattern, matched against the end of the path: `%Y-%m-%d.ndjson`. Behind its last field, `*` is any part of
    /// a name: `year=%Y/month=%m/day=%d/*`.
    pattern: String,
    /// How long a file covers from that time.
    covers: PartitionBy,
    /// How much earlier than what a file covers its rows may be: `5m`. Default `0s`.
    early: Option<String>,
    /// How much later than what a file covers its rows may be: `2h`. Default `0s`.
    late: Option<String>,
    /// `every`: there is a file for each calendar unit of the window. The partitions of a unit without a file are partial.
    expect: Option<ExpectedFiles>,
}

/// Keys of `path_time`.
pub(super) const PATH_TIME_KEYS: Keys = Keys { known: &["pattern", "covers", "early", "late", "expect"] };

impl SourceSpec {
    fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let at = entry.key.span.as_ref()?;
        let fields = Fields::open(&entry.value, at, "source", SOURCE_KEYS, errors)?;
        let uris = fields.required("uri", "data/events/", errors, uris);
        let options = fields.get("options").and_then(|e| store_options(e, errors)).unwrap_or_default();
        let is_local = |uri: &Located<String>| matches!(location(uri), Ok(Location::Local(_)));
        if let (Some(entry), Some(uris)) = (fields.get("options"), &uris)
            && uris.iter().all(is_local)
        {
            let message = match uris.as_slice() {
                [uri] => format!("`options` has no effect: `{}` is not in an object store", shown(&uri.value)),
                _ => "`options` has no effect: no `uri` is in an object store".to_owned(),
            };
            errors.push(entry.key.mistake(message).help("remove it"));
        }
        let format: Option<SourceFormat> = fields.optional("format", errors, word);
        let (records, keep) = envelope(&fields, format, errors);
        let csv = fields.get("csv").and_then(|e| csv_dialect(e, errors));
        if let (Some(csv), Some(format)) = (&csv, format)
            && format != SourceFormat::Csv
        {
            let message = format!("`csv` has no effect: the files are read as {}", format.name());
            errors.push(csv.mistake(message).help("remove it, or set `format: csv`"));
        }
        let before = errors.len();
        let lines = fields.get("lines").and_then(|e| line_pattern(e, errors));
        match (&lines, format) {
            (None, Some(SourceFormat::Lines)) if errors.len() == before => {
                let place = fields.get("format").and_then(|entry| entry.key.span.as_ref());
                let mistake = Diagnostic::at(place, "`format: lines` needs `lines`");
                errors.push(
                    mistake.help("add `lines: {pattern: '^(?<time>\\S+) (?<message>.*)$'}`: named groups are columns"),
                );
            }
            (Some(lines), format) if format != Some(SourceFormat::Lines) => {
                let mistake = lines.mistake("`lines` has no effect without `format: lines`");
                errors.push(mistake.help("remove it, or set `format: lines`"));
            }
            _ => {}
        }
        let compression = fields.optional("compression", errors, source_compression).flatten();
        if let (Some(compression), Some(format)) = (&compression, format)
            && !format.is_text()
        {
            let message = format!("`compression` has no effect: {} files compress inside", format.name());
            errors.push(compression.mistake(message).help("remove it"));
        }
        let exclude = fields.optional("exclude", errors, globs).unwrap_or_default();
        Some(Self {
            exclude,
            format,
            hive_partitioning: fields.optional("hive_partitioning", errors, hive_partitioning).flatten(),
            path_time: fields.get("path_time").and_then(|e| path_time(e, errors)),
            compression,
            on_empty_file: fields.optional("on_empty_file", errors, word),
            csv,
            lines,
            records,
            keep,
            plain_files: fields.optional("plain_files", errors, boolean),
            options,
            uris: uris?,
        })
    }
}

/// Keys of `options`.
pub(super) const OPTION_KEYS: Keys =
    Keys { known: &["endpoint", "region", "profile", "account", "virtual_hosted_style", "anonymous"] };

/// `options`, in a source and in an output. Credentials are none of them: those come from the environment.
pub(crate) fn store_options(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<StoreOptions> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "options", OPTION_KEYS, errors)?;
    let plain = |found: Option<Located<String>>| found.map(|found| found.value);
    let endpoint = fields.optional("endpoint", errors, text);
    if let Some(endpoint) = &endpoint {
        let is_url = url::Url::parse(&endpoint.value).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.query().is_none()
        });
        if !is_url {
            let mistake = endpoint.mistake(format!("the endpoint `{}` is not a URL", shown(&endpoint.value)));
            errors.push(mistake.help("write `https://host:port`, without credentials"));
        }
    }
    Some(StoreOptions {
        endpoint: plain(endpoint),
        region: plain(fields.optional("region", errors, text)),
        profile: plain(fields.optional("profile", errors, text)),
        account: plain(fields.optional("account", errors, text)),
        virtual_hosted_style: fields.optional("virtual_hosted_style", errors, boolean),
        anonymous: fields.optional("anonymous", errors, boolean),
    })
}

/// Where a URI leads, seen from the file that names it.
fn location(uri: &Located<String>) -> Result<Location, LocationError> {
    Location::parse(uri.value.strip_prefix("./").unwrap_or(&uri.value), &StoreOptions::default())
}

/// One path or URI of a store that is known, or several different ones.
fn uris(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<String>>> {
    let items = one_or_more(node);
    if items.is_empty() {
        let mistake = Diagnostic::at(Some(&node.span), "`uri` is an empty list");
        errors.push(mistake.help("name at least one file, folder or glob"));
        return None;
    }
    let mut uris: Vec<Located<String>> = Vec::new();
    for item in items {
        let uri = text(item, what, errors)?;
        match location(&uri) {
            Err(error) => errors.push(uri.mistake(error.to_string())),
            Ok(at) if uris.iter().any(|other| location(other).as_ref() == Ok(&at)) => {
                errors
                    .push(uri.mistake(format!("`uri` names `{}` twice", shown(&uri.value))).help("remove one of them"));
            }
            Ok(_) => {}
        }
        uris.push(uri);
    }
    Some(uris)
}

/// One URI or several.
struct Uris;

impl JsonSchema for Uris {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Uris".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": true},
            ],
        })
    }
}

fn hive_partitioning(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Option<bool>> {
    match node.core_value() {
        Some(crate::yaml::CoreValue::Text("auto")) => Some(None),
        Some(crate::yaml::CoreValue::Text(other)) => {
            let found = Located { value: other.to_owned(), span: Some(node.span.clone()) };
            errors.push(not_one_of(&found, what, &["auto", "true", "false"]));
            None
        }
        _ => boolean(node, what, errors).map(Some),
    }
}

/// One glob or several, in which `*` does not cross folders.
fn globs(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<Glob>>> {
    let mut globs = Vec::new();
    for item in one_or_more(node) {
        let found = text(item, what, errors)?;
        match GlobBuilder::new(&found.value).literal_separator(true).build() {
            Ok(value) => globs.push(Located { value, span: found.span }),
            Err(error) => {
                let mistake = found.mistake(format!("`{}` is not a glob", shown(&found.value)));
                errors.push(mistake.help(error.kind().to_string()));
                return None;
            }
        }
    }
    Some(globs)
}

/// `None` inside is `auto`.
fn source_compression(
    node: &Node,
    what: &str,
    errors: &mut Vec<Diagnostic>,
) -> Option<Option<Located<SourceCompression>>> {
    let found = text(node, what, errors)?;
    if found.value == "auto" {
        return Some(None);
    }
    let Some((_, value)) = SourceCompression::WORDS.iter().find(|(word, _)| *word == found.value) else {
        let words: Vec<_> = iter::once("auto").chain(SourceCompression::WORDS.iter().map(|(word, _)| *word)).collect();
        errors.push(not_one_of(&found, what, &words));
        return None;
    };
    Some(Some(Located { value: *value, span: found.span }))
}

/// Keys of `lines`.
pub(super) const LINES_KEYS: Keys = Keys { known: &["pattern", "unmatched"] };

/// What the lines of a file look like.
#[derive(JsonSchema)]
#[schemars(rename = "Lines", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
struct LinesKeys {
    /// Regular expression in the syntax of the `regex` crate. It is searched in each line; anchors make it match whole lines.
    /// Named groups, `(?<name>…)`, are columns.
    pattern: String,
    /// What a line is that does not match: `fail` makes it a bad row.
    unmatched: Option<Unmatched>,
}

/// What a line is that does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Unmatched {
    /// A bad row.
    Fail,
}

impl Word for Unmatched {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail)];
}

fn line_pattern(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Located<LinePattern>> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "lines", LINES_KEYS, errors)?;
    fields.optional::<Unmatched>("unmatched", errors, word);
    let found = fields.required("pattern", "'^(?<time>\\S+) (?<message>.*)$'", errors, text)?;
    match LinePattern::new(&found.value) {
        Ok(value) => Some(Located { value, span: found.span }),
        Err(why) => {
            let mistake = found.mistake("`pattern` is not a regular expression with named groups");
            errors.push(mistake.help(match why {
                LinePatternError::Syntax(error) => regex_reason(&error),
                why @ LinePatternError::NoColumns => why.to_string(),
            }));
            None
        }
    }
}

fn path_time(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<PathTime> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "path_time", PATH_TIME_KEYS, errors)?;
    let pattern = fields.required("pattern", "\"%Y-%m-%d.ndjson\"", errors, |node, what, errors| {
        strftime(node, what, errors, check_path_pattern)
    });
    let covers = fields.required("covers", "day", errors, word);
    if covers == Some(PartitionBy::None)
        && let Some(entry) = fields.get("covers")
    {
        let mistake = Diagnostic::at(Some(&entry.value.span), "`covers` cannot be `none`");
        errors.push(mistake.help("name the calendar unit that one file holds: hour, day, week, month, quarter, year"));
        return None;
    }
    let early = fields.optional("early", errors, duration);
    let late = fields.optional("late", errors, duration);
    let expect = fields.optional("expect", errors, word);
    let or_none = |margin: Option<Located<SignedDuration>>| margin.map_or(SignedDuration::ZERO, |margin| margin.value);
    Some(PathTime { pattern: pattern?, covers: covers?, early: or_none(early), late: or_none(late), expect })
}

/// A strftime pattern in which `*` may follow the last field.
fn check_path_pattern(pattern: &str) -> Result<(), BadPattern> {
    match pattern.split_once('*') {
        Some((_, tail)) if tail.contains('%') => Err(BadPattern::FieldAfterWildcard),
        Some((head, _)) => Ok(check_pattern(head)?),
        None => Ok(check_pattern(pattern)?),
    }
}

/// One text or several.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(super) enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// Names to text.
pub(crate) fn text_map(
    node: &Node,
    what: &str,
    errors: &mut Vec<Diagnostic>,
) -> Option<BTreeMap<String, Located<String>>> {
    let entries = mapping(node, what, errors)?;
    let mut map = BTreeMap::new();
    for entry in entries {
        if let Some(value) = text(&entry.value, &entry.key.value, errors) {
            map.insert(entry.key.value.clone(), value);
        }
    }
    Some(map)
}

fn declared_types(
    node: &Node,
    what: &str,
    errors: &mut Vec<Diagnostic>,
) -> Option<Vec<(Located<String>, DeclaredType)>> {
    let mut types = Vec::new();
    for entry in mapping(node, what, errors)? {
        let Some(found) = any_text(&entry.value, &entry.key.value, errors) else { continue };
        match DeclaredType::parse(&found.value) {
            Some(declared) => types.push((entry.key.clone(), declared)),
            None => {
                let mistake = found.mistake(format!("`{}` is not a column type", shown(&found.value)));
                let near = nearest(&found.value, DeclaredType::NAMES);
                errors.push(mistake.help(match near {
                    _ if found.value.starts_with("decimal") => {
                        "write `decimal(precision,scale)`, precision from 1 to 38, scale at most that".to_owned()
                    }
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("allowed: {}(precision,scale)", DeclaredType::NAMES.join(", ")),
                }));
            }
        }
    }
    Some(types)
}

/// Where a mapping without a key of its own (the document) reports missing keys: its first line.
pub(crate) fn document_place(root: &Node) -> Span {
    match &root.kind {
        Kind::Mapping(entries) => entries.first().and_then(|e| e.key.span.clone()).unwrap_or_else(|| root.span.clone()),
        _ => root.span.clone(),
    }
}
