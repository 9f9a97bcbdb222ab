//! The words in which failures are told to programs: error codes and exit codes.
//!
//! Both are closed lists. A scheduler acts on the exit code, an auditor reads the error code in the
//! manifest; neither parses prose. Each module has its own error enum that says what happened, where
//! and what to do, and names one of these codes.

use serde::{Deserialize, Serialize};

/// Why a file, a partition or a run is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A source file is not the one that was planned: size or modification time differ.
    SourceChanged,
    /// A source file cannot be opened, or its bytes are not what its format says.
    SourceUnreadable,
    /// A row is not where `path_time` says of its file, so that files which were skipped on such claims may be missing.
    PathTimeBroken,
    /// A source file that the spec expects is not there.
    SourceMissing,
    /// A row could not be parsed, and `on_bad_rows` is `fail`.
    BadRows,
    /// A row has no time, and `on_null_time` is `fail`.
    NullTime,
    /// Rows were left out into `rejects/`, as the spec allows.
    RowsRejected,
    /// A value does not fit the planned schema.
    SchemaMismatch,
    /// A filter or `where` failed on the data.
    QueryFailed,
    /// The store refuses to be read or written: permissions, a read-only file system, credentials.
    StoreDenied,
    /// The bucket, or an object that should be there, is not.
    StoreNotFound,
    /// The store asks to slow down, also after retries.
    StoreThrottled,
    /// The store does not answer, also after retries.
    StoreUnreachable,
    /// The file system has no room left.
    DiskFull,
    /// Rows that must be in memory at once are more than the budget.
    MemoryExceeded,
    /// A shard could not be written.
    WriteFailed,
    /// The rows written do not add up to the rows read.
    RowsNotConserved,
    /// A committed file is missing or has another size.
    PackageDamaged,
    /// The folder holds another job's package.
    PackageOccupied,
    /// The result is not what the spec expects.
    ExpectationFailed,
    /// A key for redaction, encryption or signing is missing, or is no such key.
    KeyUnusable,
    /// The spec's chain of packages cannot be continued.
    ChainBroken,
    /// A bug: a worker panicked.
    Internal,
}

impl ErrorCode {
    /// All of them, in the order of their documentation.
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

    /// The word as it stands in manifests.
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

