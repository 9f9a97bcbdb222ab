//! Coverage for people: a timeline and a list of what is wrong.
//!
//! Plain ASCII, so that it reads the same on a terminal, in a pipe and in working papers. A cell says `#` only where all
//! of it is covered: a gap of a second shows as `-`, however long the line's time is. Names come from packages, so
//! nothing of them may act on a terminal.

#![expect(clippy::let_underscore_must_use, reason = "writing to a String does not fail")]

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::CoverageReport;
use super::examine::{ExaminedPackage, PackageState};
use super::group::Group;
use super::interval::{Interval, gaps, union};
use crate::diagnostic::{escaped, shown};
use crate::units::counted;

/// More packages than these are drawn in the line of all together only.
const SHOWN_PACKAGES: usize = 60;

/// Lines of a list that a person is shown.
const SHOWN_LINES: usize = 50;

/// Cells of a timeline, at least and at most.
const CELLS: std::ops::RangeInclusive<usize> = 20..=120;

const LEGEND: &str = "# covered  - in part  X more than once  ? unverified  o set aside  . not covered";

/// The text, with instants as a zone writes them, for a terminal of so many columns.
pub fn text(report: &CoverageReport, zone: &TimeZone, columns: usize) -> String {
    let mut out = String::new();
    for group in &report.groups {
        draw(&mut out, group, zone, columns);
        out.push('\n');
    }
    list(&mut out, "packages whose manifests cannot be read:", report.unreadable.iter().map(line));
    if report.groups.is_empty() {
        out.push_str("no package covers anything that was asked for\n");
    }
    list(&mut out, "left out:", report.left_out.iter().map(|name| escaped(name)));
    out
}

fn draw(out: &mut String, group: &Group, zone: &TimeZone, columns: usize) {
    let (start, end) = (at(group.interval.start, zone), at(group.interval.end, zone));
    // Writing to a String does not fail.
    let _ = writeln!(out, "{} ({}): {}", shown(&group.name), shown(&group.type_name), verdict(group));
    let _ = writeln!(out, "  {start} to {end}, {}\n", counted(group.packages.len(), "package"));

    let is_short = group.packages.len() <= SHOWN_PACKAGES;
    let drawn: &[ExaminedPackage] = if is_short { &group.packages } else { &[] };
    let labels: Vec<String> = drawn.iter().map(label).collect();
    let width = labels.iter().map(|label| label.chars().count()).chain(["together".len()]).max().unwrap_or(0);
    let cells = columns.saturating_sub(width + 4).clamp(*CELLS.start(), *CELLS.end());
    for (package, label) in drawn.iter().zip(&labels) {
        let _ =
            writeln!(out, "  {label:width$}  {}", timeline(group.interval, cells, |cell| of_package(package, cell)));
    }
    let covered = union(group.packages.iter().filter(|p| p.state == PackageState::Counted).flat_map(covered));
    let together = timeline(group.interval, cells, |cell| {
        let is_twice = group.overlaps.iter().any(|overlap| overlap.interval.intersection(cell).is_some());
        if is_twice { 'X' } else { mark(&covered, cell) }
    });
    let _ = writeln!(out, "  {:width$}  {together}\n  {:width$}  {LEGEND}", "together", "");

    let stretch = |interval: Interval| format!("{} to {}", at(interval.start, zone), at(interval.end, zone));
    let gaps = group.gaps.iter().map(|gap| match gap.because.as_slice() {
        [] => format!("{}: no package", stretch(gap.interval)),
        [one] => format!("{}: {}: {}", stretch(gap.interval), escaped(&one.package), escaped(&one.why)),
        [first, rest @ ..] => {
            let (package, why) = (escaped(&first.package), escaped(&first.why));
            format!("{}: {package}: {why}; and {} more, which --json lists", stretch(gap.interval), rest.len())
        }
    });
    list(out, "not covered:", gaps);
    let overlaps = group
        .overlaps
        .iter()
        .map(|overlap| format!("{}: {}", stretch(overlap.interval), escaped(&overlap.packages.join(", "))));
    list(out, "covered more than once, so that rows are there more than once:", overlaps);
    let is_plain = |package: &&ExaminedPackage| package.state == PackageState::Counted && package.notes.is_empty();
    list(out, "packages to look at:", group.packages.iter().filter(|p| !is_plain(p)).map(line));
    list(out, "together:", group.notes.iter().map(|note| escaped(note)));
}

