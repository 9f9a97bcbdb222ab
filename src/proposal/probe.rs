//! Reads the beginning of a source as a run with a given entry would: same lister, same readers, same inference of types.
//!
//! An entry is kept only if every row that is read with it fits, so that what is proposed works on what was read.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use jiff::Timestamp;

use super::{Entry, Options, ProposalError};
use crate::diagnostic::SourceText;
use crate::encode::CellTexts;
use crate::failure::Failure;
use crate::job::{Job, OnBad};
use crate::logical::origin::Origin;
use crate::resolve::{CatalogText, Destination, resolve_text};
use crate::run::{self, RunError, Survey, SurveyError};
use crate::source::instants::instants;
use crate::source::{
    self, Input, ListError, Listing, ReadRequest, SkippedInput, Source, SourceError, TimeRange, derived,
};

/// Files that are read at most, evenly spread over the list, whose names often go with time.
pub(super) const FILES: usize = 8;

/// Inspection steps of each file: one for what is before the rows, and one for each MiB or so.
const STEPS: u64 = 3;

/// Rows of each file that are looked at one by one.
const ROWS: usize = 10_000;

/// Levels of nested objects in which times are looked for.
const LEVELS: usize = 6;

/// Fields of nested objects that are looked at.
const NESTED_FIELDS: usize = 200;

/// What stands for a time that is not known yet, in messages too.
const NO_TIME: &str = "the time column";

/// What the entry's type is called while it is tried out.
const TYPE: &str = "inspected";

/// The whole of time, in one partition. Nothing is ever written to the output.
const SPEC: &str = "version: 1\nname: inspect\ntype: inspected\nwindow: {start: \"0001-01-01T00:00:00Z\", end: \
                    \"9999-12-01T00:00:00Z\", allow_open: true}\npartition: {by: none}\nformat: ndjson\noutput: {uri: \
                    \"s3://kt-export-inspect/none/\"}\n";

/// A source whose files are known.
pub(super) struct Listed {
    pub job: Job,
    /// Those that are read.
    pub inputs: Vec<Input>,
    /// Number of files of the source.
    pub files: usize,
    pub bytes: u64,
    pub skipped: Vec<SkippedInput>,
}

/// Rows that were read.
pub(super) struct Reading {
    /// What the inspection found of the files that were read.
    pub survey: Survey,
    /// The source's columns.
    pub schema: SchemaRef,
    /// The columns, and fields of nested objects, by their names as paths.
    pub columns: Vec<ReadColumn>,
    pub rows: usize,
    /// Bad rows, each with its file, and files that cannot be read.
    pub faults: Vec<String>,
}

/// The values that were read of a column.
pub(super) struct ReadColumn {
    pub field: Field,
    /// Levels below the columns of the source.
    pub depth: usize,
    pub arrays: Vec<ArrayRef>,
}

impl ReadColumn {
    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    pub(super) fn nulls(&self) -> usize {
        self.arrays.iter().map(Array::logical_null_count).sum()
    }

    /// The text of a value; `None` inside for a null, outside if there are fewer rows.
    pub(super) fn value(&self, row: usize) -> Option<Option<String>> {
        let mut row = row;
        for array in &self.arrays {
            if row >= array.len() {
                row -= array.len();
                continue;
            }
            if array.logical_nulls().is_some_and(|nulls| nulls.is_null(row)) {
                return Some(None);
            }
            let mut text = Vec::new();
            if let Some(mut texts) = CellTexts::new(&self.field, array.as_ref()) {
                texts.append(row, &mut text);
            }
            return Some(Some(String::from_utf8_lossy(&text).into_owned()));
        }
        None
    }
}

/// The job that exports everything with an entry.
pub(super) fn job(entry: &Entry, options: &Options) -> Result<Job, ProposalError> {
    let mut entry = entry.clone();
    entry.time.get_or_insert_with(|| super::EntryTime {
        columns: vec![NO_TIME.to_owned()],
        format: "auto".to_owned(),
        has_zone_key: false,
    });
    let text = |path: &str, text: String| Arc::new(SourceText { path: PathBuf::from(path), text });
    // Beside the catalog that the entry is written to, so that relative URIs mean the same.
    let catalog = CatalogText::Recorded(Some(text("catalog.yaml", entry.catalog(TYPE))));
    let spec = text("spec.yaml", SPEC.to_owned());
    resolve_text(&spec, &catalog, &Destination::OfSpec { revision: 0 }, &options.environment)
        .map_err(|mistakes| ProposalError::Run(RunError::Spec(mistakes)))
}

