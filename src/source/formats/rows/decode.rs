//! Decompresses a source file into a sliding buffer.
//!
//! Row formats have no footer that states their length, so truncation must be detected here: a compressed member or frame
//! that stops early is an error, and the bytes read from the store must equal the listed size. The buffer is bounded by
//! [`MAX_ROW_BYTES`] plus one block.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use encoding_rs::Encoding;

use super::transcode::Transcoder;
use crate::error::ErrorCode;
use crate::job::SourceCompression;
use crate::source::{SourceError, SourceFile};
use crate::store::{StoreError, Stored};
use crate::yaml::decode::Word;

/// Bytes of the longest row (line, record, array element) that is read. A longer one is most likely an unclosed quote or a
/// file of another format, and must not exhaust memory.
pub(crate) const MAX_ROW_BYTES: usize = 256 << 20;

/// Bytes requested from the decoder at a time: large enough to make system calls rare, small enough for the second-level
/// cache.
const READ_BYTES: usize = 256 << 10;

/// Compressed bytes read ahead.
const INPUT_BYTES: usize = 128 << 10;

/// First bytes that are looked at for the magic number of a compression.
const HEAD_BYTES: u64 = 16;

/// Decompressed bytes that tell the format of most files.
const FIRST_HEAD_BYTES: usize = 4 << 10;

/// Length of the longest magic number, that of bzip2.
const MAGIC_BYTES: usize = 10;

/// Most memory that decompressing an xz file may take; files of `xz -9` take 65 MiB.
const XZ_MEMORY_BYTES: u64 = 96 << 20;

/// Whether a file begins with a skippable frame of zstd or LZ4 (RFC 8878, 3.1.2).
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Counts the bytes read from the store.
struct Counted {
    file: Box<dyn Read + Send>,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

/// The stored bytes, the first of which were looked at.
type Input = BufReader<io::Chain<io::Cursor<Vec<u8>>, Counted>>;

enum Stream {
    Plain(Input),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input>>),
    Zstd(zstd::stream::read::Decoder<'static, Input>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Input>>),
    Xz(liblzma::bufread::XzDecoder<Input>),
    Lz4(Box<Lz4Frames>),
}

impl Stream {
    fn new(compression: SourceCompression, input: Input) -> io::Result<Self> {
        Ok(match compression {
            SourceCompression::None => Self::Plain(input),
            SourceCompression::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            SourceCompression::Zstd => Self::Zstd(zstd::stream::read::Decoder::with_buffer(input)?),
            SourceCompression::Bzip2 => Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
            SourceCompression::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    XZ_MEMORY_BYTES,
                    liblzma::stream::CONCATENATED | liblzma::stream::TELL_UNSUPPORTED_CHECK,
                )?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            SourceCompression::Lz4 => Self::Lz4(Box::new(Lz4Frames::new(input))),
        })
    }

    fn input(&self) -> &Input {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Bzip2(decoder) => decoder.get_ref(),
            Self::Xz(decoder) => decoder.get_ref(),
            Self::Lz4(frames) => &frames.decoder.get_ref().0,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
            Self::Bzip2(decoder) => decoder.read(into),
            Self::Xz(decoder) => decoder.read(into),
            Self::Lz4(frames) => frames.read(into),
        }
    }
}

/// LZ4 frames, one after the other. The decoder takes an end of the input for the end of a frame, wherever it is; so inside
/// of a frame the input has none.
struct Lz4Frames {
    decoder: lz4_flex::frame::FrameDecoder<Endless>,
    /// Nothing of the next frame was read.
    is_between: bool,
}

/// An input whose end is an error.
struct Endless(Input);

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            // Not `UnexpectedEof`, which the decoder takes for an end.
            0 if !into.is_empty() => Err(io::Error::new(io::ErrorKind::InvalidData, "the last frame has no end")),
            n => Ok(n),
        }
    }
}

impl Lz4Frames {
    fn new(input: Input) -> Self {
        Self { decoder: lz4_flex::frame::FrameDecoder::new(Endless(input)), is_between: true }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty() {
            if self.is_between && self.decoder.get_mut().0.fill_buf()?.is_empty() {
                break;
            }
            let n = self.decoder.read(into)?;
            self.is_between = n == 0;
            if n > 0 {
                return Ok(n);
            }
        }
        Ok(0)
    }
}

