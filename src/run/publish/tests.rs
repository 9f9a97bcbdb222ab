//! Which manifest counts after a run publishes its own, is late, or finds damage.

use super::*;
use crate::error::Exit;
use crate::package::layout::SHA256SUMS;
use crate::package::manifest::{self, FileEntry, FileStatus, RunRecord, tests::manifest};
use crate::run::attestor::{self, Attestor, LinkOutcome};
use crate::run::example::{self, Example, content, now, shard};
use crate::run::install::published_manifest;
use crate::run::open_package::OpenPackage;
use crate::stop::Signal;

const NAME: &str = "data/2026-03-01/part-0000.csv";

/// A run of the example's job that has exported its first day and not its second.
struct Rig {
    example: Example,
    package: OpenPackage,
    manifest: Manifest,
}

fn record(run: &str) -> RunRecord {
    let outcome = manifest::RunOutcome::Partial;
    RunRecord { run_id: run.to_owned(), started_at: now(), finished_at: Some(now()), outcome }
}

fn failed(folder: &crate::store::Folder) -> FileEntry {
    let entry = shard(folder, "data/2026-03-02/part-0000.csv", b"");
    folder.remove(&entry.path).unwrap();
    FileEntry { status: FileStatus::Failed, rows: 0, sha256: None, ..entry }
}

impl Rig {
    fn new() -> Self {
        Self::of(Example::new(""))
    }

    fn of(example: Example) -> Self {
        let package = example.open("run-a");
        let mut manifest = Manifest { id: example.job.id.clone(), status: JobStatus::Partial, ..manifest() };
        manifest.files = vec![shard(&package.folder, NAME, b"one"), failed(&package.folder)];
        manifest.runs.clear();
        Self { example, package, manifest }
    }

    /// The manifest as a run makes it.
    fn of_run(&self, run: &str, manifest: &Manifest) -> Manifest {
        let earlier = self.package.previous_manifest().map_or_else(Vec::new, |previous| previous.runs.clone());
        let runs = earlier.into_iter().chain([record(run)]).collect();
        Manifest { runs, signer: self.package.attestor.signer_record(), ..manifest.clone() }
    }

    fn publish(&self, run: &str, manifest: &Manifest) -> Result<Option<RunOutcome>, RunError> {
        publish(&self.example.job, &self.package, &example::options(run), self.of_run(run, manifest))
    }

    fn published(&self, run: &str) -> RunOutcome {
        self.publish(run, &self.manifest).unwrap().unwrap()
    }

    fn last(&self) -> Entry {
        log::read(&self.package.folder).unwrap().unwrap()
    }

    fn there(&self) -> Option<Vec<u8>> {
        self.package.folder.read(MANIFEST).unwrap()
    }

    /// Lets another run decide on a manifest in the meantime.
    fn decided_by_another(&self, manifest: &Manifest) -> Vec<u8> {
        let bytes = manifest.to_json_bytes().unwrap();
        self.package.folder.replace_bytes(&kept_manifest(&sha256(&bytes)), &bytes).unwrap();
        let entry = self.package.entry.manifest("run-b", now(), sha256(&bytes), manifest.status);
        assert_eq!(log::append(&self.package.folder, &entry).unwrap(), Created::Created);
        bytes
    }
}

#[test]
fn a_published_manifest_is_the_one_that_the_log_names_and_that_is_installed() {
    let rig = Rig::new();
    shard(&rig.package.folder, "data/2026-03-02/part-0000.dead-run.csv", b"garbage");
    let outcome = rig.published("run-a");
    assert!(!outcome.unchanged);
    assert_eq!(outcome.manifest.runs, [record("run-a")]);
    let bytes = outcome.manifest.to_json_bytes().unwrap();
    assert_eq!(rig.there().unwrap(), bytes);
    let last = rig.last();
    let published = last.manifest.clone().unwrap();
    assert_eq!((published.sha256, published.status, published.generation), (sha256(&bytes), JobStatus::Partial, 1));
    assert_eq!((last.number, last.run.as_str(), last.is_open()), (2, "run-a", false));
    assert_eq!(published_manifest(&rig.package.folder, &last).unwrap().unwrap().bytes, bytes);
    assert_eq!(content(&rig.package.folder), [SHA256SUMS, NAME, MANIFEST, layout::REPORT]);
}

