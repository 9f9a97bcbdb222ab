//! `reproduce`: runs a recorded job against the source again and compares every shard's digest.
//!
//! Export is deterministic, so a shard that differs means that the source, or the program's version, is not what it was.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::args::ReproduceArgs;
use super::environment::{environment_or_complain, run_options};
use super::keys::read_keys;
use super::progress::{Drawing, Style};
use super::{Talk, signals};
use crate::diagnostic::{render_text, shown};
use crate::error::Exit;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{EncryptionRecord, Manifest};
use crate::package::{ReadKeys, reveal};
use crate::resolve::{resolve, revise};
use crate::run::{self, RunError};
use crate::store::{Folder, Location, StoreError, StoreOptions};
use crate::units::counted;

/// What became of one file of the package.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Difference {
    /// Named as where names carry no run.
    path: String,
    partition: Option<String>,
    recorded_rows: Option<u64>,
    reproduced_rows: Option<u64>,
    recorded_sha256: Option<String>,
    reproduced_sha256: Option<String>,
}

/// Reproduces one package.
pub fn reproduce(args: &ReproduceArgs, talk: &Talk) -> Exit {
    match try_reproduce(args, talk) {
        Ok(exit) => exit,
        Err((exit, why)) => {
            talk.complain(why.trim_end());
            if talk.json {
                talk.print_json(&serde_json::json!({"version": 1, "reproduced": false, "error": why}));
            }
            exit
        }
    }
}

fn try_reproduce(args: &ReproduceArgs, talk: &Talk) -> Result<Exit, (Exit, String)> {
    let stop = signals::listen().map_err(|why| (Exit::Failed, format!("error: {why}")))?;
    let mut manifest = read_manifest(&args.package)?;
    let is_parquet = matches!(manifest.encryption, Some(EncryptionRecord::Parquet { .. }));
    if is_parquet && manifest.spec.resolved["rows_digest"] != true {
        let shard = manifest.files.iter().find(|file| file.status.has_file());
        return Err((Exit::Usage, nothing_lasts(shard.map_or(args.package.as_str(), |file| file.path.as_str()))));
    }
    let keys = read_keys(&args.keys).map_err(|why| (Exit::Usage, format!("error: {why}")))?;
    open_sealed(&mut manifest, &keys)?;
    if let Some((path, _)) = manifest.lasting_digests().find(|(_, digest)| digest.is_none()) {
        return Err((Exit::Usage, nothing_lasts(path)));
    }
    let Some(mut environment) = environment_or_complain(&args.given, talk) else {
        return Err((Exit::Usage, String::new()));
    };
    environment.now = args.given.now.unwrap_or(manifest.created_at);
    let spec = args.spec.clone().unwrap_or_else(|| PathBuf::from(&manifest.spec.path));
    if !spec.exists() {
        let why = format!("error: the package's spec {} is not here; name it with `--spec`", spec.display());
        return Err((Exit::Usage, why));
    }
    let of_revision = |job| match &manifest.restatement {
        Some(restatement) => revise(&job, restatement.revision, &environment),
        None => Ok(job),
    };
    let job = resolve(&spec, &environment).and_then(of_revision);
    let mut job = job.map_err(|d| (Exit::Usage, render_text(&d, talk.color)))?;
    if job.id != manifest.id {
        let why = format!(
            "error: {} is now {}, and the package is {}: the spec, its catalog, its variables or its window have changed; \
             check out the commit of the package{}, or give the same `--now` and `--var`",
            spec.display(),
            job.id,
            shown(&manifest.id),
            manifest.spec.git_commit.as_ref().map_or(String::new(), |c| format!(" ({})", shown(c))),
        );
        return Err((Exit::Usage, why));
    }
    let options = run_options(&spec, &args.resources, &environment, stop);
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let folder = scratch.join(format!("kt-export-reproduce-{}", options.run_id));
    job.output = Location::Local(folder.clone());
    job.allow_open = true;
    // What is only compared is no evidence of its own.
    (job.signing, job.chain) = (None, None);
    let style = if talk.quiet || !talk.terminal { Style::Hidden } else { Style::Bar };
    let drawing = Drawing::start(style, &job.name, options.progress.clone());
    let result = run::run(&job, &options);
    drop(drawing);
    let removed = std::fs::remove_dir_all(&folder);
    let outcome = result.map_err(|error| match &error {
        RunError::Spec(diagnostics) => (Exit::Usage, render_text(diagnostics, talk.color)),
        _ => (error.exit(), format!("error: {}", crate::failure::chain(&error))),
    })?;
    if let Err(error) = removed {
        talk.complain(&format!("warning: cannot remove {}: {error}", folder.display()));
    }
    let mut reproduced = outcome.manifest;
    open_sealed(&mut reproduced, &keys)?;
    let differences = differences(&manifest, &reproduced);
    tell(args, &manifest, &differences, talk);
    Ok(if differences.is_empty() { Exit::Complete } else { Exit::VerifyFailed })
}

