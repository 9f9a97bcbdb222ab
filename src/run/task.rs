//! One task: its units read once, their rows routed to its partitions, every row accounted for.
//!
//! Chunks of the units are handed out in order and worked on by any number of threads ([`Stream`]); their rows reach each
//! partition in order all the same ([`Turns`]), and what they met is entered in order ([`Ledger`]). A partition is
//! finished as soon as every unit that may hold rows of it has been read, so that few are open at once where the source is
//! sorted, and what is finished stays finished if the run is interrupted. A unit that cannot be read fails the
//! partitions that may have rows in it, and no others.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;

use super::chunk;
use super::in_order::Waiting;
use super::lane::{Finished, Lane, Piece};
use super::ledger::{Findings, Ledger, Place};
use super::memory::{Memory, Quota};
use super::redacted::Redacting;
use super::rejects::{RejectsPart, RejectsWriter};
use super::route::Router;
use super::shard::Layout;
use super::turns::Turns;
use super::workers::{Next, Stream, caught};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::state::{TaskCounts, Unplaced};
use crate::plan::{Plan, Read, Task};
use crate::progress::Progress;
use crate::query::Predicate;
use crate::source::{self, BatchReader, Chunk, ChunkReader, ReadRequest, SourceError, SourceFile, Within};
use crate::stop::Stop;
use crate::store::Folder;
use crate::time::TimeParser;

/// What a block of rows takes at least, with the arrays that are made of it.
const BLOCK_BYTES: u64 = 4 << 20;

/// What every task of a run needs to know.
pub struct TaskContext<'a> {
    /// The job.
    pub job: &'a Job,
    /// All files of the plan.
    pub files: &'a [SourceFile],
    /// Columns that come from folder names.
    pub hive_keys: &'a [String],
    /// Where partitions begin and end, for routing.
    pub bounds: Arc<[i64]>,
    /// Knows whom rows concern that have no place.
    pub plan: &'a Plan,
    /// Where shards go.
    pub folder: &'a Folder,
    /// Which rows are kept; `None` keeps all.
    pub predicate: Option<&'a Predicate>,
    /// Columns that are read.
    pub read_schema: SchemaRef,
    /// For each column of the shards, its index in `read_schema`.
    pub projection: Vec<usize>,
    /// Columns of the shards.
    pub shard_schema: SchemaRef,
    /// What is done to values before they are written.
    pub redacting: Option<Redacting<'a>>,
    /// What shards look like.
    pub layout: Arc<Layout>,
    /// Parses the time column.
    pub times: TimeParser,
    /// Asked between batches.
    pub stop: &'a Stop,
    /// Told between batches.
    pub progress: &'a Progress,
    /// Bytes of units that may be decoded at once.
    pub reading: &'a Quota,
    /// Bytes of rows that may be held to be sorted.
    pub sorting: &'a Quota,
    /// Bytes of rows that may wait for their turn, in each task.
    pub waiting_bytes: usize,
    /// All of the budget.
    pub memory: Memory,
}

impl TaskContext<'_> {
    /// Columns of the shards before they are redacted.
    pub fn projected_schema(&self) -> &SchemaRef {
        self.redacting.as_ref().map_or(&self.shard_schema, |redacting| redacting.redactor.raw_schema())
    }
}

/// Who takes what a task has done.
pub trait Receiver: Sync {
    /// A partition is whole, or known to fail. `left_out`: rows that may belong to it were left out, as the spec allows.
    fn partition(&self, task: usize, finished: Finished, left_out: Option<Failure>);

    /// All rows of the task are accounted for.
    fn task(&self, task: usize, outcome: TaskOutcome);

    /// A partition is committed, and its rows cannot be counted: it cannot be in a manifest.
    fn unaccounted(&self, partition: u32, failure: &Failure);

    /// A unit could not be read that has rows without a known place only.
    fn read_failed(&self, read: &Read, failure: Failure);

    /// Something that is not the fault of a unit: all partitions of the task fail that are not done.
    fn failed(&self, task: usize, failure: Failure);
}

/// What became of a task's rows.
pub struct TaskOutcome {
    /// Rows, all of them.
    pub counts: TaskCounts,
    /// Rows that could not be read or placed.
    pub unplaced: Vec<Unplaced>,
    /// Those of them that the spec allows to leave out.
    pub rejects: Option<RejectsPart>,
    /// Whether every unit was read to its end; if not, the rows are not accounted for.
    pub is_whole: bool,
}

/// A task while it runs.
pub struct RunningTask<'a, R> {
    pub(super) ctx: &'a TaskContext<'a>,
    /// Its index in the plan.
    index: usize,
    task: &'a Task,
    receiver: &'a R,
    pub(super) router: Router,
    cutter: Mutex<Cutter>,
    pub(super) turns: Turns,
    pub(super) lanes: Vec<Lane>,
    desk: Mutex<Desk>,
    waiting: Waiting,
}

