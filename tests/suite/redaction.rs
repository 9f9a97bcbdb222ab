//! Redaction, looked for where it must not fail: values that are nowhere else are searched in every byte that comes out.
//!
//! Each redacted value, the filters on redacted columns and the key hold one rare word. Pseudonyms were made with
//! `openssl dgst -sha256 -hmac`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::project::{NOW, Outcome, Project, Row, cell, column, daily_files, files_below};

/// What is in every value that must not come out.
const WORD: &str = "kanarienvogel";
const KEY: &str = "kanarienvogel-0123456789";

const SPEC: &str = "version: 1
name: test
type: things
source: {uri: data/}
time: {column: at}
id: id
schema: {meta: json, age: int64}
window: {date_from: 2026-03-01, date_to: 2026-03-02}
filters: {email: {not_in: [kanarienvogel-1, kanarienvogel-2]}, age: {gte: 1}}
where: \"note <> 'kanarienvogel'\"
redact:
  email: {hmac_sha256: {key_env: PSEUDONYM_KEY}}
  note: mask
  phone: nullify
  ssn: drop
  name: {replace: '[withheld, see DPIA]'}
  meta.user.email: {hmac_sha256: {key_env: PSEUDONYM_KEY}}
  meta.user.phone: nullify
  meta.token: drop
  meta.cards.number: mask
";

/// Paths into structs, which CSV does not have.
const NESTED: &str = "  user.email: {hmac_sha256: {key_env: PSEUDONYM_KEY}}
  user.phones.number: drop
  user.note: mask
";

fn project(source: &str, settings: &str, rows: &[Value]) -> Project {
    let project = Project::new();
    let nested = if source == "csv" { "" } else { NESTED };
    project.write("spec.yaml", format!("{SPEC}{nested}output: {{uri: package}}\n{settings}\n"));
    project.write(&format!("data/a.{source}"), source_file(source, rows));
    project
}

/// JSON with odd but lawful spelling; the values that must not come out are escaped in part.
fn meta(n: usize) -> String {
    format!(
        r#"{{"kept" : 1.50,  "us\u0065r":{{"em\u0061il":"\u006banarienvogel-{n}","phone":"{WORD}","x":[ ]}}, "token":{{"a":"{WORD}"}},"cards":[{{"number":"{WORD}"}},{{"number":null,"kind":"v"}}]}}"#
    )
}

/// Three rows of each of two days.
fn rows() -> Vec<Value> {
    let row = |n: usize| {
        json!({
            "id": format!("r{n}"), "at": format!("2026-03-0{}T0{}:00:00Z", n / 3 + 1, n % 3), "age": 20 + n,
            "email": format!("{WORD}-{n}@example.org"), "note": format!("about {WORD}, \"{n}\""),
            "phone": format!("+49 {WORD}"), "ssn": format!("{WORD}{n}"),
            "name": if n % 3 == 1 { Value::Null } else { format!("={WORD}").into() },
            "meta": meta(n),
            "user": {
                "email": format!("{WORD}-{n}@example.org"), "note": format!("{WORD}"), "kept": n,
                "phones": [{"number": format!("{WORD}"), "kind": "mobile"}, {"number": null, "kind": "home"}],
            },
        })
    };
    (0..6).map(row).collect()
}

/// Rows that cannot be read or placed, as far as the format can hold such.
fn bad_rows() -> Vec<Value> {
    let with = |key: &str, value: Value| {
        let mut row = rows().remove(0);
        row[key] = value;
        row
    };
    vec![with("at", Value::Null), with("at", format!("{WORD} 10:00").into())]
}

