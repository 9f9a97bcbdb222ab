//! A package that some run has ended, opened for looking: what `coverage`, `sample` and `pack` begin with.
//!
//! The SHA-256 of `manifest.json` is the package's identity: the manifest has the digest of every file, so whoever knows
//! this one number can check all the rest. Nothing here writes.

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
use crate::package::layout::{MANIFEST, SHA256SUMS};
use crate::package::manifest::{Manifest, ManifestError, Tombstone};
use crate::store::{Folder, Location, StoreError};

pub use file::{FileError, Listed};
pub use keys::ReadKeys;
pub use reveal::{Revealed, reveal};

/// An opened package.
#[derive(Debug)]
pub struct Package {
    /// Where its files are.
    pub folder: Folder,
    /// Its manifest.
    pub manifest: Manifest,
    /// The manifest as stored.
    pub manifest_bytes: Vec<u8>,
    /// Lower-case hex SHA-256 of [`Package::manifest_bytes`].
    pub manifest_sha256: String,
    /// The clock when it was opened: later times are in the future.
    pub now: Timestamp,
}

/// A place that is no package, or one whose own record cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No run has ended there.
    #[error("{at} has no manifest.json: name the folder of a package")]
    NoManifest {
        /// The place.
        at: String,
    },
    /// The manifest's bytes are not those of one.
    #[error("manifest.json in {at} cannot be read: bring it back from a copy of the package")]
    Manifest {
        /// The package.
        at: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// There is nothing to compare the manifest with.
    #[error("SHA256SUMS is not in {at}: run the job again, which writes it, or bring it back from a copy")]
    NoSums {
        /// The package.
        at: String,
    },
    /// The list of digests and the manifest contradict each other.
    #[error(
        "SHA256SUMS in {at} is not what manifest.json gives, so one of them was changed: `kt-export verify` says where \
         they differ"
    )]
    Sums {
        /// The package.
        at: String,
    },
    /// Shards are said to be deleted, but not by a tombstone that fits.
    #[error("{name} in {at} {fault}: find out who wrote it, and check the package with `kt-export verify`")]
    Tombstone {
        /// The package.
        at: String,
        /// The tombstone, or its signature.
        name: &'static str,
        /// Why it counts for nothing.
        fault: String,
    },
    /// The disk or the store.
    #[error("cannot look at {at}")]
    Store {
        /// The place.
        at: String,
        /// Its reason.
        source: StoreError,
    },
}

impl PackageError {
    /// What the process tells its scheduler.
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
        let manifest_sha256 = sha256(&manifest_bytes);
        Ok(Self { folder, manifest, manifest_bytes, manifest_sha256, now })
    }

    /// Its folder, for messages.
    pub fn at(&self) -> String {
        self.folder.location().to_string()
    }

    /// Compares SHA256SUMS with what the manifest gives, byte for byte, and gives its text.
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

    /// What it says of shards that were deleted when their retention was over.
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

/// The folder that a link leads to: an auditor may well have one to a package. Links inside a package are another matter.
pub fn real(at: &Location) -> Location {
    match at {
        Location::Local(path) => fs::canonicalize(path).map_or_else(|_| at.clone(), Location::Local),
        Location::Object(_) => at.clone(),
    }
}
