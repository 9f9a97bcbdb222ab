//! Compares CSV with the `csv` crate, and checks what that crate does not report.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

mod dialects;

use super::*;
use crate::error::ErrorCode;
use crate::job::SourceCompression;
use crate::job::{DeclaredType, OnBad, SchemaDrift, SourceFormat};
use crate::source::formats::rows::BLOCK_BYTES;
use crate::source::formats::rows::cells::RecordBlock;
use crate::source::formats::rows::decode::tests::{Fixture, fixture, gzip};
use crate::source::formats::rows::inspect::tests::inspect_in_reverse;
use crate::source::formats::rows::reader::MAX_COLUMNS;
use crate::source::{Batch, Inspection, TimeRange, Within};
use crate::time::{TimeFormat, TimeParser};

fn file(bytes: &[u8]) -> Fixture {
    fixture("a.csv", SourceFormat::Csv, SourceCompression::None, bytes)
}

fn facts(fixture: &Fixture) -> Inspection {
    facts_of(fixture, BLOCK_BYTES)
}

fn facts_of(fixture: &Fixture, block_bytes: usize) -> Inspection {
    let times = TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC);
    let (request, dialect) = (InspectRequest { time_column: "t", time_parser: &times }, CsvDialect::default());
    inspect_in_reverse(inspector(&fixture.file, request, &dialect, block_bytes))
}

fn text_schema(names: &[&str]) -> Arc<Schema> {
    Arc::new(Schema::new(names.iter().map(|n| Field::new(*n, DataType::Utf8View, true)).collect::<Vec<_>>()))
}

fn request(fixture: &Fixture, schema: Arc<Schema>, on_bad_rows: OnBad) -> FileRequest {
    FileRequest { file: fixture.file.clone(), schema, units: vec![0], on_bad_rows, text: Arc::default(), within: None }
}

type Rows = Vec<Vec<Option<String>>>;

fn read(fixture: &Fixture, schema: Arc<Schema>, on_bad_rows: OnBad) -> Result<(Rows, Vec<(u64, String)>), SourceError> {
    let read = read_of(request(fixture, schema, on_bad_rows), BLOCK_BYTES);
    read.error.map_or(Ok((read.rows, read.rejects)), Err)
}

/// All that a file gives.
#[derive(Debug, Default, PartialEq)]
struct Read {
    rows: Rows,
    positions: Vec<u64>,
    rejects: Vec<(u64, String)>,
    outside: u64,
    error: Option<SourceError>,
}

fn read_of(request: FileRequest, block_bytes: usize) -> Read {
    let mut read = Read::default();
    let all = || {
        let mut chunks = open(request, block_bytes)?;
        while let Some(mut chunk) = chunks.next_chunk()? {
            while let Some(batch) = chunk.batches.next_batch()? {
                read.add(batch);
            }
            assert!(chunk.batches.next_batch()?.is_none());
        }
        assert!(chunks.next_chunk()?.is_none());
        Ok(())
    };
    read.error = all().err();
    read
}

impl Read {
    fn add(&mut self, batch: Batch) {
        for row in 0..batch.rows.num_rows() {
            let cell = |c: &Arc<dyn Array>| {
                let text = arrow::compute::cast(c, &DataType::Utf8View).unwrap();
                let text = text.as_string_view();
                text.is_valid(row).then(|| text.value(row).to_owned())
            };
            self.rows.push(batch.rows.columns().iter().map(cell).collect());
            self.positions.push(batch.positions.of(row as u32).unwrap());
        }
        self.rejects.extend(batch.rejected.into_iter().map(|r| (r.position, r.error)));
        self.outside += batch.outside;
    }
}

fn some(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|c| Some((*c).to_owned())).collect()
}

#[test]
fn an_empty_cell_is_null_and_quotes_around_nothing_are_the_empty_string() {
    let fixture = file(b"\xef\xbb\xbf\"a\",b,c\r\n,\"\",\"x\"\"y\"\r\n\"two\r\nlines\",\xc3\xa9,\0\r\n");
    let (rows, _) = read(&fixture, text_schema(&["c", "a", "b"]), OnBad::Fail).unwrap();
    assert_eq!(rows, [vec![Some("x\"y".to_owned()), None, Some(String::new())], some(&["\0", "two\r\nlines", "é"]),]);
}

