//! What the row formats share: rows cut from a file one by one, inspected or built into batches.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use jiff::Timestamp;

use crate::error::ErrorCode;
use crate::job::OnBad;
use crate::source::rows::column::StructColumn;
use crate::source::rows::decode::unreadable;
use crate::source::rows::infer::{InspectRequest, Node, RowFacts, TableEvidence};
use crate::source::rows::json_text::{self, Fault, RowTime};
use crate::source::rows::tally::Tally;
use crate::source::{
    BATCH_ROWS, Batch, BatchReader, MAX_REJECT_BYTES, Positions, ReadRequest, Reject, SourceError, SourceFile,
};

/// Source bytes after which a batch is given even if it has few rows, so that long rows do not add up to more memory
/// than a batch may take.
const BATCH_BYTES: usize = 32 << 20;

/// Columns beyond which a table is refused: such a file has its ids for keys, and nobody can read what would come out.
pub(super) const MAX_COLUMNS: usize = 16_384;

/// A row as it stands in the file.
pub(super) struct RawRow<'a> {
    /// 1-based line or element.
    pub(super) position: u64,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

/// Cuts a file into rows of JSON.
pub(super) trait RowCutter: Send {
    /// The next row; `None` at the proven end of the file.
    fn next_row(&mut self) -> Result<Option<RawRow<'_>>, SourceError>;

    /// The error that ends the reading, where a row that is not JSON leaves it unknown where the next one starts.
    fn broken(&self, fault: &Fault) -> Option<SourceError>;
}

/// Text of a row.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|e| Fault::Content(format!("not UTF-8 at byte {} of the row", e.valid_up_to() + 1)))
}

/// Collects the rows of a batch.
pub(super) struct BatchBuilder {
    name: String,
    schema: SchemaRef,
    on_bad_rows: OnBad,
    pub(super) table: StructColumn,
    /// Where the good rows of the batch stand.
    positions: Vec<u64>,
    bytes: usize,
    /// Rows of the batch that are bad and stand in it as placeholders.
    bad: Vec<usize>,
    rejected: Vec<Reject>,
}

impl BatchBuilder {
    /// # Errors
    /// [`ErrorCode::SchemaMismatch`] where the schema asks for a type that no row format gives.
    pub(super) fn new(request: &ReadRequest) -> Result<Self, SourceError> {
        let table = StructColumn::of_table(request.schema.fields()).map_err(|(column, data_type)| SourceError {
            name: request.file.name.clone(),
            position: None,
            code: ErrorCode::SchemaMismatch,
            message: format!(
                "column `{column}` has the type {data_type} in other files, which a {:?} file cannot give; \
                 declare it as text in `schema`",
                request.file.format
            ),
        })?;
        Ok(Self {
            name: request.file.name.clone(),
            schema: request.schema.clone(),
            on_bad_rows: request.on_bad_rows,
            table,
            positions: Vec::new(),
            bytes: 0,
            bad: Vec::new(),
            rejected: Vec::new(),
        })
    }

    /// Notes a row that was appended to the table.
    pub(super) fn good(&mut self, position: u64, bytes: usize) {
        self.positions.push(position);
        self.bytes += bytes;
    }

    /// Notes a row that cannot be read, whether or not a part of it was appended.
    ///
    /// # Errors
    /// [`ErrorCode::BadRows`] if bad rows are not to be rejected.
    pub(super) fn bad(&mut self, row: &RawRow<'_>, why: String) -> Result<(), SourceError> {
        if self.on_bad_rows == OnBad::Fail {
            return Err(SourceError {
                name: self.name.clone(),
                position: Some(row.position),
                code: ErrorCode::BadRows,
                message: format!("{why}; mend the row, or set `on_bad_rows: reject` to set such rows aside"),
            });
        }
        let raw = row.bytes.get(..MAX_REJECT_BYTES).unwrap_or(row.bytes).to_vec();
        self.bytes += raw.len();
        self.bad.push(self.table.len());
        self.table.give_up();
        self.rejected.push(Reject { position: row.position, error: why, raw });
        Ok(())
    }

