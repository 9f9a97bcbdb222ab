//! One task: its units read once, in order, their rows routed to its partitions, every row accounted for.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::progress::Progress;
use super::rejects::{RejectLine, RejectsPart, RejectsWriter};
use super::route::{Routed, Router, apply};
use super::shard::{Layout, Part, PartitionWriter};
use super::stop::Stop;
use crate::encode;
use crate::error::ErrorCode;
use crate::job::{Compression, Format, Job, OnBad, Order};
use crate::plan::{Partition, Read, Task};
use crate::query::{self, Predicate};
use crate::source::instants::{Instants, instants};
use crate::source::{self, Batch, ReadRequest, SourceFile};
use crate::store::Folder;
use crate::time::TimeParser;

/// What every task of a run needs to know.
pub struct TaskContext<'a> {
    /// The job.
    pub job: &'a Job,
    /// All partitions of the plan.
    pub partitions: &'a [Partition],
    /// All files of the plan.
    pub files: &'a [SourceFile],
    /// Where shards go.
    pub folder: &'a Folder,
    /// Which rows are kept; `None` keeps all.
    pub predicate: Option<&'a Predicate>,
    /// Columns that are read.
    pub read_schema: SchemaRef,
    /// For each column of the shards, its index in `read_schema`.
    pub projection: Vec<usize>,
    /// What shards look like.
    pub layout: Arc<Layout>,
    /// Parses the time column.
    pub times: TimeParser,
    /// Asked between batches.
    pub stop: &'a Stop,
    /// Told between batches.
    pub progress: &'a Progress,
}

/// Why partitions are not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, and the way out.
    pub message: String,
}

/// Rows that a task accounts for. Of units that it does not own, only the rows of its own partitions count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Rows of the units it owns.
    pub source_rows: u64,
    /// Of those, in partitions of other tasks.
    pub elsewhere: u64,
    /// Rows of its partitions in units that other tasks own.
    pub visiting: u64,
    /// Owned rows that could not be read.
    pub rejected: u64,
    /// Owned rows without a time.
    pub null_time: u64,
    /// Owned rows outside the window.
    pub outside_window: u64,
    /// Owned rows whose local time their zone has twice or never.
    pub ambiguous_time: u64,
}

/// What became of one partition.
pub struct PartitionOutcome {
    /// Its index in the plan.
    pub partition: u32,
    /// Rows that the predicate dropped.
    pub filtered_out: u64,
    /// Sealed parts, or why there are none.
    pub parts: Result<Vec<Part>, Failure>,
}

/// What became of a task.
pub struct TaskOutcome {
    /// Of the partitions that were to be written.
    pub partitions: Vec<PartitionOutcome>,
    /// Rows, all of them.
    pub counts: TaskCounts,
    /// Rows were left out, as the spec allows: why the task's partitions are `partial`.
    pub left_out: Option<Failure>,
    /// Those rows.
    pub rejects: Option<RejectsPart>,
}

/// How a task ends without an outcome.
#[derive(Debug)]
pub enum TaskEnd {
    /// A signal.
    Stopped,
    /// All of its partitions fail for one reason. The counts are there if all rows were read all the same.
    Failed(Failure, Option<TaskCounts>),
}

/// One partition of a running task.
struct Lane {
    partition: u32,
    filtered_out: u64,
    rows: u64,
    /// `None`: committed by an earlier run, only counted.
    writer: Option<Result<PartitionWriter, Failure>>,
    /// For `order: time`: rows kept until all are there.
    held: Vec<(RecordBatch, Int64Array)>,
}

/// Runs a task. Partitions for which `is_done` says true are counted, not written.
///
/// # Errors
/// [`TaskEnd`].
pub fn run(ctx: &TaskContext<'_>, task: &Task, key: &str, is_done: impl Fn(u32) -> bool) -> Result<TaskOutcome, TaskEnd> {
    let lanes = task
        .partitions
        .clone()
        .map(|p| Lane {
            partition: p,
            filtered_out: 0,
            rows: 0,
            writer: (!is_done(p)).then(|| {
                let label = ctx.partitions[p as usize].label.clone();
                Ok(PartitionWriter::new(ctx.layout.clone(), ctx.folder.clone(), label))
            }),
            held: Vec::new(),
        })
        .collect();
    let mut running = Running {
        ctx,
        router: Router::new(ctx.partitions, task.partitions.clone(), ctx.layout.unit),
        routed: Routed::default(),
        lanes,
        counts: TaskCounts::default(),
        rejects: RejectsWriter::new(ctx.folder.clone(), key),
        left_out: None,
        fatal: None,
    };
    for (file, reads) in by_file(&task.reads) {
        running.read(&ctx.files[file as usize], &task.reads[reads])?;
    }
    running.finish()
}

