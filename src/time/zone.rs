//! Finds time zones by name.
//!
//! Names are looked up in the built-in tz database, never in the machine's. The same spec must have the same day boundaries
//! on every machine; otherwise, two runs of one job could differ.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::diagnostic::nearest;

/// Longer names get no suggestion: no zone name is this long, and the comparison is quadratic in the length.
const LONGEST_NAME: usize = 64;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The built-in tz database.
pub(crate) fn database() -> &'static TimeZoneDatabase {
    &DATABASE
}

/// Finds a zone by its IANA name, ignoring case.
///
/// # Errors
/// [`UnknownZone`] with the nearest name.
pub(crate) fn find(name: &str) -> Result<TimeZone, UnknownZone> {
    database().get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| UnknownZone {
        name: name.to_owned(),
        nearest: if name.len() > LONGEST_NAME {
            None
        } else {
            let known: Vec<String> = database().available().map(|zone| zone.to_string()).collect();
            // Users often omit the continent: `Berlin`.
            let by_city = known.iter().find(|k| k.rsplit('/').next().is_some_and(|c| c.eq_ignore_ascii_case(name)));
            by_city.map(String::as_str).or_else(|| nearest(name, known.iter().map(String::as_str))).map(str::to_owned)
        },
    })
}

/// The name with which [`find`] finds this zone.
pub(crate) fn name(zone: &TimeZone) -> String {
    match zone.iana_name() {
        Some(name) => name.to_owned(),
        None => zone.to_fixed_offset().map_or_else(|_| "UTC".to_owned(), |offset| offset.to_string()),
    }
}

/// The error of a name that is not in the tz database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone `{name}`")]
pub(crate) struct UnknownZone {
    /// The name in the spec.
    pub name: String,
    /// The most similar known name.
    pub nearest: Option<String>,
}

impl UnknownZone {
    /// Advice for the user.
    pub(crate) fn help(&self) -> String {
        match &self.nearest {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write an IANA name, such as `Europe/Berlin` or `UTC`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_zone_names_the_nearest() {
        assert_eq!(find("Europe/Berlim").unwrap_err().help(), "did you mean `Europe/Berlin`?");
        assert_eq!(find("berlin").unwrap_err().help(), "did you mean `Europe/Berlin`?");
        assert!(find("Etc/Unknown").is_err());
        assert!(find("").is_err());
        assert!(find("completely/elsewhere").unwrap_err().help().contains("IANA"));
    }

    #[test]
    fn a_zone_is_found_again_by_its_name() {
        for written in ["UTC", "europe/berlin", "Etc/GMT-1", "Australia/Lord_Howe"] {
            let zone = find(written).unwrap();
            assert_eq!(find(&name(&zone)).unwrap(), zone);
        }
    }
}
