//! `run`: specs to packages, one after the other, all threads on each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::args::{RunArgs, When};
use super::environment::{environment_or_complain, git_state, location, run_options};
use super::progress::{Drawing, Style};
use super::{Console, repeated, signals, specs};
use crate::diagnostic::{Diagnostic, DiagnosticRecord, escaped, masked, nearest, records, render_text, shown};
use crate::error::{ErrorCode, Exit};
use crate::job::Job;
use crate::jobs::{Heartbeat, JobRecord, Jobs, PackageLocation, RunEnd};
use crate::package::manifest::{Accounting, Expectation, FileStatus, JobStatus};
use crate::resolve::{Environment, resolve, revise};
use crate::run::restate::{self, Next};
use crate::run::{self, RunError, RunOptions, RunOutcome};
use crate::spec::FileKind;
use crate::stop::Stop;
use crate::units::counted;

/// Maximum number of lines about shards in a summary; fits a terminal.
const NAMED_SHARDS: usize = 10;

/// Help for a failed expectation.
const EXPECTATION_HELP: &str = "every row of the source was exported, but the source does not meet `expect` in the \
    spec: find the missing data upstream, and export the window again with --restate once it has arrived";

/// The JSON record of one spec.
#[derive(Debug, Serialize)]
struct SpecReport {
    spec: String,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<JobStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounting: Option<Accounting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expectations: Option<Vec<Expectation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnostics: Vec<DiagnosticRecord>,
}

impl SpecReport {
    fn new(spec: &Path, exit: Exit) -> Self {
        Self {
            spec: repeated(spec),
            exit_code: exit.code(),
            job_id: None,
            package: None,
            status: None,
            window_label: None,
            total_rows: None,
            total_bytes: None,
            accounting: None,
            expectations: None,
            unchanged: None,
            warnings: Vec::new(),
            error_code: None,
            error: None,
            diagnostics: Vec::new(),
        }
    }
}

/// Runs every spec; the worst outcome is the exit code.
pub(super) fn run(args: &RunArgs, console: &Console) -> Exit {
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(why) => {
            console.error(&format!("error: {why}"));
            return Exit::Failed;
        }
    };
    let Some(environment) = environment_or_complain(&args.given, console) else { return Exit::Usage };
    let Some(specs) = named_specs(&args.specs, console) else { return Exit::Usage };
    // All specs are read before the first one runs, so that a mistyped variable does not run half of them.
    let jobs: Vec<_> = specs.into_iter().map(|path| (resolve(&path, &environment), path)).collect();
    if let Some(mistake) = undeclared(&args.given.vars, jobs.iter().map(|(job, _)| job.as_ref())) {
        console.error(&mistake);
        return Exit::Usage;
    }
    let mut worst = Exit::Complete;
    let mut reports = Vec::new();
    for (job, spec) in &jobs {
        let (exit, report) = match (stop.exit(), job) {
            (Some(exit), _) => (exit, SpecReport::new(spec, exit)),
            (None, Ok(job)) => one(spec, job, args, &environment, &stop.job(), console),
            (None, Err(diagnostics)) => mistakes(spec, diagnostics, console),
        };
        worst = worst.worst(exit);
        reports.push(report);
    }
    if console.json {
        console.print_json(&serde_json::json!({"version": 1, "exit_code": worst.code(), "specs": reports}));
    }
    worst
}

/// The specs to run; prints the error if there are none.
pub(super) fn named_specs(named: &[PathBuf], console: &Console) -> Option<Vec<PathBuf>> {
    match specs::expand(named) {
        // Catalogs found in a folder are not specs to run.
        Ok(found) => {
            let is_spec = |f: &specs::Found| f.kind != Some(FileKind::Catalog) || named.contains(&f.path);
            Some(found.into_iter().filter(is_spec).map(|f| f.path).collect())
        }
        Err(why) => {
            console.error(&format!("error: {why}"));
            None
        }
    }
}

