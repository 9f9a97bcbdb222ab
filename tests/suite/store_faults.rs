//! Runs against a store that works, and everything around them that does not: signals at every request, requests that
//! arrive late, other runs, sources with odd names.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::project::{NOW, Outcome, Project, daily_files};
use crate::s3_server::{Fault, Request, S3Server};
use crate::stores::{call, golden, manifest, project_on, shards, spec};

const RUN: [&str; 7] = ["run", "spec.yaml", "--progress", "never", "--now", NOW, "--threads=2"];

fn start(project: &Project, server: &S3Server) -> Child {
    let mut command = project.command(&RUN);
    command.envs(server.environment()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Outcome { code: output.status.code(), stdout: String::new(), stderr }
}

/// Starts a run and sends it a signal when the request arrives for which this holds; the request is served after that.
fn signalled(
    project: &Project,
    server: &S3Server,
    signal: Signal,
    is_asked: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> Child {
    let process: Arc<OnceLock<Pid>> = Arc::default();
    let (seen, done) = (process.clone(), AtomicBool::new(false));
    server.on_request(move |request| {
        if is_asked(request) && !done.swap(true, Ordering::SeqCst) {
            let _ = kill_process(*seen.wait(), signal);
            // A process that is killed sends no more; what it has sent may still arrive.
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    });
    let child = start(project, server);
    process.set(Pid::from_child(&child)).unwrap();
    child
}

/// Where one request waits until the test lets it go. Later ones pass.
struct Gate {
    reached: mpsc::Sender<()>,
    go: Mutex<mpsc::Receiver<()>>,
    is_first: AtomicBool,
}

/// The test's side of it.
struct Keeper {
    reached: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

fn gate() -> (Gate, Keeper) {
    let ((reached, is_reached), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    (Gate { reached, go: Mutex::new(may_go), is_first: AtomicBool::new(true) }, Keeper { reached: is_reached, go })
}

/// Longer than anything takes that does not hang.
const HANG: Duration = Duration::from_secs(60);

impl Gate {
    fn pass(&self) {
        if self.is_first.swap(false, Ordering::SeqCst) {
            let _ = self.reached.send(());
            let _ = self.go.lock().unwrap().recv_timeout(HANG);
        }
    }
}

impl Keeper {
    fn reached(&self) {
        self.reached.recv_timeout(HANG).unwrap();
    }

    fn reached_within(&self, time: Duration) {
        let _ = self.reached.recv_timeout(time);
    }

    fn release(&self) {
        let _ = self.go.send(());
    }
}

/// What no run may change any more: shards, records and the manifest.
fn evidence(server: &S3Server) -> BTreeMap<String, Vec<u8>> {
    let keys = server.keys("evidence/package/").into_iter().filter(|key| !key.contains("/_state/probe-"));
    keys.map(|key| (key.clone(), server.get(&key).unwrap())).collect()
}

#[track_caller]
fn is_golden(project: &Project, server: &S3Server, golden: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(manifest(server)["status"], "complete");
    assert!(shards(server) == *golden, "{:?}", shards(server).keys());
    assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    call(project, server, &["verify", "--rows", "s3://bucket/evidence/package"]).exits(0);
}

/// One shard of two parts.
const LARGE: &str = "compression: none\npartition: {by: month}";

/// Rows of 64 KiB, so that few make a shard of several parts.
fn large_source() -> Vec<(String, String)> {
    let note = "0123456789abcdef".repeat(4096);
    let row = |day: u32, i: u32| {
        format!(
            "{{\"event_id\":\"e{day}-{i}\",\"occurred_at\":\"2026-03-{day:02}T00:00:{i:02}Z\",\"note\":\"{note}\"}}\n"
        )
    };
    (1..=2).map(|day| (format!("data/2026-03-{day:02}.ndjson"), (0..43).map(|i| row(day, i)).collect())).collect()
}

fn large_project(server: &S3Server) -> Project {
    let project = Project::new();
    large_source().iter().for_each(|(name, text)| server.put(&format!("lake/{name}"), text.as_bytes()));
    spec(&project, LARGE);
    project
}

#[test]
fn a_run_that_is_killed_at_any_request_is_resumed_to_the_same_bytes() {
    let golden = golden("");
    let server = S3Server::start();
    let project = project_on(&server, "");
    call(&project, &server, &RUN).exits(0);
    let writes = server.requests().iter().filter(|r| r.method != "GET" && r.method != "HEAD").count();
    // Every fifth write of a run, and one more when the run is started again.
    for nth in (0..writes).step_by(5) {
        server.keys("evidence/").iter().for_each(|key| server.remove(key));
        for attempt in 0..2 {
            let count = AtomicUsize::new(0);
            let is_nth = move |r: &Request| {
                r.method != "GET" && r.method != "HEAD" && count.fetch_add(1, Ordering::SeqCst) == nth + attempt
            };
            ended(signalled(&project, &server, Signal::KILL, is_nth));
        }
        server.clear_faults();
        call(&project, &server, &RUN).exits(0);
        assert!(shards(&server) == golden, "killed at write {nth}");
        assert!(server.uploads().is_empty());
    }
    is_golden(&project, &server, &golden);
    // Shards of the runs that were killed carry names of which no manifest tells the run.
    call(&project, &server, &["reproduce", "s3://bucket/evidence/package"]).exits(0).says(&["reproduced, all 5 files"]);
}

#[test]
fn a_signal_in_the_middle_of_an_upload_aborts_it() {
    let server = S3Server::start();
    let project = large_project(&server);
    let child = signalled(&project, &server, Signal::TERM, |r| r.query.contains("partNumber=1"));
    ended(child).exits(143).says(&["run again to resume"]);
    assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    assert!(server.get("evidence/package/manifest.json").is_none());
    // Killed, it cannot abort; the run that finishes the job does. What the first run may have finished is taken away.
    server.keys("evidence/").iter().for_each(|key| server.remove(key));
    let killed = ended(signalled(&project, &server, Signal::KILL, |r| r.query.contains("partNumber=2")));
    assert!(killed.code.is_none() && !server.uploads().is_empty());
    server.clear_faults();
    call(&project, &server, &RUN).exits(0);
    assert!(server.uploads().is_empty());
    call(&project, &server, &["verify", "--rows", "s3://bucket/evidence/package"]).exits(0);
}

/// A run is stopped at a request, which is only served after another run has finished the job; then it goes on.
#[test]
fn a_run_that_wakes_after_another_has_finished_changes_nothing() {
    let golden = golden("");
    type IsAsked = fn(&Request) -> bool;
    let moments: [(&str, IsAsked); 4] = [
        ("plan", |r| r.method == "PUT" && r.key.ends_with("_state/plan.json")),
        ("shard", |r| r.method == "PUT" && r.key.contains("/data/2026-03-03/")),
        ("record", |r| r.method == "PUT" && r.key.contains("_state/partitions/2026-03-03")),
        ("manifest", |r| r.method == "PUT" && r.key.ends_with("package/manifest.json")),
    ];
    for (moment, is_asked) in moments {
        let server = S3Server::start();
        let project = project_on(&server, "");
        let process: Arc<OnceLock<Pid>> = Arc::default();
        let (gate, keeper) = gate();
        let (seen, first) = (process.clone(), AtomicBool::new(true));
        server.on_request(move |request| {
            if is_asked(request) {
                if first.swap(false, Ordering::SeqCst) {
                    kill_process(*seen.wait(), Signal::STOP).unwrap();
                }
                gate.pass();
            }
            None
        });
        let child = start(&project, &server);
        process.set(Pid::from_child(&child)).unwrap();
        keeper.reached();
        call(&project, &server, &RUN).exits(0);
        let before = evidence(&server);
        // The late request first, then the run itself.
        keeper.release();
        std::thread::sleep(Duration::from_millis(50));
        kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
        ended(child).exits(0);
        assert!(evidence(&server) == before, "{moment}: {:?}", server.keys("evidence/"));
        is_golden(&project, &server, &golden);
    }
}

#[test]
fn many_runs_at_once_through_lost_replies_have_one_result() {
    let golden = golden("");
    let server = S3Server::start();
    let project = project_on(&server, "");
    let asked = AtomicUsize::new(0);
    server.on_request(move |request| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        let conflict = request.method == "PUT" && request.key.contains("_state/partitions/");
        match n % 11 {
            3 => Some(Fault::LoseReply),
            6 => Some(Fault::Reset),
            9 if conflict => Some(Fault::Status(409, "ConditionalRequestConflict")),
            _ => None,
        }
    });
    let runs: Vec<_> = (0..8).map(|_| start(&project, &server)).collect();
    for run in runs {
        ended(run).exits(0);
    }
    server.clear_faults();
    is_golden(&project, &server, &golden);
}

#[test]
fn many_uploads_in_parts_at_once_have_one_result() {
    let server = S3Server::start();
    let project = large_project(&server);
    let runs: Vec<_> = (0..3).map(|_| start(&project, &server)).collect();
    for run in runs {
        ended(run).exits(0);
    }
    assert_eq!(server.keys("evidence/package/data/").len(), 1);
    assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    call(&project, &server, &["verify", "--rows", "s3://bucket/evidence/package"]).exits(0);
}

/// A run that ends without a partition cleans up, while another run has published its shard and is about to commit it.
#[test]
fn what_one_run_cleans_away_no_other_run_commits() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let ((record, at_record), (delete, at_delete)) = (gate(), gate());
    let shards_put = AtomicUsize::new(0);
    server.on_request(move |request| {
        let is_shard = request.key.contains("/data/2026-03-03/");
        match request.method.as_str() {
            "PUT" if is_shard && shards_put.fetch_add(1, Ordering::SeqCst) > 0 => {
                return Some(Fault::Status(403, "AccessDenied"));
            }
            "PUT" if request.key.ends_with("_state/partitions/2026-03-03.json") => record.pass(),
            "DELETE" if is_shard => delete.pass(),
            _ => {}
        }
        None
    });
    let first = start(&project, &server);
    at_record.reached();
    let second = start(&project, &server);
    // The second run cannot write that shard. It ends, and may find the first one's without a record.
    at_delete.reached_within(Duration::from_secs(3));
    at_record.release();
    at_delete.release();
    // Whichever decides first; the other one tries again, and cannot write that shard either.
    ended(first);
    ended(second);
    server.clear_faults();
    call(&project, &server, &RUN).exits(0);
    is_golden(&project, &server, &golden(""));
}

/// A source object that is replaced while it is read, by one of the same size.
#[test]
fn a_source_that_is_replaced_while_it_is_read_fails_its_partitions_and_no_others() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let key = "lake/data/2026-03-03.ndjson";
    let whole = server.get(key).unwrap();
    let (gate, keeper) = gate();
    let reads = AtomicUsize::new(0);
    server.on_request(move |request| {
        // The first read is for inspecting.
        if request.method == "GET" && request.key == key && reads.fetch_add(1, Ordering::SeqCst) == 1 {
            gate.pass();
        }
        None
    });
    let child = start(&project, &server);
    keeper.reached();
    server.put(key, String::from_utf8(whole.clone()).unwrap().replace("allowed", "ALLOWED").as_bytes());
    keeper.release();
    ended(child).exits(3);
    let files = manifest(&server)["files"].as_array().unwrap().clone();
    let failed: Vec<_> = files.iter().filter(|f| f["status"] != "complete").collect();
    assert_eq!((failed.len(), &failed[0]["error_code"]), (1, &"source_changed".into()));
    assert_eq!(failed[0]["partition"]["label"], "2026-03-03");
    server.clear_faults();
    server.put(key, &whole);
    call(&project, &server, &RUN).exits(0);
    is_golden(&project, &server, &golden(""));
}

#[test]
fn sources_may_have_any_name() {
    let server = S3Server::start();
    let project = Project::new();
    let names = ["a b", " x ", "ü", "日本", "100%", "%2e", "a+b", "a#b", "a?b=c&d", "[x]", "it's", "a:b", "~"];
    for (name, (_, text)) in names.iter().zip(daily_files(13, 3)) {
        server.put(&format!("lake/odd {name}/{name}.ndjson"), text.as_bytes());
    }
    let run = |uri: &str, rows: u32| {
        let text = format!(
            "version: 1\nname: test\ntype: events\nsource: {{uri: \"{uri}\"}}\n\
             window: {{date_from: 2026-03-01, date_to: 2026-03-31}}\npartition: {{by: none}}\noutput: {{uri: package}}\n"
        );
        project.write("spec.yaml", text);
        let _ = std::fs::remove_dir_all(project.path("package"));
        call(&project, &server, &RUN).exits(0);
        assert_eq!(project.package().manifest()["total_rows"], rows, "{uri}");
    };
    run("s3://bucket/lake/", 39);
    run("s3://bucket/lake/*/*.ndjson", 39);
    for name in ["ü", "100%", "%2e", "a+b", "a#b"] {
        run(&format!("s3://bucket/lake/odd {name}/{name}.ndjson"), 3);
    }
    run("s3://bucket/lake/odd  x /", 3);
}

/// Consoles put down an empty object where a folder is made, with a slash at its end or without.
#[test]
fn a_folder_may_also_be_an_object() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let text = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
    for (marker, uri) in [
        ("lake/data/", "s3://bucket/lake/data/"),
        ("lake/data/", "s3://bucket/lake/data"),
        ("lake/data", "s3://bucket/lake/data"),
    ] {
        for format in ["", ", format: ndjson"] {
            server.keys("evidence/").iter().for_each(|key| server.remove(key));
            for folder in [marker, "lake/data/more/", "evidence/package/", "evidence/package/data/"] {
                server.put(folder, b"");
            }
            let source = "source: {uri: 's3://bucket/lake/data/'}";
            assert!(text.contains(source));
            project.write("spec.yaml", text.replace(source, &format!("source: {{uri: '{uri}'{format}}}")));
            let outcome = call(&project, &server, &RUN);
            assert_eq!(outcome.code, Some(0), "{marker} {uri} {format}: {}", outcome.stderr);
            assert_eq!(manifest(&server)["total_rows"], 300);
            call(&project, &server, &["verify", "s3://bucket/evidence/package"]).exits(0);
            server.remove(marker);
        }
    }
}

#[test]
fn of_ten_thousand_objects_those_are_read_that_are_asked_for() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    for n in 0..10_000 {
        server.put(&format!("lake/archive/{n:05}.ndjson"), b"not JSON\n");
    }
    let text = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
    project.write("spec.yaml", text.replace("s3://bucket/lake/data/", "s3://bucket/lake/**/2026-*.ndjson"));
    server.forget_requests();
    call(&project, &server, &RUN).exits(0);
    assert!(shards(&server) == golden(""));
    assert!(server.requests().iter().all(|r| !r.key.contains("archive/")));
    let pages = server.requests().iter().filter(|r| r.query.contains("prefix=lake")).count();
    assert_eq!(pages, 11);
}

