//! The time of a row: its columns, how it is written, and its zone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use schemars::JsonSchema;

use super::source::OneOrMore;
use crate::diagnostic::{Diagnostic, Located, nearest, shown};
use crate::job::Combination;
use crate::time::TimeFormat;
use crate::time::parse::{PatternError, check_instant_pattern, with_offset_field};
use crate::yaml::decode::{Fields, Keys, any_text, list, mapping, one_or_more, text};
use crate::yaml::{Entry, Kind, Node};

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

/// Keys of `time`.
pub(super) const TIME_KEYS: Keys = Keys { known: &["column", "columns", "format", "timezone", "zones"] };

impl TimeSpec {
    pub(super) fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
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

/// Why a text is not a pattern of times.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPattern {
    #[error("`*` stands for any part of a name, so no field of the time may follow it")]
    FieldAfterWildcard,
    #[error(transparent)]
    Time(#[from] PatternError),
}

/// A strftime pattern that `check` takes.
pub(super) fn strftime(
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
