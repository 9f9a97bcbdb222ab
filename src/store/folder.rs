//! A package or any other folder of complete files, local or in an object store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::draft::{Draft, Unpublished};
use super::local::LocalFolder;
use super::location::{Location, ObjectLocation};
use super::remote::Prefix;
use super::stored::Stored;
use super::{Created, ListedFile, StoreError};
use crate::digest::sha256_of;

/// A link to a file that needs no credentials.
#[derive(Debug, Clone)]
pub struct Link {
    /// The link; anyone who has it can read the file.
    pub url: Url,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Why it ends sooner than was asked for.
    pub limited_by: Option<&'static str>,
}

/// What every store can do. Names are checked by the store, every time.
pub(super) trait Backend: fmt::Debug + Send + Sync {
    /// Proves that files can be created and removed, before any work is done.
    fn prove(&self) -> Result<(), StoreError>;
    /// The store's clock, from the time of a new object. `None` if the store has no clock of its own.
    fn server_time(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Whether a name is created by at most one of any number of writers.
    fn is_exclusive(&self) -> bool;
    /// Whether a name's bytes cannot be replaced while a reader has it open.
    fn has_exclusive_names(&self) -> bool;
    fn begin(&self, name: &str) -> Result<Box<dyn Unpublished>, StoreError>;
    fn create_bytes(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError>;
    fn replace_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError>;
    fn take_away(&self, name: &str, old: &[u8]) -> Result<bool, StoreError>;
    fn make_durable(&self, name: &str) -> Result<(), StoreError>;
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    fn size(&self, name: &str) -> Result<Option<u64>, StoreError>;
    fn open(&self, name: &str) -> Result<Option<Stored>, StoreError>;
    fn list(&self, prefix: &str) -> Result<Vec<ListedFile>, StoreError>;
    fn folders(&self, name: &str) -> Result<Vec<String>, StoreError>;
    fn remove(&self, name: &str) -> Result<(), StoreError>;
    fn drafts(&self) -> Result<Vec<String>, StoreError>;
    fn remove_drafts(&self, is_finished: bool) -> Result<Vec<String>, StoreError>;
    fn presign(&self, name: &str, expires_in: Duration) -> Result<Link, StoreError>;
}

/// The folder that holds one package. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct Folder {
    location: Location,
    backend: Arc<dyn Backend>,
}

impl Folder {
    /// The folder for writing: proves that files can be created and removed in it, so that a place that cannot be
    /// written is found before any work is done. A local folder is made if it is missing; links above it are followed,
    /// it itself has to be a real folder.
    ///
    /// # Errors
    /// [`StoreError::WrongKind`] where it, or something above it, is not a folder; [`StoreError::ReadOnly`];
    /// [`StoreError::Io`], [`StoreError::Remote`].
    pub fn open(location: impl Into<Location>) -> Result<Self, StoreError> {
        let location = location.into();
        #[cfg(test)]
        if let Some(folder) = super::simulated::open(&location) {
            return Ok(folder);
        }
        let folder = match location {
            Location::Local(root) => Self::local(LocalFolder::make(root)?),
            Location::Object(at) => Self::remote(at)?,
        };
        folder.backend.prove()?;
        if let (Location::Object(at), false) = (&folder.location, folder.is_exclusive()) {
            tracing::warn!(
                "{} ignores conditional writes (If-None-Match): one run of a job at a time, or two may both think that \
                 they finished it",
                at.bucket()
            );
        }
        Ok(folder)
    }

    /// The folder for looking, if it is there; a prefix of a bucket always is. Writes nothing, so a finished package on
    /// a read-only disk will do.
    ///
    /// # Errors
    /// [`StoreError::WrongKind`] where a local one is not a folder; [`StoreError::Io`], [`StoreError::Remote`].
    pub fn existing(location: impl Into<Location>) -> Result<Option<Self>, StoreError> {
        let location = location.into();
        #[cfg(test)]
        if let Some(folder) = super::simulated::existing(&location) {
            return Ok(folder);
        }
        Ok(match location {
            Location::Local(root) => LocalFolder::existing(root)?.map(Self::local),
            Location::Object(at) => Some(Self::remote(at)?),
        })
    }

    #[cfg(test)]
    pub(super) fn of_backend(location: Location, backend: Arc<dyn Backend>) -> Self {
        Self { location, backend }
    }

    fn local(folder: LocalFolder) -> Self {
        Self { location: Location::Local(folder.root().to_owned()), backend: Arc::new(folder) }
    }

