//! Instants and calendars.
//!
//! [`parse::TimeParser`] turns a source's way of writing time into UTC instants; [`Calendar`] cuts time into
//! hours, days, weeks, months, quarters and years of a zone; [`zone`] finds zones by name. All zone arithmetic is
//! jiff's, over the tz database that is built in.

pub mod calendar;
pub mod local;
pub mod parse;
pub mod rfc3339;
pub mod zone;

pub use calendar::{Calendar, Unit};
pub use parse::{BadTime, Instant, TimeFormat, TimeParser};
