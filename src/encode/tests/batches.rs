//! Generates batches of every type with every kind of value, from a seed.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;

use crate::logical::json_field;

/// Which values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// What every reader can hold: years 1–9999, finite floats.
    Common,
    /// Everything that the type can hold.
    All,
}

/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Any integer, the extreme and the small ones often.
    fn integer(&mut self) -> i64 {
        match self.below(6) {
            0 => 0,
            1 => i64::MIN,
            2 => i64::MAX,
            3 => self.below(200) as i64 - 100,
            _ => (self.next() as i64) >> self.below(64),
        }
    }

    /// Seconds since 1970 of a day in the years 1–9999, with times at the edges of days.
    fn seconds(&mut self) -> i64 {
        let day = self.below(3_652_058) as i64 - 719_162;
        day * 86_400 + [0, 86_399, self.below(86_400) as i64][self.below(3) as usize]
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 22] = [
            "a",
            "B",
            " ",
            ",",
            ";",
            "\"",
            "\\",
            "\n",
            "\r",
            "\t",
            "\u{0}",
            "\u{1f}",
            "é",
            "😀",
            "=",
            "-5",
            "NULL",
            "{",
            "]",
            "0123456789",
            "\u{2028}",
            "longer text that fits no inline view",
        ];
        (0..self.below(5)).map(|_| PIECES[self.below(PIECES.len() as u64) as usize]).collect()
    }

    fn json(&mut self) -> String {
        const VALUES: [&str; 8] =
            ["null", "1.0", "{\"a\": 1}", "[1,\n 2]", "\"x\"", "not json", "", "{\"k\":{\"deep\":[\"\\u00e9\",1e-7]}}"];
        VALUES[self.below(VALUES.len() as u64) as usize].to_owned()
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        (self.below(4) > 0).then(|| (0..rows).map(|_| self.below(4) > 0).collect())
    }

    fn options<T>(&mut self, rows: usize, mut value: impl FnMut(&mut Self) -> T) -> Vec<Option<T>> {
        (0..rows).map(|_| (self.below(4) > 0).then(|| value(self))).collect()
    }

    fn lengths(&mut self, rows: usize) -> Vec<usize> {
        (0..rows).map(|_| self.below(4) as usize).collect()
    }
}

fn primitive<T: ArrowPrimitiveType>(
    rows: usize,
    random: &mut Random,
    value: impl FnMut(&mut Random) -> T::Native,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter(random.options(rows, value)))
}

fn timestamps(unit: TimeUnit, zone: Option<&str>, rows: usize, random: &mut Random, range: Range) -> ArrayRef {
    fn of<T: ArrowTimestampType>(
        per_second: i64,
        zone: Option<&str>,
        rows: usize,
        random: &mut Random,
        range: Range,
    ) -> ArrayRef {
        let values = random.options(rows, |random| match range {
            Range::All => random.integer(),
            // Nanoseconds reach from 1677 to 2262 only.
            Range::Common if per_second == 1_000_000_000 => random.next() as i64,
            Range::Common => random.seconds() * per_second + random.below(per_second as u64) as i64,
        });
        Arc::new(PrimitiveArray::<T>::from_iter(values).with_timezone_opt(zone))
    }
    match unit {
        TimeUnit::Second => of::<TimestampSecondType>(1, zone, rows, random, range),
        TimeUnit::Millisecond => of::<TimestampMillisecondType>(1_000, zone, rows, random, range),
        TimeUnit::Microsecond => of::<TimestampMicrosecondType>(1_000_000, zone, rows, random, range),
        TimeUnit::Nanosecond => of::<TimestampNanosecondType>(1_000_000_000, zone, rows, random, range),
    }
}

fn dictionary<K: ArrowDictionaryKeyType>(values: ArrayRef, rows: usize, random: &mut Random) -> ArrayRef {
    let count = values.len() as u64;
    let keys = PrimitiveArray::<K>::from_iter(
        random.options(rows, |random| K::Native::usize_as(random.below(count) as usize)),
    );
    Arc::new(DictionaryArray::new(keys, values))
}

