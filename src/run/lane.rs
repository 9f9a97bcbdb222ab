//! One partition while its task runs: rows arrive from many threads and go to its shards in the order of their chunks,
//! or, where they are to be sorted, are held until all are there.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::in_order::{self, InOrder, Waiting};
use super::memory::Quota;
use super::redacted;
use super::shard::{Part, PartitionWriter, ShardError};
use super::task::TaskContext;
use super::turns::Turns;
use crate::encode::Encoded;
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::query::{self, Predicate};

/// One partition of a running task.
pub struct Lane {
    /// Its index in the plan.
    pub partition: u32,
    state: Mutex<State>,
    rows: InOrder<Sink, Piece>,
}

struct State {
    /// Rows that the predicate dropped, by its tests.
    filtered: Vec<u64>,
    /// Rows that it kept.
    rows: u64,
    /// Values redacted.
    redacted: Vec<u64>,
    /// Committed by an earlier run, only counted.
    is_done: bool,
    failure: Option<Failure>,
}

/// Where rows go in order.
struct Sink {
    writer: PartitionWriter,
    /// For `order: time`.
    held: Vec<Held>,
    /// Memory that they take, and will take while they are sorted.
    held_bytes: u64,
}

/// Some rows of one chunk.
#[derive(Debug)]
pub enum Piece {
    /// With the instant of each.
    Encoded(Encoded, Vec<i64>),
    /// To be sorted with all others of the partition.
    Unsorted(Held),
}

/// Rows and their instants.
type Held = (RecordBatch, Int64Array);

impl in_order::Piece for Piece {
    fn take(&mut self) -> Self {
        match self {
            Self::Encoded(rows, times) => Self::Encoded(take(rows), take(times)),
            Self::Unsorted(held) => Self::Unsorted(held.clone()),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Encoded(rows, times) => rows.memory() + size_of_val(times.as_slice()),
            Self::Unsorted(held) => piece_memory(held),
        }
    }
}

impl Piece {
    /// Rows `own` of a batch.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn unsorted(rows: &RecordBatch, instants: &Int64Array, own: &[u32]) -> Result<Self, Failure> {
        let rows = arrow::compute::take_record_batch(rows, &UInt32Array::from(own.to_vec())).and_then(compact);
        let instants = own.iter().map(|row| instants.value(*row as usize)).collect::<Vec<_>>().into();
        Ok(Self::Unsorted((rows.map_err(|e| Failure::internal(&e))?, instants)))
    }
}

/// A partition of which all rows are there.
pub struct Finished {
    /// Its index in the plan.
    pub partition: u32,
    /// Rows that the predicate dropped, by the first of its tests that is not true of them.
    pub filtered: Vec<u64>,
    /// Values redacted.
    pub redacted: Vec<u64>,
    /// Its sealed parts, or why there are none.
    pub parts: Result<Vec<Part>, Failure>,
}

impl Lane {
    /// A partition that is written, or only counted.
    pub fn new(ctx: &TaskContext<'_>, partition: u32, is_written: bool) -> Self {
        let label = ctx.plan.partitions[partition as usize].label.clone();
        let writer = PartitionWriter::new(ctx.layout.clone(), ctx.folder.clone(), label);
        let state = State {
            filtered: vec![0; ctx.predicate.map_or(0, Predicate::tests)],
            rows: 0,
            redacted: Vec::new(),
            is_done: !is_written,
            failure: None,
        };
        let sink = Sink { writer, held: Vec::new(), held_bytes: 0 };
        Self { partition, state: Mutex::new(state), rows: InOrder::new(partition, sink) }
    }

    /// Whether it is committed already, and only counted.
    pub fn is_done(&self) -> bool {
        self.lock().is_done
    }

    /// This partition fails and the others go on.
    pub fn fail(&self, failure: &Failure) {
        self.lock().fail(failure);
    }

    /// Counts rows that were routed here. Gives whether they are to be written.
    pub fn count(&self, rows: u64, filtered: &[u64]) -> bool {
        let mut state = self.lock();
        state.rows += rows;
        for (sum, more) in state.filtered.iter_mut().zip(filtered) {
            *sum += more;
        }
        state.is_wanted()
    }

    /// Counts values that were redacted in rows that were routed here.
    pub fn count_redacted(&self, counts: &[u64]) {
        redacted::add(&mut self.lock().redacted, counts);
    }

    /// Rows that were routed here, kept or dropped.
    pub fn routed(&self) -> u64 {
        let state = self.lock();
        state.rows + state.filtered.iter().sum::<u64>()
    }

