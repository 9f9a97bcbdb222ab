//! Rows on their way from the projection to the encoder, where the spec redacts values.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::redact::{Keys, Redactor};

/// What redacts the rows of a run.
#[derive(Clone, Copy)]
pub struct Redacting<'a> {
    /// How.
    pub redactor: &'a Redactor,
    /// With which keys.
    pub keys: &'a Keys,
}

impl Redacting<'_> {
    /// Rows `own` of a batch that is projected, in their order; none beside them is looked at. Adds to `counts` what was
    /// redacted.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn rows(&self, projected: &RecordBatch, own: &[u32], counts: &mut Vec<u64>) -> Result<RecordBatch, Failure> {
        counts.resize(self.redactor.counters(), 0);
        let rows = take_record_batch(projected, &UInt32Array::from(own.to_vec()));
        rows.and_then(|rows| self.redactor.apply(self.keys, &rows, counts)).map_err(|error| Failure::internal(&error))
    }
}

/// A job's keys cannot be had.
pub(crate) fn key_failure(error: &crate::redact::KeyError) -> Failure {
    Failure { code: ErrorCode::KeyUnusable, message: crate::failure::chain(error) }
}

/// Adds counters to counters.
pub fn add(sums: &mut Vec<u64>, counts: &[u64]) {
    sums.resize(sums.len().max(counts.len()), 0);
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}
