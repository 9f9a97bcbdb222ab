//! Every way to damage evidence × everything that it is made of: `verify` finds each, by name, and accepts none.
//!
//! Three daily packages, signed and linked; the second one was partial at first, so that there is an older state of
//! everything with a good signature of its own.

use std::collections::BTreeMap;

use kt_export::audit::verify::{packages_below, verify_chain};
use kt_export::digest::sha256;
use kt_export::store::Location;
use serde_json::{Value, json};

use crate::chain::{STRICT, daily, run};
use crate::project::{Outcome, Project, daily_files, files_below};
use crate::signatures::{edit_manifest, fixture, signature};

type Files = BTreeMap<String, Vec<u8>>;

struct Evidence {
    project: Project,
    whole: Files,
    /// The second package while it was partial.
    older: Files,
}

const PACKAGE: &str = "evidence/2026-03-02";
const OTHER: &str = "evidence/2026-03-03";

impl Evidence {
    fn new() -> Self {
        let project = daily(3);
        let (source, text) = daily_files(2, 10).remove(1);
        run(&project, 1).exits(0);
        project.write(&source, format!("{}nonsense\n", text.lines().next().map(|l| format!("{l}\n")).unwrap()));
        run(&project, 2).exits(3);
        let read = |name: &str| -> Files {
            let files = files_below(&project.path(name)).into_iter();
            files.map(|(below, path)| (format!("{name}/{below}"), std::fs::read(path).unwrap())).collect()
        };
        let older = read(PACKAGE);
        project.write(&source, text);
        run(&project, 2).exits(0);
        run(&project, 3).exits(0);
        let whole = ["evidence", "chain"].into_iter().flat_map(read).collect();
        project.call(&STRICT).exits(0);
        Self { project, whole, older }
    }

    fn restore(&self) {
        for name in ["evidence", "chain"] {
            std::fs::remove_dir_all(self.project.path(name)).unwrap();
        }
        self.whole.iter().for_each(|(name, bytes)| self.project.write(name, bytes));
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.project.path(name)).unwrap();
    }

    fn remove_package(&self, name: &str) {
        std::fs::remove_dir_all(self.project.path(name)).unwrap();
    }

    /// Everything is as it was but for one change, which is found and named.
    #[track_caller]
    fn finds(&self, change: impl FnOnce(), words: &[&str]) -> Outcome {
        change();
        let told = self.project.call(&STRICT).exits(5).says(&["NOT INTACT"]).says(words);
        self.restore();
        told
    }

    fn shard_of(&self, package: &str) -> String {
        let name = self.whole.keys().find(|name| name.starts_with(&format!("{package}/data/")));
        name.unwrap().clone()
    }

    /// What evidence is made of: the object, and the same of another package.
    fn objects(&self) -> [(String, String); 5] {
        let of = |name: &str| (format!("{PACKAGE}/{name}"), format!("{OTHER}/{name}"));
        [
            (self.shard_of(PACKAGE), self.shard_of(OTHER)),
            of("manifest.json"),
            of("manifest.json.sig"),
            of("SHA256SUMS"),
            ("chain/000003.json".to_owned(), "chain/000004.json".to_owned()),
        ]
    }
}

/// How findings name an object: in its package or chain.
fn short(name: &str) -> &str {
    name.strip_prefix("chain/").or_else(|| name.get(PACKAGE.len() + 1..)).unwrap()
}

#[test]
fn what_is_flipped_is_found() {
    let evidence = Evidence::new();
    for (name, _) in evidence.objects() {
        let whole = &evidence.whole[&name];
        for at in (0..whole.len()).step_by(1 + whole.len() / 7).chain([whole.len() - 1]) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            evidence.finds(|| evidence.project.write(&name, &flipped), &[short(&name)]);
        }
    }
    // Every byte of the last link, which none follows.
    let place = |name: &str| Location::Local(evidence.project.path(name));
    let packages = packages_below(&place("evidence")).unwrap();
    assert!(verify_chain(&place("chain"), &packages, None, jiff::Timestamp::now()).intact);
    let name = "chain/000004.json";
    let whole = &evidence.whole[name];
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        evidence.project.write(name, &flipped);
        let report = verify_chain(&place("chain"), &packages, None, jiff::Timestamp::now());
        assert!(!report.intact && report.to_string().contains("000004.json"), "byte {at}: {report}");
    }
}

