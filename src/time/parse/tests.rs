//! Times in every format that a spec may name.

use super::*;
use proptest::prelude::*;

fn parser(format: TimeFormat, zone: &str) -> TimeParser {
    TimeParser::new(format, zone::find(zone).unwrap())
}

fn auto(zone: &str, text: &str) -> (String, bool) {
    let instant = parser(TimeFormat::Auto, zone).text(text).unwrap();
    (instant.at.to_string(), instant.ambiguous)
}

fn pattern(zone: &str, pattern: &str, text: &str) -> Result<(String, bool), String> {
    let instant = parser(TimeFormat::Pattern(pattern.to_owned()), zone).text(text).map_err(|e| e.why)?;
    Ok((instant.at.to_string(), instant.ambiguous))
}

#[test]
fn the_ways_of_writing_one_instant_agree() {
    for text in [
        "2026-03-01T12:30:00Z",
        "2026-03-01t12:30:00z",
        "2026-03-01 12:30:00Z",
        "2026-03-01T12:30Z",
        "2026-03-01T13:30:00+01:00",
        "2026-03-01T06:30:00-0600",
        "2026-03-01 13:30:00+01",
        "2026-03-01T12:30:00.000Z",
        "2026-03-01T12:30:00-00:00",
        "2026-03-01T18:15:00.0000000000+05:45",
        "2026-03-01 12:30:00 UTC",
        "2026-03-01 12:30:00.000 Z",
        "2026-03-01 12:30:00 +00:00",
        "2026-03-01 15:30:00 +03",
        "2026-03-01 07:30:00 -0500",
    ] {
        assert_eq!(auto("Asia/Tokyo", text), ("2026-03-01T12:30:00Z".to_owned(), false), "{text}");
    }
}

#[test]
fn a_local_time_that_happens_twice_is_the_earlier_and_one_that_never_happens_moves_forward() {
    assert_eq!(auto("Europe/Berlin", "2026-03-01T12:00:00"), ("2026-03-01T11:00:00Z".to_owned(), false));
    assert_eq!(auto("Europe/Berlin", "2026-10-25T02:30:00"), ("2026-10-25T00:30:00Z".to_owned(), true));
    assert_eq!(auto("Europe/Berlin", "2026-03-29T02:30:00"), ("2026-03-29T01:30:00Z".to_owned(), true));
    assert_eq!(auto("Europe/Berlin", "2026-10-25T02:30:00+01:00"), ("2026-10-25T01:30:00Z".to_owned(), false));
    assert_eq!(auto("Pacific/Apia", "2011-12-30"), ("2011-12-30T10:00:00Z".to_owned(), true));
}

#[test]
fn a_date_alone_is_midnight_in_the_zone() {
    assert_eq!(auto("America/New_York", "2026-03-01"), ("2026-03-01T05:00:00Z".to_owned(), false));
}

#[test]
fn instants_before_1970_keep_their_fraction() {
    assert_eq!(auto("UTC", "1969-12-31T23:59:59.25Z").0, "1969-12-31T23:59:59.25Z");
    assert_eq!(pattern("UTC", "%Y-%m-%d %H:%M:%S%.f", "1969-12-31 23:59:59.25").unwrap().0, "1969-12-31T23:59:59.25Z");
    let parser = parser(TimeFormat::EpochMs, "UTC");
    assert_eq!(parser.integer(-750).unwrap().at.to_string(), "1969-12-31T23:59:59.25Z");
}

#[test]
fn never_written_as_the_end_of_the_calendar_is_later_than_every_window() {
    for text in ["9999-12-31T23:59:59Z", "9999-12-31", "9999-12-31T23:59:59.999-12:00", "9999-12-31 23:59:59"] {
        for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
            assert_eq!(parser(TimeFormat::Auto, zone).text(text).unwrap().at, Timestamp::MAX, "{text} {zone}");
        }
    }
    let parser = parser(TimeFormat::EpochS, "UTC");
    assert_eq!(parser.integer(LAST_SECOND).unwrap().at, Timestamp::MAX);
    assert!(parser.integer(LAST_SECOND + 1).is_err());
    assert_eq!(pattern("Asia/Tokyo", "%d.%m.%Y", "31.12.9999").unwrap().0, Timestamp::MAX.to_string());
}

