//! Arrow IPC: the file format (Feather version 2) and the stream format, told apart by their first bytes.
//!
//! Framing is ours and decoding is the `arrow` crate's: lengths come from the file and are compared with its size before anything
//! is allocated, and a stream must end with its end-of-stream marker, because without it nothing tells a whole
//! stream from one cut between two batches. A file's footer must account for every byte: schema, dictionaries and record
//! batches lie one behind the other from the file's head to its footer, because a batch that a damaged footer does not
//! list would be missing in silence. A file is one unit. Format: <https://arrow.apache.org/docs/format/Columnar.html>.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{Field, Schema, SchemaRef, TimeUnit};
use arrow::ipc::{Block, MessageHeader, convert, reader, root_as_footer, root_as_message};
use arrow::record_batch::RecordBatch;
use jiff::{Timestamp, ToSpan};

use self::extent::Extent;
use crate::logical::uuid;
use crate::source::columnar::adapt::{adapt, adapt_batch, duplicate_column};
use crate::source::columnar::foreign::{guarded, mismatch, remember, unreadable};
use crate::source::columnar::layout::planned_schema;
use crate::source::files::list::check_unchanged;
use crate::source::instants::instants;
use crate::source::{
    BATCH_ROWS, Batch, BatchReader, FileFacts, Positions, ReadRequest, SourceError, SourceFile, TimeRange, UnitFacts,
};
use crate::store::Stored;
use crate::time::TimeParser;

/// First six and last six bytes of the file format.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Magic and padding before the first message of a file.
const FILE_HEAD: u64 = 8;

/// The footer's length and the magic after the footer.
const FILE_TAIL: u64 = 10;

/// Stands before the length of each message since format version 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Rows that a record batch may claim. Columns of nulls take no bytes, so a broken length could claim any number.
const MAX_BATCH_ROWS: usize = i32::MAX as usize;

/// Buffers are padded to a multiple of 8 bytes, or of 64.
const MOST_PADDING_BYTES: usize = 64;

/// Bytes that one compressed buffer may claim to inflate to. Offsets of plain text columns end at as many.
const MAX_INFLATED_BYTES: i64 = i32::MAX as i64;

/// What one pass over a file tells.
#[derive(Debug, Clone)]
pub struct ArrowFacts {
    /// The columns in the plan's layout: text is `Utf8View`.
    pub schema: Schema,
    /// Rows, bytes and times of the file, its one unit.
    pub facts: FileFacts,
}

/// Reads a file's schema and its time column.
///
/// # Errors
/// [`crate::error::ErrorCode::SourceUnreadable`] where there is no schema, `SourceChanged` where the file is not the one
/// listed. What is wrong after the schema stands in [`FileFacts::problem`].
pub fn inspect(file: &SourceFile, time_column: &str, parser: &TimeParser) -> Result<ArrowFacts, SourceError> {
    check_unchanged(file)?;
    let mut messages = Messages::open(file)?;
    let schema = planned_schema(&messages.schema);
    let time = messages.schema.column_with_name(time_column).map(|(index, _)| index);
    let mut times = Times::default();
    let mut problem = None;
    loop {
        match messages.next(file, Some(time.as_slice())) {
            Ok(Some(batch)) => match (batch.columns().first(), schema.field_with_name(time_column)) {
                (Some(column), Ok(field)) => {
                    let column = guarded(|| adapt(column, false, field)).map_err(|m| mismatch(file, m))?;
                    times.add(field, &column, parser);
                }
                _ => times.add_without_time(batch.num_rows()),
            },
            Ok(None) => break,
            Err(error) => {
                problem = Some(error);
                break;
            }
        }
    }
    let problem = problem.or_else(|| check_unchanged(file).err());
    let unit = UnitFacts {
        rows: times.rows,
        bytes: file.bytes,
        times: times.range(),
        unplaced_rows: times.unplaced_rows,
        decoded_bytes: 0,
    };
    Ok(ArrowFacts { schema, facts: FileFacts { units: vec![unit], problem } })
}

