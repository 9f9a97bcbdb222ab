//! What a plan reads and a manifest names: a file, or a slice of a table or query.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SourceFile;

/// One input of a source, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A file or an object.
    File(SourceFile),
    /// Rows that a table or query returns from one snapshot.
    Slice(Slice),
}

/// Rows of a table or query, cut by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Unique within the source; rows are ordered by it.
    pub name: String,
    /// The database's identifier for the snapshot that the rows are read from.
    pub snapshot: String,
    /// Half-open period that contains the times of all rows; `None` if rows may have no time.
    pub range: Option<(Timestamp, Timestamp)>,
}

/// The state of an input when it was listed. A run fails with `source_changed` if it differs later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version<'a> {
    /// A file or object without a version identifier of its own.
    Stat {
        /// Modification time.
        modified: Timestamp,
    },
    /// An object version.
    Etag(&'a str),
    /// A snapshot of a database.
    Snapshot(&'a str),
}

impl Input {
    /// Unique within the source.
    pub fn name(&self) -> &str {
        match self {
            Self::File(file) => &file.name,
            Self::Slice(slice) => &slice.name,
        }
    }

    /// Size in bytes, if known before reading.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(file.bytes),
            Self::Slice(_) => None,
        }
    }

    /// State when listed.
    pub fn version(&self) -> Version<'_> {
        match self {
            Self::File(SourceFile { etag: Some(etag), .. }) => Version::Etag(etag),
            Self::File(SourceFile { modified, .. }) => Version::Stat { modified: *modified },
            Self::Slice(slice) => Version::Snapshot(&slice.snapshot),
        }
    }

    /// Values that all rows share, by column; `None` is null.
    pub fn constants(&self) -> &[(String, Option<String>)] {
        match self {
            Self::File(file) => &file.constants,
            Self::Slice(_) => &[],
        }
    }

    /// The constant of a column; null if the input has none.
    pub fn constant(&self, column: &str) -> Option<&str> {
        self.constants().iter().find(|(name, _)| name == column)?.1.as_deref()
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&SourceFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Slice(_) => None,
        }
    }

    /// Whether its rows are encoded as text, which takes several times the memory of the same rows in columns.
    pub fn is_text(&self) -> bool {
        self.file().is_some_and(|file| file.format.is_text())
    }

    /// Name and version in one text: equal texts stand for equal rows.
    pub fn identity(&self) -> String {
        match self {
            Self::File(SourceFile { name, bytes, modified, etag, .. }) => {
                let etag = etag.as_deref().unwrap_or_default();
                format!("{name}\0{bytes}\0{modified}\0{etag}")
            }
            Self::Slice(Slice { name, snapshot, range }) => {
                let range = range.map_or_else(String::new, |(start, end)| format!("{start}\0{end}"));
                format!("{name}\0{snapshot}\0{range}")
            }
        }
    }
}

impl From<SourceFile> for Input {
    fn from(file: SourceFile) -> Self {
        Self::File(file)
    }
}

impl From<Slice> for Input {
    fn from(slice: Slice) -> Self {
        Self::Slice(slice)
    }
}