#[test]
fn epochs_are_integers_in_their_unit() {
    for (format, value) in [
        (TimeFormat::EpochS, 1_772_366_400),
        (TimeFormat::EpochMs, 1_772_366_400_000),
        (TimeFormat::EpochUs, 1_772_366_400_000_000),
        (TimeFormat::EpochNs, 1_772_366_400_000_000_000),
    ] {
        let parser = parser(format, "Europe/Berlin");
        assert_eq!(parser.integer(value).unwrap().at.to_string(), "2026-03-01T12:00:00Z");
        assert_eq!(parser.text(&value.to_string()).unwrap().at.to_string(), "2026-03-01T12:00:00Z");
        assert!(parser.text("1,772").unwrap_err().why.starts_with("expected a number of "));
    }
    let ns = parser(TimeFormat::EpochNs, "UTC");
    assert_eq!(ns.integer(i64::MIN).unwrap().at.as_nanosecond(), i128::from(i64::MIN));
    let error = parser(TimeFormat::EpochS, "UTC").integer(1_772_366_400_000).unwrap_err();
    assert!(error.why.contains("is the unit right"), "{error}");
    assert!(parser(TimeFormat::EpochS, "UTC").integer(i64::MIN).is_err());
    assert!(parser(TimeFormat::Auto, "UTC").integer(5).unwrap_err().why.contains("epoch_ms"));
}

#[test]
fn patterns_take_zones_offsets_and_dates() {
    assert_eq!(
        pattern("Europe/Berlin", "%d/%b/%Y:%H:%M:%S %z", "01/Mar/2026:12:00:00 +0100").unwrap().0,
        "2026-03-01T11:00:00Z"
    );
    assert_eq!(
        pattern("Europe/Berlin", "%d.%m.%Y %H:%M", "25.10.2026 02:30").unwrap(),
        ("2026-10-25T00:30:00Z".to_owned(), true)
    );
    assert_eq!(
        pattern("UTC", "%F %T %Q", "2026-10-25 02:30:00 Europe/Berlin").unwrap(),
        ("2026-10-25T00:30:00Z".to_owned(), true)
    );
    assert_eq!(pattern("Europe/Berlin", "%Y%m%d", "20260301").unwrap().0, "2026-02-28T23:00:00Z");
    assert_eq!(pattern("UTC", "%s", "1772366400").unwrap().0, "2026-03-01T12:00:00Z");
    assert_eq!(pattern("UTC", "%s%.f", "1772366400.125").unwrap().0, "2026-03-01T12:00:00.125Z");
    assert!(pattern("UTC", "%s%.f", "-1.125").is_err());
    assert!(pattern("UTC", "%F", "2026-02-30").is_err());
    assert!(pattern("UTC", "%F", "x").unwrap_err().contains("%F"));
    let parser = parser(TimeFormat::Pattern("%Y%m%d".to_owned()), "UTC");
    assert_eq!(parser.integer(20260301).unwrap().at.to_string(), "2026-03-01T00:00:00Z");
}

