//! The bar chart of rows over time. Coordinates are percentages, so the drawing fits any width and text keeps its size.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::page::{Style, Table, columns};
use super::slices::{Cut, Slice, at_most};
use super::words::{counted, shortened};
use crate::package::manifest::FileEntry;
use crate::time::calendar::Unit;
use crate::units::grouped;

/// Maximum number of bars; more would be too thin on a phone.
const MOST_BARS: usize = 120;

/// Maximum characters of a label for three labels to fit on a phone; of longer ones two fit.
const LONGEST_LABEL: usize = 17;
const SHORT_LABEL: usize = 12;

/// Where the bars stand, in percent of the drawing's height.
const FLOOR: f64 = 86.0;
const CEILING: f64 = 6.0;

/// Bars, their scale, and the same as a table.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    /// What is shown.
    pub title: String,
    /// Text alternative.
    pub description: String,
    /// One bar per slice.
    pub bars: Vec<Bar>,
    /// Lines of the scale, from the floor up.
    pub ticks: Vec<Tick>,
    /// Names below bars.
    pub labels: Vec<Label>,
    /// What marks mean, of those that occur.
    pub legend: Vec<Mark>,
    /// The same.
    pub table: Table,
}

/// One bar.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    /// Left edge of the slice.
    pub left: String,
    /// Width of the slice.
    pub slot: String,
    /// Left edge of the bar.
    pub x: String,
    /// Width of the bar.
    pub width: String,
    /// Upper edge.
    pub y: String,
    /// Height.
    pub height: String,
    /// How it is marked.
    pub mark: &'static str,
    /// Whether only some of its partitions have no rows.
    pub has_empty: bool,
    /// Tooltip.
    pub title: String,
}

/// A line of the scale.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    /// Position.
    pub y: String,
    /// What it stands for.
    pub label: String,
}

/// A name below the bars.
#[derive(Debug, Serialize)]
pub(super) struct Label {
    /// Position.
    pub x: String,
    /// `start`, `middle` or `end`.
    pub anchor: &'static str,
    /// Whether to show it on narrow pages.
    pub is_always: bool,
    /// The name.
    pub text: String,
}

/// An entry of the legend.
#[derive(Debug, Serialize)]
pub(super) struct Mark {
    /// How it looks.
    pub mark: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// `None` if there are no partitions.
pub(super) fn chart(files: &[FileEntry], zone: &TimeZone) -> Option<Chart> {
    let (cut, slices) = at_most(MOST_BARS, files, zone);
    let top = scale(slices.iter().map(|slice| slice.rows).max()?);
    let (kind, title) = match cut {
        Cut::Partition => ("Partition", "Rows of each partition".to_owned()),
        Cut::Unit(unit) => (unit_name(unit), format!("Rows of each {}", unit_name(unit).to_lowercase())),
    };
    let slot = 100.0 / slices.len() as f64;
    let bars = slices.iter().enumerate().map(|(n, slice)| bar(slice, n as f64 * slot, slot, top)).collect();
    let ticks = [0, top / 2, top];
    let ticks = if top < 2 { &ticks[..1] } else { &ticks[..] };
    Some(Chart {
        description: description(&slices),
        bars,
        ticks: ticks.iter().map(|at| Tick { y: percent(height(*at, top)), label: grouped(*at) }).collect(),
        labels: labels(&slices, slot),
        legend: legend(&slices),
        table: table(kind, &title, &slices),
        title,
    })
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Hour => "Hour",
        Unit::Day => "Day",
        Unit::Week => "Week",
        Unit::Month => "Month",
        Unit::Quarter => "Quarter",
        Unit::Year => "Year",
    }
}

/// Rounds up to a number whose half is also round: 2, 4, 6, 8, 10, 12, 16, 20 … 80, 100, 120. Zero stays zero.
fn scale(most: u64) -> u64 {
    let powers = std::iter::successors(Some(1u64), |p| p.checked_mul(10));
    let tens = powers.flat_map(|p| [10u64, 12, 16, 20, 24, 30, 40, 50, 60, 80].map(|step| p.saturating_mul(step)));
    let mut steps = [2, 4, 6, 8].into_iter().chain(tens);
    if most == 0 { 0 } else { steps.find(|step| *step >= most).unwrap_or(u64::MAX) }
}

fn height(rows: u64, top: u64) -> f64 {
    if top == 0 { FLOOR } else { FLOOR - rows as f64 / top as f64 * (FLOOR - CEILING) }
}

fn percent(value: f64) -> String {
    format!("{value:.3}%")
}

