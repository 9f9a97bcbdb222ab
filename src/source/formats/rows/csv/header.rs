//! Finds the names of the columns of a CSV file.

use std::collections::HashSet;

use encoding_rs::Encoding;

use super::ends::RecordEnds;
use super::syntax::{Separator, Syntax};
use super::tokenize::{Layout, Tokenizer};
use crate::diagnostic::shown;
use crate::job::{CsvDialect, Header, HeaderNames};
use crate::source::formats::rows::blocks::{Blocks, CutBlocks};
use crate::source::formats::rows::cells::{Record, RecordBlock, cell_text, text};
use crate::source::formats::rows::decode::{Buffer, unreadable};
use crate::source::formats::rows::json_text::Fault;
use crate::source::formats::rows::reader::MAX_COLUMNS;
use crate::source::{SourceError, SourceFile};

/// Characters that separate cells in common dialects, what messages call them, and how the spec writes them.
const DELIMITERS: [(char, &str, &str); 5] = [
    ('\t', "tabs", "\"\\t\""),
    (';', "semicolons", "\";\""),
    ('|', "vertical bars", "\"|\""),
    (',', "commas", "\",\""),
    (' ', "spaces", "blanks"),
];

/// Why a line is not a header.
#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error("the header cannot be read: {0}")]
    Unreadable(Fault),
    #[error("the header has more than {MAX} columns", MAX = MAX_COLUMNS)]
    TooManyColumns,
    #[error("column {column} has no name in the header; name it, or set `source.csv.headers: number`")]
    Unnamed { column: usize },
    #[error("the header names the column `{name}` twice; rename one of them, or set `source.csv.headers: number`")]
    Duplicate { name: String },
    #[error("the header holds NUL characters, so the file may be in UTF-16; set `source.csv.encoding: {encoding}`")]
    Utf16 { encoding: &'static str },
    #[error("the first line is a hint for spreadsheets; set `source.csv.skip_lines: 1`")]
    SeparatorHint,
    #[error("the line names no columns")]
    Empty,
}

/// Takes whole lines out of a buffer.
///
/// # Errors
/// Those of the file, and a file with fewer lines.
pub(super) fn skip_lines(buffer: &mut Buffer, count: u64) -> Result<(), SourceError> {
    let mut skipped = 0;
    while skipped < count {
        let Some(end) = memchr::memchr2(b'\n', b'\r', buffer.data()) else {
            buffer.consume(buffer.data().len());
            if buffer.fill(usize::MAX)? {
                continue;
            }
            let why = format!("the file ends on line {}, and `source.csv.skip_lines` skips {count}", skipped + 1);
            return Err(unreadable(buffer.name(), Some(skipped + 1), why));
        };
        let is_cr = buffer.data().get(end) == Some(&b'\r');
        buffer.consume(end + 1);
        if is_cr {
            // Whether an LF belongs to the CR.
            if buffer.data().is_empty() {
                buffer.fill(usize::MAX)?;
            }
            if buffer.data().first() == Some(&b'\n') {
                buffer.consume(1);
            }
        }
        skipped += 1;
    }
    Ok(())
}

/// The names of a file's columns.
pub(super) struct Found {
    pub(super) names: Vec<String>,
    /// The line that has them; 1 if no line does.
    pub(super) line: u64,
    /// The block in which they were found, at its first row.
    pub(super) first: Option<Tokenizer>,
}

/// Finds the names of the columns.
pub(super) fn find(
    file: &SourceFile,
    dialect: &CsvDialect,
    blocks: &mut Blocks<RecordEnds>,
    layout: &mut Layout,
) -> Result<Found, SourceError> {
    if let Header::Names(names) = &dialect.header {
        return Ok(Found { names: names.clone(), line: 1, first: None });
    }
    let encoding = blocks.encoding();
    while let Some(block) = blocks.next_block()? {
        let mut tokens = Tokenizer::new(block, layout.clone());
        if dialect.header == Header::None {
            let start = tokens.position();
            let Some(record) = tokens.next_record()? else { continue };
            let columns = record.cells.len();
            if columns > MAX_COLUMNS {
                let why = format!("the first row has more than {MAX_COLUMNS} cells");
                return Err(unreadable(&file.name, Some(record.line), why));
            }
            tokens.return_to(start);
            let names = (1..=columns).map(|column| format!("c{column}")).collect();
            return Ok(Found { names, line: 1, first: Some(tokens) });
        }
        let (line, names) = if let Header::LinePrefix(_) = dialect.header {
            let Some((line, names)) = tokens.header_line()? else { continue };
            layout.header_line = Some(names.as_slice().into());
            (line, names_on_line(&names, &layout.syntax, encoding))
        } else {
            let Some(record) = tokens.next_record()? else { continue };
            (record.line, names_of(&record, dialect.escape.or(dialect.quote), encoding))
        };
        let names = names
            .and_then(|names| checked(names, dialect.headers))
            .map_err(|error| unreadable(&file.name, Some(line), error.to_string()))?;
        return Ok(Found { names, line, first: Some(tokens) });
    }
    match &dialect.header {
        Header::None => Ok(Found { names: Vec::new(), line: 1, first: None }),
        Header::LinePrefix(prefix) => {
            let why = format!("no line begins with `{}`, which `source.csv.header` expects", shown(prefix));
            Err(unreadable(&file.name, None, why))
        }
        _ => {
            let why = "the file is empty: a CSV file has a header with the names of its columns";
            Err(unreadable(&file.name, Some(1), why))
        }
    }
}

