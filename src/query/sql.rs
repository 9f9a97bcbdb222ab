//! Compiles `where:` to a typed condition, using an allow list. Everything else is refused by name.
//!
//! sqlparser accepts all of SQL. This module allows its row-wise subset node by node, so that new features of the parser are
//! never allowed by accident. No text reaches polars as SQL, because its SQL front end opens files while it parses.
//! Invariant: text length, tokens and depth are bounded before anything recurses over them.

mod locator;
mod parse;
mod refuse;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use sqlparser::ast::{BinaryOperator, DataType as SqlType, Expr, Ident, Spanned, UnaryOperator, Value as SqlValue};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::arithmetic::{Arithmetic, Operator};
use super::check::{self, Mismatch, Operand, Values};
use super::expr::{Inputs, Node, Op};
use super::filters::{checked, unknown_column};
use super::like::{Like, like};
use super::literal::{Literal, Number};
use crate::diagnostic::{Diagnostic, Located};

use locator::Locator;
use parse::{MAX_DEPTH, parse};
use refuse::{ALLOWED, refused_name};

/// Stack of the thread that compiles a `where`: 16 KiB per token ([`parse::MAX_TOKENS`]). An unoptimized build needed more than
/// 2 KiB. Only touched pages take memory.
const STACK_BYTES: usize = 32 << 20;

/// Compiles a `where`.
///
/// # Errors
/// All mistakes, each at its location in the text if the file shows it, else at the whole text.
pub(super) fn condition(inputs: &mut Inputs, text: &Located<String>, schema: &Schema) -> Result<Node, Vec<Diagnostic>> {
    on_large_stack(text, || translate(inputs, text, schema))
}

/// Checks what can be known of a `where` without a schema.
///
/// # Errors
/// The mistake in its syntax.
pub(super) fn check(text: &Located<String>) -> Result<(), Vec<Diagnostic>> {
    on_large_stack(text, || parse(&text.value, &Locator::new(text)).map(drop).map_err(|mistake| vec![mistake]))
}

/// The parser's crate drops and searches trees of up to `MAX_TOKENS` levels recursively.
fn on_large_stack<T: Send>(
    text: &Located<String>,
    work: impl FnOnce() -> Result<T, Vec<Diagnostic>> + Send,
) -> Result<T, Vec<Diagnostic>> {
    let worker = std::thread::Builder::new().name("where".to_owned()).stack_size(STACK_BYTES);
    std::thread::scope(|scope| {
        let thread = worker.spawn_scoped(scope, work).map_err(|e| e.to_string());
        let joined = thread.and_then(|t| t.join().map_err(|_| "the SQL parser panicked".to_owned()));
        joined.unwrap_or_else(|why| Err(vec![Locator::new(text).whole(format!("`where` cannot be checked: {why}"))]))
    })
}

fn translate(inputs: &mut Inputs, text: &Located<String>, schema: &Schema) -> Result<Node, Vec<Diagnostic>> {
    let locator = Locator::new(text);
    let expression = parse(&text.value, &locator).map_err(|mistake| vec![mistake])?;
    let probe = RecordBatch::new_empty(std::sync::Arc::new(schema.clone()));
    let mut translator = Translator { inputs, schema, probe, locator, mistakes: Vec::new() };
    let node = translator.condition(&expression, 0);
    match node {
        Some(node) if translator.mistakes.is_empty() => Ok(node),
        // A condition that is neither compiled nor refused must not count as absent.
        _ if translator.mistakes.is_empty() => Err(vec![translator.locator.whole("`where` is not understood")]),
        _ => Err(translator.mistakes),
    }
}

/// The names and paths in a `where` that columns may have; none if it cannot be cut into words.
pub(super) fn names(text: &Located<String>) -> Vec<String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, &text.value).tokenize().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    let mut continues = false;
    for token in tokens {
        match token {
            Token::Word(word) => match names.last_mut() {
                Some(path) if continues => {
                    path.push('.');
                    path.push_str(&word.value);
                    continues = false;
                }
                _ => names.push(word.value),
            },
            token => continues = token == Token::Period,
        }
    }
    names
}

/// The name that a path of identifiers spells.
fn joined(names: &[Ident]) -> String {
    names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(".")
}

struct Translator<'a> {
    inputs: &'a mut Inputs,
    schema: &'a Schema,
    /// A batch without rows, to find the types of computed values.
    probe: RecordBatch,
    locator: Locator<'a>,
    mistakes: Vec<Diagnostic>,
}

