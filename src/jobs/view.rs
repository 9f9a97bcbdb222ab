//! Jobs as shown to users: combines records, packages and heartbeats.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::heartbeat::{Counts, RunEnd, RunState};
use super::record::{AGAIN, Again, CANCEL, JobRecord, PackageLocation, RECORD};
use super::state::State;
use crate::diagnostic::{escaped, shown};
use crate::error::ErrorCode;
use crate::export_format::ExportFormat;
use crate::failure::{Failure, chain};
use crate::json;
use crate::package::Package;
use crate::package::layout::{MANIFEST, SHA256SUMS, STATE, TOMBSTONE};
use crate::package::manifest::{FileEntry, JobStatus, Manifest};
use crate::store::{Created, Folder, Location, StoreError};

/// Number of concurrent requests to a store.
const READERS: usize = 32;

/// A store of jobs.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    folder: Folder,
}

/// A job and its state.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JobView {
    /// The job's id.
    pub id: String,
    /// Whose job it is, if its store has jobs of several tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The export type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its name.
    pub name: String,
    /// Derived from the package and the runs.
    pub status: State,
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
    /// When the first run began.
    pub started_at: Option<Timestamp>,
    /// When the manifest was written.
    pub finalized_at: Option<Timestamp>,
    /// When its shards may be deleted.
    pub expires_at: Option<Timestamp>,
    /// Rows in all shards.
    pub total_rows: Option<u64>,
    /// Bytes of all shards.
    pub total_bytes: Option<u64>,
    /// Number of partial shards.
    pub partial_count: Option<u64>,
    /// Number of partitions without a shard.
    pub failed_count: Option<u64>,
    /// Why it is not complete: machine-readable code.
    pub error_code: Option<ErrorCode>,
    /// Why it is not complete: message.
    pub error: Option<String>,
    /// The spec's filters.
    pub filters: Value,
    /// The spec's SQL condition.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub where_sql: Option<String>,
    /// Where the package is.
    pub package: String,
    /// Progress of the latest run, if it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Counts>,
    /// When it was requested again after it had ended, if it waits for a run since then.
    #[serde(skip)]
    pub again_at: Option<Timestamp>,
    /// Shards; only when a single job is requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileEntry>>,
}

/// All jobs of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobList {
    /// Newest first, without their files.
    pub views: Vec<JobView>,
    /// Job folders that cannot be used. The other jobs are listed anyway.
    pub passed_over: Vec<PassedOver>,
}

/// A job that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PassedOver {
    /// Its folder below `jobs/`.
    pub id: String,
    /// Why, and what to do.
    pub why: String,
}

/// The record in a job's folder.
enum Recorded {
    Absent,
    Usable(Box<JobRecord>),
    Unusable(String),
}

/// The fields of a manifest that a list needs.
#[derive(Debug, Deserialize)]
struct Summary {
    id: String,
    status: JobStatus,
    started_at: Timestamp,
    finalized_at: Timestamp,
    expires_at: Option<Timestamp>,
    total_rows: u64,
    total_bytes: u64,
    partial_count: u64,
    failed_count: u64,
    error_code: Option<ErrorCode>,
}

