//! Checks of the source: listing, files, columns and memory.

use super::sample::{STEPS, Sample, is_inspected_by_footer, is_outside};
use super::{Check, DoctorOptions, Subject, size};
use crate::diagnostic::Diagnostic;
use crate::error::{ErrorCode, Exit};
use crate::failure::Failure;
use crate::job::{Job, OnBad};
use crate::plan::{self, Plan};
use crate::run::{self, Claims, RunError, RunOptions, Survey, SurveyError};
use crate::source::{self, Input, Listing, SkipCode, SourceError, TimeRange, UnitFacts};
use crate::units::counted;

/// Broken files that are named before the rest is only counted.
const NAMED_FILES: usize = 5;

/// What was found of the source.
pub(super) struct Found {
    pub checks: Vec<Check>,
    /// Source bytes that may belong to the window, if known.
    pub window_bytes: Option<u64>,
}

/// Lists the source, looks into its files, and holds the spec against them.
pub(super) fn examine(job: &Job, options: &DoctorOptions) -> Found {
    let source = source::of_job(job);
    let listing = match source.list(run::period(job)) {
        Ok(listing) => listing,
        Err(error) => {
            let check =
                list_failure(job, &options.run, error.into()).and_so("files, columns and memory cannot be checked");
            return Found { checks: vec![check], window_bytes: None };
        }
    };
    let mut checks = vec![listed(job, &listing)];
    let Listing { inputs, skipped, adjacent } = listing;
    let is_empty = inputs.is_empty();
    if is_empty && job.source.path_time.is_none() {
        return Found { checks, window_bytes: Some(0) };
    }
    let listed_bytes = bytes_of(&inputs);
    let sample = if options.full { Sample::whole(inputs) } else { Sample::of(job, inputs) };
    let Sample { inputs, others } = sample;
    let sampled = Listing { inputs, skipped, ..Listing::default() };
    let run = &options.run;
    let steps = (!options.full).then_some(STEPS);
    let survey = match run::inspect(job, &*source, sampled, steps, run.threads, &run.stop, &run.progress) {
        Ok(survey) => survey,
        Err(SurveyError::Stopped) => return Found { checks, window_bytes: None },
        Err(error) => {
            checks.push(Check::of_error(Subject::Columns, run::survey_error(job, &run.stop, error)));
            return Found { checks, window_bytes: Some(listed_bytes) };
        }
    };
    let is_sample = !others.is_empty() || !survey.is_whole;
    let claims = run::check_claims(job, &*source, &survey, &others, &adjacent, run.threads, &run.stop);
    let claims = match claims {
        Ok(claims) => claims_hold(job, run, &survey, &claims, is_sample),
        Err(SurveyError::Stopped) => return Found { checks, window_bytes: None },
        Err(error) => Some(Check::of_error(Subject::Claims, run::survey_error(job, &run.stop, error))),
    };
    if is_empty {
        checks.extend(claims);
        return Found { checks, window_bytes: Some(0) };
    }
    let plan = run::plan_survey(job, run.memory, &survey);
    checks.push(match plan.as_ref().ok().and_then(|plan| undecodable(job, &survey, plan)) {
        Some(failure) => Check::of_error(Subject::Files, RunError::Failed(failure)),
        None => files_read(job, &survey, others.len(), plan.as_ref().ok().filter(|_| !is_sample)),
    });
    checks.extend(claims);
    checks.push(columns(job, &survey, is_sample));
    let window_bytes = plan.as_ref().ok().map(|plan| {
        let unread = others.iter().filter(|input| !is_outside(job, input.name()));
        unread.filter_map(Input::bytes).sum::<u64>() + seen_bytes(job, &survey, plan)
    });
    checks.push(memory(run, plan));
    Found { checks, window_bytes }
}

/// Whether files and rows are as `path_time` says. `None` without `path_time`.
fn claims_hold(job: &Job, options: &RunOptions, survey: &Survey, claims: &Claims, is_sample: bool) -> Option<Check> {
    let path_time = job.source.path_time.as_ref()?;
    let in_run = |failure: &Failure| format!("{}: {failure}", failure.code());
    if let Some(broken) = &claims.broken {
        let exit = RunError::Failed(broken.clone()).exit();
        return Some(Check::failure(Subject::Claims, in_run(broken), exit));
    }
    if let Some((first, others)) = claims.missing.split_first() {
        let mut message = in_run(&run::source_missing(*first));
        if !others.is_empty() {
            message += &format!("; the same holds for {} of the window", counted(others.len(), "other unit"));
        }
        return Some(match run::check_settled(job, options.now) {
            Ok(()) => Check::failure(Subject::Claims, message, Exit::Partial),
            // A run now is refused, and the file may arrive before the next one.
            Err(_) => Check::warning(Subject::Claims, message, "check again when the window has settled"),
        });
    }
    let skipped = survey.skipped.iter().any(|file| file.code == SkipCode::PathTime);
    let mut message = match (skipped, is_sample) {
        (false, _) => "`path_time` skips no file".to_owned(),
        (true, false) => "no inspected row contradicts `path_time`".to_owned(),
        (true, true) => "no inspected row contradicts `path_time`; use `--full` to inspect all".to_owned(),
    };
    if path_time.expect.is_some() {
        message += "; every expected file is there";
    }
    Some(Check::ok(Subject::Claims, message))
}