fn source_file(source: &str, rows: &[Value]) -> Vec<u8> {
    match source {
        "ndjson" | "json" => {
            let lines = rows.iter().map(|row| {
                let mut row = row.clone();
                let meta = row["meta"].as_str().expect("text").to_owned();
                row["meta"] = json!("META");
                // As it is spelled.
                row.to_string().replace("\"META\"", &meta)
            });
            let lines: Vec<String> = lines.collect();
            if source == "json" { format!("[{}]", lines.join(",\n")) } else { lines.join("\n") + "\n" }.into_bytes()
        }
        "csv" => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            let names = ["id", "at", "age", "email", "note", "phone", "ssn", "name", "meta"];
            writer.write_record(names).expect("memory");
            for row in rows {
                let row = row.as_object().expect("a row");
                writer.write_record(names.map(|name| cell(row, name))).expect("memory");
            }
            writer.into_inner().expect("memory")
        }
        _ => {
            let text: String = rows.iter().map(|row| row.to_string() + "\n").collect();
            let reader = arrow::json::ReaderBuilder::new(schema()).build(text.as_bytes()).expect("a reader");
            let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("rows")).collect();
            let mut bytes = Vec::new();
            if source == "parquet" {
                let mut writer = ArrowWriter::try_new(&mut bytes, schema(), None).expect("a writer");
                batches.iter().for_each(|batch| writer.write(batch).expect("memory"));
                writer.close().expect("memory");
            } else {
                let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut bytes, &schema()).expect("a writer");
                batches.iter().for_each(|batch| writer.write(batch).expect("memory"));
                writer.finish().expect("memory");
            }
            bytes
        }
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let phone = DataType::Struct(vec![text("number"), text("kind")].into());
    let phones = DataType::List(Arc::new(Field::new("item", phone, true)));
    let user =
        [text("email"), text("note"), Field::new("kept", DataType::Int64, true), Field::new("phones", phones, true)];
    Arc::new(Schema::new(vec![
        text("id"),
        text("at"),
        Field::new("age", DataType::Int64, true),
        text("email"),
        text("note"),
        text("phone"),
        text("ssn"),
        text("name"),
        text("meta"),
        Field::new("user", DataType::Struct(user.to_vec().into()), true),
    ]))
}

/// The word as it may hide: as it is, in hex, in base64 at each offset, escaped for JSON.
fn disguises() -> Vec<Vec<u8>> {
    let base64 = |offset: usize| {
        let text = [" ".repeat(offset).as_str(), WORD].concat();
        // What the bytes around it do not change.
        let encoded = data_encoding::BASE64.encode(text.as_bytes());
        encoded.as_bytes()[if offset == 0 { 0 } else { 4 }..text.len() / 3 * 4].to_vec()
    };
    let hex = |byte: u8| format!("{byte:02x}");
    let escaped = |byte: u8| format!("\\u00{byte:02x}");
    let hexes: String = WORD.bytes().map(hex).collect();
    let mut disguises = vec![
        WORD.as_bytes().to_vec(),
        hexes.to_uppercase().into_bytes(),
        hexes.into_bytes(),
        WORD.bytes().take(2).map(escaped).collect::<String>().into_bytes(),
        b"\\u006banarien".to_vec(),
    ];
    disguises.extend((0..3).map(base64));
    disguises
}

#[track_caller]
fn is_clean(what: &str, bytes: &[u8]) {
    for disguise in disguises() {
        let found = bytes.windows(disguise.len()).position(|part| part == disguise);
        let around = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..bytes.len().min(at + 80)]));
        assert!(found.is_none(), "{what} tells a value: {around:?}");
    }
}

/// Runs a command with the key, and searches what it says.
#[track_caller]
fn call(project: &Project, args: &[&str]) -> Outcome {
    let outcome = crate::project::outcome(project.command(args).env("PSEUDONYM_KEY", KEY));
    is_clean(&format!("stdout of {args:?}"), outcome.stdout.as_bytes());
    is_clean(&format!("stderr of {args:?}"), outcome.stderr.as_bytes());
    outcome
}

#[track_caller]
fn run(project: &Project) -> Outcome {
    call(project, &["run", "spec.yaml", "--now", NOW, "-vv", "--log-format", "json", "--json"])
}

/// Searches all files below a folder, also as they are without compression.
#[track_caller]
fn is_clean_below(folder: &Path) {
    let files = files_below(folder);
    assert!(!files.is_empty());
    for (name, path) in files {
        let bytes = std::fs::read(path).expect("readable");
        if name.ends_with(".zst") {
            is_clean(&name, &zstd::decode_all(&*bytes).expect("zstd"));
        }
        is_clean(&name, &bytes);
    }
}

