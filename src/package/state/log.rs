//! The package's log, which alone decides the state of a package.
//!
//! `_state/log/000001.json`, `000002.json` and so on are created exclusively and never changed. Each entry is the whole
//! state of the package after one decision, so only the last one has to be read:
//!
//! - a **plan** is pinned and opens a generation. It follows a manifest that is not complete, a plan that cannot be
//!   followed, or the plan of another job that `--replace` discards;
//! - a **manifest** ends the generation. A complete one is final; it can only be followed by
//! - a **prune**, which ends the package: its shards are deleted.
//!
//! A run that creates entry *n* has read entry *n − 1*, so every decision is based on the latest state: a run that was
//! suspended finds its number taken. Files are deleted only after the decision, and which ones follows from the entry
//! alone, so deleting them is correct at any later time, however long a run is suspended. (Delta Lake and SlateDB use the
//! same idea.)
//!
//! Any run installs `manifest.json` and the files derived from it from the last entry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{Signed, StateError, bytes, load};
use crate::package::layout::{LOG, generation_of, kept_manifest, log_entry, log_number};
use crate::package::manifest::{JobStatus, Manifest};
use crate::store::{Created, Folder, StoreError};

/// Version of the entries.
const LOG_VERSION: u32 = 1;

/// Maximum number of entries beyond the last one listed; a log with more is not valid.
const MOST_NEW_ENTRIES: u32 = 10_000;

/// The state of a package after a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 1.
    pub log_version: u32,
    /// From 1, without gaps.
    pub number: u32,
    /// The run that decided.
    pub run: String,
    /// When it decided, by its clock.
    pub at: Timestamp,
    /// The job that owns the package.
    pub job: String,
    /// The first generation of this job: files of earlier generations do not count.
    pub first_generation: u32,
    /// The job that this one replaced with `--replace`; its files are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// The newest plan; `None` in a package of an earlier release.
    pub plan: Option<PlanRef>,
    /// The newest manifest of the job.
    pub manifest: Option<ManifestRef>,
    /// When it was decided to delete the shards.
    pub pruned_at: Option<Timestamp>,
    /// Signature by the key that signs the job's manifests, if the job signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A pinned plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRef {
    /// The number of the plan, from 1. File names contain it from 2 on, so that two plans never use one name for different
    /// bytes.
    pub generation: u32,
    /// Name in the package.
    pub path: String,
    /// Digest of its bytes.
    pub sha256: String,
}

/// A published manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRef {
    /// The generation that it ended.
    pub generation: u32,
    /// Digest of its bytes.
    pub sha256: String,
    /// Its status.
    pub status: JobStatus,
}

impl Signed for Entry {
    fn signature(&mut self) -> &mut Option<String> {
        &mut self.signature
    }
}

impl Entry {
    /// Whether a generation is open: partitions may be committed, and its manifest does not exist yet.
    pub fn is_open(&self) -> bool {
        let ended = self.manifest.as_ref().map_or(0, |manifest| manifest.generation);
        self.pruned_at.is_none() && self.generation() > ended
    }

    /// Whether the job is complete. The only decision that may follow is to prune.
    pub fn is_complete(&self) -> bool {
        !self.is_open() && self.manifest.as_ref().is_some_and(|m| m.status == JobStatus::Complete)
    }

    /// The newest generation; 0 in a package of an earlier release.
    pub fn generation(&self) -> u32 {
        self.plan.as_ref().map_or(0, |plan| plan.generation)
    }

    /// The state after a plan was pinned; `last` is the state before.
    pub fn plan(last: Option<&Self>, job: &str, run: &str, at: Timestamp, path: String, sha256: String) -> Self {
        let same = last.filter(|last| last.job == job);
        // Files of a package without a log may have the names of generation 1.
        let generation = last.map_or(0, Self::generation).max(u32::from(last.is_some())) + 1;
        Self {
            log_version: LOG_VERSION,
            number: last.map_or(0, |last| last.number) + 1,
            run: run.to_owned(),
            at,
            job: job.to_owned(),
            first_generation: same.map_or(generation, |same| same.first_generation),
            replaced: match last {
                Some(last) if last.job != job => Some(last.job.clone()),
                last => last.and_then(|last| last.replaced.clone()),
            },
            plan: Some(PlanRef { generation, path, sha256 }),
            manifest: same.and_then(|same| same.manifest.clone()),
            pruned_at: None,
            signature: None,
        }
    }

    /// The state after a manifest ended the open generation.
    pub fn manifest(&self, run: &str, at: Timestamp, sha256: String, status: JobStatus) -> Self {
        let manifest = Some(ManifestRef { generation: self.generation(), sha256, status });
        Self { number: self.number + 1, run: run.to_owned(), at, manifest, signature: None, ..self.clone() }
    }

    /// The state after it was decided to delete the shards.
    pub fn pruned(&self, run: &str, at: Timestamp) -> Self {
        let pruned_at = Some(at);
        Self { number: self.number + 1, run: run.to_owned(), at, pruned_at, signature: None, ..self.clone() }
    }

    /// The state of a package of an earlier release, which has no log and at most a manifest.
    pub fn of_earlier_release(job: &str, manifest: Option<(&str, JobStatus)>, at: Timestamp) -> Self {
        let manifest =
            manifest.map(|(sha256, status)| ManifestRef { generation: 0, sha256: sha256.to_owned(), status });
        Self {
            log_version: LOG_VERSION,
            number: 0,
            run: String::new(),
            at,
            job: job.to_owned(),
            // Its records have another form.
            first_generation: 2,
            replaced: None,
            plan: None,
            manifest,
            pruned_at: None,
            signature: None,
        }
    }

