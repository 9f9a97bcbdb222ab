//! Whatever a user or a file gets wrong is told with its place and the way out, before anything is written.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::project::{Package, Project, column, daily_files};

const WINDOW: &str = "window: {date_from: 2026-03-01, date_to: 2026-03-03}";
const SOURCE: &str = "source: {uri: data/}";

fn project(spec: &str) -> Project {
    let project = Project::new();
    for (name, text) in daily_files(3, 10) {
        project.write(&name, text);
    }
    project.write("spec.yaml", spec);
    project
}

/// Asserts that a spec is refused with these texts, and that nothing came to be.
#[track_caller]
fn is_refused(spec: &str, texts: &[&str]) {
    let project = project(spec);
    let outcome = project.run(&["--output", "out"]).exits(2).says(texts);
    assert!(outcome.stderr.contains("spec.yaml:"), "no place in: {}", outcome.stderr);
    assert!(!project.path("out").exists() && !project.path("exports").exists(), "something was written");
}

/// A spec of one line each, with `name` on line 2, `type` on 3, `source` on 4, `window` on 5, and this after it.
fn spec(rest: &str) -> String {
    format!("version: 1\nname: test\ntype: events\n{SOURCE}\n{WINDOW}\n{rest}\n")
}

fn with_window(window: &str) -> String {
    format!("version: 1\nname: test\ntype: events\n{SOURCE}\nwindow: {window}\n")
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_one() {
    let project = project(&spec("fromat: csv"));
    let told = project.run(&[]).exits(2).stderr;
    snapbox::assert_data_eq!(
        told,
        snapbox::str![[r#"
error: unknown key `fromat`
 --> spec.yaml:6:1
  |
6 | fromat: csv
  | ^^^^^^
  |
  = help: did you mean `format`?

"#]]
    );
    assert!(!project.path("exports").exists());
}

#[test]
fn wrong_types_are_told_where_they_stand() {
    is_refused(&spec("partition: {max_rows: many}"), &["spec.yaml:6:23", "`max_rows`", "whole number", "`many`"]);
    is_refused(&spec("columns: status"), &["spec.yaml:6:10", "`columns`"]);
    is_refused(&spec("filters: [status]"), &["spec.yaml:6:10", "`filters`"]);
    is_refused(&spec("partition: {max_rows: -5}"), &["spec.yaml:6:23"]);
    is_refused(&spec("partition: {max_bytes: -1MiB}"), &["spec.yaml:6:24"]);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    is_refused(&with_window("{date: 2026-02-30}"), &["spec.yaml:5:16", "2026-02-30"]);
    is_refused(&with_window("{date: 2025-02-29}"), &["spec.yaml:5:16", "2025-02-29"]);
    is_refused(&with_window("{month: 2026-13}"), &["spec.yaml:5:17"]);
    is_refused(
        &with_window("{month: 2026-03, timezone: Europe/Belrin}"),
        &["spec.yaml:5:36", "Europe/Belrin", "Europe/Berlin"],
    );
    is_refused(&with_window("{date_from: 2026-03-05, date_to: 2026-03-01}"), &["spec.yaml:5:", "2026-03-01"]);
    is_refused(&with_window("{start: 2026-03-05T00:00:00Z, end: 2026-03-05T00:00:00Z}"), &["spec.yaml:5:"]);
    is_refused(&with_window("{}"), &["spec.yaml:5:1", "`window`"]);
}

#[test]
fn more_partitions_than_the_limit_are_refused_with_the_number_and_the_limit() {
    let window = "{date_from: 0001-01-01, date_to: 9998-12-31, allow_open: true}\npartition: {by: hour}";
    let started = project(&with_window(window));
    started.run(&["--output", "out"]).exits(2).says(&["87640656", "100000", "hour"]);
    assert!(!started.path("out").exists());
}

#[test]
fn columns_that_the_source_does_not_have_are_told_with_the_nearest_one() {
    is_refused(&spec("filters: {statsu: blocked}"), &["spec.yaml:6:11", "`statsu`", "`status`"]);
    is_refused(&spec("columns: [event_id, {nota: x}]"), &["spec.yaml:6:22", "`nota`", "`note`"]);
    is_refused(&spec("where: \"nn > 1\""), &["spec.yaml:6:", "`nn`", "`n`"]);
    is_refused(&spec("time: {column: ocurred_at}"), &["spec.yaml:6:16", "`ocurred_at`", "`occurred_at`"]);
    is_refused(&spec("time: {column: n}"), &["spec.yaml:6:16", "`n`"]);
}

#[test]
fn conditions_that_do_not_fit_their_column_are_refused() {
    is_refused(&spec("filters: {n: {gte: many}}"), &["spec.yaml:6:", "`n`", "many"]);
    is_refused(&spec("filters: {n: {contains: x}}"), &["spec.yaml:6:", "`n`"]);
    is_refused(&spec("filters: {status: []}"), &["spec.yaml:6:"]);
    is_refused(&spec("filters: {status: {like: x}}"), &["spec.yaml:6:20", "`like`"]);
    is_refused(&spec("filters: {status: {matches: \"(\"}}"), &["spec.yaml:6:"]);
    is_refused(&spec("where: \"n >\""), &["spec.yaml:6:"]);
    is_refused(&spec("where: \"note > 5 AND\""), &["spec.yaml:6:"]);
}

#[test]
fn sql_that_reads_is_refused() {
    for sql in [
        "n IN (SELECT n FROM read_csv('/etc/passwd'))",
        "EXISTS (SELECT 1)",
        "note = read_text('/etc/passwd')",
        "count(*) > 1",
        "n > 1; DROP TABLE x",
        "row_number() OVER () = 1",
    ] {
        is_refused(&spec(&format!("where: \"{sql}\"")), &["spec.yaml:6:"]);
    }
}

#[test]
fn a_type_that_no_catalog_has_is_refused() {
    is_refused(&format!("version: 1\nname: test\ntype: evnts\n{WINDOW}\n"), &["spec.yaml:3:7", "`evnts`"]);
    is_refused(&format!("version: 1\nname: test\ntype: events\ncatalog: nowhere.yaml\n{WINDOW}\n"), &["nowhere.yaml"]);
}

#[test]
fn a_source_that_matches_no_file_is_refused() {
    for uri in ["nowhere/", "data/*.parquet", "data/2027.ndjson"] {
        let project = project(&spec("").replace("data/}", &format!("{uri}}}")));
        let outcome = project.run(&["--output", "out"]).exits(2);
        assert!(outcome.stderr.contains(uri.trim_end_matches('/')), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("spec.yaml:4:"), "{}", outcome.stderr);
        assert!(!project.path("out").exists());
    }
    is_refused(&spec("").replace("data/", "ftp://lake/events/"), &["spec.yaml:4:", "`ftp://` is not supported"]);
    let folder = "http://127.0.0.1/events/";
    is_refused(&spec("").replace("data/", folder), &["spec.yaml:4:", "lists no folders; name one file"]);
}

#[test]
fn no_output_path_leaves_its_folder() {
    for uri in
        ["../up/", "a/../../b/", "a//b/", "a/%2e%2e/b/", "\"a/{{ vars.x }}/b/\"", "\"a\\0b\"", "\"{{ vars.abs }}/b\""]
    {
        let rest = format!("output: {{uri: {uri}}}\nvars: {{x: {{default: \"..\"}}, abs: {{default: /etc}}}}");
        is_refused(&spec(&rest), &["spec.yaml:6:"]);
    }
}

#[test]
fn an_output_below_a_link_is_not_written_through() {
    let project = project(&spec("output: {uri: package}"));
    project.write("elsewhere/precious.txt", "x");
    std::fs::create_dir(project.path("package")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(project.path("elsewhere"), project.path("package/data")).unwrap();
        project.run(&[]).exits(4).says(&["package"]);
        assert_eq!(std::fs::read_dir(project.path("elsewhere")).unwrap().count(), 1);
    }
}

#[test]
fn hostile_yaml_and_templates_end_soon() {
    let bomb =
        (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| format!("{text}a{i}: &a{i} [*a{j}, *a{j}]\n", j = i - 1));
    is_refused(&spec(&bomb), &["spec.yaml:"]);
    is_refused(&spec(&format!("labels: {}{}", "[".repeat(10_000), "]".repeat(10_000))), &["spec.yaml:"]);
    is_refused(&spec("name: twice"), &["spec.yaml:6:1", "`name`"]);
    is_refused(&spec("description: !!python/object x"), &["spec.yaml:6:"]);
    is_refused(&spec("window: {allow_open: yes}"), &["spec.yaml:6:"]);
    for template in [
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{{ nothing }}",
        "{{ name | shell }}",
        "{{ 'x' * 100000000 }}",
        "{{ name",
    ] {
        is_refused(&spec(&format!("output: {{uri: \"{template}\"}}")), &["spec.yaml:6:"]);
    }
}

#[test]
fn five_mistakes_are_told_at_once() {
    let mistakes = "version: 1\nname: Bad Name\ntype: events\nsource: {uri: data/, fromat: csv}\n\
        window: {month: 2026-13}\npartition: {by: dya}\norder: random\n";
    let project = project(mistakes);
    let outcome = project.run(&["--json"]).exits(2);
    let places = ["spec.yaml:2:7", "spec.yaml:4:22", "spec.yaml:5:17", "spec.yaml:6:17", "spec.yaml:7:8"];
    let outcome = outcome.says(&places);
    assert_eq!(outcome.stderr.matches("error: ").count(), 5, "{}", outcome.stderr);
    assert_eq!(outcome.json()["specs"][0]["diagnostics"].as_array().unwrap().len(), 5);
    assert!(!project.path("exports").exists());
}

#[test]
fn all_mistakes_that_the_source_shows_are_told_at_once() {
    let project =
        project(&spec("columns: [nothing]\nfilters: {nowhere: 1}\nwhere: \"never = 1\"\ntime: {column: when}"));
    let outcome = project.run(&[]).exits(2).says(&["`nothing`", "`nowhere`", "`never`", "`when`"]);
    assert_eq!(outcome.stderr.matches("error: ").count(), 4, "{}", outcome.stderr);
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let project = project(&spec("columns: [\"a\\e[31mred\\u202e\"]"));
    let outcome = project.run(&[]).exits(2);
    assert!(!outcome.stderr.contains(['\u{1b}', '\u{202e}']), "{:?}", outcome.stderr);
    let broken = Project::with_spec(&format!("type: events\n{SOURCE}\n{WINDOW}"));
    broken.write("data/\u{1b}[31m.ndjson", "\u{1b}[2J not JSON\n");
    let outcome = broken.run(&[]).exits(4);
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
}

#[test]
fn a_window_that_is_not_over_is_tried_again_later() {
    let project = project(&spec("output: {uri: package}").replace("2026-03-03}", "2026-03-03, settle: 6h}"));
    for now in ["2026-03-03T23:59:59Z", "2026-03-04T05:59:59Z"] {
        let outcome =
            project.call(&["run", "spec.yaml", "--now", now, "--json"]).exits(6).says(&["2026-03-04T06:00:00Z"]);
        assert_eq!(outcome.json()["exit_code"], 6);
        assert!(!project.path("package").exists());
    }
    project.call(&["run", "spec.yaml", "--now", "2026-03-04T06:00:00Z"]).exits(0);
    let open = self::project(&spec("output: {uri: package}").replace("2026-03-03}", "2026-03-03, allow_open: true}"));
    open.call(&["run", "spec.yaml", "--now", "2026-03-02T00:00:00Z"]).exits(0);
}

#[test]
fn a_command_line_that_is_wrong_is_exit_2() {
    let project = project(&spec(""));
    for args in [
        &["run"][..],
        &["run", "spec.yaml", "--threads", "0"],
        &["run", "spec.yaml", "--now", "yesterday"],
        &["run", "spec.yaml", "--var", "novalue"],
        &["run", "spec.yaml", "--var", "undeclared=1"],
        &["run", "nowhere.yaml"],
        &["export"],
        &["explain", "no_such_code"],
    ] {
        let outcome = project.call(args).exits(2);
        assert!(!outcome.stderr.is_empty(), "{args:?}");
    }
}

/// One file of three days: two rows a day, then what the test adds.
fn with_rows(rest: &str, added: &str) -> Project {
    let project =
        Project::with_spec(&format!("type: events\nsource: {{uri: x.ndjson}}\n{WINDOW}\nformat: ndjson\n{rest}"));
    let text: String = daily_files(3, 2).into_iter().map(|(_, text)| text).collect();
    project.write("x.ndjson", format!("{text}{added}"));
    project
}

fn rejects(package: &Package) -> Vec<Value> {
    let entries = package.manifest()["rejects"].as_array().cloned().unwrap_or_default();
    let lines = entries.iter().map(|entry| {
        let text = String::from_utf8(package.plain(entry["path"].as_str().unwrap())).unwrap();
        assert_eq!(text.lines().count() as u64, entry["rows"].as_u64().unwrap());
        text
    });
    lines.flat_map(|t| t.lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<Value>>()).collect()
}

const WITHOUT_TIME: &str = "{\"event_id\":\"none\",\"occurred_at\":null}\n{\"event_id\":\"missing\"}\n";
const UNREADABLE: &str = "this is no JSON\n[1, 2]\n{\"event_id\":\"late\",\"occurred_at\":\"yesterday\"}\n";

#[test]
fn a_row_without_a_time_fails_the_partitions_that_it_may_belong_to() {
    let project = with_rows("", WITHOUT_TIME);
    project.run(&[]).exits(4).says(&["null_time", "x.ndjson:7", "on_null_time: reject"]);
    let package = project.package();
    assert!(package.statuses().iter().all(|(_, status, _)| status == "failed"), "{:?}", package.statuses());
    assert_eq!(package.file("2026-03-02")["error_code"], "null_time");
    assert!(rejects(&package).is_empty());
    project.call(&["verify", "package"]).exits(0);
}

#[test]
fn rows_without_a_time_are_set_aside_where_the_spec_allows_it() {
    let project = with_rows("on_null_time: reject", WITHOUT_TIME);
    project.run(&[]).exits(3);
    let package = project.package();
    package.balances();
    let accounting = package.manifest()["accounting"].clone();
    assert_eq!(
        (&accounting["null_time"], &accounting["rejected"], &accounting["written"]),
        (&json!(2), &json!(0), &json!(6))
    );
    assert!(
        package.statuses().iter().all(|(_, status, rows)| status == "partial" && *rows == 2),
        "{:?}",
        package.statuses()
    );
    assert_eq!(package.manifest()["partial_count"], 3);
    assert_eq!(package.file("2026-03-01")["error_code"], "rows_rejected");
    let rejects = rejects(&package);
    assert_eq!(rejects.iter().map(|r| r["position"].clone()).collect::<Vec<_>>(), [7, 8]);
    assert!(rejects.iter().all(|r| r["file"] == "x.ndjson" && r["error"].as_str().unwrap().contains("occurred_at")));
    assert_eq!(rejects[0]["row"]["event_id"], "none");
    project.call(&["verify", "--rows", "package"]).exits(0);
}

#[test]
fn an_unreadable_row_fails_the_partitions_that_it_may_belong_to() {
    let project = with_rows("on_null_time: reject", UNREADABLE);
    project.run(&[]).exits(4).says(&["bad_rows", "x.ndjson:7", "on_bad_rows: reject"]);
    let package = project.package();
    assert!(package.statuses().iter().all(|(_, status, _)| status == "failed"));
    assert_eq!(package.file("2026-03-02")["error_code"], "bad_rows");
}

#[test]
fn unreadable_rows_are_set_aside_where_the_spec_allows_it() {
    let project = with_rows("on_bad_rows: reject", UNREADABLE);
    project.run(&[]).exits(3);
    let package = project.package();
    package.balances();
    let accounting = package.manifest()["accounting"].clone();
    assert_eq!(
        (&accounting["rejected"], &accounting["null_time"], &accounting["source_rows"]),
        (&json!(3), &json!(0), &json!(9))
    );
    let mut rejects = rejects(&package);
    rejects.sort_by_key(|r| r["position"].as_u64());
    assert_eq!(rejects.iter().map(|r| r["position"].clone()).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!((&rejects[0]["raw"], &rejects[1]["raw"]), (&json!("this is no JSON"), &json!("[1, 2]")));
    assert_eq!(rejects[2]["row"]["event_id"], "late");
    assert!(rejects.iter().all(|r| !r["error"].as_str().unwrap().is_empty()));
    assert_eq!(column(&package.rows(), "event_id").len(), 6);
    project.call(&["verify", "--rows", "package"]).exits(0);
    let before = package.evidence();
    project.run(&[]).exits(3);
    assert!(package.evidence() == before, "nothing became better, so nothing changes");
}

#[test]
fn rejected_rows_concern_only_the_file_that_they_are_in() {
    let project = Project::with_spec(&format!("type: events\n{SOURCE}\n{WINDOW}\non_bad_rows: reject"));
    for (name, text) in daily_files(3, 10) {
        let broken = if name.contains("03-02") { "nonsense\n" } else { "" };
        project.write(&name, format!("{text}{broken}"));
    }
    project.run(&[]).exits(3);
    let package = project.package();
    let statuses: Vec<_> = package.statuses().into_iter().map(|(_, status, _)| status).collect();
    assert_eq!(statuses, ["complete", "partial", "complete"]);
    // Mended, the job becomes complete, and the rejects are gone.
    let text = std::fs::read_to_string(project.path("data/2026-03-02.ndjson")).unwrap();
    project.write("data/2026-03-02.ndjson", text.replace("nonsense\n", ""));
    let package = project.complete();
    assert_eq!(package.manifest()["accounting"]["rejected"], 0);
    assert!(!package.root.join("rejects").exists());
}

#[test]
fn a_csv_record_with_too_many_fields_is_a_bad_row() {
    for (rest, rows) in [("", 0), ("on_bad_rows: reject", 2)] {
        let project = Project::with_spec(&format!("type: events\nsource: {{uri: x.csv}}\n{WINDOW}\n{rest}"));
        project.write(
            "x.csv",
            "event_id,occurred_at\na,2026-03-01T00:00:00Z\nb,2026-03-01T00:00:00Z,extra\nc,2026-03-01T01:00:00Z\n",
        );
        project.run(&[]).exits(3).says(&["x.csv:3"]);
        let package = project.package();
        assert_eq!(package.manifest()["total_rows"], rows);
    }
}

#[test]
fn a_text_source_cut_anywhere_is_never_exported_short_in_silence() {
    let rows: String = (0..6)
        .map(|i| format!("{{\"event_id\":\"e{i}\",\"occurred_at\":\"2026-03-01T0{i}:00:00Z\",\"t\":\"a\\nb\"}}\n"))
        .collect();
    let array = format!("[{}]", rows.trim_end().replace('\n', ","));
    let whole = crate::project::gzip(rows.as_bytes());
    let cases: [(&str, &[u8]); 2] = [("x.json", array.as_bytes()), ("x.ndjson.gz", &whole)];
    for (name, bytes) in cases {
        let project =
            Project::with_spec(&format!("type: events\nsource: {{uri: {name}}}\nwindow: {{date: 2026-03-01}}"));
        for cut in (0..bytes.len()).step_by(bytes.len() / 12) {
            project.write(name, &bytes[..cut]);
            let _ = std::fs::remove_dir_all(project.path("package"));
            let outcome = project.run(&[]);
            if cut == 0 && outcome.code == Some(0) {
                assert_eq!(project.package().manifest()["total_rows"], 0, "an empty file has no rows");
                continue;
            }
            assert_eq!(outcome.code, Some(4), "{name} cut at {cut}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(name), "{}", outcome.stderr);
        }
    }
}

#[test]
fn memory_that_is_too_little_is_told_with_what_would_do() {
    let project = project(&spec(""));
    project.call(&["run", "spec.yaml", "--memory", "1MB"]).exits(2).says(&["--memory", "1MB", "the minimum is 96MiB"]);
    project.call(&["run", "spec.yaml", "--memory", "much"]).exits(2).says(&["write a size such as `512MiB`"]);

    // One row group of some 60 MB.
    let texts: Vec<String> = (0..6_000).map(|i| format!("{i:010000}")).collect();
    let times = arrow::array::TimestampSecondArray::from(vec![1_772_323_200; 6_000]).with_timezone("UTC");
    let rows = arrow::record_batch::RecordBatch::try_from_iter([
        ("occurred_at", Arc::new(times) as arrow::array::ArrayRef),
        ("text", Arc::new(arrow::array::StringArray::from(texts))),
    ])
    .unwrap();
    let properties = parquet::file::properties::WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let large = Project::with_spec(&format!("type: events\nsource: {{uri: x.parquet}}\n{WINDOW}\nformat: csv"));
    large.write("x.parquet", bytes);
    large.run(&["--memory", "128MiB", "--output", "out"]).exits(2).says(&[
        "x.parquet: row group 0 takes 57.3 MiB, too much for 128.0 MiB of memory",
        "give `--memory 163.0 MiB` or more, or write the file again with smaller row groups",
    ]);
    assert!(!large.path("out").exists());
    large.run(&["--memory", "163MiB", "--output", "out"]).exits(0);
}
