//! The state of the output folder before a run, which decides what the run may do there.

use super::attestor;
use super::damage;
use super::install::{self, PublishedManifest};
use super::{RunError, RunOptions};
use crate::digest::sha256;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::{DATA, MANIFEST, PLAN, REJECTS};
use crate::package::manifest::{JobStatus, Manifest};
use crate::package::state::log::{self, Entry};
use crate::package::state::{Pinned, StateError, TOOL_VERSION, is_proven};
use crate::plan::{self, Plan};
use crate::signature::Signer;
use crate::store::Folder;

/// What the output folder holds before the run.
pub(crate) enum OutputState {
    /// No package.
    Empty,
    /// The complete package of this job: nothing to do.
    Complete(Box<Manifest>),
    /// This job, unfinished, with a plan that the run can follow.
    Pinned(Box<Pinned>),
    /// This job, unfinished, with a plan that the run cannot follow, and why not. The job is planned again.
    Outdated(String),
    /// This job, finished but not complete. It is planned again, because the cause of a failure may have been fixed.
    Incomplete(Box<Manifest>),
    /// The complete package of this job with damaged files, which are exported again under their names.
    Repairable(Box<Pinned>),
    /// An unfinished job that `--replace` allows to remove.
    Replaceable,
}

/// The state of the output folder, and the log entry that it was derived from.
pub(super) struct OutputSnapshot {
    /// What the folder holds.
    pub state: OutputState,
    /// The last log entry; `None` in an empty folder.
    pub entry: Option<Entry>,
}

impl OutputSnapshot {
    fn at(state: OutputState, entry: Option<Entry>) -> Self {
        Self { state, entry }
    }
}

/// Inspects the output folder after completing what a crash left undone: installs the manifest that the log names.
///
/// # Errors
/// [`RunError::Occupied`], [`RunError::Damaged`], or errors of the store.
pub(super) fn recover(job: &Job, options: &RunOptions, signer: Option<&Signer>) -> Result<OutputSnapshot, RunError> {
    let Some(folder) = Folder::existing(&job.output)? else { return Ok(OutputSnapshot::at(OutputState::Empty, None)) };
    attestor::publish_linked(job, options, &folder, signer)?;
    install::install_manifest(&folder, options.repair)?;
    remove_pruned(&folder, job, options)?;
    let snapshot = inspect(&folder, job, options, signer)?;
    if let (OutputState::Complete(manifest), Some(entry)) = (&snapshot.state, &snapshot.entry) {
        install::update_derived(&folder)?;
        if entry.pruned_at.is_none() {
            install::remove_unlisted(&folder, entry, manifest)?;
        }
    }
    Ok(snapshot)
}

/// Removes shards that a suspended run wrote after the package was pruned, once the tombstone is there.
fn remove_pruned(folder: &Folder, job: &Job, options: &RunOptions) -> Result<(), RunError> {
    let Some(entry) = log::read(folder)?.filter(|entry| entry.pruned_at.is_some() && entry.job == job.id) else {
        return Ok(());
    };
    let Some(PublishedManifest { bytes, manifest }) = install::published_manifest(folder, &entry)? else {
        return Ok(());
    };
    let buried = crate::package::tombstone::read(folder, &manifest, &sha256(&bytes), (options.clock)())?;
    if buried.is_some_and(|buried| buried.believed().is_some()) {
        install::remove_pruned(folder)?;
    }
    Ok(())
}

/// Inspects the output folder without writing anything.
///
/// # Errors
/// As [`recover`].
pub(crate) fn read_output_state(job: &Job, options: &RunOptions) -> Result<OutputState, RunError> {
    let Some(folder) = Folder::existing(&job.output)? else { return Ok(OutputState::Empty) };
    Ok(inspect(&folder, job, options, None)?.state)
}

