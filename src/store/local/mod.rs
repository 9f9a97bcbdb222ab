//! Packages on a local disk.
//!
//! A name is created by at most one of any number of writers because link(2) decides, on every local file system.

mod dir;
mod draft;
mod name;
mod root;

use crate::package::layout::DRAFTS;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, linkat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use url::Url;

use self::dir::{OpenParent, Root, sync};
use self::draft::LocalDraft;
use self::name::not_a_folder;
use self::root::make_root;
use super::draft::{Publish, Unpublished};
use super::folder::{Backend, Link};
use super::stored::Stored;
use super::{Created, ListedFile, MAX_READ_BYTES, StoreError, random};

pub(super) use self::dir::open_listed;
pub(crate) use self::draft::sync_parent;
pub use self::name::{check_name, resolve};

/// How often a folder or name that vanished or appeared in between is tried again.
const ATTEMPTS: usize = 16;

/// The folder that holds one package. Clones are the same folder.
#[derive(Debug, Clone)]
pub(super) struct LocalFolder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Root,
    /// Distinguishes this process's drafts from those of other runs.
    run: String,
    drafts: AtomicU64,
    /// Folders that this process knows to be on the disk, so that each is synced once.
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalFolder {
    /// The folder for writing. Makes missing folders.
    ///
    /// Links above `root` are followed, `root` itself has to be a real folder.
    ///
    /// # Errors
    /// [`StoreError::WrongKind`] where `root`, or something above it, is not a folder; [`StoreError::Io`].
    pub(super) fn make(root: PathBuf) -> Result<Self, StoreError> {
        let root = absolute(&root)?;
        make_root(&root)?;
        Self::at(root)
    }

    /// The folder for looking, if it is there. Writes nothing, so a finished package on a read-only disk will do.
    ///
    /// # Errors
    /// [`StoreError::WrongKind`] where `root` is not a folder; [`StoreError::Io`].
    pub(super) fn existing(root: PathBuf) -> Result<Option<Self>, StoreError> {
        let root = absolute(&root)?;
        match fs::symlink_metadata(&root) {
            Ok(found) if found.is_dir() => Self::at(root).map(Some),
            Ok(found) => Err(not_a_folder(&root, &found)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(StoreError::io("look at", &root, error)),
        }
    }

    fn at(root: PathBuf) -> Result<Self, StoreError> {
        let root = Root::open(root)?;
        // The exclusive creation of drafts settles the rest.
        let run = format!("{}-{:016x}", std::process::id(), random());
        let shared = Shared { root, run, drafts: AtomicU64::new(0), durable: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Absolute.
    pub(super) fn root(&self) -> &Path {
        self.shared.root.path()
    }

    /// Refuses a name that leads out of the package, and a root that is not the one that was opened.
    fn check(&self, name: &str) -> Result<(), StoreError> {
        self.resolve(name).map(drop)
    }

    /// The folder of a checked name; `None` where it is not there.
    fn place<'n>(&self, name: &'n str) -> Result<Option<OpenParent<'n>>, StoreError> {
        self.shared.root.place(name)
    }

    /// A file for `name`, to be written and then published.
    ///
    /// # Errors
    /// [`StoreError::BadName`], [`StoreError::Io`].
    fn draft(&self, name: &str) -> Result<LocalDraft, StoreError> {
        // A wrong name is found before the work, not after it.
        self.check(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let (temporary, file) = self.temporary(|place| openat(place.dir(), place.last, flags, mode))?;
        let file = File::from(file);
        // Tells `remove_drafts` that its writer lives; the system lets go of it when the writer dies. Nothing else
        // depends on it, so a file system without locks only keeps what dead runs left.
        #[expect(
            clippy::let_underscore_must_use,
            reason = "a file system without locks only keeps what dead runs left"
        )]
        let _ = file.try_lock();
        Ok(LocalDraft { folder: self.clone(), name: name.to_owned(), temporary, file, block: Vec::new() })
    }

    /// Makes something at a fresh name among the drafts.
    fn temporary<T>(&self, make: impl Fn(&OpenParent<'_>) -> rustix::io::Result<T>) -> Result<(String, T), StoreError> {
        let mut last = Errno::NOENT;
        for _ in 0..ATTEMPTS {
            let number = self.shared.drafts.fetch_add(1, Ordering::Relaxed);
            let name = format!("{DRAFTS}/{}-{number}", self.shared.run);
            self.check(&name)?;
            let place = match self.make_parents(&name) {
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                made => made?,
            };
            match make(&place) {
                Ok(made) => {
                    drop(place);
                    return Ok((name, made));
                }
                Err(error @ (Errno::EXIST | Errno::NOENT)) => last = error,
                Err(error) => return Err(StoreError::io("create", &self.root().join(&name), error.into())),
            }
        }
        Err(StoreError::io("create a file in", &self.root().join(DRAFTS), last.into()))
    }

    fn put(&self, name: &str, bytes: &[u8], mode: Publish) -> Result<(), StoreError> {
        let mut draft = self.draft(name)?;
        draft.write_all(bytes).map_err(|e| StoreError::io("write", &self.root().join(&draft.temporary), e))?;
        draft.publish(mode)
    }

    /// Removes the folders above a name that are empty, and gives the last one removed, or the name: an object store has
    /// no empty folders, and an auditor would wonder about one.
    fn remove_emptied<'n>(&self, name: &'n str) -> &'n str {
        let mut emptied = name;
        while let Some((folder, _)) = emptied.rsplit_once('/') {
            let Ok(Some(place)) = self.place(folder) else { break };
            if unlinkat(place.dir(), place.last, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            emptied = folder;
        }
        emptied
    }

    fn resolve(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.shared.root.check()?;
        resolve(self.root(), name)
    }

    /// As [`Self::resolve`], for a folder. If it exists, it is not a symlink.
    fn folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.resolve(name)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_dir() => Err(not_a_folder(&path, &found)),
            _ => Ok(path),
        }
    }

    /// Makes the folders above `name` and makes them durable, each once per process.
    fn make_parents<'n>(&self, name: &'n str) -> Result<OpenParent<'n>, StoreError> {
        let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
        let mut path = self.root().to_owned();
        let gone = |path: &Path| StoreError::io("create the folder", path, ErrorKind::NotFound.into());
        let root = &self.shared.root;
        // The handle still leads to a folder that was moved away; what is written there would be lost.
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Err(gone(&path));
        }
        let mut folder = root.pass(root.dir(), ".", &path)?.ok_or_else(|| gone(&path))?;
        for segment in parents.split('/').filter(|segment| !segment.is_empty()) {
            let above = path.clone();
            path.push(segment);
            let made = match mkdirat(&folder, segment, Mode::from_raw_mode(0o777)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(StoreError::io("create the folder", &path, error.into())),
            };
            // One that was there may be another run's, not yet on the disk when that run dies.
            if made || !self.durable().contains(&path) {
                sync(folder.as_fd()).map_err(|e| StoreError::io("make durable", &above, e))?;
                self.durable().insert(path.clone());
            }
            folder = root.pass(folder.as_fd(), segment, &path)?.ok_or_else(|| gone(&path))?;
        }
        Ok(OpenParent { folder, last })
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.shared.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file, gives it a second name and removes both.
    fn try_out(&self) -> Result<(), StoreError> {
        let mut draft = self.draft("probe")?;
        let tried = |action, result: std::io::Result<()>| {
            result.map_err(|e| StoreError::io(action, &self.root().join(DRAFTS), e))
        };
        tried("write to a file in", draft.write_all(b"probe"))?;
        tried("write to a file in", draft.flush())?;
        tried("make durable a file in", draft.file.sync_all())?;
        let gone = || StoreError::DraftGone { name: draft.name.clone() };
        let here = self.place(&draft.temporary)?.ok_or_else(gone)?;
        let (link, ()) =
            self.temporary(|place| linkat(here.dir(), here.last, place.dir(), place.last, AtFlags::empty()))?;
        let there = self.place(&link)?.ok_or_else(gone)?;
        tried("remove a file from", unlinkat(there.dir(), there.last, AtFlags::empty()).map_err(Into::into))?;
        Ok(())
    }

    /// Leaves no empty folders of ours behind in a package that was only looked at.
    fn tidy(&self) {
        self.remove_emptied(&format!("{DRAFTS}/x"));
    }

    fn name_of(&self, path: &Path) -> Result<String, StoreError> {
        let relative = path.strip_prefix(self.root()).unwrap_or(path);
        let segments: Option<Vec<&str>> = relative.components().map(|c| c.as_os_str().to_str()).collect();
        let Some(segments) = segments else {
            return Err(StoreError::BadName { name: relative.to_string_lossy().into_owned(), why: "it is not UTF-8" });
        };
        let name = segments.join("/");
        check_name(&name)?;
        Ok(name)
    }
}

