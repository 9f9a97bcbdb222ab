//! A job to a package: pinned plan, workers, commit records, manifest.
//!
//! The package alone decides what state the job is in (its log), so any run, or several at once, can go on where another
//! one stopped. The order is fixed: the plan is pinned before the first shard, a shard is whole before its partition's
//! record, every record is there before the manifest is decided on, it is decided before it is installed, and installed
//! before anything is removed.

mod adopt;
mod cells;
mod chunk;
mod claims;
mod commit;
mod conservation;
mod damage;
mod decodable;
mod expectations;
mod finish;
mod held;
mod in_order;
mod inputs;
mod install;
mod lane;
mod ledger;
pub mod memory;
#[cfg(test)]
mod model;
pub(crate) mod notary;
mod package;
mod pin;
mod prepare;
mod publish;
mod redacted;
mod rejects;
pub mod restate;
mod route;
mod sealing;
mod shard;
#[cfg(test)]
mod simulation;
mod survey;
mod sync;
mod task;
mod tasks;
mod turns;
mod warnings;
mod workers;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::prepare::{Prepared, prepare};
pub use self::sealing::Sealing;
pub use self::survey::{Survey, SurveyError, inspect, list_source, survey};
pub use self::warnings::{skips, warnings};
use crate::failure::{Failure, chain};
use crate::package::layout::PLAN;
use crate::package::state::{MissingSource, Pinned, STATE_VERSION, StateError, TOOL_VERSION};

pub(crate) use self::decodable::check_decodable;
#[cfg(test)]
pub(crate) use self::finish::column;
pub(crate) use self::notary::{links_of, signer_of};
pub(crate) use self::package::{Found, peek};

use self::memory::{Memory, Rows};
use self::notary::Notary;
use self::pin::Package;
use self::redacted::key_failure;
use self::restate::Superseded;
use crate::diagnostic::Diagnostic;
use crate::error::{ErrorCode, Exit};
use crate::job::Job;
use crate::package::manifest::{JobStatus, Manifest};
use crate::panics;
use crate::plan::{self, FileEntry, Plan, PlanError};
use crate::progress::Progress;
use crate::redact::Keys;
use crate::source::files::list::ListError;
use crate::source::{FileFacts, UnitFacts};
use crate::stop::Stop;
use crate::store::{Folder, Location, StoreError};
use crate::units::counted;

/// Tells the time of records; windows never depend on it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A value that is found by the first who needs it.
pub type Later<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

/// What a run needs besides its job.
#[derive(Clone)]
pub struct RunOptions {
    /// Names this run.
    pub run_id: String,
    /// Worker threads. One works on the thread of the caller.
    pub threads: usize,
    /// Threads that commit partitions: they wait for disks, not for processors, and disks do several things at once. With
    /// none, workers commit.
    pub committers: usize,
    /// What they may take together.
    pub memory: Memory,
    /// Export damaged shards again.
    pub repair: bool,
    /// Another job that may be removed from the output folder.
    pub replace: Option<String>,
    /// What relative windows counted from.
    pub now: Timestamp,
    /// For records.
    pub clock: Clock,
    /// Asked between batches.
    pub stop: Stop,
    /// Told between batches.
    pub progress: Arc<Progress>,
    /// Environment variables, in which the spec may say that keys are.
    pub env: Arc<BTreeMap<String, String>>,
    /// The spec as the user named it.
    pub spec_path: String,
    /// What git knows of the spec; asked for at the end, because it takes other programs to find.
    pub git: Arc<Later<Option<GitState>>>,
    /// The package that this one takes the place of.
    pub supersedes: Option<Arc<Superseded>>,
}

/// What git knows of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// The last commit that changed it; none where it was never committed.
    pub commit: Option<String>,
    /// Whether its text is another than that of the commit.
    pub dirty: bool,
}

/// How a run ended, with a package.
#[derive(Debug)]
pub struct RunOutcome {
    /// The package's manifest.
    pub manifest: Manifest,
    /// The package's folder.
    pub package: Location,
    /// Nothing was to be done.
    pub unchanged: bool,
}