const SOURCES: [&str; 5] = ["ndjson", "json", "csv", "parquet", "arrow"];

#[test]
fn no_redacted_value_comes_out_of_any_source_in_any_format() {
    let mut pseudonyms = BTreeSet::new();
    for source in SOURCES {
        for (format, settings) in [
            ("csv", "order: time\nformat: {csv: {escape_formulas: true}}"),
            ("ndjson", "format: ndjson"),
            ("json", "format: json\norder: time"),
            // Pages as they are, so that statistics and dictionaries can be searched.
            ("parquet", "format: parquet\ncompression: none"),
        ] {
            let project = project(source, settings, &rows());
            run(&project).exits(0);
            call(&project, &["verify", "--rows", "package", "--json"]).exits(0);
            is_clean_below(&project.path("package"));
            let package = project.package();
            package.balances();
            let rows = package.rows();
            assert_eq!(column(&rows, "id"), ["r0", "r1", "r2", "r3", "r4", "r5"]);
            assert_eq!(column(&rows, "note"), ["***"; 6]);
            assert_eq!(column(&rows, "phone"), [""; 6]);
            let replaced = "[withheld, see DPIA]";
            assert_eq!(column(&rows, "name"), [replaced, "", replaced, replaced, "", replaced]);
            assert!(rows.iter().all(|row| !row.contains_key("ssn")));
            pseudonyms.insert(column(&rows, "email"));
            let nested = |row: &Row, name: &str| match &row[name] {
                Value::String(text) => serde_json::from_str(text).expect("JSON"),
                value => value.clone(),
            };
            for (n, row) in rows.iter().enumerate() {
                let meta = nested(row, "meta");
                let expected = json!({
                    "kept": 1.50, "user": {"email": meta["user"]["email"], "phone": null, "x": []},
                    "cards": [{"number": "***"}, {"number": null, "kind": "v"}],
                });
                assert_eq!(meta, expected, "{source} to {format}");
                if source != "csv" {
                    let user = nested(row, "user");
                    let expected = json!({
                        "email": row["email"], "note": "***", "kept": n, "phones": [{"kind": "mobile"}, {"kind": "home"}],
                    });
                    assert_eq!(user, expected, "{source} to {format}");
                }
            }
        }
    }
    assert_eq!(pseudonyms.len(), 1, "the same in every format");
    // printf %s kanarienvogel-0@example.org | openssl dgst -sha256 -hmac kanarienvogel-0123456789
    assert_eq!(pseudonyms.first().expect("one")[0], "05c0414120f338a311326f4323cd28d9fedc7f255509056fbf2c1015a173ef66");
}

#[test]
fn the_manifest_attests_what_was_done_to_how_many_values() {
    let project = project("ndjson", "format: ndjson", &rows());
    run(&project).exits(0);
    let manifest = project.package().manifest();
    let told = |name: &str| {
        let columns = manifest["columns"].as_array().expect("a list");
        columns.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}"))["redaction"].clone()
    };
    // printf %s 'kt-export key id' | openssl dgst -sha256 -hmac kanarienvogel-0123456789
    let key_id = "277a10cdee1e0e64";
    assert_eq!(told("email"), json!([{"path": "email", "method": "hmac_sha256", "key_id": key_id, "values": 6}]));
    assert_eq!(told("name"), json!([{"path": "name", "method": "replace", "values": 4}]));
    assert_eq!(
        told("user"),
        json!([
            {"path": "user.email", "method": "hmac_sha256", "key_id": key_id, "values": 6},
            {"path": "user.phones.number", "method": "drop", "values": 6},
            {"path": "user.note", "method": "mask", "values": 6},
        ])
    );
    assert_eq!(told("meta").as_array().expect("a list").len(), 4);
    assert_eq!(told("id"), Value::Null);
    assert_eq!(manifest["dropped"], json!(["ssn"]));
    // printf %s '["kanarienvogel-1","kanarienvogel-2"]' | sha256sum
    let filters = json!({"age": {"gte": 1}, "email": {"not_in": {"redacted_sha256": "393d7558a376412c"}}});
    assert_eq!((&manifest["filters"], &manifest["spec"]["resolved"]["filters"]), (&filters, &filters));
    // printf %s "note <> 'kanarienvogel'" | sha256sum
    let condition = json!("redacted_sha256:7ae08a5c81d73529");
    assert_eq!((&manifest["where"], &manifest["spec"]["resolved"]["where"]), (&condition, &condition));
}

