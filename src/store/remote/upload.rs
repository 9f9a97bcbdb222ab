//! An object on its way to its name.
//!
//! Small ones are one PUT, larger ones are uploaded in parts while they are written, so that only a part or two are in
//! memory. Nothing is visible under the name before [`Unpublished::publish`]. An upload that is dropped is aborted; what
//! a killed process leaves is aborted by the run that finishes the job, or by `jobs prune`.

use std::io::{self, Write};
use std::sync::Arc;

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;

use super::bucket::{Bucket, runtime, wait};
use super::error::Refusal;
use crate::store::draft::Unpublished;
use crate::store::{Publish, StoreError};

/// The smallest part that S3 takes, save for the last one.
pub(in crate::store) const PART_BYTES: usize = 5 << 20;

/// Parts of the smallest size; later ones are larger, because an upload has 10,000 parts at most. So an object may have
/// 2,000 × 5 MiB + 8,000 × 40 MiB, or 322 GiB.
const SMALL_PARTS: usize = 2_000;

/// An object that has no name yet.
pub(super) struct Upload {
    bucket: Arc<Bucket>,
    key: String,
    path: Path,
    buffer: Vec<u8>,
    bytes: u64,
    parts: Option<Parts>,
}

/// What is uploaded already.
struct Parts {
    store: Arc<dyn MultipartStore>,
    id: String,
    done: Vec<PartId>,
    /// One at a time, beside what fills the buffer.
    under_way: Option<JoinHandle<Result<PartId, StoreError>>>,
}

impl Upload {
    pub(super) fn new(bucket: Arc<Bucket>, key: String) -> Result<Self, StoreError> {
        let path = bucket.path(&key)?;
        Ok(Self { bucket, key, path, buffer: Vec::new(), bytes: 0, parts: None })
    }

    fn part_bytes(&self) -> usize {
        let done = self.parts.as_ref().map_or(0, |p| p.done.len());
        if done < SMALL_PARTS { PART_BYTES } else { 8 * PART_BYTES }
    }

    /// Waits for the part that is under way.
    fn settle(&mut self) -> Result<(), StoreError> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let Some(task) = parts.under_way.take() else { return Ok(()) };
        match wait(task)? {
            Ok(part) => {
                parts.done.push(part.map_err(|error| gone(error, &self.key))?);
                Ok(())
            }
            Err(error) => Err(StoreError::Threads { message: error.to_string() }),
        }
    }

    /// Sends the buffer as the next part.
    fn send(&mut self) -> Result<(), StoreError> {
        self.settle()?;
        if self.parts.is_none() {
            let Some(store) = self.bucket.client().multipart.clone() else {
                return Err(StoreError::ReadOnly { at: self.bucket.object(&self.key) });
            };
            let id = self.bucket.ask("write", &self.key, || store.create_multipart(&self.path))?;
            self.parts = Some(Parts { store, id, done: Vec::new(), under_way: None });
        }
        let (bucket, key, path) = (self.bucket.clone(), self.key.clone(), self.path.clone());
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        if let Some(parts) = &mut self.parts {
            let (store, id, number) = (parts.store.clone(), parts.id.clone(), parts.done.len());
            let put = async move {
                bucket.asked("write", &key, || store.put_part(&path, &id, number, payload.clone())).await
            };
            parts.under_way = Some(runtime()?.spawn(put));
        }
        Ok(())
    }

    /// Ends an upload in parts. Where the answer is lost, or is none, the object itself tells whether it is ended: it
    /// has our size, and is not the one that was there before.
    fn complete(&mut self, mode: Publish) -> Result<(), StoreError> {
        if !self.buffer.is_empty() {
            self.send()?;
        }
        self.settle()?;
        let before = self.bucket.head(&self.key)?;
        if mode == Publish::Create && before.is_some() {
            return Err(StoreError::AlreadyExists { name: self.key.clone() });
        }
        let Some(parts) = &self.parts else { return Ok(()) };
        let is_ours = |there: &ObjectMeta| {
            there.size == self.bytes && before.as_ref().is_none_or(|before| before.e_tag != there.e_tag)
        };
        let completed = self.bucket.ask("complete the upload of", &self.key, || async {
            let Err(error) = parts.store.complete_multipart(&self.path, &parts.id, parts.done.clone()).await else {
                return Ok(());
            };
            match self.bucket.client().objects.head(&self.path).await {
                Ok(there) if is_ours(&there) => Ok(()),
                _ => Err(error),
            }
        });
        completed.map_err(|error| gone(error, &self.key))?;
        self.parts = None;
        Ok(())
    }
}

/// An upload that is not there any more was aborted by the run that finished the job.
fn gone(error: StoreError, key: &str) -> StoreError {
    match error {
        StoreError::Remote { refusal: Refusal::NoObject, .. } => StoreError::DraftGone { name: key.to_owned() },
        error => error,
    }
}

impl Write for Upload {
    /// Always writes everything, so callers see no short writes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let part_bytes = self.part_bytes();
            if self.buffer.len() >= part_bytes {
                self.send().map_err(io::Error::other)?;
            }
            let taken = rest.len().min(part_bytes.saturating_sub(self.buffer.len()));
            let (piece, after) = rest.split_at(taken);
            self.buffer.extend_from_slice(piece);
            self.bytes += taken as u64;
            rest = after;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpublished for Upload {
    /// An upload in parts cannot be completed conditionally. What has the name before is not replaced, but of two
    /// writers at the same moment the later one wins; so names are given of which no two runs have the same.
    fn publish(&mut self, mode: Publish) -> Result<(), StoreError> {
        if self.parts.is_some() {
            return self.complete(mode);
        }
        match mode {
            Publish::Replace => self.bucket.put(&self.key, &self.buffer),
            Publish::Create => match self.bucket.create(&self.key, &self.buffer)? {
                crate::store::Created::Created => Ok(()),
                crate::store::Created::Exists => Err(StoreError::AlreadyExists { name: self.key.clone() }),
            },
        }
    }

    /// An upload has its name from the start.
    fn rename(&mut self, name: &str) -> Result<(), StoreError> {
        Err(StoreError::BadName { name: name.to_owned(), why: "an upload under another name has begun" })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        if let Some(task) = parts.under_way {
            task.abort();
        }
        let aborting =
            self.bucket.ask("abort the upload of", &self.key, || parts.store.abort_multipart(&self.path, &parts.id));
        if let Err(error) = aborting {
            // Gone already, aborted by the run that finished the job.
            if !matches!(error, StoreError::Remote { refusal: Refusal::NoObject, .. }) {
                tracing::warn!("{error}; `jobs prune` aborts it later");
            }
        }
    }
}
