//! Refuses plans that read column chunks which no reader can decode, before there is any output.

use arrow::datatypes::Schema;

use super::{Failure, Survey};
use crate::error::ErrorCode;
use crate::plan::Plan;

/// Checks that every column chunk the plan reads can be decoded. `read` has the columns that are read.
///
/// # Errors
/// The first input and column that cannot be decoded, and what to do.
pub(crate) fn check_decodable(surveyed: &Survey, plan: &Plan, read: &Schema) -> Result<(), Failure> {
    for (index, undecodable) in &surveyed.undecodable {
        if read.column_with_name(&undecodable.column).is_none() {
            continue;
        }
        let is_read = |read: &crate::plan::Read| {
            read.input as usize == *index && undecodable.units.binary_search(&read.unit).is_ok()
        };
        let mut reads = plan.tasks.iter().flat_map(|task| &task.reads);
        if let (Some(read), Some(input)) = (reads.find(|read| is_read(read)), surveyed.inputs.get(*index)) {
            let message = format!("row group {}: {}", read.unit, undecodable.why);
            return Err(Failure::new(ErrorCode::SourceUnreadable, message).at_input(input.name(), None));
        }
    }
    Ok(())
}
