use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::diagnostic::{SourceText, Span};
use crate::query::Predicate;

fn schema() -> Schema {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    Schema::new(vec![
        Field::new("status", DataType::Utf8View, true),
        Field::new("model", DataType::Utf8View, true),
        Field::new("latency_ms", DataType::Int64, true),
        Field::new("cost_usd", DataType::Decimal128(12, 6), true),
        Field::new("score", DataType::Float64, true),
        Field::new("blocked", DataType::Boolean, true),
        Field::new("occurred_at", utc, true),
        Field::new("local_at", DataType::Timestamp(TimeUnit::Second, None), true),
        Field::new("day", DataType::Date32, true),
        Field::new("tags", list, true),
        Field::new("user", DataType::Utf8View, true),
        Field::new("größe", DataType::Int64, true),
    ])
}

/// Message, help, and the text that the span shows, of each mistake in a spec whose `where` is double-quoted.
fn mistakes(sql: &str) -> Vec<(String, String, String)> {
    let before = "where: \"";
    let text = format!("{before}{sql}\"\norder: time\n");
    let source = Arc::new(SourceText { path: "spec.yaml".into(), text });
    let span = Span { source, start: before.len() - 1, end: before.len() + sql.len() + 1 };
    let located = Located { value: sql.to_owned(), span: Some(span) };
    match Predicate::compile(&[], Some(&located), &schema()) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .into_iter()
            .map(|d| {
                let span = d.span.unwrap();
                (d.message, d.help.unwrap_or_default(), span.source.text[span.start..span.end].to_owned())
            })
            .collect(),
    }
}

