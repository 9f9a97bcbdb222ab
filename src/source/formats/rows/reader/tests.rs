//! Reads NDJSON and JSON through the public interface, with arrow-json and serde_json as oracles.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::job::SourceCompression;
use crate::job::{DeclaredType, Envelope, KeptField, RecordsPath, SchemaDrift, SourceFormat};
use crate::logical::is_json;
use crate::source::formats::TextSettings;
use crate::source::formats::rows::blocks::BLOCK_BYTES;
use crate::source::formats::rows::decode::tests::{Fixture, fixture};
use crate::source::formats::rows::inspect::tests::inspect_in_reverse;
use crate::source::formats::rows::{json, ndjson};
use crate::source::{Inspection, TimeRange, Within};
use crate::time::{TimeFormat, TimeParser};

mod envelopes;

fn lines(bytes: &[u8]) -> Fixture {
    fixture("a.ndjson", SourceFormat::Ndjson, SourceCompression::None, bytes)
}

fn document(bytes: &[u8]) -> Fixture {
    fixture("a.json", SourceFormat::Json, SourceCompression::None, bytes)
}

fn facts(fixture: &Fixture, records: Option<&str>) -> Inspection {
    facts_of(fixture, records, BLOCK_BYTES)
}

fn facts_of(fixture: &Fixture, records: Option<&str>, block_bytes: usize) -> Inspection {
    let times = TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC);
    let request = InspectRequest { time_column: "t", time_parser: &times };
    let envelope = records.map(envelope);
    match fixture.file.format {
        SourceFormat::Json => {
            inspect_in_reverse(json::inspector(&fixture.file, request, envelope.as_ref(), block_bytes))
        }
        _ => inspect_in_reverse(ndjson::inspector(&fixture.file, request, envelope.as_ref(), block_bytes)),
    }
}

/// The path of the rows, then `name=path` of each field that they keep.
fn envelope(text: &str) -> Arc<Envelope> {
    let mut parts = text.split(' ');
    let records = RecordsPath::new(parts.next().unwrap()).unwrap();
    let keep = parts.map(|part| part.split_once('=').unwrap());
    let keep = keep.map(|(name, path)| KeptField::new(name, path, &records).unwrap()).collect();
    Arc::new(Envelope { records, keep })
}

fn open(
    fixture: &Fixture,
    schema: SchemaRef,
    on_bad_rows: OnBad,
    records: Option<&str>,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    open_of(request(fixture, schema, on_bad_rows, records), BLOCK_BYTES)
}

fn request(fixture: &Fixture, schema: SchemaRef, on_bad_rows: OnBad, records: Option<&str>) -> FileRequest {
    let text = Arc::new(TextSettings { envelope: records.map(envelope), ..TextSettings::default() });
    FileRequest { file: fixture.file.clone(), schema, units: vec![0], on_bad_rows, text, within: None }
}

fn open_of(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    match request.file.format {
        SourceFormat::Json => json::open(request, block_bytes),
        _ => ndjson::open(request, block_bytes),
    }
}

fn read_all(mut reader: Box<dyn ChunkReader>) -> Result<(Vec<RecordBatch>, Vec<Reject>), SourceError> {
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    while let Some(mut chunk) = reader.next_chunk()? {
        while let Some(batch) = chunk.batches.next_batch()? {
            assert!(batch.rows.num_rows() <= BATCH_ROWS);
            rows.push(batch.rows);
            rejects.extend(batch.rejected);
        }
    }
    Ok((rows, rejects))
}

/// One batch in the inferred schema, and the rejects.
fn read(fixture: &Fixture, declared: &[(String, DeclaredType)]) -> Result<(RecordBatch, Vec<Reject>), SourceError> {
    let found = facts(fixture, None);
    let schema = found.evidence.finish(declared, SchemaDrift::Widen).unwrap().arrow;
    let (batches, rejects) = read_all(open(fixture, schema.clone(), OnBad::Reject, None)?)?;
    let unit = &found.facts.units[0];
    let batch = arrow::compute::concat_batches(&schema, &batches).unwrap();
    assert_eq!(unit.rows.unwrap() as usize, batch.num_rows() + rejects.len());
    assert_eq!(found.facts.problem, None);
    Ok((batch, rejects))
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(column).unwrap();
    let array = arrow::compute::cast(array, &DataType::Utf8View).unwrap();
    array.as_string_view().iter().map(|v| v.map(str::to_owned)).collect()
}

