//! Checks `path_time`, the claim that a file's name covers its rows' times, against the rows.
//!
//! A run does not open files that it skips by name, so one row outside its file's period is enough to distrust all names.
//! Checked are the files of the window, whose times the survey knows, and the start of the files next to the window, where
//! late or early rows appear first.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::route::instant;
use super::survey::{self, Survey, SurveyError};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{ExpectedFiles, Job, OnBad, PathTime};
use crate::source::derived::request_of_time;
use crate::source::files::{path_coverage_in, path_unit, units_of};
use crate::source::instants::{bound, instants, routing_unit};
use crate::source::{Input, InputFacts, ListError, ReadRequest, SkipCode, Source, TableEvidence, TimeRange};
use crate::stop::Stop;
use crate::units::counted;

/// Number of steps to inspect of a file next to the window: its header and about 1 MiB of rows. Columnar files are
/// inspected by their statistics, or completely if they have none.
const STEPS: u64 = 2;

/// Maximum number of calendar units whose files are looked up: every hour of a century.
const MAX_UNITS: usize = 1_000_000;

/// The result of checking `path_time`.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// A row outside its file's claim, if other files were skipped because of theirs.
    pub broken: Option<Failure>,
    /// Calendar units of the window whose expected file is missing, in order.
    pub missing: Vec<(Timestamp, Timestamp)>,
}

/// Checks the claims of file names. `others` are listed inputs that the survey omits. If there are some, or if the survey is
/// not whole, files without statistics of their times are not looked into.
///
/// # Errors
/// [`SurveyError::Stopped`], [`SurveyError::Threads`]; [`SurveyError::List`] if the window has too many units to check.
pub(crate) fn check(
    job: &Job,
    source: &dyn Source,
    survey: &Survey,
    others: &[Input],
    adjacent: &[Input],
    threads: usize,
    stop: &Stop,
) -> Result<Claims, SurveyError> {
    let Some(path_time) = &job.source.path_time else { return Ok(Claims::default()) };
    let missing = missing(job, path_time, survey, others)?;
    let skipped = survey.skipped.iter().filter(|file| file.code == SkipCode::PathTime).count();
    if skipped == 0 {
        return Ok(Claims { broken: None, missing });
    }
    let mut files: Vec<Claim<'_>> = Vec::new();
    let of_window = survey.inputs.iter().zip(&survey.facts).zip(&survey.coverage);
    files.extend(of_window.filter_map(|((input, facts), claim)| {
        let schema = survey.schema.arrow.clone();
        Some(Claim { input, facts: facts.clone(), claim: (*claim)?, schema, constants: &survey.constants })
    }));
    let inspections = survey::inspect_separately(job, source, adjacent, STEPS, threads, stop)?;
    for (input, inspection) in adjacent.iter().zip(inspections) {
        let problem = match &inspection {
            Some(Ok(inspection)) => inspection.facts.problem.as_ref(),
            Some(Err(problem)) => Some(problem),
            None => None,
        };
        if let Some(problem) = problem.filter(|problem| problem.code.is_retryable()) {
            let broken = problem.clone().into();
            return Ok(Claims { broken: Some(broken), missing });
        }
        // A file outside the window need not be readable.
        let Some(Ok(inspection)) = inspection else { continue };
        let mut evidence = TableEvidence::default();
        evidence.merge(inspection.evidence);
        let declared: Vec<_> = job.schema.iter().map(|(name, declared)| (name.value.clone(), *declared)).collect();
        let Ok(schema) = evidence.finish(&declared, job.on_schema_drift) else { continue };
        let Some(claim) = path_coverage_in(input.name(), path_time, [&job.time.timezone, &job.window.timezone]) else {
            continue;
        };
        let mut facts = inspection.facts;
        survey::forget_unproven_times(job, &schema.arrow, input, &mut facts);
        files.push(Claim { input, facts, claim, schema: schema.arrow, constants: &survey.constants });
    }
    let is_sample = !survey.is_whole || !others.is_empty();
    for claim in &files {
        if stop.is_set() {
            return Err(SurveyError::Stopped);
        }
        if let Some((position, at)) = claim.first_outside(job, source, is_sample) {
            let margin = margin(job, path_time, &files, claim.claim, at);
            return Ok(Claims { broken: Some(broken(job, claim, position, at, skipped, &margin)), missing });
        }
    }
    Ok(Claims { broken: None, missing })
}

/// The calendar units of the window without a file.
fn missing(
    job: &Job,
    path_time: &PathTime,
    survey: &Survey,
    others: &[Input],
) -> Result<Vec<(Timestamp, Timestamp)>, SurveyError> {
    match path_time.expect {
        None => return Ok(Vec::new()),
        Some(ExpectedFiles::Every) => {}
    }
    let (zone, window) = (zone_of_names(job, survey), (job.window.start, job.window.end));
    let mut units = units_of(window, path_time.covers, zone, MAX_UNITS);
    if units.len() > MAX_UNITS {
        return Err(ListError::TooManyUnits { most: MAX_UNITS }.into());
    }
    // An empty log file means that nothing happened, so it is not missing.
    let empty = survey.skipped.iter().filter(|file| file.code == SkipCode::Empty).map(|file| file.name.as_str());
    let names = survey.inputs.iter().chain(others).map(Input::name).chain(empty);
    let there: BTreeSet<_> = names.filter_map(|name| path_unit(name, path_time, zone)).collect();
    units.retain(|unit| !there.contains(unit));
    Ok(units)
}

