//! Which files a source URI names.
//!
//! The list is the ground of every later proof of completeness, so nothing is left out in silence: what looks like data
//! and is not read stands in [`FileListing::skipped`] with the reason, and what cannot be told apart (a loop of links, a name
//! that is not text) is an error. The order is that of the names' bytes, on every machine.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use walkdir::WalkDir;

use crate::job::{OnEmptyFile, PathTime, Source, SourceFormat};
use crate::package::layout::{self, CONTENT};
use crate::source::files::packages::{self, Ours};
use crate::source::files::{hive, lakehouse, objects, same_file};
use crate::source::{Codec, SourceFile, file};
use crate::store::Location;

pub(super) use crate::source::files::error::{KNOWN_EXTENSIONS, ListError};
use crate::source::files::path_time::path_coverage_in;
pub(super) use crate::source::skip::{SkipCode, SkippedInput};

/// Compressions that are recognised in order to be refused: their bytes must not be taken for rows.
const FOREIGN_COMPRESSIONS: [&str; 9] = ["bz2", "xz", "lz4", "br", "zip", "7z", "snappy", "lzo", "z"];

/// The files that a source URI matches, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileListing {
    /// What is read.
    pub files: Vec<SourceFile>,
    /// What is not, and why.
    pub skipped: Vec<SkippedInput>,
    /// Of the files that `path_time` leaves out, those that cover the time next to the window: a claim that is wrong shows
    /// there first.
    pub adjacent: Vec<SourceFile>,
}

/// Files on each side of the window that are looked into. More writers than these err alike.
const ADJACENT_FILES: usize = 8;

/// Lists a source: a file, a folder (recursive) or a glob.
///
/// A path that exists is taken as it is, even if it holds the characters of a glob. `*` and `?` do not cross folders,
/// `**` does. Hidden names and names that begin with `_` (`_SUCCESS`, `_delta_log`) are no data, save hive folders
/// (`_day=1`) and what a glob names so itself. Links are followed, and a file with several names is read once. What this
/// program has written itself is left out.
///
/// # Errors
/// [`ListError`], and no list, where the files cannot all be told.
pub fn list(source: &Source) -> Result<FileListing, ListError> {
    let uri = source.uri.value.as_str();
    let path = match Location::parse(uri, &source.options)? {
        Location::Local(path) => path,
        Location::Object(at) => return objects::list(source, &at),
    };
    let listing = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => collect(source, Walk::of_folder(path)),
        Ok(metadata) if metadata.is_file() => single(source, &path),
        Ok(_) => Err(ListError::NotAFile { path: show(&path) }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && has_wildcard(uri) => {
            collect(source, Walk::of_glob(&path, uri)?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ListError::NoFile { uri: uri.to_owned(), looked_for: "no such file or folder".to_owned() })
        }
        Err(source) => Err(ListError::Io { path: show(&path), source }),
    }?;
    lakehouse::refuse_local(source, &listing)?;
    Ok(listing)
}

impl FileListing {
    /// Drops the files whose name says that they lie wholly outside `[start, end)`; they are listed, unread, and those
    /// next to the window are kept apart.
    ///
    /// # Errors
    /// [`ListError::PathTime`] for the first file whose name the pattern does not describe.
    pub fn within(
        mut self,
        path_time: &PathTime,
        zones: [&TimeZone; 2],
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Self, ListError> {
        let mut kept = Vec::with_capacity(self.files.len());
        let (mut before, mut behind) = (Nearest::default(), Nearest::default());
        for file in self.files {
            let Some((first, after)) = path_coverage_in(&file.name, path_time, zones) else {
                let pattern = path_time.pattern.value.clone();
                return Err(ListError::PathTime { name: file.name, pattern });
            };
            if first < end && after > start {
                kept.push(file);
            } else {
                let reason = format!("outside the window by `path_time`: covers {first} to {after}");
                let (name, bytes) = (file.name.clone(), file.bytes);
                self.skipped.push(SkippedInput { name, bytes, code: SkipCode::PathTime, reason });
                if after <= start {
                    before.add(start.duration_since(after), file);
                } else {
                    behind.add(first.duration_since(end), file);
                }
            }
        }
        self.files = kept;
        self.adjacent = before.files.into_iter().chain(behind.files).collect();
        self.skipped.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self)
    }
}

/// The files that are nearest to the window on one side, all at the same distance.
#[derive(Default)]
struct Nearest {
    distance: SignedDuration,
    files: Vec<SourceFile>,
}

