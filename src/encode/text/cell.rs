//! CSV cells: quoting and nulls.
//!
//! A cell is quoted if it contains the delimiter, a quote, CR or LF, if it is the empty string, or if it would look like a
//! null. Nothing else is quoted: spaces are data (RFC 4180, section 2.4).

use crate::job::{CsvFormat, is_formula};
use crate::swar::{find, marks};

/// Whether numbers, times, durations or hex may contain the delimiter, so that such cells may need quotes.
fn stands_in_bare_cells(delimiter: u8) -> bool {
    matches!(delimiter, b'-' | b'+' | b'.' | b':')
}

/// Whether a number, time or binary value can have this text. Such texts start with a digit or a sign, or are hex, known
/// words or durations.
fn looks_bare(text: &[u8]) -> bool {
    matches!(text, [b'0'..=b'9' | b'-' | b'+' | b'P', ..] | b"true" | b"false" | b"NaN" | b"inf")
        || (!text.is_empty() && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// The rules for writing cells.
pub(super) struct Dialect {
    delimiter: u8,
    escape_formulas: bool,
    null_text: Box<[u8]>,
    /// The text of a null cell.
    null_cell: Box<[u8]>,
    /// Whether numbers and times may need quotes.
    check_bare: bool,
    /// See [`canonical`](crate::encode::CanonicalRows).
    canonical: Option<Canonical>,
}

/// Differences of canonical records from the default dialect.
#[derive(Clone, Copy)]
pub(super) struct Canonical {
    /// Whether text that looks like an escaped formula is unescaped.
    pub(super) unescapes_formulas: bool,
}

/// Reverts `escape_formulas`: removes the `'` before text that a spreadsheet would treat as a formula.
pub fn unescaped_formula(cell: &[u8]) -> &[u8] {
    cell.strip_prefix(b"'").filter(|rest| is_formula(rest)).unwrap_or(cell)
}

impl Dialect {
    /// `single_column`: a row must not be an empty line, see `text_shard`.
    pub(super) fn new(format: &CsvFormat, single_column: bool) -> Self {
        let null_text = format.null_text.as_bytes();
        let null_cell: &[u8] = if single_column && null_text.is_empty() { b"\"\"" } else { null_text };
        Self {
            delimiter: format.delimiter,
            escape_formulas: format.escape_formulas,
            null_text: null_text.into(),
            null_cell: null_cell.into(),
            check_bare: looks_bare(null_text) || stands_in_bare_cells(format.delimiter),
            canonical: None,
        }
    }

    /// The dialect of canonical records.
    pub(super) fn canonical(canonical: Canonical, single_column: bool) -> Self {
        Self { canonical: Some(canonical), ..Self::new(&CsvFormat::default(), single_column) }
    }

    /// Whether JSON in a cell is normalized.
    pub(super) fn is_canonical(&self) -> bool {
        self.canonical.is_some()
    }

    /// Text without the `'` of an escaped formula.
    pub(super) fn unescaped<'a>(&self, text: &'a str) -> &'a str {
        match self.canonical {
            Some(Canonical { unescapes_formulas: true }) => {
                let rest = unescaped_formula(text.as_bytes());
                text.get(text.len() - rest.len()..).unwrap_or(text)
            }
            _ => text,
        }
    }

    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Whether text may need more than quotes.
    pub(super) fn escapes_formulas(&self) -> bool {
        self.escape_formulas || self.canonical.is_some_and(|canonical| canonical.unescapes_formulas)
    }

    /// Whether numbers and times may need quotes.
    pub(super) fn checks_numbers(&self) -> bool {
        self.check_bare
    }

    /// Whether text would look like a null.
    #[inline(always)]
    pub(super) fn is_null_text(&self, text: &[u8]) -> bool {
        *text == *self.null_text
    }

    /// Whether text that is not a formula needs quotes.
    pub(super) fn is_quoted(&self, text: &[u8]) -> bool {
        text.is_empty() || self.needs_quotes(text) || self.is_null_text(text)
    }

    /// Appends a null.
    #[inline]
    pub(super) fn null(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.null_cell);
    }

    /// Appends text as a cell.
    #[inline]
    pub(super) fn cell(&self, text: &[u8], out: &mut Vec<u8>) {
        let formula = self.escape_formulas && is_formula(text);
        let prefix: &[u8] = if formula { b"'" } else { b"" };
        if text.is_empty() || self.needs_quotes(text) || self.null_text.strip_prefix(prefix) == Some(text) {
            quoted(prefix, text, out);
        } else {
            out.extend_from_slice(prefix);
            out.extend_from_slice(text);
        }
    }

    /// Appends an empty value that is not null.
    #[inline]
    pub(super) fn empty(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"\"");
    }

    /// Quotes the number or time appended at `start` if necessary. Such text never contains quotes.
    #[inline]
    pub(super) fn bare_written(&self, start: usize, out: &mut Vec<u8>) {
        if self.check_bare
            && let Some(cell) = out.get(start..)
            && (self.needs_quotes(cell) || *cell == *self.null_text)
        {
            out.insert(start, b'"');
            out.push(b'"');
        }
    }

    #[inline]
    fn needs_quotes(&self, text: &[u8]) -> bool {
        let delimiter = self.delimiter;
        let first = find(
            text,
            0,
            |word| marks(word, delimiter) | marks(word, b'"') | marks(word, b'\n') | marks(word, b'\r'),
            |byte| byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r'),
        );
        first < text.len()
    }
}

