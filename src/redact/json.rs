//! Redaction inside text that holds JSON.
//!
//! All bytes except redacted values stay unchanged: white space, digits, the order of keys. Every key that matches the path
//! counts, including escaped and duplicate keys. The path applies to each element of an array, and to JSON objects and
//! arrays inside strings. Text that cannot be parsed might contain anything, so it is masked as a whole.
//!
//! `serde_json` finds the start and end of values and decides what is valid JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::key::Keys;
use super::leaf::{Leaf, MASK};

/// Deepest nesting that is parsed, the same as for the source's readers.
const MAX_DEPTH: usize = 128;

/// A redaction inside JSON.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The path inside the text, joined by `.`.
    pub(super) rest: String,
    pub(super) leaf: Leaf,
    pub(super) counter: usize,
}

/// A rule and the rest of its path.
type Open<'r> = (&'r str, &'r Rule);

/// The text is not JSON or nested too deeply.
struct Unreadable;

impl From<serde_json::Error> for Unreadable {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// Redacts one text after the other.
pub(super) struct Walk<'r> {
    keys: &'r Keys,
    rules: Vec<Open<'r>>,
    /// Values redacted in the current text, by counter.
    hits: Vec<u64>,
}

impl<'r> Walk<'r> {
    pub(super) fn new(keys: &'r Keys, rules: &'r [Rule], counters: usize) -> Self {
        Self { keys, rules: rules.iter().map(|rule| (rule.rest.as_str(), rule)).collect(), hits: vec![0; counters] }
    }

    /// Appends the redacted text, and counts the redacted values. Text that is not JSON counts once for each rule.
    pub(super) fn redact(&mut self, text: &str, counts: &mut [u64], out: &mut String) {
        let start = out.len();
        self.hits.fill(0);
        let open = std::mem::take(&mut self.rules);
        if self.value(text, &open, 0, out).is_err() {
            out.truncate(start);
            out.extend(["\"", MASK, "\""]);
            self.hits.fill(0);
            open.iter().for_each(|(_, rule)| self.hit(rule));
        }
        self.rules = open;
        counts.iter_mut().zip(&self.hits).for_each(|(count, hits)| *count += hits);
    }

    fn hit(&mut self, rule: &Rule) {
        if let Some(hits) = self.hits.get_mut(rule.counter) {
            *hits += 1;
        }
    }

    fn value(&mut self, text: &str, open: &[Open<'r>], depth: usize, out: &mut String) -> Result<(), Unreadable> {
        if depth > MAX_DEPTH {
            return Err(Unreadable);
        }
        match text.trim_ascii_start().as_bytes().first() {
            Some(b'{') => self.object(text, open, depth, out),
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text)?;
                let mut done = 0;
                for element in elements.iter().map(|element| element.get()) {
                    let start = offset(text, element);
                    out.push_str(text.get(done..start).ok_or(Unreadable)?);
                    self.value(element, open, depth + 1, out)?;
                    done = start + element.len();
                }
                out.push_str(text.get(done..).ok_or(Unreadable)?);
                Ok(())
            }
            Some(b'"') => self.string(text, open, depth, out),
            _ => {
                serde_json::from_str::<&RawValue>(text)?;
                out.push_str(text);
                Ok(())
            }
        }
    }

    fn object(&mut self, text: &str, open: &[Open<'r>], depth: usize, out: &mut String) -> Result<(), Unreadable> {
        let members: Members<'_> = serde_json::from_str(text)?;
        let mut done = text.find('{').ok_or(Unreadable)? + 1;
        out.push_str(text.get(..done).ok_or(Unreadable)?);
        let (mut is_first, mut is_kept) = (true, false);
        for (key, value) in &members.0 {
            let value = value.get();
            let start = offset(text, value);
            let before = text.get(done..start).ok_or(Unreadable)?;
            // Only white space may precede the comma after a value.
            let (space, before) = if is_first { ("", before) } else { before.split_once(',').ok_or(Unreadable)? };
            (is_first, done) = (false, start + value.len());
            let leaf = open.iter().find(|(rest, _)| rest == key).map(|(_, rule)| *rule);
            if let Some(rule) = leaf
                && value != "null"
            {
                self.hit(rule);
            }
            if let Some(Rule { leaf: Leaf::Drop, .. }) = leaf {
                continue;
            }
            if is_kept {
                out.extend([space, ","]);
            }
            is_kept = true;
            out.push_str(before);
            match leaf {
                Some(rule) if value != "null" => self.leaf(rule, value, out)?,
                Some(_) => out.push_str(value),
                None => {
                    let below = |(rest, rule): &Open<'r>| Some((rest.strip_prefix(&**key)?.strip_prefix('.')?, *rule));
                    let inner: Vec<Open<'r>> = open.iter().filter_map(below).collect();
                    if inner.is_empty() { out.push_str(value) } else { self.value(value, &inner, depth + 1, out)? }
                }
            }
        }
        out.push_str(text.get(done..).ok_or(Unreadable)?);
        Ok(())
    }

    /// A string where an object is expected. Some programs write JSON into strings.
    fn string(&mut self, text: &str, open: &[Open<'r>], depth: usize, out: &mut String) -> Result<(), Unreadable> {
        let content: Option<String> = serde_json::from_str(text).ok();
        if let Some(content) = content.filter(|content| content.trim_ascii_start().starts_with(['{', '['])) {
            let before = self.hits.clone();
            let mut inner = String::new();
            if self.value(&content, open, depth + 1, &mut inner).is_ok() && self.hits != before {
                out.push_str(&serde_json::to_string(&inner)?);
                return Ok(());
            }
            self.hits = before;
        }
        serde_json::from_str::<&RawValue>(text)?;
        out.push_str(text);
        Ok(())
    }

    /// Appends the replacement of a value that is not null.
    fn leaf(&self, rule: &Rule, value: &str, out: &mut String) -> Result<(), Unreadable> {
        match &rule.leaf {
            Leaf::Text { json, .. } => out.push_str(json),
            Leaf::Null | Leaf::Drop => out.push_str("null"),
            Leaf::Hmac(index) => {
                let key = self.keys.get(*index).ok_or(Unreadable)?;
                let pseudonym = key.pseudonym(&canonical(value.as_bytes()));
                out.push('"');
                out.extend(pseudonym.iter().map(|byte| char::from(*byte)));
                out.push('"');
            }
        }
        Ok(())
    }
}

/// The bytes that the pseudonym of a JSON value is computed from: the content of a string, else the raw text. So a string
/// has the same pseudonym in a JSON column as in a text column.
pub(super) fn canonical(json: &[u8]) -> Cow<'_, [u8]> {
    let is_string = json.trim_ascii_start().first() == Some(&b'"');
    let content = is_string.then(|| serde_json::from_slice::<String>(json).ok()).flatten();
    content.map_or(Cow::Borrowed(json), |content| Cow::Owned(content.into_bytes()))
}

/// Offset of a part of a text.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

/// The members of an object in order, including duplicates: decoded keys and raw values.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key_seed(Key)? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A key, copied only if it has escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
