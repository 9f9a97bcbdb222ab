//! Finds the rows inside a JSON document, and the fields around them that each row keeps.
//!
//! One pass over the document notes where the arrays of rows begin and where the kept values are, which may stand behind the
//! rows. After it, the rows are cut one by one. A kept value is put before the fields of a row as it stands in the document,
//! so that the readers of rows see one JSON object, and no values are built.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::job::{Envelope, KeptField, PathStep, RecordsPath};
use crate::source::formats::rows::json_text::{Extent, Fault, Scanner, Value};

/// Skipped keys that are reported. Keys around the rows are usually few and designed by hand.
const MAX_SKIPPED_KEYS: usize = 100;

/// Paths of the keys around the rows that are not exported: the first [`MAX_SKIPPED_KEYS`] in the order of their text, whatever
/// the order in which they are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SkippedKeys(BTreeSet<String>);

impl SkippedKeys {
    pub(super) fn add(&mut self, path: &str) {
        let is_beyond = self.0.len() >= MAX_SKIPPED_KEYS && self.0.last().is_some_and(|last| last.as_str() < path);
        if is_beyond || self.0.contains(path) {
            return;
        }
        self.0.insert(path.to_owned());
        if self.0.len() > MAX_SKIPPED_KEYS {
            self.0.pop_last();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for path in &other.0 {
            self.add(path);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_paths(self) -> BTreeSet<String> {
        self.0
    }
}

/// Why a document gives no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EnvelopeFault {
    /// It is not JSON, or a value around the rows would be lost.
    Json(Fault),
    /// It is not what `records` says. The text follows the words for the document: `has no array at …`.
    Path(String),
}

impl From<Fault> for EnvelopeFault {
    fn from(fault: Fault) -> Self {
        Self::Json(fault)
    }
}

/// Who checks that the elements are JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementChecks {
    /// [`expand`]: the whole document is JSON, or it gives no rows.
    Now,
    /// The reader of the rows.
    Later,
}

/// The rows of a document.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// Arrays with elements, in the order of the document.
    arrays: Vec<RowArray>,
    /// The element around each element of the arrays on the way, for documents with kept fields. The first is the document.
    scopes: Vec<usize>,
    /// By scope and field.
    kept: Vec<KeptValue>,
    /// The array of the next row, and its offset if it is not the first.
    array: usize,
    next: Option<usize>,
}

/// An array of rows.
#[derive(Debug)]
struct RowArray {
    /// Offset behind the bracket.
    start: usize,
    scope: usize,
}

/// A value of a kept field.
#[derive(Debug)]
struct KeptValue {
    scope: usize,
    field: usize,
    place: Range<usize>,
}

/// An element of an array of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// The place of its text in the document.
    pub(super) place: Range<usize>,
    /// Elements with the same scope keep the same values.
    pub(super) scope: usize,
}

/// Finds the rows of a document.
///
/// # Errors
/// [`EnvelopeFault`].
pub(super) fn expand(
    envelope: &Envelope,
    document: &str,
    checks: ElementChecks,
    skipped: &mut SkippedKeys,
) -> Result<Expansion, EnvelopeFault> {
    let mut walk = Walk {
        records: &envelope.records,
        steps: envelope.records.steps(),
        keep: &envelope.keep,
        scanner: Scanner::new(document),
        document,
        checks,
        path: String::new(),
        numbers: Vec::new(),
        scope: 0,
        is_kept: false,
        found: Expansion { scopes: vec![0], ..Expansion::default() },
        skipped,
    };
    let kept = walk.fields_of_depth(0);
    walk.value(Some(0), &kept)?;
    walk.scanner.end()?;
    let mut found = walk.found;
    found.kept.sort_by_key(|kept| (kept.scope, kept.field));
    Ok(found)
}

/// A kept field whose path has been followed to an object.
#[derive(Debug, Clone, Copy)]
struct Followed {
    /// Its index.
    field: usize,
    /// The index of its next key.
    key: usize,
}

