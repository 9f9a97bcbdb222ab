//! What a source names and holds: claims in names, files that are not there or not read, and packages without rows.

use serde_json::{Value, json};

use crate::project::{NOW, Outcome, Project, column, parquet_of};
use crate::s3_server::S3Server;
use crate::stores::call;

/// A source of JSON documents below folders of the day on which they were delivered.
fn by_delivery(path_time: &str, window: &str) -> String {
    format!(
        "type: trail\nsource: {{uri: in/, format: json, records: Records, path_time: \
         {{pattern: \"%Y/%m/%d/*\", covers: day{path_time}}}}}\n\
         time: {{column: eventTime}}\n{window}\nformat: ndjson"
    )
}

const DAY: &str = "window: {date: 2026-03-05}";

fn deliver(project: &Project, day: u32, rows: &[(&str, &str)]) {
    let records: Vec<Value> = rows.iter().map(|(name, time)| json!({"eventTime": time, "eventName": name})).collect();
    project.write(&format!("in/2026/03/{day:02}/1.json"), json!({ "Records": records }).to_string());
}

/// The last minute of a day is in the folder of the next one.
fn delivered_late() -> Project {
    let project = Project::new();
    deliver(&project, 5, &[("B", "2026-03-05T00:01:00Z")]);
    deliver(&project, 6, &[("C", "2026-03-05T23:59:30Z"), ("D", "2026-03-06T01:00:00Z")]);
    project
}

/// Names that tell the truth.
fn delivered_in_time() -> Project {
    let project = Project::new();
    deliver(&project, 5, &[("B", "2026-03-05T00:01:00Z")]);
    deliver(&project, 6, &[("D", "2026-03-06T01:00:00Z")]);
    project
}

