//! Equal rows give equal bytes, regardless of how they are split into batches.

use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::batches::{self, Random, Range};
use super::{formats, shard, whole};
use crate::job::Format;

/// The batch in consecutive pieces.
fn cut(batch: &RecordBatch, random: &mut Random) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < batch.num_rows() {
        let length = (random.below(2 + batch.num_rows() as u64 / 2) as usize).min(batch.num_rows() - at);
        pieces.push(batch.slice(at, length));
        at += length;
    }
    pieces
}

fn in_pieces(format: &Format, batch: &RecordBatch, random: &mut Random) -> Vec<u8> {
    let pieces = cut(batch, random);
    shard(format, &batch.schema(), pieces.iter().map(|piece| (piece, (0..piece.num_rows() as u32).collect())))
}

/// As if the rows had stood among those of other partitions.
fn among_others(format: &Format, batch: &RecordBatch, random: &mut Random) -> Vec<u8> {
    let others = batch.slice(0, batch.num_rows() / 2);
    let mixed = concat_batches(&batch.schema(), [&others, batch, &others]).unwrap();
    let first = others.num_rows() as u32;
    let rows: Vec<u32> = (first..first + batch.num_rows() as u32).collect();
    let mut rest = rows.as_slice();
    let mut appends = Vec::new();
    while !rest.is_empty() {
        let (piece, more) = rest.split_at((1 + random.below(rest.len() as u64)) as usize);
        appends.push((&mixed, piece.to_vec()));
        rest = more;
    }
    shard(format, &batch.schema(), appends)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn cuts_leave_no_trace(rows in 1usize..60, seed in any::<u64>()) {
        let mut random = Random(seed);
        for format in formats() {
            let batch = match format {
                Format::Parquet => batches::parquet_storable(rows, seed),
                _ => batches::every_type(rows, seed, Range::All),
            };
            let expected = whole(&format, &batch);
            prop_assert!(expected == in_pieces(&format, &batch, &mut random), "{} in pieces", format.name());
            prop_assert!(expected == among_others(&format, &batch, &mut random), "{} among others", format.name());
        }
    }

    #[test]
    fn rows_in_any_order_are_the_rows_taken(rows in 1usize..40, seed in any::<u64>()) {
        let mut random = Random(seed);
        let chosen: Vec<u32> = (0..rows).map(|_| random.below(rows as u64) as u32).collect();
        for format in formats() {
            let batch = match format {
                Format::Parquet => batches::parquet_storable(rows, seed),
                _ => batches::every_type(rows, seed, Range::All),
            };
            let taken = take_record_batch(&batch, &UInt32Array::from(chosen.clone())).unwrap();
            let expected = whole(&format, &taken);
            prop_assert!(expected == shard(&format, &batch.schema(), [(&batch, chosen.clone())]), "{}", format.name());
        }
    }
}

#[test]
fn cuts_leave_no_trace_in_slabs_and_blocks() {
    // More rows than a slab of Parquet, more bytes than a block of text.
    let batch = batches::parquet_storable(9_000, 5);
    let some: Vec<usize> = (0..batch.num_columns()).step_by(3).collect();
    let batch = batch.project(&some).unwrap();
    let mut random = Random(6);
    for format in formats() {
        let expected = whole(&format, &batch);
        assert!(expected.len() > 600_000);
        for _ in 0..2 {
            assert!(expected == in_pieces(&format, &batch, &mut random), "{}", format.name());
        }
    }
}
