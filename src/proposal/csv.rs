//! Dialects of CSV that the beginning of a file suggests. Each is tried by reading with it.

use std::collections::HashSet;

use arrow::array::AsArray;
use encoding_rs::Encoding;

use super::probe::ReadColumn;
use crate::job::{CsvDialect, Delimiter, Header, HeaderNames, LastLine, ShortRows};
use crate::source::formats::content::TextHead;
use crate::time::rfc3339;

/// Lines that are compared.
const LINES: usize = 200;

/// Lines in front of the rows that may be something else.
const PREAMBLE: usize = 5;

/// Delimiters, the most common first.
const DELIMITERS: [Delimiter; 5] = [
    Delimiter::Character(','),
    Delimiter::Character('\t'),
    Delimiter::Character(';'),
    Delimiter::Character('|'),
    Delimiter::Blanks,
];

/// What a line begins with that has the names of the columns, and the text of a null in such logs: the Extended Log File
/// Format of the W3C, and Zeek.
const HEADER_LINES: [(&str, &str); 2] = [("#Fields:", "-"), ("#fields", "-")];

/// What comments begin with.
const COMMENTS: [&str; 2] = ["#", "//"];

/// A dialect that may fit, and what led to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Guess {
    pub dialect: CsvDialect,
    /// What is uncertain about it, to be told.
    pub notes: Vec<String>,
    /// Number of cells of a row, as far as could be seen.
    pub cells: usize,
}

/// The dialects that a file may have, the most likely first. `by_default` is the delimiter that the file's name implies.
pub(super) fn guesses(head: &TextHead, by_default: Delimiter) -> Vec<Guess> {
    let lines = lines(head);
    let mut base = CsvDialect { last_line: last_line(head), ..CsvDialect::default() };
    let mut notes = Vec::new();
    if !head.has_mark && head.encoding != encoding_rs::UTF_8 {
        base.encoding = head.encoding;
        notes.push(encoding_note(head.encoding));
    }
    let mut found = Vec::new();
    for guess in layouts(&lines, &base, by_default) {
        found.extend(variants(guess, head));
    }
    for guess in &mut found {
        guess.notes.splice(0..0, notes.iter().cloned());
    }
    // What is the default of the name is not written.
    for guess in &mut found {
        if guess.dialect.delimiter == Some(by_default) {
            guess.dialect.delimiter = None;
        }
    }
    found
}

fn last_line(head: &TextHead) -> LastLine {
    if head.ends_complete { LastLine::Complete } else { LastLine::Any }
}

fn encoding_note(encoding: &'static Encoding) -> String {
    let name = encoding.name();
    match name {
        "windows-1252" => "the text is not UTF-8: `windows-1252` reads any bytes, so check its letters".to_owned(),
        _ => format!("every other byte is zero, so the text is read as {name}"),
    }
}

/// The whole lines that are not blank, without their ends.
pub(super) fn lines(head: &TextHead) -> Vec<&str> {
    let end = |c: char| matches!(c, '\n' | '\r');
    let mut lines: Vec<&str> = head.text.split(end).collect();
    if !head.is_whole {
        lines.pop();
    }
    lines.into_iter().filter(|line| !line.trim().is_empty()).take(LINES).collect()
}

