//! `jobs work`: takes up jobs that nobody works on.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;

use super::{Trouble, record_of, store_location, tell_passed_over};
use crate::cli::args::JobsWorkArgs;
use crate::cli::environment::run_options;
use crate::cli::run::summary;
use crate::cli::{Talk, signals};
use crate::diagnostic::render_text;
use crate::error::Exit;
use crate::job::Job;
use crate::jobs::{Heartbeat, JobRecord, Jobs, Listed, PackageLocation, RunEnd};
use crate::resolve::Place;
use crate::run::restate::{self, Next, Superseded};
use crate::run::{self, RunError, RunOptions, RunOutcome};
use crate::stop::Stop;

/// Between two looks at an empty queue.
const PAUSE: Duration = Duration::from_secs(5);

/// Works.
pub(super) fn work(args: &JobsWorkArgs, talk: &Talk) -> Result<Exit, Trouble> {
    if args.detached.is_some() {
        leave_terminal();
    }
    let stop = signals::listen().map_err(Trouble::failed)?;
    let jobs = Jobs::open(&store_location(&args.store)?)?;
    if let Some(id) = &args.id {
        let record = record_of(&jobs, id)?;
        jobs.uncancel(id)?;
        return Ok(one(&jobs, &record, args, &stop, talk));
    }
    let mut worst = Exit::Complete;
    // One that could not be done is not tried again at once.
    let mut tried = BTreeSet::new();
    let mut done = 0u64;
    let mut told = BTreeSet::new();
    loop {
        let Listed { views: mut waiting, passed_over } = jobs.list(Timestamp::now())?;
        // Told once, however long this process waits.
        let news: Vec<_> = passed_over.iter().filter(|job| told.insert(job.id.clone())).cloned().collect();
        tell_passed_over(&news, talk);
        waiting.retain(|view| view.status.is_open() && !tried.contains(&view.id));
        if waiting.is_empty() && !args.follow {
            talk.say(&format!("no job is waiting; {done} done"));
            if talk.json {
                talk.print_json(&serde_json::json!({
                    "version": 1, "exit_code": worst.code(), "jobs": done, "passed_over": passed_over,
                }));
            }
            return Ok(worst);
        }
        if waiting.is_empty() {
            tried.clear();
            wait(&stop);
        }
        // Oldest first; somebody else may have taken one up meanwhile.
        for view in waiting.into_iter().rev() {
            if let Some(exit) = stop.exit() {
                return Ok(exit);
            }
            tried.insert(view.id.clone());
            let is_open = match jobs.view(&view.id, Timestamp::now()) {
                Ok(now) => now.is_some_and(|now| now.status.is_open()),
                Err(error) if error.code().is_retryable() => return Err(error.into()),
                // The next list passes it over.
                Err(_) => false,
            };
            if let Some(record) = jobs.record(&view.id)?.filter(|_| is_open) {
                worst = worst.worst(one(&jobs, &record, args, &stop, talk));
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

/// Runs one job and tells the store how it goes.
fn one(jobs: &Jobs, record: &JobRecord, args: &JobsWorkArgs, stop: &Stop, talk: &Talk) -> Exit {
    // A wish to cancel concerns one job, a signal all of them.
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
            talk.complain(&format!("warning: nobody is told how {} goes on: {error}", record.id));
            None
        }
    };
    let (exit, end) = match record.resolve(jobs.location()) {
        Err(mistakes) => {
            let text = render_text(&mistakes, false);
            talk.complain(&text);
            (Exit::Usage, RunEnd::Failed { exit_code: Exit::Usage.code(), error_code: None, error: text })
        }
        Ok(job) => {
            let ran = supersedes(record, &job, &options).and_then(|supersedes| {
                let options = RunOptions { supersedes, ..options.clone() };
                run::run(&job, &options)
            });
            tell(&record.id, &ran, talk);
            let exit = ran.as_ref().map_or_else(RunError::exit, RunOutcome::exit);
            (exit, RunEnd::of(&ran))
        }
    };
    if let Some(heartbeat) = heartbeat {
        heartbeat.end(end);
    }
    exit
}

fn tell(id: &str, ran: &Result<RunOutcome, RunError>, talk: &Talk) {
    match ran {
        Ok(outcome) => talk.say(&format!("{id} {}", summary(outcome))),
        Err(RunError::Spec(mistakes)) => talk.complain(&render_text(mistakes, talk.color)),
        Err(error) => talk.complain(&format!("{id}: {}", crate::failure::chain(error))),
    }
}

/// The terminal may close and its signals are not for this process.
#[cfg(unix)]
fn leave_terminal() {
    // Only the leader of a process group cannot, and that one has no terminal to lose.
    let _ = rustix::process::setsid();
}

#[cfg(not(unix))]
fn leave_terminal() {}

/// The package that a revision takes the place of, if the job is one.
fn supersedes(record: &JobRecord, job: &Job, options: &RunOptions) -> Result<Option<Arc<Superseded>>, RunError> {
    let first = match &record.package {
        PackageLocation::OfSpec { revision: 2.., .. } => record.resolve_at(&Place::OfSpec { revision: 0 }),
        PackageLocation::OfSpec { .. } | PackageLocation::Store { .. } => return Ok(None),
    };
    let first = first.map_err(RunError::Spec)?;
    let next = restate::next(&first, options, |revision| record.resolve_at(&Place::OfSpec { revision }))?;
    Ok(match next {
        Next::Revision(next, superseded) if next.id == job.id => Some(Arc::new(superseded)),
        // It is there already.
        Next::Revision(..) | Next::Unchanged(_) => None,
    })
}
