//! The rejects file: rows that could not be read or placed, one JSON object per line.
//!
//! `file` and `position` locate the row, and `error` says why it was rejected. `raw` has its text (invalid UTF-8 becomes
//! U+FFFD), or `row` has its parsed values.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::sealing::FactsSealer;
use crate::failure::Failure;
use crate::job::Compression;
use crate::package::manifest::{Facts, SealedFacts};
use crate::seal::{Plain, Recipients, Sealed, Sealer};
use crate::store::{Draft, Folder, error_code};

/// One line of a rejects file.
#[derive(Debug, Serialize)]
pub(super) struct RejectLine<'a> {
    /// Source file.
    pub file: &'a str,
    /// 1-based line or row number.
    pub position: u64,
    /// Why it was rejected.
    pub error: &'a str,
    /// The source text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<&'a str>,
    /// The parsed row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<&'a RawValue>,
}

/// Writes one task's rejects. The file is created with the first row.
pub(super) struct RejectsWriter {
    folder: Folder,
    name: String,
    recipients: Option<Arc<Recipients>>,
    facts: Option<Arc<FactsSealer>>,
    open: Option<Sealer<Draft>>,
    rows: u64,
}

/// A sealed rejects file that is not yet published.
pub(super) struct RejectsPart {
    /// Relative to the package.
    pub name: String,
    /// The unpublished file.
    pub draft: Draft,
    /// Number of rows, which is also the number of lines.
    pub rows: u64,
    /// Stored size in bytes.
    pub bytes: u64,
    /// SHA-256 of the stored bytes, in lower-case hex.
    pub sha256: String,
    /// Size and digest before encryption with age, unless they are sealed.
    pub plain: Option<Plain>,
    /// The same facts, if they are sealed.
    pub sealed: Option<SealedFacts>,
}

impl RejectsWriter {
    /// A writer for `name`, encrypted to `recipients` if there are any.
    pub(super) fn new(folder: Folder, name: String, recipients: Option<Arc<Recipients>>) -> Self {
        Self { folder, name, recipients, facts: None, open: None, rows: 0 }
    }

    /// Seals the facts that could confirm a guess of the content.
    #[must_use]
    pub(super) fn sealing(mut self, facts: Option<Arc<FactsSealer>>) -> Self {
        self.facts = facts;
        self
    }

    /// Appends `count` lines.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(super) fn append(&mut self, lines: &[u8], count: u64) -> Result<(), Failure> {
        if count == 0 {
            return Ok(());
        }
        let sealer = match self.open.take() {
            Some(sealer) => sealer,
            None => {
                let draft = self.folder.begin(&self.name)?;
                let sealer = Sealer::encrypted(draft, Compression::None, self.recipients.as_deref());
                sealer.map_err(|e| self.failure(&e))?
            }
        };
        let written = self.open.insert(sealer).write_all(lines);
        written.map_err(|e| self.failure(&e))?;
        self.rows += count;
        Ok(())
    }

    /// Seals the file, if there is one.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(super) fn finish(&mut self) -> Result<Option<RejectsPart>, Failure> {
        let Some(sealer) = self.open.take() else { return Ok(None) };
        let Sealed { inner, bytes, sha256, plain } = sealer.finish().map_err(|e| self.failure(&e))?;
        let (plain, sealed) = match &self.facts {
            None => (plain, None),
            Some(sealer) => {
                let facts = Facts {
                    sha256: sha256.clone(),
                    plain_bytes: plain.as_ref().map(|plain| plain.bytes),
                    plain_sha256: plain.map(|plain| plain.sha256),
                    ..Facts::default()
                };
                (None, Some(sealer.seal(&facts).map_err(|e| self.failure(&e))?))
            }
        };
        Ok(Some(RejectsPart { name: self.name.clone(), draft: inner, rows: self.rows, bytes, sha256, plain, sealed }))
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        Failure::new(error_code(error), format!("cannot write {}", self.name)).caused_by(error)
    }
}

#[cfg(test)]
mod tests;
