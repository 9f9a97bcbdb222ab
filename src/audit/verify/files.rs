//! Checks every listed file against the manifest, and finds files that are not listed.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::rows::{self, ContentFormat, Digester};
use super::{Check, Finding, VerifyOptions, VerifyReport, tombstone};
use crate::digest::sha256_of;
use crate::failure;
use crate::package::layout::{self, CONTENT, TOMBSTONE};
use crate::package::manifest::{EncryptionRecord, Manifest, Tombstone};
use crate::seal::{AGE_EXTENSION, plain_digest};
use crate::store::{Folder, Location, StoreError, Stored};
use crate::units::counted;

/// A file listed in the manifest.
struct ManifestFile<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    /// Size before age encryption; `None` without encryption or if sealed.
    plain_bytes: Option<u64>,
    /// SHA-256 before age encryption, lower-case hex.
    plain_sha256: Option<&'a str>,
    rows: u64,
    rows_digest: Option<&'a str>,
    /// Plain size and digests are sealed, and no given key revealed them.
    has_unrevealed_facts: bool,
    format: ContentFormat,
    encryption: Encryption,
}

/// How a file is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    None,
    Age,
    Parquet,
}

impl ManifestFile<'_> {
    fn is_readable(&self, options: &VerifyOptions) -> bool {
        let has_key = match self.encryption {
            Encryption::None => true,
            Encryption::Age => !options.keys.identities.is_empty(),
            Encryption::Parquet => options.keys.parquet.is_some(),
        };
        has_key && self.format != ContentFormat::Unknown
    }
}

/// Checks listed files in parallel, then unlisted ones. `manifest` has its sealed fields revealed; `manifest_sha256` is that of
/// the stored bytes.
pub(super) fn check(
    folder: &Folder,
    manifest: &Manifest,
    manifest_sha256: &str,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) {
    let mut files = listed_files(manifest);
    if let Some(EncryptionRecord::Age { .. }) = manifest.encryption {
        for file in files.iter().filter(|file| file.encryption != Encryption::Age) {
            report.find(Check::Files, Some(file.path), "is not encrypted, but the manifest says that all files are");
        }
    }
    if let Some(tombstone) = tombstone::check(folder, manifest, manifest_sha256, options, report) {
        account_for_tombstone(folder, &tombstone, &mut files, report);
    }
    let results: Vec<Option<Finding>> =
        files.par_iter().map(|file| check_file(folder, manifest, file, options)).collect();
    report.extend(results.into_iter().flatten());
    report.done(Check::Files, format!("size and SHA-256 of {}", counted(files.len(), "file")));
    let encrypted = files.iter().filter(|file| file.encryption == Encryption::Age).count();
    if encrypted > 0 && options.keys.identities.is_empty() {
        let encrypted = counted(encrypted, "encrypted file");
        let why = format!(
            "the plain bytes of {encrypted} were not read, because no --identity was given (their stored digests were \
             checked)"
        );
        report.leave_out(Check::Files, why);
    } else if encrypted > 0 {
        report.done(Check::Files, format!("plain size and SHA-256 of {}", counted(encrypted, "encrypted file")));
    }
    report_rows(manifest, &files, options, report);
    unlisted(folder, manifest, report);
    report.done(Check::Unlisted, "entries below data/ and rejects/ against the manifest");
}

/// Drops the files that `tombstone` says were deleted.
fn account_for_tombstone(
    folder: &Folder,
    tombstone: &Tombstone,
    files: &mut Vec<ManifestFile>,
    report: &mut VerifyReport,
) {
    let listed_files = files.len();
    // A file whose size cannot be read stays and becomes a finding.
    files.retain(|file| !matches!(folder.size(file.path), Ok(None)));
    let deleted_files = listed_files - files.len();
    if deleted_files as u64 > tombstone.files {
        let message = format!("says that {} files were deleted, but {deleted_files} are missing", tombstone.files);
        report.find(Check::Tombstone, Some(TOMBSTONE), message);
    }
    let why = format!(
        "{deleted_files} of {listed_files} files were deleted at {} after their retention period, according to \
         tombstone.json",
        tombstone.pruned_at
    );
    report.leave_out(Check::Files, why);
}

