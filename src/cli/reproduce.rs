//! `reproduce`: runs a recorded job against its source again and compares every shard's digest. Exports are
//! deterministic: a shard that differs means that the source or the program's version has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::args::ReproduceArgs;
use super::environment::{environment_or_complain, run_options};
use super::progress::{Drawing, Style};
use super::read_keys::read_keys;
use super::{Console, signals};
use crate::diagnostic::{masked, render_text, shown};
use crate::error::Exit;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{EncryptionRecord, Manifest};
use crate::package::{ReadKeys, reveal};
use crate::resolve::{resolve, revise};
use crate::run::{self, RunError};
use crate::store::{Folder, Location, StoreError, StoreOptions};
use crate::units::counted;

/// The JSON record of a file that differs.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Difference {
    /// Path without the run id.
    path: String,
    partition: Option<String>,
    recorded_rows: Option<u64>,
    reproduced_rows: Option<u64>,
    recorded_sha256: Option<String>,
    reproduced_sha256: Option<String>,
}

/// Why nothing was compared.
enum Refused {
    /// Mistakes in the spec, rendered.
    Mistakes(String),
    /// Anything else, on one line.
    Failed(Exit, String),
}

impl From<(Exit, String)> for Refused {
    fn from((exit, why): (Exit, String)) -> Self {
        Self::Failed(exit, why)
    }
}

/// Reproduces one package.
pub(super) fn reproduce(args: &ReproduceArgs, console: &Console) -> Exit {
    match try_reproduce(args, console) {
        Ok(exit) => exit,
        Err(refused) => {
            let (exit, why) = match refused {
                Refused::Mistakes(text) => {
                    console.show(&text);
                    (Exit::Usage, text)
                }
                Refused::Failed(exit, why) => {
                    console.error(&why);
                    (exit, why)
                }
            };
            if console.json {
                console.print_json(&serde_json::json!({"version": 1, "reproduced": false, "error": masked(&why)}));
            }
            exit
        }
    }
}

fn try_reproduce(args: &ReproduceArgs, console: &Console) -> Result<Exit, Refused> {
    let stop = signals::listen().map_err(|why| (Exit::Failed, format!("error: {why}")))?;
    let mut manifest = read_manifest(&args.package)?;
    let is_parquet = matches!(manifest.encryption, Some(EncryptionRecord::Parquet { .. }));
    if is_parquet && manifest.spec.resolved.rows_digest() != Ok(true) {
        let shard = manifest.files.iter().find(|file| file.status.has_file());
        let path = shard.map_or(args.package.as_str(), |file| file.path.as_str());
        return Err(Refused::Failed(Exit::Usage, nothing_lasts(path)));
    }
    let keys = read_keys(&args.keys).map_err(|why| (Exit::Usage, format!("error: {why}")))?;
    open_sealed(&mut manifest, &keys)?;
    if let Some((path, _)) = manifest.lasting_digests().find(|(_, digest)| digest.is_none()) {
        return Err(Refused::Failed(Exit::Usage, nothing_lasts(path)));
    }
    let Some(mut environment) = environment_or_complain(&args.given, console) else {
        return Err(Refused::Failed(Exit::Usage, String::new()));
    };
    environment.now = args.given.now.unwrap_or(manifest.created_at);
    let spec = args.spec.clone().unwrap_or_else(|| PathBuf::from(&manifest.spec.path));
    if !spec.exists() {
        let why = format!("error: the package's spec {} was not found; give it with `--spec`", spec.display());
        return Err(Refused::Failed(Exit::Usage, why));
    }
    let of_revision = |job| match &manifest.restatement {
        Some(restatement) => revise(&job, restatement.revision, &environment),
        None => Ok(job),
    };
    let job = resolve(&spec, &environment).and_then(of_revision);
    let mut job = job.map_err(|d| Refused::Mistakes(render_text(&d, console.color)))?;
    if job.id != manifest.id {
        let why = format!(
            "error: {} is now {}, and the package is {}: the spec, its catalog, its variables or its window have changed; \
             check out the commit of the package{}, or give the same `--now` and `--var`",
            spec.display(),
            job.id,
            shown(&manifest.id),
            manifest.spec.git_commit.as_ref().map_or(String::new(), |c| format!(" ({})", shown(c))),
        );
        return Err(Refused::Failed(Exit::Usage, why));
    }
    let options = run_options(&spec, &args.resources, &environment, stop);
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let folder = scratch.join(format!("kt-export-reproduce-{}", options.run_id));
    job.output = Location::Local(folder.clone());
    job.allow_open = true;
    // The comparison export is not evidence itself.
    (job.signing, job.chain) = (None, None);
    let style = if console.quiet || !console.terminal { Style::Hidden } else { Style::Bar };
    let drawing = Drawing::start(style, &job.name, options.progress.clone());
    let result = run::run(&job, &options);
    drop(drawing);
    let removed = std::fs::remove_dir_all(&folder);
    let outcome = result.map_err(|error| match &error {
        RunError::Spec(diagnostics) => Refused::Mistakes(render_text(diagnostics, console.color)),
        _ => Refused::Failed(error.exit(), format!("error: {}", crate::failure::chain(&error))),
    })?;
    if let Err(error) = removed {
        console.error(&format!("warning: cannot remove {}: {error}", folder.display()));
    }
    let mut reproduced = outcome.manifest;
    open_sealed(&mut reproduced, &keys)?;
    let differences = differences(&manifest, &reproduced);
    print_result(args, &manifest, &differences, console);
    Ok(if differences.is_empty() { Exit::Complete } else { Exit::VerifyFailed })
}

