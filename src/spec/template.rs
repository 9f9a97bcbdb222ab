//! Templates in text values: minijinja, cut down to what a value needs.
//!
//! A template may come from an unreviewed pull request, so rendering must end soon and stay small. Fuel bounds
//! instructions but not what one instruction makes (`{% set a = a ~ a %}` forty times is a terabyte), so what could let
//! text grow from text is left out: assignments, loops, macros, `*`, and all filters but a few. What remains is linear
//! in the template, which is bounded itself. Values see six names and nothing of the environment.

use std::collections::BTreeMap;
use std::io::Write;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, filters, tests};

use crate::diagnostic::{Diagnostic, Span, nearest, shown};
use crate::limits;
use crate::yaml::{CoreValue, Entry, Kind, Node, Text};

/// What a name means to a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// One text.
    Text(String),
    /// Names below it; `None` where the value has a mistake of its own, already reported.
    Names(BTreeMap<String, Option<String>>),
    /// Not known yet where this value is rendered.
    Later,
    /// Has a mistake of its own, already reported; so nothing is said of values that use it.
    Reported,
}

/// The names that templates know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    names: BTreeMap<&'static str, Known>,
}

const NAMES: [&str; 6] = ["format", "labels", "name", "type", "vars", "window"];
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "raw", "endraw"];
const FILTERS: &str = "default, lower, replace, trim, upper";

impl Default for Context {
    fn default() -> Self {
        Self { names: NAMES.iter().map(|name| (*name, Known::Later)).collect() }
    }
}

impl Context {
    /// Says what one of the six names means.
    pub fn set(&mut self, name: &'static str, known: Known) {
        self.names.insert(name, known);
    }

    fn value(&self) -> Value {
        let value = |known: &Known| match known {
            Known::Text(text) => Some(Value::from(text.as_str())),
            Known::Names(names) => {
                Some(Value::from_pairs(names.iter().filter_map(|(name, v)| Some((name.as_str(), v.as_deref()?)))))
            }
            Known::Later | Known::Reported => None,
        };
        Value::from_pairs(self.names.iter().filter_map(|(name, known)| Some((*name, value(known)?))))
    }

    /// Checks a dotted name that a template uses. `Err(None)` where its mistake is already reported.
    fn check(&self, used: &str) -> Result<(), Option<(String, String)>> {
        let (root, below) = used.split_once('.').map_or((used, None), |(root, below)| (root, Some(below)));
        let below = below.map(|b| b.split('.').next().unwrap_or(b));
        let undefined = || format!("undefined variable `{}` in the template", shown(used));
        match (self.names.get(root), below) {
            (Some(Known::Reported), _) => Err(None),
            (Some(Known::Later), _) => Err(Some((
                format!("`{}` is not known here", shown(used)),
                "`vars` are known everywhere but in `vars`; `name` and `type` everywhere but there; `format`, `labels` \
                 and `window` once these three are read"
                    .to_owned(),
            ))),
            (Some(Known::Names(names)), Some(below)) => match names.get(below) {
                Some(Some(_)) => Ok(()),
                Some(None) => Err(None),
                None => Err(Some((
                    undefined(),
                    match nearest(below, names.keys().map(String::as_str)) {
                        Some(name) => format!("did you mean `{root}.{name}`?"),
                        None if names.is_empty() => format!("declare it under `{root}`"),
                        None => {
                            let names: Vec<&str> = names.keys().map(String::as_str).collect();
                            format!("known below `{root}`: {}", shown(&names.join(", ")))
                        }
                    },
                ))),
            },
            (Some(_), _) => Ok(()),
            (None, _) => Err(Some((
                undefined(),
                match nearest(root, NAMES) {
                    Some(name) => {
                        format!("did you mean `{name}{}`?", below.map(|b| format!(".{}", shown(b))).unwrap_or_default())
                    }
                    None => "known: name, type, format, labels.*, vars.*, window.start, window.end, window.label".to_owned(),
                },
            ))),
        }
    }
}

