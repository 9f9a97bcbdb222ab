//! What a manifest says of its rows: which filter took them out, their digest, and whether they are as expected.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::project::{Package, Project, daily_files, outcome};

/// Twelve rows a day on three days, with everything that formats write differently.
fn rows() -> Vec<Value> {
    let row = |i: u32| {
        json!({
            "event_id": format!("e{i:02}"),
            "occurred_at": format!("2026-03-{:02}T{:02}:30:00.{:03}Z", 1 + i / 12, i % 12 * 2, i),
            "status": (["allowed", "blocked", "escalated"][(i % 3) as usize]),
            "team": if i.is_multiple_of(4) { Value::Null } else { json!(["red", "blue", ""][(i % 3) as usize]) },
            "latency_ms": if i.is_multiple_of(5) { Value::Null } else { json!(i * 100) },
            "cost": 0.1 * f64::from(i) - 0.05,
            "cached": i.is_multiple_of(2),
            "message": format!("line {i}\n\"quoted\", = 1; \u{e9}\u{4e16}\u{1f600} \\ \t"),
            "tags": if i.is_multiple_of(7) { json!([]) } else { json!(["a, b", format!("t{i}"), null]) },
            "meta": {"user": {"email": format!("u{i}@example.com")}, "n": i, "empty": {}},
        })
    };
    (0..36).map(row).collect()
}

fn ndjson(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn spec(rest: &str) -> String {
    format!(
        "type: events\nsource: {{uri: data/}}\nschema: {{meta: json}}\nrows_digest: true\n\
         window: {{date_from: 2026-03-01, date_to: 2026-03-03}}\n{rest}"
    )
}

#[track_caller]
fn exported(rows: &[Value], rest: &str) -> (Project, Package) {
    let project = Project::with_spec(&spec(rest));
    project.write("data/rows.ndjson", ndjson(rows));
    let package = project.complete();
    (project, package)
}

#[track_caller]
fn digest(rows: &[Value], rest: &str) -> String {
    let (_project, package) = exported(rows, rest);
    package.manifest()["rows_digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn one_job_has_one_digest_in_every_format_order_and_partitioning() {
    let expected = digest(&rows(), "format: csv");
    assert!(expected.starts_with("rows-v1:sha256:") && expected.len() == 79, "{expected}");
    for rest in [
        "format: ndjson",
        "format: json\ncompression: gzip",
        "format: parquet",
        "format: {csv: {bom: true, null_text: \"NULL\"}}",
        "format: ndjson\norder: time",
        "format: csv\npartition: {by: none}",
        "format: csv\npartition: {by: day, max_rows: 5}",
        "format: parquet\npartition: {by: hour}",
        "format: csv\npartition: {by: none, max_bytes: 1}",
    ] {
        assert_eq!(digest(&rows(), rest), expected, "{rest}");
    }
    let mut backwards = rows();
    backwards.reverse();
    assert_eq!(digest(&backwards, "format: csv"), expected);
    // No text here looks like an escaped formula, so those come back as they were.
    assert_eq!(digest(&rows(), "format: {csv: {escape_formulas: true}}"), expected);
}

#[test]
fn a_value_that_moves_and_a_row_that_is_there_once_more_change_the_digest() {
    let expected = digest(&rows(), "format: ndjson");
    let changed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut rows = rows();
        change(&mut rows);
        digest(&rows, "format: ndjson")
    };
    let swap = |rows: &mut Vec<Value>, column: &str| {
        let value = rows[1][column].take();
        rows[1][column] = rows[2][column].take();
        rows[2][column] = value;
    };
    let others = [
        changed(&|rows| swap(rows, "status")),
        changed(&|rows| swap(rows, "event_id")),
        changed(&|rows| {
            let row = rows[3].clone();
            rows.push(row);
        }),
        changed(&|rows| {
            let row = rows[3].clone();
            rows.extend([row.clone(), row]);
        }),
        changed(&|rows| drop(rows.pop())),
        changed(&|rows| {
            let status = rows[5]["status"].take();
            rows[5]["status"] = rows[5]["team"].take();
            rows[5]["team"] = status;
        }),
        changed(&|rows| rows[1]["team"] = Value::Null),
        changed(&|rows| rows[1]["meta"]["n"] = json!(1.0)),
    ];
    let mut all: Vec<_> = others.iter().chain([&expected]).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), others.len() + 1, "{others:#?}");
    let renamed = "format: ndjson\ncolumns: [{event_id: id}, status]";
    assert_ne!(digest(&rows(), renamed), digest(&rows(), "format: ndjson\ncolumns: [event_id, status]"));
}