impl Backend for LocalFolder {
    fn prove(&self) -> Result<(), StoreError> {
        let proved = self.try_out();
        self.tidy();
        proved
    }

    fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn has_exclusive_names(&self) -> bool {
        true
    }

    fn begin(&self, name: &str) -> Result<Box<dyn Unpublished>, StoreError> {
        Ok(Box::new(self.draft(name)?))
    }

    fn create_bytes(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        match self.put(name, bytes, Publish::Create) {
            Ok(()) => Ok(Created::Created),
            Err(StoreError::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(error) => Err(error),
        }
    }

    fn replace_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(name, bytes, Publish::Replace)
    }

    /// No call of the system replaces a file only if it is still the old one. So the old one is taken away first and looked
    /// at, and the new one gets the name only if nothing else has it: a run that slept in between cannot put an old
    /// version over a newer one.
    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        if let Some(old) = old
            && !self.take_away(name, old)?
        {
            return Ok(false);
        }
        Ok(self.create_bytes(name, new)? == Created::Created)
    }

    fn take_away(&self, name: &str, old: &[u8]) -> Result<bool, StoreError> {
        let path = self.resolve(name)?;
        let failed = |e| StoreError::io("replace", &path, e);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        if self.place(name)?.is_none() {
            return Ok(false);
        }
        let (taken, _) = self.temporary(|place| openat(place.dir(), place.last, flags, mode))?;
        if self.place(&taken)?.is_none() {
            return Ok(false);
        }
        let here = self.root().join(&taken);
        let is_old = match fs::rename(&path, &here) {
            Ok(()) => {
                let found = self.read(&taken);
                let is_old = matches!(&found, Ok(Some(found)) if found == old);
                if !is_old {
                    // Another run has put a newer one there. Where a still newer one has come meanwhile, that one stays.
                    match fs::hard_link(&here, &path) {
                        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
                        _ => found?,
                    };
                }
                is_old
            }
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        #[expect(clippy::let_underscore_must_use, reason = "`Folder::remove_drafts` removes what stays")]
        let _ = fs::remove_file(&here);
        Ok(is_old)
    }

    fn make_durable(&self, name: &str) -> Result<(), StoreError> {
        let path = self.resolve(name)?;
        let failed = |e| StoreError::io("make durable", &path, e);
        if let Some((file, _)) = self.shared.root.file(name)? {
            file.sync_all().map_err(failed)?;
        }
        self.place(name)?.map_or(Ok(()), |place| sync(place.dir()).map_err(failed))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.resolve(name)?;
        let Some((file, size)) = self.shared.root.file(name)? else { return Ok(None) };
        if size > MAX_READ_BYTES {
            return Err(StoreError::TooLarge { path, bytes: size, limit: MAX_READ_BYTES });
        }
        let mut bytes = Vec::new();
        file.take(MAX_READ_BYTES).read_to_end(&mut bytes).map_err(|e| StoreError::io("read", &path, e))?;
        Ok(Some(bytes))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.check(name)?;
        self.shared.root.size(name)
    }

    fn open(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        self.check(name)?;
        Ok(self.shared.root.file(name)?.map(|(file, size)| Stored::file(file, size)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedFile>, StoreError> {
        self.shared.root.check()?;
        let start = match prefix.rsplit_once('/') {
            None => self.root().to_owned(),
            // The last segment may be cut short, so only the folders before it say where to look.
            Some((folder, _)) => self.folder(folder)?,
        };
        let mut listed = Vec::new();
        for entry in walkdir::WalkDir::new(&start).follow_links(false) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&start).to_owned();
                    let error = std::io::Error::from(error);
                    if error.kind() == ErrorKind::NotFound {
                        continue;
                    }
                    return Err(StoreError::io("list", &path, error));
                }
            };
            if entry.file_type().is_dir() {
                continue;
            }
            let name = self.name_of(entry.path())?;
            let is_draft = name.strip_prefix(DRAFTS).is_some_and(|rest| rest.starts_with('/'));
            if is_draft || !name.starts_with(prefix) {
                continue;
            }
            match fs::symlink_metadata(entry.path()) {
                Ok(found) => listed.push(ListedFile { name, bytes: found.len() }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("look at", entry.path(), error)),
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn folders(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.shared.root.check()?;
        let folder = if name.is_empty() { self.root().to_owned() } else { self.folder(name)? };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| StoreError::io("list", &folder, e))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| StoreError::io("list", &folder, e))?;
            let is_folder = entry.file_type().map_err(|e| StoreError::io("look at", &entry.path(), e))?.is_dir();
            if is_folder && let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.resolve(name)?;
        if self.place(name)?.is_none() {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|e| StoreError::io("remove", &path, e))?,
        }
        // Where the folder itself was removed by another run, there is nothing to make durable.
        let Some(place) = self.place(self.remove_emptied(name))? else { return Ok(()) };
        sync(place.dir()).map_err(|e| StoreError::io("make durable", self.root(), e))
    }

    /// They have no names yet.
    fn drafts(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn remove_drafts(&self, _is_finished: bool) -> Result<Vec<String>, StoreError> {
        let folder = self.folder(DRAFTS)?;
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| StoreError::io("list", &folder, e))?,
        };
        let ours = format!("{}-", self.shared.run);
        for entry in entries {
            let entry = entry.map_err(|e| StoreError::io("list", &folder, e))?;
            if entry.file_name().to_string_lossy().starts_with(&ours) {
                continue;
            }
            let Ok(name) = entry.file_name().into_string().map(|name| format!("{DRAFTS}/{name}")) else { continue };
            let Ok(Some((file, _))) = self.shared.root.file(&name) else { continue };
            let Some(place) = self.place(&name)?.filter(|_| file.try_lock().is_ok()) else { continue };
            match unlinkat(place.dir(), place.last, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(StoreError::io("remove", &entry.path(), error.into())),
            }
        }
        self.tidy();
        Ok(Vec::new())
    }

    fn presign(&self, name: &str, _expires_in: Duration) -> Result<Link, StoreError> {
        let path = self.resolve(name)?;
        let url = Url::from_file_path(&path);
        let url = url.map_err(|()| StoreError::io("name", &path, ErrorKind::InvalidInput.into()))?;
        Ok(Link { url, expires_at: None, limited_by: None })
    }
}

/// Without a slash at its end, which would have the system follow a link there, and call a file no folder.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    let absolute = std::path::absolute(path).map_err(|e| StoreError::io("find", path, e))?;
    Ok(absolute.components().collect())
}

#[cfg(test)]
mod tests;
