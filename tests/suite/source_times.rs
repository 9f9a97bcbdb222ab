//! Times as logs write them: several formats, zone abbreviations, and what is said when none fits.

use serde_json::json;

use crate::project::{Project, column};

fn spec(time: &str) -> String {
    format!(
        "type: events\nsource: {{uri: x.ndjson}}\ntime: {{column: t, {time}}}\nwindow: {{date: 2026-03-05}}\nformat: ndjson"
    )
}

fn row(time: &str) -> String {
    format!("{{\"t\":{time}}}\n")
}

#[test]
fn each_value_is_read_in_the_first_format_that_fits() {
    let project = Project::with_spec(&spec("format: [\"%d/%b/%Y:%H:%M:%S %z\", auto, epoch_s]"));
    let times = [
        "\"05/Mar/2026:10:00:00 +0000\"",
        "\"2026-03-05 11:00:00 UTC\"",
        "\"2026-03-05 23:00:00 -0500\"",
        "\"2026-03-05 12:00:00.5 +03\"",
        "1772712000",
        "1772712000.25",
    ];
    project.write("x.ndjson", times.map(row).concat());
    let package = project.complete();
    let exported: Vec<_> = package.rows().iter().map(|row| row["t"].clone()).collect();
    assert_eq!(
        json!(exported),
        json!([
            "05/Mar/2026:10:00:00 +0000",
            "2026-03-05 11:00:00 UTC",
            "2026-03-05 12:00:00.5 +03",
            1_772_712_000,
            1_772_712_000.25
        ])
    );
    assert_eq!(
        package.manifest()["spec"]["resolved"]["time"]["format"],
        json!(["%d/%b/%Y:%H:%M:%S %z", "auto", "epoch_s"])
    );
}

#[test]
fn zone_abbreviations_are_those_of_the_spec() {
    let time = "format: \"%a %b %d %H:%M:%S %Z %Y\", zones: {CET: \"+01:00\", PST: \"-08\"}";
    let project = Project::with_spec(&spec(time));
    let times =
        ["\"Thu Mar 05 00:30:00 CET 2026\"", "\"Thu Mar 05 15:59:59 PST 2026\"", "\"Thu Mar 05 16:00:00 PST 2026\""];
    project.write("x.ndjson", times.map(row).concat());
    let package = project.complete();
    assert_eq!(json!(package.rows()), json!([{"t": "Thu Mar 05 15:59:59 PST 2026"}]));
    assert_eq!(package.manifest()["spec"]["resolved"]["time"]["zones"], json!({"CET": "+0100", "PST": "-0800"}));

    project.write("x.ndjson", row("\"Thu Mar 05 00:30:00 EST 2026\""));
    project.call(&["run", "spec.yaml", "--output", "other"]).exits(4).says(&[
        "x.ndjson:1: `Thu Mar 05 00:30:00 EST 2026` is not a time: no zone of `time.zones` is in it: CET, PST",
    ]);
}

#[test]
fn a_value_that_no_format_fits_is_shown_with_one_that_does() {
    for (time, value, message) in [
        (
            "format: auto",
            "\"05/Mar/2026:10:00:00 +0000\"",
            "`05/Mar/2026:10:00:00 +0000` is not a time: expected RFC 3339, such as 2026-03-01T12:30:00Z; \
             `time.format: \"%d/%b/%Y:%H:%M:%S %z\"` fits it",
        ),
        ("format: auto", "\"1772712000\"", "`time.format: epoch_s` fits it"),
        (
            "format: [auto, \"%Y%m%d\"]",
            "\"05/03/2026\"",
            "`time.format: \"%d/%m/%Y\"` or `time.format: \"%m/%d/%Y\"` fits it",
        ),
        (
            "format: auto",
            "\"2026-03-05 10:00:00 CET\"",
            "`time.format: \"%Y-%m-%d %H:%M:%S %Z\"` fits it, with `time.zones: {CET: \"…\"}` for the offset of CET",
        ),
    ] {
        let project = Project::with_spec(&spec(time));
        project.write("x.ndjson", [row("\"2026-03-05T10:00:00Z\""), row(value)].concat());
        project.run(&[]).exits(4).says(&[message]);
    }
}

