//! Which records of earlier runs count, and why the others do not.

use super::*;
use crate::error::ErrorCode;
use crate::package::layout::PLAN;
use crate::package::manifest::{FileEntry, JobStatus, RejectsEntry, tests::manifest};
use crate::package::state::log::{Entry, ManifestRef};
use crate::package::state::{STATE_VERSION, TaskCounts, bytes, sign};
use crate::run::example::{self, DAYS, Example, SIGN, now, shard};
use crate::run::install::PublishedManifest;

const NAME: &str = "data/2026-03-01/part-0000.csv";
const REJECTS: &str = "rejects/0.ndjson";

/// A package that a run has just opened, and in which an earlier run has left records.
struct Rig {
    /// Keeps the folder.
    _example: Example,
    package: OpenPackage,
}

/// The partitions and tasks whose records count; `None` where a new generation is needed.
type Counting = Option<(Vec<u32>, Vec<usize>)>;

impl Rig {
    fn new() -> Self {
        Self::of(Example::new(""))
    }

    fn of(example: Example) -> Self {
        let package = example.open("run-b");
        Self { _example: example, package }
    }

    /// In a package whose second generation is open.
    fn in_second_generation() -> Self {
        let mut rig = Self::new();
        let last = &rig.package.entry;
        rig.package.entry = Entry::plan(Some(last), &last.job, "run-b", now(), PLAN.to_owned(), "0".repeat(64));
        assert_eq!(rig.package.generation(), 2);
        rig
    }

    fn partition(&self) -> PartitionRecord {
        PartitionRecord {
            state_version: STATE_VERSION,
            job: self.package.pinned.job.clone(),
            run: "run-a".to_owned(),
            tool_version: TOOL_VERSION.to_owned(),
            inputs: self.package.pinned.inputs[0].clone(),
            filtered_out: 0,
            filter_counts: Vec::new(),
            redacted: Vec::new(),
            files: vec![self.file(NAME)],
            signature: None,
        }
    }

    fn task(&self) -> TaskRecord {
        let FileEntry { path, bytes, sha256, .. } = self.file(REJECTS);
        TaskRecord {
            state_version: STATE_VERSION,
            job: self.package.pinned.job.clone(),
            run: "run-a".to_owned(),
            tool_version: TOOL_VERSION.to_owned(),
            counts: TaskCounts::default(),
            unplaced: Vec::new(),
            rejects: Some(RejectsEntry {
                path,
                rows: 1,
                bytes,
                sha256: sha256.unwrap(),
                plain_bytes: None,
                plain_sha256: None,
                sealed: None,
            }),
            signature: None,
        }
    }

    fn file(&self, name: &str) -> FileEntry {
        shard(&self.package.folder, name, b"one")
    }

    /// Leaves the record of the first day.
    fn leave(&self, record: &PartitionRecord, generation: u32) {
        let name = partition_record(DAYS[0], generation);
        self.package.folder.replace_bytes(&name, &bytes(&name, record).unwrap()).unwrap();
    }

    /// Leaves the record of the first task.
    fn leave_task(&self, record: &TaskRecord, generation: u32) {
        let name = self.task_name(generation);
        self.package.folder.replace_bytes(&name, &bytes(&name, record).unwrap()).unwrap();
    }

    fn task_name(&self, generation: u32) -> String {
        let pinned = &self.package.pinned;
        task_record(&task_key(&pinned.plan.tasks[0], &pinned.plan), generation)
    }

    fn adopt(&self, repair: bool) -> Result<Counting, RunError> {
        let options = RunOptions { repair, ..example::options("run-b") };
        Ok(match adopt(&self.package, &options)? {
            Adopted::NewGeneration => None,
            Adopted::Records { partitions, tasks } => {
                Some((partitions.into_keys().collect(), tasks.into_keys().collect()))
            }
        })
    }

    #[track_caller]
    fn counts(&self, partitions: &[u32], tasks: &[usize]) {
        assert_eq!(self.adopt(false).unwrap(), Some((partitions.to_vec(), tasks.to_vec())));
    }
}

#[test]
fn whole_records_of_this_job_count() {
    let rig = Rig::new();
    rig.counts(&[], &[]);
    rig.leave(&rig.partition(), 1);
    rig.counts(&[0], &[]);
    rig.leave_task(&rig.task(), 1);
    rig.counts(&[0], &[0]);
}

