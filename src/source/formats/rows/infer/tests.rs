//! Schema drift between files, and its descriptions.

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::job::{CsvDialect, SourceCompression, SourceFormat};
use crate::logical::{is_json, json_field};
use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::BLOCK_BYTES;
use crate::source::formats::rows::decode::tests::fixture;
use crate::source::formats::rows::inspect::tests::inspect_in_reverse;
use crate::source::formats::rows::{csv, ndjson};
use crate::time::TimeFormat;
use crate::time::TimeParser;

fn evidence(name: &str, format: SourceFormat, text: &str) -> TableEvidence {
    let times = TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC);
    let request = InspectRequest { time_column: "t", time_parser: &times };
    let fixture = fixture(name, format, SourceCompression::None, text.as_bytes());
    let dialect = CsvDialect::default();
    let facts = inspect_in_reverse(match format {
        SourceFormat::Csv => csv::inspector(&fixture.file, request, &dialect, BLOCK_BYTES),
        _ => ndjson::inspector(&fixture.file, request, None, BLOCK_BYTES),
    });
    assert_eq!(facts.facts.problem, None);
    facts.evidence
}

fn rows(name: &str, text: &str) -> TableEvidence {
    evidence(name, SourceFormat::Ndjson, text)
}

fn merged(files: impl IntoIterator<Item = TableEvidence>) -> TableEvidence {
    files.into_iter().fold(TableEvidence::default(), |mut sum, e| {
        sum.merge(e);
        sum
    })
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|f| f.name().as_str()).collect()
}

#[test]
fn three_hundred_files_that_drift_lose_no_key() {
    let files = (0..300).map(|i| {
        let text = match i {
            0..100 => format!("{{\"id\":{i},\"user\":{{\"name\":\"n\",\"age\":1}},\"tags\":[1],\"v\":1}}\n"),
            100..200 => {
                format!("{{\"id\":\"{i}\",\"user\":{{\"name\":\"n\",\"mail\":\"m\"}},\"tags\":[\"x\"],\"v\":1.5}}\n")
            }
            200..299 => format!("{{\"id\":{i},\"user\":{{\"address\":{{\"zip\":\"1\"}}}},\"tags\":null,\"v\":2}}\n"),
            _ => "{\"id\":1,\"late\":true,\"user\":{\"address\":{\"city\":\"x\"}}}\n".to_owned(),
        };
        rows(&format!("{i:03}.ndjson"), &text)
    });
    let schema = merged(files).finish(&[], SchemaDrift::Widen).unwrap();
    let text = |n: &str| Field::new(n, DataType::Utf8View, true);
    let address = Field::new("address", DataType::Struct(vec![text("zip"), text("city")].into()), true);
    let user = vec![text("name"), Field::new("age", DataType::Int64, true), text("mail"), address];
    let expected = Schema::new(vec![
        json_field(text("id")),
        Field::new("user", DataType::Struct(user.into()), true),
        Field::new("tags", DataType::List(json_field(text("item")).into()), true),
        Field::new("v", DataType::Float64, true),
        Field::new("late", DataType::Boolean, true),
    ]);
    assert_eq!(*schema.arrow, expected);
    for sentence in [
        "column `id` is int64 in 000.ndjson and text in 100.ndjson; it is read as json",
        "column `v` is missing from 1 of 300 files, first 299.ndjson, where it is null; 000.ndjson has it",
        "column `v` is int64 in 000.ndjson and float64 in 100.ndjson; it is read as float64",
        "column `late` is missing from 299 of 300 files, first 000.ndjson, where it is null; 299.ndjson has it",
        "column `user.age` is missing from 200 of 300 files, first 100.ndjson, where it is null; 000.ndjson has it",
        "column `user.address.city` is missing from 99 of 100 files, first 200.ndjson, where it is null; 299.ndjson has it",
    ] {
        assert!(schema.drift.iter().any(|s| s == sentence), "{sentence}\n{:#?}", schema.drift);
    }
}

