//! Shared by the row formats: inspects the rows of a block or builds batches from them.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use jiff::Timestamp;

use crate::error::ErrorCode;
use crate::job::OnBad;
use crate::source::InspectRequest;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::blocks::CutBlocks;
use crate::source::formats::rows::column::{Column, StructColumn};
use crate::source::formats::rows::decode::unreadable;
use crate::source::formats::rows::envelope::SkippedKeys;
use crate::source::formats::rows::inspect::{InspectBlock, Pass, RowFindings};
use crate::source::formats::rows::json_text::{self, Fault, RowTime};
use crate::source::formats::rows::window::OutsideTest;
use crate::source::{
    BATCH_ROWS, Batch, BatchReader, Chunk, ChunkReader, MAX_REJECT_BYTES, Positions, Reject, SourceError, SourceFile,
};

/// Source bytes after which a batch is complete even if it has few rows, which bounds the memory that long rows take.
const BATCH_BYTES: usize = 32 << 20;

/// Most values in a batch, nulls included. A text value takes 16 bytes.
const BATCH_VALUES: usize = BATCH_ROWS * 256;

/// Most columns of a table. A file with more uses ids as keys, and its output would be unusable.
pub(super) const MAX_COLUMNS: usize = 16_384;

/// The bytes of a row in the file.
pub(super) struct RawRow<'a> {
    /// 1-based line or element.
    pub(super) position: u64,
    /// The row without its terminator.
    pub(super) bytes: &'a [u8],
    /// What is read instead, such as the row with the fields that it keeps, or why nothing can be.
    pub(super) expanded: Option<Result<&'a str, Fault>>,
}

impl<'a> RawRow<'a> {
    /// The text to read.
    fn text(&self) -> Result<&'a str, Fault> {
        self.expanded.clone().unwrap_or_else(|| utf8(self.bytes))
    }
}

/// A block of JSON rows.
pub(super) trait RowBlock: Send + 'static {
    /// The next row; `None` at the end of the block.
    fn next_row(&mut self) -> Option<RawRow<'_>>;

    /// Returns to the first row.
    fn rewind(&mut self);

    /// The error that ends the reading if, after this fault, the start of the next row is unknown.
    fn fatal_error(&self, fault: &Fault) -> Option<SourceError>;

    /// Keys around the rows that were skipped so far.
    fn skipped_keys(&self) -> Option<&SkippedKeys>;
}

/// The bytes of a row as UTF-8.
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
    /// Positions of the good rows.
    positions: Vec<u64>,
    bytes: usize,
    /// Indexes of bad rows, which the batch holds as placeholders until it is finished.
    bad: Vec<usize>,
    rejected: Vec<Reject>,
    /// Rows skipped because they lie outside the window.
    outside: u64,
    /// Most rows in a batch.
    max_rows: usize,
}

