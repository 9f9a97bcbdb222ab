//! Reads the bytes of one file: our own readers for row formats, the `parquet` and `arrow` crates' for columnar ones.
//!
//! Which reader a file needs is decided here and nowhere else.

pub(crate) mod columnar;
pub(crate) mod rows;

use arrow::datatypes::SchemaRef;

use self::columnar::{arrow as ipc, parquet};
use self::rows::infer;
use self::rows::inspect::{InspectionSteps, StepResults, in_one_step};
use self::rows::{BLOCK_BYTES, csv, json, ndjson};
use super::{ChunkReader, InspectRequest, Inspection, OneChunk, SourceError, SourceFile, Within};
use crate::job::{OnBad, SourceFormat};

/// How to read one file.
#[derive(Debug, Clone)]
pub(crate) struct FileRequest {
    /// The file.
    pub file: SourceFile,
    /// As in [`ReadRequest`](super::ReadRequest).
    pub schema: SchemaRef,
    /// Units to read, ascending. Row formats have only unit 0.
    pub units: Vec<u32>,
    /// `Fail`: the first unreadable row ends the reading.
    pub on_bad_rows: OnBad,
    /// JSON: dotted path of the array inside each document.
    pub records: Option<String>,
    /// The rows to return; `None` means all.
    pub within: Option<Within>,
}

/// Prepares the inspection of a file: the footer of Parquet, every row of other formats. A file that cannot be read to its
/// end has a [`problem`](super::InputFacts::problem). `records` is the dotted path of the array inside each JSON document.
pub(crate) fn inspect<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    records: Option<&'a str>,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    let InspectRequest { time_column, time_parser } = request;
    match file.format {
        SourceFormat::Parquet => in_one_step(&file.name, move || {
            let found = parquet::inspect(file, time_column, time_parser)?;
            let evidence = infer::typed(&found.schema, &file.name);
            Ok(Inspection { evidence, facts: found.facts, undecodable: found.undecodable })
        }),
        SourceFormat::Arrow => in_one_step(&file.name, move || {
            let found = ipc::inspect(file, time_column, time_parser)?;
            let evidence = infer::typed(&found.schema, &file.name);
            Ok(Inspection { evidence, facts: found.facts, undecodable: Vec::new() })
        }),
        SourceFormat::Csv => csv::inspector(file, request, BLOCK_BYTES),
        SourceFormat::Ndjson => ndjson::inspector(file, request, BLOCK_BYTES),
        SourceFormat::Json => json::inspector(file, request, records, BLOCK_BYTES),
    }
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn open(request: FileRequest) -> Result<Box<dyn ChunkReader>, SourceError> {
    match request.file.format {
        SourceFormat::Parquet => parquet::open(request),
        SourceFormat::Arrow => Ok(Box::new(OneChunk(Some(ipc::open(request)?)))),
        SourceFormat::Csv => csv::open(request, BLOCK_BYTES),
        SourceFormat::Ndjson => ndjson::open(request, BLOCK_BYTES),
        SourceFormat::Json => json::open(request, BLOCK_BYTES),
    }
}