#[test]
fn drift_that_is_to_fail_names_column_types_and_files() {
    let a = || rows("a.ndjson", "{\"x\":1,\"y\":null}\n");
    for (other, sentence) in [
        ("{\"x\":\"1\",\"y\":1}\n", "column `x` is int64 in a.ndjson and text in b.ndjson"),
        ("{\"x\":1}\n", "column `y` is missing from 1 of 2 files, first b.ndjson"),
        ("{\"x\":1,\"y\":1,\"z\":1}\n", "column `z` is missing from 1 of 2 files, first a.ndjson"),
    ] {
        let error = merged([a(), rows("b.ndjson", other)]).finish(&[], SchemaDrift::Fail).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
    let same = merged([a(), rows("b.ndjson", "{\"x\":null,\"y\":1}\n"), rows("c.ndjson", "")]);
    assert_eq!(same.finish(&[], SchemaDrift::Fail).unwrap().drift, Vec::<String>::new());
    let declared = [("x".to_owned(), DeclaredType::Text)];
    let same = merged([a(), rows("b.ndjson", "{\"x\":\"1\",\"y\":1}\n")]);
    assert_eq!(same.finish(&declared, SchemaDrift::Fail).unwrap().arrow.field(0).data_type(), &DataType::Utf8View);
}

#[test]
fn csv_files_that_differ_meet_in_text() {
    let a = evidence("a.csv", SourceFormat::Csv, "b,a,n\n1,1,x\n");
    let b = evidence("b.csv", SourceFormat::Csv, "a,b,c\n007,2,true\n");
    let schema = merged([a, b]).finish(&[], SchemaDrift::Widen).unwrap();
    assert_eq!(names(&schema.arrow), ["b", "a", "n", "c"]);
    let types: Vec<&DataType> = schema.arrow.fields().iter().map(|f| f.data_type()).collect();
    assert_eq!(types, [&DataType::Int64, &DataType::Utf8View, &DataType::Utf8View, &DataType::Boolean]);
    assert!(!is_json(schema.arrow.field(1)));
    assert_eq!(schema.drift[0], "column `a` is int64 in a.csv and text in b.csv; it is read as text");
}

#[test]
fn columnar_files_join_exactly_or_as_text() {
    let field = |n: &str, t: DataType| Field::new(n, t, false);
    let nested = |f: Vec<Field>| DataType::Struct(Fields::from(f));
    let a = Schema::new(vec![
        field("i", DataType::Int32),
        field("s", DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))),
        field("t", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        field("n", nested(vec![field("x", DataType::Int8)])),
        field("m", DataType::Boolean),
        json_field(field("j", DataType::Utf8)),
        field("l", DataType::LargeList(Arc::new(field("element", DataType::Float32)))),
    ]);
    let b = Schema::new(vec![
        field("i", DataType::Int64),
        field("s", DataType::LargeUtf8),
        field("t", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        field("n", nested(vec![field("y", DataType::Utf8), field("x", DataType::Int16)])),
        field("m", DataType::Int8),
        json_field(field("j", DataType::Utf8View)),
        field("l", DataType::List(Arc::new(field("item", DataType::Float64)))),
    ]);
    let schema = merged([typed(&a, "a.parquet"), typed(&b, "b.parquet")]).finish(&[], SchemaDrift::Widen).unwrap();
    let field = |n: &str, t: DataType| Field::new(n, t, true);
    let expected = Schema::new(vec![
        field("i", DataType::Int64),
        field("s", DataType::Utf8View),
        field("t", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        field("n", nested(vec![field("x", DataType::Int16), field("y", DataType::Utf8View)])),
        field("m", DataType::Utf8View),
        json_field(field("j", DataType::Utf8View)),
        field("l", DataType::List(Arc::new(field("item", DataType::Float64)))),
    ]);
    assert_eq!(*schema.arrow, expected);
    let alone = typed(&a, "a.parquet").finish(&[], SchemaDrift::Fail).unwrap();
    assert_eq!(alone.drift, Vec::<String>::new());
    let apart = Schema::new(vec![field("n", DataType::Int64)]);
    let error = merged([typed(&a, "a.parquet"), typed(&apart, "c.parquet")]).finish(&[], SchemaDrift::Widen);
    assert!(error.unwrap_err().to_string().contains("column `n` is struct in a.parquet and int64 in c.parquet"));
}

#[test]
fn columnar_files_join_files_of_rows() {
    let parquet = Schema::new(vec![
        Field::new("i", DataType::Int32, true),
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("n", DataType::Struct(vec![Field::new("x", DataType::Int32, true)].into()), true),
    ]);
    let ndjson = rows("b.ndjson", "{\"i\":5,\"f\":7,\"s\":1,\"n\":{\"x\":1,\"y\":true}}\n");
    let schema = merged([typed(&parquet, "a.parquet"), ndjson]).finish(&[], SchemaDrift::Widen).unwrap();
    let n = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Boolean, true)];
    let expected = Schema::new(vec![
        Field::new("i", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8View, true),
        Field::new("n", DataType::Struct(n.into()), true),
    ]);
    assert_eq!(*schema.arrow, expected);
}

