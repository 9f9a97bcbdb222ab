//! NDJSON: one JSON object per line (ndjson.org, jsonlines.org).
//!
//! Lines end with LF or CRLF. The last line may end with the file, because an object marks its own end. A byte order mark
//! and blank lines are skipped. An unreadable line does not affect the lines after it.
//!
//! With `records`, each line is a document with rows. A line that is no such document is one bad row, and gives no others. The
//! position of a row is its line.

use std::ops::Range;
use std::sync::Arc;

use crate::job::Envelope;
use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::{Block, Blocks, CutBlocks, LineEnds};
use crate::source::formats::rows::envelope::{self, ElementChecks, EnvelopeFault, Expansion, SkippedKeys};
use crate::source::formats::rows::inspect::{self, InspectionSteps, StepResults};
use crate::source::formats::rows::json_text::{self, Fault};
use crate::source::formats::rows::reader::{self, JsonRowInspector, RawRow, RowBlock};
use crate::source::{ChunkReader, SourceError, SourceFile};

/// Inspects every row of a file, in bounded memory.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    envelope: Option<&'a Arc<Envelope>>,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    inspect::block_steps(file, move || {
        let lines = Lines::open(file, envelope, block_bytes)?;
        Ok((lines, JsonRowInspector::new(file, request)))
    })
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema has a type that JSON cannot supply.
pub(crate) fn open(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    reader::json_chunks(Lines::open(&request.file, request.text.envelope.as_ref(), block_bytes)?, request)
}

/// A file as blocks of lines.
struct Lines {
    blocks: Blocks<LineEnds>,
    envelope: Option<Arc<Envelope>>,
}

impl Lines {
    fn open(file: &SourceFile, envelope: Option<&Arc<Envelope>>, block_bytes: usize) -> Result<Self, SourceError> {
        let blocks = Blocks::open(file, LineEnds::default(), block_bytes)?;
        Ok(Self { blocks, envelope: envelope.cloned() })
    }
}

impl CutBlocks for Lines {
    type Block = LineBlock;

    fn next_block(&mut self) -> Result<Option<LineBlock>, SourceError> {
        let Some(block) = self.blocks.next_block()? else { return Ok(None) };
        let documents = self.envelope.clone().map(LineDocuments::new);
        Ok(Some(LineBlock { line: block.line, at: 0, block, documents }))
    }
}

/// Cuts a block into lines, and lines into rows.
struct LineBlock {
    block: Block,
    /// Number of the next line, and its offset in the block.
    line: u64,
    at: usize,
    /// There if lines are documents with rows.
    documents: Option<LineDocuments>,
}

impl LineBlock {
    /// The number and the place of the next line that is not blank.
    fn next_line(&mut self) -> Option<(u64, Range<usize>)> {
        loop {
            let start = self.at;
            let rest = self.block.data().get(start..).filter(|rest| !rest.is_empty())?;
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..len).unwrap_or_default();
            let number = self.line;
            self.line += 1;
            self.at += len + 1;
            if !line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
                let len = line.strip_suffix(b"\r").unwrap_or(line).len();
                return Some((number, start..start + len));
            }
        }
    }
}

/// Lines that are documents with rows.
struct LineDocuments {
    envelope: Arc<Envelope>,
    /// The line whose rows are being cut.
    current: Option<LineDocument>,
    /// Keys around the rows.
    skipped: SkippedKeys,
    /// The row that was given last.
    row: String,
}

/// A line whose rows are being cut.
struct LineDocument {
    number: u64,
    /// Its place in the block.
    place: Range<usize>,
    rows: Expansion,
    /// A scope, and the fields that its rows keep.
    kept: Option<(usize, String)>,
}

/// A row that was cut out of a line.
struct CutRow {
    line: u64,
    /// Its place in the block.
    place: Range<usize>,
    /// What the line is, if it is no document with rows.
    fault: Option<Fault>,
}

impl LineDocuments {
    fn new(envelope: Arc<Envelope>) -> Self {
        Self { envelope, current: None, skipped: SkippedKeys::default(), row: String::new() }
    }