/// A column of a type.
pub(super) fn column(data_type: &DataType, rows: usize, random: &mut Random, range: Range) -> ArrayRef {
    let wild = range == Range::All;
    let time_of_day = |per_second: i64| {
        move |random: &mut Random| {
            if wild { random.integer() } else { random.below(86_400 * per_second as u64) as i64 }
        }
    };
    match data_type {
        DataType::Null => Arc::new(NullArray::new(rows)),
        DataType::Boolean => Arc::new(BooleanArray::from(random.options(rows, |r| r.below(2) == 0))),
        DataType::Int8 => primitive::<Int8Type>(rows, random, |r| r.integer() as i8),
        DataType::Int16 => primitive::<Int16Type>(rows, random, |r| r.integer() as i16),
        DataType::Int32 => primitive::<Int32Type>(rows, random, |r| r.integer() as i32),
        DataType::Int64 => primitive::<Int64Type>(rows, random, Random::integer),
        DataType::UInt8 => primitive::<UInt8Type>(rows, random, |r| r.integer() as u8),
        DataType::UInt16 => primitive::<UInt16Type>(rows, random, |r| r.integer() as u16),
        DataType::UInt32 => primitive::<UInt32Type>(rows, random, |r| r.integer() as u32),
        DataType::UInt64 => primitive::<UInt64Type>(rows, random, |r| r.integer() as u64),
        DataType::Float16 => {
            // By way of a cast, which spares naming the crate of the half type.
            let singles = column(&DataType::Float32, rows, random, range);
            let singles = singles.as_primitive::<Float32Type>();
            let small = if wild { singles.clone() } else { singles.unary(|v: f32| v % 60_000.0) };
            arrow::compute::cast(&small, &DataType::Float16).unwrap()
        }
        DataType::Float32 => primitive::<Float32Type>(rows, random, |r| {
            let value = f32::from_bits(r.next() as u32);
            if wild || value.is_finite() { value } else { 0.1 }
        }),
        DataType::Float64 => primitive::<Float64Type>(rows, random, |r| match r.below(8) {
            0 => -0.0,
            1 => 1e16,
            2 if wild => f64::NAN,
            3 if wild => f64::INFINITY,
            4 if wild => f64::NEG_INFINITY,
            5 => r.below(100_000) as f64 / 1e6,
            _ => {
                let value = f64::from_bits(r.next());
                if value.is_finite() { value } else { 0.1 }
            }
        }),
        DataType::Utf8 => Arc::new(StringArray::from(random.options(rows, Random::text))),
        DataType::LargeUtf8 => Arc::new(LargeStringArray::from(random.options(rows, Random::text))),
        DataType::Utf8View => Arc::new(StringViewArray::from_iter(random.options(rows, Random::text))),
        DataType::Binary => Arc::new(BinaryArray::from_iter(random.options(rows, Random::text))),
        DataType::LargeBinary => Arc::new(LargeBinaryArray::from_iter(random.options(rows, Random::text))),
        DataType::BinaryView => Arc::new(BinaryViewArray::from_iter(random.options(rows, Random::text))),
        DataType::FixedSizeBinary(3) => {
            let values = random.options(rows, |r| r.next().to_le_bytes()[..3].to_vec());
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 3).unwrap())
        }
        DataType::Date32 => primitive::<Date32Type>(rows, random, |r| {
            if wild { r.integer() as i32 } else { (r.seconds().div_euclid(86_400)) as i32 }
        }),
        DataType::Date64 => primitive::<Date64Type>(rows, random, |r| {
            if wild { r.integer() } else { r.seconds().div_euclid(86_400) * 86_400_000 }
        }),
        DataType::Time32(TimeUnit::Second) => primitive::<Time32SecondType>(rows, random, |r| time_of_day(1)(r) as i32),
        DataType::Time32(_) => primitive::<Time32MillisecondType>(rows, random, |r| time_of_day(1_000)(r) as i32),
        DataType::Time64(TimeUnit::Microsecond) => {
            primitive::<Time64MicrosecondType>(rows, random, time_of_day(1_000_000))
        }
        DataType::Time64(_) => primitive::<Time64NanosecondType>(rows, random, time_of_day(1_000_000_000)),
        DataType::Timestamp(unit, zone) => timestamps(*unit, zone.as_deref(), rows, random, range),
        DataType::Duration(TimeUnit::Second) => primitive::<DurationSecondType>(rows, random, Random::integer),
        DataType::Duration(TimeUnit::Millisecond) => {
            primitive::<DurationMillisecondType>(rows, random, Random::integer)
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            primitive::<DurationMicrosecondType>(rows, random, Random::integer)
        }
        DataType::Duration(TimeUnit::Nanosecond) => primitive::<DurationNanosecondType>(rows, random, Random::integer),
        DataType::Interval(IntervalUnit::YearMonth) => {
            primitive::<IntervalYearMonthType>(rows, random, |r| r.integer() as i32)
        }
        DataType::Interval(IntervalUnit::DayTime) => primitive::<IntervalDayTimeType>(rows, random, |r| {
            IntervalDayTime::new(r.integer() as i32, r.integer() as i32)
        }),
        DataType::Interval(IntervalUnit::MonthDayNano) => primitive::<IntervalMonthDayNanoType>(rows, random, |r| {
            IntervalMonthDayNano::new(r.integer() as i32, r.integer() as i32, r.integer())
        }),
        DataType::Decimal32(p, s) => {
            let values = random.options(rows, |r| (r.integer() % 10i64.pow(u32::from(*p))) as i32);
            Arc::new(Decimal32Array::from_iter(values).with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::Decimal64(p, s) => {
            let values = random.options(rows, |r| r.integer() % 10i64.pow(u32::from(*p)));
            Arc::new(Decimal64Array::from_iter(values).with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::Decimal128(p, s) => {
            let values = random
                .options(rows, |r| (i128::from(r.integer()) * i128::from(r.integer())) % 10i128.pow(u32::from(*p)));
            Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::Decimal256(p, s) => {
            let limit = i256::from_i128(10).pow_checked(u32::from(*p)).unwrap();
            let values = random.options(rows, |r| {
                i256::from_parts(u128::from(r.next()) << 64 | u128::from(r.next()), i128::from(r.integer()))
                    .wrapping_rem(limit)
            });
            Arc::new(Decimal256Array::from_iter(values).with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::List(element) => {
            let lengths = random.lengths(rows);
            let values = column(element.data_type(), lengths.iter().sum(), random, range);
            Arc::new(ListArray::new(element.clone(), OffsetBuffer::from_lengths(lengths), values, random.nulls(rows)))
        }
        DataType::LargeList(element) => {
            let lengths = random.lengths(rows);
            let values = column(element.data_type(), lengths.iter().sum(), random, range);
            Arc::new(LargeListArray::new(
                element.clone(),
                OffsetBuffer::from_lengths(lengths),
                values,
                random.nulls(rows),
            ))
        }
        DataType::ListView(element) => {
            // Overlapping views, in no order.
            let values = column(element.data_type(), rows + 4, random, range);
            let offsets: ScalarBuffer<i32> = (0..rows).map(|_| random.below(rows as u64) as i32).collect();
            let sizes: ScalarBuffer<i32> = (0..rows).map(|_| random.below(4) as i32).collect();
            Arc::new(ListViewArray::new(element.clone(), offsets, sizes, values, random.nulls(rows)))
        }
        DataType::LargeListView(element) => {
            let values = column(element.data_type(), rows + 4, random, range);
            let offsets: ScalarBuffer<i64> = (0..rows).map(|_| random.below(rows as u64) as i64).collect();
            let sizes: ScalarBuffer<i64> = (0..rows).map(|_| random.below(4) as i64).collect();
            Arc::new(LargeListViewArray::new(element.clone(), offsets, sizes, values, random.nulls(rows)))
        }
        DataType::FixedSizeList(element, length) => {
            let values = column(element.data_type(), rows * *length as usize, random, range);
            Arc::new(
                FixedSizeListArray::try_new_with_length(element.clone(), *length, values, random.nulls(rows), rows)
                    .unwrap(),
            )
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|f| column(f.data_type(), rows, random, range)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, random.nulls(rows)))
        }
        DataType::Map(entries, sorted) => {
            let lengths = random.lengths(rows);
            let count = lengths.iter().sum();
            let DataType::Struct(fields) = entries.data_type() else { unreachable!() };
            let keys: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|i| format!("k\"{i}"))));
            let values = column(fields[1].data_type(), count, random, range);
            let entry_array = StructArray::new(fields.clone(), vec![keys, values], None);
            Arc::new(MapArray::new(
                entries.clone(),
                OffsetBuffer::from_lengths(lengths),
                entry_array,
                random.nulls(rows),
                *sorted,
            ))
        }
        DataType::Dictionary(key, value) => {
            // Nulls among the values too.
            let values = column(value, 5, random, range);
            match **key {
                DataType::Int8 => dictionary::<Int8Type>(values, rows, random),
                DataType::Int16 => dictionary::<Int16Type>(values, rows, random),
                DataType::Int32 => dictionary::<Int32Type>(values, rows, random),
                DataType::Int64 => dictionary::<Int64Type>(values, rows, random),
                DataType::UInt8 => dictionary::<UInt8Type>(values, rows, random),
                DataType::UInt16 => dictionary::<UInt16Type>(values, rows, random),
                DataType::UInt32 => dictionary::<UInt32Type>(values, rows, random),
                _ => dictionary::<UInt64Type>(values, rows, random),
            }
        }
        other => panic!("no values for {other}"),
    }
}