#[test]
fn a_shard_with_other_rows_is_named_even_where_every_sum_was_forged() {
    let (project, package) = exported(&rows(), "format: csv\ncompression: none");
    let first = package.file("2026-03-01")["path"].as_str().unwrap().to_owned();
    let second = package.file("2026-03-02")["path"].as_str().unwrap().to_owned();
    let bytes = |name: &str| std::fs::read_to_string(package.root.join(name)).unwrap();
    let sha256 = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
    // The same words in other rows: every size stays as it is.
    let forged = bytes(&first).replacen(",blocked,", ",allowed,", 1).replacen(",allowed,", ",blocked,", 1);
    assert_ne!(forged, bytes(&first));
    let mut manifest = package.manifest();
    std::fs::write(package.root.join(&first), &forged).unwrap();
    manifest["files"][0]["sha256"] = json!(sha256(forged.as_bytes()));
    let text = format!("{}\n", serde_json::to_string_pretty(&manifest).unwrap());
    std::fs::write(package.root.join("manifest.json"), &text).unwrap();
    let sums: String = manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| format!("{}  {}\n", file["sha256"].as_str().unwrap(), file["path"].as_str().unwrap()))
        .collect();
    std::fs::write(package.root.join("SHA256SUMS"), format!("{sums}{}  manifest.json\n", sha256(text.as_bytes())))
        .unwrap();
    // The page names the manifest that it was made from.
    std::fs::remove_file(package.root.join("report.html")).unwrap();
    project.call(&["verify", "package"]).exits(0);
    let report = project.call(&["verify", "package", "--rows", "--json"]).exits(5).json();
    let findings = report["packages"][0]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["path"], first.as_str());
    assert_eq!(findings[0]["message"], "has rows that do not match its `rows_digest` in the manifest");
    assert_ne!(first, second);

    // Digests that change places do not fit the rows, and one that is made up does not fit the package.
    let digest = manifest["files"][1]["rows_digest"].take();
    manifest["files"][1]["rows_digest"] = manifest["files"][2]["rows_digest"].clone();
    std::fs::write(package.root.join("manifest.json"), manifest.to_string()).unwrap();
    project.call(&["verify", "package"]).exits(5).says(&[
        "manifest.json",
        "`rows_digest` is not what the columns, the row counts and the `rows_digest` of the files give",
    ]);
    assert_ne!(digest, manifest["files"][1]["rows_digest"]);
}

#[test]
fn the_implementation_in_the_documentation_agrees() {
    let docs = include_str!("../../docs/conservation.md");
    let code = docs.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let check = |package: &Package| {
        let mut python = Command::new("python3");
        python.args(["-c", code]).arg(&package.root).stdin(Stdio::null());
        outcome(&mut python)
    };
    // Not a system with Python.
    if Command::new("python3").args(["-c", "pass"]).status().is_err() {
        return;
    }
    let expected = format!("{}\n", digest(&rows(), "format: parquet"));
    for rest in ["format: csv\ncompression: none", "format: ndjson\ncompression: gzip"] {
        let (_project, package) = exported(&rows(), rest);
        assert_eq!(check(&package).exits(0).stdout, expected);
    }
    let (_project, package) = exported(&rows(), "format: ndjson\ncompression: none");
    let path = package.root.join(package.file("2026-03-02")["path"].as_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("blocked", "allowed", 1)).unwrap();
    check(&package).exits(1).says(&["2026-03-02", "other rows"]);
}