    /// Begins with a line. If it is no document with rows, it is one bad row.
    fn begin(&mut self, number: u64, place: Range<usize>, block: &[u8]) -> Option<CutRow> {
        let line = block.get(place.clone()).unwrap_or_default();
        let rows = reader::utf8(line)
            .map_err(EnvelopeFault::Json)
            .and_then(|text| envelope::expand(&self.envelope, text, ElementChecks::Now, &mut self.skipped));
        let fault = match rows {
            Ok(rows) => {
                self.current = Some(LineDocument { number, place, rows, kept: None });
                return None;
            }
            Err(EnvelopeFault::Json(fault)) => fault,
            Err(EnvelopeFault::Path(why)) => Fault::Content(format!("the line {why}")),
        };
        Some(CutRow { line: number, place, fault: Some(fault) })
    }

    /// Cuts the next row out of the current line.
    fn cut(&mut self, block: &[u8]) -> Option<CutRow> {
        let current = self.current.as_mut()?;
        let line = block.get(current.place.clone()).unwrap_or_default();
        let element = match current.rows.next_element(line) {
            Ok(Some(element)) => element,
            Ok(None) => {
                self.current = None;
                return None;
            }
            Err(fault) => {
                let (line, place) = (current.number, current.place.clone());
                self.current = None;
                return Some(CutRow { line, place, fault: Some(fault) });
            }
        };
        let keep = &self.envelope.keep;
        if !keep.is_empty() && current.kept.as_ref().is_none_or(|(scope, _)| *scope != element.scope) {
            let mut fields = String::new();
            current.rows.kept_fields(element.scope, keep, line, &mut fields);
            current.kept = Some((element.scope, fields));
        }
        let start = current.place.start;
        let place = start + element.place.start..start + element.place.end;
        Some(CutRow { line: current.number, place, fault: None })
    }

    /// The row to read for an element of the current line; `None` if that is the element itself.
    fn row(&mut self, element: &[u8]) -> Option<Result<&str, Fault>> {
        let (_, fields) = self.current.as_ref()?.kept.as_ref()?;
        envelope::keep_in_row(&self.envelope.keep, fields, element, &mut self.row)
    }
}

/// The fault of a line that is an array, where each should be an object.
fn array_line(line: &[u8]) -> Option<Fault> {
    let is_array = line.trim_ascii_start().starts_with(b"[") && reader::utf8(line).and_then(json_text::check).is_ok();
    is_array.then(|| {
        Fault::Content(
            "the line is an array, not a JSON object; set `source.format: json` if its elements are rows".into(),
        )
    })
}

impl LineBlock {
    /// Cuts the next row out of the documents.
    fn cut_row(&mut self) -> Option<CutRow> {
        loop {
            let documents = self.documents.as_mut()?;
            if let Some(row) = documents.cut(self.block.data()) {
                return Some(row);
            }
            let (number, place) = self.next_line()?;
            let documents = self.documents.as_mut()?;
            if let Some(bad) = documents.begin(number, place, self.block.data()) {
                return Some(bad);
            }
        }
    }
}

impl RowBlock for LineBlock {
    fn next_row(&mut self) -> Option<RawRow<'_>> {
        if self.documents.is_none() {
            let (position, place) = self.next_line()?;
            let bytes = self.block.data().get(place)?;
            return Some(RawRow { position, bytes, expanded: array_line(bytes).map(Err) });
        }
        let CutRow { line: position, place, fault } = self.cut_row()?;
        let bytes = self.block.data().get(place)?;
        let expanded = match fault {
            Some(fault) => Some(Err(fault)),
            None => self.documents.as_mut().and_then(|documents| documents.row(bytes)),
        };
        Some(RawRow { position, bytes, expanded })
    }

    fn rewind(&mut self) {
        (self.line, self.at) = (self.block.line, 0);
        if let Some(documents) = &mut self.documents {
            documents.current = None;
        }
    }

    fn fatal_error(&self, _: &Fault) -> Option<SourceError> {
        None
    }

    fn skipped_keys(&self) -> Option<&SkippedKeys> {
        self.documents.as_ref().map(|documents| &documents.skipped)
    }
}
