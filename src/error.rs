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
    /// The file system has no room left.
    DiskFull,
    /// A shard could not be written.
    WriteFailed,
    /// The rows written do not add up to the rows read.
    RowsNotConserved,
    /// A committed file is missing or has another size.
    PackageDamaged,
    /// The folder holds another job's package.
    PackageOccupied,
    /// A bug: a worker panicked.
    Internal,
}

impl ErrorCode {
    /// The word as it stands in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceChanged => "source_changed",
            Self::SourceUnreadable => "source_unreadable",
            Self::BadRows => "bad_rows",
            Self::NullTime => "null_time",
            Self::RowsRejected => "rows_rejected",
            Self::SchemaMismatch => "schema_mismatch",
            Self::QueryFailed => "query_failed",
            Self::DiskFull => "disk_full",
            Self::WriteFailed => "write_failed",
            Self::RowsNotConserved => "rows_not_conserved",
            Self::PackageDamaged => "package_damaged",
            Self::PackageOccupied => "package_occupied",
            Self::Internal => "internal",
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
    /// Some partitions failed or rows were rejected; the manifest says which.
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