#[track_caller]
fn one_mistake(sql: &str, message: &str, help: &str, shown: &str) {
    let found = mistakes(sql);
    let expected = vec![(message.to_owned(), help.to_owned(), shown.to_owned())];
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn what_people_write_is_allowed() {
    for sql in [
        "cost_usd > 0.5 AND model LIKE 'gpt%'",
        "status IN ('blocked', 'escalated') OR NOT (latency_ms BETWEEN 10 AND 1e3)",
        "occurred_at >= '2026-03-01T00:00:00Z' and occurred_at < TIMESTAMP '2026-04-01 00:00:00'",
        "occurred_at >= TIMESTAMP WITH TIME ZONE '2026-03-01 00:00:00+01' AND day <> DATE '2026-03-01'",
        "local_at < '2026-03-01T00:00:00'",
        "blocked AND blocked IS NOT FALSE AND blocked = (latency_ms > 1)",
        "(latency_ms + 1) * 2 % 3 <> -1 AND cost_usd / latency_ms < .5 AND -score < 1",
        "\"user\" = 'it''s' AND größe = 1 -- a comment",
        "tags IS NOT NULL AND (latency_ms IS NULL) IS TRUE",
        "model ILIKE '%GPT!_4%' ESCAPE '!'",
        "latency_ms IN (1, cost_usd, NULL)",
        "latency_ms = NULL",
        "1 = 1",
    ] {
        assert_eq!(mistakes(sql), [], "{sql}");
    }
}

#[test]
fn everything_else_is_refused_by_name_at_its_place() {
    for (sql, name, shown) in [
        ("status IN (SELECT x FROM read_csv('/etc/passwd'))", "a subquery", "status IN (SELECT x FROM read_csv"),
        ("EXISTS (SELECT 1)", "a subquery", ""),
        ("latency_ms > (SELECT 1)", "a subquery", ""),
        ("latency_ms > ANY(SELECT 1)", "ANY or ALL", ""),
        ("count(*) > 1", "the function `count`", ""),
        ("sum(latency_ms) > 1", "the function `sum`", ""),
        ("read_csv('/etc/passwd') IS NULL", "the function `read_csv`", ""),
        ("row_number() OVER (ORDER BY status) = 1", "a window function", ""),
        ("latency_ms IN UNNEST(ARRAY[1])", "UNNEST", ""),
        ("unnest(tags) = 1", "the function `unnest`", ""),
        ("latency_ms::text = '1'", "a cast", ""),
        ("CAST(latency_ms AS text) = '1'", "a cast", ""),
        ("CASE WHEN blocked THEN TRUE END", "CASE", ""),
        ("occurred_at > INTERVAL '1 day'", "INTERVAL", ""),
        ("local_at AT TIME ZONE 'UTC' > local_at", "AT TIME ZONE", ""),
        ("status COLLATE x = 'a'", "COLLATE", ""),
        ("status = $1", "a placeholder", "$1"),
        ("status = E'a'", "this kind of constant (write text in single quotes)", "E'a'"),
        ("status SIMILAR TO 'a'", "SIMILAR TO", ""),
        ("status IS DISTINCT FROM 'a'", "IS DISTINCT FROM", ""),
        ("blocked IS UNKNOWN", "IS UNKNOWN (use IS NULL)", ""),
        ("status ~ 'a'", "the operator `~`", "status ~ 'a'"),
        ("status || 'a' = 'b'", "the operator `||`", "status || 'a'"),
        ("latency_ms & 1 = 1", "the operator `&`", ""),
        ("substring(status, 1) = 'a'", "the function SUBSTRING", ""),
        ("extract(year from occurred_at) = 2026", "the function EXTRACT", ""),
        ("(status, model) = ('a', 'b')", "a list of values here", ""),
        ("TIME '12:00:00' = '12'", "TIME '…' (only DATE and TIMESTAMP)", ""),
    ] {
        let found = mistakes(sql);
        let (message, help, place) = found.first().unwrap_or_else(|| panic!("{sql} was allowed"));
        assert_eq!(*message, format!("`where` does not allow {name}"), "{sql}");
        assert_eq!(help, ALLOWED);
        if !shown.is_empty() {
            assert_eq!(place, shown, "{sql}");
        }
    }
}

#[test]
fn a_column_named_like_a_function_is_named_in_quotes() {
    one_mistake(
        "user = 'a'",
        "`where` does not allow the function `user`",
        "to name the column, write \"user\" in double quotes",
        "user",
    );
}

#[test]
fn an_unknown_column_is_shown_with_the_nearest() {
    let message = "the source has no column `latency`";
    let help = "the columns are: status, model, latency_ms, cost_usd, score, blocked, occurred_at, local_at, day, tags, \
                user, größe";
    one_mistake("latency > 1", message, help, "latency");
    one_mistake("metadata.email = 'a'", "the source has no column `metadata.email`", help, "metadata.email");
    one_mistake("Status = 'a'", "the source has no column `Status`", "did you mean `status`?", "Status");
    one_mistake(
        "größe > 1 AND latncy_ms = 1",
        "the source has no column `latncy_ms`",
        "did you mean `latency_ms`?",
        "latncy_ms",
    );
    let found = mistakes("status = \"blocked2\"");
    assert_eq!(found[0].1, "did you mean `blocked`?; use single quotes for text, and double quotes for columns only");
}

#[test]
fn types_that_do_not_go_together_are_reported_with_what_is_expected() {
    let number = "compare it with a number, without quotes";
    let text = "text is compared character by character, so that '10' is less than '9': to compare numbers, declare the column \
                of text in `schema` as number, float64 or decimal(p,s); to compare text, put the constant in quotes";
    for (sql, message, help) in [
        ("latency_ms > 'fast'", "`latency_ms` is int64 and cannot be compared with the text 'fast'", number),
        ("cost_usd = TRUE", "`cost_usd` is decimal(12,6) and cannot be compared with true", number),
        ("7 = status", "`status` is text and cannot be compared with the number 7", text),
        ("status = latency_ms", "`status` is text and cannot be compared with `latency_ms`, which is int64", text),
        (
            "occurred_at > 5",
            "`occurred_at` is timestamp and cannot be compared with the number 5",
            "compare it with a time in quotes, such as '2026-03-01T00:00:00Z'",
        ),
        (
            "occurred_at > 'yesterday'",
            "`occurred_at` is timestamp and cannot be compared with the text 'yesterday'",
            "compare it with a time in quotes, such as '2026-03-01T00:00:00Z'",
        ),
        (
            "local_at > '2026-03-01T00:00:00Z'",
            "`local_at` is timestamp without zone and cannot be compared with the text '2026-03-01T00:00:00Z'",
            "compare it with a time without offset, in quotes, such as '2026-03-01T00:00:00'",
        ),
        (
            "local_at = occurred_at",
            "`local_at` is timestamp without zone and cannot be compared with `occurred_at`, which is timestamp",
            "compare it with a time without offset, in quotes, such as '2026-03-01T00:00:00'",
        ),
        (
            "day = '2026-03-01T00:00:00Z'",
            "`day` is date and cannot be compared with the text '2026-03-01T00:00:00Z'",
            "compare it with a date in quotes, such as '2026-03-01'",
        ),
        (
            "blocked = 1",
            "`blocked` is bool and cannot be compared with the number 1",
            "compare it with true or false, without quotes",
        ),
        (
            "blocked < TRUE",
            "`blocked`, which is bool, has no order",
            "compare true and false with `=`, `<>` or `in` (in filters: eq, ne, in, not_in)",
        ),
        (
            "tags = 1",
            "`tags` is a list and cannot be compared with the number 1",
            "only `is_null` (in `where`: IS NULL, IS NOT NULL) can test it",
        ),
        ("1 < 'a'", "the number 1 and the text 'a' cannot be compared", "compare a column with a constant of its type"),
        (
            "(latency_ms > 1) = 5",
            "a condition cannot be compared with the number 5",
            "compare conditions with conditions, true or false",
        ),
        (
            "score > 1e999",
            "1e999 is beyond the range of `score`, which is float64",
            "the largest float64 is 1.7976931348623157e308",
        ),
        (
            "latency_ms + 1",
            "expected a condition (true or false), found `latency_ms + 1`, which is decimal(21,0)",
            "compare it with something",
        ),
        (
            "status + 1 > 2",
            "`+` needs numbers, found `status`, which is text",
            "arithmetic is for integer, decimal and float columns and numbers",
        ),
        ("latency_ms LIKE 'a%'", "`LIKE` needs a text column, not `latency_ms`, which is int64", number),
        (
            "status LIKE model",
            "`LIKE` needs a pattern in single quotes, found `model`, which is text",
            "as in: model LIKE 'gpt%'",
        ),
        (
            "status LIKE 'a!' ESCAPE '!'",
            "the pattern of `LIKE` is wrong: the pattern ends with its escape character",
            "double it to mean itself",
        ),
        ("status LIKE 'a' ESCAPE 'no'", "ESCAPE needs one character in single quotes", "as in: ESCAPE '!'"),
        ("latency_ms > 1L", "", ""),
    ] {
        let found = mistakes(sql);
        if message.is_empty() {
            assert_eq!(found.len(), 1, "{sql}");
        } else {
            assert_eq!(
                found.iter().map(|f| (f.0.as_str(), f.1.as_str())).collect::<Vec<_>>(),
                [(message, help)],
                "{sql}"
            );
        }
    }
}

#[test]
fn arithmetic_beyond_38_digits_is_found_when_it_is_written_or_when_it_happens() {
    let product = ["cost_usd"; 7].join(" * ");
    let found = mistakes(&format!("{product} > 1"));
    assert!(found[0].0.contains("leaves the range of exact numbers, which is 38 digits"), "{found:?}");

    let schema = schema();
    let sql = Located::default_value("latency_ms * latency_ms * latency_ms > 0".to_owned());
    let predicate = Predicate::compile(&[], Some(&sql), &schema).unwrap().unwrap();
    let rows = RecordBatch::try_from_iter([("latency_ms", Arc::new(Int64Array::from(vec![i64::MAX])) as ArrayRef)]);
    let error = predicate.evaluate(&rows.unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the arithmetic in `where` exceeds 38 digits; divide or compare smaller terms");
    assert_eq!(error.code(), crate::error::ErrorCode::QueryFailed);
}

#[test]
fn syntax_errors_say_what_was_expected_and_show_where() {
    for (sql, message, shown) in [
        ("status =", "`where` is not a SQL condition: expected an expression, found EOF", ""),
        ("", "`where` is not a SQL condition: expected an expression, found EOF", ""),
        ("status = 'a' model", "`where` is not a SQL condition: `model` does not continue it", "m"),
        ("status = 'a'; DROP TABLE x", "`where` is not a SQL condition: `;` does not continue it", ";"),
        ("status = 'a", "`where` is not a SQL condition: Unterminated string literal", "'"),
        ("status IN ('a'", "`where` is not a SQL condition: expected ), found EOF", ""),
    ] {
        let found = mistakes(sql);
        assert_eq!(found.len(), 1, "{sql}: {found:?}");
        assert!(found[0].0.starts_with(message), "{sql}: {}", found[0].0);
        if !shown.is_empty() {
            assert_eq!(found[0].2, shown, "{sql}");
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = mistakes("latncy_ms > 1 AND (status > 5 OR count(*) > 2) AND blocked = 'x'");
    let messages: Vec<_> = found.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the source has no column `latncy_ms`",
            "`status` is text and cannot be compared with the number 5",
            "`where` does not allow the function `count`",
            "`blocked` is bool and cannot be compared with the text 'x'",
        ]
    );
}

/// The texts shown for the mistakes of the spec's `where`, read from YAML.
fn shown_in(spec: &str) -> Vec<String> {
    let source = Arc::new(SourceText { path: "spec.yaml".into(), text: spec.into() });
    let root = crate::yaml::parse(&source).unwrap();
    let node = &root.entry("where").unwrap().value;
    let located = crate::yaml::decode::text(node, "where", &mut Vec::new()).unwrap();
    let found = Predicate::compile(&[], Some(&located), &schema()).unwrap_err();
    found.iter().map(|d| d.span.as_ref().map(|s| s.source.text[s.start..s.end].to_owned()).unwrap()).collect()
}

#[test]
fn a_mistake_in_a_text_of_many_lines_is_shown_at_its_word() {
    for style in ["|", ">", "|-", ">+ # why", "|2"] {
        let spec =
            format!("where: {style}\n  status  = 'a  b'\n  AND latncy_ms = 1\n  AND größe = 'x'\n\norder: time\n");
        assert_eq!(shown_in(&spec), ["latncy_ms", "größe = 'x'"], "{spec}");
    }
    assert_eq!(shown_in("where: status = 'a'\n   AND latncy_ms = 1\norder: time\n"), ["latncy_ms"]);
    assert_eq!(shown_in("where: \"status = 'a'\n   AND latncy_ms = 1\"\n"), ["latncy_ms"]);
    assert_eq!(shown_in("where: |\n  status = 'a'\n  AND latency_ms = = 1\n"), ["="]);
    assert_eq!(shown_in("where: |\n  status = 'a' AND\n  latency_ms\n  = 'x'\n"), ["latency_ms\n  = 'x'"]);
}

#[test]
fn a_text_with_escapes_is_shown_as_a_whole_and_the_message_says_the_line() {
    let text = "where: \"status = 'a'\\nAND latncy_ms = = 1\"\n";
    let source = Arc::new(SourceText { path: "spec.yaml".into(), text: text.into() });
    let span = Some(Span { source, start: 7, end: text.len() - 1 });
    let located = Located { value: "status = 'a'\nAND latncy_ms = = 1".to_owned(), span: span.clone() };
    let found = Predicate::compile(&[], Some(&located), &schema()).unwrap_err();
    assert_eq!(found[0].span, span);
    assert!(found[0].message.ends_with("at line 2, column 17 of the condition"), "{}", found[0].message);
}

#[test]
fn deep_or_long_texts_are_refused_and_do_not_overflow_the_stack() {
    let deep = |open: &str, close: &str, n: usize| format!("{}status = 'a'{}", open.repeat(n), close.repeat(n));
    for (sql, message) in [
        (deep("(", ")", 10_000), "words and operators, more than the 2000 allowed"),
        (deep("(", ")", 900), "nested more than 64 levels deep"),
        // Here the parser falls back to a column called NOT before it gives up.
        (deep("NOT ", "", 1_900), "is not a SQL condition"),
        (deep("NOT (", ")", 600), ""),
        ("(".repeat(1_999), "nested more than 64 levels deep"),
        ("(".repeat(60), "is not a SQL condition"),
        (format!("{}1", "- ".repeat(1_900)), "nested more than 64 levels deep"),
        (format!("1 = 1{}", " + 1".repeat(1_900)), "nested more than 64 levels deep"),
        (format!("status{}", " IS NULL".repeat(900)), "nested more than 64 levels deep"),
        (format!("status{}", "::text".repeat(900)), "does not allow a cast"),
        (format!("'{}' = status", "x".repeat(70_000)), "more than the 65536 allowed"),
        (format!("(blocked{}) + 1 = 2", " OR blocked".repeat(900)), "`+` needs numbers, found a condition"),
        (format!("{}1", "f(".repeat(900)), "nested more than 64 levels deep"),
        (format!("{}1", "CASE WHEN ".repeat(600)), "is not a SQL condition"),
        (format!("{}1", "(SELECT ".repeat(600)), "nested more than 64 levels deep"),
    ] {
        let found = mistakes(&sql);
        assert!(found.first().is_some_and(|f| f.0.contains(message)), "{}…: {found:?}", &sql[..40]);
    }
    for n in [1, 30, 60] {
        assert_eq!(mistakes(&deep("(", ")", n)), [], "{n} brackets");
    }
    assert_eq!(mistakes(&deep("NOT (", ")", 25)), []);
}

#[test]
fn the_deepest_condition_that_is_allowed_can_be_evaluated() {
    let mut sql = "latency_ms = 5".to_owned();
    for i in 0..12 {
        sql = format!("(({sql}) IS NOT TRUE OR latency_ms = {i})");
    }
    let sum = format!("{}latency_ms{} > 1", "(".repeat(28), " + 1)".repeat(28));
    let rows = Arc::new(Int64Array::from(vec![Some(5), None, Some(70)])) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("latency_ms", rows)]).unwrap();
    for sql in [sql, sum] {
        let predicate = Predicate::compile(&[], Some(&Located::default_value(sql)), &schema()).unwrap().unwrap();
        // The default stack of a thread, as workers have it.
        std::thread::scope(|s| s.spawn(|| predicate.evaluate(&rows).unwrap()).join().unwrap());
    }
}

