//! Renders the plan as text for a terminal and as Markdown for a pull request.
//!
//! Both show the same tables, truncated; JSON has everything. Names come from the file system and must not affect a
//! terminal or a page: control and direction characters are shown as escapes.

#![expect(clippy::let_underscore_must_use, reason = "writing to a String does not fail")]

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::{Plan, Task};
use crate::diagnostic::escaped as printable;
use crate::source::Input;
use crate::units::grouped;

/// Maximum number of rows shown per table.
const SHOWN_ROWS: usize = 50;

/// A heading, a table, and the number of rows omitted from it.
struct Section {
    title: String,
    header: Vec<&'static str>,
    /// Indexes of numeric columns.
    numbers: &'static [usize],
    rows: Vec<Vec<String>>,
    left_out: usize,
}

/// Renders the plan for a terminal.
pub(crate) fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let facts = summary(plan);
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in &facts {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name:width$}  {value}");
    }
    for section in sections(plan) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(section.header);
        table.add_rows(section.rows);
        for &number in section.numbers {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let _ = write!(out, "\n{}\n{}\n", section.title, table.trim_fmt());
        if section.left_out > 0 {
            let _ = writeln!(out, " … and {} more; --format json lists all", section.left_out);
        }
    }
    out
}

/// Renders the plan as Markdown.
pub(crate) fn markdown(plan: &Plan) -> String {
    let mut out = format!("# Plan of {}\n\n", escaped(&plan.job_id));
    for (name, value) in summary(plan).iter().skip(1) {
        let _ = writeln!(out, "- **{name}:** {}", escaped(value));
    }
    for section in sections(plan) {
        let rules: Vec<_> = (0..section.header.len())
            .map(|column| if section.numbers.contains(&column) { "--:" } else { "---" })
            .collect();
        let _ = write!(out, "\n## {}\n\n", escaped(&section.title));
        let _ = writeln!(out, "| {} |\n| {} |", section.header.join(" | "), rules.join(" | "));
        for row in &section.rows {
            let cells: Vec<_> = row.iter().map(|cell| escaped(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        if section.left_out > 0 {
            let _ = writeln!(out, "\n… and {} more.", section.left_out);
        }
    }
    out
}

/// Names and values of the key facts; the job's id comes first.
fn summary(plan: &Plan) -> Vec<(&'static str, String)> {
    let totals = plan.totals;
    let window = &plan.window;
    vec![
        ("job", printable(&plan.job_id)),
        ("window", format!("{} ({} to {}, {})", window.label, window.start, window.end, window.timezone)),
        ("partitions", format!("{} in {}", plan.partitions.len(), counted(plan.tasks.len() as u64, "task"))),
        (
            "source",
            format!(
                "{}, {}, {}",
                counted(plan.inputs.len() as u64, "file"),
                bytes(totals.source_bytes),
                rows(totals.source_rows)
            ),
        ),
        (
            "reads",
            format!(
                "{}, {:.2} passes over the source, at most {}",
                bytes(totals.read_bytes),
                totals.passes,
                rows(totals.read_rows)
            ),
        ),
        ("columns", plan.columns.len().to_string()),
    ]
}

fn sections(plan: &Plan) -> Vec<Section> {
    let mut sections = Vec::new();
    let broken: Vec<_> = plan.broken().collect();
    if !broken.is_empty() {
        let rows = broken.iter().map(|(input, partitions)| {
            let input = plan.inputs.get(*input as usize);
            vec![
                labels(plan, partitions),
                printable(input.and_then(|input| input.problem.as_deref()).unwrap_or_default()),
            ]
        });
        sections.push(section("Partitions that will fail", vec!["partitions", "because of"], &[], rows));
    }
    if !plan.warnings.is_empty() {
        let rows = plan.warnings.iter().map(|warning| vec![printable(warning)]);
        sections.push(section("Warnings", vec!["warning"], &[], rows));
    }
    if !plan.drift.is_empty() {
        let rows = plan.drift.iter().map(|drift| vec![printable(drift)]);
        sections.push(section("Schema drift", vec!["settled"], &[], rows));
    }
    if !plan.unexported_keys.is_empty() {
        let rows = plan.unexported_keys.iter().map(|key| vec![printable(key)]);
        sections.push(section("Keys around the rows, not exported", vec!["key"], &[], rows));
    }
    let rows = plan.tasks.iter().enumerate().map(|(number, task)| task_row(plan, number, task));
    sections.push(section(
        "Tasks",
        vec!["task", "partitions", "files", "units", "bytes", "rows"],
        &[0, 2, 3, 4, 5],
        rows,
    ));

    let rows = plan.tasks.iter().enumerate().flat_map(|(number, task)| {
        let partitions = plan.partitions.get(task.partitions.start as usize..task.partitions.end as usize);
        partitions.unwrap_or_default().iter().map(move |partition| {
            vec![
                printable(&partition.label),
                partition.start.to_string(),
                partition.end.to_string(),
                (number + 1).to_string(),
            ]
        })
    });
    sections.push(section("Partitions", vec!["partition", "start", "end", "task"], &[3], rows));

    let rows = plan.inputs.iter().map(|planned| {
        let state = planned.problem.as_ref().map_or_else(String::new, |problem| format!("broken: {problem}"));
        let rows = planned.units.iter().try_fold(0_u64, |sum, unit| Some(sum.saturating_add(unit.rows?)));
        let version = match &planned.input {
            Input::File(file) => file.modified.to_string(),
            Input::Slice(slice) => printable(&slice.snapshot),
        };
        vec![
            printable(planned.input.name()),
            planned.input.bytes().map_or_else(String::new, bytes),
            planned.units.len().to_string(),
            rows.map_or_else(|| UNKNOWN.to_owned(), grouped),
            version,
            printable(&state),
        ]
    });
    sections.push(section("Files", vec!["file", "bytes", "units", "rows", "modified", ""], &[1, 2, 3], rows));

    if !plan.skipped.is_empty() {
        let rows = plan.skipped.iter().map(|file| {
            vec![printable(&file.name), bytes(file.bytes), file.code.as_str().to_owned(), printable(&file.reason)]
        });
        sections.push(section("Files that are not read", vec!["file", "bytes", "why", ""], &[1], rows));
    }

    let rows = plan.columns.iter().map(|column| {
        let holds = match (column.json, column.number) {
            (true, _) => " (JSON)",
            (false, true) => " (number)",
            (false, false) => "",
        };
        vec![printable(&column.name), format!("{}{holds}", printable(&column.data_type))]
    });
    sections.push(section("Columns", vec!["column", "type"], &[], rows));
    sections
}

/// Builds a section; rows beyond the limit are only counted.
fn section(
    title: &str,
    header: Vec<&'static str>,
    numbers: &'static [usize],
    mut rows: impl Iterator<Item = Vec<String>>,
) -> Section {
    let shown: Vec<_> = rows.by_ref().take(SHOWN_ROWS).collect();
    let left_out = rows.count();
    let title = format!("{title} ({})", shown.len() + left_out);
    Section { title, header, numbers, rows: shown, left_out }
}

fn task_row(plan: &Plan, number: usize, task: &Task) -> Vec<String> {
    let (mut inputs, mut rows, mut read_bytes) = (0_u64, Some(0_u64), 0_u64);
    let mut last = None;
    for read in &task.reads {
        if last.replace(read.input) != Some(read.input) {
            inputs += 1;
        }
        if let Some(unit) = plan.unit(read) {
            rows = rows.zip(unit.rows).map(|(sum, rows)| sum.saturating_add(rows));
            read_bytes = read_bytes.saturating_add(unit.bytes);
        }
    }
    vec![
        (number + 1).to_string(),
        labels(plan, &task.partitions),
        grouped(inputs),
        grouped(task.reads.len() as u64),
        bytes(read_bytes),
        rows.map_or_else(|| UNKNOWN.to_owned(), grouped),
    ]
}

/// The labels of consecutive partitions.
fn labels(plan: &Plan, range: &std::ops::Range<u32>) -> String {
    match plan.partitions.get(range.start as usize..range.end as usize) {
        Some([only]) => printable(&only.label),
        Some([first, .., last]) => {
            format!("{} … {} ({})", printable(&first.label), printable(&last.label), range.len())
        }
        _ => "none: rows with unknown times".to_owned(),
    }
}

/// Shown for a number of rows that only reading can tell.
const UNKNOWN: &str = "unknown";

/// `1 row`, `2,000 rows`.
fn rows(count: Option<u64>) -> String {
    count.map_or_else(|| format!("{UNKNOWN} number of rows"), |count| counted(count, "row"))
}

/// `1 file`, `2,000 files`.
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A size in the unit that leaves one to four digits before the point.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = count as f64;
    let mut name = "B";
    for unit in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        name = unit;
    }
    if name == "B" { format!("{count} B") } else { format!("{size:.1} {name}") }
}

/// For a Markdown table's cell.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::example;

    #[test]
    fn the_text_says_what_is_read_and_what_will_fail() {
        let text = text(&example());
        for part in [
            "2026-03-01_2026-03-04 (2026-03-01T00:00:00Z to 2026-03-05T00:00:00Z, UTC)",
            "4 in 2 tasks",
            "4 files, 2.9 KiB, 30 rows",
            "0.67 passes",
            "2026-03-01 … 2026-03-02 (2)",
            "e.ndjson:7: the line ends within a value",
            "Decimal128(12, 6)",
            "Utf8View (JSON)",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn names_cannot_act_on_a_terminal_or_a_page() {
        let text = text(&example());
        assert!(!text.contains('\u{1b}') && text.contains("c|`<\\u{1b}[31m.ndjson"), "{text}");
        let page = markdown(&example());
        assert!(!page.contains('\u{1b}') && page.contains("c\\|\\`&lt;\\\\u{1b}\\[31m.ndjson"), "{page}");
        assert_eq!(printable("a\u{202e}b\nc"), "a\\u{202e}b\\u{a}c");
    }

    #[test]
    fn every_row_of_a_markdown_table_has_as_many_cells_as_its_header() {
        let page = markdown(&example()).replace("\\|", "");
        let mut cells = None;
        for line in page.lines() {
            if !line.starts_with('|') {
                cells = None;
                continue;
            }
            let here = line.matches('|').count();
            assert_eq!(*cells.get_or_insert(here), here, "{line}");
        }
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let mut plan = example();
        let column = plan.columns[0].clone();
        plan.columns = vec![column; 1_234];
        assert!(text(&plan).contains("… and 1184 more; --format json lists all"));
        assert!(text(&plan).contains("Columns (1234)"));
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!((bytes(1023).as_str(), bytes(u64::MAX).as_str()), ("1023 B", "16.0 EiB"));
    }
}