impl Nearest {
    fn add(&mut self, distance: SignedDuration, file: SourceFile) {
        if self.files.is_empty() || distance < self.distance {
            self.distance = distance;
            self.files.clear();
        }
        if distance == self.distance && self.files.len() < ADJACENT_FILES {
            self.files.push(file);
        }
    }
}

pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// A path in a message.
pub(super) fn show(path: &Path) -> String {
    path.display().to_string()
}

/// What is looked at below a folder.
pub(super) struct Walk {
    pub(super) base: PathBuf,
    pub(super) glob: Option<globset::GlobMatcher>,
    max_depth: usize,
    /// Whether the glob itself names something hidden.
    dots: bool,
    /// Whether the glob itself names something with `_`.
    underscores: bool,
    /// Whether the glob itself names the folders of a package.
    into_packages: bool,
}

impl Walk {
    /// All that is below a folder.
    pub(super) fn of_folder(base: PathBuf) -> Self {
        Self { base, glob: None, max_depth: usize::MAX, dots: false, underscores: false, into_packages: false }
    }

    /// Starts at the folder before the first segment with a wildcard, and looks no deeper than the glob does.
    pub(super) fn of_glob(path: &Path, uri: &str) -> Result<Self, ListError> {
        let pattern = path.to_string_lossy();
        let bad = |error: globset::Error| ListError::Glob { uri: uri.to_owned(), message: error.kind().to_string() };
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build().map_err(bad)?.compile_matcher();
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
            dots: below.iter().any(|s| s.starts_with('.')),
            underscores: below.iter().any(|s| s.starts_with('_')),
            into_packages: below.iter().any(|s| CONTENT.map(layout::folder).contains(&s.as_ref())),
            glob: Some(glob),
        })
    }

    /// Whether a hidden name is worth telling: of a glob, what it would match, or look into however deep.
    pub(super) fn names(&self, path: &Path, is_folder: bool) -> bool {
        match &self.glob {
            None => true,
            Some(_) if is_folder => self.max_depth == usize::MAX,
            Some(glob) => glob.is_match(path),
        }
    }

    /// Whether folders of ours are left out below the base.
    pub(super) fn leaves_out_packages(&self) -> bool {
        !self.into_packages
    }

    /// Whether a name below the base may be data.
    pub(super) fn visible(&self, name: &OsStr) -> bool {
        match name.as_encoded_bytes() {
            [b'.', ..] => self.dots,
            [b'_', rest @ ..] => self.underscores || rest.contains(&b'='),
            _ => true,
        }
    }
}

fn single(source: &Source, path: &Path) -> Result<FileListing, ListError> {
    let base = path.parent().unwrap_or(Path::new(""));
    let file = match classify(source.format, path)? {
        Some((format, codec)) => source_file(base, path, format, codec)?,
        None => return Err(ListError::UnknownFormat { path: show(path) }),
    };
    Ok(FileListing { files: vec![file], ..FileListing::default() })
}

fn collect(source: &Source, walk: Walk) -> Result<FileListing, ListError> {
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    let mut folders_matched = false;
    if walk.glob.is_none() && packages::of_folder(&walk.base)? == Some(Ours::Package) {
        return Err(ListError::Package { uri: source.uri.value.clone() });
    }
    let mut entries = WalkDir::new(&walk.base).follow_links(true).min_depth(1).max_depth(walk.max_depth).into_iter();
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
            if walk.names(path, is_folder) {
                let name = relative_name(&walk.base, path)?;
                let bytes = if is_folder { 0 } else { entry.metadata().map_err(walk_error)?.len() };
                let is_data = !is_folder && matches!(classify(None, path), Ok(Some(_)));
                let name = if is_folder { format!("{name}/") } else { name };
                skipped.push(SkippedInput::hidden(name, bytes, is_data));
            }
            continue;
        }
        if is_folder
            && walk.leaves_out_packages()
            && let Some(ours) = packages::of_folder(path)?
        {
            entries.skip_current_dir();
            skipped.push(ours.skipped(relative_name(&walk.base, path)?, 0));
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
        if !entry.file_type().is_file() {
            let reason = "not a regular file".to_owned();
            skipped.push(SkippedInput { name, bytes: 0, code: SkipCode::NotAFile, reason });
            continue;
        }
        match classify(source.format, path)? {
            Some((format, codec)) => {
                let file = source_file(&walk.base, path, format, codec)?;
                if file.bytes == 0 && format.is_text() && source.on_empty_file == OnEmptyFile::Skip {
                    skipped.push(SkippedInput::empty(file.name));
                } else {
                    files.push(file);
                }
            }
            None => {
                let bytes = entry.metadata().map_err(walk_error)?.len();
                skipped.push(SkippedInput::unknown_format(name, bytes));
            }
        }
    }
    if files.is_empty() && !skipped.iter().any(is_empty) {
        return Err(no_file(source, &walk, &skipped, folders_matched));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let files = same_file::keep_one(&walk.base, files, &mut skipped)?;
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(FileListing { files, skipped, adjacent: Vec::new() })
}

