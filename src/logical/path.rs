//! Paths to values inside columns: structs, maps and JSON text.
//!
//! A name that no column has is a path: the name of a column, then keys, separated by dots. Keys may contain dots, too, so
//! the longest name that leads to a value counts at each level. Values of structs and maps keep their type. Values of JSON text are
//! text, numbers with their digits and nested values as JSON, unless `schema` declares the type of the path.
//!
//! Invariant: a path goes through objects only. It never enters a list, whose items could give a row several values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::is_json;
use super::origin::Origin;
use crate::diagnostic::{listed_names, nearest};

/// Separates the names of a path.
pub(crate) const SEPARATOR: char = '.';

/// Why a name leads to no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// No column has the name, nor the beginning of it.
    #[error("no column is called `{0}`")]
    NoColumn(String),
    /// A struct has no such field.
    #[error("`{path}` has no field `{field}`")]
    NoField {
        /// Path of the struct.
        path: String,
        /// What was looked for.
        field: String,
        /// What it has.
        known: Vec<String>,
    },
    /// A value that has no fields.
    #[error("`{path}` {why}")]
    Closed {
        /// Its path.
        path: String,
        /// What it is, and what could be done.
        why: &'static str,
    },
}

/// Where a name that leads to no value ends; `None` if it does not even begin with a column.
pub(crate) fn help(schema: &Schema, name: &str) -> Option<String> {
    match resolve(schema, name) {
        Ok(_) | Err(PathError::NoColumn(_)) => None,
        Err(error) => Some(error.help()),
    }
}

impl PathError {
    /// What the user can do.
    fn help(&self) -> String {
        match self {
            Self::NoField { path, field, known } => {
                let names = || known.iter().map(String::as_str);
                match nearest(field, names()) {
                    Some(near) => format!("`{path}` has no field `{field}`: did you mean `{near}`?"),
                    None => format!("`{path}` has no field `{field}`; it has {}", listed_names(names())),
                }
            }
            other => other.to_string(),
        }
    }
}

/// The field at a path that is no column's name. `in_json` is the declared field of values in JSON text, which are text without
/// it; structs have their declared types already.
///
/// # Errors
/// [`PathError`] at the first name that leads nowhere.
pub(crate) fn field_at(schema: &Schema, path: &str, in_json: Option<Field>) -> Result<Field, PathError> {
    let (steps, field) = resolve(schema, path)?;
    let found = match field {
        Found::Typed(field) => field.as_ref().clone(),
        Found::InJson => in_json.unwrap_or_else(|| Field::new(path, DataType::Utf8View, true)),
    };
    Ok(Origin::Path(steps).of_field(found.with_name(path).with_nullable(true)))
}

/// Whether every value at the path is the one that its keys, split at each dot, lead to in a row of JSON: the path goes
/// through structs only, and no key contains a dot.
pub(crate) fn is_plain(schema: &Schema, path: &str) -> bool {
    plain_leaf(schema, path).is_some()
}

/// The type of the values at such a path; `None` for other paths and for columns.
pub(crate) fn plain_leaf<'a>(schema: &'a Schema, path: &str) -> Option<&'a DataType> {
    let (steps, Found::Typed(leaf)) = resolve(schema, path).ok()? else { return None };
    let (column, keys) = steps.split_first()?;
    let is_struct = through_structs(schema.field_with_name(column).ok()?, keys);
    let is_split = steps.len() > 1 && steps.iter().map(String::as_str).eq(path.split(SEPARATOR));
    (is_struct && is_split && !is_json(leaf)).then(|| leaf.data_type())
}

fn through_structs(field: &Field, steps: &[String]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return true };
    match field.data_type() {
        DataType::Struct(fields) => fields.find(first).is_some_and(|(_, inner)| through_structs(inner, rest)),
        _ => false,
    }
}

/// Metadata key of a struct of which only some fields are wanted.
const PRUNED: &str = "kt-export:pruned";

/// The field with only what the paths below it lead to, as far as they go through structs.
pub(crate) fn pruned(field: &Field, paths: &[&[String]]) -> Field {
    let DataType::Struct(fields) = field.data_type() else { return field.clone() };
    if paths.iter().any(|path| path.is_empty()) {
        return field.clone();
    }
    let kept: Fields = fields
        .iter()
        .filter_map(|child| {
            let below = paths.iter().filter_map(|path| path.split_first().filter(|(key, _)| *key == child.name()));
            let below: Vec<&[String]> = below.map(|(_, rest)| rest).collect();
            (!below.is_empty()).then(|| Arc::new(pruned(child, &below)))
        })
        .collect();
    if kept == *fields {
        return field.clone();
    }
    let mut metadata = field.metadata().clone();
    metadata.insert(PRUNED.to_owned(), String::new());
    field.clone().with_data_type(DataType::Struct(kept)).with_metadata(metadata)
}