/// Dialects by their delimiter, and by where header and rows begin.
fn layouts(lines: &[&str], base: &CsvDialect, by_default: Delimiter) -> Vec<Guess> {
    for (prefix, null) in HEADER_LINES {
        if lines.iter().take(2 * PREAMBLE).any(|line| line.starts_with(prefix)) {
            let rows: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with('#')).collect();
            let has_tabs = rows.first().or(lines.last()).is_some_and(|line| line.contains('\t'));
            let delimiter = if has_tabs { Delimiter::Character('\t') } else { Delimiter::Blanks };
            let dialect = CsvDialect {
                delimiter: Some(delimiter),
                header: Header::LinePrefix(prefix.to_owned()),
                comment: Some("#".to_owned()),
                null_text: vec![null.to_owned()],
                ..base.clone()
            };
            let note = format!("a line that begins with `{prefix}` names the columns, and a dash is null in such logs");
            return vec![Guess { dialect, notes: vec![note], cells: count(rows.first(), delimiter).max(2) }];
        }
    }
    let hint = lines.first().and_then(|line| line.strip_prefix("sep=")).and_then(|rest| rest.chars().next());
    if let Some(character) = hint {
        let rest = lines.get(1..).unwrap_or_default();
        let base = CsvDialect { skip_lines: 1, ..base.clone() };
        return vec![with_header(rest, Delimiter::Character(character), &base)];
    }
    let comment = COMMENTS.into_iter().find(|mark| lines.first().is_some_and(|line| line.starts_with(mark)));
    if let Some(mark) = comment {
        let rows: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with(mark)).collect();
        let base = CsvDialect { comment: Some(mark.to_owned()), ..base.clone() };
        let mut found = by_delimiter(&rows, &base, by_default);
        // The names may be in the one comment.
        if lines.len() == rows.len() + 1 {
            let named =
                found.iter().filter_map(|guess| named_in_comment(guess, lines.first()?, mark)).collect::<Vec<_>>();
            found.splice(0..0, named);
        }
        return found;
    }
    let mut found = Vec::new();
    for skipped in 0..=PREAMBLE.min(lines.len().saturating_sub(2)) {
        let rest = lines.get(skipped..).unwrap_or_default();
        let base = CsvDialect { skip_lines: skipped as u64, ..base.clone() };
        found.extend(by_delimiter(rest, &base, by_default).into_iter().map(|mut guess| {
            if skipped > 0 {
                guess
                    .notes
                    .push(format!("{skipped} lines in front of the table are skipped; every file must have as many"));
            }
            guess
        }));
        if found.iter().any(|guess| guess.cells > 1) {
            break;
        }
    }
    // A preamble only counts in front of a table.
    found.retain(|guess| guess.cells > 1 || guess.dialect.skip_lines == 0);
    found
}

/// The dialect if the first line, a comment, has the names of its columns.
fn named_in_comment(guess: &Guess, line: &str, mark: &str) -> Option<Guess> {
    let delimiter = guess.dialect.delimiter?;
    let names = line.strip_prefix(mark)?.trim();
    if guess.cells < 2 || cells(names, delimiter).len() != guess.cells {
        return None;
    }
    let header = Header::LinePrefix(mark.to_owned());
    let dialect = CsvDialect { header, comment: None, headers: HeaderNames::Strict, ..guess.dialect.clone() };
    Some(Guess {
        dialect,
        notes: vec![format!("the names of the columns are behind the `{mark}`")],
        cells: guess.cells,
    })
}

/// Dialects of rows whose first line may be a header: by each delimiter that gives the same number of cells on all or most
/// lines, those with more cells first, and at last the default.
fn by_delimiter(lines: &[&str], base: &CsvDialect, by_default: Delimiter) -> Vec<Guess> {
    let mut scored: Vec<(bool, bool, usize, Delimiter)> = Vec::new();
    for delimiter in DELIMITERS {
        let counts: Vec<usize> = lines.iter().map(|line| cells(line, delimiter).len()).collect();
        let Some(first) = counts.first().copied().filter(|first| *first > 1) else { continue };
        let same = counts.iter().filter(|count| **count == first).count();
        // Quoted line ends, and cells that are missing at the end, make some lines differ. Prose has blanks as well.
        let is_even = same == counts.len();
        if is_even || (delimiter != Delimiter::Blanks && 2 * same > counts.len()) {
            scored.push((!is_even, delimiter == Delimiter::Blanks, usize::MAX - first, delimiter));
        }
    }
    scored.sort_by_key(|(uneven, blanks, cells, _)| (*uneven, *blanks, *cells));
    let mut delimiters: Vec<Delimiter> = scored.into_iter().map(|(.., delimiter)| delimiter).collect();
    if delimiters.is_empty() {
        delimiters.push(by_default);
    }
    delimiters.into_iter().map(|delimiter| with_header(lines, delimiter, base)).collect()
}