/// A column chunk that a run would read and could not decode.
fn undecodable(job: &Job, survey: &Survey, plan: &Plan) -> Option<Failure> {
    let prepared = run::prepare(job, &survey.schema.arrow, &survey.constants).ok()?;
    run::check_decodable(survey, plan, &prepared.read_schema).err()
}

/// Bytes of what was looked at and a run would read. Of a file that was not seen to its end all bytes count, unless its
/// name says that it lies outside the window.
fn seen_bytes(job: &Job, survey: &Survey, plan: &Plan) -> u64 {
    let is_known = |input: &Input| survey.is_whole || is_inspected_by_footer(input);
    let reads = plan.tasks.iter().flat_map(|task| &task.reads).filter(|read| read.owner);
    let bytes = |read: &plan::Read| {
        survey.inputs.get(read.input as usize).filter(|input| is_known(input))?;
        Some(plan.unit(read)?.bytes)
    };
    let cut = survey.inputs.iter().filter(|input| !is_known(input) && !is_outside(job, input.name()));
    reads.filter_map(bytes).sum::<u64>() + cut.filter_map(Input::bytes).sum::<u64>()
}

/// Known sizes, added up.
fn bytes_of(inputs: &[Input]) -> u64 {
    inputs.iter().filter_map(Input::bytes).sum()
}

fn list_failure(job: &Job, options: &RunOptions, error: SurveyError) -> Check {
    match run::survey_error(job, &options.stop, error) {
        // There is nothing to show of the spec but the place that names the source.
        RunError::Spec(mistakes) => {
            let message = mistakes.iter().map(|m| m.message.as_str()).collect::<Vec<_>>().join("; ");
            Check::failure(Subject::Source, message, Exit::Usage)
        }
        error => Check::of_error(Subject::Source, error),
    }
}

fn listed(job: &Job, listing: &Listing) -> Check {
    let uri = job.source.uri_text();
    let bytes = bytes_of(&listing.inputs);
    let skipped = match listing.skipped.as_slice() {
        [] => String::new(),
        [first, ..] => format!("; {} not read ({}: {})", listing.skipped.len(), first.name, first.reason),
    };
    let surprising = listing.skipped.iter().filter(|file| file.code.is_surprising());
    let surprising = run::skips(surprising.map(|file| (file.code, file.name.as_str(), file.reason.as_str())));
    if listing.inputs.is_empty() {
        let help = "a run would export no rows: check `path_time`, the window, and that the files arrive in time";
        return Check::warning(Subject::Source, format!("no file of the window in {uri}{skipped}"), help);
    }
    let files = format!("{}, {} in {uri}", counted(listing.inputs.len(), "file"), size(bytes));
    if surprising.is_empty() {
        return Check::ok(Subject::Source, format!("{files}{skipped}"));
    }
    Check::warning(Subject::Source, format!("{files}; {}", surprising.join("; ")), "`plan` lists every skipped file")
}

/// What could be read. `plan` only where every row was looked at.
fn files_read(job: &Job, survey: &Survey, others: usize, plan: Option<&Plan>) -> Check {
    let broken: Vec<&SourceError> = survey.facts.iter().filter_map(|facts| facts.problem.as_ref()).collect();
    let all = survey.inputs.len() + others;
    let columns = survey.schema.arrow.fields().len();
    let rows: u64 = survey.facts.iter().flat_map(|facts| &facts.units).filter_map(|unit| unit.rows).sum();
    let of_all = match others {
        0 => format!("inspected {}", counted(all, "file")),
        _ => {
            format!(
                "inspected {} of {}, all Parquet files and the newest others",
                survey.inputs.len(),
                counted(all, "file")
            )
        }
    };
    let of_all = if survey.is_whole { of_all } else { format!("{of_all}, not to the end of each") };
    let seen = format!("{of_all}: {}, {rows} row{} seen", counted(columns, "column"), if rows == 1 { "" } else { "s" });
    if let Some(refusal) = broken.iter().find(|e| is_refusal(e.code)) {
        return Check::of_error(Subject::Files, RunError::Failed((*refusal).clone().into()));
    }
    if broken.is_empty() {
        return match plan {
            Some(plan) if plan.totals.read_rows == Some(0) && rows > 0 => Check::warning(
                Subject::Files,
                format!("{seen}, none of them in the window"),
                "a run would export no rows: check the window, and that the files arrive in time",
            ),
            _ => match unplaced_rows(survey) {
                0 => Check::ok(Subject::Files, seen),
                n => {
                    let message = format!("{seen}, {n} of them unreadable or without a time");
                    // Which of the two they are is not counted, so both have to be allowed.
                    let help = match (job.on_bad_rows, job.on_null_time) {
                        (OnBad::Reject, OnBad::Reject) => {
                            "fix them, or accept a partial package: the spec rejects them, so a run writes them to \
                             rejects/"
                        }
                        _ => {
                            "fix them, or the partitions they may belong to will fail; with `on_bad_rows: reject` and \
                             `on_null_time: reject` they are written to rejects/ instead"
                        }
                    };
                    Check::failure(Subject::Files, message, Exit::Partial).help(help)
                }
            },
        };
    }
    let mut names: Vec<String> = broken.iter().take(NAMED_FILES).map(ToString::to_string).collect();
    if broken.len() > NAMED_FILES {
        names.push(format!("and {} more", broken.len() - NAMED_FILES));
    }
    let message = format!("{} cannot be read: {}", counted(broken.len(), "file"), names.join("; "));
    let help = "fix or remove them, or the partitions they may have rows of will fail";
    if broken.len() == survey.inputs.len() {
        return Check::failure(Subject::Files, message, Exit::Failed).help(help);
    }
    Check::failure(Subject::Files, message, Exit::Partial).help(help)
}

