//! Runs a job: pins its plan, exports its partitions on worker threads, commits them, and publishes a manifest.
//!
//! The log inside the package is the only record of a job's state, so any run, or several at once, can resume where an
//! earlier one stopped. The order of writes is fixed: plan, shards, the partition's commit record, the log's decision on
//! the manifest, `manifest.json`. Nothing is removed before `manifest.json` is in place.

mod adopt;
mod attempt;
pub(crate) mod attestor;
mod cells;
mod chunk;
mod chunk_order;
mod claims;
mod commit;
mod conservation;
mod damage;
mod decodable;
#[cfg(test)]
mod example;
mod expectations;
mod finish;
mod inputs;
mod install;
mod ledger;
pub(crate) mod memory;
#[cfg(test)]
mod model;
mod observed_values;
mod open_package;
#[cfg(test)]
mod order_tests;
mod ordered_sink;
mod output_state;
mod partition_sink;
mod prepare;
mod publish;
mod redacted;
mod rejects;
pub(crate) mod restate;
mod route;
mod scheduler;
mod sealing;
mod shard;
#[cfg(test)]
mod simulation;
mod survey;
mod sync;
#[cfg(test)]
mod table_source;
mod task;
mod warnings;
mod workers;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::prepare::{Prepared, prepare};
pub(crate) use self::sealing::Sealing;
pub(crate) use self::survey::{Survey, SurveyError, inspect, period, survey};
pub(crate) use self::warnings::{skips, warnings};
use crate::failure::{Failure, chain};
use crate::package::state::{MissingSource, Pinned, STATE_VERSION, StateError, TOOL_VERSION};

pub(crate) use self::attestor::{chain_length, describe_signer};
pub(crate) use self::claims::{Claims, check as check_claims};
pub(crate) use self::decodable::check_decodable;
pub(crate) use self::finish::column;
use self::output_state::OutputSnapshot;
pub(crate) use self::output_state::{OutputState, read_output_state};

use self::attempt::{Attempt, Secrets};
use self::attestor::Attestor;
use self::memory::{Memory, Rows};
use self::open_package::OpenPackage;
use self::restate::Superseded;
use crate::diagnostic::Diagnostic;
use crate::error::{ErrorCode, Exit};
use crate::job::Job;
use crate::package::manifest::{JobStatus, Manifest};
use crate::panics;
use crate::plan::{self, InputEntry, Plan, PlanError};
use crate::progress::Progress;
use crate::source::{self, Input, InputFacts, ListError, Source, UnitFacts};
use crate::stop::Stop;
use crate::store::{Folder, Location, StoreError};
use crate::units::counted;

/// Supplies the timestamps in records; windows never depend on it.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A value that is computed on first use.
pub(crate) type Later<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

/// What a run needs besides its job.
#[derive(Clone)]
pub(crate) struct RunOptions {
    /// Identifies this run in records and, where needed, in file names.
    pub run_id: String,
    /// Number of worker threads. With 1, the caller's thread does the work.
    pub threads: usize,
    /// Number of threads that commit partitions. They wait for disks rather than use processors. With 0, workers commit.
    pub committers: usize,
    /// Memory budget of the whole run.
    pub memory: Memory,
    /// Export damaged shards again.
    pub repair: bool,
    /// Id of an unfinished job that may be removed from the output folder.
    pub replace: Option<String>,
    /// The instant that relative windows were resolved against.
    pub now: Timestamp,
    /// Clock for records.
    pub clock: Clock,
    /// Checked between batches.
    pub stop: Stop,
    /// Updated between batches.
    pub progress: Arc<Progress>,
    /// Environment variables; the spec may name some that hold keys.
    pub env: Arc<BTreeMap<String, String>>,
    /// Path of the spec, as the user wrote it.
    pub spec_path: String,
    /// State of the spec's git repository. Computed late because it runs `git`.
    pub git: Arc<Later<Option<GitState>>>,
    /// The package that this one replaces, for restatements.
    pub supersedes: Option<Arc<Superseded>>,
}

/// A spec's state in its git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GitState {
    /// The last commit that changed it; `None` if it was never committed.
    pub commit: Option<String>,
    /// Whether its text differs from that commit's.
    pub dirty: bool,
}