#[test]
fn rows_that_cannot_be_read_or_placed_tell_no_value() {
    for source in SOURCES {
        let mut rows = rows();
        rows.extend(bad_rows());
        if !matches!(source, "parquet" | "arrow") {
            let mut row = rows[0].clone();
            row["age"] = WORD.into();
            rows.insert(2, row);
        }
        for (settings, codes) in [("on_bad_rows: reject\non_null_time: reject", [3, 3]), ("", [3, 4])] {
            let project = project(source, settings, &rows);
            if source == "ndjson" {
                let text = std::fs::read_to_string(project.path("data/a.ndjson")).expect("text");
                let broken =
                    format!("{{\"id\":\"{WORD}\",\"email\":\"{WORD}\n{{\"a\":{{\"{WORD}\":1,\"{WORD}\":2}}}}\n");
                project.write("data/a.ndjson", text + &broken);
            }
            if source == "csv" {
                let text = std::fs::read_to_string(project.path("data/a.csv")).expect("text");
                project.write("data/a.csv", format!("{text}{WORD},2026-03-01T00:00:00Z,\"{WORD}\"\n"));
            }
            let outcome = run(&project);
            assert!(outcome.code.is_some_and(|code| codes.contains(&code)), "{source}: {outcome:?}");
            is_clean_below(&project.path("package"));
            call(&project, &["verify", "package", "-v"]);
        }
    }
}

#[test]
fn a_reject_says_where_the_row_stands_and_why_and_nothing_of_it() {
    let mut rows = rows();
    rows.extend(bad_rows());
    let project = project("ndjson", "on_bad_rows: reject\non_null_time: reject", &rows);
    run(&project).exits(3);
    let package = project.package();
    let name = package.manifest()["rejects"][0]["path"].as_str().expect("text").to_owned();
    assert_eq!(
        String::from_utf8(package.plain(&name)).expect("text"),
        "{\"file\":\"a.ndjson\",\"position\":7,\"error\":\"no time in `at`\"}\n\
         {\"file\":\"a.ndjson\",\"position\":8,\"error\":\"the value in `at` is not a time; it is withheld\"}\n"
    );
}

#[test]
fn files_whose_values_do_not_fit_the_plan_are_told_without_the_values() {
    for (declared, value) in [("int64", WORD.to_owned()), ("timestamp", WORD.to_owned()), ("json", format!("{{{WORD}"))]
    {
        let project = project("parquet", "", &rows());
        let spec = std::fs::read_to_string(project.path("spec.yaml")).expect("text");
        project.write("spec.yaml", spec.replace("age: int64", &format!("age: int64, id: {declared}")));
        let mut row = rows().remove(0);
        row["id"] = value.into();
        project.write("data/b.parquet", source_file("parquet", &[row]));
        let outcome = run(&project);
        assert!(matches!(outcome.code, Some(3 | 4)), "{outcome:?}");
        is_clean_below(&project.path("package"));
    }
}

