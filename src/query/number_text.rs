//! Comparisons of numbers stored as text.
//!
//! polars has no such type, and converting the numbers to floats would lose digits. So comparisons are made here, exactly,
//! and polars sees only the outcome: -1, 0 or 1 for less, equal or greater, or whether a value is in a list. A float on the
//! other side means the number that shards show. NaN is greater than every number and equals itself, as in all conditions.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::arithmetic::Arithmetic;
use super::frame::cast;
use super::literal::Number;
use crate::encode::CellTexts;
use crate::number::NumberText;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Side {
    /// A numeric source column.
    Column(String),
    /// A number computed from source columns.
    Computed(Arithmetic),
}

/// A comparison. Its outcome is null if a side is null.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Comparison {
    /// The order of a column and a constant.
    Constant(String, Number),
    /// The order of two values.
    Sides(Side, Side),
    /// Whether a column's value is one of some constants, which must be sorted.
    Member(String, Vec<Number>),
}

/// A parsed value, ordered as in conditions.
enum Value<'t> {
    NegativeInfinity,
    Number(NumberText<'t>),
    Infinity,
    NaN,
}

impl<'t> Value<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        Some(match text {
            "NaN" => Self::NaN,
            "inf" => Self::Infinity,
            "-inf" => Self::NegativeInfinity,
            text => Self::Number(NumberText::parse(text)?),
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Self::NegativeInfinity => 0,
            Self::Number(_) => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        };
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.compare(b),
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }
}

impl Side {
    fn columns<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Column(name) => into.push(name),
            Self::Computed(arithmetic) => arithmetic.columns(into),
        }
    }

    fn texts(&self, rows: &RecordBatch) -> Result<Vec<Option<String>>, ArrowError> {
        match self {
            Self::Column(name) => texts(column(rows, name)?),
            Self::Computed(arithmetic) => texts(&arithmetic.evaluate(rows)?),
        }
    }
}

impl Comparison {
    /// Adds the source columns, possibly with duplicates.
    pub(super) fn columns<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Constant(name, _) | Self::Member(name, _) => into.push(name),
            Self::Sides(left, right) => {
                left.columns(into);
                right.columns(into);
            }
        }
    }

    /// The outcome for the rows of a batch.
    ///
    /// # Errors
    /// [`ArrowError`] where arithmetic overflows or a text is not a number, which readers rule out.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Constant(name, constant) => {
                let constant = constant.canonical();
                let constant = number(&constant)?;
                let order = |text: Option<&str>| {
                    text.map(|text| Ok(value(text)?.compare(&Value::Number(constant)) as i32)).transpose()
                };
                let texts = cast(column(rows, name)?, &DataType::Utf8View)?;
                Arc::new(texts.as_string_view().iter().map(order).collect::<Result<Int32Array, ArrowError>>()?)
            }
            Self::Member(name, constants) => {
                let constants: Vec<String> = constants.iter().map(Number::canonical).collect();
                let constants = constants.iter().map(|text| number(text)).collect::<Result<Vec<_>, _>>()?;
                let is_member = |text: Option<&str>| {
                    let found = |text: &str| match value(text)? {
                        Value::Number(own) => Ok(constants.binary_search_by(|known| known.compare(&own)).is_ok()),
                        _ => Ok(false),
                    };
                    text.map(found).transpose()
                };
                let texts = cast(column(rows, name)?, &DataType::Utf8View)?;
                Arc::new(texts.as_string_view().iter().map(is_member).collect::<Result<BooleanArray, ArrowError>>()?)
            }
            Self::Sides(left, right) => {
                let (left, right) = (left.texts(rows)?, right.texts(rows)?);
                let order = |(left, right): (&Option<String>, &Option<String>)| match (left, right) {
                    (Some(left), Some(right)) => Ok(Some(value(left)?.compare(&value(right)?) as i32)),
                    _ => Ok(None),
                };
                Arc::new(left.iter().zip(&right).map(order).collect::<Result<Int32Array, ArrowError>>()?)
            }
        })
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    rows.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column `{name}`")))
}

/// The text of each value as in shards.
fn texts(array: &ArrayRef) -> Result<Vec<Option<String>>, ArrowError> {
    let field = Field::new("", array.data_type().clone(), true);
    let mut cells = CellTexts::new(&field, array.as_ref())
        .ok_or_else(|| ArrowError::NotYetImplemented(format!("{} has no text", array.data_type())))?;
    let nulls = array.logical_nulls();
    let mut bytes = Vec::new();
    let mut text = |row: usize| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        bytes.clear();
        cells.append(row, &mut bytes);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok((0..array.len()).map(&mut text).collect())
}

fn value(text: &str) -> Result<Value<'_>, ArrowError> {
    // Messages may reach places that must not see redacted data, so the value is not shown.
    Value::parse(text).ok_or_else(|| ArrowError::ParseError("a value is not a number".to_owned()))
}

fn number(text: &str) -> Result<NumberText<'_>, ArrowError> {
    NumberText::parse(text).ok_or_else(|| ArrowError::ParseError(format!("`{text}` is not a number")))
}
