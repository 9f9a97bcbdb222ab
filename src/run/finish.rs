//! The end of a run: rows are balanced, leftovers removed, the manifest written, and then what derives from it.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, TimeUnit};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::package::{Package, without_shard};
use super::prepare::Prepared;
use super::record::{PartitionRecord, TaskRecord, load, partition_record, task_key, task_record};
use super::shard::Layout;
use super::task::Failure;
use super::tasks::Tally;
use super::{RunError, RunOptions, RunOutcome};
use crate::error::ErrorCode;
use crate::job::{Job, OnPartitionError};
use crate::manifest::{
    self, Accounting, Column, FileEntry, FileStatus, JobStatus, MANIFEST, MANIFEST_VERSION, Manifest, RejectsEntry,
    RunRecord, SHA256SUMS, SourceFileError, SourceFileRecord, SourceRecord, SpecRecord, ToolRecord, Totals,
};
use crate::source::is_json;
use crate::store::{Folder, StoreError, Swap};

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
    let at = (options.clock)();
    let files = entries(job, options, package, prepared, tally, at);
    let rejects: Vec<RejectsEntry> = tally.records.values().filter_map(|r| r.rejects.clone()).collect();
    let status = status(job, &files, tally);
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
            sha256: hex(job.spec_source.text.as_bytes()),
            git_commit: options.git_commit.clone(),
            resolved: job.canonical.clone(),
        },
        source: source(job, package, tally),
        accounting,
        files,
        rejects,
        encryption: None,
        expectations: None,
        previous: None,
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
    if let Some(previous) = &package.previous
        && (previous.status == JobStatus::Complete || tells_the_same(previous, &manifest))
    {
        return keep(job, package, previous, &manifest);
    }
    clean(package, &manifest)?;
    write(job, package, manifest, run)
}

/// What an earlier run wrote stands: a repaired package, or a job of which nothing could be made better.
fn keep(job: &Job, package: &Package, previous: &Manifest, new: &Manifest) -> Result<RunOutcome, RunError> {
    let digests = |m: &Manifest| m.digests().map(|(n, d)| (n.to_owned(), d.to_owned())).collect::<Vec<_>>();
    let differing: Vec<_> = digests(previous).into_iter().filter(|d| !digests(new).contains(d)).collect();
    if let Some((path, _)) = differing.first() {
        return Err(RunError::Failed(Failure {
            code: ErrorCode::PackageDamaged,
            message: format!(
                "{path} was exported again and is not what the manifest says: the source has changed since the package was complete"
            ),
        }));
    }
    clean(package, previous)?;
    complete_derived(&package.folder, previous)?;
    Ok(RunOutcome { manifest: previous.clone(), package: job.output.clone(), unchanged: true })
}

