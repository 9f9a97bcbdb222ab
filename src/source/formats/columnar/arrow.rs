//! Arrow IPC: the file format (Feather version 2) and the stream format, distinguished by their first bytes.
//!
//! This module reads the framing; the `arrow` crate decodes the messages. Lengths come from the file and are compared with
//! its size before anything is allocated. A stream must end with its end-of-stream marker, because without it a complete
//! stream looks like one truncated between two batches. The footer of a file must account for every byte: schema,
//! dictionaries and record batches follow each other from the head to the footer, because a batch that a corrupt footer
//! omits would be lost silently. A file is one unit. Format: <https://arrow.apache.org/docs/format/Columnar.html>.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use arrow::ipc::{Block, MessageHeader, convert, reader, root_as_footer, root_as_message};
use arrow::record_batch::RecordBatch;

use self::error::IpcError;
use self::extent::Extent;
use crate::source::formats::FileRequest;
use crate::source::formats::columnar::adapt::duplicate_column;
use crate::source::formats::columnar::foreign::{guarded, mismatch, remember, unreadable};
use crate::source::formats::columnar::whole::{self, RecordBatches, WholeFacts};
use crate::source::{BatchReader, SourceError, SourceFile};
use crate::store::Stored;
use crate::time::TimeParser;

/// First six and last six bytes of the file format.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Magic and padding before the first message of a file.
const FILE_HEAD: u64 = 8;

/// The footer's length and the magic after the footer.
const FILE_TAIL: usize = 10;

/// Precedes the length of each message since format version 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Most rows that a record batch may claim. Columns of nulls take no bytes, so a corrupt length could claim any number.
const MAX_BATCH_ROWS: usize = i32::MAX as usize;

/// Buffers are padded to a multiple of 8 bytes, or of 64.
const MOST_PADDING_BYTES: usize = 64;

/// Most bytes that a compressed buffer may claim to inflate to. Offsets of text columns have the same limit.
const MAX_INFLATED_BYTES: i64 = i32::MAX as i64;

/// Reads a file's schema and its time column.
///
/// # Errors
/// [`SourceUnreadable`](crate::error::ErrorCode::SourceUnreadable) if there is no schema,
/// [`SourceChanged`](crate::error::ErrorCode::SourceChanged) if the file has changed since it was listed.
/// [`InputFacts::problem`](crate::source::InputFacts::problem) holds errors after the schema.
pub(crate) fn inspect(
    file: &SourceFile,
    time_column: &str,
    time_parser: &TimeParser,
) -> Result<WholeFacts, SourceError> {
    whole::inspect(file, Messages::open, time_column, time_parser)
}

/// Reads the rows of a file.
///
/// # Errors
/// As [`inspect`].
pub(crate) fn open(request: FileRequest) -> Result<Box<dyn BatchReader>, SourceError> {
    whole::open(request, Messages::open)
}

/// The record batches of a file or stream.
struct Messages {
    handle: Stored,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    order: Order,
}

/// The location of the next message.
enum Order {
    /// File format: the extents of the remaining record batches.
    Blocks(std::vec::IntoIter<Extent>),
    /// Stream format: the offset after the previous message.
    Stream(u64),
}

/// One message: its flatbuffer, its body and the offset after it.
struct Message {
    head: Vec<u8>,
    body: Buffer,
    after: u64,
}

impl Messages {
    fn open(file: &SourceFile) -> Result<Self, SourceError> {
        let handle = file.open()?;
        let magic = handle.read_at(0, file.bytes.min(6)).map_err(|error| SourceError::io(file, "read", &error))?;
        let messages = guarded(|| {
            if magic == MAGIC.as_slice() {
                Self::of_file(handle, file.bytes)
            } else {
                Self::of_stream(handle, file.bytes)
            }
        });
        let messages = messages.map_err(|error| unreadable(file, format!("is not readable as Arrow IPC: {error}")))?;
        match duplicate_column(&messages.schema) {
            Some(name) => Err(mismatch(file, format!("has two columns named {name}; rename one of them"))),
            None => Ok(messages),
        }
    }

