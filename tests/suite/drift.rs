//! A folder whose files disagree about everything is exported without losing a key or a digit.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::project::{Project, Row, cell};

const FILES: u32 = 300;
const ROWS_PER_FILE: u32 = 5;

/// A row in the state that the schema had when its file was written.
fn row(file: u32, i: u32) -> Map<String, Value> {
    let n = file * ROWS_PER_FILE + i;
    let mut row = json!({
        "event_id": format!("e{n:05}"),
        "occurred_at": format!("2026-03-{:02}T{:02}:{:02}:00Z", 1 + file % 28, i, file % 60),
        "count": n,
        "actor": {"id": n},
    });
    let map = row.as_object_mut().expect("an object");
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    // Keys that come late, and one that only one row of all has.
    if file >= 120 {
        put("team", json!(["red", "blue"][(n % 2) as usize]));
    }
    if (file, i) == (299, 4) {
        put("last_key", json!("here"));
    }
    // A number becomes text.
    put("code", if file < 150 { json!(n) } else { json!(format!("C-{n}")) });
    // A scalar becomes an object, then a list.
    put(
        "policy",
        match file % 3 {
            0 => json!("default"),
            1 => json!({"name": "strict", "level": n}),
            _ => json!(["a", n, null]),
        },
    );
    // Nested keys come and go, and change their types.
    let mut nested = Map::new();
    nested.insert(format!("k{}", file % 7), json!({"x": n}));
    nested.insert("mode".to_owned(), if file.is_multiple_of(2) { json!(1) } else { json!("auto") });
    put("meta", if n.is_multiple_of(11) { Value::Null } else { Value::Object(nested) });
    // Integers beyond what binary64 holds, and beyond 64 bits.
    put("big", json!(9_007_199_254_740_993_u64 + u64::from(n)));
    put("wide", if n % 100 == 7 { json!(u64::MAX) } else { json!(-i64::from(n)) });
    // Integers become fractions.
    put("cost", if file < 200 { json!(n) } else { json!(f64::from(n) + 0.25) });
    // Always null, sometimes null, sometimes missing.
    put("nothing", Value::Null);
    if !n.is_multiple_of(4) {
        put("maybe", if n % 4 == 1 { Value::Null } else { json!(n % 4 == 2) });
    }
    row.as_object().expect("an object").clone()
}

fn source() -> Vec<Map<String, Value>> {
    (0..FILES).flat_map(|file| (0..ROWS_PER_FILE).map(move |i| row(file, i))).collect()
}

fn project(format: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\nwindow: {{month: 2026-03}}\npartition: {{by: none}}\nformat: {format}"
    ));
    for file in 0..FILES {
        let text: String = (0..ROWS_PER_FILE).map(|i| format!("{}\n", Value::Object(row(file, i)))).collect();
        project.write(&format!("data/{file:03}.ndjson"), text);
    }
    project
}

/// Every key of the source, at the top.
fn keys(rows: &[Map<String, Value>]) -> BTreeSet<String> {
    rows.iter().flat_map(|row| row.keys().cloned()).collect()
}

/// A value without the nulls that stand for missing keys.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Where a column became text, the source's value is the text or its JSON.
fn same(source: &Value, exported: &Value) -> bool {
    let (source, exported) = (without_nulls(source), without_nulls(exported));
    source == exported
        || match &exported {
            Value::String(text) => serde_json::from_str::<Value>(text).is_ok_and(|v| without_nulls(&v) == source),
            // An integer in a column of fractions, as 7.0.
            Value::Number(n) => source.is_number() && n.as_f64() == source.as_f64() && !source.is_u64_beyond_binary64(),
            _ => false,
        }
}

trait Beyond {
    fn is_u64_beyond_binary64(&self) -> bool;
}

impl Beyond for Value {
    fn is_u64_beyond_binary64(&self) -> bool {
        self.as_u64().is_some_and(|n| n > 1 << 53)
    }
}