/// Cuts the task's units into chunks.
struct Cutter {
    /// Of one file.
    reader: Option<Box<dyn ChunkReader>>,
    /// The first read of a later file.
    next_file: usize,
    /// The first read of which more chunks may come.
    current: usize,
    /// Numbers chunks and what else must happen in their order.
    sequence: u64,
    /// A chunk that must wait until others are read, for memory.
    held: Option<ChunkOf>,
    at_end: bool,
}

/// Where everything is put in order.
struct Desk {
    /// The first event that is not entered.
    next: u64,
    /// Events that came before their turn.
    early: BTreeMap<u64, Event>,
    ledger: Ledger,
    rejects: RejectsWriter,
    /// For each lane, the reads to come that may hold rows of it.
    reads_to_come: Vec<u32>,
    /// Lanes of which all rows are there.
    ready: VecDeque<usize>,
    is_whole: bool,
}

/// What has happened, in an order that is the source's.
enum Event {
    /// A chunk was worked on to its end.
    Chunk(Findings),
    /// A chunk, or the finding of one, failed: the partitions of a read fail.
    Failed(usize, Failure),
    /// No more chunks of a read come.
    ReadEnds(usize),
}

/// A part of the work.
pub enum Part {
    /// Rows.
    Chunk(ChunkOf),
    /// A partition, by lane, of which all rows are there.
    Lane(usize),
}

/// A chunk with what is known of it.
pub struct ChunkOf {
    number: u64,
    read: usize,
    batches: Box<dyn BatchReader>,
    /// Bytes that it takes while it is read.
    bytes: u64,
}

impl<'a, R: Receiver> RunningTask<'a, R> {
    /// Partitions for which `is_done` says true are counted, not written.
    pub fn new(
        ctx: &'a TaskContext<'a>,
        index: usize,
        task: &'a Task,
        key: &str,
        receiver: &'a R,
        is_done: impl Fn(u32) -> bool,
    ) -> Self {
        let lanes: Vec<Lane> = task.partitions.clone().map(|p| Lane::new(ctx, p, !is_done(p))).collect();
        let mut reads_to_come = vec![0; lanes.len()];
        for read in &task.reads {
            for lane in lanes_of(task, read) {
                reads_to_come[lane] += 1;
            }
        }
        let ready = (0..lanes.len()).filter(|lane| reads_to_come[*lane] == 0).collect();
        Self {
            ctx,
            index,
            task,
            receiver,
            router: Router::new(ctx.bounds.clone(), task.partitions.clone()),
            cutter: Mutex::new(Cutter {
                reader: None,
                next_file: 0,
                current: 0,
                sequence: 0,
                held: None,
                at_end: false,
            }),
            turns: Turns::default(),
            lanes,
            desk: Mutex::new(Desk {
                next: 0,
                early: BTreeMap::new(),
                ledger: Ledger::default(),
                rejects: RejectsWriter::new(
                    ctx.folder.clone(),
                    ctx.layout.rejects_name(key),
                    ctx.layout.recipients.clone(),
                )
                .sealing(ctx.layout.facts.clone()),
                reads_to_come,
                ready,
                is_whole: true,
            }),
            waiting: Waiting::default(),
        }
    }

    /// The next chunk of the reader that is open, or of the next file's.
    fn cut(&self, cutter: &mut Cutter) -> Option<ChunkOf> {
        loop {
            let Some(reader) = &mut cutter.reader else {
                let first = self.task.reads.get(cutter.next_file)?;
                match self.open(first, cutter) {
                    Ok(reader) => cutter.reader = Some(reader),
                    Err(e) => self.fail_file(cutter, e),
                }
                continue;
            };
            match reader.next_chunk() {
                Ok(Some(Chunk { unit, batches })) => {
                    let reads = &self.task.reads[cutter.current..cutter.next_file];
                    let Some(skipped) = reads.iter().position(|r| r.unit == unit) else {
                        let message = format!("the reader gave unit {unit}, which was not asked for; this is a bug");
                        return self.give_up(cutter, message);
                    };
                    self.end_reads(cutter, cutter.current + skipped);
                    let number = cutter.take_number();
                    self.turns.begin(number, self.task.reads[cutter.current].partitions.clone());
                    let read = &self.task.reads[cutter.current];
                    let unit = &self.ctx.plan.files[read.file as usize].units[read.unit as usize];
                    let bytes = unit.decoded_bytes.max(BLOCK_BYTES);
                    return Some(ChunkOf { number, read: cutter.current, batches, bytes });
                }
                Ok(None) => {
                    let file = &self.ctx.files[self.task.reads[cutter.current].file as usize];
                    match source::files::list::check_unchanged(file) {
                        Ok(()) => {
                            cutter.reader = None;
                            self.end_reads(cutter, cutter.next_file);
                        }
                        Err(e) => self.fail_file(cutter, e),
                    }
                }
                Err(e) => self.fail_file(cutter, e),
            }
        }
    }

