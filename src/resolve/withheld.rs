//! Conditions on redacted columns, recorded as digests: other values give another job id, and no value is revealed.
//!
//! A digest is the first 16 hex digits of a SHA-256 and has no key. It hides a value from a reader; who can guess the
//! value can check the guess.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::job::Redaction;
use crate::json::{self, JsonError};

/// Bytes of a digest that are kept.
const DIGEST_BYTES: usize = 8;

/// Whether a column or path is redacted, or something around or inside it.
pub(super) fn is_redacted(redactions: &[Redaction], column: &str) -> bool {
    let is_at = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    redactions.iter().map(|redaction| &redaction.path.value).any(|path| is_at(path, column) || is_at(column, path))
}

/// In the place of a condition's operand.
///
/// # Errors
/// [`JsonError`].
pub(super) fn operand(operand: &impl Serialize) -> Result<Value, JsonError> {
    let canonical = json::canonical(operand, "a condition on a redacted column")?;
    Ok(json!({"redacted_sha256": digest(&canonical)}))
}

/// In the place of a `where` that may name a redacted column; another one stays as it is. Literals are not
/// distinguished: what is compared with what is the query's business, and a text that is hidden as a whole hides them
/// all.
pub(super) fn where_sql(redactions: &[Redaction], sql: &str) -> String {
    let is_named = |redaction: &Redaction| {
        let path = &redaction.path.value;
        names(sql, path.split('.').next().unwrap_or(path))
    };
    if redactions.iter().any(is_named) {
        return format!("redacted_sha256:{}", digest(sql.as_bytes()));
    }
    sql.to_owned()
}

/// Whether the text has the name as a word, in any case and also in quotes or literals: rather once too often.
fn names(sql: &str, name: &str) -> bool {
    let (sql, name) = (sql.replace("\"\"", "\"").to_lowercase(), name.to_lowercase());
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    // The name may itself begin or end with something else than a letter.
    let begins = is_part(name.chars().next());
    let ends = is_part(name.chars().next_back());
    sql.match_indices(&name).any(|(at, found)| {
        let before = sql.get(..at).and_then(|s| s.chars().next_back());
        let after = sql.get(at + found.len()..).and_then(|s| s.chars().next());
        !(begins && is_part(before) || ends && is_part(after))
    })
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    data_encoding::HEXLOWER.encode(digest.get(..DIGEST_BYTES).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Located;
    use crate::job::RedactionMethod;

    fn redact(path: &str) -> Vec<Redaction> {
        vec![Redaction { path: Located::default_value(path.to_owned()), method: RedactionMethod::Mask }]
    }

    #[test]
    fn a_column_is_redacted_with_whatever_is_inside_it() {
        assert!(is_redacted(&redact("user"), "user"));
        assert!(is_redacted(&redact("meta.user.email"), "meta"));
        assert!(is_redacted(&redact("meta.user.email"), "meta.user"));
        assert!(!is_redacted(&redact("user"), "user_id"));
        assert!(!is_redacted(&redact("user_id"), "user"));
        assert!(is_redacted(&redact("user"), "user.name"), "it may be a path into the column");
    }

    #[test]
    fn an_operand_becomes_the_start_of_the_sha256_of_its_json() {
        // printf %s '["alice","bob"]' | sha256sum
        assert_eq!(operand(&json!(["alice", "bob"])).unwrap(), json!({"redacted_sha256": "3bd9b7ea5ad83ec1"}));
        // printf %s '"alice"' | sha256sum
        assert_eq!(operand(&json!("alice")).unwrap(), json!({"redacted_sha256": "0a50500b2a3435fe"}));
    }

    #[test]
    fn an_operand_without_canonical_json_is_an_error() {
        let error = crate::failure::chain(&operand(&f64::NAN).unwrap_err());
        assert!(error.starts_with("a condition on a redacted column cannot be written as JSON: "), "{error}");
    }

    #[test]
    fn a_where_that_names_a_redacted_column_becomes_a_digest() {
        // printf %s "user = 'alice'" | sha256sum
        assert_eq!(where_sql(&redact("user"), "user = 'alice'"), "redacted_sha256:f8de9e01e7a87b15");
        for sql in ["USER='x'", "(\"user\") = 'x'", "a = 1 AND NOT user LIKE 'x'", "note = 'the user'", "user"] {
            assert!(where_sql(&redact("user"), sql).starts_with("redacted_sha256:"), "{sql}");
            assert!(where_sql(&redact("user.name"), sql).starts_with("redacted_sha256:"), "{sql}");
        }
        for sql in ["user_id = 'x'", "superuser = 'x'", "status = 'x'"] {
            assert_eq!(where_sql(&redact("user"), sql), sql);
        }
        assert!(where_sql(&redact("a\"b"), "\"a\"\"b\" = 'x'").starts_with("redacted_sha256:"));
        assert!(where_sql(&redact("größe"), "\"GRÖSSE\" = 1 OR \"Größe\" = 2").starts_with("redacted_sha256:"));
        assert!(where_sql(&redact("e-mail"), "\"e-mail\" = 'x'").starts_with("redacted_sha256:"));
    }
}
