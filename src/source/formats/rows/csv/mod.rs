//! CSV (RFC 4180): comma-separated cells below a header.
//!
//! An empty cell is null; `""` is the empty string. Columns are matched by name, using each file's own header. A record
//! whose number of cells differs from the header is a bad row. Blank lines are skipped, except in a file of one column,
//! where a blank line is a null.
//!
//! An uncompressed file without a final line end may have been truncated inside its last cell, which the format cannot
//! reveal. Its last line is a bad row. Under a compression, the codec marks the end, so the last line is read.

mod ends;
mod find;
mod tokenize;

use std::collections::HashSet;
use std::sync::Arc;

use ends::RecordEnds;
use tokenize::{Cell, Layout, Record, Tokenizer, cell_text};

use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::{Blocks, CutBlocks};
use crate::source::formats::rows::column::StructColumn;
use crate::source::formats::rows::decode::unreadable;
use crate::source::formats::rows::infer::Node;
use crate::source::formats::rows::inspect::{self, InspectBlock, InspectionSteps, Pass, RowFindings, StepResults};
use crate::source::formats::rows::json_text::Fault;
use crate::source::formats::rows::reader::{self, BatchBuilder, MAX_COLUMNS, RawRow, RowChunks};
use crate::source::formats::rows::window::OutsideTest;
use crate::source::{Batch, BatchReader, ChunkReader, SourceError, SourceFile};

/// Reads every row of a file for its evidence, in bounded memory.
pub(crate) fn inspector<'a>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    block_bytes: usize,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>) {
    inspect::block_steps(file, move || {
        let table = Table::open(file, block_bytes)?;
        let time_place = table.header.iter().position(|name| name == request.time_column);
        let columns = CsvRowInspector { header: table.header.clone(), time_place, request };
        Ok((table, columns))
    })
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened, its header is invalid, or the schema has a type that CSV
/// cannot supply.
pub(crate) fn open(request: FileRequest, block_bytes: usize) -> Result<Box<dyn ChunkReader>, SourceError> {
    let columns = BatchBuilder::new(&request)?.table;
    let table = Table::open(&request.file, block_bytes)?;
    let place_of = |name: &str| table.header.iter().position(|known| known == name);
    let fields = request.schema.fields();
    let time_place = request.within.as_ref().and_then(|within| place_of(&within.column));
    let declared = request.within.as_ref().map(|within| within.declared.as_slice()).unwrap_or_default();
    let reading = Arc::new(Reading {
        places: fields.iter().map(|field| place_of(field.name())).collect(),
        columns: table.header.len(),
        time_place,
        checked: (0..fields.len()).filter(|i| declared.iter().any(|name| name == columns.name(*i))).collect(),
        request,
    });
    let cutter = reading.request.units.contains(&0).then_some(table);
    Ok(Box::new(RowChunks::new(cutter, move |tokens| {
        let batch = BatchBuilder::new(&reading.request)?;
        Ok(Box::new(CsvRows { tokens: Some(tokens), reading: reading.clone(), batch, scratch: String::new() }))
    })))
}

/// The header of a file and the blocks after it.
struct Table {
    header: Vec<String>,
    layout: Layout,
    /// The block that contains the header.
    first: Option<Tokenizer>,
    blocks: Blocks<RecordEnds>,
}

impl Table {
    fn open(file: &SourceFile, block_bytes: usize) -> Result<Self, SourceError> {
        let mut blocks = Blocks::open(file, RecordEnds::default(), block_bytes)?;
        let proves_end = blocks.proves_end();
        let mut layout = Layout { name: file.name.as_str().into(), proves_end, skip_blank: true };
        loop {
            let Some(block) = blocks.next_block()? else {
                let why = "the file is empty: a CSV file has a header with the names of its columns";
                return Err(unreadable(&file.name, Some(1), why));
            };
            let mut tokens = Tokenizer::new(block, layout.clone());
            let Some(record) = tokens.next_record()? else { continue };
            let header =
                read_header(&record).map_err(|error| unreadable(&file.name, Some(record.line), error.to_string()))?;
            // In a file of one column, a blank line is a null.
            layout.skip_blank = header.len() > 1;
            tokens.skip_blank(layout.skip_blank);
            return Ok(Self { header, layout, first: Some(tokens), blocks });
        }
    }
}

