//! Packages and sources in object stores: the same rows and bytes as locally, through every fault.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{NOW, Outcome, Project, daily_files, outcome, parquet_of};
use crate::s3_server::{Fault, S3Server};

const WINDOW: &str = "window: {date_from: 2026-03-01, date_to: 2026-03-05}";

/// A project whose source and package are in the server's bucket.
pub(crate) fn project_on(server: &S3Server, rest: &str) -> Project {
    let project = Project::new();
    for (name, text) in daily_files(5, 60) {
        server.put(&format!("lake/{name}"), text.as_bytes());
    }
    spec(&project, rest);
    project
}

pub(crate) fn spec(project: &Project, rest: &str) {
    let text = format!(
        "version: 1\nname: test\noutput: {{uri: 's3://bucket/evidence/package/'}}\ntype: events\n\
         source: {{uri: 's3://bucket/lake/data/'}}\n{WINDOW}\n{rest}\n"
    );
    project.write("spec.yaml", text);
}

/// Runs the program as a client of the server.
pub(crate) fn call(project: &Project, server: &S3Server, args: &[&str]) -> Outcome {
    outcome(project.command(args).envs(server.environment()).env("AWS_EC2_METADATA_DISABLED", "true"))
}

fn run(project: &Project, server: &S3Server, args: &[&str]) -> Outcome {
    call(project, server, &[&["run", "spec.yaml", "--progress", "never", "--now", NOW], args].concat())
}

pub(crate) fn manifest(server: &S3Server) -> Value {
    serde_json::from_slice(&server.get("evidence/package/manifest.json").expect("a manifest")).expect("JSON")
}

/// By partition, format and number, the bytes of every listed shard; the run in the name does not count.
pub(crate) fn shards(server: &S3Server) -> BTreeMap<String, Vec<u8>> {
    let manifest = manifest(server);
    let listed: Vec<String> =
        manifest["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap().to_owned()).collect();
    let there = server.keys("evidence/package/data/");
    let unlisted: Vec<_> =
        there.iter().filter(|key| !listed.contains(&key["evidence/package/".len()..].to_owned())).collect();
    assert!(unlisted.is_empty(), "{unlisted:?}");
    let bytes = |path: &String| server.get(&format!("evidence/package/{path}")).expect("a listed shard is there");
    listed.iter().map(|path| (without_run(path), bytes(path))).collect()
}

/// `data/2026-03-01/part-0000.g2.<run>.csv.zst` as an undisturbed local package names it.
fn without_run(path: &str) -> String {
    let path = crate::project::without_generation(path);
    let (folder, name) = path.rsplit_once('/').unwrap();
    let mut parts: Vec<&str> = name.split('.').collect();
    // A run's name has a fraction of a second, so one dot of its own.
    parts.drain(1..3);
    format!("{}/{}", folder.strip_prefix("data/").unwrap(), parts.join("."))
}

/// What a local run of the same spec gives.
pub(crate) fn golden(rest: &str) -> BTreeMap<String, Vec<u8>> {
    let project = Project::with_spec(&format!("type: events\nsource: {{uri: data/}}\n{WINDOW}\n{rest}"));
    for (name, text) in daily_files(5, 60) {
        project.write(&name, text);
    }
    project.complete().shards()
}

#[test]
fn a_package_in_a_store_has_the_bytes_of_a_local_one() {
    for rest in
        ["format: csv", "format: ndjson\ncompression: gzip", "format: json\ncompression: none", "format: parquet"]
    {
        let server = S3Server::start();
        let project = project_on(&server, rest);
        run(&project, &server, &[]).exits(0).says(&["s3://bucket/evidence/package"]);
        assert!(shards(&server) == golden(rest), "{rest}");
        assert!(server.uploads().is_empty());
        call(&project, &server, &["verify", "--rows", "s3://bucket/evidence/package"]).exits(0);
        call(&project, &server, &["reproduce", "s3://bucket/evidence/package"])
            .exits(0)
            .says(&["reproduced, all 5 files"]);
        let before = server.keys("");
        run(&project, &server, &[]).exits(0).says(&["complete already"]);
        assert_eq!(server.keys(""), before);
        let source = &manifest(&server)["source"]["files"][0];
        assert!(source["etag"].is_string() && source["mtime"].is_null(), "{source}");
    }
}

#[test]
fn sources_are_named_by_object_prefix_and_glob() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    server.put("lake/data/_SUCCESS", b"");
    server.put("lake/data/notes.txt", b"hello");
    server.put("lake/database.ndjson", b"{\"other\":1}\n");
    server.set_page_size(2);
    for (uri, rows) in [
        ("s3://bucket/lake/data/", 300),
        ("s3://bucket/lake/data", 300),
        ("s3://bucket/lake/data/2026-03-0[12].ndjson", 120),
        ("s3://bucket/lake/**/2026-03-01.*", 60),
        ("s3://bucket/lake/data/2026-03-03.ndjson", 60),
    ] {
        project.write(
            "spec.yaml",
            format!(
                "version: 1\nname: test\ntype: events\nsource: {{uri: '{uri}'}}\n{WINDOW}\noutput: {{uri: package}}"
            ),
        );
        let package = project.package();
        let _ = std::fs::remove_dir_all(&package.root);
        run(&project, &server, &[]).exits(0);
        assert_eq!(package.manifest()["total_rows"], rows, "{uri}");
    }
    project.write(
        "spec.yaml",
        format!("version: 1\nname: test\ntype: events\nsource: {{uri: 's3://bucket/nothing/'}}\n{WINDOW}"),
    );
    run(&project, &server, &[]).exits(2).says(&["source matches no file: s3://bucket/nothing/"]);
}

