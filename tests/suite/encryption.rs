//! Encrypted packages: readable by those who are named and by nobody else, checked without a key as far as possible and
//! with one to the last byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use age::secrecy::ExposeSecret;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::encryption::decrypt::FileDecryptionProperties;
use serde_json::{Value, json};

use crate::project::{Package, Project, daily_files, files_below, outcome};

const MARCH: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-03}\n";

/// What stands in every row and must stand nowhere in the package.
const CANARY: &str = "of day";

/// Makes an identity file and gives its public key.
fn identity(project: &Project, name: &str) -> String {
    let key = age::x25519::Identity::generate();
    project.write(name, format!("# {name}\n{}\n", key.to_string().expose_secret()));
    key.to_public().to_string()
}

/// Three days, encrypted for Alice, whose key is in `alice.txt`.
fn project_of(rest: &str) -> (Project, String) {
    let project = Project::new();
    let alice = identity(&project, "alice.txt");
    project.spec(&format!("{MARCH}encryption: {{age: {{recipients: [{alice}]}}}}\n{rest}"));
    for (name, text) in daily_files(3, 60) {
        project.write(&name, text);
    }
    (project, alice)
}

fn paths(package: &Package) -> Vec<String> {
    package.files().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
}

/// What is sealed of a file, as the age crate alone opens it for Alice.
fn facts(project: &Project, file: &Value) -> Value {
    for fact in ["plain_bytes", "plain_sha256", "rows_digest"] {
        assert!(file.get(fact).is_none(), "{fact} stands in clear");
    }
    let secret = std::fs::read_to_string(project.path("alice.txt")).unwrap();
    let key: age::x25519::Identity = secret.lines().last().unwrap().parse().unwrap();
    let sealed = data_encoding::BASE64.decode(file["sealed"]["data"].as_str().unwrap().as_bytes()).unwrap();
    serde_json::from_slice(&age::decrypt(&key, &sealed).unwrap()).unwrap()
}

/// `plain_sha256` by partition.
fn plain_digests(project: &Project, package: &Package) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let digest = |file: &Value| text(&facts(project, file)["plain_sha256"]);
    package.files().iter().map(|f| (text(&f["partition"]["label"]), digest(f))).collect()
}

#[track_caller]
fn is_nowhere(package: &Package, canary: &str) {
    for (name, path) in files_below(&package.root) {
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{canary} is in {name}");
    }
}

#[test]
fn every_format_and_compression_decrypts_to_what_it_would_be_in_clear() {
    for (format, compression, extensions) in [
        ("csv", "zstd", "csv.zst"),
        ("csv", "none", "csv"),
        ("ndjson", "gzip", "ndjson.gz"),
        ("json", "zstd", "json.zst"),
        ("parquet", "zstd", "parquet"),
        ("parquet", "none", "parquet"),
    ] {
        let rest = format!("format: {format}\ncompression: {compression}");
        let (project, alice) = project_of(&rest);
        project.run(&[]).exits(0);
        let package = project.package();
        let manifest = package.manifest();
        assert_eq!(manifest["encryption"], json!({"age": {"recipients": [alice], "digests": "sealed"}}));
        is_nowhere(&package, CANARY);
        project.call(&["verify", "package"]).exits(0).says(&[
            "the plain bytes of 3 encrypted files were not read, because no --identity was given (their stored digests \
             were checked)",
        ]);
        let verified = project.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0);
        verified.says(&["plain size and SHA-256 of 3 encrypted files", "rows of 3 files, read back"]);

        project.spec(&format!("{MARCH}{rest}"));
        project.run(&["--output", "clear"]).exits(0);
        let clear = project.package_in("clear/package");
        for (locked, open) in package.files().iter().zip(clear.files()) {
            let path = locked["path"].as_str().unwrap();
            assert!(path.ends_with(&format!(".{extensions}.age")), "{path}");
            let open_bytes = std::fs::read(clear.root.join(open["path"].as_str().unwrap())).unwrap();
            let facts = facts(&project, locked);
            assert_eq!((&facts["plain_sha256"], &facts["plain_bytes"]), (&open["sha256"], &open["bytes"]));
            assert_eq!((&facts["min_time"], &facts["max_time"]), (&open["min_time"], &open["max_time"]));
            assert_eq!((&locked["min_time"], &locked["max_time"]), (&Value::Null, &Value::Null));
            assert_eq!(locked["rows"], open["rows"]);
            let stored = format!("package/{path}");
            project.call(&["decrypt", &stored, "-i", "alice.txt", "-o", "decrypted"]).exits(0);
            assert_eq!(std::fs::read(project.path("decrypted")).unwrap(), open_bytes);
            std::fs::remove_file(project.path("decrypted")).unwrap();
        }
    }
}