fn type_of(batch: &RecordBatch, column: &str) -> DataType {
    batch.schema().field_with_name(column).unwrap().data_type().clone()
}

#[test]
fn numbers_keep_every_digit() {
    let fixture = lines(
        b"{\"min\":-9223372036854775808,\"past\":9007199254740993,\"u\":18446744073709551615,\"huge\":123456789012345678901234567890,\"f\":1.0,\"exact\":9007199254740992,\"long\":0.1234567890123456789,\"zero\":-0}\n\
          {\"min\":1,\"past\":0.5,\"u\":1,\"huge\":1,\"f\":1,\"exact\":0.5,\"long\":1,\"zero\":0}\n",
    );
    let (batch, _) = read(&fixture, &[]).unwrap();
    for (column, data_type, value) in [
        ("min", DataType::Int64, "-9223372036854775808"),
        ("past", DataType::Utf8View, "9007199254740993"),
        ("u", DataType::UInt64, "18446744073709551615"),
        ("huge", DataType::Utf8View, "123456789012345678901234567890"),
        ("f", DataType::Float64, "1.0"),
        ("exact", DataType::Float64, "9007199254740992.0"),
        ("long", DataType::Utf8View, "0.1234567890123456789"),
        ("zero", DataType::Float64, "-0.0"),
    ] {
        assert_eq!(
            (type_of(&batch, column), texts(&batch, column)[0].as_deref()),
            (data_type, Some(value)),
            "{column}"
        );
    }
}

#[test]
fn kinds_that_no_type_joins_keep_the_bytes_of_the_source() {
    let fixture = lines(
        b"\xef\xbb\xbf{\"v\": {\"a\" : 1.0}, \"e\":{}, \"n\":null, \"l\":[]}\r\n\r\n{\"v\":\"{}\",\"e\":{ }}\n{\"v\":12e1}\n {\"v\":null} \n{\"v\":[1, \"\\u00e9\"]}",
    );
    let (batch, rejects) = read(&fixture, &[]).unwrap();
    assert_eq!(rejects, []);
    assert!(is_json(batch.schema().field(0)) && is_json(batch.schema().field(1)));
    let raw = ["{\"a\" : 1.0}", "\"{}\"", "12e1", "", "[1, \"\\u00e9\"]"];
    assert_eq!(texts(&batch, "v").iter().map(|v| v.as_deref().unwrap_or("")).collect::<Vec<_>>(), raw);
    assert_eq!(texts(&batch, "v")[3], None);
    assert_eq!(texts(&batch, "e")[..2], [Some("{}".to_owned()), Some("{ }".to_owned())]);
    assert_eq!(type_of(&batch, "n"), DataType::Utf8View);
    assert_eq!(type_of(&batch, "l"), DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true))));
}

