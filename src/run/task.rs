//! One task: its units read once, in order, their rows routed to its partitions, every row accounted for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::failure::{Failure, chain};
use super::lane::{Lane, project};
use super::progress::Progress;
use super::rejects::{RejectLine, RejectsPart, RejectsWriter};
use super::route::{Routed, Router, apply};
use super::shard::{Layout, Part};
use super::stop::Stop;
use super::unplaced::Unplaced;
use crate::encode;
use crate::error::ErrorCode;
use crate::job::{Compression, Format, Job, OnBad};
use crate::plan::{Plan, Read, Task};
use crate::query::Predicate;
use crate::source::instants::{Instants, instants};
use crate::source::{self, Batch, ReadRequest, SourceFile, Within};
use crate::store::Folder;
use crate::time::{BadTime, TimeParser};

/// What every task of a run needs to know.
pub struct TaskContext<'a> {
    /// The job.
    pub job: &'a Job,
    /// All files of the plan.
    pub files: &'a [SourceFile],
    /// Columns that come from folder names.
    pub hive_keys: &'a [String],
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
    /// What shards look like.
    pub layout: Arc<Layout>,
    /// Parses the time column.
    pub times: TimeParser,
    /// Asked between batches.
    pub stop: &'a Stop,
    /// Told between batches.
    pub progress: &'a Progress,
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
    /// Rows that may belong here were left out, as the spec allows.
    pub left_out: Option<Failure>,
}

/// What became of a task.
pub struct TaskOutcome {
    /// Of the partitions that were to be written.
    pub partitions: Vec<PartitionOutcome>,
    /// Rows, all of them.
    pub counts: TaskCounts,
    /// Rows that could not be read or placed.
    pub unplaced: Vec<Unplaced>,
    /// Those of them that the spec allows to leave out.
    pub rejects: Option<RejectsPart>,
}

/// How a task ends without an outcome.
#[derive(Debug)]
pub enum TaskEnd {
    /// A signal.
    Stopped,
    /// All of its partitions fail for one reason.
    Failed(Failure),
}

/// Runs a task. Partitions for which `is_done` says true are counted, not written.
///
/// # Errors
/// [`TaskEnd`].
pub fn run(
    ctx: &TaskContext<'_>,
    task: &Task,
    key: &str,
    is_done: impl Fn(u32) -> bool,
) -> Result<TaskOutcome, TaskEnd> {
    let lanes = task.partitions.clone().map(|p| Lane::new(ctx, p, !is_done(p))).collect();
    let mut running = Running {
        ctx,
        router: Router::new(&ctx.plan.partitions, task.partitions.clone(), ctx.layout.unit),
        routed: Routed::default(),
        lanes,
        counts: TaskCounts::default(),
        rejects: RejectsWriter::new(ctx.folder.clone(), key),
        unplaced: BTreeMap::new(),
    };
    for (file, reads) in by_file(&task.reads) {
        running.read(file, &task.reads[reads])?;
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
    /// By file, unit and whether the spec allows it. Reading goes on, so that every row is counted.
    unplaced: BTreeMap<(u32, u32, bool), Unplaced>,
}

/// Where a batch comes from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    index: u32,
    file: &'a SourceFile,
    unit: u32,
    /// Whether this task accounts for the unit's rows that are not its own.
    owner: bool,
}

