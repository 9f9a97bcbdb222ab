//! Runs jobs over a source that is not made of files: a table in memory, with a declared schema, a snapshot, and slices
//! whose numbers of rows only reading can tell. What holds here has to hold for every database.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;

use super::example::{self, Example};
use super::{RunError, RunOptions, RunOutcome, run_from};
use crate::audit::verify::{VerifyOptions, verify};
use crate::error::ErrorCode;
use crate::package::manifest::{FileStatus, JobStatus, Manifest};
use crate::source::formats::rows::inspect::in_one_step;
use crate::source::{
    Batch, BatchReader, ChunkReader, Input, InputFacts, InspectRequest, Inspection, InspectionSteps, ListError,
    Listing, OneChunk, Period, Positions, ReadRequest, Slice, Source, SourceError, SourceKind, StepResults,
    TableEvidence, TimeRange, UnitFacts,
};

const SNAPSHOT: &str = "00000003-0000001B-1";

/// Rows of one slice: id, time, action.
type Row = (i64, Option<&'static str>, &'static str);

/// A table, cut into one slice per day.
struct Table {
    slices: BTreeMap<&'static str, Vec<Row>>,
    /// Number of rows that the table says a slice has; `None` if it does not say.
    counted: Option<u64>,
    /// Whether the table differs after it was read.
    is_changed: bool,
}

impl Table {
    fn new() -> Self {
        let first = vec![(1, Some("2026-03-01T10:00:00Z"), "allow"), (2, Some("2026-03-01T11:00:00Z"), "deny")];
        let second = vec![(3, Some("2026-03-02T00:00:00Z"), "deny")];
        Self {
            slices: BTreeMap::from([("2026-03-01", first), ("2026-03-02", second)]),
            counted: None,
            is_changed: false,
        }
    }

    fn batch(rows: &[Row], schema: &SchemaRef) -> RecordBatch {
        let micros = |text: &str| at(text).as_microsecond();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "id" => Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
                "t" => {
                    let times = rows.iter().map(|row| row.1.map(micros)).collect::<TimestampMicrosecondArray>();
                    Arc::new(times.with_timezone("UTC"))
                }
                _ => Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringViewArray>()),
            }
        });
        RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
    }

    fn error(name: &str, code: ErrorCode, message: &str) -> SourceError {
        SourceError { name: name.to_owned(), position: None, code, message: message.to_owned() }
    }
}

impl Source for Table {
    fn kind(&self) -> SourceKind {
        SourceKind::Files
    }

    fn list(&self, period: Period) -> Result<Listing, ListError> {
        let slice = |name: &str| Slice {
            name: name.to_owned(),
            snapshot: SNAPSHOT.to_owned(),
            range: Some((period.start, period.end)),
        };
        let inputs = self.slices.keys().map(|name| Input::Slice(slice(name))).collect();
        Ok(Listing { inputs, ..Listing::default() })
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("action", DataType::Utf8View, true),
        ])))
    }

    fn snapshot(&self) -> Option<&str> {
        Some(SNAPSHOT)
    }

    fn inspect<'a>(
        &'a self,
        input: &'a Input,
        _request: InspectRequest<'a>,
    ) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
        in_one_step(input.name(), move || {
            let min = at(&format!("{}T00:00:00Z", input.name()));
            let times = TimeRange::Within { min, max: min + jiff::SignedDuration::from_secs(86_399) };
            let rows = self.counted;
            let unit =
                UnitFacts { rows, encoded_bytes: 0, times, unplaced_rows: rows.map(|_| 0), peak_decoded_bytes: 0 };
            let facts = InputFacts { units: vec![unit], problem: None };
            Ok(Inspection { evidence: TableEvidence::default(), facts, undecodable: Vec::new() })
        })
    }

    fn open(&self, request: ReadRequest<'_>) -> Result<Box<dyn ChunkReader>, SourceError> {
        let rows = self.slices.get(request.input.name());
        let rows =
            rows.ok_or_else(|| Self::error(request.input.name(), ErrorCode::SourceUnreadable, "no such slice"))?;
        let batch = Batch {
            rows: Self::batch(rows, &request.schema),
            positions: Positions::From(1),
            rejected: Vec::new(),
            outside: 0,
        };
        Ok(Box::new(OneChunk(Some(Box::new(OneBatch(Some(batch)))))))
    }

    fn recheck(&self, input: &Input) -> Result<(), SourceError> {
        match self.is_changed {
            true => Err(Self::error(input.name(), ErrorCode::SourceChanged, "the snapshot is gone")),
            false => Ok(()),
        }
    }
}

