//! The proposal as a catalog that works at once: what was found, and what is uncertain, stands in it as comments.

use super::{Candidate, Proposal};
use crate::diagnostic::{escaped, masked};
use crate::spec::time_format_text;
use crate::units::counted;

/// Characters of a cell that are shown.
const CELL_CHARS: usize = 24;

/// Characters of a sample row that are shown.
const ROW_CHARS: usize = 110;

/// Characters of a type or name that are shown.
const NAME_CHARS: usize = 40;

/// Columns that are described.
const SHOWN_COLUMNS: usize = 200;

/// Other candidates that are named.
const SHOWN_TIMES: usize = 5;

/// The catalog. It is valid YAML and ends with a line end.
pub(crate) fn catalog_text(proposal: &Proposal) -> String {
    let mut text = String::from(
        "# yaml-language-server: $schema=schema/catalog.schema.json\n# Proposed by kt-export inspect: check what is marked \
         as a guess.\nversion: 1\ntypes:\n",
    );
    text += &format!("  {}:\n", super::yaml::scalar(&proposal.type_name));
    let mut add = |line: &str| {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    };
    for line in what_was_read(proposal) {
        add(&comment(&line));
    }
    for line in proposal.entry.source_lines() {
        add(&line);
    }
    for line in about_time(proposal) {
        add(&comment(&line));
    }
    match &proposal.entry.time {
        Some(time) => time.lines().iter().for_each(|line| add(line)),
        None => add("# time: {column: …, format: …}"),
    }
    if let Some(id) = &proposal.entry.id {
        add(&comment(&format!("`{id}` is not null and unique in the rows read.")));
    }
    for line in proposal.entry.other_lines() {
        add(&line);
    }
    for line in columns(proposal).into_iter().chain(sample(proposal)) {
        add(&comment(&line));
    }
    text
}

/// What comes from files has no character that could end the comment, and no secret.
fn comment(line: &str) -> String {
    format!("# {}", escaped(&masked(line))).trim_end().to_owned()
}

fn what_was_read(proposal: &Proposal) -> Vec<String> {
    let files = &proposal.files;
    let size = bytesize::ByteSize(files.bytes).display().iec();
    let rows = counted(proposal.rows as u64, "row");
    let listed = counted(files.listed as u64, "file");
    let read = match (files.read == files.listed, files.is_whole) {
        (true, true) => format!("{listed} ({size}), {rows} read."),
        (true, false) => format!("{listed} ({size}), {rows} read, from the beginning of each."),
        (false, true) => format!("{listed} ({size}), of which {} were looked into: {rows} read.", files.read),
        (false, false) => {
            format!(
                "{listed} ({size}), of which {} were looked into: {rows} read, from the beginning of each.",
                files.read
            )
        }
    };
    let mut lines = vec![read];
    let mut notes = proposal.notes.iter();
    lines.extend(notes.next().map(|format| format!("Format: {format}.")));
    lines.extend(notes.map(|note| format!("Guess: {note}.")));
    lines
}

/// A time, its format, range and nulls.
fn described(candidate: &Candidate) -> String {
    let format = candidate.formats.first().map_or("auto".into(), time_format_text);
    let nulls = if candidate.nulls == 0 {
        String::new()
    } else {
        format!(", null in {} of {} rows", candidate.nulls, candidate.rows)
    };
    format!("`{}` ({format}) from {} to {}{nulls}", candidate.name(), candidate.min, candidate.max)
}

