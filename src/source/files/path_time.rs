//! Derives the time range of a file's rows from its name.
//!
//! There are two ways. [`path_coverage`] follows a declaration in the catalog (`path_time`). It can exclude a file from
//! reading, so a run checks the declaration against the rows that it does read. [`named_days`] guesses common naming
//! schemes. It only narrows down the partitions that an *unreadable* file may belong to, after the readable files have
//! confirmed the scheme.

use jiff::civil::{Date, DateTime, ISOWeekDate, Weekday};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::job::{PartitionBy, PathTime};

/// The half-open interval `[start, end)` that a file's rows may lie in: its calendar unit ([`path_unit`]), widened by
/// `early` and `late`.
pub(crate) fn path_coverage(name: &str, path_time: &PathTime, timezone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let (start, end) = path_unit(name, path_time, timezone)?;
    // Margins saturate at the ends of the calendar.
    let start = start.checked_sub(path_time.early).unwrap_or(Timestamp::MIN);
    let end = end.checked_add(path_time.late).unwrap_or(Timestamp::MAX);
    Some((start, end))
}

/// The half-open calendar unit `[start, end)` that a file covers, from the end of its relative name.
///
/// The pattern must match a whole suffix of `name`; the longest such suffix counts. `*` matches any part of a file or folder
/// name. A match never starts inside a number: `%Y` does not find the year 26 in `2026.csv`. The result is the calendar unit
/// (`covers`) of `timezone` that contains the matched time. If the zone's clock skips or repeats an edge of the unit, the
/// wider interval is used, so that no row of the file lies outside.
///
/// `None`: the name does not match, lacks a field that the unit needs, or is outside the supported years.
pub(crate) fn path_unit(name: &str, path_time: &PathTime, timezone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let pattern = path_time.pattern.value.as_str();
    let starts_with_field = pattern.starts_with('%') && !pattern.starts_with("%%");
    let mut before = None;
    for (start, first) in name.char_indices() {
        let inside_number = first.is_ascii_digit() && before.is_some_and(|c: char| c.is_ascii_digit());
        // `%Y` accepts a sign, but in a file name, it is a separator.
        let sign = starts_with_field && matches!(first, '-' | '+');
        before = Some(first);
        if inside_number || sign {
            continue;
        }
        if let Some(matched) = matched(pattern, &name[start..]) {
            return coverage(matched, path_time.covers, timezone);
        }
    }
    None
}

/// The interval that spans [`path_coverage`] in two zones. A date in a name may be in the zone of the source's times or, if
/// the rows have dates only, in the zone of the window.
pub(crate) fn path_coverage_in(
    name: &str,
    path_time: &PathTime,
    zones: [&TimeZone; 2],
) -> Option<(Timestamp, Timestamp)> {
    let [first, second] = zones;
    let covered = path_coverage(name, path_time, first)?;
    if first == second {
        return Some(covered);
    }
    let other = path_coverage(name, path_time, second)?;
    Some((covered.0.min(other.0), covered.1.max(other.1)))
}

/// Matches a pattern against a whole text and returns its fields. The pattern has no fields after its first `*`.
fn matched(pattern: &str, text: &str) -> Option<BrokenDownTime> {
    let Some(star) = pattern.find('*') else { return BrokenDownTime::parse(pattern, text).ok() };
    let (head, tail) = pattern.split_at(star);
    let (matched, consumed) = BrokenDownTime::parse_prefix(head, text).ok()?;
    matches_wildcards(tail, text.get(consumed..)?).then_some(matched)
}

/// Whether a pattern matches a text. `*` matches any characters except `/`.
fn matches_wildcards(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => {
            let Some(after) = text.strip_prefix(before) else { return false };
            let end = after.find('/').unwrap_or(after.len());
            let ends = after.char_indices().map(|(at, _)| at).chain([after.len()]).take_while(|at| *at <= end);
            // Shortest first; names are short and patterns have few stars.
            ends.into_iter().any(|at| after.get(at..).is_some_and(|text| matches_wildcards(rest, text)))
        }
    }
}

