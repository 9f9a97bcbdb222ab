//! Resolves a window, as written in the spec, to two instants.
//!
//! The result depends only on the text, the zone's calendar and `now`. The label depends only on the two instants and the
//! zone, not on the form that was written.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::window_text::{
    out_of_range, parse_date, parse_instant, parse_last, parse_month, parse_quarter, parse_unit, parse_week, parse_year,
};
use crate::diagnostic::{Diagnostic, Located};
use crate::job::Window;
use crate::spec::WindowForm;
use crate::time::calendar::instant_label;
use crate::time::{Calendar, Unit, zone};

/// Computes the window.
///
/// # Errors
/// Every mistake, with its location: text that is not a date, month, quarter, week, year or instant; an instant without
/// an offset or finer than a microsecond; an unknown zone; an end that is not after the start; bounds outside the years
/// -9999 to 9999.
pub(crate) fn resolve(
    form: &WindowForm,
    timezone: &Located<String>,
    now: Timestamp,
) -> Result<Window, Vec<Diagnostic>> {
    let calendar = zone::find(&timezone.value)
        .map(Calendar::new)
        .map_err(|e| Diagnostic::at(timezone.span.as_ref(), e.to_string()).help(e.help()));
    let (calendar, bounds) = match calendar {
        Ok(calendar) => {
            let bounds = bounds(form, Some(&calendar), now)?;
            (calendar, bounds)
        }
        // Report mistakes other than the zone together with it.
        Err(unknown_zone) => {
            let mut problems = vec![unknown_zone];
            problems.extend(bounds(form, None, now).err().unwrap_or_default());
            return Err(problems);
        }
    };
    Ok(labeled(calendar, bounds.start, bounds.end))
}

/// The window between two instants in a zone.
pub(crate) fn of_instants(start: Timestamp, end: Timestamp, timezone: TimeZone) -> Window {
    labeled(Calendar::new(timezone), start, end)
}

fn labeled(calendar: Calendar, start: Timestamp, end: Timestamp) -> Window {
    let label = label(&calendar, start, end);
    Window { start, end, label, timezone: calendar.timezone }
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    start: Timestamp,
    end: Timestamp,
}

/// The bounds of a window. Without a calendar, only the text is checked, and the result is meaningless.
fn bounds(form: &WindowForm, calendar: Option<&Calendar>, now: Timestamp) -> Result<Bounds, Vec<Diagnostic>> {
    match form {
        WindowForm::Dates { from, to } => {
            let (first, last) = both(parse_date(from), parse_date(to))?;
            if last < first {
                let message = format!("the window ends before it starts: {last} is before {first}");
                return Err(vec![Diagnostic::at(to.span.as_ref(), message).help("both dates are inclusive")]);
            }
            days(calendar, from, first, to, last)
        }
        WindowForm::Instants { start, end } => {
            let (from, until) = both(parse_instant(start), parse_instant(end))?;
            if until <= from {
                let message = format!("the window ends where it starts or before: {until} is not after {from}");
                let help = "`end` is the first instant after the window";
                return Err(vec![Diagnostic::at(end.span.as_ref(), message).help(help)]);
            }
            Ok(Bounds { start: from, end: until })
        }
        WindowForm::Date(text) => unit(calendar, text, Unit::Day, parse_date(text)),
        WindowForm::Week(text) => unit(calendar, text, Unit::Week, parse_week(text)),
        WindowForm::Month(text) => unit(calendar, text, Unit::Month, parse_month(text)),
        WindowForm::Quarter(text) => unit(calendar, text, Unit::Quarter, parse_quarter(text)),
        WindowForm::Year(text) => unit(calendar, text, Unit::Year, parse_year(text)),
        WindowForm::Previous(text) => {
            let unit = parse_unit(text).map_err(|e| vec![e])?;
            let Some(calendar) = calendar else { return Ok(Bounds { start: now, end: now }) };
            let end = calendar.floor(now, unit);
            let start = end.and_then(|end| calendar.floor(instant_before(end)?, unit));
            in_range(text, start, end)
        }
        WindowForm::Last(text) => {
            let (count, unit) = parse_last(text).map_err(|e| vec![e])?;
            let Some(calendar) = calendar else { return Ok(Bounds { start: now, end: now }) };
            let end = calendar.floor(now, unit);
            let start = end.and_then(|end| match unit {
                Unit::Hour => {
                    let hours = SignedDuration::from_secs(count.checked_mul(3600)?);
                    calendar.floor(end.checked_sub(hours).ok()?, unit)
                }
                _ => calendar.day_start(unit.step(calendar.first_date(end, unit)?, -count)?),
            });
            in_range(text, start, end)
        }
    }
}

