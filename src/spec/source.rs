//! Where a type's rows are: the keys that a catalog entry and a spec share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;

use globset::{Glob, GlobBuilder};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;

use crate::diagnostic::{Diagnostic, Located, Span, nearest, regex_reason, shown};
use crate::job::{
    Combination, CsvDialect, DeclaredType, ExpectedFiles, KeptField, LinePattern, LinePatternError, OnEmptyFile,
    PartitionBy, PathTime, RecordsPath, SchemaDrift, SourceCompression, SourceFormat,
};
use crate::spec::csv_dialect::{CsvDialectKeys, csv_dialect};
use crate::spec::envelope::envelope;
use crate::spec::window::duration;
use crate::store::{Location, LocationError, StoreOptions};
use crate::time::TimeFormat;
use crate::time::parse::{PatternError, check_instant_pattern, check_pattern, with_offset_field};
use crate::yaml::decode::{Fields, Keys, Word, any_text, boolean, list, mapping, not_one_of, one_or_more, text, word};
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

/// Why a text is not a pattern of times.
#[derive(Debug, thiserror::Error)]
enum BadPattern {
    #[error("`*` stands for any part of a name, so no field of the time may follow it")]
    FieldAfterWildcard,
    #[error(transparent)]
    Time(#[from] PatternError),
}

/// A strftime pattern that `check` takes.
fn strftime(
    node: &Node,
    what: &str,
    errors: &mut Vec<Diagnostic>,
    check: fn(&str) -> Result<(), BadPattern>,
) -> Option<Located<String>> {
    let pattern = text(node, what, errors)?;
    if !pattern.value.contains('%') {
        let mistake = pattern.mistake(format!("`{}` is not a time pattern", shown(&pattern.value)));
        errors.push(mistake.help("write a strftime pattern such as `%Y-%m-%d`"));
        return None;
    }
    if let Err(why) = check(&pattern.value) {
        let mistake = pattern.mistake(format!("`{}` is not a time pattern", shown(&pattern.value)));
        errors.push(mistake.help(why.to_string()));
        return None;
    }
    Some(pattern)
}

/// The time column.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TimeSpec {
    /// Source column, or a path into one (`t.$date`). Of a list, the first that has a value in a row counts.
    #[schemars(with = "Option<OneOrMore>")]
    pub column: Located<String>,
    /// Instead of `column`: columns or paths whose values make the time, joined by one space: `[date, time]`.
    #[schemars(with = "Option<Vec<String>>")]
    pub columns: Vec<Located<String>>,
    /// How several columns make the time.
    #[schemars(skip)]
    pub combination: Combination,
    /// How it is written. `auto` (default): typed timestamps, dates and RFC 3339 text. Numbers need `epoch_s`,
    /// `epoch_ms`, `epoch_us` or `epoch_ns`, with or without a fraction; other text needs a strftime pattern. Of a list, the
    /// first that fits a value counts.
    #[schemars(with = "Option<OneOrMore>")]
    pub format: Option<TimeFormat>,
    /// IANA zone of times that are written without one; default: the catalog's `defaults.timezone`, else UTC.
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Located<TimeZone>>,
    /// What zone abbreviations mean, which `%Z` in a pattern reads: `{CET: "+01:00"}`. None is guessed.
    pub zones: Option<BTreeMap<String, String>>,
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

/// Keys of `time`.
pub(super) const TIME_KEYS: Keys = Keys { known: &["column", "columns", "format", "timezone", "zones"] };

impl TimeSpec {
    fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "time", TIME_KEYS, errors)?;
        let list = fields.get("column").filter(|entry| matches!(entry.value.kind, Kind::Sequence(_)));
        let (several, combination, word) = match (fields.get("columns"), list) {
            (Some(entry), _) => (Some(joined_columns(entry, &fields, errors)), Combination::Joined, " + "),
            (None, Some(entry)) => (Some(time_columns(entry, errors)), Combination::First, " or "),
            (None, None) => (None, Combination::default(), ""),
        };
        let column = match &several {
            None => fields.required("column", "occurred_at", errors, text),
            Some(columns) => columns.as_ref().and_then(|columns| name_of_all(columns, word)),
        };
        let timezone = fields.optional("timezone", errors, zone);
        let zones = fields.optional("zones", errors, abbreviations);
        let before = errors.len();
        let format = fields.get("format").and_then(|e| time_formats(&e.value, fields.get("zones").is_some(), errors));
        let reads_abbreviations = format.iter().flat_map(TimeFormat::alternatives).any(|format| match format {
            TimeFormat::Pattern(pattern) => with_offset_field(pattern).is_some(),
            _ => false,
        });
        if let Some(entry) = fields.get("zones").filter(|_| !reads_abbreviations && errors.len() == before) {
            let mistake = entry.key.mistake("`zones` has no effect: no pattern in `format` has `%Z`");
            errors.push(mistake.help("remove it, or write `%Z` where the abbreviation stands"));
        }
        let columns = several.flatten().unwrap_or_default();
        let formats = || format.iter().flat_map(TimeFormat::alternatives);
        if let Some(second) = columns.get(1).filter(|_| combination == Combination::Joined)
            && let Some(epoch) = formats().find(|format| format.is_epoch())
        {
            let mistake = second.mistake(format!("no time in several columns is `{}`", time_format_text(epoch)));
            errors.push(mistake.help("name the one column that holds the number in `column`"));
        }
        Some(Self { column: column?, columns, combination, format, timezone, zones })
    }
}

