//! Rows inside documents, in JSON and in NDJSON.

use super::*;

const NESTED: &str = "r[].s service=r[].o.n k=k";

/// What a file gives in the schema of all its rows; bad rows are rejected.
fn given(fixture: &Fixture, records: &str, block_bytes: usize) -> (Inspection, Given) {
    let found = facts_of(fixture, Some(records), block_bytes);
    let schema = facts(fixture, Some(records)).evidence.finish(&[], SchemaDrift::Widen).unwrap().arrow;
    let given = give(request(fixture, schema, OnBad::Reject, Some(records)), block_bytes);
    (found, given)
}

fn columns(given: &Given) -> Vec<String> {
    given.batches[0].schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn a_rejected_row_is_the_element_or_the_line_as_it_stood() {
    let text = "{\"k\":1,\"r\":[{\"s\":[{\"t\":\"2026-03-01T00:00:00Z\"}, 5 ,{\"a\" : 1,\"a\":2}],\"o\":{\"n\":\"x\"}}]}\r\n\
        \n{\"r\":[{\"s\":[{\"k\":1},{\"a\":3}]}]}\n{\"r\":[{}]}\n[{\"r\":[]}]\n{\"r\":[{\"s\":[{\"a\":1}]}]\n{\"r\":[],\"x\":\"\u{e9}\"}\n";
    let (found, read) = given(&lines(text.as_bytes()), NESTED, BLOCK_BYTES);
    assert_eq!(found.facts.problem, None);
    assert_eq!((found.facts.units[0].rows, found.facts.units[0].unplaced_rows), (Some(8), Some(7)));
    assert_eq!(columns(&read), ["service", "k", "t", "a"]);
    assert_eq!(read.positions, [1, 3]);
    let rejects: Vec<_> = read.rejects.iter().map(|r| (r.position, std::str::from_utf8(&r.raw).unwrap())).collect();
    let raw = [
        (1, "5"),
        (1, "{\"a\" : 1,\"a\":2}"),
        (3, "{\"k\":1}"),
        (4, "{\"r\":[{}]}"),
        (5, "[{\"r\":[]}]"),
        (6, "{\"r\":[{\"s\":[{\"a\":1}]}]"),
    ];
    assert_eq!(rejects, raw);
    let errors: Vec<&str> = read.rejects.iter().map(|r| r.error.as_str()).collect();
    assert_eq!(
        errors,
        [
            "a row must be a JSON object",
            "the key `a` appears twice in one object, so one of its values would be lost",
            "the row has a field `k` of its own: choose another name in `source.keep`",
            "the line has no array at `r[].s`: `s` is missing in element 1 of `r`; check `records`",
            "the line has no array at `r[].s`: it is not an object; check `records`",
            "not JSON at byte 23: the text ends inside an object or array",
        ]
    );
    let skipped: Vec<String> = found.evidence.finish(&[], SchemaDrift::Widen).unwrap().unexported_keys;
    assert_eq!(skipped, ["x"]);

    // In a file of documents, the same elements are rejected, with their numbers.
    let document = text.lines().take(3).collect::<Vec<_>>().join("\n");
    let (found, read) = given(&self::document(document.as_bytes()), NESTED, BLOCK_BYTES);
    assert_eq!(found.facts.problem, None);
    assert_eq!(read.positions, [1, 5]);
    let rejects: Vec<_> = read.rejects.iter().map(|r| (r.position, std::str::from_utf8(&r.raw).unwrap())).collect();
    assert_eq!(rejects, [(2, raw[0].1), (3, raw[1].1), (4, raw[2].1)]);
    assert_eq!(read.rejects[2].error, errors[2]);
}

#[test]
fn a_line_of_another_encoding_is_one_bad_row() {
    let (_, read) = given(&lines(b"{\"r\":[{\"s\":[{\"a\":1}]}],\"x\":\"\xff\"}\n"), NESTED, BLOCK_BYTES);
    assert_eq!(read.rejects[0].error, "not UTF-8 at byte 29 of the row");
    assert_eq!(read.rejects.len(), 1);
}

#[test]
fn a_line_that_is_an_array_says_what_to_set() {
    let fixture = lines(b"{\"a\":1}\n [{\"a\":2}]\n[2026-03-05] INFO\n");
    let (_, rejects) = read(&fixture, &[]).unwrap();
    let errors: Vec<&str> = rejects.iter().map(|r| r.error.as_str()).collect();
    assert_eq!(
        errors,
        [
            "the line is an array, not a JSON object; set `source.format: json` if its elements are rows",
            "not JSON at byte 6: expected `,` or the closing bracket",
        ]
    );
}

#[test]
fn documents_that_are_held_say_where_they_are_wrong() {
    let good = "{\"r\":[{\"s\":[{\"a\":1}]}]}";
    for (text, records, message) in [
        (
            format!("{good}\n{{\"r\":[{{}}]}}"),
            NESTED,
            "a.json:2: document 2 has no array at `r[].s`: `s` is missing in element 1 of `r`; check `records`",
        ),
        (
            format!("{good}\n{{\"r\":[],\n\"r\":[]}}"),
            NESTED,
            "a.json:2: document 2 has the key `r` twice in one object, so one of its values would be lost",
        ),
        (
            format!("{good}\n{{\"r\":[\n{{\"s\":[],\"x\":01}}]}}"),
            NESTED,
            "a.json:3: document 2 is not JSON at byte 22: a number must not start with a zero",
        ),
        (
            format!("{good}\n{{\"r\":[{{\"s\":[{{\"a\":1}}\n{{\"a\":2}}]}}]}}"),
            NESTED,
            "a.json:3: document 2 is not JSON at byte 21: expected `,` or the closing bracket",
        ),
        (
            format!("{good}{{\"r\":[{{\"s\":[\n{{\"a\":tru}}]}}]}}"),
            NESTED,
            "a.json:2: element 2: not JSON at byte 6: expected a value; what follows cannot be read",
        ),
        (
            "{\"k\":{\"x\":1,\"x\":1},\"r\":[]}".to_owned(),
            NESTED,
            "a.json:1: document 1: a key appears twice in one \
            object, so one of its values would be lost",
        ),
        (
            format!("{good}[]"),
            NESTED,
            "a.json:1: document 2 has no array at `r[].s`: it is not an object; check `records`",
        ),
        (format!("{good}5"), NESTED, "a.json:1: expected a JSON object or an array of objects"),
        (
            "{\"r\":[{\"s\":[".to_owned(),
            NESTED,
            "a.json:1: the file ends inside a value: it is truncated; fetch it again",
        ),
        (
            "{\"Records\":[]} {}".to_owned(),
            "Records",
            "a.json:1: document 2 has no array at `Records`; check `records`",
        ),
    ] {
        let fixture = document(text.as_bytes());
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let error = read_all(open(&fixture, schema, OnBad::Fail, Some(records)).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        assert_eq!(facts(&fixture, Some(records)).facts.problem, Some(error), "{text}");
    }
    let fixture = document(b"{\"r\":[],\n\"x\":\"\xff\"}");
    let error = facts(&fixture, Some(NESTED)).facts.problem.unwrap();
    assert_eq!(error.to_string(), "a.json:2: document 1 is not UTF-8 at byte 15");
}

/// Lines that are documents with rows, or nearly.
fn documents() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "{\"k\":1,\"r\":[{\"s\":[{\"t\":\"2026-01-05T00:00:00Z\",\"a\":1},{\"t\":\"2027-01-05T00:00:00Z\"}],\"o\":{\"n\":\"x\"}}]}",
        "{\"r\":[{\"o\":{\"n\":[1,{}],\"m\":0},\"s\":[ {\"a\":\"\\u00e9]\"} ,{}]},null,{\"s\":null,\"url\":\"\"}],\"k\":\"a\"}\r",
        "{\"r\":[{\"s\":[{\"a\":1,\"a\":2},{\"k\":0,\"a\":1},7,{\"b\":{\"c\":[]}}],\"o\":null},{\"s\":[]}],\"next\":null}",
        "{\"r\":null}",
        "",
        " {\"r\" : [ { \"s\" : [ { } ] } ] } ",
        "{\"r\":[{\"s\":[{\"t\":\"2025-01-05T00:00:00Z\",\"b\":{\"c\":[1]}}]},{\"s\":[{\"a\":null}],\"o\":{\"n\":\"y\"}}]}",
    ]);
    let bad = prop::sample::select(vec![
        "{}",
        "[1]",
        "{\"r\":[{\"s\":[{\"a\":1}]}],",
        "{\"r\":[{\"s\":[{\"a\":01}]}]}",
        "{\"r\":5}",
    ]);
    (prop::collection::vec(line, 0..10), prop::option::weighted(0.3, (bad, 0usize..10))).prop_map(|(mut lines, bad)| {
        if let Some((bad, at)) = bad {
            lines.insert(at.min(lines.len()), bad);
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    })
}

