//! A package as one tar file for an auditor, with instructions to verify it without kt-export.
//!
//! Equal packages give equal tars, wherever they are and whenever they are packed: the entries are sorted, and nothing of
//! the machine or the clock is in them. Every file is compared with the manifest while it is copied, so that a tar never
//! gets its name unless it holds the whole package and nothing else.

mod archive;
mod instructions;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Exit;
use crate::package::layout::REPORT;
use crate::package::layout::{CONTENT, MANIFEST, SHA256SUMS, SIGNATURE, TOMBSTONE, TOMBSTONE_SIGNATURE, VERIFY_TXT};
use crate::package::manifest::ResolvedError;
use crate::package::{FileError, Package, PackageError, PackageFile};
use crate::stop::Stop;
use crate::store::{StoreError, sync_parent};

use archive::Archive;
use instructions::Facts;

/// Blocks for the disk.
const BLOCK_BYTES: usize = 256 * 1024;

/// A tar that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// The one folder in it.
    pub folder: String,
    /// Files in it, VERIFY.txt included.
    pub files: u64,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
}

/// Why a package cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The package's own record.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A file that is not what the manifest says.
    #[error(transparent)]
    File(#[from] FileError),
    /// A manifest whose spec cannot be read.
    #[error("{MANIFEST} cannot be used: {0}; check the package with `kt-export verify`")]
    Spec(#[from] ResolvedError),
    /// A file that is not in the manifest.
    #[error("`{}` in {at} is not in the manifest: find out where it comes from, and remove it", name.escape_debug())]
    Unlisted {
        /// Name in the package.
        name: String,
        /// The package.
        at: String,
    },
    /// The package's files cannot be listed or read.
    #[error("cannot look at the files of {at}")]
    Store {
        /// The package.
        at: String,
        /// Its reason.
        source: StoreError,
    },
    /// The target exists.
    #[error("{} already exists: remove it or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The user's disk.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// Verb phrase: `create`, `make durable`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The output stream.
    #[error("cannot write the tar")]
    Write(#[source] io::Error),
}

impl PackError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Package(error) => error.exit(),
            Self::File(error) => error.exit(),
            Self::Unlisted { .. } | Self::Spec(_) => Exit::VerifyFailed,
            Self::Exists { .. } => Exit::Usage,
            Self::Store { source, .. } if source.code().is_retryable() => Exit::TryLater,
            Self::Store { .. } | Self::Disk { .. } | Self::Write(_) => Exit::Failed,
        }
    }
}

/// Packs into a file that is not there yet. On an error there is none.
///
/// # Errors
/// [`PackError`].
pub fn pack_into(package: &Package, path: &Path, stop: &Stop) -> Result<Packed, PackError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(PackError::Exists { path: path.to_owned() });
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let disk = |action| {
        let path = part.clone();
        move |source| PackError::Disk { action, path, source }
    };
    // A leftover of a crash may be replaced; a link is not followed.
    match fs::remove_file(&part) {
        Err(source) if source.kind() != ErrorKind::NotFound => return Err(disk("replace")(source)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).open(&part).map_err(disk("create"))?;
    let filled = fill(package, &file, stop).map_err(|error| match error {
        PackError::Write(source) => disk("write")(source),
        other => other,
    });
    let written = filled.and_then(|packed| {
        file.sync_all().map_err(disk("make durable"))?;
        fs::rename(&part, path).map_err(disk("rename"))?;
        Ok(packed)
    });
    if written.is_err() {
        #[expect(clippy::let_underscore_must_use, reason = "the error that led here is reported")]
        let _ = fs::remove_file(&part);
        return written;
    }
    let absolute = std::path::absolute(path).map_err(disk("find"))?;
    sync_parent(&absolute).map_err(|source| PackError::Store { at: path.display().to_string(), source })?;
    written
}

fn fill(package: &Package, file: &File, stop: &Stop) -> Result<Packed, PackError> {
    let mut out = BufWriter::with_capacity(BLOCK_BYTES, file);
    let packed = pack(package, &mut out, stop)?;
    // What is still in memory is not written by dropping it: an error would be lost.
    out.flush().map_err(PackError::Write)?;
    Ok(packed)
}

