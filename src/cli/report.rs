//! `report`: renders a package's manifest for people. The page goes to stdout or to a file. HTML on a terminal is
//! refused.

use std::fs;
use std::io::{IsTerminal, Write};

use super::args::{ReportArgs, ReportFormat};
use super::{Console, repeated};
use crate::diagnostic::masked;
use crate::digest::sha256;
use crate::error::Exit;
use crate::failure::chain;
use crate::package::layout::MANIFEST;
use crate::package::manifest::Manifest;
use crate::report;
use crate::store::{Folder, Location, StoreError, StoreOptions};

/// A page and the manifest it shows.
struct Made {
    manifest: Manifest,
    manifest_sha256: String,
    page: String,
}

/// Reports on one package.
pub(super) fn report(args: &ReportArgs, console: &Console) -> Exit {
    match try_report(args, console) {
        Ok(exit) => exit,
        Err((exit, why)) => {
            console.error(&format!("error: {why}"));
            if console.json {
                console.print_json(
                    &serde_json::json!({"version": 1, "package": masked(&args.package), "error": masked(&why)}),
                );
            }
            exit
        }
    }
}

fn try_report(args: &ReportArgs, console: &Console) -> Result<Exit, (Exit, String)> {
    let file = args.output.as_deref().filter(|output| output.as_os_str() != "-");
    let is_html = args.format == ReportFormat::Html;
    if is_html && file.is_none() && !console.json && std::io::stdout().is_terminal() {
        let why = "HTML is not printed to a terminal: give a file with `--output report.html`, or use `--format \
            markdown`";
        return Err((Exit::Usage, why.to_owned()));
    }
    let Made { manifest, manifest_sha256, page } = make(&args.package, is_html)?;
    if let Some(file) = file {
        let cannot = |error| format!("cannot write {}: {error}; give another file with `--output`", file.display());
        fs::write(file, &page).map_err(|error| (Exit::Failed, cannot(error)))?;
    }
    if console.json {
        let mut object = serde_json::json!({
            "version": 1, "package": args.package, "job_id": manifest.id, "status": manifest.status,
            "manifest_sha256": manifest_sha256, "format": if is_html { "html" } else { "markdown" },
            "output": file.map(repeated), "bytes": page.len(), "sha256": sha256(page.as_bytes()),
        });
        if file.is_none() {
            object["report"] = page.into();
        }
        return Ok(console.print_json(&object));
    }
    match file {
        Some(file) => console.info(&format!("{}: {}, {}", file.display(), manifest.name, manifest.status)),
        None => return print_whole(&page),
    }
    Ok(Exit::Complete)
}

/// Prints byte for byte; a broken pipe is not an error.
fn print_whole(page: &str) -> Result<Exit, (Exit, String)> {
    let mut out = std::io::stdout().lock();
    match out.write_all(page.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err((Exit::Failed, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(Exit::Complete),
    }
}

fn make(package: &str, is_html: bool) -> Result<Made, (Exit, String)> {
    let at = Location::parse(package, &StoreOptions::default()).map_err(|e| (Exit::Usage, e.to_string()))?;
    let failed = |error: StoreError| {
        let exit = if error.code().is_retryable() { Exit::TryLater } else { Exit::Failed };
        (exit, format!("{at}: {}", chain(&error)))
    };
    // Same texts and exit code as `verify`.
    let refused = |why: String| (Exit::VerifyFailed, format!("{at}: {why}"));
    // A symlink to a package is accepted.
    let real = match &at {
        Location::Local(root) => fs::canonicalize(root).map(Location::Local).unwrap_or_else(|_| at.clone()),
        object => object.clone(),
    };
    let folder = Folder::existing(real).map_err(failed)?;
    let folder = folder.ok_or_else(|| refused("the folder does not exist".to_owned()))?;
    let bytes = folder.read(MANIFEST).map_err(failed)?;
    let missing =
        || refused(format!("{MANIFEST}: is missing: either no run has finished here, or the file was deleted"));
    let bytes = bytes.ok_or_else(missing)?;
    let manifest = Manifest::from_json(&bytes);
    let manifest = manifest.map_err(|error| refused(format!("{MANIFEST}: cannot be read: {}", chain(&error))))?;
    let manifest_sha256 = sha256(&bytes);
    let page =
        if is_html { report::html(&manifest, &manifest_sha256) } else { report::markdown(&manifest, &manifest_sha256) };
    let page = page.map_err(|error| (Exit::Internal, chain(&error)))?;
    Ok(Made { manifest, manifest_sha256, page })
}