/// Lists the source as an entry describes it.
///
/// # Errors
/// Inside, why it cannot be listed.
pub(super) fn list(entry: &Entry, options: &Options) -> Result<Result<Listed, ListError>, ProposalError> {
    let job = job(entry, options)?;
    let source = source::of_job(&job);
    let Listing { inputs, skipped, .. } = match source.list(run::period(&job)) {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(error.located().1)),
    };
    let files = inputs.len();
    let bytes = inputs.iter().filter_map(Input::bytes).sum();
    Ok(Ok(Listed { inputs: spread(inputs), job, files, bytes, skipped }))
}

/// Some of many: the first, the last, and those between at even distances.
fn spread(inputs: Vec<Input>) -> Vec<Input> {
    let last = inputs.len().saturating_sub(1);
    if inputs.len() <= FILES {
        return inputs;
    }
    let chosen: Vec<usize> = (0..FILES).map(|i| i * last / (FILES - 1)).collect();
    inputs.into_iter().enumerate().filter(|(i, _)| chosen.contains(i)).map(|(_, input)| input).collect()
}

/// Why a source cannot be read with an entry.
pub(super) fn survey_failed(job: &Job, options: &Options, error: SurveyError) -> ProposalError {
    ProposalError::Run(run::survey_error(job, &options.stop, error))
}

/// Reads the beginning of each listed file with an entry.
///
/// # Errors
/// Inside, why no schema holds the rows: the entry does not fit.
pub(super) fn read(
    entry: &Entry,
    listed: &Listed,
    options: &Options,
) -> Result<Result<Reading, SurveyError>, ProposalError> {
    let job = job(entry, options)?;
    let source = source::of_job(&job);
    let survey = match inspect(&job, &*source, &listed.inputs, options) {
        Ok(survey) => survey,
        Err(error @ (SurveyError::Schema(_) | SurveyError::KeysAreData { .. } | SurveyError::Setting(_))) => {
            return Ok(Err(error));
        }
        Err(error) => return Err(survey_failed(&job, options, error)),
    };
    let schema = survey.schema.arrow.clone();
    let mut request: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    request.extend(nested_fields(&schema).into_iter().map(Arc::new));
    let rows = read_rows(&*source, &survey, Arc::new(Schema::new(request.clone())), options)?;
    let own = schema.fields().len();
    let columns = request.iter().enumerate().map(|(i, field)| ReadColumn {
        field: Origin::without(field.as_ref().clone()),
        depth: if i < own { 0 } else { field.name().matches('.').count().max(1) },
        arrays: rows.batches.iter().filter_map(|batch| batch.columns().get(i).cloned()).collect(),
    });
    let columns = columns.collect();
    let (count, faults) = (rows.count, rows.faults);
    Ok(Ok(Reading { survey, schema, columns, rows: count, faults }))
}

fn inspect(job: &Job, source: &dyn Source, inputs: &[Input], options: &Options) -> Result<Survey, SurveyError> {
    let listing = Listing { inputs: inputs.to_vec(), ..Listing::default() };
    let progress = crate::progress::Progress::default();
    run::inspect(job, source, listing, Some(STEPS), options.threads, &options.stop, &progress)
}

/// The fields of nested objects that a path leads to, and which are no objects themselves.
fn nested_fields(schema: &Schema) -> Vec<Field> {
    let mut found = Vec::new();
    for field in schema.fields() {
        if let DataType::Struct(fields) = field.data_type() {
            add_nested(schema, field.name(), fields, 1, &mut found);
        }
    }
    found
}

fn add_nested(schema: &Schema, path: &str, fields: &Fields, level: usize, found: &mut Vec<Field>) {
    for field in fields {
        let path = format!("{path}.{}", field.name());
        match field.data_type() {
            DataType::Struct(fields) if level < LEVELS => add_nested(schema, &path, fields, level + 1, found),
            data_type if data_type.is_nested() => {}
            // A column of that name would be read instead.
            _ if found.len() < NESTED_FIELDS && schema.field_with_name(&path).is_err() => {
                found.extend(derived::declared_field_at(schema, &path, None));
            }
            _ => {}
        }
    }
}

struct Rows {
    batches: Vec<arrow::record_batch::RecordBatch>,
    count: usize,
    faults: Vec<String>,
}

