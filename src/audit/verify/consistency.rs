//! Checks that the manifest is consistent in itself.
//!
//! A pure function of the manifest. Its numbers are untrusted, so sums use wider integers.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{Check, VerifyReport, evidence, implied, redactions, times};
use crate::failure::chain;
use crate::package::layout::{DATA, MANIFEST, REJECTS};
use crate::package::manifest::{FileEntry, FileStatus, JobStatus, Manifest, Totals};
use crate::resolve;
use crate::store::check_name;

pub(super) fn check(manifest: &Manifest, now: Timestamp, report: &mut VerifyReport) {
    job_id(manifest, report);
    names(manifest, report);
    redactions::check(manifest, report);
    report.done(Check::Manifest, "manifest.json is a version 1 manifest, and its job id matches its spec");
    implied::check(manifest, report);
    totals(manifest, report);
    report.done(Check::Totals, "total_rows, total_bytes, partial_count and failed_count are the sums over the files");
    conservation(manifest, report);
    window(manifest, report);
    statuses(manifest, report);
    times::check(manifest, now, report);
    evidence::check(manifest, report);
    report.done(Check::Statuses, "the job's status follows from those of its files");
}

fn job_id(manifest: &Manifest, report: &mut VerifyReport) {
    let message = match resolve::job_id(&manifest.spec.resolved) {
        Ok(id) if id == manifest.id => return,
        Ok(id) => format!("`id` is {}, but the job in `spec.resolved` has the id {id}", manifest.id),
        Err(error) => chain(&error),
    };
    report.find(Check::Manifest, Some(MANIFEST), message);
}

/// Paths must stay inside the package, and digests must be well-formed.
fn names(manifest: &Manifest, report: &mut VerifyReport) {
    let mut seen = HashSet::new();
    let shards = manifest.files.iter().map(|file| (&file.path, DATA, file.sha256.as_ref()));
    let rejects = manifest.rejects.iter().map(|file| (&file.path, REJECTS, Some(&file.sha256)));
    for (path, folder, sha256) in shards.chain(rejects) {
        let mut find = |message: String| report.find(Check::Manifest, Some(path), message);
        if let Err(error) = check_name(path) {
            find(error.to_string());
        } else if !path.starts_with(folder) {
            find(format!("is listed, but is not below {folder}"));
        }
        if !seen.insert(path) {
            find("is listed more than once".to_owned());
        }
        let is_digest =
            |text: &String| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if sha256.is_some_and(|text| !is_digest(text)) {
            find("its `sha256` is not 64 lower-case hexadecimal digits".to_owned());
        }
    }
}

fn totals(manifest: &Manifest, report: &mut VerifyReport) {
    let sums = Totals::of(&manifest.files);
    let pairs = [
        ("total_rows", manifest.total_rows, sums.rows),
        ("total_bytes", manifest.total_bytes, sums.bytes),
        ("partial_count", manifest.partial_count, sums.partial),
        ("failed_count", manifest.failed_count, sums.failed),
    ];
    for (field, stated, sum) in pairs {
        if stated != sum {
            report.find(Check::Totals, Some(MANIFEST), format!("`{field}` is {stated}, but its files give {sum}"));
        }
    }
}

fn conservation(manifest: &Manifest, report: &mut VerifyReport) {
    let accounting = &manifest.accounting;
    let mut find = |message: String| report.find(Check::Conservation, Some(MANIFEST), message);
    let shard_rows = Totals::of(&manifest.files).rows;
    if accounting.written != shard_rows {
        find(format!("`accounting.written` is {}, but the files have {shard_rows} rows", accounting.written));
    }
    let (source, accounted) = (u128::from(accounting.source_rows), accounting.accounted_rows());
    let unaccounted = source.saturating_sub(accounted);
    let every_partition_is_there = manifest.files.iter().all(|file| file.status.has_file());
    // Rows of a failed partition are in no shard, and the number that filters would have excluded is unknown.
    if accounted > source || (unaccounted > 0 && every_partition_is_there) {
        find(format!(
            "{source} source rows, but rejected {} + null_time {} + outside_window {} + filtered_out {} + written {} = {accounted}",
            accounting.rejected,
            accounting.null_time,
            accounting.outside_window,
            accounting.filtered_out,
            accounting.written
        ));
    }
    let unplaced = u128::from(accounting.rejected) + u128::from(accounting.null_time);
    let kept: u128 = manifest.rejects.iter().map(|file| u128::from(file.rows)).sum();
    if kept > unplaced || (kept < unplaced && every_partition_is_there) {
        find(format!("{unplaced} rows are rejected or without a time, but the files below rejects/ have {kept}"));
    }
    let read = manifest.source.files.iter().filter(|file| file.skipped.is_none());
    let rows: Option<u128> = read.map(|file| file.rows.filter(|_| file.error.is_none()).map(u128::from)).sum();
    if let Some(rows) = rows.filter(|rows| *rows != source && every_partition_is_there) {
        find(format!("`accounting.source_rows` is {source}, but the source files have {rows} rows"));
    }
    if unaccounted > 0 && !every_partition_is_there {
        let why = format!("conservation of {unaccounted} source rows, which are those of partitions without a shard");
        report.leave_out(Check::Conservation, why);
    }
    report.done(
        Check::Conservation,
        "source rows = rejected + without time + outside the window + filtered out + written, and written = rows of the files",
    );
}

