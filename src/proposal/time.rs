//! Finds the columns that may be the time, and how they are written.
//!
//! A column is a candidate only if a run could read each of its values, with `auto`, as a count since 1970 that lies in this
//! age, or in a common pattern. Names decide between candidates.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::EntryTime;
use super::probe::ReadColumn;
use crate::encode::CellTexts;
use crate::logical::is_number;
use crate::source::instants::{Instants, instants};
use crate::spec::time_format_text;
use crate::time::parse::{ReadByZone, read_by_zone};
use crate::time::suggest::PATTERNS;
use crate::time::{TimeFormat, TimeParser, rfc3339};

/// 2000-01-01 and 2100-01-01: counts since 1970 outside of these years are more likely something else.
const PLAUSIBLE_SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// Names of times, without case and punctuation, those first that say when something happened.
const NAMES: [&str; 30] = [
    "occurredat",
    "eventtime",
    "eventtimestamp",
    "timestamp",
    "ts",
    "time",
    "datetime",
    "eventdate",
    "startedat",
    "starttime",
    "starttimeunixnano",
    "timeunixnano",
    "openedat",
    "createdat",
    "creationtime",
    "created",
    "systemtime",
    "systemtimestamp",
    "timegenerated",
    "receivedat",
    "ingestedat",
    "loggedat",
    "logtime",
    "requesttime",
    "observedtimeunixnano",
    "insertedat",
    "datetimeutc",
    "utc",
    "t",
    "date",
];

/// Rank of a name that is not one of [`NAMES`] and yet sounds like a time.
const TIMELY: usize = NAMES.len();

/// Rank of any other name.
const UNTIMELY: usize = TIMELY + 1;

/// Values that formats are looked for in, before all values are read with them.
const TRIED_VALUES: usize = 20;

/// How certain it is that the column is the time of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Certainty {
    /// The name says so, every row has one, and no other column comes near.
    Sure,
    /// The name or the values say so, and others are possible.
    Likely,
    /// The values are times.
    Unsure,
}

impl Certainty {
    /// As in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sure => "sure",
            Self::Likely => "likely",
            Self::Unsure => "unsure",
        }
    }
}

/// A column that may be the time, or several that are joined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Names or paths.
    pub columns: Vec<String>,
    /// What `time.format` may be, the one that is proposed first.
    pub formats: Vec<TimeFormat>,
    /// Whether the values have no zone.
    pub is_local: bool,
    /// Whether the values are days without a time of day.
    pub is_date: bool,
    /// Earliest and latest value.
    pub min: Timestamp,
    pub max: Timestamp,
    pub nulls: usize,
    pub rows: usize,
    /// Whether the values are numbers that could be something else.
    is_count: bool,
    rank: usize,
    depth: usize,
}

impl Candidate {
    /// The keys of the entry.
    pub(super) fn entry(&self) -> EntryTime {
        let format = self.formats.first().map_or("auto".into(), time_format_text);
        EntryTime { columns: self.columns.clone(), format: format.into_owned(), has_zone_key: self.is_local }
    }

    /// The columns as messages name them.
    pub(crate) fn name(&self) -> String {
        self.columns.join(" + ")
    }

    /// What must come first.
    fn order(&self) -> (bool, usize, bool, bool, usize, usize, Timestamp) {
        let is_untimely = self.rank == UNTIMELY;
        (is_untimely && self.is_count, self.nulls, is_untimely, self.is_date, self.rank, self.depth, self.min)
    }
}

/// How certain the first candidate is.
pub(super) fn certainty(candidates: &[Candidate]) -> Option<Certainty> {
    let (first, others) = candidates.split_first()?;
    let is_rival = |other: &Candidate| {
        other.nulls == 0 && other.rank < UNTIMELY && other.is_date == first.is_date && other.depth <= first.depth
    };
    Some(match first {
        first if first.nulls > 0 || first.formats.len() > 1 || first.rank == UNTIMELY && !others.is_empty() => {
            Certainty::Unsure
        }
        first if first.rank == UNTIMELY && first.is_count => Certainty::Unsure,
        first if first.rank >= TIMELY || others.iter().any(is_rival) => Certainty::Likely,
        _ => Certainty::Sure,
    })
}

/// The candidates among columns, the best first.
pub(super) fn candidates(columns: &[ReadColumn]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = columns.iter().filter_map(of_column).collect();
    found.extend(joined(columns));
    // Columns that are joined are no times of their own.
    let joined: Vec<String> = found.iter().filter(|c| c.columns.len() > 1).flat_map(|c| c.columns.clone()).collect();
    found.retain(|c| c.columns.len() > 1 || !c.columns.iter().any(|name| joined.contains(name)));
    found.sort_by_key(Candidate::order);
    found
}

