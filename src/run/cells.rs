//! Refuses cells that exceed the memory budget, and names the budget that they need.
//!
//! The size of the largest cell is not known before the rows are read: footers and listings have only totals.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::memory::Memory;
use crate::error::ErrorCode;
use crate::failure::Failure;
use crate::source::Batch;

/// Refuses a batch with a cell that is too large, as soon as it is read.
///
/// # Errors
/// The first such cell, its size, and the memory that it needs.
pub(super) fn check(file: &str, batch: &Batch, memory: Memory) -> Result<(), Failure> {
    let limit = memory.largest_cell();
    for (field, column) in batch.rows.schema_ref().fields().iter().zip(batch.rows.columns()) {
        // No cell can be larger than its column.
        if column.get_array_memory_size() as u64 <= limit {
            continue;
        }
        let too_large = (0..column.len()).map(|row| (row, bytes_of(column, row))).find(|(_, bytes)| *bytes > limit);
        let Some((row, bytes)) = too_large else { continue };
        let size = |bytes: u64| bytesize::ByteSize(bytes).display().iec().to_string();
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        let message = format!(
            "column {} has a value of {}, too much for {} of memory; give `--memory {}` or more, or leave the \
             column out with `columns`",
            field.name(),
            size(bytes),
            size(memory.bytes()),
            size(memory.needed_for_cell(bytes)).replace(' ', ""),
        );
        return Err(Failure::new(ErrorCode::MemoryExceeded, message).at_input(file, batch.positions.of(row)));
    }
    Ok(())
}

/// The size of one value in bytes, including nested values. Values of other types are small.
fn bytes_of(column: &ArrayRef, row: usize) -> u64 {
    if column.is_null(row) {
        return 0;
    }
    let bytes = match column.data_type() {
        DataType::Utf8View => column.as_string_view().value(row).len(),
        DataType::BinaryView => column.as_binary_view().value(row).len(),
        DataType::Utf8 => column.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).len(),
        DataType::Binary => column.as_binary::<i32>().value(row).len(),
        DataType::LargeBinary => column.as_binary::<i64>().value(row).len(),
        DataType::List(_) => return all(&column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => return all(&column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(_, _) => return all(&column.as_fixed_size_list().value(row)),
        DataType::Struct(_) => return column.as_struct().columns().iter().map(|field| bytes_of(field, row)).sum(),
        DataType::Map(_, _) => return column.as_map().value(row).columns().iter().map(all).sum(),
        _ => 16,
    };
    bytes as u64
}

fn all(values: &ArrayRef) -> u64 {
    (0..values.len()).map(|row| bytes_of(values, row)).sum()
}
