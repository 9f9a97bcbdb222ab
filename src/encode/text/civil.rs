//! Writes days and times of day as in RFC 3339.
//!
//! Years before 0 or after 9999, which RFC 3339 lacks, are written with a sign, as in ISO 8601's expanded form:
//! `-0001-01-01`, `+10000-01-01`. No value of any column panics or wraps.

use super::slab::put;

/// `HH` for 0–99 and so on.
#[inline]
pub(super) fn digit_pair(n: u8) -> [u8; 2] {
    [b'0' + n / 10 % 10, b'0' + n % 10]
}

/// Caches the text of the last day, because consecutive rows are mostly of the same day.
pub(super) struct Day {
    /// Since 1970-01-01.
    days: i64,
    /// The date and a `T`. At most a sign, 12 digits of year, `-MM-DD`, `T`.
    text: [u8; 20],
    /// Bytes of the date in `text`, without the `T`.
    date: usize,
}

impl Day {
    pub(super) fn new() -> Self {
        let mut day = Self { days: 0, text: [0; 20], date: 0 };
        day.render(0);
        day
    }

    /// Appends `YYYY-MM-DD`.
    #[inline]
    pub(super) fn write(&mut self, days: i64, out: &mut Vec<u8>) {
        if days != self.days {
            self.render(days);
        }
        out.extend_from_slice(&self.text[..self.date]);
    }

    /// Appends `YYYY-MM-DDT`.
    #[inline]
    pub(super) fn write_with_t(&mut self, days: i64, out: &mut Vec<u8>) {
        if days != self.days {
            self.render(days);
        }
        out.extend_from_slice(&self.text[..=self.date]);
    }

    /// Writes `YYYY-MM-DDT` at `at` and returns its end.
    #[inline(always)]
    pub(super) fn put_with_t(&mut self, days: i64, slab: &mut [u8], at: usize) -> usize {
        if days != self.days {
            self.render(days);
        }
        put(slab, at, &self.text);
        at + self.date + 1
    }

    #[cold]
    fn render(&mut self, days: i64) {
        let (year, month, day) = civil(days);
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(year.unsigned_abs()).as_bytes();
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            for (to, from) in self.text.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
            at += bytes.len();
        };
        if year < 0 {
            put(b"-");
        } else if year > 9999 {
            put(b"+");
        }
        put(&b"000"[..4usize.saturating_sub(digits.len())]);
        put(digits);
        put(b"-");
        put(&digit_pair(month));
        put(b"-");
        put(&digit_pair(day));
        put(b"T");
        self.date = at - 1;
        self.days = days;
    }
}

/// Year, month and day of the proleptic Gregorian calendar (Hinnant, chrono-Compatible Low-Level Date Algorithms,
/// `civil_from_days`). Years within ±10^15, beyond any Arrow type, do not overflow.
#[expect(clippy::cast_possible_truncation, reason = "a month is at most 12 and a day at most 31")]
fn civil(days: i64) -> (i64, u8, u8) {
    const DAYS_OF_ERA: i64 = 146_097;
    // Eras of 400 years start on 1 March of year 0, so that leap days end them.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_OF_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_OF_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

/// The number of ticks of 10^-`DIGITS` seconds in a second.
#[expect(clippy::cast_possible_truncation, reason = "there are at most nine digits")]
pub(super) const fn ticks_per_second<const DIGITS: usize>() -> u64 {
    10u64.pow(DIGITS as u32)
}

/// Appends a time of day as `HH:MM:SS` and `DIGITS` digits of fraction. `ticks` are of 10^-DIGITS seconds.
///
/// A column may hold values outside a day. They are written with more than 23 or with negative hours.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "all casts are of digits, or of numbers below 10^9")]
pub(super) fn clock<const DIGITS: usize>(ticks: i64, out: &mut Vec<u8>) {
    let per_second = ticks_per_second::<DIGITS>();
    if ticks < 0 {
        out.push(b'-');
    }
    let ticks = ticks.unsigned_abs();
    let seconds = ticks / per_second;
    let hours = seconds / 3600;
    let mut text = *b"00:00:00.000000000";
    if hours > 99 {
        out.extend_from_slice(itoa::Buffer::new().format(hours).as_bytes());
    } else {
        text[..2].copy_from_slice(&digit_pair(hours as u8));
    }
    text[3..5].copy_from_slice(&digit_pair((seconds / 60 % 60) as u8));
    text[6..8].copy_from_slice(&digit_pair((seconds % 60) as u8));
    let mut fraction = (ticks % per_second) as u32;
    for digit in text[9..9 + DIGITS].iter_mut().rev() {
        *digit = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    let start = if hours > 99 { 2 } else { 0 };
    let end = if DIGITS == 0 { 8 } else { 9 + DIGITS };
    out.extend_from_slice(&text[start..end]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(days: i64) -> String {
        let mut out = Vec::new();
        let mut day = Day::new();
        day.write(days, &mut out);
        let mut with_t = Vec::new();
        day.write_with_t(days, &mut with_t);
        assert_eq!(with_t, [out.as_slice(), b"T"].concat());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_days() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(2_932_896), "9999-12-31");
        assert_eq!(date(2_932_897), "+10000-01-01");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-0001-12-31");
    }

    #[test]
    fn the_first_and_last_day_of_every_type_are_written() {
        assert_eq!(date(i64::from(i32::MAX)), "+5881580-07-11");
        assert_eq!(date(i64::from(i32::MIN)), "-5877641-06-23");
        assert_eq!(date(i64::MAX / 86_400), "+292277026596-12-04");
        assert_eq!(date(i64::MIN.div_euclid(86_400)), "-292277022657-01-27");
    }

    #[test]
    fn what_is_no_time_of_day_is_still_written() {
        let text = |seconds| {
            let mut out = Vec::new();
            clock::<0>(seconds, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(86_399), "23:59:59");
        assert_eq!(text(86_400), "24:00:00");
        assert_eq!(text(-1), "-00:00:01");
        assert_eq!(text(i64::MIN), "-2562047788015215:30:08");
    }

    proptest! {
        #[test]
        fn days_are_jiffs_days(days in -4_371_587i32..2_932_896) {
            let expected = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            let text = if expected.year() < 0 {
                format!("-{:04}-{:02}-{:02}", -expected.year(), expected.month(), expected.day())
            } else {
                expected.to_string()
            };
            prop_assert_eq!(date(i64::from(days)), text);
        }

        #[test]
        fn times_of_day_are_those_of_format(ticks in 0i64..86_400_000_000_000) {
            let mut out = Vec::new();
            clock::<9>(ticks, &mut out);
            let s = ticks / 1_000_000_000;
            let expected = format!("{:02}:{:02}:{:02}.{:09}", s / 3600, s / 60 % 60, s % 60, ticks % 1_000_000_000);
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
