//! `verify`: nothing can change in a package without being told, by name.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::project::{Package, Project, daily_files, files_below, outcome};
use crate::signatures::edit_manifest;

fn package(format: &str) -> (Project, Package) {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\nwindow: {{date_from: 2026-03-01, date_to: 2026-03-03}}\nformat: {format}"
    ));
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    let package = project.complete();
    (project, package)
}

fn shard(package: &Package, label: &str) -> String {
    package.file(label)["path"].as_str().unwrap().to_owned()
}

/// Asserts that verifying fails and names the file, for people and for programs, and changes nothing.
#[track_caller]
fn is_told(project: &Project, package: &Package, name: &str) {
    let before = package.snapshot();
    let report = project.call(&["verify", "package", "--json"]).exits(5).says(&["NOT INTACT", name]).json();
    assert_eq!(report["verified"], false);
    let findings = report["packages"][0]["findings"].as_array().unwrap().clone();
    assert!(findings.iter().any(|f| f["path"] == name), "{name}: {findings:?}");
    assert!(package.snapshot() == before);
}

#[test]
fn a_flipped_byte_anywhere_in_a_shard_is_found() {
    for format in ["csv", "parquet"] {
        let (project, package) = package(format);
        for label in ["2026-03-01", "2026-03-02", "2026-03-03"] {
            let name = shard(&package, label);
            let path = package.root.join(&name);
            let whole = std::fs::read(&path).unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                std::fs::write(&path, flipped).unwrap();
                is_told(&project, &package, &name);
            }
            std::fs::write(&path, &whole).unwrap();
        }
        project.call(&["verify", "package"]).exits(0);
    }
}

#[test]
fn a_flipped_byte_anywhere_in_the_manifest_or_the_sums_is_found() {
    let (project, package) = package("csv");
    for name in ["manifest.json", "SHA256SUMS"] {
        let path = package.root.join(name);
        let whole = std::fs::read(&path).unwrap();
        for part in 0..24 {
            let mut flipped = whole.clone();
            flipped[part * (whole.len() - 1) / 23] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            let outcome = project.call(&["verify", "package"]).exits(5);
            assert!(outcome.stderr.contains(name), "{}", outcome.stderr);
        }
        std::fs::write(&path, &whole).unwrap();
    }
    project.call(&["verify", "package"]).exits(0);
}

#[test]
fn a_manifest_that_is_edited_consistently_is_found_by_its_digest() {
    let (project, package) = package("csv");
    let path = package.root.join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"name\": \"test\"", "\"name\": \"best\"")).unwrap();
    is_told(&project, &package, "manifest.json");
}

#[test]
fn deleted_added_cut_and_swapped_files_are_found() {
    let (project, package) = package("csv");
    let (first, second) = (shard(&package, "2026-03-01"), shard(&package, "2026-03-02"));
    let (one, two) = (package.root.join(&first), package.root.join(&second));
    let (bytes_one, bytes_two) = (std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());

    std::fs::remove_file(&one).unwrap();
    is_told(&project, &package, &first);
    std::fs::write(&one, &bytes_one[..bytes_one.len() - 1]).unwrap();
    is_told(&project, &package, &first);
    std::fs::write(&one, &bytes_two).unwrap();
    std::fs::write(&two, &bytes_one).unwrap();
    is_told(&project, &package, &first);
    is_told(&project, &package, &second);
    std::fs::write(&one, &bytes_one).unwrap();
    std::fs::write(&two, &bytes_two).unwrap();

    for added in ["data/2026-03-01/part-0001.csv.zst", "data/extra", "rejects/extra.ndjson"] {
        project.write(&format!("package/{added}"), "x");
        is_told(&project, &package, added);
        std::fs::remove_file(package.root.join(added)).unwrap();
    }
    for name in ["manifest.json", "SHA256SUMS"] {
        let bytes = std::fs::read(package.root.join(name)).unwrap();
        std::fs::remove_file(package.root.join(name)).unwrap();
        is_told(&project, &package, name);
        std::fs::write(package.root.join(name), bytes).unwrap();
    }
    let _ = std::fs::remove_dir(package.root.join("rejects"));
    project.call(&["verify", "--rows", "package"]).exits(0);
}

