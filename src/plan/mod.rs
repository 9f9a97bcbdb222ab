//! The plan: a pure function of the job and the facts about its source, and a value that can be printed without being run.
//!
//! Partitions tile the window: the first starts where the window starts, each of the others where its predecessor ends,
//! and the last ends where the window ends. Every partition is in exactly one task.
//!
//! How a run acts on it:
//! - A [`Task`] writes `partitions` and reads `reads`. It keeps the rows of its own partitions. If [`Read::owner`] is set,
//!   it also accounts for the unit's rows that are outside the window, without a time, or unreadable. Every unit that is
//!   read has one owner, so every row is counted once.
//! - A unit in [`Plan::outside`] is not read; all its rows count as outside the window.
//! - A partition in [`Plan::broken`] fails without being tried. A task with no other partitions is not run. Broken inputs
//!   are in no task.
//! - A row without a time, or an unreadable one, fails [`Plan::affected_partitions`], or makes them partial.
//!
//! `_state/plan.json` pins this value: a run that resumes the job reads it back instead of planning again.

pub(crate) mod affected;
mod cut;
mod error;
pub(crate) mod partition;
pub(crate) mod record;
pub(crate) mod render;
pub(crate) mod task;
pub(crate) mod window;
mod window_text;

use std::ops::Range;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{PartitionBy, Window};
use crate::source::{Input, InputFacts, SkippedInput, SourceSchema, UnitFacts};
use crate::time::zone;
pub(crate) use affected::AffectedPartitions;
pub(crate) use error::PlanError;
pub(crate) use record::{PlannedColumn, PlannedInput, PlannedUnit, PlannedWindow, Totals};
use record::{read_schema_stream, schema_stream, totals};
pub(crate) use task::{Tasks, UnplannedInput};

/// Version of the plan's JSON.
pub(crate) const PLAN_VERSION: u32 = 2;

/// Everything that a run is going to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The version of this program.
    pub tool: String,
    /// [`crate::job::Job::id`].
    pub job_id: String,
    /// The resolved window.
    pub window: PlannedWindow,
    /// Slices of the window, in order.
    pub partitions: Vec<Partition>,
    /// The source's inputs, in the order of their rows.
    pub inputs: Vec<PlannedInput>,
    /// The columns of the source, for display.
    pub columns: Vec<PlannedColumn>,
    /// The schema of the source, which [`Plan::schema`] decodes: an Arrow IPC stream without batches, in base64. Type names
    /// as text would not be enough: Arrow's parser loses metadata, and the names of nested fields that contain quotes.
    pub arrow_schema: String,
    /// Where inputs or rows disagreed about the schema, and how the disagreement was resolved.
    pub drift: Vec<String>,
    /// Paths of keys in JSON documents outside the array of rows, which are not exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unexported_keys: Vec<String>,
    /// Totals over inputs and tasks.
    pub totals: Totals,
    /// In the order of their partitions; tasks without partitions come last.
    pub tasks: Vec<Task>,
    /// Units proven to lie outside the window.
    pub outside: Vec<Read>,
    /// Partitions that rows with unknown times may belong to, in the order of input and unit.
    pub affected: Vec<AffectedPartitions>,
    /// Inputs that are not read, and why; only in a plan made for display.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedInput>,
    /// Warnings for the user; only in a plan made for display.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A half-open slice of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Folder name below `data/`.
    pub label: String,
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

/// Units that are read once, together, and the partitions that their rows go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Indexes of the consecutive partitions that this task alone writes. Empty in a task that only accounts for rows with
    /// unknown times; [`Plan::affected_partitions`] lists the partitions that those may belong to.
    pub partitions: Range<u32>,
    /// The units to read, in the order of input and unit.
    pub reads: Vec<Read>,
}

/// One unit of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Index of the input in the plan.
    pub input: u32,
    /// Index of the unit in the input.
    pub unit: u32,
    /// Indexes of the partitions that its rows with a time may lie in.
    pub partitions: Range<u32>,
    /// Whether this task accounts for the unit's rows that it does not write (outside the window, without a time,
    /// unreadable, or of other tasks). Exactly one task owns each unit that is read.
    pub owner: bool,
}

/// An input and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct InputEntry<'a> {
    /// As listed.
    pub input: &'a Input,
    /// As inspected.
    pub facts: &'a InputFacts,
    /// The half-open period in its name (`source.path_time`).
    pub coverage: Option<(Timestamp, Timestamp)>,
}

