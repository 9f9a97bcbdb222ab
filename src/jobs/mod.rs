//! Asynchronous jobs over a store: requested jobs, kept as files beside their packages.
//!
//! ```text
//! <store>/jobs/<id>/
//!   job.json               the request; created once
//!   runs/<run>.json        heartbeat and result of a run; informational only
//!   cancel.json            present if the job is cancelled
//!   again.json             when it was requested again after it had ended
//!   package/               the package, which alone decides the job's state
//! ```
//!
//! There is no server, queue or lock: any worker may take up a job whose package is not finished, and concurrent runs of a
//! job are harmless. Losing the store loses only the list of jobs and the packages in it.

mod create;
mod heartbeat;
mod prune;
mod record;
mod request;
mod state;
mod tombstone;
mod view;
mod work;

pub(crate) use create::{JobRequest, Which};
pub(crate) use heartbeat::{Heartbeat, RunEnd, announce};
#[cfg(test)]
pub(crate) use prune::prune_package;
pub(crate) use prune::{Prune, prune, prune_job};
pub(crate) use record::{JobRecord, PackageLocation, Requester};
pub(crate) use request::{Request, TimeSpan};
pub(crate) use state::State;
#[cfg(test)]
pub(crate) use tombstone::Deletion;
pub(crate) use view::{JobList, JobView, Jobs, PassedOver};
pub(crate) use work::{Queue, run_job};
