//! Lines of text that a regular expression cuts into columns: access logs, syslog.
//!
//! Each named group of the expression is a column; a group that took no part in the match is null. Lines end with LF or
//! CRLF. A byte order mark and blank lines are skipped. A line that does not match is a bad row, and so is a last line
//! without a line end, which may be truncated; under a compression, the codec marks the end.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::job::{LineMatcher, LinePattern, ShortRows};
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::{Block, Blocks, CutBlocks, LineEnds};
use crate::source::formats::rows::cells::{self, Cell, Record, RecordBlock, RecordTable, RowRules};
use crate::source::formats::rows::inspect::{InspectionSteps, StepResults};
use crate::source::{ChunkReader, InspectRequest, SourceError, SourceFile};

/// Reads every line of a file for its evidence, in bounded memory.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    pattern: &'a LinePattern,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    cells::inspector(file, request, move || open_table(file, pattern, block_bytes))
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened or the schema has a type that text cannot supply.
pub(crate) fn open(
    request: FileRequest,
    pattern: &LinePattern,
    block_bytes: usize,
) -> Result<Box<dyn ChunkReader>, SourceError> {
    let table = open_table(&request.file, pattern, block_bytes)?;
    cells::chunks(table, request)
}

fn open_table(
    file: &SourceFile,
    pattern: &LinePattern,
    block_bytes: usize,
) -> Result<RecordTable<LineBlocks>, SourceError> {
    let blocks = Blocks::open(file, LineEnds::default(), block_bytes)?;
    let rules = RowRules {
        columns: pattern.columns().len(),
        columns_source: "as in `source.lines.pattern`",
        short_rows: ShortRows::Fail,
        encoding: blocks.encoding(),
        null_text: Vec::new(),
        escape: None,
    };
    let columns = pattern.columns().clone();
    Ok(RecordTable { columns, rules: Arc::new(rules), blocks: LineBlocks { blocks, pattern: pattern.clone() } })
}

/// The lines of a file, in blocks.
struct LineBlocks {
    blocks: Blocks<LineEnds>,
    pattern: LinePattern,
}

impl CutBlocks for LineBlocks {
    type Block = LineBlock;

    fn next_block(&mut self) -> Result<Option<LineBlock>, SourceError> {
        let proves_end = self.blocks.proves_end();
        let Some(block) = self.blocks.next_block()? else { return Ok(None) };
        Ok(Some(LineBlock {
            at: 0,
            line: block.line,
            block,
            proves_end,
            matcher: self.pattern.matcher(),
            cells: Vec::new(),
        }))
    }
}

/// Cuts a block into lines, and lines into columns.
struct LineBlock {
    block: Block,
    /// Offset and number of the next line.
    at: usize,
    line: u64,
    proves_end: bool,
    matcher: LineMatcher,
    cells: Vec<Cell>,
}

impl RecordBlock for LineBlock {
    fn next_record(&mut self) -> Result<Option<Record<'_>>, SourceError> {
        loop {
            let Some(rest) = self.block.data().get(self.at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, bytes) = (self.line, rest.get(..len).unwrap_or_default());
            let is_whole = len < rest.len() || self.proves_end;
            self.line += 1;
            self.at += len + 1;
            if bytes.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
                continue;
            }
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let fault: Option<Cow<'static, str>> = match cells::text(bytes, encoding_rs::UTF_8) {
                _ if !is_whole => Some(
                    "the file ends without a line end, so its last line may be truncated; if it is complete, append one".into(),
                ),
                Err(fault) => Some(fault.to_string().into()),
                Ok(text) => {
                    let is_match = match_cells(&mut self.matcher, text, &mut self.cells);
                    (!is_match).then(|| "the line does not match `source.lines.pattern`".into())
                }
            };
            return Ok(Some(Record { line, bytes, cells: &self.cells, fault }));
        }
    }
}

/// Whether a line matches, and its columns.
fn match_cells(matcher: &mut LineMatcher, line: &str, cells: &mut Vec<Cell>) -> bool {
    cells.clear();
    let Some(columns) = matcher.columns(line) else { return false };
    cells.extend(columns.map(|column| match column {
        // What matched is text, even if it is empty.
        Some(Range { start, end }) => Cell { start, end, quoted: true, has_escapes: false },
        None => Cell { start: 0, end: 0, quoted: false, has_escapes: false },
    }));
    true
}

#[cfg(test)]
mod tests;