/// A walk through a document. Its recursion is bounded by the scanner's depth.
struct Walk<'a> {
    records: &'a RecordsPath,
    /// From a document to a row.
    steps: &'a [PathStep],
    keep: &'a [KeptField],
    scanner: Scanner<'a>,
    document: &'a str,
    checks: ElementChecks,
    /// The path of the current value.
    path: String,
    /// Numbers of the current elements of the arrays on the way.
    numbers: Vec<u64>,
    scope: usize,
    /// The current value is part of a kept one.
    is_kept: bool,
    found: Expansion,
    skipped: &'a mut SkippedKeys,
}

impl Walk<'_> {
    /// The kept fields of an element of that many arrays.
    fn fields_of_depth(&self, depth: usize) -> Vec<Followed> {
        let fields = self.keep.iter().enumerate().filter(|(_, field)| field.depth() == depth);
        fields.map(|(field, _)| Followed { field, key: 0 }).collect()
    }

    /// Reads a value. `step`: the next step to the rows, if the value is on the way.
    fn value(&mut self, step: Option<usize>, kept: &[Followed]) -> Result<(), EnvelopeFault> {
        let value = self.scanner.value()?;
        let next = step.and_then(|step| Some((step, self.steps.get(step)?)));
        match (next, value) {
            (None | Some((_, PathStep::Key(_))), Value::Object) if next.is_some() || !kept.is_empty() => {
                self.object(step, kept)
            }
            // An empty array. A document is never null.
            (Some((step, _)), Value::Null) if step > 0 => Ok(()),
            (Some((step, PathStep::Items)), Value::Array) if step + 1 == self.steps.len() => self.rows(),
            (Some((step, PathStep::Items)), Value::Array) => self.elements(step),
            (next, value) => {
                self.scanner.skip_rest(value)?;
                match next {
                    None => Ok(()),
                    Some((step, expected)) => Err(self.wrong_type(step, expected)),
                }
            }
        }
    }

    /// Reads the fields of an object.
    fn object(&mut self, step: Option<usize>, kept: &[Followed]) -> Result<(), EnvelopeFault> {
        let way = step.and_then(|step| self.steps.get(step)).and_then(PathStep::key);
        let mut is_found = false;
        let mut seen: Vec<String> = Vec::new();
        let mut first = true;
        let outer = self.path.len();
        while let Some(key) = self.scanner.next_key(&mut first)? {
            let key = key.decode();
            let is_way = way == Some(&*key);
            let follows = |followed: &&Followed| {
                let next = self.keep.get(followed.field).and_then(|field| field.keys().get(followed.key));
                next.is_some_and(|next| **next == *key)
            };
            let here: Vec<Followed> = kept.iter().filter(follows).map(|f| Followed { key: f.key + 1, ..*f }).collect();
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&key);
            if !is_way && here.is_empty() {
                self.scanner.skip()?;
                if !self.is_kept {
                    self.skipped.add(&self.path);
                }
                self.path.truncate(outer);
                continue;
            }
            if seen.iter().any(|seen| **seen == *key) {
                return Err(self.twice());
            }
            seen.push(key.into_owned());
            is_found |= is_way;
            let is_whole = |f: &&Followed| self.keep.get(f.field).is_some_and(|field| field.keys().len() == f.key);
            let whole: Vec<usize> = here.iter().filter(is_whole).map(|f| f.field).collect();
            let deeper: Vec<Followed> = here.iter().filter(|f| !is_whole(f)).copied().collect();
            let start = self.scanner.offset();
            let outside = self.is_kept;
            self.is_kept |= !whole.is_empty();
            self.value(step.filter(|_| is_way).map(|step| step + 1), &deeper)?;
            self.is_kept = outside;
            let place = start..self.scanner.position();
            let scope = self.scope;
            self.found.kept.extend(whole.iter().map(|field| KeptValue { scope, field: *field, place: place.clone() }));
            self.path.truncate(outer);
        }
        match step {
            Some(step) if !is_found => Err(self.missing(step)),
            _ => Ok(()),
        }
    }

    /// Reads the elements of an array on the way.
    fn elements(&mut self, step: usize) -> Result<(), EnvelopeFault> {
        let outer = (self.path.len(), self.scope);
        self.path.push_str("[]");
        let kept = self.fields_of_depth(self.numbers.len() + 1);
        self.numbers.push(0);
        let mut first = true;
        while self.scanner.next_item(&mut first)? {
            if let Some(number) = self.numbers.last_mut() {
                *number += 1;
            }
            if !self.keep.is_empty() {
                self.scope = self.found.scopes.len();
                self.found.scopes.push(outer.1);
            }
            self.value(Some(step + 1), &kept)?;
        }
        self.numbers.pop();
        self.path.truncate(outer.0);
        self.scope = outer.1;
        Ok(())
    }

    /// Reads the array of rows.
    fn rows(&mut self) -> Result<(), EnvelopeFault> {
        let start = self.scanner.position();
        let next = self.scanner.offset();
        if self.document.as_bytes().get(next) != Some(&b']') {
            self.found.arrays.push(RowArray { start, scope: self.scope });
        }
        if self.checks == ElementChecks::Later {
            return Ok(self.scanner.skip_elements(start)?);
        }
        let mut first = true;
        while self.scanner.next_item(&mut first)? {
            self.scanner.skip_apart()?;
        }
        Ok(())
    }

    /// The elements around the current value: `element 1 of `b` in element 3 of `a``. `step`: the next step from that value.
    /// Also the keys from the innermost element to the value.
    fn surroundings(&self, step: usize) -> (String, String) {
        let mut elements = String::new();
        let mut keys: Vec<&str> = Vec::new();
        let mut numbers = self.numbers.iter();
        for step in self.steps.iter().take(step) {
            match step {
                PathStep::Key(key) => keys.push(key),
                PathStep::Items => {
                    let number = numbers.next().copied().unwrap_or_default();
                    let of = match (keys.is_empty(), elements.is_empty()) {
                        (true, true) => String::new(),
                        (true, false) => format!(" of {elements}"),
                        (false, true) => format!(" of `{}`", keys.join(".")),
                        (false, false) => format!(" of `{}` in {elements}", keys.join(".")),
                    };
                    elements = format!("element {number}{of}");
                    keys.clear();
                }
            }
        }
        (elements, keys.join("."))
    }

    fn no_array(&self, why: &str) -> EnvelopeFault {
        EnvelopeFault::Path(format!("has no array at `{}`{why}; check `records`", self.records))
    }

    fn missing(&self, step: usize) -> EnvelopeFault {
        let (elements, keys) = self.surroundings(step + 1);
        let why = if elements.is_empty() { String::new() } else { format!(": `{keys}` is missing in {elements}") };
        self.no_array(&why)
    }

    fn wrong_type(&self, step: usize, expected: &PathStep) -> EnvelopeFault {
        let expected = match expected {
            PathStep::Key(_) => "an object",
            PathStep::Items => "an array",
        };
        let (elements, keys) = self.surroundings(step);
        let what = match (keys.is_empty(), elements.is_empty()) {
            (true, true) => "it".to_owned(),
            (true, false) => elements,
            (false, true) => format!("`{keys}`"),
            (false, false) => format!("`{keys}` in {elements}"),
        };
        self.no_array(&format!(": {what} is not {expected}"))
    }

    fn twice(&self) -> EnvelopeFault {
        EnvelopeFault::Path(format!(
            "has the key `{}` twice in one object, so one of its values would be lost",
            self.path
        ))
    }
}

