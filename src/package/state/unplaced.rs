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
        let failure = || match self.rows {
            1 => self.failure.clone(),
            n => self.failure.clone().with_suffix(&format!(", and {} more", n - 1)),
        };
        self.partitions.contains(&partition).then(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn the_first_row_is_named_and_the_others_are_counted() {
        let failure = Failure::new(ErrorCode::BadRows, "expected 2 cells").at_input("a.csv", 7);
        let unplaced = |rows| Unplaced { partitions: 1..3, allowed: false, rows, failure: failure.clone() };
        let text = |rows, partition| unplaced(rows).of(partition).map(|failure| failure.to_string());
        assert_eq!(text(1, 1).as_deref(), Some("a.csv:7: expected 2 cells"));
        assert_eq!(text(4, 2).as_deref(), Some("a.csv:7: expected 2 cells, and 3 more"));
        assert_eq!(text(4, 3), None);
    }
}
