//! Detects lakehouse tables, whose rows are not simply the rows of their Parquet files.
//!
//! Delta, Iceberg, Hudi and Paimon keep the files of earlier versions beside the current ones, and a log says which ones
//! count. Read as plain files, such a folder yields deleted rows, and rewritten rows twice. So a file that may be of a table,
//! at or below a folder with such a log, is refused, even if the source URI points inside the table. That is every Parquet
//! file, and in a Paimon bucket, which may hold CSV and JSON as well, every file.
//!
//! Markers: `_delta_log/` (Delta protocol), `metadata/*.metadata.json` (Iceberg table spec), `.hoodie/` and
//! `.hoodie_partition_metadata` (Hudi), `schema/schema-*` with a number (Paimon table spec).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::list::{FileListing, ListError, ListedFile};
use crate::error::ErrorCode;
use crate::job::{SourceFormat, SourceSettings};
use crate::source::SourceFile;
use crate::source::skip::SkippedInput;
use crate::store::{Location, ObjectLocation, has_below};

/// Folders of metadata in which only files of certain names tell the format, with such a file.
const METADATA: [(&str, &str); 2] = [("metadata", "metadata/v1.metadata.json"), ("schema", "schema/schema-0")];

const ICEBERG: &str = "an Iceberg table";
const PAIMON: &str = "a Paimon table";

/// The table format that a path below a folder indicates, and the marker in the path.
fn marker(below: &str) -> Option<(&'static str, &'static str)> {
    let (first, rest) = below.split_once('/').unwrap_or((below, ""));
    match first {
        "_delta_log" => Some(("a Delta table", "_delta_log")),
        ".hoodie" => Some(("a Hudi table", ".hoodie")),
        ".hoodie_partition_metadata" => Some(("a part of a Hudi table", ".hoodie_partition_metadata")),
        "metadata" if is_iceberg_metadata(rest) => Some((ICEBERG, "metadata/*.metadata.json")),
        "schema" if is_paimon_schema(rest) => Some((PAIMON, "schema/schema-*")),
        _ => None,
    }
}

/// `00001-….metadata.json`, `v1.metadata.json`, and compressed `….gz.metadata.json` or `….metadata.json.gz`.
fn is_iceberg_metadata(name: &str) -> bool {
    !name.contains('/') && (name.ends_with(".metadata.json") || name.ends_with(".metadata.json.gz"))
}

/// `schema-0`, `schema-12`.
fn is_paimon_schema(name: &str) -> bool {
    let version = name.strip_prefix("schema-").unwrap_or_default();
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a file may be of a table. `folder` is the name of its folder: Paimon has its files in `bucket-0` and so on.
fn may_be_of_table(format: SourceFormat, folder: &str) -> bool {
    format == SourceFormat::Parquet || folder.starts_with("bucket-")
}

/// The folders above a path, nearest first, without the root.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(folder, _)| folder.rsplit_once('/')).map(|(folder, _)| folder)
}

fn refusal(uri: String, (kind, marker): (&'static str, &'static str)) -> ListError {
    ListError::LakehouseTable { folder: uri, kind, marker }
}

/// As [`refuse_local`] and [`Tables::refuse`], for files that were found to be Parquet only after listing.
///
/// # Errors
/// Theirs.
pub(super) fn refuse_found(source: &SourceSettings, files: &[&SourceFile]) -> Result<(), ListError> {
    refuse_local(source, files.iter().copied())?;
    let mut folders = BTreeSet::new();
    for file in files {
        let Location::Object(at) = &file.at else { continue };
        // The files of one folder are refused or read together.
        if folders.insert((at.bucket(), at.key.rsplit_once('/').map(|(folder, _)| folder))) {
            Tables::default().refuse(source, at, &at.key, std::iter::once(*file))?;
        }
    }
    Ok(())
}

