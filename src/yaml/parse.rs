//! Events of `saphyr-parser` to a [`Node`] tree, within limits.
//!
//! A mistake of syntax ends the reading, because nothing after it can be trusted. Duplicate keys, tags and
//! keys that are not text are collected, because everything after them still can.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as Marks, StrInput, Tag};

use crate::diagnostic::{Diagnostic, Located, SourceText, Span, shown};
use crate::limits;
use crate::yaml::core_schema::{CoreValue, resolve_plain};
use crate::yaml::node::{Entry, Kind, Node, Text};

/// Reads the one document of a text.
///
/// # Errors
/// Every mistake that could be found; never empty. What could be read with duplicate keys and the like is not
/// given, since it is not known what was meant.
pub fn parse(source: &Arc<SourceText>) -> Result<Node, Vec<Diagnostic>> {
    if source.text.len() > limits::TEXT_BYTES {
        let span = Span { source: Arc::clone(source), start: 0, end: 0 };
        return Err(vec![
            Diagnostic::at(Some(&span), format!("the file is larger than {} bytes", limits::TEXT_BYTES))
                .help("a spec is some kilobytes of YAML; is this the right file?"),
        ]);
    }
    if let Some(bad) = unprintable(source) {
        return Err(vec![bad]);
    }
    let mut reader = Reader {
        source,
        parser: Parser::new_from_str(&source.text),
        offsets: Offsets::new(&source.text),
        anchors: HashMap::new(),
        nodes: 0,
        bytes: 0,
        errors: Vec::new(),
    };
    match reader.document() {
        Ok(node) if reader.errors.is_empty() => Ok(node),
        Ok(_) => Err(reader.errors),
        Err(fatal) => {
            // What was said of a line explains why it does not go on as YAML.
            let line = |d: &Diagnostic| d.span.as_ref().map(|s| s.line_column().0);
            if reader.errors.last().is_none_or(|last| line(last) != line(&fatal)) {
                reader.errors.push(fatal);
            }
            Err(reader.errors)
        }
    }
}

/// The first character that YAML 1.2.2 (section 5.1) does not allow in a text. The scanner lets most of them pass.
fn unprintable(source: &Arc<SourceText>) -> Option<Diagnostic> {
    let (start, c) = source.text.char_indices().find(|(_, c)| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || matches!(c, '\u{FFFE}' | '\u{FFFF}')
    })?;
    let span = Span { source: Arc::clone(source), start, end: start + c.len_utf8() };
    Some(
        Diagnostic::at(Some(&span), format!("control character U+{:04X} is not allowed in YAML", u32::from(c)))
            .help(format!("write it as \"\\u{:04x}\" inside double quotes", u32::from(c))),
    )
}

/// Character indexes, which the scanner counts, to byte offsets.
enum Offsets {
    /// One byte a character.
    Ascii(usize),
    /// Offset of each character, and of the end.
    Wide(Vec<usize>),
}

impl Offsets {
    fn new(text: &str) -> Self {
        if text.is_ascii() {
            Self::Ascii(text.len())
        } else {
            Self::Wide(text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect())
        }
    }

    fn byte(&self, index: usize) -> usize {
        match self {
            Self::Ascii(len) => index.min(*len),
            Self::Wide(offsets) => offsets.get(index).or(offsets.last()).copied().unwrap_or(0),
        }
    }
}

/// An anchored node and what one more copy of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
}

struct Reader<'s> {
    source: &'s Arc<SourceText>,
    parser: Parser<'s, StrInput<'s>>,
    offsets: Offsets,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    bytes: usize,
    errors: Vec<Diagnostic>,
}