/// As in the manifest: for each partition status and error code.
fn codes(project: &Project) -> Vec<(String, String, Value)> {
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let files = project.package().files();
    files.iter().map(|f| (text(&f["partition"]["label"]), text(&f["status"]), f["error_code"].clone())).collect()
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let report = outcome.json();
    let told = report["specs"][0]["warnings"].as_array().cloned().unwrap_or_default();
    told.iter().map(|warning| warning.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_row_in_the_folder_of_the_next_day_breaks_the_claim_of_the_names() {
    let project = delivered_late();
    project.spec(&by_delivery("", DAY));
    let says = [
        "path_time_broken",
        "2026/03/06/1.json:1: the row's time is 2026-03-05T23:59:30Z, but by `path_time` this file covers \
         2026-03-06T00:00:00Z to 2026-03-07T00:00:00Z",
        "1 file was skipped on such a claim and may hold rows of the window, too",
        "(`path_time: {…, early: 1m}`), or remove `path_time`",
    ];
    project.run(&[]).exits(4).says(&says);
    assert_eq!(codes(&project), [("2026-03-05".to_owned(), "failed".to_owned(), json!("path_time_broken"))]);
    let plan = project.call(&["plan", "spec.yaml", "--now", NOW]).exits(0).stdout;
    assert!(plan.contains("Warnings (1)") && plan.contains("path_time_broken: 2026/03/06/1.json:1"), "{plan}");
    project.call(&["explain", "path_time_broken"]).exits(0);

    // What the message says is the way out.
    project.spec(&by_delivery(", early: 1m", DAY));
    std::fs::remove_dir_all(project.path("package")).unwrap();
    let package = project.complete();
    assert_eq!(column(&package.rows(), "eventName"), ["B", "C"]);
    assert_eq!(package.manifest()["source"]["skipped_by_path_time"], 0);
}

#[test]
fn a_row_before_the_claim_of_a_file_that_is_read_fails_the_partitions_too() {
    let project = Project::with_spec(&by_delivery("", "window: {date_from: 2026-03-05, date_to: 2026-03-06}"));
    deliver(&project, 4, &[("Z", "2026-03-04T12:00:00Z")]);
    deliver(&project, 5, &[("B", "2026-03-05T00:01:00Z"), ("A", "2026-03-04T23:58:00Z")]);
    deliver(&project, 6, &[("D", "2026-03-06T01:00:00Z")]);
    project.run(&[]).exits(4).says(&["2026/03/05/1.json:2: the row's time is 2026-03-04T23:58:00Z", "early: 3m"]);
    assert!(codes(&project).iter().all(|(_, status, code)| status == "failed" && code == "path_time_broken"));
    // Where no file was skipped on its name, nothing was taken on trust.
    std::fs::remove_dir_all(project.path("in/2026/03/04")).unwrap();
    std::fs::remove_dir_all(project.path("package")).unwrap();
    assert_eq!(project.complete().manifest()["source"]["skipped_by_path_time"], 0);
}

#[test]
fn late_rows_are_allowed_as_far_as_the_spec_says() {
    let rows = [("B", "2026-03-05T12:00:00Z"), ("L", "2026-03-06T01:59:59Z")];
    for (margin, code) in [("", 4), (", late: 1h", 4), (", late: 2h", 0)] {
        let project = Project::with_spec(&by_delivery(margin, DAY));
        deliver(&project, 5, &rows);
        deliver(&project, 8, &[("X", "2026-03-08T00:00:00Z")]);
        let outcome = project.run(&[]).exits(code);
        if code == 4 {
            outcome.says(&["2026/03/05/1.json:2", "late: 2h"]);
        } else {
            let manifest = project.package().manifest();
            assert_eq!(manifest["source"]["skipped_by_path_time"], 1);
            let skipped = &manifest["source"]["files"][1];
            assert_eq!((&skipped["path"], &skipped["skip_code"]), (&json!("2026/03/08/1.json"), &json!("path_time")));
            assert!(outcome.stderr.find("warning").is_none(), "{}", outcome.stderr);
        }
    }
}

#[test]
fn a_parquet_file_without_statistics_is_looked_into() {
    use arrow::array::{ArrayRef, TimestampSecondArray};
    use parquet::file::properties::{EnabledStatistics, WriterProperties};
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/, path_time: {{pattern: \"%Y-%m-%d.parquet\", covers: day}}}}\n{DAY}"
    ));
    for (day, seconds) in [(5, vec![60, 120]), (6, vec![86_400, 86_399])] {
        let times: Vec<i64> = seconds.iter().map(|s| 1_772_668_800 + s).collect();
        let times = TimestampSecondArray::from(times).with_timezone("UTC");
        let rows =
            arrow::record_batch::RecordBatch::try_from_iter([("occurred_at", std::sync::Arc::new(times) as ArrayRef)])
                .unwrap();
        let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
        let mut bytes = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        project.write(&format!("data/2026-03-{day:02}.parquet"), bytes);
    }
    project.run(&[]).exits(4).says(&["2026-03-06.parquet:2: the row's time is 2026-03-05T23:59:59Z"]);
}

#[test]
fn a_missing_day_makes_its_partitions_partial_until_its_file_is_there() {
    let window = "window: {date_from: 2026-03-04, date_to: 2026-03-06}";
    let project = Project::with_spec(&by_delivery(", expect: every", window));
    deliver(&project, 4, &[("A", "2026-03-04T12:00:00Z")]);
    deliver(&project, 6, &[("C", "2026-03-06T12:00:00Z")]);
    let missing = "source_missing: no source file covers 2026-03-05T00:00:00Z to 2026-03-06T00:00:00Z";
    project.run(&[]).exits(3).says(&["partial  2026-03-05: ", missing, "deliver it and run again"]);
    let expected = [("2026-03-04", "complete"), ("2026-03-05", "partial"), ("2026-03-06", "complete")];
    let told = codes(&project);
    assert_eq!(told.iter().map(|(a, b, _)| (a.as_str(), b.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(told[1].2, "source_missing");
    project.package().balances();
    project.call(&["verify", "--rows", "package"]).exits(0);
    let report = project.call(&["report", "package", "--format", "markdown"]).exits(0).stdout.replace('\\', "");
    assert!(report.contains("1 partition without all of its source: 2026-03-05"), "{report}");
    let plan = project.call(&["plan", "spec.yaml", "--now", NOW]).exits(0).stdout;
    assert!(plan.contains(missing), "{plan}");
    project.run(&[]).exits(3);

    // A file without a row is a file.
    deliver(&project, 5, &[]);
    let package = project.complete();
    assert_eq!(column(&package.rows(), "eventName"), ["A", "C"]);
}

/// A date alone is a day of the window's zone, so the names beside it are, too; a time is one of the source's.
#[test]
fn files_are_expected_in_the_zone_in_which_their_rows_have_dates() {
    let window = "{date: 2026-03-05, timezone: Europe/Berlin}";
    for (first, second, missing) in [
        ("2026-03-05", "2026-03-05", None),
        (
            "2026-03-05T01:00:00Z",
            "2026-03-05T22:00:00Z",
            Some("no source file covers 2026-03-04T00:00:00Z to 2026-03-05T00:00:00Z"),
        ),
    ] {
        let project = Project::with_spec(&format!(
            "type: events\nwindow: {window}\nsource: {{uri: data/, path_time: {{pattern: '%Y-%m-%d.ndjson', covers: day, \
             expect: every}}}}"
        ));
        let row = |at: &str| format!("{{\"occurred_at\":\"{at}\"}}\n");
        project.write("data/2026-03-05.ndjson", [row(first), row(second)].concat());
        project.write("data/2026-03-09.ndjson", row("2026-03-09"));
        match missing {
            None => drop(project.run(&[]).exits(0)),
            Some(missing) => drop(project.run(&[]).exits(3).says(&[missing])),
        }
        assert_eq!(project.package().rows().len(), 2);
    }
}

#[test]
fn a_window_without_a_source_is_partial_where_every_file_is_expected() {
    let project = delivered_in_time();
    project.spec(&by_delivery(", expect: every", "window: {date: 2026-05-01}"));
    project
        .run(&[])
        .exits(3)
        .says(&["source_missing", "warning: spec.yaml: the package has no rows: there was nothing to read"]);
}

#[test]
fn a_package_without_rows_says_whether_anything_was_read() {
    let project = delivered_in_time();
    project.spec(&by_delivery("", "window: {date: 2026-05-01}"));
    let outcome = project.run(&["--json", "-q"]).exits(0);
    let text = "the package has no rows: there was nothing to read: the source has 2 files, and none was read; 2 files were \
                not read, because `path_time` says of their names that no row of the window is in them";
    assert_eq!(warnings(&outcome), [text]);
    assert!(outcome.stderr.contains(&format!("warning: spec.yaml: {text}")), "{}", outcome.stderr);
    let manifest = project.package().manifest();
    assert_eq!(manifest["no_rows"], json!({"reason": "nothing_to_read"}));
    assert_eq!(manifest["source"]["skipped_by_path_time"], 2);
    let page = std::fs::read_to_string(project.path("package/report.html")).unwrap();
    assert!(page.contains("Complete, but there was nothing to read") && !page.contains("shows that there was none"));

    for (rest, reason, words) in [
        ("window: {date: 2026-05-01}", "none_in_window", "1 file with 2 rows was read, and every row lies outside"),
        ("window: {date: 2026-03-01}\nfilters: {n: 7}", "all_filtered_out", "the filters left out all 2 rows of the"),
    ] {
        let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.ndjson}}\n{rest}"));
        let row = |n: u32| format!("{{\"occurred_at\":\"2026-03-01T00:00:00Z\",\"n\":{n}}}\n");
        project.write("x.ndjson", [row(1), row(2)].concat());
        project.run(&[]).exits(0).says(&[words]);
        assert_eq!(project.package().manifest()["no_rows"]["reason"], reason);
        // A rerun of what is complete says it again.
        project.run(&[]).exits(0).says(&[words]);
    }
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.csv}}\n{DAY}"));
    project.write("x.csv", "event_id,occurred_at\n");
    project.run(&[]).exits(0).says(&["1 file was read and had no rows"]);
    assert_eq!(project.package().manifest()["no_rows"]["reason"], "files_without_rows");
}

#[test]
fn a_filter_on_a_value_that_nobody_writes_shows_those_that_are_written() {
    let row =
        |day: u32, status: &str| format!("{{\"occurred_at\":\"2026-03-{day:02}T00:00:00Z\",\"status\":{status}}}\n");
    let rows = [row(5, "\"allowed\""), row(5, "\"blocked\""), row(5, "null"), row(6, "\"elsewhere\"")].concat();
    let run = |rest: &str, rows: &str| {
        let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.ndjson}}\n{DAY}\n{rest}"));
        project.write("x.ndjson", rows);
        let outcome = project.run(&[]).exits(0);
        (outcome, project.package().manifest()["no_rows"].clone())
    };
    let (outcome, finding) = run("filters: {statuses: [blokced]}", &rows);
    outcome.says(&["in the window `status` holds “allowed”, “blocked”\n"]);
    let held = json!([{"filter": "statuses in", "column": "status", "values": ["allowed", "blocked"], "is_all": true}]);
    assert_eq!(finding, json!({"reason": "all_filtered_out", "held": held}));

    let many: String = (0..100).map(|n| row(5, &format!("\"value {n:03}\""))).collect();
    let (outcome, finding) = run("filters: {status: other}", &many);
    outcome.says(&["“value 000”", "“value 011” and others"]);
    assert_eq!(
        (finding["held"][0]["values"].as_array().unwrap().len(), &finding["held"][0]["is_all"]),
        (12, &json!(false))
    );

    // What the package hides is not told beside it.
    for hidden in ["redact: {message: mask, status: mask}", "encryption: {age: {recipients: [AGE]}}"] {
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let rows = rows.replace("\"status\"", "\"message\":\"m\",\"status\"");
        let (outcome, finding) = run(&format!("filters: {{status: other}}\n{}", hidden.replace("AGE", key)), &rows);
        assert!(!outcome.stderr.contains("allowed"), "{}", outcome.stderr);
        assert_eq!(finding, json!({"reason": "all_filtered_out"}));
    }
}

