//! The memory budget of a run, and how it is divided.
//!
//! | share | for | how it is enforced |
//! |---|---|---|
//! | 48 MiB | the program, the plan, small buffers | |
//! | half of the rest | open partitions: encoder, compressor, block, rows to be sorted | the plan reads the source in several passes; a partition with too many rows to sort fails |
//! | a quarter | units being decoded | a chunk starts only when its unit fits beside the others |
//! | a quarter | rows that wait for earlier chunks | threads that are ahead block |
//!
//! The sizes are upper estimates, from footers and from the known memory use of the compressors.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::encode::{ROW_GROUP_ROWS, SLAB_ROWS};
use crate::job::{Compression, Encryption, Format, Job};
use crate::seal::ENCRYPTION_BYTES;
use crate::source::UnitFacts;
use crate::store::Draft;

/// Memory use of a run before it reads a row, in bytes.
const BASE: u64 = 48 << 20;

/// Number of copies of a cell larger than any block that are in memory at once.
const CELL_COPIES: u64 = 4;

/// The smallest budget in bytes: with less there is no room for rows.
pub(crate) const LEAST: u64 = 96 << 20;

/// By default a run uses one quarter of the memory of the machine, or of the container if that has less, so that a laptop
/// stays usable.
const DEFAULT_SHARE: u64 = 4;

/// A budget in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(u64);

impl Memory {
    /// A budget of `bytes`, but at least [`LEAST`].
    pub(crate) fn new(bytes: u64) -> Self {
        Self(bytes.max(LEAST))
    }

    /// The default budget for this machine or container.
    pub(crate) fn of_machine() -> Self {
        use sysinfo::{MemoryRefreshKind, RefreshKind, System};
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(memory);
        let container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
        Self::new(system.total_memory().min(container).max(1) / DEFAULT_SHARE)
    }

    /// The whole budget in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    fn rest(self) -> u64 {
        self.0 - BASE
    }

    /// Share for open partitions, in bytes.
    pub(crate) fn for_partitions(self) -> u64 {
        self.rest() / 2
    }

    /// Share for units being decoded, in bytes.
    pub(crate) fn for_reading(self) -> u64 {
        self.rest() / 4
    }

    /// Share for rows that wait for earlier chunks, in bytes.
    pub(crate) fn for_waiting(self) -> u64 {
        self.rest() / 4
    }

    /// The largest unit that can be read, in bytes; no other unit is read at the same time.
    pub(crate) fn largest_unit(self) -> u64 {
        self.rest() / 2
    }

    /// The largest cell that can be exported, in bytes. During the export it is in memory as its compressed page, its
    /// decompressed page, and the output's text or page.
    pub(crate) fn largest_cell(self) -> u64 {
        self.rest() / CELL_COPIES
    }

    /// The budget that a cell of `cell` bytes needs.
    pub(crate) fn needed_for_cell(self, cell: u64) -> u64 {
        BASE.saturating_add(cell.saturating_mul(CELL_COPIES)).next_multiple_of(1 << 20)
    }

    /// The budget that a unit of `unit` bytes needs.
    pub(crate) fn needed_for(self, unit: u64) -> u64 {
        BASE.saturating_add(unit.saturating_mul(2)).next_multiple_of(1 << 20)
    }

    /// The number of partitions that may be open at once; at least 1.
    pub(crate) fn open_partitions(self, job: &Job, rows: &Rows) -> usize {
        let mut each = open_partition(&job.format, job.compression, rows);
        if matches!(job.encryption, Some(Encryption::Age { .. })) {
            each = each.saturating_add(ENCRYPTION_BYTES);
        }
        if job.output.local().is_none() {
            // An upload buffers one part while another is being sent, but no more than the file.
            let file = rows.stored_bytes.saturating_mul(8).saturating_mul(rows.count);
            each = each.saturating_add(Draft::UPLOAD_BYTES.min(file));
        }
        usize::try_from(self.for_partitions() / each.max(1)).unwrap_or(usize::MAX).clamp(1, MAX_OPEN_FILES)
    }
}

/// Each open partition is an open file, and systems allow 1,024 by default.
const MAX_OPEN_FILES: usize = 512;

/// Estimate for a row of an input that does not say how many it has.
const ASSUMED_ROW_BYTES: u64 = 256;

/// What is known of the rows of a partition before they are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// Columns of the source.
    pub columns: u64,
    /// How many, about.
    pub count: u64,
    /// Bytes of one, about, as columnar formats store it.
    pub stored_bytes: u64,
}