#[test]
fn one_bad_package_of_many_decides_and_is_named() {
    let (project, _package) = package("csv");
    project.run(&["--output", "other"]).exits(0);
    let bad = project.package_in("other/package");
    std::fs::remove_file(bad.root.join("SHA256SUMS")).unwrap();
    let report = project.call(&["verify", "package", "other/package", "nowhere", "--json"]).exits(5).json();
    let intact: Vec<Value> = report["packages"].as_array().unwrap().iter().map(|p| p["intact"].clone()).collect();
    assert_eq!(intact, [json!(true), json!(false), json!(false)]);
}

#[test]
fn verify_says_what_it_did_not_check() {
    let (project, _package) = package("csv");
    project.call(&["verify", "package"]).exits(0).says(&["intact", "not checked", "--rows", "signature"]);
}

#[test]
fn a_verification_survives_any_bytes_for_a_manifest() {
    let (project, package) = package("csv");
    let path = package.root.join("manifest.json");
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&b""[..], b"{}", b"[]", b"\xff\xfe", b"{\"manifest_version\": 2}", &whole[..whole.len() / 2]] {
        std::fs::write(&path, bytes).unwrap();
        is_told(&project, &package, "manifest.json");
    }
}

fn sha256sum(package: &Path) -> Option<crate::project::Outcome> {
    let there = Command::new("sha256sum").arg("--version").output().is_ok_and(|o| o.status.success());
    there.then(|| outcome(Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(package)))
}

#[test]
fn the_sums_are_checked_by_coreutils() {
    let (_project, package) = package("ndjson");
    let Some(checked) = sha256sum(&package.root) else { return };
    let checked = checked.exits(0);
    for name in files_below(&package.root).keys().filter(|n| {
        // What derives from the manifest is in no list.
        !n.starts_with("_state/") && !["SHA256SUMS", "report.html"].contains(&n.as_str())
    }) {
        assert!(checked.stdout.contains(&format!("{name}: OK")), "{name} is not listed");
    }
    let name = shard(&package, "2026-03-02");
    let mut bytes = std::fs::read(package.root.join(&name)).unwrap();
    bytes[5] ^= 0x20;
    std::fs::write(package.root.join(&name), bytes).unwrap();
    let checked = sha256sum(&package.root).unwrap().exits(1);
    assert!(checked.stdout.contains(&format!("{name}: FAILED")));
}

#[test]
fn rejects_are_part_of_the_evidence() {
    let project =
        Project::with_spec("type: events\nsource: {uri: x.ndjson}\nwindow: {date: 2026-03-01}\non_bad_rows: reject");
    project.write("x.ndjson", format!("{}nonsense\n", daily_files(1, 5)[0].1));
    project.run(&[]).exits(3);
    let package = project.package();
    project.call(&["verify", "--rows", "package"]).exits(0);
    if let Some(checked) = sha256sum(&package.root) {
        assert!(checked.exits(0).stdout.contains("rejects/"));
    }
    let name = package.manifest()["rejects"][0]["path"].as_str().unwrap().to_owned();
    std::fs::write(package.root.join(&name), "nothing\n").unwrap();
    is_told(&project, &package, &name);
}

/// What somebody edits in an unsigned manifest who keeps everything else in step.
type Edit = fn(&mut Value);

