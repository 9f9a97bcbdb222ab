//! The tree of a YAML document.

use crate::diagnostic::{Located, Span};
use crate::yaml::core_schema::{CoreValue, resolve_plain};

/// One value and its bytes in the text. A value that came through an alias has the place of its anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    Scalar(Text),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in order of writing; keys are unique text.
    Mapping(Vec<Entry>),
    /// A value whose mistake is already reported. Decoders say nothing more about it.
    Reported,
}

/// The text of a scalar and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text, escapes and folding undone.
    pub text: String,
    /// Written without quotes, so that the core schema gives it a type. Otherwise it is text.
    pub plain: bool,
    /// Bytes of `text` that a person wrote before the first template, where `text` is what a template gave.
    pub before_template: Option<usize>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key; its span is always there.
    pub key: Located<String>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The scalar's value under the core schema; `None` for anything but a scalar.
    pub fn core_value(&self) -> Option<CoreValue<'_>> {
        match &self.kind {
            Kind::Scalar(Text { text, plain: true, .. }) => Some(resolve_plain(text)),
            Kind::Scalar(Text { text, .. }) => Some(CoreValue::Text(text)),
            _ => None,
        }
    }

    /// The entry of a mapping with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|e| e.key.value == key),
            _ => None,
        }
    }

    /// What stands here, for a message: ``text `abc` ``, `a list`.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
            Kind::Reported => "a value with a mistake".to_owned(),
            Kind::Scalar(scalar) => {
                let shown = crate::diagnostic::shown(&scalar.text);
                match self.core_value() {
                    Some(CoreValue::Null) => "nothing".to_owned(),
                    Some(CoreValue::Bool(_)) => format!("`{shown}`"),
                    Some(CoreValue::Integer(_) | CoreValue::Float(_) | CoreValue::NotFinite) => {
                        format!("the number `{shown}`")
                    }
                    _ if scalar.text.is_empty() => "empty text".to_owned(),
                    _ => format!("the text `{shown}`"),
                }
            }
        }
    }
}
