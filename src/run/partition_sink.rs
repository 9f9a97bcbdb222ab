//! The sink of one partition: rows arrive from many threads and are written to shards in the order of their chunks.
//!
//! With `order: time`, the rows are kept in memory until all have arrived, and then sorted.

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

/// Receives the rows of one partition while its task runs.
pub struct PartitionSink {
    /// Index of the partition in the plan.
    pub partition: u32,
    label: String,
    state: Mutex<State>,
    rows: OrderedSink<Appender, ChunkRows>,
}

struct State {
    /// Rows that the predicate dropped, by test.
    filtered: Vec<u64>,
    /// Rows that the predicate kept.
    rows: u64,
    /// Redacted values, by counter.
    redacted: Vec<u64>,
    /// The partition was committed, or failed, before the task started: rows are counted and not written.
    counts_only: bool,
    failure: Option<Failure>,
}

/// Receives the partition's rows in order.
struct Appender {
    writer: PartitionWriter,
    /// Rows to be sorted, for `order: time`.
    unsorted: Vec<TimedRows>,
    /// Their memory use in bytes, including the copy made while sorting.
    unsorted_bytes: u64,
}

/// Some rows of one chunk.
#[derive(Debug)]
pub enum ChunkRows {
    /// Encoded rows, and the instant of each.
    Encoded(Encoded, Vec<i64>),
    /// Rows to be sorted with all other rows of the partition.
    Unsorted(TimedRows),
}

/// Rows, and the instant of each.
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
    /// The rows of a batch at the indexes `own`.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn unsorted(rows: &RecordBatch, instants: &Int64Array, own: &[u32]) -> Result<Self, Failure> {
        let rows = arrow::compute::take_record_batch(rows, &UInt32Array::from(own.to_vec())).and_then(compact);
        let instants = own.iter().map(|row| instants.value(*row as usize)).collect::<Vec<_>>().into();
        Ok(Self::Unsorted((rows.map_err(|e| Failure::internal(&e))?, instants)))
    }
}

/// The result of a partition.
pub struct FinishedPartition {
    /// Index of the partition in the plan.
    pub partition: u32,
    /// Rows that the predicate dropped, by the first test that they fail.
    pub filtered: Vec<u64>,
    /// Redacted values, by counter.
    pub redacted: Vec<u64>,
    /// Its sealed parts, or why it failed.
    pub parts: Result<Vec<Part>, Failure>,
}

impl PartitionSink {
    /// Creates a sink. With `counts_only`, it counts rows and writes nothing.
    pub fn new(ctx: &TaskContext<'_>, partition: u32, counts_only: bool) -> Self {
        let label = ctx.plan.partitions[partition as usize].label.clone();
        let writer = PartitionWriter::new(ctx.layout.clone(), ctx.folder.clone(), label.clone());
        let state = State {
            filtered: vec![0; ctx.predicate.map_or(0, Predicate::tests)],
            rows: 0,
            redacted: Vec::new(),
            counts_only,
            failure: None,
        };
        let appender = Appender { writer, unsorted: Vec::new(), unsorted_bytes: 0 };
        Self { partition, label, state: Mutex::new(state), rows: OrderedSink::new(partition, appender) }
    }

    /// Whether rows are counted and not written.
    pub fn counts_only(&self) -> bool {
        self.lock().counts_only
    }

    /// Fails this partition; the others continue.
    pub fn fail(&self, failure: &Failure) {
        self.lock().fail(failure);
    }

    /// Counts rows routed to this partition, and returns whether they are to be written.
    pub fn count(&self, rows: u64, filtered: &[u64]) -> bool {
        let mut state = self.lock();
        state.rows += rows;
        for (sum, more) in state.filtered.iter_mut().zip(filtered) {
            *sum += more;
        }
        state.is_wanted()
    }

    /// Counts redacted values in rows routed to this partition.
    pub fn count_redacted(&self, counts: &[u64]) {
        redacted::add(&mut self.lock().redacted, counts);
    }

    /// Number of rows routed to this partition, whether the predicate kept or dropped them.
    pub fn routed(&self) -> u64 {
        let state = self.lock();
        state.rows + state.filtered.iter().sum::<u64>()
    }

    /// Adds rows of a chunk. If they must wait for an earlier chunk, `payload` is left empty.
    pub fn put(
        &self,
        chunk: u64,
        payload: &mut ChunkRows,
        chunk_order: &ChunkOrder,
        backlog: &Backlog,
        sorting: &Quota,
    ) {
        if self.lock().is_wanted() {
            self.rows.put(chunk, payload, chunk_order, backlog, &mut |appender, payload| {
                self.append(appender, payload, sorting);
            });
        }
    }

    /// Appends the waiting rows that are next in order.
    pub fn advance(&self, chunk_order: &ChunkOrder, backlog: &Backlog, sorting: &Quota) {
        self.rows.advance(chunk_order, backlog, &mut |appender, payload| self.append(appender, payload, sorting));
    }

    fn append(&self, appender: &mut Appender, payload: &mut ChunkRows, sorting: &Quota) {
        if self.lock().is_wanted()
            && let Err(failure) = appender.append(payload, sorting)
        {
            self.fail(&self.about(failure));
        }
    }

    /// A failure to write this partition, rather than to read its rows.
    fn about(&self, failure: Failure) -> Failure {
        failure.in_partition(&self.label)
    }

