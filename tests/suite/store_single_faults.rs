//! One request goes wrong, each of them in turn and each in every way, and nothing comes of it: the run succeeds, and its
//! package verifies.
//!
//! `cargo test` takes a sample of the requests. Every request and every fault: `cargo test store_single_faults -- --ignored`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::project::{NOW, Outcome, Project, daily_files, outcome};
use crate::s3_server::{Fault, Request, S3Server};
use crate::stores::manifest;

/// Faults after which the request is retried.
pub(crate) const FAULTS: [Fault; 12] = [
    Fault::Reset,
    Fault::LoseReply,
    Fault::CutBody(0),
    Fault::CutBody(40),
    Fault::ShortBody(40),
    Fault::EmptyOk,
    Fault::LoseBody,
    Fault::Status(500, "InternalError"),
    Fault::Status(503, "SlowDown"),
    Fault::Status(429, "TooManyRequests"),
    Fault::Status(408, "RequestTimeout"),
    Fault::Status(502, "BadGateway"),
];

const PACKAGE: &str = "s3://bucket/evidence/package";

/// Two days of rows, and manifests that are longer than what is cut.
fn project(server: &S3Server) -> Project {
    let project = Project::new();
    for (name, text) in daily_files(2, 20) {
        server.put(&format!("lake/{name}"), text.as_bytes());
    }
    let text = "version: 1\nname: test\noutput: {uri: 's3://bucket/evidence/package/'}\ntype: events\n\
                source: {uri: 's3://bucket/lake/data/'}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-02}\n";
    project.write("spec.yaml", text);
    project
}

/// A try of a request that hangs is given up after half of this, in seconds.
const TIMEOUT: &str = "10";

fn call(project: &Project, server: &S3Server, args: &[&str]) -> Outcome {
    let mut command = project.command(args);
    command.envs(server.environment()).env("AWS_EC2_METADATA_DISABLED", "true");
    outcome(command.env("KT_EXPORT_STORE_TIMEOUT", TIMEOUT))
}

fn run(project: &Project, server: &S3Server) -> Outcome {
    call(project, server, &["run", "spec.yaml", "--progress", "never", "--threads", "1", "--now", NOW])
}

const INDEX: &str = "s3://bucket/index";

fn noted_run(project: &Project, server: &S3Server) -> Outcome {
    let args = ["run", "spec.yaml", "--progress", "never", "--threads", "1", "--now", NOW, "--store", INDEX];
    call(project, server, &args)
}

/// Of every request of a command, in order, what goes wrong.
fn single(server: &S3Server, nth: usize, fault: Fault) {
    let asked = AtomicUsize::new(0);
    server.on_request(move |_: &Request| (asked.fetch_add(1, Ordering::SeqCst) == nth).then_some(fault));
}

/// What a command has to do whatever request goes wrong.
struct Case {
    name: &'static str,
    /// From nothing to what the command needs.
    prepare: fn(&Project, &S3Server),
    act: fn(&Project, &S3Server) -> Outcome,
    check: fn(&Project, &S3Server),
}

fn is_whole(project: &Project, server: &S3Server) {
    assert_eq!(manifest(server)["status"], "complete");
    assert_eq!(manifest(server)["total_rows"], 40);
    call(project, server, &["verify", "--rows", PACKAGE]).exits(0);
}

fn clear(_: &Project, server: &S3Server) {
    server.keys("evidence/").iter().for_each(|key| server.remove(key));
}

const CASES: [Case; 5] = [
    Case { name: "run", prepare: clear, act: run, check: is_whole },
    Case {
        name: "run again",
        prepare: |project, server| {
            if server.get("evidence/package/manifest.json").is_none() {
                run(project, server).exits(0);
            }
        },
        act: run,
        check: is_whole,
    },
    Case {
        name: "verify",
        prepare: |project, server| {
            if server.get("evidence/package/manifest.json").is_none() {
                run(project, server).exits(0);
            }
        },
        act: |project, server| call(project, server, &["verify", "--rows", PACKAGE]),
        check: |_, _| {},
    },
    Case {
        name: "run with a store of jobs",
        prepare: |project, server| {
            clear(project, server);
            server.keys("index/").iter().for_each(|key| server.remove(key));
        },
        act: noted_run,
        check: |project, server| {
            is_whole(project, server);
            call(project, server, &["jobs", "list", "--store", INDEX]).exits(0);
        },
    },
    Case {
        name: "jobs list",
        prepare: |project, server| {
            if server.keys("index/").is_empty() {
                noted_run(project, server).exits(0);
            }
        },
        act: |project, server| {
            let listed = call(project, server, &["jobs", "list", "--store", INDEX, "--json"]);
            assert!(listed.code != Some(0) || listed.json()["jobs"][0]["status"] == "complete", "{listed:?}");
            listed
        },
        check: |_, _| {},
    },
];

