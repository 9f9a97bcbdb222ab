//! Divides the window into partitions.
//!
//! Partitions are the calendar units that overlap the window, in its time zone; the first and the last are clipped to the
//! window. They tile it: no gap, no overlap, none empty. Their labels are unique, because a label names the folder of a
//! partition's shards.

use std::collections::HashSet;

use super::{Partition, PlanError};
use crate::job::{PartitionBy, Window};
use crate::time::calendar::instant_label;
use crate::time::{Calendar, Unit};

/// Maximum number of partitions of a window. Each costs a folder, a shard and a commit record. The limit allows eleven
/// years of hours, or 270 years of days.
pub(crate) const MAX_PARTITIONS: usize = 100_000;

/// The calendar unit; `None` for a single partition.
pub(crate) fn unit(by: PartitionBy) -> Option<Unit> {
    match by {
        PartitionBy::None => None,
        PartitionBy::Hour => Some(Unit::Hour),
        PartitionBy::Day => Some(Unit::Day),
        PartitionBy::Week => Some(Unit::Week),
        PartitionBy::Month => Some(Unit::Month),
        PartitionBy::Quarter => Some(Unit::Quarter),
        PartitionBy::Year => Some(Unit::Year),
    }
}

/// Cuts a window at the boundaries of a unit in the window's zone.
///
/// # Errors
/// [`PlanError::TooManyPartitions`] beyond [`MAX_PARTITIONS`], without building them; [`PlanError::OutOfRange`] if the
/// calendar ends before the window does; [`PlanError::LabelTwice`] if two partitions would share a folder.
pub(crate) fn partitions(window: &Window, by: PartitionBy) -> Result<Vec<Partition>, PlanError> {
    let Some(unit) = unit(by) else {
        return Ok(vec![Partition { label: "all".to_owned(), start: window.start, end: window.end }]);
    };
    let estimate = count(window, unit);
    // The estimate ignores clock changes, which add or remove a few partitions.
    if estimate > 2 * MAX_PARTITIONS as u64 {
        return Err(PlanError::TooManyPartitions { unit: unit.name(), count: estimate });
    }
    let calendar = Calendar::new(window.timezone.clone());
    let mut cuts = Vec::new();
    match unit {
        Unit::Hour => cut_hours(&calendar, window, &mut cuts)?,
        _ => cut_days(&calendar, window, unit, &mut cuts)?,
    }
    if cuts.len() > MAX_PARTITIONS {
        return Err(PlanError::TooManyPartitions { unit: unit.name(), count: cuts.len() as u64 });
    }
    let mut seen = HashSet::with_capacity(cuts.len());
    match cuts.iter().find(|partition| !seen.insert(partition.label.as_str())) {
        Some(twice) => Err(PlanError::LabelTwice { label: twice.label.clone() }),
        None => Ok(cuts),
    }
}

/// Estimates the number of units that the window touches, without iterating over them.
#[expect(clippy::cast_possible_truncation, reason = "a window of all of time has fewer than 2^53 hours")]
fn count(window: &Window, unit: Unit) -> u64 {
    let days = |average: f64| (window.end.as_second() - window.start.as_second()) as f64 / 86_400.0 / average;
    let units = match unit {
        Unit::Hour => days(1.0 / 24.0),
        Unit::Day => days(1.0),
        Unit::Week => days(7.0),
        Unit::Month => days(30.436_875),
        Unit::Quarter => days(91.310_625),
        Unit::Year => days(365.2425),
    };
    units.ceil().max(1.0) as u64
}

fn cut_hours(calendar: &Calendar, window: &Window, cuts: &mut Vec<Partition>) -> Result<(), PlanError> {
    let mut unit_start = calendar.floor(window.start, Unit::Hour).ok_or(PlanError::OutOfRange)?;
    let mut start = window.start;
    while start < window.end {
        // Beyond the calendar's last hour, the rest of the window is one partition.
        let end = calendar.next(start, Unit::Hour).map_or(window.end, |end| end.min(window.end));
        cuts.push(Partition { label: instant_label(unit_start), start, end });
        (start, unit_start) = (end, end);
    }
    Ok(())
}