#[test]
fn files_of_unknown_extensions_are_named_with_the_way_out() {
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: data/}}\n{DAY}"));
    let row = "{\"occurred_at\":\"2026-03-05T00:00:00Z\"}\n";
    for name in ["a.ndjson", "b.logs", "app.ndjson.1", "app.ndjson.2", "app.ndjson.3", "_SUCCESS", ".x.ndjson"] {
        project.write(&format!("data/{name}"), row);
    }
    project.write("data/0.ndjson", "");
    let unknown = "4 files were not read (app.ndjson.1, app.ndjson.2, app.ndjson.3 and 1 more): unknown extension and no \
                   `source.format`; if they hold rows, set `source.format`";
    let hidden =
        "1 file was not read (.x.ndjson): a name that begins with `.` or `_` is not read; if they hold rows, rename";
    let outcome =
        project.run(&["--json"]).exits(0).says(&["warning: spec.yaml: 4 files were not read", unknown, hidden]);
    assert_eq!(warnings(&outcome).len(), 2);
    let manifest = project.package().manifest();
    let skipped = manifest["source"]["files"].as_array().unwrap().iter().filter(|file| file["skipped"].is_string());
    let skipped: Vec<_> =
        skipped.map(|file| (file["path"].as_str().unwrap(), file["skip_code"].as_str().unwrap())).collect();
    let expected = [
        (".x.ndjson", "hidden_data"),
        ("0.ndjson", "empty"),
        ("_SUCCESS", "hidden"),
        ("app.ndjson.1", "unknown_format"),
        ("app.ndjson.2", "unknown_format"),
        ("app.ndjson.3", "unknown_format"),
        ("b.logs", "unknown_format"),
    ];
    assert_eq!(skipped, expected);
    let plan = project.call(&["plan", "spec.yaml", "--now", NOW]).exits(0).stdout;
    assert!(plan.contains(unknown) && plan.contains("Files that are not read (7)"), "{plan}");
    project.call(&["doctor", "spec.yaml", "--now", NOW]).exits(0).says(&["!  source", unknown]);

    project.spec(&format!("type: events\nsource: {{uri: data/, format: ndjson}}\n{DAY}"));
    std::fs::remove_dir_all(project.path("package")).unwrap();
    assert_eq!(project.complete().rows().len(), 5);
}

