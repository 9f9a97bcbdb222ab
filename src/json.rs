//! Records to JSON: pretty for files, canonical for digests.

use serde::Serialize;

/// A record that cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("{record} cannot be written as JSON")]
pub struct JsonError {
    record: &'static str,
    source: serde_json::Error,
}

/// Pretty JSON, newline at the end. `record` names the record in errors, such as `manifest.json`.
///
/// # Errors
/// [`JsonError`].
pub(crate) fn pretty(value: &impl Serialize, record: &'static str) -> Result<Vec<u8>, JsonError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| JsonError { record, source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Canonical JSON (RFC 8785): equal values give equal bytes. `record` names the record in errors.
///
/// # Errors
/// [`JsonError`].
pub(crate) fn canonical(value: &impl Serialize, record: &'static str) -> Result<Vec<u8>, JsonError> {
    serde_json_canonicalizer::to_vec(value).map_err(|source| JsonError { record, source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::failure::chain;

    #[test]
    fn a_record_ends_with_a_newline() {
        assert_eq!(pretty(&["a"], "a list").unwrap(), b"[\n  \"a\"\n]\n");
    }

    #[test]
    fn canonical_json_has_sorted_keys_and_no_blanks() {
        assert_eq!(canonical(&serde_json::json!({"b": 1, "a": [1.0]}), "an object").unwrap(), br#"{"a":[1],"b":1}"#);
    }

    #[test]
    fn a_record_that_json_cannot_hold_is_an_error_that_names_it() {
        let keyed = BTreeMap::from([((1, 2), 3)]);
        assert_eq!(
            chain(&pretty(&keyed, "manifest.json").unwrap_err()),
            "manifest.json cannot be written as JSON: key must be a string"
        );
        let infinite = chain(&canonical(&f64::INFINITY, "the resolved spec").unwrap_err());
        assert!(infinite.starts_with("the resolved spec cannot be written as JSON: "), "{infinite}");
    }
}
