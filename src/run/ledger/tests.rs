//! How rows without a partition are recorded.

use super::*;
use crate::plan::tests::example;

const OWN: UnitRef = UnitRef { input: 1, unit: 0, owner: true };

fn line(position: u64, error: &str) -> RejectLine<'_> {
    RejectLine { file: "b.ndjson", position, error, raw: Some("{\u{1}\n"), row: None }
}

fn found(rows: &[(UnitRef, OnBad, ErrorCode, RejectLine<'_>)]) -> ChunkFindings {
    let plan = example();
    let mut findings = ChunkFindings::default();
    for (unit, policy, code, line) in rows {
        findings.add_unplaced(&plan, *policy, *code, *unit, line, line.error).unwrap();
    }
    findings
}

#[test]
fn a_rejected_row_is_one_line_and_makes_its_partitions_partial() {
    let findings = found(&[(OWN, OnBad::Reject, ErrorCode::BadRows, line(7, "not JSON"))]);
    let text = String::from_utf8(findings.reject_lines).unwrap();
    assert_eq!(text, "{\"file\":\"b.ndjson\",\"position\":7,\"error\":\"not JSON\",\"raw\":\"{\\u0001\\n\"}\n");
    assert_eq!(findings.rejects, 1);
    let unplaced = &findings.unplaced[&(1, 0, true)];
    assert_eq!((unplaced.partitions.clone(), unplaced.allowed, unplaced.rows), (0..2, true, 1));
    let failure = &unplaced.failure;
    assert_eq!((failure.code(), failure.to_string()), (ErrorCode::RowsRejected, "b.ndjson:7: not JSON".to_owned()));
}

#[test]
fn a_row_that_must_not_be_rejected_fails_its_partitions_and_names_the_setting() {
    for (code, message) in [
        (ErrorCode::BadRows, "b.ndjson:7: why (with `on_bad_rows: reject` such rows go to `rejects/`)"),
        (ErrorCode::NullTime, "b.ndjson:7: why (with `on_null_time: reject` such rows go to `rejects/`)"),
    ] {
        let findings = found(&[(OWN, OnBad::Fail, code, line(7, "why"))]);
        assert!(findings.reject_lines.is_empty() && findings.rejects == 0);
        let unplaced = &findings.unplaced[&(1, 0, false)];
        assert_eq!((unplaced.failure.code(), unplaced.failure.to_string()), (code, message.to_owned()));
        assert!(!unplaced.allowed);
    }
}

#[test]
fn a_row_of_a_unit_that_another_task_owns_is_not_written_twice() {
    let visited = UnitRef { owner: false, ..OWN };
    let findings = found(&[(visited, OnBad::Reject, ErrorCode::BadRows, line(7, "why"))]);
    assert!(findings.reject_lines.is_empty() && findings.rejects == 0);
    // It still makes this task's partitions partial.
    assert_eq!(findings.unplaced[&(1, 0, true)].rows, 1);
}

#[test]
fn rows_of_one_unit_are_counted_under_the_first_of_them_and_apart_from_those_of_others() {
    let next = UnitRef { unit: 1, ..OWN };
    let findings = found(&[
        (OWN, OnBad::Reject, ErrorCode::BadRows, line(7, "first")),
        (OWN, OnBad::Reject, ErrorCode::NullTime, line(9, "second")),
        (OWN, OnBad::Fail, ErrorCode::NullTime, line(11, "third")),
        (next, OnBad::Reject, ErrorCode::BadRows, line(12, "fourth")),
    ]);
    assert_eq!(findings.rejects, 3);
    assert_eq!(findings.reject_lines.iter().filter(|byte| **byte == b'\n').count(), 3);
    let rows = findings.unplaced.iter().map(|(key, unplaced)| (*key, unplaced.rows, unplaced.failure.to_string()));
    let refused = "b.ndjson:11: third (with `on_null_time: reject` such rows go to `rejects/`)";
    let expected =
        [((1, 0, false), 1, refused), ((1, 0, true), 2, "b.ndjson:7: first"), ((1, 1, true), 1, "b.ndjson:12: fourth")];
    assert_eq!(rows.collect::<Vec<_>>(), expected.map(|(key, rows, failure)| (key, rows, failure.to_owned())));
}

#[test]
fn chunks_are_summed_and_the_earliest_names_the_row() {
    let counts = TaskCounts {
        source_rows: 1,
        elsewhere: 2,
        visiting: 3,
        rejected: 4,
        null_time: 5,
        outside_window: 6,
        ambiguous_time: 7,
    };
    let mut ledger = Ledger::default();
    for position in [3, 8, 9] {
        let findings = found(&[(OWN, OnBad::Reject, ErrorCode::BadRows, line(position, "why"))]);
        ledger.add(counts, findings.unplaced);
    }
    let refused = found(&[(OWN, OnBad::Fail, ErrorCode::NullTime, line(4, "no time"))]);
    ledger.add(TaskCounts::default(), refused.unplaced);
    let sum = TaskCounts {
        source_rows: 3,
        elsewhere: 6,
        visiting: 9,
        rejected: 12,
        null_time: 15,
        outside_window: 18,
        ambiguous_time: 21,
    };
    assert_eq!(ledger.counts, sum);
    let rejected = |partition| Some(ledger.partial_reason(partition)?.to_string());
    assert_eq!(rejected(0).unwrap(), "b.ndjson:3: why, and 2 more");
    assert_eq!(rejected(1), rejected(0));
    // The unit has rows of the first two days only.
    assert_eq!(rejected(2), None);
    let failed = ledger.failure(1).unwrap();
    assert_eq!(failed.code(), ErrorCode::NullTime);
    assert_eq!(ledger.failure(2), None);
}
