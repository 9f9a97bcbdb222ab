//! `pack`: a package as one tar for an auditor.

use std::io::Write;

use jiff::Timestamp;

use super::args::PackArgs;
use super::{Talk, signals};
use crate::audit::pack::{self, PackError, Packed};
use crate::error::Exit;
use crate::failure::chain;
use crate::package::Package;
use crate::store::{Location, StoreOptions};

/// Packs.
pub fn pack(args: &PackArgs, talk: &Talk) -> Exit {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && talk.json {
        return refuse(
            talk,
            Exit::Usage,
            "stdout cannot hold both the tar and the JSON object: give `--output` a file",
        );
    }
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(why) => return refuse(talk, Exit::Failed, &why),
    };
    let package = match open(&args.package) {
        Ok(package) => package,
        Err((exit, why)) => return refuse(talk, exit, &why),
    };
    let packed = if to_stdout {
        let mut out = std::io::stdout().lock();
        let packed = pack::pack(&package, &mut out, &stop);
        packed.and_then(|packed| out.flush().map(|()| packed).map_err(PackError::Write))
    } else {
        pack::pack_into(&package, &args.output, &stop)
    };
    match packed {
        Ok(packed) => tell(args, &package, &packed, talk),
        Err(error) => refuse(talk, error.exit(), &chain(&error)),
    }
}

fn tell(args: &PackArgs, package: &Package, packed: &Packed, talk: &Talk) -> Exit {
    let Packed { folder, files, bytes, sha256 } = packed;
    talk.say(&format!("{}: {files} files, {bytes} bytes, in the folder {folder}", args.output.display()));
    talk.say(&format!("SHA-256 of the tar, for the working papers: {sha256}"));
    talk.say(&format!("SHA-256 of its manifest.json: {}", package.manifest_sha256));
    if talk.json {
        return talk.print_json(&serde_json::json!({
            "version": 1, "output": args.output, "sha256": sha256, "bytes": bytes, "files": files, "folder": folder,
            "job_id": package.manifest.id, "manifest_sha256": package.manifest_sha256,
        }));
    }
    Exit::Complete
}

/// The package that a command line names, or an exit code and why not.
pub(super) fn open(uri: &str) -> Result<Package, (Exit, String)> {
    let at = Location::parse(uri, &StoreOptions::default()).map_err(|error| (Exit::Usage, error.to_string()))?;
    Package::open(&at, Timestamp::now()).map_err(|error| (error.exit(), chain(&error)))
}

/// Says why there is nothing, to people and to programs.
pub(super) fn refuse(talk: &Talk, exit: Exit, why: &str) -> Exit {
    talk.complain(&format!("error: {why}"));
    if talk.json {
        talk.print_json(&serde_json::json!({"version": 1, "exit_code": exit.code(), "error": why}));
    }
    exit
}
