//! Rows of text cells, shared by CSV and lines: inspects them, and builds batches from them.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use encoding_rs::Encoding;

use crate::job::ShortRows;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::CutBlocks;
use crate::source::formats::rows::column::StructColumn;
use crate::source::formats::rows::find;
use crate::source::formats::rows::infer::Node;
use crate::source::formats::rows::inspect::{self, InspectBlock, InspectionSteps, Pass, RowFindings, StepResults};
use crate::source::formats::rows::json_text::Fault;
use crate::source::formats::rows::reader::{self, BatchBuilder, MAX_COLUMNS, RawRow, RowChunks};
use crate::source::formats::rows::window::OutsideTest;
use crate::source::{Batch, BatchReader, ChunkReader, InspectRequest, SourceError, SourceFile};

/// One cell of a record, as a range of the record's bytes without the quotes around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether the cell is text even if it is empty.
    pub(super) quoted: bool,
    /// Whether the cell contains doubled quotes or escaped characters.
    pub(super) has_escapes: bool,
}

/// One record.
pub(super) struct Record<'a> {
    /// 1-based line on which it starts.
    pub(super) line: u64,
    /// The record without its line end.
    pub(super) bytes: &'a [u8],
    /// At most one more than [`MAX_COLUMNS`].
    pub(super) cells: &'a [Cell],
    /// Why it is no row.
    pub(super) fault: Option<Cow<'static, str>>,
}

/// The records of a block, in order.
pub(super) trait RecordBlock: Send + 'static {
    /// The next record; `None` at the end of the block.
    ///
    /// # Errors
    /// The error that makes the rest of the file unreadable.
    fn next_record(&mut self) -> Result<Option<Record<'_>>, SourceError>;
}

/// A file of records.
pub(super) struct RecordTable<C> {
    /// Names of its columns.
    pub(super) columns: Arc<[String]>,
    pub(super) rules: Arc<RowRules>,
    pub(super) blocks: C,
}

/// What makes a record a row, and bytes a value.
#[derive(Debug)]
pub(super) struct RowRules {
    /// Number of cells in a row.
    pub(super) columns: usize,
    /// What the number of cells comes from, for messages.
    pub(super) columns_source: &'static str,
    pub(super) short_rows: ShortRows,
    /// The encoding of the file. The records are UTF-8, except where the file violates its encoding.
    pub(super) encoding: &'static Encoding,
    /// Cells that are null beside the empty one.
    pub(super) null_text: Vec<String>,
    /// As for [`cell_text`].
    pub(super) escape: Option<u8>,
}

impl RowRules {
    /// The text of a record, if it is a valid row.
    #[inline]
    fn row_text<'a>(&self, record: &Record<'a>) -> Result<&'a str, Fault> {
        if let Some(fault) = &record.fault {
            return Err(Fault::Content(fault.clone().into_owned()));
        }
        let (expected, found) = (self.columns, record.cells.len());
        let is_short = found < expected && self.short_rows == ShortRows::Null;
        if found != expected && !is_short {
            let source = self.columns_source;
            let hint = if found > expected && has_quote_behind_blank(record) { QUOTE_BEHIND_BLANK } else { "" };
            let found = if found > MAX_COLUMNS { format!("more than {MAX_COLUMNS}") } else { found.to_string() };
            return Err(Fault::Content(format!("expected {expected} cells, {source}, found {found}{hint}")));
        }
        text(record.bytes, self.encoding)
    }

    /// Whether a cell of a record's text is null: not in quotes, and empty or one of the null texts.
    #[inline]
    fn is_null(&self, text: &str, cell: &Cell) -> bool {
        if cell.quoted {
            return false;
        }
        cell.start == cell.end || (!self.null_text.is_empty() && self.is_null_text(text, cell))
    }

    fn is_null_text(&self, text: &str, cell: &Cell) -> bool {
        text.get(cell.start..cell.end).is_some_and(|raw| self.null_text.iter().any(|null| null == raw))
    }

    #[inline]
    fn cell_text<'a>(&self, text: &'a str, cell: &Cell, scratch: &'a mut String) -> &'a str {
        cell_text(text, cell, self.escape, scratch)
    }
}

const QUOTE_BEHIND_BLANK: &str = "; a quote behind a space is text and encloses nothing: remove the space";

