//! One attempt to export what a package lacks: its plan, and how rows are read, encoded and encrypted.
//!
//! An attempt is checked when it is made, so that every mistake in the spec and its keys is reported before the output folder
//! is touched. If the package then has the plan of another run, that plan needs a new attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::output_state::OutputState;
use super::prepare::{Prepared, prepare};
use super::redacted::key_failure;
use super::sealing::Sealing;
use super::{RunError, RunOptions, plan_job};
use crate::encode::Encoder;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::job::Job;
use crate::package::layout::PLAN;
use crate::package::manifest::{EncryptionRecord, Manifest};
use crate::package::state::Pinned;
use crate::redact::Keys;
use crate::source::Source;

/// The plan of a run, and everything that it needs to follow the plan.
pub(super) struct Attempt {
    /// The plan to pin, or the one that is pinned.
    pub plan: Pinned,
    /// How rows are read and redacted.
    pub prepared: Prepared,
    /// Encodes shards, and encrypts them if their format can.
    pub encoder: Arc<Encoder>,
    /// The job's keys.
    pub secrets: Secrets,
}

/// The keys that a job's spec names.
pub(super) struct Secrets {
    /// For pseudonyms.
    pub keys: Keys,
    /// For the encryption of shards and rejects.
    pub sealing: Sealing,
}

impl Attempt {
    /// The attempt that the state of the output folder calls for.
    ///
    /// # Errors
    /// As [`Attempt::fresh`] and [`Attempt::resumed`].
    pub(super) fn new(
        source: &dyn Source,
        job: &Job,
        options: &RunOptions,
        secrets: Secrets,
        state: &OutputState,
        started_at: Timestamp,
    ) -> Result<Self, RunError> {
        match state {
            OutputState::Pinned(pinned) | OutputState::Repairable(pinned) => {
                Self::resumed(job, secrets, pinned.as_ref().clone())
            }
            OutputState::Incomplete(manifest) => Self::fresh(source, job, options, secrets, Some(manifest), started_at),
            OutputState::Outdated(why) => {
                tracing::warn!("{}: {why}; the job is planned again", job.output);
                Self::fresh(source, job, options, secrets, None, started_at)
            }
            OutputState::Empty | OutputState::Complete(_) | OutputState::Replaceable => {
                Self::fresh(source, job, options, secrets, None, started_at)
            }
        }
    }

    /// Plans the job. If the package has an incomplete manifest, it must have been made with the same keys.
    ///
    /// # Errors
    /// [`RunError::Spec`], [`RunError::Survey`], [`RunError::Stopped`]; [`RunError::Failed`] with `key_unusable`, or because
    /// the source cannot be read.
    pub(super) fn fresh(
        source: &dyn Source,
        job: &Job,
        options: &RunOptions,
        secrets: Secrets,
        incomplete: Option<&Manifest>,
        started_at: Timestamp,
    ) -> Result<Self, RunError> {
        let (plan, prepared) = plan_job(source, job, options, started_at)?;
        if let Some(manifest) = incomplete {
            secrets.check_same(job, manifest.encryption.as_ref(), &manifest.key_ids())?;
        }
        let plan =
            Pinned { encryption: secrets.sealing.record.clone(), key_ids: secrets.keys.ids(&job.redactions), ..plan };
        Self::sealed(job, plan, prepared, secrets)
    }

    /// Follows a pinned plan, which must have been made with the same keys.
    ///
    /// # Errors
    /// [`RunError::Spec`]; [`RunError::Failed`] with `key_unusable` or `package_damaged`.
    pub(super) fn resumed(job: &Job, secrets: Secrets, plan: Pinned) -> Result<Self, RunError> {
        let prepared = prepare_pinned(job, &plan)?;
        secrets.check_same(job, plan.encryption.as_ref(), &plan.key_ids)?;
        Self::sealed(job, plan, prepared, secrets)
    }

    fn sealed(job: &Job, plan: Pinned, prepared: Prepared, secrets: Secrets) -> Result<Self, RunError> {
        let encoder = Arc::new(prepared.encoder(job, &secrets.sealing)?);
        Ok(Self { plan, prepared, encoder, secrets })
    }
}

impl Secrets {
    /// Reads the keys from files and the environment.
    ///
    /// # Errors
    /// [`RunError::Failed`] with `key_unusable`; [`RunError::Spec`] for mistakes in a recipients file.
    pub(super) fn read(job: &Job, env: &BTreeMap<String, String>) -> Result<Self, RunError> {
        let keys = Keys::read(&job.redactions, env).map_err(|e| key_failure(&e))?;
        Ok(Self { keys, sealing: Sealing::read(job, env)? })
    }

    /// Checks that a package was started with these keys.
    fn check_same(
        &self,
        job: &Job,
        encryption: Option<&EncryptionRecord>,
        key_ids: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        self.sealing.check_same(encryption)?;
        check_keys(job, key_ids, &self.keys)
    }
}

fn prepare_pinned(job: &Job, pinned: &Pinned) -> Result<Prepared, RunError> {
    let unusable = || Failure::new(ErrorCode::PackageDamaged, format!("{PLAN} cannot be used"));
    let schema = pinned.plan.schema().map_err(|error| unusable().caused_by(&error))?;
    prepare(job, &schema, &pinned.constants).map_err(RunError::Spec)
}

/// Checks that a resumed package uses its original keys: all pseudonyms of a path come from one key.
fn check_keys(job: &Job, begun: &BTreeMap<String, String>, keys: &Keys) -> Result<(), Failure> {
    let ids = keys.ids(&job.redactions);
    let other = ids.iter().find_map(|(path, id)| Some((path, id, begun.get(path).filter(|begun| *begun != id)?)));
    let Some((path, id, begun)) = other else { return Ok(()) };
    let message = format!(
        "the key for `{path}` has the id {id}, but the package was started with {begun}, and its pseudonyms would not be the \
         same; run again with that key, or remove the output folder to start over"
    );
    Err(Failure::new(ErrorCode::KeyUnusable, message))
}
