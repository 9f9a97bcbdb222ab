//! Runs one task of the plan: reads its units once, routes their rows to the task's partitions, and accounts for every row.
//!
//! A unit is the part of an input that the plan assigns, such as a row group or a whole text file. A [`Read`] is one unit
//! together with the partitions that may need its rows. [`Chunker`] hands out chunks of units in source order, and any
//! number of threads process them ([`Stream`]). [`ChunkOrder`] keeps each partition's rows in that order, and
//! [`EventQueue`] adds the findings to the [`Ledger`] in that order.
//!
//! A partition is finished as soon as every unit that may have rows for it has been read. In sorted sources, few partitions
//! are therefore open at once, and an interruption loses few. A unit that cannot be read fails the partitions that it may
//! have rows for, and no others.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;

use super::chunk;
use super::chunk_order::ChunkOrder;
use super::ledger::{ChunkFindings, Ledger, UnitRef};
use super::memory::{Memory, Quota};
use super::ordered_sink::Backlog;
use super::partition_sink::{ChunkRows, FinishedPartition, PartitionSink};
use super::redacted::Redacting;
use super::rejects::{RejectsPart, RejectsWriter};
use super::route::Router;
use super::shard::Layout;
use super::workers::{Next, Panicked, Stream, catch_panic};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::state::{TaskCounts, Unplaced};
use crate::plan::{Plan, Read, Task};
use crate::progress::Progress;
use crate::query::Predicate;
use crate::source::{BatchReader, Chunk, ChunkReader, Input, ReadRequest, Source, SourceError, Within};
use crate::stop::Stop;
use crate::store::Folder;
use crate::time::TimeParser;

/// Lower bound on a chunk's memory estimate, in bytes: one block of the input and the arrays decoded from it.
const MIN_CHUNK_BYTES: u64 = 4 << 20;

/// Read-only context shared by all tasks of a run.
pub(super) struct TaskContext<'a> {
    pub job: &'a Job,
    /// Opens and rechecks the plan's inputs.
    pub source: &'a dyn Source,
    /// Names of the columns whose value is constant within an input, such as Hive partition keys.
    pub constants: &'a [String],
    /// Boundaries of the plan's partitions, ascending, in ticks of `layout.unit`; partition `i` is
    /// `bounds[i]..bounds[i + 1]`.
    pub bounds: Arc<[i64]>,
    pub plan: &'a Plan,
    /// The package's folder.
    pub folder: &'a Folder,
    /// Selects rows; `None` keeps all.
    pub predicate: Option<&'a Predicate>,
    /// Columns to read.
    pub read_schema: SchemaRef,
    /// For each column of the shards, its index in `read_schema`.
    pub projection: Vec<usize>,
    /// Columns of the shards.
    pub shard_schema: SchemaRef,
    /// Redacts values before they are encoded.
    pub redacting: Option<Redacting<'a>>,
    /// Format, names and limits of shards.
    pub layout: Arc<Layout>,
    /// Parses the time column.
    pub times: TimeParser,
    /// Checked between batches.
    pub stop: &'a Stop,
    /// Counters for the progress display; workers add to them after each batch.
    pub progress: &'a Progress,
    /// Bounds the estimated bytes of the chunks that are handed out and not yet processed.
    pub read_quota: &'a Quota,
    /// Bounds the bytes that sinks buffer for `order: time`; [`PartitionSink::finish`] gives them back.
    pub sort_quota: &'a Quota,
    /// Backlog size, in bytes per task, above which workers block. A soft limit: each worker may exceed it by one payload.
    pub max_backlog_bytes: usize,
    pub memory: Memory,
}

impl TaskContext<'_> {
    /// An input of the plan, by index.
    pub(super) fn input(&self, index: u32) -> &Input {
        &self.plan.inputs[index as usize].input
    }

    /// Schema of projected rows before redaction; that of the shards if the job redacts nothing.
    pub(super) fn projected_schema(&self) -> &SchemaRef {
        self.redacting.as_ref().map_or(&self.shard_schema, |redacting| redacting.redactor.raw_schema())
    }
}

/// Receives the results of tasks.
pub(super) trait ResultHandler: Sync {
    /// Receives a finished partition, successful or failed. `partial_reason` is set if rows that may belong to it were
    /// rejected because the spec allows it.
    fn partition(&self, task: usize, finished: FinishedPartition, partial_reason: Option<Failure>);

