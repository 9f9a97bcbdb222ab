//! Partitions, merged into calendar units until they fit a chart.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::package::manifest::{FileEntry, FileStatus};
use crate::time::calendar::{Calendar, Unit};

/// A period of the window: one partition, or all that start in one calendar unit.
#[derive(Debug, Default)]
pub(super) struct Slice<'a> {
    /// The partition's name, or the unit's.
    pub label: String,
    /// Partitions in it.
    pub partitions: u64,
    /// Their entries in the manifest.
    pub files: Vec<&'a FileEntry>,
    /// Rows in shards.
    pub rows: u64,
    /// Bytes of shards.
    pub bytes: u64,
    /// Complete partitions that have no rows.
    pub empty: u64,
    /// Partitions with rejected rows.
    pub partial: u64,
    /// Partitions that failed.
    pub failed: u64,
    /// Partitions that were not tried.
    pub pending: u64,
}

impl<'a> Slice<'a> {
    /// A slice of one partition.
    fn of(files: &'a [FileEntry]) -> Self {
        let has = |status| files.iter().any(|file| file.status == status);
        let rows = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.rows));
        let (failed, partial) = (has(FileStatus::Failed), has(FileStatus::Partial));
        let pending = has(FileStatus::Pending) || has(FileStatus::Running);
        let is_empty = rows == 0 && !failed && !partial && !pending;
        Self {
            label: files.first().map(|file| file.partition.label.clone()).unwrap_or_default(),
            partitions: 1,
            rows,
            bytes: files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
            empty: u64::from(is_empty),
            failed: u64::from(failed),
            pending: u64::from(pending && !failed),
            partial: u64::from(partial && !failed && !pending),
            files: files.iter().collect(),
        }
    }

    fn add(&mut self, other: Self) {
        self.partitions += other.partitions;
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.empty += other.empty;
        self.partial += other.partial;
        self.failed += other.failed;
        self.pending += other.pending;
        self.files.extend(other.files);
    }

    /// The worst status inside, in the report's words.
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "failed",
            Self { pending: 1.., .. } => "not tried",
            Self { partial: 1.., .. } => "partial",
            _ => "complete",
        }
    }
}

/// What a slice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A partition.
    Partition,
    /// All partitions that begin in one unit of the window's zone.
    Unit(Unit),
}

/// The partitions of a manifest, in its order.
pub(super) fn partitions(files: &[FileEntry]) -> Vec<Slice<'_>> {
    files.chunk_by(|a, b| a.partition == b.partition).map(Slice::of).collect()
}

/// Slices of the smallest unit that gives at most this number of slices; years if none does.
pub(super) fn at_most<'a>(most: usize, files: &'a [FileEntry], zone: &TimeZone) -> (Cut, Vec<Slice<'a>>) {
    let whole = partitions(files);
    if whole.len() <= most {
        return (Cut::Partition, whole);
    }
    let calendar = Calendar::new(zone.clone());
    let name = |at: Timestamp, unit: Unit| calendar.label(at, unit).unwrap_or_else(|| at.to_string());
    let starts: Vec<Timestamp> =
        files.chunk_by(|a, b| a.partition == b.partition).map(|f| f[0].partition.start).collect();
    let units = [Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];
    let labels = |unit: Unit| starts.iter().map(|at| name(*at, unit)).collect::<Vec<_>>();
    let are_few = |labels: &[String]| labels.chunk_by(|a, b| a == b).count() <= most;
    let fitting = units.into_iter().map(|unit| (unit, labels(unit))).find(|(_, labels)| are_few(labels));
    let (unit, labels) = fitting.unwrap_or_else(|| (Unit::Year, labels(Unit::Year)));
    let mut slices: Vec<Slice> = Vec::new();
    for (slice, label) in whole.into_iter().zip(labels) {
        match slices.last_mut() {
            Some(last) if last.label == label => last.add(slice),
            _ => slices.push(Slice { label, ..slice }),
        }
    }
    (Cut::Unit(unit), slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::manifest::tests::entry;

    fn hours(count: i64) -> Vec<FileEntry> {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let hour = |n: i64| start + jiff::SignedDuration::from_hours(n);
        (0..count)
            .map(|n| {
                let label = hour(n).to_string();
                let mut file = entry(&label, &label, &hour(n).to_string(), &hour(n + 1).to_string());
                file.rows = 1;
                file
            })
            .collect()
    }

    #[test]
    fn partitions_are_put_together_until_they_are_few() {
        let kinds = |count, most| {
            let files = hours(count);
            let (cut, slices) = at_most(most, &files, &TimeZone::UTC);
            assert_eq!(slices.iter().map(|s| s.rows).sum::<u64>(), count as u64);
            assert_eq!(slices.iter().map(|s| s.partitions).sum::<u64>(), count as u64);
            (cut, slices.len())
        };
        assert_eq!(kinds(1, 120), (Cut::Partition, 1));
        assert_eq!(kinds(120, 120), (Cut::Partition, 120));
        assert_eq!(kinds(744, 120), (Cut::Unit(Unit::Day), 31));
        assert_eq!(kinds(8_784, 120), (Cut::Unit(Unit::Week), 53));
        assert_eq!(kinds(744, 2), (Cut::Unit(Unit::Month), 1));
        assert_eq!(kinds(0, 120), (Cut::Partition, 0));
    }

    #[test]
    fn a_slice_is_as_bad_as_its_worst_file() {
        let mut files = hours(30);
        files[3].status = FileStatus::Failed;
        files[4].status = FileStatus::Pending;
        files[5].status = FileStatus::Partial;
        files[6].rows = 0;
        let (_, slices) = at_most(2, &files, &TimeZone::UTC);
        let first = &slices[0];
        assert_eq!((first.failed, first.pending, first.partial, first.empty), (1, 1, 1, 1));
        assert_eq!((first.status(), slices[1].status()), ("failed", "complete"));
    }
}
