//! Calendar units in a zone.
//!
//! A day, and any unit made of days, begins when the zone's calendar first shows it:
//! - the clock has midnight twice (America/St_Johns changed its clocks at 00:01 for decades): at the earlier one;
//! - the clock jumps over midnight (America/Sao_Paulo, America/Toronto in 1919): at the jump;
//! - the calendar jumps over a day (Pacific/Apia, 2011-12-30): that day is empty and begins where the next one does.
//!
//! So every unit is one contiguous interval with a unique date as its name, and units follow each other without gap or
//! overlap. An hour ends when the zone's clock reaches the full hour or jumps. An hour that the clock shows twice is two
//! hours, so hours are named in UTC.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

/// A calendar unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    /// From one full hour of the zone's clock, or jump of that clock, to the next.
    Hour,
    /// A date of the zone's calendar.
    Day,
    /// ISO 8601 week, from Monday.
    Week,
    /// Month.
    Month,
    /// Quarter.
    Quarter,
    /// Year.
    Year,
}

impl Unit {
    /// The units made of days, smallest first.
    pub(crate) const OF_DAYS: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The word in a spec.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The first date of the unit that a date belongs to (hours: the date itself). `None` before year -9999.
    pub(crate) fn first_date(self, date: Date) -> Option<Date> {
        match self {
            Self::Hour | Self::Day => Some(date),
            Self::Week => {
                let monday = Span::new().days(date.weekday().since(Weekday::Monday));
                date.checked_sub(monday).ok()
            }
            Self::Month => Some(date.first_of_month()),
            Self::Quarter => Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok(),
            Self::Year => Some(date.first_of_year()),
        }
    }

    /// The first date of the unit `count` units after the one that begins at `first`; before it where negative.
    /// Hours count as days. `None` outside the years -9999 to 9999.
    pub(crate) fn step(self, first: Date, count: i64) -> Option<Date> {
        let span = match self {
            Self::Hour | Self::Day => Span::new().try_days(count),
            Self::Week => Span::new().try_weeks(count),
            Self::Month => Span::new().try_months(count),
            Self::Quarter => Span::new().try_months(count.checked_mul(3)?),
            Self::Year => Span::new().try_years(count),
        };
        first.checked_add(span.ok()?).ok()
    }

    /// The name of the unit that begins at `first`: `2026-03-05`, `2026-W10`, `2026-03`, `2026-Q1`, `2026`.
    pub(crate) fn label(self, first: Date) -> String {
        match self {
            Self::Hour | Self::Day => format!("{:04}-{:02}-{:02}", first.year(), first.month(), first.day()),
            Self::Week => {
                let week = first.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Month => format!("{:04}-{:02}", first.year(), first.month()),
            Self::Quarter => format!("{:04}-Q{}", first.year(), (first.month() - 1) / 3 + 1),
            Self::Year => format!("{:04}", first.year()),
        }
    }
}

/// An instant for file names: `2026-03-01T1300Z`, with seconds and fraction only if they are not zero.
pub(crate) fn instant_label(at: Timestamp) -> String {
    let utc = jiff::tz::Offset::UTC.to_datetime(at);
    let mut label = format!("{}T{:02}{:02}", Unit::Day.label(utc.date()), utc.hour(), utc.minute());
    if utc.second() != 0 || utc.subsec_nanosecond() != 0 {
        label.push_str(&format!("{:02}", utc.second()));
    }
    if utc.subsec_nanosecond() != 0 {
        label.push_str(format!(".{:09}", utc.subsec_nanosecond()).trim_end_matches('0'));
    }
    label.push('Z');
    label
}

/// Divides time into units of a zone's calendar. Weeks are ISO 8601 weeks.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    /// The zone.
    pub timezone: TimeZone,
}

impl Calendar {
    /// The calendar of a zone.
    pub(crate) fn new(timezone: TimeZone) -> Self {
        Self { timezone }
    }