fn of_column(column: &ReadColumn) -> Option<Candidate> {
    candidate(vec![column.name().to_owned()], &column.field, &column.arrays, column.depth)
}

/// Reads all values with each format that may fit.
fn candidate(columns: Vec<String>, field: &Field, arrays: &[ArrayRef], depth: usize) -> Option<Candidate> {
    let data_type = field.data_type();
    // A catalog cannot name a column without a name.
    let is_named = columns.iter().all(|name| !name.trim().is_empty());
    if !is_named || data_type.is_nested() || matches!(data_type, DataType::Null | DataType::Boolean) {
        return None;
    }
    let is_typed = matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    let values = if is_typed { Vec::new() } else { first_values(field, arrays)? };
    let formats = if is_typed { vec![TimeFormat::Auto] } else { plausible_formats(field, &values) };
    let mut fitting = Vec::new();
    let mut bounds = None;
    for format in formats {
        if let Some(range) = range_of(field, arrays, &format) {
            bounds.get_or_insert(range);
            fitting.push(format);
        }
    }
    let (min, max) = bounds?;
    let first = fitting.first()?;
    // `auto` is what it says; of patterns, all that fit are told.
    if *first == TimeFormat::Auto || first.is_epoch() {
        fitting.truncate(1);
    }
    let format = fitting.first()?;
    let (is_date, is_local) = match (format, data_type) {
        (_, DataType::Timestamp(_, zone)) => (false, zone.is_none()),
        (_, DataType::Date32 | DataType::Date64) => (true, false),
        (TimeFormat::Auto, _) => {
            let written: Vec<_> = values.iter().filter_map(|value| rfc3339::parse(value.as_bytes()).ok()).collect();
            let is_date = written.iter().all(|written| written.date_only);
            (is_date, !is_date && written.iter().any(|written| written.offset_second.is_none()))
        }
        (format, _) => {
            let by_zone = read_by_zone(format);
            (by_zone == ReadByZone::Dates, by_zone == ReadByZone::Times)
        }
    };
    Some(Candidate {
        rank: columns.iter().map(|name| rank(name)).min().unwrap_or(UNTIMELY),
        is_count: data_type.is_numeric() || is_number(field) || format.is_epoch(),
        columns,
        is_local,
        is_date,
        min,
        max,
        nulls: arrays.iter().map(Array::logical_null_count).sum(),
        rows: arrays.iter().map(Array::len).sum(),
        formats: fitting,
        depth,
    })
}

/// The texts of the first values; `None` if there is none.
fn first_values(field: &Field, arrays: &[ArrayRef]) -> Option<Vec<String>> {
    let mut values = Vec::new();
    for array in arrays {
        let mut texts = CellTexts::new(field, array.as_ref())?;
        let nulls = array.logical_nulls();
        for row in 0..array.len() {
            if values.len() == TRIED_VALUES {
                return Some(values);
            }
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let mut text = Vec::new();
            texts.append(row, &mut text);
            values.push(String::from_utf8_lossy(&text).into_owned());
        }
    }
    (!values.is_empty()).then_some(values)
}

/// The formats that read these values.
fn plausible_formats(field: &Field, values: &[String]) -> Vec<TimeFormat> {
    let is_numeric = field.data_type().is_numeric() || is_number(field);
    let epochs = [TimeFormat::EpochS, TimeFormat::EpochMs, TimeFormat::EpochUs, TimeFormat::EpochNs];
    let auto = (!is_numeric).then_some(TimeFormat::Auto);
    let exact = PATTERNS.iter().map(|pattern| (*pattern).to_owned());
    // Fractions of seconds, behind a dot or a comma.
    let seconds = PATTERNS.iter().chain(&["%Y-%m-%d %H:%M:%S"]).filter(|pattern| pattern.contains("%S"));
    let fractions = seconds.flat_map(|pattern| ["%S%.f", "%S,%f"].map(|fraction| pattern.replace("%S", fraction)));
    let patterns = exact.chain(fractions).map(TimeFormat::Pattern);
    let fits = |format: &TimeFormat| {
        let parser = TimeParser::new(format.clone(), TimeZone::UTC);
        values.iter().all(|value| {
            parser.text(value).is_ok_and(|read| *format == TimeFormat::Auto || is_plausible(read.at.as_second()))
        })
    };
    let mut fitting: Vec<TimeFormat> = Vec::new();
    for format in auto.into_iter().chain(epochs).chain(patterns) {
        // What reads fractions adds nothing where none are written.
        let has_fraction = matches!(&format, TimeFormat::Pattern(p) if p.contains("%S%.f") || p.contains("%S,%f"));
        if (!has_fraction || fitting.is_empty()) && fits(&format) {
            fitting.push(format);
        }
    }
    fitting
}

