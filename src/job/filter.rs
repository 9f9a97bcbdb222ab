//! Conditions on columns.

use serde::Serialize;

use crate::diagnostic::Located;

/// One condition on one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Source column, at the place of the filter's key.
    pub column: Located<String>,
    /// The key as written (a filter name or a column).
    pub key: String,
    /// The condition, at the place of the operator or value.
    pub condition: Located<Condition>,
}

impl Filter {
    /// How manifests name it: its key in the spec and the operator, such as `statuses in`. Its values may be secret.
    pub fn name(&self) -> String {
        format!("{} {}", self.key, self.condition.value.operator())
    }
}

/// What must hold of a value. SQL null semantics: only `IsNull` is true or false of a null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Equal to one of a list that is not empty.
    In(Vec<Scalar>),
    /// Equal to none of a list that is not empty.
    NotIn(Vec<Scalar>),
    /// =
    Eq(Scalar),
    /// <>
    Ne(Scalar),
    /// <
    Lt(Scalar),
    /// <=
    Lte(Scalar),
    /// >
    Gt(Scalar),
    /// >=
    Gte(Scalar),
    /// Both ends included.
    Between(Scalar, Scalar),
    /// Substring.
    Contains(String),
    /// Prefix.
    StartsWith(String),
    /// Suffix.
    EndsWith(String),
    /// Rust regular expression, unanchored.
    Matches(String),
    /// Null or not.
    IsNull(bool),
}

impl Condition {
    /// The operator as specs write it.
    pub fn operator(&self) -> &'static str {
        match self {
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Eq(_) => "eq",
            Self::Ne(_) => "ne",
            Self::Lt(_) => "lt",
            Self::Lte(_) => "lte",
            Self::Gt(_) => "gt",
            Self::Gte(_) => "gte",
            Self::Between(..) => "between",
            Self::Contains(_) => "contains",
            Self::StartsWith(_) => "starts_with",
            Self::EndsWith(_) => "ends_with",
            Self::Matches(_) => "matches",
            Self::IsNull(_) => "is_null",
        }
    }
}

/// A value in a filter as YAML 1.2 core reads it. Numbers keep their text, so that no digit is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A plain scalar that is a number, in JSON's notation.
    Number(serde_json::Number),
    /// Anything else.
    Text(String),
}