/// What is known of the times so far.
#[derive(Default)]
struct Times {
    rows: u64,
    unplaced_rows: u64,
    bounds: Option<(i64, i64)>,
    unknown: bool,
}

impl Times {
    fn add_without_time(&mut self, rows: usize) {
        self.rows += rows as u64;
        self.unplaced_rows += rows as u64;
    }

    fn add(&mut self, field: &Field, column: &ArrayRef, parser: &TimeParser) {
        // A column that cannot be a time is told once, with its place in the catalog, when the plan is checked.
        let Ok(found) = instants(field, column, parser, TimeUnit::Microsecond) else {
            self.unknown = true;
            return self.add_without_time(column.len());
        };
        self.rows += column.len() as u64;
        self.unplaced_rows += found.values.null_count() as u64;
        for micros in found.values.iter().flatten() {
            let (min, max) = self.bounds.unwrap_or((micros, micros));
            self.bounds = Some((min.min(micros), max.max(micros)));
        }
    }

    fn range(&self) -> TimeRange {
        let instant = |micros| Timestamp::from_microsecond(micros).ok();
        match self.bounds {
            _ if self.unknown => TimeRange::Unknown,
            None => TimeRange::Empty,
            Some((min, max)) => match (instant(min), instant(max)) {
                // Microseconds are the floor of the times; the latest may be almost one later.
                (Some(min), Some(max)) => {
                    TimeRange::Within { min, max: max.checked_add(999.nanoseconds()).unwrap_or(Timestamp::MAX) }
                }
                _ => TimeRange::Unknown,
            },
        }
    }
}

/// Reads the rows of a file.
///
/// # Errors
/// As [`inspect`].
pub fn open(request: ReadRequest) -> Result<Box<dyn BatchReader>, SourceError> {
    check_unchanged(&request.file)?;
    let messages = Messages::open(&request.file)?;
    let wanted = |name: &str| request.schema.column_with_name(name).is_some();
    let projection =
        messages.schema.fields().iter().enumerate().filter(|(_, f)| wanted(f.name())).map(|(i, _)| i).collect();
    // A plan that reads no unit of the file gets no rows, as with row groups.
    let spent = request.units.is_empty();
    Ok(Box::new(ArrowReader { request, messages, projection, whole: None, given_rows: 0, spent }))
}

struct ArrowReader {
    request: ReadRequest,
    messages: Messages,
    projection: Vec<usize>,
    /// A record batch of the file in the planned schema, and how many of its rows were given.
    whole: Option<(RecordBatch, usize)>,
    given_rows: u64,
    spent: bool,
}

impl BatchReader for ArrowReader {
    fn next_batch(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.spent {
            return Ok(None);
        }
        // Set aside until the call has succeeded, because after an error nothing more may come.
        self.spent = true;
        let rows = self.advance()?;
        self.spent = rows.is_none();
        Ok(rows.map(|rows| {
            let first = self.given_rows + 1;
            self.given_rows += rows.num_rows() as u64;
            Batch { rows, unit: 0, positions: Positions::From(first), rejected: Vec::new(), outside: 0 }
        }))
    }
}

impl ArrowReader {
    fn advance(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            if let Some((whole, given)) = &mut self.whole {
                let length = BATCH_ROWS.min(whole.num_rows() - *given);
                if length > 0 {
                    let rows = whole.slice(*given, length);
                    *given += length;
                    return Ok(Some(rows));
                }
                self.whole = None;
            }
            let file = &self.request.file;
            let Some(batch) = self.messages.next(file, Some(&self.projection))? else {
                check_unchanged(file)?;
                return Ok(None);
            };
            // Before slicing: a slice of a list carries all its values along, and each slice would convert them all.
            let batch = guarded(|| uuid::as_text(&batch)).map_err(|m| mismatch(file, m))?;
            let rows = guarded(|| adapt_batch(&batch, &self.messages.schema, &self.request.schema))
                .map_err(|m| mismatch(file, format!("{m}; name the type that all files can have in `schema`")))?;
            self.whole = Some((rows, 0));
        }
    }
}

