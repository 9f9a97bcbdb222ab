//! One door to the readers: which one a file needs is decided here and nowhere else.

use super::columnar::{arrow, parquet};
use super::files::hive;
use super::rows::infer::{self, InspectRequest, TableEvidence};
use super::rows::{csv, json, ndjson};
use super::{ChunkReader, FileFacts, ReadRequest, SourceError, SourceFile, WholeFile};
use crate::job::SourceFormat;
use crate::time::TimeParser;

/// What one look at a file of any format tells.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Its columns.
    pub evidence: TableEvidence,
    /// Its rows and times.
    pub facts: FileFacts,
}

/// Looks at a file once: Parquet's footer, every row of the others.
///
/// # Errors
/// [`SourceError`] where nothing at all can be told of the file; a file that breaks later tells so in [`FileFacts::problem`].
pub fn inspect(
    file: &SourceFile,
    time_column: &str,
    times: &TimeParser,
    records: Option<&str>,
) -> Result<Inspection, SourceError> {
    let request = InspectRequest { time_column, times, records };
    let rows = match file.format {
        SourceFormat::Parquet => {
            let found = parquet::inspect(file, time_column, times)?;
            return Ok(Inspection { evidence: infer::typed(&found.schema, &file.name), facts: found.facts });
        }
        SourceFormat::Arrow => {
            let found = arrow::inspect(file, time_column, times)?;
            return Ok(Inspection { evidence: infer::typed(&found.schema, &file.name), facts: found.facts });
        }
        SourceFormat::Csv => csv::inspect(file, &request),
        SourceFormat::Ndjson => ndjson::inspect(file, &request),
        SourceFormat::Json => json::inspect(file, &request),
    };
    Ok(Inspection { evidence: rows.evidence, facts: rows.facts })
}

/// Opens a file of any format; columns named in `hive_keys` come from its folders.
///
/// # Errors
/// [`SourceError`].
pub fn open(request: ReadRequest, hive_keys: &[String]) -> Result<Box<dyn ChunkReader>, SourceError> {
    hive::open(request, hive_keys, |request| match request.file.format {
        SourceFormat::Parquet => parquet::open(request),
        SourceFormat::Arrow => arrow::open(request).map(WholeFile::new),
        SourceFormat::Csv => csv::open(request).map(WholeFile::new),
        SourceFormat::Ndjson => ndjson::open(request).map(WholeFile::new),
        SourceFormat::Json => json::open(request).map(WholeFile::new),
    })
}
