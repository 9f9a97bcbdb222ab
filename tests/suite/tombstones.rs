//! `tombstone.json`: shards may be missing when their retention is over and whoever vouches for the package says so.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use kt_export::digest::sha256;
use kt_export::package::manifest::Tombstone;
use serde_json::{Value, json};

use crate::project::{Outcome, Package, Project, daily_files, outcome};
use crate::signatures::{SIGN, fixture, give_key, signature};

const SPEC: &str = "version: 1\nname: daily\ntype: events\nsource: {uri: data/}\n\
                    window: {date_from: 2026-03-01, date_to: 2026-03-02}\n";

/// A complete package of two days with this retention, noted in a store of jobs.
fn exported(retention: &str, rest: &str) -> (Project, Package) {
    let project = Project::new();
    project.write("spec.yaml", format!("{SPEC}output: {{uri: package/, retention: {retention}}}\n{rest}\n"));
    give_key(&project, "ed25519");
    for (name, text) in daily_files(2, 10) {
        project.write(&name, text);
    }
    project.run(&["--store", "index"]).exits(0);
    let package = project.package();
    (project, package)
}

/// Waits until the retention of a package is over.
pub(crate) fn wait_until_expired(manifest: &Value) {
    let expires_at: Timestamp = manifest["expires_at"].as_str().unwrap().parse().unwrap();
    while Timestamp::now() <= expires_at {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn prune(project: &Project) -> Outcome {
    project.call(&["jobs", "prune", "--store", "index", "--yes"])
}

const STRICT: [&str; 5] = ["verify", "package", "--require-signature", "--allowed-signers", "allowed"];

/// The tombstone that an insider would write of a package.
fn forged(package: &Package, pruned_at: &str) -> Value {
    let manifest = package.manifest();
    json!({
        "tombstone_version": 1,
        "id": manifest["id"],
        "manifest_sha256": sha256(&std::fs::read(package.root.join("manifest.json")).unwrap()),
        "expires_at": manifest["expires_at"],
        "pruned_at": pruned_at,
        "files": 2,
        "bytes": 1,
    })
}

fn bury(package: &Package, tombstone: &Value) {
    let tombstone: Tombstone = serde_json::from_value(tombstone.clone()).unwrap();
    std::fs::write(package.root.join("tombstone.json"), tombstone.to_json_bytes().unwrap()).unwrap();
}

/// Deletes the second day.
fn lose_a_day(package: &Package) {
    std::fs::remove_dir_all(package.root.join("data/2026-03-02")).unwrap();
}

#[test]
fn an_unsigned_tombstone_before_retention_is_over_excuses_nothing() {
    let (project, package) = exported("400d", SIGN);
    lose_a_day(&package);
    let expires_at = package.manifest()["expires_at"].as_str().unwrap().to_owned();
    bury(&package, &forged(&package, &expires_at));
    project.call(&STRICT).exits(5).says(&[
        &format!("tombstone.json: says that shards were deleted at {expires_at}, which is in the future: it is "),
        "tombstone.json: is not signed, but the package is: anyone could have written it",
        "part-0000.csv.zst: is missing",
    ]);
    project.call(&["coverage", "."]).exits(5).says(&["which is in the future"]);
    project.call(&["pack", "package", "--output", "x.tar"]).exits(5).says(&[
        "/package says that shards were deleted at ",
        ": determine who wrote it, and check the package with `kt-export verify`",
    ]);
    project.call(&["sample", "package", "--seed", "1"]).exits(5).says(&["which is in the future"]);
    // A run takes it for what it is, a damaged package.
    project.run(&[]).exits(4).says(&["is damaged: data/2026-03-02/part-0000.csv.zst is missing"]);
    // When the day has come, the signature is still missing.
    let later = ["--now", "2127-01-01T00:00:00Z"];
    let late = project.call(&[&STRICT[..], &later].concat()).exits(5);
    late.says(&["is not signed, but the package is"]);
    project.call(&[&["coverage", "."], &later[..]].concat()).exits(5).says(&["is not signed, but the package is"]);
    // And a time before the end of retention is none at which shards were deleted.
    bury(&package, &forged(&package, "2026-01-01T00:00:00Z"));
    project.call(&["verify", "package"]).exits(5).says(&[&format!(
        "tombstone.json: says that shards were deleted at 2026-01-01T00:00:00Z, before {expires_at}, when the retention is over"
    )]);
}

#[test]
fn a_prune_is_signed_where_the_package_is() {
    let (project, package) = exported("1s", SIGN);
    wait_until_expired(&package.manifest());
    prune(&project).exits(0).says(&["deleted 2 shards"]);
    assert!(package.shards().is_empty());
    let said = project.call(&STRICT).exits(0);
    said.says(&["2 of 2 files were deleted at ", "ok  tombstone.json is about this package"]);
    project.call(&["coverage", "package"]).exits(0).says(&["after their retention period"]);
    project.call(&["pack", "package", "--output", "x.tar"]).exits(0);
    verify_txt_runs(&project);
    project.run(&[]).exits(0).says(&["complete already"]);
    prune(&project).exits(0).says(&["nothing to prune"]);

    // Another key is another signer, unless the auditor's list says otherwise.
    let path = package.root.join("tombstone.json");
    let mut tombstone: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let public = std::fs::read_to_string(fixture("stranger.pub")).unwrap();
    tombstone["signer"]["public_key"] = json!(public.split(' ').take(2).collect::<Vec<_>>().join(" "));
    bury(&package, &tombstone);
    project.call(&["verify", "package"]).exits(5).says(&["tombstone.json.sig: does not sign these bytes"]);
    sign(&package.root, "stranger");
    project.call(&["verify", "package"]).exits(0).says(&[
        "tombstone: whose key signed tombstone.json: SHA256:",
        ", which is not the key that signed the package; give a list of keys with --allowed-signers",
    ]);
    project
        .call(&STRICT)
        .exits(5)
        .says(&["tombstone.json.sig: was made by SHA256:", "not in the allowed signers file"]);
    std::fs::remove_file(package.root.join("tombstone.json.sig")).unwrap();
    project
        .call(&["verify", "package"])
        .exits(5)
        .says(&["tombstone.json.sig: is not there, and tombstone.json says that"]);
    tombstone["signer"]["identity"] = json!("mallory@example.com");
    bury(&package, &tombstone);
    sign(&package.root, "stranger");
    let other = "tombstone.json: is signed by mallory@example.com, but the package by evidence@example.com";
    project.call(&["verify", "package"]).exits(5).says(&[other]);
}

/// The commands of VERIFY.txt, with the auditor's list beside the tar.
fn verify_txt_runs(project: &Project) {
    if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(project.path("x.tar"), folder.path().join("x.tar")).unwrap();
    std::fs::copy(project.path("allowed"), folder.path().join("allowed_signers")).unwrap();
    let script = "set -o pipefail; tar -xOf x.tar --wildcards '*/VERIFY.txt' | sed -n 's/^    //p' | sh -eu";
    let checked = outcome(Command::new("bash").args(["-c", script]).current_dir(folder.path())).exits(0);
    let good = "Good \"kt-export\" signature for evidence@example.com";
    assert_eq!(checked.stdout.matches(good).count(), 2, "{checked:?}");
}

fn sign(package: &Path, key: &str) {
    std::fs::write(package.join("tombstone.json.sig"), signature(key, &package.join("tombstone.json"))).unwrap();
}

#[test]
fn a_prune_that_cannot_be_signed_deletes_nothing_and_stops_no_other() {
    let (project, package) = exported("1s", SIGN);
    let unsigned = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
    let unsigned = unsigned.replace(SIGN, "").replace("name: daily", "name: other").replace("package/", "second/");
    project.write("other.yaml", unsigned);
    project.call(&["run", "other.yaml", "--store", "index"]).exits(0);
    wait_until_expired(&project.package_in("second").manifest());
    std::fs::remove_file(project.path("key")).unwrap();
    let before = package.snapshot();
    let said = prune(&project).exits(4);
    said.says(&[
        &format!("error: {} is not pruned: ", package.manifest()["id"].as_str().unwrap()),
        "the package is signed, so its deletion has to be signed as well, and the key cannot be used: ",
        "; you may replace it with another key",
        "deleted 2 shards",
    ]);
    assert!(package.snapshot() == before);
    assert!(project.package_in("second").shards().is_empty());
    project.call(&["verify", "second"]).exits(0).says(&["neither package nor tombstone is signed"]);
    // A key that took the place of the first one signs, and the list says that it may.
    give_key(&project, "stranger");
    prune(&project).exits(0).says(&["deleted 2 shards"]);
    let list = |name: &str| {
        let public = std::fs::read_to_string(fixture(&format!("{name}.pub"))).unwrap();
        format!("evidence@example.com namespaces=\"kt-export\" {public}")
    };
    project.write("allowed", list("ed25519") + &list("stranger"));
    project.call(&STRICT).exits(0).says(&["ok  tombstone.json is about this package"]);
}

#[test]
fn a_prune_is_linked_where_the_package_is() {
    let (project, package) = exported("1s", &format!("{SIGN}\nchain: {{uri: chain/}}"));
    wait_until_expired(&package.manifest());
    let chained = [&STRICT[..], &["--chain", "chain"]].concat();
    project.call(&chained).exits(0);
    prune(&project).exits(0).says(&["deleted 2 shards"]);
    let link: Value = serde_json::from_slice(&std::fs::read(project.path("chain/000002.json")).unwrap()).unwrap();
    let bytes = std::fs::read(package.root.join("tombstone.json")).unwrap();
    let tombstone: Value = serde_json::from_slice(&bytes).unwrap();
    let first = sha256(&std::fs::read(project.path("chain/000001.json")).unwrap());
    assert_eq!(tombstone["link"], json!({"number": 2, "previous_sha256": first}));
    assert_eq!(link["tombstone_sha256"], json!(sha256(&bytes)));
    assert_eq!((&link["created_at"], &link["id"]), (&tombstone["pruned_at"], &package.manifest()["id"]));
    project.call(&chained).exits(0).says(&["chain chain: intact", "complete: package", "shards deleted at "]);
    project.call(&STRICT).exits(0).says(&["chain: tombstone.json is link 2 of a chain, which --chain checks"]);
    // A package that follows is linked behind it.
    let next = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
    let next = next.replace("date_from: 2026-03-01", "date_from: 2026-03-02").replace("package/", "next/");
    project.write("next.yaml", next);
    project.call(&["run", "next.yaml"]).exits(0);
    project.call(&[&chained[..], &["next"]].concat()).exits(0).says(&["chain chain: intact"]);
    std::fs::remove_dir_all(project.path("next")).unwrap();
    std::fs::remove_file(project.path("chain/000003.json")).unwrap();

    // A crash after the link: the same tombstone is published again.
    std::fs::remove_file(package.root.join("tombstone.json")).unwrap();
    project.call(&chained).exits(5).says(&[
        "tombstone.json: is missing, and 000002.json says that shards were deleted: `jobs prune` writes it again",
    ]);
    let shard = package.file("2026-03-01")["path"].as_str().unwrap().to_owned();
    std::fs::create_dir_all(package.root.join(&shard).parent().unwrap()).unwrap();
    std::fs::write(package.root.join(&shard), "").unwrap();
    prune(&project).exits(0).says(&["deleted 1 shards"]);
    assert_eq!(std::fs::read(package.root.join("tombstone.json")).unwrap(), bytes);
    project.call(&chained).exits(0);
    // One that the chain does not know, or knows otherwise.
    std::fs::remove_file(project.path("chain/000002.json")).unwrap();
    project.call(&chained).exits(5).says(&["tombstone.json: is not linked in the chain"]);
    let mut unlinked = tombstone.clone();
    unlinked.as_object_mut().unwrap().remove("link");
    bury(&package, &unlinked);
    sign(&package.root, "ed25519");
    project.call(&STRICT).exits(5).says(&["tombstone.json: has no place in the chain, but the package has"]);
    // Without its chain nothing is deleted.
    std::fs::create_dir_all(package.root.join(&shard).parent().unwrap()).unwrap();
    std::fs::write(package.root.join(&shard), "").unwrap();
    std::fs::remove_dir_all(project.path("chain")).unwrap();
    prune(&project).exits(4).says(&["is not pruned: ", "the chain is not where the spec in the job's record says"]);
}

#[test]
fn more_files_than_a_tombstone_says_are_not_excused() {
    let (project, package) = exported("1s", "");
    wait_until_expired(&package.manifest());
    prune(&project).exits(0);
    let path = package.root.join("tombstone.json");
    let mut tombstone: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    tombstone["files"] = json!(1);
    bury(&package, &tombstone);
    let message = "tombstone.json: says that 1 files were deleted, but 2 are missing";
    project.call(&["verify", "package"]).exits(5).says(&[message]);
    let mut other = tombstone.clone();
    other["manifest_sha256"] = json!("0".repeat(64));
    bury(&package, &other);
    project.call(&["verify", "package"]).exits(5).says(&["tombstone.json: is about another package: job_"]);
    std::fs::write(package.root.join("tombstone.json"), "{}").unwrap();
    project.call(&["verify", "package"]).exits(5).says(&["tombstone.json: cannot be read: "]);
}

#[test]
fn retention_is_not_cut_short_by_a_clock_on_the_command_line() {
    let (project, package) = exported("400d", "");
    let later = ["jobs", "prune", "--store", "index", "--now", "2127-01-01T00:00:00Z"];
    project.call(&later).exits(0).says(&["would delete 2 shards"]);
    project.call(&[&later[..], &["--yes"]].concat()).exits(2).says(&[
        "--now 2127-01-01T00:00:00Z is in the future, and prune never shortens retention: leave out --yes to see what \
         would be deleted then, or leave out --now to delete what has expired",
    ]);
    assert_eq!(package.shards().len(), 2);
}
