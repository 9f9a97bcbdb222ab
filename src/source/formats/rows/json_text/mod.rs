//! A pull parser for JSON text (RFC 8259).
//!
//! No library provides all that inspection needs: the raw bytes of any value, every digit of a number, and an error
//! where data would be lost silently (duplicate keys, unpaired surrogates). The parser accepts what `serde_json` accepts,
//! except those two; tests compare the two parsers.

mod build;
mod extent;
mod observe;
mod path;
mod scan;
mod text;

pub(super) use build::{append_row, is_json_text};
pub(super) use extent::Extent;
pub(super) use observe::{RowTime, observe_row, time_of};
pub(in crate::source) use path::text_at;
pub(super) use scan::{Fault, Scanner, Value, is_plain};

/// Checks that a text is one JSON value without loss.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let mut scanner = Scanner::new(text);
    scanner.skip()?;
    scanner.end()
}