#[test]
fn a_pruned_read_takes_footers_and_the_row_groups_it_needs() {
    let server = S3Server::start();
    let project = Project::new();
    let text: String = daily_files(28, 1500).into_iter().map(|(_, text)| text).collect();
    let file = parquet_of(&text);
    server.put("lake/events.parquet", &file);
    project.write(
        "spec.yaml",
        "version: 1\nname: test\ntype: events\nsource: {uri: 's3://bucket/lake/events.parquet'}\n\
         window: {date: 2026-03-10}\noutput: {uri: package}\n",
    );
    server.forget_requests();
    run(&project, &server, &[]).exits(0);
    assert_eq!(project.package().manifest()["total_rows"], 1500);
    // The end of the file is read twice, for inspecting and for reading; beyond that, one day of 28.
    let ends = 2 * (64 << 10);
    let day = file.len() as u64 / 28;
    assert!(server.bytes_served() < ends + 2 * day, "{} of {}", server.bytes_served(), file.len());
}

#[test]
fn a_source_that_changes_after_it_was_listed_fails_its_partitions() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let reads = AtomicUsize::new(0);
    // Inspected as it is; then each read of the file finds another version.
    server.on_request(move |request| {
        let is_read = request.method == "GET" && request.key == "lake/data/2026-03-03.ndjson";
        (is_read && reads.fetch_add(1, Ordering::SeqCst) > 0).then_some(Fault::Status(412, "PreconditionFailed"))
    });
    run(&project, &server, &[]).exits(3);
    let manifest = manifest(&server);
    let failed: Vec<_> = manifest["files"].as_array().unwrap().iter().filter(|f| f["status"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{manifest}");
    assert_eq!(failed[0]["error_code"], "source_changed");
    server.clear_faults();
    run(&project, &server, &[]).exits(0);
    assert!(shards(&server) == golden(""));
}

#[test]
fn a_store_that_stumbles_is_waited_for() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let asked = AtomicUsize::new(0);
    // After the first contact, every third request goes wrong in one of the ways of the wild.
    server.on_request(move |_| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        let faults =
            [Fault::Status(503, "SlowDown"), Fault::LoseReply, Fault::Status(500, "InternalError"), Fault::Reset];
        (n > 3 && n.is_multiple_of(3)).then(|| faults[n / 3 % faults.len()])
    });
    run(&project, &server, &[]).exits(0);
    server.clear_faults();
    assert!(shards(&server) == golden(""));
    call(&project, &server, &["verify", "s3://bucket/evidence/package"]).exits(0);
}

