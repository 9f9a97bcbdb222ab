//! `source.csv`: the dialect of CSV files.

use std::borrow::Cow;

use encoding_rs::Encoding;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::{Diagnostic, Located, nearest, shown};
use crate::job::{CsvDialect, Delimiter, Header, HeaderNames, LastLine, ShortRows};
use crate::spec::source::OneOrMore;
use crate::yaml::decode::{Fields, Keys, any_text, integer, list, one_or_more, text, word};
use crate::yaml::{CoreValue, Entry, Kind, Node};

/// Keys of `source.csv`.
pub(super) const CSV_DIALECT_KEYS: Keys = Keys {
    known: &[
        "delimiter",
        "header",
        "comment",
        "skip_lines",
        "quote",
        "escape",
        "null_text",
        "encoding",
        "last_line",
        "short_rows",
        "headers",
    ],
};

/// Keys of `header`.
pub(super) const HEADER_KEYS: Keys = Keys { known: &["line_prefix"] };

/// Lines that can be skipped before a header; more is a mistake.
const MAX_SKIPPED_LINES: i128 = 1_000_000;

/// Characters of a comment mark or of a header's prefix.
const MAX_PREFIX_BYTES: usize = 64;

/// Dialect of the CSV files of a source.
#[derive(JsonSchema)]
#[schemars(rename = "CsvDialect", deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
pub(super) struct CsvDialectKeys {
    /// What separates cells: one character, or `blanks` for runs of spaces and tabs. Default: a comma; a tab in `.tsv`
    /// and `.tab` files.
    delimiter: Option<String>,
    /// Where the column names are: `true` (default) on the first line, `false` nowhere (columns are `c1`, `c2`, …), a list of
    /// names, or `{line_prefix: "#Fields:"}` on the line that begins so.
    header: Option<HeaderSetting>,
    /// Lines that begin with this text are skipped.
    comment: Option<String>,
    /// Number of lines before the header that are skipped.
    skip_lines: Option<u64>,
    /// The character around cells that contain delimiters or line ends, or `none`. Default: `"`.
    quote: Option<String>,
    /// The character before one that is to be taken as text. Default: quotes are doubled.
    escape: Option<String>,
    /// Unquoted cells that are null, beside the empty one.
    null_text: Option<OneOrMore>,
    /// Encoding of files without a byte order mark, by a label of the WHATWG Encoding Standard: `utf-16le`,
    /// `windows-1252`, `shift_jis`. Default: `utf-8`.
    encoding: Option<String>,
    /// A last line without a line end may be truncated: `complete` (default) makes it a bad row, `any` a row.
    last_line: Option<LastLine>,
    /// A row with fewer cells than the header: `fail` (default) makes it a bad row, `null` fills it with nulls.
    #[schemars(with = "Option<ShortRowsSetting>")]
    short_rows: Option<ShortRows>,
    /// Empty and repeated names in a header: an error (`strict`, default), or numbered (`number`).
    headers: Option<HeaderNames>,
}

/// Whether there is a header, the names, or the prefix of its line.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
enum HeaderSetting {
    /// The first line, or none.
    Fixed(bool),
    /// Names of all columns.
    Names(Vec<String>),
    /// On a line of its own.
    Line(HeaderLine),
}

/// The line with the names of the columns.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the shape for the JSON Schema")]
struct HeaderLine {
    /// What the line begins with.
    line_prefix: String,
}

/// A word. Unquoted, `null` is the null of YAML.
struct ShortRowsSetting;

impl JsonSchema for ShortRowsSetting {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ShortRowsSetting".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<ShortRows>(), {"const": null}]})
    }
}

