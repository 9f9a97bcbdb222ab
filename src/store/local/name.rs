//! Names inside a package: `/`-separated, relative, never leading out of it. Manifests may come from untrusted
//! packages, so a name is checked every time it becomes a path. Links below the root are refused. Another process of
//! the same user could still place a link between check and use, but such a process can write the target anyway.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::StoreError;

/// Refuses a name that is not made of plain segments.
///
/// # Errors
/// [`StoreError::BadName`] with the rule that is broken.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.starts_with('/') {
        "it is absolute"
    } else if name.contains('\0') {
        "it holds a NUL"
    } else if name.contains('\\') {
        "it holds a backslash"
    } else if name.split('/').any(str::is_empty) {
        "a segment is empty"
    } else if name.split('/').any(|segment| segment == "." || segment == "..") {
        "a segment is `.` or `..`"
    } else {
        return Ok(());
    };
    Err(StoreError::BadName { name: name.to_owned(), why })
}

/// The path of a name below `root`. The folders on the way, as far as they exist, are real folders.
///
/// # Errors
/// [`StoreError::BadName`]; [`StoreError::WrongKind`] where a link or file stands where a folder should be.
pub fn resolve(root: &Path, name: &str) -> Result<PathBuf, StoreError> {
    check_name(name)?;
    let mut path = root.to_owned();
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        path.push(segment);
        if segments.peek().is_none() {
            break;
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(found) => return Err(not_a_folder(&path, &found)),
            // What does not exist leads nowhere; the rest is appended as it is.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                path.extend(segments);
                break;
            }
            Err(error) => return Err(StoreError::io("look at", &path, error)),
        }
    }
    Ok(path)
}

/// The error for something that stands where a folder should be.
pub(super) fn not_a_folder(path: &Path, found: &Metadata) -> StoreError {
    StoreError::WrongKind {
        path: path.to_owned(),
        found: kind(found),
        needed: "a folder",
        way_out: if found.is_symlink() {
            "a package does not reach through links, so name the folder that the link leads to"
        } else {
            "choose another output or remove it"
        },
    }
}

/// What something in a file system is, for messages.
pub(super) fn kind(found: &Metadata) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a folder"
    } else if found.is_file() {
        "a file"
    } else {
        "a device, pipe or socket"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_package_are_refused() {
        for name in ["", "/etc/passwd", "../x", "data/../../x", "data//x", "data/", "a\0b", "a\\..\\b", ".", "data/./x"]
        {
            assert!(matches!(check_name(name), Err(StoreError::BadName { .. })), "{name:?}");
        }
        for name in ["manifest.json", "data/2026-03-01/part-0000.csv.zst", "..data/x..", "data/ä b"] {
            check_name(name).unwrap();
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_below_the_root_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("data")).unwrap();
        let error = resolve(root.path(), "data/x").unwrap_err();
        assert!(error.to_string().contains("is a symbolic link, but a folder is needed"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_not_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(resolve(root.path(), "data/a/b/c").unwrap(), root.path().join("data/a/b/c"));
    }
}
