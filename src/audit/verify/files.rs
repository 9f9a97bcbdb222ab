//! Checks every file against the manifest, and the folder for unlisted files.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::rows::{self, Contents, Digester};
use super::{Check, Finding, VerifyOptions, VerifyReport, in_one_line, tombstone};
use crate::digest::sha256_of;
use crate::package::layout::{self, CONTENT, TOMBSTONE};
use crate::package::manifest::{EncryptionRecord, Manifest};
use crate::seal::{AGE_EXTENSION, plain_digest};
use crate::store::{Folder, Location, StoreError, Stored};
use crate::units::counted;

/// A file listed in the manifest.
struct Listed<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    /// Before age encrypted it.
    plain_bytes: Option<u64>,
    plain_sha256: Option<&'a str>,
    rows: u64,
    rows_digest: Option<&'a str>,
    /// Its plain size and digests are unknown because they are sealed.
    is_sealed: bool,
    contents: Contents,
    lock: Lock,
}

/// What is needed to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Open,
    Age,
    Parquet,
}

impl Listed<'_> {
    fn is_readable(&self, options: &VerifyOptions) -> bool {
        let has_key = match self.lock {
            Lock::Open => true,
            Lock::Age => !options.keys.identities.is_empty(),
            Lock::Parquet => options.keys.parquet.is_some(),
        };
        has_key && self.contents != Contents::Unknown
    }
}

pub(super) fn check(
    folder: &Folder,
    manifest: &Manifest,
    manifest_sha256: &str,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) {
    let mut listed = listed(manifest);
    if let Some(EncryptionRecord::Age { .. }) = manifest.encryption {
        for file in listed.iter().filter(|file| file.lock != Lock::Age) {
            report.find(Check::Files, Some(file.path), "is not encrypted, but the manifest says that all files are");
        }
    }
    if let Some(tombstone) = tombstone::check(folder, manifest, manifest_sha256, options, report) {
        let all = listed.len();
        listed.retain(|file| !matches!(folder.size(file.path), Ok(None)));
        let gone = all - listed.len();
        if gone as u64 > tombstone.files {
            let message = format!("says that {} files were deleted, but {gone} are not there", tombstone.files);
            report.find(Check::Tombstone, Some(TOMBSTONE), message);
        }
        report.leave_out(
            Check::Files,
            format!(
                "{gone} of {all} files: deleted at {} when their retention was over, as tombstone.json says",
                tombstone.pruned_at
            ),
        );
    }
    let results: Vec<Option<Finding>> =
        listed.par_iter().map(|file| check_file(folder, manifest, file, options)).collect();
    report.extend(results.into_iter().flatten());
    report.done(Check::Files, format!("size and SHA-256 of {} files", listed.len()));
    let encrypted = listed.iter().filter(|file| file.lock == Lock::Age).count();
    if encrypted > 0 && options.keys.identities.is_empty() {
        let files = counted(encrypted, "encrypted file");
        let why = format!(
            "the plain bytes of {files} were not read, because no --identity was given (their stored digests were \
             checked)"
        );
        report.leave_out(Check::Files, why);
    } else if encrypted > 0 {
        report.done(Check::Files, format!("plain size and SHA-256 of {}", counted(encrypted, "encrypted file")));
    }
    let unreadable = listed.iter().filter(|file| !file.is_readable(options)).count();
    if !options.rows {
        report.leave_out(Check::Rows, "rows were not read back: use --rows to read them");
    } else {
        let digested = if manifest.files.iter().any(|file| file.rows_digest.is_some()) {
            ", and the digests of those of the shards"
        } else {
            ""
        };
        report.done(Check::Rows, format!("rows of {} files, read back{digested}", listed.len() - unreadable));
        if unreadable > 0 {
            report.leave_out(
                Check::Rows,
                format!("rows of {unreadable} files that are encrypted (no key was given) or of an unknown format"),
            );
        }
    }
    unlisted(folder, manifest, report);
    report.done(Check::Unlisted, "no unlisted files below data/ and rejects/");
}

