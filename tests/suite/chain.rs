//! `chain`: packages of a spec in a row, of which none can be taken away, changed or put back in silence.

use std::path::PathBuf;
use std::process::Stdio;

use kt_export::digest::sha256;
use serde_json::{Value, json};

use crate::project::{Outcome, Project, daily_files, files_below, outcome};
use crate::s3_server::{Fault, S3Server};
use crate::signatures::{SIGN, give_key};
use crate::stores::call;

/// A package a day, signed and linked.
pub(crate) const DAILY: &str = "version: 1\nname: daily\ntype: events\nsource: {uri: data/}\nwindow: {previous: day}\n\
                         output: {uri: 'evidence/{{ window.label }}/'}\nchain: {uri: chain/}\non_bad_rows: reject";

/// A project of this spec, with so many days of rows.
pub(crate) fn daily(days: u32) -> Project {
    let project = Project::new();
    project.write("spec.yaml", format!("{DAILY}\n{SIGN}\n"));
    give_key(&project, "ed25519");
    for (name, text) in daily_files(days, 10) {
        project.write(&name, text);
    }
    project
}

fn args(day: u32) -> [String; 6] {
    let now = format!("2026-03-{:02}T06:00:00Z", day + 1);
    ["run", "spec.yaml", "--progress", "never", "--now", &now].map(str::to_owned)
}

/// Exports a day of March.
pub(crate) fn run(project: &Project, day: u32) -> Outcome {
    project.call(&args(day).each_ref().map(String::as_str))
}

pub(crate) const STRICT: [&str; 7] =
    ["verify", "evidence", "--chain", "chain", "--require-signature", "--allowed-signers", "allowed"];

