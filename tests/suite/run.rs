//! `run`: what a spec asks for is what the package holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::project::{Outcome, Project, Row, cell, column, daily_files, gzip};

const MARCH: &str = "window: {date_from: 2026-03-01, date_to: 2026-03-03}";

/// Twelve rows: eight on two of three days, four outside.
fn events() -> Vec<Value> {
    let times = [
        "2026-02-28T23:59:59.999999Z",
        "2026-03-01T00:00:00Z",
        "2026-03-01T09:30:00.25Z",
        "2026-03-01T23:59:59.999999Z",
        "2026-03-02T00:00:00Z",
        "2026-03-02T12:00:00Z",
        "2026-03-02T12:00:00.000001Z",
        "2026-03-02T18:00:00Z",
        "2026-03-02T23:59:59.999999Z",
        "2026-03-04T00:00:00Z",
        "2026-03-04T00:00:00.000001Z",
        "2026-04-01T00:00:00Z",
    ];
    let row = |(i, time): (usize, &&str)| {
        json!({
            "event_id": format!("ev-{i:03}"),
            "occurred_at": time,
            "status": (["allowed", "blocked", "escalated"][i % 3]),
            "team": if i % 4 == 0 { Value::Null } else { json!(["red", "blue"][i % 2]) },
            "latency_ms": i64::try_from(i).unwrap() * 100,
            "cost": 0.25 * i as f64 + 0.125,
            "cached": i % 2 == 0,
            "message": format!("a \"quoted\", line {i}\nand = another; \u{e9}\u{4e16}"),
            "tags": ["a", format!("t{i}")],
            "meta": {"user": {"email": format!("u{i}@example.com")}, "n": i},
        })
    };
    times.iter().enumerate().map(row).collect()
}

fn ndjson(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn schema() -> Arc<Schema> {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let user = Field::new("user", DataType::Struct(Fields::from(vec![text("email")])), true);
    let meta = Fields::from(vec![user, Field::new("n", DataType::Int64, true)]);
    Arc::new(Schema::new(vec![
        text("event_id"),
        Field::new("occurred_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        text("status"),
        text("team"),
        Field::new("latency_ms", DataType::Int64, true),
        Field::new("cost", DataType::Float64, true),
        Field::new("cached", DataType::Boolean, true),
        text("message"),
        Field::new_list("tags", Field::new("item", DataType::Utf8, true), true),
        Field::new("meta", DataType::Struct(meta), true),
    ]))
}

fn batch(rows: &[Value]) -> RecordBatch {
    let text = ndjson(rows);
    let mut reader = arrow::json::ReaderBuilder::new(schema()).build(text.as_bytes()).expect("a reader");
    reader.next().expect("a batch").expect("rows")
}

fn csv_text(rows: &[Value]) -> Vec<u8> {
    let names: Vec<_> = schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).expect("a header");
    for row in rows {
        writer.write_record(names.iter().map(|n| cell(row.as_object().expect("a row"), n))).expect("a record");
    }
    writer.into_inner().expect("bytes")
}

/// The rows in every format that is read.
fn sources(rows: &[Value]) -> Vec<(&'static str, Vec<u8>)> {
    let batch = batch(rows);
    let mut parquet = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
    let mut arrow = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut arrow, &batch.schema()).expect("a writer");
    writer.write(&batch).and_then(|()| writer.finish()).expect("rows");
    drop(writer);
    let array = serde_json::to_vec_pretty(rows).expect("JSON");
    vec![
        ("x.parquet", parquet),
        ("x.arrow", arrow),
        ("x.csv", csv_text(rows)),
        ("x.csv.gz", gzip(&csv_text(rows))),
        ("x.ndjson", ndjson(rows).into_bytes()),
        ("x.ndjson.zst", zstd::encode_all(ndjson(rows).as_bytes(), 1).expect("zstd")),
        ("x.json", array),
    ]
}

/// A value without what formats cannot tell apart: null from nothing, JSON from text that holds it, an instant's form.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str::<Value>(text).map_or_else(|_| text.clone(), |nested| nested.to_string())
        }
        Value::String(text) => text.parse::<Timestamp>().map_or_else(|_| text.clone(), |t| t.to_string()),
        other => other.to_string(),
    }
}

fn plain_rows<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<BTreeMap<String, String>> {
    rows.into_iter().map(|row| row.iter().map(|(k, v)| (k.clone(), plain(v))).collect()).collect()
}

#[test]
fn every_format_and_compression_gives_the_same_rows_from_every_source() {
    let events = events();
    let expected = plain_rows(events[1..9].iter().map(|v| v.as_object().expect("a row")));
    let compressions = |format| match format {
        "parquet" => ["none", "zstd", "snappy", "lz4"].as_slice(),
        _ => &["none", "zstd", "gzip"],
    };
    for (name, bytes) in sources(&events) {
        let project = Project::new();
        project.write(name, bytes);
        for format in ["csv", "ndjson", "json", "parquet"] {
            for compression in compressions(format) {
                let place = format!("{format}-{compression}");
                project.spec(&format!(
                    "type: events\nsource: {{uri: {name}}}\n{MARCH}\npartition: {{by: none}}\n\
                     format: {format}\ncompression: {compression}"
                ));
                project.run(&["--output", &place]).exits(0);
                let package = project.package_in(&format!("{place}/package"));
                assert_eq!(plain_rows(&package.rows()), expected, "{name} as {place}");
                let path = package.file("all")["path"].clone();
                let extension = match (format, *compression) {
                    ("parquet", _) | (_, "none") => String::new(),
                    (_, "gzip") => ".gz".to_owned(),
                    (_, other) => other.replace("zstd", ".zst"),
                };
                assert_eq!(path, format!("data/all/part-0000.{format}{extension}"));
            }
        }
    }
}