/// Whether a cell begins with blanks and a quote, which then encloses no delimiter.
fn has_quote_behind_blank(record: &Record<'_>) -> bool {
    record.cells.iter().filter(|cell| !cell.quoted).any(|cell| {
        let cell = record.bytes.get(cell.start..cell.end).unwrap_or_default();
        cell.starts_with(b" ") && cell.trim_ascii_start().starts_with(b"\"")
    })
}

/// The text of a cell of a record. `escape` is the character before one that is text: of two quotes, the first. It is left
/// out, in `scratch`.
#[inline]
pub(super) fn cell_text<'a>(text: &'a str, cell: &Cell, escape: Option<u8>, scratch: &'a mut String) -> &'a str {
    let raw = text.get(cell.start..cell.end).unwrap_or_default();
    match escape {
        Some(escape) if cell.has_escapes => {
            scratch.clear();
            // The first character of the rest is text, whatever it is, and no part of a longer one looks like `escape`.
            let (mut rest, mut text_bytes) = (raw, 0);
            while let Some(at) = find::quote(rest.as_bytes().get(text_bytes..).unwrap_or_default(), escape, &mut false)
            {
                scratch.push_str(rest.get(..text_bytes + at).unwrap_or_default());
                rest = rest.get(text_bytes + at + 1..).unwrap_or_default();
                text_bytes = 1;
            }
            scratch.push_str(rest);
            scratch
        }
        _ => raw,
    }
}

/// The bytes of a record as text.
pub(super) fn text<'a>(bytes: &'a [u8], encoding: &'static Encoding) -> Result<&'a str, Fault> {
    if encoding == encoding_rs::UTF_8 {
        return reader::utf8(bytes);
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let (name, byte) = (encoding.name().to_ascii_lowercase(), e.valid_up_to() + 1);
        Fault::Content(format!("not {name} at byte {byte} of the row, counted in UTF-8; check `source.csv.encoding`"))
    })
}

/// Reads every row of a file for its evidence, in bounded memory.
pub(super) fn inspector<'a, C>(
    file: &'a SourceFile,
    request: InspectRequest<'a>,
    open: impl Fn() -> Result<RecordTable<C>, SourceError> + Send + Clone + 'a,
) -> (Box<dyn InspectionSteps<'a> + 'a>, StepResults<'a>)
where
    C: CutBlocks<Block: RecordBlock> + 'a,
{
    inspect::block_steps(file, move || {
        let RecordTable { columns, rules, blocks } = open()?;
        let time_place = columns.iter().position(|name| name == request.time_column);
        Ok((blocks, RecordInspector { columns, rules, time_place, request, block: PhantomData }))
    })
}

/// Reads the rows of a file.
///
/// # Errors
/// [`SourceError`] where the schema has a type that text cannot supply.
pub(super) fn chunks<C>(table: RecordTable<C>, request: FileRequest) -> Result<Box<dyn ChunkReader>, SourceError>
where
    C: CutBlocks<Block: RecordBlock> + 'static,
{
    let batch = BatchBuilder::new(&request)?.table;
    let place_of = |name: &str| table.columns.iter().position(|known| known == name);
    let fields = request.schema.fields();
    let time_place = request.within.as_ref().and_then(|within| place_of(&within.column));
    let declared = request.within.as_ref().map(|within| within.declared.as_slice()).unwrap_or_default();
    let reading = Arc::new(Reading {
        places: fields.iter().map(|field| place_of(field.name())).collect(),
        rules: table.rules.clone(),
        time_place,
        checked: (0..fields.len()).filter(|i| declared.iter().any(|name| name == batch.name(*i))).collect(),
        request,
    });
    let cutter = reading.request.units.contains(&0).then_some(table.blocks);
    Ok(Box::new(RowChunks::new(cutter, move |block| {
        let batch = BatchBuilder::new(&reading.request)?;
        Ok(Box::new(RecordRows { block: Some(block), reading: reading.clone(), batch, scratch: String::new() }))
    })))
}

/// Inspects records.
struct RecordInspector<'a, B> {
    columns: Arc<[String]>,
    rules: Arc<RowRules>,
    time_place: Option<usize>,
    request: InspectRequest<'a>,
    block: PhantomData<fn(B)>,
}