/// A copy of a tree with the templates of all its text values rendered.
///
/// A value whose template has a mistake becomes [`Kind::Reported`].
pub fn render(node: &Node, context: &Context, errors: &mut Vec<Diagnostic>) -> Node {
    let kind = match &node.kind {
        Kind::Sequence(items) => Kind::Sequence(items.iter().map(|item| render(item, context, errors)).collect()),
        Kind::Mapping(entries) => Kind::Mapping(
            entries
                .iter()
                .map(|entry| Entry { key: entry.key.clone(), value: render(&entry.value, context, errors) })
                .collect(),
        ),
        Kind::Scalar(scalar) => match (node.core_value(), first_template(&scalar.text)) {
            (Some(CoreValue::Text(text)), Some(start)) => match render_text(text, &node.span, context, errors) {
                // What a template gives is text, whatever it looks like.
                Some(rendered) => {
                    // `{{-` takes the blanks before it away.
                    let trusted = text.get(..start).unwrap_or_default();
                    let before = if rendered.starts_with(trusted) { start } else { trusted.trim_end().len() };
                    Kind::Scalar(Text { text: rendered, plain: false, before_template: Some(before) })
                }
                None => Kind::Reported,
            },
            _ => node.kind.clone(),
        },
        Kind::Reported => Kind::Reported,
    };
    Node { kind, span: node.span.clone() }
}

fn first_template(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].iter().filter_map(|opening| text.find(opening)).min()
}

fn render_text(text: &str, span: &Span, context: &Context, errors: &mut Vec<Diagnostic>) -> Option<String> {
    if let Err(mistake) = check_form(text, span) {
        errors.push(mistake);
        return None;
    }
    let environment = environment();
    let template = match environment.template_from_str(text) {
        Ok(template) => template,
        Err(error) => {
            errors.push(explain(&error, span));
            return None;
        }
    };
    let mut used: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    used.sort_unstable();
    let mut is_sound = true;
    for name in used {
        if let Err(mistake) = context.check(&name) {
            is_sound = false;
            errors.extend(mistake.map(|(message, help)| Diagnostic::at(Some(&part(span, &name)), message).help(help)));
        }
    }
    if !is_sound {
        return None;
    }
    let mut output = Bounded(Vec::new());
    match template.render_captured_to(context.value(), &mut output) {
        Ok(_) => String::from_utf8(output.0).ok(),
        Err(error) => {
            errors.push(explain(&error, span));
            None
        }
    }
}

/// What can be refused by looking at the text alone. Signs inside string literals are refused too: telling them
/// apart would need a second parser, and a wrong guess would cost the bound.
fn check_form(text: &str, span: &Span) -> Result<(), Diagnostic> {
    if text.len() > limits::TEMPLATE_BYTES {
        let message = format!("the template is longer than {} bytes", limits::TEMPLATE_BYTES);
        return Err(Diagnostic::at(Some(span), message).help("split the text, or write it without a template"));
    }
    for (at, _) in text.match_indices("{%") {
        let tag = text.get(at + 2..).unwrap_or_default().trim_start_matches(['-', '+']).trim_start();
        let word = tag.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        if !STATEMENTS.contains(&word) {
            let message = format!("`{{% {} %}}` is not allowed in a template", shown(word));
            return Err(Diagnostic::at(Some(&part(span, word)), message)
                .help("use `{{ … }}` and `{% if … %}`; there are no loops, assignments or macros"));
        }
    }
    let inside = first_template(text).and_then(|start| {
        let end = ["}}", "%}"].iter().filter_map(|closing| text.rfind(closing)).max()?;
        text.get(start..end)
    });
    if inside.is_some_and(|inside| inside.contains('*')) {
        return Err(Diagnostic::at(Some(&part(span, "*")), "`*` is not allowed in a text with templates"));
    }
    Ok(())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.add_filter("default", filters::default);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("replace", replace);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("endingwith", tests::is_endingwith);
    environment
}

