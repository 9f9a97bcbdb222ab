//! Writes a few rows as text, column by column.
//!
//! Writing by column determines the type, the nulls and the location of values once per column instead of once per cell. Each
//! row of a block has its own region of a slab; afterwards, the rows are concatenated. The slab is small enough to stay in the
//! first-level cache.

use super::column::Column;
use super::fill::Slots;
use super::slab::{Lead, SLACK};
use super::style::Style;

/// Most rows in a block. At about 400 bytes each, they take half of a first-level cache.
pub(super) const BLOCK_ROWS: usize = 32;

/// Most bytes reserved for a block of several rows. Most of it is reserved but not used.
const BLOCK_ROOM: usize = 256 * 1024;

/// Rows that need more bytes than this are written without a slab. In JSON, six times the length of text is reserved, and
/// most of it is never used.
const LARGE_ROOM: usize = 1024 * 1024;

/// The bytes around the cells of a row.
pub(super) struct Frame {
    /// Before the first cell of a row.
    pub(super) start: Lead,
    /// Around the cells of each column.
    pub(super) columns: Vec<Leads>,
    /// After the last cell of a row.
    pub(super) end: Lead,
}

/// The bytes before the cells of a column.
pub(super) struct Leads {
    /// Before numbers and rendered cells.
    pub(super) bare: Lead,
    /// Before text and times, including the opening quote in JSON.
    pub(super) text: Lead,
    /// For nulls, including the null itself.
    pub(super) null: Lead,
}

impl Frame {
    /// Most bytes that a row needs without its cells.
    fn room(&self) -> usize {
        self.start.room() + self.columns.iter().map(Leads::room).sum::<usize>() + self.end.room() + SLACK
    }
}

impl Leads {
    fn room(&self) -> usize {
        self.bare.room().max(self.text.room()).max(self.null.room())
    }
}

/// The cells of a column without a fast path, rendered one by one.
#[derive(Default)]
pub(super) struct Rendered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rendered {
    #[inline]
    pub(super) fn get(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(i).and_then(|&end| self.bytes.get(start..end)).unwrap_or_default()
    }
}

/// Reusable memory for blocks.
pub(super) struct Block {
    slab: Vec<u8>,
    /// Start of each row in the slab.
    starts: Vec<usize>,
    /// Current end of each row.
    ends: Vec<usize>,
    /// Cells of the columns without a fast path.
    rendered: Vec<Option<Rendered>>,
    scratch: Vec<u8>,
}

impl Block {
    /// For these columns.
    pub(super) fn new<S: Style>(style: &S, columns: &[Column<'_>]) -> Self {
        let rendered = columns.iter().map(|column| (!column.is_filled(style)).then(Rendered::default)).collect();
        Self { slab: Vec::new(), starts: Vec::new(), ends: Vec::new(), rendered, scratch: Vec::new() }
    }

    /// Appends the first of `rows`, as many as fit a block, to `out`, and their ends to `ends`. Returns their number.
    pub(super) fn append<S: Style>(
        &mut self,
        style: &S,
        frame: &Frame,
        columns: &mut [Column<'_>],
        rows: &[u32],
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> usize {
        let rows = rows.get(..BLOCK_ROWS).unwrap_or(rows);
        self.render(style, columns, rows);
        let Some(rows) = self.arrange::<S>(frame, columns, rows) else {
            self.append_large(style, frame, columns, rows[0], out);
            ends.push(out.len());
            return 1;
        };
        for end in &mut self.ends {
            *end = frame.start.put(&mut self.slab, *end);
        }
        for ((column, leads), rendered) in columns.iter_mut().zip(&frame.columns).zip(&self.rendered) {
            let slots = Slots { rows, leads, slab: &mut self.slab, ends: &mut self.ends };
            column.fill(style, rendered.as_ref(), slots);
        }
        for (&start, &end) in self.starts.iter().zip(&self.ends) {
            let end = frame.end.put(&mut self.slab, end);
            out.extend_from_slice(&self.slab[start..end]);
            ends.push(out.len());
        }
        rows.len()
    }

    fn render<S: Style>(&mut self, style: &S, columns: &mut [Column<'_>], rows: &[u32]) {
        for (column, rendered) in columns.iter_mut().zip(&mut self.rendered) {
            let Some(rendered) = rendered else { continue };
            rendered.bytes.clear();
            rendered.ends.clear();
            for &row in rows {
                style.render(column, row as usize, &mut self.scratch, &mut rendered.bytes);
                rendered.ends.push(rendered.bytes.len());
            }
        }
    }

    /// Appends one row, cell after cell.
    #[cold]
    fn append_large<S: Style>(
        &mut self,
        style: &S,
        frame: &Frame,
        columns: &mut [Column<'_>],
        row: u32,
        out: &mut Vec<u8>,
    ) {
        frame.start.append(out);
        for ((column, leads), rendered) in columns.iter_mut().zip(&frame.columns).zip(&self.rendered) {
            match rendered {
                Some(rendered) if rendered.get(0).is_empty() => leads.null.append(out),
                None if column.is_null(row as usize) => leads.null.append(out),
                Some(rendered) => {
                    leads.bare.append(out);
                    out.extend_from_slice(rendered.get(0));
                }
                None => {
                    leads.bare.append(out);
                    style.render(column, row as usize, &mut self.scratch, out);
                }
            }
        }
        frame.end.append(out);
    }

    /// Assigns regions of the slab to the first of `rows`, as many as fit, and returns them. `None` if the first row is too
    /// large for a slab.
    fn arrange<'r, S: Style>(&mut self, frame: &Frame, columns: &[Column<'_>], rows: &'r [u32]) -> Option<&'r [u32]> {
        let mut room = [0; BLOCK_ROWS];
        let mut every = frame.room();
        for (column, rendered) in columns.iter().zip(&self.rendered) {
            every += column.add_room::<S>(rows, rendered.as_ref(), &mut room);
        }
        self.starts.clear();
        let mut end = 0;
        for (room, _) in room.iter().zip(rows) {
            let next = end + every + room;
            if next > BLOCK_ROOM && end > 0 {
                break;
            }
            self.starts.push(end);
            end = next;
        }
        if end > LARGE_ROOM {
            return None;
        }
        self.ends.clone_from(&self.starts);
        if self.slab.len() < end {
            self.slab.resize(end, 0);
        }
        rows.get(..self.starts.len())
    }
}