/// Reads a file's decompressed bytes and verifies that they are complete.
pub(super) struct Decoder {
    name: String,
    listed_bytes: u64,
    compression: SourceCompression,
    /// The first bytes are not those of another compression, or of none.
    begins_right: bool,
    stream: Stream,
}

impl Decoder {
    /// Opens the file. Unless the whole of it will be read, nothing is read ahead.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnreadable`] where the file cannot be opened or the codec cannot be set up.
    fn open(file: &SourceFile, is_whole: bool) -> Result<Self, SourceError> {
        let fail = |e: io::Error| {
            store_error(&file.name, &e).unwrap_or_else(|| {
                unreadable(&file.name, None, format!("cannot open the file: {e}; check that it exists and is readable"))
            })
        };
        let stored = Stored::open(&file.at, file.bytes, file.etag.as_deref()).map_err(fail)?;
        let bytes: Box<dyn Read + Send> =
            if is_whole { stored.into_reader() } else { Box::new(OnDemand { stored, at: 0 }) };
        let mut counted = Counted { file: bytes, bytes: 0 };
        let mut head = Vec::new();
        counted.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(fail)?;
        let found = SourceCompression::of_content(&head);
        let compression = found.filter(|_| !file.compression_is_declared).unwrap_or(file.compression);
        // A file that was cut, or that begins with a skippable frame, may still be what its name says.
        let begins_right = found.map_or_else(|| head.len() < MAGIC_BYTES || is_skippable(&head), |f| f == compression);
        let input = BufReader::with_capacity(INPUT_BYTES, io::Cursor::new(head).chain(counted));
        let stream = Stream::new(compression, input).map_err(fail)?;
        Ok(Self { name: file.name.clone(), listed_bytes: file.bytes, compression, begins_right, stream })
    }

    /// Whether the codec marks the end of the data, so that truncation is always detected.
    fn proves_end(&self) -> bool {
        self.compression != SourceCompression::None
    }

    /// Reads the next bytes; 0 at the verified end.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            match self.stream.read(into) {
                Ok(0) => return self.check_end().map(|()| 0),
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    if let Some(error) = store_error(&self.name, &e) {
                        return Err(error);
                    }
                    return Err(unreadable(&self.name, None, self.explain(&e)));
                }
            }
        }
    }

    /// What a failed read says of the file, and what to do.
    fn explain(&self, error: &io::Error) -> String {
        use liblzma::stream::Error as XzError;
        use lz4_flex::frame::Error as Lz4Error;
        let cause = error.get_ref();
        if !self.proves_end() {
            return format!("cannot read the file: {error}");
        }
        if !self.begins_right {
            let word = self.compression.word();
            return format!("does not begin as {word} does: set `source.compression` to what it is, or fetch it again");
        }
        if let Some(XzError::MemLimit) = cause.and_then(|cause| cause.downcast_ref()) {
            let limit = XZ_MEMORY_BYTES >> 20;
            return format!(
                "needs more than {limit} MiB to decompress; compress it with a smaller dictionary, as `xz -9` does"
            );
        }
        if let Some(Lz4Error::SkippableFrame(_) | Lz4Error::DictionaryNotSupported) =
            cause.and_then(|cause| cause.downcast_ref())
        {
            return "has LZ4 frames that are not read: skippable ones, or those with a dictionary; compress it with `lz4` \
                    again"
                .to_owned();
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the compressed data ends too early: the file is truncated; fetch it again".to_owned()
            }
            _ => format!("cannot decompress: {error}; the file is damaged, fetch it again"),
        }
    }

    /// Checks that the listed number of bytes was read and that a compressed file is not empty: codecs write a header even
    /// for empty data.
    fn check_end(&self) -> Result<(), SourceError> {
        let input = self.stream.input();
        if !input.buffer().is_empty() {
            let why = "bytes follow the end of the compressed data; the file is damaged, fetch it again";
            return Err(unreadable(&self.name, None, why));
        }
        let bytes = input.get_ref().get_ref().1.bytes;
        if bytes != self.listed_bytes {
            let listed = self.listed_bytes;
            return Err(SourceError {
                name: self.name.clone(),
                position: None,
                code: ErrorCode::SourceChanged,
                message: format!("the file had {listed} bytes when it was listed, but {bytes} were read; run again"),
            });
        }
        if bytes == 0 && self.proves_end() {
            let why = "the compressed file is empty and lacks even a header; fetch it again";
            return Err(unreadable(&self.name, None, why));
        }
        Ok(())
    }
}

