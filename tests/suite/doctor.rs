//! `doctor`: each check in each of its states, and nothing left behind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::project::{NOW, Outcome, Project, daily_files, files_below, outcome, parquet_of};
use crate::s3_server::{Fault, S3Server};
use crate::stores::{call, project_on};

const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-05}";

fn project() -> Project {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(5, 20) {
        project.write(&name, text);
    }
    project
}

/// Files and folders of the project, with the bytes of the files.
fn snapshot(project: &Project) -> (Vec<String>, BTreeMap<String, Vec<u8>>) {
    let entries = walkdir::WalkDir::new(project.path("")).sort_by_file_name().into_iter();
    let names = entries.map(|e| e.unwrap().path().display().to_string()).collect();
    let files = files_below(&project.path(""));
    (names, files.into_iter().map(|(name, path)| (name, std::fs::read(path).unwrap())).collect())
}

/// Examines `spec.yaml` and checks that the folder is what it was.
#[track_caller]
fn doctor(project: &Project, args: &[&str]) -> Outcome {
    let before = snapshot(project);
    let outcome = project.call(&[&["doctor", "spec.yaml", "--now", NOW], args].concat());
    assert!(snapshot(project) == before, "something stayed behind:\n{:?}\n{:?}", snapshot(project).0, before.0);
    outcome
}

/// The same on a server's bucket.
#[track_caller]
fn doctor_on(project: &Project, server: &S3Server, args: &[&str]) -> Outcome {
    let before = (snapshot(project), server.keys(""), server.uploads());
    let outcome = call(project, server, &[&["doctor", "spec.yaml", "--now", NOW], args].concat());
    assert!((snapshot(project), server.keys(""), server.uploads()) == before, "{:?}", server.keys(""));
    outcome
}

/// By name of the check, its status and message.
#[track_caller]
fn checks(outcome: &Outcome) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let report = outcome.json();
    let checks = report["specs"][0]["checks"].as_array().unwrap();
    checks.iter().map(|c| (text(&c["check"]), (text(&c["status"]), text(&c["message"])))).collect()
}

#[test]
fn a_job_that_will_work_is_well_and_leaves_nothing() {
    let project = project();
    let outcome = doctor(&project, &["--json"]).exits(0);
    let report = outcome.json();
    assert_eq!((&report["version"], &report["exit_code"]), (&json!(1), &json!(0)));
    assert_eq!((&report["specs"][0]["spec"], &report["specs"][0]["exit_code"]), (&json!("spec.yaml"), &json!(0)));
    let order: Vec<_> = report["specs"][0]["checks"].as_array().unwrap().iter().map(|c| c["check"].clone()).collect();
    let names = ["spec", "window", "source", "files", "columns", "memory", "output", "package", "disk", "clock"];
    assert_eq!(json!(order), json!(names));
    let checks = checks(&outcome);
    assert!(checks.values().all(|(status, _)| status == "ok"), "{checks:?}");
    for (check, words) in [
        ("spec", "test, job_"),
        (
            "window",
            "2026-03-01_2026-03-05, 2026-03-01 00:00:00+00:00 to 2026-03-06 00:00:00+00:00 (UTC), ended and settled",
        ),
        ("source", "5 files, "),
        ("files", "inspected 5 files: 5 columns, 100 rows seen"),
        ("columns", "time is `occurred_at`, 5 columns written"),
        ("memory", "for a run"),
        ("output", "package/ can be written"),
        ("package", "empty"),
        ("disk", "of source in the window (an estimate)"),
        ("clock", "not compared with another clock"),
    ] {
        assert!(checks[check].1.contains(words), "{check}: {:?}", checks[check]);
    }
    doctor(&project, &[]).exits(0).says(&["spec.yaml\n  ok spec     test, job_", "1 spec checked: 1 ready"]);
    assert_eq!(doctor(&project, &["--quiet"]).exits(0).stderr, "");
    assert!(!project.path("package").exists());
}

#[test]
fn folders_above_the_package_that_are_missing_stay_missing() {
    let project = project();
    project.write("out/keep", "");
    doctor(&project, &["--output", "out/a/b"]).exits(0);
    std::fs::create_dir_all(project.path("package")).unwrap();
    doctor(&project, &[]).exits(0);
}

