//! Redacts rows between projection and encoding.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::redact::{Keys, Redactor};

/// The redactor of a run and its keys.
#[derive(Clone, Copy)]
pub(super) struct Redacting<'a> {
    /// Applies the redactions.
    pub redactor: &'a Redactor,
    /// Keys for pseudonyms.
    pub keys: &'a Keys,
}

impl Redacting<'_> {
    /// Redacts the rows at `indexes` of a projected batch, in that order, and adds the redacted values to `counts`. Other rows
    /// are not read.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`], only because of a bug.
    pub(super) fn rows(
        &self,
        projected: &RecordBatch,
        indexes: &[u32],
        counts: &mut Vec<u64>,
    ) -> Result<RecordBatch, Failure> {
        counts.resize(self.redactor.counters(), 0);
        let rows = take_record_batch(projected, &UInt32Array::from(indexes.to_vec()));
        rows.and_then(|rows| self.redactor.apply(self.keys, &rows, counts)).map_err(|error| Failure::internal(&error))
    }
}

/// The failure for a job's unusable redaction keys.
pub(crate) fn key_failure(error: &crate::redact::KeyError) -> Failure {
    Failure::of(ErrorCode::KeyUnusable, error)
}

/// Adds counters to counters.
pub(super) fn add(sums: &mut Vec<u64>, counts: &[u64]) {
    sums.resize(sums.len().max(counts.len()), 0);
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}
