//! `vars`: what templates may take from outside, declared in the spec.
//!
//! Templates see no environment but this, so a review of the spec shows everything that can change a package.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::diagnostic::{Diagnostic, Located, shown};
use crate::yaml::decode::{Fields, Keys, any_text, mapping, text};
use crate::yaml::{CoreValue, Node};

/// One variable.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename = "Variable", deny_unknown_fields)]
pub struct VarSpec {
    /// Name of the environment variable that gives the value.
    pub env: Option<Located<String>>,
    /// The value when neither `--var` nor the environment gives one.
    pub default: Option<Located<String>>,
    /// The variable's name, where it is declared.
    #[schemars(skip)]
    pub name: Located<String>,
}

/// Keys of one variable.
pub(super) const VAR_KEYS: Keys = Keys { known: &["env", "default"] };

/// Reads `vars`.
pub(crate) fn decode(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<BTreeMap<String, VarSpec>> {
    let mut vars = BTreeMap::new();
    for entry in mapping(node, "vars", errors)? {
        let name = entry.key.value.as_str();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            let mistake = entry.key.mistake(format!("`{}` cannot be the name of a variable", shown(name)));
            errors.push(
                mistake.help("use letters, digits and `_`, and start with a letter: templates write `vars.name`"),
            );
            continue;
        }
        let Some(span) = entry.key.span.as_ref() else { continue };
        if let Some(fields) = Fields::open(&entry.value, span, name, VAR_KEYS, errors) {
            let env = fields.optional("env", errors, text);
            let default = fields.optional("default", errors, value_text);
            vars.insert(name.to_owned(), VarSpec { env, default, name: entry.key.clone() });
        }
    }
    Some(vars)
}

/// The text of a number or of text: what a variable becomes is always text.
fn value_text(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<Located<String>> {
    match node.core_value() {
        Some(CoreValue::Integer(value) | CoreValue::Float(value)) => {
            Some(Located { value: value.to_owned(), span: Some(node.span.clone()) })
        }
        _ => any_text(node, what, errors),
    }
}

/// The values of declared variables: `--var`, else the environment, else the default.
///
/// A variable without any value is a mistake, whether or not a template uses it.
pub(crate) fn values(
    vars: &BTreeMap<String, VarSpec>,
    given: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, var) in vars {
        let from_environment = var.env.as_ref().and_then(|env| environment.get(&env.value));
        let default = var.default.as_ref().map(|d| &d.value);
        match given.get(name).or(from_environment).or(default) {
            Some(value) => {
                values.insert(name.clone(), value.clone());
            }
            None => {
                let mistake = var.name.mistake(format!("the variable `{name}` has no value"));
                errors.push(mistake.help(match &var.env {
                    Some(env) => format!("set {} or give `--var {name}=…`, or declare a `default`", shown(&env.value)),
                    None => format!("give `--var {name}=…`, or declare a `default`"),
                }));
            }
        }
    }
    values
}
