//! Download errors, with messages that say what to do.

use std::io;
use std::path::PathBuf;

use crate::error::Exit;
use crate::json::JsonError;
use crate::package::FileError;
use crate::package::manifest::{JobStatus, ResolvedError};
use crate::seal::OpenError;
use crate::source::ListError;
use crate::store::StoreError;

/// A failed download.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// A file of the package is not what the manifest says.
    #[error(transparent)]
    File(#[from] FileError),
    /// A shard that is what its digest says, but cannot be joined with the others.
    #[error(
        "`{shard}` cannot be joined: {why}; download the package with `--shards` and check it with `kt-export verify --rows`"
    )]
    Contents {
        /// Name in the package.
        shard: String,
        /// What it has or lacks.
        why: String,
    },
    /// A file beside the shards is not what the manifest gives.
    #[error(
        "`{name}` in {at} is not that of the manifest: run the job again, which writes it, or check the package with `kt-export verify`"
    )]
    Derived {
        /// Name in the package.
        name: &'static str,
        /// The package.
        at: String,
    },
    /// The package is not any more what it was when the download began.
    #[error("`manifest.json` in {at} changed while the package was downloaded: nothing is lost, download it again")]
    Changed {
        /// The package.
        at: String,
    },
    /// Rows that cannot be read without a key.
    #[error(
        "`{shard}` is encrypted: name a file with an identity that can read it, `--identity FILE`, or download the shards as \
         they are with `--shards`"
    )]
    Encrypted {
        /// Name in the package.
        shard: String,
    },
    /// Encrypted pages are bound to their place in their file, so that row groups cannot be copied.
    #[error(
        "the Parquet shards are encrypted, and such shards cannot be joined: download them separately with \
        `--shards`"
    )]
    EncryptedParquet,
    /// A shard that the given keys do not open, or that is damaged.
    #[error("`{shard}` cannot be decrypted: {why}")]
    Locked {
        /// Name in the package.
        shard: String,
        /// What the header says.
        why: OpenError,
    },
    /// Nothing to join.
    #[error(
        "the package is {status} and has no shard to download: run its job again, or take its manifest with `--shards`"
    )]
    NoShards {
        /// How its job ended.
        status: JobStatus,
    },
    /// The target exists.
    #[error("{} already exists: remove it or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The next export would contain the downloaded rows again.
    #[error(
        "{} lies inside the source {uri} of this job, so the next export would contain its rows twice: choose a place outside",
        path.display()
    )]
    InSource {
        /// The file.
        path: PathBuf,
        /// As resolved.
        uri: String,
    },
    /// What the source reads is not known.
    #[error("the source {uri} of this job is invalid")]
    Source {
        /// As resolved.
        uri: String,
        /// Why.
        source: ListError,
    },
    /// Another download has the place.
    #[error("another download is writing {}: wait for its end or choose another name", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The name promises another format.
    #[error("{} has the extension of {named}, but the export is {format}: name it `.{format}`", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The format of its extension.
        named: &'static str,
        /// The format of the export.
        format: &'static str,
    },
    /// A compressed Parquet file, which no reader supports.
    #[error("{}: Parquet compresses pages, not the whole file: name it `.parquet`", path.display())]
    CompressedParquet {
        /// The file.
        path: PathBuf,
    },
    /// Not a file name.
    #[error("{} does not name a file: write a file name, or a folder with a `/` at its end", path.display())]
    NoName {
        /// As given.
        path: PathBuf,
    },
    /// The manifest's name and label give no file name.
    #[error("`{}` cannot be a file name: give a file name", name.escape_debug())]
    UnfitName {
        /// What it would be.
        name: String,
    },
    /// The target folder holds another package.
    #[error("{} holds another package, {holds}: choose another folder", folder.display())]
    OtherPackage {
        /// The folder.
        folder: PathBuf,
        /// Its job's id, or why its manifest cannot be read.
        holds: String,
    },
    /// The target folder holds something else.
    #[error("{} holds `{found}`, which does not belong to this package: choose an empty or new folder", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        found: String,
    },
    /// Something other than a folder.
    #[error("{} is not a folder, but shards are downloaded into a folder: remove it or choose another name", path.display())]
    NotAFolder {
        /// The place.
        path: PathBuf,
    },
    /// The package's store.
    #[error("cannot fetch `{name}`")]
    Store {
        /// Name in the package.
        name: String,
        /// Its reason.
        source: StoreError,
    },
    /// The package's store, in the middle of a file.
    #[error("cannot read `{shard}` in {at}: download again to resume")]
    Read {
        /// Name in the package.
        shard: String,
        /// The package.
        at: String,
        /// Its reason.
        source: io::Error,
    },
    /// The user's disk.
    #[error("cannot {action} {}{}", path.display(), way_out(source))]
    Disk {
        /// Verb phrase: `write`, `make durable`.
        action: &'static str,
        /// The place.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A place below the target that is not usable.
    #[error("cannot write into the folder of the download")]
    Target(#[source] StoreError),
    /// A manifest whose spec cannot be read.
    #[error("the manifest cannot be used: {0}; check the package with `kt-export verify`")]
    Spec(#[from] ResolvedError),
    /// A manifest or a resume record without JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A signal.
    #[error("stopped: run the same download again to resume")]
    Stopped {
        /// Which.
        exit: Exit,
    },
}

impl DownloadError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::File(error) => error.exit(),
            Self::Contents { .. } | Self::Derived { .. } | Self::Spec(_) => Exit::VerifyFailed,
            Self::Encrypted { .. }
            | Self::EncryptedParquet
            | Self::Exists { .. }
            | Self::InSource { .. }
            | Self::Source { .. }
            | Self::OtherFormat { .. }
            | Self::CompressedParquet { .. }
            | Self::NoName { .. }
            | Self::UnfitName { .. }
            | Self::OtherPackage { .. }
            | Self::Foreign { .. }
            | Self::NotAFolder { .. } => Exit::Usage,
            Self::Changed { .. } | Self::Busy { .. } => Exit::TryLater,
            Self::Store { source, .. } if source.code().is_retryable() => Exit::TryLater,
            Self::Read { source, .. } if is_retryable(source) => Exit::TryLater,
            Self::NoShards { .. }
            | Self::Locked { .. }
            | Self::Store { .. }
            | Self::Read { .. }
            | Self::Disk { .. }
            | Self::Target(_)
            | Self::Json(_) => Exit::Failed,
            Self::Stopped { exit } => *exit,
        }
    }
}

fn is_retryable(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
    inner.is_some_and(|error| error.code().is_retryable())
}

/// What to check, for what people can do something about. The system's own text follows as the source.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": free some space on its file system and download again to resume"
        }
        io::ErrorKind::PermissionDenied => ": check its owner and mode, or choose another place",
        io::ErrorKind::ReadOnlyFilesystem => ": its file system is mounted read-only, choose another place",
        io::ErrorKind::NotFound => ": create its parent folder, or choose another place",
        _ => "",
    }
}
