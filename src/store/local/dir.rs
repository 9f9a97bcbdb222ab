//! Handles of the package's folders. The root is opened once, and every write is resolved from that handle, folder by
//! folder, without following links. If the root is moved and replaced by a link during a run, nothing is written
//! through the link, and the run fails because its files are elsewhere.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;

use super::StoreError;
use super::name::{kind, not_a_folder};

/// For what is only passed through: asks for no permission to list.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The package's own folder, as it was when it was opened.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    handle: OwnedFd,
    device: u64,
    inode: u64,
}

/// A folder of the package, and the last segment of a name in it.
pub(super) struct OpenParent<'n> {
    pub(super) folder: OwnedFd,
    pub(super) last: &'n str,
}

impl OpenParent<'_> {
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// What is needed of two numbers whose types differ from system to system.
#[allow(clippy::unnecessary_cast, reason = "the types differ from system to system")]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

impl Root {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let failed = |error: Errno| StoreError::io("open", &path, error.into());
        let handle = open(&path, PASS, Mode::empty()).map_err(failed)?;
        let (device, inode) = identity(&fstat(&handle).map_err(failed)?);
        Ok(Self { path, handle, device, inode })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Whether the path still leads to the folder that was opened. One that is not there leads nowhere.
    ///
    /// # Errors
    /// [`StoreError::Swapped`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::MetadataExt;
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(found) => {
                let found = if found.is_dir() { "another folder" } else { kind(&found) };
                Err(StoreError::Swapped { path: self.path.clone(), found })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("look at", &self.path, error)),
        }
    }

    /// The folder that a checked name is in; `None` where it is not there.
    pub(super) fn place<'n>(&self, name: &'n str) -> Result<Option<OpenParent<'n>>, StoreError> {
        let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
        let mut folder = self.pass(self.dir(), ".", &self.path)?;
        let mut path = self.path.clone();
        for segment in parents.split('/').filter(|segment| !segment.is_empty()) {
            path.push(segment);
            let Some(above) = folder else { return Ok(None) };
            folder = self.pass(above.as_fd(), segment, &path)?;
        }
        Ok(folder.map(|folder| OpenParent { folder, last }))
    }

    /// A folder in a folder; `None` where it is not there.
    pub(super) fn pass(
        &self,
        above: BorrowedFd<'_>,
        segment: &str,
        path: &Path,
    ) -> Result<Option<OwnedFd>, StoreError> {
        match openat(above, segment, PASS, Mode::empty()) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT) => Ok(None),
            Err(error @ (Errno::NOTDIR | Errno::LOOP)) => match fs::symlink_metadata(path) {
                Ok(found) if !found.is_dir() => Err(not_a_folder(path, &found)),
                _ => Err(StoreError::io("open", path, error.into())),
            },
            Err(error) => Err(StoreError::io("open", path, error.into())),
        }
    }

    /// A regular file to read, and its size; `None` where nothing is. Opening never waits for the other end of a pipe,
    /// and nothing but a file is read.
    pub(super) fn file(&self, name: &str) -> Result<Option<(File, u64)>, StoreError> {
        let path = self.path.join(name);
        let Some(place) = self.place(name)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match openat(place.dir(), place.last, flags, Mode::empty()) {
            Ok(opened) => File::from(opened),
            Err(Errno::NOENT) => return Ok(None),
            // A link or a socket, reported as such.
            Err(error @ (Errno::LOOP | Errno::NXIO | Errno::OPNOTSUPP)) => {
                self.size(name)?;
                return Err(StoreError::io("open", &path, error.into()));
            }
            Err(error) => return Err(StoreError::io("open", &path, error.into())),
        };
        let found = opened.metadata().map_err(|e| StoreError::io("look at", &path, e))?;
        if found.is_file() { Ok(Some((opened, found.len()))) } else { Err(not_a_file(path, kind(&found))) }
    }

    /// The size of a regular file; `None` where nothing is.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path.join(name);
        let Some(place) = self.place(name)? else { return Ok(None) };
        match statat(place.dir(), place.last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile => Ok(Some(u64::try_from(found.st_size).unwrap_or_default())),
                FileType::Symlink => Err(not_a_file(path, "a symbolic link")),
                FileType::Directory => Err(not_a_file(path, "a folder")),
                _ => Err(not_a_file(path, "a device, pipe or socket")),
            },
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(StoreError::io("look at", &path, error.into())),
        }
    }
}

fn not_a_file(path: PathBuf, found: &'static str) -> StoreError {
    StoreError::WrongKind { path, found, needed: "a file", way_out: "remove it and run again" }
}

/// Makes the entries of a folder durable.
pub(super) fn sync(folder: BorrowedFd<'_>) -> io::Result<()> {
    let readable = openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match File::from(readable).sync_all() {
        // Some network and user-space file systems have nothing to sync for a folder and say so.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Opens a file that was listed as a regular one, links followed. What has become a pipe meanwhile is no reason to wait.
pub(in crate::store) fn open_listed(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "it is not a regular file any more: copy what it gives to a file first",
    ))
}
