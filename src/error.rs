//! Error codes and exit codes: how failures are reported to programs. Both are closed lists. A scheduler acts on the
//! exit code, an auditor reads the error code in the manifest; neither parses prose. Each module has its own error enum
//! that says what happened, where, and what to do, and maps to one of these codes.

use serde::{Deserialize, Serialize};

/// Why a file, a partition or a run is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A source file has changed since it was planned: size or modification time differs.
    SourceChanged,
    /// A source file cannot be opened or is not valid in its format.
    SourceUnreadable,
    /// A row is outside the time range that `path_time` derives from the file's name; skipped files may hold rows.
    PathTimeBroken,
    /// A source file that the spec expects is missing.
    SourceMissing,
    /// A row could not be parsed, and `on_bad_rows` is `fail`.
    BadRows,
    /// A row has no time, and `on_null_time` is `fail`.
    NullTime,
    /// Rows were rejected to `rejects/`, as the spec allows.
    RowsRejected,
    /// A value does not fit the planned schema.
    SchemaMismatch,
    /// A filter or `where` failed on the data.
    QueryFailed,
    /// The store denies reads or writes: permissions, a read-only file system, credentials.
    StoreDenied,
    /// The bucket or an expected object does not exist.
    StoreNotFound,
    /// The store throttles requests, even after retries.
    StoreThrottled,
    /// The store does not respond, even after retries.
    StoreUnreachable,
    /// The file system is full.
    DiskFull,
    /// The rows that must be in memory at once exceed the limit.
    MemoryExceeded,
    /// A shard could not be written.
    WriteFailed,
    /// The rows written do not add up to the rows read.
    RowsNotConserved,
    /// A committed file is missing or has a different size.
    PackageDamaged,
    /// The folder contains another job's package.
    PackageOccupied,
    /// The result does not meet the spec's expectations.
    ExpectationFailed,
    /// A key for redaction, encryption or signing is missing or invalid.
    KeyUnusable,
    /// The spec's chain of packages cannot be continued.
    ChainBroken,
    /// A bug: a worker panicked.
    Internal,
}

impl ErrorCode {
    /// All codes, in documentation order.
    pub const ALL: [Self; 23] = [
        Self::SourceChanged,
        Self::SourceUnreadable,
        Self::PathTimeBroken,
        Self::SourceMissing,
        Self::BadRows,
        Self::NullTime,
        Self::RowsRejected,
        Self::SchemaMismatch,
        Self::QueryFailed,
        Self::StoreDenied,
        Self::StoreNotFound,
        Self::StoreThrottled,
        Self::StoreUnreachable,
        Self::DiskFull,
        Self::MemoryExceeded,
        Self::WriteFailed,
        Self::RowsNotConserved,
        Self::PackageDamaged,
        Self::PackageOccupied,
        Self::ExpectationFailed,
        Self::KeyUnusable,
        Self::ChainBroken,
        Self::Internal,
    ];

