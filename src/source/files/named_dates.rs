//! Narrows down which partitions an unreadable file may have rows for, by the date in its name.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::path_time::named_days;
use crate::source::{Input, InputFacts, TimeRange, UnitFacts};

/// The periods in the dates of file names, if some files' times are unknown, but only if every readable file with a date in
/// its name has rows of that date only. One broken daily file then fails its day, and not the whole window. The dates are
/// in one of `zones`.
pub(super) fn coverage(
    inputs: &[Input],
    facts: &[InputFacts],
    zones: &[TimeZone],
) -> Vec<Option<(Timestamp, Timestamp)>> {
    if facts.iter().all(has_known_times) {
        return vec![None; inputs.len()];
    }
    let by_zone = |zone: &TimeZone| -> Option<Vec<Option<(Timestamp, Timestamp)>>> {
        let named: Vec<_> = inputs.iter().map(|input| named_interval(input.name(), zone)).collect();
        let mut witnesses = 0;
        for (named, facts) in named.iter().zip(facts) {
            let Some((start, end)) = named else { continue };
            if !has_known_times(facts) {
                continue;
            }
            for unit in &facts.units {
                match unit.times {
                    TimeRange::Within { min, max } if *start <= min && max < *end => witnesses += 1,
                    TimeRange::Empty if unit.rows == Some(0) => {}
                    TimeRange::Within { .. } | TimeRange::Empty | TimeRange::Unknown => return None,
                }
            }
        }
        (witnesses > 0).then_some(named)
    };
    zones.iter().find_map(by_zone).unwrap_or_else(|| vec![None; inputs.len()])
}

/// Whether a file was inspected to its end and every unit with rows has a time.
fn has_known_times(facts: &InputFacts) -> bool {
    let is_unknown = |unit: &UnitFacts| unit.times == TimeRange::Empty && unit.rows != Some(0);
    facts.problem.is_none() && !facts.units.iter().any(is_unknown)
}

fn named_interval(name: &str, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let (first, last) = named_days(name)?;
    let start = first.to_zoned(zone.clone()).ok()?.timestamp();
    let end = last.tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
    Some((start, end))
}