/// Sweeps one case with some of all pairs of a request and a fault.
fn sweep(case: &Case, faults: &[Fault], is_chosen: impl Fn(usize, usize) -> bool + Sync) {
    let server = S3Server::start();
    let project = project(&server);
    (case.prepare)(&project, &server);
    server.forget_requests();
    (case.act)(&project, &server).exits(0);
    let requests = server.requests().len();
    assert!(requests > 2, "{}: {requests}", case.name);
    let mut pairs = Vec::new();
    for nth in 0..requests {
        pairs.extend((0..faults.len()).filter(|fault| is_chosen(nth, *fault)).map(|fault| (nth, fault)));
    }
    let pairs = Mutex::new(pairs.into_iter());
    let failed = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let server = S3Server::start();
                let project = self::project(&server);
                loop {
                    let Some((nth, fault)) = pairs.lock().unwrap().next() else { break };
                    (case.prepare)(&project, &server);
                    server.forget_requests();
                    single(&server, nth, faults[fault]);
                    let outcome = (case.act)(&project, &server);
                    let asked = server.requests().get(nth).map(|r| format!("{} {}?{}", r.method, r.key, r.query));
                    server.clear_faults();
                    if outcome.code == Some(0) {
                        (case.check)(&project, &server);
                    } else {
                        let what = format!("{nth} {asked:?} {:?}: {}", faults[fault], outcome.stderr.trim());
                        failed.lock().unwrap().insert(what);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}, {} of {requests} requests:\n{failed:#?}", case.name, failed.len());
}

#[test]
fn one_request_that_goes_wrong_is_asked_again() {
    for case in &CASES {
        // Each request in one way, so that neighbours differ; the faults move on from case to case.
        sweep(case, &FAULTS, |nth, fault| (nth + case.name.len()) % FAULTS.len() == fault);
    }
}

#[test]
fn one_request_that_is_never_answered_is_asked_again() {
    for case in &CASES {
        sweep(case, &[Fault::Hang], |nth, _| nth % 5 == case.name.len() % 5);
    }
}

#[test]
#[ignore = "takes minutes: every request of every case with every fault"]
fn any_request_may_go_wrong_in_any_way() {
    let all = [&FAULTS[..], &[Fault::Hang]].concat();
    for case in &CASES {
        sweep(case, &all, |_, _| true);
    }
}

/// A store that takes a connection and says nothing, from some request on.
#[test]
fn a_store_that_stops_answering_ends_a_run_with_its_reason() {
    let server = S3Server::start();
    let project = project(&server);
    let asked = AtomicUsize::new(0);
    server.on_request(move |_| (asked.fetch_add(1, Ordering::SeqCst) > 8).then_some(Fault::Hang));
    let ended = run(&project, &server);
    ended.exits(6).says(&["the store does not respond, even after retries", "no answer within"]);
    assert!(server.get("evidence/package/manifest.json").is_none());
    server.clear_faults();
    run(&project, &server).exits(0);
    is_whole(&project, &server);
}

#[test]
fn a_time_that_is_none_is_refused() {
    let server = S3Server::start();
    let project = project(&server);
    for time in ["0", "2min", "3601", "-1"] {
        let mut command = project.command(&["run", "spec.yaml", "--progress", "never", "--now", NOW]);
        let outcome = outcome(command.envs(server.environment()).env("KT_EXPORT_STORE_TIMEOUT", time)).exits(4);
        outcome.says(&[&format!("KT_EXPORT_STORE_TIMEOUT is `{time}`: write seconds, from 1 to 3600")]);
    }
}

/// A completion whose answer is empty, whether it was done or not.
#[test]
fn an_empty_answer_to_a_completion_is_held_against_the_object() {
    let server = S3Server::start();
    let project = Project::new();
    for (name, text) in daily_files(3, 40_000) {
        server.put(&format!("lake/{name}"), text.as_bytes());
    }
    crate::stores::spec(&project, "compression: none\npartition: {by: month}");
    for (fault, times) in [(Fault::EmptyOk, 1), (Fault::LoseBody, 1), (Fault::LoseBody, usize::MAX)] {
        server.keys("evidence/").iter().for_each(|key| server.remove(key));
        let asked = AtomicUsize::new(0);
        server.on_request(move |r| {
            let completes = r.method == "POST" && r.query.contains("uploadId=");
            (completes && asked.fetch_add(1, Ordering::SeqCst) < times).then_some(fault)
        });
        run(&project, &server).exits(0);
        call(&project, &server, &["verify", PACKAGE]).exits(0);
    }
    // One that is never done is told as what it is.
    server.keys("evidence/").iter().for_each(|key| server.remove(key));
    server.on_request(|r| (r.method == "POST" && r.query.contains("uploadId=")).then_some(Fault::EmptyOk));
    run(&project, &server).exits(6).says(&[
        "cannot complete the upload of s3://bucket/evidence/package/data/",
        "the store's responses are truncated or invalid",
    ]);
    assert!(server.uploads().is_empty(), "{:?}", server.uploads());
}
