//! Applies a redaction method to values, at any level of nesting.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, make_view, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::Pass;
use super::json;
use super::key::{Key, PSEUDONYM_BYTES};
use crate::encode::CellTexts;
use crate::job::RedactionMethod;
use crate::logical::is_json;

/// The text that `mask` writes.
pub(super) const MASK: &str = "***";

/// Most bytes of text stored in a view itself.
const INLINE_BYTES: usize = 12;

/// Size of the cache of pseudonyms. Columns that repeat, such as the users of a day, have few values.
const REMEMBERED: usize = 256;

/// A redaction method, with what does not depend on the value.
#[derive(Debug, Clone)]
pub(super) enum Leaf {
    /// A constant text; `json` is its JSON form.
    Text { text: String, json: String },
    /// Null.
    Null,
    /// The field is removed.
    Drop,
    /// A pseudonym under the key of this redaction.
    Hmac(usize),
}

impl Leaf {
    /// Of the redaction with this index.
    pub(super) fn new(index: usize, method: &RedactionMethod) -> Self {
        let constant =
            |text: &str| Self::Text { text: text.to_owned(), json: serde_json::Value::from(text).to_string() };
        match method {
            RedactionMethod::Mask => constant(MASK),
            RedactionMethod::Replace(text) => constant(text),
            RedactionMethod::Nullify => Self::Null,
            RedactionMethod::Drop => Self::Drop,
            RedactionMethod::HmacSha256(_) => Self::Hmac(index),
        }
    }

    /// The redacted field; `None` if it is removed. Text is nullable if the values were, or if they were JSON, which may be
    /// `null`.
    pub(super) fn field(&self, field: &Field) -> Option<Field> {
        match self {
            Self::Drop => None,
            Self::Null => Some(field.clone().with_nullable(true)),
            Self::Text { .. } | Self::Hmac(_) => {
                Some(Field::new(field.name(), DataType::Utf8View, field.is_nullable() || is_json(field)))
            }
        }
    }

    /// Redacts the values for which `parent` is valid, and counts those that are not null.
    pub(super) fn redact(
        &self,
        counter: usize,
        field: &Field,
        array: &ArrayRef,
        parent: Option<&NullBuffer>,
        pass: &mut Pass<'_>,
    ) -> Result<ArrayRef, ArrowError> {
        let mut nulls = NullBuffer::union(parent, array.logical_nulls().as_ref());
        if is_json(field) {
            nulls = NullBuffer::union(nulls.as_ref(), Some(&json_nulls(field, array, pass)?));
        }
        let present = array.len() - nulls.as_ref().map_or(0, NullBuffer::null_count);
        if let Some(count) = pass.counts.get_mut(counter) {
            *count += present as u64;
        }
        Ok(match self {
            Self::Null | Self::Drop => new_null_array(array.data_type(), array.len()),
            Self::Text { text, .. } => constant(text, array.len(), nulls)?,
            Self::Hmac(index) => {
                let key = pass.keys.get(*index).ok_or_else(no_key)?;
                pseudonyms(key, field, array, nulls, &mut pass.text)?
            }
        })
    }
}

/// Only a bug can cause it: keys are read before rows are.
pub(super) fn no_key() -> ArrowError {
    ArrowError::InvalidArgumentError("redaction needs a key, and none was read".to_owned())
}

fn texts<'a>(field: &Field, array: &'a ArrayRef) -> Result<CellTexts<'a>, ArrowError> {
    CellTexts::new(field, array.as_ref())
        .ok_or_else(|| ArrowError::NotYetImplemented(format!("{} has no text", array.data_type())))
}

/// The rows whose JSON text is not `null`.
fn json_nulls(field: &Field, array: &ArrayRef, pass: &mut Pass<'_>) -> Result<NullBuffer, ArrowError> {
    let mut texts = texts(field, array)?;
    let is_value = |row| {
        pass.text.clear();
        if array.is_valid(row) {
            texts.append(row, &mut pass.text);
        }
        pass.text.trim_ascii() != b"null"
    };
    Ok(NullBuffer::new(BooleanBuffer::collect_bool(array.len(), is_value)))
}

/// The same text in every row that is not null.
fn constant(text: &str, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let views = vec![make_view(text.as_bytes(), 0, 0); rows];
    let buffers = if text.len() > INLINE_BYTES { vec![Buffer::from(text.as_bytes())] } else { Vec::new() };
    Ok(Arc::new(StringViewArray::try_new(views.into(), buffers, nulls)?))
}

/// The pseudonym of every row that is not null.
fn pseudonyms(
    key: &Key,
    field: &Field,
    array: &ArrayRef,
    nulls: Option<NullBuffer>,
    text: &mut Vec<u8>,
) -> Result<ArrayRef, ArrowError> {
    let mut texts = texts(field, array)?;
    let is_json = is_json(field);
    let (mut views, mut hex) = (Vec::with_capacity(array.len()), Vec::new());
    let mut seen = Seen::default();
    for row in 0..array.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            views.push(0);
            continue;
        }
        text.clear();
        texts.append(row, text);
        let plain = if is_json { json::canonical(text) } else { text.as_slice().into() };
        let slot = seen.slot(&plain);
        views.push(match seen.view(slot, &plain) {
            Some(view) => view,
            None => {
                let offset = u32::try_from(hex.len()).map_err(|_| ArrowError::OffsetOverflowError(hex.len()))?;
                let pseudonym = key.pseudonym(&plain);
                hex.extend_from_slice(&pseudonym);
                let view = make_view(&pseudonym, 0, offset);
                seen.remember(slot, &plain, view);
                view
            }
        });
    }
    debug_assert!(hex.len().is_multiple_of(PSEUDONYM_BYTES));
    Ok(Arc::new(StringViewArray::try_new(views.into(), vec![hex.into()], nulls)?))
}

/// A direct-mapped cache of the pseudonyms of recent texts.
struct Seen {
    texts: Vec<u8>,
    slots: Vec<Option<(Range<usize>, u128)>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { texts: Vec::new(), slots: vec![None; REMEMBERED] }
    }
}

impl Seen {
    #[expect(clippy::cast_possible_truncation, reason = "any part of a hash finds a slot")]
    fn slot(&self, text: &[u8]) -> usize {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(text) as usize % REMEMBERED
    }

    fn view(&self, slot: usize, text: &[u8]) -> Option<u128> {
        let (known, view) = self.slots.get(slot)?.as_ref()?;
        (self.texts.get(known.clone()) == Some(text)).then_some(*view)
    }

    fn remember(&mut self, slot: usize, text: &[u8], view: u128) {
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Some((start..self.texts.len(), view));
        }
    }
}
