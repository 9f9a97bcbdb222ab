//! Rows outside the window, told by their time alone, so that they need not be built.
//!
//! A row is left out only where it is certain what would become of it: it would be built, and its time would turn out
//! to be outside. What is in doubt is built.

use arrow::datatypes::DataType;

use crate::logical::is_json;
use crate::source::instants::{bound, routing_unit, ticks, ticks_per_second};
use crate::source::rows::json_text::{self, RowTime};
use crate::source::rows::scalar;
use crate::source::{ReadRequest, Within};
use crate::time::parse::{Clock, RawInstant};

/// If none of so many rows of a block lies outside, the others are likely not to either.
const FEW_ROWS: u32 = 64;

/// How the column holds its times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int64,
}

/// Tells whether a time lies outside the window, as [`crate::source::instants`] would.
pub(super) struct OutsideTest<'a> {
    within: &'a Within,
    clock: Clock<'a>,
    kind: Kind,
    /// The window and the unit in which it is compared.
    from: i64,
    to: i64,
    per_second: i64,
    /// Rows of JSON looked at, and whether one was outside.
    looked_at: u32,
    found: bool,
}

impl<'a> OutsideTest<'a> {
    /// `None` where rows are not to be left out, or cannot be told by a value of the time column alone.
    pub(super) fn of(request: &'a ReadRequest) -> Option<Self> {
        let within = request.within.as_ref()?;
        let (_, field) = request.schema.column_with_name(&within.column)?;
        let kind = match field.data_type() {
            DataType::Utf8View if !is_json(field) => Kind::Text,
            DataType::Int64 => Kind::Int64,
            _ => return None,
        };
        let unit = routing_unit(within.end, within.start);
        let (from, to) = (bound(within.start, unit), bound(within.end, unit));
        Some(Self {
            within,
            clock: within.times.clock(),
            kind,
            from,
            to,
            per_second: ticks_per_second(unit),
            looked_at: 0,
            found: false,
        })
    }

    /// Whether the text of a cell or string is a time outside.
    #[inline]
    pub(super) fn text(&mut self, text: &str) -> bool {
        let clock = &mut self.clock;
        let raw = match self.kind {
            Kind::Text => self.within.times.raw_text(text, |reading| clock.instant(reading)).ok(),
            Kind::Int64 => scalar::integer(text).and_then(|value| self.within.times.raw_integer(value).ok()),
        };
        raw.is_some_and(|raw| self.instant(raw))
    }

    /// A guessed time is counted, so its row is wanted.
    fn instant(&self, raw: RawInstant) -> bool {
        let at = ticks(raw.second, raw.nanosecond, self.per_second);
        !raw.ambiguous && !(self.from..self.to).contains(&at)
    }

    /// Whether a row of JSON is one that can be built, and outside. Looking for the time costs a part of what building the
    /// row costs, so it is given up where it is of no use.
    pub(super) fn json_row(&mut self, text: &str) -> bool {
        if self.looked_at >= FEW_ROWS && !self.found {
            return false;
        }
        self.looked_at += u32::from(!self.found);
        let outside = match json_text::time_of(text, &self.within.column) {
            Ok(RowTime::Text(time)) if self.kind == Kind::Text => self.text(&time),
            Ok(RowTime::Number(time)) if self.kind == Kind::Text => self.text(time),
            Ok(RowTime::Integer(time)) if self.kind == Kind::Int64 => {
                self.within.times.raw_integer(time).is_ok_and(|raw| self.instant(raw))
            }
            _ => false,
        };
        self.found |= outside;
        outside && (self.within.proven || json_text::check(text).is_ok())
    }
}
