//! Instants and calendars.
//!
//! [`parse::TimeParser`] parses the times of a source into UTC instants. [`Calendar`] divides time into the hours, days,
//! weeks, months, quarters and years of a zone. [`zone`] finds zones by name. jiff does all zone arithmetic, with the
//! built-in tz database.

pub(crate) mod calendar;
pub(crate) mod local;
pub(crate) mod parse;
pub(crate) mod rfc3339;
pub(crate) mod suggest;
pub(crate) mod zone;

pub(crate) use calendar::{Calendar, Unit};
pub(crate) use parse::{BadTime, TimeFormat, TimeParser};
