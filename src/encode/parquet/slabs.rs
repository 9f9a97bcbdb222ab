//! Gathers rows into slabs of one size, regardless of their batches.
//!
//! Arrow's coalescer reserves memory for a whole batch at the first row, and its text blocks grow from batch to batch. Of
//! thousands of open shards, most stay small, so the first slab of a shard is gathered in batches that double its rows, each
//! by its own coalescer. The resulting slabs are the same.

use arrow::compute::{BatchCoalescer, concat_batches};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// Rows for which memory is reserved at first. The slab size is a power of two times as many.
const FIRST_ROWS: usize = 256;

pub(super) struct Slabs {
    schema: SchemaRef,
    slab_rows: usize,
    gathering: BatchCoalescer,
    /// `None` once the first slab is complete.
    first: Option<First>,
}

struct First {
    batches: Vec<RecordBatch>,
    /// In `batches`.
    rows: usize,
    /// Rows missing from the next batch.
    room: usize,
}

impl Slabs {
    /// `slab_rows` is the number of rows in each slab.
    pub(super) fn new(schema: SchemaRef, slab_rows: usize) -> Self {
        let gathering = BatchCoalescer::new(schema.clone(), FIRST_ROWS);
        Self { schema, slab_rows, gathering, first: Some(First { batches: Vec::new(), rows: 0, room: FIRST_ROWS }) }
    }

    /// Adds rows and returns the completed slabs.
    pub(super) fn push(&mut self, mut rows: RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut slabs = Vec::new();
        while let Some(first) = self.first.as_mut().filter(|_| rows.num_rows() > 0) {
            let taken = first.room.min(rows.num_rows());
            self.gathering.push_batch(rows.slice(0, taken))?;
            rows = rows.slice(taken, rows.num_rows() - taken);
            first.room -= taken;
            let Some(batch) = self.gathering.next_completed_batch() else { continue };
            first.rows += batch.num_rows();
            first.batches.push(batch);
            first.room = first.rows.min(self.slab_rows - first.rows);
            let next_rows = if first.room == 0 { self.slab_rows } else { first.room };
            if first.room == 0 {
                slabs.push(concat_batches(&self.schema, &first.batches)?);
                self.first = None;
            }
            self.gathering = BatchCoalescer::new(self.schema.clone(), next_rows);
        }
        if rows.num_rows() > 0 {
            self.gathering.push_batch(rows)?;
        }
        if self.first.is_none() {
            slabs.extend(self.completed());
        }
        Ok(slabs)
    }

    /// The remaining rows, fewer than a slab.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        self.gathering.finish_buffered_batch()?;
        let mut batches = self.first.take().map_or_else(Vec::new, |first| first.batches);
        batches.extend(self.completed());
        match batches.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            _ => concat_batches(&self.schema, batches.iter()).map(Some),
        }
    }

    fn completed(&mut self) -> Vec<RecordBatch> {
        std::iter::from_fn(|| self.gathering.next_completed_batch()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int32Array, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn slabs_are_of_one_size_and_in_order_however_rows_come() {
        let batch = |rows: std::ops::Range<i32>| {
            let texts = StringViewArray::from_iter_values(rows.clone().map(|i| format!("the text of row number {i}")));
            let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(rows));
            RecordBatch::try_from_iter(vec![("n", numbers), ("t", Arc::new(texts) as ArrayRef)]).unwrap()
        };
        for (step, all) in
            [(1, 700), (100, 5_000), (255, 1_024), (256, 1_024), (600, 4_000), (5_000, 10_000), (1_024, 1_024)]
        {
            let mut slabs = Slabs::new(batch(0..1).schema(), 1_024);
            let mut found = Vec::new();
            let mut at = 0;
            while at < all {
                let end = (at + step).min(all);
                found.extend(slabs.push(batch(at..end)).unwrap());
                at = end;
            }
            assert!(found.iter().all(|slab| slab.num_rows() == 1_024), "{step}");
            assert_eq!(found.len() as i32, all / 1_024, "{step}");
            found.extend(slabs.finish().unwrap());
            let numbers = found.iter().flat_map(|slab| slab.column(0).as_primitive::<Int32Type>().values().to_vec());
            assert!(numbers.eq(0..all), "{step}");
            let texts = found.iter().flat_map(|slab| slab.column(1).as_string_view().iter().flatten());
            assert!(texts.eq((0..all).map(|i| format!("the text of row number {i}"))), "{step}");
        }
    }
}
