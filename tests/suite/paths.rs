//! Paths: values inside structs, maps and JSON text as time, filters, columns and redacted values.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, MapBuilder, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::project::Project;
use crate::s3_server::S3Server;
use crate::stores::call;

fn spec(source: &str, rest: &str) -> String {
    format!("type: events\nsource: {{uri: {source}}}\nwindow: {{date: 2026-03-05}}\nformat: ndjson\n{rest}")
}

const CLOUDTRAIL: &str = r#"{"eventTime": "2026-03-05T10:00:01Z", "userIdentity": {"type": "Root", "arn": "arn:1", "n": 1}}
{"eventTime": "2026-03-05T10:00:02Z", "userIdentity": {"type": "IAMUser", "arn": "arn:2", "n": 20}}
{"eventTime": "2026-03-05T10:00:03Z", "userIdentity": null}
"#;

#[test]
fn a_nested_time_routes_rows_and_stays_where_it_was() {
    let project = Project::with_spec(&spec("in", "time: {column: t.$date}\npartition: {by: hour}"));
    let early = r#"{"t": {"$date": "2026-03-05T10:59:59.999+0000"}, "id": 1}"#;
    let late = r#"{"t": {"$date": "2026-03-05T11:00:00.000Z"}, "id": 2}"#;
    let outside = r#"{"t": {"$date": "2026-03-06T00:00:00Z"}, "id": 3}"#;
    project.write("in/a.ndjson", format!("{late}\n{outside}\n{early}\n"));
    let package = project.complete();
    let counts: Vec<_> = package.statuses().into_iter().filter(|(_, _, rows)| *rows > 0).collect();
    assert_eq!(
        counts,
        [
            ("2026-03-05T1000Z".to_owned(), "complete".to_owned(), 1),
            ("2026-03-05T1100Z".to_owned(), "complete".to_owned(), 1)
        ]
    );
    assert_eq!(
        json!(package.rows()),
        json!([{"t": {"$date": "2026-03-05T10:59:59.999+0000"}, "id": 1}, {"t": {"$date": "2026-03-05T11:00:00.000Z"}, "id": 2}])
    );
}

#[test]
fn filters_where_and_columns_take_paths() {
    let project = Project::with_spec(&spec(
        "x.ndjson",
        "time: {column: eventTime}\nfilters: {userIdentity.type: Root}\nwhere: userIdentity.n < 10\n\
         columns: [userIdentity.arn, {userIdentity.type: kind}]",
    ));
    project.write("x.ndjson", CLOUDTRAIL);
    let package = project.complete();
    assert_eq!(json!(package.rows()), json!([{"arn": "arn:1", "kind": "Root"}]));
    assert_eq!(
        package.manifest()["spec"]["resolved"]["columns"],
        json!([{"userIdentity.arn": null}, {"userIdentity.type": "kind"}])
    );
    assert_eq!(package.manifest()["accounting"]["filtered_out"], json!(2));
}

#[test]
fn a_column_of_that_name_counts_before_a_path() {
    let project =
        Project::with_spec(&spec("x.ndjson", "time: {column: t.at}\ncolumns: [t.at, a.b.c]\norder: time\nid: a.b"));
    let rows = [
        r#"{"t.at": "2026-03-05T10:00:00Z", "t": {"at": "2020-01-01T00:00:00Z"}, "a": {"b.c": 2}, "a.b": "x"}"#,
        r#"{"t": {"at": "2026-03-05T10:00:00Z"}, "a.b": "y"}"#,
    ];
    project.write("x.ndjson", rows[0]);
    let package = project.complete();
    assert_eq!(json!(package.rows()), json!([{"t.at": "2026-03-05T10:00:00Z", "b.c": 2}]));
    // A row without the column has no time, although the path would lead to one.
    project.write("x.ndjson", rows.join("\n"));
    project
        .call(&["run", "spec.yaml", "--output", "other", "--now", crate::project::NOW])
        .exits(4)
        .says(&["x.ndjson:2"]);
}

#[test]
fn json_text_is_entered_and_its_values_are_text_or_of_the_declared_type() {
    let settings = "time: {column: t}\nschema: {attrs: json, attrs.n: int64}\nfilters: {attrs.n: {gte: 5}, attrs.http.method: GET}\n\
                    columns: [attrs.n, attrs.http.method, {attrs.http: http}]";
    let project = Project::with_spec(&spec("x.csv", settings));
    project.write(
        "x.csv",
        "t,attrs\n2026-03-05T10:00:00Z,\"{\"\"n\"\": 5, \"\"http\"\": {\"\"method\"\": \"\"GET\"\"}}\"\n\
         2026-03-05T10:00:00Z,\"{\"\"n\"\": 4, \"\"http\"\": {\"\"method\"\": \"\"GET\"\"}}\"\n2026-03-05T10:00:00Z,\n",
    );
    let package = project.complete();
    assert_eq!(json!(package.rows()), json!([{"n": 5, "method": "GET", "http": "{\"method\": \"GET\"}"}]));

    project.write("x.csv", "t,attrs\n2026-03-05T10:00:00Z,\"{\"\"n\"\": \"\"many\"\"}\"\n");
    project.run(&["--output", "other"]).exits(4).says(&["attrs.n", "correct the type of the path in `schema`"]);
}

