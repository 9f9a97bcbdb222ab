//! Files whose names do not tell their formats.

use std::io::Write;

use crate::project::{NOW, Outcome, Project, column, parquet_of};
use crate::s3_server::S3Server;
use crate::stores::call;

const DAY: &str = "window: {date: 2026-03-05}\nformat: ndjson\ncompression: none";

fn spec(keys: &str) -> String {
    format!("type: events\nsource: {{uri: data/{keys}}}\n{DAY}")
}

fn row(n: u32) -> String {
    format!(
        "{{\"event_id\":\"e\",\"occurred_at\":\"2026-03-05T00:00:0{n}Z\",\"status\":\"ok\",\"n\":{n},\"note\":\"\"}}\n"
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn arrow_of(ndjson: &str) -> Vec<u8> {
    let batch =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(parquet_of(ndjson)))
            .unwrap()
            .build()
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
    let mut bytes = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// One row each, in every format that is told by its content.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("0.log", row(0).into()),
        ("1", parquet_of(&row(1))),
        ("2.log", arrow_of(&row(2))),
        ("3/E123.2026-03-05-01.a1b2.gz", gzip(&row(3))),
        ("4", format!("[{}]", row(4)).into()),
        ("5.gz", zstd::encode_all(row(5).replace(',', ",\n").as_bytes(), 1).unwrap()),
        ("6.ndjson", row(6).into()),
        ("7.log", Vec::new()),
        ("8", gzip("")),
    ]
}

fn skipped(manifest: &serde_json::Value) -> Vec<(&str, &str)> {
    let files = manifest["source"]["files"].as_array().unwrap().iter().filter(|file| file["skipped"].is_string());
    files.map(|file| (file["path"].as_str().unwrap(), file["skip_code"].as_str().unwrap())).collect()
}