/// A file that is there and holds nothing: its source is not missing.
pub(super) fn is_empty(skipped: &SkippedInput) -> bool {
    skipped.code == SkipCode::Empty
}

pub(super) fn no_file(source: &Source, walk: &Walk, skipped: &[SkippedInput], folders_matched: bool) -> ListError {
    let others = skipped.iter().filter(|file| file.code == SkipCode::UnknownFormat).count();
    let packages = skipped.iter().filter(|file| file.code == SkipCode::Package).count();
    let looked_for = match (source.format, others) {
        _ if packages > 0 => {
            format!("it holds {packages} of kt-export's own packages, chains or jobs and no other data")
        }
        _ if walk.glob.is_some() && folders_matched => "it matches folders only; end it with /**".to_owned(),
        (Some(_), _) => "looked for any file that is not hidden".to_owned(),
        (None, 0) => format!("looked for {KNOWN_EXTENSIONS}"),
        (None, n) => format!("looked for {KNOWN_EXTENSIONS}; skipped {n} with other extensions"),
    };
    ListError::NoFile { uri: source.uri.value.clone(), looked_for }
}

fn is_not_found(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

fn walk_error(error: walkdir::Error) -> ListError {
    let path = error.path().map_or_else(|| "the source".to_owned(), show);
    match error.loop_ancestor() {
        Some(ancestor) => ListError::LinkLoop { path, ancestor: show(ancestor) },
        None => ListError::Io { path, source: error.into() },
    }
}

/// The name below the base with `/` on every system.
fn relative_name(base: &Path, path: &Path) -> Result<String, ListError> {
    let below = path.strip_prefix(base).unwrap_or(path);
    let mut name = String::new();
    for component in below.components() {
        let Component::Normal(part) = component else { continue };
        let Some(part) = part.to_str() else { return Err(ListError::NotUtf8 { path: show(path) }) };
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(part);
    }
    Ok(name)
}

fn source_file(base: &Path, path: &Path, format: SourceFormat, codec: Codec) -> Result<SourceFile, ListError> {
    let io = |source| ListError::Io { path: show(path), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let name = relative_name(base, path)?;
    let constants = hive::keys_of(&name);
    let modified = file::modified(&metadata).map_err(io)?;
    Ok(SourceFile {
        at: path.to_owned().into(),
        name,
        bytes: metadata.len(),
        modified,
        etag: None,
        format,
        codec,
        constants,
    })
}

/// Modification time to the nanosecond.
/// Format and compression of a file; `None` where nothing tells the format.
pub(super) fn classify(
    declared: Option<SourceFormat>,
    path: &Path,
) -> Result<Option<(SourceFormat, Codec)>, ListError> {
    let extension = |p: &Path| p.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let outer = extension(path);
    let (codec, inner) = match outer.as_str() {
        "gz" => (Codec::Gzip, extension(Path::new(path.file_stem().unwrap_or_default()))),
        "zst" => (Codec::Zstd, extension(Path::new(path.file_stem().unwrap_or_default()))),
        other if FOREIGN_COMPRESSIONS.contains(&other) => {
            // Without a declared format, `x.csv.bz2` is surely data and `x.zip` is not known to be.
            let inner = extension(Path::new(path.file_stem().unwrap_or_default()));
            if declared.is_some() || format_of(&inner).is_some() {
                return Err(ListError::Compression { path: show(path), extension: outer });
            }
            return Ok(None);
        }
        _ => (Codec::Plain, outer),
    };
    let Some(format) = declared.or_else(|| format_of(&inner)) else { return Ok(None) };
    let columnar = match format {
        SourceFormat::Parquet => Some("Parquet"),
        SourceFormat::Arrow => Some("Arrow"),
        _ => None,
    };
    match columnar {
        Some(format) if codec != Codec::Plain => Err(ListError::DoublyCompressed { path: show(path), format }),
        _ => Ok(Some((format, codec))),
    }
}

/// The format that a lower-case extension names.
fn format_of(extension: &str) -> Option<SourceFormat> {
    Some(match extension {
        "parquet" | "pq" => SourceFormat::Parquet,
        "ndjson" | "jsonl" => SourceFormat::Ndjson,
        "json" => SourceFormat::Json,
        "csv" => SourceFormat::Csv,
        "arrow" | "ipc" | "feather" => SourceFormat::Arrow,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
