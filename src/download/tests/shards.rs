//! A package of its own.

use super::*;
use crate::audit::verify::{Check, Finding, VerifyOptions, verify};
use crate::package::layout::{MANIFEST, SHA256SUMS};
use crate::package::manifest::RejectsEntry;

/// With rejects, a signature and a report.
fn full() -> Sample {
    let (mut package, _) = Sample::many(&csv_format(), ".zst");
    let rejects = compress(b"{\"file\":\"a\"}\n", ".zst");
    package.write("rejects/part-0000.ndjson.zst", &rejects);
    let path = "rejects/part-0000.ndjson.zst".to_owned();
    package.manifest.rejects = vec![RejectsEntry {
        path,
        rows: 1,
        bytes: rejects.len() as u64,
        sha256: sha256(&rejects),
        plain_bytes: None,
        plain_sha256: None,
        sealed: None,
    }];
    package.finish();
    package.write("manifest.json.sig", b"a signature");
    package.write("report.html", b"<html>");
    package.write("_state/plan.json", b"{}");
    package
}

#[test]
fn every_file_of_the_package_is_copied_byte_for_byte() {
    let package = full();
    let to = package.out("copy");
    let done = package.fetch(&to, Form::Shards).unwrap();
    let mut expected = names(&package.root());
    expected.retain(|name| !name.starts_with("_state/"));
    assert_eq!(names(&to), expected);
    for name in &expected {
        assert_eq!(fs::read(to.join(name)).unwrap(), fs::read(package.root().join(name)).unwrap(), "{name}");
    }
    assert_eq!((done.path.as_path(), done.files, done.resumed_files), (to.as_path(), 12, 0));
    let bytes: u64 = expected.iter().map(|name| fs::metadata(to.join(name)).unwrap().len()).sum();
    assert_eq!((done.bytes, done.rows), (bytes, package.manifest.total_rows));
}

#[test]
fn the_copy_passes_verify_and_sha256sum() {
    let (package, _) = Sample::many(&csv_format(), ".zst");
    // A crash may have left it out; the manifest gives it.
    fs::remove_file(package.root().join(SHA256SUMS)).unwrap();
    let to = package.out("copy");
    package.fetch(&to, Form::Shards).unwrap();
    let report = verify(to.clone(), &VerifyOptions { rows: true, ..VerifyOptions::default() });
    // The partitions of these packages are no calendar's, and no run made them.
    let findings: Vec<_> =
        report.findings.iter().filter(|finding| !matches!(finding.check, Check::Spec | Check::Times)).collect();
    assert_eq!(findings, Vec::<&Finding>::new());
    let check = std::process::Command::new("sha256sum").args(["-c", "--quiet", SHA256SUMS]).current_dir(&to).status();
    assert!(check.is_ok_and(|status| status.success()));
}

#[test]
fn a_copy_is_completed_and_mended_and_left_alone_when_whole() {
    let package = full();
    let to = package.out("copy");
    package.fetch(&to, Form::Shards).unwrap();
    let path = |shard: usize| to.join(&package.manifest.files[shard].path);
    fs::write(path(5), b"damaged").unwrap();
    fs::remove_file(path(6)).unwrap();
    fs::remove_file(to.join(SHA256SUMS)).unwrap();
    assert_eq!(package.fetch(&to, Form::Shards).unwrap().resumed_files, 10);
    assert_eq!(fs::read(path(5)).unwrap(), fs::read(package.path(5)).unwrap());
    assert!(to.join(SHA256SUMS).exists());
    let before = fs::metadata(to.join(MANIFEST)).unwrap().modified().unwrap();
    assert_eq!(package.fetch(&to, Form::Shards).unwrap().resumed_files, 12);
    assert_eq!(fs::metadata(to.join(MANIFEST)).unwrap().modified().unwrap(), before);
    assert!(!names(&to).iter().any(|name| name.ends_with(".part")));
}

