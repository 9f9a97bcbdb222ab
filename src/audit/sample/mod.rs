//! Draws a reproducible, seeded sample of a package's rows and reports the position of each row.
//!
//! The drawn rows depend only on the manifest's SHA-256, the seed, the sample size and the package's row count (see
//! `drawing`), so an auditor can reproduce the draw with any SHA-256 tool. A shard is read only if it holds drawn rows, and
//! its digest is verified before any of its rows is returned. Each such shard is streamed twice: once for the digest, once
//! for the rows. In Parquet, only row groups with drawn rows are decoded.

mod drawing;
mod parquet;
mod read;

use std::io;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::Exit;
use crate::export_format::ExportFormat;
use crate::package::layout::MANIFEST;
use crate::package::manifest::{EncryptionRecord, JobStatus};
use crate::package::{FileError, Package, PackageError, PackageFile, ReadKeys};
use crate::seal::{AGE_EXTENSION, OpenError};
use crate::stop::Stop;
use crate::store::StoreError;

pub use drawing::draw;

/// Version of [`SampleSummary`] as JSON.
pub const SAMPLE_VERSION: u32 = 1;

/// Maximum sample size in rows. A larger sample cannot be checked by hand, and `--json` holds the sample in memory.
pub const MAX_SAMPLE_ROWS: u64 = 100_000;

/// A sampled row and its position.
#[derive(Debug, Clone, Serialize)]
pub struct SampledRow {
    /// 1-based row number in the package, counting shards in manifest order.
    pub row: u64,
    /// Path of its shard in the package.
    pub file: String,
    /// 1-based row number in the shard, without the CSV header.
    pub file_row: u64,
    /// 1-based number of the draw that selected the row; null if the sample is the whole package.
    pub draw: Option<u64>,
    /// JSON object by column name. CSV cells are strings; JSON rows are verbatim, except for line ends between tokens;
    /// Parquet values have the NDJSON encoding.
    pub values: Box<RawValue>,
}

/// Summary of a sample, for its header.
#[derive(Debug, Clone, Serialize)]
pub struct SampleSummary {
    /// [`SAMPLE_VERSION`].
    pub version: u32,
    /// Location of the package, as opened.
    pub package: String,
    /// Id of the job that wrote the package.
    pub job_id: String,
    /// How the job ended. If it is not complete, the sample covers only the shards that were written.
    pub status: JobStatus,
    /// SHA-256 of the manifest in lower-case hex; the draw depends on it.
    pub manifest_sha256: String,
    /// The seed that the user gave.
    pub seed: u64,
    /// Rows in the package from which the sample is drawn.
    pub population: u64,
    /// Shards of the package.
    pub files: usize,
    /// Shards that were read.
    pub files_read: usize,
}

/// Why a sample cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The package's manifest, checksums or tombstone are invalid or unreadable.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A shard is missing or does not match its digest.
    #[error(transparent)]
    File(#[from] FileError),
    /// A larger sample than the maximum.
    #[error("a sample has at most {MAX_SAMPLE_ROWS} rows, not {rows}: draw fewer rows")]
    TooManyRows {
        /// The requested number.
        rows: u64,
    },
    /// The shards were deleted after their retention period.
    #[error("the shards of {at} were deleted at {pruned_at} after their retention period: there are no rows to sample")]
    Pruned {
        /// Location of the package.
        at: String,
        /// When they were deleted.
        pruned_at: jiff::Timestamp,
    },
    /// A shard is encrypted, and no key was given.
    #[error(
        "`{path}` is encrypted: give the key with `--identity FILE`, or with `--parquet-key` for Parquet encryption"
    )]
    MissingKey {
        /// Name in the package.
        path: String,
    },
    /// A shard cannot be decrypted with the given keys.
    #[error("`{path}` cannot be decrypted")]
    WrongKey {
        /// Name in the package.
        path: String,
        /// Why.
        source: OpenError,
    },
    /// The manifest contradicts itself, or a shard that matches its digest does not have the rows that the manifest states.
    #[error("`{path}` {why}: check the package with `kt-export verify --rows`")]
    Contents {
        /// Name in the package.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Reading a shard failed.
    #[error("cannot read rows of `{path}`")]
    Read {
        /// Name in the package.
        path: String,
        /// The underlying error.
        source: io::Error,
    },
    /// Writing the sample failed.
    #[error("cannot write the sample")]
    Write(#[source] io::Error),
}

impl SampleError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Package(error) => error.exit(),
            Self::File(error) => error.exit(),
            Self::Contents { .. } => Exit::VerifyFailed,
            // The arguments cannot work: another size, package or key is needed.
            Self::TooManyRows { .. } | Self::Pruned { .. } | Self::MissingKey { .. } | Self::WrongKey { .. } => {
                Exit::Usage
            }
            Self::Read { source, .. } if StoreError::below(source).is_some_and(|e| e.code().is_retryable()) => {
                Exit::TryLater
            }
            Self::Read { .. } | Self::Write(_) => Exit::Failed,
        }
    }
}

