//! Reads the bytes of one file: our own readers for row formats, the `parquet` and `arrow` crates' for columnar ones.
//!
//! Which reader a file needs is decided here and nowhere else.

pub(crate) mod columnar;
pub(crate) mod content;
pub(crate) mod rows;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::columnar::{arrow as ipc, avro, parquet};
use self::rows::infer;
use self::rows::inspect::{InspectionSteps, StepResults, in_one_step};
use self::rows::{BLOCK_BYTES, csv, json, lines, ndjson};
use super::{ChunkReader, InspectRequest, Inspection, OneChunk, SourceError, SourceFile, Within};
use crate::error::ErrorCode;
use crate::job::{CsvDialect, Envelope, LinePattern, OnBad, SourceFormat, SourceSettings};

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
    /// What the text in row formats looks like.
    pub text: Arc<TextSettings>,
    /// The rows to return; `None` means all.
    pub within: Option<Within>,
}

/// What the spec says of the text in row formats.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextSettings {
    /// JSON and NDJSON: where the rows are in documents, and what is around them.
    pub envelope: Option<Arc<Envelope>>,
    /// Dialect of CSV files.
    pub csv: CsvDialect,
    /// What the lines of [`SourceFormat::Lines`] look like.
    pub lines: Option<LinePattern>,
}

impl TextSettings {
    /// Those of a source.
    pub(crate) fn new(source: &SourceSettings) -> Self {
        Self {
            envelope: source
                .records
                .as_ref()
                .map(|records| Arc::new(Envelope { records: records.value.clone(), keep: source.keep.clone().into() })),
            lines: source.lines.as_ref().map(|pattern| pattern.value.clone()),
            csv: source.csv.as_ref().map(|dialect| dialect.value.clone()).unwrap_or_default(),
        }
    }
}

/// Prepares the inspection of a file: the footer of Parquet, every row of other formats. A file that cannot be read to its
/// end has a [`problem`](super::InputFacts::problem).
pub(crate) fn inspect<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    text: &'a TextSettings,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    let InspectRequest { time_column, time_parser } = request;
    match file.format {
        SourceFormat::Parquet => in_one_step(&file.name, move || {
            let found = parquet::inspect(file, time_column, time_parser)?;
            let evidence = infer::typed(&found.schema, &file.name);
            Ok(Inspection { evidence, facts: found.facts, undecodable: found.undecodable })
        }),
        SourceFormat::Arrow | SourceFormat::Avro => in_one_step(&file.name, move || {
            let inspect = if file.format == SourceFormat::Avro { avro::inspect } else { ipc::inspect };
            let found = inspect(file, time_column, time_parser)?;
            let evidence = infer::typed(&found.schema, &file.name);
            Ok(Inspection { evidence, facts: found.facts, undecodable: Vec::new() })
        }),
        SourceFormat::Csv => csv::inspector(file, request, &text.csv, BLOCK_BYTES),
        SourceFormat::Lines => match &text.lines {
            Some(pattern) => lines::inspector(file, request, pattern, BLOCK_BYTES),
            None => in_one_step(&file.name, || Err(no_pattern(file))),
        },
        SourceFormat::Ndjson => ndjson::inspector(file, request, text.envelope.as_ref(), BLOCK_BYTES),
        SourceFormat::Json => json::inspector(file, request, text.envelope.as_ref(), BLOCK_BYTES),
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
        SourceFormat::Avro => Ok(Box::new(OneChunk(Some(avro::open(request)?)))),
        SourceFormat::Csv => csv::open(request, BLOCK_BYTES),
        SourceFormat::Lines => match &request.text.lines.clone() {
            Some(pattern) => lines::open(request, pattern, BLOCK_BYTES),
            None => Err(no_pattern(&request.file)),
        },
        SourceFormat::Ndjson => ndjson::open(request, BLOCK_BYTES),
        SourceFormat::Json => json::open(request, BLOCK_BYTES),
    }
}

/// Resolving a spec demands a pattern with this format.
fn no_pattern(file: &SourceFile) -> SourceError {
    SourceError {
        name: file.name.clone(),
        position: None,
        code: ErrorCode::Internal,
        message: "is read as lines without a pattern; this is a bug in kt-export".to_owned(),
    }
}
