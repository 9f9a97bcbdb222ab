//! The package as a run finds it: what is committed, what may be done about it.

use std::collections::BTreeMap;

use super::commit::manifest_partition;
use super::failure::Failure;
use super::notary::{self, Notary};
use super::record::{PLAN, PartitionRecord, Pinned, Records, StateError, bytes, file_sha256, partition_record};
use super::{RunError, RunOptions, Survey};
use crate::error::ErrorCode;
use crate::job::Job;
use crate::manifest::{FileStatus, JobStatus, MANIFEST, Manifest, SHA256SUMS, SIGNATURE, TOMBSTONE, Tombstone};
use crate::plan::Plan;
use crate::report::REPORT;
use crate::seal::sha256;
use crate::store::{Created, Folder, StoreError, Swap};

/// What the output folder holds before the run.
pub enum Found {
    /// Nothing of ours.
    Nothing,
    /// The finished job: nothing to do.
    Complete(Box<Manifest>),
    /// A job that started and has no manifest yet, or whose complete package is to be repaired.
    Pinned(Box<Pinned>),
    /// A job that ended without being complete. It is planned anew: what failed may have been mended.
    Ended(Box<Manifest>),
    /// Another job, which is to be removed.
    Replaceable,
}

/// Looks, and touches nothing but what a crash left undone behind a complete manifest.
///
/// # Errors
/// [`RunError::Occupied`], [`RunError::Damaged`], or the store's.
pub fn look(job: &Job, options: &RunOptions) -> Result<Found, RunError> {
    let Some(folder) = Folder::existing(&job.output)? else { return Ok(Found::Nothing) };
    notary::settle(job, &folder)?;
    let found = examine(&folder, job, options)?;
    if let Found::Complete(manifest) = &found {
        super::publish::complete_derived(&folder, manifest)?;
        super::publish::sweep(&folder, manifest);
    }
    Ok(found)
}

/// As [`look`], and touches nothing at all.
///
/// # Errors
/// As [`look`].
pub fn peek(job: &Job, options: &RunOptions) -> Result<Found, RunError> {
    Folder::existing(&job.output)?.map_or(Ok(Found::Nothing), |folder| examine(&folder, job, options))
}

