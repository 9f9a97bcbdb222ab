//! Readers against files that other writers made, whole and damaged.

use std::io::{Seek, Write};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use super::*;
use crate::package::manifest::Column;
use crate::package::manifest::tests::manifest as template;

fn manifest(resolved: Value) -> Manifest {
    let column =
        |name: &str| Column { name: name.into(), type_name: "text".into(), nullable: true, redaction: Vec::new() };
    let mut manifest = template();
    manifest.columns = vec![column("id"), column("text")];
    manifest.spec.resolved = resolved.into();
    manifest
}

fn count_bytes(name: &str, contents: ContentFormat, bytes: &[u8], manifest: &Manifest) -> Result<u64, RowsError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let options = VerifyOptions::default();
    count(name, Stored::file(file, bytes.len() as u64), contents, manifest, &options, None)
}

fn rows_of(contents: ContentFormat, bytes: &[u8]) -> Result<u64, RowsError> {
    count_bytes("x", contents, bytes, &manifest(json!({})))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parquet_file(rows: i64) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, true),
    ]));
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, schema.clone(), None).unwrap();
    let ids = Int64Array::from_iter_values(0..rows);
    let texts = StringViewArray::from_iter((0..rows).map(|n| (n % 3 > 0).then(|| format!("text {n}"))));
    writer.write(&RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(texts)]).unwrap()).unwrap();
    writer.close().unwrap();
    file
}

#[test]
fn csv_rows_are_records_and_not_lines() {
    let text = b"id,text\r\n1,\"a\nb \"\"c\"\", d\"\r\n2,\r\n";
    assert_eq!(rows_of(ContentFormat::Csv, text).unwrap(), 2);
    assert_eq!(rows_of(ContentFormat::Csv, b"id,text\n").unwrap(), 0);
    assert_eq!(rows_of(ContentFormat::Csv, b"\xef\xbb\xbf\"id\",text\n1,2\n").unwrap(), 1);
    // As the csv crate counts a large one, across all buffers.
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["id", "text"]).unwrap();
    for row in 0..5000 {
        writer.write_record([row.to_string(), "\"x,\n".repeat(row % 50)]).unwrap();
    }
    writer.write_record(["huge", &"y\n".repeat(200_000)]).unwrap();
    assert_eq!(rows_of(ContentFormat::Csv, &writer.into_inner().unwrap()).unwrap(), 5001);
}

#[test]
fn csv_dialects_come_from_the_spec() {
    let spec = json!({"format": {"csv": {"delimiter": ";", "header": false}}});
    assert_eq!(count_bytes("x", ContentFormat::Csv, b"1;2,3\n4;5\n", &manifest(spec)).unwrap(), 2);
    let error = rows_of(ContentFormat::Csv, b"id,text\n1,2\n3\n").unwrap_err();
    assert_eq!(error.to_string(), "row 2 has 1 fields, not 2");
    let error = rows_of(ContentFormat::Csv, b"text,id\n1,2\n").unwrap_err();
    assert!(error.to_string().contains("has a header that differs from the columns"), "{error}");
    assert_eq!(rows_of(ContentFormat::Csv, b"").unwrap_err().to_string(), "has no header");
}

#[test]
fn a_column_named_like_a_formula_is_found_as_the_spec_has_it_written() {
    let count = |escape_formulas: bool, bytes: &[u8]| {
        let mut manifest = manifest(json!({"format": {"csv": {"escape_formulas": escape_formulas}}}));
        manifest.columns[1].name = "=text".into();
        count_bytes("x", ContentFormat::Csv, bytes, &manifest).map_err(|e| e.to_string())
    };
    assert_eq!(count(true, b"id,'=text\n1,2\n"), Ok(1));
    assert_eq!(count(false, b"id,=text\n1,2\n"), Ok(1));
    for (escape_formulas, bytes) in
        [(true, "id,=text\n"), (false, "id,'=text\n"), (true, "'id,'=text\n"), (true, "id\n")]
    {
        assert!(count(escape_formulas, bytes.as_bytes()).unwrap_err().contains("header"), "{bytes}");
    }
}

