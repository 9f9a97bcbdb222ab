//! The sink of one partition: rows arrive from many threads and are written to shards in the order of their chunks.
//!
//! With `order: time`, rows stay in memory until all have arrived, and are then sorted. Open partitions share the run's sort
//! quota; a partition that does not fit fails with `memory_exceeded`.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::chunk_order::ChunkOrder;
use super::memory::Quota;
use super::ordered_sink::{self, Backlog, OrderedSink};
use super::redacted;
use super::shard::{Part, PartitionWriter, ShardError};
use super::task::TaskContext;
use crate::encode::Encoded;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::query::{self, Predicate};
use crate::source::BATCH_ROWS;

/// Receives the rows of one partition while its task runs.
pub(super) struct PartitionSink {
    /// Index of the partition in the plan.
    pub partition: u32,
    label: String,
    state: Mutex<State>,
    ordered: OrderedSink<Appender, ChunkRows>,
}

struct State {
    /// Number of rows that the predicate dropped, by the first condition that each row fails.
    filtered: Vec<u64>,
    /// Number of rows that the predicate kept.
    kept_rows: u64,
    /// Number of redacted values, by column of the shards and redaction.
    redacted: Vec<u64>,
    /// The partition was committed, or failed, before the task started: rows are counted and not written.
    counts_only: bool,
    failure: Option<Failure>,
}

/// What [`OrderedSink`] protects: the shard writer, and the rows that wait to be sorted.
struct Appender {
    writer: PartitionWriter,
    /// All rows so far, unencoded; used only with `order: time`.
    unsorted: Vec<TimedRows>,
    /// Bytes taken from the sort quota for `unsorted`; given back in [`PartitionSink::finish`].
    unsorted_bytes: u64,
}

/// Some rows of one chunk.
#[derive(Debug)]
pub(super) enum ChunkRows {
    /// Encoded rows, and the instant of each row in ticks of `layout.unit`.
    Encoded(Encoded, Vec<i64>),
    /// Rows to be sorted with all other rows of the partition.
    Unsorted(TimedRows),
}

/// Rows, and the instant of each row in ticks of `layout.unit`.
type TimedRows = (RecordBatch, Int64Array);

impl ordered_sink::Payload for ChunkRows {
    fn take(&mut self) -> Self {
        match self {
            Self::Encoded(rows, times) => Self::Encoded(take(rows), take(times)),
            // Clones only references to the arrays. The caller drops its own after `put`, so nothing is counted twice.
            Self::Unsorted(unsorted) => Self::Unsorted(unsorted.clone()),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Encoded(rows, times) => rows.memory() + size_of_val(times.as_slice()),
            Self::Unsorted(unsorted) => timed_rows_memory(unsorted),
        }
    }
}

impl ChunkRows {
    /// Copies the rows at `indexes` out of a batch, so that they do not keep the batch in memory.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`], only because of a bug.
    pub(super) fn unsorted(rows: &RecordBatch, instants: &Int64Array, indexes: &[u32]) -> Result<Self, Failure> {
        let rows = arrow::compute::take_record_batch(rows, &UInt32Array::from(indexes.to_vec())).and_then(compact);
        let instants = indexes.iter().map(|row| instants.value(*row as usize)).collect::<Vec<_>>().into();
        Ok(Self::Unsorted((rows.map_err(|e| Failure::internal(&e))?, instants)))
    }
}

/// The result of a partition.
pub(super) struct FinishedPartition {
    /// Index of the partition in the plan.
    pub partition: u32,
    /// Number of rows that the predicate dropped, by the first condition that each row fails.
    pub filtered: Vec<u64>,
    /// Number of redacted values, by column of the shards and redaction.
    pub redacted: Vec<u64>,
    /// Its sealed parts, or why it failed.
    pub parts: Result<Vec<Part>, Failure>,
}

impl PartitionSink {
    /// Creates a sink. With `counts_only`, it counts rows and writes nothing.
    pub(super) fn new(ctx: &TaskContext<'_>, partition: u32, counts_only: bool) -> Self {
        let label = ctx.plan.partitions[partition as usize].label.clone();
        let writer = PartitionWriter::new(ctx.layout.clone(), ctx.folder.clone(), label.clone());
        let state = State {
            filtered: vec![0; ctx.predicate.map_or(0, Predicate::tests)],
            kept_rows: 0,
            redacted: Vec::new(),
            counts_only,
            failure: None,
        };
        let appender = Appender { writer, unsorted: Vec::new(), unsorted_bytes: 0 };
        Self { partition, label, state: Mutex::new(state), ordered: OrderedSink::new(partition, appender) }
    }

