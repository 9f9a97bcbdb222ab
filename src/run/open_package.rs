//! A package open for writing: its plan is pinned, and the commits of earlier runs are adopted.

use std::collections::BTreeMap;

use super::adopt::{self, Adopted};
use super::attestor::Attestor;
use super::commit::manifest_partition;
use super::install::{self, PublishedManifest};
use super::output_state::{OutputSnapshot, OutputState};
use super::{RunError, RunOptions, Survey};
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::{PLAN, later_plan};
use crate::package::manifest::{FileStatus, Manifest};
use crate::package::state::log::{self, Entry};
use crate::package::state::{PartitionRecord, Pinned, TaskRecord, bytes, sign};
use crate::plan::Plan;
use crate::store::{Created, Folder};

/// A package that this run may write to.
pub(super) struct OpenPackage {
    /// The package's folder.
    pub folder: Folder,
    /// Signs and links its manifest.
    pub attestor: Attestor,
    /// The log entry that opened the generation in which this run commits.
    pub entry: Entry,
    /// The plan that this run follows.
    pub pinned: Pinned,
    /// The current manifest: this run's replaces it, or, under repair, it stays.
    pub previous: Option<PublishedManifest>,
    /// Whether damaged files of a complete package are exported again under their names, and nothing else changes.
    pub is_repair: bool,
    /// Records of committed partitions, by index.
    pub committed: BTreeMap<u32, PartitionRecord>,
    /// Records of finished tasks, by index.
    pub tasks: BTreeMap<usize, TaskRecord>,
    /// Number of runs that tried a partition, by label, from `previous`.
    attempts: BTreeMap<String, u32>,
}

impl OpenPackage {
    /// Pins the plan and adopts earlier commits. `None` if another run changed the log in the meantime.
    ///
    /// # Errors
    /// [`RunError::Damaged`]; [`RunError::Failed`] where complete shards were made from a source that has changed.
    pub(super) fn pin(
        job: &Job,
        folder: Folder,
        snapshot: &OutputSnapshot,
        planned: &Pinned,
        options: &RunOptions,
        attestor: Attestor,
    ) -> Result<Option<Self>, RunError> {
        let is_repair = matches!(snapshot.state, OutputState::Repairable(..));
        let (entry, mut is_decided, pinned) = match (&snapshot.state, &snapshot.entry) {
            (OutputState::Repairable(pinned), Some(entry)) => (entry.clone(), true, pinned.as_ref().clone()),
            (OutputState::Pinned(pinned), Some(entry)) if entry.is_open() => {
                (entry.clone(), true, pinned.as_ref().clone())
            }
            _ => match propose_plan(job, &folder, snapshot, planned, options)? {
                Some((entry, pinned)) => (entry, false, pinned),
                None => return Ok(None),
            },
        };
        let previous = install::published_manifest(&folder, &entry)?;
        let mut attempts = BTreeMap::new();
        for file in previous.iter().flat_map(|published| &published.manifest.files) {
            let most: &mut u32 = attempts.entry(file.partition.label.clone()).or_default();
            *most = file.attempts.max(*most);
        }
        let (committed, tasks) = (BTreeMap::new(), BTreeMap::new());
        let mut package = Self { folder, attestor, entry, pinned, previous, is_repair, committed, tasks, attempts };
        // Before the log decides: a plan that cannot be followed must not be pinned.
        loop {
            match adopt::adopt(&package, options)? {
                Adopted::Records { partitions, tasks } => {
                    (package.committed, package.tasks) = (partitions, tasks);
                    break;
                }
                // Records are never replaced, so partitions that cannot be adopted are exported in a new generation.
                Adopted::NewGeneration => {
                    let Some(plan) = package.entry.plan.clone() else { return Ok(None) };
                    package.entry = new_plan(job, Some(&package.entry), options, plan.path, plan.sha256);
                    is_decided = false;
                }
            }
        }
        if !is_decided {
            let entry = package.entry.clone();
            match append_signed(&package.folder, entry, &package.attestor)? {
                Some(entry) => package.entry = entry,
                None => return Ok(None),
            }
        }
        if package.entry.replaced.is_some() && !is_repair {
            install::install_manifest(&package.folder, false)?;
            install::remove_replaced(&package.folder, &package.entry)?;
        }
        Ok(Some(package))
    }

    /// The generation in which this run commits.
    pub(super) fn generation(&self) -> u32 {
        self.entry.generation()
    }

    /// The current manifest, which this run may replace.
    pub(super) fn previous_manifest(&self) -> Option<&Manifest> {
        self.previous.as_ref().map(|published| &published.manifest)
    }