#[test]
fn a_shard_without_columns_has_no_header_and_no_bytes() {
    let mut without_columns = manifest(json!({}));
    without_columns.columns.clear();
    let count = |bytes: &[u8]| count_bytes("x", ContentFormat::Csv, bytes, &without_columns);
    assert_eq!(count(b"").unwrap(), 0);
    assert_eq!(count(b"\xef\xbb\xbf").unwrap(), 0);
    for bytes in [b"\n".as_slice(), b"\xef\xbb\xbf\n", b"\"\"\n", b"a\n"] {
        assert_eq!(count(bytes).unwrap_err().to_string(), "has text, but the manifest lists no columns");
    }
}

#[test]
fn ndjson_rows_are_lines_that_are_objects() {
    assert_eq!(rows_of(ContentFormat::Ndjson, b"{}\n{\"a\": [1, {\"b\": null}]}\n").unwrap(), 2);
    assert_eq!(rows_of(ContentFormat::Ndjson, b"").unwrap(), 0);
    for (text, row) in [
        ("{}\n\n", 2),
        ("{}\n[]\n", 2),
        ("{}\n{}", 2),
        ("{} {}\n", 1),
        ("{\"a\": }\n", 1),
        ("nul\n", 1),
        ("{\"a\": 1\n}\n", 1),
    ] {
        let error = rows_of(ContentFormat::Ndjson, text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("row {row} ")), "{text:?}: {error}");
    }
    assert!(rows_of(ContentFormat::Ndjson, b"{\"a\": \"\xff\"}\n").is_err());
}

#[test]
fn json_rows_are_the_objects_of_one_array() {
    assert_eq!(rows_of(ContentFormat::Json, b"[]\n").unwrap(), 0);
    assert_eq!(rows_of(ContentFormat::Json, b"[\n{\"a\": \"]\"},\n{}\n]\n").unwrap(), 2);
    for text in ["", "[", "[{}", "[{},]", "[1]", "{}", "[{}]x", "[{}][{}]"] {
        assert!(rows_of(ContentFormat::Json, text.as_bytes()).is_err(), "{text}");
    }
    // Deep enough to overflow the stack of a reader that recurses.
    let deep = format!("[{{\"a\":{}}}]", "[".repeat(1_000_000));
    assert!(rows_of(ContentFormat::Json, deep.as_bytes()).is_err());
    assert!(rows_of(ContentFormat::Ndjson, format!("{deep}\n").as_bytes()).is_err());
}

#[test]
fn parquet_rows_are_decoded() {
    assert_eq!(rows_of(ContentFormat::Parquet, &parquet_file(20_000)).unwrap(), 20_000);
    assert_eq!(rows_of(ContentFormat::Parquet, &parquet_file(0)).unwrap(), 0);
    let mut other = manifest(json!({}));
    other.columns.swap(0, 1);
    let error = count_bytes("x", ContentFormat::Parquet, &parquet_file(1), &other).unwrap_err();
    assert!(error.to_string().contains("columns"), "{error}");
}

#[test]
fn compression_is_undone_to_the_end() {
    let text = b"{}\n".repeat(1000);
    let manifest = manifest(json!({}));
    let zstd = zstd::encode_all(text.as_slice(), 3).unwrap();
    let two_frames = [zstd.as_slice(), zstd.as_slice()].concat();
    let two_members = [gzip(&text), gzip(&text)].concat();
    for (name, bytes) in [("x.zst", &two_frames), ("x.gz", &two_members)] {
        assert_eq!(count_bytes(name, ContentFormat::Ndjson, bytes, &manifest).unwrap(), 2000);
        // Every cut but the one between the two halves is noticed.
        for length in (1..bytes.len()).filter(|length| *length != bytes.len() / 2) {
            assert!(count_bytes(name, ContentFormat::Ndjson, &bytes[..length], &manifest).is_err(), "{name} {length}");
        }
    }
}

#[test]
fn no_damage_makes_a_reader_panic() {
    let csv = b"id,text\n1,\"a \"\"b\"\"\"\n2,c\n".to_vec();
    let files = [
        ("x.csv", ContentFormat::Csv, csv.clone()),
        ("x.csv.gz", ContentFormat::Csv, gzip(&csv)),
        ("x.csv.zst", ContentFormat::Csv, zstd::encode_all(csv.as_slice(), 3).unwrap()),
        ("x.ndjson", ContentFormat::Ndjson, b"{\"id\": 1, \"text\": \"\xc3\xa4\\u00e4\"}\n".to_vec()),
        ("x.json", ContentFormat::Json, b"[{\"id\": 1.5e3, \"text\": null}]".to_vec()),
        ("x.parquet", ContentFormat::Parquet, parquet_file(5)),
    ];
    let manifest = manifest(json!({}));
    for (name, contents, bytes) in files {
        count_bytes(name, contents, &bytes, &manifest).unwrap();
        for at in 0..bytes.len() {
            let _ = count_bytes(name, contents, &bytes[..at], &manifest);
            for bit in [0x01, 0x80] {
                let mut flipped = bytes.clone();
                flipped[at] ^= bit;
                let _ = count_bytes(name, contents, &flipped, &manifest);
            }
        }
    }
}

