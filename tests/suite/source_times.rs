//! Times as logs write them: several formats, zone abbreviations, and what is said when none fits.

use serde_json::json;

use crate::project::Project;

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
