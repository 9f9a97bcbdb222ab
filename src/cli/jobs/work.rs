//! `jobs work`: runs jobs that are queued or abandoned.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;

use super::{CommandError, record_of, store_location, warn_skipped};
use crate::cli::args::JobsWorkArgs;
use crate::cli::environment::run_options;
use crate::cli::run::summary;
use crate::cli::{Console, signals};
use crate::diagnostic::render_text;
use crate::error::Exit;
use crate::job::Job;
use crate::jobs::{Heartbeat, JobList, JobRecord, Jobs, PackageLocation, RunEnd};
use crate::resolve::Destination;
use crate::run::restate::{self, Next, Superseded};
use crate::run::{self, RunError, RunOptions, RunOutcome};
use crate::stop::Stop;

/// Interval between two polls of an empty queue.
const PAUSE: Duration = Duration::from_secs(5);

/// Works.
pub(super) fn work(args: &JobsWorkArgs, console: &Console) -> Result<Exit, CommandError> {
    if args.detached.is_some() {
        leave_terminal();
    }
    let stop = signals::listen().map_err(CommandError::failed)?;
    let jobs = Jobs::open(&store_location(&args.store)?)?;
    if let Some(id) = &args.id {
        let record = record_of(&jobs, id)?;
        jobs.uncancel(id)?;
        return Ok(one(&jobs, &record, args, &stop, console));
    }
    let mut worst = Exit::Complete;
    // A job that could not run is not retried at once.
    let mut tried = BTreeSet::new();
    let mut done = 0u64;
    let mut reported = BTreeSet::new();
    loop {
        let JobList { views: mut waiting, passed_over } = jobs.list(Timestamp::now())?;
        // Reported once per process.
        let news: Vec<_> = passed_over.iter().filter(|job| reported.insert(job.id.clone())).cloned().collect();
        warn_skipped(&news, console);
        waiting.retain(|view| view.status.is_open() && !tried.contains(&view.id));
        if waiting.is_empty() && !args.follow {
            console.info(&format!("no jobs left; {done} done"));
            if console.json {
                console.print_json(&serde_json::json!({
                    "version": 1, "exit_code": worst.code(), "jobs": done, "passed_over": passed_over,
                }));
            }
            return Ok(worst);
        }
        if waiting.is_empty() {
            tried.clear();
            wait(&stop);
        }
        // Oldest first; another worker may have claimed it meanwhile.
        for view in waiting.into_iter().rev() {
            if let Some(exit) = stop.exit() {
                return Ok(exit);
            }
            tried.insert(view.id.clone());
            let is_open = match jobs.view(&view.id, Timestamp::now()) {
                Ok(now) => now.is_some_and(|now| now.status.is_open()),
                Err(error) if error.code().is_retryable() => return Err(error.into()),
                // The next list skips it.
                Err(_) => false,
            };
            if let Some(record) = jobs.record(&view.id)?.filter(|_| is_open) {
                worst = worst.worst(one(&jobs, &record, args, &stop, console));
                done += 1;
            }
        }
        if let Some(exit) = stop.exit() {
            return Ok(exit);
        }
    }
}

fn wait(stop: &Stop) {
    let mut waited = Duration::ZERO;
    while waited < PAUSE && !stop.is_set() {
        std::thread::sleep(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }
}

/// Runs one job and records its progress in the store.
fn one(jobs: &Jobs, record: &JobRecord, args: &JobsWorkArgs, stop: &Stop, console: &Console) -> Exit {
    // Cancelling stops one job; a signal stops all.
    let stop = stop.job();
    let environment = record.environment();
    let git = record.git.clone();
    let mut options = RunOptions {
        git: Arc::new(LazyLock::new(Box::new(move || git))),
        ..run_options(&record.spec.path, &args.resources, &environment, stop.clone())
    };
    if let Some(run_id) = &args.detached {
        options.run_id.clone_from(run_id);
    }
    let heartbeat = match jobs.job_folder(&record.id) {
        Ok(folder) => Some(Heartbeat::start(folder, &options.run_id, options.progress.clone(), stop.clone())),
        Err(error) => {
            console.error(&format!("warning: cannot record progress for {}: {error}", record.id));
            None
        }
    };
    let (exit, end) = match record.resolve(jobs.location()) {
        Err(mistakes) => {
            let text = render_text(&mistakes, false);
            console.show(&text);
            (Exit::Usage, RunEnd::Failed { exit_code: Exit::Usage.code(), error_code: None, error: text })
        }
        Ok(job) => {
            let ran = supersedes(record, &job, &options).and_then(|supersedes| {
                let options = RunOptions { supersedes, ..options.clone() };
                run::run(&job, &options)
            });
            print_result(&record.id, &ran, console);
            let exit = ran.as_ref().map_or_else(RunError::exit, RunOutcome::exit);
            (exit, RunEnd::of(&ran))
        }
    };
    if let Some(heartbeat) = heartbeat {
        heartbeat.end(end);
    }
    exit
}

fn print_result(id: &str, ran: &Result<RunOutcome, RunError>, console: &Console) {
    match ran {
        Ok(outcome) => console.show_info(&format!("{id} {}", summary(outcome))),
        Err(RunError::Spec(mistakes)) => console.show(&render_text(mistakes, console.color)),
        Err(error) => console.error(&format!("{id}: {}", crate::failure::chain(error))),
    }
}

/// Detaches from the terminal, so that closing it or its signals do not stop this process.
#[cfg(unix)]
fn leave_terminal() {
    #[expect(
        clippy::let_underscore_must_use,
        reason = "fails only for a process group leader, which has no terminal to detach from"
    )]
    let _ = rustix::process::setsid();
}

#[cfg(not(unix))]
fn leave_terminal() {}

/// The package that this job's revision supersedes, if any.
fn supersedes(record: &JobRecord, job: &Job, options: &RunOptions) -> Result<Option<Arc<Superseded>>, RunError> {
    let first = match &record.package {
        PackageLocation::OfSpec { revision: 2.., .. } => record.resolve_at(&Destination::OfSpec { revision: 0 }),
        PackageLocation::OfSpec { .. } | PackageLocation::Store { .. } => return Ok(None),
    };
    let first = first.map_err(RunError::Spec)?;
    let next = restate::next(&first, options, |revision| record.resolve_at(&Destination::OfSpec { revision }))?;
    Ok(match next {
        Next::Revision(next, superseded) if next.id == job.id => Some(Arc::new(superseded)),
        // It already exists.
        Next::Revision(..) | Next::Unchanged(_) => None,
    })
}
