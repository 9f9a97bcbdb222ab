//! Compares dialects with a second tokenizer, which reads a whole text character by character.

use proptest::prelude::*;

use super::{Read, file, inspect_in_reverse, read_of, text_schema};
use crate::error::ErrorCode;
use crate::job::{
    CsvDialect, Delimiter, Header, HeaderNames, LastLine, OnBad, ShortRows, SourceCompression, SourceFormat,
};
use crate::source::formats::FileRequest;
use crate::source::formats::TextSettings;
use crate::source::formats::rows::BLOCK_BYTES;
use crate::source::formats::rows::csv::inspector;
use crate::source::formats::rows::decode::tests::{Fixture, fixture};
use crate::source::{InspectRequest, Inspection, SourceError};
use crate::time::{TimeFormat, TimeParser};

fn request(fixture: &Fixture, dialect: &CsvDialect, columns: &[&str]) -> FileRequest {
    let text = TextSettings { csv: dialect.clone(), ..TextSettings::default() }.into();
    let schema = text_schema(columns);
    FileRequest { file: fixture.file.clone(), schema, units: vec![0], on_bad_rows: OnBad::Reject, text, within: None }
}

fn read(bytes: &[u8], dialect: &CsvDialect, columns: &[&str], block_bytes: usize) -> Read {
    read_of(request(&file(bytes), dialect, columns), block_bytes)
}

fn inspect(fixture: &Fixture, dialect: &CsvDialect) -> Inspection {
    let times = TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC);
    let request = InspectRequest { time_column: "t", time_parser: &times };
    inspect_in_reverse(inspector(&fixture.file, request, dialect, BLOCK_BYTES))
}

fn problem(bytes: &[u8], dialect: &CsvDialect) -> SourceError {
    inspect(&file(bytes), dialect).facts.problem.expect("an error")
}

fn rows(read: &Read) -> Vec<Vec<&str>> {
    assert_eq!(read.error, None);
    read.rows.iter().map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("∅")).collect()).collect()
}

#[test]
fn a_log_with_comments_and_its_header_in_one_of_them() {
    let dialect = CsvDialect {
        delimiter: Some(Delimiter::Character('\t')),
        header: Header::LinePrefix("#Fields:".to_owned()),
        comment: Some("#".to_owned()),
        quote: None,
        null_text: vec!["-".to_owned()],
        ..CsvDialect::default()
    };
    let text = "#Version: 1.0\n#Fields: date time x(Referer)\n2026-03-01\t00:00:01\t\"\n#Fields: date time x(Referer)\n\
                2026-03-01\t00:00:02\t-\n# end\n2026-03-02\tx\n";
    for block_bytes in [1, 10, BLOCK_BYTES] {
        let read = read(text.as_bytes(), &dialect, &["x(Referer)", "date", "time"], block_bytes);
        assert_eq!(rows(&read), [["\"", "2026-03-01", "00:00:01"], ["∅", "2026-03-01", "00:00:02"]]);
        assert_eq!(read.positions, [3, 5]);
        assert_eq!(read.rejects, [(7, "expected 3 cells, as in the header, found 2".to_owned())]);
    }
    let other = text.replacen(
        "\n#Fields: date time x(Referer)\n2026-03-01\t00:00:02",
        "\n#Fields: date x(Referer)\n2026-03-01\t00:00:02",
        1,
    );
    let error = problem(other.as_bytes(), &dialect);
    assert_eq!(
        error.to_string(),
        "a.csv:4: the line that begins with `#Fields:` names other columns than the first such line; split the file before \
         this line"
    );
    let error = problem(b"# a\nx\ty\n#Fields: a b\n", &dialect);
    assert_eq!(
        error.to_string(),
        "a.csv:2: a row comes before the line that begins with `#Fields:`; if this line is no row, set \
         `source.csv.comment` to what it begins with"
    );
    let error = problem(b"# a\n", &dialect);
    assert_eq!(error.to_string(), "a.csv: no line begins with `#Fields:`, which `source.csv.header` expects");
    let error = problem(b"#Fields:  \n", &dialect);
    assert_eq!(error.to_string(), "a.csv:1: the line names no columns");
}

#[test]
fn columns_without_a_header_have_numbers_or_the_given_names() {
    let numbered = CsvDialect { header: Header::None, ..CsvDialect::default() };
    assert_eq!(rows(&read(b"\n1,2\n3,4\n", &numbered, &["c2", "c1"], 3)), [["2", "1"], ["4", "3"]]);
    let empty = read(b"\n", &numbered, &["c1"], 3);
    assert!(rows(&empty).is_empty());
    let names = vec!["a".to_owned(), "b".to_owned()];
    let named = CsvDialect { header: Header::Names(names), short_rows: ShortRows::Null, ..CsvDialect::default() };
    let read = read(b"1,2\n3\n4,5,6\n", &named, &["a", "b"], 2);
    assert_eq!(rows(&read), [["1", "2"], ["3", "∅"]]);
    assert_eq!(read.rejects, [(3, "expected 2 cells, as in `source.csv.header`, found 3".to_owned())]);
}

