//! Numbers and epochs whose digits matter: filtered by value, exported as they stood, whatever types are declared.

use crate::project::{Project, column};

/// A project that exports `data/` of March 1st to 3rd, with more lines of spec.
fn project(rest: &str) -> Project {
    Project::with_spec(&format!(
        "type: readings\nsource: {{uri: data/}}\npartition: {{by: none}}\n\
         window: {{start: 2026-03-01T00:00:00Z, end: 2026-03-04T00:00:00Z}}\n{rest}"
    ))
}

/// Values of one column, each written in a way that no binary type gives back beside the others.
const VALUES: [&str; 10] =
    ["9.5", "10.25", "1.1751297344248116", "100.0", "7", "1e-3", "1E5", "-0", "-2.50", "12345678901234567890.5"];

fn csv(values: &[&str]) -> String {
    let row = |(i, value): (usize, &&str)| format!("2026-03-01T00:00:{i:02}Z,{value}\n");
    format!("ts,x\n{}", values.iter().enumerate().map(row).collect::<String>())
}

fn ndjson(values: &[&str]) -> String {
    let row = |(i, value): (usize, &&str)| format!("{{\"ts\":\"2026-03-01T00:00:{i:02}Z\",\"x\":{value}}}\n");
    values.iter().enumerate().map(row).collect()
}

fn with_values(name: &str, rest: &str) -> Project {
    let project = project(&format!("time: {{column: ts}}\nrows_digest: true\n{rest}"));
    let text = if name.ends_with(".csv") { csv(&VALUES) } else { ndjson(&VALUES) };
    project.write(name, text);
    project
}

#[test]
fn a_column_of_numbers_in_several_notations_is_filtered_by_value() {
    for name in ["data/m.csv", "data/m.ndjson"] {
        for (condition, expected) in [
            ("filters: {x: {gte: 5}}", vec!["9.5", "10.25", "100.0", "7", "1E5", "12345678901234567890.5"]),
            ("filters: {x: {lt: 1}}", vec!["1e-3", "-0", "-2.50"]),
            ("filters: {x: {between: [0.001, 9.5]}}", vec!["9.5", "1.1751297344248116", "7", "1e-3"]),
            ("filters: {x: 100000}", vec!["1E5"]),
            ("filters: {x: [0, 100, -2.5]}", vec!["100.0", "-0", "-2.50"]),
            (
                "filters: {x: {not_in: [0, 100, 7, 9.5, 10.25]}}",
                vec!["1.1751297344248116", "1e-3", "1E5", "-2.50", "12345678901234567890.5"],
            ),
            ("where: \"x > 1.1751297344248115 AND x < 1.1751297344248117\"", vec!["1.1751297344248116"]),
            ("where: \"x = 12345678901234567890.5 OR x BETWEEN -3 AND -2\"", vec!["-2.50", "12345678901234567890.5"]),
            ("where: \"x IN (7.0, 950e-2) OR x IS NULL\"", vec!["9.5", "7"]),
        ] {
            let package = with_values(name, &format!("format: csv\n{condition}")).complete();
            assert_eq!(column(&package.rows(), "x"), expected, "{name}: {condition}");
        }
    }
}

#[test]
fn digits_of_numbers_are_exported_as_they_stood_in_every_format() {
    for name in ["data/m.csv", "data/m.ndjson"] {
        let mut digests = Vec::new();
        for format in ["csv", "ndjson", "json", "parquet", "{csv: {escape_formulas: true}}"] {
            let package = with_values(name, &format!("format: {format}")).complete();
            let manifest = package.manifest();
            assert_eq!(manifest["columns"][1]["type"], "number", "{manifest}");
            digests.push(manifest["rows_digest"].clone());
            match format {
                "parquet" => assert_eq!(column(&package.rows(), "x"), VALUES),
                _ => {
                    let label = package.files()[0]["partition"]["label"].as_str().unwrap().to_owned();
                    let text = package.text(&label);
                    let behind = if format.contains("csv") { "," } else { "\"x\":" };
                    for value in VALUES {
                        assert!(text.contains(&format!("{behind}{value}")), "{format}: no {value} in {text}");
                    }
                }
            }
        }
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    }
}

#[test]
fn files_that_differ_in_the_notation_of_a_number_are_one_column_of_numbers() {
    let project = project("time: {column: ts}\nformat: ndjson\nfilters: {x: {gt: 1}}");
    project.write("data/a.csv", csv(&["1", "20"]));
    project.write("data/b.csv", csv(&["1.5"]));
    project.write("data/c.ndjson", ndjson(&["0.1234567890123456789", "99.90"]));
    let text = project.complete().text("all");
    let values: Vec<&str> = text.lines().filter_map(|line| line.split("\"x\":").nth(1)?.strip_suffix('}')).collect();
    assert_eq!(values, ["20", "1.5", "99.90"]);
}

#[test]
fn no_help_leads_to_a_comparison_of_numbers_as_text() {
    let refused = |rest: &str, texts: &[&str]| {
        let project = with_values("data/m.csv", rest);
        project.write("data/n.csv", "ts,x,code\n2026-03-01T01:00:00Z,1,007\n");
        project.run(&[]).exits(2).says(&["spec.yaml:"]).says(texts);
    };
    refused("filters: {x: {gte: \"5\"}}", &["`x` is number", "without quotes"]);
    refused(
        "filters: {code: {gte: 5}}",
        &["declare the column of text in `schema` as number", "'10' is less than '9'"],
    );
    refused("where: \"x * 2 > 5\"", &["to compute with it, declare the column in `schema` as decimal(p,s) or float64"]);
    refused("filters: {x: {gt: 0.12345678901234567890}}", &["write the condition in `where`, which keeps every digit"]);
}

