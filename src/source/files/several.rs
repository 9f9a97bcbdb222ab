//! Joins the listings of the URIs of a source.
//!
//! With one URI, names are relative to its folder. With several, each name begins with that folder as the spec writes it
//! (`../logs/a/x.ndjson`, `s3://lake/b/x.ndjson`): a name tells its URI, is unique, and stays the same when another URI is
//! added or the spec is run on another machine.

use std::path::{Component, Path, PathBuf};

use super::list::{FileListing, ListError, ListedFile};
use super::same_file;
use crate::job::{SourceSettings, SourceUri};
use crate::source::skip::SkippedInput;
use crate::store::{Location, ObjectLocation};

/// What one URI matches. Names are relative to its folder.
#[derive(Debug)]
pub(super) struct UriListing {
    /// The folder of the URI: what all paths begin with.
    pub(super) base: PathBuf,
    /// The folder as the spec writes it, with a slash at its end; empty for the folder of the spec.
    pub(super) folder: String,
    /// In any order.
    pub(super) files: Vec<ListedFile>,
    /// In any order.
    pub(super) skipped: Vec<SkippedInput>,
}

/// One listing of all URIs, in their order, in which each file is read once.
///
/// # Errors
/// [`ListError::Io`] where a file has vanished.
pub(super) fn join(listings: Vec<UriListing>) -> Result<FileListing, ListError> {
    let has_several = listings.len() > 1;
    let (mut bases, mut files, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (uri, listing) in listings.into_iter().enumerate() {
        bases.push(listing.base);
        let folder = if has_several { listing.folder } else { String::new() };
        files.extend(listing.files.into_iter().map(|mut listed| {
            listed.file.name.insert_str(0, &folder);
            ListedFile { uri, name_start: folder.len(), ..listed }
        }));
        skipped.extend(listing.skipped.into_iter().map(|mut skipped| {
            skipped.name.insert_str(0, &folder);
            skipped
        }));
    }
    files.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    if has_several {
        // What one URI leaves out, another may name. Of a folder, it may name a part only.
        let is_read = |name: &str| files.binary_search_by(|listed| listed.file.name.as_str().cmp(name)).is_ok();
        skipped.retain(|skipped: &SkippedInput| !is_read(&skipped.name));
    }
    let files = same_file::keep_one(&bases, files, &mut skipped)?;
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    skipped.dedup();
    Ok(FileListing { files, skipped, adjacent: Vec::new() })
}

/// The folder of a path as the spec writes it; `below` is the number of segments behind the folder.
pub(super) fn written_folder(uri: &SourceUri, source: &SourceSettings, below: usize) -> String {
    let Ok(Location::Local(written)) = Location::parse(&uri.written, &source.options) else { return String::new() };
    let mut folder: PathBuf = written.components().filter(|part| *part != Component::CurDir).collect();
    for _ in 0..below {
        folder.pop();
    }
    let folder = folder.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
    if folder.is_empty() || folder.ends_with('/') { folder } else { format!("{folder}/") }
}

/// The folder of objects whose keys begin with `base`.
pub(super) fn object_folder(at: &ObjectLocation, base: &Path) -> String {
    let base = base.to_string_lossy();
    if base.is_empty() { format!("{}/", at.bucket()) } else { format!("{}/{base}/", at.bucket()) }
}
