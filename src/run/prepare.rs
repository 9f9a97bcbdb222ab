//! Prepares reading and writing for a job, given the source's columns. Every mistake in the spec that the source reveals is
//! reported here, together, before any output exists.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{Field, Schema, SchemaRef, TimeUnit};

use super::sealing::{Sealing, unknown_columns};
use super::survey::{SETTLE_CASE, differ_in_case};
use crate::diagnostic::{Diagnostic, Located, in_order, listed_names, nearest_for, shown};
use crate::encode::{EncodeError, Encoder};
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::job::{Job, Order};
use crate::logical::origin::{Origin, same_but_for_case};
use crate::logical::path;
use crate::query::{Predicate, names_in};
use crate::redact::{self, Redactor};
use crate::source::derived::{declared_field_at, field_of_time};
use crate::source::instants::{instants, routing_unit};
use crate::time::TimeParser;

/// How a job's rows are read and written, given the source's columns.
pub(crate) struct Prepared {
    /// Selects rows; `None` keeps all.
    pub predicate: Option<Predicate>,
    /// Columns to read, in source order.
    pub read_schema: SchemaRef,
    /// For each column of the shards, its index in `read_schema`.
    pub projection: Vec<usize>,
    /// Redacts values before they are written; `None` if the job redacts nothing.
    pub redactor: Option<Redactor>,
    /// Columns of the shards.
    pub output_schema: SchemaRef,
    /// Unit of instants while routing.
    pub unit: TimeUnit,
    /// Parses the time column.
    pub times: TimeParser,
}

impl Prepared {
    /// The encoder of the job's shards, with its keys.
    ///
    /// # Errors
    /// `key_unusable` if the encoder cannot use the keys.
    pub(crate) fn encoder(&self, job: &Job, sealing: &Sealing) -> Result<Encoder, Failure> {
        let encoder = new_encoder(job, &self.output_schema).and_then(|encoder| sealing.encoder(encoder));
        encoder.map_err(|error| Failure::of(ErrorCode::KeyUnusable, &error))
    }
}

/// Checks the job against the source's columns, of which `folders` come from folder names. A source without columns
/// (nothing could be read, or every file is empty) gives shards without columns.
///
/// # Errors
/// Every mistake, with its location in the spec or catalog.
pub(crate) fn prepare(job: &Job, source: &Schema, folders: &[String]) -> Result<Prepared, Vec<Diagnostic>> {
    let mut mistakes = Vec::new();
    let times = super::survey::times(job);
    let unit = routing_unit(job.window.end, job.window.start);
    if source.fields().is_empty() {
        let read_schema = Arc::new(Schema::empty());
        let output_schema = read_schema.clone();
        check_encoder(job, &output_schema)?;
        let projection = Vec::new();
        return Ok(Prepared { predicate: None, read_schema, projection, redactor: None, output_schema, unit, times });
    }
    let columns = Columns::new(job, source);
    let source = &columns.all;
    if let Some(field) = time_field(job, &columns, &mut mistakes)
        && let Err(why) = instants(field, &new_empty_array(field.data_type()), &times, unit)
    {
        mistakes.push(
            Diagnostic::at(job.time.column.span.as_ref(), format!("column `{}` is not a time: {why}", field.name()))
                .help("name the time column in `time: {column: …}` and how it is written in `format`"),
        );
    }
    for (declared, _) in &job.schema {
        find(source, declared, "declared column", &mut mistakes);
    }
    let predicate = match Predicate::compile(&job.filters, job.where_sql.as_ref(), source) {
        Ok(predicate) => predicate,
        Err(more) => {
            mistakes.extend(more);
            None
        }
    };
    undecided_case(job, source, columns.own, predicate.as_ref(), &mut mistakes);
    let mut chosen = chosen(job, &columns, &mut mistakes);
    unknown_columns(job, &chosen, &mut mistakes);
    let redactor = redact::compile(job, source, columns.own, folders, &mut chosen, &mut mistakes);
    described_columns(job, source, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(in_order(mistakes));
    }
    let mut needed: BTreeSet<usize> = chosen.iter().map(|(i, _)| *i).collect();
    let names = predicate.iter().flat_map(|p| p.columns().iter().map(String::as_str));
    let names = names.chain(job.time.parts.iter().map(|part| part.value.as_str()));
    let id = job.id_column.as_ref().filter(|_| job.order == Order::Time).map(|c| c.value.as_str());
    needed.extend(names.chain(id).chain([job.time.column.value.as_str()]).filter_map(|n| source.index_of(n).ok()));
    let paths: Vec<Vec<String>> = needed.iter().filter_map(|i| path::steps_of(columns.read.field(*i))).collect();
    let holders = paths.iter().filter_map(|steps| source.index_of(steps.first()?).ok());
    let read: Vec<usize> = needed.iter().copied().chain(holders).collect::<BTreeSet<_>>().into_iter().collect();
    // A column that only holds values at paths is read as far as they need it.
    let field = |i: &usize| {
        let field = columns.read.field(*i);
        if needed.contains(i) {
            return field.clone();
        }
        let below = paths.iter().filter_map(|steps| steps.split_first().filter(|(name, _)| *name == field.name()));
        path::pruned(field, &below.map(|(_, keys)| keys).collect::<Vec<_>>())
    };
    let read_schema = Schema::new(read.iter().map(field).collect::<Vec<_>>());
    let projection = chosen.iter().filter_map(|(i, _)| read.binary_search(i).ok()).collect();
    let output = || chosen.iter().map(|(i, name)| source.field(*i).clone().with_name(name)).collect::<Vec<Field>>();
    let output_schema = redactor.as_ref().map_or_else(|| Arc::new(Schema::new(output())), |r| r.schema().clone());
    check_encoder(job, &output_schema)?;
    Ok(Prepared { predicate, read_schema: Arc::new(read_schema), projection, redactor, output_schema, unit, times })
}

