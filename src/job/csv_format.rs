//! The dialect of CSV shards, and which dialects can be read back.
//!
//! The spec refuses the others where they are written, the encoder in whatever way it was called; both ask here, so that
//! nothing passes the one and fails in the other.

/// Dialect of CSV shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvFormat {
    /// One ASCII byte; default `,`.
    pub delimiter: u8,
    /// Start each file with a UTF-8 byte order mark.
    pub bom: bool,
    /// Prefix cells that a spreadsheet would take for a formula with `'`.
    pub escape_formulas: bool,
    /// Write a header line.
    pub header: bool,
    /// What a null looks like.
    pub null_text: String,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: b',', bom: false, escape_formulas: false, header: true, null_text: String::new() }
    }
}

/// Whether a spreadsheet would take text for a formula (OWASP, CSV Injection): what [`CsvFormat::escape_formulas`] is
/// about.
pub fn is_formula(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'))
}

/// A CSV dialect whose files could not be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("csv option `{option}` cannot be `{value}`: {why}; {help}")]
pub struct DialectFault {
    /// The key in the spec.
    pub option: &'static str,
    /// The value, escaped for people.
    pub value: String,
    /// What would go wrong.
    pub why: &'static str,
    /// The way out.
    pub help: &'static str,
}

impl CsvFormat {
    /// Refuses ambiguous dialects, in which cells, lines or nulls could not be distinguished.
    ///
    /// # Errors
    /// The first option that is to blame.
    pub fn check(&self) -> Result<(), DialectFault> {
        if !is_delimiter(self.delimiter) {
            return Err(DialectFault {
                option: "delimiter",
                value: self.delimiter.escape_ascii().to_string(),
                why: "cells could not be told apart",
                help: "write one ASCII sign such as \",\", \";\", \"|\" or \"\\t\"",
            });
        }
        if self.null_text.bytes().any(|b| b == self.delimiter || matches!(b, b'"' | b'\n' | b'\r')) {
            return Err(DialectFault {
                option: "null_text",
                value: self.null_text.escape_debug().to_string(),
                why: "a null is told from text by standing without quotes",
                help: "leave out the delimiter, quotes and line ends",
            });
        }
        Ok(())
    }
}

/// A sign or blank of ASCII that cannot be taken for a quote, a line end or a letter or digit of a value.
fn is_delimiter(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || (byte.is_ascii_punctuation() && byte != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_a_sign_or_blank_of_ascii() {
        let allowed = |delimiter| CsvFormat { delimiter, ..CsvFormat::default() }.check().is_ok();
        assert!(b"\t !#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".iter().all(|byte| allowed(*byte)));
        assert_eq!((0..=255).filter(|byte| allowed(*byte)).count(), 33);
    }

    #[test]
    fn a_null_stands_without_quotes_and_so_needs_none() {
        let fault = |delimiter, text: &str| {
            let format = CsvFormat { delimiter, null_text: text.to_owned(), ..CsvFormat::default() };
            format.check().err().map(|fault| fault.option)
        };
        for text in ["a b", "\"", "\n", "a\rb"] {
            assert_eq!(fault(b' ', text), Some("null_text"), "{text:?}");
        }
        for text in ["", "NULL", "a,b", "-", "\\N", "'", "ü"] {
            assert_eq!(fault(b';', text), None, "{text:?}");
        }
    }
}