impl Expansion {
    /// The next element; `None` after the last. `document` is the text that was expanded.
    ///
    /// # Errors
    /// [`Fault::Syntax`] where the text between the elements is not that of an array, which [`ElementChecks::Now`] excludes.
    pub(super) fn next_element(&mut self, document: &[u8]) -> Result<Option<Element>, Fault> {
        let byte = |from: usize| {
            let rest = document.get(from..).unwrap_or_default();
            let space = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
            (from + space, rest.get(space).copied())
        };
        loop {
            let Some(array) = self.arrays.get(self.array) else { return Ok(None) };
            let is_first = self.next.is_none();
            let (mut at, mut next) = byte(self.next.unwrap_or(array.start));
            if next == Some(b']') {
                self.array += 1;
                self.next = None;
                continue;
            }
            if !is_first {
                if next != Some(b',') {
                    return Err(Fault::Syntax { at, why: "expected `,` or the closing bracket" });
                }
                (at, next) = byte(at + 1);
                if next == Some(b']') {
                    return Err(Fault::Syntax { at, why: "a value must follow a comma" });
                }
            }
            let len = Extent::default().len(document.get(at..).unwrap_or_default());
            let Some(end) = len.map(|len| at + len) else {
                return Err(Fault::Syntax { at, why: "the text ends inside an object or array" });
            };
            self.next = Some(end);
            return Ok(Some(Element { place: at..end, scope: array.scope }));
        }
    }