/// A project with the rows as NDJSON and this after `type` and `source`.
fn project(rows: &[Value], rest: &str) -> Project {
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.ndjson}}\n{rest}"));
    project.write("x.ndjson", ndjson(rows));
    project
}

/// Rows with nothing but an id and a time.
fn at(times: &[&str]) -> Vec<Value> {
    times.iter().enumerate().map(|(i, t)| json!({"event_id": format!("e{i}"), "occurred_at": t})).collect()
}

#[test]
fn the_manifest_says_what_was_exported_from_what() {
    let spec = "description: for auditors\nlabels: {control: CC7.2}\ntype: events\nsource: {uri: data/}\n\
        window: {date_from: 2026-03-01, date_to: 2026-03-03, timezone: Europe/Berlin}\n\
        filters: {statuses: [blocked, allowed]}\nwhere: latency_ms < 5000\n\
        columns: [event_id, occurred_at, {latency_ms: ms}]\nformat: ndjson\ncompression: gzip";
    let project = Project::with_spec(spec);
    project.write("data/x.ndjson", ndjson(&events()));
    let package = project.complete();
    let mut manifest = package.manifest();
    let instants = ["created_at", "started_at", "finalized_at"];
    for key in instants {
        let value = manifest[key].take();
        assert!(value.as_str().is_some_and(|t| t.parse::<Timestamp>().is_ok()), "{key}: {value}");
    }
    let text = std::fs::read(project.path("spec.yaml")).unwrap();
    assert_eq!(manifest["spec"]["sha256"], sha256(&text));
    let resolved = manifest["spec"]["resolved"].take();
    assert_eq!(resolved["labels"], Value::Null, "labels are for people");
    assert_eq!(resolved["filters"], json!({"statuses": {"in": ["blocked", "allowed"]}}));
    // The id is the digest of the resolved spec in RFC 8785's form, which for this text is sorted keys and no spaces.
    let digest =
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), resolved.to_string()));
    let id = format!("job_{}", &data_encoding::BASE32_NOPAD.encode(&digest).to_lowercase()[..26]);
    for file in manifest["files"].as_array_mut().unwrap() {
        let path = file["path"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(package.root.join(&path)).unwrap();
        assert_eq!(file["sha256"].take(), sha256(&bytes));
        assert_eq!(file["bytes"].take(), bytes.len());
        for key in ["started_at", "finalized_at"] {
            assert!(file[key].take().is_string());
        }
    }
    assert!(manifest["runs"][0]["run_id"].take().is_string());
    assert!(manifest["runs"][0]["started_at"].take().is_string());
    assert!(manifest["runs"][0]["finished_at"].take().is_string());
    assert!(manifest["source"]["files"][0]["mtime"].take().is_string());
    assert!(manifest["total_bytes"].take().is_u64());
    let file = |label: &str, start: &str, end: &str, rows: u64, min: Option<&str>, max: Option<&str>| {
        json!({
            "path": format!("data/{label}/part-0000.ndjson.gz"), "status": "complete",
            "partition": {"label": label, "start": start, "end": end},
            "rows": rows, "bytes": null, "sha256": null, "min_time": min, "max_time": max, "attempts": 1,
            "started_at": null, "finalized_at": null, "error_code": null, "error": null,
        })
    };
    let expected = json!({
        "manifest_version": 1, "id": id, "name": "test", "type": "events", "status": "complete",
        "export_format": "ndjson", "compression": "gzip", "created_at": null,
        "window_start": "2026-02-28T23:00:00Z", "window_end": "2026-03-03T23:00:00Z",
        "window_label": "2026-03-01_2026-03-03", "timezone": "Europe/Berlin",
        "started_at": null, "finalized_at": null, "expires_at": null,
        "total_rows": 6, "total_bytes": null, "partial_count": 0, "failed_count": 0, "error_code": null,
        "filters": {"statuses": {"in": ["blocked", "allowed"]}}, "where": "latency_ms < 5000",
        "columns": [
            {"name": "event_id", "type": "text", "nullable": true},
            {"name": "occurred_at", "type": "text", "nullable": true},
            {"name": "ms", "type": "int64", "nullable": true},
        ],
        "spec": {"path": "spec.yaml", "sha256": sha256(&text), "resolved": null},
        "source": {
            "kind": "files",
            "uri": format!("{}/", project.path("data").display()),
            "files": [{"path": "x.ndjson", "bytes": ndjson(&events()).len(), "mtime": null, "rows": 12}],
            "files_sha256": manifest["source"]["files_sha256"],
        },
        "accounting": {
            "source_rows": 12, "outside_window": 3, "filtered_out": 3, "null_time": 0, "rejected": 0,
            "ambiguous_time": 0, "written": 6,
        },
        "filter_counts": [{"filter": "statuses in", "rows": 3}, {"filter": "where", "rows": 0}],
        "files": [
            file("2026-03-01", "2026-02-28T23:00:00Z", "2026-03-01T23:00:00Z", 2,
                Some("2026-02-28T23:59:59.999999Z"), Some("2026-03-01T00:00:00Z")),
            file("2026-03-02", "2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z", 4,
                Some("2026-03-01T23:59:59.999999Z"), Some("2026-03-02T18:00:00Z")),
            file("2026-03-03", "2026-03-02T23:00:00Z", "2026-03-03T23:00:00Z", 0, None, None),
        ],
        "runs": [{"run_id": null, "started_at": null, "finished_at": null, "outcome": "complete"}],
        "tool": {"name": "kt-export", "version": env!("CARGO_PKG_VERSION"), "commit": manifest["tool"]["commit"]},
    });
    assert_eq!(pretty(&manifest), pretty(&expected));
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

#[test]
fn an_instant_at_the_end_of_a_partition_belongs_to_the_next() {
    let package = project(&events(), MARCH).complete();
    let rows = package.by_partition();
    let ids = |i: usize| column(&rows[i].1, "event_id");
    assert_eq!(ids(0), ["ev-001", "ev-002", "ev-003"]);
    assert_eq!(ids(1), ["ev-004", "ev-005", "ev-006", "ev-007", "ev-008"]);
    assert!(ids(2).is_empty(), "the window's end is outside");
    assert_eq!(package.file("2026-03-01")["max_time"], "2026-03-01T23:59:59.999999Z");
    assert_eq!(package.file("2026-03-02")["min_time"], "2026-03-02T00:00:00Z");
    assert_eq!(package.manifest()["accounting"]["outside_window"], 4);
}

#[test]
fn a_window_of_instants_is_half_open_to_the_nanosecond() {
    let times = [
        "2026-03-01T11:59:59.999999999Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:59:59.999999999Z",
        "2026-03-01T13:00:00Z",
    ];
    let window = "window: {start: 2026-03-01T12:00:00Z, end: \"2026-03-01T14:00:00+01:00\"}\npartition: {by: hour}";
    let package = project(&at(&times), window).complete();
    assert_eq!(column(&package.rows(), "occurred_at"), &times[1..3]);
    assert_eq!(package.file("2026-03-01T1200Z")["max_time"], "2026-03-01T12:59:59.999999999Z");
}

/// A row each half hour from two days before `day` to three days after it.
fn half_hours(day: Timestamp) -> Vec<Value> {
    let times: Vec<String> = (-96..144).map(|n| (day + (n * 30).minutes()).to_string()).collect();
    at(&times.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn days_of_23_and_25_hours_are_cut_where_their_zone_cuts_them() {
    let days = [
        ("Europe/Berlin", "2026-03-29", 46),
        ("Europe/Berlin", "2026-10-25", 50),
        ("America/New_York", "2026-03-08", 46),
        ("America/New_York", "2026-11-01", 50),
        ("Australia/Lord_Howe", "2026-04-05", 49),
        ("Australia/Lord_Howe", "2026-10-04", 47),
    ];
    for (zone, day, half_hours_of_day) in days {
        let date: jiff::civil::Date = day.parse().unwrap();
        let rows = half_hours(date.to_zoned(TimeZone::UTC).unwrap().timestamp());
        let (before, after) = (date.yesterday().unwrap(), date.tomorrow().unwrap());
        let window = format!("window: {{date_from: {before}, date_to: {after}, timezone: {zone}}}");
        let package = project(&rows, &window).complete();
        let partitions = package.by_partition();
        assert_eq!(
            partitions.iter().map(|(label, _)| label.clone()).collect::<Vec<_>>(),
            [before, date, after].map(|d| d.to_string())
        );
        assert_eq!(partitions[0].1.len(), 48, "{zone} {before}");
        assert_eq!(partitions[1].1.len(), half_hours_of_day, "{zone} {day}");
        assert_eq!(partitions[2].1.len(), 48, "{zone} {after}");
        let zone = TimeZone::get(zone).unwrap();
        for (label, rows) in partitions {
            for time in column(&rows, "occurred_at") {
                let local = time.parse::<Timestamp>().unwrap().to_zoned(zone.clone()).date();
                assert_eq!(local.to_string(), label, "{time}");
            }
        }
    }
}

#[test]
fn hours_tile_days_of_any_length() {
    let days = [
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Australia/Lord_Howe", "2026-04-05", 25),
    ];
    for (zone, day, hours) in days {
        let date: jiff::civil::Date = day.parse().unwrap();
        let rows = half_hours(date.to_zoned(TimeZone::UTC).unwrap().timestamp());
        let package =
            project(&rows, &format!("window: {{date: {day}, timezone: {zone}}}\npartition: {{by: hour}}")).complete();
        let files = package.files();
        assert_eq!(files.len(), hours, "{zone} {day}");
        let manifest = package.manifest();
        assert_eq!(files[0]["partition"]["start"], manifest["window_start"]);
        assert_eq!(files[hours - 1]["partition"]["end"], manifest["window_end"]);
        for pair in files.windows(2) {
            assert_eq!(pair[0]["partition"]["end"], pair[1]["partition"]["start"]);
        }
    }
}

#[test]
fn windows_are_named_by_their_calendar_unit_however_they_are_written() {
    let cases = [
        ("{month: 2026-03}", "2026-03", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ("{date_from: 2026-03-01, date_to: 2026-03-31}", "2026-03", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ("{quarter: 2026-Q1}", "2026-Q1", "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ("{year: 2026}", "2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("{week: 2026-W01}", "2026-W01", "2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("{date: 2028-02-29}", "2028-02-29", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("{previous: month}", "2028-05", "2028-05-01T00:00:00Z", "2028-06-01T00:00:00Z"),
        ("{last: 3d}", "2028-06-12_2028-06-14", "2028-06-12T00:00:00Z", "2028-06-15T00:00:00Z"),
        (
            "{start: 2026-03-01T00:00:00Z, end: 2026-03-01T12:30:00Z}",
            "2026-03-01T0000Z_2026-03-01T1230Z",
            "2026-03-01T00:00:00Z",
            "2026-03-01T12:30:00Z",
        ),
        ("{date: 1970-01-01}", "1970-01-01", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
    ];
    for (window, label, start, end) in cases {
        let project = project(&at(&[start, end]), &format!("window: {window}\npartition: {{by: none}}"));
        project.run(&["--now", "2028-06-15T12:00:00Z"]).exits(2); // --now twice
        let args = ["run", "spec.yaml", "--now", "2028-06-15T12:00:00Z"];
        project.call(&args).exits(0);
        let manifest = project.package().manifest();
        assert_eq!(manifest["window_label"], label, "{window}");
        assert_eq!((&manifest["window_start"], &manifest["window_end"]), (&json!(start), &json!(end)), "{window}");
        assert_eq!(manifest["accounting"]["written"], 1, "{window}");
    }
}

#[test]
fn the_year_9999_is_a_year() {
    let rows = at(&["9999-12-31T22:59:59Z", "9998-12-31T23:59:59Z", "9999-06-01T00:00:00Z"]);
    let project = project(&rows, "window: {date_from: 9999-06-01, date_to: 9999-06-30, allow_open: true}");
    let package = project.complete();
    assert_eq!(package.file("9999-06-01")["rows"], 1);
}

#[test]
fn an_empty_partition_has_a_real_file() {
    for (format, content) in [("csv", "event_id,occurred_at\n"), ("ndjson", ""), ("json", "[]\n"), ("parquet", "")] {
        let rest = format!("window: {{date: 2026-03-05}}\nformat: {format}\ncompression: none");
        let package = project(&at(&["2026-03-01T00:00:00Z"]), &rest).complete();
        let file = package.file("2026-03-05");
        let path = file["path"].as_str().unwrap();
        assert_eq!((&file["rows"], &file["min_time"], &file["max_time"]), (&json!(0), &Value::Null, &Value::Null));
        assert!(package.read(path).is_empty());
        match format {
            "parquet" => assert_eq!(&package.plain(path)[..4], b"PAR1"),
            _ => assert_eq!(package.text("2026-03-05").trim_end_matches(['\r', '\n']), content.trim_end()),
        }
    }
}

#[test]
fn max_rows_starts_a_new_part() {
    let times: Vec<String> = (0..10).map(|i| format!("2026-03-01T{i:02}:00:00Z")).collect();
    let rows = at(&times.iter().map(String::as_str).collect::<Vec<_>>());
    for format in ["csv", "ndjson", "json", "parquet"] {
        let rest = format!("window: {{date: 2026-03-01}}\npartition: {{max_rows: 4}}\nformat: {format}");
        let package = project(&rows, &rest).complete();
        let files = package.files_of("2026-03-01");
        assert_eq!(files.iter().map(|f| f["rows"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 4, 2], "{format}");
        for (i, file) in files.iter().enumerate() {
            assert!(file["path"].as_str().unwrap().starts_with(&format!("data/2026-03-01/part-{i:04}.{format}")));
        }
        assert_eq!(column(&package.rows(), "occurred_at"), times, "{format}: parts are in order");
    }
}

#[test]
fn max_bytes_starts_a_new_part_once_so_many_bytes_are_there() {
    let time = |i: u32| format!("2026-03-01T{:02}:{:02}:{:02}Z", i / 3600, i / 60 % 60, i % 60);
    let times: Vec<String> = (0..3000).map(time).collect();
    let rows = at(&times.iter().map(String::as_str).collect::<Vec<_>>());
    for format in ["csv", "ndjson", "json"] {
        let rest = format!("window: {{date: 2026-03-01}}\npartition: {{max_bytes: 20KiB}}\nformat: {format}");
        let package = project(&rows, &rest).complete();
        let files = package.files_of("2026-03-01");
        let sizes: Vec<_> = files.iter().map(|f| package.plain(f["path"].as_str().unwrap()).len()).collect();
        assert!(sizes.len() >= 3, "{format}: {sizes:?}");
        assert!(sizes[..sizes.len() - 1].iter().all(|size| *size >= 20 << 10), "{format}: {sizes:?}");
        assert!(sizes.iter().all(|size| *size < 100 << 10), "{format}: {sizes:?}");
        assert_eq!(column(&package.rows(), "occurred_at"), times);
    }
}

#[test]
fn columns_are_selected_ordered_and_renamed() {
    let rest = format!(
        "{MARCH}\ncolumns: [status, {{event_id: id}}, {{cost: price}}]\nfilters: {{latency_ms: {{gte: 300}}}}\ncompression: none"
    );
    let package = project(&events(), &rest).complete();
    assert!(package.text("2026-03-02").starts_with("status,id,price\n"), "{}", package.text("2026-03-02"));
    assert_eq!(column(&package.rows(), "id"), ["ev-003", "ev-004", "ev-005", "ev-006", "ev-007", "ev-008"]);
    let names: Vec<_> = package.manifest()["columns"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["status", "id", "price"]);
}

#[test]
fn without_columns_all_are_exported_in_source_order() {
    let text = "zeta,occurred_at,alpha,event_id\n1,2026-03-01T00:00:00Z,x,e1\n";
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.csv}}\n{MARCH}\ncompression: none"));
    project.write("x.csv", text);
    assert_eq!(project.complete().text("2026-03-01"), text);
}

/// Ids of the rows that a filter keeps, of the eight that the window holds.
fn kept(rest: &str) -> Vec<usize> {
    let package = project(&events(), &format!("{MARCH}\npartition: {{by: none}}\n{rest}")).complete();
    column(&package.rows(), "event_id").iter().map(|id| id[3..].parse().unwrap()).collect()
}

#[test]
fn filters_keep_the_rows_for_which_all_of_them_hold() {
    assert_eq!(kept("filters: {statuses: [blocked, escalated]}"), [1, 2, 4, 5, 7, 8]);
    assert_eq!(kept("filters: {status: blocked}"), [1, 4, 7]);
    assert_eq!(kept("filters: {status: {ne: blocked}}"), [2, 3, 5, 6, 8]);
    assert_eq!(kept("filters: {latency_ms: {gte: 300, lt: 600}}"), [3, 4, 5]);
    assert_eq!(kept("filters: {latency_ms: {between: [300, 600]}}"), [3, 4, 5, 6]);
    assert_eq!(kept("filters: {latency_ms: {not_in: [300, 600]}}"), [1, 2, 4, 5, 7, 8]);
    assert_eq!(kept("filters: {cost: {lte: 0.625}}"), [1, 2]);
    assert_eq!(kept("filters: {cached: true}"), [2, 4, 6, 8]);
    assert_eq!(kept("filters: {event_id: {ends_with: \"4\"}}"), [4]);
    assert_eq!(kept("filters: {message: {contains: \"line 5\"}}"), [5]);
    assert_eq!(kept("filters: {event_id: {matches: \"^ev-00[12]$\"}}"), [1, 2]);
    assert_eq!(kept("filters: {statuses: [blocked], latency_ms: {gt: 100}}"), [4, 7]);
    assert!(kept("filters: {statuses: [nothing]}").is_empty());
}

#[test]
fn only_is_null_matches_nulls() {
    // `team` is null in 0, 4, 8.
    assert_eq!(kept("filters: {team: {is_null: true}}"), [4, 8]);
    assert_eq!(kept("filters: {team: {is_null: false}}"), [1, 2, 3, 5, 6, 7]);
    assert_eq!(kept("filters: {team: red}"), [2, 6]);
    assert_eq!(kept("filters: {team: {ne: red}}"), [1, 3, 5, 7]);
    assert_eq!(kept("filters: {team: {not_in: [red]}}"), [1, 3, 5, 7]);
    assert_eq!(kept("where: \"NOT (team = 'red')\""), [1, 3, 5, 7]);
}

#[test]
fn where_is_one_sql_condition() {
    assert_eq!(kept("where: \"cost > 0.5 AND status LIKE 'bl%'\""), [4, 7]);
    assert_eq!(kept("where: \"latency_ms / 100 * 2 = 6 OR event_id IN ('ev-001', 'ev-008')\""), [1, 3, 8]);
    assert_eq!(kept("where: \"team IS NULL\""), [4, 8]);
    assert_eq!(kept("where: \"latency_ms BETWEEN 200 AND 400 AND NOT cached\""), [3]);
    assert_eq!(kept("filters: {cached: true}\nwhere: \"latency_ms > 500\""), [6, 8]);
}

#[test]
fn rows_are_in_source_order_or_in_order_of_time() {
    let rows = [
        json!({"event_id": "c", "occurred_at": "2026-03-01T10:00:00Z"}),
        json!({"event_id": "b", "occurred_at": "2026-03-01T11:00:00+01:00"}),
        json!({"event_id": "z", "occurred_at": "2026-03-01T08:00:00Z"}),
    ];
    let later = [
        json!({"event_id": "a", "occurred_at": "2026-03-01T10:00:00.000Z"}),
        json!({"event_id": "y", "occurred_at": "2026-03-01T00:00:00Z"}),
    ];
    for (order, expected) in [("source", ["c", "b", "z", "a", "y"]), ("time", ["y", "z", "a", "b", "c"])] {
        let project = Project::with_spec(&format!("type: events\nsource: {{uri: data/}}\n{MARCH}\norder: {order}"));
        project.write("data/b.ndjson", ndjson(&later));
        project.write("data/a.ndjson", ndjson(&rows));
        let package = project.complete();
        assert_eq!(column(&package.rows(), "event_id"), expected, "{order}");
        let times = column(&package.rows(), "occurred_at");
        assert!(times.contains(&"2026-03-01T11:00:00+01:00".to_owned()), "times are written as they were: {times:?}");
    }
}

#[test]
fn folders_named_key_value_become_columns() {
    let project =
        Project::with_spec(&format!("type: events\nsource: {{uri: data/}}\n{MARCH}\nfilters: {{region: eu}}"));
    for region in ["eu", "us"] {
        project.write(
            &format!("data/region={region}/x.ndjson"),
            ndjson(&at(&["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"])),
        );
    }
    let package = project.complete();
    assert_eq!(column(&package.rows(), "region"), ["eu", "eu"]);
    assert_eq!(package.manifest()["accounting"]["filtered_out"], 2);
}

#[test]
fn files_whose_name_is_outside_the_window_are_not_read() {
    let source = "{uri: data/, path_time: {pattern: \"%Y-%m-%d.ndjson\", covers: day}}";
    let project = Project::with_spec(&format!("type: events\nsource: {source}\nwindow: {{date: 2026-03-02}}"));
    project.write("data/2026-03-01.ndjson", "this is no JSON and nobody looks at it");
    project.write("data/2026-03-02.ndjson", ndjson(&at(&["2026-03-02T00:00:00Z", "2026-03-02T01:00:00Z"])));
    project.write("data/2026-03-03.ndjson", b"\xff\xfe");
    let package = project.complete();
    let manifest = package.manifest();
    assert_eq!(manifest["accounting"]["source_rows"], 2);
    let files = manifest["source"]["files"].as_array().unwrap().clone();
    let skipped: Vec<_> = files.iter().filter(|f| f["skipped"].is_string()).map(|f| f["path"].clone()).collect();
    assert_eq!(files.len(), 3);
    assert_eq!(skipped, ["2026-03-01.ndjson", "2026-03-03.ndjson"]);
}

#[test]
fn nested_values_stay_nested_where_the_format_can_and_become_json_text_in_csv() {
    for format in ["ndjson", "json", "parquet", "csv"] {
        let package =
            project(&events(), &format!("{MARCH}\nformat: {format}\nfilters: {{event_id: ev-005}}")).complete();
        let row = package.rows().remove(0);
        let (tags, meta) = (json!(["a", "t5"]), json!({"user": {"email": "u5@example.com"}, "n": 5}));
        if format == "csv" {
            let parsed = |key: &str| serde_json::from_str::<Value>(row[key].as_str().unwrap()).unwrap();
            assert_eq!((parsed("tags"), parsed("meta")), (tags, meta));
        } else {
            assert_eq!((&row["tags"], &row["meta"]), (&tags, &meta), "{format}");
        }
    }
}

#[test]
fn the_dialect_of_csv_is_what_the_spec_says() {
    let rows = [
        json!({"event_id": "=1+1", "occurred_at": "2026-03-01T00:00:00Z", "team": null, "n": -5, "note": "a;b"}),
        json!({"event_id": "@x", "occurred_at": "2026-03-01T00:00:01Z", "team": "", "n": 6, "note": "+1"}),
    ];
    let window = "window: {date: 2026-03-01}\ncompression: none";
    let plain = project(&rows, window).complete().text("2026-03-01");
    let expected = "event_id,occurred_at,team,n,note\n\
        =1+1,2026-03-01T00:00:00Z,,-5,a;b\n@x,2026-03-01T00:00:01Z,\"\",6,+1\n";
    assert_eq!(sorted_columns(&plain), sorted_columns(expected));
    let rest = format!(
        "{window}\nformat: {{csv: {{delimiter: \";\", bom: true, header: false, escape_formulas: true, null_text: \"NULL\"}}}}\ncolumns: [event_id, team, n, note]"
    );
    let package = project(&rows, &rest);
    package.run(&[]).exits(0);
    let package = package.package();
    assert_eq!(package.text("2026-03-01"), "\u{feff}'=1+1;NULL;-5;\"a;b\"\n'@x;\"\";6;'+1\n");
    assert_eq!(package.manifest()["spec"]["resolved"]["format"]["csv"]["escape_formulas"], true);
}

/// Columns by name, so that their order does not matter.
fn sorted_columns(csv_text: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(csv_text.as_bytes()).deserialize().map(|r| r.expect("a record")).collect()
}

#[test]
fn times_without_a_zone_are_read_in_the_catalogs_zone_and_written_as_they_were() {
    let text = "event_id,occurred_at\n\
        before,2026-10-25T01:59:59\nfold,2026-10-25T02:30:00\nafter,2026-10-25T03:00:00\ngap,2026-03-29T02:30:00\n";
    let project = Project::with_spec(
        "type: events\nsource: {uri: x.csv}\ntime: {column: occurred_at, timezone: Europe/Berlin}\n\
         window: {start: 2026-03-29T01:30:00Z, end: 2026-10-25T01:00:00Z}\npartition: {by: none}\ncompression: none",
    );
    project.write("x.csv", text);
    let package = project.complete();
    // The fold is the earlier 00:30Z, the gap shifts forward to 03:30 = 01:30Z, 03:00 is 02:00Z.
    assert_eq!(column(&package.rows(), "event_id"), ["before", "fold", "gap"]);
    assert_eq!(column(&package.rows(), "occurred_at")[1], "2026-10-25T02:30:00");
    assert_eq!(package.manifest()["accounting"]["ambiguous_time"], 2);
}

#[test]
fn retention_sets_when_a_package_expires() {
    let spec = "type: events\nsource: {uri: x.ndjson}\nwindow: {date: 2026-03-01}";
    let project = Project::new();
    project.write("spec.yaml", format!("version: 1\nname: test\n{spec}\noutput: {{uri: package, retention: 400d}}\n"));
    project.write("x.ndjson", ndjson(&events()));
    let manifest = project.complete().manifest();
    let instant = |key: &str| manifest[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(instant("expires_at"), instant("finalized_at") + (400 * 24).hours());
}

#[test]
fn numbers_keep_every_digit() {
    let text = "{\"event_id\":\"a\",\"occurred_at\":\"2026-03-01T00:00:00.123456789Z\",\"big\":9223372036854775807,\"small\":-9223372036854775808,\"huge\":18446744073709551616,\"price\":0.10}\n\
        {\"event_id\":\"b\",\"occurred_at\":\"2026-03-01T00:00:01Z\",\"big\":9007199254740993,\"small\":1,\"huge\":2,\"price\":12345678901234567890.10}\n";
    for format in ["csv", "ndjson", "json"] {
        let project = Project::with_spec(&format!(
            "type: events\nsource: {{uri: x.ndjson}}\n{MARCH}\nformat: {format}\ncompression: none"
        ));
        project.write("x.ndjson", text);
        let shard = project.complete().text("2026-03-01");
        for digits in [
            "123456789Z",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551616",
            "9007199254740993",
            "12345678901234567890.1",
        ] {
            assert!(shard.contains(digits), "{format} lost {digits}: {shard}");
        }
    }
}

#[test]
fn a_csv_column_is_a_number_only_if_every_value_is_written_as_one() {
    let text = "event_id,occurred_at,code,n\n1,2026-03-01T00:00:00Z,007,1\n2,2026-03-01T00:00:01Z,8,2\n";
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.csv}}\n{MARCH}\nformat: ndjson"));
    project.write("x.csv", text);
    let rows = project.complete().rows();
    assert_eq!((&rows[0]["code"], &rows[1]["code"]), (&json!("007"), &json!("8")));
    assert_eq!((&rows[0]["n"], &rows[0]["event_id"]), (&json!(1), &json!(1)));
}

#[test]
fn text_of_every_kind_passes_through_unchanged() {
    let long = "x".repeat(44 * 1024);
    let messages = [
        "",
        "a\rb",
        "line\r\nline",
        "\"",
        "\u{0}nul",
        "\u{feff}bom",
        "\u{202e}rtl",
        "\u{1b}[31m",
        "null",
        "NaN",
        " padded ",
        &long,
    ];
    let rows: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(i, m)| json!({"event_id": i.to_string(), "occurred_at": "2026-03-01T00:00:00Z", "message": m}))
        .collect();
    for format in ["csv", "ndjson", "json", "parquet"] {
        let package = project(&rows, &format!("{MARCH}\nformat: {format}")).complete();
        assert_eq!(column(&package.rows(), "message"), messages, "{format}");
    }
}

#[test]
fn records_of_json_documents_are_found_by_their_path() {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/, records: log.Records}}\n{MARCH}\nformat: ndjson"
    ));
    project.write(
        "data/x.json",
        json!({"log": {"Records": at(&["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"])}}).to_string(),
    );
    assert_eq!(project.complete().rows().len(), 2);
}

#[test]
fn an_own_type_of_a_catalog_is_exported() {
    let project = Project::with_spec(
        "type: logins\ncatalog: config/catalog.yaml\nwindow: {date: 2026-03-01}\nfilters: {who: ann}",
    );
    project.write(
        "config/catalog.yaml",
        "version: 1\ntypes:\n  logins:\n    source: {uri: ../data/*.csv}\n    time: {column: at, format: epoch_ms}\n    id: n\n    fields: {who: user}\n",
    );
    project.write("data/x.csv", "n,at,user\n1,1772323200000,ann\n2,1772323200001,bob\n3,1772409600000,ann\n");
    project.write("data/x.txt", "not meant");
    let package = project.complete();
    assert_eq!(column(&package.rows(), "at"), ["1772323200000"]);
    let accounting = package.manifest()["accounting"].clone();
    assert_eq!((&accounting["outside_window"], &accounting["filtered_out"]), (&json!(1), &json!(1)));
}

fn json_of(project: &Project, code: i32, args: &[&str]) -> Value {
    let outcome: Outcome = project.call(args).exits(code);
    let object = outcome.json();
    assert_eq!(object["version"], 1, "{args:?}: {object}");
    object
}

#[test]
fn every_command_has_one_json_object_on_stdout() {
    let project = project(&events(), MARCH);
    let plan = project.call(&["plan", "spec.yaml", "--json"]).exits(0).json();
    assert!(plan.is_object());
    assert!(!project.path("package").exists(), "a plan writes nothing");
    let valid = json_of(&project, 0, &["validate", "spec.yaml", "--json"]);
    assert_eq!(valid, json!({"version": 1, "valid": true, "files": ["spec.yaml"], "diagnostics": []}));

    let run = json_of(&project, 0, &["run", "spec.yaml", "--json", "--now", "2027-01-01T00:00:00Z"]);
    let manifest = project.package().manifest();
    let expected = json!({"version": 1, "exit_code": 0, "specs": [{
        "spec": "spec.yaml", "exit_code": 0, "job_id": manifest["id"],
        "package": format!("{}/", project.path("package").display()), "status": "complete",
        "window_label": "2026-03-01_2026-03-03", "total_rows": 8, "total_bytes": manifest["total_bytes"],
        "accounting": manifest["accounting"], "unchanged": false,
    }]});
    assert_eq!(pretty(&run), pretty(&expected));
    let again = json_of(&project, 0, &["run", "spec.yaml", "--json", "--now", "2027-01-01T00:00:00Z"]);
    assert_eq!(again["specs"][0]["unchanged"], true);

    let verified = json_of(&project, 0, &["verify", "package", "--json", "--rows"]);
    assert_eq!((&verified["verified"], &verified["packages"][0]["intact"]), (&json!(true), &json!(true)));
    json_of(&project, 0, &["explain", "source_changed", "--json"]);
    for of in ["spec", "catalog", "manifest"] {
        let schema = project.call(&["schema", of]).exits(0).json();
        assert!(schema["$schema"].is_string(), "{of}");
    }

    project.write("bad.yaml", "version: 1\nname: bad\ntyp: events\n");
    let run = json_of(&project, 2, &["run", "bad.yaml", "--json"]);
    assert_eq!((&run["exit_code"], &run["specs"][0]["exit_code"]), (&json!(2), &json!(2)));
    let diagnostic = &run["specs"][0]["diagnostics"][0];
    assert!(diagnostic["message"].is_string() && diagnostic["line"].is_u64(), "{diagnostic}");
    let invalid = json_of(&project, 2, &["validate", "bad.yaml", "--json"]);
    assert_eq!(invalid["valid"], false);
    let missing = json_of(&project, 5, &["verify", "nowhere", "--json"]);
    assert_eq!(missing["verified"], false);
}

#[test]
fn one_bad_spec_does_not_block_the_others_and_the_worst_outcome_counts() {
    let project = project(&events(), MARCH);
    project.write("bad.yaml", "version: 1\nname: bad\n");
    project.write(
        "open.yaml",
        "version: 1\nname: open\ntype: events\nsource: {uri: x.ndjson}\nwindow: {month: 2027-01}\n",
    );
    let args = ["run", "bad.yaml", "open.yaml", "spec.yaml", "--json", "--now", "2027-01-01T00:00:00Z"];
    let report = json_of(&project, 2, &args);
    let codes: Vec<_> = report["specs"].as_array().unwrap().iter().map(|s| s["exit_code"].clone()).collect();
    assert_eq!(codes, [2, 6, 0]);
    assert_eq!(project.package().manifest()["status"], "complete");
    assert_eq!(
        json_of(&project, 6, &["run", "open.yaml", "spec.yaml", "--json", "--now", "2027-01-01T00:00:00Z"])["exit_code"],
        6
    );
}

#[test]
fn what_programs_read_goes_to_stdout_and_what_people_read_to_stderr() {
    let project = project(&events(), MARCH);
    let outcome = project
        .run(&[])
        .exits(0)
        .says(&["2026-03-01_2026-03-03 complete: 8 rows in 3 shards", "12 in the source = 8 written"]);
    assert_eq!(outcome.stdout, "");
    let quiet = project.run(&["-q"]).exits(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_time_column_that_is_text_in_one_file_and_a_number_in_another_is_one_time_column() {
    let rest = "type: events\nsource: {uri: data/}\ntime: {column: occurred_at, format: epoch_s}\nformat: ndjson\n\
        columns: [occurred_at, event_id]";
    let project = Project::with_spec(&format!("{rest}\n{MARCH}"));
    project.write("data/a.ndjson", "{\"event_id\": \"a\", \"occurred_at\": 1772366400}\n");
    project.write("data/b.ndjson", "{\"event_id\": \"b\", \"occurred_at\": \"1772452800\"}\n");
    project.write("data/c.ndjson", "{\"event_id\": \"c\", \"occurred_at\": true, \"x\": 1}\n");
    let outcome = project.run(&[]).exits(4);
    assert!(outcome.stderr.contains("c.ndjson:1: `true` is not a time"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("`true` is not a time").count(), 1, "told once: {}", outcome.stderr);

    let project = Project::with_spec(&format!("{rest}\n{MARCH}\non_bad_rows: reject"));
    project.write("data/a.ndjson", "{\"event_id\": \"a\", \"occurred_at\": 1772366400}\n");
    project.write("data/b.ndjson", "{\"event_id\": \"b\", \"occurred_at\": \"1772452800\"}\n");
    let package = project.complete();
    assert_eq!(package.text("2026-03-01"), "{\"occurred_at\":1772366400,\"event_id\":\"a\"}\n");
    assert_eq!(package.text("2026-03-02"), "{\"occurred_at\":\"1772452800\",\"event_id\":\"b\"}\n");
}

#[test]
fn the_manifest_says_what_git_knows_of_the_spec() {
    let project = Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}");
    for (name, text) in daily_files(1, 1) {
        project.write(&name, text);
    }
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
        git.current_dir(project.path("")).args(identity).args(args);
        let output = git.output().expect("git starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let state = |output: &str| {
        project.run(&["--output", output]).exits(0);
        let spec = project.package_in(&format!("{output}/package")).manifest()["spec"].clone();
        (spec["git_commit"].clone(), spec["git_dirty"].clone())
    };
    assert_eq!(state("outside"), (Value::Null, Value::Null));
    git(&["init", "--quiet"]);
    assert_eq!(state("untracked"), (Value::Null, json!(true)));
    git(&["add", "spec.yaml"]);
    git(&["commit", "--quiet", "--message", "A spec"]);
    let commit = json!(git(&["rev-parse", "HEAD"]));
    assert_eq!(state("clean"), (commit.clone(), json!(false)));
    let text = std::fs::read_to_string(project.path("spec.yaml")).expect("the spec");
    project.write("spec.yaml", format!("{text}\n# not committed\n"));
    assert_eq!(state("dirty"), (commit, json!(true)));
}

#[test]
fn rows_that_another_file_left_out_are_told_however_long_they_take_to_record() {
    let spec = "type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}\non_bad_rows: reject";
    let project = Project::with_spec(spec);
    let row = |day: u32| format!("{{\"event_id\": \"e{day}\", \"occurred_at\": \"2026-03-0{day}T00:00:00Z\"}}\n");
    project.write("data/a.ndjson", row(1));
    project.write("data/b.ndjson", row(2) + &"nonsense\n".repeat(20_000));
    for _ in 0..3 {
        project.run(&[]).exits(3);
        let manifest = project.package().manifest();
        assert_eq!((&manifest["status"], &manifest["files"][0]["status"]), (&json!("partial"), &json!("partial")));
        project.call(&["verify", "package"]).exits(0);
        std::fs::remove_dir_all(project.path("package")).expect("removed");
    }
}