/// Consecutive reads of one file.
fn by_file(reads: &[Read]) -> Vec<(u32, Range<usize>)> {
    let mut groups: Vec<(u32, Range<usize>)> = Vec::new();
    for (i, read) in reads.iter().enumerate() {
        match groups.last_mut() {
            Some((file, range)) if *file == read.file => range.end = i + 1,
            _ => groups.push((read.file, i..i + 1)),
        }
    }
    groups
}

struct Running<'a> {
    ctx: &'a TaskContext<'a>,
    router: Router,
    routed: Routed,
    lanes: Vec<Lane>,
    counts: TaskCounts,
    rejects: RejectsWriter,
    /// First reason why rows were left out, where the spec allows it.
    left_out: Option<(u64, Failure)>,
    /// First reason why all partitions fail; reading goes on so that every row is counted.
    fatal: Option<Failure>,
}

impl Running<'_> {
    fn read(&mut self, file: &SourceFile, reads: &[Read]) -> Result<(), TaskEnd> {
        let broken = |e: source::SourceError| failed(e.code, e.to_string());
        let mut reader = source::open(ReadRequest {
            file: file.clone(),
            schema: self.ctx.read_schema.clone(),
            units: reads.iter().map(|r| r.unit).collect(),
            on_bad_rows: self.ctx.job.on_bad_rows,
            records: self.ctx.job.source.records.as_ref().map(|r| r.value.clone()),
        })
        .map_err(broken)?;
        while let Some(batch) = reader.next_batch().map_err(broken)? {
            if self.ctx.stop.is_set() {
                return Err(TaskEnd::Stopped);
            }
            let owner = reads.iter().any(|r| r.unit == batch.unit && r.owner);
            self.batch(file, &batch, owner)?;
        }
        source::list::check_unchanged(file).map_err(broken)
    }

    fn batch(&mut self, file: &SourceFile, batch: &Batch, owner: bool) -> Result<(), TaskEnd> {
        let job = self.ctx.job;
        for reject in &batch.rejected {
            let raw = String::from_utf8_lossy(&reject.raw);
            let line = RejectLine {
                file: &file.name,
                position: reject.position,
                error: &reject.error,
                raw: Some(&raw),
                row: None,
            };
            self.leave_out(job.on_bad_rows, ErrorCode::BadRows, owner, &line)?;
        }
        if owner {
            let rejected = batch.rejected.len() as u64;
            self.counts.rejected += rejected;
            self.counts.source_rows += rejected + batch.rows.num_rows() as u64;
        }
        let Some(times) = batch.rows.column_by_name(&job.time.column.value) else {
            return Err(failed(ErrorCode::Internal, format!("{}: the time column was not read", file.name)));
        };
        let Instants { values, ambiguous, bad } = instants(times, &self.ctx.times, self.ctx.layout.unit)
            .map_err(|why| failed(ErrorCode::SchemaMismatch, format!("{}: {why}", file.name)))?;
        self.router.place(&values, &mut self.routed);
        if owner {
            self.counts.ambiguous_time += ambiguous;
            self.counts.outside_window += self.routed.outside;
            self.counts.elsewhere += self.routed.elsewhere;
            self.counts.rejected += bad.len() as u64;
            self.counts.null_time += (self.routed.without_time.len() - bad.len()) as u64;
        } else {
            self.counts.visiting += self.routed.rows.iter().map(|r| r.len() as u64).sum::<u64>();
        }
        self.leave_out_unplaced(file, batch, owner, &bad)?;
        if let (Some(predicate), false) = (self.ctx.predicate, self.routed.is_empty()) {
            let selection = predicate
                .evaluate(&batch.rows)
                .map_err(|e| failed(ErrorCode::QueryFailed, format!("{}: {}", file.name, chain(&e))))?;
            apply(&selection, &mut self.routed);
        }
        self.write(&batch.rows, &values);
        Progress::add(&self.ctx.progress.read_rows, batch.rows.num_rows() as u64);
        Ok(())
    }

    /// Rows whose time is null, or not a time.
    fn leave_out_unplaced(
        &mut self,
        file: &SourceFile,
        batch: &Batch,
        owner: bool,
        bad: &[(u32, crate::time::BadTime)],
    ) -> Result<(), TaskEnd> {
        let job = self.ctx.job;
        let without_time = std::mem::take(&mut self.routed.without_time);
        let no_time = format!("no time in `{}`", job.time.column.value);
        for row in &without_time {
            let bad_time = bad.iter().find(|(r, _)| r == row).map(|(_, e)| e.to_string());
            let (policy, code) = match bad_time {
                Some(_) => (job.on_bad_rows, ErrorCode::BadRows),
                None => (job.on_null_time, ErrorCode::NullTime),
            };
            let as_read = (owner && policy == OnBad::Reject).then(|| row_as_json(&batch.rows, *row)).flatten();
            let line = RejectLine {
                file: &file.name,
                position: batch.position(*row as usize),
                error: bad_time.as_deref().unwrap_or(&no_time),
                raw: None,
                row: as_read.as_deref(),
            };
            self.leave_out(policy, code, owner, &line)?;
        }
        self.routed.without_time = without_time;
        Ok(())
    }

    /// A row that goes nowhere: by policy into `rejects/`, or the end of the task's partitions.
    fn leave_out(&mut self, policy: OnBad, code: ErrorCode, owner: bool, line: &RejectLine<'_>) -> Result<(), TaskEnd> {
        let place = format!("{}:{}: {}", line.file, line.position, line.error);
        match policy {
            OnBad::Reject => {
                let first = Failure { code: ErrorCode::RowsRejected, message: place };
                self.left_out.get_or_insert((0, first)).0 += 1;
                if owner {
                    self.rejects.push(line).map_err(|e| TaskEnd::Failed(e, None))?;
                }
            }
            OnBad::Fail => {
                let key = if code == ErrorCode::NullTime { "on_null_time" } else { "on_bad_rows" };
                let message = format!("{place}; `{key}: reject` would set such rows aside");
                self.fatal.get_or_insert(Failure { code, message });
            }
        }
        Ok(())
    }

    fn write(&mut self, rows: &RecordBatch, instants: &Int64Array) {
        let kept = |lane: &Lane, rows: usize| lane.writer.is_some() && rows > 0;
        let mut projected = None;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let own = &self.routed.rows[i];
            lane.filtered_out += self.routed.filtered[i];
            lane.rows += own.len() as u64;
            if !kept(lane, own.len()) || self.fatal.is_some() {
                continue;
            }
            Progress::add(&self.ctx.progress.written_rows, own.len() as u64);
            if self.ctx.job.order == Order::Time {
                match take(rows, instants, own) {
                    Ok(held) => lane.held.push(held),
                    Err(e) => lane.writer = Some(Err(internal(&e))),
                }
                continue;
            }
            let shard_rows = projected.get_or_insert_with(|| project(rows, &self.ctx.projection, &self.ctx.layout.schema));
            append(lane, shard_rows, own, instants);
        }
    }

    fn finish(mut self) -> Result<TaskOutcome, TaskEnd> {
        if let Some(failure) = self.fatal {
            return Err(TaskEnd::Failed(failure, Some(self.counts)));
        }
        let expected = self.counts.source_rows + self.counts.visiting;
        let routed: u64 = self.lanes.iter().map(|l| l.rows + l.filtered_out).sum();
        let accounted = self.counts.rejected
            + self.counts.null_time
            + self.counts.outside_window
            + self.counts.elsewhere
            + routed;
        if expected != accounted {
            return Err(failed(
                ErrorCode::RowsNotConserved,
                format!("{expected} rows were read and {accounted} are accounted for; this is a bug"),
            ));
        }
        let rejects = self.rejects.finish().map_err(|e| TaskEnd::Failed(e, None))?;
        let mut partitions = Vec::new();
        for lane in &mut self.lanes {
            let Some(writer) = lane.writer.take() else { continue };
            let parts = writer.and_then(|writer| finish_lane(self.ctx, writer, &lane.held, lane.rows));
            lane.held.clear();
            partitions.push(PartitionOutcome { partition: lane.partition, filtered_out: lane.filtered_out, parts });
        }
        let left_out = self.left_out.map(|(rows, mut first)| {
            if rows > 1 {
                first.message = format!("{rows} rows were left out, the first: {}", first.message);
            }
            first
        });
        Ok(TaskOutcome { partitions, counts: self.counts, left_out, rejects })
    }
}

