//! Files and folders on the command line to spec files.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use std::sync::Arc;

use crate::diagnostic::SourceText;
use crate::limits;
use crate::small_file;
use crate::spec::{self, FileKind};

/// What a file on the command line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As the user named it, or below the folder that the user named.
    pub path: PathBuf,
    /// Spec or catalog; `None` where the text does not tell, or there is none.
    pub kind: Option<FileKind>,
}

/// The YAML files that are meant: files as they are named, folders with every spec and catalog below them, by name.
///
/// # Errors
/// A sentence for people: a folder that cannot be read or holds no spec.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<Found>, String> {
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
            return Err(format!("{} holds no spec: a spec is a .yaml or .yml file with a `type:` key", path.display()));
        }
    }
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

fn kind(path: &Path) -> Option<FileKind> {
    // What is larger, or no file, is told when it is read as a spec.
    let text = String::from_utf8(small_file::read_regular(path, limits::TEXT_BYTES as u64).ok()?).ok()?;
    spec::kind(&Arc::new(SourceText { path: path.to_owned(), text })).ok()
}
