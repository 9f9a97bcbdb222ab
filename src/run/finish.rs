//! The end of a run: its rows are balanced and told in a manifest.

use arrow::datatypes::{DataType, Field, TimeUnit};
use jiff::Timestamp;

use super::failure::Failure;
use super::package::{Package, without_shard};
use super::prepare::Prepared;
use super::publish;
use super::shard::Layout;
use super::tasks::Tally;
use super::{RunError, RunOptions, RunOutcome};
use crate::error::ErrorCode;
use crate::job::{Job, OnPartitionError};
use crate::manifest::{
    self, Accounting, Column, FileEntry, FileStatus, JobStatus, MANIFEST_VERSION, Manifest, RejectsEntry, RunRecord,
    SourceFileError, SourceFileRecord, SourceRecord, SpecRecord, ToolRecord, Totals,
};
use crate::plan::Read;
use crate::seal::sha256;
use crate::source::is_json;

/// Balances, cleans up and writes the manifest.
///
/// # Errors
/// [`RunError::Failed`] where rows do not balance or the store fails.
pub fn finish(
    job: &Job,
    options: &RunOptions,
    package: &Package,
    prepared: &Prepared,
    tally: &Tally,
    started_at: Timestamp,
) -> Result<RunOutcome, RunError> {
    // What may only have to wait must not look like an end.
    if let Some(failure) = tally.failures.values().find(|failure| failure.code.is_retryable()) {
        let missing = package.pinned.plan.partitions.len() - package.committed.len();
        let Failure { code, message } = failure.clone();
        let message =
            format!("{message}; {missing} partitions are still missing, no manifest was written, run again to go on");
        return Err(RunError::Failed(Failure { code, message }));
    }
    let at = (options.clock)();
    let files = entries(job, options, package, prepared, tally, at);
    let rejects: Vec<RejectsEntry> = tally.records.values().filter_map(|r| r.rejects.clone()).collect();
    let status = match status(job, &files, tally) {
        JobStatus::Complete => JobStatus::Complete,
        _ if options.stop.is_cancelled() => JobStatus::Cancelled,
        status => status,
    };
    let accounting = accounting(package, tally, &files, status)?;
    let mut manifest = Manifest {
        manifest_version: MANIFEST_VERSION,
        id: job.id.clone(),
        name: job.name.clone(),
        type_name: job.type_name.clone(),
        status,
        export_format: (&job.format).into(),
        compression: job.compression.into(),
        created_at: package.pinned.created_at,
        window_start: job.window.start,
        window_end: job.window.end,
        window_label: job.window.label.clone(),
        timezone: job.window.timezone.iana_name().unwrap_or("UTC").to_owned(),
        started_at,
        finalized_at: at,
        expires_at: job.retention.and_then(|r| at.checked_add(r).ok()),
        total_rows: 0,
        total_bytes: 0,
        partial_count: 0,
        failed_count: 0,
        error_code: None,
        filters: job.canonical.get("filters").cloned().unwrap_or_default(),
        where_sql: job.where_sql.as_ref().map(|w| w.value.clone()),
        columns: prepared.output_schema.fields().iter().map(|f| column(f)).collect(),
        spec: SpecRecord {
            path: options.spec_path.clone(),
            sha256: sha256(job.spec_source.text.as_bytes()),
            git_commit: (**options.git_commit).clone(),
            git_dirty: None,
            resolved: job.canonical.clone(),
        },
        source: source(job, package, tally),
        accounting,
        filter_counts: Vec::new(),
        rows_digest: None,
        files,
        rejects,
        encryption: None,
        expectations: None,
        previous: None,
        link: None,
        signer: None,
        supersedes: None,
        runs: Vec::new(),
        tool: ToolRecord {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("KT_EXPORT_COMMIT").map(str::to_owned),
        },
    };
    let totals = Totals::of(&manifest.files);
    manifest.total_rows = totals.rows;
    manifest.total_bytes = totals.bytes;
    manifest.partial_count = totals.partial;
    manifest.failed_count = totals.failed;
    let run = RunRecord {
        run_id: options.run_id.clone(),
        started_at,
        finished_at: Some(at),
        outcome: match status {
            JobStatus::Complete => manifest::RunOutcome::Complete,
            JobStatus::Partial => manifest::RunOutcome::Partial,
            JobStatus::Failed => manifest::RunOutcome::Failed,
            JobStatus::Cancelled => manifest::RunOutcome::Cancelled,
        },
    };
    publish::publish(job, package, manifest, run)
}

/// One entry a shard, or why there is none.
fn entries(
    job: &Job,
    options: &RunOptions,
    package: &Package,
    prepared: &Prepared,
    tally: &Tally,
    at: Timestamp,
) -> Vec<FileEntry> {
    let layout = Layout::new(job, prepared.encoder.clone(), prepared.unit, options.clock.clone(), None);
    let mut files = Vec::new();
    for (index, partition) in (0u32..).zip(&package.pinned.plan.partitions) {
        if let Some(record) = package.committed.get(&index) {
            files.extend(record.files.iter().cloned());
            continue;
        }
        let failure = tally.failures.get(&index);
        let status = if failure.is_some() { FileStatus::Failed } else { FileStatus::Pending };
        let attempts = package.earlier_attempts(&partition.label) + u32::from(failure.is_some());
        let path = layout.part_name(&partition.label, 0);
        files.push(without_shard(&package.pinned, index, path, status, failure, attempts, at));
    }
    files
}

