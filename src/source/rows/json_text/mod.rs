//! JSON text (RFC 8259) read by pulling one value after another.
//!
//! A parser of our own, because no library's gives what evidence needs at once: the raw bytes of any value, every
//! digit of a number, and refusal of what would be lost in silence (a key twice in one object, half a surrogate
//! pair). What it accepts is what `serde_json` accepts, less those; the tests hold it to that.

mod build;
mod observe;
mod scan;
mod text;

pub(super) use build::{append_row, is_json_text};
pub(super) use observe::{RowTime, observe_row, time_of};
pub(super) use scan::{Fault, is_plain};

/// Checks that a text is one JSON value that can be kept.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let mut scanner = scan::Scanner::new(text);
    scanner.skip()?;
    scanner.end()
}