    /// Where its manifest is kept.
    pub fn kept_manifest(&self) -> Option<String> {
        self.manifest.as_ref().map(|manifest| kept_manifest(&manifest.sha256))
    }

    /// Name of its file.
    pub fn name(&self) -> String {
        log_entry(self.number)
    }
}

/// The last entry; `None` if there is none. A listing may lag behind, so later entries are looked up by name.
///
/// # Errors
/// [`StateError`].
pub fn read(folder: &Folder) -> Result<Option<Entry>, StateError> {
    let listed = folder.list(LOG)?;
    let last = listed.iter().filter_map(|found| log_number(&found.name)).max().unwrap_or(0);
    let mut entry = if last == 0 { None } else { load_entry(folder, last)? };
    for next in (last + 1..).take(MOST_NEW_ENTRIES as usize) {
        match load_entry(folder, next)? {
            Some(newer) => entry = Some(newer),
            None => break,
        }
    }
    Ok(entry)
}

fn load_entry(folder: &Folder, number: u32) -> Result<Option<Entry>, StateError> {
    let name = log_entry(number);
    let Some(entry) = load::<Entry>(folder, &name)? else { return Ok(None) };
    if entry.log_version == LOG_VERSION && entry.number == number {
        return Ok(Some(entry));
    }
    let why = format!("log version {} and number {}", entry.log_version, entry.number);
    Err(StateError::Unreadable { name, source: serde::de::Error::custom(why) })
}

/// Adds an entry, unless another run has decided something else since its predecessor was read.
///
/// # Errors
/// [`StateError`]. After an error of the store it is not known whether the entry is there.
pub fn append(folder: &Folder, entry: &Entry) -> Result<Created, StateError> {
    let name = entry.name();
    let bytes = bytes(&name, entry)?;
    Ok(if folder.claim(&name, &bytes)? { Created::Created } else { Created::Exists })
}

/// Decides that the shards of a package go, if its manifest is still the one with this digest. `false`: a run has decided
/// something else meanwhile, and nothing may be deleted.
///
/// # Errors
/// [`StateError`].
pub fn decide_prune(
    folder: &Folder,
    manifest: &Manifest,
    sha256: &str,
    run: &str,
    at: Timestamp,
) -> Result<bool, StateError> {
    let last = match read(folder)? {
        Some(last) => last,
        None => Entry::of_earlier_release(&manifest.id, Some((sha256, manifest.status)), at),
    };
    let is_judged = last.manifest.as_ref().is_some_and(|published| published.sha256 == sha256);
    if last.job != manifest.id || !is_judged {
        return Ok(false);
    }
    Ok(last.pruned_at.is_some() || append(folder, &last.pruned(run, at))? == Created::Created)
}

/// Whether the manifest with this digest was ever published.
///
/// # Errors
/// [`StateError`].
pub fn was_published(folder: &Folder, last: &Entry, sha256: &str) -> Result<bool, StateError> {
    for number in (1..=last.number).rev() {
        let manifest = load_entry(folder, number)?.and_then(|entry| entry.manifest);
        if manifest.is_some_and(|manifest| manifest.sha256 == sha256) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Files listed below `_state/`, by what they are about and by generation.
pub fn by_generation(folder: &Folder, prefix: &str) -> Result<BTreeMap<String, Vec<u32>>, StoreError> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for listed in folder.list(prefix)? {
        let Some(stem) = listed.name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".json")) else { continue };
        let about = stem.split('.').next().unwrap_or(stem);
        found.entry(about.to_owned()).or_default().push(generation_of(&listed.name));
    }
    for generations in found.values_mut() {
        generations.sort_unstable_by(|a, b| b.cmp(a));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::layout::PLAN;

    fn entry(last: Option<&Entry>, job: &str) -> Entry {
        Entry::plan(last, job, "run", Timestamp::UNIX_EPOCH, PLAN.to_owned(), "0".repeat(64))
    }

    #[test]
    fn a_number_is_decided_once_and_the_last_entry_is_the_state() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().join("package")).unwrap();
        assert_eq!(read(&folder).unwrap(), None);
        let first = entry(None, "job_a");
        assert_eq!(append(&folder, &first).unwrap(), Created::Created);
        assert_eq!(append(&folder, &entry(None, "job_b")).unwrap(), Created::Exists);
        assert_eq!(read(&folder).unwrap().as_ref(), Some(&first));
        let ended = first.manifest("run", Timestamp::UNIX_EPOCH, "1".repeat(64), JobStatus::Partial);
        assert_eq!(append(&folder, &ended).unwrap(), Created::Created);
        let last = read(&folder).unwrap().unwrap();
        assert!(!last.is_open() && !last.is_complete());
        assert!(was_published(&folder, &last, &"1".repeat(64)).unwrap());
        assert!(!was_published(&folder, &last, &"2".repeat(64)).unwrap());
    }

    #[test]
    fn each_plan_opens_a_generation_and_another_job_starts_anew() {
        let first = entry(None, "a");
        let ended = first.manifest("run", Timestamp::UNIX_EPOCH, String::new(), JobStatus::Partial);
        let second = entry(Some(&ended), "a");
        let other = entry(Some(&second), "b");
        let of = |entry: &Entry| (entry.number, entry.generation(), entry.first_generation, entry.is_open());
        assert_eq!(of(&first), (1, 1, 1, true));
        assert_eq!(of(&ended), (2, 1, 1, false));
        assert_eq!(of(&second), (3, 2, 1, true));
        assert_eq!(of(&other), (4, 3, 3, true));
        assert_eq!((second.manifest, other.manifest), (ended.manifest, None));
    }
}
