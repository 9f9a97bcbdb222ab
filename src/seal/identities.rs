//! The secret keys for reading encrypted files.
//!
//! They come from files that the user names, or from a passphrase, never from the contents of a package.

use std::path::{Path, PathBuf};
use std::{fmt, io, str};

use age::secrecy::SecretString;
use age::{Identity, scrypt, x25519};
use zeroize::Zeroizing;

use crate::small_file;

/// Limit on the size of an identity file.
const LARGEST_BYTES: u64 = 1 << 20;

/// Largest scrypt work factor, as an exponent: 2^20 rounds take 1 GiB of memory and a few seconds. `age` uses 2^18. The
/// creator of a file chooses the number, so it needs a limit.
pub const MAX_WORK_FACTOR: u8 = 20;

/// Secret keys. `Debug` never shows them.
#[derive(Default)]
pub struct Identities {
    keys: Vec<x25519::Identity>,
    passphrase: Option<scrypt::Identity>,
}

impl Identities {
    /// No keys: encrypted files cannot be read.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads keys from files in the format of `age-keygen`: one `AGE-SECRET-KEY-1…` per line, `#` starts a comment.
    ///
    /// # Errors
    /// [`IdentityError`] of the first invalid file.
    pub fn of_files(paths: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut keys = Vec::new();
        for path in paths {
            keys.extend(keys_in(path)?);
        }
        Ok(Self { keys, passphrase: None })
    }

    /// Reads keys from a text in the same format.
    ///
    /// # Errors
    /// [`IdentityError::Line`], without the file.
    pub fn of_text(text: &str) -> Result<Self, IdentityError> {
        Ok(Self { keys: keys(text, Path::new("the text"))?, passphrase: None })
    }

    /// Adds a passphrase, for files encrypted with one.
    #[must_use]
    pub fn and_passphrase(mut self, passphrase: &str) -> Self {
        let mut identity = scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        self.passphrase = Some(identity);
        self
    }

    /// Whether there are no keys and no passphrase.
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

/// Why a file is not an identity file. Messages never repeat its contents.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("cannot read the identity file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is too large to be an identity file.
    #[error("{} is larger than 1 MiB, so it is not an identity file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The identity file is encrypted.
    #[error(
        "{} is an encrypted identity: decrypt it first, with `kt-export decrypt --passphrase-env NAME` or `age -d`",
        path.display()
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// An SSH key.
    #[error(
        "{} is an SSH or PEM key, and only age identities (`AGE-SECRET-KEY-1…`) are supported; `age -d -i` supports SSH keys",
        path.display()
    )]
    Ssh {
        /// The file.
        path: PathBuf,
    },
    /// A line is not a key.
    #[error("{}, line {line}: not an age identity (`AGE-SECRET-KEY-1…`)", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
    },
    /// The file has no keys.
    #[error("{} contains no age identity (`AGE-SECRET-KEY-1…`)", path.display())]
    NoKey {
        /// The file.
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
        assert_eq!(said(b"# nothing\n"), format!("{p} contains no age identity (`AGE-SECRET-KEY-1…`)"));
        for wrong in ["x\n", &KEY[..50], "AGE-SECRET-KEY-PQ-1XYZ\n"] {
            let said = said(format!("# a\n{wrong}").as_bytes());
            assert_eq!(said, format!("{p}, line 2: not an age identity (`AGE-SECRET-KEY-1…`)"));
        }
        assert_eq!(said(b"\xff"), format!("{p}, line 1: not an age identity (`AGE-SECRET-KEY-1…`)"));
        assert_eq!(
            said(b"age-encryption.org/v1\n"),
            format!(
                "{p} is an encrypted identity: decrypt it first, with `kt-export decrypt --passphrase-env NAME` or `age -d`"
            )
        );
        assert_eq!(
            said(b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            format!(
                "{p} is an SSH or PEM key, and only age identities (`AGE-SECRET-KEY-1…`) are supported; `age -d -i` \
                 supports SSH keys"
            )
        );
        assert_eq!(said(&vec![b'#'; 2 << 20]), format!("{p} is larger than 1 MiB, so it is not an identity file"));
        fs::remove_file(&path).unwrap();
        let missing = Identities::of_files(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert_eq!(missing, format!("cannot read the identity file {p}"));
    }
}