fn verdict(group: &Group) -> String {
    if group.covered {
        return "covered".to_owned();
    }
    let unverified = group.packages.iter().filter(|package| package.state == PackageState::Unverified).count();
    let parts = [(group.gaps.len(), "gap"), (group.overlaps.len(), "overlap"), (unverified, "unverified package")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(*count, what));
    format!("NOT COVERED: {}", parts.collect::<Vec<_>>().join(", "))
}

fn list(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for line in lines.iter().take(SHOWN_LINES) {
        let _ = writeln!(out, "  {line}");
    }
    if lines.len() > SHOWN_LINES {
        let _ = writeln!(out, "  … and {} more; --json lists all", lines.len() - SHOWN_LINES);
    }
}

fn label(package: &ExaminedPackage) -> String {
    let label = package.claim.as_ref().map_or("", |claim| &claim.window_label);
    label.chars().take(24).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn line(package: &ExaminedPackage) -> String {
    let what = match package.state {
        PackageState::Counted => "counts",
        PackageState::Superseded => "superseded",
        PackageState::Copy => "a copy",
        PackageState::Unfinished => "an unfinished revision",
        PackageState::Unverified => "UNVERIFIED",
    };
    let notes = package.notes.join("; ");
    format!("{}: {what}: {}", escaped(&package.package), escaped(&notes))
}

fn covered(package: &ExaminedPackage) -> Vec<Interval> {
    package.claim.as_ref().map(|claim| claim.covered.clone()).unwrap_or_default()
}

fn of_package(package: &ExaminedPackage, cell: Interval) -> char {
    let Some(claim) = &package.claim else { return '.' };
    let aside = match package.state {
        PackageState::Counted => return mark(&claim.covered, cell),
        PackageState::Unverified => '?',
        PackageState::Superseded | PackageState::Copy | PackageState::Unfinished => 'o',
    };
    if claim.window.intersection(cell).is_some() { aside } else { '.' }
}

fn mark(union: &[Interval], cell: Interval) -> char {
    if gaps(cell, union).is_empty() {
        '#'
    } else if union.iter().any(|interval| interval.intersection(cell).is_some()) {
        '-'
    } else {
        '.'
    }
}

/// Equal stretches of an interval, each as one character.
fn timeline(interval: Interval, cells: usize, draw: impl Fn(Interval) -> char) -> String {
    let (start, end) = (interval.start.as_nanosecond(), interval.end.as_nanosecond());
    let count = i128::try_from(cells).unwrap_or(1).max(1);
    let edge = |index: i128| Timestamp::from_nanosecond(start + (end - start) * index / count).ok();
    (0..count)
        // Of an interval of few nanoseconds some cells hold none.
        .filter_map(|index| Interval::new(edge(index)?, edge(index + 1)?))
        .map(draw)
        .collect()
}

/// An instant as the zone writes it.
fn at(at: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC { at.to_string() } else { at.display_with_offset(zone.to_offset(at)).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(start: &str, end: &str) -> Interval {
        Interval::new(start.parse().unwrap(), end.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_smallest_gap_shows_and_only_whole_cells_are_called_covered() {
        let year = interval("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let almost = [
            interval("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"),
            interval("2026-06-01T00:00:00.000001Z", "2026-07-01T00:00:00Z"),
        ];
        assert_eq!(timeline(year, 20, |cell| mark(&almost, cell)), "########--..........");
        assert_eq!(timeline(interval("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000003Z"), 20, |_| '#'), "###");
    }

    #[test]
    fn instants_are_written_as_the_zone_does() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let spring = "2026-03-29T01:00:00Z".parse().unwrap();
        assert_eq!(at(spring, &TimeZone::UTC), "2026-03-29T01:00:00Z");
        assert_eq!(at(spring, &berlin), "2026-03-29T03:00:00+02:00");
    }
}
