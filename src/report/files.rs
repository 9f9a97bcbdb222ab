//! The status of every file: one table if there are few, else one collapsed table per period.

use jiff::tz::TimeZone;

use super::page::{Block, Column, Group, Style, Table, columns};
use super::slices::{Slice, at_most};
use super::words::{counted, short_size, status};
use crate::package::manifest::{FileEntry, Manifest};
use crate::units::grouped;

/// Above this number of files, tables are collapsed by period.
const SHOWN: usize = 100;

/// Maximum number of collapsed tables.
const MOST_GROUPS: usize = 62;

/// Incomplete groups are expanded if there are fewer than this.
const MOST_OPEN: usize = 6;

/// Maximum number of files to print on paper. `SHA256SUMS` lists all.
pub(super) const MOST_PRINTED: usize = 1_000;

/// The list.
pub(super) fn blocks(manifest: &Manifest, zone: &TimeZone) -> Vec<Block> {
    let files = &manifest.files;
    if files.is_empty() {
        return vec![Block::text("There is no file: the job ended before it had partitions.")];
    }
    let all: Vec<&FileEntry> = files.iter().collect();
    if files.len() <= SHOWN {
        return vec![Block::Table(table("Files".to_owned(), &all, zone))];
    }
    let (_, slices) = at_most(MOST_GROUPS, files, zone);
    let troubled = slices.iter().filter(|slice| slice.status() != "complete").count();
    let groups = slices.into_iter().map(|slice| group(slice, zone, troubled < MOST_OPEN)).collect();
    let printed = files.len() <= MOST_PRINTED;
    let note = if printed { "" } else { " Only the summaries are printed; SHA256SUMS lists every file." };
    vec![
        Block::text(format!("{} in groups; each opens.{note}", counted(files.len() as u64, "file"))),
        Block::Groups { printed, groups },
    ]
}

fn group(slice: Slice, zone: &TimeZone, may_open: bool) -> Group {
    let troubles = [(slice.failed, "failed"), (slice.pending, "not tried"), (slice.partial, "partial")];
    let mut states: Vec<String> =
        troubles.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n))).collect();
    if states.is_empty() {
        states.push("all complete".to_owned());
    }
    let parts = [
        counted(slice.partitions, "partition"),
        counted(slice.files.len() as u64, "file"),
        counted(slice.rows, "row"),
        short_size(slice.bytes),
        states.join(", "),
    ];
    Group {
        summary: parts.join(" · "),
        status: slice.status(),
        is_open: may_open && slice.status() != "complete",
        table: table(format!("Files of {}", slice.label), &slice.files, zone),
        title: slice.label,
    }
}

fn table(caption: String, files: &[&FileEntry], zone: &TimeZone) -> Table {
    let why = files.iter().any(|file| file.error.is_some() || file.error_code.is_some());
    let plain = files.iter().any(|file| file.plain_sha256.is_some());
    let mut shown: Vec<Column> = columns([
        ("File", Style::Code),
        ("Status", Style::Status),
        ("Rows", Style::Number),
        ("Size", Style::Number),
        ("First and last time", Style::Text),
        ("SHA-256", Style::Digest),
    ]);
    if plain {
        shown.push(Column { name: "SHA-256 before encryption", style: Style::Digest });
    }
    if why {
        shown.push(Column { name: "Why", style: Style::Text });
    }
    let rows = files.iter().map(|file| {
        let mut row = vec![
            file.path.clone(),
            status(file.status).to_owned(),
            grouped(file.rows),
            short_size(file.bytes),
            times(file, zone),
            file.sha256.clone().unwrap_or_else(|| "no file".to_owned()),
        ];
        row.extend(plain.then(|| file.plain_sha256.clone().unwrap_or_default()));
        row.extend(why.then(|| reason(file)));
        row
    });
    Table { caption, columns: shown, rows: rows.collect() }
}

/// In the window's zone, to the second; the manifest has full precision.
fn times(file: &FileEntry, zone: &TimeZone) -> String {
    let short = |at: jiff::Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    match (file.min_time, file.max_time) {
        _ if file.sealed.is_some() => "sealed".to_owned(),
        (Some(first), Some(last)) => {
            let (first, last) = (short(first), short(last));
            match (first.split_once(' '), last.split_once(' ')) {
                (Some((a, _)), Some((b, clock))) if a == b => format!("{first} – {clock}"),
                _ => format!("{first} – {last}"),
            }
        }
        _ if file.status.has_file() => "no rows".to_owned(),
        _ => String::new(),
    }
}

/// Error code and message of an incomplete file.
pub(super) fn reason(file: &FileEntry) -> String {
    match (file.error_code, &file.error) {
        (Some(code), Some(error)) => format!("{code}: {error}"),
        (Some(code), None) => code.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => String::new(),
    }
}
