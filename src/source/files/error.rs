//! Why a source cannot be listed.

use super::hive::HiveError;
use crate::diagnostic::Span;
use crate::job::SourceUri;
use crate::source::SourceError;
use crate::store::{LocationError, StoreError};

/// The supported extensions, for messages.
pub(super) const KNOWN_EXTENSIONS: &str = ".parquet .pq .ndjson .jsonl .json .csv .tsv .tab .arrow .ipc .feather .avro, row formats also with .gz, .zst, .bz2, .xz or \
     .lz4; .log or none, if the content is Parquet, Arrow or JSON";

impl ListError {
    /// Adds which URI of the source it is about.
    pub(super) fn of(self, uri: Option<&SourceUri>) -> Self {
        match uri.and_then(|uri| uri.absolute.span.clone()) {
            Some(span) => Self::Located { span, error: Box::new(self) },
            None => self,
        }
    }

    /// The error itself, and where the URI is written that it is about.
    pub(crate) fn located(self) -> (Option<Span>, Self) {
        match self {
            Self::Located { span, error } => (Some(span), error.located().1),
            error => (None, error),
        }
    }
}

/// A source that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ListError {
    /// An error that is about one URI; [`ListError::located`] takes it apart to show it with its causes.
    #[error("{error}")]
    Located {
        /// Where the URI is written.
        span: Span,
        /// The error.
        error: Box<ListError>,
    },
    /// No file matches.
    #[error(
        "source matches no file: {uri} ({explanation}); check the path, or set `source.format` for other extensions"
    )]
    NoFile {
        /// The URI, as resolved.
        uri: String,
        /// What was looked for, or why nothing matched.
        explanation: String,
    },
    /// Hive folder names conflict with columns.
    #[error(transparent)]
    Hive(#[from] HiveError),
    /// The URI is not a valid location.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A request to an object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The URI is a folder on a web server.
    #[error("{uri} is on a web server, which lists no folders; name one file")]
    Web {
        /// The URI, as written.
        uri: String,
    },
    /// The glob pattern is invalid.
    #[error("source {uri} is not a glob: {message}")]
    Glob {
        /// The URI, as resolved.
        uri: String,
        /// The error of the glob parser.
        message: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot list {path}; check that it exists and that its permissions let this user read it")]
    Io {
        /// The file or folder.
        path: String,
        /// The underlying error.
        #[source]
        source: std::io::Error,
    },
    /// A link leads to a folder that contains it.
    #[error("{path} is a link to {ancestor}, which contains it; remove the link or name the files with a glob")]
    LinkLoop {
        /// The link.
        path: String,
        /// Where it leads.
        ancestor: String,
    },
    /// The source is a package.
    #[error("{uri} is a kt-export package and not a source; to export its rows again, name its data/ folder")]
    Package {
        /// The URI, as resolved.
        uri: String,
    },
    /// The output is inside the source, so the next job would read it.
    #[error(
        "the output {output} lies inside the source {uri}, so the next job would export its rows again; choose an `output.uri` outside"
    )]
    OutputInSource {
        /// The URI, as resolved.
        uri: String,
        /// The package's folder.
        output: String,
    },
    /// The source is inside the output.
    #[error(
        "the source {uri} lies inside the output {output}, which holds nothing but the package; choose another `output.uri`"
    )]
    SourceInOutput {
        /// The URI, as resolved.
        uri: String,
        /// The package's folder.
        output: String,
    },
    /// A name is not UTF-8, so a manifest cannot contain it.
    #[error("the name of {path} is not UTF-8; rename it")]
    NotUtf8 {
        /// With replacement characters.
        path: String,
    },
    /// A store lists an object whose key no request can contain.
    #[error(
        "{uri} is listed and cannot be read: its key is not one that a request can name, {why}; copy it to another key, \
         or name the other objects with a glob"
    )]
    Unaddressable {
        /// Bucket and key.
        uri: String,
        /// Which rule the key breaks.
        why: &'static str,
    },
    /// A device, pipe or socket.
    #[error("{path} is not a regular file; sources are read more than once, so copy it to a file first")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// Parquet or Arrow inside another compression.
    #[error("{path} is {format} inside another compression; decompress it, {format} compresses its own pages")]
    DoublyCompressed {
        /// The file.
        path: String,
        /// Its format.
        format: &'static str,
    },
    /// The compression is not supported.
    #[error("{path} is compressed with .{extension}, which is not read; use .gz, .zst, .bz2, .xz or .lz4")]
    Compression {
        /// The file.
        path: String,
        /// Its last extension.
        extension: String,
    },
    /// The format of a single file is unknown.
    #[error("the format of {path} is not known from its extension ({KNOWN_EXTENSIONS}); set `source.format`")]
    UnknownFormat {
        /// The file.
        path: String,
    },
    /// Neither name nor content tell the format.
    #[error(
        "{path}{begins} is not Parquet, Arrow or JSON, and no other format is guessed: set `source.format` (`csv` with \
         `csv: {{…}}`, or `lines` with `lines: {{pattern: …}}`), or leave the file out with `exclude`"
    )]
    UnknownContent {
        /// The file.
        path: String,
        /// Words that show the beginning of its first line; empty where it must not be shown.
        begins: String,
    },
    /// The name leaves the format open, and the content cannot be read.
    #[error(
        "the format of {path} must be found in its content: {}, or set `source.format`, or leave the file out with `exclude`",
        error.message
    )]
    Content {
        /// The file.
        path: String,
        /// Why it cannot be read. Not a source, because the message contains it.
        error: SourceError,
    },
    /// The folder is a lakehouse table, whose Parquet files include deleted and duplicate rows.
    #[error(
        "{folder} is {kind} (it has {marker}): read as plain files it gives deleted and duplicate rows; export a snapshot of \
         the table to files and name those, or set `plain_files: true` in `source` to read every file as it is"
    )]
    LakehouseTable {
        /// The table.
        folder: String,
        /// What it is.
        kind: &'static str,
        /// The file or folder that identifies it.
        marker: &'static str,
    },
    /// `expect: every` over more units than the limit.
    #[error(
        "the window has more than {most} units that `path_time: {{expect: every}}` expects a file for; choose a smaller window, or remove `expect`"
    )]
    TooManyUnits {
        /// The limit.
        most: usize,
    },
    /// A file name does not match the pattern of `path_time`.
    #[error(
        "{name} does not end in the time that `path_time` promises ({pattern}); correct the pattern or keep other files out with a glob"
    )]
    PathTime {
        /// The file.
        name: String,
        /// The pattern.
        pattern: String,
    },
}