fn read_manifest(package: &str) -> Result<Manifest, (Exit, String)> {
    let at = Location::parse(package, &StoreOptions::default()).map_err(|e| (Exit::Usage, format!("error: {e}")))?;
    let read = || Ok(Folder::existing(&at)?.map(|folder| folder.read(MANIFEST)).transpose()?.flatten());
    let bytes = read().map_err(|e: StoreError| (Exit::Failed, format!("error: {}", crate::failure::chain(&e))))?;
    let none = || (Exit::Usage, format!("error: {at} has no {MANIFEST}; give a package's folder"));
    Manifest::from_json(&bytes.ok_or_else(none)?)
        .map_err(|e| (Exit::VerifyFailed, format!("error: {at}/{MANIFEST}: {}", crate::failure::chain(&e))))
}

/// Error for a file that cannot be compared.
fn nothing_lasts(path: &str) -> String {
    format!(
        "error: {} has Parquet encryption, which never gives the same bytes twice, and no rows digest to compare: set \
         `rows_digest: true` in specs whose packages must be reproducible",
        shown(path)
    )
}

/// Opens sealed digests.
fn open_sealed(manifest: &mut Manifest, keys: &ReadKeys) -> Result<(), (Exit, String)> {
    let revealed = reveal(manifest, keys);
    if let Some(missing) = revealed.missing {
        let flag = match manifest.encryption {
            Some(EncryptionRecord::Parquet { .. }) => "give the keys of all its columns with `--parquet-key`",
            _ => "give an identity of one of its recipients with `--identity`",
        };
        let why = format!(
            "error: the digests to compare are sealed in this package, and {missing}; {flag}, or set `digests: clear` \
             in the `encryption` of specs whose packages must be reproducible without a key"
        );
        return Err((Exit::Usage, why));
    }
    match revealed.faults.first() {
        None => Ok(()),
        Some((path, why)) => {
            let why = format!("error: the sealed digests of {} cannot be opened: {why}", shown(path));
            Err((Exit::Failed, why))
        }
    }
}

/// One file as a manifest records it.
#[derive(Default)]
struct Recorded {
    partition: Option<String>,
    rows: Option<u64>,
    sha256: Option<String>,
}

/// A manifest's existing files by path without run id, with digests that are equal in every run.
fn files(manifest: &Manifest) -> BTreeMap<String, Recorded> {
    let shards = manifest.files.iter().filter(|f| f.status.has_file());
    let shards = shards.map(|f| (f.path.as_str(), (Some(f.partition.label.clone()), f.rows)));
    let rejects = manifest.rejects.iter().map(|r| (r.path.as_str(), (None, r.rows)));
    let mut rows: BTreeMap<&str, _> = shards.chain(rejects).collect();
    let recorded = manifest.lasting_digests().filter_map(|(path, digest)| {
        let (partition, rows) = rows.remove(path)?;
        let recorded = Recorded { partition, rows: Some(rows), sha256: digest.map(str::to_owned) };
        Some((crate::package::layout::name_without_run(path), recorded))
    });
    recorded.collect()
}

/// Files whose bytes differ, by name.
fn differences(recorded: &Manifest, reproduced: &Manifest) -> Vec<Difference> {
    let (mut recorded, mut reproduced) = (files(recorded), files(reproduced));
    let mut names: Vec<_> = recorded.keys().chain(reproduced.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    let difference = |path: String| {
        let (then, now) = (recorded.remove(&path).unwrap_or_default(), reproduced.remove(&path).unwrap_or_default());
        ((&then.sha256, then.rows) != (&now.sha256, now.rows)).then_some(Difference {
            path,
            partition: then.partition.or(now.partition),
            recorded_rows: then.rows,
            reproduced_rows: now.rows,
            recorded_sha256: then.sha256,
            reproduced_sha256: now.sha256,
        })
    };
    names.into_iter().filter_map(difference).collect()
}

fn print_result(args: &ReproduceArgs, manifest: &Manifest, differences: &[Difference], console: &Console) {
    let files = manifest.digests().count();
    if console.json {
        console.print_json(&serde_json::json!({
            "version": 1, "reproduced": differences.is_empty(), "package": args.package,
            "job_id": manifest.id, "files": files, "differences": differences,
        }));
    }
    let package = &args.package;
    if differences.is_empty() {
        console.info(&format!("{package}: reproduced, all {files} files have the same bytes"));
        return;
    }
    let mut lines = vec![format!("{package}: NOT reproduced, {} of {files} files differ", differences.len())];
    for difference in differences {
        let what = match (difference.recorded_rows, difference.reproduced_rows) {
            (Some(then), None) => format!("is no longer exported: {}", counted(then, "row")),
            (None, Some(now)) => format!("is new: {}", counted(now, "row")),
            (Some(then), Some(now)) if then != now => {
                format!("has {} now, {} before ({:+})", counted(now, "row"), then, i128::from(now) - i128::from(then))
            }
            (then, _) => format!("has different bytes now, with the same {}", counted(then.unwrap_or_default(), "row")),
        };
        lines.push(format!("  {} {what}", shown(&difference.path)));
    }
    lines.push(format!(
        "  the package was written by {} {}",
        shown(&manifest.tool.name),
        shown(&manifest.tool.version)
    ));
    console.show(&lines.join("\n"));
}
