//! Compiles `redact` against the source's columns, and reports every mistake at once.
//!
//! A path starts with a source column: the column with exactly the path's name, else the longest column name that the path
//! continues, so that names may contain dots. Below the column, every matching field is redacted. If a value would still
//! appear elsewhere in the package, the redaction is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::json::Rule;
use super::leaf::Leaf;
use super::nested::Node;
use super::{RecordedRedaction, Redactor};
use crate::diagnostic::{Diagnostic, Located, listed_names, nearest, nearest_for, shown};
use crate::job::{Job, Redaction, RedactionMethod};
use crate::logical::{is_json, uuid};

/// A redaction and the rest of its path below the current field. The rest is empty at the redacted field.
#[derive(Clone, Copy)]
struct Open<'a> {
    redaction: &'a Redaction,
    index: usize,
    counter: usize,
    rest: &'a str,
}

/// Compiles the job's redactions. `source` has the source's columns, `own` of them, then those at paths. `chosen` are the
/// columns of the shards, by index in `source` and by name; dropped columns are removed from it. A redaction counts for every
/// chosen path at, around or inside its own. `folders` are the columns whose values appear in folder names. `None` if nothing is
/// redacted, or if mistakes were added.
pub(crate) fn compile(
    job: &Job,
    source: &Schema,
    own: usize,
    folders: &[String],
    chosen: &mut Vec<(usize, String)>,
    mistakes: &mut Vec<Diagnostic>,
) -> Option<Redactor> {
    if job.redactions.is_empty() {
        return None;
    }
    let before = mistakes.len();
    let mut of_columns: Vec<(usize, Open<'_>)> = Vec::new();
    let mut dropped = Vec::new();
    for (index, redaction) in job.redactions.iter().enumerate() {
        let Some((column, rest)) = place(&redaction.path, source, own, mistakes) else { continue };
        let name = source.field(column).name();
        let at_paths = chosen_paths(redaction, source, own, chosen);
        if let Some(mistake) = revealed_elsewhere(job, redaction, name, rest, folders) {
            mistakes.push(mistake);
        } else if let Some(path) =
            at_paths.iter().find(|path| path.is_inside && redaction.method == RedactionMethod::Drop)
        {
            mistakes.extend(selected_and_dropped(job, source.field(path.column).name()));
        } else if redaction.method == RedactionMethod::Drop && rest.is_empty() {
            mistakes.extend(selected_and_dropped(job, name));
            chosen.retain(|(chosen, _)| *chosen != column);
            dropped.push(name.clone());
        } else if at_paths.is_empty() && chosen.iter().all(|(chosen, _)| *chosen != column) {
            let message = format!("`{}` is redacted, but `columns` does not select it", shown(name));
            let help = "select it, or write `drop`, which also keeps its values out of the recorded filters";
            mistakes.push(redaction.path.mistake(message).help(help));
        } else {
            of_columns.push((column, Open { redaction, index, counter: 0, rest }));
            of_columns.extend(
                at_paths.iter().map(|path| (path.column, Open { redaction, index, counter: 0, rest: path.rest })),
            );
        }
    }
    if chosen.is_empty() && !dropped.is_empty() {
        let path = job.redactions.first().map(|redaction| redaction.path.clone());
        let mistake = path.map(|path| path.mistake("`redact` drops every column that would be exported"));
        mistakes.extend(mistake.map(|mistake| mistake.help("leave at least one")));
    }
    let redactor = shards(source, chosen, &of_columns, dropped, mistakes);
    (mistakes.len() == before).then_some(redactor)
}

/// The redaction of each column of the shards.
fn shards(
    source: &Schema,
    chosen: &[(usize, String)],
    of_columns: &[(usize, Open<'_>)],
    dropped: Vec<String>,
    mistakes: &mut Vec<Diagnostic>,
) -> Redactor {
    let (mut columns, mut recorded) = (Vec::new(), Vec::new());
    let (mut raw, mut fields) = (Vec::new(), Vec::new());
    let mut counters = 0..;
    for (column, name) in chosen {
        let field = source.field(*column).clone().with_name(name);
        let own = of_columns.iter().filter(|(c, _)| c == column).map(|(_, open)| *open);
        let own: Vec<Open<'_>> = own.zip(counters.by_ref()).map(|(open, counter)| Open { counter, ..open }).collect();
        recorded.push(own.iter().map(Open::recorded).collect());
        // Report the mistakes of a column only once, even if it is exported twice.
        let mut found = Vec::new();
        let node = if own.is_empty() { None } else { node(&field, source.field(*column).name(), &own, &mut found) };
        mistakes.extend(found.into_iter().filter(|mistake| !mistakes.contains(mistake)).collect::<Vec<_>>());
        fields.push(node.as_ref().and_then(|node| node.field(&field)).unwrap_or_else(|| field.clone()));
        raw.push(field);
        columns.push(node);
    }
    Redactor { columns, raw: Arc::new(Schema::new(raw)), schema: Arc::new(Schema::new(fields)), recorded, dropped }
}

impl Open<'_> {
    fn recorded(&self) -> RecordedRedaction {
        let method = match self.redaction.method {
            RedactionMethod::Mask => "mask",
            RedactionMethod::Nullify => "nullify",
            RedactionMethod::Drop => "drop",
            RedactionMethod::Replace(_) => "replace",
            RedactionMethod::HmacSha256(_) => "hmac_sha256",
        };
        RecordedRedaction { path: self.redaction.path.value.clone(), method, index: self.index }
    }

    fn leaf(&self) -> Leaf {
        Leaf::new(self.index, &self.redaction.method)
    }

    /// The redaction one level below, if the path continues there.
    fn below(&self, name: &str) -> Option<Self> {
        Some(Self { rest: rest_below(self.rest, name)?, ..*self })
    }

    fn mistake(&self, message: String, help: impl Into<String>) -> Diagnostic {
        self.redaction.path.mistake(message).help(help)
    }
}

/// The rest of a path below a name; empty if the name is the whole path.
fn rest_below<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.').filter(|rest| !rest.is_empty()) }
}

/// A chosen column at a path that a redaction concerns.
struct ChosenPath<'a> {
    column: usize,
    /// The rest of the redaction's path below the column; empty if all of the column is redacted.
    rest: &'a str,
    /// Whether all of the column is redacted.
    is_inside: bool,
}

