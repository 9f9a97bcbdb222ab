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

pub(crate) use compile::compile;
pub(crate) use key::{KeyError, Keys};

use crate::package::manifest::ColumnRedaction;
use nested::Node;

/// The compiled redactions of one job.
#[derive(Debug)]
pub(crate) struct Redactor {
    /// For each column of the shards, its redaction.
    columns: Vec<Option<Node>>,
    raw: SchemaRef,
    schema: SchemaRef,
    /// For each column of the shards, the redactions to record. Each has a counter, numbered in this order.
    recorded: Vec<Vec<RecordedRedaction>>,
    dropped: Vec<String>,
}

/// A redaction as recorded in the manifest.
#[derive(Debug, Clone)]
struct RecordedRedaction {
    path: String,
    method: &'static str,
    /// The index in the spec, which is also the index of the key.
    index: usize,
}

/// The state of one call.
struct Pass<'a> {
    keys: &'a Keys,
    /// Values redacted, by counter.
    counts: &'a mut [u64],
    /// A reusable buffer.
    text: Vec<u8>,
}

impl Redactor {
    /// The columns of the shards before redaction.
    pub(crate) fn raw_schema(&self) -> &SchemaRef {
        &self.raw
    }

    /// The columns of the shards after redaction.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of counters that [`Redactor::apply`] needs.
    pub(crate) fn counters(&self) -> usize {
        self.recorded.iter().map(Vec::len).sum()
    }

    /// The source columns that are dropped.
    pub(crate) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The manifest entries for each column of the shards, given the counters.
    pub(crate) fn attest(&self, keys: &Keys, counts: &[u64]) -> Vec<Vec<ColumnRedaction>> {
        let mut counts = counts.iter().copied();
        let mut record = |redaction: &RecordedRedaction| ColumnRedaction {
            path: redaction.path.clone(),
            method: redaction.method.to_owned(),
            key_id: keys.id(redaction.index).map(str::to_owned),
            values: counts.next().unwrap_or_default(),
        };
        self.recorded.iter().map(|column| column.iter().map(&mut record).collect()).collect()
    }

    /// Redacts rows of the shards. Adds the number of redacted values that were not null to each counter.
    ///
    /// `rows` must have the columns of [`Redactor::raw_schema`], and lists without unused elements, as returned by
    /// [`take`](arrow::compute::take_record_batch).
    ///
    /// # Errors
    /// Only caused by a bug.
    pub(crate) fn apply(&self, keys: &Keys, rows: &RecordBatch, counts: &mut [u64]) -> Result<RecordBatch, ArrowError> {
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
