//! The container: a header with the schema, then blocks of records, each with its number, its length and a marker at its end.

use std::io::{self, BufRead, Cursor, Read};

use bytes::Bytes;
use serde_json::Value;

use crate::source::formats::columnar::foreign::remember;
use crate::store::Stored;

const MAGIC: &[u8; 4] = b"Obj\x01";

/// Bytes of the marker that ends the header and each block.
const SYNC_BYTES: u64 = 16;

/// Most bytes of a header, whose schema is JSON.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Most bytes of a block, decompressed. Writers flush blocks of some 16 KiB to a few MiB.
const MAX_BLOCK_BYTES: u64 = 256 << 20;

/// Most bytes of a variable-length integer of 64 bits.
const MAX_LONG_BYTES: u64 = 10;

/// Bytes that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// Why a container is not readable.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContainerError {
    #[error("it does not begin as Avro container files do")]
    NotAvro,
    #[error("its header {0}")]
    Header(&'static str),
    #[error(
        "it is compressed with {0}, which is not read; write it with null, deflate, snappy, zstandard, bzip2 or xz"
    )]
    Codec(String),
    #[error("it ends inside a block: it is truncated; fetch it again")]
    CutShort,
    #[error("a block claims {0}, which it cannot hold")]
    Claim(String),
    #[error("a block does not end with the marker of the file")]
    Sync,
    #[error("a block cannot be decompressed: {0}")]
    Decompress(io::Error),
    #[error("a block has another checksum than it says")]
    Checksum,
    #[error("cannot be read: {0}")]
    Read(io::Error),
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

/// A block of records, decompressed.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) records: u64,
    bytes: Bytes,
}

/// A file, read block by block.
pub(super) struct Container {
    handle: Stored,
    /// Size of the file.
    bytes: u64,
    /// Offset of the next block.
    at: u64,
    /// The last bytes that were read, and their offset.
    window: (u64, Bytes),
    /// A header without compression.
    head: Vec<u8>,
    sync: [u8; 16],
    codec: Codec,
}

impl Container {
    /// Reads the header of a file of `bytes` bytes.
    pub(super) fn open(handle: Stored, bytes: u64) -> Result<Self, ContainerError> {
        let mut length = READ_BYTES;
        loop {
            let start = handle.read_at(0, length.min(bytes)).map_err(|e| ContainerError::Read(remember(e)))?;
            if !start.starts_with(MAGIC) {
                return Err(ContainerError::NotAvro);
            }
            if let Some(header) = header(&start)? {
                let Header { schema, codec, sync, length } = header;
                let mut head = MAGIC.to_vec();
                put_long(1, &mut head);
                put_bytes(b"avro.schema", &mut head);
                put_bytes(&with_plain_names(&schema)?, &mut head);
                put_long(0, &mut head);
                head.extend_from_slice(&sync);
                return Ok(Self { handle, bytes, at: length, window: (0, start), head, sync, codec });
            }
            if length >= bytes {
                return Err(ContainerError::Header("is cut short: the file is truncated; fetch it again"));
            }
            if length >= MAX_HEADER_BYTES {
                return Err(ContainerError::Header("is longer than 64 MiB"));
            }
            length *= 8;
        }
    }

    /// A header without blocks and without compression.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// A container of one block that claims `records` records.
    pub(super) fn with_records(&self, block: &Block, records: u64) -> impl BufRead {
        let mut start = self.head.clone();
        put_long(records, &mut start);
        put_long(block.bytes.len() as u64, &mut start);
        Cursor::new(start).chain(Cursor::new(block.bytes.clone())).chain(Cursor::new(self.sync))
    }

    /// The next block that has records; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Block>, ContainerError> {
        loop {
            if self.at == self.bytes {
                return Ok(None);
            }
            let start = self.read(self.at, (2 * MAX_LONG_BYTES).min(self.bytes - self.at))?;
            let mut rest: &[u8] = &start;
            let (Some(records), Some(length)) = (take_long(&mut rest), take_long(&mut rest)) else {
                return Err(ContainerError::CutShort);
            };
            let body = self.at + (start.len() - rest.len()) as u64;
            let length = u64::try_from(length).map_err(|_| ContainerError::Claim(format!("{length} bytes")))?;
            let claim = || ContainerError::Claim(format!("{records} records in {length} bytes"));
            let records = u64::try_from(records).map_err(|_| claim())?;
            if length > MAX_BLOCK_BYTES {
                return Err(claim());
            }
            let end = body + length;
            if end + SYNC_BYTES > self.bytes {
                return Err(ContainerError::CutShort);
            }
            if *self.read(end, SYNC_BYTES)? != self.sync {
                return Err(ContainerError::Sync);
            }
            let compressed = self.read(body, length)?;
            self.at = end + SYNC_BYTES;
            let bytes = self.codec.decompress(compressed)?;
            // Each record has at least one byte, unless all its fields are null.
            if records > bytes.len() as u64 || (records == 0 && !bytes.is_empty()) {
                return Err(claim());
            }
            if records > 0 {
                return Ok(Some(Block { records, bytes }));
            }
        }
    }

    /// Bytes that the file has.
    fn read(&mut self, at: u64, length: u64) -> Result<Bytes, ContainerError> {
        let (start, window) = &self.window;
        let slice = |window: &Bytes, start: u64| {
            let from = usize::try_from(at.checked_sub(start)?).ok()?;
            let to = from.checked_add(usize::try_from(length).ok()?)?;
            (to <= window.len()).then(|| window.slice(from..to))
        };
        if let Some(found) = slice(window, *start) {
            return Ok(found);
        }
        let wanted = length.max(READ_BYTES).min(self.bytes - at);
        let read = self.handle.read_at(at, wanted).map_err(|e| ContainerError::Read(remember(e)))?;
        let found = slice(&read, at).ok_or(ContainerError::CutShort)?;
        self.window = (at, read);
        Ok(found)
    }
}

