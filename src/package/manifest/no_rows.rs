//! Why a package has no rows: that is a finding, not a comfort.
//!
//! A package without rows can mean that nothing happened, that a filter asks for a value that nobody writes, or that nobody
//! delivered the files. The books balance in each case, so the manifest says which one it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Accounting, FileEntry, Manifest, SkipCode, SourceRecord};
use crate::units::{counted, grouped};

/// Why the shards have no rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoRows {
    /// Where the rows were lost, if there were any.
    pub reason: NoRowsReason,
    /// Values in the filtered columns, of rows inside the window. Omitted if values are redacted or encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldValues>,
}

/// Why there are no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoRowsReason {
    /// No file was read: there was none, or every one was skipped.
    NothingToRead,
    /// Files were read, but they had no rows.
    FilesWithoutRows,
    /// Every row lies outside the window.
    NoneInWindow,
    /// All other rows could not be read or had no time.
    NonePlaced,
    /// The filters dropped every row inside the window.
    AllFilteredOut,
}

/// Values of a column that a filter tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldValues {
    /// As in `filter_counts`.
    pub filter: String,
    /// Source column.
    pub column: String,
    /// Some of its values, in order; long ones are truncated.
    pub values: Vec<String>,
    /// Whether there are no others.
    pub is_all: bool,
}

impl NoRowsReason {
    /// `None` where there are rows, or where a partition has no shard.
    pub fn of(total_rows: u64, files: &[FileEntry], source: &SourceRecord, books: &Accounting) -> Option<Self> {
        if total_rows > 0 || files.is_empty() || !files.iter().all(|file| file.status.has_file()) {
            return None;
        }
        Some(match () {
            () if source.files_read() == 0 => Self::NothingToRead,
            () if books.source_rows == 0 => Self::FilesWithoutRows,
            () if books.source_rows == books.outside_window => Self::NoneInWindow,
            () if books.filtered_out == 0 => Self::NonePlaced,
            () => Self::AllFilteredOut,
        })
    }
}

impl Manifest {
    /// Why the package has no rows; `None` where it has some, or where a partition has no shard. A manifest of a release
    /// that did not say so is asked for what it shows.
    pub fn why_no_rows(&self) -> Option<NoRows> {
        let reason = NoRowsReason::of(self.total_rows, &self.files, &self.source, &self.accounting)?;
        Some(self.no_rows.clone().unwrap_or(NoRows { reason, held: Vec::new() }))
    }

    /// The finding of [`Manifest::why_no_rows`], without a capital or a full stop.
    pub fn no_rows_in_words(&self, finding: &NoRows) -> String {
        let files_read = self.source.files_read();
        let read = counted(files_read as u64, "file");
        let was = if files_read == 1 { "was" } else { "were" };
        let rows = |rows: u64| format!("{} row{}", grouped(rows), if rows == 1 { "" } else { "s" });
        let books = &self.accounting;
        let skipped = self.source.files.len() - files_read;
        let claimed = self.source.files.iter().filter(|file| file.skip_code == Some(SkipCode::PathTime)).count();
        let mut text = match finding.reason {
            NoRowsReason::NothingToRead if skipped == 0 => {
                "there was nothing to read: the source has no file".to_owned()
            }
            NoRowsReason::NothingToRead => {
                let all = counted(skipped as u64, "file");
                format!("there was nothing to read: the source has {all}, and none was read")
            }
            NoRowsReason::FilesWithoutRows => format!("{read} {was} read and had no rows"),
            NoRowsReason::NoneInWindow => {
                format!("{read} with {} {was} read, and every row lies outside the window", rows(books.source_rows))
            }
            NoRowsReason::NonePlaced => {
                let lost = rows(books.rejected.saturating_add(books.null_time));
                format!("{read} {was} read, and {lost} could not be read or had no time")
            }
            NoRowsReason::AllFilteredOut => {
                format!("{read} {was} read, and the filters left out all {} of the window", rows(books.filtered_out))
            }
        };
        if claimed > 0 {
            text.push_str(&format!(
                "; {} not read, because `path_time` says of {} that no row of the window is in {}",
                if claimed == 1 {
                    "1 file was".to_owned()
                } else {
                    format!("{} were", counted(claimed as u64, "file"))
                },
                if claimed == 1 { "its name" } else { "their names" },
                if claimed == 1 { "it" } else { "them" },
            ));
        }
        for held in &finding.held {
            let values: Vec<_> = held.values.iter().map(|value| format!("“{value}”")).collect();
            let more = if held.is_all { "" } else { " and others" };
            let holds = if values.is_empty() { "only nulls".to_owned() } else { values.join(", ") };
            text.push_str(&format!("; in the window `{}` holds {holds}{more}", held.column));
        }
        text
    }
}