#[test]
fn excluded_files_are_listed_and_not_read() {
    let spec = |exclude: &str| format!("type: events\nsource: {{uri: data/, exclude: {exclude}}}\n{DAY}");
    let project = Project::with_spec(&spec("[\"**/*.tmp\", \"**/digest/**\", \"b*.ndjson\"]"));
    let row = "{\"occurred_at\":\"2026-03-05T00:00:00Z\"}\n";
    // What is excluded may be anything: a compression that is not read, no file of a known format.
    for name in ["a.ndjson", "b.ndjson", "x.tmp", "y/z.tmp", "y/digest/d.ndjson", "digest/e/f.csv.zip", "y/b.ndjson"] {
        project.write(&format!("data/{name}"), row);
    }
    let outcome = project.run(&["--json"]).exits(0);
    assert!(warnings(&outcome).is_empty(), "{}", outcome.stderr);
    let package = project.package();
    assert_eq!(package.rows().len(), 2);
    let manifest = package.manifest();
    let skipped = manifest["source"]["files"].as_array().unwrap().iter().filter(|file| file["skipped"].is_string());
    let skipped: Vec<_> =
        skipped.map(|file| (file["path"].as_str().unwrap(), file["skip_code"].as_str().unwrap())).collect();
    assert_eq!(
        skipped,
        [
            ("b.ndjson", "excluded"),
            ("digest/e/f.csv.zip", "excluded"),
            ("x.tmp", "excluded"),
            ("y/digest/d.ndjson", "excluded"),
            ("y/z.tmp", "excluded"),
        ]
    );
    assert_eq!(manifest["spec"]["resolved"]["source"]["exclude"], json!(["**/*.tmp", "**/digest/**", "b*.ndjson"]));
    for (exclude, message, help) in [
        ("\"**\"", "`exclude` names all of its 7 files", ""),
        ("\"a[\"", "`a[` is not a glob", "unclosed character class"),
    ] {
        project.spec(&spec(exclude));
        std::fs::remove_dir_all(project.path("package")).ok();
        let outcome = project.run(&[]).says(&[message, help]);
        assert_ne!(outcome.code, Some(0));
    }
    project.spec(&spec("\"x\"").replace("uri: data/", "uri: data/a.ndjson"));
    project
        .run(&[])
        .exits(2)
        .says(&["`exclude` has no effect: `uri` names one file", "remove `exclude`, or set `uri` to a folder"]);
}

