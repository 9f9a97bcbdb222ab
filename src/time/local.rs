//! Converts readings of a zone's clock to instants.
//!
//! A reading that occurs twice means the earlier instant; one that never occurs is shifted forward by the length of the gap
//! (RFC 5545 section 3.3.5, jiff's `Compatible`). Both are reported as ambiguous, because such rows must be counted.
//!
//! jiff converts one reading in a few hundred nanoseconds. Rows come by the million, in runs that share an offset, so
//! [`LocalClock`] caches the interval around the last result in which the clock did not change.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Seconds around a clock change in which every reading is converted by jiff. More than the sum of the largest offset
/// (26 h) and the largest change (a day, where a zone crossed the date line).
const UNSETTLED_SECONDS: i64 = 3 * 86_400;

/// The instant of one clock reading, in seconds since 1970-01-01T00:00:00Z, and whether the reading was ambiguous. `None`
/// outside the years of jiff (-9999 to 9999).
pub(crate) fn resolve(zone: &TimeZone, local_second: i64) -> Option<(i64, bool)> {
    let reading = Offset::UTC.to_datetime(Timestamp::from_second(local_second).ok()?);
    let candidates = zone.to_ambiguous_timestamp(reading);
    let ambiguous = candidates.is_ambiguous();
    Some((candidates.compatible().ok()?.as_second(), ambiguous))
}

/// [`resolve`] for many readings of one zone.
#[derive(Debug)]
pub(crate) struct LocalClock<'z> {
    zone: &'z TimeZone,
    /// Readings in `settled_from..settled_to` have `offset` and are not ambiguous.
    settled_from: i64,
    settled_to: i64,
    offset: i64,
}

impl<'z> LocalClock<'z> {
    /// A clock with an empty cache, or one that covers all time if the offset never changes.
    pub(crate) fn new(zone: &'z TimeZone) -> Self {
        match zone.to_fixed_offset() {
            Ok(offset) => {
                Self { zone, settled_from: i64::MIN, settled_to: i64::MAX, offset: i64::from(offset.seconds()) }
            }
            Err(_) => Self { zone, settled_from: 0, settled_to: 0, offset: 0 },
        }
    }

    /// Same as [`resolve`].
    #[inline]
    pub(crate) fn instant(&mut self, local_second: i64) -> Option<(i64, bool)> {
        if (self.settled_from..self.settled_to).contains(&local_second) {
            return Some((local_second.saturating_sub(self.offset), false));
        }
        self.unsettled(local_second)
    }

    #[cold]
    fn unsettled(&mut self, local_second: i64) -> Option<(i64, bool)> {
        let (second, ambiguous) = resolve(self.zone, local_second)?;
        if !ambiguous {
            let at = Timestamp::from_second(second).ok()?;
            // Both searches exclude the given instant, and a change at this very second counts as before it.
            let next = Timestamp::from_second(second.saturating_add(1)).ok()?;
            let change_before = self.zone.preceding(next).next().map(|t| t.timestamp().as_second());
            let change_after = self.zone.following(at).next().map(|t| t.timestamp().as_second());
            let from = change_before.map_or(i64::MIN, |s| s.saturating_add(UNSETTLED_SECONDS));
            let to = change_after.map_or(i64::MAX, |s| s.saturating_sub(UNSETTLED_SECONDS));
            // jiff knows neither transitions nor results outside its range.
            let from = from.max(Timestamp::MIN.as_second().saturating_add(UNSETTLED_SECONDS));
            let to = to.min(Timestamp::MAX.as_second().saturating_sub(UNSETTLED_SECONDS));
            if (from..to).contains(&local_second) {
                (self.settled_from, self.settled_to, self.offset) = (from, to, local_second.saturating_sub(second));
            }
        }
        Some((second, ambiguous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::zone::database;
    use proptest::prelude::*;

    #[test]
    fn remembering_changes_no_answer_around_any_transition_of_any_zone() {
        for name in database().available() {
            let zone = database().get(name.as_str()).unwrap();
            let mut clock = LocalClock::new(&zone);
            for transition in zone.following(Timestamp::MIN).step_by(2).take(120) {
                let at = transition.timestamp().as_second() + i64::from(transition.offset().seconds());
                for distance in [-400_000, -90_000, -3_601, -3_600, -1_800, -1, 0, 1, 1_800, 3_600, 90_000, 400_000] {
                    let reading = at + distance;
                    assert_eq!(clock.instant(reading), resolve(&zone, reading), "{} {reading}", name.as_str());
                }
            }
        }
    }

    #[test]
    fn a_reading_at_the_very_change_does_not_settle_the_season_before() {
        let zone = database().get("Europe/Berlin").unwrap();
        let mut clock = LocalClock::new(&zone);
        let three = Timestamp::from_second(1_774_753_200).unwrap().as_second(); // 2026-03-29T03:00:00, read as a clock
        for reading in [three, three - 3_600, three - 86_400, three - 90 * 86_400] {
            assert_eq!(clock.instant(reading), resolve(&zone, reading), "{reading}");
        }
        assert!(clock.instant(three - 3_600).unwrap().1, "02:00 never was");
    }

    proptest! {
        #[test]
        fn remembering_changes_no_answer(readings in prop::collection::vec(-70_000_000_000_i64..253_402_300_800, 1..200)) {
            for name in ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Asia/Kolkata"] {
                let zone = database().get(name).unwrap();
                let mut clock = LocalClock::new(&zone);
                for &reading in &readings {
                    if let Some(answer) = resolve(&zone, reading) {
                        prop_assert_eq!(clock.instant(reading), Some(answer));
                    }
                }
            }
        }
    }
}
