//! Packages below a folder.

use crate::manifest::{MANIFEST, SHA256SUMS, SIGNATURE};
use crate::store::{Folder, Location, StoreError};

/// Folders below the one that was named, in which packages are looked for: enough for `<team>/<spec>/<year>/<month>/`.
const SEARCH_DEPTH: usize = 6;

/// The packages in a folder: itself, or those at most six folders below it. Where there is none, the
/// folder is taken for a package, so that checking it says what is missing.
///
/// A folder that has lost its manifest and still has what goes with one is a package, too.
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
            let mut is_package = false;
            for file in [MANIFEST, SHA256SUMS, SIGNATURE] {
                is_package = is_package || folder.size(&below(file))?.is_some();
            }
            if is_package {
                found.push(if name.is_empty() { at.clone() } else { at.join(&name) });
            } else {
                let folders = folder.folders(&name)?.into_iter();
                next.extend(folders.filter(|folder| folder != "_state").map(|folder| below(&folder)));
            }
        }
        level = next;
    }
    Ok(if found.is_empty() { vec![at.clone()] } else { found })
}
