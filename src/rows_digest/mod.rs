//! A digest of rows as a multiset: independent of format, order and partitioning, but different if a row is changed, dropped,
//! added or repeated.
//!
//! A row is represented by its CSV record ([`record`]). The SHA-256 of the record is expanded to a number of 3,072 bits, and
//! the numbers of all rows are multiplied modulo a prime. So the product of the digests of files is the digest of their
//! package. `docs/conservation.md` documents it, with an implementation of thirty lines.
//!
//! Why a product and not a sum or XOR: for those, at sizes that fit a manifest, different rows with the same digest can be
//! found by solving linear equations, a generalized birthday attack or lattice reduction. For a product, that is as hard as
//! discrete logarithms modulo the prime. Sources: Bellare and Micciancio, "A New Paradigm for Collision-Free
//! Hashing", EUROCRYPT 1997 (MuHASH); Wagner, "A Generalized Birthday Problem", CRYPTO 2002; Clarke et al.,
//! "Incremental Multiset Hash Functions", ASIACRYPT 2003; the prime and the size are those of Bitcoin Core's MuHash3072.

mod product;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use product::{BYTES, Product};

/// Prefix of the text forms.
const VERSION: &str = "rows-v1";

/// The digest of a multiset of rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowsDigest(Product);

/// SHA-256 of a row's record.
pub(crate) type RowHash = [u8; 32];

/// The SHA-256 of one record, its line end included.
pub(crate) fn hash(record: &[u8]) -> RowHash {
    Sha256::digest(record).into()
}

impl RowsDigest {
    /// Adds a row.
    pub fn add(&mut self, row: &RowHash) {
        self.0.multiply(&Product::from_bytes(&expand(row)));
    }

    /// Adds all rows of another digest.
    pub fn combine(&mut self, other: &Self) {
        self.0.multiply(&other.0);
    }

    /// The short digest of a package: SHA-256 over its columns, its number of rows and its rows.
    pub fn of_package<'a>(&self, columns: impl IntoIterator<Item = &'a str>, rows: u64) -> String {
        let mut header = Vec::new();
        record(columns.into_iter().map(|name| Some(name.as_bytes())), &mut header);
        let mut sha256 = Sha256::new();
        sha256.update(format!("{VERSION}\n"));
        sha256.update(&header);
        sha256.update(format!("{rows}\n"));
        sha256.update(self.0.to_bytes());
        format!("{VERSION}:sha256:{}", data_encoding::HEXLOWER.encode(&sha256.finalize()))
    }
}

/// `rows-v1:` and the number in 768 lower-case hexadecimal digits.
impl fmt::Display for RowsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}:{}", data_encoding::HEXLOWER.encode(&self.0.to_bytes()))
    }
}

/// The error of a text that is not a digest of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not `rows-v1:` and a number below the prime in 768 lower-case hexadecimal digits")]
pub struct NoRowsDigest;

impl FromStr for RowsDigest {
    type Err = NoRowsDigest;

    fn from_str(text: &str) -> Result<Self, NoRowsDigest> {
        let digits = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(':')).ok_or(NoRowsDigest)?;
        let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).map_err(|_| NoRowsDigest)?;
        let digest = Self(Product::from_bytes(&<[u8; BYTES]>::try_from(bytes).map_err(|_| NoRowsDigest)?));
        // Each digest has exactly one text.
        if digest.to_string() == text { Ok(digest) } else { Err(NoRowsDigest) }
    }
}

/// The mask generation function MGF1 with SHA-256 (RFC 8017, appendix B.2.1).
fn expand(seed: &RowHash) -> [u8; BYTES] {
    let mut mask = [0; BYTES];
    for (counter, block) in (0u32..).zip(mask.chunks_exact_mut(32)) {
        block.copy_from_slice(&Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize());
    }
    mask
}