#[test]
fn rows_that_cannot_be_read_are_set_aside_with_their_lines() {
    let fixture = file(b"a,b\n1,\"x\ny\"\n\n1\n2,3,4\n\xff,1\n\"a\"b,1\n5,6\n");
    let error = read(&fixture, text_schema(&["a", "b"]), OnBad::Fail).unwrap_err();
    assert_eq!((error.code, error.position), (ErrorCode::BadRows, Some(5)));
    assert!(error.message.contains("expected 2 cells, as in the header, found 1"), "{error}");
    let (rows, rejects) = read(&fixture, text_schema(&["a", "b"]), OnBad::Reject).unwrap();
    assert_eq!(rows, [some(&["1", "x\ny"]), some(&["5", "6"])]);
    assert_eq!(rejects.iter().map(|r| r.0).collect::<Vec<_>>(), [5, 6, 7, 8]);
    let unit = facts(&fixture).facts.units[0].clone();
    assert_eq!((unit.rows, unit.unplaced_rows), (Some(6), Some(6)));
}

#[test]
fn types_are_inferred_only_where_the_text_comes_back_as_it_was() {
    let fixture = file(
        b"t,zip,n,f,mixed,flag,big,huge,exp,empty\n\
          2026-01-02,007,1,1.5,1,true,18446744073709551615,99999999999999999999,1e5,\n\
          2026-01-01,123,-9223372036854775808,0.1,1.5,false,1,1,2.0,\n,1,,,,,,,,\nno,1,,,,,,,,\n",
    );
    let found = facts(&fixture);
    let unit = &found.facts.units[0];
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let times = TimeRange::Within { min: at("2026-01-01T00:00:00Z"), max: at("2026-01-02T00:00:00Z") };
    assert_eq!((unit.rows, unit.unplaced_rows, unit.times), (Some(4), Some(2), times));
    let schema = found.evidence.finish(&[], SchemaDrift::Fail).unwrap().arrow;
    let types: Vec<DataType> = schema.fields().iter().map(|f| f.data_type().clone()).collect();
    use DataType::*;
    let expected = [Utf8View, Utf8View, Int64, Float64, Utf8View, Boolean, UInt64, Utf8View, Utf8View, Utf8View];
    assert_eq!(types, expected);
}

#[test]
fn declared_types_hold_their_values_exactly_or_the_row_is_bad() {
    let fixture = file(b"a,d,j,t\n1,1.25,\"{\"\"a\"\": 1}\",2026-01-01T00:00:00.5Z\n300,1,2,2026-01-01T00:00:00Z\n1,0.001,1,\n1,,no,\n");
    let declared = [
        ("a".to_owned(), DeclaredType::Int8),
        ("d".to_owned(), DeclaredType::Decimal { precision: 6, scale: 2 }),
        ("j".to_owned(), DeclaredType::Json),
        ("t".to_owned(), DeclaredType::Timestamp),
    ];
    let schema = facts(&fixture).evidence.finish(&declared, SchemaDrift::Widen).unwrap().arrow;
    let (rows, rejects) = read(&fixture, schema, OnBad::Reject).unwrap();
    assert_eq!(rows, [some(&["1", "1.25", "{\"a\": 1}", "2026-01-01T00:00:00.500Z"])]);
    let errors: Vec<&str> = rejects.iter().map(|r| r.1.as_str()).collect();
    assert_eq!(
        errors,
        ["`a`: the value is not int8", "`d`: the value is not decimal(6,2)", "`j`: the value is not json"]
    );
}

#[test]
fn a_header_that_is_none_is_an_error() {
    for header in ["", "\n\n", "a,a\n", "a,,b\n", "\"a\n", "\"a\"b\n", "a,b"] {
        let fixture = file(header.as_bytes());
        let error = facts(&fixture).facts.problem.expect(header);
        assert_eq!(error.code, ErrorCode::SourceUnreadable, "{header}");
        assert_eq!(open(request(&fixture, text_schema(&["a"]), OnBad::Reject), BLOCK_BYTES).err(), Some(error));
    }
}

#[test]
fn a_blank_line_is_a_null_where_nothing_else_can_be() {
    let (rows, _) = read(&file(b"a\n1\n\n2\n"), text_schema(&["a"]), OnBad::Fail).unwrap();
    assert_eq!(rows, [vec![Some("1".to_owned())], vec![None], vec![Some("2".to_owned())]]);
}

#[test]
fn a_cut_at_any_byte_is_an_error_unless_it_is_at_the_end_of_a_line() {
    let whole = b"a,b\r\n1,\"x\r\n\"\"y\"\r\n,22\n333,\"\"\n";
    let ends = [4, 5, 16, 17, 21];
    for cut in 0..whole.len() {
        let read = read(&file(&whole[..cut]), text_schema(&["a", "b"]), OnBad::Fail);
        assert_eq!(read.is_ok(), ends.contains(&cut), "{cut}: {read:?}");
    }
    let packed = fixture("a.csv.gz", SourceFormat::Csv, SourceCompression::Gzip, &gzip(b"a,b\n1,2"));
    assert_eq!(read(&packed, text_schema(&["a", "b"]), OnBad::Fail).unwrap().0, [some(&["1", "2"])]);
}

