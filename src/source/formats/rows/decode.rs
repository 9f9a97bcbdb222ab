//! Decompresses a source file into a sliding buffer.
//!
//! Row formats have no footer that states their length, so truncation must be detected here: a gzip member or zstd frame
//! that stops early is an error, and the bytes read from the store must equal the listed size. The buffer is bounded by
//! [`MAX_ROW_BYTES`] plus one block.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ErrorCode;
use crate::source::{Codec, SourceError, SourceFile};
use crate::store::{StoreError, Stored};

/// Bytes of the longest row (line, record, array element) that is read. A longer one is most likely an unclosed quote or a
/// file of another format, and must not exhaust memory.
pub(crate) const MAX_ROW_BYTES: usize = 256 << 20;

/// Bytes requested from the decoder at a time: large enough to make system calls rare, small enough for the second-level
/// cache.
const READ_BYTES: usize = 256 << 10;

/// Compressed bytes read ahead.
const INPUT_BYTES: usize = 128 << 10;

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

enum Stream {
    Plain(Counted),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Counted>>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Counted>>),
}

/// Reads a file's decompressed bytes and verifies that they are complete.
pub(super) struct Decoder {
    name: String,
    listed_bytes: u64,
    stream: Stream,
}

impl Decoder {
    /// Opens the file.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnreadable`] where the file cannot be opened or the codec cannot be set up.
    pub(super) fn open(file: &SourceFile) -> Result<Self, SourceError> {
        let fail = |e: io::Error| {
            unreadable(&file.name, None, format!("cannot open the file: {e}; check that it exists and is readable"))
        };
        let stored = Stored::open(&file.at, file.bytes, file.etag.as_deref());
        let stored = stored.map_err(|e| store_error(&file.name, &e).unwrap_or_else(|| fail(e)))?;
        let counted = Counted { file: stored.into_reader(), bytes: 0 };
        let stream = match file.codec {
            Codec::Plain => Stream::Plain(counted),
            Codec::Gzip => Stream::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(
                INPUT_BYTES,
                counted,
            )))),
            Codec::Zstd => {
                let input = BufReader::with_capacity(INPUT_BYTES, counted);
                Stream::Zstd(zstd::stream::read::Decoder::with_buffer(input).map_err(fail)?)
            }
        };
        Ok(Self { name: file.name.clone(), listed_bytes: file.bytes, stream })
    }

    /// Whether the codec marks the end of the data, so that truncation is always detected.
    fn proves_end(&self) -> bool {
        !matches!(self.stream, Stream::Plain(_))
    }

    /// Reads the next bytes; 0 at the verified end.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            let read = match &mut self.stream {
                Stream::Plain(s) => s.read(into),
                Stream::Gzip(s) => s.read(into),
                Stream::Zstd(s) => s.read(into),
            };
            match read {
                Ok(0) => return self.check_end().map(|()| 0),
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    if let Some(error) = store_error(&self.name, &e) {
                        return Err(error);
                    }
                    let what = match (&self.stream, e.kind()) {
                        (Stream::Plain(_), _) => format!("cannot read the file: {e}"),
                        (_, io::ErrorKind::UnexpectedEof) => {
                            "the compressed data ends too early: the file is truncated; fetch it again".to_owned()
                        }
                        _ => format!("cannot decompress: {e}; the file is damaged, fetch it again"),
                    };
                    return Err(unreadable(&self.name, None, what));
                }
            }
        }
    }

    /// Checks that the listed number of bytes was read and that a compressed file is not empty: codecs write a header even
    /// for empty data.
    fn check_end(&self) -> Result<(), SourceError> {
        let bytes = match &self.stream {
            Stream::Plain(s) => s.bytes,
            Stream::Gzip(s) => s.get_ref().get_ref().bytes,
            Stream::Zstd(s) => s.get_ref().get_ref().bytes,
        };
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
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// Bytes that the buffer holds when a block is taken from it.
    block_bytes: usize,
    pool: Arc<BufferPool>,
}

impl Buffer {
    /// Opens the file and skips a UTF-8 byte order mark. About `block_bytes` will be taken at a time.
    ///
    /// # Errors
    /// As [`Decoder::open`] and [`Buffer::fill`].
    pub(super) fn open(file: &SourceFile, block_bytes: usize) -> Result<Self, SourceError> {
        let decoder = Decoder::open(file)?;
        let mut buffer =
            Self { decoder, bytes: Vec::new(), start: 0, end: 0, at_end: false, block_bytes, pool: Arc::default() };
        while buffer.data().len() < 3 && buffer.fill(usize::MAX)? {}
        if buffer.data().starts_with(b"\xef\xbb\xbf") {
            buffer.consume(3);
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
        let n = self.decoder.read(free.get_mut(..free_len).unwrap_or_default())?;
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
pub(super) mod tests {
    use std::io::Write;

    use super::*;
    use crate::job::SourceFormat;

    /// A file on disk that goes away with the value.
    pub(in crate::source) struct Fixture {
        _folder: tempfile::TempDir,
        pub(in crate::source) file: SourceFile,
    }

    pub(in crate::source) fn fixture(name: &str, format: SourceFormat, codec: Codec, bytes: &[u8]) -> Fixture {
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
            codec,
            constants: Vec::new(),
        };
        Fixture { _folder: folder, file }
    }

    pub(in crate::source) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
        let fixture = fixture("a", SourceFormat::Ndjson, codec, bytes);
        let mut buffer = Buffer::open(&fixture.file, 1 << 10)?;
        while buffer.fill(usize::MAX)? {}
        Ok(buffer.data().to_vec())
    }

    #[test]
    fn compressed_files_of_several_parts_are_read_whole_and_a_cut_is_always_an_error() {
        let first: Vec<u8> = (0..300u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let second = b"and then some".to_vec();
        for codec in [Codec::Gzip, Codec::Zstd] {
            let pack = |b: &[u8]| match codec {
                Codec::Gzip => gzip(b),
                _ => zstd::encode_all(b, 1).unwrap(),
            };
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
        let mut fixture = fixture("a", SourceFormat::Ndjson, Codec::Plain, b"{}\n");
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
        assert_eq!(read_all(Codec::Zstd, &of(most)).unwrap().len(), most);
        let error = read_all(Codec::Zstd, &of(most + (1 << 20))).unwrap_err();
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
        assert_eq!(read_all(Codec::Plain, &bytes).unwrap(), bytes);
    }
}
