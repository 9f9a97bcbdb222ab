//! Objects that are listed and cannot be read: keys that no request can name, and archives.

use crate::project::{NOW, Outcome, Project, daily_files};
use crate::s3_server::{Fault, S3Server};
use crate::stores::{call, manifest, project_on};

fn run(project: &Project, server: &S3Server) -> Outcome {
    call(project, server, &["run", "spec.yaml", "--progress", "never", "--now", NOW])
}

#[test]
fn a_source_object_whose_key_no_request_can_name_is_refused_by_its_name() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let (_, text) = daily_files(1, 60).remove(0);
    for (key, why) in [
        ("lake/data//2026-03-01.ndjson", "it has an empty segment (`//`)"),
        ("lake/data/./2026-03-01.ndjson", "it has a segment `.` or `..`"),
        ("lake/data/a/../2026-03-01.ndjson", "it has a segment `.` or `..`"),
    ] {
        server.put(key, text.as_bytes());
        let way_out = "copy it to another key, or name the other objects with a glob";
        run(&project, &server).exits(2).says(&[&format!("s3://bucket/{key} is listed"), why, way_out]);
        // The way out.
        let spec = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
        let glob = spec.replace("s3://bucket/lake/data/", "s3://bucket/lake/data/2026-*.ndjson");
        project.write("spec.yaml", glob);
        run(&project, &server).exits(0);
        assert_eq!(manifest(&server)["total_rows"], 300);
        project.write("spec.yaml", spec);
        server.remove(key);
        server.keys("evidence/").iter().for_each(|key| server.remove(key));
    }
}

/// Markers of folders, and files that would not be read anyway.
#[test]
fn keys_that_hold_no_rows_do_not_make_a_prefix_unlistable() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    for (key, text) in [("lake/data//", ""), ("lake/data/a//", ""), ("lake/data//notes.txt", "hello")] {
        server.put(key, text.as_bytes());
    }
    run(&project, &server).exits(0);
    let manifest = manifest(&server);
    assert_eq!(manifest["total_rows"], 300);
    let skipped = manifest["source"]["files"].to_string();
    assert!(skipped.contains("notes.txt") && skipped.contains("a key that no request can name"), "{skipped}");
    call(&project, &server, &["verify", "s3://bucket/evidence/package"]).exits(0);
}

#[test]
fn a_foreign_key_in_a_package_is_named() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    run(&project, &server).exits(0);
    server.put("evidence/package/data//x.csv", b"1");
    let outcome = call(&project, &server, &["verify", "s3://bucket/evidence/package"]);
    assert!(matches!(outcome.code, Some(4 | 5)), "{outcome:?}");
    let told = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(told.contains("data//x.csv") && told.contains("a segment is empty"), "{told}");
}

#[test]
fn an_archived_object_is_told_as_one() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    server.on_request(|request| {
        let is_read = request.method == "GET" && request.key == "lake/data/2026-03-03.ndjson";
        is_read.then_some(Fault::Status(403, "InvalidObjectState"))
    });
    let outcome = run(&project, &server);
    assert_ne!(outcome.code, Some(0));
    let told = format!("{}{}", outcome.stdout, outcome.stderr);
    for words in ["2026-03-03.ndjson", "in an archive (Glacier, Deep Archive", "restore it", "InvalidObjectState"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("check that the credentials"), "{told}");
}
