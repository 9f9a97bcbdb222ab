//! Resolves redaction, encryption, signature and chain, with absolute paths.

use std::path::PathBuf;

use super::{Environment, files, output_path};
use crate::diagnostic::{Diagnostic, Located};
use crate::job::{Chain, Encryption, OnBad, RecipientsFile, Redaction, RedactionMethod, Signing};
use crate::seal::{RecipientError, check_recipient};
use crate::secret::SecretName;
use crate::spec::Spec;
use crate::store::split_scheme;

/// The resolved keys.
pub(super) struct Evidence {
    pub redactions: Vec<Redaction>,
    pub encryption: Option<Encryption>,
    pub signing: Option<Signing>,
    pub chain: Option<Chain>,
}

impl Evidence {
    /// `None` after a mistake, which is added.
    pub(super) fn of(spec: &Spec, environment: &Environment, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let before = errors.len();
        let mut secret = |name: &SecretName| match name {
            SecretName::Env(_) => name.clone(),
            SecretName::File { written, .. } => {
                SecretName::File { path: beside(written, environment, errors), written: written.clone() }
            }
        };
        let redactions = spec.redact.iter().map(|Redaction { path, method }| Redaction {
            path: path.clone(),
            method: match method {
                RedactionMethod::HmacSha256(key) => RedactionMethod::HmacSha256(secret(key)),
                other => other.clone(),
            },
        });
        let redactions = redactions.collect();
        let signing = spec.sign.as_ref().map(|s| Signing { key: secret(&s.key), identity: s.identity.clone() });
        let encryption = match &spec.encryption {
            Some(Encryption::Parquet { footer_key, columns, digests }) => Some(Encryption::Parquet {
                digests: *digests,
                footer_key: secret(footer_key),
                columns: columns.iter().map(|(column, key)| (column.clone(), secret(key))).collect(),
            }),
            Some(Encryption::Age { recipients, recipients_file, digests }) => Some(Encryption::Age {
                digests: *digests,
                recipients: recipients.clone(),
                recipients_file: recipients_file.as_ref().map(|file| RecipientsFile {
                    path: beside(&file.written, environment, errors),
                    written: file.written.clone(),
                }),
            }),
            None => None,
        };
        check_encryption(spec, errors);
        let chain = spec.chain.as_ref().and_then(|chain| {
            let uri = output_path::checked(&chain.uri, "chain", errors)?;
            Some(Chain { location: output_path::place(&uri, &chain.options, environment), uri })
        });
        (errors.len() == before).then_some(Self { redactions, encryption, signing, chain })
    }
}

/// What can be said of encryption without the keys.
fn check_encryption(spec: &Spec, errors: &mut Vec<Diagnostic>) {
    match &spec.encryption {
        Some(Encryption::Age { recipients, .. }) => {
            let wrong = recipients.iter().filter_map(|r| Some((r, check_recipient(&r.value).err()?)));
            let wrong: Vec<_> = wrong.collect();
            // The lines are not shown where one may hold a secret.
            let is_shown = wrong.iter().all(|(_, error)| *error != RecipientError::Secret);
            errors.extend(wrong.into_iter().map(|(recipient, error)| {
                let place = recipient.span.as_ref().filter(|_| is_shown);
                Diagnostic::at(place, format!("a recipient in `encryption` {error}"))
            }));
        }
        Some(Encryption::Parquet { footer_key, .. })
            if [spec.on_bad_rows, spec.on_null_time].contains(&Some(OnBad::Reject)) =>
        {
            let mistake = footer_key.place().mistake("rejected rows cannot be encrypted with Parquet keys");
            errors.push(mistake.help(
                "write `on_bad_rows: fail` and `on_null_time: fail`, or encrypt with `age: {recipients: [age1…]}`",
            ));
        }
        _ => {}
    }
}

/// The absolute form of the path of a key or list; empty after a mistake, which is added.
fn beside(written: &Located<String>, environment: &Environment, errors: &mut Vec<Diagnostic>) -> PathBuf {
    if split_scheme(&written.value).is_some() {
        let mistake = written.mistake("a key is read from a file or the environment, not from a store");
        errors.push(mistake.help("write the path of a file on this machine"));
        return PathBuf::new();
    }
    files::beside(written, environment, errors).map(PathBuf::from).unwrap_or_default()
}
