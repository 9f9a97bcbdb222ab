//! Evaluates `+ - * / %` and unary minus over numeric columns with Arrow's checked kernels, before polars compares.
//!
//! polars wraps integers silently and takes the sign of `%` from the divisor, so it does not do the arithmetic. Integers
//! and decimals are computed exactly as `Decimal128`; overflow beyond 38 digits is an error. `/`, and any operation with a
//! float, is computed in binary64. `%` takes the sign of the dividend, as in SQL. Division by zero is null, as in DuckDB,
//! SQLite and MySQL.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Decimal128Array, Float64Array, Scalar};
use arrow::compute::kernels::numeric;
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::frame::{cast, plain};
use super::literal::{Literal, Number};

/// Numeric operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// +
    Add,
    /// -
    Subtract,
    /// *
    Multiply,
    /// /
    Divide,
    /// %
    Remainder,
}

/// A numeric expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arithmetic {
    /// A numeric source column, and whether it is a float.
    Column(String, bool),
    /// A constant.
    Literal(Number),
    /// Unary minus.
    Negate(Box<Arithmetic>),
    /// Two operands.
    Binary(Operator, Box<Arithmetic>, Box<Arithmetic>),
}

/// Values of one type, or one value for all rows.
struct Values {
    array: ArrayRef,
    scalar: bool,
}

impl Datum for Values {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

impl Arithmetic {
    /// Whether the result is binary64. All other results are exact.
    pub(super) fn is_float(&self) -> bool {
        match self {
            Self::Column(_, float) => *float,
            Self::Literal(number) => number.to_decimal().is_none(),
            Self::Negate(inner) => inner.is_float(),
            Self::Binary(Operator::Divide, ..) => true,
            Self::Binary(_, left, right) => left.is_float() || right.is_float(),
        }
    }

    /// Adds the source columns, possibly with duplicates.
    pub(super) fn columns<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Column(name, _) => into.push(name),
            Self::Literal(_) => {}
            Self::Negate(inner) => inner.columns(into),
            Self::Binary(_, left, right) => {
                left.columns(into);
                right.columns(into);
            }
        }
    }

    /// The values for the rows of a batch, as `Float64` or as `Decimal128` of a scale from 0 to 38. An expression without
    /// columns has one value.
    ///
    /// # Errors
    /// Overflow of 38 digits.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        Ok(self.values(rows, self.is_float())?.array)
    }

    /// The value of an expression without columns.
    ///
    /// # Errors
    /// Overflow of 38 digits or of binary64.
    pub(super) fn constant(&self) -> Result<Literal, ArrowError> {
        let none = RecordBatch::new_empty(std::sync::Arc::new(arrow::datatypes::Schema::empty()));
        let array = self.evaluate(&none)?;
        if array.is_null(0) {
            return Ok(Literal::Null);
        }
        let text = match array.data_type() {
            DataType::Float64 => format!("{:e}", array.as_primitive::<Float64Type>().value(0)),
            DataType::Decimal128(_, scale) => format!("{}e{}", array.as_primitive::<Decimal128Type>().value(0), -scale),
            other => other.to_string(),
        };
        Number::parse(&text).map(Literal::Number).ok_or_else(|| overflow(&text))
    }

    fn values(&self, rows: &RecordBatch, float: bool) -> Result<Values, ArrowError> {
        let (array, scalar) = match self {
            Self::Column(name, _) => {
                let column = rows.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(name.clone()))?;
                (if float { cast(&plain(column)?, &DataType::Float64)? } else { exact(&plain(column)?)? }, false)
            }
            Self::Literal(number) => (literal(number, float)?, true),
            Self::Negate(inner) => {
                let inner = inner.values(rows, float)?;
                (numeric::neg(&inner.array)?, inner.scalar)
            }
            Self::Binary(op, left, right) => {
                let inner_float = self.is_float();
                let (left, right) = (left.values(rows, inner_float)?, right.values(rows, inner_float)?);
                let scalar = left.scalar && right.scalar;
                let result = match op {
                    Operator::Add => numeric::add(&left, &right)?,
                    Operator::Subtract => numeric::sub(&left, &right)?,
                    Operator::Multiply => numeric::mul(&left, &right)?,
                    Operator::Divide => numeric::div(&left, &without_zeros(right)?)?,
                    Operator::Remainder => numeric::rem(&left, &without_zeros(right)?)?,
                };
                (if float { cast(&result, &DataType::Float64)? } else { result }, scalar)
            }
        };
        if let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() {
            decimals.validate_decimal_precision(38).map_err(|_| overflow("a result"))?;
        }
        Ok(Values { array, scalar })
    }
}

