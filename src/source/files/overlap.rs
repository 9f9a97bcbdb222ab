//! Finds outputs inside the source, and sources inside the output. Otherwise, the next job over the source would read the
//! files that this job, or a download of it, writes.

use std::path::{Component, Path, PathBuf};

use super::list::{Kind, ListError, Walk, has_wildcard};
use crate::export_format::ExportFormat;
use crate::job::{SourceSettings, SourceUri};
use crate::package::layout::{DATA, MANIFEST, REJECTS, REPORT};
use crate::store::{Location, ObjectLocation, Scheme};

/// Sample names for the files of a package. A glob that matches one of them would read packages.
fn samples() -> [String; 4] {
    [format!("{DATA}x/part-0000"), format!("{REJECTS}x"), MANIFEST.to_owned(), REPORT.to_owned()]
}

/// Extensions of rejects, and of shards that a source could read, with their first dot; also none.
fn extensions() -> impl Iterator<Item = String> {
    let of_shards = |format: ExportFormat| {
        format.facts().compressions.iter().map(move |compression| format!(".{}", format.extensions(*compression)))
    };
    std::iter::once(String::new()).chain(ExportFormat::ALL.into_iter().flat_map(of_shards))
}

/// Refuses a source that may read the job's output, and an output that contains the source.
///
/// # Errors
/// [`ListError::OutputInSource`], [`ListError::SourceInOutput`], or the error of an invalid source URI.
pub(super) fn check(source: &SourceSettings, output: &Location) -> Result<(), ListError> {
    source.uris.iter().try_for_each(|uri| check_uri(source, uri.as_str(), output).map_err(|error| error.of(Some(uri))))
}

fn check_uri(source: &SourceSettings, uri: &str, output: &Location) -> Result<(), ListError> {
    let (from, to) = match (Location::parse(uri, &source.options)?, output) {
        (Location::Local(path), Location::Local(to)) => (SourceFolder::local(path, uri)?, real(to)),
        (Location::Object(from), Location::Object(to)) if is_same_store(&from, to) => {
            let key = Path::new(&from.key);
            let walk = if has_wildcard(&from.key) { Walk::of_glob(key, uri)? } else { Walk::of_folder(key.to_owned()) };
            (SourceFolder { base: walk.base.clone(), walk }, PathBuf::from(&to.key))
        }
        _ => return Ok(()),
    };
    let (uri, output) = (uri.to_owned(), output.to_string());
    if from.base != to && from.base.starts_with(&to) {
        return Err(ListError::SourceInOutput { uri, output });
    }
    if to.starts_with(&from.base) && from.reads(&to) {
        return Err(ListError::OutputInSource { uri, output });
    }
    Ok(())
}

/// Whether a URI of the source would read a local file, which need not be there yet.
///
/// # Errors
/// The error of an invalid URI.
pub(crate) fn reads_file(source: &SourceSettings, uri: &SourceUri, file: &Path) -> Result<bool, ListError> {
    let uri = uri.as_str();
    let Location::Local(path) = Location::parse(uri, &source.options)? else { return Ok(false) };
    let folder = SourceFolder::local(path, uri)?;
    let file = real(file);
    let Some(below) = folder.visible(&file) else { return Ok(false) };
    let is_named = folder.walk.glob.as_ref().is_none_or(|glob| glob.is_match(folder.walk.base.join(below)));
    // What is refused for its compression would stop the next job.
    Ok(is_named && !matches!(Kind::of(source, &file), Ok(Kind::Other)))
}

/// A folder that a source reads.
struct SourceFolder {
    /// The path with links resolved.
    base: PathBuf,
    walk: Walk,
}

impl SourceFolder {
    fn local(path: PathBuf, uri: &str) -> Result<Self, ListError> {
        let is_glob = has_wildcard(uri) && !path.exists();
        let walk = if is_glob { Walk::of_glob(&path, uri)? } else { Walk::of_folder(path) };
        // A glob matches paths as the spec writes them, so names are tested below its own base.
        Ok(Self { base: real(&walk.base), walk })
    }

    /// The part of a path below the folder, unless some of it is hidden.
    fn visible<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.base).ok().filter(|below| below.iter().all(|name| self.walk.visible(name)))
    }

    /// Whether a file of a package in a folder below would be read.
    fn reads(&self, package: &Path) -> bool {
        let Some(below) = self.visible(package) else { return false };
        let Some(glob) = &self.walk.glob else { return true };
        let folder = self.walk.base.join(below);
        samples()
            .iter()
            .any(|name| extensions().any(|extension| glob.is_match(folder.join(format!("{name}{extension}")))))
    }
}

/// Resolves links and `..` in the existing part of a path.
fn real(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        if let Ok(mut real) = there.canonicalize() {
            for name in missing.into_iter().rev() {
                match name {
                    Component::ParentDir => drop(real.pop()),
                    Component::CurDir => {}
                    other => real.push(other),
                }
            }
            return real;
        }
        let Some(last) = there.components().next_back() else { return path.to_owned() };
        missing.push(last);
        match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => there = parent,
            _ => return path.to_owned(),
        }
    }
}

/// Whether two locations may be in one bucket. An endpoint from the environment is the same for both.
fn is_same_store(a: &ObjectLocation, b: &ObjectLocation) -> bool {
    let is_azure = |scheme| matches!(scheme, Scheme::Az | Scheme::Abfss);
    let container = |at: &ObjectLocation| at.authority.split('@').next().unwrap_or_default().to_owned();
    let is_same_bucket = if is_azure(a.scheme) && is_azure(b.scheme) {
        container(a) == container(b)
    } else {
        a.scheme == b.scheme && a.authority == b.authority
    };
    let differ = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
    is_same_bucket
        && !differ(&a.options.endpoint, &b.options.endpoint)
        && !differ(&a.options.account, &b.options.account)
}
