//! Where the rows are inside JSON documents, and which fields of the objects around them belong to each row.

use std::fmt;
use std::sync::Arc;

/// A step of a path into a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// Into the value of a key.
    Key(String),
    /// Into each element of an array; written `[]`.
    Items,
}

impl PathStep {
    /// The key.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Items => None,
        }
    }
}

/// Why a text is no path into JSON documents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopePathError {
    /// Two dots in a row, or one at an end.
    #[error("`{0}` has an empty key")]
    EmptyKey(String),
    /// A bracket that is not part of `[]` behind a key.
    #[error("`{0}` has a bracket that is not part of `[]` behind a key")]
    Bracket(String),
    /// Only `[]`.
    #[error("`{0}` names no key")]
    NoKey(String),
}

/// The steps of a path such as `resourceSpans[].scopeSpans[].spans`.
fn steps(text: &str) -> Result<Vec<PathStep>, EnvelopePathError> {
    let mut steps = Vec::new();
    for (i, segment) in text.split('.').enumerate() {
        let key = segment.trim_end_matches("[]");
        if key.contains(['[', ']']) {
            return Err(EnvelopePathError::Bracket(text.to_owned()));
        }
        // The path may begin with `[]`: the document is an array.
        if key.is_empty() && (i > 0 || segment.is_empty()) {
            return Err(EnvelopePathError::EmptyKey(text.to_owned()));
        }
        if !key.is_empty() {
            steps.push(PathStep::Key(key.to_owned()));
        }
        steps.extend(std::iter::repeat_n(PathStep::Items, (segment.len() - key.len()) / 2));
    }
    Ok(steps)
}

/// Path of the array of rows inside each JSON document, which may go through other arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsPath {
    /// Ends with [`PathStep::Items`], those of the array of rows.
    steps: Arc<[PathStep]>,
}

impl RecordsPath {
    /// Reads keys that are joined by dots, with `[]` behind the keys of arrays. The last `[]` is optional.
    ///
    /// # Errors
    /// [`EnvelopePathError`].
    pub fn new(text: &str) -> Result<Self, EnvelopePathError> {
        let mut steps = steps(text)?;
        if steps.last() != Some(&PathStep::Items) {
            steps.push(PathStep::Items);
        }
        if steps == [PathStep::Items] {
            return Err(EnvelopePathError::NoKey(text.to_owned()));
        }
        Ok(Self { steps: steps.into() })
    }

    /// The steps from a document to a row.
    pub fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// The keys, if no array is in the middle.
    pub fn plain_keys(&self) -> Option<Vec<&str>> {
        let (_, keys) = self.steps.split_last()?;
        keys.iter().map(PathStep::key).collect()
    }
}

/// Without the optional `[]` at the end, so that a path has one text.
impl fmt::Display for RecordsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match &*self.steps {
            [steps @ .., PathStep::Items] if matches!(steps.last(), Some(PathStep::Key(_))) => steps,
            steps => steps,
        };
        f.write_str(&text(shown))
    }
}

/// The text of a path.
fn text(steps: &[PathStep]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            PathStep::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            PathStep::Items => text.push_str("[]"),
        }
    }
    text
}

/// A field of an object around the rows that becomes a column of each row in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptField {
    name: String,
    path: String,
    json_key: String,
    depth: usize,
    keys: Vec<String>,
}

/// Why a path is not that of a field around the rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeptFieldError {
    /// It is no path.
    #[error(transparent)]
    Path(#[from] EnvelopePathError),
    /// It ends with `[]`.
    #[error("`{0}` is every element of an array, not a field")]
    NotAField(String),
    /// It goes into an array that `records` does not go into.
    #[error("`{0}` leaves the arrays of `records`")]
    OtherArray(String),
    /// It goes into the rows.
    #[error("`{0}` is a field of the rows, which have it anyway")]
    OfRow(String),
    /// The value would hold the rows.
    #[error("`{0}` holds the rows")]
    HoldsRows(String),
    /// `[]` is missing.
    #[error("`{path}` goes through an array of `records` without `[]`")]
    ThroughArray {
        /// The path.
        path: String,
        /// As much of the path as must be written before the rest.
        array: String,
    },
}