    /// Whether waiting may be all that is needed.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::StoreThrottled | Self::StoreUnreachable)
    }

    /// The cause and what to do, one short paragraph for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::SourceChanged => {
                "A source file is not the one that the job planned with: its size or modification time differ, or it is \
                 gone. Something still writes to the source, or a file was replaced. Restore the file and run again; or, \
                 if the new file is the right one, start the job over with --replace, because a package never mixes two \
                 states of its source."
            }
            Self::SourceUnreadable => {
                "A source file cannot be opened or is not what its format says: permissions, a file cut short, a wrong \
                 `source.format` in the catalog. The message names the file and the place. Repair the file or the \
                 catalog and run again; partitions that are complete stay as they are."
            }
            Self::PathTimeBroken => {
                "The catalog's `path_time` says from a file's name which time its rows are of, and a row is of another time. \
                 Files that were not read on the word of their names may therefore hold rows of the window, so no partition \
                 is called complete. The message names the row and how far to widen the claim with `early` or `late`; where \
                 names do not tell the time of the rows, remove `path_time`. Then run again."
            }
            Self::SourceMissing => {
                "The catalog says `path_time: {expect: every}`, and for a calendar unit of the window there is no source file. \
                 The shards hold every row of the files that are there. Look upstream for the file and run again when it has \
                 come; where a unit may have no file, remove `expect`."
            }
            Self::BadRows => {
                "A row could not be parsed and the spec says `on_bad_rows: fail`. The message names the file and the \
                 line. Repair the source and run again, or set `on_bad_rows: reject` to keep such rows in rejects/, \
                 counted, and have their partitions marked partial."
            }
            Self::NullTime => {
                "A row has no time, so it belongs to no partition, and the spec says `on_null_time: fail`. Check \
                 `time.column` in the catalog. If such rows are to be expected, set `on_null_time: reject` to keep them \
                 in rejects/, counted, and have their partitions marked partial."
            }
            Self::RowsRejected => {
                "Rows could not be read or placed in time and were written to rejects/, as the spec allows. The shards \
                 hold every other row. Look into rejects/ for the rows, their places and the reasons; running again \
                 after the source is mended exports the concerned partitions anew."
            }
            Self::SchemaMismatch => {
                "A value does not fit the type that the job planned for its column, or files disagree and the spec says \
                 `on_schema_drift: fail`. Declare the column's type under `schema` in the catalog, or use \
                 `on_schema_drift: widen`."
            }
            Self::QueryFailed => {
                "A filter or `where` cannot be evaluated on the data, for example a comparison of text with a number. \
                 The message names the condition. Mend the spec and run it again; this makes a new job."
            }
            Self::StoreDenied => {
                "The place of the package or the source cannot be read or written: the user lacks permission, the file \
                 system is mounted read-only, or the object store's credentials are wrong, expired or for another region. \
                 Check what the message names and run again."
            }
            Self::StoreNotFound => {
                "A bucket or an object that should be there is not. Check the name in the URI, the account that the \
                 credentials belong to, and the endpoint. A bucket is never created by an export: make it first."
            }
            Self::StoreThrottled => {
                "The object store asked to slow down, and went on to do so through all retries. Nothing is lost: what is \
                 committed stays, and the exit code is 6. Run again later, with fewer runs side by side."
            }
            Self::StoreUnreachable => {
                "The object store did not answer, or answered that it cannot at the moment, through all retries. \
                 Nothing is lost: what is committed stays, and the exit code is 6. Check endpoint, network and proxy \
                 and run again."
            }
            Self::DiskFull => {
                "The file system of the package has no room left, or a quota is used up. Nothing half-written remains. \
                 Make room and run again: partitions that are complete are not exported again."
            }
            Self::MemoryExceeded => {
                "Rows that must be in memory at once are more than `--memory` leaves for them: with `order: time`, the \
                 rows of a partition. Run again with more memory, cut the window into smaller partitions, or use \
                 `order: source`, which holds nothing; the last two make a new job."
            }
            Self::WriteFailed => {
                "The operating system could not write or make durable a file of the package. The message names the file \
                 and the system's reason. Check the disk and the mount, then run again."
            }
            Self::RowsNotConserved => {
                "The rows written, filtered and rejected do not add up to the rows read, so the export cannot be \
                 trusted and is not called complete. The source may have changed while it was read; run again. If it \
                 happens again with a source at rest, it is a bug: report it with the accounting from the manifest."
            }
            Self::PackageDamaged => {
                "A file that was committed earlier is missing or has another size. Something changed the package from \
                 outside. Restore it from a copy, or run with --repair to export the damaged partitions again."
            }
            Self::PackageOccupied => {
                "The output folder holds another job's package: another spec, another window, or this spec as it was \
                 before it changed. Choose another `output.uri` (templates such as {{ window.label }} keep windows \
                 apart), or remove an unfinished package with --replace and its job id."
            }
            Self::ExpectationFailed => {
                "Every row is accounted for, and the result is still not what `expect` in the spec says: too few rows, an \
                 empty partition, or a last row too long before the end of the window. The manifest's `expectations` say \
                 which. Look upstream for what was not delivered; after late data has come, export the window again."
            }
            Self::KeyUnusable => {
                "A key for redaction, encryption or signing is not where the spec says, or is not such a key. The message \
                 names the variable or file. Nothing was exported. Provide the key to this process and run again."
            }
            Self::ChainBroken => {
                "The links in the spec's `chain` cannot be read, are not numbered without a gap, or do not name each other. \
                 Somebody changed or removed one. Check them with verify --chain and bring back what is missing; no \
                 package is linked to a chain that is broken."
            }
            Self::Internal => {
                "A bug in kt-export: a worker panicked. No half-written file is taken for a whole one, and running again \
                 is safe. Report it with the message and the output of --log-format json -v."
            }
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the process tells its scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is there.
    Complete,
    /// A bug.
    Internal,
    /// The command line, a spec or a catalog is wrong.
    Usage,
    /// Some partitions failed, rows were rejected or an expectation does not hold; the manifest says which.
    Partial,
    /// No partition is usable, or the run as a whole failed.
    Failed,
    /// A package is not what its manifest says.
    VerifyFailed,
    /// Nothing is wrong, it is only too early.
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

    /// How bad it is when many specs run in one process; the worst one decides.
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
