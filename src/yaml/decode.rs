//! Decodes nodes to typed values and collects all errors.
//!
//! Every function takes the list of mistakes and gives `None` after adding to it, so that the caller continues with the
//! next key. [`Kind::Reported`] gives `None` without a word. A caller that ends with an empty list knows that every
//! value it wanted is there.

use crate::diagnostic::{Diagnostic, Located, Span, nearest, shown};
use crate::limits;
use crate::yaml::core_schema::{CoreValue, integer_value};
use crate::yaml::node::{Entry, Kind, Node};

/// Turns the value of the named key into a `T`.
pub type Decode<T> = fn(&Node, &str, &mut Vec<Diagnostic>) -> Option<T>;

/// The keys that a mapping may have.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// Understood.
    pub known: &'static [&'static str],
}

/// A mapping with a fixed set of keys.
#[derive(Debug, Clone)]
pub struct Fields<'n> {
    entries: &'n [Entry],
    at: Span,
    inside: String,
    /// Known keys that an unknown key probably misspells; they are not reported as missing too.
    misspelt: Vec<&'n str>,
}

impl<'n> Fields<'n> {
    /// Checks that the node is a mapping and that all its keys are known. `what` is the key that it stands under,
    /// empty for the document; `at` is where to report keys that are missing.
    pub fn open(node: &'n Node, at: &Span, what: &str, keys: Keys, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let entries = mapping(node, what, errors)?;
        let inside = if what.is_empty() { String::new() } else { format!(" in `{what}`") };
        let mut misspelt = Vec::new();
        for entry in entries {
            let key = entry.key.value.as_str();
            if keys.known.contains(&key) {
                continue;
            }
            let mistake = entry.key.mistake(format!("unknown key `{}`{inside}", shown(key)));
            // Comparing with every known key is worth it only for mistakes that will be shown.
            let is_shown = errors.len() < limits::MISTAKES;
            errors.push(mistake.help(match nearest(key, keys.known.iter().copied().filter(|_| is_shown)) {
                Some(known) => {
                    misspelt.push(known);
                    format!("did you mean `{known}`?")
                }
                None if keys.known.is_empty() => format!("`{what}` takes no keys"),
                None => format!("known keys: {}", keys.known.join(", ")),
            }));
        }
        Some(Self { entries, at: at.clone(), inside, misspelt })
    }

    /// The entry with this key.
    pub fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|e| e.key.value == key)
    }

    /// The value of a key that may be left out.
    pub fn optional<T>(&self, key: &str, errors: &mut Vec<Diagnostic>, decode: Decode<T>) -> Option<T> {
        decode(&self.get(key)?.value, key, errors)
    }

    /// The value of a key that must be there.
    pub fn required<T>(&self, key: &str, example: &str, errors: &mut Vec<Diagnostic>, decode: Decode<T>) -> Option<T> {
        let Some(entry) = self.get(key) else {
            if self.misspelt.contains(&key) {
                return None;
            }
            let missing = Diagnostic::at(Some(&self.at), format!("missing key `{key}`{}", self.inside));
            errors.push(missing.help(format!("add `{key}: {example}`")));
            return None;
        };
        decode(&entry.value, key, errors)
    }
}

/// Whether a mistake was already reported for this value, or it is left out without saying so (`key:`).
fn is_unusable(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> bool {
    match node.core_value() {
        _ if node.kind == Kind::Reported => true,
        Some(CoreValue::Null) => {
            let nothing = Diagnostic::at(Some(&node.span), format!("`{}` has no value", shown(what)));
            errors.push(nothing.help("give it one, or remove the key"));
            true
        }
        _ => false,
    }
}

fn wrong_type(node: &Node, what: &str, expected: &str) -> Diagnostic {
    let subject = if what.is_empty() { "the file".to_owned() } else { format!("`{}`", shown(what)) };
    Diagnostic::at(Some(&node.span), format!("{subject} must be {expected}, found {}", node.describe()))
}

/// The entries of a mapping.
pub fn mapping<'n>(node: &'n Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<&'n [Entry]> {
    match &node.kind {
        Kind::Mapping(entries) => Some(entries),
        _ if is_unusable(node, what, errors) => None,
        _ => {
            errors.push(wrong_type(node, what, "a mapping of keys to values"));
            None
        }
    }
}

