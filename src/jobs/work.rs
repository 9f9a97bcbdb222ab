//! Runs jobs that are queued or abandoned.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use super::heartbeat::{Heartbeat, RunEnd};
use super::record::{JobRecord, PackageLocation};
use super::view::{JobList, JobView, Jobs, PassedOver};
use crate::failure::Failure;
use crate::job::Job;
use crate::resolve::Destination;
use crate::run::restate::{self, Next, Superseded};
use crate::run::{self, RunError, RunOptions, RunOutcome};

/// The open jobs of a store, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<(String, Option<Timestamp>)>,
    /// A job that could not run is not retried at once, unless it was requested again.
    tried: BTreeMap<String, Option<Timestamp>>,
    /// Job folders that cannot be used.
    pub(crate) passed_over: Vec<PassedOver>,
}

impl Queue {
    /// The next open job; `None` if there is none left that was not tried.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn next(&mut self, jobs: &Jobs) -> Result<Option<JobRecord>, Failure> {
        loop {
            if self.waiting.is_empty() {
                let JobList { views, passed_over } = jobs.list(Timestamp::now())?;
                self.passed_over = passed_over;
                let open = views.into_iter().rev().filter(|view| view.status.is_open());
                let is_new = |view: &JobView| self.tried.get(&view.id) != Some(&view.again_at);
                self.waiting = open.filter(is_new).map(|view| (view.id, view.again_at)).collect();
            }
            let Some((id, again_at)) = self.waiting.pop_front() else { return Ok(None) };
            self.tried.insert(id.clone(), again_at);
            // Another worker may have claimed it meanwhile.
            let is_open = match jobs.view(&id, Timestamp::now()) {
                Ok(view) => view.is_some_and(|view| view.status.is_open()),
                Err(error) if error.code().is_retryable() => return Err(error),
                // The next list passes it over.
                Err(_) => false,
            };
            if let Some(record) = jobs.record(&id)?.filter(|_| is_open) {
                return Ok(Some(record));
            }
        }
    }

    /// Forgets which jobs were tried.
    pub(crate) fn retry(&mut self) {
        self.tried.clear();
    }
}

/// Runs one job and records its progress in the store. What the options say of the job itself is not used.
///
/// # Errors
/// As [`run::run`]; mistakes in the recorded spec.
pub(crate) fn run_job(jobs: &Jobs, record: &JobRecord, options: RunOptions) -> Result<RunOutcome, RunError> {
    let git = record.git.clone();
    let options = RunOptions { git: Arc::new(LazyLock::new(Box::new(move || git))), ..options };
    let heartbeat = match jobs.job_folder(&record.id) {
        Ok(folder) => Some(Heartbeat::start(folder, &options.run_id, options.progress.clone(), options.stop.clone())),
        Err(error) => {
            tracing::warn!("cannot record progress for {}: {error}", record.id);
            None
        }
    };
    let ran = record.resolve(jobs.location()).map_err(RunError::Spec).and_then(|job| {
        let supersedes = supersedes(record, &job, &options)?;
        run::run(&job, &RunOptions { supersedes, ..options })
    });
    if let Some(heartbeat) = heartbeat {
        heartbeat.end(RunEnd::of(&ran));
    }
    ran
}

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
