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
mod tests;