fn examine(folder: &Folder, job: &Job, options: &RunOptions) -> Result<Found, RunError> {
    let pinned = match Pinned::load(folder) {
        Ok(pinned) => pinned,
        Err(StateError::Unreadable { .. }) if options.replace.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let manifest = read_manifest(folder)?;
    let owner = manifest.as_ref().map(|m| m.id.clone()).or_else(|| pinned.as_ref().map(|p| p.job.clone()));
    match owner {
        Some(owner) if owner != job.id => return foreign(job, options, &owner, manifest.as_ref()),
        Some(_) => {}
        None if is_vacant(folder)? => return Ok(Found::Nothing),
        // Another run may have pinned its plan after it was looked for, and written shards before they were.
        None if Pinned::load(folder).is_ok_and(|pinned| pinned.is_some()) => return examine(folder, job, options),
        None => return Err(occupied_by_files(job)),
    }
    match (manifest, pinned) {
        (Some(manifest), pinned) if manifest.status == JobStatus::Complete => {
            let damage = damage(folder, &manifest, options.repair)?;
            if damage.is_empty() {
                return Ok(Found::Complete(Box::new(manifest)));
            }
            // What was deleted when its retention was over is not damage.
            let tombstone = folder.read(TOMBSTONE)?.and_then(|bytes| Tombstone::of(&manifest, &bytes));
            if tombstone.is_some() {
                return Ok(Found::Complete(Box::new(manifest)));
            }
            match pinned {
                // A complete manifest is final, and the same bytes cannot be made again where encryption is random.
                _ if manifest.encryption.is_some() => {
                    Err(RunError::DamagedForGood { folder: job.output.clone(), damage })
                }
                Some(pinned) if options.repair => Ok(Found::Pinned(Box::new(pinned))),
                _ => Err(RunError::Damaged { folder: job.output.clone(), damage }),
            }
        }
        (Some(manifest), _) => Ok(Found::Ended(Box::new(manifest))),
        (None, Some(pinned)) => Ok(Found::Pinned(Box::new(pinned))),
        (None, None) => Ok(Found::Nothing),
    }
}

fn read_manifest(folder: &Folder) -> Result<Option<Manifest>, RunError> {
    let Some(bytes) = folder.read(MANIFEST)? else { return Ok(None) };
    Manifest::from_json(&bytes).map(Some).map_err(|error| RunError::Occupied {
        folder: folder.location().clone(),
        holds: format!("a {MANIFEST} that cannot be read: {}", super::chain(&error)),
        way_out: "choose another `output.uri`, or move the folder away".to_owned(),
    })
}

/// Another job has the place.
fn foreign(job: &Job, options: &RunOptions, owner: &str, manifest: Option<&Manifest>) -> Result<Found, RunError> {
    let complete = manifest.is_some_and(|m| m.status == JobStatus::Complete);
    let asked = options.replace.as_deref() == Some(owner);
    if asked && !complete {
        return Ok(Found::Replaceable);
    }
    let name = manifest.map_or(String::new(), |m| format!(" ({}, window {})", m.name, m.window_label));
    Err(RunError::Occupied {
        folder: job.output.clone(),
        holds: format!(
            "{} package of another job, {owner}{name}",
            if complete { "the complete" } else { "an unfinished" }
        ),
        way_out: if complete {
            "a complete package is final: choose another `output.uri`, for example with `{{ window.label }}`".to_owned()
        } else {
            format!("choose another `output.uri`, or remove that job with `--replace {owner}`")
        },
    })
}

/// Files of a package without a plan or a manifest are not ours to write over.
fn is_vacant(folder: &Folder) -> Result<bool, RunError> {
    Ok(folder.list("data/")?.is_empty() && folder.list("rejects/")?.is_empty())
}

fn occupied_by_files(job: &Job) -> RunError {
    RunError::Occupied {
        folder: job.output.clone(),
        holds: "files below data/ or rejects/ that belong to no job".to_owned(),
        way_out: "choose another `output.uri`, or move them away".to_owned(),
    }
}

/// Listed files that are missing or have another size; with `digests`, also those that have other bytes.
fn damage(folder: &Folder, manifest: &Manifest, digests: bool) -> Result<Vec<String>, RunError> {
    let shards = manifest.files.iter().filter(|f| f.status.has_file());
    let shards = shards.map(|f| (f.path.as_str(), f.bytes, f.sha256.as_deref()));
    let rejects = manifest.rejects.iter().map(|r| (r.path.as_str(), r.bytes, Some(r.sha256.as_str())));
    let mut damage = Vec::new();
    let sizes = Sizes::of(folder)?;
    for (path, bytes, sha256) in shards.chain(rejects) {
        damage.extend(damage_of(&sizes, path, bytes, sha256.filter(|_| digests))?);
    }
    Ok(damage)
}

/// Sizes of many files. A folder is asked for each, and says so where one is no file; a store lists them all at once.
struct Sizes<'a> {
    folder: &'a Folder,
    listed: Option<BTreeMap<String, u64>>,
}

impl<'a> Sizes<'a> {
    fn of(folder: &'a Folder) -> Result<Self, StoreError> {
        if folder.location().local().is_some() {
            return Ok(Self { folder, listed: None });
        }
        let mut listed = folder.list("data/")?;
        listed.extend(folder.list("rejects/")?);
        Ok(Self { folder, listed: Some(listed.into_iter().map(|found| (found.name, found.bytes)).collect()) })
    }

    fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        match &self.listed {
            Some(listed) => Ok(listed.get(name).copied()),
            None => self.folder.size(name),
        }
    }
}

