//! NDJSON: one JSON object per line (ndjson.org, jsonlines.org).
//!
//! Lines end with LF or CRLF. The last line may end with the file, because an object marks its own end. A byte order mark
//! and blank lines are skipped. An unreadable line does not affect the lines after it.

use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::{Block, Blocks, CutBlocks, LineEnds};
use crate::source::formats::rows::inspect::{self, InspectionSteps, StepResults};
use crate::source::formats::rows::json_text::Fault;
use crate::source::formats::rows::reader::{self, JsonRowInspector, RawRow, RowBlock};
use crate::source::{ChunkReader, SourceError, SourceFile};

/// Inspects every row of a file, in bounded memory.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    inspect::block_steps(file, move || Ok((Lines::open(file, block_bytes)?, JsonRowInspector::new(file, request))))
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema has a type that JSON cannot supply.
pub(crate) fn open(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    reader::json_chunks(Lines::open(&request.file, block_bytes)?, request)
}

/// A file as blocks of lines.
struct Lines(Blocks<LineEnds>);

impl Lines {
    fn open(file: &SourceFile, block_bytes: usize) -> Result<Self, SourceError> {
        Blocks::open(file, LineEnds::default(), block_bytes).map(Self)
    }
}

impl CutBlocks for Lines {
    type Block = LineBlock;

    fn next_block(&mut self) -> Result<Option<LineBlock>, SourceError> {
        Ok(self.0.next_block()?.map(|block| LineBlock { line: block.line, at: 0, block }))
    }
}

/// Cuts a block into lines.
struct LineBlock {
    block: Block,
    /// Number of the next line, and its offset in the block.
    line: u64,
    at: usize,
}

impl RowBlock for LineBlock {
    fn next_row(&mut self) -> Option<RawRow<'_>> {
        loop {
            let rest = self.block.data().get(self.at..).filter(|rest| !rest.is_empty())?;
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..len).unwrap_or_default();
            let position = self.line;
            self.line += 1;
            self.at += len + 1;
            if !line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
                return Some(RawRow { position, bytes: line.strip_suffix(b"\r").unwrap_or(line) });
            }
        }
    }

    fn rewind(&mut self) {
        (self.line, self.at) = (self.block.line, 0);
    }

    fn fatal_error(&self, _: &Fault) -> Option<SourceError> {
        None
    }
}
