//! Accounts for every source row, and sums what each filter dropped.
//!
//! Three independent counts must agree: the inputs' own row counts, the rows that tasks read, and the rows that partitions
//! wrote or dropped.

use super::RunError;
use super::open_package::OpenPackage;
use super::scheduler::Tally;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{Filter, Job};
use crate::package::manifest::{Accounting, FileEntry, FilterCount, JobStatus};
use crate::package::state::PartitionRecord;
use crate::plan::PlannedInput;

/// Sums the counts of all tasks and partitions. If every partition has its shards, the sum must equal the rows of the
/// source; otherwise the difference is the rows of failed partitions. If the inputs' own row counts are known (Parquet
/// footers, inspected records), they must equal the number of rows read.
///
/// # Errors
/// [`ErrorCode::RowsNotConserved`]; then no manifest is written.
pub(super) fn accounting(
    package: &OpenPackage,
    tally: &Tally,
    files: &[FileEntry],
    status: JobStatus,
) -> Result<Accounting, RunError> {
    let outside = package.pinned.outside_rows();
    let mut sum = Accounting { source_rows: outside, outside_window: outside, ..Accounting::default() };
    let (mut elsewhere, mut visiting) = (0, 0);
    for (index, task) in package.pinned.plan.tasks.iter().enumerate() {
        let Some(counts) = tally.records.get(&index).map(|r| &r.counts) else {
            // Not read to its end: use the row counts from the inspection. Rows that only reading can count are left out.
            let owned = task.reads.iter().filter(|read| read.owner);
            sum.source_rows += owned.filter_map(|read| package.pinned.plan.unit(read)?.rows).sum::<u64>();
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
        return Err(RunError::Failed(Failure::new(
            ErrorCode::RowsNotConserved,
            format!(
                "the source has {} rows and {} are accounted for ({visiting} of {elsewhere} handed to other tasks); \
                 no manifest was written; this is a bug",
                sum.source_rows,
                sum.accounted_rows()
            ),
        )));
    }
    let counted: Option<u64> = package.pinned.plan.inputs.iter().map(PlannedInput::rows).sum();
    if let Some(counted) = counted.filter(|counted| whole && *counted != sum.source_rows) {
        return Err(RunError::Failed(Failure::new(
            ErrorCode::RowsNotConserved,
            format!(
                "{} rows were read, but the source's inputs have {counted} by their own count; no manifest was written; run \
                 again, and if it stays so, this is a bug",
                sum.source_rows
            ),
        )));
    }
    Ok(sum)
}

/// The rows that each filter dropped from a partition, in the order of the spec, with `where` last. `rows` is empty for a
/// source without columns.
pub(super) fn filter_counts(job: &Job, rows: &[u64]) -> Vec<FilterCount> {
    let filters = job.filters.iter().map(Filter::name);
    let names = filters.chain(job.where_sql.iter().map(|_| "where".to_owned()));
    names
        .zip(rows.iter().copied().chain(std::iter::repeat(0)))
        .map(|(filter, rows)| FilterCount { filter, rows })
        .collect()
}

/// The rows that each filter dropped from all partitions. Empty if a partition was committed by a release that did not
/// count them, or when the filters had another order: the order decides which filter a row fails first, but is not part of
/// the job's identity.
pub(super) fn sum_of_filter_counts<'a>(
    job: &Job,
    records: impl Iterator<Item = &'a PartitionRecord>,
) -> Vec<FilterCount> {
    let mut sum = filter_counts(job, &[]);
    for record in records {
        let same = |(a, b): (&FilterCount, &FilterCount)| a.filter == b.filter;
        if record.filter_counts.len() != sum.len() || !sum.iter().zip(&record.filter_counts).all(same) {
            return Vec::new();
        }
        sum.iter_mut().zip(&record.filter_counts).for_each(|(sum, more)| sum.rows += more.rows);
    }
    sum
}

#[cfg(test)]
mod tests;