fn by_id(rows: Vec<Row>) -> std::collections::BTreeMap<String, Row> {
    rows.into_iter().map(|row| (cell(&row, "event_id"), row)).collect()
}

#[test]
fn no_key_and_no_value_of_a_drifting_source_is_lost_in_json() {
    let source = source();
    for format in ["ndjson", "json"] {
        let package = project(format).complete();
        let exported = by_id(package.rows());
        assert_eq!(exported.len(), source.len());
        let all_keys = keys(&source);
        for row in &source {
            let out = &exported[row["event_id"].as_str().unwrap()];
            assert_eq!(out.keys().cloned().collect::<BTreeSet<_>>(), all_keys, "every row has every key");
            for key in &all_keys {
                let value = row.get(key).unwrap_or(&Value::Null);
                assert!(same(value, &out[key]), "{format} {key}: {value} became {}", out[key]);
            }
        }
    }
}

#[test]
fn absent_keys_can_be_left_out() {
    let filled = by_id(project("ndjson").complete().rows());
    let package = project("{ndjson: {absent: omit}}").complete();
    assert_eq!(package.manifest()["spec"]["resolved"]["format"], serde_json::json!({"ndjson": {"absent": "omit"}}));
    let omitted = by_id(package.rows());
    assert_eq!(omitted.len(), filled.len());
    for (id, row) in &filled {
        let (filled, omitted) = (Value::Object(row.clone()), Value::Object(omitted[id].clone()));
        assert_eq!(without_nulls(&filled), without_nulls(&omitted));
        assert!(omitted.as_object().unwrap().values().all(|value| !value.is_null()), "{omitted}");
    }
}

#[test]
fn a_drifting_source_has_all_its_rows_and_columns_in_csv_and_parquet() {
    let source = source();
    let all_keys = keys(&source);
    for format in ["csv", "parquet"] {
        let package = project(format).complete();
        let columns: BTreeSet<String> = package.manifest()["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(columns, all_keys, "{format}");
        let exported = by_id(package.rows());
        assert_eq!(exported.len(), source.len());
        for row in &source {
            let out = &exported[row["event_id"].as_str().unwrap()];
            assert_eq!(out.keys().cloned().collect::<BTreeSet<_>>(), all_keys);
            // In a column of numbers and text the cell is JSON, so that 1 and "1" stay two things.
            for key in ["big", "wide", "code", "count"] {
                assert_eq!(cell(out, key), row[key].to_string(), "{format} {key}");
            }
        }
    }
}

#[test]
fn the_manifest_records_what_the_columns_became() {
    let manifest = project("ndjson").complete().manifest();
    let kind = |name: &str| {
        let columns = manifest["columns"].as_array().unwrap();
        columns.iter().find(|c| c["name"] == name).map(|c| c["type"].as_str().unwrap().to_owned()).unwrap()
    };
    assert_eq!(kind("count"), "int64");
    assert_eq!(kind("big"), "int64");
    assert_eq!(kind("code"), "json", "numbers and text, as they stood");
    assert_eq!(kind("policy"), "json");
    assert_eq!(kind("last_key"), "text");
    assert_eq!(kind("maybe"), "bool");
}

#[test]
fn drift_is_refused_where_the_spec_says_so() {
    let project = project("ndjson");
    let spec = std::fs::read_to_string(project.path("spec.yaml")).unwrap();
    project.write("spec.yaml", format!("{spec}on_schema_drift: fail\n"));
    project.run(&[]).exits(2).says(&["on_schema_drift"]);
    assert!(!project.path("package").exists());
}

#[test]
fn csv_files_with_other_columns_in_another_order_are_joined_by_name() {
    let project = Project::with_spec(
        "type: events\nsource: {uri: data/}\nwindow: {month: 2026-03}\npartition: {by: none}\nformat: ndjson",
    );
    project.write("data/a.csv", "event_id,occurred_at,x\na,2026-03-01T00:00:00Z,1\n");
    project.write("data/b.csv", "x,y,event_id,occurred_at\ntwo,2,b,2026-03-01T00:00:00Z\n");
    project.write("data/c.csv", "event_id,occurred_at\n");
    let rows = project.complete().rows();
    assert_eq!(rows.len(), 2);
    assert_eq!((cell(&rows[0], "x"), cell(&rows[0], "y")), ("1".to_owned(), String::new()));
    assert_eq!((cell(&rows[1], "x"), cell(&rows[1], "y")), ("two".to_owned(), "2".to_owned()));
}

/// Files in which a column has two spellings.
fn two_spellings(rest: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\ntime: {{column: ts}}\nwindow: {{date: 2026-03-05}}\nformat: ndjson\n{rest}"
    ));
    project.write(
        "data/a.ndjson",
        "{\"ts\":\"2026-03-05T10:00:00Z\",\"id\":1}\n{\"ts\":\"2026-03-05T10:00:01Z\",\"id\":2}\n",
    );
    project.write("data/b.ndjson", "{\"ts\":\"2026-03-05T10:00:02Z\",\"ID\":2}\n");
    project
}

