//! A password or a signature that somebody wrote into a URI is refused, and repeated nowhere: not where the mistake is shown,
//! not in JSON, a log, a manifest or a report.

use std::process::Command;

use crate::gcs_server::GcsServer;
use crate::project::{NOW, Project, outcome};

const CANARY: &str = "c4n4ry";

/// Each with a secret, and whether a store would take the rest of it.
const URIS: [&str; 9] = [
    "https://bob:c4n4ry@example.com/data/a.ndjson",
    "https://c4n4ry@example.com/data/a.ndjson",
    "https://bob:c4n/c4n4ry@example.com/a.ndjson",
    "https://example.com/a.ndjson?X-Amz-Signature=c4n4ry",
    "https://example.com/a.ndjson?sv=2024&sig=c4n4ry",
    "https://example.com/a.ndjson?c4n4ry",
    "s3://bob:c4n4ry@bucket/key",
    "s3://bucket/key?X-Amz-Credential=c4n4ry&X-Amz-Signature=c4n4ry",
    "abfss://container:c4n4ry@account.dfs.core.windows.net/key",
];

#[track_caller]
fn is_refused_in_silence(project: &Project, args: &[&str]) {
    let outcome = project.call(args);
    assert!(!outcome.stdout.contains(CANARY) && !outcome.stderr.contains(CANARY), "{args:?}: {outcome:?}");
    // Annotations for GitHub are on stdout.
    let said = outcome.stdout.clone() + &outcome.stderr;
    outcome.exits(2);
    assert!(said.contains("URIs must not contain credentials"), "{args:?}: {said}");
}

#[test]
fn a_uri_in_a_spec_or_catalog_is_refused_without_its_secret() {
    let window = "type: events\nwindow: {date: 2026-03-01}";
    for uri in URIS {
        for spec in [
            format!("{window}\nsource: {{uri: '{uri}', format: ndjson}}"),
            format!("{window}\nsource: {{uri: {uri}}}"),
            format!("{window}\nsource: {{uri: data/}}\nchain: {{uri: '{uri}'}}"),
            format!("{window}\ncatalog: catalog.yaml"),
        ] {
            let project = Project::with_spec(&spec);
            project.write("data/a.ndjson", "{}\n");
            project.write("catalog.yaml", format!("version: 1\ntypes:\n  events:\n    source: {{uri: '{uri}'}}\n"));
            for format in ["text", "json", "github"] {
                is_refused_in_silence(&project, &["validate", "spec.yaml", "--format", format]);
            }
            for command in ["plan", "doctor", "run"] {
                is_refused_in_silence(&project, &[command, "spec.yaml", "--now", NOW]);
                is_refused_in_silence(&project, &[command, "spec.yaml", "--now", NOW, "--json", "-v"]);
            }
            assert!(!project.path("package").exists());
        }
        let project = Project::new();
        let spec = format!("version: 1\nname: test\n{window}\nsource: {{uri: data/}}\noutput: {{uri: '{uri}'}}\n");
        project.write("spec.yaml", spec);
        project.write("data/a.ndjson", "{}\n");
        is_refused_in_silence(&project, &["run", "spec.yaml", "--now", NOW, "--progress", "never"]);
    }
}

#[test]
fn a_uri_on_the_command_line_is_refused_without_its_secret() {
    let project = Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}");
    project.write("data/a.ndjson", "{}\n");
    for uri in URIS {
        for args in [
            &["verify", uri][..],
            &["verify", "--chain", uri],
            &["report", uri],
            &["coverage", uri],
            &["sample", uri, "--seed", "1"],
            &["pack", uri, "-o", "a.tar"],
            &["reproduce", uri],
            &["run", "spec.yaml", "--now", NOW, "--output", uri],
            &["jobs", "list", "--store", uri],
        ] {
            is_refused_in_silence(&project, args);
            is_refused_in_silence(&project, &[args, &["--json"]].concat());
        }
    }
}

/// Runs a command that fails and shows no secret.
#[track_caller]
fn fails_in_silence(command: &mut Command, shown: &str) {
    let outcome = outcome(command);
    assert!(!outcome.stdout.contains(CANARY) && !outcome.stderr.contains(CANARY), "{command:?}: {outcome:?}");
    assert!(outcome.code.is_some_and(|code| code != 0), "{command:?}: {outcome:?}");
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains(shown), "{command:?}: {said}");
}