/// Appends the record of a row with its line end: cells separated by commas, quoted if they are empty or contain a comma, a
/// quote, LF or CR. A null is an unquoted empty cell. With only one column, a null is `""`, like empty text.
pub(crate) fn record<'a>(cells: impl IntoIterator<Item = Option<&'a [u8]>>, out: &mut Vec<u8>) {
    let start = out.len();
    for (i, cell) in cells.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let Some(text) = cell else { continue };
        if !text.is_empty() && !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            out.extend_from_slice(text);
            continue;
        }
        out.push(b'"');
        for &byte in text {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    if out.len() == start {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[&str]) -> RowsDigest {
        let mut digest = RowsDigest::default();
        rows.iter().for_each(|row| digest.add(&hash(row.as_bytes())));
        digest
    }

    fn text(cells: &[Option<&str>]) -> String {
        let mut out = Vec::new();
        record(cells.iter().map(|cell| cell.map(str::as_bytes)), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn order_and_grouping_do_not_matter_and_everything_else_does() {
        let whole = of(&["1,a\n", "2,b\n", "2,b\n", "3,\n"]);
        assert_eq!(of(&["2,b\n", "3,\n", "1,a\n", "2,b\n"]), whole);
        let mut parts = of(&["2,b\n"]);
        parts.combine(&of(&["3,\n", "2,b\n", "1,a\n"]));
        parts.combine(&of(&[]));
        assert_eq!(parts, whole);
        for other in [
            &["1,a\n", "2,b\n", "3,\n"][..],
            &["1,a\n", "2,b\n", "2,b\n", "2,b\n", "3,\n"],
            &["1,a\n", "1,a\n", "2,b\n", "3,\n"],
            &["1,b\n", "2,a\n", "2,b\n", "3,\n"],
            &["1,a\n", "2,b\n", "2,b\n", "3,\"\"\n"],
        ] {
            assert_ne!(of(other), whole, "{other:?}");
        }
        // Repetitions that vanish from sums of small words.
        let mut doubled = of(&["1,a\n"]);
        for _ in 0..64 {
            doubled.combine(&doubled.clone());
            assert_ne!(doubled, RowsDigest::default());
        }
    }

    #[test]
    fn a_package_is_its_columns_its_row_count_and_its_rows() {
        let digest = of(&["1,a\n"]);
        let package = digest.of_package(["id", "b"], 1);
        assert!(package.starts_with("rows-v1:sha256:") && package.len() == 79, "{package}");
        assert_ne!(digest.of_package(["id", "c"], 1), package);
        assert_ne!(digest.of_package(["id,b"], 1), package);
        assert_ne!(digest.of_package(["id", "b"], 2), package);
    }

    #[test]
    fn the_text_of_a_digest_is_read_back_and_no_other_text() {
        for digest in [of(&[]), of(&["x\n"]), of(&["x\n", "y\n"])] {
            let text = digest.to_string();
            assert_eq!(text.len(), 776);
            assert_eq!(text.parse(), Ok(digest));
            assert_eq!(text.to_uppercase().parse::<RowsDigest>(), Err(NoRowsDigest));
            assert_eq!(text[..775].parse::<RowsDigest>(), Err(NoRowsDigest));
        }
        assert_eq!(format!("rows-v1:{}", "f".repeat(768)).parse::<RowsDigest>(), Err(NoRowsDigest));
        assert_eq!("rows-v1:é".parse::<RowsDigest>(), Err(NoRowsDigest));
    }

    #[test]
    fn a_record_is_the_line_of_a_csv_file() {
        assert_eq!(text(&[Some("a"), None, Some(""), Some("b c")]), "a,,\"\",b c\n");
        assert_eq!(text(&[Some("a,b"), Some("say \"x\""), Some("1\n2\r")]), "\"a,b\",\"say \"\"x\"\"\",\"1\n2\r\"\n");
        assert_eq!(
            (text(&[None]), text(&[Some("")]), text(&[None, None])),
            ("\"\"\n".into(), "\"\"\n".into(), ",\n".into())
        );
    }
}