fn listed(manifest: &Manifest) -> Vec<Listed<'_>> {
    let by_parquet = matches!(manifest.encryption, Some(EncryptionRecord::Parquet { .. }));
    let shards = manifest.files.iter().filter_map(|file| {
        Some(Listed {
            path: &file.path,
            bytes: file.bytes,
            sha256: file.sha256.as_deref()?,
            plain_bytes: file.plain_bytes,
            plain_sha256: file.plain_sha256.as_deref(),
            rows: file.rows,
            rows_digest: file.rows_digest.as_deref(),
            is_sealed: file.sealed.is_some() && !file.tells_facts(),
            contents: Contents::of_shard(manifest.export_format),
            lock: match file.path.ends_with(AGE_EXTENSION) {
                true => Lock::Age,
                false if by_parquet => Lock::Parquet,
                false => Lock::Open,
            },
        })
    });
    let rejects = manifest.rejects.iter().map(|file| Listed {
        path: &file.path,
        bytes: file.bytes,
        sha256: &file.sha256,
        plain_bytes: file.plain_bytes,
        plain_sha256: file.plain_sha256.as_deref(),
        rows: file.rows,
        rows_digest: None,
        is_sealed: file.sealed.is_some() && !file.tells_facts(),
        contents: Contents::of_rejects(&file.path),
        lock: if file.path.ends_with(AGE_EXTENSION) { Lock::Age } else { Lock::Open },
    });
    shards.chain(rejects).collect()
}

fn check_file(folder: &Folder, manifest: &Manifest, file: &Listed, options: &VerifyOptions) -> Option<Finding> {
    let found = check_bytes(folder, file, options).and_then(|()| check_rows(folder, manifest, file, options));
    let (check, message) = found.err()??;
    Some(Finding { check, path: Some(file.path.to_owned()), message })
}

/// The fault of a file; `None` if already reported elsewhere.
type Fault = Option<(Check, String)>;

/// Its stored bytes and, where there is a key, its plain ones.
fn check_bytes(folder: &Folder, file: &Listed, options: &VerifyOptions) -> Result<(), Fault> {
    let fault = |message| Err(Some((Check::Files, message)));
    let stored = opened(folder, file)?;
    if stored.bytes() != file.bytes {
        return fault(format!("has {} bytes, but the manifest says {}", stored.bytes(), file.bytes));
    }
    match sha256_of(stored.into_reader()) {
        Ok(digest) if digest == file.sha256 => {}
        Ok(digest) => return fault(format!("has SHA-256 {digest}, but the manifest says {}", file.sha256)),
        Err(error) => return fault(format!("cannot be read: {error}")),
    }
    if file.lock != Lock::Age || options.keys.identities.is_empty() {
        return Ok(());
    }
    match plain_digest(opened(folder, file)?.into_reader(), &options.keys.identities) {
        // Sealed facts that could not be opened are reported elsewhere.
        Ok(_) if file.is_sealed => Ok(()),
        Ok((bytes, _)) if Some(bytes) != file.plain_bytes => {
            let stated = file.plain_bytes.map_or("nothing of it".to_owned(), |bytes| bytes.to_string());
            fault(format!("has {bytes} plain bytes, but the manifest says {stated}"))
        }
        Ok((_, digest)) if Some(digest.as_str()) != file.plain_sha256 => {
            let stated = file.plain_sha256.unwrap_or("nothing of it");
            fault(format!("has plain bytes with SHA-256 {digest}, but the manifest says {stated}"))
        }
        Ok(_) => Ok(()),
        Err(error) => fault(format!("cannot be decrypted: {error}")),
    }
}

