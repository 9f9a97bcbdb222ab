//! Rows inside JSON documents: `source.records` and `source.keep`.

use serde_json::{Value, json};

use crate::project::{Project, column, gzip};

const DAY: &str = "window: {date: 2026-03-05}\nformat: ndjson";
const SPANS: &str = "records: \"resourceSpans[].scopeSpans[].spans[]\"";
const TIME: &str = "time: {column: t}";

fn project(source: &str, rest: &str) -> Project {
    Project::with_spec(&format!("type: events\nsource: {{{source}}}\n{DAY}\n{rest}"))
}

fn resolved(project: &Project) -> Value {
    project.complete().manifest()["spec"]["resolved"]["source"].clone()
}

/// One line of an OTLP file exporter.
fn traces(service: &str, spans: &[u32]) -> String {
    let span = |second: &u32| json!({"spanId": format!("{second:016x}"), "startTimeUnixNano": format!("17727048{second:02}000000321")});
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]});
    let scopes = json!([{"scope": {}, "spans": spans.iter().map(span).collect::<Vec<_>>()}, {"spans": []}]);
    json!({"resourceSpans": [{"scopeSpans": scopes, "resource": resource}]}).to_string()
}

#[test]
fn spans_are_rows_with_the_service_that_wrote_them() {
    let source = format!("uri: in/, {SPANS}, keep: {{service: \"resourceSpans[].resource.attributes\"}}");
    let project = project(&source, "time: {column: startTimeUnixNano, format: epoch_ns}");
    project.write("in/traces.jsonl", format!("{}\n{}\n", traces("gw", &[0, 1]), traces("db", &[2])));
    let package = project.complete();
    let rows = package.rows();
    assert_eq!(column(&rows, "startTimeUnixNano")[2], "1772704802000000321");
    let services: Vec<&Value> = rows.iter().map(|row| &row["service"][0]["value"]["stringValue"]).collect();
    assert_eq!(services, ["gw", "gw", "db"]);
    let manifest = package.manifest();
    assert_eq!(manifest["source"]["unexported_keys"], json!(["resourceSpans[].scopeSpans[].scope"]));
    assert_eq!(manifest["spec"]["resolved"]["source"]["records"], "resourceSpans[].scopeSpans[].spans");
    assert_eq!(
        manifest["spec"]["resolved"]["source"]["keep"],
        json!({"service": "resourceSpans[].resource.attributes"})
    );
}

/// Documents as CloudWatch Logs delivers them: one after the other without a line end, compressed, without an extension.
fn cloudwatch() -> Vec<u8> {
    let document = |group: &str, events: Value| {
        json!({"messageType": "DATA_MESSAGE", "logGroup": group, "logEvents": events, "logStream": format!("{group}/s")})
            .to_string()
    };
    let event = |second: u32| json!({"id": second.to_string(), "timestamp": 1_772_704_800_000_u64 + u64::from(second)});
    gzip(
        [
            document("/app/a", json!([event(0), event(1)])),
            document("/app/b", json!(null)),
            document("/app/c", json!([event(2)])),
        ]
        .concat()
        .as_bytes(),
    )
}

#[test]
fn events_keep_fields_of_their_documents_as_columns() {
    let keep = "keep: {log_stream: logStream, log_group: logGroup, none: owner.name}";
    let source = format!("uri: in/, format: json, records: logEvents, {keep}");
    let time = "time: {column: timestamp, format: epoch_ms}";
    let whole = project(&source, time);
    whole.write("in/cw-1-2026-03-05.gz", cloudwatch());
    let package = whole.complete();
    let rows = package.rows();
    let first =
        "{\"log_group\":\"/app/a\",\"log_stream\":\"/app/a/s\",\"none\":null,\"id\":\"0\",\"timestamp\":1772704800000}";
    assert_eq!(package.text("2026-03-05").lines().next(), Some(first));
    assert_eq!(column(&rows, "log_group"), ["/app/a", "/app/a", "/app/c"]);
    assert_eq!(column(&rows, "log_stream"), ["/app/a/s", "/app/a/s", "/app/c/s"]);
    assert!(rows.iter().all(|row| row["none"].is_null()));
    assert_eq!(package.manifest()["source"]["unexported_keys"], json!(["messageType"]));

    let some = project(
        &source,
        &format!(
            "{time}\nfilters: {{log_group: /app/a}}\ncolumns: [id, log_stream, log_group]\n\
             redact: {{log_stream: mask}}\nschema: {{none: text}}"
        ),
    );
    some.write("in/cw-1-2026-03-05.gz", cloudwatch());
    let rows = json!(some.complete().rows());
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    assert_eq!(rows[1]["log_group"], "/app/a");
    assert_ne!(rows[1]["log_stream"], "/app/a/s");
}

