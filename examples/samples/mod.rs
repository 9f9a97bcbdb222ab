//! Sample data of the five built-in types, from 2026-02-25 to 2026-04-05.
//!
//! Small, and awkward where real data is: instants on the very edges of windows and days, the night in which the clocks
//! of Berlin change, nanoseconds, integers that no double holds, text that breaks naive CSV, values of changing type.
//! Everything comes from one fixed seed and no clock, so that the files are the same wherever they are made.

use std::error::Error;

use jiff::Timestamp;

mod audit_log;
mod escalations;
mod events;
mod kb_audit;
mod record;
mod traces;

/// Why the samples could not be made.
pub(crate) type Failure = Box<dyn Error>;

/// Every file: its name below `examples/data/`, and its bytes.
pub(crate) fn files() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut files = events::files()?;
    files.extend(traces::files()?);
    files.extend(escalations::files()?);
    files.extend(audit_log::files()?);
    files.extend(kb_audit::files()?);
    Ok(files)
}

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// 2026-02-25T00:00:00Z in seconds since 1970.
const FIRST: i64 = 1_771_977_600;

/// 2026-04-06T00:00:00Z: no row is as late.
const END: i64 = 1_775_433_600;

/// Edges of windows and of days, in UTC and in Berlin, with their neighbours: RFC 3339.
const EDGES: [&str; 14] = [
    "2026-02-28T22:59:59.999999999Z", // the last instant before March in Berlin
    "2026-02-28T23:00:00Z",           // March begins in Berlin
    "2026-02-28T23:59:59.999999999Z",
    "2026-03-01T00:00:00Z", // March begins in UTC
    "2026-03-01T00:00:00.000000001Z",
    "2026-03-28T23:00:00Z",           // the short day begins in Berlin
    "2026-03-29T00:59:59.999999999Z", // 01:59:59 local time; the clock then jumps to 03:00
    "2026-03-29T01:00:00Z",
    "2026-03-29T22:00:00Z",           // the short day ends
    "2026-03-31T21:59:59.999999999Z", // the last instant of March in Berlin
    "2026-03-31T22:00:00Z",
    "2026-03-31T23:59:59.999999999Z", // and in UTC
    "2026-04-01T00:00:00Z",
    "2026-04-05T23:59:59.999999999Z",
];

/// What text may hold: plain, accented, emoji, right-to-left, combining, CJK, control and quoting characters.
const TEXTS: [&str; 12] = [
    "Prompt asked for another customer's invoice",
    "Überprüfung nötig: Betrag über 10.000 €",
    "🚨 policy hit 👩‍💻 twice",
    "مرحبا، تم حظر الطلب",
    "שלום, הבקשה נחסמה",
    "確認が必要です",
    "e\u{301}tude de cas",
    "tab\there, comma, and \"quotes\"",
    "back\\slash and a null byte: \\u0000 as text",
    "ends with spaces   ",
    "zero\u{200b}width and bidi \u{202e}txet\u{202c}",
    "a longer text, repeated until it no longer fits in the twelve bytes that a view holds inline",
];

/// Instants of `count` rows in nanoseconds since 1970: spread evenly, moved a little, the edges among them. Nearly
/// in order, as logs are.
fn instants(random: &mut Random, count: i64) -> Result<Vec<i64>, Failure> {
    let step = (END - FIRST) / count;
    let spread = (0..count).map(|row| (FIRST + row * step + random.below(step)) * SECOND + random.below(SECOND));
    let mut all: Vec<i64> = spread.collect();
    for edge in EDGES {
        all.push(i64::try_from(edge.parse::<Timestamp>()?.as_nanosecond())?);
    }
    all.sort_unstable();
    // Records that were delayed on their way.
    for row in (9..all.len()).step_by(23) {
        all.swap(row, row - 3);
    }
    Ok(all)
}

/// An instant as RFC 3339 in UTC, with as many fraction digits as it needs.
fn rfc3339(nanosecond: i64) -> Result<String, Failure> {
    Ok(Timestamp::from_nanosecond(i128::from(nanosecond))?.to_string())
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for samples, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0..bound`; the bias of the remainder does not matter here.
    fn below(&mut self, bound: i64) -> i64 {
        (self.next() >> 1).cast_signed() % bound.max(1)
    }

    /// True once in `n` on average.
    fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(from.len() as i64)).unwrap_or_default();
        from.get(index).copied().unwrap_or_default()
    }

    /// A version 4 UUID of one of `distinct` beings.
    fn uuid(&mut self, distinct: i64) -> String {
        let mut of_being = Random(self.below(distinct).cast_unsigned() ^ 0x00c0_ffee);
        let (a, b) = (of_being.next(), of_being.next());
        let variant = 8 + (b >> 62);
        format!(
            "{:08x}-{:04x}-4{:03x}-{variant:x}{:03x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 48 & 0xfff,
            b & 0xffff_ffff_ffff
        )
    }
}