    /// Opens the file of a read.
    fn open(&self, first: &Read, cutter: &mut Cutter) -> Result<Box<dyn ChunkReader>, SourceError> {
        let of_file: Vec<u32> =
            self.task.reads[cutter.next_file..].iter().take_while(|r| r.file == first.file).map(|r| r.unit).collect();
        cutter.next_file += of_file.len();
        let ctx = self.ctx;
        let within = self.within(first.file, &of_file);
        let request = ReadRequest {
            file: ctx.files[first.file as usize].clone(),
            schema: ctx.read_schema.clone(),
            units: of_file,
            on_bad_rows: ctx.job.on_bad_rows,
            records: ctx.job.source.records.as_ref().map(|r| r.value.clone()),
            within: Some(within),
        };
        source::open(request, ctx.hive_keys)
    }

    /// The window, so that rows outside are counted and not built.
    fn within(&self, file: u32, units: &[u32]) -> Within {
        let TaskContext { job, plan, times, .. } = self.ctx;
        let is_concern = |unit| plan.concerns.binary_search_by_key(&(file, Some(unit)), |c| (c.file, c.unit)).is_ok();
        Within {
            column: job.time.column.value.clone(),
            times: times.clone(),
            start: job.window.start,
            end: job.window.end,
            declared: job.schema.iter().map(|(name, _)| name.value.clone()).collect(),
            proven: !units.iter().any(|unit| is_concern(*unit)),
        }
    }

    /// No more chunks of the reads up to one come.
    fn end_reads(&self, cutter: &mut Cutter, end: usize) {
        while cutter.current < end {
            let number = cutter.take_number();
            self.enter(number, Event::ReadEnds(cutter.current));
            cutter.current += 1;
        }
    }

    /// The open file gives nothing more: those of its reads fail that have not ended.
    fn fail_file(&self, cutter: &mut Cutter, error: SourceError) {
        cutter.reader = None;
        let failure = Failure { code: error.code, message: error.to_string() };
        for read in cutter.current..cutter.next_file {
            let number = cutter.take_number();
            self.enter(number, Event::Failed(read, failure.clone()));
        }
        self.end_reads(cutter, cutter.next_file);
    }

    fn give_up(&self, cutter: &mut Cutter, message: String) -> Option<ChunkOf> {
        self.receiver.failed(self.index, Failure { code: ErrorCode::Internal, message });
        cutter.at_end = true;
        None
    }

    /// Enters an event, and those that waited for it, in order.
    fn enter(&self, number: u64, event: Event) {
        let mut desk = self.desk();
        desk.early.insert(number, event);
        loop {
            let next = desk.next;
            let Some(event) = desk.early.remove(&next) else { break };
            desk.next += 1;
            match event {
                Event::Chunk(findings) => self.enter_findings(&mut desk, findings),
                Event::Failed(read, failure) => {
                    desk.is_whole = false;
                    for lane in lanes_of(self.task, &self.task.reads[read]) {
                        self.lanes[lane].fail(&failure);
                        if self.lanes[lane].is_done() {
                            self.receiver.unaccounted(self.lanes[lane].partition, &failure);
                        }
                    }
                    if self.task.partitions.is_empty() {
                        self.receiver.read_failed(&self.task.reads[read], failure);
                    }
                }
                Event::ReadEnds(read) => {
                    for lane in lanes_of(self.task, &self.task.reads[read]) {
                        desk.reads_to_come[lane] -= 1;
                        if desk.reads_to_come[lane] == 0 {
                            desk.ready.push_back(lane);
                        }
                    }
                }
            }
        }
    }

    fn enter_findings(&self, desk: &mut Desk, findings: Findings) {
        let Findings { counts, reject_lines, rejects, unplaced } = findings;
        for found in unplaced.values().filter(|u| !u.allowed) {
            for lane in self.lanes.iter().filter(|lane| found.partitions.contains(&lane.partition)) {
                lane.fail(&found.failure);
            }
        }
        desk.ledger.enter(counts, unplaced);
        if let Err(failure) = desk.rejects.append(&reject_lines, rejects) {
            desk.is_whole = false;
            self.receiver.failed(self.index, failure);
        }
    }