#[test]
fn mistakes_are_shown_as_validate_shows_them() {
    let project = Project::with_spec(&format!("{SPEC}\nfromat: csv\norder: tme"));
    let validated = project.call(&["validate", "spec.yaml"]).exits(2).stderr;
    let outcome = doctor(&project, &[]).exits(2).says(&[
        "x  spec     2 mistakes",
        "help: the other checks need a valid spec",
        "1 spec checked: 1 with failures",
    ]);
    for line in validated.lines().filter(|line| line.contains("fromat") || line.contains("tme")) {
        assert!(outcome.stderr.contains(line), "no `{line}` in:\n{}", outcome.stderr);
    }
    let report = doctor(&project, &["--json"]).exits(2).json();
    assert_eq!(report["specs"][0]["checks"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["specs"][0]["checks"][0]["diagnostics"][0]["help"], "did you mean `format`?");
    project.call(&["doctor", "nowhere.yaml"]).exits(2).says(&["nowhere.yaml"]);
    project.call(&["doctor", "spec.yaml", "--var", "a"]).exits(2).says(&["write NAME=VALUE"]);
}

#[test]
fn of_several_specs_the_worst_counts_and_all_are_checked() {
    let project = project();
    project.write("specs/a.yaml", std::fs::read(project.path("spec.yaml")).unwrap());
    project.write("specs/b.yaml", "version: 1\nname: b\n");
    project.write("specs/catalog.yaml", "version: 1\ntypes: {}\n");
    let outcome = project.call(&["doctor", "spec.yaml", "specs/b.yaml", "--now", NOW]).exits(2);
    outcome.says(&["2 specs checked: 1 with failures, 1 ready"]);
    // The source of `a` is beside it, and it is not there.
    project.call(&["doctor", "specs", "--now", NOW]).exits(2).says(&["2 specs checked: 2 with failures"]);
}

#[test]
fn a_window_that_is_not_over_says_when_it_will_be() {
    let project = project();
    let at = |now: &str| project.call(&["doctor", "spec.yaml", "--json", "--now", now]).exits(0);
    let (status, message) = checks(&at("2026-03-05T22:00:00Z"))["window"].clone();
    assert_eq!(status, "warning");
    assert!(message.contains("is not over: a run before 2026-03-06 00:00:00+00:00 ends with exit code 6"), "{message}");
    project.call(&["doctor", "spec.yaml", "--now", "2026-03-05T22:00:00Z"]).exits(0).says(&["help: run it in 2 h"]);
    project.spec(&SPEC.replace("2026-03-05}", "2026-03-05, settle: 6h}"));
    let (status, message) = checks(&at("2026-03-06T01:00:00Z"))["window"].clone();
    assert_eq!(status, "warning");
    assert!(message.contains("has ended but not settled: a run before 2026-03-06 06:00:00+00:00"), "{message}");
    project.spec(&SPEC.replace("2026-03-05}", "2026-03-05, allow_open: true}"));
    let (status, message) = checks(&at("2026-03-05T22:00:00Z"))["window"].clone();
    assert_eq!(status, "ok");
    assert!(message.ends_with("still open, which `allow_open` permits"), "{message}");
    project.spec("type: events\nsource: {uri: data/}\nwindow: {previous: month, timezone: Europe/Berlin}");
    let (_, message) = checks(&at("2026-04-02T00:00:00Z"))["window"].clone();
    assert!(message.starts_with("2026-03, 2026-03-01 00:00:00+01:00 to 2026-04-01 00:00:00+02:00"), "{message}");
}

#[test]
fn a_source_that_is_not_there_or_empty_fails() {
    let project = Project::with_spec(SPEC);
    doctor(&project, &[])
        .exits(2)
        .says(&["x  source   source matches no file: ", "help: files, columns and memory cannot be checked"]);
    std::fs::create_dir(project.path("data")).unwrap();
    let outcome = doctor(&project, &["--json"]).exits(2);
    assert!(checks(&outcome)["source"].1.contains("looked for .parquet"), "{outcome:?}");
    assert_eq!(checks(&outcome)["output"].0, "ok");
    project.write("data/2026-04-01.ndjson", "{}\n");
    let path_time = "{uri: data/, path_time: {pattern: \"%Y-%m-%d.ndjson\", covers: day}}";
    project.spec(&SPEC.replace("{uri: data/}", path_time));
    doctor(&project, &[])
        .exits(0)
        .says(&["!  source   no file of the window in ", "outside the window according to `path_time`"]);
}

#[test]
fn what_the_source_shows_in_the_spec_comes_out_as_in_a_run() {
    let project = project();
    for (rest, words) in [
        ("filters: {statsu: [a]}", "`statsu`"),
        ("columns: [event_id, noet]", "column `noet` is not in the source"),
        ("where: \"nn > 5\"", "`nn`"),
        ("filters: {n: {gte: x}}", "cannot be compared with the text 'x'"),
        ("time: {column: n}", "column `n` is not a time"),
    ] {
        project.spec(&format!("{SPEC}\n{rest}"));
        let told = doctor(&project, &[]).exits(2).says(&["x  columns  1 mistake", words]).stderr;
        let run = project.run(&[]).exits(2).stderr;
        let mistake = run.lines().find(|line| line.contains(words)).unwrap();
        assert!(told.contains(mistake), "{rest}: no `{mistake}` in:\n{told}");
    }
}

#[test]
fn rows_without_a_time_are_noticed() {
    let project = project();
    project.spec(&format!("{SPEC}\ntime: {{column: note}}"));
    doctor(&project, &[])
        .exits(4)
        .says(&["x  columns  no inspected row has a time in `note`", "help: name the time column in"]);
    project.run(&[]).exits(4);
    std::fs::remove_dir_all(project.path("package")).unwrap();
    project.spec(&format!("{SPEC}\ntime: {{column: note}}\non_null_time: reject\non_bad_rows: reject"));
    doctor(&project, &[]).exits(3).says(&["x  columns  no inspected row has a time in `note`"]);
    project.spec(SPEC);
    let text = std::fs::read_to_string(project.path("data/2026-03-03.ndjson")).unwrap();
    project.write("data/2026-03-03.ndjson", format!("{text}{{\"event_id\":\"x\"}}\nno JSON\n"));
    let seen = "102 rows seen, 2 of them unreadable or without a time";
    doctor(&project, &[]).exits(3).says(&[
        &format!("x  files    inspected 5 files: 5 columns, {seen}"),
        "help: fix them, or the partitions they may belong to will fail; with `on_bad_rows: reject` and `on_null_time: \
         reject` they are written to rejects/ instead",
    ]);
    project.spec(&format!("{SPEC}\non_null_time: reject\non_bad_rows: reject"));
    doctor(&project, &[]).exits(3).says(&[
        seen,
        "help: fix them, or accept a partial package: the spec rejects them, so a run writes them to rejects/",
    ]);
    project.run(&[]).exits(3);
}

#[test]
fn broken_files_are_named_and_all_of_them_are_a_failure() {
    let project = Project::with_spec(SPEC);
    for (name, text) in daily_files(2, 20) {
        project.write(&name.replace("ndjson", "parquet"), parquet_of(&text));
    }
    project.write("data/2026-03-02.parquet", "no Parquet at all");
    doctor(&project, &[]).exits(3).says(&[
        "x  files    1 file cannot be read: 2026-03-02.parquet: ",
        "help: fix or remove them, or the partitions",
        "1 spec checked: 1 with failures",
    ]);
    project.write("data/2026-03-01.parquet", "nor this");
    doctor(&project, &[]).exits(4).says(&["x  files    2 files cannot be read: 2026-03-01.parquet: "]);
}

#[test]
fn rows_that_are_all_outside_the_window_are_noticed() {
    let project = project();
    project.spec(&SPEC.replace("2026-03-01, date_to: 2026-03-05", "2026-05-01, date_to: 2026-05-05"));
    doctor(&project, &[]).exits(0).says(&["!  files    inspected 5 files: 5 columns, 100 rows seen, none of them in"]);
    project.write("data/2026-03-01.ndjson", "");
    project.spec(&SPEC.replace("data/}", "data/2026-03-01.ndjson}"));
    doctor(&project, &[]).exits(0).says(&["!  columns  the files have no columns"]);
}

#[test]
fn of_many_files_of_rows_the_newest_are_looked_at_and_all_when_asked() {
    let project = Project::with_spec(&SPEC.replace("03-05", "03-20"));
    for (name, text) in daily_files(28, 20) {
        // Only old files have the column `old`.
        let text = if name.as_str() < "data/2026-03-05" { text.replace("\"note\"", "\"old\"") } else { text };
        project.write(&name, text);
    }
    doctor(&project, &[])
        .exits(0)
        .says(&["inspected 8 of 28 files, all Parquet files and the newest others: 5 columns, 160"]);
    doctor(&project, &["--full"]).exits(0).says(&["inspected 28 files: 6 columns, 560 rows"]);
    project.spec(&format!("{}\ncolumns: [event_id, old]", SPEC.replace("03-05", "03-20")));
    doctor(&project, &[])
        .exits(2)
        .says(&["column `old` is not in", "help: not every row was inspected; use `--full` for all"]);
    doctor(&project, &["--full"]).exits(0);
}

#[test]
fn of_a_large_file_of_rows_the_beginning_is_looked_at() {
    let project = Project::with_spec(SPEC);
    let text: String = daily_files(5, 30_000).into_iter().map(|(_, text)| text).collect();
    project.write("data/all.ndjson", &text);
    let outcome = doctor(&project, &["--json"]).exits(0);
    let seen = &checks(&outcome)["files"].1;
    assert!(seen.starts_with("inspected 1 file, not to the end of each: 5 columns, "), "{seen}");
    assert!(!seen.contains("150000 rows"), "{seen}");
    let all = checks(&doctor(&project, &["--json", "--full"]).exits(0))["files"].1.clone();
    assert_eq!(all, "inspected 1 file: 5 columns, 150000 rows seen");
}

#[test]
fn a_row_group_that_does_not_fit_is_told_with_what_it_needs() {
    let project = Project::with_spec(SPEC);
    let rows: String = daily_files(1, 400).into_iter().map(|(_, text)| text).collect();
    let note = "x".repeat(200_000);
    let text: String =
        rows.lines().map(|l| format!("{}\n", l.replace("row ", &format!("{note}{} ", l.len())))).collect();
    project.write("data/a.parquet", parquet_of(&text));
    let told = doctor(&project, &["--memory", "96MiB"]).exits(2);
    told.says(&[
        "x  memory   a.parquet: row group 0 takes ",
        "too much for 96.0 MiB of memory",
        "help: give `--memory ",
    ]);
    doctor(&project, &["--memory", "4GiB"]).exits(0).says(&["4.0 GiB for a run; the largest row group needs "]);
}

#[test]
fn an_output_that_cannot_be_written_fails() {
    let project = project();
    project.write("package", "a file");
    doctor(&project, &[]).exits(4).says(&["x  output   ", "package is a file, but a folder is needed there"]);
    std::fs::remove_file(project.path("package")).unwrap();
    project.write("below", "a file");
    doctor(&project, &["--output", "below/here"]).exits(4).says(&["below is a file, but a folder is needed there"]);
    if cfg!(target_os = "linux") {
        // Not even root can make a folder here.
        let outcome = doctor(&project, &["--output", "/proc/exports"]).exits(4);
        outcome.says(&["x  output   cannot create the folder /proc/exports: "]);
    }
}

#[test]
fn what_the_package_holds_decides() {
    let project = project();
    project.run(&[]).exits(0);
    doctor(&project, &[]).exits(0).says(&[
        "ok output   ",
        "contains the finished job, so writing was not tested",
        "ok package  2026-03-01_2026-03-05 is already complete, nothing to do",
    ]);
    // A run would do nothing, so what is wrong with the source is only a warning.
    std::fs::rename(project.path("data"), project.path("gone")).unwrap();
    doctor(&project, &[]).exits(0).says(&["!  source   source matches no file"]);
    std::fs::rename(project.path("gone"), project.path("data")).unwrap();
    project.spec(&format!("{SPEC}\nfilters: {{n: 1}}"));
    doctor(&project, &[]).exits(4).says(&[
        "x  package  ",
        "holds the complete package of another job, job_",
        "help: a complete package is final: choose another `output.uri`",
    ]);
    project.spec(SPEC);
    let shard = project.path("package/data/2026-03-03/part-0000.csv.zst");
    std::fs::remove_file(shard).unwrap();
    doctor(&project, &[]).exits(4).says(&["is damaged: data/2026-03-03/part-0000.csv.zst is missing", "run --repair"]);
    // As a run leaves it that was killed.
    std::fs::remove_file(project.path("package/manifest.json")).unwrap();
    std::fs::remove_file(project.path("package/_state/log/000002.json")).unwrap();
    doctor(&project, &[]).exits(0).says(&["ok package  unfinished since 20", "a run resumes it"]);
    std::fs::remove_dir_all(project.path("package")).unwrap();
    project.write("package/data/x", "");
    doctor(&project, &[]).exits(4).says(&["holds files below data/ or rejects/ that belong to no job"]);
}

#[test]
fn a_package_that_ended_partial_would_be_tried_again() {
    let project = project();
    project.write("data/2026-03-03.ndjson", "{\"event_id\":\n");
    project.run(&[]).exits(3);
    doctor(&project, &[]).exits(3).says(&["ok package  partial when it ended; a run retries the incomplete \
        partitions"]);
}

#[test]
fn a_store_is_tried_and_left_as_it_was() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let outcome = doctor_on(&project, &server, &["--json"]).exits(0);
    let checks = checks(&outcome);
    assert!(checks.values().all(|(status, _)| status == "ok"), "{checks:?}");
    assert_eq!(checks["output"].1, "s3://bucket/evidence/package can be written");
    assert!(checks["clock"].1.ends_with(", as s3://bucket/evidence/package has it"), "{checks:?}");
    assert!(checks["source"].1.ends_with(" in s3://bucket/lake/data/"), "{checks:?}");
    assert!(!checks.contains_key("disk"));
    assert!(server.requests().iter().any(|r| r.method == "PUT"));
    call(&project, &server, &["run", "spec.yaml", "--now", NOW]).exits(0);
    server.forget_requests();
    doctor_on(&project, &server, &[]).exits(0).says(&["is already complete, nothing to do"]);
    assert!(server.requests().iter().all(|r| r.method != "PUT" && r.method != "DELETE"));
}

