//! Writes durations and intervals as in ISO 8601.
//!
//! Every component of the type is written with all digits of its unit, so that equal values have equal texts: a duration of
//! 1.5 s in milliseconds is `PT1.500S`, a day-time interval `P1DT-2.000S`. Components have their own signs (ISO
//! 8601-2, 4.4.1.9), because months and days have no fixed length.

use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano};

use super::civil::ticks_per_second;

/// Appends a duration in ticks of 10^-`DIGITS` seconds.
#[inline]
pub(super) fn duration<const DIGITS: usize>(ticks: i64, out: &mut Vec<u8>) {
    if ticks < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(b"PT");
    seconds::<DIGITS>(ticks.unsigned_abs(), out);
}

/// Appends an interval of months.
pub(super) fn months(value: i32, out: &mut Vec<u8>) {
    out.push(b'P');
    component(value, b'M', out);
}

/// Appends an interval of days and milliseconds.
pub(super) fn day_time(value: IntervalDayTime, out: &mut Vec<u8>) {
    out.push(b'P');
    component(value.days, b'D', out);
    signed_seconds::<3>(i64::from(value.milliseconds), out);
}

/// Appends an interval of months, days and nanoseconds.
pub(super) fn month_day_nano(value: IntervalMonthDayNano, out: &mut Vec<u8>) {
    out.push(b'P');
    component(value.months, b'M', out);
    component(value.days, b'D', out);
    signed_seconds::<9>(value.nanoseconds, out);
}

fn component(value: i32, designator: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(designator);
}

fn signed_seconds<const DIGITS: usize>(ticks: i64, out: &mut Vec<u8>) {
    out.push(b'T');
    if ticks < 0 {
        out.push(b'-');
    }
    seconds::<DIGITS>(ticks.unsigned_abs(), out);
}

fn seconds<const DIGITS: usize>(ticks: u64, out: &mut Vec<u8>) {
    let per_second = ticks_per_second::<DIGITS>();
    out.extend_from_slice(itoa::Buffer::new().format(ticks / per_second).as_bytes());
    if DIGITS > 0 {
        let mut text = *b".000000000";
        let mut fraction = ticks % per_second;
        for digit in text[1..=DIGITS].iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        out.extend_from_slice(&text[..=DIGITS]);
    }
    out.push(b'S');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn durations_have_the_digits_of_their_unit() {
        assert_eq!(text(|out| duration::<0>(90, out)), "PT90S");
        assert_eq!(text(|out| duration::<3>(1_500, out)), "PT1.500S");
        assert_eq!(text(|out| duration::<6>(-1, out)), "-PT0.000001S");
        assert_eq!(text(|out| duration::<9>(i64::MIN, out)), "-PT9223372036.854775808S");
        assert_eq!(text(|out| duration::<0>(i64::MIN, out)), "-PT9223372036854775808S");
    }

    #[test]
    fn jiff_reads_durations_back() {
        for millis in [0, 1, 999, -1, -86_400_001, 1 << 40] {
            let read: jiff::SignedDuration = text(|out| duration::<3>(millis, out)).parse().unwrap();
            assert_eq!(read, jiff::SignedDuration::from_millis(millis));
        }
    }

    #[test]
    fn intervals_have_all_components_of_their_type() {
        assert_eq!(text(|out| months(-14, out)), "P-14M");
        assert_eq!(text(|out| day_time(IntervalDayTime::new(1, -2_000), out)), "P1DT-2.000S");
        assert_eq!(text(|out| month_day_nano(IntervalMonthDayNano::new(1, -2, 3), out)), "P1M-2DT0.000000003S");
        assert_eq!(text(|out| day_time(IntervalDayTime::new(i32::MIN, i32::MIN), out)), "P-2147483648DT-2147483.648S");
    }
}