impl<'s> Reader<'s> {
    fn document(&mut self) -> Result<Node, Diagnostic> {
        loop {
            match self.next()? {
                (Event::StreamStart, _) => {}
                (Event::DocumentStart(_), _) => break,
                (_, marks) => {
                    let span = self.span(marks);
                    return Err(Diagnostic::at(Some(&span), "the file is empty")
                        .help("a spec starts with `version: 1`, `name: …` and `type: …`"));
                }
            }
        }
        let (event, marks) = self.next()?;
        let root = self.node(event, marks, 0)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(_), marks) => {
                    let span = self.span(marks);
                    return Err(Diagnostic::at(Some(&span), "a second document starts here")
                        .help("one file holds one spec or catalog; put the other in a file of its own"));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Marks), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Marks::default())),
        }
    }

    fn span(&self, marks: Marks) -> Span {
        let start = self.offsets.byte(marks.start.index());
        let end = self.offsets.byte(marks.end.index()).max(start);
        // Ends of block scalars and of keys may reach over the line break; nobody wants a caret there.
        let end = self
            .source
            .text
            .get(start..end)
            .map_or(end, |written| start + written.trim_end_matches([' ', '\t', '\r', '\n']).len());
        Span { source: Arc::clone(self.source), start, end }
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let start = self.offsets.byte(error.marker().index());
        let span = Span { source: Arc::clone(self.source), start, end: start };
        if error.info().contains("recursion limit") {
            return too_deep(&span);
        }
        let diagnostic = Diagnostic::at(Some(&span), format!("this is not YAML: {}", error.info()));
        let line_start = self.source.text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let line = self.source.text.get(line_start..).and_then(|t| t.lines().next()).unwrap_or_default();
        if line.contains(": {{") || line.contains("- {{") {
            diagnostic.help("a value that starts with a template must be quoted: \"{{ … }}\"")
        } else if line.contains('\t') {
            diagnostic.help("YAML is indented with spaces, not with tabs")
        } else {
            diagnostic
        }
    }

    /// Takes account of one more node and its text.
    fn charge(&mut self, nodes: usize, bytes: usize, span: &Span) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        let over = if self.nodes > limits::NODES {
            format!("more than {} values", limits::NODES)
        } else if self.bytes > limits::EXPANDED_BYTES {
            format!("more than {} bytes of text", limits::EXPANDED_BYTES)
        } else {
            return Ok(());
        };
        Err(Diagnostic::at(Some(span), format!("the document has {over} once its aliases are expanded"))
            .help("repeat less: aliases of aliases multiply"))
    }

    fn node(&mut self, event: Event<'s>, marks: Marks, depth: usize) -> Result<Node, Diagnostic> {
        let span = self.span(marks);
        if depth > limits::DEPTH {
            return Err(too_deep(&span));
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        let (anchor, node) = match event {
            Event::Alias(anchor) => {
                let (node, nodes, bytes) = match self.anchors.get(&anchor) {
                    Some(anchored) => (anchored.node.clone(), anchored.nodes, anchored.bytes),
                    None => return Err(Diagnostic::at(Some(&span), "the alias stands inside the value it names")),
                };
                self.charge(nodes, bytes, &span)?;
                if depth + depth_of(&node) > limits::DEPTH {
                    return Err(too_deep(&span));
                }
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(1, text.len(), &span)?;
                let plain = style == ScalarStyle::Plain;
                let plain = self.scalar_tag(tag.as_deref(), &text, plain, &span);
                let text = Text { text: text.into_owned(), plain, before_template: None };
                (anchor, Node { kind: Kind::Scalar(text), span })
            }
            Event::SequenceStart(anchor, tag) => {
                self.charge(1, 0, &span)?;
                self.collection_tag(tag.as_deref(), "seq", &span);
                (anchor, self.sequence(span, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.charge(1, 0, &span)?;
                self.collection_tag(tag.as_deref(), "map", &span);
                (anchor, self.mapping(span, depth)?)
            }
            _ => return Err(Diagnostic::at(Some(&span), "this is not YAML: a value is missing")),
        };
        if anchor != 0 {
            let (nodes, bytes) = (self.nodes - nodes_before, self.bytes - bytes_before);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes });
        }
        Ok(node)
    }

    fn sequence(&mut self, start: Span, depth: usize) -> Result<Node, Diagnostic> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, marks) => {
                    let span = self.collection_span(&start, items.last().map(|n: &Node| n.span.end), marks);
                    return Ok(Node { kind: Kind::Sequence(items), span });
                }
                (event, marks) => items.push(self.node(event, marks, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node, Diagnostic> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, marks) => {
                    let span = self.collection_span(&start, entries.last().map(|e| e.value.span.end), marks);
                    return Ok(Node { kind: Kind::Mapping(entries), span });
                }
                (event, marks) => self.node(event, marks, depth + 1)?,
            };
            let (event, marks) = self.next()?;
            let value = self.node(event, marks, depth + 1)?;
            let Some(key) = self.key(key) else { continue };
            if seen.insert(key.value.clone()) {
                entries.push(Entry { key, value });
            } else {
                let first = entries.iter().find(|e| e.key.value == key.value).and_then(|e| e.key.span.as_ref());
                let line = first.map_or(0, |span| span.line_column().0);
                self.errors.push(
                    Diagnostic::at(key.span.as_ref(), format!("duplicate key `{}`", shown(&key.value)))
                        .help(format!("it is already on line {line}; keep one of them")),
                );
            }
        }
    }

    /// Keys are text, so that `1`, `true` and `null` never silently become names.
    fn key(&mut self, node: Node) -> Option<Located<String>> {
        match (&node.kind, node.core_value()) {
            (Kind::Scalar(scalar), Some(CoreValue::Text(_))) => {
                Some(Located { value: scalar.text.clone(), span: Some(node.span) })
            }
            (Kind::Scalar(_), _) => {
                let diagnostic =
                    Diagnostic::at(Some(&node.span), format!("a key must be text, found {}", node.describe()));
                self.errors.push(diagnostic.help("put it in quotes"));
                None
            }
            (kind, _) => {
                let diagnostic =
                    Diagnostic::at(Some(&node.span), format!("a key must be text, found {}", node.describe()));
                self.errors.push(if matches!(kind, Kind::Mapping(_)) {
                    diagnostic.help("a value that starts with a template must be quoted: \"{{ … }}\"")
                } else {
                    diagnostic
                });
                None
            }
        }
    }

    /// Flow collections end at their bracket, block collections with their last value.
    fn collection_span(&self, start: &Span, last: Option<usize>, end: Marks) -> Span {
        let is_flow = self.source.text.get(start.start..).is_some_and(|t| t.starts_with(['[', '{']));
        let end = if is_flow { self.offsets.byte(end.end.index()) } else { last.unwrap_or(start.end) };
        Span { source: Arc::clone(self.source), start: start.start, end: end.max(start.start) }
    }

    /// Whether a scalar is still plain after its tag: `!!str` makes it text, the other core tags must agree with it.
    fn scalar_tag(&mut self, tag: Option<&Tag>, text: &str, plain: bool, span: &Span) -> bool {
        let Some(tag) = tag else { return plain };
        let agrees = tag.is_yaml_core_schema()
            && match (tag.suffix.as_str(), resolve_plain(text)) {
                ("str", _) => return false,
                ("null", CoreValue::Null)
                | ("bool", CoreValue::Bool(_))
                | ("int", CoreValue::Integer(_))
                | ("float", CoreValue::Integer(_) | CoreValue::Float(_) | CoreValue::NotFinite) => true,
                ("null" | "bool" | "int" | "float", _) => {
                    let message = format!("`{}` is not what its tag `!!{}` says", shown(text), tag.suffix);
                    self.errors.push(Diagnostic::at(Some(span), message));
                    true
                }
                _ => false,
            };
        if !agrees {
            self.unknown_tag(tag, span);
        }
        true
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, expected: &str, span: &Span) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == expected)
        {
            self.unknown_tag(tag, span);
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, span: &Span) {
        let name = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        self.errors.push(
            Diagnostic::at(Some(span), format!("the tag `{}` is not supported", shown(&name)))
                .help("remove it; put text that starts with `!` in quotes"),
        );
    }
}