#[test]
fn columns_that_differ_in_case_are_told_and_never_halve_a_filter() {
    let said = "the columns `id` and `ID` differ only in case";
    let help = "declare one of them in `schema` to read them as one column, or all of them to keep them apart";
    let project = two_spellings("");
    project.run(&[]).exits(0).says(&[&format!("warning: spec.yaml: {said}; {help}")]);
    let rows = project.package().rows();
    assert_eq!(serde_json::json!(rows[2]), serde_json::json!({"ts": "2026-03-05T10:00:02Z", "id": null, "ID": 2}));
    for (rest, place) in [
        ("filters: {ID: 2}", "spec.yaml:9:11"),
        ("where: id = 2", "spec.yaml:9:8"),
        ("id: id\norder: time", "spec.yaml:9:5"),
    ] {
        two_spellings(rest).run(&[]).exits(2).says(&[said, help, place]);
    }
}

#[test]
fn a_declared_spelling_holds_the_values_of_the_others() {
    let project = two_spellings("schema: {id: int64}\nfilters: {id: 2}");
    let package = project.complete();
    let expected =
        serde_json::json!([{"ts": "2026-03-05T10:00:01Z", "id": 2}, {"ts": "2026-03-05T10:00:02Z", "id": 2}]);
    assert_eq!(serde_json::json!(package.rows()), expected);
    let drift = package.manifest()["source"]["drift"].to_string();
    assert!(drift.contains("`id` holds the values of `ID`, too, as declared"), "{drift}");

    let apart = two_spellings("schema: {id: int64, ID: int64}\nfilters: {id: 2}").complete();
    let expected = serde_json::json!([{"ts": "2026-03-05T10:00:01Z", "id": 2, "ID": null}]);
    assert_eq!(serde_json::json!(apart.rows()), expected);

    let both = two_spellings("schema: {id: int64}");
    both.write(
        "data/c.ndjson",
        "{\"ts\":\"2026-03-05T10:00:00Z\",\"id\":1}\n{\"ts\":\"2026-03-05T10:00:03Z\",\"id\":3,\"ID\":4}\n",
    );
    let message = "c.ndjson:2: the row has values in `id` and in `ID`; declare each in `schema` to keep them apart";
    both.run(&[]).exits(4).says(&[message]);
}

#[test]
fn a_time_with_two_spellings_is_read_in_both_once_one_is_declared() {
    let project = two_spellings("schema: {ts: text, id: int64}");
    project.write(
        "data/b.ndjson",
        "{\"TS\":\"2026-03-05T10:00:02Z\",\"ID\":2}\n{\"TS\":\"2026-03-06T10:00:02Z\",\"ID\":3}\n",
    );
    let package = project.complete();
    assert_eq!(package.rows().len(), 3);
    assert_eq!(package.manifest()["accounting"]["outside_window"], 1);
}