/// The calendar unit that holds a matched time.
fn coverage(matched: BrokenDownTime, covers: PartitionBy, timezone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    unit(local_time(matched, covers, timezone)?, covers, timezone)
}

/// The calendar units that overlap a half-open interval, in order; at most `limit + 1`.
pub(crate) fn units_of(
    (start, end): (Timestamp, Timestamp),
    covers: PartitionBy,
    timezone: &TimeZone,
    limit: usize,
) -> Vec<(Timestamp, Timestamp)> {
    let mut units = Vec::new();
    let mut next = start;
    while next < end && units.len() <= limit {
        let local = next.to_zoned(timezone.clone()).datetime();
        let Some(found) = unit(local, covers, timezone).filter(|(_, after)| *after > next) else { break };
        next = found.1;
        units.push(found);
    }
    units
}

/// The calendar unit that holds a local time.
fn unit(local: DateTime, covers: PartitionBy, timezone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let date = local.date();
    let (start, end) = match covers {
        // Without a unit, the name implies no range.
        PartitionBy::None => return None,
        PartitionBy::Hour => {
            let start = date.at(local.hour(), 0, 0, 0);
            (start, start.checked_add(1.hour()).ok()?)
        }
        PartitionBy::Day => (midnight(date), midnight(date.tomorrow().ok()?)),
        PartitionBy::Week => {
            let week = date.iso_week_date();
            let monday = ISOWeekDate::new(week.year(), week.week(), Weekday::Monday).ok()?.date();
            (midnight(monday), midnight(monday.checked_add(1.week()).ok()?))
        }
        PartitionBy::Month => {
            let first = date.first_of_month();
            (midnight(first), midnight(first.checked_add(1.month()).ok()?))
        }
        PartitionBy::Quarter => {
            let first = Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok()?;
            (midnight(first), midnight(first.checked_add(3.months()).ok()?))
        }
        PartitionBy::Year => {
            let first = date.first_of_year();
            (midnight(first), midnight(first.checked_add(1.year()).ok()?))
        }
    };
    Some((edge(start, timezone, Edge::Start)?, edge(end, timezone, Edge::End)?))
}

/// The matched fields as a local time of `timezone`. Fields smaller than the unit default to its start.
fn local_time(mut matched: BrokenDownTime, covers: PartitionBy, timezone: &TimeZone) -> Option<DateTime> {
    if let Some(instant) = matched.timestamp() {
        return Some(instant.to_zoned(timezone.clone()).datetime());
    }
    if covers == PartitionBy::Hour && matched.hour().is_none() {
        return None;
    }
    let by_week = matched.iso_week().is_some();
    if by_week && matched.weekday().is_none() {
        if covers != PartitionBy::Week {
            return None;
        }
        matched.set_weekday(Some(Weekday::Monday));
    }
    if !by_week && matched.day_of_year().is_none() {
        let month_needed = !matches!(covers, PartitionBy::Year);
        let day_needed = matches!(covers, PartitionBy::Hour | PartitionBy::Day | PartitionBy::Week);
        if matched.month().is_none() && !month_needed {
            matched.set_month(Some(1)).ok()?;
        }
        if matched.day().is_none() && !day_needed {
            matched.set_day(Some(1)).ok()?;
        }
    }
    if matched.hour().is_none() {
        matched.set_hour(Some(0)).ok()?;
    }
    if matched.minute().is_none() {
        matched.set_minute(Some(0)).ok()?;
    }
    if matched.offset().is_some() {
        let instant = matched.to_timestamp().ok()?;
        return Some(instant.to_zoned(timezone.clone()).datetime());
    }
    matched.to_datetime().ok()
}

fn midnight(date: Date) -> DateTime {
    date.at(0, 0, 0, 0)
}

/// Which edge of an interval an instant is.
enum Edge {
    Start,
    End,
}

/// The instant of a local time at the edge of an interval.
///
/// If the local time occurs twice, the earlier instant, at which one unit ends and the next begins. If it never occurs, a
/// start is placed before the gap and an end after it, which can only widen the interval.
fn edge(local: DateTime, timezone: &TimeZone, edge: Edge) -> Option<Timestamp> {
    let ambiguous = timezone.to_ambiguous_timestamp(local);
    match (ambiguous.offset(), edge) {
        (AmbiguousOffset::Gap { .. }, Edge::End) => ambiguous.later().ok(),
        _ => ambiguous.earlier().ok(),
    }
}

