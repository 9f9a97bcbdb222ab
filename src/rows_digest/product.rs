//! Numbers modulo the largest safe prime of 3,072 bits, 2^3072 - 1103717, and their product.
//!
//! Schoolbook multiplication, column by column. Because 2^3072 is congruent to 1103717, the bits beyond are multiplied by
//! 1103717 and added (Menezes et al., Handbook of Applied Cryptography, 14.3.4). Nothing here is secret, so timing may depend
//! on values. Invariant: a number fits its limbs but may not be fully reduced; [`Product::to_bytes`] reduces it.

/// 64-bit words, the lowest first.
const LIMBS: usize = 48;

/// Bytes of a number.
pub(super) const BYTES: usize = 8 * LIMBS;

/// 2^3072 minus the prime.
const MISSING: u64 = 1_103_717;

/// A number modulo the prime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product([u64; LIMBS]);

impl Default for Product {
    /// One.
    fn default() -> Self {
        let mut limbs = [0; LIMBS];
        limbs[0] = 1;
        Self(limbs)
    }
}

impl Product {
    /// From big-endian bytes.
    pub(super) fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        let mut limbs = [0; LIMBS];
        for (limb, word) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0.iter().rev()) {
            *limb = u64::from_be_bytes(*word);
        }
        Self(limbs).reduced()
    }

    /// Big-endian bytes of the number below the prime.
    pub(super) fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (word, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().rev().zip(self.0) {
            *word = limb.to_be_bytes();
        }
        bytes
    }

    /// Multiplies by another number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half of a sum is meant, and the carry is less than 2^22"
    )]
    pub(super) fn multiply(&mut self, other: &Self) {
        let mut wide = [0u64; 2 * LIMBS];
        let (mut sum, mut above) = (0u128, 0u64);
        for (column, limb) in wide.iter_mut().enumerate() {
            let (first, last) = (column.saturating_sub(LIMBS - 1), column.min(LIMBS - 1));
            // The last column only receives the carry.
            let mine = self.0.get(first..=last).unwrap_or_default();
            let theirs = other.0.get(column - last..=column - first).unwrap_or_default();
            for (a, b) in mine.iter().zip(theirs.iter().rev()) {
                let (next, carry) = sum.overflowing_add(u128::from(*a) * u128::from(*b));
                sum = next;
                above += u64::from(carry);
            }
            *limb = sum as u64;
            sum = sum >> 64 | u128::from(above) << 64;
            above = 0;
        }
        let (low, high) = wide.split_at(LIMBS);
        let mut carry = 0u128;
        for ((limb, low), high) in self.0.iter_mut().zip(low).zip(high) {
            carry += u128::from(*low) + u128::from(*high) * u128::from(MISSING);
            *limb = carry as u64;
            carry >>= 64;
        }
        // A further carry is at most one and leaves a small number.
        while carry > 0 {
            carry = u128::from(self.add(carry as u64 * MISSING));
        }
        *self = std::mem::take(self).reduced();
    }

    /// Adds a small number and returns the carry.
    fn add(&mut self, small: u64) -> bool {
        let mut carry = small;
        for limb in &mut self.0 {
            let (sum, over) = limb.overflowing_add(carry);
            *limb = sum;
            carry = u64::from(over);
            if carry == 0 {
                return false;
            }
        }
        true
    }

    /// The fully reduced number.
    fn reduced(self) -> Self {
        // Only these numbers are not below the prime.
        if self.0[1..].iter().any(|limb| *limb != u64::MAX) || self.0[0] < MISSING.wrapping_neg() {
            return self;
        }
        let mut limbs = [0; LIMBS];
        limbs[0] = self.0[0].wrapping_sub(MISSING.wrapping_neg());
        Self(limbs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(low: u64) -> Product {
        let mut limbs = [0; LIMBS];
        limbs[0] = low;
        Product(limbs)
    }

    fn times(a: &Product, b: &Product) -> Product {
        let mut product = a.clone();
        product.multiply(b);
        product
    }

    /// The prime less a small number.
    fn below_the_prime(small: u64) -> Product {
        let mut limbs = [u64::MAX; LIMBS];
        limbs[0] = MISSING.wrapping_neg() - small;
        Product(limbs)
    }

    #[test]
    fn what_is_just_below_the_prime_is_minus_a_small_number() {
        assert_eq!(times(&below_the_prime(1), &below_the_prime(1)), number(1));
        assert_eq!(times(&below_the_prime(3), &below_the_prime(5)), number(15));
        assert_eq!(times(&below_the_prime(3), &number(5)), below_the_prime(15));
        let all = Product::from_bytes(&[0xff; BYTES]);
        assert_eq!(all, number(MISSING - 1));
        assert_eq!(Product::from_bytes(&below_the_prime(0).to_bytes()), number(0));
        assert_eq!(Product::from_bytes(&below_the_prime(1).to_bytes()), below_the_prime(1));
    }

    #[test]
    fn powers_are_those_of_another_implementation() {
        // python3 -c 'print(pow(int.from_bytes(bytes(range(256)) + bytes(128), "big"), 12345, 2**3072 - 1103717).to_bytes(384, "big")[:16].hex())'
        let mut bytes = [0; BYTES];
        (0u8..=255).zip(&mut bytes).for_each(|(value, byte)| *byte = value);
        let base = Product::from_bytes(&bytes);
        assert_eq!(base.to_bytes(), bytes);
        let mut power = Product::default();
        (0..12_345).for_each(|_| power.multiply(&base));
        assert_eq!(data_encoding::HEXLOWER.encode(&power.to_bytes()[..16]), "d2084adf593e81d4da6580777daf3938");
    }

    #[test]
    fn the_order_of_the_group_is_one_less_than_the_prime() {
        // Fermat's little theorem, by repeated squaring of 3 to the prime less one.
        let exponent = below_the_prime(1);
        let mut power = Product::default();
        for limb in exponent.0.iter().rev() {
            for bit in (0..64).rev() {
                power = times(&power, &power);
                if limb >> bit & 1 == 1 {
                    power.multiply(&number(3));
                }
            }
        }
        assert_eq!(power, number(1));
    }
}
