//! Reads files from the crate's own writer, intact and with every byte damaged in turn.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, DictionaryArray, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StringViewArray, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

mod decodable;
mod int96;
mod logical;

use super::*;
use crate::error::ErrorCode;
use crate::job::SourceCompression;
use crate::job::{OnBad, SourceFormat};
use crate::logical::is_json;
use crate::time::TimeFormat;

fn parser(format: TimeFormat, zone: &str) -> TimeParser {
    TimeParser::new(format, TimeZone::get(zone).expect("bundled zone"))
}

fn auto() -> TimeParser {
    parser(TimeFormat::Auto, "UTC")
}

struct Sample {
    _folder: tempfile::TempDir,
    file: SourceFile,
}

impl Sample {
    fn of(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, bytes).expect("written");
        Self { file: listed(&path), _folder: folder }
    }

    fn read(&self, schema: Schema, units: Vec<u32>) -> Result<Vec<Batch>, SourceError> {
        self.read_with(schema, units, OnBad::Fail)
    }

    fn read_with(&self, schema: Schema, units: Vec<u32>, on_bad_rows: OnBad) -> Result<Vec<Batch>, SourceError> {
        let request = FileRequest {
            file: self.file.clone(),
            schema: Arc::new(schema),
            units,
            on_bad_rows,
            text: Arc::default(),
            within: None,
        };
        let mut reader = open(request)?;
        let mut batches = Vec::new();
        while let Some(mut chunk) = reader.next_chunk()? {
            while let Some(batch) = chunk.batches.next_batch()? {
                batches.push(batch);
            }
            assert!(chunk.batches.next_batch().expect("spent").is_none());
        }
        Ok(batches)
    }
}

fn listed(path: &std::path::Path) -> SourceFile {
    let metadata = std::fs::metadata(path).expect("metadata");
    SourceFile {
        at: path.to_owned().into(),
        name: "a.parquet".to_owned(),
        bytes: metadata.len(),
        modified: Timestamp::try_from(metadata.modified().expect("mtime")).expect("timestamp"),
        etag: None,
        format: SourceFormat::Parquet,
        compression: SourceCompression::None,
        compression_is_declared: false,
        constants: Vec::new(),
    }
}

fn written(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).expect("writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    bytes
}

fn one(name: &str, column: impl arrow::array::Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(vec![(name, Arc::new(column) as ArrayRef, true)]).expect("batch")
}

fn groups_of(rows: usize) -> WriterPropertiesBuilder {
    WriterProperties::builder().set_max_row_group_row_count(Some(rows))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("timestamp")
}

/// 2026-03-01T00:00:00Z in seconds.
const MARCH: i64 = 1_772_323_200;

fn units(batch: &RecordBatch, properties: WriterPropertiesBuilder, parser: &TimeParser) -> Vec<UnitFacts> {
    inspect(&Sample::of(&written(batch, properties)).file, "t", parser).expect("inspected").facts.units
}

fn within(min: &str, max: &str) -> TimeRange {
    TimeRange::Within { min: at(min), max: at(max) }
}

#[test]
fn each_row_group_reports_rows_times_and_nulls() {
    let times = TimestampMicrosecondArray::from(vec![
        Some(MARCH * 1_000_000 + 1),
        Some(MARCH * 1_000_000),
        None,
        Some(MARCH * 1_000_000 + 5),
        None,
        None,
        Some(7),
    ]);
    let found = units(&one("t", times.with_timezone("UTC")), groups_of(2), &auto());
    assert_eq!(
        found.iter().map(|u| (u.rows.unwrap(), u.unplaced_rows.unwrap())).collect::<Vec<_>>(),
        [(2, 0), (2, 1), (2, 2), (1, 0)]
    );
    assert_eq!(found[0].times, within("2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000001Z"));
    assert_eq!(found[2].times, TimeRange::Empty);
    assert!(found.iter().all(|u| u.encoded_bytes > 0));
}

#[test]
fn zoneless_dates_and_epochs_are_read_as_the_catalog_says() {
    let berlin = parser(TimeFormat::Auto, "Asia/Tokyo");
    let seconds = one("t", TimestampSecondArray::from(vec![MARCH]));
    assert_eq!(units(&seconds, groups_of(9), &berlin)[0].times, within("2026-02-28T15:00:00Z", "2026-02-28T15:00:00Z"));
    let days = one("t", Date32Array::from(vec![20_513]));
    assert_eq!(units(&days, groups_of(9), &auto())[0].times, within("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"));
    let epochs = one("t", Int64Array::from(vec![MARCH * 1000 + 1]));
    let ms = parser(TimeFormat::EpochMs, "UTC");
    assert_eq!(
        units(&epochs, groups_of(9), &ms)[0].times,
        within("2026-03-01T00:00:00.001Z", "2026-03-01T00:00:00.001Z")
    );
    let unsigned = one("t", UInt64Array::from(vec![MARCH as u64, u64::MAX]));
    let s = parser(TimeFormat::EpochS, "UTC");
    assert_eq!(
        (units(&unsigned, groups_of(9), &s)[0].times, units(&unsigned, groups_of(9), &s)[0].unplaced_rows),
        (TimeRange::Unknown, Some(2))
    );
    assert_eq!(units(&epochs, groups_of(9), &auto())[0].times, TimeRange::Unknown);
}

