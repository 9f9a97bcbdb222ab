//! Expands files and folders on the command line to spec files.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use std::sync::Arc;

use crate::diagnostic::SourceText;
use crate::limits;
use crate::small_file;
use crate::spec::{self, FileKind};

/// A file found on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// As given, or below a folder that was given.
    pub path: PathBuf,
    /// Spec or catalog; `None` if unreadable or undecidable.
    pub kind: Option<FileKind>,
}

/// YAML files: given files unchanged, given folders as all specs and catalogs below them, sorted by name.
///
/// # Errors
/// A message for users: a folder cannot be read or contains no spec.
pub(super) fn expand(paths: &[PathBuf]) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(Found { path: path.clone(), kind: kind(path) });
            continue;
        }
        let before = found.len();
        for entry in WalkDir::new(path).sort_by_file_name().follow_links(true) {
            let entry = entry.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            if !entry.file_type().is_file() || !is_yaml(entry.path()) {
                continue;
            }
            let kind = kind(entry.path());
            if kind.is_some() {
                found.push(Found { path: entry.into_path(), kind });
            }
        }
        if found.len() == before {
            return Err(format!(
                "{} contains no spec: a spec is a .yaml or .yml file with a `type:` key",
                path.display()
            ));
        }
    }
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

fn kind(path: &Path) -> Option<FileKind> {
    // Larger files and non-files are reported when they are read as specs.
    let text = String::from_utf8(small_file::read_regular(path, limits::TEXT_BYTES as u64).ok()?).ok()?;
    spec::kind(&Arc::new(SourceText { path: path.to_owned(), text })).ok()
}