/// Reads the first rows of each input.
fn read_rows(
    source: &dyn Source,
    survey: &Survey,
    schema: SchemaRef,
    options: &Options,
) -> Result<Rows, ProposalError> {
    let mut rows = Rows { batches: Vec::new(), count: 0, faults: Vec::new() };
    for (input, facts) in survey.inputs.iter().zip(&survey.facts) {
        if let Some(exit) = options.stop.exit() {
            return Err(ProposalError::Run(RunError::Stopped(exit)));
        }
        if let Some(problem) = &facts.problem {
            if problem.code.is_retryable() {
                return Err(ProposalError::Run(RunError::Failed(Failure::from(problem.clone()))));
            }
            rows.faults.push(problem.to_string());
            continue;
        }
        let request = ReadRequest {
            input,
            constants: &survey.constants,
            schema: schema.clone(),
            units: (0..facts.units.len()).filter_map(|unit| u32::try_from(unit).ok()).collect(),
            on_bad_rows: OnBad::Reject,
            within: None,
        };
        if let Err(error) = read_input(source, request, &mut rows) {
            rows.faults.push(error.to_string());
        }
    }
    Ok(rows)
}

fn read_input(source: &dyn Source, request: ReadRequest<'_>, rows: &mut Rows) -> Result<(), SourceError> {
    let name = request.input.name().to_owned();
    let mut chunks = source.open(request)?;
    let mut count = 0;
    while let Some(mut chunk) = chunks.next_chunk()? {
        while let Some(batch) = chunk.batches.next_batch()? {
            rows.faults.extend(batch.rejected.iter().map(|bad| format!("{name}:{}: {}", bad.position, bad.error)));
            count += batch.rows.num_rows();
            rows.count += batch.rows.num_rows();
            rows.batches.push(batch.rows);
            if count >= ROWS {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What a run would make of a whole entry.
pub(super) struct Trial {
    /// The columns, with types as a run would find them.
    pub schema: SchemaRef,
    /// Rows without a time, of those that were read.
    pub null_times: usize,
    /// The first row whose time cannot be read, or that does not fit.
    pub fault: Option<String>,
    /// Earliest and latest time of what was read; of Parquet, of all rows of the files.
    pub times: Option<(Timestamp, Timestamp)>,
}

/// Plans and reads with a whole entry, as `doctor` and a run do.
///
/// # Errors
/// [`ProposalError`]: the spec's check against the source, or the plan, refuse the entry.
pub(super) fn try_out(entry: &Entry, listed: &Listed, options: &Options) -> Result<Trial, ProposalError> {
    let job = job(entry, options)?;
    let source = source::of_job(&job);
    let survey = inspect(&job, &*source, &listed.inputs, options).map_err(|e| survey_failed(&job, options, e))?;
    let refused = |mistakes| ProposalError::Run(RunError::Spec(mistakes));
    let prepared = run::prepare(&job, &survey.schema.arrow, &survey.constants).map_err(refused)?;
    let plan = run::plan_survey(&job, options.memory, &survey).map_err(|mistake| refused(vec![mistake]))?;
    run::check_decodable(&survey, &plan, &prepared.read_schema).map_err(|f| ProposalError::Run(RunError::Failed(f)))?;
    let rows = read_rows(&*source, &survey, prepared.read_schema.clone(), options)?;
    let time = &job.time.column.value;
    let mut fault = rows.faults.into_iter().next();
    let mut null_times = 0;
    let mut times: Option<(Timestamp, Timestamp)> = None;
    let mut widen = |min: Timestamp, max: Timestamp| {
        times = Some(times.map_or((min, max), |(first, last)| (first.min(min), last.max(max))));
    };
    if let Ok(index) = prepared.read_schema.index_of(time) {
        let field = prepared.read_schema.field(index);

        for batch in &rows.batches {
            let Some(column) = batch.columns().get(index) else { continue };
            let read = match instants(field, column, &prepared.times, TimeUnit::Microsecond) {
                Ok(read) => read,
                Err(error) => {
                    fault.get_or_insert_with(|| error.to_string());
                    break;
                }
            };
            if let Some((_, bad)) = read.bad.first() {
                fault.get_or_insert_with(|| bad.to_string());
            }
            null_times += read.values.null_count();
            if let Some((min, max)) = super::time::bounds(field, column, &prepared.times, &read) {
                widen(min, max);
            }
        }
    }
    for unit in survey.facts.iter().flat_map(|facts| &facts.units) {
        if let TimeRange::Within { min, max } = unit.times {
            widen(min, max);
        }
    }
    Ok(Trial { schema: survey.schema.arrow, null_times, fault, times })
}