/// The bytes of a file of which only the first will be read.
struct OnDemand {
    stored: Stored,
    at: u64,
}

impl Read for OnDemand {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.stored.bytes().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = into.len().min(left);
        let Some(into) = into.get_mut(..n).filter(|into| !into.is_empty()) else { return Ok(0) };
        self.stored.read_exact_at(self.at, into)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The first decompressed bytes of a file.
pub(in crate::source::formats) struct Head {
    pub(in crate::source::formats) bytes: Vec<u8>,
    /// The file has no more.
    pub(in crate::source::formats) is_whole: bool,
    /// How they were compressed.
    pub(in crate::source::formats) compression: SourceCompression,
}

impl Head {
    /// Reads a few KiB, and more as long as they are not enough, up to `most` bytes.
    ///
    /// # Errors
    /// Those of opening the file, and of decompressing these bytes.
    pub(in crate::source::formats) fn read(
        file: &SourceFile,
        most: usize,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, SourceError> {
        let mut decoder = Decoder::open(file, false)?;
        let (mut bytes, mut filled, mut is_whole) = (vec![0; FIRST_HEAD_BYTES.min(most)], 0, false);
        loop {
            let free = bytes.get_mut(filled..).unwrap_or_default();
            if free.is_empty() {
                if bytes.len() >= most || is_enough(&bytes) {
                    break;
                }
                bytes.resize(most.min(2 * bytes.len()), 0);
                continue;
            }
            let n = decoder.read(free)?;
            if n == 0 {
                is_whole = true;
                break;
            }
            filled += n;
        }
        bytes.truncate(filled);
        Ok(Self { bytes, is_whole, compression: decoder.compression })
    }
}

/// Recycles the memory of finished blocks, because fresh memory costs a page fault per page.
#[derive(Default)]
struct BufferPool(Mutex<Vec<Vec<u8>>>);

impl BufferPool {
    fn get(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, bytes: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// Bytes taken out of a [`Buffer`].
pub(super) struct TakenBytes {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The pool that the memory returns to. The memory of a long row is freed instead.
    pool: Option<Arc<BufferPool>>,
}

impl TakenBytes {
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

impl Drop for TakenBytes {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.put(std::mem::take(&mut self.bytes));
        }
    }
}

/// A window over the decoded bytes that slides forward and grows for a long row.
pub(super) struct Buffer {
    decoder: Decoder,
    /// `None` for UTF-8.
    transcoder: Option<Transcoder>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// Bytes that the buffer holds when a block is taken from it.
    block_bytes: usize,
    pool: Arc<BufferPool>,
}

impl Buffer {
    /// Whether the file's compression proves that it was read whole.
    pub(super) fn proves_end(&self) -> bool {
        self.decoder.proves_end()
    }

    /// Opens a file of UTF-8 text and skips its byte order mark. About `block_bytes` will be taken at a time.
    ///
    /// # Errors
    /// As [`Decoder::open`] and [`Buffer::fill`].
    pub(super) fn open(file: &SourceFile, block_bytes: usize) -> Result<Self, SourceError> {
        let decoder = Decoder::open(file, true)?;
        let mut buffer = Self {
            decoder,
            transcoder: None,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            at_end: false,
            block_bytes,
            pool: Arc::default(),
        };
        while buffer.data().len() < 3 && buffer.fill(usize::MAX)? {}
        if buffer.data().starts_with(b"\xef\xbb\xbf") {
            buffer.consume(3);
        }
        Ok(buffer)
    }