    fn remote(at: Arc<ObjectLocation>) -> Result<Self, StoreError> {
        let prefix = Prefix::new(at.as_ref().clone())?;
        Ok(Self { location: Location::Object(at), backend: Arc::new(prefix) })
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Where it is; a local one absolute.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether a name is created by at most one of any number of writers. Local folders: yes. Of an object store it is
    /// known after [`Folder::open`].
    pub fn is_exclusive(&self) -> bool {
        self.backend.is_exclusive()
    }

    /// Whether nobody can put other bytes under a name while a reader looks, so that names need not tell who wrote
    /// them. Object stores have no rename, so there a shard's name carries its run.
    pub fn has_exclusive_names(&self) -> bool {
        self.backend.has_exclusive_names()
    }

    /// A file for `name`, to be written and then published.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::Io`].
    pub fn begin(&self, name: &str) -> Result<Draft, StoreError> {
        Ok(Draft { name: name.to_owned(), bytes: self.backend.begin(name)? })
    }

    /// Creates a small file if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::Io`], [`StoreError::Remote`].
    pub fn create_bytes(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        self.backend.create_bytes(name, bytes)
    }

    /// As [`Folder::create_bytes`], and says whether the name holds these bytes: a store that ignores conditions may have let
    /// another writer put others there meanwhile.
    ///
    /// # Errors
    /// As [`Folder::create_bytes`].
    pub fn claim(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        Ok(self.create_bytes(name, bytes)? == Created::Created
            && (self.is_exclusive() || self.read(name)?.as_deref() == Some(bytes)))
    }

    /// Creates or replaces a small file, whatever it was.
    ///
    /// # Errors
    /// As [`Folder::create_bytes`].
    pub fn replace_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.backend.replace_bytes(name, bytes)
    }

    /// Gives `name` the bytes `new` if it holds `old`, or, with `None`, if there is no such file. Says whether it did. A
    /// crash may leave no file of this name, and a reader may for a moment find none; never one that was overtaken.
    ///
    /// # Errors
    /// As [`Folder::create_bytes`].
    pub fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        self.backend.swap(name, old, new)
    }

    /// Removes `name` if it holds `old`; says whether it did.
    ///
    /// # Errors
    /// As [`Folder::create_bytes`].
    pub fn take_away(&self, name: &str, old: &[u8]) -> Result<bool, StoreError> {
        self.backend.take_away(name, old)
    }

    /// Makes durable a file that another run, perhaps a dead one, has written: that it can be read does not mean that it
    /// is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn make_durable(&self, name: &str) -> Result<(), StoreError> {
        self.backend.make_durable(name)
    }

    /// A whole file; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::WrongKind`] where it is not a file; [`StoreError::TooLarge`]; [`StoreError::Io`],
    /// [`StoreError::Remote`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.backend.read(name)
    }

    /// A file's size; `None` where there is none.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.backend.size(name)
    }

    /// A file to be read in parts; `None` where there is none.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn open_file(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        self.backend.open(name)
    }

    /// Lower-case hex SHA-256 of a file; `None` where there is none.
    ///
    /// # Errors
    /// As [`Folder::read`]. A file that cannot be read is not a missing one.
    pub fn sha256(&self, name: &str) -> Result<Option<String>, StoreError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let digest = sha256_of(file.into_reader());
        digest.map(Some).map_err(|error| StoreError::reading(&self.location.join(name), error))
    }

    /// Everything but folders whose name starts with `prefix`, sorted by name. Drafts do not count. Links are listed
    /// (so that they can be removed), not followed.
    ///
    /// # Errors
    /// [`StoreError::BadName`] for a prefix, or a file, whose name cannot be one of a package's; [`StoreError::Io`],
    /// [`StoreError::Remote`].
    pub fn list(&self, prefix: &str) -> Result<Vec<ListedFile>, StoreError> {
        self.backend.list(prefix)
    }

    /// The names of the folders right in `name` (all: an empty one), sorted.
    ///
    /// # Errors
    /// As [`Folder::list`].
    pub fn folders(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.backend.folders(name)
    }

    /// Removes a file, and the folders that this leaves empty. A missing file is not an error.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::Io`], [`StoreError::Remote`].
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.backend.remove(name)
    }

    /// Drafts that [`Folder::remove_drafts`] would remove where the job is finished and that have a name.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Remote`].
    pub fn drafts(&self) -> Result<Vec<String>, StoreError> {
        self.backend.drafts()
    }

    /// Removes drafts that dead runs left behind, and gives their names where they have any. Here those that nobody
    /// holds a lock on; in an object store unfinished uploads, but only where the job is finished, because nobody can
    /// tell whose they are.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Remote`].
    pub fn remove_drafts(&self, is_finished: bool) -> Result<Vec<String>, StoreError> {
        self.backend.remove_drafts(is_finished)
    }

    /// A link that reads a file without credentials, for so long. A local file's link has no end.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::Remote`].
    pub fn presign(&self, name: &str, expires_in: Duration) -> Result<Link, StoreError> {
        self.backend.presign(name, expires_in)
    }
}
