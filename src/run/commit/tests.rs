//! What the package holds after a commit that is first, late, or refused.

use super::*;
use crate::package::layout::DRAFTS;
use crate::package::manifest::tests::manifest;
use crate::run::example::{self, DAYS, content, drafts, empty_folder, part, shard, simulated_folder};
use crate::store::simulated::Odds;

const NAME: &str = "data/2026-03-01/part-0000.csv";
const RECORD: &str = "_state/partitions/2026-03-01.json";

fn partition() -> Partition {
    let [start, end] = ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"].map(|at| at.parse().unwrap());
    Partition { label: DAYS[0].to_owned(), start, end }
}

fn request<'a>(run: &'a str, partition: &'a Partition) -> PartitionCommit<'a> {
    let count = |filter: &str, rows| FilterCount { filter: filter.to_owned(), rows };
    PartitionCommit {
        job: "job_a",
        run,
        generation: 1,
        partition,
        inputs: "inputs",
        filter_counts: vec![count("id eq", 4), count("where", 5)],
        redacted: &[6],
        attempts: 2,
        partial_reason: None,
        signer: None,
        at: example::now(),
    }
}

fn read(folder: &Folder, name: &str) -> Vec<u8> {
    folder.read(name).unwrap().unwrap()
}

fn record(folder: &Folder) -> Option<PartitionRecord> {
    load(folder, RECORD).unwrap()
}

#[test]
fn a_commit_publishes_its_parts_and_the_record_that_makes_them_count() {
    for has_exclusive_names in [false, true] {
        let (_root, _world, folder) = simulated_folder(has_exclusive_names);
        let other = "data/2026-03-01/part-0001.csv";
        let parts = vec![part(&folder, NAME, b"one"), part(&folder, other, b"two")];
        let committed = commit_partition(&folder, &request("run-a", &partition()), parts).unwrap();
        assert_eq!(record(&folder).as_ref(), Some(&committed));
        assert_eq!((read(&folder, NAME), read(&folder, other)), (b"one".to_vec(), b"two".to_vec()));
        assert_eq!((committed.filtered_out, &committed.redacted[..]), (9, &[6][..]));
        assert_eq!(
            (committed.job.as_str(), committed.run.as_str(), committed.inputs.as_str()),
            ("job_a", "run-a", "inputs")
        );
        let file = &committed.files[1];
        assert_eq!((file.path.as_str(), file.rows, file.bytes, file.attempts), (other, 3, 3, 2));
        assert_eq!((file.status, file.error_code, &file.error), (FileStatus::Complete, None, &None));
        assert_eq!(file.sha256, Some(crate::digest::sha256(b"two")));
    }
}

#[test]
fn rows_that_are_left_out_make_the_shards_partial_with_the_reason() {
    let (_root, folder) = empty_folder();
    let left_out = Failure::new(ErrorCode::RowsRejected, "why".to_owned());
    let partition = partition();
    let request = PartitionCommit { partial_reason: Some(&left_out), ..request("run-a", &partition) };
    let file = commit_partition(&folder, &request, vec![part(&folder, NAME, b"one")]).unwrap().files.remove(0);
    assert_eq!(
        (file.status, file.error_code, file.error.unwrap().as_str()),
        (FileStatus::Partial, Some(ErrorCode::RowsRejected), "why")
    );
}

#[test]
fn bytes_that_another_run_already_published_are_reused() {
    let (_root, folder) = empty_folder();
    shard(&folder, NAME, b"one");
    let committed =
        commit_partition(&folder, &request("run-a", &partition()), vec![part(&folder, NAME, b"one")]).unwrap();
    assert_eq!((committed.files[0].path.as_str(), content(&folder)), (NAME, vec![NAME.to_owned()]));
}

#[test]
fn other_bytes_get_a_name_with_the_run_and_nothing_is_replaced() {
    let (_root, folder) = empty_folder();
    shard(&folder, NAME, b"other");
    let committed =
        commit_partition(&folder, &request("run-a", &partition()), vec![part(&folder, NAME, b"one")]).unwrap();
    let own = "data/2026-03-01/part-0000.run-a.csv";
    assert_eq!(committed.files[0].path, own);
    assert_eq!((read(&folder, NAME), read(&folder, own)), (b"other".to_vec(), b"one".to_vec()));
}

