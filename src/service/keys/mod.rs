//! API keys: who may call the service, and for what.
//!
//! A key is `kte_` and 43 base64url characters of 256 random bits. The keys file holds its SHA-256 alone, which is enough
//! against guessing because the key is random; nothing that is kept can be turned back into it.

mod edit;
mod entry;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::diagnostic::{Diagnostic, SourceText};
use crate::service::random::{self, NoRandom};
use crate::small_file;

pub(crate) use edit::{EditError, add, revoke};
pub(crate) use entry::{KeyId, NewKey, Rate, Right};
pub(crate) use watch::KeysFile;

/// Bytes of the largest keys file that is read: several thousand keys.
const LARGEST_BYTES: u64 = 4 << 20;

/// What every key begins with, so that scanners for secrets find one that has leaked.
const PREFIX: &str = "kte_";

/// The keys of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Keys {
    /// In the order of the file; ids and digests are unique.
    pub(crate) keys: Vec<Arc<ApiKey>>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiKey {
    /// Its name, in logs and in the custody log.
    pub(crate) id: KeyId,
    /// Of the key's text.
    sha256: [u8; 32],
    /// The export types that it may see and create; `None` for all of the catalog.
    pub(crate) types: Option<BTreeSet<String>>,
    /// What it may do.
    pub(crate) may: BTreeSet<Right>,
    /// Whose jobs it sees; keys without a tenant see the jobs without one.
    pub(crate) tenant: Option<KeyId>,
    /// age recipients of what it exports, if a request names none.
    pub(crate) encrypt_to: Vec<String>,
    /// When it stops being valid.
    pub(crate) expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub(crate) revoked_at: Option<Timestamp>,
    /// Most requests in a time.
    pub(crate) rate: Option<Rate>,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The file cannot be read.
    #[error("cannot read the keys file {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is not what it must be.
    #[error("the keys file has mistakes")]
    Mistakes(Vec<Diagnostic>),
}

impl Keys {
    /// Reads a keys file.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) fn read(path: &Path) -> Result<Self, KeysError> {
        let text = text_of(path)?;
        Self::parse(&Arc::new(SourceText { path: path.to_owned(), text })).map_err(KeysError::Mistakes)
    }

    /// The key with this text, if there is one that is valid. Takes the same time whichever it is.
    pub(crate) fn find(&self, text: &str, now: Timestamp) -> Option<&Arc<ApiKey>> {
        let digest = digest(text);
        let (mut found, mut index) = (Choice::from(0), 0u64);
        for (at, key) in (0u64..).zip(&self.keys) {
            let is_it = key.sha256.ct_eq(&digest);
            index.conditional_assign(&at, is_it);
            found |= is_it;
        }
        let index = usize::try_from(index).ok().filter(|_| bool::from(found))?;
        self.keys.get(index).filter(|key| key.is_valid(now))
    }
}

impl ApiKey {
    /// A new key and its text, which is kept nowhere.
    ///
    /// # Errors
    /// [`NoRandom`].
    pub(crate) fn generate(new: NewKey) -> Result<(Zeroizing<String>, Self), NoRandom> {
        let secret = random::secret()?;
        let text = Zeroizing::new(format!("{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(secret.as_ref())));
        let sha256 = digest(&text);
        Ok((text, new.with_digest(sha256)))
    }

    /// The SHA-256 of its text, in hex.
    pub(crate) fn sha256_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.sha256)
    }

    /// Whether it is neither revoked nor expired.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whose jobs it sees.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_ref().map(KeyId::as_str)
    }

    /// Whether it may see and create exports of this type.
    pub(crate) fn has_type(&self, name: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(name))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn text_of(path: &Path) -> Result<String, KeysError> {
    let unreadable = |source| KeysError::Unreadable { path: path.display().to_string(), source };
    let bytes = small_file::read_any(path, LARGEST_BYTES).map_err(unreadable)?;
    String::from_utf8(bytes)
        .map_err(|e| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, e.utf8_error())))
}

#[cfg(test)]
mod tests;
