//! Partial files of downloads and their resume records.
//!
//! `<name>.part` holds the bytes; `<name>.part.json` says how many of them are whole shards of which manifest, with
//! their digest. The record is written after the bytes are durable, so that it never promises more than there is. A lock
//! on the part file keeps two downloads apart; a file system without locks only loses that.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DownloadError;
use super::source::BLOCK_BYTES;
use super::splice::Seen;
use crate::json;
use crate::small_file;
use crate::store::sync_parent;

/// What the names of unfinished files end with.
pub(super) const PART: &str = ".part";

/// The same for files that are never resumed.
const UNFINISHED: &str = ".unfinished";

/// The version of the record that is written, and the only one that is gone on with.
const RECORD_VERSION: u32 = 1;

/// Larger than any record.
const LARGEST_RECORD_BYTES: u64 = 64 << 10;

/// After so many bytes the record is brought up to date: what a crash costs, against the cost of waiting for the disk.
const RECORD_EVERY_BYTES: u64 = 8 << 20;

/// What is whole in a part file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    record_version: u32,
    /// Of the manifest that the shards are of.
    manifest_sha256: String,
    /// Whole shards.
    pub(super) shards: usize,
    /// Their length in the part file.
    pub(super) bytes: u64,
    /// SHA-256 of so many bytes.
    sha256: String,
    /// What joining has to remember.
    pub(super) seen: Seen,
}

/// A joined file being written.
pub(super) struct PartFile {
    target: PathBuf,
    path: PathBuf,
    file: File,
    sha256: Sha256,
    bytes: u64,
    /// Up to the last whole shard.
    whole: Record,
    recorded_bytes: u64,
}

impl PartFile {
    /// The part file of a name that is free, empty or with what is whole of the same manifest.
    pub(super) fn open(target: &Path, manifest_sha256: &str) -> Result<Self, DownloadError> {
        refuse_taken(target)?;
        let path = beside(target, PART);
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => return Err(DownloadError::Exists { path }),
            _ => {}
        }
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| disk("create", &path, source))?;
        lock(&file, &path, target)?;
        // It may have got its name in between.
        refuse_taken(target)?;
        let whole =
            Record { record_version: RECORD_VERSION, manifest_sha256: manifest_sha256.to_owned(), ..Record::default() };
        let target = target.to_owned();
        let mut part = Self { target, path, file, sha256: Sha256::new(), bytes: 0, whole, recorded_bytes: 0 };
        part.go_on().map_err(|source| disk("write", &part.path, source))?;
        Ok(part)
    }

    /// What is whole.
    pub(super) fn whole(&self) -> &Record {
        &self.whole
    }

    /// Takes over what the record and the file agree on, else nothing.
    fn go_on(&mut self) -> io::Result<()> {
        if let Some(record) = self.record() {
            let mut sha256 = Sha256::new();
            let mut block = vec![0; BLOCK_BYTES];
            let mut rest = (&mut self.file).take(record.bytes);
            loop {
                let n = rest.read(&mut block)?;
                if n == 0 {
                    break;
                }
                sha256.update(block.get(..n).unwrap_or_default());
            }
            if rest.limit() == 0 && hex(&sha256) == record.sha256 {
                (self.bytes, self.recorded_bytes, self.sha256) = (record.bytes, record.bytes, sha256);
                self.whole = record;
            }
        }
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        Ok(())
    }

    fn record(&self) -> Option<Record> {
        let bytes = small_file::read_regular(&self.record_path(), LARGEST_RECORD_BYTES).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        let fits = record.record_version == RECORD_VERSION && record.manifest_sha256 == self.whole.manifest_sha256;
        fits.then_some(record)
    }

    fn record_path(&self) -> PathBuf {
        beside(&self.path, ".json")
    }

    /// Bytes written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything up to here is whole shards.
    pub(super) fn shard_ends(&mut self, seen: &Seen) -> Result<(), DownloadError> {
        self.whole.shards += 1;
        self.whole.bytes = self.bytes;
        self.whole.sha256 = hex(&self.sha256);
        self.whole.seen = seen.clone();
        if self.bytes - self.recorded_bytes >= RECORD_EVERY_BYTES {
            self.keep_record()?;
        }
        Ok(())
    }

    fn keep_record(&mut self) -> Result<(), DownloadError> {
        self.file.sync_data().map_err(|source| disk("make durable", &self.path, source))?;
        let text = json::pretty(&self.whole, "the record of a download")?;
        write_whole(&self.record_path(), |file| file.write_all(&text))?;
        self.recorded_bytes = self.whole.bytes;
        Ok(())
    }

    /// Leaves what is whole for the next download, and nothing where nothing is. The error that led here is the one to
    /// tell, so that others are not.
    pub(super) fn leave(mut self) {
        if self.whole.shards > 0 && self.file.set_len(self.whole.bytes).is_ok() && self.keep_record().is_ok() {
            return;
        }
        #[expect(clippy::let_underscore_must_use, reason = "the error that led here is reported")]
        let _ = fs::remove_file(self.record_path());
        #[expect(clippy::let_underscore_must_use, reason = "the error that led here is reported")]
        let _ = fs::remove_file(&self.path);
    }

    /// Gives the file its name.
    pub(super) fn publish(self) -> Result<(), DownloadError> {
        let record = self.record_path();
        name_it(&self.file, &self.path, &self.target, true)?;
        match fs::remove_file(&record) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(disk("remove", &record, source)),
            _ => Ok(()),
        }
    }

    /// Where the bytes are until they get their name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where scratch files of this download may be.
    pub(super) fn scratch_path(&self) -> PathBuf {
        beside(&self.path, ".shard")
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.sha256.update(bytes.get(..n).unwrap_or(bytes));
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Creates or replaces a file, whole or not at all.
pub(super) fn write_whole<E>(target: &Path, write: impl FnOnce(&mut File) -> Result<(), E>) -> Result<(), DownloadError>
where
    E: IntoDownloadError,
{
    write_at(target, PART, false, write)
}

/// Creates a file, whole or not at all; a name that is taken is refused.
///
/// # Errors
/// [`DownloadError::Exists`], [`DownloadError::Disk`], or the writer's error.
pub(crate) fn write_new(
    target: &Path,
    write: impl FnOnce(&mut File) -> Result<(), DownloadError>,
) -> Result<(), DownloadError> {
    refuse_taken(target)?;
    if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|source| disk("make", folder, source))?;
    }
    write_at(target, UNFINISHED, true, write)
}