#[test]
fn a_pattern_must_tell_a_day_or_an_instant() {
    for pattern in [
        "%F %T",
        "%F %T%.f",
        "%Y%m%d",
        "%d.%m.%Y %H:%M",
        "%d/%b/%Y:%H:%M:%S %z",
        "%F %T %Q",
        "%F %T %:Q",
        "%s",
        "%s%.f",
        "%s.%f",
        "%Y-%j",
        "%G-W%V-%u",
        "%y%m%d",
        "%A, %d %B %Y",
        "%m/%d/%Y %I:%M:%S %p",
        "%FT%T%.6fZ",
        "%F%%%H",
        "%e %b %Y",
        "%-d.%-m.%Y",
        "%F %H",
        "%Y-%m-%dT%H:%M:%S%.3f%:z",
    ] {
        check_instant_pattern(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    }
    for pattern in ["%", "%!", "%Y-%q", "%Y-%m", "%H:%M", "%Y", "%d", "%Y-W%V", "%%", "%F %T %Z", "%c", "%m-%d %T"] {
        assert!(check_instant_pattern(pattern).is_err(), "{pattern}");
    }
    for (pattern, is_readable) in [("%Y-%m", true), ("%Y-W%V", true), ("%H.csv", true), ("%Y-%q", false), ("%", false)]
    {
        assert_eq!(check_pattern(pattern).is_ok(), is_readable, "{pattern}");
    }
}

#[test]
fn the_first_format_that_fits_counts() {
    let any = TimeFormat::AnyOf(vec![
        TimeFormat::Pattern("%d/%b/%Y:%H:%M:%S %z".to_owned()),
        TimeFormat::Auto,
        TimeFormat::EpochS,
    ]);
    assert!(any.reads_numbers() && any.has_pattern());
    assert_eq!(read_by_zone(&any), ReadByZone::Times);
    let parser = parser(any, "Europe/Berlin");
    for text in
        ["01/Mar/2026:12:00:00 +0000", "2026-03-01T12:00:00Z", "2026-03-01 13:00:00", "1772366400", "1772366400.0"]
    {
        assert_eq!(parser.text(text).unwrap().at.to_string(), "2026-03-01T12:00:00Z", "{text}");
    }
    assert_eq!(parser.integer(1_772_366_400).unwrap().at.to_string(), "2026-03-01T12:00:00Z");
    let error = parser.text("01.03.2026").unwrap_err().to_string();
    assert!(
        error.starts_with("`01.03.2026` is not a time: none of the 3 formats fits: expected the pattern"),
        "{error}"
    );
    assert!(
        error.ends_with(
            "; expected RFC 3339, such as 2026-03-01T12:30:00Z; expected a number of seconds since 1970-01-01"
        ),
        "{error}"
    );
    let dates = TimeFormat::AnyOf(vec![TimeFormat::Pattern("%Y%m%d".to_owned()), TimeFormat::EpochMs]);
    assert_eq!(read_by_zone(&dates), ReadByZone::Dates);
    let instants = TimeFormat::AnyOf(vec![TimeFormat::EpochS, TimeFormat::EpochMs]);
    assert_eq!(read_by_zone(&instants), ReadByZone::Nothing);
}

#[test]
fn abbreviations_of_zones_mean_what_the_table_says() {
    let zones = [("CET", "+0100"), ("CEST", "+0200"), ("UTC", "+0000")];
    let zones = zones.map(|(name, offset)| (name.to_owned(), offset.to_owned())).into();
    let parser = |pattern: &str| {
        parser(TimeFormat::Pattern(pattern.to_owned()), "Asia/Tokyo").with_zones(BTreeMap::clone(&zones))
    };
    let java = parser("%a %b %d %H:%M:%S %Z %Y");
    assert_eq!(java.text("Thu Mar 05 11:00:00 CET 2026").unwrap().at.to_string(), "2026-03-05T10:00:00Z");
    assert_eq!(java.text("Thu Mar 05 10:00:00 UTC 2026").unwrap().at.to_string(), "2026-03-05T10:00:00Z");
    let suffix = parser("%F %T%.f %Z");
    assert_eq!(suffix.text("2026-07-05 11:00:00.5 CEST").unwrap().at.to_string(), "2026-07-05T09:00:00.5Z");
    let error = suffix.text("2026-07-05 11:00:00 EST").unwrap_err();
    assert_eq!(error.why, "no zone of `time.zones` is in it: CEST, CET, UTC");
    assert_eq!(parser("%F %T").text("2026-07-05 11:00:00").unwrap().at.to_string(), "2026-07-05T02:00:00Z");
    assert_eq!(with_offset_field("%F %%Z %Z").as_deref(), Some("%F %%Z %z"));
    assert_eq!(with_offset_field("%F %%Z"), None);
}

#[test]
fn a_leap_second_is_refused_in_a_pattern_and_a_sixty_elsewhere_is_not() {
    assert!(pattern("UTC", "%F %T", "2016-12-31 23:59:60").unwrap_err().contains("leap second"));
    assert_eq!(pattern("UTC", "%F %T", "2060-12-31 23:59:59").unwrap().0, "2060-12-31T23:59:59Z");
    assert_eq!(pattern("UTC", "%F %T%.f", "2016-12-31 23:59:59.60").unwrap().0, "2016-12-31T23:59:59.6Z");
}

#[test]
fn a_bad_value_is_cut_and_reported() {
    let error = parser(TimeFormat::Auto, "UTC").text(&"ä".repeat(500)).unwrap_err();
    assert_eq!(error.value.chars().count(), 80);
    let error = parser(TimeFormat::Auto, "UTC").text("2026-02-30T00:00:00Z").unwrap_err();
    assert_eq!(error.to_string(), "`2026-02-30T00:00:00Z` is not a time: February 2026 has 28 days");
}

/// Timestamps of years 0000 to 9999.
fn timestamps() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_i64..253_402_200_000, 0..1_000_000_000_i32).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
}

