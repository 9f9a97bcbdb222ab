//! JSON objects with their keys in the order of writing.

/// An object that is being written.
pub(crate) struct Record(String);

impl Record {
    /// No keys yet.
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    /// A value that is JSON already.
    pub(crate) fn json(mut self, key: &str, value: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(value);
        self
    }

    /// Text.
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        let value = quoted(value);
        self.json(key, &value)
    }

    /// Text or null.
    pub(crate) fn maybe(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self.json(key, "null"),
        }
    }

    /// An integer, digit by digit.
    pub(crate) fn integer(self, key: &str, value: i64) -> Self {
        self.json(key, &value.to_string())
    }

    /// The object.
    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
