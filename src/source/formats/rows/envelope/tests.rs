//! The rows of documents, with a flattening of serde_json's values as oracle.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::source::formats::rows::json_text;

fn around(records: &str, keep: &[(&str, &str)]) -> Envelope {
    let records = RecordsPath::new(records).unwrap();
    let mut keep: Vec<_> = keep.iter().map(|(name, path)| KeptField::new(name, path, &records).unwrap()).collect();
    keep.sort_by(|a, b| a.name().cmp(b.name()));
    Envelope { records, keep: keep.into() }
}

/// The rows of a document: its text, or why there is none.
type Rows = Result<Vec<Result<String, Fault>>, EnvelopeFault>;

fn rows(envelope: &Envelope, document: &str, checks: ElementChecks, skipped: &mut SkippedKeys) -> Rows {
    let mut found = expand(envelope, document, checks, skipped)?;
    let mut rows = Vec::new();
    while let Some(element) = found.next_element(document.as_bytes())? {
        let text = &document[element.place];
        let (mut kept, mut row) = (String::new(), String::new());
        found.kept_fields(element.scope, &envelope.keep, document.as_bytes(), &mut kept);
        rows.push(match keep_in_row(&envelope.keep, &kept, text.as_bytes(), &mut row) {
            Some(row) if !envelope.keep.is_empty() => row.map(str::to_owned),
            _ => Ok(text.to_owned()),
        });
    }
    Ok(rows)
}

/// The rows, which both ways of checking give, and the skipped keys.
fn all(records: &str, keep: &[(&str, &str)], document: &str) -> (Vec<String>, Vec<String>) {
    let envelope = around(records, keep);
    let mut skipped = SkippedKeys::default();
    let now = rows(&envelope, document, ElementChecks::Now, &mut skipped).unwrap();
    assert_eq!(rows(&envelope, document, ElementChecks::Later, &mut SkippedKeys::default()).unwrap(), now);
    (now.into_iter().map(Result::unwrap).collect(), skipped.into_paths().into_iter().collect())
}

#[test]
fn rows_keep_fields_before_and_behind_them() {
    let spans = r#"{"v":1,"rs":[{"ss":[{"spans":[{"n":1 , "m":[ ]},{}],"scope":{"name":"x"}},{"spans":[]}],"resource":{"attributes":[{"k":"v"}],"dropped":0}},
        null,{"resource":null,"ss":[null,{"scope":{"name":null},"spans":[ {"n":2}, 5 ]},{"spans":null}],"url":""},{"ss":null}],"v2":{"a.b":1}}"#;
    let keep = [("service", "rs[].resource.attributes"), ("scope", "rs[].ss[].scope.name"), ("v", "v")];
    let (rows, skipped) = all("rs[].ss[].spans[]", &keep, spans);
    assert_eq!(
        rows,
        [
            r#"{"scope":"x","service":[{"k":"v"}],"v":1,"n":1 , "m":[ ]}"#,
            r#"{"scope":"x","service":[{"k":"v"}],"v":1}"#,
            r#"{"scope":null,"service":null,"v":1,"n":2}"#,
            "5",
        ]
    );
    assert_eq!(skipped, ["rs[].resource.dropped", "rs[].url", "v2"]);
}