    /// Opens a file of text in any encoding; a byte order mark overrides `encoding`. The buffer holds UTF-8, with bytes that
    /// are not UTF-8 where the file violates its encoding.
    ///
    /// # Errors
    /// As [`Buffer::open`].
    pub(super) fn open_encoded(
        file: &SourceFile,
        encoding: &'static Encoding,
        block_bytes: usize,
    ) -> Result<Self, SourceError> {
        let mut buffer = Self::open(file, block_bytes)?;
        if buffer.start > 0 {
            // `open` has consumed the mark of UTF-8.
            return Ok(buffer);
        }
        let (encoding, mark) = Encoding::for_bom(buffer.data()).unwrap_or((encoding, 0));
        if encoding != encoding_rs::UTF_8 {
            buffer.consume(mark);
            buffer.transcoder = Some(Transcoder::new(encoding, buffer.data().to_vec()));
            (buffer.start, buffer.end, buffer.at_end) = (0, 0, false);
        }
        Ok(buffer)
    }

    /// The bytes decoded and not yet consumed.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops the first `n` bytes.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Removes the first `n` bytes without copying them; the bytes after them are copied.
    pub(super) fn take(&mut self, n: usize) -> TakenBytes {
        let cut = (self.start + n).min(self.end);
        let mut next = self.pool.get();
        let rest = self.bytes.get(cut..self.end).unwrap_or_default();
        next.resize(rest.len().max(next.len()), 0);
        if let Some(front) = next.get_mut(..rest.len()) {
            front.copy_from_slice(rest);
        }
        let rest = rest.len();
        let keep = self.bytes.len() <= 2 * (self.block_bytes + 2 * READ_BYTES);
        let taken = TakenBytes {
            bytes: std::mem::replace(&mut self.bytes, next),
            start: self.start,
            end: cut,
            pool: keep.then(|| self.pool.clone()),
        };
        (self.start, self.end) = (0, rest);
        taken
    }

    /// The encoding of the file.
    pub(super) fn encoding(&self) -> &'static Encoding {
        self.transcoder.as_ref().map_or(encoding_rs::UTF_8, Transcoder::encoding)
    }

    /// The file's name in messages.
    pub(super) fn name(&self) -> &str {
        &self.decoder.name
    }

    /// Decodes at least one and at most `most` more bytes after [`Buffer::data`]. Returns `false` at the verified end.
    ///
    /// # Errors
    /// The error of the file, and [`ErrorCode::SourceUnreadable`] where a row would exceed [`MAX_ROW_BYTES`].
    pub(super) fn fill(&mut self, most: usize) -> Result<bool, SourceError> {
        if self.at_end {
            return Ok(false);
        }
        let read_bytes = READ_BYTES.min(self.block_bytes).max(1);
        // The buffer holds one unfinished row and at most a block of rows before it.
        if self.data().len() > MAX_ROW_BYTES + self.block_bytes.min(MAX_ROW_BYTES) {
            let mib = MAX_ROW_BYTES >> 20;
            return Err(unreadable(
                self.name(),
                None,
                format!("a row is longer than {mib} MiB: a quote may be unclosed, or the file may have another format"),
            ));
        }
        if self.bytes.len() - self.end < read_bytes.div_ceil(4) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.bytes.len() - self.end < read_bytes {
                // Doubling keeps the copying linear in the length of a long row.
                let block_bytes = self.block_bytes.min(MAX_ROW_BYTES);
                let most = (MAX_ROW_BYTES + block_bytes + 2 * read_bytes).max(self.end + read_bytes);
                let size = (self.end * 2).max(block_bytes + 2 * read_bytes).min(most);
                self.bytes.reserve_exact(size.saturating_sub(self.bytes.len()));
                self.bytes.resize(size, 0);
            }
        }
        let free = self.bytes.get_mut(self.end..).unwrap_or_default();
        let free_len = free.len().min(read_bytes).min(most.max(1));
        let free = free.get_mut(..free_len).unwrap_or_default();
        let n = match &mut self.transcoder {
            None => self.decoder.read(free)?,
            Some(transcoder) => transcoder.read(free, |into| self.decoder.read(into))?,
        };
        self.end += n;
        self.at_end = n == 0;
        Ok(n > 0)
    }
}

/// The error that the store returned, if it caused this I/O error.
fn store_error(name: &str, error: &io::Error) -> Option<SourceError> {
    StoreError::below(error).map(|error| SourceError::of_store(name, error))
}

/// The error of a file whose bytes violate its format.
pub(super) fn unreadable(name: &str, position: Option<u64>, message: impl Into<String>) -> SourceError {
    SourceError { name: name.to_owned(), position, code: ErrorCode::SourceUnreadable, message: message.into() }
}

#[cfg(test)]
pub(in crate::source) mod tests {
    use std::io::Write;

