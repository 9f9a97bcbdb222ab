//! Derives the time range of a row group from the statistics of the time column.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::basic::Repetition;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::int96::micros;
use super::int96_scan::Int96Leaf;
use crate::source::TimeRange;
use crate::source::instants::typed_range;
use crate::time::TimeParser;

/// The statistics of the time column in all row groups.
pub(super) enum TimeStatistics<'a> {
    NoColumn,
    Unusable,
    Int96(&'a Int96Leaf, DataType),
    Bounds(TimeBounds),
}

/// Bounds as integers in the unit of the column's type.
pub(super) struct TimeBounds {
    data_type: DataType,
    leaf: usize,
    required: bool,
    unsigned: bool,
    mins: arrow::array::ArrayRef,
    maxes: arrow::array::ArrayRef,
}

impl<'a> TimeStatistics<'a> {
    pub(super) fn new(
        metadata: &ArrowReaderMetadata,
        int96: &'a BTreeMap<usize, Int96Leaf>,
        time_column: &str,
    ) -> Self {
        let Some((root, field)) = metadata.schema().column_with_name(time_column) else { return Self::NoColumn };
        let parquet = metadata.parquet_schema();
        if let Some((_, leaf)) = int96.iter().find(|(leaf, _)| parquet.get_column_root_idx(**leaf) == root)
            && let DataType::Timestamp(_, zone) = field.data_type()
        {
            return Self::Int96(leaf, DataType::Timestamp(TimeUnit::Microsecond, zone.clone()));
        }
        let data_type = field.data_type().clone();
        let integers = data_type.is_integer()
            || matches!(data_type, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64);
        if !integers {
            return Self::Unusable;
        }
        let bounds = || -> Result<TimeBounds, ParquetError> {
            let groups = metadata.metadata().row_groups();
            let converter = StatisticsConverter::try_new(time_column, metadata.schema(), metadata.parquet_schema())?;
            let leaf = converter.parquet_column_index().ok_or(ParquetError::EOF(String::new()))?;
            let repetition = metadata.parquet_schema().column(leaf).self_type().get_basic_info().repetition();
            Ok(TimeBounds {
                leaf,
                required: repetition == Repetition::REQUIRED,
                unsigned: data_type.is_unsigned_integer(),
                mins: cast(&converter.row_group_mins(groups)?, &DataType::Int64)?,
                maxes: cast(&converter.row_group_maxes(groups)?, &DataType::Int64)?,
                data_type,
            })
        };
        // Statistics only save work: without them, the row group is read.
        bounds().map_or(Self::Unusable, Self::Bounds)
    }
}

impl TimeBounds {
    /// Time range and number of nulls of a row group; `None` if the statistics prove nothing.
    pub(super) fn of(&self, index: usize, group: &RowGroupMetaData, parser: &TimeParser) -> Option<(TimeRange, u64)> {
        let rows = u64::try_from(group.num_rows()).ok()?;
        let statistics = group.columns().get(self.leaf)?.statistics();
        let nulls = if self.required { 0 } else { statistics?.null_count_opt().filter(|nulls| *nulls <= rows)? };
        let value = |array: &arrow::array::ArrayRef| {
            let array = array.as_primitive_opt::<Int64Type>()?;
            (index < array.len() && !array.is_null(index)).then(|| array.value(index))
        };
        let (min, max) = match (value(&self.mins), value(&self.maxes)) {
            (None, None) if nulls == rows => return Some((TimeRange::Empty, rows)),
            (Some(min), Some(max)) if min <= max && nulls < rows => (min, max),
            _ => return None,
        };
        // Writers of the deprecated fields compared all types as signed.
        if self.unsigned && statistics?.is_min_max_deprecated() {
            return None;
        }
        let (min, max) = typed_range(&self.data_type, min, max, parser)?;
        Some((TimeRange::Within { min, max }, nulls))
    }
}

/// Time range and number of rows without a time in a row group, from a scan of its values. `micros_type` has the zone.
pub(super) fn int96(
    leaf: &Int96Leaf,
    micros_type: &DataType,
    index: usize,
    rows: u64,
    parser: &TimeParser,
) -> (TimeRange, u64) {
    let Some(group) = leaf.groups.get(index) else { return (TimeRange::Unknown, rows) };
    let unplaced = rows.saturating_sub(group.values);
    let Some(((first, after_first), (last, after_last))) = group.bounds else { return (TimeRange::Empty, unplaced) };
    // Rounded outwards.
    let min = micros(first, after_first - after_first.rem_euclid(1_000));
    let max = micros(last, after_last + (-after_last).rem_euclid(1_000));
    let range = min.zip(max).and_then(|(min, max)| typed_range(micros_type, min, max, parser));
    (range.map_or(TimeRange::Unknown, |(min, max)| TimeRange::Within { min, max }), unplaced)
}
