//! Calendar units in a zone.

use jiff::tz::TimeZone;

/// Cuts time into units of a zone's calendar. Weeks are ISO 8601 weeks.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The zone.
    pub timezone: TimeZone,
}
