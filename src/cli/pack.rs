//! `pack`: a package as one tar file for an auditor.

use std::io::Write;

use jiff::Timestamp;

use super::args::PackArgs;
use super::{Console, repeated, signals};
use crate::audit::pack::{self, PackError, Packed};
use crate::diagnostic::masked;
use crate::error::Exit;
use crate::failure::chain;
use crate::package::Package;
use crate::store::{Location, StoreOptions};

/// Packs.
pub(super) fn pack(args: &PackArgs, console: &Console) -> Exit {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && console.json {
        return refuse(
            console,
            Exit::Usage,
            "the tar file and the JSON object cannot both go to stdout: give a file with `--output`",
        );
    }
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(why) => return refuse(console, Exit::Failed, &why),
    };
    let package = match open(&args.package) {
        Ok(package) => package,
        Err((exit, why)) => return refuse(console, exit, &why),
    };
    let packed = if to_stdout {
        let mut out = std::io::stdout().lock();
        let packed = pack::pack(&package, &mut out, &stop);
        packed.and_then(|packed| out.flush().map(|()| packed).map_err(PackError::Write))
    } else {
        pack::pack_into(&package, &args.output, &stop)
    };
    match packed {
        Ok(packed) => print_result(args, &package, &packed, console),
        Err(error) => refuse(console, error.exit(), &chain(&error)),
    }
}

fn print_result(args: &PackArgs, package: &Package, packed: &Packed, console: &Console) -> Exit {
    let Packed { folder, files, bytes, sha256 } = packed;
    console.info(&format!("{}: {files} files, {bytes} bytes, in the folder {folder}", args.output.display()));
    console.info(&format!("SHA-256 of the tar, for the working papers: {sha256}"));
    console.info(&format!("SHA-256 of its manifest.json: {}", package.manifest_sha256));
    if console.json {
        return console.print_json(&serde_json::json!({
            "version": 1, "output": repeated(&args.output), "sha256": sha256, "bytes": bytes, "files": files, "folder": folder,
            "job_id": package.manifest.id, "manifest_sha256": package.manifest_sha256,
        }));
    }
    Exit::Complete
}

/// Opens the package that a command line names; the error is an exit code and a message.
pub(super) fn open(uri: &str) -> Result<Package, (Exit, String)> {
    let at = Location::parse(uri, &StoreOptions::default()).map_err(|error| (Exit::Usage, error.to_string()))?;
    Package::open(&at, Timestamp::now()).map_err(|error| (error.exit(), chain(&error)))
}

/// Reports an error on stderr, and as JSON with `--json`.
pub(super) fn refuse(console: &Console, exit: Exit, why: &str) -> Exit {
    console.error(&format!("error: {why}"));
    if console.json {
        console.print_json(&serde_json::json!({"version": 1, "exit_code": exit.code(), "error": masked(why)}));
    }
    exit
}