    fn of_file(handle: Stored, bytes: u64) -> Result<Self, IpcError> {
        let cut_short = || IpcError::FileCutShort;
        let tail_start =
            bytes.checked_sub(FILE_TAIL as u64).filter(|start| *start >= FILE_HEAD).ok_or_else(cut_short)?;
        let tail = read_at(&handle, tail_start, FILE_TAIL as u64, bytes)?;
        let tail: [u8; FILE_TAIL] = tail.as_slice().try_into().map_err(|_| cut_short())?;
        if !tail.ends_with(MAGIC) {
            return Err(cut_short());
        }
        let length = reader::read_footer_length(tail)? as u64;
        let start = tail_start.checked_sub(length).filter(|start| *start >= FILE_HEAD);
        let footer = read_at(&handle, start.ok_or(IpcError::FooterLength)?, length, bytes)?;
        let footer = root_as_footer(&footer).map_err(IpcError::flatbuffer("its footer"))?;
        let schema = decode_schema(footer.schema())?;
        let batches = extents(footer.recordBatches().ok_or(IpcError::NoBatchList)?)?;
        let dictionaries = extents(footer.dictionaries().into_iter().flatten())?;
        let footer_start = tail_start - length;
        let first = extent::first_message(&handle, FILE_HEAD, footer_start)?;
        let head = message_at(&handle, first, bytes)?.ok_or(IpcError::NoSchemaBeforeBatches)?;
        let root = root_as_message(&head.head).map_err(IpcError::flatbuffer("its schema"))?;
        if decode_schema(root.header_as_schema())? != schema {
            return Err(IpcError::SchemasDiffer);
        }
        let all: Vec<Extent> = dictionaries.iter().chain(&batches).copied().collect();
        extent::check_tiling(&handle, head.after, all, footer_start)?;
        let order = Order::Blocks(batches.into_iter());
        let mut messages = Self { handle, schema, dictionaries: HashMap::new(), order };
        for extent in dictionaries {
            let message = message_in(&messages.handle, extent, bytes)?.ok_or(IpcError::Missing("a dictionary"))?;
            messages.decode(&message, None)?;
        }
        Ok(messages)
    }

    fn of_stream(handle: Stored, bytes: u64) -> Result<Self, IpcError> {
        let first = message_at(&handle, 0, bytes)?.ok_or(IpcError::Empty)?;
        let message = root_as_message(&first.head).map_err(|error| IpcError::NotASchema(error.to_string()))?;
        let schema = decode_schema(message.header_as_schema())?;
        Ok(Self { handle, schema, dictionaries: HashMap::new(), order: Order::Stream(first.after) })
    }