/// The items of a list.
pub fn list<'n>(node: &'n Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<&'n [Node]> {
    match &node.kind {
        Kind::Sequence(items) => Some(items),
        _ if is_unusable(node, what, errors) => None,
        _ => {
            errors.push(wrong_type(node, what, "a list").help("write `[a, b]`, or one `- a` a line"));
            None
        }
    }
}

/// The items of a list, or the one value that stands for a list of it.
pub fn one_or_more(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::Sequence(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// Text, which may be empty.
pub fn any_text(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<String>> {
    match node.core_value() {
        Some(CoreValue::Text(text)) => Some(Located { value: text.to_owned(), span: Some(node.span.clone()) }),
        _ if is_unusable(node, what, errors) => None,
        other => {
            let mistake = wrong_type(node, what, "text");
            errors.push(if other.is_some() { mistake.help("put it in quotes") } else { mistake });
            None
        }
    }
}

/// Text with something in it.
pub fn text(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<String>> {
    let found = any_text(node, what, errors)?;
    if found.value.trim().is_empty() {
        errors.push(found.mistake(format!("`{}` is empty", shown(what))));
        return None;
    }
    Some(found)
}

/// The text of a scalar that is text or a number, as it was written: `2026`, `2026-03`.
pub fn written(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<String>> {
    match node.core_value() {
        Some(CoreValue::Integer(text) | CoreValue::Float(text)) => {
            Some(Located { value: text.to_owned(), span: Some(node.span.clone()) })
        }
        _ => text(node, what, errors),
    }
}

/// `true` or `false`.
pub fn boolean(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<bool> {
    match node.core_value() {
        Some(CoreValue::Bool(value)) => Some(value),
        _ if is_unusable(node, what, errors) => None,
        _ => {
            errors.push(wrong_type(node, what, "`true` or `false`"));
            None
        }
    }
}

/// A whole number.
pub fn integer(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<i128>> {
    match node.core_value() {
        Some(CoreValue::Integer(text)) => match integer_value(text) {
            Some(value) => Some(Located { value, span: Some(node.span.clone()) }),
            None => {
                let message = format!("`{}` is {}, which 64 bits cannot hold", shown(what), shown(text));
                errors.push(Diagnostic::at(Some(&node.span), message));
                None
            }
        },
        _ if is_unusable(node, what, errors) => None,
        _ => {
            errors.push(wrong_type(node, what, "a whole number"));
            None
        }
    }
}

/// A whole number from 1 to 2^53 - 1, the largest that every reader of JSON keeps.
pub fn count(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<u64> {
    const LARGEST: i128 = (1 << 53) - 1;
    let found = integer(node, what, errors)?;
    match u64::try_from(found.value) {
        Ok(value) if (1..=LARGEST).contains(&found.value) => Some(value),
        _ => {
            let message = format!("`{}` must be from 1 to {LARGEST}, found {}", shown(what), found.value);
            errors.push(found.mistake(message));
            None
        }
    }
}

/// A closed set of values, each with the word that files write.
pub trait Word: Copy + 'static {
    /// Words and values, in the order that messages list them.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// One of a closed set of words.
pub fn word<T: Word>(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<T> {
    let found = text(node, what, errors)?;
    let value = T::WORDS.iter().find(|(word, _)| *word == found.value).map(|(_, value)| *value);
    if value.is_none() {
        errors.push(not_one_of(&found, what, &T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>()));
    }
    value
}

/// The mistake of a word outside a closed set.
pub fn not_one_of(found: &Located<String>, what: &str, allowed: &[&str]) -> Diagnostic {
    let mistake = found.mistake(format!("`{}` cannot be `{}`", shown(what), shown(&found.value)));
    mistake.help(match nearest(&found.value, allowed.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("allowed: {}", allowed.join(", ")),
    })
}