#[test]
fn each_of_two_recipients_reads_alone_and_a_third_does_not() {
    let (project, alice) = project_of("");
    let bob = identity(&project, "bob.txt");
    identity(&project, "eve.txt");
    project.write("auditors.txt", format!("# the auditors\n{bob}\n\n{alice}\n"));
    project.spec(&format!("{MARCH}encryption: {{age: {{recipients: [{alice}], recipients_file: auditors.txt}}}}"));
    project.run(&[]).exits(0);
    let package = project.package();
    assert_eq!(package.manifest()["encryption"], json!({"age": {"recipients": [alice, bob], "digests": "sealed"}}));
    for reader in ["alice.txt", "bob.txt"] {
        project.call(&["verify", "--rows", "package", "-i", reader]).exits(0);
    }
    let path = paths(&package).remove(0);
    let message = "cannot be decrypted: none of the given identities is among its recipients";
    project.call(&["verify", "package", "-i", "eve.txt"]).exits(5).says(&[&path, message]);
    let stored = format!("package/{path}");
    project.call(&["decrypt", &stored, "-i", "eve.txt", "-o", "out"]).exits(4).says(&[message]);
    assert!(!project.path("out").exists());
    // It is compared by its plain bytes.
    for reader in ["alice.txt", "bob.txt"] {
        project.call(&["reproduce", "package", "-i", reader]).exits(0).says(&["reproduced"]);
    }
    project.call(&["reproduce", "package"]).exits(2).says(&[
        "the digests to compare are sealed in this package, and no --identity was given; give an identity of one \
         of its recipients with `--identity`, or set `digests: clear`",
    ]);
    let sealed = "cannot be opened: none of the given identities is among its recipients";
    project.call(&["reproduce", "package", "-i", "eve.txt"]).exits(4).says(&["the sealed digests of", sealed]);
    // Of several identities one is enough.
    project.call(&["decrypt", &stored, "-i", "eve.txt", "-i", "bob.txt", "-o", "out"]).exits(0);
}

#[test]
fn plain_bytes_are_the_same_for_any_number_of_threads_and_stored_bytes_never() {
    let (project, _) = project_of("partition: {max_rows: 25}");
    let digests = |threads: &str, output: &str| {
        project.run(&["--threads", threads, "--output", output]).exits(0);
        let files = project.package_in(&format!("{output}/package")).files();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let plain: Vec<_> = files.iter().map(|f| text(&facts(&project, f)["plain_sha256"])).collect();
        (plain, files.iter().map(|f| text(&f["sha256"])).collect::<Vec<_>>())
    };
    let (one, stored_one) = digests("1", "one");
    let (four, stored_four) = digests("4", "four");
    assert_eq!((one.len(), &one), (9, &four));
    assert!(stored_one.iter().all(|digest| !stored_four.contains(digest)));
}

