//! Row counts, rejected rows and failures of a task.
//!
//! Each chunk collects its own findings. The ledger adds them in the order of the chunks, so that an error names the same
//! row for any number of threads.

use std::collections::BTreeMap;

use super::rejects::RejectLine;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::OnBad;
use crate::package::state::{TaskCounts, Unplaced};
use crate::plan::Plan;

/// Row counts, rejected rows and failures of one chunk.
#[derive(Debug, Default)]
pub(super) struct ChunkFindings {
    /// Row counts.
    pub counts: TaskCounts,
    /// Lines for the rejects file, NDJSON.
    pub reject_lines: Vec<u8>,
    /// Number of lines.
    pub rejects: u64,
    /// Rows without a partition, by input, unit and whether the spec allows to reject them. Reading continues after a
    /// row that is not allowed, so that every row is counted.
    pub unplaced: BTreeMap<(u32, u32, bool), Unplaced>,
}

/// A unit of an input, as its task reads it.
#[derive(Clone, Copy)]
pub(super) struct UnitRef {
    /// Index of the input in the plan.
    pub input: u32,
    /// Index of the unit in the input.
    pub unit: u32,
    /// Whether this task accounts for the unit's rows outside its own partitions.
    pub owner: bool,
}

impl ChunkFindings {
    /// Records a row without a partition: it is rejected, or it fails the partitions that it may belong to. `message` says
    /// why outside of the rejects file, which may be the only encrypted place.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`], only because of a bug.
    pub(super) fn add_unplaced(
        &mut self,
        plan: &Plan,
        policy: OnBad,
        code: ErrorCode,
        unit: UnitRef,
        line: &RejectLine<'_>,
        message: &str,
    ) -> Result<(), Failure> {
        let allowed = policy == OnBad::Reject;
        if allowed && unit.owner {
            serde_json::to_writer(&mut self.reject_lines, line).map_err(|e| Failure::internal(&e))?;
            self.reject_lines.push(b'\n');
            self.rejects += 1;
        }
        let key = (unit.input, unit.unit, allowed);
        if let Some(unplaced) = self.unplaced.get_mut(&key) {
            unplaced.rows += 1;
            return Ok(());
        }
        let failure = if allowed {
            Failure::new(ErrorCode::RowsRejected, message)
        } else {
            let setting = if code == ErrorCode::NullTime { "on_null_time" } else { "on_bad_rows" };
            Failure::new(code, format!("{message} (with `{setting}: reject` such rows go to `rejects/`)"))
        };
        let failure = failure.at_input(line.file, line.position);
        let partitions = plan.affected_partitions(unit.input, unit.unit);
        self.unplaced.insert(key, Unplaced { partitions, allowed, rows: 1, failure });
        Ok(())
    }
}

/// The findings of a task's chunks so far, in order.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Row counts.
    pub counts: TaskCounts,
    /// See [`ChunkFindings::unplaced`].
    pub unplaced: BTreeMap<(u32, u32, bool), Unplaced>,
}

impl Ledger {
    /// Adds the findings of the next chunk; the caller writes its reject lines.
    pub(super) fn add(&mut self, counts: TaskCounts, unplaced: BTreeMap<(u32, u32, bool), Unplaced>) {
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

    /// Why unplaced rows fail a partition: the spec does not allow rejecting them.
    pub(super) fn failure(&self, partition: u32) -> Option<Failure> {
        self.first_unplaced(partition, false)
    }

    /// Why rejected rows make a partition partial.
    pub(super) fn partial_reason(&self, partition: u32) -> Option<Failure> {
        self.first_unplaced(partition, true)
    }

    fn first_unplaced(&self, partition: u32, allowed: bool) -> Option<Failure> {
        self.unplaced.values().filter(|u| u.allowed == allowed).find_map(|u| u.of(partition))
    }
}

#[cfg(test)]
mod tests;
