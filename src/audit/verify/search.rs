//! Finds packages below a folder.

use crate::package::layout::{MANIFEST, SHA256SUMS, SIGNATURE};
use crate::store::{Folder, Location, StoreError};

/// Maximum depth of the search: enough for `<team>/<spec>/<year>/<month>/`.
const SEARCH_DEPTH: usize = 6;

/// The packages in a folder: itself, or those at most six folders below it. If there are none, the folder itself is
/// returned, so that checking it reports what is missing. A folder without a manifest counts as a package if it has
/// other files of one.
///
/// # Errors
/// The store's.
pub fn packages_below(at: &Location) -> Result<Vec<Location>, StoreError> {
    let Some(folder) = Folder::existing(at)? else { return Ok(vec![at.clone()]) };
    let mut found = Vec::new();
    let mut level = vec![String::new()];
    for _ in 0..=SEARCH_DEPTH {
        let mut next = Vec::new();
        for name in level {
            let below = |file: &str| if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
            // An unreadable folder must not hide others; checking it as a package reports why.
            let is_alone = |error: &StoreError| !name.is_empty() && !error.code().is_retryable();
            let mut is_package = false;
            for file in [MANIFEST, SHA256SUMS, SIGNATURE] {
                is_package = is_package
                    || match folder.size(&below(file)) {
                        Err(error) if is_alone(&error) || matches!(error, StoreError::WrongKind { .. }) => true,
                        size => size?.is_some(),
                    };
            }
            let folders = if is_package { Ok(Vec::new()) } else { folder.folders(&name) };
            let folders = match folders {
                Err(error) if is_alone(&error) => {
                    is_package = true;
                    Vec::new()
                }
                folders => folders?,
            };
            if is_package {
                found.push(if name.is_empty() { at.clone() } else { at.join(&name) });
            }
            next.extend(folders.into_iter().filter(|folder| folder != "_state").map(|folder| below(&folder)));
        }
        level = next;
    }
    Ok(if found.is_empty() { vec![at.clone()] } else { found })
}
