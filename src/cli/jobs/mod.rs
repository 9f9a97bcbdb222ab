//! `jobs`: exports that a background process runs.

mod create;
mod download;
mod get;
mod list;
mod prune;
mod work;

use jiff::Timestamp;

use super::Console;
use super::args::{JobsArgs, JobsCommand, JobsIdArgs, StoreArgs};
use super::environment::location;
use crate::diagnostic::{masked, shown};
use crate::error::Exit;
use crate::failure::Failure;
use crate::jobs::{JobRecord, JobView, Jobs, PassedOver, State};
use crate::store::{Location, StoreError};

/// Dispatches.
pub(super) fn jobs(args: &JobsArgs, console: &Console) -> Exit {
    let done = match &args.command {
        JobsCommand::Create(args) => create::create(args, console),
        JobsCommand::List(args) => list::list(args, console),
        JobsCommand::Get(args) => get::get(args, console),
        JobsCommand::Download(args) => download::download(args, console),
        JobsCommand::Cancel(args) => cancel(args, console),
        JobsCommand::Work(args) => work::work(args, console),
        JobsCommand::Prune(args) => prune::prune(args, console),
    };
    done.unwrap_or_else(|error| {
        let text = format!("error: {}", error.why);
        if error.is_rendered {
            console.show(&text);
        } else {
            console.error(&text);
        }
        if console.json {
            console.print_json(
                &serde_json::json!({"version": 1, "exit_code": error.exit.code(), "error": masked(&error.why)}),
            );
        }
        error.exit
    })
}

/// Exit code and message of a failed command.
struct CommandError {
    exit: Exit,
    why: String,
    /// Whether `why` is rendered diagnostics, which have lines and colors.
    is_rendered: bool,
}

impl CommandError {
    fn new(exit: Exit, why: impl Into<String>) -> Self {
        Self { exit, why: why.into(), is_rendered: false }
    }

    fn usage(why: impl Into<String>) -> Self {
        Self::new(Exit::Usage, why)
    }

    fn failed(why: String) -> Self {
        Self::new(Exit::Failed, why)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let exit = if failure.code().is_retryable() { Exit::TryLater } else { Exit::Failed };
        Self::new(exit, failure.to_string())
    }
}

/// Location of the job store; absolute if local.
fn store_location(args: &StoreArgs) -> Result<Location, CommandError> {
    let current_dir = std::env::current_dir();
    let current_dir =
        current_dir.map_err(|e| CommandError::usage(format!("cannot determine the current folder: {e}")))?;
    location(&args.store, &current_dir).map_err(|e| CommandError::usage(format!("--store: {e}")))
}

/// Opens an existing store.
fn existing(args: &StoreArgs) -> Result<Jobs, CommandError> {
    let at = store_location(args)?;
    let none = || {
        CommandError::usage(format!(
            "{at} is not a job store; create it with `jobs create`, or give another one with \
            `--store`"
        ))
    };
    Jobs::existing(&at)?.ok_or_else(none)
}

/// Warns about jobs that could not be read.
fn warn_skipped(passed_over: &[PassedOver], console: &Console) {
    for PassedOver { id, why } in passed_over {
        console.error(&format!("warning: {} is skipped: {why}", shown(id)));
    }
}

fn record_of(jobs: &Jobs, id: &str) -> Result<JobRecord, CommandError> {
    jobs.record(id)?.ok_or_else(|| no_job(jobs, id))
}

fn no_job(jobs: &Jobs, id: &str) -> CommandError {
    let id = shown(id);
    CommandError::usage(format!("no job `{id}` in {}; list jobs with `jobs list`", jobs.location()))
}

/// Exit code of a job's state.
fn exit_of(view: &JobView) -> Exit {
    match view.status {
        State::Complete | State::Expired => Exit::Complete,
        State::Partial => Exit::Partial,
        State::Failed | State::Cancelled => Exit::Failed,
        State::Queued | State::Running | State::Abandoned => Exit::TryLater,
    }
}

fn cancel(args: &JobsIdArgs, console: &Console) -> Result<Exit, CommandError> {
    let jobs = existing(&args.store)?;
    let now = Timestamp::now();
    let Some(view) = jobs.view(&args.id, now)? else { return Err(no_job(&jobs, &args.id)) };
    let (cancelled, text) = match view.status {
        State::Complete | State::Expired => (false, format!("{} is already {}", view.id, view.status)),
        State::Running => (true, format!("{} is stopping; this takes a few seconds", view.id)),
        _ => (true, format!("{} is cancelled", view.id)),
    };
    if cancelled {
        jobs.cancel(&args.id, now)?;
    }
    console.info(&text);
    if console.json {
        console.print_json(&serde_json::json!({"version": 1, "id": view.id, "cancelled": cancelled}));
    }
    Ok(Exit::Complete)
}
