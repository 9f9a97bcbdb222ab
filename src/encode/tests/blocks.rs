//! Rows written by blocks and columns equal, byte for byte, rows written cell by cell.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, LargeStringArray, StringArray, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::super::text::TextRows;
use super::batches::{self, Random, Range};
use crate::job::{Absent, CsvFormat};
use crate::logical::json_field;

/// Dialects in which cells are written in different ways.
fn dialects() -> Vec<CsvFormat> {
    let with = |delimiter, null_text: &str, escape_formulas| CsvFormat {
        delimiter,
        null_text: null_text.to_owned(),
        escape_formulas,
        ..CsvFormat::default()
    };
    vec![
        with(b',', "", false),
        with(b'\t', "", false),
        with(b' ', "NULL", false),
        with(b';', "a", true),
        with(b'|', "0", false),
        with(b'.', "\\N", false),
        with(b',', "true", false),
    ]
}

#[track_caller]
fn check(batch: &RecordBatch, rows: &[u32]) {
    let schema = batch.schema();
    let mut writers: Vec<TextRows> = dialects().iter().map(|d| TextRows::csv(d, schema.clone()).unwrap()).collect();
    writers.push(TextRows::ndjson(schema.clone(), Absent::Fill).unwrap());
    writers.push(TextRows::json(schema.clone()).unwrap());
    writers.push(TextRows::ndjson(schema, Absent::Omit).unwrap());
    for (i, writer) in writers.iter().enumerate() {
        let mut expected = b"before".to_vec();
        let mut expected_ends = Vec::new();
        for &row in rows {
            writer.append_plainly(batch, &[row], &mut expected);
            expected_ends.push(expected.len());
        }
        let mut found = b"before".to_vec();
        let mut ends = Vec::new();
        writer.append(batch, rows, &mut found, &mut ends).unwrap();
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            let around = |bytes: &[u8]| {
                String::from_utf8_lossy(&bytes[at.saturating_sub(40)..bytes.len().min(at + 40)]).into_owned()
            };
            panic!("writer {i} at byte {at}:\n{}\n{}", around(&found), around(&expected));
        }
        assert_eq!(ends, expected_ends);
    }
}

fn any_rows(batch: &RecordBatch, random: &mut Random) -> Vec<u32> {
    let count = batch.num_rows() as u64;
    match random.below(3) {
        0 => (0..count as u32).collect(),
        1 => (0..count as u32).filter(|_| random.below(3) == 0).collect(),
        _ => (0..2 * count).map(|_| random.below(count) as u32).collect(),
    }
}

const PIECES: [&str; 16] = [
    "",
    "a",
    "NULL",
    "0",
    ",",
    "\"",
    "\\",
    "\n",
    "\r",
    "\t",
    "\u{1}",
    "é",
    "😀",
    "0123456789",
    "|;. ",
    "{\"a\":[1,\"b\"]}",
];

fn piece(random: &mut Random) -> String {
    let clean = random.below(2) == 0;
    let longest = 1 << random.below(6);
    (0..random.below(longest))
        .map(|_| if clean { "x" } else { PIECES[random.below(PIECES.len() as u64) as usize] })
        .collect()
}

/// Views into buffers of their own, into shared ones, and in themselves; `None` for nulls.
fn views(rows: usize, random: &mut Random) -> StringViewArray {
    let shared: Vec<String> = (0..6).map(|_| piece(random)).collect();
    let mut builder = StringViewBuilder::new();
    let mut blocks = Vec::new();
    for text in &shared {
        let bytes = Buffer::from_vec(text.clone().into_bytes());
        blocks.push((builder.append_block(bytes), text.len() as u32));
    }
    for _ in 0..rows {
        match random.below(6) {
            0 => builder.append_null(),
            1 => builder.append_value(piece(random)),
            2 => builder.append_value("{\"k\": [1, 2, {\"l\": null}], \"m\": \"text\"}"),
            _ => {
                let (block, length) = blocks[random.below(blocks.len() as u64) as usize];
                builder.try_append_view(block, 0, length).unwrap();
            }
        }
    }
    builder.finish()
}