/// Years that a run of digits may denote. Other numbers are more likely counters.
const PLAUSIBLE_YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;

/// The first and last day of the calendar day or month in a relative name.
///
/// Days are `2026-03-05`, `2026/03/05`, `2026_03_05`, `20260305` and the hive folders `year=2026/month=03/day=05`; months are
/// `2026-03`, `2026/03`, `2026_03` and `year=2026/month=03`. A name may repeat a date, and may contain a month and a day in
/// it. A name with contradicting dates (`2026-03-01_2026-03-07`) yields `None`.
pub(crate) fn named_days(name: &str) -> Option<(Date, Date)> {
    let plain = hive_dates_as_paths(name);
    let text = plain.as_bytes();
    let mut narrowest: Option<(Date, Date)> = None;
    let mut at = 0;
    while at < text.len() {
        let run = digits(text, at);
        if run == 0 {
            at += 1;
            continue;
        }
        let Some((found, length)) = day_or_month(text, at, run) else {
            at += run;
            continue;
        };
        narrowest = Some(match narrowest {
            None => found,
            Some(old) if old.0 <= found.0 && found.1 <= old.1 => found,
            Some(old) if found.0 <= old.0 && old.1 <= found.1 => old,
            Some(_) => return None,
        });
        at += length;
    }
    narrowest
}

/// Rewrites `year=2026/month=03/day=05` to `2026/03/05`.
fn hive_dates_as_paths(name: &str) -> String {
    let segments = name.split('/').map(|segment| match segment.split_once('=') {
        Some((key, value)) if ["year", "month", "day"].iter().any(|k| key.eq_ignore_ascii_case(k)) => {
            // Hive writes months both as `3` and `03`.
            if value.len() == 1 { format!("0{value}") } else { value.to_owned() }
        }
        _ => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Length of the run of ASCII digits at an offset.
fn digits(text: &[u8], at: usize) -> usize {
    text.iter().skip(at).take_while(|b| b.is_ascii_digit()).count()
}

/// A day or month that starts at a run of digits, and its length in bytes.
fn day_or_month(text: &[u8], at: usize, run: usize) -> Option<((Date, Date), usize)> {
    let number = |from: usize, length: usize| -> Option<i16> {
        std::str::from_utf8(text.get(from..from + length)?).ok()?.parse().ok()
    };
    let year = number(at, 4).filter(|y| PLAUSIBLE_YEARS.contains(y))?;
    if run == 8 {
        let day = Date::new(year, i8::try_from(number(at + 4, 2)?).ok()?, i8::try_from(number(at + 6, 2)?).ok()?);
        return day.ok().map(|day| ((day, day), run));
    }
    if run != 4 {
        return None;
    }
    let separator = *text.get(at + 4).filter(|b| matches!(b, b'-' | b'/' | b'_'))?;
    if digits(text, at + 5) != 2 {
        return None;
    }
    let month = i8::try_from(number(at + 5, 2)?).ok()?;
    let after = if text.get(at + 7) == Some(&separator) { digits(text, at + 8) } else { 0 };
    match after {
        2 => {
            let day = Date::new(year, month, i8::try_from(number(at + 8, 2)?).ok()?).ok()?;
            Some(((day, day), 10))
        }
        // `2026-03-5` is neither a common spelling of a day nor clearly a month.
        1 => None,
        _ => {
            let first = Date::new(year, month, 1).ok()?;
            Some(((first, first.last_of_month()), 7))
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            utc("202603.pq", "%Y%m.pq", PartitionBy::Month),
            pair("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
        );
        assert_eq!(
            utc("2026-05.pq", "%Y-%m.pq", PartitionBy::Quarter),
            pair("2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z")
        );
        assert_eq!(utc("y2026.pq", "%Y.pq", PartitionBy::Year), pair("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
        assert_eq!(
            utc("2026-064.pq", "%Y-%j.pq", PartitionBy::Day),
            pair("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z")
        );
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
}
