//! NDJSON: one JSON object a line (ndjson.org, jsonlines.org).
//!
//! Lines end with LF or CRLF; the last may end with the file, because an object says itself where it ends. A byte
//! order mark is skipped, and so are blank lines. A line that cannot be read does not hide the next one.

use crate::source::rows::blocks::{Block, Blocks, Cut, LineEnds};
use crate::source::rows::infer::InspectRequest;
use crate::source::rows::inspect::{self, Findings, Pieces};
use crate::source::rows::json_text::Fault;
use crate::source::rows::reader::{self, RawRow, RowBlock, RowsSeen};
use crate::source::{ChunkReader, ReadRequest, SourceError, SourceFile};

/// Reads every row of a file for its evidence, in bounded memory.
pub fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    block_bytes: usize,
) -> (Box<dyn Pieces<'a> + 'a>, Findings<'a>) {
    inspect::inspector(file, move || Ok((Lines::open(file, block_bytes)?, RowsSeen::new(file, request))))
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema asks for a type that JSON does not give.
pub fn open(request: ReadRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    reader::json_chunks(Lines::open(&request.file, block_bytes)?, request)
}

/// A file as blocks of lines.
struct Lines(Blocks<LineEnds>);

impl Lines {
    fn open(file: &SourceFile, block_bytes: usize) -> Result<Self, SourceError> {
        Blocks::open(file, LineEnds::default(), block_bytes).map(Self)
    }
}

impl Cut for Lines {
    type Block = LineBlock;

    fn next_block(&mut self) -> Result<Option<LineBlock>, SourceError> {
        Ok(self.0.next_block()?.map(|block| LineBlock { line: block.line, at: 0, block }))
    }
}

/// Cuts a block into lines.
struct LineBlock {
    block: Block,
    /// The line that comes, and where it starts.
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

    fn broken(&self, _: &Fault) -> Option<SourceError> {
        None
    }
}
