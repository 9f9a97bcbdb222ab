//! `sample`: rows that anybody can draw again, where they say they are.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::project::{Project, daily_files};
use crate::s3_server::S3Server;
use crate::stores::{call, project_on};

fn project(format: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\nwindow: {{date_from: 2026-03-01, date_to: 2026-03-05}}\nformat: {format}"
    ));
    for (name, text) in daily_files(5, 60) {
        project.write(&name, text);
    }
    project.run(&[]).exits(0);
    project
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The drawing as the documentation describes it, written anew.
fn drawn_by_hand(manifest: &[u8], seed: u64, rows: usize, population: u128) -> Vec<(u64, u64)> {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let digest = hex(&Sha256::digest(manifest));
    let mut drawn: Vec<(u64, u64)> = Vec::new();
    for i in 1.. {
        if drawn.len() == rows {
            break;
        }
        let text = hex(&Sha256::digest(format!("kt-export sample 1 {digest} {seed} {i}")));
        let row = u64::try_from(u128::from_str_radix(&text[..32], 16).unwrap() % population).unwrap() + 1;
        if drawn.iter().all(|(other, _)| *other != row) {
            drawn.push((row, i));
        }
    }
    drawn.sort_unstable();
    drawn
}

#[test]
fn the_same_seed_draws_the_same_rows_and_they_stand_where_they_say() {
    for format in ["csv", "ndjson", "json", "parquet", "{csv: {header: false, bom: true, delimiter: ';'}}"] {
        let project = project(format);
        let args = ["sample", "package", "--rows", "25", "--seed", "7"];
        let first =
            project.call(&args).exits(0).says(&["25 of 300 rows with seed 7", " of 5 shards, all digests match"]);
        assert_eq!(first.stdout, project.call(&args).exits(0).stdout);
        let sampled = lines(&first.stdout);
        let manifest = std::fs::read(project.path("package/manifest.json")).unwrap();
        let numbers: Vec<(u64, u64)> =
            sampled.iter().map(|row| (row["row"].as_u64().unwrap(), row["draw"].as_u64().unwrap())).collect();
        assert_eq!(numbers, drawn_by_hand(&manifest, 7, 25, 300));

        for row in &sampled {
            let number = row["row"].as_u64().unwrap();
            assert_eq!(row["file_row"], (number - 1) % 60 + 1);
            let day = (number - 1) / 60 + 1;
            assert!(row["file"].as_str().unwrap().starts_with(&format!("data/2026-03-{day:02}/part-0000.")));
            assert_eq!(row["values"]["event_id"], format!("e{day}-{}", (number - 1) % 60), "{format}");
        }
        let other = project.call(&["sample", "package", "--seed", "8"]).exits(0);
        assert_ne!(other.stdout, first.stdout);
    }
}

#[test]
fn values_are_shown_as_they_are_in_the_shard() {
    for (format, n) in [("csv", json!("0")), ("ndjson", json!(0)), ("json", json!(0)), ("parquet", json!(0))] {
        let all = project(format).call(&["sample", "package", "--rows", "1000", "--seed", "1"]).exits(0);
        let rows = lines(&all.stdout);
        assert_eq!(rows.len(), 300);
        assert_eq!((&rows[0]["values"]["n"], &rows[0]["draw"]), (&n, &Value::Null));
        assert!(all.stdout.starts_with("{\"row\":1,\"file\":\"data/2026-03-01/part-0000."), "{}", &all.stdout[..80]);
    }
}

#[test]
fn one_object_holds_the_sample_and_what_it_was_drawn_from() {
    let project = project("csv");
    let answer =
        project.call(&["sample", "package", "--rows", "3", "--seed", "18446744073709551615", "--json"]).exits(0);
    let answer = answer.json();
    let manifest = project.package().manifest();
    assert_eq!(
        (&answer["version"], &answer["population"], &answer["seed"]),
        (&json!(1), &json!(300), &json!(u64::MAX))
    );
    assert_eq!((&answer["job_id"], answer["rows"].as_array().unwrap().len()), (&manifest["id"], 3));
}

#[test]
fn only_shards_with_drawn_rows_are_read_and_one_that_changed_is_named() {
    let project = project("csv");
    let rows = lines(&project.call(&["sample", "package", "--rows", "2", "--seed", "3"]).exits(0).stdout);
    let used: Vec<&str> = rows.iter().map(|row| row["file"].as_str().unwrap()).collect();
    for file in project.package().files() {
        let name = file["path"].as_str().unwrap();
        let path = project.path("package").join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, changed).unwrap();
        let outcome = project.call(&["sample", "package", "--rows", "2", "--seed", "3"]);
        if used.contains(&name) {
            outcome.exits(5).says(&[name, "but the manifest says", "restore it from a copy"]);
        } else {
            outcome.exits(0);
        }
        std::fs::write(&path, whole).unwrap();
    }
    let manifest = project.path("package/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"name\": \"test\"", "\"name\": \"best\"")).unwrap();
    project
        .call(&["sample", "package", "--seed", "3"])
        .exits(5)
        .says(&["SHA256SUMS in ", "is not what manifest.json gives"]);
    project
        .call(&["sample", "data", "--seed", "3"])
        .exits(2)
        .says(&["data has no manifest.json: name the folder of a package"]);
}

#[test]
fn a_sample_of_a_package_in_a_store_is_that_of_its_copy() {
    let server = S3Server::start();
    let project = project_on(&server, "format: parquet");
    call(&project, &server, &["run", "spec.yaml", "--progress", "never", "--now", crate::project::NOW]).exits(0);
    let args = ["sample", "s3://bucket/evidence/package", "--rows", "9", "--seed", "7"];
    let remote = call(&project, &server, &args).exits(0);
    for key in server.keys("evidence/package/") {
        project.write(key.strip_prefix("evidence/").unwrap(), server.get(&key).unwrap());
    }
    let local = project.call(&["sample", "package", "--rows", "9", "--seed", "7"]).exits(0);
    assert_eq!(remote.stdout, local.stdout);
    assert_eq!(lines(&local.stdout).len(), 9);
}

#[test]
fn of_a_partial_package_what_is_there_is_sampled_and_that_is_said() {
    let project = Project::with_spec(
        "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-02}\non_bad_rows: reject",
    );
    for (name, text) in daily_files(2, 10) {
        project.write(&name, text);
    }
    project.write("data/2026-03-03.ndjson", "nonsense\n");
    project.run(&[]).exits(3);
    let sampled = project.call(&["sample", "package", "--rows", "5", "--seed", "1"]).exits(0);
    assert_eq!(lines(&sampled.stdout).len(), 5);
    sampled.says(&["5 of 20 rows", "warning: the package is partial: only rows in its shards can be drawn"]);
}
