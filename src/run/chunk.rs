//! Processes one chunk: routes, filters, redacts and encodes its rows for the partitions of its task.

use std::error::Error;
use std::ops::Range;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use serde_json::value::RawValue;
use std::sync::Arc;

use super::cells;
use super::ledger::{ChunkFindings, UnitRef};
use super::partition_sink::{ChunkRows, project, write_failed};
use super::rejects::RejectLine;
use super::route::{Routed, apply};
use super::task::{ResultHandler, RunningTask};
use crate::encode::{Encoded, Encoder};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{Compression, Format, OnBad, Order};
use crate::progress::Progress;
use crate::source::instants::{Instants, instants};
use crate::source::{Batch, BatchReader};
use crate::time::{BadTime, suggest};

/// Maximum number of rows encoded at once, so that their bytes stay in a core's second-level cache until they are hashed
/// and written. Parquet gathers arrays instead, for which a whole batch is better.
const ENCODE_ROWS: usize = 512;

/// The same limit in bytes of arrays, for long rows.
const ENCODE_BYTES: usize = 2 << 20;

/// Processes a chunk to its end.
///
/// # Errors
/// Why the unit cannot be exported; `None` if the run was stopped.
pub(super) fn process<R: ResultHandler>(
    task: &RunningTask<'_, R>,
    number: u64,
    unit: UnitRef,
    partitions: &Range<u32>,
    batches: &mut dyn BatchReader,
) -> Result<ChunkFindings, Option<Failure>> {
    let mut worker = Worker {
        task,
        number,
        unit,
        partitions,
        routed: Routed::default(),
        payload: ChunkRows::Encoded(Encoded::default(), Vec::new()),
        every_row: Vec::new(),
        findings: ChunkFindings::default(),
    };
    while let Some(batch) = batches.next_batch().map_err(Failure::from)? {
        if task.ctx.stop.is_set() {
            return Err(None);
        }
        worker.batch(&batch)?;
    }
    Ok(worker.findings)
}

struct Worker<'a, 'b, R> {
    task: &'a RunningTask<'b, R>,
    /// The chunk's number.
    number: u64,
    unit: UnitRef,
    /// Partitions that the unit may have rows for.
    partitions: &'a Range<u32>,
    routed: Routed,
    /// A reused buffer.
    payload: ChunkRows,
    /// The indexes 0, 1, 2, …, as many as were needed so far.
    every_row: Vec<u32>,
    findings: ChunkFindings,
}

