//! The evidence about one node of the data: a column, a field of a nested object, or the items of a list.
//!
//! Evidence only grows, and merging is associative, so files are inspected concurrently and their evidence is merged in
//! the order of their names. Evidence is bounded: an object used as a map (ids as keys) keeps no more than [`MAX_FIELDS`]
//! fields. Such a column is refused unless it is declared as JSON, because whether it becomes a struct or text must not
//! depend on how many ids a month happens to have.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::exact;
use crate::logical::{is_json, uuid};
use crate::number::NumberText;
use crate::source::formats::rows::json_text::is_plain;

/// How a columnar file marks its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Mark {
    /// Not marked.
    None,
    /// It holds JSON.
    Json,
    /// It holds dashed UUIDs.
    Uuid,
}

impl Mark {
    pub(super) fn of(field: &Field) -> Self {
        match field {
            field if is_json(field) => Self::Json,
            field if uuid::is_uuid(field) => Self::Uuid,
            _ => Self::None,
        }
    }
}

/// Fields kept per nested object. An object with more is a map, and one column per key would be of no use.
pub(super) const MAX_FIELDS: usize = 1024;

/// Different keys that objects may have regardless of how sparse they are. Every output row holds every key, null or not,
/// so this bounds how much a row can grow. Hand-designed records have fewer optional fields.
const MAX_OPTIONAL_FIELDS: usize = 64;

/// [`MAX_OPTIONAL_FIELDS`] for the columns of a table. It is higher because `columns` can select some of them.
const MAX_OPTIONAL_COLUMNS: usize = 1024;

/// Beyond those limits, an object must have at least one in this many of all keys on average, so the output stays within
/// this multiple of the input.
const MAX_GROWTH: u64 = 4;

/// Nesting level beyond which values become JSON text.
const MAX_LEVELS: usize = 32;

/// Largest integer up to which every integer is exact in a binary64.
const MAX_SAFE_INTEGER: u64 = 1 << 53;

/// Any number of at most this many characters is accepted by [`NumberText`]: `1e` and nine digits.
const SHORT_NUMBER: usize = 11;

/// Kinds of values, as bits.
pub(super) mod kind {
    pub(in crate::source::formats::rows::infer) const BOOL: u8 = 1;
    pub(in crate::source::formats::rows::infer) const INTEGER: u8 = 2;
    pub(in crate::source::formats::rows::infer) const FRACTION: u8 = 4;
    pub(in crate::source::formats::rows::infer) const TEXT: u8 = 8;
    pub(in crate::source::formats::rows::infer) const OBJECT: u8 = 16;
    pub(in crate::source::formats::rows::infer) const LIST: u8 = 32;
}

/// The evidence about one node.
#[derive(Debug, Clone, Default)]
pub(in crate::source) struct Node {
    /// Kinds of the values that are not null.
    pub(super) kinds: u8,
    /// An integer below zero.
    pub(super) negative: bool,
    /// An integer above `i64::MAX`, still a u64.
    pub(super) above_i64: bool,
    /// An integer that is neither i64 nor u64.
    pub(super) beyond: bool,
    /// An integer that a binary64 may not hold.
    pub(super) unsafe_integer: bool,
    /// A number whose decimal value does not survive a round trip through binary64.
    pub(super) inexact: bool,
    /// A cell that is a number in a notation no binary type is printed in: `1.50`, `1e5`, `-0`.
    pub(super) other_notation: bool,
    /// A JSON number whose exponent is too long for a column of numbers.
    pub(super) huge_exponent: bool,
    /// Fractions keep their digits as written even if a binary64 holds them. Set for the time column, whose `format` reads
    /// digits.
    pub(super) keep_digits: bool,
    /// Some values are CSV cells, where `1` may be text or a number.
    pub(super) cells: bool,
    /// Too wide or too deep to become columns.
    pub(super) collapsed: bool,
    /// It has had more than [`MAX_FIELDS`] fields.
    pub(super) wide: bool,
    /// Non-empty JSON objects, and the total number of their keys.
    objects: u64,
    keys: u64,
    /// Number of the last object counted in `objects`.
    counted: u64,
    /// Some objects or lists are typed columns of a columnar file, which cannot become JSON text.
    pub(super) columnar: bool,
    /// Types in columnar files and how their text is marked, in order of appearance.
    pub(super) typed: Vec<(DataType, Mark)>,
    /// Fields of the objects.
    pub(super) fields: Fields,
    /// Items of the lists.
    pub(super) items: Option<Box<Node>>,
    /// The files that have it.
    pub(super) files: FilesSeen,
    /// Objects walked so far, and the number of the last object that had this field. Detects a duplicate key in one
    /// object.
    walked: u64,
    met: u64,
    /// Fields known before the last object.
    width_before: usize,
}

