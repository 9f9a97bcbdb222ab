//! The columns that Parquet's logical types become.

use arrow::array::Array;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType};

use super::*;
use crate::logical::uuid;

/// One row of these columns, each with the same bytes as often as its type is long.
fn file(columns: &[&str], value: &[u8]) -> Sample {
    let schema = format!("message m {{ {} }}", columns.join(" "));
    let schema = Arc::new(parse_message_type(&schema).expect("schema"));
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, schema, Arc::default()).expect("writer");
    let mut group = writer.next_row_group().expect("row group");
    while let Some(mut column) = group.next_column().expect("column") {
        match column.untyped() {
            parquet::column::writer::ColumnWriter::ByteArrayColumnWriter(_) => {
                let value = ByteArray::from(value.to_vec());
                column.typed::<ByteArrayType>().write_batch(&[value], None, None).expect("value");
            }
            _ => {
                let value = FixedLenByteArray::from(ByteArray::from(value.to_vec()));
                column.typed::<FixedLenByteArrayType>().write_batch(&[value], None, None).expect("value");
            }
        }
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("closed");
    Sample::of(&out)
}

fn column(sample: &Sample) -> (Field, ArrayRef) {
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    assert_eq!(found.undecodable, []);
    let rows = sample.read(found.schema.clone(), vec![0]).expect("read").remove(0).rows;
    assert_eq!(rows.schema().as_ref(), &found.schema);
    (found.schema.field(0).clone(), rows.column(0).clone())
}

#[test]
fn json_and_enum_are_text_and_bson_is_binary() {
    let (json, values) = column(&file(&["required binary c (JSON);"], b"{}"));
    assert!(is_json(&json) && values.as_string_view().value(0) == "{}");
    let (word, values) = column(&file(&["required binary c (ENUM);"], b"blocked"));
    assert_eq!((word.data_type(), values.as_string_view().value(0)), (&DataType::Utf8View, "blocked"));
    let (bson, values) = column(&file(&["required binary c (BSON);"], b"\x05\0\0\0\0"));
    assert_eq!((bson.data_type(), values.len()), (&DataType::Binary, 1));
}

#[test]
fn json_inside_a_struct_is_json_as_well() {
    let sample = file(&["required group s { required binary c (JSON); }"], b"[1]");
    let (field, values) = column(&sample);
    let DataType::Struct(fields) = field.data_type() else { panic!("{field}") };
    assert!(is_json(&fields[0]));
    assert_eq!(values.as_struct().column(0).as_string_view().value(0), "[1]");
}

#[test]
fn uuids_are_marked_text_and_other_fixed_binary_is_not() {
    let bytes: Vec<u8> = (0..16).collect();
    let (field, values) = column(&file(&["required fixed_len_byte_array(16) c (UUID);"], &bytes));
    assert!(uuid::is_uuid(&field));
    assert_eq!(values.as_string_view().value(0), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    let (field, _) = column(&file(&["required fixed_len_byte_array(16) c;"], &bytes));
    assert_eq!(field.data_type(), &DataType::FixedSizeBinary(16));
}

#[test]
fn halves_and_decimals_of_any_width_are_numbers() {
    let (half, values) = column(&file(&["required fixed_len_byte_array(2) c (FLOAT16);"], &[0, 0x3e]));
    assert_eq!(half.data_type(), &DataType::Float16);
    assert_eq!(values.as_primitive::<arrow::datatypes::Float16Type>().value(0).to_f32(), 1.5);
    let (decimal, _) = column(&file(&["required fixed_len_byte_array(5) c (DECIMAL(11,2));"], &[0, 0, 0, 1, 0]));
    assert_eq!(decimal.data_type(), &DataType::Decimal128(11, 2));
    let (wide, _) = column(&file(&["required fixed_len_byte_array(20) c (DECIMAL(45,2));"], &[0; 20]));
    assert_eq!(wide.data_type(), &DataType::Decimal256(45, 2));
}

#[test]
fn an_interval_whose_months_would_be_lost_is_reported_by_the_footer() {
    let sample = file(&["required fixed_len_byte_array(12) c (INTERVAL);"], &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    let found = inspect(&sample.file, "t", &auto()).expect("inspected").undecodable;
    let why = "column c is an INTERVAL, of which months would be lost; rewrite it as text or numbers, or leave the column \
               out with `columns`";
    assert_eq!(found, [Undecodable { column: "c".to_owned(), units: vec![0], why: why.to_owned() }]);
    let of_arrow =
        one("c", arrow::array::IntervalDayTimeArray::from(vec![arrow::array::types::IntervalDayTime::new(2, 3)]));
    let found = inspect(&Sample::of(&written(&of_arrow, groups_of(9))).file, "t", &auto()).expect("inspected");
    assert_eq!(found.undecodable, []);
}
