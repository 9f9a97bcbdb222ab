//! Store errors, with messages that say what to check.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Location, Refusal};
use crate::error::ErrorCode;
use crate::failure::Failure;

/// A failed store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer created the name first; its file was left unchanged.
    #[error("`{name}` is already there")]
    AlreadyExists {
        /// Name in the package.
        name: String,
    },
    /// A name that could escape the package.
    #[error("`{}` is not a name inside a package: {why}", name.escape_debug())]
    BadName {
        /// As given.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Something else stands where a folder is needed, or where a file is.
    #[error("{} is {found}, but {needed} is needed there: {way_out}", path.display())]
    WrongKind {
        /// The place.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be.
        needed: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// The package's folder is not the one that was opened any more.
    #[error(
        "{} was replaced by {found} while it was in use; nothing was written to the replacement: put the folder back, \
         or give another one, and run again",
        path.display()
    )]
    Swapped {
        /// The place.
        path: PathBuf,
        /// What is there now.
        found: &'static str,
    },
    /// The draft's temporary file was removed under it: another run finished the job and cleaned up.
    #[error("the unfinished file for `{name}` was removed by another run of the job: nothing was written, run again")]
    DraftGone {
        /// The name it was to get.
        name: String,
    },
    /// A file is larger than anything that is read into memory.
    #[error("{} has {bytes} bytes, more than the maximum of {limit}", path.display())]
    TooLarge {
        /// The place.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// [`super::MAX_READ_BYTES`].
        limit: u64,
    },
    /// A place that can only be read.
    #[error("{at} is read-only: write to a folder, s3://, gs:// or az://")]
    ReadOnly {
        /// The place.
        at: String,
    },
    /// A section of the AWS files that cannot be used.
    #[error("the AWS profile `{name}` cannot be used: {why}")]
    Profile {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The system gives no threads to talk to stores.
    #[error("cannot talk to object stores: {message}")]
    Threads {
        /// Its reason.
        message: String,
    },
    /// An object store refused or did not respond.
    #[error("cannot {action} {at}: {} ({answer})", refusal.way_out())]
    Remote {
        /// Verb phrase: `read`, `list`.
        action: &'static str,
        /// URI of the object.
        at: String,
        /// What kind of no.
        refusal: Refusal,
        /// The store's own words, without signatures.
        answer: String,
    },
    /// An error of the operating system.
    #[error("cannot {action} {}{}", path.display(), way_out(source))]
    Io {
        /// Verb phrase: `create`, `make durable`.
        action: &'static str,
        /// The place.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl StoreError {
    /// Wraps the system's error with what was tried where.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// An error of reading a file after it was opened: the store's own answer where it has one.
    pub fn reading(at: &Location, error: io::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Self::io("read", Path::new(&at.to_string()), error))
    }

    /// A store's answer that passed through readers and decompressors as an error of the system.
    pub fn below(error: &io::Error) -> Option<&Self> {
        let mut next = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
        while let Some(cause) = next {
            if let Some(answer) = cause.downcast_ref::<Self>() {
                return Some(answer);
            }
            next = cause.source();
        }
        None
    }

    /// The error code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Io { source, .. } => error_code(source),
            Self::Remote { refusal, .. } => refusal.code(),
            Self::WrongKind { .. } | Self::Swapped { .. } | Self::ReadOnly { .. } | Self::Profile { .. } => {
                ErrorCode::StoreDenied
            }
            Self::AlreadyExists { .. } => ErrorCode::PackageOccupied,
            Self::DraftGone { .. } | Self::TooLarge { .. } | Self::Threads { .. } => ErrorCode::WriteFailed,
            Self::BadName { .. } => ErrorCode::Internal,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of(error.code(), &error)
    }
}

/// The word for an error of writing to a draft, which passes through encoders and compressors as it is.
pub fn error_code(error: &io::Error) -> ErrorCode {
    if let Some(answer) = StoreError::below(error) {
        return answer.code();
    }
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ErrorCode::StoreDenied,
        _ => ErrorCode::WriteFailed,
    }
}

/// What to check, for the errors that people can do something about. The system's own text follows as the source.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull => ": free some space on its file system and run again",
        ErrorKind::QuotaExceeded => ": the user's quota on its file system is exhausted; free some space and run again",
        ErrorKind::PermissionDenied => {
            ": check the owner and the mode of this and its parent folders for the user that runs the export"
        }
        ErrorKind::ReadOnlyFilesystem => ": its file system is mounted read-only, choose another output or remount it",
        ErrorKind::Unsupported => {
            ": its file system cannot create files exclusively (hard links), choose one that can for the output"
        }
        _ => "",
    }
}
