//! The scanner, which moves through a text token by token.

use std::borrow::Cow;
use std::collections::HashSet;

use super::extent::Extent;
use super::text::{Text, hex4};
use crate::swar::{below, find, marks};

/// Deepest nesting of values, as in `serde_json`. Bounds the recursion below.
const MAX_DEPTH: u32 = 128;

const ENDS_INSIDE: &str = "the text ends inside an object or array";

/// Up to this many keys of an object are compared one by one, without allocation.
const FEW_KEYS: usize = 32;

/// Why a row is unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum Fault {
    /// Not JSON, at a byte of the row.
    Syntax {
        /// Offset of the byte.
        at: usize,
        /// What was expected.
        why: &'static str,
    },
    /// Valid JSON, but not a row that can be kept without loss.
    Content(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax { at, why } => write!(f, "not JSON at byte {}: {why}", at + 1),
            Self::Content(why) => f.write_str(why),
        }
    }
}

/// One value, or the start of an object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    String(Text<'a>),
    /// Continue with [`Scanner::next_key`] until it returns `None`.
    Object,
    /// Continue with [`Scanner::next_item`] until it returns `false`.
    Array,
}

/// A number as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Number<'a> {
    /// The number with all its digits.
    pub(in crate::source) text: &'a str,
    /// No fraction, no exponent, and not `-0`, which no integer type holds.
    pub(in crate::source) integer: bool,
}

/// A key of an object.
pub(in crate::source) enum Key<'a> {
    /// The expected key.
    Expected,
    /// A key that may differ from the expected one.
    Other(Text<'a>),
}

/// Whether a key needs no escapes in JSON.
pub(in crate::source) fn is_plain(key: &str) -> bool {
    plain_len(key.as_bytes(), 0) == key.len()
}

/// Offset, from `from` on, of the first byte that is not a plain character of a string: a quote, a backslash or a control
/// character. The length of the text if there is none.
#[inline]
fn plain_len(text: &[u8], from: usize) -> usize {
    let marked = |w| marks(w, b'"') | marks(w, b'\\') | below(w, b' ');
    find(text, from, marked, |b| matches!(b, b'"' | b'\\' | 0..b' '))
}

