//! Writes the cells of one column for the rows of a block.

use arrow::array::StringViewArray;
use arrow::buffer::NullBuffer;
use arrow::datatypes::TimeUnit;

use super::bare::Bare;
use super::block::{Leads, Rendered};
use super::civil::{Day, ticks_per_second};
use super::column::{Cells, Column, Float, Text};
use super::decimal::decimal;
use super::digits::{padded, sign, signed, time_of_day, unsigned};
use super::embed::json_value;
use super::memo::Memo;
use super::plain::is_plain_json;
use super::slab::{Lead, ZEROS, copy, put};
use super::stamp::Stamp;
use super::style::Style;
use crate::swar::HIGHS;

/// Most bytes that a number or time needs: a 128-bit integer has 40 characters, a time in the last year of its type 42, plus
/// the bytes written beyond their end.
const CELL_ROOM: usize = 64;

/// Bytes around text: the quotes of CSV or JSON.
const QUOTES_ROOM: usize = 2;

/// Largest scale whose fraction digits fit a 64-bit integer.
const MAX_SCALE: i8 = 18;

/// The destination of the cells of a column.
pub(super) struct Slots<'a> {
    pub(super) rows: &'a [u32],
    pub(super) leads: &'a Leads,
    pub(super) slab: &'a mut [u8],
    /// Current end of the row of each cell.
    pub(super) ends: &'a mut [usize],
}

impl Slots<'_> {
    /// For each row, writes `lead` and calls `write`, or writes the null.
    #[inline(always)]
    fn fill(self, nulls: Option<&NullBuffer>, lead: &Lead, mut write: impl FnMut(usize, &mut [u8], usize) -> usize) {
        for (&row, end) in self.rows.iter().zip(self.ends) {
            let row = row as usize;
            *end = if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                self.leads.null.put(self.slab, *end)
            } else {
                let at = lead.put(self.slab, *end);
                write(row, self.slab, at)
            };
        }
    }

    /// Writes numbers.
    #[inline(always)]
    fn bare(self, nulls: Option<&NullBuffer>, write: impl FnMut(usize, &mut [u8], usize) -> usize) {
        let lead = &self.leads.bare;
        self.fill(nulls, lead, write);
    }

    /// Copies rendered cells, including nulls.
    fn rendered(self, rendered: &Rendered) {
        for (i, end) in self.ends.iter_mut().enumerate() {
            let cell = rendered.get(i);
            if cell.is_empty() {
                *end = self.leads.null.put(self.slab, *end);
                continue;
            }
            let at = self.leads.bare.put(self.slab, *end);
            self.slab[at..at + cell.len()].copy_from_slice(cell);
            *end = at + cell.len();
        }
    }
}

impl Column<'_> {
    /// Whether the column has a fast path.
    pub(super) fn is_filled<S: Style>(&self, style: &S) -> bool {
        match &self.cells {
            Cells::Text(_) => style.plain_text(),
            Cells::Embedded(_) => style.plain_json(),
            Cells::Number(_) | Cells::Float(_) | Cells::Stamp(Stamp::Timestamp(..)) => style.plain_numbers(),
            Cells::Bare(bare) => {
                let fast = match bare {
                    Bare::Decimal32(_, scale) | Bare::Decimal64(_, scale) | Bare::Decimal128(_, scale) => {
                        (0..=MAX_SCALE).contains(scale)
                    }
                    Bare::Decimal256(..) => false,
                    _ => true,
                };
                fast && style.plain_numbers()
            }
            _ => false,
        }
    }

    /// Adds the most bytes that each cell needs, without its lead, to `room`. Returns the bytes to add for every row.
    pub(super) fn add_room<S: Style>(&self, rows: &[u32], rendered: Option<&Rendered>, room: &mut [usize]) -> usize {
        let rows = rows.iter().map(|&row| row as usize);
        let room = room.iter_mut().zip(rows);
        if let Some(rendered) = rendered {
            room.enumerate().for_each(|(i, (room, _))| *room += rendered.get(i).len());
            return 0;
        }
        match &self.cells {
            Cells::Text(Text::View(array)) | Cells::Embedded(Text::View(array)) | Cells::Number(Text::View(array)) => {
                let views: &[u128] = array.views();
                room.for_each(|(room, row)| *room += S::GROWTH * view_length(views[row]));
                QUOTES_ROOM
            }
            Cells::Text(text) | Cells::Embedded(text) | Cells::Number(text) => {
                room.for_each(|(room, row)| *room += S::GROWTH * text.get(row).len());
                QUOTES_ROOM
            }
            _ => CELL_ROOM,
        }
    }

    /// Writes the cells of a block.
    pub(super) fn fill<S: Style>(&mut self, style: &S, rendered: Option<&Rendered>, slots: Slots<'_>) {
        if let Some(rendered) = rendered {
            return slots.rendered(rendered);
        }
        let nulls = self.nulls;
        let memo = &mut self.memo;
        match &mut self.cells {
            Cells::Embedded(text) | Cells::Number(text) if S::EMBEDS => match text {
                Text::Small(array) => slots.bare(nulls, |row, slab, at| embed(array.value(row), slab, at)),
                Text::Large(array) => slots.bare(nulls, |row, slab, at| embed(array.value(row), slab, at)),
                Text::View(array) => {
                    let views: &[u128] = array.views();
                    slots.bare(nulls, |row, slab, at| {
                        repeated(memo, views[row], slab, at, |slab| embed(array.value(row), slab, at))
                    });
                }
            },
            Cells::Text(text) | Cells::Embedded(text) | Cells::Number(text) => match text {
                Text::Small(array) => texts(style, nulls, |row| array.value(row), slots),
                Text::Large(array) => texts(style, nulls, |row| array.value(row), slots),
                Text::View(array) => views(style, nulls, array, memo, slots),
            },
            Cells::Float(float) => {
                slots.bare(nulls, |row, slab, at| float.put(row, S::EMBEDS, slab, at));
            }
            Cells::Bare(bare) => bare.fill(nulls, slots),
            Cells::Stamp(Stamp::Timestamp(values, utc, unit, day)) => match unit {
                TimeUnit::Second => timestamps::<0, S>(style, nulls, values, *utc, day, slots),
                TimeUnit::Millisecond => timestamps::<3, S>(style, nulls, values, *utc, day, slots),
                TimeUnit::Microsecond => timestamps::<6, S>(style, nulls, values, *utc, day, slots),
                TimeUnit::Nanosecond => timestamps::<9, S>(style, nulls, values, *utc, day, slots),
            },
            _ => {}
        }
    }
}

