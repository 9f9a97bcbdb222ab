//! Applies the spec's `redact` to rows, from Arrow to Arrow. Compiled once per job.
//!
//! A [`Redactor`] sits between the projection and the encoder, so no format sees a raw value, and the statistics and
//! dictionaries of Parquet are computed from redacted arrays. It holds no keys: [`Keys`] are read just before rows are
//! written, so that planning works without the keys.
//!
//! Invariant: [`Redactor::apply`] returns a value at a redacted path only in the form that its method produces, and null
//! stays null. The result for a row depends only on that row and the keys.

mod compile;
mod json;
mod key;
mod leaf;
mod nested;
#[cfg(test)]
mod tests;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

pub use compile::compile;
pub use key::{KeyError, Keys, MIN_KEY_BYTES};

use crate::package::manifest::ColumnRedaction;
use nested::Node;

/// The redactions of one job, checked against its source's schema.
#[derive(Debug)]
pub struct Redactor {
    /// For each column of the shards what is done to it.
    columns: Vec<Option<Node>>,
    raw: SchemaRef,
    schema: SchemaRef,
    /// For each column of the shards its redactions; each has a counter, numbered in this order.
    told: Vec<Vec<Told>>,
    dropped: Vec<String>,
}

/// A redaction as the manifest tells it.
#[derive(Debug, Clone)]
struct Told {
    path: String,
    method: &'static str,
    /// Its index in the spec, which is that of its key.
    index: usize,
}

/// What one call works with.
struct Pass<'a> {
    keys: &'a Keys,
    /// Values redacted, by counter.
    counts: &'a mut [u64],
    /// Used again and again.
    text: Vec<u8>,
}

impl Redactor {
    /// Columns of the shards before they are redacted.
    pub fn raw_schema(&self) -> &SchemaRef {
        &self.raw
    }

    /// Columns of the shards.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many counters [`Redactor::apply`] needs.
    pub fn counters(&self) -> usize {
        self.told.iter().map(Vec::len).sum()
    }

    /// Source columns that are not exported.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// What the manifest says of each column of the shards, given what was counted.
    pub fn attest(&self, keys: &Keys, counts: &[u64]) -> Vec<Vec<ColumnRedaction>> {
        let mut counts = counts.iter().copied();
        let mut tell = |told: &Told| ColumnRedaction {
            path: told.path.clone(),
            method: told.method.to_owned(),
            key_id: keys.id(told.index).map(str::to_owned),
            values: counts.next().unwrap_or_default(),
        };
        self.told.iter().map(|told| told.iter().map(&mut tell).collect()).collect()
    }

    /// Rows of the shards, redacted. Adds to each counter how many values were not null before.
    ///
    /// `rows` has the columns of [`Redactor::raw_schema`] and is as [`take`](arrow::compute::take_record_batch) makes it:
    /// lists hold no elements beside those of their rows.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn apply(&self, keys: &Keys, rows: &RecordBatch, counts: &mut [u64]) -> Result<RecordBatch, ArrowError> {
        let mut pass = Pass { keys, counts, text: Vec::new() };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for ((node, field), array) in self.columns.iter().zip(self.raw.fields()).zip(rows.columns()) {
            columns.push(match node {
                Some(node) => node.redact(field, array, None, &mut pass)?,
                None => array.clone(),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}