#[test]
fn a_manifest_that_names_a_damaged_file_is_not_published() {
    let rig = Rig::new();
    let at = &rig.example.job.output;
    for (bytes, what) in [(None, "is missing"), (Some(&b"longer"[..]), "has 6 bytes instead of 3")] {
        match bytes {
            None => rig.package.folder.remove(NAME).unwrap(),
            Some(bytes) => rig.package.folder.replace_bytes(NAME, bytes).unwrap(),
        }
        let error = rig.publish("run-a", &rig.manifest).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{at} is damaged: {NAME} {what}; run with `--repair` to export the damaged files again")
        );
        assert_eq!((rig.last(), rig.there()), (rig.package.entry.clone(), None));
    }
}

#[test]
fn a_run_that_improved_nothing_ends_its_generation_and_keeps_the_manifest() {
    let mut rig = Rig::new();
    let first = rig.published("run-a").manifest.to_json_bytes().unwrap();
    rig.package = rig.example.open("run-b");
    assert_eq!(rig.package.generation(), 2);
    let mut later = rig.manifest.clone();
    later.started_at = "2026-05-01T00:00:00Z".parse().unwrap();
    later.finalized_at = later.started_at;
    later.expires_at = Some(later.started_at);
    later.files[1].attempts = 7;
    later.files[1].path = "data/2026-03-02/part-0000.g2.csv".to_owned();
    let outcome = rig.publish("run-b", &later).unwrap().unwrap();
    assert!(outcome.unchanged);
    assert_eq!(outcome.manifest.to_json_bytes().unwrap(), first);
    assert_eq!(rig.there().unwrap(), first);
    let last = rig.last();
    assert_eq!((last.number, last.is_open(), last.manifest.unwrap().generation), (4, false, 2));
}

#[test]
fn a_run_that_improved_something_adds_itself_to_the_runs() {
    let mut rig = Rig::new();
    let first = rig.published("run-a");
    rig.package = rig.example.open("run-b");
    let second = shard(&rig.package.folder, "data/2026-03-02/part-0000.g2.csv", b"two");
    let mut better = rig.manifest.clone();
    better.files[1] = second;
    better.status = JobStatus::Complete;
    let outcome = rig.publish("run-b", &better).unwrap().unwrap();
    assert!(!outcome.unchanged && outcome.manifest.to_json_bytes().unwrap() != first.manifest.to_json_bytes().unwrap());
    assert_eq!(outcome.manifest.runs, [record("run-a"), record("run-b")]);
    assert!(rig.last().is_complete());
}

