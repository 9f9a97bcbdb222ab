//! Tables of a lakehouse: folders whose Parquet files are not their rows.
//!
//! Delta, Iceberg and Hudi keep files of earlier versions beside those of the present one and say in a log which ones
//! count. Read as plain files such a folder gives rows that were deleted, and rows that were rewritten twice. So a
//! Parquet file at or below a folder with such a log is refused, wherever the source URI enters the table.
//!
//! Markers: `_delta_log/` (Delta protocol), `metadata/*.metadata.json` (Iceberg table spec), `.hoodie/` and
//! `.hoodie_partition_metadata` (Hudi).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::list::{ListError, Listing};
use crate::error::ErrorCode;
use crate::job::{Source, SourceFormat};
use crate::source::SourceFile;
use crate::store::{Location, ObjectLocation, has_below};

/// A table format, told by a path below the table's folder.
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

/// The folders above a path, the nearest first, without the root itself.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(folder, _)| folder.rsplit_once('/')).map(|(folder, _)| folder)
}

fn refusal(uri: String, (kind, marker): (&'static str, &'static str)) -> ListError {
    ListError::LakehouseTable { folder: uri, kind, marker }
}

/// Refuses local Parquet files of a table, unless the source says that they are plain.
///
/// # Errors
/// [`ListError::LakehouseTable`], or [`ListError::Io`] where a folder inside the source cannot be looked into.
pub(super) fn refuse_local(source: &Source, listing: &Listing) -> Result<(), ListError> {
    if source.plain_files {
        return Ok(());
    }
    let mut folders = BTreeSet::new();
    for file in listing.files.iter().filter(|file| file.format == SourceFormat::Parquet) {
        let Location::Local(path) = &file.at else { continue };
        let Some(folder) = path.parent() else { continue };
        if folders.insert(folder.to_owned()) {
            // Where a link leads into a table, the folders above the link are not those above the file.
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
        // What may not be looked at lies above the source: below it, the walk would have failed.
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

/// Folders of tables among keys, with what told them.
#[derive(Default)]
pub(super) struct Tables(BTreeMap<String, (&'static str, &'static str)>);

impl Tables {
    /// Looks at a key, hidden or not.
    pub(super) fn look(&mut self, key: &str) {
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

    /// Refuses Parquet objects of a table, unless the source says that they are plain. Keys below `base` were looked at;
    /// above it the store is asked.
    ///
    /// # Errors
    /// [`ListError::LakehouseTable`], or the store's.
    pub(super) fn refuse(
        mut self,
        source: &Source,
        at: &ObjectLocation,
        base: &str,
        listing: &Listing,
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

/// What is right below a folder that the source is inside of.
fn remote_marker(at: &ObjectLocation, folder: &str) -> Result<Option<(&'static str, &'static str)>, ListError> {
    for (name, as_marker) in
        [("_delta_log", "_delta_log"), (".hoodie", ".hoodie"), ("metadata", "metadata/x.metadata.json")]
    {
        let wanted: fn(&str) -> bool = if name == "metadata" { is_iceberg_key } else { |_| true };
        let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        match has_below(&ObjectLocation { key, ..at.clone() }, wanted) {
            Ok(true) => return Ok(marker(as_marker)),
            Ok(false) => {}
            // Keys are often allowed one prefix: what they do not show above it cannot be told.
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
    fn tables_are_told_by_what_stands_beside_their_data() {
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
            tables.look(key);
            assert_eq!(tables.0.keys().next().map(String::as_str), folder, "{key}");
        }
    }

    #[test]
    fn folders_above_a_key_are_the_nearest_first() {
        assert_eq!(above("a/b/c.parquet").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(above("c.parquet").count(), 0);
    }
}