#[test]
fn an_edit_that_contradicts_the_job_is_found_one_by_one() {
    let project = Project::with_spec(
        "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-02}\n\
         filters: {status: blocked}\ncompression: none",
    );
    for (name, text) in daily_files(2, 9) {
        project.write(&name, text);
    }
    let package = project.complete();
    let manifest = std::fs::read(package.root.join("manifest.json")).unwrap();
    let edits: [(&str, Edit); 12] = [
        ("`filters` is {}", |m| m["filters"] = json!({})),
        ("`where` is \"x = 1\"", |m| m["where"] = json!("x = 1")),
        ("`name` is \"other\"", |m| m["name"] = json!("other")),
        ("`type` is \"other\"", |m| m["type"] = json!("other")),
        ("`timezone` is \"Asia/Tokyo\"", |m| m["timezone"] = json!("Asia/Tokyo")),
        ("`window_label` is \"2027\"", |m| m["window_label"] = json!("2027")),
        ("`source.uri` is s3://prod/", |m| m["source"]["uri"] = json!("s3://prod/")),
        ("`window_start` is", |m| {
            m["window_start"] = json!("2025-03-01T00:00:00Z");
            m["files"][0]["partition"]["start"] = json!("2025-03-01T00:00:00Z");
        }),
        ("`source.files_sha256` is not the digest", |m| {
            drop(m["source"]["files"].as_array_mut().unwrap().pop());
            let written = m["accounting"]["written"].as_u64().unwrap();
            m["accounting"]["source_rows"] = json!(9);
            m["accounting"]["filtered_out"] = json!(9 - written);
            m["filter_counts"][0]["rows"] = json!(9 - written);
        }),
        ("`expires_at` is \"2099-01-01T00:00:00Z\"", |m| m["expires_at"] = json!("2099-01-01T00:00:00Z")),
        ("`created_at` is 2999-01-01T00:00:00Z, in the future", |m| m["created_at"] = json!("2999-01-01T00:00:00Z")),
        ("`finalized_at` is 2026-04-01T00:00:00Z, but the run that wrote it has", |m| {
            m["finalized_at"] = json!("2026-04-01T00:00:00Z");
        }),
    ];
    std::fs::remove_file(package.root.join("report.html")).unwrap();
    for (words, edit) in edits {
        std::fs::write(package.root.join("manifest.json"), &manifest).unwrap();
        edit_manifest(&package.root, edit);
        project.call(&["verify", "--rows", "package"]).exits(5).says(&[words]);
    }
    // No field of the package determines the spec's path.
    std::fs::write(package.root.join("manifest.json"), &manifest).unwrap();
    edit_manifest(&package.root, |m| m["spec"]["path"] = json!("x"));
    project.call(&["verify", "--rows", "package"]).exits(0);
}

#[test]
fn the_reason_for_no_rows_cannot_be_edited() {
    let project = Project::with_spec(
        "type: events\nwindow: {date: 2026-05-01}\n\
         source: {uri: data/, path_time: {pattern: \"%Y-%m-%d.ndjson\", covers: day}}",
    );
    project.write("data/2026-03-01.ndjson", "{\"occurred_at\":\"2026-03-01T00:00:00Z\"}\n");
    project.write("data/2026-03-02.ndjson", "{\"occurred_at\":\"2026-03-02T00:00:00Z\"}\n");
    let package = project.complete();
    let manifest = std::fs::read(package.root.join("manifest.json")).unwrap();
    let edits: [(&str, Edit); 6] = [
        ("`no_rows` is missing, but the files have no rows; the reason is nothing_to_read", |m| {
            m.as_object_mut().unwrap().remove("no_rows");
        }),
        ("`no_rows.reason` is all_filtered_out, but `accounting` and `source.files` give nothing_to_read", |m| {
            m["no_rows"]["reason"] = json!("all_filtered_out");
        }),
        ("`source.skipped_by_path_time` is 0, but 2 of `source.files` have the `skip_code` path_time", |m| {
            m["source"]["skipped_by_path_time"] = json!(0);
        }),
        ("`source.unexported_keys` lists keys around the rows, but `spec.resolved` has no `records`", |m| {
            m["source"]["unexported_keys"] = json!(["owner"]);
        }),
        ("`source.kind` is missing, but the manifest has fields that only releases with it write", |m| {
            m["source"].as_object_mut().unwrap().remove("kind");
        }),
        ("`no_rows.held` has values, but the filters dropped no rows", |m| {
            m["no_rows"]["held"] =
                json!([{"filter": "status in", "column": "status", "values": ["allowed"], "is_all": true}]);
        }),
    ];
    std::fs::remove_file(package.root.join("report.html")).unwrap();
    for (words, edit) in edits {
        std::fs::write(package.root.join("manifest.json"), &manifest).unwrap();
        edit_manifest(&package.root, edit);
        project.call(&["verify", "--rows", "package"]).exits(5).says(&[words]);
    }
}
