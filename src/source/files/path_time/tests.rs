//! Periods in names of files and folders.

use super::*;
use crate::diagnostic::Located;
use jiff::SignedDuration;
use jiff::civil::date;
use proptest::prelude::*;

fn covers(name: &str, pattern: &str, covers: PartitionBy, zone: &str) -> Option<(String, String)> {
    let path_time = path_time(pattern, covers);
    let zone = TimeZone::get(zone).expect("bundled zone");
    path_coverage(name, &path_time, &zone).map(|(a, b)| (a.to_string(), b.to_string()))
}

fn path_time(pattern: &str, covers: PartitionBy) -> PathTime {
    let pattern = Located::default_value(pattern.to_owned());
    PathTime { pattern, covers, early: SignedDuration::ZERO, late: SignedDuration::ZERO, expect: None }
}

fn pair(a: &str, b: &str) -> Option<(String, String)> {
    Some((a.to_owned(), b.to_owned()))
}

#[test]
fn a_day_in_a_name_is_the_day_of_the_zone() {
    assert_eq!(
        covers("eu/app-2026-03-05.ndjson", "%Y-%m-%d.ndjson", PartitionBy::Day, "UTC"),
        pair("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z")
    );
    assert_eq!(
        covers("2026-03-29.csv.gz", "%Y-%m-%d.csv.gz", PartitionBy::Day, "Europe/Berlin"),
        pair("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
    );
}

#[test]
fn early_and_late_widen_what_a_file_may_hold() {
    let margins = |early, late| {
        let path_time = PathTime { early, late, ..path_time("%Y-%m-%d.csv", PartitionBy::Day) };
        path_coverage("2026-03-05.csv", &path_time, &TimeZone::UTC).map(|(a, b)| (a.to_string(), b.to_string()))
    };
    let (minutes, hours) = (SignedDuration::from_mins(5), SignedDuration::from_hours(2));
    assert_eq!(margins(minutes, hours), pair("2026-03-04T23:55:00Z", "2026-03-06T02:00:00Z"));
    let forever = SignedDuration::from_hours(i64::MAX / 3600);
    assert_eq!(margins(forever, forever), pair(&Timestamp::MIN.to_string(), &Timestamp::MAX.to_string()));
}

#[test]
fn the_units_of_a_window_are_those_that_names_tell() {
    let berlin = TimeZone::get("Europe/Berlin").expect("bundled zone");
    let window = |a: &str, b: &str| (a.parse().expect("a time"), b.parse().expect("a time"));
    // The clock goes forward on the 29th and back on 25 October.
    for (window, unit, pattern, names) in [
        (
            window("2026-03-28T12:00:00Z", "2026-03-30T00:00:00Z"),
            PartitionBy::Day,
            "%Y-%m-%d",
            ["2026-03-28", "2026-03-29", "2026-03-30"].as_slice(),
        ),
        (
            window("2026-10-24T23:30:00Z", "2026-10-25T02:00:00Z"),
            PartitionBy::Hour,
            "%Y-%m-%dT%H",
            &["2026-10-25T01", "2026-10-25T02"],
        ),
        (window("2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"), PartitionBy::Month, "%Y-%m", &["2026-04"]),
    ] {
        let named = names.iter().map(|name| path_unit(name, &path_time(pattern, unit), &berlin).expect("a unit"));
        assert_eq!(units_of(window, unit, &berlin, 100), named.collect::<Vec<_>>());
    }
    let year = window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(units_of(year, PartitionBy::Hour, &TimeZone::UTC, 100).len(), 101);
}

#[test]
fn every_unit_is_derived_from_the_fields_it_needs() {
    let utc = |name, pattern, unit| covers(name, pattern, unit, "UTC");
    assert_eq!(
        utc("2026/03/05/13.csv", "%Y/%m/%d/%H.csv", PartitionBy::Hour),
        pair("2026-03-05T13:00:00Z", "2026-03-05T14:00:00Z")
    );
    assert_eq!(
        utc("x_2026-W10.csv", "%G-W%V.csv", PartitionBy::Week),
        pair("2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z")
    );
    assert_eq!(utc("202603.pq", "%Y%m.pq", PartitionBy::Month), pair("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"));
    assert_eq!(
        utc("2026-05.pq", "%Y-%m.pq", PartitionBy::Quarter),
        pair("2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z")
    );
    assert_eq!(utc("y2026.pq", "%Y.pq", PartitionBy::Year), pair("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
    assert_eq!(utc("2026-064.pq", "%Y-%j.pq", PartitionBy::Day), pair("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"));
    assert_eq!(
        utc("a-20260305T2300+0200.csv", "%Y%m%dT%H%M%z.csv", PartitionBy::Hour),
        pair("2026-03-05T21:00:00Z", "2026-03-05T22:00:00Z")
    );
}

#[test]
fn a_star_is_any_part_of_a_name() {
    let day = pair("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z");
    for (name, pattern) in [
        ("year=2026/month=03/day=05/part-0.parquet", "year=%Y/month=%m/day=%d/*"),
        ("eu/2026/03/05/123_trail_20260305T0010Z_x.json.gz", "%Y/%m/%d/*.json.gz"),
        ("2026/03/05/eu/x.json", "%Y/%m/%d/*/*"),
        ("app-2026-03-05-0001.log", "%Y-%m-%d-*.log"),
        ("2026-03-05.csv", "%Y-%m-%d*.csv"),
    ] {
        assert_eq!(covers(name, pattern, PartitionBy::Day, "UTC"), day, "{name} {pattern}");
    }
    for (name, pattern) in [
        ("2026/03/05/eu/x.json", "%Y/%m/%d/*"),
        ("2026/03/05/x.csv", "%Y/%m/%d/*.json"),
        ("2026/03/x.json", "%Y/%m/%d/*"),
    ] {
        assert_eq!(covers(name, pattern, PartitionBy::Day, "UTC"), None, "{name} {pattern}");
    }
}

#[test]
fn a_name_without_the_fields_or_the_end_of_the_pattern_does_not_match() {
    assert_eq!(covers("2026-03.csv", "%Y-%m.csv", PartitionBy::Day, "UTC"), None);
    assert_eq!(covers("2026-03-05.csv", "%Y-%m-%d.csv", PartitionBy::Hour, "UTC"), None);
    assert_eq!(covers("2026-03-05.csv.bak", "%Y-%m-%d.csv", PartitionBy::Day, "UTC"), None);
    assert_eq!(covers("2026-13-05.csv", "%Y-%m-%d.csv", PartitionBy::Day, "UTC"), None);
    assert_eq!(covers("9999-12-31.csv", "%Y-%m-%d.csv", PartitionBy::Day, "UTC"), None);
    assert_eq!(covers("x.csv", "%", PartitionBy::Day, "UTC"), None);
}

#[test]
fn the_pattern_does_not_start_inside_a_number_or_at_a_dash() {
    assert_eq!(
        covers("part-2026-03-05.csv", "%Y-%m-%d.csv", PartitionBy::Day, "UTC"),
        pair("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z")
    );
    assert_eq!(covers("12026-03-05.csv", "%Y-%m-%d.csv", PartitionBy::Day, "UTC"), None);
    assert_eq!(covers("99.csv", "%d.csv", PartitionBy::Day, "UTC"), None);
}

#[test]
fn an_hour_that_the_clock_skips_or_repeats_is_covered_wholly() {
    let berlin = |name| covers(name, "%Y-%m-%dT%H.csv", PartitionBy::Hour, "Europe/Berlin");
    assert_eq!(berlin("2026-03-29T02.csv"), pair("2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"));
    assert_eq!(berlin("2026-10-25T02.csv"), pair("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"));
    assert_eq!(berlin("2026-10-25T01.csv"), pair("2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z"));
}

#[test]
fn days_and_months_are_found_in_the_usual_spellings() {
    let day = Some((date(2026, 3, 5), date(2026, 3, 5)));
    for name in [
        "2026-03-05.csv",
        "app_20260305.ndjson.gz",
        "2026/03/05/part-0.parquet",
        "2026/03/05/13/x.pq",
        "dt=2026-03-05/x.pq",
        "2026_03_05.csv",
        "year=2026/month=3/day=05/x.pq",
        "2026/03/2026-03-05T1200.csv",
        "20260305T120000.csv",
    ] {
        assert_eq!(named_days(name), day, "{name}");
    }
    let month = Some((date(2026, 3, 1), date(2026, 3, 31)));
    for name in ["2026-03.csv", "2026/03/part-0.pq", "events-2026-03-0001.csv", "year=2026/month=03/x.pq"] {
        assert_eq!(named_days(name), month, "{name}");
    }
}

#[test]
fn names_that_say_nothing_or_contradict_themselves_give_no_evidence() {
    for name in [
        "part-00000.parquet",
        "events.csv",
        "2026-03-01_2026-03-07.csv",
        "2026-13.csv",
        "2026-02-30.csv",
        "1772668800.csv",
        "17726688000.csv",
        "2026.csv",
        "12345678.csv",
        "2026-03-5.csv",
        "2026-03_exported_2026-04-02.csv",
    ] {
        assert_eq!(named_days(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn no_name_and_no_pattern_panics(name in "\\PC{0,40}", pattern in "\\PC{0,12}|(%[A-Za-z:.0-9]{1,2}[-/.]?){0,4}") {
        let _ = named_days(&name);
        for unit in [PartitionBy::Hour, PartitionBy::Week, PartitionBy::Quarter] {
            let _ = covers(&name, &pattern, unit, "Europe/Berlin");
        }
    }

    #[test]
    fn every_day_is_found_again(offset in 0i32..80_000) {
        let day = date(1970, 1, 1).checked_add(offset.days()).expect("in range");
        prop_assert_eq!(named_days(&format!("a/{day}.csv")), Some((day, day)));
        prop_assert_eq!(named_days(&day.strftime("x%Y%m%d.csv").to_string()), Some((day, day)));
    }
}