#[test]
fn a_killed_run_is_gone_on_with_and_keeps_what_was_committed() {
    let (project, _) = project_of("");
    for (name, text) in daily_files(3, 20_000) {
        project.write(&name, text);
    }
    project.run(&["--output", "golden"]).exits(0);
    let golden = plain_digests(&project, &project.package_in("golden/package"));
    let mut kept = 0;
    for wanted in 0..3 {
        let output = format!("killed-{wanted}");
        let args = ["run", "spec.yaml", "--progress", "never", "--now", crate::project::NOW, "--output", &output];
        let mut run = project.command(&args).stderr(Stdio::null()).spawn().unwrap();
        let records = project.path(&format!("{output}/package/_state/partitions"));
        while files_below(&records).len() < wanted && run.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = run.kill();
        run.wait().unwrap();
        let package = project.package_in(&format!("{output}/package"));
        let committed = files_below(&records).into_values().map(|path| std::fs::read_to_string(path).unwrap());
        let committed: Vec<String> = committed.collect();
        project.run(&["--output", &output]).exits(0);
        assert_eq!(plain_digests(&project, &package), golden);
        for path in paths(&package) {
            kept += usize::from(committed.iter().any(|record| record.contains(&path)));
        }
        let verified = format!("{output}/package");
        project.call(&["verify", "--rows", &verified, "-i", "alice.txt"]).exits(0);
    }
    assert!(kept >= 3, "what was committed stayed: {kept}");
}

#[test]
fn a_partial_job_is_completed_and_repaired_and_a_complete_one_is_not() {
    let (project, _) = project_of("");
    let whole = std::fs::read(project.path("data/2026-03-02.ndjson")).unwrap();
    project.write("data/2026-03-02.ndjson", &whole[..whole.len() / 2 + 7]);
    project.run(&[]).exits(3);
    let package = project.package();
    let first = package.file("2026-03-01");
    std::fs::remove_file(package.root.join(package.file("2026-03-03")["path"].as_str().unwrap())).unwrap();
    project.write("data/2026-03-02.ndjson", &whole);
    project.run(&[]).exits(4).says(&["2026-03-03", "is missing", "--repair"]);
    project.run(&["--repair"]).exits(0);
    assert_eq!(package.file("2026-03-01")["path"], first["path"]);
    project.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0);

    let before = package.manifest();
    let path = first["path"].as_str().unwrap();
    let stored = std::fs::read(package.root.join(path)).unwrap();
    std::fs::remove_file(package.root.join(path)).unwrap();
    let message = format!(
        "is damaged: {path} is missing; its files are encrypted, so that no export has the same bytes: restore the files from a \
         copy, or export the window again into another `output.uri`"
    );
    for args in [&[][..], &["--repair"]] {
        project.run(args).exits(4).says(&[&message]);
    }
    assert_eq!(package.manifest(), before);
    std::fs::write(package.root.join(path), stored).unwrap();
    project.run(&[]).exits(0).says(&["complete already"]);
}

#[test]
fn readers_are_not_changed_while_a_job_is_under_way() {
    let (project, alice) = project_of("");
    let bob = identity(&project, "bob.txt");
    let spec = format!("{MARCH}encryption: {{age: {{recipients_file: auditors.txt}}}}");
    project.spec(&spec);
    project.write("auditors.txt", format!("{alice}\n"));
    let whole = std::fs::read(project.path("data/2026-03-02.ndjson")).unwrap();
    project.write("data/2026-03-02.ndjson", &whole[..whole.len() / 2 + 7]);
    project.run(&[]).exits(3);
    project.write("data/2026-03-02.ndjson", &whole);
    project.write("auditors.txt", format!("{alice}\n{bob}\n"));
    let refused = project.run(&["--json"]).exits(4).says(&["was started with other recipients or keys"]);
    assert_eq!(refused.json()["specs"][0]["error_code"], "key_unusable");
    project.write("auditors.txt", format!("# as before\n{alice}\n"));
    project.run(&[]).exits(0);
    assert_eq!(
        project.package().manifest()["encryption"],
        json!({"age": {"recipients": [alice], "digests": "sealed"}})
    );
}

#[test]
fn damage_anywhere_in_an_encrypted_shard_is_named_and_never_decrypted() {
    let (project, _) = project_of("compression: none");
    for (name, text) in daily_files(3, 3_000) {
        project.write(&name, text);
    }
    project.run(&[]).exits(0);
    let package = project.package();
    let path = paths(&package).remove(1);
    let stored = package.root.join(&path);
    let whole = std::fs::read(&stored).unwrap();
    assert!(whole.len() > 2 << 16, "several chunks");
    let spread = (0..12).map(|n| n * (whole.len() - 1) / 11);
    for at in spread.chain([30, 80, 120]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        for damaged in [flipped.as_slice(), &whole[..at]] {
            std::fs::write(&stored, damaged).unwrap();
            project.call(&["verify", "package"]).exits(5).says(&[&path]);
            let outcome = project.call(&["decrypt", stored.to_str().unwrap(), "-i", "alice.txt", "-o", "out"]);
            outcome.exits(4).says(&["cannot be decrypted: "]);
            assert!(!project.path("out").exists() && !project.path("out.unfinished").exists());
        }
    }
    std::fs::write(&stored, &whole).unwrap();
    project.call(&["verify", "package"]).exits(0);
}