/// Rows of row formats that have no known place, unless none at all has one. Of Parquet it is rarely proven, and of times
/// that the inspection does not read it is not known.
fn unplaced_rows(survey: &Survey) -> u64 {
    let of_rows = survey.inputs.iter().zip(&survey.facts).filter(|(input, _)| !is_inspected_by_footer(input));
    let is_known = |unit: &&UnitFacts| unit.times != TimeRange::Unknown;
    let units = || of_rows.clone().flat_map(|(_, facts)| &facts.units).filter(is_known);
    let is_timeless = units().all(|unit| unit.times == TimeRange::Empty);
    if is_timeless { 0 } else { units().filter_map(|unit| unit.unplaced_rows).sum() }
}

/// Whether rows were seen and none has a time.
fn is_timeless(survey: &Survey) -> bool {
    let mut units = survey.facts.iter().flat_map(|facts| &facts.units).filter(|unit| unit.rows != Some(0)).peekable();
    units.peek().is_some() && units.all(|unit| unit.times == TimeRange::Empty)
}

/// The store's no, as against bytes that are not what they should be.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::StoreDenied | ErrorCode::StoreNotFound | ErrorCode::StoreThrottled | ErrorCode::StoreUnreachable
    )
}

fn columns(job: &Job, survey: &Survey, is_sample: bool) -> Check {
    let source = &survey.schema.arrow;
    if source.fields().is_empty() {
        let help = "add files with rows, or check again later";
        return Check::warning(Subject::Columns, "the files have no columns to check the spec against", help);
    }
    match run::prepare(job, source, &survey.constants) {
        Ok(_) if is_timeless(survey) => {
            let message = format!("no inspected row has a time in `{}`", job.time.column.value);
            let help = "name the time column in `time: {column: …}` and how it is written in `format`";
            // Null or not a time: either may be set aside.
            match (job.on_null_time, job.on_bad_rows) {
                (OnBad::Reject, OnBad::Reject) => Check::failure(Subject::Columns, message, Exit::Partial).help(help),
                _ => Check::failure(Subject::Columns, message, Exit::Failed).help(help),
            }
        }
        Ok(prepared) => {
            let written = prepared.output_schema.fields().len();
            let filtered = if prepared.predicate.is_some() { ", the filters fit" } else { "" };
            let time = &job.time.column.value;
            Check::ok(Subject::Columns, format!("time is `{time}`{filtered}, {} written", counted(written, "column")))
        }
        Err(mistakes) => {
            let check = Check::of_mistakes(Subject::Columns, mistakes);
            if is_sample { check.and_so("not every row was inspected; use `--full` for all") } else { check }
        }
    }
}

fn memory(options: &RunOptions, plan: Result<Plan, Diagnostic>) -> Check {
    match plan {
        Err(Diagnostic { message, help, .. }) => {
            Check { help, ..Check::failure(Subject::Memory, message, Exit::Usage) }
        }
        Ok(plan) => {
            let units = plan.tasks.iter().flat_map(|task| &task.reads);
            let units = units.filter_map(|read| plan.unit(read));
            let budget = size(options.memory.bytes());
            Check::ok(
                Subject::Memory,
                match units.map(|unit| unit.decoded_bytes).max() {
                    Some(largest) if largest > 0 => {
                        format!("{budget} for a run; the largest row group needs {}", size(largest))
                    }
                    _ => format!("{budget} for a run"),
                },
            )
        }
    }
}
