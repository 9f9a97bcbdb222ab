//! Instants of columns, against jiff.

use super::*;
use crate::time::zone;
use arrow::array::*;
use proptest::prelude::*;
use std::sync::Arc;

fn parser(format: TimeFormat, name: &str) -> TimeParser {
    TimeParser::new(format, zone::find(name).unwrap())
}

fn field(column: &ArrayRef) -> Field {
    Field::new("t", column.data_type().clone(), true)
}

fn ns(array: impl Array + 'static, parser: &TimeParser) -> Instants {
    let column: ArrayRef = Arc::new(array);
    instants(&field(&column), &column, parser, TimeUnit::Nanosecond).unwrap()
}

fn shown(instants: &Instants) -> Vec<Option<String>> {
    instants.values.iter().map(|v| v.map(|v| Timestamp::from_nanosecond(i128::from(v)).unwrap().to_string())).collect()
}

#[test]
fn text_of_every_array_type_gives_the_same_instants() {
    let rows = vec![Some("2026-03-01T12:00:00.5Z"), None, Some("never"), Some("2026-10-25T02:30:00")];
    let parser = parser(TimeFormat::Auto, "Europe/Berlin");
    let dictionary: DictionaryArray<Int8Type> = rows.iter().copied().collect();
    for array in [
        Arc::new(StringArray::from(rows.clone())) as ArrayRef,
        Arc::new(LargeStringArray::from(rows.clone())),
        Arc::new(StringViewArray::from(rows.clone())),
        Arc::new(dictionary),
    ] {
        let got = instants(&field(&array), &array, &parser, TimeUnit::Nanosecond).unwrap();
        let want = [Some("2026-03-01T12:00:00.5Z"), None, None, Some("2026-10-25T00:30:00Z")];
        assert_eq!(shown(&got), want.map(|t| t.map(str::to_owned)));
        assert_eq!(got.ambiguous, 1);
        assert_eq!(got.bad.iter().map(|(row, bad)| (*row, bad.value.as_str())).collect::<Vec<_>>(), [(2, "never")]);
    }
}