#[test]
fn no_secret_is_in_any_output() {
    let server = S3Server::start();
    let project = project_on(&server, "");
    let (secret, id) = ("test-secret-key", "TESTACCESSKEY");
    let mut outputs = Vec::new();
    let faults: [Option<Fault>; 5] = [
        None,
        Some(Fault::Status(403, "SignatureDoesNotMatch")),
        Some(Fault::Status(400, "ExpiredToken")),
        Some(Fault::LoseReply),
        Some(Fault::Status(503, "SlowDown")),
    ];
    for fault in faults {
        let n = AtomicUsize::new(0);
        // The list of unfinished uploads is asked for by a signed link; it always fails.
        server.on_request(move |r| {
            let is_link = r.query.contains("X-Amz-Signature");
            let is_third = n.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            if is_link { Some(Fault::Reset) } else { fault.filter(|_| is_third) }
        });
        for more in [&["-vv", "--json"][..], &["--log-format", "json", "-vv"]] {
            let mut command = project.command(&[&RUN[..], more].concat());
            command.envs(server.environment()).env("AWS_SESSION_TOKEN", "canary-token").env("RUST_LOG", "trace");
            // The list of uploads is asked for until it is given up.
            command.env("KT_EXPORT_STORE_TIMEOUT", "3");
            let outcome = crate::project::outcome(&mut command);
            outputs.push(format!("{}{}", outcome.stdout, outcome.stderr));
        }
    }
    server.clear_faults();
    call(&project, &server, &RUN).exits(0);
    outputs.extend(evidence(&server).into_values().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    for output in outputs {
        for canary in [secret, id, "canary-token", "X-Amz-Signature", "X-Amz-Credential"] {
            assert!(!output.contains(canary), "{canary} in {output}");
        }
    }
}