/// The usual filter, which is the one that lets text grow, within the limit of rendered text.
fn replace(value: &str, from: &str, to: &str) -> Result<String, minijinja::Error> {
    let size = value.matches(from).count().saturating_mul(to.len()).saturating_add(value.len());
    if size > limits::RENDERED_BYTES {
        return Err(minijinja::Error::new(ErrorKind::WriteFailure, "too large"));
    }
    Ok(value.replace(from, to))
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > limits::RENDERED_BYTES {
            return Err(std::io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn explain(error: &minijinja::Error, span: &Span) -> Diagnostic {
    let detail = error.detail().unwrap_or_default();
    let at = |message: String| Diagnostic::at(Some(span), message);
    match error.kind() {
        ErrorKind::OutOfFuel => at(format!("the template runs for more than {} steps", limits::TEMPLATE_FUEL)),
        ErrorKind::WriteFailure => at(format!("the template gives more than {} bytes", limits::RENDERED_BYTES)),
        ErrorKind::UnknownFilter => {
            at(format!("the template is wrong: {}", shown(detail))).help(format!("filters: {FILTERS}"))
        }
        ErrorKind::UnknownTest => {
            at(format!("the template is wrong: {}", shown(detail))).help("tests: defined, startingwith, endingwith")
        }
        ErrorKind::UndefinedError => at("the template uses an undefined value".to_owned())
            .help("known: name, type, format, labels.*, vars.*, window.start, window.end, window.label"),
        kind if detail.is_empty() => at(format!("the template is wrong: {kind}")),
        _ => at(format!("the template is wrong: {}", shown(detail))),
    }
}

/// The place of a word inside a value, where the value's text in the file has it.
fn part(span: &Span, word: &str) -> Span {
    let written = span.source.text.get(span.start..span.end).unwrap_or_default();
    match written.find(word) {
        Some(at) if !word.is_empty() => {
            Span { source: span.source.clone(), start: span.start + at, end: span.start + at + word.len() }
        }
        _ => span.clone(),
    }
}

#[cfg(test)]
mod tests_of_templates {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::SourceText;
    use proptest::prelude::*;

    fn rendered(text: &str) -> Result<String, Vec<String>> {
        let mut context = Context::default();
        context.set("name", Known::Text("monthly".to_owned()));
        context.set("vars", Known::Names([("region".to_owned(), Some("eu".to_owned()))].into()));
        context.set("labels", Known::Names(BTreeMap::new()));
        context.set("window", Known::Reported);
        let source = Arc::new(SourceText { path: "spec.yaml".into(), text: text.to_owned() });
        let span = Span { source, start: 0, end: text.len() };
        let node =
            Node { kind: Kind::Scalar(Text { text: text.to_owned(), plain: false, before_template: None }), span };
        let mut errors = Vec::new();
        match render(&node, &context, &mut errors).kind {
            Kind::Scalar(scalar) => Ok(scalar.text),
            _ => Err(errors.into_iter().map(|e| e.message).collect()),
        }
    }

    #[test]
    fn names_filters_and_conditions_work() {
        assert_eq!(rendered("a/{{ name }}/{{ vars.region | upper }}/"), Ok("a/monthly/EU/".to_owned()));
        assert_eq!(rendered("{% if vars.region == 'eu' %}x{% else %}y{% endif %}"), Ok("x".to_owned()));
        assert_eq!(rendered("{{ name | replace('monthly', 'm') }}\n"), Ok("m\n".to_owned()));
        assert_eq!(rendered("{% raw %}{{ x }}{% endraw %}"), Ok("{{ x }}".to_owned()));
        assert_eq!(rendered("no template {x}"), Ok("no template {x}".to_owned()));
    }

    #[test]
    fn what_is_undefined_is_a_mistake_even_where_it_is_not_reached() {
        assert_eq!(rendered("{{ nmae }}"), Err(vec!["undefined variable `nmae` in the template".to_owned()]));
        assert_eq!(
            rendered("{% if name == 'x' %}{{ vars.regoin }}{% endif %}"),
            Err(vec!["undefined variable `vars.regoin` in the template".to_owned()])
        );
        assert_eq!(rendered("{{ type }}"), Err(vec!["`type` is not known here".to_owned()]));
        assert_eq!(rendered("{{ vars['x'] }}"), Err(vec!["the template uses an undefined value".to_owned()]));
    }

    #[test]
    fn a_value_that_uses_a_reported_mistake_adds_none() {
        assert_eq!(rendered("{{ window.label }}"), Err(vec![]));
    }

    #[test]
    fn loops_and_growth_are_refused() {
        for text in [
            "{% for i in range(1000000000) %}x{% endfor %}",
            "{%- set a = 'x' -%}{{ a }}",
            "{%\nmacro m() %}{% endmacro %}",
            "{{ 'x' * 100000000 }}",
            "{{ '}}' * 100000000 ~ '}}' }}",
            "{{ name | indent(100000000) }}",
            "{{ name | center(100000000) }}",
            "{{ range(10) }}",
            &format!("{{{{ name {} }}}}", "| replace('m', 'mmmmmmmmmmmmmmmm')".repeat(20)),
            &format!("{{{{ name }}}}{}", "x".repeat(5000)),
        ] {
            let errors = rendered(text).expect_err(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        }
    }

    const SIGNS: [&str; 26] = [
        "{{", "}}", "{%", "%}", "{#", "#}", " name ", "vars", ".", "'", "|", "upper", "if ", "endif", "(", "[", "-",
        "1", "~", "//", "ü", "not ", "in ", ":", "]", ")",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_template_panics(parts in proptest::collection::vec(proptest::sample::select(SIGNS.to_vec()), 0..30)) {
            let _ = rendered(&parts.concat());
        }
    }
}
