//! Names the SQL features that `where` does not allow.

use sqlparser::ast::{Expr, Value};

/// What `where` allows, for messages.
pub(super) const ALLOWED: &str = "`where` allows comparisons of this source's columns, AND, OR, NOT, IN (values), \
                                  BETWEEN, LIKE, ILIKE, IS NULL, IS TRUE, IS FALSE and + - * / %";

/// The name of an expression that is not allowed.
pub(super) fn refused_name(expr: &Expr) -> String {
    let name = match expr {
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => "a subquery",
        Expr::AnyOp { .. } | Expr::AllOp { .. } => "ANY or ALL",
        Expr::InUnnest { .. } => "UNNEST",
        Expr::Function(function) if function.over.is_some() => "a window function",
        Expr::Function(function) => return format!("the function `{}`", function.name),
        Expr::Ceil { .. } | Expr::Floor { .. } => "the function CEIL or FLOOR",
        Expr::Extract { .. } => "the function EXTRACT",
        Expr::Position { .. } => "the function POSITION",
        Expr::Substring { .. } => "the function SUBSTRING",
        Expr::Trim { .. } => "the function TRIM",
        Expr::Overlay { .. } => "the function OVERLAY",
        Expr::Cast { .. } | Expr::Convert { .. } => "a cast",
        Expr::Case { .. } => "CASE",
        Expr::Interval(_) => "INTERVAL",
        Expr::AtTimeZone { .. } => "AT TIME ZONE",
        Expr::Collate { .. } => "COLLATE",
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => "IS DISTINCT FROM",
        Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => "IS UNKNOWN (use IS NULL)",
        Expr::SimilarTo { .. } => "SIMILAR TO",
        Expr::RLike { .. } => "RLIKE",
        Expr::Like { .. } | Expr::ILike { .. } => "LIKE ANY",
        Expr::CompoundFieldAccess { .. } | Expr::JsonAccess { .. } => "access to a nested field",
        Expr::Tuple(_) => "a list of values here",
        Expr::Array(_) => "an array",
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "`*`",
        Expr::TypedString(typed) => return format!("{} '…' (only DATE and TIMESTAMP)", typed.data_type),
        Expr::BinaryOp { op, .. } => return format!("the operator `{op}`"),
        Expr::UnaryOp { op, .. } => return format!("the operator `{op}`"),
        Expr::Value(value) => match &value.value {
            Value::Placeholder(_) => "a placeholder",
            _ => "this kind of constant (write text in single quotes)",
        },
        _ => "this expression",
    };
    name.to_owned()
}
