//! Surveys the source: inspects every input, concurrently, for its schema, times and row counts. The plan is made from the
//! result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use arrow::datatypes::{Fields, Schema};
use jiff::Timestamp;

use super::claims::{self, Claims};
use super::workers::{self, Next, Stream};
use crate::diagnostic::Diagnostic;
use crate::error::ErrorCode;
use crate::job::{DeclaredType, Job, SourceFormat};
use crate::logical::origin::{Origin, same_but_for_case};
use crate::logical::path;
use crate::progress::Progress;
use crate::source::{
    ConstantColumns, Input, InputFacts, InspectRequest, Inspection, InspectionStep, InspectionSteps, ListError,
    Listing, Period, SkippedInput, Source, SourceError, SourceSchema, StepResults, TableEvidence, TimeRange,
    Undecodable,
};
use crate::stop::Stop;
use crate::time::{TimeFormat, TimeParser};

/// What is known about the source.
pub(crate) struct Survey {
    /// Inputs to read, in the order of their names.
    pub inputs: Vec<Input>,
    /// The facts about each input.
    pub facts: Vec<InputFacts>,
    /// For each input, the half-open period in its name.
    pub coverage: Vec<Option<(Timestamp, Timestamp)>>,
    /// Inputs that are not read, and why.
    pub skipped: Vec<SkippedInput>,
    /// The combined columns of all inputs.
    pub schema: SourceSchema,
    /// Names of the columns whose value is constant within an input, such as Hive partition keys.
    pub constants: Vec<String>,
    /// The snapshot that the inputs are read from, if the source has one.
    pub snapshot: Option<String>,
    /// Column chunks that cannot be decoded, with the index of their input.
    pub undecodable: Vec<(usize, Undecodable)>,
    /// Whether every input was inspected to its end, rather than to the limit of steps.
    pub is_whole: bool,
    /// The result of checking `path_time`. [`survey`] checks it, [`inspect`] does not.
    pub claims: Claims,
}

