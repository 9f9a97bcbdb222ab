//! Type-checks operands and builds conditions: which comparisons are allowed, and what exactly they mean.
//!
//! `filters` and `where` share this code, so `filters: {latency_ms: {gt: 1.5}}` and `where: "latency_ms > 1.5"` cannot
//! differ. There are no implicit conversions between text and numbers. A constant that a column cannot hold exactly is
//! placed between the values that it can hold.

use arrow::datatypes::{DataType, Field};

use super::arithmetic::Arithmetic;
use super::expr::{Inputs, Node, Op, Origin, TextTest, Value};
use super::kind::{Kind, Storage, field_type_name, type_name};
use super::literal::{Literal, Moment, Number, Scaled, moment, shorten, time_of_day};
use super::number_text::{Comparison, Side};
use crate::logical::uuid;

/// One side of an operator.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// A column or a computed number.
    Values(Values),
    /// A constant.
    Literal(Literal),
    /// A condition: true, false or null.
    Condition(Node),
}

/// A value for each row.
#[derive(Debug, Clone)]
pub(super) struct Values {
    origin: Origin,
    kind: Kind,
    /// Quoted, for messages.
    label: String,
    type_name: String,
}

/// The error of incompatible operands, with advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) message: String,
    pub(super) help: String,
}

type Checked = Result<Node, Mismatch>;

/// The advice where text is compared with a number. Only suggesting quotes would lead to silently dropped rows.
const TEXT_IS_NOT_NUMBERS: &str = "text is compared character by character, so that '10' is less than '9': to compare \
                                   numbers, declare the column of text in `schema` as number, float64 or decimal(p,s); to \
                                   compare text, put the constant in quotes";

impl Values {
    /// A source column.
    pub(super) fn column(name: &str, field: &Field) -> Self {
        Self {
            origin: Origin::Column(name.to_owned()),
            kind: Kind::of_field(field),
            label: format!("`{name}`"),
            type_name: field_type_name(field),
        }
    }

    /// A computed number. `text` is its name in messages.
    pub(super) fn computed(arithmetic: Arithmetic, result: &DataType, text: &str) -> Self {
        Self {
            origin: Origin::Computed(arithmetic),
            kind: Kind::of(result),
            label: format!("`{}`", shorten(text)),
            type_name: type_name(result),
        }
    }

    /// The operand for arithmetic, if it is a number.
    pub(super) fn number(&self) -> Option<Arithmetic> {
        let float = match self.kind {
            Kind::Float { .. } => true,
            Kind::Exact { .. } => false,
            _ => return None,
        };
        match &self.origin {
            Origin::Column(name) => Some(Arithmetic::Column(name.clone(), float)),
            Origin::Computed(arithmetic) => Some(arithmetic.clone()),
            Origin::Compared(_) => None,
        }
    }

    /// Whether the values are numbers stored as text.
    pub(super) fn is_number(&self) -> bool {
        self.kind == Kind::Number
    }

    /// The side of a comparison of numbers stored as text, if it is a number.
    fn side(&self) -> Option<Side> {
        if !matches!(self.kind, Kind::Number | Kind::Exact { .. } | Kind::Float { .. }) {
            return None;
        }
        match &self.origin {
            Origin::Column(name) => Some(Side::Column(name.clone())),
            Origin::Computed(arithmetic) => Some(Side::Computed(arithmetic.clone())),
            Origin::Compared(_) => None,
        }
    }

    /// Whether no row has a value.
    pub(super) fn is_empty(&self) -> bool {
        self.kind == Kind::Empty
    }

    fn input(&self, inputs: &mut Inputs) -> usize {
        inputs.add(&self.origin, self.kind.storage())
    }

    fn mismatch(&self, what: impl std::fmt::Display) -> Mismatch {
        Mismatch {
            message: format!("{} is {} and cannot be compared with {what}", self.label, self.type_name),
            help: self.kind.expects().to_owned(),
        }
    }
}