    fn work_on(&self, chunk: ChunkOf) {
        let ChunkOf { number, read: read_index, mut batches, bytes } = chunk;
        let read = &self.task.reads[read_index];
        let place = Place { file: read.file, unit: read.unit, owner: read.owner };
        let worked = caught(|| chunk::work(self, number, place, &read.partitions, batches.as_mut()));
        drop(batches);
        self.ctx.reading.give(bytes);
        let event = match worked {
            Ok(Ok(findings)) => Event::Chunk(findings),
            // Stopped: nothing that follows may count, so its event never comes.
            Ok(Err(None)) => return self.turns.end(number),
            Ok(Err(Some(failure))) => Event::Failed(read_index, failure),
            Err(panic) => {
                let message = format!("a worker panicked: {panic}; this is a bug");
                Event::Failed(read_index, Failure { code: ErrorCode::Internal, message })
            }
        };
        self.turns.end(number);
        for lane in lanes_of(self.task, read) {
            self.lanes[lane].advance(&self.turns, &self.waiting, self.ctx.sorting);
        }
        self.enter(number, event);
    }

    /// Hands rows to a lane, and waits where too many wait already.
    pub(super) fn put(&self, lane: &Lane, chunk: u64, piece: &mut Piece) {
        lane.put(chunk, piece, &self.turns, &self.waiting, self.ctx.sorting);
        let is_too_much = || self.waiting.bytes() > self.ctx.waiting_bytes && !self.ctx.stop.is_set();
        if is_too_much() {
            self.turns.wait_while(chunk, is_too_much, || self.waiting.is_draining());
        }
    }

    fn finish_lane(&self, lane: usize) {
        let lane = &self.lanes[lane];
        let (refused, left_out) = {
            let desk = self.desk();
            (desk.ledger.about(lane.partition, false), desk.ledger.about(lane.partition, true))
        };
        let Some(mut finished) = lane.finish(self.ctx) else { return };
        if let Some(failure) = refused {
            finished.parts = Err(failure);
        }
        self.receiver.partition(self.index, finished, left_out);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cutter {
    fn take_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }
}

/// The lanes that may get rows of a read.
fn lanes_of(task: &Task, read: &Read) -> Range<usize> {
    let own = &task.partitions;
    let start = read.partitions.start.clamp(own.start, own.end);
    let end = read.partitions.end.clamp(start, own.end.max(start));
    (start - own.start) as usize..(end - own.start) as usize
}

impl<R: Receiver> Stream for RunningTask<'_, R> {
    type Part = Part;

    fn next(&self) -> Next<Part> {
        if let Some(lane) = self.desk().ready.pop_front() {
            return Next::Part(Part::Lane(lane));
        }
        let Ok(mut cutter) = self.cutter.try_lock() else { return Next::Busy };
        if !cutter.at_end {
            match cutter.held.take().or_else(|| self.cut(&mut cutter)) {
                Some(chunk) if self.ctx.reading.take(chunk.bytes) => return Next::Part(Part::Chunk(chunk)),
                Some(chunk) => {
                    cutter.held = Some(chunk);
                    return Next::Busy;
                }
                None => cutter.at_end = true,
            }
        }
        let mut desk = self.desk();
        match desk.ready.pop_front() {
            Some(lane) => Next::Part(Part::Lane(lane)),
            None if desk.next < cutter.sequence => Next::Busy,
            None => Next::End,
        }
    }

    fn work(&self, part: Part) {
        match part {
            Part::Chunk(chunk) => self.work_on(chunk),
            Part::Lane(lane) => self.finish_lane(lane),
        }
    }

    fn end(&self) {
        let (ledger, rejects, is_whole) = {
            let mut desk = self.desk();
            let nothing = RejectsWriter::new(self.ctx.folder.clone(), String::new(), None);
            let rejects = std::mem::replace(&mut desk.rejects, nothing);
            (std::mem::take(&mut desk.ledger), rejects, desk.is_whole)
        };
        let Ledger { counts, unplaced } = ledger;
        let routed: u64 = self.lanes.iter().map(Lane::routed).sum();
        let expected = counts.source_rows + counts.visiting;
        let accounted = counts.rejected + counts.null_time + counts.outside_window + counts.elsewhere + routed;
        if is_whole && expected != accounted {
            let message = format!("{expected} rows were read and {accounted} are accounted for; this is a bug");
            return self.receiver.failed(self.index, Failure { code: ErrorCode::RowsNotConserved, message });
        }
        match rejects.finish() {
            Ok(rejects) => {
                let unplaced = unplaced.into_values().collect();
                self.receiver.task(self.index, TaskOutcome { counts, unplaced, rejects, is_whole });
            }
            Err(failure) => self.receiver.failed(self.index, failure),
        }
    }

    fn panicked(&self, text: String) {
        let message = format!("a worker panicked: {text}; this is a bug");
        self.receiver.failed(self.index, Failure { code: ErrorCode::Internal, message });
    }
}
