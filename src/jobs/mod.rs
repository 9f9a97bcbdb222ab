//! Asynchronous jobs over a store: an index of what was asked for, kept as files beside the packages.
//!
//! ```text
//! <store>/jobs/<id>/
//!   job.json               what was asked for; created once
//!   runs/<run>.json        who works on it, alive or how it ended; informs people, nothing depends on it
//!   cancel.json            the wish that nobody work on it
//!   package/               the package, which alone decides what state the job is in
//! ```
//!
//! There is no server, no queue and no lock: a job whose package is not finished may be taken up by anybody, and any
//! number of runs of one job do no harm. Losing the store loses the list and the packages in it, and nothing else.

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
pub use record::{JobRecord, Package, TextRecord};
pub use request::{Request, TimeSpan};
pub use state::State;
#[cfg(test)]
pub(crate) use tombstone::Burial;
pub use view::{JobView, Jobs, Listed, PassedOver};