#[test]
fn a_file_of_0_bytes_fails_its_partition_where_the_spec_says_so() {
    let spec = |rest: &str| {
        format!("type: events\nsource: {{uri: data/{rest}}}\nwindow: {{date_from: 2026-03-05, date_to: 2026-03-06}}")
    };
    let project = Project::with_spec(&spec(""));
    project.write("data/2026-03-05.ndjson", "{\"occurred_at\":\"2026-03-05T00:00:00Z\"}\n");
    project.write("data/2026-03-06.ndjson", "");
    assert_eq!(project.complete().rows().len(), 1);
    project.spec(&spec(", on_empty_file: fail"));
    std::fs::remove_dir_all(project.path("package")).unwrap();
    project
        .run(&[])
        .exits(3)
        .says(&["2026-03-06.ndjson: the file is empty (0 bytes); regenerate it, or set `source.on_empty_file: skip`"]);
    let statuses = project.package().statuses();
    assert_eq!(statuses.iter().map(|(_, status, _)| status.as_str()).collect::<Vec<_>>(), ["complete", "failed"]);
}

#[test]
fn a_parquet_file_of_0_bytes_is_told_or_fails_the_partitions_of_its_name() {
    let spec = |keys: &str| {
        format!("type: events\nsource: {{uri: data/{keys}}}\nwindow: {{date_from: 2026-03-05, date_to: 2026-03-06}}")
    };
    let project = Project::with_spec(&spec(""));
    project.write("data/part-0.parquet", parquet_of("{\"occurred_at\":\"2026-03-05T00:00:00Z\"}\n"));
    project.write("data/part-1.parquet", "");
    project.run(&[]).exits(0).says(&[
        "1 file was not read (part-1.parquet): it has 0 bytes, so it is not Parquet: its writer did not finish",
        "regenerate them, or set `source.on_empty_file: fail`",
    ]);
    assert_eq!(project.package().rows().len(), 1);
    let skipped = project.package().manifest()["source"]["files"][1]["skip_code"].clone();
    assert_eq!(skipped, "unwritten");
    let again = |keys: &str, code: i32, text: &str| {
        project.spec(&spec(keys));
        std::fs::remove_dir_all(project.path("package")).unwrap();
        project.run(&[]).exits(code).says(&[text]);
    };
    let fails = "part-1.parquet: the file is empty (0 bytes); regenerate it, or set `source.on_empty_file: skip`";
    again(", on_empty_file: fail", 4, fails);
    again("part-1.parquet", 4, "part-1.parquet: ");
    std::fs::rename(project.path("data/part-0.parquet"), project.path("data/2026-03-05.parquet")).unwrap();
    std::fs::rename(project.path("data/part-1.parquet"), project.path("data/2026-03-06.parquet")).unwrap();
    let path_time = ", path_time: {pattern: '%Y-%m-%d.parquet', covers: day, expect: every}";
    for keys in ["", path_time] {
        again(keys, 3, "2026-03-06: source_unreadable: 2026-03-06.parquet: ");
    }
}