impl Jobs {
    /// Opens the store for reading; `None` if a local one does not exist yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn existing(store: &Location) -> Result<Option<Self>, StoreError> {
        Ok(Folder::existing(store)?.map(|folder| Self { folder }))
    }

    /// Opens the store for writing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(store: &Location) -> Result<Self, StoreError> {
        Ok(Self { folder: Folder::open(store)? })
    }

    /// The store's location.
    pub(crate) fn location(&self) -> &Location {
        self.folder.location()
    }

    /// The folder of a job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn job_folder(&self, id: &str) -> Result<Folder, StoreError> {
        let at = self.location().join("jobs").join(id);
        match Folder::existing(&at)? {
            Some(folder) => Ok(folder),
            None => Folder::open(&at),
        }
    }

    /// Creates the record of a job, unless it exists.
    ///
    /// # Errors
    /// The store's; `internal` for a record without JSON.
    pub(crate) fn create(&self, record: &JobRecord) -> Result<Created, Failure> {
        let bytes = json::pretty(record, RECORD)?;
        Ok(self.folder.create_bytes(&format!("jobs/{}/{RECORD}", record.id), &bytes)?)
    }

    /// The record of a job; `None` if there is none, or it is invalid.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn record(&self, id: &str) -> Result<Option<JobRecord>, StoreError> {
        Ok(match self.recorded(id)? {
            Recorded::Usable(record) => Some(*record),
            Recorded::Absent => None,
            Recorded::Unusable(why) => {
                tracing::warn!("{id}: {why}");
                None
            }
        })
    }

    fn recorded(&self, id: &str) -> Result<Recorded, StoreError> {
        if id.contains('/') || !id.starts_with("job_") {
            return Ok(Recorded::Absent);
        }
        let name = format!("jobs/{id}/{RECORD}");
        let Some(bytes) = self.folder.read(&name)? else { return Ok(Recorded::Absent) };
        let unusable =
            |why: String| Recorded::Unusable(format!("{name} {why}; remove the folder, or restore the record"));
        Ok(match serde_json::from_slice::<JobRecord>(&bytes) {
            // Paths are built from the id, so it must match the folder.
            Ok(record) if record.id == id => Recorded::Usable(Box::new(record)),
            Ok(record) => unusable(format!("is the record of another job, {}", shown(&record.id))),
            Err(error) => unusable(format!("cannot be read: {error}")),
        })
    }

    /// Ids of all jobs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn ids(&self) -> Result<Vec<String>, StoreError> {
        let mut ids = self.folder.folders("jobs")?;
        ids.retain(|id| id.starts_with("job_"));
        Ok(ids)
    }

    /// All jobs, including those that cannot be shown.
    ///
    /// # Errors
    /// Those of the store itself.
    pub(crate) fn list(&self, now: Timestamp) -> Result<JobList, Failure> {
        let ids = self.ids()?;
        // Readers mostly wait for the store; for a local one, use one per processor.
        let readers = if self.location().local().is_some() { 0 } else { READERS.min(ids.len()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(readers).build();
        let pool = pool.map_err(|error| StoreError::Threads { message: error.to_string() })?;
        let summarize = || ids.par_iter().map(|id| self.summarize(id, now)).collect::<Result<Vec<_>, _>>();
        let mut listed = JobList::default();
        for summary in pool.install(summarize)?.into_iter().flatten() {
            match summary {
                Ok(view) => listed.views.push(view),
                Err(passed_over) => listed.passed_over.push(passed_over),
            }
        }
        listed.views.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
        listed.passed_over.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(listed)
    }

    /// A job for a list; `None` if there is none. Only a store that does not answer is an error.
    fn summarize(&self, id: &str, now: Timestamp) -> Result<Option<Result<JobView, PassedOver>>, Failure> {
        let passed_over = |why| Ok(Some(Err(PassedOver { id: id.to_owned(), why })));
        let record = match self.recorded(id) {
            Ok(Recorded::Usable(record)) => *record,
            Ok(Recorded::Absent) => return Ok(None),
            Ok(Recorded::Unusable(why)) => return passed_over(why),
            Err(error) if error.code().is_retryable() => return Err(error.into()),
            Err(error) => return passed_over(chain(&error)),
        };
        let is_elsewhere = matches!(record.package, PackageLocation::OfSpec { .. });
        let bytes = self.read_package(&record, MANIFEST).map_err(Failure::from);
        let view = bytes.and_then(|bytes| self.view_of(record, bytes.as_deref(), now));
        match view {
            Ok(view) => Ok(Some(Ok(view))),
            // The job store may answer later, but a list must not wait for packages in other stores.
            Err(failure) if failure.code().is_retryable() && !is_elsewhere => Err(failure),
            Err(failure) => passed_over(failure.to_string()),
        }
    }

    /// A job, without its files; `None` if there is none.
    ///
    /// # Errors
    /// The store's; `package_damaged` for a manifest that cannot be read.
    pub(crate) fn view(&self, id: &str, now: Timestamp) -> Result<Option<JobView>, Failure> {
        self.record(id)?.map(|record| self.view_recorded(record, now)).transpose()
    }

    /// The job of a record, without its files.
    ///
    /// # Errors
    /// As [`Jobs::view`].
    pub(crate) fn view_recorded(&self, record: JobRecord, now: Timestamp) -> Result<JobView, Failure> {
        let manifest = self.read_package(&record, MANIFEST)?;
        self.view_of(record, manifest.as_deref(), now)
    }

    fn view_of(&self, record: JobRecord, manifest: Option<&[u8]>, now: Timestamp) -> Result<JobView, Failure> {
        let id = &record.id;
        let summary = manifest.map(serde_json::from_slice::<Summary>).transpose();
        let summary = summary.map_err(|error| self.unreadable(&record, &error))?;
        // At the place that a spec names, there may be the package of another job.
        let summary = summary.filter(|summary| summary.id == record.id);
        let has_tombstone = match &summary {
            Some(summary) if summary.expires_at.is_some_and(|at| at <= now) => {
                self.read_package(&record, TOMBSTONE)?.is_some()
            }
            _ => false,
        };
        // A complete package needs no heartbeats, unless its run died between the manifest and SHA256SUMS.
        let is_complete = summary.as_ref().is_some_and(|s| s.status == JobStatus::Complete);
        let is_whole = is_complete && self.package_size(&record, SHA256SUMS)?.is_some();
        let runs = if is_whole { Vec::new() } else { self.runs(id)? };
        let latest = runs.iter().max_by_key(|run| run.started_at);
        let is_cut_off = is_complete && latest.is_some_and(|run| run.end.is_none());
        let is_cancelled = !is_complete && self.folder.size(&format!("jobs/{id}/{CANCEL}"))?.is_some();
        let manifest = summary.as_ref().map(|s| s.status).filter(|_| !is_cut_off);
        let status = State::derive(manifest, has_tombstone, is_cancelled, &runs, now);
        let has_ended = matches!(status, State::Failed | State::Partial | State::Cancelled) && !is_cancelled;
        let again_at = if has_ended { self.again_at(id)? } else { None };
        let finalized_at = summary.as_ref().map(|summary| summary.finalized_at);
        let is_later = |at: &Timestamp| runs.iter().map(|run| run.started_at).chain(finalized_at).all(|end| end < *at);
        let again_at = again_at.filter(is_later);
        let status = if again_at.is_some() { State::Queued } else { status };
        let failure = latest.and_then(|run| run.end.as_ref()).and_then(|end| match end {
            RunEnd::Failed { error_code, error, .. } | RunEnd::Later { error_code, error } => {
                Some((*error_code, error))
            }
            RunEnd::Ended | RunEnd::Stopped => None,
        });
        let summary = summary.as_ref();
        Ok(JobView {
            status,
            started_at: summary.map(|s| s.started_at).or_else(|| runs.iter().map(|run| run.started_at).min()),
            finalized_at,
            expires_at: summary.and_then(|s| s.expires_at),
            total_rows: summary.map(|s| s.total_rows),
            total_bytes: summary.map(|s| s.total_bytes),
            partial_count: summary.map(|s| s.partial_count),
            failed_count: summary.map(|s| s.failed_count),
            error_code: summary.and_then(|s| s.error_code).or_else(|| failure.and_then(|(code, _)| code)),
            error: failure.map(|(_, error)| error.clone()),
            progress: latest.filter(|run| run.end.is_none()).map(|run| run.progress),
            again_at,
            files: None,
            package: record.package(self.location()).to_string(),
            tenant: record.tenant().map(str::to_owned),
            id: record.id,
            type_name: record.type_name,
            name: record.name,
            export_format: record.export_format,
            created_at: record.created_at,
            window_start: record.window_start,
            window_end: record.window_end,
            window_label: record.window_label,
            filters: record.filters,
            where_sql: record.where_sql,
        })
    }

    /// A job with its files; `None` if there is none.
    ///
    /// # Errors
    /// As [`Jobs::view`].
    pub(crate) fn get(&self, id: &str, now: Timestamp) -> Result<Option<JobView>, Failure> {
        self.record(id)?.map(|record| self.get_recorded(record, now)).transpose()
    }

    /// The job of a record, with its files.
    ///
    /// # Errors
    /// As [`Jobs::view`].
    pub(crate) fn get_recorded(&self, record: JobRecord, now: Timestamp) -> Result<JobView, Failure> {
        let bytes = self.read_package(&record, MANIFEST)?;
        let manifest = bytes.as_deref().map(|bytes| self.manifest_of(&record, bytes)).transpose()?.flatten();
        let view = self.view_of(record, bytes.as_deref(), now)?;
        // A job without a package has no files.
        Ok(JobView { files: Some(manifest.map_or_else(Vec::new, |manifest| manifest.files)), ..view })
    }

    /// A job's package in its folder ([`Jobs::package`]), if it has a manifest.
    ///
    /// # Errors
    /// As [`Jobs::view`].
    pub(crate) fn open_package(
        &self,
        record: &JobRecord,
        folder: Folder,
        now: Timestamp,
    ) -> Result<Option<Package>, Failure> {
        let Some(bytes) = folder.read(MANIFEST)? else { return Ok(None) };
        let manifest = self.manifest_of(record, &bytes)?;
        Ok(manifest.map(|manifest| Package::new(folder, manifest, bytes, now)))
    }

    /// The manifest in a job's package; `None` if it is another job's.
    fn manifest_of(&self, record: &JobRecord, bytes: &[u8]) -> Result<Option<Manifest>, Failure> {
        let manifest = Manifest::from_json(bytes).map_err(|error| self.unreadable(record, &error))?;
        Ok(Some(manifest).filter(|manifest| manifest.id == record.id))
    }

    fn unreadable(&self, record: &JobRecord, error: &dyn std::error::Error) -> Failure {
        let at = record.package(self.location()).join(MANIFEST);
        let why = escaped(&chain(error));
        let message =
            format!("{at} cannot be read: {why}; restore it from a copy: the package keeps one below {STATE}");
        Failure::new(ErrorCode::PackageDamaged, message)
    }

    /// The folder of a job's package, if it exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn package(&self, record: &JobRecord) -> Result<Option<Folder>, StoreError> {
        Folder::existing(record.package(self.location()))
    }

    fn read_package(&self, record: &JobRecord, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.in_package(record, name)?.map_or(Ok(None), |(folder, name)| folder.read(&name))
    }

    fn package_size(&self, record: &JobRecord, name: &str) -> Result<Option<u64>, StoreError> {
        self.in_package(record, name)?.map_or(Ok(None), |(folder, name)| folder.size(&name))
    }

    /// A file of a job's package, as a folder and a name in it. For a package in the store, its folder is not opened.
    fn in_package(&self, record: &JobRecord, name: &str) -> Result<Option<(Folder, String)>, StoreError> {
        Ok(match &record.package {
            PackageLocation::Store { .. } => Some((self.folder.clone(), format!("jobs/{}/package/{name}", record.id))),
            PackageLocation::OfSpec { .. } => self.package(record)?.map(|folder| (folder, name.to_owned())),
        })
    }

    fn runs(&self, id: &str) -> Result<Vec<RunState>, StoreError> {
        let mut runs = BTreeMap::new();
        for listed in self.folder.list(&format!("jobs/{id}/runs/"))? {
            let bytes = match self.folder.read(&listed.name) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                // Heartbeats are informational: an unreadable one must not hide the job.
                Err(error) if !error.code().is_retryable() => continue,
                Err(error) => return Err(error),
            };
            if let Ok(run) = serde_json::from_slice::<RunState>(&bytes) {
                runs.insert(listed.name, run);
            }
        }
        Ok(runs.into_values().collect())
    }

    /// Requests a job again that has ended: it waits for a run then.
    ///
    /// # Errors
    /// The store's; `internal` for a time without JSON.
    pub(super) fn request_again(&self, id: &str, now: Timestamp) -> Result<(), Failure> {
        let bytes = json::pretty(&Again { requested_at: now }, AGAIN)?;
        Ok(self.folder.replace_bytes(&format!("jobs/{id}/{AGAIN}"), &bytes)?)
    }

    fn again_at(&self, id: &str) -> Result<Option<Timestamp>, Failure> {
        let Some(bytes) = self.folder.read(&format!("jobs/{id}/{AGAIN}"))? else { return Ok(None) };
        // A wish that cannot be read is none; the job can be requested once more.
        Ok(serde_json::from_slice::<Again>(&bytes).ok().map(|again| again.requested_at))
    }

    /// Asks the store for something small, to see whether it answers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn probe(&self) -> Result<(), StoreError> {
        self.folder.size("jobs/probe").map(drop)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn cancel(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let text = format!("{{\"cancelled_at\": \"{now}\"}}\n");
        self.folder.replace_bytes(&format!("jobs/{id}/{CANCEL}"), text.as_bytes())
    }

    /// Undoes [`Jobs::cancel`], because the job is requested again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn uncancel(&self, id: &str) -> Result<(), StoreError> {
        self.folder.remove(&format!("jobs/{id}/{CANCEL}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::jobs::record::TextRecord;

    fn record() -> JobRecord {
        let at = Timestamp::UNIX_EPOCH;
        JobRecord {
            record_version: 1,
            id: "job_a".to_owned(),
            name: "test".to_owned(),
            type_name: "events".to_owned(),
            export_format: ExportFormat::Csv,
            created_at: at,
            window_start: at,
            window_end: at,
            window_label: "1970".to_owned(),
            filters: json!({}),
            where_sql: None,
            package: PackageLocation::Store { revision: 0 },
            spec: TextRecord { path: PathBuf::from("test.yaml"), text: String::new() },
            catalog: None,
            vars: BTreeMap::new(),
            now: at,
            current_dir: PathBuf::from("/"),
            git: None,
            requester: None,
        }
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_not_a_job_without_a_package() {
        let store = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(&Location::Local(store.path().to_owned())).unwrap();
        let (record, now) = (record(), Timestamp::UNIX_EPOCH);
        assert_eq!(jobs.create(&record).unwrap(), Created::Created);
        assert_eq!(jobs.view("job_a", now).unwrap().unwrap().status, State::Queued);
        assert_eq!(jobs.get("job_a", now).unwrap().unwrap().files, Some(Vec::new()));
        let open = || {
            let folder = jobs.package(&record).unwrap();
            folder.map(|folder| jobs.open_package(&record, folder, now)).transpose().map(Option::flatten)
        };
        assert!(open().unwrap().is_none());

        let path = store.path().join("jobs/job_a/package/manifest.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{").unwrap();
        let ending = "; restore it from a copy: the package keeps one below _state/";
        for failure in [jobs.view("job_a", now).unwrap_err(), jobs.get("job_a", now).unwrap_err(), open().unwrap_err()]
        {
            assert_eq!(failure.code(), ErrorCode::PackageDamaged);
            let message = failure.to_string();
            assert!(message.starts_with(&format!("{} cannot be read: ", path.display())), "{message}");
            assert!(message.ends_with(ending), "{message}");
        }
        let listed = jobs.list(now).unwrap();
        assert!(listed.views.is_empty());
        assert_eq!(listed.passed_over[0].id, "job_a");
        assert!(listed.passed_over[0].why.ends_with(ending), "{}", listed.passed_over[0].why);
    }
}