impl BatchBuilder {
    /// # Errors
    /// [`ErrorCode::SchemaMismatch`] where the schema has a type that no row format can supply.
    pub(super) fn new(request: &FileRequest) -> Result<Self, SourceError> {
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
            outside: 0,
            max_rows: max_rows(request.schema.fields()),
        })
    }

    /// Records a row that was appended to the table.
    pub(super) fn record_good(&mut self, position: u64, bytes: usize) {
        self.positions.push(position);
        self.bytes += bytes;
    }

    /// Records a row that is skipped because it lies outside the window.
    pub(super) fn record_outside(&mut self) {
        self.outside += 1;
    }

    /// Records an unreadable row, whether or not a part of it was appended.
    ///
    /// # Errors
    /// [`ErrorCode::BadRows`] unless bad rows are rejected.
    pub(super) fn record_bad(&mut self, row: &RawRow<'_>, why: String) -> Result<(), SourceError> {
        if self.on_bad_rows == OnBad::Fail {
            return Err(SourceError {
                name: self.name.clone(),
                position: Some(row.position),
                code: ErrorCode::BadRows,
                message: format!(
                    "{why}; fix the row, or set `on_bad_rows: reject` to write such rows to the rejects file"
                ),
            });
        }
        let raw = row.bytes.get(..MAX_REJECT_BYTES).unwrap_or(row.bytes).to_vec();
        self.bytes += raw.len();
        self.bad.push(self.table.len());
        self.table.end_partial();
        self.rejected.push(Reject { position: row.position, error: why, raw });
        Ok(())
    }

    /// Whether the batch is complete.
    pub(super) fn is_full(&self) -> bool {
        self.table.len() >= self.max_rows || self.bytes >= BATCH_BYTES
    }

    /// Returns the batch; `None` if no row was recorded.
    pub(super) fn finish(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.table.len() == 0 && self.outside == 0 {
            return Ok(None);
        }
        let rows = self.columns().map_err(|e| SourceError {
            name: self.name.clone(),
            position: None,
            code: ErrorCode::Internal,
            message: format!("the rows cannot form a batch: {e}"),
        })?;
        self.bytes = 0;
        Ok(Some(Batch {
            rows,
            positions: Positions::Each(std::mem::take(&mut self.positions)),
            rejected: std::mem::take(&mut self.rejected),
            outside: std::mem::take(&mut self.outside),
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

/// Rows per batch, so that wide tables take no more memory than narrow ones.
fn max_rows(fields: &Fields) -> usize {
    fn values(fields: &Fields) -> usize {
        let of = |data_type: &DataType| match data_type {
            DataType::Struct(inner) => values(inner),
            _ => 1,
        };
        fields.iter().map(|field| of(field.data_type())).sum()
    }
    (BATCH_VALUES / values(fields).max(1)).clamp(1, BATCH_ROWS)
}

/// Whether a declared name is a column's, or that of a path below it.
fn is_at(declared: &str, column: &str) -> bool {
    declared.strip_prefix(column).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Turns the blocks of a file into chunks.
pub(super) struct RowChunks<C, R> {
    /// `None` if no rows are requested.
    cutter: Option<C>,
    read: R,
}

impl<C: CutBlocks, R: Fn(C::Block) -> Result<Box<dyn BatchReader>, SourceError> + Send> RowChunks<C, R> {
    /// `read` returns a reader for a block.
    pub(super) fn new(cutter: Option<C>, read: R) -> Self {
        Self { cutter, read }
    }
}

impl<C: CutBlocks, R: Fn(C::Block) -> Result<Box<dyn BatchReader>, SourceError> + Send> ChunkReader
    for RowChunks<C, R>
{
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let Some(cutter) = &mut self.cutter else { return Ok(None) };
        let Some(block) = cutter.next_block()? else { return Ok(None) };
        Ok(Some(Chunk { unit: 0, batches: (self.read)(block)? }))
    }
}

/// Reads a file of JSON rows, cut into blocks.
pub(super) fn json_chunks<C>(cutter: C, request: FileRequest) -> Result<Box<dyn ChunkReader>, SourceError>
where
    C: CutBlocks<Block: RowBlock> + 'static,
{
    let columns = BatchBuilder::new(&request)?.table;
    // Rows may be skipped unread only if no declared column could make them bad.
    let may_refuse =
        |i: usize| columns.columns.get(i).is_some_and(|c| !matches!(c, Column::Text(_) | Column::Json { .. }));
    let is_declared =
        |name: &str| request.within.as_ref().is_some_and(|w| w.declared.iter().any(|declared| is_at(declared, name)));
    let all_fit = !(0..columns.columns.len()).any(|i| may_refuse(i) && is_declared(columns.name(i)));
    let wanted = request.units.contains(&0).then_some(cutter);
    let within = request.within.clone().filter(|_| all_fit);
    let request = Arc::new(FileRequest { within, ..request });
    Ok(Box::new(RowChunks::new(wanted, move |block| {
        Ok(Box::new(JsonRows { block: Some(block), batch: BatchBuilder::new(&request)?, request: request.clone() }))
    })))
}

/// Reads a block of JSON rows as batches.
struct JsonRows<B> {
    /// `None` once the block is read or has failed.
    block: Option<B>,
    batch: BatchBuilder,
    request: Arc<FileRequest>,
}

impl<B: RowBlock> BatchReader for JsonRows<B> {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        // Take it first: after an error, the reader yields nothing.
        let Some(mut block) = self.block.take() else { return Ok(None) };
        let mut outside = OutsideTest::of(&self.request);
        loop {
            let Some(row) = block.next_row() else { return self.batch.finish() };
            let text = row.text();
            let row_bytes = text.as_ref().map_or(row.bytes.len(), |text| text.len());
            if let (Ok(text), Some(test)) = (&text, &mut outside)
                && test.json_row(text)
            {
                self.batch.record_outside();
                continue;
            }
            match text.and_then(|text| json_text::append_row(&mut self.batch.table, text)) {
                Ok(()) => self.batch.record_good(row.position, row_bytes),
                Err(fault) => {
                    let noted = self.batch.record_bad(&row, fault.to_string());
                    if let Some(error) = block.fatal_error(&fault) {
                        return Err(error);
                    }
                    noted?;
                }
            }
            if self.batch.is_full() {
                self.block = Some(block);
                return self.batch.finish();
            }
        }
    }
}

/// Inspects JSON rows.
pub(super) struct JsonRowInspector<'a, B> {
    name: &'a str,
    request: InspectRequest<'a>,
    block: PhantomData<fn(B)>,
}

impl<'a, B> JsonRowInspector<'a, B> {
    /// An inspector for the rows of `file`.
    pub(super) fn new(file: &'a SourceFile, request: InspectRequest<'a>) -> Self {
        Self { name: &file.name, request, block: PhantomData }
    }
}

impl<B: RowBlock> InspectBlock for JsonRowInspector<'_, B> {
    type Block = B;

    fn inspect(&self, block: &mut B, findings: &mut RowFindings, pass: Pass) -> Result<(), SourceError> {
        while let Some(row) = block.next_row() {
            let position = row.position;
            let time = row.text().and_then(|text| {
                if pass == Pass::Validating {
                    json_text::check(text)?;
                }
                let time = json_text::observe_row(&mut findings.root, text, self.request.time_column)?;
                Ok(instant(&self.request, &time))
            });
            match time {
                Ok(time) => findings.tally.row(time),
                Err(fault) => {
                    if let Some(error) = block.fatal_error(&fault) {
                        return Err(error);
                    }
                    findings.has_bad_row = true;
                    findings.tally.unreadable();
                }
            }
            if findings.root.width() > MAX_COLUMNS {
                return Err(too_many_columns(self.name, position));
            }
        }
        if let Some(skipped) = block.skipped_keys() {
            findings.skipped.merge(skipped);
        }
        Ok(())
    }

    fn rewind(block: &mut B) {
        block.rewind();
    }
}

fn instant(request: &InspectRequest<'_>, time: &RowTime<'_>) -> Option<Timestamp> {
    match time {
        RowTime::None => None,
        RowTime::Text(text) => request.time_parser.text(text).ok().map(|i| i.at),
        RowTime::Number(digits) => request.time_parser.text(digits).ok().map(|i| i.at),
        RowTime::Integer(i) => request.time_parser.integer(*i).ok().map(|i| i.at),
    }
}

/// The error of a table with more than [`MAX_COLUMNS`] columns.
pub(super) fn too_many_columns(name: &str, position: u64) -> SourceError {
    let message = format!("the rows have more than {MAX_COLUMNS} different columns; are ids used as keys?");
    unreadable(name, Some(position), message)
}

#[cfg(test)]
mod tests;