impl Operand {
    /// A description for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Values(values) => format!("{}, which is {}", values.label, values.type_name),
            Self::Literal(literal) => literal.describe(),
            Self::Condition(_) => "a condition".to_owned(),
        }
    }

    /// The operand as a condition, if it is true, false or null.
    pub(super) fn condition(&self, inputs: &mut Inputs) -> Option<Node> {
        match self {
            Self::Condition(node) => Some(node.clone()),
            Self::Literal(Literal::Bool(value)) => Some(Node::Constant(Some(*value))),
            Self::Literal(Literal::Null) => Some(Node::Constant(None)),
            Self::Values(values) if values.kind == Kind::Bool => Some(Node::Bool(values.input(inputs))),
            Self::Values(values) if values.is_empty() => Some(Node::Constant(None)),
            _ => None,
        }
    }

    fn is_boolean(&self) -> bool {
        match self {
            Self::Condition(_) | Self::Literal(Literal::Bool(_)) => true,
            Self::Values(values) => values.kind == Kind::Bool,
            Self::Literal(_) => false,
        }
    }
}

/// `left op right`.
pub(super) fn compare(inputs: &mut Inputs, op: Op, left: &Operand, right: &Operand) -> Checked {
    let null = |o: &Operand| matches!(o, Operand::Literal(Literal::Null));
    if null(left) || null(right) {
        return Ok(Node::Constant(None));
    }
    match (left, right) {
        (Operand::Values(v), _) | (_, Operand::Values(v)) if v.is_empty() => Ok(Node::Constant(None)),
        (Operand::Values(l), Operand::Values(r)) if l.kind != Kind::Bool && r.kind != Kind::Bool => {
            compare_values(inputs, op, l, r)
        }
        (Operand::Values(v), Operand::Literal(l)) if v.kind != Kind::Bool => compare_literal(inputs, v, op, l),
        (Operand::Literal(l), Operand::Values(v)) if v.kind != Kind::Bool => compare_literal(inputs, v, op.flip(), l),
        _ if left.is_boolean() || right.is_boolean() => compare_conditions(inputs, op, left, right),
        (Operand::Literal(l), Operand::Literal(r)) => match l.compare(r) {
            Some(order) => Ok(Node::Constant(Some(op.holds(order)))),
            None => Err(Mismatch {
                message: format!("{} and {} cannot be compared", l.describe(), r.describe()),
                help: "compare a column with a constant of its type".to_owned(),
            }),
        },
        _ => Err(Mismatch {
            message: format!("{} cannot be compared with {}", left.describe(), right.describe()),
            help: "compare a column with a constant of its type".to_owned(),
        }),
    }
}

/// Equal to one of `list`.
pub(super) fn one_of(inputs: &mut Inputs, operand: &Operand, list: &[Literal]) -> Checked {
    let Operand::Values(values) = operand else { return any_equal(inputs, operand, list) };
    if matches!(values.kind, Kind::Bool | Kind::Empty | Kind::Opaque) {
        return any_equal(inputs, operand, list);
    }
    if let (Kind::Number, Origin::Column(name)) = (values.kind, &values.origin) {
        return one_of_numbers(inputs, values, name, list);
    }
    let (mut found, mut null) = (Vec::new(), false);
    for literal in list {
        if *literal == Literal::Null {
            null = true;
        } else if let Some(value) = exact_value(values, literal)? {
            found.push(value);
        }
    }
    let input = values.input(inputs);
    let member = match found.len() {
        0 => Node::Known(input, false),
        1 => Node::Compare(input, Op::Eq, found.remove(0)),
        _ => Node::OneOf(input, found),
    };
    Ok(if null { Node::or([member, Node::Constant(None)]) } else { member })
}

/// [`one_of`] for numbers stored as text.
fn one_of_numbers(inputs: &mut Inputs, values: &Values, name: &str, list: &[Literal]) -> Checked {
    let (mut numbers, mut null) = (Vec::<Number>::new(), false);
    for literal in list {
        match literal {
            Literal::Null => null = true,
            Literal::Number(number) => numbers.push(number.clone()),
            other => return Err(values.mismatch(other.describe())),
        }
    }
    numbers.sort_by(Number::compare);
    let member = match numbers.is_empty() {
        true => Node::Known(values.input(inputs), false),
        false => {
            let comparison = Comparison::Member(name.to_owned(), numbers);
            Node::Bool(inputs.add(&Origin::Compared(comparison), Storage::Bool))
        }
    };
    Ok(if null { Node::or([member, Node::Constant(None)]) } else { member })
}

/// The condition that a comparison of numbers stored as text has a certain outcome.
fn outcome(inputs: &mut Inputs, op: Op, comparison: Comparison) -> Node {
    let input = inputs.add(&Origin::Compared(comparison), Storage::Int32);
    Node::Compare(input, op, Value::Integer(0))
}