/// Columns of text in every layout, holding JSON or not.
fn texts(rows: usize, random: &mut Random) -> RecordBatch {
    let one = views(rows + 3, random).slice(3, rows);
    let two = views(rows, random);
    let small: StringArray = two.iter().collect();
    let large: LargeStringArray = one.iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("a", Arc::new(one)),
        ("\"b\"", Arc::new(two)),
        ("ccccccccccccccccccccc", Arc::new(small)),
        ("d", Arc::new(large)),
    ];
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, array) in columns {
        fields.push(Field::new(name, array.data_type().clone(), true));
        fields.push(json_field(Field::new(format!("{name} as JSON"), array.data_type().clone(), true)));
        arrays.extend([array.clone(), array]);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn columns_of_every_type(rows in 1usize..100, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        let mut random = Random(seed);
        check(&batch, &any_rows(&batch, &mut random));
    }

    #[test]
    fn text_of_every_layout_and_length(rows in 1usize..100, seed in any::<u64>()) {
        let mut random = Random(seed);
        let batch = texts(rows, &mut random);
        check(&batch, &any_rows(&batch, &mut random));
        for column in 0..batch.num_columns() {
            check(&batch.project(&[column]).unwrap(), &any_rows(&batch, &mut random));
        }
    }

    #[test]
    fn decimals_of_every_scale(value in any::<i128>(), shift in 0u8..128, scale in -5i8..39) {
        let values = [value >> shift, -(value >> shift).max(-i128::MAX), 0, 1, -1, 10i128.pow(18), 1 << 64];
        let decimals = Decimal128Array::from(values.to_vec()).with_data_type(DataType::Decimal128(38, scale));
        let batch = RecordBatch::try_from_iter([("d", Arc::new(decimals) as ArrayRef)]).unwrap();
        check(&batch, &[0, 1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn every_length_and_every_special_byte_at_every_place() {
    for special in [",", "\"", "\n", "\r", "\\", "\u{0}", "\u{1f}", "\u{7f}", "é"] {
        let mut texts = Vec::new();
        for length in 0..80usize {
            for at in (0..=length).step_by(if length < 40 { 1 } else { 7 }) {
                texts.push(format!("{}{special}{}", "x".repeat(at), "y".repeat(length - at)));
            }
        }
        let rows: Vec<u32> = (0..texts.len() as u32).collect();
        let columns = [
            ("v", Arc::new(StringViewArray::from_iter_values(&texts)) as ArrayRef),
            ("t", Arc::new(StringArray::from_iter_values(&texts))),
        ];
        check(&RecordBatch::try_from_iter(columns).unwrap(), &rows);
    }
}

#[test]
fn rows_larger_than_a_block() {
    let long =
        ["\"\n".repeat(200_000), "\u{1}".repeat(300_000), "z".repeat(1_000_000), String::new(), "short".to_owned()];
    let batch = RecordBatch::try_from_iter([
        ("v", Arc::new(StringViewArray::from_iter_values(&long)) as ArrayRef),
        ("t", Arc::new(StringArray::from_iter_values(&long))),
    ])
    .unwrap();
    check(&batch, &[4, 0, 4, 1, 2, 3, 2, 4]);
}

#[test]
fn values_at_the_ends_of_their_types() {
    let times = TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX, 0, -1, 86_400_000_000]).with_timezone("UTC");
    let floats = Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::MIN_POSITIVE, f64::MAX]);
    let decimals =
        Decimal128Array::from(vec![i128::MIN, i128::MAX, 0, -1, 1]).with_data_type(DataType::Decimal128(38, 18));
    let batch = RecordBatch::try_from_iter([
        ("t", Arc::new(times) as ArrayRef),
        ("f", Arc::new(floats)),
        ("d", Arc::new(decimals)),
    ])
    .unwrap();
    check(&batch, &[0, 1, 2, 3, 4]);
}

#[test]
fn rows_too_large_for_a_slab_are_written_the_same() {
    let large = "a \"large\" cell,\n\u{1}é".repeat(40_000);
    let texts = StringViewArray::from_iter([Some("small"), Some(large.as_str()), None, Some("=1"), Some(&large)]);
    let numbers = Float64Array::from_iter([Some(1.5), None, Some(2.0), Some(f64::NAN), Some(0.0)]);
    let json = StringViewArray::from_iter([Some("1"), Some("{\"a\": [1]}"), None, Some("null"), Some("no JSON")]);
    let fields = vec![
        Field::new("n", DataType::Float64, true),
        Field::new("t", DataType::Utf8View, true),
        json_field(Field::new("j", DataType::Utf8View, true)),
    ];
    let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(texts), Arc::new(json)];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    check(&batch, &[0, 1, 2, 3, 4, 1, 0]);
}
