//! Bounds the length of a record that is read back: a kilobyte of zstd can decompress to gigabytes.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Maximum length of a record in bytes: twice the largest row of a row format, because quoting and escaping make text
/// longer. Smaller in tests.
pub(crate) const MAX_RECORD_BYTES: usize = if cfg!(test) { 4 << 20 } else { 512 << 20 };

/// Message for a longer record, after its name.
pub(crate) const TOO_LONG: &str = "is longer than 512 MiB, the maximum for one row";

/// Message for a longer header.
pub(super) const HEADER_TOO_LONG: &str = "has a header that is longer than 512 MiB, the maximum for one row";

/// Remaining bytes of the current record, for a parser that pulls bytes itself.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    left: Cell<usize>,
    row: Cell<u64>,
    is_exceeded: Cell<bool>,
}

impl Budget {
    /// A limit for the bytes before the first record.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { left: Cell::new(MAX_RECORD_BYTES), ..Self::default() })
    }

    /// The next record begins.
    pub(crate) fn next_row(&self) {
        self.left.set(MAX_RECORD_BYTES);
        self.row.set(self.row.get() + 1);
    }

    /// Number of the record that is too long, counted from 1.
    pub(crate) fn exceeded(&self) -> Option<u64> {
        self.is_exceeded.get().then(|| self.row.get())
    }
}

/// A reader that fails if a record is too long.
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