/// Only files with the right digest are parsed.
fn check_rows(folder: &Folder, manifest: &Manifest, file: &Listed, options: &VerifyOptions) -> Result<(), Fault> {
    if !options.rows || !file.is_readable(options) {
        return Ok(());
    }
    let fault = |message| Err(Some((Check::Rows, message)));
    let mut digester = file.rows_digest.map(|_| Digester::new(manifest));
    match rows::count(file.path, opened(folder, file)?, file.contents, manifest, options, digester.as_mut()) {
        Ok(rows) if rows == file.rows => {}
        Ok(rows) => return fault(format!("has {rows} rows, but the manifest says {}", file.rows)),
        Err(error) => return fault(error.to_string()),
    }
    let digest = digester.map(|digester| digester.finish().to_string());
    if digest.as_deref() != file.rows_digest {
        return fault("has other rows than those of its `rows_digest` in the manifest".to_owned());
    }
    Ok(())
}

fn opened(folder: &Folder, file: &Listed) -> Result<Stored, Fault> {
    let message = match folder.open_file(file.path) {
        Ok(Some(stored)) => return Ok(stored),
        Ok(None) => "is not there".to_owned(),
        // Already found as a fault of the manifest.
        Err(StoreError::BadName { .. }) => return Err(None),
        Err(StoreError::WrongKind { path, .. }) if is_last(&path, file.path) => "is not a regular file".to_owned(),
        Err(error) => in_one_line(&error),
    };
    Err(Some((Check::Files, message)))
}

/// Whether a path is that of the named file itself and not of a folder above it.
fn is_last(path: &Path, name: &str) -> bool {
    path.ends_with(name)
}

/// Finds unlisted entries below `data/` and `rejects/`.
fn unlisted(folder: &Folder, manifest: &Manifest, report: &mut VerifyReport) {
    let root = match folder.location() {
        Location::Local(root) => root,
        Location::Object(_) => return unlisted_objects(folder, manifest, report),
    };
    let files: HashSet<&str> = manifest.digests().map(|(path, _)| path).collect();
    let unfinished: HashSet<&str> =
        manifest.files.iter().filter(|file| file.sha256.is_none()).map(|file| file.path.as_str()).collect();
    let folders: HashSet<&str> =
        files.iter().flat_map(|path| path.match_indices('/').filter_map(|(end, _)| path.get(..end))).collect();
    for top in CONTENT.map(layout::folder) {
        let walk = walkdir::WalkDir::new(root.join(top)).follow_links(false).follow_root_links(false);
        for entry in walk.sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.depth() == 0 && is_missing(&error) => continue,
                Err(error) => {
                    report.find(Check::Unlisted, Some(top), format!("cannot be listed: {error}"));
                    continue;
                }
            };
            let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
            let segments: Vec<_> = relative.components().map(|c| c.as_os_str().to_string_lossy()).collect();
            let name = segments.join("/");
            // A name that is not UTF-8 is unlisted even if its lossy form is in the manifest.
            let is_text = relative.to_str().is_some();
            let message = if entry.file_type().is_dir() {
                if entry.depth() == 0 || (is_text && folders.contains(name.as_str())) {
                    continue;
                }
                "is a folder without any file of the manifest"
            } else if is_text && files.contains(name.as_str()) {
                continue;
            } else if unfinished.contains(name.as_str()) {
                "belongs to a partition without files in the manifest"
            } else if entry.file_type().is_file() {
                "is not in the manifest"
            } else {
                "is neither a file nor a folder, and not in the manifest"
            };
            report.find(Check::Unlisted, Some(&name), message);
        }
    }
}

/// As [`unlisted`]; a store has no folders and no links.
fn unlisted_objects(folder: &Folder, manifest: &Manifest, report: &mut VerifyReport) {
    let files: HashSet<&str> = manifest.digests().map(|(path, _)| path).collect();
    for top in CONTENT {
        match folder.list(top) {
            Ok(listed) => {
                for found in listed.iter().filter(|found| !files.contains(found.name.as_str())) {
                    report.find(Check::Unlisted, Some(&found.name), "is not in the manifest");
                }
            }
            Err(error) => report.find(Check::Unlisted, Some(top), in_one_line(&error)),
        }
    }
}

fn is_missing(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
