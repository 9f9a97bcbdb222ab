//! A bucket (or container), with blocking operations. The only asynchronous module: a runtime of two threads does the
//! I/O, and callers block.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, PutPayload, UpdateVersion, coalesce_ranges};
use tokio::runtime::Runtime;

use super::connect::{Client, connect, time};
use super::error::{Broken, Refusal, failure, is_passing, is_undecided, is_unknown_operation, store_error};
use super::read::{read_version, read_whole};
use super::tries::Contact;
use super::uploads::{self, Upload};
use crate::store::location::{ObjectLocation, Scheme};
use crate::store::{Created, MAX_READ_BYTES, StoreError};

/// Gaps between wanted bytes that are cheaper to read than another request.
const GAP_BYTES: u64 = 64 << 10;

/// A bucket. Shared by everybody in the process who names it with the same options.
pub(in crate::store) struct Bucket {
    at: ObjectLocation,
    client: Client,
    contact: Contact,
    /// Whether the store honours `If-None-Match`, once that is known.
    exclusive: OnceLock<bool>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("at", &self.at.bucket()).finish_non_exhaustive()
    }
}

/// The bucket of a location.
///
/// # Errors
/// [`StoreError::Remote`] where the environment cannot be used; nothing is asked of the store.
pub(in crate::store) fn bucket(of: &ObjectLocation) -> Result<Arc<Bucket>, StoreError> {
    static BUCKETS: LazyLock<Mutex<HashMap<ObjectLocation, Arc<Bucket>>>> = LazyLock::new(Mutex::default);
    let at = ObjectLocation { key: String::new(), ..of.clone() };
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bucket) = buckets.get(&at) {
        return Ok(bucket.clone());
    }
    let time = time(&at)?;
    let client = connect(&at, time)?;
    let bucket = Bucket { at: at.clone(), client, contact: Contact::new(time), exclusive: OnceLock::new() };
    Ok(buckets.entry(at).or_insert(Arc::new(bucket)).clone())
}

/// Waits for an answer.
pub(super) fn wait<T>(question: impl Future<Output = T>) -> Result<T, StoreError> {
    Ok(runtime()?.block_on(question))
}

/// What moves the bytes.
pub(super) fn runtime() -> Result<&'static Runtime, StoreError> {
    static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("store").enable_all().build()
    });
    RUNTIME.as_ref().map_err(|error| StoreError::Threads { message: error.to_string() })
}

impl Bucket {
    /// How it is named in messages.
    pub(super) fn object(&self, key: &str) -> String {
        self.at.join(key).to_string()
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.at.scheme
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn path(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(key).map_err(|e| self.error("name", key, &e.into()))
    }

    pub(super) fn error(&self, action: &'static str, key: &str, error: &object_store::Error) -> StoreError {
        store_error(action, self.object(key), error)
    }

    /// Puts a question within the budget of every question.
    pub(super) async fn asked<T, F>(
        &self,
        action: &'static str,
        key: &str,
        question: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        self.contact.ask(question).await.map_err(|failed| failure(action, self.object(key), &failed))
    }

    /// Puts a question and waits.
    pub(super) fn ask<T, F>(
        &self,
        action: &'static str,
        key: &str,
        question: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        wait(self.asked(action, key, question))?
    }

    /// What is known of an object; `None` where there is none.
    pub(in crate::store) fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let path = self.path(key)?;
        found(self.ask("look at", key, || self.client.objects.head(&path)))
    }

