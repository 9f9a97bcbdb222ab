//! Formats that fit a value which the format of the job does not fit, for messages.

use super::parse::{TimeFormat, TimeParser};

/// Patterns of common logs. Of two that differ in the order of day and month, both may fit.
pub(crate) const PATTERNS: [&str; 20] = [
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d %b %Y %H:%M:%S",
    "%b %d, %Y %I:%M:%S %p",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %H:%M:%S %z",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
];

/// What to write as `time.format` to read a value, if it has a common shape.
pub(crate) fn suggestion(value: &str) -> Option<String> {
    if let Some(unit) = epoch(value) {
        return Some(format!("`time.format: {unit}` fits it"));
    }
    let formats: Vec<_> = fitting(value).map(|pattern| format!("`time.format: \"{pattern}\"`")).collect();
    if !formats.is_empty() {
        return Some(format!("{} fits it", formats.join(" or ")));
    }
    let abbreviation = value.split(|c: char| !c.is_ascii_uppercase()).rfind(|word| (2..=5).contains(&word.len()))?;
    let pattern = fitting(&value.replacen(abbreviation, "+0000", 1)).next()?.replace("%z", "%Z");
    Some(format!(
        "`time.format: \"{pattern}\"` fits it, with `time.zones: {{{abbreviation}: \"…\"}}` for the offset of {abbreviation}"
    ))
}

/// The patterns that read a value.
fn fitting(value: &str) -> impl Iterator<Item = &'static str> {
    PATTERNS.into_iter().filter(move |pattern| reads(TimeFormat::Pattern((*pattern).to_owned()), value))
}

/// The unit of a count since 1970 that lies in this age.
fn epoch(value: &str) -> Option<&'static str> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // From 2001 to 2286.
    let (unit, format) = match whole.len() {
        10 => ("epoch_s", TimeFormat::EpochS),
        13 => ("epoch_ms", TimeFormat::EpochMs),
        16 => ("epoch_us", TimeFormat::EpochUs),
        19 => ("epoch_ns", TimeFormat::EpochNs),
        _ => return None,
    };
    reads(format, value).then_some(unit)
}

fn reads(format: TimeFormat, value: &str) -> bool {
    TimeParser::new(format, jiff::tz::TimeZone::UTC).text(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn a_value_of_a_common_shape_has_a_format() {
        for (value, expected) in [
            ("05/Mar/2026:10:00:00 +0000", "`time.format: \"%d/%b/%Y:%H:%M:%S %z\"` fits it"),
            ("Thu, 05 Mar 2026 10:00:00 +0000", "`time.format: \"%a, %d %b %Y %H:%M:%S %z\"` fits it"),
            ("05.03.2026 10:00", "`time.format: \"%d.%m.%Y %H:%M\"` fits it"),
            ("31/03/2026 10:00:00", "`time.format: \"%d/%m/%Y %H:%M:%S\"` fits it"),
            ("05/03/2026", "`time.format: \"%d/%m/%Y\"` or `time.format: \"%m/%d/%Y\"` fits it"),
            ("20260305", "`time.format: \"%Y%m%d\"` fits it"),
            ("1772704800", "`time.format: epoch_s` fits it"),
            ("1772704800.5", "`time.format: epoch_s` fits it"),
            ("1772704800000", "`time.format: epoch_ms` fits it"),
            (
                "2026-03-05 10:00:00 CET",
                "`time.format: \"%Y-%m-%d %H:%M:%S %Z\"` fits it, with `time.zones: {CET: \"…\"}` for the offset of CET",
            ),
        ] {
            assert_eq!(suggestion(value).as_deref(), Some(expected), "{value}");
        }
        for value in ["", "yesterday", "17", "2026-03", "XX", "é", "1772704800.1234567891"] {
            assert_eq!(suggestion(value), None, "{value}");
        }
    }
}