    /// Appends the fields that the elements of a scope keep: an object without its closing brace. `document` is the text that
    /// was expanded.
    pub(super) fn kept_fields(&self, scope: usize, keep: &[KeptField], document: &[u8], into: &mut String) {
        // From the innermost element outwards; the rows are at the greatest depth.
        let mut around = vec![scope];
        while let Some(outer) = around.last().filter(|scope| **scope > 0).and_then(|scope| self.scopes.get(*scope)) {
            around.push(*outer);
        }
        around.reverse();
        for (i, field) in keep.iter().enumerate() {
            into.push(if i == 0 { '{' } else { ',' });
            into.push_str(field.json_key());
            into.push(':');
            let value = around.get(field.depth()).and_then(|scope| {
                let found = self.kept.binary_search_by_key(&(*scope, i), |kept| (kept.scope, kept.field)).ok()?;
                document.get(self.kept.get(found)?.place.clone())
            });
            match value {
                Some(value) => into.push_str(&String::from_utf8_lossy(value)),
                None => into.push_str("null"),
            }
        }
    }
}

/// Writes an element with the fields that it keeps, as [`Expansion::kept_fields`] gives them, into `row`. `None`: the element
/// is no row, and to be read as it is.
///
/// # Errors
/// [`Fault::Content`] if the element has a field of the same name.
pub(super) fn keep_in_row<'r>(
    keep: &[KeptField],
    kept: &str,
    element: &[u8],
    row: &'r mut String,
) -> Option<Result<&'r str, Fault>> {
    let element = std::str::from_utf8(element).ok()?;
    let others = match own_field(keep, element).ok()? {
        Own::NotAnObject => return None,
        Own::Field(name) => {
            let why = format!("the row has a field `{name}` of its own: choose another name in `source.keep`");
            return Some(Err(Fault::Content(why)));
        }
        Own::Empty => "}",
        Own::Others => element.get(1..)?,
    };
    row.clear();
    row.push_str(kept);
    if others.len() > 1 {
        row.push(',');
    }
    row.push_str(others);
    Some(Ok(row))
}

/// What an element has.
enum Own<'a> {
    /// A kept field.
    Field(&'a str),
    /// Other fields.
    Others,
    Empty,
    NotAnObject,
}

fn own_field<'k>(keep: &'k [KeptField], element: &str) -> Result<Own<'k>, Fault> {
    let mut scanner = Scanner::new(element);
    if scanner.value()? != Value::Object {
        return Ok(Own::NotAnObject);
    }
    let (mut first, mut own) = (true, Own::Empty);
    while let Some(key) = scanner.next_key(&mut first)? {
        let key = key.decode();
        scanner.skip()?;
        if let Some(field) = keep.iter().find(|field| field.name() == key) {
            own = Own::Field(field.name());
        } else if let Own::Empty = own {
            own = Own::Others;
        }
    }
    scanner.end()?;
    Ok(own)
}

#[cfg(test)]
mod tests;