/// The field of the time, or mistakes of the columns that hold it.
fn time_field<'a>(job: &Job, columns: &'a Columns, mistakes: &mut Vec<Diagnostic>) -> Option<&'a Field> {
    let time = &job.time.column;
    if job.time.parts.is_empty() {
        return find(&columns.all, time, "time column", mistakes);
    }
    let before = mistakes.len();
    for part in &job.time.parts {
        if let Some(field) = find(&columns.all, part, "time column", mistakes)
            && field.data_type().is_nested()
        {
            let mistake = part.mistake(format!("`{}` has values inside, so it is no part of a time", part.value));
            mistakes.push(mistake.help("name the path of one of them"));
        }
    }
    if columns.all.index_of(&time.value).is_ok_and(|index| index < columns.own) {
        let mistake = time.mistake(format!("the source has a column `{}`", time.value));
        mistakes.push(mistake.help("name it in `column`"));
    }
    if mistakes.len() > before {
        return None;
    }
    columns.all.field_with_name(&time.value).ok()
}

/// Reports a column type that the format does not support.
fn check_encoder(job: &Job, schema: &SchemaRef) -> Result<(), Vec<Diagnostic>> {
    new_encoder(job, schema).map(drop).map_err(|error| vec![Diagnostic::at(None, chain(&error))])
}

fn new_encoder(job: &Job, schema: &SchemaRef) -> Result<Encoder, EncodeError> {
    let encoder = Encoder::new(&job.format, job.compression, schema.clone())?;
    if job.rows_digest { encoder.with_digests(&job.format) } else { Ok(encoder) }
}

/// Refuses to select and place rows by a column that another one is equal to but for the case of its name: it would miss the
/// rows of the other.
fn undecided_case(
    job: &Job,
    source: &Schema,
    own: usize,
    predicate: Option<&Predicate>,
    mistakes: &mut Vec<Diagnostic>,
) {
    let names = source.fields().iter().take(own).map(|field| field.name().as_str());
    for group in same_but_for_case(names) {
        if group.iter().all(|name| job.declared_type(name).is_some()) {
            continue;
        }
        let is_one = |name: &str| group.contains(&name);
        let times = job.time.sources().iter();
        let id = job.id_column.iter().filter(|_| job.order == Order::Time);
        let filters = job.filters.iter().map(|filter| &filter.column);
        let used = times.chain(id).chain(filters).find(|column| is_one(&column.value));
        let span = match (used, &job.where_sql) {
            (Some(column), _) => column.span.as_ref(),
            (None, Some(sql)) if predicate.is_some_and(|p| p.columns().iter().any(|name| is_one(name))) => {
                sql.span.as_ref()
            }
            _ => continue,
        };
        mistakes.push(Diagnostic::at(span, differ_in_case(&group)).help(SETTLE_CASE));
    }
}