#[test]
fn what_is_cut_is_found() {
    let evidence = Evidence::new();
    for (name, _) in evidence.objects() {
        let whole = &evidence.whole[&name];
        // The armor of a signature is whole without its last line end.
        let last = whole.len() - 1 - usize::from(name.ends_with(".sig"));
        for at in [0, 1, whole.len() / 2, last] {
            evidence.finds(|| evidence.project.write(&name, &whole[..at]), &[short(&name)]);
        }
    }
}

#[test]
fn what_is_swapped_is_found() {
    let evidence = Evidence::new();
    for (name, other) in evidence.objects() {
        let swap = || {
            evidence.project.write(&name, &evidence.whole[&other]);
            evidence.project.write(&other, &evidence.whole[&name]);
        };
        let other = other.strip_prefix("chain/").unwrap_or_else(|| short(&name));
        evidence.finds(swap, &[short(&name), other]);
    }
    // Manifest, signature and sums of two genuine packages, each with the other's shards.
    let swap = || {
        for name in ["manifest.json", "manifest.json.sig", "SHA256SUMS"] {
            evidence.project.write(&format!("{PACKAGE}/{name}"), &evidence.whole[&format!("{OTHER}/{name}")]);
            evidence.project.write(&format!("{OTHER}/{name}"), &evidence.whole[&format!("{PACKAGE}/{name}")]);
        }
    };
    evidence.finds(swap, &["data/2026-03-02/part-0000.g2.csv.zst: ", "data/2026-03-03/part-0000.csv.zst: "]);
}

#[test]
fn what_is_deleted_is_found() {
    let evidence = Evidence::new();
    for (name, _) in evidence.objects() {
        evidence.finds(|| evidence.remove(&name), &[short(&name)]);
    }
    evidence.finds(
        || evidence.remove_package(PACKAGE),
        &["000003.json: its package is missing: daily for 2026-03-02T00:00:00Z to 2026-03-03T00:00:00Z, written to \
           evidence/2026-03-02/"],
    );
    evidence.finds(
        || {
            evidence.remove_package(PACKAGE);
            evidence.remove("chain/000002.json");
            evidence.remove("chain/000003.json");
        },
        &["000002.json: is missing, like all links up to 000003.json, but 000004.json exists"],
    );
    let all = || (1..=4).for_each(|number| evidence.remove(&format!("chain/00000{number}.json")));
    evidence.finds(all, &["000001.json: is missing: the chain has no link"]);
    // A link without its package is one that a later one replaced, or nothing.
    evidence.finds(|| evidence.remove("chain/000004.json"), &["evidence/2026-03-03/manifest.json: is not linked"]);
}

#[test]
fn what_is_added_is_found() {
    let evidence = Evidence::new();
    let project = &evidence.project;
    let add = |name: &str, text: &str| {
        let mut bytes = evidence.whole[name].clone();
        bytes.extend_from_slice(text.as_bytes());
        project.write(name, bytes);
    };
    for (name, _) in evidence.objects() {
        evidence.finds(|| add(&name, "\nx"), &[short(&name)]);
    }
    let shard = &evidence.whole[&evidence.shard_of(PACKAGE)];
    let part = "data/2026-03-02/part-0001.csv.zst";
    evidence.finds(|| project.write(&format!("{PACKAGE}/{part}"), shard), &[part]);
    let line = format!("{}  other\n", "0".repeat(64));
    evidence.finds(|| add(&format!("{PACKAGE}/SHA256SUMS"), &line), &["SHA256SUMS: "]);
    let last = &evidence.whole["chain/000004.json"];
    evidence.finds(|| project.write("chain/000005.json", last), &["000005.json: says that it is link 4"]);
    // A link that would follow, for a package that was never linked.
    let mut link: Value = serde_json::from_slice(last).unwrap();
    link["number"] = json!(5);
    link["previous"] = json!({"number": 4, "sha256": sha256(last)});
    let link: kt_export::chain::Link = serde_json::from_value(link).unwrap();
    let follow = || project.write("chain/000005.json", link.to_json_bytes().unwrap());
    evidence.finds(follow, &["000005.json: differs from its manifest: number, previous"]);
    // A package of the same name that no chain knows.
    let copy = || {
        for (name, bytes) in evidence.whole.iter().filter(|(name, _)| name.starts_with(OTHER)) {
            project.write(&name.replace(OTHER, "evidence/more/2026-03-04"), bytes);
        }
        edit_manifest(&project.path("evidence/more/2026-03-04"), |m| m["id"] = json!("job_aaaaaaaaaaaaaaaaaaaaaaaaaa"));
    };
    evidence.finds(copy, &["evidence/more/2026-03-04/manifest.json: is not linked in the chain"]);
}