/// Appends text in quotes, those inside doubled.
fn quoted(prefix: &[u8], text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(prefix);
    let mut rest = text;
    while let Some((before, after)) = memchr::memchr(b'"', rest).and_then(|at| rest.split_at_checked(at + 1)) {
        out.extend_from_slice(before);
        out.push(b'"');
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(text: &str, format: &CsvFormat) -> String {
        let mut out = b"before".to_vec();
        Dialect::new(format, false).cell(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    fn null(format: &CsvFormat, single_column: bool) -> String {
        let mut out = Vec::new();
        Dialect::new(format, single_column).null(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_must_be_is_quoted() {
        let format = CsvFormat::default();
        for text in ["a", " a ", "é", "it's", "a;b", "-5", "=1", "\t", "#", "null"] {
            assert_eq!(cell(text, &format), text);
        }
        assert_eq!(cell("", &format), "\"\"");
        assert_eq!(cell("a,b", &format), "\"a,b\"");
        assert_eq!(cell("a\nb", &format), "\"a\nb\"");
        assert_eq!(cell("a\rb", &format), "\"a\rb\"");
        assert_eq!(cell("say \"hi\"", &format), "\"say \"\"hi\"\"\"");
        assert_eq!(cell("\"", &format), "\"\"\"\"");
    }

    #[test]
    fn null_is_empty_and_differs_from_the_empty_string() {
        let format = CsvFormat::default();
        assert_eq!(null(&format, false), "");
        assert_ne!(null(&format, false), cell("", &format));
    }

    #[test]
    fn null_in_a_single_column_is_not_an_empty_line() {
        assert_eq!(null(&CsvFormat::default(), true), "\"\"");
        assert_eq!(null(&CsvFormat { null_text: "NULL".to_owned(), ..CsvFormat::default() }, true), "NULL");
    }

    #[test]
    fn text_that_looks_like_the_null_text_is_quoted() {
        let format = CsvFormat { null_text: "NULL".to_owned(), ..CsvFormat::default() };
        assert_eq!(null(&format, false), "NULL");
        assert_eq!(cell("NULL", &format), "\"NULL\"");
        assert_eq!(cell("NULLS", &format), "NULLS");
        assert_eq!(cell("", &format), "\"\"");
    }

    #[test]
    fn a_number_that_looks_like_the_null_text_is_quoted() {
        let dialect = Dialect::new(&CsvFormat { null_text: "0".to_owned(), ..CsvFormat::default() }, false);
        let mut out = b"a,0".to_vec();
        dialect.bare_written(2, &mut out);
        assert_eq!(out, b"a,\"0\"");
    }

    #[test]
    fn a_number_that_holds_the_delimiter_is_quoted() {
        let dialect = Dialect::new(&CsvFormat { delimiter: b'.', ..CsvFormat::default() }, false);
        let mut out = b"1.5".to_vec();
        dialect.bare_written(0, &mut out);
        assert_eq!(out, b"\"1.5\"");
    }

    #[test]
    fn formulas_are_defused_where_asked_for() {
        let format = CsvFormat { escape_formulas: true, ..CsvFormat::default() };
        for start in ["=", "+", "-", "@", "\t"] {
            assert_eq!(cell(&format!("{start}1"), &format), format!("'{start}1"));
        }
        assert_eq!(cell("\r1", &format), "\"'\r1\"");
        assert_eq!(cell("=a,b", &format), "\"'=a,b\"");
        assert_eq!(cell("a=1", &format), "a=1");
        assert_eq!(cell("", &format), "\"\"");
    }

    proptest! {
        #[test]
        fn cells_are_those_of_the_csv_crate(text in "[a,;\"\n\r ]{1,12}|\\PC{1,30}", delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')]) {
            // The csv crate quotes a few cells more (a leading space, `#`); so read rather than compare.
            let ours = format!("{0}{1}{0}\n", cell(&text, &CsvFormat { delimiter, ..CsvFormat::default() }), delimiter as char);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(ours.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(record.iter().collect::<Vec<_>>(), vec![text.as_str(), text.as_str()]);
            prop_assert!(reader.records().next().is_none());
        }
    }
}