pub(super) fn csv_dialect(entry: &Entry, errors: &mut Vec<Diagnostic>) -> Option<Located<CsvDialect>> {
    let fields = Fields::open(&entry.value, entry.key.span.as_ref()?, "csv", CSV_DIALECT_KEYS, errors)?;
    let before = errors.len();
    let standard = CsvDialect::default();
    let quote = fields.optional("quote", errors, quote);
    let escape = fields.optional("escape", errors, escape);
    let delimiter = fields.optional("delimiter", errors, delimiter);
    let header = fields.optional("header", errors, header);
    let headers = fields.optional("headers", errors, word);
    let comment = fields.optional("comment", errors, prefix);
    let dialect = CsvDialect {
        delimiter: delimiter.as_ref().map(|delimiter| delimiter.value),
        header: header.unwrap_or(standard.header),
        comment: comment.map(|comment| comment.value),
        skip_lines: fields.optional("skip_lines", errors, skip_lines).unwrap_or(standard.skip_lines),
        quote: quote.as_ref().map_or(standard.quote, |quote| quote.value),
        escape: escape.as_ref().map(|escape| escape.value),
        null_text: fields.optional("null_text", errors, null_text).unwrap_or(standard.null_text),
        encoding: fields.optional("encoding", errors, encoding).unwrap_or(standard.encoding),
        last_line: fields.optional("last_line", errors, word).unwrap_or(standard.last_line),
        short_rows: fields.optional("short_rows", errors, short_rows).unwrap_or(standard.short_rows),
        headers: headers.unwrap_or(standard.headers),
    };
    // The character of which a delimiter consists, if another may not be the same.
    let taken = |byte: u8| match dialect.delimiter {
        Some(Delimiter::Blanks) => matches!(byte, b' ' | b'\t'),
        Some(Delimiter::Character(character)) => character == char::from(byte),
        None => byte == b',',
    };
    if let Some(byte) = dialect.quote.filter(|byte| taken(*byte)) {
        let place = quote.as_ref().and_then(|quote| quote.span.as_ref());
        let place = place.or(delimiter.as_ref().and_then(|delimiter| delimiter.span.as_ref()));
        let message = format!("`quote` and `delimiter` cannot both be `{}`", shown(&char::from(byte).to_string()));
        errors.push(Diagnostic::at(place, message).help("set `quote: none` if cells are not quoted"));
    }
    if let Some(escape) = &escape {
        if taken(escape.value) {
            let mistake = escape.mistake("`escape` and `delimiter` cannot be the same character");
            errors.push(mistake.help("change one of them"));
        } else if dialect.quote == Some(escape.value) {
            let mistake = escape.mistake("`escape` and `quote` are the same character");
            errors.push(mistake.help("remove `escape`: by default, quotes are doubled"));
        }
    }
    if dialect.headers == HeaderNames::Number
        && let Header::None | Header::Names(_) = &dialect.header
    {
        let place = fields.get("headers").and_then(|entry| entry.key.span.as_ref());
        let mistake = Diagnostic::at(place, "`headers` has no effect: files have no header");
        errors.push(mistake.help("remove it"));
    }
    (errors.len() == before).then(|| Located { value: dialect, span: entry.key.span.clone() })
}

/// One ASCII character that is no line end.
fn ascii(found: &Located<String>) -> Option<u8> {
    match found.value.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(*byte),
        _ => None,
    }
}

fn delimiter(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<Delimiter>> {
    let found = any_text(node, what, errors)?;
    let located = |value| Some(Located { value, span: found.span.clone() });
    let mut characters = found.value.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) if !matches!(character, '\n' | '\r' | '\0') => {
            return located(Delimiter::Character(character));
        }
        _ if found.value == "blanks" => return located(Delimiter::Blanks),
        _ => {}
    }
    let mistake = found.mistake(format!("`delimiter` cannot be `{}`", shown(&found.value)));
    errors.push(
        mistake.help(match found.value.as_str() {
            "auto" => "write the character: a delimiter is never guessed".to_owned(),
            "\\t" | "tab" | "tabs" | "TAB" => "write \"\\t\" in double quotes for a tab".to_owned(),
            "space" | "spaces" | "whitespace" | "blank" => {
                "write `blanks` for runs of spaces and tabs, \" \" for one space".to_owned()
            }
            "comma" => "write \",\"".to_owned(),
            "semicolon" => "write \";\"".to_owned(),
            "pipe" => "write \"|\"".to_owned(),
            _ => "write one character such as \",\", \";\", \"|\" or \"\\t\", or `blanks` for runs of spaces and tabs"
                .to_owned(),
        }),
    );
    None
}

