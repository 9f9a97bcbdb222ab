//! Skips rows outside the window by looking at their time alone, before they are parsed.
//!
//! A row is skipped only if it is certain that it would parse and that its time lies outside. All other rows are parsed.

use arrow::datatypes::DataType;

use crate::logical::is_json;
use crate::logical::path::{SEPARATOR, plain_leaf};
use crate::source::Within;
use crate::source::formats::FileRequest;
use crate::source::formats::rows::json_text::{self, RowTime};
use crate::source::formats::rows::scalar;
use crate::source::instants::{bound, routing_unit, ticks, ticks_per_second};
use crate::time::parse::{Clock, RawInstant};

/// If none of this many rows of a block lies outside, the test gives up on the block.
const FEW_ROWS: u32 = 64;

/// How the time column stores its times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int64,
}

/// Decides whether a time lies outside the window, with the same result as [`crate::source::instants`].
pub(super) struct OutsideTest<'a> {
    within: &'a Within,
    /// Those that lead to the time in a row of JSON.
    keys: Vec<&'a str>,
    clock: Clock<'a>,
    kind: Kind,
    /// The window, and the ticks per second of its unit.
    from: i64,
    to: i64,
    per_second: i64,
    /// JSON rows tested, and whether one was outside.
    tested: u32,
    found: bool,
}

impl<'a> OutsideTest<'a> {
    /// `None` if no rows may be skipped, or if the type of the time column does not allow the test.
    pub(super) fn of(request: &'a FileRequest) -> Option<Self> {
        let within = request.within.as_ref()?;
        let column = request.schema.column_with_name(&within.column).map(|(_, field)| field);
        let data_type = match column {
            Some(field) if is_json(field) => return None,
            Some(field) => field.data_type(),
            None => plain_leaf(&request.schema, &within.column)?,
        };
        let kind = match data_type {
            DataType::Utf8View => Kind::Text,
            DataType::Int64 => Kind::Int64,
            _ => return None,
        };
        let keys = match column {
            Some(_) => vec![within.column.as_str()],
            None => within.column.split(SEPARATOR).collect(),
        };
        let unit = routing_unit(within.end, within.start);
        let (from, to) = (bound(within.start, unit), bound(within.end, unit));
        Some(Self {
            within,
            keys,
            clock: within.times.clock(),
            kind,
            from,
            to,
            per_second: ticks_per_second(unit),
            tested: 0,
            found: false,
        })
    }

    /// Whether the text of a cell or string is a time outside the window.
    #[inline]
    pub(super) fn text(&mut self, text: &str) -> bool {
        let clock = &mut self.clock;
        let raw = match self.kind {
            Kind::Text => self.within.times.raw_text(text, |reading| clock.instant(reading)).ok(),
            Kind::Int64 => scalar::integer(text).and_then(|value| self.within.times.raw_integer(value).ok()),
        };
        raw.is_some_and(|raw| self.instant(raw))
    }

    /// Whether an instant lies outside. Ambiguous times must be counted, so their rows are never skipped.
    fn instant(&self, raw: RawInstant) -> bool {
        let at = ticks(raw.second, raw.nanosecond, self.per_second);
        !raw.ambiguous && !(self.from..self.to).contains(&at)
    }

    /// Whether a JSON row would parse and lies outside. Finding the time costs a fraction of parsing the row, so the test
    /// gives up after [`FEW_ROWS`] rows inside.
    pub(super) fn json_row(&mut self, text: &str) -> bool {
        if self.tested >= FEW_ROWS && !self.found {
            return false;
        }
        self.tested += u32::from(!self.found);
        let outside = match json_text::time_of(text, &self.keys) {
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
