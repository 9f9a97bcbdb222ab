//! Lists the files that a source URI matches.
//!
//! Every later proof of completeness rests on this list, so no file is dropped silently. A file that is not read is recorded
//! in [`FileListing::skipped`] with a reason. A path that cannot be resolved or named (a symlink loop, a name that is not
//! UTF-8) is an error. Files are sorted by name in byte order, on every platform.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use walkdir::{DirEntry, WalkDir};

use crate::job::{OnEmptyFile, PathTime, SourceCompression, SourceFormat, SourceSettings, SourceUri};
use crate::package::layout::{self, CONTENT};
use crate::source::extension::{Extensions, NamedCompression};
use crate::source::files::packages::{self, OwnOutput};
use crate::source::files::path_time::path_coverage_in;
use crate::source::files::several::{self, UriListing};
use crate::source::files::{content, hive, lakehouse, objects};
use crate::source::{Period, SourceFile, file};
use crate::store::Location;

pub(super) use crate::source::files::error::{KNOWN_EXTENSIONS, ListError};
pub(super) use crate::source::skip::{SkipCode, SkippedInput};

/// A file that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFile {
    /// The file. Its format is that of a text without rows while `is_format_open`.
    pub file: SourceFile,
    /// The name does not tell the format: the content will.
    pub is_format_open: bool,
    /// Index of the URI in the source's.
    pub uri: usize,
    /// Where the part of the name begins that is relative to the folder of the URI.
    pub name_start: usize,
}

/// The files that a source URI matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileListing {
    /// Files to read, sorted by name.
    pub files: Vec<ListedFile>,
    /// Files and folders that are not read, with reasons, sorted by name.
    pub skipped: Vec<SkippedInput>,
    /// Skipped files whose names claim the periods nearest to the window. They are inspected to test `path_time`: wrong
    /// claims show up here first.
    pub adjacent: Vec<ListedFile>,
}

/// Maximum number of adjacent files inspected on each side of the window. Writers usually share one error, so a few files
/// reveal it.
const MAX_ADJACENT_FILES: usize = 8;

/// Lists a source: files, folders (recursive) and globs.
///
/// A path that exists is used literally, even if it contains glob characters. `*` and `?` do not cross folders, `**` does.
/// Names that begin with `.` or `_` (`_SUCCESS`, `_delta_log`) are skipped, except hive folders (`_day=1`) and names that the
/// glob itself writes with that prefix. Links are followed, and a file with several names is read once. Packages, chains and
/// job folders written by kt-export are skipped.
///
/// # Errors
/// [`ListError`] if any file cannot be enumerated or classified; there are no partial results.
pub(crate) fn list(source: &SourceSettings) -> Result<FileListing, ListError> {
    let listings = source.uris.iter().map(|uri| list_uri(source, uri).map_err(|error| error.of(Some(uri))));
    let mut listing = several::join(listings.collect::<Result<_, _>>()?)?;
    if source.plain_files {
        lakehouse::skip_metadata(&mut listing);
    }
    for (index, uri) in source.uris.iter().enumerate() {
        let files = listing.files.iter().filter(|listed| listed.uri == index).map(|listed| &listed.file);
        lakehouse::refuse_local(source, files).map_err(|error| error.of(Some(uri)))?;
    }
    Ok(listing)
}

fn list_uri(source: &SourceSettings, uri: &SourceUri) -> Result<UriListing, ListError> {
    let path = match Location::parse(uri.as_str(), &source.options)? {
        Location::Local(path) => path,
        Location::Object(at) => return objects::list(source, uri, &at),
    };
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            list_matching_files(source, uri, Walk::of_folder(path), several::written_folder(uri, source, 0))
        }
        Ok(metadata) if metadata.is_file() => list_one_file(source, uri, &path),
        Ok(_) => Err(ListError::NotAFile { path: display_path(&path) }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && has_wildcard(uri.as_str()) => {
            let walk = Walk::of_glob(&path, uri.as_str())?;
            let below = path.components().count().saturating_sub(walk.base.components().count());
            list_matching_files(source, uri, walk, several::written_folder(uri, source, below))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ListError::NoFile { uri: uri.as_str().to_owned(), explanation: "no such file or folder".to_owned() })
        }
        Err(source) => Err(ListError::Io { path: display_path(&path), source }),
    }
}