    /// Number of earlier runs that tried a partition.
    pub(super) fn earlier_attempts(&self, label: &str) -> u32 {
        self.attempts.get(label).copied().unwrap_or(0)
    }
}

/// The log entry that opens a generation, and its plan: the new plan, unless it equals the last one.
fn propose_plan(
    job: &Job,
    folder: &Folder,
    snapshot: &OutputSnapshot,
    planned: &Pinned,
    options: &RunOptions,
) -> Result<Option<(Entry, Pinned)>, RunError> {
    let last = snapshot.entry.as_ref();
    let (path, text, pinned) = match (&snapshot.state, last) {
        // Another run wrote the plan but did not reach the log.
        (OutputState::Pinned(pinned), _) => {
            let Some(text) = folder.read(PLAN)? else { return Ok(None) };
            (PLAN.to_owned(), text, pinned.as_ref().clone())
        }
        (_, None) => {
            let text = bytes(PLAN, planned)?;
            if folder.create_bytes(PLAN, &text)? == Created::Exists {
                return Ok(None);
            }
            (PLAN.to_owned(), text, planned.clone())
        }
        (_, Some(last)) => {
            let named = last.plan.as_ref().filter(|_| last.job == job.id);
            let text = named.map(|plan| folder.read(&plan.path)).transpose()?.flatten();
            let same = named.and_then(|plan| {
                let text = text.filter(|text| sha256(text) == plan.sha256)?;
                let old = Pinned::from_json(&plan.path, &text).ok()?;
                let is_same = Pinned { created_at: planned.created_at, ..old.clone() } == *planned;
                is_same.then(|| (plan.path.clone(), text, old))
            });
            match same {
                Some(same) => same,
                None => {
                    let text = bytes(PLAN, planned)?;
                    let path = later_plan(&sha256(&text));
                    #[expect(
                        clippy::let_underscore_must_use,
                        reason = "a file under the name of its digest is the same whoever wrote it"
                    )]
                    let _ = folder.create_bytes(&path, &text)?;
                    (path, text, planned.clone())
                }
            }
        }
    };
    Ok(Some((new_plan(job, last, options, path, sha256(&text)), pinned)))
}

fn new_plan(job: &Job, last: Option<&Entry>, options: &RunOptions, path: String, sha256: String) -> Entry {
    Entry::plan(last, &job.id, &options.run_id, (options.clock)(), path, sha256)
}

/// Signs an entry and adds it to the log; `None` where another run was first.
///
/// # Errors
/// `key_unusable`, or errors of the store.
pub(super) fn append_signed(folder: &Folder, mut entry: Entry, attestor: &Attestor) -> Result<Option<Entry>, RunError> {
    sign(&entry.name(), &mut entry, attestor.signer())?;
    Ok(match log::append(folder, &entry)? {
        Created::Created => Some(entry),
        Created::Exists => None,
    })
}

/// For each partition, the failure that the survey already knows of: an input that could not be inspected.
pub(super) fn known_failures(plan: &Plan, surveyed: &Survey) -> Vec<Option<Failure>> {
    let mut failures: Vec<Option<Failure>> = vec![None; plan.partitions.len()];
    for (input, partitions) in plan.broken() {
        let Some(problem) = &surveyed.facts[input as usize].problem else { continue };
        let failure = Failure::from(problem.clone());
        for partition in partitions {
            failures[partition as usize].get_or_insert_with(|| failure.clone());
        }
    }
    failures
}

/// The manifest entry of a partition without a shard.
pub(super) fn without_shard(
    pinned: &Pinned,
    index: u32,
    path: String,
    status: FileStatus,
    failure: Option<&Failure>,
    attempts: u32,
    at: jiff::Timestamp,
) -> crate::package::manifest::FileEntry {
    crate::package::manifest::FileEntry {
        path,
        status,
        partition: manifest_partition(&pinned.plan.partitions[index as usize]),
        rows: 0,
        bytes: 0,
        sha256: None,
        plain_bytes: None,
        plain_sha256: None,
        rows_digest: None,
        sealed: None,
        min_time: None,
        max_time: None,
        attempts,
        started_at: None,
        finalized_at: (status == FileStatus::Failed).then_some(at),
        error_code: failure.map(Failure::code),
        error: failure.map(ToString::to_string),
    }
}

/// The failure for a complete partition whose source files have changed since.
pub(super) fn changed(label: &str) -> Failure {
    let message = format!(
        "partition {label} was exported completely, but the source files that its rows come from have changed since; \
         export into another `output.uri`, or restore the files; a complete package can be restated with `--restate`"
    );
    Failure::new(ErrorCode::SourceChanged, message).in_partition(label)
}
