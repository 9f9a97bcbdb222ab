//! Writes one partition's shards: encoder, then sealer, then draft file.
//!
//! Where a part ends depends only on the rows, not on their batches, so that the bytes are the same for any number of
//! threads.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::TimeUnit;
use jiff::Timestamp;

use super::Clock;
use super::attempt::Attempt;
use super::route::instant;
use super::sealing::FactsSealer;
use crate::encode::{self, EncodeError, Encoded, Encoder, Shard};
use crate::error::ErrorCode;
use crate::export_format::ExportFormat;
use crate::job::{Compression, Format, Job};
use crate::package::layout::{self, Origin};
use crate::package::manifest::{Facts, SealedFacts};
use crate::rows_digest::RowsDigest;
use crate::seal::{AGE_EXTENSION, Plain, Recipients, Sealed, Sealer};
use crate::store::{Draft, Folder, StoreError, error_code};

/// Format, names and limits that all shards of a job share.
pub(super) struct Layout {
    /// Encodes rows.
    pub encoder: Arc<Encoder>,
    /// Format and dialect.
    pub format: Format,
    /// Compression of the file, or of Parquet's pages.
    pub compression: Compression,
    /// Recipients of shards and rejects; `None` without age encryption.
    pub recipients: Option<Arc<Recipients>>,
    /// Seals facts that could confirm a guess of the content; `None` if the facts are in clear.
    pub facts: Option<Arc<FactsSealer>>,
    /// Maximum number of rows per part.
    pub max_rows: Option<u64>,
    /// Number of encoded bytes after which a new part starts.
    pub max_bytes: Option<u64>,
    /// Unit of instants.
    pub unit: TimeUnit,
    /// Clock for the times in the manifest.
    pub clock: Clock,
    /// The generation, and the run if two runs must not write the same name.
    pub origin: Origin,
}

impl Layout {
    /// The layout of a job's shards.
    pub(super) fn new(job: &Job, attempt: &Attempt, clock: Clock, origin: Origin) -> Self {
        let sealing = &attempt.secrets.sealing;
        Self {
            encoder: attempt.encoder.clone(),
            format: job.format.clone(),
            compression: job.compression,
            recipients: sealing.recipients.clone(),
            facts: sealing.facts(job),
            max_rows: job.partition.max_rows,
            max_bytes: job.partition.max_bytes,
            unit: attempt.prepared.unit,
            clock,
            origin,
        }
    }

    /// Name of a part, relative to the package.
    pub(super) fn part_name(&self, partition: &str, part: usize) -> String {
        let extensions = format!("{}{}", self.format.kind().extensions(self.compression.kind()), self.age());
        layout::shard(partition, part, &self.origin, &extensions)
    }

    /// Name of a task's rejects file, relative to the package.
    pub(super) fn rejects_name(&self, task_key: &str) -> String {
        layout::rejects(task_key, &self.origin, &format!("{}{}", ExportFormat::Ndjson.as_str(), self.age()))
    }

    fn age(&self) -> &'static str {
        if self.recipients.is_some() { AGE_EXTENSION } else { "" }
    }

    /// Compression of the whole file.
    fn file_compression(&self) -> Compression {
        if self.format.kind().facts().compresses_pages { Compression::None } else { self.compression }
    }
}

/// A sealed shard that is not yet published.
pub(super) struct Part {
    /// Relative to the package.
    pub name: String,
    /// The unpublished file.
    pub draft: Draft,
    /// Number of rows.
    pub rows: u64,
    /// Stored size in bytes.
    pub bytes: u64,
    /// SHA-256 of the stored bytes, in lower-case hex.
    pub sha256: String,
    /// Digest of the rows, if the job requests it and it is not sealed.
    pub rows_digest: Option<RowsDigest>,
    /// Size and digest before encryption with age, unless they are sealed.
    pub plain: Option<Plain>,
    /// The row digest, `plain` and the times, if they are sealed.
    pub sealed: Option<SealedFacts>,
    /// Earliest instant.
    pub min_time: Option<Timestamp>,
    /// Latest instant.
    pub max_time: Option<Timestamp>,
    /// When the first byte was written.
    pub started_at: Timestamp,
}

impl Part {
    /// Seals the facts that must not be in clear, neither in the manifest nor in the records of an unfinished run.
    fn seal(&mut self, sealer: &FactsSealer) -> std::io::Result<()> {
        let plain = self.plain.take();
        self.sealed = Some(sealer.seal(&Facts {
            sha256: self.sha256.clone(),
            plain_bytes: plain.as_ref().map(|plain| plain.bytes),
            plain_sha256: plain.map(|plain| plain.sha256),
            rows_digest: self.rows_digest.take().map(|digest| digest.to_string()),
            min_time: self.min_time.take(),
            max_time: self.max_time.take(),
        })?);
        Ok(())
    }
}

/// Why a shard could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShardError {
    /// Encoding, compressing or writing failed.
    #[error("cannot write {name}")]
    Encode {
        /// The shard.
        name: String,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ShardError {
    /// The code for the manifest.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Store(e) => e.code(),
            Self::Encode { source: EncodeError::UnsupportedType { .. }, .. } => ErrorCode::SchemaMismatch,
            Self::Encode { source, .. } => io_cause(source).map_or(ErrorCode::WriteFailed, error_code),
        }
    }
}