    /// Receives the outcome of a task after its last item. The rows are accounted for only if
    /// [`TaskOutcome::is_complete`].
    fn task(&self, task: usize, outcome: TaskOutcome);

    /// A unit could not be read that may have rows for a partition that this task only counts for. If the partition is
    /// committed, it cannot be in the manifest.
    fn count_failed(&self, partition: u32, failure: &Failure);

    /// A task without partitions could not read a unit; the partitions that its rows may belong to fail.
    fn read_failed(&self, read: &Read, failure: Failure);

    /// The task failed as a whole; all its uncommitted partitions fail. May be called more than once.
    fn failed(&self, task: usize, failure: Failure);
}

/// The result of a task.
pub(super) struct TaskOutcome {
    /// Row counts.
    pub counts: TaskCounts,
    /// Rows that could not be read or placed in a partition.
    pub unplaced: Vec<Unplaced>,
    /// The unpublished rejects file; `None` if no row was rejected.
    pub rejects: Option<RejectsPart>,
    /// Whether every unit was read to its end and every reject was written. If not, no task record may be created.
    pub is_complete: bool,
}

/// A task in progress.
pub(super) struct RunningTask<'a, R> {
    pub(super) ctx: &'a TaskContext<'a>,
    /// Index of the task in the plan.
    task_index: usize,
    task: &'a Task,
    results: &'a R,
    pub(super) router: Router,
    chunker: Mutex<Chunker>,
    pub(super) chunk_order: ChunkOrder,
    pub(super) sinks: Vec<PartitionSink>,
    events: Mutex<EventQueue>,
    backlog: Backlog,
}

/// Cuts the task's units into chunks.
struct Chunker {
    /// Reader of the current input.
    reader: Option<Box<dyn ChunkReader>>,
    /// The reads of the current input that are not finished are `first_open..end_of_input`, indexes into `task.reads`.
    first_open: usize,
    end_of_input: usize,
    /// Number of the next event. Chunks and other events share one sequence.
    next_number: u64,
    /// A chunk that waits for memory.
    deferred: Option<NumberedChunk>,
    at_end: bool,
}

/// Puts events in source order and applies them.
struct EventQueue {
    /// Number of the next event to apply.
    next: u64,
    /// Reported events whose number is above `next`, by number.
    pending: BTreeMap<u64, Event>,
    ledger: Ledger,
    rejects: RejectsWriter,
    /// For each sink, the number of unfinished reads that may have rows for it.
    remaining_reads: Vec<u32>,
    /// Sinks that have received all their rows.
    ready: VecDeque<usize>,
    is_complete: bool,
}

/// What a worker reports about a chunk or a read. Events are numbered in source order and applied in that order.
enum Event {
    /// A chunk was processed.
    Chunk(ChunkFindings),
    /// A chunk, or the rest of a read, could not be read or processed: the partitions that need the read fail. Does not end
    /// the read.
    Failed { read: usize, failure: Failure },
    /// A read, by index, has no more chunks.
    ReadEnds(usize),
}

/// Work for one thread.
pub(super) enum WorkItem {
    /// A chunk to process.
    Chunk(NumberedChunk),
    /// A sink, by index, that has received all its rows and is to be finished.
    Partition(usize),
}

/// A chunk registered in [`ChunkOrder`]. The thread that takes it must end it there and give `bytes` back to the read
/// quota.
pub(super) struct NumberedChunk {
    number: u64,
    /// Index of the read that it belongs to.
    read: usize,
    batches: Box<dyn BatchReader>,
    /// Memory estimate while it is read, in bytes.
    bytes: u64,
}

