//! The package as a run finds it, and what may be done about it.

use super::damage;
use super::install::{self, Decided};
use super::notary;
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
pub enum Found {
    /// Nothing of ours.
    Nothing,
    /// The finished job: nothing to do.
    Complete(Box<Manifest>),
    /// A job that started and has not ended.
    Pinned(Box<Pinned>),
    /// A job that started and has not ended, with a plan that is not followed any more. It is planned anew.
    Outdated(String),
    /// A job that ended without being complete. It is planned anew: what failed may have been mended.
    Ended(Box<Manifest>),
    /// The finished job, of which files are to be exported again under their names.
    Repairable(Box<Pinned>),
    /// Another job, which is to be removed.
    Replaceable,
}

/// What was found, and the state of the log that it was found in.
pub struct Look {
    /// What.
    pub found: Found,
    /// The last decision; none in an empty folder.
    pub entry: Option<Entry>,
}

impl Look {
    fn at(found: Found, entry: Option<Entry>) -> Self {
        Self { found, entry }
    }
}

/// Looks, and changes nothing but what a crash left undone: what the log has decided is installed.
///
/// # Errors
/// [`RunError::Occupied`], [`RunError::Damaged`], or the store's.
pub fn look(job: &Job, options: &RunOptions, signer: Option<&Signer>) -> Result<Look, RunError> {
    let Some(folder) = Folder::existing(&job.output)? else { return Ok(Look::at(Found::Nothing, None)) };
    notary::publish_linked(job, options, &folder, signer)?;
    install::settle(&folder, options.repair)?;
    clean_pruned(&folder, job, options)?;
    let look = examine(&folder, job, options, signer)?;
    if let (Found::Complete(manifest), Some(entry)) = (&look.found, &look.entry) {
        install::complete_derived(&folder)?;
        if entry.pruned_at.is_none() {
            install::clean(&folder, entry, manifest)?;
        }
    }
    Ok(look)
}

/// Removes what a run that slept has left in a package that was pruned meanwhile, once the tombstone is there.
fn clean_pruned(folder: &Folder, job: &Job, options: &RunOptions) -> Result<(), RunError> {
    let Some(entry) = log::read(folder)?.filter(|entry| entry.pruned_at.is_some() && entry.job == job.id) else {
        return Ok(());
    };
    let Some(Decided { bytes, manifest }) = install::decided(folder, &entry)? else { return Ok(()) };
    let buried = crate::package::tombstone::read(folder, &manifest, &sha256(&bytes), (options.clock)())?;
    if buried.is_some_and(|buried| buried.believed().is_some()) {
        install::clean_pruned(folder)?;
    }
    Ok(())
}

/// As [`look`], and touches nothing at all.
///
/// # Errors
/// As [`look`].
pub fn peek(job: &Job, options: &RunOptions) -> Result<Found, RunError> {
    let Some(folder) = Folder::existing(&job.output)? else { return Ok(Found::Nothing) };
    Ok(examine(&folder, job, options, None)?.found)
}

fn examine(folder: &Folder, job: &Job, options: &RunOptions, signer: Option<&Signer>) -> Result<Look, RunError> {
    let Some(entry) = log::read(folder)? else { return without_log(folder, job, options) };
    // Whoever decided may have died before it was on the disk, and what follows rests on it.
    folder.make_durable(&entry.name())?;
    let decided = install::decided(folder, &entry)?;
    if entry.job != job.id {
        return foreign(job, options, entry, decided.as_ref());
    }
    check_manifest(folder, job, options, &entry, decided.as_ref())?;
    if let Some(at) = entry.pruned_at {
        return match decided {
            Some(Decided { manifest, .. }) if manifest.status == JobStatus::Complete => {
                Ok(Look::at(Found::Complete(Box::new(manifest)), Some(entry)))
            }
            _ => Err(RunError::Occupied {
                folder: job.output.clone(),
                holds: format!("a package whose shards were deleted on {at} because its retention was over"),
                way_out: "choose another `output.uri`, or move the folder away".to_owned(),
            }),
        };
    }
    if entry.is_open() {
        return Ok(Look::at(opened(folder, job, &entry, signer)?, Some(entry)));
    }
    let Some(Decided { manifest, .. }) = decided else {
        return Ok(Look::at(Found::Outdated("it has no plan".to_owned()), Some(entry)));
    };
    if manifest.status != JobStatus::Complete {
        return Ok(Look::at(Found::Ended(Box::new(manifest)), Some(entry)));
    }
    complete(folder, job, options, entry, manifest)
}

/// The job is complete, if its files are as they were.
fn complete(
    folder: &Folder,
    job: &Job,
    options: &RunOptions,
    entry: Entry,
    manifest: Manifest,
) -> Result<Look, RunError> {
    let damage = damage::of_manifest(folder, &manifest, options.repair, options.threads, &options.stop)?;
    if damage.is_empty() {
        return Ok(Look::at(Found::Complete(Box::new(manifest)), Some(entry)));
    }
    // What was deleted when its retention was over is not damage.
    let digest = entry.manifest.as_ref().map_or("", |published| published.sha256.as_str());
    let buried = crate::package::tombstone::read(folder, &manifest, digest, (options.clock)())?;
    if buried.is_some_and(|buried| buried.believed().is_some()) {
        return Ok(Look::at(Found::Complete(Box::new(manifest)), Some(entry)));
    }
    let for_good =
        |why: &'static str| RunError::DamagedForGood { folder: job.output.clone(), damage: damage.clone(), why };
    // A complete manifest is final, and the same bytes cannot be made again where encryption is random.
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
        Ok(Some(pinned)) => Ok(Look::at(Found::Repairable(Box::new(pinned)), Some(entry))),
        Ok(None) => Err(for_good("the plan that it was made by is gone")),
        Err(error) => Err(error),
    }
}

