//! `pack`: one tar, the same every time, that an auditor checks with nothing of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::project::{NOW, Outcome, Project, daily_files, outcome};
use crate::s3_server::S3Server;
use crate::stores::{call, project_on};

/// Text with everything that could confuse who counts lines.
const TRICKY: &str = "{\"event_id\":\"t1\",\"occurred_at\":\"2026-03-01T10:00:00Z\",\"note\":\"two\\nlines, \\\"quoted\\\"\"}\n\
    {\"event_id\":\"t2\",\"occurred_at\":\"2026-03-01T11:00:00Z\",\"note\":\"\\r\\n\\n\\\"\"}\n";

fn project(rest: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\nwindow: {{date_from: 2026-03-01, date_to: 2026-03-03}}\n{rest}"
    ));
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    project.write("data/tricky.ndjson", TRICKY);
    project
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// What an auditor does: an empty folder, the tar, and the commands of VERIFY.txt as they are printed.
fn checked_by_hand(tar: &Path) -> (tempfile::TempDir, PathBuf, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(tar, folder.path().join("evidence.tar")).unwrap();
    let listed = outcome(Command::new("tar").args(["-tf", "evidence.tar"]).current_dir(folder.path())).exits(0).stdout;
    let name = listed.lines().find(|name| name.ends_with("/VERIFY.txt")).unwrap();
    let text = outcome(Command::new("tar").args(["-xOf", "evidence.tar", name]).current_dir(folder.path())).exits(0);
    let commands: Vec<&str> = text.stdout.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(commands.len() >= 6, "{}", text.stdout);
    let checked = outcome(Command::new("sh").args(["-eu", "-c", &commands.join("\n")]).current_dir(folder.path()));
    let root = folder.path().join(name.strip_suffix("/VERIFY.txt").unwrap());
    (folder, root, checked)
}

#[test]
fn the_commands_of_verify_txt_run_as_printed_and_what_is_unpacked_verifies() {
    for format in [
        "format: csv\ncompression: gzip",
        "format: csv\ncompression: none",
        "format: ndjson\ncompression: gzip",
        "format: json\ncompression: gzip",
        "format: parquet",
    ] {
        let project = project(format);
        project.complete();
        project.call(&["pack", "package", "--output", "out.tar"]).exits(0);
        let (_folder, root, checked) = checked_by_hand(&project.path("out.tar"));
        let checked = checked.exits(0);
        assert!(
            checked.stdout.contains("manifest.json: OK") && checked.stdout.contains("part-0000."),
            "{}",
            checked.stdout
        );
        let verified = project.call(&["verify", "--rows", root.to_str().unwrap()]).exits(0);
        verified.says(&["intact", "VERIFY.txt contains instructions and has no digest"]);
    }
}