#[test]
fn a_wrong_time_is_told_where_it_stands() {
    for (time, message, help) in [
        ("format: []", "`format` names no format", "remove it, or name one"),
        ("format: [auto, auto]", "`format` names this format twice", "remove one of them"),
        ("format: [auto, epoch_m]", "`epoch_m` is not a time format", "did you mean `epoch_s`?"),
        (
            "format: \"%F %T %Z\"",
            "`%F %T %Z` has a zone abbreviation, `%Z`, and none is guessed",
            "add `zones: {CET: \"+01:00\"}` with the offset of each",
        ),
        (
            "format: \"%F %T\", zones: {CET: \"+01:00\"}",
            "`zones` has no effect: no pattern in `format` has `%Z`",
            "remove it, or write `%Z` where the abbreviation stands",
        ),
        ("zones: {CET: \"+01:00\"}", "`zones` has no effect: no pattern in `format` has `%Z`", "remove it"),
        (
            "format: \"%F %T %Z\", zones: {}",
            "`zones` names no abbreviation",
            "write `{CET: \"+01:00\", CEST: \"+02:00\"}`, or remove it",
        ),
        ("format: \"%F %T %Z\", zones: {C1: \"+01:00\"}", "`C1` is not a zone abbreviation", "write letters"),
        (
            "format: \"%F %T %Z\", zones: {CET: Europe/Berlin}",
            "`Europe/Berlin` is not an offset",
            "write hours and minutes east of UTC: \"+01:00\"",
        ),
        (
            "format: \"%F %T %Z\", zones: {CET: \"+01:00\"}, timezone: Europe/Berlin",
            "`timezone` has no effect: a time in the pattern `%F %T %Z` says its own offset",
            "remove it",
        ),
    ] {
        let project = Project::with_spec(&spec(time));
        let outcome = project.call(&["validate", "spec.yaml"]).exits(2).says(&[message]);
        assert!(outcome.stderr.contains(help), "{time}: {}", outcome.stderr);
    }
}

/// A spec whose time is in several columns.
fn joined(source: &str, time: &str) -> String {
    format!("type: events\nsource: {source}\ntime: {time}\nwindow: {{date: 2026-03-05}}\nformat: ndjson")
}

#[test]
fn a_time_in_several_columns_is_their_values_joined_by_a_space() {
    let csv = "{uri: in/, format: csv, csv: {delimiter: \"\\t\", header: {line_prefix: \"#Fields:\"}, comment: \"#\"}}";
    let project = Project::with_spec(&joined(csv, "{columns: [date, time]}"));
    let log = "#Version: 1.0\n#Fields: date time status\n2026-03-05\t01:58:45\t301\n2026-03-05\t23:59:59\t200\n\
               2026-03-06\t00:00:00\t200\n";
    project.write("in/E123.2026-03-05-01.a1b2", log);
    let package = project.complete();
    assert_eq!(
        json!(package.rows()),
        json!([
            {"date": "2026-03-05", "time": "01:58:45", "status": 301},
            {"date": "2026-03-05", "time": "23:59:59", "status": 200},
        ])
    );
    let manifest = package.manifest();
    assert_eq!(manifest["spec"]["resolved"]["time"]["columns"], json!(["date", "time"]));
    assert_eq!(manifest["spec"]["resolved"]["time"].get("column"), None);
    assert_eq!(manifest["accounting"]["outside_window"], 1);
    project.call(&["verify", "--rows", "package"]).exits(0);
    project.call(&["reproduce", "package"]).exits(0);
    let report = project.call(&["report", "package", "--format", "markdown"]).exits(0).stdout;
    assert!(report.contains("its “date” and “time”"), "{report}");
    project.call(&["doctor", "spec.yaml", "--full"]).exits(0).says(&["time is `date + time`"]);
}

#[test]
fn parts_of_a_time_are_columns_paths_and_folders() {
    let time = "{columns: [day, at.clock, at.zone], format: \"%Y-%m-%d %H:%M %z\"}\nid: n\norder: time\ncolumns: [n]";
    let project = Project::with_spec(&joined("{uri: in/}", time));
    let row = |n: u32, clock: &str, zone: &str| {
        format!("{{\"n\": {n}, \"at\": {{\"clock\": \"{clock}\", \"zone\": \"{zone}\"}}}}\n")
    };
    let rows = [row(1, "20:00", "+0000"), row(2, "00:30", "+0100"), row(3, "10:00", "+0000")];
    project.write("in/day=2026-03-05/a.ndjson", rows.concat());
    project.write("in/day=2026-03-06/a.ndjson", [row(4, "00:30", "+0100"), row(5, "00:30", "+0000")].concat());
    assert_eq!(json!(project.complete().rows()), json!([{"n": 3}, {"n": 1}, {"n": 4}]));
}

#[test]
fn a_row_without_a_part_of_its_time_has_no_time() {
    let project = Project::with_spec(&(joined("{uri: x.csv}", "{columns: [date, time]}") + "\non_null_time: reject"));
    project.write("x.csv", "date,time\n2026-03-05,10:00:00\n2026-03-05,\n,10:00:00\n2026-03-05,25:00:00\n");
    project.run(&[]).exits(4).says(&["x.csv:5: `2026-03-05 25:00:00` is not a time"]);
    project.write("x.csv", "date,time\n2026-03-05,10:00:00\n2026-03-05,\n,10:00:00\n");
    project.call(&["run", "spec.yaml", "--output", "other"]).exits(3);
    let manifest = project.package_in("other/package").manifest();
    assert_eq!((&manifest["total_rows"], &manifest["accounting"]["null_time"]), (&json!(1), &json!(2)));
}

