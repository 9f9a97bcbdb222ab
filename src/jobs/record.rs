//! The record of a requested job, complete enough for another process on another machine to run it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::{Diagnostic, SourceText};
use crate::export_format::ExportFormat;
use crate::job::Job;
use crate::package::manifest::{ResolvedError, ResolvedSpec};
use crate::resolve::{CatalogText, Destination, Environment, resolve_text};
use crate::run::GitState;
use crate::store::Location;

/// The record, in the job's folder.
pub(super) const RECORD: &str = "job.json";

/// Marks a job as cancelled, in its folder.
pub(super) const CANCEL: &str = "cancel.json";

/// Says when a job that had ended was requested again, in its folder.
pub(super) const AGAIN: &str = "again.json";

/// The content of [`AGAIN`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Again {
    pub(super) requested_at: Timestamp,
}

/// Version of `job.json`.
pub(super) const RECORD_VERSION: u32 = 1;

/// `jobs/<id>/job.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    /// 1.
    pub record_version: u32,
    /// The job's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The export type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Format of its shards.
    pub export_format: ExportFormat,
    /// When it was requested.
    pub created_at: Timestamp,
    /// First instant.
    pub window_start: Timestamp,
    /// First instant after.
    pub window_end: Timestamp,
    /// Calendar name.
    pub window_label: String,
    /// As in the manifest.
    pub filters: Value,
    /// As in the manifest.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub where_sql: Option<String>,
    /// Where its package is.
    pub package: PackageLocation,
    /// The spec as it was read.
    pub spec: TextRecord,
    /// The catalog as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<TextRecord>,
    /// Values of the spec's variables.
    pub vars: BTreeMap<String, String>,
    /// The instant that relative windows are resolved against.
    pub now: Timestamp,
    /// The directory that relative paths on the command line are resolved against.
    pub current_dir: PathBuf,
    /// State of the spec's git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitState>,
    /// Who requested it, if that came over the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
}

/// Who requested a job over the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requester {
    /// The id of the API key.
    pub key: String,
    /// The key's tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// The text of a file, and its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TextRecord {
    /// The path, as the user wrote it.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// Where a job's package is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PackageLocation {
    /// In the store, as `jobs/<id>/package`.
    Store {
        /// Distinguishes jobs that are otherwise identical.
        revision: u32,
    },
    /// At the spec's `output.uri`.
    #[serde(rename = "place")]
    OfSpec {
        /// The package's folder.
        location: Location,
        /// The folder that a relative `output.uri` is resolved against.
        output_base: Location,
        /// 2 or more for a package that supersedes an earlier one.
        #[serde(default, skip_serializing_if = "is_first")]
        revision: u32,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_first(revision: &u32) -> bool {
    *revision == 0
}

impl TextRecord {
    fn of(source: &SourceText) -> Self {
        Self { path: source.path.clone(), text: source.text.clone() }
    }

    fn source(&self) -> Arc<SourceText> {
        Arc::new(SourceText { path: self.path.clone(), text: self.text.clone() })
    }
}

impl JobRecord {
    /// The record of a job, as resolved in `environment`.
    ///
    /// # Errors
    /// [`ResolvedError`] for a job without filters in its canonical JSON.
    pub(crate) fn new(
        job: &Job,
        package: PackageLocation,
        environment: &Environment,
        created_at: Timestamp,
    ) -> Result<Self, ResolvedError> {
        let resolved = ResolvedSpec::from(job.canonical.clone());
        Ok(Self {
            record_version: RECORD_VERSION,
            id: job.id.clone(),
            name: job.name.clone(),
            type_name: job.type_name.clone(),
            export_format: job.format.kind(),
            created_at,
            window_start: job.window.start,
            window_end: job.window.end,
            window_label: job.window.label.clone(),
            filters: resolved.filters()?.clone().into(),
            where_sql: job.recorded_where(),
            package,
            spec: TextRecord::of(&job.spec_source),
            catalog: job.catalog_source.as_deref().map(TextRecord::of),
            vars: job.vars.clone(),
            now: environment.now,
            current_dir: environment.current_dir.clone(),
            git: None,
            requester: None,
        })
    }

    /// Whose job it is; `None` for jobs without a tenant.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.requester.as_ref()?.tenant.as_deref()
    }

    /// The environment in which the job was requested.
    pub(crate) fn environment(&self) -> Environment {
        let output_base = match &self.package {
            PackageLocation::Store { .. } => Location::Local(self.current_dir.clone()),
            PackageLocation::OfSpec { output_base, .. } => output_base.clone(),
        };
        Environment {
            now: self.now,
            vars: self.vars.clone(),
            env: BTreeMap::new(),
            current_dir: self.current_dir.clone(),
            output_base,
        }
    }

    /// Resolves the job again, in the store at this location.
    ///
    /// # Errors
    /// Mistakes in the spec; or one that says that this version of the program resolves the spec to another job.
    pub(crate) fn resolve(&self, store: &Location) -> Result<Job, Vec<Diagnostic>> {
        let destination = match &self.package {
            PackageLocation::Store { revision } => Destination::Store {
                store: store.clone(),
                revision: *revision,
                tenant: self.tenant().map(str::to_owned),
            },
            PackageLocation::OfSpec { revision, .. } => Destination::OfSpec { revision: *revision },
        };
        let job = self.resolve_at(&destination)?;
        if job.id == self.id {
            return Ok(job);
        }
        let message =
            format!("the record of {} gives the job {}: another version of kt-export made it", self.id, job.id);
        Err(vec![Diagnostic::at(None, message).help("create the job again")])
    }

    /// Resolves the job for another output location.
    ///
    /// # Errors
    /// Mistakes of the spec.
    pub(crate) fn resolve_at(&self, destination: &Destination) -> Result<Job, Vec<Diagnostic>> {
        let catalog = CatalogText::Recorded(self.catalog.as_ref().map(TextRecord::source));
        resolve_text(&self.spec.source(), &catalog, destination, &self.environment())
    }

    /// Where its package is, in the store at this location.
    pub(crate) fn package(&self, store: &Location) -> Location {
        match &self.package {
            PackageLocation::Store { .. } => store.join("jobs").join(&self.id).join("package"),
            PackageLocation::OfSpec { location, .. } => location.clone(),
        }
    }
}