#[test]
fn an_object_with_ids_for_keys_is_refused_unless_it_is_declared_as_json() {
    for (keys, how) in [
        (65, "65 different keys, of which one object has 1 on average"),
        (1024, "1024 different keys, of which one object has 1 on average"),
        (1500, "more than 1024 different keys"),
    ] {
        let text: String =
            (0..keys).map(|i| format!("{{\"m\":{{\"id{i}\":{i}}},\"n\":{{\"l\":[{{\"id{i}\":1}}]}}}}\n")).collect();
        let error = rows("a.ndjson", &text).finish(&[], SchemaDrift::Widen).unwrap_err().to_string();
        let told = format!("column `m` has {how}; column `n.l[]` has {how}: the keys look like data; declare");
        assert!(error.starts_with(&told) && error.contains("`schema: {m: json, n: json}`"), "{error}");
        let declared = ["m", "n"].map(|name| (name.to_owned(), DeclaredType::Json));
        let schema = rows("a.ndjson", &text).finish(&declared, SchemaDrift::Widen).unwrap();
        assert!(is_json(schema.arrow.field(0)) && schema.drift.is_empty());
    }
}

#[test]
fn optional_fields_are_no_data() {
    // Half of the keys in each object, and few keys in all.
    let half: String = (0..200)
        .map(|i| {
            let fields: Vec<_> = (0..200).filter(|f| (f + i) % 2 == 0).map(|f| format!("\"f{f}\":1")).collect();
            format!("{{\"m\":{{{}}},\"n\":{{\"k{}\":1}}}}\n", fields.join(","), i % 60)
        })
        .collect();
    let schema = rows("a.ndjson", &half).finish(&[], SchemaDrift::Widen).unwrap();
    assert!(schema.arrow.fields().iter().all(|field| matches!(field.data_type(), DataType::Struct(_))));
}

#[test]
fn columns_with_ids_for_names_are_reported() {
    let text: String = (0..2000).map(|i| format!("{{\"id\":{i},\"u{i}\":1}}\n")).collect();
    let told = rows("a.ndjson", &text).columns_are_data();
    assert_eq!(told.as_deref(), Some("2001 different keys, of which one object has 2 on average"));
    let few: String = (0..1000).map(|i| format!("{{\"id\":{i},\"u{i}\":1}}\n")).collect();
    assert_eq!(rows("a.ndjson", &few).columns_are_data(), None);
}

/// One small file.
fn small_file() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "1",
        "-1",
        "18446744073709551615",
        "1.5",
        "0.12345678901234567890",
        "\"s\"",
        "null",
        "true",
        "{}",
        "{\"x\":1}",
        "{\"x\":\"s\",\"y\":[1]}",
        "[]",
        "[1]",
        "[{\"x\":1}]",
        "[\"s\"]",
        "[null]",
    ]);
    let row = prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), value), 0..3);
    prop::collection::vec(row, 0..3).prop_map(|rows| {
        let row = |r: Vec<(&str, &str)>| {
            let unique: std::collections::BTreeMap<_, _> = r.into_iter().collect();
            let fields: Vec<String> = unique.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            format!("{{{}}}\n", fields.join(","))
        };
        rows.into_iter().map(row).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_associative(files in prop::collection::vec(small_file(), 3), drift in any::<bool>()) {
        let e = |i: usize| rows(&format!("{i}.ndjson"), &files[i]);
        let drift = if drift { SchemaDrift::Fail } else { SchemaDrift::Widen };
        let left = merged([merged([e(0), e(1)]), e(2)]).finish(&[], drift);
        let right = merged([e(0), merged([e(1), e(2)])]).finish(&[], drift);
        prop_assert_eq!(left, right);
    }

    #[test]
    fn what_is_inferred_holds_every_row(files in prop::collection::vec(small_file(), 1..4)) {
        let all = merged(files.iter().enumerate().map(|(i, f)| rows(&format!("{i}.ndjson"), f)));
        let schema = all.finish(&[], SchemaDrift::Widen).unwrap().arrow;
        for text in &files {
            let fixture = fixture("x.ndjson", SourceFormat::Ndjson, SourceCompression::None, text.as_bytes());
            let request = FileRequest {
                file: fixture.file.clone(),
                schema: schema.clone(),
                units: vec![0],
                on_bad_rows: crate::job::OnBad::Fail,
                text: Arc::default(),
                within: None,
            };
            let mut reader = ndjson::open(request, BLOCK_BYTES).unwrap();
            let mut rows = 0;
            while let Some(mut chunk) = reader.next_chunk().unwrap() {
                while let Some(batch) = chunk.batches.next_batch().unwrap() {
                    rows += batch.rows.num_rows();
                }
            }
            prop_assert_eq!(rows, text.lines().count());
        }
    }
}