#[test]
fn of_two_runs_the_first_commits_and_the_second_returns_its_record() {
    let (_root, folder) = empty_folder();
    let first = commit_partition(&folder, &request("run-a", &partition()), vec![part(&folder, NAME, b"one")]).unwrap();
    for bytes in [&b"one"[..], b"two"] {
        let second =
            commit_partition(&folder, &request("run-b", &partition()), vec![part(&folder, NAME, bytes)]).unwrap();
        assert_eq!(second, first);
    }
    assert_eq!((record(&folder), content(&folder)), (Some(first), vec![NAME.to_owned()]));
    assert_eq!(drafts(&folder), 0);
}

/// The result for a run that published `own` and then found the record of another run.
fn lost(
    folder: &Folder,
    record: PartitionRecord,
    own: &FileEntry,
    signer: Option<&Signer>,
) -> Result<PartitionRecord, Failure> {
    let partition = partition();
    let request = PartitionCommit { signer, ..request("run-b", &partition) };
    yield_to_winner(folder, &request, RECORD, record, std::slice::from_ref(own), std::slice::from_ref(&own.path))
}

#[test]
fn files_published_in_vain_are_removed_unless_the_record_names_them() {
    let (_root, folder) = empty_folder();
    let first = commit_partition(&folder, &request("run-a", &partition()), vec![part(&folder, NAME, b"one")]).unwrap();
    let own = shard(&folder, "data/2026-03-01/part-0000.run-b.csv", b"one");
    assert_eq!(lost(&folder, first.clone(), &own, None).unwrap(), first);
    assert_eq!(content(&folder), [NAME]);
    assert_eq!(lost(&folder, first.clone(), &first.files[0], None).unwrap(), first);
    assert_eq!(content(&folder), [NAME]);
    // With other rows, the record counts if its shards are intact.
    let own = shard(&folder, "data/2026-03-01/part-0000.run-b.csv", b"two");
    assert_eq!(lost(&folder, first.clone(), &own, None).unwrap(), first);
}

#[test]
fn a_record_that_cannot_count_is_refused_with_its_name_and_what_is_wrong() {
    let (_root, folder) = empty_folder();
    let first = commit_partition(&folder, &request("run-a", &partition()), vec![part(&folder, NAME, b"one")]).unwrap();
    let refused = |record: &PartitionRecord, signer: Option<&Signer>| {
        let own = shard(&folder, "data/2026-03-01/part-0000.run-b.csv", b"two");
        let failure = lost(&folder, record.clone(), &own, signer).unwrap_err();
        assert!(folder.read(&own.path).unwrap().is_none(), "a file published in vain stays");
        (failure.code(), failure.to_string())
    };
    let foreign = "belongs to another job or to other inputs of partition 2026-03-01; run again";
    let wrong = |code, what: &str| (code, format!("{RECORD}, written by another run, {what}"));
    for record in [
        PartitionRecord { job: "job_b".to_owned(), ..first.clone() },
        PartitionRecord { inputs: "others".to_owned(), ..first.clone() },
    ] {
        assert_eq!(refused(&record, None), wrong(ErrorCode::PackageOccupied, foreign));
    }
    let signer = example::signer();
    let unsigned = "is not signed by this job's key; run again to export it again";
    assert_eq!(refused(&first, Some(&signer)), wrong(ErrorCode::KeyUnusable, unsigned));
    let damaged = format!("names {NAME}, which has other bytes or is missing; `--repair` exports it again");
    folder.replace_bytes(NAME, b"ONE").unwrap();
    assert_eq!(refused(&first, None), wrong(ErrorCode::PackageDamaged, &damaged));
    folder.remove(NAME).unwrap();
    assert_eq!(refused(&first, None), wrong(ErrorCode::PackageDamaged, &damaged));
}

