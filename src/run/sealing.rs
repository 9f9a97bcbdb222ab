//! The keys that encrypt a run's shards and rejects; read and checked before there is any output.
//!
//! Only the spec, and the recipients file that it names, decide who can read a package. The package itself does not: write
//! access to it must not be enough to add a reader. The keys that an earlier run recorded are only compared.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::RunError;
use crate::diagnostic::{Diagnostic, in_order, listed_names, nearest_for};
use crate::encode::{EncodeError, Encoder, ParquetKeyError, ParquetKeys};
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::{Digests, Encryption, Job, RecipientsFile};
use crate::package::manifest::{EncryptionRecord, Facts, SealedFacts};
use crate::seal::{FactsKey, Recipients, listed_recipients};
use crate::secret::SecretName;
use crate::small_file;

/// Maximum size of a recipients file in bytes; more than the maximum number of recipients needs.
const LARGEST_LIST_BYTES: u64 = 1 << 20;

/// How the files of a job are encrypted; by default they are not.
#[derive(Clone, Default)]
pub(crate) struct Sealing {
    /// Recipients of shards and rejects; `None` without age encryption.
    pub recipients: Option<Arc<Recipients>>,
    /// Keys for Parquet modular encryption.
    parquet: Option<Arc<ParquetKeys>>,
    /// The manifest's `encryption`.
    pub record: Option<EncryptionRecord>,
    /// Seals facts that could confirm a guess of the content; `None` if the facts are in clear.
    facts: Option<FactsKey>,
}

impl Sealing {
    /// Reads the recipients and keys that the job names.
    ///
    /// # Errors
    /// [`RunError::Spec`] for mistakes in the spec and its recipients file; [`RunError::Failed`] with `key_unusable` for
    /// missing or invalid keys.
    pub(crate) fn read(job: &Job, env: &BTreeMap<String, String>) -> Result<Self, RunError> {
        match &job.encryption {
            None => Ok(Self::default()),
            Some(Encryption::Age { recipients, recipients_file, digests }) => {
                let mut names: Vec<String> = recipients.iter().map(|recipient| recipient.value.clone()).collect();
                if let Some(file) = recipients_file {
                    names.extend(listed(file)?);
                }
                let recipients = Recipients::new(names.iter().map(String::as_str)).map_err(|error| {
                    let place = recipients_file.as_ref().map(|file| &file.written).or(recipients.first());
                    let span = place.and_then(|place| place.span.as_ref());
                    RunError::Spec(vec![Diagnostic::at(span, format!("the recipients in `encryption` {error}"))])
                })?;
                let record = EncryptionRecord::Age { recipients: recipients.names().to_vec(), digests: Some(*digests) };
                let recipients = Arc::new(recipients);
                let facts = (*digests == Digests::Sealed).then(|| FactsKey::Age(recipients.clone()));
                Ok(Self { recipients: Some(recipients), parquet: None, record: Some(record), facts })
            }
            Some(Encryption::Parquet { footer_key, columns, digests }) => {
                let mut keys = ParquetKeys::default();
                set(footer_key, env, |text| keys.set_footer(text))?;
                for (column, key) in columns {
                    set(key, env, |text| keys.set_column(&column.value, text))?;
                }
                let unusable = |error: io::Error| Failure::of(ErrorCode::KeyUnusable, &error);
                let secret =
                    keys.facts_secret(columns.iter().map(|(column, _)| column.value.as_str())).map_err(unusable)?;
                let facts = (*digests == Digests::Sealed).then(|| FactsKey::Secret(secret));
                let record = EncryptionRecord::Parquet {
                    digests: Some(*digests),
                    algorithm: "AES_GCM_V1".to_owned(),
                    footer_key: footer_key.to_string(),
                    columns: columns.iter().map(|(column, key)| (column.value.clone(), key.to_string())).collect(),
                };
                Ok(Self { recipients: None, parquet: Some(Arc::new(keys)), record: Some(record), facts })
            }
        }
    }

    /// Adds the Parquet keys to an encoder.
    ///
    /// # Errors
    /// The encoder's.
    pub(crate) fn encoder(&self, encoder: Encoder) -> Result<Encoder, EncodeError> {
        match &self.parquet {
            Some(keys) => encoder.encrypted(keys),
            None => Ok(encoder),
        }
    }

    /// The sealer for the facts of the job's files; `None` if the facts are in clear.
    pub(crate) fn facts(&self, job: &Job) -> Option<Arc<FactsSealer>> {
        let max_lag = job.expectations.as_ref().and_then(|expected| expected.max_lag);
        let lag_from = max_lag.map(|lag| job.window.end.checked_sub(lag).unwrap_or(Timestamp::MIN));
        self.facts.clone().map(|key| Arc::new(FactsSealer { key, lag_from }))
    }

    /// Whether the bytes differ from run to run, so that file names must differ too.
    pub(crate) fn is_random(&self) -> bool {
        self.record.is_some()
    }