/// The dialect with a delimiter, with or without a header as the first two lines look.
fn with_header(lines: &[&str], delimiter: Delimiter, base: &CsvDialect) -> Guess {
    let first = lines.first().map(|line| cells(line, delimiter)).unwrap_or_default();
    let rest = lines.get(1..).unwrap_or_default();
    let mut dialect = CsvDialect { delimiter: Some(delimiter), ..base.clone() };
    let mut notes = Vec::new();
    let is_value = |cell: &String| is_number(cell) || rfc3339::parse(cell.as_bytes()).is_ok();
    if first.iter().any(is_value) {
        dialect.header = Header::None;
        notes.push("the first line holds values, so there is no header: columns are c1, c2, …".to_owned());
    } else {
        let names: HashSet<&String> = first.iter().filter(|name| !name.is_empty()).collect();
        if names.len() < first.len() {
            dialect.headers = HeaderNames::Number;
            notes.push("the header has empty or repeated names, which get numbers".to_owned());
        }
        let has_values = rest.iter().take(LINES).any(|line| cells(line, delimiter).iter().any(is_value));
        if !has_values {
            notes.push("the first line is taken for a header, and nothing but text shows that it is one".to_owned());
        }
    }
    Guess { dialect, notes, cells: first.len() }
}

/// The dialect, and others that differ in quotes, escapes and missing cells.
fn variants(guess: Guess, head: &TextHead) -> Vec<Guess> {
    let mut found = vec![guess.clone()];
    // Single quotes around each cell, as some databases write them.
    let first = lines(head).first().map(|line| line.trim()).unwrap_or_default();
    if first.len() > 1 && first.starts_with('\'') && first.ends_with('\'') {
        let mut other = guess.clone();
        other.dialect.quote = Some(b'\'');
        other.notes.push("cells are in single quotes".to_owned());
        found.insert(0, other);
    }
    let mut add = |change: fn(&mut CsvDialect), note: &str| {
        let mut other = guess.clone();
        change(&mut other.dialect);
        other.notes.push(note.to_owned());
        found.push(other);
    };
    if head.text.contains("\\\"") {
        add(|dialect| dialect.escape = Some(b'\\'), "quotes in cells are escaped with a backslash");
    }
    if head.text.contains('"') {
        add(|dialect| dialect.quote = None, "quotes are text: as quotes around cells they do not fit");
    }
    add(
        |dialect| dialect.short_rows = ShortRows::Null,
        "some rows have fewer cells than the header; the missing ones are null",
    );
    found
}

/// The cells of a line, roughly: quotes that are doubled, no line ends inside.
fn cells(line: &str, delimiter: Delimiter) -> Vec<String> {
    if delimiter == Delimiter::Blanks {
        return line.split_ascii_whitespace().map(str::to_owned).collect();
    }
    let mut found = vec![String::new()];
    let mut is_quoted = false;
    let mut is_start = true;
    for c in line.chars() {
        let Some(cell) = found.last_mut() else { break };
        if c == '"' && (is_start || is_quoted) {
            is_quoted = !is_quoted;
            is_start = false;
        } else if !is_quoted && delimiter == Delimiter::Character(c) {
            found.push(String::new());
            is_start = true;
        } else {
            cell.push(c);
            is_start = false;
        }
    }
    found
}