/// The result of a run that left a package.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    /// The package's manifest.
    pub manifest: Manifest,
    /// The package's folder.
    pub package: Location,
    /// Whether the package was already up to date.
    pub unchanged: bool,
}

impl RunOutcome {
    /// The exit code of the process.
    pub(crate) fn exit(&self) -> Exit {
        match self.manifest.status {
            JobStatus::Complete => Exit::Complete,
            JobStatus::Partial => Exit::Partial,
            JobStatus::Failed | JobStatus::Cancelled => Exit::Failed,
        }
    }
}

/// Why a run left no package.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The source shows mistakes in the spec.
    #[error("the spec does not fit its source")]
    Spec(Vec<Diagnostic>),
    /// The source cannot be surveyed.
    #[error(transparent)]
    Survey(SurveyError),
    /// The window has not ended, or late data may still arrive.
    #[error(
        "the window ends at {end} and its data settles at {settled}; run again then, or set `allow_open: true` in the window"
    )]
    NotSettled {
        /// The window's end.
        end: Timestamp,
        /// The window's end plus `settle`.
        settled: Timestamp,
    },
    /// The output folder holds something else.
    #[error("{folder} holds {holds}; {way_out}")]
    Occupied {
        /// The output folder.
        folder: Location,
        /// What it holds.
        holds: String,
        /// What to do.
        way_out: String,
    },
    /// There is no finished package to restate.
    #[error("{folder} has no whole package to restate; run without `--restate` first")]
    NotWhole {
        /// The output folder.
        folder: Location,
    },
    /// Committed files are missing or have a different size.
    #[error("{folder} is damaged: {}; run with `--repair` to export the damaged files again", damage.join("; "))]
    Damaged {
        /// The package.
        folder: Location,
        /// Each file and what is wrong.
        damage: Vec<String>,
    },
    /// Committed files are damaged, and the bytes that the manifest lists cannot be reproduced.
    #[error(
        "{folder} is damaged: {}; {why}: restore the files from a copy, or export the window again into another \
         `output.uri`",
        damage.join("; ")
    )]
    DamagedForGood {
        /// The package.
        folder: Location,
        /// Each file and what is wrong.
        damage: Vec<String>,
        /// Why they cannot be reproduced.
        why: &'static str,
    },
    /// The run as a whole failed.
    #[error("{0}")]
    Failed(Failure),
    /// A failure that a retry may fix stopped some partitions; the others are committed.
    #[error("{failure}; {missing} partitions are still missing, no manifest was written; run again to resume")]
    Unfinished {
        /// The first failure.
        failure: Box<Failure>,
        /// Number of partitions that are not committed.
        missing: usize,
    },
    /// A signal stopped the run.
    #[error("stopped; run again to resume")]
    Stopped(Exit),
}

impl RunError {
    /// The exit code of the process.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Spec(_) => Exit::Usage,
            Self::Failed(failure) => match failure.code() {
                ErrorCode::Internal | ErrorCode::RowsNotConserved => Exit::Internal,
                code if code.is_retryable() => Exit::TryLater,
                _ => Exit::Failed,
            },
            Self::Survey(_)
            | Self::Occupied { .. }
            | Self::NotWhole { .. }
            | Self::Damaged { .. }
            | Self::DamagedForGood { .. } => Exit::Failed,
            Self::NotSettled { .. } | Self::Unfinished { .. } => Exit::TryLater,
            Self::Stopped(exit) => *exit,
        }
    }

    /// The machine-readable code; `None` for mistakes in a spec.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Spec(_) | Self::Survey(_) | Self::NotSettled { .. } | Self::NotWhole { .. } | Self::Stopped(_) => {
                None
            }
            Self::Occupied { .. } => Some(ErrorCode::PackageOccupied),
            Self::Damaged { .. } | Self::DamagedForGood { .. } => Some(ErrorCode::PackageDamaged),
            Self::Failed(failure) => Some(failure.code()),
            Self::Unfinished { failure, .. } => Some(failure.code()),
        }
    }
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StateError> for RunError {
    fn from(error: StateError) -> Self {
        Self::Failed(error.into())
    }
}

/// Attempts before giving up when other runs keep changing the package.
const ROUNDS: usize = 16;