/// Reads a JSON text from start to end.
pub(in crate::source) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Keys of the open objects, the innermost object last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    pub(in crate::source) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, keys: Vec::new() }
    }

    fn fault<T>(&self, why: &'static str) -> Result<T, Fault> {
        Err(Fault::Syntax { at: self.at, why })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips white space and returns the offset of the next token.
    pub(in crate::source) fn offset(&mut self) -> usize {
        self.space();
        self.at
    }

    /// The text from an offset to the current position.
    pub(in crate::source) fn since(&self, offset: usize) -> &'a str {
        self.text.get(offset..self.at).unwrap_or_default()
    }

    /// The offset of the next byte, white space included.
    pub(in crate::source) fn position(&self) -> usize {
        self.at
    }

    /// The next value.
    #[inline]
    pub(in crate::source) fn value(&mut self) -> Result<Value<'a>, Fault> {
        self.space();
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b'{') => self.open().map(|()| Value::Object),
            Some(b'[') => self.open().map(|()| Value::Array),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => self.fault("expected a value"),
            None => self.fault("the text ends where a value is expected"),
        }
    }

    fn open(&mut self) -> Result<(), Fault> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Content(format!("values nest deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Fault> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return self.fault("expected a value");
        }
        self.at += word.len();
        Ok(value)
    }

    /// After [`Value::Object`]: reads the next key and its colon; `None` at the end of the object. Start with `first` set to
    /// `true`; this function maintains it.
    #[inline]
    pub(in crate::source) fn next_key(&mut self, first: &mut bool) -> Result<Option<Text<'a>>, Fault> {
        if !self.next_element(b'}', first)? {
            return Ok(None);
        }
        self.key().map(Some)
    }

    /// [`Scanner::next_key`] with a fast path for an expected key, which must be plain ([`is_plain`]).
    #[inline]
    pub(in crate::source) fn next_key_after(
        &mut self,
        first: &mut bool,
        expected: Option<&str>,
    ) -> Result<Option<Key<'a>>, Fault> {
        if !self.next_element(b'}', first)? {
            return Ok(None);
        }
        self.space();
        if let Some(expected) = expected {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let after = rest.strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(expected.as_bytes()));
            if after.is_some_and(|after| after.starts_with(b"\":")) {
                self.at += expected.len() + 3;
                return Ok(Some(Key::Expected));
            }
        }
        self.key().map(|key| Some(Key::Other(key)))
    }

    fn key(&mut self) -> Result<Text<'a>, Fault> {
        self.space();
        if self.peek() != Some(b'"') {
            return self.fault("expected a key in quotes");
        }
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fault("expected `:` after a key");
        }
        self.at += 1;
        Ok(key)
    }

    /// After [`Value::Array`]: whether another item follows.
    pub(in crate::source) fn next_item(&mut self, first: &mut bool) -> Result<bool, Fault> {
        self.next_element(b']', first)
    }

    #[inline]
    fn next_element(&mut self, close: u8, first: &mut bool) -> Result<bool, Fault> {
        self.space();
        match self.peek() {
            Some(b) if b == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !*first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if std::mem::take(first) => Ok(true),
            Some(_) => self.fault("expected `,` or the closing bracket"),
            None => self.fault(ENDS_INSIDE),
        }
    }

    #[inline]
    fn string(&mut self) -> Result<Text<'a>, Fault> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = plain_len(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at = at;
                    at += self.escape(bytes.get(at + 1..).unwrap_or_default())?;
                }
                Some(_) => {
                    self.at = at;
                    return self.fault("a control character in a string must be escaped");
                }
                None => {
                    self.at = at;
                    return self.fault("the text ends inside a string");
                }
            }
        }
        self.at = at + 1;
        Ok(Text { inner: self.text.get(start..at).unwrap_or_default(), escaped })
    }

    /// Checks the bytes after a backslash and returns the length of the escape.
    fn escape(&self, after: &[u8]) -> Result<usize, Fault> {
        match after.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') => match after.get(1..).and_then(hex4) {
                Some(0xd800..=0xdbff) => {
                    let low = after.get(5..7).filter(|b| *b == b"\\u").and_then(|_| after.get(7..)).and_then(hex4);
                    match low {
                        Some(0xdc00..=0xdfff) => Ok(12),
                        _ => self.lone_surrogate(),
                    }
                }
                Some(0xdc00..=0xdfff) => self.lone_surrogate(),
                Some(_) => Ok(6),
                None => self.fault("expected four hexadecimal digits after `\\u`"),
            },
            _ => self.fault("unknown escape in a string"),
        }
    }

    fn lone_surrogate(&self) -> Result<usize, Fault> {
        let at = self.at + 1;
        Err(Fault::Content(format!(
            "an unpaired surrogate at byte {at}: it is not a character, so UTF-8 text cannot hold it"
        )))
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let n = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        self.at += n;
        n
    }

    fn number(&mut self) -> Result<Number<'a>, Fault> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let zero = self.peek() == Some(b'0');
        match self.digits() {
            0 => return self.fault("expected a digit"),
            1 => {}
            _ if zero => return self.fault("a number must not start with a zero"),
            _ => {}
        }
        let mut integer = !(negative && zero);
        if self.peek() == Some(b'.') {
            self.at += 1;
            integer = false;
            if self.digits() == 0 {
                return self.fault("expected a digit after the decimal point");
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            integer = false;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fault("expected a digit in the exponent");
            }
        }
        Ok(Number { text: self.since(start), integer })
    }

    /// Skips the next value, with all checks, and returns its raw text.
    pub(in crate::source) fn skip(&mut self) -> Result<&'a str, Fault> {
        let start = self.offset();
        let value = self.value()?;
        self.skip_rest(value)?;
        Ok(self.since(start))
    }

    /// After [`Scanner::value`]: skips the contents of the value.
    pub(in crate::source) fn skip_rest(&mut self, value: Value<'a>) -> Result<(), Fault> {
        let mut first = true;
        match value {
            Value::Object => {
                let mut keys = self.key_guard();
                while let Some(key) = self.next_key(&mut first)? {
                    keys.refuse_duplicate(self, key.decode())?;
                    let inner = self.value()?;
                    self.skip_rest(inner)?;
                }
                keys.close(self);
            }
            Value::Array => {
                while self.next_item(&mut first)? {
                    let inner = self.value()?;
                    self.skip_rest(inner)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Skips the next value as a text of its own. What could not be kept of it is its own fault, not one of this text, and
    /// ends the checks of the value: only its brackets and quotes are looked at.
    ///
    /// # Errors
    /// [`Fault::Syntax`].
    pub(in crate::source) fn skip_apart(&mut self) -> Result<(), Fault> {
        let start = self.offset();
        let rest = self.text.get(start..).unwrap_or_default();
        let mut inner = Self::new(rest);
        let len = match inner.skip() {
            Ok(value) => value.len(),
            Err(Fault::Syntax { at, why }) => return Err(Fault::Syntax { at: start + at, why }),
            Err(Fault::Content(_)) => match Extent::default().len(rest.as_bytes()) {
                Some(len) => len,
                None => return self.fault(ENDS_INSIDE),
            },
        };
        self.at = start + len;
        Ok(())
    }

    /// In an array whose bracket ends at `start`: moves behind the array. Its elements are not checked.
    ///
    /// # Errors
    /// [`Fault::Syntax`] if the text does not hold its end.
    pub(in crate::source) fn skip_elements(&mut self, start: usize) -> Result<(), Fault> {
        let start = start.saturating_sub(1);
        let Some(len) = Extent::default().len(self.text.as_bytes().get(start..).unwrap_or_default()) else {
            return self.fault(ENDS_INSIDE);
        };
        self.at = start + len;
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// Starts duplicate detection for the object just opened.
    pub(in crate::source) fn key_guard(&self) -> KeyGuard<'a> {
        KeyGuard { outer: self.keys.len(), many: HashSet::new() }
    }

    /// Checks that only white space follows.
    pub(in crate::source) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at < self.text.len() { self.fault("expected the end of the row") } else { Ok(()) }
    }
}

/// Refuses duplicate keys in one object. Up to [`FEW_KEYS`] keys are compared one by one on the scanner's stack; an object
/// with more needs a set.
pub(in crate::source) struct KeyGuard<'a> {
    outer: usize,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> KeyGuard<'a> {
    pub(in crate::source) fn refuse_duplicate(
        &mut self,
        scanner: &mut Scanner<'a>,
        key: Cow<'a, str>,
    ) -> Result<(), Fault> {
        let own = scanner.keys.get(self.outer..).unwrap_or_default();
        if self.many.contains(&key) || (self.many.is_empty() && own.contains(&key)) {
            // The key is not shown: in columns that hold arbitrary objects, keys are data.
            return Err(Fault::Content(format!("a key {TWICE}")));
        }
        if self.many.is_empty() && own.len() < FEW_KEYS {
            scanner.keys.push(key);
        } else {
            if self.many.is_empty() {
                self.many.extend(own.iter().cloned());
            }
            self.many.insert(key);
        }
        Ok(())
    }

    /// Ends the detection, at the end of the object.
    pub(in crate::source) fn close(self, scanner: &mut Scanner<'a>) {
        scanner.keys.truncate(self.outer);
    }
}

const TWICE: &str = "appears twice in one object, so one of its values would be lost";

/// The fault of an object with a duplicate key.
pub(in crate::source) fn duplicate_key(key: &str) -> Fault {
    let key: String = key.chars().take(80).collect();
    Fault::Content(format!("the key `{key}` {TWICE}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<(), Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip()?;
        scanner.end()
    }

    #[test]
    fn what_would_be_lost_in_silence_is_refused() {
        let many = format!("{{{}}}", (0..100).map(|i| format!("\"k{i}\":1,")).collect::<String>() + "\"k7\":2");
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"x":{"b":1,"c":[],"b":2}}]"#,
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            &many,
            &"[".repeat(200),
        ] {
            assert!(matches!(check(text), Err(Fault::Content(_))), "{text}");
        }
        assert_eq!(check(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#), Ok(()));
    }

    #[test]
    fn escapes_mean_what_the_standard_says() {
        let raw = r#""\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00é""#;
        let Ok(Value::String(text)) = Scanner::new(raw).value() else { panic!("not a string") };
        assert_eq!(text.decode(), serde_json::from_str::<String>(raw).unwrap());
    }

    /// Text near to JSON: pieces of it in any order.
    fn near_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"a\"",
            "\"b\"",
            "1",
            "-0",
            "01",
            "1.5",
            "1e5",
            "-",
            ".",
            "true",
            "null",
            " ",
            "\n",
            "\"",
            "\\",
            "\\u12",
            "\u{1}",
            "é",
            "1E+",
            "tru",
            "{\"a\":[1,2]}",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|p| p.concat())
    }

    proptest! {
        #[test]
        fn what_is_json_is_what_serde_json_says(text in near_json()) {
            let ours = check(&text);
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
            prop_assert!(ours.is_ok() == theirs.is_ok() || matches!(ours, Err(Fault::Content(_))), "{text}: {ours:?}");
        }

        #[test]
        fn strings_come_back_as_they_were(text in any::<String>()) {
            let raw = serde_json::to_string(&text).unwrap();
            let Ok(Value::String(read)) = Scanner::new(&raw).value() else { panic!("not a string") };
            prop_assert_eq!(read.decode(), text);
        }
    }
}