impl CutBlocks for Table {
    type Block = Tokenizer;

    fn next_block(&mut self) -> Result<Option<Tokenizer>, SourceError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let block = self.blocks.next_block()?;
        Ok(block.map(|block| Tokenizer::new(block, self.layout.clone())))
    }
}

/// Why a record is not a header.
#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error("the header cannot be read: {0}")]
    Unreadable(Fault),
    #[error("the header has more than {MAX} columns", MAX = MAX_COLUMNS)]
    TooManyColumns,
    #[error("column {column} has no name in the header")]
    Unnamed { column: usize },
    #[error("the header names the column `{name}` twice; rename one of them")]
    Duplicate { name: String },
}

/// Reads the column names.
fn read_header(record: &Record<'_>) -> Result<Vec<String>, HeaderError> {
    if let Some(fault) = record.fault {
        return Err(HeaderError::Unreadable(Fault::Content(fault.to_owned())));
    }
    if record.cells.len() > MAX_COLUMNS {
        return Err(HeaderError::TooManyColumns);
    }
    let text = reader::utf8(record.bytes).map_err(HeaderError::Unreadable)?;
    let mut scratch = String::new();
    let names: Vec<String> = record.cells.iter().map(|c| cell_text(text, c, &mut scratch).to_owned()).collect();
    let mut known = HashSet::new();
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(HeaderError::Unnamed { column: i + 1 });
        }
        if !known.insert(name) {
            return Err(HeaderError::Duplicate { name: name.clone() });
        }
    }
    Ok(names)
}

/// The text of a record, if it is a valid row.
fn row_text<'a>(record: &Record<'a>, columns: usize) -> Result<&'a str, Fault> {
    if let Some(fault) = record.fault {
        return Err(Fault::Content(fault.to_owned()));
    }
    let found = record.cells.len();
    if found > MAX_COLUMNS {
        let why = format!("expected {columns} cells, as in the header, found more than {MAX_COLUMNS}");
        return Err(Fault::Content(why));
    }
    if found != columns {
        return Err(Fault::Content(format!("expected {columns} cells, as in the header, found {found}")));
    }
    reader::utf8(record.bytes)
}

/// An empty cell is null, unless it is quoted.
fn is_null(cell: &Cell) -> bool {
    !cell.quoted && cell.start == cell.end
}

/// Inspects CSV rows.
struct CsvRowInspector<'a> {
    header: Vec<String>,
    time_place: Option<usize>,
    request: InspectRequest<'a>,
}

impl InspectBlock for CsvRowInspector<'_> {
    type Block = Tokenizer;

    /// The header alone decides which columns exist.
    fn initial_evidence(&self) -> Node {
        let mut root = Node::default();
        root.object(0);
        for (i, name) in self.header.iter().enumerate() {
            root.place(name, i);
        }
        if let Some((_, time)) = self.time_place.and_then(|place| root.named_field(place)) {
            time.keep_digits();
        }
        root
    }

    /// A record counts only once it is known to be a valid row, so every pass is validating.
    fn inspect(&self, tokens: &mut Tokenizer, findings: &mut RowFindings, _pass: Pass) -> Result<(), SourceError> {
        let mut scratch = String::new();
        while let Some(record) = tokens.next_record()? {
            let Ok(text) = row_text(&record, self.header.len()) else {
                findings.tally.unreadable();
                continue;
            };
            let mut time = None;
            for (i, (cell, node)) in record.cells.iter().zip(findings.root.columns()).enumerate() {
                if is_null(cell) {
                    continue;
                }
                if node.wants_cells() {
                    node.cell(cell_text(text, cell, &mut scratch));
                }
                if self.time_place == Some(i) {
                    time = self.request.time_parser.text(cell_text(text, cell, &mut scratch)).ok().map(|i| i.at);
                }
            }
            findings.tally.row(time);
        }
        Ok(())
    }

    fn rewind(_tokens: &mut Tokenizer) {}
}