#[test]
fn nothing_is_proven_without_statistics_or_of_text() {
    let times = one("t", TimestampNanosecondArray::from(vec![1, 2]).with_timezone("UTC"));
    let silent = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None);
    let found = units(&times, silent, &auto());
    assert_eq!((found[0].times, found[0].unplaced_rows), (TimeRange::Unknown, Some(2)));
    let text = one("t", StringArray::from(vec!["2026-03-01T00:00:00Z"]));
    assert_eq!(units(&text, groups_of(9), &auto())[0].times, TimeRange::Unknown);
    let other = one("x", Int32Array::from(vec![1]));
    let found = units(&other, groups_of(9), &auto());
    assert_eq!((found[0].times, found[0].unplaced_rows), (TimeRange::Empty, Some(1)));
}

#[test]
fn a_file_without_rows_has_no_rows() {
    let batch = one("t", TimestampSecondArray::from(Vec::<i64>::new()));
    let sample = Sample::of(&written(&batch, groups_of(9)));
    let facts = inspect(&sample.file, "t", &auto()).expect("inspected").facts;
    assert_eq!(facts.units, []);
    assert_eq!(sample.read(batch.schema().as_ref().clone(), vec![]).expect("read").len(), 0);
}

/// Text plain, in a dictionary, in a list and in a struct.
fn texts() -> RecordBatch {
    let plain = StringArray::from(vec![Some("a"), None, Some("a text longer than twelve bytes")]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), Some("x"), None].into_iter().collect();
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("1"), None]);
    list.append_null();
    list.append_value([Some("2")]);
    let inner = StringArray::from(vec!["p", "q", "r"]);
    let inside =
        StructArray::from(vec![(Arc::new(Field::new("s", DataType::Utf8, true)), Arc::new(inner) as ArrayRef)]);
    RecordBatch::try_from_iter_with_nullable(vec![
        ("plain", Arc::new(plain) as ArrayRef, true),
        ("dictionary", Arc::new(dictionary) as ArrayRef, true),
        ("list", Arc::new(list.finish()) as ArrayRef, true),
        ("struct", Arc::new(inside) as ArrayRef, true),
    ])
    .expect("batch")
}

#[test]
fn text_is_planned_and_read_as_views_inside_nested_columns_too() {
    let sample = Sample::of(&written(&texts(), groups_of(9)));
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
    assert_eq!(found.schema.field(0).data_type(), &DataType::Utf8View);
    assert_eq!(found.schema.field(1).data_type(), &DataType::Utf8View);
    assert_eq!(found.schema.field(2).data_type(), &DataType::List(item));
    // The crate gives views itself, without a second conversion.
    assert_eq!(load(&sample.file).expect("footer").schema().field(1).data_type(), &DataType::Utf8View);
    let rows = sample.read(found.schema.clone(), vec![0]).expect("read").remove(0).rows;
    assert_eq!(rows.schema().as_ref(), &found.schema);
    let plain: &StringViewArray = rows.column(0).as_string_view();
    assert_eq!(plain.iter().collect::<Vec<_>>(), [Some("a"), None, Some("a text longer than twelve bytes")]);
    assert_eq!(rows.column(1).as_string_view().iter().collect::<Vec<_>>(), [Some("x"), Some("x"), None]);
    assert_eq!(rows.column(2).as_list::<i32>().value(0).as_string_view().value(0), "1");
    assert_eq!(rows.column(3).as_struct().column(0).as_string_view().value(2), "r");
}

#[test]
fn row_groups_are_read_in_the_order_of_the_plan_and_no_batch_spans_two() {
    let numbers = one("n", Int32Array::from_iter_values(0..20_010));
    let sample = Sample::of(&written(&numbers, groups_of(10_000)));
    let batches = sample.read(numbers.schema().as_ref().clone(), vec![0, 2]).expect("read");
    let seen: Vec<_> = batches.iter().map(|b| b.rows.num_rows()).collect();
    assert_eq!(seen, [8192, 1808, 10]);
    assert_eq!(batches[2].rows.column(0).as_primitive::<Int32Type>().value(0), 20_000);
    assert!(batches.iter().all(|b| b.rejected.is_empty()));
    let error = sample.read(numbers.schema().as_ref().clone(), vec![3]).expect_err("no such row group");
    assert!(error.message.contains("has 3 row groups"), "{error}");
}