/// From the beginning of one date to the end of another.
fn days(
    calendar: Option<&Calendar>,
    from: &Located<String>,
    first: Date,
    to: &Located<String>,
    last: Date,
) -> Result<Bounds, Vec<Diagnostic>> {
    let Some(calendar) = calendar else { return Ok(Bounds { start: Timestamp::MIN, end: Timestamp::MAX }) };
    let start = calendar.day_start(first).ok_or_else(|| vec![out_of_range(from)])?;
    let end =
        Unit::Day.step(last, 1).and_then(|next| calendar.day_start(next)).ok_or_else(|| vec![out_of_range(to)])?;
    if end <= start {
        let message = format!("{first} does not exist in {}: its calendar skipped it", zone::name(&calendar.timezone));
        return Err(vec![Diagnostic::at(from.span.as_ref(), message)]);
    }
    Ok(Bounds { start, end })
}

/// The unit that begins at a date.
fn unit(
    calendar: Option<&Calendar>,
    text: &Located<String>,
    unit: Unit,
    first: Result<Date, Diagnostic>,
) -> Result<Bounds, Vec<Diagnostic>> {
    let first = first.map_err(|e| vec![e])?;
    let last = unit.step(first, 1).and_then(|next| Unit::Day.step(next, -1)).ok_or_else(|| vec![out_of_range(text)])?;
    days(calendar, text, first, text, last)
}

fn in_range(
    text: &Located<String>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
) -> Result<Bounds, Vec<Diagnostic>> {
    match (start, end) {
        (Some(start), Some(end)) if start < end => Ok(Bounds { start, end }),
        _ => Err(vec![out_of_range(text)]),
    }
}

fn both<T>(a: Result<T, Diagnostic>, b: Result<T, Diagnostic>) -> Result<(T, T), Vec<Diagnostic>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err([a.err(), b.err()].into_iter().flatten().collect()),
    }
}

fn instant_before(at: Timestamp) -> Option<Timestamp> {
    at.checked_sub(SignedDuration::from_nanos(1)).ok()
}