#[test]
fn a_store_that_ignores_conditions_is_a_warning() {
    let server = S3Server::start();
    server.ignore_conditions(true);
    let project = project_on(&server, "");
    let outcome = doctor_on(&project, &server, &[]).exits(0);
    let outcome =
        outcome.says(&["!  output   ", "ignores conditional writes (If-None-Match)", "help: allow only one run"]);
    assert_eq!(outcome.stderr.matches("If-None-Match").count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_clock_that_is_wrong_is_told_before_signatures_break() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    for (ahead, exit, words) in [
        (30, 0, "ok clock    "),
        (300, 0, " s behind the clock of s3://bucket/evidence/package"),
        (-300, 0, " ahead of the clock of s3://bucket/evidence/package"),
        (1_000, 4, "x  clock    "),
        (-1_000, 4, "help: set this machine's clock (NTP): stores reject signatures"),
    ] {
        server.set_clock_ahead(ahead);
        let words = words.trim_start_matches(" s");
        doctor_on(&project, &server, &[]).exits(exit).says(&[words]);
    }
    server.on_request(|_| Some(Fault::Status(403, "RequestTimeTooSkewed")));
    doctor_on(&project, &server, &[]).exits(4).says(&[
        "x  source   cannot list ",
        "x  output   cannot create ",
        "this machine's clock and the store's are too far apart for signatures",
        "x  clock    ",
        "too far from the clock of s3://bucket/evidence/package for signatures",
    ]);
}

#[test]
fn a_store_that_says_no_fails_and_one_that_says_nothing_is_tried_later() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    for (status, code, exit, words) in [
        (403, "AccessDenied", 4, "access denied"),
        (404, "NoSuchBucket", 4, "the bucket does not exist"),
        (503, "SlowDown", 6, "throttles requests"),
    ] {
        server.on_request(move |_| Some(Fault::Status(status, code)));
        let told = doctor_on(&project, &server, &[]).exits(exit);
        let told =
            told.says(&["x  source   cannot ", "x  output   cannot create s3://bucket/evidence/package/", words]);
        assert!(!told.stderr.contains("package  "), "{}", told.stderr);
        server.clear_faults();
    }
    let mut command = project.command(&["doctor", "spec.yaml", "--now", NOW, "--json"]);
    let command = command.envs(server.environment()).env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let report = outcome(command).exits(6);
    assert_eq!(report.json()["exit_code"], 6);
    // Objects may be listed and not read.
    server.on_request(|r| (r.method == "GET" && !r.key.is_empty()).then_some(Fault::Status(403, "AccessDenied")));
    doctor_on(&project, &server, &[]).exits(4).says(&["x  files    2026-03-01.ndjson: cannot ", "access denied"]);
}