/// Why the source could not be surveyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    /// The source cannot be listed, or its constants conflict with its columns.
    #[error(transparent)]
    List(#[from] ListError),
    /// Inputs disagree and `on_schema_drift` is `fail`, or a declared type does not fit.
    #[error("{0}")]
    Schema(String),
    /// The keys of nested objects look like data.
    #[error("{message}")]
    KeysAreData {
        /// What to declare.
        message: String,
        /// The columns with such objects.
        columns: Vec<String>,
    },
    /// A setting does not apply to these inputs.
    #[error("{}", .0.message)]
    Setting(Box<Diagnostic>),
    /// A signal stopped the survey.
    #[error("stopped")]
    Stopped,
    /// The operating system cannot start threads.
    #[error("cannot start worker threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Lists and inspects the source.
///
/// An input that cannot be inspected is not an error here: its facts record the problem, and the plan decides which
/// partitions it affects.
///
/// # Errors
/// [`SurveyError`].
pub(crate) fn survey(
    job: &Job,
    source: &dyn Source,
    threads: usize,
    stop: &Stop,
    progress: &Progress,
) -> Result<Survey, SurveyError> {
    let mut listing = source.list(period(job))?;
    let adjacent = std::mem::take(&mut listing.adjacent);
    let mut survey = inspect(job, source, listing, None, threads, stop, progress)?;
    survey.claims = claims::check(job, source, &survey, &[], &adjacent, threads, stop)?;
    Ok(survey)
}

/// The window, as sources see it.
pub(crate) fn period(job: &Job) -> Period {
    Period { start: job.window.start, end: job.window.end }
}

/// Inspects inputs of the source. `steps` limits how many steps are taken from the start of each input whose rows must be
/// read to inspect it.
///
/// # Errors
/// [`SurveyError`].
pub(crate) fn inspect(
    job: &Job,
    source: &dyn Source,
    listing: Listing,
    steps: Option<u64>,
    threads: usize,
    stop: &Stop,
    progress: &Progress,
) -> Result<Survey, SurveyError> {
    let Listing { mut inputs, mut skipped, .. } = listing;
    source.check_settings(&inputs).map_err(|mistake| SurveyError::Setting(Box::new(mistake)))?;
    progress.listed_files.store(inputs.len() as u64, Ordering::Relaxed);
    let times = times(job);
    let (results, is_whole) = inspect_all(job, source, &times, &inputs, steps, threads, stop, progress)?;
    let mut evidence = TableEvidence::default();
    let mut facts = Vec::with_capacity(inputs.len());
    let mut undecodable = Vec::new();
    for (index, (input, result)) in inputs.iter().zip(results).enumerate() {
        match result {
            Some(Ok(inspection)) => {
                undecodable.extend(inspection.undecodable.into_iter().map(|one| (index, one)));
                evidence.merge(inspection.evidence);
                facts.push(inspection.facts);
            }
            Some(Err(problem)) => facts.push(InputFacts { units: Vec::new(), problem: Some(problem) }),
            None if stop.is_set() => return Err(SurveyError::Stopped),
            None => facts.push(InputFacts {
                units: Vec::new(),
                problem: Some(unreadable(input, "it was not inspected".to_owned())),
            }),
        }
    }
    let mut schema = match source.schema() {
        Some(arrow) => SourceSchema { arrow, drift: Vec::new(), unexported_keys: Vec::new() },
        None => inferred(job, evidence)?,
    };
    if !inspection_reads_times(job) {
        facts.iter_mut().for_each(forget_times);
    }
    let ConstantColumns { fields, note } = source.constants(&inputs, &schema.arrow)?;
    let constants: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    schema.arrow = Arc::new(Schema::new(
        schema.arrow.fields().iter().cloned().chain(fields.into_iter().map(Arc::new)).collect::<Fields>(),
    ));
    schema.drift.extend(note);
    join_spellings(job, &mut schema);
    if constants.contains(&job.time.column.value) {
        for (input, facts) in inputs.iter().zip(&mut facts) {
            set_constant_time(input.constant(&job.time.column.value), facts, &times);
        }
    }
    for (input, facts) in inputs.iter().zip(&mut facts) {
        forget_unproven_times(job, &schema.arrow, input, facts);
    }
    let mut coverage = source.claimed_periods(&inputs, &facts);
    // From the last to the first, so that the numbers of those before it hold.
    for index in (0..inputs.len()).rev() {
        let is_placed = coverage.get(index).is_some_and(Option::is_some);
        if let Some(note) = source.without_content(&inputs[index]).filter(|_| !is_placed) {
            inputs.remove(index);
            facts.remove(index);
            coverage.remove(index);
            undecodable.iter_mut().filter(|(other, _)| *other > index).for_each(|(other, _)| *other -= 1);
            skipped.push(note);
        }
    }
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    let snapshot = source.snapshot().map(str::to_owned);
    let claims = Claims::default();
    Ok(Survey { inputs, facts, coverage, skipped, schema, constants, snapshot, undecodable, is_whole, claims })
}

/// Makes one column of those whose names differ only in case, if `schema` declares one of them. If it declares all, they stay
/// apart.
fn join_spellings(job: &Job, schema: &mut SourceSchema) {
    let names = schema.arrow.fields().iter().map(|field| field.name().as_str());
    let groups = same_but_for_case(names);
    if groups.is_empty() {
        return;
    }
    let mut joined: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut others: BTreeSet<&str> = BTreeSet::new();
    for group in &groups {
        let (declared, undeclared): (Vec<&str>, Vec<&str>) =
            group.iter().partition(|name| job.declared_type(name).is_some());
        match declared.as_slice() {
            [one] => {
                schema
                    .drift
                    .push(format!("`{one}` holds the values of `{}`, too, as declared", undeclared.join("`, `")));
                joined.insert(one, undeclared.iter().map(|name| (*name).to_owned()).collect());
                others.extend(undeclared);
            }
            _ if undeclared.is_empty() => {}
            _ => schema.drift.push(differ_in_case(group)),
        }
    }
    let fields = schema.arrow.fields().iter().filter(|field| !others.contains(field.name().as_str()));
    let fields: Fields = fields
        .map(|field| match joined.get(field.name().as_str()) {
            Some(spellings) => Arc::new(Origin::Spellings(spellings.clone()).of_field(field.as_ref().clone())),
            None => Arc::clone(field),
        })
        .collect();
    schema.arrow = Arc::new(Schema::new_with_metadata(fields, schema.arrow.metadata().clone()));
}

/// The sentence that columns are only one but for the case of their names.
pub(super) fn differ_in_case(names: &[&str]) -> String {
    format!("the columns `{}` differ only in case", names.join("` and `"))
}

/// What to do about such columns.
pub(super) const SETTLE_CASE: &str =
    "declare one of them in `schema` to read them as one column, or all of them to keep them apart";

/// The schema that fits all rows.
fn inferred(job: &Job, evidence: TableEvidence) -> Result<SourceSchema, SurveyError> {
    if job.columns.is_none()
        && let Some(how) = evidence.columns_are_data()
    {
        return Err(SurveyError::Schema(format!(
            "the rows have {how}: the keys look like data, and every row would be written with all of them; select what is \
             to be exported with `columns: [{}, …]`",
            job.time.sources().iter().map(|column| column.value.as_str()).collect::<Vec<_>>().join(", ")
        )));
    }
    let declared: Vec<_> = job.schema.iter().map(|(name, declared)| (name.value.clone(), *declared)).collect();
    evidence.finish(&declared, job.on_schema_drift).map_err(|error| {
        let (message, columns) = (error.to_string(), error.columns_of_keys());
        if columns.is_empty() { SurveyError::Schema(message) } else { SurveyError::KeysAreData { message, columns } }
    })
}

/// The parser for the job's time column.
pub(super) fn times(job: &Job) -> TimeParser {
    TimeParser::new(job.time.format.clone(), job.time.timezone.clone())
        .with_date_zone(job.window.timezone.clone())
        .with_zones(job.time.zones.clone())
}

/// Discards the inspected times of an input.
fn forget_times(facts: &mut InputFacts) {
    for unit in &mut facts.units {
        unit.times = TimeRange::Unknown;
        unit.unplaced_rows = unit.rows;
    }
}

/// Discards the inspected times of an input if they may not be those of the time column that `schema` has: its name may be
/// a path into a column, which the inspection of rows of JSON follows without knowing the columns, and no other does. No
/// inspection joins columns.
pub(super) fn forget_unproven_times(job: &Job, schema: &Schema, input: &Input, facts: &mut InputFacts) {
    let name = &job.time.column.value;
    let is_joined = schema.field_with_name(name).is_ok_and(|field| Origin::of(field).is_some());
    if is_joined || !job.time.parts.is_empty() {
        forget_times(facts);
        return;
    }
    let Some((holder, _)) = name.split_once('.') else { return };
    let is_proven = if schema.field_with_name(name).is_ok() {
        schema.field_with_name(holder).is_err()
    } else {
        let format = input.file().map(|file| file.format);
        matches!(format, Some(SourceFormat::Json | SourceFormat::Ndjson)) && path::is_plain(schema, name)
    };
    if !is_proven {
        forget_times(facts);
    }
}

/// Whether the inspection and the column's declared type give the same time, or none, for every value. If not, inspected
/// times do not prove where rows lie, and every input is read for every partition.
fn inspection_reads_times(job: &Job) -> bool {
    let time = &job.time;
    match job.declared_type(&time.column.value) {
        None | Some(DeclaredType::Text | DeclaredType::Number) => true,
        Some(DeclaredType::Timestamp | DeclaredType::Date) => time.format == TimeFormat::Auto,
        Some(
            DeclaredType::Int8
            | DeclaredType::Int16
            | DeclaredType::Int32
            | DeclaredType::Int64
            | DeclaredType::Uint8
            | DeclaredType::Uint16
            | DeclaredType::Uint32
            | DeclaredType::Uint64,
        ) => !time.format.has_pattern(),
        // A JSON cell of CSV has the time in quotes; the other types change digits.
        Some(
            DeclaredType::Json
            | DeclaredType::Bool
            | DeclaredType::Float32
            | DeclaredType::Float64
            | DeclaredType::Decimal { .. },
        ) => false,
    }
}

/// The inspection of an input; `None` if it was not inspected to its end.
type InspectionResult = Option<Result<Inspection, SourceError>>;

/// Inspects inputs without combining the results.
///
/// # Errors
/// [`SurveyError::Threads`].
pub(super) fn inspect_separately(
    job: &Job,
    source: &dyn Source,
    inputs: &[Input],
    steps: u64,
    threads: usize,
    stop: &Stop,
) -> Result<Vec<InspectionResult>, SurveyError> {
    let progress = Progress::default();
    let (mut results, _) = inspect_all(job, source, &times(job), inputs, Some(steps), threads, stop, &progress)?;
    if !inspection_reads_times(job) {
        results.iter_mut().flatten().flatten().for_each(|inspection| forget_times(&mut inspection.facts));
    }
    Ok(results)
}

/// Inspects inputs, and returns whether every one was inspected to its end.
#[expect(clippy::too_many_arguments, reason = "an internal function with two callers, which differ in all of them")]
fn inspect_all(
    job: &Job,
    source: &dyn Source,
    times: &TimeParser,
    inputs: &[Input],
    steps: Option<u64>,
    threads: usize,
    stop: &Stop,
    progress: &Progress,
) -> Result<(Vec<InspectionResult>, bool), SurveyError> {
    let request = InspectRequest { time_column: &job.time.column.value, time_parser: times };
    let limit = steps.unwrap_or(u64::MAX);
    let inspections: Vec<InputInspection<'_>> = inputs
        .iter()
        .map(|input| {
            let (steps, results) = source.inspect(input, request);
            InputInspection {
                input,
                steps: steps.into(),
                left: limit.into(),
                results: Some(results).into(),
                outcome: None.into(),
                progress,
            }
        })
        .collect();
    workers::for_each_item(threads, &inspections, stop)?;
    let is_whole = inspections.iter().all(|inspection| inspection.left.load(Ordering::Relaxed) > 0);
    Ok((inspections.into_iter().map(InputInspection::into_outcome).collect(), is_whole))
}

/// One input being inspected.
struct InputInspection<'a> {
    input: &'a Input,
    steps: Mutex<Box<dyn InspectionSteps<'a> + 'a>>,
    /// Number of steps that may still be taken.
    left: AtomicU64,
    results: Mutex<Option<StepResults<'a>>>,
    outcome: Mutex<InspectionResult>,
    progress: &'a Progress,
}

