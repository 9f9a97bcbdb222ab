//! `coverage`: twelve months of evidence, and everything that can be missing from them.

use std::path::Path;

use serde_json::{Value, json};

use crate::project::{NOW, Project, files_below};
use crate::s3_server::S3Server;
use crate::stores::call;

/// A year in Berlin: one package a month, each with an event a day.
fn year() -> Project {
    let project = Project::new();
    let event = |month: u32, day: u32| {
        format!("{{\"event_id\":\"e{month}-{day}\",\"occurred_at\":\"2025-{month:02}-{day:02}T12:00:00Z\"}}\n")
    };
    for month in 1..=12 {
        project.write(&format!("data/{month:02}.ndjson"), (1..=28).map(|day| event(month, day)).collect::<String>());
    }
    for month in 1..=12 {
        export(&project, &format!("month: 2025-{month:02}"), &format!("evidence/2025-{month:02}"));
    }
    project
}

fn export(project: &Project, window: &str, to: &str) {
    project.write(
        "spec.yaml",
        format!(
            "version: 1\nname: monthly\ntype: events\nsource: {{uri: data/}}\npartition: {{by: week}}\n\
             window: {{{window}, timezone: Europe/Berlin}}\noutput: {{uri: '{to}'}}\n"
        ),
    );
    project.call(&["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
}

fn copy(from: &Path, to: &Path) {
    for (name, path) in files_below(from) {
        let target = to.join(name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
}

fn stretches(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|one| (text(&one["start"]), text(&one["end"]))).collect()
}

fn stretch(start: &str, end: &str) -> (String, String) {
    (start.to_owned(), end.to_owned())
}

/// The one group, where the answer is that something is wrong.
#[track_caller]
fn wrong(project: &Project, args: &[&str]) -> Value {
    let report = project.call(&[&["coverage", "--json", "evidence"], args].concat()).exits(5).json();
    assert_eq!((&report["version"], &report["covered"]), (&json!(1), &json!(false)));
    assert_eq!(report["groups"].as_array().unwrap().len(), 1);
    report["groups"][0].clone()
}

#[test]
fn a_year_of_months_is_covered_and_each_fault_in_it_is_found() {
    let project = year();
    let evidence = project.path("evidence");
    let asked = ["--from", "2025-01-01", "--to", "2025-12-31", "--timezone", "Europe/Berlin"];
    let all = [&["coverage", "evidence", "--verify"], &asked[..]].concat();
    project.call(&all).exits(0).says(&["monthly (events): covered", "12 packages", "2025-01-01T00:00:00+01:00"]);

    // Removed: the gap has the length that March has, clocks going forward in it.
    std::fs::rename(evidence.join("2025-03"), project.path("elsewhere")).unwrap();
    let march = stretch("2025-02-28T23:00:00Z", "2025-03-31T22:00:00Z");
    let group = wrong(&project, &[]);
    assert_eq!(stretches(&group["gaps"]), std::slice::from_ref(&march));
    assert_eq!(group["gaps"][0]["because"], json!([]));
    project
        .call(&["coverage", "evidence"])
        .exits(5)
        .says(&["monthly (events): NOT COVERED: 1 gap", "2025-02-28T23:00:00Z to 2025-03-31T22:00:00Z: no package"]);

    // Replaced by an older one.
    copy(&evidence.join("2025-02"), &evidence.join("2025-03"));
    let group = wrong(&project, &[]);
    assert_eq!(stretches(&group["gaps"]), std::slice::from_ref(&march));
    assert!(group["packages"].as_array().unwrap().iter().any(|package| package["state"] == "copy"));
    std::fs::remove_dir_all(evidence.join("2025-03")).unwrap();
    std::fs::rename(project.path("elsewhere"), evidence.join("2025-03")).unwrap();

    // Overlapping.
    export(&project, "date_from: 2025-06-25, date_to: 2025-07-02", "evidence/around-july");
    let group = wrong(&project, &[]);
    assert_eq!(stretches(&group["gaps"]), []);
    let (june, july) = ("2025-06-24T22:00:00Z", "2025-06-30T22:00:00Z");
    assert_eq!(stretches(&group["overlaps"]), [stretch(june, july), stretch(july, "2025-07-02T22:00:00Z")]);
    assert_eq!(group["overlaps"][0]["packages"], json!(["evidence/2025-06", "evidence/around-july"]));
    std::fs::remove_dir_all(evidence.join("around-july")).unwrap();

    // The manifest of another month put in the place of its own, and one of an edited one.
    let manifest = evidence.join("2025-09/manifest.json");
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::copy(evidence.join("2025-08/manifest.json"), &manifest).unwrap();
    let group = wrong(&project, &[]);
    assert_eq!(stretches(&group["gaps"]), [stretch("2025-08-31T22:00:00Z", "2025-09-30T22:00:00Z")]);
    let unverified = group["packages"].as_array().unwrap().iter().find(|p| p["state"] == "unverified").unwrap().clone();
    assert_eq!(unverified["package"], "evidence/2025-09");
    std::fs::write(&manifest, whole).unwrap();

    // A shard that is damaged is found by whoever looks at the bytes.
    let shards = files_below(&evidence.join("2025-10/data"));
    std::fs::write(shards.values().next().unwrap(), "x").unwrap();
    project.call(&["coverage", "evidence"]).exits(0);
    let group = wrong(&project, &["--verify"]);
    assert_eq!(stretches(&group["gaps"]), [stretch("2025-09-30T22:00:00Z", "2025-10-31T23:00:00Z")]);
}

#[test]
fn a_failed_partition_is_a_gap_with_its_reason() {
    let project =
        Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-03}");
    for (name, text) in crate::project::daily_files(3, 5) {
        project.write(&name, text);
    }
    project.write("data/2026-03-02.ndjson", "nonsense\n");
    project.run(&[]).exits(3);
    let failed = project.package().files().into_iter().filter(|file| file["status"] != "complete").count();
    let report = project.call(&["coverage", "package", "--json"]).exits(5).json();
    let because = report["groups"][0]["gaps"][0]["because"].clone();
    assert!(failed > 0 && because[0]["why"].as_str().unwrap().contains("is failed (bad_rows)"), "{because}");
}

#[test]
fn what_is_asked_for_wrongly_is_refused() {
    let project = Project::new();
    project.write("empty/x", "");
    project.call(&["coverage", "nowhere"]).exits(2).says(&["error: nowhere does not exist: give a package"]);
    project.call(&["coverage", "empty"]).exits(5).says(&["no package covers anything that was asked for"]);
    let late = ["coverage", "empty", "--from", "2026-03-02", "--to", "2026-03-01"];
    project.call(&late).exits(2).says(&["the interval is empty: it ends at 2026-03-02T00:00:00Z, but starts at"]);
    project.call(&["coverage", "empty", "--from", "March"]).exits(2).says(&["`March` is neither a date"]);
    let refused = project.call(&["coverage", "empty", "--timezone", "Berlin", "--json"]).exits(2);
    assert_eq!(refused.json()["exit_code"], 2);
}

#[test]
fn packages_below_a_prefix_of_a_bucket_are_found_without_listing_their_shards() {
    let server = S3Server::start();
    let project = year();
    for (name, path) in files_below(&project.path("evidence")) {
        server.put(&format!("evidence/{name}"), &std::fs::read(path).unwrap());
    }
    let report = call(&project, &server, &["coverage", "s3://bucket/evidence", "--json"]).exits(0).json();
    assert_eq!(report["groups"][0]["packages"].as_array().unwrap().len(), 12);
    assert!(server.requests().iter().all(|request| !request.query.contains("data") && !request.key.contains("data/")));
    server.remove("evidence/2025-05/manifest.json");
    let report = call(&project, &server, &["coverage", "s3://bucket/evidence", "--json"]).exits(5).json();
    assert_eq!(report["unreadable"][0]["package"], "s3://bucket/evidence/2025-05");
}
