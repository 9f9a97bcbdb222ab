//! Caches the encoded texts of a column, for values that repeat.
//!
//! Columns stored with a dictionary in Parquet have few values and many equal views of them. If a value needs work, such as
//! doubling quotes or checking JSON, the result is cached and copied. If values do not repeat, the cache detects that after
//! a few values and turns itself off.

/// Slots for values. A useful dictionary has fewer values.
const SLOTS: usize = 64;

/// Values cached without a hit before the cache is turned off.
const PATIENCE: usize = 256;

/// Longer values are not cached, because copying costs as much as encoding.
const MAX_LENGTH: usize = 1024;

/// Most bytes in the cache. Beyond that, it is cleared, so that it does not crowd out the CPU caches.
const MAX_BYTES: usize = 32 * 1024;

/// The cache for one column of one batch.
#[derive(Default)]
pub(super) struct Memo {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    kept: usize,
    found: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// 0 means empty: a view contains its length, and short text is not cached.
    view: u128,
    start: usize,
    end: usize,
}

/// The slot of a view, by multiplicative hashing of its position in the buffer (Knuth, TAOCP 3, 6.4).
#[inline(always)]
fn slot_of(view: u128) -> usize {
    let offset = (view >> 96) as u32;
    (offset.wrapping_mul(0x9e37_79b9) >> (32 - SLOTS.trailing_zeros())) as usize
}

impl Memo {
    /// The encoded text of this view, if it is cached.
    #[inline]
    pub(super) fn get(&mut self, view: u128) -> Option<&[u8]> {
        let slot = self.slots.get(slot_of(view))?;
        if slot.view != view {
            return None;
        }
        self.found += 1;
        self.bytes.get(slot.start..slot.end)
    }

    /// Caches the encoded text of this view.
    pub(super) fn keep(&mut self, view: u128, became: &[u8]) {
        if became.len() > MAX_LENGTH {
            return;
        }
        if self.kept > PATIENCE + 2 * self.found {
            self.slots.clear();
            return;
        }
        self.kept += 1;
        if self.bytes.len() + became.len() > MAX_BYTES {
            self.slots.clear();
            self.bytes.clear();
        }
        self.slots.resize(SLOTS, Slot::default());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(became);
        if let Some(slot) = self.slots.get_mut(slot_of(view)) {
            *slot = Slot { view, start, end: self.bytes.len() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view of 20 bytes at `offset`.
    fn view(offset: u32) -> u128 {
        u128::from(offset) << 96 | 20
    }

    #[test]
    fn what_comes_again_is_found_also_where_views_share_a_place() {
        let mut memo = Memo::default();
        for round in 0..100 {
            for offset in 0..200 {
                let became = format!("value of {offset}");
                match memo.get(view(offset)) {
                    Some(known) => assert_eq!(known, became.as_bytes()),
                    None => memo.keep(view(offset), became.as_bytes()),
                }
            }
            let again = memo.get(view(round)).map(<[u8]>::to_vec);
            assert!(again.is_none_or(|known| known == format!("value of {round}").as_bytes()));
        }
    }

    #[test]
    fn what_never_comes_again_is_given_up() {
        let mut memo = Memo::default();
        for offset in 0..10_000 {
            assert!(memo.get(view(offset)).is_none());
            memo.keep(view(offset), &[b'x'; 500]);
            assert!(memo.bytes.len() <= MAX_BYTES);
        }
        assert!(memo.slots.is_empty());
    }

    #[test]
    fn few_values_are_found_again_and_again() {
        let mut memo = Memo::default();
        let mut kept = 0;
        for i in 0..1000 {
            if memo.get(view(i % 3 * 40)).is_none() {
                memo.keep(view(i % 3 * 40), b"value");
                kept += 1;
            }
        }
        assert_eq!(kept, 3);
    }
}
