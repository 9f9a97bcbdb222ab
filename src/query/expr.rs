//! The typed condition that `filters` and `where` compile to, and its inputs.
//!
//! The tree is small on purpose: every node has one meaning in SQL's three-valued logic and one form in polars. Constants
//! are folded, so a tree is either one [`Node::Constant`] or has an input in every branch. Invariant: a literal in a node
//! has the type of its input's storage.

use super::arithmetic::Arithmetic;
use super::kind::Storage;
use super::number_text::Comparison;

/// Comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// =
    Eq,
    /// <>
    Ne,
    /// <
    Lt,
    /// <=
    Lte,
    /// >
    Gt,
    /// >=
    Gte,
}

impl Op {
    /// The operator with its sides exchanged.
    pub(super) fn flip(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Lte => Self::Gte,
            Self::Gt => Self::Lt,
            Self::Gte => Self::Lte,
            same => same,
        }
    }

    /// Whether the comparison is true for two values in this order.
    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
        }
    }
}

/// The origin of an input's values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// A source column.
    Column(String),
    /// Computed from source columns.
    Computed(Arithmetic),
    /// The outcome of a comparison that polars cannot make.
    Compared(Comparison),
}

/// One column of the frame that polars sees.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Input {
    /// The origin of the values.
    pub(super) origin: Origin,
    /// Their type in polars.
    pub(super) storage: Storage,
}

/// All inputs of a predicate, each once.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs(pub(super) Vec<Input>);

impl Inputs {
    /// The index of an input, which is added if it is new.
    pub(super) fn add(&mut self, origin: &Origin, storage: Storage) -> usize {
        let input = Input { origin: origin.clone(), storage };
        self.0.iter().position(|known| *known == input).unwrap_or_else(|| {
            self.0.push(input);
            self.0.len() - 1
        })
    }
}

/// A literal in an input's storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// In the range of the input's integer storage.
    Integer(i128),
    /// Not NaN.
    Float(f64),
    /// UTF-8.
    Text(String),
}

/// A test of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextTest {
    /// Substring.
    Contains(String),
    /// Prefix.
    StartsWith(String),
    /// Suffix.
    EndsWith(String),
    /// Rust regular expression that compiles, unanchored.
    Matches(String),
}

/// A condition that is true, false or null of each row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// The same for all rows.
    Constant(Option<bool>),
    /// `value` where the input is not null, else null.
    Known(usize, bool),
    /// A boolean input.
    Bool(usize),
    /// Whether the input is null; never null.
    IsNull(usize),
    /// Input against literal.
    Compare(usize, Op, Value),
    /// Input against input of the same storage.
    Inputs(usize, Op, usize),
    /// Input among literals, at least one.
    OneOf(usize, Vec<Value>),
    /// A text input.
    Text(usize, TextTest),
    /// `=` of two conditions.
    Same(Box<Node>, Box<Node>),
    /// IS TRUE; never null.
    IsTrue(Box<Node>),
    /// IS NULL of a condition; never null.
    Unknown(Box<Node>),
    /// NOT.
    Not(Box<Node>),
    /// AND of two or more.
    And(Vec<Node>),
    /// OR of two or more.
    Or(Vec<Node>),
}

impl Node {
    /// Kleene's NOT.
    pub(super) fn not(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value.map(|v| !v)),
            Self::Known(input, value) => Self::Known(input, !value),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Kleene's AND.
    pub(super) fn and(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self::chain(nodes, false, Self::And)
    }

    /// Kleene's OR.
    pub(super) fn or(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self::chain(nodes, true, Self::Or)
    }

    /// `absorbing` decides the result, its opposite has no effect, and null remains unless the result is decided.
    fn chain(nodes: impl IntoIterator<Item = Node>, absorbing: bool, build: fn(Vec<Node>) -> Node) -> Self {
        let (mut kept, mut null) = (Vec::new(), false);
        for node in nodes {
            match node {
                Self::Constant(Some(value)) if value == absorbing => return Self::Constant(Some(absorbing)),
                Self::Constant(Some(_)) => {}
                Self::Constant(None) => null = true,
                other => kept.push(other),
            }
        }
        if kept.is_empty() {
            return Self::Constant(if null { None } else { Some(!absorbing) });
        }
        if null {
            kept.push(Self::Constant(None));
        }
        if kept.len() > 1 { build(kept) } else { kept.remove(0) }
    }

    /// `=` of two conditions.
    pub(super) fn same(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Constant(None), _) | (_, Self::Constant(None)) => Self::Constant(None),
            (Self::Constant(Some(true)), node) | (node, Self::Constant(Some(true))) => node,
            (Self::Constant(Some(false)), node) | (node, Self::Constant(Some(false))) => node.not(),
            (left, right) => Self::Same(Box::new(left), Box::new(right)),
        }
    }

    /// IS TRUE.
    pub(super) fn holds(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(Some(value == Some(true))),
            node => Self::IsTrue(Box::new(node)),
        }
    }

    /// IS NULL.
    pub(super) fn unknown(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(Some(value.is_none())),
            node => Self::Unknown(Box::new(node)),
        }
    }
}