/// Checks `id` and `fields`. A catalog's entry may describe columns that only some sources have, so of its names only those
/// that the job uses must be there.
fn described_columns(job: &Job, source: &Schema, mistakes: &mut Vec<Diagnostic>) {
    let is_of_spec = |name: &Located<String>| name.span.as_ref().is_some_and(|span| span.source == job.spec_source);
    if let Some(id) = &job.id_column
        && (is_of_spec(id) || (job.order == Order::Time && id.span.is_some()))
    {
        find(source, id, "id column", mistakes);
    }
    for (key, column) in &job.fields {
        // The column of a filter is checked with the filter.
        if is_of_spec(column) && !job.filters.iter().any(|filter| filter.key == *key) {
            find(source, column, "field", mistakes);
        }
    }
}

/// The source's columns, and those at the paths that a job names.
struct Columns {
    /// The columns, then the paths.
    all: Schema,
    /// The same, but that fields that are made of others say of which.
    read: Schema,
    /// Number of the columns.
    own: usize,
}

impl Columns {
    fn new(job: &Job, source: &Schema) -> Self {
        let given = job.id_column.iter().chain(job.fields.values()).chain(job.filters.iter().map(|f| &f.column));
        let given = given.chain(job.columns.iter().flatten().map(|choice| &choice.source)).chain(job.time.sources());
        let given = given.chain(job.schema.iter().map(|(name, _)| name)).map(|name| name.value.clone());
        let compared = job.where_sql.iter().flat_map(names_in);
        let mut fields: Vec<Field> = source.fields().iter().map(|field| field.as_ref().clone()).collect();
        for name in given.chain(compared) {
            // A name that leads nowhere is reported where it is used.
            if fields.iter().all(|field| *field.name() != name)
                && let Ok(field) = declared_field_at(source, &name, job.declared_type(&name))
            {
                fields.push(field);
            }
        }
        let time = &job.time.column.value;
        if !job.time.parts.is_empty() && fields.iter().all(|field| field.name() != time) {
            fields.push(field_of_time(&job.time));
        }
        let all = Schema::new(fields.iter().cloned().map(Origin::without).collect::<Vec<_>>());
        Self { all, read: Schema::new(fields), own: source.fields().len() }
    }
}

/// The columns of the shards: index in [`Columns`] and name.
fn chosen(job: &Job, columns: &Columns, mistakes: &mut Vec<Diagnostic>) -> Vec<(usize, String)> {
    let Some(choices) = &job.columns else {
        let own = columns.all.fields().iter().take(columns.own);
        return own.map(|field| field.name().clone()).enumerate().collect();
    };
    let mut chosen: Vec<(usize, String)> = Vec::new();
    for choice in choices {
        if find(&columns.all, &choice.source, "column", mistakes).is_none() {
            continue;
        }
        let Ok(index) = columns.all.index_of(&choice.source.value) else { continue };
        let last_key = || path::last_key(columns.read.field(index));
        let name = choice.output.clone().or_else(last_key).unwrap_or_else(|| choice.source.value.clone());
        if chosen.iter().any(|(_, other)| *other == name) {
            let mistake = choice.source.mistake(format!("two columns would be called `{}`", shown(&name)));
            let help = format!("rename one: `{{{}: another_name}}`", shown(&choice.source.value));
            mistakes.push(mistake.help(help));
        }
        chosen.push((index, name));
    }
    chosen
}

/// A column of the source, or a mistake that names the nearest one.
fn find<'a>(
    source: &'a Schema,
    name: &Located<String>,
    what: &str,
    mistakes: &mut Vec<Diagnostic>,
) -> Option<&'a Field> {
    let found = source.field_with_name(&name.value).ok();
    if found.is_none() {
        let mistake = Diagnostic::at(name.span.as_ref(), format!("{what} `{}` is not in the source", name.value));
        let help = help_for(source, &name.value, mistakes);
        mistakes.push(mistake.help(help));
    }
    found
}

/// What may have been meant by the name of no column.
fn help_for(source: &Schema, name: &str, mistakes: &[Diagnostic]) -> String {
    let names = || source.fields().iter().map(|f| f.name().as_str());
    match nearest_for(mistakes, name, names()) {
        _ if let Some(help) = path::help(source, name) => help,
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the source has {}", listed_names(names())),
    }
}