fn cut_days(calendar: &Calendar, window: &Window, unit: Unit, cuts: &mut Vec<Partition>) -> Result<(), PlanError> {
    let mut first = calendar.first_date(window.start, unit).ok_or(PlanError::OutOfRange)?;
    let mut start = window.start;
    while start < window.end {
        let next = unit.step(first, 1);
        let end = next.and_then(|next| calendar.day_start(next)).map_or(window.end, |end| end.min(window.end));
        // A day that the zone skipped gets no partition.
        if end > start {
            cuts.push(Partition { label: unit.label(first), start, end });
        }
        start = end;
        match next {
            Some(next) => first = next,
            None if start < window.end => return Err(PlanError::OutOfRange),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::zone;
    use jiff::Timestamp;
    use proptest::prelude::*;

    const ALL: [PartitionBy; 7] = [
        PartitionBy::None,
        PartitionBy::Hour,
        PartitionBy::Day,
        PartitionBy::Week,
        PartitionBy::Month,
        PartitionBy::Quarter,
        PartitionBy::Year,
    ];

    fn window(start: &str, end: &str, zone: &str) -> Window {
        Window {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            label: String::new(),
            timezone: zone::find(zone).unwrap(),
        }
    }

    fn cut(start: &str, end: &str, zone: &str, by: PartitionBy) -> Vec<(String, i64)> {
        let cuts = partitions(&window(start, end, zone), by).unwrap();
        cuts.into_iter().map(|p| (p.label, (p.end.as_second() - p.start.as_second()) / 60)).collect()
    }

    fn assert_tiles(window: &Window, by: PartitionBy, cuts: &[Partition]) {
        let context = format!("{:?} {:?} {by:?}", window.timezone.iana_name(), window.start);
        assert_eq!(cuts.first().unwrap().start, window.start, "{context}");
        assert_eq!(cuts.last().unwrap().end, window.end, "{context}");
        assert!(cuts.windows(2).all(|pair| pair[0].end == pair[1].start), "{context}");
        assert!(cuts.iter().all(|p| p.start < p.end), "{context}");
        let labels: HashSet<_> = cuts.iter().map(|p| &p.label).collect();
        assert_eq!(labels.len(), cuts.len(), "{context}");
    }

    #[test]
    fn a_year_of_hours_is_8760_partitions() {
        for zone in ["UTC", "Europe/Berlin", "Asia/Kathmandu"] {
            let calendar = Calendar::new(zone::find(zone).unwrap());
            let start = calendar.day_start("2026-01-01".parse().unwrap()).unwrap();
            let end = calendar.next(start, Unit::Year).unwrap();
            let window = Window { start, end, label: String::new(), timezone: calendar.timezone };
            let cuts = partitions(&window, PartitionBy::Hour).unwrap();
            assert_eq!(cuts.len(), 8_760);
            assert_tiles(&window, PartitionBy::Hour, &cuts);
        }
    }

    #[test]
    fn hours_of_days_with_a_clock_change_are_each_their_own() {
        let labels = |cuts: Vec<(String, i64)>| cuts.into_iter().map(|c| c.0).collect::<Vec<_>>();
        let spring = cut("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "Europe/Berlin", PartitionBy::Hour);
        assert_eq!((spring.len(), labels(spring)[2].as_str()), (23, "2026-03-29T0100Z"));
        assert_eq!(cut("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "Europe/Berlin", PartitionBy::Hour).len(), 25);
        assert_eq!(
            cut("2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", "America/New_York", PartitionBy::Hour).len(),
            23
        );
        assert_eq!(
            cut("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "America/New_York", PartitionBy::Hour).len(),
            25
        );
        let fold = cut("2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z", "Australia/Lord_Howe", PartitionBy::Hour);
        assert_eq!(fold.iter().filter(|c| c.1 == 30).map(|c| c.0.as_str()).collect::<Vec<_>>(), ["2026-04-04T1500Z"]);
        assert_eq!((fold.len(), fold[3].0.as_str()), (25, "2026-04-04T1530Z"));
        let gap = cut("2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z", "Australia/Lord_Howe", PartitionBy::Hour);
        assert_eq!(gap.iter().filter(|c| c.1 == 30).map(|c| c.0.as_str()).collect::<Vec<_>>(), ["2026-10-03T1530Z"]);
        assert_eq!(gap.len(), 24);
    }

    #[test]
    fn days_have_23_24_or_25_hours() {
        assert_eq!(
            cut("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z", "Europe/Berlin", PartitionBy::Day),
            [("2026-03-28", 1440), ("2026-03-29", 1380), ("2026-03-30", 1440)].map(|(l, m)| (l.to_owned(), m))
        );
        assert_eq!(
            cut("2026-11-01T04:00:00Z", "2026-11-03T05:00:00Z", "America/New_York", PartitionBy::Day),
            [("2026-11-01", 1500), ("2026-11-02", 1440)].map(|(l, m)| (l.to_owned(), m))
        );
        assert_eq!(
            cut("2026-04-04T13:00:00Z", "2026-04-06T13:30:00Z", "Australia/Lord_Howe", PartitionBy::Day),
            [("2026-04-05", 1470), ("2026-04-06", 1440)].map(|(l, m)| (l.to_owned(), m))
        );
    }

    #[test]
    fn a_day_that_the_zone_skips_is_no_partition() {
        let apia = cut("2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z", "Pacific/Apia", PartitionBy::Day);
        assert_eq!(apia, [("2011-12-29", 1440), ("2011-12-31", 1440)].map(|(l, m)| (l.to_owned(), m)));
        let kwajalein = cut("1993-08-20T12:00:00Z", "1993-08-22T12:00:00Z", "Pacific/Kwajalein", PartitionBy::Day);
        assert_eq!(kwajalein, [("1993-08-20", 1440), ("1993-08-22", 1440)].map(|(l, m)| (l.to_owned(), m)));
    }

    #[test]
    fn partial_units_keep_the_units_label() {
        assert_eq!(
            cut("2026-03-05T10:30:00Z", "2026-03-05T12:15:00Z", "UTC", PartitionBy::Hour),
            [("2026-03-05T1000Z", 30), ("2026-03-05T1100Z", 60), ("2026-03-05T1200Z", 15)]
                .map(|(l, m)| (l.to_owned(), m))
        );
        assert_eq!(
            cut("2026-03-05T10:30:00Z", "2026-03-05T12:15:00Z", "UTC", PartitionBy::Month),
            [("2026-03".to_owned(), 105)]
        );
        assert_eq!(
            cut("2026-03-05T10:30:00Z", "2026-03-05T12:15:00Z", "UTC", PartitionBy::None),
            [("all".to_owned(), 105)]
        );
        let kolkata = cut("2026-03-05T10:00:00Z", "2026-03-05T12:00:00Z", "Asia/Kolkata", PartitionBy::Hour);
        assert_eq!(
            kolkata,
            [("2026-03-05T0930Z", 30), ("2026-03-05T1030Z", 60), ("2026-03-05T1130Z", 30)]
                .map(|(l, m)| (l.to_owned(), m))
        );
    }

    #[test]
    fn too_many_partitions_are_counted_and_not_built() {
        let error =
            partitions(&window("0000-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "UTC"), PartitionBy::Hour).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the window has 87649440 partitions of an hour, and 100000 is the limit; choose a larger `partition.by` or a smaller window"
        );
        let just_over = window("2026-01-01T00:00:00Z", "2037-05-30T01:00:00Z", "UTC");
        let error = partitions(&just_over, PartitionBy::Hour).unwrap_err();
        assert!(matches!(error, PlanError::TooManyPartitions { count: 100_009, .. }), "{error}");
        let all = window("0000-01-01T00:00:00Z", "9999-12-30T22:00:00Z", "UTC");
        assert_eq!(partitions(&all, PartitionBy::Year).unwrap().len(), 10_000);
    }

    #[test]
    fn every_zone_is_tiled_by_every_unit_around_its_clock_changes() {
        let around = jiff::SignedDuration::from_hours(40);
        for name in zone::database().available() {
            let timezone = zone::find(name.as_str()).unwrap_or(jiff::tz::TimeZone::UTC);
            // Enough to meet every kind of change that a zone ever made.
            for change in timezone.following(Timestamp::MIN).step_by(3).take(25) {
                let at = change.timestamp();
                let window = Window {
                    start: at.checked_sub(around).unwrap(),
                    end: at.checked_add(around).unwrap(),
                    label: String::new(),
                    timezone: timezone.clone(),
                };
                for by in ALL {
                    assert_tiles(&window, by, &partitions(&window, by).unwrap());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_window_of_any_zone_is_tiled(
            zone_index in any::<prop::sample::Index>(),
            start in -62_000_000_000_000_000_i64..253_000_000_000_000_000,
            length in 1_i64..40_000_000_000_000,
        ) {
            let names: Vec<String> = zone::database().available().map(|n| n.to_string()).collect();
            let window = Window {
                start: Timestamp::from_microsecond(start).unwrap(),
                end: Timestamp::from_microsecond(start + length).unwrap(),
                label: String::new(),
                timezone: zone::find(zone_index.get::<String>(&names)).unwrap_or(jiff::tz::TimeZone::UTC),
            };
            for by in ALL {
                assert_tiles(&window, by, &partitions(&window, by).unwrap());
            }
        }
    }
}