/// Packs into a stream. On an error the tar is cut: it has no end, and nothing follows the bytes that were wrong.
///
/// # Errors
/// [`PackError`].
pub fn pack(package: &Package, out: impl Write, stop: &Stop) -> Result<Packed, PackError> {
    let mut entries = entries(package)?;
    entries.sort_by(|a, b| a.name().cmp(b.name()));
    let folder = folder(package);
    let mut archive = Archive::new(out, &folder, package.manifest.finalized_at);
    for entry in &entries {
        match entry {
            Entry::Small(name, bytes) => archive.add(name, bytes.len() as u64, bytes.as_slice())?,
            Entry::Listed(file) => archive.add(file.path, file.bytes, package.checked(*file, stop)?)?,
        }
    }
    let (bytes, sha256) = archive.finish()?;
    Ok(Packed { folder, files: entries.len() as u64, bytes, sha256 })
}

/// What goes into the tar.
enum Entry<'a> {
    Small(&'static str, Vec<u8>),
    Listed(PackageFile<'a>),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Small(name, _) => name,
            Self::Listed(file) => file.path,
        }
    }
}

/// The evidence in a package: nothing of `_state/`, and nothing that is not part of a package.
fn entries(package: &Package) -> Result<Vec<Entry<'_>>, PackError> {
    let failed = |source| PackError::Store { at: package.at(), source };
    let sums = package.check_sums()?;
    let tombstone = package.tombstone()?;
    let mut listed: Vec<PackageFile<'_>> = package.shards()?;
    listed.extend(package.rejects());
    unlisted(package, &listed)?;
    let all = listed.len();
    if tombstone.is_some() {
        let mut there = Vec::with_capacity(all);
        for file in listed {
            if package.folder.size(file.path).map_err(failed)?.is_some() {
                there.push(file);
            }
        }
        listed = there;
    }
    let mut entries = vec![Entry::Small(MANIFEST, package.manifest_bytes.clone()), Entry::Small(SHA256SUMS, sums)];
    let mut is_signed = false;
    for name in [SIGNATURE, REPORT, TOMBSTONE, TOMBSTONE_SIGNATURE] {
        if let Some(bytes) = package.folder.read(name).map_err(failed)? {
            is_signed |= name == SIGNATURE;
            entries.push(Entry::Small(name, bytes));
        }
    }
    let facts = Facts {
        folder: &folder(package),
        manifest_sha256: &package.manifest_sha256,
        files: listed.len(),
        deleted: all - listed.len(),
        is_signed,
        tombstone: tombstone.as_ref(),
    };
    entries.push(Entry::Small(VERIFY_TXT, instructions::text(&package.manifest, &facts)?.into_bytes()));
    entries.extend(listed.into_iter().map(Entry::Listed));
    Ok(entries)
}

/// Refuses a package with unlisted files, as `verify` does.
fn unlisted(package: &Package, listed: &[PackageFile<'_>]) -> Result<(), PackError> {
    let known: std::collections::HashSet<&str> = listed.iter().map(|file| file.path).collect();
    for top in CONTENT {
        let there = package.folder.list(top).map_err(|source| PackError::Store { at: package.at(), source })?;
        if let Some(found) = there.into_iter().find(|found| !known.contains(found.name.as_str())) {
            return Err(PackError::Unlisted { name: found.name, at: package.at() });
        }
    }
    Ok(())
}

/// Name, window and job. It stands in commands, so it is of characters that no shell and no file system minds, whatever
/// the manifest says.
fn folder(package: &Package) -> String {
    let manifest = &package.manifest;
    let text = format!("{}-{}-{}", manifest.name, manifest.window_label, manifest.id);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let plain: String = text.chars().map(plain).take(200).collect();
    if plain.starts_with(|c: char| c.is_ascii_alphanumeric()) { plain } else { format!("package{plain}") }
}

#[cfg(test)]
mod tests;