fn any_equal(inputs: &mut Inputs, operand: &Operand, list: &[Literal]) -> Checked {
    let equal = |literal: &Literal| compare(inputs, Op::Eq, operand, &Operand::Literal(literal.clone()));
    Ok(Node::or(list.iter().map(equal).collect::<Result<Vec<_>, _>>()?))
}

/// IS NULL of anything.
pub(super) fn is_null(inputs: &mut Inputs, operand: &Operand) -> Node {
    match operand {
        Operand::Values(values) if values.is_empty() => Node::Constant(Some(true)),
        Operand::Values(values) => Node::IsNull(values.input(inputs)),
        Operand::Literal(literal) => Node::Constant(Some(*literal == Literal::Null)),
        Operand::Condition(node) => node.clone().unknown(),
    }
}

/// A test of text. `what` is its name in messages.
pub(super) fn text_test(inputs: &mut Inputs, what: &str, operand: &Operand, test: TextTest) -> Checked {
    match operand {
        Operand::Values(values) if values.kind == Kind::Text => Ok(Node::Text(values.input(inputs), test)),
        Operand::Values(values) if values.is_empty() => Ok(Node::Constant(None)),
        Operand::Literal(Literal::Null) => Ok(Node::Constant(None)),
        other => Err(Mismatch {
            message: format!("`{what}` needs a text column, not {}", other.describe()),
            help: match other {
                Operand::Values(values) => values.kind.expects().to_owned(),
                _ => "name a text column".to_owned(),
            },
        }),
    }
}

fn compare_conditions(inputs: &mut Inputs, op: Op, left: &Operand, right: &Operand) -> Checked {
    let (Some(l), Some(r)) = (left.condition(inputs), right.condition(inputs)) else {
        return Err(match (left, right) {
            (Operand::Values(v), other) | (other, Operand::Values(v)) if v.kind == Kind::Bool => {
                v.mismatch(other.describe())
            }
            _ => Mismatch {
                message: format!("{} cannot be compared with {}", left.describe(), right.describe()),
                help: "compare conditions with conditions, true or false".to_owned(),
            },
        });
    };
    match op {
        Op::Eq => Ok(Node::same(l, r)),
        Op::Ne => Ok(Node::same(l, r).not()),
        _ => {
            let side = if left.is_boolean() { left } else { right };
            let comma = if matches!(side, Operand::Values(_)) { "," } else { "" };
            Err(Mismatch {
                message: format!("{}{comma} has no order", side.describe()),
                help: "compare true and false with `=`, `<>` or `in` (in filters: eq, ne, in, not_in)".to_owned(),
            })
        }
    }
}

fn compare_literal(inputs: &mut Inputs, values: &Values, op: Op, literal: &Literal) -> Checked {
    if let (Kind::Number, Origin::Column(name), Literal::Number(number)) = (values.kind, &values.origin, literal) {
        return Ok(outcome(inputs, op, Comparison::Constant(name.clone(), number.clone())));
    }
    let placed = place(values, literal)?;
    let input = values.input(inputs);
    let compare = |op, value| Node::Compare(input, op, Value::Integer(value));
    Ok(match placed {
        Placed::Value(value) => Node::Compare(input, op, value),
        Placed::Scaled(Scaled::Exact(value)) => compare(op, value),
        Placed::Scaled(Scaled::Between(below)) => match op {
            Op::Eq => Node::Known(input, false),
            Op::Ne => Node::Known(input, true),
            Op::Lt | Op::Lte => compare(Op::Lte, below),
            Op::Gt | Op::Gte => compare(Op::Gt, below),
        },
        Placed::Scaled(Scaled::Above) => Node::Known(input, matches!(op, Op::Lt | Op::Lte | Op::Ne)),
        Placed::Scaled(Scaled::Below) => Node::Known(input, matches!(op, Op::Gt | Op::Gte | Op::Ne)),
    })
}

/// The position of a constant among the values of an operand.
enum Placed {
    Value(Value),
    Scaled(Scaled),
}

/// The value equal to a constant, if the operand can hold it.
fn exact_value(values: &Values, literal: &Literal) -> Result<Option<Value>, Mismatch> {
    Ok(match place(values, literal)? {
        Placed::Value(value) => Some(value),
        Placed::Scaled(Scaled::Exact(value)) => Some(Value::Integer(value)),
        Placed::Scaled(_) => None,
    })
}

