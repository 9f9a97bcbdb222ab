//! Downloads a finished package to a local disk and verifies it.
//!
//! The shards of a package, wherever it is, become either one file ([`Form::Joined`]) or a copy of the package
//! ([`Form::Shards`]). Every stored byte is hashed while it passes and compared with what the manifest says of it.
//!
//! Invariants:
//!
//! - A final name is either complete and matches the manifest, or missing: bytes are written to `<name>.part`, synced
//!   and renamed.
//! - What is interrupted goes on where the last whole shard ended, for the same manifest and the same form only.
//! - Names in a manifest must stay below the target; all are checked before the first byte is written.
//! - Memory and open files do not grow with the number of shards, but for Parquet's footer.

mod error;
mod part;
mod row_groups;
mod shards;
mod source;
mod splice;
mod target;
mod text;

use std::path::{Path, PathBuf};

use self::splice::Splice;
use crate::export_format::ExportFormat;
use crate::job;
use crate::package::manifest::EncryptionRecord;
use crate::package::{FileError, Package, PackageFile};
use crate::seal::{AGE_EXTENSION, Identities};
use crate::source::files::reads_file;
use crate::stop::Stop;

pub(crate) use self::error::DownloadError;
pub(crate) use self::part::write_new;

/// What a package becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One file of all shards, in the order of the manifest.
    Joined,
    /// A package of its own: every file as it is stored, under its name in the manifest.
    Shards,
}

/// What to bring where.
pub(crate) struct Download<'a> {
    /// The package.
    pub package: &'a Package,
    /// The file or, for [`Form::Shards`], the folder. A folder that is there, or a path that ends with `/`, gets a joined
    /// file named `<name>-<window_label>.<format>`. The extension of a joined file decides its compression: `.gz`,
    /// `.zst`, else none.
    pub to: PathBuf,
    /// As one file or as shards.
    pub form: Form,
    /// What the package was exported from, if that is known. A target that it would read is refused, because the next export
    /// would contain the rows twice.
    pub source: Option<&'a job::SourceSettings>,
    /// Read encrypted shards, which [`Form::Joined`] must; [`Form::Shards`] leaves them as they are.
    pub identities: &'a Identities,
    /// Asked between blocks.
    pub stop: &'a Stop,
    /// Called with the number of stored bytes done, including those of an earlier download.
    pub progress: &'a dyn Fn(u64),
}

/// What is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Downloaded {
    /// The file or folder.
    pub path: PathBuf,
    /// Shards in it.
    pub files: usize,
    /// Rows in it, as the manifest counts them.
    pub rows: u64,
    /// Size of what is there: of the joined file, or of all files together.
    pub bytes: u64,
    /// Shards that an earlier, interrupted download had brought.
    pub resumed_files: usize,
}

/// Brings the shards of a package to a local disk. A package that is not complete gives what it has.
///
/// # Errors
/// [`DownloadError`]; [`DownloadError::exit`] gives its kind. What is whole by then stays for the next download, under
/// names that are not final.
pub(crate) fn download(request: &Download<'_>) -> Result<Downloaded, DownloadError> {
    let manifest = &request.package.manifest;
    let shards = shards_of(request.package)?;
    match request.form {
        Form::Shards => shards::download(request, &shards),
        Form::Joined => {
            let is_locked =
                |shard: &&PackageFile<'_>| shard.path.ends_with(AGE_EXTENSION) && request.identities.is_empty();
            if let Some(shard) = shards.iter().find(is_locked) {
                return Err(DownloadError::Encrypted { shard: shard.path.to_owned() });
            }
            if let Some(EncryptionRecord::Parquet { .. }) = manifest.encryption {
                return Err(DownloadError::EncryptedParquet);
            }
            if shards.is_empty() {
                return Err(DownloadError::NoShards { status: manifest.status });
            }
            let target = target::Target::of(request)?;
            let splice = match manifest.export_format {
                ExportFormat::Csv => Splice::csv(manifest)?,
                ExportFormat::Ndjson => Splice::Ndjson,
                ExportFormat::Json => Splice::Json,
                ExportFormat::Parquet => return row_groups::join(request, &shards, target),
            };
            text::join(request, &shards, target, splice)
        }
    }
}

/// Refuses a file that the source of the package would read.
fn check_outside_source(request: &Download<'_>, file: &Path) -> Result<(), DownloadError> {
    let Some(source) = request.source else { return Ok(()) };
    source.uris.iter().try_for_each(|uri| {
        let text = || uri.as_str().to_owned();
        match reads_file(source, uri, file) {
            Ok(true) => Err(DownloadError::InSource { path: file.to_owned(), uri: text() }),
            Ok(false) => Ok(()),
            Err(error) => Err(DownloadError::Source { uri: text(), source: error }),
        }
    })
}

/// The shards that have a file. Refuses names that this download needs for itself.
fn shards_of(package: &Package) -> Result<Vec<PackageFile<'_>>, DownloadError> {
    let shards = package.shards()?;
    match package.manifest.digests().find(|(path, _)| path.ends_with(part::PART)) {
        Some((path, _)) => {
            let why = format!("it ends with `{}`, as unfinished files do", part::PART);
            Err(FileError::Entry { path: path.to_owned(), why }.into())
        }
        None => Ok(shards),
    }
}

fn rows_of(shards: &[PackageFile<'_>]) -> u64 {
    shards.iter().fold(0, |sum, shard| sum.saturating_add(shard.rows))
}

#[cfg(test)]
mod tests;
