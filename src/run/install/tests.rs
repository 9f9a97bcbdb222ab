//! From any state that a crash leaves, the decided manifest is installed and only unreferenced files are removed.

use jiff::Timestamp;

use super::*;
use crate::package::layout::{PLAN, kept_manifest};
use crate::package::manifest::{JobStatus, tests::manifest};
use crate::run::example::{self, content, empty_folder, shard, simulated_folder};
use crate::store::Created;
use crate::store::simulated::Odds;

const JOB: &str = "job_abcdefghijklmnopqrstuvwxyz";

/// The example's manifest, with a name of its own so that its bytes differ.
fn named(name: &str) -> Manifest {
    let mut manifest = manifest();
    manifest.files.clear();
    manifest.name = name.to_owned();
    manifest
}

fn append(folder: &Folder, entry: Entry) -> Entry {
    assert_eq!(log::append(folder, &entry).unwrap(), Created::Created);
    entry
}

fn plan(folder: &Folder, last: Option<&Entry>, job: &str) -> Entry {
    append(folder, Entry::plan(last, job, "run", Timestamp::UNIX_EPOCH, PLAN.to_owned(), "0".repeat(64)))
}

/// Decides on a manifest, as a run does that dies right afterwards.
fn decide(folder: &Folder, last: &Entry, manifest: &Manifest) -> Entry {
    let bytes = manifest.to_json_bytes().unwrap();
    folder.replace_bytes(&kept_manifest(&sha256(&bytes)), &bytes).unwrap();
    append(folder, last.manifest("run", Timestamp::UNIX_EPOCH, sha256(&bytes), manifest.status))
}

fn there(folder: &Folder) -> Option<String> {
    let bytes = folder.read(MANIFEST).unwrap()?;
    Some(Manifest::from_json(&bytes).map_or_else(|_| "unreadable".to_owned(), |manifest| manifest.name))
}

fn settled(folder: &Folder, force: bool) -> Option<String> {
    install_manifest(folder, force).unwrap();
    there(folder)
}

#[track_caller]
fn refused(folder: &Folder, entry: &Entry) -> String {
    match published_manifest(folder, entry) {
        Err(RunError::Failed(failure)) if failure.code() == ErrorCode::PackageDamaged => failure.to_string(),
        other => panic!("{:?}", other.map(|decided| decided.map(|decided| decided.manifest.name))),
    }
}

#[test]
fn only_bytes_with_the_digest_in_the_log_are_the_manifest() {
    let (_root, folder) = empty_folder();
    let begun = plan(&folder, None, JOB);
    assert!(published_manifest(&folder, &begun).unwrap().is_none());
    let entry = decide(&folder, &begun, &named("a"));
    let kept = entry.kept_manifest().unwrap();
    folder.replace_bytes(MANIFEST, &named("b").to_json_bytes().unwrap()).unwrap();
    assert_eq!(published_manifest(&folder, &entry).unwrap().unwrap().manifest.name, "a");
    // One of the two copies is enough.
    folder.replace_bytes(MANIFEST, &named("a").to_json_bytes().unwrap()).unwrap();
    folder.replace_bytes(&kept, b"damaged").unwrap();
    assert_eq!(published_manifest(&folder, &entry).unwrap().unwrap().bytes, named("a").to_json_bytes().unwrap());
    folder.remove(&kept).unwrap();
    assert_eq!(published_manifest(&folder, &entry).unwrap().unwrap().manifest, named("a"));
    folder.replace_bytes(MANIFEST, &named("b").to_json_bytes().unwrap()).unwrap();
    let at = folder.location();
    let digest = sha256(&named("a").to_json_bytes().unwrap());
    let lost = format!(
        "manifest.json in {at} and its copy in _state/ are missing or changed; restore the manifest.json with the SHA-256 \
         {digest}"
    );
    assert_eq!(refused(&folder, &entry), lost);
    folder.remove(MANIFEST).unwrap();
    assert_eq!(refused(&folder, &entry), lost);
}

#[test]
fn a_decided_manifest_that_this_release_cannot_read_is_refused_with_the_reason() {
    let (_root, folder) = empty_folder();
    let begun = plan(&folder, None, JOB);
    let bytes = b"{\"manifest_version\": 2}";
    folder.replace_bytes(&kept_manifest(&sha256(bytes)), bytes).unwrap();
    let entry = append(&folder, begun.manifest("run", Timestamp::UNIX_EPOCH, sha256(bytes), JobStatus::Complete));
    let cause = Manifest::from_json(bytes).unwrap_err();
    assert_eq!(
        refused(&folder, &entry),
        format!("manifest.json in {} cannot be read: {}", folder.location(), chain(&cause))
    );
}