impl FileListing {
    /// Moves files whose names claim only times outside `period` to `skipped`, and copies the nearest of them to `adjacent`.
    ///
    /// # Errors
    /// [`ListError::PathTime`] for the first file whose name does not match the pattern.
    pub(crate) fn within(
        mut self,
        source: &SourceSettings,
        path_time: &PathTime,
        zones: [&TimeZone; 2],
        period: Period,
    ) -> Result<Self, ListError> {
        let Period { start, end } = period;
        let mut kept = Vec::with_capacity(self.files.len());
        let (mut earlier, mut later) = (Nearest::default(), Nearest::default());
        for listed in self.files {
            let file = &listed.file;
            let Some((claimed_start, claimed_end)) = path_coverage_in(&file.name, path_time, zones) else {
                let pattern = path_time.pattern.value.clone();
                let error = ListError::PathTime { name: file.name.clone(), pattern };
                return Err(error.of(source.uris.get(listed.uri)));
            };
            if claimed_start < end && claimed_end > start {
                kept.push(listed);
            } else {
                let reason = format!("outside the window according to `path_time`: [{claimed_start}, {claimed_end})");
                let (name, bytes) = (file.name.clone(), file.bytes);
                self.skipped.push(SkippedInput { name, bytes, code: SkipCode::PathTime, reason });
                if claimed_end <= start {
                    earlier.add(start.duration_since(claimed_end), listed);
                } else {
                    later.add(claimed_start.duration_since(end), listed);
                }
            }
        }
        self.files = kept;
        self.adjacent = earlier.files.into_iter().chain(later.files).collect();
        self.skipped.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self)
    }
}

/// The files that are nearest to the window on one side, all at the same distance.
#[derive(Default)]
struct Nearest {
    /// `None` while there are no files.
    distance: Option<SignedDuration>,
    files: Vec<ListedFile>,
}

impl Nearest {
    fn add(&mut self, distance: SignedDuration, file: ListedFile) {
        if self.distance.is_none_or(|nearest| distance < nearest) {
            self.distance = Some(distance);
            self.files.clear();
        }
        if self.distance == Some(distance) && self.files.len() < MAX_ADJACENT_FILES {
            self.files.push(file);
        }
    }
}

pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Formats a path for messages; bytes that are not UTF-8 are replaced.
pub(super) fn display_path(path: &Path) -> String {
    path.display().to_string()
}

/// The scope of a directory walk: where it starts, how deep it goes, and which names it visits.
pub(super) struct Walk {
    pub(super) base: PathBuf,
    pub(super) glob: Option<globset::GlobMatcher>,
    max_depth: usize,
    /// Whether a glob segment begins with `.`, so that such names are visited.
    visits_dot_names: bool,
    /// Whether a glob segment begins with `_`, so that such names are visited.
    visits_underscore_names: bool,
    /// Whether a glob segment is `data` or `rejects`, so that packages are not skipped.
    enters_packages: bool,
}

impl Walk {
    /// Walks everything below a folder.
    pub(super) fn of_folder(base: PathBuf) -> Self {
        Self {
            base,
            glob: None,
            max_depth: usize::MAX,
            visits_dot_names: false,
            visits_underscore_names: false,
            enters_packages: false,
        }
    }

