//! `jobs`: exports that are asked for now and done by another process.

mod create;
mod download;
mod get;
mod list;
mod prune;
mod work;

use jiff::Timestamp;

use super::Talk;
use super::args::{JobsArgs, JobsCommand, JobsIdArgs, StoreArgs};
use super::environment::location;
use crate::diagnostic::{escaped, shown};
use crate::error::Exit;
use crate::failure::Failure;
use crate::jobs::{JobRecord, JobView, Jobs, PassedOver, State};
use crate::store::{Location, StoreError};

/// Dispatches.
pub fn jobs(args: &JobsArgs, talk: &Talk) -> Exit {
    let done = match &args.command {
        JobsCommand::Create(args) => create::create(args, talk),
        JobsCommand::List(args) => list::list(args, talk),
        JobsCommand::Get(args) => get::get(args, talk),
        JobsCommand::Download(args) => download::download(args, talk),
        JobsCommand::Cancel(args) => cancel(args, talk),
        JobsCommand::Work(args) => work::work(args, talk),
        JobsCommand::Prune(args) => prune::prune(args, talk),
    };
    done.unwrap_or_else(|trouble| {
        talk.complain(&format!("error: {}", trouble.why));
        if talk.json {
            talk.print_json(&serde_json::json!({"version": 1, "exit_code": trouble.exit.code(), "error": trouble.why}));
        }
        trouble.exit
    })
}

/// Why a command ends without doing what it is for.
struct Trouble {
    exit: Exit,
    why: String,
}

impl Trouble {
    fn usage(why: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, why: why.into() }
    }

    fn failed(why: String) -> Self {
        Self { exit: Exit::Failed, why }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Trouble {
    fn from(Failure { code, message }: Failure) -> Self {
        Self { exit: if code.is_retryable() { Exit::TryLater } else { Exit::Failed }, why: message }
    }
}

/// Where the store is; a local one absolute.
fn store_location(args: &StoreArgs) -> Result<Location, Trouble> {
    let current_dir = std::env::current_dir();
    let current_dir = current_dir.map_err(|e| Trouble::usage(format!("the current folder cannot be found: {e}")))?;
    location(&args.store, &current_dir).map_err(|e| Trouble::usage(format!("--store: {e}")))
}

/// The store, for commands that only make sense where jobs are.
fn existing(args: &StoreArgs) -> Result<Jobs, Trouble> {
    let at = store_location(args)?;
    let none =
        || Trouble::usage(format!("{at} is no store of jobs yet; `jobs create` makes it, `--store` names another"));
    Jobs::existing(&at)?.ok_or_else(none)
}

/// Names the jobs that a command could not look at.
fn tell_passed_over(passed_over: &[PassedOver], talk: &Talk) {
    for PassedOver { id, why } in passed_over {
        talk.complain(&format!("warning: {} is passed over: {}", shown(id), escaped(why)));
    }
}

fn record_of(jobs: &Jobs, id: &str) -> Result<JobRecord, Trouble> {
    jobs.record(id)?.ok_or_else(|| no_job(jobs, id))
}

fn no_job(jobs: &Jobs, id: &str) -> Trouble {
    let id = shown(id);
    Trouble::usage(format!("there is no job `{id}` in {}; `jobs list` shows those that are there", jobs.location()))
}

/// What a job's state means to a scheduler.
fn exit_of(view: &JobView) -> Exit {
    match view.status {
        State::Complete | State::Expired => Exit::Complete,
        State::Partial => Exit::Partial,
        State::Failed | State::Cancelled => Exit::Failed,
        State::Queued | State::Running | State::Abandoned => Exit::TryLater,
    }
}

fn cancel(args: &JobsIdArgs, talk: &Talk) -> Result<Exit, Trouble> {
    let jobs = existing(&args.store)?;
    let now = Timestamp::now();
    let Some(view) = jobs.view(&args.id, now)? else { return Err(no_job(&jobs, &args.id)) };
    let (cancelled, text) = match view.status {
        State::Complete | State::Expired => (false, format!("{} is {} already", view.id, view.status)),
        State::Running => (true, format!("{} is asked to stop; it ends within seconds", view.id)),
        _ => (true, format!("{} is cancelled", view.id)),
    };
    if cancelled {
        jobs.cancel(&args.id, now)?;
    }
    talk.say(&text);
    if talk.json {
        talk.print_json(&serde_json::json!({"version": 1, "id": view.id, "cancelled": cancelled}));
    }
    Ok(Exit::Complete)
}