impl KeptField {
    /// Reads the path of a field of an object on the way to the rows. Its `[]` go into the arrays that `records` goes into.
    ///
    /// # Errors
    /// [`KeptFieldError`].
    pub fn new(name: &str, path: &str, records: &RecordsPath) -> Result<Self, KeptFieldError> {
        let steps = steps(path)?;
        let owned = || path.to_owned();
        let last_items = steps.iter().rposition(|step| *step == PathStep::Items);
        let (way, rest) = steps.split_at(last_items.map_or(0, |last| last + 1));
        let Some(beyond) = records.steps.strip_prefix(way) else { return Err(KeptFieldError::OtherArray(owned())) };
        if beyond.is_empty() {
            return Err(KeptFieldError::OfRow(owned()));
        }
        if rest.is_empty() {
            return Err(KeptFieldError::NotAField(owned()));
        }
        let common = rest.iter().zip(beyond).take_while(|(a, b)| a == b).count();
        if common == rest.len() {
            return Err(KeptFieldError::HoldsRows(owned()));
        }
        if beyond.get(common) == Some(&PathStep::Items) {
            let array = text(records.steps.get(..=way.len() + common).unwrap_or_default());
            return Err(KeptFieldError::ThroughArray { path: owned(), array });
        }
        Ok(Self {
            name: name.to_owned(),
            path: owned(),
            json_key: serde_json::Value::from(name).to_string(),
            depth: way.iter().filter(|step| **step == PathStep::Items).count(),
            keys: rest.iter().filter_map(PathStep::key).map(str::to_owned).collect(),
        })
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path as written.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name as a JSON string.
    pub(crate) fn json_key(&self) -> &str {
        &self.json_key
    }

    /// Number of arrays that the path goes into.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The keys from the element of the last of those arrays, or from the document; at least one.
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }
}

/// What is around the rows of JSON documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where the rows are.
    pub records: RecordsPath,
    /// Fields around the rows that become columns, by name.
    pub keep: Arc<[KeptField]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_text_however_it_is_written() {
        for (text, shown, plain) in [
            ("Records", "Records", Some(vec!["Records"])),
            ("Records[]", "Records", Some(vec!["Records"])),
            ("a.b[]", "a.b", Some(vec!["a", "b"])),
            ("a[].b.c[].d", "a[].b.c[].d", None),
            ("a[][]", "a[][]", None),
            ("[].a[]", "[].a", None),
            ("[][]", "[][]", None),
        ] {
            let path = RecordsPath::new(text).unwrap();
            assert_eq!((path.to_string().as_str(), path.plain_keys()), (shown, plain), "{text}");
            assert_eq!(RecordsPath::new(shown).unwrap(), path, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a[].", "a.[].b"] {
            assert_eq!(RecordsPath::new(text), Err(EnvelopePathError::EmptyKey(text.to_owned())), "{text}");
        }
        for text in ["a[0]", "a[", "a]", "a[].[]b", "a[]b", "[[]]"] {
            assert_eq!(RecordsPath::new(text), Err(EnvelopePathError::Bracket(text.to_owned())), "{text}");
        }
        assert_eq!(RecordsPath::new("[]"), Err(EnvelopePathError::NoKey("[]".to_owned())));
    }

    #[test]
    fn a_kept_field_is_beside_the_way_to_the_rows() {
        let kept = |records: &str, path: &str| KeptField::new("x", path, &RecordsPath::new(records).unwrap());
        for (path, depth, keys) in
            [("owner", 0, "owner"), ("a[].c", 1, "c"), ("a[].b.c.d", 1, "b.c.d"), ("a[].b.rows2", 1, "b.rows2")]
        {
            let field = kept("a[].b.rows", path).unwrap();
            assert_eq!((field.depth(), field.keys().join(".").as_str()), (depth, keys), "{path}");
        }
        let owned = |path: &str| path.to_owned();
        for (path, error) in [
            ("a[].b..c", EnvelopePathError::EmptyKey(owned("a[].b..c")).into()),
            ("a[]", KeptFieldError::NotAField(owned("a[]"))),
            ("o[].c", KeptFieldError::OtherArray(owned("o[].c"))),
            ("a[].o[].c", KeptFieldError::OtherArray(owned("a[].o[].c"))),
            ("a[].b.rows[].c", KeptFieldError::OfRow(owned("a[].b.rows[].c"))),
            ("a", KeptFieldError::HoldsRows(owned("a"))),
            ("a[].b", KeptFieldError::HoldsRows(owned("a[].b"))),
            ("a[].b.rows", KeptFieldError::HoldsRows(owned("a[].b.rows"))),
            ("a.c", KeptFieldError::ThroughArray { path: owned("a.c"), array: owned("a[]") }),
            (
                "a[].b.rows.c",
                KeptFieldError::ThroughArray { path: owned("a[].b.rows.c"), array: owned("a[].b.rows[]") },
            ),
        ] {
            assert_eq!(kept("a[].b.rows", path), Err(error), "{path}");
        }
        let error = KeptFieldError::ThroughArray { path: owned("owner"), array: owned("[]") };
        assert_eq!(kept("[].rows", "owner"), Err(error));
    }
}