    /// Walks from the deepest folder without a wildcard, to the depth of the glob.
    ///
    /// # Errors
    /// [`ListError::Glob`] if the pattern is invalid.
    pub(super) fn of_glob(path: &Path, uri: &str) -> Result<Self, ListError> {
        let pattern = path.to_string_lossy();
        let invalid_glob =
            |error: globset::Error| ListError::Glob { uri: uri.to_owned(), message: error.kind().to_string() };
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build().map_err(invalid_glob)?.compile_matcher();
        let mut base = PathBuf::new();
        let mut below = Vec::new();
        for component in path.components() {
            let text = component.as_os_str().to_string_lossy();
            if below.is_empty() && !has_wildcard(&text) {
                base.push(component);
            } else {
                below.push(text);
            }
        }
        // Alternatives may hold separators (`{a,b/c}`), so their depth cannot be counted.
        let unbounded = below.iter().any(|s| s.contains("**") || s.contains(['{', '}']));
        Ok(Self {
            base,
            max_depth: if unbounded { usize::MAX } else { below.len() },
            visits_dot_names: below.iter().any(|s| s.starts_with('.')),
            visits_underscore_names: below.iter().any(|s| s.starts_with('_')),
            enters_packages: below.iter().any(|s| CONTENT.map(layout::folder).contains(&s.as_ref())),
            glob: Some(glob),
        })
    }

    /// Whether to report a hidden path as skipped: always in a folder; under a glob, only a file that matches or a folder that
    /// an unbounded glob would enter.
    pub(super) fn reports_hidden(&self, path: &Path, is_folder: bool) -> bool {
        match &self.glob {
            None => true,
            Some(_) if is_folder => self.max_depth == usize::MAX,
            Some(glob) => glob.is_match(path),
        }
    }

    /// Whether packages, chains and job folders of kt-export are skipped.
    pub(super) fn skips_packages(&self) -> bool {
        !self.enters_packages
    }

    /// Whether a name below the base may be data.
    pub(super) fn visible(&self, name: &OsStr) -> bool {
        match name.as_encoded_bytes() {
            [b'.', ..] => self.visits_dot_names,
            [b'_', rest @ ..] => self.visits_underscore_names || rest.contains(&b'='),
            _ => true,
        }
    }
}

/// The globs of `exclude` as one, to match names below the folder of the source.
///
/// # Errors
/// [`ListError::Glob`] if they are too large together.
pub(super) fn exclusions(source: &SourceSettings, uri: &SourceUri) -> Result<GlobSet, ListError> {
    let mut globs = GlobSet::builder();
    for exclude in &source.exclude {
        globs.add(exclude.value.clone());
    }
    let too_large =
        |error: globset::Error| ListError::Glob { uri: uri.as_str().to_owned(), message: error.kind().to_string() };
    globs.build().map_err(too_large)
}

fn list_one_file(source: &SourceSettings, uri: &SourceUri, path: &Path) -> Result<UriListing, ListError> {
    let base = path.parent().unwrap_or(Path::new(""));
    let kind = Kind::of(source, path)?;
    let Some(file) = source_file(source, base, path, kind)? else {
        return Err(ListError::UnknownFormat { path: display_path(path) });
    };
    let folder = several::written_folder(uri, source, 1);
    Ok(UriListing { base: base.to_owned(), folder, files: vec![file], skipped: Vec::new() })
}

