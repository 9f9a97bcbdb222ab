//! A finished package, opened for reading: what `coverage`, `sample` and `pack` start from.
//!
//! The SHA-256 of `manifest.json` identifies the package: the manifest has the digest of every file, so this one value is
//! enough to check all the others. Nothing here writes.

mod file;
mod keys;
pub mod layout;
pub mod link;
pub mod manifest;
mod reveal;
pub mod state;
pub mod tombstone;

use std::fs;

use jiff::Timestamp;

use crate::digest::sha256;
use crate::error::Exit;
use crate::package::layout::{CONTENT, MANIFEST, SHA256SUMS};
use crate::package::manifest::{Manifest, ManifestError, Tombstone};
use crate::store::{self, Folder, Location, StoreError};

pub use file::{FileError, PackageFile};
pub use keys::ReadKeys;
pub use reveal::{Revealed, reveal};

/// An opened package.
#[derive(Debug)]
pub struct Package {
    /// The package's folder.
    pub folder: Folder,
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The manifest's bytes, as stored.
    pub manifest_bytes: Vec<u8>,
    /// Lower-case hex SHA-256 of [`Package::manifest_bytes`].
    pub manifest_sha256: String,
    /// The time when it was opened: later times are in the future.
    pub now: Timestamp,
}

/// Why a folder cannot be used as a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is no finished package.
    #[error("{at} has no manifest.json: name the folder of a package")]
    NoManifest {
        /// The folder.
        at: String,
    },
    /// The manifest cannot be parsed.
    #[error("manifest.json in {at} cannot be read: restore it from a copy of the package")]
    Manifest {
        /// The package.
        at: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// SHA256SUMS is missing.
    #[error("SHA256SUMS is not in {at}: run the job again, which writes it, or restore it from a copy")]
    NoSums {
        /// The package.
        at: String,
    },
    /// SHA256SUMS and the manifest contradict each other.
    #[error(
        "SHA256SUMS in {at} is not what manifest.json gives, so one of them was changed: `kt-export verify` says where \
         they differ"
    )]
    Sums {
        /// The package.
        at: String,
    },
    /// The tombstone is invalid.
    #[error("{name} in {at} {fault}: determine who wrote it, and check the package with `kt-export verify`")]
    Tombstone {
        /// The package.
        at: String,
        /// The tombstone, or its signature.
        name: &'static str,
        /// Why it is invalid.
        fault: String,
    },
    /// The store failed.
    #[error("cannot read {at}")]
    Store {
        /// The folder.
        at: String,
        /// The store's error.
        source: StoreError,
    },
}

impl PackageError {
    /// The exit code of the process.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoManifest { .. } => Exit::Usage,
            Self::Manifest { .. } | Self::NoSums { .. } | Self::Sums { .. } | Self::Tombstone { .. } => {
                Exit::VerifyFailed
            }
            Self::Store { source, .. } if source.code().is_retryable() => Exit::TryLater,
            Self::Store { .. } => Exit::Failed,
        }
    }
}

impl Package {
    /// Opens the package in a folder or below a prefix.
    ///
    /// # Errors
    /// [`PackageError::NoManifest`], [`PackageError::Manifest`], [`PackageError::Store`].
    pub fn open(at: &Location, now: Timestamp) -> Result<Self, PackageError> {
        let none = || PackageError::NoManifest { at: at.to_string() };
        let failed = |source| PackageError::Store { at: at.to_string(), source };
        let folder = Folder::existing(real(at)).map_err(failed)?.ok_or_else(none)?;
        let manifest_bytes = folder.read(MANIFEST).map_err(failed)?.ok_or_else(none)?;
        let manifest = Manifest::from_json(&manifest_bytes)
            .map_err(|source| PackageError::Manifest { at: at.to_string(), source })?;
        Ok(Self::new(folder, manifest, manifest_bytes, now))
    }

    /// The package in `folder` with this manifest, parsed and as stored.
    pub(crate) fn new(folder: Folder, manifest: Manifest, manifest_bytes: Vec<u8>, now: Timestamp) -> Self {
        let manifest_sha256 = sha256(&manifest_bytes);
        Self { folder, manifest, manifest_bytes, manifest_sha256, now }
    }

    /// Its folder, for messages.
    pub fn at(&self) -> String {
        self.folder.location().to_string()
    }

    /// Compares SHA256SUMS with the manifest, byte for byte, and returns its text.
    ///
    /// # Errors
    /// [`PackageError::NoSums`], [`PackageError::Sums`], [`PackageError::Store`].
    pub fn check_sums(&self) -> Result<Vec<u8>, PackageError> {
        let expected = self.manifest.sha256sums(&self.manifest_sha256).into_bytes();
        match self.folder.read(SHA256SUMS) {
            Ok(Some(found)) if found == expected => Ok(found),
            Ok(Some(_)) => Err(PackageError::Sums { at: self.at() }),
            Ok(None) => Err(PackageError::NoSums { at: self.at() }),
            Err(source) => Err(PackageError::Store { at: self.at(), source }),
        }
    }

    /// The tombstone, if the shards were deleted after their retention period.
    ///
    /// # Errors
    /// [`PackageError::Tombstone`], [`PackageError::Store`].
    pub fn tombstone(&self) -> Result<Option<Tombstone>, PackageError> {
        let buried = tombstone::read(&self.folder, &self.manifest, &self.manifest_sha256, self.now)
            .map_err(|source| PackageError::Store { at: self.at(), source })?;
        let Some(buried) = buried else { return Ok(None) };
        match buried.faults.first() {
            Some((name, fault)) => Err(PackageError::Tombstone { at: self.at(), name, fault: fault.clone() }),
            None => Ok(buried.tombstone),
        }
    }
}

/// Resolves a symbolic link to the package's folder. Links inside a package are not followed.
pub fn real(at: &Location) -> Location {
    match at {
        Location::Local(path) => fs::canonicalize(path).map_or_else(|_| at.clone(), Location::Local),
        Location::Object(_) => at.clone(),
    }
}

/// All shards and rejects in a package's folder, including those that no manifest names.
///
/// # Errors
/// The store's.
pub fn list_content(folder: &Folder) -> Result<Vec<store::ListedFile>, StoreError> {
    let mut found = Vec::new();
    for prefix in CONTENT {
        found.extend(folder.list(prefix)?);
    }
    Ok(found)
}