fn about_time(proposal: &Proposal) -> Vec<String> {
    let mut lines = Vec::new();
    let (Some(first), Some(certainty)) = (proposal.times.first(), proposal.certainty) else {
        lines.push(
            "No time was found: looked for columns and paths whose values are all timestamps, dates, RFC 3339 text, counts \
             since 1970 between 2000 and 2100, or text in a common pattern."
                .to_owned(),
        );
        lines.push("Fill in the time, without which a run is refused:".to_owned());
        return lines;
    };
    let (min, max) = proposal.range.unwrap_or((first.min, first.max));
    let nulls = if first.nulls == 0 { String::new() } else { ", with nulls".to_owned() };
    lines.push(format!("Time: {}, from {min} to {max} in what was read{nulls}.", certainty.as_str()));
    if first.is_local {
        lines.push("Guess: its values have no zone and are read as UTC; set `timezone` if they are local.".to_owned());
    }
    if let [_, others @ ..] = first.formats.as_slice()
        && !others.is_empty()
    {
        let others: Vec<_> = others.iter().map(|format| format!("`{}`", time_format_text(format))).collect();
        lines.push(format!("Guess: these formats fit as well: {}.", others.join(", ")));
    }
    let others = proposal.times.get(1..).unwrap_or_default();
    lines.extend(others.iter().take(SHOWN_TIMES).map(|other| format!("Other candidate: {}.", described(other))));
    if others.len() > SHOWN_TIMES {
        lines.push(format!("{} more columns hold times.", others.len() - SHOWN_TIMES));
    }
    lines.extend(proposal.to_do.iter().map(|what| format!("To do: {what}.")));
    lines
}

fn columns(proposal: &Proposal) -> Vec<String> {
    let shown: Vec<_> = proposal.columns.iter().take(SHOWN_COLUMNS).collect();
    if shown.is_empty() {
        return Vec::new();
    }
    let cut_names = shown.iter().map(|column| cut(&column.name, NAME_CHARS)).collect::<Vec<_>>();
    let types: Vec<_> = shown.iter().map(|column| cut(&column.type_name, NAME_CHARS)).collect();
    let width = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or_default();
    let (names_width, types_width) = (width(&cut_names), width(&types));
    let mut lines = vec!["Columns, by the rows read:".to_owned()];
    for ((column, name), type_name) in shown.iter().zip(&cut_names).zip(&types) {
        let nulls = share(column.nulls, proposal.rows);
        lines.push(format!("  {name:<names_width$}  {type_name:<types_width$}  {nulls}"));
    }
    if proposal.columns.len() > SHOWN_COLUMNS {
        lines.push(format!("  and {} more", proposal.columns.len() - SHOWN_COLUMNS));
    }
    lines
}

/// A share of nulls, in which neither a few nor almost all are rounded away.
fn share(nulls: usize, rows: usize) -> String {
    let percent = (nulls * 100).checked_div(rows).unwrap_or_default();
    match (nulls, percent) {
        (0, _) => "no nulls".to_owned(),
        (_, 0) => "less than 1 % null".to_owned(),
        (nulls, _) if nulls == rows => "always null".to_owned(),
        (_, percent) => format!("{percent} % null"),
    }
}

fn sample(proposal: &Proposal) -> Vec<String> {
    if proposal.sample.is_empty() {
        return Vec::new();
    }
    let row = |cells: &Vec<Option<String>>| {
        let cells: Vec<_> =
            cells.iter().map(|cell| cell.as_ref().map_or(String::new(), |c| cut(c, CELL_CHARS))).collect();
        format!("  {}", cut(&cells.join(" | "), ROW_CHARS))
    };
    std::iter::once("Sample rows:".to_owned()).chain(proposal.sample.iter().map(row)).collect()
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nulls_is_never_rounded_to_none_or_all() {
        for (nulls, rows, text) in [
            (0, 0, "no nulls"),
            (0, 7, "no nulls"),
            (1, 1000, "less than 1 % null"),
            (1, 2, "50 % null"),
            (999, 1000, "99 % null"),
            (7, 7, "always null"),
        ] {
            assert_eq!(share(nulls, rows), text);
        }
    }

    #[test]
    fn a_comment_stays_one_line_and_masks_secrets() {
        assert_eq!(comment("a\nb: c\u{1b}[0m"), "# a\\u{a}b: c\\u{1b}[0m");
        assert_eq!(comment("https://u:secret@h/x"), "# https://********@h/x");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
