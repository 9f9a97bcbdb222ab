//! Opens the sealed facts of a manifest, given the keys.

use std::io;

use super::ReadKeys;
use crate::package::manifest::{EncryptionRecord, Facts, Manifest, SealedFacts};
use crate::seal::{FactsSecret, OpenError, open_facts, open_facts_with};

/// The result of opening the sealed facts of a manifest.
#[derive(Debug, Default)]
pub struct Revealed {
    /// Number of files whose facts were opened.
    pub opened: usize,
    /// Number of files whose facts are still sealed, because there was no key.
    pub sealed: usize,
    /// Why there was no key, as a clause without a full stop.
    pub missing: Option<String>,
    /// Files whose facts cannot be opened with the given keys, and why.
    pub faults: Vec<(String, String)>,
}

/// Copies the sealed facts of files to the fields that they would have in clear. `sealed` stays.
pub fn reveal(manifest: &mut Manifest, keys: &ReadKeys) -> Revealed {
    let mut revealed = Revealed::default();
    let opener = Opener::new(manifest.encryption.as_ref(), keys);
    let mut open = |path: &str, sha256: Option<&str>, sealed: &Option<SealedFacts>| {
        let sealed = sealed.as_ref()?;
        let opener = match &opener {
            Ok(opener) => opener,
            Err(missing) => {
                revealed.sealed += 1;
                revealed.missing = Some(missing.to_string());
                return None;
            }
        };
        match opener.open(&sealed.data, sha256) {
            Ok(facts) => {
                revealed.opened += 1;
                Some(facts)
            }
            Err(why) => {
                revealed.faults.push((path.to_owned(), why.to_string()));
                None
            }
        }
    };
    for file in &mut manifest.files {
        if let Some(facts) = open(&file.path, file.sha256.as_deref(), &file.sealed) {
            file.reveal(facts);
        }
    }
    for file in &mut manifest.rejects {
        if let Some(facts) = open(&file.path, Some(&file.sha256), &file.sealed) {
            file.reveal(facts);
        }
    }
    revealed
}

/// Why there is no key to sealed facts.
#[derive(Debug, thiserror::Error)]
enum NoKey {
    #[error("no --parquet-key was given")]
    NoParquetKey,
    #[error("no --identity was given")]
    NoIdentity,
    #[error(transparent)]
    Parquet(io::Error),
}

/// Why sealed facts cannot be opened with the given keys.
#[derive(Debug, thiserror::Error)]
enum SealFault {
    #[error("{0}")]
    Open(OpenError),
    #[error("what was sealed is not JSON of facts: {0}")]
    NotFacts(serde_json::Error),
    #[error("the file has no `sha256` to compare them with")]
    NoDigest,
    #[error("they were sealed for a file with SHA-256 {}", sha256.escape_debug())]
    OtherFile { sha256: String },
}

/// Opens the facts of one package.
enum Opener<'a> {
    Age(&'a ReadKeys),
    Parquet(FactsSecret),
}

impl<'a> Opener<'a> {
    fn new(encryption: Option<&EncryptionRecord>, keys: &'a ReadKeys) -> Result<Self, NoKey> {
        match encryption {
            Some(EncryptionRecord::Parquet { columns, .. }) => {
                let given = keys.parquet.as_ref().ok_or(NoKey::NoParquetKey)?;
                given.facts_secret(columns.keys().map(String::as_str)).map(Self::Parquet).map_err(NoKey::Parquet)
            }
            _ if keys.identities.is_empty() => Err(NoKey::NoIdentity),
            _ => Ok(Self::Age(keys)),
        }
    }

    fn open(&self, sealed: &str, sha256: Option<&str>) -> Result<Facts, SealFault> {
        let opened = match self {
            Self::Age(keys) => open_facts(sealed, &keys.identities),
            Self::Parquet(secret) => open_facts_with(sealed, secret),
        };
        let facts = Facts::from_bytes(&opened.map_err(SealFault::Open)?).map_err(SealFault::NotFacts)?;
        match sha256 {
            Some(sha256) if facts.sha256 == sha256 => Ok(facts),
            Some(_) => Err(SealFault::OtherFile { sha256: facts.sha256 }),
            None => Err(SealFault::NoDigest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_what_the_facts_were_sealed_for() {
        let other = SealFault::OtherFile { sha256: "ab\u{1b}".to_owned() };
        assert_eq!(other.to_string(), "they were sealed for a file with SHA-256 ab\\u{1b}");
        assert_eq!(SealFault::NoDigest.to_string(), "the file has no `sha256` to compare them with");
        let cut = SealFault::NotFacts(Facts::from_bytes(b"{").map(drop).unwrap_err()).to_string();
        assert!(cut.starts_with("what was sealed is not JSON of facts: EOF"), "{cut}");
    }

    #[test]
    fn a_missing_key_is_named_by_its_flag() {
        let keys = ReadKeys::default();
        let missing = Opener::new(None, &keys).map(drop).unwrap_err();
        assert_eq!(missing.to_string(), "no --identity was given");
        assert_eq!(NoKey::NoParquetKey.to_string(), "no --parquet-key was given");
    }
}