fn bar(slice: &Slice, left: f64, slot: f64, top: u64) -> Bar {
    let mark = mark(slice);
    // One row among millions stays visible, and so does an empty partition.
    let y = height(slice.rows, top).min(FLOOR - if slice.rows > 0 { 1.0 } else { 1.5 });
    Bar {
        left: percent(left),
        slot: percent(slot),
        x: percent(left + slot * 0.1),
        width: percent(slot * 0.8),
        y: percent(y),
        height: percent(FLOOR - y),
        mark,
        has_empty: has_empty(slice),
        title: format!("{}: {}", slice.label, counted(slice.rows, "row")) + &troubles(slice),
    }
}

fn mark(slice: &Slice) -> &'static str {
    match slice.status() {
        "complete" if slice.empty == slice.partitions => "empty",
        "not tried" => "pending",
        other => other,
    }
}

fn has_empty(slice: &Slice) -> bool {
    slice.empty > 0 && slice.empty < slice.partitions
}

fn troubles(slice: &Slice) -> String {
    if slice.partitions == 1 {
        return match mark(slice) {
            "complete" => String::new(),
            "pending" => ", not tried".to_owned(),
            mark => format!(", {mark}"),
        };
    }
    let kinds =
        [(slice.failed, "failed"), (slice.pending, "not tried"), (slice.partial, "partial"), (slice.empty, "empty")];
    kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {} {what}", grouped(*n))).collect()
}

fn description(slices: &[Slice]) -> String {
    let sum = |of: fn(&Slice) -> u64| slices.iter().map(of).sum::<u64>();
    let partitions = sum(|s| s.partitions);
    let (first, last) = (slices.first().map(|s| s.label.as_str()), slices.last().map(|s| s.label.as_str()));
    format!(
        "{} from {} to {}: {} complete, of which {} empty; {} partial, {} failed, {} not tried. {} in all.",
        counted(partitions, "partition"),
        first.unwrap_or_default(),
        last.unwrap_or_default(),
        grouped(partitions - sum(|s| s.partial) - sum(|s| s.failed) - sum(|s| s.pending)),
        grouped(sum(|s| s.empty)),
        grouped(sum(|s| s.partial)),
        grouped(sum(|s| s.failed)),
        grouped(sum(|s| s.pending)),
        counted(slices.iter().fold(0, |rows: u64, s| rows.saturating_add(s.rows)), "row"),
    )
}

/// Labels of the first and last slices and some evenly spaced between them.
fn labels(slices: &[Slice], slot: f64) -> Vec<Label> {
    let last = slices.len() - 1;
    let mut at: Vec<usize> = if last < 4 { (0..=last).collect() } else { (0..5).map(|n| n * last / 4).collect() };
    at.dedup();
    let is_edge = |n: usize| n == 0 || n == last;
    let is_short = |n: usize| slices[n].label.chars().count() <= SHORT_LABEL;
    let always = |n: usize| is_edge(n) || (n == 2 * last / 4 && is_short(n));
    at.into_iter()
        .map(|n| {
            let (x, anchor) = match n {
                _ if last == 0 => (50.0, "middle"),
                0 => (0.0, "start"),
                n if n == last => (100.0, "end"),
                n => ((n as f64 + 0.5) * slot, "middle"),
            };
            Label { x: percent(x), anchor, is_always: always(n), text: shortened(&slices[n].label, LONGEST_LABEL) }
        })
        .collect()
}

fn legend(slices: &[Slice]) -> Vec<Mark> {
    let meanings = [
        ("complete", "complete"),
        ("empty", "complete, without rows"),
        ("has-empty", "some partitions without rows"),
        ("partial", "partial: rows were rejected"),
        ("failed", "failed: no file"),
        ("pending", "not tried: no file"),
    ];
    let mut marks: Vec<_> = slices.iter().map(mark).collect();
    marks.extend(slices.iter().any(has_empty).then_some("has-empty"));
    meanings.into_iter().filter(|(m, _)| marks.contains(m)).map(|(mark, meaning)| Mark { mark, meaning }).collect()
}

fn table(kind: &'static str, title: &str, slices: &[Slice]) -> Table {
    let number = |n: u64| if n == 0 { "0".to_owned() } else { grouped(n) };
    Table {
        caption: format!("{title}, as a table"),
        columns: columns([
            (kind, Style::Text),
            ("Status", Style::Status),
            ("Rows", Style::Number),
            ("Partitions", Style::Number),
            ("Empty", Style::Number),
            ("Partial", Style::Number),
            ("Failed", Style::Number),
            ("Not tried", Style::Number),
        ]),
        rows: slices
            .iter()
            .map(|s| {
                let mut row = vec![s.label.clone(), s.status().to_owned()];
                row.extend([s.rows, s.partitions, s.empty, s.partial, s.failed, s.pending].map(number));
                row
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_above_every_bar_and_has_a_middle() {
        assert_eq!([0, 1, 2, 3, 5, 10, 11, 999, 40_001].map(scale), [0, 2, 2, 4, 6, 10, 12, 1_000, 50_000]);
        assert_eq!(scale(u64::MAX), u64::MAX);
    }
}
