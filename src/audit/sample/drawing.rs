//! Which rows are drawn: a rule that can be checked by hand.
//!
//! Draw `i` (1, 2, 3 …) is the SHA-256 of the text `kt-export sample 1 <digest> <seed> <i>`, single spaces, no line end,
//! where `<digest>` is the SHA-256 of `manifest.json` in lower-case hex. Its first 16 bytes, read as one big-endian number,
//! modulo the number of rows, give a row counted from 0. A row that was drawn before is passed over. 128 bits over fewer
//! than 2^64 rows make no row likelier than another by more than one part in 2^64.
//!
//! The digest binds the drawing to the package: who makes a package cannot know which rows a seed will draw before the
//! package is finished, and who chooses the seed afterwards cannot change the package.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// The rows, each counted from 0, with the number of the draw that gave it. All rows, without draws, where no fewer are
/// asked for than there are.
pub fn draw(manifest_sha256: &str, seed: u64, rows: u64, population: u64) -> BTreeMap<u64, Option<u64>> {
    if rows >= population {
        return (0..population).map(|row| (row, None)).collect();
    }
    let mut drawn = BTreeMap::new();
    let mut number = 0_u64;
    while (drawn.len() as u64) < rows {
        number += 1;
        let row = one(manifest_sha256, seed, number, population);
        drawn.entry(row).or_insert(Some(number));
    }
    drawn
}

fn one(manifest_sha256: &str, seed: u64, number: u64, population: u64) -> u64 {
    let digest = Sha256::digest(format!("kt-export sample 1 {manifest_sha256} {seed} {number}"));
    let drawn = digest.iter().take(16).fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    // Less than the population, which has 64 bits.
    u64::try_from(drawn % u128::from(population.max(1))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// As Python computes it: `int(hashlib.sha256(text).hexdigest()[:32], 16) % 1000` for i = 1, 2, 3 and the digest of
    /// 64 zeros.
    #[test]
    fn the_first_draws_are_those_that_python_computes() {
        let zeros = "0".repeat(64);
        let draws = |seed| (1..=3).map(|number| one(&zeros, seed, number, 1000)).collect::<Vec<_>>();
        assert_eq!(draws(7), [428, 854, 647]);
        assert_eq!(draws(8), [396, 794, 7]);
    }

    proptest! {
        #[test]
        fn so_many_different_rows_are_drawn_and_more_rows_keep_the_first(
            seed in any::<u64>(), rows in 0_u64..60, more in 0_u64..20, population in 0_u64..80,
        ) {
            let fewer = draw("d", seed, rows, population);
            prop_assert_eq!(fewer.len() as u64, rows.min(population));
            prop_assert!(fewer.keys().all(|row| *row < population));
            let drawn = draw("d", seed, rows + more, population);
            prop_assert!(fewer.keys().collect::<BTreeSet<_>>().is_subset(&drawn.keys().collect()));
        }
    }
}