    use super::*;
    use crate::job::SourceFormat;

    /// A file on disk that goes away with the value.
    pub(in crate::source) struct Fixture {
        _folder: tempfile::TempDir,
        pub(in crate::source) file: SourceFile,
    }

    pub(in crate::source) fn fixture(
        name: &str,
        format: SourceFormat,
        compression: SourceCompression,
        bytes: &[u8],
    ) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let file = SourceFile {
            at: path.into(),
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            modified: jiff::Timestamp::UNIX_EPOCH,
            etag: None,
            format,
            compression,
            compression_is_declared: false,
            constants: Vec::new(),
        };
        Fixture { _folder: folder, file }
    }

    pub(in crate::source) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    const COMPRESSIONS: [SourceCompression; 5] = [
        SourceCompression::Gzip,
        SourceCompression::Zstd,
        SourceCompression::Bzip2,
        SourceCompression::Xz,
        SourceCompression::Lz4,
    ];

    fn compressed(compression: SourceCompression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            SourceCompression::None => bytes.to_vec(),
            SourceCompression::Gzip => gzip(bytes),
            SourceCompression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            SourceCompression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            SourceCompression::Xz => liblzma::encode_all(bytes, 1).unwrap(),
            SourceCompression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn what_a_file_begins_with_counts_before_its_name() {
        for content in COMPRESSIONS {
            for bytes in [b"{}\n".as_slice(), b""] {
                let stored = compressed(content, bytes);
                for named in [SourceCompression::None, SourceCompression::Gzip, SourceCompression::Xz] {
                    assert_eq!(read_all(named, &stored).unwrap(), bytes, "{content:?} named {named:?}");
                }
            }
        }
        // Text that only looks like the beginning of a bzip2 file.
        assert_eq!(read_all(SourceCompression::None, b"BZh9 is a word").unwrap(), b"BZh9 is a word");
    }

    #[test]
    fn what_the_spec_declares_counts_alone() {
        let mut fixture = fixture("a", SourceFormat::Ndjson, SourceCompression::Bzip2, &gzip(b"{}\n"));
        fixture.file.compression_is_declared = true;
        let error = Buffer::open(&fixture.file, 1 << 10).map(drop).unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceUnreadable);
        assert_eq!(error.message, DOES_NOT_BEGIN_AS_BZIP2);
        fixture.file.compression = SourceCompression::None;
        assert!(Buffer::open(&fixture.file, 1 << 10).unwrap().data().starts_with(&[0x1f, 0x8b]));
    }

    #[test]
    fn an_xz_file_that_needs_more_memory_than_the_limit_is_refused() {
        use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
        let mut options = LzmaOptions::new_preset(0).unwrap();
        options.dict_size(512 << 20);
        let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(b"{}\n").unwrap();
        let error = read_all(SourceCompression::Xz, &encoder.finish().unwrap()).unwrap_err();
        let text = "needs more than 96 MiB to decompress; compress it with a smaller dictionary, as `xz -9` does";
        assert_eq!(error.message, text);
    }

    #[test]
    fn a_name_that_is_wrong_is_not_damage() {
        let message = |named, bytes: &[u8]| read_all(named, bytes).unwrap_err().message;
        assert_eq!(message(SourceCompression::Bzip2, b"{\"id\":1234567}\n"), DOES_NOT_BEGIN_AS_BZIP2);
        let cut = "the compressed data ends too early: the file is truncated; fetch it again";
        assert_eq!(message(SourceCompression::Gzip, b"\x1f\x8b"), cut);
        let skippable =
            [b"\x50\x2a\x4d\x18\x01\0\0\0x".as_slice(), &compressed(SourceCompression::Lz4, b"{}")].concat();
        let text = "has LZ4 frames that are not read: skippable ones, or those with a dictionary; compress it with `lz4` again";
        assert_eq!(message(SourceCompression::Lz4, &skippable), text);
        let mut damaged = compressed(SourceCompression::Lz4, b"{}\n");
        damaged.truncate(damaged.len() - 4);
        let text = "cannot decompress: the last frame has no end; the file is damaged, fetch it again";
        assert_eq!(message(SourceCompression::Lz4, &damaged), text);
    }

