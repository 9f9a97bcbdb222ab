//! Sets of characters, and the search for the first byte outside of one.

use regex_syntax::hir;

use crate::swar::{HIGHS, below, find, marks};

/// One more than the highest byte that [`Search::Words`] takes for a control character: the space ends most runs.
const CONTROL_END: u8 = b' ' + 1;

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    /// Whether the set has every character that begins with this byte.
    leads: [bool; 256],
    /// The characters beyond ASCII, if the set has some of them but not all.
    some: Option<hir::ClassUnicode>,
    search: Search,
}

/// How the first byte that may end a run is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Eight bytes at a time, where few bytes end a run: control characters up to the space if `controls`, these two bytes,
    /// and what is beyond ASCII if `beyond`.
    Words { controls: bool, marks: [u8; 2], beyond: bool },
    /// Byte by byte.
    Table,
}

impl Class {
    pub(super) fn new(set: &hir::ClassUnicode) -> Self {
        let mut leads = [false; 256];
        for (byte, lead) in leads.iter_mut().enumerate().take(128) {
            let is_in = |range: &hir::ClassUnicodeRange| {
                (u32::from(range.start())..=u32::from(range.end())).contains(&u32::try_from(byte).unwrap_or(u32::MAX))
            };
            *lead = set.iter().any(is_in);
        }
        let mut beyond = set.clone();
        beyond.intersect(&hir::ClassUnicode::new([hir::ClassUnicodeRange::new('\u{80}', char::MAX)]));
        let has_all = beyond.ranges() == [hir::ClassUnicodeRange::new('\u{80}', char::MAX)];
        leads.iter_mut().skip(128).for_each(|lead| *lead = has_all);
        let some = (!has_all && !beyond.ranges().is_empty()).then_some(beyond);
        Self { search: Search::of(&leads), leads, some }
    }

    /// Whether a character of the set may begin with this byte.
    pub(super) fn may_begin(&self, byte: u8) -> bool {
        self.has(byte) || (byte >= 0x80 && self.some.is_some())
    }

    #[inline]
    fn has(&self, byte: u8) -> bool {
        self.leads.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// The end of the character at `at`, if the set has it.
    #[inline]
    pub(super) fn character(&self, text: &str, at: usize) -> Option<usize> {
        let byte = *text.as_bytes().get(at)?;
        if byte < 0x80 {
            return self.has(byte).then_some(at + 1);
        }
        let character = text.get(at..)?.chars().next()?;
        let is_in = self.has(byte) || self.some.as_ref().is_some_and(|some| contains(some, character));
        is_in.then(|| at + character.len_utf8())
    }

    /// The end of the longest run of characters of the set that begins at `at`.
    #[inline]
    pub(super) fn run(&self, text: &str, mut at: usize) -> usize {
        loop {
            at = self.search.next(text.as_bytes(), at, &self.leads);
            match text.as_bytes().get(at) {
                Some(0x80..) if self.some.is_some() => match self.character(text, at) {
                    Some(end) => at = end,
                    None => return at,
                },
                _ => return at,
            }
        }
    }
}

fn contains(set: &hir::ClassUnicode, character: char) -> bool {
    let ranges = set.ranges();
    let place = ranges.partition_point(|range| range.end() < character);
    ranges.get(place).is_some_and(|range| range.start() <= character)
}

impl Search {
    fn of(leads: &[bool; 256]) -> Self {
        let ends = |from: u8, to: u8| (from..to).filter(|b| !leads.get(usize::from(*b)).copied().unwrap_or(false));
        let (controls, marks): (bool, Vec<_>) =
            (ends(0, CONTROL_END).next().is_some(), ends(CONTROL_END, 0x80).take(3).collect());
        let beyond = !leads.get(0x80).copied().unwrap_or(false);
        match *marks {
            // A mark that is there twice does no harm; 0x7F is rare.
            [] => Self::Words { controls, marks: [0x7F; 2], beyond },
            [mark] => Self::Words { controls, marks: [mark; 2], beyond },
            [a, b] => Self::Words { controls, marks: [a, b], beyond },
            _ => Self::Table,
        }
    }

    /// The offset of the first byte at or after `at` that is no lead, or the length of the text.
    #[inline]
    fn next(self, text: &[u8], mut at: usize, leads: &[bool; 256]) -> usize {
        let is_lead = |b: u8| leads.get(usize::from(b)).copied().unwrap_or(false);
        if let Self::Words { controls, marks: [a, b], beyond } = self {
            let (bound, high) = (if controls { CONTROL_END } else { 0 }, if beyond { HIGHS } else { 0 });
            let marked = |word| marks(word, a) | marks(word, b) | below(word, bound) | (word & high);
            loop {
                at = find(text, at, marked, |b| !is_lead(b));
                // Of the bytes that are marked, not all end a run.
                match text.get(at) {
                    Some(b) if is_lead(*b) => at += 1,
                    _ => return at,
                }
            }
        }
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().position(|b| !is_lead(*b)).unwrap_or(rest.len())
    }
}
