//! Compares the result with the spec's `expect`.
//!
//! Row accounting balances even if upstream delivered nothing, so expectations are checked against the finished shards.
//! They are checked only if every partition has a shard, because the content of a failed partition is unknown.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::job::Expectations;
use crate::package::manifest::{Expectation, FileEntry, seconds};

/// The spec's expectations with their actual values, in the order of the documentation.
pub(super) fn evaluate(expected: &Expectations, files: &[FileEntry], window_end: Timestamp) -> Vec<Expectation> {
    let mut evaluated = Vec::new();
    if let Some(min_rows) = expected.min_rows {
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        evaluated.push(Expectation {
            name: "min_rows".to_owned(),
            expected: json!(min_rows),
            actual: json!(rows),
            holds: rows >= min_rows,
        });
    }
    if expected.non_empty_partitions {
        let empty = empty_partitions(files);
        evaluated.push(Expectation {
            name: "non_empty_partitions".to_owned(),
            expected: json!(true),
            actual: json!({"empty": empty.len(), "first": empty.first()}),
            holds: empty.is_empty(),
        });
    }
    if let Some(max_lag) = expected.max_lag {
        let max_time = files.iter().filter_map(|file| file.max_time).max();
        let lag = max_time.map(|max| window_end.duration_since(max));
        let sealed = files.iter().filter_map(|file| file.sealed.as_ref());
        let (actual, holds) = match sealed.clone().next() {
            // Sealed times must not leak through the expectation's actual value.
            Some(_) => (json!({"sealed": true}), sealed.into_iter().any(|s| s.within_max_lag == Some(true))),
            // Without a row there is no latest time, so the expectation does not hold.
            None => {
                let holds = lag.is_some_and(|lag: SignedDuration| lag <= max_lag);
                (json!({"max_time": max_time, "lag": lag.map(seconds)}), holds)
            }
        };
        evaluated.push(Expectation { name: "max_lag".to_owned(), expected: json!(seconds(max_lag)), actual, holds });
    }
    evaluated
}

/// Labels of the partitions without rows, in order. The files of a partition are adjacent.
fn empty_partitions(files: &[FileEntry]) -> Vec<&str> {
    files
        .chunk_by(|a, b| a.partition == b.partition)
        .filter(|parts| parts.iter().all(|part| part.rows == 0))
        .filter_map(|parts| Some(parts.first()?.partition.label.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::manifest::tests::entry;

    fn files(rows: [u64; 3], max_time: Option<&str>) -> Vec<FileEntry> {
        let mut files = vec![
            entry("part-0000.csv", "a", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            entry("part-0001.csv", "a", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            entry("part-0000.csv", "b", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
        ];
        files.iter_mut().zip(rows).for_each(|(file, rows)| file.rows = rows);
        files[1].max_time = max_time.map(|time| time.parse().unwrap());
        files
    }

    fn evaluated(expected: Expectations, rows: [u64; 3], max_time: Option<&str>) -> Vec<(bool, String)> {
        let end = "2026-03-03T00:00:00Z".parse().unwrap();
        let found = evaluate(&expected, &files(rows, max_time), end);
        found.iter().map(|e| (e.holds, format!("{}: {}", e.name, e.in_words()))).collect()
    }

    #[test]
    fn as_many_rows_as_expected_are_enough() {
        let expected = Expectations { min_rows: Some(10), ..Expectations::default() };
        let words = |rows| (rows >= 10, format!("min_rows: expected at least 10 rows, and found {rows}"));
        assert_eq!(evaluated(expected, [4, 5, 1], None), [words(10)]);
        assert_eq!(evaluated(expected, [4, 5, 0], None), [words(9)]);
    }

    #[test]
    fn a_partition_of_several_parts_is_empty_only_where_all_are() {
        let expected = Expectations { non_empty_partitions: true, ..Expectations::default() };
        let name = "non_empty_partitions: expected a row in every partition, and";
        assert_eq!(evaluated(expected, [0, 1, 1], None), [(true, format!("{name} every one has some"))]);
        assert_eq!(evaluated(expected, [0, 1, 0], None), [(false, format!("{name} 1 has none: b"))]);
        assert_eq!(evaluated(expected, [0, 0, 0], None), [(false, format!("{name} 2 have none, the first of them a"))]);
    }

    #[test]
    fn the_lag_is_from_the_last_row_to_the_end_of_the_window() {
        let expected = Expectations { max_lag: Some(SignedDuration::from_hours(6)), ..Expectations::default() };
        let name = "max_lag: expected the last row at most 6h before the end of the window, and";
        let exactly = (true, format!("{name} it is 6h before it, at 2026-03-02T18:00:00Z"));
        assert_eq!(evaluated(expected, [1, 1, 1], Some("2026-03-02T18:00:00Z")), [exactly]);
        let more = (false, format!("{name} it is 6h 500ms before it, at 2026-03-02T17:59:59.5Z"));
        assert_eq!(evaluated(expected, [1, 1, 1], Some("2026-03-02T17:59:59.5Z")), [more]);
        assert_eq!(evaluated(expected, [0, 0, 0], None), [(false, format!("{name} there is no row"))]);
    }

    #[test]
    fn only_what_the_spec_expects_is_evaluated() {
        assert_eq!(evaluated(Expectations::default(), [0, 0, 0], None), []);
    }
}
