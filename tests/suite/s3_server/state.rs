//! What the server holds: buckets with objects and unfinished uploads, in memory.
//!
//! What S3 answers is followed where a client can see it; versions, owners and access lists do not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use s3s::dto::{CompletedPart, ETag, ETagCondition, Metadata, Timestamp};
use s3s::{S3Error, S3Result, s3_error};
use sha2::{Digest, Sha256};

/// Each part of an upload but the last has at least so many bytes on S3.
const MIN_PART_BYTES: usize = 5 << 20;

/// The most that S3 lists in one answer.
pub(super) const MAX_PAGE_SIZE: usize = 1000;

fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

#[derive(Clone)]
pub(super) struct Object {
    pub bytes: Bytes,
    pub etag: ETag,
    pub modified: Timestamp,
    pub content_type: Option<String>,
    pub metadata: Option<Metadata>,
}

#[derive(Default)]
pub(super) struct Bucket {
    pub objects: BTreeMap<String, Object>,
    /// Keys that cannot be deleted.
    pub locked: BTreeSet<String>,
    /// Unfinished uploads, by key and id.
    pub uploads: BTreeMap<(String, String), Upload>,
}

pub(super) struct Upload {
    /// When it began, and what its object will be besides bytes.
    pub template: Object,
    pub parts: BTreeMap<i32, Object>,
}

pub(super) struct State {
    pub buckets: BTreeMap<String, Bucket>,
    pub page_size: usize,
    pub ignore_conditions: bool,
    pub allow_small_parts: bool,
    /// Seconds that the clock is ahead.
    pub clock_ahead: i64,
    begun_uploads: u64,
}

impl Default for State {
    fn default() -> Self {
        let buckets = BTreeMap::new();
        State {
            buckets,
            page_size: MAX_PAGE_SIZE,
            ignore_conditions: false,
            allow_small_parts: false,
            clock_ahead: 0,
            begun_uploads: 0,
        }
    }
}

impl State {
    pub(super) fn bucket(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    /// A copy of an object, if the conditions of a read hold.
    pub(super) fn read(&mut self, bucket: &str, key: &str, conditions: &Conditions) -> S3Result<Object> {
        let object = self.bucket(bucket)?.objects.get(key).ok_or_else(no_such_key)?;
        conditions.check_read(object)?;
        Ok(object.clone())
    }

    /// Whether the conditions of a write hold.
    pub(super) fn check(&mut self, bucket: &str, key: &str, conditions: &Conditions) -> S3Result<()> {
        let ignored = self.ignore_conditions;
        let object = self.bucket(bucket)?.objects.get(key);
        if ignored { Ok(()) } else { conditions.check_write(object) }
    }

    /// The id of a new upload.
    pub(super) fn begin_upload(&mut self, bucket: &str, key: &str, template: Object) -> S3Result<String> {
        self.begun_uploads += 1;
        let id = format!("upload-{:08}", self.begun_uploads);
        let upload = Upload { template, parts: BTreeMap::new() };
        self.bucket(bucket)?.uploads.insert((key.to_owned(), id.clone()), upload);
        Ok(id)
    }
}

impl Object {
    /// Times are whole seconds, as on S3.
    pub(super) fn new(bytes: Bytes) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let modified = UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
        let etag = ETag::Strong(HEXLOWER.encode(&Sha256::digest(&bytes)[..16]));
        Object { bytes, etag, modified: modified.into(), content_type: None, metadata: None }
    }

    /// Written by a clock that is so many seconds ahead.
    pub(super) fn ahead(self, seconds: i64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let modified = UNIX_EPOCH + Duration::from_secs(since_epoch.saturating_add_signed(seconds));
        Object { modified: modified.into(), ..self }
    }

    pub(super) fn with(self, content_type: Option<String>, metadata: Option<Metadata>) -> Self {
        Object { content_type, metadata, ..self }
    }

    pub(super) fn len(&self) -> i64 {
        i64::try_from(self.bytes.len()).unwrap()
    }

    pub(super) fn content_type(&self) -> Option<String> {
        self.content_type.clone().or_else(|| Some("binary/octet-stream".to_owned()))
    }
}

impl Upload {
    /// The object that the listed parts make.
    pub(super) fn assemble(&self, listed: &[CompletedPart], allow_small_parts: bool) -> S3Result<Object> {
        let mut bytes = Vec::new();
        let mut digests = Sha256::new();
        let mut before = 0;
        for (i, part) in listed.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            if number <= before {
                return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
            }
            before = number;
            let is_meant = |stored: &&Object| part.e_tag.as_ref().is_some_and(|e| e.value() == stored.etag.value());
            let stored = self.parts.get(&number).filter(is_meant);
            let stored =
                stored.ok_or_else(|| s3_error!(InvalidPart, "One or more of the parts could not be found."))?;
            if i + 1 < listed.len() && stored.bytes.len() < MIN_PART_BYTES && !allow_small_parts {
                return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
            }
            bytes.extend_from_slice(&stored.bytes);
            digests.update(stored.etag.value());
        }
        if listed.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let etag = format!("{}-{}", HEXLOWER.encode(&digests.finalize()[..16]), listed.len());
        let object = Object::new(bytes.into());
        let (content_type, metadata) = (self.template.content_type.clone(), self.template.metadata.clone());
        Ok(Object { etag: ETag::Strong(etag), ..object }.with(content_type, metadata))
    }
}

/// The conditional headers of a request.
pub(super) struct Conditions {
    matches: Option<ETagCondition>,
    none_matches: Option<ETagCondition>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

fn is_met(condition: &ETagCondition, object: &Object) -> bool {
    condition.as_etag().is_none_or(|etag| etag.value() == object.etag.value())
}

impl Conditions {
    pub(super) fn new(matches: Option<ETagCondition>, none_matches: Option<ETagCondition>) -> Self {
        Conditions { matches, none_matches, modified_since: None, unmodified_since: None }
    }

    pub(super) fn since(self, modified_since: Option<Timestamp>, unmodified_since: Option<Timestamp>) -> Self {
        Conditions { modified_since, unmodified_since, ..self }
    }

    pub(super) fn check_write(&self, object: Option<&Object>) -> S3Result<()> {
        match (&self.matches, object) {
            (Some(_), None) => return Err(no_such_key()),
            (Some(condition), Some(object)) if !is_met(condition, object) => return Err(precondition_failed()),
            _ => {}
        }
        match (&self.none_matches, object) {
            (Some(condition), Some(object)) if is_met(condition, object) => Err(precondition_failed()),
            _ => Ok(()),
        }
    }

    /// RFC 9110, section 13.2.2: entity tags go before times.
    pub(super) fn check_read(&self, object: &Object) -> S3Result<()> {
        let passes = match (&self.matches, &self.unmodified_since) {
            (Some(condition), _) => is_met(condition, object),
            (None, since) => since.as_ref().is_none_or(|since| object.modified <= *since),
        };
        if !passes {
            return Err(precondition_failed());
        }
        let is_new = match (&self.none_matches, &self.modified_since) {
            (Some(condition), _) => !is_met(condition, object),
            (None, since) => since.as_ref().is_none_or(|since| object.modified > *since),
        };
        if is_new { Ok(()) } else { Err(s3_error!(NotModified)) }
    }
}