#[test]
fn bad_rows_are_set_aside_and_leave_no_trace_in_the_columns() {
    let fixture = lines(
        b"{\"a\":1,\"s\":{\"x\":[{\"y\":1}]}}\n\
          {\"a\":2,\"s\":{\"x\":[{\"y\":1},{\"y\":2,\"y\":3}]},\"late\":1}\n\
          {\"a\":\"text\",\"s\":{\"x\":[{\"y\":4},{\"y\":tru}]}}\n\
          [1]\n{\"a\":\"\\ud800\"}\n{\"a\":\"\xff\"}\n{\"a\":1}{\"a\":2}\n\
          {\"a\":3,\"s\":{\"x\":[{\"y\":5},null],\"z\":\"\\u0000\"}}\n{\"a\":4,",
    );
    let (batch, rejects) = read(&fixture, &[]).unwrap();
    assert_eq!(rejects.iter().map(|r| r.position).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 9]);
    assert_eq!(rejects[6].raw, b"{\"a\":4,");
    assert_eq!(batch.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["a", "s"]);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().to_vec(), [1, 3]);
    let mut out = arrow::json::LineDelimitedWriter::new(Vec::new());
    out.write(&batch).unwrap();
    let text = String::from_utf8(out.into_inner()).unwrap();
    let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows[0], json!({"a":1,"s":{"x":[{"y":1}]}}));
    assert_eq!(rows[1]["s"]["x"][0], json!({"y":5}));
    assert_eq!(rows[1]["s"]["z"], json!("\u{0}"));

    let schema = batch.schema();
    let error = read_all(open(&fixture, schema, OnBad::Fail, None).unwrap()).unwrap_err();
    assert_eq!((error.code, error.position), (ErrorCode::BadRows, Some(2)));
    assert!(error.message.contains("appears twice"), "{error}");
}

#[test]
fn declared_types_hold_their_values_exactly_or_the_row_is_bad() {
    let fixture = lines(
        br#"{"i":2147483647,"d":12.5,"j":"{\"a\":1}","x":1,"day":"2026-01-31","at":"2026-01-31T00:00:00+01:00"}
{"i":2147483648}
{"d":1.0000001}
{"d":"1.5","j":"plain","x":"s","day":null}
{"day":"2026-02-30"}
{"at":"2026-01-31T00:00:00.1234567Z"}
{"j":{"a":[1.0]},"x":{"b":1}}
"#,
    );
    let declared: Vec<(String, DeclaredType)> = [
        ("i", DeclaredType::Int32),
        ("d", DeclaredType::Decimal { precision: 12, scale: 6 }),
        ("j", DeclaredType::Json),
        ("x", DeclaredType::Text),
        ("day", DeclaredType::Date),
        ("at", DeclaredType::Timestamp),
        ("none", DeclaredType::Float32),
    ]
    .map(|(n, t)| (n.to_owned(), t))
    .into();
    let (batch, rejects) = read(&fixture, &declared).unwrap();
    let errors: Vec<(u64, &str)> = rejects.iter().map(|r| (r.position, r.error.as_str())).collect();
    assert_eq!(
        errors,
        [
            (2, "`i`: the value is not int32"),
            (3, "`d`: the value is not decimal(12,6)"),
            (5, "`day`: the value is not date"),
            (6, "`at`: the value is not timestamp"),
        ]
    );
    let column = |name| texts(&batch, name).into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
    assert_eq!(column("i"), ["2147483647", "", ""]);
    assert_eq!(column("d"), ["12.500000", "1.500000", ""]);
    assert_eq!(column("j"), ["{\"a\":1}", "\"plain\"", "{\"a\":[1.0]}"]);
    assert_eq!(column("x"), ["1", "s", "{\"b\":1}"]);
    assert_eq!(column("day"), ["2026-01-31", "", ""]);
    assert_eq!(column("at"), ["2026-01-30T23:00:00Z", "", ""]);
    assert_eq!(column("none"), ["", "", ""]);
}

#[test]
fn times_are_found_and_rows_without_one_are_counted() {
    let fixture = lines(b"{\"t\":\"2026-03-01T00:00:00Z\"}\n{\"t\":\"2026-02-01T00:00:00.000000001Z\"}\n{\"t\":null}\n{}\n{\"t\":5}\nbad\n");
    let unit = facts(&fixture, None).facts.units[0].clone();
    assert_eq!((unit.rows, unit.unplaced_rows), (Some(6), Some(4)));
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let times = TimeRange::Within { min: at("2026-02-01T00:00:00.000000001Z"), max: at("2026-03-01T00:00:00Z") };
    assert_eq!(unit.times, times);
}