/// The files were made by the commands gzip, zstd, bzip2, xz and lz4.
#[test]
fn compressed_rows_are_the_same_rows_whatever_their_file_is_called() {
    let spec = |keys: &str| format!("type: events\nsource: {{uri: data/, format: ndjson{keys}}}\n{DAY}");
    let mut expected = None;
    for (extension, word) in [("gz", "gzip"), ("zst", "zstd"), ("bz2", "bzip2"), ("xz", "xz"), ("lz4", "lz4")] {
        let stored = format!("{}/tests/compressed/rows.ndjson.{extension}", env!("CARGO_MANIFEST_DIR"));
        let stored = std::fs::read(stored).unwrap();
        let declared = format!(", compression: {word}");
        for (name, keys) in [
            (format!("data/rows.ndjson.{extension}"), ""),
            ("data/rows.ndjson".to_owned(), ""),
            ("data/rows.ndjson.gz".to_owned(), ""),
            ("data/rows".to_owned(), declared.as_str()),
        ] {
            let project = Project::with_spec(&spec(keys));
            project.write(&name, &stored);
            let rows = project.complete().rows();
            assert_eq!(rows.len(), 500, "{name}{keys}");
            assert_eq!(*expected.get_or_insert_with(|| rows.clone()), rows, "{name}{keys}");
        }
        let project =
            Project::with_spec(&spec(if word == "gzip" { ", compression: xz" } else { ", compression: gzip" }));
        project.write("data/rows.ndjson", &stored);
        project
            .run(&[])
            .exits(4)
            .says(&["does not begin as ", ": set `source.compression` to what it is, or fetch it again"]);
    }
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: data/, compression: gzip}}\n{DAY}"));
    project.write("data/a.parquet", "PAR1");
    let refusal = "`compression` has no effect: a.parquet is read as Parquet, which compresses inside";
    project.run(&[]).exits(2).says(&["spec.yaml:5:35", refusal, "remove `compression`, or set `source.format`"]);
}

#[cfg(unix)]
#[test]
fn a_file_with_two_names_is_exported_once() {
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: data/}}\n{DAY}"));
    let row = |n: u32| format!("{{\"occurred_at\":\"2026-03-05T00:00:0{n}Z\",\"n\":{n}}}\n");
    project.write("data/a.ndjson", (0..5).map(row).collect::<String>());
    std::fs::hard_link(project.path("data/a.ndjson"), project.path("data/b.ndjson")).unwrap();
    std::os::unix::fs::symlink("a.ndjson", project.path("data/0.ndjson")).unwrap();
    let package = project.complete();
    assert_eq!(package.rows().len(), 5);
    let manifest = package.manifest();
    let told = |n: usize| manifest["source"]["files"][n].clone();
    assert_eq!(told(0)["path"], "a.ndjson");
    for (n, name) in [(1, "0.ndjson"), (2, "b.ndjson")] {
        assert_eq!((&told(n)["path"], &told(n)["skip_code"]), (&json!(name), &json!("same_file")));
        assert_eq!(told(n)["skipped"], "the same file as a.ndjson, which is read");
    }
}

