//! The completeness section: rows, partitions, files, expectations.

use jiff::tz::TimeZone;

use super::chart::chart;
use super::conservation::figure;
use super::files;
use super::page::{Block, Section, Style, Table, columns};
use super::words::{counted, short_size};
use crate::package::manifest::Manifest;
use crate::units::grouped;

/// The section.
pub(super) fn section(manifest: &Manifest, zone: &TimeZone) -> Section {
    let mut blocks = vec![Block::Heading { text: "Every row of the source" }, Block::Figure(figure(manifest))];
    if !manifest.filter_counts.is_empty() {
        blocks.push(Block::Table(filter_counts(manifest)));
    }
    if let Some(chart) = chart(&manifest.files, zone) {
        blocks.extend([Block::Heading { text: "Rows over time" }, Block::Chart(chart)]);
    }
    blocks.push(Block::Heading { text: "Expectations of the spec" });
    blocks.push(expectations(manifest));
    blocks.push(Block::Heading { text: "Rejected rows" });
    blocks.extend(rejects(manifest));
    blocks.push(Block::Heading { text: "Status of every file" });
    blocks.extend(files::blocks(manifest, zone));
    Section { id: "completeness", title: "Completeness", question: "Is everything there?", blocks }
}

fn filter_counts(manifest: &Manifest) -> Table {
    let rows = manifest.filter_counts.iter().map(|count| vec![count.filter.clone(), grouped(count.rows)]);
    Table {
        caption: "Rows excluded by each filter, counted at the first filter that they failed".to_owned(),
        columns: columns([("Filter", Style::Code), ("Rows", Style::Number)]),
        rows: rows.collect(),
    }
}

fn expectations(manifest: &Manifest) -> Block {
    let Some(expectations) = manifest.expectations.as_ref().filter(|e| !e.is_empty()) else {
        return Block::text(
            "The spec has no expectations. Matching row counts do not show that the source was complete: an empty \
             source matches, too.",
        );
    };
    let rows = expectations.iter().map(|e| {
        let holds = if e.holds { "holds" } else { "does not hold" };
        vec![e.name.clone(), holds.to_owned(), e.in_words()]
    });
    Block::Table(Table {
        caption: "Expectations".to_owned(),
        columns: columns([("Expectation", Style::Code), ("Result", Style::Status), ("Meaning", Style::Text)]),
        rows: rows.collect(),
    })
}

fn rejects(manifest: &Manifest) -> Vec<Block> {
    let books = &manifest.accounting;
    if manifest.rejects.is_empty() {
        return vec![Block::text(match books.rejected.saturating_add(books.null_time) {
            0 => "None: every row was parsed and has a time.".to_owned(),
            rows => format!("{} were rejected, and no file contains them.", counted(rows, "row")),
        })];
    }
    let rows = manifest
        .rejects
        .iter()
        .map(|file| vec![file.path.clone(), grouped(file.rows), short_size(file.bytes), file.sha256.clone()]);
    vec![Block::Table(Table {
        caption: "Rows that could not be parsed or have no time".to_owned(),
        columns: columns([
            ("File", Style::Code),
            ("Rows", Style::Number),
            ("Size", Style::Number),
            ("SHA-256", Style::Digest),
        ]),
        rows: rows.collect(),
    })]
}