#[test]
fn records_of_another_job_or_of_another_release_s_encoder_do_not_count() {
    let rig = Rig::new();
    rig.leave(&PartitionRecord { job: "job_b".to_owned(), ..rig.partition() }, 1);
    rig.leave_task(&TaskRecord { job: "job_b".to_owned(), ..rig.task() }, 1);
    rig.counts(&[], &[]);
    rig.leave(&PartitionRecord { tool_version: "0.0.1".to_owned(), ..rig.partition() }, 1);
    rig.counts(&[], &[]);
    // The name of the record is taken, so the new counts need a new generation.
    rig.leave_task(&TaskRecord { tool_version: "0.0.1".to_owned(), ..rig.task() }, 1);
    assert_eq!(rig.adopt(false).unwrap(), None);
    let rig = Rig::in_second_generation();
    rig.leave_task(&TaskRecord { tool_version: "0.0.1".to_owned(), ..rig.task() }, 1);
    rig.counts(&[], &[]);
}

#[test]
fn a_complete_partition_whose_source_has_changed_is_refused_and_a_partial_one_is_exported_again() {
    let rig = Rig::new();
    let mut record = PartitionRecord { inputs: "others".to_owned(), ..rig.partition() };
    rig.leave(&record, 1);
    let Err(RunError::Failed(failure)) = rig.adopt(false) else { panic!("it counts") };
    assert_eq!(failure.code(), ErrorCode::SourceChanged);
    assert_eq!(
        failure.to_string(),
        "partition 2026-03-01 was exported completely, but the source files that its rows come from have changed since; \
         export into another `output.uri`, or restore the files; a complete package can be restated with `--restate`"
    );
    record.files[0].status = FileStatus::Partial;
    rig.leave(&record, 1);
    rig.counts(&[], &[]);
}

#[test]
fn damage_is_refused_with_every_file_and_repaired_in_a_new_generation() {
    let rig = Rig::new();
    rig.leave(&rig.partition(), 1);
    rig.leave_task(&rig.task(), 1);
    rig.package.folder.remove(NAME).unwrap();
    rig.package.folder.replace_bytes(REJECTS, b"ONE").unwrap();
    let error = rig.adopt(false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is damaged: {NAME} is missing; {REJECTS} does not have the bytes that were exported; run with `--repair` to \
             export the damaged files again",
            rig.package.folder.location()
        )
    );
    assert_eq!(rig.adopt(true).unwrap(), None);
    rig.package.folder.replace_bytes(NAME, b"more than one").unwrap();
    let error = rig.adopt(false).unwrap_err().to_string();
    assert!(error.contains(&format!("{NAME} has 13 bytes instead of 3; {REJECTS} does not")), "{error}");
}

#[test]
fn a_repair_of_a_complete_package_stays_in_its_generation() {
    let mut rig = Rig::new();
    rig.package.is_repair = true;
    rig.leave(&rig.partition(), 1);
    rig.leave_task(&rig.task(), 1);
    rig.package.folder.remove(NAME).unwrap();
    assert_eq!(rig.adopt(true).unwrap(), Some((vec![], vec![0])));
}

#[test]
fn damage_of_an_earlier_generation_leaves_its_other_records() {
    let rig = Rig::in_second_generation();
    rig.leave(&rig.partition(), 1);
    rig.leave_task(&rig.task(), 1);
    rig.package.folder.replace_bytes(NAME, b"ONE").unwrap();
    assert!(matches!(rig.adopt(false), Err(RunError::Damaged { .. })));
    assert_eq!(rig.adopt(true).unwrap(), Some((vec![], vec![0])));
}

#[test]
fn the_newest_record_of_the_job_s_own_generations_counts() {
    let mut rig = Rig::in_second_generation();
    let run = |run: &str| PartitionRecord { run: run.to_owned(), ..rig.partition() };
    rig.leave(&run("first"), 1);
    rig.leave(&run("second"), 2);
    rig.leave(&run("third"), 3);
    let adopted = |rig: &Rig| match adopt(&rig.package, &example::options("run-b")).unwrap() {
        Adopted::Records { partitions, .. } => partitions.into_values().map(|record| record.run).collect(),
        Adopted::NewGeneration => vec!["a new generation".to_owned()],
    };
    assert_eq!(adopted(&rig), ["second"]);
    rig.package.folder.remove(&partition_record(DAYS[0], 2)).unwrap();
    assert_eq!(adopted(&rig), ["first"]);
    rig.package.entry.first_generation = 2;
    assert_eq!(adopted(&rig), Vec::<String>::new());
}

