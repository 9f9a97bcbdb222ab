//! Adopts the commits of earlier runs, as far as they can be proven.
//!
//! A record counts if it belongs to this job and its files cannot have been removed: either its generation is still open,
//! or the manifest that ended it names them. The shards are hashed again, because a record only states what was once
//! written. If the spec signs, the record must be signed by the same key, so that this run does not sign data that came
//! from anyone without the key.

use std::collections::{BTreeMap, BTreeSet};

use super::damage::{self, Committed, Sizes};
use super::open_package::{OpenPackage, changed};
use super::{RunError, RunOptions};
use crate::package::layout::{PARTITION_RECORDS, TASK_RECORDS, partition_record, task_record};
use crate::package::manifest::FileStatus;
use crate::package::state::log::by_generation;
use crate::package::state::{PartitionRecord, TOOL_VERSION, TaskRecord, is_proven, load};
use crate::run::inputs::task_key;

/// The result of adopting.
pub(super) enum Adopted {
    /// These records count.
    Records {
        /// By partition index.
        partitions: BTreeMap<u32, PartitionRecord>,
        /// By task index.
        tasks: BTreeMap<usize, TaskRecord>,
    },
    /// A record of the open generation cannot be adopted. Its name is taken, so a new generation is needed.
    NewGeneration,
}

/// A record that may be adopted.
struct Candidate<K, T> {
    key: K,
    generation: u32,
    record: T,
}

/// Finds the records that count.
///
/// # Errors
/// [`RunError::Damaged`] if committed files are damaged and `--repair` is not set; [`RunError::Failed`] if the source of
/// complete shards has changed.
pub(super) fn adopt(package: &OpenPackage, options: &RunOptions) -> Result<Adopted, RunError> {
    let manifest = package.previous_manifest();
    let listed: BTreeSet<(&str, Option<&str>)> =
        manifest.iter().flat_map(|m| damage::listed(m)).map(|file| (file.path, file.sha256)).collect();
    let Some(partitions) = partitions(package, &listed)? else { return Ok(Adopted::NewGeneration) };
    let Some(tasks) = tasks(package, &listed)? else { return Ok(Adopted::NewGeneration) };
    let mut files: Vec<(u32, Committed<'_>)> = Vec::new();
    for found in &partitions {
        files.extend(found.record.files.iter().map(|file| (found.generation, Committed::from(file))));
    }
    for found in &tasks {
        files.extend(found.record.rejects.iter().map(|file| (found.generation, Committed::from(file))));
    }
    let (broken, is_own) = broken(package, options, &files)?;
    if !broken.is_empty() && !options.repair {
        return Err(RunError::Damaged {
            folder: package.folder.location().clone(),
            damage: broken.into_values().collect(),
        });
    }
    if is_own && !package.is_repair {
        return Ok(Adopted::NewGeneration);
    }
    let broken: BTreeSet<String> = broken.into_keys().collect();
    let partitions = partitions
        .into_iter()
        .filter(|found| found.record.files.iter().all(|file| !broken.contains(&file.path)))
        .map(|found| (found.key, found.record))
        .collect();
    let tasks = tasks
        .into_iter()
        .filter(|found| found.record.rejects.iter().all(|file| !broken.contains(&file.path)))
        .map(|found| (found.key, found.record))
        .collect();
    Ok(Adopted::Records { partitions, tasks })
}

/// The damage of committed files, by name, and whether a damaged file belongs to the open generation.
fn broken(
    package: &OpenPackage,
    options: &RunOptions,
    files: &[(u32, Committed<'_>)],
) -> Result<(BTreeMap<String, String>, bool), RunError> {
    let sizes = Sizes::of(&package.folder)?;
    let mut broken = BTreeMap::new();
    let mut is_own = false;
    let mut whole = Vec::new();
    for (generation, file) in files {
        match sizes.damage(*file)? {
            Some(wrong) => {
                is_own |= *generation == package.generation();
                broken.insert(file.path.to_owned(), wrong);
            }
            None => whole.push((*generation, *file)),
        }
    }
    let read: Vec<Committed<'_>> = whole.iter().map(|(_, file)| *file).collect();
    let checked = damage::digests(&package.folder, &read, options.threads, &options.stop)?;
    for ((generation, file), wrong) in whole.iter().zip(checked) {
        if let Some(wrong) = wrong {
            is_own |= *generation == package.generation();
            broken.insert(file.path.to_owned(), wrong);
        }
    }
    Ok((broken, is_own))
}

/// Whether the files of a record cannot have been removed.
fn is_kept<'f>(
    package: &OpenPackage,
    generation: u32,
    mut files: impl Iterator<Item = Committed<'f>>,
    listed: &BTreeSet<(&str, Option<&str>)>,
) -> bool {
    let ended = package.entry.manifest.as_ref().map_or(0, |manifest| manifest.generation);
    generation > ended || files.all(|file| listed.contains(&(file.path, file.sha256)))
}

/// The generations whose records may count, newest first.
fn counting<'g>(package: &OpenPackage, found: Option<&'g Vec<u32>>) -> impl Iterator<Item = u32> + use<'g> {
    let counting = package.entry.first_generation..=package.generation();
    found.into_iter().flatten().copied().filter(move |generation| counting.contains(generation))
}

