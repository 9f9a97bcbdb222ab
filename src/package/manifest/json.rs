//! Wire types to bytes and back, and their JSON Schema.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema as schema};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{MANIFEST_VERSION, Manifest};
use crate::diagnostic::escaped;
use crate::json::{self, JsonError};
use crate::package::layout::MANIFEST;

/// Characters of a message about a field, before it is cut.
const MAX_SHOWN_CHARS: usize = 300;

/// Bytes that are not a record that this release reads.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON at all.
    #[error("it is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but of something else.
    #[error("it is not a kt-export record: it has no `{field}`")]
    NoVersion {
        /// Where the version should be.
        field: &'static str,
    },
    /// Another version.
    #[error(
        "it has `{field}: {found}`, and this release reads {supported} only: use the release that wrote it or a newer one"
    )]
    UnknownVersion {
        /// Where the version is.
        field: &'static str,
        /// What it says.
        found: String,
        /// What is read.
        supported: u32,
    },
    /// The right version, but not its fields.
    #[error("its fields are not those of version {supported}")]
    Malformed {
        /// The version.
        supported: u32,
        /// Which field, with line and column.
        source: FieldError,
    },
}

/// What is wrong with a field. It may repeat the field's value, which anyone can have written: what a terminal would obey is
/// escaped, and what is long is cut.
#[derive(Debug, thiserror::Error)]
pub struct FieldError(serde_json::Error);

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(MAX_SHOWN_CHARS) {
            Some((end, _)) => {
                let begin = escaped(text.get(..end).unwrap_or_default());
                write!(f, "{begin}… at line {} column {}", self.0.line(), self.0.column())
            }
            None => f.write_str(&escaped(&text)),
        }
    }
}

impl Manifest {
    /// Pretty JSON, newline at the end. Equal manifests give equal bytes.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn to_json_bytes(&self) -> Result<Vec<u8>, JsonError> {
        json::pretty(self, MANIFEST)
    }

    /// Reads a manifest strictly: nothing unknown, nothing missing.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        from_versioned(bytes, "manifest_version", MANIFEST_VERSION)
    }
}

/// JSON Schema (2020-12) of `manifest.json`.
pub fn json_schema() -> Value {
    // What is written, not what is accepted: so that a key that is always there is required.
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Manifest>().to_value()
}

/// Looks at the version before anything else, so that the record of a later release is called that and not malformed.
pub(crate) fn from_versioned<T: DeserializeOwned>(
    bytes: &[u8],
    field: &'static str,
    supported: u32,
) -> Result<T, ManifestError> {
    let fields: BTreeMap<Cow<str>, &serde_json::value::RawValue> = match serde_json::from_slice(bytes) {
        Ok(fields) => fields,
        Err(error) if error.is_data() => return Err(ManifestError::NoVersion { field }),
        Err(error) => return Err(ManifestError::NotJson(error)),
    };
    let found = fields.get(field).ok_or(ManifestError::NoVersion { field })?.get();
    if found.parse() != Ok(supported) {
        // A version is a short number; what is not, need not be repeated at length.
        let found = found.chars().take(40).collect();
        return Err(ManifestError::UnknownVersion { field, found, supported });
    }
    serde_json::from_slice(bytes).map_err(|source| ManifestError::Malformed { supported, source: FieldError(source) })
}

/// Writes a free-form value with its keys in alphabetical order, whatever order `serde_json` keeps them in: another
/// crate in the tree can change that by turning a feature on.
pub(super) fn sorted<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    Sorted(value).serialize(serializer)
}

struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let fields: BTreeMap<&str, &Value> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
                serializer.collect_map(fields.into_iter().map(|(key, value)| (key, Sorted(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sorted)),
            scalar => scalar.serialize(serializer),
        }
    }
}

/// The schema of an instant: RFC 3339 in UTC, up to nine digits of a second.
pub(super) struct Instant;

impl JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema!({ "type": "string", "format": "date-time" })
    }
}
