//! One file or object of a source.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::error::ErrorCode;
use crate::job::{SourceCompression, SourceFormat};
use crate::store::{Location, ObjectLocation, Stored, head_object};

/// A file or an object, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Location; local paths are absolute.
    pub at: Location,
    /// Path relative to the folder of the source URI, `/`-separated; of several URIs, with that folder in front. Rows are
    /// ordered by it.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// The store's version identifier, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Format of the content.
    pub format: SourceFormat,
    /// Compression, from the spec or from the extension.
    pub compression: SourceCompression,
    /// The spec says so: the first bytes do not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compression_is_declared: bool,
    /// Values that all rows share, by column, from `k=v` folders between the source URI and the file; `None` is null.
    pub constants: Vec<(String, Option<String>)>,
}

impl SourceFile {
    /// Opens the listed version of the file.
    ///
    /// # Errors
    /// As [`SourceError::io`].
    pub(crate) fn open(&self) -> Result<Stored, SourceError> {
        Stored::open(&self.at, self.bytes, self.etag.as_deref()).map_err(|e| SourceError::io(self, "opened", &e))
    }

    /// Checks that the file still has the size and modification time that were listed.
    ///
    /// # Errors
    /// [`ErrorCode::SourceChanged`] if they differ, [`ErrorCode::SourceUnreadable`] if the file is gone or may not be read.
    pub(crate) fn check_unchanged(&self) -> Result<(), SourceError> {
        let fail = |code, message| Err(SourceError { name: self.name.clone(), position: None, code, message });
        let path = match &self.at {
            Location::Local(path) => path,
            Location::Object(at) => return self.check_object(at),
        };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return fail(
                    ErrorCode::SourceUnreadable,
                    "vanished after it was listed; restore it and run again".to_owned(),
                );
            }
            Err(error) => return fail(ErrorCode::SourceUnreadable, format!("cannot be inspected: {error}")),
        };
        let again = "restore it, or start a new job over the source as it is now";
        if metadata.len() != self.bytes {
            let message =
                format!("changed after it was listed, from {} to {} bytes; {again}", self.bytes, metadata.len());
            return fail(ErrorCode::SourceChanged, message);
        }
        match modified(&metadata) {
            Ok(now) if now == self.modified => Ok(()),
            Ok(now) => {
                let message = format!("changed after it was listed, modified {now} and not {}; {again}", self.modified);
                fail(ErrorCode::SourceChanged, message)
            }
            Err(error) => fail(ErrorCode::SourceUnreadable, format!("its modification time cannot be read: {error}")),
        }
    }

    /// Checks size and modification time, unless the version is known: then, every read requests that version.
    fn check_object(&self, at: &ObjectLocation) -> Result<(), SourceError> {
        if self.etag.is_some() {
            return Ok(());
        }
        let fail = |code, message| Err(SourceError { name: self.name.clone(), position: None, code, message });
        let again = "restore it, or start a new job over the source as it is now";
        match head_object(at) {
            Ok(Some(found)) if found.bytes == self.bytes && found.modified == self.modified => Ok(()),
            Ok(Some(found)) => {
                let (now, then) = (found.bytes, self.bytes);
                let message = format!(
                    "changed after it was listed: size ({then} bytes then, {now} now) or modification time differ; {again}"
                );
                fail(ErrorCode::SourceChanged, message)
            }
            Ok(None) => {
                fail(ErrorCode::SourceUnreadable, "vanished after it was listed; restore it and run again".to_owned())
            }
            Err(error) => Err(SourceError::of_store(&self.name, &error)),
        }
    }
}

/// Modification time of a local file.
pub(super) fn modified(metadata: &std::fs::Metadata) -> std::io::Result<Timestamp> {
    Timestamp::try_from(metadata.modified()?).map_err(std::io::Error::other)
}
