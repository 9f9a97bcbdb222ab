//! One chunk: its rows routed, filtered and encoded for the partitions of its task.

use std::ops::Range;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use serde_json::value::RawValue;
use std::sync::Arc;

use super::cells;
use super::lane::{Piece, project, write_failed};
use super::ledger::{Findings, Place};
use super::rejects::RejectLine;
use super::route::{Routed, apply};
use super::task::{Receiver, RunningTask};
use crate::encode::{Encoded, Encoder};
use crate::error::ErrorCode;
use crate::failure::{Failure, chain};
use crate::job::{Compression, Format, OnBad, Order};
use crate::progress::Progress;
use crate::source::instants::{Instants, instants};
use crate::source::{Batch, BatchReader};
use crate::time::BadTime;

/// Rows that are encoded at once: their bytes stay in a core's second-level cache until they are hashed and written.
/// Parquet gathers arrays instead, for which a whole batch is better.
const ENCODE_ROWS: usize = 512;

/// The same in bytes of arrays, for long rows.
const ENCODE_BYTES: usize = 2 << 20;

/// Works on a chunk to its end. `Err(None)`: stopped.
///
/// # Errors
/// Why the unit cannot be exported.
pub fn work<R: Receiver>(
    task: &RunningTask<'_, R>,
    number: u64,
    place: Place,
    partitions: &Range<u32>,
    batches: &mut dyn BatchReader,
) -> Result<Findings, Option<Failure>> {
    let mut worker = Worker {
        task,
        number,
        place,
        partitions,
        routed: Routed::default(),
        piece: Piece::Encoded(Encoded::default(), Vec::new()),
        every_row: Vec::new(),
        findings: Findings::default(),
    };
    while let Some(batch) = batches.next_batch().map_err(|e| Failure { code: e.code, message: e.to_string() })? {
        if task.ctx.stop.is_set() {
            return Err(None);
        }
        worker.batch(&batch)?;
    }
    Ok(worker.findings)
}

struct Worker<'a, 'b, R> {
    task: &'a RunningTask<'b, R>,
    /// Of the chunk.
    number: u64,
    place: Place,
    /// Where the unit's rows may lie.
    partitions: &'a Range<u32>,
    routed: Routed,
    /// Used again and again.
    piece: Piece,
    /// Numbers from 0 on, as many as were needed.
    every_row: Vec<u32>,
    findings: Findings,
}

impl<R: Receiver> Worker<'_, '_, R> {
    fn batch(&mut self, batch: &Batch) -> Result<(), Failure> {
        let ctx = self.task.ctx;
        let job = ctx.job;
        let file = &ctx.files[self.place.file as usize].name;
        cells::check(file, batch, ctx.memory)?;
        for reject in &batch.rejected {
            let raw = (!job.withholds_values()).then(|| String::from_utf8_lossy(&reject.raw));
            let line =
                RejectLine { file, position: reject.position, error: &reject.error, raw: raw.as_deref(), row: None };
            self.findings.leave_out(ctx.plan, job.on_bad_rows, ErrorCode::BadRows, self.place, &line)?;
        }
        let Some((i, field)) = batch.rows.schema_ref().column_with_name(&job.time.column.value) else {
            let message = format!("{file}: the time column was not read");
            return Err(Failure { code: ErrorCode::Internal, message });
        };
        let Instants { values, ambiguous, bad } = instants(field, batch.rows.column(i), &ctx.times, ctx.layout.unit)
            .map_err(|why| Failure { code: ErrorCode::SchemaMismatch, message: format!("{file}: {why}") })?;
        self.task.router.place(&values, &mut self.routed);
        self.check_bounds(batch)?;
        let counts = &mut self.findings.counts;
        if self.place.owner {
            let rejected = batch.rejected.len() as u64;
            counts.source_rows += rejected + batch.outside + batch.rows.num_rows() as u64;
            counts.rejected += rejected + bad.len() as u64;
            counts.ambiguous_time += ambiguous;
            counts.outside_window += batch.outside + self.routed.outside;
            counts.elsewhere += self.routed.elsewhere;
            counts.null_time += (self.routed.without_time.len() - bad.len()) as u64;
        } else {
            counts.visiting += self.routed.rows.iter().map(|r| r.len() as u64).sum::<u64>();
        }
        self.leave_out_unplaced(batch, &bad)?;
        if let (Some(predicate), false) = (ctx.predicate, self.routed.is_empty()) {
            let selection = predicate.evaluate(&batch.rows).map_err(|e| {
                // The causes may quote values.
                let why = if job.withholds_values() { e.to_string() } else { chain(&e) };
                let message = format!("{file}: {why}");
                Failure { code: ErrorCode::QueryFailed, message }
            })?;
            apply(&selection, predicate.tests(), &mut self.routed);
        }
        self.write(&batch.rows, &values)?;
        self.tell(batch.outside + batch.rows.num_rows() as u64);
        Ok(())
    }