#[test]
fn a_null_is_an_empty_array_and_a_missing_array_is_an_error() {
    let project = project("uri: in/, records: records", TIME);
    let row = "{\"t\":\"2026-03-05T10:00:01Z\",\"n\":1}";
    project.write("in/a.json", "{\"records\": null, \"next\": null}");
    project.write("in/b.json", format!("{{\"records\":[{row}]}}"));
    assert_eq!(project.complete().rows().len(), 1);
    let other = self::project("uri: in/, records: records", TIME);
    other.write("in/a.json", "{\"next\": null}");
    other.run(&[]).exits(4).says(&["a.json:1: document 1 has no array at `records`; check `records`"]);
}

#[test]
fn arrays_one_after_the_other_give_the_rows_of_all() {
    let [a, b, c] = [1, 2, 3].map(|n| format!("{{\"t\":\"2026-03-05T10:00:0{n}Z\",\"n\":{n}}}"));
    for (file, text) in [
        ("in/x.json", format!("[{a}, {b}][]\n[{c}]")),
        ("in/x.jsonl", format!("[{a}, {b}]\n[{c}]\n")),
        ("in/x.jsonl", format!("[{a},\n{b},{c}]")),
    ] {
        let project = project("uri: in/, format: json", TIME);
        project.write(file, text);
        assert_eq!(column(&project.complete().rows(), "n"), ["1", "2", "3"], "{file}");
    }
    // Read line by line, each array is a bad row.
    let project = project("uri: in/", TIME);
    project.write("in/x.jsonl", format!("[{a}, {b}]\n"));
    project.run(&[]).exits(4).says(&[
        "x.jsonl:1: the line is an array, not a JSON object; set `source.format: json` if its elements are rows; fix the row, \
         or set `on_bad_rows: reject`",
    ]);
}