impl InputInspection<'_> {
    fn into_outcome(self) -> InspectionResult {
        self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Stream for InputInspection<'a> {
    type Item = InspectionStep<'a>;

    fn next(&self) -> Next<InspectionStep<'a>> {
        let mut steps = match self.steps.try_lock() {
            Ok(steps) => steps,
            Err(TryLockError::WouldBlock) => return Next::Busy,
            Err(TryLockError::Poisoned(_)) => return Next::End,
        };
        if lock(&self.results).as_ref().is_none_or(StepResults::is_decided) {
            return Next::End;
        }
        // Only the thread that holds the lock on `steps` changes the count.
        let left = self.left.load(Ordering::Relaxed);
        let step = if left > 0 { steps.next_step() } else { None };
        if step.is_some() {
            self.left.store(left - 1, Ordering::Relaxed);
        }
        step.map_or(Next::End, Next::Item)
    }

    fn work(&self, step: InspectionStep<'a>) {
        let result = step();
        if let Some(results) = &mut *lock(&self.results) {
            results.add(result);
        }
    }

    fn end(&self) {
        // `None` if inspecting a step panicked.
        if let Some(results) = lock(&self.results).take() {
            *lock(&self.outcome) = Some(results.finish());
        }
        Progress::add(&self.progress.inspected_files, 1);
    }

    fn panicked(&self, text: String) {
        *lock(&self.results) = None;
        *lock(&self.outcome) = Some(Err(unreadable(self.input, format!("the reader panicked: {text}"))));
    }
}

/// Locks a mutex even after a panic: a half-changed value is not used again.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the times of an input whose time column is a constant: every row has that time.
fn set_constant_time(constant: Option<&str>, facts: &mut InputFacts, times: &TimeParser) {
    let at = constant.and_then(|text| times.text(text).ok()).map(|instant| instant.at);
    for unit in &mut facts.units {
        unit.times = at.map_or(TimeRange::Empty, |at| TimeRange::Within { min: at, max: at });
        unit.unplaced_rows = if at.is_some() { Some(0) } else { unit.rows };
    }
}

fn unreadable(input: &Input, message: String) -> SourceError {
    SourceError { name: input.name().to_owned(), position: None, code: ErrorCode::SourceUnreadable, message }
}
