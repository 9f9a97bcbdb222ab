//! Detects packages, chains and job stores of kt-export below a source.
//!
//! Their shards hold rows of the source, so reading them would export every row again. A folder is recognized by the
//! contents of its files, not by its name alone.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::list::{ListError, display_path};
use crate::package::layout::{self, DATA, MANIFEST, PLAN};
use crate::source::skip::{SkipCode, SkippedInput};
use crate::store::{ObjectMeta, StoreError, Stored};

/// The request in the folder of a job.
const JOB: &str = "job.json";

/// Prefix of the folder of a job.
const JOB_FOLDER: &str = "job_";

/// Bytes of a file that are examined. The distinctive key is at or near the start of a record.
const HEAD_BYTES: u64 = 64 << 10;

/// What kt-export has written to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnOutput {
    /// A package, finished or not.
    Package,
    /// The links of a chain.
    Chain,
    /// A job in a store.
    Job,
}

impl OwnOutput {
    fn reason(self) -> &'static str {
        match self {
            Self::Package => "a kt-export package, which holds exported rows",
            Self::Chain => "a chain of kt-export packages",
            Self::Job => "a job in a store of kt-export",
        }
    }

    /// The folder as a skipped entry.
    pub(super) fn skipped(self, name: String, bytes: u64) -> SkippedInput {
        SkippedInput { name: format!("{name}/"), bytes, code: SkipCode::Package, reason: self.reason().to_owned() }
    }
}

/// Files to examine, and the distinctive key in each.
const MARKS: [(OwnOutput, &str, &str); 2] =
    [(OwnOutput::Package, MANIFEST, "\"manifest_version\""), (OwnOutput::Job, JOB, "\"record_version\"")];

/// Whether kt-export has written a local folder.
///
/// # Errors
/// [`ListError::Io`] where a file to examine cannot be read, because its folder may hold the rows of an export.
pub(super) fn of_folder(folder: &Path) -> Result<Option<OwnOutput>, ListError> {
    if folder.join(PLAN).is_file() {
        return Ok(Some(OwnOutput::Package));
    }
    let says = |name: &str, key: &str| -> Result<bool, ListError> {
        let path = folder.join(name);
        if !path.is_file() {
            return Ok(false);
        }
        let mut head = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
        read.map_err(|source| ListError::Io { path: display_path(&path), source })?;
        Ok(holds(&head, key))
    };
    let is_named_so = |own_output| match own_output {
        OwnOutput::Package => folder.join(DATA).is_dir(),
        OwnOutput::Job | OwnOutput::Chain => {
            folder.file_name().is_some_and(|name| is_job_folder(&name.to_string_lossy()))
        }
    };
    for (own_output, name, key) in MARKS {
        if is_named_so(own_output) && says(name, key)? {
            return Ok(Some(own_output));
        }
    }
    Ok(says(&layout::link(1), "\"link_version\"")?.then_some(OwnOutput::Chain))
}

/// Folders written by kt-export among objects. Their names are relative to the source and end with `/`; the empty name is
/// the source itself.
///
/// # Errors
/// [`ListError::Store`] where an object to examine cannot be read.
pub(super) fn among<'a>(
    objects: impl Iterator<Item = (&'a str, &'a ObjectMeta)> + Clone,
) -> Result<Vec<(String, OwnOutput)>, ListError> {
    let names: BTreeSet<&str> = objects.clone().map(|(name, _)| name).collect();
    let has_data = |folder: &str| {
        let data = format!("{folder}{DATA}");
        names.range(data.as_str()..).next().is_some_and(|name| name.starts_with(&data))
    };
    let mut found: Vec<(String, OwnOutput)> = Vec::new();
    for (name, object) in objects {
        if let Some(folder) = name.strip_suffix(PLAN).filter(|folder| folder.is_empty() || folder.ends_with('/')) {
            found.push((folder.to_owned(), OwnOutput::Package));
            continue;
        }
        let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let last = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let (own_output, key) = match file {
            MANIFEST if has_data(&folder) => (OwnOutput::Package, "\"manifest_version\""),
            JOB if is_job_folder(last) => (OwnOutput::Job, "\"record_version\""),
            _ if file == layout::link(1) => (OwnOutput::Chain, "\"link_version\""),
            _ => continue,
        };
        let at = object.at.clone().into();
        let head = Stored::open(&at, object.bytes, object.etag.as_deref())
            .and_then(|stored| stored.read_at(0, object.bytes.min(HEAD_BYTES)))
            .map_err(|error| StoreError::reading(&at, error))?;
        if holds(&head, key) {
            found.push((folder, own_output));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|a, b| a.0 == b.0);
    // A folder inside another one is skipped with it.
    let mut outermost: Vec<(String, OwnOutput)> = Vec::new();
    for (folder, own_output) in found {
        if outermost.last().is_none_or(|(outer, _)| !folder.starts_with(outer.as_str())) {
            outermost.push((folder, own_output));
        }
    }
    Ok(outermost)
}

fn is_job_folder(name: &str) -> bool {
    name.starts_with(JOB_FOLDER)
}

fn holds(head: &[u8], key: &str) -> bool {
    head.windows(key.len()).any(|window| window == key.as_bytes())
}