impl<R: ResultHandler> Worker<'_, '_, R> {
    fn batch(&mut self, batch: &Batch) -> Result<(), Failure> {
        let ctx = self.task.ctx;
        let job = ctx.job;
        let file = ctx.input(self.unit.input).name();
        cells::check(file, batch, ctx.memory)?;
        for reject in &batch.rejected {
            let raw = (!job.withholds_rejected_rows()).then(|| String::from_utf8_lossy(&reject.raw));
            let line =
                RejectLine { file, position: reject.position, error: &reject.error, raw: raw.as_deref(), row: None };
            self.findings.add_unplaced(ctx.plan, job.on_bad_rows, ErrorCode::BadRows, self.unit, &line, line.error)?;
        }
        let Some((i, field)) = batch.rows.schema_ref().column_with_name(&job.time.column.value) else {
            return Err(Failure::new(ErrorCode::Internal, "the time column was not read").at_input(file, None));
        };
        let Instants { values, ambiguous, bad } = instants(field, batch.rows.column(i), &ctx.times, ctx.layout.unit)
            .map_err(|why| Failure::new(ErrorCode::SchemaMismatch, why.to_string()).at_input(file, None))?;
        self.task.router.place(&values, &mut self.routed);
        self.check_bounds(batch)?;
        let counts = &mut self.findings.counts;
        if self.unit.owner {
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
        self.add_rows_without_time(batch, &bad)?;
        if let (Some(predicate), false) = (ctx.predicate, self.routed.is_empty()) {
            let selection = predicate.evaluate(&batch.rows).map_err(|e| {
                // The file is named and not blamed: it could be read.
                let failure = Failure::new(e.code(), format!("{file}: {e}"));
                match e.source() {
                    // The causes may quote values.
                    Some(cause) if !job.withholds_values() => failure.caused_by(cause),
                    _ => failure,
                }
            })?;
            apply(&selection, predicate.tests(), &mut self.routed);
        }
        self.write(&batch.rows, &values)?;
        self.report_progress(batch.outside + batch.rows.num_rows() as u64);
        Ok(())
    }

    /// Checks that the rows lie within the time bounds that the plan assumed for the unit. A row outside them may belong to
    /// a partition that is already finished.
    fn check_bounds(&self, batch: &Batch) -> Result<(), Failure> {
        for (sink, rows) in self.task.sinks.iter().zip(&self.routed.rows) {
            if let Some(row) = rows.first().filter(|_| !self.partitions.contains(&sink.partition)) {
                let UnitRef { input, unit, .. } = self.unit;
                let message = format!(
                    "the time lies outside the bounds that were found for unit {unit} when the source was \
                     inspected; its statistics are wrong, or the file is damaged: write it again"
                );
                let name = self.task.ctx.input(input).name();
                return Err(Failure::new(ErrorCode::SourceUnreadable, message).at_input(name, batch.positions.of(*row)));
            }
        }
        Ok(())
    }

    /// Reports bytes in proportion to rows, because readers fetch ahead by varying amounts.
    fn report_progress(&self, rows: u64) {
        let ctx = self.task.ctx;
        let unit = &ctx.plan.inputs[self.unit.input as usize].units[self.unit.unit as usize];
        if let Some(all) = unit.rows {
            let bytes = u128::from(unit.bytes) * u128::from(rows) / u128::from(all.max(1));
            Progress::add(&ctx.progress.read_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        Progress::add(&ctx.progress.read_rows, rows);
    }

    /// Records the rows whose time is null or invalid.
    fn add_rows_without_time(&mut self, batch: &Batch, bad: &[(u32, BadTime)]) -> Result<(), Failure> {
        let ctx = self.task.ctx;
        let job = ctx.job;
        let no_time = format!("no time in `{}`", job.time.column.value);
        let mut suggestion = None;
        let withheld = format!("the value in `{}` is not a time; it is withheld", job.time.column.value);
        for row in &self.routed.without_time {
            let bad_time = bad.iter().find(|(r, _)| r == row).map(|(_, bad)| {
                // Of the first one, because the others are most likely alike.
                match suggestion.get_or_insert_with(|| suggest::suggestion(&bad.value)) {
                    Some(suggestion) => format!("{bad}; {suggestion}"),
                    None => bad.to_string(),
                }
            });
            let (policy, code) = match bad_time {
                Some(_) => (job.on_bad_rows, ErrorCode::BadRows),
                None => (job.on_null_time, ErrorCode::NullTime),
            };
            let is_shown = self.unit.owner && policy == OnBad::Reject && !job.withholds_rejected_rows();
            let position = batch.positions.of(*row).ok_or_else(|| {
                let message = format!("row {row} of a batch has no position; this is a bug in kt-export");
                Failure::new(ErrorCode::Internal, message).at_input(ctx.input(self.unit.input).name(), None::<u64>)
            })?;
            let as_read = is_shown.then(|| row_as_json(&batch.rows, *row)).flatten();
            let error = |is_withheld: bool| match &bad_time {
                None => no_time.as_str(),
                Some(_) if is_withheld => withheld.as_str(),
                Some(bad_time) => bad_time.as_str(),
            };
            let line = RejectLine {
                file: ctx.input(self.unit.input).name(),
                position,
                error: error(job.withholds_rejected_rows()),
                raw: None,
                row: as_read.as_deref(),
            };
            let message = error(job.withholds_values());
            self.findings.add_unplaced(ctx.plan, policy, code, self.unit, &line, message)?;
        }
        Ok(())
    }

    fn write(&mut self, rows: &RecordBatch, instants: &Int64Array) -> Result<(), Failure> {
        let ctx = self.task.ctx;
        let mut shard_rows = None;
        for ((sink, own), filtered) in self.task.sinks.iter().zip(&self.routed.rows).zip(&self.routed.filtered) {
            if own.is_empty() && filtered.iter().all(|rows| *rows == 0) {
                continue;
            }
            let is_wanted = sink.count(own.len() as u64, filtered);
            if own.is_empty() || !is_wanted {
                continue;
            }
            Progress::add(&ctx.progress.written_rows, own.len() as u64);
            if ctx.job.order == Order::Time {
                let mut payload = ChunkRows::unsorted(rows, instants, own)?;
                self.task.put(sink, self.number, &mut payload);
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
                    sink.count_redacted(&counts);
                    self.every_row.extend((0u32..).take(own.len()).skip(self.every_row.len()));
                    Some(rows)
                }
            };
            // The redacted batch has only this sink's rows.
            let (shard_rows, picked) = match &redacted {
                Some(redacted) => (redacted, self.every_row.get(..own.len()).unwrap_or_default()),
                None => (shard_rows, own.as_slice()),
            };
            let step = if ctx.layout.encoder.is_columnar() { own.len() } else { encode_rows(rows) };
            for (own, picked) in own.chunks(step).zip(picked.chunks(step)) {
                if let ChunkRows::Encoded(encoded, times) = &mut self.payload {
                    ctx.layout.encoder.encode(shard_rows, picked, encoded).map_err(|e| write_failed(&e))?;
                    times.clear();
                    times.extend(own.iter().map(|row| instants.value(*row as usize)));
                }
                self.task.put(sink, self.number, &mut self.payload);
            }
        }
        Ok(())
    }
}

/// Number of rows to encode at once: fewer if the rows are long.
fn encode_rows(rows: &RecordBatch) -> usize {
    let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
    (ENCODE_BYTES / row_bytes.max(1)).clamp(1, ENCODE_ROWS)
}

/// A row as JSON, for the rejects file; `None` if a type has no JSON form.
fn row_as_json(rows: &RecordBatch, row: u32) -> Option<Box<RawValue>> {
    let encoder = Arc::new(Encoder::new(&Format::NDJSON, Compression::None, rows.schema()).ok()?);
    let mut encoded = Encoded::default();
    encoder.encode(rows, &[row], &mut encoded).ok()?;
    let mut line = encoder.start(Vec::new());
    line.append(&encoded, 0..1).ok()?;
    RawValue::from_string(String::from_utf8(line.finish().ok()?).ok()?.trim_end().to_owned()).ok()
}
