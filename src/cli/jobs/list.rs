//! `jobs list`: a table, or a JSON object.

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;
use jiff::Timestamp;

use super::{CommandError, store_location, warn_skipped};
use crate::cli::Console;
use crate::cli::args::JobsListArgs;
use crate::diagnostic::shown;
use crate::error::Exit;
use crate::jobs::{JobList, JobView, Jobs};

/// Lists.
pub(super) fn list(args: &JobsListArgs, console: &Console) -> Result<Exit, CommandError> {
    let at = store_location(&args.store)?;
    let JobList { mut views, passed_over } = match Jobs::existing(&at)? {
        Some(jobs) => jobs.list(Timestamp::now())?,
        None => JobList::default(),
    };
    warn_skipped(&passed_over, console);
    views.retain(|view| args.status.is_none_or(|status| view.status == status));
    views.retain(|view| args.type_name.as_ref().is_none_or(|name| view.type_name == *name));
    views.truncate(args.limit.unwrap_or(usize::MAX));
    if console.json {
        return Ok(console.print_json(&serde_json::json!({"version": 1, "jobs": views, "passed_over": passed_over})));
    }
    if views.is_empty() {
        console.info(&format!("no jobs in {at}"));
        return Ok(Exit::Complete);
    }
    Ok(crate::cli::print(&table(&views)))
}

fn table(views: &[JobView]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "status", "name", "type", "window", "format", "rows", "created"]);
    for view in views {
        let rows = view.total_rows.map_or("-".to_owned(), |rows| HumanCount(rows).to_string());
        table.add_row([
            Cell::new(&view.id),
            Cell::new(view.status),
            Cell::new(shown(&view.name)),
            Cell::new(shown(&view.type_name)),
            Cell::new(shown(&view.window_label)),
            Cell::new(view.export_format.as_str()),
            Cell::new(rows).set_alignment(CellAlignment::Right),
            Cell::new(view.created_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        ]);
    }
    table.trim_fmt()
}
