//! What a package says of redaction, encryption, filters and expectations.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::Digests;
use crate::units::counted;

/// A redaction of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnRedaction {
    /// The source column, or the path of names inside it.
    pub path: String,
    /// `mask`, `nullify`, `drop`, `replace` or `hmac_sha256`.
    pub method: String,
    /// Names the key of pseudonyms without telling it: the first 16 hex digits of the HMAC-SHA-256 of the text
    /// `kt-export key id` under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Number of non-null values in the shards that were redacted.
    pub values: u64,
}

/// How shards and rejects are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum EncryptionRecord {
    /// age v1.
    Age {
        /// Public keys that can read the files.
        recipients: Vec<String>,
        /// Whether the digests of what is encrypted are sealed. Packages of releases that did not write it have them in clear.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digests: Option<Digests>,
    },
    /// Parquet modular encryption.
    Parquet {
        /// `AES_GCM_V1`.
        algorithm: String,
        /// Where the spec says to find the footer key.
        footer_key: String,
        /// The same for columns with a key of their own.
        columns: BTreeMap<String, String>,
        /// As for age.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digests: Option<Digests>,
    },
}

impl EncryptionRecord {
    /// Where the digests of what is encrypted stand.
    pub fn digests(&self) -> Digests {
        match self {
            Self::Age { digests, .. } | Self::Parquet { digests, .. } => digests.unwrap_or(Digests::Clear),
        }
    }
}

/// Number of rows that a filter dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterCount {
    /// The filter's key in the spec and its operator, such as `statuses in`; `where` for the SQL condition.
    pub filter: String,
    /// Rows inside the window that passed the filters before and failed this one.
    pub rows: u64,
}

/// One expectation of the spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// `min_rows`, `non_empty_partitions` or `max_lag`.
    pub name: String,
    /// The expected value.
    #[serde(serialize_with = "super::json::sorted")]
    pub expected: Value,
    /// The actual value.
    #[serde(serialize_with = "super::json::sorted")]
    pub actual: Value,
    /// Whether the expectation holds.
    pub holds: bool,
}

impl Expectation {
    /// The same for people: what is expected, and what is so.
    pub fn in_words(&self) -> String {
        let Self { expected, actual, .. } = self;
        match self.name.as_str() {
            "min_rows" => {
                let least = expected.as_u64().map_or_else(|| expected.to_string(), |rows| counted(rows, "row"));
                format!("expected at least {least}, and found {actual}")
            }
            "non_empty_partitions" => {
                let first = actual.get("first").and_then(Value::as_str);
                let found = match (actual.get("empty").and_then(Value::as_u64), first) {
                    (Some(0), _) => "every one has some".to_owned(),
                    (Some(1), Some(first)) => format!("1 has none: {first}"),
                    (Some(n), Some(first)) => format!("{n} have none, the first of them {first}"),
                    _ => actual.to_string(),
                };
                format!("expected a row in every partition, and {found}")
            }
            "max_lag" => {
                let of_actual = |key| actual.get(key).and_then(Value::as_str);
                let is_sealed = actual.get("sealed") == Some(&Value::Bool(true));
                let found = match (of_actual("lag"), of_actual("max_time")) {
                    _ if is_sealed && self.holds => "it is; when it was is sealed".to_owned(),
                    _ if is_sealed => "none is; when the last one was is sealed".to_owned(),
                    (Some(lag), Some(time)) => format!("it is {} before it, at {time}", friendly(lag)),
                    _ => "there is no row".to_owned(),
                };
                let most = expected.as_str().map_or_else(|| expected.to_string(), friendly);
                format!("expected the last row at most {most} before the end of the window, and {found}")
            }
            name => format!("expected {name} {expected}, and it is {actual}"),
        }
    }
}

/// A duration as it stands in manifests and resolved specs: `21600s`, `0.25s`.
pub fn seconds(duration: SignedDuration) -> String {
    let whole = duration.as_secs();
    match duration.subsec_nanos().unsigned_abs() {
        0 => format!("{whole}s"),
        nanos => {
            let sign = if whole == 0 && duration.is_negative() { "-" } else { "" };
            format!("{sign}{whole}.{}s", format!("{nanos:09}").trim_end_matches('0'))
        }
    }
}

/// Such a duration in hours and minutes; what is none stays as it is.
fn friendly(seconds: &str) -> String {
    seconds.parse::<SignedDuration>().map_or_else(
        |_| seconds.to_owned(),
        |duration| {
            let printer = jiff::fmt::friendly::SpanPrinter::new();
            printer.spacing(jiff::fmt::friendly::Spacing::BetweenUnits).duration_to_string(&duration)
        },
    )
}

/// Whose signature stands beside the manifest, so that this cannot be changed without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignerRecord {
    /// The principal in an auditor's list of allowed signers.
    pub identity: String,
    /// The public key: kind and base64, as in `*.pub` files of OpenSSH.
    pub public_key: String,
}

/// The place of this manifest in its spec's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRecord {
    /// The number of its link; the first is 1.
    pub number: u64,
    /// Lower-case hex SHA-256 of the bytes of the link before; null in the first.
    #[serde(deserialize_with = "Option::deserialize")]
    pub previous_sha256: Option<String>,
}