/// Earliest and latest value, if the format reads all values.
fn range_of(field: &Field, arrays: &[ArrayRef], format: &TimeFormat) -> Option<(Timestamp, Timestamp)> {
    let parser = TimeParser::new(format.clone(), TimeZone::UTC);
    let mut range: Option<(Timestamp, Timestamp)> = None;
    for array in arrays {
        let read = instants(field, array, &parser, TimeUnit::Microsecond).ok()?;
        if !read.bad.is_empty() {
            return None;
        }
        if let Some((min, max)) = bounds(field, array, &parser, &read) {
            range = Some(range.map_or((min, max), |(first, last)| (first.min(min), last.max(max))));
        }
    }
    let (min, max) = range?;
    let is_this_age = is_plausible(min.as_second()) && is_plausible(max.as_second());
    (*format == TimeFormat::Auto || is_this_age).then_some((min, max))
}

/// Earliest and latest of instants that were read in microseconds: in nanoseconds, if those reach that far.
pub(super) fn bounds(
    field: &Field,
    array: &ArrayRef,
    parser: &TimeParser,
    read: &Instants,
) -> Option<(Timestamp, Timestamp)> {
    let ends = |values| Some((arrow::compute::min(values)?, arrow::compute::max(values)?));
    let (min, max) = ends(&read.values)?;
    // Years 1678 to 2261.
    let has_nanoseconds = [min, max].iter().all(|at| at.checked_mul(1_000).is_some());
    if has_nanoseconds && let Ok(finer) = instants(field, array, parser, TimeUnit::Nanosecond) {
        let (min, max) = ends(&finer.values)?;
        return Some((Timestamp::from_nanosecond(min.into()).ok()?, Timestamp::from_nanosecond(max.into()).ok()?));
    }
    Some((Timestamp::from_microsecond(min).ok()?, Timestamp::from_microsecond(max).ok()?))
}

fn is_plausible(second: i64) -> bool {
    PLAUSIBLE_SECONDS.contains(&second)
}