impl Running<'_> {
    fn read(&mut self, index: u32, reads: &[Read]) -> Result<(), TaskEnd> {
        let ctx = self.ctx;
        let file = &ctx.files[index as usize];
        let broken = |e: source::SourceError| failed(e.code, e.to_string());
        let request = ReadRequest {
            file: file.clone(),
            schema: ctx.read_schema.clone(),
            units: reads.iter().map(|r| r.unit).collect(),
            on_bad_rows: ctx.job.on_bad_rows,
            records: ctx.job.source.records.as_ref().map(|r| r.value.clone()),
            within: Some(self.within(index, reads)),
        };
        let mut reader = source::open(request, ctx.hive_keys).map_err(broken)?;
        while let Some(mut chunk) = reader.next_chunk().map_err(broken)? {
            let owner = reads.iter().any(|r| r.unit == chunk.unit && r.owner);
            while let Some(batch) = chunk.batches.next_batch().map_err(broken)? {
                if self.ctx.stop.is_set() {
                    return Err(TaskEnd::Stopped);
                }
                self.batch(Origin { index, file, unit: chunk.unit, owner }, &batch)?;
            }
        }
        source::files::list::check_unchanged(file).map_err(broken)
    }

    /// The window, so that rows outside are counted and not built.
    fn within(&self, index: u32, reads: &[Read]) -> Within {
        let TaskContext { job, plan, times, .. } = self.ctx;
        let is_concern = |unit| plan.concerns.binary_search_by_key(&(index, Some(unit)), |c| (c.file, c.unit)).is_ok();
        Within {
            column: job.time.column.value.clone(),
            times: times.clone(),
            start: job.window.start,
            end: job.window.end,
            declared: job.schema.iter().map(|(name, _)| name.value.clone()).collect(),
            proven: !reads.iter().any(|read| is_concern(read.unit)),
        }
    }

    fn batch(&mut self, origin: Origin<'_>, batch: &Batch) -> Result<(), TaskEnd> {
        let job = self.ctx.job;
        let Origin { file, owner, .. } = origin;
        for reject in &batch.rejected {
            let raw = String::from_utf8_lossy(&reject.raw);
            let line = RejectLine {
                file: &file.name,
                position: reject.position,
                error: &reject.error,
                raw: Some(&raw),
                row: None,
            };
            self.leave_out(job.on_bad_rows, ErrorCode::BadRows, origin, &line)?;
        }
        if owner {
            let rejected = batch.rejected.len() as u64;
            self.counts.rejected += rejected;
            self.counts.source_rows += rejected + batch.outside + batch.rows.num_rows() as u64;
        }
        let Some((i, field)) = batch.rows.schema_ref().column_with_name(&job.time.column.value) else {
            return Err(failed(ErrorCode::Internal, format!("{}: the time column was not read", file.name)));
        };
        let Instants { values, ambiguous, bad } =
            instants(field, batch.rows.column(i), &self.ctx.times, self.ctx.layout.unit)
                .map_err(|why| failed(ErrorCode::SchemaMismatch, format!("{}: {why}", file.name)))?;
        self.router.place(&values, &mut self.routed);
        if owner {
            self.counts.ambiguous_time += ambiguous;
            self.counts.outside_window += batch.outside + self.routed.outside;
            self.counts.elsewhere += self.routed.elsewhere;
            self.counts.rejected += bad.len() as u64;
            self.counts.null_time += (self.routed.without_time.len() - bad.len()) as u64;
        } else {
            self.counts.visiting += self.routed.rows.iter().map(|r| r.len() as u64).sum::<u64>();
        }
        self.leave_out_unplaced(origin, batch, &bad)?;
        if let (Some(predicate), false) = (self.ctx.predicate, self.routed.is_empty()) {
            let selection = predicate
                .evaluate(&batch.rows)
                .map_err(|e| failed(ErrorCode::QueryFailed, format!("{}: {}", file.name, chain(&e))))?;
            apply(&selection, &mut self.routed);
        }
        self.write(&batch.rows, &values);
        self.tell(origin, batch.outside + batch.rows.num_rows() as u64);
        Ok(())
    }

    /// Bytes are told in proportion to rows: what a reader has fetched ahead says little.
    fn tell(&self, origin: Origin<'_>, rows: u64) {
        let unit = &self.ctx.plan.files[origin.index as usize].units[origin.unit as usize];
        let bytes = u128::from(unit.bytes) * u128::from(rows) / u128::from(unit.rows.max(1));
        Progress::add(&self.ctx.progress.read_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
        Progress::add(&self.ctx.progress.read_rows, rows);
    }

    /// Rows whose time is null, or not a time.
    fn leave_out_unplaced(&mut self, origin: Origin<'_>, batch: &Batch, bad: &[(u32, BadTime)]) -> Result<(), TaskEnd> {
        let job = self.ctx.job;
        let without_time = std::mem::take(&mut self.routed.without_time);
        let no_time = format!("no time in `{}`", job.time.column.value);
        for row in &without_time {
            let bad_time = bad.iter().find(|(r, _)| r == row).map(|(_, e)| e.to_string());
            let (policy, code) = match bad_time {
                Some(_) => (job.on_bad_rows, ErrorCode::BadRows),
                None => (job.on_null_time, ErrorCode::NullTime),
            };
            let as_read = (origin.owner && policy == OnBad::Reject).then(|| row_as_json(&batch.rows, *row)).flatten();
            let line = RejectLine {
                file: &origin.file.name,
                position: batch.positions.of(*row),
                error: bad_time.as_deref().unwrap_or(&no_time),
                raw: None,
                row: as_read.as_deref(),
            };
            self.leave_out(policy, code, origin, &line)?;
        }
        self.routed.without_time = without_time;
        Ok(())
    }

    /// A row that goes nowhere: into `rejects/`, or the end of the partitions that it may belong to.
    fn leave_out(
        &mut self,
        policy: OnBad,
        code: ErrorCode,
        origin: Origin<'_>,
        line: &RejectLine<'_>,
    ) -> Result<(), TaskEnd> {
        let allowed = policy == OnBad::Reject;
        if allowed && origin.owner {
            self.rejects.push(line).map_err(TaskEnd::Failed)?;
        }
        let key = (origin.index, origin.unit, allowed);
        if let Some(unplaced) = self.unplaced.get_mut(&key) {
            unplaced.rows += 1;
            return Ok(());
        }
        let mut failure = Failure { code, message: format!("{}:{}: {}", line.file, line.position, line.error) };
        if allowed {
            failure.code = ErrorCode::RowsRejected;
        } else {
            let setting = if code == ErrorCode::NullTime { "on_null_time" } else { "on_bad_rows" };
            failure.message.push_str(&format!(" (`{setting}: reject` sets such rows aside)"));
        }
        let concerned = self.ctx.plan.concerned(origin.index, origin.unit);
        if !allowed {
            for lane in self.lanes.iter_mut().filter(|l| concerned.contains(&l.partition)) {
                lane.fail(&failure);
            }
        }
        self.unplaced.insert(key, Unplaced { partitions: concerned, allowed, rows: 1, failure });
        Ok(())
    }

    fn write(&mut self, rows: &RecordBatch, instants: &Int64Array) {
        let mut shard_rows = None;
        for ((lane, own), filtered) in self.lanes.iter_mut().zip(&self.routed.rows).zip(&self.routed.filtered) {
            lane.filtered_out += filtered;
            lane.rows += own.len() as u64;
            if own.is_empty() || !lane.is_open() {
                continue;
            }
            Progress::add(&self.ctx.progress.written_rows, own.len() as u64);
            let shard_rows =
                shard_rows.get_or_insert_with(|| project(rows, &self.ctx.projection, &self.ctx.layout.schema));
            lane.take(self.ctx, rows, shard_rows, own, instants);
        }
    }

    fn finish(self) -> Result<TaskOutcome, TaskEnd> {
        let expected = self.counts.source_rows + self.counts.visiting;
        let routed: u64 = self.lanes.iter().map(|l| l.rows + l.filtered_out).sum();
        let accounted =
            self.counts.rejected + self.counts.null_time + self.counts.outside_window + self.counts.elsewhere + routed;
        if expected != accounted {
            return Err(failed(
                ErrorCode::RowsNotConserved,
                format!("{expected} rows were read and {accounted} are accounted for; this is a bug"),
            ));
        }
        let rejects = self.rejects.finish().map_err(TaskEnd::Failed)?;
        let unplaced: Vec<Unplaced> = self.unplaced.into_values().collect();
        let mut partitions = Vec::new();
        for lane in self.lanes {
            let (partition, filtered_out) = (lane.partition, lane.filtered_out);
            let about = |allowed| unplaced.iter().filter(move |u| u.allowed == allowed).find_map(|u| u.of(partition));
            let Some(parts) = lane.finish(self.ctx) else { continue };
            let parts = about(false).map_or(parts, Err);
            partitions.push(PartitionOutcome { partition, filtered_out, parts, left_out: about(true) });
        }
        Ok(TaskOutcome { partitions, counts: self.counts, unplaced, rejects })
    }
}

/// A row for people; `None` where a type has no JSON form.
fn row_as_json(rows: &RecordBatch, row: u32) -> Option<Box<RawValue>> {
    let mut encoder = encode::start(&Format::Ndjson, Compression::None, rows.schema(), Vec::new()).ok()?;
    encoder.append(rows, &[row]).ok()?;
    RawValue::from_string(String::from_utf8(encoder.finish().ok()?).ok()?.trim_end().to_owned()).ok()
}

fn failed(code: ErrorCode, message: String) -> TaskEnd {
    TaskEnd::Failed(Failure { code, message })
}