impl Translator<'_> {
    /// An expression that must be true, false or null.
    fn condition(&mut self, expr: &Expr, depth: usize) -> Option<Node> {
        let operand = self.operand(expr, depth)?;
        let node = operand.condition(self.inputs);
        if node.is_none() {
            let message = format!("expected a condition (true or false), found {}", operand.describe());
            self.mistake(expr, message, "compare it with something");
        }
        node
    }

    /// Any expression. `None` after a mistake was recorded.
    fn operand(&mut self, expr: &Expr, depth: usize) -> Option<Operand> {
        if depth > MAX_DEPTH {
            let message = format!("`where` is nested more than {MAX_DEPTH} levels deep");
            self.mistakes.push(self.locator.whole(message).help("split it: AND and OR chains may be of any length"));
            return None;
        }
        let below = depth + 1;
        match expr {
            Expr::Nested(inner) => self.operand(inner, below),
            Expr::Identifier(name) => self.column(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.column(names),
            Expr::Value(value) => self.literal(expr, &value.value),
            Expr::TypedString(typed) if is_time(&typed.data_type) && !typed.uses_odbc_syntax => {
                match &typed.value.value {
                    SqlValue::SingleQuotedString(text) => Some(Operand::Literal(Literal::Time(text.clone()))),
                    _ => self.refuse(expr),
                }
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                Some(Operand::Condition(self.condition(expr, below)?.not()))
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                let inner = self.operand(inner, below)?;
                self.negate(expr, inner)
            }
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => {
                let inner = self.operand(inner, below)?;
                self.number(expr, "+", &inner)?;
                Some(inner)
            }
            Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                let nodes = self.chain(expr, op, below)?;
                let join = if *op == BinaryOperator::And { Node::and } else { Node::or };
                Some(Operand::Condition(join(nodes)))
            }
            Expr::BinaryOp { left, op, right } => self.binary(expr, left, op, right, below),
            Expr::IsNull(inner) => Some(Operand::Condition(self.is_null(inner, below)?)),
            Expr::IsNotNull(inner) => Some(Operand::Condition(self.is_null(inner, below)?.not())),
            Expr::IsTrue(inner) => Some(Operand::Condition(self.condition(inner, below)?.holds())),
            Expr::IsNotTrue(inner) => Some(Operand::Condition(self.condition(inner, below)?.holds().not())),
            Expr::IsFalse(inner) => Some(Operand::Condition(self.condition(inner, below)?.not().holds())),
            Expr::IsNotFalse(inner) => Some(Operand::Condition(self.condition(inner, below)?.not().holds().not())),
            Expr::InList { expr: tested, list, negated } => {
                let node = self.in_list(expr, tested, list, below)?;
                Some(Operand::Condition(negate(node, *negated)))
            }
            Expr::Between { expr: tested, negated, low, high } => {
                let (tested, low, high) =
                    (self.operand(tested, below), self.operand(low, below), self.operand(high, below));
                let (tested, low, high) = (tested?, low?, high?);
                let low = self.check(expr, |inputs| check::compare(inputs, Op::Gte, &tested, &low))?;
                let high = self.check(expr, |inputs| check::compare(inputs, Op::Lte, &tested, &high))?;
                Some(Operand::Condition(negate(Node::and([low, high]), *negated)))
            }
            Expr::Like { negated, any: false, expr: tested, pattern, escape_char } => {
                let node = self.like(expr, tested, pattern, escape_char.as_deref(), false, below)?;
                Some(Operand::Condition(negate(node, *negated)))
            }
            Expr::ILike { negated, any: false, expr: tested, pattern, escape_char } => {
                let node = self.like(expr, tested, pattern, escape_char.as_deref(), true, below)?;
                Some(Operand::Condition(negate(node, *negated)))
            }
            _ => self.refuse(expr),
        }
    }

    /// The conditions of a chain of one operator, which the parser nests to the left.
    fn chain(&mut self, mut expr: &Expr, chained: &BinaryOperator, depth: usize) -> Option<Vec<Node>> {
        let mut links = Vec::new();
        while let Expr::BinaryOp { left, op, right } = expr {
            if op != chained {
                break;
            }
            links.push(&**right);
            expr = left;
        }
        links.push(expr);
        // Check every link, to report all mistakes.
        let nodes: Vec<_> = links.into_iter().rev().map(|link| self.condition(link, depth)).collect();
        nodes.into_iter().collect()
    }

    /// A column, or the path that its names are.
    fn column(&mut self, names: &[Ident]) -> Option<Operand> {
        let name = joined(names);
        match self.schema.column_with_name(&name) {
            Some((_, field)) => Some(Operand::Values(Values::column(&name, field))),
            None => {
                let part = names.iter().map(|name| name.span).reduce(|all, span| all.union(&span));
                let span = part.and_then(|part| self.locator.span(part));
                let mut mistake = unknown_column(&name, self.schema, span.as_ref(), &self.mistakes);
                if names.iter().any(|name| name.quote_style.is_some()) {
                    let help = mistake.help.unwrap_or_default();
                    mistake.help =
                        Some(format!("{help}; use single quotes for text, and double quotes for columns only"));
                }
                self.mistakes.push(mistake);
                None
            }
        }
    }

    fn literal(&mut self, expr: &Expr, value: &SqlValue) -> Option<Operand> {
        Some(Operand::Literal(match value {
            SqlValue::Number(text, false) => match Number::parse(text) {
                Some(number) => Literal::Number(number),
                None => {
                    self.mistake(expr, format!("`{text}` is not a number"), "write it in digits, as in 1000 or 2.5e-3");
                    return None;
                }
            },
            SqlValue::SingleQuotedString(text) => Literal::Text(text.clone()),
            SqlValue::Boolean(value) => Literal::Bool(*value),
            SqlValue::Null => Literal::Null,
            _ => return self.refuse(expr),
        }))
    }

    fn binary(&mut self, expr: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr, depth: usize) -> Option<Operand> {
        let comparison = match op {
            BinaryOperator::Eq => Some(Op::Eq),
            BinaryOperator::NotEq => Some(Op::Ne),
            BinaryOperator::Lt => Some(Op::Lt),
            BinaryOperator::LtEq => Some(Op::Lte),
            BinaryOperator::Gt => Some(Op::Gt),
            BinaryOperator::GtEq => Some(Op::Gte),
            _ => None,
        };
        let arithmetic = match op {
            BinaryOperator::Plus => Some((Operator::Add, "+")),
            BinaryOperator::Minus => Some((Operator::Subtract, "-")),
            BinaryOperator::Multiply => Some((Operator::Multiply, "*")),
            BinaryOperator::Divide => Some((Operator::Divide, "/")),
            BinaryOperator::Modulo => Some((Operator::Remainder, "%")),
            _ => None,
        };
        if comparison.is_none() && arithmetic.is_none() {
            return self.refuse(expr);
        }
        let (left, right) = (self.operand(left, depth), self.operand(right, depth));
        let (left, right) = (left?, right?);
        if let Some((operator, sign)) = arithmetic {
            let (left, right) = (self.number(expr, sign, &left), self.number(expr, sign, &right));
            return match (left?, right?) {
                (Some(left), Some(right)) => {
                    self.computed(expr, Arithmetic::Binary(operator, Box::new(left), Box::new(right)))
                }
                _ => Some(Operand::Literal(Literal::Null)),
            };
        }
        let op = comparison?;
        let node = self.check(expr, |inputs| check::compare(inputs, op, &left, &right))?;
        Some(Operand::Condition(node))
    }

    fn negate(&mut self, expr: &Expr, operand: Operand) -> Option<Operand> {
        match self.number(expr, "-", &operand)? {
            Some(Arithmetic::Literal(number)) => Some(Operand::Literal(Literal::Number(number.negate()))),
            Some(inner) => self.computed(expr, Arithmetic::Negate(Box::new(inner))),
            None => Some(Operand::Literal(Literal::Null)),
        }
    }

    /// An operand of arithmetic: `Some(None)` is null, `None` is a recorded mistake.
    fn number(&mut self, expr: &Expr, sign: &str, operand: &Operand) -> Option<Option<Arithmetic>> {
        let number = match operand {
            Operand::Literal(Literal::Null) => return Some(None),
            Operand::Literal(Literal::Number(number)) => Some(Arithmetic::Literal(number.clone())),
            Operand::Values(values) if values.is_empty() => return Some(None),
            Operand::Values(values) => values.number(),
            _ => None,
        };
        if number.is_none() {
            let message = format!("`{sign}` needs numbers, found {}", operand.describe());
            let help = match operand {
                Operand::Values(values) if values.is_number() => {
                    "to compute with it, declare the column in `schema` as decimal(p,s) or float64"
                }
                _ => "arithmetic is for integer, decimal and float columns and numbers",
            };
            self.mistake(expr, message, help);
        }
        number.map(Some)
    }

    fn computed(&mut self, expr: &Expr, arithmetic: Arithmetic) -> Option<Operand> {
        let mut columns = Vec::new();
        arithmetic.columns(&mut columns);
        let result = if columns.is_empty() {
            arithmetic.constant().map(Operand::Literal)
        } else {
            let result = arithmetic.evaluate(&self.probe);
            result.map(|a| Operand::Values(Values::computed(arithmetic, a.data_type(), &expr.to_string())))
        };
        match result {
            Ok(operand) => Some(operand),
            Err(e) => {
                let message = format!("`{expr}` leaves the range of exact numbers, which is 38 digits ({e})");
                self.mistake(expr, message, "use fewer digits after the point, or divide by 1 to compute in float64");
                None
            }
        }
    }

    fn is_null(&mut self, expr: &Expr, depth: usize) -> Option<Node> {
        let operand = self.operand(expr, depth)?;
        Some(check::is_null(self.inputs, &operand))
    }

    fn in_list(&mut self, expr: &Expr, tested: &Expr, list: &[Expr], depth: usize) -> Option<Node> {
        let tested = self.operand(tested, depth);
        let items: Vec<_> = list.iter().map(|item| self.operand(item, depth)).collect();
        let (tested, items) = (tested?, items.into_iter().collect::<Option<Vec<_>>>()?);
        let constants: Option<Vec<Literal>> = items
            .iter()
            .map(|item| if let Operand::Literal(literal) = item { Some(literal.clone()) } else { None })
            .collect();
        self.check(expr, |inputs| match constants {
            Some(constants) => check::one_of(inputs, &tested, &constants),
            None => {
                let equal = |item| check::compare(inputs, Op::Eq, &tested, item);
                Ok(Node::or(items.iter().map(equal).collect::<Result<Vec<_>, _>>()?))
            }
        })
    }

    fn like(
        &mut self,
        expr: &Expr,
        tested: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        fold_case: bool,
        depth: usize,
    ) -> Option<Node> {
        let name = if fold_case { "ILIKE" } else { "LIKE" };
        let (tested, pattern) = (self.operand(tested, depth), self.operand(pattern, depth));
        let (tested, pattern) = (tested?, pattern?);
        let pattern = match pattern {
            Operand::Literal(Literal::Text(text)) => text,
            Operand::Literal(Literal::Null) => return Some(Node::Constant(None)),
            other => {
                let message = format!("`{name}` needs a pattern in single quotes, found {}", other.describe());
                self.mistake(expr, message, "as in: model LIKE 'gpt%'");
                return None;
            }
        };
        let escape = match escape.map(|e| self.operand(e, depth)) {
            None => None,
            Some(Some(Operand::Literal(Literal::Text(text)))) if text.chars().count() == 1 => text.chars().next(),
            Some(None) => return None,
            Some(Some(_)) => {
                self.mistake(expr, "ESCAPE needs one character in single quotes".to_owned(), "as in: ESCAPE '!'");
                return None;
            }
        };
        let like = match like(&pattern, escape, fold_case) {
            Ok(like) => like,
            Err(why) => {
                self.mistake(expr, format!("the pattern of `{name}` is wrong: {why}"), "double it to mean itself");
                return None;
            }
        };
        self.check(expr, |inputs| match like {
            Like::Equal(text) => check::compare(inputs, Op::Eq, &tested, &Operand::Literal(Literal::Text(text))),
            Like::Test(test) => check::text_test(inputs, name, &tested, checked(test)?),
        })
    }

    fn check(&mut self, expr: &Expr, build: impl FnOnce(&mut Inputs) -> Result<Node, Mismatch>) -> Option<Node> {
        match build(self.inputs) {
            Ok(node) => Some(node),
            Err(mismatch) => {
                self.mistake(expr, mismatch.message, mismatch.help);
                None
            }
        }
    }

    fn refuse<T>(&mut self, expr: &Expr) -> Option<T> {
        self.mistake(expr, format!("`where` does not allow {}", refused_name(expr)), ALLOWED);
        if let Expr::Function(function) = expr
            && let name = function.name.to_string()
            && self.schema.column_with_name(&name).is_some()
            && let Some(mistake) = self.mistakes.last_mut()
        {
            mistake.help = Some(format!("to name the column, write \"{name}\" in double quotes"));
        }
        None
    }

    fn mistake(&mut self, expr: &Expr, message: String, help: impl Into<String>) {
        let span = self.locator.span(expr.span());
        self.mistakes.push(Diagnostic::at(span.as_ref(), message).help(help));
    }
}

fn negate(node: Node, negated: bool) -> Node {
    if negated { node.not() } else { node }
}

fn is_time(data_type: &SqlType) -> bool {
    matches!(data_type, SqlType::Date | SqlType::Timestamp(..))
}

#[cfg(test)]
mod tests;
