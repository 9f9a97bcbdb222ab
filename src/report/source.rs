//! The source section.

use std::collections::BTreeMap;

use super::page::{Block, Fact, Group, Section, Style, Table, columns};
use super::words::{counted, short_size, size};
use crate::package::manifest::{InputRecord, Manifest, SkipCode};
use crate::units::grouped;

/// Above this number of files, the table is collapsed.
const SHOWN_FILES: usize = 25;

/// The section.
pub(super) fn section(manifest: &Manifest) -> Section {
    let source = &manifest.source;
    let bytes = source.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes.unwrap_or(0)));
    let broken = source.files.iter().filter(|file| file.error.is_some()).count() as u64;
    let files = source.files.len() as u64;
    let mut facts = vec![
        Fact { values: source.uri.as_slice().to_vec(), ..Fact::code("Location", "") },
        Fact::words("Files", format!("{}, {}", counted(files, "file"), size(bytes))),
        Fact::words("Rows read", counted(manifest.accounting.source_rows, "row")),
    ];
    facts.extend(skipped(&source.files));
    if broken > 0 {
        facts.push(Fact::words("Could not be read", counted(broken, "file")));
    }
    if manifest.accounting.ambiguous_time > 0 {
        let text = format!(
            "{} with a local time that occurs twice or never in its zone: the earlier time was used, or the time was \
             shifted forward",
            counted(manifest.accounting.ambiguous_time, "row")
        );
        facts.push(Fact::words("Ambiguous times", text));
    }
    let mut blocks = vec![Block::Facts { facts }];
    if !source.files.is_empty() {
        blocks.push(Block::text(
            "Every source file as it was when the job was planned. A file that changed afterwards would have failed \
             its partitions.",
        ));
        blocks.push(table(&source.files));
    }
    if !source.drift.is_empty() {
        blocks.push(Block::Heading { text: "Schema differences between files or rows" });
        blocks.push(Block::List { items: source.drift.clone() });
    }
    if !source.unexported_keys.is_empty() {
        blocks.push(Block::Heading { text: "Keys around the rows, not exported" });
        blocks.push(Block::List { items: source.unexported_keys.clone() });
    }
    Section { id: "source", title: "Source", question: "Where does the information come from?", blocks }
}

/// Skipped files by reason.
fn skipped(files: &[InputRecord]) -> Vec<Fact> {
    let mut by_reason: BTreeMap<SkipCode, u64> = BTreeMap::new();
    for file in files.iter().filter(|file| file.skipped.is_some()) {
        *by_reason.entry(file.skip_code.unwrap_or_default()).or_default() += 1;
    }
    let fact = |(code, count): (SkipCode, u64)| {
        let files = counted(count, "file");
        match code {
            SkipCode::PathTime => Fact::words(
                "Skipped by name",
                format!("{files}: skipped because their names place them outside the window (path_time)"),
            ),
            _ => Fact::words("Skipped unread", format!("{files}: {}", code.in_words())),
        }
    };
    by_reason.into_iter().map(fact).collect()
}

fn table(files: &[InputRecord]) -> Block {
    let has = |of: fn(&InputRecord) -> bool| files.iter().any(of);
    let rows = files.iter().map(|file| {
        let version = match (&file.etag, file.mtime, &file.snapshot) {
            (Some(etag), _, _) => format!("ETag {etag}"),
            (None, Some(at), _) => format!("changed {at}"),
            (None, None, Some(snapshot)) => format!("snapshot {snapshot}"),
            (None, None, None) => "not recorded".to_owned(),
        };
        let what = match (&file.error, &file.skipped) {
            (Some(error), _) => format!("{}: {}", error.code, error.message),
            (None, Some(why)) => format!("skipped: {why}"),
            (None, None) => "read".to_owned(),
        };
        let rows = file.rows.map_or("unknown".to_owned(), grouped);
        vec![file.path.clone(), file.bytes.map_or("unknown".to_owned(), short_size), rows, version, what]
    });
    let table = Table {
        caption: "Source files".to_owned(),
        columns: columns([
            ("File", Style::Code),
            ("Size", Style::Number),
            ("Rows", Style::Number),
            ("Version", Style::Text),
            ("Use", Style::Text),
        ]),
        rows: rows.collect(),
    };
    if files.len() <= SHOWN_FILES {
        return Block::Table(table);
    }
    let (broken, skipped) = (has(|f| f.error.is_some()), has(|f| f.skipped.is_some()));
    let summary = match (broken, skipped) {
        (true, _) => "some could not be read",
        (false, true) => "some were skipped",
        (false, false) => "all were read",
    };
    let group = Group {
        title: counted(files.len() as u64, "source file"),
        summary: summary.to_owned(),
        status: if broken { "failed" } else { "complete" },
        is_open: broken,
        table,
    };
    Block::Groups { printed: files.len() <= super::files::MOST_PRINTED, groups: vec![group] }
}
