//! Fixed-size writes into preallocated memory.
//!
//! Cells are short, and a call to copy a variable number of bytes costs more than the copy itself. So whole blocks are
//! stored, of which only the first bytes may be significant; the next cell overwrites the rest. Callers reserve the most
//! bytes that a row needs, including [`SLACK`]. If a reservation is too small, the write panics; it cannot corrupt memory.

/// Bytes after a row that may be overwritten.
pub(super) const SLACK: usize = 32;

/// The digit 0 in every byte.
pub(super) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Writes `bytes` at `at`.
#[inline(always)]
pub(super) fn put<const N: usize>(slab: &mut [u8], at: usize, bytes: &[u8; N]) {
    slab[at..at + N].copy_from_slice(bytes);
}

/// Writes text at `at`, and returns the bits that `mark` sets for any of it.
///
/// `mark` receives eight bytes at a time, two words per block, so that it compiles to vector instructions. Some bytes are
/// passed twice, and the padding is the digit `0`.
#[inline(always)]
pub(super) fn copy(text: &[u8], slab: &mut [u8], at: usize, mark: impl Fn(u64) -> u64) -> u64 {
    let slab = &mut slab[at..at + text.len()];
    // If the length is not a multiple of the block size, the last block overlaps the previous one.
    if let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        let mut marks = marks(&mark, first, [0; 2]);
        put(slab, 0, first);
        let mut done = 16;
        while let Some(block) = text.get(done..).and_then(|rest| rest.first_chunk::<16>()) {
            marks = self::marks(&mark, block, marks);
            put(slab, done, block);
            done += 16;
        }
        marks = self::marks(&mark, last, marks);
        put(slab, text.len() - 16, last);
        return marks[0] | marks[1];
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        put(slab, 0, first);
        put(slab, text.len() - 8, last);
        return mark(u64::from_le_bytes(*first)) | mark(u64::from_le_bytes(*last));
    }
    let mut word = ZEROS;
    for (to, from) in slab.iter_mut().zip(text).rev() {
        *to = *from;
        word = word << 8 | u64::from(*from);
    }
    mark(word)
}

#[inline(always)]
fn marks(mark: impl Fn(u64) -> u64, block: &[u8; 16], before: [u64; 2]) -> [u64; 2] {
    let (words, _) = block.as_chunks::<8>();
    [before[0] | mark(u64::from_le_bytes(words[0])), before[1] | mark(u64::from_le_bytes(words[1]))]
}

/// The bytes before the cells of a column, padded to whole blocks.
pub(super) struct Lead {
    blocks: Box<[[u8; 16]]>,
    length: usize,
}

impl Lead {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let block = |bytes: &[u8]| {
            let mut block = [0; 16];
            copy(bytes, &mut block, 0, |_| 0);
            block
        };
        Self { blocks: bytes.chunks(16).map(block).collect(), length: bytes.len() }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.blocks.concat()[..self.length]);
    }

    /// Bytes to reserve.
    pub(super) fn room(&self) -> usize {
        16 * self.blocks.len()
    }

    /// Writes the bytes at `at` and returns their end.
    #[inline(always)]
    pub(super) fn put(&self, slab: &mut [u8], at: usize) -> usize {
        for (i, block) in self.blocks.iter().enumerate() {
            put(slab, at + 16 * i, block);
        }
        at + self.length
    }
}