/// Skips the metadata of tables that are read as plain files: what is in `metadata/` of an Iceberg table, and the files
/// without an extension of a Paimon table, except in its buckets. Other tables have hidden names for theirs.
pub(super) fn skip_metadata(listing: &mut FileListing) {
    let roots: Vec<(String, &str)> = listing.files.iter().filter_map(|listed| table_with(&listed.file.name)).collect();
    let table_of_metadata = |listed: &ListedFile| {
        let name = &listed.file.name;
        let is_in_bucket = name.rsplit('/').nth(1).is_some_and(|folder| folder.starts_with("bucket-"));
        let found = roots.iter().find(|(root, kind)| {
            let below = name.strip_prefix(root.as_str());
            below.is_some_and(|below| match *kind {
                PAIMON => listed.is_format_open && !is_in_bucket,
                _ => below.starts_with("metadata/"),
            })
        });
        found.map(|(_, kind)| *kind)
    };
    let (mut kept, mut skipped) = (Vec::with_capacity(listing.files.len()), Vec::new());
    for listed in std::mem::take(&mut listing.files) {
        match table_of_metadata(&listed) {
            Some(table) => skipped.push(SkippedInput::metadata(listed.file.name, listed.file.bytes, table)),
            None => kept.push(listed),
        }
    }
    listing.files = kept;
    listing.skipped.append(&mut skipped);
    listing.skipped.sort_by(|a, b| a.name.cmp(&b.name));
}

/// The folder of the Iceberg or Paimon table that a file marks, with a slash at its end if it is not the source itself.
fn table_with(name: &str) -> Option<(String, &'static str)> {
    let cuts = name.match_indices('/').map(|(slash, _)| slash + 1);
    std::iter::once(0).chain(cuts).find_map(|start| {
        let (root, below) = name.split_at_checked(start)?;
        let (table, _) = marker(below)?;
        matches!(table, ICEBERG | PAIMON).then(|| (root.to_owned(), table))
    })
}

/// Refuses local files of a table, unless the source declares them as plain files.
///
/// # Errors
/// [`ListError::LakehouseTable`], or [`ListError::Io`] where a folder inside the source cannot be read.
pub(super) fn refuse_local<'a>(
    source: &SourceSettings,
    files: impl Iterator<Item = &'a SourceFile>,
) -> Result<(), ListError> {
    if source.plain_files {
        return Ok(());
    }
    let mut folders = BTreeSet::new();
    for file in files {
        let Location::Local(path) = &file.at else { continue };
        let Some(folder) = path.parent() else { continue };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if may_be_of_table(file.format, &name) && folders.insert(folder.to_owned()) {
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
    for (name, _) in METADATA {
        let path = folder.join(name);
        let fail = |source| ListError::Io { path: path.display().to_string(), source };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
                if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) {
                    continue;
                }
                return Err(fail(error));
            }
        };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let found = marker(&format!("{name}/{}", entry.file_name().to_string_lossy()));
            if found.is_some() && !entry.file_type().map_err(fail)?.is_dir() {
                return Ok(found);
            }
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

    /// Refuses objects of a table, unless the source declares them as plain files. Keys below `base` must have been
    /// examined; for the folders above it, the store is queried.
    ///
    /// # Errors
    /// [`ListError::LakehouseTable`], or the error of the store.
    pub(super) fn refuse<'a>(
        mut self,
        source: &SourceSettings,
        at: &ObjectLocation,
        base: &str,
        files: impl Iterator<Item = &'a SourceFile>,
    ) -> Result<(), ListError> {
        let keys = files.filter_map(|file| Some((key_of(file)?, file.format)));
        let is_candidate =
            |(key, format): &(&str, SourceFormat)| may_be_of_table(*format, key.rsplit('/').nth(1).unwrap_or_default());
        let keys: Vec<&str> = keys.filter(is_candidate).map(|(key, _)| key).collect();
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
    for (name, example) in [("_delta_log", "_delta_log"), (".hoodie", ".hoodie")].into_iter().chain(METADATA) {
        let wanted: fn(&str) -> bool = if name == example { |_| true } else { is_metadata };
        let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        match has_below(&ObjectLocation { key, ..at.clone() }, wanted) {
            Ok(true) => return Ok(marker(example)),
            Ok(false) => {}
            // Credentials are often limited to one prefix, so folders above it may be invisible.
            Err(error) if matches!(error.code(), ErrorCode::StoreDenied | ErrorCode::StoreNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Whether the last two segments of a key are a marker.
fn is_metadata(key: &str) -> bool {
    key.rsplit_once('/').is_some_and(|(folder, _)| {
        let start = folder.rfind('/').map_or(0, |slash| slash + 1);
        marker(key.get(start..).unwrap_or_default()).is_some()
    })
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
            ("lake/t/schema/schema-0", Some("lake/t")),
            ("lake/t/schema/schema-0.json", None),
            ("lake/t/schema/schema-", None),
            ("lake/t/schema/schema-1/a.parquet", None),
            ("lake/t/bucket-0/a.parquet", None),
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