/// What is wrong with one committed file. Its bytes are only read where a digest is given.
fn damage_of(sizes: &Sizes, path: &str, bytes: u64, sha256: Option<&str>) -> Result<Option<String>, RunError> {
    Ok(match sizes.size(path)? {
        None => Some(format!("{path} is missing")),
        Some(size) if size != bytes => Some(format!("{path} has {size} bytes instead of {bytes}")),
        Some(_) => match sha256 {
            Some(sha256) if file_sha256(sizes.folder, path)?.as_deref() != Some(sha256) => {
                Some(format!("{path} has other bytes than were exported"))
            }
            _ => None,
        },
    })
}

/// Removes another job's package, the records last, so that a crash in between leaves something that is recognised.
///
/// # Errors
/// The store's.
pub fn clear(folder: &Folder) -> Result<(), RunError> {
    for name in [REPORT, SHA256SUMS, SIGNATURE, MANIFEST] {
        folder.remove(name)?;
    }
    for prefix in ["data/", "rejects/", "_state/"] {
        for listed in folder.list(prefix)?.into_iter().filter(|l| l.name != PLAN) {
            folder.remove(&listed.name)?;
        }
    }
    folder.remove(PLAN)?;
    Ok(())
}

/// A package that this run may fill.
pub struct Package {
    /// Where.
    pub folder: Folder,
    /// Signs and links its manifest.
    pub notary: Notary,
    /// The pinned plan's text.
    plan_text: Vec<u8>,
    /// The plan that counts.
    pub pinned: Pinned,
    /// The manifest that this run's may take the place of.
    pub previous: Option<Manifest>,
    /// Records of partitions that are done, by index.
    pub committed: BTreeMap<u32, PartitionRecord>,
    /// By label, the runs that tried a partition, as `previous` tells.
    attempts: BTreeMap<String, u32>,
}

impl Package {
    /// Pins the plan, unless somebody was first, and reads what is committed.
    ///
    /// # Errors
    /// [`RunError::Damaged`]; [`RunError::Failed`] where complete shards were made from a source that has changed.
    pub fn pin(
        folder: Folder,
        found: &Found,
        planned: &Pinned,
        options: &RunOptions,
        notary: Notary,
    ) -> Result<Self, RunError> {
        let text = bytes(PLAN, planned)?;
        let pinned = match found {
            Found::Ended(_) => {
                repin(&folder, &text)?;
                planned.clone()
            }
            _ => match folder.create_bytes(PLAN, &text)? {
                Created::Created => planned.clone(),
                Created::Exists => Pinned::load(&folder)?.unwrap_or_else(|| planned.clone()),
            },
        };
        let previous = match found {
            Found::Ended(manifest) => Some(manifest.as_ref().clone()),
            // A package under repair keeps its manifest, byte for byte.
            _ => read_manifest(&folder)?,
        };
        let plan_text = folder.read(PLAN)?.unwrap_or_default();
        let mut attempts = BTreeMap::new();
        for file in previous.iter().flat_map(|m| &m.files) {
            let most: &mut u32 = attempts.entry(file.partition.label.clone()).or_default();
            *most = file.attempts.max(*most);
        }
        let mut package = Self { folder, notary, plan_text, pinned, previous, committed: BTreeMap::new(), attempts };
        package.committed = package.find_committed(options)?;
        Ok(package)
    }

    /// Refuses to go on where the job was planned anew, or replaced by another one, while this run slept.
    ///
    /// # Errors
    /// [`RunError::Failed`]; nothing was changed.
    pub fn check_plan(&self) -> Result<(), RunError> {
        if self.folder.read(PLAN)?.as_deref() == Some(self.plan_text.as_slice()) {
            return Ok(());
        }
        Err(RunError::Failed(Failure {
            code: ErrorCode::PackageOccupied,
            message: format!("{PLAN} was replaced by another run meanwhile; nothing was changed, run again"),
        }))
    }