/// The files that have a node, and its type in them.
#[derive(Debug, Clone, Default)]
pub(super) struct FilesSeen {
    /// Files that have it.
    pub(super) count: u64,
    /// The first of them.
    pub(super) first: Option<Arc<str>>,
    /// The first file that has the surrounding object but lacks the node.
    pub(super) missing_from: Option<Arc<str>>,
    /// Files in which it is an object, and the first of them.
    pub(super) objects: u64,
    pub(super) first_object: Option<Arc<str>>,
    /// Each type that a file's own evidence gave, except null, with the first such file and the number of files.
    pub(super) types: Vec<(String, Arc<str>, u64)>,
}

impl FilesSeen {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
        self.missing_from = self.missing_from.take().or(other.missing_from);
        self.objects += other.objects;
        self.first_object = self.first_object.take().or(other.first_object);
        for (name, file, count) in other.types {
            match self.types.iter_mut().find(|t| t.0 == name) {
                Some(known) => known.2 += count,
                None => self.types.push((name, file, count)),
            }
        }
    }
}

/// Fields by name, in order of first appearance.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) list: Vec<(Arc<str>, Node)>,
    index: HashMap<Arc<str>, usize>,
    /// For each field, whether its name needs no escapes in JSON.
    plain: Vec<bool>,
}

impl Fields {
    /// The index of a field, which is added if it is new. `hint` is its index in the previous object.
    #[inline]
    pub(super) fn place(&mut self, name: &str, hint: usize) -> usize {
        if self.list.get(hint).is_some_and(|(n, _)| **n == *name) {
            return hint;
        }
        if let Some(i) = self.index.get(name) {
            return *i;
        }
        let name: Arc<str> = name.into();
        self.index.insert(name.clone(), self.list.len());
        self.plain.push(is_plain(&name));
        self.list.push((name, Node::default()));
        self.list.len() - 1
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Node {
    /// Records a boolean.
    pub(in crate::source) fn boolean(&mut self) {
        self.kinds |= kind::BOOL;
    }

    /// Records a string.
    pub(in crate::source) fn text(&mut self) {
        self.kinds |= kind::TEXT;
    }

    /// Records a JSON number. `integer` is the scanner's verdict.
    #[inline]
    pub(in crate::source) fn number(&mut self, text: &str, integer: bool) {
        if integer {
            self.integer(text);
        } else {
            self.kinds |= kind::FRACTION;
            if !self.inexact && !exact::is_exact(text) {
                self.inexact = true;
            }
            // A short text has no room for a huge exponent.
            if text.len() > SHORT_NUMBER && text.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
                self.huge_exponent |= NumberText::parse(text).is_none();
            }
        }
    }

    /// Records an integer in canonical notation.
    fn integer(&mut self, text: &str) {
        self.kinds |= kind::INTEGER;
        if let Ok(v) = text.parse::<i64>() {
            self.negative |= v < 0;
            self.unsafe_integer |= v.unsigned_abs() > MAX_SAFE_INTEGER;
        } else {
            self.unsafe_integer = true;
            if text.parse::<u64>().is_ok() { self.above_i64 = true } else { self.beyond = true }
        }
    }

    /// Marks the node as the time column.
    pub(in crate::source) fn keep_digits(&mut self) {
        self.keep_digits = true;
    }

    /// Marks the field that a path of keys leads to as the time column.
    pub(in crate::source) fn keep_digits_at<'k>(&mut self, keys: impl Iterator<Item = &'k str>) {
        let mut node = self;
        for key in keys {
            let Some((_, field)) = node.fields.list.iter_mut().find(|(name, _)| **name == *key) else { return };
            node = field;
        }
        node.keep_digits();
    }

