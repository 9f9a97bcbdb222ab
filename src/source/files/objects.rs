//! Lists the objects of a store that a source URI matches, with the same rules as for files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::hive;
use super::lakehouse::Tables;
use super::list::{
    Kind, ListError, ListedFile, SkipCode, SkippedInput, Walk, exclusions, has_wildcard, is_data_file, is_empty_file,
    no_file,
};
use super::packages::{self, OwnOutput};
use super::several::{UriListing, object_folder};
use crate::job::{SourceSettings, SourceUri};
use crate::source::SourceFile;
use crate::store::{ObjectListing, ObjectLocation, ObjectMeta, head_object, list_below};

/// Lists an object, a prefix or a glob.
pub(super) fn list(source: &SourceSettings, uri: &SourceUri, at: &ObjectLocation) -> Result<UriListing, ListError> {
    let is_folder = at.key.is_empty() || uri.as_str().ends_with('/');
    if at.scheme.is_web() && is_folder {
        return Err(ListError::Web { uri: at.to_string() });
    }
    if !is_folder && let Some(found) = head_object(at)? {
        // Some tools create an empty object for a folder.
        let below = if found.bytes == 0 && !at.scheme.is_web() { list_below(at)? } else { ObjectListing::default() };
        if below.objects.is_empty() && below.unaddressable.is_empty() {
            return list_one_object(source, &found);
        }
        return list_matching_objects(source, uri, at, &Walk::of_folder(PathBuf::from(&at.key)), below);
    }
    if at.scheme.is_web() {
        let explanation = "the server has no such file".to_owned();
        return Err(ListError::NoFile { uri: at.to_string(), explanation });
    }
    let key = Path::new(&at.key);
    let is_glob = has_wildcard(&at.key);
    let walk = if is_glob { Walk::of_glob(key, uri.as_str())? } else { Walk::of_folder(key.to_owned()) };
    let base = ObjectLocation { key: walk.base.to_str().unwrap_or_default().to_owned(), ..at.clone() };
    list_matching_objects(source, uri, at, &walk, list_below(&base)?)
}

fn list_one_object(source: &SourceSettings, found: &ObjectMeta) -> Result<UriListing, ListError> {
    let key = Path::new(&found.at.key);
    let name = key.file_name().and_then(OsStr::to_str).unwrap_or(&found.at.key);
    match file(source, found, name)? {
        Some(file) => {
            Tables::default().refuse(source, &found.at, &found.at.key, std::iter::once(&file.file))?;
            let base = key.parent().unwrap_or(Path::new("")).to_owned();
            let folder = object_folder(&found.at, &base);
            Ok(UriListing { base, folder, files: vec![file], skipped: Vec::new() })
        }
        None => Err(ListError::UnknownFormat { path: found.at.to_string() }),
    }
}

