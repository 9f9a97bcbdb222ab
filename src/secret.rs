//! Secrets by name: a spec says in which environment variable or file a key is, and never the key itself.
//!
//! The value is read when it is needed, lives in memory that is wiped, and has no `Display` and no `Debug`, so that it
//! cannot reach a log, an error or a manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fmt, io};

use zeroize::Zeroizing;

use crate::diagnostic::Located;
use crate::small_file;

/// Larger than any key.
const LARGEST_BYTES: u64 = 64 << 10;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq)]
pub enum SecretName {
    /// In an environment variable.
    Env(Located<String>),
    /// In a file.
    File {
        /// The path as written.
        written: Located<String>,
        /// Absolute, once the spec is resolved.
        path: PathBuf,
    },
}

impl SecretName {
    /// The secret: the text of the variable, or the bytes of the file, of which one line end is left out.
    ///
    /// # Errors
    /// [`SecretError`] where it is not there, empty or too large to be a key.
    pub fn read(&self, env: &BTreeMap<String, String>) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut secret = match self {
            Self::Env(name) => {
                let value = env.get(&name.value).ok_or_else(|| SecretError::NotSet { name: name.value.clone() })?;
                Zeroizing::new(value.clone().into_bytes())
            }
            Self::File { path, .. } => {
                let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
                match small_file::read_regular(path, LARGEST_BYTES) {
                    Ok(bytes) => Zeroizing::new(bytes),
                    Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                        return Err(SecretError::TooLarge { path: path.clone() });
                    }
                    Err(error) => return Err(unreadable(error)),
                }
            }
        };
        if secret.ends_with(b"\n") {
            secret.pop();
            if secret.ends_with(b"\r") {
                secret.pop();
            }
        }
        if secret.is_empty() {
            return Err(SecretError::Empty { name: self.to_string() });
        }
        Ok(secret)
    }

    /// Where the spec names it.
    pub fn place(&self) -> &Located<String> {
        match self {
            Self::Env(name) => name,
            Self::File { written, .. } => written,
        }
    }
}

/// `env:NAME` or `file:PATH`, the path as written: what a manifest may say of a key.
impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{}", name.value),
            Self::File { written, .. } => write!(f, "file:{}", written.value),
        }
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable.
    #[error("the environment variable {name} is not set; set it to the key, where this process runs")]
    NotSet {
        /// Which.
        name: String,
    },
    /// No such file, or not for us.
    #[error("cannot read the key in {}, which the spec names: it has to be a file that this process may read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else than a key.
    #[error("{} is larger than 64 KiB, so it is not a key", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// Nothing.
    #[error("the key in {name} is empty")]
    Empty {
        /// As [`SecretName`] shows itself.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn env(name: &str) -> SecretName {
        SecretName::Env(Located::default_value(name.to_owned()))
    }

    fn file(path: PathBuf) -> SecretName {
        SecretName::File { written: Located::default_value("key.txt".to_owned()), path }
    }

    #[test]
    fn a_secret_is_the_variable_or_the_file_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        for (text, secret) in [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), ("a\n\n", "a\n")] {
            fs::write(&path, text).unwrap();
            assert_eq!(file(path.clone()).read(&BTreeMap::new()).unwrap().as_slice(), secret.as_bytes());
            let variables = BTreeMap::from([("KEY".to_owned(), text.to_owned())]);
            assert_eq!(env("KEY").read(&variables).unwrap().as_slice(), secret.as_bytes());
        }
        assert_eq!((env("KEY").to_string(), file(path).to_string()), ("env:KEY".to_owned(), "file:key.txt".to_owned()));
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        let text = |secret: &SecretName| secret.read(&BTreeMap::new()).map(drop).unwrap_err().to_string();
        assert_eq!(
            text(&env("KEY")),
            "the environment variable KEY is not set; set it to the key, where this process runs"
        );
        assert_eq!(
            text(&file(path.clone())),
            format!(
                "cannot read the key in {}, which the spec names: it has to be a file that this process may read",
                path.display()
            )
        );
        fs::write(&path, "\n").unwrap();
        assert_eq!(text(&file(path.clone())), "the key in file:key.txt is empty");
        fs::write(&path, vec![b'a'; 70_000]).unwrap();
        assert_eq!(text(&file(path.clone())), format!("{} is larger than 64 KiB, so it is not a key", path.display()));
    }
}
