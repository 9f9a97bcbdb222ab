//! `inspect` and `init --from`: what they propose exports what the files hold.

use serde_json::{Value, json};

use crate::project::{NOW, Outcome, Project, column, gzip, parquet_of};
use crate::s3_server::S3Server;
use crate::stores::call;

/// Where the proposed catalog is written.
const SPEC: &str =
    "type: shape\nwindow: {date_from: 2020-01-01, date_to: 2026-12-31}\npartition: {by: none}\nformat: ndjson";

/// A project with these files below `in/`.
fn project(files: &[(&str, &[u8])]) -> Project {
    let project = Project::with_spec(SPEC);
    for (name, bytes) in files {
        project.write(&format!("in/{name}"), bytes);
    }
    project
}

fn inspect(project: &Project, args: &[&str]) -> Outcome {
    project.call(&[&["inspect", "in/", "--type", "shape"], args].concat())
}

/// The proposed catalog, which is put beside the spec.
#[track_caller]
fn proposed(project: &Project) -> String {
    let outcome = inspect(project, &[]).exits(0);
    project.write("catalog.yaml", &outcome.stdout);
    project.call(&["validate", "catalog.yaml", "spec.yaml"]).exits(0);
    outcome.stdout
}

/// The rows that a run with the proposed catalog exports.
#[track_caller]
fn exported(files: &[(&str, &[u8])], lines: &[&str]) -> Vec<Value> {
    let project = project(files);
    let catalog = proposed(&project);
    for line in lines {
        assert!(catalog.lines().any(|found| found.trim() == *line), "no `{line}` in:\n{catalog}");
    }
    project.complete().rows().into_iter().map(Value::Object).collect()
}

/// The text of each row's column.
fn texts(rows: &[Value], name: &str) -> Vec<String> {
    let rows: Vec<_> = rows.iter().map(|row| row.as_object().unwrap().clone()).collect();
    column(&rows, name)
}

#[test]
fn rows_of_json_are_exported_by_the_time_that_their_name_tells() {
    let rows = "{\"eventTime\": \"2026-03-05T10:00:01Z\", \"user\": {\"type\": \"Root\", \"since\": \"2020-01-01\"}}\n\
                {\"eventTime\": \"2026-03-05T10:00:02Z\", \"user\": null}\n";
    let found = exported(
        &[("a.ndjson", rows.as_bytes())],
        &[
            "# Format: NDJSON, by the extension.",
            "# Time: sure, from 2026-03-05T10:00:01Z to 2026-03-05T10:00:02Z in what was read.",
            "# Other candidate: `user.since` (auto) from 2020-01-01T00:00:00Z to 2020-01-01T00:00:00Z, null in 1 of 2 rows.",
            "column: eventTime",
        ],
    );
    let expected: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_time_inside_objects_is_a_path() {
    let rows = "{\"t\": {\"$date\": \"2026-03-05T10:00:00.123+00:00\"}, \"id\": 0}\n{\"t\": {\"$date\": \
                \"2026-03-06T10:00:00.123Z\"}, \"id\": 1}\n";
    let lines = ["# Format: NDJSON, by the content.", "column: \"t.$date\"", "id: id"];
    assert_eq!(exported(&[("mongod.log", rows.as_bytes())], &lines).len(), 2);
}

#[test]
fn parquet_and_arrow_need_no_more_than_their_times() {
    let parquet = parquet_of("{\"event_id\":\"a\",\"occurred_at\":\"2026-03-05T10:00:00Z\"}\n");
    let rows = exported(&[("a.parquet", &parquet)], &["# Format: Parquet, by the extension.", "column: occurred_at"]);
    assert_eq!(texts(&rows, "event_id"), ["a"]);
}

#[test]
fn each_array_of_a_file_and_each_line_that_is_an_array_is_read() {
    let text = "[{\"ts\": \"2026-03-05T10:00:01Z\", \"n\": 1}][]\n[{\"ts\": \"2026-03-05T10:00:03Z\", \"n\": 3}]";
    assert_eq!(texts(&exported(&[("a.json", text.as_bytes())], &["column: ts"]), "n"), ["1", "3"]);
    assert_eq!(texts(&exported(&[("a.jsonl", text.as_bytes())], &["format: json"]), "n"), ["1", "3"]);
}

#[test]
fn rows_inside_documents_keep_what_is_around_them() {
    let documents = "{\"logGroup\":\"/a\",\"logEvents\":[{\"id\":\"1\",\"timestamp\":1772704800000}]}{\"logGroup\":\"/b\",\
                     \"logEvents\":[{\"id\":\"2\",\"timestamp\":1772704801000}]}";
    let rows = exported(
        &[("cw-1-2026-03-05.gz", &gzip(documents.as_bytes()))],
        &["records: logEvents", "logGroup: logGroup", "format: epoch_ms", "id: id"],
    );
    assert_eq!(texts(&rows, "logGroup"), ["/a", "/b"]);
    let span = |n: u32| json!({"spanId": n, "startTimeUnixNano": format!("177236640{n}000000321"), "endTimeUnixNano": format!("177236640{n}000000326")});
    let spans = json!({"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": "gw"}]}, "scopeSpans": [
        {"scope": {}, "spans": [span(1), span(2)]}]}]});
    let rows = exported(
        &[("traces.jsonl", format!("{spans}\n").as_bytes())],
        &[
            "records: \"resourceSpans[].scopeSpans[].spans\"",
            "resource: \"resourceSpans[].resource\"",
            "# Time: likely, from 2026-03-01T12:00:01.000000321Z to 2026-03-01T12:00:02.000000321Z in what was read.",
            "column: startTimeUnixNano",
            "format: epoch_ns",
        ],
    );
    assert_eq!(rows[1]["resource"]["attributes"][0]["value"], "gw");
    assert_eq!(texts(&rows, "spanId"), ["1", "2"]);
    let null = exported(
        &[("a.json", b"{\"records\": null}"), ("b.json", b"{\"records\": [{\"ts\": \"2026-03-05T10:00:01Z\"}]}")],
        &["records: records"],
    );
    assert_eq!(null.len(), 1);
}

