use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::job::{OnBad, SourceCompression, SourceFormat};
use crate::source::TimeRange;
use crate::source::formats::rows::BLOCK_BYTES;
use crate::source::formats::rows::decode::tests::{Fixture, fixture, gzip};
use crate::source::formats::rows::inspect::tests::inspect_in_reverse;
use crate::time::{TimeFormat, TimeParser};

/// Rows with their lines, and unreadable rows with theirs.
type Read = (Vec<(u64, Vec<Option<String>>)>, Vec<(u64, String)>);

fn read(fixture: &Fixture, pattern: &LinePattern, block_bytes: usize) -> Read {
    let fields: Vec<_> = pattern.columns().iter().map(|name| Field::new(name, DataType::Utf8View, true)).collect();
    let request = FileRequest {
        file: fixture.file.clone(),
        schema: Arc::new(Schema::new(fields)),
        units: vec![0],
        on_bad_rows: OnBad::Reject,
        text: Arc::default(),
        within: None,
    };
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    let mut chunks = open(request, pattern, block_bytes).unwrap();
    while let Some(mut chunk) = chunks.next_chunk().unwrap() {
        while let Some(batch) = chunk.batches.next_batch().unwrap() {
            for row in 0..batch.rows.num_rows() {
                let cells = batch.rows.columns().iter().map(|column| {
                    let column = column.as_string_view();
                    column.is_valid(row).then(|| column.value(row).to_owned())
                });
                rows.push((batch.positions.of(u32::try_from(row).unwrap()).unwrap(), cells.collect()));
            }
            rejects.extend(batch.rejected.into_iter().map(|reject| (reject.position, reject.error)));
        }
    }
    (rows, rejects)
}

fn file(bytes: &[u8]) -> Fixture {
    fixture("access.log", SourceFormat::Lines, SourceCompression::None, bytes)
}

#[test]
fn groups_are_columns_and_other_lines_are_bad_rows() {
    let pattern = LinePattern::new(r#"^(?<ip>\S+) (?:-|(?<user>\S+)) "(?<agent>[^"]*)""#).unwrap();
    let text = b"\xef\xbb\xbf::1 - \"\"\r\n\n10.0.0.1 eve \"\xc3\xa4 b\" 200\nnone\n::1 - \"\xff\"\n::1 - \"cut\"";
    for block_bytes in [1, 8, BLOCK_BYTES] {
        let (rows, rejects) = read(&file(text), &pattern, block_bytes);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows,
            [(1, vec![some("::1"), None, some("")]), (3, vec![some("10.0.0.1"), some("eve"), some("ä b")])]
        );
        let unmatched = "the line does not match `source.lines.pattern`".to_owned();
        let end = "the file ends without a line end, so its last line may be truncated; if it is complete, append one";
        let utf8 = "not UTF-8 at byte 8 of the row".to_owned();
        assert_eq!(rejects, [(4, unmatched), (5, utf8), (6, end.to_owned())]);
    }
    let compressed = gzip(text);
    let compressed = fixture("a.log.gz", SourceFormat::Lines, SourceCompression::Gzip, &compressed);
    assert_eq!(read(&compressed, &pattern, BLOCK_BYTES).0.len(), 3);
}

#[test]
fn times_and_types_come_from_all_lines() {
    let pattern = LinePattern::new(r"^(?<t>\S+) (?<status>\S+)$").unwrap();
    let times = TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC);
    let request = InspectRequest { time_column: "t", time_parser: &times };
    let fixture = file(b"2026-03-02T00:00:00Z 200\n2026-03-01T00:00:00Z 404\nx\nno 1\n");
    let found = inspect_in_reverse(inspector(&fixture.file, request, &pattern, BLOCK_BYTES));
    let unit = &found.facts.units[0];
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let range = TimeRange::Within { min: at("2026-03-01T00:00:00Z"), max: at("2026-03-02T00:00:00Z") };
    assert_eq!((unit.rows, unit.unplaced_rows, unit.times), (Some(4), Some(2), range));
    let schema = found.evidence.finish(&[], crate::job::SchemaDrift::Widen).unwrap().arrow;
    assert_eq!(schema.field(1).data_type(), &DataType::Int64);
}

proptest! {
    /// The oracle splits the whole text and matches each line.
    #[test]
    fn lines_are_matched_wherever_blocks_are_cut(
        text in "([ab-]| |\n|\r\n){0,60}", block_bytes in prop::sample::select(vec![1, 2, 5, BLOCK_BYTES]),
    ) {
        let text = format!("{text}\n");
        let regex = Regex::new("(?<a>a+)(?: (?<b>b)?)?").unwrap();
        let pattern = LinePattern::new(regex.as_str()).unwrap();
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match regex.captures(line) {
                Some(found) => {
                    let group = |name| found.name(name).map(|group| group.as_str().to_owned());
                    rows.push((i as u64 + 1, vec![group("a"), group("b")]));
                }
                None => bad.push(i as u64 + 1),
            }
        }
        let (ours, rejects) = read(&file(text.as_bytes()), &pattern, block_bytes);
        prop_assert_eq!(ours, rows);
        prop_assert_eq!(rejects.into_iter().map(|reject| reject.0).collect::<Vec<_>>(), bad);
    }
}
