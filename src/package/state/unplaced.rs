//! Rows that have no place: unreadable, or without a time.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Rows of one unit that could not be read or placed, and the partitions that they may belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    /// Indexes in the plan.
    pub partitions: Range<u32>,
    /// Whether the spec allows to leave them out: those partitions are partial then, else they fail.
    pub allowed: bool,
    /// How many.
    pub rows: u64,
    /// What is wrong with the first.
    pub failure: Failure,
}

impl Unplaced {
    /// What to say of a partition.
    pub fn of(&self, partition: u32) -> Option<Failure> {
        let Failure { code, message } = &self.failure;
        let message = match self.rows {
            1 => message.clone(),
            n => format!("{message}, and {} more", n - 1),
        };
        self.partitions.contains(&partition).then_some(Failure { code: *code, message })
    }
}