    /// A whole object that is small; `None` where there is none.
    pub(in crate::store) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(key)?;
        match found(self.ask("read", key, || read_whole(self.client.objects.as_ref(), &path)))? {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes.into())),
            Some(Err(bytes)) => {
                Err(StoreError::TooLarge { path: self.object(key).into(), bytes, limit: MAX_READ_BYTES })
            }
        }
    }

    /// Ranges of an object, as many as were asked for; only of the version with this tag, where one is given.
    pub(in crate::store) fn read_ranges(
        &self,
        key: &str,
        ranges: &[Range<u64>],
        etag: Option<&str>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let path = self.path(key)?;
        let fetch = |range: Range<u64>| {
            let path = &path;
            self.asked("read", key, move || {
                read_version(self.client.objects.as_ref(), path, range.clone(), etag.map(str::to_owned))
            })
        };
        wait(coalesce_ranges(ranges, fetch, GAP_BYTES))?
    }

    /// Starts reading a range in the background.
    pub(in crate::store) fn read_ahead(
        self: &Arc<Self>,
        key: &str,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Ahead, StoreError> {
        let (bucket, key) = (self.clone(), key.to_owned());
        let (path, if_match) = (self.path(&key)?, etag.map(str::to_owned));
        let task = runtime()?.spawn(async move {
            let objects = bucket.client.objects.as_ref();
            bucket.asked("read", &key, || read_version(objects, &path, range.clone(), if_match.clone())).await
        });
        Ok(Ahead(task))
    }

    /// Creates or replaces a small object.
    pub(in crate::store) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let payload = PutPayload::from(bytes.to_vec());
        self.ask("write", key, || self.client.objects.put(&path, payload.clone())).map(drop)
    }

    /// Replaces a small object if it has the bytes `old`; says whether it did. A store without conditional replacement
    /// (`If-Match`) replaces it right after it was compared.
    pub(in crate::store) fn swap(&self, key: &str, old: &[u8], new: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        let Some(there) = self.head(key)? else { return Ok(false) };
        if self.read(key)?.as_deref() != Some(old) {
            return Ok(false);
        }
        let version = UpdateVersion { e_tag: there.e_tag, version: there.version };
        if self.is_exclusive() {
            let payload = PutPayload::from(new.to_vec());
            let swapped = self.ask("replace", key, || async {
                let mode = PutMode::Update(version.clone());
                match self.client.objects.put_opts(&path, payload.clone(), mode.into()).await {
                    Ok(_) => Ok(Some(true)),
                    // If the response to the first try was lost, the object itself decides.
                    Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => {
                        match read_whole(self.client.objects.as_ref(), &path).await {
                            Ok(there) => Ok(Some(there.is_ok_and(|there| there == new))),
                            Err(object_store::Error::NotFound { .. }) => Ok(Some(false)),
                            // The condition makes another try harmless, and the object decides again.
                            Err(error) => Err(error),
                        }
                    }
                    Err(error) if is_unknown_operation(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            })?;
            if let Some(swapped) = swapped {
                return Ok(swapped);
            }
        }
        self.put(key, new).map(|()| true)
    }

    /// Whether an object below the prefix has a key that is wanted.
    pub(in crate::store) fn has(&self, prefix: &str, wanted: fn(&str) -> bool) -> Result<bool, StoreError> {
        Ok(self.list(prefix)?.objects.iter().any(|found| wanted(found.location.as_ref())))
    }

    /// Creates a small object if it does not exist. Equal bytes count as ours: a reply may have been lost, and the
    /// request repeated.
    pub(in crate::store) fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        if self.exclusive.get() == Some(&false) {
            return self.create_unguarded(key, bytes);
        }
        let path = self.path(key)?;
        let payload = PutPayload::from(bytes.to_vec());
        // Once the store has said that the name is taken, only the look at who took it is tried again.
        let taken = AtomicBool::new(false);
        self.ask("create", key, || async {
            let objects = self.client.objects.as_ref();
            let error = if taken.swap(false, Ordering::Relaxed) {
                Broken::Undecided.into()
            } else {
                match objects.put_opts(&path, payload.clone(), PutMode::Create.into()).await {
                    Ok(_) => return Ok(Created::Created),
                    Err(error) => error,
                }
            };
            let is_taken = matches!(error, object_store::Error::AlreadyExists { .. }) || is_undecided(&error);
            if !is_taken && !is_passing(&error) {
                return Err(error);
            }
            // The object's content shows who created it, even if our reply was lost.
            match read_whole(objects, &path).await {
                Ok(Ok(there)) if there == bytes => Ok(Created::Created),
                Ok(_) => Ok(Created::Exists),
                // Another creation is in progress (409), or ours did not arrive.
                Err(object_store::Error::NotFound { .. }) if is_taken => Err(Broken::Undecided.into()),
                Err(object_store::Error::NotFound { .. }) => Err(error),
                Err(unread) if is_taken || !is_passing(&unread) => {
                    taken.store(is_taken, Ordering::Relaxed);
                    Err(unread)
                }
                Err(_) => Err(error),
            }
        })
    }

    /// Where the store does not honour conditions: good for one writer at a time, and notices most others.
    fn create_unguarded(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        if self.head(key)?.is_some() {
            return Ok(Created::Exists);
        }
        self.put(key, bytes)?;
        Ok(if self.read(key)?.as_deref() == Some(bytes) { Created::Created } else { Created::Exists })
    }

    /// Finds out whether creation is exclusive, by creating a key that is nobody's twice, and leaves nothing behind.
    pub(in crate::store) fn probe(&self, key: &str) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        // Whether the condition was refused; a repeated request may meet its own object, so that counts as well.
        let create = |bytes: &'static [u8]| {
            self.ask("create", key, || async {
                let created = self.client.objects.put_opts(&path, bytes.into(), PutMode::Create.into()).await;
                match created {
                    Ok(_) => Ok(Some(false)),
                    Err(object_store::Error::AlreadyExists { .. }) => Ok(Some(true)),
                    Err(error) if is_unknown_operation(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            })
        };
        let exclusive = match create(b"1")? {
            Some(false) => match create(b"2") {
                Ok(refused) => refused == Some(true),
                // No answer says nothing about conditions; a store that honours them must not be taken for another.
                Err(error) => {
                    #[expect(clippy::let_underscore_must_use, reason = "the error that led here is reported")]
                    let _ = self.remove(key);
                    return Err(error);
                }
            },
            Some(true) => true,
            None => {
                self.put(key, b"1")?;
                false
            }
        };
        self.remove(key)?;
        Ok(*self.exclusive.get_or_init(|| exclusive))
    }

    /// Whether creation is exclusive, as far as it was found out.
    pub(in crate::store) fn is_exclusive(&self) -> bool {
        self.exclusive.get() != Some(&false)
    }

    /// Removes an object; a missing one is not an error.
    pub(in crate::store) fn remove(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key)?;
        found(self.ask("remove", key, || self.client.objects.delete(&path))).map(drop)
    }

    /// The unfinished uploads below a prefix. Only S3 and GCS list them; Azure forgets uncommitted blocks after a week.
    pub(in crate::store) fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let Some(signer) = self.client.signer.as_ref().filter(|_| matches!(self.scheme(), Scheme::S3 | Scheme::Gs))
        else {
            return Ok(Vec::new());
        };
        let (mut uploads, mut marker) = (Vec::new(), Vec::new());
        loop {
            let page = self.ask("list the unfinished uploads of", prefix, || {
                uploads::page(signer.as_ref(), prefix, marker.clone())
            })?;
            uploads.extend(page.uploads);
            match page.next {
                Some(next) if next != marker => marker = next,
                _ => return Ok(uploads),
            }
        }
    }

    /// Aborts them and returns the names of their objects.
    pub(in crate::store) fn abort_uploads(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let Some(multipart) = &self.client.multipart else { return Ok(Vec::new()) };
        let mut aborted = Vec::new();
        for upload in self.uploads(prefix)? {
            let path = self.path(&upload.key)?;
            let aborting =
                self.ask("abort the upload of", &upload.key, || multipart.abort_multipart(&path, &upload.upload_id));
            match aborting {
                Ok(()) => aborted.push(upload.key),
                // One that has ended meanwhile is gone, as it should be.
                Err(StoreError::Remote { refusal: Refusal::NoObject, .. }) => {}
                Err(error) => tracing::warn!("{error}; `jobs prune` aborts it later"),
            }
        }
        Ok(aborted)
    }
}

/// Bytes that are being read.
pub(in crate::store) struct Ahead(tokio::task::JoinHandle<Result<Bytes, StoreError>>);

impl Ahead {
    /// Waits for them.
    pub(in crate::store) fn bytes(self) -> Result<Bytes, StoreError> {
        wait(self.0)?.map_err(|error| StoreError::Threads { message: error.to_string() })?
    }
}

/// An object that is not there is an answer, a bucket that is not there an error.
fn found<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Remote { refusal: Refusal::NoObject, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
