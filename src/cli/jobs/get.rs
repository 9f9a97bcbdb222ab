//! `jobs get`: one job, and following it to its end.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::{CommandError, existing, exit_of, no_job};
use crate::cli::args::JobsGetArgs;
use crate::cli::{Console, signals};
use crate::diagnostic::{escaped, shown};
use crate::error::Exit;
use crate::failure::Failure;
use crate::jobs::{JobView, Jobs};
use crate::package::manifest::FileStatus;

/// Interval between two polls of a job.
const LOOK: Duration = Duration::from_millis(500);

/// Number of polls between two plain log lines.
const LINE_LOOKS: u32 = 10;

/// Shows a job.
pub(super) fn get(args: &JobsGetArgs, console: &Console) -> Result<Exit, CommandError> {
    let jobs = existing(&args.store)?;
    if args.watch {
        let exit = follow(&jobs, &args.id, console)?;
        show(&jobs, &args.id, console)?;
        return Ok(exit);
    }
    show(&jobs, &args.id, console)
}

fn show(jobs: &Jobs, id: &str, console: &Console) -> Result<Exit, CommandError> {
    let Some(view) = jobs.get(id, Timestamp::now())? else { return Err(no_job(jobs, id)) };
    if console.json {
        let mut object = serde_json::to_value(&view).map_err(|error| Failure::internal(&error))?;
        object["version"] = 1.into();
        return Ok(console.print_json(&object));
    }
    Ok(crate::cli::print(&text(&view)))
}

/// Waits until a job has ended or is queued again.
pub(super) fn follow(jobs: &Jobs, id: &str, console: &Console) -> Result<Exit, CommandError> {
    let stop = signals::listen().map_err(CommandError::failed)?;
    let bar = bar(console);
    let mut looks = 0;
    loop {
        let Some(view) = jobs.view(id, Timestamp::now())? else { return Err(no_job(jobs, id)) };
        if view.status.is_settled() {
            bar.finish_and_clear();
            console.show_info(&format!("{} {}", view.id, ended(&view)));
            return Ok(exit_of(&view));
        }
        // A run that must be retried later leaves the job queued, with the reason.
        if let Some(error) = view.error.as_ref().filter(|_| view.status == crate::jobs::State::Queued) {
            bar.finish_and_clear();
            console.error(&format!("{} is queued again: {error}", view.id));
            return Ok(Exit::TryLater);
        }
        if let Some(exit) = stop.exit() {
            bar.finish_and_clear();
            console.info(&format!("{} keeps running in the background; stop it with `jobs cancel`", view.id));
            return Ok(exit);
        }
        if let Some(counts) = view.progress {
            bar.set_length(counts.planned_bytes);
            bar.set_position(counts.read_bytes);
        }
        bar.set_message(state(&view));
        if !console.terminal && looks % LINE_LOOKS == 0 {
            console.info(&format!("{} {}", view.id, state(&view)));
        }
        looks += 1;
        std::thread::sleep(LOOK);
    }
}

fn bar(console: &Console) -> ProgressBar {
    let target =
        if console.terminal && !console.quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
    bar
}

fn state(view: &JobView) -> String {
    match view.progress {
        Some(counts) => format!(
            "{}, {} rows out, {}/{} partitions",
            view.status,
            HumanCount(counts.written_rows),
            HumanCount(counts.committed_partitions),
            HumanCount(counts.partitions)
        ),
        None => view.status.to_string(),
    }
}

fn ended(view: &JobView) -> String {
    match (view.total_rows, &view.error) {
        (Some(rows), _) => format!("is {}: {} rows", view.status, HumanCount(rows)),
        // Mistakes in a spec take several lines.
        (None, Some(error)) => {
            let lines: Vec<String> = error.lines().map(escaped).collect();
            format!("is {}: {}", view.status, lines.join("\n"))
        }
        (None, None) => format!("is {}", view.status),
    }
}

/// A job for people.
fn text(view: &JobView) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<9} {value}\n"));
    line("id", view.id.clone());
    line("status", state(view));
    line("name", shown(&view.name));
    line("type", shown(&view.type_name));
    line("window", format!("{} to {} ({})", view.window_start, view.window_end, shown(&view.window_label)));
    if view.filters.as_object().is_some_and(|filters| !filters.is_empty()) {
        line("filters", escaped(&view.filters.to_string()));
    }
    if let Some(sql) = &view.where_sql {
        line("where", escaped(sql));
    }
    line("format", view.export_format.as_str().to_owned());
    line("created", view.created_at.to_string());
    for (name, at) in [("started", view.started_at), ("finalized", view.finalized_at), ("expires", view.expires_at)] {
        if let Some(at) = at {
            line(name, at.to_string());
        }
    }
    if let (Some(rows), Some(bytes)) = (view.total_rows, view.total_bytes) {
        line("rows", format!("{} in {}", HumanCount(rows), HumanBytes(bytes)));
    }
    if let Some(code) = view.error_code {
        line("code", code.to_string());
    }
    if let Some(error) = &view.error {
        line("error", escaped(error));
    }
    line("package", escaped(&view.package));
    for file in view.files.iter().flatten() {
        let status = match file.status {
            FileStatus::Complete => String::new(),
            _ => format!("  {}", file.error.as_deref().map_or_else(|| "pending".to_owned(), escaped)),
        };
        text.push_str(&format!("  {:>12} rows  {}{status}\n", HumanCount(file.rows).to_string(), escaped(&file.path)));
    }
    text
}