/// Plans a job.
///
/// `entries` are in the order of their rows; the plan uses their indexes. `max_open` returns how many partitions may be open
/// at once, given their total number; if more would be open, the source is read in several passes.
///
/// # Errors
/// [`PlanError`] if the window cannot be partitioned.
pub(crate) fn plan(
    job_id: &str,
    window: &Window,
    by: PartitionBy,
    schema: &SourceSchema,
    entries: &[InputEntry<'_>],
    max_open: impl FnOnce(usize) -> usize,
) -> Result<Plan, PlanError> {
    let partitions = partition::partitions(window, by)?;
    let max_open = max_open(partitions.len());
    let unplanned: Vec<UnplannedInput> = entries.iter().map(UnplannedInput::from).collect();
    let Tasks { tasks, outside, affected } = task::tasks(&partitions, &unplanned, max_open);
    let inputs: Vec<PlannedInput> = entries.iter().map(PlannedInput::from).collect();
    Ok(Plan {
        version: PLAN_VERSION,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        job_id: job_id.to_owned(),
        window: PlannedWindow {
            start: window.start,
            end: window.end,
            label: window.label.clone(),
            timezone: zone::name(&window.timezone),
        },
        partitions,
        totals: totals(&inputs, &tasks),
        inputs,
        columns: schema.arrow.fields().iter().map(|field| PlannedColumn::new(field)).collect(),
        arrow_schema: schema_stream(&schema.arrow)?,
        drift: schema.drift.clone(),
        unexported_keys: schema.unexported_keys.clone(),
        tasks,
        outside,
        affected,
        skipped: Vec::new(),
        warnings: Vec::new(),
    })
}

impl From<&InputEntry<'_>> for UnplannedInput {
    fn from(entry: &InputEntry<'_>) -> Self {
        let InputFacts { units, problem } = entry.facts;
        Self { units: units.clone(), coverage: entry.coverage, is_broken: problem.is_some() }
    }
}

impl From<&InputEntry<'_>> for PlannedInput {
    fn from(entry: &InputEntry<'_>) -> Self {
        let InputFacts { units, problem } = entry.facts;
        let planned = |unit: &UnitFacts| PlannedUnit {
            rows: unit.rows,
            bytes: unit.encoded_bytes,
            decoded_bytes: unit.peak_decoded_bytes,
        };
        Self {
            input: entry.input.clone(),
            units: units.iter().map(planned).collect(),
            problem: problem.as_ref().map(ToString::to_string),
        }
    }
}

/// The index of a partition or unit, as plans store it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a plan has at most MAX_PARTITIONS partitions, and a file fewer than 2^32 units"
)]
pub(crate) fn index(position: usize) -> u32 {
    position as u32
}

impl Plan {
    /// The schema of the source.
    ///
    /// # Errors
    /// [`PlanError::Unreadable`] if `arrow_schema` is not what [`plan`] writes.
    pub fn schema(&self) -> Result<SchemaRef, PlanError> {
        read_schema_stream(&self.arrow_schema)
    }

    /// The unit that a read refers to; `None` if the plan has no such unit.
    pub fn unit(&self, read: &Read) -> Option<&PlannedUnit> {
        self.inputs.get(read.input as usize)?.units.get(read.unit as usize)
    }

    /// Whether a unit may have rows without a known time.
    pub fn may_have_unplaced_rows(&self, input: u32, unit: u32) -> bool {
        self.find_affected(input, unit).is_ok()
    }

    /// Indexes of the partitions that a row of a unit may belong to if its time is unknown.
    pub fn affected_partitions(&self, input: u32, unit: u32) -> Range<u32> {
        match self.find_affected(input, unit) {
            Ok(found) => self.affected.get(found).map_or(0..0, |affected| affected.partitions.clone()),
            // The plan proved that the unit has no such rows, so it did not narrow them down.
            Err(_) => 0..index(self.partitions.len()),
        }
    }

    fn find_affected(&self, input: u32, unit: u32) -> Result<usize, usize> {
        self.affected.binary_search_by_key(&(input, Some(unit)), |affected| (affected.input, affected.unit))
    }