impl RunOutcome {
    /// What the scheduler is told.
    pub fn exit(&self) -> Exit {
        match self.manifest.status {
            JobStatus::Complete => Exit::Complete,
            JobStatus::Partial => Exit::Partial,
            JobStatus::Failed | JobStatus::Cancelled => Exit::Failed,
        }
    }
}

/// How a run ended, without a package to show.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source shows mistakes in the spec.
    #[error("the spec does not fit its source")]
    Spec(Vec<Diagnostic>),
    /// The source cannot be surveyed.
    #[error(transparent)]
    Survey(SurveyError),
    /// The window is not over, or late data may still come.
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
        /// What is there.
        holds: String,
        /// What to do.
        way_out: String,
    },
    /// There is nothing yet that could be restated.
    #[error("{folder} has no whole package to restate; run without `--restate` first")]
    NotWhole {
        /// The output folder.
        folder: Location,
    },
    /// Committed files are missing or have another size.
    #[error("{folder} is damaged: {}; `--repair` exports again what is damaged", damage.join("; "))]
    Damaged {
        /// The package.
        folder: Location,
        /// Each file and what is wrong.
        damage: Vec<String>,
    },
    /// The same, where the bytes that the manifest vouches for cannot be made again.
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
        /// Why they cannot be exported again.
        why: &'static str,
    },
    /// The run as a whole failed.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// A signal.
    #[error("stopped; run again to resume")]
    Stopped(Exit),
}

impl RunError {
    /// What the scheduler is told.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Spec(_) => Exit::Usage,
            Self::Failed(Failure { code: ErrorCode::Internal | ErrorCode::RowsNotConserved, .. }) => Exit::Internal,
            Self::Failed(failure) if failure.code.is_retryable() => Exit::TryLater,
            Self::Survey(_)
            | Self::Occupied { .. }
            | Self::NotWhole { .. }
            | Self::Damaged { .. }
            | Self::DamagedForGood { .. }
            | Self::Failed(_) => Exit::Failed,
            Self::NotSettled { .. } => Exit::TryLater,
            Self::Stopped(exit) => *exit,
        }
    }

    /// The code for programs; none for mistakes in a spec.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Spec(_) | Self::Survey(_) | Self::NotSettled { .. } | Self::NotWhole { .. } | Self::Stopped(_) => {
                None
            }
            Self::Occupied { .. } => Some(ErrorCode::PackageOccupied),
            Self::Damaged { .. } | Self::DamagedForGood { .. } => Some(ErrorCode::PackageDamaged),
            Self::Failed(failure) => Some(failure.code),
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

/// How often a run looks again because other runs have decided something meanwhile.
const ROUNDS: usize = 16;