/// The columns of a time that are joined.
fn joined_columns(entry: &Entry, fields: &Fields<'_>, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<String>>> {
    if fields.get("column").is_some() {
        let mistake = entry.key.mistake("`columns` and `column` exclude each other");
        errors.push(mistake.help("write `column` for a time in one column, `columns` for one in several"));
        return None;
    }
    time_columns(entry, errors)
}

/// At least two columns, each once.
fn time_columns(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<String>>> {
    let key = &entry.key.value;
    let items = list(&entry.value, key, errors)?;
    let mut columns: Vec<Located<String>> = Vec::with_capacity(items.len());
    for item in items {
        let column = text(item, key, errors)?;
        if columns.iter().any(|other| other.value == column.value) {
            let mistake = column.mistake(format!("`{key}` names `{}` twice", shown(&column.value)));
            errors.push(mistake.help("remove one of them"));
            return None;
        }
        columns.push(column);
    }
    if columns.len() < 2 {
        let mistake = entry.key.mistake(format!("a list in `{key}` must name at least two columns"));
        errors.push(mistake.help("write `column: occurred_at` for a time in one column"));
        return None;
    }
    Some(columns)
}

/// What the time is called in messages if it is in several columns, with the place of the first.
fn name_of_all(columns: &[Located<String>], word: &str) -> Option<Located<String>> {
    let names: Vec<_> = columns.iter().map(|column| column.value.as_str()).collect();
    let span = columns.first()?.span.clone();
    Some(Located { value: names.join(word), span })
}

const TIME_FORMATS: [(&str, TimeFormat); 5] = [
    ("auto", TimeFormat::Auto),
    ("epoch_s", TimeFormat::EpochS),
    ("epoch_ms", TimeFormat::EpochMs),
    ("epoch_us", TimeFormat::EpochUs),
    ("epoch_ns", TimeFormat::EpochNs),
];

/// The text of a time format, as [`TimeSpec::format`] reads it; the formats of a list are separated by commas.
pub(crate) fn time_format_text(format: &TimeFormat) -> Cow<'_, str> {
    match format {
        TimeFormat::Pattern(pattern) => pattern.into(),
        TimeFormat::AnyOf(formats) => formats.iter().map(time_format_text).collect::<Vec<_>>().join(", ").into(),
        other => TIME_FORMATS.iter().find(|(_, f)| f == other).map_or("auto", |(word, _)| word).into(),
    }
}