    /// The code as written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceChanged => "source_changed",
            Self::SourceUnreadable => "source_unreadable",
            Self::PathTimeBroken => "path_time_broken",
            Self::SourceMissing => "source_missing",
            Self::BadRows => "bad_rows",
            Self::NullTime => "null_time",
            Self::RowsRejected => "rows_rejected",
            Self::SchemaMismatch => "schema_mismatch",
            Self::QueryFailed => "query_failed",
            Self::StoreDenied => "store_denied",
            Self::StoreNotFound => "store_not_found",
            Self::StoreThrottled => "store_throttled",
            Self::StoreUnreachable => "store_unreachable",
            Self::DiskFull => "disk_full",
            Self::MemoryExceeded => "memory_exceeded",
            Self::WriteFailed => "write_failed",
            Self::RowsNotConserved => "rows_not_conserved",
            Self::PackageDamaged => "package_damaged",
            Self::PackageOccupied => "package_occupied",
            Self::ExpectationFailed => "expectation_failed",
            Self::KeyUnusable => "key_unusable",
            Self::ChainBroken => "chain_broken",
            Self::Internal => "internal",
        }
    }

    /// Whether the same run may succeed later without any change.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::StoreThrottled | Self::StoreUnreachable)
    }

    /// Cause and remedy in one short paragraph, as printed by `kt-export explain`.
    #[expect(clippy::too_many_lines, reason = "one paragraph for each code")]
    pub fn advice(self) -> &'static str {
        match self {
            Self::SourceChanged => {
                "A source file has changed since the job was planned: its size or modification time differs, or it was \
                 removed. Something still writes to the source, or the file was replaced. Restore the file and run \
                 again. If the new file is the right one, start over with --replace: a package never mixes two states \
                 of its source."
            }
            Self::SourceUnreadable => {
                "A source file cannot be opened or is not valid in its format: missing permissions, a truncated file, \
                 or a wrong `source.format` in the catalog. The message names the file and the position. Fix the file \
                 or the catalog and run again; complete partitions are kept."
            }
            Self::PathTimeBroken => {
                "The catalog's `path_time` derives the times of a file's rows from its name, but a row has a time \
                 outside that range. Files that were skipped because of their names may therefore contain rows of the \
                 window, so no partition is marked complete. The message names the row and how far to widen the range \
                 with `early` or `late`. If names do not determine the times of rows, remove `path_time`. Then run \
                 again."
            }
            Self::SourceMissing => {
                "The catalog says `path_time: {expect: every}`, but a calendar unit of the window has no source file. \
                 The shards contain every row of the existing files. Find the missing file upstream and run again once \
                 it has arrived. If a unit may have no file, remove `expect`."
            }
            Self::BadRows => {
                "A row could not be parsed and the spec says `on_bad_rows: fail`. The message names the file and the \
                 line. Fix the source and run again, or set `on_bad_rows: reject` to count such rows, keep them in \
                 rejects/ and mark their partitions partial."
            }
            Self::NullTime => {
                "A row has no time, so it belongs to no partition, and the spec says `on_null_time: fail`. Check \
                 `time.column` in the catalog. If such rows are expected, set `on_null_time: reject` to count them, \
                 keep them in rejects/ and mark their partitions partial."
            }
            Self::RowsRejected => {
                "Rows could not be parsed or have no time, and were written to rejects/, as the spec allows. The \
                 shards contain every other row. rejects/ lists the rows with their positions and reasons. Fix the \
                 source and run again to re-export the affected partitions."
            }
            Self::SchemaMismatch => {
                "A value does not fit the type that the job planned for its column, or files disagree and the spec says \
                 `on_schema_drift: fail`. Declare the column's type under `schema` in the catalog, or use \
                 `on_schema_drift: widen`."
            }
            Self::QueryFailed => {
                "A filter or `where` cannot be evaluated on the data, for example because it compares text with a \
                 number. The message names the condition. Fix the spec and run it again; the changed spec is a new job."
            }
            Self::StoreDenied => {
                "The package or the source cannot be read or written: the user lacks permission, the file system is \
                 mounted read-only, or the object store's credentials are wrong, expired or for another region. Check \
                 the location in the message and run again."
            }
            Self::StoreNotFound => {
                "A bucket or an expected object does not exist. Check the name in the URI, the account of the \
                 credentials, and the endpoint. Exports never create buckets: create it first."
            }
            Self::StoreThrottled => {
                "The object store throttled requests, or was busy with others about the same object, through all retries. Nothing is lost: committed partitions are \
                 kept, and the exit code is 6. Run again later, with fewer concurrent runs."
            }
            Self::StoreUnreachable => {
                "The object store did not respond, or reported that it is unavailable, through all retries. Nothing is \
                 lost: committed partitions are kept, and the exit code is 6. Check endpoint, network and proxy and \
                 run again."
            }
            Self::DiskFull => {
                "The package's file system is full, or a quota is exhausted. No partial files remain. Free some space \
                 and run again: complete partitions are not exported again."
            }
            Self::MemoryExceeded => {
                "The rows that must be in memory at once exceed the `--memory` limit: with `order: time`, the \
                 rows of all open partitions. Run again with more memory, use smaller partitions, or use `order: source`, which \
                 buffers no rows; the last two create a new job."
            }
            Self::WriteFailed => {
                "The operating system could not write or sync a file of the package. The message names the file and \
                 the cause. Check the disk and the mount, then run again."
            }
            Self::RowsNotConserved => {
                "The rows written, filtered and rejected do not add up to the rows read, so the export is not marked \
                 complete. The source may have changed while it was read; run again. If it happens again with an \
                 unchanged source, it is a bug: report it with the accounting from the manifest."
            }
            Self::PackageDamaged => {
                "A committed file is missing or has a different size: something else changed the package. Restore it \
                 from a copy, or run with --repair to re-export the damaged partitions."
            }
            Self::PackageOccupied => {
                "The output folder contains the package of another job: another spec, another window, or an earlier \
                 version of this spec. Choose another `output.uri` (templates such as {{ window.label }} keep windows \
                 apart), or remove an unfinished package with --replace and its job id."
            }
            Self::ExpectationFailed => {
                "Every row is accounted for, but the result does not meet `expect` in the spec: too few rows, an empty \
                 partition, or a last row too long before the end of the window. The manifest's `expectations` say \
                 which. Find the missing data upstream, and export the window again once it has arrived."
            }
            Self::KeyUnusable => {
                "A key for redaction, encryption or signing is missing or invalid. The message names the variable or \
                 file. Nothing was exported. Provide the key to this process and run again."
            }
            Self::ChainBroken => {
                "The links in the spec's `chain` cannot be read, have gaps in their numbers, or do not reference each \
                 other: a link was changed or removed. Check them with verify --chain and restore the missing links; \
                 no package is added to a broken chain."
            }
            Self::Internal => {
                "A bug in kt-export: a worker panicked. Partial files are never taken for complete ones, and running \
                 again is safe. Report it with the message and the output of --log-format json -v."
            }
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The outcome of the process, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was requested succeeded.
    Complete,
    /// A bug.
    Internal,
    /// The command line, a spec or a catalog has an error.
    Usage,
    /// Some partitions failed, rows were rejected or an expectation does not hold; the manifest says which.
    Partial,
    /// No partition is usable, or the run as a whole failed.
    Failed,
    /// A package failed verification.
    VerifyFailed,
    /// Try again later: the window is still open, or a store is temporarily unavailable.
    TryLater,
    /// Stopped by SIGINT, resumable.
    Interrupted,
    /// Stopped by SIGTERM, resumable.
    Terminated,
}

impl Exit {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Failed => 4,
            Self::VerifyFailed => 5,
            Self::TryLater => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Rank among the outcomes of several specs in one process; the highest one sets the exit code.
    fn severity(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::TryLater => 1,
            Self::Partial => 2,
            Self::Usage => 3,
            Self::VerifyFailed => 4,
            Self::Failed => 5,
            Self::Internal => 6,
            Self::Interrupted | Self::Terminated => 7,
        }
    }

    /// The worse of two outcomes.
    pub fn worst(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_name_and_advice_of_its_own() {
        let mut advice = std::collections::HashSet::new();
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
            assert!(code.advice().ends_with('.') && advice.insert(code.advice()), "{code}");
        }
        // A code that is not in the list would be missing here.
        let schema = serde_json::to_string(&schemars::schema_for!(ErrorCode)).unwrap();
        assert_eq!(schema.matches("\"const\"").count(), ErrorCode::ALL.len());
    }
}