    /// The start of a date. If the zone skips the date, the start of the next one. `None` outside jiff's years.
    pub(crate) fn day_start(&self, date: Date) -> Option<Timestamp> {
        let midnight = date.to_datetime(Time::midnight());
        match self.timezone.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(midnight).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(midnight).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                // With the old offset, midnight is at the jump or after it by at most the length of the gap.
                let after_jump = before.to_timestamp(midnight).ok()?;
                let jump = self.timezone.preceding(second_after(after_jump)?).find(|change| {
                    self.timezone.to_datetime(change.timestamp()) >= midnight && change.timestamp() <= after_jump
                });
                Some(jump.map_or(after_jump, |change| change.timestamp()))
            }
        }
    }

    /// The first date of the unit that contains an instant; for hours the date. `None` outside jiff's years.
    pub(crate) fn first_date(&self, at: Timestamp, unit: Unit) -> Option<Date> {
        let mut first = unit.first_date(self.timezone.to_datetime(at).date())?;
        // The clock may go back over midnight, or a whole unit may be skipped: the unit that began last counts.
        while let Some(next) = unit.step(first, 1)
            && self.day_start(next).is_some_and(|start| start <= at)
        {
            first = next;
        }
        Some(first)
    }

    /// The first instant of the unit that contains an instant. `None` outside jiff's years.
    pub(crate) fn floor(&self, at: Timestamp, unit: Unit) -> Option<Timestamp> {
        match unit {
            Unit::Hour => self.hour_start(at),
            _ => self.day_start(self.first_date(at, unit)?),
        }
    }

    /// The first instant after the unit that contains an instant. `None` outside jiff's years.
    pub(crate) fn next(&self, at: Timestamp, unit: Unit) -> Option<Timestamp> {
        match unit {
            Unit::Hour => self.hour_end(at),
            _ => {
                // A skipped unit begins where the next one does.
                self.day_start(unit.step(self.first_date(at, unit)?, 1)?)
            }
        }
    }

    /// The name of the unit that contains an instant: [`Unit::label`]; for hours the UTC start.
    pub(crate) fn label(&self, at: Timestamp, unit: Unit) -> Option<String> {
        match unit {
            Unit::Hour => self.hour_start(at).map(instant_label),
            _ => self.first_date(at, unit).map(|first| unit.label(first)),
        }
    }

    /// `at` in whole seconds, rounded down, and the seconds since the full hour, assuming a constant offset.
    fn second_of_hour(&self, at: Timestamp) -> (i64, i64) {
        let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
        (second, (second + i64::from(self.timezone.to_offset(at).seconds())).rem_euclid(3600))
    }

    fn hour_start(&self, at: Timestamp) -> Option<Timestamp> {
        let (second, into_hour) = self.second_of_hour(at);
        let struck = Timestamp::from_second(second - into_hour).ok()?;
        let jump = self
            .timezone
            .preceding(second_after(at)?)
            .map(|change| change.timestamp())
            .skip_while(|&change| change > at)
            .take_while(|&change| change > struck)
            .find(|&change| self.is_jump(change));
        Some(jump.unwrap_or(struck))
    }

    fn hour_end(&self, at: Timestamp) -> Option<Timestamp> {
        let (second, into_hour) = self.second_of_hour(at);
        let strikes = Timestamp::from_second(second - into_hour + 3600).ok()?;
        let jump = self
            .timezone
            .following(at)
            .map(|change| change.timestamp())
            .take_while(|&change| change < strikes)
            .find(|&change| self.is_jump(change));
        Some(jump.unwrap_or(strikes))
    }

    /// Whether the clock jumps at a transition. Some transitions only change the zone's abbreviation.
    fn is_jump(&self, change: Timestamp) -> bool {
        Timestamp::from_nanosecond(change.as_nanosecond() - 1)
            .is_ok_and(|before| self.timezone.to_offset(before) != self.timezone.to_offset(change))
    }
}

