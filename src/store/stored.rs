//! Reads a stored file sequentially or at any offset.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};

use super::local::open_listed;
use super::location::{Location, ObjectLocation};
use super::remote::{Ahead, Bucket, UnaddressableKey, bucket};
use super::{Refusal, StoreError};

/// Asked of a store at a time: large enough that waiting for the answer is little of it.
const REQUEST_BYTES: u64 = 8 << 20;

/// The least that is asked of a store for one small read, because the next one is mostly near.
const WINDOW_BYTES: u64 = 256 << 10;

/// A file's bytes.
#[derive(Debug)]
pub struct Stored {
    bytes: u64,
    place: Backing,
}

#[derive(Debug)]
enum Backing {
    File(Mutex<File>),
    Object(Object),
    #[cfg(test)]
    Memory(Bytes),
}

#[derive(Debug, Clone)]
struct Object {
    bucket: Arc<Bucket>,
    key: String,
    /// Only this version is read.
    etag: Option<String>,
    /// What small reads got more of than they asked for, and where it begins.
    window: Arc<Mutex<(u64, Bytes)>>,
}

impl Stored {
    /// An open file of so many bytes.
    pub fn file(file: File, bytes: u64) -> Self {
        Self { bytes, place: Backing::File(Mutex::new(file)) }
    }

    #[cfg(test)]
    pub(super) fn memory(bytes: Bytes) -> Self {
        Self { bytes: bytes.len() as u64, place: Backing::Memory(bytes) }
    }

    pub(super) fn object(bucket: Arc<Bucket>, key: String, bytes: u64, etag: Option<String>) -> Self {
        Self { bytes, place: Backing::Object(Object { bucket, key, etag, window: Arc::default() }) }
    }

    /// Opens a file that was looked at before and had so many bytes then; of an object, only the version with that tag
    /// will be read.
    ///
    /// # Errors
    /// The operating system's or, as its inner error, [`StoreError`].
    pub fn open(at: &Location, bytes: u64, etag: Option<&str>) -> io::Result<Self> {
        match at {
            Location::Local(path) => Ok(Self::file(open_listed(path)?, bytes)),
            Location::Object(object) => {
                let bucket = bucket(object).map_err(io::Error::other)?;
                Ok(Self::object(bucket, object.key.clone(), bytes, etag.map(str::to_owned)))
            }
        }
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether every read is a request over a network, so that few large ones are better.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Backing::Object(_))
    }

    /// `length` bytes from a place on.
    ///
    /// # Errors
    /// As [`Stored::open`]; fewer bytes are an error.
    pub fn read_at(&self, start: u64, length: u64) -> io::Result<Bytes> {
        match &self.place {
            Backing::File(_) => {
                let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                self.read_exact_at(start, &mut block)?;
                Ok(block.into())
            }
            #[cfg(test)]
            Backing::Memory(bytes) => {
                let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                fill(bytes, start, &mut block)?;
                Ok(block.into())
            }
            Backing::Object(object) => {
                let mut window = object.window.lock().unwrap_or_else(PoisonError::into_inner);
                let wanted = usize::try_from(length).map_err(io::Error::other)?;
                let inside = |(from, bytes): &(u64, Bytes)| {
                    let at = usize::try_from(start.checked_sub(*from)?).ok()?;
                    let end = at.checked_add(wanted).filter(|end| *end <= bytes.len())?;
                    Some(bytes.slice(at..end))
                };
                if let Some(bytes) = inside(&window) {
                    return Ok(bytes);
                }
                let end = start.saturating_add(length.max(WINDOW_BYTES)).min(self.bytes.max(start + length));
                let range = start..end;
                let bytes = self.read_ranges(std::slice::from_ref(&range))?.pop().unwrap_or_default();
                *window = (start, bytes);
                inside(&window).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    /// Fills memory with the bytes from a place on.
    ///
    /// # Errors
    /// As [`Stored::read_at`].
    pub fn read_exact_at(&self, start: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.place {
            Backing::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(into)
            }
            #[cfg(test)]
            Backing::Memory(bytes) => fill(bytes, start, into),
            Backing::Object(_) => {
                into.copy_from_slice(&self.read_at(start, into.len() as u64)?);
                Ok(())
            }
        }
    }

    /// Several ranges, side by side.
    ///
    /// # Errors
    /// As [`Stored::read_at`].
    pub fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        match &self.place {
            #[cfg(test)]
            Backing::Memory(_) => ranges.iter().map(|r| self.read_at(r.start, r.end.saturating_sub(r.start))).collect(),
            Backing::File(_) => ranges.iter().map(|r| self.read_at(r.start, r.end.saturating_sub(r.start))).collect(),
            Backing::Object(object) => {
                let read = object.bucket.read_ranges(&object.key, ranges, object.etag.as_deref());
                read.map_err(io::Error::other)
            }
        }
    }

    /// All bytes, from front to back.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self.place {
            Backing::File(file) => Box::new(file.into_inner().unwrap_or_else(PoisonError::into_inner)),
            #[cfg(test)]
            Backing::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
            Backing::Object(object) => {
                Box::new(Sequential { object, bytes: self.bytes, asked: 0, here: Bytes::new(), ahead: None })
            }
        }
    }
}