    /// Checks that a resumed package has the readers that the spec names now.
    ///
    /// # Errors
    /// [`Failure`] with `key_unusable`.
    pub(crate) fn check_same(&self, recorded: Option<&EncryptionRecord>) -> Result<(), Failure> {
        let now = self.record.as_ref();
        let message = if readers(recorded) != readers(now) {
            "this job's package was started with other recipients or keys than the spec names now, and all files of a \
             package use the same ones; restore the earlier recipients or keys, or export into another `output.uri`"
        } else if recorded.map(EncryptionRecord::digests) != now.map(EncryptionRecord::digests) {
            "this job's package was started with unsealed digests, by an earlier release; write \
             `digests: clear` in `encryption`, or export into another `output.uri`"
        } else {
            return Ok(());
        };
        Err(Failure::new(ErrorCode::KeyUnusable, message))
    }
}

/// Seals the facts of a file that could confirm a guess of its content.
pub(crate) struct FactsSealer {
    key: FactsKey,
    /// The earliest time within the `max_lag` that the spec expects.
    lag_from: Option<Timestamp>,
}

impl FactsSealer {
    /// Seals the facts of one file. Whether its last row is within the expected `max_lag` stays in clear, because the run
    /// that ends the job needs it for files that it did not write, and cannot open sealed facts.
    ///
    /// # Errors
    /// Errors of the operating system, if it cannot provide random numbers.
    pub(crate) fn seal(&self, facts: &Facts) -> io::Result<SealedFacts> {
        let within_max_lag = self.lag_from.map(|from| facts.max_time.is_some_and(|last| last >= from));
        Ok(SealedFacts { data: self.key.seal(&facts.to_bytes().map_err(io::Error::other)?)?, within_max_lag })
    }
}

/// The part of a record that decides who can read: without `digests`, and with sorted recipients.
fn readers(record: Option<&EncryptionRecord>) -> Option<EncryptionRecord> {
    let mut record = record.cloned();
    match &mut record {
        Some(EncryptionRecord::Age { recipients, digests }) => {
            recipients.sort_unstable();
            *digests = None;
        }
        Some(EncryptionRecord::Parquet { digests, .. }) => *digests = None,
        None => {}
    }
    record
}

/// The keys in a recipients file. Mistakes are located where the spec names the file.
fn listed(file: &RecipientsFile) -> Result<Vec<String>, RunError> {
    let text = read_list(&file.path).map_err(|source| {
        let message = format!("cannot read the recipients in {}", file.path.display());
        Failure::new(ErrorCode::KeyUnusable, message).caused_by(&source)
    })?;
    let mut mistakes = Vec::new();
    let mut names = Vec::new();
    for (line, name) in listed_recipients(&text) {
        match crate::seal::check_recipient(name) {
            Ok(()) => names.push(name.to_owned()),
            Err(error) => {
                let place = format!("{}, line {line}", file.path.display());
                mistakes.push(file.written.mistake(format!("{place}: the recipient {error}")));
            }
        }
    }
    if names.is_empty() && mistakes.is_empty() {
        mistakes.push(file.written.mistake(format!("{} names no recipient", file.path.display())));
    }
    if mistakes.is_empty() { Ok(names) } else { Err(RunError::Spec(in_order(mistakes))) }
}

fn read_list(path: &Path) -> io::Result<String> {
    let bytes = small_file::read_regular(path, LARGEST_LIST_BYTES)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Reads a key and passes it to `take`.
fn set(
    name: &SecretName,
    env: &BTreeMap<String, String>,
    take: impl FnOnce(&[u8]) -> Result<(), ParquetKeyError>,
) -> Result<(), Failure> {
    let text = name.read(env).map_err(|error| Failure::of(ErrorCode::KeyUnusable, &error))?;
    take(&text).map_err(|error| Failure::new(ErrorCode::KeyUnusable, format!("the key in {name} {error}")))
}

/// Reports columns with a key of their own that are not in the shards.
pub(super) fn unknown_columns(job: &Job, shards: &[(usize, String)], mistakes: &mut Vec<Diagnostic>) {
    let Some(Encryption::Parquet { columns, .. }) = &job.encryption else { return };
    let names = || shards.iter().map(|(_, name)| name.as_str());
    for (column, _) in columns {
        if !names().any(|name| name == column.value) {
            let mistake = column.mistake(format!("column `{}` has a key and is not in the shards", column.value));
            mistakes.push(mistake.help(match nearest_for(mistakes, &column.value, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the shards have {}", listed_names(names())),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_readers_than_recorded_are_refused_in_whatever_order_they_are_named() {
        let age = |names: &[&str]| EncryptionRecord::Age {
            recipients: names.iter().map(|n| (*n).to_owned()).collect(),
            digests: Some(Digests::Sealed),
        };
        let sealing = Sealing { record: Some(age(&["a", "b"])), ..Sealing::default() };
        assert!(sealing.check_same(Some(&age(&["b", "a"]))).is_ok() && sealing.is_random());
        for other in [None, Some(age(&["a"])), Some(age(&["a", "b", "c"]))] {
            let failure = sealing.check_same(other.as_ref()).unwrap_err();
            assert_eq!(failure.code(), ErrorCode::KeyUnusable);
            assert_eq!(
                failure.to_string(),
                "this job's package was started with other recipients or keys than the spec names now, and all files of \
                 a package use the same ones; restore the earlier recipients or keys, or export into another `output.uri`"
            );
        }
        assert!(Sealing::default().check_same(None).is_ok() && !Sealing::default().is_random());
        assert!(Sealing::default().check_same(Some(&age(&["a"]))).is_err());
    }
}