/// The chosen columns at paths that lie at, around or inside the path of a redaction.
fn chosen_paths<'a>(
    redaction: &'a Redaction,
    source: &Schema,
    own: usize,
    chosen: &[(usize, String)],
) -> Vec<ChosenPath<'a>> {
    let path = redaction.path.value.as_str();
    let mut columns: Vec<usize> = chosen.iter().map(|(column, _)| *column).filter(|column| *column >= own).collect();
    columns.sort_unstable();
    columns.dedup();
    let concerned = columns.into_iter().filter_map(|column| {
        let name = source.field(column).name();
        match (rest_below(name, path), rest_below(path, name)) {
            (Some(_), _) => Some(ChosenPath { column, rest: "", is_inside: true }),
            (None, Some(rest)) => Some(ChosenPath { column, rest, is_inside: false }),
            (None, None) => None,
        }
    });
    concerned.collect()
}

fn selected_and_dropped(job: &Job, name: &str) -> Option<Diagnostic> {
    let choice = job.columns.iter().flatten().find(|choice| choice.source.value == *name)?;
    let message = format!("`{}` is selected here and dropped in `redact`", shown(name));
    Some(choice.source.mistake(message).help("remove it from one of them"))
}

/// The index of the column that a path starts with, and the rest of the path.
fn place<'a>(
    path: &'a Located<String>,
    source: &Schema,
    own: usize,
    mistakes: &mut Vec<Diagnostic>,
) -> Option<(usize, &'a str)> {
    let columns = source.fields().iter().enumerate().take(own);
    let fitting = columns.filter_map(|(i, field)| Some((i, rest_below(&path.value, field.name())?)));
    let found = fitting.min_by_key(|(_, rest)| rest.len());
    if found.is_none() {
        let first = path.value.split('.').next().unwrap_or_default();
        let names = || source.fields().iter().map(|f| f.name().as_str());
        let message = format!("redacted column `{}` is not in the source", shown(first));
        mistakes.push(path.mistake(message).help(match nearest_for(mistakes, first, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the source has {}", listed_names(names())),
        }));
    }
    found
}

