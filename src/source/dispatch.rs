//! One door to the readers: which one a file needs is decided here and nowhere else.

use super::columnar::{arrow, parquet};
use super::files::hive;
use super::rows::infer::{self, InspectRequest, TableEvidence};
use super::rows::inspect::{Findings, Pieces, in_one_piece};
use super::rows::{BLOCK_BYTES, csv, json, ndjson};
use super::{ChunkReader, FileFacts, ReadRequest, SourceError, SourceFile, Undecodable, WholeFile};
use crate::job::SourceFormat;

/// What one look at a file of any format tells.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Its columns.
    pub evidence: TableEvidence,
    /// Its rows and times.
    pub facts: FileFacts,
    /// What of it cannot be decoded.
    pub undecodable: Vec<Undecodable>,
}

/// Looks at a file once: Parquet's footer, every row of the others. Pieces are looked at on any thread, and each tells
/// something to add to the findings. A file that breaks before its end tells so in [`FileFacts::problem`].
pub fn inspector<'a>(file: &'a SourceFile, request: InspectRequest<'a>) -> (Box<dyn Pieces<'a> + 'a>, Findings<'a>) {
    let InspectRequest { time_column, times, .. } = request;
    match file.format {
        SourceFormat::Parquet => in_one_piece(file, move || {
            let found = parquet::inspect(file, time_column, times)?;
            let evidence = infer::typed(&found.schema, &file.name);
            Ok(Inspection { evidence, facts: found.facts, undecodable: found.undecodable })
        }),
        SourceFormat::Arrow => in_one_piece(file, move || {
            let found = arrow::inspect(file, time_column, times)?;
            let evidence = infer::typed(&found.schema, &file.name);
            Ok(Inspection { evidence, facts: found.facts, undecodable: Vec::new() })
        }),
        SourceFormat::Csv => csv::inspector(file, request, BLOCK_BYTES),
        SourceFormat::Ndjson => ndjson::inspector(file, request, BLOCK_BYTES),
        SourceFormat::Json => json::inspector(file, request, BLOCK_BYTES),
    }
}

/// Opens a file of any format; columns named in `hive_keys` come from its folders.
///
/// # Errors
/// [`SourceError`].
pub fn open(request: ReadRequest, hive_keys: &[String]) -> Result<Box<dyn ChunkReader>, SourceError> {
    hive::open(request, hive_keys, |request| match request.file.format {
        SourceFormat::Parquet => parquet::open(request),
        SourceFormat::Arrow => Ok(Box::new(WholeFile(Some(arrow::open(request)?)))),
        SourceFormat::Csv => csv::open(request, BLOCK_BYTES),
        SourceFormat::Ndjson => ndjson::open(request, BLOCK_BYTES),
        SourceFormat::Json => json::open(request, BLOCK_BYTES),
    })
}