#[test]
fn one_path_is_read_from_documents_and_lines_alike() {
    let source = "uri: in/, records: \"groups[].events\", keep: {group: \"groups[].name\"}";
    let project = project(source, &format!("{TIME}\non_bad_rows: reject"));
    let document = |name: &str, rows: &[u32]| {
        let rows: Vec<_> = rows.iter().map(|n| json!({"t": "2026-03-05T10:00:00Z", "n": n})).collect();
        json!({"groups": [{"events": rows, "name": name}, null, {"events": null}]})
    };
    project.write("in/a.json", format!("{:#}\n{:#}", document("a", &[1, 2]), document("b", &[3])));
    let bad = "{\"groups\":[{\"name\":\"x\"}]}";
    let lines = [document("c", &[4]).to_string(), bad.to_owned(), String::new(), document("d", &[5, 6]).to_string()];
    project.write("in/b.ndjson", lines.join("\n"));
    project.run(&[]).exits(3);
    let package = project.package();
    let rows = package.rows();
    assert_eq!(column(&rows, "n"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(column(&rows, "group"), ["a", "a", "b", "c", "d", "d"]);
    assert_eq!(package.manifest()["accounting"]["rejected"], 1);
    let rejects = std::fs::read_dir(project.path("package/rejects")).unwrap().next().unwrap().unwrap().path();
    let reject: Value = serde_json::from_slice(&std::fs::read(rejects).unwrap()).unwrap();
    assert_eq!((&reject["position"], &reject["raw"]), (&json!(2), &json!(bad)));
    let why =
        "the line has no array at `groups[].events`: `events` is missing in element 1 of `groups`; check `records`";
    assert_eq!(reject["error"], why);
}

#[test]
fn a_row_with_a_field_of_the_kept_name_is_a_bad_row() {
    for (file, place) in [("in/x.json", "x.json:2"), ("in/x.ndjson", "x.ndjson:1")] {
        let project = project("uri: in/, records: events, keep: {host: host}", TIME);
        project.write(file, "{\"host\":\"a\",\"events\":[{\"t\":\"2026-03-05T10:00:00Z\"},{\"t\":\"2026-03-05T10:00:00Z\",\"host\":\"b\"}]}");
        let message = "the row has a field `host` of its own: choose another name in `source.keep`; fix the row, or set \
                       `on_bad_rows: reject`";
        project.run(&[]).exits(4).says(&[&format!("{place}: {message}")]);
    }
}

/// A path has one meaning, however it is written; a job that keeps other fields is another.
#[test]
fn the_job_is_that_of_the_meaning_of_the_paths() {
    let id = |source: &str| {
        let project = project(&format!("uri: x.json, {source}"), TIME);
        project.write("x.json", "{\"a\":{\"b\":[{\"t\":\"2026-03-05T10:00:00Z\"}]},\"c\":1,\"d\":2}");
        (project.complete().manifest()["id"].clone(), resolved(&project))
    };
    let (plain, written) = id("records: a.b");
    assert_eq!(
        (&plain, written["records"].as_str(), written.get("keep")),
        (&id("records: \"a.b[]\"").0, Some("a.b"), None)
    );
    let kept = id("records: a.b, keep: {x: c, y: d}").0;
    assert_eq!(kept, id("keep: {y: d, x: c}, records: a.b").0);
    assert!(kept != plain && kept != id("records: a.b, keep: {x: d, y: c}").0);
}

#[test]
fn other_formats_have_no_documents() {
    for (file, format) in [("in/x.csv", "CSV"), ("in/x.parquet", "Parquet"), ("in/x.arrow", "Arrow")] {
        let project = project("uri: in/, records: Records", TIME);
        project.write(file, "t\n2026-03-05T10:00:00Z\n");
        let message = format!("`records` applies only to JSON and NDJSON, but {} is read as {format}", &file[3..]);
        project.run(&[]).exits(2).says(&[
            "spec.yaml:5:29",
            &message,
            "help: remove `records`, or set `source.format` to `json` or `ndjson` if that is what the files are",
        ]);
    }
}

#[test]
fn a_wrong_path_is_told_where_it_stands() {
    let join = "join keys by dots and write `[]` behind the key of an array: `resourceSpans[].scopeSpans[].spans`";
    let within = "a path in `keep` goes into arrays as far as `records` does, which is `a[].b`";
    for (source, at, message, help) in [
        ("records: a..b", 29, "`a..b` has an empty key", join),
        ("records: \"a[0].b\"", 29, "`a[0].b` has a bracket that is not part of `[]` behind a key", join),
        (
            "records: \"[]\"",
            29,
            "`[]` names no key",
            "leave `records` out: documents that are arrays of rows need none",
        ),
        ("records: \"\"", 29, "`records` is empty", ""),
        (
            "format: csv, records: a",
            42,
            "`records` has no effect: the files are read as CSV",
            "remove it, or set `format: json` or `format: ndjson`",
        ),
        (
            "keep: {x: c}",
            20,
            "`keep` has no effect without `records`",
            "remove it, or set `records` to the path of the rows in each document",
        ),
        ("records: a, keep: {}", 32, "`keep` names no field", "remove it, or write `keep: {log_group: logGroup}`"),
        ("records: a, keep: {\"\": c}", 39, "a column in `keep` has no name", ""),
        ("records: a, keep: {x: \"\"}", 42, "`x` is empty", ""),
        ("records: a, keep: {x: c, x: d}", 45, "duplicate key `x`", "keep one of them"),
        ("records: \"a[].b\", keep: {x: a..c}", 48, "`a..c` has an empty key", join),
        ("records: \"a[].b\", keep: {x: \"c[].d\"}", 48, "`c[].d` leaves the arrays of `records`", within),
        ("records: \"a[].b\", keep: {x: \"a[].c[].d\"}", 48, "`a[].c[].d` leaves the arrays of `records`", within),
        (
            "records: \"a[].b\", keep: {x: \"a[]\"}",
            48,
            "`a[]` is every element of an array, not a field",
            "write the key of a field behind it: `a[].key`",
        ),
        (
            "records: \"a[].b\", keep: {x: \"a[].b[].c\"}",
            48,
            "`a[].b[].c` is a field of the rows, which have it anyway",
            "remove it",
        ),
        ("records: \"a[].b\", keep: {x: a}", 48, "`a` holds the rows", "write the path of a field beside them"),
        (
            "records: \"a[].b\", keep: {x: a.c}",
            48,
            "`a.c` goes through an array of `records` without `[]`",
            "write `a[]` at its beginning",
        ),
    ] {
        let project = project(&format!("uri: in/, {source}"), TIME);
        let outcome = project.call(&["validate", "spec.yaml"]).exits(2).says(&[message, help]);
        assert!(outcome.stderr.contains(&format!("spec.yaml:5:{at}\n")), "{source}: {}", outcome.stderr);
    }
}