#[test]
fn a_signal_ends_the_checks() {
    use std::os::unix::process::ExitStatusExt as _;
    let server = S3Server::start();
    let project = project_on(&server, "");
    let (asked, told) = std::sync::mpsc::channel();
    server.on_request(move |_| {
        let _ = asked.send(());
        Some(Fault::Stall(std::time::Duration::from_secs(1)))
    });
    let mut command = project.command(&["doctor", "spec.yaml", "--now", NOW, "--json"]);
    command.envs(server.environment()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    told.recv().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(130), None));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("stopped before all checks were done"), "{stderr}");
    assert!(server.keys("evidence/").is_empty());
}

fn by_name(path_time: &str, window: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nwindow: {window}\n\
         source: {{uri: data/, path_time: {{pattern: \"%Y-%m-%d.ndjson\", covers: day{path_time}}}}}"
    ));
    project.write("data/2026-03-05.ndjson", "{\"occurred_at\":\"2026-03-05T00:01:00Z\"}\n");
    project
}

/// Status and message of the check of `path_time`, which has to be that of the run.
#[track_caller]
fn claims(project: &Project, code: i32) -> (String, String) {
    let [sample, full] = [&["--json"][..], &["--json", "--full"]].map(|args| {
        let outcome = doctor(project, args).exits(code);
        checks(&outcome)["claims"].clone()
    });
    assert_eq!((sample.0.as_str(), full.0.as_str()), (full.0.as_str(), sample.0.as_str()));
    if code != 0 {
        assert_eq!(sample, full);
        let (error_code, message) = full.1.split_once(": ").unwrap();
        let message = message.split("; the same holds").next().unwrap();
        project.run(&[]).exits(code).says(&[error_code, message]);
    }
    full
}

#[test]
fn a_row_outside_the_claim_of_its_file_is_a_failure_as_in_a_run() {
    let outside = "{\"occurred_at\":\"2026-03-05T23:59:30Z\"}\n";
    for (margin, code) in [("", 4), (", early: 1m", 0)] {
        let project = by_name(margin, "{date: 2026-03-05}");
        project.write("data/2026-03-06.ndjson", outside);
        let (status, message) = claims(&project, code);
        if code == 0 {
            assert_eq!((status.as_str(), message.as_str()), ("ok", "`path_time` skips no file"));
            continue;
        }
        assert_eq!(status, "failure");
        let expected = "path_time_broken: 2026-03-06.ndjson:1: the row's time is 2026-03-05T23:59:30Z, but by `path_time` \
                        this file covers 2026-03-06T00:00:00Z to 2026-03-07T00:00:00Z; 1 file was skipped on such a claim \
                        and may hold rows of the window, too: widen it (`path_time: {…, early: 1m}`), or remove \
                        `path_time` to have every file read";
        assert_eq!(message, expected);
    }
    // The same where the listing has no file of the window.
    let project = by_name("", "{date: 2026-03-07}");
    project.write("data/2026-03-08.ndjson", outside.replace("05T", "07T"));
    assert!(claims(&project, 4).1.starts_with("path_time_broken: 2026-03-08.ndjson:1: the row's time is"));
}

#[test]
fn a_missing_file_is_a_failure_as_in_a_run_where_every_file_is_expected() {
    let project = by_name(", expect: every", "{date_from: 2026-03-05, date_to: 2026-03-07}");
    let (status, message) = claims(&project, 3);
    let expected = "source_missing: no source file covers 2026-03-06T00:00:00Z to 2026-03-07T00:00:00Z, where `path_time: \
                    {expect: every}` expects one; deliver it and run again, or remove `expect` if there need not be one; \
                    the same holds for 1 other unit of the window";
    assert_eq!((status.as_str(), message.as_str()), ("failure", expected));
    // Before the window has settled, a run would be refused, and the file may still arrive.
    let before = ["doctor", "spec.yaml", "--now", "2026-03-07T12:00:00Z", "--json"];
    assert_eq!(checks(&project.call(&before).exits(0))["claims"].0, "warning");

    let nothing = by_name(", expect: every", "{date: 2026-05-01}");
    assert!(claims(&nothing, 3).1.starts_with("source_missing: no source file covers 2026-05-01T00:00:00Z"));

    let whole = by_name(", expect: every", "{date: 2026-03-05}");
    whole.write("data/2026-03-06.ndjson", "{\"occurred_at\":\"2026-03-06T00:01:00Z\"}\n");
    let (status, message) = claims(&whole, 0);
    let expected = "no inspected row contradicts `path_time`; every expected file is there";
    assert_eq!((status.as_str(), message.as_str()), ("ok", expected));
}
