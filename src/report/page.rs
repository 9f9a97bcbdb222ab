//! The data of a template: a verdict and sections of plain blocks. Every sentence and number is final text.

use serde::Serialize;

use super::chart::Chart;
use super::conservation::Figure;
use super::verdict::Verdict;
use super::words::to_second;
use super::{accuracy, completeness, parameters, source};
use crate::package::manifest::Manifest;

/// A report.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// The spec's name.
    pub name: String,
    /// The window's calendar name.
    pub window: String,
    /// The export type.
    pub type_name: String,
    /// The job.
    pub job_id: String,
    /// When the manifest was written.
    pub finalized_at: String,
    /// Digest of the manifest.
    pub manifest_sha256: String,
    /// What made the page.
    pub maker: String,
    /// Whether the package is complete, and what to do if not.
    pub verdict: Verdict,
    /// The answers.
    pub sections: Vec<Section>,
}

impl Page {
    /// The report on a manifest whose bytes have this digest.
    pub(super) fn of(manifest: &Manifest, manifest_sha256: &str) -> Self {
        let zone = super::words::zone(manifest);
        Self {
            name: manifest.name.clone(),
            window: manifest.window_label.clone(),
            type_name: manifest.type_name.clone(),
            job_id: manifest.id.clone(),
            finalized_at: to_second(manifest.finalized_at, &zone),
            manifest_sha256: manifest_sha256.to_owned(),
            maker: super::maker(),
            verdict: Verdict::of(manifest),
            sections: vec![
                source::section(manifest),
                parameters::section(manifest, &zone),
                completeness::section(manifest, &zone),
                accuracy::section(manifest, manifest_sha256),
                accuracy::by_hand(manifest, manifest_sha256),
                accuracy::history(manifest, &zone),
            ],
        }
    }
}

/// Part of the page that answers one question.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    /// Anchor.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// The question.
    pub question: &'static str,
    /// The answer.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Block {
    /// A paragraph.
    Text {
        /// Its text.
        text: String,
    },
    /// A heading inside the section.
    Heading {
        /// Its text.
        text: &'static str,
    },
    /// Sentences.
    List {
        /// One item each.
        items: Vec<String>,
    },
    /// Names with values.
    Facts {
        /// In order.
        facts: Vec<Fact>,
    },
    /// A table.
    Table(Table),
    /// Collapsible tables.
    Groups {
        /// Whether they are printed; long ones are not.
        printed: bool,
        /// In order.
        groups: Vec<Group>,
    },
    /// Where every row went.
    Figure(Figure),
    /// Rows over time.
    Chart(Chart),
    /// Something to type.
    Command {
        /// What it proves.
        why: String,
        /// The command lines.
        lines: Vec<String>,
    },
}

impl Block {
    /// A paragraph.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// A name with values.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    /// What it is.
    pub name: &'static str,
    /// One line each.
    pub values: Vec<String>,
    /// Whether to show the values in a monospaced font.
    pub is_code: bool,
}

impl Fact {
    /// In words.
    pub(super) fn words(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, values: vec![value.into()], is_code: false }
    }

    /// In words, of many lines.
    pub(super) fn lines(name: &'static str, values: Vec<String>) -> Self {
        Self { name, values, is_code: false }
    }

    /// A digest, a path, an expression.
    pub(super) fn code(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, values: vec![value.into()], is_code: true }
    }
}

/// A table whose first column names its rows.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Caption, unique on the page.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Rows with one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    /// Its header.
    pub name: &'static str,
    /// How its cells look.
    pub style: Style,
}

/// How cells look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Style {
    /// Words.
    Text,
    /// Digits under digits.
    Number,
    /// A path or an identifier.
    Code,
    /// A long digest, which may be broken anywhere.
    Digest,
    /// A status, marked.
    Status,
}

/// Columns from pairs.
pub(super) fn columns<const N: usize>(of: [(&'static str, Style); N]) -> Vec<Column> {
    of.map(|(name, style)| Column { name, style }).into()
}

/// A table behind a summary.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    /// What is inside.
    pub title: String,
    /// How much, and in what state.
    pub summary: String,
    /// `complete`, or the worst status inside.
    pub status: &'static str,
    /// Whether it is open at first.
    pub is_open: bool,
    /// The table.
    pub table: Table,
}