#[test]
fn documents_that_differ_are_told_with_the_first_that_does_not_fit() {
    let project =
        project(&[("a.json", b"{\"next\": null}"), ("b.json", b"{\"records\": [{\"ts\": \"2026-03-05T10:00:01Z\"}]}")]);
    inspect(&project, &[]).exits(4).says(&[
        "error: in/: cannot tell how to read the files: a.json:1: document 1 has no array at `records`; check `records`; if \
         files differ, inspect each kind alone (name a file or a glob), or write the entry by hand (docs/spec.md)",
    ]);
}

#[test]
fn rows_whose_keys_are_ids_are_told() {
    let text = b"{\"a\": {\"ts\": \"2026-03-05T10:00:01Z\"}, \"b\": {\"ts\": \"2026-03-05T10:00:02Z\"}}\n";
    let lines =
        ["# Guess: the objects `a`, `b` have the same fields, so they may be rows whose keys are ids: such a file is \
                  read as one row; to get its rows, convert it to one object a line."];
    assert_eq!(exported(&[("a.json", text)], &lines).len(), 1);
}

#[test]
fn keys_that_are_data_are_declared_as_json() {
    let row = |n: u32| {
        let labels: serde_json::Map<String, Value> = (0..3).map(|k| (format!("tenant{n}-{k}"), json!(k))).collect();
        json!({"ts": "2026-03-05T10:00:00Z", "labels": labels}).to_string() + "\n"
    };
    let text: String = (0..100).map(row).collect();
    let lines = ["labels: json", "# Guess: the keys in labels look like data, so each value is kept as JSON."];
    assert_eq!(exported(&[("a.ndjson", text.as_bytes())], &lines).len(), 100);
    let wide: String = (0..1500).map(|n| format!("{{\"ts\":\"2026-03-05T10:00:00Z\",\"u{n}\":1}}\n")).collect();
    inspect(&project(&[("a.ndjson", wide.as_bytes())]), &[]).exits(4).says(&[
        "the keys look like data, and every row would be written with all of them; select what is to be exported with \
         `columns: [the time column, …]`",
    ]);
}