    /// Whether rows are counted and not written.
    pub(super) fn counts_only(&self) -> bool {
        self.lock().counts_only
    }

    /// Fails this partition; the others continue.
    pub(super) fn fail(&self, failure: &Failure) {
        self.lock().fail(failure);
    }

    /// Adds `kept` rows and the `filtered` counts. Returns false if the kept rows need not be encoded, because the sink only
    /// counts or has failed.
    pub(super) fn count(&self, kept: u64, filtered: &[u64]) -> bool {
        let mut state = self.lock();
        state.kept_rows += kept;
        for (sum, more) in state.filtered.iter_mut().zip(filtered) {
            *sum += more;
        }
        state.is_wanted()
    }

    /// Counts redacted values in rows routed to this partition.
    pub(super) fn count_redacted(&self, counts: &[u64]) {
        redacted::add(&mut self.lock().redacted, counts);
    }

    /// Number of rows routed to this partition, whether the predicate kept or dropped them.
    pub(super) fn routed(&self) -> u64 {
        let state = self.lock();
        state.kept_rows + state.filtered.iter().sum::<u64>()
    }

    /// Appends rows of a chunk, or queues them behind an earlier chunk. After a failure, drops them.
    pub(super) fn put(
        &self,
        chunk: u64,
        payload: &mut ChunkRows,
        chunk_order: &ChunkOrder,
        backlog: &Backlog,
        sort_quota: &Quota,
    ) {
        // Do not queue rows that `append_or_fail` would drop.
        if self.lock().is_wanted() {
            self.ordered.put(chunk, payload, chunk_order, backlog, &mut |appender, payload| {
                self.append_or_fail(appender, payload, sort_quota);
            });
        }
    }

    /// Appends the waiting rows that are next in order.
    pub(super) fn advance(&self, chunk_order: &ChunkOrder, backlog: &Backlog, sort_quota: &Quota) {
        self.ordered.advance(chunk_order, backlog, &mut |appender, payload| {
            self.append_or_fail(appender, payload, sort_quota);
        });
    }

    /// Appends rows unless the sink has failed; records a failure.
    fn append_or_fail(&self, appender: &mut Appender, payload: &mut ChunkRows, sort_quota: &Quota) {
        if self.lock().is_wanted()
            && let Err(failure) = appender.append(payload, sort_quota)
        {
            self.fail(&self.about(failure));
        }
    }

    /// A failure to write this partition, rather than to read its rows.
    fn about(&self, failure: Failure) -> Failure {
        failure.in_partition(&self.label)
    }