#[test]
fn names_are_numbered_so_that_no_two_are_alike() {
    let dialect = CsvDialect { headers: HeaderNames::Number, ..CsvDialect::default() };
    let columns = ["a", "a_2", "a_3", "c4", "c5", "c5_2"];
    let read = read(b"a,a_2,a,,c5,c5\n1,2,3,4,5,6\n", &dialect, &columns, BLOCK_BYTES);
    assert_eq!(rows(&read), [["1", "2", "3", "4", "5", "6"]]);
    let strict = CsvDialect::default();
    let error = problem(b"a,,b\n", &strict);
    let why = "column 2 has no name in the header; name it, or set `source.csv.headers: number`";
    assert_eq!(error.to_string(), format!("a.csv:1: {why}"));
    let error = problem(b"\na,b,a\n", &strict);
    let why = "the header names the column `a` twice; rename one of them, or set `source.csv.headers: number`";
    assert_eq!(error.to_string(), format!("a.csv:2: {why}"));
}

#[test]
fn lines_before_the_header_are_skipped_whatever_they_hold() {
    let dialect = CsvDialect { skip_lines: 3, ..CsvDialect::default() };
    for text in ["\"open\n\nx\na,b\n1,2\n", "\"open\r\n\r\nx\r\na,b\r\n1,2\r\n", "\"open\r\rx\ra,b\r1,2\r"] {
        for block_bytes in [1, 3, BLOCK_BYTES] {
            let read = read(text.as_bytes(), &dialect, &["b", "a"], block_bytes);
            assert_eq!((rows(&read), &read.positions), (vec![vec!["2", "1"]], &vec![5]), "{text:?}");
        }
    }
    let error = problem(b"a\nb", &dialect);
    assert_eq!(error.to_string(), "a.csv:2: the file ends on line 2, and `source.csv.skip_lines` skips 3");
}

#[test]
fn a_last_line_without_an_end_counts_where_the_spec_says_so() {
    let dialect = CsvDialect { last_line: LastLine::Any, ..CsvDialect::default() };
    assert_eq!(rows(&read(b"a,b\n1,2\n3,4", &dialect, &["a", "b"], 4)), [["1", "2"], ["3", "4"]]);
    let strict = read(b"a,b\n1,2\n3,4", &CsvDialect::default(), &["a", "b"], 4);
    let why = "the file ends without a line end, so its last cell may be truncated; if it is complete, append a line end, \
               or set `source.csv.last_line: any`";
    assert_eq!(strict.rejects, [(3, why.to_owned())]);
}

