//! Digests rows read back from shards; the digest is equal for all formats.
//!
//! Cells come from independent readers, and [`rows_digest::record`](crate::rows_digest::record), which the writers do
//! not use, builds records from them. Shared with the writers are only the normalization of JSON in a cell and, for
//! Parquet, the text form of Arrow values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Dialect;
use crate::encode::{canonical_json, compact_json, unescaped_formula};
use crate::package::manifest::Manifest;
use crate::rows_digest::{RowsDigest, hash, record};

/// Kind of a column, as far as it affects the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Text that holds JSON: nested in the JSON formats.
    Json,
    /// Infinities and NaN have other names in JSON.
    Float,
    Other,
}

/// Digests rows, cell by cell.
pub(in crate::audit::verify) struct Digester {
    columns: Vec<(String, Kind)>,
    /// The text of the row's cells so far.
    text: Vec<u8>,
    /// End of each cell in the text, and whether it is non-null.
    cells: Vec<(usize, bool)>,
    record: Vec<u8>,
    pub(super) digest: RowsDigest,
}

/// What is wrong with a row, as the predicate of a sentence about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRow {
    #[error("has a cell that is not UTF-8")]
    NotUtf8,
    #[error("is not a JSON object: {0}")]
    NotAnObject(serde_json::Error),
    #[error("does not have the keys that the manifest lists as columns, in their order")]
    OtherKeys,
    #[error("has a broken string: {0}")]
    BrokenString(serde_json::Error),
}

impl Digester {
    pub(in crate::audit::verify) fn new(manifest: &Manifest) -> Self {
        let kind = |name: &str| match name {
            "text" => Kind::Text,
            "json" => Kind::Json,
            "float16" | "float32" | "float64" => Kind::Float,
            _ => Kind::Other,
        };
        let columns = manifest.columns.iter().map(|column| (column.name.clone(), kind(&column.type_name)));
        Self {
            columns: columns.collect(),
            text: Vec::new(),
            cells: Vec::new(),
            record: Vec::new(),
            digest: RowsDigest::default(),
        }
    }

    /// The digest of all rows.
    pub(in crate::audit::verify) fn finish(self) -> RowsDigest {
        self.digest
    }

    /// The next cell of a row of CSV.
    pub(super) fn csv_cell(&mut self, text: &[u8], quoted: bool, dialect: &Dialect) -> Result<(), BadRow> {
        if !quoted && text == dialect.null_text.as_bytes() {
            self.null();
            return Ok(());
        }
        let kind = self.kind();
        let text = match kind {
            Kind::Text | Kind::Json if dialect.escape_formulas => unescaped_formula(text),
            _ => text,
        };
        match kind {
            Kind::Json => self.json(std::str::from_utf8(text).map_err(|_| BadRow::NotUtf8)?),
            Kind::Other => self.other(text),
            Kind::Text | Kind::Float => self.cell(text),
        }
        Ok(())
    }

    /// A row of NDJSON or JSON.
    pub(super) fn json_row(&mut self, object: &str) -> Result<(), BadRow> {
        let mut text = serde_json::Deserializer::from_str(object);
        let fields = Fields { most: self.columns.len() }.deserialize(&mut text).map_err(BadRow::NotAnObject)?;
        text.end().map_err(BadRow::NotAnObject)?;
        if !fields.iter().map(|(key, _)| key).eq(self.columns.iter().map(|(name, _)| name)) {
            return Err(BadRow::OtherKeys);
        }
        for (_, value) in fields {
            let raw = value.get();
            match self.kind() {
                _ if raw == "null" => self.null(),
                Kind::Json => self.json(raw),
                kind if raw.starts_with('"') => {
                    let text: String = serde_json::from_str(raw).map_err(BadRow::BrokenString)?;
                    match (kind, text.as_str()) {
                        (Kind::Float, "Infinity") => self.cell(b"inf"),
                        (Kind::Float, "-Infinity") => self.cell(b"-inf"),
                        (_, text) => self.cell(text.as_bytes()),
                    }
                }
                _ => self.other(raw.as_bytes()),
            }
        }
        self.end_row();
        Ok(())
    }

    /// Kind of the next cell.
    fn kind(&self) -> Kind {
        self.columns.get(self.cells.len()).map_or(Kind::Other, |(_, kind)| *kind)
    }

    fn null(&mut self) {
        self.cells.push((self.text.len(), false));
    }

    fn cell(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.cells.push((self.text.len(), true));
    }

    fn json(&mut self, text: &str) {
        let start = self.text.len();
        canonical_json(text, &mut self.text);
        if self.text.get(start..) == Some(b"null") {
            self.text.truncate(start);
            self.null();
        } else {
            self.cells.push((self.text.len(), true));
        }
    }

    /// A number, a time, or lists and structs.
    fn other(&mut self, text: &[u8]) {
        if text.starts_with(b"[") || text.starts_with(b"{") {
            compact_json(text, &mut self.text);
            self.cells.push((self.text.len(), true));
        } else {
            self.cell(text);
        }
    }

    /// All cells of the row are there.
    pub(super) fn end_row(&mut self) {
        let starts = [0].into_iter().chain(self.cells.iter().map(|(end, _)| *end));
        let cells = starts
            .zip(&self.cells)
            .map(|(start, (end, is_there))| is_there.then(|| self.text.get(start..*end).unwrap_or_default()));
        self.record.clear();
        record(cells, &mut self.record);
        self.digest.add(&hash(&self.record));
        self.text.clear();
        self.cells.clear();
    }
}

/// The fields of an object in order, with the text of their values; at most one more than there are columns, because a
/// hostile object may have millions.
struct Fields {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
            if fields.len() > self.most {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