    /// Reads the records of all partitions and keeps those that stand.
    fn find_committed(&self, options: &RunOptions) -> Result<BTreeMap<u32, PartitionRecord>, RunError> {
        let Self { folder, pinned, .. } = self;
        let mut committed = BTreeMap::new();
        let mut damage = Vec::new();
        let there = Records::listed(folder)?;
        let mut records = Vec::new();
        for (index, partition) in (0u32..).zip(&pinned.plan.partitions) {
            let name = partition_record(&partition.label);
            records.extend(there.load::<PartitionRecord>(&name)?.map(|record| (index, partition, name, record)));
        }
        // After the records, because a shard is there before its record.
        let sizes = Sizes::of(folder)?;
        for (index, partition, name, record) in records {
            let partial = record.files.iter().any(|f| f.status != FileStatus::Complete);
            let same = record.job == pinned.job && record.inputs == pinned.inputs[index as usize];
            if !same && partial {
                // What was left out may be there now.
                self.check_plan()?;
                folder.remove(&name)?;
                continue;
            }
            if !same {
                return Err(changed(&partition.label).into());
            }
            let mut broken = Vec::new();
            for file in &record.files {
                let sha256 = file.sha256.as_deref().filter(|_| options.repair);
                broken.extend(damage_of(&sizes, &file.path, file.bytes, sha256)?);
            }
            if broken.is_empty() {
                committed.insert(index, record);
            } else if options.repair {
                folder.remove(&name)?;
            } else {
                damage.extend(broken);
            }
        }
        if damage.is_empty() {
            Ok(committed)
        } else {
            Err(RunError::Damaged { folder: folder.location().clone(), damage })
        }
    }

    /// Runs that tried a partition before this one.
    pub fn earlier_attempts(&self, label: &str) -> u32 {
        self.attempts.get(label).copied().unwrap_or(0)
    }
}

/// A job that ended is planned anew; its earlier plan is kept beside.
fn repin(folder: &Folder, text: &[u8]) -> Result<(), RunError> {
    loop {
        folder.settle(PLAN)?;
        let Some(old) = folder.read(PLAN)? else {
            match folder.create_bytes(PLAN, text)? {
                Created::Created => return Ok(()),
                Created::Exists => continue,
            }
        };
        if same_plan(&old, text) {
            return Ok(());
        }
        let digest = sha256(&old);
        let kept = format!("_state/plans/{}.json", &digest[..16]);
        if folder.replace_bytes_if(PLAN, Some(&digest), text, Some(&kept))? == Swap::Replaced {
            return Ok(());
        }
    }
}

/// Whether two pinned plans differ only in when they were made.
fn same_plan(old: &[u8], new: &[u8]) -> bool {
    let parse = |text: &[u8]| serde_json::from_slice::<Pinned>(text).ok();
    match (parse(old), parse(new)) {
        (Some(old), Some(new)) => Pinned { created_at: new.created_at, ..old } == new,
        _ => false,
    }
}

fn changed(label: &str) -> Failure {
    Failure {
        code: ErrorCode::SourceChanged,
        message: format!(
            "partition {label} was exported completely, but the source files that its rows come from have changed since; \
             export into another `output.uri`, or bring the files back; a package that is complete can be restated with \
             `--restate`"
        ),
    }
}

/// For each partition, why it cannot be complete, as far as the survey tells: files that broke while they were inspected.
pub fn known_failures(plan: &Plan, surveyed: &Survey) -> Vec<Option<Failure>> {
    let mut failures: Vec<Option<Failure>> = vec![None; plan.partitions.len()];
    for (file, partitions) in plan.broken() {
        let Some(problem) = &surveyed.facts[file as usize].problem else { continue };
        let failure = Failure { code: problem.code, message: problem.to_string() };
        for partition in partitions {
            failures[partition as usize].get_or_insert_with(|| failure.clone());
        }
    }
    failures
}

/// The entry of a partition that has no shard.
pub fn without_shard(
    pinned: &Pinned,
    index: u32,
    path: String,
    status: FileStatus,
    failure: Option<&Failure>,
    attempts: u32,
    at: jiff::Timestamp,
) -> crate::manifest::FileEntry {
    crate::manifest::FileEntry {
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
        error_code: failure.map(|f| f.code),
        error: failure.map(|f| f.message.clone()),
    }
}