#[test]
fn dialects_of_csv_are_found() {
    let utf16: Vec<u8> = "ts;n\n2026-03-05T10:00:00Z;ä\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, text, lines, n) in [
        (
            "a.csv",
            b"ts,n\n2026-03-05T10:00:00Z,1\n2026-03-06T10:00:00Z,\"2\"".as_slice(),
            vec!["last_line: any"],
            vec!["1", "2"],
        ),
        ("a.csv", b"\xef\xbb\xbfts;n\n2026-03-05T10:00:00Z;3,50\n", vec!["delimiter: \";\""], vec!["3,50"]),
        ("a.csv", b"sep=|\nts|n\n2026-03-05T10:00:00Z|1\n", vec!["skip_lines: 1", "delimiter: \"|\""], vec!["1"]),
        ("a.csv", b",ts,n\n0,2026-03-05T10:00:00Z,1\n", vec!["headers: number"], vec!["1"]),
        ("a.csv", b"ts,n,n\n2026-03-05T10:00:00Z,1,2\n", vec!["headers: number"], vec!["1"]),
        ("a.csv", b"# made by x\nts,n\n2026-03-05T10:00:00Z,1\n", vec!["comment: \"#\""], vec!["1"]),
        ("a.csv", b"#ts,n\n2026-03-05T10:00:00Z,1\n", vec!["header: {line_prefix: \"#\"}"], vec!["1"]),
        (
            "a.csv",
            b"Report of March\nts,n\n2026-03-05T10:00:00Z,1\n2026-03-05T10:00:00Z,2\n",
            vec!["skip_lines: 1"],
            vec!["1", "2"],
        ),
        ("a.csv", b"ts,n\n2026-03-05T10:00:00Z,-\n2026-03-05T10:00:00Z,2\n", vec!["null_text: [\"-\"]"], vec!["", "2"]),
        (
            "a.csv",
            b"ts,n\n2026-03-05T10:00:00Z,\\N\n2026-03-05T10:00:00Z,x\n",
            vec!["null_text: [\"\\\\N\"]"],
            vec!["", "x"],
        ),
        ("a.csv", b"ts,n\n2026-03-05T10:00:00Z,\"a\\\"b\"\n", vec!["escape: \"\\\\\""], vec!["a\"b"]),
        ("a.csv", b"ts,n,m\n2026-03-05T10:00:00Z,1\n", vec!["short_rows: null"], vec!["1"]),
        ("a.csv", b"ts,n\n2026-03-05T10:00:00Z,gr\xfc\xdfe\n", vec!["encoding: windows-1252"], vec!["grüße"]),
        ("a.csv", &utf16, vec!["encoding: utf-16le", "delimiter: \";\""], vec!["ä"]),
        ("a.txt", b"ts\tn\n2026-03-05T10:00:00Z\t1\n", vec!["format: csv", "delimiter: \"\\t\""], vec!["1"]),
        ("a.csv", b"'ts','n'\n'2026-03-05T10:00:00Z','a,b'\n", vec!["quote: \"'\""], vec!["a,b"]),
        ("a.tsv", b"ts\tn\n2026-03-05T10:00:00Z\t1\n", vec!["uri: in/"], vec!["1"]),
    ] {
        let rows = exported(&[(name, text)], &lines);
        assert_eq!(texts(&rows, "n"), n, "{lines:?}");
    }
    let rows =
        exported(&[("a.csv", b"2026-03-05T10:00:00Z,1\n2026-03-05T10:00:01Z,2\n")], &["header: false", "column: c1"]);
    assert_eq!(texts(&rows, "c2"), ["1", "2"]);
}

#[test]
fn logs_with_a_line_of_names_are_tables() {
    let w3c = "#Version: 1.0\n#Fields: date time sc-bytes cs(User-Agent)\n2026-03-05\t01:58:45\t563\tcurl\n2026-03-06\t00:00:00\t7\t-\n";
    let rows = exported(
        &[("E123.2026-03-05-01.a1b2.gz", &gzip(w3c.as_bytes()))],
        &[
            "format: csv",
            "header: {line_prefix: \"#Fields:\"}",
            "columns: [date, time]",
            "# Guess: its values have no zone and are read as UTC; set `timezone` if they are local.",
            "timezone: UTC",
        ],
    );
    assert_eq!(texts(&rows, "cs(User-Agent)"), ["curl", ""]);
    let zeek = "#separator \\x09\n#fields\tts\tuid\tproto\n#types\ttime\tstring\tenum\n1772366400.123456\tCx\ttcp\n1772366401.5\tCy\t-\n";
    let rows = exported(
        &[("conn.log", zeek.as_bytes())],
        &["header: {line_prefix: \"#fields\"}", "format: epoch_s", "id: uid"],
    );
    assert_eq!(texts(&rows, "ts"), ["1772366400.123456", "1772366401.5"]);
}