impl Rows {
    /// An estimate for one of `partitions`, as if all rows of the source were in the window. Text takes about four times
    /// as many bytes as the same rows in columns.
    pub(crate) fn of(units: &[&UnitFacts], columns: usize, is_text: bool, partitions: usize) -> Self {
        let (rows, bytes) = units.iter().fold((0u64, 0u64), |(rows, bytes), unit| {
            (
                rows.saturating_add(unit.rows.unwrap_or(unit.encoded_bytes / ASSUMED_ROW_BYTES)),
                bytes.saturating_add(unit.encoded_bytes),
            )
        });
        let row_bytes = bytes / rows.max(1);
        Self {
            columns: columns as u64,
            // Partitions differ in size; some have twice the average number of rows.
            count: 2 * (rows / (partitions as u64).max(1)) + 1,
            stored_bytes: if is_text { row_bytes / 4 } else { row_bytes } + 1,
        }
    }
}

/// Memory use of an open partition, in bytes.
fn open_partition(format: &Format, compression: Compression, rows: &Rows) -> u64 {
    const BLOCK: u64 = 512 << 10;
    match format {
        Format::Parquet => {
            // The finished pages of a row group, and for each column a dictionary and an open, uncompressed page.
            let finished = rows.stored_bytes.saturating_mul(rows.count.min(ROW_GROUP_ROWS as u64));
            let unfinished = finished.saturating_mul(4).min(rows.columns * (768 << 10));
            // Rows are gathered before they are encoded, in memory that is reserved first for a few rows, then for a whole
            // slab.
            let gathered = rows.columns * if rows.count > SLAB_ROWS as u64 { 96 << 10 } else { 16 << 10 };
            finished.saturating_add(unfinished) + (64 << 10) + gathered
        }
        Format::Csv(_) | Format::Ndjson(_) | Format::Json => match compression {
            Compression::Zstd(level) => BLOCK + zstd(level),
            Compression::Gzip(_) => BLOCK + (512 << 10),
            Compression::None | Compression::Snappy | Compression::Lz4 => BLOCK,
        },
    }
}

/// The result of `ZSTD_estimateCStreamSize` in zstd 1.5, rounded up.
fn zstd(level: i32) -> u64 {
    let mebibytes = match level {
        ..=2 => 2,
        3 => 4,
        4..=6 => 8,
        7..=8 => 12,
        9 => 20,
        10..=11 => 32,
        12..=14 => 60,
        15..=18 => 80,
        19 => 100,
        20 => 210,
        21 => 420,
        _ => 850,
    };
    mebibytes << 20
}

/// Bytes in use, out of a limit.
#[derive(Debug)]
pub(crate) struct Quota {
    bytes: u64,
    used: AtomicU64,
}

impl Quota {
    /// An unused quota.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, used: AtomicU64::new(0) }
    }

    /// The limit in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes bytes and returns true, if they fit or nothing else is in use.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| (used == 0 || used.saturating_add(bytes) <= self.bytes).then(|| used + bytes);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_smaller_than_the_program() {
        assert_eq!(Memory::new(1).bytes(), LEAST);
        let memory = Memory::new(1 << 30);
        assert_eq!(memory.for_partitions() + memory.for_reading() + memory.for_waiting(), (1 << 30) - BASE);
        assert!(Memory::of_machine().bytes() >= LEAST);
    }

    #[test]
    fn the_memory_advised_for_a_cell_or_a_unit_is_enough_for_it() {
        for bytes in [1, 1_000_000, 96 << 20, 3 << 30] {
            let least = Memory::new(0);
            assert!(Memory::new(least.needed_for_cell(bytes)).largest_cell() >= bytes);
            assert!(Memory::new(least.needed_for(bytes)).largest_unit() >= bytes);
        }
    }

    #[test]
    fn one_unit_is_always_let_in_and_others_only_beside_it() {
        let quota = Quota::new(100);
        assert!(quota.take(1_000));
        assert!(!quota.take(1));
        quota.give(1_000);
        assert!(quota.take(60) && !quota.take(60) && quota.take(40));
    }

    #[test]
    fn compressors_that_take_more_leave_room_for_fewer_partitions() {
        let rows = Rows { columns: 10, count: 1_000_000, stored_bytes: 100 };
        let each = |compression| open_partition(&Format::NDJSON, compression, &rows);
        assert!(each(Compression::None) < each(Compression::Gzip(6)));
        assert!(each(Compression::Zstd(3)) < each(Compression::Zstd(19)));
        let parquet = |count| open_partition(&Format::Parquet, Compression::Zstd(1), &Rows { count, ..rows });
        assert!(parquet(1_000_000) > each(Compression::None));
        assert_eq!(parquet(1_000_000), parquet(2_000_000));
        assert!(parquet(100) < each(Compression::None));
    }

    /// The compressor's own word, so that a new version cannot make the table a lie.
    #[test]
    fn no_compressor_takes_more_than_the_table_says() {
        use ::zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};
        for level in 1..=19 {
            let mut context = CCtx::create();
            context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
            let mut out = [0; 64];
            context.compress_stream(&mut OutBuffer::around(&mut out), &mut InBuffer::around(b"a")).unwrap();
            let takes = context.sizeof() as u64;
            assert!((1 << 20..=zstd(level)).contains(&takes), "level {level} takes {takes}");
        }
    }
}