/// Types with a text of their own.
pub(super) fn flat_types() -> Vec<DataType> {
    use DataType::*;
    let mut types = vec![
        Null,
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        FixedSizeBinary(3),
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time32(TimeUnit::Millisecond),
        Time64(TimeUnit::Microsecond),
        Time64(TimeUnit::Nanosecond),
        Interval(IntervalUnit::YearMonth),
        Interval(IntervalUnit::DayTime),
        Interval(IntervalUnit::MonthDayNano),
        Decimal32(7, 2),
        Decimal64(15, 5),
        Decimal128(38, 10),
        Decimal128(5, 0),
        Decimal128(5, -2),
        Decimal256(76, 20),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.push(Duration(unit));
        for zone in [None, Some("UTC"), Some("Europe/Berlin"), Some("+05:30")] {
            types.push(Timestamp(unit, zone.map(Arc::from)));
        }
    }
    for key in [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64] {
        types.push(Dictionary(Box::new(key), Box::new(Utf8)));
    }
    types.push(Dictionary(Box::new(Int32), Box::new(Timestamp(TimeUnit::Microsecond, Some("UTC".into())))));
    types
}

/// Types that hold others.
pub(super) fn nested_types() -> Vec<DataType> {
    use DataType::*;
    let element = |data_type: DataType| Arc::new(Field::new_list_field(data_type, true));
    let person = Struct(Fields::from(vec![
        Field::new("n\"ame", Utf8View, true),
        Field::new("at", Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("tags", List(element(Utf8)), true),
    ]));
    let entries = |value: DataType| {
        Arc::new(Field::new(
            "entries",
            Struct(Fields::from(vec![Field::new("key", Utf8, false), Field::new("value", value, true)])),
            false,
        ))
    };
    vec![
        List(element(Utf8View)),
        List(element(person.clone())),
        LargeList(element(Int32)),
        FixedSizeList(element(Int16), 2),
        ListView(element(Int64)),
        LargeListView(element(Utf8)),
        person,
        Map(entries(Int64), false),
        Map(entries(List(element(Float64))), false),
    ]
}

/// A batch with a column `c0`, `c1` … of each type, and one of text holding JSON.
fn batch(types: Vec<DataType>, rows: usize, seed: u64, range: Range) -> RecordBatch {
    let mut random = Random(seed);
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (i, data_type) in types.into_iter().enumerate() {
        columns.push(column(&data_type, rows, &mut random, range));
        fields.push(Field::new(format!("c{i}"), data_type, true));
    }
    columns.push(Arc::new(StringViewArray::from_iter(random.options(rows, Random::json))) as ArrayRef);
    fields.push(json_field(Field::new("json", DataType::Utf8View, true)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// A batch with a column of every type.
pub(crate) fn every_type(rows: usize, seed: u64, range: Range) -> RecordBatch {
    batch([flat_types(), nested_types()].concat(), rows, seed, range)
}

/// A batch of values that CSV readers can distinguish.
pub(super) fn flat(rows: usize, seed: u64, range: Range) -> RecordBatch {
    batch(flat_types(), rows, seed, range)
}

/// A batch of every type that Parquet has.
pub(crate) fn parquet_storable(rows: usize, seed: u64) -> RecordBatch {
    let types = [flat_types(), nested_types()].concat();
    let storable =
        |t: &DataType| !matches!(t, DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Decimal128(_, ..0));
    batch(types.into_iter().filter(storable).collect(), rows, seed, Range::Common)
}