/// Reports which rows [`check_file`] read.
fn report_rows(manifest: &Manifest, files: &[ManifestFile], options: &VerifyOptions, report: &mut VerifyReport) {
    if !options.rows {
        report.leave_out(Check::Rows, "rows were not read back: use --rows to read them");
        return;
    }
    let unread_files = files.iter().filter(|file| !file.is_readable(options)).count();
    let digest_suffix = if manifest.files.iter().any(|file| file.rows_digest.is_some()) {
        "; rows of shards also compared by digest"
    } else {
        ""
    };
    let read_files = counted(files.len() - unread_files, "file");
    report.done(Check::Rows, format!("rows of {read_files}, read back{digest_suffix}"));
    if unread_files > 0 {
        let unread_files = counted(unread_files, "file");
        let why = format!("rows of {unread_files}: encrypted without a given key, or in an unknown format");
        report.leave_out(Check::Rows, why);
    }
}

/// Shards that have a digest, then rejects. A partition without a digest has no file.
fn listed_files(manifest: &Manifest) -> Vec<ManifestFile<'_>> {
    let by_parquet = matches!(manifest.encryption, Some(EncryptionRecord::Parquet { .. }));
    let shards = manifest.files.iter().filter_map(|file| {
        Some(ManifestFile {
            path: &file.path,
            bytes: file.bytes,
            sha256: file.sha256.as_deref()?,
            plain_bytes: file.plain_bytes,
            plain_sha256: file.plain_sha256.as_deref(),
            rows: file.rows,
            rows_digest: file.rows_digest.as_deref(),
            has_unrevealed_facts: file.sealed.is_some() && !file.tells_facts(),
            format: ContentFormat::of_shard(manifest.export_format),
            encryption: match file.path.ends_with(AGE_EXTENSION) {
                true => Encryption::Age,
                false if by_parquet => Encryption::Parquet,
                false => Encryption::None,
            },
        })
    });
    let rejects = manifest.rejects.iter().map(|file| ManifestFile {
        path: &file.path,
        bytes: file.bytes,
        sha256: &file.sha256,
        plain_bytes: file.plain_bytes,
        plain_sha256: file.plain_sha256.as_deref(),
        rows: file.rows,
        rows_digest: None,
        has_unrevealed_facts: file.sealed.is_some() && !file.tells_facts(),
        format: ContentFormat::of_rejects(&file.path),
        encryption: if file.path.ends_with(AGE_EXTENSION) { Encryption::Age } else { Encryption::None },
    });
    shards.chain(rejects).collect()
}

fn check_file(folder: &Folder, manifest: &Manifest, file: &ManifestFile, options: &VerifyOptions) -> Option<Finding> {
    let found = check_bytes(folder, file, options).and_then(|()| check_rows(folder, manifest, file, options));
    match found {
        Ok(()) | Err(Fault::Reported) => None,
        Err(Fault::New(check, message)) => Some(Finding { check, path: Some(file.path.to_owned()), message }),
    }
}

/// What is wrong with a file.
enum Fault {
    /// Already a finding of another check.
    Reported,
    New(Check, String),
}

/// Checks the stored size and SHA-256 and, if a key is given, those of the plain bytes.
fn check_bytes(folder: &Folder, file: &ManifestFile, options: &VerifyOptions) -> Result<(), Fault> {
    let fault = |message| Err(Fault::New(Check::Files, message));
    let stored = open_listed(folder, file)?;
    if stored.bytes() != file.bytes {
        return fault(format!("has {} bytes, but the manifest says {}", stored.bytes(), file.bytes));
    }
    match sha256_of(stored.into_reader()) {
        Ok(digest) if digest == file.sha256 => {}
        Ok(digest) => return fault(format!("has SHA-256 {digest}, but the manifest says {}", file.sha256)),
        Err(error) => return fault(format!("cannot be read: {error}")),
    }
    if file.encryption != Encryption::Age || options.keys.identities.is_empty() {
        return Ok(());
    }
    match plain_digest(open_listed(folder, file)?.into_reader(), &options.keys.identities) {
        // Sealed facts that could not be opened are reported elsewhere.
        Ok(_) if file.has_unrevealed_facts => Ok(()),
        Ok((bytes, _)) if Some(bytes) != file.plain_bytes => {
            let stated = file.plain_bytes.map_or("none".to_owned(), |bytes| bytes.to_string());
            fault(format!("has {bytes} plain bytes, but the manifest says {stated}"))
        }
        Ok((_, digest)) if Some(digest.as_str()) != file.plain_sha256 => {
            let stated = file.plain_sha256.unwrap_or("none");
            fault(format!("has plain bytes with SHA-256 {digest}, but the manifest says {stated}"))
        }
        Ok(_) => Ok(()),
        Err(error) => fault(format!("cannot be decrypted: {error}")),
    }
}

