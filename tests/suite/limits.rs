//! What anybody may put in front of the program: files without an end, lines of nothing, shards that are bombs.

use std::io::{Read, Write, repeat};
use std::path::Path;
use std::process::Command;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::project::{NOW, Outcome, Package, Project, outcome};

const DAY: &str = "type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}";
const ROWS: &str = "{\"occurred_at\":\"2026-03-01T10:00:00Z\",\"id\":\"a\"}\n";

fn project(rest: &str) -> Project {
    let project = Project::with_spec(&format!("{DAY}\n{rest}"));
    project.write("data/2026-03-01.ndjson", ROWS);
    project
}

/// Runs a command in so much memory, and so long at most that a reader that hangs is seen.
fn bounded(project: &Project, kibibytes: u64, args: &[&str]) -> Outcome {
    outcome(&mut limited(project, kibibytes, args))
}

/// As [`bounded`], to be started.
fn limited(project: &Project, kibibytes: u64, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let limits = format!("ulimit -v {kibibytes}; exec timeout 300 \"$0\" \"$@\"");
    command.current_dir(project.path("")).arg("-c").arg(limits).arg(env!("CARGO_BIN_EXE_kt-export")).args(args);
    command.env("NO_COLOR", "1").env("RAYON_NUM_THREADS", "2").env_remove("RUST_BACKTRACE");
    command
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// Puts other bytes into the place of the one shard, and the manifest in step.
fn replace_shard(package: &Package, bytes: &[u8]) {
    let mut manifest: Value = package.manifest();
    let path = package.root.join(manifest["files"][0]["path"].as_str().unwrap());
    std::fs::write(&path, bytes).unwrap();
    let digest = |bytes: &[u8]| HEXLOWER.encode(&Sha256::digest(bytes));
    manifest["files"][0]["sha256"] = json!(digest(bytes));
    manifest["files"][0]["bytes"] = json!(bytes.len());
    manifest["total_bytes"] = json!(bytes.len());
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    let path = manifest["files"][0]["path"].as_str().unwrap();
    let sums = format!("{}  {path}\n{}  manifest.json\n", digest(bytes), digest(text.as_bytes()));
    std::fs::write(package.root.join("manifest.json"), text).unwrap();
    std::fs::write(package.root.join("SHA256SUMS"), sums).unwrap();
    std::fs::remove_file(package.root.join("report.html")).unwrap();
}

/// A text that goes on for gigabytes, in some hundred kilobytes.
fn bomb(start: &str, byte: u8) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(start.as_bytes()).unwrap();
    std::io::copy(&mut repeat(byte).take(4 << 30), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn shards_that_decompress_to_gigabytes_are_a_finding_in_bounded_memory() {
    let long = "row 1 is longer than 512 MiB, the maximum for one row";
    for (format, digest, bytes, found, sampled) in [
        ("ndjson", false, bomb("{\"id\":\"", b'a'), long, "has a row 1 that is longer than 512 MiB"),
        ("ndjson", true, bomb("{\"id\":\"", b'a'), long, "has a row 1 that is longer than 512 MiB"),
        (
            "csv",
            true,
            bomb("occurred_at,id\n", b','),
            "row 1 has more than 2 fields",
            "has more than 2 fields in its record 2",
        ),
    ] {
        let project = project(&format!("format: {format}\nrows_digest: {digest}"));
        project.run(&[]).exits(0);
        replace_shard(&project.package(), &bytes);
        // The rig's limit: the program, its threads, and not one record more than the documented.
        let verified = bounded(&project, 3_500_000, &["verify", "--rows", "package"]);
        verified.exits(5).says(&[found]);
        let drawn = bounded(&project, 3_500_000, &["sample", "package", "--seed", "1"]);
        drawn.exits(5).says(&[sampled]);
    }
}

#[test]
fn specs_and_files_that_they_name_have_to_be_files_with_an_end() {
    let why = "it is not a regular file, but a pipe, a socket or a device";
    let project = project("");
    make_pipe(&project.path("pipe.yaml"));
    std::fs::File::create(project.path("huge.yaml")).unwrap().set_len(1 << 40).unwrap();
    let run = |args: &[&str]| bounded(&project, 2_000_000, args);
    for (spec, why) in [("pipe.yaml", why), ("/dev/zero", why), ("huge.yaml", "the file is larger than 1048576 bytes")]
    {
        for command in [&["validate"][..], &["plan"], &["doctor"], &["run", "--progress", "never"]] {
            run(&[command, &[spec]].concat()).exits(2).says(&[why]);
        }
    }
    for (key, codes) in [
        ("catalog: FILE", [2, 2]),
        ("encryption: {age: {recipients_file: FILE}}", [0, 4]),
        ("redact: {id: {hmac_sha256: {key_file: FILE}}}", [0, 4]),
        ("format: parquet\nencryption: {parquet: {footer_key_file: FILE}}", [0, 4]),
        ("sign: {ssh_key_file: FILE, identity: a@example.com}", [0, 4]),
    ] {
        for file in ["pipe.yaml", "/dev/zero"] {
            project.spec(&format!("{DAY}\n{}", key.replace("FILE", file)));
            run(&["validate", "spec.yaml"]).exits(codes[0]);
            let ran = run(&["run", "spec.yaml", "--progress", "never", "--now", NOW]);
            ran.exits(codes[1]).says(&[why]);
        }
    }
}

#[test]
fn thousands_of_mistakes_are_told_by_the_first_hundred_and_their_number() {
    let filters: String = (0..40_000).map(|n| format!("  unknown_{n}: 1\n")).collect();
    let project = project(&format!("filters:\n{filters}"));
    for command in
        [&["plan"][..], &["doctor"], &["run", "--progress", "never"], &["run", "--progress", "never", "--json"]]
    {
        let told = project.call(&[command, &["spec.yaml", "--now", NOW]].concat()).exits(2);
        let told = told.says(&["unknown_0", "39900 more mistakes are not shown"]);
        let bytes = told.stdout.len() + told.stderr.len();
        assert!(bytes < 200_000, "{command:?}: {bytes} bytes");
    }
}

#[test]
fn pipes_where_a_download_goes_are_not_waited_for() {
    let project = project("");
    let created = project.call(&["jobs", "create", "--spec", "spec.yaml", "--now", NOW, "--wait"]).exits(0);
    let download = |args: &[&str]| {
        bounded(&project, 2_000_000, &[&["jobs", "download", "--id", created.stdout.trim_end()], args].concat())
    };
    std::fs::create_dir(project.path("copy")).unwrap();
    make_pipe(&project.path("copy/manifest.json"));
    let refused = download(&["--shards", "--output", "copy"]).exits(2);
    refused.says(&["copy holds `manifest.json`, which does not belong to this package: choose an empty or new folder"]);
    // What serves resuming only is passed over.
    make_pipe(&project.path("rows.csv.part.json"));
    download(&["--output", "rows.csv"]).exits(0);
    assert_eq!(Package::rows_of_file(&project.path("rows.csv")).len(), 1);
}

#[test]
fn files_of_credentials_have_to_be_files_with_an_end() {
    let project = project("");
    make_pipe(&project.path("pipe"));
    std::fs::File::create(project.path("huge")).unwrap().set_len(1 << 40).unwrap();
    std::fs::create_dir(project.path("folder")).unwrap();
    project.write("binary", [0xff, 0xfe]);
    let path = |name: &str| project.path(name).display().to_string();
    let irregular = "it is not a regular file, but a pipe, a socket or a device";
    let files = [
        (path("pipe"), irregular),
        ("/dev/zero".to_owned(), irregular),
        (path("huge"), "it is larger than 1048576 bytes"),
        (path("folder"), "Is a directory"),
        (path("binary"), "it is not UTF-8 text"),
    ];
    for (scheme, variable) in [
        ("s3", "AWS_SHARED_CREDENTIALS_FILE"),
        ("s3", "AWS_CONFIG_FILE"),
        ("s3", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("s3", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs", "GOOGLE_SERVICE_ACCOUNT"),
        ("az", "AZURE_FEDERATED_TOKEN_FILE"),
    ] {
        for (file, why) in &files {
            let mut command =
                limited(&project, 2_000_000, &["jobs", "list", "--store", &format!("{scheme}://bucket/x")]);
            command.env("HOME", project.path("none")).env("AZURE_STORAGE_ACCOUNT_NAME", "account");
            command.env_remove("AWS_ACCESS_KEY_ID");
            let said = outcome(command.env(variable, file)).exits(4);
            said.says(&[
                &format!("cannot connect to {scheme}://bucket"),
                &format!("cannot read the credentials or settings in {file}: {why}"),
            ]);
        }
    }
    project.write("token", "token\n");
    let mut command = limited(&project, 2_000_000, &["jobs", "list", "--store", "s3://bucket/x"]);
    command.env("HOME", project.path("none")).env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path("token"));
    let said = outcome(command.env_remove("AWS_ACCESS_KEY_ID")).exits(4);
    said.says(&["token: it holds more than the token: remove line breaks, also at its end"]);
}
