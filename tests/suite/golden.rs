//! Job ids and packages of earlier releases stay what they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kt_export::diagnostic::SourceText;
use kt_export::package::manifest::Manifest;
use kt_export::resolve::{CatalogText, Destination, Environment, resolve_text};
use kt_export::store::Location;

use crate::project::{Project, outcome};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn packages() -> Vec<PathBuf> {
    let below = walkdir::WalkDir::new(golden().join("packages")).sort_by_file_name().into_iter().map(Result::unwrap);
    let packages: Vec<PathBuf> = below
        .filter(|entry| entry.file_name() == "manifest.json")
        .map(|entry| entry.path().parent().unwrap().into())
        .collect();
    assert!(packages.len() >= 4);
    packages
}

#[test]
fn specs_keep_the_ids_of_their_jobs() {
    let folder = golden().join("specs");
    let ids = std::fs::read_to_string(folder.join("ids.txt")).unwrap();
    let ids: BTreeMap<&str, &str> = ids.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let environment = Environment {
        now: "2026-05-01T00:00:00Z".parse().unwrap(),
        vars: BTreeMap::new(),
        env: BTreeMap::new(),
        current_dir: "/".into(),
        output_base: Location::from(PathBuf::from("/")),
    };
    let specs = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let specs: Vec<PathBuf> =
        specs.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    assert_eq!(specs.len(), ids.len());
    for path in specs {
        let text = Arc::new(SourceText { text: std::fs::read_to_string(&path).unwrap(), path: path.clone() });
        let place = Destination::OfSpec { revision: 0 };
        let job = resolve_text(&text, &CatalogText::Recorded(None), &place, &environment).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(job.id, ids[name], "{name}");
    }
}

#[test]
fn manifests_of_earlier_releases_are_written_again_as_they_are() {
    for package in packages() {
        let bytes = std::fs::read(package.join("manifest.json")).unwrap();
        let manifest = Manifest::from_json(&bytes).unwrap();
        let (again, was) =
            (String::from_utf8(manifest.to_json_bytes().unwrap()).unwrap(), String::from_utf8(bytes).unwrap());
        let same = again.lines().zip(was.lines()).take_while(|(again, was)| again == was).count();
        let around: Vec<&str> = again.lines().skip(same.saturating_sub(2)).take(5).collect();
        assert!(again == was, "{} is another from line {same} on: {around:#?}", package.display());
    }
}

#[test]
fn packages_of_earlier_releases_are_verified() {
    let project = Project::new();
    let signer = std::fs::read_to_string(golden().join("../signatures/ed25519.pub")).unwrap();
    project.write("allowed", format!("exports@example.com namespaces=\"kt-export\" {signer}"));
    for package in packages() {
        let at = package.to_str().unwrap();
        let mut arguments = vec!["verify", at, "--rows"];
        if package.join("manifest.json.sig").exists() {
            arguments.extend(["--allowed-signers", "allowed"]);
        }
        project.call(&arguments).exits(0);
        outcome(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&package)).exits(0);
    }
    let release = golden().join("packages/0.1.0");
    let (chain, at) = (release.join("chain"), release.join("signed"));
    let arguments =
        ["verify", "--chain", chain.to_str().unwrap(), at.to_str().unwrap(), "--allowed-signers", "allowed"];
    project.call(&arguments).exits(0);
}
