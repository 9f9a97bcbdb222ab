//! What an encrypted package tells to those who cannot read it: nothing that confirms a guess of a row.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::project::{Outcome, Package, Project, files_below, outcome};

const ALICE: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const TO_ALICE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// One row: whoever knows the columns and the time has a dozen guesses for the rest.
const ROW: &str = "{\"occurred_at\":\"2026-03-01T10:00:00.123456Z\",\"user\":\"alice\",\"action\":\"fired\"}\n";
const PLAIN_CSV: &str = "occurred_at,user,action\n2026-03-01T10:00:00.123456Z,alice,fired\n";

const FOOTER_KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const USER_KEY: &[u8; 16] = b"fedcba9876543210";

fn project(rest: &str) -> Project {
    let project = Project::with_spec(&format!(
        "type: events\nsource: {{uri: data/}}\nwindow: {{date: 2026-03-01}}\ncompression: none\nrows_digest: true\n{rest}"
    ));
    project.write("data/2026-03-01.ndjson", ROW);
    project.write("alice.txt", format!("{ALICE}\n"));
    project.write("user.key", BASE64.encode(USER_KEY));
    project
}

fn to_alice(rest: &str) -> Project {
    project(&format!("encryption: {{age: {{recipients: [{TO_ALICE}]}}}}\n{rest}"))
}

fn with_key(project: &Project, args: &[&str]) -> Outcome {
    outcome(project.command(args).env("FOOTER", BASE64.encode(FOOTER_KEY)))
}

/// The digest of the row, whatever the format, from a package of it in clear.
fn rows_digest() -> String {
    let clear = project("");
    clear.run(&[]).exits(0);
    clear.package().files()[0]["rows_digest"].as_str().unwrap().to_owned()
}

#[track_caller]
fn tells_none(package: &Package, secrets: &[&str]) {
    for (name, path) in files_below(&package.root) {
        let bytes = std::fs::read(path).unwrap();
        for secret in secrets {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} is in {name}");
        }
    }
}

/// As somebody changes it who keeps the list of digests in step.
fn edit(package: &Package, edit: impl FnOnce(&mut Value)) {
    let mut manifest = package.manifest();
    edit(&mut manifest);
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    let digest = |bytes: &[u8]| HEXLOWER.encode(&Sha256::digest(bytes));
    let mut sums = String::new();
    for file in package.files() {
        sums += &format!("{}  {}\n", file["sha256"].as_str().unwrap(), file["path"].as_str().unwrap());
    }
    sums += &format!("{}  manifest.json\n", digest(text.as_bytes()));
    std::fs::write(package.root.join("manifest.json"), text).unwrap();
    std::fs::write(package.root.join("SHA256SUMS"), sums).unwrap();
    let _ = std::fs::remove_file(package.root.join("report.html"));
}

#[test]
fn no_file_of_an_encrypted_package_confirms_a_guess_of_a_row() {
    let project = to_alice("");
    project.run(&[]).exits(0);
    let plain_sha256 = HEXLOWER.encode(&Sha256::digest(PLAIN_CSV));
    let rows = rows_digest();
    let package = project.package();
    // Records of runs and the report as little as the manifest.
    tells_none(&package, &[&plain_sha256, &rows, "10:00:00", "plain_bytes", "fired"]);
    let manifest = package.manifest();
    assert!(manifest.get("rows_digest").is_none(), "{manifest:#}");
    let file = &package.files()[0];
    assert_eq!((&file["min_time"], &file["max_time"]), (&Value::Null, &Value::Null));

    // Whoever can read the file can read it all, with tools of others.
    let key: age::x25519::Identity = ALICE.parse().unwrap();
    let sealed = BASE64.decode(file["sealed"]["data"].as_str().unwrap().as_bytes()).unwrap();
    let facts: Value = serde_json::from_slice(&age::decrypt(&key, &sealed).unwrap()).unwrap();
    let time = "2026-03-01T10:00:00.123456Z";
    let expected = json!({
        "sha256": file["sha256"], "plain_bytes": PLAIN_CSV.len(), "plain_sha256": plain_sha256, "rows_digest": rows,
        "min_time": time, "max_time": time,
    });
    assert_eq!(facts, expected);

    let said = project.call(&["verify", "--rows", "package"]).exits(0);
    said.says(&["what is sealed of 1 encrypted file was not opened because no --identity was given"]);
    let opened = project.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0);
    opened.says(&[
        "what is sealed of 1 encrypted file",
        "give that of all rows, rows-v1:sha256:",
        "read back; rows of shards also compared by digest",
    ]);
    // Sealed once more, it is other bytes, so that nobody can compare packages by it.
    project.run(&["--output", "again"]).exits(0);
    assert_ne!(project.package_in("again/package").files()[0]["sealed"], file["sealed"]);
    project.call(&["report", "package", "-o", "report.html"]).exits(0);
    assert!(!std::fs::read_to_string(project.path("report.html")).unwrap().contains("10:00:00"));
}

