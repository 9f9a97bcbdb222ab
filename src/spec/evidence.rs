//! `encryption`, `sign`, `chain` and `expect` as written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;

use super::Spec;
use super::output::{OutputUri, output_uri};
use super::secret::{self, KeySchema};
use super::source::store_options;
use crate::diagnostic::{Diagnostic, Located};
use crate::job::{Digests, Encryption, Expectations, Format, RecipientsFile, Signing};
use crate::store::StoreOptions;
use crate::yaml::decode::{Fields, Keys, boolean, count, list, mapping, text, word};
use crate::yaml::{Entry, Node};

/// Keys of `encryption`.
pub(super) const ENCRYPTION_KEYS: Keys = Keys { known: &["age", "parquet", "digests"] };
/// Keys of `encryption.age`.
pub(super) const AGE_KEYS: Keys = Keys { known: &["recipients", "recipients_file"] };
/// Keys of `encryption.parquet`.
pub(super) const PARQUET_KEYS: Keys = Keys { known: &["footer_key_env", "footer_key_file", "columns"] };
/// Keys of `sign`.
pub(super) const SIGN_KEYS: Keys = Keys { known: &["ssh_key_file", "ssh_key_env", "identity"] };
/// Keys of `chain`.
pub(super) const CHAIN_KEYS: Keys = Keys { known: &["uri", "options"] };
/// Keys of `expect`.
pub(super) const EXPECT_KEYS: Keys = Keys { known: &["min_rows", "non_empty_partitions", "max_lag"] };

/// How shards are encrypted: exactly one of `age` and `parquet`.
#[derive(JsonSchema)]
#[schemars(rename = "Encryption", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(crate) struct EncryptionSchema {
    /// age v1, any format: readable with `age -d` and `kt-export decrypt`.
    age: Option<AgeSchema>,
    /// Parquet modular encryption, format `parquet` only: readable with any reader that knows it, given the keys.
    parquet: Option<ParquetSchema>,
    /// What the manifest says of what is encrypted: its digests and sizes before encryption, its first and last time, with
    /// which anybody can confirm a guess of a row. `sealed`: only to those who can read the shards; `clear`: to everybody.
    digests: Option<Digests>,
}

/// Who can read the shards. At least one recipient.
#[derive(JsonSchema)]
#[schemars(rename = "AgeEncryption", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
struct AgeSchema {
    /// Public keys, `age1…`.
    recipients: Option<Vec<String>>,
    /// A file with one public key a line; a relative path starts at the folder of the spec.
    recipients_file: Option<String>,
}

/// Keys of Parquet modular encryption: 16 or 32 bytes, in base64.
#[derive(JsonSchema)]
#[schemars(rename = "ParquetEncryption", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
struct ParquetSchema {
    /// Name of the environment variable that holds the footer key.
    footer_key_env: Option<String>,
    /// The file that holds the footer key.
    footer_key_file: Option<String>,
    /// Keys of columns, by name in the shards. Columns that are not named are encrypted with the footer key.
    columns: Option<BTreeMap<String, KeySchema>>,
}

/// Who signs the manifest, as `ssh-keygen -Y sign -n kt-export` does.
#[derive(JsonSchema)]
#[schemars(rename = "Sign", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(crate) struct SignSchema {
    /// The file that holds an OpenSSH private key without a passphrase, or a public key whose private key is in the agent.
    ssh_key_file: Option<String>,
    /// Name of the environment variable that holds an OpenSSH private key.
    ssh_key_env: Option<String>,
    /// The principal that auditors list in their allowed signers, such as `evidence@example.com`.
    identity: String,
}

/// Where the packages of this spec are linked, in the order in which they ended.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename = "Chain", deny_unknown_fields)]
pub struct ChainSpec {
    /// Folder or prefix of the links; a relative one is below `--output`.
    #[schemars(with = "String")]
    pub uri: OutputUri,
    /// How the object store of `uri` is reached, where the environment does not say.
    #[schemars(with = "Option<StoreOptions>")]
    pub options: StoreOptions,
}

/// What must hold of the result; else the job is `partial` with `expectation_failed`.
#[derive(JsonSchema)]
#[schemars(rename = "Expect", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(crate) struct ExpectSchema {
    /// At least so many rows.
    #[schemars(range(min = 1))]
    min_rows: Option<u64>,
    /// Whether every partition must have a row; default false.
    non_empty_partitions: Option<bool>,
    /// How long before the window's end the latest row may be: `6h`.
    max_lag: Option<String>,
}