fn too_deep(span: &Span) -> Diagnostic {
    Diagnostic::at(Some(span), format!("lists and mappings nest deeper than {} levels", limits::DEPTH))
}

fn depth_of(node: &Node) -> usize {
    match &node.kind {
        Kind::Sequence(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Kind::Mapping(entries) => 1 + entries.iter().map(|e| depth_of(&e.value)).max().unwrap_or(0),
        Kind::Scalar(_) | Kind::Reported => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str) -> Arc<SourceText> {
        Arc::new(SourceText { path: "spec.yaml".into(), text: text.to_owned() })
    }

    fn messages(text: &str) -> Vec<String> {
        parse(&source(text)).map_or_else(|e| e.into_iter().map(|d| d.message).collect(), |_| Vec::new())
    }

    fn spans_hold(node: &Node) {
        let written = node.span.source.text.get(node.span.start..node.span.end).expect("a span lies in the text");
        match &node.kind {
            Kind::Scalar(t) if t.plain && !t.text.contains([' ', '\n']) && !t.text.is_empty() => {
                // A tag or an anchor belongs to the value.
                let value =
                    if written.starts_with(['&', '!']) { written.ends_with(&t.text) } else { written == t.text };
                assert!(value, "{written:?} is not {:?}", t.text);
            }
            Kind::Sequence(items) => items.iter().for_each(spans_hold),
            Kind::Mapping(entries) => {
                for entry in entries {
                    let span = entry.key.span.as_ref().expect("keys have places");
                    let key = span.source.text.get(span.start..span.end).expect("a span lies in the text");
                    if !key.contains(['"', '\'', '|', '>', '&', '!', '\n']) {
                        assert_eq!(key, entry.key.value);
                    }
                    spans_hold(&entry.value);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn spans_are_bytes_even_after_wide_characters() {
        let text = "# größe 💾\na: \"ü💾\" # ß\nb:\n  - größe\n  - {c: x, d: [e, 'ö', f]}\ng: |\n  ßß\n  t\nh: i\r\nj: >-\n  ä\n\n  b\nk: l\n";
        spans_hold(&parse(&source(text)).expect("valid"));
        let bom = "\u{feff}ä: b\nc: d\n";
        spans_hold(&parse(&source(bom)).expect("valid"));
    }

    #[test]
    fn an_alias_gives_the_anchored_value() {
        let node = parse(&source("a: &x {b: 1}\nc: *x\n")).expect("valid");
        let (a, c) = (node.entry("a").expect("a"), node.entry("c").expect("c"));
        assert_eq!(a.value.kind, c.value.kind);
    }

    #[test]
    fn an_alias_bomb_fails_by_count_and_by_size() {
        let mut by_count = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..20 {
            let alias = format!("*a{},", level - 1).repeat(10);
            by_count.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        assert_eq!(messages(&by_count), ["the document has more than 100000 values once its aliases are expanded"]);
        let by_size = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(20));
        assert_eq!(
            messages(&by_size),
            ["the document has more than 4194304 bytes of text once its aliases are expanded"]
        );
    }

    #[test]
    fn ten_thousand_levels_fail_in_every_notation() {
        let deep = ["lists and mappings nest deeper than 64 levels"];
        assert_eq!(messages(&"[".repeat(10_000)), deep);
        assert_eq!(messages(&"- ".repeat(10_000)), deep);
        assert_eq!(messages(&format!("a: {}", "{b: ".repeat(10_000))), deep);
        let block: String = (0..700).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert_eq!(messages(&block), deep);
        let mut aliases = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            aliases.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert_eq!(messages(&aliases), deep);
    }

    #[test]
    fn a_value_that_contains_itself_is_refused() {
        assert_eq!(messages("a: &x [*x]\n"), ["the alias stands inside the value it names"]);
    }

    #[test]
    fn duplicate_keys_tags_and_other_keys_are_all_reported() {
        let found = messages("a: 1\na: 2\nb: !secret x\n1: y\nc: !!int x\nd: !!str 1\n? [e]\n: f\n");
        assert_eq!(
            found,
            [
                "duplicate key `a`",
                "the tag `!secret` is not supported",
                "a key must be text, found the number `1`",
                "`x` is not what its tag `!!int` says",
                "a key must be text, found a list",
            ]
        );
    }

    #[test]
    fn a_second_document_is_refused() {
        assert_eq!(messages("---\na: 1\n---\nb: 2\n"), ["a second document starts here"]);
        assert!(messages("---\na: 1\n...\n").is_empty());
    }

    #[test]
    fn control_characters_are_refused_where_they_stand() {
        assert_eq!(messages("a: \u{1b}[31m\n"), ["control character U+001B is not allowed in YAML"]);
    }

    const SIGNS: [&str; 30] = [
        "- ",
        ": ",
        "\n",
        "  ",
        "a",
        "ü",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "&x ",
        "*x",
        "? ",
        "!!str ",
        "!t ",
        "#c",
        "---\n",
        "...\n",
        "\t",
        "\r\n",
        "%YAML 1.2\n",
        "\\",
        "\u{feff}",
        "\u{2028}",
        "<<",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            if let Ok(node) = parse(&source(&text)) {
                spans_hold(&node);
            }
        }

        #[test]
        fn nor_does_text_made_of_yaml_signs(parts in proptest::collection::vec(proptest::sample::select(SIGNS.to_vec()), 0..60)) {
            if let Ok(node) = parse(&source(&parts.concat())) {
                spans_hold(&node);
            }
        }
    }
}