/// Whether a struct may have other fields than its type says, which are not wanted.
pub(crate) fn is_pruned(field: &Field) -> bool {
    field.metadata().contains_key(PRUNED)
}

/// The column that holds the values of a field at a path; `None` for other fields.
pub(crate) fn holder(field: &Field) -> Option<String> {
    steps_of(field)?.into_iter().next()
}

/// The last key of the path of a field at a path; `None` for other fields.
pub(crate) fn last_key(field: &Field) -> Option<String> {
    steps_of(field)?.pop()
}

/// The column and the keys of a field at a path; `None` for other fields.
pub(crate) fn steps_of(field: &Field) -> Option<Vec<String>> {
    match Origin::of(field)? {
        Origin::Path(steps) => Some(steps),
        Origin::Joined(_) | Origin::First(_) | Origin::Spellings(_) => None,
    }
}

/// What a path leads to.
enum Found<'a> {
    /// A value of a struct or map.
    Typed(&'a Arc<Field>),
    /// A place in JSON text.
    InJson,
}

fn resolve<'a>(schema: &'a Schema, path: &str) -> Result<(Vec<String>, Found<'a>), PathError> {
    let mut first_error = None;
    for (name, rest) in beginnings(path) {
        let Some((_, field)) = schema.fields().find(name) else { continue };
        match below(field, name, rest) {
            Ok((mut steps, found)) => {
                steps.insert(0, name.to_owned());
                return Ok((steps, found));
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| PathError::NoColumn(path.to_owned())))
}

/// Every way to cut a name off the front of a path, the longest name first.
pub(crate) fn beginnings(path: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let cuts = path.rmatch_indices(SEPARATOR);
    let cut = |(at, _): (usize, &str)| Some((path.get(..at)?, Some(path.get(at + SEPARATOR.len_utf8()..)?)));
    std::iter::once((path, None)).chain(cuts.filter_map(cut))
}

/// Follows the rest of a path below a field at `path`.
fn below<'a>(field: &'a Arc<Field>, path: &str, rest: Option<&str>) -> Result<(Vec<String>, Found<'a>), PathError> {
    let Some(rest) = rest else { return Ok((Vec::new(), Found::Typed(field))) };
    let closed = |why| Err(PathError::Closed { path: path.to_owned(), why });
    if is_json(field) {
        return Ok((rest.split(SEPARATOR).map(str::to_owned).collect(), Found::InJson));
    }
    match field.data_type() {
        DataType::Struct(fields) => below_struct(fields, path, rest),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => match pair.as_ref() {
                [key, value] if is_text(key.data_type()) => match value.data_type() {
                    // The key is all of the rest: the keys of a map are known in its rows only.
                    DataType::Struct(_) | DataType::Map(..) => {
                        let (key, below_key) = rest.split_once(SEPARATOR).map_or((rest, None), |(k, r)| (k, Some(r)));
                        let (mut steps, found) = below(value, &format!("{path}.{key}"), below_key)?;
                        steps.insert(0, key.to_owned());
                        Ok((steps, found))
                    }
                    _ => Ok((vec![rest.to_owned()], Found::Typed(value))),
                },
                _ => closed("is a map whose keys are not text"),
            },
            _ => closed("is a map whose keys are not text"),
        },
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            closed("is a list, which a path cannot enter")
        }
        data_type if is_text(data_type) => closed("is text; if it holds JSON, declare it as `json` in `schema`"),
        _ => closed("has no fields"),
    }
}

fn below_struct<'a>(fields: &'a Fields, path: &str, rest: &str) -> Result<(Vec<String>, Found<'a>), PathError> {
    let mut first_error = None;
    for (name, rest) in beginnings(rest) {
        let Some((_, field)) = fields.find(name) else { continue };
        match below(field, &format!("{path}.{name}"), rest) {
            Ok((mut steps, found)) => {
                steps.insert(0, name.to_owned());
                return Ok((steps, found));
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| PathError::NoField {
        path: path.to_owned(),
        field: rest.to_owned(),
        known: fields.iter().map(|field| field.name().clone()).collect(),
    }))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