    /// Closes the last part and compares the rows written with the rows kept. Call it once, after every chunk that may have
    /// rows for the partition has ended. `None` if the sink only counts.
    pub(super) fn finish(&self, ctx: &TaskContext<'_>) -> Option<FinishedPartition> {
        let (failure, kept_rows, filtered, mut redacted) = {
            let mut state = self.lock();
            if state.counts_only {
                return None;
            }
            let redacted = take(&mut state.redacted);
            // `routed` still needs `kept_rows` and `filtered`.
            (state.failure.take(), state.kept_rows, state.filtered.clone(), redacted)
        };
        let appender = self.ordered.finish();
        // After a panic the bytes stay taken; the task has failed anyway.
        let unsorted_bytes = appender.as_ref().map_or(0, |appender| appender.unsorted_bytes);
        let parts = match (failure, appender) {
            (Some(failure), _) => Err(failure),
            (None, Some(Appender { writer, unsorted, .. })) => {
                sort_and_seal(ctx, writer, &unsorted, kept_rows, &mut redacted).map_err(|failure| self.about(failure))
            }
            (None, None) => {
                let message =
                    "a thread panicked while appending, or rows still wait for an earlier chunk; this is a bug";
                Err(self.about(Failure::new(ErrorCode::Internal, message)))
            }
        };
        ctx.sort_quota.give(unsorted_bytes);
        Some(FinishedPartition { partition: self.partition, filtered, redacted, parts })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so the state is consistent even if poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_wanted(&self) -> bool {
        !self.counts_only && self.failure.is_none()
    }

    fn fail(&mut self, failure: &Failure) {
        self.failure.get_or_insert_with(|| failure.clone());
    }
}

impl Appender {
    fn append(&mut self, payload: &mut ChunkRows, sort_quota: &Quota) -> Result<(), Failure> {
        match payload {
            ChunkRows::Encoded(rows, times) => self.writer.append(rows, times).map_err(shard_failure),
            ChunkRows::Unsorted(unsorted) => {
                // Twice, because sorting copies the rows. A quota with nothing else in use grants any amount.
                let bytes = 2 * timed_rows_memory(unsorted) as u64;
                if !sort_quota.take(bytes) {
                    return Err(too_much_to_sort(sort_quota));
                }
                self.unsorted_bytes += bytes;
                self.unsorted.push(unsorted.clone());
                Ok(())
            }
        }
    }
}

fn sort_and_seal(
    ctx: &TaskContext<'_>,
    mut writer: PartitionWriter,
    unsorted: &[TimedRows],
    kept_rows: u64,
    redacted_counts: &mut Vec<u64>,
) -> Result<Vec<Part>, Failure> {
    if !unsorted.is_empty() {
        let (rows, times) = concat(ctx, unsorted).map_err(|e| Failure::internal(&e))?;
        // Breaks ties between equal times; absent if the source has no such column.
        let id = ctx.job.id_column.as_ref().map(|c| c.value.as_str()).filter(|id| rows.column_by_name(id).is_some());
        let permutation = query::sort_permutation(&rows, &ctx.job.time.column.value, &times, id)
            .map_err(|e| Failure::of(e.code(), &e))?;
        let rows = project(&rows, &ctx.projection, ctx.projected_schema())?;
        let mut encoded = Encoded::default();
        for indexes in permutation.values().chunks(BATCH_ROWS) {
            let result = match &ctx.redacting {
                None => ctx.layout.encoder.encode(&rows, indexes, &mut encoded),
                // Redact only now, because sorting needs the raw values.
                Some(redacting) => {
                    let redacted = redacting.rows(&rows, indexes, redacted_counts)?;
                    let every_row: Vec<u32> = (0u32..).take(indexes.len()).collect();
                    ctx.layout.encoder.encode(&redacted, &every_row, &mut encoded)
                }
            };
            result.map_err(|e| write_failed(&e))?;
            let times: Vec<i64> = indexes.iter().map(|row| times.value(*row as usize)).collect();
            writer.append(&encoded, &times).map_err(shard_failure)?;
        }
    }
    let parts = writer.finish().map_err(shard_failure)?;
    let written: u64 = parts.iter().map(|p| p.rows).sum();
    if written != kept_rows {
        return Err(Failure::new(
            ErrorCode::RowsNotConserved,
            format!("{kept_rows} rows belong to this partition and {written} were written; this is a bug"),
        ));
    }
    Ok(parts)
}

fn timed_rows_memory((rows, times): &TimedRows) -> usize {
    rows.get_array_memory_size() + size_of_val(times.values().as_ref())
}

/// Copies the bytes of view arrays, so that the rows do not pin the decoded pages that the views point into.
fn compact(rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    });
    RecordBatch::try_new(rows.schema(), columns.collect())
}

fn too_much_to_sort(sort_quota: &Quota) -> Failure {
    let message = format!(
        "`order: time` sorts partitions in memory, and the open partitions exceed the {} MiB that `--memory` leaves for \
         sorting; raise `--memory`, choose smaller partitions, or use `order: source`",
        sort_quota.bytes() >> 20
    );
    Failure::new(ErrorCode::MemoryExceeded, message)
}

fn shard_failure(error: ShardError) -> Failure {
    Failure::of(error.code(), &error)
}

/// Converts an encoder error into a failure.
pub(super) fn write_failed(error: &dyn std::error::Error) -> Failure {
    Failure::of(ErrorCode::WriteFailed, error)
}

fn concat(ctx: &TaskContext<'_>, unsorted: &[TimedRows]) -> Result<TimedRows, ArrowError> {
    let rows = arrow::compute::concat_batches(&ctx.read_schema, unsorted.iter().map(|(rows, _)| rows))?;
    let instants = unsorted.iter().flat_map(|(_, t)| t.values().iter().copied()).collect::<Vec<_>>().into();
    Ok((rows, instants))
}

/// Projects a batch to `schema`, the shards' columns before redaction: picks the columns at `projection` and renames them.
///
/// # Errors
/// [`ErrorCode::Internal`], only because of a bug.
pub(super) fn project(rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let columns: Vec<ArrayRef> = projection.iter().map(|i| rows.column(*i).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| Failure::internal(&e))
}

#[cfg(test)]
mod tests;