#[test]
fn a_row_longer_than_the_limit_is_named_and_not_held() {
    let long = "x".repeat(MAX_RECORD_BYTES);
    let told = |contents, text: &str| rows_of(contents, text.as_bytes()).unwrap_err().to_string();
    let row = |n: u32| format!("row {n} is longer than 512 MiB, the maximum for one row");
    assert_eq!(told(ContentFormat::Ndjson, &format!("{{}}\n{{\"id\":\"{long}\"}}\n")), row(2));
    assert_eq!(told(ContentFormat::Json, &format!("[{{}},{{}},{{\"id\":\"{long}\"}}]")), row(3));
    assert_eq!(told(ContentFormat::Csv, &format!("id,text\n1,2\n3,{long}\n")), row(2));
    // Whatever it is that has no end: a key, brackets, blanks.
    assert_eq!(told(ContentFormat::Json, &format!("[{{\"{long}\":1}}]")), row(1));
    assert_eq!(told(ContentFormat::Json, &format!("[{{\"id\":{}", "[".repeat(MAX_RECORD_BYTES))), row(1));
    assert_eq!(told(ContentFormat::Json, &format!("[{}", " ".repeat(MAX_RECORD_BYTES))), row(1));
    // Many rows of half the limit are none.
    let half = format!("{{\"id\":\"{}\"}}", &long[..MAX_RECORD_BYTES / 2]);
    assert_eq!(rows_of(ContentFormat::Json, format!("[{}]", [half.as_str(); 5].join(",")).as_bytes()).unwrap(), 5);
    let names = format!("{long},text\n1,2\n");
    assert_eq!(told(ContentFormat::Csv, &names), "has a header that is longer than 512 MiB, the maximum for one row");
}

#[test]
fn a_row_of_nothing_but_delimiters_is_refused_at_its_first_cell_too_many() {
    let told = |text: &str| rows_of(ContentFormat::Csv, text.as_bytes()).unwrap_err().to_string();
    assert_eq!(told(&format!("id,text\n1,2\n{}\n", ",".repeat(1 << 20))), "row 2 has more than 2 fields");
    assert_eq!(told(&",".repeat(1 << 20)), "has a header that differs from the columns in the manifest");
    let mut digester = Digester::new(&manifest(json!({})));
    let keys: String = (0..1 << 16).map(|n| format!(",\"k{n}\":0")).collect();
    let why = digester.json_row(&format!("{{\"id\":1{keys}}}")).unwrap_err().to_string();
    assert_eq!(why, "does not have the keys that the manifest lists as columns, in their order");
}

/// A dictionary whose one value all rows have: a megabyte becomes a gigabyte where a batch copies it for each.
#[test]
fn a_large_dictionary_makes_small_batches() {
    let text = "x".repeat(3 << 20);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, true),
    ]));
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, schema.clone(), None).unwrap();
    let texts = StringViewArray::from_iter_values((0..700).map(|_| &text));
    let ids = Int64Array::from_iter_values(0..700);
    writer.write(&RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(texts)]).unwrap()).unwrap();
    writer.close().unwrap();
    let mut stored = tempfile::tempfile().unwrap();
    stored.write_all(&file).unwrap();
    let stored = Stored::file(stored, file.len() as u64);
    let pages =
        Pages::new(PlainFile::open(stored, "x.parquet", &VerifyOptions::default().keys.identities).unwrap()).unwrap();
    let metadata = ArrowReaderMetadata::load(&pages, ArrowReaderOptions::new()).unwrap();
    assert_eq!(pages.batch_rows(metadata.metadata()).unwrap(), 85);
    assert_eq!(rows_of(ContentFormat::Parquet, &file).unwrap(), 700);
    assert_eq!(rows_of(ContentFormat::Parquet, &parquet_file(3000)).unwrap(), 3000);
}