proptest! {
    #[test]
    fn blocks_of_any_size_give_the_same_rows_of_documents(text in documents(), block_bytes in 1usize..200, plain in any::<bool>()) {
        let text = if plain { text.replace("\"r\"", "\"Records\"") } else { text };
        let records = if plain { "Records" } else { NESTED };
        for fixture in [lines(text.as_bytes()), document(text.as_bytes())] {
            let ((whole, rows), (blocks, cut)) = (given(&fixture, records, BLOCK_BYTES), given(&fixture, records, block_bytes));
            prop_assert_eq!(&whole.facts, &blocks.facts);
            let finish = |found: Inspection| found.evidence.finish(&[], SchemaDrift::Widen).unwrap();
            prop_assert_eq!(finish(whole.clone()), finish(blocks));
            prop_assert_eq!(&rows.error, &whole.facts.problem);
            if rows.error.is_none() {
                prop_assert_eq!(whole.facts.units[0].rows.unwrap() as usize, rows.positions.len() + rows.rejects.len());
                prop_assert_eq!(&rows, &cut);
            }
        }
        // Both formats give the same rows, unless a document ends the reading of one of them.
        let (_, by_line) = given(&lines(text.as_bytes()), records, BLOCK_BYTES);
        let (_, by_document) = given(&document(text.as_bytes()), records, BLOCK_BYTES);
        if by_document.error.is_none() && !text.trim().is_empty() {
            prop_assert_eq!(&by_line.batches, &by_document.batches);
            let raw = |given: &Given| given.rejects.iter().map(|r| (r.raw.clone(), r.error.clone())).collect::<Vec<_>>();
            prop_assert_eq!(raw(&by_line), raw(&by_document));
        }
    }

    #[test]
    fn rows_of_documents_left_out_are_those_that_lie_outside(text in documents()) {
        for fixture in [lines(text.as_bytes()), document(text.as_bytes())] {
            let schema = facts(&fixture, Some(NESTED)).evidence.finish(&[], SchemaDrift::Widen).unwrap().arrow;
            let within = Within {
                column: "t".to_owned(),
                times: TimeParser::new(TimeFormat::Auto, jiff::tz::TimeZone::UTC),
                start: "2026-01-01T00:00:00Z".parse().unwrap(),
                end: "2026-02-01T00:00:00Z".parse().unwrap(),
                declared: Vec::new(),
                proven: false,
            };
            let ask = || request(&fixture, schema.clone(), OnBad::Reject, Some(NESTED));
            let all = give(ask(), BLOCK_BYTES);
            let some = give(FileRequest { within: Some(within.clone()), ..ask() }, BLOCK_BYTES);
            prop_assert_eq!((&all.rejects, &all.error), (&some.rejects, &some.error));
            prop_assert_eq!(all.positions.len(), some.positions.len() + some.outside as usize);
        }
    }
}
