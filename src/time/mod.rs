//! Instants and calendars.
//!
//! [`parse::TimeParser`] turns a source's way of writing time into UTC instants; [`Calendar`] cuts time into
//! hours, days, weeks, months, quarters and years of a zone. All zone arithmetic is jiff's.

pub mod parse;
pub mod calendar;

pub use calendar::Calendar;
pub use parse::{BadTime, Instant, TimeFormat, TimeParser};