fn place(values: &Values, literal: &Literal) -> Result<Placed, Mismatch> {
    let wrong = || {
        let mismatch = values.mismatch(literal.describe());
        match (values.kind, literal) {
            (Kind::Text, Literal::Number(_)) => Mismatch { help: TEXT_IS_NOT_NUMBERS.to_owned(), ..mismatch },
            _ => mismatch,
        }
    };
    let scaled = |scaled: Scaled| {
        let (min, max) = values.kind.storage().range();
        Placed::Scaled(scaled.within(min, max))
    };
    match (values.kind, literal) {
        (Kind::Exact { scale, .. }, Literal::Number(number)) => Ok(scaled(number.at_scale(scale))),
        (Kind::Float { single }, Literal::Number(number)) => match number.to_float(single) {
            Some(value) => Ok(Placed::Value(Value::Float(value))),
            None => Err(Mismatch {
                message: format!("{} is beyond the range of {}, which is float64", number.text, values.label),
                help: "the largest float64 is 1.7976931348623157e308".to_owned(),
            }),
        },
        (Kind::Uuid, Literal::Text(text)) => Ok(Placed::Value(Value::Text(uuid::canonical(text).ok_or_else(wrong)?))),
        (Kind::Text, Literal::Text(text)) => Ok(Placed::Value(Value::Text(text.clone()))),
        (Kind::Instant { unit, zoned }, Literal::Text(text) | Literal::Time(text)) => {
            let Moment { nanoseconds, zoned: offset } = moment(text).ok_or_else(wrong)?;
            if offset && !zoned {
                return Err(wrong());
            }
            Ok(scaled(Scaled::ratio(nanoseconds, unit)))
        }
        (Kind::Date, Literal::Text(text) | Literal::Time(text)) => {
            let at = moment(text).filter(|m| !m.zoned).ok_or_else(wrong)?;
            Ok(scaled(Scaled::ratio(at.nanoseconds, values.kind.unit().unwrap_or(1))))
        }
        (Kind::Time { unit, .. }, Literal::Text(text)) => {
            Ok(scaled(Scaled::ratio(time_of_day(text).ok_or_else(wrong)?, unit)))
        }
        _ => Err(wrong()),
    }
}

fn compare_values(inputs: &mut Inputs, op: Op, left: &Values, right: &Values) -> Checked {
    if let (true, Some(l), Some(r)) = (left.is_number() || right.is_number(), left.side(), right.side()) {
        return Ok(outcome(inputs, op, Comparison::Sides(l, r)));
    }
    let (l, r) = match (left.kind, right.kind) {
        (Kind::Opaque, _) => return Err(left.mismatch(format_args!("{}", right.label))),
        (_, Kind::Opaque) => return Err(right.mismatch(format_args!("{}", left.label))),
        (a, b) if a == b => (a.storage(), b.storage()),
        (Kind::Float { .. } | Kind::Exact { .. }, Kind::Float { .. } | Kind::Exact { .. }) => {
            match (left.kind, right.kind) {
                (Kind::Exact { scale: a, .. }, Kind::Exact { scale: b, .. }) => wide(a, b),
                _ => (Storage::Float, Storage::Float),
            }
        }
        (Kind::Instant { unit: a, zoned: x }, Kind::Instant { unit: b, zoned: y }) if x == y => {
            wide(digits(a), digits(b))
        }
        (Kind::Time { unit: a, .. }, Kind::Time { unit: b, .. }) => wide(digits(a), digits(b)),
        (a, b) => {
            let mismatch = left.mismatch(format_args!("{}, which is {}", right.label, right.type_name));
            let is_number = |kind| matches!(kind, Kind::Exact { .. } | Kind::Float { .. } | Kind::Number);
            let is_text_and_number = (a == Kind::Text && is_number(b)) || (is_number(a) && b == Kind::Text);
            let help = if is_text_and_number { TEXT_IS_NOT_NUMBERS.to_owned() } else { mismatch.help };
            return Err(Mismatch { help, ..mismatch });
        }
    };
    let (l, r) = (inputs.add(&left.origin, l), inputs.add(&right.origin, r));
    Ok(Node::Inputs(l, op, r))
}

/// Storages that give two exact operands the same scale, so that their integers can be compared.
fn wide(left_scale: i32, right_scale: i32) -> (Storage, Storage) {
    let common = left_scale.max(right_scale);
    (Storage::Wide { power: common.abs_diff(left_scale) }, Storage::Wide { power: common.abs_diff(right_scale) })
}

/// Fraction digits of a second in a unit of `unit` nanoseconds.
fn digits(unit: i128) -> i32 {
    9 - unit.checked_ilog10().map_or(0, |d| d as i32)
}
