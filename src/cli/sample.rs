//! `sample`: rows drawn by a seed, one JSON object a line on stdout, or all in one object.

use std::io::Write;

use super::Talk;
use super::args::SampleArgs;
use super::keys::read_keys;
use super::pack::{open, refuse};
use crate::audit::sample::{self, SampleError, Sampled, SampledRow};
use crate::error::Exit;
use crate::failure::chain;
use crate::package::manifest::JobStatus;

/// Draws.
pub fn sample(args: &SampleArgs, talk: &Talk) -> Exit {
    let package = match open(&args.package) {
        Ok(package) => package,
        Err((exit, why)) => return refuse(talk, exit, &why),
    };
    let keys = match read_keys(&args.keys) {
        Ok(keys) => keys,
        Err(why) => return refuse(talk, Exit::Usage, &why),
    };
    let mut kept: Vec<SampledRow> = Vec::new();
    let mut out = std::io::stdout().lock();
    let sampled = sample::sample(&package, args.rows, args.seed, &keys, |row| {
        if talk.json {
            kept.push(row);
            return Ok(());
        }
        // Its keys are text, so that nothing but writing can fail.
        let mut line = serde_json::to_string(&row)?;
        line.push('\n');
        out.write_all(line.as_bytes())
    });
    let sampled = match sampled.and_then(|sampled| out.flush().map(|()| sampled).map_err(SampleError::Write)) {
        Ok(sampled) => sampled,
        // A reader that went away has seen enough.
        Err(SampleError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Exit::Complete,
        Err(error) => return refuse(talk, error.exit(), &chain(&error)),
    };
    drop(out);
    tell(&sampled, args.rows, talk);
    if talk.json {
        return talk.print_json(&Answer { sampled, rows: kept });
    }
    Exit::Complete
}

/// The one object.
#[derive(serde::Serialize)]
struct Answer {
    #[serde(flatten)]
    sampled: Sampled,
    rows: Vec<SampledRow>,
}

fn tell(sampled: &Sampled, rows: u64, talk: &Talk) {
    let Sampled { package, seed, population, files, files_read, .. } = sampled;
    let drawn = rows.min(*population);
    talk.say(&format!(
        "{package}: {drawn} of {population} rows by seed {seed}; {files_read} of {files} shards read, each with the digest \
         that the manifest says"
    ));
    talk.say(&format!("drawn for the manifest with SHA-256 {}", sampled.manifest_sha256));
    if sampled.status != JobStatus::Complete {
        talk.complain(&format!(
            "warning: the package is {}: only rows that are in its shards can be drawn",
            sampled.status
        ));
    }
}