#[test]
fn a_package_is_not_mixed_with_another_or_with_anything_else() {
    let package = full();
    let to = package.out("copy");
    package.fetch(&to, Form::Shards).unwrap();
    let error_of = |other: &Sample| {
        let error = other.fetch(&to, Form::Shards).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        error.to_string()
    };
    let (other, _) = Sample::many(&Format::NDJSON, "");
    let at = to.display();
    let id = &package.manifest.id;
    assert_eq!(error_of(&other), format!("{at} holds another package, {id}: choose another folder"));
    let (state, _) = Sample::many(&csv_format(), "");
    let holds = format!("an earlier or later state of {id}");
    assert_eq!(error_of(&state), format!("{at} holds another package, {holds}: choose another folder"));
    fs::write(to.join("data/mine.txt"), "x").unwrap();
    let text = format!(
        "{at} holds `data/mine.txt`, which does not belong to this package: choose an empty or new \
        folder"
    );
    assert_eq!(error_of(&package), text);
    fs::remove_file(to.join("data/mine.txt")).unwrap();
    fs::create_dir(to.join("data/mine")).unwrap();
    assert!(error_of(&package).contains("holds `data/mine`, which does not belong to this package"));
    fs::write(to.join(MANIFEST), "{").unwrap();
    assert!(error_of(&package).contains("whose manifest cannot be read"));
    fs::remove_dir_all(&to).unwrap();
    fs::write(&to, "x").unwrap();
    let text = format!(
        "{at} is not a folder, but shards are downloaded into a folder: remove it or choose another \
        name"
    );
    assert_eq!(error_of(&package), text);
}

#[test]
fn damage_is_named_and_the_manifest_stays_away() {
    for damage in ["flipped", "cut", "missing"] {
        let package = full();
        let mut bytes = fs::read(package.path(8)).unwrap();
        match damage {
            "flipped" => bytes[20] ^= 4,
            "cut" => _ = bytes.pop(),
            _ => fs::remove_file(package.path(8)).unwrap(),
        }
        if damage != "missing" {
            fs::write(package.path(8), bytes).unwrap();
        }
        let to = package.out("copy");
        let error = package.fetch(&to, Form::Shards).unwrap_err();
        assert_eq!(error.exit(), Exit::VerifyFailed);
        assert!(error.to_string().contains(&package.manifest.files[8].path), "{error}");
        assert_eq!(names(&to).len(), 8, "{damage}");
        assert!(!to.join(MANIFEST).exists());
    }
}

#[test]
fn the_list_of_digests_and_the_manifest_are_those_that_were_asked_for() {
    let mut package = full();
    let at = package.root().display().to_string();
    package.write(SHA256SUMS, b"other");
    let error = package.fetch(&package.out("copy"), Form::Shards).unwrap_err();
    let text = format!(
        "`SHA256SUMS` in {at} is not that of the manifest: run the job again, which writes it, or check the package with `kt-export verify`"
    );
    assert_eq!((error.to_string(), error.exit()), (text, Exit::VerifyFailed));
    package.manifest.name = "other".into();
    let error = package.fetch(&package.out("copy"), Form::Shards).unwrap_err();
    let text =
        format!("`manifest.json` in {at} changed while the package was downloaded: nothing is lost, download it again");
    assert_eq!((error.to_string(), error.exit()), (text, Exit::TryLater));
}

#[test]
fn encrypted_shards_are_copied_and_a_package_without_shards_is_its_manifest() {
    let mut package = Sample::of(&csv_format(), ".age", &[(b"secret".to_vec(), 1)]);
    package.fetch(&package.out("copy"), Form::Shards).unwrap();
    package.manifest.files.clear();
    package.finish();
    let done = package.fetch(&package.out("none"), Form::Shards).unwrap();
    assert_eq!(done.files, 0);
    assert_eq!(names(&done.path), [SHA256SUMS, MANIFEST]);
}
