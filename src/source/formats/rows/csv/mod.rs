//! CSV: RFC 4180, or the dialect that the spec describes.
//!
//! An empty cell is null; `""` is the empty string. Columns are matched by name, using each file's own header. A record
//! whose number of cells differs from the header is a bad row. Blank lines are skipped, except in a file of one column,
//! where a blank line is a null; without a header, those before the first row are skipped in any file.
//!
//! An uncompressed file without a final line end may have been truncated inside its last cell, which the format cannot
//! reveal. Its last line is a bad row, unless the dialect says otherwise. Under a compression, the codec marks the end, so
//! the last line is read.

mod ends;
mod header;
mod syntax;
mod tokenize;

use std::sync::Arc;

use ends::RecordEnds;
use syntax::Syntax;
use tokenize::{Layout, Tokenizer};

use crate::job::{CsvDialect, Header, LastLine};
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::{Blocks, CutBlocks};
use crate::source::formats::rows::cells::{self, RecordTable, RowRules};
use crate::source::formats::rows::decode::Buffer;
use crate::source::formats::rows::inspect::{InspectionSteps, StepResults};
use crate::source::{ChunkReader, InspectRequest, SourceError, SourceFile};

/// Reads every row of a file for its evidence, in bounded memory.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    dialect: &'a CsvDialect,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    cells::inspector(file, request, move || {
        let (table, line) = open_table(file, dialect, block_bytes)?;
        header::check_delimiter(&table.columns, line, file, dialect, request.time_column)?;
        Ok(table)
    })
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened, its header is invalid, or the schema has a type that CSV
/// cannot supply.
pub(crate) fn open(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    let (table, _) = open_table(&request.file, &request.text.csv, block_bytes)?;
    cells::chunks(table, request)
}

/// The records of a file, and the line of its header.
fn open_table(
    file: &SourceFile,
    dialect: &CsvDialect,
    block_bytes: usize,
) -> Result<(RecordTable<CsvBlocks>, u64), SourceError> {
    let syntax = Arc::new(Syntax::new(dialect, &file.name));
    let mut buffer = Buffer::open_encoded(file, dialect.encoding, block_bytes)?;
    header::skip_lines(&mut buffer, dialect.skip_lines)?;
    let mut blocks = Blocks::after_lines(buffer, dialect.skip_lines, RecordEnds::new(syntax.clone()), block_bytes);
    let mut layout = Layout {
        name: file.name.as_str().into(),
        syntax,
        proves_end: blocks.proves_end() || dialect.last_line == LastLine::Any,
        skip_blank: true,
        header_line: None,
    };
    let header::Found { names: columns, line, mut first } = header::find(file, dialect, &mut blocks, &mut layout)?;
    // In a file of one column, a blank line is a null.
    layout.skip_blank = columns.len() > 1;
    if let Some(tokens) = &mut first {
        tokens.set_layout(layout.clone());
    }
    let rules = RowRules {
        columns: columns.len(),
        columns_source: match &dialect.header {
            Header::FirstLine | Header::LinePrefix(_) => "as in the header",
            Header::Names(_) => "as in `source.csv.header`",
            Header::None => "as in the first row",
        },
        short_rows: dialect.short_rows,
        encoding: blocks.encoding(),
        null_text: dialect.null_text.clone(),
        escape: dialect.escape.or(dialect.quote),
    };
    let blocks = CsvBlocks { layout, first, blocks };
    Ok((RecordTable { columns: columns.into(), rules: Arc::new(rules), blocks }, line))
}

/// The blocks of a file's rows.
struct CsvBlocks {
    layout: Layout,
    /// The block that contains the header, or the first row.
    first: Option<Tokenizer>,
    blocks: Blocks<RecordEnds>,
}

impl CutBlocks for CsvBlocks {
    type Block = Tokenizer;

    fn next_block(&mut self) -> Result<Option<Tokenizer>, SourceError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let block = self.blocks.next_block()?;
        Ok(block.map(|block| Tokenizer::new(block, self.layout.clone())))
    }
}

#[cfg(test)]
mod tests;
