//! Files that a source names and that are not read: which, and why.
//!
//! Nothing is left out in silence. Every skip has a code for programs and a reason for people, stands in the manifest, and
//! is shown by `plan` and `doctor`; [`SkipCode::is_surprising`] says which ones a run warns about.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that the URI names and that is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// Relative to the folder of the source URI; of a folder with a `/` at its end.
    pub name: String,
    /// Size when listed; 0 for a folder that was not looked into.
    pub bytes: u64,
    /// For programs.
    #[serde(default)]
    pub code: SkipCode,
    /// For people and the manifest.
    pub reason: String,
}

/// Why a file is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipCode {
    /// `path_time` says of its name that it holds no row of the window. Taken at its word.
    PathTime,
    /// Its extension is not known, and the source has no `format`.
    UnknownFormat,
    /// A device, pipe or socket.
    NotAFile,
    /// Its name, or that of a folder above it, begins with `.` or `_`: markers and what tools keep for themselves.
    Hidden,
    /// The same, but with the extension of data, or in a folder where Spark and Hadoop keep what is not committed.
    HiddenData,
    /// A CSV, NDJSON or JSON file of 0 bytes. A Parquet or Arrow file of 0 bytes is broken: it was not written to its end.
    Empty,
    /// Another name of a file that is read.
    SameFile,
    /// What this program has written itself.
    Package,
    /// A reason that an earlier release gave without a code.
    #[default]
    Other,
}

impl SkipCode {
    /// The word as it stands in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PathTime => "path_time",
            Self::UnknownFormat => "unknown_format",
            Self::NotAFile => "not_a_file",
            Self::Hidden => "hidden",
            Self::HiddenData => "hidden_data",
            Self::Empty => "empty",
            Self::SameFile => "same_file",
            Self::Package => "package",
            Self::Other => "other",
        }
    }

    /// What such files are.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::PathTime => "by their names outside the window",
            Self::UnknownFormat => "of an extension that is not known",
            Self::NotAFile => "no regular files",
            Self::Hidden => "of hidden names",
            Self::HiddenData => "of hidden names, with the extension of data",
            Self::Empty => "of 0 bytes",
            Self::SameFile => "other names of files that were read",
            Self::Package => "packages, chains and jobs of kt-export",
            Self::Other => "for the reasons below",
        }
    }

    /// Whether a file that was left out for this reason may hold rows that somebody misses.
    pub fn is_surprising(self) -> bool {
        match self {
            // What the spec asks for, and what holds no row or is read under another name.
            Self::PathTime | Self::Hidden | Self::Empty | Self::SameFile => false,
            Self::UnknownFormat | Self::NotAFile | Self::HiddenData | Self::Package | Self::Other => true,
        }
    }

    /// What to do where the files should have been read.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::PathTime => "if they hold rows of the window, widen `path_time` with `early` or `late`",
            Self::UnknownFormat => "if they hold rows, set `source.format`; if not, name the others with a glob",
            Self::NotAFile => "copy what they give to files",
            Self::Hidden | Self::HiddenData => "if they hold rows, rename them, or name them with a glob",
            Self::Empty => "write them again, or set `source.on_empty_file: fail`",
            Self::SameFile => "nothing is to be done",
            Self::Package => "keep packages, chains and stores outside the source",
            Self::Other => "see the reasons in the manifest",
        }
    }
}

/// Where Spark and Hadoop keep what a job has not committed.
const UNCOMMITTED: &str = "_temporary";

impl SkippedFile {
    /// A file or, with a `/` at its end, a folder whose name begins with `.` or `_`.
    pub(super) fn hidden(name: String, bytes: u64, is_data: bool) -> Self {
        let folder = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let code = if is_data || folder == UNCOMMITTED { SkipCode::HiddenData } else { SkipCode::Hidden };
        Self { name, bytes, code, reason: "a name that begins with `.` or `_` is not read".to_owned() }
    }

    /// A text file of 0 bytes.
    pub(super) fn empty(name: String) -> Self {
        Self { name, bytes: 0, code: SkipCode::Empty, reason: "it has 0 bytes".to_owned() }
    }

    /// A file of a format that nobody told.
    pub(super) fn unknown_format(name: String, bytes: u64) -> Self {
        let reason = "unknown extension and no `source.format`".to_owned();
        Self { name, bytes, code: SkipCode::UnknownFormat, reason }
    }
}