/// What the header says.
struct Header {
    schema: Vec<u8>,
    codec: Codec,
    sync: [u8; 16],
    /// Bytes of the header.
    length: u64,
}

/// Reads a header; `None` if the text does not hold all of it.
fn header(text: &[u8]) -> Result<Option<Header>, ContainerError> {
    let mut rest = text.get(MAGIC.len()..).unwrap_or_default();
    let (mut schema, mut codec) = (None, Codec::Null);
    loop {
        let Some(count) = take_long(&mut rest) else { return Ok(None) };
        if count == 0 {
            break;
        }
        // A negative number of entries is followed by their length.
        if count < 0 && take_long(&mut rest).is_none() {
            return Ok(None);
        }
        for _ in 0..count.unsigned_abs() {
            let Some((key, value)) = take_bytes(&mut rest).and_then(|key| Some((key, take_bytes(&mut rest)?))) else {
                return Ok(None);
            };
            match key {
                b"avro.schema" => schema = Some(value.to_vec()),
                b"avro.codec" => codec = Codec::named(value)?,
                _ => {}
            }
        }
    }
    let Some((sync, after)) = rest.split_first_chunk() else { return Ok(None) };
    let schema = schema.ok_or(ContainerError::Header("has no schema"))?;
    Ok(Some(Header { schema, codec, sync: *sync, length: (text.len() - after.len()) as u64 }))
}

impl Codec {
    fn named(name: &[u8]) -> Result<Self, ContainerError> {
        Ok(match name {
            b"null" | b"" => Self::Null,
            b"deflate" => Self::Deflate,
            b"snappy" => Self::Snappy,
            b"zstandard" => Self::Zstandard,
            b"bzip2" => Self::Bzip2,
            b"xz" => Self::Xz,
            other => return Err(ContainerError::Codec(String::from_utf8_lossy(other).into_owned())),
        })
    }

    fn decompress(self, block: Bytes) -> Result<Bytes, ContainerError> {
        let data: &[u8] = &block;
        match self {
            Self::Null => Ok(block),
            Self::Deflate => read_all(flate2::read::DeflateDecoder::new(data)),
            Self::Zstandard => zstd::Decoder::new(data).map_err(ContainerError::Decompress).and_then(read_all),
            Self::Bzip2 => read_all(bzip2::read::BzDecoder::new(data)),
            Self::Xz => read_all(liblzma::read::XzDecoder::new(data)),
            Self::Snappy => {
                let (data, checksum) = data.split_last_chunk::<4>().ok_or(ContainerError::CutShort)?;
                let invalid = |error: snap::Error| ContainerError::Decompress(io::Error::other(error));
                let length = snap::raw::decompress_len(data).map_err(invalid)? as u64;
                if length > MAX_BLOCK_BYTES {
                    return Err(ContainerError::Claim(format!("{length} bytes")));
                }
                let bytes = snap::raw::Decoder::new().decompress_vec(data).map_err(invalid)?;
                let mut found = flate2::Crc::new();
                found.update(&bytes);
                if found.sum().to_be_bytes() != *checksum {
                    return Err(ContainerError::Checksum);
                }
                Ok(bytes.into())
            }
        }
    }
}

fn read_all(decoder: impl Read) -> Result<Bytes, ContainerError> {
    let mut bytes = Vec::new();
    decoder.take(MAX_BLOCK_BYTES + 1).read_to_end(&mut bytes).map_err(ContainerError::Decompress)?;
    if bytes.len() as u64 > MAX_BLOCK_BYTES {
        return Err(ContainerError::Claim("more than 256 MiB".to_owned()));
    }
    Ok(bytes.into())
}

/// The schema with `name` and `namespace` in place of full names: `arrow-avro` does not find a type again that was defined by
/// its full name.
fn with_plain_names(schema: &[u8]) -> Result<Vec<u8>, ContainerError> {
    fn split(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(split),
            Value::Object(object) => {
                let is_type = object.contains_key("type");
                let full = object.get("name").and_then(Value::as_str).and_then(|name| name.rsplit_once('.'));
                if let Some((namespace, name)) = full.filter(|_| is_type) {
                    let (namespace, name) = (Value::from(namespace), Value::from(name));
                    object.insert("namespace".to_owned(), namespace);
                    object.insert("name".to_owned(), name);
                }
                object.iter_mut().filter(|(key, _)| *key != "default").for_each(|(_, inner)| split(inner));
            }
            _ => {}
        }
    }
    let mut schema = serde_json::from_slice(schema).map_err(|_| ContainerError::Header("has no JSON as its schema"))?;
    split(&mut schema);
    Ok(schema.to_string().into_bytes())
}

/// Takes a zigzag variable-length integer off the front.
fn take_long(rest: &mut &[u8]) -> Option<i64> {
    let mut bits: u64 = 0;
    for (i, byte) in rest.iter().take(10).enumerate() {
        bits |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            *rest = rest.get(i + 1..)?;
            return Some((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut after = *rest;
    let length = usize::try_from(take_long(&mut after)?).ok()?;
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn put_long(value: u64, into: &mut Vec<u8>) {
    let mut bits = u128::from(value) << 1;
    while bits > 0x7f {
        #[expect(clippy::cast_possible_truncation, reason = "the low 7 bits")]
        into.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 0x7f")]
    into.push(bits as u8);
}

fn put_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    put_long(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}
