//! A seeded, reproducible sample of rows, each with its position.
//!
//! Which rows are drawn follows from the manifest's digest, the seed and the number of rows alone (`drawing`), so that an
//! auditor can check the drawing with a pocket calculator for SHA-256. Only shards that hold drawn rows are read; each of
//! them is compared with its digest before a row of it is shown. Shards are streamed, and of Parquet only row groups with
//! drawn rows are decoded.

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
use crate::package::{FileError, Listed, Package, PackageError, ReadKeys};
use crate::seal::{AGE_EXTENSION, OpenError};
use crate::stop::Stop;
use crate::store::StoreError;

pub use drawing::draw;

/// Version of the JSON object.
pub const SAMPLE_VERSION: u32 = 1;

/// Maximum number of sampled rows: the sample is held in memory, and more is not practical to check by hand.
pub const MAX_ROWS: u64 = 100_000;

/// A row and where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct SampledRow {
    /// Its number among all rows of the package, shards in the order of the manifest, from 1.
    pub row: u64,
    /// Its shard.
    pub file: String,
    /// Its number in the shard, from 1; a header does not count.
    pub file_row: u64,
    /// Which draw gave it, from 1; null where all rows were taken.
    pub draw: Option<u64>,
    /// By column: cells of CSV as text, JSON as it is, Parquet as it would be in NDJSON.
    pub values: Box<RawValue>,
}

/// What was sampled.
#[derive(Debug, Clone, Serialize)]
pub struct Sampled {
    /// [`SAMPLE_VERSION`].
    pub version: u32,
    /// The package.
    pub package: String,
    /// Its job.
    pub job_id: String,
    /// How the job ended: rows of a package that is not complete are those that its shards have.
    pub status: JobStatus,
    /// What the drawing is bound to: lower-case hex SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// As given.
    pub seed: u64,
    /// Rows in shards.
    pub population: u64,
    /// Shards of the package.
    pub files: usize,
    /// Shards that were read.
    pub files_read: usize,
}

/// Why a sample cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The package's own record.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A shard.
    #[error(transparent)]
    File(#[from] FileError),
    /// Rows that are gone.
    #[error(
        "the shards of {at} were deleted at {pruned_at}, after their retention had ended: there are no rows to sample"
    )]
    Pruned {
        /// The package.
        at: String,
        /// When.
        pruned_at: jiff::Timestamp,
    },
    /// Rows that cannot be read without a key.
    #[error("`{path}` is encrypted: give the key with `--identity FILE`, or, of Parquet encryption, `--parquet-key`")]
    Encrypted {
        /// Name in the package.
        path: String,
    },
    /// A shard that the given keys do not open.
    #[error("`{path}` cannot be decrypted")]
    Locked {
        /// Name in the package.
        path: String,
        /// Why.
        source: OpenError,
    },
    /// A shard with the right digest and the wrong rows: the manifest is wrong.
    #[error("`{path}` {why}: check the package with `kt-export verify --rows`")]
    Contents {
        /// Name in the package.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The disk or the store, while rows are read.
    #[error("cannot read rows of `{path}`: try again")]
    Read {
        /// Name in the package.
        path: String,
        /// Its reason.
        source: io::Error,
    },
    /// The output of the rows.
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
            Self::Pruned { .. } | Self::Encrypted { .. } | Self::Locked { .. } => Exit::Usage,
            Self::Read { source, .. } if StoreError::below(source).is_some_and(|e| e.code().is_retryable()) => {
                Exit::TryLater
            }
            Self::Read { .. } | Self::Write(_) => Exit::Failed,
        }
    }
}

/// Draws `rows` rows and gives them in order of their numbers, those of a shard once the shard is known to be whole.
///
/// # Errors
/// [`SampleError`]. Rows that were given before stay true.
pub fn sample(
    package: &Package,
    rows: u64,
    seed: u64,
    keys: &ReadKeys,
    mut give: impl FnMut(SampledRow) -> io::Result<()>,
) -> Result<Sampled, SampleError> {
    package.check_sums()?;
    if let Some(tombstone) = package.tombstone()? {
        return Err(SampleError::Pruned { at: package.at(), pruned_at: tombstone.pruned_at });
    }
    let shards = package.shards()?;
    let (population, sum) =
        (package.manifest.total_rows, shards.iter().map(|shard| u128::from(shard.rows)).sum::<u128>());
    if sum != u128::from(population) {
        let why = format!("says {population} rows in all, but {sum} in its shards");
        return Err(SampleError::Contents { path: MANIFEST.to_owned(), why });
    }
    let mut drawn = draw(&package.manifest_sha256, seed, rows.min(MAX_ROWS), population);
    let mut files_read = 0;
    let mut before = 0_u64;
    for shard in &shards {
        let after = before + shard.rows;
        let later = drawn.split_off(&after);
        let wanted: Vec<u64> = drawn.keys().map(|row| row - before).collect();
        if !wanted.is_empty() {
            files_read += 1;
            let values = values(package, shard, &wanted, keys)?;
            for ((row, draw), values) in drawn.into_iter().zip(values) {
                let file_row = row - before + 1;
                let sampled = SampledRow { row: row + 1, file: shard.path.to_owned(), file_row, draw, values };
                give(sampled).map_err(SampleError::Write)?;
            }
        }
        (drawn, before) = (later, after);
    }
    Ok(Sampled {
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

/// The values of some rows of a shard, counted from 0 and ascending, after every byte of it was compared.
fn values(
    package: &Package,
    shard: &Listed<'_>,
    wanted: &[u64],
    keys: &ReadKeys,
) -> Result<Vec<Box<RawValue>>, SampleError> {
    let path = || shard.path.to_owned();
    let is_sealed = matches!(package.manifest.encryption, Some(EncryptionRecord::Parquet { .. }));
    let is_locked = shard.path.ends_with(AGE_EXTENSION) && keys.identities.is_empty();
    if is_locked || is_sealed && keys.parquet.is_none() {
        return Err(SampleError::Encrypted { path: path() });
    }
    let mut whole = package.checked(*shard, &Stop::default())?;
    io::copy(&mut whole, &mut io::sink()).map_err(|error| match FileError::inside(error) {
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
    match wanted.get(found.len()) {
        None => Ok(found),
        Some(row) => {
            let why = format!("has no row {}, though the manifest says {} rows", row + 1, shard.rows);
            Err(SampleError::Contents { path: path(), why })
        }
    }
}

/// What a reader of rows says.
#[derive(Debug, thiserror::Error)]
enum RowError {
    /// Not what the format says.
    #[error("{0}")]
    Contents(String),
    /// The disk or the store below.
    #[error(transparent)]
    Read(#[from] io::Error),
}

#[cfg(test)]
mod tests;
