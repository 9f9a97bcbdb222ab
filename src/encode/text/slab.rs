//! Writes of fixed size into memory that is there already.
//!
//! Cells are short: a call to copy a number of bytes known only now costs more than the copy. So what is written is
//! whole stores, of which only the first bytes may count; what follows them is written over by the next cell. Whoever
//! writes says in advance how much room a row takes at most ([`SLACK`] included); a wrong promise panics, it cannot
//! write elsewhere.

/// Bytes behind a row that may be written without counting.
pub(super) const SLACK: usize = 32;

/// The digit 0 in every byte.
pub(super) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Writes `bytes` at `at`.
#[inline(always)]
pub(super) fn put<const N: usize>(slab: &mut [u8], at: usize, bytes: &[u8; N]) {
    slab[at..at + N].copy_from_slice(bytes);
}

/// Writes text at `at`, and says where `mark` has set bits of any of it.
///
/// `mark` is asked about eight bytes at a time, some of them twice and some of them the digit `0`, two words for each
/// block, so that it compiles to vector instructions.
#[inline(always)]
pub(super) fn copy(text: &[u8], slab: &mut [u8], at: usize, mark: impl Fn(u64) -> u64) -> u64 {
    let slab = &mut slab[at..at + text.len()];
    // What is no multiple of a block ends with one that overlaps the one before.
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

/// Bytes that stand before the cells of a column, in whole blocks.
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

    /// Appends it.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.blocks.concat()[..self.length]);
    }

    /// Room that it takes.
    pub(super) fn room(&self) -> usize {
        16 * self.blocks.len()
    }

    /// Writes it at `at` and says where it ends.
    #[inline(always)]
    pub(super) fn put(&self, slab: &mut [u8], at: usize) -> usize {
        for (i, block) in self.blocks.iter().enumerate() {
            put(slab, at + 16 * i, block);
        }
        at + self.length
    }
}