fn inspect(
    folder: &Folder,
    job: &Job,
    options: &RunOptions,
    signer: Option<&Signer>,
) -> Result<OutputSnapshot, RunError> {
    let Some(entry) = log::read(folder)? else { return without_log(folder, job, options) };
    // The run that appended the entry may have died before it was durable, and everything below depends on it.
    folder.make_durable(&entry.name())?;
    let published = install::published_manifest(folder, &entry)?;
    if entry.job != job.id {
        return foreign(job, options, entry, published.as_ref());
    }
    check_manifest(folder, job, options, &entry, published.as_ref())?;
    if let Some(at) = entry.pruned_at {
        return match published {
            Some(PublishedManifest { manifest, .. }) if manifest.status == JobStatus::Complete => {
                Ok(OutputSnapshot::at(OutputState::Complete(Box::new(manifest)), Some(entry)))
            }
            _ => Err(RunError::Occupied {
                folder: job.output.clone(),
                holds: format!("a package whose shards were deleted on {at} because its retention was over"),
                way_out: "choose another `output.uri`, or move the folder away".to_owned(),
            }),
        };
    }
    if entry.is_open() {
        return Ok(OutputSnapshot::at(opened(folder, job, &entry, signer)?, Some(entry)));
    }
    let Some(PublishedManifest { manifest, .. }) = published else {
        return Ok(OutputSnapshot::at(OutputState::Outdated("it has no plan".to_owned()), Some(entry)));
    };
    if manifest.status != JobStatus::Complete {
        return Ok(OutputSnapshot::at(OutputState::Incomplete(Box::new(manifest)), Some(entry)));
    }
    complete(folder, job, options, entry, manifest)
}

/// The state of a complete package, by whether its files are intact.
fn complete(
    folder: &Folder,
    job: &Job,
    options: &RunOptions,
    entry: Entry,
    manifest: Manifest,
) -> Result<OutputSnapshot, RunError> {
    let damage = damage::of_manifest(folder, &manifest, options.repair, options.threads, &options.stop)?;
    if damage.is_empty() {
        return Ok(OutputSnapshot::at(OutputState::Complete(Box::new(manifest)), Some(entry)));
    }
    // Shards that were deleted after their retention period are not damage.
    let digest = entry.manifest.as_ref().map_or("", |published| published.sha256.as_str());
    let buried = crate::package::tombstone::read(folder, &manifest, digest, (options.clock)())?;
    if buried.is_some_and(|buried| buried.believed().is_some()) {
        return Ok(OutputSnapshot::at(OutputState::Complete(Box::new(manifest)), Some(entry)));
    }
    let for_good =
        |why: &'static str| RunError::DamagedForGood { folder: job.output.clone(), damage: damage.clone(), why };
    // A complete manifest is final, and encryption is random, so the listed bytes cannot be reproduced.
    if manifest.encryption.is_some() {
        return Err(for_good("its files are encrypted, so that no export has the same bytes"));
    }
    if !options.repair {
        return Err(RunError::Damaged { folder: job.output.clone(), damage });
    }
    if !folder.has_exclusive_names() {
        return Err(for_good("an object store cannot repair a file under its name"));
    }
    match pinned(folder, job, &entry) {
        Ok(Some(pinned)) => Ok(OutputSnapshot::at(OutputState::Repairable(Box::new(pinned)), Some(entry))),
        Ok(None) => Err(for_good("the plan that it was made by is gone")),
        Err(error) => Err(error),
    }
}

/// The pinned plan that the log names; `None` if it is gone.
fn pinned(folder: &Folder, job: &Job, entry: &Entry) -> Result<Option<Pinned>, RunError> {
    let Some(named) = &entry.plan else { return Ok(None) };
    let Some(bytes) = folder.read(&named.path)? else { return Ok(None) };
    let changed =
        |why: &str| StateError::Unreadable { name: named.path.clone(), source: serde::de::Error::custom(why) };
    if sha256(&bytes) != named.sha256 {
        return Err(changed("it was changed after it was pinned").into());
    }
    let pinned = Pinned::from_json(&named.path, &bytes)?;
    if pinned.job != job.id {
        return Err(changed("it is the plan of another job").into());
    }
    Ok(Some(pinned))
}

/// Whether a plan has exactly the job's partitions.
fn is_of_job(job: &Job, plan: &Plan) -> bool {
    plan::partition::partitions(&job.window, job.partition.by).is_ok_and(|partitions| partitions == plan.partitions)
}

/// The state of a job whose generation is open: its plan is followed if this program version and this key made it.
fn opened(folder: &Folder, job: &Job, entry: &Entry, signer: Option<&Signer>) -> Result<OutputState, RunError> {
    let Some(pinned) = pinned(folder, job, entry)? else {
        return Ok(OutputState::Outdated("its plan is gone".to_owned()));
    };
    Ok(if pinned.tool_version != TOOL_VERSION {
        OutputState::Outdated(format!("version {} of the program planned it", pinned.tool_version))
    } else if !is_of_job(job, &pinned.plan) {
        OutputState::Outdated("its plan has other partitions than the job".to_owned())
    } else if !is_proven(&entry.name(), entry, signer) {
        OutputState::Outdated("its plan is not signed by the key that signs now".to_owned())
    } else {
        OutputState::Pinned(Box::new(pinned))
    })
}