#[test]
fn times_of_common_formats_are_found() {
    for (value, lines) in [
        ("1772366400.123", vec!["format: epoch_s"]),
        ("1772366400123", vec!["format: epoch_ms"]),
        ("20210217135741.945", vec!["format: \"%Y%m%d%H%M%S%.f\"", "timezone: UTC"]),
        ("05/Mar/2026:10:00:00 +0100", vec!["format: \"%d/%b/%Y:%H:%M:%S %z\""]),
        ("2026/03/05 10:00:00,123", vec!["format: \"%Y/%m/%d %H:%M:%S,%f\""]),
        (
            "05/03/2026 10:00:00",
            vec![
                "# Time: unsure, from 2026-03-05T10:00:00Z to 2026-03-05T10:00:00Z in what was read.",
                "# Guess: these formats fit as well: `%m/%d/%Y %H:%M:%S`.",
            ],
        ),
        ("2026-03-05", vec!["format: auto"]),
    ] {
        let text = format!("ts;n\n{value};1\n");
        assert_eq!(texts(&exported(&[("a.csv", text.as_bytes())], &lines), "ts"), [value]);
    }
}

#[test]
fn known_logs_are_lines_with_a_pattern() {
    let combined = "127.0.0.1 - frank [05/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 23 \"-\" \"curl/8\"\n";
    let rows = exported(
        &[("access.log", combined.as_bytes())],
        &["format: lines", "# Guess: every line that was read looks like the combined format of web servers."],
    );
    assert_eq!((&rows[0]["user"], &rows[0]["ident"], &rows[0]["status"]), (&json!("frank"), &json!(null), &json!(200)));
    let syslog = "<34>1 2026-03-05T10:00:00.003Z host su - ID47 - 'su root' failed\n";
    let rows = exported(
        &[("syslog", syslog.as_bytes())],
        &["# Guess: every line that was read looks like syslog of RFC 5424."],
    );
    assert_eq!(rows[0]["message"], "'su root' failed");
}

#[test]
fn what_cannot_be_told_is_said_with_what_is_missing() {
    let prose = project(&[("notes.log", b"hello world\nand so on, and on\n")]);
    inspect(&prose, &[]).exits(4).says(&[
        "error: in/: cannot tell what notes.log holds: it begins with `hello world`, which is not Parquet, Arrow, Avro, JSON, a table \
         with a time, or a known log; write `format: lines` with a pattern, or `format: csv` \
         with its dialect (docs/spec.md)",
    ]);
    let mixed = project(&[("a.log", b"{\"ts\": 1}\n"), ("b.log", b"hello\n")]);
    inspect(&mixed, &[]).exits(4).says(&[
        "error: in/: the files are of several kinds: some are NDJSON, and b.log begins with `hello`; inspect each kind alone: \
         name a file or a glob",
    ]);
    let columnar = project(&[
        ("a.x", &parquet_of("{\"event_id\":\"a\",\"occurred_at\":\"2026-03-05T10:00:00Z\"}\n")),
        ("b.x", b"{}\n"),
    ]);
    inspect(&columnar, &[]).exits(4).says(&[
        "the files are of several kinds, Parquet and NDJSON, and their names do not tell which; inspect each kind alone: name a \
         file or a glob",
    ]);
    let cells = project(&[("a.csv", b"ts, n, m\n2026-03-05T10:00:00Z, 1, \"a, b\"\n")]);
    inspect(&cells, &[])
        .exits(4)
        .says(&["cannot tell how to read the files: a.csv:2: expected 3 cells, as in the header, found 4"]);
    let empty = project(&[("a.csv", b"")]);
    inspect(&empty, &[]).exits(4).says(&[
        "error: in/: in/ holds no file with rows: every file is empty or skipped; name a folder that has some",
    ]);
    let nothing = Project::new();
    nothing
        .call(&["inspect", "in/"])
        .exits(2)
        .says(&["error: in/: source matches no file: ", "(no such file or folder)"]);
    nothing.call(&["inspect", "ftp://h/x"]).exits(2).says(&["error: ftp://h/x: "]);
    nothing
        .call(&["inspect", "in/", "--type", "A b"])
        .exits(2)
        .says(&["write lower-case letters, digits, `-` and `_`, and start with a letter"]);
    let table = project(&[
        ("_delta_log/0.json", b"{}"),
        ("a.parquet", &parquet_of("{\"event_id\":\"a\",\"occurred_at\":\"2026-03-05T10:00:00Z\"}\n")),
    ]);
    inspect(&table, &[]).exits(2).says(&["is a Delta table", "export a snapshot of the table to files and name those"]);
}

