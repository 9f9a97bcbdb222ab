//! A Parquet file for the decoder, with a limit on its memory use.
//!
//! The decoder allocates the size stated in a page header before it decompresses the page, and copies a dictionary
//! value for every row that has it. So the start of each header is parsed here: Parquet's `PageHeader` in Thrift's
//! compact protocol (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>,
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>). Headers of encrypted files are
//! authenticated with their keys, and are not looked at.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

use crate::seal::PlainFile;

/// Maximum size of a decompressed page: that of a record.
const MAX_PAGE_BYTES: u64 = super::MAX_RECORD_BYTES as u64;

/// Maximum bytes that the dictionaries of a row group may add to a batch.
const BATCH_BYTES: u64 = 256 << 20;

/// The decoder's own size of a batch.
const MAX_BATCH_ROWS: usize = 1024;

/// A page header is rarely larger.
const HEADER_BYTES: u64 = 64 << 10;

/// The footer's length and the magic.
const FOOTER_BYTES: u64 = 8;

/// Parquet's number of the prefix encoding, in which a few bytes can become gigabytes.
const DELTA_BYTE_ARRAY: i64 = 7;

/// The file.
pub(crate) struct Pages {
    file: Arc<PlainFile>,
    is_encrypted: bool,
    /// Where the bytes of a page begin, behind a header that was looked at.
    bodies: Mutex<BTreeSet<u64>>,
}

impl Pages {
    /// Looks whether the file is encrypted.
    ///
    /// # Errors
    /// The file's.
    pub(crate) fn new(file: PlainFile) -> io::Result<Self> {
        let magic = file.bytes().checked_sub(4).map(|at| file.read_at(at, 4)).transpose()?;
        let is_encrypted = magic.is_some_and(|magic| magic[..] == *b"PARE");
        Ok(Self { is_encrypted, file: Arc::new(file), bodies: Mutex::default() })
    }

    /// Rows of a batch, so that values of dictionaries, repeated in all its rows, stay within [`BATCH_BYTES`].
    ///
    /// # Errors
    /// The file's, and a dictionary that is too large.
    pub(crate) fn batch_rows(&self, metadata: &ParquetMetaData) -> Result<usize, ParquetError> {
        let mut largest = 0;
        for group in metadata.row_groups().iter().filter(|_| !self.is_encrypted) {
            let mut bytes = 0_u64;
            for column in group.columns() {
                let Some(at) = column.dictionary_page_offset().and_then(|at| u64::try_from(at).ok()) else { continue };
                bytes = bytes.saturating_add(page(&self.header(at)?)?);
            }
            largest = largest.max(bytes);
        }
        let rows = usize::try_from(BATCH_BYTES / largest.max(1)).unwrap_or(MAX_BATCH_ROWS);
        Ok(rows.clamp(1, MAX_BATCH_ROWS))
    }

    fn header(&self, at: u64) -> io::Result<Bytes> {
        let length = self.file.bytes().saturating_sub(at).min(HEADER_BYTES);
        self.file.read_at(at, length)
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.file.bytes()
    }
}

impl ChunkReader for Pages {
    type T = Box<dyn Read + Send>;

    /// The decoder asks this way for headers of pages, for what follows a header that it has read before, and for the end of
    /// the file.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let is_footer = start >= self.file.bytes().saturating_sub(FOOTER_BYTES);
        let is_body = self.bodies.lock().unwrap_or_else(PoisonError::into_inner).contains(&start);
        if !self.is_encrypted && !is_footer && !is_body {
            let header = self.header(start)?;
            page(&header)?;
            let length = Stated::length(&header).ok_or_else(unknown_header)?;
            self.bodies.lock().unwrap_or_else(PoisonError::into_inner).insert(start.saturating_add(length as u64));
        }
        Ok(Box::new(FromPlace { file: self.file.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.file.read_at(start, length as u64)?)
    }
}

/// A file from some place on, read a block at a time.
struct FromPlace {
    file: Arc<PlainFile>,
    at: u64,
}

impl Read for FromPlace {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.file.bytes().saturating_sub(self.at);
        let length = left.min(into.len() as u64);
        let block = self.file.read_at(self.at, length)?;
        let Some(into) = into.get_mut(..block.len()) else { return Err(io::ErrorKind::InvalidData.into()) };
        into.copy_from_slice(&block);
        self.at += block.len() as u64;
        Ok(block.len())
    }
}

fn unknown_header() -> ParquetError {
    ParquetError::General("a page has a header that shards never have".to_owned())
}

/// The size that a page says it has.
fn page(header: &[u8]) -> Result<u64, ParquetError> {
    let wrong = |why: &dyn fmt::Display| ParquetError::General(format!("a page {why}"));
    let stated = Stated::of(header).ok_or_else(unknown_header)?;
    if stated.encoding == Some(DELTA_BYTE_ARRAY) {
        return Err(wrong(&"has the encoding DELTA_BYTE_ARRAY, which shards never use"));
    }
    match u64::try_from(stated.bytes) {
        Ok(bytes) if bytes <= MAX_PAGE_BYTES => Ok(bytes),
        _ => {
            let why = format!("says that it has {} bytes, but the maximum is 512 MiB", stated.bytes);
            Err(wrong(&why))
        }
    }
}

/// What a page's header says, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Stated {
    bytes: i64,
    encoding: Option<i64>,
}