/// The values of column `a` of a JSON file, in order.
fn elements(bytes: &[u8], records: Option<&str>) -> Result<Vec<i64>, SourceError> {
    let fixture = document(bytes);
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let found = facts(&fixture, records).facts;
    let read = open(&fixture, schema, OnBad::Fail, records).and_then(read_all);
    assert_eq!(found.problem.is_some(), read.is_err(), "{found:?} {read:?}");
    let (batches, _) = read?;
    Ok(batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect())
}

#[test]
fn every_layout_of_documents_gives_its_elements() {
    for (text, records) in [
        ("[{\"a\":1},{\"a\":2}]", None),
        ("\u{feff} [ {\"a\" :1 }\n,\n{\"a\":2}\n]\n", None),
        ("{\"a\":1}{\"a\":2}", None),
        ("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", None),
        ("[{\"a\":1}][][{\"a\":2}]", None),
        ("{\"Records\":[{\"a\":1},{\"a\":2}],\"x\":[{\"a\":9}]}", Some("Records")),
        ("{\"Records\":[{\"a\":1}]}{\"Records\":null}\n{\"Records\":[{\"a\":2}]}", Some("Records[]")),
        ("{\"x\":{\"y\":\"]}\\\"\"},\"p\":{\"q\":0,\"r\":[{\"a\":1}]}} {\"p\":{\"r\":[{\"a\":2}]}}", Some("p.r")),
    ] {
        assert_eq!(elements(text.as_bytes(), records).unwrap(), [1, 2], "{text}");
        for cut in 0..text.len() {
            match elements(&text.as_bytes()[..cut], records) {
                // Truncation between documents is invisible to the format.
                Ok(rows) => {
                    assert!(
                        records.is_some() || !text.starts_with('[') || text[cut..].starts_with('[') || rows == [1, 2],
                        "{text} cut at {cut}"
                    );
                    assert!(rows == [1, 2] || rows == [1], "{text} cut at {cut}: {rows:?}");
                }
                Err(error) => assert_eq!(error.code, ErrorCode::SourceUnreadable, "{text} cut at {cut}"),
            }
        }
    }
}

