//! What the manifest knows of an encrypted file's content, for those alone who can read the file.
//!
//! Whoever can guess a row can check the guess against a digest of it, its size or its exact time. So these stand in the
//! manifest as one encrypted text a file; how it is encrypted, [`crate::seal`] knows.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileEntry, RejectsEntry};

/// Texts are filled up to a multiple of so many bytes, so that their lengths do not tell the digits of a time.
const PAD_BYTES: usize = 256;

/// The facts of a file, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedFacts {
    /// Base64 of JSON with `sha256` (of the file as stored, whose facts these are), `plain_bytes`, `plain_sha256`,
    /// `rows_digest`, `min_time` and `max_time`: an age file to the recipients; or, where Parquet's keys encrypt the file,
    /// 12 bytes of nonce and AES-256-GCM.
    pub data: String,
    /// Where the spec expects a `max_lag`: whether the last row is within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_max_lag: Option<bool>,
}

/// What is sealed of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// SHA-256 of the file as stored, so that the facts of one file cannot stand at another.
    pub sha256: String,
    /// [`FileEntry::plain_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
    /// [`FileEntry::plain_sha256`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_sha256: Option<String>,
    /// [`FileEntry::rows_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<String>,
    /// [`FileEntry::min_time`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_time: Option<Timestamp>,
    /// [`FileEntry::max_time`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Timestamp>,
}

impl Facts {
    /// JSON, filled up with blanks.
    ///
    /// # Errors
    /// The serialiser's; only a bug can cause it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.resize(bytes.len().next_multiple_of(PAD_BYTES), b' ');
        Ok(bytes)
    }

    /// Reads [`Facts::to_bytes`].
    ///
    /// # Errors
    /// The parser's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl FileEntry {
    /// Whether a fact stands here that would be sealed.
    pub fn tells_facts(&self) -> bool {
        (self.plain_bytes.is_some() || self.plain_sha256.is_some() || self.rows_digest.is_some())
            || (self.min_time.is_some() || self.max_time.is_some())
    }

    /// Puts opened facts where they would stand in clear.
    pub fn reveal(&mut self, facts: Facts) {
        (self.plain_bytes, self.plain_sha256) = (facts.plain_bytes, facts.plain_sha256);
        (self.min_time, self.max_time) = (facts.min_time, facts.max_time);
        self.rows_digest = facts.rows_digest;
    }
}

impl RejectsEntry {
    /// As [`FileEntry::tells_facts`].
    pub fn tells_facts(&self) -> bool {
        self.plain_bytes.is_some() || self.plain_sha256.is_some()
    }

    /// As [`FileEntry::reveal`].
    pub fn reveal(&mut self, facts: Facts) {
        (self.plain_bytes, self.plain_sha256) = (facts.plain_bytes, facts.plain_sha256);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_sealed_facts_does_not_tell_their_digits() {
        let of = |time: &str, bytes| Facts {
            sha256: "0".repeat(64),
            plain_sha256: Some("1".repeat(64)),
            plain_bytes: Some(bytes),
            min_time: Some(time.parse().unwrap()),
            ..Facts::default()
        };
        let (short, long) = (of("2026-03-01T00:00:00Z", 1), of("2026-03-01T00:00:00.123456789Z", 123_456));
        let bytes = [short.to_bytes().unwrap(), long.to_bytes().unwrap()];
        assert_eq!((bytes[0].len(), bytes[0].len() % PAD_BYTES), (bytes[1].len(), 0));
        assert_eq!(Facts::from_bytes(&bytes[1]).unwrap(), long);
    }
}
