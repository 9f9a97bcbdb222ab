//! Finishes a run: balances its row counts and builds its manifest.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use jiff::Timestamp;

use super::attempt::Attempt;
use super::observed_values::observed_values;
use super::open_package::{OpenPackage, without_shard};
use super::prepare::Prepared;
use super::publish;
use super::redacted;
use super::scheduler::Tally;
use super::shard::Layout;
use super::{RunError, RunOptions, RunOutcome, conservation, expectations};
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{Job, OnPartitionError};
use crate::logical::{is_json, is_number, uuid};
use crate::package::layout::Origin;
use crate::package::manifest::{
    self, Column, FileEntry, FileStatus, InputError, InputRecord, JobStatus, MANIFEST_VERSION, Manifest, NoRows,
    NoRowsReason, RejectsEntry, ResolvedSpec, RunRecord, SkipCode, SourceRecord, SpecRecord, ToolRecord, Totals,
};
use crate::redact::Keys;
use crate::source::Source;
use crate::time::zone;

/// Builds and publishes the manifest. `None` if another run changed the log in the meantime.
///
/// # Errors
/// [`RunError::Failed`] if row counts do not balance or the store fails.
#[expect(clippy::too_many_lines, reason = "most lines name the fields of a manifest")]
pub(super) fn finish(
    source: &dyn Source,
    job: &Job,
    options: &RunOptions,
    package: &OpenPackage,
    attempt: &Attempt,
    tally: &Tally,
    started_at: Timestamp,
) -> Result<Option<RunOutcome>, RunError> {
    let Attempt { prepared, secrets, .. } = attempt;
    // A retryable failure must not end the job.
    if let Some(failure) = tally.failures.values().find(|failure| failure.code().is_retryable()) {
        let missing = package.pinned.plan.partitions.len() - package.committed.len();
        return Err(RunError::Unfinished { failure: Box::new(failure.clone()), missing });
    }
    if package.is_repair {
        if let Some(failure) = tally.failures.values().chain(tally.record_failures.values()).next() {
            return Err(RunError::Failed(failure.clone()));
        }
        return publish::repaired(job, package, options).map(Some);
    }
    // Without a task's record its rows are not accounted for, even if every partition is committed.
    if let Some(failure) = tally.record_failures.values().next() {
        return Err(RunError::Failed(failure.clone()));
    }
    let at = (options.clock)();
    let files = entries(job, options, package, attempt, tally, at);
    let rejects: Vec<RejectsEntry> = tally.records.values().filter_map(|r| r.rejects.clone()).collect();
    let status = match status(job, &files, tally) {
        JobStatus::Complete => JobStatus::Complete,
        _ if options.stop.is_cancelled() => JobStatus::Cancelled,
        status => status,
    };
    let accounting = conservation::accounting(package, tally, &files, status)?;
    let filter_counts = conservation::sum_of_filter_counts(job, package.committed.values());
    let columns = columns(package, prepared, &secrets.keys);
    let rows_digest = job.rows_digest.then(|| manifest::rows_digest(&columns, &files)).flatten();
    let is_whole = files.iter().all(|file| file.status.has_file());
    let expectations = job.expectations.as_ref().filter(|_| is_whole);
    let expectations = expectations.map(|expected| expectations::evaluate(expected, &files, job.window.end));
    let is_disappointing = expectations.iter().flatten().any(|expectation| !expectation.holds);
    let status = if is_disappointing && status == JobStatus::Complete { JobStatus::Partial } else { status };
    let totals = Totals::of(&files);
    let resolved = ResolvedSpec::from(job.canonical.clone());
    let source_record = source_record(source, job, package, tally)?;
    let no_rows = NoRowsReason::of(totals.rows, &files, &source_record, &accounting).map(|reason| NoRows {
        reason,
        held: match reason {
            NoRowsReason::AllFilteredOut => {
                observed_values(source, job, package, prepared, &filter_counts, &options.stop)
            }
            NoRowsReason::NothingToRead
            | NoRowsReason::FilesWithoutRows
            | NoRowsReason::NoneInWindow
            | NoRowsReason::NonePlaced => Vec::new(),
        },
    });
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
    let earlier_runs = package.previous_manifest().map_or_else(Vec::new, |previous| previous.runs.clone());
    let manifest = Manifest {
        manifest_version: MANIFEST_VERSION,
        id: job.id.clone(),
        name: job.name.clone(),
        type_name: job.type_name.clone(),
        status,
        export_format: job.format.kind(),
        compression: job.compression.kind(),
        created_at: package.pinned.created_at,
        window_start: job.window.start,
        window_end: job.window.end,
        window_label: job.window.label.clone(),
        timezone: zone::name(&job.window.timezone),
        started_at,
        finalized_at: at,
        expires_at: job.expires_at(at).map_err(|error| Failure::internal(&error))?,
        total_rows: totals.rows,
        total_bytes: totals.bytes,
        partial_count: totals.partial,
        failed_count: totals.failed,
        error_code: is_disappointing.then_some(ErrorCode::ExpectationFailed),
        filters: resolved.filters().map_err(Failure::from)?.clone().into(),
        where_sql: job.recorded_where(),
        columns,
        dropped: prepared.redactor.as_ref().map_or_else(Vec::new, |redactor| redactor.dropped().to_vec()),
        spec: SpecRecord {
            path: options.spec_path.clone(),
            sha256: sha256(job.spec_source.text.as_bytes()),
            git_commit: options.git.as_ref().as_ref().and_then(|git| git.commit.clone()),
            git_dirty: options.git.as_ref().as_ref().map(|git| git.dirty),
            resolved,
        },
        source: source_record,
        accounting,
        filter_counts,
        rows_digest,
        no_rows,
        restatement: options.supersedes.as_ref().map(|s| s.restatement(&files)),
        files,
        rejects,
        encryption: secrets.sealing.record.clone(),
        expectations,
        // The chain assigns the link when the manifest is published.
        previous: None,
        link: None,
        signer: package.attestor.signer_record(),
        supersedes: options.supersedes.as_ref().map(|s| s.reference()),
        runs: earlier_runs.into_iter().chain([run]).collect(),
        tool: ToolRecord {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("KT_EXPORT_COMMIT").map(str::to_owned),
        },
    };
    publish::publish(job, package, options, manifest)
}