#[test]
fn a_record_is_signed_under_its_own_name() {
    let (_root, folder) = empty_folder();
    let signer = example::signer();
    let partition = partition();
    let request = PartitionCommit { signer: Some(&signer), ..request("run-a", &partition) };
    let committed = commit_partition(&folder, &request, vec![part(&folder, NAME, b"one")]).unwrap();
    assert!(is_proven(RECORD, &committed, Some(&signer)));
    assert!(!is_proven("_state/partitions/2026-03-02.json", &committed, Some(&signer)));
    let forged = PartitionRecord { filtered_out: 0, ..committed };
    assert!(!is_proven(RECORD, &forged, Some(&signer)));
}

#[test]
fn each_generation_has_a_record_of_its_own() {
    let (_root, folder) = empty_folder();
    let partition = partition();
    commit_partition(&folder, &request("run-a", &partition), vec![part(&folder, NAME, b"one")]).unwrap();
    let later = PartitionCommit { generation: 2, ..request("run-b", &partition) };
    let second =
        commit_partition(&folder, &later, vec![part(&folder, "data/2026-03-01/part-0000.g2.csv", b"two")]).unwrap();
    assert_eq!(second.run, "run-b");
    assert_eq!(record(&folder).unwrap().run, "run-a");
    assert_eq!(load(&folder, "_state/partitions/2026-03-01.g2.json").unwrap(), Some(second));
}

#[test]
fn a_draft_that_another_run_removed_is_not_committed() {
    let (root, folder) = empty_folder();
    let part = part(&folder, NAME, b"one");
    std::fs::remove_dir_all(root.path().join("package").join(DRAFTS)).unwrap();
    let failure = commit_partition(&folder, &request("run-a", &partition()), vec![part]).unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!(
            "the unfinished file for `{NAME}` was removed by another run of the job: nothing was written, run again"
        )
    );
    assert!(record(&folder).is_none() && content(&folder).is_empty());
}

#[test]
fn a_commit_that_a_store_fails_is_an_error_and_leaves_no_record_without_its_shards() {
    let mut commits = 0;
    for seed in 0..200 {
        let (_root, world, folder) = simulated_folder(true);
        let parts = vec![part(&folder, NAME, b"one")];
        world.set_seed(seed);
        world.set_odds(Odds { fail: 4, ..Odds::default() });
        let committed = commit_partition(&folder, &request("run-a", &partition()), parts);
        world.calm();
        match (&committed, record(&folder)) {
            (Ok(committed), there) => {
                assert_eq!(there.as_ref(), Some(committed));
                commits += 1;
            }
            // The record may exist although the store reported a failure.
            (Err(failure), there) => {
                assert!(failure.to_string().starts_with("cannot reach"), "{}", failure.to_string());
                assert!(there.is_none_or(|there| there.run == "run-a"));
            }
        }
        if let Some(record) = record(&folder) {
            assert_eq!(read(&folder, &record.files[0].path), b"one", "seed {seed}");
        }
        // The next commit returns a record whose shards exist.
        let again =
            commit_partition(&folder, &request("run-b", &partition()), vec![part(&folder, NAME, b"one")]).unwrap();
        assert_eq!(read(&folder, &again.files[0].path), b"one", "seed {seed}");
    }
    assert!((20..180).contains(&commits), "{commits} of 200");
}

fn rejects_part(folder: &Folder, name: &str, bytes: &[u8]) -> RejectsPart {
    let Part { name, draft, bytes, sha256, .. } = part(folder, name, bytes);
    RejectsPart { name, draft, rows: 1, bytes, sha256, plain: None, sealed: None }
}

#[test]
fn rejects_say_whether_this_run_published_them() {
    let (_root, folder) = empty_folder();
    let name = "rejects/0.ndjson";
    let publish = |run, bytes: &[u8]| {
        let PublishedRejects { entry, is_new } =
            publish_rejects(&folder, rejects_part(&folder, name, bytes), run).unwrap();
        assert_eq!(read(&folder, &entry.path), bytes);
        (entry.path, is_new)
    };
    assert_eq!(publish("run-a", b"{1}\n"), (name.to_owned(), true));
    assert_eq!(publish("run-b", b"{1}\n"), (name.to_owned(), false));
    assert_eq!(publish("run-c", b"{2}\n"), ("rejects/0.run-c.ndjson".to_owned(), true));
}