#[test]
fn what_is_replaced_by_an_older_state_is_found() {
    let evidence = Evidence::new();
    let project = &evidence.project;
    let older_link = evidence.whole["chain/000002.json"].clone();
    for (name, _) in evidence.objects() {
        let older = evidence.older.get(&name).unwrap_or(&older_link);
        assert_ne!(*older, evidence.whole[&name], "{name}");
        evidence.finds(|| project.write(&name, older), &[short(&name)]);
    }
    // The package as it was, with the good signature that it had: whole in itself, so only the chain can tell.
    let back = || {
        evidence.remove_package(PACKAGE);
        evidence.older.iter().for_each(|(name, bytes)| project.write(name, bytes));
    };
    back();
    let alone = ["verify", PACKAGE, "--require-signature", "--allowed-signers", "allowed"];
    project.call(&alone).exits(0).says(&["partial:", "chain: the package is link 2 of a chain, which --chain checks"]);
    let words = "evidence/2026-03-02/manifest.json: is the manifest of 000002.json, which 000003.json replaced: the \
        package was reverted to an earlier state";
    evidence.finds(back, &[words]);
}

#[test]
fn what_an_attacker_makes_consistent_is_found() {
    let evidence = Evidence::new();
    let project = &evidence.project;
    let package = project.path(PACKAGE);
    let edit = |manifest: &mut Value| manifest["spec"]["path"] = json!("another.yaml");
    let resign = |key: &str| {
        let signed = signature(key, &package.join("manifest.json"));
        std::fs::write(package.join("manifest.json.sig"), signed).unwrap();
    };
    let changed = "evidence/2026-03-02/manifest.json: is not the manifest that 000003.json names: it has the digest ";
    evidence.finds(|| edit_manifest(&package, edit), &["manifest.json.sig: does not sign these bytes", changed]);
    evidence
        .finds(|| resign("stranger"), &["manifest.json.sig: was made by SHA256:", "but the manifest names SHA256:"]);
    let stranger = std::fs::read_to_string(fixture("stranger.pub")).unwrap();
    let with_key = |manifest: &mut Value| {
        edit(manifest);
        manifest["signer"]["public_key"] = json!(stranger.trim());
    };
    let all = || {
        edit_manifest(&package, with_key);
        resign("stranger");
    };
    evidence.finds(all, &["which is not in the allowed signers file", changed]);
    // Whoever has the key itself can sign anything, and cannot change what was linked before.
    let inside = || {
        edit_manifest(&package, edit);
        resign("ed25519");
    };
    evidence.finds(inside, &[changed]);
    // The links written anew as well, from the changed one on; the next manifest names the link before it.
    let rewrite = || {
        inside();
        let bytes = std::fs::read(package.join("manifest.json")).unwrap();
        let mut link: Value = serde_json::from_slice(&evidence.whole["chain/000003.json"]).unwrap();
        link["manifest_sha256"] = json!(sha256(&bytes));
        let third = serde_json::from_value::<kt_export::chain::Link>(link).unwrap().to_json_bytes().unwrap();
        let mut link: Value = serde_json::from_slice(&evidence.whole["chain/000004.json"]).unwrap();
        link["previous"]["sha256"] = json!(sha256(&third));
        let fourth = serde_json::from_value::<kt_export::chain::Link>(link).unwrap().to_json_bytes().unwrap();
        project.write("chain/000003.json", third);
        project.write("chain/000004.json", fourth);
    };
    evidence.finds(
        rewrite,
        &[
            "000004.json: differs from its manifest: previous",
            "evidence/2026-03-03/manifest.json: `previous` is job_",
            ", but the link before has job_",
        ],
    );
}
