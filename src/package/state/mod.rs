//! What runs leave in `_state/` so that later ones can resume: the log of decisions, the pinned plan, and a record for each
//! committed partition and each finished task.
//!
//! These wire types are private to the program, and other versions' are refused. Nothing here is evidence.

pub mod log;
mod plan;
mod record;
mod unplaced;

pub use plan::{MissingSource, Pinned};
pub use record::{
    PartitionRecord, STATE_VERSION, Signed, StateError, TOOL_VERSION, TaskCounts, TaskRecord, bytes, is_proven, load,
    sign,
};
pub use unplaced::Unplaced;