/// The record batches of a file or stream.
struct Messages {
    handle: Stored,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    order: Order,
}

/// Where the next message is.
enum Order {
    /// File format: where the record batches are.
    Blocks(std::vec::IntoIter<Extent>),
    /// Stream format: the place after the message before.
    Stream(u64),
}

/// One message: its flatbuffer, its body and the place after it.
struct Message {
    head: Vec<u8>,
    body: Buffer,
    after: u64,
}

impl Messages {
    fn open(file: &SourceFile) -> Result<Self, SourceError> {
        let fail = |message: String| unreadable(file, message);
        let handle = file.open()?;
        let magic = handle.read_at(0, file.bytes.min(6)).map_err(|error| SourceError::io(file, "read", &error))?;
        let messages = guarded(|| {
            if magic == MAGIC.as_slice() {
                Self::of_file(handle, file.bytes)
            } else {
                Self::of_stream(handle, file.bytes)
            }
        });
        let messages = messages.map_err(|m| fail(format!("is not readable as Arrow IPC: {m}")))?;
        match duplicate_column(&messages.schema) {
            Some(name) => Err(mismatch(file, format!("has two columns named {name}; rename one of them"))),
            None => Ok(messages),
        }
    }

    fn of_file(handle: Stored, bytes: u64) -> Result<Self, String> {
        let cut = "it begins as an Arrow file and does not end as one; copy it again";
        let tail_start = bytes.checked_sub(FILE_TAIL).filter(|start| *start >= FILE_HEAD).ok_or(cut)?;
        let tail = read_at(&handle, tail_start, FILE_TAIL, bytes)?;
        let tail: [u8; FILE_TAIL as usize] = tail.as_slice().try_into().map_err(|_| cut.to_owned())?;
        if !tail.ends_with(MAGIC) {
            return Err(cut.to_owned());
        }
        let length = reader::read_footer_length(tail).map_err(|error| error.to_string())? as u64;
        let start = tail_start.checked_sub(length).filter(|start| *start >= FILE_HEAD);
        let footer = read_at(&handle, start.ok_or("its footer is longer than the file")?, length, bytes)?;
        let footer = root_as_footer(&footer).map_err(|error| format!("its footer is broken: {error}"))?;
        let schema = decode_schema(footer.schema())?;
        let batches = extents(footer.recordBatches().ok_or("its footer lists no record batches")?)?;
        let dictionaries = extents(footer.dictionaries().into_iter().flatten())?;
        let footer_start = tail_start - length;
        let first = extent::first_message(&handle, FILE_HEAD, footer_start)?;
        let head = message_at(&handle, first, bytes)?.ok_or("it has no schema before its record batches")?;
        let root = root_as_message(&head.head).map_err(|error| format!("its schema is broken: {error}"))?;
        if decode_schema(root.header_as_schema())? != schema {
            return Err("its footer has another schema than its head; copy it again".to_owned());
        }
        let all: Vec<Extent> = dictionaries.iter().chain(&batches).copied().collect();
        extent::check_tiling(&handle, head.after, all, footer_start)?;
        let order = Order::Blocks(batches.into_iter());
        let mut messages = Self { handle, schema, dictionaries: HashMap::new(), order };
        for extent in dictionaries {
            let message = message_in(&messages.handle, extent, bytes)?.ok_or("a dictionary is missing")?;
            messages.decode(&message, None)?;
        }
        Ok(messages)
    }