fn status(job: &Job, files: &[FileEntry], tally: &Tally) -> JobStatus {
    let stopped = job.on_partition_error == OnPartitionError::Stop && !tally.failures.is_empty();
    if files.iter().all(|f| f.status == FileStatus::Complete) && tally.failures.is_empty() {
        JobStatus::Complete
    } else if stopped || !files.iter().any(|f| f.status.has_file()) {
        JobStatus::Failed
    } else {
        JobStatus::Partial
    }
}

/// Adds up what every task and every partition counted. Where every partition has its shards, the sum must be the
/// rows of the source; else the rows of failed partitions are what is missing to it.
fn accounting(
    package: &Package,
    tally: &Tally,
    files: &[FileEntry],
    status: JobStatus,
) -> Result<Accounting, RunError> {
    let outside = package.pinned.outside_rows;
    let mut sum = Accounting { source_rows: outside, outside_window: outside, ..Accounting::default() };
    let (mut elsewhere, mut visiting) = (0, 0);
    for (index, task) in package.pinned.plan.tasks.iter().enumerate() {
        let Some(counts) = tally.records.get(&index).map(|r| &r.counts) else {
            // Not read to its end: its rows are those that were found when the source was inspected.
            sum.source_rows += task.reads.iter().filter(|r| r.owner).map(|r| planned_rows(package, r)).sum::<u64>();
            continue;
        };
        sum.source_rows += counts.source_rows;
        sum.outside_window += counts.outside_window;
        sum.null_time += counts.null_time;
        sum.rejected += counts.rejected;
        sum.ambiguous_time += counts.ambiguous_time;
        elsewhere += counts.elsewhere;
        visiting += counts.visiting;
    }
    sum.filtered_out = package.committed.values().map(|r| r.filtered_out).sum();
    sum.written = files.iter().map(|f| f.rows).sum();
    let whole = status == JobStatus::Complete || files.iter().all(|f| f.status.has_file());
    if whole && (u128::from(sum.source_rows) != sum.accounted_rows() || elsewhere != visiting) {
        return Err(RunError::Failed(Failure {
            code: ErrorCode::RowsNotConserved,
            message: format!(
                "the source has {} rows and {} are accounted for ({visiting} of {elsewhere} handed to other tasks); \
                 no manifest was written; this is a bug",
                sum.source_rows,
                sum.accounted_rows()
            ),
        }));
    }
    Ok(sum)
}

/// Rows of a unit as it was planned.
fn planned_rows(package: &Package, read: &Read) -> u64 {
    let file = package.pinned.plan.files.get(read.file as usize);
    file.and_then(|f| f.units.get(read.unit as usize)).map_or(0, |unit| unit.rows)
}

fn source(job: &Job, package: &Package, tally: &Tally) -> SourceRecord {
    let pinned = &package.pinned;
    let broken = |name: &str| {
        let prefix = format!("{name}:");
        let failures = pinned.failures.iter().flatten().chain(tally.failures.values());
        failures
            .into_iter()
            .find(|f| f.message.starts_with(&prefix))
            .map(|f| SourceFileError { code: f.code, message: f.message.clone() })
    };
    let read = pinned.files.iter().zip(&pinned.file_rows).map(|(file, rows)| SourceFileRecord {
        path: file.name.clone(),
        bytes: file.bytes,
        mtime: file.etag.is_none().then_some(file.modified),
        etag: file.etag.clone(),
        rows: *rows,
        skipped: None,
        error: broken(&file.name),
    });
    let skipped = pinned.skipped.iter().map(|file| SourceFileRecord {
        path: file.name.clone(),
        bytes: file.bytes,
        mtime: None,
        etag: None,
        rows: None,
        skipped: Some(file.reason.clone()),
        error: None,
    });
    SourceRecord {
        uri: job.source.uri.value.clone(),
        files: read.chain(skipped).collect(),
        drift: pinned.plan.drift.clone(),
    }
}

/// A column in the words of a catalog's `schema`, as far as those go.
fn column(field: &Field) -> Column {
    Column {
        name: field.name().clone(),
        type_name: type_name(field),
        nullable: field.is_nullable(),
        redaction: Vec::new(),
    }
}

fn type_name(field: &Field) -> String {
    match field.data_type() {
        _ if is_json(field) => "json".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            format!("decimal({p},{s})")
        }
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "us",
                TimeUnit::Nanosecond => "ns",
            };
            zone.as_ref().map_or(format!("timestamp({unit})"), |zone| format!("timestamp({unit},{zone})"))
        }
        DataType::List(item) | DataType::LargeList(item) => format!("list<{}>", type_name(item)),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name(), type_name(f))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}