fn write_at<E>(
    target: &Path,
    ending: &str,
    is_new: bool,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), DownloadError>
where
    E: IntoDownloadError,
{
    let path = beside(target, ending);
    let mut file = create_anew(&path)?;
    let written = write(&mut file).map_err(|error| error.into_error(&path));
    let named = written.and_then(|()| name_it(&file, &path, target, is_new));
    if named.is_err() {
        #[expect(clippy::let_underscore_must_use, reason = "the error that led here is reported")]
        let _ = fs::remove_file(&path);
    }
    named
}

/// An error of the code that fills a file.
pub(super) trait IntoDownloadError {
    /// With the path of the file.
    fn into_error(self, path: &Path) -> DownloadError;
}

impl IntoDownloadError for io::Error {
    fn into_error(self, path: &Path) -> DownloadError {
        disk("write", path, self)
    }
}

impl IntoDownloadError for DownloadError {
    fn into_error(self, _path: &Path) -> DownloadError {
        self
    }
}

/// Creates a new file and replaces a leftover of a crash; a link is not followed.
pub(super) fn create_anew(path: &Path) -> Result<File, DownloadError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => return Err(disk("replace", path, source)),
        _ => {}
    }
    let created = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    created.map_err(|source| disk("create", path, source))
}

/// Keeps other downloads out of `target` for as long as the file at `path` is open.
pub(super) fn lock(file: &File, path: &Path, target: &Path) -> Result<(), DownloadError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(DownloadError::Busy { path: target.to_owned() }),
        // Not every file system has locks.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // The previous lock holder may have renamed or removed the file since it was opened here.
    if is_at(file, path) { Ok(()) } else { Err(DownloadError::Busy { path: target.to_owned() }) }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.dev() == theirs.dev() && ours.ino() == theirs.ino(),
        _ => false,
    }
}

/// Elsewhere an open file keeps its name.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

fn name_it(file: &File, path: &Path, target: &Path, is_new: bool) -> Result<(), DownloadError> {
    file.sync_all().map_err(|source| disk("make durable", path, source))?;
    if is_new {
        refuse_taken(target)?;
    }
    fs::rename(path, target).map_err(|source| disk("create", target, source))?;
    // A bare file name has the empty path above it, which is the working folder.
    let target = std::path::absolute(target).map_err(|source| disk("find", target, source))?;
    sync_parent(&target).map_err(DownloadError::Target)
}

fn refuse_taken(target: &Path) -> Result<(), DownloadError> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(DownloadError::Exists { path: target.to_owned() }),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(disk("look at", target, source)),
    }
}

/// A path with more at the end of its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

pub(super) fn disk(action: &'static str, path: &Path, source: io::Error) -> DownloadError {
    DownloadError::Disk { action, path: path.to_owned(), source }
}

fn hex(sha256: &Sha256) -> String {
    data_encoding::HEXLOWER.encode(&sha256.clone().finalize())
}
