//! Objects whose keys are data, keys that nothing exports, and settings that nothing heeds.

use std::fmt::Write;

use crate::project::{Project, column};

fn project(source: &str, rest: &str) -> Project {
    Project::with_spec(&format!(
        "type: rows\nsource: {source}\npartition: {{by: none}}\nformat: ndjson\n\
         window: {{start: 2026-03-01T00:00:00Z, end: 2026-04-01T00:00:00Z}}\n{rest}"
    ))
}

/// Rows with a key of their own, at the top or in `labels`.
fn keyed(rows: usize, nested: bool) -> String {
    let mut text = String::new();
    for i in 0..rows {
        let key = if nested { format!("\"labels\":{{\"u{i}\":\"v\"}}") } else { format!("\"u{i}\":\"v\"") };
        let _ = writeln!(text, "{{\"ts\":\"2026-03-05T10:00:00Z\",\"id\":{i},{key}}}");
    }
    text
}

const TIME: &str = "time: {column: ts}";

#[test]
fn nested_keys_that_are_data_are_refused_until_they_are_declared() {
    for rows in [65, 1000, 1500] {
        let refused = project("{uri: data/}", TIME);
        refused.write("data/a.ndjson", keyed(rows, true));
        refused.run(&[]).exits(2).says(&[
            "spec.yaml:",
            "column `labels`",
            "different keys",
            "`schema: {labels: json}`",
        ]);
        assert!(!refused.path("package").exists());
    }
    for rows in [3, 65, 1500] {
        let declared = project("{uri: data/}", &format!("{TIME}\nschema: {{labels: json}}"));
        let text = keyed(rows, true);
        declared.write("data/a.ndjson", &text);
        let package = declared.complete();
        assert_eq!(package.manifest()["columns"][2]["type"], "json");
        let exported = package.text("all");
        assert!(exported.len() < 2 * text.len(), "{} bytes make {}", text.len(), exported.len());
        assert!(exported.contains("\"labels\":{\"u1\":\"v\"}"), "{}", exported.lines().next().unwrap());
    }
}

#[test]
fn columns_that_are_data_are_refused_until_some_are_selected() {
    let project = |rest: &str| {
        let project = project("{uri: data/}", &format!("{TIME}\n{rest}"));
        project.write("data/a.ndjson", keyed(6000, false));
        project
    };
    let said = ["spec.yaml:", "the rows have 6002 different keys, of which one object has 3", "`columns: [ts, …]`"];
    project("").run(&["--memory", "128MiB"]).exits(2).says(&said);
    let selected = project("columns: [ts, id, u7]");
    selected.run(&["--memory", "128MiB"]).exits(0);
    let rows = selected.package().rows();
    assert_eq!(rows.len(), 6000);
    assert_eq!(column(&rows, "u7").iter().filter(|value| *value == "v").count(), 1);
}

#[test]
fn wide_tables_whose_rows_have_their_columns_are_exported() {
    let project = project("{uri: data/}", TIME);
    let mut text = String::new();
    for i in 0..40 {
        let cells: String = (0..2000).map(|c| format!(",\"c{c}\":{}", c * i)).collect();
        let _ = writeln!(text, "{{\"ts\":\"2026-03-05T10:00:00Z\"{cells}}}");
    }
    project.write("data/a.ndjson", text);
    assert_eq!(project.complete().rows().len(), 40);
}

#[test]
fn keys_around_the_rows_are_told_by_plan_and_manifest() {
    let project = project("{uri: data/, records: logs.events}", TIME);
    let event = "{\"ts\":\"2026-03-05T10:00:00Z\",\"n\":1}";
    project.write("data/a.json", format!("{{\"logGroup\":\"g\",\"logs\":{{\"events\":[{event}],\"next\":null}}}}"));
    project.write("data/b.json", format!("{{\"logs\":{{\"events\":[{event},{event}]}},\"owner\":[1]}}"));
    let plan = project.call(&["plan", "spec.yaml", "--now", "2026-05-01T00:00:00Z"]).exits(0).stdout;
    assert!(plan.contains("Keys around the rows, not exported"), "{plan}");
    let manifest = project.complete().manifest();
    assert_eq!(manifest["source"]["unexported_keys"], serde_json::json!(["logGroup", "logs.next", "owner"]));
}

#[test]
fn settings_without_effect_are_refused_where_they_stand() {
    let refused = |source: &str, rest: &str, texts: &[&str]| {
        let project = project(source, rest);
        project.write("data/a.ndjson", "{\"ts\":\"2026-03-05T10:00:00Z\",\"n\":1}\n");
        project.run(&[]).exits(2).says(&["spec.yaml:"]).says(texts);
        assert!(!project.path("package").exists());
    };
    let plain = "{uri: data/}";
    refused("{uri: data/, hive_partitioning: true}", TIME, &["`hive_partitioning: true` has no effect", "key=value"]);
    refused(
        "{uri: data/, options: {region: eu}}",
        TIME,
        &["spec.yaml:5:22", "`options` has no effect", "not in an object store"],
    );
    refused(
        plain,
        "time: {column: n, format: epoch_s, timezone: Europe/Berlin}",
        &["spec.yaml:9:46", "`timezone` has no effect: a number in `epoch_s` is an instant"],
    );
    refused(
        plain,
        "time: {column: ts, format: \"%Y-%m-%dT%H:%M:%S%z\", timezone: UTC}",
        &["`timezone` has no effect", "says its own offset"],
    );
    refused(
        plain,
        "time: {column: ts, format: \"%Y-%m-%d\", timezone: UTC}",
        &["`timezone` has no effect", "day of the window's `timezone`"],
    );
    refused(
        plain,
        "time: {column: ts, timezone: UTC}\nschema: {ts: timestamp}",
        &["`timezone` has no effect", "holds instants"],
    );
    refused(
        plain,
        "time: {column: ts, format: epoch_s}\nschema: {ts: timestamp}",
        &["spec.yaml:9:16", "`format: epoch_s` has no effect", "declares `ts` as timestamp"],
    );
    let open = Project::with_spec(&format!(
        "type: rows\nsource: {plain}\n{TIME}\nwindow: {{month: 2026-03, settle: 6h, allow_open: true}}"
    ));
    open.run(&[]).exits(2).says(&["spec.yaml:7:34", "`settle` has no effect beside `allow_open: true`"]);
}