impl<'a, R: ResultHandler> RunningTask<'a, R> {
    /// Prepares a task. For partitions where `counts_only` returns true, rows are counted and not written.
    pub(super) fn new(
        ctx: &'a TaskContext<'a>,
        task_index: usize,
        task: &'a Task,
        key: &str,
        results: &'a R,
        counts_only: impl Fn(u32) -> bool,
    ) -> Self {
        let sinks: Vec<PartitionSink> =
            task.partitions.clone().map(|p| PartitionSink::new(ctx, p, counts_only(p))).collect();
        let mut remaining_reads = vec![0; sinks.len()];
        for read in &task.reads {
            for sink in sinks_of(task, read) {
                remaining_reads[sink] += 1;
            }
        }
        let ready = (0..sinks.len()).filter(|sink| remaining_reads[*sink] == 0).collect();
        Self {
            ctx,
            task_index,
            task,
            results,
            router: Router::new(ctx.bounds.clone(), task.partitions.clone()),
            chunker: Mutex::new(Chunker {
                reader: None,
                first_open: 0,
                end_of_input: 0,
                next_number: 0,
                deferred: None,
                at_end: false,
            }),
            chunk_order: ChunkOrder::default(),
            sinks,
            events: Mutex::new(EventQueue {
                next: 0,
                pending: BTreeMap::new(),
                ledger: Ledger::default(),
                rejects: RejectsWriter::new(
                    ctx.folder.clone(),
                    ctx.layout.rejects_name(key),
                    ctx.layout.recipients.clone(),
                )
                .sealing(ctx.layout.facts.clone()),
                remaining_reads,
                ready,
                is_complete: true,
            }),
            backlog: Backlog::default(),
        }
    }

    /// Returns the next chunk, or `None` after the last input. Opens inputs as needed, rechecks each one at its end, and
    /// reports an event for every read that ends or fails on the way.
    fn next_chunk(&self, chunker: &mut Chunker) -> Option<NumberedChunk> {
        loop {
            let Some(reader) = &mut chunker.reader else {
                let first = self.task.reads.get(chunker.end_of_input)?;
                match self.open(first, chunker) {
                    Ok(reader) => chunker.reader = Some(reader),
                    Err(e) => self.fail_input(chunker, e),
                }
                continue;
            };
            match reader.next_chunk() {
                Ok(Some(Chunk { unit, batches })) => {
                    let reads = &self.task.reads[chunker.first_open..chunker.end_of_input];
                    // Chunks come in the order of units, so all reads before this one are finished.
                    let Some(finished) = reads.iter().position(|read| read.unit == unit) else {
                        let message = format!("the reader gave unit {unit}, which was not asked for; this is a bug");
                        return self.give_up(chunker, message);
                    };
                    self.end_reads(chunker, chunker.first_open + finished);
                    let number = chunker.take_number();
                    let read = &self.task.reads[chunker.first_open];
                    self.chunk_order.begin(number, read.partitions.clone());
                    let decoded_bytes = self.ctx.plan.unit(read).map_or(0, |unit| unit.decoded_bytes);
                    let bytes = decoded_bytes.max(MIN_CHUNK_BYTES);
                    return Some(NumberedChunk { number, read: chunker.first_open, batches, bytes });
                }
                Ok(None) => {
                    let input = self.ctx.input(self.task.reads[chunker.first_open].input);
                    match self.ctx.source.recheck(input) {
                        Ok(()) => {
                            chunker.reader = None;
                            self.end_reads(chunker, chunker.end_of_input);
                        }
                        Err(e) => self.fail_input(chunker, e),
                    }
                }
                Err(e) => self.fail_input(chunker, e),
            }
        }
    }

    /// Opens the input of the read at `chunker.end_of_input`, and moves `end_of_input` to the first read of the following
    /// input, even on error.
    fn open(&self, first: &Read, chunker: &mut Chunker) -> Result<Box<dyn ChunkReader>, SourceError> {
        let reads = self.task.reads[chunker.end_of_input..].iter().take_while(|read| read.input == first.input);
        let units: Vec<u32> = reads.map(|read| read.unit).collect();
        chunker.end_of_input += units.len();
        let ctx = self.ctx;
        let within = self.time_bounds(first.input, &units);
        ctx.source.open(ReadRequest {
            input: ctx.input(first.input),
            constants: ctx.constants,
            schema: ctx.read_schema.clone(),
            units,
            on_bad_rows: ctx.job.on_bad_rows,
            within: Some(within),
        })
    }

    /// Builds the time bounds that let a reader count rows outside the window without decoding them.
    fn time_bounds(&self, input: u32, units: &[u32]) -> Within {
        let TaskContext { job, plan, times, .. } = self.ctx;
        Within {
            column: job.time.column.value.clone(),
            times: times.clone(),
            start: job.window.start,
            end: job.window.end,
            declared: job.schema.iter().map(|(name, _)| name.value.clone()).collect(),
            proven: !units.iter().any(|unit| plan.may_have_unplaced_rows(input, *unit)),
        }
    }