#[test]
fn a_package_is_not_written_into_its_own_source_or_read_from_there() {
    let spec = |output: &str, day: u32| {
        format!(
            "version: 1\nname: test\ntype: events\nsource: {{uri: data/}}\noutput: {{uri: {output}}}\n\
             window: {{date: 2026-03-{day:02}}}\n"
        )
    };
    let project = Project::new();
    let row = |n: u32| format!("{{\"occurred_at\":\"2026-03-05T00:00:0{n}Z\",\"n\":{n}}}\n");
    project.write("data/a.ndjson", (0..5).map(row).collect::<String>());
    project.write("spec.yaml", spec("data/exports", 5));
    let refused = "lies inside the source";
    for command in ["run", "plan", "doctor"] {
        project.call(&[command, "spec.yaml", "--now", NOW]).exits(2).says(&[refused, "choose an `output.uri` outside"]);
    }
    assert!(!project.path("data/exports").exists());
    project.write("spec.yaml", spec(".", 5));
    let plan = project.call(&["plan", "spec.yaml", "--now", NOW]);
    plan.exits(2).says(&["the source", "lies inside the output"]);

    // A package that somebody moved there is left out and told.
    project.write("spec.yaml", spec("package", 5));
    project.run(&[]).exits(0);
    std::fs::rename(project.path("package"), project.path("data/exports")).unwrap();
    let outcome = project.run(&[]).exits(0).says(&["1 file was not read (exports/): a kt-export package"]);
    assert!(outcome.stderr.contains("keep packages, chains and stores outside the source"), "{}", outcome.stderr);
    assert_eq!(project.package().rows().len(), 5);
}

#[test]
fn in_an_object_store_packages_and_hidden_prefixes_are_left_out_as_in_a_folder() {
    let server = S3Server::start();
    server.set_page_size(2);
    let row = |n: u32| format!("{{\"occurred_at\":\"2026-03-05T00:00:0{n}Z\",\"n\":{n}}}\n");
    // In order of bytes: `-` and `.` stand before `/`.
    for (n, name) in [(0, "a/x.ndjson"), (1, "a-1.ndjson"), (2, "a.ndjson"), (3, "B.ndjson")] {
        server.put(&format!("lake/{name}"), row(n).as_bytes());
    }
    let project = Project::new();
    let spec = |output: &str| {
        let text = format!(
            "version: 1\nname: test\ntype: events\nsource: {{uri: 's3://bucket/lake/'}}\n\
             output: {{uri: '{output}'}}\n{DAY}\nformat: ndjson\ncompression: none\n"
        );
        project.write("spec.yaml", text);
    };
    let run = || call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]);
    spec("s3://bucket/lake/exports/");
    run().exits(2).says(&["the output s3://bucket/lake/exports lies inside the source s3://bucket/lake/"]);
    spec("s3://bucket/");
    run().exits(2);
    spec("s3://bucket/lake2/");
    run().exits(0);
    for key in server.keys("lake2/") {
        server.put(&format!("lake/old/{}", &key["lake2/".len()..]), &server.get(&key).unwrap());
    }
    server.put("lake/_temporary/0/part.ndjson", row(9).as_bytes());
    server.put("lake/_SUCCESS", b"");
    server.put("lake/b.logs", row(9).as_bytes());
    server.put("lake/empty.ndjson", b"");
    spec("package");
    run().exits(0).says(&[
        "1 file was not read (old/): a kt-export package",
        "1 file was not read (_temporary/): a name that begins",
        "1 file was not read (b.logs): unknown extension",
    ]);
    let package = project.package();
    assert_eq!(column(&package.rows(), "n"), ["3", "1", "2", "0"]);
    let manifest = package.manifest();
    let skipped = manifest["source"]["files"].as_array().unwrap().iter().filter(|file| file["skipped"].is_string());
    let skipped: Vec<_> =
        skipped.map(|file| (file["path"].as_str().unwrap(), file["skip_code"].as_str().unwrap())).collect();
    let expected = [
        ("_SUCCESS", "hidden"),
        ("_temporary/", "hidden_data"),
        ("b.logs", "unknown_format"),
        ("empty.ndjson", "empty"),
        ("old/", "package"),
    ];
    assert_eq!(skipped, expected);
}

