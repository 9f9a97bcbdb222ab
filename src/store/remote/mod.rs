//! Packages in object stores. The guarantees of a local folder by other means: objects become visible when complete,
//! because a PUT and the completion of an upload are atomic; only one writer creates a name, because of `If-None-Match:
//! *`. [`Bucket::probe`] detects stores that ignore that condition when a package is opened.

mod answers;
mod bucket;
mod connect;
mod error;
mod links;
mod list;
mod read;
mod tries;
mod upload;
mod uploads;

use crate::package::layout::{self, CONTENT};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::upload::Upload;
use super::draft::{Draft, Unpublished};
use super::folder::{Backend, Link};
use super::local::check_name;
use super::location::ObjectLocation;
use super::stored::{Stored, modified};
use super::{Created, ListedFile, StoreError};

pub use self::answers::UnaddressableKey;
pub(super) use self::bucket::{Ahead, Bucket, bucket};
pub use self::error::Refusal;
pub(super) use self::upload::PART_BYTES;

/// The objects below a prefix.
#[derive(Debug)]
pub(super) struct Prefix {
    at: ObjectLocation,
    bucket: Arc<Bucket>,
}

impl Prefix {
    pub(super) fn new(at: ObjectLocation) -> Result<Self, StoreError> {
        let bucket = bucket(&at)?;
        Ok(Self { at, bucket })
    }

    fn key(&self, name: &str) -> Result<String, StoreError> {
        check_name(name)?;
        Ok(self.at.join(name).key)
    }

    fn prefix(&self, name: &str) -> Result<String, StoreError> {
        if name.is_empty() { Ok(self.at.key.clone()) } else { self.key(name) }
    }

    /// The name of a key below this prefix.
    fn name<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(self.at.key.as_str()).unwrap_or(key).trim_start_matches('/')
    }
}

impl Backend for Prefix {
    fn prove(&self) -> Result<(), StoreError> {
        if self.at.scheme.is_web() {
            return Err(StoreError::ReadOnly { at: self.at.to_string() });
        }
        let name = layout::probe(super::random());
        self.bucket.probe(&self.key(&name)?).map(drop)
    }

    fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let key = self.key(&layout::probe(super::random()))?;
        self.bucket.put(&key, b"1")?;
        let found = self.bucket.head(&key);
        self.bucket.remove(&key)?;
        Ok(found?.and_then(|found| modified(&found)))
    }

    fn is_exclusive(&self) -> bool {
        self.bucket.is_exclusive()
    }

    /// There is no rename, so a shard's name carries its run.
    fn has_exclusive_names(&self) -> bool {
        false
    }

    fn begin(&self, name: &str) -> Result<Box<dyn Unpublished>, StoreError> {
        Ok(Box::new(Upload::new(self.bucket.clone(), self.key(name)?)?))
    }

    fn create_bytes(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        self.bucket.create(&self.key(name)?, bytes)
    }

    fn replace_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.bucket.put(&self.key(name)?, bytes)
    }

    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        match old {
            None => Ok(self.create_bytes(name, new)? == Created::Created),
            Some(old) => self.bucket.swap(&self.key(name)?, old, new),
        }
    }

    fn take_away(&self, name: &str, old: &[u8]) -> Result<bool, StoreError> {
        let is_old = self.read(name)?.as_deref() == Some(old);
        if is_old {
            self.remove(name)?;
        }
        Ok(is_old)
    }

    /// What an object store has acknowledged or shows is durable.
    fn make_durable(&self, name: &str) -> Result<(), StoreError> {
        self.key(name).map(drop)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.bucket.read(&self.key(name)?)
    }

    fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.bucket.head(&self.key(name)?)?.map(|found| found.size))
    }

    fn open(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        let key = self.key(name)?;
        let Some(found) = self.bucket.head(&key)? else { return Ok(None) };
        Ok(Some(Stored::object(self.bucket.clone(), key, found.size, found.e_tag)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedFile>, StoreError> {
        // A store lists whole segments; the last one of the prefix may be cut short.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let below = self.bucket.list(&self.prefix(folder)?)?;
        let mut listed: Vec<ListedFile> = below
            .objects
            .iter()
            .map(|found| ListedFile { name: self.name(found.location.as_ref()).to_owned(), bytes: found.size })
            // An empty one with a slash at its end is what consoles put down where a folder is made.
            .chain(below.unaddressable.iter().filter(|found| !found.is_folder()).map(|unaddressable| {
                ListedFile {
                    name: unaddressable
                        .key
                        .get(self.at.key.len()..)
                        .map_or("", |name| name.strip_prefix('/').unwrap_or(name))
                        .to_owned(),
                    bytes: unaddressable.bytes,
                }
            }))
            .filter(|found| found.name.starts_with(prefix))
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for found in &listed {
            check_name(&found.name)?;
        }
        Ok(listed)
    }

    fn folders(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.bucket.folders(&self.prefix(name)?)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.bucket.remove(&self.key(name)?)
    }

    fn drafts(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for folder in CONTENT.map(layout::folder) {
            let uploads = self.bucket.uploads(&self.key(folder)?)?;
            names.extend(uploads.iter().map(|upload| self.name(&upload.key).to_owned()));
        }
        Ok(names)
    }

    /// It is unknown which uploads are alive, so they are aborted only when none is needed any more.
    fn remove_drafts(&self, is_finished: bool) -> Result<Vec<String>, StoreError> {
        if !is_finished {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        // Not below all of the prefix: another package, whose runs are alive, may lie inside this one.
        for folder in CONTENT.map(layout::folder) {
            let aborted = self.bucket.abort_uploads(&self.key(folder)?)?;
            names.extend(aborted.iter().map(|key| self.name(key).to_owned()));
        }
        Ok(names)
    }

    fn presign(&self, name: &str, expires_in: Duration) -> Result<Link, StoreError> {
        self.bucket.presign(&self.key(name)?, expires_in)
    }
}

impl Draft {
    /// Memory that a draft in an object store takes.
    pub const UPLOAD_BYTES: u64 = 2 * PART_BYTES as u64;
}