/// The time zone of the dates in file names: the time column's, or, if the rows have only dates, the window's.
fn zone_of_names<'a>(job: &'a Job, survey: &Survey) -> &'a TimeZone {
    let (times, dates) = (&job.time.timezone, &job.window.timezone);
    let column = &job.time.column.value;
    let schema = request_of_time(job, &survey.schema.arrow).unwrap_or_else(|_| Schema::empty());
    let is_date = schema
        .field_with_name(column)
        .is_ok_and(|field| matches!(field.data_type(), DataType::Date32 | DataType::Date64));
    let is_midnight = |at: Timestamp| {
        let local = at.to_zoned(dates.clone());
        local.start_of_day().is_ok_and(|midnight| midnight == local)
    };
    let mut seen = survey.facts.iter().flat_map(|facts| &facts.units).filter_map(|unit| match unit.times {
        TimeRange::Within { min, max } => Some(is_midnight(min) && is_midnight(max)),
        TimeRange::Empty => None,
        TimeRange::Unknown => Some(false),
    });
    let are_midnights = seen.next().is_some_and(|first| first && seen.all(|is_one| is_one));
    if is_date || are_midnights { dates } else { times }
}

/// A file, the period that its name claims, and the facts about its rows.
struct Claim<'a> {
    input: &'a Input,
    facts: InputFacts,
    claim: (Timestamp, Timestamp),
    schema: SchemaRef,
    constants: &'a [String],
}

impl Claim<'_> {
    /// Position and time of the first row outside the claim. Statistics may be wider than the rows, so only an actual row
    /// counts.
    fn first_outside(&self, job: &Job, source: &dyn Source, is_sample: bool) -> Option<(u64, Timestamp)> {
        let (start, end) = self.claim;
        let suspect = |times: TimeRange| match times {
            TimeRange::Empty => false,
            TimeRange::Within { min, max } => min < start || max >= end,
            TimeRange::Unknown => !is_sample,
        };
        let units = (0u32..).zip(&self.facts.units).filter(|(_, unit)| unit.rows != Some(0) && suspect(unit.times));
        let units: Vec<u32> = units.map(|(index, _)| index).collect();
        if units.is_empty() || self.facts.problem.is_some() {
            return None;
        }
        let column = &job.time.column.value;
        let schema = request_of_time(job, &self.schema).ok()?;
        let field = schema.field_with_name(column).ok()?.clone();
        let request = ReadRequest {
            input: self.input,
            constants: self.constants,
            schema: schema.into(),
            units,
            // The task reports rows that cannot be read.
            on_bad_rows: OnBad::Reject,
            within: None,
        };
        let times = survey::times(job);
        let unit = routing_unit(end, start);
        let claimed = bound(start, unit)..bound(end, unit);
        let mut reader = source.open(request).ok()?;
        while let Ok(Some(mut chunk)) = reader.next_chunk() {
            while let Ok(Some(batch)) = chunk.batches.next_batch() {
                let values = instants(&field, batch.rows.column_by_name(column)?, &times, unit).ok()?.values;
                let outside = (0u32..)
                    .zip(values.iter())
                    .find_map(|(row, value)| value.filter(|value| !claimed.contains(value)).map(|value| (row, value)));
                if let Some((row, value)) = outside {
                    return Some((batch.positions.of(row)?, instant(value, unit)?));
                }
            }
        }
        None
    }
}

/// The setting that would widen the claims enough, such as `early: 1h`. The margin is withheld if times are.
fn margin(
    job: &Job,
    path_time: &PathTime,
    files: &[Claim<'_>],
    (start, _): (Timestamp, Timestamp),
    at: Timestamp,
) -> String {
    let is_early = at < start;
    if job.withholds_values() {
        return if is_early { "early: …" } else { "late: …" }.to_owned();
    }
    let mut farthest = SignedDuration::ZERO;
    for Claim { facts, claim: (start, end), .. } in files {
        for unit in &facts.units {
            if let TimeRange::Within { min, max } = unit.times {
                let beyond = if is_early { start.duration_since(min) } else { max.duration_since(*end) };
                farthest = farthest.max(beyond);
            }
        }
    }
    let (setting, margin) = if is_early { ("early", path_time.early) } else { ("late", path_time.late) };
    let needed = margin.checked_add(farthest).unwrap_or(SignedDuration::MAX);
    let seconds = needed.as_secs().saturating_add(1);
    // Rounded up, because users write round numbers, and to leave room for the next late row.
    let (unit, length) =
        [("d", 86_400), ("h", 3_600), ("m", 60)].into_iter().find(|(_, length)| seconds > *length).unwrap_or(("m", 60));
    format!("{setting}: {}{unit}", seconds.saturating_add(length - 1).div_euclid(length))
}

fn broken(job: &Job, claim: &Claim<'_>, position: u64, at: Timestamp, skipped: usize, margin: &str) -> Failure {
    let (start, end) = claim.claim;
    let outside = if job.withholds_values() {
        format!("the row's time, which is withheld, is outside {start} to {end}, which by `path_time` this file covers")
    } else {
        format!("the row's time is {at}, but by `path_time` this file covers {start} to {end}")
    };
    let message = format!(
        "{outside}; {} skipped on such a \
         claim and may hold rows of the window, too: widen it (`path_time: {{…, {margin}}}`), or remove `path_time` to \
         have every file read",
        if skipped == 1 { "1 file was".to_owned() } else { format!("{} were", counted(skipped as u64, "file")) },
    );
    Failure::new(ErrorCode::PathTimeBroken, message).at_input(claim.input.name(), position)
}