/// Runs a job, or goes on with it.
///
/// # Errors
/// [`RunError`]. Partitions that fail are no error: the manifest says which.
pub fn run(job: &Job, options: &RunOptions) -> Result<RunOutcome, RunError> {
    let started_at = (options.clock)();
    check_settled(job, options.now)?;
    for _ in 0..ROUNDS {
        if let Some(exit) = options.stop.exit() {
            return Err(RunError::Stopped(exit));
        }
        let found = look(job, options)?;
        if let Found::Complete(manifest) = found.found {
            return Ok(RunOutcome { manifest: *manifest, package: job.output.clone(), unchanged: true });
        }
        match fill(job, options, &found, started_at) {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            Err(error @ (RunError::Failed(_) | RunError::Damaged { .. })) if !options.repair => {
                return completed_by_another(job, options).ok_or(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(package::taken_over(&Folder::open(&job.output)?).into())
}

fn look(job: &Job, options: &RunOptions) -> Result<package::Look, RunError> {
    // A key that cannot be used is told where it is needed: a complete package needs none.
    let notary = Notary::load(job, options).ok();
    package::look(job, options, notary.as_ref().and_then(Notary::signer))
}

/// Another run may have finished the job meanwhile, and swept away what this one had begun. What this run has written
/// itself is no answer to its own error.
fn completed_by_another(job: &Job, options: &RunOptions) -> Option<RunOutcome> {
    let found = look(job, options).ok()?;
    match (found.found, found.entry) {
        (Found::Complete(manifest), Some(entry)) if entry.run != options.run_id => {
            Some(RunOutcome { manifest: *manifest, package: job.output.clone(), unchanged: true })
        }
        _ => None,
    }
}

/// Goes from what was found to a manifest. `None`: others have decided something else meanwhile, look again.
fn fill(
    job: &Job,
    options: &RunOptions,
    look: &package::Look,
    started_at: Timestamp,
) -> Result<Option<RunOutcome>, RunError> {
    if job.withholds_values() {
        panics::withhold();
    }
    // All that can be wrong with the spec and its keys is told before the output folder is touched.
    let keys = Keys::read(&job.redactions, &options.env).map_err(|e| key_failure(&e))?;
    let sealing = Sealing::read(job, &options.env)?;
    let mut notary = Notary::load(job, options)?;
    let (mut pinned, mut prepared) = match &look.found {
        Found::Pinned(pinned) | Found::Repairable(pinned) => (pinned.as_ref().clone(), prepare_pinned(job, pinned)?),
        Found::Outdated(why) => {
            tracing::warn!("{}: {why}; the job is planned anew", job.output);
            plan_job(job, options, started_at)?
        }
        _ => plan_job(job, options, started_at)?,
    };
    match &look.found {
        Found::Pinned(pinned) | Found::Repairable(pinned) => sealing.check_same(pinned.encryption.as_ref())?,
        Found::Ended(manifest) => {
            sealing.check_same(manifest.encryption.as_ref())?;
            check_keys(job, &manifest.key_ids(), &keys)?;
        }
        Found::Nothing | Found::Complete(_) | Found::Outdated(_) | Found::Replaceable => {}
    }
    pinned.encryption.clone_from(&sealing.record);
    if !matches!(look.found, Found::Pinned(_) | Found::Repairable(..)) {
        pinned.key_ids = keys.ids(&job.redactions);
    }
    check_keys(job, &pinned.key_ids, &keys)?;
    let folder = Folder::open(&job.output)?;
    notary.open_chain(job)?;
    let Some(mut package) = Package::pin(job, folder, look, &pinned, options, notary)? else { return Ok(None) };
    if package.pinned != pinned {
        pinned = package.pinned.clone();
        sealing.check_same(pinned.encryption.as_ref())?;
        prepared = prepare_pinned(job, &pinned)?;
        check_keys(job, &pinned.key_ids, &keys)?;
    }
    let prepared = prepared.seal(job, &sealing)?;
    let tally = tasks::run(job, options, &mut package, &prepared, &keys)?;
    if let Some(exit) = options.stop.exit() {
        return Err(RunError::Stopped(exit));
    }
    finish::finish(job, options, &package, &prepared, &keys, &tally, started_at)
}

/// Pseudonyms of one package are made with one key, whoever goes on with it.
fn check_keys(job: &Job, begun: &BTreeMap<String, String>, keys: &Keys) -> Result<(), Failure> {
    let ids = keys.ids(&job.redactions);
    let other = ids.iter().find_map(|(path, id)| Some((path, id, begun.get(path).filter(|begun| *begun != id)?)));
    let Some((path, id, begun)) = other else { return Ok(()) };
    let message = format!(
        "the key for `{path}` has the id {id}, but the package was begun with {begun}, and its pseudonyms would not be the \
         same; run again with that key, or remove the output folder to start over"
    );
    Err(Failure { code: ErrorCode::KeyUnusable, message })
}

/// Late data is not missed in silence.
pub(crate) fn check_settled(job: &Job, now: Timestamp) -> Result<(), RunError> {
    let end = job.window.end;
    let settled = end.checked_add(job.settle).unwrap_or(Timestamp::MAX);
    if settled > now && !job.allow_open { Err(RunError::NotSettled { end, settled }) } else { Ok(()) }
}

/// What a run would do; writes nothing.
///
/// # Errors
/// [`RunError::Spec`], [`RunError::Survey`], [`RunError::Stopped`].
pub fn plan(job: &Job, options: &RunOptions) -> Result<Plan, RunError> {
    let (Pinned { mut plan, skipped, missing, failures, .. }, _) = plan_job(job, options, (options.clock)())?;
    let surprising = skipped.iter().filter(|file| file.code.is_surprising());
    plan.warnings = skips(surprising.map(|file| (file.code, file.name.as_str(), file.reason.as_str())));
    let broken = failures.iter().flatten().filter(|failure| failure.code == ErrorCode::PathTimeBroken).take(1);
    plan.warnings.extend(broken.chain(missing.iter().map(|missing| &missing.failure)).map(|failure| {
        let Failure { code, message } = failure;
        format!("{code}: {message}")
    }));
    if plan.totals.read_rows == 0 {
        let read = counted(plan.files.len() as u64, "file");
        plan.warnings.push(match plan.files.len() {
            0 => "nothing is there to read: a run would export no row".to_owned(),
            _ => format!("a run would export no row: {read} would be read and hold none of the window"),
        });
    }
    plan.skipped = skipped;
    Ok(plan)
}

/// A file whose store did not answer while it was inspected.
fn unanswered(facts: &[FileFacts]) -> Option<Failure> {
    let problems = facts.iter().filter_map(|file| file.problem.as_ref());
    let problem = problems.into_iter().find(|problem| problem.code.is_retryable())?;
    Some(Failure { code: problem.code, message: problem.to_string() })
}

/// Surveys the source and plans.
fn plan_job(job: &Job, options: &RunOptions, created_at: Timestamp) -> Result<(Pinned, Prepared), RunError> {
    let surveyed = survey(job, options.threads, &options.stop, &options.progress);
    let surveyed = surveyed.map_err(|error| survey_error(job, &options.stop, error))?;
    // A plan that was pinned without such a file would never look at it again.
    let claims = surveyed.claims.broken.clone().filter(|failure| failure.code.is_retryable());
    if let Some(failure) = unanswered(&surveyed.facts).or(claims) {
        return Err(failure.into());
    }
    let prepared = prepare(job, &surveyed.schema.arrow, &surveyed.hive_keys).map_err(RunError::Spec)?;
    let plan = plan_survey(job, options.memory, &surveyed).map_err(|mistake| RunError::Spec(vec![mistake]))?;
    check_decodable(&surveyed, &plan, &prepared.read_schema)?;
    Ok((pin(job, surveyed, plan, created_at), prepared))
}

/// What a source that cannot be surveyed means for a run.
pub(crate) fn survey_error(job: &Job, stop: &Stop, error: SurveyError) -> RunError {
    match error {
        SurveyError::Stopped => RunError::Stopped(stop.exit().unwrap_or(Exit::Interrupted)),
        e @ SurveyError::Threads(_) => RunError::Survey(e),
        SurveyError::List(ListError::Store(e)) => RunError::Failed(e.into()),
        SurveyError::Setting(mistake) => RunError::Spec(vec![*mistake]),
        e => RunError::Spec(vec![Diagnostic::at(job.source.uri.span.as_ref(), chain(&e))]),
    }
}

/// Plans what was surveyed, within a budget.
pub(crate) fn plan_survey(job: &Job, memory: Memory, surveyed: &Survey) -> Result<Plan, Diagnostic> {
    let plan = make_plan(job, memory, surveyed).map_err(|e| Diagnostic::at(None, e.to_string()))?;
    check_units(job, memory, &plan)?;
    Ok(plan)
}

fn make_plan(job: &Job, memory: Memory, surveyed: &Survey) -> Result<Plan, PlanError> {
    let files: Vec<FileEntry<'_>> = surveyed
        .files
        .iter()
        .zip(&surveyed.facts)
        .zip(&surveyed.coverage)
        .map(|((file, facts), coverage)| FileEntry { file, facts: Some(facts), coverage: *coverage, skipped: None })
        .collect();
    let units: Vec<&UnitFacts> = surveyed.facts.iter().flat_map(|f| &f.units).collect();
    let is_text = surveyed.files.iter().any(|f| f.format.is_text());
    let columns = surveyed.schema.arrow.fields().len();
    let max_open = |partitions| memory.open_partitions(job, &Rows::of(&units, columns, is_text, partitions));
    plan::plan(&job.id, &job.window, job.partition.by, &surveyed.schema, &files, max_open)
}

/// A unit that cannot fit is refused before there is any output.
fn check_units(job: &Job, memory: Memory, plan: &Plan) -> Result<(), Diagnostic> {
    for read in plan.tasks.iter().flat_map(|task| &task.reads) {
        let file = &plan.files[read.file as usize];
        let bytes = file.units[read.unit as usize].decoded_bytes;
        if bytes > memory.largest_unit() {
            let size = |bytes: u64| bytesize::ByteSize(bytes).display().iec().to_string();
            let (has, given) = (size(bytes), size(memory.bytes()));
            let message = format!("{}: row group {} takes {has}, too much for {given} of memory", file.name, read.unit);
            let needed = size(memory.needed_for(bytes));
            let help = format!("give `--memory {needed}` or more, or write the file again with smaller row groups");
            return Err(Diagnostic::at(job.source.uri.span.as_ref(), message).help(help));
        }
    }
    Ok(())
}

fn prepare_pinned(job: &Job, pinned: &Pinned) -> Result<Prepared, RunError> {
    let schema = pinned.plan.schema().map_err(|error| Failure {
        code: ErrorCode::PackageDamaged,
        message: format!("{} cannot be used: {}", PLAN, chain(&error)),
    })?;
    prepare(job, &schema, &pinned.hive_keys).map_err(RunError::Spec)
}

fn pin(job: &Job, surveyed: Survey, plan: Plan, created_at: Timestamp) -> Pinned {
    let mut inputs = inputs::inputs(&plan.partitions, &surveyed.files, &surveyed.facts, &surveyed.schema.arrow);
    let missing = missing(&plan, &surveyed.claims.missing);
    for index in missing.iter().flat_map(|missing| missing.partitions.clone()) {
        // A file that comes later may hold no row, and still makes the partition whole.
        inputs[index as usize].push_str(MISSING_INPUT);
    }
    let mut failures = pin::known_failures(&plan, &surveyed);
    if let Some(broken) = &surveyed.claims.broken {
        failures.iter_mut().for_each(|failure| *failure = Some(broken.clone()));
    }
    let unit_rows = |read: &plan::Read| surveyed.facts[read.file as usize].units[read.unit as usize].rows;
    let outside_rows = plan.outside.iter().map(unit_rows).sum();
    let rows = |units: &[UnitFacts]| units.iter().map(|u| u.rows).sum();
    Pinned {
        state_version: STATE_VERSION,
        job: job.id.clone(),
        tool_version: TOOL_VERSION.to_owned(),
        created_at,
        encryption: None,
        failures,
        missing,
        plan,
        file_rows: surveyed.facts.iter().map(|f| f.problem.is_none().then(|| rows(&f.units))).collect(),
        files: surveyed.files,
        skipped: surveyed.skipped,
        hive_keys: surveyed.hive_keys,
        outside_rows,
        inputs,
        key_ids: BTreeMap::new(),
    }
}

/// Marks the inputs of a partition to which a file is missing.
const MISSING_INPUT: &str = "+missing";

/// The partitions of units of time without a file.
fn missing(plan: &Plan, units: &[(Timestamp, Timestamp)]) -> Vec<MissingSource> {
    let of = |(start, end): &(Timestamp, Timestamp)| {
        let first = plan.partitions.partition_point(|p| p.end <= *start);
        let after = plan.partitions.partition_point(|p| p.start < *end);
        let message = format!(
            "no source file covers {start} to {end}, where `path_time: {{expect: every}}` expects one; deliver it and run \
             again, or remove `expect` if there need not be one"
        );
        let failure = Failure { code: ErrorCode::SourceMissing, message };
        MissingSource { partitions: first as u32..after.max(first) as u32, failure }
    };
    units.iter().map(of).collect()
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
            FileFacts { units: Vec::new(), problem }
        };
        assert_eq!(unanswered(&[file(ErrorCode::SourceUnreadable), file(ErrorCode::StoreDenied)]), None);
        let failure = unanswered(&[file(ErrorCode::BadRows), file(ErrorCode::StoreThrottled)]).unwrap();
        assert_eq!(failure.message, "a.csv: why");
        assert_eq!(RunError::from(failure).exit(), Exit::TryLater);
    }
}
