//! Which objects of a store a source URI names: the same rules as for files, over keys.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::hive;
use super::lakehouse::Tables;
use super::list::{ListError, Listing, SkippedFile, Walk, classify, has_wildcard, no_file};
use crate::error::ErrorCode;
use crate::job::Source;
use crate::source::{SourceError, SourceFile};
use crate::store::{Below, Found, ObjectLocation, list_below, look_at};

/// Lists an object, a prefix or a glob.
pub(super) fn list(source: &Source, at: &ObjectLocation) -> Result<Listing, ListError> {
    let is_folder = at.key.is_empty() || source.uri.value.ends_with('/');
    if at.scheme.is_web() && is_folder {
        return Err(ListError::Web { uri: at.to_string() });
    }
    if !is_folder && let Some(found) = look_at(at)? {
        // Some tools put down an empty object where a folder is made.
        let below = if found.bytes == 0 && !at.scheme.is_web() { list_below(at)? } else { Below::default() };
        if below.objects.is_empty() && below.unaddressable.is_empty() {
            return single(source, &found);
        }
        return collect(source, at, &Walk::of_folder(PathBuf::from(&at.key)), below);
    }
    if at.scheme.is_web() {
        let looked_for = "the server has no such file".to_owned();
        return Err(ListError::NoFile { uri: at.to_string(), looked_for });
    }
    let key = Path::new(&at.key);
    let is_glob = has_wildcard(&at.key);
    let walk = if is_glob { Walk::of_glob(key, &source.uri.value)? } else { Walk::of_folder(key.to_owned()) };
    let base = ObjectLocation { key: walk.base.to_str().unwrap_or_default().to_owned(), ..at.clone() };
    collect(source, at, &walk, list_below(&base)?)
}

fn single(source: &Source, found: &Found) -> Result<Listing, ListError> {
    let key = Path::new(&found.at.key);
    let name = key.file_name().and_then(OsStr::to_str).unwrap_or(&found.at.key);
    match file(source, found, name)? {
        Some(file) => {
            let listing = Listing { files: vec![file], skipped: Vec::new() };
            Tables::default().refuse(source, &found.at, &found.at.key, &listing)?;
            Ok(listing)
        }
        None => Err(ListError::UnknownFormat { path: found.at.to_string() }),
    }
}

fn collect(source: &Source, at: &ObjectLocation, walk: &Walk, found: Below) -> Result<Listing, ListError> {
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    let is_named = |key: &Path| {
        let below = key.strip_prefix(&walk.base).unwrap_or(key);
        // `..` is no hidden name.
        let is_visible = below.iter().all(|segment| segment == ".." || walk.visible(segment));
        is_visible && walk.glob.as_ref().is_none_or(|glob| glob.is_match(key))
    };
    for object in found.unaddressable {
        let key = Path::new(&object.key);
        if object.is_folder() || !is_named(key) {
            continue;
        }
        let (uri, why) = (format!("{}/{}", at.bucket(), object.key.escape_debug()), object.why());
        // Its rows would be missing from a package that is complete.
        if classify(source.format, key)?.is_some() {
            return Err(ListError::Unaddressable { uri, why });
        }
        let name =
            object.key.get(walk.base.as_os_str().len()..).unwrap_or(&object.key).trim_start_matches('/').to_owned();
        skipped.push(SkippedFile {
            name,
            bytes: object.bytes,
            reason: format!("a key that no request can name: {why}"),
        });
    }
    let mut tables = Tables::default();
    let store = found.objects.first().map(|found| found.at.clone());
    for found in found.objects {
        tables.look(&found.at.key);
        let key = PathBuf::from(&found.at.key);
        let below = key.strip_prefix(&walk.base).unwrap_or(&key);
        if !is_named(&key) {
            continue;
        }
        let name = below.to_str().unwrap_or(&found.at.key).to_owned();
        match file(source, &found, &name)? {
            Some(file) => files.push(file),
            // What some consoles put down where a folder is made.
            None if found.bytes == 0 => {}
            None => {
                let reason = "unknown extension and no `source.format`".to_owned();
                skipped.push(SkippedFile { name, bytes: found.bytes, reason });
            }
        }
    }
    if files.is_empty() {
        return Err(no_file(source, walk, &skipped, false));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    let listing = Listing { files, skipped };
    if let Some(at) = store {
        tables.refuse(source, &at, walk.base.to_str().unwrap_or_default(), &listing)?;
    }
    Ok(listing)
}

fn file(source: &Source, found: &Found, name: &str) -> Result<Option<SourceFile>, ListError> {
    let Some((format, codec)) = classify(source.format, Path::new(&found.at.key))? else { return Ok(None) };
    Ok(Some(SourceFile {
        at: found.at.clone().into(),
        name: name.to_owned(),
        bytes: found.bytes,
        modified: found.modified,
        etag: found.etag.clone(),
        format,
        codec,
        hive: hive::keys_of(name),
    }))
}

/// Where a version is known, every read asks for it and nothing more has to be looked at; else size and time tell.
pub(super) fn check_unchanged(file: &SourceFile, at: &ObjectLocation) -> Result<(), SourceError> {
    if file.etag.is_some() {
        return Ok(());
    }
    let fail = |code, message| Err(SourceError { name: file.name.clone(), position: None, code, message });
    let again = "restore it, or start a new job over the source as it is now";
    match look_at(at) {
        Ok(Some(found)) if found.bytes == file.bytes && found.modified == file.modified => Ok(()),
        Ok(Some(found)) => {
            let (now, then) = (found.bytes, file.bytes);
            let message = format!("changed after it was listed, from {then} to {now} bytes or in its time; {again}");
            fail(ErrorCode::SourceChanged, message)
        }
        Ok(None) => {
            fail(ErrorCode::SourceUnreadable, "vanished after it was listed; restore it and run again".to_owned())
        }
        Err(answer) => Err(SourceError::of_store(&file.name, &answer)),
    }
}