#[cfg(test)]
fn fill(bytes: &Bytes, start: u64, into: &mut [u8]) -> io::Result<()> {
    let start = usize::try_from(start).map_err(io::Error::other)?;
    let there = bytes.get(start..start.saturating_add(into.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
    into.copy_from_slice(there);
    Ok(())
}

/// Reads an object in large pieces, the next one while this one is worked on.
struct Sequential {
    object: Object,
    bytes: u64,
    asked: u64,
    here: Bytes,
    ahead: Option<Ahead>,
}

impl Sequential {
    fn ask(&mut self) -> io::Result<Option<Ahead>> {
        let range = self.asked..self.bytes.min(self.asked + REQUEST_BYTES);
        if range.is_empty() {
            return Ok(None);
        }
        self.asked = range.end;
        let Object { bucket, key, etag, .. } = &self.object;
        bucket.read_ahead(key, range, etag.as_deref()).map(Some).map_err(io::Error::other)
    }
}

impl Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.here.has_remaining() {
            let next = match self.ahead.take() {
                Some(ahead) => Some(ahead),
                None => self.ask()?,
            };
            let Some(next) = next else { return Ok(0) };
            self.ahead = self.ask()?;
            self.here = next.bytes().map_err(io::Error::other)?;
        }
        let n = self.here.len().min(into.len());
        self.here.split_to(n).copy_to_slice(into.get_mut(..n).unwrap_or_default());
        Ok(n)
    }
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Where.
    pub at: ObjectLocation,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub modified: jiff::Timestamp,
    /// Which version it is, in the store's words.
    pub etag: Option<String>,
}

impl ObjectMeta {
    fn of(at: &ObjectLocation, found: object_store::ObjectMeta) -> Result<Self, StoreError> {
        let at = ObjectLocation { key: found.location.to_string(), ..at.clone() };
        let modified = modified(&found).ok_or_else(|| StoreError::Remote {
            action: "use",
            at: at.to_string(),
            refusal: Refusal::Garbled,
            answer: format!("it was modified at {}", found.last_modified),
        })?;
        Ok(Self {
            at,
            bytes: found.size,
            modified,
            // A weak tag matches no `If-Match` (RFC 9110, 13.1.1), so it cannot tell the version to a read.
            etag: found.e_tag.filter(|etag| !etag.starts_with("W/")),
        })
    }
}

/// When an object was written, by the clock of its store; `None` outside the years -9999 to 9999.
pub(super) fn modified(found: &object_store::ObjectMeta) -> Option<jiff::Timestamp> {
    let nanosecond = i32::try_from(found.last_modified.timestamp_subsec_nanos()).ok()?;
    jiff::Timestamp::new(found.last_modified.timestamp(), nanosecond).ok()
}

/// Requests the metadata of one object; `None` if it does not exist.
///
/// # Errors
/// [`StoreError::Remote`].
pub fn head_object(at: &ObjectLocation) -> Result<Option<ObjectMeta>, StoreError> {
    bucket(at)?.head(&at.key)?.map(|found| ObjectMeta::of(at, found)).transpose()
}

/// The objects below a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectListing {
    /// Objects, in order of key.
    pub objects: Vec<ObjectMeta>,
    /// Objects that cannot be read because no request can contain their keys, in order of key.
    pub unaddressable: Vec<UnaddressableKey>,
}

/// All objects whose keys begin with this one's and a slash.
///
/// # Errors
/// [`StoreError::Remote`].
pub fn list_below(at: &ObjectLocation) -> Result<ObjectListing, StoreError> {
    let below = bucket(at)?.list(&at.key)?;
    let objects = below.objects.into_iter().map(|found| ObjectMeta::of(at, found)).collect::<Result<_, _>>()?;
    Ok(ObjectListing { objects, unaddressable: below.unaddressable })
}

/// Whether an object whose key begins with this one's and a slash has a key that is wanted.
///
/// # Errors
/// [`StoreError::Remote`].
pub fn has_below(at: &ObjectLocation, wanted: fn(&str) -> bool) -> Result<bool, StoreError> {
    bucket(at)?.has(&at.key, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn an_object_of_a_time_that_cannot_be_written_is_an_error() {
        let bucket = Location::parse("s3://bucket/", &StoreOptions::default()).unwrap();
        let Location::Object(at) = bucket else { panic!("{bucket} is in no object store") };
        let found = |modified: &str| {
            let meta = object_store::ObjectMeta {
                location: "a.csv".into(),
                last_modified: modified.parse().unwrap(),
                size: 1,
                e_tag: None,
                version: None,
            };
            ObjectMeta::of(&at, meta)
        };
        assert_eq!(found("2300-01-01T00:00:00.5Z").unwrap().modified.to_string(), "2300-01-01T00:00:00.5Z");
        let error = found("+12000-01-01T00:00:00Z").unwrap_err().to_string();
        assert!(error.starts_with("cannot use s3://bucket/a.csv: "), "{error}");
        assert!(error.ends_with("(it was modified at +12000-01-01 00:00:00 UTC)"), "{error}");
    }
}