fn count(line: Option<&&str>, delimiter: Delimiter) -> usize {
    line.map_or(0, |line| cells(line, delimiter).len())
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Texts that stand for nulls.
const NULLS: [&str; 2] = ["\\N", "-"];

/// Texts that are nulls by what else the columns hold: `\N` anywhere, and a dash among numbers or times.
pub(super) fn null_texts(columns: &[ReadColumn], known: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for column in columns.iter().filter(|column| column.depth == 0) {
        for null in NULLS.iter().filter(|null| known.iter().all(|known| known != *null)) {
            if !found.iter().any(|text| text == null) && has_null(column, null) {
                found.push((*null).to_owned());
            }
        }
    }
    found
}

fn has_null(column: &ReadColumn, null: &str) -> bool {
    let mut is_there = false;
    let mut others = 0;
    let mut are_values = true;
    for array in &column.arrays {
        let Some(texts) = array.as_string_view_opt() else { return false };
        for text in texts.iter().flatten() {
            if text == null {
                is_there = true;
            } else {
                others += 1;
                are_values &= is_number(text) || rfc3339::parse(text.as_bytes()).is_ok();
            }
        }
    }
    is_there && (null == "\\N" || (others > 0 && are_values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> TextHead {
        let ends_complete = text.ends_with('\n');
        TextHead { text: text.to_owned(), is_whole: true, encoding: encoding_rs::UTF_8, has_mark: false, ends_complete }
    }

    fn first(text: &str) -> CsvDialect {
        guesses(&head(text), Delimiter::Character(',')).remove(0).dialect
    }

    #[test]
    fn a_delimiter_gives_each_line_the_same_number_of_cells() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", None),
            ("a;b;c\n1;2,5;3\n", Some(Delimiter::Character(';'))),
            ("a\tb\n1,2\t3\n", Some(Delimiter::Character('\t'))),
            ("a|b\n\"x|y\"|2\n", Some(Delimiter::Character('|'))),
            ("a  b\tc\n1 2   3\n", Some(Delimiter::Blanks)),
            ("alone\n1\n", None),
            // Most lines: the others may have quoted line ends.
            ("a,b\n1,\"x\ny\"\n2,z\n3,z\n", None),
        ] {
            assert_eq!(first(text).delimiter, delimiter, "{text:?}");
        }
        let tabbed = guesses(&head("a\tb\n1\t2\n"), Delimiter::Character('\t')).remove(0).dialect;
        assert_eq!(tabbed.delimiter, None);
    }

    #[test]
    fn a_first_line_of_values_is_no_header() {
        assert_eq!(first("1,x\n2,y\n").header, Header::None);
        assert_eq!(first("x,2026-03-05T10:00:00Z\n").header, Header::None);
        assert_eq!(first("ts,n\nx,1\n").header, Header::FirstLine);
        assert_eq!(
            (first("a,,a\n1,2,3\n").headers, first("a,b\n1,2\n").headers),
            (HeaderNames::Number, HeaderNames::Strict)
        );
    }

    #[test]
    fn what_stands_in_front_of_a_table_is_skipped() {
        // Behind the table of one column, which does not fit the later lines.
        let report = guesses(&head("Report\nof March\na,b\n1,2\n3,4\n"), Delimiter::Character(','));
        assert_eq!(report.iter().find(|guess| guess.cells > 1).map(|guess| guess.dialect.skip_lines), Some(2));
        assert_eq!(first("a,b\n1,2\n").skip_lines, 0);
        let hint = first("sep=;\na;b\n1;2\n");
        assert_eq!((hint.skip_lines, hint.delimiter), (1, Some(Delimiter::Character(';'))));
        let commented = first("# x\n# y\na,b\n1,2\n");
        assert_eq!((commented.comment.as_deref(), commented.header), (Some("#"), Header::FirstLine));
        assert_eq!(first("# a,b\n1,2\n").header, Header::LinePrefix("#".to_owned()));
    }

    #[test]
    fn a_last_line_may_lack_its_end() {
        assert_eq!((first("a,b\n1,2").last_line, first("a,b\n1,2\n").last_line), (LastLine::Any, LastLine::Complete));
    }
}