#[test]
fn long_chains_and_lists_are_allowed() {
    let chain: Vec<_> = (0..400).map(|i| format!("latency_ms <> {i}")).collect();
    let list: Vec<_> = (0..8_000).map(|i| i.to_string()).collect();
    let rows = RecordBatch::try_from_iter([(
        "latency_ms",
        Arc::new(Int64Array::from(vec![Some(5), None, Some(7_999), Some(9_000)])) as ArrayRef,
    )])
    .unwrap();
    for (sql, expected) in [
        (chain.join(" AND "), [false, false, true, true]),
        (format!("latency_ms IN ({})", list.join(",")), [true, false, true, false]),
    ] {
        let located = Located::default_value(sql);
        let predicate = Predicate::compile(&[], Some(&located), &schema()).unwrap().unwrap();
        assert_eq!(predicate.evaluate(&rows).unwrap().kept(), &BooleanBuffer::from(expected.to_vec()));
    }
}

#[test]
fn ilike_and_escape_match_as_documented() {
    let rows = RecordBatch::try_from_iter([
        ("status", Arc::new(StringViewArray::from(vec!["ÄB_C", "äb1c", "a%", "x\nY"])) as ArrayRef),
        ("cost_usd", Arc::new(Decimal128Array::from(vec![0; 4]).with_precision_and_scale(12, 6).unwrap()) as ArrayRef),
    ])
    .unwrap();
    for (sql, expected) in [
        ("status ILIKE 'äb_c'", [true, true, false, false]),
        ("status ILIKE 'äb!_c' ESCAPE '!'", [true, false, false, false]),
        ("status LIKE 'a!%' ESCAPE '!'", [false, false, true, false]),
        ("status ILIKE 'X%y'", [false, false, false, true]),
        ("status ILIKE 'X_y' AND cost_usd = 0", [false, false, false, true]),
    ] {
        let predicate = Predicate::compile(&[], Some(&Located::default_value(sql.to_owned())), &schema());
        let selected = predicate.unwrap().unwrap().evaluate(&rows).unwrap();
        assert_eq!(selected.kept(), &BooleanBuffer::from(expected.to_vec()), "{sql}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(sql in "[ -~äß\n]{0,60}") {
        mistakes(&sql);
    }

    #[test]
    fn no_sequence_of_words_panics(words in prop::collection::vec(prop::sample::select(vec![
        "status", "latency_ms", "blocked", "1", "1.5", "'a'", "(", ")", "AND", "OR", "NOT", "IN", ",", "BETWEEN", "LIKE",
        "ESCAPE", "IS", "NULL", "TRUE", "=", "<", "+", "-", "/", "%", "SELECT", "CASE", "DATE", "TIMESTAMP", "::", "[", "]",
        "INTERVAL", "ARRAY", "f(", "*", ".", "\\", "\"", "ANY", "EXISTS",
    ]), 0..16)) {
        mistakes(&words.join(" "));
    }
}