fn list_matching_objects(
    source: &SourceSettings,
    uri: &SourceUri,
    at: &ObjectLocation,
    walk: &Walk,
    found: ObjectListing,
) -> Result<UriListing, ListError> {
    let exclusions = exclusions(source, uri)?;
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    // Folders that are skipped as a whole, with the bytes in them.
    let mut hidden: BTreeMap<String, u64> = BTreeMap::new();
    for object in found.unaddressable {
        let key = Path::new(&object.key);
        if object.is_folder() {
            continue;
        }
        let (key_uri, why) = (format!("{}/{}", at.bucket(), object.key.escape_debug()), object.why());
        let name =
            object.key.get(walk.base.as_os_str().len()..).unwrap_or(&object.key).trim_start_matches('/').to_owned();
        if let Some(segment) = hidden_segment(walk, &name) {
            skip_hidden(walk, key, &name, object.bytes, segment, &mut hidden, &mut skipped);
            continue;
        }
        if walk.glob.as_ref().is_some_and(|glob| !glob.is_match(key)) {
            continue;
        }
        if exclusions.is_match(&name) {
            skipped.push(SkippedInput::excluded(name, object.bytes));
            continue;
        }
        // Skipping it would make a package look complete without its rows.
        let may_have_rows = match Kind::of(source, key)? {
            Kind::Data(..) => true,
            Kind::Open(_) => object.bytes > 0,
            Kind::Other => false,
        };
        if may_have_rows {
            return Err(ListError::Unaddressable { uri: key_uri, why });
        }
        skipped.push(SkippedInput {
            name,
            bytes: object.bytes,
            code: SkipCode::UnknownFormat,
            reason: format!("a key that no request can name: {why}"),
        });
    }
    let mut tables = Tables::default();
    let objects = found.objects;
    objects.iter().for_each(|found| tables.examine(&found.at.key));
    let own_output = if walk.skips_packages() { packages::among(named(walk, &objects))? } else { Vec::new() };
    if walk.glob.is_none()
        && own_output.iter().any(|(folder, own_output)| folder.is_empty() && *own_output == OwnOutput::Package)
    {
        return Err(ListError::Package { uri: uri.as_str().to_owned() });
    }
    let mut own_folders: BTreeMap<&str, (OwnOutput, u64)> = BTreeMap::new();
    for (name, found) in named(walk, &objects) {
        let key = Path::new(&found.at.key);
        let is_inside = |(folder, _): &&(String, OwnOutput)| !folder.is_empty() && name.starts_with(folder.as_str());
        let segment = hidden_segment(walk, name);
        let is_outside = |folder: &str| segment.is_none_or(|(end, _)| folder.len() <= end);
        // As in a walk of folders, what is hidden is not looked into.
        if let Some((folder, own_output)) = own_output.iter().find(is_inside).filter(|(folder, _)| is_outside(folder)) {
            let (_, bytes) = own_folders.entry(folder).or_insert((*own_output, 0));
            *bytes = bytes.saturating_add(found.bytes);
            continue;
        }
        if let Some(segment) = segment {
            skip_hidden(walk, key, name, found.bytes, segment, &mut hidden, &mut skipped);
            continue;
        }
        if walk.glob.as_ref().is_some_and(|glob| !glob.is_match(key)) {
            continue;
        }
        if exclusions.is_match(name) {
            skipped.push(SkippedInput::excluded(name.to_owned(), found.bytes));
            continue;
        }
        match file(source, found, name)? {
            Some(listed) if listed.is_skipped_as_empty(source) => {
                skipped.push(SkippedInput::empty(listed.file.name));
            }
            Some(file) => files.push(file),
            None => {
                skipped.push(SkippedInput::unknown_format(name.to_owned(), found.bytes));
            }
        }
    }
    let own_folders = own_folders.into_iter();
    skipped.extend(
        own_folders
            .map(|(folder, (own_output, bytes))| own_output.skipped(folder.trim_end_matches('/').to_owned(), bytes)),
    );
    skipped.extend(hidden.into_iter().map(|(folder, bytes)| SkippedInput::hidden(folder, bytes, false)));
    if files.is_empty() && !skipped.iter().any(is_empty_file) {
        return Err(no_file(source, uri, walk, &skipped, false));
    }
    if let Some(first) = objects.first() {
        let files = files.iter().map(|listed| &listed.file);
        tables.refuse(source, &first.at, walk.base.to_str().unwrap_or_default(), files)?;
    }
    Ok(UriListing { base: walk.base.clone(), folder: object_folder(at, &walk.base), files, skipped })
}

/// Objects with their names below the base.
fn named<'a>(walk: &'a Walk, objects: &'a [ObjectMeta]) -> impl Iterator<Item = (&'a str, &'a ObjectMeta)> + Clone {
    objects.iter().map(|found| {
        let key = Path::new(&found.at.key);
        (key.strip_prefix(&walk.base).unwrap_or(key).to_str().unwrap_or(&found.at.key), found)
    })
}

/// Notes an object with a hidden segment in its name: alone, or as a part of its hidden folder.
fn skip_hidden(
    walk: &Walk,
    key: &Path,
    name: &str,
    bytes: u64,
    (end, is_file): (usize, bool),
    folders: &mut BTreeMap<String, u64>,
    skipped: &mut Vec<SkippedInput>,
) {
    if !walk.reports_hidden(key, !is_file) {
        return;
    }
    if is_file {
        skipped.push(SkippedInput::hidden(name.to_owned(), bytes, is_data_file(key)));
    } else {
        let sum = folders.entry(format!("{}/", name.get(..end).unwrap_or_default())).or_default();
        *sum = sum.saturating_add(bytes);
    }
}

/// End of the first hidden segment of a name, and whether it is the last segment. `.` and `..` are not hidden.
fn hidden_segment(walk: &Walk, name: &str) -> Option<(usize, bool)> {
    let mut start = 0;
    for segment in name.split('/') {
        let end = start + segment.len();
        if !matches!(segment, "." | "..") && !walk.visible(OsStr::new(segment)) {
            return Some((end, end == name.len()));
        }
        start = end + 1;
    }
    None
}

fn file(source: &SourceSettings, found: &ObjectMeta, name: &str) -> Result<Option<ListedFile>, ListError> {
    let kind = Kind::of(source, Path::new(&found.at.key))?;
    let Some((format, compression)) = kind.format_and_compression() else { return Ok(None) };
    let file = SourceFile {
        at: found.at.clone().into(),
        name: name.to_owned(),
        bytes: found.bytes,
        modified: found.modified,
        etag: found.etag.clone(),
        format,
        compression,
        compression_is_declared: source.compression.is_some(),
        constants: hive::keys_of(name),
    };
    Ok(Some(ListedFile { file, is_format_open: kind.is_open(), uri: 0, name_start: 0 }))
}