/// The pinned plan that the log names; `None` where there is none.
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

/// Whether a plan has just the partitions that the job has.
fn is_of_job(job: &Job, plan: &Plan) -> bool {
    plan::partition::partitions(&job.window, job.partition.by).is_ok_and(|partitions| partitions == plan.partitions)
}

/// A generation is open: its plan is followed, if it is proven to be ours.
fn opened(folder: &Folder, job: &Job, entry: &Entry, signer: Option<&Signer>) -> Result<Found, RunError> {
    let Some(pinned) = pinned(folder, job, entry)? else {
        return Ok(Found::Outdated("its plan is gone".to_owned()));
    };
    Ok(if pinned.tool_version != TOOL_VERSION {
        Found::Outdated(format!("version {} of the program planned it", pinned.tool_version))
    } else if !is_of_job(job, &pinned.plan) {
        Found::Outdated("its plan has other partitions than the job".to_owned())
    } else if !is_proven(&entry.name(), entry, signer) {
        Found::Outdated("its plan is not signed by the key that signs now".to_owned())
    } else {
        Found::Pinned(Box::new(pinned))
    })
}

/// `manifest.json` has to be a version that was published.
fn check_manifest(
    folder: &Folder,
    job: &Job,
    options: &RunOptions,
    entry: &Entry,
    decided: Option<&Decided>,
) -> Result<(), RunError> {
    let Some(there) = folder.read(MANIFEST)? else { return Ok(()) };
    let is_known =
        decided.is_some_and(|decided| decided.bytes == there) || log::was_published(folder, entry, &sha256(&there))?;
    if is_known || options.repair {
        return Ok(());
    }
    let damage = vec![format!("{MANIFEST} was changed after it was published")];
    Err(RunError::Damaged { folder: job.output.clone(), damage })
}

/// A folder in which nothing was decided: empty, begun, of somebody else, or a package that an earlier release made.
fn without_log(folder: &Folder, job: &Job, options: &RunOptions) -> Result<Look, RunError> {
    if let Some(bytes) = folder.read(MANIFEST)? {
        let manifest = Manifest::from_json(&bytes).map_err(|error| RunError::Occupied {
            folder: folder.location().clone(),
            holds: format!("a {MANIFEST} that cannot be read: {}", crate::failure::chain(&error)),
            way_out: "choose another `output.uri`, or move the folder away".to_owned(),
        })?;
        let entry =
            Entry::of_earlier_release(&manifest.id, Some((&sha256(&bytes), manifest.status)), manifest.finalized_at);
        if manifest.id != job.id {
            return foreign(job, options, entry, Some(&Decided { bytes, manifest }));
        }
        return match manifest.status {
            JobStatus::Complete => complete(folder, job, options, entry, manifest),
            _ => Ok(Look::at(Found::Ended(Box::new(manifest)), Some(entry))),
        };
    }
    if let Some(bytes) = folder.read(PLAN)? {
        /// Whose a plan is, whatever else a release wrote into it.
        #[derive(serde::Deserialize)]
        struct Owner {
            job: String,
        }
        return match serde_json::from_slice::<Owner>(&bytes) {
            Ok(owner) if owner.job != job.id => {
                foreign(job, options, Entry::of_earlier_release(&owner.job, None, options.now), None)
            }
            // Pinned, and not yet in the log: whoever comes by decides it.
            _ => Ok(Look::at(Found::Pinned(Box::new(Pinned::from_json(PLAN, &bytes)?)), None)),
        };
    }
    // Another run may have pinned its plan after it was looked for, and written shards before they were.
    let is_vacant = folder.list(DATA)?.is_empty() && folder.list(REJECTS)?.is_empty();
    if is_vacant {
        return Ok(Look::at(Found::Nothing, None));
    }
    if folder.size(PLAN)?.is_some() {
        return examine(folder, job, options, None);
    }
    Err(RunError::Occupied {
        folder: job.output.clone(),
        holds: "files below data/ or rejects/ that belong to no job".to_owned(),
        way_out: "choose another `output.uri`, or move them away".to_owned(),
    })
}

/// Another job has the place.
fn foreign(job: &Job, options: &RunOptions, entry: Entry, decided: Option<&Decided>) -> Result<Look, RunError> {
    let is_final = entry.is_complete() || entry.pruned_at.is_some();
    let owner = &entry.job;
    if options.replace.as_deref() == Some(owner) && !is_final {
        return Ok(Look::at(Found::Replaceable, Some(entry)));
    }
    let name = decided.map_or(String::new(), |Decided { manifest, .. }| {
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

/// Why a run cannot go on where another one has taken the package over.
pub fn taken_over(folder: &Folder) -> Failure {
    Failure {
        code: ErrorCode::PackageOccupied,
        message: format!(
            "other runs keep taking over {} while this one works; nothing was changed, run again",
            folder.location()
        ),
    }
}