proptest! {
    #[test]
    fn what_jiff_writes_is_read_back(at in timestamps(), offset in -86_340_i32..=86_340, precision in 0_u8..=9) {
        let parser = parser(TimeFormat::Auto, "UTC");
        let at_precision = Timestamp::from_nanosecond(
            at.as_nanosecond() - at.as_nanosecond().rem_euclid(10_i128.pow(9 - u32::from(precision))),
        ).unwrap();
        let printer = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(precision));
        let text = printer.timestamp_to_string(&at_precision);
        prop_assert_eq!(parser.text(&text).unwrap().at, at_precision);
        prop_assert_eq!(parser.text(&text.to_lowercase()).unwrap().at, at_precision);
        prop_assert_eq!(parser.text(&text.replace('T', " ")).unwrap().at, at_precision);
        let offset = Offset::from_seconds(offset / 60 * 60).unwrap();
        let text = printer.timestamp_with_offset_to_string(&at_precision, offset);
        if !text.starts_with('-') && text.parse::<Timestamp>().is_ok() && !text.starts_with('+') {
            prop_assert_eq!(parser.text(&text).unwrap().at, at_precision);
        }
        let pattern = TimeFormat::Pattern("%Y-%m-%dT%H:%M:%S%.f%:z".to_owned());
        let pattern = TimeParser::new(pattern, TimeZone::UTC);
        let text = at.to_zoned(TimeZone::fixed(offset)).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string();
        if !text.starts_with('-') {
            prop_assert_eq!(pattern.text(&text).unwrap().at, at);
        }
    }

    #[test]
    fn whatever_jiff_reads_of_this_grammar_means_the_same(
        text in "[0-9]{4}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{1,11})?)?(Z|z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?"
    ) {
        let berlin = zone::find("Europe/Berlin").unwrap();
        let ours = parser(TimeFormat::Auto, "Europe/Berlin").text(&text);
        let leap = text.get(17..19) == Some("60");
        let theirs = text.parse::<Timestamp>().ok().or_else(|| {
            let zoned = !text.contains(['Z', 'z', '+']) && !text.get(10..).unwrap_or_default().contains('-');
            let civil = text.parse::<DateTime>().ok().filter(|_| zoned)?;
            berlin.to_ambiguous_timestamp(civil).compatible().ok()
        });
        let offset_hours = text.rfind(['+', '-']).filter(|&at| at > 10).and_then(|at| text.get(at + 1..at + 3)?.parse::<u8>().ok());
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => prop_assert_eq!(ours.at, theirs),
            // jiff reads a leap second as :59 and offsets to 25:59.
            (Err(_), Some(_)) => prop_assert!(leap || offset_hours >= Some(24), "{}", text),
            // Zeros after the ninth digit, and the last two days of 9999.
            (Ok(_), None) => prop_assert!(text.contains(['.', ',']) || text.starts_with("9999-12-3"), "{}", text),
            (Err(_), None) => {}
        }
    }

    #[test]
    fn nothing_panics(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..40), n in any::<i64>()) {
        let lossy = String::from_utf8_lossy(&bytes).into_owned();
        for format in [
            TimeFormat::Auto, TimeFormat::EpochS, TimeFormat::EpochMs, TimeFormat::EpochUs, TimeFormat::EpochNs,
            TimeFormat::Pattern("%F %T%.f".to_owned()), TimeFormat::Pattern("%s%.f%Q".to_owned()), TimeFormat::Pattern(text.clone()),
        ] {
            let parser = TimeParser::new(format, zone::find("America/St_Johns").unwrap());
            for value in [&text, &lossy] {
                let _ = parser.text(value);
            }
            let _ = parser.integer(n);
        }
    }

    #[test]
    fn mutated_times_never_panic(at in timestamps(), position in 0_usize..30, byte in any::<char>()) {
        let parser = parser(TimeFormat::Auto, "America/St_Johns");
        let mut text: Vec<char> = at.to_string().chars().collect();
        if let Some(c) = text.get_mut(position) { *c = byte; }
        let _ = parser.text(&text.into_iter().collect::<String>());
    }
}