#[test]
fn doctor_plan_and_jobs_tell_no_value() {
    let project = project("parquet", "format: ndjson", &rows());
    for verbose in [&["-vv", "--log-format", "json", "--json"][..], &["-v"]] {
        call(&project, &[&["plan", "spec.yaml", "--now", NOW], verbose].concat()).exits(0);
        let doctor = call(&project, &[&["doctor", "spec.yaml", "--now", NOW], verbose].concat()).exits(0);
        assert!((doctor.stdout + &doctor.stderr).contains("277a10cdee1e0e64"), "the key's id is told");
    }
    call(&project, &["plan", "spec.yaml", "--now", NOW, "--format", "markdown"]).exits(0);
    let id = call(&project, &["jobs", "create", "--spec", "spec.yaml", "--now", NOW, "--wait"]).exits(0).stdout;
    let id = id.trim_end();
    for args in [&["get", "--id", id][..], &["get", "--id", id, "--json"], &["list"], &["list", "--json"]] {
        call(&project, &[&["jobs"], args].concat()).exits(0);
    }
    let store = project.path(".kt-export");
    for (name, path) in files_below(&store) {
        let bytes = std::fs::read(path).expect("readable");
        if name.ends_with("job.json") {
            // It keeps the spec as it was written, so that another process can do the job.
            let mut record: Value = serde_json::from_slice(&bytes).expect("JSON");
            assert!(record["spec"]["text"].as_str().expect("text").contains(WORD));
            record["spec"] = Value::Null;
            is_clean(&name, record.to_string().as_bytes());
        } else {
            is_clean(&name, &bytes);
        }
    }
    call(&project, &["verify", "--rows", &format!(".kt-export/jobs/{id}/package")]).exits(0);
}

#[test]
fn all_but_the_redacted_values_is_as_it_would_be_without() {
    for order in ["source", "time"] {
        for format in ["csv", "ndjson", "parquet"] {
            let project = Project::new();
            for (name, text) in daily_files(3, 700) {
                project.write(&name, text);
            }
            let export = |redact: &str, output: &str| {
                project.write(
                    "spec.yaml",
                    format!(
                        "version: 1\nname: test\ntype: events\nsource: {{uri: data/}}\nfilters: {{n: {{gt: 100}}}}\n\
                         window: {{date_from: 2026-03-01, date_to: 2026-03-03}}\norder: {order}\nformat: {format}\n\
                         output: {{uri: {output}}}\n{redact}\n"
                    ),
                );
                project.run(&[]).exits(0);
                project.package_in(output).by_partition()
            };
            let plain = export("", "plain");
            let redacted = export("redact: {note: mask, status: {replace: x}}", "redacted");
            let without = |mut partitions: Vec<(String, Vec<Row>)>, expected: Option<(&str, &str)>| {
                for row in partitions.iter_mut().flat_map(|(_, rows)| rows) {
                    let (note, status) = (row.remove("note"), row.remove("status"));
                    if let Some((a, b)) = expected {
                        assert_eq!((note, status), (Some(a.into()), Some(b.into())));
                    }
                }
                partitions
            };
            assert_eq!(without(redacted, Some(("***", "x"))), without(plain, None), "{order}, {format}");
        }
    }
}

#[test]
fn shards_and_counts_are_the_same_for_any_number_of_threads() {
    for (order, format) in [("source", "csv"), ("time", "ndjson"), ("source", "parquet")] {
        let project = Project::new();
        for (name, text) in daily_files(2, 9000) {
            project.write(&name, text);
        }
        let redact =
            "redact: {note: {hmac_sha256: {key_env: PSEUDONYM_KEY}}, status: {hmac_sha256: {key_env: PSEUDONYM_KEY}}}";
        let of = |threads: &str| {
            let output = format!("threads-{threads}");
            project.write(
                "spec.yaml",
                format!(
                    "version: 1\nname: test\ntype: events\nsource: {{uri: data/}}\norder: {order}\nformat: {format}\n\
                     window: {{date_from: 2026-03-01, date_to: 2026-03-02}}\noutput: {{uri: {output}}}\n{redact}\n"
                ),
            );
            call(&project, &["run", "spec.yaml", "--now", NOW, "--threads", threads]).exits(0);
            let package = project.package_in(&output);
            (package.shards(), package.manifest()["columns"].clone())
        };
        let (shards, columns) = of("1");
        assert_eq!(columns[4]["redaction"][0]["values"], 18_000);
        assert_eq!(of("3"), (shards, columns), "{order}, {format}");
    }
}

