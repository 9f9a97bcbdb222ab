//! What is proposed for a type, and the keys of a catalog that say so.

use super::yaml::{pattern, scalar};
use crate::job::{CsvDialect, Delimiter, Header, HeaderNames, LastLine, ShortRows, SourceFormat};
use crate::yaml::decode::Word;

/// An entry of a catalog.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// As the catalog writes it.
    pub uri: String,
    /// `None` where names and contents tell the format.
    pub format: Option<SourceFormat>,
    /// `None` for that of RFC 4180.
    pub csv: Option<CsvDialect>,
    /// Regular expression of the lines.
    pub pattern: Option<String>,
    /// Path of the rows in JSON documents.
    pub records: Option<String>,
    /// Name of the column and path of each field around the rows.
    pub keep: Vec<(String, String)>,
    /// The time; `None` where no column is one.
    pub time: Option<EntryTime>,
    /// The column that names a row.
    pub id: Option<String>,
    /// Columns that are declared as JSON.
    pub json_columns: Vec<String>,
}

/// The time of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryTime {
    /// One column or path, or several whose values are joined.
    pub columns: Vec<String>,
    /// As `time.format`.
    pub format: String,
    /// Whether values have no zone, so that the entry says which they are read in.
    pub has_zone_key: bool,
}

impl Entry {
    /// An entry that says nothing but where the files are.
    pub(super) fn new(uri: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            format: None,
            csv: None,
            pattern: None,
            records: None,
            keep: Vec::new(),
            time: None,
            id: None,
            json_columns: Vec::new(),
        }
    }

    /// The lines of `source`, from that key on.
    pub(super) fn source_lines(&self) -> Vec<String> {
        let mut lines = vec!["source:".to_owned(), format!("  uri: {}", scalar(&self.uri))];
        if let Some(format) = self.format {
            lines.push(format!("  format: {}", format.word()));
        }
        if let Some(dialect) = &self.csv {
            let keys = dialect_keys(dialect);
            if !keys.is_empty() {
                lines.push("  csv:".to_owned());
                lines.extend(keys.into_iter().map(|(key, value)| format!("    {key}: {value}")));
            }
        }
        if let Some(regex) = &self.pattern {
            lines.push("  lines:".to_owned());
            lines.push(format!("    pattern: {}", pattern(regex)));
        }
        if let Some(records) = &self.records {
            lines.push(format!("  records: {}", scalar(records)));
        }
        if !self.keep.is_empty() {
            lines.push("  keep:".to_owned());
            lines.extend(self.keep.iter().map(|(name, path)| format!("    {}: {}", scalar(name), scalar(path))));
        }
        lines
    }

    /// The lines of the other keys but `time`.
    pub(super) fn other_lines(&self) -> Vec<String> {
        let id = self.id.iter().map(|id| format!("id: {}", scalar(id)));
        let declared = self.json_columns.iter().map(|name| format!("  {}: json", scalar(name)));
        let schema = (!self.json_columns.is_empty()).then(|| "schema:".to_owned());
        id.chain(schema).chain(declared).collect()
    }

    /// The catalog with this entry alone, without comments.
    pub(super) fn catalog(&self, type_name: &str) -> String {
        let time = self.time.iter().flat_map(EntryTime::lines);
        let lines: Vec<String> = self.source_lines().into_iter().chain(time).chain(self.other_lines()).collect();
        let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
        format!("version: 1\ntypes:\n  {}:\n{lines}", scalar(type_name))
    }
}

impl EntryTime {
    /// The lines of `time`, from that key on.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec!["time:".to_owned()];
        match self.columns.as_slice() {
            [column] => lines.push(format!("  column: {}", scalar(column))),
            columns => {
                let columns: Vec<_> = columns.iter().map(|column| scalar(column)).collect();
                lines.push(format!("  columns: [{}]", columns.join(", ")));
            }
        }
        lines.push(format!("  format: {}", scalar(&self.format)));
        if self.has_zone_key {
            lines.push("  timezone: UTC".to_owned());
        }
        lines
    }
}

/// The keys of `source.csv` that are not at their default, with their values.
fn dialect_keys(dialect: &CsvDialect) -> Vec<(&'static str, String)> {
    let byte = |byte: u8| scalar(&char::from(byte).to_string());
    let mut keys = Vec::new();
    match dialect.delimiter {
        None => {}
        Some(Delimiter::Blanks) => keys.push(("delimiter", "blanks".to_owned())),
        Some(Delimiter::Character(character)) => keys.push(("delimiter", scalar(&character.to_string()))),
    }
    match &dialect.header {
        Header::FirstLine => {}
        Header::None => keys.push(("header", "false".to_owned())),
        Header::Names(names) => {
            let names: Vec<_> = names.iter().map(|name| scalar(name)).collect();
            keys.push(("header", format!("[{}]", names.join(", "))));
        }
        Header::LinePrefix(prefix) => keys.push(("header", format!("{{line_prefix: {}}}", scalar(prefix)))),
    }
    if let Some(comment) = &dialect.comment {
        keys.push(("comment", scalar(comment)));
    }
    if dialect.skip_lines > 0 {
        keys.push(("skip_lines", dialect.skip_lines.to_string()));
    }
    match dialect.quote {
        Some(b'"') => {}
        Some(quote) => keys.push(("quote", byte(quote))),
        None => keys.push(("quote", "none".to_owned())),
    }
    if let Some(escape) = dialect.escape {
        keys.push(("escape", byte(escape)));
    }
    if !dialect.null_text.is_empty() {
        let texts: Vec<_> = dialect.null_text.iter().map(|text| scalar(text)).collect();
        keys.push(("null_text", format!("[{}]", texts.join(", "))));
    }
    if dialect.encoding != encoding_rs::UTF_8 {
        keys.push(("encoding", scalar(&dialect.encoding.name().to_ascii_lowercase())));
    }
    if dialect.last_line == LastLine::Any {
        keys.push(("last_line", "any".to_owned()));
    }
    if dialect.short_rows == ShortRows::Null {
        keys.push(("short_rows", "null".to_owned()));
    }
    if dialect.headers == HeaderNames::Number {
        keys.push(("headers", "number".to_owned()));
    }
    keys
}
