//! Messages for missing and changed files.

use super::*;
use crate::error::Exit;
use crate::package::manifest::{FileStatus, tests::manifest};
use crate::run::example::{empty_folder, shard, simulated_folder};
use crate::stop::Signal;

/// A manifest of two shards, a failed partition and a rejects file, all there.
fn whole(folder: &Folder) -> Manifest {
    let mut manifest = manifest();
    manifest.files = vec![
        shard(folder, "data/2026-03-01/part-0000.csv", b"one"),
        shard(folder, "data/2026-03-01/part-0001.csv", b"two"),
        FileEntry {
            status: FileStatus::Failed,
            sha256: None,
            ..shard(folder, "data/2026-03-02/part-0000.csv", b"what a dead run left")
        },
    ];
    let rejects = shard(folder, "rejects/0.ndjson", b"{}\n");
    manifest.rejects = vec![RejectsEntry {
        path: rejects.path,
        rows: 1,
        bytes: rejects.bytes,
        sha256: rejects.sha256.unwrap(),
        plain_bytes: None,
        plain_sha256: None,
        sealed: None,
    }];
    manifest
}

fn found(folder: &Folder, manifest: &Manifest, with_digests: bool) -> Vec<String> {
    let threads = 3;
    of_manifest(folder, manifest, with_digests, threads, &Stop::default()).unwrap()
}

/// A local folder, whose files are looked up one by one, and one that is listed.
fn in_each_store(test: impl Fn(&Folder)) {
    let (_local, folder) = empty_folder();
    test(&folder);
    let (_root, _world, folder) = simulated_folder(false);
    test(&folder);
}

#[test]
fn an_unchanged_package_is_not_damaged() {
    in_each_store(|folder| {
        let manifest = whole(folder);
        for with_digests in [false, true] {
            assert!(found(folder, &manifest, with_digests).is_empty());
        }
        folder.remove("data/2026-03-02/part-0000.csv").unwrap();
        assert!(found(folder, &manifest, true).is_empty(), "a failed partition has no file");
    });
}

#[test]
fn missing_files_and_other_sizes_are_found_without_reading() {
    in_each_store(|folder| {
        let manifest = whole(folder);
        folder.remove("data/2026-03-01/part-0000.csv").unwrap();
        folder.replace_bytes("data/2026-03-01/part-0001.csv", b"two, and more").unwrap();
        folder.remove("rejects/0.ndjson").unwrap();
        let expected = [
            "data/2026-03-01/part-0000.csv is missing",
            "data/2026-03-01/part-0001.csv has 13 bytes instead of 3",
            "rejects/0.ndjson is missing",
        ];
        for with_digests in [false, true] {
            assert_eq!(found(folder, &manifest, with_digests), expected);
        }
    });
}

#[test]
fn other_bytes_of_the_same_size_are_found_by_their_digest_only() {
    in_each_store(|folder| {
        let manifest = whole(folder);
        folder.replace_bytes("data/2026-03-01/part-0001.csv", b"TWO").unwrap();
        folder.replace_bytes("rejects/0.ndjson", b"[]\n").unwrap();
        assert!(found(folder, &manifest, false).is_empty());
        let expected = [
            "data/2026-03-01/part-0001.csv does not have the bytes that were exported",
            "rejects/0.ndjson does not have the bytes that were exported",
        ];
        assert_eq!(found(folder, &manifest, true), expected);
    });
}

#[test]
fn digests_are_reported_in_the_order_of_the_files_and_a_file_without_one_is_not_proven() {
    let (_root, folder) = empty_folder();
    let names: Vec<String> = (0..40).map(|n| format!("data/2026-03-01/part-{n:04}.csv")).collect();
    let entries: Vec<FileEntry> = names.iter().map(|name| shard(&folder, name, name.as_bytes())).collect();
    let mut files: Vec<Committed<'_>> = entries.iter().map(Committed::from).collect();
    for damaged in (0..40).step_by(7) {
        files[damaged].sha256 = None;
    }
    for threads in [1, 4] {
        let found = digests(&folder, &files, threads, &Stop::default()).unwrap();
        let expected = |n: usize| format!("{} does not have the bytes that were exported", names[n]);
        for (n, found) in found.iter().enumerate() {
            assert_eq!(*found, n.is_multiple_of(7).then(|| expected(n)), "{n}");
        }
    }
    folder.remove(&names[1]).unwrap();
    assert!(digests(&folder, &files[1..2], 1, &Stop::default()).unwrap()[0].is_some());
}

#[test]
fn something_else_in_the_place_of_a_file_is_an_error_and_not_a_missing_file() {
    let (root, folder) = empty_folder();
    let manifest = whole(&folder);
    let at = root.path().join("package/data/2026-03-01/part-0001.csv");
    std::fs::remove_file(&at).unwrap();
    std::fs::create_dir(&at).unwrap();
    let result = of_manifest(&folder, &manifest, false, 1, &Stop::default());
    let Err(RunError::Failed(failure)) = result else { panic!("{result:?}") };
    assert!(failure.to_string().contains("part-0001.csv is a folder"), "{}", failure.to_string());
}

#[test]
fn a_store_that_fails_is_an_error_and_not_damage() {
    let (_root, world, folder) = simulated_folder(false);
    let manifest = whole(&folder);
    world.set_odds(crate::store::simulated::Odds { fail: 1, ..Default::default() });
    for with_digests in [false, true] {
        let result = of_manifest(&folder, &manifest, with_digests, 1, &Stop::default());
        assert!(
            matches!(&result, Err(RunError::Failed(failure)) if failure.to_string().starts_with("cannot reach")),
            "{result:?}"
        );
    }
}

#[test]
fn hashing_ends_with_the_run() {
    let (_root, folder) = empty_folder();
    let manifest = whole(&folder);
    let stop = Stop::default();
    stop.set(Signal::Terminate);
    assert!(matches!(of_manifest(&folder, &manifest, true, 1, &stop), Err(RunError::Stopped(Exit::Terminated))));
    assert!(of_manifest(&folder, &manifest, false, 1, &stop).unwrap().is_empty());
}
