//! A bucket, or whatever its cloud calls it, asked one question at a time.
//!
//! The only place that is asynchronous: a runtime of two threads moves the bytes, and whoever asks waits.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::signer::Method;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion, coalesce_ranges,
};
use tokio::runtime::Runtime;

use super::connect::{Budget, Client, connect};
use super::error::{Refusal, refusal, store_error, transport};
use super::uploads::{self, Upload};
use crate::store::location::{ObjectLocation, Scheme};
use crate::store::{Created, Link, MAX_READ_BYTES, StoreError};

/// Gaps between wanted bytes that are cheaper to read than another request.
const GAP_BYTES: u64 = 64 << 10;

/// How often a conditional creation whose fate is unknown is tried again, after the client's own retries.
const CREATE_ATTEMPTS: u32 = 8;

/// A bucket. Shared by everybody in the process who names it with the same options.
pub(in crate::store) struct Bucket {
    at: ObjectLocation,
    /// Until the store has answered for the first time, and afterwards.
    clients: [Client; 2],
    answered: AtomicBool,
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
    let clients = [connect(&at, Budget::FirstContact)?, connect(&at, Budget::Steady)?];
    let bucket = Bucket { at: at.clone(), clients, answered: AtomicBool::new(false), exclusive: OnceLock::new() };
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
        &self.clients[usize::from(self.answered.load(Ordering::Relaxed))]
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(key).map_err(|e| store_error("name", self.object(key), &e.into()))
    }

    /// Asks, and notes that there was an answer.
    fn ask<T>(
        &self,
        action: &'static str,
        key: &str,
        question: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Result<T, StoreError>, StoreError> {
        let answer = wait(question)?;
        let failed = |error: object_store::Error| store_error(action, self.object(key), &error);
        let answer = answer.map_err(failed);
        let silent = matches!(
            &answer,
            Err(StoreError::Remote { refusal: Refusal::Unreachable | Refusal::Throttled | Refusal::NoCredentials, .. })
        );
        if !silent {
            self.answered.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// What is known of an object; `None` where there is none.
    pub(in crate::store) fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let path = self.path(key)?;
        found(self.ask("look at", key, self.client().objects.head(&path))?)
    }

    /// A whole object that is small; `None` where there is none.
    pub(in crate::store) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(key)?;
        let read = async {
            let found = self.client().objects.get(&path).await?;
            let bytes = found.meta.size;
            if bytes > MAX_READ_BYTES {
                return Ok(Err(bytes));
            }
            Ok(Ok(found.bytes().await?))
        };
        match found(self.ask("read", key, read)?)? {
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
            let (objects, path) = (self.client().objects.clone(), path.clone());
            let if_match = etag.map(str::to_owned);
            async move { read_version(objects.as_ref(), &path, range, if_match).await }
        };
        self.ask("read", key, coalesce_ranges(ranges, fetch, GAP_BYTES))?
    }

    /// The start of a range that is read while something else goes on.
    pub(in crate::store) fn read_ahead(
        self: &Arc<Self>,
        key: &str,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Ahead, StoreError> {
        let (bucket, key) = (self.clone(), key.to_owned());
        let (path, if_match) = (self.path(&key)?, etag.map(str::to_owned));
        let objects = self.client().objects.clone();
        let task = runtime()?.spawn(async move {
            let read = read_version(objects.as_ref(), &path, range, if_match);
            read.await.map_err(|e| store_error("read", bucket.object(&key), &e))
        });
        Ok(Ahead(task))
    }

    /// Creates or replaces a small object.
    pub(in crate::store) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let payload = PutPayload::from(bytes.to_vec());
        self.ask("write", key, self.client().objects.put(&path, payload))?.map(drop)
    }

    /// Replaces a small object if it has the bytes `old`; says whether it did. A store without conditional replacement
    /// (`If-Match`) replaces it right after it was compared.
    pub(in crate::store) fn swap(&self, key: &str, old: &[u8], new: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        let read = async {
            let found = self.client().objects.get(&path).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            Ok((version, found.bytes().await?))
        };
        let Some((version, bytes)) = found(self.ask("read", key, read)?)? else { return Ok(false) };
        if bytes != old {
            return Ok(false);
        }
        if self.exclusive.get() != Some(&false) {
            let payload = PutPayload::from(new.to_vec());
            let mode = PutMode::Update(version).into();
            match wait(self.client().objects.put_opts(&path, payload, mode))? {
                Ok(_) => return Ok(true),
                // Where the answer to a first try was lost, the object tells.
                Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => {
                    return Ok(self.read(key)?.is_some_and(|there| there == new));
                }
                Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {}
                Err(error) => return Err(store_error("replace", self.object(key), &error)),
            }
        }
        self.put(key, new).map(|()| true)
    }

    /// Creates a small object, if nobody has. Bytes that are the same count as ours: a reply may have been lost, and
    /// the request repeated.
    pub(in crate::store) fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        if self.exclusive.get() == Some(&false) {
            return self.create_unguarded(key, bytes);
        }
        let path = self.path(key)?;
        let mut pause = Duration::from_millis(100);
        let mut last = None;
        for _ in 0..CREATE_ATTEMPTS {
            let payload = PutPayload::from(bytes.to_vec());
            let created = wait(self.client().objects.put_opts(&path, payload, PutMode::Create.into()))?;
            let error = match created {
                Ok(_) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(Created::Created);
                }
                Err(error) => error,
            };
            let is_taken = matches!(error, object_store::Error::AlreadyExists { .. });
            let is_unknown = transport(&error) || refusal(&error) == Refusal::Unreachable;
            let failure = store_error("create", self.object(key), &error);
            if !is_taken && !is_unknown {
                return Err(failure);
            }
            self.answered.store(self.answered.load(Ordering::Relaxed) || is_taken, Ordering::Relaxed);
            match self.read(key) {
                Ok(Some(there)) if there == bytes => return Ok(Created::Created),
                Ok(Some(_)) => return Ok(Created::Exists),
                // Somebody's creation is under way (409), or ours did not arrive.
                Ok(None) => last = Some(failure),
                Err(error) => return Err(error),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        Err(last.unwrap_or(StoreError::AlreadyExists { name: key.to_owned() }))
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
        let create = |bytes: &'static [u8]| self.client().objects.put_opts(&path, bytes.into(), PutMode::Create.into());
        let first = wait(create(b"1"))?;
        let exclusive = match first {
            Ok(_) => match wait(create(b"2"))? {
                Ok(_) => false,
                Err(object_store::Error::AlreadyExists { .. }) => true,
                // No answer says nothing about conditions; a store that honours them must not be taken for another.
                Err(error) => {
                    let failure = store_error("create", self.object(key), &error);
                    let _ = self.remove(key);
                    return Err(failure);
                }
            },
            // A client's own retry met its own object, so the condition counted.
            Err(object_store::Error::AlreadyExists { .. }) => true,
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                self.put(key, b"1")?;
                false
            }
            Err(error) => return Err(store_error("create", self.object(key), &error)),
        };
        self.answered.store(true, Ordering::Relaxed);
        self.remove(key)?;
        Ok(*self.exclusive.get_or_init(|| exclusive))
    }

    /// Whether creation is exclusive, as far as it was found out.
    pub(in crate::store) fn is_exclusive(&self) -> bool {
        self.exclusive.get() != Some(&false)
    }

    /// Removes an object; one that is not there is no error.
    pub(in crate::store) fn remove(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key)?;
        found(self.ask("remove", key, self.client().objects.delete(&path))?).map(drop)
    }

    /// All objects whose keys begin with the prefix and a slash, in order of key, but for what consoles put down where
    /// a folder is made.
    pub(in crate::store) fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let path = self.path(prefix)?;
        let listed = self.client().objects.list(Some(&path)).try_collect::<Vec<_>>();
        let mut listed = self.ask("list", prefix, listed)??;
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        let is_folder: Vec<bool> = listed.iter().map(|found| is_marker(found, &path, &listed)).collect();
        let mut is_folder = is_folder.into_iter();
        listed.retain(|_| is_folder.next() != Some(true));
        Ok(listed)
    }

    /// Whether an object below the prefix has a key that is wanted. Lists no further than to the first.
    pub(in crate::store) fn has(&self, prefix: &str, wanted: fn(&str) -> bool) -> Result<bool, StoreError> {
        let path = self.path(prefix)?;
        let mut listed = self.client().objects.list(Some(&path));
        let found = async move {
            while let Some(found) = listed.try_next().await? {
                if wanted(found.location.as_ref()) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        self.ask("list", prefix, found)?
    }

    /// The names of the folders right below a prefix, in order.
    pub(in crate::store) fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path(prefix)?;
        let listed = self.ask("list", prefix, self.client().objects.list_with_delimiter(Some(&path)))??;
        let names = listed.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// A link that reads an object without credentials, for so long or as long as may be.
    pub(in crate::store) fn presign(&self, key: &str, expires_in: Duration) -> Result<Link, StoreError> {
        let path = self.path(key)?;
        let Some(signer) = &self.client().signer else {
            let answer = "a web server's objects have no presigned links".to_owned();
            return Err(StoreError::Remote { action: "sign", at: self.object(key), refusal: Refusal::Refused, answer });
        };
        let now = Timestamp::now();
        let (longest, why) = longest_link(self.scheme(), now);
        // Signatures count whole seconds.
        let seconds = Duration::from_secs(expires_in.min(longest).as_secs().max(1));
        let url = self.ask("sign a link to", key, signer.signed_url(Method::GET, &path, seconds))??;
        Ok(Link { url, expires_at: now.checked_add(seconds).ok(), limited_by: (expires_in > longest).then_some(why) })
    }

    /// The unfinished uploads below a prefix. Only S3 and GCS list them; Azure forgets uncommitted blocks after a week.
    pub(in crate::store) fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let Some(signer) = self.client().signer.as_ref().filter(|_| matches!(self.scheme(), Scheme::S3 | Scheme::Gs))
        else {
            return Ok(Vec::new());
        };
        wait(uploads::list(signer.as_ref(), prefix))?.map_err(|answer| StoreError::Remote {
            action: "list the unfinished uploads of",
            at: self.object(prefix),
            refusal: Refusal::Refused,
            answer,
        })
    }

    /// Aborts them and tells of which objects.
    pub(in crate::store) fn abort_uploads(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let Some(multipart) = &self.client().multipart else { return Ok(Vec::new()) };
        let mut aborted = Vec::new();
        for upload in self.uploads(prefix)? {
            let path = self.path(&upload.key)?;
            let aborting = multipart.abort_multipart(&path, &upload.upload_id);
            // One that has ended meanwhile is gone, as it should be.
            if self.ask("abort the upload of", &upload.key, aborting)?.is_ok() {
                aborted.push(upload.key);
            }
        }
        Ok(aborted)
    }
}