#[test]
fn only_times_and_attempts_may_differ_between_equivalent_manifests() {
    let rig = Rig::new();
    let previous = &rig.manifest;
    assert!(is_equivalent(previous, previous));
    let changes: [fn(&mut Manifest); 6] = [
        |m| m.total_rows += 1,
        |m| m.status = JobStatus::Complete,
        |m| m.accounting.rejected += 1,
        |m| m.files[1].error = Some("another reason".to_owned()),
        // The path of an existing shard matters.
        |m| m.files[0].path = "data/2026-03-01/part-0000.g2.csv".to_owned(),
        |m| m.files[0].sha256 = Some("1".repeat(64)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut new = previous.clone();
        change(&mut new);
        assert!(!is_equivalent(previous, &new), "change {index}");
    }
}

#[test]
fn a_run_that_another_one_overtook_returns_that_run_s_manifest_if_it_is_as_good() {
    let rig = Rig::new();
    let theirs = rig.decided_by_another(&Manifest { name: "theirs".to_owned(), ..rig.manifest.clone() });
    shard(&rig.package.folder, "data/2026-03-01/part-0000.run-a.csv", b"ours, in vain");
    let outcome = rig.published("run-a");
    assert!(outcome.unchanged);
    assert_eq!((outcome.manifest.to_json_bytes().unwrap(), rig.there().unwrap()), (theirs.clone(), theirs));
    assert_eq!(content(&rig.package.folder), [SHA256SUMS, NAME, MANIFEST, layout::REPORT]);
    assert_eq!(rig.last().number, 2);
}

#[test]
fn a_run_whose_manifest_another_one_published_has_changed_the_package() {
    let rig = Rig::new();
    let mut ours = rig.manifest.clone();
    ours.runs = vec![record("run-a")];
    rig.decided_by_another(&ours);
    let outcome = rig.published("run-a");
    assert!(!outcome.unchanged);
    assert_eq!(outcome.manifest, ours);
}

#[test]
fn a_run_that_another_one_overtook_with_less_starts_over() {
    let rig = Rig::new();
    let mut worse = rig.manifest.clone();
    worse.files[0] = FileEntry { status: FileStatus::Failed, sha256: None, ..worse.files[0].clone() };
    let theirs = rig.decided_by_another(&worse);
    assert!(rig.publish("run-a", &rig.manifest).unwrap().is_none());
    assert_eq!(rig.there().unwrap(), theirs, "the decided manifest is installed");
    // A complete manifest is as good as any other, however many files it has.
    assert!(is_as_good(&Manifest { status: JobStatus::Complete, ..worse.clone() }, &rig.manifest));
    assert!(!is_as_good(&worse, &rig.manifest) && is_as_good(&rig.manifest, &worse));
}

#[test]
fn a_run_whose_package_was_opened_again_pruned_or_replaced_starts_over() {
    let ended = |rig: &Rig| rig.package.entry.manifest("run-b", now(), "0".repeat(64), JobStatus::Partial);
    let plan = |rig: &Rig, job: &str| {
        Entry::plan(Some(&rig.package.entry), job, "run-b", now(), layout::PLAN.to_owned(), "0".repeat(64))
    };
    let next: [&dyn Fn(&Rig) -> Entry; 3] =
        [&|rig| plan(rig, &rig.example.job.id), &|rig| plan(rig, "job_zzzzzzzzzzzzzzzzzzzzzzzzzz"), &|rig| Entry {
            number: 2,
            ..ended(rig).pruned("run-b", now())
        }];
    for (index, next) in next.iter().enumerate() {
        let rig = Rig::new();
        let entry = next(&rig);
        assert_eq!(log::append(&rig.package.folder, &entry).unwrap(), Created::Created);
        assert!(rig.publish("run-a", &rig.manifest).unwrap().is_none(), "{index}");
        assert_eq!((rig.last(), rig.there()), (entry, None), "{index}");
    }
}

#[test]
fn other_bytes_in_place_of_the_kept_manifest_are_an_error_with_its_name() {
    let rig = Rig::new();
    let mut ours = rig.manifest.clone();
    ours.runs = vec![record("run-a")];
    let kept = kept_manifest(&sha256(&ours.to_json_bytes().unwrap()));
    rig.package.folder.replace_bytes(&kept, b"something else").unwrap();
    let Err(RunError::Failed(failure)) = rig.publish("run-a", &rig.manifest) else { panic!("it was published") };
    assert_eq!(failure.code(), ErrorCode::PackageDamaged);
    assert_eq!(failure.to_string(), format!("{kept} already exists with different bytes; remove it and run again"));
    assert_eq!((rig.last(), rig.there()), (rig.package.entry.clone(), None));
}

#[test]
fn a_signed_manifest_names_its_signer_and_has_its_signature_beside_it() {
    let rig = Rig::of(Example::new(example::SIGN));
    let outcome = rig.published("run-a");
    assert_eq!(outcome.manifest.signer, rig.package.attestor.signer_record());
    assert_eq!(outcome.manifest.signer.unwrap().identity, "test@example.com");
    let signature = rig.package.folder.read(layout::SIGNATURE).unwrap().unwrap();
    crate::signature::check(&signature, &rig.there().unwrap()).unwrap();
}

#[test]
fn a_stopped_run_publishes_nothing() {
    let rig = Rig::new();
    let options = example::options("run-a");
    options.stop.set(Signal::Interrupt);
    let stopped = publish(&rig.example.job, &rig.package, &options, rig.of_run("run-a", &rig.manifest));
    assert!(matches!(stopped, Err(RunError::Stopped(Exit::Interrupted))));
    assert_eq!((rig.last(), rig.there()), (rig.package.entry.clone(), None));
}

#[test]
fn a_repair_ends_when_every_listed_file_has_its_bytes_again() {
    let mut rig = Rig::new();
    let repaired = |rig: &Rig| repaired(&rig.example.job, &rig.package, &example::options("run-b"));
    let Err(RunError::Failed(failure)) = repaired(&rig) else { panic!("there is no manifest") };
    assert_eq!(failure.code(), ErrorCode::PackageDamaged);
    assert_eq!(failure.to_string(), format!("manifest.json in {} is gone", rig.package.folder.location()));
    let bytes = rig.published("run-a").manifest.to_json_bytes().unwrap();
    rig.package = rig.example.open("run-b");
    rig.package.folder.replace_bytes(NAME, b"ONE").unwrap();
    let error = repaired(&rig).unwrap_err();
    let at = &rig.example.job.output;
    assert_eq!(
        error.to_string(),
        format!(
            "{at} is damaged: {NAME} does not have the bytes that were exported; run with `--repair` to export the damaged \
             files again"
        )
    );
    rig.package.folder.replace_bytes(NAME, b"one").unwrap();
    rig.package.folder.remove(SHA256SUMS).unwrap();
    let outcome = repaired(&rig).unwrap();
    assert!(outcome.unchanged && outcome.manifest.to_json_bytes().unwrap() == bytes);
    assert!(rig.package.folder.read(SHA256SUMS).unwrap().is_some());
}

#[test]
fn a_linked_manifest_is_published_late_only_while_no_run_may_have_removed_its_files() {
    for (name, is_published) in
        [("data/2026-03-02/part-0000.g2.csv", true), ("data/2026-03-02/part-0000.run-b.csv", false)]
    {
        let chain = tempfile::tempdir().unwrap();
        let rig = Rig::of(Example::new(&format!("chain: {{uri: {}}}\n", chain.path().display())));
        // A manifest ends the first generation, and the second is opened.
        rig.published("run-a");
        let package = rig.example.open("run-b");
        assert_eq!(package.generation(), 2);
        // A run links a manifest and dies before it reaches the log.
        let options = example::options("run-b");
        let mut attestor = Attestor::load(&rig.example.job, &options).unwrap();
        attestor.open_chain(&rig.example.job).unwrap();
        let mut linked = rig.of_run("run-b", &rig.manifest);
        linked.files[1] = shard(&package.folder, name, b"two");
        linked.spec.resolved = rig.example.job.canonical.clone().into();
        assert_eq!(attestor.attest(&package.folder, &rig.last(), &mut linked).unwrap(), LinkOutcome::Won);
        let bytes = linked.to_json_bytes().unwrap();
        attestor::publish_linked(&rig.example.job, &example::options("run-c"), &package.folder, None).unwrap();
        let published = rig.last().manifest.unwrap().sha256;
        assert_eq!(published == sha256(&bytes), is_published, "{name}");
        // The next manifest gets another link, even if it is equal to the published one.
        let before = rig.manifest.to_json_bytes().unwrap();
        assert!(!attestor.is_last_linked(&rig.manifest, &before).unwrap());
    }
}
