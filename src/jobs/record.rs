//! What was asked for, complete enough to be run by another process on another machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::{Diagnostic, SourceText};
use crate::job::Job;
use crate::package::manifest::ExportFormat;
use crate::resolve::{CatalogText, Environment, Place, resolve_text};
use crate::run::GitState;
use crate::store::Location;

/// What was asked for, in the job's folder.
pub(super) const RECORD: &str = "job.json";

/// The wish that nobody work on a job, in its folder.
pub(super) const CANCEL: &str = "cancel.json";

/// Version of `job.json`.
pub const RECORD_VERSION: u32 = 1;

/// `jobs/<id>/job.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
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
    /// When it was asked for.
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
    pub package: Package,
    /// The spec as it was read.
    pub spec: TextRecord,
    /// The catalog as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<TextRecord>,
    /// Values of the spec's variables.
    pub vars: BTreeMap<String, String>,
    /// What relative windows counted from.
    pub now: Timestamp,
    /// Where relative paths on the command line started.
    pub current_dir: PathBuf,
    /// What git knew of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitState>,
}

/// A file's text under the name that it was read by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextRecord {
    /// As the user named it.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// Where a job's package is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Package {
    /// In the store, as `jobs/<id>/package`.
    Store {
        /// Tells apart jobs that are otherwise the same.
        revision: u32,
    },
    /// Where its spec says.
    Place {
        /// The package's folder.
        location: Location,
        /// What a relative `output.uri` is below.
        output_base: Location,
        /// From 2 on, a package that supersedes an earlier one.
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
    /// Of a job as it was resolved in an environment.
    pub fn new(job: &Job, package: Package, environment: &Environment, created_at: Timestamp) -> Self {
        Self {
            record_version: RECORD_VERSION,
            id: job.id.clone(),
            name: job.name.clone(),
            type_name: job.type_name.clone(),
            export_format: (&job.format).into(),
            created_at,
            window_start: job.window.start,
            window_end: job.window.end,
            window_label: job.window.label.clone(),
            filters: job.canonical.get("filters").cloned().unwrap_or_default(),
            where_sql: job.recorded_where(),
            package,
            spec: TextRecord::of(&job.spec_source),
            catalog: job.catalog_source.as_deref().map(TextRecord::of),
            vars: job.vars.clone(),
            now: environment.now,
            current_dir: environment.current_dir.clone(),
            git: None,
        }
    }

    /// The environment that the job was asked for in.
    pub fn environment(&self) -> Environment {
        let output_base = match &self.package {
            Package::Store { .. } => Location::Local(self.current_dir.clone()),
            Package::Place { output_base, .. } => output_base.clone(),
        };
        Environment {
            now: self.now,
            vars: self.vars.clone(),
            env: BTreeMap::new(),
            current_dir: self.current_dir.clone(),
            output_base,
        }
    }

    /// The job again, in the store at this place.
    ///
    /// # Errors
    /// Mistakes of the spec; one that says so where another job came out, as another version of the program may make it.
    pub fn resolve(&self, store: &Location) -> Result<Job, Vec<Diagnostic>> {
        let place = match &self.package {
            Package::Store { revision } => Place::Store { store: store.clone(), revision: *revision },
            Package::Place { revision, .. } => Place::OfSpec { revision: *revision },
        };
        let job = self.resolve_at(&place)?;
        if job.id == self.id {
            return Ok(job);
        }
        let message =
            format!("the record of {} gives the job {}: another version of kt-export made it", self.id, job.id);
        Err(vec![Diagnostic::at(None, message).help("create the job again")])
    }

    /// The job as it would be in another place.
    ///
    /// # Errors
    /// Mistakes of the spec.
    pub fn resolve_at(&self, place: &Place) -> Result<Job, Vec<Diagnostic>> {
        let catalog = CatalogText::Recorded(self.catalog.as_ref().map(TextRecord::source));
        resolve_text(&self.spec.source(), &catalog, place, &self.environment())
    }

    /// Where its package is, in the store at this place.
    pub fn package(&self, store: &Location) -> Location {
        match &self.package {
            Package::Store { .. } => store.join("jobs").join(&self.id).join("package"),
            Package::Place { location, .. } => location.clone(),
        }
    }
}