    /// Whether the batch is to be given.
    pub(super) fn is_full(&self) -> bool {
        self.table.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The batch; `None` if nothing was met.
    pub(super) fn finish(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.table.len() == 0 {
            return Ok(None);
        }
        let rows = self.columns().map_err(|e| SourceError {
            name: self.name.clone(),
            position: None,
            code: ErrorCode::Internal,
            message: format!("the rows make no batch: {e}"),
        })?;
        self.bytes = 0;
        Ok(Some(Batch {
            rows,
            unit: 0,
            positions: Positions::Each(std::mem::take(&mut self.positions)),
            rejected: std::mem::take(&mut self.rejected),
        }))
    }

    fn columns(&mut self) -> Result<RecordBatch, ArrowError> {
        let len = self.table.len();
        let columns = self.table.finish_columns()?;
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        if self.bad.is_empty() {
            return Ok(batch);
        }
        let mut keep = vec![true; len];
        for row in self.bad.drain(..) {
            if let Some(k) = keep.get_mut(row) {
                *k = false;
            }
        }
        filter_record_batch(&batch, &BooleanArray::from(keep))
    }
}

/// Reads rows of JSON as batches.
pub(super) struct JsonRows<C> {
    /// `None` once the file is read or has failed.
    cutter: Option<C>,
    batch: BatchBuilder,
}

impl<C: RowCutter> JsonRows<C> {
    pub(super) fn new(cutter: C, request: &ReadRequest) -> Result<Self, SourceError> {
        let batch = BatchBuilder::new(request)?;
        Ok(Self { cutter: request.units.contains(&0).then_some(cutter), batch })
    }
}

impl<C: RowCutter> BatchReader for JsonRows<C> {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Taken out, so that an error leaves the reader spent.
        let Some(mut cutter) = self.cutter.take() else { return Ok(None) };
        loop {
            let Some(row) = cutter.next_row()? else { return self.batch.finish() };
            let appended = utf8(row.bytes).and_then(|text| json_text::append_row(&mut self.batch.table, text));
            match appended {
                Ok(()) => self.batch.good(row.position, row.bytes.len()),
                Err(fault) => {
                    let noted = self.batch.bad(&row, fault.to_string());
                    if let Some(error) = cutter.broken(&fault) {
                        return Err(error);
                    }
                    noted?;
                }
            }
            if self.batch.is_full() {
                self.cutter = Some(cutter);
                return self.batch.finish();
            }
        }
    }
}

/// Inspects a file of JSON rows.
///
/// The evidence of a row that turns out to be bad in the middle must not count, and taking it back is not possible.
/// So rows are first taken for good; if one is not, the file is inspected again, each row checked before it counts.
pub(super) fn inspect<C: RowCutter>(
    file: &SourceFile,
    request: &InspectRequest<'_>,
    open: impl Fn() -> Result<C, SourceError>,
) -> RowFacts {
    let mut pass = look(file, request, &open, false);
    if pass.bad {
        pass = look(file, request, &open, true);
    }
    RowFacts { evidence: TableEvidence::of_file(pass.root, &file.name), facts: pass.tally.facts(file, pass.problem) }
}

fn instant(request: &InspectRequest<'_>, time: &RowTime<'_>) -> Option<Timestamp> {
    match time {
        RowTime::None => None,
        RowTime::Text(text) => request.times.text(text).ok().map(|i| i.at),
        RowTime::Integer(i) => request.times.integer(*i).ok().map(|i| i.at),
    }
}

#[derive(Default)]
struct Pass {
    root: Node,
    tally: Tally,
    problem: Option<SourceError>,
    bad: bool,
}

fn look<C: RowCutter>(
    file: &SourceFile,
    request: &InspectRequest<'_>,
    open: &impl Fn() -> Result<C, SourceError>,
    careful: bool,
) -> Pass {
    let mut pass = Pass::default();
    let outcome = (|| {
        let mut cutter = open()?;
        while let Some(row) = cutter.next_row()? {
            let position = row.position;
            let time = utf8(row.bytes).and_then(|text| {
                if careful {
                    json_text::check(text)?;
                }
                let time = json_text::observe_row(&mut pass.root, text, request.time_column)?;
                Ok(instant(request, &time))
            });
            match time {
                Ok(time) => pass.tally.row(time),
                Err(fault) => {
                    if let Some(error) = cutter.broken(&fault) {
                        return Err(error);
                    }
                    pass.bad = true;
                    pass.tally.unreadable();
                }
            }
            if pass.root.width() > MAX_COLUMNS {
                return Err(too_many_columns(&file.name, position));
            }
        }
        Ok(())
    })();
    pass.problem = outcome.err();
    pass
}

/// A table that nobody could read.
pub(super) fn too_many_columns(name: &str, position: u64) -> SourceError {
    let message = format!("the rows have more than {MAX_COLUMNS} different columns; are ids used as keys?");
    unreadable(name, Some(position), message)
}

#[cfg(test)]
mod tests;
