//! Why a source cannot be listed.

use super::hive::HiveError;
use crate::store::{LocationError, StoreError};

/// Extensions and what they mean, in the words of messages.
pub(super) const KNOWN_EXTENSIONS: &str =
    ".parquet .pq .ndjson .jsonl .json .csv .arrow .ipc .feather, row formats also with .gz or .zst";

/// A source that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Nothing to read.
    #[error(
        "source matches no file: {uri} ({looked_for}); check the path, or set `source.format` for other extensions"
    )]
    NoFile {
        /// As resolved.
        uri: String,
        /// What would have matched.
        looked_for: String,
    },
    /// Folder names that conflict with columns.
    #[error(transparent)]
    Hive(#[from] HiveError),
    /// Text that names no place.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder of a web server.
    #[error("{uri} is on a web server, which lists no folders; name one file")]
    Web {
        /// As written.
        uri: String,
    },
    /// Not a glob.
    #[error("source {uri} is not a glob: {message}")]
    Glob {
        /// As resolved.
        uri: String,
        /// What the glob parser says.
        message: String,
    },
    /// The operating system refuses.
    #[error("cannot list {path}; check that it exists and that its permissions let this user read it")]
    Io {
        /// Which file or folder.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder that contains itself.
    #[error("{path} is a link to {ancestor}, which contains it; remove the link or name the files with a glob")]
    LinkLoop {
        /// The link.
        path: String,
        /// Where it leads.
        ancestor: String,
    },
    /// A package.
    #[error("{uri} is a kt-export package and not a source; to export its rows again, name its data/ folder")]
    Package {
        /// As resolved.
        uri: String,
    },
    /// A job that would be its own next source.
    #[error(
        "the output {output} lies inside the source {uri}, so the next job would export its rows again; choose an `output.uri` outside"
    )]
    OutputInSource {
        /// As resolved.
        uri: String,
        /// The package's folder.
        output: String,
    },
    /// The same, the other way round.
    #[error(
        "the source {uri} lies inside the output {output}, which holds nothing but the package; choose another `output.uri`"
    )]
    SourceInOutput {
        /// As resolved.
        uri: String,
        /// The package's folder.
        output: String,
    },
    /// A name that no manifest can hold.
    #[error("the name of {path} is not UTF-8; rename it")]
    NotUtf8 {
        /// With replacement characters.
        path: String,
    },
    /// An object that the source names and no request can.
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
        /// Which.
        path: String,
    },
    /// Parquet or Arrow inside gzip or zstd.
    #[error("{path} is {format} inside another compression; decompress it, {format} compresses its own pages")]
    DoublyCompressed {
        /// Which.
        path: String,
        /// Its format.
        format: &'static str,
    },
    /// A compression that is not read.
    #[error("{path} is compressed with .{extension}, which is not read; use .gz or .zst")]
    Compression {
        /// Which.
        path: String,
        /// Its last extension.
        extension: String,
    },
    /// One file whose format nobody told.
    #[error("the format of {path} is not known from its extension ({KNOWN_EXTENSIONS}); set `source.format`")]
    UnknownFormat {
        /// Which.
        path: String,
    },
    /// A folder whose Parquet files are not its rows.
    #[error(
        "{folder} is {kind} (it has {marker}): read as plain files it gives deleted and duplicate rows; export a snapshot of \
         the table to files and name those, or set `plain_files: true` in `source` to read every file as it is"
    )]
    LakehouseTable {
        /// The table.
        folder: String,
        /// What it is.
        kind: &'static str,
        /// What tells so.
        marker: &'static str,
    },
    /// `expect: every` over more units than are looked for.
    #[error(
        "the window has more than {most} units that `path_time: {{expect: every}}` expects a file for; choose a smaller window, or remove `expect`"
    )]
    TooManyUnits {
        /// The limit.
        most: usize,
    },
    /// A file that `path_time` does not describe.
    #[error(
        "{name} does not end in the time that `path_time` promises ({pattern}); correct the pattern or keep other files out with a glob"
    )]
    PathTime {
        /// Which.
        name: String,
        /// The pattern.
        pattern: String,
    },
}
