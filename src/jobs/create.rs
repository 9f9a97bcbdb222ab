//! Requests a job: records it, unless the same was requested before.

use jiff::Timestamp;

use super::record::{JobRecord, PackageLocation, Requester};
use super::state::State;
use super::view::{JobView, Jobs};
use crate::failure::Failure;
use crate::job::Job;
use crate::resolve::Environment;
use crate::run::GitState;
use crate::store::Created;

/// A request for a job.
pub(crate) struct JobRequest<'a> {
    /// The environment in which the job was resolved.
    pub environment: &'a Environment,
    /// State of the spec's git repository.
    pub git: Option<GitState>,
    /// Who requests it, if it came over the API.
    pub requester: Option<Requester>,
    /// Which of the jobs that are equal but for their revision.
    pub which: Which,
}

/// Which of equal jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The first, whether it is there or not.
    First,
    /// One that is not there yet.
    New,
    /// The one with this revision, whether it is there or not.
    Revision(u32),
}

/// What became of a request.
pub(crate) struct Requested {
    /// The job as it is now.
    pub view: JobView,
    /// The state that it was found in.
    pub found: State,
    /// Whether it is recorded now for the first time.
    pub created: Created,
}

impl Requested {
    /// Whether the job has something left to do that no run does yet.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self.found, State::Complete | State::Expired | State::Running)
    }
}

impl Jobs {
    /// Records a job. One that has ended without all rows, or was cancelled, waits for a run again. `job` gives the job of a revision; a new job is the first
    /// revision that is free.
    ///
    /// # Errors
    /// Those of `job` and the store.
    pub(crate) fn request<E: From<Failure>>(
        &self,
        how: &JobRequest<'_>,
        job: impl Fn(u32) -> Result<Job, E>,
    ) -> Result<Requested, E> {
        let mut revision = match how.which {
            Which::First | Which::New => 0,
            Which::Revision(revision) => revision,
        };
        let (id, created) = loop {
            let package = PackageLocation::Store { revision };
            let record = JobRecord::new(&job(revision)?, package, how.environment, Timestamp::now());
            let record = JobRecord {
                git: how.git.clone(),
                requester: how.requester.clone(),
                ..record.map_err(|error| E::from(error.into()))?
            };
            let created = self.create(&record)?;
            if created == Created::Created || how.which != Which::New {
                break (record.id, created);
            }
            revision += 1;
        };
        let gone = || Failure::new(crate::error::ErrorCode::Internal, format!("the record of {id} is gone"));
        let view = || self.view(&id, Timestamp::now())?.ok_or_else(gone);
        let found = view()?;
        let mut requested = Requested { found: found.status, view: found, created };
        if requested.is_wanted() && created == Created::Exists {
            self.uncancel(&id).map_err(Failure::from)?;
            if matches!(requested.found, State::Failed | State::Partial | State::Cancelled) {
                self.request_again(&id, Timestamp::now())?;
            }
            requested.view = view()?;
        }
        Ok(requested)
    }
}