#[test]
fn a_decided_manifest_is_installed_over_nothing_and_over_an_earlier_published_one() {
    let (_root, folder) = empty_folder();
    assert_eq!(settled(&folder, false), None);
    let begun = plan(&folder, None, JOB);
    assert_eq!(settled(&folder, false), None);
    let first = decide(&folder, &begun, &named("a"));
    assert_eq!(settled(&folder, false).as_deref(), Some("a"));
    assert_eq!(settled(&folder, false).as_deref(), Some("a"));
    let again = plan(&folder, Some(&first), JOB);
    assert_eq!(settled(&folder, false).as_deref(), Some("a"), "the earlier manifest stays while the job is resumed");
    decide(&folder, &again, &named("b"));
    assert_eq!(settled(&folder, false).as_deref(), Some("b"));
    folder.remove(MANIFEST).unwrap();
    assert_eq!(settled(&folder, false).as_deref(), Some("b"));
}

#[test]
fn a_manifest_that_was_never_published_is_replaced_only_by_force() {
    let (_root, folder) = empty_folder();
    let entry = decide(&folder, &plan(&folder, None, JOB), &named("a"));
    for changed in [named("edited").to_json_bytes().unwrap(), b"cut off".to_vec()] {
        folder.replace_bytes(MANIFEST, &changed).unwrap();
        install_manifest(&folder, false).unwrap();
        assert_eq!(folder.read(MANIFEST).unwrap().unwrap(), changed);
        assert_eq!(settled(&folder, true).as_deref(), Some("a"));
    }
    // Without a decision in the log, `manifest.json` stays even by force.
    let (_root, folder) = empty_folder();
    plan(&folder, None, JOB);
    folder.replace_bytes(MANIFEST, &named("a").to_json_bytes().unwrap()).unwrap();
    assert_eq!(settled(&folder, true).as_deref(), Some("a"));
    assert!(entry.is_complete());
}

#[test]
fn the_manifest_of_a_replaced_job_is_removed_and_that_of_the_new_job_stays() {
    let (_root, folder) = empty_folder();
    let mut old = named("old");
    old.status = JobStatus::Partial;
    let ended = decide(&folder, &plan(&folder, None, JOB), &old);
    assert_eq!(settled(&folder, false).as_deref(), Some("old"));
    let other = "job_zzzzzzzzzzzzzzzzzzzzzzzzzz";
    let begun = plan(&folder, Some(&ended), other);
    assert_eq!(settled(&folder, false), None);
    let new = Manifest { id: other.to_owned(), ..named("new") };
    folder.replace_bytes(MANIFEST, &new.to_json_bytes().unwrap()).unwrap();
    assert_eq!(settled(&folder, false).as_deref(), Some("new"), "its entry may be newer than the one that was read");
    decide(&folder, &begun, &new);
    assert_eq!(settled(&folder, false).as_deref(), Some("new"));
}

#[test]
fn derived_files_follow_the_manifest_and_stay_if_they_match_it() {
    let (_root, folder) = empty_folder();
    update_derived(&folder).unwrap();
    assert!(content(&folder).is_empty());
    folder.replace_bytes(MANIFEST, b"not JSON").unwrap();
    update_derived(&folder).unwrap();
    assert_eq!(content(&folder), [MANIFEST]);
    for name in ["a", "b"] {
        let manifest = Manifest { files: vec![shard(&folder, "data/2026-03-01/part-0000.csv", b"one")], ..named(name) };
        let bytes = manifest.to_json_bytes().unwrap();
        folder.replace_bytes(MANIFEST, &bytes).unwrap();
        update_derived(&folder).unwrap();
        let sums = String::from_utf8(folder.read(SHA256SUMS).unwrap().unwrap()).unwrap();
        assert_eq!(sums, manifest.sha256sums(&sha256(&bytes)));
        assert!(has_report(&folder, &sha256(&bytes)), "{name}");
    }
    // A report by another release is kept if it describes this manifest.
    let mut page = folder.read(REPORT).unwrap().unwrap();
    page.extend(b"<!-- another release -->");
    folder.replace_bytes(REPORT, &page).unwrap();
    update_derived(&folder).unwrap();
    assert_eq!(folder.read(REPORT).unwrap().unwrap(), page);
}

