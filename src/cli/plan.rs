//! `plan`: what a run would do. Writes nothing.

use std::sync::Arc;

use jiff::Timestamp;

use super::args::{PlanArgs, PlanFormat};
use super::environment::{environment_or_complain, run_id, threads};
use super::{Talk, print, signals};
use crate::diagnostic::{records, render_text};
use crate::error::Exit;
use crate::plan::render;
use crate::resolve::resolve;
use crate::run::progress::Progress;
use crate::run::stop::Stop;
use crate::run::{self, RunError, RunOptions};

/// Plans one spec and prints the plan.
pub fn plan(args: &PlanArgs, talk: &Talk) -> Exit {
    let stop = Stop::default();
    if let Err(error) = signals::listen(stop.clone()) {
        talk.complain(&format!("error: cannot listen for signals: {error}"));
        return Exit::Failed;
    }
    let Some(environment) = environment_or_complain(&args.given, talk) else { return Exit::Failed };
    let format = if talk.json { PlanFormat::Json } else { args.format };
    let mistakes = |diagnostics: &[_]| {
        talk.complain(&render_text(diagnostics, talk.color));
        if format == PlanFormat::Json {
            talk.print_json(&serde_json::json!({"version": 1, "diagnostics": records(diagnostics)}));
        }
        Exit::Usage
    };
    let job = match resolve(&args.spec, &environment) {
        Ok(job) => job,
        Err(diagnostics) => return mistakes(&diagnostics),
    };
    let options = RunOptions {
        run_id: run_id(),
        threads: threads(&args.resources),
        repair: false,
        replace: None,
        now: environment.now,
        clock: Arc::new(Timestamp::now),
        stop,
        progress: Arc::new(Progress::default()),
        spec_path: args.spec.display().to_string(),
        git_commit: None,
    };
    match run::plan(&job, &options) {
        Ok(plan) => match format {
            PlanFormat::Text => print(&render::text(&plan)),
            PlanFormat::Markdown => print(&render::markdown(&plan)),
            PlanFormat::Json => talk.print_json(&plan),
        },
        Err(RunError::Spec(diagnostics)) => mistakes(&diagnostics),
        Err(error) => {
            let text = run::chain(&error);
            talk.complain(&format!("error: {}: {text}", args.spec.display()));
            if format == PlanFormat::Json {
                talk.print_json(&serde_json::json!({"version": 1, "error_code": error.code(), "error": text}));
            }
            error.exit()
        }
    }
}
