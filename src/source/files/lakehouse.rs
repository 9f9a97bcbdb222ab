//! Detects lakehouse tables, whose rows are not simply the rows of their Parquet files.
//!
//! Delta, Iceberg and Hudi keep the files of earlier versions beside the current ones, and a log says which ones count.
//! Read as plain files, such a folder yields deleted rows, and rewritten rows twice. So a Parquet file at or below a folder
//! with such a log is refused, even if the source URI points inside the table.
//!
//! Markers: `_delta_log/` (Delta protocol), `metadata/*.metadata.json` (Iceberg table spec), `.hoodie/` and
//! `.hoodie_partition_metadata` (Hudi).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::list::{FileListing, ListError};
use crate::error::ErrorCode;
use crate::job::{Source, SourceFormat};
use crate::source::SourceFile;
use crate::store::{Location, ObjectLocation, has_below};

/// The table format that a path below a folder indicates, and the marker in the path.
fn marker(below: &str) -> Option<(&'static str, &'static str)> {
    let (first, rest) = below.split_once('/').unwrap_or((below, ""));
    match first {
        "_delta_log" => Some(("a Delta table", "_delta_log")),
        ".hoodie" => Some(("a Hudi table", ".hoodie")),
        ".hoodie_partition_metadata" => Some(("a part of a Hudi table", ".hoodie_partition_metadata")),
        "metadata" if is_iceberg_metadata(rest) => Some(("an Iceberg table", "metadata/*.metadata.json")),
        _ => None,
    }
}

/// `00001-….metadata.json`, `v1.metadata.json`, and compressed `….gz.metadata.json` or `….metadata.json.gz`.
fn is_iceberg_metadata(name: &str) -> bool {
    !name.contains('/') && (name.ends_with(".metadata.json") || name.ends_with(".metadata.json.gz"))
}

/// The folders above a path, nearest first, without the root.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(folder, _)| folder.rsplit_once('/')).map(|(folder, _)| folder)
}

fn refusal(uri: String, (kind, marker): (&'static str, &'static str)) -> ListError {
    ListError::LakehouseTable { folder: uri, kind, marker }
}

/// Refuses local Parquet files of a table, unless the source declares them as plain files.
///
/// # Errors
/// [`ListError::LakehouseTable`], or [`ListError::Io`] where a folder inside the source cannot be read.
pub(super) fn refuse_local(source: &Source, listing: &FileListing) -> Result<(), ListError> {
    if source.plain_files {
        return Ok(());
    }
    let mut folders = BTreeSet::new();
    for file in listing.files.iter().filter(|file| file.format == SourceFormat::Parquet) {
        let Location::Local(path) = &file.at else { continue };
        let Some(folder) = path.parent() else { continue };
        if folders.insert(folder.to_owned()) {
            // If a link leads into a table, the folders above the link differ from those above the file.
            folders.extend(folder.canonicalize().ok());
        }
    }
    let all: BTreeSet<PathBuf> = folders.iter().flat_map(|folder| folder.ancestors()).map(Path::to_owned).collect();
    for folder in all {
        if let Some(found) = local_marker(&folder)? {
            return Err(refusal(folder.display().to_string(), found));
        }
    }
    Ok(())
}

fn local_marker(folder: &Path) -> Result<Option<(&'static str, &'static str)>, ListError> {
    for name in ["_delta_log", ".hoodie", ".hoodie_partition_metadata"] {
        // An inaccessible folder must be above the source: below it, the walk would have failed.
        if folder.join(name).exists() {
            return Ok(marker(name));
        }
    }
    let metadata = folder.join("metadata");
    let fail = |source| ListError::Io { path: metadata.display().to_string(), source };
    let entries = match std::fs::read_dir(&metadata) {
        Ok(entries) => entries,
        Err(error) => {
            use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
            let is_none = matches!(error.kind(), NotFound | NotADirectory | PermissionDenied);
            return if is_none { Ok(None) } else { Err(fail(error)) };
        }
    };
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        if name.to_str().is_some_and(is_iceberg_metadata) {
            return Ok(marker(&format!("metadata/{}", name.to_string_lossy())));
        }
    }
    Ok(None)
}

