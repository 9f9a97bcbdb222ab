//! CSV (RFC 4180): comma-separated cells below a header.
//!
//! An empty cell is null, `""` the empty string. Columns are found by the names in each file's own header. A record
//! with another number of cells than the header is a bad row; a blank line is none, except in a file of one column,
//! where it is a null.
//!
//! A file that is not compressed and does not end with a line end may have been cut inside its last cell, and nothing
//! in the format would tell. Such a last line is a bad row. In gzip and zstd the codec proves the end, so there it is
//! read.

mod tokenise;

use std::collections::HashSet;

use tokenise::{Cell, Record, Tokeniser, cell_text};

use crate::source::rows::column::StructColumn;
use crate::source::rows::decode::{Buffer, unreadable};
use crate::source::rows::infer::{InspectRequest, Node, RowFacts, TableEvidence};
use crate::source::rows::json_text::Fault;
use crate::source::rows::reader::{self, BatchBuilder, MAX_COLUMNS, RawRow};
use crate::source::rows::tally::Tally;
use crate::source::{Batch, BatchReader, ReadRequest, SourceError, SourceFile};

/// Reads every row of a file for its evidence, in bounded memory.
pub fn inspect(file: &SourceFile, request: &InspectRequest) -> RowFacts {
    let mut root = Node::default();
    let mut tally = Tally::default();
    let problem = look(file, request, &mut root, &mut tally).err();
    RowFacts { evidence: TableEvidence::of_file(root, &file.name), facts: tally.facts(file, problem) }
}

/// Opens a file for reading.
///
/// # Errors
/// [`SourceError`] where the file cannot be opened, its header is not one, or the schema asks for a type that CSV
/// does not give.
pub fn open(request: ReadRequest) -> Result<Box<dyn BatchReader>, SourceError> {
    let batch = BatchBuilder::new(&request)?;
    let table = Table::open(&request.file)?;
    let place = |field: &arrow::datatypes::FieldRef| table.header.iter().position(|name| name == field.name());
    let places = request.schema.fields().iter().map(place).collect();
    let table = request.units.contains(&0).then_some(table);
    Ok(Box::new(CsvRows { table, places, batch, scratch: String::new() }))
}

/// The header of a file and what follows it.
struct Table {
    tokens: Tokeniser,
    header: Vec<String>,
}

impl Table {
    fn open(file: &SourceFile) -> Result<Self, SourceError> {
        let mut tokens = Tokeniser::new(Buffer::open(file)?);
        let Some(record) = tokens.next_record()? else {
            let why = "the file is empty: a CSV file has a header with the names of its columns";
            return Err(unreadable(&file.name, Some(1), why));
        };
        let header = read_header(&record).map_err(|why| unreadable(&file.name, Some(record.line), why))?;
        // A null of a single column can only be a blank line.
        tokens.skip_blank(header.len() > 1);
        Ok(Self { tokens, header })
    }
}

/// The names of the columns.
fn read_header(record: &Record<'_>) -> Result<Vec<String>, String> {
    if let Some(fault) = record.fault {
        return Err(format!("the header cannot be read: {fault}"));
    }
    if record.cells.len() > MAX_COLUMNS {
        return Err(format!("the header has more than {MAX_COLUMNS} columns"));
    }
    let text = reader::utf8(record.bytes).map_err(|fault| format!("the header cannot be read: {fault}"))?;
    let mut scratch = String::new();
    let names: Vec<String> = record.cells.iter().map(|c| cell_text(text, c, &mut scratch).to_owned()).collect();
    let mut known = HashSet::new();
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("column {} has no name in the header", i + 1));
        }
        if !known.insert(name) {
            return Err(format!("the header names the column `{name}` twice; rename one of them"));
        }
    }
    Ok(names)
}

/// The text of a record that is a row.
fn row_text<'a>(record: &Record<'a>, columns: usize) -> Result<&'a str, Fault> {
    if let Some(fault) = record.fault {
        return Err(Fault::Content(fault.to_owned()));
    }
    let found = record.cells.len();
    if found != columns {
        return Err(Fault::Content(format!("expected {columns} cells, as in the header, found {found}")));
    }
    reader::utf8(record.bytes)
}

/// Whether a cell is null.
fn is_null(cell: &Cell) -> bool {
    !cell.quoted && cell.start == cell.end
}

/// Inspects as far as the file can be read.
fn look(
    file: &SourceFile,
    request: &InspectRequest<'_>,
    root: &mut Node,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let Table { mut tokens, header } = Table::open(file)?;
    // The header alone says which columns there are.
    root.object(0);
    for (i, name) in header.iter().enumerate() {
        root.field(name, i);
    }
    let time_place = header.iter().position(|name| name == request.time_column);
    let mut scratch = String::new();
    while let Some(record) = tokens.next_record()? {
        let Ok(text) = row_text(&record, header.len()) else {
            tally.unreadable();
            continue;
        };
        let mut time = None;
        for (i, (cell, node)) in record.cells.iter().zip(root.columns()).enumerate() {
            if is_null(cell) {
                continue;
            }
            let value = cell_text(text, cell, &mut scratch);
            node.cell(value);
            if time_place == Some(i) {
                time = request.times.text(value).ok().map(|i| i.at);
            }
        }
        tally.row(time);
    }
    Ok(())
}

/// Reads a file as batches.
struct CsvRows {
    /// `None` once the file is read or has failed.
    table: Option<Table>,
    /// Per column of the batch, the cell that it is read from.
    places: Vec<Option<usize>>,
    batch: BatchBuilder,
    scratch: String,
}

impl BatchReader for CsvRows {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Taken out, so that an error leaves the reader spent.
        let Some(mut table) = self.table.take() else { return Ok(None) };
        loop {
            let Some(record) = table.tokens.next_record()? else { return self.batch.finish() };
            let appended = row_text(&record, table.header.len())
                .and_then(|text| append_row(&mut self.batch.table, &record, text, &self.places, &mut self.scratch));
            match appended {
                Ok(()) => self.batch.good(record.line, record.bytes.len()),
                Err(fault) => {
                    let row = RawRow { position: record.line, bytes: record.bytes };
                    self.batch.bad(&row, fault.to_string())?;
                }
            }
            if self.batch.is_full() {
                self.table = Some(table);
                return self.batch.finish();
            }
        }
    }
}

/// Appends a row to the columns. After an error they may hold a part of it.
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
            // The value is not shown: messages go where redacted data must not.
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
