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
    let mut open = |path: &str, sha256: &str, sealed: &Option<SealedFacts>| {
        let sealed = sealed.as_ref()?;
        let opener = match &opener {
            Ok(opener) => opener,
            Err(missing) => {
                revealed.sealed += 1;
                revealed.missing = Some(missing.clone());
                return None;
            }
        };
        match opener.open(&sealed.data, sha256) {
            Ok(facts) => {
                revealed.opened += 1;
                Some(facts)
            }
            Err(why) => {
                revealed.faults.push((path.to_owned(), why));
                None
            }
        }
    };
    for file in &mut manifest.files {
        if let Some(facts) = open(&file.path, file.sha256.as_deref().unwrap_or_default(), &file.sealed) {
            file.reveal(facts);
        }
    }
    for file in &mut manifest.rejects {
        if let Some(facts) = open(&file.path, &file.sha256, &file.sealed) {
            file.reveal(facts);
        }
    }
    revealed
}

/// Opens the facts of one package.
enum Opener<'a> {
    Age(&'a ReadKeys),
    Parquet(FactsSecret),
}

impl<'a> Opener<'a> {
    fn new(encryption: Option<&EncryptionRecord>, keys: &'a ReadKeys) -> Result<Self, String> {
        match encryption {
            Some(EncryptionRecord::Parquet { columns, .. }) => {
                let given = keys.parquet.as_ref().ok_or("no --parquet-key was given")?;
                given
                    .facts_secret(columns.keys().map(String::as_str))
                    .map(Self::Parquet)
                    .map_err(|e: io::Error| e.to_string())
            }
            _ if keys.identities.is_empty() => Err("no --identity was given".to_owned()),
            _ => Ok(Self::Age(keys)),
        }
    }

    fn open(&self, sealed: &str, sha256: &str) -> Result<Facts, String> {
        let opened = match self {
            Self::Age(keys) => open_facts(sealed, &keys.identities),
            Self::Parquet(secret) => open_facts_with(sealed, secret),
        };
        let bytes = opened.map_err(|error: OpenError| error.to_string())?;
        let facts =
            Facts::from_bytes(&bytes).map_err(|error| format!("what was sealed is not JSON of facts: {error}"))?;
        if facts.sha256 != sha256 {
            return Err(format!("they were sealed for a file with SHA-256 {}", facts.sha256.escape_debug()));
        }
        Ok(facts)
    }
}
