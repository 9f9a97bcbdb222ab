//! Copies a package file by file.
//!
//! Files get their names one by one, each when it is whole, and `manifest.json` last but for SHA256SUMS, so that its
//! presence means what it means everywhere. A file that is there with the right size and digest is kept. The folder is
//! nobody's other than this package's: what else is in it is not mixed with evidence.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::part::{PART, beside, disk, lock, write_whole};
use super::source::{check_stop, copy};
use super::{Download, DownloadError, Downloaded, check_outside_source, rows_of};
use crate::digest::sha256_of;
use crate::package::layout::{MANIFEST, REPORT, SHA256SUMS, SIGNATURE};
use crate::package::manifest::Manifest;
use crate::package::{Package, PackageFile};
use crate::small_file;
use crate::store::{MAX_READ_BYTES, resolve};

pub(super) fn download(request: &Download<'_>, shards: &[PackageFile<'_>]) -> Result<Downloaded, DownloadError> {
    check_unchanged(request)?;
    let sums = sums_bytes(request)?;
    let Package { folder, manifest_bytes, .. } = request.package;
    let root = std::path::absolute(&request.to).map_err(|source| disk("find", &request.to, source))?;
    for shard in shards {
        check_outside_source(request, &root.join(shard.path))?;
    }
    look_around(request.package, &root)?;
    fs::create_dir_all(&root).map_err(|source| disk("make", &root, source))?;
    let locked = Lock::new(&root)?;

    let mut copy = Copy { request, root, done: 0, bytes: 0 };
    let mut resumed_files = 0;
    for shard in shards {
        resumed_files += usize::from(copy.bring(shard)?);
    }
    for rejects in request.package.rejects() {
        copy.bring(&rejects)?;
    }
    for name in [SIGNATURE, REPORT] {
        let read = folder.read(name);
        if let Some(bytes) = read.map_err(|source| DownloadError::Store { name: name.to_owned(), source })? {
            copy.put(name, &bytes)?;
        }
    }
    copy.put(MANIFEST, manifest_bytes)?;
    copy.put(SHA256SUMS, &sums)?;
    drop(locked);
    let Copy { root: path, bytes, .. } = copy;
    Ok(Downloaded { path, files: shards.len(), rows: rows_of(shards), bytes, resumed_files })
}

/// Fails if the manifest is no longer what it was when the package was opened.
fn check_unchanged(request: &Download<'_>) -> Result<(), DownloadError> {
    let read = request.package.folder.read(MANIFEST);
    match read.map_err(|source| DownloadError::Store { name: MANIFEST.to_owned(), source })? {
        Some(bytes) if bytes == request.package.manifest_bytes => Ok(()),
        _ => Err(DownloadError::Changed { at: request.package.at() }),
    }
}

/// The list of digests, which the manifest gives: where a crash left it out it is made, another one is damage.
fn sums_bytes(request: &Download<'_>) -> Result<Vec<u8>, DownloadError> {
    let Package { folder, manifest, manifest_sha256, .. } = request.package;
    let sums = manifest.sha256sums(manifest_sha256).into_bytes();
    let read = folder.read(SHA256SUMS);
    match read.map_err(|source| DownloadError::Store { name: SHA256SUMS.to_owned(), source })? {
        Some(found) if found != sums => Err(DownloadError::Derived { name: SHA256SUMS, at: request.package.at() }),
        _ => Ok(sums),
    }
}

/// Refuses a folder that holds another package or anything else that is not of this one.
fn look_around(package: &Package, root: &Path) -> Result<(), DownloadError> {
    match fs::metadata(root) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(DownloadError::NotAFolder { path: root.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(disk("look at", root, source)),
    }
    let path = root.join(MANIFEST);
    let is_same = match small_file::read_regular(&path, MAX_READ_BYTES) {
        Ok(found) if found == package.manifest_bytes => true,
        Ok(found) => {
            let holds = match Manifest::from_json(&found) {
                Ok(other) if other.id == package.manifest.id => format!("an earlier or later state of {}", other.id),
                Ok(other) => other.id,
                Err(error) => format!("whose manifest cannot be read: {error}"),
            };
            return Err(DownloadError::OtherPackage { folder: root.to_owned(), holds });
        }
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        // A pipe, a socket or a device.
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            return Err(DownloadError::Foreign { folder: root.to_owned(), found: MANIFEST.to_owned() });
        }
        Err(source) => return Err(disk("read", &path, source)),
    };
    let ours: HashSet<&str> = [MANIFEST, SHA256SUMS, SIGNATURE, REPORT]
        .into_iter()
        .chain(package.manifest.digests().map(|(path, _)| path))
        .collect();
    let folders: HashSet<&str> =
        ours.iter().flat_map(|path| path.match_indices('/').filter_map(|(end, _)| path.get(..end))).collect();
    for entry in walkdir::WalkDir::new(root).min_depth(1).follow_links(false).sort_by_file_name() {
        let entry = entry.map_err(|error| disk("list", root, error.into()))?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let segments: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        let name = segments.join("/");
        let is_ours = if entry.file_type().is_dir() {
            folders.contains(name.as_str())
        } else {
            entry.file_type().is_file() && ours.contains(name.strip_suffix(PART).unwrap_or(&name))
        };
        // What serves a run that resumes is in the way of nothing where the package is downloaded onto itself.
        let is_state = is_same && Path::new(&name).starts_with("_state");
        if !is_ours && !is_state {
            return Err(DownloadError::Foreign { folder: root.to_owned(), found: name });
        }
    }
    Ok(())
}

/// Keeps other downloads out of the folder: the part file of the manifest, which is the last to be written.
struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    fn new(root: &Path) -> Result<Self, DownloadError> {
        let path = beside(&root.join(MANIFEST), PART);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| disk("create", &path, source))?;
        lock(&file, &path, root)?;
        Ok(Self { _file: file, path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        #[expect(clippy::let_underscore_must_use, reason = "the file is gone where the manifest was written")]
        let _ = fs::remove_file(&self.path);
    }
}

/// The copy being made.
struct Copy<'a> {
    request: &'a Download<'a>,
    root: PathBuf,
    /// Stored bytes of the files that are whole.
    done: u64,
    /// Size of all files.
    bytes: u64,
}

impl Copy<'_> {
    /// The path of a name, with the folders above it.
    fn place(&self, name: &str) -> Result<PathBuf, DownloadError> {
        let path = resolve(&self.root, name).map_err(DownloadError::Target)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| disk("make", folder, source))?;
        }
        Ok(path)
    }

    /// Brings a file, and says whether it was there.
    fn bring(&mut self, file: &PackageFile<'_>) -> Result<bool, DownloadError> {
        let path = self.place(file.path)?;
        let is_there = is_whole(&path, file).map_err(|source| disk("read", &path, source))?;
        if !is_there {
            check_stop(self.request)?;
            write_whole(&path, |out| copy(self.request, file, self.done, out, &path))?;
        }
        self.done = self.done.saturating_add(file.bytes);
        self.bytes = self.bytes.saturating_add(file.bytes);
        (self.request.progress)(self.done);
        Ok(is_there)
    }

    /// Writes a small file, unless it is there.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), DownloadError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let path = self.place(name)?;
        if small_file::read_regular(&path, bytes.len() as u64).is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        write_whole(&path, |file| file.write_all(bytes))
    }
}

fn is_whole(path: &Path, file: &PackageFile<'_>) -> std::io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == file.bytes => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(sha256_of(File::open(path)?)? == file.sha256)
}
