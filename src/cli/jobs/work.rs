//! `jobs work`: runs jobs that are queued or abandoned.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{CommandError, record_of, store_location, warn_skipped};
use crate::cli::args::JobsWorkArgs;
use crate::cli::environment::run_options;
use crate::cli::run::summary;
use crate::cli::{Console, signals};
use crate::diagnostic::render_text;
use crate::error::Exit;
use crate::jobs::{JobRecord, Jobs, Queue, run_job};
use crate::run::{RunError, RunOutcome};
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
    let (mut worst, mut done, mut queue) = (Exit::Complete, 0u64, Queue::default());
    let mut reported = BTreeSet::new();
    loop {
        if let Some(exit) = stop.exit() {
            return Ok(exit);
        }
        let next = queue.next(&jobs)?;
        // Reported once per process.
        let news: Vec<_> = queue.passed_over.iter().filter(|job| reported.insert(job.id.clone())).cloned().collect();
        warn_skipped(&news, console);
        match next {
            Some(record) => {
                worst = worst.worst(one(&jobs, &record, args, &stop, console));
                done += 1;
            }
            None if args.follow => {
                queue.retry();
                stop.pause(PAUSE);
            }
            None => {
                console.info(&format!("no jobs left; {done} done"));
                if console.json {
                    console.print_json(&serde_json::json!({
                        "version": 1, "exit_code": worst.code(), "jobs": done, "passed_over": queue.passed_over,
                    }));
                }
                return Ok(worst);
            }
        }
    }
}

/// Runs one job and records its progress in the store.
fn one(jobs: &Jobs, record: &JobRecord, args: &JobsWorkArgs, stop: &Stop, console: &Console) -> Exit {
    // Cancelling stops one job; a signal stops all.
    let stop = stop.job();
    let environment = record.environment();
    let mut options = run_options(&record.spec.path, &args.resources, &environment, stop);
    if let Some(run_id) = &args.detached {
        options.run_id.clone_from(run_id);
    }
    let ran = run_job(jobs, record, options);
    print_result(&record.id, &ran, console);
    ran.as_ref().map_or_else(RunError::exit, RunOutcome::exit)
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
