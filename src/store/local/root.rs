//! The package's folder and its parents. Links above the package are followed. The package itself must be a real
//! folder, so that the folder a spec names is the folder an auditor gets.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::StoreError;
use super::draft::sync_parent;
use super::name::not_a_folder;

/// Makes `root` and what is missing above it, each made durable, and names the first thing that is in the way.
pub(super) fn make_root(root: &Path) -> Result<(), StoreError> {
    let mut folders: Vec<&Path> = root.ancestors().collect();
    folders.reverse();
    for folder in folders {
        let found = if folder == root { fs::symlink_metadata(folder) } else { fs::metadata(folder) };
        match found {
            Ok(found) if found.is_dir() => continue,
            Ok(found) => return Err(not_a_folder(folder, &found)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("look at", folder, error)),
        }
        if let Ok(link) = fs::symlink_metadata(folder)
            && link.is_symlink()
        {
            return Err(StoreError::WrongKind {
                path: folder.to_owned(),
                found: "a symbolic link to nothing",
                needed: "a folder",
                way_out: "make the folder that it leads to or remove it",
            });
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create the folder", folder, error));
            }
            _ => sync_parent(folder)?,
        }
    }
    Ok(())
}
