//! `sample`: rows drawn by a seed, as one JSON object per line or one object with `--json`.

use std::io::Write;

use super::Console;
use super::args::SampleArgs;
use super::pack::{open, refuse};
use super::read_keys::read_keys;
use crate::audit::sample::{self, SampleError, SampleSummary, SampledRow};
use crate::error::Exit;
use crate::failure::chain;
use crate::package::manifest::JobStatus;

/// Draws.
pub(super) fn sample(args: &SampleArgs, console: &Console) -> Exit {
    let package = match open(&args.package) {
        Ok(package) => package,
        Err((exit, why)) => return refuse(console, exit, &why),
    };
    let keys = match read_keys(&args.keys) {
        Ok(keys) => keys,
        Err(why) => return refuse(console, Exit::Usage, &why),
    };
    let mut kept: Vec<SampledRow> = Vec::new();
    let mut out = std::io::stdout().lock();
    let sampled = sample::sample(&package, args.rows, args.seed, &keys, |row| {
        if console.json {
            kept.push(row);
            return Ok(());
        }
        // Keys are strings, so serialization cannot fail.
        let mut line = serde_json::to_string(&row)?;
        line.push('\n');
        out.write_all(line.as_bytes())
    });
    let sampled = match sampled.and_then(|sampled| out.flush().map(|()| sampled).map_err(SampleError::Write)) {
        Ok(sampled) => sampled,
        // A broken pipe is not an error.
        Err(SampleError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Exit::Complete,
        Err(error) => return refuse(console, error.exit(), &chain(&error)),
    };
    drop(out);
    print_result(&sampled, args.rows, console);
    if console.json {
        return console.print_json(&Answer { sampled, rows: kept });
    }
    Exit::Complete
}

/// The one object.
#[derive(serde::Serialize)]
struct Answer {
    #[serde(flatten)]
    sampled: SampleSummary,
    rows: Vec<SampledRow>,
}

fn print_result(sampled: &SampleSummary, rows: u64, console: &Console) {
    let SampleSummary { package, seed, population, files, files_read, .. } = sampled;
    let drawn = rows.min(*population);
    console.info(&format!(
        "{package}: {drawn} of {population} rows with seed {seed}; read {files_read} of {files} shards, all digests \
         match the manifest"
    ));
    console.info(&format!("SHA-256 of the manifest: {}", sampled.manifest_sha256));
    if sampled.status != JobStatus::Complete {
        console.error(&format!("warning: the package is {}: only rows in its shards can be drawn", sampled.status));
    }
}