/// Writes text that holds JSON.
#[inline]
fn embed(text: &str, slab: &mut [u8], at: usize) -> usize {
    if is_plain_json(text.as_bytes()) {
        copy(text.as_bytes(), slab, at, |_| 0);
        return at + text.len();
    }
    let mut out = Vec::with_capacity(text.len());
    json_value(text, &mut out);
    slab[at..at + out.len()].copy_from_slice(&out);
    at + out.len()
}

/// Writes the text of a view with `write`, or copies the earlier result for the same view.
#[inline(always)]
fn repeated(memo: &mut Memo, view: u128, slab: &mut [u8], at: usize, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
    if view_length(view) <= INLINE {
        return write(slab);
    }
    if let Some(known) = memo.get(view) {
        copy(known, slab, at, |_| 0);
        return at + known.len();
    }
    let end = write(slab);
    memo.keep(view, &slab[at..end]);
    end
}

/// Writes text that is not stored in views.
#[inline(always)]
fn texts<'a, S: Style>(style: &S, nulls: Option<&NullBuffer>, get: impl Fn(usize) -> &'a str, slots: Slots<'_>) {
    let lead = &slots.leads.text;
    slots.fill(nulls, lead, |row, slab, at| {
        let text = get(row).as_bytes();
        let marks = copy(text, slab, at, |word| style.mark(word));
        let special = marks & HIGHS != 0 || style.mark_text(text);
        let end = if special { style.escaped(text, slab, at) } else { at + text.len() };
        style.close(slab, end)
    });
}

/// Most bytes stored in a view itself (Arrow columnar format, variable-size binary view layout).
const INLINE: usize = 12;

/// The length of a view's text, in bytes: its lowest 32 bits.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the other bits are not the length")]
fn view_length(view: u128) -> usize {
    view as u32 as usize
}

/// Padding of the unused bytes of a view, for each length: the digit `0`.
#[expect(clippy::cast_possible_truncation, reason = "the low half of a word is meant")]
const FILLS: [(u64, u32); INLINE + 1] = {
    let mut fills = [(0, 0); INLINE + 1];
    let mut length = 0;
    while length <= INLINE {
        fills[length] = match length {
            0..8 => (ZEROS << (8 * length), ZEROS as u32),
            8..12 => (0, (ZEROS as u32) << (8 * (length - 8))),
            _ => (0, 0),
        };
        length += 1;
    }
    fills
};

/// Writes text stored in views.
fn views<S: Style>(style: &S, nulls: Option<&NullBuffer>, array: &StringViewArray, memo: &mut Memo, slots: Slots<'_>) {
    let views: &[u128] = array.views();
    let lead = &slots.leads.text;
    slots.fill(nulls, lead, |row, slab, at| {
        let view = views[row];
        let length = view_length(view);
        let marks = if let Some((low_fill, high_fill)) = FILLS.get(length) {
            #[expect(clippy::cast_possible_truncation, reason = "the first 8 bytes of the text are meant")]
            let low = (view >> 32) as u64;
            let high = (view >> 96) as u32;
            put(slab, at, &low.to_le_bytes());
            put(slab, at + 8, &high.to_le_bytes());
            style.mark(low | low_fill) | style.mark(u64::from(high | high_fill) | ZEROS << 32)
        } else {
            copy(array.value(row).as_bytes(), slab, at, |word| style.mark(word))
        };
        let special = marks & HIGHS != 0 || style.mark_text(array.value(row).as_bytes());
        let end = if special {
            repeated(memo, view, slab, at, |slab| style.escaped(array.value(row).as_bytes(), slab, at))
        } else {
            at + length
        };
        style.close(slab, end)
    });
}

