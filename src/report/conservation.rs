//! Where every row of the source went, as one bar and as an equation.

use serde::Serialize;

use super::page::{Style, Table, columns};
use super::words::share;
use crate::package::manifest::{Accounting, Manifest};
use crate::units::grouped;

/// Minimum width of a part, in percent of the bar, so that one row among millions stays visible.
const LEAST_WIDTH: f64 = 0.8;

/// The bar.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// What is shown.
    pub title: &'static str,
    /// The equation.
    pub equation: String,
    /// Whether it holds, in words.
    pub verdict: String,
    /// Whether it holds.
    pub balances: bool,
    /// What has rows, from left to right.
    pub parts: Vec<Part>,
    /// The same, with what has none.
    pub table: Table,
}

/// A part of the bar.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    /// What the rows are.
    pub name: &'static str,
    /// How it looks.
    pub mark: &'static str,
    /// Rows and share.
    pub label: String,
    /// Left edge.
    pub x: String,
    /// Width.
    pub width: String,
}

/// Rows that are not accounted for: those of partitions without a shard.
pub(super) fn unaccounted(accounting: &Accounting) -> u128 {
    u128::from(accounting.source_rows).saturating_sub(accounting.accounted_rows())
}

/// The figure of a manifest.
pub(super) fn figure(manifest: &Manifest) -> Figure {
    let books = &manifest.accounting;
    let missing = unaccounted(books);
    let source = u128::from(books.source_rows);
    let mut kinds = vec![
        ("Written", "written", u128::from(books.written), "in the files of this package"),
        ("Filtered out", "filtered", u128::from(books.filtered_out), "inside the window, excluded by a filter"),
        ("Outside the window", "outside", u128::from(books.outside_window), "their time is not in the window"),
        ("Without a time", "timeless", u128::from(books.null_time), "they belong to no partition"),
        ("Unreadable", "rejected", u128::from(books.rejected), "their values could not be parsed"),
    ];
    if missing > 0 {
        kinds.push(("Not accounted for", "missing", missing, "rows of partitions that have no file"));
    }
    let terms: Vec<String> =
        kinds.iter().map(|(name, _, rows, _)| format!("{} {}", wide(*rows), name.to_lowercase())).collect();
    let (balances, verdict) = verdict(source, books.accounted_rows());
    Figure {
        title: "Where every row of the source went",
        equation: format!("{} rows in the source = {}", wide(source), terms.join(" + ")),
        verdict,
        balances,
        parts: parts(&kinds),
        table: Table {
            caption: "Row conservation".to_owned(),
            columns: columns([
                ("Rows", Style::Text),
                ("Number", Style::Number),
                ("Share", Style::Number),
                ("Meaning", Style::Text),
            ]),
            rows: std::iter::once(vec!["In the source".into(), wide(source), share(source, source), read(manifest)])
                .chain(kinds.iter().map(|(name, _, rows, meaning)| {
                    vec![(*name).to_owned(), wide(*rows), share(*rows, source), (*meaning).to_owned()]
                }))
                .collect(),
        },
    }
}

fn read(manifest: &Manifest) -> String {
    let skipped = manifest.source.files.iter().filter(|file| file.skipped.is_some()).count() as u64;
    let read = manifest.source.files.len() as u64 - skipped;
    format!("all rows of {}", super::words::counted(read, "file"))
        + if skipped > 0 { " that were not skipped" } else { "" }
}

fn verdict(source: u128, accounted: u128) -> (bool, String) {
    if accounted == source {
        (true, "The two sides are equal: no row was lost and none was counted twice.".to_owned())
    } else if accounted > source {
        let message = "The parts exceed the whole: this manifest contradicts itself and proves nothing.";
        (false, message.to_owned())
    } else {
        let message = format!(
            "{} of the source are missing from the files because partitions are missing. They are inside the window or \
             were not read; a filter might have excluded some of them.",
            if source - accounted == 1 { "1 row".to_owned() } else { format!("{} rows", wide(source - accounted)) }
        );
        (false, message)
    }
}

fn parts(kinds: &[(&'static str, &'static str, u128, &'static str)]) -> Vec<Part> {
    let sum: f64 = kinds.iter().map(|kind| kind.2 as f64).sum();
    let widths: Vec<f64> = kinds
        .iter()
        .map(|kind| if kind.2 == 0 { 0.0 } else { (kind.2 as f64 / sum * 100.0).max(LEAST_WIDTH) })
        .collect();
    let stretch = 100.0 / widths.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let all: u128 = kinds.iter().map(|kind| kind.2).sum();
    let mut x = 0.0;
    let mut parts = Vec::new();
    for ((name, mark, rows, _), width) in kinds.iter().copied().zip(widths).filter(|(kind, _)| kind.2 > 0) {
        let width = width * stretch;
        let label = format!("{}, {}", wide(rows), share(rows, all));
        parts.push(Part { name, mark, label, x: format!("{x:.3}%"), width: format!("{width:.3}%") });
        x += width;
    }
    parts
}

/// Digits in groups of three. A sum of five 64-bit counts may be wider than one.
fn wide(count: u128) -> String {
    u64::try_from(count).map_or_else(|_| count.to_string(), grouped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::manifest::tests::manifest;

    #[test]
    fn the_equation_is_that_of_the_manifest_and_one_row_is_seen() {
        let mut manifest = manifest();
        manifest.accounting =
            Accounting { source_rows: 2_000_001, written: 1, outside_window: 2_000_000, ..Accounting::default() };
        let figure = figure(&manifest);
        assert_eq!(
            figure.equation,
            "2,000,001 rows in the source = 1 written + 0 filtered out + 2,000,000 outside the window + 0 without a time \
             + 0 unreadable"
        );
        assert!(figure.balances);
        assert_eq!(figure.parts.len(), 2);
        assert_eq!((figure.parts[0].x.as_str(), figure.parts[0].width.as_str()), ("0.000%", "0.794%"));
        assert_eq!(figure.parts[0].label, "1, < 0.1 %");
    }

    #[test]
    fn books_that_do_not_balance_are_called_so() {
        let mut manifest = manifest();
        manifest.accounting = Accounting { source_rows: 10, written: 9, ..Accounting::default() };
        let missing = figure(&manifest);
        assert!(!missing.balances && missing.verdict.starts_with("1 row of the source are missing from the files"));
        assert!(missing.equation.ends_with("+ 1 not accounted for"));
        manifest.accounting.written = u64::MAX;
        manifest.accounting.rejected = u64::MAX;
        assert!(figure(&manifest).verdict.contains("contradicts itself"));
    }

    #[test]
    fn an_empty_source_has_an_empty_bar() {
        let figure = figure(&manifest());
        assert!(figure.balances && figure.parts.is_empty());
        assert!(figure.equation.starts_with("0 rows in the source = 0 written"));
    }
}