#[test]
fn long_rows_cross_blocks_and_batches() {
    let cell = "x\"\"\n,".repeat(9000);
    let text = format!("a,b\n{}", (0..40).map(|i| format!("{i},\"{cell}\"\r\n")).collect::<String>());
    let (rows, _) = read(&file(text.as_bytes()), text_schema(&["a", "b"]), OnBad::Fail).unwrap();
    assert_eq!(rows.len(), 40);
    assert!(rows.iter().all(|r| r[1].as_deref() == Some(&*cell.replace("\"\"", "\""))));
    let many = format!("a\n{}", "1\n".repeat(20_001));
    assert_eq!(read(&file(many.as_bytes()), text_schema(&["a"]), OnBad::Fail).unwrap().0.len(), 20_001);
}

/// Text with all that matters to CSV.
fn csv_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "é", ",", ",", "\n", "\r\n", "\r", "\"", "\"\"", "\"a,b\"", " ", "1"]);
    prop::collection::vec(piece, 0..30).prop_map(|p| p.concat())
}

/// Lines that are mostly rows of `t,a`, in and out of January 2026.
fn timed_text() -> impl Strategy<Value = String> {
    let time = prop::sample::select(vec![
        "2026-01-05T00:00:00Z",
        "\"2026-01-31T23:59:59.999999999Z\"",
        "2026-02-01T00:00:00Z",
        "2025-12-31",
        "2026-01-01T00:30:00+01:00",
        "9999-12-31T23:59:59Z",
        "2025-10-26T02:30:00",
        "soon",
        "",
    ]);
    let cell =
        prop::sample::select(vec!["1", "300", "", "x", "1.5", "\"two\nlines\"", "\"\"", "a\"b", "1,2", "\"a\"b", "é"]);
    let end = prop::sample::select(vec!["\n", "\n", "\r\n", "\r", "\n\r\n"]);
    let line = (time, cell, end).prop_map(|(time, cell, end)| format!("{time},{cell}{end}"));
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

fn january(declared: &[&str], proven: bool) -> Within {
    Within {
        column: "t".to_owned(),
        times: TimeParser::new(TimeFormat::Auto, crate::time::zone::find("Europe/Berlin").unwrap()),
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        end: "2026-02-01T00:00:00Z".parse().unwrap(),
        declared: declared.iter().map(|name| (*name).to_owned()).collect(),
        proven,
    }
}

/// What the routing would keep of some rows: lines of rows in the window, without a time, or with a guessed one.
fn wanted(read: &Read, within: &Within) -> (Vec<u64>, Rows, u64) {
    let mut outside = read.outside;
    let (mut positions, mut rows) = (Vec::new(), Vec::new());
    for (position, row) in read.positions.iter().zip(&read.rows) {
        let instant = row[0].as_ref().and_then(|time| within.times.text(time).ok());
        if instant.is_some_and(|i| !i.ambiguous && !(within.start..within.end).contains(&i.at)) {
            outside += 1;
        } else {
            positions.push(*position);
            rows.push(row.clone());
        }
    }
    (positions, rows, outside)
}

proptest! {
    #[test]
    fn blocks_of_any_size_give_what_one_block_gives(
        body in prop_oneof![csv_text(), timed_text()], header in prop::sample::select(vec!["a\n", "t,a\r\n", "\n\"t\",a\n", "t,a\r", ""]),
        block_bytes in 1usize..40, fail in any::<bool>(), longer in any::<bool>(),
    ) {
        let mut fixture = file(format!("{header}{body}").as_bytes());
        fixture.file.bytes += u64::from(longer);
        let on_bad_rows = if fail { OnBad::Fail } else { OnBad::Reject };
        let ask = || request(&fixture, text_schema(&["t", "a"]), on_bad_rows);
        let (whole, blocks) = (read_of(ask(), BLOCK_BYTES), read_of(ask(), block_bytes));
        if whole.error.is_some() {
            // A batch that is not full when an error comes is lost, and blocks give theirs sooner.
            prop_assert!(blocks.rows.starts_with(&whole.rows) && blocks.rejects.starts_with(&whole.rejects));
            prop_assert_eq!(whole.error, blocks.error);
        } else {
            prop_assert_eq!(whole, blocks);
        }
        let (whole, blocks) = (facts_of(&fixture, BLOCK_BYTES), facts_of(&fixture, block_bytes));
        prop_assert_eq!(&whole.facts, &blocks.facts);
        let finish = |found: Inspection| found.evidence.finish(&[], SchemaDrift::Widen).unwrap();
        prop_assert_eq!(finish(whole), finish(blocks));
    }

    #[test]
    fn rows_left_out_are_those_that_lie_outside(
        body in timed_text(), block_bytes in 1usize..200, declared in any::<bool>(), column in any::<bool>(),
    ) {
        let fixture = file(format!("t,a\n{body}\n").as_bytes());
        let mut fields = vec![Field::new("t", DataType::Utf8View, true)];
        if column {
            fields.push(Field::new("a", if declared { DataType::Int8 } else { DataType::Utf8View }, true));
        }
        let ask = || request(&fixture, Arc::new(Schema::new(fields.clone())), OnBad::Reject);
        let within = january(if declared { &["a"] } else { &[] }, false);
        let all = read_of(ask(), block_bytes);
        let some = read_of(FileRequest { within: Some(within.clone()), ..ask() }, block_bytes);
        prop_assert_eq!(wanted(&all, &within), wanted(&some, &within));
        prop_assert_eq!(&wanted(&some, &within).0.len(), &some.rows.len());
        prop_assert_eq!((all.rejects, all.error), (some.rejects, some.error));
    }

    #[test]
    fn records_are_those_of_the_csv_crate(body in csv_text()) {
        let text = format!("a,b\n{body}\n");
        let fixture = file(text.as_bytes());
        let Ok((rows, rejects)) = read(&fixture, text_schema(&["a", "b"]), OnBad::Reject) else {
            // A quote that is never closed, which the csv crate takes as closed.
            return Ok(());
        };
        // Text behind a closing quote is refused here and kept there.
        prop_assume!(!rejects.iter().any(|r| r.1.contains("closing quote")));
        let mut oracle = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let (mut expected, mut ragged) = (Vec::new(), 0);
        for record in oracle.records() {
            let record = record.unwrap();
            if record.len() == 2 {
                expected.push(record.iter().map(str::to_owned).collect::<Vec<_>>());
            } else {
                ragged += 1;
            }
        }
        let ours: Vec<Vec<String>> =
            rows.into_iter().map(|r| r.into_iter().map(Option::unwrap_or_default).collect()).collect();
        prop_assert_eq!(ours, expected);
        prop_assert_eq!(rejects.len(), ragged);
    }

    #[test]
    fn tables_written_by_the_csv_crate_come_back(table in prop::collection::vec(any::<[String; 3]>(), 0..20)) {
        let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        for row in &table {
            writer.write_record(row).unwrap();
        }
        let fixture = file(&writer.into_inner().unwrap());
        let (rows, _) = read(&fixture, text_schema(&["a", "b", "c"]), OnBad::Fail).unwrap();
        let expected: Vec<_> = table.iter().map(|r| some(&[&r[0], &r[1], &r[2]])).collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let fixture = file(&[b"a,b\n".as_slice(), &bytes].concat());
        let unit = facts(&fixture).facts;
        if let Ok((rows, rejects)) = read(&fixture, text_schema(&["a", "b"]), OnBad::Reject) {
            prop_assert!(unit.problem.is_none());
            prop_assert_eq!(unit.units[0].rows, Some((rows.len() + rejects.len()) as u64));
        } else {
            prop_assert!(unit.problem.is_some());
        }
    }
}

#[test]
fn a_line_of_nothing_but_commas_takes_the_memory_of_the_widest_table() {
    let commas = ",".repeat(1 << 20);
    let bytes = format!("t,a\n2026-03-01T00:00:00Z,1\n{commas}\n2026-03-01T00:00:00Z,2\n");
    let fixture = file(bytes.as_bytes());
    let (rows, rejects) = read(&fixture, text_schema(&["a"]), OnBad::Reject).unwrap();
    assert_eq!(rows, [[Some("1".to_owned())], [Some("2".to_owned())]]);
    let why = "expected 2 cells, as in the header, found more than 16384";
    assert_eq!(rejects.len(), 1);
    assert!(rejects[0].0 == 3 && rejects[0].1.contains(why), "{rejects:?}");
    let header = file(format!("{commas}\n").as_bytes());
    let syntax = Arc::new(Syntax::new(&CsvDialect::default(), "a.csv"));
    let mut blocks = Blocks::open(&header.file, RecordEnds::new(syntax.clone()), BLOCK_BYTES).unwrap();
    let layout = Layout { name: "a".into(), syntax, proves_end: true, skip_blank: true, header_line: None };
    let mut tokens = Tokenizer::new(blocks.next_block().unwrap().unwrap(), layout);
    assert_eq!(tokens.next_record().unwrap().unwrap().cells.len(), MAX_COLUMNS + 1);
}
