//! Changes to a keys file, which leave the rest of its text as it is.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::{ApiKey, KeyId, Keys, KeysError, text_of};
use crate::diagnostic::SourceText;

/// Why a keys file was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// It cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There is a key with this id.
    #[error("{path} has a key `{id}` already; choose another `--id`, because logs name keys by it")]
    Exists {
        /// The file.
        path: String,
        /// The id.
        id: KeyId,
    },
    /// There is no key with this id.
    #[error("{path} has no key `{id}`; `keys list` shows those it has")]
    Unknown {
        /// The file.
        path: String,
        /// The id.
        id: String,
    },
    /// The text is not laid out as `keys new` writes it.
    #[error("{path} is not laid out as `keys new` writes it, so it was not changed; {by_hand}")]
    Layout {
        /// The file.
        path: String,
        /// What to do instead.
        by_hand: String,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Adds a key to a file, which is made if it is not there.
///
/// # Errors
/// [`EditError`]; the file is then as it was.
pub(crate) fn add(path: &Path, key: &ApiKey) -> Result<(), EditError> {
    let _lock = lock(path)?;
    let is_new = matches!(fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    let mut text = if is_new { "version: 1\nkeys:\n".to_owned() } else { text_of(path)? };
    let known = if is_new { Keys::default() } else { parsed(path, &text).map_err(KeysError::Mistakes)? };
    if known.keys.iter().any(|other| other.id == key.id) {
        return Err(EditError::Exists { path: path.display().to_string(), id: key.id.clone() });
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let indent =
        text.lines().find_map(|line| Some(&line[..line.find("- ")?]).filter(|indent| indent.trim().is_empty()));
    let indent = indent.unwrap_or("  ").to_owned();
    for line in key.to_string().lines() {
        text.push_str(&format!("{indent}{line}\n"));
    }
    let expected = known.keys.into_iter().chain([Arc::new(key.clone())]).collect();
    check(path, &text, &Keys { keys: expected }, || format!("add this to its `keys` by hand:\n{key}"))?;
    write(path, &text)
}

/// Revokes a key: it stays in the file, so that its id is not given to another.
///
/// # Errors
/// [`EditError`]; the file is then as it was.
pub(crate) fn revoke(path: &Path, id: &str, now: Timestamp) -> Result<Arc<ApiKey>, EditError> {
    let _lock = lock(path)?;
    let text = text_of(path)?;
    let mut keys = parsed(path, &text).map_err(KeysError::Mistakes)?.keys;
    let Some(key) = keys.iter_mut().find(|key| key.id.as_str() == id) else {
        return Err(EditError::Unknown { path: path.display().to_string(), id: id.to_owned() });
    };
    if key.revoked_at.is_some() {
        return Ok(Arc::clone(key));
    }
    let revoked = Arc::new(ApiKey { revoked_at: Some(now), ..ApiKey::clone(key) });
    *key = Arc::clone(&revoked);
    let is_id = |line: &str| {
        let key = line.trim_start().trim_start_matches("- ").trim_start();
        key.strip_prefix("id:").is_some_and(|value| value.trim().trim_matches(['"', '\'']) == id)
    };
    let by_hand = || format!("add `revoked_at: {now}` to the key `{id}` by hand");
    let mut changed = String::with_capacity(text.len() + 64);
    let mut is_found = false;
    for line in text.split_inclusive('\n') {
        changed.push_str(line);
        if let (Some(column), false) = (line.find("id:").filter(|_| is_id(line)), is_found) {
            is_found = true;
            let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
            if !line.ends_with('\n') {
                changed.push('\n');
            }
            changed.push_str(&format!("{}revoked_at: {now}{end}", " ".repeat(column)));
        }
    }
    let text = changed;
    check(path, &text, &Keys { keys }, by_hand)?;
    write(path, &text)?;
    Ok(revoked)
}

fn parsed(path: &Path, text: &str) -> Result<Keys, Vec<crate::diagnostic::Diagnostic>> {
    Keys::parse(&Arc::new(SourceText { path: path.to_owned(), text: text.to_owned() }))
}

/// Whether the new text says what it should.
fn check(path: &Path, text: &str, expected: &Keys, by_hand: impl Fn() -> String) -> Result<(), EditError> {
    match parsed(path, text) {
        Ok(keys) if keys == *expected => Ok(()),
        _ => Err(EditError::Layout { path: path.display().to_string(), by_hand: by_hand() }),
    }
}

/// Of several changes at once, each sees what those before it made.
fn lock(path: &Path) -> Result<fs::File, EditError> {
    let lock = || {
        let folder = fs::File::open(folder_of(path))?;
        folder.lock()?;
        Ok(folder)
    };
    lock().map_err(|source| EditError::Unwritable { path: path.display().to_string(), source })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces the file at once: a service that reads it again sees the old or the new one. Its mode and owner stay; a new file
/// can be read by nobody else.
fn write(path: &Path, text: &str) -> Result<(), EditError> {
    let write = || {
        // A link stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut file = NamedTempFile::new_in(folder_of(&path))?;
        file.write_all(text.as_bytes())?;
        if let Ok(facts) = fs::metadata(&path) {
            same_owner(file.as_file(), &facts)?;
            file.as_file().set_permissions(facts.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| EditError::Unwritable { path: path.display().to_string(), source })
}

/// The service may run as somebody else than who revokes a key.
#[cfg(unix)]
fn same_owner(file: &fs::File, old: &fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(file, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn same_owner(_: &fs::File, _: &fs::Metadata) -> std::io::Result<()> {
    Ok(())
}