#[test]
fn without_being_asked_for_there_is_no_digest() {
    let project = Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}");
    project.write("data/rows.ndjson", ndjson(&rows()));
    let manifest = project.complete().manifest();
    assert!(manifest.get("rows_digest").is_none() && manifest["files"][0].get("rows_digest").is_none());
    assert!(manifest.get("filter_counts").is_none() && manifest.get("expectations").is_none());
}

/// Whether a filter is true of a row.
type Test = fn(&Value) -> bool;

#[test]
fn every_filter_counts_the_rows_that_it_is_the_first_to_leave_out() {
    let project = Project::with_spec(
        "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-02}\n\
         filters:\n  statuses: [blocked, escalated]\n  latency_ms: {gte: 300, lt: 2000}\n  team: {ne: red}\n\
         where: \"cost < 1.5 OR cached\"",
    );
    project.write("data/rows.ndjson", ndjson(&rows()));
    let package = project.complete();
    let manifest = package.manifest();
    // The same in plain words: null is neither true nor false, so it leaves a row out.
    let tests: [(&str, Test); 5] = [
        ("statuses in", |row| row["status"] != "allowed"),
        ("latency_ms gte", |row| row["latency_ms"].as_u64().is_some_and(|n| n >= 300)),
        ("latency_ms lt", |row| row["latency_ms"].as_u64().is_some_and(|n| n < 2000)),
        ("team ne", |row| row["team"].as_str().is_some_and(|team| team != "red")),
        ("where", |row| row["cost"].as_f64().unwrap() < 1.5 || row["cached"] == true),
    ];
    let mut counts = tests.map(|(filter, _)| json!({"filter": filter, "rows": 0}));
    let mut kept = 0;
    for row in rows().iter().take(24) {
        match tests.iter().position(|(_, holds)| !holds(row)) {
            Some(first) => counts[first]["rows"] = json!(counts[first]["rows"].as_u64().unwrap() + 1),
            None => kept += 1,
        }
    }
    assert_eq!(manifest["filter_counts"], json!(counts));
    assert_eq!(manifest["total_rows"], kept);
    assert!(counts.iter().all(|count| count["rows"] != 0) && kept > 0, "{counts:?}");

    let text = manifest.to_string().replacen("\"filter\":\"where\",\"rows\":", "\"filter\":\"where\",\"rows\":1", 1);
    std::fs::write(package.root.join("manifest.json"), text).unwrap();
    project
        .call(&["verify", "package"])
        .exits(5)
        .says(&["`filter_counts` add up to", "but `accounting.filtered_out` is"]);
}

#[test]
fn filters_are_counted_through_a_run_that_goes_on_where_another_ended() {
    let project = Project::with_spec(
        "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-03}\nfilters: {statuses: blocked}\n\
         on_partition_error: continue",
    );
    for (name, text) in daily_files(3, 30) {
        project.write(&name, text);
    }
    let whole = std::fs::read(project.path("data/2026-03-02.ndjson")).unwrap();
    project.write("data/2026-03-02.ndjson", [&whole[..], b"{\"broken\n"].concat());
    project.run(&[]).exits(3);
    assert_eq!(project.package().manifest()["filter_counts"], json!([{"filter": "statuses eq", "rows": 40}]));
    project.call(&["verify", "package"]).exits(0);
    project.write("data/2026-03-02.ndjson", whole);
    let manifest = project.complete().manifest();
    assert_eq!(manifest["filter_counts"], json!([{"filter": "statuses eq", "rows": 60}]));
}

fn expecting(expect: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\nwindow: {{date_from: 2026-03-01, date_to: 2026-03-04}}\nexpect: {expect}"
    ));
    for (name, text) in daily_files(3, 24) {
        project.write(&name, text);
    }
    project
}

