//! Asynchronous jobs over a store: requested jobs, kept as files beside their packages.
//!
//! ```text
//! <store>/jobs/<id>/
//!   job.json               the request; created once
//!   runs/<run>.json        heartbeat and result of a run; informational only
//!   cancel.json            present if the job is cancelled
//!   package/               the package, which alone decides the job's state
//! ```
//!
//! There is no server, queue or lock: any worker may take up a job whose package is not finished, and concurrent runs of a
//! job are harmless. Losing the store loses only the list of jobs and the packages in it.

mod heartbeat;
mod prune;
mod record;
mod request;
mod state;
mod tombstone;
mod view;

pub use heartbeat::{ABANDONED_AFTER, Heartbeat, RunEnd, announce};
#[cfg(test)]
pub(crate) use prune::prune_package;
pub use prune::{Expired, Prune, Pruned, Refused, prune};
pub use record::{JobRecord, PackageLocation, TextRecord};
pub use request::{Request, TimeSpan};
pub use state::State;
#[cfg(test)]
pub(crate) use tombstone::Deletion;
pub use view::{JobView, Jobs, Listed, PassedOver};
