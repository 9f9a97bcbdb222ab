//! CSV shards, read with the `csv` crate and arrow-csv. Cells are compared with Arrow's own display.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, DictionaryArray, FixedSizeBinaryArray, Float64Array,
    Int8Array, Int64Array, LargeBinaryArray, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::batches::{self, Range};
use super::{text, whole};
use crate::job::{CsvFormat, Format};

fn default() -> Format {
    Format::Csv(CsvFormat::default())
}

fn with(change: impl FnOnce(&mut CsvFormat)) -> Format {
    let mut format = CsvFormat::default();
    change(&mut format);
    Format::Csv(format)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn records(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// The value as Arrow displays it with the digits of our dialect; `None` if Arrow's form differs.
fn arrows_text(array: &dyn Array, row: usize) -> Option<String> {
    let (timestamp, timestamp_utc, time) = match array.data_type() {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => match unit {
            TimeUnit::Second => ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%H:%M:%S"),
            TimeUnit::Millisecond => ("%Y-%m-%dT%H:%M:%S%.3f", "%Y-%m-%dT%H:%M:%S%.3fZ", "%H:%M:%S%.3f"),
            TimeUnit::Microsecond => ("%Y-%m-%dT%H:%M:%S%.6f", "%Y-%m-%dT%H:%M:%S%.6fZ", "%H:%M:%S%.6f"),
            TimeUnit::Nanosecond => ("%Y-%m-%dT%H:%M:%S%.9f", "%Y-%m-%dT%H:%M:%S%.9fZ", "%H:%M:%S%.9f"),
        },
        // Arrow drops zeros at the end of a duration's fraction, and has words of its own for intervals.
        DataType::Duration(_) | DataType::Interval(_) => return None,
        // Arrow's dictionaries do not take formats of their values.
        DataType::Dictionary(_, value) if value.is_temporal() => return None,
        _ => ("", "", ""),
    };
    let mut options = FormatOptions::new().with_null("");
    if !timestamp.is_empty() {
        options = options
            .with_timestamp_format(Some(timestamp))
            .with_timestamp_tz_format(Some(timestamp_utc))
            .with_time_format(Some(time));
    }
    // Our `Z` is UTC whatever the column's zone, where Arrow shows the zone's clock.
    let utc = match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            Some(arrow::compute::cast(array, &DataType::Timestamp(*unit, Some("UTC".into()))).unwrap())
        }
        // Arrow shows a 64-bit date with its midnight.
        DataType::Date64 => Some(arrow::compute::cast(array, &DataType::Date32).unwrap()),
        _ => None,
    };
    let array = utc.as_deref().unwrap_or(array);
    Some(ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cells_are_what_arrow_shows(rows in 0usize..12, seed in any::<u64>()) {
        let batch = batches::flat(rows, seed, Range::Common);
        let records = records(&whole(&default(), &batch));
        prop_assert_eq!(records.len(), rows);
        for (row, record) in records.iter().enumerate() {
            for (i, cell) in record.iter().enumerate() {
                let column = batch.column(i);
                if column.data_type().is_floating() {
                    // Arrow writes exponents in other places, so compare what the text means.
                    if column.is_null(row) {
                        prop_assert_eq!(cell, "");
                    } else if let Some(doubles) = column.as_primitive_opt::<Float64Type>() {
                        prop_assert_eq!(cell.parse::<f64>().unwrap().to_bits(), doubles.value(row).to_bits());
                    } else {
                        let singles = arrow::compute::cast(column, &DataType::Float32).unwrap();
                        let single = singles.as_primitive::<Float32Type>().value(row);
                        prop_assert_eq!(cell.parse::<f32>().unwrap().to_bits(), single.to_bits());
                    }
                } else if let Some(expected) = arrows_text(column, row) {
                    prop_assert_eq!(cell, &expected, "row {} of {}", row, column.data_type());
                }
            }
        }
    }

    #[test]
    fn arrow_csv_reads_the_same_values(rows in 1usize..12, seed in any::<u64>()) {
        let all = batches::flat(rows, seed, Range::Common);
        // arrow-csv does not read the other types; it takes the empty string for a null, so text is not here either.
        let columns: Vec<usize> = (0..all.num_columns())
            .filter(|&i| match all.column(i).data_type() {
                DataType::Null | DataType::Boolean | DataType::Date32 | DataType::Time32(_) | DataType::Time64(_) => true,
                DataType::Timestamp(_, _) => true,
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale >= 0,
                other => other.is_integer() || matches!(other, DataType::Float32 | DataType::Float64),
            })
            .collect();
        let batch = all.project(&columns).unwrap();
        let bytes = whole(&default(), &batch);
        let mut reader = arrow::csv::ReaderBuilder::new(batch.schema()).with_header(true).build(bytes.as_slice()).unwrap();
        let read = reader.next().unwrap().unwrap();
        for (ours, theirs) in batch.columns().iter().zip(read.columns()) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn no_value_of_any_type_is_too_much(rows in 0usize..12, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        for format in [default(), with(|f| f.null_text = "0".to_owned()), with(|f| { f.delimiter = b'\t'; f.escape_formulas = true; })] {
            let delimiter = match &format { Format::Csv(csv) => csv.delimiter, _ => b',' };
            let bytes = whole(&format, &batch);
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes.as_slice());
            let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(records.len(), rows);
            for record in &records {
                prop_assert_eq!(record.len(), batch.num_columns());
            }
        }
    }

    #[test]
    fn nested_cells_are_json(rows in 0usize..12, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        let nested: Vec<usize> = (0..batch.num_columns()).filter(|&i| batch.column(i).data_type().is_nested()).collect();
        let batch = batch.project(&nested).unwrap();
        for (row, record) in records(&whole(&default(), &batch)).iter().enumerate() {
            for (i, cell) in record.iter().enumerate() {
                if batch.column(i).is_null(row) {
                    prop_assert_eq!(cell, "");
                } else {
                    let value: serde_json::Value = serde_json::from_str(cell).unwrap();
                    prop_assert!(value.is_array() || value.is_object());
                }
            }
        }
    }
}

#[test]
fn header_rows_nulls_and_empty_strings() {
    let batch = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
        ("a,b", Arc::new(StringArray::from(vec![Some(""), None]))),
        ("x", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)]))),
    ]);
    assert_eq!(text(whole(&default(), &batch)), "id,\"a,b\",x\n1,\"\",0.1\n,,NaN\n");
    assert_eq!(text(whole(&with(|f| f.header = false), &batch)), "1,\"\",0.1\n,,NaN\n");
    assert_eq!(
        text(whole(&with(|f| f.null_text = "NULL".into()), &batch)),
        "id,\"a,b\",x\n1,\"\",0.1\nNULL,NULL,NaN\n"
    );
    assert_eq!(text(whole(&with(|f| f.delimiter = b';'), &batch)), "id;a,b;x\n1;\"\";0.1\n;;NaN\n");
    assert_eq!(text(whole(&with(|f| f.bom = true), &batch)), "\u{feff}id,\"a,b\",x\n1,\"\",0.1\n,,NaN\n");
}