/// Runs a job, or resumes it.
///
/// # Errors
/// [`RunError`]. Failed partitions are not an error; the manifest lists them.
pub(crate) fn run(job: &Job, options: &RunOptions) -> Result<RunOutcome, RunError> {
    run_from(&*source::of_job(job), job, options)
}

/// Runs a job, or resumes it, from a source that is open.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_from(source: &dyn Source, job: &Job, options: &RunOptions) -> Result<RunOutcome, RunError> {
    let started_at = (options.clock)();
    check_settled(job, options.now)?;
    for _ in 0..ROUNDS {
        if let Some(exit) = options.stop.exit() {
            return Err(RunError::Stopped(exit));
        }
        let snapshot = recover(job, options)?;
        if let OutputState::Complete(manifest) = snapshot.state {
            return Ok(RunOutcome { manifest: *manifest, package: job.output.clone(), unchanged: true });
        }
        match export(source, job, options, &snapshot, started_at) {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            Err(error @ (RunError::Failed(_) | RunError::Unfinished { .. } | RunError::Damaged { .. }))
                if !options.repair =>
            {
                return completed_by_another(job, options).ok_or(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(output_state::taken_over(&Folder::open(&job.output)?).into())
}

fn recover(job: &Job, options: &RunOptions) -> Result<OutputSnapshot, RunError> {
    // An unusable key is reported where it is first needed: a complete package needs no key.
    let attestor = Attestor::load(job, options).ok();
    output_state::recover(job, options, attestor.as_ref().and_then(Attestor::signer))
}

/// The outcome of another run that finished the job in the meantime and removed this run's unfinished files. A manifest
/// that this run published itself does not count, because it cannot excuse this run's error.
fn completed_by_another(job: &Job, options: &RunOptions) -> Option<RunOutcome> {
    let snapshot = recover(job, options).ok()?;
    match (snapshot.state, snapshot.entry) {
        (OutputState::Complete(manifest), Some(entry)) if entry.run != options.run_id => {
            Some(RunOutcome { manifest: *manifest, package: job.output.clone(), unchanged: true })
        }
        _ => None,
    }
}

/// Exports what the package lacks and publishes a manifest. `None` if another run changed the package's log in the
/// meantime; the caller inspects the output folder again.
fn export(
    source: &dyn Source,
    job: &Job,
    options: &RunOptions,
    snapshot: &OutputSnapshot,
    started_at: Timestamp,
) -> Result<Option<RunOutcome>, RunError> {
    if job.withholds_values() {
        panics::withhold();
    }
    // Every mistake in the spec and its keys is reported before the output folder is touched.
    let secrets = Secrets::read(job, &options.env)?;
    let mut attestor = Attestor::load(job, options)?;
    let mut attempt = Attempt::new(source, job, options, secrets, &snapshot.state, started_at)?;
    let folder = Folder::open(&job.output)?;
    attestor.open_chain(job)?;
    let Some(mut package) = OpenPackage::pin(job, folder, snapshot, &attempt.plan, options, attestor)? else {
        return Ok(None);
    };
    if package.pinned != attempt.plan {
        attempt = Attempt::resumed(job, attempt.secrets, package.pinned.clone())?;
    }
    let tally = scheduler::run(source, job, options, &mut package, &attempt)?;
    if let Some(exit) = options.stop.exit() {
        return Err(RunError::Stopped(exit));
    }
    finish::finish(source, job, options, &package, &attempt, &tally, started_at)
}

/// Refuses a window whose late data may still arrive, unless the spec allows open windows.
pub(crate) fn check_settled(job: &Job, now: Timestamp) -> Result<(), RunError> {
    let end = job.window.end;
    let settled = end.checked_add(job.settle).unwrap_or(Timestamp::MAX);
    if settled > now && !job.allow_open { Err(RunError::NotSettled { end, settled }) } else { Ok(()) }
}

/// Plans a job as a run would, and writes nothing.
///
/// # Errors
/// [`RunError::Spec`], [`RunError::Survey`], [`RunError::Stopped`].
pub(crate) fn plan(job: &Job, options: &RunOptions) -> Result<Plan, RunError> {
    let (Pinned { mut plan, skipped, missing, failures, .. }, _) =
        plan_job(&*source::of_job(job), job, options, (options.clock)())?;
    let surprising = skipped.iter().filter(|file| file.code.is_surprising());
    plan.warnings = skips(surprising.map(|file| (file.code, file.name.as_str(), file.reason.as_str())));
    let broken = failures.iter().flatten().filter(|failure| failure.code() == ErrorCode::PathTimeBroken).take(1);
    let known = broken.chain(missing.iter().map(|missing| &missing.failure));
    plan.warnings.extend(known.map(|failure| format!("{}: {failure}", failure.code())));
    if plan.totals.read_rows == Some(0) {
        let read = counted(plan.inputs.len() as u64, "file");
        plan.warnings.push(match plan.inputs.len() {
            0 => "there is nothing to read: a run would export no rows".to_owned(),
            _ => format!("a run would export no rows: it would read {read}, without a row inside the window"),
        });
    }
    plan.skipped = skipped;
    Ok(plan)
}

/// The first inspection problem that a retry may fix: the file's store did not answer.
fn unanswered(facts: &[InputFacts]) -> Option<Failure> {
    let problems = facts.iter().filter_map(|file| file.problem.as_ref());
    let problem = problems.into_iter().find(|problem| problem.code.is_retryable())?;
    Some(problem.clone().into())
}

/// Surveys the source and plans.
fn plan_job(
    source: &dyn Source,
    job: &Job,
    options: &RunOptions,
    created_at: Timestamp,
) -> Result<(Pinned, Prepared), RunError> {
    let surveyed = survey(job, source, options.threads, &options.stop, &options.progress);
    let surveyed = surveyed.map_err(|error| survey_error(job, &options.stop, error))?;
    // A plan pinned without that file would never read it again.
    let claims = surveyed.claims.broken.clone().filter(|failure| failure.code().is_retryable());
    if let Some(failure) = unanswered(&surveyed.facts).or(claims) {
        return Err(failure.into());
    }
    let prepared = prepare(job, &surveyed.schema.arrow, &surveyed.constants).map_err(RunError::Spec)?;
    let plan = plan_survey(job, options.memory, &surveyed).map_err(|mistake| RunError::Spec(vec![mistake]))?;
    check_decodable(&surveyed, &plan, &prepared.read_schema)?;
    Ok((pin(job, surveyed, plan, created_at), prepared))
}

/// Converts a survey's error to a run's.
pub(crate) fn survey_error(job: &Job, stop: &Stop, error: SurveyError) -> RunError {
    match error {
        SurveyError::Stopped => RunError::Stopped(stop.exit().unwrap_or(Exit::Interrupted)),
        e @ SurveyError::Threads(_) => RunError::Survey(e),
        SurveyError::List(error) => {
            let (span, error) = error.located();
            match error {
                ListError::Store(e) => RunError::Failed(e.into()),
                // The store's answer, and not the file's content.
                ListError::Content { error, .. } if error.code != ErrorCode::SourceUnreadable => {
                    RunError::Failed(error.into())
                }
                e => RunError::Spec(vec![Diagnostic::at(span.as_ref().or(job.source.uri_span()), chain(&e))]),
            }
        }
        SurveyError::Setting(mistake) => RunError::Spec(vec![*mistake]),
        e => RunError::Spec(vec![Diagnostic::at(job.source.uri_span(), chain(&e))]),
    }
}

/// Plans the surveyed source within a memory budget.
pub(crate) fn plan_survey(job: &Job, memory: Memory, surveyed: &Survey) -> Result<Plan, Diagnostic> {
    let plan = make_plan(job, memory, surveyed).map_err(|e| Diagnostic::at(None, e.to_string()))?;
    check_units(job, memory, &plan)?;
    Ok(plan)
}

fn make_plan(job: &Job, memory: Memory, surveyed: &Survey) -> Result<Plan, PlanError> {
    let entries: Vec<InputEntry<'_>> = surveyed
        .inputs
        .iter()
        .zip(&surveyed.facts)
        .zip(&surveyed.coverage)
        .map(|((input, facts), coverage)| InputEntry { input, facts, coverage: *coverage })
        .collect();
    let units: Vec<&UnitFacts> = surveyed.facts.iter().flat_map(|f| &f.units).collect();
    let is_text = surveyed.inputs.iter().any(Input::is_text);
    let columns = surveyed.schema.arrow.fields().len();
    let max_open = |partitions| memory.open_partitions(job, &Rows::of(&units, columns, is_text, partitions));
    plan::plan(&job.id, &job.window, job.partition.by, &surveyed.schema, &entries, max_open)
}

/// Refuses a unit that exceeds the memory budget, before there is any output.
fn check_units(job: &Job, memory: Memory, plan: &Plan) -> Result<(), Diagnostic> {
    for read in plan.tasks.iter().flat_map(|task| &task.reads) {
        let input = &plan.inputs[read.input as usize];
        let bytes = input.units[read.unit as usize].decoded_bytes;
        if bytes > memory.largest_unit() {
            let size = |bytes: u64| bytesize::ByteSize(bytes).display().iec().to_string();
            let (has, given) = (size(bytes), size(memory.bytes()));
            let message =
                format!("{}: row group {} takes {has}, too much for {given} of memory", input.input.name(), read.unit);
            let needed = size(memory.needed_for(bytes));
            let help = format!("give `--memory {needed}` or more, or write the file again with smaller row groups");
            return Err(Diagnostic::at(job.source.uri_span(), message).help(help));
        }
    }
    Ok(())
}

fn pin(job: &Job, surveyed: Survey, plan: Plan, created_at: Timestamp) -> Pinned {
    let mut inputs = inputs::inputs(&plan.partitions, &surveyed.inputs, &surveyed.facts, &surveyed.schema.arrow);
    let missing = missing(&plan, &surveyed.claims.missing);
    for index in missing.iter().flat_map(|missing| missing.partitions.clone()) {
        // When the missing file arrives, the partition is whole even if the file has no rows, so its inputs must change.
        inputs[index as usize].push_str(MISSING_INPUT);
    }
    let mut failures = open_package::known_failures(&plan, &surveyed);
    if let Some(broken) = &surveyed.claims.broken {
        failures.iter_mut().for_each(|failure| *failure = Some(broken.clone()));
    }
    Pinned {
        state_version: STATE_VERSION,
        job: job.id.clone(),
        tool_version: TOOL_VERSION.to_owned(),
        created_at,
        encryption: None,
        failures,
        missing,
        plan,
        skipped: surveyed.skipped,
        constants: surveyed.constants,
        snapshot: surveyed.snapshot,
        inputs,
        key_ids: BTreeMap::new(),
    }
}

/// Suffix of the inputs digest of a partition that lacks an expected file.
const MISSING_INPUT: &str = "+missing";

/// Partitions that lack an expected file, by calendar unit.
fn missing(plan: &Plan, units: &[(Timestamp, Timestamp)]) -> Vec<MissingSource> {
    let of = |unit: &(Timestamp, Timestamp)| {
        let (start, end) = unit;
        let first = plan.partitions.partition_point(|p| p.end <= *start);
        let after = plan.partitions.partition_point(|p| p.start < *end);
        MissingSource { partitions: plan::index(first)..plan::index(after.max(first)), failure: source_missing(*unit) }
    };
    units.iter().map(of).collect()
}

/// The failure of partitions that lack the file of a calendar unit.
pub(crate) fn source_missing((start, end): (Timestamp, Timestamp)) -> Failure {
    let message = format!(
        "no source file covers {start} to {end}, where `path_time: {{expect: every}}` expects one; deliver it and run \
         again, or remove `expect` if there need not be one"
    );
    Failure::new(ErrorCode::SourceMissing, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceError;

    #[test]
    fn a_silent_store_is_asked_again_and_a_broken_file_is_not() {
        let file = |code| {
            let name = "a.csv".to_owned();
            let problem = Some(SourceError { name, position: None, code, message: "why".to_owned() });
            InputFacts { units: Vec::new(), problem }
        };
        assert_eq!(unanswered(&[file(ErrorCode::SourceUnreadable), file(ErrorCode::StoreDenied)]), None);
        let failure = unanswered(&[file(ErrorCode::BadRows), file(ErrorCode::StoreThrottled)]).unwrap();
        assert_eq!(failure.to_string(), "a.csv: why");
        assert_eq!(RunError::from(failure).exit(), Exit::TryLater);
    }
}
