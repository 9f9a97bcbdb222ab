//! Reads a file with several names once, and records the other names as skipped.
//!
//! Hard links are recognized by device and inode, symbolic links by the real path. Inodes are compared only for files with
//! several hard links, because some network file systems report numbers that are not unique.

use std::collections::HashMap;
use std::path::PathBuf;

use super::list::{ListError, ListedFile};
use crate::source::skip::{SkipCode, SkippedInput};
use crate::store::Location;

/// The identity of a file.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Identity {
    Path(PathBuf),
    Inode(u64, u64),
    Object(Location),
}

/// Keeps each file once: under its own name if there is one, else under the first link in byte order. `files` are in that
/// order and stay in it.
///
/// # Errors
/// [`ListError::Io`] where a file has vanished.
pub(super) fn keep_one(
    bases: &[PathBuf],
    files: Vec<ListedFile>,
    skipped: &mut Vec<SkippedInput>,
) -> Result<Vec<ListedFile>, ListError> {
    let real_bases: Vec<PathBuf> =
        bases.iter().map(|base| base.canonicalize().unwrap_or_else(|_| base.to_owned())).collect();
    let mut kept: Vec<Option<ListedFile>> = Vec::with_capacity(files.len());
    let mut seen: HashMap<Identity, (usize, bool)> = HashMap::with_capacity(files.len());
    let mut again: Vec<(usize, ListedFile)> = Vec::new();
    for file in files {
        let (identities, is_link) = identities(&real_bases, &file)?;
        let known = identities.iter().find_map(|identity| seen.get(identity)).copied();
        let place = match known {
            // A link came first: the file itself replaces it.
            Some((place, true)) if !is_link => {
                let link = kept[place].take();
                again.extend(link.map(|link| (kept.len(), link)));
                again.iter_mut().filter(|(of, _)| *of == place).for_each(|(of, _)| *of = kept.len());
                kept.push(Some(file));
                kept.len() - 1
            }
            Some((place, _)) => {
                again.push((place, file));
                continue;
            }
            None => {
                kept.push(Some(file));
                kept.len() - 1
            }
        };
        seen.extend(identities.into_iter().map(|identity| (identity, (place, is_link))));
    }
    for (place, ListedFile { file, .. }) in again {
        let first = kept[place].as_ref().map_or("another one", |first| first.file.name.as_str());
        let reason = if first == file.name {
            "another `uri` of the source names it too; it is read once".to_owned()
        } else {
            format!("the same file as {first}, which is read")
        };
        skipped.push(SkippedInput { name: file.name, bytes: file.bytes, code: SkipCode::SameFile, reason });
    }
    Ok(kept.into_iter().flatten().collect())
}

/// The identities of a file, and whether its name is a link.
fn identities(real_bases: &[PathBuf], listed: &ListedFile) -> Result<(Vec<Identity>, bool), ListError> {
    let file = &listed.file;
    let path = match &file.at {
        Location::Local(path) => path,
        object @ Location::Object(_) => return Ok((vec![Identity::Object(object.clone())], false)),
    };
    let io = |source| ListError::Io { path: path.display().to_string(), source };
    let real = path.canonicalize().map_err(io)?;
    let below = file.name.get(listed.name_start..).unwrap_or(&file.name);
    let is_link = real_bases.get(listed.uri).is_none_or(|base| real != base.join(below));
    let mut identities = vec![Identity::Path(real)];
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).map_err(io)?;
        if metadata.nlink() > 1 {
            identities.push(Identity::Inode(metadata.dev(), metadata.ino()));
        }
    }
    Ok((identities, is_link))
}