/// Shared by the readers of the blocks of one file.
struct Reading {
    request: FileRequest,
    /// Number of cells in a row.
    columns: usize,
    /// For each column of the batch, the index of its cell.
    places: Vec<Option<usize>>,
    /// The index of the cell with the time, if rows outside the window may be skipped.
    time_place: Option<usize>,
    /// Columns of the batch with declared types, which a value may not fit.
    checked: Vec<usize>,
}

impl Reading {
    /// Whether a row can be skipped: it lies outside the window and its values fit the declared types.
    fn is_outside(
        &self,
        test: &mut Option<OutsideTest<'_>>,
        record: &Record<'_>,
        text: &str,
        columns: &StructColumn,
        scratch: &mut String,
    ) -> bool {
        let (Some(test), Some(place)) = (test, self.time_place) else { return false };
        let Some(time) = record.cells.get(place).filter(|cell| !is_null(cell)) else { return false };
        if !test.text(cell_text(text, time, scratch)) {
            return false;
        }
        self.checked.iter().all(|i| {
            let cell = self.places.get(*i).and_then(|place| record.cells.get((*place)?));
            match (cell.filter(|cell| !is_null(cell)), columns.columns.get(*i)) {
                (Some(cell), Some(column)) => column.fits(cell_text(text, cell, scratch)),
                _ => true,
            }
        })
    }
}

/// Reads a block as batches.
struct CsvRows {
    /// `None` once the block is read or has failed.
    tokens: Option<Tokenizer>,
    reading: Arc<Reading>,
    batch: BatchBuilder,
    scratch: String,
}

impl BatchReader for CsvRows {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Take it first: after an error, the reader yields nothing.
        let Some(mut tokens) = self.tokens.take() else { return Ok(None) };
        let (reading, scratch) = (&*self.reading, &mut self.scratch);
        let mut outside = OutsideTest::of(&reading.request);
        loop {
            let Some(record) = tokens.next_record()? else { return self.batch.finish() };
            let text = row_text(&record, reading.columns);
            if let Ok(text) = text
                && reading.is_outside(&mut outside, &record, text, &self.batch.table, scratch)
            {
                self.batch.record_outside();
                continue;
            }
            let appended =
                text.and_then(|text| append_row(&mut self.batch.table, &record, text, &reading.places, scratch));
            match appended {
                Ok(()) => self.batch.record_good(record.line, record.bytes.len()),
                Err(fault) => {
                    let row = RawRow { position: record.line, bytes: record.bytes };
                    self.batch.record_bad(&row, fault.to_string())?;
                }
            }
            if self.batch.is_full() {
                self.tokens = Some(tokens);
                return self.batch.finish();
            }
        }
    }
}

/// Appends a row to the columns. After an error, they may hold a part of it.
fn append_row(
    into: &mut StructColumn,
    record: &Record<'_>,
    text: &str,
    places: &[Option<usize>],
    scratch: &mut String,
) -> Result<(), Fault> {
    for (i, (column, place)) in into.columns.iter_mut().zip(places).enumerate() {
        let cell = place.and_then(|p| record.cells.get(p));
        match cell.filter(|c| !is_null(c)) {
            None => column.null(),
            // Messages may reach places that must not see redacted data, so the value is not shown.
            Some(cell) if !column.text(cell_text(text, cell, scratch)) => {
                let type_name = column.type_name();
                let name = into.name(i);
                return Err(Fault::Content(format!("`{name}`: the value is not {type_name}")));
            }
            Some(_) => {}
        }
    }
    into.end();
    Ok(())
}

#[cfg(test)]
mod tests;