#[test]
fn a_known_log_that_is_cut_is_told() {
    let line = "127.0.0.1 - - [05/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 23";
    inspect(&project(&[("access.log", line.as_bytes())]), &[]).exits(4).says(&[
        "error: in/: the lines look like the common format of web servers, but not all can be read: access.log:1: ",
        "; repair the file or leave it out with a glob",
    ]);
}

#[test]
fn fields_that_no_path_can_name_are_told() {
    let text = b"{\"a.b\": 1, \"records\": [{\"ts\": \"2026-03-05T10:00:00Z\"}]}";
    let note = "# Guess: the fields around the rows (a.b) are not exported, because `keep` cannot name or hold them.";
    assert_eq!(exported(&[("a.json", text)], &["records: records", note]).len(), 1);
}

#[test]
fn files_in_a_store_are_described_as_those_on_disk() {
    let server = S3Server::start();
    server.put("lake/logs/a.csv", b"ts;n\n2026-03-05T10:00:00Z;1\n2026-03-05T10:00:00Z;2");
    let project = Project::with_spec(SPEC);
    let outcome = call(&project, &server, &["inspect", "s3://bucket/lake/logs/", "--type", "shape"]).exits(0);
    for line in
        ["    source:\n      uri: \"s3://bucket/lake/logs/\"\n", "delimiter: \";\"", "last_line: any", "column: ts"]
    {
        assert!(outcome.stdout.contains(line), "no `{line}` in:\n{}", outcome.stdout);
    }
    project.write("catalog.yaml", &outcome.stdout);
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
    assert_eq!(column(&project.package().rows(), "n"), ["1", "2"]);
    call(&project, &server, &["inspect", "s3://bucket/none/"])
        .exits(2)
        .says(&["source matches no file: s3://bucket/none/"]);
    project
        .call(&["inspect", "https://u:secret@127.0.0.1/x"])
        .exits(2)
        .says(&["URIs must not contain credentials: remove the part before the @"]);
}

#[test]
fn without_a_time_the_catalog_says_what_is_to_be_filled_in() {
    let project = project(&[("a.csv", b"a,b\n1,x\n2,y\n")]);
    let outcome = inspect(&project, &[]).exits(0).says(&[
        "to do: no time column was found: fill in `time: {column: …, format: …}`, without which a run is refused",
    ]);
    project.write("catalog.yaml", &outcome.stdout);
    assert!(outcome.stdout.contains("    # time: {column: …, format: …}\n"), "{}", outcome.stdout);
    project.run(&[]).exits(2).says(&["the type `shape` has no time column"]);
}

#[test]
fn rows_without_a_time_are_told() {
    let project = project(&[("a.csv", b"ts,b\n2026-03-05T10:00:00Z,x\n,y\n")]);
    inspect(&project, &[]).exits(0).says(&[
        "to do: 1 of 2 rows read have no `ts`: a run fails for them, unless its spec says `on_null_time: reject`; if files of \
         several kinds are mixed, inspect each kind alone",
    ]);
}

#[test]
fn skipped_files_are_warned_about_apart_from_the_catalog() {
    let project = project(&[("a.csv", b"ts\n2026-03-05T10:00:00Z\n"), ("notes.md", b"x")]);
    let outcome = inspect(&project, &[]).exits(0).says(&["warning: 1 file was not read (notes.md): unknown extension"]);
    assert!(!outcome.stdout.contains("notes.md"));
}