/// Reads `encryption`.
pub(crate) fn encryption(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Encryption> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "encryption", ENCRYPTION_KEYS, errors)?;
    let digests = fields.optional("digests", errors, word).unwrap_or_default();
    match (fields.get("age"), fields.get("parquet")) {
        (Some(age), None) => self::age(age, digests, errors),
        (None, Some(parquet)) => self::parquet(parquet, digests, errors),
        (Some(_), Some(second)) => {
            errors.push(second.key.mistake("`encryption` has both `age` and `parquet`").help("keep one of them"));
            None
        }
        (None, None) => {
            let mistake = entry.key.mistake("`encryption` names no method");
            errors.push(
                mistake.help("add `age: {recipients: [age1…]}`, or, for Parquet, `parquet: {footer_key_env: NAME}`"),
            );
            None
        }
    }
}

fn age(entry: &Entry, digests: Digests, errors: &mut Vec<Diagnostic>) -> Option<Encryption> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "age", AGE_KEYS, errors)?;
    let recipients = fields.optional("recipients", errors, texts).unwrap_or_default();
    let recipients_file = fields
        .optional("recipients_file", errors, text)
        .map(|written| RecipientsFile { path: PathBuf::from(&written.value), written });
    if recipients.is_empty() && recipients_file.is_none() {
        let mistake = entry.key.mistake("`age` has no recipient: no one could read the shards");
        errors.push(mistake.help("add `recipients: [age1…]` or `recipients_file: PATH`"));
        return None;
    }
    Some(Encryption::Age { recipients, recipients_file, digests })
}

fn texts(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<String>>> {
    Some(list(node, what, errors)?.iter().filter_map(|item| text(item, what, errors)).collect())
}

fn parquet(entry: &Entry, digests: Digests, errors: &mut Vec<Diagnostic>) -> Option<Encryption> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "parquet", PARQUET_KEYS, errors)?;
    let footer_key = secret::decode(&fields, entry, "parquet", ["footer_key_env", "footer_key_file"], errors);
    let mut columns = Vec::new();
    if let Some(named) = fields.get("columns") {
        for column in mapping(&named.value, "columns", errors).into_iter().flatten() {
            if let Some(key) = secret::decode_key(column, &column.key.value, errors) {
                columns.push((column.key.clone(), key));
            }
        }
    }
    Some(Encryption::Parquet { footer_key: footer_key?, columns, digests })
}

/// Parquet encrypts its own pages; other formats have nothing of the kind.
pub(crate) fn check_format(spec: &Spec, entry: &Entry, errors: &mut Vec<Diagnostic>) {
    let format = spec.format.as_ref().map_or(Format::default().kind(), |format| format.value.kind()).facts();
    if matches!(spec.encryption, Some(Encryption::Parquet { .. })) && !format.has_modular_encryption {
        let mistake = entry.key.mistake(format!("Parquet encryption does not go with the format {}", format.name));
        errors.push(mistake.help("write `format: parquet`, or encrypt with `age: {recipients: [age1…]}`"));
    }
}

/// Reads `sign`.
pub(crate) fn sign(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Signing> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "sign", SIGN_KEYS, errors)?;
    let key = secret::decode(&fields, entry, "sign", ["ssh_key_env", "ssh_key_file"], errors);
    let identity = fields.required("identity", "evidence@example.com", errors, text);
    Some(Signing { key: key?, identity: identity? })
}

impl ChainSpec {
    /// Reads `chain`.
    pub(crate) fn decode(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "chain", CHAIN_KEYS, errors)?;
        let options = fields.get("options").and_then(|e| store_options(e, errors)).unwrap_or_default();
        let uri = fields.required("uri", "evidence/chain/monthly-events/", errors, output_uri)?;
        Some(Self { uri, options })
    }
}

/// Reads `expect`.
pub(crate) fn expect(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Expectations> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "expect", EXPECT_KEYS, errors)?;
    Some(Expectations {
        min_rows: fields.optional("min_rows", errors, count),
        non_empty_partitions: fields.optional("non_empty_partitions", errors, boolean).unwrap_or(false),
        max_lag: fields.optional("max_lag", errors, super::window::duration).map(|d: Located<SignedDuration>| d.value),
    })
}
