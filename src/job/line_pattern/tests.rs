use proptest::prelude::*;

use super::*;

/// What the `regex` crate alone finds.
fn oracle(pattern: &LinePattern, line: &str) -> Option<Vec<Option<String>>> {
    let found = pattern.regex.captures(line)?;
    let group = |name: &String| found.name(name).map(|group| group.as_str().to_owned());
    Some(pattern.columns.iter().map(group).collect())
}

fn columns(matcher: &mut LineMatcher, line: &str) -> Option<Vec<Option<String>>> {
    let columns = matcher.columns(line)?;
    Some(columns.map(|column| column.map(|range| line[range].to_owned())).collect())
}

/// Compares with the oracle. Whether the program alone decides about every line.
fn agrees(pattern: &LinePattern, lines: &[&str]) -> bool {
    let (mut matcher, mut decided) = (pattern.matcher(), true);
    for line in lines {
        assert_eq!(columns(&mut matcher, line), oracle(pattern, line), "{} on {line:?}", pattern.regex);
        let outcome = pattern.program.as_ref().map(|program| matcher.backtracker.run(program, line));
        decided &= outcome.is_some_and(|outcome| outcome != Outcome::Open);
    }
    decided
}

#[test]
fn patterns_of_logs_are_matched_as_regex_matches_them() {
    let quotes = r#"1 "a" "b" c" "d \" e""#;
    let access = r#"::1 - frank [05/Mar/2026:10:00:00 +0000] "GET /ä HTTP/1.1" 200 -"#;
    for (pattern, lines) in [
        (r"^(?<a>\S+) (?<b>\S+)$", vec!["x y", "x  y", "x y ", "ä\u{a0}b c", "ä b\u{2003}", "", " "]),
        (r#"^(?<a>\d) "(?<b>.*)" "(?<c>.*)"$"#, vec![quotes, r#"1 "a""#, r#"٣ "" """#]),
        (r#"^(?<a>\d) "(?<b>.*?)" "(?<c>.*?)"$"#, vec![quotes, r#"1 "a" "b"x"#]),
        (r#"^\d(?: "(?<b>[^"\\]*(?:\\.[^"\\]*)*)")+$"#, vec![r#"1 "d \" e" "f\\""#, r#"1 "d \"#, r#"1 "a"b"#]),
        (
            r#"^(?<ip>\S+) \S+ (?:-|(?<user>\S.*?)) \[(?<time>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d{3}) (?:-|(?<bytes>\d+))"#,
            vec![access, "::1 - - x", r#"::1 - -x y [t] "" 404 12 more"#, r#"::1 - - [t] "" 4044 1"#],
        ),
        (
            r"^(?:<(?<p>\d{1,3})>)?(?<t>[A-Z][a-z]{2})(?: (?<rest>.*))?$",
            vec!["<13>Mar x y", "Mar", "<1234>Mar", "Mars"],
        ),
        (r"(?i)^(?<level>err(?:or)?|warn|info)\b?:?", vec!["ERROR: x", "Err", "INFO:", "x"]),
        (r"(?<level>ERROR|INFO) (?<n>\d+)", vec!["at ERROR 12", "INFO 1", "INFO x INFO 2", "none"]),
        (r"^(?<k>\w+)=(?<v>[^;]*)(?:;(?<k2>\w+)=(?<v2>[^;]*))*$", vec!["a=1", "a=1;b=2;ç=3", "a=;b=", "a=1;b"]),
    ] {
        let pattern = LinePattern::new(pattern).unwrap();
        assert_eq!(agrees(&pattern, &lines), !pattern.regex.as_str().contains(r"\b"), "{}", pattern.regex);
    }
}

#[test]
fn what_a_program_does_not_express_is_left_to_regex() {
    for (pattern, lines) in [
        (r"^(?<a>\w+)\b", vec!["ab c", " "]),
        (r"(?m)^(?<a>\w+)$", vec!["ab", "a b"]),
        (r"^(?<a>(?:x*)*)y", vec!["xxy", "y", "x"]),
        (r"^(?<a>(?:ab|c){2000})$", vec!["ab", "c"]),
    ] {
        let pattern = LinePattern::new(pattern).unwrap();
        assert!(pattern.program.is_none(), "{}", pattern.regex);
        agrees(&pattern, &lines);
    }
    // Every end of the one run would be tried with every end of the other.
    let pattern = LinePattern::new("^(?<a>x*)(?<b>x*)(?<c>x*)y$").unwrap();
    assert!(!agrees(&pattern, &["x".repeat(200).as_str()]));
    assert!(agrees(&pattern, &["xxxxy"]));
}

/// Expressions of which most have several ways to match the same line, with the named groups `a`, `b` and so on.
fn expression() -> impl Strategy<Value = String> {
    let class =
        prop::sample::select(vec!["a", "b", " ", "ä", "[^a]", "[^ ]", r"\S", r"\w", ".", "[ab]", r"\d", "[aä0]"]);
    let count = prop::sample::select(vec!["", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{1,}?", "{0,2}?"]);
    let leaf = (class, count.clone()).prop_map(|(class, count)| format!("{class}{count}"));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            1 => (inner.clone(), count.clone()).prop_map(|(part, count)| format!("(?:{part}){count}")),
            2 => (inner.clone(), count.clone()).prop_map(|(part, count)| format!("(?<>{part}){count}")),
            2 => (inner.clone(), inner).prop_map(|(one, other)| format!("(?:{one}|{other})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 10 } else { 2000 }))]

    #[test]
    fn a_program_finds_what_regex_finds(
        expression in expression(), start in prop::sample::select(vec!["", "^"]), end in prop::sample::select(vec!["", "$"]),
        lines in prop::collection::vec("[abä0 \u{a0}]{0,12}", 1..8),
    ) {
        let mut names = 'b'..;
        let parts: Vec<_> = expression.split("(?<>").collect();
        let named = parts.join("\0");
        let named: String = named.chars().map(|c| match c {
            '\0' => format!("(?<{}>", names.next().unwrap()),
            c => c.to_string(),
        }).collect();
        let pattern = LinePattern::new(&format!("{start}(?<a>{named}){end}")).unwrap();
        agrees(&pattern, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn the_end_of_a_run_is_the_first_character_outside(
        set in prop::sample::select(vec![r"\S", "[^ ]", r#"[^"\\]"#, ".", r"\w", "[^a-f]", "[à-ÿ]", r"[^\]ä]"]),
        text in "([a-hA-H0-9\t ]|[\\]\"\\\\]|[ßäî\u{a0}\u{2003}]){0,40}", from in 0usize..8,
    ) {
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) =
            regex_syntax::parse(set).unwrap().into_kind() else { unreachable!() };
        let class = class::Class::new(&set);
        let from = text.char_indices().map(|(at, _)| at).nth(from).unwrap_or(text.len());
        let is_in = |c: char| set.ranges().iter().any(|range| (range.start()..=range.end()).contains(&c));
        let expected = text[from..].find(|c| !is_in(c)).map_or(text.len(), |at| from + at);
        prop_assert_eq!(class.run(&text, from), expected);
        prop_assert_eq!(class.character(&text, from).is_some(), expected > from);
    }
}