#[test]
fn a_date_alone_lies_in_the_window_of_its_calendar_day() {
    for (name, text, time) in [
        ("data/a.csv", "day,id\n2026-03-01,1\n2026-03-02,2\n2026-03-03,3\n", "time: {column: day}"),
        (
            "data/a.csv",
            "day,id\n01.03.2026,1\n02.03.2026,2\n03.03.2026,3\n",
            "time: {column: day, format: \"%d.%m.%Y\"}",
        ),
        ("data/a.csv", "day,id\n20260301,1\n20260302,2\n20260303,3\n", "time: {column: day, format: \"%Y%m%d\"}"),
        (
            "data/a.ndjson",
            "{\"day\":\"2026-03-01\",\"id\":1}\n{\"day\":\"2026-03-02\",\"id\":2}\n{\"day\":\"2026-03-03\",\"id\":3}\n",
            "time: {column: day}\nschema: {day: date}",
        ),
    ] {
        for zone in ["America/New_York", "Asia/Tokyo", "UTC"] {
            let project = Project::with_spec(&format!(
                "type: rows\nsource: {{uri: data/}}\nformat: csv\nwindow: {{date_from: 2026-03-02, date_to: 2026-03-03, timezone: {zone}}}\n{time}"
            ));
            project.write(name, text);
            let partitions = project.complete().by_partition();
            let ids: Vec<_> = partitions.iter().map(|(label, rows)| (label.as_str(), column(rows, "id"))).collect();
            let expected = [("2026-03-02", vec!["2".to_owned()]), ("2026-03-03", vec!["3".to_owned()])];
            assert_eq!(ids, expected, "{zone} {time}");
        }
    }
}

#[test]
fn dates_in_the_names_of_folders_and_files_are_days_of_the_window_too() {
    for zone in ["America/New_York", "Asia/Tokyo"] {
        let window = format!("window: {{date_from: 2026-03-02, date_to: 2026-03-02, timezone: {zone}}}\nformat: csv");
        let folders =
            Project::with_spec(&format!("type: rows\nsource: {{uri: data/}}\ntime: {{column: day}}\n{window}"));
        let files = Project::with_spec(&format!(
            "type: rows\nsource: {{uri: data/, path_time: {{pattern: \"%Y-%m-%d.csv\", covers: day}}}}\ntime: {{column: day}}\n{window}"
        ));
        for day in 1..=4 {
            folders.write(&format!("data/day=2026-03-{day:02}/a.csv"), format!("id\n{day}\n"));
            files.write(&format!("data/2026-03-{day:02}.csv"), format!("day,id\n2026-03-{day:02},{day}\n"));
        }
        assert_eq!(column(&folders.complete().rows(), "id"), ["2"], "{zone}");
        assert_eq!(column(&files.complete().rows(), "id"), ["2"], "{zone}");
    }
}

#[test]
fn an_id_or_a_field_of_the_spec_that_no_column_has_is_refused() {
    let row = "{\"ts\":\"2026-03-05T10:00:00Z\",\"n\":1}\n";
    let refused = |rest: &str, texts: &[&str]| {
        let project = project("{uri: data/}", &format!("{TIME}\n{rest}"));
        project.write("data/a.ndjson", row);
        for command in ["run", "plan", "doctor"] {
            project.call(&[command, "spec.yaml"]).exits(2).says(texts);
        }
        assert!(!project.path("package").exists());
    };
    refused("id: nn", &["spec.yaml:10:5", "id column `nn` is not in the source", "did you mean `n`?"]);
    refused("fields: {who: user}", &["spec.yaml:10:15", "field `user` is not in the source", "the source has"]);
    // A filter is checked where it stands.
    refused("fields: {who: user}\nfilters: {who: [ann]}", &["spec.yaml:11:11", "the source has no column `user`"]);

    for rest in ["id: n", "fields: {number: n}", "fields: {number: n}\nfilters: {number: 1}"] {
        let project = project("{uri: data/}", &format!("{TIME}\n{rest}"));
        project.write("data/a.ndjson", row);
        project.complete();
    }

    // An entry of a catalog describes a type of which some sources lack columns: what the spec uses has to be there.
    let shared = |rest: &str| {
        let project = Project::with_spec(&format!("type: rows\nwindow: {{date: 2026-03-05}}\nformat: ndjson\n{rest}"));
        project.write(
            "catalog.yaml",
            "version: 1\ntypes:\n  rows:\n    source: {uri: data/}\n    time: {column: ts}\n    id: id\n    \
             fields: {who: user, number: n}\n",
        );
        project.write("data/a.ndjson", row);
        project
    };
    shared("").complete();
    shared("filters: {number: 1}").complete();
    shared("order: time").run(&[]).exits(2).says(&["catalog.yaml:6:9", "id column `id` is not in the source"]);
    shared("filters: {who: [ann]}").run(&[]).exits(2).says(&["spec.yaml:7:", "`user`"]);
}