#[test]
fn the_commands_of_verify_txt_find_what_was_changed_after_packing() {
    let project = project("format: csv\ncompression: gzip");
    let package = project.complete();
    project.call(&["pack", "package", "--output", "out.tar"]).exits(0);
    let shard = package.file("2026-03-02")["path"].as_str().unwrap().to_owned();
    let (folder, root, checked) = checked_by_hand(&project.path("out.tar"));
    checked.exits(0);
    let again = |root: &Path| {
        let name = root.file_name().unwrap().to_str().unwrap();
        let packed =
            outcome(Command::new("tar").args(["-cf", "evidence.tar", name]).current_dir(root.parent().unwrap()));
        packed.exits(0);
        checked_by_hand(&root.parent().unwrap().join("evidence.tar")).2
    };
    let change = |name: &str, bytes: Option<&[u8]>| {
        let path = root.join(name);
        let before = std::fs::read(&path).ok();
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let checked = again(&root);
        assert_ne!(checked.code, Some(0), "{name}: {}", checked.stdout);
        match before {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
    };
    change(&shard, Some(b"x"));
    change(&shard, None);
    change("data/extra", Some(b"x"));
    change("SHA256SUMS", Some(b""));
    let manifest = std::fs::read_to_string(root.join("manifest.json")).unwrap();
    change("manifest.json", Some(manifest.replacen("complete", "partial", 1).as_bytes()));
    again(&root).exits(0);
    drop(folder);
}

#[test]
fn a_package_is_packed_into_the_same_bytes_wherever_it_is() {
    let project = project("format: ndjson");
    project.complete();
    let told = project.call(&["pack", "package", "--output", "one.tar", "--json"]).exits(0);
    let one = std::fs::read(project.path("one.tar")).unwrap();
    let answer = told.json();
    assert_eq!((&answer["version"], &answer["sha256"]), (&json!(1), &json!(hex(&one))));
    assert_eq!((&answer["bytes"], &answer["files"]), (&json!(one.len()), &json!(7)));
    told.says(&[&format!("SHA-256 of the tar, for the working papers: {}", hex(&one))]);

    outcome(Command::new("cp").args(["-r", "package", "copy"]).current_dir(project.path(""))).exits(0);
    std::fs::remove_dir_all(project.path("copy/_state")).unwrap();
    project.call(&["pack", "copy/", "--output", "two.tar"]).exits(0);
    assert!(one == std::fs::read(project.path("two.tar")).unwrap());
    let piped = project.command(&["pack", "package", "--output", "-"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout == one);

    project.call(&["pack", "package", "--output", "one.tar"]).exits(2).says(&["one.tar already exists: remove it"]);
    project.call(&["pack", "package", "--output", "-", "--json"]).exits(2).says(&["cannot both go to stdout"]);
    let listed = outcome(Command::new("tar").args(["-tvf", "one.tar"]).current_dir(project.path(""))).exits(0).stdout;
    assert!(!listed.contains("_state") && listed.lines().all(|line| line.starts_with("-rw-r--r-- 0/0 ")), "{listed}");
}

#[test]
fn a_package_in_a_store_is_packed_into_the_bytes_of_its_copy() {
    let server = S3Server::start();
    let project = project_on(&server, "compression: gzip");
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", NOW]).exits(0);
    call(&project, &server, &["pack", "s3://bucket/evidence/package", "--output", "remote.tar"]).exits(0);
    for key in server.keys("evidence/package/") {
        project.write(key.strip_prefix("evidence/").unwrap(), server.get(&key).unwrap());
    }
    project.call(&["pack", "package", "--output", "local.tar"]).exits(0);
    let read = |name: &str| std::fs::read(project.path(name)).unwrap();
    assert!(read("remote.tar") == read("local.tar"));
    checked_by_hand(&project.path("local.tar")).2.exits(0);
}

#[test]
fn a_package_that_is_not_what_its_manifest_says_is_not_packed() {
    let project = project("format: csv");
    let package = project.complete();
    let shard = package.file("2026-03-03")["path"].as_str().unwrap().to_owned();
    let path = package.root.join(&shard);
    let whole = std::fs::read(&path).unwrap();
    let refused = |words: &[&str]| {
        project.call(&["pack", "package", "--output", "out.tar"]).exits(5).says(words);
        assert!(!project.path("out.tar").exists() && !project.path("out.tar.part").exists());
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    refused(&[&shard, "has SHA-256", "but the manifest says"]);
    // A stream is cut, and no reader takes it for a whole tar.
    let piped = project.command(&["pack", "package", "--output", "-"]).output().unwrap();
    assert_eq!(piped.status.code(), Some(5));
    assert!(!piped.stdout.is_empty() && piped.stdout[piped.stdout.len() - 512..].iter().any(|byte| *byte != 0));
    std::fs::write(&path, &whole[1..]).unwrap();
    refused(&[&shard, &format!("has {} bytes, but the manifest says {}", whole.len() - 1, whole.len())]);
    std::fs::remove_file(&path).unwrap();
    refused(&[&shard, "though the manifest lists it: restore it"]);
    std::fs::write(&path, &whole).unwrap();
    project.write("package/data/extra", "x");
    refused(&["`data/extra` in ", "is not in the manifest: find out where it comes from"]);
    std::fs::remove_file(project.path("package/data/extra")).unwrap();
    std::fs::remove_file(project.path("package/SHA256SUMS")).unwrap();
    refused(&["SHA256SUMS is not in "]);
}
