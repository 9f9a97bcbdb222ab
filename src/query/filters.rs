//! Compiles `filters:` to typed conditions.

use arrow::datatypes::Schema;

use super::check::{Mismatch, Operand, Values, compare, is_null, one_of, text_test};
use super::expr::{Inputs, Node, Op, TextTest};
use super::literal::{Literal, Number};
use crate::diagnostic::{Diagnostic, nearest_for, regex_reason};
use crate::job::{Condition, Filter, Scalar};
use crate::logical::path;

/// Largest compiled size of a regular expression. Below the limit of polars, which is 10 MiB.
const REGEX_BYTES: usize = 4 << 20;

/// Compiles one filter.
///
/// # Errors
/// The source has no such column, or the condition does not fit its type.
pub(super) fn filter(
    inputs: &mut Inputs,
    filter: &Filter,
    schema: &Schema,
    mistakes: &[Diagnostic],
) -> Result<Node, Diagnostic> {
    let name = filter.column.value.as_str();
    let Some((_, field)) = schema.column_with_name(name) else {
        return Err(unknown_column(name, schema, filter.column.span.as_ref(), mistakes));
    };
    let column = Operand::Values(Values::column(name, field));
    condition(inputs, &column, &filter.condition.value)
        .map_err(|e| Diagnostic::at(filter.condition.span.as_ref(), e.message).help(e.help))
}

/// The error of a column that the source does not have. `mistakes` are the earlier errors.
pub(super) fn unknown_column(
    name: &str,
    schema: &Schema,
    span: Option<&crate::diagnostic::Span>,
    mistakes: &[Diagnostic],
) -> Diagnostic {
    let names = || schema.fields().iter().map(|f| f.name().as_str());
    let help = match nearest_for(mistakes, name, names()) {
        _ if let Some(help) = path::help(schema, name) => help,
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = names().take(20).collect();
            let more = if schema.fields().len() > 20 { ", …" } else { "" };
            format!("the columns are: {}{more}", known.join(", "))
        }
    };
    Diagnostic::at(span, format!("the source has no column `{name}`")).help(help)
}

fn condition(inputs: &mut Inputs, column: &Operand, condition: &Condition) -> Result<Node, Mismatch> {
    let mut test = |op, value: &Scalar| compare(inputs, op, column, &Operand::Literal(literal(value)?));
    match condition {
        Condition::Eq(value) => test(Op::Eq, value),
        Condition::Ne(value) => test(Op::Ne, value),
        Condition::Lt(value) => test(Op::Lt, value),
        Condition::Lte(value) => test(Op::Lte, value),
        Condition::Gt(value) => test(Op::Gt, value),
        Condition::Gte(value) => test(Op::Gte, value),
        Condition::Between(low, high) => Ok(Node::and([test(Op::Gte, low)?, test(Op::Lte, high)?])),
        Condition::In(values) => one_of(inputs, column, &literals(values)?),
        Condition::NotIn(values) => Ok(one_of(inputs, column, &literals(values)?)?.not()),
        Condition::IsNull(wanted) => {
            let node = is_null(inputs, column);
            Ok(if *wanted { node } else { node.not() })
        }
        Condition::Contains(text) => text_test(inputs, "contains", column, checked(TextTest::Contains(text.clone()))?),
        Condition::StartsWith(text) => text_test(inputs, "starts_with", column, TextTest::StartsWith(text.clone())),
        Condition::EndsWith(text) => text_test(inputs, "ends_with", column, TextTest::EndsWith(text.clone())),
        Condition::Matches(regex) => text_test(inputs, "matches", column, checked(TextTest::Matches(regex.clone()))?),
    }
}

fn literals(values: &[Scalar]) -> Result<Vec<Literal>, Mismatch> {
    values.iter().map(literal).collect()
}

fn literal(value: &Scalar) -> Result<Literal, Mismatch> {
    Ok(match value {
        Scalar::Bool(value) => Literal::Bool(*value),
        Scalar::Text(value) => Literal::Text(value.clone()),
        Scalar::Number(value) => {
            let text = value.to_string();
            Literal::Number(Number::parse(&text).ok_or_else(|| Mismatch {
                message: format!("`{text}` is not a number that can be compared"),
                help: "write it in digits, optionally with a decimal point and an exponent".to_owned(),
            })?)
        }
    })
}

/// Checks that the regular expression of a test compiles within limits. polars also compiles `contains` to one.
pub(super) fn checked(test: TextTest) -> Result<TextTest, Mismatch> {
    let (pattern, shown) = match &test {
        TextTest::Matches(regex) => (regex.clone(), true),
        TextTest::Contains(text) => (regex::escape(text), false),
        _ => return Ok(test),
    };
    match regex::RegexBuilder::new(&pattern).size_limit(REGEX_BYTES).build() {
        Ok(_) => Ok(test),
        Err(error @ regex::Error::Syntax(_)) if shown => Err(Mismatch {
            message: format!("the regular expression does not parse: {}", regex_reason(&error)),
            help: "the syntax is that of the Rust crate `regex`, without look-around and backreferences".to_owned(),
        }),
        Err(_) => Err(Mismatch {
            message: "the pattern is too large".to_owned(),
            help: format!("compiled, it may have {} MiB: use smaller repetitions or shorter text", REGEX_BYTES >> 20),
        }),
    }
}