    /// Reports that the reads before `end` have no more chunks.
    fn end_reads(&self, chunker: &mut Chunker, end: usize) {
        while chunker.first_open < end {
            let number = chunker.take_number();
            self.report(number, Event::ReadEnds(chunker.first_open));
            chunker.first_open += 1;
        }
    }

    /// Closes an input that cannot be read further, and fails its unfinished reads.
    fn fail_input(&self, chunker: &mut Chunker, error: SourceError) {
        chunker.reader = None;
        let failure = Failure::from(error);
        // Fail every read before any of them ends: an ended read can complete a partition.
        for read in chunker.first_open..chunker.end_of_input {
            let number = chunker.take_number();
            self.report(number, Event::Failed { read, failure: failure.clone() });
        }
        self.end_reads(chunker, chunker.end_of_input);
    }

    /// Fails the task and hands out no more chunks.
    fn give_up(&self, chunker: &mut Chunker, message: String) -> Option<NumberedChunk> {
        self.fail_task(message);
        chunker.at_end = true;
        None
    }

    /// Fails the task for a bug. Its rows are not accounted for then.
    fn fail_task(&self, message: String) {
        self.events().is_complete = false;
        self.results.failed(self.task_index, Failure::new(ErrorCode::Internal, message));
    }

    /// Queues an event, then applies queued events in order until one is missing.
    fn report(&self, number: u64, event: Event) {
        let mut events = self.events();
        events.pending.insert(number, event);
        loop {
            let next = events.next;
            let Some(event) = events.pending.remove(&next) else { break };
            events.next += 1;
            match event {
                Event::Chunk(findings) => self.apply_findings(&mut events, findings),
                Event::Failed { read, failure } => {
                    events.is_complete = false;
                    for sink in sinks_of(self.task, &self.task.reads[read]) {
                        self.sinks[sink].fail(&failure);
                        // Nothing else would report the failure, because this task does not finish the partition.
                        if self.sinks[sink].counts_only() {
                            self.results.count_failed(self.sinks[sink].partition, &failure);
                        }
                    }
                    if self.task.partitions.is_empty() {
                        self.results.read_failed(&self.task.reads[read], failure);
                    }
                }
                Event::ReadEnds(read) => {
                    for sink in sinks_of(self.task, &self.task.reads[read]) {
                        events.remaining_reads[sink] -= 1;
                        if events.remaining_reads[sink] == 0 {
                            events.ready.push_back(sink);
                        }
                    }
                }
            }
        }
    }

    fn apply_findings(&self, events: &mut EventQueue, findings: ChunkFindings) {
        let ChunkFindings { counts, reject_lines, rejects, unplaced } = findings;
        // Fail early, so that no more rows are encoded. `finish_partition` replaces the failure with one that counts all
        // rows.
        for found in unplaced.values().filter(|u| !u.allowed) {
            for sink in self.sinks.iter().filter(|sink| found.partitions.contains(&sink.partition)) {
                sink.fail(&found.failure);
            }
        }
        events.ledger.add(counts, unplaced);
        if let Err(failure) = events.rejects.append(&reject_lines, rejects) {
            events.is_complete = false;
            self.results.failed(self.task_index, failure);
        }
    }

    fn process(&self, chunk: NumberedChunk) {
        let NumberedChunk { number, read: read_index, mut batches, bytes } = chunk;
        let read = &self.task.reads[read_index];
        let unit = UnitRef { input: read.input, unit: read.unit, owner: read.owner };
        let processed = catch_panic(|| chunk::process(self, number, unit, &read.partitions, batches.as_mut()));
        drop(batches);
        self.ctx.read_quota.give(bytes);
        let failed = |panic: Panicked| Event::Failed { read: read_index, failure: Failure::internal(&panic) };
        let event = match processed {
            Ok(Ok(findings)) => Event::Chunk(findings),
            // The run was stopped. Not reporting this event keeps all later ones from being applied.
            Ok(Err(None)) => return self.chunk_order.end(number),
            Ok(Err(Some(failure))) => Event::Failed { read: read_index, failure },
            Err(panic) => failed(panic),
        };
        self.chunk_order.end(number);
        let advanced = catch_panic(|| {
            for sink in sinks_of(self.task, read) {
                self.sinks[sink].advance(&self.chunk_order, &self.backlog, self.ctx.sort_quota);
            }
        });
        // Every event has to be reported, or the task never ends.
        self.report(number, advanced.map_or_else(failed, |()| event));
    }

