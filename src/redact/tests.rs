//! Compares redaction with the results of Python's hmac and json modules.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeListArray, Float64Array,
    Int32Array, Int64Array, ListArray, MapBuilder, StringArray, StringBuilder, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::json::{Rule, Walk};
use super::key::tests::{keys, redaction};
use super::leaf::Leaf;
use super::*;
use crate::diagnostic::{Diagnostic, Located};
use crate::job::{ColumnChoice, Redaction};
use crate::logical::json_field;

/// `hmac.new(b"0123456789abcdef", text, "sha256").hexdigest()`.
fn pseudonym(text: &str) -> String {
    let redactions = [redaction("a", "hmac_sha256")];
    let keys = keys(&redactions);
    String::from_utf8(keys.get(0).unwrap().pseudonym(text.as_bytes()).to_vec()).unwrap()
}

/// A job with nothing but a time column `at` and these redactions.
fn job(redactions: &[Redaction], columns: Option<Vec<ColumnChoice>>) -> crate::job::Job {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "version: 1\nname: test\ntype: x\nsource: {uri: data/}\ntime: {column: at}\nwindow: {date: 2026-03-01}\n";
    std::fs::write(folder.path().join("spec.yaml"), text).unwrap();
    let environment = crate::resolve::Environment {
        now: "2027-01-01T00:00:00Z".parse().unwrap(),
        vars: Default::default(),
        env: Default::default(),
        current_dir: folder.path().to_owned(),
        output_base: crate::store::Location::Local(folder.path().to_owned()),
    };
    let mut job = crate::resolve::resolve(&folder.path().join("spec.yaml"), &environment).unwrap();
    job.redactions = redactions.to_vec();
    job.columns = columns;
    job
}

fn compiled(schema: &Schema, redactions: &[Redaction]) -> Result<Redactor, Vec<Diagnostic>> {
    let mut chosen = schema.fields().iter().map(|f| f.name().clone()).enumerate().collect();
    let mut mistakes = Vec::new();
    let own = schema.fields().len();
    let redactor = compile(&job(redactions, None), schema, own, &["team".to_owned()], &mut chosen, &mut mistakes);
    redactor.ok_or(mistakes)
}

/// Redacts one column, and counts.
fn redacted(field: Field, array: ArrayRef, redactions: &[(&str, &str)]) -> (Field, ArrayRef, Vec<u64>) {
    let redactions: Vec<_> = redactions.iter().map(|(path, method)| redaction(path, method)).collect();
    let schema = Arc::new(Schema::new(vec![field]));
    let redactor = compiled(&schema, &redactions).unwrap();
    let mut counts = vec![0; redactor.counters()];
    let rows = RecordBatch::try_new(schema, vec![array]).unwrap();
    let out = redactor.apply(&keys(&redactions), &rows, &mut counts).unwrap();
    assert_eq!(out.schema_ref(), redactor.schema());
    (redactor.schema().field(0).clone(), out.column(0).clone(), counts)
}

fn texts(array: &ArrayRef) -> Vec<Option<&str>> {
    array.as_string_view().iter().collect()
}

#[test]
fn each_method_does_to_a_column_what_it_says_and_keeps_nulls() {
    let field = || Field::new("c", DataType::Int64, true);
    let array = || Arc::new(Int64Array::from(vec![Some(-7), None, Some(-7), Some(12)])) as ArrayRef;
    let (masked, values, counts) = redacted(field(), array(), &[("c", "mask")]);
    assert_eq!((masked.data_type(), masked.is_nullable(), counts), (&DataType::Utf8View, true, vec![3]));
    assert_eq!(texts(&values), [Some("***"), None, Some("***"), Some("***")]);
    let (_, values, _) = redacted(field(), array(), &[("c", "[a text of more than twelve bytes]")]);
    assert_eq!(texts(&values)[2..], [Some("[a text of more than twelve bytes]"); 2]);
    let (nullified, values, counts) = redacted(field(), array(), &[("c", "nullify")]);
    assert_eq!((nullified, values.null_count(), counts), (field(), 4, vec![3]));
    let (_, values, counts) = redacted(field(), array(), &[("c", "hmac_sha256")]);
    // printf %s -7 | openssl dgst -sha256 -hmac 0123456789abcdef
    let minus_seven = "dc36c4ce207858e5dbe272dce3ac510520f14d15a76a8d4809cd742adce47bbe";
    assert_eq!(texts(&values)[..3], [Some(minus_seven), None, Some(minus_seven)]);
    assert_eq!((texts(&values)[3], counts), (Some(pseudonym("12").as_str()), vec![3]));
}