#[test]
fn arrays_may_stand_in_arrays_and_at_the_top() {
    assert_eq!(all("[][]", &[], "[[1,2],[],null,[ 3 ]]").0, ["1", "2", "3"]);
    assert_eq!(all("a[][]", &[], r#"{"a":[[{}],[{"b":[]}]]}"#).0, ["{}", r#"{"b":[]}"#]);
    let (rows, _) = all("[].a", &[("x", "[].b")], r#"[{"a":[{ }],"b":"\u00e9"},{"a":[{"x\\":1}]}]"#);
    assert_eq!(rows, [r#"{"x":"\u00e9"}"#, r#"{"x":null,"x\\":1}"#]);
}

#[test]
fn a_field_may_be_kept_whole_and_in_part() {
    let keep = [("all", "r"), ("part", "r.a.b"), ("name", "l.name"), ("none", "l.name.x")];
    let document = r#"{"l":{"e":[{}],"name":"n","o":1},"r":{"a":{"b":1,"c":2}}}"#;
    let (rows, skipped) = all("l.e", &keep, document);
    assert_eq!(rows, [r#"{"all":{"a":{"b":1,"c":2}},"name":"n","none":null,"part":1}"#]);
    assert_eq!(skipped, ["l.o"]);
}

#[test]
fn a_row_with_a_field_of_the_kept_name_is_no_row() {
    let envelope = around("e", &[("owner", "owner")]);
    let document = r#"{"e":[{"a":1},{"own\u0065r":1},{"owner":1,"a":1,"a":2},[]],"owner":1}"#;
    let rows = rows(&envelope, document, ElementChecks::Now, &mut SkippedKeys::default()).unwrap();
    let fault = "the row has a field `owner` of its own: choose another name in `source.keep`";
    let fault = || Err(Fault::Content(fault.to_owned()));
    assert_eq!(rows, [Ok(r#"{"owner":1,"a":1}"#.to_owned()), fault(), fault(), Ok("[]".to_owned())]);
}

#[test]
fn documents_of_another_shape_say_where() {
    let envelope = around("rs[].ss.list[].spans", &[("v", "v"), ("r", "rs[].r.id")]);
    let why = |document: &str| match rows(&envelope, document, ElementChecks::Now, &mut SkippedKeys::default()) {
        Err(EnvelopeFault::Path(why)) => why,
        other => panic!("{document}: {other:?}"),
    };
    let no_array = |why: &str| format!("has no array at `rs[].ss.list[].spans`{why}; check `records`");
    for (document, place) in [
        ("{}", ""),
        (r#"{"rs":[{"ss":{"list":[]}},{"ss":{}}]}"#, ": `ss.list` is missing in element 2 of `rs`"),
        (r#"{"rs":[{}]}"#, ": `ss` is missing in element 1 of `rs`"),
        (
            r#"{"rs":[null,{"ss":{"list":[{"spans":[]},{}]}}]}"#,
            ": `spans` is missing in element 2 of `ss.list` in element 2 of `rs`",
        ),
        ("null", ": it is not an object"),
        ("[]", ": it is not an object"),
        (r#"{"rs":{}}"#, ": `rs` is not an array"),
        (r#"{"rs":[[]]}"#, ": element 1 of `rs` is not an object"),
        (r#"{"rs":[{"ss":"x"}]}"#, ": `ss` in element 1 of `rs` is not an object"),
        (
            r#"{"rs":[{"ss":{"list":[{"spans":0}]}}]}"#,
            ": `spans` in element 1 of `ss.list` in element 1 of `rs` is not an array",
        ),
    ] {
        assert_eq!(why(document), no_array(place), "{document}");
    }
    for (document, path) in [
        (r#"{"rs":[],"rs":null}"#, "rs"),
        (r#"{"rs":[{"ss":null,"ss":null}]}"#, "rs[].ss"),
        (r#"{"v":1,"rs":[],"\u0076":1}"#, "v"),
        (r#"{"rs":[{"r":{"id":1,"id":1},"ss":null}]}"#, "rs[].r.id"),
    ] {
        let twice = format!("has the key `{path}` twice in one object, so one of its values would be lost");
        assert_eq!(why(document), twice, "{document}");
    }
    let nested = around("a[][].b", &[]);
    let error = rows(&nested, r#"{"a":[[],[{"b":[]},1]]}"#, ElementChecks::Now, &mut SkippedKeys::default());
    let place = "has no array at `a[][].b`: element 2 of element 2 of `a` is not an object; check `records`";
    assert_eq!(error, Err(EnvelopeFault::Path(place.to_owned())));
}

#[test]
fn what_is_not_json_gives_no_rows() {
    let envelope = around("a[].b", &[("x", "x")]);
    for (document, at) in [
        ("", 0),
        (r#"{"a":[{"b":[{}"#, 14),
        (r#"{"a":[{"b":[{"c":tru}]}]}"#, 17),
        (r#"{"a":[{"b":[{} {}]}]}"#, 15),
        (r#"{"a":[{"b":[{},]}]}"#, 15),
        (r#"{"a":[],"x":01}"#, 14),
        (r#"{"a":[]} 1"#, 9),
        (r#"{"y":[1,],"a":[]}"#, 8),
    ] {
        let found = rows(&envelope, document, ElementChecks::Now, &mut SkippedKeys::default());
        let Err(EnvelopeFault::Json(Fault::Syntax { at: found, .. })) = found else { panic!("{document}: {found:?}") };
        assert_eq!(found, at, "{document}");
    }
    // What cannot be kept of an element is its own fault, and what cannot be kept around the rows is the document's.
    let document = r#"{"a":[{"b":[{"c":1,"c":"]"},"\ud800",{}]}]}"#;
    let found = rows(&envelope, document, ElementChecks::Now, &mut SkippedKeys::default()).unwrap();
    assert_eq!(found.len(), 3);
    let document = r#"{"a":[],"x":{"c":1,"c":2}}"#;
    let found = rows(&envelope, document, ElementChecks::Now, &mut SkippedKeys::default());
    assert!(matches!(found, Err(EnvelopeFault::Json(Fault::Content(_)))), "{found:?}");
}

#[test]
fn the_first_skipped_keys_count_whatever_their_order() {
    let (mut up, mut down) = (SkippedKeys::default(), SkippedKeys::default());
    for i in 0..300 {
        up.add(&format!("{i:03}"));
        down.add(&format!("{:03}", 299 - i));
    }
    let mut both = up.clone();
    both.merge(&down);
    assert!(up == down && up == both);
    assert_eq!(
        up.into_paths().into_iter().collect::<Vec<_>>(),
        (0..100).map(|i| format!("{i:03}")).collect::<Vec<_>>()
    );
}

/// The value at keys; null if there is none.
fn at<'v>(value: &'v Value, keys: &[String]) -> &'v Value {
    keys.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// What a document's rows are.
fn flatten(
    steps: &[PathStep],
    value: &Value,
    keep: &[KeptField],
    depth: usize,
    kept: &Map<String, Value>,
    rows: &mut Vec<Value>,
) {
    let mut kept = kept.clone();
    for field in keep.iter().filter(|field| field.depth() == depth) {
        kept.entry(field.name()).or_insert_with(|| at(value, field.keys()).clone());
    }
    let until = steps.iter().position(|step| *step == PathStep::Items).unwrap();
    let keys: Vec<String> = steps[..until].iter().filter_map(PathStep::key).map(str::to_owned).collect();
    let beyond = &steps[until + 1..];
    for element in at(value, &keys).as_array().into_iter().flatten() {
        match element {
            Value::Object(own) if beyond.is_empty() => {
                rows.push(kept.iter().chain(own).map(|(k, v)| (k.clone(), v.clone())).collect::<Map<_, _>>().into());
            }
            other if beyond.is_empty() => rows.push(other.clone()),
            Value::Null => {}
            element => flatten(beyond, element, keep, depth + 1, &kept, rows),
        }
    }
}

/// Objects whose keys are mostly `c` and `d`, in any order, with whatever values.
fn others() -> impl Strategy<Value = Vec<(String, Value)>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i8>().prop_map(Value::from),
        "[\\]\\[}{\",\\\\é ]{0,4}".prop_map(Value::from),
        Just(json!([{"c": [1, "]"]}, {}])),
        Just(json!({"c": {"d": "}"}, "d": [[]]})),
    ];
    prop::collection::btree_map(prop::sample::select(vec!["c", "d", "é\"", "f"]), leaf, 0..4)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Documents with an array at the steps.
fn document(steps: Vec<PathStep>) -> BoxedStrategy<String> {
    match steps.split_first().map(|(step, rest)| (step.clone(), rest.to_vec())) {
        None => prop_oneof![
            9 => others().prop_map(|fields| object(&fields, None, 0)),
            1 => Just("[1]".to_owned()), 1 => Just("null".to_owned()),
        ]
        .boxed(),
        Some((PathStep::Key(key), rest)) => {
            (others(), prop_oneof![8 => document(rest), 1 => Just("null".to_owned())], 0usize..5)
                .prop_map(move |(fields, value, place)| object(&fields, Some((&key, &value)), place))
                .boxed()
        }
        Some((PathStep::Items, rest)) => {
            let element = if rest.is_empty() {
                document(rest)
            } else {
                prop_oneof![8 => document(rest), 1 => Just("null".to_owned())].boxed()
            };
            (prop::collection::vec(element, 0..4), prop::sample::select(vec!["", " ", "\n"]))
                .prop_map(|(elements, space)| format!("[{space}{}{space}]", elements.join(&format!("{space},"))))
                .boxed()
        }
    }
}

fn object(fields: &[(String, Value)], way: Option<(&str, &str)>, place: usize) -> String {
    let mut fields: Vec<String> = fields.iter().map(|(key, value)| format!("{} :{value}", json!(key))).collect();
    if let Some((key, value)) = way {
        fields.insert(place.min(fields.len()), format!("{}: {value}", json!(key)));
    }
    format!("{{{}}}", fields.join(" , "))
}

/// Paths, and what rows may keep.
fn paths() -> impl Strategy<Value = (&'static str, Vec<(&'static str, &'static str)>)> {
    prop::sample::select(vec![
        ("a", vec![("k", "c"), ("l", "d.c")]),
        ("a[]", vec![]),
        ("a.b", vec![("k", "a.c.d"), ("l", "a.c"), ("m", "f")]),
        ("a[].b", vec![("m", "a[].c"), ("k", "c"), ("l", "a[].d.c")]),
        ("a[].b.a[].b[]", vec![("k", "d"), ("l", "a[].c"), ("m", "a[].b.d"), ("n", "a[].b.a[].c.d")]),
        ("[].a", vec![("k", "[].c")]),
        ("a[][].b", vec![("k", "a[][].d"), ("l", "c")]),
        ("[][]", vec![]),
    ])
}

proptest! {
    #[test]
    fn rows_are_those_of_the_values((records, keep, document) in paths().prop_flat_map(|(records, keep)| {
        let steps = RecordsPath::new(records).unwrap().steps().to_vec();
        (Just(records), Just(keep), document(steps))
    })) {
        let envelope = around(records, &keep);
        let value: Value = serde_json::from_str(&document).unwrap();
        let mut expected = Vec::new();
        if value.is_null() {
            return Ok(());
        }
        flatten(envelope.records.steps(), &value, &envelope.keep, 0, &Map::new(), &mut expected);
        let mut skipped = SkippedKeys::default();
        let now = rows(&envelope, &document, ElementChecks::Now, &mut skipped);
        prop_assert_eq!(&rows(&envelope, &document, ElementChecks::Later, &mut SkippedKeys::default()), &now);
        let found: Vec<Value> = now.unwrap().into_iter().map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect();
        prop_assert_eq!(found, expected, "{}", document);
    }

    #[test]
    fn any_text_is_expanded_or_refused(pieces in prop::collection::vec(prop::sample::select(
        vec!["{", "}", "[", "]", "\"a\":", "\"b\":", "\"x\":", "1", ",", "null", " ", "\"", "\\", "{\"b\":[{}]}", "{\"a\":["]), 0..15)) {
        let document = pieces.concat();
        let envelope = around("a[].b", &[("k", "x"), ("l", "a[].x.b")]);
        let found = rows(&envelope, &document, ElementChecks::Now, &mut SkippedKeys::default());
        if found.is_ok() {
            prop_assert!(json_text::check(&document).is_ok() || document.contains("\"b\""), "{document}");
            prop_assert_eq!(rows(&envelope, &document, ElementChecks::Later, &mut SkippedKeys::default()), found);
        }
    }
}