#[test]
fn a_spec_may_publish_the_digests() {
    let sealed = to_alice("");
    let spec =
        "encryption: {age: {recipients: [ALICE]}, digests: clear}\nexpect: {max_lag: 24h}".replace("ALICE", TO_ALICE);
    let clear = project(&spec);
    for project in [&sealed, &clear] {
        project.run(&[]).exits(0);
    }
    let manifest = clear.package().manifest();
    assert_eq!(manifest["encryption"]["age"]["digests"], "clear");
    assert_eq!(manifest["files"][0]["plain_sha256"], HEXLOWER.encode(&Sha256::digest(PLAIN_CSV)));
    assert_eq!(manifest["files"][0]["rows_digest"], rows_digest());
    assert_eq!(manifest["files"][0]["min_time"], "2026-03-01T10:00:00.123456Z");
    assert!(manifest["rows_digest"].is_string() && manifest["files"][0].get("sealed").is_none());
    assert_eq!(manifest["expectations"][0]["actual"]["lag"], "50399.876544s");
    assert_eq!(manifest["spec"]["resolved"]["encryption"]["digests"], "clear");
    // Jobs that leave it out have the names that they had before it could be said.
    assert!(sealed.package().manifest()["spec"]["resolved"]["encryption"].get("digests").is_none());
    clear.call(&["reproduce", "package"]).exits(0);
    clear.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0);
}

#[test]
fn max_lag_is_told_by_a_bit_and_its_times_stay_sealed() {
    for (lag, code, holds) in [("14h", 0, true), ("13h", 3, false)] {
        let project = to_alice(&format!("expect: {{max_lag: {lag}}}"));
        project.run(&[]).exits(code);
        let package = project.package();
        tells_none(&package, &["10:00:00", "50399"]);
        let manifest = package.manifest();
        assert_eq!(manifest["expectations"][0]["actual"], json!({"sealed": true}));
        assert_eq!(manifest["expectations"][0]["holds"], holds);
        assert_eq!(manifest["files"][0]["sealed"]["within_max_lag"], holds);
        let key = ["-i", "alice.txt"];
        for keys in [&[][..], &key] {
            project.call(&[&["verify", "package"], keys].concat()).exits(0);
        }
        edit(&package, |m| m["files"][0]["sealed"]["within_max_lag"] = json!(!holds));
        let message = "the expectation `max_lag` is recorded to";
        project.call(&["verify", "package"]).exits(5).says(&[message]);
        let message = "`within_max_lag` does not match its sealed last time";
        project.call(&[&["verify", "package"][..], &key].concat()).exits(5).says(&[message]);
    }
}