#[test]
fn the_content_tells_the_format_where_the_name_does_not() {
    let project = Project::with_spec(&spec(""));
    for (name, bytes) in files() {
        project.write(&format!("data/{name}"), bytes);
    }
    let package = project.complete();
    assert_eq!(column(&package.rows(), "n"), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(skipped(&package.manifest()), [("7.log", "empty")]);
    // The plan holds what was found, so a resumed run reads the same.
    let plan = project.call(&["plan", "spec.yaml", "--json", "--now", NOW]).exits(0).json();
    let formats: Vec<_> =
        plan["inputs"].as_array().unwrap().iter().map(|i| i["file"]["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["ndjson", "parquet", "arrow", "ndjson", "json", "json", "ndjson", "ndjson"]);
    project.call(&["reproduce", "package"]).exits(0);
    let sole = Project::with_spec(&spec("3/E123.2026-03-05-01.a1b2.gz"));
    sole.write("data/3/E123.2026-03-05-01.a1b2.gz", gzip(&row(3)));
    assert_eq!(column(&sole.complete().rows(), "n"), ["3"]);
}

#[test]
fn in_an_object_store_the_content_tells_the_format_too() {
    let server = S3Server::start();
    let project = Project::new();
    project.write(
        "spec.yaml",
        format!(
            "version: 1\nname: test\ntype: events\nsource: {{uri: 's3://bucket/lake/', path_time: {{pattern: '%Y-%m-%d/*', \
             covers: day}}}}\noutput: {{uri: package}}\n{DAY}\n"
        ),
    );
    for (name, bytes) in files().into_iter().filter(|(name, _)| !name.starts_with("3/")) {
        server.put(&format!("lake/2026-03-05/{name}"), &bytes);
    }
    server.put("lake/2026-03-05/3.2026.a1b2.gz", &gzip(&row(3)));
    // A file that the window leaves out is not read, unless it is nearest to the window.
    server.put("lake/2026-03-07/a.log", &gzip(&row(3).replace("03-05", "03-07")));
    server.put("lake/2026-03-08/csv.log", b"a,b\n");
    // More than is read to tell the format.
    let long =
        format!("{}{}", row(9), row(9).replace("\"note\":\"\"", &format!("\"note\":\"{}\"", "x".repeat(20 << 20))));
    server.put("lake/2026-03-05/9", long.as_bytes());
    server.forget_requests();
    call(&project, &server, &["plan", "spec.yaml", "--now", NOW]).exits(0);
    let heads = server
        .requests()
        .iter()
        .filter(|r| r.key == "lake/2026-03-05/9" && r.range.as_deref() == Some("bytes=0-262143"))
        .count();
    assert_eq!(heads, 1, "{:?}", server.requests());
    assert!(!server.requests().iter().any(|request| request.key.contains("csv.log")));
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
    let package = project.package();
    assert_eq!(column(&package.rows(), "n"), ["0", "1", "2", "3", "4", "5", "6", "9", "9"]);
    let expected =
        [("2026-03-05/7.log", "empty"), ("2026-03-07/a.log", "path_time"), ("2026-03-08/csv.log", "path_time")];
    assert_eq!(skipped(&package.manifest()), expected);
}

#[test]
fn what_the_content_does_not_tell_is_never_guessed() {
    let csv = "id,occurred_at\n1,2026-03-05T00:00:00Z\n";
    let line =
        "127.0.0.1 - - [05/Mar/2026:00:00:00 +0000] \"GET /\u{1b}[31m HTTP/1.1\" 200 5 \"-\" \"a very long agent\"";
    let rest = "is not Parquet, Arrow or JSON, and no other format is guessed: set `source.format` (`csv` with `csv: {…}`, or \
                `lines` with `lines: {pattern: …}`), or leave the file out with `exclude`";
    for (name, bytes, begins) in [
        ("b", csv.as_bytes().to_vec(), "id,occurred_at"),
        (
            "b.log",
            line.into(),
            "127.0.0.1 - - [05/Mar/2026:00:00:00 +0000] \"GET /\\u{1b}[31m HTTP/1.1\" 200 5 \"-\" \"a ve…",
        ),
        ("b.x1.gz", gzip("[2026-03-05] up\n"), "[2026-03-05] up"),
        ("b", vec![0xff; 3], "\u{fffd}\u{fffd}\u{fffd}"),
    ] {
        let project = Project::with_spec(&spec(""));
        project.write("data/a.ndjson", row(1));
        project.write(&format!("data/{name}"), bytes);
        let path = project.path(&format!("data/{name}"));
        let message = format!("{} begins with `{begins}`, which {rest}\n", path.display());
        for command in ["plan", "run"] {
            let outcome = project.call(&[command, "spec.yaml", "--now", NOW]).exits(2);
            outcome.says(&[&message, "spec.yaml:5:15"]);
        }
        let outcome = project.call(&["doctor", "spec.yaml", "--now", NOW]).exits(2);
        outcome.says(&[message.trim_end()]);
        // The ways out.
        project.spec(&spec(&format!(", exclude: {name}")));
        assert_eq!(column(&project.complete().rows(), "n"), ["1"]);
        // What the package hides is not shown.
        std::fs::remove_dir_all(project.path("package")).unwrap();
        project.spec(&format!("{}\nredact: {{note: mask}}", spec("")));
        let outcome = project.run(&[]).exits(2);
        assert!(outcome.stderr.contains(&format!("{} {rest}\n", path.display())), "{}", outcome.stderr);
    }
    let project = Project::with_spec(&spec(", format: csv"));
    project.write("data/b", csv);
    assert_eq!(column(&project.complete().rows(), "id"), ["1"]);
}

#[test]
fn a_file_that_cannot_be_looked_into_is_named_with_the_way_out() {
    let refused = |name: &str, bytes: &[u8], keys: &str, message: &str| -> Outcome {
        let project = Project::with_spec(&spec(keys));
        project.write(&format!("data/{name}"), bytes);
        let message = message.replace("PATH", project.path(&format!("data/{name}")).to_str().unwrap());
        project.run(&[]).exits(2).says(&[&message])
    };
    refused(
        "a.gz",
        &gzip(&row(1))[..20],
        "",
        "the format of PATH must be found in its content: the compressed data ends too early: the file is truncated; fetch it \
         again, or set `source.format`, or leave the file out with `exclude`",
    );
    refused(
        "a",
        row(1).as_bytes(),
        ", compression: bzip2",
        "the format of PATH must be found in its content: does not begin as bzip2 does: set `source.compression` to what it \
         is, or fetch it again, or set `source.format`, or leave the file out with `exclude`",
    );
    let inside = "PATH is Parquet inside another compression; decompress it, Parquet compresses its own pages";
    let packed = zstd::encode_all(&*parquet_of(&row(1)), 1).unwrap();
    refused("a.zst", &packed, "", inside);
    refused(
        "a",
        &parquet_of(&row(1)),
        ", records: Records",
        "`records` applies only to JSON and NDJSON, but a is read as Parquet",
    )
    .says(&["remove `records`, or set `source.format` to `json` or `ndjson` if that is what the files are"]);
    refused("a", &parquet_of(&row(1)), ", compression: none", "`compression` has no effect: a is read as Parquet");
}

#[test]
fn parquet_files_of_a_table_are_refused_without_an_extension_too() {
    let project = Project::with_spec(&spec("part/"));
    project.write("data/_delta_log/00000000000000000000.json", "{}");
    project.write("data/part/a", parquet_of(&row(1)));
    let message = "data is a Delta table (it has _delta_log): read as plain files it gives deleted and duplicate rows";
    project.run(&[]).exits(2).says(&[message]);
    project.spec(&spec("part/, plain_files: true"));
    assert_eq!(column(&project.complete().rows(), "n"), ["1"]);

    let server = S3Server::start();
    server.put("lake/_delta_log/00000000000000000000.json", b"{}");
    server.put("lake/part/a", &parquet_of(&row(1)));
    project.spec(&spec("").replace("data/", "'s3://bucket/lake/part/'"));
    call(&project, &server, &["plan", "spec.yaml", "--now", NOW])
        .exits(2)
        .says(&["s3://bucket/lake is a Delta table (it has _delta_log)"]);
}

#[test]
fn an_empty_file_that_must_have_rows_fails_whatever_its_name() {
    let project = Project::with_spec(&spec(", on_empty_file: fail"));
    project.write("data/a.ndjson", row(1));
    project.write("data/b", "");
    project
        .run(&[])
        .exits(4)
        .says(&["b: the file is empty (0 bytes); regenerate it, or set `source.on_empty_file: skip`"]);
}

#[test]
fn a_store_that_does_not_answer_is_no_mistake_of_the_spec() {
    let server = S3Server::start();
    let project = Project::with_spec(&spec("").replace("data/", "'s3://bucket/lake/'"));
    server.put("lake/a", row(1).as_bytes());
    server.on_request(|request| {
        let is_read = request.method == "GET" && request.key == "lake/a";
        is_read.then_some(crate::s3_server::Fault::Status(403, "AccessDenied"))
    });
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW])
        .exits(4)
        .says(&["s3://bucket/lake/a", "access denied"]);
}
