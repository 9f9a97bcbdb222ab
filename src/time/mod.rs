//! Instants and calendars.
//!
//! [`parse::TimeParser`] parses the times of a source into UTC instants. [`Calendar`] divides time into the hours, days,
//! weeks, months, quarters and years of a zone. [`zone`] finds zones by name. jiff does all zone arithmetic, with the
//! built-in tz database.

pub mod calendar;
pub mod local;
pub mod parse;
pub mod rfc3339;
pub mod zone;

pub use calendar::{Calendar, Unit};
pub use parse::{BadTime, Instant, TimeFormat, TimeParser};