#[test]
fn a_manifest_that_lies_of_the_plain_bytes_is_found_with_the_key() {
    let (project, alice) = project_of("");
    project.spec(&format!("{MARCH}encryption: {{age: {{recipients: [{alice}]}}, digests: clear}}\n"));
    project.run(&[]).exits(0);
    let package = project.package();
    let digest = package.files()[1]["plain_sha256"].as_str().unwrap().to_owned();
    let path = package.root.join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&digest, &"0".repeat(64))).unwrap();
    let message = format!("has plain bytes with SHA-256 {digest}, but the manifest says 0000");
    project.call(&["verify", "package", "-i", "alice.txt"]).exits(5).says(&[&paths(&package)[1], &message]);
}

#[test]
fn rejects_are_encrypted_like_shards() {
    let (project, _) = project_of("on_bad_rows: reject\non_null_time: reject");
    let text = std::fs::read_to_string(project.path("data/2026-03-02.ndjson")).unwrap();
    project
        .write("data/2026-03-02.ndjson", format!("{text}{{\"secret-canary\": tru}}\n{{\"note\":\"secret-canary\"}}\n"));
    project.run(&[]).exits(3);
    let package = project.package();
    is_nowhere(&package, "secret-canary");
    is_nowhere(&package, CANARY);
    let rejects = package.manifest()["rejects"][0].clone();
    let path = rejects["path"].as_str().unwrap();
    assert!(path.ends_with(".ndjson.age"), "{path}");
    project.call(&["decrypt", &format!("package/{path}"), "-i", "alice.txt", "-o", "rejects.ndjson"]).exits(0);
    let plain = std::fs::read_to_string(project.path("rejects.ndjson")).unwrap();
    assert_eq!(plain.matches("secret-canary").count(), 2, "{plain}");
    assert_eq!(facts(&project, &rejects)["plain_bytes"], plain.len());
    project.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0).says(&["4 encrypted files"]);
    // Running again leaves no file that nobody vouches for.
    project.run(&[]).exits(3);
    project.call(&["verify", "--rows", "package", "-i", "alice.txt"]).exits(0);
}

#[test]
fn who_is_no_recipient_is_told_where_it_is_written() {
    let (project, alice) = project_of("");
    let secret = std::fs::read_to_string(project.path("alice.txt")).unwrap();
    let secret = secret.lines().last().unwrap();
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice";
    project.spec(&format!("{MARCH}encryption: {{age: {{recipients: [{alice}, {ssh}, age1nobody]}}}}"));
    for command in [&["validate", "spec.yaml"][..], &["run", "spec.yaml", "--progress", "never"]] {
        project.call(command).exits(2).says(&[
            "a recipient in `encryption` is an SSH key, and only age keys (`age1…`) can be recipients",
            "a recipient in `encryption` is not an age public key: it is mistyped or truncated",
            "spec.yaml:7",
        ]);
    }
    project.spec(&format!("{MARCH}encryption: {{age: {{recipients: [{secret}, {ssh}]}}}}"));
    let said = project.run(&["--json"]).exits(2).says(&[
        "a recipient in `encryption` is a secret key: name the public key instead",
        "a recipient in `encryption` is an SSH key",
    ]);
    assert!(!said.stderr.contains(secret) && !said.stdout.contains(secret), "{said:?}");

    project.spec(&format!("{MARCH}encryption: {{age: {{recipients_file: auditors.txt}}}}"));
    let missing = project.run(&["--json"]).exits(4).says(&["cannot read the recipients in ", "auditors.txt"]);
    assert_eq!(missing.json()["specs"][0]["error_code"], "key_unusable");
    project.write("auditors.txt", format!("{alice}\n{ssh}\n\nnobody\n"));
    project.run(&[]).exits(2).says(&["auditors.txt, line 2: the recipient is an SSH key", "auditors.txt, line 4: the"]);
    project.write("auditors.txt", "# nobody yet\n");
    project.run(&[]).exits(2).says(&["auditors.txt names no recipient"]);
    assert!(!project.path("package").exists(), "nothing was written");
    project.call(&["doctor", "spec.yaml", "--now", crate::project::NOW]).exits(2).says(&["keys", "names no recipient"]);
}