/// The names in a record.
fn names_of(record: &Record<'_>, escape: Option<u8>, encoding: &'static Encoding) -> Result<Vec<String>, HeaderError> {
    if let Some(encoding) = utf16_without_mark(record.bytes) {
        return Err(HeaderError::Utf16 { encoding });
    }
    // Excel's `sep=;`.
    if record.bytes.len() == 5 && record.bytes.starts_with(b"sep=") {
        return Err(HeaderError::SeparatorHint);
    }
    if let Some(fault) = &record.fault {
        return Err(HeaderError::Unreadable(Fault::Content(fault.clone().into_owned())));
    }
    if record.cells.len() > MAX_COLUMNS {
        return Err(HeaderError::TooManyColumns);
    }
    let text = text(record.bytes, encoding).map_err(HeaderError::Unreadable)?;
    let mut scratch = String::new();
    Ok(record.cells.iter().map(|cell| cell_text(text, cell, escape, &mut scratch).to_owned()).collect())
}

/// The names behind the prefix of a line: separated by the delimiter if it is there, else by blanks.
fn names_on_line(line: &[u8], syntax: &Syntax, encoding: &'static Encoding) -> Result<Vec<String>, HeaderError> {
    let line = text(line, encoding).map_err(HeaderError::Unreadable)?;
    let delimiter = match &syntax.separator {
        Separator::Byte(delimiter) => char::from(*delimiter).to_string(),
        Separator::Bytes(delimiter) => String::from_utf8_lossy(delimiter).into_owned(),
        Separator::Blanks => String::new(),
    };
    let names: Vec<String> = if delimiter.is_empty() || !line.contains(&delimiter) {
        line.split_ascii_whitespace().map(str::to_owned).collect()
    } else {
        line.split(&delimiter).map(|name| name.trim().to_owned()).collect()
    };
    match names.len() {
        0 => Err(HeaderError::Empty),
        1..=MAX_COLUMNS => Ok(names),
        _ => Err(HeaderError::TooManyColumns),
    }
}

/// Refuses or numbers empty and repeated names.
fn checked(mut names: Vec<String>, rule: HeaderNames) -> Result<Vec<String>, HeaderError> {
    let given: HashSet<String> = names.iter().cloned().collect();
    let mut known: HashSet<String> = HashSet::new();
    for (i, name) in names.iter_mut().enumerate() {
        let is_empty = name.is_empty();
        if !is_empty && known.insert(name.clone()) {
            continue;
        }
        if rule == HeaderNames::Strict {
            let duplicate = HeaderError::Duplicate { name: name.clone() };
            return Err(if is_empty { HeaderError::Unnamed { column: i + 1 } } else { duplicate });
        }
        let base = if is_empty { format!("c{}", i + 1) } else { name.clone() };
        // No other column may have the name already: neither one in the header nor a numbered one.
        let is_free = |name: &String| !given.contains(name) && !known.contains(name);
        let mut numbered = if is_empty { base.clone() } else { format!("{base}_2") };
        let mut number = 2;
        while !is_free(&numbered) {
            number += 1;
            numbered = format!("{base}_{number}");
        }
        known.insert(numbered.clone());
        *name = numbered;
    }
    Ok(names)
}

/// The label of the encoding of text in which every other byte is NUL.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0, _, 0, _, ..] => Some("utf-16be"),
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => Some("utf-16le"),
        _ => None,
    }
}

/// Refuses a header that is one name with the delimiters of another dialect inside.
pub(super) fn check_delimiter(
    columns: &[String],
    line: u64,
    file: &SourceFile,
    dialect: &CsvDialect,
    time_column: &str,
) -> Result<(), SourceError> {
    let [name] = columns else { return Ok(()) };
    if name == time_column || !matches!(dialect.header, Header::FirstLine) {
        return Ok(());
    }
    let trimmed = name.trim();
    let found = DELIMITERS.iter().find(|(delimiter, ..)| trimmed.contains(*delimiter));
    let Some((_, what, setting)) = found else { return Ok(()) };
    let why = format!(
        "the header is one name with {what} in it; set `source.csv.delimiter: {setting}` if they separate columns"
    );
    Err(unreadable(&file.name, Some(line), why))
}