fn link(project: &Project, number: u64) -> Value {
    let bytes = std::fs::read(project.path(&format!("chain/{number:06}.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn digest(project: &Project, name: &str) -> String {
    sha256(&std::fs::read(project.path(name)).unwrap())
}

fn links(project: &Project) -> usize {
    files_below(&project.path("chain")).len()
}

fn day(day: u32) -> String {
    format!("evidence/2026-03-{day:02}")
}

#[test]
fn every_package_is_linked_to_the_one_before_it() {
    let project = daily(3);
    for day in 1..=3 {
        run(&project, day).exits(0);
    }
    let first = link(&project, 1);
    let manifest = project.package_in(&day(1)).manifest();
    let expected = json!({
        "link_version": 1,
        "number": 1,
        "id": manifest["id"],
        "name": "daily",
        "window_start": "2026-03-01T00:00:00Z",
        "window_end": "2026-03-02T00:00:00Z",
        "status": "complete",
        "manifest_sha256": digest(&project, "evidence/2026-03-01/manifest.json"),
        "package": "evidence/2026-03-01/",
        "previous": null,
        "created_at": manifest["finalized_at"],
    });
    assert_eq!(first, expected);
    assert_eq!(manifest["link"], json!({"number": 1, "previous_sha256": null}));
    assert!(manifest.get("previous").is_none());
    let third = link(&project, 3);
    assert_eq!(third["previous"], json!({"number": 2, "sha256": digest(&project, "chain/000002.json")}));
    let manifest = project.package_in(&day(3)).manifest();
    let second = project.package_in(&day(2)).manifest();
    let before = json!({"id": second["id"], "sha256": digest(&project, "evidence/2026-03-02/manifest.json")});
    assert_eq!(manifest["previous"], before);

    let report = project.call(&[&STRICT[..], &["--json"]].concat()).exits(0);
    let head = format!("3:{}", digest(&project, "chain/000003.json"));
    let report = report.says(&["chain chain: intact", &format!("head {head}")]).json();
    assert_eq!(report["verified"], true);
    assert_eq!(report["chain"]["head"], json!({"number": 3, "sha256": digest(&project, "chain/000003.json")}));
    assert_eq!(report["chain"]["links"][1]["package"], "evidence/2026-03-02");
    assert_eq!(report["packages"].as_array().unwrap().len(), 3);
    // A run of a finished job links nothing, and one package alone says that it is one of many.
    run(&project, 2).exits(0).says(&["complete already"]);
    assert_eq!(links(&project), 3);
    project
        .call(&["verify", &day(2)])
        .exits(0)
        .says(&["chain: the package is link 2 of a chain, which --chain checks"]);
    project.call(&["doctor", "spec.yaml", "--now", "2026-03-02T06:00:00Z"]).exits(0).says(&["3 links, "]);
}

#[test]
fn a_noted_head_shows_that_a_chain_was_cut_or_written_anew() {
    let project = daily(3);
    for day in 1..=2 {
        run(&project, day).exits(0);
    }
    let head = format!("2:{}", digest(&project, "chain/000002.json"));
    let expect = |head: &str| project.call(&[&STRICT[..], &["--expect-head", head]].concat());
    expect(&head).exits(0);
    run(&project, 3).exits(0);
    expect(&head).exits(0);
    project.call(&STRICT).exits(0).says(&["record the head now and give it with --expect-head next time"]);
    for number in 2..=3 {
        std::fs::remove_file(project.path(&format!("chain/00000{number}.json"))).unwrap();
        std::fs::remove_dir_all(project.path(&day(number))).unwrap();
    }
    // Nothing that is left can tell; only who noted the head.
    project.call(&STRICT).exits(0);
    expect(&head).exits(5).says(&["000002.json: is missing, but was expected: the chain was truncated before it"]);
    expect(&format!("1:{}", "0".repeat(64))).exits(5).says(&[
        "000001.json: has the digest ",
        ", but 0000000000000000000000000000000000000000000000000000000000000000 was expected: the chain was rewritten",
    ]);
    expect("0:12").exits(2).says(&["write the number and the SHA-256 of a link, as `verify --chain` prints its head"]);
    project.call(&["verify", "evidence", "--expect-head", &head]).exits(2).says(&["--chain"]);
}

#[test]
fn a_run_that_died_behind_its_link_leaves_a_manifest_that_the_next_one_publishes() {
    for rest in [&["manifest.json", "SHA256SUMS", "manifest.json.sig"][..], &["SHA256SUMS", "manifest.json.sig"]] {
        let project = daily(2);
        run(&project, 1).exits(0);
        let before = project.package_in(&day(1)).snapshot();
        let link = std::fs::read(project.path("chain/000001.json")).unwrap();
        for name in rest {
            std::fs::remove_file(project.path(&day(1)).join(name)).unwrap();
        }
        run(&project, 1).exits(0).says(&["complete already"]);
        let after = project.package_in(&day(1)).snapshot();
        let bytes = |files: &std::collections::BTreeMap<String, (Vec<u8>, _)>| -> Vec<_> {
            files.iter().map(|(name, (bytes, _))| (name.clone(), bytes.clone())).collect()
        };
        assert!(bytes(&before) == bytes(&after), "{rest:?}");
        assert_eq!(std::fs::read(project.path("chain/000001.json")).unwrap(), link);
        assert_eq!(links(&project), 1);
        project.call(&STRICT).exits(0);
    }
}

#[test]
fn a_run_that_died_before_its_link_leaves_nothing_that_counts() {
    let project = daily(2);
    run(&project, 1).exits(0);
    for name in ["manifest.json", "SHA256SUMS", "manifest.json.sig"] {
        std::fs::remove_file(project.path(&day(1)).join(name)).unwrap();
    }
    std::fs::remove_file(project.path("chain/000001.json")).unwrap();
    std::fs::remove_file(project.path(&day(1)).join("_state/log/000002.json")).unwrap();
    run(&project, 1).exits(0);
    run(&project, 2).exits(0);
    assert_eq!(links(&project), 2);
    project.call(&STRICT).exits(0);
}

/// A second day that is partial, and what has to be written to mend it.
fn partial(project: &Project) -> (PathBuf, String) {
    let (name, text) = daily_files(2, 10).remove(1);
    run(project, 1).exits(0);
    project.write(&name, format!("{text}nonsense\n"));
    run(project, 2).exits(3);
    (project.path(&name), text)
}

#[test]
fn a_better_manifest_has_a_link_of_its_own_and_the_older_one_is_kept_and_checked() {
    let project = daily(2);
    let (source, text) = partial(&project);
    project.call(&STRICT).exits(0).says(&["partial"]);
    // Nothing got better, so nothing is linked.
    run(&project, 2).exits(3);
    assert_eq!(links(&project), 2);
    std::fs::write(source, text).unwrap();
    run(&project, 2).exits(0);
    assert_eq!(links(&project), 3);
    assert_eq!(link(&project, 3)["id"], link(&project, 2)["id"]);
    let report = project.call(&[&STRICT[..], &["--json"]].concat()).exits(0).says(&["partial: replaced by link 3"]);
    assert_eq!(report.json()["chain"]["links"][1]["replaced_by"], 3);

    let kept = format!("_state/manifests/{}.json", &link(&project, 2)["manifest_sha256"].as_str().unwrap()[..16]);
    let kept = project.path(&day(2)).join(kept);
    let older = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, older.replace("nonsense", "").replace("\"partial\"", "\"complete\"")).unwrap();
    let words = format!(
        "{}: is not the manifest that 000002.json names",
        kept.strip_prefix(project.path("")).unwrap().display()
    );
    project.call(&STRICT).exits(5).says(&[&words]);
    std::fs::remove_file(&kept).unwrap();
    project.call(&STRICT).exits(0).says(&["link 2, which link 3 replaced: no package has kept its manifest"]);
}

#[test]
fn a_run_that_died_between_link_and_replacement_is_finished_by_the_next_one() {
    let project = daily(2);
    let (source, text) = partial(&project);
    let package = project.path(&day(2));
    let before = ["manifest.json", "SHA256SUMS", "manifest.json.sig"]
        .map(|name| (name, std::fs::read(package.join(name)).unwrap()));
    std::fs::write(source, text).unwrap();
    run(&project, 2).exits(0);
    let after = before.each_ref().map(|(name, _)| std::fs::read(package.join(name)).unwrap());
    for (name, bytes) in &before {
        std::fs::write(package.join(name), bytes).unwrap();
    }
    // The entry in the log is what comes right after the link.
    let entries = files_below(&package.join("_state/log"));
    std::fs::remove_file(entries.values().next_back().unwrap()).unwrap();
    project.call(&STRICT).exits(5).says(&[
        "evidence/2026-03-02/manifest.json: is the manifest of 000002.json, which 000003.json replaced: the package \
         was reverted to an earlier state",
    ]);
    run(&project, 2).exits(0);
    for ((name, _), bytes) in before.iter().zip(after) {
        assert_eq!(std::fs::read(package.join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(links(&project), 3);
    project.call(&STRICT).exits(0);
}

#[test]
fn a_linked_manifest_that_is_gone_ends_the_run() {
    let project = daily(2);
    let (source, text) = partial(&project);
    let package = project.path(&day(2));
    let before = ["manifest.json", "SHA256SUMS", "manifest.json.sig"]
        .map(|name| (name, std::fs::read(package.join(name)).unwrap()));
    std::fs::write(source, text).unwrap();
    run(&project, 2).exits(0);
    for (name, bytes) in &before {
        std::fs::write(package.join(name), bytes).unwrap();
    }
    let entries = files_below(&package.join("_state/log"));
    std::fs::remove_file(entries.values().next_back().unwrap()).unwrap();
    std::fs::remove_dir_all(package.join("_state/manifests")).unwrap();
    run(&project, 2).exits(4).says(&[
        "manifest.json in ",
        " is not the one that link 3 names, and there is no copy of that one: it was replaced; restore the \
         manifest with the SHA-256 ",
    ]);
    // A package that is gone as a whole is made again, and linked again.
    std::fs::remove_dir_all(&package).unwrap();
    run(&project, 2).exits(0).says(&["link 3 of the chain belongs to this job, but its manifest is gone"]);
    assert_eq!(links(&project), 4);
    project.call(&STRICT).exits(0).says(&["complete: replaced by link 4"]);
}

#[test]
fn no_package_is_linked_to_a_broken_chain() {
    let project = daily(3);
    for day in 1..=2 {
        run(&project, day).exits(0);
    }
    std::fs::remove_file(project.path("chain/000001.json")).unwrap();
    let words = "chain: 000001.json is missing, but 000002.json exists: it was removed; packages are not linked \
                 to a broken chain; inspect it with `kt-export verify --chain ";
    run(&project, 3).exits(4).says(&[words]);
    assert!(!project.path(&day(3)).join("manifest.json").exists());
    project.call(&["doctor", "spec.yaml", "--now", "2026-03-04T06:00:00Z"]).exits(4).says(&["000001.json is missing"]);
}

#[test]
fn runs_that_end_at_once_line_up() {
    let project = daily(6);
    let mut runs: Vec<_> = [1, 2, 3, 4, 4, 5, 6, 6, 6]
        .iter()
        .map(|day| {
            let mut command = project.command(&args(*day).each_ref().map(String::as_str));
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for run in runs.drain(..) {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(links(&project), 6);
    project.call(&STRICT).exits(0);
}

#[test]
fn an_empty_period_has_a_signed_package_in_the_chain() {
    let project = daily(3);
    std::fs::write(project.path("data/2026-03-02.ndjson"), "").unwrap();
    for day in 1..=3 {
        run(&project, day).exits(0);
    }
    project.call(&STRICT).exits(0).says(&["complete: 0 rows in 1 files"]);
    assert_eq!(project.package_in(&day(2)).manifest()["total_rows"], 0);
}

#[test]
fn links_alone_are_checked_against_each_other() {
    let project = daily(2);
    for day in 1..=2 {
        run(&project, day).exits(0);
    }
    project.call(&["verify", "--chain", "chain"]).exits(0).says(&[
        "the packages: none was given, so only the links were checked against each other",
        "complete: not looked at",
    ]);
    project
        .call(&["verify", "--chain", "nowhere"])
        .exits(5)
        .says(&["chain nowhere: NOT INTACT", "the folder does not exist"]);
    project.call(&["verify"]).exits(2);
}

/// The daily spec in a bucket.
fn on_server(server: &S3Server, days: u32) -> Project {
    let project = daily(days);
    for (name, text) in daily_files(days, 10) {
        server.put(&format!("lake/{name}"), text.as_bytes());
    }
    let spec = format!("{DAILY}\n{SIGN}\n").replace("uri: data/", "uri: 's3://bucket/lake/data/'");
    let spec = spec.replace("'evidence/", "'s3://bucket/evidence/").replace("uri: chain/", "uri: 's3://bucket/chain/'");
    project.write("spec.yaml", spec);
    project
}

fn verify_remote(project: &Project, server: &S3Server) -> Outcome {
    let packages = ["verify", "s3://bucket/evidence", "--chain", "s3://bucket/chain"];
    let strict = ["--require-signature", "--allowed-signers", "allowed"];
    call(project, server, &[&packages[..], &strict].concat())
}

#[test]
fn chains_in_a_store_are_as_those_in_a_folder() {
    let server = S3Server::start();
    let project = on_server(&server, 5);
    let run = |day: u32| call(&project, &server, &args(day).each_ref().map(String::as_str));
    // The answer to the creation of a link is lost: the link tells that it happened.
    let lost = std::sync::atomic::AtomicUsize::new(0);
    server.on_request(move |request| {
        let creates = request.method == "PUT" && request.key == "chain/000001.json";
        (creates && lost.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0).then_some(Fault::LoseReply)
    });
    run(1).exits(0);
    server.clear_faults();
    let manifest = server.get("evidence/2026-03-01/manifest.json").unwrap();
    for name in ["manifest.json", "SHA256SUMS", "manifest.json.sig"] {
        server.remove(&format!("evidence/2026-03-01/{name}"));
    }
    verify_remote(&project, &server).exits(5);
    run(1).exits(0).says(&["complete already"]);
    assert_eq!(server.get("evidence/2026-03-01/manifest.json").unwrap(), manifest);
    let mut runs: Vec<_> = [2, 3, 3, 4, 5]
        .iter()
        .map(|day| {
            let mut command = project.command(&args(*day).each_ref().map(String::as_str));
            command.envs(server.environment()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for run in runs.drain(..) {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(server.keys("chain/").len(), 5);
    verify_remote(&project, &server).exits(0).says(&["chain s3://bucket/chain: intact"]);
    server.remove("chain/000003.json");
    verify_remote(&project, &server).exits(5).says(&["000003.json: is missing, but 000004.json exists"]);
}

#[test]
fn a_link_that_was_written_over_in_a_store_without_conditions_is_found() {
    let server = S3Server::start();
    server.ignore_conditions(true);
    let project = on_server(&server, 2);
    let run = |day: u32| call(&project, &server, &args(day).each_ref().map(String::as_str));
    run(1).exits(0).says(&["ignores conditional writes"]);
    run(2).exits(0);
    verify_remote(&project, &server).exits(0);
    let doctor = ["doctor", "spec.yaml", "--now", "2026-03-04T06:00:00Z"];
    call(&project, &server, &doctor).says(&["ignores conditional writes (If-None-Match)", "one job with this chain"]);
    // What a second writer leaves that did not see the first one.
    let second = server.get("chain/000002.json").unwrap();
    server.remove("chain/000002.json");
    server.put("chain/000001.json", &second);
    let told = verify_remote(&project, &server).exits(5);
    told.says(&["evidence/2026-03-01/manifest.json: is not linked in the chain, unlike other packages of daily"]);
}

#[test]
fn a_spec_without_a_key_is_linked_too() {
    let project = daily(1);
    project.write("spec.yaml", DAILY);
    outcome(&mut project.command(&args(1).each_ref().map(String::as_str))).exits(0);
    project.call(&["verify", "evidence", "--chain", "chain"]).exits(0).says(&["there is none, so nothing proves"]);
    project.call(&STRICT).exits(5).says(&["manifest.json.sig: is missing, but a signature is required"]);
}