/// Zone abbreviations and their offsets, as `%z` reads them.
fn abbreviations(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<BTreeMap<String, String>> {
    let mut zones = BTreeMap::new();
    let before = errors.len();
    let entries = mapping(node, what, errors)?;
    if entries.is_empty() {
        let mistake = Diagnostic::at(Some(&node.span), "`zones` names no abbreviation");
        errors.push(mistake.help("write `{CET: \"+01:00\", CEST: \"+02:00\"}`, or remove it"));
    }
    for entry in entries {
        let name = &entry.key.value;
        if name.is_empty() || name.len() > 10 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            errors
                .push(entry.key.mistake(format!("`{}` is not a zone abbreviation", shown(name))).help("write letters"));
            continue;
        }
        let Some(offset) = any_text(&entry.value, name, errors) else { continue };
        match crate::time::rfc3339::offset(&offset.value) {
            Some(seconds) => {
                let minutes = seconds.abs() / 60;
                let sign = if seconds < 0 { '-' } else { '+' };
                zones.insert(name.clone(), format!("{sign}{:02}{:02}", minutes / 60, minutes % 60));
            }
            None => {
                let mistake = offset.mistake(format!("`{}` is not an offset", shown(&offset.value)));
                errors.push(mistake.help("write hours and minutes east of UTC: \"+01:00\""));
            }
        }
    }
    (errors.len() == before).then_some(zones)
}

/// One format or a list of them.
fn time_formats(node: &Node, has_zones: bool, errors: &mut Vec<Diagnostic>) -> Option<TimeFormat> {
    let mut formats = Vec::new();
    for item in one_or_more(node) {
        let format = time_format(item, has_zones, errors)?;
        if formats.contains(&format) {
            errors
                .push(Diagnostic::at(Some(&item.span), "`format` names this format twice").help("remove one of them"));
            return None;
        }
        formats.push(format);
    }
    match formats.len() {
        0 => {
            errors.push(Diagnostic::at(Some(&node.span), "`format` names no format").help("remove it, or name one"));
            None
        }
        1 => formats.pop(),
        _ => Some(TimeFormat::AnyOf(formats)),
    }
}

fn time_format(node: &Node, has_zones: bool, errors: &mut Vec<Diagnostic>) -> Option<TimeFormat> {
    let what = "format";
    let found = text(node, what, errors)?;
    if let Some((_, format)) = TIME_FORMATS.iter().find(|(word, _)| *word == found.value) {
        return Some(format.clone());
    }
    if found.value.contains('%') {
        if with_offset_field(&found.value).is_some() && !has_zones {
            let mistake =
                found.mistake(format!("`{}` has a zone abbreviation, `%Z`, and none is guessed", shown(&found.value)));
            errors.push(mistake.help("add `zones: {CET: \"+01:00\"}` with the offset of each"));
            return None;
        }
        let check = |pattern: &str| {
            let pattern = with_offset_field(pattern).unwrap_or_else(|| pattern.to_owned());
            Ok(check_instant_pattern(&pattern)?)
        };
        return strftime(node, what, errors, check).map(|pattern| TimeFormat::Pattern(pattern.value));
    }
    let mistake = found.mistake(format!("`{}` is not a time format", shown(&found.value)));
    errors.push(mistake.help(match nearest(&found.value, TIME_FORMATS.iter().map(|(word, _)| *word)) {
        Some(word) => format!("did you mean `{word}`?"),
        None => "allowed: auto, epoch_s, epoch_ms, epoch_us, epoch_ns, or a strftime pattern".to_owned(),
    }));
    None
}

/// An IANA time zone.
pub(crate) fn zone(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<TimeZone>> {
    let found = text(node, what, errors)?;
    match crate::time::zone::find(&found.value) {
        Ok(value) => Some(Located { value, span: found.span }),
        Err(unknown) => {
            let mistake = found.mistake(format!("unknown time zone `{}`", shown(&found.value)));
            errors.push(mistake.help(unknown.help()));
            None
        }
    }
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