#[test]
fn a_password_in_a_url_of_the_environment_is_shown_nowhere() {
    let project = Project::with_spec("type: events\nsource: {uri: 's3://bucket/data/'}\nwindow: {date: 2026-03-01}");
    let url = "http://bob:c4n4ry@127.0.0.1:9";
    project.write("config", format!("[default]\nendpoint_url = {url}\n"));
    project.write("home/.aws/credentials", "[default]\naws_access_key_id=a\naws_secret_access_key=b\n");
    project.write("token", "token");
    let config = project.path("config").display().to_string();
    let (endpoint, silent) = ("http://**********@127.0.0.1:9", "the store does not respond");
    for (scheme, variable, value, shown) in [
        ("s3", "AWS_ENDPOINT_URL", url, endpoint),
        ("s3", "AWS_ENDPOINT_URL_S3", url, endpoint),
        ("s3", "AWS_ENDPOINT", url, endpoint),
        ("s3", "AWS_CONFIG_FILE", &config, endpoint),
        ("s3", "AWS_CONTAINER_CREDENTIALS_FULL_URI", url, endpoint),
        ("gs", "GOOGLE_BASE_URL", url, endpoint),
        ("az", "AZURE_STORAGE_ENDPOINT", url, endpoint),
        ("az", "AZURE_ENDPOINT", url, endpoint),
        ("s3", "HTTPS_PROXY", url, silent),
        ("s3", "ALL_PROXY", url, silent),
        ("gs", "https_proxy", url, silent),
    ] {
        let store = format!("{scheme}://bucket/x");
        let all = [&["jobs", "list", "--store", &store][..], &["doctor", "spec.yaml"], &["run", "spec.yaml"]];
        for args in all.iter().take(if scheme == "s3" { 3 } else { 1 }) {
            let mut command = project.command(&[args, &["--json", "-vv"][..]].concat());
            command.env_remove("AWS_ACCESS_KEY_ID");
            command.env("HOME", project.path("home")).env("KT_EXPORT_STORE_TIMEOUT", "1");
            command.envs(GcsServer::environment()).env("AWS_REGION", "eu-central-1");
            command.env("AZURE_STORAGE_ACCOUNT_NAME", "account").env("AZURE_STORAGE_ACCOUNT_KEY", "YQ==");
            command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", project.path("token"));
            // Those of the machine.
            for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
                command.env_remove(name).env_remove(name.to_ascii_lowercase());
            }
            fails_in_silence(command.env(variable, value), shown);
        }
    }
}

#[test]
fn an_argument_that_is_repeated_is_shown_without_its_secret() {
    let project = Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}");
    project.write("data/a.ndjson", "{\"occurred_at\":\"2026-03-01T10:00:00Z\"}\n");
    project.run(&[]).exits(0);
    let uri = "s3://a:c4n4ry@b/x";
    let age = format!("{uri}.age");
    for args in [
        &["decrypt", uri, "--passphrase-env", "PASSPHRASE"][..],
        &["decrypt", &age, "--passphrase-env", "PASSPHRASE"],
        &["decrypt", "a.age", "-i", uri],
        &["decrypt", "a.age", "-o", uri, "--passphrase-env", "PASSPHRASE"],
        &["validate", uri],
        &["validate", uri, "--format", "github"],
        &["plan", uri],
        &["plan", "spec.yaml", uri],
        &["doctor", uri],
        &["run", uri],
        &["jobs", "create", "--spec", uri],
        &["verify", "package", "--allowed-signers", uri],
        &["verify", "package", "-i", uri],
        &["reproduce", "package", "--spec", uri],
        &["pack", "package", "-o", uri],
        &["report", "package", "-o", uri],
    ] {
        let is_decrypted_to = args.contains(&"-o") && args.contains(&"decrypt");
        for more in [&[][..], &["--json"]] {
            let mut command = project.command(&[args, more].concat());
            let shown = if is_decrypted_to { "cannot read a.age" } else { "s3://********@b/x" };
            fails_in_silence(command.env("PASSPHRASE", "words"), shown);
        }
    }
}