#[test]
fn the_json_has_what_the_catalog_has() {
    let project =
        project(&[("a.csv", b"ts,id,n\n2026-03-05T10:00:00Z,a,\n2026-03-05T11:00:00Z,b,2\n"), ("_SUCCESS", b"")]);
    let catalog = inspect(&project, &[]).exits(0).stdout;
    let found = inspect(&project, &["--json"]).exits(0).json();
    assert_eq!(
        found,
        json!({
            "version": 1,
            "type": "shape",
            "catalog": catalog,
            "files": {"listed": 1, "bytes": 57, "read": 1, "to_their_ends": true, "skipped": [
                {"path": "_SUCCESS", "skip_code": "hidden", "skipped": "a name that begins with `.` or `_` is not read"},
            ]},
            "rows_read": 2,
            "notes": ["CSV, by the extension"],
            "to_do": [],
            "time": {
                "certainty": "sure",
                "columns": ["ts"],
                "formats": ["auto"],
                "min": "2026-03-05T10:00:00Z",
                "max": "2026-03-05T11:00:00Z",
                "nulls": 0,
            },
            "other_times": [],
            "id": "id",
            "columns": [
                {"name": "ts", "type": "text", "nulls": 0},
                {"name": "id", "type": "text", "nulls": 0},
                {"name": "n", "type": "int64", "nulls": 1},
            ],
            "sample": [
                {"ts": "2026-03-05T10:00:00Z", "id": "a", "n": null},
                {"ts": "2026-03-05T11:00:00Z", "id": "b", "n": "2"},
            ],
        })
    );
    let error = project.call(&["inspect", "none/", "--json"]).exits(2).json();
    assert_eq!(error["version"], 1);
    assert!(error["error"].as_str().unwrap().contains("source matches no file"), "{error}");
}

#[test]
fn a_few_files_of_many_are_read() {
    let names: Vec<String> = (1..=20).map(|day| format!("2026-03-{day:02}.csv")).collect();
    let texts: Vec<String> = (1..=20).map(|day| format!("ts\n2026-03-{day:02}T10:00:00Z\n")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let rows = exported(
        &files,
        &[
            "# 20 files (480 B), of which 8 were looked into: 8 rows read.",
            "# Time: sure, from 2026-03-01T10:00:00Z to 2026-03-20T10:00:00Z in what was read.",
        ],
    );
    assert_eq!(rows.len(), 20);
}

#[test]
fn init_from_files_writes_a_catalog_and_a_spec_that_exports_them() {
    let project = Project::new();
    project.write("logs/a.csv", "ts;level\n2026-03-05T10:00:00Z;info\n2026-02-28T10:00:00Z;warn\n");
    let written = ["catalog.yaml", "specs/monthly-logs.yaml", ".github/workflows/export.yml"];
    let outcome = project.call(&["init", "repo", "--from", "logs/", "--json"]).exits(0).json();
    assert_eq!(outcome, json!({"version": 1, "written": written, "kept": []}));
    let catalog = std::fs::read_to_string(project.path("repo/catalog.yaml")).unwrap();
    assert!(catalog.contains("uri: ../logs/\n"), "{catalog}");
    let spec = std::fs::read_to_string(project.path("repo/specs/monthly-logs.yaml")).unwrap();
    assert!(spec.contains("type: logs\n") && spec.contains("\n  month: 2026-03 "), "{spec}");
    project.call(&["validate", "repo/catalog.yaml", "repo/specs"]).exits(0).says(&["2 files valid"]);
    project
        .call(&["run", "repo/specs", "--now", "2026-05-01T00:00:00Z"])
        .exits(0)
        .says(&["complete: 1 row in 31 shards", "1 written + 0 filtered out + 1 outside the window"]);
    project
        .call(&["init", "repo", "--from", "logs/"])
        .exits(2)
        .says(&["error: repo/catalog.yaml already exists; add the entry that `kt-export inspect logs/` prints to it"]);
    project
        .call(&["init", "other", "--from", "logs/a.csv", "--type", "app_log"])
        .exits(0)
        .says(&["wrote specs/monthly-app-log.yaml", "Next: check in catalog.yaml what is marked as a guess, then"]);
    project.call(&["init", "--type", "x"]).exits(2).says(&["--from"]);
}
