//! Inputs that a source names but that are not read, and why.
//!
//! Nothing is skipped silently. Every skipped input has a code for programs and a reason for users, appears in the manifest,
//! and is shown by `plan` and `doctor`. [`SkipCode::is_surprising`] selects those that a run warns about.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::SourceFormat;

/// An input that is not read, such as a file that matches the source URI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedInput {
    /// As of a file that is read. Ends with `/` for a folder.
    pub name: String,
    /// Size when listed; 0 for a folder that was not listed.
    pub bytes: u64,
    /// For programs.
    #[serde(default)]
    pub code: SkipCode,
    /// For users and the manifest.
    pub reason: String,
}

/// Why a file is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipCode {
    /// According to `path_time`, its name rules out rows of the window. The rows are not checked.
    PathTime,
    /// Its extension is unknown, and the source has no `format`.
    UnknownFormat,
    /// A device, pipe or socket.
    NotAFile,
    /// Its name, or that of a folder above it, begins with `.` or `_`: markers and private files of tools. Or it is a file of
    /// a table's metadata.
    Hidden,
    /// Hidden, but with the extension of a data file or in a folder where Spark and Hadoop keep uncommitted files.
    HiddenData,
    /// A text file of 0 bytes.
    Empty,
    /// A Parquet, Arrow or Avro file of 0 bytes whose name does not say which rows it should have. Even one without rows has some
    /// bytes, so its writer failed.
    Unwritten,
    /// `exclude` in the spec or catalog names it.
    Excluded,
    /// Another name of a file that is read.
    SameFile,
    /// Written by kt-export.
    Package,
    /// A reason that an earlier release recorded without a code.
    #[default]
    Other,
}

impl SkipCode {
    /// The code in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PathTime => "path_time",
            Self::UnknownFormat => "unknown_format",
            Self::NotAFile => "not_a_file",
            Self::Hidden => "hidden",
            Self::HiddenData => "hidden_data",
            Self::Empty => "empty",
            Self::Unwritten => "unwritten",
            Self::Excluded => "excluded",
            Self::SameFile => "same_file",
            Self::Package => "package",
            Self::Other => "other",
        }
    }

    /// A description of such files, to follow "skipped: ".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::PathTime => "outside the window, by their names",
            Self::UnknownFormat => "with an unknown extension",
            Self::NotAFile => "not regular files",
            Self::Hidden => "with hidden names",
            Self::HiddenData => "with hidden names, but the extensions of data files",
            Self::Empty => "of 0 bytes",
            Self::Unwritten => "of 0 bytes, which their writers did not finish",
            Self::Excluded => "that `exclude` names",
            Self::SameFile => "other names of files that were read",
            Self::Package => "packages, chains and jobs of kt-export",
            Self::Other => "for the reasons below",
        }
    }

    /// Whether a file skipped for this reason may hold rows that the user expects in the package.
    pub fn is_surprising(self) -> bool {
        match self {
            // Requested by the spec, without rows, or read under another name.
            Self::PathTime | Self::Hidden | Self::Empty | Self::Excluded | Self::SameFile => false,
            Self::UnknownFormat | Self::NotAFile | Self::HiddenData | Self::Unwritten | Self::Package | Self::Other => {
                true
            }
        }
    }

    /// Advice for users who expected the files to be read.
    pub fn advice(self) -> &'static str {
        match self {
            Self::PathTime => "if they hold rows of the window, widen `path_time` with `early` or `late`",
            Self::UnknownFormat => "if they hold rows, set `source.format`; if not, select the other files with a glob",
            Self::NotAFile => "write their contents to regular files",
            Self::Hidden | Self::HiddenData => "if they hold rows, rename them, or name them with a glob",
            Self::Empty | Self::Unwritten => "regenerate them, or set `source.on_empty_file: fail`",
            Self::Excluded => "if they hold rows, change `source.exclude`",
            Self::SameFile => "no action is needed",
            Self::Package => "keep packages, chains and stores outside the source",
            Self::Other => "see the reasons in the manifest",
        }
    }
}

/// The folder where Spark and Hadoop keep uncommitted files.
const UNCOMMITTED: &str = "_temporary";

impl SkippedInput {
    /// A file, or a folder if the name ends with `/`, whose name begins with `.` or `_`.
    pub(super) fn hidden(name: String, bytes: u64, is_data: bool) -> Self {
        let folder = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let code = if is_data || folder == UNCOMMITTED { SkipCode::HiddenData } else { SkipCode::Hidden };
        Self { name, bytes, code, reason: "a name that begins with `.` or `_` is not read".to_owned() }
    }

    /// A text file of 0 bytes.
    pub(super) fn empty(name: String) -> Self {
        Self { name, bytes: 0, code: SkipCode::Empty, reason: "it has 0 bytes".to_owned() }
    }

    /// A file of 0 bytes in a format whose files have some even without rows.
    pub(super) fn unwritten(name: String, format: SourceFormat) -> Self {
        let reason = format!("it has 0 bytes, so it is not {}: its writer did not finish", format.name());
        Self { name, bytes: 0, code: SkipCode::Unwritten, reason }
    }

    /// A file of the metadata of `table`, such as "an Iceberg table".
    pub(super) fn metadata(name: String, bytes: u64, table: &str) -> Self {
        Self { name, bytes, code: SkipCode::Hidden, reason: format!("metadata of {table}, not data") }
    }

    /// A file that `exclude` names.
    pub(super) fn excluded(name: String, bytes: u64) -> Self {
        Self { name, bytes, code: SkipCode::Excluded, reason: "`source.exclude` names it".to_owned() }
    }

    /// A file of unknown format.
    pub(super) fn unknown_format(name: String, bytes: u64) -> Self {
        let reason = "unknown extension and no `source.format`".to_owned();
        Self { name, bytes, code: SkipCode::UnknownFormat, reason }
    }
}