const SECONDS_PER_DAY: i64 = 86_400;

/// Writes dates and times, in ticks of 10^-`DIGITS` seconds since 1970-01-01T00:00:00.
fn timestamps<const DIGITS: usize, S: Style>(
    style: &S,
    nulls: Option<&NullBuffer>,
    values: &[i64],
    utc: bool,
    day: &mut Day,
    slots: Slots<'_>,
) {
    let per_second = ticks_per_second::<DIGITS>();
    let per_day = SECONDS_PER_DAY * per_second as i64;
    let lead = &slots.leads.text;
    slots.fill(nulls, lead, |row, slab, at| {
        let ticks = values[row];
        let at = day.put_with_t(ticks.div_euclid(per_day), slab, at);
        let ticks = ticks.rem_euclid(per_day) as u64;
        let mut at = time_of_day(ticks / per_second, slab, at);
        if DIGITS > 0 {
            slab[at] = b'.';
            at = padded(ticks % per_second, DIGITS, slab, at + 1);
        }
        slab[at] = b'Z';
        style.close(slab, at + usize::from(utc))
    });
}

impl Bare<'_> {
    /// Writes numbers and booleans. Not for [`Bare::Decimal256`].
    fn fill(&self, nulls: Option<&NullBuffer>, slots: Slots<'_>) {
        macro_rules! integers {
            ($values:ident, $write:ident) => {
                slots.bare(nulls, |row, slab, at| $write($values[row].into(), slab, at))
            };
        }
        match self {
            Self::Boolean(values) => slots.bare(nulls, |row, slab, at| {
                let (word, length) = if values.value(row) { (b"true ", 4) } else { (b"false", 5) };
                put(slab, at, word);
                at + length
            }),
            Self::I8(values) => integers!(values, signed),
            Self::I16(values) => integers!(values, signed),
            Self::I32(values) => integers!(values, signed),
            Self::I64(values) => integers!(values, signed),
            Self::U8(values) => integers!(values, unsigned),
            Self::U16(values) => integers!(values, unsigned),
            Self::U32(values) => integers!(values, unsigned),
            Self::U64(values) => integers!(values, unsigned),
            Self::Decimal32(values, scale) => decimals(nulls, |row| values[row].into(), *scale, slots),
            Self::Decimal64(values, scale) => decimals(nulls, |row| values[row].into(), *scale, slots),
            Self::Decimal128(values, scale) => decimals(nulls, |row| values[row], *scale, slots),
            Self::Decimal256(..) => {}
        }
    }
}

/// Writes decimals with a scale of 0 to [`MAX_SCALE`].
#[inline(always)]
fn decimals(nulls: Option<&NullBuffer>, get: impl Fn(usize) -> i128, scale: i8, slots: Slots<'_>) {
    let digits = scale.unsigned_abs();
    let one = 10u64.pow(digits.into());
    slots.bare(nulls, |row, slab, at| {
        let value = get(row);
        let Ok(magnitude) = u64::try_from(value.unsigned_abs()) else {
            return large_decimal(value, scale, slab, at);
        };
        let at = sign(value < 0, slab, at);
        let at = unsigned(magnitude / one, slab, at);
        if digits == 0 {
            return at;
        }
        slab[at] = b'.';
        padded(magnitude % one, digits.into(), slab, at + 1)
    });
}

#[cold]
fn large_decimal(value: i128, scale: i8, slab: &mut [u8], at: usize) -> usize {
    let mut out = Vec::with_capacity(CELL_ROOM);
    decimal(itoa::Buffer::new().format(value), scale, &mut out);
    slab[at..at + out.len()].copy_from_slice(&out);
    at + out.len()
}

impl Float<'_> {
    /// Writes the number, or the name of a value that is not finite, as a string if `quoted`.
    #[inline(always)]
    fn put(&self, row: usize, quoted: bool, slab: &mut [u8], at: usize) -> usize {
        let mut buffer = zmij::Buffer::new();
        let (finite, text) = match self {
            Self::Half(values) => (values[row].is_finite(), buffer.format(values[row].to_f32())),
            Self::Single(values) => (values[row].is_finite(), buffer.format(values[row])),
            Self::Double(values) => (values[row].is_finite(), buffer.format(values[row])),
        };
        if quoted && !finite {
            let mut out = Vec::with_capacity(CELL_ROOM);
            self.write_json(row, &mut out);
            slab[at..at + out.len()].copy_from_slice(&out);
            return at + out.len();
        }
        copy(text.as_bytes(), slab, at, |_| 0);
        at + text.len()
    }
}