fn list_matching_files(
    source: &SourceSettings,
    uri: &SourceUri,
    walk: Walk,
    folder: String,
) -> Result<UriListing, ListError> {
    let exclusions = exclusions(source, uri)?;
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    let mut folders_matched = false;
    // The folder itself is a package: an export of an export is a mistake. Packages below it are skipped.
    if walk.glob.is_none() && packages::of_folder(&walk.base)? == Some(OwnOutput::Package) {
        return Err(ListError::Package { uri: uri.as_str().to_owned() });
    }
    let mut entries = WalkDir::new(&walk.base).follow_links(true).min_depth(1).max_depth(walk.max_depth).into_iter();
    // Order matters: hidden names and packages are recorded before the glob filters, so that they are never dropped silently.
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // A glob below a folder that does not exist matches nothing.
            Err(error) if error.depth() == 0 && is_not_found(&error) => break,
            Err(error) => return Err(walk_error(error)),
        };
        let path = entry.path();
        let is_folder = entry.file_type().is_dir();
        if !walk.visible(entry.file_name()) {
            if is_folder {
                entries.skip_current_dir();
            }
            skipped.extend(hidden_entry(&walk, &entry)?);
            continue;
        }
        if is_folder
            && walk.skips_packages()
            && let Some(own_output) = packages::of_folder(path)?
        {
            entries.skip_current_dir();
            skipped.push(own_output.skipped(relative_name(&walk.base, path)?, 0));
            continue;
        }
        if walk.glob.as_ref().is_some_and(|glob| !glob.is_match(path)) {
            continue;
        }
        if is_folder {
            folders_matched = true;
            continue;
        }
        let name = relative_name(&walk.base, path)?;
        if exclusions.is_match(&name) {
            let bytes = entry.metadata().map_err(walk_error)?.len();
            skipped.push(SkippedInput::excluded(name, bytes));
            continue;
        }
        if !entry.file_type().is_file() {
            let reason = "not a regular file".to_owned();
            skipped.push(SkippedInput { name, bytes: 0, code: SkipCode::NotAFile, reason });
            continue;
        }
        match source_file(source, &walk.base, path, Kind::of(source, path)?)? {
            Some(listed) if listed.is_skipped_as_empty(source) => {
                skipped.push(SkippedInput::empty(listed.file.name));
            }
            Some(listed) => files.push(listed),
            None => {
                let bytes = entry.metadata().map_err(walk_error)?.len();
                skipped.push(SkippedInput::unknown_format(name, bytes));
            }
        }
    }
    // Empty files prove that the source exists.
    if files.is_empty() && !skipped.iter().any(is_empty_file) {
        return Err(no_file(source, uri, &walk, &skipped, folders_matched));
    }
    Ok(UriListing { base: walk.base, folder, files, skipped })
}

/// A hidden entry as a skipped input; `None` if it is not reported.
fn hidden_entry(walk: &Walk, entry: &DirEntry) -> Result<Option<SkippedInput>, ListError> {
    let path = entry.path();
    let is_folder = entry.file_type().is_dir();
    if !walk.reports_hidden(path, is_folder) {
        return Ok(None);
    }
    let name = relative_name(&walk.base, path)?;
    if is_folder {
        return Ok(Some(SkippedInput::hidden(format!("{name}/"), 0, false)));
    }
    let bytes = entry.metadata().map_err(walk_error)?.len();
    Ok(Some(SkippedInput::hidden(name, bytes, is_data_file(path))))
}

/// Whether an input was skipped because it has 0 bytes. Such a file proves that the source exists.
pub(super) fn is_empty_file(skipped: &SkippedInput) -> bool {
    skipped.code == SkipCode::Empty
}

pub(super) fn no_file(
    source: &SourceSettings,
    uri: &SourceUri,
    walk: &Walk,
    skipped: &[SkippedInput],
    folders_matched: bool,
) -> ListError {
    let unknown_formats = skipped.iter().filter(|file| file.code == SkipCode::UnknownFormat).count();
    let own_folders = skipped.iter().filter(|file| file.code == SkipCode::Package).count();
    let excluded = skipped.iter().filter(|file| file.code == SkipCode::Excluded).count();
    let explanation = if own_folders > 0 {
        format!("it holds {own_folders} of kt-export's own packages, chains or jobs and no other data")
    } else if excluded > 0 && excluded == skipped.len() {
        format!("`exclude` names all of its {excluded} files")
    } else if walk.glob.is_some() && folders_matched {
        "the glob matches only folders; append /** to match the files in them".to_owned()
    } else {
        match (source.format, unknown_formats) {
            (Some(_), _) => "looked for any file that is not hidden".to_owned(),
            (None, 0) => format!("looked for {KNOWN_EXTENSIONS}"),
            (None, n) => format!("looked for {KNOWN_EXTENSIONS}; skipped {n} with other extensions"),
        }
    };
    ListError::NoFile { uri: uri.as_str().to_owned(), explanation }
}