/// How long a link can work, and what ends it.
fn longest_link(scheme: Scheme, now: Timestamp) -> (Duration, &'static str) {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    const HOUR: Duration = Duration::from_secs(3600);
    let is_set = |name| std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
    if scheme != Scheme::S3 {
        return (WEEK, "the service signs for 7 days at most");
    }
    if !is_set("AWS_SESSION_TOKEN") && (is_set("AWS_ACCESS_KEY_ID") || !is_set("AWS_WEB_IDENTITY_TOKEN_FILE")) {
        return (WEEK, "the service signs for 7 days at most");
    }
    // A link dies with the credentials that signed it, and few say when that is.
    let ends = std::env::var("AWS_CREDENTIAL_EXPIRATION").ok().and_then(|text| text.parse::<Timestamp>().ok());
    match ends.map(|ends| Duration::try_from(ends.duration_since(now)).unwrap_or_default()) {
        Some(left) => (left.min(WEEK), "the credentials end then"),
        None => (HOUR, "the credentials are temporary and do not say when they end"),
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

/// A range of one version of an object, all of it. Not every store honours `If-Match`, so the tag of the answer is looked at too;
/// some stores quote it in lists and not in answers, or the other way round.
async fn read_version(
    objects: &dyn ObjectStore,
    path: &Path,
    range: Range<u64>,
    if_match: Option<String>,
) -> object_store::Result<Bytes> {
    let bare = |tag: &str| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    let wanted = if_match.as_deref().map(bare);
    let changed = |why: &str| object_store::Error::Precondition { path: path.to_string(), source: why.into() };
    let bytes = range.end - range.start;
    let range = Some(GetRange::Bounded(range));
    let found = objects.get_opts(path, GetOptions { if_match, range, ..GetOptions::default() }).await?;
    if let (Some(wanted), Some(there)) = (wanted, found.meta.e_tag.as_deref().map(bare))
        && wanted != there
    {
        return Err(changed("its ETag is another one, and the store ignores If-Match"));
    }
    let found = found.bytes().await?;
    if found.len() as u64 == bytes { Ok(found) } else { Err(changed("the answer is shorter than what was asked for")) }
}

/// Whether an object only stands for a folder: it is empty, and the prefix itself or above other objects. The client
/// takes the slash off its key, so that it could not even be read.
fn is_marker(found: &ObjectMeta, prefix: &Path, sorted: &[ObjectMeta]) -> bool {
    if found.size != 0 {
        return false;
    }
    let below = format!("{}/", found.location);
    let next = sorted.partition_point(|other| other.location.as_ref() < below.as_str());
    found.location == *prefix || sorted.get(next).is_some_and(|other| other.location.as_ref().starts_with(&below))
}

/// An object that is not there is an answer, a bucket that is not there an error.
fn found<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Remote { refusal: Refusal::NoObject, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
