//! Files named by a spec, and the catalog found without being named.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, Located, SourceText, Span, escaped};
use crate::limits;
use crate::resolve::Environment;
use crate::small_file;
use crate::spec::{self, FileKind};
use crate::store::split_scheme;
use crate::yaml;

/// Default name of a catalog.
const CATALOG_NAME: &str = "catalog.yaml";

/// Reads a file that should be UTF-8 and small. A relative path starts at the current folder.
pub(super) fn read(path: &Path, environment: &Environment) -> Result<Arc<SourceText>, Vec<Diagnostic>> {
    let shown_path = escaped(&path.display().to_string());
    let unreadable = |error: std::io::Error| {
        vec![Diagnostic { message: format!("cannot read {shown_path}: {error}"), span: None, help: None }]
    };
    let read = small_file::read_regular(&environment.current_dir.join(path), limits::TEXT_BYTES as u64);
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            let source = Arc::new(SourceText { path: path.to_owned(), text: String::new() });
            let message = format!("the file is larger than {} bytes", limits::TEXT_BYTES);
            return Err(vec![
                Diagnostic::at(Some(&Span { source, start: 0, end: 0 }), message)
                    .help("a spec is some kilobytes of YAML; is this the right file?"),
            ]);
        }
        Err(error) => return Err(unreadable(error)),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(SourceText { path: path.to_owned(), text })),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let end = valid + char::REPLACEMENT_CHARACTER.len_utf8();
            let source = Arc::new(SourceText { path: path.to_owned(), text });
            let mistake = Diagnostic::at(Some(&Span { source, start: valid, end }), "the file is not UTF-8 text");
            Err(vec![mistake.help("save it as UTF-8")])
        }
    }
}

/// The text of the catalog that the spec names, else of the nearest one; `None` if there is none or it cannot be read,
/// which is a mistake that is added.
pub(super) fn read_catalog(
    spec: &Arc<SourceText>,
    named: Option<&Located<String>>,
    environment: &Environment,
    errors: &mut Vec<Diagnostic>,
) -> Option<Arc<SourceText>> {
    let path = match named {
        Some(named) => {
            if split_scheme(&named.value).is_some() {
                let mistake = named.mistake("a catalog is read from a file, not from a store");
                errors.push(mistake.help("write its path, and keep it beside the specs, in version control"));
                return None;
            }
            spec.path.parent().unwrap_or(Path::new("")).join(&named.value)
        }
        None => nearest_catalog(&spec.path, environment)?,
    };
    match read(&path, environment) {
        Ok(source) => Some(source),
        Err(mistakes) => {
            // The place in the spec says more than none at all.
            errors.extend(mistakes.into_iter().map(|mut mistake| {
                if mistake.span.is_none() {
                    mistake.span = named.and_then(|n| n.span.clone());
                    mistake.help = Some("a relative path starts at the folder of the file that names it".to_owned());
                }
                mistake
            }));
            None
        }
    }
}

/// The catalog in a text; `None` after a mistake, which is added.
pub(super) fn parse_catalog(source: &Arc<SourceText>, errors: &mut Vec<Diagnostic>) -> Option<Catalog> {
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(mistakes) => {
            errors.extend(mistakes);
            return None;
        }
    };
    match spec::kind_of(&root) {
        Ok(FileKind::Catalog) => Catalog::decode(&root, errors),
        Ok(FileKind::Spec) => {
            let place = spec::document_place(&root);
            errors.push(Diagnostic::at(Some(&place), "this is a spec, not a catalog").help("a catalog has `types: …`"));
            None
        }
        Err(mistake) => {
            errors.push(mistake);
            None
        }
    }
}

/// The nearest catalog from the spec's folder upward to the repository's root, or to that of the file system.
fn nearest_catalog(spec: &Path, environment: &Environment) -> Option<PathBuf> {
    let folder = environment.current_dir.join(spec.parent()?);
    // Only the real path has parents that mean anything behind `..` and links.
    let folder = folder.canonicalize().unwrap_or(folder);
    let mut searched = folder.as_path();
    loop {
        let candidate = searched.join(CATALOG_NAME);
        if candidate.is_file() {
            return Some(as_named(&candidate, environment));
        }
        if searched.join(".git").exists() {
            return None;
        }
        searched = searched.parent()?;
    }
}

/// A path as the user would write it: relative where it is below the current folder.
fn as_named(path: &Path, environment: &Environment) -> PathBuf {
    let current = environment.current_dir.canonicalize().unwrap_or_else(|_| environment.current_dir.clone());
    path.strip_prefix(&current).map_or_else(|_| path.to_owned(), Path::to_owned)
}

/// The absolute form of a path that starts at the folder of the file that names it; a URI is absolute.
pub(super) fn beside(
    named: &Located<String>,
    environment: &Environment,
    errors: &mut Vec<Diagnostic>,
) -> Option<String> {
    if split_scheme(&named.value).is_some() {
        return Some(named.value.clone());
    }
    let file = named.span.as_ref().map(|span| span.source.path.as_path());
    let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let value = named.value.strip_prefix("./").unwrap_or(&named.value);
    let path = environment.current_dir.join(folder).join(value);
    match path.to_str() {
        Some(path) => Some(path.to_owned()),
        None => {
            let mistake = named.mistake("the path of this file is not UTF-8");
            errors.push(mistake.help("move the files to a folder whose name is UTF-8"));
            None
        }
    }
}