#[test]
fn documents_that_are_not_what_was_said_are_errors_with_their_line() {
    for (text, records, line) in [
        ("", None, 1),
        ("[\n{\"a\":1},\n]", None, 3),
        ("[\n{\"a\":1}\n{\"a\":2}]", None, 3),
        ("[{\"a\":1},\n{\"a\":\n01}]", None, 3),
        ("[{\"a\":1]", None, 1),
        ("5", None, 1),
        ("[{\"a\":1}]]", None, 1),
        ("{\"x\":1}", Some("Records"), 1),
        ("{\"Records\":{}}", Some("Records"), 1),
        ("{\"Records\":[],\n\"Records\":[]}", Some("Records"), 2),
        ("[{\"Records\":[]}]", Some("Records"), 1),
        ("{\"x\":[1,],\"Records\":[]}", Some("Records"), 1),
        ("{\"Records\":null,\n\"Records\":[]}", Some("Records"), 2),
        ("{\"p\":{\"r\":[]},\"p\":null}", Some("p.r"), 1),
        ("{\"p\":{},\n\"p\":{\"r\":[]}}", Some("p.r"), 2),
        ("{\"Records\":nul}", Some("Records"), 1),
    ] {
        let error = elements(text.as_bytes(), records).unwrap_err();
        assert_eq!((error.code, error.position), (ErrorCode::SourceUnreadable, Some(line)), "{text}: {error}");
    }
    // An element that is JSON, but no row, does not hide the next.
    let fixture = document(b"[{\"a\":1},5,{\"a\":1,\"a\":2},{\"a\":3}]");
    let (batch, rejects) = read(&fixture, &[]).unwrap();
    assert_eq!(batch.num_rows(), 2);
    assert_eq!(rejects.iter().map(|r| r.position).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn ndjson_cut_at_any_byte_is_an_error_unless_whole_rows_are_left() {
    let text = "{\"a\":\"\u{e9}\\n\",\"b\":[1,{}]}\r\n{\"a\":null}\n";
    for cut in 0..text.len() {
        let fixture = lines(&text.as_bytes()[..cut]);
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
        let read = read_all(open(&fixture, schema, OnBad::Fail, None).unwrap());
        let whole =
            [0, text.find('\r').unwrap(), text.find('\n').unwrap(), text.find('\n').unwrap() + 1, text.len() - 1];
        assert_eq!(read.is_ok(), whole.contains(&cut), "cut at {cut}");
    }
}

#[test]
fn long_lines_and_many_rows_cross_blocks_and_batches() {
    let long = "x\\n\u{e9}".repeat(11_000);
    let text: String = (0..9000)
        .map(|i| if i % 500 == 0 { format!("{{\"a\":{i},\"s\":\"{long}\"}}\n") } else { format!("{{\"a\":{i}}}\n") })
        .collect();
    let (batch, _) = read(&lines(text.as_bytes()), &[]).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().to_vec(), (0..9000).collect::<Vec<i64>>());
    assert_eq!(texts(&batch, "s")[500].as_ref().unwrap().len(), 4 * 11_000);
}

/// Values of one column: of one kind, so that arrow-json can infer them too.
fn column_values() -> impl Strategy<Value = Vec<Value>> {
    let one = |kind: u8| match kind {
        0 => any::<bool>().prop_map(Value::from).boxed(),
        1 => any::<i64>().prop_map(Value::from).boxed(),
        2 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::from).boxed(),
        3 => any::<String>().prop_map(Value::from).boxed(),
        4 => (any::<i64>(), any::<String>()).prop_map(|(i, s)| json!({"i": i, "s": s, "n": null})).boxed(),
        _ => prop::collection::vec(any::<i64>(), 0..4).prop_map(Value::from).boxed(),
    };
    (0u8..6).prop_flat_map(move |kind| prop::collection::vec(prop_oneof![3 => one(kind), 1 => Just(Value::Null)], 12))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tables_are_read_as_arrow_json_reads_them(columns in prop::collection::vec(column_values(), 1..5)) {
        let row = |i: usize| -> Value {
            columns.iter().enumerate().map(|(c, v)| (format!("c{c}"), v[i].clone())).collect::<serde_json::Map<_, _>>().into()
        };
        let text: String = (0..12).map(|i| row(i).to_string() + "\n").collect();
        let (batch, rejects) = read(&lines(text.as_bytes()), &[]).unwrap();
        prop_assert!(rejects.is_empty());
        let oracle = arrow::json::ReaderBuilder::new(batch.schema()).build(text.as_bytes()).unwrap();
        let oracle: Vec<RecordBatch> = oracle.collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&batch, &oracle[0]);
        // The same rows as one array.
        let array = Value::from((0..12).map(row).collect::<Vec<_>>()).to_string();
        let (elements, _) = read(&document(array.as_bytes()), &[]).unwrap();
        prop_assert_eq!(&elements, &batch);
    }

    #[test]
    fn any_bytes_are_read_or_refused_alike_by_both_passes(
        pieces in prop::collection::vec(prop::sample::select(vec!["{", "}", "[", "]", "\"a\"", ":", ",", "1", "\n", "{\"a\":1}", "\\", "\"", " "]), 0..15)
    ) {
        let bytes = pieces.concat().into_bytes();
        for fixture in [lines(&bytes), document(&bytes)] {
            let found = facts(&fixture, None);
            let schema = found.evidence.finish(&[], SchemaDrift::Widen).unwrap().arrow;
            match open(&fixture, schema, OnBad::Reject, None).and_then(read_all) {
                Ok((batches, rejects)) => {
                    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                    prop_assert_eq!(found.facts.problem, None);
                    prop_assert_eq!(found.facts.units[0].rows.unwrap() as usize, rows + rejects.len());
                }
                Err(error) => prop_assert_eq!(found.facts.problem, Some(error)),
            }
        }
    }

    #[test]
    fn blocks_of_any_size_give_what_one_block_gives(
        text in prop_oneof![timed_text(), near_rows()], block_bytes in 1usize..60, fail in any::<bool>(), longer in any::<bool>(),
    ) {
        for mut fixture in [lines(text.as_bytes()), document(text.as_bytes()), document(format!("[{}]", text.replace('\n', ",\n")).as_bytes())] {
            fixture.file.bytes += u64::from(longer);
            let (whole, blocks) = (facts(&fixture, None), facts_of(&fixture, None, block_bytes));
            prop_assert_eq!(&whole.facts, &blocks.facts);
            let finish = |found: Inspection| found.evidence.finish(&[], SchemaDrift::Widen).unwrap();
            let schema = finish(whole);
            prop_assert_eq!(&schema, &finish(blocks));
            let on_bad_rows = if fail { OnBad::Fail } else { OnBad::Reject };
            let ask = || request(&fixture, schema.arrow.clone(), on_bad_rows, None);
            let (whole, blocks) = (give(ask(), BLOCK_BYTES), give(ask(), block_bytes));
            if whole.error.is_some() {
                // A batch that is not full when an error comes is lost, and blocks give theirs sooner.
                prop_assert!(blocks.positions.starts_with(&whole.positions) && blocks.rejects.starts_with(&whole.rejects));
                prop_assert_eq!(whole.error, blocks.error);
            } else {
                prop_assert_eq!(whole, blocks);
            }
        }
    }

    #[test]
    fn rows_left_out_are_those_that_lie_outside(text in timed_text(), block_bytes in 1usize..200, declared in any::<bool>()) {
        for fixture in [lines(text.as_bytes()), document(text.as_bytes())] {
            let found = facts(&fixture, None);
            let declared = if declared { vec![("a".to_owned(), DeclaredType::Int8)] } else { Vec::new() };
            let proven = found.facts.problem.is_none() && found.facts.units[0].unplaced_rows == Some(0);
            let schema = found.evidence.finish(&declared, SchemaDrift::Widen).unwrap().arrow;
            let within = Within {
                column: "t".to_owned(),
                times: TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC),
                start: "2026-01-01T00:00:00Z".parse().unwrap(),
                end: "2026-02-01T00:00:00Z".parse().unwrap(),
                declared: declared.into_iter().map(|(name, _)| name).collect(),
                proven,
            };
            let ask = || request(&fixture, schema.clone(), OnBad::Reject, None);
            let all = give(ask(), block_bytes);
            let some = give(FileRequest { within: Some(within.clone()), ..ask() }, block_bytes);
            prop_assert_eq!(&all.rejects, &some.rejects);
            prop_assert_eq!(&all.error, &some.error);
            let times = schema.column_with_name("t").map(|(i, field)| (i, is_json(field)));
            let wanted = |given: &Given| {
                let mut rows = given.rows();
                if let Some((i, false)) = times {
                    rows.retain(|row| {
                        let at = row.1.get(i).and_then(|time| within.times.text(time).ok());
                        at.is_none_or(|i| (within.start..within.end).contains(&i.at))
                    });
                }
                let outside = given.positions.len() - rows.len() + given.outside as usize;
                (rows, outside)
            };
            prop_assert_eq!(wanted(&all), wanted(&some));
        }
    }
}