/// A manifest of one shard of the first day and of one rejects file, whose name carries a run.
fn listed(folder: &Folder) -> Manifest {
    let rejects = shard(folder, "rejects/0.run-a.ndjson", b"{}\n");
    let mut manifest = manifest();
    manifest.files[0] = shard(folder, NAME, b"one");
    manifest.rejects = vec![RejectsEntry {
        path: rejects.path,
        rows: 1,
        bytes: 3,
        sha256: rejects.sha256.unwrap(),
        plain_bytes: None,
        plain_sha256: None,
        sealed: None,
    }];
    manifest
}

#[test]
fn a_damaged_shard_is_replaced_by_the_same_bytes_and_an_intact_one_is_left() {
    let (_root, folder) = empty_folder();
    let manifest = listed(&folder);
    let restored = |part: Part| restore(&folder, &manifest, DAYS[0], vec![part]);
    restored(part(&folder, NAME, b"one")).unwrap();
    for damaged in [Some(&b"ONE"[..]), None] {
        match damaged {
            Some(bytes) => folder.replace_bytes(NAME, bytes).unwrap(),
            None => folder.remove(NAME).unwrap(),
        }
        // The new part may have another name than the listed one.
        restored(part(&folder, "data/2026-03-01/part-0000.run-b.csv", b"one")).unwrap();
        assert_eq!((read(&folder, NAME), content(&folder).len()), (b"one".to_vec(), 2));
    }
    folder.remove("rejects/0.run-a.ndjson").unwrap();
    restore_rejects(&folder, &manifest, rejects_part(&folder, "rejects/0.g2.run-b.ndjson", b"{}\n")).unwrap();
    assert_eq!(read(&folder, "rejects/0.run-a.ndjson"), b"{}\n");
    // Rejects that the manifest does not list are not published.
    restore_rejects(&folder, &manifest, rejects_part(&folder, "rejects/1.ndjson", b"[]\n")).unwrap();
    assert_eq!(content(&folder), [NAME, "rejects/0.run-a.ndjson"]);
}

#[test]
fn an_export_with_other_bytes_repairs_nothing() {
    let (_root, folder) = empty_folder();
    let manifest = listed(&folder);
    folder.remove(NAME).unwrap();
    let other = crate::digest::sha256(b"two");
    let expected = |path: &str, found: &str, listed: &str| {
        Failure::new(
            ErrorCode::PackageDamaged,
            format!(
                "{path}: the new export has the SHA-256 {found}, but the manifest lists {listed}. Either the source changed \
                 without changing its sizes and times, or the export is not reproducible; restore the file from a copy"
            ),
        )
    };
    let failure = restore(&folder, &manifest, DAYS[0], vec![part(&folder, NAME, b"two")]).unwrap_err();
    assert_eq!(failure, expected(NAME, &other, manifest.files[0].sha256.as_deref().unwrap()));
    let failure = restore_rejects(&folder, &manifest, rejects_part(&folder, "rejects/0.ndjson", b"two")).unwrap_err();
    assert_eq!(failure, expected("rejects/0.run-a.ndjson", &other, &manifest.rejects[0].sha256));
    assert_eq!(content(&folder), ["rejects/0.run-a.ndjson"]);
}

#[test]
fn an_export_in_another_number_of_parts_repairs_nothing() {
    let (_root, folder) = empty_folder();
    let manifest = listed(&folder);
    folder.remove(NAME).unwrap();
    let parts = vec![part(&folder, NAME, b"o"), part(&folder, "data/2026-03-01/part-0001.csv", b"ne")];
    let failure = restore(&folder, &manifest, DAYS[0], parts).unwrap_err();
    assert_eq!(failure.code(), ErrorCode::PackageDamaged);
    assert_eq!(
        failure.to_string(),
        "partition 2026-03-01: the new export has 2 files, but the manifest lists 1. The export is not reproducible; \
         restore the files from a copy"
    );
    assert_eq!(content(&folder), ["rejects/0.run-a.ndjson"]);
}