#[test]
fn a_store_that_cannot_be_used_says_why_within_seconds() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let with = |name: &str, value: &str, code: i32, words: &[&str]| {
        let started = Instant::now();
        let mut command = project.command(&["run", "spec.yaml", "--progress", "never", "--now", NOW]);
        let outcome = outcome(command.envs(server.environment()).env(name, value)).exits(code).says(words);
        assert!(!outcome.stderr.contains("wrong-secret"), "{}", outcome.stderr);
        // Not a measurement: the retries of the first contact end after 5 s, those of a run after 2 min.
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    };
    with(
        "AWS_SECRET_ACCESS_KEY",
        "wrong-secret",
        4,
        &["s3://bucket/evidence/package", "access denied", "SignatureDoesNotMatch"],
    );
    with("AWS_ACCESS_KEY_ID", "nobody", 4, &["access denied", "InvalidAccessKeyId"]);
    with("AWS_ENDPOINT_URL", "127.0.0.1:9000", 4, &["cannot connect to s3://bucket", "the endpoint is not a URL"]);
    with("AWS_ENDPOINT_URL", "http://127.0.0.1:9", 6, &["the store does not respond", "check the endpoint"]);
    for (status, code, exit, words) in [
        (301, "PermanentRedirect", 4, "another region"),
        (404, "NoSuchBucket", 4, "the bucket does not exist"),
        (503, "SlowDown", 6, "throttles requests"),
        (403, "AccessDenied", 4, "access denied"),
    ] {
        server.on_request(move |_| Some(Fault::Status(status, code)));
        run(&project, &server, &[]).exits(exit).says(&["s3://bucket/evidence/package", words]);
        server.clear_faults();
    }
    assert!(server.keys("evidence/").is_empty());
}

#[test]
fn a_store_that_goes_away_leaves_a_job_that_goes_on_later() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    // Shards of one day are refused for good: exit 6, no manifest, the others are kept.
    server.on_request(|request| {
        let is_shard = request.method == "PUT" && request.key.contains("data/2026-03-04/");
        is_shard.then_some(Fault::Status(403, "AccessDenied"))
    });
    run(&project, &server, &[]).exits(3);
    let denied = manifest(&server);
    assert_eq!(denied["failed_count"], 1);
    assert_eq!(denied["files"][3]["error_code"], "store_denied");
    server.clear_faults();
    run(&project, &server, &[]).exits(0);
    assert!(shards(&server) == golden(""));
}

#[test]
fn large_shards_are_uploaded_in_parts_and_aborted_when_the_run_stops() {
    let server = S3Server::start();
    let project = Project::new();
    for (name, text) in daily_files(5, 40_000) {
        server.put(&format!("lake/{name}"), text.as_bytes());
    }
    spec(&project, "compression: none\npartition: {by: month}");
    // The second part never gets through, so the shard fails and its upload is aborted.
    server.on_request(|request| {
        (request.method == "PUT" && request.query.contains("partNumber=2"))
            .then_some(Fault::Status(403, "AccessDenied"))
    });
    run(&project, &server, &[]).exits(4);
    assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    server.clear_faults();
    // The answer to the completion is lost: the object tells that it happened.
    let lost = AtomicUsize::new(0);
    server.on_request(move |request| {
        let completes = request.method == "POST" && request.query.contains("uploadId=");
        (completes && lost.fetch_add(1, Ordering::SeqCst) == 0).then_some(Fault::LoseReply)
    });
    // What a killed run left behind goes when the job is finished, what is not below the package stays.
    server.begin_upload("evidence/package/data/2026-03/part-0000.dead.csv");
    server.begin_upload("evidence/package-2/data/x");
    run(&project, &server, &[]).exits(0);
    assert_eq!(server.uploads(), ["evidence/package-2/data/x"]);
    call(&project, &server, &["verify", "--rows", "s3://bucket/evidence/package"]).exits(0);
    let parts = server.requests().iter().filter(|r| r.query.contains("partNumber=")).count();
    assert!(parts >= 3, "{parts}");
}

#[test]
fn of_many_runs_at_once_one_finishes_the_job() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let mut runs: Vec<_> = (0..4)
        .map(|_| {
            let mut command =
                project.command(&["run", "spec.yaml", "--progress", "never", "--threads", "1", "--now", NOW]);
            command.envs(server.environment()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for run in runs.drain(..) {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(shards(&server) == golden(""));
    call(&project, &server, &["verify", "--rows", "s3://bucket/evidence/package"]).exits(0);
}

#[test]
fn a_store_that_ignores_conditions_is_recognised() {
    let server = S3Server::start();
    server.ignore_conditions(true);
    let project = project_on(&server, "");
    run(&project, &server, &[])
        .exits(0)
        .says(&["ignores conditional writes (If-None-Match): one run of a job at a time"]);
    assert!(shards(&server) == golden(""));
    run(&project, &server, &[]).exits(0).says(&["complete already"]);
}