#[test]
fn what_is_expected_and_holds_leaves_the_job_complete() {
    let project = expecting("{min_rows: 72, max_lag: 2d}");
    let manifest = project.complete().manifest();
    assert_eq!((&manifest["status"], &manifest["error_code"]), (&json!("complete"), &Value::Null));
    let last = "2026-03-03T22:59:59Z";
    assert_eq!(manifest["files"][2]["max_time"], last);
    assert_eq!(
        manifest["expectations"],
        json!([
            {"name": "min_rows", "expected": 72, "actual": 72, "holds": true},
            {"name": "max_lag", "expected": "172800s", "actual": {"max_time": last, "lag": "90001s"}, "holds": true},
        ])
    );
}

#[test]
fn what_is_expected_and_does_not_hold_is_told_and_the_shards_are_final() {
    let project = expecting("{min_rows: 73, non_empty_partitions: true, max_lag: 6h}");
    let says = [
        "test 2026-03-01_2026-03-04 partial",
        "  min_rows expected at least 73 rows, and found 72",
        "  non_empty_partitions expected a row in every partition, and 1 has none: 2026-03-04",
        "  max_lag  expected the last row at most 6h before the end of the window, and it is 25h 1s before it, at \
         2026-03-03T22:59:59Z",
        "every row of the source was exported, but the source does not meet `expect` in the spec: find the missing \
         data upstream, and export the window again with --restate once it has arrived",
    ];
    let report = project.run(&["--json"]).exits(3).says(&says).json();
    assert_eq!(report["specs"][0]["error_code"], "expectation_failed");
    assert_eq!(report["specs"][0]["expectations"].as_array().unwrap().len(), 3);
    let package = project.package();
    package.balances();
    let manifest = package.manifest();
    assert_eq!((&manifest["status"], &manifest["error_code"]), (&json!("partial"), &json!("expectation_failed")));
    assert!(package.statuses().iter().all(|(_, status, _)| status == "complete"));
    project.call(&["verify", "--rows", "package"]).exits(0);
    // Nothing can be made better, so nothing changes.
    let before = package.evidence();
    project.run(&[]).exits(3).says(&["partial already", says[1]]);
    assert!(package.evidence() == before);
    // What was exported whole stays as it is when late data comes.
    let (name, text) = daily_files(4, 24).pop().unwrap();
    project.write(&name, text);
    let outcome = project.run(&[]);
    assert!(matches!(outcome.code, Some(3 | 4)), "{outcome:?}");
    assert!(package.shards().iter().all(|(name, bytes)| before[&format!("data/{name}")].0 == *bytes));
}

#[test]
fn nothing_is_said_of_expectations_while_a_partition_has_no_shard() {
    let project = expecting("{min_rows: 1000}");
    project.write("data/2026-03-02.ndjson", "{\"broken\n");
    project.run(&[]).exits(3);
    let manifest = project.package().manifest();
    assert!(manifest.get("expectations").is_none() && manifest["error_code"].is_null());
    project.call(&["verify", "package"]).exits(0);
}

#[test]
fn a_manifest_that_hides_what_did_not_hold_is_found() {
    let project = expecting("{min_rows: 73}");
    project.run(&[]).exits(3);
    let package = project.package();
    let honest = package.manifest();
    let forged = |change: &dyn Fn(&mut Value), says: &str| {
        let mut manifest = honest.clone();
        change(&mut manifest);
        std::fs::write(package.root.join("manifest.json"), manifest.to_string()).unwrap();
        project.call(&["verify", "package"]).exits(5).says(&["manifest.json", says]);
    };
    forged(
        &|m| m["expectations"][0]["holds"] = json!(true),
        "the expectation `min_rows` is recorded to hold, but the files contradict that",
    );
    forged(
        &|m| m["expectations"][0]["actual"] = json!(73),
        "the expectation `min_rows` records 73, but the files give 72",
    );
    forged(&|m| m["status"] = json!("complete"), "the job is marked complete, but an expectation does not hold");
    forged(&|m| m["error_code"] = Value::Null, "exactly if an expectation does not hold, which is not the case here");
    forged(&|m| m["expectations"][0]["name"] = json!("luck"), "the expectation `luck` is unknown to this release");
}