    /// Adds rows to a sink, then applies backpressure: blocks while the backlog exceeds its limit and another thread can
    /// still shrink it. The thread with the earliest chunk waits only while another one is appending.
    pub(super) fn put(&self, sink: &PartitionSink, chunk: u64, payload: &mut ChunkRows) {
        sink.put(chunk, payload, &self.chunk_order, &self.backlog, self.ctx.sort_quota);
        let is_over_limit = || self.backlog.bytes() > self.ctx.max_backlog_bytes && !self.ctx.stop.is_set();
        if is_over_limit() {
            self.chunk_order.wait_while(chunk, is_over_limit, || self.backlog.is_draining());
        }
    }

    fn finish_partition(&self, sink: usize) {
        let sink = &self.sinks[sink];
        let (failure, partial_reason) = {
            let events = self.events();
            (events.ledger.failure(sink.partition), events.ledger.partial_reason(sink.partition))
        };
        let Some(mut finished) = sink.finish(self.ctx) else { return };
        if let Some(failure) = failure {
            finished.parts = Err(failure);
        }
        self.results.partition(self.task_index, finished, partial_reason);
    }

    fn events(&self) -> MutexGuard<'_, EventQueue> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunker {
    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

/// Indexes of the sinks that a read may have rows for.
fn sinks_of(task: &Task, read: &Read) -> Range<usize> {
    let own = &task.partitions;
    let start = read.partitions.start.clamp(own.start, own.end);
    let end = read.partitions.end.clamp(start, own.end);
    (start - own.start) as usize..(end - own.start) as usize
}

impl<R: ResultHandler> Stream for RunningTask<'_, R> {
    type Item = WorkItem;

    fn next(&self) -> Next<WorkItem> {
        if let Some(sink) = self.events().ready.pop_front() {
            return Next::Item(WorkItem::Partition(sink));
        }
        // Another thread is producing the next chunk, or panicked while it did; then the pool requests no more items.
        let Ok(mut chunker) = self.chunker.try_lock() else { return Next::Busy };
        if !chunker.at_end {
            match chunker.deferred.take().or_else(|| self.next_chunk(&mut chunker)) {
                Some(chunk) if self.ctx.read_quota.take(chunk.bytes) => return Next::Item(WorkItem::Chunk(chunk)),
                Some(chunk) => {
                    chunker.deferred = Some(chunk);
                    return Next::Busy;
                }
                None => chunker.at_end = true,
            }
        }
        // Ending the last reads may have completed partitions.
        let mut events = self.events();
        match events.ready.pop_front() {
            Some(sink) => Next::Item(WorkItem::Partition(sink)),
            // Some chunks are still being processed; their events may complete partitions.
            None if events.next < chunker.next_number => Next::Busy,
            None => Next::End,
        }
    }

    fn work(&self, item: WorkItem) {
        match item {
            WorkItem::Chunk(chunk) => self.process(chunk),
            WorkItem::Partition(sink) => self.finish_partition(sink),
        }
    }

    fn end(&self) {
        let (ledger, is_complete) = {
            let mut events = self.events();
            (std::mem::take(&mut events.ledger), events.is_complete)
        };
        let Ledger { counts, unplaced } = ledger;
        let routed: u64 = self.sinks.iter().map(PartitionSink::routed).sum();
        // Rows of owned units, and this task's rows in units that other tasks own (`visiting`).
        let read = counts.source_rows + counts.visiting;
        // `elsewhere` are rows of owned units in partitions of other tasks.
        let accounted = counts.rejected + counts.null_time + counts.outside_window + counts.elsewhere + routed;
        if is_complete && read != accounted {
            let message = format!("{read} rows were read and {accounted} are accounted for; this is a bug");
            return self.results.failed(self.task_index, Failure::new(ErrorCode::RowsNotConserved, message));
        }
        let rejects = self.events().rejects.finish();
        match rejects {
            Ok(rejects) => {
                let unplaced = unplaced.into_values().collect();
                self.results.task(self.task_index, TaskOutcome { counts, unplaced, rejects, is_complete });
            }
            Err(failure) => self.results.failed(self.task_index, failure),
        }
    }

    fn panicked(&self, text: String) {
        self.fail_task(Panicked(text).to_string());
    }
}