#[test]
fn a_declared_number_takes_every_notation_and_refuses_other_text() {
    let project =
        project("time: {column: ts}\nformat: csv\nschema: {x: number}\non_bad_rows: reject\nfilters: {x: {lte: 2}}");
    project.write("data/m.csv", csv(&["2.0", "1e0", "n/a", "007", "3"]));
    project.run(&[]).exits(3);
    let package = project.package();
    package.balances();
    assert_eq!(column(&package.rows(), "x"), ["2.0", "1e0"]);
    assert_eq!(package.manifest()["accounting"]["rejected"], 2);
}

#[test]
fn epochs_with_fractions_are_read_whatever_digits_a_night_has() {
    for (name, text) in [
        ("data/a.csv", "ts,id\n1772366400.123,1\n1772366401.456,2\n"),
        ("data/a.csv", "ts,id\n1772366400.123,1\n1772366401.450,2\n"),
        ("data/a.csv", "ts,id\n1772366400,1\n1772366401.000000001,2\n"),
        ("data/a.ndjson", "{\"ts\":1772366400.123,\"id\":1}\n{\"ts\":1772366401.450,\"id\":2}\n"),
        ("data/a.ndjson", "{\"ts\":1772366400,\"id\":1}\n{\"ts\":1.77236640145E9,\"id\":2}\n"),
        ("data/a.ndjson", "{\"ts\":\"1772366400.123\",\"id\":1}\n{\"ts\":1772366401.45,\"id\":2}\n"),
    ] {
        let project = project("time: {column: ts, format: epoch_s}\nformat: csv");
        project.write(name, text);
        let rows = project.complete().rows();
        assert_eq!(column(&rows, "id"), ["1", "2"], "{text}");
        for time in column(&rows, "ts") {
            assert!(text.contains(time.trim_matches('"')), "{time} is not in {text}");
        }
    }
    // Compact local times, as in an Event Log File.
    let project = project("time: {column: ts, format: \"%Y%m%d%H%M%S%.f\"}\nformat: csv");
    project.write("data/a.csv", "ts,id\n20260302135741.945,1\n20260302235959.999,2\n");
    assert_eq!(column(&project.complete().rows(), "ts"), ["20260302135741.945", "20260302235959.999"]);
}

#[test]
fn an_epoch_finer_than_a_nanosecond_is_a_bad_row_with_its_place() {
    let project = project("time: {column: ts, format: epoch_s}\nformat: csv");
    project.write("data/a.csv", "ts,id\n1772366400.123,1\n1772366400.1234567891,2\n");
    project.run(&[]).exits(4).says(&["a.csv:3: `1772366400.1234567891` is not a time", "digits below the nanosecond"]);
}

const DECLARED: [&str; 17] = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "decimal(20,6)",
    "number",
    "text",
    "date",
    "timestamp",
    "json",
    "decimal(10,0)",
];

/// Values that a column may hold: as JSON, and as a cell of CSV.
const KINDS: [(&str, &str); 10] = [
    ("1772366400", "1772366400"),
    ("1772366400.25", "1772366400.25"),
    ("1.7723664E9", "1.7723664E9"),
    ("\"1772366400\"", "01772366400"),
    ("\"2026-03-02\"", "2026-03-02"),
    ("\"2026-03-02T10:00:00Z\"", "2026-03-02T10:00:00Z"),
    ("\"2026-03-02T10:00:00+02:00\"", "\"\"\"2026-03-02T10:00:00+02:00\"\"\""),
    ("true", "true"),
    ("{\"a\":1}", "\"{\"\"a\"\":1}\""),
    ("null", ""),
];

#[test]
fn every_declared_type_over_every_kind_of_value_is_accounted_for_or_refused() {
    for declared in DECLARED {
        for format in ["auto", "epoch_s", "\"%s%.f\""] {
            for is_json in [true, false] {
                let project = project(&format!(
                    "time: {{column: ts, format: {format}}}\nschema: {{ts: \"{declared}\", other: \"{declared}\"}}\n\
                     on_bad_rows: reject\non_null_time: reject\nformat: ndjson"
                ));
                for (i, (json, cell)) in KINDS.iter().enumerate() {
                    let (name, text) = match is_json {
                        true => (format!("data/{i}.ndjson"), format!("{{\"ts\":{json},\"other\":{json}}}\n").repeat(2)),
                        false => (format!("data/{i}.csv"), format!("ts,other\n{cell},{cell}\n{cell},{cell}\n")),
                    };
                    project.write(&name, text);
                }
                let outcome = project.run(&[]);
                let case = format!("{declared} {format} json={is_json}: {}", outcome.stderr);
                match outcome.code {
                    Some(2) => assert!(outcome.stderr.contains("spec.yaml:"), "{case}"),
                    Some(0 | 3) => {
                        let package = project.package();
                        package.balances();
                        assert_eq!(package.manifest()["accounting"]["source_rows"], 20, "{case}");
                    }
                    _ => panic!("{case}"),
                }
            }
        }
    }
}

#[test]
fn a_time_column_declared_as_text_or_json_over_numbers_is_exported() {
    for declared in ["text", "json", "number", "float64"] {
        let project =
            project(&format!("time: {{column: ts, format: \"%s%.f\"}}\nschema: {{ts: {declared}}}\nformat: csv"));
        project.write("data/z.ndjson", "{\"ts\":1772366400.82437,\"a\":1}\n{\"ts\":1772366400.827696,\"a\":2}\n");
        let package = project.complete();
        assert_eq!(column(&package.rows(), "ts"), ["1772366400.82437", "1772366400.827696"], "{declared}");
    }
}