/// Refuses a `manifest.json` that was never published.
fn check_manifest(
    folder: &Folder,
    job: &Job,
    options: &RunOptions,
    entry: &Entry,
    published: Option<&PublishedManifest>,
) -> Result<(), RunError> {
    let Some(there) = folder.read(MANIFEST)? else { return Ok(()) };
    let is_known = published.is_some_and(|published| published.bytes == there)
        || log::was_published(folder, entry, &sha256(&there))?;
    if is_known || options.repair {
        return Ok(());
    }
    let damage = vec![format!("{MANIFEST} was changed after it was published")];
    Err(RunError::Damaged { folder: job.output.clone(), damage })
}

/// The state of a folder without a log: empty, just begun, foreign, or a package of an earlier release.
fn without_log(folder: &Folder, job: &Job, options: &RunOptions) -> Result<OutputSnapshot, RunError> {
    if let Some(bytes) = folder.read(MANIFEST)? {
        let manifest = Manifest::from_json(&bytes).map_err(|error| RunError::Occupied {
            folder: folder.location().clone(),
            holds: format!("a {MANIFEST} that cannot be read: {}", crate::failure::chain(&error)),
            way_out: "choose another `output.uri`, or move the folder away".to_owned(),
        })?;
        let entry =
            Entry::of_earlier_release(&manifest.id, Some((&sha256(&bytes), manifest.status)), manifest.finalized_at);
        if manifest.id != job.id {
            return foreign(job, options, entry, Some(&PublishedManifest { bytes, manifest }));
        }
        return match manifest.status {
            JobStatus::Complete => complete(folder, job, options, entry, manifest),
            _ => Ok(OutputSnapshot::at(OutputState::Incomplete(Box::new(manifest)), Some(entry))),
        };
    }
    if let Some(bytes) = folder.read(PLAN)? {
        /// The one field of a plan that every release writes.
        #[derive(serde::Deserialize)]
        struct Owner {
            job: String,
        }
        return match serde_json::from_slice::<Owner>(&bytes) {
            Ok(owner) if owner.job != job.id => {
                foreign(job, options, Entry::of_earlier_release(&owner.job, None, options.now), None)
            }
            // Pinned, but not yet in the log: any run may append it.
            _ => Ok(OutputSnapshot::at(OutputState::Pinned(Box::new(Pinned::from_json(PLAN, &bytes)?)), None)),
        };
    }
    // Between the two checks above and here, another run may have pinned its plan and written shards.
    let is_vacant = folder.list(DATA)?.is_empty() && folder.list(REJECTS)?.is_empty();
    if is_vacant {
        return Ok(OutputSnapshot::at(OutputState::Empty, None));
    }
    if folder.size(PLAN)?.is_some() {
        return inspect(folder, job, options, None);
    }
    Err(RunError::Occupied {
        folder: job.output.clone(),
        holds: "files below data/ or rejects/ that belong to no job".to_owned(),
        way_out: "choose another `output.uri`, or move them away".to_owned(),
    })
}

/// The state of a folder that belongs to another job.
fn foreign(
    job: &Job,
    options: &RunOptions,
    entry: Entry,
    published: Option<&PublishedManifest>,
) -> Result<OutputSnapshot, RunError> {
    let is_final = entry.is_complete() || entry.pruned_at.is_some();
    let owner = &entry.job;
    if options.replace.as_deref() == Some(owner) && !is_final {
        return Ok(OutputSnapshot::at(OutputState::Replaceable, Some(entry)));
    }
    let name = published.map_or(String::new(), |PublishedManifest { manifest, .. }| {
        format!(" ({}, window {})", manifest.name, manifest.window_label)
    });
    Err(RunError::Occupied {
        folder: job.output.clone(),
        holds: format!(
            "{} package of another job, {owner}{name}",
            if is_final { "the complete" } else { "an unfinished" }
        ),
        way_out: if is_final {
            "a complete package is final: choose another `output.uri`, for example with `{{ window.label }}`".to_owned()
        } else {
            format!("choose another `output.uri`, or remove that job with `--replace {owner}`")
        },
    })
}

/// The failure of a run that gave up because other runs kept changing the package.
pub(super) fn taken_over(folder: &Folder) -> Failure {
    let message = format!(
        "other runs keep taking over {} while this one works; nothing was changed, run again",
        folder.location()
    );
    Failure::new(ErrorCode::PackageOccupied, message)
}