fn is_not_found(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

fn walk_error(error: walkdir::Error) -> ListError {
    let path = error.path().map_or_else(|| "the source".to_owned(), display_path);
    match error.loop_ancestor() {
        Some(ancestor) => ListError::LinkLoop { path, ancestor: display_path(ancestor) },
        None => ListError::Io { path, source: error.into() },
    }
}

/// The path relative to `base`, with `/` as the separator on every platform.
///
/// # Errors
/// [`ListError::NotUtf8`].
fn relative_name(base: &Path, path: &Path) -> Result<String, ListError> {
    // Every caller passes a path below `base`.
    let below = path.strip_prefix(base).unwrap_or(path);
    let mut name = String::new();
    for component in below.components() {
        let Component::Normal(part) = component else { continue };
        let Some(part) = part.to_str() else { return Err(ListError::NotUtf8 { path: display_path(path) }) };
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(part);
    }
    Ok(name)
}

fn source_file(source: &SourceSettings, base: &Path, path: &Path, kind: Kind) -> Result<Option<ListedFile>, ListError> {
    let Some((format, compression)) = kind.format_and_compression() else { return Ok(None) };
    let io = |source| ListError::Io { path: display_path(path), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let name = relative_name(base, path)?;
    let constants = hive::keys_of(&name);
    let modified = file::modified(&metadata).map_err(io)?;
    let file = SourceFile {
        at: path.to_owned().into(),
        name,
        bytes: metadata.len(),
        modified,
        etag: None,
        format,
        compression,
        compression_is_declared: source.compression.is_some(),
        constants,
    };
    Ok(Some(ListedFile { file, is_format_open: kind.is_open(), uri: 0, name_start: 0 }))
}

/// Whether a file looks like data by its name alone, supported or not.
pub(super) fn is_data_file(path: &Path) -> bool {
    !matches!(Kind::by_name(None, None, path), Ok(Kind::Other | Kind::Open(_)))
}

impl ListedFile {
    /// Whether the file has 0 bytes and is listed, but not read.
    pub(super) fn is_skipped_as_empty(&self, source: &SourceSettings) -> bool {
        self.file.bytes == 0 && self.file.format.is_text() && source.on_empty_file == OnEmptyFile::Skip
    }
}

/// What the source declares and the name tells of a file's format and compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Data.
    Data(SourceFormat, SourceCompression),
    /// Any format, in this compression: the content tells.
    Open(SourceCompression),
    /// No data.
    Other,
}

impl Kind {
    /// That of a file of the source.
    ///
    /// # Errors
    /// [`ListError::Compression`] for an unsupported compression, [`ListError::DoublyCompressed`] for a compressed Parquet or
    /// Arrow file.
    pub(super) fn of(source: &SourceSettings, path: &Path) -> Result<Self, ListError> {
        Self::by_name(source.format, source.declared_compression(), path)
    }

    fn by_name(
        format: Option<SourceFormat>,
        compression: Option<SourceCompression>,
        path: &Path,
    ) -> Result<Self, ListError> {
        let extensions = Extensions::of(path);
        let named = extensions.named_format();
        if let (NamedCompression::Unsupported(extension), None) = (&extensions.compression, compression) {
            // Without a declared format, `x.csv.zip` must be data, but `x.zip` may be anything.
            if format.is_some() || named.is_some() {
                let extension = extension.clone();
                return Err(ListError::Compression { path: display_path(path), extension });
            }
            return Ok(Self::Other);
        }
        let by_name = extensions.compression.supported();
        let text_compression = compression.or(by_name).unwrap_or(SourceCompression::None);
        let Some(format) = format.or(named) else {
            let is_open = extensions.leave_format_open();
            return Ok(if is_open { Self::Open(text_compression) } else { Self::Other });
        };
        // These formats compress internally and need random access. What is declared for them is refused after listing.
        if format.is_text() {
            Ok(Self::Data(format, text_compression))
        } else if by_name.is_some() {
            Err(ListError::DoublyCompressed { path: display_path(path), format: format.short_name() })
        } else {
            Ok(Self::Data(format, SourceCompression::None))
        }
    }

    /// Whether the content tells the format.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Of a file that may be read; see [`ListedFile::file`].
    pub(super) fn format_and_compression(self) -> Option<(SourceFormat, SourceCompression)> {
        match self {
            Self::Data(format, compression) => Some((format, compression)),
            Self::Open(compression) => Some((content::WITHOUT_ROWS, compression)),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests;
