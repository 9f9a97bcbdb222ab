//! Sources of several URIs.

use serde_json::{Value, json};

use crate::project::{NOW, Project, column};
use crate::s3_server::S3Server;
use crate::stores::call;

const DAY: &str = "window: {date: 2026-03-05}\nformat: ndjson\ncompression: none";

fn spec(uri: &str) -> String {
    format!("type: events\nsource: {{uri: {uri}}}\n{DAY}")
}

fn row(n: u32) -> String {
    format!("{{\"occurred_at\":\"2026-03-05T00:00:0{n}Z\",\"n\":{n}}}\n")
}

fn files(manifest: &Value) -> Vec<(&str, &str)> {
    let files = manifest["source"]["files"].as_array().unwrap().iter();
    files.map(|file| (file["path"].as_str().unwrap(), file["skip_code"].as_str().unwrap_or("read"))).collect()
}

#[test]
fn files_folders_globs_and_prefixes_are_one_source() {
    let server = S3Server::start();
    let project = Project::with_spec(&spec("[s3://bucket/lake/b/, ./data/, one.ndjson, 'logs/*/{{ vars.name }}.log']"));
    let text = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
    project.write("spec.yaml", format!("{text}\nvars: {{name: {{default: app}}}}\n"));
    server.put("lake/b/x.ndjson", row(3).as_bytes());
    server.put("lake/b/_SUCCESS", b"");
    for (n, name) in [(1, "data/x.ndjson"), (2, "data/y/x.ndjson"), (4, "one.ndjson"), (0, "logs/eu/app.log")] {
        project.write(name, row(n));
    }
    project.write("logs/eu/web.log", "no JSON\n");
    project.write("data/notes.txt", "");
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
    let package = project.package();
    assert_eq!(column(&package.rows(), "n"), ["1", "2", "0", "4", "3"]);
    let manifest = package.manifest();
    let expected = [
        ("data/x.ndjson", "read"),
        ("data/y/x.ndjson", "read"),
        ("logs/eu/app.log", "read"),
        ("one.ndjson", "read"),
        ("s3://bucket/lake/b/x.ndjson", "read"),
        ("data/notes.txt", "unknown_format"),
        ("s3://bucket/lake/b/_SUCCESS", "hidden"),
    ];
    assert_eq!(files(&manifest), expected);
    let written = ["s3://bucket/lake/b/", "./data/", "one.ndjson", "logs/*/app.log"];
    assert_eq!(manifest["spec"]["resolved"]["source"]["uri"], json!(written));
    let absolute = |name: &str| project.path(name).display().to_string();
    let resolved = [written[0].to_owned(), absolute("data/"), absolute("one.ndjson"), absolute("logs/*/app.log")];
    assert_eq!(manifest["source"]["uri"], json!(resolved));
    project.call(&["verify", "--rows", "package"]).exits(0);
    call(&project, &server, &["reproduce", "package"]).exits(0);
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW])
        .exits(0)
        .says(&["complete already"]);
    let report = project.call(&["report", "package", "--format", "markdown"]).exits(0).stdout.replace('\\', "");
    assert!(resolved.iter().all(|uri| report.contains(uri)), "{report}");
    call(&project, &server, &["doctor", "spec.yaml", "--now", NOW]).says(&[&format!(
        "5 files, {} B in {}",
        row(0).len() * 5,
        resolved.join(", ")
    )]);
}

#[test]
fn a_list_of_one_is_the_same_job_as_one_uri() {
    let resolved = |uri: &str| {
        let project = Project::with_spec(&spec(uri));
        project.write("data/x.ndjson", row(1));
        project.write("more/x.ndjson", row(2));
        let manifest = project.complete().manifest();
        (
            manifest["id"].clone(),
            manifest["spec"]["resolved"]["source"]["uri"].clone(),
            manifest["source"]["uri"].is_string(),
        )
    };
    let one = resolved("data/");
    assert_eq!(resolved("[data/]"), one);
    assert_eq!((&one.1, one.2), (&json!("data/"), true));
    let two = resolved("[data/, more/]");
    assert_eq!((&two.1, two.2), (&json!(["data/", "more/"]), false));
    let turned = resolved("[more/, data/]");
    assert!(one.0.is_string() && one.0 != two.0 && two.0 != turned.0);
}

