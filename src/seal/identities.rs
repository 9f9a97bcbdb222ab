//! The secret keys of whoever reads encrypted files.
//!
//! They come from files that the reader names, or from a passphrase; never from anything that a package says.

use std::path::{Path, PathBuf};
use std::{fmt, io, str};

use age::secrecy::SecretString;
use age::{Identity, scrypt, x25519};
use zeroize::Zeroizing;

use crate::small_file;

/// Larger than any list of keys.
const LARGEST_BYTES: u64 = 1 << 20;

/// The most that is computed to make a key of a passphrase, 2^20 rounds: 1 GiB of memory and some seconds. `age` writes
/// 2^18. Whoever made a file chooses the number, so it needs a limit.
pub const MAX_WORK_FACTOR: u8 = 20;

/// Secret keys; none of them is ever shown.
#[derive(Default)]
pub struct Identities {
    keys: Vec<x25519::Identity>,
    passphrase: Option<scrypt::Identity>,
}

impl Identities {
    /// Nothing encrypted can be read.
    pub fn none() -> Self {
        Self::default()
    }

    /// The keys in files as `age-keygen` writes them: `AGE-SECRET-KEY-1…`, one a line, `#` before comments.
    ///
    /// # Errors
    /// [`IdentityError`] of the first file that is none.
    pub fn of_files(paths: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut keys = Vec::new();
        for path in paths {
            keys.extend(keys_in(path)?);
        }
        Ok(Self { keys, passphrase: None })
    }

    /// The keys that stand in a text.
    ///
    /// # Errors
    /// [`IdentityError::Line`], without the file.
    pub fn of_text(text: &str) -> Result<Self, IdentityError> {
        Ok(Self { keys: keys(text, Path::new("the text"))?, passphrase: None })
    }

    /// With a passphrase, for files that were encrypted with one.
    #[must_use]
    pub fn and_passphrase(mut self, passphrase: &str) -> Self {
        let mut identity = scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        self.passphrase = Some(identity);
        self
    }

    /// Whether nothing encrypted can be read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.passphrase.is_none()
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(super) fn has_passphrase(&self) -> bool {
        self.passphrase.is_some()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn Identity> {
        let keys = self.keys.iter().map(|key| -> &dyn Identity { key });
        keys.chain(self.passphrase.iter().map(|passphrase| -> &dyn Identity { passphrase }))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.keys.len() + usize::from(self.passphrase.is_some()))
    }
}

fn keys_in(path: &Path) -> Result<Vec<x25519::Identity>, IdentityError> {
    let unreadable = |source| IdentityError::Unreadable { path: path.to_owned(), source };
    let bytes = match small_file::read_any(path, LARGEST_BYTES) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(IdentityError::TooLarge { path: path.to_owned() });
        }
        Err(error) => return Err(unreadable(error)),
    };
    if bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(IdentityError::Encrypted { path: path.to_owned() });
    }
    let text = str::from_utf8(&bytes).map_err(|_| IdentityError::Line { path: path.to_owned(), line: 1 })?;
    keys(text, path)
}

fn keys(text: &str, path: &Path) -> Result<Vec<x25519::Identity>, IdentityError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (path, line_number) = (path.to_owned(), index + 1);
        if line.starts_with("-----BEGIN ") {
            return Err(IdentityError::Ssh { path });
        }
        keys.push(line.parse().map_err(|_| IdentityError::Line { path, line: line_number })?);
    }
    if keys.is_empty() {
        return Err(IdentityError::NoKey { path: path.to_owned() });
    }
    Ok(keys)
}

/// A file that holds no identity. No message repeats what is in it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No such file, or not for us.
    #[error("cannot read the identity file {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else than keys.
    #[error("{} is larger than 1 MiB, so it is no identity file", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The identity is encrypted itself.
    #[error(
        "{} is an encrypted identity: decrypt it first, with `kt-export decrypt --passphrase-env NAME` or `age -d`",
        path.display()
    )]
    Encrypted {
        /// Which.
        path: PathBuf,
    },
    /// An SSH key.
    #[error(
        "{} is an SSH or PEM key, and only age identities (`AGE-SECRET-KEY-1…`) can decrypt here; `age -d -i` knows SSH keys",
        path.display()
    )]
    Ssh {
        /// Which.
        path: PathBuf,
    },
    /// A line that is no key.
    #[error("{}, line {line}: no age identity (`AGE-SECRET-KEY-1…`)", path.display())]
    Line {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Comments at most.
    #[error("{} holds no age identity (`AGE-SECRET-KEY-1…`)", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

    #[test]
    fn files_hold_keys_and_comments_and_never_show_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        fs::write(&path, format!("# created: today\n\n{KEY}\r\n{KEY}\n")).unwrap();
        let identities = Identities::of_files(&[path]).unwrap();
        assert_eq!(format!("{identities:?}"), "2 identities");
        assert!(!identities.is_empty() && Identities::none().is_empty());
    }

    #[test]
    fn what_is_no_identity_is_refused_without_a_word_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        let said = |text: &[u8]| {
            fs::write(&path, text).unwrap();
            Identities::of_files(std::slice::from_ref(&path)).unwrap_err().to_string()
        };
        let p = path.display();
        assert_eq!(said(b"# nothing\n"), format!("{p} holds no age identity (`AGE-SECRET-KEY-1…`)"));
        for wrong in ["x\n", &KEY[..50], "AGE-SECRET-KEY-PQ-1XYZ\n"] {
            let said = said(format!("# a\n{wrong}").as_bytes());
            assert_eq!(said, format!("{p}, line 2: no age identity (`AGE-SECRET-KEY-1…`)"));
        }
        assert_eq!(said(b"\xff"), format!("{p}, line 1: no age identity (`AGE-SECRET-KEY-1…`)"));
        assert_eq!(
            said(b"age-encryption.org/v1\n"),
            format!(
                "{p} is an encrypted identity: decrypt it first, with `kt-export decrypt --passphrase-env NAME` or `age -d`"
            )
        );
        assert_eq!(
            said(b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            format!(
                "{p} is an SSH or PEM key, and only age identities (`AGE-SECRET-KEY-1…`) can decrypt here; `age -d -i` \
                 knows SSH keys"
            )
        );
        assert_eq!(said(&vec![b'#'; 2 << 20]), format!("{p} is larger than 1 MiB, so it is no identity file"));
        fs::remove_file(&path).unwrap();
        let missing = Identities::of_files(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert_eq!(missing, format!("cannot read the identity file {p}"));
    }
}