/// The error for a `--var` that no spec declares. `None` if any spec is invalid, because its variables are unknown.
pub(super) fn undeclared<'a, E>(
    given: &[(String, String)],
    jobs: impl Iterator<Item = Result<&'a Job, E>> + Clone,
) -> Option<String> {
    let declared: Vec<&str> =
        jobs.collect::<Result<Vec<_>, _>>().ok()?.iter().flat_map(|j| j.vars.keys()).map(String::as_str).collect();
    let (unknown, _) = given.iter().find(|(name, _)| !declared.contains(&name.as_str()))?;
    let near = nearest(unknown, declared).map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    Some(format!("error: no spec declares the variable `{}` in `vars`{near}", shown(unknown)))
}

fn one(
    spec: &Path,
    job: &Job,
    args: &RunArgs,
    environment: &Environment,
    stop: &Stop,
    console: &Console,
) -> (Exit, SpecReport) {
    let options = RunOptions {
        repair: args.repair,
        replace: args.replace.clone(),
        git: git_state(spec),
        ..run_options(spec, &args.resources, environment, stop.clone())
    };
    let style = match (args.progress, console.quiet) {
        (When::Never, _) | (When::Auto, true) => Style::Hidden,
        (When::Auto, false) if !console.terminal => Style::Lines,
        (When::Auto, false) | (When::Always, _) => Style::Bar,
    };
    let run = |job: &Job, options: &RunOptions| {
        let registered = args.store.as_deref().and_then(|store| register(store, job, environment, options, console));
        let drawing = Drawing::start(style, &job.name, options.progress.clone());
        let result = run::run(job, options);
        drop(drawing);
        if let Some(heartbeat) = registered {
            heartbeat.end(RunEnd::of(&result));
        }
        result
    };
    let result = if args.restate {
        restate::next(job, &options, |revision| revise(job, revision, environment)).and_then(|next| match next {
            Next::Unchanged(outcome) => Ok(outcome),
            Next::Revision(job, superseded) => {
                run(&job, &RunOptions { supersedes: Some(Arc::new(superseded)), ..options })
            }
        })
    } else {
        run(job, &options)
    };
    match result {
        Ok(outcome) => {
            let exit = outcome.exit();
            let text = summary(&outcome);
            if exit == Exit::Complete {
                console.show_info(&text);
            } else {
                console.show(&text);
            }
            let manifest = &outcome.manifest;
            let warnings: Vec<String> = run::warnings(manifest).iter().map(|warning| escaped(warning)).collect();
            for warning in &warnings {
                console.error(&format!("warning: {}: {warning}", spec.display()));
            }
            let report = SpecReport {
                job_id: Some(manifest.id.clone()),
                package: Some(outcome.package.to_string()),
                status: Some(manifest.status),
                window_label: Some(manifest.window_label.clone()),
                total_rows: Some(manifest.total_rows),
                total_bytes: Some(manifest.total_bytes),
                accounting: Some(manifest.accounting),
                expectations: manifest.expectations.clone(),
                unchanged: Some(outcome.unchanged),
                warnings,
                error_code: manifest.error_code,
                ..SpecReport::new(spec, exit)
            };
            (exit, report)
        }
        Err(RunError::Spec(diagnostics)) => mistakes(spec, &diagnostics, console),
        Err(error) => {
            let exit = error.exit();
            let text = crate::failure::chain(&error);
            let word = if matches!(error, RunError::Stopped(_) | RunError::NotSettled { .. }) { "" } else { "error: " };
            console.error(&format!("{word}{}: {text}", spec.display()));
            let report = SpecReport {
                job_id: Some(job.id.clone()),
                package: Some(job.output.to_string()),
                error_code: error.code(),
                error: Some(masked(&text).into_owned()),
                ..SpecReport::new(spec, exit)
            };
            (exit, report)
        }
    }
}

/// Registers the job in a job store and records its progress there. Failures only warn.
fn register(
    store: &str,
    job: &Job,
    environment: &Environment,
    options: &RunOptions,
    console: &Console,
) -> Option<Heartbeat> {
    let try_register = || -> Result<Heartbeat, String> {
        let store = location(store, &environment.current_dir).map_err(|e| e.to_string())?;
        let jobs = Jobs::open(&store).map_err(|e| crate::failure::chain(&e))?;
        let revision = options.supersedes.as_ref().map_or(0, |superseded| superseded.revision + 1);
        let output_base = environment.output_base.clone();
        let package = PackageLocation::OfSpec { location: job.output.clone(), output_base, revision };
        let record = JobRecord::new(job, package, environment, (options.clock)()).map_err(|e| e.to_string())?;
        #[expect(clippy::let_underscore_must_use, reason = "whoever created the record, it is there")]
        let _ = jobs.create(&record).map_err(|failure| failure.to_string())?;
        // Running a job overrides an earlier cancellation.
        jobs.uncancel(&job.id).map_err(|e| crate::failure::chain(&e))?;
        let folder = jobs.job_folder(&job.id).map_err(|e| crate::failure::chain(&e))?;
        Ok(Heartbeat::start(folder, &options.run_id, options.progress.clone(), options.stop.clone()))
    };
    let warn = |why| {
        let id = &job.id;
        console.error(&format!("warning: {id} runs, but could not be registered in the job store: {why}"));
    };
    try_register().map_err(warn).ok()
}