#[test]
fn text_that_holds_json_gives_the_times_inside() {
    let field = crate::logical::json_field(Field::new("t", DataType::Utf8View, true));
    let rows = vec![
        Some(r#""2026-03-01T12:00:00Z""#),
        Some(r#""2026-03-01T12:00:00\u005a""#),
        Some(r#" "2026-03-01T12:00:00Z" "#),
        None,
        Some("null"),
        Some("2026-03-01T12:00:00Z"),
        Some(r#""2026-03-01T12:00:00Z"#),
        Some(r#"["2026-03-01T12:00:00Z"]"#),
        Some("1772366400"),
    ];
    let noon = || Some("2026-03-01T12:00:00Z".to_owned());
    for array in [
        Arc::new(StringArray::from(rows.clone())) as ArrayRef,
        Arc::new(LargeStringArray::from(rows.clone())),
        Arc::new(StringViewArray::from(rows.clone())),
    ] {
        let field = field.clone().with_data_type(array.data_type().clone());
        let got = instants(&field, &array, &parser(TimeFormat::Auto, "UTC"), TimeUnit::Nanosecond).unwrap();
        assert_eq!(shown(&got), [noon(), noon(), noon(), None, None, noon(), None, None, None]);
        assert_eq!(got.bad.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [6, 7, 8]);
    }
    let rows = vec![
        Some("1772366400"),
        Some(r#""1772366400""#),
        Some("1772366400.0"),
        Some("1772366400.0000000001"),
        Some("true"),
    ];
    let array: ArrayRef = Arc::new(StringViewArray::from(rows));
    let got = instants(&field, &array, &parser(TimeFormat::EpochS, "UTC"), TimeUnit::Nanosecond).unwrap();
    assert_eq!(shown(&got), [noon(), noon(), noon(), None, None]);
    let array: ArrayRef = Arc::new(StringViewArray::from(vec!["20260301", r#""20260301""#]));
    let days = parser(TimeFormat::Pattern("%Y%m%d".to_owned()), "UTC");
    let got = instants(&field, &array, &days, TimeUnit::Nanosecond).unwrap();
    assert!(got.bad.is_empty(), "{:?}", got.bad);
    // Text that is not marked as JSON is read literally.
    let plain = Field::new("t", DataType::Utf8View, true);
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![r#""2026-03-01T12:00:00Z""#]));
    assert_eq!(instants(&plain, &array, &days, TimeUnit::Nanosecond).unwrap().bad.len(), 1);
}

#[test]
fn timestamps_with_a_zone_are_utc_and_those_without_are_local() {
    let berlin = parser(TimeFormat::Auto, "Europe/Berlin");
    // 2026-10-25T02:30:00 read as UTC.
    let array = TimestampMillisecondArray::from(vec![Some(1_792_895_400_000), None]);
    let local = ns(array.clone(), &berlin);
    assert_eq!(shown(&local), [Some("2026-10-25T00:30:00Z".to_owned()), None]);
    assert_eq!(local.ambiguous, 1);
    let zoned = ns(array.with_timezone("America/New_York"), &berlin);
    assert_eq!(shown(&zoned), [Some("2026-10-25T02:30:00Z".to_owned()), None]);
    assert_eq!(zoned.ambiguous, 0);
    let dates = ns(Date32Array::from(vec![Some(20_513), None]), &berlin);
    assert_eq!(shown(&dates), [Some("2026-02-28T23:00:00Z".to_owned()), None]);
    let dates = ns(Date64Array::from(vec![20_513 * 86_400_000]), &berlin);
    assert_eq!(shown(&dates), [Some("2026-02-28T23:00:00Z".to_owned())]);
}

#[test]
fn a_date_alone_is_a_day_of_the_window_and_a_time_is_one_of_the_source() {
    let zone = |name| zone::find(name).unwrap();
    let auto = TimeParser::new(TimeFormat::Auto, zone("UTC")).with_date_zone(zone("America/New_York"));
    let days = TimeParser { format: TimeFormat::Pattern("%d.%m.%Y".to_owned()), ..auto.clone() };
    let digits = TimeParser { format: TimeFormat::Pattern("%Y%m%d".to_owned()), ..auto.clone() };
    let midnight = [Some("2026-03-02T05:00:00Z".to_owned())];
    assert_eq!(shown(&ns(StringArray::from(vec!["2026-03-02"]), &auto)), midnight);
    assert_eq!(shown(&ns(StringArray::from(vec!["02.03.2026"]), &days)), midnight);
    assert_eq!(shown(&ns(Int64Array::from(vec![20_260_302]), &digits)), midnight);
    assert_eq!(shown(&ns(Date32Array::from(vec![20_514]), &auto)), midnight);
    assert_eq!(shown(&ns(Date64Array::from(vec![20_514 * 86_400_000]), &auto)), midnight);
    let (from, to) = typed_range(&DataType::Date32, 20_514, 20_514, &auto).unwrap();
    assert_eq!([Some(from.to_string()), Some(to.to_string())], [midnight[0].clone(), midnight[0].clone()]);
    let time = ns(StringArray::from(vec!["2026-03-02T00:00:00"]), &auto);
    assert_eq!(shown(&time), [Some("2026-03-02T00:00:00Z".to_owned())]);
    let time = ns(TimestampSecondArray::from(vec![1_772_409_600]), &auto);
    assert_eq!(shown(&time), [Some("2026-03-02T00:00:00Z".to_owned())]);
}

#[test]
fn what_no_window_can_reach_saturates() {
    let utc = parser(TimeFormat::Auto, "UTC");
    for zone in [None, Some("UTC")] {
        let array = TimestampSecondArray::from(vec![i64::MIN, 253_402_300_799, i64::MAX]).with_timezone_opt(zone);
        assert_eq!(ns(array, &utc).values.values().to_vec(), [i64::MIN, i64::MAX, i64::MAX]);
    }
    let berlin = parser(TimeFormat::Auto, "Europe/Berlin");
    let array = TimestampSecondArray::from(vec![i64::MIN, 253_402_300_799, i64::MAX]);
    assert_eq!(ns(array, &berlin).values.values().to_vec(), [i64::MIN, i64::MAX, i64::MAX]);
    let text = ns(StringArray::from(vec!["1600-01-01T00:00:00Z", "2500-01-01T00:00:00Z"]), &utc);
    assert_eq!(text.values.values().to_vec(), [i64::MIN, i64::MAX]);
}

#[test]
fn microseconds_are_rounded_down_on_both_sides_of_1970() {
    let utc = parser(TimeFormat::Auto, "UTC");
    let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]).with_timezone("UTC"));
    assert_eq!(
        instants(&field(&column), &column, &utc, TimeUnit::Microsecond).unwrap().values.values().to_vec(),
        [1, -1]
    );
    let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]));
    assert_eq!(
        instants(&field(&column), &column, &utc, TimeUnit::Microsecond).unwrap().values.values().to_vec(),
        [1, -1]
    );
    let column: ArrayRef = Arc::new(StringArray::from(vec!["1969-12-31T23:59:59.999999999Z"]));
    assert_eq!(instants(&field(&column), &column, &utc, TimeUnit::Microsecond).unwrap().values.values().to_vec(), [-1]);
    assert_eq!(bound("1969-12-31T23:59:59.999999Z".parse().unwrap(), TimeUnit::Microsecond), -1);
}

#[test]
fn integers_need_a_unit_and_are_checked() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let error = instants(&field(&column), &column, &parser(TimeFormat::Auto, "UTC"), TimeUnit::Nanosecond).unwrap_err();
    assert!(error.to_string().contains("epoch_ms"), "{error}");
    let ms = parser(TimeFormat::EpochMs, "UTC");
    let got = ns(UInt64Array::from(vec![Some(1_772_366_400_000), None, Some(u64::MAX), Some(1 << 62)]), &ms);
    assert_eq!(shown(&got), [Some("2026-03-01T12:00:00Z".to_owned()), None, None, None]);
    assert_eq!(got.bad.iter().map(|b| b.0).collect::<Vec<_>>(), [2, 3]);
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let auto = parser(TimeFormat::Auto, "UTC");
    let error = instants(&field(&column), &column, &auto, TimeUnit::Nanosecond).unwrap_err().to_string();
    assert!(error.contains("Float64") && error.contains("epoch_s"), "{error}");
    let column: ArrayRef = Arc::new(NullArray::new(2));
    assert_eq!(instants(&field(&column), &column, &ms, TimeUnit::Nanosecond).unwrap().values.null_count(), 2);
}

#[test]
fn fractions_of_an_epoch_are_exact_to_the_nanosecond_in_every_type() {
    let seconds = parser(TimeFormat::EpochS, "UTC");
    let want = || [Some("2026-03-01T12:00:00.123Z".to_owned()), None, Some("2026-03-01T12:00:00.45Z".to_owned())];
    let decimal = Decimal128Array::from(vec![Some(1_772_366_400_123), None, Some(1_772_366_400_450)]);
    let texts = vec![Some("1772366400.123"), None, Some("1772366400.450")];
    for array in [
        Arc::new(Float64Array::from(vec![Some(1_772_366_400.123), None, Some(1_772_366_400.45)])) as ArrayRef,
        Arc::new(decimal.with_precision_and_scale(18, 3).unwrap()),
        Arc::new(StringViewArray::from(texts)),
    ] {
        let got = instants(&field(&array), &array, &seconds, TimeUnit::Nanosecond).unwrap();
        assert_eq!(shown(&got), want(), "{}", array.data_type());
    }
    for (format, text, nanosecond) in [
        (TimeFormat::EpochS, "1.772366400123456789E9", 1_772_366_400_123_456_789),
        (TimeFormat::EpochMs, "1772366400123.456789", 1_772_366_400_123_456_789),
        (TimeFormat::EpochUs, "1772366400123456.789", 1_772_366_400_123_456_789),
        (TimeFormat::EpochNs, "1772366400123456789.0", 1_772_366_400_123_456_789),
        (TimeFormat::EpochS, "-0.5", -500_000_000),
    ] {
        assert_eq!(ns(StringArray::from(vec![text]), &parser(format, "UTC")).values.value(0), nanosecond, "{text}");
    }
    for (format, text, why) in [
        (TimeFormat::EpochS, "1772366400.1234567891", "digits below the nanosecond"),
        (TimeFormat::EpochNs, "1.5", "digits below the nanosecond"),
        (TimeFormat::EpochS, "1e30", "outside the years"),
        (TimeFormat::EpochS, "NaN", "expected a number of seconds"),
    ] {
        let got = ns(StringArray::from(vec![text]), &parser(format, "UTC"));
        assert!(got.bad[0].1.why.contains(why), "{text}: {:?}", got.bad);
    }
}

#[test]
fn a_window_is_routed_by_nanoseconds_where_it_fits() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(routing_unit(at("2026-04-01T00:00:00Z"), at("2026-03-01T00:00:00Z")), TimeUnit::Nanosecond);
    assert_eq!(routing_unit(at("2263-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z")), TimeUnit::Microsecond);
    assert_eq!(routing_unit(at("2026-03-01T00:00:00Z"), at("1600-01-01T00:00:00Z")), TimeUnit::Microsecond);
}

#[test]
fn statistics_give_ranges_that_hold_every_value() {
    let berlin = parser(TimeFormat::EpochMs, "Europe/Berlin");
    let range = |data_type: DataType, min, max| {
        typed_range(&data_type, min, max, &berlin).map(|(a, b)| (a.to_string(), b.to_string()))
    };
    let (from, to) = (1_772_366_400, 1_772_370_000);
    let utc = Some(("2026-03-01T12:00:00Z".to_owned(), "2026-03-01T13:00:00Z".to_owned()));
    let local = Some(("2026-03-01T11:00:00Z".to_owned(), "2026-03-01T12:00:00Z".to_owned()));
    assert_eq!(range(DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), from, to), utc);
    assert_eq!(range(DataType::Timestamp(TimeUnit::Second, None), from, to), local);
    assert_eq!(range(DataType::Int64, from * 1000, to * 1000), utc);
    assert_eq!(range(DataType::Date32, 20_513, 20_513).unwrap().0, "2026-02-28T23:00:00Z");
    assert_eq!(range(DataType::Int64, 2, 1), None);
    assert_eq!(range(DataType::Utf8, 1, 2), None);
    assert_eq!(range(DataType::Date32, i64::MIN, i64::MAX).unwrap().0, Timestamp::MIN.to_string());
}

proptest! {
    #[test]
    fn a_column_agrees_with_the_parser_row_by_row(
        rows in prop::collection::vec(prop::option::of("(20[0-9]{2}-(03|10)-(2[0-9]|30)[T ]0[0-3]:[0-5][0-9]:00(\\.[0-9]{1,9})?(Z|\\+01:00)?|x)"), 0..80)
    ) {
        let parser = parser(TimeFormat::Auto, "Europe/Berlin");
        let got = ns(StringViewArray::from(rows.clone()), &parser);
        let mut ambiguous = 0;
        for (row, text) in rows.iter().enumerate() {
            let want = text.as_deref().and_then(|text| parser.text(text).ok());
            ambiguous += u64::from(want.is_some_and(|w| w.ambiguous));
            prop_assert_eq!(got.values.is_valid(row).then(|| got.values.value(row)), want.map(|w| bound(w.at, TimeUnit::Nanosecond)));
        }
        prop_assert_eq!(got.ambiguous, ambiguous);
        prop_assert_eq!(got.bad.len(), rows.iter().filter(|r| r.as_deref() == Some("x")).count());
    }

    #[test]
    fn a_range_of_local_times_holds_all_of_them(
        base in prop::sample::select(vec![
            ("Europe/Berlin", 1_774_749_600_i64), ("Europe/Berlin", 1_792_895_400), ("America/St_Johns", 1_162_087_200),
            ("Pacific/Apia", 1_325_203_200), ("Australia/Lord_Howe", 1_775_354_400), ("America/Juneau", -3_225_222_000),
        ]),
        spread in prop::collection::vec(-300_000_i64..300_000, 1..20),
    ) {
        let parser = parser(TimeFormat::Auto, base.0);
        let readings: Vec<i64> = spread.iter().map(|s| base.1 + s).collect();
        let (min, max) = (*readings.iter().min().unwrap(), *readings.iter().max().unwrap());
        let (from, to) = typed_range(&DataType::Timestamp(TimeUnit::Second, None), min, max, &parser).unwrap();
        for value in ns(TimestampSecondArray::from(readings), &parser).values.values() {
            let at = Timestamp::from_nanosecond(i128::from(*value)).unwrap();
            prop_assert!(from <= at && at <= to, "{} {} {}", from, at, to);
        }
    }
}
