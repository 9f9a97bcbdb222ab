//! The commands around `run`: starting a repository, planning, reproducing, explaining.

use serde_json::json;

use crate::project::{Project, daily_files};

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-05}";

fn project() -> Project {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(5, 20) {
        project.write(&name, text);
    }
    project
}

#[test]
fn init_writes_files_that_are_valid_and_overwrites_none() {
    let project = Project::new();
    project.write("catalog.yaml", "version: 1\ntypes: {}\n");
    let files = ["specs/monthly-events.yaml", ".github/workflows/export.yml"];
    project
        .call(&["init"])
        .exits(0)
        .says(&["kept  catalog.yaml, it already exists", "wrote specs/monthly-events.yaml"]);
    assert_eq!(std::fs::read_to_string(project.path("catalog.yaml")).unwrap(), "version: 1\ntypes: {}\n");
    assert!(files.iter().all(|file| project.path(file).exists()));
    let other = project.call(&["init", "new", "--json"]).exits(0).json();
    assert_eq!(other, json!({"version": 1, "written": ["catalog.yaml", files[0], files[1]], "kept": []}));
    project.call(&["validate", "new/catalog.yaml", "new/specs"]).exits(0).says(&["2 files valid"]);
}

#[test]
fn the_first_spec_of_init_exports_what_is_put_beside_it() {
    let project = Project::new();
    project.call(&["init"]).exits(0);
    project.write("data/events/2026-03.ndjson", "{\"event_id\": \"a\", \"occurred_at\": \"2026-03-05T00:00:00Z\"}\n");
    project.call(&["run", "specs", "--now", "2026-04-02T00:00:00Z"]).exits(0).says(&["complete: 1 row in 31 shards"]);
}

#[test]
fn a_package_is_reproduced_from_its_source() {
    let project = project();
    project.complete();
    project.call(&["reproduce", "package"]).exits(0).says(&["package: reproduced, all 5 files have the same bytes"]);
    let found = project.call(&["reproduce", "package", "--json"]).exits(0).json();
    assert_eq!((&found["reproduced"], &found["differences"]), (&json!(true), &json!([])));
}

#[test]
fn a_source_that_says_something_else_now_is_found() {
    let project = project();
    project.complete();
    let day = project.path("data/2026-03-03.ndjson");
    let text = std::fs::read_to_string(&day).unwrap();
    std::fs::write(&day, text.replacen("\"e3-1\"", "\"e3-x\"", 1)).unwrap();
    project.call(&["reproduce", "package"]).exits(5).says(&[
        "NOT reproduced, 1 of 5 files differ",
        "data/2026-03-03/part-0000.csv.zst has different bytes now, with the same ",
    ]);
}

#[test]
fn a_spec_that_says_something_else_now_is_refused() {
    let project = project();
    project.complete();
    project.spec(&format!("{SPEC}\nfilters: {{event_id: e1-1}}"));
    project
        .call(&["reproduce", "package"])
        .exits(2)
        .says(&["the spec, its catalog, its variables or its window have changed"]);
    std::fs::remove_file(project.path("spec.yaml")).unwrap();
    project.call(&["reproduce", "package"]).exits(2).says(&["give it with `--spec`"]);
    project.call(&["reproduce", "data"]).exits(2).says(&["data has no manifest.json", "give a package's folder"]);
}

#[test]
fn a_plan_is_shown_in_three_forms_and_writes_nothing() {
    let project = project();
    let text = project.call(&["plan", "spec.yaml"]).exits(0).stdout;
    assert!(text.contains("partitions  5 in 5 tasks") && text.contains("2026-03-03"), "{text}");
    let markdown = project.call(&["plan", "spec.yaml", "--format", "markdown"]).exits(0).stdout;
    assert!(markdown.contains("| 2026-03-03 |") || markdown.contains("| `2026-03-03`"), "{markdown}");
    let plan = project.call(&["plan", "spec.yaml", "--format", "json"]).exits(0).json();
    assert_eq!(plan["partitions"].as_array().map(Vec::len), Some(5));
    assert!(!project.path("package").exists());
}

#[test]
fn codes_are_explained_and_unknown_ones_get_the_nearest() {
    let project = Project::new();
    let text = project.call(&["explain", "source_changed"]).exits(0).stdout;
    assert!(text.starts_with("source_changed\n  "), "{text}");
    project.call(&["explain", "source_chnged"]).exits(2).says(&["did you mean `source_changed`?"]);
}

#[test]
fn a_variable_that_no_spec_declares_is_refused_before_anything_runs() {
    let project = project();
    project.spec(&format!("{SPEC}\nvars: {{region: {{default: eu}}}}"));
    project
        .run(&["--var", "regoin=us"])
        .exits(2)
        .says(&["no spec declares the variable `regoin`", "did you mean `region`?"]);
    assert!(!project.path("package").exists());
    project
        .run(&["--output", "ftp://bucket/x"])
        .exits(2)
        .says(&["--output: `ftp://` is not supported: write a path, or s3://"]);
}
