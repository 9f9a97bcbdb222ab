//! Restates a window after late data: exports it again as a revision beside the package that it supersedes.
//!
//! The first package is at `<uri>`, its revisions are at `<uri>.r2`, `<uri>.r3` and so on, each a separate job. Earlier
//! packages are not changed. An unfinished revision is resumed. A new one starts only if the source has changed since the
//! latest one, so restating twice is harmless.

use std::collections::BTreeMap;

use super::attestor::Attestor;
use super::output_state::{self, OutputSnapshot, OutputState};
use super::{RunError, RunOptions, RunOutcome, SurveyError};
use crate::diagnostic::Diagnostic;
use crate::job::Job;
use crate::package::manifest::{
    FileEntry, FileStatus, InputRecord, Manifest, PackageRef, RestatedPartition, Restatement,
};
use crate::source;

/// The package that a revision supersedes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Superseded {
    /// Its manifest.
    pub manifest: Manifest,
    /// Digest of the manifest's bytes.
    pub sha256: String,
    /// 1 for the first package.
    pub revision: u32,
}

/// What to do to restate a job.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing: the source has not changed since the latest revision.
    Unchanged(RunOutcome),
    /// Run this revision, with [`RunOptions::supersedes`].
    Revision(Box<Job>, Superseded),
}

/// Finds the latest revision of a job and decides what to do. `revise` returns the job of a revision, from 2 on.
///
/// # Errors
/// [`RunError::NotWhole`] if the first package is not whole; otherwise as a run.
pub(crate) fn next(
    first: &Job,
    options: &RunOptions,
    revise: impl Fn(u32) -> Result<Job, Vec<Diagnostic>>,
) -> Result<Next, RunError> {
    let attestor = Attestor::load(first, options).ok();
    let signer = attestor.as_ref().and_then(Attestor::signer);
    let mut latest = match whole(output_state::recover(first, options, signer)?) {
        Ok((manifest, sha256)) => Superseded { manifest, sha256, revision: 1 },
        Err(_) => return Err(RunError::NotWhole { folder: first.output.clone() }),
    };
    let mut place = first.output.clone();
    loop {
        let job = revise(latest.revision + 1).map_err(RunError::Spec)?;
        match whole(output_state::recover(&job, options, signer)?) {
            Ok((manifest, sha256)) => {
                latest = Superseded { manifest, sha256, revision: latest.revision + 1 };
                place = job.output;
            }
            Err(OutputState::Empty) if is_made_from(&latest.manifest, &job, options)? => {
                return Ok(Next::Unchanged(RunOutcome { manifest: latest.manifest, package: place, unchanged: true }));
            }
            Err(_) => return Ok(Next::Revision(Box::new(job), latest)),
        }
    }
}

/// The manifest of a package with every shard, even if an expectation does not hold: only late data can improve it.
fn whole(snapshot: OutputSnapshot) -> Result<(Manifest, String), OutputState> {
    let published = snapshot.entry.and_then(|entry| entry.manifest);
    match (snapshot.state, published) {
        (OutputState::Complete(manifest), Some(published)) => Ok((*manifest, published.sha256)),
        (OutputState::Incomplete(manifest), Some(published))
            if manifest.files.iter().all(|f| f.status == FileStatus::Complete) =>
        {
            Ok((*manifest, published.sha256))
        }
        (other, _) => Err(other),
    }
}

/// Whether the source has exactly the inputs that a manifest lists, by name, size and version.
fn is_made_from(manifest: &Manifest, job: &Job, options: &RunOptions) -> Result<bool, RunError> {
    let listing = source::of_job(job).list(super::period(job)).map_err(SurveyError::from);
    let listing = listing.map_err(|error| super::survey_error(job, &options.stop, error))?;
    let now = listing.inputs.iter().map(InputRecord::new);
    let then = manifest.source.files.iter().filter(|record| record.skipped.is_none());
    let (now, then): (Vec<_>, Vec<_>) = (now.collect(), then.collect());
    Ok(now.len() == then.len() && now.iter().zip(then).all(|(now, then)| now.is_same_version(then)))
}

impl Superseded {
    /// The revision's reference to the package that it supersedes.
    pub(crate) fn reference(&self) -> PackageRef {
        PackageRef { id: self.manifest.id.clone(), sha256: self.sha256.clone() }
    }

    /// The change in rows per partition, given the files of the revision.
    pub(crate) fn restatement(&self, files: &[FileEntry]) -> Restatement {
        let rows = |files: &[FileEntry]| {
            let mut rows: BTreeMap<String, u64> = BTreeMap::new();
            for file in files {
                *rows.entry(file.partition.label.clone()).or_default() += file.rows;
            }
            rows
        };
        let (before, after) = (rows(&self.manifest.files), rows(files));
        let mut labels: Vec<&String> = before.keys().chain(after.keys()).collect();
        labels.sort_unstable();
        labels.dedup();
        let partitions = labels.into_iter().map(|label| RestatedPartition {
            label: label.clone(),
            rows_before: before.get(label).copied().unwrap_or_default(),
            rows_after: after.get(label).copied().unwrap_or_default(),
        });
        Restatement { revision: self.revision + 1, partitions: partitions.collect() }
    }
}
