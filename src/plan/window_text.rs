//! Parses the values of a window: dates, weeks, months, quarters, years, numbers of units, instants.
//!
//! Each function returns one value or one located mistake. [`super::window`] interprets the values in a time zone.

use jiff::Timestamp;
use jiff::civil::{Date, ISOWeekDate, Weekday};

use crate::diagnostic::{Diagnostic, Located, nearest};
use crate::time::{Unit, rfc3339};

const HELP_DATE: &str = "write it as YYYY-MM-DD, such as 2026-03-01";
const HELP_LAST: &str = "write a number and h, d, w or mo, such as 7d";

/// The mistake of a window outside jiff's range.
pub(super) fn out_of_range(text: &Located<String>) -> Diagnostic {
    Diagnostic::at(text.span.as_ref(), format!("`{}` is outside the supported range of time", text.value))
        .help(format!("a window lies between {} and {}", Timestamp::MIN, Timestamp::MAX))
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i16> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// A date.
pub(super) fn parse_date(text: &Located<String>) -> Result<Date, Diagnostic> {
    let wrong =
        |why: &str| Diagnostic::at(text.span.as_ref(), format!("`{}` is not a date{why}", text.value)).help(HELP_DATE);
    match rfc3339::parse(text.value.as_bytes()) {
        Ok(written) if written.date_only => {
            // jiff supports all years from 0000 to 9999.
            let (date, _) = text.value.split_at_checked(10).ok_or_else(|| wrong(""))?;
            date.parse::<Date>().map_err(|_| wrong(""))
        }
        Ok(_) => Err(wrong(" but an instant")),
        Err(rfc3339::Fault::Shape) => Err(wrong("")),
        Err(fault) => Err(Diagnostic::at(text.span.as_ref(), format!("{} is not a date: {fault}", text.value))),
    }
}

/// The first date of a year.
pub(super) fn parse_year(text: &Located<String>) -> Result<Date, Diagnostic> {
    digits(&text.value, 4).and_then(|year| Date::new(year, 1, 1).ok()).ok_or_else(|| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a year", text.value))
            .help("write it as YYYY, such as 2026")
    })
}

/// The first date of a month.
pub(super) fn parse_month(text: &Located<String>) -> Result<Date, Diagnostic> {
    let parsed = text.value.split_once('-').and_then(|(year, month)| Some((digits(year, 4)?, digits(month, 2)?)));
    let (year, month) = parsed.ok_or_else(|| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a month", text.value))
            .help("write it as YYYY-MM, such as 2026-03")
    })?;
    i8::try_from(month).ok().and_then(|month| Date::new(year, month, 1).ok()).ok_or_else(|| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a month: months are 01 to 12", text.value))
    })
}

/// The first date of a quarter.
pub(super) fn parse_quarter(text: &Located<String>) -> Result<Date, Diagnostic> {
    let parsed = text.value.split_once("-Q").and_then(|(year, quarter)| Some((digits(year, 4)?, digits(quarter, 1)?)));
    let (year, quarter) = parsed.ok_or_else(|| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a quarter", text.value))
            .help("write it as YYYY-Qn, such as 2026-Q1")
    })?;
    let first = i8::try_from(quarter)
        .ok()
        .filter(|quarter| (1..=4).contains(quarter))
        .and_then(|quarter| Date::new(year, (quarter - 1) * 3 + 1, 1).ok());
    first.ok_or_else(|| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a quarter: quarters are Q1 to Q4", text.value))
    })
}

/// The Monday of an ISO 8601 week.
pub(super) fn parse_week(text: &Located<String>) -> Result<Date, Diagnostic> {
    let parsed = text.value.split_once("-W").and_then(|(year, week)| Some((digits(year, 4)?, digits(week, 2)?)));
    let (year, week) = parsed.ok_or_else(|| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a week", text.value))
            .help("write it as an ISO 8601 week, YYYY-Wnn, such as 2026-W10")
    })?;
    let monday = i8::try_from(week).ok().and_then(|week| ISOWeekDate::new(year, week, Weekday::Monday).ok());
    monday.map(ISOWeekDate::date).ok_or_else(|| {
        let weeks = ISOWeekDate::new(year, 1, Weekday::Monday).map_or(52, ISOWeekDate::weeks_in_year);
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a week: {year:04} has W01 to W{weeks}", text.value))
    })
}

/// A calendar unit, by name.
pub(super) fn parse_unit(text: &Located<String>) -> Result<Unit, Diagnostic> {
    const UNITS: [Unit; 6] = [Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];
    UNITS.into_iter().find(|unit| unit.name() == text.value).ok_or_else(|| {
        let problem = Diagnostic::at(text.span.as_ref(), format!("`{}` is not a unit of the calendar", text.value));
        problem.help(match nearest(&text.value, UNITS.map(Unit::name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write hour, day, week, month, quarter or year".to_owned(),
        })
    })
}

/// A positive number of units, such as `7d`.
pub(super) fn parse_last(text: &Located<String>) -> Result<(i64, Unit), Diagnostic> {
    let wrong = |why: &str| {
        Diagnostic::at(text.span.as_ref(), format!("`{}` is not a number of units{why}", text.value)).help(HELP_LAST)
    };
    let end = text.value.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| wrong(": the unit is missing"))?;
    let (count, unit) = text.value.split_at_checked(end).ok_or_else(|| wrong(""))?;
    let unit = match unit {
        "h" => Unit::Hour,
        "d" => Unit::Day,
        "w" => Unit::Week,
        "mo" => Unit::Month,
        _ => return Err(wrong("")),
    };
    match count.parse::<i64>() {
        Ok(0) => Err(wrong(": zero of them is an empty window")),
        Ok(count) => Ok((count, unit)),
        Err(_) if count.is_empty() => Err(wrong("")),
        Err(_) => Err(out_of_range(text)),
    }
}

/// An instant with an offset, in whole microseconds.
pub(super) fn parse_instant(text: &Located<String>) -> Result<Timestamp, Diagnostic> {
    let wrong = |why: String| Diagnostic::at(text.span.as_ref(), format!("`{}` is not an instant: {why}", text.value));
    let written = rfc3339::parse(text.value.as_bytes()).map_err(|fault| wrong(fault.to_string()))?;
    if written.date_only {
        return Err(wrong("it is a date".to_owned()).help(
            "write date and time with an offset, such as 2026-03-01T00:00:00Z, or use `date_from` and `date_to`",
        ));
    }
    let Some(offset) = written.offset_second else {
        return Err(wrong("it has no offset".to_owned())
            .help(format!("write `{}Z` if UTC is meant, or the offset, such as `+01:00`", text.value)));
    };
    if written.nanosecond % 1_000 != 0 {
        return Err(wrong("it is finer than a microsecond".to_owned()).help("write at most 6 fraction digits"));
    }
    Timestamp::new(written.local_second - i64::from(offset), written.nanosecond as i32).map_err(|_| out_of_range(text))
}
