//! Filters as written: keys to conditions, values under the YAML core schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::{Diagnostic, Located, regex_reason, shown};
use crate::job::{Condition, Scalar};
use crate::limits;
use crate::yaml::decode::{boolean, list, mapping, not_one_of, text};
use crate::yaml::{CoreValue, Kind, Node, integer_value};

/// What must hold of one key. All conditions must.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterSpec {
    /// A filter name of the type, or a source column.
    pub key: Located<String>,
    /// At least one, each at the place of its operator, or of the value where there is none.
    pub conditions: Vec<Located<Condition>>,
}

/// Operators of a filter.
pub const OPERATORS: [&str; 14] = [
    "eq",
    "ne",
    "lt",
    "lte",
    "gt",
    "gte",
    "in",
    "not_in",
    "between",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "is_null",
];

/// Reads `filters`.
pub(crate) fn decode(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<FilterSpec>> {
    let mut filters = Vec::new();
    for entry in mapping(node, what, errors)? {
        if let Some(conditions) = conditions(&entry.value, &entry.key.value, errors) {
            filters.push(FilterSpec { key: entry.key.clone(), conditions });
        }
    }
    Some(filters)
}

fn conditions(node: &Node, key: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Located<Condition>>> {
    let place = |value| Located { value, span: Some(node.span.clone()) };
    match &node.kind {
        Kind::Reported => None,
        Kind::Scalar(_) => scalar(node, key, errors).map(|value| vec![place(Condition::Eq(value))]),
        Kind::Sequence(_) => scalars(node, key, errors).map(|values| vec![place(Condition::In(values))]),
        Kind::Mapping(entries) if entries.is_empty() => {
            let mistake = Diagnostic::at(Some(&node.span), format!("the filter `{}` has no condition", shown(key)));
            errors.push(mistake.help(format!("operators: {}", OPERATORS.join(", "))));
            None
        }
        Kind::Mapping(entries) => {
            let mut conditions = Vec::new();
            for entry in entries {
                if let Some(value) = condition(&entry.key, &entry.value, errors) {
                    conditions.push(Located { value, span: entry.key.span.clone() });
                }
            }
            Some(conditions)
        }
    }
}

fn condition(operator: &Located<String>, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Condition> {
    let name = operator.value.as_str();
    match name {
        "eq" => scalar(node, name, errors).map(Condition::Eq),
        "ne" => scalar(node, name, errors).map(Condition::Ne),
        "lt" => ordered(node, name, errors).map(Condition::Lt),
        "lte" => ordered(node, name, errors).map(Condition::Lte),
        "gt" => ordered(node, name, errors).map(Condition::Gt),
        "gte" => ordered(node, name, errors).map(Condition::Gte),
        "in" => scalars(node, name, errors).map(Condition::In),
        "not_in" => scalars(node, name, errors).map(Condition::NotIn),
        "between" => match list(node, name, errors)? {
            [low, high] => {
                let (low, high) = (ordered(low, name, errors), ordered(high, name, errors));
                Some(Condition::Between(low?, high?))
            }
            other => {
                let message = format!("`between` takes two values, found {}", other.len());
                errors
                    .push(Diagnostic::at(Some(&node.span), message).help("write `between: [low, high]`; both belong"));
                None
            }
        },
        "contains" => text(node, name, errors).map(|t| Condition::Contains(t.value)),
        "starts_with" => text(node, name, errors).map(|t| Condition::StartsWith(t.value)),
        "ends_with" => text(node, name, errors).map(|t| Condition::EndsWith(t.value)),
        "matches" => pattern(node, name, errors).map(Condition::Matches),
        "is_null" => boolean(node, name, errors).map(Condition::IsNull),
        _ => {
            let mut mistake = not_one_of(operator, "operator", &OPERATORS);
            mistake.message = format!("unknown operator `{}`", shown(name));
            errors.push(mistake);
            None
        }
    }
}

/// A regular expression that compiles within its limit.
fn pattern(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    let found = text(node, what, errors)?;
    match regex::RegexBuilder::new(&found.value).size_limit(limits::REGEX_BYTES).build() {
        Ok(_) => Some(found.value),
        Err(regex::Error::CompiledTooBig(_)) => {
            let message = format!("the regular expression needs more than {} bytes once compiled", limits::REGEX_BYTES);
            errors.push(found.mistake(message).help("use smaller repetitions"));
            None
        }
        Err(error) => {
            let reason = regex_reason(&error);
            let mistake = found.mistake(format!("`{}` is not a regular expression", shown(&found.value)));
            errors.push(mistake.help(format!("{reason}; the syntax is that of https://docs.rs/regex")));
            None
        }
    }
}

fn scalars(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Scalar>> {
    let items = list(node, what, errors)?;
    if items.is_empty() {
        let mistake = Diagnostic::at(Some(&node.span), format!("the list of `{}` is empty", shown(what)));
        errors.push(mistake.help("an empty list matches no row; name a value, or remove the filter"));
        return None;
    }
    if items.len() > limits::FILTER_VALUES {
        let message =
            format!("the list of `{}` has {} values, more than {}", shown(what), items.len(), limits::FILTER_VALUES);
        errors.push(Diagnostic::at(Some(&node.span), message));
        return None;
    }
    let values: Vec<Option<Scalar>> = items.iter().map(|item| scalar(item, what, errors)).collect();
    values.into_iter().collect()
}

/// A value with an order that people mean: a number or text, not a boolean.
fn ordered(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Scalar> {
    match scalar(node, what, errors)? {
        Scalar::Bool(value) => {
            let message = format!("`{}` compares numbers or text, found `{value}`", shown(what));
            errors.push(Diagnostic::at(Some(&node.span), message).help("use `eq` or `ne`"));
            None
        }
        value => Some(value),
    }
}

/// One value. Numbers that a double or 64 bits would change are refused rather than rounded.
fn scalar(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Scalar> {
    let mistake = match node.core_value() {
        _ if node.kind == Kind::Reported => return None,
        Some(CoreValue::Bool(value)) => return Some(Scalar::Bool(value)),
        Some(CoreValue::Text(text)) => return Some(Scalar::Text(text.to_owned())),
        Some(CoreValue::Integer(text)) => match integer_value(text).and_then(serde_json::Number::from_i128) {
            Some(number) => return Some(Scalar::Number(number)),
            None => inexact(node, text, "64 bits cannot hold it"),
        },
        Some(CoreValue::Float(text)) => match exact_double(text) {
            Some(number) => return Some(Scalar::Number(number)),
            None => inexact(node, text, "a double cannot hold all its digits"),
        },
        Some(CoreValue::NotFinite) => {
            Diagnostic::at(Some(&node.span), format!("`{}` cannot be compared with {}", shown(what), node.describe()))
                .help("infinities and NaN have no place in a filter")
        }
        Some(CoreValue::Null) => Diagnostic::at(Some(&node.span), format!("nothing equals null in `{}`", shown(what)))
            .help("write `{is_null: true}`, or \"null\" in quotes for the text"),
        None => Diagnostic::at(Some(&node.span), format!("`{}` takes values, found {}", shown(what), node.describe())),
    };
    errors.push(mistake);
    None
}

fn inexact(node: &Node, text: &str, why: &str) -> Diagnostic {
    Diagnostic::at(Some(&node.span), format!("the number {} would be changed: {why}", shown(text)))
        .help("write the condition in `where`, which keeps every digit, or write fewer digits")
}

/// The double that prints the same digits, if there is one.
fn exact_double(text: &str) -> Option<serde_json::Number> {
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() || significant(text)? != significant(&format!("{value:e}"))? {
        return None;
    }
    serde_json::Number::from_f64(value)
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit: equal for equal numbers.
fn significant(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut exponent: i64 = exponent.parse().ok()?;
    let unsigned = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let without_tail = digits.trim_end_matches('0');
    exponent = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(i64::try_from(digits.len() - without_tail.len()).ok()?)?;
    let digits = without_tail.trim_start_matches('0').to_owned();
    if digits.is_empty() { Some((false, digits, 0)) } else { Some((mantissa.starts_with('-'), digits, exponent)) }
}

impl JsonSchema for FilterSpec {
    fn schema_name() -> Cow<'static, str> {
        "Filter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let value = json_schema!({"type": ["string", "number", "boolean"]});
        let ordered = json_schema!({"type": ["string", "number"]});
        let values = json_schema!({"type": "array", "minItems": 1, "items": value});
        let part = json_schema!({"type": "string", "minLength": 1});
        json_schema!({
            "description": "A value (equals), a list of values (one of them), or operators that must all hold. \
                Only `is_null` matches nulls.",
            "anyOf": [
                value,
                values,
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": false,
                    "properties": {
                        "eq": {"description": "Equal.", "type": ["string", "number", "boolean"]},
                        "ne": {"description": "Not equal.", "type": ["string", "number", "boolean"]},
                        "lt": {"description": "Less than.", "type": ["string", "number"]},
                        "lte": {"description": "Less than or equal.", "type": ["string", "number"]},
                        "gt": {"description": "Greater than.", "type": ["string", "number"]},
                        "gte": {"description": "Greater than or equal.", "type": ["string", "number"]},
                        "in": {"description": "One of these values.", "type": "array", "minItems": 1, "items": value},
                        "not_in": {"description": "None of these values.", "type": "array", "minItems": 1, "items": value},
                        "between": {
                            "description": "From the first to the second value, both included.",
                            "type": "array", "minItems": 2, "maxItems": 2, "items": ordered,
                        },
                        "contains": {"description": "Has this text inside.", "type": "string", "minLength": 1},
                        "starts_with": {"description": "Starts with this text.", "type": "string", "minLength": 1},
                        "ends_with": {"description": "Ends with this text.", "type": "string", "minLength": 1},
                        "matches": {
                            "description": "Matches this Rust regular expression anywhere.",
                            "allOf": [part],
                        },
                        "is_null": {"description": "Is null, or is not.", "type": "boolean"},
                    },
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_keep_every_digit_or_are_refused() {
        for text in ["0.5", "1e3", "1.50", "-0.1", "0.0", "123456.789", "1e-7", "5e-324"] {
            assert!(exact_double(text).is_some(), "{text}");
        }
        for text in ["0.12345678901234567890", "9007199254740993.0", "1e999", "1e99999999999999999999"] {
            assert!(exact_double(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_number_loses_a_digit_in_silence(
            text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?|-?[0-9]{15,21}",
        ) {
            let source = std::sync::Arc::new(crate::diagnostic::SourceText { path: "spec.yaml".into(), text: text.clone() });
            let mut errors = Vec::new();
            match scalar(&crate::yaml::parse(&source).unwrap(), "n", &mut errors) {
                Some(Scalar::Number(number)) => prop_assert_eq!(significant(&number.to_string()), significant(&text)),
                Some(Scalar::Text(kept)) => prop_assert_eq!(kept, text),
                other => prop_assert!(other.is_none() && errors.len() == 1, "{:?}", other),
            }
        }
    }
}