    fn of_stream(handle: Stored, bytes: u64) -> Result<Self, String> {
        let first = message_at(&handle, 0, bytes)?.ok_or("it is empty")?;
        let message =
            root_as_message(&first.head).map_err(|error| format!("it does not begin with a schema: {error}"))?;
        let schema = decode_schema(message.header_as_schema())?;
        Ok(Self { handle, schema, dictionaries: HashMap::new(), order: Order::Stream(first.after) })
    }

    /// The next record batch; `None` at the proven end.
    fn next(&mut self, file: &SourceFile, projection: Option<&[usize]>) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            match guarded(|| self.step(file.bytes, projection)).map_err(|m| unreadable(file, m))? {
                Step::End => return Ok(None),
                Step::Batch(batch) => return Ok(Some(batch)),
                Step::Dictionary => {}
            }
        }
    }

    fn step(&mut self, bytes: u64, projection: Option<&[usize]>) -> Result<Step, String> {
        let message = match &mut self.order {
            Order::Blocks(extents) => match extents.next() {
                None => return Ok(Step::End),
                Some(extent) => message_in(&self.handle, extent, bytes)?.ok_or("a record batch is missing")?,
            },
            Order::Stream(place) => match message_at(&self.handle, *place, bytes)? {
                None => return Ok(Step::End),
                Some(message) => {
                    *place = message.after;
                    message
                }
            },
        };
        self.decode(&message, projection)
    }

    fn decode(&mut self, message: &Message, projection: Option<&[usize]>) -> Result<Step, String> {
        let head = root_as_message(&message.head).map_err(|error| format!("a message is broken: {error}"))?;
        let version = head.version();
        let text = |error: arrow::error::ArrowError| error.to_string();
        match head.header_type() {
            MessageHeader::RecordBatch => {
                let batch = head.header_as_record_batch().ok_or("a record batch is broken")?;
                check_inflated(&message.body, batch)?;
                check_covered(&message.body, batch)?;
                if usize::try_from(batch.length()).ok().is_none_or(|rows| rows > MAX_BATCH_ROWS) {
                    return Err(format!("a record batch claims {} rows", batch.length()));
                }
                let first = batch.nodes().and_then(|nodes| nodes.iter().next());
                if first.is_some_and(|node| node.length() != batch.length()) {
                    return Err(format!(
                        "a record batch claims {} rows and its first column has others",
                        batch.length()
                    ));
                }
                let schema = Arc::clone(&self.schema);
                let rows =
                    reader::read_record_batch(&message.body, batch, schema, &self.dictionaries, projection, &version);
                rows.map(Step::Batch).map_err(text)
            }
            MessageHeader::DictionaryBatch => {
                let batch = head.header_as_dictionary_batch().ok_or("a dictionary is broken")?;
                if let Some(data) = batch.data() {
                    check_inflated(&message.body, data)?;
                    check_covered(&message.body, data)?;
                }
                reader::read_dictionary(&message.body, batch, &self.schema, &mut self.dictionaries, &version)
                    .map_err(text)?;
                Ok(Step::Dictionary)
            }
            other => Err(format!("a {other:?} message stands among the record batches")),
        }
    }
}

/// A body ends with its last buffer, but for padding: one that is longer may hold the messages that come after it, and their
/// rows would be missing.
fn check_covered(body: &[u8], batch: arrow::ipc::RecordBatch<'_>) -> Result<(), String> {
    let ends = batch.buffers().into_iter().flatten().map(|buffer| buffer.offset().saturating_add(buffer.length()));
    let end = usize::try_from(ends.max().unwrap_or(0)).unwrap_or(usize::MAX);
    match body.len().saturating_sub(end) {
        0..MOST_PADDING_BYTES => Ok(()),
        uncovered => Err(format!("a record batch has {uncovered} bytes that belong to none of its columns")),
    }
}

