//! Counts the rows of a file and tracks their range of times during inspection.

use jiff::Timestamp;

use crate::source::{InputFacts, SourceError, TimeRange, UnitFacts};

/// Rows and times of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    rows: u64,
    unplaced: u64,
    times: Option<(Timestamp, Timestamp)>,
}

impl Tally {
    /// Counts a readable row and its time, if it has one.
    pub(super) fn row(&mut self, time: Option<Timestamp>) {
        self.rows += 1;
        match time {
            None => self.unplaced += 1,
            Some(at) => {
                let (min, max) = self.times.unwrap_or((at, at));
                self.times = Some((min.min(at), max.max(at)));
            }
        }
    }

    /// Counts an unreadable row.
    pub(super) fn unreadable(&mut self) {
        self.row(None);
    }

    /// Adds the rows of another part of the file.
    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.unplaced += other.unplaced;
        self.times = match (self.times, other.times) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    /// The facts of the file, which is one unit.
    pub(super) fn facts(self, encoded_bytes: u64, problem: Option<SourceError>) -> InputFacts {
        let times = self.times.map_or(TimeRange::Empty, |(min, max)| TimeRange::Within { min, max });
        let (rows, unplaced_rows) = (Some(self.rows), Some(self.unplaced));
        let unit = UnitFacts { rows, encoded_bytes, times, unplaced_rows, peak_decoded_bytes: 0 };
        InputFacts { units: vec![unit], problem }
    }
}
