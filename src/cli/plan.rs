//! `plan`: shows what a run would do. Writes nothing.

use super::args::{PlanArgs, PlanFormat};
use super::environment::{environment_or_complain, run_options};
use super::{Console, print, signals};
use crate::diagnostic::{masked, records, render_text};
use crate::error::Exit;
use crate::plan::render;
use crate::resolve::resolve;
use crate::run::{self, RunError};

/// Plans one spec and prints the plan.
pub(super) fn plan(args: &PlanArgs, console: &Console) -> Exit {
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(why) => {
            console.error(&format!("error: {why}"));
            return Exit::Failed;
        }
    };
    let Some(environment) = environment_or_complain(&args.given, console) else { return Exit::Usage };
    let format = if console.json { PlanFormat::Json } else { args.format };
    let mistakes = |diagnostics: &[_]| {
        console.show(&render_text(diagnostics, console.color));
        if format == PlanFormat::Json {
            console.print_json(&serde_json::json!({"version": 1, "diagnostics": records(diagnostics)}));
        }
        Exit::Usage
    };
    let job = match resolve(&args.spec, &environment) {
        Ok(job) => job,
        Err(diagnostics) => return mistakes(&diagnostics),
    };
    let options = run_options(&args.spec, &args.resources, &environment, stop);
    match run::plan(&job, &options) {
        Ok(plan) => match format {
            PlanFormat::Text => print(&render::text(&plan)),
            PlanFormat::Markdown => print(&render::markdown(&plan)),
            PlanFormat::Json => console.print_json(&plan),
        },
        Err(RunError::Spec(diagnostics)) => mistakes(&diagnostics),
        Err(error) => {
            let text = crate::failure::chain(&error);
            console.error(&format!("error: {}: {text}", args.spec.display()));
            if format == PlanFormat::Json {
                console
                    .print_json(&serde_json::json!({"version": 1, "error_code": error.code(), "error": masked(&text)}));
            }
            error.exit()
        }
    }
}