/// A compressed buffer begins with its length when inflated, which is allocated before anything is inflated: what a
/// broken file claims there must not exhaust the machine.
fn check_inflated(body: &[u8], batch: arrow::ipc::RecordBatch<'_>) -> Result<(), String> {
    let (Some(_), Some(buffers)) = (batch.compression(), batch.buffers()) else { return Ok(()) };
    for buffer in buffers {
        let Ok(start) = usize::try_from(buffer.offset()) else { continue };
        let length = body.get(start..).and_then(|b| b.first_chunk()).map_or(0, |b| i64::from_le_bytes(*b));
        if length > MAX_INFLATED_BYTES {
            return Err(format!("a compressed buffer claims {length} bytes, more than {MAX_INFLATED_BYTES}"));
        }
    }
    Ok(())
}

/// What one message was.
enum Step {
    Batch(RecordBatch),
    Dictionary,
    End,
}

/// Where the messages of a footer's blocks are.
fn extents<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Result<Vec<Extent>, String> {
    let extents = blocks.into_iter().map(|block| {
        let start = u64::try_from(block.offset()).ok()?;
        let length =
            u64::try_from(block.metaDataLength()).ok()?.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
        Some(Extent { start, end: start.checked_add(length)? })
    });
    extents.collect::<Option<_>>().ok_or_else(|| "its footer points before the file".to_owned())
}

/// The message that a block of the footer is, which must be as long as the footer says.
fn message_in(handle: &Stored, extent: Extent, bytes: u64) -> Result<Option<Message>, String> {
    let message = message_at(handle, extent.start, bytes)?;
    match &message {
        Some(message) if message.after != extent.end => Err(format!(
            "the message at byte {} ends at byte {} and by the footer at byte {}; copy the file again",
            extent.start, message.after, extent.end
        )),
        _ => Ok(message),
    }
}

fn decode_schema(schema: Option<arrow::ipc::Schema<'_>>) -> Result<SchemaRef, String> {
    let schema = schema.ok_or("it has no schema")?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err("it was written on a machine of the other byte order".to_owned());
    }
    convert::try_fb_to_schema(schema).map(Arc::new).map_err(|error| error.to_string())
}

/// Reads bytes that the file surely has, into memory aligned for arrays.
fn read_at(handle: &Stored, start: u64, length: u64, bytes: u64) -> Result<MutableBuffer, String> {
    if start.checked_add(length).is_none_or(|end| end > bytes) {
        return Err(format!("it ends at byte {bytes}, in the middle of a message; copy it again"));
    }
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    let mut buffer = MutableBuffer::from_len_zeroed(length);
    handle.read_exact_at(start, buffer.as_slice_mut()).map_err(|error| remember(error).to_string())?;
    Ok(buffer)
}

/// The message at a place; `None` for the end-of-stream marker with nothing behind it.
fn message_at(handle: &Stored, place: u64, bytes: u64) -> Result<Option<Message>, String> {
    if place == bytes {
        return Err("it ends without an end-of-stream marker, so rows may be missing; copy it again".to_owned());
    }
    let word = |handle: &Stored, at: u64| -> Result<[u8; 4], String> {
        read_at(handle, at, 4, bytes)?.as_slice().try_into().map_err(|_| "it cannot be read".to_owned())
    };
    let mut at = place;
    let mut length = word(handle, at)?;
    at += 4;
    if length == CONTINUATION {
        length = word(handle, at)?;
        at += 4;
    }
    let length = u64::from(u32::from_le_bytes(length));
    if length == 0 {
        return if at == bytes { Ok(None) } else { Err(format!("{} bytes stand behind its end", bytes - at)) };
    }
    let head = read_at(handle, at, length, bytes)?.as_slice().to_vec();
    at += length;
    let body_length = root_as_message(&head).map_err(|error| format!("a message is broken: {error}"))?.bodyLength();
    let body_length = u64::try_from(body_length).map_err(|_| format!("a message claims {body_length} bytes"))?;
    let body = read_at(handle, at, body_length, bytes)?.into();
    Ok(Some(Message { head, body, after: at + body_length }))
}

mod extent;
#[cfg(test)]
mod tests;