/// The manifest's entries: one per shard, or one per partition without a shard.
fn entries(
    job: &Job,
    options: &RunOptions,
    package: &OpenPackage,
    attempt: &Attempt,
    tally: &Tally,
    at: Timestamp,
) -> Vec<FileEntry> {
    let layout =
        Layout::new(job, attempt, options.clock.clone(), Origin { generation: package.generation(), run: None });
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

fn source_record(
    source: &dyn Source,
    job: &Job,
    package: &OpenPackage,
    tally: &Tally,
) -> Result<SourceRecord, Failure> {
    let pinned = &package.pinned;
    let broken = errors_by_input(pinned.failures.iter().flatten().chain(tally.failures.values()));
    let read = pinned.plan.inputs.iter().map(|planned| InputRecord {
        rows: planned.rows(),
        error: broken.get(planned.input.name()).cloned(),
        ..InputRecord::new(&planned.input)
    });
    let skipped = pinned.skipped.iter().map(InputRecord::skipped);
    let files: Vec<_> = read.chain(skipped).collect();
    let claimed = || pinned.skipped.iter().filter(|file| file.code == SkipCode::PathTime).count() as u64;
    Ok(SourceRecord {
        kind: Some(source.kind()),
        skipped_by_path_time: job.source.path_time.is_some().then(claimed),
        uri: job.source.uris.iter().map(|uri| uri.absolute.value.clone()).collect(),
        snapshot: pinned.snapshot.clone(),
        files_sha256: SourceRecord::digest_of_files(&files)?,
        files,
        drift: pinned.plan.drift.clone(),
        unexported_keys: pinned.plan.unexported_keys.clone(),
    })
}

/// The first failure of each input that one is about.
fn errors_by_input<'a>(failures: impl Iterator<Item = &'a Failure>) -> BTreeMap<&'a str, InputError> {
    let mut errors = BTreeMap::new();
    for failure in failures {
        if let Some(input) = failure.input() {
            let error = || InputError { code: failure.code(), message: failure.to_string() };
            errors.entry(input.name.as_str()).or_insert_with(error);
        }
    }
    errors
}

/// The columns of the shards, with their redactions in all committed partitions.
fn columns(package: &OpenPackage, prepared: &Prepared, keys: &Keys) -> Vec<Column> {
    let mut counts = Vec::new();
    package.committed.values().for_each(|record| redacted::add(&mut counts, &record.redacted));
    let mut redactions = prepared.redactor.as_ref().map_or_else(Vec::new, |r| r.attest(keys, &counts)).into_iter();
    let column = |field: &FieldRef| Column { redaction: redactions.next().unwrap_or_default(), ..column(field) };
    prepared.output_schema.fields().iter().map(column).collect()
}

/// A column, with its type as a catalog's `schema` would name it, if it can.
pub(crate) fn column(field: &Field) -> Column {
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
        _ if is_number(field) => "number".to_owned(),
        _ if uuid::is_uuid(field) => "uuid".to_owned(),
        // Dictionary encoding is a storage detail.
        DataType::Dictionary(_, values) => type_name(&Field::new(field.name(), values.as_ref().clone(), true)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_blamed_only_for_failures_that_are_about_it() {
        let query = Failure::new(ErrorCode::QueryFailed, "a.csv: the condition cannot be evaluated");
        let unreadable = Failure::new(ErrorCode::SourceUnreadable, "the file is truncated");
        let failures = [
            query,
            Failure::new(ErrorCode::WriteFailed, "cannot write x").caused_by(&std::io::Error::other("a.csv:1: full")),
            unreadable.clone().at_input("a.csv.gz", None),
            unreadable.clone().at_input("b.csv", 7),
            Failure::new(ErrorCode::BadRows, "expected 2 cells").at_input("b.csv", 9),
        ];
        let errors = errors_by_input(failures.iter());
        assert_eq!(errors.keys().copied().collect::<Vec<_>>(), ["a.csv.gz", "b.csv"]);
        let first =
            InputError { code: ErrorCode::SourceUnreadable, message: "b.csv:7: the file is truncated".to_owned() };
        assert_eq!(errors["b.csv"], first);
    }

    #[test]
    fn an_unfinished_run_says_what_is_missing() {
        let failure = Failure::new(ErrorCode::StoreThrottled, "the store refuses").at_input("a.csv", None);
        let error = RunError::Unfinished { failure: Box::new(failure), missing: 2 };
        assert_eq!(
            error.to_string(),
            "a.csv: the store refuses; 2 partitions are still missing, no manifest was written; run again to resume"
        );
        assert_eq!((error.exit(), error.code()), (crate::error::Exit::TryLater, Some(ErrorCode::StoreThrottled)));
    }
}
