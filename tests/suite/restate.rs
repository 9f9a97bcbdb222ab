//! Late data: a window exported again, beside the package that it supersedes.

use serde_json::{Value, json};

use crate::project::{Project, daily_files};

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-03}";

fn project() -> Project {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(3, 10) {
        project.write(&name, text);
    }
    project
}

/// A row that came late, for the second day.
fn late(project: &Project, id: &str) {
    let row = format!("{{\"event_id\": \"{id}\", \"occurred_at\": \"2026-03-02T12:00:00Z\"}}\n");
    project.write(&format!("data/late-{id}.ndjson"), row);
}

fn digest(project: &Project, package: &str) -> String {
    kt_export::digest::sha256(&std::fs::read(project.path(package).join("manifest.json")).expect("a manifest"))
}

fn manifest(project: &Project, package: &str) -> Value {
    project.package_in(package).manifest()
}

#[test]
fn late_data_make_a_revision_that_says_what_changed() {
    let project = project();
    let first = project.complete();
    let before = first.snapshot();
    late(&project, "a");
    let said = project
        .run(&["--restate", "--json"])
        .exits(0)
        .says(&["revision 2 of job_", ": row counts differ in 1 of 3 partitions"]);
    assert!(said.json()["specs"][0]["package"].as_str().is_some_and(|p| p.ends_with("/package.r2")));
    assert!(first.snapshot() == before, "the superseded package stays as it was");

    let (old, new) = (manifest(&project, "package"), manifest(&project, "package.r2"));
    assert_ne!(old["id"], new["id"]);
    assert_eq!(new["supersedes"], json!({"id": old["id"], "sha256": digest(&project, "package")}));
    assert_eq!(
        new["restatement"],
        json!({"revision": 2, "partitions": [
            {"label": "2026-03-01", "rows_before": 10, "rows_after": 10},
            {"label": "2026-03-02", "rows_before": 10, "rows_after": 11},
            {"label": "2026-03-03", "rows_before": 10, "rows_after": 10},
        ]})
    );
    project.call(&["verify", "--rows", "package", "package.r2"]).exits(0);
    project.call(&["reproduce", "package.r2"]).exits(0);
    project.call(&["reproduce", "package"]).exits(5).says(&["11 rows now, 10 before (+1)"]);
}

#[test]
fn asking_twice_makes_one_revision() {
    let project = project();
    project.complete();
    project.run(&["--restate"]).exits(0).says(&["complete already"]);
    assert!(!project.path("package.r2").exists(), "the source has not changed");
    late(&project, "a");
    project.run(&["--restate"]).exits(0);
    let before = project.package_in("package.r2").snapshot();
    project.run(&["--restate"]).exits(0).says(&["complete already", "package.r2"]);
    assert!(project.package_in("package.r2").snapshot() == before && !project.path("package.r3").exists());
    late(&project, "b");
    project.run(&["--restate"]).exits(0).says(&["revision 3 of job_"]);
    let third = manifest(&project, "package.r3");
    assert_eq!(third["supersedes"]["id"], manifest(&project, "package.r2")["id"]);
    assert_eq!(third["supersedes"]["sha256"], digest(&project, "package.r2"));
    // Without the flag the first package is what the spec means.
    project.run(&[]).exits(0).says(&["complete already: 30 rows"]);
}

#[test]
fn a_revision_that_failed_is_gone_on_with() {
    let project = project();
    project.complete();
    project.write("data/late.ndjson", "{\"event_id\": \"x\", \"occurred_at\": \"2026-03-02T12:00:00Z\"}\nnot json\n");
    project.run(&["--restate"]).exits(3);
    late(&project, "a");
    std::fs::remove_file(project.path("data/late.ndjson")).expect("removed");
    project.run(&["--restate"]).exits(0).says(&["revision 2 of job_"]);
    assert!(!project.path("package.r3").exists());
    project.call(&["verify", "--rows", "package.r2"]).exits(0);
}

#[test]
fn what_was_never_whole_cannot_be_restated() {
    let project = project();
    project
        .run(&["--restate"])
        .exits(4)
        .says(&["/package/ has no whole package to restate; run without `--restate` first"]);
    assert!(!project.path("package").exists() && !project.path("package.r2").exists());
    project.run(&["--restate", "--repair"]).exits(2).says(&["cannot be used with"]);
}

#[test]
fn a_revision_is_noted_in_the_store_of_jobs_and_taken_up_from_there() {
    let project = project();
    project.complete();
    late(&project, "a");
    project.run(&["--restate", "--store", "jobs"]).exits(0);
    let id = manifest(&project, "package.r2")["id"].as_str().expect("an id").to_owned();
    let listed = project.call(&["jobs", "list", "--store", "jobs", "--json"]).exits(0).json();
    assert_eq!(listed["jobs"][0]["id"], json!(id));
    // As after a crash: what the run had made is gone, what it had noted is there.
    std::fs::remove_dir_all(project.path("package.r2")).expect("removed");
    project.call(&["jobs", "work", "--store", "jobs", "--id", &id]).exits(0);
    let again = manifest(&project, "package.r2");
    assert_eq!((&again["id"], &again["restatement"]["revision"]), (&json!(id), &json!(2)));
}

#[test]
fn a_revision_is_linked_and_takes_the_place_of_what_it_supersedes() {
    let project = project();
    project.spec(&format!("{SPEC}\nchain: {{uri: links/}}"));
    project.complete();
    late(&project, "a");
    project.run(&["--restate"]).exits(0);
    let link = |number: u32| -> Value {
        let text = std::fs::read(project.path(&format!("links/00000{number}.json"))).expect("a link");
        serde_json::from_slice(&text).expect("JSON")
    };
    assert_eq!((&link(1)["package"], &link(2)["package"]), (&json!("package/"), &json!("package.r2")));
    assert_eq!(link(2)["manifest_sha256"], digest(&project, "package.r2"));
    project.call(&["verify", "package", "package.r2", "--chain", "links"]).exits(0);
    project.call(&["coverage", "package", "package.r2"]).exits(0).says(&["package.r2 takes its place"]);
    // Without the revision the superseded package alone does not pass for all there is.
    std::fs::remove_dir_all(project.path("package.r2")).expect("removed");
    project.call(&["verify", "package", "--chain", "links"]).exits(5).says(&["000002.json"]);
}
