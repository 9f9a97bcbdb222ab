//! The files that a manifest lists, read so that bytes other than those listed are always detected.

use std::collections::HashSet;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::Package;
use crate::error::Exit;
use crate::package::layout::{DATA, REJECTS};
use crate::stop::Stop;
use crate::store::{StoreError, Stored, check_name};

/// A file that the manifest lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageFile<'a> {
    /// Name in the package.
    pub path: &'a str,
    /// Size as stored.
    pub bytes: u64,
    /// Lower-case hex SHA-256 as stored.
    pub sha256: &'a str,
    /// Number of rows.
    pub rows: u64,
}

/// Why a file differs from the manifest, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The manifest names a file in a way that cannot be followed.
    #[error("the manifest's entry `{}` is invalid: {why}; check the package with `kt-export verify`", path.escape_debug())]
    Entry {
        /// As the manifest has it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file is missing.
    #[error("`{path}` is not in {at}, though the manifest lists it: restore it from a copy, or export it again")]
    Missing {
        /// Name in the package.
        path: String,
        /// The package.
        at: String,
    },
    /// The file has the wrong size.
    #[error(
        "`{path}` in {at} has {found} bytes, but the manifest says {stated}: restore it from a copy, or export it again"
    )]
    Size {
        /// Name in the package.
        path: String,
        /// The package.
        at: String,
        /// Its size.
        found: u64,
        /// The manifest's.
        stated: u64,
    },
    /// The file has the wrong bytes.
    #[error(
        "`{path}` in {at} has SHA-256 {found}, but the manifest says {stated}: restore it from a copy, or export it again"
    )]
    Digest {
        /// Name in the package.
        path: String,
        /// The package.
        at: String,
        /// Its digest.
        found: String,
        /// The manifest's.
        stated: String,
    },
    /// The store cannot open the file.
    #[error("cannot open `{path}`")]
    Store {
        /// Name in the package.
        path: String,
        /// Its reason.
        source: StoreError,
    },
    /// Reading failed.
    #[error("cannot read `{path}` in {at}: try again")]
    Read {
        /// Name in the package.
        path: String,
        /// The package.
        at: String,
        /// Its reason.
        source: io::Error,
    },
    /// A signal stopped the program.
    #[error("stopped")]
    Stopped {
        /// The exit code for the signal.
        exit: Exit,
    },
}

impl FileError {
    /// The exit code of the process.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Entry { .. } | Self::Missing { .. } | Self::Size { .. } | Self::Digest { .. } => Exit::VerifyFailed,
            Self::Store { source, .. } if source.code().is_retryable() => Exit::TryLater,
            Self::Read { source, .. } if StoreError::below(source).is_some_and(|e| e.code().is_retryable()) => {
                Exit::TryLater
            }
            Self::Store { .. } | Self::Read { .. } => Exit::Failed,
            Self::Stopped { exit } => *exit,
        }
    }

    /// Extracts a `FileError` that was passed through an I/O function.
    ///
    /// # Errors
    /// The I/O error itself, if it has no `FileError` inside.
    pub fn downcast(error: io::Error) -> Result<Self, io::Error> {
        error.downcast::<Self>()
    }
}