    #[test]
    fn bytes_that_a_decoder_leaves_are_an_error() {
        let fixture = fixture("a", SourceFormat::Ndjson, SourceCompression::None, b"{}\n");
        let mut decoder = Decoder::open(&fixture.file, true).unwrap();
        let Stream::Plain(input) = &mut decoder.stream else { panic!("plain") };
        input.fill_buf().unwrap();
        let text = "bytes follow the end of the compressed data; the file is damaged, fetch it again";
        assert_eq!(decoder.check_end().unwrap_err().message, text);
    }

    /// Several blocks of each format, in linked LZ4 blocks too.
    #[test]
    fn long_files_are_read_whole_and_a_cut_is_an_error_in_every_block() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 60) as u8
        };
        let bytes: Vec<u8> = (0..3_000_000).map(|_| random()).collect();
        let linked = {
            let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        };
        let stored = COMPRESSIONS.map(|c| (c, compressed(c, &bytes)));
        for (compression, whole) in stored.into_iter().chain([(SourceCompression::Lz4, linked)]) {
            assert!(read_all(compression, &whole).unwrap() == bytes, "{compression:?}");
            for cut in (1..12).map(|n| whole.len() * n / 12) {
                assert!(read_all(compression, &whole[..cut]).is_err(), "{compression:?} cut at {cut}");
            }
        }
    }

    const DOES_NOT_BEGIN_AS_BZIP2: &str =
        "does not begin as bzip2 does: set `source.compression` to what it is, or fetch it again";

    fn read_all(compression: SourceCompression, bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
        let fixture = fixture("a", SourceFormat::Ndjson, compression, bytes);
        let mut buffer = Buffer::open(&fixture.file, 1 << 10)?;
        while buffer.fill(usize::MAX)? {}
        Ok(buffer.data().to_vec())
    }

    #[test]
    fn compressed_files_of_several_parts_are_read_whole_and_a_cut_is_always_an_error() {
        let first: Vec<u8> = (0..300u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let second = b"and then some".to_vec();
        for codec in COMPRESSIONS {
            let pack = |b: &[u8]| compressed(codec, b);
            let border = pack(&first).len();
            let whole = [pack(&first), pack(&second)].concat();
            assert_eq!(read_all(codec, &whole).unwrap(), [first.clone(), second.clone()].concat());
            for cut in 0..whole.len() {
                let read = read_all(codec, &whole[..cut]);
                // Truncation between two parts only shows in the listed size.
                if cut == border {
                    assert_eq!(read.unwrap(), first);
                } else {
                    assert_eq!(read.unwrap_err().code, ErrorCode::SourceUnreadable, "{codec:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_shrank_since_it_was_listed_is_an_error() {
        let mut fixture = fixture("a", SourceFormat::Ndjson, SourceCompression::None, b"{}\n");
        fixture.file.bytes = 6;
        let mut buffer = Buffer::open(&fixture.file, 1 << 20);
        if let Ok(b) = &mut buffer {
            assert_eq!(b.fill(usize::MAX).unwrap_err().code, ErrorCode::SourceChanged);
        }
    }

    #[test]
    fn a_row_longer_than_the_documented_limit_is_refused() {
        let most = MAX_ROW_BYTES + (1 << 10);
        let of = |bytes: usize| zstd::stream::encode_all(io::repeat(b'a').take(bytes as u64), 1).unwrap();
        assert_eq!(read_all(SourceCompression::Zstd, &of(most)).unwrap().len(), most);
        let error = read_all(SourceCompression::Zstd, &of(most + (1 << 20))).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (
                ErrorCode::SourceUnreadable,
                "a row is longer than 256 MiB: a quote may be unclosed, or the file may have another format"
            )
        );
    }

    #[test]
    fn a_row_longer_than_any_block_is_kept_whole() {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|i| i as u8).collect();
        assert_eq!(read_all(SourceCompression::None, &bytes).unwrap(), bytes);
    }
}