#[test]
fn a_column_that_cannot_be_null_stays_so_unless_it_is_nullified() {
    let one = |method| {
        redacted(Field::new("c", DataType::Int32, false), Arc::new(Int32Array::from(vec![1])), &[("c", method)]).0
    };
    assert!(!one("mask").is_nullable() && !one("hmac_sha256").is_nullable() && one("nullify").is_nullable());
}

#[test]
fn pseudonyms_are_of_the_text_that_csv_has() {
    let pseudonym_of = |array: ArrayRef| {
        let (_, values, _) = redacted(Field::new("c", array.data_type().clone(), true), array, &[("c", "hmac_sha256")]);
        texts(&values)[0].map(str::to_owned)
    };
    let of = |text: &str| Some(pseudonym(text));
    assert_eq!(pseudonym_of(Arc::new(BooleanArray::from(vec![true]))), of("true"));
    assert_eq!(pseudonym_of(Arc::new(Float64Array::from(vec![0.1]))), of("0.1"));
    assert_eq!(pseudonym_of(Arc::new(StringArray::from(vec!["=größe, \"x\""]))), of("=größe, \"x\""));
    assert_eq!(pseudonym_of(Arc::new(StringArray::from(vec![""]))), of(""));
    let time = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("+01:00");
    assert_eq!(pseudonym_of(Arc::new(time)), of("1970-01-01T00:00:01.500000Z"));
    let decimal = Decimal128Array::from(vec![150]).with_precision_and_scale(5, 2).unwrap();
    assert_eq!(pseudonym_of(Arc::new(decimal)), of("1.50"));
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a")].into_iter().collect();
    assert_eq!(pseudonym_of(Arc::new(dictionary)), of("a"));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    assert_eq!(pseudonym_of(Arc::new(list)), of("[1,null]"));
}

#[test]
fn many_values_with_the_same_hash_slot_keep_their_own_pseudonyms() {
    let values: Vec<String> = (0..3000).map(|i| format!("user-{}", i * 7919 % 1000)).collect();
    let (_, out, _) = redacted(
        Field::new("c", DataType::Utf8View, false),
        Arc::new(StringViewArray::from_iter_values(&values)),
        &[("c", "hmac_sha256")],
    );
    for (value, out) in values.iter().zip(texts(&out)) {
        assert_eq!(out, Some(pseudonym(value).as_str()));
    }
}