/// Appends to a lane; a failure ends this lane alone.
fn append(lane: &mut Lane, rows: &Result<RecordBatch, Failure>, own: &[u32], instants: &Int64Array) {
    let Some(Ok(writer)) = &mut lane.writer else { return };
    let result = match rows {
        Ok(rows) => writer.append(rows, own, instants).map_err(|e| Failure { code: e.code(), message: chain(&e) }),
        Err(failure) => Err(failure.clone()),
    };
    if let Err(failure) = result {
        lane.writer = Some(Err(failure));
    }
}

/// Writes what was held for sorting, ends the last part and compares the rows in the shards with the rows routed.
fn finish_lane(
    ctx: &TaskContext<'_>,
    mut writer: PartitionWriter,
    held: &[(RecordBatch, Int64Array)],
    routed_rows: u64,
) -> Result<Vec<Part>, Failure> {
    let shard = |e: super::shard::ShardError| Failure { code: e.code(), message: chain(&e) };
    if !held.is_empty() {
        let (rows, times) = concat(ctx, held).map_err(|e| internal(&e))?;
        let order = query::sort_permutation(&rows, &times, ctx.job.id_column.as_ref().map(|c| c.value.as_str()))
            .map_err(|e| Failure { code: ErrorCode::QueryFailed, message: chain(&e) })?;
        let rows = project(&rows, &ctx.projection, &ctx.layout.schema)?;
        writer.append(&rows, order.values(), &times).map_err(shard)?;
    }
    let parts = writer.finish().map_err(shard)?;
    let written: u64 = parts.iter().map(|p| p.rows).sum();
    if written != routed_rows {
        return Err(Failure {
            code: ErrorCode::RowsNotConserved,
            message: format!("{routed_rows} rows belong to this partition and {written} were written; this is a bug"),
        });
    }
    Ok(parts)
}

