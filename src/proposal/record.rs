//! The proposal as JSON, for programs. Version 1.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Candidate, Certainty, Proposal, catalog_text};
use crate::diagnostic::masked;
use crate::spec::time_format_text;

/// What `inspect --json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct ProposalRecord {
    /// 1.
    version: u32,
    /// Name of the type.
    #[serde(rename = "type")]
    type_name: String,
    /// The catalog, as without `--json`.
    catalog: String,
    files: FilesRecord,
    /// Rows that were read.
    rows_read: usize,
    /// How the format was found, and what else is a guess.
    notes: Vec<String>,
    /// What a person has to do before a run works.
    to_do: Vec<String>,
    /// The time that is proposed; null if none was found.
    time: Option<TimeRecord>,
    /// Other columns that may be the time, the best first.
    other_times: Vec<CandidateRecord>,
    /// The column that names a row; null if none was found.
    id: Option<String>,
    columns: Vec<ColumnRecord>,
    /// The first rows: name of the column to text or null.
    sample: Vec<Map<String, Value>>,
}

#[derive(Debug, Serialize)]
struct FilesRecord {
    /// Files of the source.
    listed: usize,
    /// Their bytes.
    bytes: u64,
    /// Files that were looked into.
    read: usize,
    /// Whether those were read to their ends.
    to_their_ends: bool,
    skipped: Vec<SkippedRecord>,
}

#[derive(Debug, Serialize)]
struct SkippedRecord {
    path: String,
    skip_code: &'static str,
    skipped: String,
}

#[derive(Debug, Serialize)]
struct TimeRecord {
    certainty: Option<Certainty>,
    #[serde(flatten)]
    candidate: CandidateRecord,
}

#[derive(Debug, Serialize)]
struct CandidateRecord {
    /// One column or path, or several that are joined.
    columns: Vec<String>,
    /// Formats that read every value, the proposed one first.
    formats: Vec<String>,
    /// Earliest value.
    min: String,
    /// Latest value.
    max: String,
    /// Rows without a value, of those that were read.
    nulls: usize,
}

#[derive(Debug, Serialize)]
struct ColumnRecord {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    nulls: usize,
}

impl CandidateRecord {
    fn new(candidate: &Candidate) -> Self {
        Self {
            columns: candidate.columns.clone(),
            formats: candidate.formats.iter().map(|format| time_format_text(format).into_owned()).collect(),
            min: candidate.min.to_string(),
            max: candidate.max.to_string(),
            nulls: candidate.nulls,
        }
    }
}

impl ProposalRecord {
    /// The record of a proposal.
    pub(crate) fn new(proposal: &Proposal) -> Self {
        let time = proposal.times.first().map(|first| {
            let mut candidate = CandidateRecord::new(first);
            if let Some((min, max)) = proposal.range {
                (candidate.min, candidate.max) = (min.to_string(), max.to_string());
            }
            TimeRecord { certainty: proposal.certainty, candidate }
        });
        let row = |cells: &Vec<Option<String>>| {
            let names = proposal.columns.iter().map(|column| column.name.clone());
            names.zip(cells.iter().cloned().map(Value::from)).collect()
        };
        let columns = proposal.columns.iter().map(|column| ColumnRecord {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            nulls: column.nulls,
        });
        let skipped = proposal.files.skipped.iter().map(|file| SkippedRecord {
            path: masked(&file.name).into_owned(),
            skip_code: file.code.as_str(),
            skipped: file.reason.clone(),
        });
        Self {
            version: 1,
            type_name: proposal.type_name.clone(),
            catalog: catalog_text(proposal),
            files: FilesRecord {
                listed: proposal.files.listed,
                bytes: proposal.files.bytes,
                read: proposal.files.read,
                to_their_ends: proposal.files.is_whole,
                skipped: skipped.collect(),
            },
            rows_read: proposal.rows,
            notes: proposal.notes.clone(),
            to_do: proposal.to_do.clone(),
            time,
            other_times: proposal.times.iter().skip(1).map(CandidateRecord::new).collect(),
            id: proposal.entry.id.clone(),
            columns: columns.collect(),
            sample: proposal.sample.iter().map(row).collect(),
        }
    }
}