#[test]
fn a_string_in_json_has_the_pseudonym_of_its_content_and_null_is_null() {
    let field = json_field(Field::new("c", DataType::Utf8View, true));
    let array = StringViewArray::from(vec![r#""al\u0069ce""#, "5", " null ", r#"{"a": 1}"#, "not json"]);
    let (out, values, counts) = redacted(field, Arc::new(array), &[("c", "hmac_sha256")]);
    let [alice, five, object, not] = ["alice", "5", r#"{"a": 1}"#, "not json"].map(pseudonym);
    assert_eq!(texts(&values), [Some(&*alice), Some(&*five), None, Some(&*object), Some(&*not)]);
    assert_eq!((counts, crate::logical::is_json(&out)), (vec![4], false));
}

fn user(emails: Vec<Option<&str>>, nulls: Option<Vec<bool>>) -> StructArray {
    let fields =
        Fields::from(vec![Field::new("email", DataType::Utf8View, true), Field::new("age", DataType::Int32, true)]);
    let ages = (0..emails.len() as i32).map(Some).collect::<Int32Array>();
    let columns: Vec<ArrayRef> = vec![Arc::new(StringViewArray::from(emails)), Arc::new(ages)];
    StructArray::new(fields, columns, nulls.map(NullBuffer::from))
}

#[test]
fn a_path_leads_through_structs_and_lists_to_every_element() {
    let users = user(vec![Some("a"), None, Some("b")], Some(vec![true, true, true]));
    let item = Arc::new(Field::new("item", users.data_type().clone(), true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(users), None);
    let outer = Fields::from(vec![Field::new("users", list.data_type().clone(), true)]);
    let column = StructArray::new(outer.clone(), vec![Arc::new(list)], None);
    let field = Field::new("meta", DataType::Struct(outer), true);
    let redactions = [("meta.users.email", "mask"), ("meta.users.age", "drop")];
    let (out, values, counts) = redacted(field, Arc::new(column), &redactions);
    assert_eq!(counts, [2, 3]);
    let users = values.as_struct().column(0).as_list::<i32>().values().as_struct();
    assert_eq!(users.num_columns(), 1);
    assert_eq!(texts(users.column(0)), [Some("***"), None, Some("***")]);
    assert_eq!(out.data_type(), values.data_type());
}

#[test]
fn what_is_below_a_null_is_neither_counted_nor_kept() {
    let users = user(vec![Some("a"), Some("hidden")], Some(vec![true, false]));
    let field = Field::new("user", users.data_type().clone(), true);
    let (_, values, counts) = redacted(field, Arc::new(users), &[("user.email", "hmac_sha256")]);
    assert_eq!((texts(values.as_struct().column(0))[1], counts), (None, vec![1]));
    let users = user(vec![Some("a"), Some("b"), Some("hidden"), Some("hidden")], None);
    let item = Arc::new(Field::new("item", users.data_type().clone(), true));
    let list = FixedSizeListArray::new(item, 2, Arc::new(users), Some(NullBuffer::from(vec![true, false])));
    let field = Field::new("users", list.data_type().clone(), true);
    let (_, values, counts) = redacted(field, Arc::new(list), &[("users.email", "mask")]);
    let emails = values.as_fixed_size_list().values().as_struct().column(0).clone();
    assert_eq!((texts(&emails), counts), (vec![Some("***"), Some("***"), None, None], vec![2]));
}

#[test]
fn a_struct_without_fields_keeps_its_rows() {
    let users = user(vec![Some("a"), None], Some(vec![true, false]));
    let field = Field::new("user", users.data_type().clone(), true);
    let (_, values, _) = redacted(field, Arc::new(users), &[("user.email", "drop"), ("user.age", "drop")]);
    assert_eq!((values.len(), values.null_count(), values.as_struct().num_columns()), (2, 1, 0));
}

#[test]
fn entries_of_a_map_are_redacted_by_their_key() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for entries in [vec![("email", "a"), ("x", "1")], vec![], vec![("x", "2"), ("email", "b"), ("email", "c")]] {
        for (key, value) in entries {
            map.keys().append_value(key);
            map.values().append_value(value);
        }
        map.append(true).unwrap();
    }
    let map = Arc::new(map.finish()) as ArrayRef;
    let entries = |method| {
        let field = Field::new("m", map.data_type().clone(), true);
        let (_, values, counts) = redacted(field, map.clone(), &[("m.email", method)]);
        let map = values.as_map();
        let text = |array: &ArrayRef| array.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>();
        let pairs = text(map.keys()).into_iter().zip(text(map.values()));
        let pairs: Vec<_> = pairs.map(|(k, v)| format!("{}={}", k.unwrap(), v.unwrap_or_default())).collect();
        (pairs.join(" "), map.offsets().to_vec(), counts)
    };
    assert_eq!(entries("mask"), ("email=*** x=1 x=2 email=*** email=***".into(), vec![0, 2, 2, 5], vec![3]));
    assert_eq!(entries("nullify"), ("email= x=1 x=2 email= email=".into(), vec![0, 2, 2, 5], vec![3]));
    assert_eq!(entries("drop"), ("x=1 x=2".into(), vec![0, 1, 1, 2], vec![3]));
}

/// Redacts inside JSON text under these paths, below a column.
fn inside(text: &str, rules: &[(&str, &str)]) -> (String, Vec<u64>) {
    let redactions: Vec<_> = rules.iter().map(|(path, method)| redaction(path, method)).collect();
    let rule = |(index, redaction): (usize, &Redaction)| Rule {
        rest: redaction.path.value.clone(),
        leaf: Leaf::new(index, &redaction.method),
        counter: index,
    };
    let rules: Vec<Rule> = redactions.iter().enumerate().map(rule).collect();
    let (mut out, mut counts) = (String::new(), vec![0; rules.len()]);
    let keys = keys(&redactions);
    Walk::new(&keys, &rules, rules.len()).redact(text, &mut counts, &mut out);
    (out, counts)
}

#[test]
fn inside_json_all_bytes_but_the_values_stay() {
    let text = " { \"b\" : 1.00 ,\n\t\"user\":{\"email\" : \"a@b.c\" , \"x\":[1,  2]},\"a\":null } ";
    assert_eq!(inside(text, &[("user.email", "mask")]), (text.replace("\"a@b.c\"", "\"***\""), vec![1]));
    assert_eq!(inside(text, &[("user.email", "nullify")]).0, text.replace("\"a@b.c\"", "null"));
    let replaced = text.replace("\"a@b.c\"", r#""say \"no\"\n""#);
    assert_eq!(inside(text, &[("user.email", "say \"no\"\n")]).0, replaced);
    let pseudonymous = text.replace("a@b.c", &pseudonym("a@b.c"));
    assert_eq!(inside(text, &[("user.email", "hmac_sha256")]).0, pseudonymous);
    assert_eq!(inside(text, &[("user", "mask")]).0, " { \"b\" : 1.00 ,\n\t\"user\":\"***\",\"a\":null } ");
    assert_eq!(inside(text, &[("user.phone", "mask"), ("a.b", "mask")]), (text.to_owned(), vec![0, 0]));
}

#[test]
fn members_are_dropped_with_their_comma() {
    for (text, left) in [
        (r#"{"a":1}"#, "{}"),
        (r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        (r#"{"b":2,"a":1}"#, r#"{"b":2}"#),
        (r#"{ "b": 2, "a": [1, {"c": ","}], "d": 3 }"#, r#"{ "b": 2, "d": 3 }"#),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2}"#),
        (r#"{"a":null}"#, "{}"),
    ] {
        assert_eq!(inside(text, &[("a", "drop")]).0, left, "{text}");
    }
    assert_eq!(inside(r#"{"a":null,"b":1}"#, &[("a", "drop")]).1, [0], "nothing was there");
}

#[test]
fn a_key_is_understood_however_it_is_written_and_however_often() {
    let masked = |text: &str| inside(text, &[("user.email", "mask")]);
    assert_eq!(
        masked(r#"{"us\u0065r":{"em\u0061il":"x","e\u006dail":"y"},"user":{"email":"z"}}"#),
        (r#"{"us\u0065r":{"em\u0061il":"***","e\u006dail":"***"},"user":{"email":"***"}}"#.to_owned(), vec![3])
    );
    assert_eq!(masked(r#"{"user.email":"x"}"#).0, r#"{"user.email":"***"}"#, "a key with a dot fits as well");
    assert_eq!(masked(r#"{"user":{"Email":"x"}}"#).1, [0], "case counts");
    assert_eq!(masked(r#"[{"user":[{"email":"x"},5,[{"email":null},{"email":{"a":1}}]]}]"#).1, [2]);
}

#[test]
fn json_in_a_string_is_looked_into() {
    let text = json!({"user": json!({"email": "a\"b", "n": 1}).to_string(), "note": "{user.email}"}).to_string();
    let (out, counts) = inside(&text, &[("user.email", "mask")]);
    let expected = json!({"user": json!({"email": "***", "n": 1}).to_string(), "note": "{user.email}"});
    assert_eq!((serde_json::from_str::<Value>(&out).unwrap(), counts), (expected, vec![1]));
    assert_eq!(inside(r#""[1,""#, &[("a", "mask")]), (r#""[1,""#.to_owned(), vec![0]), "no JSON, but a string");
}

#[test]
fn text_that_is_not_json_is_masked_as_a_whole_and_counted() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let broken =
        [r#"{"user":{"email":"secret"}"#, "secret", "", r#"{"user":1} secret"#, "{'user':'secret'}", r#"{"\ud800":1}"#];
    for text in broken.into_iter().chain([deep.as_str()]) {
        assert_eq!(
            inside(text, &[("user.email", "mask"), ("a", "drop")]),
            ("\"***\"".to_owned(), vec![1, 1]),
            "{text}"
        );
    }
    // Half of the text was understood before it broke.
    assert_eq!(inside(r#"{"a":"secret","user":{"email":{]"#, &[("user.email", "mask")]).0, "\"***\"");
}

fn mistakes(schema: &Schema, path: &str, method: &str) -> Vec<(String, Option<String>)> {
    let mistakes = compiled(schema, &[redaction(path, method)]).unwrap_err();
    mistakes.into_iter().map(|d| (d.message, d.help)).collect()
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("at", DataType::Utf8View, true),
        Field::new("team", DataType::Utf8View, true),
        Field::new("user", user(vec![], None).data_type().clone(), true),
        Field::new("message", DataType::Utf8View, true),
        Field::new("n", DataType::Int64, true),
        Field::new_map(
            "m",
            "entries",
            Field::new("k", DataType::Utf8, false),
            Field::new("v", DataType::Int64, true),
            false,
            true,
        ),
        json_field(Field::new("meta", DataType::Utf8View, true)),
        Field::new("user.email", DataType::Utf8View, true),
    ])
}

#[test]
fn a_path_that_leads_nowhere_is_reported_with_the_nearest_name() {
    let one = |path| mistakes(&schema(), path, "mask").remove(0);
    let told = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    assert_eq!(one("mesage"), told("redacted column `mesage` is not in the source", "did you mean `message`?"));
    assert_eq!(one("user.agee"), told("`user` has no field `agee`", "did you mean `age`?"));
    assert_eq!(one("user.phone.x"), told("`user` has no field `phone`", "it has `email`, `age`"));
    let help = "redact it as a whole; text that holds JSON is declared as `json` in `schema`";
    assert_eq!(one("message.x"), told("`message` is text, and nothing inside it has the name `x`", help));
    assert_eq!(one("n.x"), told("`n` is int64, and nothing inside it has the name `x`", help));
    assert_eq!(
        one("m.x"),
        told("`m` is a map, whose values keep one type", "use `nullify` or `drop`, or redact the whole map")
    );
}

#[test]
fn what_the_package_reveals_elsewhere_cannot_be_redacted() {
    assert_eq!(
        mistakes(&schema(), "team", "drop"),
        [(
            "`team` comes from the names of folders, which the manifest lists: it cannot be redacted".to_owned(),
            Some("leave the column out with `columns`; its values stay in the source's paths".to_owned())
        )]
    );
    assert_eq!(
        mistakes(&schema(), "at", "hmac_sha256"),
        [(
            "`at` is the time column, which partition names and `min_time` reveal, so it cannot be redacted".to_owned(),
            Some("`drop` leaves the exact times out of the shards".to_owned())
        )]
    );
    assert!(compiled(&schema(), &[redaction("at", "drop")]).is_ok());
}

#[test]
fn a_column_of_exactly_the_name_wins_and_then_the_longest() {
    let redactor = compiled(&schema(), &[redaction("user.email", "mask")]).unwrap();
    assert_eq!((redactor.recorded[2].len(), redactor.recorded[7].len()), (0, 1));
    let redactor = compiled(&schema(), &[redaction("user.age", "mask")]).unwrap();
    assert_eq!(redactor.recorded[2].len(), 1);
}

fn choices(names: &[(&str, &str)]) -> Option<Vec<ColumnChoice>> {
    let choice = |(source, output): &(&str, &str)| ColumnChoice {
        source: Located::default_value((*source).to_owned()),
        output: Some((*output).to_owned()),
    };
    Some(names.iter().map(choice).collect())
}

#[test]
fn columns_and_redact_must_agree() {
    let compile = |redactions: &[(&str, &str)], columns: &[(&str, &str)]| {
        let redactions: Vec<_> = redactions.iter().map(|(path, method)| redaction(path, method)).collect();
        let mut chosen: Vec<_> =
            columns.iter().map(|(source, output)| (schema().index_of(source).unwrap(), (*output).to_owned())).collect();
        let mut mistakes = Vec::new();
        let (job, schema) = (job(&redactions, choices(columns)), schema());
        let own = schema.fields().len();
        let redactor = compile(&job, &schema, own, &[], &mut chosen, &mut mistakes);
        redactor.ok_or_else(|| mistakes.into_iter().map(|d| d.message).collect::<Vec<_>>())
    };
    assert_eq!(
        compile(&[("message", "mask")], &[("n", "n")]).unwrap_err(),
        ["`message` is redacted, but `columns` does not select it"]
    );
    assert_eq!(compile(&[("message", "drop")], &[("n", "n")]).unwrap().dropped(), ["message"]);
    assert_eq!(
        compile(&[("message", "drop")], &[("n", "n"), ("message", "m")]).unwrap_err(),
        ["`message` is selected here and dropped in `redact`"]
    );
    let twice =
        compile(&[("message", "mask"), ("n", "nullify")], &[("message", "a"), ("message", "b"), ("n", "n")]).unwrap();
    assert_eq!(twice.counters(), 3);
    let attested = twice.attest(&Keys::default(), &[1, 2, 3]);
    let told: Vec<_> = attested.iter().map(|c| (c[0].path.as_str(), c[0].method.as_str(), c[0].values)).collect();
    assert_eq!(told, [("message", "mask", 1), ("message", "mask", 2), ("n", "nullify", 3)]);
}

#[test]
fn dropping_every_column_is_refused() {
    let schema = Schema::new(vec![Field::new("at", DataType::Utf8View, true)]);
    assert_eq!(mistakes(&schema, "at", "drop")[0].0, "`redact` drops every column that would be exported");
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[ -~\n\u{1f600}]{0,9}".prop_map(Value::from),
        Just(Value::from("{\"a\":1}")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[ab.]{1,3}|\n", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The same in the plainest way; how many values were redacted. `None` in the place of a value: it is dropped.
fn plainly(value: &mut Value, path: &str, method: &str) -> u64 {
    match value {
        Value::Array(elements) => elements.iter_mut().map(|element| plainly(element, path, method)).sum(),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(mut inner @ (Value::Array(_) | Value::Object(_))) => {
                let count = plainly(&mut inner, path, method);
                if count > 0 {
                    *text = inner.to_string();
                }
                count
            }
            _ => 0,
        },
        Value::Object(members) => {
            let mut count = 0;
            for (key, value) in members.iter_mut() {
                if key == path {
                    count += u64::from(!value.is_null());
                    if !value.is_null() {
                        *value = if method == "nullify" { Value::Null } else { json!("***") };
                    }
                } else if let Some(rest) = path.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('.')) {
                    count += plainly(value, rest, method);
                }
            }
            if method == "drop" {
                members.retain(|key, _| key != path);
            }
            count
        }
        _ => 0,
    }
}

proptest! {
    #[test]
    fn redacted_json_is_what_a_plain_redaction_of_its_tree_gives(
        value in document(),
        path in "[ab]{1,2}(\\.[ab]{1,2}){0,2}",
        method in prop_oneof![Just("mask"), Just("nullify"), Just("drop")],
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let (out, counts) = inside(&text, &[(&path, method)]);
        let mut expected = value;
        let count = plainly(&mut expected, &path, method);
        prop_assert_eq!(counts, vec![count]);
        prop_assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn any_text_comes_out_as_json(text in "\\PC{0,40}|[\\[\\]{}\",:a0 \\\\]{0,20}") {
        let (out, _) = inside(&text, &[("a", "drop"), ("b.c", "mask")]);
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok(), "{}", out);
    }
}