impl Package {
    /// Its shards, in the order of the manifest. The names of all files are checked, including rejects.
    ///
    /// # Errors
    /// [`FileError::Entry`].
    pub fn shards(&self) -> Result<Vec<PackageFile<'_>>, FileError> {
        self.check_names()?;
        let with_file = self.manifest.files.iter().filter(|file| file.status.has_file());
        with_file
            .map(|file| match file.sha256.as_deref() {
                Some(sha256) => Ok(PackageFile { path: &file.path, bytes: file.bytes, sha256, rows: file.rows }),
                None => Err(entry(&file.path, format!("it is {} and has no `sha256`", file.status))),
            })
            .collect()
    }

    /// Its rejects files.
    pub fn rejects(&self) -> impl Iterator<Item = PackageFile<'_>> {
        self.manifest.rejects.iter().map(|file| PackageFile {
            path: &file.path,
            bytes: file.bytes,
            sha256: &file.sha256,
            rows: file.rows,
        })
    }

    fn check_names(&self) -> Result<(), FileError> {
        let shards = self.manifest.files.iter().map(|file| (&file.path, DATA));
        let rejects = self.manifest.rejects.iter().map(|file| (&file.path, REJECTS));
        let mut seen = HashSet::new();
        for (path, folder) in shards.chain(rejects) {
            check_name(path).map_err(|error| entry(path, error.to_string()))?;
            if path.chars().any(char::is_control) {
                return Err(entry(path, "it holds a control character".to_owned()));
            }
            if !path.starts_with(folder) {
                return Err(entry(path, format!("it is not below {folder}")));
            }
            if !seen.insert(path) {
                return Err(entry(path, "it is listed twice".to_owned()));
            }
        }
        Ok(())
    }

    /// Opens a file for random access, after checking its size.
    ///
    /// # Errors
    /// [`FileError::Missing`], [`FileError::Size`], [`FileError::Store`].
    pub fn open_file(&self, file: &PackageFile<'_>) -> Result<Stored, FileError> {
        let path = file.path.to_owned();
        match self.folder.open_file(file.path) {
            Ok(Some(stored)) if stored.bytes() == file.bytes => Ok(stored),
            Ok(Some(stored)) => Err(FileError::Size { path, at: self.at(), found: stored.bytes(), stated: file.bytes }),
            Ok(None) => Err(FileError::Missing { path, at: self.at() }),
            Err(source) => Err(FileError::Store { path, source }),
        }
    }

    /// Opens a file for sequential reading. At the end of the file the reader fails if the digest is wrong; its errors are
    /// [`FileError`]s ([`FileError::downcast`]).
    ///
    /// # Errors
    /// As [`Package::open_file`].
    pub fn checked<'a>(&self, file: PackageFile<'a>, stop: &Stop) -> Result<Checked<'a>, FileError> {
        let reader = self.open_file(&file)?.into_reader();
        Ok(Checked { reader, file, at: self.at(), stop: stop.clone(), sha256: Sha256::new(), bytes: 0 })
    }
}

fn entry(path: &str, why: String) -> FileError {
    FileError::Entry { path: path.to_owned(), why }
}

/// See [`Package::checked`].
pub struct Checked<'a> {
    reader: Box<dyn Read + Send>,
    file: PackageFile<'a>,
    at: String,
    stop: Stop,
    sha256: Sha256,
    bytes: u64,
}

impl Checked<'_> {
    fn end(&self) -> Result<(), FileError> {
        let (path, at) = (self.file.path.to_owned(), self.at.clone());
        if self.bytes != self.file.bytes {
            return Err(FileError::Size { path, at, found: self.bytes, stated: self.file.bytes });
        }
        let found = data_encoding::HEXLOWER.encode(&self.sha256.clone().finalize());
        if found != self.file.sha256 {
            return Err(FileError::Digest { path, at, found, stated: self.file.sha256.to_owned() });
        }
        Ok(())
    }
}

impl Read for Checked<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            let exit = self.stop.exit().unwrap_or(Exit::Interrupted);
            return Err(io::Error::other(FileError::Stopped { exit }));
        }
        if into.is_empty() {
            return Ok(0);
        }
        let n = match self.reader.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(source) => {
                let (path, at) = (self.file.path.to_owned(), self.at.clone());
                return Err(io::Error::other(FileError::Read { path, at, source }));
            }
            Ok(n) => n,
        };
        self.sha256.update(into.get(..n).unwrap_or_default());
        self.bytes += n as u64;
        // A file that grows while it is read is not read to its end.
        if n == 0 || self.bytes > self.file.bytes {
            self.end().map_err(io::Error::other)?;
        }
        Ok(n)
    }
}