impl Stated {
    /// Bytes of the header.
    fn length(header: &[u8]) -> Option<usize> {
        let mut thrift = Thrift(header);
        thrift.skip(Thrift::STRUCT, 0)?;
        Some(header.len() - thrift.0.len())
    }

    fn of(header: &[u8]) -> Option<Self> {
        let mut thrift = Thrift(header);
        // 1: type, 2: uncompressed size, 3: compressed size
        thrift.integer(1, 0)?;
        let bytes = thrift.integer(2, 1)?;
        thrift.integer(3, 2)?;
        let mut id = 3;
        loop {
            let (next, kind) = thrift.field(id)?;
            id = next;
            let encoding = match (id, kind) {
                // The checksum.
                (4, Thrift::I32) => {
                    thrift.varint()?;
                    continue;
                }
                // Values, encoding.
                (5, Thrift::STRUCT) => {
                    thrift.integer(1, 0)?;
                    Some(thrift.integer(2, 1)?)
                }
                (6 | 7, Thrift::STRUCT) => None,
                // Values, nulls, rows, encoding.
                (8, Thrift::STRUCT) => {
                    for before in 0..3 {
                        thrift.integer(before + 1, before)?;
                    }
                    Some(thrift.integer(4, 3)?)
                }
                _ => return None,
            };
            return Some(Self { bytes, encoding });
        }
    }
}

/// Bytes in Thrift's compact protocol.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    const BOOLEANS: [u8; 2] = [1, 2];
    const BYTE: u8 = 3;
    const I16: u8 = 4;
    const I32: u8 = 5;
    const I64: u8 = 6;
    const DOUBLE: u8 = 7;
    const BINARY: u8 = 8;
    const STRUCT: u8 = 12;
    /// Structs in structs in a page's header.
    const MAX_DEPTH: usize = 8;

    /// Goes past a value. Lists and maps do not occur in headers of pages.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            kind if Self::BOOLEANS.contains(&kind) => Some(()),
            Self::BYTE => self.byte().map(drop),
            Self::I16 | Self::I32 | Self::I64 => self.varint().map(drop),
            Self::DOUBLE => self.take(8),
            Self::BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.take(length)
            }
            Self::STRUCT if depth < Self::MAX_DEPTH => {
                let mut id = 0;
                while *self.0.first()? != 0 {
                    let (next, kind) = self.field(id)?;
                    id = next;
                    self.skip(kind, depth + 1)?;
                }
                self.take(1)
            }
            _ => None,
        }
    }

    fn take(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// The number and the type of the next field; `None` at the end of the struct.
    fn field(&mut self, before: i64) -> Option<(i64, u8)> {
        let byte = self.byte()?;
        match (byte >> 4, byte & 0x0f) {
            (_, 0) => None,
            (0, kind) => Some((self.zigzag()?, kind)),
            (delta, kind) => Some((before + i64::from(delta), kind)),
        }
    }

    /// The value of an integer field that has to come next.
    fn integer(&mut self, id: i64, before: i64) -> Option<i64> {
        (self.field(before)? == (id, Self::I32)).then(|| self.zigzag())?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Encoding;
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::SerializedFileReader;

    use super::*;

    /// The header of the first page that holds values, of a file that the library wrote.
    fn first_page(properties: WriterProperties) -> (Vec<u8>, Option<u64>) {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "ab"]));
        let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let file = Bytes::from(file);
        let reader = SerializedFileReader::new(file.clone()).unwrap();
        let column = reader.metadata().row_group(0).column(0).clone();
        let at = |offset: i64| usize::try_from(offset).unwrap();
        let dictionary = column.dictionary_page_offset().map(|offset| page(&file[at(offset)..]).unwrap());
        (file[at(column.data_page_offset())..].to_vec(), dictionary)
    }

    #[test]
    fn sizes_and_encodings_are_those_that_the_library_writes() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = || WriterProperties::builder().set_writer_version(version);
            let (header, dictionary) =
                first_page(properties().set_dictionary_enabled(false).set_encoding(Encoding::PLAIN).build());
            assert_eq!(Stated::of(&header).map(|stated| stated.encoding), Some(Some(0)), "{version:?}");
            // Lengths of four bytes, then the texts; version 1 has levels before them.
            assert!((16..40).contains(&page(&header).unwrap()) && dictionary.is_none());
            let (_, dictionary) = first_page(properties().build());
            assert_eq!(dictionary, Some(16));
            let delta = properties().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY).build();
            let said = page(&first_page(delta).0).unwrap_err().to_string();
            assert_eq!(said, "Parquet error: a page has the encoding DELTA_BYTE_ARRAY, which shards never use");
        }
    }

    #[test]
    fn a_page_that_asks_for_too_much_is_refused_whatever_its_bytes_are() {
        // A data page of 2^31 - 1 bytes, of which 9 are in the file.
        let huge = [0x15, 0x00, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0x12, 0x2c, 0x15, 0x02, 0x15, 0x00];
        assert_eq!(
            page(&huge).unwrap_err().to_string(),
            "Parquet error: a page says that it has 2147483647 bytes, but the maximum is 512 MiB"
        );
        for cut in 0..huge.len() {
            let said = page(&huge[..cut]).unwrap_err().to_string();
            assert_eq!(said, "Parquet error: a page has a header that shards never have", "{cut}");
        }
        for byte in 0..=255 {
            let _ = page(&[byte; 40]);
        }
    }
}