/// What is not read, with the reason, in a folder and in a bucket that hold the same files.
#[test]
fn everything_that_is_skipped_is_listed_in_a_folder_as_in_a_store() {
    let row = "{\"occurred_at\":\"2026-03-05T00:00:00Z\"}\n";
    let server = S3Server::start();
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: out/}}\n{DAY}"));
    project.write("out/a.ndjson", row);
    project.run(&[]).exits(0);
    let mut tree: Vec<(String, Vec<u8>)> = [
        ("a.ndjson", row),
        ("sub/b.ndjson", row),
        ("k=1/c.ndjson", row),
        ("empty.ndjson", ""),
        ("sub/empty", ""),
        ("sub/empty.txt", ""),
        ("notes.txt", "notes"),
        ("sub/archive.tar.gz", "x"),
        ("sub/x.csv.crc", "x"),
        ("sub/.part.crc", "x"),
        (".hidden.ndjson", row),
        ("_SUCCESS", ""),
        ("sub/_committed_1", "{}"),
        ("_temporary/0/part.ndjson", row),
        ("sub/deep/_temporary/0/_x/part.ndjson", row),
        ("sub/_metadata/x.json", row),
        (".staging/part.parquet", "PAR1"),
        ("draft.ndjson", row),
        ("sub/digest/x.ndjson", row),
        ("sub/digest/_y.ndjson", row),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .into();
    for entry in walkdir::WalkDir::new(project.path("package")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(project.path("package")).unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(entry.path()).unwrap();
            tree.push((format!("sub/package/{name}"), bytes.clone()));
            tree.push((format!("_old/package/{name}"), bytes));
        }
    }
    for (name, bytes) in &tree {
        project.write(&format!("data/{name}"), bytes);
        server.put(&format!("lake/{name}"), bytes);
    }
    let skipped = |uri: &str| {
        let exclude = "[draft.*, '**/digest/**']";
        project.spec(&format!("type: events\nsource: {{uri: '{uri}', exclude: {exclude}}}\n{DAY}"));
        std::fs::remove_dir_all(project.path("package")).unwrap();
        call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
        let manifest = project.package().manifest();
        let files = manifest["source"]["files"].as_array().unwrap().iter().filter(|file| file["skipped"].is_string());
        let text = |file: &Value, key: &str| file[key].as_str().unwrap().to_owned();
        files.map(|file| (text(file, "path"), text(file, "skip_code"), text(file, "skipped"))).collect::<Vec<_>>()
    };
    let local = skipped("data/");
    assert_eq!(local, skipped("s3://bucket/lake/"));
    let codes: Vec<_> = local.iter().map(|(name, code, _)| (name.as_str(), code.as_str())).collect();
    let expected = [
        (".hidden.ndjson", "hidden_data"),
        (".staging/", "hidden"),
        ("_SUCCESS", "hidden"),
        ("_old/", "hidden"),
        ("_temporary/", "hidden_data"),
        ("draft.ndjson", "excluded"),
        ("empty.ndjson", "empty"),
        ("notes.txt", "unknown_format"),
        ("sub/.part.crc", "hidden"),
        ("sub/_committed_1", "hidden"),
        ("sub/_metadata/", "hidden"),
        ("sub/archive.tar.gz", "unknown_format"),
        ("sub/deep/_temporary/", "hidden_data"),
        ("sub/digest/_y.ndjson", "hidden_data"),
        ("sub/digest/x.ndjson", "excluded"),
        ("sub/empty", "empty"),
        ("sub/empty.txt", "unknown_format"),
        ("sub/package/", "package"),
        ("sub/x.csv.crc", "unknown_format"),
    ];
    assert_eq!(codes, expected);

    // Keys that no request can name.
    server.put("lake/_temporary//part.ndjson", row.as_bytes());
    server.put("lake/sub//notes.txt", b"notes");
    let more: Vec<_> = skipped("s3://bucket/lake/").into_iter().filter(|found| !local.contains(found)).collect();
    let reason = "a key that no request can name: it has an empty segment (`//`)";
    assert_eq!(more, [("sub//notes.txt".to_owned(), "unknown_format".to_owned(), reason.to_owned())]);
    server.put("lake/sub//.x.ndjson", row.as_bytes());
    assert!(
        skipped("s3://bucket/lake/").iter().any(|(name, code, _)| name == "sub//.x.ndjson" && code == "hidden_data")
    );
}