/// Draws `rows` rows, or all if there are fewer, and passes them to `emit` in row order. The rows of a shard follow only after
/// its digest has been verified.
///
/// # Errors
/// [`SampleError`]. Rows passed to `emit` before the error are valid.
pub fn sample(
    package: &Package,
    rows: u64,
    seed: u64,
    keys: &ReadKeys,
    mut emit: impl FnMut(SampledRow) -> io::Result<()>,
) -> Result<SampleSummary, SampleError> {
    if rows > MAX_SAMPLE_ROWS {
        return Err(SampleError::TooManyRows { rows });
    }
    package.check_sums()?;
    if let Some(tombstone) = package.tombstone()? {
        return Err(SampleError::Pruned { at: package.at(), pruned_at: tombstone.pruned_at });
    }
    let shards = package.shards()?;
    let population = package.manifest.total_rows;
    let shard_rows: u128 = shards.iter().map(|shard| u128::from(shard.rows)).sum();
    if shard_rows != u128::from(population) {
        let why = format!("states {population} rows in total, but its shards have {shard_rows}");
        return Err(SampleError::Contents { path: MANIFEST.to_owned(), why });
    }
    let drawn = draw(&package.manifest_sha256, seed, rows, population);
    let mut files_read = 0;
    // Row numbers are 0-based here; `SampledRow` is 1-based.
    let mut first_row = 0_u64;
    for shard in &shards {
        let end_row = first_row + shard.rows;
        let drawn = drawn.range(first_row..end_row);
        let wanted: Vec<u64> = drawn.clone().map(|(row, _)| row - first_row).collect();
        if !wanted.is_empty() {
            files_read += 1;
            let rows = read_rows(package, shard, &wanted, keys)?;
            for ((&row, &draw), values) in drawn.zip(rows) {
                let file_row = row - first_row + 1;
                let sampled = SampledRow { row: row + 1, file: shard.path.to_owned(), file_row, draw, values };
                emit(sampled).map_err(SampleError::Write)?;
            }
        }
        first_row = end_row;
    }
    Ok(SampleSummary {
        version: SAMPLE_VERSION,
        package: package.at(),
        job_id: package.manifest.id.clone(),
        status: package.manifest.status,
        manifest_sha256: package.manifest_sha256.clone(),
        seed,
        population,
        files: shards.len(),
        files_read,
    })
}

/// Verifies the digest of a shard, then reads the rows `wanted` (0-based, ascending). Returns exactly one value per row.
fn read_rows(
    package: &Package,
    shard: &PackageFile<'_>,
    wanted: &[u64],
    keys: &ReadKeys,
) -> Result<Vec<Box<RawValue>>, SampleError> {
    let path = || shard.path.to_owned();
    let is_parquet_encrypted = matches!(package.manifest.encryption, Some(EncryptionRecord::Parquet { .. }));
    let lacks_parquet_key = is_parquet_encrypted && keys.parquet.is_none();
    let lacks_age_key = shard.path.ends_with(AGE_EXTENSION) && keys.identities.is_empty();
    if lacks_age_key || lacks_parquet_key {
        return Err(SampleError::MissingKey { path: path() });
    }
    // The reader fails at the end of the file if the digest is wrong. It is never stopped: a sample leaves nothing to clean
    // up, so a signal just ends the process.
    let mut verifying_reader = package.checked(*shard, &Stop::default())?;
    io::copy(&mut verifying_reader, &mut io::sink()).map_err(|error| match FileError::downcast(error) {
        Ok(error) => SampleError::File(error),
        Err(source) => SampleError::Read { path: path(), source },
    })?;
    let found = match package.manifest.export_format {
        ExportFormat::Parquet => parquet::rows(read::plain_file(package, shard, keys)?, wanted, keys.parquet.as_ref()),
        ExportFormat::Csv => read::csv(read::open_rows(package, shard, keys)?, wanted, &package.manifest),
        ExportFormat::Ndjson => read::ndjson(read::open_rows(package, shard, keys)?, wanted),
        ExportFormat::Json => read::json(read::open_rows(package, shard, keys)?, wanted),
    };
    let found = found.map_err(|error| match error {
        RowError::Contents(why) => SampleError::Contents { path: path(), why },
        RowError::Read(source) => SampleError::Read { path: path(), source },
    })?;
    // Readers stop at the end of the shard, so a missing row is the first beyond `found`.
    if let Some(missing) = wanted.get(found.len()) {
        let why = format!("has no row {}, though the manifest says {} rows", missing + 1, shard.rows);
        return Err(SampleError::Contents { path: path(), why });
    }
    Ok(found)
}

/// Why a row reader failed.
#[derive(Debug, thiserror::Error)]
enum RowError {
    /// The shard does not match its format.
    #[error("{0}")]
    Contents(String),
    /// I/O error of the disk or store.
    #[error(transparent)]
    Read(#[from] io::Error),
}

#[cfg(test)]
mod tests;
