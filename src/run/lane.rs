//! One partition while its task runs: rows arrive from many threads and go to its shards in the order of their chunks,
//! or, where they are to be sorted, are held until all are there.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::failure::{Failure, chain};
use super::shard::{Part, PartitionWriter, ShardError};
use super::task::TaskContext;
use super::turns::Turns;
use crate::encode::Encoded;
use crate::error::ErrorCode;
use crate::query;

/// One partition of a running task.
pub struct Lane {
    /// Its index in the plan.
    pub partition: u32,
    state: Mutex<State>,
}

struct State {
    /// Rows that the predicate dropped, and that it kept.
    filtered_out: u64,
    rows: u64,
    /// `None`: committed by an earlier run, only counted.
    writer: Option<Result<PartitionWriter, Failure>>,
    /// For `order: time`.
    held: Vec<Held>,
    /// By chunk, rows whose turn has not come.
    waiting: BTreeMap<u64, Vec<Piece>>,
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

impl Piece {
    /// Memory that it takes.
    fn memory(&self) -> usize {
        match self {
            Self::Encoded(rows, times) => rows.memory() + size_of_val(times.as_slice()),
            Self::Unsorted((rows, times)) => rows.get_array_memory_size() + size_of_val(times.values().as_ref()),
        }
    }

    /// Rows `own` of a batch.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn unsorted(rows: &RecordBatch, instants: &Int64Array, own: &[u32]) -> Result<Self, Failure> {
        let rows = arrow::compute::take_record_batch(rows, &UInt32Array::from(own.to_vec()));
        let instants = own.iter().map(|row| instants.value(*row as usize)).collect::<Vec<_>>().into();
        Ok(Self::Unsorted((rows.map_err(|e| Failure::internal(&e))?, instants)))
    }
}

/// A partition of which all rows are there.
pub struct Finished {
    /// Its index in the plan.
    pub partition: u32,
    /// Rows that the predicate dropped.
    pub filtered_out: u64,
    /// Its sealed parts, or why there are none.
    pub parts: Result<Vec<Part>, Failure>,
}

impl Lane {
    /// A partition that is written, or only counted.
    pub fn new(ctx: &TaskContext<'_>, partition: u32, is_written: bool) -> Self {
        let writer = || {
            let label = ctx.plan.partitions[partition as usize].label.clone();
            Ok(PartitionWriter::new(ctx.layout.clone(), ctx.folder.clone(), label))
        };
        let state = State {
            filtered_out: 0,
            rows: 0,
            writer: is_written.then(writer),
            held: Vec::new(),
            waiting: BTreeMap::new(),
        };
        Self { partition, state: Mutex::new(state) }
    }

    /// Whether rows are still wanted.
    pub fn is_open(&self) -> bool {
        matches!(self.lock().writer, Some(Ok(_)))
    }

    /// This partition fails and the others go on.
    pub fn fail(&self, failure: &Failure) {
        self.lock().fail(failure);
    }

    /// Counts rows that were routed here.
    pub fn count(&self, rows: u64, filtered_out: u64) {
        let mut state = self.lock();
        state.rows += rows;
        state.filtered_out += filtered_out;
    }

    /// Rows that were routed here, kept or dropped.
    pub fn routed(&self) -> u64 {
        let state = self.lock();
        state.rows + state.filtered_out
    }

    /// Takes rows of a chunk: appends them if it is their turn, else keeps them and leaves `piece` empty. Gives the memory
    /// that now waits, more or less than before.
    pub fn put(&self, chunk: u64, piece: &mut Piece, turns: &Turns) -> isize {
        let mut state = self.lock();
        let freed = state.append_waiting(self.partition, turns);
        if turns.is_next(chunk, self.partition) {
            state.append(piece);
            return -freed;
        }
        if !matches!(state.writer, Some(Ok(_))) {
            return -freed;
        }
        let kept = match piece {
            Piece::Encoded(rows, times) => Piece::Encoded(take(rows), take(times)),
            Piece::Unsorted((rows, times)) => Piece::Unsorted((rows.clone(), times.clone())),
        };
        let memory = kept.memory() as isize;
        state.waiting.entry(chunk).or_default().push(kept);
        memory - freed
    }

    /// Appends what waited for a chunk that has ended. Gives the memory that no longer waits.
    pub fn advance(&self, turns: &Turns) -> isize {
        self.lock().append_waiting(self.partition, turns)
    }

    /// Ends the last part and compares the rows in the shards with the rows routed. `None`: only counted.
    pub fn finish(&self, ctx: &TaskContext<'_>) -> Option<Finished> {
        let (writer, held, rows, filtered_out) = {
            let mut state = self.lock();
            (state.writer.take()?, take(&mut state.held), state.rows, state.filtered_out)
        };
        let parts = writer.and_then(|writer| finish(ctx, writer, &held, rows));
        Some(Finished { partition: self.partition, filtered_out, parts })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while rows were appended leaves a shard that is short of rows, which `finish` finds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, failure: &Failure) {
        if self.writer.is_some() {
            self.writer = Some(Err(failure.clone()));
            self.held.clear();
        }
    }

    fn append(&mut self, piece: &mut Piece) {
        let Some(Ok(writer)) = &mut self.writer else { return };
        match piece {
            Piece::Encoded(rows, times) => {
                if let Err(error) = writer.append(rows, times) {
                    self.fail(&shard_failure(error));
                }
            }
            Piece::Unsorted((rows, times)) => self.held.push((rows.clone(), times.clone())),
        }
    }

    fn append_waiting(&mut self, partition: u32, turns: &Turns) -> isize {
        let mut freed = 0;
        while let Some(entry) = self.waiting.first_entry()
            && turns.is_next(*entry.key(), partition)
        {
            for mut piece in entry.remove() {
                freed += piece.memory() as isize;
                self.append(&mut piece);
            }
        }
        freed
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
        let mut encoded = Encoded::default();
        for order in order.values().chunks(crate::source::BATCH_ROWS) {
            ctx.layout.encoder.encode(&rows, order, &mut encoded).map_err(|e| write_failed(&e))?;
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
