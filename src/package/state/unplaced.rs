//! Rows that cannot be placed in a partition: unreadable, or without a time.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Rows of one unit that could not be read or placed, and the partitions that they may belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    /// Indexes of the partitions.
    pub partitions: Range<u32>,
    /// Whether the spec allows to reject them: then the partitions are partial, otherwise they fail.
    pub allowed: bool,
    /// Number of rows.
    pub rows: u64,
    /// What is wrong with the first row.
    pub failure: Failure,
}

impl Unplaced {
    /// The failure, if a partition is affected.
    pub fn of(&self, partition: u32) -> Option<Failure> {
        let Failure { code, message } = &self.failure;
        let message = match self.rows {
            1 => message.clone(),
            n => format!("{message}, and {} more", n - 1),
        };
        self.partitions.contains(&partition).then_some(Failure { code: *code, message })
    }
}