/// All that a file gives.
#[derive(Debug, Default, PartialEq)]
struct Given {
    batches: Vec<RecordBatch>,
    positions: Vec<u64>,
    rejects: Vec<Reject>,
    outside: u64,
    error: Option<SourceError>,
}

fn give(request: FileRequest, block_bytes: usize) -> Given {
    let mut given = Given::default();
    let schema = request.schema.clone();
    let all = || {
        let mut chunks = open_of(request, block_bytes)?;
        while let Some(mut chunk) = chunks.next_chunk()? {
            while let Some(batch) = chunk.batches.next_batch()? {
                given.positions.extend((0..batch.rows.num_rows()).map(|row| batch.positions.of(row as u32).unwrap()));
                given.batches.push(batch.rows);
                given.rejects.extend(batch.rejected);
                given.outside += batch.outside;
            }
        }
        Ok(())
    };
    given.error = all().err();
    given.batches = vec![arrow::compute::concat_batches(&schema, &given.batches).unwrap()];
    given
}

impl Given {
    /// Each row's position and values as text.
    fn rows(&self) -> Vec<(u64, Vec<String>)> {
        let batch = &self.batches[0];
        let text =
            |column: usize, row: usize| arrow::util::display::array_value_to_string(batch.column(column), row).unwrap();
        let row =
            |(row, position): (usize, &u64)| (*position, (0..batch.num_columns()).map(|c| text(c, row)).collect());
        self.positions.iter().enumerate().map(row).collect()
    }
}