#[test]
fn a_declared_type_counts_for_the_field_that_its_path_leads_to() {
    let project = Project::with_spec(&spec(
        "x.ndjson",
        "time: {column: t}\nschema: {a.id: text}\nfilters: {a.id: \"7\"}\ncolumns: [a]",
    ));
    project.write("x.ndjson", "{\"t\": \"2026-03-05T10:00:00Z\", \"a\": {\"id\": 7, \"n\": 1}}\n");
    assert_eq!(json!(project.complete().rows()), json!([{"a": {"id": "7", "n": 1}}]));
}

fn parquet(project: &Project, name: &str) {
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for region in [Some("eu"), None] {
        if let Some(region) = region {
            labels.keys().append_value("cloud.region");
            labels.values().append_value(region);
        }
        labels.append(true).unwrap();
    }
    let micros = 1_772_704_800_000_000;
    let at = TimestampMicrosecondArray::from(vec![micros, micros + 1]).with_timezone("UTC");
    let event = StructArray::from(vec![
        (
            Arc::new(Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)),
            Arc::new(at) as ArrayRef,
        ),
        (Arc::new(Field::new("name", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
    ]);
    let columns: [(&str, ArrayRef); 2] = [("event", Arc::new(event)), ("labels", Arc::new(labels.finish()))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    project.write(name, writer.into_inner().unwrap());
}

#[test]
fn structs_and_maps_of_parquet_are_entered() {
    let settings =
        "time: {column: event.at}\nfilters: {labels.cloud.region: eu}\ncolumns: [event.name, labels.cloud.region]";
    let project = Project::with_spec(&spec("x.parquet", settings));
    parquet(&project, "x.parquet");
    assert_eq!(json!(project.complete().rows()), json!([{"name": "a", "cloud.region": "eu"}]));
}

#[test]
fn a_redaction_counts_for_every_path_that_it_concerns() {
    for (redact, expected) in [
        ("userIdentity.arn: mask", json!({"arn": "***", "userIdentity": {"type": "Root", "arn": "***", "n": 1}})),
        ("userIdentity.arn: {replace: x}", json!({"arn": "x", "userIdentity": {"type": "Root", "arn": "x", "n": 1}})),
        ("userIdentity: nullify", json!({"arn": null, "userIdentity": null})),
    ] {
        let settings = format!(
            "time: {{column: eventTime}}\nfilters: {{userIdentity.type: Root}}\ncolumns: [userIdentity.arn, userIdentity]\nredact: {{{redact}}}"
        );
        let project = Project::with_spec(&spec("x.ndjson", &settings));
        project.write("x.ndjson", CLOUDTRAIL);
        let package = project.complete();
        assert_eq!(json!(package.rows()), json!([expected]), "{redact}");
        let is_withheld = package.manifest()["filters"].to_string().contains("redacted_sha256");
        assert_eq!(is_withheld, redact.starts_with("userIdentity:"), "{redact}");
    }
}

#[test]
fn what_a_redaction_cannot_do_with_a_path_is_refused() {
    let columns = "columns: [userIdentity.arn, eventTime]";
    for (time, redact, message) in [
        ("eventTime", "userIdentity.arn: drop", "`userIdentity.arn` is selected here and dropped in `redact`"),
        ("eventTime", "userIdentity: drop", "`userIdentity.arn` is selected here and dropped in `redact`"),
        ("userIdentity.at", "userIdentity: mask", "`userIdentity.at` is the time column"),
        ("userIdentity.at", "userIdentity.at: mask", "`userIdentity.at` is the time column"),
    ] {
        let project = Project::with_spec(&spec(
            "x.ndjson",
            &format!("time: {{column: {time}}}\n{columns}\nredact: {{{redact}}}"),
        ));
        project.write(
            "x.ndjson",
            r#"{"eventTime": "2026-03-05T10:00:01Z", "userIdentity": {"arn": "a", "at": "2026-03-05T10:00:01Z"}}"#,
        );
        project.run(&[]).exits(2).says(&[message]);
    }
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_ends() {
    for (settings, message, help) in [
        (
            "time: {column: user.at}",
            "time column `user.at` is not in the source",
            "`user` has no field `at`; it has `name`, `tags`",
        ),
        (
            "time: {column: t}\ncolumns: [user.nam]",
            "column `user.nam` is not in the source",
            "`user` has no field `nam`: did you mean `name`?",
        ),
        (
            "time: {column: t}\nfilters: {user.tags.x: 1}",
            "the source has no column `user.tags.x`",
            "`user.tags` is a list, which a path cannot enter",
        ),
        (
            "time: {column: t}\nwhere: text.a = 'x'",
            "the source has no column `text.a`",
            "`text` is text; if it holds JSON, declare it as `json` in `schema`",
        ),
        ("time: {column: t}\ncolumns: [n.a]", "column `n.a` is not in the source", "`n` has no fields"),
        (
            "time: {column: t}\ncolumns: [user.name, name]",
            "two columns would be called `name`",
            "rename one: `{name: another_name}`",
        ),
    ] {
        let project = Project::with_spec(&spec("x.ndjson", settings));
        project.write(
            "x.ndjson",
            r#"{"t": "2026-03-05T10:00:01Z", "user": {"name": "a", "tags": [{"x": 1}]}, "text": "x", "n": 1, "name": 2}"#,
        );
        project.run(&[]).exits(2).says(&[message, help]);
    }
}

#[test]
fn a_declared_path_that_no_row_has_is_null_where_it_belongs() {
    let schema = "schema: {user.email: text, user.org.id: int64, user.name: text, flat.key: text}";
    let project = Project::with_spec(&spec(
        "x.ndjson",
        &format!("time: {{column: t}}\n{schema}\nfilters: {{user.email: {{is_null: true}}}}"),
    ));
    project.write("x.ndjson", r#"{"t": "2026-03-05T10:00:01Z", "user": {"name": "a"}}"#);
    let package = project.complete();
    let user = json!({"name": "a", "email": null, "org": null});
    assert_eq!(json!(package.rows()), json!([{"t": "2026-03-05T10:00:01Z", "user": user, "flat.key": null}]));
    let drift = package.manifest()["source"]["drift"].to_string();
    assert!(drift.contains("column `user.org.id` is declared, but in no file: it is null"), "{drift}");
}

#[test]
fn rows_outside_the_window_are_counted_by_their_nested_times() {
    for (format, times) in [
        ("auto", ["\"2026-03-04T23:59:59Z\"", "\"2026-03-05T00:00:00Z\"", "\"2026-03-06T00:00:00Z\""]),
        ("epoch_s", ["1772668799", "1772668800", "1772755200"]),
    ] {
        let project = Project::with_spec(&spec("x.ndjson", &format!("time: {{column: a.b.t, format: {format}}}")));
        let rows = (0..3000).map(|i| {
            format!(
                "{{\"n\": {i}, \"t\": \"x\", \"a\": {{\"t\": 1, \"b\": {{\"u\": null, \"t\": {}}}}}}}\n",
                times[i % 3]
            )
        });
        project.write("x.ndjson", rows.collect::<String>());
        let package = project.complete();
        let numbers: Vec<_> = package.rows().iter().map(|row| row["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..1000).map(|i| 3 * i + 1).collect::<Vec<u64>>());
        assert_eq!(package.manifest()["accounting"]["outside_window"], 2000);
    }
}

#[test]
fn only_the_leaves_that_paths_need_are_read() {
    let leaf = |name: &str, values: Vec<&str>| {
        (Arc::new(Field::new(name, DataType::Utf8, true)), Arc::new(StringArray::from(values)) as ArrayRef)
    };
    // Two megabytes of noise beside the few bytes that are needed.
    let noise: String =
        (0..2_000_000_u64).map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 7) as u8 % 26)).collect();
    let inner = StructArray::from(vec![leaf("noise", vec![&noise, "x"]), leaf("kind", vec!["a", "b"])]);
    let outer = StructArray::from(vec![
        leaf("at", vec!["2026-03-05T10:00:00Z", "2026-03-05T11:00:00Z"]),
        (Arc::new(Field::new("inner", inner.data_type().clone(), true)), Arc::new(inner) as ArrayRef),
    ]);
    let batch = RecordBatch::try_from_iter([("meta", Arc::new(outer) as ArrayRef)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut ipc = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut ipc, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);

    let server = S3Server::start();
    let rest = "time: {column: meta.at}\nfilters: {meta.inner.kind: b}\ncolumns: [{meta.inner.kind: kind}]";
    let expected = json!([{"kind": "b"}]);
    let project = Project::with_spec(&spec("s3://bucket/x.parquet", rest));
    server.put("x.parquet", &bytes);
    call(&project, &server, &["plan", "spec.yaml"]).exits(0);
    server.forget_requests();
    call(&project, &server, &["run", "spec.yaml", "--progress", "never"]).exits(0);
    assert_eq!(json!(project.package().rows()), expected);
    let length = |range: &str| {
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        to.parse::<u64>().ok().zip(from.parse::<u64>().ok()).map_or(0, |(to, from)| to + 1 - from)
    };
    let read: u64 = server.requests().iter().filter_map(|request| Some(length(request.range.as_deref()?))).sum();
    assert!(read < 1_000_000, "{read} bytes of {}: {:?}", bytes.len(), server.requests());

    // Other formats are read whole, and what is not needed is left out.
    let line = |kind: &str, hour: u32| {
        format!(
            "{{\"meta\": {{\"at\": \"2026-03-05T{hour}:00:00Z\", \"inner\": {{\"noise\": [1], \"kind\": \"{kind}\"}}}}}}\n"
        )
    };
    for (name, bytes) in [("x.arrow", ipc), ("x.ndjson", (line("a", 10) + &line("b", 11)).into_bytes())] {
        let project = Project::with_spec(&spec(name, rest));
        project.write(name, bytes);
        assert_eq!(json!(project.complete().rows()), expected, "{name}");
    }
}
