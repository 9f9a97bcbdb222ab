//! NDJSON and JSON shards, read with serde_json and arrow-json.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray, MapArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use serde_json::Value;

use super::batches::{self, Range};
use super::{text, whole};
use crate::job::{Absent, Format};
use crate::logical::{is_json, json_field};

fn lines(bytes: Vec<u8>) -> Vec<Value> {
    text(bytes).split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A value whose objects have no nulls.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            object.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// The names of the JSON mapping of Protocol Buffers.
fn protobufs_name(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn arrow_json_reads_the_same_values(rows in 1usize..12, seed in any::<u64>()) {
        let all = batches::every_type(rows, seed, Range::Common);
        let columns: Vec<usize> = (0..all.num_columns())
            .filter(|&i| {
                let schema = all.schema();
                let field = schema.field(i);
                match field.data_type() {
                    // arrow-json reads no intervals, no ISO 8601 durations, and halves only by way of rounding twice.
                    DataType::Interval(_) | DataType::Duration(_) | DataType::Float16 => false,
                    // It writes dictionaries, but does not read them.
                    DataType::Dictionary(_, _) => false,
                    // It has no text that holds JSON.
                    _ => !is_json(field),
                }
            })
            .collect();
        let batch = all.project(&columns).unwrap();
        let bytes = whole(&Format::NDJSON, &batch);
        let mut reader = arrow::json::ReaderBuilder::new(batch.schema()).build(bytes.as_slice()).unwrap();
        let read = reader.next().unwrap().unwrap();
        for (ours, theirs) in batch.columns().iter().zip(read.columns()) {
            // List views may share and reorder elements; compare what they show.
            let plain = |array: &ArrayRef| match array.data_type() {
                DataType::ListView(f) => arrow::compute::cast(array, &DataType::List(f.clone())).unwrap(),
                DataType::LargeListView(f) => arrow::compute::cast(array, &DataType::LargeList(f.clone())).unwrap(),
                _ => array.clone(),
            };
            prop_assert_eq!(&plain(ours), &plain(theirs));
        }
    }

    #[test]
    fn a_line_is_a_row_with_all_keys_in_order_and_nulls_as_null(rows in 0usize..12, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        let bytes = whole(&Format::NDJSON, &batch);
        let lines = lines(bytes);
        prop_assert_eq!(lines.len(), rows);
        for (row, line) in lines.iter().enumerate() {
            let object = line.as_object().unwrap();
            prop_assert_eq!(object.len(), batch.num_columns());
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                let value = object.get(field.name()).unwrap();
                if column.is_null(row) {
                    prop_assert!(value.is_null());
                } else if !is_json(field) && column.logical_null_count() == 0 {
                    prop_assert!(!value.is_null());
                }
            }
        }
    }

    #[test]
    fn the_array_holds_the_lines(rows in 0usize..12, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        let array: Vec<Value> = serde_json::from_slice(&whole(&Format::Json, &batch)).unwrap();
        prop_assert_eq!(array, lines(whole(&Format::NDJSON, &batch)));
    }

    #[test]
    fn without_absent_keys_the_lines_are_those_without_nulls(rows in 0usize..12, seed in any::<u64>()) {
        let batch = batches::every_type(rows, seed, Range::All);
        let whole_lines = lines(whole(&Format::NDJSON, &batch));
        let omitted = lines(whole(&Format::Ndjson(Absent::Omit), &batch));
        prop_assert_eq!(omitted.len(), rows);
        for (omitted, whole) in omitted.iter().zip(&whole_lines) {
            // In maps and JSON text, a null is a value, so what is left of them is compared without nulls, too.
            prop_assert_eq!(without_nulls(omitted.clone()), without_nulls(whole.clone()));
            prop_assert!(omitted.as_object().unwrap().len() <= whole.as_object().unwrap().len());
        }
    }

    #[test]
    fn serde_json_reads_floats_back_to_the_bit(bits in any::<u64>(), small in any::<u32>()) {
        let (double, single) = (f64::from_bits(bits), f32::from_bits(small));
        let batch = RecordBatch::try_from_iter([
            ("d", Arc::new(Float64Array::from(vec![double])) as ArrayRef),
            ("s", Arc::new(arrow::array::Float32Array::from(vec![single])) as ArrayRef),
        ]).unwrap();
        let line = text(whole(&Format::NDJSON, &batch));
        #[derive(serde::Deserialize)]
        struct Row<'a> { #[serde(borrow)] d: &'a serde_json::value::RawValue, #[serde(borrow)] s: &'a serde_json::value::RawValue }
        let row: Row<'_> = serde_json::from_str(&line).unwrap();
        if double.is_finite() {
            prop_assert_eq!(row.d.get().parse::<f64>().unwrap().to_bits(), bits);
        } else {
            prop_assert_eq!(row.d.get(), format!("\"{}\"", protobufs_name(double)));
        }
        if single.is_finite() {
            prop_assert_eq!(row.s.get().parse::<f32>().unwrap().to_bits(), small);
        } else {
            prop_assert_eq!(row.s.get(), format!("\"{}\"", protobufs_name(single.into())));
        }
    }
}