#[test]
fn mistakes_point_at_the_uri_that_they_are_about() {
    let refused = |uri: &str, texts: &[&str]| {
        let project = Project::with_spec(&spec(uri));
        project.write("data/x.ndjson", row(1));
        project.write("data/2026.ndjson", row(1));
        project.write("logs/app.log", "a line\n");
        drop(project.run(&[]).exits(2).says(texts));
    };
    // The list begins in column 15.
    refused("[]", &["`uri` is an empty list", "spec.yaml:5:15", "name at least one file, folder or glob"]);
    refused("[data/, ./data]", &["`uri` names `./data` twice", "spec.yaml:5:23", "remove one of them"]);
    refused("[s3://b/x/, s3a://b/x]", &["`uri` names `s3a://b/x` twice", "spec.yaml:5:27"]);
    refused("[data/, ftp://x/y]", &["`ftp://` is not supported", "spec.yaml:5:23"]);
    refused("[data/, [x]]", &["`uri` must be text, found a list", "spec.yaml:5:23"]);
    refused("[data/, '']", &["`uri` is empty", "spec.yaml:5:23"]);
    refused("[data/, gone/]", &["source matches no file: ", "gone/ (no such file or folder)", "spec.yaml:5:23"]);
    refused("[data/, 'data/*.csv']", &["source matches no file: ", "data/*.csv (looked for ", "spec.yaml:5:23"]);
    refused("[data/, logs/]", &["app.log begins with `a line`", "spec.yaml:5:23"]);
    refused("[data/, ./]", &["the output ", "lies inside the source ", "spec.yaml:5:23"]);
    refused("[data/, more/], options: {region: x}", &["`options` has no effect: no `uri` is in an object store"]);
    refused("data/, options: {region: x}", &["`options` has no effect: `data/` is not in an object store"]);
    refused(
        "[data/x.ndjson, logs/app.log], exclude: x, format: ndjson",
        &["`exclude` has no effect: each `uri` names one file"],
    );
    refused(
        "['data/2026*', logs/], path_time: {pattern: '%Y.ndjson', covers: year}",
        &["logs/app.log does not end in the time that `path_time` promises", "spec.yaml:5:30"],
    );
}

#[test]
fn globs_of_exclude_are_relative_to_the_folder_of_each_uri() {
    let project = Project::with_spec(&spec("[a/, b/], exclude: ['x.ndjson', 'b/*']"));
    for (n, name) in [(0, "a/b/y.ndjson"), (1, "a/x.ndjson"), (2, "a/y.ndjson"), (3, "b/x.ndjson"), (4, "b/y.ndjson")] {
        project.write(name, row(n));
    }
    let package = project.complete();
    assert_eq!(column(&package.rows(), "n"), ["2", "4"]);
    let expected = [
        ("a/y.ndjson", "read"),
        ("b/y.ndjson", "read"),
        ("a/b/y.ndjson", "excluded"),
        ("a/x.ndjson", "excluded"),
        ("b/x.ndjson", "excluded"),
    ];
    assert_eq!(files(&package.manifest()), expected);
}

#[test]
fn what_two_uris_reach_is_read_once_and_told() {
    let server = S3Server::start();
    let project = Project::with_spec(&spec("[s3://bucket/lake/, 's3://bucket/lake/b/*.ndjson']"));
    server.put("lake/b/x.ndjson", row(1).as_bytes());
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
    let package = project.package();
    assert_eq!(column(&package.rows(), "n"), ["1"]);
    let manifest = package.manifest();
    let name = "s3://bucket/lake/b/x.ndjson";
    assert_eq!(files(&manifest), [(name, "read"), (name, "same_file")]);
    assert_eq!(manifest["source"]["files"][1]["skipped"], "another `uri` of the source names it too; it is read once");
    project.call(&["verify", "--rows", "package"]).exits(0);
}

#[test]
fn claims_of_names_hold_over_all_uris() {
    let project = Project::with_spec(&spec("[a/, b/], path_time: {pattern: '%Y-%m-%d.ndjson', covers: day}"));
    project.write("a/2026-03-05.ndjson", row(1));
    project.write("b/2026-03-05.ndjson", row(2));
    project.write("b/2026-03-06.ndjson", row(3).replace("03-05", "03-06"));
    let package = project.complete();
    assert_eq!(column(&package.rows(), "n"), ["1", "2"]);
    assert_eq!(package.manifest()["source"]["skipped_by_path_time"], 1);
    project.write("a/2026-03-05.ndjson", row(1).replace("03-05", "03-06"));
    std::fs::remove_dir_all(project.path("package")).unwrap();
    project
        .run(&[])
        .exits(4)
        .says(&["path_time_broken: a/2026-03-05.ndjson:1: the row's time is 2026-03-06T00:00:01Z"]);
}
