//! The order of rows within a partition for `order: time`.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::record_batch::RecordBatch;

use super::QueryError;

/// The permutation that sorts rows by time, then id (nulls first; text by its bytes, integers by value), then position.
///
/// `times` are the instants of the rows, all in the same unit. The sort is stable, so rows with equal time and id keep the
/// order of the source.
///
/// # Errors
/// [`QueryError::Order`] where `times` has a null or a different length than `rows`, the id column is missing or has a
/// type without an order, or there are more than `u32::MAX` rows.
pub(crate) fn sort_permutation(
    rows: &RecordBatch,
    time_column: &str,
    times: &Int64Array,
    id: Option<&str>,
) -> Result<UInt32Array, QueryError> {
    let refused = |column: &str, why: String| QueryError::Order { column: column.to_owned(), why };
    if times.len() != rows.num_rows() {
        return Err(refused(time_column, format!("{} times for {} rows", times.len(), rows.num_rows())));
    }
    if times.null_count() > 0 {
        return Err(refused(time_column, format!("{} rows are without time", times.null_count())));
    }
    let count = u32::try_from(rows.num_rows())
        .map_err(|_| refused(time_column, format!("{} rows are too many to sort at once", rows.num_rows())))?;
    let by_id = match id {
        Some(name) => {
            let column: &ArrayRef =
                rows.column_by_name(name).ok_or_else(|| QueryError::MissingColumn { column: name.to_owned() })?;
            let options = SortOptions { descending: false, nulls_first: true };
            Some(make_comparator(column, column, options).map_err(|e| refused(name, e.to_string()))?)
        }
        None => None,
    };
    let times = times.values();
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (a as usize, b as usize);
        let by_time = times.get(a).cmp(&times.get(b));
        by_time.then_with(|| by_id.as_ref().map_or(Ordering::Equal, |compare| compare(a, b)))
    });
    Ok(UInt32Array::from(order))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{StringViewArray, StructArray};
    use proptest::prelude::*;

    use super::*;

    fn batch(ids: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("id", ids)]).unwrap()
    }

    fn order(ids: ArrayRef, times: Vec<i64>, id: Option<&str>) -> Vec<u32> {
        sort_permutation(&batch(ids), "at", &Int64Array::from(times), id).unwrap().values().to_vec()
    }

    #[test]
    fn rows_go_by_time_then_id_with_nulls_first_then_position() {
        let text =
            || Arc::new(StringViewArray::from(vec![Some("b"), Some("B"), None, Some("ä"), Some("b")])) as ArrayRef;
        assert_eq!(order(text(), vec![1, 1, 1, 1, 1], Some("id")), [2, 1, 0, 4, 3]);
        assert_eq!(order(text(), vec![2, 1, 2, 1, -1], Some("id")), [4, 1, 3, 2, 0]);
        assert_eq!(order(text(), vec![1, 0, 1, 0, 1], None), [1, 3, 0, 2, 4]);
        let ints = Arc::new(Int64Array::from(vec![Some(10), Some(9), None, Some(-1)]));
        assert_eq!(order(ints, vec![5, 5, 5, 5], Some("id")), [2, 3, 1, 0]);
    }

    #[test]
    fn what_cannot_be_ordered_says_why() {
        let rows = batch(Arc::new(Int64Array::from(vec![1, 2])));
        let error = |times: Vec<Option<i64>>, id| {
            sort_permutation(&rows, "at", &Int64Array::from(times), id).unwrap_err().to_string()
        };
        assert_eq!(error(vec![Some(1)], None), "rows cannot be ordered by `at`: 1 times for 2 rows");
        assert_eq!(error(vec![Some(1), None], None), "rows cannot be ordered by `at`: 1 rows are without time");
        assert_eq!(error(vec![Some(1), Some(1)], Some("x")), "the batch has no column `x`");
        let empty = batch(Arc::new(StructArray::new_empty_fields(1, None)));
        let one = Int64Array::from(vec![1]);
        assert!(sort_permutation(&empty, "at", &one, Some("id")).is_ok_and(|o| o.len() == 1));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_stable_sort_of_tuples(
            rows in prop::collection::vec((0i64..5, prop::option::of("[ab]{0,2}")), 0..60),
        ) {
            let ids: StringViewArray = rows.iter().map(|(_, id)| id.as_deref()).collect();
            let got = order(Arc::new(ids), rows.iter().map(|(t, _)| *t).collect(), Some("id"));
            let mut expected: Vec<u32> = (0..rows.len() as u32).collect();
            expected.sort_by_key(|i| rows[*i as usize].clone());
            prop_assert_eq!(got, expected);
        }
    }
}
