//! `doctor`: preflight checks of specs. Exports nothing and leaves nothing behind.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::args::DoctorArgs;
use super::environment::{environment_or_complain, run_options};
use super::run::{named_specs, undeclared};
use super::{Console, repeated, signals};
use crate::diagnostic::{escaped, render_text};
use crate::doctor::{self, Check, DoctorOptions, Report, Status, Subject};
use crate::error::Exit;
use crate::resolve::resolve;
use crate::units::counted;

/// The JSON record of one spec.
#[derive(Debug, Serialize)]
struct SpecReport<'a> {
    spec: String,
    exit_code: u8,
    checks: &'a [Check],
}

/// Checks every spec; the worst outcome is the exit code.
pub(super) fn doctor(args: &DoctorArgs, console: &Console) -> Exit {
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(why) => {
            console.error(&format!("error: {why}"));
            return Exit::Failed;
        }
    };
    let Some(environment) = environment_or_complain(&args.given, console) else { return Exit::Usage };
    let Some(specs) = named_specs(&args.specs, console) else { return Exit::Usage };
    let jobs: Vec<_> = specs.into_iter().map(|path| (resolve(&path, &environment), path)).collect();
    if let Some(mistake) = undeclared(&args.given.vars, jobs.iter().map(|(job, _)| job.as_ref())) {
        console.error(&mistake);
        return Exit::Usage;
    }
    let signs = Signs::new(console, &environment.env);
    let mut worst = Exit::Complete;
    let mut reports = Vec::new();
    for (job, spec) in jobs {
        let report = match job {
            Ok(_) if stop.exit().is_some() => Report { checks: Vec::new(), stopped: stop.exit() },
            Ok(job) => {
                let run = run_options(&spec, &args.resources, &environment, stop.clone());
                doctor::examine(&job, &DoctorOptions { run, full: args.full, clock_zone: TimeZone::system() })
            }
            Err(mistakes) => Report::of_mistakes(mistakes),
        };
        worst = worst.worst(report.exit());
        print_result(&spec, &report, &signs, console);
        reports.push((spec, report));
    }
    conclude(&reports, console);
    if console.json {
        let specs: Vec<_> = reports
            .iter()
            .map(|(spec, report)| SpecReport {
                spec: repeated(spec),
                exit_code: report.exit().code(),
                checks: &report.checks,
            })
            .collect();
        console.print_json(&serde_json::json!({"version": 1, "exit_code": worst.code(), "specs": specs}));
    }
    worst
}

/// The mark in front of a check.
struct Signs {
    /// Symbols instead of words.
    drawn: bool,
    color: bool,
}

impl Signs {
    fn new(console: &Console, variables: &BTreeMap<String, String>) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variables.get(*name));
        let locale = locale.into_iter().find(|value| !value.is_empty()).map(|value| value.to_ascii_lowercase());
        let is_utf8 = locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"));
        Self { drawn: console.color && is_utf8, color: console.color }
    }

    fn of(&self, status: Status) -> String {
        let (sign, word, color) = match status {
            Status::Ok => ("✓", "ok", "32"),
            Status::Warning => ("!", "!", "33"),
            Status::Failure => ("✗", "x", "31"),
        };
        let text = if self.drawn { sign.to_owned() } else { format!("{word:<2}") };
        if self.color { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text }
    }
}

/// With `--quiet`, only checks that are not ok.
fn print_result(spec: &Path, report: &Report, signs: &Signs, console: &Console) {
    let shown: Vec<&Check> = report.checks.iter().filter(|c| !console.quiet || c.status != Status::Ok).collect();
    if shown.is_empty() && report.stopped.is_none() {
        return;
    }
    let mut text = vec![escaped(&repeated(spec))];
    for check in shown {
        text.push(format!(
            "  {} {:<width$}  {}",
            signs.of(check.status),
            check.subject.as_str(),
            escaped(&check.message),
            width = Subject::LONGEST
        ));
        // The rendered diagnostics contain their own help.
        for line in render_text(&check.diagnostics, console.color).lines() {
            text.push(if line.is_empty() { String::new() } else { format!("       {line}") });
        }
        if let Some(help) = &check.help {
            text.push(format!("       help: {}", escaped(help)));
        }
    }
    if report.stopped.is_some() {
        text.push("  stopped before all checks were done".to_owned());
    }
    console.show(&text.join("\n"));
}

/// Counts the specs that are ready.
fn conclude(reports: &[(std::path::PathBuf, Report)], console: &Console) {
    let of = |status| reports.iter().filter(|(_, r)| r.stopped.is_none() && r.status() == status).count();
    let counts =
        [(of(Status::Failure), "with failures"), (of(Status::Warning), "with warnings"), (of(Status::Ok), "ready")];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    console.info(&format!("{} checked: {}", counted(reports.len(), "spec"), counts.join(", ")));
}
