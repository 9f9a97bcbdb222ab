//! The target of a joined download: file name and the compression implied by its extension.

use std::path::PathBuf;

use super::{Download, DownloadError, check_outside_source};
use crate::export_format::{ExportCompression, ExportFormat};
use crate::job::Compression;
use crate::package::manifest::Manifest;
use crate::seal::compression_of;
use crate::store::check_name;

/// A final name.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
}

impl Target {
    pub(super) fn of(request: &Download<'_>) -> Result<Self, DownloadError> {
        let format = request.package.manifest.export_format;
        let ends_with_slash = request.to.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
        let path = if ends_with_slash || request.to.is_dir() {
            request.to.join(default_name(&request.package.manifest)?)
        } else {
            request.to.clone()
        };
        let Some(name) = path.file_name() else { return Err(DownloadError::NoName { path }) };
        let name = name.to_string_lossy().to_ascii_lowercase();
        let compression = compression_of(&name);
        let (stem, _) = ExportCompression::split_name(&name);
        if let Some(named) = stem.rsplit_once('.').and_then(|(_, extension)| ExportFormat::of_extension(extension))
            && named != format
        {
            return Err(DownloadError::OtherFormat { path, named: named.as_str(), format: format.as_str() });
        }
        if format.facts().compresses_pages && compression != Compression::None {
            return Err(DownloadError::CompressedParquet { path });
        }
        check_outside_source(request, &path)?;
        if ends_with_slash {
            let made = std::fs::create_dir_all(&request.to);
            made.map_err(|source| DownloadError::Disk { action: "make", path: request.to.clone(), source })?;
        }
        Ok(Self { path, compression })
    }
}

/// Name and label come from an untrusted file.
fn default_name(manifest: &Manifest) -> Result<String, DownloadError> {
    let name = format!("{}-{}.{}", manifest.name, manifest.window_label, manifest.export_format.as_str());
    if check_name(&name).is_err() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(DownloadError::UnfitName { name });
    }
    Ok(name)
}