/// Lines that are mostly rows with times in and out of January 2026.
fn timed_text() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "{\"t\":\"2026-01-05T00:00:00Z\",\"a\":1}",
        "{\"a\":300,\"t\":\"2026-02-01T00:00:00Z\"}",
        " {\"a\":{\"x\":[1]},\"\\u0074\":\"2025-12-31T00:00:00Z\"}",
        "{\"t\":\"2027-01-01T00:00:00Z\",\"b\":null}\r",
        "{\"t\":\"2027-01-01T00:00:00Z\",\"b\":1,\"b\":2}",
        "{\"t\":\"2027-01-01T00:00:00Z\",\"c\":[{\"x\":\"\\u00e9\"}]}",
        "{\"t\":\"soon\",\"a\":true}",
        "{\"a\":1}",
        "{\"t\":null,\"a\":\"1\"}",
        "",
        "{\"t\":\"2027-01-01T00:00:00Z\",tru}",
        "{\"t\":5}",
        "[1]",
    ]);
    prop::collection::vec((line, any::<bool>()), 0..12).prop_map(|lines| {
        // Most texts, without invalid rows.
        let rare = lines.iter().any(|(_, rare)| *rare) && lines.len() > 6;
        lines
            .iter()
            .filter(|(l, _)| rare || !l.contains("tru}") && !l.contains("5}"))
            .map(|(l, _)| format!("{l}\n"))
            .collect()
    })
}

/// Pieces of rows in any order.
fn near_rows() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"a\"",
        ":",
        ",",
        "1",
        "\n",
        "\r\n",
        "{\"a\":1}",
        "{\"b\":{\"x\":1}}",
        "{\"b\":[\"x\"]}",
        "\\",
        "\"",
        " ",
        "\u{e9}",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

#[test]
fn what_is_given_up_as_too_wide_does_not_depend_on_blocks() {
    let keys = |range: std::ops::Range<usize>| range.map(|i| format!("\"k{i}\":{i}")).collect::<Vec<_>>().join(",");
    let object = |range| format!("{{\"m\":{{{}}}}}\n", keys(range));
    let plain = "{\"m\":null}\n".to_owned();
    for parts in [
        vec![object(0..1030)],
        vec![object(0..1030), plain.clone()],
        vec![plain.clone(), object(0..1000), object(900..1030)],
        vec![object(0..1000), object(1000..1030), plain.clone()],
        vec![object(0..1000), object(1000..1030), object(0..0)],
        vec![object(0..600), object(600..1030), plain, object(0..1)],
        vec![object(0..20_000), "{\"m\":1}\n".to_owned()],
        (0..300).map(|i| format!("{{{}}}\n", keys(i * 60..i * 60 + 60))).collect(),
        vec!["[]\n".to_owned(), format!("{{{}}}\n", keys(0..20_000)), "{\"late\":1}\n".to_owned()],
    ] {
        let fixture = lines(parts.concat().as_bytes());
        let whole = facts_of(&fixture, None, 16 << 20);
        let schema = whole.evidence.finish(&[], SchemaDrift::Widen);
        for block_bytes in [1, 1000, 10_000, 20_000] {
            let blocks = facts_of(&fixture, None, block_bytes);
            assert_eq!(whole.facts, blocks.facts);
            assert_eq!(schema, blocks.evidence.finish(&[], SchemaDrift::Widen));
        }
    }
}