#[test]
fn other_filter_values_are_another_job() {
    let id = |value: &str| {
        let project = project("ndjson", "", &rows());
        let spec = std::fs::read_to_string(project.path("spec.yaml")).expect("text");
        project.write("spec.yaml", spec.replace("kanarienvogel-2", value));
        run(&project).exits(0);
        project.package().manifest()["id"].as_str().expect("text").to_owned()
    };
    assert_ne!(id("kanarienvogel-2"), id("kanarienvogel-3"));
}

#[test]
fn a_key_that_is_missing_or_short_ends_the_run_before_anything_is_written() {
    let project = project("ndjson", "", &rows());
    let with = |key: Option<&str>, command: &str| {
        let mut command = project.command(&[command, "spec.yaml", "--now", NOW]);
        key.map(|key| command.env("PSEUDONYM_KEY", key));
        crate::project::outcome(&mut command)
    };
    for command in ["run", "doctor"] {
        with(None, command)
            .exits(4)
            .says(&["the environment variable PSEUDONYM_KEY is not set; set it to the key, where this process runs"]);
        with(Some("0123456789"), command).exits(4).says(&["the key in env:PSEUDONYM_KEY has 10 bytes", "at least 16"]);
        assert!(!project.path("package").exists());
    }
    with(None, "plan").exits(0);
}

#[test]
fn a_package_that_was_begun_with_one_key_is_not_continued_with_another() {
    let project = Project::new();
    for (name, text) in daily_files(2, 10) {
        project.write(&name, text);
    }
    project.write("data/2026-03-02.ndjson", "{");
    project.spec(
        "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-02}\n\
         redact: {note: {hmac_sha256: {key_env: PSEUDONYM_KEY}}}",
    );
    call(&project, &["run", "spec.yaml", "--now", NOW]).exits(3);
    let before = project.package().snapshot();
    // The source is mended, so that the plan is made anew.
    for (name, text) in daily_files(2, 10) {
        project.write(&name, text);
    }
    let with_another_key = || {
        let mut command = project.command(&["run", "spec.yaml", "--now", NOW]);
        crate::project::outcome(command.env("PSEUDONYM_KEY", "another-key-of-enough-bytes")).exits(4)
    };
    // printf %s 'kt-export key id' | openssl dgst -sha256 -hmac another-key-of-enough-bytes
    let texts = [
        "the key for `note` has the id 43c707efce8f56c7, but the package was started with 277a10cdee1e0e64, and its pseudonyms",
    ];
    with_another_key().says(&texts);
    assert_eq!(project.package().snapshot(), before);
    std::fs::remove_file(project.path("package/manifest.json")).expect("a manifest");
    with_another_key().says(&texts);
}

#[test]
fn mistakes_in_redact_are_told_at_their_place() {
    let project = project("ndjson", "", &rows());
    let spec = std::fs::read_to_string(project.path("spec.yaml")).expect("text");
    project.write("spec.yaml", spec.replace("  note: mask", "  noet: mask\n  user.emial: mask\n  at: mask"));
    snapbox::assert_data_eq!(
        call(&project, &["run", "spec.yaml", "--now", NOW]).exits(2).stderr,
        snapbox::str![[r#"
error: redacted column `noet` is not in the source
  --> spec.yaml:13:3
   |
13 |   noet: mask
   |   ^^^^
   |
   = help: did you mean `note`?

error: `user` has no field `emial`
  --> spec.yaml:14:3
   |
14 |   user.emial: mask
   |   ^^^^^^^^^^
   |
   = help: did you mean `email`?

error: `at` is the time column, which partition names and `min_time` reveal, so it cannot be redacted
  --> spec.yaml:15:3
   |
15 |   at: mask
   |   ^^
   |
   = help: `drop` leaves the exact times out of the shards

"#]]
    );
}

#[test]
fn values_in_names_of_folders_cannot_be_redacted() {
    let project = Project::new();
    project.write("data/team=red/a.csv", "id,at\n1,2026-03-01T00:00:00Z\n");
    project.spec(
        "type: things\nsource: {uri: data/}\ntime: {column: at}\nwindow: {date: 2026-03-01}\nredact: {team: mask}",
    );
    project.run(&[]).exits(2).says(&["`team` comes from the names of folders, which the manifest lists"]);
}
