//! Writes the digits of integers, eight at a time in one register.

use super::slab::{ZEROS, put};

/// 10^8, the first number with more than eight digits.
const EIGHT: u64 = 100_000_000;

/// The values of the eight digits of a number below 10^8, the leading one in the lowest byte: halves, quarters and
/// eighths of it are divided at the same time, in lanes of the register, by multiplying with a reciprocal that is exact
/// for as many digits as the lane holds (Warren, Hacker's Delight, 10-8).
#[inline(always)]
fn eight(n: u64) -> u64 {
    let (high, low) = (n / 10_000, n % 10_000);
    let fours = high | low << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// Writes an integer at `at` and returns its end.
#[inline(always)]
pub(super) fn unsigned(n: u64, slab: &mut [u8], at: usize) -> usize {
    if n < EIGHT { short(n, slab, at) } else { long(n, slab, at) }
}

#[inline(always)]
fn short(n: u64, slab: &mut [u8], at: usize) -> usize {
    let digits = eight(n);
    // The last digit is written even if it is 0.
    let leading = (digits | 1 << 56).trailing_zeros() / 8;
    put(slab, at, &((digits | ZEROS) >> (8 * leading)).to_le_bytes());
    at + 8 - leading as usize
}

fn long(n: u64, slab: &mut [u8], at: usize) -> usize {
    let at = unsigned(n / EIGHT, slab, at);
    put(slab, at, &(eight(n % EIGHT) | ZEROS).to_le_bytes());
    at + 8
}

/// Writes a minus sign at `at` if `negative`, and returns the start of the digits.
#[inline(always)]
pub(super) fn sign(negative: bool, slab: &mut [u8], at: usize) -> usize {
    slab[at] = b'-';
    at + usize::from(negative)
}

/// Writes an integer at `at` and returns its end.
#[inline(always)]
pub(super) fn signed(n: i64, slab: &mut [u8], at: usize) -> usize {
    let at = sign(n < 0, slab, at);
    unsigned(n.unsigned_abs(), slab, at)
}

/// Writes the last `count` digits of `n`, including leading zeros, and returns their end.
#[inline(always)]
pub(super) fn padded(n: u64, count: usize, slab: &mut [u8], at: usize) -> usize {
    let (mut n, mut count, mut at) = (n, count, at);
    if count > 8 {
        at = padded_slowly(n / EIGHT, count - 8, slab, at);
        (n, count) = (n % EIGHT, 8);
    }
    if count > 0 {
        put(slab, at, &((eight(n) | ZEROS) >> (64 - 8 * count)).to_le_bytes());
    }
    at + count
}

fn padded_slowly(n: u64, count: usize, slab: &mut [u8], at: usize) -> usize {
    padded(n, count, slab, at)
}

/// Writes `HH:MM:SS` of a second of the day.
#[inline(always)]
pub(super) fn time_of_day(second: u64, slab: &mut [u8], at: usize) -> usize {
    // As the number HH0MM0SS, whose zeros become colons.
    let colons = 0x0000_0a00_000a_0000;
    let n = second / 3600 * 1_000_000 + second / 60 % 60 * 1_000 + second % 60;
    put(slab, at, &((eight(n) | ZEROS) + colons).to_le_bytes());
    at + 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl Fn(&mut [u8], usize) -> usize) -> String {
        let mut slab = [b'x'; 64];
        let end = write(&mut slab, 1);
        assert_eq!(slab[0], b'x');
        String::from_utf8(slab[1..end].to_vec()).unwrap()
    }

    #[test]
    fn all_numbers_of_four_digits_in_both_halves() {
        for n in 0..10_000 {
            assert_eq!(text(|slab, at| unsigned(n, slab, at)), n.to_string());
            let twice = n * 10_000 + (9_999 - n);
            assert_eq!(text(|slab, at| padded(twice, 8, slab, at)), format!("{twice:08}"));
        }
    }

    #[test]
    fn powers_of_ten_and_their_neighbours() {
        for power in 0..20 {
            for n in [10u64.pow(power) - 1, 10u64.pow(power), 10u64.pow(power) + 1] {
                assert_eq!(text(|slab, at| unsigned(n, slab, at)), n.to_string());
            }
        }
        for n in [i64::MIN, -1, 0, i64::MAX] {
            assert_eq!(text(|slab, at| signed(n, slab, at)), n.to_string());
        }
        assert_eq!(text(|slab, at| unsigned(u64::MAX, slab, at)), u64::MAX.to_string());
    }

    #[test]
    fn every_second_of_a_day() {
        for s in 0..86_400 {
            let expected = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
            assert_eq!(text(|slab, at| time_of_day(s, slab, at)), expected);
        }
    }

    proptest! {
        #[test]
        fn any_integer(n in any::<i64>(), shift in 0u8..64) {
            let n = n >> shift;
            prop_assert_eq!(text(|slab, at| signed(n, slab, at)), n.to_string());
        }

        #[test]
        fn any_number_of_digits(n in any::<u64>(), count in 0usize..19) {
            let n = n % 10u64.pow(count as u32);
            let expected = if count == 0 { String::new() } else { format!("{n:0count$}") };
            prop_assert_eq!(text(|slab, at| padded(n, count, slab, at)), expected);
        }
    }
}