fn mistakes(spec: &Path, diagnostics: &[Diagnostic], console: &Console) -> (Exit, SpecReport) {
    console.show(&render_text(diagnostics, console.color));
    let report = SpecReport { diagnostics: records(diagnostics), ..SpecReport::new(spec, Exit::Usage) };
    (Exit::Usage, report)
}

/// The summary printed at the end of a run: status, sizes, row accounting, package location.
pub(super) fn summary(outcome: &RunOutcome) -> String {
    let RunOutcome { manifest: m, package, unchanged } = outcome;
    let shards = m.files.iter().filter(|f| f.status.has_file()).count();
    let mut lines = vec![format!(
        "{} {} {}{}: {} row{} in {} shard{}, {}",
        m.name,
        m.window_label,
        m.status,
        if *unchanged { " already" } else { "" },
        HumanCount(m.total_rows),
        if m.total_rows == 1 { "" } else { "s" },
        HumanCount(shards as u64),
        if shards == 1 { "" } else { "s" },
        HumanBytes(m.total_bytes),
    )];
    let a = &m.accounting;
    lines.push(format!(
        "  rows     {} in the source = {} written + {} filtered out + {} outside the window + {} without time + {} rejected",
        HumanCount(a.source_rows),
        HumanCount(a.written),
        HumanCount(a.filtered_out),
        HumanCount(a.outside_window),
        HumanCount(a.null_time),
        HumanCount(a.rejected),
    ));
    if m.status != JobStatus::Complete && u128::from(a.source_rows) != a.accounted_rows() {
        let missing = u128::from(a.source_rows).saturating_sub(a.accounted_rows());
        lines.push(format!("           and {missing} in partitions that failed"));
    }
    let incomplete: Vec<_> = m.files.iter().filter(|f| f.status != FileStatus::Complete).collect();
    // One bad row may fail every partition: report it once.
    let mut reported = 0;
    for alike in incomplete
        .chunk_by(|a, b| (a.status, a.error_code, &a.error) == (b.status, b.error_code, &b.error))
        .take(NAMED_SHARDS)
    {
        let ([first, ..], Some(last)) = (alike, alike.last()) else { continue };
        reported += alike.len();
        let why = match (first.error_code, &first.error) {
            (Some(code), Some(error)) => format!(": {code}: {error}"),
            _ => String::new(),
        };
        let labels = match alike.len() {
            1 => first.partition.label.clone(),
            n => format!("{} to {} ({n} shards)", first.partition.label, last.partition.label),
        };
        lines.push(format!("  {:<8} {labels}{}", first.status, escaped(&why)));
    }
    if incomplete.len() > reported {
        lines.push(format!("           and {} more, see the manifest", incomplete.len() - reported));
    }
    if let (Some(of), Some(restatement)) = (&m.supersedes, &m.restatement) {
        let changed = restatement.partitions.iter().filter(|p| p.rows_before != p.rows_after);
        lines.push(format!(
            "  revision {} of {}: row counts differ in {} of {}",
            restatement.revision,
            of.id,
            changed.count(),
            counted(restatement.partitions.len(), "partition"),
        ));
    }
    let failed: Vec<_> = m.expectations.iter().flatten().filter(|expectation| !expectation.holds).collect();
    for expectation in &failed {
        lines.push(format!("  {:<8} {}", expectation.name, escaped(&expectation.in_words())));
    }
    if !failed.is_empty() {
        lines.push(format!("           {EXPECTATION_HELP}"));
    }
    lines.push(format!("  package  {package}"));
    lines.join("\n")
}
