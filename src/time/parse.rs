//! Text and integers to UTC instants, as `time.format` in a catalog describes them.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How a source writes its time column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeFormat {
    /// Typed timestamps, dates and RFC 3339 text.
    #[default]
    Auto,
    /// Integer seconds since 1970-01-01T00:00:00Z.
    EpochS,
    /// Integer milliseconds.
    EpochMs,
    /// Integer microseconds.
    EpochUs,
    /// Integer nanoseconds.
    EpochNs,
    /// Text in a strftime pattern.
    Pattern(String),
}

/// An instant, and whether its zone had to be guessed at a fold or gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// UTC.
    pub at: jiff::Timestamp,
    /// A local time that its zone has twice (the earlier was taken) or never (shifted forward).
    pub ambiguous: bool,
}

/// A value that is not a time in the declared format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a time: {why}")]
pub struct BadTime {
    /// The value, cut to 80 characters.
    pub value: String,
    /// What was expected.
    pub why: String,
}

/// Parses one source's times.
#[derive(Debug, Clone)]
pub struct TimeParser {
    /// The declared format.
    pub format: TimeFormat,
    /// For times without a zone.
    pub timezone: TimeZone,
}

impl TimeParser {
    /// A time written as text.
    ///
    /// # Errors
    /// [`BadTime`] where the text is not in the format or out of range (years -9999 to 9999; a leap second `:60` is refused).
    pub fn text(&self, _value: &str) -> Result<Instant, BadTime> {
        unimplemented!()
    }

    /// A time written as an integer.
    ///
    /// # Errors
    /// [`BadTime`] where the format is not an epoch format or the value is out of range.
    pub fn integer(&self, _value: i64) -> Result<Instant, BadTime> {
        unimplemented!()
    }
}