#[test]
fn missing_columns_are_null_and_others_are_left_out() {
    let sample = Sample::of(&written(&texts(), groups_of(9)));
    let schema =
        Schema::new(vec![Field::new("new", DataType::Int64, true), Field::new("plain", DataType::Utf8View, true)]);
    let rows = sample.read(schema, vec![0]).expect("read").remove(0).rows;
    assert_eq!((rows.num_columns(), rows.column(0).null_count(), rows.column(1).null_count()), (2, 3, 1));
    let nothing = Schema::new(vec![Field::new("new", DataType::Int64, true)]);
    assert_eq!(sample.read(nothing, vec![0]).expect("read")[0].rows.num_rows(), 3);
    assert_eq!(sample.read(Schema::empty(), vec![0]).expect("read")[0].rows.num_rows(), 3);
}

#[test]
fn values_that_do_not_fit_the_plan_name_column_and_file() {
    let numbers = one("n", Int64Array::from(vec![1, 300]));
    let sample = Sample::of(&written(&numbers, groups_of(9)));
    let wide = sample.read(Schema::new(vec![Field::new("n", DataType::Int32, true)]), vec![0]).expect("fits");
    assert_eq!(wide[0].rows.column(0).as_primitive::<Int32Type>().values(), &[1, 300]);
    let error = sample.read(Schema::new(vec![Field::new("n", DataType::Int8, true)]), vec![0]).expect_err("too small");
    assert_eq!(error.code, ErrorCode::SchemaMismatch);
    assert!(error.to_string().starts_with("a.parquet: column n"), "{error}");
}

#[test]
fn row_groups_of_one_open_are_read_in_any_order() {
    let numbers = one("n", Int32Array::from_iter_values(0..10));
    let sample = Sample::of(&written(&numbers, groups_of(5)));
    let request = FileRequest {
        file: sample.file.clone(),
        schema: numbers.schema(),
        units: vec![0, 1],
        on_bad_rows: OnBad::Fail,
        text: Arc::default(),
        within: None,
    };
    let mut reader = open(request).expect("opened");
    let mut chunks: Vec<_> = std::iter::from_fn(|| reader.next_chunk().expect("read")).collect();
    chunks.reverse();
    let rows: Vec<_> = chunks.iter_mut().map(|c| c.batches.next_batch().expect("read").expect("batch").rows).collect();
    assert_eq!(rows[0].column(0).as_primitive::<Int32Type>().values(), &[5, 6, 7, 8, 9]);
    assert_eq!(rows[1].column(0).as_primitive::<Int32Type>().values(), &[0, 1, 2, 3, 4]);
}

#[test]
fn a_row_group_of_negative_size_is_an_error() {
    let sample = Sample::of(&written(&one("n", Int32Array::from_iter_values(0..3)), groups_of(5)));
    let loaded = load(&sample.file).expect("footer");
    let facts = |size| {
        let groups = loaded.metadata().row_groups().iter();
        let groups = groups.map(|group| group.clone().into_builder().set_total_byte_size(size).build().expect("group"));
        let metadata =
            ParquetMetaData::clone(loaded.metadata()).into_builder().set_row_groups(groups.collect()).build();
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).expect("metadata");
        unit_facts(&metadata, &BTreeMap::new(), "t", &auto())
    };
    assert_eq!(facts(30).expect("facts")[0].peak_decoded_bytes, 40);
    assert_eq!(facts(-1).expect_err("negative").to_string(), "out of range integral type conversion attempted");
}

#[test]
fn json_columns_are_marked_and_checked() {
    let schema = "message m { optional binary j (JSON); required int32 n; }";
    let bytes = |json: &str| {
        let schema = Arc::new(parse_message_type(schema).expect("schema"));
        let mut out = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut out, schema, Arc::default()).expect("writer");
        let mut group = writer.next_row_group().expect("row group");
        let mut column = group.next_column().expect("column").expect("column");
        let value = parquet::data_type::ByteArray::from(json);
        column.typed::<parquet::data_type::ByteArrayType>().write_batch(&[value], Some(&[1]), None).expect("value");
        column.close().expect("closed");
        let mut column = group.next_column().expect("column").expect("column");
        column.typed::<parquet::data_type::Int32Type>().write_batch(&[1], None, None).expect("value");
        column.close().expect("closed");
        group.close().expect("closed");
        writer.close().expect("closed");
        out
    };
    let sample = Sample::of(&bytes("{\"a\":1}"));
    let schema = inspect(&sample.file, "t", &auto()).expect("inspected").schema;
    assert!(is_json(schema.field(0)) && !is_json(schema.field(1)));
    let rows = sample.read(schema.clone(), vec![0]).expect("read").remove(0).rows;
    assert_eq!(rows.column(0).as_string_view().value(0), "{\"a\":1}");
    let error = Sample::of(&bytes("{")).read(schema, vec![0]).expect_err("no JSON");
    assert!(error.message.contains("column j should hold JSON"), "{error}");
}

