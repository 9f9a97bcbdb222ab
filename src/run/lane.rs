//! One partition while its task runs: its rows go straight to its shards, or, where they are to be sorted, are held until
//! all are there.

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::failure::{Failure, chain};
use super::shard::{Part, PartitionWriter, ShardError};
use super::task::TaskContext;
use crate::encode::Encoded;
use crate::error::ErrorCode;
use crate::job::Order;
use crate::query;

/// One partition of a running task.
pub struct Lane {
    /// Its index in the plan.
    pub partition: u32,
    /// Rows that the predicate dropped.
    pub filtered_out: u64,
    /// Rows that the predicate kept.
    pub rows: u64,
    /// `None`: committed by an earlier run, only counted.
    writer: Option<Result<PartitionWriter, Failure>>,
    /// For `order: time`.
    held: Vec<Held>,
}

/// Rows and their instants.
type Held = (RecordBatch, Int64Array);

impl Lane {
    /// A partition that is written, or only counted.
    pub fn new(ctx: &TaskContext<'_>, partition: u32, is_written: bool) -> Self {
        let writer = || {
            let label = ctx.plan.partitions[partition as usize].label.clone();
            Ok(PartitionWriter::new(ctx.layout.clone(), ctx.folder.clone(), label))
        };
        Self { partition, filtered_out: 0, rows: 0, writer: is_written.then(writer), held: Vec::new() }
    }

    /// Whether rows are still wanted.
    pub fn is_open(&self) -> bool {
        matches!(self.writer, Some(Ok(_)))
    }

    /// This partition fails and the others go on.
    pub fn fail(&mut self, failure: &Failure) {
        if self.writer.is_some() {
            self.writer = Some(Err(failure.clone()));
            self.held.clear();
        }
    }

    /// Takes rows `own` of a batch; `shard_rows` are the same rows with the columns of the shards.
    pub fn take(
        &mut self,
        ctx: &TaskContext<'_>,
        rows: &RecordBatch,
        shard_rows: &Result<RecordBatch, Failure>,
        own: &[u32],
        instants: &Int64Array,
    ) {
        let Some(Ok(writer)) = &mut self.writer else { return };
        let taken = match (ctx.job.order, shard_rows) {
            (Order::Time, _) => match select(rows, instants, own) {
                Ok(held) => {
                    self.held.push(held);
                    Ok(())
                }
                Err(error) => Err(Failure::internal(&error)),
            },
            (Order::Source, Ok(shard_rows)) => append(ctx, writer, shard_rows, own, instants),
            (Order::Source, Err(failure)) => Err(failure.clone()),
        };
        if let Err(failure) = taken {
            self.fail(&failure);
        }
    }

    /// Ends the last part and compares the rows in the shards with the rows routed. `None`: only counted.
    pub fn finish(self, ctx: &TaskContext<'_>) -> Option<Result<Vec<Part>, Failure>> {
        let Self { rows, writer, held, .. } = self;
        Some(writer?.and_then(|writer| finish(ctx, writer, &held, rows)))
    }
}

fn finish(
    ctx: &TaskContext<'_>,
    mut writer: PartitionWriter,
    held: &[Held],
    routed_rows: u64,
) -> Result<Vec<Part>, Failure> {
    if !held.is_empty() {
        let (rows, times) = concat(ctx, held).map_err(|e| Failure::internal(&e))?;
        let id = ctx.job.id_column.as_ref().map(|c| c.value.as_str()).filter(|id| rows.column_by_name(id).is_some());
        let order = query::sort_permutation(&rows, &ctx.job.time.column.value, &times, id)
            .map_err(|e| Failure { code: ErrorCode::QueryFailed, message: chain(&e) })?;
        let rows = project(&rows, &ctx.projection, &ctx.shard_schema)?;
        append(ctx, &mut writer, &rows, order.values(), &times)?;
    }
    let parts = writer.finish().map_err(shard_failure)?;
    let written: u64 = parts.iter().map(|p| p.rows).sum();
    if written == routed_rows {
        return Ok(parts);
    }
    Err(Failure {
        code: ErrorCode::RowsNotConserved,
        message: format!("{routed_rows} rows belong to this partition and {written} were written; this is a bug"),
    })
}

fn append(
    ctx: &TaskContext<'_>,
    writer: &mut PartitionWriter,
    rows: &RecordBatch,
    own: &[u32],
    instants: &Int64Array,
) -> Result<(), Failure> {
    let mut encoded = Encoded::default();
    let encoder = &ctx.layout.encoder;
    encoder
        .encode(rows, own, &mut encoded)
        .map_err(|e| Failure { code: ErrorCode::WriteFailed, message: chain(&e) })?;
    let times: Vec<i64> = own.iter().map(|row| instants.value(*row as usize)).collect();
    writer.append(&encoded, &times).map_err(shard_failure)
}

fn shard_failure(error: ShardError) -> Failure {
    Failure { code: error.code(), message: chain(&error) }
}

fn select(rows: &RecordBatch, instants: &Int64Array, own: &[u32]) -> Result<Held, ArrowError> {
    let rows = arrow::compute::take_record_batch(rows, &UInt32Array::from(own.to_vec()))?;
    let instants = own.iter().map(|row| instants.value(*row as usize)).collect::<Vec<_>>().into();
    Ok((rows, instants))
}

fn concat(ctx: &TaskContext<'_>, held: &[Held]) -> Result<Held, ArrowError> {
    let rows = arrow::compute::concat_batches(&ctx.read_schema, held.iter().map(|(rows, _)| rows))?;
    let instants = held.iter().flat_map(|(_, t)| t.values().iter().copied()).collect::<Vec<_>>().into();
    Ok((rows, instants))
}

/// The columns of the shards, in their order and under their names.
///
/// # Errors
/// Only a bug can cause one.
pub fn project(rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let columns: Vec<ArrayRef> = projection.iter().map(|i| rows.column(*i).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| Failure::internal(&e))
}