#[test]
fn decrypt_takes_standard_input_and_several_files_and_replaces_nothing() {
    let (project, _) = project_of("format: ndjson\ncompression: none");
    project.run(&[]).exits(0);
    let package = project.package();
    let stored: Vec<String> = paths(&package).iter().map(|path| format!("package/{path}")).collect();
    let text = std::fs::read_to_string(project.path("data/2026-03-01.ndjson")).unwrap();

    let mut child = project.command(&["decrypt", "-", "-i", "alice.txt"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(project.path(&stored[0])).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let rows = |text: &str| text.lines().count();
    assert_eq!(rows(std::str::from_utf8(&output.stdout).unwrap()), rows(&text));

    let several = [
        &["decrypt", "-i", "alice.txt", "-o", "out/"],
        stored.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
    ]
    .concat();
    let named: Vec<String> =
        stored.iter().map(|name| name.rsplit('/').next().unwrap().trim_end_matches(".age").to_owned()).collect();
    // Parts of several days have one name.
    project.call(&several).exits(2).says(&[&format!("out/{} already exists", named[1])]);
    assert_eq!(std::fs::read(project.path(&format!("out/{}", named[0]))).unwrap(), output.stdout);

    let beside = project.call(&["decrypt", &stored[0], "-i", "alice.txt", "--json"]).exits(0).json();
    assert_eq!(beside["files"][0]["output"], json!(stored[0].trim_end_matches(".age")));
    assert_eq!(beside["files"][0]["bytes"], json!(output.stdout.len()));
    let taken = project.call(&["decrypt", &stored[0], "-i", "alice.txt"]).exits(2);
    taken.says(&["already exists: remove it or choose another name"]);
    project.call(&["verify", "package"]).exits(5).says(&["is not in the manifest"]);
}

#[test]
fn decrypt_says_what_it_was_not_told() {
    let (project, _) = project_of("");
    project.write("a.age", "no age file");
    project.write("a.bin", "no age file");
    let said = |args: &[&str], code, text: &str| {
        let outcome = project.call(&[&["decrypt"], args].concat()).exits(code);
        assert_eq!(outcome.stderr.trim_end(), format!("error: {text}"));
    };
    said(&["a.age"], 2, "no key to decrypt with: give `--identity FILE` or `--passphrase-env NAME`");
    said(
        &["a.bin", "-i", "alice.txt"],
        2,
        "a.bin does not end with .age: give a name for the decrypted file with \
        `--output`",
    );
    let several = "cannot decrypt several files into one file: give a folder with `--output`, or leave it out";
    said(&["a.age", "a.age", "-o", "b", "-i", "alice.txt"], 2, several);
    let json = "`--json` and the decrypted bytes cannot both go to stdout: give a file with `--output`";
    said(&["a.age", "-o", "-", "--json", "-i", "alice.txt"], 2, json);
    let unset = "the environment variable NO_SUCH is not set; set it to the passphrase";
    said(&["a.age", "--passphrase-env", "NO_SUCH"], 2, unset);
    let text = "`a.age` cannot be decrypted: it is not an age file, or its header is damaged";
    said(&["a.age", "-i", "alice.txt"], 4, text);
    project.call(&["decrypt", "a.age", "-i", "none.txt"]).exits(2).says(&["cannot read the identity file none.txt"]);
    project.call(&["decrypt", "none.age", "-i", "alice.txt"]).exits(4).says(&["none.age"]);
}

#[test]
fn a_job_is_encrypted_by_a_flag_and_downloaded_with_the_key() {
    for format in ["csv", "parquet"] {
        let (project, alice) = project_of("");
        identity(&project, "eve.txt");
        project.write("catalog.yaml", "version: 1\ntypes:\n  events: {source: {uri: data/}}\n");
        let asked = ["jobs", "create", "--type", "events", "--date-from", "2026-03-01", "--date-to", "2026-03-03"];
        let asked = [&asked[..], &["--format", format, "--wait"]].concat();
        let id = |rest: &[&str]| project.call(&[&asked, rest].concat()).exits(0).stdout.trim_end().to_owned();
        let encrypted = id(&["--encrypt-to", &alice]);
        assert_eq!(id(&["--encrypt-to", &alice]), encrypted, "the same request is the same job");
        let clear = id(&[]);
        assert_ne!(clear, encrypted);
        let download = |id: &str, rest: &[&str]| project.call(&[&["jobs", "download", "--id", id], rest].concat());
        let name = format!("open.{format}");
        download(&encrypted, &["-o", &name]).exits(2).says(&["is encrypted: name a file with an identity"]);
        download(&encrypted, &["-o", &name, "-i", "eve.txt"]).exits(4).says(&["none of the given identities"]);
        download(&encrypted, &["-o", &name, "-i", "alice.txt"]).exits(0);
        download(&clear, &["-o", &format!("clear.{format}")]).exits(0);
        let bytes = |name: &str| std::fs::read(project.path(&format!("{name}.{format}"))).unwrap();
        assert!(bytes("open") == bytes("clear"));
        download(&encrypted, &["-o", "copy", "--shards"]).exits(0);
        project.call(&["verify", "--rows", "copy", "-i", "alice.txt"]).exits(0);
    }
}

const FOOTER_KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOTE_KEY: &[u8; 16] = b"fedcba9876543210";

/// Three days of Parquet, encrypted with its own keys.
fn parquet_project(rest: &str) -> Project {
    let project = Project::with_spec(&format!(
        "{MARCH}format: parquet\ncompression: none\nencryption: {{parquet: {{footer_key_env: FOOTER, {rest}}}}}"
    ));
    for (name, text) in daily_files(3, 60) {
        project.write(&name, text);
    }
    project.write("note.key", data_encoding::BASE64.encode(NOTE_KEY));
    project
}

/// Runs a command that finds the footer key.
fn with_key(project: &Project, args: &[&str]) -> crate::project::Outcome {
    outcome(project.command(args).env("FOOTER", data_encoding::BASE64.encode(FOOTER_KEY)))
}

const RUN: [&str; 6] = ["run", "spec.yaml", "--progress", "never", "--now", crate::project::NOW];

#[test]
fn parquet_shards_are_encrypted_whole_and_read_with_their_keys() {
    for (columns, record) in
        [("", json!({})), ("columns: {note: {key_file: note.key}}", json!({"note": "file:note.key"}))]
    {
        let project = parquet_project(columns);
        with_key(&project, &RUN).exits(0);
        let package = project.package();
        let encryption =
            json!({"algorithm": "AES_GCM_V1", "footer_key": "env:FOOTER", "columns": record, "digests": "sealed"});
        assert_eq!(package.manifest()["encryption"], json!({"parquet": encryption}));
        // Neither values, nor what statistics and dictionaries repeat, nor names of columns.
        for canary in [CANARY, "escalated", "e2-1", "occurred_at", "ARROW:schema"] {
            for path in paths(&package) {
                let bytes = std::fs::read(package.root.join(&path)).unwrap();
                assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PARE"[..], &b"PARE"[..]));
                assert!(!bytes.windows(canary.len()).any(|w| w == canary.as_bytes()), "{canary} is in {path}");
            }
        }
        let footer = "footer=env:FOOTER";
        let verify = ["verify", "--rows", "package"];
        with_key(&project, &verify).exits(0).says(&["rows of 3 files: encrypted without a given key"]);
        let column = "column.note=file:note.key";
        let both = [&verify[..], &["--parquet-key", footer, "--parquet-key", column]].concat();
        with_key(&project, &both).exits(0).says(&["rows of 3 files, read back"]);
        let alone = with_key(&project, &[&verify[..], &["--parquet-key", footer]].concat());
        if columns.is_empty() {
            alone.exits(0);
        } else {
            alone.exits(5).says(&["the key `column.note` was not given"]);
        }
        // As others read: keys by column, of every column.
        let mut keys = FileDecryptionProperties::builder(FOOTER_KEY.to_vec());
        for name in ["event_id", "occurred_at", "status", "n", "note"].iter().filter(|_| !columns.is_empty()) {
            keys = keys.with_column_key(name, if *name == "note" { NOTE_KEY.to_vec() } else { FOOTER_KEY.to_vec() });
        }
        let options = ArrowReaderOptions::new().with_file_decryption_properties(keys.build().unwrap());
        let file = std::fs::File::open(package.root.join(&paths(&package)[0])).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap().build().unwrap();
        assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 60);
        let refused = project.call(&["reproduce", "package"]).exits(2);
        refused.says(&["has Parquet encryption, which never gives the same bytes twice"]);
    }
}

#[test]
fn nested_columns_have_the_key_of_the_column_that_they_are_in() {
    let project = parquet_project("columns: {meta: {key_file: note.key}}");
    let row = |n: u32| {
        format!(
            "{{\"occurred_at\":\"2026-03-01T00:00:{n:02}Z\",\"meta\":{{\"user\":{{\"mail\":\"canary-{n}\"}},\"tags\":[\"canary\"]}},\"list\":[{{\"x\":\"canary\"}}]}}\n"
        )
    };
    project.write("data/2026-03-01.ndjson", (10..40).map(row).collect::<String>());
    with_key(&project, &RUN).exits(0);
    is_nowhere(&project.package(), "canary");
    let keys = ["--parquet-key", "footer=env:FOOTER", "--parquet-key", "column.meta=file:note.key"];
    with_key(&project, &[&["verify", "--rows", "package"][..], &keys].concat()).exits(0);
}

#[test]
fn keys_of_parquet_that_are_missing_or_wrong_are_told_before_anything_is_written() {
    let project = parquet_project("columns: {note: {key_file: note.key}}");
    let unusable = |outcome: crate::project::Outcome, text: &str| {
        let json = outcome.exits(4).says(&[text]).json();
        assert_eq!(json["specs"][0]["error_code"], "key_unusable");
    };
    let json = [&RUN[..], &["--json"]].concat();
    unusable(project.call(&json), "the environment variable FOOTER is not set");
    project.write("note.key", "too short");
    unusable(
        with_key(&project, &json),
        "the key in file:note.key is not base64; `openssl rand -base64 32` makes a key",
    );
    project.write("note.key", data_encoding::BASE64.encode(&[7; 24]));
    unusable(with_key(&project, &json), "the key in file:note.key has 24 bytes, but Parquet encryption needs 16 or 32");
    let project = parquet_project("columns: {noet: {key_file: note.key}}");
    with_key(&project, &RUN)
        .exits(2)
        .says(&["column `noet` has a key and is not in the shards", "did you mean `note`?"]);
    let project = Project::with_spec(&format!(
        "{MARCH}format: parquet\nencryption: {{parquet: {{footer_key_env: FOOTER}}}}\non_bad_rows: reject"
    ));
    let text = "rejected rows cannot be encrypted with Parquet keys";
    project.call(&["validate", "spec.yaml"]).exits(2).says(&[text, "write `on_bad_rows: fail`"]);
    assert!(!project.path("package").exists());
}

#[test]
fn what_the_program_writes_is_read_by_the_age_crate_alone() {
    let (project, _) = project_of("format: ndjson\ncompression: none");
    project.run(&[]).exits(0);
    let package = project.package();
    let secret = std::fs::read_to_string(project.path("alice.txt")).unwrap();
    let key: age::x25519::Identity = secret.lines().last().unwrap().parse().unwrap();
    let stored = std::fs::read(package.root.join(&paths(&package)[0])).unwrap();
    let plain = age::decrypt(&key, &stored).unwrap();
    assert_eq!(facts(&project, &package.files()[0])["plain_bytes"], plain.len());
}