    /// Whether another cell could change the evidence. Once a CSV column is text, it stays text.
    #[inline]
    pub(in crate::source) fn wants_cells(&self) -> bool {
        !self.cells || self.kinds & kind::TEXT == 0
    }

    /// Records a CSV cell that is not null. It counts as a number only if writing that number gives the same text.
    #[inline]
    pub(in crate::source) fn cell(&mut self, text: &str) {
        if !self.wants_cells() {
            return;
        }
        self.cells = true;
        match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') if exact::is_canonical_integer(text) => self.integer(text),
            // After another notation, it no longer matters which numbers are canonical.
            Some(b'-' | b'0'..=b'9') if !self.other_notation && exact::is_canonical_float(text) => {
                self.kinds |= kind::FRACTION;
            }
            Some(b'-' | b'0'..=b'9') if NumberText::parse(text).is_some() => {
                self.kinds |= kind::FRACTION;
                self.other_notation = true;
            }
            Some(b't' | b'f') if matches!(text, "true" | "false") => self.kinds |= kind::BOOL,
            _ => self.kinds |= kind::TEXT,
        }
    }

    /// Records an object at a nesting level. Returns `false` if its fields are not needed, so the caller skips it.
    #[inline]
    pub(in crate::source) fn object(&mut self, level: usize) -> bool {
        self.kinds |= kind::OBJECT;
        self.walked += 1;
        self.width_before = self.width();
        self.keeps_inner(level)
    }

    /// Records a list and returns the node for its items, or `None` if the caller should skip it.
    pub(in crate::source) fn list(&mut self, level: usize) -> Option<&mut Node> {
        self.kinds |= kind::LIST;
        self.keeps_inner(level).then(|| &mut **self.items.get_or_insert_default())
    }

    /// Whether nested values still matter: a node that becomes JSON text needs none.
    fn keeps_inner(&mut self, level: usize) -> bool {
        self.wide |= level > 0 && self.width() > MAX_FIELDS;
        if level > 0 && (level >= MAX_LEVELS || self.wide || self.is_mixed()) {
            self.collapse();
        }
        !self.collapsed
    }

    fn collapse(&mut self) {
        self.collapsed = true;
        self.fields.clear();
        self.items = None;
    }

    /// Whether nested and other values are mixed, which no Arrow type holds.
    fn is_mixed(&self) -> bool {
        let nested = self.kinds & (kind::OBJECT | kind::LIST);
        nested != 0 && self.kinds.count_ones() > 1
    }

    /// The name of a field, if it needs no escapes in JSON.
    #[inline]
    pub(in crate::source) fn plain_name(&self, place: usize) -> Option<&str> {
        let (name, _) = self.fields.list.get(place)?;
        self.fields.plain.get(place)?.then_some(name)
    }

    /// See [`Fields::place`].
    pub(in crate::source) fn place(&mut self, name: &str, hint: usize) -> usize {
        self.fields.place(name, hint)
    }

    /// Records a key of the current object. Returns `false` if the object already has it.
    #[inline]
    pub(in crate::source) fn record_key(&mut self, place: usize) -> bool {
        let walked = self.walked;
        self.keys += 1;
        if std::mem::replace(&mut self.counted, walked) != walked {
            self.objects += 1;
        }
        self.fields.list.get_mut(place).is_some_and(|(_, node)| std::mem::replace(&mut node.met, walked) != walked)
    }

    /// A field and its name.
    #[inline]
    pub(in crate::source) fn named_field(&mut self, place: usize) -> Option<(&str, &mut Node)> {
        self.fields.list.get_mut(place).map(|(name, node)| (&**name, node))
    }

    /// The fields in their order.
    pub(in crate::source) fn columns(&mut self) -> impl Iterator<Item = &mut Node> {
        self.fields.list.iter_mut().map(|(_, node)| node)
    }

    /// Number of known fields.
    pub(in crate::source) fn width(&self) -> usize {
        self.fields.list.len()
    }

    /// If the keys of a nested object look like data, how many there are.
    pub(super) fn keys_are_data(&self) -> Option<String> {
        if self.kinds != kind::OBJECT || self.columnar {
            return None;
        }
        if self.wide || self.width() > MAX_FIELDS {
            return Some(format!("more than {MAX_FIELDS} different keys"));
        }
        self.is_sparse(MAX_OPTIONAL_FIELDS).then(|| self.sparse_keys())
    }

    /// [`Self::keys_are_data`] for the columns of a table.
    pub(super) fn columns_are_data(&self) -> Option<String> {
        (!self.columnar && self.is_sparse(MAX_OPTIONAL_COLUMNS)).then(|| self.sparse_keys())
    }

    fn is_sparse(&self, width: usize) -> bool {
        let possible = self.objects.saturating_mul(self.width() as u64);
        self.width() > width && self.keys > 0 && self.keys.saturating_mul(MAX_GROWTH) < possible
    }

    fn sparse_keys(&self) -> String {
        let average = self.keys.div_ceil(self.objects.max(1));
        format!("{} different keys, of which one object has {average} on average", self.width())
    }

    /// Adds the evidence about single values.
    fn add_values(&mut self, other: &Self) {
        self.kinds |= other.kinds;
        self.negative |= other.negative;
        self.above_i64 |= other.above_i64;
        self.beyond |= other.beyond;
        self.unsafe_integer |= other.unsafe_integer;
        self.inexact |= other.inexact;
        self.other_notation |= other.other_notation;
        self.huge_exponent |= other.huge_exponent;
        self.keep_digits |= other.keep_digits;
        self.cells |= other.cells;
        self.columnar |= other.columnar;
        self.wide |= other.wide;
        self.objects += other.objects;
        self.keys += other.keys;
    }

    /// Adds the evidence of the next rows of the same file, with the same result as one pass over all rows. That includes
    /// which objects collapse, which depends on the fields known when an object is reached.
    pub(in crate::source) fn append(&mut self, mut other: Self, level: usize) {
        if !self.wants_cells() {
            return;
        }
        let met_objects = other.kinds & kind::OBJECT != 0;
        self.add_values(&other);
        self.collapsed |= other.collapsed || (level > 0 && self.is_mixed());
        if met_objects {
            self.width_before = self.width();
        }
        for (i, (name, node)) in std::mem::take(&mut other.fields.list).into_iter().enumerate() {
            let place = self.fields.place(&name, i);
            if let Some((_, own)) = self.fields.list.get_mut(place) {
                own.append(node, level + 1);
                // Object numbers are only meaningful within one pass.
                own.met = 0;
            }
            if i < other.width_before {
                self.width_before = self.width();
            }
        }
        (self.walked, self.counted) = (0, 0);
        self.wide |= level > 0 && met_objects && self.width_before > MAX_FIELDS;
        self.collapsed |= self.wide;
        if let Some(items) = other.items {
            self.items.get_or_insert_default().append(*items, level + 1);
        }
        if self.collapsed {
            self.collapse();
        }
    }

    /// Adds the evidence of other files.
    pub(super) fn merge(&mut self, mut other: Self, level: usize) {
        self.add_values(&other);
        for typed in other.typed {
            if !self.typed.contains(&typed) {
                self.typed.push(typed);
            }
        }
        for (_, node) in &mut self.fields.list {
            node.met = 0;
        }
        for (name, mut node) in std::mem::take(&mut other.fields.list) {
            let known = self.fields.list.len();
            let place = self.fields.place(&name, known);
            let Some((_, own)) = self.fields.list.get_mut(place) else { continue };
            node.met = 1;
            if place == known {
                let missing = self.files.first_object.clone();
                node.files.missing_from = missing.or(node.files.missing_from);
                *own = node;
            } else {
                own.merge(node, level + 1);
                own.met = 1;
            }
        }
        for (_, node) in &mut self.fields.list {
            if node.met == 0 && node.files.missing_from.is_none() {
                node.files.missing_from = other.files.first_object.clone();
            }
            node.met = 0;
        }
        (self.walked, self.counted) = (0, 0);
        match (&mut self.items, other.items) {
            (Some(own), Some(items)) => own.merge(*items, level + 1),
            (own @ None, items) => *own = items,
            (Some(_), None) => {}
        }
        self.files.merge(other.files);
        self.wide |= level > 0 && self.width() > MAX_FIELDS;
        if self.collapsed || other.collapsed || self.wide || (level > 0 && self.is_mixed()) {
            self.collapse();
        }
    }
}