type Held = (RecordBatch, Int64Array);

fn take(rows: &RecordBatch, instants: &Int64Array, own: &[u32]) -> Result<Held, arrow::error::ArrowError> {
    let indices = arrow::array::UInt32Array::from(own.to_vec());
    let rows = arrow::compute::take_record_batch(rows, &indices)?;
    let instants = own.iter().map(|row| instants.value(*row as usize)).collect::<Vec<_>>().into();
    Ok((rows, instants))
}

fn concat(ctx: &TaskContext<'_>, held: &[Held]) -> Result<Held, arrow::error::ArrowError> {
    let rows = arrow::compute::concat_batches(&ctx.read_schema, held.iter().map(|(rows, _)| rows))?;
    let instants = held.iter().flat_map(|(_, t)| t.values().iter().copied()).collect::<Vec<_>>().into();
    Ok((rows, instants))
}

/// The columns of the shards, in their order and under their names.
fn project(rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let columns: Vec<ArrayRef> = projection.iter().map(|i| rows.column(*i).clone()).collect();
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| internal(&e))
}

/// A row for people; `None` where a type has no JSON form.
fn row_as_json(rows: &RecordBatch, row: u32) -> Option<Box<RawValue>> {
    let mut encoder = encode::start(&Format::Ndjson, Compression::None, rows.schema(), Vec::new()).ok()?;
    encoder.append(rows, &[row]).ok()?;
    RawValue::from_string(String::from_utf8(encoder.finish().ok()?).ok()?.trim_end().to_owned()).ok()
}

fn failed(code: ErrorCode, message: String) -> TaskEnd {
    TaskEnd::Failed(Failure { code, message }, None)
}

fn internal(error: &dyn std::error::Error) -> Failure {
    Failure { code: ErrorCode::Internal, message: chain(error) }
}

/// An error and its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
