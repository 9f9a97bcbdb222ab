//! Finds packages below a folder or a prefix.
//!
//! A folder is a package if it has a manifest or, in case that was removed, SHA256SUMS: a package must not disappear
//! silently. Folders are listed one by one, so nothing below `data/` is listed.

use super::CoverageError;
use crate::package::layout::{self, DATA, MANIFEST, REJECTS, SHA256SUMS, STATE};
use crate::package::real;
use crate::store::{Folder, Location, StoreError};

/// Maximum depth of the search below the given folder. Layouts such as `team/name/year/month` have four.
const DEPTH: usize = 8;

/// Maximum number of folders to search, so that pointing at a home folder ends with an error.
const MAX_FOLDERS: usize = 100_000;

/// What is in a package and never holds another one.
const INSIDE: [&str; 3] = [STATE, DATA, REJECTS];

/// The packages in and below a place, in order of their names. Links are not followed.
///
/// # Errors
/// [`CoverageError::Nowhere`], [`CoverageError::TooMany`], [`CoverageError::Store`].
pub fn packages(at: &Location) -> Result<Vec<Location>, CoverageError> {
    let failed = |source| CoverageError::Store { at: at.to_string(), source };
    let folder = Folder::existing(real(at)).map_err(failed)?;
    let folder = folder.ok_or_else(|| CoverageError::Nowhere { at: at.to_string() })?;
    let mut found = Vec::new();
    let mut visited = 0;
    let mut waiting = vec![(String::new(), 0)];
    while let Some((name, depth)) = waiting.pop() {
        visited += 1;
        if visited > MAX_FOLDERS {
            return Err(CoverageError::TooMany { at: at.to_string(), limit: MAX_FOLDERS });
        }
        // An unreadable folder must not hide others; opening it as a package reports why.
        let is_alone = |error: &StoreError| !name.is_empty() && !error.code().is_retryable();
        let has = |file: &str| match folder.size(&below(&name, file)) {
            // Not a file: opening the package reports it.
            Err(StoreError::WrongKind { .. }) => Ok(true),
            Err(error) if is_alone(&error) => Ok(true),
            size => size.map(|size| size.is_some()),
        };
        let mut is_package = has(MANIFEST).map_err(failed)? || has(SHA256SUMS).map_err(failed)?;
        let folders = if depth < DEPTH { folder.folders(&name) } else { Ok(Vec::new()) };
        is_package |= folders.as_ref().is_err_and(is_alone);
        if is_package {
            found.push(if name.is_empty() { at.clone() } else { at.join(&name) });
        }
        if depth < DEPTH {
            let folders = match folders {
                Err(error) if is_alone(&error) => Vec::new(),
                folders => folders.map_err(failed)?,
            };
            // Last in, first out: the first name is visited next.
            let others = folders.iter().rev().filter(|folder| !INSIDE.map(layout::folder).contains(&folder.as_str()));
            waiting.extend(others.map(|folder| (below(&name, folder), depth + 1)));
        }
    }
    Ok(found)
}

fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
