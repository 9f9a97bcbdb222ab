//! Lowers a typed condition to a polars expression.
//!
//! Every literal already has the type of its column, so polars coerces nothing. Its logic is Kleene's. Its order of floats
//! puts NaN last and equal to itself, as in PostgreSQL and DuckDB.

use polars::prelude::{DataType, Expr, Literal as _, NamedFrom, PlSmallStr, Scalar, Series, col, lit};

use super::expr::{Inputs, Node, Op, TextTest, Value};
use super::kind::Storage;

/// Name of an input. Source names are not used, because polars interprets some of them as patterns.
pub(super) fn input_name(index: usize) -> PlSmallStr {
    PlSmallStr::from_string(format!("input{index}"))
}

/// Up to this many values are compared one by one, with vectorized kernels; `is_in` hashes every row.
const FEW: usize = 8;

/// Lowers a condition.
pub(super) fn lower(node: &Node, inputs: &Inputs) -> Expr {
    let input = |index: &usize| col(input_name(*index));
    let storage = |index: &usize| inputs.0.get(*index).map_or(Storage::Validity, |i| i.storage);
    match node {
        Node::Constant(value) => boolean(*value),
        Node::Known(index, true) => input(index).is_not_null().or(boolean(None)),
        Node::Known(index, false) => input(index).is_null().and(boolean(None)),
        Node::Bool(index) => input(index),
        Node::IsNull(index) => input(index).is_null(),
        Node::Compare(index, op, value) => compare(input(index), *op, literal(value, storage(index))),
        Node::Inputs(left, op, right) => compare(input(left), *op, input(right)),
        Node::OneOf(index, values) if values.len() <= FEW => {
            let is = |value: &Value| Node::Compare(*index, Op::Eq, value.clone());
            balanced(&values.iter().map(is).collect::<Vec<_>>(), inputs, Expr::or::<Expr>)
        }
        Node::OneOf(index, values) => input(index).is_in(list(values, storage(index)), false),
        Node::Text(index, test) => match test {
            TextTest::Contains(text) => input(index).str().contains_literal(lit(text.as_str())),
            TextTest::StartsWith(text) => input(index).str().starts_with(lit(text.as_str())),
            TextTest::EndsWith(text) => input(index).str().ends_with(lit(text.as_str())),
            TextTest::Matches(regex) => input(index).str().contains(lit(regex.as_str()), true),
        },
        Node::Same(left, right) => lower(left, inputs).eq(lower(right, inputs)),
        Node::IsTrue(node) => lower(node, inputs).fill_null(lit(false)),
        Node::Unknown(node) => lower(node, inputs).is_null(),
        Node::Not(node) => lower(node, inputs).not(),
        Node::And(nodes) => balanced(nodes, inputs, Expr::and::<Expr>),
        Node::Or(nodes) => balanced(nodes, inputs, Expr::or::<Expr>),
    }
}

/// Joins a chain as a tree of logarithmic depth, because polars recurses.
fn balanced(nodes: &[Node], inputs: &Inputs, join: fn(Expr, Expr) -> Expr) -> Expr {
    match nodes {
        [] => boolean(None),
        [node] => lower(node, inputs),
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            join(balanced(left, inputs, join), balanced(right, inputs, join))
        }
    }
}

fn compare(left: Expr, op: Op, right: Expr) -> Expr {
    match op {
        Op::Eq => left.eq(right),
        Op::Ne => left.neq(right),
        Op::Lt => left.lt(right),
        Op::Lte => left.lt_eq(right),
        Op::Gt => left.gt(right),
        Op::Gte => left.gt_eq(right),
    }
}

fn boolean(value: Option<bool>) -> Expr {
    match value {
        Some(value) => lit(value),
        None => Scalar::null(DataType::Boolean).lit(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range was checked when the node was made")]
fn literal(value: &Value, storage: Storage) -> Expr {
    match (value, storage) {
        (Value::Integer(v), Storage::Int32) => lit(*v as i32),
        (Value::Integer(v), Storage::UInt32) => lit(*v as u32),
        (Value::Integer(v), Storage::Int64) => lit(*v as i64),
        (Value::Integer(v), Storage::UInt64) => lit(*v as u64),
        (Value::Integer(v), _) => Scalar::new_decimal(*v, 38, 0).lit(),
        (Value::Float(v), _) => lit(*v),
        (Value::Text(v), _) => lit(v.as_str()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range was checked when the node was made")]
fn list(values: &[Value], storage: Storage) -> Expr {
    let integers = || values.iter().filter_map(|v| if let Value::Integer(v) = v { Some(*v) } else { None });
    let name = PlSmallStr::EMPTY;
    let series = match (values.first(), storage) {
        (Some(Value::Text(_)), _) => {
            let texts = values.iter().filter_map(|v| if let Value::Text(v) = v { Some(v.as_str()) } else { None });
            Series::new(name, texts.collect::<Vec<_>>())
        }
        (Some(Value::Float(_)), _) => {
            let floats = values.iter().filter_map(|v| if let Value::Float(v) = v { Some(*v) } else { None });
            Series::new(name, floats.collect::<Vec<_>>())
        }
        (_, Storage::Int32) => Series::new(name, integers().map(|v| v as i32).collect::<Vec<_>>()),
        (_, Storage::UInt32) => Series::new(name, integers().map(|v| v as u32).collect::<Vec<_>>()),
        (_, Storage::Int64) => Series::new(name, integers().map(|v| v as i64).collect::<Vec<_>>()),
        (_, Storage::UInt64) => Series::new(name, integers().map(|v| v as u64).collect::<Vec<_>>()),
        _ => {
            let chunked = polars::prelude::Int128Chunked::from_vec(name, integers().collect());
            polars::prelude::IntoSeries::into_series(chunked.into_decimal_unchecked(38, 0))
        }
    };
    Scalar::new_list(series).lit()
}