/// Whether two manifests differ only in when they were made and how often it was tried.
fn tells_the_same(previous: &Manifest, new: &Manifest) -> bool {
    let timeless = |m: &Manifest| {
        let mut m = m.clone();
        let epoch = Timestamp::UNIX_EPOCH;
        (m.created_at, m.started_at, m.finalized_at, m.expires_at) = (epoch, epoch, epoch, None);
        m.runs.clear();
        for file in &mut m.files {
            (file.attempts, file.started_at, file.finalized_at) = (0, None, None);
        }
        m
    };
    timeless(previous) == timeless(new)
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
    let layout = Layout::new(job, prepared.output_schema.clone(), prepared.unit, options.clock.clone());
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
    for counts in tally.records.values().map(|r| &r.counts) {
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
        mtime: Some(file.modified),
        etag: None,
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
    SourceRecord { uri: job.source.uri.value.clone(), files: read.chain(skipped).collect() }
}

/// Removes what is below `data/` and `rejects/` and not in the manifest: dead runs' files. What a record names stays:
/// another run has just committed it, and may have written a manifest that names it.
fn clean(package: &Package, manifest: &Manifest) -> Result<(), RunError> {
    let folder = &package.folder;
    let listed: BTreeSet<&str> = manifest.digests().map(|(name, _)| name).collect();
    let mut unlisted = folder.list("data/")?;
    unlisted.extend(folder.list("rejects/")?);
    unlisted.retain(|there| !listed.contains(there.name.as_str()));
    if unlisted.is_empty() {
        return Ok(());
    }
    let recorded = recorded(package)?;
    for there in unlisted.iter().filter(|there| !recorded.contains(&there.name)) {
        tracing::info!("removing {}, which no run committed", there.name);
        folder.remove(&there.name)?;
    }
    Ok(())
}

/// Files that records of the plan's partitions and tasks name.
fn recorded(package: &Package) -> Result<BTreeSet<String>, RunError> {
    let Package { folder, pinned, .. } = package;
    let mut names = BTreeSet::new();
    for partition in &pinned.plan.partitions {
        let record: Option<PartitionRecord> = load(folder, &partition_record(&partition.label))?;
        names.extend(record.into_iter().flat_map(|r| r.files).map(|f| f.path));
    }
    for task in &pinned.plan.tasks {
        let key = task_key(task, &pinned.files, &pinned.plan.partitions);
        let record: Option<TaskRecord> = load(folder, &task_record(&key))?;
        names.extend(record.and_then(|r| r.rejects).map(|r| r.path));
    }
    Ok(names)
}

/// Compare-and-swap: of several runs that end at once one writes the manifest, and a complete one stays.
fn write(job: &Job, package: &Package, mut manifest: Manifest, run: RunRecord) -> Result<RunOutcome, RunError> {
    let folder = &package.folder;
    let mut previous = package.previous.clone();
    loop {
        manifest.runs = previous.iter().flat_map(|m| m.runs.clone()).chain([run.clone()]).collect();
        let bytes = manifest.to_json_bytes();
        let expected = previous.as_ref().map(|m| hex(&m.to_json_bytes()));
        let kept = expected.as_deref().map(|digest| format!("_state/manifests/{}.json", &digest[..16]));
        if folder.replace_bytes_if(MANIFEST, expected.as_deref(), &bytes, kept.as_deref())? == Swap::Replaced {
            complete_derived(folder, &manifest)?;
            if manifest.status == JobStatus::Complete {
                folder.remove_drafts()?;
            }
            return Ok(RunOutcome { manifest, package: job.output.clone(), unchanged: false });
        }
        folder.settle(MANIFEST)?;
        let theirs = folder.read(MANIFEST)?.and_then(|bytes| Manifest::from_json(&bytes).ok());
        match theirs {
            Some(theirs) if theirs.id == manifest.id && is_as_good(&theirs, &manifest) => {
                complete_derived(folder, &theirs)?;
                return Ok(RunOutcome { manifest: theirs, package: job.output.clone(), unchanged: true });
            }
            Some(theirs) if theirs.id == manifest.id => previous = Some(theirs),
            _ => {
                let message = format!("{MANIFEST} was replaced by something else while this run ended");
                return Err(RunError::Failed(Failure { code: ErrorCode::PackageOccupied, message }));
            }
        }
    }
}

fn is_as_good(theirs: &Manifest, ours: &Manifest) -> bool {
    let usable = |m: &Manifest| m.files.iter().filter(|f| f.status.has_file()).count();
    theirs.status == JobStatus::Complete || usable(theirs) >= usable(ours)
}

/// Writes what derives from the manifest, where it is not there yet.
///
/// # Errors
/// The store's.
pub fn complete_derived(folder: &Folder, manifest: &Manifest) -> Result<(), StoreError> {
    let Some(bytes) = folder.read(MANIFEST)? else { return Ok(()) };
    let sums = manifest.sha256sums(&hex(&bytes));
    if folder.read(SHA256SUMS)?.as_deref() != Some(sums.as_bytes()) {
        folder.replace_bytes(SHA256SUMS, sums.as_bytes())?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// A column in the words of a catalog's `schema`, as far as those go.
fn column(field: &Field) -> Column {
    Column { name: field.name().clone(), type_name: type_name(field), nullable: field.is_nullable(), redaction: None }
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