struct OneBatch(Option<Batch>);

impl BatchReader for OneBatch {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        Ok(self.0.take())
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Runs the example's job over the table.
fn export(table: &Table, example: &Example) -> Result<RunOutcome, RunError> {
    run_from(table, &example.job, &RunOptions { threads: 2, ..example::options("run") })
}

fn shard(example: &Example, manifest: &Manifest, index: usize) -> String {
    String::from_utf8(example.folder().read(&manifest.files[index].path).unwrap().unwrap()).unwrap()
}

#[test]
fn slices_of_unknown_length_become_a_complete_package_that_names_its_snapshot() {
    let example = Example::new("filters: {action: deny}\n");
    let manifest = export(&Table::new(), &example).unwrap().manifest;
    assert_eq!(manifest.status, JobStatus::Complete);
    assert_eq!(shard(&example, &manifest, 0), "id,t,action\n2,2026-03-01T11:00:00.000000Z,deny\n");
    assert_eq!(shard(&example, &manifest, 1), "id,t,action\n3,2026-03-02T00:00:00.000000Z,deny\n");
    let books = manifest.accounting;
    assert_eq!((books.source_rows, books.filtered_out, books.written), (3, 1, 2));
    assert_eq!(manifest.source.snapshot.as_deref(), Some(SNAPSHOT));
    let inputs = manifest.source.files.iter().map(|f| (f.path.as_str(), f.bytes, f.snapshot.as_deref(), f.rows));
    let expected = [("2026-03-01", None, Some(SNAPSHOT), None), ("2026-03-02", None, Some(SNAPSHOT), None)];
    assert_eq!(inputs.collect::<Vec<_>>(), expected);
    let package = example.job.output.clone();
    let report = verify(package, &VerifyOptions { rows: true, ..VerifyOptions::default() });
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn rows_without_a_time_are_counted_though_nobody_said_that_there_are_any() {
    let example = Example::new("on_null_time: reject\n");
    let mut table = Table::new();
    table.slices.insert("2026-03-02", vec![(3, None, "deny"), (4, Some("2026-03-02T01:00:00Z"), "deny")]);
    let manifest = export(&table, &example).unwrap().manifest;
    assert_eq!(manifest.status, JobStatus::Partial);
    let books = manifest.accounting;
    assert_eq!((books.source_rows, books.null_time, books.written), (4, 1, 3));
}

#[test]
fn rows_that_the_table_counted_and_did_not_return_fail_the_run() {
    let example = Example::new("");
    let table = Table { counted: Some(2), ..Table::new() };
    let error = export(&table, &example).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::RowsNotConserved));
    assert!(
        error.to_string().starts_with("3 rows were read, but the source's inputs have 4 by their own count"),
        "{error}"
    );
    assert!(!example.root.path().join("package/manifest.json").exists());
}

#[test]
fn a_table_that_changed_while_it_was_read_fails_its_partitions() {
    let example = Example::new("");
    let manifest = export(&Table { is_changed: true, ..Table::new() }, &example).unwrap().manifest;
    assert_eq!(manifest.status, JobStatus::Failed);
    for file in &manifest.files {
        assert_eq!((file.status, file.error_code), (FileStatus::Failed, Some(ErrorCode::SourceChanged)));
    }
    let errors = manifest.source.files.iter().map(|f| f.error.as_ref().map(|error| error.message.as_str()));
    let expected = [Some("2026-03-01: the snapshot is gone"), Some("2026-03-02: the snapshot is gone")];
    assert_eq!(errors.collect::<Vec<_>>(), expected);
}