impl<B: RecordBlock> InspectBlock for RecordInspector<'_, B> {
    type Block = B;

    /// The names of the columns alone decide which exist.
    fn initial_evidence(&self) -> Node {
        let mut root = Node::default();
        root.object(0);
        for (i, name) in self.columns.iter().enumerate() {
            root.place(name, i);
        }
        if let Some((_, time)) = self.time_place.and_then(|place| root.named_field(place)) {
            time.keep_digits();
        }
        root
    }

    /// A record counts only once it is known to be a valid row, so every pass is validating.
    fn inspect(&self, block: &mut B, findings: &mut RowFindings, _pass: Pass) -> Result<(), SourceError> {
        let mut scratch = String::new();
        let rules = &*self.rules;
        while let Some(record) = block.next_record()? {
            let Ok(text) = rules.row_text(&record) else {
                findings.tally.unreadable();
                continue;
            };
            let mut time = None;
            for (i, (cell, node)) in record.cells.iter().zip(findings.root.columns()).enumerate() {
                if rules.is_null(text, cell) {
                    continue;
                }
                if node.wants_cells() {
                    node.cell(rules.cell_text(text, cell, &mut scratch));
                }
                if self.time_place == Some(i) {
                    time = self.request.time_parser.text(rules.cell_text(text, cell, &mut scratch)).ok().map(|i| i.at);
                }
            }
            findings.tally.row(time);
        }
        Ok(())
    }

    fn rewind(_block: &mut B) {}
}

/// Shared by the readers of the blocks of one file.
struct Reading {
    request: FileRequest,
    rules: Arc<RowRules>,
    /// For each column of the batch, the index of its cell.
    places: Vec<Option<usize>>,
    /// The index of the cell with the time, if rows outside the window may be skipped.
    time_place: Option<usize>,
    /// Columns of the batch with declared types, which a value may not fit.
    checked: Vec<usize>,
}

impl Reading {
    /// Whether a row can be skipped: it lies outside the window and its values fit the declared types.
    #[inline]
    fn is_outside(
        &self,
        test: &mut Option<OutsideTest<'_>>,
        record: &Record<'_>,
        text: &str,
        columns: &StructColumn,
        scratch: &mut String,
    ) -> bool {
        let (Some(test), Some(place)) = (test, self.time_place) else { return false };
        let rules = &*self.rules;
        let Some(time) = record.cells.get(place).filter(|cell| !rules.is_null(text, cell)) else { return false };
        if !test.text(rules.cell_text(text, time, scratch)) {
            return false;
        }
        self.checked.iter().all(|i| {
            let cell = self.places.get(*i).and_then(|place| record.cells.get((*place)?));
            match (cell.filter(|cell| !rules.is_null(text, cell)), columns.columns.get(*i)) {
                (Some(cell), Some(column)) => column.fits(rules.cell_text(text, cell, scratch)),
                _ => true,
            }
        })
    }
}

/// Reads a block as batches.
struct RecordRows<B> {
    /// `None` once the block is read or has failed.
    block: Option<B>,
    reading: Arc<Reading>,
    batch: BatchBuilder,
    scratch: String,
}

impl<B: RecordBlock> BatchReader for RecordRows<B> {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Take it first: after an error, the reader yields nothing.
        let Some(mut block) = self.block.take() else { return Ok(None) };
        let (reading, scratch) = (&*self.reading, &mut self.scratch);
        let mut outside = OutsideTest::of(&reading.request);
        loop {
            let Some(record) = block.next_record()? else { return self.batch.finish() };
            let text = reading.rules.row_text(&record);
            if let Ok(text) = text
                && reading.is_outside(&mut outside, &record, text, &self.batch.table, scratch)
            {
                self.batch.record_outside();
                continue;
            }
            let appended = text.and_then(|text| append_row(&mut self.batch.table, &record, text, reading, scratch));
            match appended {
                Ok(()) => self.batch.record_good(record.line, record.bytes.len()),
                Err(fault) => {
                    let row = RawRow { position: record.line, bytes: record.bytes, expanded: None };
                    self.batch.record_bad(&row, fault.to_string())?;
                }
            }
            if self.batch.is_full() {
                self.block = Some(block);
                return self.batch.finish();
            }
        }
    }
}

/// Appends a row to the columns. After an error, they may hold a part of it.
#[inline]
fn append_row(
    into: &mut StructColumn,
    record: &Record<'_>,
    text: &str,
    reading: &Reading,
    scratch: &mut String,
) -> Result<(), Fault> {
    let rules = &*reading.rules;
    for (i, (column, place)) in into.columns.iter_mut().zip(&reading.places).enumerate() {
        let cell = place.and_then(|p| record.cells.get(p));
        match cell.filter(|cell| !rules.is_null(text, cell)) {
            None => column.null(),
            // Messages may reach places that must not see redacted data, so the value is not shown.
            Some(cell) if !column.text(rules.cell_text(text, cell, scratch)) => {
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
