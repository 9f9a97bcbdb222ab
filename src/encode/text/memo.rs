//! What texts of a column became, for those that come again.
//!
//! Columns that a Parquet file stores with a dictionary have few values and many views of them, and views that are equal
//! show the same bytes. Where those need work, quotes doubled or JSON checked, it is done once and then copied. A column
//! whose values do not come again is found out after a few of them, and from then on left alone.

/// Places for values; a dictionary worth the trouble has fewer.
const PLACES: usize = 64;

/// Values that may be kept in vain before nothing is looked up any more.
const PATIENCE: usize = 256;

/// Longer values are not kept: the copy of one costs what the work does.
const MAX_LENGTH: usize = 1024;

/// Bytes kept at most; then all is forgotten, before it takes more of the nearer caches than it is worth.
const MAX_BYTES: usize = 32 * 1024;

/// For one column of one batch.
#[derive(Default)]
pub(super) struct Memo {
    places: Vec<Place>,
    bytes: Vec<u8>,
    kept: usize,
    found: usize,
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// Never 0 where there is a value: short text is not looked up, and the length is part of a view.
    view: u128,
    start: usize,
    end: usize,
}

/// The place of a view, from where in its buffer it points (Knuth, TAOCP 3, 6.4: multiplicative hashing).
#[inline(always)]
fn place(view: u128) -> usize {
    let offset = (view >> 96) as u32;
    (offset.wrapping_mul(0x9e37_79b9) >> (32 - PLACES.trailing_zeros())) as usize
}

impl Memo {
    /// What the text of this view became.
    #[inline]
    pub(super) fn get(&mut self, view: u128) -> Option<&[u8]> {
        let place = self.places.get(place(view))?;
        if place.view != view {
            return None;
        }
        self.found += 1;
        self.bytes.get(place.start..place.end)
    }

    /// Keeps what the text of this view became.
    pub(super) fn keep(&mut self, view: u128, became: &[u8]) {
        if became.len() > MAX_LENGTH {
            return;
        }
        if self.kept > PATIENCE + 2 * self.found {
            self.places.clear();
            return;
        }
        self.kept += 1;
        if self.bytes.len() + became.len() > MAX_BYTES {
            self.places.clear();
            self.bytes.clear();
        }
        self.places.resize(PLACES, Place::default());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(became);
        if let Some(place) = self.places.get_mut(place(view)) {
            *place = Place { view, start, end: self.bytes.len() };
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
        assert!(memo.places.is_empty());
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
