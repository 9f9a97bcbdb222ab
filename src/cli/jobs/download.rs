//! `jobs download`: a job's rows as one file, its shards as a package, or links to its shards.

use std::path::Path;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{CommandError, existing, no_job, record_of};
use crate::cli::args::JobsDownloadArgs;
use crate::cli::{Console, repeated, signals};
use crate::download::{self, Download, Form};
use crate::error::Exit;
use crate::failure::chain;
use crate::job::SourceSettings;
use crate::package::Package;
use crate::package::manifest::JobStatus;
use crate::resolve::Destination;
use crate::seal::Identities;

/// Downloads.
pub(super) fn download(args: &JobsDownloadArgs, console: &Console) -> Result<Exit, CommandError> {
    let jobs = existing(&args.store)?;
    let record = record_of(&jobs, &args.id)?;
    let now = Timestamp::now();
    let Some(view) = jobs.view(&args.id, now)? else { return Err(no_job(&jobs, &args.id)) };
    let folder = jobs.package(&record)?;
    let package = folder.map(|folder| jobs.open_package(&record, folder, now)).transpose()?.flatten();
    let Some(package) = package else {
        let why = format!(
            "{} is {} and has no package yet; wait for it with `jobs get --id {} --watch`",
            view.id, view.status, view.id
        );
        return Err(CommandError::new(super::exit_of(&view), why));
    };
    if args.url {
        return links(args, &package, console);
    }
    let Some(output) = &args.output else { return Err(CommandError::usage("give `--output`, or `--url`")) };
    let status = package.manifest.status;
    if status != JobStatus::Complete {
        console.error(&format!("warning: {} is {}: the download does not contain every row", view.id, status));
    }
    let job = record.resolve_at(&Destination::OfSpec { revision: 0 });
    if let Err(mistakes) = &job {
        let why: Vec<_> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        console.error(&format!(
            "warning: cannot check that {} is outside the source of {}, because its spec cannot be read: {}",
            output.display(),
            view.id,
            why.join("; ")
        ));
    }
    fetch(args, output, &package, job.ok().map(|job| job.source).as_ref(), console)
}

/// Downloads rows or shards.
fn fetch(
    args: &JobsDownloadArgs,
    output: &Path,
    package: &Package,
    source: Option<&SourceSettings>,
    console: &Console,
) -> Result<Exit, CommandError> {
    let identities =
        Identities::of_files(&args.identities.identity).map_err(|error| CommandError::usage(chain(&error)))?;
    let stop = signals::listen().map_err(CommandError::failed)?;
    let bar = if console.terminal && !console.quiet {
        ProgressBar::new(package.manifest.total_bytes)
    } else {
        ProgressBar::hidden()
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
    let downloaded = download::download(&Download {
        package,
        to: output.to_owned(),
        form: if args.shards { Form::Shards } else { Form::Joined },
        source,
        identities: &identities,
        stop: &stop,
        progress: &|bytes| bar.set_position(bytes),
    });
    bar.finish_and_clear();
    let done = downloaded.map_err(|error| match (error.exit(), stop.exit()) {
        (_, Some(exit)) => CommandError::new(exit, format!("{}; run the same command again to resume", chain(&error))),
        (exit, None) => CommandError::new(exit, chain(&error)),
    })?;
    console.info(&format!(
        "{}: {} rows of {} shards, {}, all digests match the manifest",
        done.path.display(),
        HumanCount(done.rows),
        HumanCount(done.files as u64),
        HumanBytes(done.bytes)
    ));
    if console.json {
        console.print_json(&serde_json::json!({
            "version": 1, "path": repeated(&done.path), "rows": done.rows, "files": done.files, "bytes": done.bytes,
            "resumed_files": done.resumed_files,
        }));
    }
    Ok(Exit::Complete)
}

/// Prints a link to each shard.
fn links(args: &JobsDownloadArgs, package: &Package, console: &Console) -> Result<Exit, CommandError> {
    let mut links = Vec::new();
    let (mut limited, mut until) = (None, None);
    for (path, sha256) in package.manifest.digests() {
        let link = package.folder.presign(path, args.expires)?;
        limited = limited.or(link.limited_by);
        until = until.or(link.expires_at);
        links.push(serde_json::json!({
            "path": path, "sha256": sha256, "url": link.url.as_str(), "expires_at": link.expires_at,
        }));
        if !console.json {
            crate::cli::print(link.url.as_str());
        }
    }
    if let Some(why) = limited {
        console.info(&format!("the links expire sooner than requested: {why}"));
    }
    console.info(
        &until.map_or("the links do not expire".to_owned(), |until| format!("the links are valid until {until}")),
    );
    if console.json {
        console.print_json(&serde_json::json!({"version": 1, "links": links}));
    }
    Ok(Exit::Complete)
}