    /// Takes rows of a chunk; where they must wait for their turn, `piece` is left empty.
    pub fn put(&self, chunk: u64, piece: &mut Piece, turns: &Turns, waiting: &Waiting, sorting: &Quota) {
        if self.lock().is_wanted() {
            self.rows.put(chunk, piece, turns, waiting, &mut |sink, piece| self.append(sink, piece, sorting));
        }
    }

    /// Appends what has waited and may be appended now.
    pub fn advance(&self, turns: &Turns, waiting: &Waiting, sorting: &Quota) {
        self.rows.advance(turns, waiting, &mut |sink, piece| self.append(sink, piece, sorting));
    }

    fn append(&self, sink: &mut Sink, piece: &mut Piece, sorting: &Quota) {
        if self.lock().is_wanted()
            && let Err(failure) = sink.append(piece, sorting)
        {
            self.fail(&failure);
        }
    }

    /// Ends the last part and compares the rows in the shards with the rows routed. `None`: only counted.
    pub fn finish(&self, ctx: &TaskContext<'_>) -> Option<Finished> {
        let (failure, rows, filtered, mut redacted) = {
            let mut state = self.lock();
            if state.is_done {
                return None;
            }
            let redacted = take(&mut state.redacted);
            (state.failure.take(), state.rows, state.filtered.clone(), redacted)
        };
        let sink = self.rows.finish();
        let held_bytes = sink.as_ref().map_or(0, |s| s.held_bytes);
        let parts = match (failure, sink) {
            (Some(failure), _) => Err(failure),
            (None, Some(Sink { writer, held, .. })) => finish(ctx, writer, &held, rows, &mut redacted),
            (None, None) => {
                let message = "rows were never appended to their shard; this is a bug".to_owned();
                Err(Failure { code: ErrorCode::Internal, message })
            }
        };
        ctx.sorting.give(held_bytes);
        Some(Finished { partition: self.partition, filtered, redacted, parts })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_wanted(&self) -> bool {
        !self.is_done && self.failure.is_none()
    }

    fn fail(&mut self, failure: &Failure) {
        self.failure.get_or_insert_with(|| failure.clone());
    }
}

impl Sink {
    fn append(&mut self, piece: &mut Piece, sorting: &Quota) -> Result<(), Failure> {
        match piece {
            Piece::Encoded(rows, times) => self.writer.append(rows, times).map_err(shard_failure),
            Piece::Unsorted(held) => {
                // Once as it is held, once in the order of time.
                let bytes = 2 * piece_memory(held) as u64;
                if !sorting.take(bytes) {
                    return Err(too_much_to_sort(sorting));
                }
                self.held_bytes += bytes;
                self.held.push(held.clone());
                Ok(())
            }
        }
    }
}

fn finish(
    ctx: &TaskContext<'_>,
    mut writer: PartitionWriter,
    held: &[Held],
    routed_rows: u64,
    counts: &mut Vec<u64>,
) -> Result<Vec<Part>, Failure> {
    if !held.is_empty() {
        let (rows, times) = concat(ctx, held).map_err(|e| Failure::internal(&e))?;
        let id = ctx.job.id_column.as_ref().map(|c| c.value.as_str()).filter(|id| rows.column_by_name(id).is_some());
        let order = query::sort_permutation(&rows, &ctx.job.time.column.value, &times, id)
            .map_err(|e| Failure { code: ErrorCode::QueryFailed, message: chain(&e) })?;
        let rows = project(&rows, &ctx.projection, ctx.projected_schema())?;
        let mut encoded = Encoded::default();
        for order in order.values().chunks(crate::source::BATCH_ROWS) {
            match &ctx.redacting {
                None => ctx.layout.encoder.encode(&rows, order, &mut encoded),
                // Here and not before: sorting needs the raw values.
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
    Err(Failure {
        code: ErrorCode::RowsNotConserved,
        message: format!("{routed_rows} rows belong to this partition and {written} were written; this is a bug"),
    })
}

fn piece_memory((rows, times): &Held) -> usize {
    rows.get_array_memory_size() + size_of_val(times.values().as_ref())
}

/// Text that is viewed is copied, so that rows do not keep the pages that they were read from.
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
        "`order: time` holds the rows of a partition in memory, and they are more than the {} MiB that `--memory` leaves \
         for them; give more memory, cut the window into smaller partitions, or use `order: source`",
        sorting.bytes() >> 20
    );
    Failure { code: ErrorCode::MemoryExceeded, message }
}

fn shard_failure(error: ShardError) -> Failure {
    Failure { code: error.code(), message: chain(&error) }
}

/// Rows that the format cannot hold.
pub fn write_failed(error: &dyn std::error::Error) -> Failure {
    Failure { code: ErrorCode::WriteFailed, message: chain(error) }
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