/// Counts and digests the rows, if requested and readable. Call it only after [`check_bytes`]: the parsers must see only
/// bytes that match their digest.
fn check_rows(folder: &Folder, manifest: &Manifest, file: &ManifestFile, options: &VerifyOptions) -> Result<(), Fault> {
    if !options.rows || !file.is_readable(options) {
        return Ok(());
    }
    let fault = |message| Err(Fault::New(Check::Rows, message));
    let mut digester = file.rows_digest.map(|_| Digester::new(manifest));
    match rows::count(file.path, open_listed(folder, file)?, file.format, manifest, options, digester.as_mut()) {
        Ok(rows) if rows == file.rows => {}
        Ok(rows) => return fault(format!("has {rows} rows, but the manifest says {}", file.rows)),
        Err(error) => return fault(error.to_string()),
    }
    let digest = digester.map(|digester| digester.finish().to_string());
    if digest.as_deref() != file.rows_digest {
        return fault("has rows that do not match its `rows_digest` in the manifest".to_owned());
    }
    Ok(())
}

fn open_listed(folder: &Folder, file: &ManifestFile) -> Result<Stored, Fault> {
    let message = match folder.open_file(file.path) {
        Ok(Some(stored)) => return Ok(stored),
        Ok(None) => "is missing".to_owned(),
        // Already found as a fault of the manifest.
        Err(StoreError::BadName { .. }) => return Err(Fault::Reported),
        Err(StoreError::WrongKind { path, .. }) if is_the_file(&path, file.path) => "is not a regular file".to_owned(),
        Err(error) => failure::chain(&error),
    };
    Err(Fault::New(Check::Files, message))
}

/// Whether `path` is the file itself, not one of its parent folders.
fn is_the_file(path: &Path, name: &str) -> bool {
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
    // Every parent folder of a listed file.
    let parent_folders: HashSet<&str> =
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
            // A name that is not UTF-8 is unlisted even if its lossy form is in the manifest. `unfinished` only selects the
            // message.
            let is_text = relative.to_str().is_some();
            let message = if entry.file_type().is_dir() {
                if entry.depth() == 0 || (is_text && parent_folders.contains(name.as_str())) {
                    continue;
                }
                "is a folder without any file of the manifest"
            } else if is_text && files.contains(name.as_str()) {
                continue;
            } else if unfinished.contains(name.as_str()) {
                "belongs to a partition that has no file according to the manifest"
            } else if entry.file_type().is_file() {
                "is not in the manifest"
            } else {
                "is neither a file nor a folder, and not in the manifest"
            };
            report.find(Check::Unlisted, Some(&name), message);
        }
    }
}

/// [`unlisted`] for object stores, which have neither folders nor links. Prefixes end with `/`.
fn unlisted_objects(folder: &Folder, manifest: &Manifest, report: &mut VerifyReport) {
    let files: HashSet<&str> = manifest.digests().map(|(path, _)| path).collect();
    for top in CONTENT {
        match folder.list(top) {
            Ok(listed) => {
                for found in listed.iter().filter(|found| !files.contains(found.name.as_str())) {
                    report.find(Check::Unlisted, Some(&found.name), "is not in the manifest");
                }
            }
            Err(error) => report.find(Check::Unlisted, Some(top), failure::chain(&error)),
        }
    }
}

fn is_missing(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
