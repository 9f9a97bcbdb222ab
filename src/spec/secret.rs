//! Keys by name: `key_env` or `key_file`, exactly one of them.

use std::path::PathBuf;

use schemars::JsonSchema;

use crate::diagnostic::Diagnostic;
use crate::secret::SecretName;
use crate::yaml::Entry;
use crate::yaml::decode::{Fields, Keys, text};

/// Keys of a key.
pub(super) const KEY_KEYS: Keys = Keys { known: &["key_env", "key_file"] };

/// A key that stands outside the spec.
#[derive(JsonSchema)]
#[schemars(rename = "Key", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(crate) struct KeySchema {
    /// Name of the environment variable that holds the key.
    key_env: Option<String>,
    /// The file that holds the key; a relative path starts at the folder of the spec.
    key_file: Option<String>,
}

/// Reads `{key_env: …}` or `{key_file: …}`.
pub(crate) fn decode_key(entry: &Entry, what: &str, errors: &mut Vec<Diagnostic>) -> Option<SecretName> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, what, KEY_KEYS, errors)?;
    decode(&fields, entry, what, ["key_env", "key_file"], errors)
}

/// Reads one of two keys of a mapping, one that names a variable and one that names a file.
pub(crate) fn decode(
    fields: &Fields<'_>,
    at: &Entry,
    what: &str,
    [env, file]: [&str; 2],
    errors: &mut Vec<Diagnostic>,
) -> Option<SecretName> {
    match (fields.get(env), fields.get(file)) {
        (Some(_), None) => fields.optional(env, errors, text).map(SecretName::Env),
        (None, Some(_)) => fields
            .optional(file, errors, text)
            .map(|written| SecretName::File { path: PathBuf::from(&written.value), written }),
        (Some(_), Some(second)) => {
            let mistake = second.key.mistake(format!("`{what}` has both `{env}` and `{file}`"));
            errors.push(mistake.help("keep one of them"));
            None
        }
        (None, None) => {
            let mistake = at.key.mistake(format!("`{what}` names no key"));
            errors.push(mistake.help(format!("add `{env}: NAME`, an environment variable, or `{file}: PATH`")));
            None
        }
    }
}