#[test]
fn sealed_digests_that_are_changed_are_found() {
    let project = to_alice("");
    project.run(&[]).exits(0);
    project.run(&["--output", "other"]).exits(0);
    let package = project.package();
    let whole = package.manifest();
    let foreign = project.package_in("other/package").files()[0]["sealed"].clone();
    let lie = age::encrypt(
        &TO_ALICE.parse::<age::x25519::Recipient>().unwrap(),
        json!({"sha256": whole["files"][0]["sha256"], "plain_bytes": 1, "plain_sha256": "0".repeat(64)})
            .to_string()
            .as_bytes(),
    );
    let lie = BASE64.encode(&lie.unwrap());
    let verify = |keys: &[&str], message: &str| {
        project.call(&[&["verify", "--rows", "package"], keys].concat()).exits(5).says(&[message]);
    };
    let key = ["-i", "alice.txt"];
    edit(&package, |m| m["files"][0]["sealed"] = foreign);
    verify(&key, "its sealed digests cannot be opened: they were sealed for a file with SHA-256");
    edit(&package, |m| m["files"][0]["sealed"]["data"] = json!(lie));
    verify(&key, &format!("has {} plain bytes, but the manifest says 1", PLAIN_CSV.len()));
    edit(&package, |m| m["files"][0]["sealed"]["data"] = json!("bm90IGFnZQ=="));
    verify(&key, "its sealed digests cannot be opened: it is not an age file, or its header is damaged");
    edit(&package, |m| m["files"][0]["plain_sha256"] = json!("0".repeat(64)));
    verify(&[], "has in clear what `encryption` says is sealed");
    edit(&package, |m| _ = m["files"][0].as_object_mut().unwrap().remove("sealed"));
    verify(&[], "has no `sealed`, but `encryption` says that its digests are sealed");
    edit(&package, |m| *m = whole.clone());
    edit(&package, |m| m["encryption"]["age"]["digests"] = json!("clear"));
    verify(&[], "has a `sealed`, but `encryption` does not say that digests are sealed");
}

#[test]
fn facts_of_parquet_shards_are_for_those_who_have_all_their_keys() {
    let project = project(
        "format: parquet\nencryption: {parquet: {footer_key_env: FOOTER, columns: {user: {key_file: user.key}}}}\n",
    );
    with_key(&project, &["run", "spec.yaml", "--progress", "never", "--now", crate::project::NOW]).exits(0);
    let package = project.package();
    let rows = rows_digest();
    tells_none(&package, &[&rows, "10:00:00", "fired"]);
    let sealed = package.files()[0]["sealed"]["data"].as_str().unwrap().to_owned();
    let text = "what is sealed of 1 encrypted file was not opened because";
    let verify = |keys: &[&str]| with_key(&project, &[&["verify", "package"], keys].concat()).exits(0);
    verify(&[]).says(&[text, "because no --parquet-key was given"]);
    // The holder of one key must not be able to check guesses of a column that has another.
    let footer = ["--parquet-key", "footer=env:FOOTER"];
    verify(&footer).says(&[text, "because the key `column.user` was not given"]);
    let all = [&footer[..], &["--parquet-key", "column.user=file:user.key"]].concat();
    verify(&all).says(&["what is sealed of 1 encrypted file", "rows-v1:sha256:"]);
    with_key(&project, &[&["verify", "--rows", "package"][..], &all].concat()).exits(0);
    let reproduce = ["reproduce", "package"];
    with_key(&project, &reproduce).exits(2).says(&["give the keys of all its columns with `--parquet-key`"]);
    with_key(&project, &[&reproduce[..], &all].concat()).exits(0).says(&["reproduced"]);

    // As the documentation opens it, with nothing of ours.
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[&USER_KEY[..], FOOTER_KEY].concat());
    let key = ring::hmac::sign(&key, b"kt-export sealed facts 1");
    let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key.as_ref()).unwrap();
    let mut bytes = BASE64.decode(sealed.as_bytes()).unwrap();
    let (nonce, text) = bytes.split_at_mut(12);
    let nonce = ring::aead::Nonce::try_assume_unique_for_key(nonce).unwrap();
    let plain = ring::aead::LessSafeKey::new(key).open_in_place(nonce, ring::aead::Aad::empty(), text).unwrap();
    let facts: Value = serde_json::from_slice(plain).unwrap();
    assert_eq!((&facts["rows_digest"], &facts["max_time"]), (&json!(rows), &json!("2026-03-01T10:00:00.123456Z")));
}

