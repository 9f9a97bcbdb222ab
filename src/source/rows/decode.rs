//! A source file's bytes, decompressed, in a sliding buffer.
//!
//! Row formats have no footer that says how much there should be, so a short read must be found here: a gzip
//! member or zstd frame that stops early is an error, and at the end the bytes read from the disk must be as
//! many as were listed. What is handed out is bounded by [`MAX_ROW_BYTES`] plus one block.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ErrorCode;
use crate::source::{Codec, SourceError, SourceFile};
use crate::store::{StoreError, Stored};

/// The longest row (line, record, array element) that is read. A longer one is most likely not a row at all but
/// a quote that is never closed or a file of another format, and must not take the machine's memory.
pub const MAX_ROW_BYTES: usize = 256 << 20;

/// How much is asked of the decoder at a time: large enough to make system calls rare, small enough for the
/// processor's second-level cache.
const READ_BYTES: usize = 256 << 10;

/// Compressed bytes read ahead.
const INPUT_BYTES: usize = 128 << 10;

/// Counts what was read from the disk.
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

/// Reads a file's plain bytes and proves their end.
pub(super) struct Decoder {
    name: String,
    listed_bytes: u64,
    stream: Stream,
}

impl Decoder {
    /// Opens the file.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnreadable`] where the operating system or the codec refuses.
    pub(super) fn open(file: &SourceFile) -> Result<Self, SourceError> {
        let fail = |e: io::Error| {
            unreadable(&file.name, None, format!("cannot open the file: {e}; check that it exists and is readable"))
        };
        let stored = Stored::open(&file.at, file.bytes, file.etag.as_deref());
        let stored = stored.map_err(|e| stores_answer(&file.name, &e).unwrap_or_else(|| fail(e)))?;
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

    /// Whether the codec itself says where the data ends, so that a cut cannot go unnoticed.
    fn proves_end(&self) -> bool {
        !matches!(self.stream, Stream::Plain(_))
    }

    /// The next bytes; 0 at the proven end.
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
                    if let Some(answer) = stores_answer(&self.name, &e) {
                        return Err(answer);
                    }
                    let what = match (&self.stream, e.kind()) {
                        (Stream::Plain(_), _) => format!("cannot read the file: {e}"),
                        (_, io::ErrorKind::UnexpectedEof) => {
                            "the compressed data ends too early: the file is cut; fetch it again".to_owned()
                        }
                        _ => format!("cannot decompress: {e}; the file is damaged, fetch it again"),
                    };
                    return Err(unreadable(&self.name, None, what));
                }
            }
        }
    }

    /// At the end, as much must have been read as was listed, and a compressed file must hold something: its
    /// codec writes a header even around nothing.
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
                message: format!("the file had {listed} bytes when it was listed and gave {bytes}; run again"),
            });
        }
        if bytes == 0 && self.proves_end() {
            let why = "the compressed file is empty: not even a header is there; fetch it again";
            return Err(unreadable(&self.name, None, why));
        }
        Ok(())
    }
}

/// Memory of blocks that were worked off, for the next ones: fresh memory is paid for page by page.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn get(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, bytes: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// Bytes taken out of a [`Buffer`].
pub(super) struct Taken {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the memory goes back to; that of a long row is not kept.
    spare: Option<Arc<Spare>>,
}

impl Taken {
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(spare) = &self.spare {
            spare.put(std::mem::take(&mut self.bytes));
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
    /// How much is meant to be in the buffer when a part of it is taken.
    block_bytes: usize,
    spare: Arc<Spare>,
}

impl Buffer {
    /// Opens the file and skips a UTF-8 byte order mark. Up to some `block_bytes` will be taken out at a time.
    ///
    /// # Errors
    /// As [`Decoder::open`] and [`Buffer::fill`].
    pub(super) fn open(file: &SourceFile, block_bytes: usize) -> Result<Self, SourceError> {
        let decoder = Decoder::open(file)?;
        let mut buffer =
            Self { decoder, bytes: Vec::new(), start: 0, end: 0, at_end: false, block_bytes, spare: Arc::default() };
        while buffer.data().len() < 3 && buffer.fill(usize::MAX)? {}
        if buffer.data().starts_with(b"\xef\xbb\xbf") {
            buffer.consume(3);
        }
        Ok(buffer)
    }

    /// What was decoded and not yet consumed.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Lets go of the first `n` bytes.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Hands out the first `n` bytes; only what follows them is copied.
    pub(super) fn take(&mut self, n: usize) -> Taken {
        let cut = (self.start + n).min(self.end);
        let mut next = self.spare.get();
        let rest = self.bytes.get(cut..self.end).unwrap_or_default();
        next.resize(rest.len().max(next.len()), 0);
        if let Some(front) = next.get_mut(..rest.len()) {
            front.copy_from_slice(rest);
        }
        let rest = rest.len();
        let keep = self.bytes.len() <= 2 * (self.block_bytes + 2 * READ_BYTES);
        let taken = Taken {
            bytes: std::mem::replace(&mut self.bytes, next),
            start: self.start,
            end: cut,
            spare: keep.then(|| self.spare.clone()),
        };
        (self.start, self.end) = (0, rest);
        taken
    }

    /// The file's name in messages.
    pub(super) fn name(&self) -> &str {
        &self.decoder.name
    }

    /// Decodes at least one more byte, and up to `most`, behind [`Buffer::data`]; `false` at the proven end of the file.
    ///
    /// # Errors
    /// The file's own, and [`ErrorCode::SourceUnreadable`] where a row would exceed [`MAX_ROW_BYTES`].
    pub(super) fn fill(&mut self, most: usize) -> Result<bool, SourceError> {
        if self.at_end {
            return Ok(false);
        }
        let read_bytes = READ_BYTES.min(self.block_bytes).max(1);
        // What is in the buffer is one row that has not ended, and no more than a block of others before it.
        if self.data().len() > MAX_ROW_BYTES + self.block_bytes.min(MAX_ROW_BYTES) {
            let mib = MAX_ROW_BYTES >> 20;
            return Err(unreadable(
                self.name(),
                None,
                format!("a row is longer than {mib} MiB: perhaps a quote is never closed or the format is another"),
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

/// What a store answered, where it was one.
fn stores_answer(name: &str, error: &io::Error) -> Option<SourceError> {
    StoreError::below(error).map(|answer| SourceError::of_store(name, answer))
}

/// A file whose bytes are not what its format says.
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
            hive: Vec::new(),
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
                // Between two parts the format cannot tell; the size in the listing can.
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
                "a row is longer than 256 MiB: perhaps a quote is never closed or the format is another"
            )
        );
    }

    #[test]
    fn a_row_longer_than_any_block_is_kept_whole() {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|i| i as u8).collect();
        assert_eq!(read_all(Codec::Plain, &bytes).unwrap(), bytes);
    }
}