#[test]
fn a_signature_of_an_earlier_manifest_goes_and_one_by_hand_for_this_one_stays() {
    let (_root, folder) = empty_folder();
    let signer = example::signer();
    let bytes = named("a").to_json_bytes().unwrap();
    folder.replace_bytes(MANIFEST, &bytes).unwrap();
    for (signature, stays) in [
        (signer.sign(&named("b").to_json_bytes().unwrap()).unwrap().into_bytes(), false),
        (signer.sign(&bytes).unwrap().into_bytes(), true),
        // It cannot be shown to belong to another manifest.
        (b"-----BEGIN PGP SIGNATURE-----".to_vec(), true),
    ] {
        folder.replace_bytes(SIGNATURE, &signature).unwrap();
        update_derived(&folder).unwrap();
        assert_eq!(folder.read(SIGNATURE).unwrap(), stays.then_some(signature));
    }
}

/// Shards and rejects of the generations 1 to 3.
const FILES: [&str; 5] = [
    "data/2026-03-01/part-0000.csv",
    "data/2026-03-01/part-0000.g2.csv",
    "data/2026-03-01/part-0000.g3.csv",
    "rejects/0.g2.run-a.ndjson",
    "rejects/0.ndjson",
];

fn put_files(folder: &Folder) {
    for name in FILES {
        shard(folder, name, name.as_bytes());
    }
}

#[test]
fn files_that_no_manifest_can_name_any_more_are_removed_and_those_of_later_generations_stay() {
    for has_exclusive_names in [false, true] {
        let (_root, _world, folder) = simulated_folder(has_exclusive_names);
        let mut manifest = named("a");
        manifest.status = JobStatus::Partial;
        let begun = plan(&folder, None, JOB);
        put_files(&folder);
        remove_unlisted(&folder, &begun, &manifest).unwrap();
        assert_eq!(content(&folder), FILES, "nothing is decided");
        manifest.files = vec![shard(&folder, FILES[0], b"one")];
        let first = decide(&folder, &begun, &manifest);
        let second = decide(&folder, &plan(&folder, Some(&first), JOB), &manifest);
        remove_unlisted(&folder, &second, &manifest).unwrap();
        assert_eq!(content(&folder), [FILES[0], FILES[2]]);
        let complete = Manifest { status: JobStatus::Complete, ..manifest };
        let third = decide(&folder, &plan(&folder, Some(&second), JOB), &complete);
        shard(&folder, "data/2026-03-01/part-0000.g9.csv", b"late");
        remove_unlisted(&folder, &third, &complete).unwrap();
        assert_eq!(content(&folder), [FILES[0]], "after a complete manifest there is no later one");
    }
}

#[test]
fn files_of_a_replaced_job_are_removed_and_its_records_stay() {
    let (_root, folder) = empty_folder();
    put_files(&folder);
    let record = "_state/partitions/2026-03-01.json";
    folder.replace_bytes(record, b"{}").unwrap();
    let old = plan(&folder, None, JOB);
    let new = plan(&folder, Some(&old), "job_zzzzzzzzzzzzzzzzzzzzzzzzzz");
    assert_eq!(new.first_generation, 2);
    remove_replaced(&folder, &new).unwrap();
    assert_eq!(content(&folder), [FILES[1], FILES[2], FILES[3]]);
    assert!(folder.read(record).unwrap().is_some());
}

#[test]
fn shards_and_rejects_of_a_pruned_package_are_removed() {
    let (_root, folder) = empty_folder();
    put_files(&folder);
    folder.replace_bytes(MANIFEST, b"{}").unwrap();
    remove_pruned(&folder).unwrap();
    remove_pruned(&folder).unwrap();
    assert_eq!(content(&folder), [MANIFEST]);
}

#[test]
fn the_next_run_finishes_an_installation_that_a_failing_store_interrupted() {
    let mut failures = 0;
    for seed in 0..100 {
        let (_root, world, folder) = simulated_folder(seed % 2 == 0);
        put_files(&folder);
        let manifest = Manifest { files: vec![shard(&folder, FILES[0], b"one")], ..named("a") };
        let entry = decide(&folder, &plan(&folder, None, JOB), &manifest);
        let all = || -> Result<(), RunError> {
            install_manifest(&folder, false)?;
            update_derived(&folder)?;
            Ok(remove_unlisted(&folder, &entry, &manifest)?)
        };
        world.set_seed(seed);
        world.set_odds(Odds { fail: 5, ..Odds::default() });
        failures += u32::from(all().is_err());
        world.calm();
        // No file is removed before the manifest is installed.
        assert!(there(&folder).is_some() || content(&folder).len() == 5, "seed {seed}");
        all().unwrap();
        assert_eq!(content(&folder), [SHA256SUMS, FILES[0], MANIFEST, REPORT]);
    }
    assert!((10..=100).contains(&failures), "{failures} of 100");
}
