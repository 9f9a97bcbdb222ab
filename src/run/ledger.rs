//! What a task has met so far: rows counted, left out, without a place.
//!
//! Each chunk keeps findings of its own; they are entered in the order of the chunks, so that the first row that is to
//! blame is the same one whichever thread met it.

use std::collections::BTreeMap;

use super::rejects::RejectLine;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::OnBad;
use crate::package::state::{TaskCounts, Unplaced};
use crate::plan::Plan;

/// What was met in one chunk.
#[derive(Debug, Default)]
pub struct Findings {
    /// Rows.
    pub counts: TaskCounts,
    /// Lines for `rejects/`, and how many.
    pub reject_lines: Vec<u8>,
    /// How many lines.
    pub rejects: u64,
    /// By file, unit and whether the spec allows it. Reading goes on, so that every row is counted.
    pub unplaced: BTreeMap<(u32, u32, bool), Unplaced>,
}

/// The unit that a row was met in.
#[derive(Clone, Copy)]
pub struct Place {
    /// Its file.
    pub file: u32,
    /// Its index in the file.
    pub unit: u32,
    /// Whether the task accounts for the unit's rows that are not its own.
    pub owner: bool,
}

impl Findings {
    /// A row that goes nowhere: into `rejects/`, or the end of the partitions that it may belong to.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn leave_out(
        &mut self,
        plan: &Plan,
        policy: OnBad,
        code: ErrorCode,
        place: Place,
        line: &RejectLine<'_>,
    ) -> Result<(), Failure> {
        let allowed = policy == OnBad::Reject;
        if allowed && place.owner {
            serde_json::to_writer(&mut self.reject_lines, line).map_err(|e| Failure::internal(&e))?;
            self.reject_lines.push(b'\n');
            self.rejects += 1;
        }
        let key = (place.file, place.unit, allowed);
        if let Some(unplaced) = self.unplaced.get_mut(&key) {
            unplaced.rows += 1;
            return Ok(());
        }
        let mut failure = Failure { code, message: format!("{}:{}: {}", line.file, line.position, line.error) };
        if allowed {
            failure.code = ErrorCode::RowsRejected;
        } else {
            let setting = if code == ErrorCode::NullTime { "on_null_time" } else { "on_bad_rows" };
            failure.message.push_str(&format!(" (`{setting}: reject` sets such rows aside)"));
        }
        let partitions = plan.concerned(place.file, place.unit);
        self.unplaced.insert(key, Unplaced { partitions, allowed, rows: 1, failure });
        Ok(())
    }
}

/// Everything that the chunks of a task have met, up to one of them.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Rows.
    pub counts: TaskCounts,
    /// See [`Findings::unplaced`].
    pub unplaced: BTreeMap<(u32, u32, bool), Unplaced>,
}

impl Ledger {
    /// Enters the findings of the next chunk; the reject lines are the caller's.
    pub fn enter(&mut self, counts: TaskCounts, unplaced: BTreeMap<(u32, u32, bool), Unplaced>) {
        self.counts += counts;
        for (key, found) in unplaced {
            match self.unplaced.get_mut(&key) {
                Some(known) => known.rows += found.rows,
                None => {
                    self.unplaced.insert(key, found);
                }
            }
        }
    }

    /// What is to be said of a partition, by rows that the spec allows to leave out or by those that it does not.
    pub fn about(&self, partition: u32, allowed: bool) -> Option<Failure> {
        self.unplaced.values().filter(|u| u.allowed == allowed).find_map(|u| u.of(partition))
    }
}
