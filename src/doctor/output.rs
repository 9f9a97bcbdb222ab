//! Checks of the output: writable, its content, free space, and clock skew.

use jiff::{SignedDuration, Timestamp};

use super::{Check, DoctorOptions, Subject, rough, size};
use crate::error::Exit;
use crate::job::Job;
use crate::run::{self, OutputState, RunError};
use crate::store::{self, Location, Probed, Refusal, StoreError};

/// Stores refuse signatures that are older or newer than this: S3, and with it most others, 15 minutes.
const REFUSED_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// More than requests and whole seconds explain: `settle` would be off by as much.
const NOTED_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// What was found of the output.
pub(super) struct Outlook {
    pub checks: Vec<Check>,
    /// The job is complete: a run would do nothing.
    pub is_complete: bool,
}

/// Looks at the output folder and tries to write there, unless it holds the finished job.
pub(super) fn examine(job: &Job, options: &DoctorOptions, estimate: Option<u64>) -> Outlook {
    let found = run::read_output_state(job, &options.run);
    if let Ok(OutputState::Complete(_)) = &found {
        let untried = format!("{} contains the finished job, so writing was not tested", job.output);
        let checks = vec![Check::ok(Subject::Output, untried), package(job, found), clock_alone(options)];
        return Outlook { checks, is_complete: true };
    }
    let before = (options.run.clock)();
    let probed = store::probe(&job.output);
    let after = (options.run.clock)();
    let clock = match &probed {
        Err(StoreError::Remote { refusal: Refusal::ClockSkewed, .. }) => skewed(job, options),
        Ok(Probed { server_time: Some(server), .. }) => compare(job, options, *server, before, after),
        _ => clock_alone(options),
    };
    let mut checks = Vec::new();
    let is_probed = probed.is_ok();
    checks.push(match probed {
        Ok(Probed { is_exclusive: true, .. }) => Check::ok(Subject::Output, format!("{} can be written", job.output)),
        Ok(_) => Check::warning(
            Subject::Output,
            format!("{} is writable, but its store ignores conditional writes (If-None-Match)", job.output),
            "allow only one run of this job at a time, or two runs may both believe that they finished it",
        ),
        Err(error) => Check::of_error(Subject::Output, error.into()),
    });
    // A store that denies writes also denies reads; report it once.
    if is_probed || !matches!(found, Err(RunError::Failed(_))) {
        checks.push(package(job, found));
    }
    if let Location::Local(folder) = &job.output
        && is_probed
    {
        checks.push(disk(folder, estimate));
    }
    checks.push(clock);
    Outlook { checks, is_complete: false }
}

fn package(job: &Job, found: Result<OutputState, RunError>) -> Check {
    let subject = Subject::Package;
    match found {
        Ok(OutputState::Empty) => Check::ok(subject, "empty"),
        Ok(OutputState::Complete(manifest)) => {
            Check::ok(subject, format!("{} is already complete, nothing to do", manifest.window_label))
        }
        Ok(OutputState::Pinned(pinned)) => Check::ok(
            subject,
            format!("unfinished since {}, a run resumes it with its original plan", pinned.created_at),
        ),
        Ok(OutputState::Outdated(why)) => Check::ok(
            subject,
            format!(
                "unfinished, and {why}: a run starts it with a new \
            plan"
            ),
        ),
        Ok(OutputState::Repairable(..)) => Check::ok(subject, "damaged; a run with `--repair` re-exports the files"),
        Ok(OutputState::Incomplete(manifest)) => {
            Check::ok(subject, format!("{} when it ended; a run retries the incomplete partitions", manifest.status))
        }
        Ok(OutputState::Replaceable) => Check::ok(subject, format!("{} holds another job to be replaced", job.output)),
        Err(error) => Check::of_error(subject, error),
    }
}

fn disk(folder: &std::path::Path, estimate: Option<u64>) -> Check {
    let free = match store::free_bytes(folder) {
        Ok(free) => free,
        Err(error) => {
            return Check::warning(Subject::Disk, crate::failure::chain(&error), "check the file system of the output");
        }
    };
    let at = format!("{} free at {}", size(free), folder.display());
    let Some(estimate) = estimate else { return Check::ok(Subject::Disk, at) };
    let needed = format!("{} of source in the window", size(estimate));
    if free < estimate {
        return Check::warning(
            Subject::Disk,
            format!("{at}, less than the {needed}"),
            "free some space or choose another `output.uri`; the estimate assumes that a run writes as much as it \
             reads",
        );
    }
    Check::ok(Subject::Disk, format!("{at}, a run may write the {needed} (an estimate)"))
}

fn now(options: &DoctorOptions) -> String {
    (options.run.clock)().to_zoned(options.clock_zone.clone()).strftime("%F %T%:z").to_string()
}

fn clock_alone(options: &DoctorOptions) -> Check {
    Check::ok(Subject::Clock, format!("{}, not compared with another clock", now(options)))
}

const SET_THE_CLOCK: &str = "set this machine's clock (NTP)";

fn skewed(job: &Job, options: &DoctorOptions) -> Check {
    let message = format!("{}, too far from the clock of {} for signatures", now(options), job.output);
    Check::failure(Subject::Clock, message, Exit::Failed).help(SET_THE_CLOCK)
}

/// The store wrote an object somewhere between two looks at this machine's clock.
fn compare(job: &Job, options: &DoctorOptions, server: Timestamp, before: Timestamp, after: Timestamp) -> Check {
    let second = SignedDuration::from_secs(1);
    let (ahead, behind) = (before.duration_since(server) - second, server.duration_since(after));
    let (skew, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let message = format!("{}, {} {way} the clock of {}", now(options), rough(skew), job.output);
    if skew > REFUSED_SKEW {
        let help = format!("{SET_THE_CLOCK}: stores reject signatures more than 15 minutes off");
        Check::failure(Subject::Clock, message, Exit::Failed).help(help)
    } else if skew > NOTED_SKEW {
        Check::warning(
            Subject::Clock,
            message,
            format!(
                "{SET_THE_CLOCK}: it determines when a window has ended and \
            settled"
            ),
        )
    } else {
        Check::ok(Subject::Clock, format!("{}, as {} has it", now(options), job.output))
    }
}
