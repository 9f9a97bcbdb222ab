//! What CSV files look like.

use encoding_rs::Encoding;

/// The dialect of CSV files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvDialect {
    /// What separates cells. `None`: a tab in `.tsv` and `.tab` files, a comma in others.
    pub delimiter: Option<Delimiter>,
    /// Where the names of the columns are.
    pub header: Header,
    /// Lines that begin with it are skipped. Not empty.
    pub comment: Option<String>,
    /// Lines before the header that are skipped, whatever they hold.
    pub skip_lines: u64,
    /// The character around cells that contain delimiters or line ends. ASCII.
    pub quote: Option<u8>,
    /// The character before one that is to be taken as text. ASCII. `None`: only quotes can be escaped, by doubling them.
    pub escape: Option<u8>,
    /// Unquoted cells that are null, beside the empty one.
    pub null_text: Vec<String>,
    /// Encoding of files without a byte order mark.
    pub encoding: &'static Encoding,
    /// What a last line without a line end is.
    pub last_line: LastLine,
    /// What a row with fewer cells than the header is.
    pub short_rows: ShortRows,
    /// What empty and repeated names in a header are.
    pub headers: HeaderNames,
}

impl Default for CsvDialect {
    /// RFC 4180.
    fn default() -> Self {
        Self {
            delimiter: None,
            header: Header::FirstLine,
            comment: None,
            skip_lines: 0,
            quote: Some(b'"'),
            escape: None,
            null_text: Vec::new(),
            encoding: encoding_rs::UTF_8,
            last_line: LastLine::default(),
            short_rows: ShortRows::default(),
            headers: HeaderNames::default(),
        }
    }
}

/// What separates cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// One character, which is no line end.
    Character(char),
    /// Any number of spaces and tabs.
    Blanks,
}

/// Where the names of the columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// The first record.
    FirstLine,
    /// Nowhere: columns are `c1`, `c2`, …
    None,
    /// In the spec; files have no header. Neither empty nor repeated.
    Names(Vec<String>),
    /// On a line that begins with this text, separated by delimiters or blanks. It may be repeated, but not change.
    LinePrefix(String),
}

/// What a last line without a line end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum LastLine {
    /// A bad row, because it may be truncated.
    #[default]
    Complete,
    /// A row.
    Any,
}

/// What a row with fewer cells than the header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum ShortRows {
    /// A bad row.
    #[default]
    Fail,
    /// A row whose last cells are null.
    Null,
}

/// What empty and repeated names in a header are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum HeaderNames {
    /// An error.
    #[default]
    Strict,
    /// Numbered: an empty name is `c` and the number of its column; repetitions of `a` are `a_2`, `a_3`, …
    Number,
}