#[test]
fn a_run_that_goes_on_ends_a_job_whose_sealed_digests_it_cannot_open() {
    let project = to_alice("expect: {max_lag: 14h}\npartition: {by: hour}");
    project.write("data/a.ndjson", ROW.replace("T10:", "T11:"));
    project.write("data/b.ndjson", ROW.replace("T10:", "T02:") + "{\"occurred_at\":");
    project.run(&[]).exits(3);
    project.write("data/b.ndjson", ROW.replace("T10:", "T02:"));
    project.run(&[]).exits(0);
    let package = project.package();
    tells_none(&package, &["10:00:00.123456", "11:00:00.123456", "plain_bytes"]);
    assert_eq!(package.manifest()["expectations"][0]["holds"], true);
    project.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0).says(&["rows-v1:sha256:"]);
}

/// A value, a digit string and a time that stand only in rows.
const CANARIES: [&str; 3] = ["SECRETVALUE", "9000000000000000019", "23:59:30"];

#[track_caller]
fn hides(outcome: &Outcome) {
    for canary in CANARIES {
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(canary), "{canary} is in:\n{said}");
    }
}

#[test]
fn no_message_about_an_encrypted_package_shows_a_value_or_the_time_of_a_row() {
    let good = "{\"occurred_at\":\"2026-03-05T10:00:00Z\",\"n\":9000000000000000019}\n";
    let no_time = "{\"occurred_at\":\"SECRETVALUE\",\"n\":1}\n";
    let no_row = "{\"occurred_at\":\"2026-03-05T23:59:30Z\",\"n\":\"SECRETVALUE\n";
    let next_day = "{\"occurred_at\":\"2026-03-05T23:59:30Z\",\"n\":2}\n";
    let withheld = "the value in `occurred_at` is not a time; it is withheld";
    let path_time = "source: {uri: data/, path_time: {pattern: \"%Y-%m-%d.ndjson\", covers: day}}";
    for (rest, rows, code, says) in [
        ("source: {uri: data/}", [good, no_time].concat(), 4, withheld),
        ("source: {uri: data/}\non_bad_rows: reject", [good, no_time].concat(), 3, withheld),
        (
            "source: {uri: data/}\non_bad_rows: reject",
            [good, no_row].concat(),
            3,
            "2026-03-05.ndjson:2: not JSON at byte",
        ),
        ("source: {uri: data/}\nwhere: n * n * n * n > 0", good.to_owned(), 4, "exceeds 38 digits"),
        (
            path_time,
            good.to_owned(),
            4,
            "2026-03-06.ndjson:1: the row's time, which is withheld, is outside 2026-03-06T00:00:00Z to \
             2026-03-07T00:00:00Z, which by `path_time` this file covers; 1 file was skipped on such a claim and may hold \
             rows of the window, too: widen it (`path_time: {…, early: …}`), or",
        ),
    ] {
        let project = Project::with_spec(&format!(
            "type: events\nwindow: {{date: 2026-03-05}}\nencryption: {{age: {{recipients: [{TO_ALICE}]}}}}\n{rest}"
        ));
        project.write("data/2026-03-05.ndjson", rows);
        project.write("alice.txt", format!("{ALICE}\n"));
        if rest == path_time {
            project.write("data/2026-03-06.ndjson", next_day);
        }
        let outcome = project.run(&[]).exits(code).says(&[says]);
        hides(&outcome);
        let package = project.package();
        tells_none(&package, &CANARIES);
        for command in [&["plan", "spec.yaml"][..], &["doctor", "spec.yaml"], &["verify", "package"]] {
            hides(&project.call(command));
        }
        hides(&project.run(&["--json"]).exits(code));
        tells_none(&package, &CANARIES);
        // Only the encrypted file of rejected rows has them, and says what is wrong with them.
        if code == 3 {
            let key: age::x25519::Identity = ALICE.parse().unwrap();
            let name = package.manifest()["rejects"][0]["path"].as_str().unwrap().to_owned();
            let rejects = age::decrypt(&key, &std::fs::read(package.root.join(name)).unwrap()).unwrap();
            let rejects = String::from_utf8(rejects).unwrap();
            let line: Value = serde_json::from_str(&rejects).unwrap();
            let shown =
                if says == withheld { [&line["row"]["occurred_at"], &line["error"]] } else { [&line["raw"]; 2] };
            assert!(shown.iter().all(|text| text.as_str().unwrap().contains("SECRETVALUE")), "{rejects}");
        }
    }
}