    /// Closes the last part and compares the rows written with the rows routed. `None` if the rows were only counted.
    pub fn finish(&self, ctx: &TaskContext<'_>) -> Option<FinishedPartition> {
        let (failure, rows, filtered, mut redacted) = {
            let mut state = self.lock();
            if state.counts_only {
                return None;
            }
            let redacted = take(&mut state.redacted);
            (state.failure.take(), state.rows, state.filtered.clone(), redacted)
        };
        let appender = self.rows.finish();
        let unsorted_bytes = appender.as_ref().map_or(0, |s| s.unsorted_bytes);
        let parts = match (failure, appender) {
            (Some(failure), _) => Err(failure),
            (None, Some(Appender { writer, unsorted, .. })) => {
                finish(ctx, writer, &unsorted, rows, &mut redacted).map_err(|failure| self.about(failure))
            }
            (None, None) => {
                let message =
                    "a thread panicked while appending, or rows still wait for an earlier chunk; this is a bug";
                Err(self.about(Failure::new(ErrorCode::Internal, message)))
            }
        };
        ctx.sorting.give(unsorted_bytes);
        Some(FinishedPartition { partition: self.partition, filtered, redacted, parts })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
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
    fn append(&mut self, payload: &mut ChunkRows, sorting: &Quota) -> Result<(), Failure> {
        match payload {
            ChunkRows::Encoded(rows, times) => self.writer.append(rows, times).map_err(shard_failure),
            ChunkRows::Unsorted(unsorted) => {
                // Sorting makes a second copy.
                let bytes = 2 * timed_rows_memory(unsorted) as u64;
                if !sorting.take(bytes) {
                    return Err(too_much_to_sort(sorting));
                }
                self.unsorted_bytes += bytes;
                self.unsorted.push(unsorted.clone());
                Ok(())
            }
        }
    }
}

fn finish(
    ctx: &TaskContext<'_>,
    mut writer: PartitionWriter,
    unsorted: &[TimedRows],
    routed_rows: u64,
    counts: &mut Vec<u64>,
) -> Result<Vec<Part>, Failure> {
    if !unsorted.is_empty() {
        let (rows, times) = concat(ctx, unsorted).map_err(|e| Failure::internal(&e))?;
        let id = ctx.job.id_column.as_ref().map(|c| c.value.as_str()).filter(|id| rows.column_by_name(id).is_some());
        let order = query::sort_permutation(&rows, &ctx.job.time.column.value, &times, id)
            .map_err(|e| Failure::of(ErrorCode::QueryFailed, &e))?;
        let rows = project(&rows, &ctx.projection, ctx.projected_schema())?;
        let mut encoded = Encoded::default();
        for order in order.values().chunks(crate::source::BATCH_ROWS) {
            match &ctx.redacting {
                None => ctx.layout.encoder.encode(&rows, order, &mut encoded),
                // Redact only now, because sorting needs the raw values.
                Some(redacting) => {
                    let rows = redacting.rows(&rows, order, counts)?;
                    let all: Vec<u32> = (0u32..).take(order.len()).collect();
                    ctx.layout.encoder.encode(&rows, &all, &mut encoded)
                }
            }
            .map_err(|e| write_failed(&e))?;
            let times: Vec<i64> = order.iter().map(|row| times.value(*row as usize)).collect();
            writer.append(&encoded, &times).map_err(shard_failure)?;
        }
    }
    let parts = writer.finish().map_err(shard_failure)?;
    let written: u64 = parts.iter().map(|p| p.rows).sum();
    if written == routed_rows {
        return Ok(parts);
    }
    Err(Failure::new(
        ErrorCode::RowsNotConserved,
        format!("{routed_rows} rows belong to this partition and {written} were written; this is a bug"),
    ))
}

fn timed_rows_memory((rows, times): &TimedRows) -> usize {
    rows.get_array_memory_size() + size_of_val(times.values().as_ref())
}

/// Copies the bytes of view arrays, so that the rows do not keep the pages they were read from in memory.
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

fn too_much_to_sort(sorting: &Quota) -> Failure {
    let message = format!(
        "`order: time` sorts partitions in memory, and the open partitions exceed the {} MiB that `--memory` leaves for \
         sorting; raise `--memory`, choose smaller partitions, or use `order: source`",
        sorting.bytes() >> 20
    );
    Failure::new(ErrorCode::MemoryExceeded, message)
}

fn shard_failure(error: ShardError) -> Failure {
    Failure::of(error.code(), &error)
}

/// The failure for rows that the format cannot represent.
pub fn write_failed(error: &dyn std::error::Error) -> Failure {
    Failure::of(ErrorCode::WriteFailed, error)
}

fn concat(ctx: &TaskContext<'_>, unsorted: &[TimedRows]) -> Result<TimedRows, ArrowError> {
    let rows = arrow::compute::concat_batches(&ctx.read_schema, unsorted.iter().map(|(rows, _)| rows))?;
    let instants = unsorted.iter().flat_map(|(_, t)| t.values().iter().copied()).collect::<Vec<_>>().into();
    Ok((rows, instants))
}

/// Selects the shards' columns, in the shards' order and under their names.
///
/// # Errors
/// Only a bug can cause one.
pub fn project(rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let columns: Vec<ArrayRef> = projection.iter().map(|i| rows.column(*i).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| Failure::internal(&e))
}