    fn step(&mut self, bytes: u64, projection: Option<&[usize]>) -> Result<Step, IpcError> {
        let message = match &mut self.order {
            Order::Blocks(extents) => match extents.next() {
                None => return Ok(Step::End),
                Some(extent) => message_in(&self.handle, extent, bytes)?.ok_or(IpcError::Missing("a record batch"))?,
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

    fn decode(&mut self, message: &Message, projection: Option<&[usize]>) -> Result<Step, IpcError> {
        let head = root_as_message(&message.head).map_err(IpcError::flatbuffer("a message"))?;
        let version = head.version();
        match head.header_type() {
            MessageHeader::RecordBatch => {
                let batch = head.header_as_record_batch().ok_or(IpcError::Corrupt("a record batch"))?;
                check_inflated(&message.body, batch)?;
                check_covered(&message.body, batch)?;
                if usize::try_from(batch.length()).ok().is_none_or(|rows| rows > MAX_BATCH_ROWS) {
                    return Err(IpcError::RowCount(batch.length()));
                }
                let first = batch.nodes().and_then(|nodes| nodes.iter().next());
                if first.is_some_and(|node| node.length() != batch.length()) {
                    return Err(IpcError::RowCountsDiffer(batch.length()));
                }
                let schema = Arc::clone(&self.schema);
                let rows =
                    reader::read_record_batch(&message.body, batch, schema, &self.dictionaries, projection, &version);
                Ok(Step::Batch(rows?))
            }
            MessageHeader::DictionaryBatch => {
                let batch = head.header_as_dictionary_batch().ok_or(IpcError::Corrupt("a dictionary"))?;
                if let Some(data) = batch.data() {
                    check_inflated(&message.body, data)?;
                    check_covered(&message.body, data)?;
                }
                reader::read_dictionary(&message.body, batch, &self.schema, &mut self.dictionaries, &version)?;
                Ok(Step::Dictionary)
            }
            other => Err(IpcError::UnexpectedMessage(other)),
        }
    }
}

impl RecordBatches for Messages {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next(&mut self, file: &SourceFile, columns: &[usize]) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            match guarded(|| self.step(file.bytes, Some(columns))).map_err(|m| unreadable(file, m))? {
                Step::End => return Ok(None),
                Step::Batch(batch) => return Ok(Some(batch)),
                Step::Dictionary => {}
            }
        }
    }
}

/// Checks that a body ends with its last buffer and padding. A longer body may contain later messages, whose rows would be
/// lost.
fn check_covered(body: &[u8], batch: arrow::ipc::RecordBatch<'_>) -> Result<(), IpcError> {
    let ends = batch.buffers().into_iter().flatten().map(|buffer| buffer.offset().saturating_add(buffer.length()));
    let end = usize::try_from(ends.max().unwrap_or(0)).unwrap_or(usize::MAX);
    match body.len().saturating_sub(end) {
        0..MOST_PADDING_BYTES => Ok(()),
        uncovered => Err(IpcError::UncoveredBytes(uncovered)),
    }
}

/// Checks the claimed sizes of compressed buffers. The decoder allocates the claimed size first, and a corrupt file must
/// not exhaust memory.
fn check_inflated(body: &[u8], batch: arrow::ipc::RecordBatch<'_>) -> Result<(), IpcError> {
    let (Some(_), Some(buffers)) = (batch.compression(), batch.buffers()) else { return Ok(()) };
    for buffer in buffers {
        let Ok(start) = usize::try_from(buffer.offset()) else { continue };
        let length = body.get(start..).and_then(|b| b.first_chunk()).map_or(0, |b| i64::from_le_bytes(*b));
        if length > MAX_INFLATED_BYTES {
            return Err(IpcError::InflatedBytes(length));
        }
    }
    Ok(())
}

/// The content of one message.
enum Step {
    Batch(RecordBatch),
    Dictionary,
    End,
}

/// The extents of the messages that a footer lists.
fn extents<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Result<Vec<Extent>, IpcError> {
    let extents = blocks.into_iter().map(|block| {
        let start = u64::try_from(block.offset()).ok()?;
        let length =
            u64::try_from(block.metaDataLength()).ok()?.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
        Some(Extent { start, end: start.checked_add(length)? })
    });
    extents.collect::<Option<_>>().ok_or(IpcError::NegativeOffset)
}

/// Reads a message listed in the footer, and checks that it is as long as the footer says.
fn message_in(handle: &Stored, extent: Extent, bytes: u64) -> Result<Option<Message>, IpcError> {
    let message = message_at(handle, extent.start, bytes)?;
    match &message {
        Some(message) if message.after != extent.end => {
            Err(IpcError::MessageEnd { start: extent.start, end: message.after, listed_end: extent.end })
        }
        _ => Ok(message),
    }
}

fn decode_schema(schema: Option<arrow::ipc::Schema<'_>>) -> Result<SchemaRef, IpcError> {
    let schema = schema.ok_or(IpcError::NoSchema)?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err(IpcError::ByteOrder);
    }
    Ok(Arc::new(convert::try_fb_to_schema(schema)?))
}

/// Reads bytes into memory aligned for arrays, after checking that the file has them.
fn read_at(handle: &Stored, start: u64, length: u64, bytes: u64) -> Result<MutableBuffer, IpcError> {
    if start.checked_add(length).is_none_or(|end| end > bytes) {
        return Err(IpcError::MessageCutShort { end: bytes });
    }
    let length = usize::try_from(length)?;
    let mut buffer = MutableBuffer::from_len_zeroed(length);
    handle.read_exact_at(start, buffer.as_slice_mut()).map_err(|error| IpcError::Read(remember(error)))?;
    Ok(buffer)
}

/// The message at an offset; `None` for the end-of-stream marker at the end of the file.
fn message_at(handle: &Stored, place: u64, bytes: u64) -> Result<Option<Message>, IpcError> {
    if place == bytes {
        return Err(IpcError::NoEndOfStream);
    }
    let word = |handle: &Stored, at: u64| -> Result<[u8; 4], IpcError> {
        read_at(handle, at, 4, bytes)?.as_slice().try_into().map_err(|_| IpcError::MessageCutShort { end: bytes })
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
        return if at == bytes { Ok(None) } else { Err(IpcError::TrailingBytes { bytes: bytes - at }) };
    }
    let head = read_at(handle, at, length, bytes)?.as_slice().to_vec();
    at += length;
    let body_length = root_as_message(&head).map_err(IpcError::flatbuffer("a message"))?.bodyLength();
    let body_length = u64::try_from(body_length).map_err(|_| IpcError::BodyLength(body_length))?;
    let body = read_at(handle, at, body_length, bytes)?.into();
    Ok(Some(Message { head, body, after: at + body_length }))
}

mod error;
mod extent;
#[cfg(test)]
mod tests;