    /// Indexes of broken inputs, and the partitions that each one fails.
    pub fn broken(&self) -> impl Iterator<Item = (u32, Range<u32>)> + '_ {
        self.affected.iter().filter(|c| c.unit.is_none()).map(|c| (c.input, c.partitions.clone()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::job::SourceCompression;
    use crate::job::SourceFormat;
    use crate::logical::json_field;
    use crate::source::{SourceError, SourceFile, TimeRange};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use std::sync::Arc;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn input(name: &str) -> Input {
        Input::File(SourceFile {
            at: std::path::PathBuf::from(name).into(),
            name: name.to_owned(),
            bytes: 1_000,
            modified: at("2026-03-05T00:00:00.123456789Z"),
            etag: None,
            format: SourceFormat::Ndjson,
            compression: SourceCompression::None,
            compression_is_declared: false,
            constants: Vec::new(),
        })
    }

    fn facts(min: &str, max: &str, unplaced_rows: u64) -> InputFacts {
        let times = TimeRange::Within { min: at(min), max: at(max) };
        InputFacts {
            units: vec![UnitFacts {
                rows: Some(10),
                encoded_bytes: 1_000,
                times,
                unplaced_rows: Some(unplaced_rows),
                peak_decoded_bytes: 0,
            }],
            problem: None,
        }
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("occurred_at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
            json_field(Field::new("metadata", DataType::Utf8View, true)),
            Field::new("cost", DataType::Decimal128(12, 6), false),
            Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true))), true),
            Field::new(
                "nested",
                DataType::Struct(vec![Field::new("a \"b\", c", DataType::Date32, false)].into()),
                true,
            ),
            Field::new("kind", DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), true),
        ]))
    }

    /// Four days; one file within, one across, one outside, one broken that is known to be of day three.
    pub(crate) fn example() -> Plan {
        let window = Window {
            start: at("2026-03-01T00:00:00Z"),
            end: at("2026-03-05T00:00:00Z"),
            label: "2026-03-01_2026-03-04".to_owned(),
            timezone: zone::find("UTC").unwrap(),
        };
        let inputs = ["a.ndjson", "b.ndjson", "c|`<\u{1b}[31m.ndjson", "e.ndjson"].map(input);
        let [a, b, c] = [
            facts("2026-03-01T01:00:00Z", "2026-03-01T23:00:00Z", 0),
            facts("2026-03-01T01:00:00Z", "2026-03-02T23:00:00Z", 1),
            facts("2026-01-01T01:00:00Z", "2026-01-02T23:00:00Z", 0),
        ];
        let problem = SourceError {
            name: "e.ndjson".to_owned(),
            position: Some(7),
            code: ErrorCode::SourceUnreadable,
            message: "the line ends within a value".to_owned(),
        };
        let e = InputFacts { units: Vec::new(), problem: Some(problem) };
        let day = Some((at("2026-03-03T00:00:00Z"), at("2026-03-04T00:00:00Z")));
        let entry = |i: usize, facts, coverage| InputEntry { input: &inputs[i], facts, coverage };
        let schema = SourceSchema {
            arrow: schema(),
            drift: vec!["`cost` is text in a.ndjson".to_owned()],
            unexported_keys: Vec::new(),
        };
        let entries = [entry(0, &a, None), entry(1, &b, None), entry(2, &c, None), entry(3, &e, day)];
        plan("job_example", &window, PartitionBy::Day, &schema, &entries, |_| 256).unwrap()
    }

    #[test]
    fn a_plan_is_read_back_as_it_was_written() {
        let plan = example();
        let json = serde_json::to_vec_pretty(&plan).unwrap();
        assert_eq!(serde_json::from_slice::<Plan>(&json).unwrap(), plan);
        assert_eq!(plan.schema().unwrap(), schema());
        let damaged = Plan { arrow_schema: "AAAA".to_owned(), ..plan };
        assert!(matches!(damaged.schema(), Err(PlanError::Unreadable { .. })));
    }

    #[test]
    fn a_run_finds_the_partitions_that_a_row_may_belong_to() {
        let plan = example();
        assert_eq!(plan.broken().collect::<Vec<_>>(), [(3, 2..3)]);
        assert_eq!(plan.affected_partitions(1, 0), 0..2);
        assert_eq!(plan.affected_partitions(0, 0), 0..4);
        assert_eq!(plan.outside.len(), 1);
    }

    #[test]
    fn totals_count_rows_once_and_bytes_as_often_as_they_are_read() {
        let totals = example().totals;
        assert_eq!((totals.source_rows, totals.source_bytes), (Some(30), 3_000));
        assert_eq!((totals.read_rows, totals.read_bytes), (Some(20), 2_000));
        assert_eq!(totals.passes, 0.67);
    }
}