/// The operating system's error below an encoder's.
fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    std::iter::successors(Some(error), |e| e.source()).find_map(|e| e.downcast_ref())
}

/// The part being written.
struct OpenPart {
    name: String,
    shard: Shard<Sealer<Draft>>,
    rows: u64,
    digest: Option<RowsDigest>,
    times: Option<(i64, i64)>,
    started_at: Timestamp,
}

/// Writes the rows of one partition.
pub(super) struct PartitionWriter {
    layout: Arc<Layout>,
    folder: Folder,
    label: String,
    open: Option<OpenPart>,
    parts: Vec<Part>,
}

impl PartitionWriter {
    /// A writer for a partition. Nothing is created before the first row.
    pub(super) fn new(layout: Arc<Layout>, folder: Folder, label: String) -> Self {
        Self { layout, folder, label, open: None, parts: Vec::new() }
    }

    /// Appends rows; `times` has the instant of each.
    ///
    /// # Errors
    /// [`ShardError`]. The writer must then be dropped, which removes its drafts.
    pub(super) fn append(&mut self, rows: &Encoded, times: &[i64]) -> Result<(), ShardError> {
        let (mut done, mut digested) = (0, 0);
        while done < rows.rows() {
            if self.open.as_ref().is_some_and(|part| self.is_full(part)) {
                self.digest(rows, digested..done);
                digested = done;
                self.close()?;
            }
            let part = match self.open.take() {
                Some(part) => part,
                None => self.start()?,
            };
            let part = self.open.insert(part);
            let mut take = (rows.rows() - done) as u64;
            if let Some(max) = self.layout.max_rows {
                take = take.min(max - part.rows);
            }
            if self.layout.max_bytes.is_some() {
                let step = encode::part_step_rows(&self.layout.format);
                take = take.min(step - part.rows % step);
            }
            let now = done..done + usize::try_from(take).unwrap_or(usize::MAX).clamp(1, rows.rows() - done);
            done = now.end;
            let appended = part.shard.append(rows, now.clone());
            appended.map_err(|source| ShardError::Encode { name: part.name.clone(), source })?;
            part.rows += now.len() as u64;
            for &t in times.get(now).unwrap_or_default() {
                let (min, max) = part.times.unwrap_or((t, t));
                part.times = Some((min.min(t), max.max(t)));
            }
        }
        // Once per call, because the digest of all rows is already known.
        self.digest(rows, digested..done);
        Ok(())
    }

    /// Adds appended rows to the digest of the open part.
    fn digest(&mut self, rows: &Encoded, range: Range<usize>) {
        if let (Some(part), false) = (&mut self.open, range.is_empty())
            && let Some(digest) = rows.digest(range)
        {
            part.digest.get_or_insert_default().combine(&digest);
        }
    }

    /// Closes the last part. A partition without rows gets one empty part.
    ///
    /// # Errors
    /// [`ShardError`].
    pub(super) fn finish(mut self) -> Result<Vec<Part>, ShardError> {
        if self.open.is_none() && self.parts.is_empty() {
            self.open = Some(self.start()?);
        }
        self.close()?;
        Ok(self.parts)
    }

    fn is_full(&self, part: &OpenPart) -> bool {
        self.layout.max_rows.is_some_and(|max| part.rows >= max)
            || self.layout.max_bytes.is_some_and(|max| {
                part.rows > 0
                    && part.rows.is_multiple_of(encode::part_step_rows(&self.layout.format))
                    && part.shard.encoded_bytes() >= max
            })
    }

    fn start(&self) -> Result<OpenPart, ShardError> {
        let name = self.layout.part_name(&self.label, self.parts.len());
        let encode_error = |source| ShardError::Encode { name: name.clone(), source };
        let draft = self.folder.begin(&name)?;
        let (compression, recipients) = (self.layout.file_compression(), self.layout.recipients.as_deref());
        let sealer = Sealer::encrypted(draft, compression, recipients).map_err(|e| encode_error(e.into()))?;
        let shard = self.layout.encoder.start(sealer);
        let digest = self.layout.encoder.digests().then(RowsDigest::default);
        Ok(OpenPart { name, shard, rows: 0, digest, times: None, started_at: (self.layout.clock)() })
    }

    fn close(&mut self) -> Result<(), ShardError> {
        let Some(OpenPart { name, shard, rows, digest, times, started_at }) = self.open.take() else { return Ok(()) };
        let sealed = shard.finish().and_then(|sealer| Ok(sealer.finish()?));
        let Sealed { inner, bytes, sha256, plain } =
            sealed.map_err(|source| ShardError::Encode { name: name.clone(), source })?;
        let mut part = Part {
            name,
            draft: inner,
            rows,
            bytes,
            sha256,
            rows_digest: digest,
            plain,
            sealed: None,
            min_time: times.and_then(|(min, _)| instant(min, self.layout.unit)),
            max_time: times.and_then(|(_, max)| instant(max, self.layout.unit)),
            started_at,
        };
        if let Some(sealer) = &self.layout.facts {
            part.seal(sealer).map_err(|e| ShardError::Encode { name: part.name.clone(), source: e.into() })?;
        }
        self.parts.push(part);
        Ok(())
    }
}