#[test]
fn mistakes_in_the_columns_of_a_time_are_told_where_they_stand() {
    let refused = |time: &str, texts: &[&str]| {
        let project = Project::with_spec(&joined("{uri: x.ndjson}", time));
        project.write("x.ndjson", "{\"date\": \"2026-03-05\", \"time\": \"10:00:00\", \"at\": {\"zone\": 1}}\n");
        drop(project.run(&[]).exits(2).says(texts));
    };
    refused(
        "{columns: [date, time], column: date}",
        &["spec.yaml:6:8", "`columns` and `column` exclude each other", "`columns` for one in several"],
    );
    refused(
        "{columns: [date]}",
        &["spec.yaml:6:8", "a list in `columns` must name at least two columns", "write `column: occurred_at`"],
    );
    refused("{columns: date}", &["spec.yaml:6:17", "`columns` must be a list"]);
    refused("{columns: [date, date]}", &["spec.yaml:6:24", "`columns` names `date` twice", "remove one of them"]);
    refused(
        "{columns: [date, time], format: [auto, epoch_s]}",
        &["spec.yaml:6:24", "no time in several columns is `epoch_s`", "name the one column that holds the number"],
    );
    refused(
        "{columns: [date, tim]}",
        &["spec.yaml:6:24", "time column `tim` is not in the source", "did you mean `time`?"],
    );
    refused(
        "{columns: [date, at]}",
        &["spec.yaml:6:24", "`at` has values inside, so it is no part of a time", "name the path of one of them"],
    );
    let project = Project::with_spec(&joined("{uri: x.csv}", "{columns: [date, time]}"));
    project.write("x.csv", "date,time,date + time\n2026-03-05,10:00:00,x\n");
    project.run(&[]).exits(2).says(&["the source has a column `date + time`", "name it in `column`"]);
}

#[test]
fn of_several_times_the_first_that_a_row_has_counts() {
    let time = "{column: [seen, at.t, logged], format: [auto, epoch_ms]}\nid: n\norder: time";
    let project = Project::with_spec(&joined("{uri: in/}", time));
    let rows = [
        r#"{"n": 1, "seen": "2026-03-05T10:00:03Z", "at": {"t": "2026-03-06T10:00:00Z"}, "logged": 0}"#,
        r#"{"n": 2, "seen": null, "at": {"t": "2026-03-05T10:00:02Z"}, "logged": 0}"#,
        r#"{"n": 3, "at": null, "logged": 1772704801000}"#,
        r#"{"n": 4, "seen": "2026-03-06T00:00:00Z", "logged": 1772704801000}"#,
    ];
    project.write("in/a.ndjson", rows.join("\n") + "\n");
    let package = project.complete();
    assert_eq!(column(&package.rows(), "n"), ["3", "2", "1"]);
    assert_eq!(package.manifest()["spec"]["resolved"]["time"]["column"], json!(["seen", "at.t", "logged"]));
    let report = project.call(&["report", "package", "--format", "markdown"]).exits(0).stdout;
    assert!(report.contains("its “seen”, or without it “at.t”, or without it “logged”"), "{report}");
    project.write("in/b.ndjson", "{\"n\": 5}\n");
    project
        .call(&["run", "spec.yaml", "--output", "other"])
        .exits(4)
        .says(&["b.ndjson:1: no time in `seen or at.t or logged`"]);
    let one = Project::with_spec(&joined("{uri: x.ndjson}", "{column: [seen]}"));
    one.run(&[]).exits(2).says(&["spec.yaml:6:8", "a list in `column` must name at least two columns"]);
}

#[test]
fn what_follows_a_pattern_that_ends_with_a_star_is_ignored() {
    let project = Project::with_spec(&spec("format: [\"%Y-%m-%d %H:%M:%S%.f %z*\", \"%d/%b/%Y*\"]"));
    let times = [
        "\"2026-03-05 10:00:00.123456789 +0000 UTC m=+0.000012\"",
        "\"2026-03-05 23:30:00 -0100 (CVT)\"",
        "\"05/Mar/2026 (Thursday)\"",
        "\"2026-03-05 10:00:00 +0000\"",
    ];
    project.write("x.ndjson", times.map(row).concat());
    let package = project.complete();
    assert_eq!((package.rows().len(), &package.manifest()["accounting"]["outside_window"]), (3, &json!(1)));
    project.write("x.ndjson", row("\"2026-03-05T10:00:00Z and more\""));
    let message = "x.ndjson:1: `2026-03-05T10:00:00Z and more` is not a time";
    project.call(&["run", "spec.yaml", "--output", "other"]).exits(4).says(&[message]);
}