#[test]
fn absent_keys_are_left_out_of_nested_objects_too() {
    let inner = StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![None, Some(1), None])) as ArrayRef,
        ),
        (Arc::new(Field::new("y", DataType::Utf8, true)), Arc::new(StringArray::from(vec![Some("b"), None, None]))),
    ]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![None, Some(2), None])) as ArrayRef, true),
        ("o", Arc::new(inner), true),
        ("t", Arc::new(StringArray::from(vec![Some(""), None, None])), true),
    ])
    .unwrap();
    assert_eq!(
        text(whole(&Format::Ndjson(Absent::Omit), &batch)),
        "{\"o\":{\"y\":\"b\"},\"t\":\"\"}\n{\"id\":2,\"o\":{\"x\":1}}\n{\"o\":{}}\n"
    );
    let nothing = batch.slice(2, 1).project(&[0, 2]).unwrap();
    assert_eq!(text(whole(&Format::Ndjson(Absent::Omit), &nothing)), "{}\n");
}

#[test]
fn lines_look_like_this() {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![Some(i64::MAX), None])) as ArrayRef, true),
        ("say \"x\"", Arc::new(StringArray::from(vec![Some("a\nb"), Some("é")])), true),
    ])
    .unwrap();
    assert_eq!(
        text(whole(&Format::NDJSON, &batch)),
        "{\"id\":9223372036854775807,\"say \\\"x\\\"\":\"a\\nb\"}\n{\"id\":null,\"say \\\"x\\\"\":\"é\"}\n"
    );
    assert_eq!(
        text(whole(&Format::Json, &batch)),
        "[\n{\"id\":9223372036854775807,\"say \\\"x\\\"\":\"a\\nb\"},\n{\"id\":null,\"say \\\"x\\\"\":\"é\"}\n]\n"
    );
}

#[test]
fn text_holding_json_is_nested_also_inside_lists_and_structs() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("{\"a\": 1}"), Some("oops"), None]));
    let inner = json_field(Field::new("j", DataType::Utf8, true));
    let outer = StructArray::new(Fields::from(vec![inner.clone()]), vec![values.clone()], None);
    let fields = vec![inner, Field::new("s", outer.data_type().clone(), true)];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![values, Arc::new(outer)]).unwrap();
    assert_eq!(
        text(whole(&Format::NDJSON, &batch)),
        "{\"j\":{\"a\": 1},\"s\":{\"j\":{\"a\": 1}}}\n{\"j\":\"oops\",\"s\":{\"j\":\"oops\"}}\n{\"j\":null,\"s\":{\"j\":null}}\n"
    );
}

#[test]
fn keys_of_maps_become_strings() {
    let entries = StructArray::from(vec![
        (Arc::new(Field::new("key", DataType::Int64, false)), Arc::new(Int64Array::from(vec![1, -2])) as ArrayRef),
        (
            Arc::new(Field::new("value", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef,
        ),
    ]);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, OffsetBuffer::from_lengths([2, 0]), entries, None, false);
    let batch = RecordBatch::try_from_iter([("m", Arc::new(map) as ArrayRef)]).unwrap();
    assert_eq!(text(whole(&Format::NDJSON, &batch)), "{\"m\":{\"1\":\"a\",\"-2\":null}}\n{\"m\":{}}\n");
}

#[test]
fn floats_that_are_no_numbers_keep_their_names_in_every_width_and_place() {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5];
    let doubles: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let cast = |to| arrow::compute::cast(&doubles, &to).unwrap();
    let list = |array: &ArrayRef| {
        let field = Arc::new(Field::new_list_field(array.data_type().clone(), true));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1; 4]), array.clone(), None)) as ArrayRef
    };
    let entries = StructArray::from(vec![
        (Arc::new(Field::new("key", DataType::Float64, false)), doubles.clone()),
        (Arc::new(Field::new("value", DataType::Float32, true)), cast(DataType::Float32)),
    ]);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, OffsetBuffer::from_lengths([1; 4]), entries, None, false);
    let batch = RecordBatch::try_from_iter([
        ("d", doubles.clone()),
        ("s", cast(DataType::Float32)),
        ("h", cast(DataType::Float16)),
        ("l", list(&cast(DataType::Float16))),
        ("m", Arc::new(map) as ArrayRef),
    ])
    .unwrap();
    let line = |name: &str| {
        format!(
            "{{\"d\":\"{name}\",\"s\":\"{name}\",\"h\":\"{name}\",\"l\":[\"{name}\"],\"m\":{{\"{name}\":\"{name}\"}}}}\n"
        )
    };
    let numbers = "{\"d\":0.5,\"s\":0.5,\"h\":0.5,\"l\":[0.5],\"m\":{\"0.5\":0.5}}\n";
    let lines = [line("NaN"), line("Infinity"), line("-Infinity"), numbers.to_owned()].concat();
    assert_eq!(text(whole(&Format::NDJSON, &batch)), lines);
}

#[test]
fn ndjson_shards_can_be_concatenated() {
    let batch = batches::every_type(5, 7, Range::Common);
    let once = whole(&Format::NDJSON, &batch);
    let twice =
        super::shard(&Format::NDJSON, &batch.schema(), [(&batch, (0..5).collect()), (&batch, (0..5).collect())]);
    assert_eq!([once.as_slice(), once.as_slice()].concat(), twice);
}
