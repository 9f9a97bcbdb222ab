//! No record of a shard is held that is longer than any that was written: a kilobyte of zstd can become gigabytes.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// The largest record that is read back: twice the largest row of a row format, because quoting and escaping make text
/// longer. A test would take minutes to read so much.
pub(crate) const MAX_RECORD_BYTES: usize = if cfg!(test) { 4 << 20 } else { 512 << 20 };

/// What is wrong with a longer one, behind the words that name it.
pub(crate) const TOO_LONG: &str = "is longer than 512 MiB, the most that is read back of one row";

/// How much of a record may still be read, for a parser that pulls its bytes itself.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    left: Cell<usize>,
    row: Cell<u64>,
    is_exceeded: Cell<bool>,
}

impl Budget {
    /// For what stands before the first record.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { left: Cell::new(MAX_RECORD_BYTES), ..Self::default() })
    }

    /// The next record begins.
    pub(crate) fn next_row(&self) {
        self.left.set(MAX_RECORD_BYTES);
        self.row.set(self.row.get() + 1);
    }

    /// The record, counted from 1, that is too long.
    pub(crate) fn exceeded(&self) -> Option<u64> {
        self.is_exceeded.get().then(|| self.row.get())
    }
}

/// Bytes that fail where a record is too long.
pub(crate) struct Limited<R> {
    inner: R,
    budget: Rc<Budget>,
}

impl<R: Read> Limited<R> {
    pub(crate) fn new(inner: R, budget: Rc<Budget>) -> Self {
        Self { inner, budget }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.left.get();
        let most = into.len().min(left);
        if most == 0 && !into.is_empty() {
            self.budget.is_exceeded.set(true);
            return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG));
        }
        let n = self.inner.read(into.get_mut(..most).unwrap_or_default())?;
        self.budget.left.set(left - n);
        Ok(n)
    }
}