type Candidates<K, T> = Option<Vec<Candidate<K, T>>>;

/// Partition records that may be adopted. `None` if one of the open generation is not proven.
fn partitions(
    package: &OpenPackage,
    listed: &BTreeSet<(&str, Option<&str>)>,
) -> Result<Candidates<u32, PartitionRecord>, RunError> {
    let OpenPackage { folder, pinned, attestor, .. } = package;
    let generations = by_generation(folder, PARTITION_RECORDS)?;
    let mut candidates = Vec::new();
    for (key, partition) in (0u32..).zip(&pinned.plan.partitions) {
        for generation in counting(package, generations.get(&partition.label)) {
            let name = partition_record(&partition.label, generation);
            let Some(record) = load::<PartitionRecord>(folder, &name)? else { continue };
            let files = record.files.iter().map(Committed::from);
            if record.job != pinned.job || !is_kept(package, generation, files, listed) {
                continue;
            }
            if !is_proven(&name, &record, attestor.signer()) {
                if generation == package.generation() {
                    tracing::warn!(
                        "{name} is not signed by this job's key; partition {} is exported again",
                        partition.label
                    );
                    return Ok(None);
                }
                continue;
            }
            if record.inputs != pinned.inputs[key as usize] {
                // Rows missing from a partial partition may be available now.
                if record.files.iter().any(|f| f.status != FileStatus::Complete) {
                    continue;
                }
                return Err(changed(&partition.label).into());
            }
            // Another version may encode the same rows differently.
            if record.tool_version != TOOL_VERSION {
                continue;
            }
            candidates.push(Candidate { key, generation, record });
            break;
        }
    }
    Ok(Some(candidates))
}

/// Task records that may be adopted. `None` if one of the open generation is not proven.
fn tasks(
    package: &OpenPackage,
    listed: &BTreeSet<(&str, Option<&str>)>,
) -> Result<Candidates<usize, TaskRecord>, RunError> {
    let OpenPackage { folder, pinned, attestor, .. } = package;
    let generations = by_generation(folder, TASK_RECORDS)?;
    let mut candidates = Vec::new();
    for (index, task) in pinned.plan.tasks.iter().enumerate() {
        let key = task_key(task, &pinned.plan);
        for generation in counting(package, generations.get(&key)) {
            let name = task_record(&key, generation);
            let Some(record) = load::<TaskRecord>(folder, &name)? else { continue };
            let files = record.rejects.iter().map(Committed::from);
            if record.job != pinned.job || !is_kept(package, generation, files, listed) {
                continue;
            }
            if record.tool_version != TOOL_VERSION || !is_proven(&name, &record, attestor.signer()) {
                if generation == package.generation() {
                    tracing::warn!("{name} is not signed by this job's key; what it counts is read again");
                    return Ok(None);
                }
                continue;
            }
            candidates.push(Candidate { key: index, generation, record });
            break;
        }
    }
    Ok(Some(candidates))
}

/// The record that another run of this generation wrote for a partition, if it is proven.
///
/// # Errors
/// Errors of the store.
pub(super) fn of_another_run(
    package: &OpenPackage,
    run: &str,
    index: u32,
) -> Result<Option<PartitionRecord>, RunError> {
    let OpenPackage { folder, pinned, attestor, .. } = package;
    let name = partition_record(&pinned.plan.partitions[index as usize].label, package.generation());
    let record: Option<PartitionRecord> = load(folder, &name)?;
    // A record of this run, whose write failed, may not be durable.
    let record = record.filter(|r| r.run != run && r.job == pinned.job && r.inputs == pinned.inputs[index as usize]);
    let Some(record) = record.filter(|record| is_proven(&name, record, attestor.signer())) else { return Ok(None) };
    for file in &record.files {
        if folder.sha256(&file.path)? != file.sha256 {
            return Ok(None);
        }
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests;