#[test]
fn a_file_that_is_not_parquet_is_distinguished() {
    let good = written(&texts(), groups_of(9));
    let message = |bytes: &[u8]| inspect(&Sample::of(bytes).file, "t", &auto()).expect_err("refused").message;
    assert!(message(b"").contains("too few"));
    assert!(message(b"{\"a\": 1}\n{\"a\": 2}\n").contains("does not begin with PAR1"));
    assert!(message(&good[..good.len() - 1]).contains("is truncated"));
    let mut encrypted = good.clone();
    let end = encrypted.len();
    encrypted[end - 4..].copy_from_slice(b"PARE");
    assert!(message(&encrypted).contains("encrypted"));
}

#[test]
fn a_file_that_changed_or_vanished_is_reported_before_and_after_reading() {
    let numbers = one("n", Int32Array::from_iter_values(0..10));
    let bytes = written(&numbers, groups_of(5));
    let sample = Sample::of(&bytes);
    let mut stale = sample.file.clone();
    stale.modified = Timestamp::UNIX_EPOCH;
    assert_eq!(inspect(&stale, "t", &auto()).expect_err("stale").code, ErrorCode::SourceChanged);

    let request = FileRequest {
        file: sample.file.clone(),
        schema: numbers.schema(),
        units: vec![0, 1],
        on_bad_rows: OnBad::Fail,
        text: Arc::default(),
        within: None,
    };
    let mut reader = open(request.clone()).expect("opened");
    let mut first = reader.next_chunk().expect("read").expect("chunk").batches;
    let mut second = reader.next_chunk().expect("read").expect("chunk").batches;
    assert!(first.next_batch().expect("first").is_some());
    std::fs::write(sample.file.at.local().expect("local"), &bytes[..bytes.len() / 2]).expect("shrunk");
    let error = loop {
        match second.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end was taken for whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, ErrorCode::SourceChanged);
    std::fs::remove_file(sample.file.at.local().expect("local")).expect("removed");
    assert_eq!(open(request).err().expect("gone").code, ErrorCode::SourceUnreadable);
}

/// A small file of several types, row groups and page checksums.
fn small() -> (RecordBatch, Vec<u8>) {
    let times = TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]).with_timezone("UTC");
    let mut columns = vec![("t", Arc::new(times) as ArrayRef, true)];
    let batch = texts();
    columns.push(("plain", Arc::clone(batch.column(0)), true));
    columns.push(("list", Arc::clone(batch.column(2)), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("batch");
    let bytes = written(&batch, groups_of(2));
    (batch, bytes)
}

/// Reads all that the file says it has.
fn read_all(sample: &Sample) -> Result<u64, SourceError> {
    let found = inspect(&sample.file, "t", &auto())?;
    let promised: u64 = found.facts.units.iter().map(|u| u.rows.unwrap()).sum();
    let units = (0..u32::try_from(found.facts.units.len()).expect("few")).collect();
    let rows: usize = sample.read(found.schema, units)?.iter().map(|b| b.rows.num_rows()).sum();
    assert_eq!(rows as u64, promised);
    Ok(promised)
}

#[test]
fn a_file_cut_at_any_length_is_unreadable() {
    let (_, bytes) = small();
    let sample = Sample::of(&bytes);
    assert_eq!(read_all(&sample), Ok(3));
    for length in 0..bytes.len() {
        let error = read_all(&Sample::of(&bytes[..length])).expect_err("cut");
        assert_eq!(error.code, ErrorCode::SourceUnreadable, "{length}: {error}");
    }
}

#[test]
fn any_byte_may_be_flipped_without_a_panic_or_a_missing_row() {
    let (_, bytes) = small();
    let (mut failed, mut read) = (0, 0);
    for place in 0..bytes.len() {
        for bits in [0xff, 1 << (place % 8)] {
            let mut damaged = bytes.clone();
            damaged[place] ^= bits;
            match read_all(&Sample::of(&damaged)) {
                Ok(rows) => {
                    assert_eq!(rows, 3, "byte {place}");
                    read += 1;
                }
                Err(error) => {
                    failed += 1;
                    assert!(error.name == "a.parquet" && !error.message.is_empty());
                }
            }
        }
    }
    assert!(failed > read, "{failed} of {} were seen", failed + read);
}