/// Pairs of columns that are a day and a time of day.
fn joined(columns: &[ReadColumn]) -> Vec<Candidate> {
    let texts: Vec<(&ReadColumn, Vec<String>)> = columns
        .iter()
        .filter(|column| column.depth == 0 && column.field.data_type() == &DataType::Utf8View)
        .filter_map(|column| Some((column, first_values(&column.field, &column.arrays)?)))
        .collect();
    let is_time_of_day = |text: &str| {
        let (clock, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
        let parts: Vec<&str> = clock.split(':').collect();
        let is_two = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        matches!(parts.len(), 2 | 3) && parts.iter().all(is_two) && fraction.bytes().all(|b| b.is_ascii_digit())
    };
    let mut found = Vec::new();
    for (clock, _) in texts.iter().filter(|(_, values)| values.iter().all(|value| is_time_of_day(value))) {
        for (day, _) in &texts {
            if day.name() == clock.name() || !of_column(day).is_some_and(|day| day.is_date) {
                continue;
            }
            let arrays: Option<Vec<ArrayRef>> =
                day.arrays.iter().zip(&clock.arrays).map(|(day, clock)| joined_texts(day, clock)).collect();
            let field = Field::new("joined", DataType::Utf8, true);
            let names = vec![day.name().to_owned(), clock.name().to_owned()];
            found.extend(arrays.and_then(|arrays| candidate(names, &field, &arrays, 0)));
        }
    }
    found
}

fn joined_texts(day: &ArrayRef, clock: &ArrayRef) -> Option<ArrayRef> {
    let (day, clock) =
        (arrow::array::AsArray::as_string_view_opt(day)?, arrow::array::AsArray::as_string_view_opt(clock)?);
    let joined = day.iter().zip(clock.iter()).map(|(day, clock)| Some(format!("{} {}", day?, clock?)));
    Some(std::sync::Arc::new(joined.collect::<StringArray>()))
}

/// Position of a column's or path's last name that tells something among the names of times.
fn rank(path: &str) -> usize {
    let last = path.rsplit('.').find(|name| !name.starts_with('$')).unwrap_or(path);
    let plain: String = last.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if let Some(rank) = NAMES.iter().position(|name| *name == plain) {
        return rank;
    }
    let is_timely =
        ["time", "date", "stamp", "unix", "epoch", "created", "modified"].iter().any(|part| plain.contains(part))
            || ["_at", "_ts", "_on", "At", "Ts"].iter().any(|end| last.ends_with(end));
    if is_timely { TIMELY } else { UNTIMELY }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn text(name: &str, values: &[Option<&str>]) -> ReadColumn {
        let array: ArrayRef = Arc::new(StringViewArray::from(values.to_vec()));
        ReadColumn {
            field: Field::new(name, DataType::Utf8View, true),
            depth: name.matches('.').count(),
            arrays: vec![array],
        }
    }

    fn integers(name: &str, values: &[i64]) -> ReadColumn {
        let array: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        ReadColumn { field: Field::new(name, DataType::Int64, true), depth: 0, arrays: vec![array] }
    }

    /// Names of the candidates in order, and how certain the first is.
    fn found(columns: &[ReadColumn]) -> (Vec<String>, Option<Certainty>) {
        let candidates = candidates(columns);
        (candidates.iter().map(Candidate::name).collect(), certainty(&candidates))
    }

    const EARLY: &str = "2026-03-05T10:00:00Z";
    const LATE: &str = "2026-03-05T11:00:00Z";

    #[test]
    fn names_and_nulls_decide_between_candidates() {
        let (of, some) = (text, [Some(EARLY), Some(LATE)]);
        for (columns, expected, is) in [
            (vec![of("x", &some)], vec!["x"], Certainty::Likely),
            (vec![of("ts", &some)], vec!["ts"], Certainty::Sure),
            (vec![of("my_time", &some)], vec!["my_time"], Certainty::Likely),
            (vec![of("created_at", &some), of("eventTime", &some)], vec!["eventTime", "created_at"], Certainty::Likely),
            (vec![of("ts", &[Some(EARLY), None]), of("created_at", &some)], vec!["created_at", "ts"], Certainty::Sure),
            (vec![of("ts", &[Some(EARLY), None])], vec!["ts"], Certainty::Unsure),
            (vec![of("a", &some), of("b", &some)], vec!["a", "b"], Certainty::Unsure),
            (
                vec![of("b_time", &[Some(LATE)]), of("a_time", &[Some(EARLY)])],
                vec!["a_time", "b_time"],
                Certainty::Likely,
            ),
            (vec![of("date", &[Some("2026-03-05")]), of("x", &[Some(EARLY)])], vec!["date", "x"], Certainty::Sure),
            (vec![of("t.$date", &some), of("other", &some)], vec!["t.$date", "other"], Certainty::Sure),
            (vec![of("ts", &[Some("05/03/2026")])], vec!["ts"], Certainty::Unsure),
        ] {
            assert_eq!(
                found(&columns),
                (expected.iter().map(|name| (*name).to_owned()).collect(), Some(is)),
                "{expected:?}"
            );
        }
    }

    #[test]
    fn a_number_is_a_time_if_it_lies_in_this_age() {
        for (value, format) in [
            (1_772_366_400, TimeFormat::EpochS),
            (1_772_366_400_000, TimeFormat::EpochMs),
            (1_772_366_400_000_000, TimeFormat::EpochUs),
            (1_772_366_400_000_000_000, TimeFormat::EpochNs),
            (20_260_305, TimeFormat::Pattern("%Y%m%d".to_owned())),
        ] {
            let candidates = candidates(&[integers("ts", &[value])]);
            assert_eq!(candidates.first().map(|found| &found.formats), Some(&vec![format]), "{value}");
        }
        assert_eq!(found(&[integers("ts", &[7, 1_772_366_400])]), (vec![], None));
        // A count that nothing calls a time comes last.
        let columns = [integers("bytes", &[1_772_366_400]), text("x", &[Some(EARLY)])];
        assert_eq!(found(&columns), (vec!["x".to_owned(), "bytes".to_owned()], Some(Certainty::Unsure)));
    }

    #[test]
    fn a_day_and_a_time_of_day_are_one_time() {
        let (day, clock) =
            (text("date", &[Some("2026-03-05"), None]), text("time", &[Some("10:00:01"), Some("10:00")]));
        let candidates = candidates(&[day, clock]);
        let [joined] = candidates.as_slice() else { panic!("{candidates:?}") };
        assert_eq!((joined.name().as_str(), joined.nulls, joined.is_local), ("date + time", 1, true));
        assert_eq!(joined.min.to_string(), "2026-03-05T10:00:01Z");
        assert_eq!(found(&[text("time", &[Some("10:00:01")])]), (vec![], None));
    }

    #[test]
    fn times_without_a_zone_are_told() {
        for (value, is_local, is_date) in [
            (EARLY, false, false),
            ("2026-03-05 10:00:00", true, false),
            ("2026-03-05", false, true),
            ("05.03.2026", false, true),
        ] {
            let candidates = candidates(&[text("ts", &[Some(value)])]);
            let first = candidates.first().unwrap();
            assert_eq!((first.is_local, first.is_date), (is_local, is_date), "{value}");
        }
    }
}