fn read_manifest(package: &str) -> Result<Manifest, (Exit, String)> {
    let at = Location::parse(package, &StoreOptions::default()).map_err(|e| (Exit::Usage, format!("error: {e}")))?;
    let read = || Ok(Folder::existing(&at)?.map(|folder| folder.read(MANIFEST)).transpose()?.flatten());
    let bytes = read().map_err(|e: StoreError| (Exit::Failed, format!("error: {}", crate::failure::chain(&e))))?;
    let none = || (Exit::Usage, format!("error: {at} has no {MANIFEST}; name a package's folder"));
    Manifest::from_json(&bytes.ok_or_else(none)?)
        .map_err(|e| (Exit::VerifyFailed, format!("error: {at}/{MANIFEST}: {}", crate::failure::chain(&e))))
}

/// Why a file cannot be compared.
fn nothing_lasts(path: &str) -> String {
    format!(
        "error: {} is encrypted with keys of Parquet, which never gives the same bytes twice, and has no digest of its \
         rows to compare: set `rows_digest: true` in specs whose packages are to be reproduced",
        shown(path)
    )
}

/// Opens the digests that are compared, where they are sealed.
fn open_sealed(manifest: &mut Manifest, keys: &ReadKeys) -> Result<(), (Exit, String)> {
    let revealed = reveal(manifest, keys);
    if let Some(missing) = revealed.missing {
        let flag = match manifest.encryption {
            Some(EncryptionRecord::Parquet { .. }) => "give the keys of all its columns with `--parquet-key`",
            _ => "give an identity of one of its recipients with `--identity`",
        };
        let why = format!(
            "error: the digests that would be compared are sealed in this package, and {missing}; {flag}, or set \
             `digests: clear` in the `encryption` of specs whose packages are to be reproduced without a key"
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

/// One file as a manifest tells of it.
#[derive(Default)]
struct Told {
    partition: Option<String>,
    rows: Option<u64>,
    sha256: Option<String>,
}

/// The files of a manifest that are there, by their names without a run, with digests that last from run to run.
fn files(manifest: &Manifest) -> BTreeMap<String, Told> {
    let shards = manifest.files.iter().filter(|f| f.status.has_file());
    let shards = shards.map(|f| (f.path.as_str(), (Some(f.partition.label.clone()), f.rows)));
    let rejects = manifest.rejects.iter().map(|r| (r.path.as_str(), (None, r.rows)));
    let mut rows: BTreeMap<&str, _> = shards.chain(rejects).collect();
    let told = manifest.lasting_digests().filter_map(|(path, digest)| {
        let (partition, rows) = rows.remove(path)?;
        let told = Told { partition, rows: Some(rows), sha256: digest.map(str::to_owned) };
        Some((crate::package::layout::name_without_run(path), told))
    });
    told.collect()
}

/// Files whose bytes are not the same, by name.
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

fn tell(args: &ReproduceArgs, manifest: &Manifest, differences: &[Difference], talk: &Talk) {
    let files = manifest.digests().count();
    if talk.json {
        talk.print_json(&serde_json::json!({
            "version": 1, "reproduced": differences.is_empty(), "package": args.package,
            "job_id": manifest.id, "files": files, "differences": differences,
        }));
    }
    let package = &args.package;
    if differences.is_empty() {
        talk.say(&format!("{package}: reproduced, {files} files with the same bytes"));
        return;
    }
    let mut lines = vec![format!("{package}: NOT reproduced, {} of {files} files differ", differences.len())];
    for difference in differences {
        let what = match (difference.recorded_rows, difference.reproduced_rows) {
            (Some(then), None) => format!("is not exported any more: {}", counted(then, "row")),
            (None, Some(now)) => format!("was not exported then: {}", counted(now, "row")),
            (Some(then), Some(now)) if then != now => {
                format!("has {} now, {} then ({:+})", counted(now, "row"), then, i128::from(now) - i128::from(then))
            }
            (then, _) => format!("has other bytes now, with the same {}", counted(then.unwrap_or_default(), "row")),
        };
        lines.push(format!("  {} {what}", shown(&difference.path)));
    }
    lines.push(format!(
        "  the package was written by {} {}",
        shown(&manifest.tool.name),
        shown(&manifest.tool.version)
    ));
    talk.complain(&lines.join("\n"));
}
