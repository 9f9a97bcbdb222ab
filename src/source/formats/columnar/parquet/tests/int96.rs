//! INT96 values are exact in microseconds or nanoseconds at any depth, or make the row bad.

use arrow::array::Array;
use arrow::datatypes::{TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use parquet::data_type::{Int96, Int96Type};

use super::*;

/// 9999-12-31 in days since 1970.
const SENTINEL: i64 = 2_932_896;

/// 2026-03-01 in days since 1970.
const DAY: i64 = 20_513;

/// A day since 1970 and nanoseconds.
fn value((day, nanosecond): (i64, u64)) -> Int96 {
    let mut value = Int96::new();
    let julian = u32::try_from(day + 2_440_588).expect("Julian day");
    value.set_data(nanosecond as u32, (nanosecond >> 32) as u32, julian);
    value
}

/// Levels and values of one leaf.
type Leaf<'a> = (Option<&'a [i16]>, Option<&'a [i16]>, &'a [(i64, u64)]);

/// One row group of leaves that are all INT96.
fn file(schema: &str, leaves: &[Leaf<'_>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("schema"));
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, schema, Arc::default()).expect("writer");
    let mut group = writer.next_row_group().expect("row group");
    for (definitions, repetitions, values) in leaves {
        let mut column = group.next_column().expect("column").expect("column");
        let values: Vec<_> = values.iter().copied().map(value).collect();
        column.typed::<Int96Type>().write_batch(&values, *definitions, *repetitions).expect("values");
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("closed");
    out
}

fn flat(values: &[(i64, u64)]) -> Sample {
    Sample::of(&file("message m { required int96 t; }", &[(None, None, values)]))
}

fn unit(data_type: &DataType) -> TimeUnit {
    match data_type {
        DataType::Timestamp(unit, None) => *unit,
        other => panic!("{other}"),
    }
}

fn micros(column: &ArrayRef) -> Vec<i64> {
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

const DAY_MICROS: i64 = 86_400_000_000;

#[test]
fn microseconds_are_enough_for_years_beyond_2262() {
    let sample = flat(&[(DAY, 5_000), (SENTINEL, 0), (-719_162, 86_399_999_999_000)]);
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    assert_eq!(unit(found.schema.field(0).data_type()), TimeUnit::Microsecond);
    // A look at the values gives what statistics do not.
    let end = Timestamp::MAX;
    let start = at("0001-01-01T23:59:59.999999Z");
    assert_eq!(found.facts.units[0].times, TimeRange::Within { min: start, max: end });
    assert_eq!(found.facts.units[0].unplaced_rows, Some(0));
    let rows = sample.read(found.schema, vec![0]).expect("read").remove(0).rows;
    let first = -719_162 * DAY_MICROS + DAY_MICROS - 1;
    assert_eq!(micros(rows.column(0)), [DAY * DAY_MICROS + 5, SENTINEL * DAY_MICROS, first]);
}

#[test]
fn nanoseconds_are_kept_where_a_value_needs_them() {
    let sample = flat(&[(DAY, 5), (-1, 1_000)]);
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    assert_eq!(unit(found.schema.field(0).data_type()), TimeUnit::Nanosecond);
    assert_eq!(found.facts.units[0].times, within("1969-12-31T00:00:00.000001Z", "2026-03-01T00:00:00.000001Z"));
    let rows = sample.read(found.schema, vec![0]).expect("read").remove(0).rows;
    let values = rows.column(0).as_primitive::<TimestampNanosecondType>().values().to_vec();
    assert_eq!(values, [DAY * DAY_MICROS * 1_000 + 5, -DAY_MICROS * 1_000 + 1_000]);
}

#[test]
fn a_value_that_is_exact_in_neither_unit_is_a_bad_row() {
    let sample = flat(&[(DAY, 5), (SENTINEL, 0), (DAY, 6), (SENTINEL, 7)]);
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    assert_eq!(unit(found.schema.field(0).data_type()), TimeUnit::Nanosecond);
    assert_eq!(found.facts.units[0].unplaced_rows, Some(2));
    let error = sample.read(found.schema.clone(), vec![0]).expect_err("two bad rows");
    assert_eq!((error.code, error.position), (ErrorCode::BadRows, Some(2)));
    assert_eq!(
        error.to_string(),
        "a.parquet:2: row group 0: column t holds an INT96 time that 64 bits cannot hold in the unit of the column; other \
         values of it need nanoseconds, which end in the years 1677 and 2262; rewrite the file with INT64 timestamps, or \
         leave the column out with `columns`"
    );
    let batch = sample.read_with(found.schema, vec![0], OnBad::Reject).expect("read").remove(0);
    assert_eq!((batch.rows.num_rows(), batch.positions), (2, Positions::Each(vec![1, 3])));
    let rejected: Vec<_> = batch.rejected.iter().map(|reject| reject.position).collect();
    assert_eq!(rejected, [2, 4]);
}

#[test]
fn a_sentinel_in_a_column_that_is_not_read_costs_nothing() {
    let schema = "message m { required int96 t; required int96 until; }";
    let sample =
        Sample::of(&file(schema, &[(None, None, &[(DAY, 1), (DAY, 2)]), (None, None, &[(DAY, 1), (SENTINEL, 1)])]));
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    let wanted = Schema::new(vec![found.schema.field(0).clone()]);
    assert_eq!(sample.read(wanted, vec![0]).expect("read")[0].rows.num_rows(), 2);
    assert_eq!(sample.read(found.schema, vec![0]).expect_err("the second is read").position, Some(2));
}

const NESTED: &str = "message m {
    required int96 t;
    optional group s { optional int96 until; }
    optional group l (LIST) { repeated group list { optional int96 element; } }
    optional group k (MAP) { repeated group key_value { required int96 key; optional int96 value; } }
}";

/// Row 1: all there. Row 2: nothing but `t`. Row 3: a list of two, a map of two.
fn nested(in_list: (i64, u64)) -> Sample {
    let (day, far) = ((DAY, 1_000), (SENTINEL, 0));
    Sample::of(&file(
        NESTED,
        &[
            (None, None, &[day, day, day]),
            (Some(&[2, 0, 1]), None, &[far]),
            (Some(&[3, 0, 3, 3]), Some(&[0, 0, 0, 1]), &[far, day, in_list]),
            (Some(&[2, 0, 2, 2]), Some(&[0, 0, 0, 1]), &[day, day, far]),
            (Some(&[3, 0, 3, 2]), Some(&[0, 0, 0, 1]), &[far, day]),
        ],
    ))
}

#[test]
fn structs_lists_and_maps_do_not_wrap() {
    let sample = nested((SENTINEL, 0));
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    let rows = sample.read(found.schema.clone(), vec![0]).expect("read").remove(0).rows;
    assert_eq!(rows.schema().as_ref(), &found.schema);
    let (day, far) = (DAY * DAY_MICROS + 1, SENTINEL * DAY_MICROS);
    let until = rows.column(1).as_struct().column(0);
    assert_eq!((until.as_primitive::<TimestampMicrosecondType>().value(0), until.null_count()), (far, 2));
    let list = rows.column(2).as_list::<i32>();
    assert_eq!((micros(&list.value(0)), micros(&list.value(2))), (vec![far], vec![day, far]));
    assert!(list.is_null(1));
    let map = rows.column(3).as_map();
    assert_eq!(micros(map.keys()), [day, day, far]);
    assert_eq!(map.values().as_primitive::<TimestampMicrosecondType>().value(0), far);
}

#[test]
fn a_bad_value_in_a_list_is_reported_with_its_row() {
    let sample = nested((DAY, 1));
    let found = inspect(&sample.file, "t", &auto()).expect("inspected");
    // The list needs nanoseconds now, so its sentinel in row 1 has no form.
    let error = sample.read(found.schema.clone(), vec![0]).expect_err("row 1");
    assert_eq!((error.code, error.position), (ErrorCode::BadRows, Some(1)));
    assert!(error.message.contains("column l holds an INT96 time"), "{error}");
    let batch = sample.read_with(found.schema, vec![0], OnBad::Reject).expect("read").remove(0);
    assert_eq!((batch.rows.num_rows(), batch.rejected.len()), (2, 1));
}

#[test]
fn the_plan_decides_the_unit_where_files_differ() {
    let sample = flat(&[(DAY, 1_000)]);
    let read = |data_type| {
        let wanted = Schema::new(vec![Field::new("t", data_type, true)]);
        sample.read(wanted, vec![0]).map(|mut batches| batches.remove(0).rows.column(0).clone())
    };
    let nanos = read(DataType::Timestamp(TimeUnit::Nanosecond, None)).expect("nanoseconds");
    assert_eq!(nanos.as_primitive::<TimestampNanosecondType>().value(0), DAY * DAY_MICROS * 1_000 + 1_000);
    let text = read(DataType::Utf8View).expect("text");
    assert_eq!(text.as_string_view().value(0), "2026-03-01T00:00:00.000001");
}