fn overflow(what: &str) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("{what} has more than 38 digits or is not finite"))
}

/// Casts integers and decimals to `Decimal128` with a scale of at least 0.
fn exact(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let target = match array.data_type() {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) if *s >= 0 => {
            DataType::Decimal128(*p, *s)
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => DataType::Decimal128(38, 0),
        _ => DataType::Decimal128(20, 0),
    };
    cast(array, &target)
}

fn literal(number: &Number, float: bool) -> Result<ArrayRef, ArrowError> {
    if float {
        let value = number.to_float(false).ok_or_else(|| overflow(&number.text))?;
        return Ok(std::sync::Arc::new(Float64Array::from(vec![value])));
    }
    let (mantissa, scale) = number.to_decimal().ok_or_else(|| overflow(&number.text))?;
    #[expect(clippy::cast_possible_truncation, reason = "an i128 has at most 39 digits")]
    let digits = mantissa.unsigned_abs().checked_ilog10().unwrap_or(0) as u8 + 1;
    let precision = digits.max(scale.unsigned_abs()).max(1);
    Ok(std::sync::Arc::new(Decimal128Array::from(vec![mantissa]).with_precision_and_scale(precision, scale)?))
}

fn without_zeros(divisor: Values) -> Result<Values, ArrowError> {
    let zeros = match divisor.array.as_primitive_opt::<Float64Type>() {
        Some(floats) => BooleanArray::from_unary(floats, |v| v == 0.0),
        None => BooleanArray::from_unary(divisor.array.as_primitive::<Decimal128Type>(), |v| v == 0),
    };
    Ok(Values { array: nullif(&divisor.array, &zeros)?, scalar: divisor.scalar })
}

/// One value for all rows, for kernels that take a [`Datum`].
pub(super) fn scalar(mantissa: i128) -> Result<Scalar<Decimal128Array>, ArrowError> {
    Ok(Scalar::new(Decimal128Array::from(vec![mantissa]).with_precision_and_scale(38, 0)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn number(text: &str) -> Box<Arithmetic> {
        Box::new(Arithmetic::Literal(Number::parse(text).unwrap()))
    }

    fn column() -> Box<Arithmetic> {
        Box::new(Arithmetic::Column("n".into(), false))
    }

    fn shown(expression: &Arithmetic, values: Vec<Option<i64>>) -> Result<Vec<String>, String> {
        let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap();
        let array = expression.evaluate(&rows).map_err(|e| e.to_string())?;
        Ok((0..array.len()).map(|i| array_value_to_string(&array, i).unwrap()).collect())
    }

    #[test]
    fn integers_widen_instead_of_wrapping() {
        let square = Arithmetic::Binary(Operator::Multiply, column(), column());
        let max = i64::MAX;
        let expected = (i128::from(max) * i128::from(max)).to_string();
        assert_eq!(shown(&square, vec![Some(max), None]).unwrap(), [expected, String::new()]);
        let cube = Arithmetic::Binary(Operator::Multiply, Box::new(square), column());
        assert!(shown(&cube, vec![Some(max)]).unwrap_err().contains("verflow"));
        assert_eq!(shown(&cube, vec![Some(-3)]).unwrap(), ["-27"]);
    }

    #[test]
    fn division_is_of_floats_remainder_has_the_sign_of_the_dividend_and_zero_gives_null() {
        let half = Arithmetic::Binary(Operator::Divide, column(), number("2"));
        assert_eq!(shown(&half, vec![Some(3)]).unwrap(), ["1.5"]);
        let rest = Arithmetic::Binary(Operator::Remainder, column(), number("3"));
        assert_eq!(shown(&rest, vec![Some(-7), Some(7)]).unwrap(), ["-1", "1"]);
        for op in [Operator::Divide, Operator::Remainder] {
            let by_column = Arithmetic::Binary(op, number("1"), column());
            assert_eq!(shown(&by_column, vec![Some(0)]).unwrap(), [""]);
        }
    }

    #[test]
    fn constants_fold_exactly() {
        let sum = Arithmetic::Binary(Operator::Add, number("0.1"), number("0.2"));
        let Literal::Number(n) = sum.constant().unwrap() else { panic!() };
        assert!(n.compare(&Number::parse("0.3").unwrap()).is_eq());
        let none = Arithmetic::Binary(Operator::Remainder, number("1"), number("0"));
        assert_eq!(none.constant().unwrap(), Literal::Null);
        let huge = Arithmetic::Binary(Operator::Multiply, number("1e300"), number("1e300"));
        assert!(huge.constant().is_err());
    }
}