/// Folders of tables among keys, with their table formats and markers.
#[derive(Default)]
pub(super) struct Tables(BTreeMap<String, (&'static str, &'static str)>);

impl Tables {
    /// Checks a key, hidden or not, for markers.
    pub(super) fn examine(&mut self, key: &str) {
        let mut start = 0;
        loop {
            let below = key.get(start..).unwrap_or_default();
            if let Some(found) = marker(below) {
                let folder = key.get(..start).unwrap_or_default().trim_end_matches('/');
                self.0.entry(folder.to_owned()).or_insert(found);
            }
            match below.find('/') {
                Some(slash) => start += slash + 1,
                None => return,
            }
        }
    }

    /// Refuses Parquet objects of a table, unless the source declares them as plain files. Keys below `base` must have been
    /// examined; for the folders above it, the store is queried.
    ///
    /// # Errors
    /// [`ListError::LakehouseTable`], or the error of the store.
    pub(super) fn refuse(
        mut self,
        source: &Source,
        at: &ObjectLocation,
        base: &str,
        listing: &FileListing,
    ) -> Result<(), ListError> {
        let keys = listing.files.iter().filter(|file| file.format == SourceFormat::Parquet);
        let keys: Vec<&str> = keys.filter_map(key_of).collect();
        if source.plain_files || keys.is_empty() || at.scheme.is_web() {
            return Ok(());
        }
        let base = base.trim_end_matches('/');
        for folder in above(base).chain((!base.is_empty()).then_some("")) {
            if let Some(found) = remote_marker(at, folder)? {
                self.0.entry(folder.to_owned()).or_insert(found);
            }
        }
        for key in keys {
            if let Some((folder, found)) = above(key).chain([""]).find_map(|folder| self.0.get_key_value(folder)) {
                let table = ObjectLocation { key: folder.clone(), ..at.clone() };
                return Err(refusal(table.to_string(), *found));
            }
        }
        Ok(())
    }
}

fn key_of(file: &SourceFile) -> Option<&str> {
    match &file.at {
        Location::Object(at) => Some(&at.key),
        Location::Local(_) => None,
    }
}

/// The marker directly below a folder above the source.
fn remote_marker(at: &ObjectLocation, folder: &str) -> Result<Option<(&'static str, &'static str)>, ListError> {
    for (name, as_marker) in
        [("_delta_log", "_delta_log"), (".hoodie", ".hoodie"), ("metadata", "metadata/x.metadata.json")]
    {
        let wanted: fn(&str) -> bool = if name == "metadata" { is_iceberg_key } else { |_| true };
        let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        match has_below(&ObjectLocation { key, ..at.clone() }, wanted) {
            Ok(true) => return Ok(marker(as_marker)),
            Ok(false) => {}
            // Credentials are often limited to one prefix, so folders above it may be invisible.
            Err(error) if matches!(error.code(), ErrorCode::StoreDenied | ErrorCode::StoreNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn is_iceberg_key(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(is_iceberg_metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_recognized_by_their_metadata_folders() {
        for (key, folder) in [
            ("lake/t/_delta_log/00000000000000000000.json", Some("lake/t")),
            ("_delta_log/_last_checkpoint", Some("")),
            ("lake/t/.hoodie/hoodie.properties", Some("lake/t")),
            ("lake/t/2026/.hoodie_partition_metadata", Some("lake/t/2026")),
            ("lake/t/metadata/v1.metadata.json", Some("lake/t")),
            ("lake/t/metadata/00001-a.gz.metadata.json", Some("lake/t")),
            ("lake/t/metadata/snap-1.avro", None),
            ("lake/t/metadata/old/v1.metadata.json", None),
            ("lake/t/_metadata", None),
            ("lake/t/delta_log/0.json", None),
            ("lake/t/a.parquet", None),
        ] {
            let mut tables = Tables::default();
            tables.examine(key);
            assert_eq!(tables.0.keys().next().map(String::as_str), folder, "{key}");
        }
    }

    #[test]
    fn folders_above_a_key_are_the_nearest_first() {
        assert_eq!(above("a/b/c.parquet").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(above("c.parquet").count(), 0);
    }
}
