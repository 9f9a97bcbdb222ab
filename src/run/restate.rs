//! A window that was exported before, exported again after late data: a revision beside the package that it supersedes.
//!
//! The first package is at `<uri>`, its revisions at `<uri>.r2`, `<uri>.r3` and so on, each a job of its own. Nothing of
//! an older one is touched. A revision that has begun is gone on with; a new one begins only where the source is not the
//! one that the latest was made from, so that asking twice does no harm.

use std::collections::BTreeMap;

use super::attestor::Attestor;
use super::output_state::{self, OutputSnapshot, OutputState};
use super::{RunError, RunOptions, RunOutcome, SurveyError, list_source};
use crate::diagnostic::Diagnostic;
use crate::job::Job;
use crate::package::manifest::{FileEntry, FileStatus, Manifest, PackageRef, RestatedPartition, Restatement};

/// The package that a revision takes the place of.
#[derive(Debug, Clone, PartialEq)]
pub struct Superseded {
    /// Its manifest.
    pub manifest: Manifest,
    /// Digest of the manifest's bytes.
    pub sha256: String,
    /// 1 for the first package.
    pub revision: u32,
}

/// What restating a job comes to.
#[derive(Debug)]
pub enum Next {
    /// The source is the one that the latest revision was made from.
    Unchanged(RunOutcome),
    /// This revision is to be run, with [`RunOptions::supersedes`].
    Revision(Box<Job>, Superseded),
}

/// Looks for the latest revision of a job. `revise` gives the job of a revision, from 2 on.
///
/// # Errors
/// [`RunError::NotWhole`] where the first package is not whole; else as a run.
pub fn next(
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

/// A package with every shard, also if they are not what the spec expects: nothing but late data can make it better.
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

/// Whether the source has the files that a manifest lists, by name, size and version.
fn is_made_from(manifest: &Manifest, job: &Job, options: &RunOptions) -> Result<bool, RunError> {
    let listing = list_source(job);
    let listing = listing.map_err(|error: SurveyError| super::survey_error(job, &options.stop, error))?;
    let now = listing.files.iter().map(|f| {
        let mtime = f.etag.is_none().then_some(f.modified);
        (f.name.as_str(), (f.bytes, f.etag.as_deref(), mtime))
    });
    let then = manifest.source.files.iter().filter(|f| f.skipped.is_none());
    let then = then.map(|f| (f.path.as_str(), (f.bytes, f.etag.as_deref(), f.mtime)));
    Ok(now.collect::<BTreeMap<_, _>>() == then.collect())
}

impl Superseded {
    /// What the revision's manifest says of the package that it supersedes.
    pub fn reference(&self) -> PackageRef {
        PackageRef { id: self.manifest.id.clone(), sha256: self.sha256.clone() }
    }

    /// What became of the rows, given the files of the revision.
    pub fn restatement(&self, files: &[FileEntry]) -> Restatement {
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