fn window(manifest: &Manifest, report: &mut VerifyReport) {
    if manifest.files.is_empty() && matches!(manifest.status, JobStatus::Failed | JobStatus::Cancelled) {
        report.leave_out(Check::Window, "the job ended before it had partitions");
        return;
    }
    let mut labels = HashSet::new();
    let mut end = manifest.window_start;
    let mut last = None;
    for file in &manifest.files {
        let partition = &file.partition;
        if last != Some(partition) {
            if partition.start != end {
                let message = format!("its partition starts at {}, but the one before ends at {end}", partition.start);
                report.find(Check::Window, Some(&file.path), message);
            }
            if partition.end <= partition.start {
                let message = format!("its partition ends at {}, not after it starts", partition.end);
                report.find(Check::Window, Some(&file.path), message);
            }
            if !labels.insert(&partition.label) {
                let message = format!("its partition `{}` occurs twice in the manifest", partition.label);
                report.find(Check::Window, Some(&file.path), message);
            }
            end = partition.end;
            last = Some(partition);
        }
        inside_its_partition(file, report);
    }
    if end != manifest.window_end {
        let message = format!("the partitions end at {end}, but the window at {}", manifest.window_end);
        report.find(Check::Window, Some(MANIFEST), message);
    }
    report.done(Check::Window, "the partitions tile the window, without gap or overlap");
}

fn inside_its_partition(file: &FileEntry, report: &mut VerifyReport) {
    let partition = &file.partition;
    if file.path.strip_prefix(DATA).and_then(|p| p.strip_prefix(&partition.label)).is_none_or(|p| !p.starts_with('/')) {
        let message = format!("is not in the folder of its partition `{}`", partition.label);
        report.find(Check::Window, Some(&file.path), message);
    }
    for (field, time) in [("min_time", file.min_time), ("max_time", file.max_time)] {
        if let Some(time) = time.filter(|time| *time < partition.start || *time >= partition.end) {
            let message =
                format!("`{field}` {time} is outside its partition, {} to {}", partition.start, partition.end);
            report.find(Check::Window, Some(&file.path), message);
        }
    }
    if file.min_time.zip(file.max_time).is_some_and(|(min, max)| min > max) {
        report.find(Check::Window, Some(&file.path), "`min_time` is after `max_time`");
    }
}

fn statuses(manifest: &Manifest, report: &mut VerifyReport) {
    for file in &manifest.files {
        let mut find = |message: &str| report.find(Check::Statuses, Some(&file.path), message);
        match file.status {
            FileStatus::Running => find("is `running`, but manifests are written when a run has ended"),
            FileStatus::Complete if file.error_code.is_some() => find("is complete, but has an `error_code`"),
            FileStatus::Failed if file.error_code.is_none() => find("failed, but has no `error_code`"),
            _ => {}
        }
        if file.status.has_file() != file.sha256.is_some() {
            find(if file.status.has_file() { "has no `sha256`" } else { "is not finished, but has a `sha256`" });
        }
        if !file.status.has_file() && (file.rows, file.bytes) != (0, 0) {
            find("is not finished, but has rows or bytes");
        }
    }
    let every_file_is_complete = manifest.files.iter().all(|file| file.status == FileStatus::Complete);
    let some_file_is_usable = manifest.files.iter().any(|file| file.status.has_file());
    let mut find = |message: &str| report.find(Check::Statuses, Some(MANIFEST), message);
    match manifest.status {
        JobStatus::Complete => {
            if !every_file_is_complete {
                find("the job is marked complete, but not every file is");
            }
            if manifest.error_code.is_some() {
                find("the job is marked complete, but has an `error_code`");
            }
            if manifest.accounting.rejected > 0 || manifest.accounting.null_time > 0 {
                find("the job is marked complete, but rows were rejected or without a time");
            }
        }
        JobStatus::Partial if every_file_is_complete && manifest.error_code.is_none() => {
            find("the job is marked partial, but every file is complete and no `error_code` says why");
        }
        JobStatus::Failed if some_file_is_usable && manifest.error_code.is_none() => {
            find("the job is marked failed, but has usable files and no `error_code` says why");
        }
        _ => {}
    }
}