/// Refuses columns whose values also appear in the manifest or in file names.
fn revealed_elsewhere(
    job: &Job,
    redaction: &Redaction,
    name: &str,
    rest: &str,
    folders: &[String],
) -> Option<Diagnostic> {
    let shown = shown(name);
    if folders.iter().any(|folder| folder == name) {
        let message =
            format!("`{shown}` comes from the names of folders, which the manifest lists: it cannot be redacted");
        let help = "leave the column out with `columns`; its values stay in the source's paths";
        return Some(redaction.path.mistake(message).help(help));
    }
    let path = &redaction.path.value;
    for time in job.time.sources().iter().map(|column| column.value.as_str()) {
        let holds_time = rest_below(time, path).is_some();
        let is_dropped = redaction.method == RedactionMethod::Drop && (rest.is_empty() || holds_time);
        if is_dropped || (name != time && !holds_time && rest_below(path, time).is_none()) {
            continue;
        }
        let shown = crate::diagnostic::shown(time);
        let message = format!(
            "`{shown}` is the time column, which partition names and `min_time` reveal, so it cannot be redacted"
        );
        return Some(redaction.path.mistake(message).help("`drop` leaves the exact times out of the shards"));
    }
    None
}

/// The redaction of a field; `None` after a mistake. `path` is the path of the field, for messages.
fn node(field: &Field, path: &str, open: &[Open<'_>], mistakes: &mut Vec<Diagnostic>) -> Option<Node> {
    // No other redaction can apply here, because the spec refuses nested paths.
    if let Some(end) = open.iter().find(|open| open.rest.is_empty()) {
        return Some(Node::Leaf(end.leaf(), end.counter));
    }
    if is_json(field) {
        let rule = |open: &Open<'_>| Rule { rest: open.rest.to_owned(), leaf: open.leaf(), counter: open.counter };
        return Some(Node::Json(open.iter().map(rule).collect()));
    }
    match field.data_type() {
        DataType::Struct(fields) => {
            let mut nodes = Vec::new();
            for (i, child) in fields.iter().enumerate() {
                let inner: Vec<_> = open.iter().filter_map(|open| open.below(child.name())).collect();
                if !inner.is_empty() {
                    nodes.push((i, node(child, &format!("{path}.{}", child.name()), &inner, mistakes)?));
                }
            }
            let names = || fields.iter().map(|f| f.name().as_str());
            let lost: Vec<_> = open.iter().filter(|open| names().all(|name| open.below(name).is_none())).collect();
            mistakes.extend(lost.iter().map(|open| {
                let first = open.rest.split('.').next().unwrap_or_default();
                let message = format!("`{}` has no field `{}`", shown(path), shown(first));
                open.mistake(
                    message,
                    match nearest(first, names()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has {}", listed_names(names())),
                    },
                )
            }));
            lost.is_empty().then_some(Node::Struct(nodes))
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(Node::List(Box::new(node(item, path, open, mistakes)?)))
        }
        DataType::Map(entries, _) => map(entries, path, open, mistakes),
        other => {
            let kind = if matches!(other, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
                "text".to_owned()
            } else {
                other.to_string().to_lowercase()
            };
            mistakes.extend(open.iter().map(|open| {
                let message =
                    format!("`{}` is {kind}, and nothing inside it has the name `{}`", shown(path), shown(open.rest));
                open.mistake(message, "redact it as a whole; text that holds JSON is declared as `json` in `schema`")
            }));
            None
        }
    }
}

/// The redaction of map entries, by key. All values of a map have one type, so methods that change the type are refused.
fn map(entries: &Field, path: &str, open: &[Open<'_>], mistakes: &mut Vec<Diagnostic>) -> Option<Node> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let [key, value] = fields.as_ref() else { return None };
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let mut nodes = Vec::new();
    for open in open {
        let (name, rest) = match value.data_type().is_nested() || is_json(value) {
            true => open.rest.split_once('.').unwrap_or((open.rest, "")),
            false => (open.rest, ""),
        };
        let inner = node(value, &format!("{path}.{name}"), &[Open { rest, ..*open }], mistakes)?;
        let fits = inner.field(value).is_none_or(|field| {
            let (from, to) = (value.data_type(), field.data_type());
            let marks = |field: &Field| (is_json(field), uuid::is_uuid(field));
            marks(value) == marks(&field) && (from == to || (is_text(from) && is_text(to)))
        });
        if !fits || !is_text(key.data_type()) {
            let message = format!("`{}` is a map, whose values keep one type", shown(path));
            mistakes.push(open.mistake(message, "use `nullify` or `drop`, or redact the whole map"));
            return None;
        }
        nodes.push((name.to_owned(), inner));
    }
    Some(Node::Map(nodes))
}
