//! The keys that seal a run's shards and rejects: read and checked before there is any output.
//!
//! Who can read a package is decided by the spec and the file that it names, and by nothing that stands in the package:
//! whoever can write there must not be able to name a reader. What an earlier run recorded is only compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::RunError;
use super::failure::{Failure, chain};
use crate::diagnostic::{Diagnostic, nearest};
use crate::encode::{EncodeError, Encoder, ParquetKeyError, ParquetKeys};
use crate::error::ErrorCode;
use crate::job::{Encryption, Job, RecipientsFile};
use crate::manifest::EncryptionRecord;
use crate::seal::{Recipients, listed_recipients};
use crate::secret::SecretName;

/// Larger than a list of as many recipients as there may be.
const LARGEST_LIST_BYTES: u64 = 1 << 20;

/// How files of a job are sealed; by default in clear.
#[derive(Clone, Default)]
pub struct Sealing {
    /// Who can read shards and rejects; `None` where they are not encrypted with age.
    pub recipients: Option<Arc<Recipients>>,
    /// With which keys Parquet shards are encrypted.
    parquet: Option<Arc<ParquetKeys>>,
    /// What the manifest says of it.
    pub record: Option<EncryptionRecord>,
}

impl Sealing {
    /// Reads the recipients and keys that the job names.
    ///
    /// # Errors
    /// [`RunError::Spec`] for mistakes in the spec and its list of recipients; [`RunError::Failed`] with `key_unusable`
    /// for keys that are not there, or are none.
    pub fn read(job: &Job, env: &BTreeMap<String, String>) -> Result<Self, RunError> {
        match &job.encryption {
            None => Ok(Self::default()),
            Some(Encryption::Age { recipients, recipients_file }) => {
                let mut names: Vec<String> = recipients.iter().map(|recipient| recipient.value.clone()).collect();
                if let Some(file) = recipients_file {
                    names.extend(listed(file)?);
                }
                let recipients = Recipients::new(names.iter().map(String::as_str)).map_err(|error| {
                    let place = recipients_file.as_ref().map(|file| &file.written).or(recipients.first());
                    let span = place.and_then(|place| place.span.as_ref());
                    RunError::Spec(vec![Diagnostic::at(span, format!("the recipients in `encryption` {error}"))])
                })?;
                let record = EncryptionRecord::Age { recipients: recipients.names().to_vec() };
                Ok(Self { recipients: Some(Arc::new(recipients)), parquet: None, record: Some(record) })
            }
            Some(Encryption::Parquet { footer_key, columns }) => {
                let mut keys = ParquetKeys::default();
                set(footer_key, env, |text| keys.set_footer(text))?;
                for (column, key) in columns {
                    set(key, env, |text| keys.set_column(&column.value, text))?;
                }
                let record = EncryptionRecord::Parquet {
                    algorithm: "AES_GCM_V1".to_owned(),
                    footer_key: footer_key.to_string(),
                    columns: columns.iter().map(|(column, key)| (column.value.clone(), key.to_string())).collect(),
                };
                Ok(Self { recipients: None, parquet: Some(Arc::new(keys)), record: Some(record) })
            }
        }
    }

    /// The encoder, with the keys of Parquet.
    ///
    /// # Errors
    /// The encoder's.
    pub fn encoder(&self, encoder: Encoder) -> Result<Encoder, EncodeError> {
        match &self.parquet {
            Some(keys) => encoder.encrypted(keys),
            None => Ok(encoder),
        }
    }

    /// Whether bytes differ from run to run, so that names must, too.
    pub fn is_random(&self) -> bool {
        self.record.is_some()
    }

    /// Refuses to go on with a package whose files others can read than those that are named now.
    ///
    /// # Errors
    /// [`Failure`] with `key_unusable`.
    pub fn check_same(&self, recorded: Option<&EncryptionRecord>) -> Result<(), Failure> {
        if readers(recorded) == readers(self.record.as_ref()) {
            return Ok(());
        }
        let message = "this job's package was begun for other recipients or with other keys than are named now, and one \
                       package has the same for all its files; name them again as they were, or export into another \
                       `output.uri`";
        Err(Failure { code: ErrorCode::KeyUnusable, message: message.to_owned() })
    }
}

/// The record with recipients in one order.
fn readers(record: Option<&EncryptionRecord>) -> Option<EncryptionRecord> {
    let mut record = record.cloned();
    if let Some(EncryptionRecord::Age { recipients }) = &mut record {
        recipients.sort_unstable();
    }
    record
}

/// The keys in the file of recipients, whose mistakes are shown at the place that names it.
fn listed(file: &RecipientsFile) -> Result<Vec<String>, RunError> {
    let text = read_list(&file.path).map_err(|source| {
        let message = format!("cannot read the recipients in {}: {source}", file.path.display());
        Failure { code: ErrorCode::KeyUnusable, message }
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
    if mistakes.is_empty() { Ok(names) } else { Err(RunError::Spec(mistakes)) }
}

fn read_list(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > LARGEST_LIST_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

/// Reads a key and hands it on.
fn set(
    name: &SecretName,
    env: &BTreeMap<String, String>,
    take: impl FnOnce(&[u8]) -> Result<(), ParquetKeyError>,
) -> Result<(), Failure> {
    let unusable = |message| Failure { code: ErrorCode::KeyUnusable, message };
    let text = name.read(env).map_err(|error| unusable(chain(&error)))?;
    take(&text).map_err(|error| unusable(format!("the key in {name} {error}")))
}

/// Columns with keys of their own that the shards do not have.
pub fn unknown_columns(job: &Job, shards: &[(usize, String)], mistakes: &mut Vec<Diagnostic>) {
    let Some(Encryption::Parquet { columns, .. }) = &job.encryption else { return };
    let names = || shards.iter().map(|(_, name)| name.as_str());
    for (column, _) in columns {
        if !names().any(|name| name == column.value) {
            let mistake = column.mistake(format!("column `{}` has a key and is not in the shards", column.value));
            mistakes.push(mistake.help(match nearest(&column.value, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the shards have {}", names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_readers_than_recorded_are_refused_in_whatever_order_they_are_named() {
        let age =
            |names: &[&str]| EncryptionRecord::Age { recipients: names.iter().map(|n| (*n).to_owned()).collect() };
        let sealing = Sealing { record: Some(age(&["a", "b"])), ..Sealing::default() };
        assert!(sealing.check_same(Some(&age(&["b", "a"]))).is_ok() && sealing.is_random());
        for other in [None, Some(age(&["a"])), Some(age(&["a", "b", "c"]))] {
            let failure = sealing.check_same(other.as_ref()).unwrap_err();
            assert_eq!(failure.code, ErrorCode::KeyUnusable);
            assert_eq!(
                failure.message,
                "this job's package was begun for other recipients or with other keys than are named now, and one package \
                 has the same for all its files; name them again as they were, or export into another `output.uri`"
            );
        }
        assert!(Sealing::default().check_same(None).is_ok() && !Sealing::default().is_random());
        assert!(Sealing::default().check_same(Some(&age(&["a"]))).is_err());
    }
}