fn second_after(at: Timestamp) -> Option<Timestamp> {
    at.checked_add(jiff::SignedDuration::from_secs(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::zone;

    fn calendar(name: &str) -> Calendar {
        Calendar::new(zone::find(name).unwrap())
    }

    fn day(zone: &str, date: &str) -> (String, i64) {
        let calendar = calendar(zone);
        let start = calendar.day_start(date.parse().unwrap()).unwrap();
        let end = calendar.next(start, Unit::Day).unwrap();
        (start.to_string(), (end.as_second() - start.as_second()) / 60)
    }

    #[test]
    fn days_are_as_long_as_the_zone_makes_them() {
        assert_eq!(day("Europe/Berlin", "2026-03-29"), ("2026-03-28T23:00:00Z".to_owned(), 23 * 60));
        assert_eq!(day("Europe/Berlin", "2026-10-25"), ("2026-10-24T22:00:00Z".to_owned(), 25 * 60));
        assert_eq!(day("America/New_York", "2026-03-08").1, 23 * 60);
        assert_eq!(day("America/New_York", "2026-11-01").1, 25 * 60);
        assert_eq!(day("Australia/Lord_Howe", "2026-04-05").1, 24 * 60 + 30);
        assert_eq!(day("Australia/Lord_Howe", "2026-10-04").1, 23 * 60 + 30);
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_begins_at_the_jump() {
        assert_eq!(day("America/Sao_Paulo", "2018-11-04"), ("2018-11-04T03:00:00Z".to_owned(), 23 * 60));
        // 23:30 became 00:30: half an hour of each date is missing.
        assert_eq!(day("America/Toronto", "1919-03-31"), ("1919-03-31T04:30:00Z".to_owned(), 23 * 60 + 30));
        assert_eq!(day("America/Toronto", "1919-03-30").1, 23 * 60 + 30);
    }

    #[test]
    fn a_day_whose_midnight_comes_twice_begins_at_the_first() {
        // At 00:01 the clock went back to 23:01.
        assert_eq!(day("America/St_Johns", "2006-10-29"), ("2006-10-29T02:30:00Z".to_owned(), 25 * 60));
        let calendar = calendar("America/St_Johns");
        let second_evening = "2006-10-29T02:45:00Z".parse().unwrap();
        assert_eq!(calendar.timezone.to_datetime(second_evening).date().to_string(), "2006-10-28");
        assert_eq!(calendar.label(second_evening, Unit::Day).unwrap(), "2006-10-29");
    }

    #[test]
    fn a_skipped_day_is_empty() {
        for (zone, skipped, next) in
            [("Pacific/Apia", "2011-12-30", "2011-12-31"), ("Pacific/Kwajalein", "1993-08-21", "1993-08-22")]
        {
            let calendar = calendar(zone);
            let start = calendar.day_start(skipped.parse().unwrap()).unwrap();
            assert_eq!(start, calendar.day_start(next.parse().unwrap()).unwrap());
            assert_eq!(calendar.label(start, Unit::Day).unwrap(), next);
            let before = start.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap();
            assert_eq!(calendar.next(before, Unit::Day).unwrap(), start);
        }
    }

    #[test]
    fn hours_end_at_the_full_hour_and_at_jumps() {
        let kolkata = calendar("Asia/Kolkata");
        let at = "2026-03-01T12:45:00.5Z".parse().unwrap();
        assert_eq!(kolkata.floor(at, Unit::Hour).unwrap().to_string(), "2026-03-01T12:30:00Z");
        assert_eq!(kolkata.next(at, Unit::Hour).unwrap().to_string(), "2026-03-01T13:30:00Z");
        assert_eq!(kolkata.label(at, Unit::Hour).unwrap(), "2026-03-01T1230Z");
        // Lord Howe goes from 02:00+11 back to 01:30+10:30: an hour, then half an hour, then an hour.
        let lord_howe = calendar("Australia/Lord_Howe");
        let mut at: Timestamp = "2026-04-04T14:00:00Z".parse().unwrap();
        let mut minutes = Vec::new();
        for _ in 0..4 {
            let end = lord_howe.next(at, Unit::Hour).unwrap();
            assert_eq!(lord_howe.floor(at, Unit::Hour).unwrap(), at);
            minutes.push((end.as_second() - at.as_second()) / 60);
            at = end;
        }
        assert_eq!(minutes, [60, 30, 60, 60]);
    }

    #[test]
    fn units_have_their_calendar_names() {
        let utc = calendar("UTC");
        let at = "2026-01-01T12:30:00Z".parse().unwrap();
        let names: Vec<_> = Unit::OF_DAYS.iter().map(|&u| utc.label(at, u).unwrap()).collect();
        assert_eq!(names, ["2026-01-01", "2026-W01", "2026-01", "2026-Q1", "2026"]);
        let at = "2027-01-01T12:30:00Z".parse().unwrap();
        assert_eq!(utc.label(at, Unit::Week).unwrap(), "2026-W53");
        assert_eq!(instant_label("2026-03-01T12:30:05Z".parse().unwrap()), "2026-03-01T123005Z");
        assert_eq!(instant_label("2026-03-01T12:30:00.5Z".parse().unwrap()), "2026-03-01T123000.5Z");
    }

    #[test]
    fn units_follow_each_other_around_every_transition_of_every_zone() {
        for name in zone::database().available() {
            let calendar = calendar(name.as_str());
            for change in calendar.timezone.following(Timestamp::MIN).step_by(3).take(60) {
                for offset in [-3_600, -1, 0, 1_800] {
                    let at = change.timestamp().checked_add(jiff::SignedDuration::from_secs(offset)).unwrap();
                    for unit in [Unit::Hour, Unit::Day] {
                        let start = calendar.floor(at, unit).unwrap();
                        let end = calendar.next(at, unit).unwrap();
                        assert!(start <= at && at < end, "{} {at} {unit:?}: {start} {end}", name.as_str());
                        assert_eq!(calendar.floor(start, unit), Some(start), "{} {at} {unit:?}", name.as_str());
                        assert_eq!(calendar.next(start, unit), Some(end), "{} {at} {unit:?}", name.as_str());
                        assert_eq!(calendar.label(start, unit), calendar.label(at, unit));
                    }
                }
            }
        }
    }
}