#[test]
fn empty_bytes_differ_from_null_as_empty_text_does() {
    let values: Vec<Option<&[u8]>> = vec![Some(b""), None, Some(b"\x00\xff")];
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([]), None, Some([])].into_iter(), 0);
    let keys = Int8Array::from(vec![Some(0), None, Some(1)]);
    let dictionary = DictionaryArray::new(keys, Arc::new(BinaryArray::from(vec![b"".as_slice(), b"\x00\xff"])));
    let batch = batch(vec![
        ("a", Arc::new(BinaryArray::from(values.clone())) as ArrayRef),
        ("b", Arc::new(LargeBinaryArray::from(values.clone()))),
        ("c", Arc::new(BinaryViewArray::from(values))),
        ("d", Arc::new(fixed.unwrap())),
        ("e", Arc::new(dictionary)),
    ]);
    let expected = "a,b,c,d,e\n\"\",\"\",\"\",\"\",\"\"\n,,,,\n00ff,00ff,00ff,\"\",00ff\n";
    assert_eq!(text(whole(&default(), &batch)), expected);
    let expected = "a,b,c,d,e\n\"\",\"\",\"\",\"\",\"\"\n-,-,-,-,-\n00ff,00ff,00ff,\"\",00ff\n";
    assert_eq!(text(whole(&with(|f| f.null_text = "-".into()), &batch)), expected);
}

#[test]
fn infinities_have_a_text() {
    let batch = batch(vec![
        ("x", Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NEG_INFINITY])) as ArrayRef),
        ("y", Arc::new(Float64Array::from(vec![-0.0, 1e300]))),
    ]);
    assert_eq!(text(whole(&default(), &batch)), "x,y\ninf,-0.0\n-inf,1e+300\n");
}

#[test]
fn a_row_of_one_null_is_not_an_empty_line() {
    let batch = batch(vec![("a", Arc::new(StringArray::from(vec![Some("x"), None, Some("")])) as ArrayRef)]);
    let bytes = whole(&default(), &batch);
    assert_eq!(text(bytes.clone()), "a\nx\n\"\"\n\"\"\n");
    assert_eq!(records(&bytes).len(), 3);
    assert_eq!(text(whole(&with(|f| f.null_text = "NULL".into()), &batch)), "a\nx\nNULL\n\"\"\n");
}

#[test]
fn numbers_and_nulls_are_no_formulas() {
    let batch = batch(vec![
        ("=id", Arc::new(Int64Array::from(vec![Some(-5), None])) as ArrayRef),
        ("t", Arc::new(StringArray::from(vec!["-5", "@SUM(A1)"]))),
    ]);
    let format = with(|f| {
        f.escape_formulas = true;
        f.null_text = "-".into();
    });
    assert_eq!(text(whole(&format, &batch)), "'=id,t\n-5,'-5\n-,'@SUM(A1)\n");
}

#[test]
fn a_delimiter_that_stands_in_numbers_is_quoted_there() {
    let batch = batch(vec![
        ("i", Arc::new(Int64Array::from(vec![10, -1])) as ArrayRef),
        ("x", Arc::new(Float64Array::from(vec![1.5, 2.0]))),
    ]);
    for delimiter in [b'.', b'-', b'+'] {
        let bytes = whole(&with(|f| f.delimiter = delimiter), &batch);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes.as_slice());
        let rows: Vec<Vec<String>> = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
        assert_eq!(rows, [["10", "1.5"], ["-1", "2.0"]]);
    }
}

#[test]
fn json_text_stays_as_it_is() {
    let field = crate::logical::json_field(Field::new("j", DataType::Utf8, true));
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("{\"a\":\n 1}"), Some("not json"), Some("null")]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![values]).unwrap();
    assert_eq!(text(whole(&default(), &batch)), "j\n\"{\"\"a\"\":\n 1}\"\nnot json\nnull\n");
}

#[test]
fn headerless_shards_can_be_concatenated() {
    let batch = batches::flat(5, 7, Range::Common);
    let format = with(|f| f.header = false);
    let once = whole(&format, &batch);
    let twice = super::shard(&format, &batch.schema(), [(&batch, (0..5).collect()), (&batch, (0..5).collect())]);
    assert_eq!([once.as_slice(), once.as_slice()].concat(), twice);
}
