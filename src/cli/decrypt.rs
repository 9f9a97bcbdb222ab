//! `decrypt`: decrypts age files, for machines without `age -d`. A file gets its final name once all of it has been
//! authenticated. Bytes written to stdout cannot be taken back: each block is authentic, but only exit code 0 means
//! that the output is complete.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::DecryptArgs;
use super::environment::variables;
use super::{Console, repeated, signals};
use crate::diagnostic::masked;
use crate::download::{DownloadError, write_new};
use crate::error::Exit;
use crate::failure::chain;
use crate::seal::{self, AGE_EXTENSION, Identities, OpenError};
use crate::stop::Stop;

/// As an input, standard input; as an output, standard output.
const STANDARD: &str = "-";

/// Size of the copy buffer in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// The JSON record of one file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Decrypts every file; the worst outcome is the exit code.
pub(super) fn decrypt(args: &DecryptArgs, console: &Console) -> Exit {
    let prepared = targets(args, console).and_then(|targets| Ok((targets, identities(args)?)));
    let (targets, identities) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            console.error(&format!("error: {why}"));
            return Exit::Usage;
        }
    };
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(why) => {
            console.error(&format!("error: {why}"));
            return Exit::Failed;
        }
    };
    let mut worst = Exit::Complete;
    let mut reports = Vec::new();
    for (file, target) in args.files.iter().zip(targets) {
        let output = target.as_deref().map(repeated);
        let name = repeated(Path::new(file));
        let report = match one(file, target.as_deref(), &identities, &stop) {
            Ok(bytes) => {
                if let Some(output) = &output {
                    console.info(&format!("{output}: {bytes} bytes"));
                }
                FileReport { file: name, output, bytes: Some(bytes), error: None }
            }
            Err(error) => {
                let why = chain(&error);
                console.error(&format!("error: {why}"));
                worst = worst.worst(error.exit());
                FileReport { file: name, output: None, bytes: None, error: Some(masked(&why).into_owned()) }
            }
        };
        reports.push(report);
        if stop.exit().is_some() {
            break;
        }
    }
    if console.json {
        console.print_json(&serde_json::json!({"version": 1, "exit_code": worst.code(), "files": reports}));
    }
    worst
}

/// The output of each file; `None` is stdout.
fn targets(args: &DecryptArgs, console: &Console) -> Result<Vec<Option<PathBuf>>, String> {
    let is_folder = |path: &Path| path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let target = |file: &String| match args.output.as_deref() {
        Some(output) if output == Path::new(STANDARD) => Ok(None),
        None if file == STANDARD => Ok(None),
        Some(folder) if is_folder(folder) => {
            let name = Path::new(plain_name(file)?).file_name().ok_or_else(|| format!("{file} is not a file"))?;
            Ok(Some(folder.join(name)))
        }
        Some(output) => Ok(Some(output.to_owned())),
        None => Ok(Some(PathBuf::from(plain_name(file)?))),
    };
    let targets: Vec<Option<PathBuf>> = args.files.iter().map(target).collect::<Result<_, String>>()?;
    let to_one = args.output.as_deref().is_some_and(|output| !is_folder(output));
    if targets.len() > 1 && to_one {
        return Err("cannot decrypt several files into one file: give a folder with `--output`, or leave it \
            out"
        .to_owned());
    }
    if targets.contains(&None) && console.json {
        return Err("`--json` and the decrypted bytes cannot both go to stdout: give a file with `--output`".to_owned());
    }
    Ok(targets)
}

/// The name without `.age`.
fn plain_name(file: &str) -> Result<&str, String> {
    let plain = file.strip_suffix(AGE_EXTENSION).filter(|plain| !plain.is_empty() && !plain.ends_with('/'));
    plain.ok_or_else(|| {
        format!(
            "{file} does not end with {AGE_EXTENSION}: give a name for the decrypted file with \
        `--output`"
        )
    })
}

fn identities(args: &DecryptArgs) -> Result<Identities, String> {
    let identities = Identities::of_files(&args.identities.identity).map_err(|error| chain(&error))?;
    let identities = match &args.passphrase_env {
        Some(name) => {
            let variables = variables();
            let unset = || format!("the environment variable {name} is not set; set it to the passphrase");
            identities.and_passphrase(variables.get(name).filter(|text| !text.is_empty()).ok_or_else(unset)?)
        }
        None => identities,
    };
    if identities.is_empty() {
        return Err("no key to decrypt with: give `--identity FILE` or `--passphrase-env NAME`".to_owned());
    }
    Ok(identities)
}

/// Decrypts one file and returns its plain size in bytes.
fn one(file: &str, target: Option<&Path>, identities: &Identities, stop: &Stop) -> Result<u64, DownloadError> {
    let locked = |why| DownloadError::Locked { shard: file.to_owned(), why };
    let stored: Box<dyn Read> = if file == STANDARD {
        Box::new(io::stdin().lock())
    } else {
        let path = Path::new(file);
        let opened = File::open(path);
        Box::new(opened.map_err(|source| DownloadError::Disk { action: "read", path: path.to_owned(), source })?)
    };
    let mut plain = seal::decrypt(stored, identities).map_err(locked)?;
    let mut copy = |out: &mut dyn Write, path: &Path| {
        let mut block = vec![0; BLOCK_BYTES];
        let mut bytes = 0;
        let wrong = |source| DownloadError::Disk { action: "write", path: path.to_owned(), source };
        loop {
            if let Some(exit) = stop.exit() {
                return Err(DownloadError::Stopped { exit });
            }
            match plain.read(&mut block) {
                Ok(0) => return out.flush().map(|()| bytes).map_err(wrong),
                Ok(n) => {
                    out.write_all(block.get(..n).unwrap_or_default()).map_err(wrong)?;
                    bytes += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(locked(OpenError::Read(error))),
            }
        }
    };
    let Some(target) = target else { return copy(&mut io::stdout().lock(), Path::new("standard output")) };
    let mut bytes = 0;
    write_new(target, |file| -> Result<(), DownloadError> {
        bytes = copy(file, target)?;
        Ok(())
    })?;
    Ok(bytes)
}