    /// The plan rests on the bounds that the file gives for the times of its units. A row beyond them would belong to a
    /// partition that may be finished already.
    fn check_bounds(&self, batch: &Batch) -> Result<(), Failure> {
        for (lane, rows) in self.task.lanes.iter().zip(&self.routed.rows) {
            if let Some(row) = rows.first().filter(|_| !self.partitions.contains(&lane.partition)) {
                let Place { file, unit, .. } = self.place;
                let message = format!(
                    "{}:{}: the time lies outside the bounds that were found for unit {unit} when the source was \
                     inspected; its statistics are wrong, or the file is damaged: write it again",
                    self.task.ctx.files[file as usize].name,
                    batch.positions.of(*row),
                );
                return Err(Failure { code: ErrorCode::SourceUnreadable, message });
            }
        }
        Ok(())
    }

    /// Bytes are told in proportion to rows: what a reader has fetched ahead says little.
    fn tell(&self, rows: u64) {
        let ctx = self.task.ctx;
        let unit = &ctx.plan.files[self.place.file as usize].units[self.place.unit as usize];
        let bytes = u128::from(unit.bytes) * u128::from(rows) / u128::from(unit.rows.max(1));
        Progress::add(&ctx.progress.read_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
        Progress::add(&ctx.progress.read_rows, rows);
    }

    /// Rows whose time is null, or not a time.
    fn leave_out_unplaced(&mut self, batch: &Batch, bad: &[(u32, BadTime)]) -> Result<(), Failure> {
        let ctx = self.task.ctx;
        let job = ctx.job;
        let no_time = format!("no time in `{}`", job.time.column.value);
        for row in &self.routed.without_time {
            let bad_time = bad.iter().find(|(r, _)| r == row).map(|(_, e)| match job.withholds_values() {
                true => format!("the value in `{}` is not a time; it is withheld", job.time.column.value),
                false => e.to_string(),
            });
            let (policy, code) = match bad_time {
                Some(_) => (job.on_bad_rows, ErrorCode::BadRows),
                None => (job.on_null_time, ErrorCode::NullTime),
            };
            let is_told = self.place.owner && policy == OnBad::Reject && !job.withholds_values();
            let as_read = is_told.then(|| row_as_json(&batch.rows, *row)).flatten();
            let line = RejectLine {
                file: &ctx.files[self.place.file as usize].name,
                position: batch.positions.of(*row),
                error: bad_time.as_deref().unwrap_or(&no_time),
                raw: None,
                row: as_read.as_deref(),
            };
            self.findings.leave_out(ctx.plan, policy, code, self.place, &line)?;
        }
        Ok(())
    }

    fn write(&mut self, rows: &RecordBatch, instants: &Int64Array) -> Result<(), Failure> {
        let ctx = self.task.ctx;
        let mut shard_rows = None;
        for ((lane, own), filtered) in self.task.lanes.iter().zip(&self.routed.rows).zip(&self.routed.filtered) {
            if own.is_empty() && filtered.iter().all(|rows| *rows == 0) {
                continue;
            }
            let is_wanted = lane.count(own.len() as u64, filtered);
            if own.is_empty() || !is_wanted {
                continue;
            }
            Progress::add(&ctx.progress.written_rows, own.len() as u64);
            if ctx.job.order == Order::Time {
                let mut piece = Piece::unsorted(rows, instants, own)?;
                self.task.put(lane, self.number, &mut piece);
                continue;
            }
            let shard_rows = match &shard_rows {
                Some(rows) => rows,
                None => shard_rows.insert(project(rows, &ctx.projection, ctx.projected_schema())?),
            };
            let redacted = match &ctx.redacting {
                None => None,
                Some(redacting) => {
                    let mut counts = Vec::new();
                    let rows = redacting.rows(shard_rows, own, &mut counts)?;
                    lane.count_redacted(&counts);
                    self.every_row.extend((0u32..).take(own.len()).skip(self.every_row.len()));
                    Some(rows)
                }
            };
            // Of redacted rows there are none but the lane's own.
            let (shard_rows, picked) = match &redacted {
                Some(redacted) => (redacted, self.every_row.get(..own.len()).unwrap_or_default()),
                None => (shard_rows, own.as_slice()),
            };
            let step = if ctx.job.format == Format::Parquet { own.len() } else { encode_rows(rows) };
            for (own, picked) in own.chunks(step).zip(picked.chunks(step)) {
                if let Piece::Encoded(encoded, times) = &mut self.piece {
                    ctx.layout.encoder.encode(shard_rows, picked, encoded).map_err(|e| write_failed(&e))?;
                    times.clear();
                    times.extend(own.iter().map(|row| instants.value(*row as usize)));
                }
                self.task.put(lane, self.number, &mut self.piece);
            }
        }
        Ok(())
    }
}

/// Fewer rows at once where they are long.
fn encode_rows(rows: &RecordBatch) -> usize {
    let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
    (ENCODE_BYTES / row_bytes.max(1)).clamp(1, ENCODE_ROWS)
}

/// A row for people; `None` where a type has no JSON form.
fn row_as_json(rows: &RecordBatch, row: u32) -> Option<Box<RawValue>> {
    let encoder = Arc::new(Encoder::new(&Format::Ndjson, Compression::None, rows.schema()).ok()?);
    let mut encoded = Encoded::default();
    encoder.encode(rows, &[row], &mut encoded).ok()?;
    let mut line = encoder.start(Vec::new());
    line.append(&encoded, 0..1).ok()?;
    RawValue::from_string(String::from_utf8(line.finish().ok()?).ok()?.trim_end().to_owned()).ok()
}