/// The window's calendar name: the unit that it is, else its first and last day, else its bounds in UTC.
fn label(calendar: &Calendar, start: Timestamp, end: Timestamp) -> String {
    let exactly = |unit: &Unit| calendar.floor(start, *unit) == Some(start) && calendar.next(start, *unit) == Some(end);
    if let Some(label) = Unit::OF_DAYS.iter().find(|unit| exactly(unit)).and_then(|unit| calendar.label(start, *unit)) {
        return label;
    }
    let starts_a_day = |at: Timestamp| calendar.floor(at, Unit::Day) == Some(at);
    if starts_a_day(start) && starts_a_day(end) {
        let last = instant_before(end).and_then(|last| calendar.label(last, Unit::Day));
        if let (Some(first), Some(last)) = (calendar.label(start, Unit::Day), last) {
            return format!("{first}_{last}");
        }
    }
    format!("{}_{}", instant_label(start), instant_label(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: &str = "2026-03-11T13:45:10.123456789Z";

    fn text(value: &str) -> Located<String> {
        Located::default_value(value.to_owned())
    }

    fn dates(from: &str, to: &str) -> WindowForm {
        WindowForm::Dates { from: text(from), to: text(to) }
    }

    fn instants(start: &str, end: &str) -> WindowForm {
        WindowForm::Instants { start: text(start), end: text(end) }
    }

    /// Start, end and label.
    fn window(form: WindowForm, zone: &str) -> [String; 3] {
        let window = resolve(&form, &text(zone), NOW.parse().unwrap()).unwrap();
        [window.start.to_string(), window.end.to_string(), window.label]
    }

    fn wrong(form: WindowForm, zone: &str) -> String {
        let problems = resolve(&form, &text(zone), NOW.parse().unwrap()).unwrap_err();
        let messages: Vec<_> =
            problems.into_iter().map(|p| format!("{} ({})", p.message, p.help.unwrap_or_default())).collect();
        messages.join("; ")
    }

    #[test]
    fn every_form_of_one_month_is_the_same_window() {
        let march = ["2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", "2026-03"].map(str::to_owned);
        assert_eq!(window(WindowForm::Month(text("2026-03")), "Europe/Berlin"), march);
        assert_eq!(window(dates("2026-03-01", "2026-03-31"), "Europe/Berlin"), march);
        assert_eq!(window(instants("2026-03-01T00:00:00+01:00", "2026-03-31T22:00Z"), "Europe/Berlin"), march);
    }

    #[test]
    fn units_are_those_of_the_zone() {
        for (form, start, end, label) in [
            (WindowForm::Year(text("2026")), "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z", "2026"),
            (WindowForm::Quarter(text("2026-Q2")), "2026-03-31T22:00:00Z", "2026-06-30T22:00:00Z", "2026-Q2"),
            (WindowForm::Week(text("2026-W13")), "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z", "2026-W13"),
            (WindowForm::Week(text("2020-W53")), "2020-12-27T23:00:00Z", "2021-01-03T23:00:00Z", "2020-W53"),
            (WindowForm::Date(text("2026-03-29")), "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-29"),
        ] {
            assert_eq!(window(form, "Europe/Berlin"), [start, end, label].map(str::to_owned));
        }
    }

    #[test]
    fn labels_of_other_windows_say_their_days_or_their_instants() {
        assert_eq!(window(dates("2026-03-01", "2026-03-14"), "Europe/Berlin")[2], "2026-03-01_2026-03-14");
        assert_eq!(
            window(instants("2026-03-01T00:00:00Z", "2026-03-01T12:30:00Z"), "UTC")[2],
            "2026-03-01T0000Z_2026-03-01T1230Z"
        );
        assert_eq!(
            window(instants("2026-03-01T00:00:01Z", "2026-03-01T12:30:00.5Z"), "UTC")[2],
            "2026-03-01T000001Z_2026-03-01T123000.5Z"
        );
        // A whole day of UTC is not one of Berlin.
        assert_eq!(
            window(instants("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"), "Europe/Berlin")[2],
            "2026-03-01T0000Z_2026-03-02T0000Z"
        );
        assert_eq!(
            window(instants("2026-03-01T13:00:00Z", "2026-03-01T14:00:00Z"), "UTC")[2],
            "2026-03-01T1300Z_2026-03-01T1400Z"
        );
    }

    #[test]
    fn previous_is_the_last_whole_unit_before_now() {
        for (unit, start, end, label) in [
            ("hour", "2026-03-11T12:00:00Z", "2026-03-11T13:00:00Z", "2026-03-11T1200Z_2026-03-11T1300Z"),
            ("day", "2026-03-09T23:00:00Z", "2026-03-10T23:00:00Z", "2026-03-10"),
            ("week", "2026-03-01T23:00:00Z", "2026-03-08T23:00:00Z", "2026-W10"),
            ("month", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z", "2026-02"),
            ("quarter", "2025-09-30T22:00:00Z", "2025-12-31T23:00:00Z", "2025-Q4"),
            ("year", "2024-12-31T23:00:00Z", "2025-12-31T23:00:00Z", "2025"),
        ] {
            assert_eq!(
                window(WindowForm::Previous(text(unit)), "Europe/Berlin"),
                [start, end, label].map(str::to_owned)
            );
        }
        let at_midnight =
            resolve(&WindowForm::Previous(text("day")), &text("UTC"), "2026-03-11T00:00:00Z".parse().unwrap());
        assert_eq!(at_midnight.unwrap().label, "2026-03-10");
        assert!(wrong(WindowForm::Previous(text("mont")), "UTC").contains("did you mean `month`?"));
        assert!(wrong(WindowForm::Previous(text("fortnight")), "UTC").contains("hour, day, week"));
    }

    #[test]
    fn last_counts_whole_units_back_from_now() {
        for (last, start, end, label) in [
            ("36h", "2026-03-10T01:00:00Z", "2026-03-11T13:00:00Z", "2026-03-10T0100Z_2026-03-11T1300Z"),
            ("7d", "2026-03-03T23:00:00Z", "2026-03-10T23:00:00Z", "2026-03-04_2026-03-10"),
            ("1d", "2026-03-09T23:00:00Z", "2026-03-10T23:00:00Z", "2026-03-10"),
            ("2w", "2026-02-22T23:00:00Z", "2026-03-08T23:00:00Z", "2026-02-23_2026-03-08"),
            ("3mo", "2025-11-30T23:00:00Z", "2026-02-28T23:00:00Z", "2025-12-01_2026-02-28"),
        ] {
            assert_eq!(window(WindowForm::Last(text(last)), "Europe/Berlin"), [start, end, label].map(str::to_owned));
        }
        for last in ["7", "d", "", "0d", "-1d", "7 d", "7m", "1.5d", "７d"] {
            assert!(wrong(WindowForm::Last(text(last)), "UTC").contains("h, d, w or mo"), "{last}");
        }
        for last in
            ["99999999999999999999d", "9000000h00", "9223372036854775807h", "9223372036854775807mo", "4000000000d"]
        {
            assert!(!wrong(WindowForm::Last(text(last)), "UTC").is_empty(), "{last}");
        }
    }

    #[test]
    fn what_does_not_exist_says_so() {
        assert!(
            wrong(dates("2026-02-30", "2026-03-31"), "UTC")
                .starts_with("2026-02-30 is not a date: February 2026 has 28 days")
        );
        assert!(wrong(dates("2026-02-30", "2026-13-31"), "UTC").contains("month 13 is not 01 to 12"));
        assert!(wrong(WindowForm::Date(text("2026-3-1")), "UTC").contains("YYYY-MM-DD"));
        assert!(wrong(WindowForm::Date(text("2026-03-01T00:00:00Z")), "UTC").contains("but an instant"));
        assert!(wrong(WindowForm::Month(text("2026-13")), "UTC").contains("01 to 12"));
        assert!(wrong(WindowForm::Month(text("March")), "UTC").contains("YYYY-MM"));
        assert!(wrong(WindowForm::Quarter(text("2026-Q5")), "UTC").contains("Q1 to Q4"));
        assert!(wrong(WindowForm::Quarter(text("Q1")), "UTC").contains("YYYY-Qn"));
        assert!(wrong(WindowForm::Week(text("2026-W54")), "UTC").contains("2026 has W01 to W53"));
        assert!(wrong(WindowForm::Week(text("2025-W53")), "UTC").contains("2025 has W01 to W52"));
        assert!(wrong(WindowForm::Week(text("2026-W00")), "UTC").contains("W01"));
        assert!(wrong(WindowForm::Year(text("26")), "UTC").contains("YYYY"));
        assert!(wrong(WindowForm::Date(text("2011-12-30")), "Pacific/Apia").contains("does not exist in Pacific/Apia"));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let problems = resolve(&dates("2026-02-30", "x"), &text("Europe/Berlim"), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0].help.as_deref(), Some("did you mean `Europe/Berlin`?"));
    }

    #[test]
    fn a_window_is_not_empty() {
        assert!(wrong(dates("2026-03-02", "2026-03-01"), "UTC").contains("ends before it starts"));
        assert!(wrong(instants("2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00"), "UTC").contains("not after"));
    }

    #[test]
    fn instants_need_an_offset_and_whole_microseconds() {
        assert!(
            wrong(instants("2026-03-01T00:00:00", "2026-03-02T00:00:00Z"), "UTC")
                .contains("`2026-03-01T00:00:00Z` if UTC")
        );
        assert!(wrong(instants("2026-03-01", "2026-03-02T00:00:00Z"), "UTC").contains("date_from"));
        assert!(wrong(instants("2026-03-01T00:00:00.0000001Z", "2026-03-02T00:00:00Z"), "UTC").contains("microsecond"));
        assert_eq!(
            window(instants("2026-03-01T00:00:00.000001Z", "2026-03-02T00:00:00Z"), "UTC")[0],
            "2026-03-01T00:00:00.000001Z"
        );
    }

    #[test]
    fn the_end_of_the_calendar_is_an_error_and_no_panic() {
        for form in [
            WindowForm::Year(text("9999")),
            WindowForm::Date(text("9999-12-31")),
            dates("9999-12-01", "9999-12-31"),
            instants("2026-03-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        ] {
            let message = wrong(form, "UTC");
            assert!(message.contains("is outside the supported range of time"), "{message}");
        }
        assert_eq!(window(WindowForm::Year(text("0000")), "UTC")[0], "0000-01-01T00:00:00Z");
        assert_eq!(window(WindowForm::Month(text("9999-11")), "Pacific/Apia")[2], "9999-11");
        for now in [Timestamp::MIN, Timestamp::MAX] {
            for unit in ["hour", "day", "week", "month", "quarter", "year"] {
                for zone in ["UTC", "Pacific/Apia", "America/New_York"] {
                    let _ = resolve(&WindowForm::Previous(text(unit)), &text(zone), now);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(a in "\\PC{0,12}", b in "[0-9TWQZhdwmo:.+-]{0,24}", zone in "\\PC{0,8}") {
            for text_ in [&a, &b] {
                for form in [
                    WindowForm::Month(text(text_)), WindowForm::Quarter(text(text_)), WindowForm::Year(text(text_)),
                    WindowForm::Week(text(text_)), WindowForm::Date(text(text_)), WindowForm::Previous(text(text_)),
                    WindowForm::Last(text(text_)), dates(text_, &b), instants(text_, &b),
                ] {
                    let _ = resolve(&form, &text("America/St_Johns"), NOW.parse().unwrap());
                }
                let _ = resolve(&WindowForm::Last(text(text_)), &text(&zone), NOW.parse().unwrap());
            }
        }
    }
}