#[test]
fn encodings_are_those_of_the_mark_else_of_the_spec() {
    let utf16 = |text: &str, mark: bool| -> Vec<u8> {
        let mark = mark.then_some(0xfeff);
        mark.into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let dialect = |encoding| CsvDialect { encoding, ..CsvDialect::default() };
    let text = "a,b\nä,\"日\n本\"\n\u{1f600},2\n";
    let expected = [["ä", "日\n本"], ["\u{1f600}", "2"]];
    for block_bytes in [1, 5, BLOCK_BYTES] {
        let marked = read(&utf16(text, true), &dialect(encoding_rs::WINDOWS_1252), &["a", "b"], block_bytes);
        assert_eq!(rows(&marked), expected);
        assert_eq!(marked.positions, [2, 4]);
        let unmarked = read(&utf16(text, false), &dialect(encoding_rs::UTF_16LE), &["a", "b"], block_bytes);
        assert_eq!(rows(&unmarked), expected);
    }
    let marked = [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
    assert_eq!(rows(&read(&marked, &dialect(encoding_rs::SHIFT_JIS), &["a", "b"], 5)), expected);
    let euro = read(b"a\n\x80\n", &dialect(encoding_rs::WINDOWS_1252), &["a"], 5);
    assert_eq!(rows(&euro), [["€"]]);

    let error = problem(&utf16("t,b\n1,2\n", false), &CsvDialect::default());
    let why = "the header holds NUL characters, so the file may be in UTF-16; set `source.csv.encoding: utf-16le`";
    assert_eq!(error.to_string(), format!("a.csv:1: {why}"));
    // What the encoding does not allow makes one bad row.
    let bad = read(b"a,b\n1,\x81\x20\n2,3\n", &dialect(encoding_rs::SHIFT_JIS), &["a", "b"], 5);
    assert_eq!(rows(&bad), [["2", "3"]]);
    let why = "not shift_jis at byte 3 of the row, counted in UTF-8; check `source.csv.encoding`";
    assert_eq!(bad.rejects, [(2, why.to_owned())]);
}

#[test]
fn a_header_of_another_dialect_says_which_key_to_set() {
    for (text, what, setting) in [
        ("a\tb\n1\t2\n", "tabs", "\"\\t\""),
        ("a;b\n1;2\n", "semicolons", "\";\""),
        ("a|b\n1|2\n", "vertical bars", "\"|\""),
        ("a  b\n1  2\n", "spaces", "blanks"),
    ] {
        let error = problem(text.as_bytes(), &CsvDialect::default());
        assert_eq!(
            error.to_string(),
            format!(
                "a.csv:1: the header is one name with {what} in it; set `source.csv.delimiter: {setting}` if they separate columns"
            )
        );
    }
}

#[test]
fn a_header_of_another_dialect_is_told_on_its_own_line() {
    let dialect = CsvDialect { skip_lines: 1, comment: Some("#".to_owned()), ..CsvDialect::default() };
    let error = problem(b"made by x\n# y\n\n# z\na;b\n1;2\n", &dialect);
    assert!(error.to_string().starts_with("a.csv:5: the header is one name with semicolons in it"), "{error}");
}

#[test]
fn a_quote_behind_a_space_is_told_where_cells_are_too_many() {
    let read = read(b"a, b\n1, \"x, y\"\n2, \"z\"\n", &CsvDialect::default(), &["a", " b"], BLOCK_BYTES);
    assert_eq!(rows(&read), [["2", " \"z\""]]);
    let why = "expected 2 cells, as in the header, found 3; a quote behind a space is text and encloses nothing: remove the space";
    assert_eq!(read.rejects, [(2, why.to_owned())]);
}

#[test]
fn a_hint_for_spreadsheets_is_no_header() {
    let error = problem(b"sep=;\na;b\n", &CsvDialect::default());
    assert_eq!(error.to_string(), "a.csv:1: the first line is a hint for spreadsheets; set `source.csv.skip_lines: 1`");
}

#[test]
fn a_tsv_file_is_separated_by_tabs_unless_the_spec_says_otherwise() {
    for name in ["x.y.tsv", "a.TSV", "a.tab", "a.tsv.gz"] {
        let fixture = fixture(name, SourceFormat::Csv, SourceCompression::None, b"a\tb\n1,5\t2\n");
        let found = read_of(request(&fixture, &CsvDialect::default(), &["a", "b"]), BLOCK_BYTES);
        assert_eq!(rows(&found), [["1,5", "2"]], "{name}");
    }
    let fixture = fixture("a.tsv", SourceFormat::Csv, SourceCompression::None, b"a,b\n1\t5,2\n");
    let comma = CsvDialect { delimiter: Some(Delimiter::Character(',')), ..CsvDialect::default() };
    assert_eq!(rows(&read_of(request(&fixture, &comma, &["a", "b"]), BLOCK_BYTES)), [["1\t5", "2"]]);
}

/// A cell; `None` is null.
type Cell = Option<String>;

/// What the second tokenizer finds: each record with its line, or why the file cannot be read.
struct Reference {
    rows: Vec<(u64, Vec<Cell>)>,
    bad: Vec<u64>,
}

/// `None` where a quote is never closed. Rows have `columns` cells.
fn reference(text: &str, dialect: &CsvDialect, columns: usize) -> Option<Reference> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied();
    let (quote, escape) = (dialect.quote.map(char::from), dialect.escape.map(char::from));
    let is_blanks = dialect.delimiter == Some(Delimiter::Blanks);
    let is_delimiter = |c: char| match dialect.delimiter {
        Some(Delimiter::Blanks) => c == ' ' || c == '\t',
        Some(Delimiter::Character(delimiter)) => c == delimiter,
        None => c == ',',
    };
    let is_end = |c: Option<char>| c.is_none_or(|c| c == '\n' || c == '\r');
    let mut found = Reference { rows: Vec::new(), bad: Vec::new() };
    let (mut i, mut line) = (0, 1);
    while at(i).is_some() {
        let (start, first_line) = (i, line);
        let is_comment = dialect
            .comment
            .as_ref()
            .is_some_and(|comment| chars[i..].starts_with(&comment.chars().collect::<Vec<_>>()));
        let (mut cells, mut is_bad) = (Vec::new(), false);
        if is_comment {
            while !is_end(at(i)) {
                i += 1;
            }
        } else {
            loop {
                while is_blanks && at(i).is_some_and(is_delimiter) {
                    i += 1;
                }
                if is_blanks && is_end(at(i)) {
                    break;
                }
                let (mut cell, mut raw, mut is_quoted) = (String::new(), String::new(), false);
                if quote.is_some() && at(i) == quote {
                    is_quoted = true;
                    i += 1;
                    loop {
                        let c = at(i)?;
                        i += 1;
                        if Some(c) == escape {
                            cell.push(at(i)?);
                            i += 1;
                        } else if Some(c) != quote {
                            cell.push(c);
                        } else if escape.is_none() && at(i) == quote {
                            cell.push(c);
                            i += 1;
                        } else {
                            break;
                        }
                    }
                }
                while let Some(c) = at(i).filter(|c| !is_end(Some(*c)) && !is_delimiter(*c)) {
                    is_bad |= is_quoted;
                    raw.push(c);
                    i += 1;
                    if Some(c) == escape {
                        // CRLF is one line end.
                        let escaped = if at(i) == Some('\r') && at(i + 1) == Some('\n') { 2 } else { 1 };
                        for c in (0..escaped).filter_map(|k| at(i + k)) {
                            cell.push(c);
                            raw.push(c);
                        }
                        i = (i + escaped).min(chars.len());
                    } else {
                        cell.push(c);
                    }
                }
                let is_null = !is_quoted && (raw.is_empty() || dialect.null_text.contains(&raw));
                cells.push((!is_null).then_some(cell));
                if is_end(at(i)) {
                    break;
                }
                i += 1;
            }
        }
        let text: String = chars[start..i].iter().collect();
        let is_blank = if is_blanks { cells.is_empty() } else { text.is_empty() };
        is_bad |= at(i).is_none() && dialect.last_line == LastLine::Complete;
        line += 1 + text.matches('\n').count() as u64;
        i += match (at(i), at(i + 1)) {
            (Some('\r'), Some('\n')) => 2,
            _ => 1,
        };
        if is_comment || (is_blank && columns > 1) {
            continue;
        }
        let is_short = cells.len() < columns && dialect.short_rows == ShortRows::Null;
        if is_bad || (cells.len() != columns && !is_short) {
            found.bad.push(first_line);
        } else {
            cells.resize(columns, None);
            found.rows.push((first_line, cells));
        }
    }
    Some(found)
}

fn dialects() -> impl Strategy<Value = CsvDialect> {
    let delimiter = prop::sample::select(vec![
        None,
        Some(Delimiter::Character('\t')),
        Some(Delimiter::Character(';')),
        Some(Delimiter::Character('¦')),
        Some(Delimiter::Blanks),
    ]);
    let quote = prop::sample::select(vec![Some(b'"'), Some(b'\''), None]);
    let escape = prop::sample::select(vec![None, Some(b'\\')]);
    let comment = prop::sample::select(vec![None, Some("#"), Some("//")]);
    let null_text = prop::sample::select(vec![vec![], vec!["-"], vec!["\\N", "a"]]);
    (delimiter, quote, escape, comment, null_text, any::<bool>(), any::<bool>()).prop_map(
        |(delimiter, quote, escape, comment, null_text, is_any, is_null)| CsvDialect {
            delimiter,
            quote,
            escape,
            comment: comment.map(str::to_owned),
            null_text: null_text.into_iter().map(str::to_owned).collect(),
            last_line: if is_any { LastLine::Any } else { LastLine::Complete },
            short_rows: if is_null { ShortRows::Null } else { ShortRows::Fail },
            header: Header::Names(vec!["a".to_owned(), "b".to_owned()]),
            ..CsvDialect::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn records_are_those_of_a_second_tokenizer(
        dialect in dialects(),
        text in "([ab\\-#/N]|[,;¦\t ]|[,;\t ]|[\"'\\\\]|\n|\r|\r\n){0,60}",
        block_bytes in prop::sample::select(vec![1, 2, 3, 7, 20, BLOCK_BYTES]),
    ) {
        let read = read(text.as_bytes(), &dialect, &["a", "b"], block_bytes);
        match reference(&text, &dialect, 2) {
            None => {
                let error = read.error.expect("a quote that is never closed");
                prop_assert_eq!(error.code, ErrorCode::SourceUnreadable);
                prop_assert!(error.message.contains("is never closed"), "{}", error);
            }
            Some(expected) => {
                prop_assert_eq!(&read.error, &None);
                let (lines, rows): (Vec<_>, Vec<_>) = expected.rows.into_iter().unzip();
                prop_assert_eq!(&read.rows, &rows);
                prop_assert_eq!(&read.positions, &lines);
                prop_assert_eq!(read.rejects.iter().map(|reject| reject.0).collect::<Vec<_>>(), expected.bad);
            }
        }
    }
}
