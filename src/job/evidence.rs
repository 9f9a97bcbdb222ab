//! What a job does so that its package is evidence: redaction, encryption, signature, chain, expectations.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Located;
use crate::secret::SecretName;
use crate::store::Location;

/// What is done to the values of one column or nested path before they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Redaction {
    /// Source column, or a path of names into nested values: `metadata.user.email`.
    pub path: Located<String>,
    /// How.
    pub method: RedactionMethod,
}

/// How a value is redacted. Nulls stay null.
#[derive(Debug, Clone, PartialEq)]
pub enum RedactionMethod {
    /// The text `***`.
    Mask,
    /// Null.
    Nullify,
    /// The column, or the nested field, is not exported.
    Drop,
    /// This text.
    Replace(String),
    /// HMAC-SHA-256 (RFC 2104) of the value's text under a key: the same pseudonym for the same value, in every period.
    HmacSha256(SecretName),
}

/// How shards and rejects are encrypted.
#[derive(Debug, Clone, PartialEq)]
pub enum Encryption {
    /// age v1, to recipients.
    Age {
        /// `age1…`, as written in the spec.
        recipients: Vec<Located<String>>,
        /// A file with one recipient a line, `#` before comments.
        recipients_file: Option<RecipientsFile>,
        /// Who may read the digests of what is encrypted.
        digests: Digests,
    },
    /// Parquet modular encryption, AES-GCM.
    Parquet {
        /// Encrypts the footer, and every column without a key of its own.
        footer_key: SecretName,
        /// Keys of columns, by name in the shards.
        columns: Vec<(Located<String>, SecretName)>,
        /// Who may read the digests of what is encrypted.
        digests: Digests,
    },
}

/// Where the manifest has what confirms a guess of an encrypted file's content: its digests and size before encryption,
/// and its first and last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Digests {
    /// Encrypted, for those who can read the file.
    #[default]
    Sealed,
    /// In clear, for everybody who sees the manifest.
    Clear,
}

/// A file without secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipientsFile {
    /// The path as written.
    pub written: Located<String>,
    /// Absolute, once the spec is resolved.
    pub path: PathBuf,
}

/// Who signs the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    /// An OpenSSH private key; a file that holds a public key means the one in the agent.
    pub key: SecretName,
    /// The principal in the auditor's list of allowed signers.
    pub identity: Located<String>,
}

/// Where packages of the same spec are linked in the order of their ends.
#[derive(Debug, Clone)]
pub struct Chain {
    /// As written and rendered.
    pub uri: String,
    /// The folder of the links.
    pub location: Location,
}

/// What must hold of the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expectations {
    /// At least so many rows in all shards.
    pub min_rows: Option<u64>,
    /// A row in every partition.
    pub non_empty_partitions: bool,
    /// Maximum time between the last row and the window's end.
    pub max_lag: Option<SignedDuration>,
}