#[test]
fn records_of_an_ended_generation_count_if_its_manifest_names_their_files() {
    let mut rig = Rig::in_second_generation();
    rig.leave(&rig.partition(), 1);
    rig.leave_task(&rig.task(), 1);
    let reference = ManifestRef { generation: 1, sha256: "0".repeat(64), status: JobStatus::Partial };
    rig.package.entry.manifest = Some(reference);
    let mut manifest = manifest();
    manifest.files = vec![FileEntry { sha256: Some("1".repeat(64)), ..rig.file(NAME) }];
    let names = |rig: &mut Rig, manifest: &crate::package::manifest::Manifest| {
        rig.package.previous = Some(PublishedManifest { bytes: Vec::new(), manifest: manifest.clone() });
    };
    names(&mut rig, &manifest);
    rig.counts(&[], &[]);
    manifest.files = vec![rig.file(NAME)];
    names(&mut rig, &manifest);
    rig.counts(&[0], &[]);
    manifest.rejects = rig.task().rejects.into_iter().collect();
    names(&mut rig, &manifest);
    rig.counts(&[0], &[0]);
}

#[test]
fn where_the_job_signs_only_records_by_its_key_count() {
    let rig = Rig::of(Example::new(SIGN));
    rig.leave(&rig.partition(), 1);
    assert_eq!(rig.adopt(false).unwrap(), None, "the name of an unsigned record is taken");
    let signer = rig.package.attestor.signer();
    let mut signed = rig.partition();
    sign(&partition_record(DAYS[0], 1), &mut signed, signer).unwrap();
    rig.leave(&signed, 1);
    rig.counts(&[0], &[]);
    rig.leave_task(&rig.task(), 1);
    assert_eq!(rig.adopt(false).unwrap(), None);
    let mut signed = rig.task();
    sign(&rig.task_name(1), &mut signed, signer).unwrap();
    rig.leave_task(&signed, 1);
    rig.counts(&[0], &[0]);
    rig.leave_task(&TaskRecord { counts: TaskCounts { source_rows: 1, ..signed.counts }, ..signed }, 1);
    assert_eq!(rig.adopt(false).unwrap(), None);
}

#[test]
fn an_unreadable_record_is_an_error_and_not_a_missing_one() {
    let rig = Rig::new();
    rig.package.folder.replace_bytes(&partition_record(DAYS[0], 1), b"{").unwrap();
    let Err(RunError::Failed(failure)) = rig.adopt(false) else { panic!("it is ignored") };
    assert_eq!(failure.code(), ErrorCode::PackageDamaged);
    let expected =
        "_state/partitions/2026-03-01.json cannot be read; restore it, or remove the output folder to start over: ";
    assert!(failure.to_string().starts_with(expected), "{}", failure.to_string());
}

#[test]
fn a_partition_that_another_run_committed_meanwhile_counts_if_it_is_whole_and_the_same() {
    let rig = Rig::new();
    let found = || of_another_run(&rig.package, "run-b", 0).unwrap().map(|record| record.run);
    assert_eq!(found(), None);
    rig.leave(&rig.partition(), 1);
    assert_eq!(found().as_deref(), Some("run-a"));
    for record in [
        // Its write failed, so that it may not be durable.
        PartitionRecord { run: "run-b".to_owned(), ..rig.partition() },
        PartitionRecord { job: "job_b".to_owned(), ..rig.partition() },
        PartitionRecord { inputs: "others".to_owned(), ..rig.partition() },
    ] {
        rig.leave(&record, 1);
        assert_eq!(found(), None);
    }
    rig.leave(&rig.partition(), 1);
    for bytes in [Some(&b"ONE"[..]), None] {
        match bytes {
            Some(bytes) => rig.package.folder.replace_bytes(NAME, bytes).unwrap(),
            None => rig.package.folder.remove(NAME).unwrap(),
        }
        assert_eq!(found(), None);
    }
    let rig = Rig::of(Example::new(SIGN));
    rig.leave(&rig.partition(), 1);
    assert!(of_another_run(&rig.package, "run-b", 0).unwrap().is_none());
}