fn quote(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<Option<u8>>> {
    let found = any_text(node, what, errors)?;
    if found.value == "none" {
        return Some(Located { value: None, span: found.span });
    }
    let Some(quote) = ascii(&found) else {
        let mistake = found.mistake(format!("`quote` cannot be `{}`", shown(&found.value)));
        errors.push(mistake.help("write one ASCII character such as '\"' or \"'\", or `none`"));
        return None;
    };
    Some(Located { value: Some(quote), span: found.span })
}

fn escape(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<u8>> {
    let found = any_text(node, what, errors)?;
    let Some(escape) = ascii(&found) else {
        let mistake = found.mistake(format!("`escape` cannot be `{}`", shown(&found.value)));
        errors.push(
            mistake.help("write one ASCII character such as \"\\\\\", or remove it: by default, quotes are doubled"),
        );
        return None;
    };
    Some(Located { value: escape, span: found.span })
}

fn header(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Header> {
    match (&node.kind, node.core_value()) {
        (_, Some(CoreValue::Bool(true))) => Some(Header::FirstLine),
        (_, Some(CoreValue::Bool(false))) => Some(Header::None),
        (Kind::Sequence(_), _) => {
            let mut names: Vec<String> = Vec::new();
            for item in list(node, what, errors)? {
                let name = text(item, what, errors)?;
                if names.contains(&name.value) {
                    let mistake = name.mistake(format!("`header` names the column `{}` twice", shown(&name.value)));
                    errors.push(mistake.help("rename one of them"));
                    return None;
                }
                names.push(name.value);
            }
            if names.is_empty() {
                let mistake = Diagnostic::at(Some(&node.span), "`header` names no column");
                errors.push(mistake.help("write the names of all columns, or `false`: columns are c1, c2, …"));
                return None;
            }
            Some(Header::Names(names))
        }
        (Kind::Mapping(_), _) => {
            let fields = Fields::open(node, &node.span, what, HEADER_KEYS, errors)?;
            Some(Header::LinePrefix(fields.required("line_prefix", "\"#Fields:\"", errors, prefix)?.value))
        }
        (Kind::Reported, _) => None,
        _ => {
            let message =
                format!("`header` must be true, false, a list of names or a mapping, found {}", node.describe());
            errors.push(
                Diagnostic::at(Some(&node.span), message)
                    .help("write `true`, `false`, `[time, user]`, or `{line_prefix: \"#Fields:\"}`"),
            );
            None
        }
    }
}

/// What a line begins with.
fn prefix(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<String>> {
    let found = text(node, what, errors)?;
    if found.value.contains(['\n', '\r']) || found.value.len() > MAX_PREFIX_BYTES {
        let message = format!("`{what}` must be on one line and have at most {MAX_PREFIX_BYTES} bytes");
        errors.push(found.mistake(message));
        return None;
    }
    Some(found)
}

fn skip_lines(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<u64> {
    let found = integer(node, what, errors)?;
    match u64::try_from(found.value) {
        Ok(lines) if found.value <= MAX_SKIPPED_LINES => Some(lines),
        _ => {
            let message = format!("`{what}` must be from 0 to {MAX_SKIPPED_LINES}, found {}", found.value);
            errors.push(found.mistake(message));
            None
        }
    }
}

fn null_text(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for item in one_or_more(node) {
        let found = any_text(item, what, errors)?;
        if found.value.is_empty() {
            errors.push(found.mistake("an empty cell is null without this").help("remove the empty text"));
            return None;
        }
        texts.push(found.value);
    }
    texts.sort();
    texts.dedup();
    Some(texts)
}

/// Unquoted, `null` is the null of YAML.
fn short_rows(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<ShortRows> {
    match &node.kind {
        Kind::Scalar(scalar) if scalar.plain && scalar.text == "null" => Some(ShortRows::Null),
        _ => word(node, what, errors),
    }
}

/// Labels that messages suggest.
const LABELS: [&str; 24] = [
    "utf-8",
    "utf-16le",
    "utf-16be",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-15",
    "macintosh",
    "shift_jis",
    "euc-jp",
    "iso-2022-jp",
    "gbk",
    "gb18030",
    "big5",
    "euc-kr",
    "koi8-r",
];

fn encoding(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<&'static Encoding> {
    let found = text(node, what, errors)?;
    // The replacement encoding stands for labels that are unsafe to read.
    let known = Encoding::for_label(found.value.as_bytes()).filter(|encoding| *encoding != encoding_rs::REPLACEMENT);
    if known.is_none() {
        let mistake = found.mistake(format!("unknown encoding `{}`", shown(&found.value)));
        errors.push(
            mistake.help(match nearest(&found.value.to_ascii_lowercase(), LABELS) {
                Some(label) => format!("did you mean `{label}`?"),
                None => {
                    "write a label of the WHATWG Encoding Standard such as utf-8, utf-16le, windows-1252 or shift_jis"
                        .to_owned()
                }
            }),
        );
    }
    known
}
